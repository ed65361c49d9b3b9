/* SPDX-License-Identifier: Apache-2.0 */
/* What survives on disk: $CACHE/meta.db (tree, journal, page tables), $CACHE/content, $CACHE/quarantine.
 *
 * One lock (weir_store_lock) guards the database connection and everything in memory that belongs to nodes and contents, here and in
 * sync/ and fs/. It is held for microseconds to a few milliseconds and never across the network; file data is read and written without it.
 *
 * Every change of rows happens between weir_store_begin() and weir_store_commit(), lock held. A failed commit rolls back and returns an
 * error: callers change memory only after it. synchronous=NORMAL: a commit survives the end of the process; weir_store_sync() makes it survive
 * power loss.
 *
 * Two places. A node row holds its place twice: (parent, name) as people see it, parent 0 when unlinked, and (rparent, rname, rid, rversion) as
 * the remote has it, rparent 0 when it is not there. A journal row names a node whose two places, content or metadata differ; what has to be sent
 * follows from the difference, so that renames over renames cost nothing and a restart knows what a crash knew. */
#ifndef WEIR_STORE_H
#define WEIR_STORE_H
#include "../../backends/backend.h"
#include "../util/err.h"
#include "../util/util.h"
#include "wait.h"
#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define WEIR_PAGE (128u * 1024)
#define WEIR_ROW_PAGES 512u
#define WEIR_NAME_MAX 255
#define WEIR_RNAME_MAX 288		/* a name plus ".rclonelink" */
#define WEIR_ID_MAX 255

enum {	/* node flags */
	WEIR_N_CONTENT = 1,	/* content differs from the remote's */
	WEIR_N_META = 2,	/* mtime or mode differ and the remote can hold them */
	WEIR_N_EXACT = 4,	/* mtime is precise (ours, or read from the object): listings that tell upload times do not override it */
	WEIR_N_ROOT = 8,	/* a remote's root, or the namespace's */
	WEIR_N_READONLY = 16,	/* the storage would refuse changes */
	WEIR_N_MODE = 32,	/* mode was set here: listings do not override it */
	WEIR_N_VIRTUAL = 64,	/* a directory of the namespace itself */
	WEIR_N_LOCAL = 128,	/* lives in weir's tree only (FIFO, socket) */
	WEIR_N_DOUBT = 512,	/* an upload may have arrived here or not: removed only if it is what we sent */
	WEIR_N_UNSIZED = 2048,	/* the storage has not told the size: it is asked for when somebody opens the file */
	WEIR_N_POOL = 1024,	/* together with VIRTUAL: a directory of a pool, see fs/pool.c */
	WEIR_N_BIND = 256,	/* named by the configuration: exists even when no listing shows it yet */
};

#define WEIR_NOBODY UINT32_MAX	/* uid, gid: the storage names no owner; fronts show the mount's */

struct weir_node {
	uint64_t id, parent, rparent, remote;
	enum weir_type type;
	uint32_t mode, uid, gid, flags;		/* mode: permission bits */
	uint64_t size, rsize;			/* apparent size here; the size the remote has (0 when not there) */
	int64_t mtime_ns, ctime_ns, atime_ns, btime_ns;
	int64_t listed_ms;			/* directories: wall clock of the last whole listing, 0 never */
	uint64_t content;			/* content number, 0 none */
	char name[WEIR_NAME_MAX + 1], rname[WEIR_RNAME_MAX + 1];
	char rid[WEIR_ID_MAX + 1], rversion[WEIR_ID_MAX + 1];
};

struct weir_content;
struct weir_store {
	pthread_mutex_t mu;
	sqlite3 *db;
	int dirfd, lockfd;
	char *dir;
	uint64_t cache_max, cache_used, cache_dirty;	/* bytes of pages present; of these in nodes with unsent content */
	struct weir_waitq space;		/* writers and fetches that wait for cache space */
	bool is_powercut;			/* this start follows a power loss: unsealed and unsynced bytes may be torn */
	bool is_first;				/* no worker has served this mount before: unlinked nodes may be reaped */
	bool in_tx;
	bool is_reading;			/* one read transaction spans all questions of whoever holds the lock */
	int ntx_uniques;
	uint64_t journal_puts;			/* rows put so far, those of transactions that were undone included: who has seen another number looks again */
	/* private to store/ */
	sqlite3_stmt **stmts;
	struct weir_content **live;		/* hash: node id -> content in memory */
	unsigned live_slots, live_count;
	struct weir_tx_content *tx_contents;	/* contents made or dropped by the open transaction */
	size_t ntx_contents;
	pthread_t checkpointer;
	pthread_cond_t checkpoint_cond;
	bool is_stopping, has_checkpointer;
};

struct weir_store_options { const char *dir; uint64_t cache_bytes; bool is_first; };
/* Open or create, take the lock (BUSY: another weir uses it), refuse network file systems and newer formats by name, migrate, recover. */
enum weir_code weir_store_open(const struct weir_store_options *, struct weir_store **out, struct weir_err *);
/* No content may be in use. Marks the cache clean. */
void weir_store_close(struct weir_store *);

