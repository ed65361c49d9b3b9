/* SPDX-License-Identifier: Apache-2.0 */
/* The door of the tree: submit, park, wake, cancel; building and tearing down. Handlers are in tree.c, attr.c, file.c and io.c.
 *
 * A handler that needs something from a remote puts the op's waiter into a queue of sync/ and returns WEIR_PENDING. When the waiter is woken the
 * handler runs again from its start on a ready thread, finds what it needs, or the code it was woken with. */
#include "config.h"

#include "internal.h"
#include "pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static enum weir_code (*const handlers[WEIR_OP_KINDS])(struct weir_op *) = {
	[WEIR_OP_LOOKUP] = tree_lookup, [WEIR_OP_GETATTR] = attr_get, [WEIR_OP_SETATTR] = attr_set, [WEIR_OP_READLINK] = tree_readlink,
	[WEIR_OP_MKNOD] = tree_mknod, [WEIR_OP_MKDIR] = tree_mkdir, [WEIR_OP_SYMLINK] = tree_symlink, [WEIR_OP_UNLINK] = tree_unlink,
	[WEIR_OP_RMDIR] = tree_rmdir, [WEIR_OP_RENAME] = tree_rename, [WEIR_OP_CREATE] = tree_create, [WEIR_OP_OPEN] = file_open,
	[WEIR_OP_RELEASE] = file_release, [WEIR_OP_FLUSH] = file_flush, [WEIR_OP_FSYNC] = file_fsync, [WEIR_OP_FSYNCDIR] = file_fsyncdir,
	[WEIR_OP_OPENDIR] = tree_opendir, [WEIR_OP_READDIR] = tree_readdir, [WEIR_OP_READ] = io_read, [WEIR_OP_WRITE] = io_write,
	[WEIR_OP_STATFS] = attr_statfs, [WEIR_OP_FALLOCATE] = io_fallocate, [WEIR_OP_LSEEK] = io_lseek, [WEIR_OP_COPY_RANGE] = io_copy,
	[WEIR_OP_SETXATTR] = attr_setx, [WEIR_OP_GETXATTR] = attr_getx, [WEIR_OP_LISTXATTR] = attr_listx, [WEIR_OP_REMOVEXATTR] = attr_removex,
	[WEIR_OP_PREFETCH] = file_prefetch,
};

/* ---- numbers, times, small services ---- */

int64_t
fs_now_ms(void)
{
	return weir_wall_ns() / 1000000;
}

uint64_t
fs_in(const struct weir_fs *fs, uint64_t ino)
{
	return ino == WEIR_ROOT ? fs->root : ino;
}

uint64_t
fs_out(const struct weir_fs *fs, uint64_t node)
{
	return node == fs->root ? WEIR_ROOT : node;
}

enum weir_code
fs_node(struct weir_op *op, uint64_t ino, struct weir_node *n)
{
	enum weir_code r = weir_node_get(op->fs->st, fs_in(op->fs, ino), n);

	/* Fronts may still hold what an earlier configuration showed. */
	if (!r && n->remote && !weir_sync_remote(op->fs->sy, n->remote))
		return WEIR_E_STALE;
	return r == WEIR_E_NOENT ? WEIR_E_STALE : r;
}

enum weir_code
fs_dir(struct weir_op *op, uint64_t ino, struct weir_node *n)
{
	enum weir_code r = fs_node(op, ino, n);

	return r ? r : n->type == WEIR_DIR ? WEIR_OK : WEIR_E_NOTDIR;
}

enum weir_code
fs_writable(const struct weir_fs *fs, const struct weir_node *n)
{
	struct weir_remote *r = weir_sync_remote(fs->sy, n->remote);

	if (fs->opt.is_readonly || (r && weir_remote_conf(r)->is_readonly))
		return WEIR_E_ROFS;
	if (!(n->flags & WEIR_N_POOL) && (!r || (n->flags & WEIR_N_VIRTUAL)))
		return WEIR_E_PERM;
	return WEIR_OK;
}

enum weir_code
fs_begin(struct weir_fs *fs)
{
	struct weir_err err = { 0 };
	enum weir_code r = weir_store_begin(fs->st, &err);

	if (r)
		weir_log(WEIR_LOG_ERROR, "%s", weir_err_text(&err, r));
	return r;
}

enum weir_code
fs_fail(struct weir_fs *fs, enum weir_code r)
{
	weir_store_rollback(fs->st);
	return r;
}

