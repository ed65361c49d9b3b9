/* SPDX-License-Identifier: Apache-2.0 */
/* Pools: one directory made of the directories of several remotes ("members"). This file looks; pool_change.c changes.
 *
 * A file found in a pool is the member's own node: one cache, one journal, the same file by whatever path. A directory is not: the kernel knows a
 * directory by one name only, so a pool's directories are nodes of weir's own tree (rows with WEIR_N_POOL, remote 0), made when they are first met
 * and kept. A row says only where the directory stands in the pool; which members have it is found by walking the names down each
 * member's tree, so there is nothing that could disagree with the members.
 *
 * A name that several members have means the first one's; removing and renaming it does so on all of them. Members that do not answer are passed
 * over, with what is known of them. */
#include "config.h"

#include "pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAY_COOKIE (1ull << 62)		/* as in tree.c */
#define BATCH 256u

/* ---- directories ---- */

static const struct fs_pool *
pool_of_root(const struct weir_fs *fs, uint64_t node)
{
	for (size_t i = 0; i < fs->npools; i++)
		if (fs->pools[i].node == node)
			return &fs->pools[i];
	return NULL;
}

/* The names from the pool's root down to this row; the root's number, or 0 when the row was removed. */
static uint64_t
pool_path(struct weir_fs *fs, const struct weir_node *row, char *path, size_t size)
{
	struct weir_node up = *row;
	char *at = path + size - 1;

	*at = 0;
	while (!(up.flags & WEIR_N_ROOT)) {
		size_t len = strlen(up.name);

		if (!up.parent || (size_t)(at - path) < len + 1)
			return 0;
		if (*at)
			*--at = '/';
		at -= len;
		memcpy(at, up.name, len);
		if (weir_node_get(fs->st, up.parent, &up))
			return 0;
	}
	memmove(path, at, strlen(at) + 1);
	return up.id;
}

/* Follow the names below one member's directory: what it has there, or 0. near (may be NULL): how far it went. */
static uint64_t
member_dir(struct weir_fs *fs, uint64_t dir, const char *path, uint64_t *near)
{
	char part[WEIR_NAME_MAX + 1];
	struct weir_node n;

	if (near)
		*near = dir;
	while (*path && dir) {
		size_t len = strcspn(path, "/");

		snprintf(part, sizeof(part), "%.*s", (int)len, path);
		dir = !weir_node_child(fs->st, dir, part, &n) && n.type == WEIR_DIR ? n.id : 0;
		path += len + (path[len] == '/');
		if (near && dir)
			*near = dir;
	}
	return dir;
}

enum weir_code
pool_open(struct weir_fs *fs, uint64_t node, struct pool_dir *d)
{
	enum weir_code r;

	d->n = 0;
	d->pool = NULL;
	d->path[0] = 0;
	if ((r = weir_node_get(fs->st, node, &d->row)))
		return r == WEIR_E_NOENT ? WEIR_E_STALE : r;
	d->pool = pool_of_root(fs, pool_path(fs, &d->row, d->path, sizeof(d->path)));
	if (!d->pool)
		return WEIR_OK;
	d->n = d->pool->n;
	for (size_t i = 0; i < d->n; i++)
		d->dir[i] = member_dir(fs, d->pool->dirs[i], d->path, &d->near[i]);
	return WEIR_OK;
}

bool
pool_is(struct weir_fs *fs, uint64_t ino)
{
	struct weir_node n;

	return fs->npools && !weir_node_get(fs->st, fs_in(fs, ino), &n) && (n.flags & WEIR_N_POOL);
}

enum weir_code
pool_row_insert(struct weir_fs *fs, uint64_t parent, const char *name, uint32_t flags, struct weir_node *row)
{
	*row = (struct weir_node){ .type = WEIR_DIR, .parent = parent, .mode = 0755, .uid = WEIR_NOBODY, .gid = WEIR_NOBODY, .listed_ms = 1,
		.flags = WEIR_N_VIRTUAL | WEIR_N_POOL | flags };
	snprintf(row->name, sizeof(row->name), "%s", name);
	row->mtime_ns = row->ctime_ns = row->atime_ns = row->btime_ns = weir_wall_ns();
	return weir_node_insert(fs->st, row, NULL);
}