static inline void weir_store_lock(struct weir_store *st) { pthread_mutex_lock(&st->mu); }
/* For statements of one's own (weir_store_stmt does it), and for the two functions below. */
void weir_store_read(struct weir_store *);
void weir_store_read_end(struct weir_store *);

static inline void
weir_store_unlock(struct weir_store *st)
{
	if (st->is_reading)
		weir_store_read_end(st);
	pthread_mutex_unlock(&st->mu);
}

/* Let go of the lock till the condition is signalled; until: CLOCK_REALTIME, NULL for ever. As pthread_cond_timedwait. */
static inline int
weir_store_wait(struct weir_store *st, pthread_cond_t *cond, const struct timespec *until)
{
	if (st->is_reading)
		weir_store_read_end(st);
	return until ? pthread_cond_timedwait(cond, &st->mu, until) : pthread_cond_wait(cond, &st->mu);
}

/* ---- transactions; lock held ---- */
enum weir_code weir_store_begin(struct weir_store *, struct weir_err *);
enum weir_code weir_store_commit(struct weir_store *, struct weir_err *);
void weir_store_rollback(struct weir_store *);
/* Everything committed so far survives power loss. Lock NOT held. */
enum weir_code weir_store_sync(struct weir_store *, struct weir_err *);

/* ---- nodes; lock held ---- */
/* NOENT when there is none. */
enum weir_code weir_node_get(struct weir_store *, uint64_t id, struct weir_node *);
enum weir_code weir_node_child(struct weir_store *, uint64_t parent, const char *name, struct weir_node *);
enum weir_code weir_node_remote_child(struct weir_store *, uint64_t rparent, const char *rname, struct weir_node *);
/* Children with id > after in order of id; fn returns non-zero to stop. The node passed is the callee's to change, not to keep. */
enum weir_code weir_node_children(struct weir_store *, uint64_t parent, uint64_t after, int (*fn)(void *, struct weir_node *), void *arg);
enum weir_code weir_node_remote_children(struct weir_store *, uint64_t rparent, uint64_t after, int (*fn)(void *, struct weir_node *), void *arg);
bool weir_node_has_child(struct weir_store *, uint64_t parent);
bool weir_node_has_remote_child(struct weir_store *, uint64_t rparent);
/* In a transaction. insert: id 0 asks for a new number, set in *n. */
enum weir_code weir_node_insert(struct weir_store *, struct weir_node *n, struct weir_err *);
enum weir_code weir_node_update(struct weir_store *, const struct weir_node *n, struct weir_err *);
enum weir_code weir_node_delete(struct weir_store *, uint64_t id, struct weir_err *);	/* and its xattrs, journal row, content rows and file */
/* Path from the remote's root by remote places; false: some ancestor is not at the remote. buf is reset first. */
bool weir_node_remote_path(struct weir_store *, const struct weir_node *, struct weir_buf *);
bool weir_node_local_path(struct weir_store *, uint64_t id, struct weir_buf *);	/* up to a root; for messages */

/* ---- extended attributes; lock held, changes in a transaction ---- */
enum weir_code weir_xattr_get(struct weir_store *, uint64_t node, const char *name, void *buf, size_t max, size_t *len);
enum weir_code weir_xattr_set(struct weir_store *, uint64_t node, const char *name, const void *val, size_t len, struct weir_err *);
enum weir_code weir_xattr_remove(struct weir_store *, uint64_t node, const char *name, struct weir_err *);
enum weir_code weir_xattr_list(struct weir_store *, uint64_t node, struct weir_buf *);	/* names, each with its NUL */

/* ---- once only; lock held, record in the transaction of the change ---- */
enum weir_code weir_unique_record(struct weir_store *, uint64_t unique, enum weir_code, uint64_t node, struct weir_err *);
bool weir_unique_find(struct weir_store *, uint64_t unique, enum weir_code *, uint64_t *node);

/* ---- journal; lock held, changes in a transaction ---- */
struct weir_journal_row { uint64_t seq, node, remote; int64_t due_ms; uint32_t attempts; int code; char error[256]; };
/* Make sure the node has a row; due_ms is wall clock. A row that is there keeps its seq; its due time becomes due_ms, error and attempts are cleared. */
enum weir_code weir_journal_put(struct weir_store *, uint64_t node, uint64_t remote, int64_t due_ms, struct weir_err *);
enum weir_code weir_journal_fail(struct weir_store *, uint64_t node, int64_t due_ms, enum weir_code, const char *error, struct weir_err *);
enum weir_code weir_journal_drop(struct weir_store *, uint64_t node, struct weir_err *);
bool weir_journal_get(struct weir_store *, uint64_t node, struct weir_journal_row *);
/* In order of seq; remote 0: all. */
enum weir_code weir_journal_each(struct weir_store *, uint64_t remote, int (*fn)(void *, const struct weir_journal_row *), void *arg);