enum weir_code
fs_commit(struct weir_op *op, uint64_t node)
{
	struct weir_err err = { 0 };
	enum weir_code r = weir_unique_record(op->fs->st, op->unique & ~(1ull << 63), WEIR_OK, node, &err);

	if (r)
		weir_store_rollback(op->fs->st);
	else
		r = weir_store_commit(op->fs->st, &err);
	if (r)
		weir_log(WEIR_LOG_ERROR, "%s", weir_err_text(&err, r));
	return r;
}

enum weir_code
fs_touch_dir(struct weir_fs *fs, uint64_t dir)
{
	sqlite3_stmt *s = weir_store_stmt(fs->st, "UPDATE nodes SET mtime=?1, ctime=?1 WHERE id=?2");

	sqlite3_bind_int64(s, 1, weir_wall_ns());
	sqlite3_bind_int64(s, 2, (int64_t)dir);
	return weir_store_step_done(fs->st, s, NULL);
}

enum weir_code
fs_journal(struct weir_fs *fs, const struct weir_node *n, int64_t delay_ms)
{
	return weir_journal_put(fs->st, n->id, n->remote, delay_ms == WEIR_DUE_NEVER ? WEIR_DUE_NEVER : fs_now_ms() + delay_ms, NULL);
}

void
fs_kick(struct weir_fs *fs, uint64_t remote)
{
	struct weir_remote *r = weir_sync_remote(fs->sy, remote);

	if (r)
		weir_sync_kick(r);
}

/* ---- attributes ---- */

static uint32_t
type_bits(enum weir_type t)
{
	switch (t) {
	case WEIR_DIR: return S_IFDIR;
	case WEIR_LINK: return S_IFLNK;
	case WEIR_FIFO: return S_IFIFO;
	case WEIR_SOCK: return S_IFSOCK;
	case WEIR_FILE: break;
	}
	return S_IFREG;
}

void
fs_attr(struct weir_op *op, const struct weir_node *n, uint32_t valid_ms, struct weir_attr *a)
{
	const struct weir_content *c = n->type == WEIR_FILE ? weir_content_live(op->fs->st, n->id) : NULL;

	memset(a, 0, sizeof(*a));
	a->ino = fs_out(op->fs, n->id);
	a->size = n->type == WEIR_DIR ? 0 : n->size;
	a->mode = type_bits(n->type) | (n->mode & 07777);
	a->nlink = n->parent || (n->flags & WEIR_N_ROOT) ? 1 : 0;
	a->uid = n->uid == WEIR_NOBODY ? op->fs->opt.uid : n->uid;
	a->gid = n->gid == WEIR_NOBODY ? op->fs->opt.gid : n->gid;
	a->blksize = WEIR_PAGE;
	a->atime_ns = n->atime_ns;
	a->mtime_ns = n->mtime_ns;
	a->ctime_ns = n->ctime_ns;
	a->btime_ns = n->btime_ns;
	if (c && c->num == n->content && c->is_attr_dirty) {
		a->size = c->size;
		a->mtime_ns = c->mtime_ns;
		a->ctime_ns = c->ctime_ns;
	}
	a->blocks = (a->size + 511) / 512;
	a->valid_ms = n->flags & WEIR_N_UNSIZED ? 0 : valid_ms; /* the size is about to be known */
	if (n->flags & WEIR_N_POOL)
		pool_attr(op, n, a);
	else if (op->fs->has_shared && n->type == WEIR_DIR && pool_shows(op->fs, n->id))
		a->valid_ms = 0;
}

void
fs_attr_full(struct weir_op *op, const struct weir_node *n, struct weir_attr *a)
{
	struct weir_node up;
	uint32_t valid = 60000;

	if (n->parent && !weir_node_get(op->fs->st, n->parent, &up))
		valid = weir_sync_valid_ms(op->fs->sy, &up);
	fs_attr(op, n, valid, a);
}

/* ---- parking ---- */

void
fs_wake(struct weir_waiter *w)
{
	struct weir_op *op = (struct weir_op *)((char *)w - offsetof(struct weir_op, wait));
	struct weir_fs *fs = op->fs;

	pool_unwait(op);
	op->ready_next = NULL;
	*fs->ready_tail = op;
	fs->ready_tail = &op->ready_next;
	fs->parked--;
	pthread_cond_signal(&fs->ready_cond);
}