enum weir_code
pool_row(struct weir_fs *fs, const struct weir_node *parent, const char *name, struct weir_node *row)
{
	enum weir_code r = weir_node_child(fs->st, parent->id, name, row);
	bool own = !fs->st->in_tx;

	if (r != WEIR_E_NOENT)
		return r;
	if (own && (r = fs_begin(fs)))
		return r;
	r = pool_row_insert(fs, parent->id, name, 0, row);
	if (!own)
		return r;
	return r ? fs_fail(fs, r) : weir_store_commit(fs->st, NULL);
}

enum weir_code
pool_row_drop(struct weir_fs *fs, uint64_t parent, const char *name)
{
	struct weir_node row;
	enum weir_code r = weir_node_child(fs->st, parent, name, &row);

	if (r)
		return r == WEIR_E_NOENT ? WEIR_OK : r;
	row.parent = 0;
	return weir_node_update(fs->st, &row, NULL);
}

/* ---- asking the members ---- */

enum weir_code
pool_fresh(struct weir_op *op, unsigned set, size_t member, const struct weir_node *dir)
{
	uint32_t bit = 1u << member;
	enum weir_code woken = WEIR_OK, r;

	if (op->pool_asked == dir->id) {
		woken = op->wait.code;
		op->wait.code = WEIR_OK;
		op->pool_asked = 0;
	}
	if (!(op->pool_done[set] & bit)) {
		if (weir_sync_is_fresh(op->fs->sy, dir))
			op->pool_done[set] |= bit;
		else if (!woken) {
			r = weir_sync_list(op->fs->sy, dir, fs_waiter(op));
			if (r == WEIR_PENDING) {
				op->pool_asked = dir->id;
				op->pool_remote = dir->remote;
				op->pool_next = op->fs->pool_waiting;
				op->fs->pool_waiting = op;
				return r;
			}
			woken = r;
		}
		op->pool_done[set] |= bit;
	}
	if (dir->listed_ms || weir_sync_is_fresh(op->fs->sy, dir))
		return WEIR_OK;
	return woken ? woken : WEIR_E_DOWN;
}

void
pool_unwait(struct weir_op *op)
{
	for (struct weir_op **p = &op->fs->pool_waiting; *p; p = &(*p)->pool_next)
		if (*p == op) {
			*p = op->pool_next;
			break;
		}
}

/* A listing may go on trying for the remote's patience; what the other members have is not to wait so long. */
void
pool_let_go(struct weir_fs *fs)
{
	struct weir_op *op = fs->pool_waiting, *next;

	for (; op; op = next) {
		struct weir_remote *remote = weir_sync_remote(fs->sy, op->pool_remote);
		struct weir_remote_view v;

		next = op->pool_next;
		if (!remote)
			continue;
		weir_remote_view(remote, &v);
		if (v.state != WEIR_REMOTE_DOWN && v.state != WEIR_REMOTE_REFUSED)
			continue;
		if (weir_wait_remove(&op->wait)) {
			op->wait.code = WEIR_E_DOWN;
			fs_wake(&op->wait);
		}
	}
}

#define LOOKS 32	/* a request goes on with what is known after so many */

enum weir_code
pool_open_now(struct weir_op *op, uint64_t ino, struct pool_dir *d)
{
	enum weir_code r = pool_open(op->fs, fs_in(op->fs, ino), d);
	struct weir_node dir;

	for (size_t i = 0; !r && i < d->n; i++) {
		if (d->dir[i] || op->tries >= LOOKS || weir_node_get(op->fs->st, d->near[i], &dir) || weir_sync_is_fresh(op->fs->sy, &dir))
			continue;
		if (op->pool_asked != dir.id)
			op->pool_done[3] &= ~(1u << i); /* another level than the last one */
		if (pool_fresh(op, 3, i, &dir) == WEIR_PENDING)
			return WEIR_PENDING;
	}
	return r;
}

