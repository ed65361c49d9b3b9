/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of fs/ share. Everything is guarded by the store's lock. */
#ifndef WEIR_FS_INTERNAL_H
#define WEIR_FS_INTERNAL_H
#include "../store/content.h"
#include "../store/store.h"
#include "../sync/sync.h"
#include "../util/text.h"
#include "fs.h"
#include <fcntl.h>
#include <sys/stat.h>

/* A node the kernel has open, as this worker knows it: found again by number after a take-over. */
struct fs_open {
	struct fs_open *next;
	uint64_t ino;
	struct weir_content *c;		/* one reference for all handles; NULL: no content yet */
	bool needs_due;			/* changed since its journal row was last given a time */
	int64_t written_ms;		/* monotonic, last write */
	int64_t behind_ms;		/* monotonic, since when the storage has not seen a new version: the last one's arrival, or the opening */
	int64_t wanted_ms, sent_ms;	/* monotonic; a version from then on is to go out though it is being written; the last that has arrived is from then */
	bool is_passthrough;
	bool was_written_raw;		/* a writer was let in beside passthrough readers: look at all pages when it leaves */
};
#define OPEN_SLOTS 1024

/* A name of the namespace that leads elsewhere: (parent, name) -> target. */
struct fs_way {
	uint64_t parent, target;
	char *name;
};

struct fs_pool;			/* pool.h */
struct fs_grown { uint64_t remote; int64_t bytes; };

struct fs_run { int32_t pid; unsigned files; int64_t at_ms; };	/* settle.c: new files in a row by one process */

struct fs_to_seal { uint64_t node; int64_t closed_ms; };

#define READY_THREADS 3
struct weir_fs {
	const struct weir_conf *conf;
	struct weir_store *st;
	struct weir_sync *sy;
	struct weir_opens *opens;
	struct weir_fs_options opt;
	uint64_t root;			/* the node shown as WEIR_ROOT */
	struct fs_way *ways;
	size_t nways;
	struct fs_pool *pools;
	size_t npools;
	struct weir_op *pool_waiting;	/* requests that wait for a member's listing */
	bool has_shared;		/* some pool shows what another path shows too */
	struct fs_open *open[OPEN_SLOTS];
	struct fs_grown *grown;		/* sizes of live contents that no row knows yet, by remote */
	struct weir_observer observers[4];
	size_t nobservers;
	struct fs_to_seal *to_seal;	/* closed after writing, oldest first: their pages get checksums from the keeper */
	size_t nto_seal, to_seal_cap;
	struct fs_run runs[8];
	struct weir_op *ready, **ready_tail;
	pthread_cond_t ready_cond, keeper_cond;
	pthread_t threads[READY_THREADS], keeper;
	unsigned nthreads;
	bool has_keeper, is_stopping;
	unsigned flushes;		/* under way … */
	int64_t wanted_ms;		/* … the last began then (monotonic): what was written by then is to go out, whoever still writes */
	unsigned parked;
};

/* fs.c */
enum weir_code fs_begin(struct weir_fs *);
/* Record the request's result and commit. node: what the answer is about. */
enum weir_code fs_commit(struct weir_op *, uint64_t node);
enum weir_code fs_fail(struct weir_fs *, enum weir_code);	/* roll back, return the code */
/* The waiter of a parked op; stands ready for a sync call that may answer WEIR_PENDING. */
struct weir_waiter *fs_waiter(struct weir_op *);
void fs_wake(struct weir_waiter *);
uint64_t fs_in(const struct weir_fs *, uint64_t ino);		/* number as the front says it -> node */
uint64_t fs_out(const struct weir_fs *, uint64_t node);
enum weir_code fs_node(struct weir_op *, uint64_t ino, struct weir_node *);	/* NOENT becomes STALE, and so is what belongs to no remote of the configuration */
enum weir_code fs_dir(struct weir_op *, uint64_t ino, struct weir_node *);
void fs_attr(struct weir_op *, const struct weir_node *, uint32_t valid_ms, struct weir_attr *);
void fs_attr_full(struct weir_op *, const struct weir_node *, struct weir_attr *);	/* finds out valid_ms by itself */
/* WEIR_OK: the directory can be answered for; WEIR_PENDING: parked; else why not. */
enum weir_code fs_fresh(struct weir_op *, const struct weir_node *dir);
/* May it be changed? ROFS, ACCES or OK. */
enum weir_code fs_writable(const struct weir_fs *, const struct weir_node *);
int64_t fs_now_ms(void);
enum weir_code fs_touch_dir(struct weir_fs *, uint64_t dir);	/* mtime and ctime; in a transaction */
enum weir_code fs_journal(struct weir_fs *, const struct weir_node *, int64_t delay_ms);	/* in a transaction */
void fs_kick(struct weir_fs *, uint64_t remote);
void fs_news_data(struct weir_fs *, uint64_t node);	/* lock NOT held: fronts forget what they keep of it */

/* namespace.c */
enum weir_code ns_build(struct weir_fs *, struct weir_err *);
void ns_free(struct weir_fs *);
const struct fs_way *ns_way(const struct weir_fs *, uint64_t parent, const char *name);
bool ns_has_way_in(const struct weir_fs *, uint64_t node);
enum weir_code ns_resolve(struct weir_fs *, const char *path, struct weir_node *, struct weir_err *);

/* Nodes that stand for everything below one: itself, and of a pool's directory the members'. */
struct ns_scope { uint64_t ids[1 + WEIR_POOL_MAX]; size_t n; };
void ns_scope(struct weir_fs *, const struct weir_node *, struct ns_scope *);
bool ns_covers(struct weir_fs *, const struct ns_scope *, uint64_t node);
/* Trees of rows that together are everything below a node, ways and pools included, no file twice. Owned. */
uint64_t *ns_trees(struct weir_fs *, const struct weir_node *, size_t *n);

