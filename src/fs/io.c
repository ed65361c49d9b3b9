/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes: reading, writing, holes, copies. The only code that moves file data between callers and content files. */
#include "config.h"

#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define COPY_BYTES (1u << 20)
#define READ_CHECKS 16		/* a read of the kernel covers at most 9 pages */
#define DISK_AHEAD (8u << 20)

/* The content behind a request, with a reference; made when the node has none yet. *n is fresh. */
static enum weir_code
io_content(struct weir_op *op, uint64_t ino, struct weir_node *n, struct weir_content **c)
{
	struct fs_open *o = open_find(op->fs, fs_in(op->fs, ino));
	enum weir_code r;

	*c = NULL;
	if (o && o->c && !o->c->is_unlinked) { /* the common case needs no row */
		weir_content_ref(o->c);
		*c = o->c;
		return WEIR_OK;
	}
	if ((r = fs_node(op, ino, n)))
		return r;
	if (n->type != WEIR_FILE)
		return n->type == WEIR_DIR ? WEIR_E_ISDIR : WEIR_E_INVAL;
	if ((r = file_content(op->fs, n, c, NULL)))
		return r;
	open_get(op, n);
	return WEIR_OK;
}

/* ---- reading ---- */

enum need { NEED_NOTHING, NEED_FETCH, NEED_VERIFY };

static enum need
pages_need(struct weir_content *c, uint64_t off, uint64_t len)
{
	enum need need = NEED_NOTHING;

	for (uint64_t i = off / WEIR_PAGE; i <= (off + len - 1) / WEIR_PAGE; i++) {
		const struct weir_page *p = weir_content_page(c, i);

		if (p->state == WEIR_PAGE_ABSENT)
			return NEED_FETCH;
		if ((p->state == WEIR_PAGE_CLEAN || p->state == WEIR_PAGE_CHANGED) && !(p->flags & WEIR_P_VERIFIED))
			need = NEED_VERIFY;
	}
	return need;
}

static enum weir_code
read_fetch(struct weir_op *op, struct weir_content *c, uint64_t off, uint64_t len)
{
	struct weir_node n;
	enum weir_code r = op->wait.code;

	op->wait.code = WEIR_OK;
	if (r)
		return r;
	if ((r = weir_node_get(op->fs->st, c->node, &n)))
		return WEIR_E_STALE;
	return weir_sync_fetch(op->fs->sy, &n, c, off, len, fs_waiter(op));
}

/* Make [off, off+len) readable; lock held at both ends. PENDING when parked. */
static enum weir_code
make_readable(struct weir_op *op, struct weir_content *c, uint64_t off, uint64_t len)
{
	enum weir_code r = WEIR_OK;

	for (int round = 0; !r; round++) {
		enum need need = c->size > off ? pages_need(c, off, len > c->size - off ? c->size - off : len) : NEED_NOTHING;
		bool dropped;

		if (need == NEED_NOTHING)
			return WEIR_OK;
		if (need == NEED_FETCH)
			return read_fetch(op, c, off, len);
		if (round > 2)
			return WEIR_E_IO;
		weir_store_unlock(op->fs->st);
		r = weir_content_verify(c, off / WEIR_PAGE, (off + len - 1) / WEIR_PAGE, &dropped, NULL);
		weir_store_lock(op->fs->st);
	}
	return r;
}

/* Pages of one read that are bound but not verified yet, as they were when the read began. */
struct read_check {
	uint64_t index[READ_CHECKS], hash[READ_CHECKS];
	size_t bytes[READ_CHECKS], n;
};

/* Can all that needs verifying be hashed in the reader's own buffer, because the read covers those pages whole? */
static bool
read_checks(struct weir_content *c, uint64_t off, uint64_t len, struct read_check *rc)
{
	rc->n = 0;
	for (uint64_t i = off / WEIR_PAGE; i <= (off + len - 1) / WEIR_PAGE; i++) {
		const struct weir_page *p = weir_content_page(c, i);
		size_t bytes = weir_content_page_bytes(c, i);

		if (p->state == WEIR_PAGE_ABSENT || (p->flags & WEIR_P_BAD))
			return false;
		if ((p->state != WEIR_PAGE_CLEAN && p->state != WEIR_PAGE_CHANGED) || (p->flags & WEIR_P_VERIFIED))
			continue;
		if (i * WEIR_PAGE < off || i * WEIR_PAGE + bytes > off + len || rc->n == READ_CHECKS)
			return false;
		rc->index[rc->n] = i;
		rc->hash[rc->n] = p->hash;
		rc->bytes[rc->n++] = bytes;
	}
	return true;
}

