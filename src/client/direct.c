/* SPDX-License-Identifier: Apache-2.0 */
/* A tree without a kernel: requests to fs/, each to its end. Paths are walked here, name by name, as the kernel would. */
#include "config.h"

#include "impl.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../util/buf.h"
#include "../util/text.h"

#define DIRECT_LINKS 40		/* as the kernel's */
#define DIRECT_LINK_MAX 4096
#define DIRECT_PATH_MAX (64u << 10)
#define DIRECT_WATCH_MS 100	/* how often a waiting call looks whether it is still wanted */

struct direct_wait {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool is_done;
	enum weir_code code;
};

static void
direct_done(struct weir_op *op, enum weir_code code)
{
	struct direct_wait *w = op->front;

	pthread_mutex_lock(&w->lock);
	w->is_done = true;
	w->code = code;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

/* The op lives on our stack: whatever happens, we stay until done() was called. */
static enum weir_code
direct_wait(struct weir_tree *t, struct weir_op *op, struct direct_wait *w)
{
	enum weir_code r;

	pthread_mutex_lock(&w->lock);
	while (!w->is_done) {
		struct timespec ts;

		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_nsec += DIRECT_WATCH_MS * 1000000L;
		ts.tv_sec += ts.tv_nsec / 1000000000L;
		ts.tv_nsec %= 1000000000L;
		if (pthread_cond_timedwait(&w->cond, &w->lock, &ts) == ETIMEDOUT && !w->is_done && weir_tree_is_canceled(t)) {
			/* Again each time: the request may just be running. done() takes our lock. */
			pthread_mutex_unlock(&w->lock);
			weir_fs_cancel(t->fs, op);
			pthread_mutex_lock(&w->lock);
		}
	}
	r = w->code;
	pthread_mutex_unlock(&w->lock);
	return r;
}

static enum weir_code
direct_call(struct weir_tree *t, struct weir_op *op)
{
	struct direct_wait w = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
	enum weir_code r;

	op->done = direct_done;
	op->front = &w;
	op->uid = geteuid();
	op->gid = getegid();
	op->pid = getpid();
	r = weir_fs_submit(t->fs, op);
	if (r == WEIR_PENDING)
		r = direct_wait(t, op, &w);
	pthread_cond_destroy(&w.cond);
	pthread_mutex_destroy(&w.lock);
	return r;
}

/* ---- paths ---- */

static enum weir_code
direct_attr(struct weir_tree *t, uint64_t ino, struct weir_attr *attr)
{
	struct weir_op op = {.kind = WEIR_OP_GETATTR, .ino = ino};
	enum weir_code r = direct_call(t, &op);

	if (r == WEIR_OK)
		*attr = op.attr;
	return r;
}

static enum weir_code
direct_link(struct weir_tree *t, uint64_t ino, char **out)
{
	WEIR_AUTO(weir_freep) char *buf = weir_xcalloc(1, DIRECT_LINK_MAX + 1);
	struct weir_op op = {.kind = WEIR_OP_READLINK, .ino = ino, .buf = buf, .len = DIRECT_LINK_MAX};
	enum weir_code r = direct_call(t, &op);

	if (r)
		return r;
	buf[op.result] = '\0';
	*out = WEIR_STEAL(buf);
	return WEIR_OK;
}

/* What is still to be walked when a link is met: the folders above it are known by number, so only its target and the rest stand in the text. */
struct direct_walk {
	uint64_t *dirs;		/* from the root to where we are */
	size_t n;
	unsigned links;
	struct weir_attr attr;
};

static enum weir_code
direct_step(struct weir_tree *t, struct direct_walk *w, const char *name)
{
	struct weir_op op = {.kind = WEIR_OP_LOOKUP, .ino = w->dirs[w->n - 1], .name = name};
	enum weir_code r;

	if (strcmp(name, "..") == 0) {
		if (w->n > 1)
			w->n--;
		return direct_attr(t, w->dirs[w->n - 1], &w->attr);
	}
	r = direct_call(t, &op);
	if (r == WEIR_OK)
		w->attr = op.attr;
	return r;
}

/* Walks `path` from where w stands; at its end w->attr is what it names, and w->dirs its folders. */
static enum weir_code
direct_walk(struct weir_tree *t, struct direct_walk *w, const char *path, bool follow)
{
	WEIR_AUTO(weir_freep) char *rest = weir_xstrdup(path);
	char *p = rest + strspn(rest, "/");
	enum weir_code r;

	while (*p != '\0') {
		size_t len = strcspn(p, "/"), gap = strspn(p + len, "/");
		bool is_last = p[len + gap] == '\0';
		WEIR_AUTO(weir_freep) char *name = weir_xstrndup(p, len);

		p += len + gap;
		if (strcmp(name, ".") == 0)
			continue;
		r = direct_step(t, w, name);
		if (r)
			return r;
		if (S_ISLNK(w->attr.mode) && (!is_last || follow)) {
			WEIR_AUTO(weir_freep) char *target = NULL, *joined = NULL;

			r = direct_link(t, w->attr.ino, &target);
			if (r)
				return r;
			if (target[0] == '/')
				return WEIR_E_XDEV;
			if (++w->links > DIRECT_LINKS || strlen(target) + strlen(p) > DIRECT_PATH_MAX)
				return WEIR_E_LOOP;
			joined = weir_path_join(target, p);
			free(rest);
			rest = WEIR_STEAL(joined);
			p = rest;
			continue;
		}
		if (is_last)
			return WEIR_OK;
		if (!S_ISDIR(w->attr.mode))
			return WEIR_E_NOTDIR;
		if (strcmp(name, "..") != 0) {
			w->dirs = weir_xrealloc(w->dirs, w->n + 1, sizeof(*w->dirs));
			w->dirs[w->n++] = w->attr.ino;
		}
	}
	/* a path that ends in the folder we stand in: "/", or a link to ".." */
	return direct_attr(t, w->dirs[w->n - 1], &w->attr);
}

static enum weir_code
direct_stat(struct weir_tree *t, const char *path, bool follow, struct weir_attr *attr)
{
	struct direct_walk w = {.dirs = weir_xcalloc(1, sizeof(uint64_t)), .n = 1};
	enum weir_code r;

	w.dirs[0] = WEIR_ROOT;
	r = direct_walk(t, &w, path, follow);
	free(w.dirs);
	if (r == WEIR_OK)
		*attr = w.attr;
	return r;
}

/* The folder of a path, and its last name, for what makes or removes names. "/" has none: EXIST. */
static enum weir_code
direct_parent(struct weir_tree *t, const char *path, uint64_t *dir, const char **name)
{
	const char *slash = strrchr(path, '/');
	WEIR_AUTO(weir_freep) char *up = NULL;
	struct weir_attr attr;
	enum weir_code r;

	if (slash == NULL || slash[1] == '\0')
		return WEIR_E_EXIST;
	up = weir_xstrndup(path, (size_t)(slash - path));
	r = direct_stat(t, up, true, &attr);
	if (r)
		return r;
	if (!S_ISDIR(attr.mode))
		return WEIR_E_NOTDIR;
	*dir = attr.ino;
	*name = slash + 1;
	return WEIR_OK;
}

static enum weir_code
direct_named(struct weir_tree *t, struct weir_op *op, const char *path)
{
	enum weir_code r = direct_parent(t, path, &op->ino, &op->name);

	return r != WEIR_OK ? r : direct_call(t, op);
}

/* ---- names ---- */

struct direct_list {
	weir_tree_entry_fn fn;
	void *arg;
	int stop;
};

static int
direct_emit(struct weir_op *op, const char *name, const struct weir_attr *attr, uint64_t cookie)
{
	struct direct_list *l = op->buf;

	(void)cookie;
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return 0;
	l->stop = l->fn(l->arg, name, attr);
	return l->stop;
}

/* One request tells a folder whole: emit is called for every entry while the store's lock is held, so fn may only note them. */
static enum weir_code
direct_list(struct weir_tree *t, const char *path, weir_tree_entry_fn fn, void *arg)
{
	struct direct_list l = {.fn = fn, .arg = arg};
	struct weir_op op = {.kind = WEIR_OP_READDIR, .emit = direct_emit, .buf = &l};
	struct weir_attr attr;
	enum weir_code r = direct_stat(t, path, true, &attr);

	if (r)
		return r;
	op.ino = attr.ino;
	return direct_call(t, &op);
}

static enum weir_code
direct_readlink(struct weir_tree *t, const char *path, char **out)
{
	struct weir_attr attr;
	enum weir_code r = direct_stat(t, path, false, &attr);

	if (r)
		return r;
	return S_ISLNK(attr.mode) ? direct_link(t, attr.ino, out) : WEIR_E_INVAL;
}

static enum weir_code
direct_mkdir(struct weir_tree *t, const char *path, uint32_t mode)
{
	struct weir_op op = {.kind = WEIR_OP_MKDIR, .mode = mode};

	return direct_named(t, &op, path);
}

static enum weir_code
direct_symlink(struct weir_tree *t, const char *path, const char *target)
{
	struct weir_op op = {.kind = WEIR_OP_SYMLINK, .name2 = target};

	return direct_named(t, &op, path);
}

static enum weir_code
direct_unlink(struct weir_tree *t, const char *path)
{
	struct weir_op op = {.kind = WEIR_OP_UNLINK};

	return direct_named(t, &op, path);
}

static enum weir_code
direct_rmdir(struct weir_tree *t, const char *path)
{
	struct weir_op op = {.kind = WEIR_OP_RMDIR};

	return direct_named(t, &op, path);
}

static enum weir_code
direct_rename(struct weir_tree *t, const char *from, const char *to, uint32_t flags)
{
	struct weir_op op = {.kind = WEIR_OP_RENAME, .flags = flags};
	enum weir_code r = direct_parent(t, to, &op.ino2, &op.name2);

	return r != WEIR_OK ? r : direct_named(t, &op, from);
}

static enum weir_code
direct_set(struct weir_tree *t, const char *path, uint32_t mask, uint32_t mode, int64_t mtime_ns)
{
	struct weir_op op = {.kind = WEIR_OP_SETATTR, .set_mask = mask, .set = {.mode = mode, .mtime_ns = mtime_ns}};
	struct weir_attr attr;
	enum weir_code r = direct_stat(t, path, false, &attr);

	if (r)
		return r;
	op.ino = attr.ino;
	return direct_call(t, &op);
}

static enum weir_code
direct_room(struct weir_tree *t, const char *path, uint64_t *free_bytes)
{
	struct weir_op op = {.kind = WEIR_OP_STATFS};
	struct weir_attr attr;
	enum weir_code r = direct_stat(t, path, true, &attr);

	if (r)
		return r;
	op.ino = attr.ino;
	r = direct_call(t, &op);
	if (r == WEIR_OK)
		*free_bytes = op.statfs.bavail * op.statfs.bsize;
	return r;
}

/* ---- files ---- */

static enum weir_code
direct_open_there(struct weir_tree_file *f, const struct weir_attr *attr, int flags)
{
	struct weir_op op = {.kind = WEIR_OP_OPEN, .ino = attr->ino, .flags = (uint32_t)flags};
	enum weir_code r;

	if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
		return WEIR_E_EXIST;
	if (S_ISLNK(attr->mode))
		return WEIR_E_LOOP;
	if (S_ISDIR(attr->mode))
		return WEIR_E_ISDIR;
	if (!S_ISREG(attr->mode))
		return WEIR_E_NOTSUP;
	r = direct_call(f->t, &op);
	f->ino = attr->ino;
	f->fh = op.fh;
	return r;
}

static enum weir_code
direct_open(struct weir_tree_file *f, int flags, uint32_t mode)
{
	struct weir_op op = {.kind = WEIR_OP_CREATE, .mode = mode, .flags = (uint32_t)flags};
	struct weir_attr attr;
	enum weir_code r = direct_stat(f->t, f->path, (flags & O_NOFOLLOW) == 0, &attr);

	if (r == WEIR_OK)
		return direct_open_there(f, &attr, flags);
	if (r != WEIR_E_NOENT || (flags & O_CREAT) == 0)
		return r;
	r = direct_named(f->t, &op, f->path);
	f->ino = op.attr.ino;
	f->fh = op.fh;
	return r;
}

static enum weir_code
direct_read(struct weir_tree_file *f, void *buf, size_t len, uint64_t off, size_t *got)
{
	struct weir_op op = {.kind = WEIR_OP_READ, .ino = f->ino, .fh = f->fh, .buf = buf, .len = len, .off = off};
	enum weir_code r = direct_call(f->t, &op);

	*got = r == WEIR_OK ? op.result : 0;
	return r;
}

static enum weir_code
direct_write(struct weir_tree_file *f, const void *buf, size_t len, uint64_t off)
{
	while (len > 0) {
		/* fs/ reads from it only */
		struct weir_op op = {.kind = WEIR_OP_WRITE, .ino = f->ino, .fh = f->fh, .buf = (void *)(uintptr_t)buf, .len = len, .off = off};
		enum weir_code r = direct_call(f->t, &op);

		if (r)
			return r;
		if (op.result == 0)
			return WEIR_E_IO;
		buf = (const char *)buf + op.result;
		off += op.result;
		len -= op.result;
	}
	return WEIR_OK;
}

static enum weir_code
direct_close(struct weir_tree_file *f)
{
	struct weir_op op = {.kind = WEIR_OP_FLUSH, .ino = f->ino, .fh = f->fh};
	enum weir_code r = direct_call(f->t, &op);

	op = (struct weir_op){.kind = WEIR_OP_RELEASE, .ino = f->ino, .fh = f->fh};
	direct_call(f->t, &op);
	return r;
}

/* ---- the rest ---- */

struct direct_flush {
	struct weir_tree *t;
	bool (*progress)(void *, const struct weir_flush_progress *);
	void *arg;
};

static bool
direct_flush_progress(void *arg, const struct weir_flush_progress *p)
{
	struct direct_flush *f = arg;

	return !weir_tree_is_canceled(f->t) && (f->progress == NULL || f->progress(f->arg, p));
}

static enum weir_code
direct_flush(struct weir_tree *t, const char *path, bool (*progress)(void *, const struct weir_flush_progress *), void *arg, struct weir_err *err)
{
	struct direct_flush f = {.t = t, .progress = progress, .arg = arg};
	enum weir_code r = weir_fs_flush(t->fs, path, direct_flush_progress, &f, err);
	WEIR_AUTO(weir_freep) char *remote = NULL;
	struct weir_err other = {0};

	/* What an earlier process left unsent of this remote goes too: cut off at the end of each short use, it might never be sent. If it fails that is not this
	 * caller's failure. */
	if (r == WEIR_OK && t->is_by_remote && strchr(path + 1, '/') != NULL) {
		remote = weir_xstrndup(path, (size_t)(strchr(path + 1, '/') - path));
		(void)weir_fs_flush(t->fs, remote, direct_flush_progress, &f, &other);
	}
	return r;
}

static void
direct_refresh(struct weir_tree *t, const char *path)
{
	WEIR_AUTO(weir_freep) char *up = weir_xstrdup(path);
	char *slash;

	/* The folder that holds it: it tells what a file is now, and whether a folder is still there. What is not known yet was made meanwhile, further up. */
	do {
		slash = strrchr(up, '/');
		if (slash == NULL)
			return;
		slash[slash == up] = '\0';
	} while (weir_fs_refresh(t->fs, up, NULL) != WEIR_OK && strcmp(up, "/") != 0);
}

static enum weir_code
direct_prefetch(struct weir_tree *t, const char *path)
{
	struct weir_op op = {.kind = WEIR_OP_PREFETCH};
	struct weir_attr attr;
	enum weir_code r = direct_stat(t, path, true, &attr);

	if (r)
		return r;
	if (!S_ISREG(attr.mode))
		return S_ISDIR(attr.mode) ? WEIR_E_ISDIR : WEIR_E_NOTSUP;
	op.ino = attr.ino;
	return direct_call(t, &op);
}

bool
weir_tree_direct_why(struct weir_tree *t, const char *path, char out[256])
{
	const char *name = path + strspn(path, "/");
	size_t len = strcspn(name, "/");
	struct weir_status st = {0};

	out[0] = '\0';
	weir_fs_status(t->fs, &st);
	for (size_t i = 0; i < st.nremotes; i++) {
		const struct weir_remote_status *r = &st.remotes[i];
		bool is_it = t->is_by_remote ? strlen(r->name) == len && strncmp(r->name, name, len) == 0 : true;

		if (is_it && r->error[0] != '\0' && strcmp(r->state, "up") != 0 && out[0] == '\0')
			snprintf(out, 256, "%s", r->error);
	}
	weir_status_free(&st);
	return out[0] != '\0';
}

const struct weir_tree_ops weir_tree_ops_direct = {
    .stat = direct_stat,
    .list = direct_list,
    .readlink = direct_readlink,
    .mkdir = direct_mkdir,
    .symlink = direct_symlink,
    .unlink = direct_unlink,
    .rmdir = direct_rmdir,
    .rename = direct_rename,
    .set = direct_set,
    .room = direct_room,
    .open = direct_open,
    .read = direct_read,
    .write = direct_write,
    .close = direct_close,
    .flush = direct_flush,
    .refresh = direct_refresh,
    .prefetch = direct_prefetch,
};
