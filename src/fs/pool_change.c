/* SPDX-License-Identifier: Apache-2.0 */
/* Making and removing in a pool: which member gets what is new, and the directories it needs there. What happens on one member is done by the
 * handlers of tree.c, told the member's directory instead of the pool's. */
#include "config.h"

#include "pool.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* ---- a seat for something new ---- */

enum { SEAT_ROOMY, SEAT_ROOM, SEAT_AWAY, SEAT_FULL, SEAT_KINDS };	/* best first */

/* What this member would be for a new entry; SEAT_KINDS: nothing. */
static int
seat_kind(struct weir_op *op, const struct pool_dir *d, size_t i, uint64_t *room, enum weir_code *why)
{
	struct weir_fs *fs = op->fs;
	struct weir_remote *remote = weir_sync_remote(fs->sy, d->pool->remotes[i]);
	uint64_t limit, reserve = d->pool->bind->reserve_bytes;
	struct weir_remote_view v;
	struct weir_node dir;
	enum weir_code r;

	if (op->pool_dead & 1u << i)
		return SEAT_KINDS;
	if (!remote || weir_node_get(fs->st, d->dir[i] ? d->dir[i] : d->pool->dirs[i], &dir))
		return SEAT_KINDS;
	if ((r = fs_writable(fs, &dir)) || (dir.flags & WEIR_N_READONLY)) {
		*why = r ? r : WEIR_E_ACCES;
		return SEAT_KINDS;
	}
	*room = quota_left(fs, d->pool->remotes[i], &limit);
	if (reserve == UINT64_MAX)
		reserve = limit / 100 < 1u << 30 ? limit / 100 : 1u << 30;
	weir_remote_view(remote, &v);
	if (!*room) {
		*why = quota_room(fs, d->pool->remotes[i], 1);
		return SEAT_FULL;
	}
	if (v.state == WEIR_REMOTE_DOWN || v.state == WEIR_REMOTE_REFUSED) {
		if (!dir.listed_ms && dir.rparent)
			return SEAT_KINDS;
		return SEAT_AWAY;
	}
	return *room > reserve ? SEAT_ROOMY : SEAT_ROOM;
}

/* The member for something new. A file wants room, the rest does not. */
static enum weir_code
pool_seat(struct weir_op *op, const struct pool_dir *d, bool wants_room, size_t *out)
{
	enum weir_pool_policy policy = d->pool->bind->policy;
	enum weir_code why = WEIR_E_DOWN;
	uint64_t best_room = 0;
	int best = SEAT_KINDS;
	bool best_has_dir = false;

	for (size_t i = 0; i < d->n; i++) {
		bool has_dir = d->dir[i] != 0, is_better;
		uint64_t room = 0;
		int kind = seat_kind(op, d, i, &room, &why);

		if (kind == SEAT_KINDS || (kind == SEAT_FULL && wants_room))
			continue;
		is_better = kind < best;
		if (kind == best && policy == WEIR_POOL_MOST_FREE)
			is_better = room > best_room;
		if (kind == best && policy == WEIR_POOL_SIBLINGS)
			is_better = has_dir != best_has_dir ? has_dir : room > best_room;
		if (!is_better)
			continue;
		*out = i;
		best = kind;
		best_room = room;
		best_has_dir = has_dir;
	}
	return best < SEAT_KINDS ? WEIR_OK : why;
}

/* ---- the directories above it ---- */

static enum weir_code
make_dir_like(struct weir_op *op, const struct weir_node *parent, const char *name, const struct weir_node *like, struct weir_node *out)
{
	char rname[WEIR_RNAME_MAX + 1];
	enum weir_code r;

	if ((r = fs_writable(op->fs, parent)))
		return r;
	if (parent->flags & WEIR_N_READONLY)
		return WEIR_E_ACCES;
	if (!weir_remote_rname(weir_sync_remote(op->fs->sy, parent->remote), WEIR_DIR, name, rname))
		return WEIR_E_NAMETOOLONG;
	if ((r = tree_fold_check(op->fs, parent, name, 0)))
		return r;
	tree_new_node(op, parent, name, WEIR_DIR, like->mode, out);
	out->uid = like->uid;
	out->gid = like->gid;
	if ((r = fs_begin(op->fs)))
		return r;
	if ((r = tree_insert(op, out, TREE_TIDY_MS)))
		return fs_fail(op->fs, r);
	return weir_store_commit(op->fs->st, NULL);
}

