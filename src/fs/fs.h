/* SPDX-License-Identifier: Apache-2.0 */
/* The tree as POSIX sees it. Fronts (fuse/, later a WebDAV bridge, tests) speak to it through one call, weir_fs_submit().
 *
 * Completion model. A front fills a struct weir_op and submits it. The result is either final (any code but WEIR_PENDING) and the
 * op is the front's again, or WEIR_PENDING: then op->done(op, code) is called exactly once, from another thread, maybe before
 * weir_fs_submit() has returned, so the front must not touch the op after WEIR_PENDING. All that the op points to (names, buffers)
 * must live until then. Nothing in submit waits for the network; it may touch the local disk. done() must not block.
 * A pending op is cancelled with weir_fs_cancel(): it ends soon with WEIR_E_INTR, or normally if it was about to.
 *
 * Permission bits are not checked here: fronts do (the kernel, by default_permissions).
 * Node numbers are 64-bit, never reused, committed before they are returned; WEIR_ROOT is the root of the namespace. */
#ifndef WEIR_FS_H
#define WEIR_FS_H
#include "../conf/conf.h"
#include "../store/wait.h"
#include "../util/err.h"
#include "opens.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct weir_fs;
#define WEIR_ROOT 1u

struct weir_attr {
	uint64_t ino;
	uint64_t size, blocks;		/* blocks of 512 bytes: what POSIX wants, from the apparent size less holes known */
	uint32_t mode;			/* with type bits */
	uint32_t nlink, uid, gid, blksize;
	int64_t atime_ns, mtime_ns, ctime_ns, btime_ns;
	uint32_t valid_ms;		/* how long a front may keep attributes and name without asking again */
	bool is_name_loose;		/* the name may be changed under another path: it is not kept at all */
};

enum weir_op_kind {
	WEIR_OP_LOOKUP,		/* ino = parent, name -> attr */
	WEIR_OP_GETATTR,	/* ino -> attr */
	WEIR_OP_SETATTR,	/* ino, set, set_mask -> attr */
	WEIR_OP_READLINK,	/* ino -> buf, result (bytes, not terminated; buf needs 4096) */
	WEIR_OP_MKNOD,		/* ino = parent, name, mode (regular, FIFO, socket; else PERM) -> attr */
	WEIR_OP_MKDIR,		/* ino = parent, name, mode -> attr */
	WEIR_OP_SYMLINK,	/* ino = parent, name, name2 = target -> attr */
	WEIR_OP_UNLINK,		/* ino = parent, name */
	WEIR_OP_RMDIR,		/* ino = parent, name */
	WEIR_OP_RENAME,		/* ino = parent, name, ino2 = new parent, name2, flags (RENAME_NOREPLACE, RENAME_EXCHANGE) */
	WEIR_OP_CREATE,		/* ino = parent, name, mode, flags (O_*) -> attr, fh. Opens what is there unless O_EXCL */
	WEIR_OP_OPEN,		/* ino, flags -> fh, is_passthrough/pass_fd */
	WEIR_OP_RELEASE,	/* ino, fh: never fails */
	WEIR_OP_FLUSH,		/* ino, fh: close(2); there may be many for one open */
	WEIR_OP_FSYNC,		/* ino, fh: content and size survive power loss after it */
	WEIR_OP_FSYNCDIR,	/* ino: so do its entries */
	WEIR_OP_OPENDIR,	/* ino -> nothing to keep; checks type, starts listing */
	WEIR_OP_READDIR,	/* ino, off = cookie of the last entry seen (0: start), emit. Cookie = node number; "." and ".." are given first,
				 * with cookies 1 and 2 (no child ever has these numbers) */
	WEIR_OP_READ,		/* ino, fh, buf, len, off -> result. Fewer bytes only at end of file */
	WEIR_OP_WRITE,		/* ino, fh, buf (const), len, off, is_pagecache -> result */
	WEIR_OP_STATFS,		/* ino -> statfs */
	WEIR_OP_FALLOCATE,	/* ino, off, len64, flags (FALLOC_FL_KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE) */
	WEIR_OP_LSEEK,		/* ino, off, flags = SEEK_DATA or SEEK_HOLE -> off */
	WEIR_OP_COPY_RANGE,	/* ino, off -> ino2, off2, len64 -> result */
	WEIR_OP_SETXATTR,	/* ino, name, buf, len, flags (XATTR_CREATE, XATTR_REPLACE) */
	WEIR_OP_GETXATTR,	/* ino, name, buf, len (0: size wanted) -> result */
	WEIR_OP_LISTXATTR,	/* ino, buf, len (0: size wanted) -> result */
	WEIR_OP_REMOVEXATTR,	/* ino, name */
	WEIR_OP_PREFETCH,	/* ino of a file: done when all of it is in the cache. Readers go first. NOSPC: the cache cannot take it */
	WEIR_OP_KINDS
};

