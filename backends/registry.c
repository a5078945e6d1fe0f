#include "backends/backend.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The default where no device is there comes first. */
enum { BUILT_IN = 2, LOADABLE = 1 };
static const struct ffb_backend *const built_in[BUILT_IN] = {&ffb_backend_cpu, &ffb_backend_reference};

/* An object is opened when it is first asked for, with local symbols, and never closed: a library's threads may outlive
 * a close. */
static struct loadable {
  const char *name;
  bool tried;
  const struct ffb_backend *backend; /* null where it cannot be opened */
  char problem[512];
} loadable[LOADABLE] = {{.name = "cuda"}};

/* backends/NAME.so beside the engine, or beside the folder that holds it. */
static bool find_object(const char *name, char path[PATH_MAX]) {
  static const char *const places[] = {"backends", "../backends", "ffbench"};
  Dl_info engine;
  if (!dladdr(built_in, &engine) || !engine.dli_fname)
    return false;
  const char *slash = strrchr(engine.dli_fname, '/');
  int folder = slash ? (int)(slash - engine.dli_fname) : 0;
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    int length = snprintf(path, PATH_MAX, "%.*s/%s/%s.so", folder ? folder : 1, folder ? engine.dli_fname : ".",
                          places[i], name);
    if (length > 0 && length < PATH_MAX && access(path, F_OK) == 0)
      return true;
  }
  return false;
}

static const char *check(const struct ffb_backend *backend, const char *name) {
  if (!backend)
    return "exports no ffbench_backend";
  if (backend->magic != FFB_BACKEND_MAGIC)
    return "holds no backend";
  if (backend->version != FFB_BACKEND_VERSION || backend->size != sizeof *backend)
    return "is of another version of the backend interface";
  return strcmp(backend->name, name) == 0 ? NULL : "holds a backend of another name";
}

static void load(struct loadable *one) {
  char path[PATH_MAX];
  one->tried = true;
  if (!find_object(one->name, path)) {
    snprintf(one->problem, sizeof one->problem,
             "it is not in this build: run make where the CUDA toolkit is, or copy build/backends/%s.so with the "
             "program",
             one->name);
    return;
  }
  void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!object) {
    snprintf(one->problem, sizeof one->problem, "%.480s", dlerror());
    return;
  }
  const struct ffb_backend *backend = dlsym(object, "ffbench_backend");
  const char *wrong = check(backend, one->name);
  if (wrong)
    snprintf(one->problem, sizeof one->problem, "%.300s %s: run make", path, wrong);
  else
    one->backend = backend;
}

static struct loadable *loaded(size_t index) {
  if (index >= LOADABLE)
    return NULL;
  if (!loadable[index].tried)
    load(&loadable[index]);
  return &loadable[index];
}

const struct ffb_backend *ffb_backend_at(size_t index) {
  if (index < BUILT_IN)
    return built_in[index];
  index -= BUILT_IN;
  for (size_t i = 0; i < LOADABLE; i++)
    if (loaded(i)->backend && index-- == 0)
      return loaded(i)->backend;
  return NULL;
}

const struct ffb_backend *ffb_backend_find(const char *name) {
  for (size_t i = 0; i < BUILT_IN; i++)
    if (!strcmp(built_in[i]->name, name))
      return built_in[i];
  for (size_t i = 0; i < LOADABLE; i++)
    if (!strcmp(loadable[i].name, name))
      return loaded(i)->backend;
  return NULL;
}

const char *ffb_backend_loadable(size_t index) {
  return index < LOADABLE ? loadable[index].name : NULL;
}

const char *ffb_backend_problem(const char *name) {
  for (size_t i = 0; i < LOADABLE; i++)
    if (!strcmp(loadable[i].name, name))
      return loaded(i)->backend ? NULL : loaded(i)->problem;
  return NULL;
}

/* Without a driver there is no device: then CUDA's libraries, hundreds of megabytes, are left alone. */
static bool has_driver(void) {
  void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (driver)
    dlclose(driver);
  return driver != NULL;
}

const struct ffb_backend *ffb_backend_default(void) {
  static const struct ffb_backend *best;
  char problem[256];
  if (!best) {
    best = built_in[0];
    const struct ffb_backend *cuda = has_driver() ? ffb_backend_find("cuda") : NULL;
    if (cuda && cuda->available(problem, sizeof problem))
      best = cuda;
  }
  return best;
}
