/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a tree, finding paths in it, and sentences for what its kinds answer with codes. */
#include "config.h"

#include "impl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../control/control.h"
#include "../control/mounts.h"
#include "../sync/sync.h"
#include "../util/text.h"

#define TREE_WAIT_MS 200	/* between two looks at a cache that another process has */

bool
weir_tree_is_canceled(const struct weir_tree *t)
{
	return t->cancel != NULL && atomic_load(t->cancel);
}

/* ---- open ---- */

/* Every remote whole, at /NAME. */
static void
tree_own_namespace(struct weir_tree *t)
{
	const struct weir_conf *conf = t->conf;

	t->own = *conf;
	t->own.nbinds = conf->nremotes;
	t->own.binds = weir_xcalloc(conf->nremotes + 1, sizeof(*t->own.binds));
	for (size_t i = 0; i < conf->nremotes; i++) {
		struct weir_bind *b = &t->own.binds[i];

		b->path = weir_xasprintf("/%s", conf->remotes[i].name);
		b->nplaces = 1;
		b->places = weir_xcalloc(1, sizeof(*b->places));
		b->places[0] = (struct weir_place){.remote = weir_xstrdup(conf->remotes[i].name), .folder = weir_xstrdup("")};
		b->line = conf->remotes[i].line;
	}
}

static void
tree_own_free(struct weir_tree *t)
{
	for (size_t i = 0; i < t->own.nbinds && t->own.binds != NULL; i++) {
		free(t->own.binds[i].path);
		free(t->own.binds[i].places[0].remote);
		free(t->own.binds[i].places[0].folder);
		free(t->own.binds[i].places);
	}
	free(t->own.binds);
	t->own.binds = NULL;
}

/* The mount that serves this cache now. OK and mountpoint NULL: nobody answers. */
static enum weir_code
tree_find_mount(struct weir_tree *t, struct weir_err *err)
{
	struct weir_mounts mounts;
	const struct weir_mount *m;
	enum weir_code r;

	if (weir_control_call(t->conf->cache_dir, json_pack("{s:s}", "verb", "ping"), NULL, NULL, NULL, NULL) != WEIR_OK)
		return WEIR_OK;
	r = weir_mounts_read(&mounts, err);
	if (r)
		return r;
	m = t->conf->path != NULL ? weir_mounts_of(&mounts, t->conf->path) : NULL;
	if (m == NULL)
		r = weir_err_set(err, WEIR_E_BUSY, "cache '%s' is in use by a mount that cannot be seen from here", t->conf->cache_dir);
	else if (strcmp(m->root, "/") != 0)
		r = weir_err_set(err, WEIR_E_BUSY, "cache '%s' is in use by a mount of which only '%s' can be seen here, at '%s'", t->conf->cache_dir, m->root, m->mountpoint);
	else
		t->mountpoint = weir_xstrdup(m->mountpoint);
	weir_mounts_free(&mounts);
	return r;
}

/* The cache belongs to a mount, to another process like us, or to us. Who mounts or ends meanwhile is met at the next look. */
static enum weir_code
tree_connect(struct weir_tree *t, const struct weir_tree_options *o, struct weir_err *err)
{
	struct weir_fs_options fo = {.conf = o->is_by_remote ? &t->own : t->conf, .is_first = true, .umask = 022, .uid = geteuid(), .gid = getegid()};
	bool was_said = false;

	for (;;) {
		struct weir_err busy = {0};
		enum weir_code r = tree_find_mount(t, err);

		if (r || t->mountpoint != NULL)
			return r;
		r = weir_fs_new(&fo, &t->fs, &busy);
		if (r != WEIR_E_BUSY) {
			if (r)
				weir_err_set(err, r, "%s", weir_err_text(&busy, r));
			return r;
		}
		if (!was_said && o->waits != NULL)
			o->waits(o->arg, weir_err_text(&busy, r));
		was_said = true;
		if (weir_tree_is_canceled(t))
			return weir_err_set(err, WEIR_E_INTR, "given up waiting for the cache");
		poll(NULL, 0, TREE_WAIT_MS);
	}
}

