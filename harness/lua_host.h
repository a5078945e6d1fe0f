/* Runs a Lua experiment in a child process that can do no harm.
 *
 * The child has a limit on memory and on time (a pattern match inside C ignores instruction counts, so the parent kills
 * by the clock), reads text chunks only, and sees no os, io, load, debug, coroutine or random numbers. `require "a.b"`
 * reads a/b.lua beside the experiment, else in the library folder; names cannot leave these folders. Reading a global
 * that does not exist is an error with "did you mean", and pairs() goes in sorted order, so that a script's output
 * depends on its input only.
 *
 * How a call goes: lib/experiment.lua of the library folder is run with one argument, a table
 *   input                 what the caller passed, as tables (null: absent; null inside an array: false)
 *   file                  the experiment, as it appears in messages
 *   nearest(name, names)  the name that was meant, or nil
 *   refuse(message)       ends the script with that message as a usage error
 *   sources()             list of {file =, text =} of the chunks read so far, the experiment first
 * and returns two functions: the global `experiment` of the experiment file, and one that turns the value which that
 * file returns into the result. The result becomes JSON: tables with keys 1..n are arrays (an empty table is an
 * object), infinite numbers and NaN the strings "inf", "-inf", "nan". */
#ifndef FFBENCH_HARNESS_LUA_HOST_H
#define FFBENCH_HARNESS_LUA_HOST_H

#include "base/error.h"

#include <jansson.h>
#include <stddef.h>

struct lua_host_limits {
  size_t memory_bytes; /* of all Lua values together */
  double seconds;      /* wall clock */
};

/* 256 MiB and 10 s. */
extern const struct lua_host_limits lua_host_limits_default;

/* input may be null. Returns null with a one-line error (file, line where there is one, remedy): a usage error where
 * the script refuses what the user wrote, a failure for everything else. The caller owns the result. */
json_t *lua_host_run(const char *file, const char *library, const json_t *input, const struct lua_host_limits *limits,
                     struct ffb_error *error);

#endif
