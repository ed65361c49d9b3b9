/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of the kernel become operations of fs, and their ends become replies.
 *
 * A request lives from its handler to its reply, which may come from another thread (fs.h, "Completion model"):
 *
 *	state		is_parked  is_done  who finishes it (replies, frees)
 *	submitting	no	   no	    the handler, if submit's result is final
 *	early end	no	   yes	    the handler, once it is back from submit
 *	parked		yes	   no	    done()
 *
 * An interrupt may come at any moment from PENDING on. libfuse calls request_interrupt() with its own lock of that request, and taking the
 * function away waits for that lock, so no interrupt is on its way when the request is freed.
 *
 * File handles are fs's numbers, never pointers: a successor gets them. */
#include "config.h"

#define FUSE_USE_VERSION 314
#include "edge.h"

#include <errno.h>
#include <fuse3/fuse_lowlevel.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../fs/fs.h"
#include "../util/util.h"
#include "kernel.h"

#define REQUEST_COPY_MAX (16u * 1024)	/* what is written in smaller pieces is copied: a parked request then holds no big buffer */
#define REQUEST_LINK_MAX 4096u

struct request {
	struct weir_op op;
	struct weir_fuse_worker *w;
	fuse_req_t req;			/* NULL: nobody waits for the end */
	uint64_t unique;		/* as the kernel wrote it */
	void *big;			/* from weir_fuse_buf_alloc */
	char *dir;			/* READDIR: the reply so far */
	size_t dir_len, dir_size;
	bool is_plus;
	pthread_mutex_t mu;
	bool is_parked, is_done;	/* mu */
	enum weir_code code;		/* mu */
	char tail[];			/* names and small data, copied: they outlive the handler */
};

/* ---- replies ---- */

static double
reply_seconds(const struct weir_attr *a)
{
	return a->valid_ms / 1000.0;
}

static struct timespec
reply_time(int64_t ns)
{
	int64_t rest = ns % 1000000000, sec = ns / 1000000000;

	if (rest < 0) {
		rest += 1000000000;
		sec--;
	}
	return (struct timespec){sec, (long)rest};
}

static void
reply_stat(struct stat *st, const struct weir_attr *a)
{
	*st = (struct stat){
	    .st_ino = a->ino,
	    .st_mode = a->mode,
	    .st_nlink = a->nlink,
	    .st_uid = a->uid,
	    .st_gid = a->gid,
	    .st_size = (off_t)a->size,
	    .st_blocks = (blkcnt_t)a->blocks,
	    .st_blksize = (blksize_t)a->blksize,
	    .st_atim = reply_time(a->atime_ns),
	    .st_mtim = reply_time(a->mtime_ns),
	    .st_ctim = reply_time(a->ctime_ns),
	};
}

static struct fuse_entry_param
reply_entry(const struct weir_attr *a)
{
	struct fuse_entry_param e = {.ino = a->ino, .attr_timeout = reply_seconds(a),
	    .entry_timeout = a->is_name_loose ? 0.0 : reply_seconds(a)};

	reply_stat(&e.attr, a);
	return e;
}

static struct weir_k_open_out
reply_open_out(struct request *r)
{
	struct weir_op *op = &r->op;
	struct weir_k_open_out out = {.fh = op->fh, .open_flags = FOPEN_KEEP_CACHE};

	if (op->drops_cache)
		out.open_flags &= ~(uint32_t)FOPEN_KEEP_CACHE;
	if (op->is_passthrough)
		out.backing_id = weir_fuse_backing_get(r->w, op->kind == WEIR_OP_CREATE ? op->attr.ino : op->ino, op->pass_fd);
	if (out.backing_id != 0)	/* and nothing else: with KEEP_CACHE the kernel fails the open */
		out.open_flags = WEIR_K_FOPEN_PASSTHROUGH | (op->is_direct ? FOPEN_DIRECT_IO : 0u);
	return out;
}

