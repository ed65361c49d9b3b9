/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, closing, syncing, cutting: the life of a file while somebody holds it.
 *
 * An fh is 1 when the handle may write, else 0; everything else is found by the node's number, so that handles outlive a worker. */
#include "config.h"

#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define IDLE_MS 10000	/* a file that is written and kept open is sent after so long without a write … */
#define LOG_MS 60000		/* … and else after so long, and as long again for each LOG_BYTES: a log is seen from elsewhere while it grows, and … */
#define LOG_BYTES (64ull << 20)	/* … what is sent again and again costs no more than about 1 MB/s */
#define FH_WRITER 1u
#define SEAL_MS 10000	/* a closed file that was not sent for so long gets its checksums */
#define SEAL_BATCH 64

static struct fs_open **
open_slot(struct weir_fs *fs, uint64_t ino)
{
	return &fs->open[(ino * 0x9e3779b97f4a7c15ull >> 40) % OPEN_SLOTS];
}

struct fs_open *
open_find(struct weir_fs *fs, uint64_t ino)
{
	struct fs_open *o = *open_slot(fs, ino);

	while (o && o->ino != ino)
		o = o->next;
	return o;
}

struct fs_open *
open_get(struct weir_op *op, const struct weir_node *n)
{
	struct fs_open *o = open_find(op->fs, n->id), **slot = open_slot(op->fs, n->id);

	if (!o) {
		o = weir_xcalloc(1, sizeof(*o));
		o->ino = n->id;
		o->next = *slot;
		*slot = o;
		/* After a take-over nobody knows whether the earlier worker gave the row its time. */
		o->needs_due = (n->flags & WEIR_N_CONTENT) != 0;
		o->behind_ms = weir_now_ms();
	}
	if (o->c && o->c->num != n->content) {
		weir_content_put(o->c);
		o->c = NULL;
	}
	if (!o->c && weir_content_get(op->fs->st, n, &o->c, NULL))
		o->c = NULL;
	return o;
}

void
open_drop(struct weir_fs *fs, struct fs_open *o)
{
	struct fs_open **p;

	for (p = open_slot(fs, o->ino); *p != o; p = &(*p)->next)
		;
	*p = o->next;
	weir_content_put(o->c);
	free(o);
}

bool
fs_is_open(void *arg, uint64_t node)
{
	struct weir_fs *fs = arg;

	return weir_opens_find(fs->opens, node, NULL);
}

bool
fs_is_open_for_writing(void *arg, uint64_t node)
{
	struct weir_fs *fs = arg;
	struct weir_open_slot slot;

	return weir_opens_find(fs->opens, node, &slot) && slot.writers > 0;
}

/* A version is to go out though it is being written. */
static bool
is_wanted(const struct weir_fs *fs, const struct fs_open *o)
{
	return (o->sent_ms < o->wanted_ms && weir_now_ms() - o->wanted_ms < IDLE_MS) || (fs->flushes && o->sent_ms < fs->wanted_ms);
}

/* A shell's redirection closes a copy of its descriptor before the program writes its first byte, and who copies a large file needs minutes for it: what is
 * written again after it was handed in waits for its next close, or for a pause. */
bool
fs_is_put_off(void *arg, uint64_t node)
{
	struct weir_fs *fs = arg;
	struct fs_open *o = open_find(fs, node);

	if (!o || !((o->c && o->c->is_attr_dirty) || o->needs_due) || fs->is_stopping || !fs_is_open_for_writing(fs, node))
		return false;
	return !is_wanted(fs, o);
}

void
fs_was_sent(void *arg, uint64_t node, int64_t at_ms)
{
	struct fs_open *o = open_find(arg, node);

	if (!o)
		return;
	o->sent_ms = at_ms;
	o->behind_ms = weir_now_ms();
}

void
file_save_attr(struct weir_fs *fs, struct weir_content *c, struct weir_node *n)
{
	if (!c->is_attr_dirty || n->content != c->num)
		return;
	quota_grow(fs, n->remote, (int64_t)n->size - (int64_t)c->size);
	n->size = c->size;
	n->mtime_ns = c->mtime_ns;
	n->ctime_ns = c->ctime_ns;
	n->flags |= WEIR_N_EXACT;
	c->is_attr_dirty = false;
	c->is_row_dirty = true; /* saved by the close, or the last weir_content_put */
}

