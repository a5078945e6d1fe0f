/* SHA-256 (FIPS 180-4), for dataset hashes, weight hashes and checkpoints. */
#ifndef FFBENCH_BASE_SHA256_H
#define FFBENCH_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

struct ffb_sha256 {
  uint32_t state[8];
  uint64_t length; /* bytes so far */
  uint8_t block[64];
};

enum { FFB_SHA256_BYTES = 32, FFB_SHA256_TEXT = 65 };

void ffb_sha256_begin(struct ffb_sha256 *hash);
void ffb_sha256_add(struct ffb_sha256 *hash, const void *data, size_t bytes);
void ffb_sha256_end(struct ffb_sha256 *hash, uint8_t digest[FFB_SHA256_BYTES]);
/* Lower-case hexadecimal, 64 characters and a terminator. */
void ffb_sha256_text(struct ffb_sha256 *hash, char text[FFB_SHA256_TEXT]);

#endif
