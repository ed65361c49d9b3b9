/* SPDX-License-Identifier: Apache-2.0 */
/* Chunked upload as Nextcloud has it and rclone (from 1.63) speaks it: MKCOL of a folder beside the files, PUT of parts into it, MOVE of its ".file" to
 * where the whole shall be. The parts lie in the cache folder, not in the tree: nobody else sees them and no storage gets them. They are put together into a
 * hidden file, in the order of their names; an upload that was cut off stays until it is moved or removed, or the share ends. */
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

#define UPLOAD_PARTS 100000u
#define UPLOAD_SPARE (256u << 20)	/* of the disk is not used up by parts */

/* ---- folders of our own ---- */

static void
spool_remove_at(int at, const char *name, unsigned depth)
{
	int fd = depth > 0 ? openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	if (dir == NULL && fd >= 0)
		close(fd);
	while (dir != NULL && (e = readdir(dir)) != NULL) {
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && unlinkat(dirfd(dir), e->d_name, 0) != 0)
			spool_remove_at(dirfd(dir), e->d_name, depth - 1);
	}
	if (dir != NULL)
		closedir(dir);
	unlinkat(at, name, AT_REMOVEDIR);
}

void
front_spool_remove(const char *folder)
{
	spool_remove_at(AT_FDCWD, folder, 3);
}