/* libfuse writes the attributes of an entry only together with an OPEN reply it knows; ours may carry a backing id. */
static void
reply_entry_out(struct fuse_entry_out *out, const struct weir_attr *a)
{
	struct timespec at = reply_time(a->atime_ns), mt = reply_time(a->mtime_ns), ct = reply_time(a->ctime_ns);

	*out = (struct fuse_entry_out){
	    .nodeid = a->ino,
	    .entry_valid = a->is_name_loose ? 0 : a->valid_ms / 1000,
	    .attr_valid = a->valid_ms / 1000,
	    .entry_valid_nsec = a->is_name_loose ? 0 : a->valid_ms % 1000 * 1000000,
	    .attr_valid_nsec = a->valid_ms % 1000 * 1000000,
	    .attr = {
		.ino = a->ino, .size = a->size, .blocks = a->blocks, .mode = a->mode, .nlink = a->nlink, .uid = a->uid, .gid = a->gid,
		.blksize = a->blksize,
		.atime = (uint64_t)at.tv_sec, .mtime = (uint64_t)mt.tv_sec, .ctime = (uint64_t)ct.tv_sec,
		.atimensec = (uint32_t)at.tv_nsec, .mtimensec = (uint32_t)mt.tv_nsec, .ctimensec = (uint32_t)ct.tv_nsec,
	    },
	};
}

static int
reply_open(struct request *r)
{
	struct weir_k_open_out out = reply_open_out(r);

	return fuse_reply_buf(r->req, (const char *)&out, sizeof(out));
}

static int
reply_create(struct request *r)
{
	struct {
		struct fuse_entry_out entry;
		struct weir_k_open_out open;
	} out;

	reply_entry_out(&out.entry, &r->op.attr);
	out.open = reply_open_out(r);
	return fuse_reply_buf(r->req, (const char *)&out, sizeof(out));
}

static int
reply_opendir(struct request *r)
{
	struct weir_k_open_out out = {.open_flags = r->op.drops_cache ? 0u : FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR};

	return fuse_reply_buf(r->req, (const char *)&out, sizeof(out));
}

static int
reply_statfs(fuse_req_t req, const struct weir_statfs *s)
{
	struct statvfs v = {
	    .f_bsize = s->bsize, .f_frsize = s->bsize, .f_blocks = s->blocks, .f_bfree = s->bfree, .f_bavail = s->bavail,
	    .f_files = s->files, .f_ffree = s->ffree, .f_favail = s->ffree, .f_namemax = s->namemax,
	};

	return fuse_reply_statfs(req, &v);
}

static int
reply_attr(fuse_req_t req, const struct weir_attr *a)
{
	struct stat st;

	reply_stat(&st, a);
	return fuse_reply_attr(req, &st, reply_seconds(a));
}

static int
reply_success(struct request *r)
{
	struct weir_op *op = &r->op;
	struct fuse_entry_param e;

	switch (op->kind) {
	case WEIR_OP_LOOKUP:
	case WEIR_OP_MKNOD:
	case WEIR_OP_MKDIR:
	case WEIR_OP_SYMLINK:
		e = reply_entry(&op->attr);
		return fuse_reply_entry(r->req, &e);
	case WEIR_OP_GETATTR:
	case WEIR_OP_SETATTR:
		return reply_attr(r->req, &op->attr);
	case WEIR_OP_READLINK:
	case WEIR_OP_READ:
		return fuse_reply_buf(r->req, op->buf, op->result);
	case WEIR_OP_GETXATTR:
	case WEIR_OP_LISTXATTR:
		return op->len == 0 ? fuse_reply_xattr(r->req, op->result) : fuse_reply_buf(r->req, op->buf, op->result);
	case WEIR_OP_CREATE:
		return reply_create(r);
	case WEIR_OP_OPEN:
		return reply_open(r);
	case WEIR_OP_OPENDIR:
		return reply_opendir(r);
	case WEIR_OP_READDIR:
		return fuse_reply_buf(r->req, r->dir, r->dir_len);
	case WEIR_OP_WRITE:
	case WEIR_OP_COPY_RANGE:
		return fuse_reply_write(r->req, op->result);
	case WEIR_OP_STATFS:
		return reply_statfs(r->req, &op->statfs);
	case WEIR_OP_LSEEK:
		return fuse_reply_lseek(r->req, (off_t)op->off);
	default:
		return fuse_reply_err(r->req, 0);
	}
}