/* Lock held. false: some page is not what its checksum says; nothing of the buffer may be used. */
static bool
read_checked(struct weir_content *c, const struct read_check *rc, const bool *match)
{
	for (size_t k = 0; k < rc->n; k++) {
		struct weir_page *p = weir_content_page(c, rc->index[k]);

		if (!match[k] || p->hash != rc->hash[k])
			return false;
		if (p->state == WEIR_PAGE_CLEAN || p->state == WEIR_PAGE_CHANGED)
			p->flags |= WEIR_P_VERIFIED;
	}
	return true;
}

/* A sequential reader of the cache file keeps the disk busy ahead of itself. */
static void
read_ahead_disk(struct weir_content *c, uint64_t off, uint64_t len)
{
	uint64_t from;

	if (off != c->disk_next && off != 0) {
		c->disk_next = off + len;
		c->disk_ahead = 0;
		return;
	}
	c->disk_next = off + len;
	if (off == 0 || c->disk_ahead < c->disk_next)
		c->disk_ahead = c->disk_next;
	if (c->disk_ahead - c->disk_next > DISK_AHEAD / 2 || c->disk_ahead >= c->size)
		return;
	from = c->disk_ahead;
	c->disk_ahead = c->disk_next + DISK_AHEAD;
	posix_fadvise(c->fd, (off_t)from, (off_t)(c->disk_ahead - from), POSIX_FADV_WILLNEED);
}

/* Lock held at both ends. WEIR_E_BADSUM: look at the pages the slow way. */
static enum weir_code
read_bytes(struct weir_op *op, struct weir_content *c, uint64_t len, const struct read_check *rc)
{
	bool match[READ_CHECKS] = { false };
	ssize_t got;

	read_ahead_disk(c, op->off, len);
	weir_store_unlock(op->fs->st);
	got = weir_pread_full(c->fd, op->buf, (size_t)len, (off_t)op->off);
	for (size_t k = 0; k < rc->n && got == (ssize_t)len; k++)
		match[k] = weir_page_hash((const char *)op->buf + (rc->index[k] * WEIR_PAGE - op->off), rc->bytes[k]) == rc->hash[k];
	weir_store_lock(op->fs->st);
	if (got < 0)
		return WEIR_E_IO;
	if (rc->n && !read_checked(c, rc, match))
		return WEIR_E_BADSUM;
	op->result = (size_t)got;
	return WEIR_OK;
}

enum weir_code
io_read(struct weir_op *op)
{
	struct read_check rc;
	struct weir_content *c;
	struct weir_node n;
	uint64_t len;
	enum weir_code r;

	op->result = 0;
	if ((r = io_content(op, op->ino, &n, &c)))
		return r;
	len = op->off >= c->size ? 0 : c->size - op->off < op->len ? c->size - op->off : op->len;
	if (!len) {
		weir_content_put(c);
		return WEIR_OK;
	}
	r = read_checks(c, op->off, len, &rc) ? read_bytes(op, c, len, &rc) : WEIR_E_BADSUM;
	if (r == WEIR_E_BADSUM && !(r = make_readable(op, c, op->off, len))) {
		rc.n = 0;
		r = read_bytes(op, c, len, &rc);
	}
	if (!r && !c->is_complete)
		weir_sync_ahead(op->fs->sy, c, op->off, len);
	weir_content_put(c);
	return r;
}

/* ---- writing ---- */

/* Pages this write changes: its own, and the partial last page when it leaves a gap behind the old end. */
static uint64_t
write_from(const struct weir_content *c, uint64_t off)
{
	return off > c->size && c->size % WEIR_PAGE ? c->size : off;
}