/* All listings that will be wanted, at the same time. */
static void
pool_ask_all(struct weir_op *op, const struct pool_dir *d, unsigned set)
{
	struct weir_node dir;

	for (size_t i = 0; i < d->n; i++)
		if (d->dir[i] && !(op->pool_done[set] & 1u << i) && !weir_node_get(op->fs->st, d->dir[i], &dir) && !weir_sync_is_fresh(op->fs->sy, &dir))
			weir_sync_list(op->fs->sy, &dir, NULL);
}

enum weir_code
pool_find(struct weir_op *op, const struct pool_dir *d, unsigned set, const char *name, bool is_first_enough, struct pool_name *out)
{
	enum weir_code why = WEIR_E_NOENT, r;
	bool is_told = false, is_found = false;
	struct weir_node dir, n;

	memset(out->id, 0, sizeof(out->id));
	memset(out->is_dir, 0, sizeof(out->is_dir));
	if (!*name || strlen(name) > WEIR_NAME_MAX)
		return *name ? WEIR_E_NAMETOOLONG : WEIR_E_NOENT;
	if (!op->tries && !is_first_enough)
		pool_ask_all(op, d, set);
	for (size_t i = 0; i < d->n && !(is_found && is_first_enough && out->node.type != WEIR_DIR); i++) {
		if (!d->dir[i] || weir_node_get(op->fs->st, d->dir[i], &dir))
			continue;
		/* A first listing that has shown the name already need not end. */
		if (!op->tries || dir.listed_ms || weir_node_child(op->fs->st, dir.id, name, &n) || n.rparent != dir.id) {
			r = pool_fresh(op, set, i, &dir);
			if (r == WEIR_PENDING) {
				pool_ask_all(op, d, set);
				return r;
			}
			is_told |= !r;
			if (r)
				why = r;
			if (weir_node_child(op->fs->st, dir.id, name, &n))
				continue;
		}
		out->id[i] = n.id;
		out->is_dir[i] = n.type == WEIR_DIR;
		if (!is_found) {
			out->first = i;
			out->node = n;
		}
		is_found = true;
	}
	return is_found ? WEIR_OK : is_told ? WEIR_E_NOENT : why;
}

/* ---- answers ---- */

static uint32_t
pool_valid_ms(struct weir_op *op, const struct pool_dir *d)
{
	uint32_t valid = 60000;
	struct weir_node dir;

	for (size_t i = 0; i < d->n; i++)
		if (d->dir[i] && !weir_node_get(op->fs->st, d->dir[i], &dir)) {
			uint32_t ms = weir_sync_valid_ms(op->fs->sy, &dir);

			if (ms < valid)
				valid = ms;
		}
	return valid;
}

/* Something in this directory, for the front. */
void
pool_answer(struct weir_op *op, const struct pool_dir *d, const struct weir_node *n)
{
	fs_attr(op, n, pool_valid_ms(op, d), &op->attr);
	op->attr.is_name_loose = !d->pool || d->pool->is_shared;
}

/* A directory of a pool looks like the first member's, and has changed when any of them has. */
void
pool_attr(struct weir_op *op, const struct weir_node *row, struct weir_attr *a)
{
	struct pool_dir d;
	struct weir_node dir;
	bool has_first = false;

	if (pool_open(op->fs, row->id, &d))
		return;
	if (d.pool && d.pool->is_shared)
		a->valid_ms = 0;
	for (size_t i = 0; i < d.n; i++) {
		if (!d.dir[i] || weir_node_get(op->fs->st, d.dir[i], &dir))
			continue;
		if (!has_first) {
			a->mode = S_IFDIR | (dir.mode & 07777);
			a->uid = dir.uid == WEIR_NOBODY ? op->fs->opt.uid : dir.uid;
			a->gid = dir.gid == WEIR_NOBODY ? op->fs->opt.gid : dir.gid;
			a->atime_ns = dir.atime_ns;
			a->mtime_ns = dir.mtime_ns;
			a->ctime_ns = dir.ctime_ns;
			a->btime_ns = dir.btime_ns;
			has_first = true;
			continue;
		}
		if (dir.mtime_ns > a->mtime_ns)
			a->mtime_ns = dir.mtime_ns;
		if (dir.ctime_ns > a->ctime_ns)
			a->ctime_ns = dir.ctime_ns;
	}
}