/* ENOSYS tells the kernel never to ask again: that is meant for extended attributes (xattr = no) and for nothing else. */
static int
reply_errno(const struct weir_op *op, enum weir_code code)
{
	int no = weir_code_errno(code);
	bool is_xattr = op->kind == WEIR_OP_SETXATTR || op->kind == WEIR_OP_GETXATTR || op->kind == WEIR_OP_LISTXATTR ||
	    op->kind == WEIR_OP_REMOVEXATTR;

	return no == ENOSYS && !is_xattr ? EOPNOTSUPP : no;
}

/* ---- life of a request ---- */

static void request_submit(struct request *);

static struct request *
request_new(fuse_req_t req, enum weir_op_kind kind, uint64_t ino, size_t tail)
{
	const struct fuse_in_header *in = weir_fuse_current();
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct request *r = calloc(1, sizeof(*r) + tail);

	if (r == NULL) {
		fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	r->w = fuse_req_userdata(req);
	r->req = req;
	r->unique = in->unique;
	r->op.kind = kind;
	r->op.unique = in->unique & ~WEIR_K_UNIQUE_RESEND;
	r->op.is_resent = (in->unique & WEIR_K_UNIQUE_RESEND) != 0;
	r->op.uid = ctx->uid;
	r->op.gid = ctx->gid;
	r->op.pid = ctx->pid;
	r->op.umask = ctx->umask;
	r->op.ino = ino;
	r->op.pass_fd = -1;
	r->op.front = r;
	pthread_mutex_init(&r->mu, NULL);
	return r;
}

static void
request_free(struct request *r)
{
	weir_fuse_buf_free(r->big);
	free(r->dir);
	pthread_mutex_destroy(&r->mu);
	free(r);
}

/* An open the kernel does not take (the caller was killed, or the mount is gone) is closed again. */
static void
request_undo_open(const struct request *old)
{
	struct request *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return;		/* a handle too many until the next mount: opens.h */
	r->w = old->w;
	r->op.kind = WEIR_OP_RELEASE;
	r->op.ino = old->op.kind == WEIR_OP_CREATE ? old->op.attr.ino : old->op.ino;
	r->op.fh = old->op.fh;
	r->op.flags = old->op.flags;
	r->op.pass_fd = -1;
	r->op.front = r;
	pthread_mutex_init(&r->mu, NULL);
	request_submit(r);
}

static void
request_finish(struct request *r, enum weir_code code)
{
	struct weir_op *op = &r->op;
	int sent = 0;

	if (r->req != NULL) {
		if (r->is_parked)
			fuse_req_interrupt_func(r->req, NULL, NULL);
		/* Attributes only: unlike pages these never make the caller wait (invalidate.c), and the reply must come after. */
		if (op->lost_bits)
			fuse_lowlevel_notify_inval_inode(r->w->se, op->ino, -1, 0);
		sent = code == WEIR_OK ? reply_success(r) : fuse_reply_err(r->req, reply_errno(op, code));
		weir_fuse_note_clear(r->w, r->unique);
	}
	if (code == WEIR_OK && sent != 0 && (op->kind == WEIR_OP_OPEN || op->kind == WEIR_OP_CREATE))
		request_undo_open(r);
	if (op->kind == WEIR_OP_RELEASE)
		weir_fuse_backing_released(r->w, op->ino);
	request_free(r);
}

static void
request_done(struct weir_op *op, enum weir_code code)
{
	struct request *r = op->front;
	bool is_mine;

	pthread_mutex_lock(&r->mu);
	r->code = code;
	r->is_done = true;
	is_mine = r->is_parked;
	pthread_mutex_unlock(&r->mu);
	if (is_mine)
		request_finish(r, code);
}

static void
request_interrupt(fuse_req_t req, void *arg)
{
	struct request *r = arg;

	pthread_mutex_lock(&r->mu);
	if (!r->is_done)
		weir_fs_cancel(r->w->fs, &r->op);
	pthread_mutex_unlock(&r->mu);
}

static void
request_submit(struct request *r)
{
	enum weir_code code;
	bool is_mine;

	r->op.done = request_done;
	code = weir_fs_submit(r->w->fs, &r->op);
	if (code != WEIR_PENDING) {
		request_finish(r, code);
		return;
	}
	/* Calls request_interrupt at once if the interrupt came first. */
	if (r->req != NULL)
		fuse_req_interrupt_func(r->req, request_interrupt, r);
	pthread_mutex_lock(&r->mu);
	r->is_parked = true;
	is_mine = r->is_done;
	pthread_mutex_unlock(&r->mu);
	if (is_mine)
		request_finish(r, r->code);
}

/* ---- names ---- */

static struct request *
request_with_name(fuse_req_t req, enum weir_op_kind kind, uint64_t ino, const char *name)
{
	size_t len = strlen(name) + 1;
	struct request *r = request_new(req, kind, ino, len);

	if (r != NULL)
		r->op.name = memcpy(r->tail, name, len);
	return r;
}

static struct request *
request_with_names(fuse_req_t req, enum weir_op_kind kind, uint64_t ino, const char *name, const char *name2)
{
	size_t len = strlen(name) + 1, len2 = strlen(name2) + 1;
	struct request *r = request_new(req, kind, ino, len + len2);

	if (r == NULL)
		return NULL;
	r->op.name = memcpy(r->tail, name, len);
	r->op.name2 = memcpy(r->tail + len, name2, len2);
	return r;
}

static void
request_submit_any(struct request *r)
{
	if (r != NULL)
		request_submit(r);
}

static void
ll_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	request_submit_any(request_with_name(req, WEIR_OP_LOOKUP, parent, name));
}