/* Is every page that keeps some of its old bytes here, and none being fetched into? */
static bool
write_can_start(struct weir_content *c, uint64_t off, uint64_t len)
{
	for (uint64_t i = off / WEIR_PAGE; i <= (off + len - 1) / WEIR_PAGE; i++) {
		const struct weir_page *p = weir_content_page(c, i);
		uint64_t start = i * WEIR_PAGE, end = start + WEIR_PAGE < c->base_size ? start + WEIR_PAGE : c->base_size;

		if (p->flags & WEIR_P_FETCHING)
			return false;
		if (p->state == WEIR_PAGE_ABSENT && (off > start || off + len < end))
			return false;
	}
	return true;
}

/* One transaction before the first byte of a sealed page changes; nothing when all is open already. */
static enum weir_code
write_open_pages(struct weir_op *op, struct weir_content *c, uint64_t from, uint64_t len)
{
	struct weir_node n;
	enum weir_code r;

	if (c->is_dirty && !weir_content_needs_open(c, from, len))
		return WEIR_OK;
	if ((r = weir_node_get(op->fs->st, c->node, &n)))
		return WEIR_E_STALE;
	if ((r = fs_begin(op->fs)))
		return r;
	if (!(n.flags & WEIR_N_CONTENT)) {
		n.flags |= WEIR_N_CONTENT;
		if ((r = weir_node_update(op->fs->st, &n, NULL)) || (n.parent && (r = fs_journal(op->fs, &n, WEIR_DUE_NEVER))))
			return fs_fail(op->fs, r);
	}
	weir_content_open_pages(c, from, len);
	if ((r = weir_content_save(c, NULL)) || (r = weir_upload_stale(op->fs->st, c->node, NULL)))
		return fs_fail(op->fs, r);
	if ((r = weir_store_commit(op->fs->st, NULL)))
		return r;
	weir_content_set_dirty(c, true);
	return WEIR_OK;
}

static enum weir_code
write_room(struct weir_op *op, struct weir_content *c)
{
	struct weir_store *st = op->fs->st;
	uint64_t end = op->off + op->len;
	enum weir_code r;

	if (end < op->off || end > INT64_MAX)
		return WEIR_E_FBIG;
	if (end > c->size && (r = quota_room(op->fs, c->remote, end - c->size)))
		return r;
	if (st->cache_used + op->len <= st->cache_max || weir_store_evict(st, op->len))
		return WEIR_OK;
	if (c->counted + op->len > st->cache_max)
		return WEIR_E_NOSPC; /* no waiting can make this one file fit */
	if (op->wait.code) {
		r = op->wait.code;
		op->wait.code = WEIR_OK;
		return r;
	}
	for (size_t i = 0; i < weir_sync_count(op->fs->sy); i++)
		weir_sync_kick(weir_sync_at(op->fs->sy, i));
	weir_wait_add(&st->space, fs_waiter(op));
	return WEIR_PENDING;
}

static void
pages_inflight(struct weir_content *c, uint64_t off, uint64_t len, int by)
{
	for (uint64_t i = off / WEIR_PAGE; i <= (off + len - 1) / WEIR_PAGE; i++) {
		struct weir_page *p = weir_content_page(c, i);

		p->inflight = (uint16_t)(p->inflight + by);
		if (by > 0) {
			p->wgen = c->wgen;
			p->flags &= (uint8_t) ~(WEIR_P_VERIFIED | WEIR_P_BAD);
			if (p->state == WEIR_PAGE_OPEN && !(p->flags & WEIR_P_COUNTED))
				weir_content_page_set(c, i, WEIR_PAGE_OPEN, 0);
		}
	}
}

/* suid and sgid go with the first write by somebody who may not keep them. */
static void
write_kill_priv(struct weir_op *op, uint64_t node)
{
	struct weir_node n;

	if (!op->is_killpriv || weir_node_get(op->fs->st, node, &n) || !(n.mode & (S_ISUID | S_ISGID)) || fs_begin(op->fs))
		return;
	n.mode &= ~(uint32_t)(S_ISUID | (n.mode & S_IXGRP ? S_ISGID : 0));
	if (weir_node_update(op->fs->st, &n, NULL))
		weir_store_rollback(op->fs->st);
	else
		op->lost_bits = !weir_store_commit(op->fs->st, NULL);
}