enum weir_code
file_content(struct weir_fs *fs, struct weir_node *n, struct weir_content **out, struct weir_err *err)
{
	enum weir_code r = weir_content_get(fs->st, n, out, err);

	if (r || *out)
		return r;
	if ((r = weir_store_begin(fs->st, err)))
		return r;
	if ((r = weir_content_new(fs->st, n, false, n->rsize, out, err)) || (r = weir_node_update(fs->st, n, err))) {
		weir_store_rollback(fs->st);
		weir_content_put(*out);
		*out = NULL;
		return r;
	}
	return weir_store_commit(fs->st, err);
}

/* ---- open ---- */

/* What has no size yet gets it before anybody reads or cuts it. */
static enum weir_code
open_sized(struct weir_op *op, const struct weir_node *n)
{
	enum weir_code r = op->wait.code;

	if (!(n->flags & WEIR_N_UNSIZED) || !n->rparent)
		return WEIR_OK;
	op->wait.code = WEIR_OK;
	return r ? r : weir_sync_size(op->fs->sy, n, fs_waiter(op));
}

/* Runs again whenever a piece has arrived, until nothing is missing. */
enum weir_code
file_prefetch(struct weir_op *op)
{
	struct weir_content *c;
	struct weir_node n;
	enum weir_code r = fs_node(op, op->ino, &n);

	if (r)
		return r;
	if (n.type != WEIR_FILE)
		return n.type == WEIR_DIR ? WEIR_E_ISDIR : WEIR_E_INVAL;
	if ((n.flags & WEIR_N_LOCAL) || (r = open_sized(op, &n)) || !n.size)
		return r;
	if (op->wait.code) {
		r = op->wait.code;
		op->wait.code = WEIR_OK;
		return r;
	}
	if ((r = file_content(op->fs, &n, &c, NULL)))
		return r;
	r = weir_sync_prefetch(op->fs->sy, &n, c, fs_waiter(op));
	weir_content_touch(c);
	weir_content_put(c);
	return r;
}

static enum weir_code
open_for_write(struct weir_op *op, struct weir_node *n)
{
	enum weir_code r;

	if ((r = fs_writable(op->fs, n)))
		return r;
	if (n->flags & WEIR_N_READONLY)
		return WEIR_E_ACCES;
	settle_upset(op->fs, n);
	if (op->flags & O_TRUNC)
		return file_truncate(op, n, 0);
	return WEIR_OK;
}

enum weir_code
file_open(struct weir_op *op)
{
	bool is_writer = (op->flags & O_ACCMODE) != O_RDONLY, is_miss;
	struct weir_content *c;
	struct weir_node n;
	enum weir_code r;

	op->pass_fd = -1;
	if ((r = fs_node(op, op->ino, &n)))
		return r;
	if (n.type == WEIR_DIR)
		return WEIR_E_ISDIR;
	weir_sync_used(op->fs->sy, n.remote);
	if ((r = open_sized(op, &n)))
		return r;
	op->drops_cache = weir_sync_is_telling(op->fs->sy, &n);
	if ((is_writer || (op->flags & O_TRUNC)) && (r = open_for_write(op, &n)))
		return r;
	if (n.type == WEIR_FILE && (n.content || n.rparent)) {
		if ((r = file_content(op->fs, &n, &c, NULL)))
			return r;
		weir_content_touch(c);
		if (!c->is_complete && is_writer)
			weir_sync_fetch_all(op->fs->sy, c);
		else if (!c->is_complete && n.rsize <= 1u << 20)
			weir_sync_fetch(op->fs->sy, &n, c, 0, n.rsize, NULL); /* it will be read: why else is it opened */
		is_miss = !c->is_complete;
		weir_content_put(c);
		weir_sync_neighbours(op->fs->sy, &n, is_miss);
	}
	if (weir_opens_get(op->fs->opens, n.id, is_writer, NULL))
		return WEIR_E_NFILE;
	open_get(op, &n);
	if (is_writer && op->is_killpriv && (n.mode & (S_ISUID | S_ISGID)) && !fs_begin(op->fs)) {
		n.mode &= ~(uint32_t)(S_ISUID | (n.mode & S_IXGRP ? S_ISGID : 0));
		if (weir_node_update(op->fs->st, &n, NULL))
			weir_store_rollback(op->fs->st);
		else
			op->lost_bits = !weir_store_commit(op->fs->st, NULL);
	}
	op->fh = is_writer ? FH_WRITER : 0;
	return WEIR_OK;
}

