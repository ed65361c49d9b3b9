/* SPDX-License-Identifier: Apache-2.0 */
/* Which path shows which remote. A remote's folder is put at a path by a "way": a name in a directory that leads to another node.
 * Directories that exist only because a deeper path is mapped are virtual: rows of no remote, read-only. */
#include "config.h"

#include "internal.h"

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
bind_folder(struct weir_fs *fs, const struct weir_bind *b, struct weir_remote *remote, uint64_t *out, struct weir_err *err)
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
			return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: '%s:%s' is not a directory", fs->conf->path, b->line, b->remote, b->folder);
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
		r = weir_node_child(fs->st, cur, part, &n);
		if (r == WEIR_E_NOENT)
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

enum weir_code
ns_build(struct weir_fs *fs, struct weir_err *err)
{
	const struct weir_conf *conf = fs->conf;
	const struct weir_bind **order = weir_xcalloc(conf->nbinds + 1, sizeof(*order));
	enum weir_code r = WEIR_OK;

	for (size_t i = 0; i < conf->nbinds; i++)
		order[i] = &conf->binds[i];
	qsort(order, conf->nbinds, sizeof(*order), bind_by_depth);
	weir_store_lock(fs->st);
	fs->root = WEIR_ROOT;
	for (size_t i = 0; i < conf->nbinds && !r; i++) {
		const struct weir_bind *b = order[i];
		struct weir_remote *remote = weir_sync_remote_named(fs->sy, b->remote);
		uint64_t target = 0;

		if (!remote)
			r = weir_err_set(err, WEIR_E_CONFIG, "%s:%d: there is no remote '%s'", conf->path, b->line, b->remote);
		else if (!(r = bind_folder(fs, b, remote, &target, err))) {
			if (strcmp(b->path, "/") == 0)
				fs->root = target;
			else
				r = bind_path(fs, b->path, target, err);
		}
	}
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
}

enum weir_code
ns_resolve(struct weir_fs *fs, const char *path, struct weir_node *n, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *copy = weir_xstrdup(path ? path : "/");
	char *save = NULL;
	enum weir_code r = weir_node_get(fs->st, fs->root, n);

	for (char *part = strtok_r(copy, "/", &save); part && !r; part = strtok_r(NULL, "/", &save)) {
		const struct fs_way *w = ns_way(fs, n->id, part);

		r = w ? weir_node_get(fs->st, w->target, n) : weir_node_child(fs->st, n->id, part, n);
	}
	return r ? weir_err_set(err, r, "'%s': %s", path, weir_code_text(r)) : WEIR_OK;
}