static enum weir_code
pool_lookup(struct weir_op *op)
{
	const struct fs_way *w;
	struct pool_dir d;
	struct pool_name f;
	struct weir_node row;
	enum weir_code r;

	if ((r = pool_open_now(op, op->ino, &d)))
		return r;
	if ((w = ns_way(op->fs, d.row.id, op->name))) {
		if (!(r = weir_node_get(op->fs->st, w->target, &row)))
			fs_attr(op, &row, 60000, &op->attr);
		return r;
	}
	r = pool_find(op, &d, 0, op->name, true, &f);
	if (r == WEIR_E_NOENT && !weir_node_child(op->fs->st, d.row.id, op->name, &row) && (row.flags & WEIR_N_BIND)) {
		pool_answer(op, &d, &row); /* stands there because a deeper path of the configuration does */
		return WEIR_OK;
	}
	if (r)
		return r;
	if (f.node.type == WEIR_DIR && (r = pool_row(op->fs, &d.row, op->name, &f.node)))
		return r;
	pool_answer(op, &d, &f.node);
	return WEIR_OK;
}

static enum weir_code
pool_opendir(struct weir_op *op)
{
	struct pool_dir d;
	enum weir_code r = pool_open(op->fs, fs_in(op->fs, op->ino), &d);

	op->drops_cache = !r && (!d.pool || d.pool->is_shared);
	return r;
}

static enum weir_code
pool_statfs(struct weir_op *op)
{
	struct pool_dir d;
	enum weir_code r = pool_open(op->fs, fs_in(op->fs, op->ino), &d);

	if (r)
		return r;
	quota_statfs_sum(op->fs, d.pool && d.row.id != op->fs->root ? d.pool->remotes : NULL, d.n, &op->statfs);
	return WEIR_OK;
}

/* ---- listing ---- */

/* The members' entries, in the order of their numbers, so that a cookie alone says where to go on. */
struct pool_item { uint64_t id; size_t member; };
struct pool_batch {
	struct pool_item item[WEIR_POOL_MAX + 1][BATCH];
	size_t n[WEIR_POOL_MAX + 1], member;
};

static int
batch_add(void *arg, struct weir_node *n)
{
	struct pool_batch *b = arg;

	b->item[b->member][b->n[b->member]++] = (struct pool_item){ n->id, b->member };
	return b->n[b->member] == BATCH;
}

static int
item_order(const void *a, const void *b)
{
	uint64_t x = ((const struct pool_item *)a)->id, y = ((const struct pool_item *)b)->id;

	return x < y ? -1 : x > y;
}

/* The next entries after a cookie, at most BATCH for each member; 0: no more. The pool's own rows come along for those of the configuration. */
static size_t
batch_next(struct weir_fs *fs, const struct pool_dir *d, uint64_t after, struct pool_batch *b, struct pool_item **out)
{
	struct pool_item *all = weir_xcalloc((d->n + 1) * BATCH, sizeof(*all));
	uint64_t end = UINT64_MAX;
	size_t n = 0, kept = 0;

	memset(b->n, 0, sizeof(b->n));
	for (size_t i = 0; i <= d->n; i++) {
		uint64_t dir = i < d->n ? d->dir[i] : d->row.id;

		b->member = i;
		if (dir)
			weir_node_children(fs->st, dir, after, batch_add, b);
		memcpy(all + n, b->item[i], b->n[i] * sizeof(*all));
		n += b->n[i];
		if (b->n[i] == BATCH && b->item[i][BATCH - 1].id < end)
			end = b->item[i][BATCH - 1].id;
	}
	qsort(all, n, sizeof(*all), item_order);
	while (kept < n && all[kept].id <= end)
		kept++;
	*out = all;
	return kept;
}