struct weir_waiter *
fs_waiter(struct weir_op *op)
{
	op->wait = (struct weir_waiter){ .wake = fs_wake };
	return &op->wait;
}

enum weir_code
fs_fresh(struct weir_op *op, const struct weir_node *dir)
{
	enum weir_code woken = op->wait.code, r;

	op->wait.code = WEIR_OK;
	if (weir_sync_is_fresh(op->fs->sy, dir))
		return WEIR_OK;
	/* The listing failed: what is known is better than nothing; where nothing is known the reason is. */
	if (op->tries && woken)
		return dir->listed_ms ? WEIR_OK : woken;
	r = weir_sync_list(op->fs->sy, dir, fs_waiter(op));
	if (r != WEIR_PENDING && dir->listed_ms)
		return WEIR_OK;
	return r;
}

static bool
makes_name(enum weir_op_kind kind)
{
	return kind == WEIR_OP_LOOKUP || kind == WEIR_OP_CREATE || kind == WEIR_OP_MKDIR || kind == WEIR_OP_MKNOD || kind == WEIR_OP_SYMLINK;
}

static enum weir_code
fs_handle(struct weir_op *op)
{
	enum weir_code (*special)(struct weir_op *) = pool_handler(op), r;

	if (special)
		return special(op);
	r = handlers[op->kind](op);
	if (!r && op->fs->has_shared && makes_name(op->kind))
		op->attr.is_name_loose = pool_shows(op->fs, fs_in(op->fs, op->ino));
	return r;
}

/* Lock held. */
static enum weir_code
fs_run(struct weir_op *op)
{
	enum weir_code r;

	if (op->wait.code == WEIR_E_INTR || op->fs->is_stopping) {
		if (op->kind != WEIR_OP_RELEASE && op->kind != WEIR_OP_FLUSH)
			return WEIR_E_INTR;
		op->wait.code = WEIR_OK;
	}
	op->fs->parked++; /* before it can be woken */
	r = fs_handle(op);
	if (r == WEIR_PENDING)
		op->tries++;
	else
		op->fs->parked--;
	return r;
}

static void *
fs_ready_thread(void *arg)
{
	struct weir_fs *fs = arg;

	weir_store_lock(fs->st);
	for (;;) {
		struct weir_op *op = fs->ready;
		enum weir_code r;

		if (!op) {
			if (fs->is_stopping && !fs->parked)
				break;
			weir_store_wait(fs->st, &fs->ready_cond, NULL);
			continue;
		}
		fs->ready = op->ready_next;
		if (!fs->ready)
			fs->ready_tail = &fs->ready;
		r = fs_run(op);
		if (r == WEIR_PENDING)
			continue;
		weir_store_unlock(fs->st);
		op->done(op, r);
		weir_store_lock(fs->st);
	}
	pthread_cond_broadcast(&fs->ready_cond);
	weir_store_unlock(fs->st);
	return NULL;
}

/* A request that an earlier worker carried out before it died: the recorded answer. */
static bool
fs_replay(struct weir_op *op, enum weir_code *r)
{
	struct weir_node n;
	uint64_t node;

	if (!weir_unique_find(op->fs->st, op->unique & ~(1ull << 63), r, &node))
		return false;
	if (*r || !node)
		return true;
	if (weir_node_get(op->fs->st, node, &n)) {
		*r = WEIR_E_STALE;
		return true;
	}
	fs_attr_full(op, &n, &op->attr);
	op->attr.is_name_loose = op->fs->has_shared;
	if (op->kind == WEIR_OP_CREATE) {
		op->ino2 = op->ino;
		op->ino = fs_out(op->fs, node);
		op->flags &= ~(uint32_t)(O_TRUNC | O_CREAT | O_EXCL);
		*r = file_open(op);
		op->ino = op->ino2;
	} else if (op->kind == WEIR_OP_OPEN) { /* what is recorded is its cut; the opening is still to do */
		op->flags &= ~(uint32_t)O_TRUNC;
		*r = file_open(op);
	}
	return true;
}

enum weir_code
weir_fs_submit(struct weir_fs *fs, struct weir_op *op)
{
	enum weir_code r;

	op->fs = fs;
	op->tries = 0;
	op->pool_asked = 0;
	op->pool_dead = 0;
	memset(op->pool_done, 0, sizeof(op->pool_done));
	op->wait = (struct weir_waiter){ 0 };
	weir_store_lock(fs->st);
	if (!op->is_resent || !fs_replay(op, &r))
		r = fs_run(op);
	weir_store_unlock(fs->st);
	return r;
}

