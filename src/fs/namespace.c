/* SPDX-License-Identifier: Apache-2.0 */
/* Which path shows which remote. A remote's folder is put at a path by a "way": a name in a directory that leads to another node.
 * Directories that exist only because a deeper path is mapped are virtual: rows of no remote, read-only. */
#include "config.h"

#include "pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const struct fs_way *
ns_way(const struct weir_fs *fs, uint64_t parent, const char *name)
{
	for (size_t i = 0; i < fs->nways; i++)
		if (fs->ways[i].parent == parent && strcmp(fs->ways[i].name, name) == 0)
			return &fs->ways[i];
	return NULL;
}

/* Does a way start in this directory (removing or moving it would take the way along)? */
bool
ns_has_way_in(const struct weir_fs *fs, uint64_t node)
{
	for (size_t i = 0; i < fs->nways; i++)
		if (fs->ways[i].parent == node)
			return true;
	return false;
}

static enum weir_code
make_dir(struct weir_fs *fs, uint64_t parent, const char *name, const struct weir_node *like, struct weir_node *out, struct weir_err *err)
{
	struct weir_node n = { .type = WEIR_DIR, .parent = parent, .mode = 0755, .uid = WEIR_NOBODY, .gid = WEIR_NOBODY };
	enum weir_code r;

	snprintf(n.name, sizeof(n.name), "%s", name);
	n.mtime_ns = n.ctime_ns = n.atime_ns = n.btime_ns = weir_wall_ns();
	if (like) { /* a folder of a remote, named by the configuration */
		n.remote = like->remote;
		n.rparent = parent;
		n.flags = WEIR_N_BIND;
		snprintf(n.rname, sizeof(n.rname), "%s", name);
	} else
		n.flags = WEIR_N_VIRTUAL;
	if ((r = weir_store_begin(fs->st, err)))
		return r;
	if ((r = weir_node_insert(fs->st, &n, err))) {
		weir_store_rollback(fs->st);
		return r;
	}
	*out = n;
	return weir_store_commit(fs->st, err);
}