static enum weir_code
write_bytes(struct weir_op *op, struct weir_content *c)
{
	struct weir_fs *fs = op->fs;
	struct fs_open *o = open_find(fs, c->node);
	int rc, e;

	weir_content_aside(c, op->off, op->len);
	c->wgen++;
	c->writing++;
	pages_inflight(c, op->off, op->len, 1);
	weir_store_unlock(fs->st);
	rc = weir_pwrite_full(c->fd, op->buf, op->len, (off_t)op->off);
	e = errno;
	weir_store_lock(fs->st);
	pages_inflight(c, op->off, op->len, -1);
	c->writing--;
	if (!c->writing)
		weir_wake_all(&c->waiters, WEIR_OK);
	if (rc)
		return e == ENOSPC || e == EDQUOT ? WEIR_E_NOSPC : WEIR_E_IO;
	if (op->off + op->len > c->size) {
		quota_grow(fs, c->remote, (int64_t)(op->off + op->len - c->size));
		c->size = op->off + op->len;
	}
	c->mtime_ns = c->ctime_ns = weir_wall_ns();
	c->is_attr_dirty = true;
	if (o) {
		o->needs_due = true;
		o->written_ms = weir_now_ms();
	}
	op->result = op->len;
	return WEIR_OK;
}

enum weir_code
io_write(struct weir_op *op)
{
	struct weir_content *c;
	struct weir_node n;
	uint64_t from;
	enum weir_code r;

	op->result = 0;
	if (!op->len)
		return WEIR_OK;
	if ((r = io_content(op, op->ino, &n, &c)))
		return r;
	from = write_from(c, op->off);
	if (!(r = write_room(op, c))) {
		if (!write_can_start(c, from, op->off + op->len - from))
			r = read_fetch(op, c, from, op->off + op->len - from);
		else if (!(r = write_open_pages(op, c, from, op->off + op->len - from))) {
			r = write_bytes(op, c);
			write_kill_priv(op, c->node);
		}
	}
	weir_content_put(c);
	return r;
}

/* ---- space ---- */

static enum weir_code
zero_range(struct weir_op *op, struct weir_content *c, uint64_t end)
{
	enum weir_code r;
	int rc;

	if (end > c->size)
		end = c->size;
	if (op->off >= end)
		return WEIR_OK;
	if ((r = write_open_pages(op, c, op->off, end - op->off)))
		return r;
	weir_content_aside(c, op->off, end - op->off);
	c->wgen++;
	c->writing++;
	pages_inflight(c, op->off, end - op->off, 1);
	weir_store_unlock(op->fs->st);
	rc = fallocate(c->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)op->off, (off_t)(end - op->off));
	weir_store_lock(op->fs->st);
	pages_inflight(c, op->off, end - op->off, -1);
	c->writing--;
	c->mtime_ns = c->ctime_ns = weir_wall_ns();
	c->is_attr_dirty = true;
	if (open_find(op->fs, c->node))
		open_find(op->fs, c->node)->needs_due = true;
	return rc ? WEIR_E_IO : WEIR_OK;
}

enum weir_code
io_fallocate(struct weir_op *op)
{
	const uint32_t known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
	uint64_t end = op->off + op->len64;
	struct weir_content *c;
	struct weir_node n;
	enum weir_code r;

	if (op->flags & ~known)
		return WEIR_E_NOTSUP;
	if (end < op->off || end > INT64_MAX)
		return WEIR_E_FBIG;
	if ((r = io_content(op, op->ino, &n, &c)))
		return r;
	if (!c->is_complete && (op->flags & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))) {
		r = read_fetch(op, c, 0, c->base_size);
		weir_sync_fetch_all(op->fs->sy, c);
		weir_content_put(c);
		return r;
	}
	if (op->flags & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		r = zero_range(op, c, end);
	if (!r && end > c->size) {
		if (op->flags & FALLOC_FL_KEEP_SIZE)
			r = quota_room(op->fs, c->remote, end - c->size);
		else if (!(r = weir_node_get(op->fs->st, c->node, &n)))
			r = file_truncate(op, &n, end);
	}
	weir_content_put(c);
	return r;
}

