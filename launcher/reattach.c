/* SPDX-License-Identifier: Apache-2.0 */
/* A running job whose mount was taken away and made anew is shown the new one.
 *
 * What stands at a container's /storage is a copy of the mount that was there when it started. A new mount at the same place of the host is
 * another file system: no propagation puts it over that copy (what propagates is what is mounted below a shared folder, and /storage is the
 * tree itself, not a folder around it). So the launcher does it: a copy of the new mount, taken where it can be seen with the right to copy
 * it, is moved into the job's own mount namespace. Knows processes and mounts, no engine. */
#include "config.h"

#include "../src/control/mounts.h"
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

struct reattach {
	int user, mnt, root;			/* of the process inside */
	int outer_user, outer_mnt, outer_root;	/* of its parent: a rootless engine's own namespaces. -1: none */
	dev_t dev;				/* of the new mount */
};

static int
reattach_open(pid_t pid, const char *what)
{
	WEIR_AUTO(weir_freep) char *path = weir_xasprintf("/proc/%d/%s", (int)pid, what);

	return open(path, O_RDONLY | O_CLOEXEC);
}

static void
reattach_close(struct reattach *r)
{
	weir_closep(&r->user);
	weir_closep(&r->mnt);
	weir_closep(&r->root);
	weir_closep(&r->outer_user);
	weir_closep(&r->outer_mnt);
	weir_closep(&r->outer_root);
}

static pid_t
reattach_parent(pid_t pid)
{
	WEIR_AUTO(weir_freep) char *path = weir_xasprintf("/proc/%d/status", (int)pid);
	WEIR_AUTO(weir_freep) char *text = NULL;
	const char *line;
	size_t len;

	if (weir_read_file(path, 1u << 16, &text, &len) != 0 || (line = strstr(text, "\nPPid:")) == NULL)
		return 0;
	return (pid_t)strtol(line + 6, NULL, 10);
}

static bool
reattach_is_same(int fd, const char *path)
{
	struct stat theirs, ours;

	return fstat(fd, &theirs) == 0 && stat(path, &ours) == 0 && theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev;
}

/* Which file system is there? Asks the kernel only, not the daemon behind it. */
static int
reattach_dev(const char *path, dev_t *dev)
{
	struct statx x;

	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE, &x) != 0)
		return -1;
	*dev = makedev(x.stx_dev_major, x.stx_dev_minor);
	return 0;
}

/* ---- in a child: one namespace after the other ---- */

static int
reattach_step_in(int user, int mnt, int root)
{
	if (user >= 0 && !reattach_is_same(user, "/proc/self/ns/user") && setns(user, CLONE_NEWUSER) != 0)
		return -1;
	if (setns(mnt, CLONE_NEWNS) != 0)
		return -1;
	return fchdir(root) == 0 && chroot(".") == 0 ? 0 : -1;
}