/* ---- sealing ---- */

/* close(2) does not wait for checksums. Mostly the upload makes them, from what it reads anyway; the keeper makes those of files that were not sent
 * SEAL_MS after their close. Until then the pages are OPEN. */
void
file_seal_later(struct weir_fs *fs, uint64_t node)
{
	if (fs->nto_seal && fs->to_seal[fs->nto_seal - 1].node == node)
		return;
	if (fs->nto_seal == fs->to_seal_cap) {
		fs->to_seal_cap = fs->to_seal_cap ? fs->to_seal_cap * 2 : 64;
		fs->to_seal = weir_xrealloc(fs->to_seal, fs->to_seal_cap, sizeof(*fs->to_seal));
	}
	fs->to_seal[fs->nto_seal++] = (struct fs_to_seal){ .node = node, .closed_ms = weir_now_ms() };
}

/* Lock held; lets go of it while it reads. NULL: nothing to do, what the upload has sent meanwhile is CLEAN. */
static struct weir_content *
seal_one(struct weir_fs *fs, uint64_t node)
{
	struct weir_content *c = NULL;
	struct weir_node n;

	if (weir_node_get(fs->st, node, &n) || !(n.flags & WEIR_N_CONTENT) || weir_content_get(fs->st, &n, &c, NULL) || !c)
		return NULL;
	weir_store_unlock(fs->st);
	weir_content_seal(c, NULL);
	weir_store_lock(fs->st);
	return c;
}

/* The checksums of many files go into one transaction. */
static void
seal_save(struct weir_fs *fs, struct weir_content **cs, size_t n)
{
	enum weir_code r = WEIR_OK;

	if (n && !weir_store_begin(fs->st, NULL)) {
		for (size_t i = 0; i < n && !r; i++)
			r = weir_content_save(cs[i], NULL);
		if (r)
			weir_store_rollback(fs->st);
		else
			weir_store_commit(fs->st, NULL);
	}
	for (size_t i = 0; i < n; i++)
		weir_content_put(cs[i]);
}

void
file_seal_closed(struct weir_fs *fs)
{
	struct weir_content *cs[SEAL_BATCH];
	int64_t until = fs->is_stopping ? INT64_MAX : weir_now_ms() - SEAL_MS;

	for (;;) {
		struct fs_to_seal batch[SEAL_BATCH];
		size_t k = 0, n = 0;

		while (k < SEAL_BATCH && k < fs->nto_seal && fs->to_seal[k].closed_ms <= until) {
			batch[k] = fs->to_seal[k];
			k++;
		}
		if (!k)
			return;
		fs->nto_seal -= k;
		memmove(fs->to_seal, fs->to_seal + k, fs->nto_seal * sizeof(*fs->to_seal));
		for (size_t i = 0; i < k; i++)
			if ((cs[n] = seal_one(fs, batch[i].node)))
				n++;
		seal_save(fs, cs, n);
	}
}

/* ---- close ---- */

