/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the tree: nodes with their two places, extended attributes, remotes, sums. */
#include "config.h"

#include "store.h"

#include "content.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS "id,parent,name,rparent,rname,rid,rversion,remote,type,mode,uid,gid,flags,size,rsize,mtime,ctime,atime,btime,listed,content"

static void
column_text(sqlite3_stmt *s, int i, char *out, size_t max)
{
	const void *p = sqlite3_column_text(s, i);
	size_t n = (size_t)sqlite3_column_bytes(s, i);

	if (n >= max)
		n = max - 1;
	if (p)
		memcpy(out, p, n);
	out[p ? n : 0] = 0;
}

static void
node_row(sqlite3_stmt *s, struct weir_node *n)
{
	n->id = (uint64_t)sqlite3_column_int64(s, 0);
	n->parent = (uint64_t)sqlite3_column_int64(s, 1);
	column_text(s, 2, n->name, sizeof(n->name));
	n->rparent = (uint64_t)sqlite3_column_int64(s, 3);
	column_text(s, 4, n->rname, sizeof(n->rname));
	column_text(s, 5, n->rid, sizeof(n->rid));
	column_text(s, 6, n->rversion, sizeof(n->rversion));
	n->remote = (uint64_t)sqlite3_column_int64(s, 7);
	n->type = (enum weir_type)sqlite3_column_int(s, 8);
	n->mode = (uint32_t)sqlite3_column_int64(s, 9);
	n->uid = (uint32_t)sqlite3_column_int64(s, 10);
	n->gid = (uint32_t)sqlite3_column_int64(s, 11);
	n->flags = (uint32_t)sqlite3_column_int64(s, 12);
	n->size = (uint64_t)sqlite3_column_int64(s, 13);
	n->rsize = (uint64_t)sqlite3_column_int64(s, 14);
	n->mtime_ns = sqlite3_column_int64(s, 15);
	n->ctime_ns = sqlite3_column_int64(s, 16);
	n->atime_ns = sqlite3_column_int64(s, 17);
	n->btime_ns = sqlite3_column_int64(s, 18);
	n->listed_ms = sqlite3_column_int64(s, 19);
	n->content = (uint64_t)sqlite3_column_int64(s, 20);
}

static enum weir_code
node_one(sqlite3_stmt *s, struct weir_node *n)
{
	int rc = sqlite3_step(s);

	if (rc == SQLITE_ROW)
		node_row(s, n);
	sqlite3_reset(s);
	return rc == SQLITE_ROW ? WEIR_OK : rc == SQLITE_DONE ? WEIR_E_NOENT : WEIR_E_IO;
}

enum weir_code
weir_node_get(struct weir_store *st, uint64_t id, struct weir_node *n)
{
	sqlite3_stmt *s = weir_store_stmt(st, "SELECT " COLUMNS " FROM nodes WHERE id=?");

	sqlite3_bind_int64(s, 1, (int64_t)id);
	return node_one(s, n);
}

enum weir_code
weir_node_child(struct weir_store *st, uint64_t parent, const char *name, struct weir_node *n)
{
	sqlite3_stmt *s = weir_store_stmt(st, "SELECT " COLUMNS " FROM nodes WHERE parent=? AND name=?");
	enum weir_code r;

	sqlite3_bind_int64(s, 1, (int64_t)parent);
	sqlite3_bind_text(s, 2, name, -1, SQLITE_STATIC);
	r = node_one(s, n);
	sqlite3_clear_bindings(s);
	return r;
}

enum weir_code
weir_node_remote_child(struct weir_store *st, uint64_t rparent, const char *rname, struct weir_node *n)
{
	sqlite3_stmt *s = weir_store_stmt(st, "SELECT " COLUMNS " FROM nodes WHERE rparent=? AND rname=?");
	enum weir_code r;

	sqlite3_bind_int64(s, 1, (int64_t)rparent);
	sqlite3_bind_text(s, 2, rname, -1, SQLITE_STATIC);
	r = node_one(s, n);
	sqlite3_clear_bindings(s);
	return r;
}