/* A copy of what is here at the place of the mount, if it is the new mount. */
static int
reattach_copy(const struct weir_job *job, const struct reattach *r)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
	dev_t dev;
	int fd;

	if (reattach_dev(job->source, &dev) != 0)
		return -1;
	if (dev != r->dev) {
		errno = ENOENT;
		return -1;
	}
	fd = open_tree(AT_FDCWD, job->source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (fd >= 0 && job->is_readonly && mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static enum weir_code
reattach_do(const struct weir_job *job, const struct reattach *r, struct weir_err *err)
{
	int tree = geteuid() == 0 ? reattach_copy(job, r) : -1;

	if (tree < 0 && r->outer_mnt >= 0 && reattach_step_in(r->outer_user, r->outer_mnt, r->outer_root) == 0)
		tree = reattach_copy(job, r);
	if (reattach_step_in(r->user, r->mnt, r->root) != 0)
		return weir_err_errno(err, errno, "the job's mounts");
	if (tree < 0)
		tree = reattach_copy(job, r);	/* a namespace made from the host's, as engine none has it: there it arrives by itself */
	if (tree < 0)
		return weir_err_errno(err, errno, "a copy of the new mount at '%s'", job->source);
	umount2(WEIR_JOB_STORAGE_PATH, MNT_DETACH);	/* that there is none any more is fine */
	if (move_mount(tree, "", AT_FDCWD, WEIR_JOB_STORAGE_PATH, MOVE_MOUNT_F_EMPTY_PATH) != 0)
		return weir_err_errno(err, errno, "the new mount at the job's " WEIR_JOB_STORAGE_PATH);
	return WEIR_OK;
}

/* ---- the launcher's side ---- */

static void
reattach_find(struct reattach *r, pid_t inside)
{
	pid_t parent = reattach_parent(inside);

	*r = (struct reattach){reattach_open(inside, "ns/user"), reattach_open(inside, "ns/mnt"), reattach_open(inside, "root"), -1, -1, -1, 0};
	if (parent <= 1)
		return;
	r->outer_mnt = reattach_open(parent, "ns/mnt");
	r->outer_user = reattach_open(parent, "ns/user");
	r->outer_root = reattach_open(parent, "root");
	if (r->outer_mnt >= 0 && reattach_is_same(r->outer_mnt, "/proc/self/ns/mnt")) {
		close(r->outer_mnt);
		r->outer_mnt = -1;
	}
}

static _Noreturn void
reattach_child(const struct weir_job *job, const struct reattach *r, int fd)
{
	struct weir_err err = {0};
	enum weir_code code = reattach_do(job, r, &err);
	const char *text = weir_err_text(&err, code);

	if (code != WEIR_OK && write(fd, text, strlen(text)) < 0)
		_exit(2);
	_exit(code != WEIR_OK);
}

/* Its words, and whether it succeeded. */
static enum weir_code
reattach_wait(pid_t pid, int fd, struct weir_err *err)
{
	char text[WEIR_ERR_MAX] = "";
	size_t n = 0;
	ssize_t got;
	int status;

	while (n < sizeof(text) - 1 && ((got = read(fd, text + n, sizeof(text) - 1 - n)) > 0 || (got < 0 && errno == EINTR)))
		n += got > 0 ? (size_t)got : 0;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return n == 0 ? WEIR_OK : weir_err_set(err, WEIR_E_IO, "%s", text);	/* reaped by the one who watches the job */
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return WEIR_OK;
	return weir_err_set(err, WEIR_E_IO, "%s", n > 0 ? text : "the process that was to do it was killed");
}

enum weir_code
weir_job_reattach(const struct weir_job *job, dev_t dev, pid_t inside, struct weir_err *err)
{
	struct reattach r;
	enum weir_code code;
	pid_t pid;
	int fd[2];

	reattach_find(&r, inside);
	r.dev = dev;
	if (r.mnt < 0 || r.user < 0 || r.root < 0)
		code = weir_err_errno(err, errno, "process %d of the job", (int)inside);
	else if (pipe2(fd, O_CLOEXEC) != 0)
		code = weir_err_errno(err, errno, "pipe");
	else {
		fflush(NULL);
		pid = fork();
		if (pid == 0)
			reattach_child(job, &r, fd[1]);
		close(fd[1]);
		code = pid > 0 ? reattach_wait(pid, fd[0], err) : weir_err_errno(err, errno, "fork");
		close(fd[0]);
	}
	reattach_close(&r);
	return code ? weir_err_wrap(err, code, "the job cannot be shown the new mount") : WEIR_OK;
}

dev_t
weir_job_mount_dev(const struct weir_job *job)
{
	struct weir_mounts mounts;
	const struct weir_mount *m;
	dev_t dev = 0;

	if (job->mountpoint == NULL || weir_mounts_read(&mounts, NULL) != WEIR_OK)
		return 0;
	m = weir_mounts_at(&mounts, job->mountpoint, NULL);
	if (m != NULL && strcmp(m->mountpoint, job->mountpoint) == 0)
		dev = m->dev;
	weir_mounts_free(&mounts);
	return dev;
}

void
weir_job_remounted(struct weir_job *job)
{
	struct weir_job_id id = {.name = job->name};
	struct weir_err err = {0};
	dev_t dev = weir_job_mount_dev(job);
	enum weir_code r;
	pid_t inside;

	if (dev == 0 || dev == job->mount_dev || job->engine->inside == NULL)
		return;
	inside = job->engine->inside(&id);
	if (inside <= 0)
		return;	/* not there yet, or over */
	r = weir_job_reattach(job, dev, inside, &err);
	job->mount_dev = dev;
	weir_job_say("%s", r ? weir_err_text(&err, r) : "the mount was made anew: the job has the new one at " WEIR_JOB_STORAGE_PATH);
}
