/* SPDX-License-Identifier: Apache-2.0 */
/* A tree that the kernel shows: plain folders, or a mount of the configuration. */
#include "config.h"

#include "impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "../control/control.h"
#include "../util/inside.h"
#include "../util/text.h"

#define PATH_LINK_MAX 4096

/* A mount's files may be changed by jobs: no link of theirs leads out of it. */
static int
path_fd(const struct weir_tree *t, const char *path, int flags, uint32_t mode)
{
	return weir_inside_open(t->root_fd, path, flags, mode);
}

static int
path_dir(const struct weir_tree *t, const char *path, const char **name)
{
	return weir_inside_parent(t->root_fd, path, name);
}

static enum weir_code
path_code(int result)
{
	return result == 0 ? WEIR_OK : weir_code_from_errno(errno);
}

static int64_t
path_ns(struct timespec ts)
{
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void
path_attr(const struct stat *st, struct weir_attr *a)
{
	*a = (struct weir_attr){.ino = st->st_ino, .size = (uint64_t)st->st_size, .blocks = (uint64_t)st->st_blocks, .mode = st->st_mode,
	    .nlink = (uint32_t)st->st_nlink, .uid = st->st_uid, .gid = st->st_gid, .blksize = (uint32_t)st->st_blksize, .atime_ns = path_ns(st->st_atim),
	    .mtime_ns = path_ns(st->st_mtim), .ctime_ns = path_ns(st->st_ctim)};
}

static enum weir_code
path_stat(struct weir_tree *t, const char *path, bool follow, struct weir_attr *attr)
{
	const char *name = "";
	WEIR_AUTO(weir_closep) int fd = follow ? path_fd(t, path, O_PATH, 0) : path_dir(t, path, &name);
	struct stat st;

	if (fd < 0 || fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0)
		return weir_code_from_errno(errno);
	path_attr(&st, attr);
	return WEIR_OK;
}

/* A name that goes away while the folder is read is left out. */
static enum weir_code
path_entries(DIR *d, weir_tree_entry_fn fn, void *arg)
{
	struct weir_attr attr;
	struct dirent *e;
	struct stat st;

	for (;;) {
		errno = 0;
		e = readdir(d);
		if (e == NULL)
			return errno != 0 ? weir_code_from_errno(errno) : WEIR_OK;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
			if (errno == ENOENT)
				continue;
			return weir_code_from_errno(errno);
		}
		path_attr(&st, &attr);
		if (fn(arg, e->d_name, &attr) != 0)
			return WEIR_OK;
	}
}

static enum weir_code
path_list(struct weir_tree *t, const char *path, weir_tree_entry_fn fn, void *arg)
{
	int fd = path_fd(t, path, O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	enum weir_code r;

	if (d == NULL) {
		weir_closep(&fd);
		return weir_code_from_errno(errno);
	}
	r = path_entries(d, fn, arg);
	closedir(d);
	return r;
}

static enum weir_code
path_readlink(struct weir_tree *t, const char *path, char **out)
{
	const char *name;
	WEIR_AUTO(weir_closep) int dir = path_dir(t, path, &name);
	WEIR_AUTO(weir_freep) char *buf = weir_xcalloc(1, PATH_LINK_MAX + 1);
	ssize_t n = dir >= 0 ? readlinkat(dir, name, buf, PATH_LINK_MAX) : -1;

	if (n < 0)
		return weir_code_from_errno(errno);
	*out = WEIR_STEAL(buf);
	return WEIR_OK;
}

static enum weir_code
path_mkdir(struct weir_tree *t, const char *path, uint32_t mode)
{
	const char *name;
	WEIR_AUTO(weir_closep) int dir = path_dir(t, path, &name);

	return path_code(dir >= 0 ? mkdirat(dir, name, mode) : -1);
}

static enum weir_code
path_symlink(struct weir_tree *t, const char *path, const char *target)
{
	const char *name;
	WEIR_AUTO(weir_closep) int dir = path_dir(t, path, &name);

	return path_code(dir >= 0 ? symlinkat(target, dir, name) : -1);
}

static enum weir_code
path_unlink(struct weir_tree *t, const char *path)
{
	const char *name;
	WEIR_AUTO(weir_closep) int dir = path_dir(t, path, &name);

	return path_code(dir >= 0 ? unlinkat(dir, name, 0) : -1);
}

static enum weir_code
path_rmdir(struct weir_tree *t, const char *path)
{
	const char *name;
	WEIR_AUTO(weir_closep) int dir = path_dir(t, path, &name);

	return path_code(dir >= 0 ? unlinkat(dir, name, AT_REMOVEDIR) : -1);
}

static enum weir_code
path_rename(struct weir_tree *t, const char *from, const char *to, uint32_t flags)
{
	const char *a, *b;
	WEIR_AUTO(weir_closep) int dir_a = path_dir(t, from, &a);
	WEIR_AUTO(weir_closep) int dir_b = dir_a >= 0 ? path_dir(t, to, &b) : -1;

	return path_code(dir_b >= 0 ? renameat2(dir_a, a, dir_b, b, flags) : -1);
}

/* fchmodat(2) always follows a last link, so that is looked up first. */
static int
path_chmod(struct weir_tree *t, const char *path, uint32_t mode)
{
	WEIR_AUTO(weir_closep) int fd = path_fd(t, path, O_PATH, 0);
	char real[40];

	if (fd < 0)
		return -1;
	snprintf(real, sizeof(real), "/proc/self/fd/%d", fd);
	return chmod(real, mode & 07777);
}

static enum weir_code
path_set(struct weir_tree *t, const char *path, uint32_t mask, uint32_t mode, int64_t mtime_ns)
{
	const char *name;
	WEIR_AUTO(weir_closep) int dir = path_dir(t, path, &name);
	struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = mtime_ns / 1000000000, .tv_nsec = mtime_ns % 1000000000}};

	if (ts[1].tv_nsec < 0) {
		ts[1].tv_sec--;
		ts[1].tv_nsec += 1000000000;
	}
	if (dir < 0 || ((mask & WEIR_SET_MODE) != 0 && path_chmod(t, path, mode) != 0))
		return weir_code_from_errno(errno);
	if ((mask & WEIR_SET_MTIME) != 0 && utimensat(dir, name, ts, AT_SYMLINK_NOFOLLOW) != 0)
		return weir_code_from_errno(errno);
	return WEIR_OK;
}