/* One step down on every member; *like: the first one's directory of this name. */
static void
step_down(struct weir_fs *fs, uint64_t *at, size_t n, const char *name, struct weir_node *like)
{
	struct weir_node child;
	bool has_like = false;

	for (size_t i = 0; i < n; i++) {
		if (!at[i] || weir_node_child(fs->st, at[i], name, &child) || child.type != WEIR_DIR) {
			at[i] = 0;
			continue;
		}
		at[i] = child.id;
		if (!has_like)
			*like = child;
		has_like = true;
	}
}

enum weir_code
pool_ensure(struct weir_op *op, struct pool_dir *d, size_t member, struct weir_node *dir)
{
	uint64_t at[WEIR_POOL_MAX];
	char part[WEIR_NAME_MAX + 1];
	struct weir_node child, like;
	enum weir_code r;

	if (!d->n)
		return WEIR_E_NOENT;
	if (d->dir[member])
		return weir_node_get(op->fs->st, d->dir[member], dir);
	memcpy(at, d->pool->dirs, sizeof(at));
	if ((r = weir_node_get(op->fs->st, at[member], dir)))
		return r;
	for (const char *p = d->path; *p;) {
		size_t len = strcspn(p, "/");

		snprintf(part, sizeof(part), "%.*s", (int)len, p);
		p += len + (p[len] == '/');
		like = (struct weir_node){ .mode = 0755, .uid = WEIR_NOBODY, .gid = WEIR_NOBODY };
		step_down(op->fs, at, d->n, part, &like);
		r = weir_node_child(op->fs->st, dir->id, part, &child);
		if (r == WEIR_E_NOENT && !dir->listed_ms && (r = fs_fresh(op, dir)))
			return r;
		if (r == WEIR_E_NOENT || (!r && weir_node_child(op->fs->st, dir->id, part, &child)))
			r = make_dir_like(op, dir, part, &like, &child);
		if (r)
			return r;
		if (child.type != WEIR_DIR)
			return WEIR_E_NOTDIR;
		at[member] = child.id;
		*dir = child;
	}
	d->dir[member] = dir->id;
	fs_kick(op->fs, dir->remote);
	return WEIR_OK;
}

/* A member with its directory. Members that cannot are passed over, while there are others. */
static enum weir_code
pool_place(struct weir_op *op, struct pool_dir *d, bool wants_room, struct weir_node *dir)
{
	enum weir_code r, why = WEIR_OK;
	size_t i = 0;

	if (!d->n)
		return WEIR_E_NOENT;
	while (!(r = pool_seat(op, d, wants_room, &i))) {
		if (!(r = pool_ensure(op, d, i, dir)) || r == WEIR_PENDING)
			return r;
		op->pool_dead |= 1u << i;
		why = r;
	}
	return why ? why : r;
}

/* ---- making ---- */

static enum weir_code
on_member(struct weir_op *op, const struct pool_dir *d, uint64_t dir, enum weir_code (*handler)(struct weir_op *))
{
	uint64_t ino = op->ino;
	enum weir_code r;

	op->ino = fs_out(op->fs, dir);
	r = handler(op);
	op->ino = ino;
	if (!r)
		op->attr.is_name_loose = d->pool->is_shared;
	return r;
}

