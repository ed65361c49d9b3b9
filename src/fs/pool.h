/* SPDX-License-Identifier: Apache-2.0 */
/* Pools: one directory made of the directories of several remotes. What it means is told in pool.c; everything here wants the store's lock. */
#ifndef WEIR_FS_POOL_H
#define WEIR_FS_POOL_H
#include "internal.h"

struct fs_pool {			/* one line of [namespace]; lives as long as the fs */
	const struct weir_bind *bind;
	uint64_t node;			/* its root directory */
	size_t n;
	uint64_t dirs[WEIR_POOL_MAX];	/* the members' directories … */
	uint64_t remotes[WEIR_POOL_MAX];	/* … and whose they are */
	bool is_shared;			/* some of what it shows can be reached by another path as well */
};

struct pool_dir {			/* one directory of a pool, found out anew by each request */
	struct weir_node row;
	const struct fs_pool *pool;
	size_t n;			/* members; 0 when it was removed and somebody stands in it */
	uint64_t dir[WEIR_POOL_MAX];	/* what each of them has of it; 0: nothing */
	uint64_t near[WEIR_POOL_MAX];	/* the same, or the nearest directory above it */
	char path[4096];		/* names from the pool's root, with slashes between */
};

struct pool_name {			/* what a name in it means */
	size_t first;			/* the member that is shown */
	struct weir_node node;		/* its node */
	uint64_t id[WEIR_POOL_MAX];	/* each member's; 0: it has no such name */
	bool is_dir[WEIR_POOL_MAX];
};

/* pool.c: what is there */
enum weir_code pool_open(struct weir_fs *, uint64_t node, struct pool_dir *);
/* The same for a request, which looks again on members that seem not to have it when what they said has grown old. May park. */
enum weir_code pool_open_now(struct weir_op *, uint64_t ino, struct pool_dir *);
/* Look a name up. set (0 … 3) tells apart the directories one request asks about. is_first_enough: the others are not asked once it is
 * known, except about a directory, which is theirs too.
 * NOENT, PENDING, or why nobody can tell. */
enum weir_code pool_find(struct weir_op *, const struct pool_dir *, unsigned set, const char *name, bool is_first_enough, struct pool_name *);
/* May this member's directory be answered for? OK, PENDING, or why not; each is asked once in a request. */
enum weir_code pool_fresh(struct weir_op *, unsigned set, size_t member, const struct weir_node *dir);
/* The pool's own node for a directory in it; made when there is none, in the open transaction or one of its own. */
enum weir_code pool_row(struct weir_fs *, const struct weir_node *parent, const char *name, struct weir_node *);
enum weir_code pool_row_insert(struct weir_fs *, uint64_t parent, const char *name, uint32_t flags, struct weir_node *);	/* in a transaction */
/* In a transaction: the row (if there is one) loses its name; its number is not used again. */
enum weir_code pool_row_drop(struct weir_fs *, uint64_t parent, const char *name);
void pool_answer(struct weir_op *, const struct pool_dir *, const struct weir_node *);

/* pool_change.c: handlers that change something, and what they share */
/* May what a member has under this name go, or move? */
enum weir_code pool_may_take(struct weir_op *, uint64_t dir, uint64_t id);
/* Is the directory of this name empty on every member that has it? NOTEMPTY, PENDING, or why nobody can tell. */
enum weir_code pool_check_empty(struct weir_op *, unsigned set, const struct pool_dir *, const struct pool_name *);
/* The directory as this member has it, made there (and what is above it) when it is missing. May park. */
enum weir_code pool_ensure(struct weir_op *, struct pool_dir *, size_t member, struct weir_node *dir);
enum weir_code pool_new(struct weir_op *), pool_mkdir(struct weir_op *), pool_unlink(struct weir_op *), pool_rmdir(struct weir_op *);
enum weir_code pool_setattr(struct weir_op *);
/* pool_rename.c */
enum weir_code pool_rename(struct weir_op *);

#endif