static void
ll_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct request *r = request_with_name(req, WEIR_OP_MKNOD, parent, name);

	if (r == NULL)
		return;
	r->op.mode = mode;
	request_submit(r);
}

static void
ll_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct request *r = request_with_name(req, WEIR_OP_MKDIR, parent, name);

	if (r == NULL)
		return;
	r->op.mode = mode;
	request_submit(r);
}

static void
ll_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	request_submit_any(request_with_names(req, WEIR_OP_SYMLINK, parent, name, target));
}

static void
ll_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	request_submit_any(request_with_name(req, WEIR_OP_UNLINK, parent, name));
}

static void
ll_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	request_submit_any(request_with_name(req, WEIR_OP_RMDIR, parent, name));
}

static void
ll_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent, const char *newname, unsigned flags)
{
	struct request *r = request_with_names(req, WEIR_OP_RENAME, parent, name, newname);

	if (r == NULL)
		return;
	r->op.ino2 = newparent;
	r->op.flags = flags;
	request_submit(r);
}

/* For what needs nothing of fs. */
static void
request_answer(fuse_req_t req, int error)
{
	struct weir_fuse_worker *w = fuse_req_userdata(req);

	fuse_reply_err(req, error);
	weir_fuse_note_clear(w, weir_fuse_current()->unique);
}

/* Hard links are refused by design. Without a handler the answer would be ENOSYS, which programs take for a broken file system. */
static void
ll_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	request_answer(req, EPERM);
}

static void
ll_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct request *r = request_new(req, WEIR_OP_READLINK, ino, REQUEST_LINK_MAX);

	if (r == NULL)
		return;
	r->op.buf = r->tail;
	r->op.len = REQUEST_LINK_MAX;
	request_submit(r);
}

/* ---- attributes ---- */

