#include "harness/lua_host.h"

#include "base/memory.h"
#include "base/option.h"
#include "harness/value.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
  PATH_BYTES = 4096,
  SOURCE_BYTES_MAX = 1 << 20,
  SOURCES_MAX = 64,
  RESULT_VALUE_BYTES = 128, /* what a number, a truth value or an empty table takes as JSON, in memory */
  PRINT_BYTES_MAX = 1 << 16,
  MESSAGE_BYTES = sizeof((struct ffb_error *)NULL)->message,
  JSON_DEPTH_MAX = 64,
  NAMES_MAX = 4096,
  HOOK_INSTRUCTIONS = 100000,
  CHUNK_NAME_MAX = LUA_IDSIZE - 2, /* a longer one would be cut in messages */
  NO_MEMORY_STATUS = 3,            /* of a child that has none left to say so with */
};

static const size_t reply_bytes_max = (size_t)64 << 20;
static const double kill_grace_seconds = 0.25; /* so that the count hook, which knows the line, speaks first */

const struct lua_host_limits lua_host_limits_default = {.memory_bytes = (size_t)256 << 20, .seconds = 10.0};

static double monotonic_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- the child ------------------------------------------------------------------------------------------------ */

struct source {
  char name[PATH_BYTES];
  char *text;
  size_t size;
};

struct child {
  const char *file, *library;
  char folder[PATH_BYTES]; /* of the experiment */
  const json_t *input;
  struct lua_host_limits limits;
  double deadline;
  size_t used;
  unsigned long starved; /* how often Lua was refused memory within its limit */
  size_t printed;
  struct source sources[SOURCES_MAX];
  size_t source_count;
  size_t result_bytes;
  json_t *result;
};

static struct child *child_of(lua_State *L) {
  return *(struct child **)lua_getextraspace(L);
}

static void *limited_allocate(void *context, void *block, size_t old_size, size_t new_size) {
  struct child *child = context;
  size_t held = block ? old_size : 0; /* without a block, old_size is a type tag */
  if (new_size == 0) {
    ffb_free(block);
    child->used -= held;
    return NULL;
  }
  if (new_size > held && new_size - held > child->limits.memory_bytes - child->used)
    return NULL;
  void *moved = ffb_reallocate(block, new_size, 1, NULL);
  if (moved)
    child->used += new_size - held;
  else
    child->starved++;
  return moved;
}

static void check_deadline(lua_State *L, lua_Debug *activation) {
  (void)activation;
  struct child *child = child_of(L);
  if (monotonic_seconds() < child->deadline)
    return;
  char message[128];
  snprintf(message, sizeof message, "ran longer than %g s and was stopped: look for a loop that does not end",
           child->limits.seconds);
  luaL_where(L, 0);
  lua_pushstring(L, message);
  lua_concat(L, 2);
  lua_error(L);
}

static void push_json(lua_State *L, const json_t *value) {
  luaL_checkstack(L, 4, "JSON nested too deeply");
  switch (json_typeof(value)) {
  case JSON_OBJECT: {
    const char *key;
    json_t *member;
    lua_newtable(L);
    json_object_foreach((json_t *)value, key, member) {
      if (json_is_null(member))
        continue;
      push_json(L, member);
      lua_setfield(L, -2, key);
    }
    return;
  }
  case JSON_ARRAY: {
    size_t index;
    json_t *member;
    lua_newtable(L);
    json_array_foreach(value, index, member) {
      push_json(L, member);
      lua_rawseti(L, -2, (lua_Integer)index + 1);
    }
    return;
  }
  case JSON_STRING:
    lua_pushlstring(L, json_string_value(value), json_string_length(value));
    return;
  case JSON_INTEGER:
    lua_pushinteger(L, json_integer_value(value));
    return;
  case JSON_REAL:
    lua_pushnumber(L, json_real_value(value));
    return;
  case JSON_TRUE:
    lua_pushboolean(L, 1);
    return;
  default: /* false, and null inside an array */
    lua_pushboolean(L, 0);
    return;
  }
}

