/* SPDX-License-Identifier: Apache-2.0 */
/* Names: lookup, listing, making, removing, renaming. Every change is one transaction that also records the request. */
#include "config.h"

#include "../util/fold.h"
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>

#define LINK_SUFFIX ".rclonelink"
#define WAY_COOKIE (1ull << 62)

/* ---- looking ---- */

static enum weir_code
check_name(const char *name)
{
	size_t n = strlen(name);

	if (n > WEIR_NAME_MAX)
		return WEIR_E_NAMETOOLONG;
	return n == 0 ? WEIR_E_NOENT : WEIR_OK;
}

static enum weir_code
way_target(struct weir_op *op, const struct fs_way *w, struct weir_node *n)
{
	return weir_node_get(op->fs->st, w->target, n);
}

/* The child called name, after the directory may be answered for. PENDING when parked. */
static enum weir_code
find_child(struct weir_op *op, const struct weir_node *dir, const char *name, struct weir_node *n)
{
	enum weir_code r = check_name(name), fresh;

	if (r)
		return r;
	if (op->tries && !dir->listed_ms && weir_node_child(op->fs->st, dir->id, name, n) == WEIR_OK && n->rparent == dir->id)
		return WEIR_OK; /* a first listing is under way and has shown it already */
	fresh = fs_fresh(op, dir);
	if (fresh == WEIR_PENDING)
		return fresh;
	r = weir_node_child(op->fs->st, dir->id, name, n);
	if (r == WEIR_E_NOENT && fresh)
		return fresh; /* unknown, and nobody to ask */
	return r;
}

enum weir_code
tree_lookup(struct weir_op *op)
{
	const struct fs_way *w;
	struct weir_node dir, n;
	enum weir_code r;

	if ((r = fs_dir(op, op->ino, &dir)))
		return r;
	if ((w = ns_way(op->fs, dir.id, op->name))) {
		if ((r = way_target(op, w, &n)))
			return r;
		fs_attr(op, &n, 60000, &op->attr);
		return WEIR_OK;
	}
	if ((r = find_child(op, &dir, op->name, &n)))
		return r;
	fs_attr(op, &n, weir_sync_valid_ms(op->fs->sy, &dir), &op->attr);
	return WEIR_OK;
}

enum weir_code
tree_opendir(struct weir_op *op)
{
	struct weir_node dir;
	enum weir_code r = fs_dir(op, op->ino, &dir);

	op->drops_cache = !r && pool_shows(op->fs, dir.id);
	return r;
}

struct readdir { struct weir_op *op; uint32_t valid; bool is_full, is_loose; };

static int
readdir_child(void *arg, struct weir_node *n)
{
	struct readdir *rd = arg;
	struct weir_attr a;

	if (ns_way(rd->op->fs, n->parent, n->name))
		return 0;
	fs_attr(rd->op, n, rd->valid, &a);
	a.is_name_loose = rd->is_loose;
	rd->is_full = rd->op->emit(rd->op, n->name, &a, n->id) != 0;
	return rd->is_full;
}

static bool
readdir_dots(struct weir_op *op, const struct weir_node *dir, uint32_t valid)
{
	struct weir_attr a;

	fs_attr(op, dir, valid, &a);
	if (op->off < 1 && op->emit(op, ".", &a, 1))
		return true;
	if (op->off < 2 && dir->parent)
		a.ino = fs_out(op->fs, dir->parent);
	return op->off < 2 && op->emit(op, "..", &a, 2);
}

enum weir_code
tree_readdir(struct weir_op *op)
{
	struct readdir rd = { .op = op };
	struct weir_node dir, n;
	struct weir_attr a;
	enum weir_code r;

	if ((r = fs_dir(op, op->ino, &dir)))
		return r;
	if (op->off == 0 && (r = fs_fresh(op, &dir))) /* a listing that has begun goes on with what it began with */
		return r;
	rd.valid = weir_sync_valid_ms(op->fs->sy, &dir);
	rd.is_loose = pool_shows(op->fs, dir.id);
	if (readdir_dots(op, &dir, rd.valid))
		return WEIR_OK;
	if (op->off < WAY_COOKIE && (r = weir_node_children(op->fs->st, dir.id, op->off < 2 ? 2 : op->off, readdir_child, &rd)))
		return r;
	for (size_t i = 0; i < op->fs->nways && !rd.is_full; i++) {
		const struct fs_way *w = &op->fs->ways[i];

		if (w->parent != dir.id || op->off >= WAY_COOKIE + i + 1 || way_target(op, w, &n))
			continue;
		fs_attr(op, &n, 60000, &a);
		rd.is_full = op->emit(op, w->name, &a, WAY_COOKIE + i + 1) != 0;
	}
	return WEIR_OK;
}