enum {	/* set_mask */
	WEIR_SET_MODE = 1, WEIR_SET_UID = 2, WEIR_SET_GID = 4, WEIR_SET_SIZE = 8, WEIR_SET_ATIME = 16, WEIR_SET_MTIME = 32,
	WEIR_SET_CTIME = 64, WEIR_SET_KILLPRIV = 128,	/* clear suid (and sgid of group-executables) along with this change */
};

struct weir_statfs { uint64_t bsize, blocks, bfree, bavail, files, ffree, namemax; };

struct weir_op {
	enum weir_op_kind kind;
	void (*done)(struct weir_op *, enum weir_code);

	/* who and which request */
	uint64_t unique;		/* 0: none. Tree changes are recorded under it, so that … */
	bool is_resent;			/* … a request that comes again after a take-over gets its recorded answer */
	uint32_t uid, gid, umask;
	int32_t pid;

	/* arguments; strings and buffers borrowed until done */
	uint64_t ino, ino2, fh, fh2;
	const char *name, *name2;
	uint32_t mode, flags, set_mask;
	struct weir_attr set;
	void *buf;
	size_t len;
	uint64_t len64;
	uint64_t off, off2;
	bool is_pagecache;		/* a write-out from mmap: waits for space instead of failing */
	bool is_killpriv;		/* clear suid/sgid on this write or open */
	/* READDIR: called for each entry; attr is complete. Non-zero: no room, stop (this entry will come again). */
	int (*emit)(struct weir_op *, const char *name, const struct weir_attr *, uint64_t cookie);

	/* results (off also for LSEEK, fh for CREATE and OPEN) */
	struct weir_attr attr;
	size_t result;
	struct weir_statfs statfs;
	bool is_passthrough;		/* OPEN: answer with the backing file below */
	bool drops_cache;		/* OPEN, OPENDIR: what the front keeps of its pages or entries is old and goes now */
	bool is_direct;			/* OPEN: together with passthrough, for writers while passthrough readers exist */
	bool lost_bits;			/* WRITE, OPEN: suid or sgid was cleared (is_killpriv): the front tells its kernel at once */
	int pass_fd;			/* a new descriptor, the front closes it; -1: the node's backing id stands in the opens table */

	void *front;			/* the front's own */

	/* private to fs/ while submitted */
	struct weir_waiter wait;	/* under the store's lock */
	struct weir_fs *fs;
	struct weir_op *ready_next;
	unsigned tries;			/* how often it was parked and came again */
	uint64_t pool_asked, pool_remote;	/* the member's directory whose listing it waits for */
	struct weir_op *pool_next;	/* among those that wait for members */
	uint32_t pool_done[4], pool_dead;	/* members that have answered for the directories it is about; members that cannot take what is new */
};

enum weir_code weir_fs_submit(struct weir_fs *, struct weir_op *);
/* Any thread; op must have been submitted and not be done (fronts keep it alive by their own lock). */
void weir_fs_cancel(struct weir_fs *, struct weir_op *);
/* The kernel forgot this node so many times; only a hint. */
void weir_fs_forget(struct weir_fs *, uint64_t ino, uint64_t n);

/* News for fronts: called from a thread that holds no lock, may block. Register before the first submit. */
struct weir_observer {
	void (*inval_node)(void *arg, uint64_t ino, int64_t off, int64_t len);	/* off < 0: attributes only; len 0: to the end */
	void (*inval_entry)(void *arg, uint64_t parent, const char *name);		/* the name means something else now */
	void (*delete_entry)(void *arg, uint64_t parent, uint64_t child, const char *name);
	void *arg;
};
void weir_fs_observe(struct weir_fs *, const struct weir_observer *);

/* A front that is not the kernel has changed a name, or (name NULL) a node's attributes, with is_data its content: the observers are told, and it returns when they
 * know. Number as fronts say it. No lock held; may block until what the kernel has under way in that directory is answered. */