static _Noreturn void bad_result(lua_State *L, const char *what) {
  lua_pushfstring(L, "%s: the result has %s", child_of(L)->file, what);
  lua_error(L);
  abort(); /* lua_error does not return */
}

/* Tables may share parts, so that a few lines describe a result without end; and JSON is not Lua's memory. */
static void charge(lua_State *L, size_t text_bytes) {
  struct child *child = child_of(L);
  size_t left = child->limits.memory_bytes - child->result_bytes;
  if (text_bytes > left || left - text_bytes < RESULT_VALUE_BYTES) {
    lua_pushfstring(L, "%s: the result takes more than %d MiB: return less", child->file,
                    (int)(child->limits.memory_bytes >> 20));
    lua_error(L);
  }
  child->result_bytes += RESULT_VALUE_BYTES + text_bytes;
}

static void need(lua_State *L, bool kept) {
  if (!kept)
    luaL_error(L, "%s: out of memory for the result: return less, or close other programs", child_of(L)->file);
}

static json_t *number_to_json(lua_State *L, int at) {
  if (lua_isinteger(L, at))
    return json_integer(lua_tointeger(L, at));
  double number = lua_tonumber(L, at);
  if (isnan(number))
    return json_string("nan");
  if (isinf(number))
    return json_string(number > 0 ? "inf" : "-inf");
  return json_real(number);
}

static json_t *value_to_json(lua_State *L, int at, int depth);

static json_t *array_to_json(lua_State *L, int at, lua_Unsigned length, int depth) {
  json_t *array = json_array();
  for (lua_Unsigned i = 1; i <= length; i++) {
    lua_rawgeti(L, at, (lua_Integer)i);
    need(L, json_array_append_new(array, value_to_json(L, lua_gettop(L), depth)) == 0);
    lua_pop(L, 1);
  }
  return array;
}

static json_t *table_to_json(lua_State *L, int at, int depth) {
  if (depth >= JSON_DEPTH_MAX)
    bad_result(L, "tables nested deeper than 64 levels, or one that contains itself");
  luaL_checkstack(L, 4, "result nested too deeply");
  lua_Unsigned length = lua_rawlen(L, at);
  if (length > 0)
    return array_to_json(L, at, length, depth + 1);
  json_t *object = json_object();
  lua_pushnil(L);
  while (lua_next(L, at)) {
    if (lua_type(L, -2) != LUA_TSTRING)
      bad_result(L, "a table with a key that is neither a text nor one of 1, 2, 3...");
    charge(L, lua_rawlen(L, -2));
    if (strlen(lua_tostring(L, -2)) != lua_rawlen(L, -2))
      bad_result(L, "a key with a zero byte");
    json_t *value = value_to_json(L, lua_gettop(L), depth + 1);
    need(L, value && object);
    if (json_object_set_new(object, lua_tostring(L, -2), value) != 0)
      bad_result(L, "a key that is not UTF-8");
    lua_pop(L, 1);
  }
  return object;
}

static json_t *value_to_json(lua_State *L, int at, int depth) {
  charge(L, lua_type(L, at) == LUA_TSTRING ? lua_rawlen(L, at) : 0);
  switch (lua_type(L, at)) {
  case LUA_TTABLE:
    return table_to_json(L, at, depth);
  case LUA_TSTRING: {
    size_t size;
    const char *text = lua_tolstring(L, at, &size);
    if (memchr(text, '\0', size))
      bad_result(L, "a text with a zero byte");
    json_t *string = json_stringn(text, size);
    if (!string)
      bad_result(L, "a text that is not UTF-8");
    return string;
  }
  case LUA_TNUMBER:
    return number_to_json(L, at);
  case LUA_TBOOLEAN:
    return json_boolean(lua_toboolean(L, at));
  default:
    lua_pushfstring(L, "a %s, which is no data", luaL_typename(L, at));
    bad_result(L, lua_tostring(L, -1));
  }
}