enum weir_code
weir_tree_open(const struct weir_tree_options *o, struct weir_tree **out, struct weir_err *err)
{
	struct weir_tree *t = weir_xcalloc(1, sizeof(*t));
	enum weir_code r;

	t->conf = o->conf;
	t->cancel = o->cancel;
	t->is_by_remote = o->is_by_remote;
	t->root_fd = AT_FDCWD;
	if (o->is_by_remote)
		tree_own_namespace(t);
	r = tree_connect(t, o, err);
	if (r == WEIR_OK && t->mountpoint != NULL && (t->root_fd = open(t->mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
		r = weir_err_errno(err, errno, "mount '%s'", t->mountpoint);
	if (r) {
		weir_tree_close(t);
		return r;
	}
	t->ops = t->mountpoint != NULL ? &weir_tree_ops_path : &weir_tree_ops_direct;
	*out = t;
	return WEIR_OK;
}

struct weir_tree *
weir_tree_local(const atomic_bool *cancel)
{
	struct weir_tree *t = weir_xcalloc(1, sizeof(*t));

	t->cancel = cancel;
	t->root_fd = AT_FDCWD;
	t->ops = &weir_tree_ops_path;
	return t;
}

struct weir_tree *
weir_tree_adopt(struct weir_fs *fs, const atomic_bool *cancel)
{
	struct weir_tree *t = weir_xcalloc(1, sizeof(*t));

	t->cancel = cancel;
	t->root_fd = AT_FDCWD;
	t->fs = fs;
	t->is_adopted = true;
	t->ops = &weir_tree_ops_direct;
	return t;
}

void
weir_tree_close(struct weir_tree *t)
{
	if (t == NULL)
		return;
	if (!t->is_adopted)
		weir_fs_free(t->fs);
	tree_own_free(t);
	free(t->mountpoint);
	weir_closep(&t->root_fd);
	free(t);
}

bool
weir_tree_is_local(const struct weir_tree *t)
{
	return t->fs == NULL && t->mountpoint == NULL;
}

const char *
weir_tree_mountpoint(const struct weir_tree *t)
{
	return t->mountpoint;
}

/* ---- paths ---- */

/* "/" + text, without ".", ".." and doubled slashes. */
static char *
tree_normal(const char *path)
{
	WEIR_AUTO(weir_freep) char *rooted = weir_xasprintf("/%s", path);

	return weir_path_absolute(rooted);
}

/* What of path lies below dir, "" for dir itself; NULL: nothing. dir "/": everything. */
static const char *
tree_below(const char *dir, const char *path)
{
	size_t len = strcmp(dir, "/") == 0 ? 0 : strlen(dir);

	return strncmp(dir, path, len) == 0 && (path[len] == '/' || path[len] == '\0') ? path + len : NULL;
}

/* A path of the namespace that shows this place of a remote, and nothing else over it. */
static char *
tree_shown(const struct weir_conf *conf, const char *remote, const char *path)
{
	for (size_t i = 0; i < conf->nbinds; i++) {
		const struct weir_bind *b = &conf->binds[i];
		WEIR_AUTO(weir_freep) char *folder = NULL, *shown = NULL, *normal = NULL;
		bool is_hidden = false;
		const char *rest;

		if (b->is_pool || b->nplaces != 1 || strcmp(b->places[0].remote, remote) != 0)
			continue;
		folder = tree_normal(b->places[0].folder);
		rest = tree_below(folder, path);
		if (rest == NULL)
			continue;
		shown = weir_xasprintf("%s%s", strcmp(b->path, "/") == 0 ? "" : b->path, rest);
		normal = tree_normal(shown);
		for (size_t k = 0; k < conf->nbinds && !is_hidden; k++)
			is_hidden = k != i && strlen(conf->binds[k].path) > strlen(b->path) && tree_below(conf->binds[k].path, normal) != NULL;
		if (!is_hidden)
			return WEIR_STEAL(normal);
	}
	return NULL;
}

enum weir_code
weir_tree_path(const struct weir_tree *t, const char *remote, const char *path, char **out, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *normal = tree_normal(path);

	if (remote == NULL || *remote == '\0') {
		*out = WEIR_STEAL(normal);
		return WEIR_OK;
	}
	if (weir_conf_remote(t->conf, remote) == NULL)
		return weir_err_set(err, WEIR_E_NOENT, "%s has no [remote %s]", t->conf->path != NULL ? t->conf->path : "the configuration", remote);
	if (t->mountpoint == NULL && t->is_by_remote)
		*out = weir_xasprintf("/%s%s", remote, strcmp(normal, "/") == 0 ? "" : normal);
	else if ((*out = tree_shown(t->conf, remote, normal)) == NULL)
		return weir_err_set(err, WEIR_E_XDEV, "'%s:%s' is not shown by the mount at '%s', which has the cache: use a path of its namespace, or unmount it first",
		    remote, path, t->mountpoint != NULL ? t->mountpoint : "/");
	return WEIR_OK;
}

char *
weir_tree_label(const struct weir_tree *t, const char *path)
{
	const char *rest;

	if (weir_tree_is_local(t))
		return weir_xstrdup(path);
	if (t->mountpoint != NULL)
		return weir_xasprintf("%s%s", t->mountpoint, strcmp(path, "/") == 0 ? "" : path);
	if (!t->is_by_remote || strcmp(path, "/") == 0)
		return weir_xasprintf(":%s", path);
	rest = path + 1 + strcspn(path + 1, "/");
	return weir_xasprintf("%.*s:%s", (int)(rest - path - 1), path + 1, *rest == '/' ? rest + 1 : rest);
}

/* ---- calls ---- */

static enum weir_code
tree_say(struct weir_tree *t, enum weir_code r, const char *path, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *label = NULL;
	char why[256];

	if (r == WEIR_OK || err == NULL)
		return r;
	label = weir_tree_label(t, path);
	if ((r == WEIR_E_DOWN || r == WEIR_E_AUTH || r == WEIR_E_NOBUCKET || r == WEIR_E_TLS) && t->fs != NULL && weir_tree_direct_why(t, path, why))
		return weir_err_set(err, r, "'%s': %s", label, why);
	return weir_err_set(err, r, "'%s': %s", label, weir_code_text(r));
}

enum weir_code
weir_tree_stat(struct weir_tree *t, const char *path, bool follow, struct weir_attr *attr, struct weir_err *err)
{
	return tree_say(t, t->ops->stat(t, path, follow, attr), path, err);
}

struct tree_entry { char *name; struct weir_attr attr; };
struct tree_entries { struct tree_entry *v; size_t n, room; };

static int
tree_note(void *arg, const char *name, const struct weir_attr *attr)
{
	struct tree_entries *e = arg;

	if (e->n == e->room) {
		e->room = e->room > 0 ? e->room * 2 : 64;
		e->v = weir_xrealloc(e->v, e->room, sizeof(*e->v));
	}
	e->v[e->n++] = (struct tree_entry){.name = weir_xstrdup(name), .attr = *attr};
	return 0;
}

enum weir_code
weir_tree_list(struct weir_tree *t, const char *path, int (*fn)(void *, const char *, const struct weir_attr *), void *arg, struct weir_err *err)
{
	struct tree_entries e = {0};
	enum weir_code r = t->ops->list(t, path, tree_note, &e);

	for (size_t i = 0; r == WEIR_OK && i < e.n; i++) {
		if (fn(arg, e.v[i].name, &e.v[i].attr) != 0)
			break;
	}
	for (size_t i = 0; i < e.n; i++)
		free(e.v[i].name);
	free(e.v);
	return tree_say(t, r, path, err);
}

enum weir_code
weir_tree_readlink(struct weir_tree *t, const char *path, char **out, struct weir_err *err)
{
	return tree_say(t, t->ops->readlink(t, path, out), path, err);
}

enum weir_code
weir_tree_mkdir(struct weir_tree *t, const char *path, uint32_t mode, struct weir_err *err)
{
	return tree_say(t, t->ops->mkdir(t, path, mode), path, err);
}

/* From above: what stands is left as it is. */
enum weir_code
weir_tree_mkdirs(struct weir_tree *t, const char *path, uint32_t mode, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *part = weir_xstrdup(path);
	struct weir_attr attr;
	enum weir_code r;

	r = t->ops->stat(t, path, true, &attr);
	if (r == WEIR_OK)
		return tree_say(t, S_ISDIR(attr.mode) ? WEIR_OK : WEIR_E_NOTDIR, path, err);
	for (char *p = part + 1; *p != '\0'; p++) {
		p += strcspn(p, "/");
		if (*p == '\0')
			break;
		*p = '\0';
		r = t->ops->stat(t, part, true, &attr);
		if (r == WEIR_E_NOENT)
			r = t->ops->mkdir(t, part, mode);
		if (r && r != WEIR_E_EXIST)
			return tree_say(t, r, part, err);
		*p = '/';
	}
	r = t->ops->mkdir(t, path, mode);
	return tree_say(t, r == WEIR_E_EXIST ? WEIR_OK : r, path, err);
}

enum weir_code
weir_tree_symlink(struct weir_tree *t, const char *path, const char *target, struct weir_err *err)
{
	return tree_say(t, t->ops->symlink(t, path, target), path, err);
}

enum weir_code
weir_tree_unlink(struct weir_tree *t, const char *path, struct weir_err *err)
{
	return tree_say(t, t->ops->unlink(t, path), path, err);
}

enum weir_code
weir_tree_rmdir(struct weir_tree *t, const char *path, struct weir_err *err)
{
	return tree_say(t, t->ops->rmdir(t, path), path, err);
}

enum weir_code
weir_tree_rename(struct weir_tree *t, const char *from, const char *to, uint32_t flags, struct weir_err *err)
{
	return tree_say(t, t->ops->rename(t, from, to, flags), to, err);
}

enum weir_code
weir_tree_set(struct weir_tree *t, const char *path, uint32_t mask, uint32_t mode, int64_t mtime_ns, struct weir_err *err)
{
	return tree_say(t, t->ops->set(t, path, mask, mode, mtime_ns), path, err);
}

enum weir_code
weir_tree_room(struct weir_tree *t, const char *path, uint64_t *free_bytes, struct weir_err *err)
{
	return tree_say(t, t->ops->room(t, path, free_bytes), path, err);
}

enum weir_code
weir_tree_open_file(struct weir_tree *t, const char *path, int flags, uint32_t mode, struct weir_tree_file **out, struct weir_err *err)
{
	struct weir_tree_file *f = weir_xcalloc(1, sizeof(*f));
	enum weir_code r;

	f->t = t;
	f->path = weir_xstrdup(path);
	f->fd = -1;
	r = t->ops->open(f, flags, mode);
	if (r) {
		free(f->path);
		free(f);
		return tree_say(t, r, path, err);
	}
	*out = f;
	return WEIR_OK;
}

enum weir_code
weir_tree_read(struct weir_tree_file *f, void *buf, size_t len, uint64_t off, size_t *got, struct weir_err *err)
{
	return tree_say(f->t, f->t->ops->read(f, buf, len, off, got), f->path, err);
}

enum weir_code
weir_tree_write(struct weir_tree_file *f, const void *buf, size_t len, uint64_t off, struct weir_err *err)
{
	return tree_say(f->t, f->t->ops->write(f, buf, len, off), f->path, err);
}

enum weir_code
weir_tree_close_file(struct weir_tree_file *f, struct weir_err *err)
{
	enum weir_code r;

	if (f == NULL)
		return WEIR_OK;
	r = tree_say(f->t, f->t->ops->close(f), f->path, err);
	free(f->path);
	free(f);
	return r;
}

enum weir_code
weir_tree_flush(struct weir_tree *t, const char *path, bool (*progress)(void *, const struct weir_flush_progress *), void *arg, struct weir_err *err)
{
	return t->ops->flush(t, path, progress, arg, err);
}

void
weir_tree_refresh(struct weir_tree *t, const char *path)
{
	t->ops->refresh(t, path);
}

enum weir_code
weir_tree_prefetch(struct weir_tree *t, const char *path, struct weir_err *err)
{
	return tree_say(t, t->ops->prefetch(t, path), path, err);
}

void
weir_tree_conflict_name(const char *name, char out[256])
{
	weir_conflict_name(name, out);
}
