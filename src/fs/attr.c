/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes, extended attributes, statfs. */
#include "config.h"

#include "internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#define XATTR_BYTES 65536u

enum weir_code
attr_get(struct weir_op *op)
{
	struct weir_node n, up;
	enum weir_code r;

	if ((r = fs_node(op, op->ino, &n)))
		return r;
	/* Somebody asks again because the answer has grown old: look whether the storage still says the same. */
	if (n.parent && n.remote && n.rparent && !op->tries && !fs_is_open(op->fs, n.id) && !weir_node_get(op->fs->st, n.parent, &up) &&
	    fs_fresh(op, &up) == WEIR_PENDING)
		return WEIR_PENDING;
	op->wait.code = WEIR_OK;
	fs_attr_full(op, &n, &op->attr);
	return WEIR_OK;
}

static void
kill_priv(struct weir_node *n)
{
	n->mode &= ~(uint32_t)S_ISUID;
	if (n->mode & S_IXGRP)
		n->mode &= ~(uint32_t)S_ISGID;
}

/* Which of it the storage can hold as well. */
static void
mark_meta(struct weir_op *op, struct weir_node *n)
{
	struct weir_remote *r = weir_sync_remote(op->fs->sy, n->remote);
	unsigned caps = r ? weir_remote_caps(r) : 0;

	if (n->type != WEIR_FILE || (n->flags & WEIR_N_CONTENT))
		return;
	if (((op->set_mask & WEIR_SET_MTIME) && (caps & WEIR_CAP_MTIME)) || ((op->set_mask & WEIR_SET_MODE) && (caps & WEIR_CAP_MODE)))
		n->flags |= WEIR_N_META;
}

void
attr_apply(struct weir_op *op, struct weir_node *n)
{
	const struct weir_attr *s = &op->set;

	if (op->set_mask & WEIR_SET_MODE) {
		n->mode = s->mode & 07777;
		n->flags |= WEIR_N_MODE;
	}
	if (op->set_mask & WEIR_SET_UID)
		n->uid = s->uid;
	if (op->set_mask & WEIR_SET_GID)
		n->gid = s->gid;
	if ((op->set_mask & (WEIR_SET_UID | WEIR_SET_GID | WEIR_SET_KILLPRIV)) && !(op->set_mask & WEIR_SET_MODE) && n->type != WEIR_DIR)
		kill_priv(n);
	if (op->set_mask & WEIR_SET_ATIME)
		n->atime_ns = s->atime_ns;
	if (op->set_mask & WEIR_SET_MTIME) {
		n->mtime_ns = s->mtime_ns;
		n->flags |= WEIR_N_EXACT;
	}
	n->ctime_ns = op->set_mask & WEIR_SET_CTIME ? s->ctime_ns : weir_wall_ns();
	mark_meta(op, n);
}

/* A mode or an owner that is set to what it is, while the file is being written (tar does it for every file): only ctime moves, and goes into the row with
 * the close, as that of a write does. */
static bool
attr_is_same(struct weir_op *op, const struct weir_node *n, struct weir_content *c)
{
	const struct weir_attr *s = &op->set;
	const uint32_t can = WEIR_SET_MODE | WEIR_SET_UID | WEIR_SET_GID | WEIR_SET_KILLPRIV;

	if (!c || c->num != n->content || !c->is_dirty || (op->set_mask & ~can) || (n->mode & (S_ISUID | S_ISGID)) ||
	    !fs_is_open_for_writing(op->fs, n->id))
		return false;
	if (((op->set_mask & WEIR_SET_MODE) && ((s->mode & 07777) != n->mode || !(n->flags & WEIR_N_MODE))) ||
	    ((op->set_mask & WEIR_SET_UID) && s->uid != n->uid) || ((op->set_mask & WEIR_SET_GID) && s->gid != n->gid))
		return false;
	if (!c->is_attr_dirty)
		c->mtime_ns = n->mtime_ns;
	c->ctime_ns = weir_wall_ns();
	c->is_attr_dirty = true;
	return true;
}