/* pool.c */
bool pool_is(struct weir_fs *, uint64_t ino);
enum weir_code (*pool_handler(struct weir_op *))(struct weir_op *);	/* NULL: the ordinary one */
void pool_attr(struct weir_op *, const struct weir_node *row, struct weir_attr *);
bool pool_shows(struct weir_fs *, uint64_t dir);
void pool_let_go(struct weir_fs *);	/* keeper: nobody waits for a member that went down meanwhile */
void pool_unwait(struct weir_op *);	/* it was woken */
bool pool_is_member_root(const struct weir_fs *, uint64_t node);
size_t pool_shown_at(struct weir_fs *, uint64_t dir, uint64_t *out, size_t max);
#define POOL_SHOWN_MAX 8

/* tree.c, for pool*.c */
#define TREE_TIDY_MS 500	/* removals and directory changes wait so long: programs often make and unmake in one breath */
/* Parent fit for a new name: dir filled; OK when the name is free, EXIST with *n when not. May park. */
enum weir_code tree_place(struct weir_op *, uint64_t parent, const char *name, enum weir_type, struct weir_node *dir, struct weir_node *n);
/* EXIST when the storage takes the name for another one in this directory (case, composition); except: a node that does not count. */
enum weir_code tree_fold_check(struct weir_fs *, const struct weir_node *dir, const char *name, uint64_t except);
void tree_new_node(struct weir_op *, const struct weir_node *dir, const char *name, enum weir_type, uint32_t mode, struct weir_node *);
/* In a transaction, all three. */
enum weir_code tree_insert(struct weir_op *, struct weir_node *, int64_t delay_ms);
enum weir_code tree_unlink_node(struct weir_fs *, struct weir_node *);	/* it loses its name */
enum weir_code tree_put_name(struct weir_fs *, struct weir_node *, uint64_t parent, const char *name);
void attr_apply(struct weir_op *, struct weir_node *);	/* what SETATTR sets, but for the size */

/* quota.c */
/* How many bytes it may still grow, and what it may hold in all (0: no limit). */
uint64_t quota_left(struct weir_fs *, uint64_t remote, uint64_t *limit);
/* The same for several remotes together; NULL: the whole namespace. Each counts once. */
void quota_statfs_sum(struct weir_fs *, const uint64_t *remotes, size_t n, struct weir_statfs *);
/* Room for so many more bytes on this remote? DQUOT or NOSPC if not. */
enum weir_code quota_room(struct weir_fs *, uint64_t remote, uint64_t growth);
void quota_grow(struct weir_fs *, uint64_t remote, int64_t bytes);	/* what no row knows yet */
void quota_used(struct weir_fs *, uint64_t remote, uint64_t *used, bool *is_lower_bound);
uint64_t quota_namespace_used(struct weir_fs *);	/* all remotes, the figure of one account once */
void quota_statfs(struct weir_fs *, uint64_t remote, struct weir_statfs *);

/* file.c */
struct fs_open *open_find(struct weir_fs *, uint64_t ino);
struct fs_open *open_get(struct weir_op *, const struct weir_node *);	/* makes the entry */
void open_drop(struct weir_fs *, struct fs_open *);
/* Sizes and times of the live content into *n, for the row that the transaction is about to write. */
void file_save_attr(struct weir_fs *, struct weir_content *, struct weir_node *);
enum weir_code file_truncate(struct weir_op *, struct weir_node *, uint64_t size);	/* opens its own transactions; *n is fresh after */
/* The node has a content to fetch into (made when there is none). */
enum weir_code file_content(struct weir_fs *, struct weir_node *, struct weir_content **, struct weir_err *);
void file_due_idle(struct weir_fs *);		/* keeper: files written long ago and still open */
void file_seal_later(struct weir_fs *, uint64_t node);
void file_seal_closed(struct weir_fs *);	/* keeper: lets go of the lock in between */
bool fs_is_open(void *fs, uint64_t node);
bool fs_is_open_for_writing(void *fs, uint64_t node);
bool fs_is_put_off(void *fs, uint64_t node);
void fs_was_sent(void *fs, uint64_t node, int64_t at_ms);

/* settle.c */
int64_t settle_ms(struct weir_op *, const struct weir_node *);	/* a file written anew is being closed by op->pid: when to send it */
void settle_upset(struct weir_fs *, const struct weir_node *);	/* renamed, removed, touched or opened for writing */

/* handlers, one per kind; lock held at entry and exit (they may let go of it in between) */
enum weir_code tree_lookup(struct weir_op *), tree_readdir(struct weir_op *), tree_opendir(struct weir_op *);
enum weir_code tree_create(struct weir_op *), tree_mkdir(struct weir_op *), tree_mknod(struct weir_op *), tree_symlink(struct weir_op *);
enum weir_code tree_unlink(struct weir_op *), tree_rmdir(struct weir_op *), tree_rename(struct weir_op *), tree_readlink(struct weir_op *);
enum weir_code attr_get(struct weir_op *), attr_set(struct weir_op *), attr_statfs(struct weir_op *);
enum weir_code attr_setx(struct weir_op *), attr_getx(struct weir_op *), attr_listx(struct weir_op *), attr_removex(struct weir_op *);
enum weir_code file_open(struct weir_op *), file_release(struct weir_op *), file_flush(struct weir_op *), file_fsync(struct weir_op *);
enum weir_code file_fsyncdir(struct weir_op *), io_read(struct weir_op *), io_write(struct weir_op *);
enum weir_code io_fallocate(struct weir_op *), io_lseek(struct weir_op *), io_copy(struct weir_op *), file_prefetch(struct weir_op *);

#endif