void weir_fs_tell(struct weir_fs *, uint64_t ino, const char *name, bool is_data);

struct weir_fs_options {
	const struct weir_conf *conf;	/* outlives the fs */
	struct weir_opens *opens;	/* shared table, or NULL: one is made for this process */
	bool is_first;			/* no worker served this mount before: unlinked nodes may be reaped at once */
	bool is_readonly;		/* -o ro */
	bool passthrough;		/* the front can do it */
	uint32_t uid, gid, umask;	/* owner and mask of what the storage gives no owner and mode for */
};
/* Open the cache (lock, migrate, recover), connect the remotes (offline ones too), start the transfers. */
enum weir_code weir_fs_new(const struct weir_fs_options *, struct weir_fs **out, struct weir_err *);
/* Stop transfers, end every pending op (INTR), close the cache cleanly. No submit may be running. Unsent data stays. */
void weir_fs_free(struct weir_fs *);

/* ---- for control/ and verbs: any thread, may block ---- */

struct weir_remote_status {
	const char *name, *type;
	const char *state;		/* "up", "down", "refused" (credentials), "connecting" */
	char error[256];		/* the last one, "" when all is well */
	uint64_t used_bytes, quota_bytes;	/* quota 0: none */
	bool is_lower_bound;		/* used is "at least" */
	uint64_t server_free_bytes; bool has_server_free;
	uint64_t unsent_files, unsent_bytes, failing_files;
	uint64_t requests, bytes_in, bytes_out, errors;
	unsigned fetching, sending;
	const char *watch;		/* how changes made elsewhere are seen: "feed", "push", "walk", "age" */
	int64_t watched_ms;		/* wall clock of the storage's last answer about them; 0: none yet, or "age" */
	char watch_error[256];
	char push_error[256];		/* why the storage's own word about changes is not used, although it has one */
};
struct weir_status {
	uint64_t quota_bytes, used_bytes;
	bool is_lower_bound;
	uint64_t cache_bytes, cache_max_bytes, cache_dirty_bytes;
	uint64_t unsent_files, unsent_bytes, failing_files, conflicts, quarantined;
	unsigned pending_ops;		/* parked requests */
	size_t nremotes;
	struct weir_remote_status *remotes;	/* free with weir_status_free */
};
void weir_fs_status(struct weir_fs *, struct weir_status *);
void weir_status_free(struct weir_status *);
/* What cannot be sent, what is kept for remotes that are not there (kind "aside"), conflicts, quarantined pages: one sentence each. */
void weir_fs_problems(struct weir_fs *, void (*fn)(void *arg, const char *kind, const char *path, const char *text), void *arg);

struct weir_flush_progress { uint64_t files_left, bytes_left, bytes_sent, bytes_total; };
/* Send everything below PATH (in the namespace; NULL or "/": all) now and wait for it. progress may be NULL; returning false gives up
 * waiting (WEIR_E_INTR). Fails with the sentence of the first thing that cannot be sent, or DOWN. */
enum weir_code weir_fs_flush(struct weir_fs *, const char *path, bool (*progress)(void *arg, const struct weir_flush_progress *), void *arg, struct weir_err *);
/* Sizes below PATH from meta.db: no network. */
enum weir_code weir_fs_du(struct weir_fs *, const char *path, uint64_t *bytes, uint64_t *files, uint64_t *dirs, bool *is_lower_bound, struct weir_err *);
/* Every name that the namespace puts somewhere: those of [namespace] and of the directories that only lead to them. fn under the store's lock. */
void weir_fs_names(struct weir_fs *, void (*fn)(void *arg, uint64_t parent, const char *name), void *arg);
/* Look at a folder again at its next touch (and everything below it). */
enum weir_code weir_fs_refresh(struct weir_fs *, const char *path, struct weir_err *);
/* Ask a remote of the configuration at once whether it lets us in; does not wait for the answer. NOENT: the mount has none of that name. */
enum weir_code weir_fs_look(struct weir_fs *, const char *remote, struct weir_err *);
/* Check every cached page below PATH against its checksum; bad clean pages are dropped (fetched again), bad unsent ones: with settle
 * they are accepted as they are now and sent, else reported and kept back. */
enum weir_code weir_fs_verify(struct weir_fs *, const char *path, bool settle, uint64_t *pages, uint64_t *bad, struct weir_err *);

#endif