/* Returns null with *problem set, or errno in *number, when it cannot be read. */
static char *read_source(const char *path, size_t *size, const char **problem, int *number) {
  char *text = NULL;
  struct stat status;
  *problem = NULL;
  *number = 0;
  int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0 || fstat(descriptor, &status) != 0) {
    *number = errno;
    goto done;
  }
  if (!S_ISREG(status.st_mode)) {
    *problem = "not a file";
    goto done;
  }
  if (status.st_size > SOURCE_BYTES_MAX) {
    *problem = "larger than 1 MiB";
    goto done;
  }
  text = ffb_allocate((size_t)status.st_size + 1, 1, NULL);
  ssize_t got = text ? read(descriptor, text, (size_t)status.st_size) : -1;
  if (got < 0) {
    *number = text ? errno : ENOMEM;
    ffb_free(text);
    text = NULL;
    goto done;
  }
  text[got] = '\0';
  *size = (size_t)got;
done:
  if (descriptor >= 0)
    close(descriptor);
  return text;
}

/* Leaves the compiled chunk on the stack, or raises an error; false only when there is no such file. */
static bool load_chunk(lua_State *L, const char *path) {
  struct child *child = child_of(L);
  const char *problem;
  int number;
  size_t size = 0;
  char *text = read_source(path, &size, &problem, &number);
  if (!text) {
    if (number == ENOENT || number == ENOTDIR)
      return false;
    lua_pushfstring(L, "%s: %s", path, problem ? problem : strerror(number));
    lua_error(L);
  }
  if (child->source_count == SOURCES_MAX)
    luaL_error(L, "more than %d files were required", SOURCES_MAX);
  struct source *source = &child->sources[child->source_count++];
  const char *slash = strrchr(path, '/');
  snprintf(source->name, sizeof source->name, "%s", strlen(path) > CHUNK_NAME_MAX && slash ? slash + 1 : path);
  source->text = text;
  source->size = size;
  if (size > 0 && text[0] == LUA_SIGNATURE[0]) {
    lua_pushfstring(L, "%s: this is compiled Lua, which is not run: give the source text", path);
    lua_error(L);
  }
  lua_pushfstring(L, "@%s", source->name);
  const char *chunk_name = lua_tostring(L, -1);
  if (luaL_loadbufferx(L, text, size, chunk_name, "t") != LUA_OK)
    lua_error(L);
  lua_remove(L, -2);
  return true;
}

static bool module_name_good(const char *name) {
  bool start = true;
  for (; *name; name++) {
    bool letter = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') || *name == '_';
    bool digit = (*name >= '0' && *name <= '9') || *name == '-';
    if (*name == '.' ? start : !(letter || (digit && !start)))
      return false;
    start = *name == '.';
  }
  return !start;
}

static void module_path(char *path, size_t size, const char *folder, const char *name) {
  int used = snprintf(path, size, "%s%s", folder, *folder ? "/" : "");
  snprintf(path + used, size - (size_t)used, "%s.lua", name);
  for (char *at = path + used; at[0] && strcmp(at, ".lua") != 0; at++)
    if (*at == '.')
      *at = '/';
}

static const char loading_mark; /* its address marks a module that is being loaded */

/* require(name): upvalue 1 is the table of loaded modules. */
static int host_require(lua_State *L) {
  struct child *child = child_of(L);
  size_t length;
  const char *name = luaL_checklstring(L, 1, &length);
  char near[PATH_BYTES], far[PATH_BYTES];
  if (length > 128 || strlen(name) != length || !module_name_good(name))
    return luaL_error(L, "require \"%s\": a name is letters, digits and _, with dots between folders", name);
  lua_settop(L, 1);
  lua_getfield(L, lua_upvalueindex(1), name);
  if (lua_touserdata(L, -1) == (void *)&loading_mark)
    return luaL_error(L, "require \"%s\": this file requires itself, directly or through another", name);
  if (!lua_isnil(L, -1))
    return 1;
  module_path(near, sizeof near, child->folder, name);
  module_path(far, sizeof far, child->library, name);
  if (!load_chunk(L, near) && !load_chunk(L, far))
    return luaL_error(L, "require \"%s\": there is neither %s nor %s", name, near, far);
  lua_pushlightuserdata(L, (void *)&loading_mark);
  lua_setfield(L, lua_upvalueindex(1), name);
  lua_call(L, 0, 1);
  if (lua_isnil(L, -1))
    return luaL_error(L, "require \"%s\": the file returns nothing; end it with return", name);
  lua_pushvalue(L, -1);
  lua_setfield(L, lua_upvalueindex(1), name);
  return 1;
}