static void
ll_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	request_submit_any(request_new(req, WEIR_OP_GETATTR, ino, 0));
}

static int64_t
request_ns(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

static void
request_set_times(struct weir_op *op, const struct stat *st, int to_set)
{
	if (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW)) {
		op->set_mask |= WEIR_SET_ATIME;
		op->set.atime_ns = to_set & FUSE_SET_ATTR_ATIME_NOW ? weir_wall_ns() : request_ns(&st->st_atim);
	}
	if (to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) {
		op->set_mask |= WEIR_SET_MTIME;
		op->set.mtime_ns = to_set & FUSE_SET_ATTR_MTIME_NOW ? weir_wall_ns() : request_ns(&st->st_mtim);
	}
	if (to_set & FUSE_SET_ATTR_CTIME) {
		op->set_mask |= WEIR_SET_CTIME;
		op->set.ctime_ns = request_ns(&st->st_ctim);
	}
}

static void
ll_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi)
{
	struct request *r = request_new(req, WEIR_OP_SETATTR, ino, 0);
	struct weir_op *op;

	if (r == NULL)
		return;
	op = &r->op;
	op->set.mode = st->st_mode;
	op->set.uid = st->st_uid;
	op->set.gid = st->st_gid;
	op->set.size = (uint64_t)st->st_size;
	op->set_mask = (to_set & FUSE_SET_ATTR_MODE ? WEIR_SET_MODE : 0) | (to_set & FUSE_SET_ATTR_UID ? WEIR_SET_UID : 0) |
	    (to_set & FUSE_SET_ATTR_GID ? WEIR_SET_GID : 0) | (to_set & FUSE_SET_ATTR_SIZE ? WEIR_SET_SIZE : 0) |
	    (to_set & FATTR_KILL_SUIDGID ? WEIR_SET_KILLPRIV : 0);
	request_set_times(op, st, to_set);
	if (fi != NULL)
		op->fh = fi->fh;
	request_submit(r);
}

static void
ll_statfs(fuse_req_t req, fuse_ino_t ino)
{
	request_submit_any(request_new(req, WEIR_OP_STATFS, ino, 0));
}

/* ---- files ---- */

/* The arguments behind the header, for the bits libfuse drops. */
static const void *
request_args(void)
{
	return weir_fuse_current() + 1;
}

static void
ll_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct request *r = request_with_name(req, WEIR_OP_CREATE, parent, name);
	const struct fuse_create_in *in = request_args();

	if (r == NULL)
		return;
	r->op.mode = mode;
	r->op.flags = (uint32_t)fi->flags;
	r->op.is_killpriv = (in->open_flags & FUSE_OPEN_KILL_SUIDGID) != 0;
	request_submit(r);
}

static void
ll_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct request *r = request_new(req, WEIR_OP_OPEN, ino, 0);
	const struct fuse_open_in *in = request_args();

	if (r == NULL)
		return;
	r->op.flags = (uint32_t)fi->flags;
	r->op.is_killpriv = (in->open_flags & FUSE_OPEN_KILL_SUIDGID) != 0;
	request_submit(r);
}

/* Answered first: the kernel does not wait for the outcome, and a RELEASE that came again after a take-over would be counted twice, so that
 * an unlinked file could be reaped while somebody reads it. Answered first it is counted at most once. */
static void
ll_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct request *r = request_new(req, WEIR_OP_RELEASE, ino, 0);

	if (r == NULL)
		return;
	r->op.fh = fi->fh;
	r->op.flags = (uint32_t)fi->flags;
	fuse_reply_err(req, 0);
	weir_fuse_note_clear(r->w, r->unique);
	r->req = NULL;
	request_submit(r);
}

static void
ll_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct request *r = request_new(req, WEIR_OP_FLUSH, ino, 0);

	if (r == NULL)
		return;
	r->op.fh = fi->fh;
	request_submit(r);
}

static void
ll_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct request *r = request_new(req, WEIR_OP_FSYNC, ino, 0);

	if (r == NULL)
		return;
	r->op.fh = fi->fh;
	request_submit(r);
}

