/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of the tree: MKCOL, DELETE, COPY, MOVE. */
#include "config.h"

#include "impl.h"

#include <fcntl.h>
#include <string.h>

#define TREE_COPY_STEP (64u << 20)	/* fs answers for less at a time where it has to move the bytes itself */

static enum MHD_Result
tree_refuse(struct front_req *req, int status)
{
	return front_answer(req, status, status == 423 ? "locked" : status == 412 ? "the condition does not hold" : status == 409 ? "the folder above is not there" : "refused");
}

/* ---- removing ---- */

static enum weir_code
remove_children(struct front_req *req, uint64_t ino, unsigned depth)
{
	struct front_batch b;
	enum weir_code r;

	if (depth >= FRONT_MAX_DEPTH)
		return WEIR_E_NAMETOOLONG;
	/* From the start each time: what was there is gone. */
	for (;;) {
		bool is_empty;

		r = front_readdir(req, ino, 0, &b);
		if (r)
			return r;
		is_empty = b.n == 0;
		for (size_t i = 0; i < b.n && r == WEIR_OK; i++)
			r = front_remove_tree(req, ino, b.v[i].name, &b.v[i].attr, depth + 1);
		front_batch_free(&b);
		if (r || is_empty)
			return r;
	}
}

enum weir_code
front_remove_tree(struct front_req *req, uint64_t parent, const char *name, const struct weir_attr *attr, unsigned depth)
{
	enum weir_code r = WEIR_OK;

	if (S_ISDIR(attr->mode)) {
		if (!front_may(req, attr, FRONT_MAY_WRITE | FRONT_MAY_ENTER))
			return WEIR_E_ACCES;
		r = remove_children(req, attr->ino, depth);
	}
	if (r == WEIR_OK)
		r = front_unlink(req, parent, name, S_ISDIR(attr->mode));
	if (r == WEIR_OK)
		front_dead_forget(req->share, attr->ino);
	return r == WEIR_E_NOENT ? WEIR_OK : r;
}

enum weir_code
front_may_change(struct front_req *req, uint64_t dir)
{
	struct weir_attr a;
	enum weir_code r = front_getattr(req, dir, &a);

	if (r)
		return r;
	if (!front_may(req, &a, FRONT_MAY_WRITE | FRONT_MAY_ENTER))
		return WEIR_E_ACCES;
	return WEIR_OK;
}

enum MHD_Result
front_do_delete(struct front_req *req)
{
	struct front_node node;
	enum weir_code r;
	int status;

	if (req->path.n == 0)
		return front_answer(req, 403, "the share itself cannot be removed");
	r = front_walk(req, &req->path, false, &node);
	if (r == WEIR_OK && (status = front_locks_check(req, req->path.text, &node.attr, true, true)) != 0) {
		front_node_free(&node);
		return tree_refuse(req, status);
	}
	if (r == WEIR_OK)
		r = front_may_change(req, node.parent);
	if (r == WEIR_OK)
		r = front_remove_tree(req, node.parent, node.name, &node.attr, 0);
	if (r == WEIR_OK)
		front_locks_moved(req->share, req->path.text);
	front_node_free(&node);
	return r == WEIR_OK ? front_answer(req, 204, NULL) : front_answer_code(req, r);
}

/* ---- making ---- */

enum MHD_Result
front_do_mkcol(struct front_req *req)
{
	struct front_node node;
	enum weir_code r;
	int status;

	if (req->body.len > 0)
		return front_answer(req, 415, "MKCOL takes no body");
	r = front_walk(req, &req->path, false, &node);
	if (r == WEIR_OK) {
		front_node_free(&node);
		return front_answer(req, 405, "it is there already");
	}
	if (r == WEIR_E_NOENT && node.parent == 0)
		status = 409;
	else if (r != WEIR_E_NOENT)
		status = -1;
	else
		status = front_locks_check(req, req->path.text, NULL, false, true);
	if (status == 0 && (r = front_may_change(req, node.parent)) == WEIR_OK)
		r = front_is_hidden(node.name) ? WEIR_E_ACCES : front_mkdir(req, node.parent, node.name, NULL);
	front_node_free(&node);
	if (status > 0)
		return tree_refuse(req, status);
	return r == WEIR_OK ? front_answer(req, 201, NULL) : front_answer_code(req, r);
}

/* ---- copying ---- */