/* A terminal obeys control characters: they are shown as ?. */
static bool write_shown(const char *text, size_t size) {
  char part[512];
  while (size > 0) {
    size_t count = size < sizeof part ? size : sizeof part;
    for (size_t i = 0; i < count; i++) {
      bool control = ((unsigned char)text[i] < ' ' && text[i] != '\n' && text[i] != '\t') || text[i] == 0x7f;
      part[i] = text[i];
      if (control)
        part[i] = '?';
    }
    if (write(STDERR_FILENO, part, count) < 0)
      return false;
    text += count;
    size -= count;
  }
  return true;
}

/* To standard error, so that it never mixes with a table on standard output. */
static int host_print(lua_State *L) {
  struct child *child = child_of(L);
  int count = lua_gettop(L);
  luaL_Buffer line;
  luaL_buffinit(L, &line);
  for (int i = 1; i <= count; i++) {
    if (i > 1)
      luaL_addchar(&line, '\t');
    luaL_tolstring(L, i, NULL);
    luaL_addvalue(&line);
  }
  luaL_addchar(&line, '\n');
  luaL_pushresult(&line);
  size_t size;
  const char *text = lua_tolstring(L, -1, &size);
  if (size > PRINT_BYTES_MAX - child->printed)
    return luaL_error(L, "print wrote more than %d KiB", PRINT_BYTES_MAX / 1024);
  child->printed += size;
  if (!write_shown(text, size))
    child->printed = PRINT_BYTES_MAX;
  return 0;
}

static int host_nearest(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  static const char *names[NAMES_MAX];
  size_t count = 0;
  lua_Unsigned length = lua_rawlen(L, 2);
  for (lua_Unsigned i = 1; i <= length && count < NAMES_MAX; i++) {
    if (lua_rawgeti(L, 2, (lua_Integer)i) == LUA_TSTRING)
      names[count++] = lua_tostring(L, -1);
    lua_pop(L, 1); /* the table keeps the text alive */
  }
  lua_pushstring(L, ffb_nearest_name(name, names, count));
  return 1;
}

static int host_refuse(lua_State *L) {
  luaL_checkstring(L, 1);
  lua_newtable(L);
  lua_pushvalue(L, 1);
  lua_setfield(L, -2, "refused");
  return lua_error(L);
}

static int host_sources(lua_State *L) {
  struct child *child = child_of(L);
  lua_newtable(L);
  lua_Integer count = 0;
  /* The experiment is the only chunk named like the request. */
  for (int pass = 0; pass < 2; pass++)
    for (size_t i = 0; i < child->source_count; i++) {
      const struct source *source = &child->sources[i];
      if ((strcmp(source->name, child->file) == 0) != (pass == 0))
        continue;
      lua_newtable(L);
      lua_pushstring(L, source->name);
      lua_setfield(L, -2, "file");
      lua_pushlstring(L, source->text, source->size);
      lua_setfield(L, -2, "text");
      lua_rawseti(L, -2, ++count);
    }
  return 1;
}

static void remove_names(lua_State *L, const char *table, const char *const *names) {
  lua_getglobal(L, table);
  for (; *names; names++) {
    lua_pushnil(L);
    lua_setfield(L, -2, *names);
  }
  lua_pop(L, 1);
}