/* Walk or make the folder below a remote's root. */
static enum weir_code
bind_folder(struct weir_fs *fs, const struct weir_bind *bind, const struct weir_place *b, struct weir_remote *remote, uint64_t *out, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *copy = weir_xstrdup(b->folder);
	struct weir_node dir, n;
	char *save = NULL;
	enum weir_code r;

	if ((r = weir_node_get(fs->st, weir_remote_root(remote), &dir)))
		return weir_err_set(err, r, "remote '%s': its root is missing in the cache", b->remote);
	for (char *part = strtok_r(copy, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
		r = weir_node_child(fs->st, dir.id, part, &n);
		if (r == WEIR_E_NOENT)
			r = make_dir(fs, dir.id, part, &dir, &n, err);
		else if (!r && !(n.flags & WEIR_N_BIND) && !weir_store_begin(fs->st, err)) {
			n.flags |= WEIR_N_BIND;
			r = weir_node_update(fs->st, &n, err);
			if (r)
				weir_store_rollback(fs->st);
			else
				r = weir_store_commit(fs->st, err);
		}
		if (r)
			return r;
		if (n.type != WEIR_DIR)
			return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: '%s:%s' is not a directory", fs->conf->path, bind->line, b->remote, b->folder);
		dir = n;
	}
	*out = dir.id;
	return WEIR_OK;
}

static void
way_add(struct weir_fs *fs, uint64_t parent, const char *name, uint64_t target)
{
	fs->ways = weir_xrealloc(fs->ways, fs->nways + 1, sizeof(*fs->ways));
	fs->ways[fs->nways++] = (struct fs_way){ .parent = parent, .target = target, .name = weir_xstrdup(name) };
}

/* A directory of a pool on the way to a deeper path: it stands there even when no member has it. */
static enum weir_code
bind_in_pool(struct weir_fs *fs, uint64_t parent, const char *name, struct weir_node *n, struct weir_err *err)
{
	enum weir_code r = weir_store_begin(fs->st, err);

	if (r)
		return r;
	r = weir_node_child(fs->st, parent, name, n);
	if (r == WEIR_E_NOENT)
		r = pool_row_insert(fs, parent, name, WEIR_N_BIND, n);
	else if (!r) {
		n->flags |= WEIR_N_BIND;
		r = weir_node_update(fs->st, n, err);
	}
	if (!r)
		return weir_store_commit(fs->st, err);
	weir_store_rollback(fs->st);
	return r;
}

static enum weir_code
bind_path(struct weir_fs *fs, const char *path, uint64_t target, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *copy = weir_xstrdup(path);
	char *save = NULL, *part = strtok_r(copy, "/", &save), *next;
	uint64_t cur = fs->root;
	struct weir_node n;
	enum weir_code r;

	for (; part; part = next) {
		const struct fs_way *w = ns_way(fs, cur, part);

		next = strtok_r(NULL, "/", &save);
		if (!next) {
			way_add(fs, cur, part, target);
			break;
		}
		if (w) {
			cur = w->target;
			continue;
		}
		if (pool_is(fs, cur))
			r = bind_in_pool(fs, cur, part, &n, err);
		else if ((r = weir_node_child(fs->st, cur, part, &n)) == WEIR_E_NOENT)
			r = make_dir(fs, cur, part, NULL, &n, err);
		if (r)
			return r;
		cur = n.id;
	}
	return WEIR_OK;
}

static int
bind_by_depth(const void *a, const void *b)
{
	const struct weir_bind *x = *(const struct weir_bind *const *)a, *y = *(const struct weir_bind *const *)b;

	return strlen(x->path) < strlen(y->path) ? -1 : strlen(x->path) > strlen(y->path);
}

/* ---- pools ---- */

/* The pool's root has the same number in every run: it is found by its path, which stands in the row's rid. */
static enum weir_code
pool_root(struct weir_fs *fs, const char *path, uint64_t *out, struct weir_err *err)
{
	struct weir_node n;
	enum weir_code r;

	if (weir_nodes_by_rid(fs->st, 0, path, out, 1))
		return WEIR_OK;
	if ((r = weir_store_begin(fs->st, err)))
		return r;
	if (!(r = pool_row_insert(fs, 0, "", WEIR_N_ROOT, &n))) {
		snprintf(n.rid, sizeof(n.rid), "%s", path);
		r = weir_node_update(fs->st, &n, err);
	}
	if (r) {
		weir_store_rollback(fs->st);
		return r;
	}
	*out = n.id;
	return weir_store_commit(fs->st, err);
}

/* Is something of it shown under another path too? */
static bool
is_shared(const struct weir_conf *conf, const struct weir_bind *pool)
{
	for (size_t i = 0; i < conf->nbinds; i++)
		for (size_t k = 0; &conf->binds[i] != pool && k < conf->binds[i].nplaces; k++)
			for (size_t m = 0; m < pool->nplaces; m++)
				if (weir_conf_overlap(&conf->binds[i].places[k], &pool->places[m]))
					return true;
	return false;
}

/* Rows of directories whose parent went, and marks of an earlier configuration. */
static enum weir_code
pools_tidy(struct weir_fs *fs, struct weir_err *err)
{
	static const char unmark[] = "UPDATE nodes SET flags=flags & ~256 WHERE remote=0 AND (flags & 256) AND (flags & 1024)";
	static const char orphans[] = "DELETE FROM nodes WHERE remote=0 AND (flags & 1024) AND parent IS NOT NULL AND parent NOT IN (SELECT id FROM nodes)";
	enum weir_code r = weir_store_begin(fs->st, err);

	if (r)
		return r;
	r = weir_store_step_done(fs->st, weir_store_stmt(fs->st, unmark), err);
	while (!r && fs->opt.is_first) {
		r = weir_store_step_done(fs->st, weir_store_stmt(fs->st, orphans), err);
		if (!sqlite3_changes(fs->st->db))
			break;
	}
	if (!r)
		return weir_store_commit(fs->st, err);
	weir_store_rollback(fs->st);
	return r;
}

/* ---- all of it ---- */

/* Does some way start in this directory or below it? */
static bool
leads_to_way(struct weir_fs *fs, uint64_t dir)
{
	struct weir_node n;

	for (size_t i = 0; i < fs->nways; i++) {
		for (uint64_t at = fs->ways[i].parent; at; at = n.parent) {
			if (at == dir)
				return true;
			if (weir_node_get(fs->st, at, &n))
				break;
		}
	}
	return false;
}

/* In a transaction. One that has become the storage's own directory too (merge_entry) stays as that; the storage's own of the name of one that goes is looked for. */
static enum weir_code
virtual_drop(struct weir_fs *fs, uint64_t id, struct weir_err *err)
{
	struct weir_node n, up;
	enum weir_code r;

	if (weir_node_get(fs->st, id, &n))
		return WEIR_OK;
	if (weir_node_get(fs->st, n.parent, &up) || !up.remote)
		return n.rparent ? WEIR_OK : weir_node_delete(fs->st, id, err);
	if (n.rparent) {
		n.remote = up.remote;
		n.flags &= ~(uint32_t)WEIR_N_VIRTUAL;
		return weir_node_update(fs->st, &n, err);
	}
	if ((r = weir_node_delete(fs->st, id, err)) || up.listed_ms <= 1)
		return r;
	up.listed_ms = 1;
	return weir_node_update(fs->st, &up, err);
}

/* Virtual directories that an earlier configuration needed and this one does not. Those of pools: pools_tidy(). */
static enum weir_code
virtual_tidy(struct weir_fs *fs, struct weir_err *err)
{
	sqlite3_stmt *s = weir_store_stmt(fs->st, "SELECT id FROM nodes WHERE remote=0 AND parent IS NOT NULL AND (flags & 64) AND NOT (flags & 1024)");
	uint64_t *ids = NULL;
	size_t n = 0;
	enum weir_code r;

	while (sqlite3_step(s) == SQLITE_ROW) {
		ids = weir_xrealloc(ids, n + 1, sizeof(*ids));
		ids[n++] = (uint64_t)sqlite3_column_int64(s, 0);
	}
	sqlite3_reset(s);
	r = weir_store_begin(fs->st, err);
	for (size_t i = 0; i < n && !r; i++) {
		if (!leads_to_way(fs, ids[i]))
			r = virtual_drop(fs, ids[i], err);
	}
	free(ids);
	if (!r)
		return weir_store_commit(fs->st, err);
	weir_store_rollback(fs->st);
	return r;
}

static enum weir_code
bind_places(struct weir_fs *fs, const struct weir_bind *b, uint64_t *dirs, uint64_t *remotes, struct weir_err *err)
{
	for (size_t i = 0; i < b->nplaces; i++) {
		struct weir_remote *remote = weir_sync_remote_named(fs->sy, b->places[i].remote);
		enum weir_code r;

		if (!remote)
			return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: there is no remote '%s'", fs->conf->path, b->line, b->places[i].remote);
		if ((r = bind_folder(fs, b, &b->places[i], remote, &dirs[i], err)))
			return r;
		remotes[i] = weir_remote_id(remote);
	}
	return WEIR_OK;
}

static enum weir_code
bind_one(struct weir_fs *fs, const struct weir_bind *b, struct weir_err *err)
{
	struct fs_pool p = { .bind = b, .n = b->nplaces };
	uint64_t target;
	enum weir_code r;

	if ((r = bind_places(fs, b, p.dirs, p.remotes, err)))
		return r;
	target = p.dirs[0];
	if (b->is_pool) {
		if ((r = pool_root(fs, b->path, &p.node, err)))
			return r;
		p.is_shared = is_shared(fs->conf, b);
		fs->has_shared |= p.is_shared;
		target = p.node;
		fs->pools = weir_xrealloc(fs->pools, fs->npools + 1, sizeof(*fs->pools));
		fs->pools[fs->npools++] = p;
	}
	if (strcmp(b->path, "/") != 0)
		return bind_path(fs, b->path, target, err);
	fs->root = target;
	return WEIR_OK;
}

/* Folders of remotes that an earlier configuration named are folders like any other; bind_folder() marks this one's. */
static enum weir_code
binds_tidy(struct weir_fs *fs, struct weir_err *err)
{
	enum weir_code r = weir_store_begin(fs->st, err);

	if (r)
		return r;
	if ((r = weir_store_step_done(fs->st, weir_store_stmt(fs->st, "UPDATE nodes SET flags=flags & ~256 WHERE remote<>0 AND (flags & 256)"), err))) {
		weir_store_rollback(fs->st);
		return r;
	}
	return weir_store_commit(fs->st, err);
}

enum weir_code
ns_build(struct weir_fs *fs, struct weir_err *err)
{
	const struct weir_conf *conf = fs->conf;
	const struct weir_bind **order = weir_xcalloc(conf->nbinds + 1, sizeof(*order));
	bool has_pool = false;
	enum weir_code r = WEIR_OK;

	for (size_t i = 0; i < conf->nbinds; i++) {
		order[i] = &conf->binds[i];
		has_pool |= conf->binds[i].is_pool;
	}
	qsort(order, conf->nbinds, sizeof(*order), bind_by_depth);
	weir_store_lock(fs->st);
	fs->root = WEIR_ROOT;
	r = binds_tidy(fs, err);
	if (!r && has_pool)
		r = pools_tidy(fs, err);
	for (size_t i = 0; i < conf->nbinds && !r; i++)
		r = bind_one(fs, order[i], err);
	if (!r)
		r = virtual_tidy(fs, err);
	weir_store_unlock(fs->st);
	free(order);
	return r;
}

void
ns_free(struct weir_fs *fs)
{
	for (size_t i = 0; i < fs->nways; i++)
		free(fs->ways[i].name);
	free(fs->ways);
	free(fs->pools);
}

void
weir_fs_names(struct weir_fs *fs, void (*fn)(void *arg, uint64_t parent, const char *name), void *arg)
{
	struct weir_node n;

	weir_store_lock(fs->st);
	for (size_t i = 0; i < fs->nways; i++) {
		uint64_t at = fs->ways[i].parent;

		fn(arg, fs_out(fs, at), fs->ways[i].name);
		for (; at != fs->root && !weir_node_get(fs->st, at, &n) && n.parent; at = n.parent)
			fn(arg, fs_out(fs, n.parent), n.name);
	}
	weir_store_unlock(fs->st);
}

/* ---- paths and subtrees, for the verbs ---- */

/* What a name in a directory of a pool means, by what is known. */
static enum weir_code
child_in_pool(struct weir_fs *fs, const struct weir_node *row, const char *name, struct weir_node *n)
{
	struct weir_node parent = *row;
	struct pool_dir d;
	enum weir_code r;

	if ((r = pool_open(fs, parent.id, &d)))
		return r;
	for (size_t i = 0; i < d.n; i++) {
		if (!d.dir[i] || weir_node_child(fs->st, d.dir[i], name, n))
			continue;
		return n->type == WEIR_DIR ? pool_row(fs, &parent, name, n) : WEIR_OK;
	}
	return weir_node_child(fs->st, parent.id, name, n) || !(n->flags & WEIR_N_BIND) ? WEIR_E_NOENT : WEIR_OK;
}

enum weir_code
ns_resolve(struct weir_fs *fs, const char *path, struct weir_node *n, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *copy = weir_xstrdup(path ? path : "/");
	char *save = NULL;
	enum weir_code r = weir_node_get(fs->st, fs->root, n);

	for (char *part = strtok_r(copy, "/", &save); part && !r; part = strtok_r(NULL, "/", &save)) {
		const struct fs_way *w = ns_way(fs, n->id, part);

		if (w)
			r = weir_node_get(fs->st, w->target, n);
		else if (n->flags & WEIR_N_POOL)
			r = child_in_pool(fs, n, part, n);
		else
			r = weir_node_child(fs->st, n->id, part, n);
	}
	return r ? weir_err_set(err, r, "'%s': %s", path, weir_code_text(r)) : WEIR_OK;
}

void
ns_scope(struct weir_fs *fs, const struct weir_node *n, struct ns_scope *s)
{
	struct pool_dir d;

	s->n = 0;
	s->ids[s->n++] = n->id;
	if (!(n->flags & WEIR_N_POOL) || pool_open(fs, n->id, &d))
		return;
	for (size_t i = 0; i < d.n; i++)
		if (d.dir[i])
			s->ids[s->n++] = d.dir[i];
}

/* Upwards from a node, by every path that leads to it. */
static bool
covers_from(struct weir_fs *fs, const struct ns_scope *s, uint64_t id, int depth)
{
	struct weir_node n;

	for (int i = 0; i < 4096 && id && depth < 64; i++) {
		for (size_t k = 0; k < s->n; k++)
			if (s->ids[k] == id)
				return true;
		for (size_t w = 0; w < fs->nways; w++)
			if (fs->ways[w].target == id && covers_from(fs, s, fs->ways[w].parent, depth + 1))
				return true;
		for (size_t p = 0; p < fs->npools; p++)
			for (size_t k = 0; k < fs->pools[p].n; k++)
				if (fs->pools[p].dirs[k] == id && covers_from(fs, s, fs->pools[p].node, depth + 1))
					return true;
		if (weir_node_get(fs->st, id, &n))
			return false;
		id = n.parent ? n.parent : n.rparent;
	}
	return false;
}

bool
ns_covers(struct weir_fs *fs, const struct ns_scope *s, uint64_t node)
{
	return covers_from(fs, s, node, 0);
}

static bool
is_row_below(struct weir_fs *fs, uint64_t id, uint64_t top)
{
	struct weir_node n;

	for (int i = 0; i < 4096 && id; i++) {
		if (id == top)
			return true;
		if (weir_node_get(fs->st, id, &n))
			return false;
		id = n.parent;
	}
	return false;
}

struct trees { uint64_t *ids; size_t n; };

static void
trees_add(struct weir_fs *fs, struct trees *t, uint64_t id)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->n; i++)
		if (is_row_below(fs, id, t->ids[i]))
			return;
	for (size_t i = 0; i < t->n; i++)
		if (!is_row_below(fs, t->ids[i], id))
			t->ids[kept++] = t->ids[i];
	t->ids = weir_xrealloc(t->ids, kept + 1, sizeof(*t->ids));
	t->ids[kept] = id;
	t->n = kept + 1;
}

static void
trees_add_node(struct weir_fs *fs, struct trees *t, const struct weir_node *n)
{
	struct ns_scope s;

	ns_scope(fs, n, &s);
	/* A pool's own rows hold nothing. */
	for (size_t i = n->flags & WEIR_N_POOL ? 1 : 0; i < s.n; i++)
		trees_add(fs, t, s.ids[i]);
}

uint64_t *
ns_trees(struct weir_fs *fs, const struct weir_node *n, size_t *count)
{
	struct trees t = { NULL, 0 };
	struct weir_node target;
	struct ns_scope s;

	ns_scope(fs, n, &s);
	trees_add_node(fs, &t, n);
	for (size_t i = 0; i < fs->nways; i++)
		if (ns_covers(fs, &s, fs->ways[i].parent) && !weir_node_get(fs->st, fs->ways[i].target, &target))
			trees_add_node(fs, &t, &target);
	*count = t.n;
	return t.ids;
}