static void
ll_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	bool is_big = size > REQUEST_COPY_MAX;
	struct request *r = request_new(req, WEIR_OP_READ, ino, is_big ? 0 : size);

	if (r == NULL)
		return;
	r->op.buf = is_big ? (r->big = weir_fuse_buf_alloc()) : r->tail;
	r->op.fh = fi->fh;
	r->op.len = size < WEIR_FUSE_BUF ? size : WEIR_FUSE_BUF;
	r->op.off = (uint64_t)off;
	if (r->op.buf == NULL)
		request_finish(r, WEIR_E_NOMEM);
	else
		request_submit(r);
}

static void
ll_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off, struct fuse_file_info *fi)
{
	bool is_big = size > REQUEST_COPY_MAX;
	struct request *r = request_new(req, WEIR_OP_WRITE, ino, is_big ? 0 : size);
	const struct fuse_write_in *in = request_args();

	if (r == NULL)
		return;
	r->op.is_killpriv = (in->write_flags & FUSE_WRITE_KILL_SUIDGID) != 0;
	r->op.is_pagecache = (in->write_flags & FUSE_WRITE_CACHE) != 0;
	if (is_big) {
		r->big = weir_fuse_take_current();
		r->op.buf = (void *)data;	/* inside that buffer */
	} else {
		r->op.buf = memcpy(r->tail, data, size);
	}
	r->op.fh = fi->fh;
	r->op.flags = (uint32_t)fi->flags;
	r->op.len = size;
	r->op.off = (uint64_t)off;
	request_submit(r);
}

static void
ll_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
	struct request *r = request_new(req, WEIR_OP_FALLOCATE, ino, 0);

	if (r == NULL)
		return;
	r->op.fh = fi->fh;
	r->op.flags = (uint32_t)mode;
	r->op.off = (uint64_t)off;
	r->op.len64 = (uint64_t)len;
	request_submit(r);
}

static void
ll_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	struct request *r = request_new(req, WEIR_OP_LSEEK, ino, 0);

	if (r == NULL)
		return;
	r->op.fh = fi->fh;
	r->op.flags = (uint32_t)whence;
	r->op.off = (uint64_t)off;
	request_submit(r);
}

static void
ll_copy_file_range(fuse_req_t req, fuse_ino_t ino, off_t off, struct fuse_file_info *fi, fuse_ino_t ino2, off_t off2,
    struct fuse_file_info *fi2, size_t len, int flags)
{
	struct request *r = request_new(req, WEIR_OP_COPY_RANGE, ino, 0);

	if (r == NULL)
		return;
	r->op.fh = fi->fh;
	r->op.off = (uint64_t)off;
	r->op.ino2 = ino2;
	r->op.fh2 = fi2->fh;
	r->op.off2 = (uint64_t)off2;
	r->op.len64 = len;
	r->op.flags = (uint32_t)flags;
	request_submit(r);
}

/* ---- directories ---- */

static void
ll_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	request_submit_any(request_new(req, WEIR_OP_OPENDIR, ino, 0));
}

static void
ll_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	request_answer(req, 0);		/* fs keeps nothing for an open directory */
}

static void
ll_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	request_submit_any(request_new(req, WEIR_OP_FSYNCDIR, ino, 0));
}