/* Is this entry the one that is shown under its name? */
static bool
item_is_shown(struct weir_fs *fs, const struct pool_dir *d, size_t member, const struct weir_node *n)
{
	struct weir_node other;

	if (ns_way(fs, d->row.id, n->name) || (member == d->n && !(n->flags & WEIR_N_BIND)))
		return false;
	for (size_t i = 0; i < member && i < d->n; i++)
		if (d->dir[i] && !weir_node_child(fs->st, d->dir[i], n->name, &other))
			return false;
	return true;
}

/* Directories need their numbers before they are told: one transaction for a batch. */
static enum weir_code
batch_rows(struct weir_fs *fs, const struct pool_dir *d, const struct pool_item *item, size_t n)
{
	struct weir_node node, row;
	enum weir_code r;

	for (size_t i = 0; i < n; i++) {
		if (item[i].member == d->n || weir_node_get(fs->st, item[i].id, &node) || node.type != WEIR_DIR ||
		    !weir_node_child(fs->st, d->row.id, node.name, &row) || !item_is_shown(fs, d, item[i].member, &node))
			continue;
		if (!fs->st->in_tx && (r = fs_begin(fs)))
			return r;
		if ((r = pool_row(fs, &d->row, node.name, &row)))
			return fs_fail(fs, r);
	}
	return fs->st->in_tx ? weir_store_commit(fs->st, NULL) : WEIR_OK;
}

static enum weir_code
readdir_members(struct weir_op *op, const struct pool_dir *d, uint32_t valid, bool *is_full)
{
	WEIR_AUTO(weir_freep) struct pool_batch *b = weir_xcalloc(1, sizeof(*b));
	uint64_t after = op->off < 2 ? 2 : op->off;
	enum weir_code r = WEIR_OK;

	for (;;) {
		WEIR_AUTO(weir_freep) struct pool_item *item = NULL;
		size_t n = batch_next(op->fs, d, after, b, &item);

		if (!n || (r = batch_rows(op->fs, d, item, n)))
			return r;
		for (size_t i = 0; i < n; i++) {
			struct weir_attr a;
			struct weir_node node, row;

			after = item[i].id;
			if (weir_node_get(op->fs->st, item[i].id, &node) || !item_is_shown(op->fs, d, item[i].member, &node))
				continue;
			if (node.type == WEIR_DIR && weir_node_child(op->fs->st, d->row.id, node.name, &row) == WEIR_OK)
				fs_attr(op, &row, valid, &a);
			else
				fs_attr(op, &node, valid, &a);
			a.is_name_loose = !d->pool || d->pool->is_shared;
			if (op->emit(op, node.name, &a, item[i].id)) {
				*is_full = true;
				return WEIR_OK;
			}
		}
	}
}

static enum weir_code
readdir_ask(struct weir_op *op, const struct pool_dir *d)
{
	enum weir_code why = WEIR_OK, r;
	bool is_told = false;
	struct weir_node dir;

	if (!op->tries)
		pool_ask_all(op, d, 0);
	for (size_t i = 0; i < d->n; i++) {
		if (!d->dir[i] || weir_node_get(op->fs->st, d->dir[i], &dir))
			continue;
		if ((r = pool_fresh(op, 0, i, &dir)) == WEIR_PENDING)
			return r;
		is_told |= !r;
		if (r)
			why = r;
	}
	return is_told ? WEIR_OK : why;
}

static enum weir_code
pool_readdir(struct weir_op *op)
{
	bool is_full = false;
	struct pool_dir d;
	struct weir_node n;
	struct weir_attr a;
	enum weir_code r;

	r = op->off ? pool_open(op->fs, fs_in(op->fs, op->ino), &d) : pool_open_now(op, op->ino, &d);
	if (r)
		return r;
	if (op->off == 0 && (r = readdir_ask(op, &d))) /* a listing that has begun goes on with what it began with */
		return r;
	fs_attr(op, &d.row, 0, &a);
	if (op->off < 1 && op->emit(op, ".", &a, 1))
		return WEIR_OK;
	if (d.row.parent)
		a.ino = fs_out(op->fs, d.row.parent);
	if (op->off < 2 && op->emit(op, "..", &a, 2))
		return WEIR_OK;
	if (op->off < WAY_COOKIE && (r = readdir_members(op, &d, pool_valid_ms(op, &d), &is_full)))
		return r;
	for (size_t i = 0; i < op->fs->nways && !is_full; i++) {
		const struct fs_way *w = &op->fs->ways[i];

		if (w->parent != d.row.id || op->off >= WAY_COOKIE + i + 1 || weir_node_get(op->fs->st, w->target, &n))
			continue;
		fs_attr(op, &n, 60000, &a);
		is_full = op->emit(op, w->name, &a, WAY_COOKIE + i + 1) != 0;
	}
	return WEIR_OK;
}