/* What was written becomes the journal's: sizes, times, and a time to send. */
static enum weir_code
file_hand_in(struct weir_op *op, struct fs_open *o, struct weir_node *n, int64_t delay_ms)
{
	struct weir_fs *fs = op->fs;
	enum weir_code r;

	if (!(o->c && o->c->is_attr_dirty) && !o->needs_due)
		return WEIR_OK;
	if (is_wanted(fs, o))
		delay_ms = 0;
	if ((r = fs_begin(fs)))
		return r;
	if (o->c) {
		file_save_attr(fs, o->c, n);
		if ((r = weir_content_save(o->c, NULL)))
			return fs_fail(fs, r);
	}
	if ((r = weir_node_update(fs->st, n, NULL)))
		return fs_fail(fs, r);
	if ((n->flags & WEIR_N_CONTENT) && n->parent && (r = fs_journal(fs, n, delay_ms)))
		return fs_fail(fs, r);
	if ((r = weir_store_commit(fs->st, NULL)))
		return r;
	o->needs_due = false;
	if (o->c && (n->flags & WEIR_N_CONTENT))
		file_seal_later(fs, n->id);
	fs_kick(fs, n->remote);
	return WEIR_OK;
}

/* write = through: the remote must have it. PENDING until then; the reason if it cannot. */
static enum weir_code
file_through(struct weir_op *op, struct weir_node *n)
{
	struct weir_remote *r = weir_sync_remote(op->fs->sy, n->remote);
	struct weir_journal_row row;

	if (!r || !weir_remote_conf(r)->is_through || !n->parent || !(n->flags & WEIR_N_CONTENT) || op->fs->is_stopping)
		return WEIR_OK;
	if (weir_journal_get(op->fs->st, n->id, &row) && row.attempts > 0 && op->tries && !weir_sync_is_sending(r, n->id))
		return (enum weir_code)row.code;
	weir_sync_wait_sent(r, fs_waiter(op));
	weir_sync_kick_now(r);
	return WEIR_PENDING;
}

static bool
is_through(struct weir_fs *fs, uint64_t remote)
{
	struct weir_remote *r = weir_sync_remote(fs->sy, remote);

	return r && weir_remote_conf(r)->is_through;
}

enum weir_code
file_flush(struct weir_op *op)
{
	struct fs_open *o;
	struct weir_node n;
	enum weir_code r;

	if (!(op->fh & FH_WRITER))
		return WEIR_OK;
	if ((r = fs_node(op, op->ino, &n)))
		return r == WEIR_E_STALE ? WEIR_OK : r;
	o = open_get(op, &n);
	if ((r = file_hand_in(op, o, &n, is_through(op->fs, n.remote) ? 0 : o->needs_due ? settle_ms(op, &n) : WEIR_SETTLE_MS)))
		return r;
	return file_through(op, &n);
}

enum weir_code
file_release(struct weir_op *op)
{
	struct weir_open_slot slot = { 0 };
	struct weir_fs *fs = op->fs;
	struct weir_remote *r;
	struct fs_open *o;
	struct weir_node n;
	bool is_there = !fs_node(op, op->ino, &n);

	weir_opens_put(fs->opens, fs_in(fs, op->ino), (op->fh & FH_WRITER) != 0, &slot);
	if (is_there && (op->fh & FH_WRITER)) {
		o = open_get(op, &n);
		file_hand_in(op, o, &n, is_through(fs, n.remote) ? 0 : WEIR_SETTLE_MS);
	}
	if (slot.opens)
		return WEIR_OK;
	if ((o = open_find(fs, fs_in(fs, op->ino))))
		open_drop(fs, o);
	if (!is_there || n.parent || n.rparent || (n.flags & WEIR_N_ROOT))
		return WEIR_OK;
	r = weir_sync_remote(fs->sy, n.remote);
	if ((r && weir_sync_is_sending(r, n.id)) || fs_begin(fs))
		return WEIR_OK;
	if (weir_node_delete(fs->st, n.id, NULL))
		weir_store_rollback(fs->st);
	else
		weir_store_commit(fs->st, NULL);
	return WEIR_OK;
}

static enum weir_code
sync_files(struct weir_op *op, struct weir_content *c)
{
	char dir[64];
	int fd, rc = 0;

	weir_content_ref(c);
	weir_store_unlock(op->fs->st);
	if (fdatasync(c->fd))
		rc = errno;
	snprintf(dir, sizeof(dir), "content/%06llu", (unsigned long long)c->num / 1000);
	fd = openat(op->fs->st->dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		if (!rc && fsync(fd))
			rc = errno;
		close(fd);
	}
	weir_store_lock(op->fs->st);
	weir_content_put(c);
	return rc ? weir_code_from_errno(rc) : WEIR_OK;
}

