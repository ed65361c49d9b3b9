/* SPDX-License-Identifier: Apache-2.0 */
/* Mount namespaces for engines that have none, or whose own binds cannot be read-only. */
#include "config.h"

#include "engines.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static enum weir_code
namespace_write(const char *path, const char *text, struct weir_err *err)
{
	WEIR_AUTO(weir_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return weir_err_errno(err, errno, "%s", path);
	return WEIR_OK;
}

/* Who is not root becomes "root" over mounts in a user namespace where it still is itself to every file. */
static enum weir_code
namespace_map(uid_t uid, gid_t gid, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *uid_map = weir_xasprintf("%u %u 1\n", (unsigned)uid, (unsigned)uid);
	WEIR_AUTO(weir_freep) char *gid_map = weir_xasprintf("%u %u 1\n", (unsigned)gid, (unsigned)gid);
	enum weir_code r = namespace_write("/proc/self/setgroups", "deny", err);

	if (r == WEIR_OK)
		r = namespace_write("/proc/self/uid_map", uid_map, err);
	if (r == WEIR_OK)
		r = namespace_write("/proc/self/gid_map", gid_map, err);
	return r ? weir_err_wrap(err, r, "a user namespace for the job") : WEIR_OK;
}

/* Slave, not private: that a mount itself goes away is seen here; what is mounted here is not seen outside. */
enum weir_code
weir_engine_unshare(struct weir_err *err)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	enum weir_code r = WEIR_OK;

	if (unshare(uid == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) != 0)
		return weir_err_errno(err, errno, uid == 0 ? "a mount namespace for the job" : "a user namespace for the job (does this host allow them to users?)");
	if (uid != 0)
		r = namespace_map(uid, gid, err);
	if (r == WEIR_OK && mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) != 0)
		r = weir_err_errno(err, errno, "a mount namespace for the job");
	return r;
}

enum weir_code
weir_engine_bind(const char *from, const char *to, bool is_readonly, struct weir_err *err)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};

	if (mount(from, to, NULL, MS_BIND | MS_REC, NULL) != 0)
		return weir_err_errno(err, errno, "show '%s' at '%s'", from, to);
	if (is_readonly && mount_setattr(AT_FDCWD, to, 0, &attr, sizeof(attr)) != 0)
		return weir_err_errno(err, errno, "make '%s' read-only", to);
	return WEIR_OK;
}
