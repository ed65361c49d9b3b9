/* SPDX-License-Identifier: Apache-2.0 */
/* The storage "local": a folder of this machine (or of anything mounted on it). Symlinks are kept as such and never followed on
 * the way to a file: every path is walked from the root folder, one component at a time. A version is modification time,
 * size and inode. Replacing is a temporary file, fsync and rename; what that leaves after a crash is hidden and swept. */
#include "config.h"

#include "backend.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "../src/util/util.h"

extern const struct weir_backend_ops weir_backend_local;

#define LOCAL_TEMP ".weir-tmp-"
#define LOCAL_TEMP_AGE_S 3600		/* an older one is nobody's any more */
#define LOCAL_PIECE (1u << 20)
#define LOCAL_CONNECTIONS 8

struct local {
	struct weir_backend base;
	char *root;
	atomic_bool was_there;		/* probed once: from then on its absence means "away" */
	atomic_ullong fsid;		/* of the file system it was on then */
	atomic_ullong requests, bytes_in, bytes_out;
};

/* ---- paths ---- */

/* Which file system: made of its UUID where it has one, so that a disk that comes back is the same. */
static unsigned long long
local_fsid(int fd)
{
	unsigned long long id = 0;
	struct statfs sf;

	_Static_assert(sizeof(sf.f_fsid) <= sizeof(id), "fsid");
	if (fstatfs(fd, &sf) == 0)
		memcpy(&id, &sf.f_fsid, sizeof(sf.f_fsid));
	return id;
}

/* The root, opened anew each time: it may be a mount point that comes and goes. Its absence is not the absence of a file, and the bare folder under a
 * disk that was taken away is not an empty disk. */
static enum weir_code
local_root(struct local *l, int *fd, struct weir_err *err)
{
	*fd = open(l->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*fd >= 0 && (!atomic_load(&l->was_there) || local_fsid(*fd) == atomic_load(&l->fsid)))
		return WEIR_OK;
	if (*fd >= 0) {
		close(*fd);
		*fd = -1;
		return weir_err_set(err, WEIR_E_DOWN, "folder '%s' lies on another file system than before; is its disk mounted", l->root);
	}
	if (errno == ENOENT || errno == ENOTDIR)
		return weir_err_set(err, WEIR_E_DOWN, "folder '%s' is not there now", l->root);
	return weir_err_errno(err, errno, "folder '%s'", l->root);
}

/* The folder that holds path, and path's last component ("." for the root itself). Symlinks in between are NOTDIR. */
static enum weir_code
local_parent(struct local *l, const char *path, int *dirfd, const char **leaf, struct weir_err *err)
{
	const char *p = path;
	WEIR_AUTO(weir_closep) int fd = -1;
	enum weir_code r = local_root(l, &fd, err);

	atomic_fetch_add_explicit(&l->requests, 1, memory_order_relaxed);
	if (r)
		return r;
	for (const char *slash = strchr(p, '/'); slash; p = slash + 1, slash = strchr(p, '/')) {
		WEIR_AUTO(weir_freep) char *name = weir_xstrndup(p, (size_t)(slash - p));
		int next;

		if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
			return weir_err_set(err, WEIR_E_INVAL, "'%s' is not a path", path);
		next = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return weir_err_errno(err, errno == ELOOP ? ENOTDIR : errno, "'%s'", path);
		close(fd);
		fd = next;
	}
	if (strcmp(p, "..") == 0 || (!*p && *path) || strcmp(p, ".") == 0)
		return weir_err_set(err, WEIR_E_INVAL, "'%s' is not a path", path);
	*leaf = *p ? p : ".";
	*dirfd = fd;
	fd = -1;	/* the caller's now */
	return WEIR_OK;
}

static bool
local_is_temp(const char *name)
{
	return strncmp(name, LOCAL_TEMP, strlen(LOCAL_TEMP)) == 0;
}

/* ---- what is there ---- */

static char *
local_version(const struct stat *s)
{
	return weir_xasprintf("%lld-%lld-%llu", (long long)s->st_mtim.tv_sec * 1000000000LL + s->st_mtim.tv_nsec, (long long)s->st_size,
	    (unsigned long long)s->st_ino);
}