static enum weir_code
copy_bytes(struct front_req *req, const struct weir_attr *from, uint64_t fh, struct front_new *to)
{
	uint64_t at = 0;

	while (at < from->size) {
		/* First in one piece: that is what a storage may copy by itself. */
		struct weir_op op = {.kind = WEIR_OP_COPY_RANGE, .ino = from->ino, .fh = fh, .off = at, .ino2 = to->ino, .fh2 = to->fh, .off2 = at,
		    .len64 = at == 0 ? from->size : TREE_COPY_STEP};
		enum weir_code r = front_call(req->share, req->fd, &op);

		if (r)
			return r;
		if (op.result == 0)
			break;		/* it has become shorter meanwhile */
		at += op.result;
	}
	return WEIR_OK;
}

static enum weir_code
copy_file(struct front_req *req, const struct weir_attr *from, uint64_t parent, const char *name, int64_t mtime_ns)
{
	struct front_new to;
	uint64_t fh;
	enum weir_code r;

	if (!front_may(req, from, FRONT_MAY_READ))
		return WEIR_E_ACCES;
	r = front_open(req, from->ino, O_RDONLY, &fh);
	if (r)
		return r;
	r = front_new_begin(req, parent, from->mode & 0777, &to);
	if (r == WEIR_OK) {
		r = copy_bytes(req, from, fh, &to);
		if (r == WEIR_OK)
			r = front_new_commit(req, &to, name, mtime_ns, NULL);
		else
			front_new_drop(req, &to);
	}
	front_release(req, from->ino, fh, O_RDONLY);
	return r;
}

static enum weir_code copy_tree(struct front_req *, const struct weir_attr *from, uint64_t parent, const char *name, bool is_deep, unsigned depth);

static enum weir_code
copy_children(struct front_req *req, uint64_t from, uint64_t to, unsigned depth)
{
	struct front_batch b = {0};
	uint64_t cookie = 0;
	enum weir_code r;

	do {
		bool is_end;

		r = front_readdir(req, from, cookie, &b);
		if (r)
			return r;
		for (size_t i = 0; i < b.n && r == WEIR_OK; i++)
			if (b.v[i].attr.ino != to)
				r = copy_tree(req, &b.v[i].attr, to, b.v[i].name, true, depth + 1);
		cookie = b.cookie;
		is_end = b.is_end;
		front_batch_free(&b);
		if (is_end)
			break;
	} while (r == WEIR_OK);
	return r;
}

static enum weir_code
copy_link(struct front_req *req, uint64_t ino, uint64_t parent, const char *name)
{
	char target[4097];
	struct weir_op op = {.kind = WEIR_OP_READLINK, .ino = ino, .buf = target, .len = sizeof(target) - 1};
	enum weir_code r = front_call(req->share, req->fd, &op);

	if (r)
		return r;
	target[op.result] = '\0';
	op = (struct weir_op){.kind = WEIR_OP_SYMLINK, .ino = parent, .name = name, .name2 = target};
	r = front_call(req->share, req->fd, &op);
	if (r == WEIR_OK)
		weir_fs_tell(req->share->front->opt.fs, parent, name, true);
	return r;
}

static enum weir_code
copy_tree(struct front_req *req, const struct weir_attr *from, uint64_t parent, const char *name, bool is_deep, unsigned depth)
{
	struct weir_attr made;
	enum weir_code r;

	if (depth >= FRONT_MAX_DEPTH)
		return WEIR_E_NAMETOOLONG;
	if (S_ISREG(from->mode))
		return copy_file(req, from, parent, name, from->mtime_ns);
	if (S_ISLNK(from->mode))
		return copy_link(req, from->ino, parent, name);
	if (!front_may(req, from, FRONT_MAY_READ | FRONT_MAY_ENTER))
		return WEIR_E_ACCES;
	r = front_mkdir(req, parent, name, &made);
	if (r == WEIR_OK && is_deep)
		r = copy_children(req, from->ino, made.ino, depth);
	return r;
}

/* ---- COPY and MOVE ---- */

int
front_destination(struct front_req *req, struct front_path *to)
{
	const char *url = front_header(req, "Destination"), *path;

	if (url == NULL)
		return 400;
	path = front_url_path(url, front_header(req, "Host"));
	if (path == NULL)
		return 502;
	switch (front_path_parse(path, WEIR_FRONT_FILES, to)) {
	case 0:
		return 0;
	case 404:
		return 502;
	default:
		return 400;
	}
}

struct copymove {
	struct front_node from, to;
	struct front_path to_path;
	bool is_move, is_deep, is_there;	/* is_there: something is at the destination */
};