static enum weir_code
path_room(struct weir_tree *t, const char *path, uint64_t *free_bytes)
{
	WEIR_AUTO(weir_closep) int fd = path_fd(t, path, O_PATH, 0);
	struct statvfs v;

	if (fd < 0 || fstatvfs(fd, &v) != 0)
		return weir_code_from_errno(errno);
	*free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	return WEIR_OK;
}

static enum weir_code
path_open(struct weir_tree_file *f, int flags, uint32_t mode)
{
	struct stat st;

	/* nobody waits for the other end of a FIFO */
	f->fd = path_fd(f->t, f->path, flags | O_NONBLOCK, mode);
	if (f->fd < 0)
		return weir_code_from_errno(errno);
	if (fstat(f->fd, &st) == 0 && S_ISREG(st.st_mode))
		return WEIR_OK;
	weir_closep(&f->fd);
	f->fd = -1;
	return S_ISDIR(st.st_mode) ? WEIR_E_ISDIR : WEIR_E_NOTSUP;
}

static enum weir_code
path_read(struct weir_tree_file *f, void *buf, size_t len, uint64_t off, size_t *got)
{
	ssize_t n = weir_pread_full(f->fd, buf, len, (off_t)off);

	*got = n > 0 ? (size_t)n : 0;
	return n < 0 ? weir_code_from_errno(errno) : WEIR_OK;
}

static enum weir_code
path_write(struct weir_tree_file *f, const void *buf, size_t len, uint64_t off)
{
	return path_code(weir_pwrite_full(f->fd, buf, len, (off_t)off));
}

static enum weir_code
path_close(struct weir_tree_file *f)
{
	return path_code(close(f->fd));
}

/* ---- what goes through the control socket ---- */

struct path_flush {
	struct weir_tree *t;
	bool (*progress)(void *, const struct weir_flush_progress *);
	void *arg;
};

static uint64_t
path_number(json_t *line, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(line, key));

	return n > 0 ? (uint64_t)n : 0;
}

static void
path_flush_line(void *arg, json_t *line)
{
	struct path_flush *f = arg;
	struct weir_flush_progress p = {.files_left = path_number(line, "files_left"), .bytes_left = path_number(line, "bytes_left"),
	    .bytes_sent = path_number(line, "bytes_sent"), .bytes_total = path_number(line, "bytes_total")};

	if (f->progress != NULL)
		f->progress(f->arg, &p);
}

static enum weir_code
path_flush(struct weir_tree *t, const char *path, bool (*progress)(void *, const struct weir_flush_progress *), void *arg, struct weir_err *err)
{
	struct path_flush f = {.t = t, .progress = progress, .arg = arg};

	if (t->mountpoint == NULL)
		return WEIR_OK;
	return weir_control_call(t->conf->cache_dir, json_pack("{s:s, s:s}", "verb", "flush", "path", path), path_flush_line, &f, NULL, err);
}

static void
path_refresh(struct weir_tree *t, const char *path)
{
	if (t->mountpoint != NULL)
		weir_control_call(t->conf->cache_dir, json_pack("{s:s, s:s}", "verb", "refresh", "path", path), NULL, NULL, NULL, NULL);
}

static enum weir_code
path_prefetch(struct weir_tree *t, const char *path)
{
	return t->mountpoint != NULL ? WEIR_E_NOTSUP : WEIR_OK;
}

const struct weir_tree_ops weir_tree_ops_path = {
    .stat = path_stat,
    .list = path_list,
    .readlink = path_readlink,
    .mkdir = path_mkdir,
    .symlink = path_symlink,
    .unlink = path_unlink,
    .rmdir = path_rmdir,
    .rename = path_rename,
    .set = path_set,
    .room = path_room,
    .open = path_open,
    .read = path_read,
    .write = path_write,
    .close = path_close,
    .flush = path_flush,
    .refresh = path_refresh,
    .prefetch = path_prefetch,
};