/* A statement of its own for each running walk: fn may start another one. */
static enum weir_code
node_each(struct weir_store *st, const char *sql, uint64_t parent, uint64_t after, int (*fn)(void *, struct weir_node *), void *arg)
{
	sqlite3_stmt *s = NULL;
	struct weir_node n;
	int rc;

	weir_store_read(st);
	if (sqlite3_prepare_v2(st->db, sql, -1, &s, NULL) != SQLITE_OK)
		return WEIR_E_IO;
	sqlite3_bind_int64(s, 1, (int64_t)parent);
	sqlite3_bind_int64(s, 2, (int64_t)after);
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		node_row(s, &n);
		if (fn(arg, &n))
			break;
	}
	sqlite3_finalize(s);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? WEIR_OK : WEIR_E_IO;
}

enum weir_code
weir_node_children(struct weir_store *st, uint64_t parent, uint64_t after, int (*fn)(void *, struct weir_node *), void *arg)
{
	return node_each(st, "SELECT " COLUMNS " FROM nodes INDEXED BY nodes_children WHERE parent=? AND id>? ORDER BY id", parent, after, fn, arg);
}

enum weir_code
weir_node_remote_children(struct weir_store *st, uint64_t rparent, uint64_t after, int (*fn)(void *, struct weir_node *), void *arg)
{
	return node_each(st, "SELECT " COLUMNS " FROM nodes WHERE rparent=? AND id>? ORDER BY rname", rparent, after, fn, arg);
}

static bool
node_exists(sqlite3_stmt *s, uint64_t id)
{
	bool yes;

	sqlite3_bind_int64(s, 1, (int64_t)id);
	yes = sqlite3_step(s) == SQLITE_ROW;
	sqlite3_reset(s);
	return yes;
}

bool
weir_node_has_child(struct weir_store *st, uint64_t parent)
{
	return node_exists(weir_store_stmt(st, "SELECT 1 FROM nodes WHERE parent=? LIMIT 1"), parent);
}

bool
weir_node_has_remote_child(struct weir_store *st, uint64_t rparent)
{
	return node_exists(weir_store_stmt(st, "SELECT 1 FROM nodes WHERE rparent=? LIMIT 1"), rparent);
}

static void
bind_place(sqlite3_stmt *s, int i, uint64_t parent, const char *name)
{
	if (parent) {
		sqlite3_bind_int64(s, i, (int64_t)parent);
		sqlite3_bind_text(s, i + 1, name, -1, SQLITE_STATIC);
	} else {
		sqlite3_bind_null(s, i);
		sqlite3_bind_null(s, i + 1);
	}
}

static void
bind_node(sqlite3_stmt *s, const struct weir_node *n)
{
	const int64_t rest[] = {
		(int64_t)n->remote, (int64_t)n->type, n->mode, n->uid, n->gid, n->flags, (int64_t)n->size, (int64_t)n->rsize,
		n->mtime_ns, n->ctime_ns, n->atime_ns, n->btime_ns, n->listed_ms, (int64_t)n->content,
	};

	bind_place(s, 2, n->parent, n->name);
	bind_place(s, 4, n->rparent, n->rname);
	sqlite3_bind_text(s, 6, n->rid, -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 7, n->rversion, -1, SQLITE_STATIC);
	for (size_t i = 0; i < WEIR_LEN(rest); i++)
		sqlite3_bind_int64(s, 8 + (int)i, rest[i]);
}

