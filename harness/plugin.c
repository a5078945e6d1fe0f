#include "harness/plugin.h"

#include "base/memory.h"
#include "harness/file.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char suffix[] = ".so";
static const char rebuild[] = "build it anew against this ffbench's headers (docs/add-an-algorithm.md)";

enum { TRAINERS = 64 };

/* trainers/ beside the program (or beside its folder), or ../lib/ffbench/ where it is installed. */
static bool find_folder(char folder[PATH_MAX], struct ffb_error *error) {
  static const char *const places[] = {"trainers", "../trainers", "../lib/ffbench"};
  char beside[PATH_MAX];
  if (!file_program_folder(beside, error))
    return false;
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    struct stat status;
    if ((size_t)snprintf(folder, PATH_MAX, "%s/%s", beside, places[i]) < PATH_MAX && !stat(folder, &status) &&
        S_ISDIR(status.st_mode))
      return true;
  }
  return ffb_fail(error, "no trainers beside the program in %.900s: run make, or copy build/trainers with it", beside);
}

struct hook {
  const char *name;
  size_t offset;
};

/* Pointers to functions have no common type that offsetof could index, so a null one is found by its bytes. */
static bool hook_missing(const struct ffb_trainer *trainer, const struct hook *hook) {
  static const char null_pointer[sizeof(void (*)(void))];
  return memcmp((const char *)trainer + hook->offset, null_pointer, sizeof null_pointer) == 0;
}

static bool check_hooks(const char *path, const struct ffb_trainer *trainer, struct ffb_error *error) {
  static const struct hook required[] = {
      {"create", offsetof(struct ffb_trainer, create)},
      {"destroy", offsetof(struct ffb_trainer, destroy)},
      {"train_step", offsetof(struct ffb_trainer, train_step)},
      {"end_epoch", offsetof(struct ffb_trainer, end_epoch)},
      {"predict", offsetof(struct ffb_trainer, predict)},
      {"plan", offsetof(struct ffb_trainer, plan)},
      {"save", offsetof(struct ffb_trainer, save)},
      {"load", offsetof(struct ffb_trainer, load)},
  };
  for (size_t i = 0; i < sizeof required / sizeof *required; i++)
    if (hook_missing(trainer, &required[i]))
      return ffb_fail(error, "plugin %s: the required hook %s is missing: fill it in (algorithms/trainer.h)", path,
                      required[i].name);
  return true;
}

static bool name_is_good(const char *name) {
  return name && *name && strlen(name) < FFB_NAME_BYTES &&
         strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(name);
}

static bool check(const char *path, const struct ffb_trainer *trainer, struct ffb_error *error) {
  if (trainer->magic != FFB_TRAINER_MAGIC)
    return ffb_fail(error, "plugin %s: its ffbench_trainer is no trainer (magic %08x, not %08x): %s", path,
                    (unsigned)trainer->magic, (unsigned)FFB_TRAINER_MAGIC, rebuild);
  if (trainer->version != FFB_TRAINER_VERSION)
    return ffb_fail(error, "plugin %s: made for version %u of the trainer interface, this ffbench has %u: %s", path,
                    (unsigned)trainer->version, (unsigned)FFB_TRAINER_VERSION, rebuild);
  if (trainer->size != sizeof(struct ffb_trainer))
    return ffb_fail(error, "plugin %s: its struct ffb_trainer has %zu bytes, this ffbench's has %zu: %s", path,
                    trainer->size, sizeof(struct ffb_trainer), rebuild);
  if (!name_is_good(trainer->name))
    return ffb_fail(error, "plugin %s: the name must be lower-case letters, digits and _: correct .name", path);
  if (!trainer->description)
    return ffb_fail(error, "plugin %s: the description is missing: fill in .description with one line", path);
  if (trainer->options && trainer->options_size == 0)
    return ffb_fail(error, "plugin %s: there are options but options_size is 0: set it to the size of their struct",
                    path);
  return check_hooks(path, trainer, error);
}

/* Opened objects stay open, so what is known of them stays true. */
static struct opened {
  const void *of;
  struct plugin_file file;
  struct opened *next;
} * opened;

const struct plugin_file *plugin_file(const void *of) {
  for (const struct opened *one = opened; one; one = one->next)
    if (one->of == of)
      return &one->file;
  return NULL;
}