static void open_libraries(lua_State *L) {
  static const luaL_Reg libraries[] = {
      {LUA_GNAME, luaopen_base},       {LUA_TABLIBNAME, luaopen_table}, {LUA_STRLIBNAME, luaopen_string},
      {LUA_MATHLIBNAME, luaopen_math}, {LUA_UTF8LIBNAME, luaopen_utf8}, {NULL, NULL},
  };
  static const char *const base_removed[] = {"load", "loadfile", "dofile", "collectgarbage", "warn", NULL};
  static const char *const string_removed[] = {"dump", NULL};
  static const char *const math_removed[] = {"random", "randomseed", NULL};
  for (const luaL_Reg *library = libraries; library->func; library++) {
    luaL_requiref(L, library->name, library->func, 1);
    lua_pop(L, 1);
  }
  remove_names(L, LUA_GNAME, base_removed);
  remove_names(L, LUA_STRLIBNAME, string_removed);
  remove_names(L, LUA_MATHLIBNAME, math_removed);
  /* luaL_requiref keeps a table of modules in the registry; nothing in the sandbox reaches it. */
  lua_newtable(L);
  lua_pushcclosure(L, host_require, 1);
  lua_setglobal(L, "require");
  lua_pushcfunction(L, host_print);
  lua_setglobal(L, "print");
}

static void push_host(lua_State *L, const struct child *child) {
  static const luaL_Reg functions[] = {
      {"nearest", host_nearest},
      {"refuse", host_refuse},
      {"sources", host_sources},
      {NULL, NULL},
  };
  luaL_newlib(L, functions);
  if (child->input) {
    push_json(L, child->input);
    lua_setfield(L, -2, "input");
  }
  lua_pushstring(L, child->file);
  lua_setfield(L, -2, "file");
}

static int evaluate(lua_State *L) {
  struct child *child = child_of(L);
  char path[PATH_BYTES];
  open_libraries(L);
  module_path(path, sizeof path, child->library, "lib.experiment");
  if (!load_chunk(L, path)) {
    lua_pushfstring(L, "%s is missing: it belongs to the program", path);
    return lua_error(L);
  }
  push_host(L, child);
  lua_call(L, 1, 2);
  int finish = lua_gettop(L);
  lua_pushglobaltable(L); /* set past its metatable, which refuses new globals */
  lua_pushliteral(L, "experiment");
  lua_pushvalue(L, finish - 1);
  lua_rawset(L, -3);
  lua_pushvalue(L, finish);
  if (!load_chunk(L, child->file)) {
    lua_pushfstring(L, "%s: there is no such file", child->file);
    return lua_error(L);
  }
  lua_call(L, 0, 1);
  lua_call(L, 1, 1);
  child->result = value_to_json(L, lua_gettop(L), 0);
  return 0;
}

/* As much as a message has room for; what is not UTF-8 loses its bytes above ASCII. */
static json_t *message_json(const char *text) {
  char copy[MESSAGE_BYTES];
  snprintf(copy, sizeof copy, "%s", text);
  json_t *message = json_string(copy);
  if (message)
    return message;
  for (char *at = copy; *at; at++)
    if ((unsigned char)*at >= 0x80)
      *at = '?';
  return json_string(copy);
}

/* What host_refuse raised, or null. Nothing protects this: it calls no metamethod and allocates nothing. */
static const char *refusal(lua_State *L) {
  if (!lua_istable(L, -1))
    return NULL;
  int table = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
    if (lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -2), "refused") == 0)
      return lua_tostring(L, -1);
  return NULL;
}

static json_t *error_reply(lua_State *L, const struct child *child, int status) {
  char message[PATH_BYTES + 128];
  if (status == LUA_ERRMEM) {
    snprintf(message, sizeof message, "%s: asked for more than %zu MiB: build smaller texts and tables", child->file,
             child->limits.memory_bytes >> 20);
    return json_pack("{s:o}", "error", message_json(message));
  }
  const char *refused = refusal(L);
  if (refused)
    return json_pack("{s:o, s:b}", "error", message_json(refused), "usage", 1);
  if (lua_type(L, -1) == LUA_TSTRING) {
    const char *text = lua_tostring(L, -1);
    bool placed = strstr(text, ".lua") != NULL; /* not where C raised it: "C stack overflow" */
    snprintf(message, sizeof message, "%s%s%s", placed ? "" : child->file, placed ? "" : ": ", text);
    return json_pack("{s:o}", "error", message_json(message));
  }
  snprintf(message, sizeof message, "%s: an error was raised with a %s instead of a text", child->file,
           luaL_typename(L, -1));
  return json_pack("{s:o}", "error", message_json(message));
}