enum weir_code
attr_set(struct weir_op *op)
{
	const uint32_t rest = op->set_mask & ~(uint32_t)WEIR_SET_SIZE;
	struct weir_content *c;
	struct weir_node n;
	enum weir_code r;

	if ((r = fs_node(op, op->ino, &n)))
		return r;
	if ((r = fs_writable(op->fs, &n)) && !(n.flags & WEIR_N_VIRTUAL))
		return r;
	if (r)
		return WEIR_E_PERM;
	if (n.type == WEIR_FILE && !fs_is_open_for_writing(op->fs, n.id))
		settle_upset(op->fs, &n);
	if ((op->set_mask & WEIR_SET_SIZE) && (r = file_truncate(op, &n, op->set.size)))
		return r;
	c = weir_content_live(op->fs->st, n.id);
	if (rest && attr_is_same(op, &n, c)) {
		fs_attr_full(op, &n, &op->attr);
		return WEIR_OK;
	}
	if (rest || op->is_killpriv) {
		if (op->is_killpriv)
			op->set_mask |= WEIR_SET_KILLPRIV;
		if ((r = fs_begin(op->fs)))
			return r;
		if (c && c->num == n.content)
			file_save_attr(op->fs, c, &n);
		attr_apply(op, &n);
		if (c && c->num == n.content) {
			c->mtime_ns = n.mtime_ns;
			c->ctime_ns = n.ctime_ns;
		}
		if ((r = weir_node_update(op->fs->st, &n, NULL)))
			return fs_fail(op->fs, r);
		if ((n.flags & WEIR_N_META) && !weir_journal_get(op->fs->st, n.id, NULL) && (r = fs_journal(op->fs, &n, WEIR_SETTLE_MS)))
			return fs_fail(op->fs, r);
		if ((r = fs_commit(op, n.id)))
			return r;
		if (n.flags & WEIR_N_META)
			fs_kick(op->fs, n.remote);
	}
	fs_attr_full(op, &n, &op->attr);
	return WEIR_OK;
}

enum weir_code
attr_statfs(struct weir_op *op)
{
	struct weir_node n;
	uint64_t remote = 0;

	if (!weir_node_get(op->fs->st, fs_in(op->fs, op->ino), &n) && n.id != op->fs->root)
		remote = n.remote;
	quota_statfs(op->fs, remote, &op->statfs);
	return WEIR_OK;
}

/* ---- extended attributes: weir's own tree holds them ---- */

static enum weir_code
xattr_node(struct weir_op *op, struct weir_node *n)
{
	if (!op->fs->conf->xattr)
		return WEIR_E_NOSYS; /* the kernel asks no more */
	return fs_node(op, op->ino, n);
}

static bool
is_user_name(const char *name)
{
	return strncmp(name, "user.", 5) == 0;
}

enum weir_code
attr_getx(struct weir_op *op)
{
	struct weir_node n;
	enum weir_code r = xattr_node(op, &n);

	if (r)
		return r;
	if (!is_user_name(op->name))
		return strncmp(op->name, "security.", 9) == 0 || strncmp(op->name, "trusted.", 8) == 0 ? WEIR_E_NODATA : WEIR_E_NOTSUP;
	return weir_xattr_get(op->fs->st, n.id, op->name, op->buf, op->len, &op->result);
}

enum weir_code
attr_setx(struct weir_op *op)
{
	struct weir_node n;
	size_t len;
	bool is_there;
	enum weir_code r = xattr_node(op, &n);

	if (r || (r = fs_writable(op->fs, &n)))
		return r;
	if (!is_user_name(op->name))
		return WEIR_E_NOTSUP;
	if (strlen(op->name) > WEIR_NAME_MAX || op->len > XATTR_BYTES)
		return WEIR_E_RANGE;
	is_there = !weir_xattr_get(op->fs->st, n.id, op->name, NULL, 0, &len);
	if ((op->flags & XATTR_CREATE) && is_there)
		return WEIR_E_EXIST;
	if ((op->flags & XATTR_REPLACE) && !is_there)
		return WEIR_E_NODATA;
	if ((r = fs_begin(op->fs)))
		return r;
	if ((r = weir_xattr_set(op->fs->st, n.id, op->name, op->buf, op->len, NULL)))
		return fs_fail(op->fs, r);
	return fs_commit(op, 0);
}

enum weir_code
attr_listx(struct weir_op *op)
{
	struct weir_buf names = WEIR_BUF(1 << 20);
	const char *p;
	struct weir_node n;
	enum weir_code r = xattr_node(op, &n);

	if (r)
		return r;
	r = weir_xattr_list(op->fs->st, n.id, &names);
	op->result = 0;
	for (p = names.data; !r && p && p < names.data + names.len; p += strlen(p) + 1) {
		size_t len = strlen(p) + 1;

		if (!is_user_name(p))
			continue;
		if (op->len && op->result + len > op->len)
			r = WEIR_E_RANGE;
		else if (op->len)
			memcpy((char *)op->buf + op->result, p, len);
		op->result += len;
	}
	weir_buf_free(&names);
	return r;
}

enum weir_code
attr_removex(struct weir_op *op)
{
	struct weir_node n;
	enum weir_code r = xattr_node(op, &n);

	if (r || (r = fs_writable(op->fs, &n)))
		return r;
	if (!is_user_name(op->name))
		return WEIR_E_NOTSUP;
	if ((r = fs_begin(op->fs)))
		return r;
	if ((r = weir_xattr_remove(op->fs->st, n.id, op->name, NULL)))
		return fs_fail(op->fs, r);
	return fs_commit(op, 0);
}
