/* SPDX-License-Identifier: Apache-2.0 */
/* Copies files and folders from one tree to another (tree.h): what `weir cp` and staged jobs do.
 *
 * A file is written under a name of its own beside its target (".weir-part.…", mode 0600), gets its mode and time, and is renamed over the target when every
 * byte is there: who looks sees the old file or the new one, never a part. Parts that a killed copy of this host left in a folder are removed by the next
 * copy into it. Symbolic links are copied as links; FIFOs, sockets and devices are refused. Modes (0777) and times of modification are kept. */
#ifndef WEIR_COPY_H
#define WEIR_COPY_H
#include "tree.h"

#define WEIR_COPY_PART ".weir-part."	/* how names of parts begin */
#define WEIR_COPY_HASH 33		/* room for a file's XXH3-128 in hex */

struct weir_copy_sums { uint64_t files, dirs, links, bytes, failures; };

/* A file that has arrived. */
struct weir_copied {
	const char *from, *to;
	struct weir_attr from_attr;	/* as it was before the first byte was read */
	char hash[WEIR_COPY_HASH];
};

struct weir_copy {
	struct weir_tree *from, *to;
	const atomic_bool *cancel;	/* may be NULL */
	/* All may be NULL. From any thread, one at a time. */
	void (*failed)(void *arg, const char *sentence);	/* something of a folder was left out; the rest goes on */
	void (*moved)(void *arg, const struct weir_copy_sums *);	/* a little further */
	void (*copied)(void *arg, const struct weir_copied *);
	void *arg;
	struct weir_copy_sums sums;	/* result */
};
/* Copies `from` so that it is `to` afterwards: a file replaces a file; a folder is merged into a folder, which is made if there is none (what is above it
 * must stand). Links at `from` itself are followed when `follow`. Of a folder everything that can be copied is; the first failure is the result then. */
enum weir_code weir_copy(struct weir_copy *, const char *from, const char *to, bool follow, struct weir_err *);

/* XXH3-128 of a file in hex. */
enum weir_code weir_tree_hash(struct weir_tree *, const char *path, char out[WEIR_COPY_HASH], struct weir_err *);

#endif