/* Lua's own limit stands in limited_allocate; this one covers what C libraries take on its behalf. */
static void limit_process(const struct lua_host_limits *limits) {
  char line[128];
  unsigned long pages = 0;
  FILE *file = fopen("/proc/self/statm", "re");
  if (file && fgets(line, sizeof line, file))
    pages = strtoul(line, NULL, 10);
  if (file)
    fclose(file);
  rlim_t seconds = (rlim_t)ceil(limits->seconds + kill_grace_seconds) + 1;
  rlim_t bytes = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + 4 * (rlim_t)limits->memory_bytes + (64 << 20);
  setrlimit(RLIMIT_CPU, &(struct rlimit){seconds, seconds});
  setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
  if (pages > 0)
    setrlimit(RLIMIT_AS, &(struct rlimit){bytes, bytes});
}

static bool write_all(int descriptor, const char *text, size_t size) {
  while (size > 0) {
    ssize_t written = write(descriptor, text, size);
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      return false;
    text += written;
    size -= (size_t)written;
  }
  return true;
}

/* Outside of protected calls nothing but want of memory raises an error. */
static int give_up(lua_State *L) {
  (void)L;
  _exit(NO_MEMORY_STATUS);
}

static _Noreturn void child_main(struct child *child, int to_parent) {
  unsigned long refused = ffb_refused_allocations();
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
  signal(SIGPIPE, SIG_DFL);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  limit_process(&child->limits);
  lua_State *L = lua_newstate(limited_allocate, child);
  if (!L)
    _exit(NO_MEMORY_STATUS);
  *(struct child **)lua_getextraspace(L) = child;
  lua_atpanic(L, give_up);
  lua_sethook(L, check_deadline, LUA_MASKCOUNT, HOOK_INSTRUCTIONS);
  lua_pushcfunction(L, evaluate);
  int status = lua_pcall(L, 0, 0, 0);
  lua_sethook(L, NULL, 0, 0);
  if (status == LUA_ERRMEM && child->starved)
    _exit(NO_MEMORY_STATUS);
  json_t *reply = status == LUA_OK ? json_pack("{s:o}", "result", child->result) : error_reply(L, child, status);
  char *text = reply ? json_dumps(reply, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
  /* Lua collects garbage and asks again; jansson's values lack what it was refused. */
  if (ffb_refused_allocations() - refused != child->starved)
    _exit(NO_MEMORY_STATUS);
  _exit(text && write_all(to_parent, text, strlen(text)) ? 0 : 1);
}

/* ---- the parent ----------------------------------------------------------------------------------------------- */

enum reading { READ_ALL, READ_TIMEOUT, READ_TOO_LONG, READ_NO_MEMORY };

static enum reading read_reply(int descriptor, double deadline, char **text, size_t *size) {
  size_t room = 0;
  *size = 0;
  for (;;) {
    double left = deadline - monotonic_seconds();
    if (left <= 0)
      return READ_TIMEOUT;
    struct pollfd wait = {.fd = descriptor, .events = POLLIN};
    if (poll(&wait, 1, (int)(left * 1000) + 1) <= 0)
      continue; /* a time-out or a signal: the clock decides */
    if (*size == room) {
      if (room > reply_bytes_max)
        return READ_TOO_LONG;
      room = room ? 2 * room : 65536;
      char *moved = ffb_reallocate(*text, room, 1, NULL);
      if (!moved)
        return READ_NO_MEMORY;
      *text = moved;
    }
    ssize_t got = read(descriptor, *text + *size, room - *size);
    if (got == 0)
      return READ_ALL;
    if (got > 0)
      *size += (size_t)got;
    else if (errno != EINTR && errno != EAGAIN)
      return READ_ALL;
  }
}

static bool describe_death(const char *file, int status, struct ffb_error *error) {
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGINT) {
    ffb_fail(error, "%s: interrupted", file);
    if (error)
      error->kind = FFB_ERROR_INTERRUPTED;
    return false;
  }
  if (WIFSIGNALED(status))
    return ffb_fail(error, "%s: the process that ran it was killed by signal %d (%s)", file, WTERMSIG(status),
                    strsignal(WTERMSIG(status)));
  if (WEXITSTATUS(status) == NO_MEMORY_STATUS)
    return ffb_fail(error, "%s: out of memory: close other programs", file);
  return ffb_fail(error, "%s: the process that ran it ended with status %d and no answer", file, WEXITSTATUS(status));
}