/* ---- which handler ---- */

static enum weir_code (*const pool_handlers[WEIR_OP_KINDS])(struct weir_op *) = {
	[WEIR_OP_LOOKUP] = pool_lookup, [WEIR_OP_OPENDIR] = pool_opendir, [WEIR_OP_READDIR] = pool_readdir, [WEIR_OP_STATFS] = pool_statfs,
	[WEIR_OP_CREATE] = pool_new, [WEIR_OP_MKNOD] = pool_new, [WEIR_OP_SYMLINK] = pool_new, [WEIR_OP_MKDIR] = pool_mkdir,
	[WEIR_OP_UNLINK] = pool_unlink, [WEIR_OP_RMDIR] = pool_rmdir, [WEIR_OP_RENAME] = pool_rename, [WEIR_OP_SETATTR] = pool_setattr,
};

enum weir_code (*pool_handler(struct weir_op *op))(struct weir_op *)
{
	if (!op->fs->npools || !pool_handlers[op->kind])
		return NULL;
	if (pool_is(op->fs, op->ino) || (op->kind == WEIR_OP_RENAME && pool_is(op->fs, op->ino2)))
		return pool_handlers[op->kind];
	return NULL;
}

/* ---- two paths to one file ---- */

/* Can what is in this directory of a remote be reached through a pool too? The kernel may not keep its names then: it does not know that a change
 * under one path changes the other. */
bool
pool_shows(struct weir_fs *fs, uint64_t node)
{
	struct weir_node n;

	for (int depth = 0; fs->has_shared && depth < 4096 && node && !weir_node_get(fs->st, node, &n); depth++) {
		bool is_member = false;

		for (size_t p = 0; p < fs->npools; p++)
			for (size_t i = 0; fs->pools[p].is_shared && i < fs->pools[p].n; i++) {
				if (fs->pools[p].dirs[i] == node)
					return true;
				is_member |= fs->pools[p].remotes[i] == n.remote;
			}
		if (!is_member || (n.flags & WEIR_N_ROOT))
			return false;
		node = n.parent;
	}
	return false;
}

bool
pool_is_member_root(const struct weir_fs *fs, uint64_t node)
{
	for (size_t p = 0; p < fs->npools; p++)
		for (size_t i = 0; i < fs->pools[p].n; i++)
			if (fs->pools[p].dirs[i] == node)
				return true;
	return false;
}

/* The pools' own directories that show this directory of a member: those the kernel may have seen. */
size_t
pool_shown_at(struct weir_fs *fs, uint64_t dir, uint64_t *out, size_t max)
{
	char names[4096], *at = names + sizeof(names) - 1;
	struct weir_node n;
	size_t count = 0;

	*at = 0;
	while (dir && fs->npools && !weir_node_get(fs->st, dir, &n) && n.type == WEIR_DIR) {
		size_t len = strlen(n.name);

		for (size_t p = 0; p < fs->npools; p++)
			for (size_t i = 0; i < fs->pools[p].n && count < max; i++)
				if (fs->pools[p].dirs[i] == dir && (out[count] = member_dir(fs, fs->pools[p].node, at, NULL)))
					count++;
		if ((n.flags & WEIR_N_ROOT) || (size_t)(at - names) < len + 1)
			break;
		if (*at)
			*--at = '/';
		at -= len;
		memcpy(at, n.name, len);
		dir = n.parent;
	}
	return count;
}