/* false: a FIFO, socket or device, which a storage does not hold. */
static bool
local_fill(struct local *l, const struct stat *s, struct weir_stat *st)
{
	(void)l;
	*st = (struct weir_stat){ .mtime_ns = (int64_t)s->st_mtim.tv_sec * 1000000000 + s->st_mtim.tv_nsec,
		.mode = (uint32_t)s->st_mode & 07777, .size = (uint64_t)s->st_size };
	if (S_ISREG(s->st_mode))
		st->type = WEIR_FILE;
	else if (S_ISDIR(s->st_mode))
		st->type = WEIR_DIR;
	else if (S_ISLNK(s->st_mode))
		st->type = WEIR_LINK;
	else
		return false;
	if (st->type == WEIR_DIR)
		st->size = 0;
	else
		st->version = local_version(s);
	return true;
}

static enum weir_code
local_look(struct local *l, int dirfd, const char *leaf, const char *path, struct weir_stat *st, struct weir_err *err)
{
	struct stat s;

	if (fstatat(dirfd, leaf, &s, AT_SYMLINK_NOFOLLOW))
		return weir_err_errno(err, errno, "'%s'", path);
	if (local_is_temp(leaf) || !local_fill(l, &s, st))
		return weir_err_set(err, WEIR_E_NOENT, "'%s' is no file, folder or symlink", path);
	return WEIR_OK;
}

/* Is what is there what where->version names? ABSENT: it must not be there. */
static enum weir_code
local_compare(struct local *l, int dirfd, const char *leaf, const struct weir_where *w, struct weir_stat *st, struct weir_err *err)
{
	enum weir_code r = local_look(l, dirfd, leaf, w->path, st, err);

	if (w->version == WEIR_ABSENT) {
		if (r == WEIR_E_NOENT)
			return WEIR_OK;
		return r ? r : weir_err_set(err, WEIR_E_CHANGED, "'%s' is there already", w->path);
	}
	if (r == WEIR_E_NOENT && !w->version)
		return WEIR_OK;
	if (r == WEIR_E_NOENT)
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' is gone", w->path);
	if (!r && w->version && st->type != WEIR_DIR && strcmp(w->version, st->version) != 0)
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' has another version now", w->path);
	return r;
}

static enum weir_code
local_stat(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, struct weir_stat *st, struct weir_err *err)
{
	struct local *l = (struct local *)b;
	WEIR_AUTO(weir_closep) int dirfd = -1;
	const char *leaf;
	enum weir_code r = local_parent(l, w->path, &dirfd, &leaf, err);

	(void)ctx;
	return r ? r : local_look(l, dirfd, leaf, w->path, st, err);
}

static enum weir_code
local_opendir(struct local *l, const char *path, DIR **out, struct weir_err *err)
{
	WEIR_AUTO(weir_closep) int dirfd = -1;
	const char *leaf;
	int fd;
	enum weir_code r = local_parent(l, path, &dirfd, &leaf, err);

	if (r)
		return r;
	fd = openat(dirfd, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return weir_err_errno(err, errno == ELOOP ? ENOTDIR : errno, "'%s'", path);
	*out = fdopendir(fd);
	if (!*out) {
		r = weir_err_errno(err, errno, "'%s'", path);
		close(fd);
	}
	return r;
}

static enum weir_code
local_list(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, unsigned flags, weir_list_fn *fn, void *arg,
    char **self_version, struct weir_err *err)
{
	struct local *l = (struct local *)b;
	struct dirent *e;
	DIR *dir;
	enum weir_code r;

	if (self_version)
		*self_version = NULL;
	if (flags & WEIR_LIST_DEEP)
		return weir_err_set(err, WEIR_E_NOTSUP, "folders are listed one at a time");
	r = local_opendir(l, w->path, &dir, err);
	if (r)
		return r;
	while (!r && (errno = 0, e = readdir(dir))) {
		struct weir_stat st;
		struct stat s;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || local_is_temp(e->d_name))
			continue;
		if (ctx && ctx->cancel && atomic_load(&ctx->cancel->is_set)) {
			r = WEIR_E_CANCELED;
			break;
		}
		if (fstatat(dirfd(dir), e->d_name, &s, AT_SYMLINK_NOFOLLOW) || !local_fill(l, &s, &st))
			continue;	/* gone meanwhile, or nothing a storage holds */
		st.path = weir_xstrdup(e->d_name);
		r = fn(arg, &st, err);
		weir_stat_free(&st);
	}
	if (!r && errno)
		r = weir_err_errno(err, errno, "'%s'", w->path);
	closedir(dir);
	return r;
}

/* ---- bytes ---- */