enum weir_code
tree_readlink(struct weir_op *op)
{
	struct weir_content *c;
	struct weir_node n;
	enum weir_code r;
	ssize_t got;

	if ((r = fs_node(op, op->ino, &n)))
		return r;
	if (n.type != WEIR_LINK)
		return WEIR_E_INVAL;
	r = weir_xattr_get(op->fs->st, n.id, "!link", op->buf, op->len, &op->result);
	if (r != WEIR_E_NODATA)
		return r;
	if (op->wait.code) {
		r = op->wait.code;
		op->wait.code = WEIR_OK;
		return r;
	}
	if ((r = file_content(op->fs, &n, &c, NULL)))
		return r;
	if (!c->is_complete)
		r = weir_sync_fetch(op->fs->sy, &n, c, 0, n.size, fs_waiter(op));
	else {
		got = weir_pread_full(c->fd, op->buf, n.size < op->len ? (size_t)n.size : op->len, 0);
		op->result = got > 0 ? (size_t)got : 0;
		r = got < 0 ? WEIR_E_IO : WEIR_OK;
	}
	weir_content_put(c);
	return r;
}

/* ---- making ---- */

enum weir_code
tree_fold_check(struct weir_fs *fs, const struct weir_node *dir, const char *name, uint64_t except)
{
	struct weir_remote *remote = weir_sync_remote(fs->sy, dir->remote);
	sqlite3_stmt *s;
	bool is_taken = false;

	if (!remote || !(weir_remote_caps(remote) & WEIR_CAP_FOLD_CASE))
		return WEIR_OK;
	s = weir_store_stmt(fs->st, "SELECT name, id FROM nodes WHERE parent=?");
	sqlite3_bind_int64(s, 1, (int64_t)dir->id);
	while (!is_taken && sqlite3_step(s) == SQLITE_ROW)
		is_taken = (uint64_t)sqlite3_column_int64(s, 1) != except && weir_fold_equal((const char *)sqlite3_column_text(s, 0), name);
	sqlite3_reset(s);
	return is_taken ? WEIR_E_EXIST : WEIR_OK;
}

enum weir_code
tree_place(struct weir_op *op, uint64_t parent, const char *name, enum weir_type type, struct weir_node *dir, struct weir_node *n)
{
	char rname[WEIR_RNAME_MAX + 1];
	size_t len = strlen(name), cut = strlen(LINK_SUFFIX);
	struct weir_remote *remote;
	enum weir_code r;

	if ((r = fs_dir(op, parent, dir)))
		return r;
	if (ns_way(op->fs, dir->id, name))
		return WEIR_E_EXIST;
	r = find_child(op, dir, name, n);
	if (r != WEIR_E_NOENT)
		return r ? r : WEIR_E_EXIST;
	if ((r = fs_writable(op->fs, dir)))
		return r;
	if (dir->flags & WEIR_N_READONLY)
		return WEIR_E_ACCES;
	if (!dir->parent && !(dir->flags & WEIR_N_ROOT))
		return WEIR_E_NOENT; /* removed, but somebody stands in it */
	remote = weir_sync_remote(op->fs->sy, dir->remote);
	if (!weir_remote_rname(remote, type, name, rname))
		return WEIR_E_NAMETOOLONG;
	/* Such a file would come back from the storage as a symbolic link. */
	if (type != WEIR_LINK && !(weir_remote_caps(remote) & WEIR_CAP_SYMLINK) && len > cut && strcmp(name + len - cut, LINK_SUFFIX) == 0)
		return WEIR_E_NAME;
	memset(n, 0, sizeof(*n));
	return tree_fold_check(op->fs, dir, name, 0);
}

