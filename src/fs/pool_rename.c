/* SPDX-License-Identifier: Apache-2.0 */
/* Renaming inside a pool. Everything stays on its member: each member that has the name renames its own entry, into a directory made there when it
 * is missing; what stood under the new name goes on every member. One transaction for all of it. Out of the pool is EXDEV. */
#include "config.h"

#include "pool.h"

#include <linux/fs.h>
#include <stdio.h>
#include <string.h>

struct pool_move {
	struct pool_dir from, to;
	struct pool_name src, dst;	/* on each member: what moves, and what stands in its way or changes places with it */
	bool has_dst, is_exchange;
};

static enum weir_code
move_find(struct weir_op *op, struct pool_move *m)
{
	struct weir_fs *fs = op->fs;
	enum weir_code r;

	if (!pool_is(fs, op->ino) || !pool_is(fs, op->ino2))
		return WEIR_E_XDEV;
	if ((r = pool_open_now(op, op->ino, &m->from)) || (r = pool_open_now(op, op->ino2, &m->to)))
		return r;
	if (!m->from.pool || !m->to.pool)
		return WEIR_E_NOENT;
	if (m->from.pool != m->to.pool)
		return WEIR_E_XDEV;
	if (ns_way(fs, m->from.row.id, op->name) || ns_way(fs, m->to.row.id, op->name2))
		return WEIR_E_BUSY;
	if ((r = pool_find(op, &m->from, 0, op->name, false, &m->src)))
		return r;
	r = pool_find(op, &m->to, 1, op->name2, false, &m->dst);
	if (r && r != WEIR_E_NOENT)
		return r;
	m->has_dst = !r;
	if (m->is_exchange && !m->has_dst)
		return WEIR_E_NOENT;
	return fs->opt.is_readonly ? WEIR_E_ROFS : WEIR_OK;
}

/* Is the directory `row` the one at (parent, name), or inside it? */
static bool
is_inside(struct weir_fs *fs, uint64_t row, uint64_t parent, const char *name)
{
	struct weir_node top, up;

	if (weir_node_child(fs->st, parent, name, &top))
		return false;
	for (int i = 0; i < 4096 && row; i++) {
		if (row == top.id)
			return true;
		if (weir_node_get(fs->st, row, &up))
			return false;
		row = up.parent;
	}
	return false;
}

/* The rows of the configuration stay where they are. */
static bool
is_bound(struct weir_fs *fs, uint64_t parent, const char *name)
{
	struct weir_node row;

	return !weir_node_child(fs->st, parent, name, &row) && ((row.flags & WEIR_N_BIND) || ns_has_way_in(fs, row.id));
}

static enum weir_code
move_check(struct weir_op *op, struct pool_move *m)
{
	bool is_dir = m->src.node.type == WEIR_DIR, was_dir = m->has_dst && m->dst.node.type == WEIR_DIR;

	if (is_bound(op->fs, m->from.row.id, op->name) || is_bound(op->fs, m->to.row.id, op->name2))
		return WEIR_E_BUSY;
	if (is_dir && is_inside(op->fs, m->to.row.id, m->from.row.id, op->name))
		return WEIR_E_INVAL;
	if (m->is_exchange)
		return was_dir && is_inside(op->fs, m->from.row.id, m->to.row.id, op->name2) ? WEIR_E_INVAL : WEIR_OK;
	if (!m->has_dst)
		return WEIR_OK;
	if (op->flags & RENAME_NOREPLACE)
		return WEIR_E_EXIST;
	if (is_dir != was_dir)
		return is_dir ? WEIR_E_NOTDIR : WEIR_E_ISDIR;
	return was_dir ? pool_check_empty(op, 2, &m->to, &m->dst) : WEIR_OK;
}

static enum weir_code
check_new_name(struct weir_op *op, uint64_t id, const struct weir_node *dir, const char *name)
{
	char rname[WEIR_RNAME_MAX + 1];
	struct weir_node n;
	enum weir_code r;

	if ((r = weir_node_get(op->fs->st, id, &n)) || (r = fs_writable(op->fs, dir)))
		return r;
	if (dir->flags & WEIR_N_READONLY)
		return WEIR_E_ACCES;
	if (!weir_remote_rname(weir_sync_remote(op->fs->sy, n.remote), n.type, name, rname))
		return WEIR_E_NAMETOOLONG;
	return tree_fold_check(op->fs, dir, name, id);
}

/* One member: may both of its entries move, and are the directories there? May park. */
static enum weir_code
move_prepare(struct weir_op *op, struct pool_move *m, size_t i)
{
	struct weir_node dir;
	enum weir_code r;

	if (m->src.id[i]) {
		if ((r = pool_may_take(op, m->from.dir[i], m->src.id[i])) || (r = pool_ensure(op, &m->to, i, &dir)) ||
		    (r = check_new_name(op, m->src.id[i], &dir, op->name2)))
			return r;
	}
	if (m->has_dst && m->dst.id[i]) {
		if ((r = pool_may_take(op, m->to.dir[i], m->dst.id[i])))
			return r;
		if (m->is_exchange && ((r = pool_ensure(op, &m->from, i, &dir)) || (r = check_new_name(op, m->dst.id[i], &dir, op->name))))
			return r;
		/* Hidden so far, and of another kind than what comes: it would be lost unseen. */
		if (!m->is_exchange && m->dst.is_dir[i] != (m->src.node.type == WEIR_DIR))
			return m->src.id[i] ? (m->dst.is_dir[i] ? WEIR_E_ISDIR : WEIR_E_NOTDIR) : WEIR_OK;
	}
	return WEIR_OK;
}