enum weir_code
pool_new(struct weir_op *op)
{
	enum weir_code (*handler)(struct weir_op *) =
	    op->kind == WEIR_OP_CREATE ? tree_create : op->kind == WEIR_OP_MKNOD ? tree_mknod : tree_symlink;
	struct weir_node dir;
	struct pool_dir d;
	struct pool_name f;
	enum weir_code r;

	if ((r = pool_open_now(op, op->ino, &d)))
		return r;
	if (ns_way(op->fs, d.row.id, op->name))
		return WEIR_E_EXIST;
	if (op->fs->opt.is_readonly && op->kind != WEIR_OP_CREATE)
		return WEIR_E_ROFS;
	r = pool_find(op, &d, 0, op->name, false, &f);
	if (!r && f.node.type == WEIR_FILE && op->kind == WEIR_OP_CREATE)
		return on_member(op, &d, d.dir[f.first], handler);
	if (r != WEIR_E_NOENT)
		return r ? r : WEIR_E_EXIST;
	if ((r = pool_place(op, &d, true, &dir)))
		return r;
	return on_member(op, &d, dir.id, handler);
}

/* In a transaction: a directory on the member, and the pool's node for it, with a new number. */
static enum weir_code
insert_dir(struct weir_op *op, const struct pool_dir *d, struct weir_node *n, struct weir_node *row)
{
	enum weir_code r;

	if ((r = tree_insert(op, n, TREE_TIDY_MS)) || (r = pool_row_drop(op->fs, d->row.id, op->name)))
		return r;
	return pool_row_insert(op->fs, d->row.id, op->name, 0, row);
}

enum weir_code
pool_mkdir(struct weir_op *op)
{
	struct weir_node dir, n, row;
	struct pool_dir d;
	struct pool_name f;
	enum weir_code r;

	if ((r = pool_open_now(op, op->ino, &d)))
		return r;
	if (ns_way(op->fs, d.row.id, op->name) || (!weir_node_child(op->fs->st, d.row.id, op->name, &row) && (row.flags & WEIR_N_BIND)))
		return WEIR_E_EXIST;
	r = pool_find(op, &d, 0, op->name, false, &f);
	if (r != WEIR_E_NOENT)
		return r ? r : WEIR_E_EXIST;
	if ((r = pool_place(op, &d, false, &dir)) || (r = tree_place(op, fs_out(op->fs, dir.id), op->name, WEIR_DIR, &dir, &n)))
		return r;
	tree_new_node(op, &dir, op->name, WEIR_DIR, op->mode, &n);
	if ((r = fs_begin(op->fs)))
		return r;
	if ((r = insert_dir(op, &d, &n, &row)))
		return fs_fail(op->fs, r);
	if ((r = fs_commit(op, row.id)))
		return r;
	pool_answer(op, &d, &row);
	fs_kick(op->fs, n.remote);
	return WEIR_OK;
}

/* ---- removing ---- */

/* May what a member has under this name go, or move? */
enum weir_code
pool_may_take(struct weir_op *op, uint64_t dir, uint64_t id)
{
	struct weir_node n, up;
	enum weir_code r;

	if ((r = weir_node_get(op->fs->st, dir, &up)) || (r = weir_node_get(op->fs->st, id, &n)) || (r = fs_writable(op->fs, &up)))
		return r;
	if (ns_way(op->fs, dir, n.name) || (n.flags & (WEIR_N_VIRTUAL | WEIR_N_BIND)) || ns_has_way_in(op->fs, id) || pool_is_member_root(op->fs, id))
		return WEIR_E_BUSY;
	return (n.flags | up.flags) & WEIR_N_READONLY ? WEIR_E_ACCES : WEIR_OK;
}

/* All members' entries of the kind that is shown. */
static enum weir_code
find_to_remove(struct weir_op *op, struct pool_dir *d, struct pool_name *f)
{
	enum weir_code r;

	if ((r = pool_open_now(op, op->ino, d)))
		return r;
	if (ns_way(op->fs, d->row.id, op->name))
		return WEIR_E_BUSY;
	if ((r = pool_find(op, d, 0, op->name, false, f)))
		return r;
	if (op->fs->opt.is_readonly)
		return WEIR_E_ROFS;
	for (size_t i = 0; i < d->n; i++) {
		if (f->is_dir[i] != (f->node.type == WEIR_DIR))
			f->id[i] = 0;
		if (f->id[i] && (r = pool_may_take(op, d->dir[i], f->id[i])))
			return r;
	}
	return WEIR_OK;
}