/* Folder of an upload, open; -1. */
static int
upload_open(struct front_req *req)
{
	WEIR_AUTO(weir_freep) char *path = NULL;

	if (req->path.n == 0)
		return -1;
	path = weir_path_join(req->share->spool, req->path.seg[0]);
	return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int
front_chunk_begin(struct front_req *req, uint64_t len, int *out)
{
	WEIR_AUTO(weir_closep) int dir = upload_open(req);
	struct statvfs v;

	if (dir < 0 || req->path.n != 2)
		return 404;
	if (fstatvfs(dir, &v) == 0 && (uint64_t)v.f_bavail * v.f_frsize < len + UPLOAD_SPARE)
		return 507;
	*out = openat(dir, req->path.seg[1], O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	return *out >= 0 ? 0 : errno == ENOSPC || errno == EDQUOT ? 507 : 403;
}

/* ---- putting together ---- */

struct parts { char **v; size_t n; uint64_t bytes; };

/* By number where they begin with one (Nextcloud's own client counts 1, 2, … 10), then by name. */
static int
parts_compare(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;
	unsigned long long nx = strtoull(x, NULL, 10), ny = strtoull(y, NULL, 10);

	return nx != ny ? (nx < ny ? -1 : 1) : strcmp(x, y);
}

static int
parts_read(int dir, struct parts *p)
{
	DIR *d = fdopendir(dup(dir));
	struct dirent *e;

	*p = (struct parts){0};
	while (d != NULL && (e = readdir(d)) != NULL && p->n < UPLOAD_PARTS) {
		struct stat st;

		if (e->d_name[0] == '.' || fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
			continue;
		p->v = weir_xrealloc(p->v, p->n + 1, sizeof(*p->v));
		p->v[p->n++] = weir_xstrdup(e->d_name);
		p->bytes += (uint64_t)st.st_size;
	}
	if (d == NULL)
		return -1;
	closedir(d);
	if (p->n > 0)
		qsort(p->v, p->n, sizeof(*p->v), parts_compare);
	return 0;
}

static void
parts_free(struct parts *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->v[i]);
	free(p->v);
}

static enum weir_code
part_append(struct front_req *req, int dir, const char *name, struct front_new *to, char *buf)
{
	WEIR_AUTO(weir_closep) int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	off_t at = 0;

	if (fd < 0)
		return WEIR_E_IO;
	for (;;) {
		ssize_t n = weir_pread_full(fd, buf, FRONT_BLOCK, at);
		enum weir_code r = n < 0 ? WEIR_E_IO : n == 0 ? WEIR_OK : front_write(req, to->ino, to->fh, buf, (size_t)n, to->off);

		if (r || n == 0)
			return r;
		at += n;
		to->off += (uint64_t)n;
	}
}

static enum weir_code
parts_join(struct front_req *req, int dir, const struct parts *p, struct front_new *to)
{
	WEIR_AUTO(weir_freep) char *buf = malloc(FRONT_BLOCK);
	enum weir_code r = buf != NULL ? WEIR_OK : WEIR_E_NOMEM;

	for (size_t i = 0; i < p->n && r == WEIR_OK; i++)
		r = part_append(req, dir, p->v[i], to, buf);
	return r;
}

static enum MHD_Result
upload_finish(struct front_req *req, int dir, const struct parts *p, const struct front_path *to_path, bool *is_done)
{
	struct front_node node;
	struct front_new to;
	enum weir_code r = front_walk(req, to_path, true, &node);
	const struct weir_attr *old = r == WEIR_OK ? &node.attr : NULL;
	bool is_there = old != NULL;
	int status = 0;

	if (r == WEIR_E_NOENT && node.parent == 0)
		status = 409;
	else if (r != WEIR_OK && r != WEIR_E_NOENT)
		status = front_status_of(r);
	else if ((old != NULL && !S_ISREG(old->mode)) || front_is_hidden(node.name))
		status = 405;
	else if (front_overwrite_parse(front_header(req, "Overwrite")) == 0 && old != NULL)
		status = 412;
	else
		status = front_locks_check(req, to_path->text, old, false, old == NULL);
	if (status == 0) {
		r = front_may_change(req, node.parent);
		if (r == WEIR_OK && old != NULL && !front_may(req, old, FRONT_MAY_WRITE))
			r = WEIR_E_ACCES;
		if (r == WEIR_OK && (r = front_new_begin(req, node.parent, old != NULL ? old->mode & 0777 : 0644, &to)) == WEIR_OK) {
			r = parts_join(req, dir, p, &to);
			if (r == WEIR_OK)
				r = front_new_commit(req, &to, node.name, front_header_mtime(req), NULL);
			else
				front_new_drop(req, &to);
		}
	}
	front_node_free(&node);
	*is_done = status == 0 && r == WEIR_OK;
	if (status != 0)
		return front_answer(req, status, "the upload cannot be put there");
	return r == WEIR_OK ? front_answer(req, is_there ? 204 : 201, NULL) : front_answer_code(req, r);
}

static enum MHD_Result
upload_move(struct front_req *req, int dir)
{
	const char *total = front_header(req, "OC-Total-Length");
	WEIR_AUTO(weir_freep) char *folder = weir_path_join(req->share->spool, req->path.seg[0]);
	struct front_path to = {0};
	struct parts parts;
	bool is_done = false;
	enum MHD_Result done;
	int status;

	if (req->path.n != 2 || strcmp(req->path.seg[1], ".file") != 0)
		return front_answer(req, 403, "only .file can be moved out of an upload");
	status = front_destination(req, &to);
	if (status == 0 && to.n == 0)
		status = 403;
	if (status != 0) {
		front_path_free(&to);
		return front_answer(req, status, "where should the upload go");
	}
	if (parts_read(dir, &parts) != 0)
		done = front_answer(req, 500, "the parts of the upload cannot be read");
	else if (total != NULL && strtoull(total, NULL, 10) != parts.bytes)
		done = front_answer(req, 400, "the parts of the upload are not as long as OC-Total-Length");
	else {
		done = upload_finish(req, dir, &parts, &to, &is_done);
		if (is_done)
			front_spool_remove(folder);
	}
	parts_free(&parts);
	front_path_free(&to);
	return done;
}

enum MHD_Result
front_do_upload(struct front_req *req)
{
	WEIR_AUTO(weir_closep) int dir = upload_open(req);
	WEIR_AUTO(weir_freep) char *folder = req->path.n > 0 ? weir_path_join(req->share->spool, req->path.seg[0]) : NULL;

	if (strcmp(req->method, "MKCOL") == 0 && req->path.n == 1) {
		if (weir_mkdirs(req->share->spool, 0700) != 0 || (dir < 0 && mkdir(folder, 0700) != 0))
			return front_answer(req, errno == ENOSPC ? 507 : 500, "the upload cannot be begun");
		return front_answer(req, dir < 0 ? 201 : 405, NULL);
	}
	if (dir < 0)
		return front_answer(req, 404, "no such upload");
	if (strcmp(req->method, "MOVE") == 0)
		return upload_move(req, dir);
	if (strcmp(req->method, "DELETE") == 0 && req->path.n == 1) {
		front_spool_remove(folder);
		return front_answer(req, 204, NULL);
	}
	return front_answer(req, 405, "not a request about an upload");
}