void
weir_fs_cancel(struct weir_fs *fs, struct weir_op *op)
{
	weir_store_lock(fs->st);
	if (op->fs == fs && weir_wait_remove(&op->wait)) {
		op->wait.code = WEIR_E_INTR;
		fs_wake(&op->wait);
	}
	weir_store_unlock(fs->st);
}

void
weir_fs_forget(struct weir_fs *fs, uint64_t ino, uint64_t n)
{
	/* Node numbers are never reused and unlinked nodes go with their last handle: nothing hangs on the kernel's count. */
	(void)fs;
	(void)ino;
	(void)n;
}

/* ---- news ---- */

void
weir_fs_observe(struct weir_fs *fs, const struct weir_observer *o)
{
	weir_store_lock(fs->st);
	if (fs->nobservers < WEIR_LEN(fs->observers))
		fs->observers[fs->nobservers++] = *o;
	weir_store_unlock(fs->st);
}

/* The directories of pools that show this one are told the same. Lock NOT held. */
static size_t
news_pools(struct weir_fs *fs, uint64_t dir, uint64_t out[POOL_SHOWN_MAX])
{
	size_t n;

	if (!fs->npools)
		return 0;
	weir_store_lock(fs->st);
	n = pool_shown_at(fs, dir, out, POOL_SHOWN_MAX);
	weir_store_unlock(fs->st);
	return n;
}

static void
news_node(void *arg, uint64_t node, bool is_data)
{
	struct weir_fs *fs = arg;
	uint64_t pools[POOL_SHOWN_MAX];
	size_t n = news_pools(fs, node, pools);

	for (size_t k = 0; k < n; k++)
		for (size_t i = 0; i < fs->nobservers; i++)
			if (fs->observers[i].inval_node)
				fs->observers[i].inval_node(fs->observers[i].arg, fs_out(fs, pools[k]), is_data ? 0 : -1, 0);
	for (size_t i = 0; i < fs->nobservers; i++)
		if (fs->observers[i].inval_node)
			fs->observers[i].inval_node(fs->observers[i].arg, fs_out(fs, node), is_data ? 0 : -1, 0);
}

void
fs_news_data(struct weir_fs *fs, uint64_t node)
{
	news_node(fs, node, true);
}

static void
news_entry_at(struct weir_fs *fs, uint64_t parent, const char *name)
{
	for (size_t i = 0; i < fs->nobservers; i++) {
		if (fs->observers[i].inval_entry)
			fs->observers[i].inval_entry(fs->observers[i].arg, fs_out(fs, parent), name);
		if (fs->observers[i].inval_node)
			fs->observers[i].inval_node(fs->observers[i].arg, fs_out(fs, parent), 0, 0);
	}
}

static void
news_entry(void *arg, uint64_t parent, const char *name)
{
	struct weir_fs *fs = arg;
	uint64_t pools[POOL_SHOWN_MAX];
	size_t n = news_pools(fs, parent, pools);

	news_entry_at(fs, parent, name);
	for (size_t i = 0; i < n; i++)
		news_entry_at(fs, pools[i], name);
}

static void
news_deleted(void *arg, uint64_t parent, uint64_t child, const char *name)
{
	struct weir_fs *fs = arg;
	uint64_t pools[POOL_SHOWN_MAX];
	size_t n = news_pools(fs, parent, pools);

	for (size_t i = 0; i < fs->nobservers; i++)
		if (fs->observers[i].delete_entry)
			fs->observers[i].delete_entry(fs->observers[i].arg, fs_out(fs, parent), child, name);
	for (size_t i = 0; i < n; i++) /* another member may have the name: there it only means something else now */
		news_entry_at(fs, pools[i], name);
}

void
weir_fs_tell(struct weir_fs *fs, uint64_t ino, const char *name, bool is_data)
{
	uint64_t node = fs_in(fs, ino);

	if (name != NULL)
		news_entry(fs, node, name);
	else
		news_node(fs, node, is_data);
}

/* ---- the whole ---- */