static enum weir_code
put_node(struct weir_op *op, uint64_t id, const struct pool_dir *from, const struct pool_dir *to, size_t i, const char *name)
{
	struct weir_node n;
	enum weir_code r;

	if ((r = weir_node_get(op->fs->st, id, &n)) || (r = tree_put_name(op->fs, &n, to->dir[i], name)) || (r = fs_touch_dir(op->fs, from->dir[i])))
		return r;
	return fs_touch_dir(op->fs, to->dir[i]);
}

/* In a transaction: one member's part. */
static enum weir_code
move_member(struct weir_op *op, struct pool_move *m, size_t i)
{
	struct weir_fs *fs = op->fs;
	uint64_t src = m->src.id[i], dst = m->has_dst ? m->dst.id[i] : 0;
	struct weir_node n;
	enum weir_code r = WEIR_OK;

	if (dst && !m->is_exchange && m->dst.is_dir[i] == (m->src.node.type == WEIR_DIR)) {
		if ((r = weir_node_get(fs->st, dst, &n)) || (r = tree_unlink_node(fs, &n)) || (r = fs_touch_dir(fs, m->to.dir[i])))
			return r;
	}
	if (src && dst && m->is_exchange) {
		if ((r = weir_node_get(fs->st, src, &n)))
			return r;
		n.parent = 0; /* out of the way of the unique index */
		if ((r = weir_node_update(fs->st, &n, NULL)))
			return r;
	}
	if (dst && m->is_exchange && (r = put_node(op, dst, &m->to, &m->from, i, op->name)))
		return r;
	return src ? put_node(op, src, &m->from, &m->to, i, op->name2) : WEIR_OK;
}

/* In a transaction: the pool's own directory nodes move as the names do. */
static enum weir_code
move_rows(struct weir_op *op, const struct pool_move *m)
{
	struct weir_store *st = op->fs->st;
	struct weir_node a, b;
	bool has_a = !weir_node_child(st, m->from.row.id, op->name, &a), has_b = !weir_node_child(st, m->to.row.id, op->name2, &b);
	enum weir_code r;

	if (has_b) {
		b.parent = 0;
		if ((r = weir_node_update(st, &b, NULL)))
			return r;
	}
	if (has_a) {
		a.parent = m->src.node.type == WEIR_DIR ? m->to.row.id : 0;
		snprintf(a.name, sizeof(a.name), "%s", op->name2);
		if ((r = weir_node_update(st, &a, NULL)))
			return r;
	}
	if (!has_b || !m->is_exchange || m->dst.node.type != WEIR_DIR)
		return WEIR_OK;
	b.parent = m->from.row.id;
	snprintf(b.name, sizeof(b.name), "%s", op->name);
	return weir_node_update(st, &b, NULL);
}

static enum weir_code
move_commit(struct weir_op *op, struct pool_move *m)
{
	enum weir_code r;

	if ((r = fs_begin(op->fs)))
		return r;
	for (size_t i = 0; i < m->from.n; i++)
		if ((r = move_member(op, m, i)))
			return fs_fail(op->fs, r);
	if ((r = move_rows(op, m)))
		return fs_fail(op->fs, r);
	if ((r = fs_commit(op, 0)))
		return r;
	for (size_t i = 0; i < m->from.n; i++)
		fs_kick(op->fs, m->from.pool->remotes[i]);
	return WEIR_OK;
}

enum weir_code
pool_rename(struct weir_op *op)
{
	struct pool_move m = { .is_exchange = (op->flags & RENAME_EXCHANGE) != 0 };
	enum weir_code r;

	if (op->flags & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return WEIR_E_INVAL;
	if ((r = move_find(op, &m)))
		return r;
	if (m.has_dst && m.src.node.id == m.dst.node.id)
		return WEIR_OK;
	if ((r = move_check(op, &m)))
		return r;
	/* What moves is what is shown and its like on the other members. */
	for (size_t i = 0; i < m.from.n; i++)
		if (m.src.is_dir[i] != (m.src.node.type == WEIR_DIR))
			m.src.id[i] = 0;
	for (size_t i = 0; i < m.from.n && m.is_exchange; i++)
		if (m.dst.is_dir[i] != (m.dst.node.type == WEIR_DIR))
			m.dst.id[i] = 0;
	for (size_t i = 0; i < m.from.n; i++)
		if ((r = move_prepare(op, &m, i)))
			return r;
	return move_commit(op, &m);
}
