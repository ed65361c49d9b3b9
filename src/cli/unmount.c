/* SPDX-License-Identifier: Apache-2.0 */
/* umount(2) for root, fusermount3 for everybody else. */
#include "config.h"

#include "unmount.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../control/mounts.h"
#include "../util/buf.h"
#include "../util/util.h"

#define UNMOUNT_NAMED 5	/* processes named in a sentence */

extern char **environ;

static bool
unmount_is_below(const char *dir, const char *path)
{
	size_t len = strlen(dir);

	return strncmp(dir, path, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* Links of /proc are read, never followed: nothing here asks the mount. */
static bool
unmount_link_is_below(const char *mountpoint, const char *link)
{
	char target[4096];
	ssize_t n = readlink(link, target, sizeof(target) - 1);

	if (n <= 0)
		return false;
	target[n] = '\0';
	return unmount_is_below(mountpoint, target);
}

static bool
unmount_uses(const char *mountpoint, const char *pid)
{
	char path[64];
	struct dirent *d;
	bool is_user = false;
	DIR *fds;

	snprintf(path, sizeof(path), "/proc/%.20s/cwd", pid);
	if (unmount_link_is_below(mountpoint, path))
		return true;
	snprintf(path, sizeof(path), "/proc/%.20s/root", pid);
	if (unmount_link_is_below(mountpoint, path))
		return true;
	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	fds = opendir(path);
	while (fds != NULL && !is_user && (d = readdir(fds)) != NULL) {
		snprintf(path, sizeof(path), "/proc/%.20s/fd/%.20s", pid, d->d_name);
		is_user = unmount_link_is_below(mountpoint, path);
	}
	if (fds != NULL)
		closedir(fds);
	return is_user;
}

/* " by bash (123), vim (124)" as far as we may look. */
static void
unmount_users(const char *mountpoint, struct weir_buf *out)
{
	DIR *proc = opendir("/proc");
	struct dirent *d;
	unsigned n = 0;

	while (proc != NULL && n < UNMOUNT_NAMED && (d = readdir(proc)) != NULL) {
		WEIR_AUTO(weir_freep) char *comm = NULL;
		char path[64];
		size_t len;

		if (!isdigit((unsigned char)d->d_name[0]) || !unmount_uses(mountpoint, d->d_name))
			continue;
		snprintf(path, sizeof(path), "/proc/%.20s/comm", d->d_name);
		if (weir_read_file(path, 256, &comm, &len) != 0)
			continue;
		comm[strcspn(comm, "\n")] = '\0';
		weir_buf_addf(out, "%s%s (%.20s)", n++ == 0 ? " by " : ", ", comm, d->d_name);
	}
	if (proc != NULL)
		closedir(proc);
}

static enum weir_code
unmount_busy(const char *mountpoint, struct weir_err *err)
{
	struct weir_buf users = WEIR_BUF(1024);
	enum weir_code r;

	unmount_users(mountpoint, &users);
	r = weir_err_set(err, WEIR_E_BUSY, "'%s' is in use%s", mountpoint, weir_buf_str(&users));
	weir_buf_free(&users);
	return r;
}

static bool
unmount_is_mounted(const char *mountpoint)
{
	struct weir_mounts mounts;
	const struct weir_mount *m;
	bool is_mounted;

	if (weir_mounts_read(&mounts, NULL) != WEIR_OK)
		return true;
	m = weir_mounts_at(&mounts, mountpoint, NULL);
	is_mounted = m != NULL && strcmp(m->mountpoint, mountpoint) == 0;
	weir_mounts_free(&mounts);
	return is_mounted;
}

/* fusermount3 is setuid root. What it says is for weir's own sentence, so its standard error goes away. */
static enum weir_code
unmount_by_helper(const char *mountpoint, bool is_lazy, struct weir_err *err)
{
	const char *const argv[] = {"fusermount3", "-u", is_lazy ? "-qz" : "-q", "--", mountpoint, NULL};
	posix_spawn_file_actions_t actions;
	int e, status = -1;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	/* posix_spawn changes none of its arguments; its prototype is older than const. */
	e = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (e != 0)
		return weir_err_errno(err, e, "fusermount3");
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status == 0)
		return WEIR_OK;
	return unmount_is_mounted(mountpoint) ? unmount_busy(mountpoint, err) : WEIR_OK;
}

enum weir_code
weir_unmount(const char *mountpoint, struct weir_err *err)
{
	if (umount2(mountpoint, UMOUNT_NOFOLLOW) == 0)
		return WEIR_OK;
	if (errno == EBUSY)
		return unmount_busy(mountpoint, err);
	if (errno == EPERM)
		return unmount_by_helper(mountpoint, false, err);
	return weir_err_errno(err, errno, "unmount '%s'", mountpoint);
}

enum weir_code
weir_unmount_dead(const char *mountpoint, struct weir_err *err)
{
	if (umount2(mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		return WEIR_OK;
	if (errno == EPERM)
		return unmount_by_helper(mountpoint, true, err);
	return weir_err_errno(err, errno, "unmount '%s'", mountpoint);
}