/* Uploads in parts that a restart continues; and what a commit will look like, written before it is sent. */
struct weir_upload_row {
	uint64_t node, content, wgen, size, part_bytes;
	uint64_t dir;			/* the remote place it goes to */
	char name[WEIR_RNAME_MAX + 1];
	char id[1024], sum[128];
};
#define WEIR_SUM_VERSION "version:"	/* sum of a row that notes a copy made by the storage: what it was made from */
#define WEIR_UPLOAD_MOVE "!move"	/* id of a row that notes a rename under way to (dir, name) instead of an upload */
bool weir_upload_get(struct weir_store *, uint64_t node, struct weir_upload_row *);
enum weir_code weir_upload_put(struct weir_store *, const struct weir_upload_row *, struct weir_err *);
enum weir_code weir_upload_drop(struct weir_store *, uint64_t node, struct weir_err *);	/* and its parts */
/* In a transaction: the content changes, so that the upload cannot be continued. What it was about to look like stays known: it may have arrived. */
enum weir_code weir_upload_stale(struct weir_store *, uint64_t node, struct weir_err *);
/* In a transaction: the node loses the place an upload of it was sent to (unlinked, renamed), and nobody knows whether it arrived. An unlinked node
 * of its own, WEIR_N_DOUBT, stands for what may be there; the row goes to it. Nothing happens when the place is still the node's or was settled. */
enum weir_code weir_upload_doubt(struct weir_store *, uint64_t node, struct weir_err *);
enum weir_code weir_upload_part_put(struct weir_store *, uint64_t node, uint32_t number, const char *tag, struct weir_err *);
enum weir_code weir_upload_parts(struct weir_store *, uint64_t node, void (*fn)(void *, uint32_t number, const char *tag), void *arg);

/* ---- remotes and reports; lock held ---- */
/* Row of the remote with this fingerprint; made when new (then *root is a new root node). Another fingerprint under the same name sets
 * the old tree aside: *set_aside = unsent files it still holds. */
enum weir_code weir_remote_row(struct weir_store *, const char *name, const char *fingerprint, uint64_t *id, uint64_t *root, uint64_t *set_aside, struct weir_err *);
enum weir_code weir_report_add(struct weir_store *, const char *kind, const char *path, const char *text, struct weir_err *);	/* own transaction if none is open */
enum weir_code weir_report_each(struct weir_store *, void (*fn)(void *, const char *kind, const char *path, const char *text), void *arg);
uint64_t weir_report_count(struct weir_store *, const char *kind);
/* Sums over nodes of one remote: apparent sizes as seen here, and as the remote has them. */
void weir_remote_sums(struct weir_store *, uint64_t remote, uint64_t *local, uint64_t *at_remote, uint64_t *unlisted_dirs);
enum weir_code weir_du(struct weir_store *, uint64_t node, uint64_t *bytes, uint64_t *files, uint64_t *dirs, uint64_t *unlisted);

/* ---- the watch's memory; lock held, changes in a transaction ---- */
char *weir_feed_cursor(struct weir_store *, uint64_t remote);	/* owned; NULL: none yet */
enum weir_code weir_feed_cursor_set(struct weir_store *, uint64_t remote, const char *cursor, struct weir_err *);	/* NULL forgets it */
/* Directories to look at again, each once, from due_ms (wall clock) on; a later call for the same one replaces the time. They stay until dropped. */
enum weir_code weir_again_put(struct weir_store *, uint64_t dir, uint64_t remote, int64_t due_ms, struct weir_err *);
enum weir_code weir_again_drop(struct weir_store *, uint64_t dir, struct weir_err *);
enum weir_code weir_again_all(struct weir_store *, uint64_t remote, struct weir_err *);	/* every listed directory, by whoever touches it first */
/* Those that are due, at most max; *next_ms: when it pays to ask again (INT64_MAX: nothing is left). */
size_t weir_again_due(struct weir_store *, uint64_t remote, int64_t now_ms, uint64_t *dirs, size_t max, int64_t *next_ms);
/* Nodes that are at the remote under this id: usually one. */
size_t weir_nodes_by_rid(struct weir_store *, uint64_t remote, const char *rid, uint64_t *ids, size_t max);

/* Facts about the cache by name; lock held. get: owned, NULL when there is none. set: in a transaction or on its own. */
char *weir_info_get(struct weir_store *, const char *key);
void weir_info_set(struct weir_store *, const char *key, const char *value);

/* Generic statement access for the few places that need their own query: prepared once, reset after use. */
sqlite3_stmt *weir_store_stmt(struct weir_store *, const char *sql);	/* cached by address of sql: use string literals */
enum weir_code weir_store_step_done(struct weir_store *, sqlite3_stmt *, struct weir_err *);	/* run to the end, reset */

#endif