void
tree_new_node(struct weir_op *op, const struct weir_node *dir, const char *name, enum weir_type type, uint32_t mode, struct weir_node *n)
{
	memset(n, 0, sizeof(*n));
	n->type = type;
	n->parent = dir->id;
	n->remote = dir->remote;
	n->mode = mode & 07777;
	n->uid = op->uid;
	n->gid = op->gid;
	n->flags = WEIR_N_EXACT | WEIR_N_MODE;
	if (dir->mode & S_ISGID) {
		n->gid = dir->gid;
		if (type == WEIR_DIR)
			n->mode |= S_ISGID;
	}
	if (type == WEIR_FILE || type == WEIR_LINK)
		n->flags |= WEIR_N_CONTENT;
	if (type == WEIR_FIFO || type == WEIR_SOCK)
		n->flags |= WEIR_N_LOCAL;
	n->mtime_ns = n->ctime_ns = n->atime_ns = n->btime_ns = weir_wall_ns();
	snprintf(n->name, sizeof(n->name), "%s", name);
}

enum weir_code
tree_insert(struct weir_op *op, struct weir_node *n, int64_t delay_ms)
{
	enum weir_code r;

	if ((r = weir_node_insert(op->fs->st, n, NULL)) || (r = fs_touch_dir(op->fs, n->parent)))
		return r;
	return n->flags & WEIR_N_LOCAL ? WEIR_OK : fs_journal(op->fs, n, delay_ms);
}

static enum weir_code
finish_new(struct weir_op *op, struct weir_node *n)
{
	enum weir_code r = fs_commit(op, n->id);

	if (r)
		return r;
	fs_attr_full(op, n, &op->attr);
	fs_kick(op->fs, n->remote);
	return WEIR_OK;
}

enum weir_code
tree_mkdir(struct weir_op *op)
{
	struct weir_node dir, n;
	enum weir_code r;

	if ((r = tree_place(op, op->ino, op->name, WEIR_DIR, &dir, &n)))
		return r;
	tree_new_node(op, &dir, op->name, WEIR_DIR, op->mode, &n);
	if ((r = fs_begin(op->fs)))
		return r;
	if ((r = tree_insert(op, &n, TREE_TIDY_MS)))
		return fs_fail(op->fs, r);
	return finish_new(op, &n);
}

/* A new empty file with its (born) content. */
static enum weir_code
make_file(struct weir_op *op, const struct weir_node *dir, struct weir_node *n, int64_t delay_ms)
{
	struct weir_content *c = NULL;
	enum weir_code r;

	tree_new_node(op, dir, op->name, WEIR_FILE, op->mode, n);
	if ((r = fs_begin(op->fs)))
		return r;
	if ((r = tree_insert(op, n, delay_ms)) || (r = weir_content_new(op->fs->st, n, true, 0, &c, NULL)) ||
	    (r = weir_node_update(op->fs->st, n, NULL))) {
		r = fs_fail(op->fs, r);
		weir_content_put(c);
		return r;
	}
	r = fs_commit(op, n->id);
	if (!r && delay_ms == WEIR_DUE_NEVER)
		open_get(op, n);
	weir_content_put(c);
	return r;
}

enum weir_code
tree_mknod(struct weir_op *op)
{
	enum weir_type type = S_ISFIFO(op->mode) ? WEIR_FIFO : S_ISSOCK(op->mode) ? WEIR_SOCK : WEIR_FILE;
	struct weir_node dir, n;
	enum weir_code r;

	if (type == WEIR_FILE && (op->mode & S_IFMT) && !S_ISREG(op->mode))
		return WEIR_E_PERM;
	if ((r = tree_place(op, op->ino, op->name, type, &dir, &n)))
		return r;
	if (type == WEIR_FILE) {
		if ((r = make_file(op, &dir, &n, WEIR_SETTLE_MS)))
			return r;
		fs_attr_full(op, &n, &op->attr);
		fs_kick(op->fs, n.remote);
		return WEIR_OK;
	}
	tree_new_node(op, &dir, op->name, type, op->mode, &n);
	if ((r = fs_begin(op->fs)))
		return r;
	if ((r = tree_insert(op, &n, 0)))
		return fs_fail(op->fs, r);
	return finish_new(op, &n);
}

