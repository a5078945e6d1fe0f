/* Files that appear whole or not at all: written as <name>.tmp, flushed to the disk, then renamed. A reader never sees
 * half a file, and what was there before stays until the new one is complete. What a killed process leaves is
 * overwritten by the next. Two processes must not write one file at once: harness/lock.h. */
#ifndef FFBENCH_HARNESS_FILE_H
#define FFBENCH_HARNESS_FILE_H

#include "base/error.h"
#include "base/sha256.h"

#include <limits.h>
#include <stddef.h>
#include <stdio.h>

struct file {
  char path[PATH_MAX], temporary[PATH_MAX];
  const char *remedy; /* closes every message: "name another folder with --record" */
  FILE *stream;
};

/* Start a file; missing folders above it are made. */
bool file_begin(struct file *file, const char *path, const char *remedy, struct ffb_error *error);
bool file_add(struct file *file, const void *data, size_t bytes, struct ffb_error *error);
/* Flush, and give the file its name. Whether this succeeds or not, nothing temporary is left. */
bool file_commit(struct file *file, struct ffb_error *error);
/* Give up: removes the temporary file. Allowed at any time, also after file_commit. */
void file_abandon(struct file *file);

/* All of the above for content that lies in memory. */
bool file_replace(const char *path, const void *data, size_t bytes, const char *remedy, struct ffb_error *error);
/* Whether a file could be written there, a small one at least, without leaving one. */
bool file_probe(const char *path, const char *remedy, struct ffb_error *error);
/* The whole content, one 0 byte behind it; freed by ffb_free. */
void *file_read(const char *path, size_t *bytes, struct ffb_error *error);
/* SHA-256 of the content. */
bool file_sha256(const char *path, char text[FFB_SHA256_TEXT], struct ffb_error *error);
/* Make a folder and those above it. */
bool file_make_folder(const char *path, const char *remedy, struct ffb_error *error);
/* The folder that a path lies in: "." where it names none. */
void file_folder(const char *path, char folder[PATH_MAX]);
/* What comes behind the folders of a path. */
const char *file_name(const char *path);
/* The folder that this program lies in. */
bool file_program_folder(char folder[PATH_MAX], struct ffb_error *error);

#endif