static enum weir_code
sync_store(struct weir_op *op)
{
	enum weir_code r;

	weir_store_unlock(op->fs->st);
	r = weir_store_sync(op->fs->st, NULL);
	weir_store_lock(op->fs->st);
	return r;
}

enum weir_code
file_fsync(struct weir_op *op)
{
	struct fs_open *o;
	struct weir_node n;
	enum weir_code r;

	if ((r = fs_node(op, op->ino, &n)))
		return r;
	o = open_get(op, &n);
	if (op->tries)
		return file_through(op, &n);
	if (o->c && (r = sync_files(op, o->c)))
		return r;
	if ((r = fs_node(op, op->ino, &n)))
		return r;
	o = open_get(op, &n);
	if ((r = file_hand_in(op, o, &n, is_through(op->fs, n.remote) ? 0 : IDLE_MS)) || (r = sync_store(op)))
		return r;
	return file_through(op, &n);
}

enum weir_code
file_fsyncdir(struct weir_op *op)
{
	return sync_store(op);
}

/* ---- cutting ---- */

/* In a transaction: an empty content in place of what was there. */
static enum weir_code
truncate_to_nothing(struct weir_op *op, struct weir_node *n)
{
	struct weir_content *c = NULL, *old = weir_content_live(op->fs->st, n->id);
	struct fs_open *o = open_find(op->fs, n->id);
	enum weir_code r;

	if (old && old->num == n->content && old->is_attr_dirty) {
		quota_grow(op->fs, n->remote, (int64_t)n->size - (int64_t)old->size);
		old->is_attr_dirty = false;
	}
	if ((r = weir_content_drop(op->fs->st, n, NULL)))
		return r;
	n->flags |= WEIR_N_CONTENT;
	if ((r = weir_content_new(op->fs->st, n, true, 0, &c, NULL)))
		return r;
	if (o) {
		weir_content_put(o->c);
		o->c = c;
	} else
		weir_content_put(c);
	return WEIR_OK;
}

/* The last partial page changes its length, so it must be OPEN, and committed so, before that. */
static enum weir_code
truncate_open_edge(struct weir_op *op, struct weir_node *n, struct weir_content *c, uint64_t edge)
{
	uint64_t start = edge / WEIR_PAGE * WEIR_PAGE;
	enum weir_code r;

	if ((r = fs_begin(op->fs)))
		return r;
	n->flags |= WEIR_N_CONTENT;
	if (edge % WEIR_PAGE)
		weir_content_open_pages(c, start, edge - start);
	c->wgen++;
	if ((r = weir_content_save(c, NULL)) || (r = weir_upload_stale(op->fs->st, n->id, NULL)) || (r = weir_node_update(op->fs->st, n, NULL)))
		return fs_fail(op->fs, r);
	return weir_store_commit(op->fs->st, NULL);
}

static enum weir_code
truncate_content(struct weir_op *op, struct weir_node *n, uint64_t size)
{
	uint64_t edge = size < n->size ? size : n->size;
	struct weir_content *c;
	enum weir_code r;

	if ((r = file_content(op->fs, n, &c, NULL)))
		return r;
	if (c->is_attr_dirty)
		edge = size < c->size ? size : c->size;
	if (!c->is_complete || c->fetching) {
		/* All of the version is needed to send the shorter one. */
		r = op->wait.code;
		op->wait.code = WEIR_OK;
		if (!r) {
			r = weir_sync_fetch(op->fs->sy, n, c, 0, c->base_size, fs_waiter(op));
			weir_sync_fetch_all(op->fs->sy, c);
		}
		weir_content_put(c);
		return r;
	}
	if (!(r = truncate_open_edge(op, n, c, edge))) {
		weir_content_set_dirty(c, true);
		if (!(r = fs_begin(op->fs))) {
			if (c->is_attr_dirty)
				quota_grow(op->fs, n->remote, (int64_t)n->size - (int64_t)c->size);
			r = weir_content_resize(c, size, NULL);
		}
	}
	if (r)
		weir_store_rollback(op->fs->st);
	weir_content_put(c);
	return r;
}