/* The members' entries lose their names, in one transaction, and the request is done. */
static enum weir_code
remove_all(struct weir_op *op, const struct pool_dir *d, const struct pool_name *f)
{
	struct weir_node n;
	enum weir_code r;

	if ((r = fs_begin(op->fs)))
		return r;
	for (size_t i = 0; i < d->n; i++)
		if (f->id[i] && ((r = weir_node_get(op->fs->st, f->id[i], &n)) || (r = tree_unlink_node(op->fs, &n)) ||
		    (r = fs_touch_dir(op->fs, d->dir[i]))))
			return fs_fail(op->fs, r);
	if ((r = pool_row_drop(op->fs, d->row.id, op->name)))
		return fs_fail(op->fs, r);
	if ((r = fs_commit(op, 0)))
		return r;
	for (size_t i = 0; i < d->n; i++)
		if (f->id[i])
			fs_kick(op->fs, d->pool->remotes[i]);
	return WEIR_OK;
}

enum weir_code
pool_unlink(struct weir_op *op)
{
	struct pool_dir d;
	struct pool_name f;
	enum weir_code r;

	if ((r = find_to_remove(op, &d, &f)))
		return r;
	if (f.node.type == WEIR_DIR)
		return WEIR_E_ISDIR;
	return remove_all(op, &d, &f);
}

/* Empty on every member that has it? */
enum weir_code
pool_check_empty(struct weir_op *op, unsigned set, const struct pool_dir *d, const struct pool_name *f)
{
	struct weir_node n;
	enum weir_code r;

	for (size_t i = 0; i < d->n; i++) {
		if (!f->id[i] || !f->is_dir[i] || weir_node_get(op->fs->st, f->id[i], &n))
			continue;
		if ((r = pool_fresh(op, set, i, &n)))
			return r;
		if (weir_node_has_child(op->fs->st, n.id))
			return WEIR_E_NOTEMPTY;
	}
	return WEIR_OK;
}

enum weir_code
pool_rmdir(struct weir_op *op)
{
	struct weir_node row;
	struct pool_dir d;
	struct pool_name f;
	enum weir_code r;

	if ((r = find_to_remove(op, &d, &f)))
		return r;
	if (f.node.type != WEIR_DIR)
		return WEIR_E_NOTDIR;
	if (!weir_node_child(op->fs->st, d.row.id, op->name, &row) && ((row.flags & WEIR_N_BIND) || ns_has_way_in(op->fs, row.id)))
		return WEIR_E_BUSY;
	if ((r = pool_check_empty(op, 1, &d, &f)))
		return r;
	return remove_all(op, &d, &f);
}

/* ---- attributes ---- */

/* Of a directory: on all members that have it. */
enum weir_code
pool_setattr(struct weir_op *op)
{
	enum weir_code r, why = WEIR_E_PERM;
	struct weir_node dir;
	struct pool_dir d;
	bool any = false;

	if (op->set_mask & WEIR_SET_SIZE)
		return WEIR_E_ISDIR;
	if ((r = pool_open(op->fs, fs_in(op->fs, op->ino), &d)))
		return r;
	for (size_t i = 0; i < d.n; i++) {
		if (!d.dir[i] || weir_node_get(op->fs->st, d.dir[i], &dir))
			continue;
		if ((r = fs_writable(op->fs, &dir))) {
			why = r;
			continue;
		}
		if (!any && (r = fs_begin(op->fs)))
			return r;
		any = true;
		attr_apply(op, &dir);
		if ((r = weir_node_update(op->fs->st, &dir, NULL)))
			return fs_fail(op->fs, r);
	}
	if (!any)
		return why;
	if ((r = fs_commit(op, d.row.id)))
		return r;
	fs_attr_full(op, &d.row, &op->attr);
	return WEIR_OK;
}