static bool remember(const char *path, const void *of, struct ffb_error *error) {
  if (plugin_file(of))
    return true;
  struct opened *one = ffb_allocate(1, sizeof *one, error);
  if (!one)
    return false;
  one->of = of;
  snprintf(one->file.name, sizeof one->file.name, "%s", file_name(path));
  if (!file_sha256(path, one->file.sha256, error)) {
    ffb_free(one);
    return ffb_fail_prefix(error, "plugin %s: ", path);
  }
  one->next = opened;
  opened = one;
  return true;
}

bool plugin_remember_backend(const struct ffb_backend *backend, struct ffb_error *error) {
  Dl_info own, engine;
  if (!dladdr(backend, &own) || !dladdr(&ffb_backend_reference, &engine) || own.dli_fbase == engine.dli_fbase)
    return true;
  return remember(own.dli_fname, backend, error);
}

const struct ffb_trainer *plugin_open(const char *path, struct ffb_error *error) {
  char place[PATH_MAX];
  /* A bare file name would send dlopen to the system's libraries. */
  snprintf(place, sizeof place, "%s%s", strchr(path, '/') ? "" : "./", path);
  if (access(place, R_OK)) {
    ffb_fail(error, "plugin %s: %s: give the path of a trainer's .so file", path, strerror(errno));
    return NULL;
  }
  void *object = dlopen(place, RTLD_NOW | RTLD_LOCAL);
  if (!object) {
    ffb_fail(error, "plugin %s: cannot be opened (%s): %s", path, dlerror(), rebuild);
    return NULL;
  }
  const struct ffb_trainer *trainer = dlsym(object, "ffbench_trainer");
  if (!trainer) {
    ffb_fail(error, "plugin %s: it exports no ffbench_trainer: see docs/add-an-algorithm.md", path);
    return NULL;
  }
  return check(path, trainer, error) && remember(place, trainer, error) ? trainer : NULL;
}

static int is_object(const struct dirent *entry) {
  size_t length = strlen(entry->d_name);
  return length > strlen(suffix) && strcmp(entry->d_name + length - strlen(suffix), suffix) == 0;
}

bool plugin_each(plugin_visit *visit, void *to, struct ffb_error *error) {
  char folder[PATH_MAX];
  struct dirent **entries;
  if (!find_folder(folder, error))
    return false;
  int count = scandir(folder, &entries, is_object, alphasort);
  if (count < 0)
    return ffb_fail(error, "cannot read the folder %s: %s: make it readable", folder, strerror(errno));
  for (int i = 0; i < count; i++) {
    char path[PATH_MAX + NAME_MAX + 2];
    struct ffb_error problem = {0};
    snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
    const struct ffb_trainer *trainer = plugin_open(path, &problem);
    visit(to, path, trainer, problem.message);
    free(entries[i]);
  }
  free(entries);
  return true;
}

struct names {
  char text[TRAINERS][FFB_NAME_BYTES];
  size_t count;
};

static void add_name(void *to, const char *path, const struct ffb_trainer *trainer, const char *problem) {
  struct names *names = to;
  (void)path, (void)problem;
  if (trainer && names->count < TRAINERS)
    snprintf(names->text[names->count++], FFB_NAME_BYTES, "%s", trainer->name);
}

static const struct ffb_trainer *unknown(const char *algorithm, struct ffb_error *error) {
  struct names names = {.count = 0};
  const char *list[TRAINERS], *nearest = NULL;
  if (!plugin_each(add_name, &names, error))
    return NULL;
  for (size_t i = 0; i < names.count; i++)
    list[i] = names.text[i];
  nearest = ffb_nearest_name(algorithm, list, names.count);
  ffb_fail_usage(error, "no algorithm \"%s\": %s%s%s\"ffbench list algorithms\" shows all", algorithm,
                 nearest ? "did you mean " : "", nearest ? nearest : "", nearest ? "? " : "");
  return NULL;
}

const struct ffb_trainer *plugin_find(const char *algorithm, struct ffb_error *error) {
  char folder[PATH_MAX], path[PATH_MAX + FFB_NAME_BYTES + sizeof suffix];
  if (!find_folder(folder, error))
    return NULL;
  snprintf(path, sizeof path, "%s/%s%s", folder, algorithm, suffix);
  if (!name_is_good(algorithm) || access(path, F_OK))
    return unknown(algorithm, error);
  const struct ffb_trainer *trainer = plugin_open(path, error);
  if (trainer && strcmp(trainer->name, algorithm) != 0) {
    ffb_fail(error, "plugin %s: calls itself %s: name the file after the trainer", path, trainer->name);
    return NULL;
  }
  return trainer;
}
