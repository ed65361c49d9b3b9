/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "mountspace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../src/control/mounts.h"
#include "../src/util/util.h"
#include "engines/engines.h"

#define MOUNTSPACE_MOUNTINFO_MAX (16u << 20)

static bool mountspace_is_entered;

bool
weir_mountspace_is_needed(void)
{
	return geteuid() != 0 && !weir_engine_is_there("fusermount3");
}

/* ---- find ---- */

static bool
mountspace_has(char *mountinfo, const char *conf, const char *mountpoint)
{
	struct weir_mounts mounts;
	const struct weir_mount *m;
	bool has = false;

	weir_mounts_parse(&mounts, mountinfo);
	if (conf != NULL && (m = weir_mounts_of(&mounts, conf)) != NULL)
		has = strcmp(m->root, "/") == 0;
	if (mountpoint != NULL && (m = weir_mounts_at(&mounts, mountpoint, NULL)) != NULL)
		has = strcmp(m->mountpoint, mountpoint) == 0;
	weir_mounts_free(&mounts);
	return has;
}

/* Ours, a weir, and in a mount namespace that is not this one. Jobs see the mount too, but may have anything else mounted over it. */
static bool
mountspace_is_candidate(const char *pid, const struct stat *here)
{
	WEIR_AUTO(weir_freep) char *comm = weir_xasprintf("/proc/%s/comm", pid);
	WEIR_AUTO(weir_freep) char *ns = weir_xasprintf("/proc/%s/ns/mnt", pid);
	WEIR_AUTO(weir_freep) char *text = NULL;
	struct stat st;
	size_t len;

	if (stat(comm, &st) != 0 || st.st_uid != geteuid() || weir_read_file(comm, 64, &text, &len) != 0 || strncmp(text, "weir", 4) != 0)
		return false;
	return stat(ns, &st) == 0 && (st.st_ino != here->st_ino || st.st_dev != here->st_dev);
}

pid_t
weir_mountspace_find(const char *conf, const char *mountpoint)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;
	struct stat here;
	pid_t found = 0;

	if (stat("/proc/self/ns/mnt", &here) != 0)
		here = (struct stat){0};
	while (proc != NULL && found == 0 && (e = readdir(proc)) != NULL) {
		WEIR_AUTO(weir_freep) char *path = weir_xasprintf("/proc/%s/mountinfo", e->d_name);
		WEIR_AUTO(weir_freep) char *text = NULL;
		long pid = strtol(e->d_name, NULL, 10);
		size_t len;

		if (pid > 1 && mountspace_is_candidate(e->d_name, &here) && weir_read_file(path, MOUNTSPACE_MOUNTINFO_MAX, &text, &len) == 0 &&
		    mountspace_has(text, conf, mountpoint))
			found = (pid_t)pid;
	}
	if (proc != NULL)
		closedir(proc);
	return found;
}

/* ---- enter ---- */

static enum weir_code
mountspace_join(pid_t pid, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *user_path = weir_xasprintf("/proc/%d/ns/user", (int)pid);
	WEIR_AUTO(weir_freep) char *mnt_path = weir_xasprintf("/proc/%d/ns/mnt", (int)pid);
	WEIR_AUTO(weir_closep) int user = open(user_path, O_RDONLY | O_CLOEXEC);
	WEIR_AUTO(weir_closep) int mnt = open(mnt_path, O_RDONLY | O_CLOEXEC);

	WEIR_AUTO(weir_freep) char *cwd = getcwd(NULL, 0);

	if (user < 0 || mnt < 0 || setns(user, CLONE_NEWUSER) != 0 || setns(mnt, CLONE_NEWNS) != 0)
		return weir_err_errno(err, errno, "the namespaces of process %d, which has the mount", (int)pid);
	if (cwd == NULL || chdir(cwd) != 0)	/* setns(2) has changed it to the root */
		weir_log(WEIR_LOG_WARN, "the current directory is '/' now: %s", strerror(errno));
	return WEIR_OK;
}

enum weir_code
weir_mountspace_enter(pid_t pid, struct weir_err *err)
{
	enum weir_code r = pid != 0 ? mountspace_join(pid, err) : weir_engine_unshare(err);

	mountspace_is_entered = mountspace_is_entered || r == WEIR_OK;
	return r;
}

/* Who is not root in a user namespace loses every right at exec, but for "ambient" ones (capabilities(7)). */
void
weir_mountspace_keep_right(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (!mountspace_is_entered || syscall(SYS_capget, &head, data) != 0)
		return;
	data[0].inheritable |= 1u << CAP_SYS_ADMIN;
	if (syscall(SYS_capset, &head, data) != 0 || prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0) != 0)
		weir_log(WEIR_LOG_WARN, "the right to mount in this namespace cannot be handed on: %s", strerror(errno));
}
