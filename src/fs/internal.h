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
	bool is_passthrough;
	bool was_written_raw;		/* a writer was let in beside passthrough readers: look at all pages when it leaves */
};
#define OPEN_SLOTS 1024

/* A name of the namespace that leads elsewhere: (parent, name) -> target. */
struct fs_way {
	uint64_t parent, target;
	char *name;
};

struct fs_grown { uint64_t remote; int64_t bytes; };

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
	struct fs_open *open[OPEN_SLOTS];
	struct fs_grown *grown;		/* sizes of live contents that no row knows yet, by remote */
	struct weir_observer observers[4];
	size_t nobservers;
	uint64_t *to_seal;		/* nodes closed after writing: their pages get checksums from the keeper */
	size_t nto_seal, to_seal_cap;
	struct weir_op *ready, **ready_tail;
	pthread_cond_t ready_cond, keeper_cond;
	pthread_t threads[READY_THREADS], keeper;
	unsigned nthreads;
	bool has_keeper, is_stopping;
	unsigned parked;
};

/* fs.c */
enum weir_code fs_begin(struct weir_fs *);
/* Record the request's result and commit. node: what the answer is about. */
enum weir_code fs_commit(struct weir_op *, uint64_t node);
enum weir_code fs_fail(struct weir_fs *, enum weir_code);	/* roll back, return the code */
/* The waiter of a parked op; stands ready for a sync call that may answer WEIR_PENDING. */
struct weir_waiter *fs_waiter(struct weir_op *);
uint64_t fs_in(const struct weir_fs *, uint64_t ino);		/* number as the front says it -> node */
uint64_t fs_out(const struct weir_fs *, uint64_t node);
enum weir_code fs_node(struct weir_op *, uint64_t ino, struct weir_node *);	/* NOENT becomes STALE */
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

/* quota.c */
/* Room for so many more bytes on this remote? DQUOT or NOSPC if not. */
enum weir_code quota_room(struct weir_fs *, uint64_t remote, uint64_t growth);
void quota_grow(struct weir_fs *, uint64_t remote, int64_t bytes);	/* what no row knows yet */
void quota_used(struct weir_fs *, uint64_t remote, uint64_t *used, bool *is_lower_bound);
void quota_statfs(struct weir_fs *, uint64_t remote, struct weir_statfs *);

/* file.c */
struct fs_open *open_find(struct weir_fs *, uint64_t ino);
struct fs_open *open_get(struct weir_op *, const struct weir_node *);	/* makes the entry */
void open_drop(struct weir_fs *, struct fs_open *);
/* Sizes and times of the live content into the row, in a transaction. */
enum weir_code file_save_attr(struct weir_fs *, struct weir_content *, struct weir_node *);
enum weir_code file_truncate(struct weir_op *, struct weir_node *, uint64_t size);	/* opens its own transactions; *n is fresh after */
/* The node has a content to fetch into (made when there is none). */
enum weir_code file_content(struct weir_fs *, struct weir_node *, struct weir_content **, struct weir_err *);
void file_due_idle(struct weir_fs *);		/* keeper: files written long ago and still open */
void file_seal_later(struct weir_fs *, uint64_t node);
void file_seal_closed(struct weir_fs *);	/* keeper: lets go of the lock in between */
bool fs_is_open(void *fs, uint64_t node);

/* handlers, one per kind; lock held at entry and exit (they may let go of it in between) */
enum weir_code tree_lookup(struct weir_op *), tree_readdir(struct weir_op *), tree_opendir(struct weir_op *);
enum weir_code tree_create(struct weir_op *), tree_mkdir(struct weir_op *), tree_mknod(struct weir_op *), tree_symlink(struct weir_op *);
enum weir_code tree_unlink(struct weir_op *), tree_rmdir(struct weir_op *), tree_rename(struct weir_op *), tree_readlink(struct weir_op *);
enum weir_code attr_get(struct weir_op *), attr_set(struct weir_op *), attr_statfs(struct weir_op *);
enum weir_code attr_setx(struct weir_op *), attr_getx(struct weir_op *), attr_listx(struct weir_op *), attr_removex(struct weir_op *);
enum weir_code file_open(struct weir_op *), file_release(struct weir_op *), file_flush(struct weir_op *), file_fsync(struct weir_op *);
enum weir_code file_fsyncdir(struct weir_op *), io_read(struct weir_op *), io_write(struct weir_op *);
enum weir_code io_fallocate(struct weir_op *), io_lseek(struct weir_op *), io_copy(struct weir_op *);

#endif