static enum weir_code
local_get_link(struct local *l, int dirfd, const char *leaf, const struct weir_where *w, uint64_t off, uint64_t len, struct weir_sink *sink,
    struct weir_err *err)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(dirfd, leaf, target, sizeof(target));

	if (n < 0)
		return weir_err_errno(err, errno, "'%s'", w->path);
	if (off >= (uint64_t)n || !len)
		return WEIR_OK;
	if (len > (uint64_t)n - off)
		len = (uint64_t)n - off;
	atomic_fetch_add_explicit(&l->bytes_in, len, memory_order_relaxed);
	return sink->write(sink, target + off, (size_t)len);
}

static enum weir_code
local_send(struct local *l, const struct weir_ctx *ctx, int fd, const char *path, uint64_t off, uint64_t len, struct weir_sink *sink,
    struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *buf = weir_xcalloc(1, LOCAL_PIECE);
	enum weir_code r = WEIR_OK;

	while (len && !r && off <= INT64_MAX) {
		ssize_t n;

		if (ctx && ctx->cancel && atomic_load(&ctx->cancel->is_set))
			return WEIR_E_CANCELED;
		n = weir_pread_full(fd, buf, len < LOCAL_PIECE ? (size_t)len : LOCAL_PIECE, (off_t)off);
		if (n < 0)
			return weir_err_errno(err, errno, "'%s'", path);
		if (n == 0)
			break;
		r = sink->write(sink, buf, (size_t)n);
		off += (uint64_t)n;
		len -= (uint64_t)n;
		atomic_fetch_add_explicit(&l->bytes_in, (uint64_t)n, memory_order_relaxed);
	}
	return r;
}

static enum weir_code
local_get_open(struct local *l, int dirfd, const char *leaf, const struct weir_where *w, int *fd, struct weir_stat *st, struct weir_err *err)
{
	struct stat s;

	/* NONBLOCK: a FIFO that took the name must not hold us. */
	*fd = openat(dirfd, leaf, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (*fd < 0 || fstat(*fd, &s))
		return weir_err_errno(err, errno, "'%s'", w->path);
	if (!local_fill(l, &s, st) || st->type != WEIR_FILE)
		return weir_err_set(err, st->type == WEIR_DIR ? WEIR_E_ISDIR : WEIR_E_NOENT, "'%s' is no file", w->path);
	if (w->version && strcmp(w->version, st->version) != 0)
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' has another version now", w->path);
	return WEIR_OK;
}

/* Somebody may write into the file in place while it is read: then the bytes are of no version. */
static enum weir_code
local_get_recheck(int fd, const struct weir_where *w, struct weir_err *err)
{
	struct stat s;
	WEIR_AUTO(weir_freep) char *now = NULL;

	if (!w->version || fstat(fd, &s))
		return WEIR_OK;
	now = local_version(&s);
	return strcmp(now, w->version) == 0 ? WEIR_OK : weir_err_set(err, WEIR_E_CHANGED, "'%s' changed while it was read", w->path);
}

static enum weir_code
local_get(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, uint64_t off, uint64_t len, struct weir_sink *sink,
    struct weir_stat *out, struct weir_err *err)
{
	struct local *l = (struct local *)b;
	WEIR_AUTO(weir_closep) int dirfd = -1;
	WEIR_AUTO(weir_closep) int fd = -1;
	struct weir_stat own = { 0 };
	struct weir_stat *st = out ? out : &own;
	const char *leaf;
	enum weir_code r = local_parent(l, w->path, &dirfd, &leaf, err);

	if (r)
		return r;
	r = local_look(l, dirfd, leaf, w->path, st, err);
	if (!r && st->type == WEIR_DIR)
		r = weir_err_set(err, WEIR_E_ISDIR, "'%s' is a folder", w->path);
	if (!r && w->version && strcmp(w->version, st->version) != 0)
		r = weir_err_set(err, WEIR_E_CHANGED, "'%s' has another version now", w->path);
	if (!r && st->type == WEIR_LINK) {
		r = local_get_link(l, dirfd, leaf, w, off, len, sink, err);
	} else if (!r) {
		weir_stat_free(st);
		r = local_get_open(l, dirfd, leaf, w, &fd, st, err);
		if (!r)
			r = local_send(l, ctx, fd, w->path, off, len, sink, err);
		if (!r)
			r = local_get_recheck(fd, w, err);
	}
	if (r || !out)
		weir_stat_free(st);
	return r;
}

static enum weir_code
local_receive(struct local *l, const struct weir_ctx *ctx, int fd, struct weir_source *src, uint64_t size, const char *path, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *buf = weir_xcalloc(1, LOCAL_PIECE);
	uint64_t off = 0;

	while (off < size) {
		size_t want = size - off < LOCAL_PIECE ? (size_t)(size - off) : LOCAL_PIECE;
		ssize_t n;

		if (ctx && ctx->cancel && atomic_load(&ctx->cancel->is_set))
			return WEIR_E_CANCELED;
		n = src->read(src, buf, want, off);
		if (n <= 0)
			return weir_err_set(err, WEIR_E_IO, "'%s': what is to be written ends early", path);
		if (weir_pwrite_full(fd, buf, (size_t)n, (off_t)off))
			return weir_err_errno(err, errno, "write '%s'", path);
		off += (uint64_t)n;
		atomic_fetch_add_explicit(&l->bytes_out, (uint64_t)n, memory_order_relaxed);
	}
	return WEIR_OK;
}

static struct timespec
local_time(int64_t ns)
{
	struct timespec t = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	if (t.tv_nsec < 0) {
		t.tv_sec--;
		t.tv_nsec += 1000000000;
	}
	return t;
}

static enum weir_code
local_times(int fd, int dirfd, const char *leaf, const struct weir_meta *meta, const char *path, struct weir_err *err)
{
	struct timespec t[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_OMIT } };

	if (!meta || meta->mtime_ns == WEIR_TIME_NONE)
		return WEIR_OK;
	t[1] = local_time(meta->mtime_ns);
	if (fd >= 0 ? futimens(fd, t) : utimensat(dirfd, leaf, t, AT_SYMLINK_NOFOLLOW))
		return weir_err_errno(err, errno, "set the time of '%s'", path);
	return WEIR_OK;
}

