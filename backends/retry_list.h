/* SPDX-License-Identifier: Apache-2.0 */
/* Which entries of a listing were handed out already: a set of 64-bit hashes of their paths (8 bytes an entry instead of a path; two of a
 * million names collide once in 30 million listings). One listing, one thread. */
#ifndef WEIR_RETRY_LIST_H
#define WEIR_RETRY_LIST_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct retry_seen {
	uint64_t *slots;	/* open addressing; 0: free */
	size_t n, cap;
};

bool weir_retry_seen_add(struct retry_seen *, const char *path);	/* false: it was there */
void weir_retry_seen_free(struct retry_seen *);

#endif