static int
dir_emit(struct weir_op *op, const char *name, const struct weir_attr *a, uint64_t cookie)
{
	struct request *r = op->front;
	char *at = r->dir + r->dir_len;
	size_t room = r->dir_size - r->dir_len, need;
	struct fuse_entry_param e = reply_entry(a);

	/* "." and ".." are names only: node 0 tells the kernel not to count a lookup. */
	if (name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0')))
		e.ino = 0;
	need = r->is_plus ? fuse_add_direntry_plus(r->req, at, room, name, &e, (off_t)cookie)
			  : fuse_add_direntry(r->req, at, room, name, &e.attr, (off_t)cookie);
	if (need > room)
		return 1;
	r->dir_len += need;
	return 0;
}

static void
request_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool is_plus)
{
	struct request *r = request_new(req, WEIR_OP_READDIR, ino, 0);

	if (r == NULL)
		return;
	r->op.off = (uint64_t)off;
	r->op.emit = dir_emit;
	r->is_plus = is_plus;
	r->dir_size = size < WEIR_FUSE_BUF ? size : WEIR_FUSE_BUF;
	r->dir = malloc(r->dir_size);
	if (r->dir == NULL)
		request_finish(r, WEIR_E_NOMEM);
	else
		request_submit(r);
}

static void
ll_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	request_readdir(req, ino, size, off, false);
}

static void
ll_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	request_readdir(req, ino, size, off, true);
}

/* ---- extended attributes ---- */

static void
ll_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	size_t len = strlen(name) + 1;
	struct request *r = request_new(req, WEIR_OP_SETXATTR, ino, len + size);

	if (r == NULL)
		return;
	r->op.name = memcpy(r->tail, name, len);
	r->op.buf = memcpy(r->tail + len, value, size);
	r->op.len = size;
	r->op.flags = (uint32_t)flags;
	request_submit(r);
}

static void
ll_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	size_t len = strlen(name) + 1;
	struct request *r = request_new(req, WEIR_OP_GETXATTR, ino, len + size);

	if (r == NULL)
		return;
	r->op.name = memcpy(r->tail, name, len);
	r->op.buf = r->tail + len;
	r->op.len = size;
	request_submit(r);
}

static void
ll_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct request *r = request_new(req, WEIR_OP_LISTXATTR, ino, size);

	if (r == NULL)
		return;
	r->op.buf = r->tail;
	r->op.len = size;
	request_submit(r);
}

static void
ll_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	request_submit_any(request_with_name(req, WEIR_OP_REMOVEXATTR, ino, name));
}

/* ---- forgetting ---- */

static void
ll_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	struct weir_fuse_worker *w = fuse_req_userdata(req);

	weir_fs_forget(w->fs, ino, n);
	fuse_reply_none(req);
}

static void
ll_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct weir_fuse_worker *w = fuse_req_userdata(req);

	for (size_t i = 0; i < count; i++)
		weir_fs_forget(w->fs, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

/* Missing on purpose: getlk, setlk, flock (locks are the kernel's), access (default_permissions), bmap, ioctl, poll; write_buf and with it
 * splice; and O_TMPFILE, which libfuse 3.14 does not know: its ENOSYS becomes EOPNOTSUPP. */
static const struct fuse_lowlevel_ops requests_ops = {
    .lookup = ll_lookup,
    .forget = ll_forget,
    .forget_multi = ll_forget_multi,
    .getattr = ll_getattr,
    .setattr = ll_setattr,
    .readlink = ll_readlink,
    .mknod = ll_mknod,
    .mkdir = ll_mkdir,
    .unlink = ll_unlink,
    .rmdir = ll_rmdir,
    .symlink = ll_symlink,
    .rename = ll_rename,
    .link = ll_link,
    .open = ll_open,
    .read = ll_read,
    .write = ll_write,
    .flush = ll_flush,
    .release = ll_release,
    .fsync = ll_fsync,
    .opendir = ll_opendir,
    .readdir = ll_readdir,
    .readdirplus = ll_readdirplus,
    .releasedir = ll_releasedir,
    .fsyncdir = ll_fsyncdir,
    .statfs = ll_statfs,
    .setxattr = ll_setxattr,
    .getxattr = ll_getxattr,
    .listxattr = ll_listxattr,
    .removexattr = ll_removexattr,
    .create = ll_create,
    .fallocate = ll_fallocate,
    .copy_file_range = ll_copy_file_range,
    .lseek = ll_lseek,
};

const void *
weir_fuse_ops(size_t *size)
{
	*size = sizeof(requests_ops);
	return &requests_ops;
}