static void *
fs_keeper(void *arg)
{
	struct weir_fs *fs = arg;

	weir_store_lock(fs->st);
	while (!fs->is_stopping) {
		struct timespec ts;

		file_due_idle(fs);
		file_seal_closed(fs);
		pool_let_go(fs);
		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_sec += 1;
		weir_store_wait(fs->st, &fs->keeper_cond, &ts);
	}
	weir_store_unlock(fs->st);
	return NULL;
}

enum weir_code
weir_fs_new(const struct weir_fs_options *opt, struct weir_fs **out, struct weir_err *err)
{
	struct weir_fs *fs = weir_xcalloc(1, sizeof(*fs));
	struct weir_store_options so = { .dir = opt->conf->cache_dir, .cache_bytes = opt->conf->cache_bytes, .is_first = opt->is_first };
	struct weir_sync_hooks hooks = { .is_open = fs_is_open, .is_open_for_writing = fs_is_open_for_writing,
		.is_put_off = fs_is_put_off, .was_sent = fs_was_sent, .node_changed = news_node, .entry_changed = news_entry, .entry_deleted = news_deleted,
		.arg = fs, .umask = opt->umask };
	enum weir_code r;

	fs->conf = opt->conf;
	fs->opt = *opt;
	fs->ready_tail = &fs->ready;
	fs->opens = opt->opens ? opt->opens : weir_opens_new(65536);
	pthread_cond_init(&fs->ready_cond, NULL);
	pthread_cond_init(&fs->keeper_cond, NULL);
	fs->grown = weir_xcalloc(opt->conf->nremotes + 1, sizeof(*fs->grown));
	if ((r = weir_store_open(&so, &fs->st, err)) || (r = weir_sync_new(fs->st, opt->conf, &hooks, &fs->sy, err)) || (r = ns_build(fs, err))) {
		weir_fs_free(fs);
		return r;
	}
	for (unsigned i = 0; i < READY_THREADS; i++)
		if (pthread_create(&fs->threads[fs->nthreads], NULL, fs_ready_thread, fs) == 0)
			fs->nthreads++;
	fs->has_keeper = pthread_create(&fs->keeper, NULL, fs_keeper, fs) == 0;
	if (!fs->nthreads) {
		weir_fs_free(fs);
		return weir_err_set(err, WEIR_E_NOMEM, "cannot start threads");
	}
	*out = fs;
	return WEIR_OK;
}

static void
fs_save_all(struct weir_fs *fs)
{
	for (unsigned i = 0; i < OPEN_SLOTS; i++)
		while (fs->open[i]) {
			struct fs_open *o = fs->open[i];
			struct weir_node n;

			if (o->c && o->c->is_attr_dirty && !weir_node_get(fs->st, o->ino, &n) && !fs_begin(fs)) {
				file_save_attr(fs, o->c, &n);
				if (weir_content_save(o->c, NULL) || weir_node_update(fs->st, &n, NULL))
					weir_store_rollback(fs->st);
				else
					weir_store_commit(fs->st, NULL);
			}
			open_drop(fs, o);
		}
}

void
weir_fs_free(struct weir_fs *fs)
{
	if (!fs)
		return;
	if (fs->st) {
		weir_store_lock(fs->st);
		fs->is_stopping = true;
		for (size_t i = 0; fs->sy && i < weir_sync_count(fs->sy); i++)
			weir_sync_kick_now(weir_sync_at(fs->sy, i));
		weir_wake_all(&fs->st->space, WEIR_E_INTR);
		pthread_cond_broadcast(&fs->ready_cond);
		pthread_cond_signal(&fs->keeper_cond);
		weir_store_unlock(fs->st);
	}
	weir_sync_free(fs->sy); /* its end wakes everybody that waits for a remote */
	if (fs->st) {
		weir_store_lock(fs->st);
		pthread_cond_broadcast(&fs->ready_cond);
		weir_store_unlock(fs->st);
	}
	for (unsigned i = 0; i < fs->nthreads; i++)
		pthread_join(fs->threads[i], NULL);
	if (fs->has_keeper)
		pthread_join(fs->keeper, NULL);
	if (fs->st) {
		weir_store_lock(fs->st);
		file_seal_closed(fs);
		fs_save_all(fs);
		weir_store_unlock(fs->st);
	}
	ns_free(fs);
	weir_store_close(fs->st);
	pthread_cond_destroy(&fs->ready_cond);
	pthread_cond_destroy(&fs->keeper_cond);
	free(fs->grown);
	free(fs->to_seal);
	free(fs);
}