/* Is one path the other, or inside it? */
static bool
path_holds(const char *outer, const char *inner)
{
	size_t n = strlen(outer);

	return strncmp(outer, inner, n) == 0 && (n == 0 || inner[n] == '/' || inner[n] == '\0');
}

static int
copymove_locks(struct front_req *req, struct copymove *c)
{
	int status = c->is_move ? front_locks_check(req, req->path.text, &c->from.attr, true, true) : 0;

	return status != 0 ? status : front_locks_check(req, c->to_path.text, c->is_there ? &c->to.attr : NULL, c->is_there, true);
}

static enum weir_code
copymove_act(struct front_req *req, struct copymove *c)
{
	const struct weir_attr *from = &c->from.attr;
	int64_t mtime_ns = front_header_mtime(req);
	enum weir_code r = front_may_change(req, c->to.parent);

	if (r == WEIR_OK && c->is_move)
		r = front_may_change(req, c->from.parent);
	if (r == WEIR_OK && (c->to.name[0] == '\0' || front_is_hidden(c->to.name)))
		r = WEIR_E_ACCES;
	/* A file takes the place of a file in one step; anything else has to go first. */
	if (r == WEIR_OK && c->is_there && (S_ISDIR(c->to.attr.mode) || S_ISDIR(from->mode)))
		r = front_remove_tree(req, c->to.parent, c->to.name, &c->to.attr, 0);
	if (r)
		return r;
	if (c->is_move) {
		r = front_rename(req, c->from.parent, c->from.name, c->to.parent, c->to.name);
		if (r == WEIR_OK && mtime_ns != INT64_MIN)
			front_set_times(req, from->ino, mtime_ns);
		if (r != WEIR_E_XDEV)
			return r;
	}
	if (S_ISREG(from->mode))
		r = copy_file(req, from, c->to.parent, c->to.name, mtime_ns != INT64_MIN ? mtime_ns : from->mtime_ns);
	else
		r = copy_tree(req, from, c->to.parent, c->to.name, c->is_deep, 0);
	if (r == WEIR_OK && c->is_move)
		r = front_remove_tree(req, c->from.parent, c->from.name, from, 0);
	return r;
}

/* 0, or the status of a refusal. */
static int
copymove_check(struct front_req *req, struct copymove *c, enum weir_code *r)
{
	int overwrite = front_overwrite_parse(front_header(req, "Overwrite"));
	int status = front_destination(req, &c->to_path);
	enum front_depth depth = front_depth_parse(front_header(req, "Depth"), FRONT_DEPTH_INFINITY);

	if (status != 0)
		return status;
	if (overwrite < 0 || depth == FRONT_DEPTH_BAD || depth == FRONT_DEPTH_1 || (c->is_move && depth == FRONT_DEPTH_0))
		return 400;
	c->is_deep = depth == FRONT_DEPTH_INFINITY;
	if (req->path.n == 0 || c->to_path.n == 0 || path_holds(req->path.text, c->to_path.text) || path_holds(c->to_path.text, req->path.text))
		return 403;
	if ((*r = front_walk(req, &req->path, false, &c->from)) != WEIR_OK)
		return -1;
	*r = front_walk(req, &c->to_path, false, &c->to);
	if (*r == WEIR_E_NOENT && c->to.parent == 0)
		return 409;
	if (*r != WEIR_OK && *r != WEIR_E_NOENT)
		return -1;
	c->is_there = *r == WEIR_OK;
	if (c->is_there && c->from.attr.ino == c->to.attr.ino)
		return 403;	/* the same thing by another path */
	if (c->is_there && !overwrite)
		return 412;
	return copymove_locks(req, c);
}

enum MHD_Result
front_do_copymove(struct front_req *req)
{
	struct copymove c = {.is_move = strcmp(req->method, "MOVE") == 0};
	enum weir_code r = WEIR_OK;
	int status = copymove_check(req, &c, &r);

	if (status == 0) {
		r = copymove_act(req, &c);
		status = r == WEIR_OK ? (c.is_there ? 204 : 201) : -1;
	}
	if (status == 204 || status == 201) {
		if (c.is_move)
			front_locks_moved(req->share, req->path.text);
		if (S_ISDIR(c.from.attr.mode))
			front_locks_moved(req->share, c.to_path.text);
	}
	front_node_free(&c.from);
	front_node_free(&c.to);
	front_path_free(&c.to_path);
	if (status < 0)
		return front_answer_code(req, r);
	return status < 300 ? front_answer(req, status, NULL) : tree_refuse(req, status);
}