enum weir_code
io_lseek(struct weir_op *op)
{
	struct weir_content *c;
	struct weir_node n;
	off_t at;
	enum weir_code r;

	if ((r = io_content(op, op->ino, &n, &c)))
		return r;
	if (op->off >= c->size)
		r = WEIR_E_NXIO;
	else if (!c->is_complete) /* what is not here yet is data */
		op->off = op->flags == SEEK_HOLE ? c->size : op->off;
	else {
		at = lseek(c->fd, (off_t)op->off, op->flags == SEEK_HOLE ? SEEK_HOLE : SEEK_DATA);
		if (at < 0)
			r = errno == ENXIO ? WEIR_E_NXIO : WEIR_E_IO;
		else
			op->off = (uint64_t)at;
	}
	weir_content_put(c);
	return r;
}

/* A whole file into a new one on the same remote: the storage copies it. NOTSUP: not this way. */
static enum weir_code
copy_by_storage(struct weir_op *op)
{
	struct weir_node from, to;
	struct weir_content *c;
	bool is_made, is_refused = op->wait.code != WEIR_OK;
	enum weir_code r;

	if (op->off || op->off2 || op->ino == op->ino2)
		return WEIR_E_NOTSUP;
	if ((r = fs_node(op, op->ino, &from)) || (r = fs_node(op, op->ino2, &to)))
		return r;
	if (from.type != WEIR_FILE || !from.size || op->len64 < from.size || from.size > UINT32_MAX - WEIR_PAGE)
		return WEIR_E_NOTSUP; /* one answer holds 32 bits */
	if ((r = io_content(op, op->ino2, &to, &c)) || (r = fs_node(op, op->ino2, &to)))
		return r;
	/* It was parked for this copy (or its own pages, but then the file here is unsent). */
	is_made = op->tries && to.rparent && !(to.flags & WEIR_N_CONTENT) && to.size == from.size;
	if (is_refused) {
		op->wait.code = WEIR_OK;
		c->no_copy = true;
	}
	r = !is_made && (c->no_copy || c->size || c->wgen || c->writing) ? WEIR_E_NOTSUP : WEIR_OK;
	weir_content_put(c);
	if (is_made)
		op->result = (size_t)from.size;
	if (r || is_made)
		return r;
	if ((r = quota_room(op->fs, to.remote, from.size)))
		return r;
	return weir_sync_copy(op->fs->sy, &from, &to, fs_waiter(op));
}

/* A piece of one file into another, by the storage or through the caches. May do less than asked, as the call allows. */
enum weir_code
io_copy(struct weir_op *op)
{
	size_t len = op->len64 < COPY_BYTES ? (size_t)op->len64 : COPY_BYTES;
	WEIR_AUTO(weir_freep) void *buf = NULL;
	struct weir_content *c;
	struct weir_node n;
	ssize_t got = 0;
	enum weir_code r;

	op->result = 0;
	if ((r = copy_by_storage(op)) != WEIR_E_NOTSUP)
		return r;
	if ((r = io_content(op, op->ino, &n, &c)))
		return r;
	if (op->off >= c->size)
		len = 0;
	else if (len > c->size - op->off)
		len = (size_t)(c->size - op->off);
	if (len && !(r = make_readable(op, c, op->off, len))) {
		buf = malloc(len);
		weir_store_unlock(op->fs->st);
		got = buf ? weir_pread_full(c->fd, buf, len, (off_t)op->off) : -1;
		weir_store_lock(op->fs->st);
		r = got < 0 ? WEIR_E_IO : WEIR_OK;
	}
	weir_content_put(c);
	if (!r && got > 0) {
		struct weir_op w = *op;

		w.ino = op->ino2;
		w.off = op->off2;
		w.buf = buf;
		w.len = (size_t)got;
		r = io_write(&w);
		op->result = w.result;
		if (r == WEIR_PENDING) { /* the copy of the op must not stay in a queue: park the op itself in its place */
			weir_wait_remove(&w.wait);
			if (!(r = io_content(op, op->ino2, &n, &c))) {
				bool is_full = op->fs->st->cache_used + w.len > op->fs->st->cache_max;

				weir_wait_add(is_full ? &op->fs->st->space : &c->waiters, fs_waiter(op));
				weir_content_put(c);
				r = WEIR_PENDING;
			}
		}
	}
	return r;
}