static json_t *read_result(const char *file, const char *text, size_t size, int status, struct ffb_error *error) {
  unsigned long refused = ffb_refused_allocations();
  json_t *reply = size > 0 ? json_loadb(text, size, 0, NULL) : NULL;
  json_t *result = json_incref(json_object_get(reply, "result"));
  /* Without memory jansson may read a text with a letter less. */
  if (!value_is_whole(refused, "the answer", error)) {
    ffb_fail_prefix(error, "%s: ", file);
    json_decref(result);
    result = NULL;
  } else if (!reply) {
    describe_death(file, status, error);
  } else if (!result) {
    const char *message = json_string_value(json_object_get(reply, "error"));
    (json_is_true(json_object_get(reply, "usage")) ? ffb_fail_usage : ffb_fail)(error, "%s",
                                                                                message ? message : "unknown error");
  }
  json_decref(reply);
  return result;
}

static void begin_child(struct child *child, const char *file, const char *library, const json_t *input,
                        const struct lua_host_limits *limits) {
  const char *slash = strrchr(file, '/');
  child->file = file;
  child->library = library;
  child->input = input;
  child->limits = *limits;
  child->deadline = monotonic_seconds() + limits->seconds;
  snprintf(child->folder, sizeof child->folder, "%.*s", slash ? (int)(slash - file) : 0, file);
  if (slash == file)
    snprintf(child->folder, sizeof child->folder, "/.");
}

json_t *lua_host_run(const char *file, const char *library, const json_t *input, const struct lua_host_limits *limits,
                     struct ffb_error *error) {
  json_t *result = NULL;
  char *text = NULL;
  size_t size = 0;
  int ends[2] = {-1, -1}, status = 0;
  struct child *child = ffb_allocate(1, sizeof *child, NULL);
  if (strlen(file) + strlen(library) + 256 > PATH_BYTES || !child) {
    ffb_fail(error, "%s: %s", file, child ? "the path is too long" : "out of memory: close other programs");
    goto done;
  }
  begin_child(child, file, library, input, limits);
  if (pipe2(ends, O_CLOEXEC) != 0) {
    ffb_fail(error, "%s: cannot make a pipe: %s", file, strerror(errno));
    goto done;
  }
  pid_t process = fork();
  if (process < 0) {
    ffb_fail(error, "%s: cannot start a process: %s", file, strerror(errno));
    goto done;
  }
  if (process == 0)
    child_main(child, ends[1]);
  close(ends[1]);
  ends[1] = -1;
  enum reading reading = read_reply(ends[0], child->deadline + kill_grace_seconds, &text, &size);
  if (reading != READ_ALL)
    kill(process, SIGKILL);
  while (waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
  switch (reading) {
  case READ_ALL:
    result = read_result(file, text, size, status, error);
    break;
  case READ_TIMEOUT:
    ffb_fail(error,
             "%s: ran longer than %g s and was stopped: look for a loop that does not end or a text pattern that "
             "backtracks without end",
             file, limits->seconds);
    break;
  case READ_TOO_LONG:
    ffb_fail(error, "%s: the result is larger than %zu MiB: return less", file, reply_bytes_max >> 20);
    break;
  case READ_NO_MEMORY:
    ffb_fail(error, "%s: out of memory for the answer: close other programs", file);
    break;
  }
done:
  if (ends[0] >= 0)
    close(ends[0]);
  if (ends[1] >= 0)
    close(ends[1]);
  ffb_free(text);
  ffb_free(child);
  return result;
}
