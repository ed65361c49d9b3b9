/* SPDX-License-Identifier: Apache-2.0 */
/* Brings files into the cache in a given order, several at a time, behind what readers want, and no more of them than it holds: what comes first in the list
 * is not thrown out for what comes last. */
#ifndef WEIR_PREFETCH_H
#define WEIR_PREFETCH_H
#include "tree.h"

struct weir_prefetch {
	/* About four times a second, in the caller's thread; false: give up (WEIR_E_INTR). May be NULL. */
	bool (*progress)(void *arg, const struct weir_prefetch *);
	void *arg;
	atomic_bool *stop;		/* the tree's cancel flag: set when giving up */
	uint64_t room_bytes;		/* how much may be fetched; what is here already counts */
	/* results, growing */
	uint64_t files, bytes;		/* that are here */
	uint64_t files_wanted, bytes_wanted;	/* known so far */
	bool is_full;			/* the rest had no room */
};
/* paths: files, or folders with everything in them (in the order of their names). The first failure ends it, with what is under way.
 * NOSPC: the cache holds no more. */
enum weir_code weir_prefetch(struct weir_tree *, const char *const *paths, size_t n, struct weir_prefetch *, struct weir_err *);

#endif