enum weir_code
tree_symlink(struct weir_op *op)
{
	struct weir_node dir, n;
	size_t len = strlen(op->name2);
	enum weir_code r;

	if (len >= 4096)
		return WEIR_E_NAMETOOLONG;
	if ((r = tree_place(op, op->ino, op->name, WEIR_LINK, &dir, &n)) || (r = quota_room(op->fs, dir.remote, len)))
		return r;
	tree_new_node(op, &dir, op->name, WEIR_LINK, 0777, &n);
	n.size = len;
	if ((r = fs_begin(op->fs)))
		return r;
	if ((r = tree_insert(op, &n, WEIR_SETTLE_MS)) || (r = weir_xattr_set(op->fs->st, n.id, "!link", op->name2, len, NULL)))
		return fs_fail(op->fs, r);
	return finish_new(op, &n);
}

enum weir_code
tree_create(struct weir_op *op)
{
	struct weir_open_slot slot;
	struct weir_node dir, n;
	enum weir_code r;

	r = tree_place(op, op->ino, op->name, WEIR_FILE, &dir, &n);
	if (r == WEIR_E_EXIST && !(op->flags & O_EXCL) && n.type == WEIR_FILE && !ns_way(op->fs, dir.id, op->name)) {
		uint64_t parent = op->ino;

		fs_attr_full(op, &n, &op->attr);
		op->ino = fs_out(op->fs, n.id);
		r = file_open(op);
		op->ino = parent;
		return r;
	}
	if (r)
		return r;
	if (weir_opens_get(op->fs->opens, UINT64_MAX, true, &slot)) /* is there room for one more handle? asked before anything is made */
		return WEIR_E_NFILE;
	weir_opens_put(op->fs->opens, UINT64_MAX, true, NULL);
	if ((r = make_file(op, &dir, &n, WEIR_DUE_NEVER)))
		return r;
	weir_opens_get(op->fs->opens, fs_out(op->fs, n.id), true, NULL);
	open_find(op->fs, n.id)->needs_due = true;
	op->fh = 1;
	fs_attr_full(op, &n, &op->attr);
	return WEIR_OK;
}

/* ---- removing ---- */

/* In a transaction: the node loses its name. What the remote has of it is for the journal; what nobody has any more goes. */
static enum weir_code
detach_node(struct weir_fs *fs, struct weir_node *n)
{
	struct weir_remote *r = weir_sync_remote(fs->sy, n->remote);
	bool is_held = fs_is_open(fs, n->id) || (r && weir_sync_is_sending(r, n->id));
	enum weir_code code;

	n->parent = 0;
	n->ctime_ns = weir_wall_ns();
	if ((code = weir_node_update(fs->st, n, NULL)))
		return code;
	if (!(r && weir_sync_is_sending(r, n->id)) && (code = weir_upload_doubt(fs->st, n->id, NULL)))
		return code;
	if (!n->rparent && !is_held)
		return weir_node_delete(fs->st, n->id, NULL);
	if (!n->rparent && !(r && weir_sync_is_sending(r, n->id)))
		return weir_journal_drop(fs->st, n->id, NULL);
	return fs_journal(fs, n, TREE_TIDY_MS);
}

static enum weir_code
find_removable(struct weir_op *op, struct weir_node *dir, struct weir_node *n)
{
	enum weir_code r;

	if ((r = fs_dir(op, op->ino, dir)))
		return r;
	if (ns_way(op->fs, dir->id, op->name))
		return WEIR_E_BUSY;
	if ((r = find_child(op, dir, op->name, n)) || (r = fs_writable(op->fs, dir)))
		return r;
	if (n->flags & WEIR_N_VIRTUAL)
		return WEIR_E_BUSY;
	return (n->flags | dir->flags) & WEIR_N_READONLY ? WEIR_E_ACCES : WEIR_OK;
}

/* Live size that no row knows goes out of the count together with the name. */
static void
forget_growth(struct weir_fs *fs, const struct weir_node *n)
{
	const struct weir_content *c = weir_content_live(fs->st, n->id);

	if (c && c->num == n->content && c->is_attr_dirty)
		quota_grow(fs, n->remote, (int64_t)n->size - (int64_t)c->size);
}