enum weir_code
file_truncate(struct weir_op *op, struct weir_node *n, uint64_t size)
{
	struct weir_fs *fs = op->fs;
	struct weir_content *c = weir_content_live(fs->st, n->id);
	uint64_t old = c && c->num == n->content ? c->size : n->size;
	struct fs_open *o;
	enum weir_code r;

	if (n->type != WEIR_FILE)
		return n->type == WEIR_DIR ? WEIR_E_ISDIR : WEIR_E_INVAL;
	if (n->flags & WEIR_N_READONLY)
		return WEIR_E_ACCES;
	if (size > INT64_MAX)
		return WEIR_E_FBIG;
	if ((r = open_sized(op, n)))
		return r;
	if (size > old && (r = quota_room(fs, n->remote, size - old)))
		return r;
	if (size == old && (n->content || size == 0) && !(size == 0 && !n->content)) {
		/* Nothing moves, but the times do. */
		if ((r = fs_begin(fs)))
			return r;
		if (c)
			file_save_attr(fs, c, n);
	} else if (size == 0) {
		if ((r = fs_begin(fs)))
			return r;
		if ((r = truncate_to_nothing(op, n)))
			return fs_fail(fs, r);
	} else if ((r = truncate_content(op, n, size)))
		return r;
	/* A transaction is open in all three cases. */
	n->size = size;
	n->mtime_ns = n->ctime_ns = weir_wall_ns();
	n->flags |= WEIR_N_CONTENT | WEIR_N_EXACT;
	o = open_find(fs, n->id);
	c = weir_content_live(fs->st, n->id);
	if (c) {
		c->mtime_ns = c->ctime_ns = n->mtime_ns;
		c->is_attr_dirty = false;
		c->wgen++;
	}
	if ((r = weir_node_update(fs->st, n, NULL)) || (n->parent && (r = fs_journal(fs, n, o ? WEIR_DUE_NEVER : WEIR_SETTLE_MS))))
		return fs_fail(fs, r);
	if ((r = fs_commit(op, n->id)))
		return r;
	if (c)
		weir_content_set_dirty(c, true);
	if (o) {
		o->needs_due = true;
		o->written_ms = weir_now_ms();
	}
	fs_kick(fs, n->remote);
	return WEIR_OK;
}

/* ---- the keeper ---- */

/* Has the storage not seen a new version for long, and nobody is about to change that? */
static bool
is_behind(struct weir_fs *fs, const struct fs_open *o, int64_t now)
{
	int64_t gap = LOG_MS * (int64_t)(1 + (o->c ? o->c->size / LOG_BYTES : 0));
	struct weir_remote *r;

	if (now - o->behind_ms < gap || now - o->wanted_ms < gap || !fs_is_open_for_writing(fs, o->ino))
		return false;
	r = o->c ? weir_sync_remote(fs->sy, o->c->remote) : NULL;
	return r && !weir_sync_is_sending(r, o->ino);
}

void
file_due_idle(struct weir_fs *fs)
{
	struct weir_op op = { .fs = fs };
	int64_t now = weir_now_ms();

	for (unsigned i = 0; i < OPEN_SLOTS; i++)
		for (struct fs_open *o = fs->open[i]; o; o = o->next) {
			bool is_changed = (o->c && o->c->is_attr_dirty) || o->needs_due, is_late = is_behind(fs, o, now);
			struct weir_node n;

			if ((!is_changed || now - o->written_ms < IDLE_MS) && !is_late)
				continue;
			if (weir_node_get(fs->st, o->ino, &n) || !(n.flags & WEIR_N_CONTENT))
				continue;
			if (is_late) {
				o->wanted_ms = now;
				o->needs_due = true; /* its row may have a time that each close puts off */
			}
			file_hand_in(&op, o, &n, 0);
		}
}