/* The new content, complete and synced, under a temporary name beside its place. old: what it replaces, for its mode. */
static enum weir_code
local_put_temp(struct local *l, const struct weir_ctx *ctx, int dirfd, const char *temp, struct weir_source *src, uint64_t size,
    const struct weir_meta *meta, const struct weir_stat *old, const char *path, struct weir_err *err)
{
	WEIR_AUTO(weir_closep) int fd = openat(dirfd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
	uint32_t mode = meta && meta->mode != WEIR_MODE_NONE ? meta->mode : old->type == WEIR_FILE ? old->mode : WEIR_MODE_NONE;
	enum weir_code r;

	if (fd < 0)
		return weir_err_errno(err, errno, "make '%s'", path);
	r = local_receive(l, ctx, fd, src, size, path, err);
	if (!r && mode != WEIR_MODE_NONE && fchmod(fd, (mode_t)mode & 07777))
		r = weir_err_errno(err, errno, "set the mode of '%s'", path);
	if (!r)
		r = local_times(fd, -1, NULL, meta, path, err);
	if (!r && fsync(fd))
		r = weir_err_errno(err, errno, "sync '%s'", path);
	return r;
}

static enum weir_code
local_put_link(int dirfd, const char *temp, struct weir_source *src, uint64_t size, const struct weir_meta *meta, const char *path,
    struct weir_err *err)
{
	char target[PATH_MAX];
	uint64_t off = 0;

	if (!size || size >= sizeof(target))
		return weir_err_set(err, WEIR_E_NAMETOOLONG, "'%s': the target is too long for a symlink", path);
	while (off < size) {
		ssize_t n = src->read(src, target + off, (size_t)(size - off), off);

		if (n <= 0)
			return weir_err_set(err, WEIR_E_IO, "'%s': what is to be written ends early", path);
		off += (uint64_t)n;
	}
	target[size] = '\0';
	if (symlinkat(target, dirfd, temp))
		return weir_err_errno(err, errno, "make '%s'", path);
	return local_times(-1, dirfd, temp, meta, path, err);
}

/* fsync of the folder, which is open with O_PATH only. */
static void
local_sync_dir(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
}

/* Into its place. With ABSENT the kernel itself refuses to replace. */
static enum weir_code
local_put_rename(int dirfd, const char *temp, const char *leaf, const struct weir_where *w, struct weir_err *err)
{
	unsigned flags = w->version == WEIR_ABSENT ? RENAME_NOREPLACE : 0;

	if (renameat2(dirfd, temp, dirfd, leaf, flags) == 0)
		return WEIR_OK;
	if (flags && (errno == EINVAL || errno == ENOSYS)) {	/* a file system without it: link refuses, too */
		if (linkat(dirfd, temp, dirfd, leaf, 0) == 0) {
			unlinkat(dirfd, temp, 0);
			return WEIR_OK;
		}
	}
	if (errno == EEXIST)
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' is there already", w->path);
	return weir_err_errno(err, errno, "put '%s' into its place", w->path);
}

static void
local_temp_name(char out[40])
{
	char hex[21];

	weir_random_hex(hex, 20);
	snprintf(out, 40, "%s%s", LOCAL_TEMP, hex);
}

static enum weir_code
local_check_name(const char *leaf, const char *path, struct weir_err *err)
{
	if (strlen(leaf) > NAME_MAX)
		return weir_err_set(err, WEIR_E_NAMETOOLONG, "'%s': names have %d bytes at most", path, NAME_MAX);
	if (local_is_temp(leaf))
		return weir_err_set(err, WEIR_E_NAME, "'%s': names that begin with '%s' are kept for weir itself", path, LOCAL_TEMP);
	if (strcmp(leaf, ".") == 0)
		return weir_err_set(err, WEIR_E_ISDIR, "the root is a folder");
	return WEIR_OK;
}

static enum weir_code
local_put(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, enum weir_type type, struct weir_source *src,
    uint64_t size, const struct weir_meta *meta, const char *sum, struct weir_stat *st, struct weir_err *err)
{
	struct local *l = (struct local *)b;
	WEIR_AUTO(weir_closep) int dirfd = -1;
	struct weir_stat old = { 0 }, now = { 0 };
	char temp[40];
	const char *leaf;
	enum weir_code r = local_parent(l, w->path, &dirfd, &leaf, err);

	(void)sum;
	if (!r)
		r = local_check_name(leaf, w->path, err);
	if (!r)
		r = local_compare(l, dirfd, leaf, w, &old, err);
	if (!r && old.type == WEIR_DIR)
		r = weir_err_set(err, WEIR_E_ISDIR, "'%s' is a folder", w->path);
	if (!r) {
		local_temp_name(temp);
		r = type == WEIR_LINK ? local_put_link(dirfd, temp, src, size, meta, w->path, err) :
		    local_put_temp(l, ctx, dirfd, temp, src, size, meta, &old, w->path, err);
		weir_stat_free(&old);
		if (!r)	/* the content took its time: once more, right before */
			r = local_compare(l, dirfd, leaf, w, &old, err);
		if (!r)
			r = local_look(l, dirfd, leaf, w->path, &now, NULL) == WEIR_OK && now.type == WEIR_DIR ?
			    weir_err_set(err, WEIR_E_ISDIR, "'%s' is a folder", w->path) :
			    local_put_rename(dirfd, temp, leaf, w, err);
		if (r)
			unlinkat(dirfd, temp, 0);
		else
			local_sync_dir(dirfd);
	}
	weir_stat_free(&now);
	weir_stat_free(&old);
	if (!r && st)
		r = local_look(l, dirfd, leaf, w->path, st, err);
	return r;
}

/* ---- names ---- */

static enum weir_code
local_mkdir(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, struct weir_stat *st, struct weir_err *err)
{
	struct local *l = (struct local *)b;
	WEIR_AUTO(weir_closep) int dirfd = -1;
	const char *leaf;
	enum weir_code r;

	(void)ctx;
	if (!*w->path)
		return weir_err_set(err, WEIR_E_EXIST, "the root is there already");
	r = local_parent(l, w->path, &dirfd, &leaf, err);
	if (!r)
		r = local_check_name(leaf, w->path, err);
	if (!r && mkdirat(dirfd, leaf, 0777))
		r = weir_err_errno(err, errno, "make folder '%s'", w->path);
	if (!r)
		local_sync_dir(dirfd);
	if (!r && st)
		r = local_look(l, dirfd, leaf, w->path, st, err);
	return r;
}

/* What a crash left of ours keeps a folder from being empty, unseen. true: something was swept. */
static bool
local_sweep(int dirfd, const char *leaf)
{
	int fd = openat(dirfd, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;
	bool is_swept = false;

	if (!dir) {
		weir_closep(&fd);
		return false;
	}
	while ((e = readdir(dir))) {
		struct stat s;

		if (local_is_temp(e->d_name) && fstatat(fd, e->d_name, &s, AT_SYMLINK_NOFOLLOW) == 0 &&
		    time(NULL) - s.st_ctime > LOCAL_TEMP_AGE_S && unlinkat(fd, e->d_name, 0) == 0)
			is_swept = true;
	}
	closedir(dir);
	return is_swept;
}

static enum weir_code
local_rmdir(int dirfd, const char *leaf, const char *path, struct weir_err *err)
{
	if (unlinkat(dirfd, leaf, AT_REMOVEDIR) == 0)
		return WEIR_OK;
	if ((errno == ENOTEMPTY || errno == EEXIST) && local_sweep(dirfd, leaf) && unlinkat(dirfd, leaf, AT_REMOVEDIR) == 0)
		return WEIR_OK;
	return weir_err_errno(err, errno == EEXIST ? ENOTEMPTY : errno, "remove folder '%s'", path);
}

static enum weir_code
local_remove(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, bool is_dir, struct weir_err *err)
{
	struct local *l = (struct local *)b;
	WEIR_AUTO(weir_closep) int dirfd = -1;
	struct weir_stat st = { 0 };
	const char *leaf;
	enum weir_code r;

	(void)ctx;
	if (!*w->path)
		return weir_err_set(err, WEIR_E_BUSY, "the root folder stays");
	r = local_parent(l, w->path, &dirfd, &leaf, err);
	if (!r)
		r = local_look(l, dirfd, leaf, w->path, &st, err);
	if (!r && is_dir != (st.type == WEIR_DIR))
		r = weir_err_set(err, is_dir ? WEIR_E_NOTDIR : WEIR_E_ISDIR, "'%s' is a %s", w->path, is_dir ? "file" : "folder");
	if (!r && !is_dir && w->version && w->version != WEIR_ABSENT && strcmp(w->version, st.version) != 0)
		r = weir_err_set(err, WEIR_E_CHANGED, "'%s' has another version now", w->path);
	weir_stat_free(&st);
	if (!r && is_dir)
		r = local_rmdir(dirfd, leaf, w->path, err);
	else if (!r && unlinkat(dirfd, leaf, 0))
		r = weir_err_errno(err, errno, "remove '%s'", w->path);
	if (!r)
		local_sync_dir(dirfd);
	return r;
}

/* `from` is gone: was it we, and the reply was lost with a crash? A rename keeps inode, size and time: the version. */
static enum weir_code
local_move_done(struct local *l, int todir, const char *toleaf, const struct weir_where *from, const struct weir_where *to, bool is_dir,
    struct weir_stat *out, struct weir_err *err)
{
	struct weir_stat st = { 0 };

	if (local_look(l, todir, toleaf, to->path, &st, NULL) == WEIR_OK && is_dir == (st.type == WEIR_DIR) &&
	    (is_dir || (from->version && strcmp(from->version, st.version) == 0))) {
		if (out)
			*out = st;
		else
			weir_stat_free(&st);
		return WEIR_OK;
	}
	weir_stat_free(&st);
	return weir_err_set(err, WEIR_E_NOENT, "'%s' is not there", from->path);
}

static enum weir_code
local_move_compare(struct local *l, int todir, const char *toleaf, const struct weir_where *to, bool is_dir, struct weir_err *err)
{
	struct weir_stat st = { 0 };
	struct weir_where want = *to;
	enum weir_code r;

	if (is_dir)
		want.version = WEIR_ABSENT;	/* a folder never goes onto something */
	r = local_compare(l, todir, toleaf, &want, &st, err);
	if (r == WEIR_E_CHANGED && want.version == WEIR_ABSENT)
		r = weir_err_set(err, WEIR_E_EXIST, "'%s' is there already", to->path);
	if (!r && !is_dir && st.type == WEIR_DIR)
		r = weir_err_set(err, WEIR_E_ISDIR, "'%s' is a folder", to->path);
	weir_stat_free(&st);
	return r;
}

static enum weir_code
local_move(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *from, const struct weir_where *to, bool is_dir,
    struct weir_stat *out, struct weir_err *err)
{
	struct local *l = (struct local *)b;
	WEIR_AUTO(weir_closep) int fromdir = -1;
	WEIR_AUTO(weir_closep) int todir = -1;
	struct weir_stat st = { 0 };
	const char *fromleaf, *toleaf;
	unsigned flags = is_dir || to->version == WEIR_ABSENT ? RENAME_NOREPLACE : 0;
	enum weir_code r = local_parent(l, to->path, &todir, &toleaf, err);

	(void)ctx;
	if (!r)
		r = local_check_name(toleaf, to->path, err);
	if (r)
		return r;
	r = local_parent(l, from->path, &fromdir, &fromleaf, err);
	if (!r)
		r = local_look(l, fromdir, fromleaf, from->path, &st, err);
	if (r == WEIR_E_NOENT)
		return local_move_done(l, todir, toleaf, from, to, is_dir, out, err);
	if (!r && is_dir != (st.type == WEIR_DIR))
		r = weir_err_set(err, is_dir ? WEIR_E_NOTDIR : WEIR_E_ISDIR, "'%s' is a %s", from->path, is_dir ? "file" : "folder");
	if (!r && !is_dir && from->version && strcmp(from->version, st.version) != 0)
		r = weir_err_set(err, WEIR_E_CHANGED, "'%s' has another version now", from->path);
	weir_stat_free(&st);
	if (!r && strcmp(from->path, to->path) != 0) {
		r = local_move_compare(l, todir, toleaf, to, is_dir, err);
		if (!r && renameat2(fromdir, fromleaf, todir, toleaf, flags) && !((errno == EINVAL || errno == ENOSYS) && flags &&
		    renameat(fromdir, fromleaf, todir, toleaf) == 0))
			r = weir_err_errno(err, errno, "rename '%s' to '%s'", from->path, to->path);
	}
	if (!r) {
		local_sync_dir(todir);
		local_sync_dir(fromdir);
	}
	if (!r && out)
		r = local_look(l, todir, toleaf, to->path, out, err);
	return r;
}

/* A source of the bytes of an open file, for copy(). */
struct local_source {
	struct weir_source source;
	int fd;
};

static ssize_t
local_source_read(struct weir_source *s, void *buf, size_t len, uint64_t off)
{
	return weir_pread_full(((struct local_source *)s)->fd, buf, len, (off_t)off);
}

static enum weir_code
local_copy(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *from, const struct weir_where *to, struct weir_stat *out,
    struct weir_err *err)
{
	struct local *l = (struct local *)b;
	WEIR_AUTO(weir_closep) int dirfd = -1;
	WEIR_AUTO(weir_closep) int fd = -1;
	struct local_source src = { .source = { local_source_read } };
	struct weir_stat st = { 0 };
	struct weir_meta meta;
	const char *leaf;
	enum weir_code r = local_parent(l, from->path, &dirfd, &leaf, err);

	if (!r)
		r = local_look(l, dirfd, leaf, from->path, &st, err);
	if (!r && st.type != WEIR_FILE)
		r = weir_err_set(err, st.type == WEIR_DIR ? WEIR_E_ISDIR : WEIR_E_NOTSUP, "'%s' is no file", from->path);
	weir_stat_free(&st);
	if (!r)
		r = local_get_open(l, dirfd, leaf, from, &fd, &st, err);
	if (!r) {
		src.fd = fd;
		meta = (struct weir_meta){ .mtime_ns = st.mtime_ns, .mode = st.mode };
		r = local_put(b, ctx, to, WEIR_FILE, &src.source, st.size, &meta, NULL, out, err);
	}
	if (!r)
		r = local_get_recheck(fd, from, err);
	weir_stat_free(&st);
	return r;
}

static enum weir_code
local_set_meta(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, bool is_dir, const struct weir_meta *meta,
    struct weir_stat *out, struct weir_err *err)
{
	struct local *l = (struct local *)b;
	WEIR_AUTO(weir_closep) int dirfd = -1;
	struct weir_stat st = { 0 };
	const char *leaf;
	enum weir_code r = local_parent(l, w->path, &dirfd, &leaf, err);

	(void)ctx;
	if (!r)
		r = local_look(l, dirfd, leaf, w->path, &st, err);
	if (!r && is_dir != (st.type == WEIR_DIR))
		r = weir_err_set(err, is_dir ? WEIR_E_NOTDIR : WEIR_E_ISDIR, "'%s' is a %s", w->path, is_dir ? "file" : "folder");
	if (!r && !is_dir && w->version && strcmp(w->version, st.version) != 0)
		r = weir_err_set(err, WEIR_E_CHANGED, "'%s' has another version now", w->path);
	if (!r && meta->mode != WEIR_MODE_NONE && st.type != WEIR_LINK && fchmodat(dirfd, leaf, (mode_t)meta->mode & 07777, 0))
		r = weir_err_errno(err, errno, "set the mode of '%s'", w->path);
	if (!r)
		r = local_times(-1, dirfd, leaf, meta, w->path, err);
	weir_stat_free(&st);
	if (!r && out)
		r = local_look(l, dirfd, leaf, w->path, out, err);
	return r;
}

/* ---- the whole ---- */

/* There is no quota(): what the file system has in use is not ours alone, so the tree's own sum counts. */

static enum weir_code
local_probe(struct weir_backend *b, const struct weir_ctx *ctx, struct weir_err *err)
{
	struct local *l = (struct local *)b;
	struct stat s;
	DIR *dir;

	(void)ctx;
	if (atomic_load(&l->was_there)) {
		WEIR_AUTO(weir_closep) int fd = -1;
		enum weir_code r = local_root(l, &fd, err);

		if (r)
			return r;
	}
	if (stat(l->root, &s))
		return errno == ENOENT || errno == ENOTDIR ? weir_err_set(err, WEIR_E_NOBUCKET, "there is no folder '%s'", l->root) :
		    weir_err_set(err, WEIR_E_AUTH, "folder '%s': %s", l->root, strerror(errno));
	if (!S_ISDIR(s.st_mode))
		return weir_err_set(err, WEIR_E_NOBUCKET, "'%s' is not a folder", l->root);
	dir = opendir(l->root);
	if (!dir)
		return weir_err_set(err, WEIR_E_AUTH, "folder '%s' cannot be read: %s", l->root, strerror(errno));
	if (!atomic_load(&l->was_there)) {
		atomic_store(&l->fsid, local_fsid(dirfd(dir)));
		atomic_store(&l->was_there, true);
	}
	closedir(dir);
	return WEIR_OK;
}

static enum weir_code
local_check(struct weir_backend *b, const struct weir_ctx *ctx, void (*line)(void *, const char *), void *arg, struct weir_err *err)
{
	struct local *l = (struct local *)b;
	WEIR_AUTO(weir_freep) char *where = NULL;

	(void)ctx, (void)err;
	where = weir_xasprintf("folder '%s': %s", l->root, access(l->root, W_OK) ? "can be read only" : "can be written");
	line(arg, where);
	line(arg, "creating a file only where none is: kept");
	line(arg, "versions when replacing or removing a file: compared right before, someone else's change within that moment is overwritten");
	return WEIR_OK;
}

static void
local_close(struct weir_backend *b)
{
	struct local *l = (struct local *)b;

	free(l->root);
	free(l);
}

static enum weir_code
local_open(struct weir_backend **out, const struct weir_remote_conf *rc, struct weir_http *http, struct weir_err *err)
{
	struct local *l;
	const char *path;
	size_t n;
	enum weir_code r = weir_conf_need(rc, "path", &path, err);

	(void)http;
	if (r)
		return r;
	if (path[0] != '/')
		return weir_err_set(err, WEIR_E_CONFIG, "path '%s' does not begin with '/'", path);
	for (n = strlen(path); n > 1 && path[n - 1] == '/';)
		n--;
	l = weir_xcalloc(1, sizeof(*l));
	l->base.ops = &weir_backend_local;
	l->root = weir_xstrndup(path, n);
	l->base.limits = (struct weir_limits){ .connections = LOCAL_CONNECTIONS, .name_max = NAME_MAX };
	atomic_store(&l->base.caps, WEIR_CAP_RANGES | WEIR_CAP_CAS_CREATE | WEIR_CAP_MTIME | WEIR_CAP_MODE | WEIR_CAP_SYMLINK | WEIR_CAP_DIRS |
	    WEIR_CAP_DIR_MOVE | WEIR_CAP_LIST_MTIME | WEIR_CAP_LOCAL);
	*out = &l->base;
	return WEIR_OK;
}

static char *
local_fingerprint(struct weir_backend *b)
{
	return weir_xasprintf("local %s", ((struct local *)b)->root);
}

static void
local_stats(struct weir_backend *b, int64_t *heard_ms, struct weir_http_stats *stats)
{
	struct local *l = (struct local *)b;

	if (heard_ms)
		*heard_ms = weir_now_ms();
	if (stats)
		*stats = (struct weir_http_stats){ .requests = atomic_load(&l->requests), .bytes_in = atomic_load(&l->bytes_in),
			.bytes_out = atomic_load(&l->bytes_out) };
}

static const char *const local_keys[] = { "path", NULL };

static const struct weir_ask local_asks[] = {{"path", "Folder on this computer", false, false}, {NULL, NULL, false, false}};

const struct weir_backend_ops weir_backend_local = {
	.name = "local",
	.keys = local_keys,
	.asks = local_asks,
	.open = local_open,
	.close = local_close,
	.fingerprint = local_fingerprint,
	.probe = local_probe,
	.check = local_check,
	.stat = local_stat,
	.list = local_list,
	.get = local_get,
	.put = local_put,
	.copy = local_copy,
	.move = local_move,
	.mkdir = local_mkdir,
	.remove = local_remove,
	.set_meta = local_set_meta,
	.stats = local_stats,
};