enum weir_code
tree_unlink_node(struct weir_fs *fs, struct weir_node *n)
{
	struct weir_content *c = weir_content_live(fs->st, n->id);

	forget_growth(fs, n);
	settle_upset(fs, n);
	/* An open file's row takes its live size along, so that the two stay one. */
	if (c && c->num == n->content && c->is_attr_dirty) {
		n->size = c->size;
		n->mtime_ns = c->mtime_ns;
		c->is_attr_dirty = false;
	}
	return detach_node(fs, n);
}

enum weir_code
tree_unlink(struct weir_op *op)
{
	struct weir_node dir, n;
	enum weir_code r;

	if ((r = find_removable(op, &dir, &n)))
		return r;
	if (n.type == WEIR_DIR)
		return WEIR_E_ISDIR;
	if ((r = fs_begin(op->fs)))
		return r;
	if ((r = tree_unlink_node(op->fs, &n)) || (r = fs_touch_dir(op->fs, dir.id)))
		return fs_fail(op->fs, r);
	if ((r = fs_commit(op, 0)))
		return r;
	fs_kick(op->fs, n.remote);
	return WEIR_OK;
}

static enum weir_code
check_empty(struct weir_op *op, const struct weir_node *n)
{
	enum weir_code r = fs_fresh(op, n);

	if (r)
		return r;
	if (ns_has_way_in(op->fs, n->id) || pool_is_member_root(op->fs, n->id))
		return WEIR_E_BUSY;
	return weir_node_has_child(op->fs->st, n->id) ? WEIR_E_NOTEMPTY : WEIR_OK;
}

enum weir_code
tree_rmdir(struct weir_op *op)
{
	struct weir_node dir, n;
	enum weir_code r;

	if ((r = find_removable(op, &dir, &n)))
		return r;
	if (n.type != WEIR_DIR)
		return WEIR_E_NOTDIR;
	if ((r = check_empty(op, &n)) || (r = fs_begin(op->fs)))
		return r;
	if ((r = detach_node(op->fs, &n)) || (r = fs_touch_dir(op->fs, dir.id)))
		return fs_fail(op->fs, r);
	if ((r = fs_commit(op, 0)))
		return r;
	fs_kick(op->fs, n.remote);
	return WEIR_OK;
}

/* ---- renaming ---- */

static int64_t
rename_delay(struct weir_fs *fs, const struct weir_node *n)
{
	struct weir_journal_row row;

	if (weir_journal_get(fs->st, n->id, &row) && row.due_ms >= WEIR_DUE_NEVER)
		return WEIR_DUE_NEVER; /* still open for writing */
	return n->flags & WEIR_N_CONTENT ? WEIR_SETTLE_MS : TREE_TIDY_MS;
}

/* In a transaction. */
enum weir_code
tree_put_name(struct weir_fs *fs, struct weir_node *n, uint64_t parent, const char *name)
{
	struct weir_remote *remote;
	enum weir_code r;

	n->parent = parent;
	snprintf(n->name, sizeof(n->name), "%s", name);
	n->ctime_ns = weir_wall_ns();
	if ((r = weir_node_update(fs->st, n, NULL)))
		return r;
	remote = weir_sync_remote(fs->sy, n->remote);
	if (!(remote && weir_sync_is_sending(remote, n->id)) && (r = weir_upload_doubt(fs->st, n->id, NULL)))
		return r;
	return n->flags & WEIR_N_LOCAL ? WEIR_OK : fs_journal(fs, n, rename_delay(fs, n));
}

static bool
is_inside(struct weir_store *st, uint64_t dir, uint64_t maybe_above)
{
	struct weir_node up;

	for (int i = 0; i < 4096 && dir != maybe_above; i++) {
		if (weir_node_get(st, dir, &up) || !up.parent)
			return false;
		dir = up.parent;
	}
	return true;
}