enum weir_code
weir_node_insert(struct weir_store *st, struct weir_node *n, struct weir_err *err)
{
	sqlite3_stmt *s = weir_store_stmt(st, "INSERT INTO nodes(" COLUMNS ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
	enum weir_code r;

	if (n->id)
		sqlite3_bind_int64(s, 1, (int64_t)n->id);
	else
		sqlite3_bind_null(s, 1);
	bind_node(s, n);
	r = weir_store_step_done(st, s, err);
	if (!r)
		n->id = (uint64_t)sqlite3_last_insert_rowid(st->db);
	return r;
}

static bool
is_same_place(uint64_t parent, const char *name, uint64_t old_parent, const char *old_name)
{
	return parent == old_parent && (!parent || strcmp(name, old_name) == 0);
}

static bool
is_same_rest(const struct weir_node *n, const struct weir_node *old)
{
	return n->mode == old->mode && n->uid == old->uid && n->gid == old->gid && n->flags == old->flags && n->size == old->size &&
	    n->rsize == old->rsize && n->mtime_ns == old->mtime_ns && n->ctime_ns == old->ctime_ns && n->atime_ns == old->atime_ns &&
	    n->btime_ns == old->btime_ns && n->listed_ms == old->listed_ms && n->content == old->content;
}

#define SET_REST "mode=?10,uid=?11,gid=?12,flags=?13,size=?14,rsize=?15,mtime=?16,ctime=?17,atime=?18,btime=?19,listed=?20,content=?21"
#define SET_THERE "rparent=?4,rname=?5,rid=?6,rversion=?7," SET_REST

/* SQLite writes every index anew whose columns are named, changed or not: so only what differs is named. Two indexes lie on the place here, one on the
 * place at the remote. */
enum weir_code
weir_node_update(struct weir_store *st, const struct weir_node *n, struct weir_err *err)
{
	struct weir_node old;
	bool same_here, same_there;
	sqlite3_stmt *s;
	enum weir_code r = weir_node_get(st, n->id, &old);

	if (r)
		return r == WEIR_E_NOENT ? WEIR_OK : weir_err_set(err, r, "cache '%s': cannot read a node", st->dir);
	same_here = is_same_place(n->parent, n->name, old.parent, old.name) && n->remote == old.remote && n->type == old.type;
	same_there = is_same_place(n->rparent, n->rname, old.rparent, old.rname) && strcmp(n->rid, old.rid) == 0 &&
	    strcmp(n->rversion, old.rversion) == 0;
	if (same_here && same_there && is_same_rest(n, &old))
		return WEIR_OK;
	if (!same_here)
		s = weir_store_stmt(st, "UPDATE nodes SET parent=?2,name=?3,remote=?8,type=?9," SET_THERE " WHERE id=?1");
	else if (!same_there)
		s = weir_store_stmt(st, "UPDATE nodes SET " SET_THERE " WHERE id=?1");
	else
		s = weir_store_stmt(st, "UPDATE nodes SET " SET_REST " WHERE id=?1");
	sqlite3_bind_int64(s, 1, (int64_t)n->id);
	bind_node(s, n);
	return weir_store_step_done(st, s, err);
}

static enum weir_code
run_with_id(struct weir_store *st, sqlite3_stmt *s, uint64_t id, struct weir_err *err)
{
	sqlite3_bind_int64(s, 1, (int64_t)id);
	return weir_store_step_done(st, s, err);
}

enum weir_code
weir_node_delete(struct weir_store *st, uint64_t id, struct weir_err *err)
{
	struct weir_node n;
	enum weir_code r;

	if ((r = weir_node_get(st, id, &n)))
		return r == WEIR_E_NOENT ? WEIR_OK : r;
	if (n.content && (r = weir_content_drop(st, &n, err)))
		return r;
	if ((r = weir_journal_drop(st, id, err)) || (r = weir_upload_drop(st, id, err)) || (n.type == WEIR_DIR && (r = weir_again_drop(st, id, err))))
		return r;
	if ((r = run_with_id(st, weir_store_stmt(st, "DELETE FROM xattrs WHERE node=?"), id, err)))
		return r;
	return run_with_id(st, weir_store_stmt(st, "DELETE FROM nodes WHERE id=?"), id, err);
}

/* Chains are short; 4096 steps end a damaged one. */
bool
weir_node_remote_path(struct weir_store *st, const struct weir_node *n, struct weir_buf *out)
{
	const char *parts[1024];
	char *owned[1024];
	struct weir_node up = *n;
	size_t depth = 0;
	bool ok = true;

	while (!(up.flags & WEIR_N_ROOT)) {
		if (!up.rparent || depth == WEIR_LEN(parts)) {
			ok = false;
			break;
		}
		parts[depth] = owned[depth] = weir_xstrdup(up.rname);
		depth++;
		if (weir_node_get(st, up.rparent, &up)) {
			ok = false;
			break;
		}
	}
	weir_buf_reset(out);
	for (size_t i = depth; i-- > 0;) {
		weir_buf_adds(out, parts[i]);
		if (i)
			weir_buf_addc(out, '/');
		free(owned[i]);
	}
	return ok;
}

bool
weir_node_local_path(struct weir_store *st, uint64_t id, struct weir_buf *out)
{
	char *owned[1024];
	struct weir_node up;
	size_t depth = 0;
	bool ok = true;

	while (ok) {
		if (weir_node_get(st, id, &up)) {
			ok = false;
			break;
		}
		if (up.flags & WEIR_N_ROOT)
			break;
		if (depth == WEIR_LEN(owned)) {
			ok = false;
			break;
		}
		owned[depth++] = weir_xstrdup(up.parent ? up.name : up.rname);
		id = up.parent ? up.parent : up.rparent;
	}
	weir_buf_reset(out);
	for (size_t i = depth; i-- > 0;) {
		weir_buf_addc(out, '/');
		weir_buf_adds(out, owned[i]);
		free(owned[i]);
	}
	if (!out->len)
		weir_buf_addc(out, '/');
	return ok;
}

/* ---- extended attributes ---- */

enum weir_code
weir_xattr_get(struct weir_store *st, uint64_t node, const char *name, void *buf, size_t max, size_t *len)
{
	sqlite3_stmt *s = weir_store_stmt(st, "SELECT value FROM xattrs WHERE node=? AND name=?");
	enum weir_code r = WEIR_E_NODATA;

	sqlite3_bind_int64(s, 1, (int64_t)node);
	sqlite3_bind_text(s, 2, name, -1, SQLITE_STATIC);
	if (sqlite3_step(s) == SQLITE_ROW) {
		const void *p = sqlite3_column_blob(s, 0);

		*len = (size_t)sqlite3_column_bytes(s, 0);
		r = WEIR_OK;
		if (max && *len > max)
			r = WEIR_E_RANGE;
		else if (max && *len)
			memcpy(buf, p, *len);
	}
	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
	return r;
}

enum weir_code
weir_xattr_set(struct weir_store *st, uint64_t node, const char *name, const void *val, size_t len, struct weir_err *err)
{
	sqlite3_stmt *s = weir_store_stmt(st, "INSERT OR REPLACE INTO xattrs VALUES(?,?,?)");

	sqlite3_bind_int64(s, 1, (int64_t)node);
	sqlite3_bind_text(s, 2, name, -1, SQLITE_STATIC);
	sqlite3_bind_blob(s, 3, len ? val : "", (int)len, SQLITE_STATIC);
	return weir_store_step_done(st, s, err);
}

enum weir_code
weir_xattr_remove(struct weir_store *st, uint64_t node, const char *name, struct weir_err *err)
{
	sqlite3_stmt *s = weir_store_stmt(st, "DELETE FROM xattrs WHERE node=? AND name=?");
	enum weir_code r;

	sqlite3_bind_int64(s, 1, (int64_t)node);
	sqlite3_bind_text(s, 2, name, -1, SQLITE_STATIC);
	r = weir_store_step_done(st, s, err);
	if (!r && sqlite3_changes(st->db) == 0)
		return WEIR_E_NODATA;
	return r;
}

enum weir_code
weir_xattr_list(struct weir_store *st, uint64_t node, struct weir_buf *out)
{
	sqlite3_stmt *s = weir_store_stmt(st, "SELECT name FROM xattrs WHERE node=? ORDER BY name");

	sqlite3_bind_int64(s, 1, (int64_t)node);
	while (sqlite3_step(s) == SQLITE_ROW)
		weir_buf_add(out, sqlite3_column_text(s, 0), (size_t)sqlite3_column_bytes(s, 0) + 1);
	sqlite3_reset(s);
	return out->is_full ? WEIR_E_RANGE : WEIR_OK;
}

/* ---- remotes ---- */

/* The old identity keeps its rows (and its unsent data) under its own fingerprint; coming back finds them again. */
static uint64_t
remote_aside(struct weir_store *st, const char *name, const char *fingerprint)
{
	sqlite3_stmt *s = weir_store_stmt(st, "SELECT count(*) FROM journal j JOIN remotes r ON r.id=j.remote WHERE r.name=? AND r.fingerprint<>?");
	uint64_t n = 0;

	sqlite3_bind_text(s, 1, name, -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 2, fingerprint, -1, SQLITE_STATIC);
	if (sqlite3_step(s) == SQLITE_ROW)
		n = (uint64_t)sqlite3_column_int64(s, 0);
	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
	return n;
}

enum weir_code
weir_remote_row(struct weir_store *st, const char *name, const char *fingerprint, uint64_t *id, uint64_t *root, uint64_t *set_aside,
    struct weir_err *err)
{
	struct weir_node n = { .type = WEIR_DIR, .mode = 0755, .uid = WEIR_NOBODY, .gid = WEIR_NOBODY, .flags = WEIR_N_ROOT };
	sqlite3_stmt *s;
	enum weir_code r;

	*set_aside = remote_aside(st, name, fingerprint);
	s = weir_store_stmt(st, "SELECT id, root FROM remotes WHERE fingerprint=?");
	sqlite3_bind_text(s, 1, fingerprint, -1, SQLITE_STATIC);
	if (sqlite3_step(s) == SQLITE_ROW) {
		*id = (uint64_t)sqlite3_column_int64(s, 0);
		*root = (uint64_t)sqlite3_column_int64(s, 1);
		sqlite3_reset(s);
		if ((r = weir_store_begin(st, err)))
			return r;
		s = weir_store_stmt(st, "UPDATE remotes SET name=? WHERE id=?");
		sqlite3_bind_text(s, 1, name, -1, SQLITE_STATIC);
		sqlite3_bind_int64(s, 2, (int64_t)*id);
		r = weir_store_step_done(st, s, err);
	} else {
		sqlite3_reset(s);
		if ((r = weir_store_begin(st, err)))
			return r;
		n.mtime_ns = n.ctime_ns = n.atime_ns = n.btime_ns = weir_wall_ns();
		r = weir_node_insert(st, &n, err);
		s = weir_store_stmt(st, "INSERT INTO remotes(name, fingerprint, root) VALUES(?,?,?)");
		sqlite3_bind_text(s, 1, name, -1, SQLITE_STATIC);
		sqlite3_bind_text(s, 2, fingerprint, -1, SQLITE_STATIC);
		sqlite3_bind_int64(s, 3, (int64_t)n.id);
		if (!r)
			r = weir_store_step_done(st, s, err);
		else
			sqlite3_clear_bindings(s);
		*id = (uint64_t)sqlite3_last_insert_rowid(st->db);
		*root = n.id;
		n.remote = *id;
		s = weir_store_stmt(st, "INSERT INTO totals VALUES(?,0,0,0)");
		sqlite3_bind_int64(s, 1, (int64_t)*id);
		if (!r && !(r = weir_store_step_done(st, s, err)))
			r = weir_node_update(st, &n, err);
	}
	if (r) {
		weir_store_rollback(st);
		return r;
	}
	return weir_store_commit(st, err);
}

/* ---- sums ---- */

void
weir_remote_sums(struct weir_store *st, uint64_t remote, uint64_t *local, uint64_t *at_remote, uint64_t *unlisted)
{
	sqlite3_stmt *s = weir_store_stmt(st, "SELECT local, at_remote, unlisted FROM totals WHERE remote=?1");

	*local = *at_remote = *unlisted = 0;
	sqlite3_bind_int64(s, 1, (int64_t)remote);
	if (sqlite3_step(s) == SQLITE_ROW) {
		*local = (uint64_t)sqlite3_column_int64(s, 0);
		*at_remote = (uint64_t)sqlite3_column_int64(s, 1);
		*unlisted = (uint64_t)sqlite3_column_int64(s, 2);
	}
	sqlite3_reset(s);
}

enum weir_code
weir_du(struct weir_store *st, uint64_t node, uint64_t *bytes, uint64_t *files, uint64_t *dirs, uint64_t *unlisted)
{
	sqlite3_stmt *s = weir_store_stmt(st,
	    "WITH RECURSIVE t(id) AS (SELECT ?1 UNION ALL SELECT n.id FROM nodes n JOIN t ON n.parent=t.id)"
	    " SELECT coalesce(sum(n.size),0), coalesce(sum(n.type<>2),0), coalesce(sum(n.type=2),0),"
	    " coalesce(sum(n.type=2 AND n.listed=0 AND (n.rparent IS NOT NULL OR (n.flags & 8))),0) FROM t JOIN nodes n ON n.id=t.id");

	sqlite3_bind_int64(s, 1, (int64_t)node);
	if (sqlite3_step(s) == SQLITE_ROW) {
		*bytes = (uint64_t)sqlite3_column_int64(s, 0);
		*files = (uint64_t)sqlite3_column_int64(s, 1);
		*dirs = (uint64_t)sqlite3_column_int64(s, 2);
		*unlisted = (uint64_t)sqlite3_column_int64(s, 3);
	}
	sqlite3_reset(s);
	return WEIR_OK;
}