static enum weir_code
rename_check(struct weir_op *op, const struct weir_node *n, const struct weir_node *to_dir, const struct weir_node *old, bool has_old)
{
	char rname[WEIR_RNAME_MAX + 1];
	enum weir_code r;

	if (n->remote != to_dir->remote)
		return WEIR_E_XDEV;
	if (ns_has_way_in(op->fs, n->id) || (n->flags & (WEIR_N_BIND | WEIR_N_VIRTUAL)))
		return WEIR_E_BUSY;
	if (!weir_remote_rname(weir_sync_remote(op->fs->sy, n->remote), n->type, op->name2, rname))
		return WEIR_E_NAMETOOLONG;
	if (!to_dir->parent && !(to_dir->flags & WEIR_N_ROOT))
		return WEIR_E_NOENT;
	/* A kernel never asks for a directory inside itself; other fronts may. */
	if (n->type == WEIR_DIR && is_inside(op->fs->st, to_dir->id, n->id))
		return WEIR_E_INVAL;
	if (has_old && (op->flags & RENAME_EXCHANGE) && old->type == WEIR_DIR && is_inside(op->fs->st, n->parent, old->id))
		return WEIR_E_INVAL;
	if (has_old && (old->flags & (WEIR_N_BIND | WEIR_N_VIRTUAL)))
		return op->flags & RENAME_NOREPLACE ? WEIR_E_EXIST : WEIR_E_BUSY;
	if ((!has_old || old->id != n->id) && (r = tree_fold_check(op->fs, to_dir, op->name2, has_old ? old->id : n->id)))
		return r;
	if (!has_old || (op->flags & RENAME_EXCHANGE))
		return WEIR_OK;
	if (op->flags & RENAME_NOREPLACE)
		return WEIR_E_EXIST;
	if (old->flags & WEIR_N_READONLY)
		return WEIR_E_ACCES;
	if (n->type == WEIR_DIR && old->type != WEIR_DIR)
		return WEIR_E_NOTDIR;
	if (n->type != WEIR_DIR && old->type == WEIR_DIR)
		return WEIR_E_ISDIR;
	if (old->type == WEIR_DIR && (r = check_empty(op, old)))
		return r;
	return WEIR_OK;
}

static enum weir_code
rename_commit(struct weir_op *op, struct weir_node *n, const struct weir_node *to_dir, struct weir_node *old, bool has_old)
{
	struct weir_fs *fs = op->fs;
	uint64_t from_parent = n->parent;
	char from_name[WEIR_NAME_MAX + 1];
	enum weir_code r;

	snprintf(from_name, sizeof(from_name), "%s", n->name);
	if (has_old && !(op->flags & RENAME_EXCHANGE))
		forget_growth(fs, old);
	if ((r = fs_begin(fs)))
		return r;
	if (has_old && (op->flags & RENAME_EXCHANGE)) {
		n->parent = 0; /* out of the way of the unique index */
		if ((r = weir_node_update(fs->st, n, NULL)) || (r = tree_put_name(fs, old, from_parent, from_name)))
			return fs_fail(fs, r);
	} else if (has_old && (r = detach_node(fs, old)))
		return fs_fail(fs, r);
	if ((r = tree_put_name(fs, n, to_dir->id, op->name2)) || (r = fs_touch_dir(fs, from_parent)) || (r = fs_touch_dir(fs, to_dir->id)))
		return fs_fail(fs, r);
	return fs_commit(op, 0);
}

enum weir_code
tree_rename(struct weir_op *op)
{
	struct weir_node dir, n, to_dir, old;
	bool has_old;
	enum weir_code r;

	if (op->flags & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return WEIR_E_INVAL;
	if ((r = find_removable(op, &dir, &n)) || (r = fs_dir(op, op->ino2, &to_dir)) || (r = check_name(op->name2)))
		return r;
	if (ns_way(op->fs, to_dir.id, op->name2))
		return WEIR_E_BUSY;
	r = find_child(op, &to_dir, op->name2, &old);
	if (r && r != WEIR_E_NOENT)
		return r;
	has_old = !r;
	if (!has_old && (op->flags & RENAME_EXCHANGE))
		return WEIR_E_NOENT;
	if (n.remote != to_dir.remote)
		return WEIR_E_XDEV;
	if ((r = fs_writable(op->fs, &to_dir)))
		return r;
	if (has_old && old.id == n.id)
		return WEIR_OK;
	if ((r = rename_check(op, &n, &to_dir, &old, has_old)))
		return r;
	if (to_dir.flags & WEIR_N_READONLY)
		return WEIR_E_ACCES;
	if ((r = rename_commit(op, &n, &to_dir, &old, has_old)))
		return r;
	settle_upset(op->fs, &n);
	fs_kick(op->fs, n.remote);
	return WEIR_OK;
}
