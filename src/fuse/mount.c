/* SPDX-License-Identifier: Apache-2.0 */
/* Mounting and unmounting: mount(2) for root and in a user namespace that gives the right to, fusermount3 for others. Used by the supervisor and its children, which have one thread.
 * Knows nothing of workers. Must not ask the mounted file system anything: nobody may be serving it. */
#include "config.h"

#include "edge.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../util/buf.h"
#include "../util/util.h"

#define MOUNT_HELPER "fusermount3"
#define MOUNT_NO_HELPER 127
#define MOUNT_READAHEAD_KB "1024\n"

static enum weir_code
mount_by_call(const struct weir_fuse_options *o, int *out, struct weir_err *err)
{
	WEIR_AUTO(weir_closep) int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	unsigned long flags = (o->suid_ok ? 0 : MS_NOSUID) | (o->dev_ok ? 0 : MS_NODEV) | (o->exec_ok ? 0 : MS_NOEXEC) |
	    (o->is_readonly ? MS_RDONLY : 0);
	char data[160];

	if (fd < 0)
		return weir_err_errno(err, errno, "open /dev/fuse (is the kernel's fuse module loaded?)");
	snprintf(data, sizeof(data), "fd=%d,rootmode=40000,user_id=%u,group_id=%u,default_permissions%s", fd, o->uid, o->gid,
	    o->allow_other || o->lazy_allow_root ? ",allow_other" : "");
	if (mount(o->source, o->mountpoint, "fuse.weir", flags, data) < 0)
		return weir_err_errno(err, errno, "mount on '%s'", o->mountpoint);
	*out = fd;
	fd = -1;
	return WEIR_OK;
}

/* fusermount3 splits its options at commas; a backslash hides one. */
static char *
mount_options(const struct weir_fuse_options *o)
{
	struct weir_buf b = WEIR_BUF(16384);

	weir_buf_addf(&b, "%s,%s,%s,%s,default_permissions,subtype=weir,fsname=", o->is_readonly ? "ro" : "rw",
	    o->suid_ok ? "suid" : "nosuid", o->dev_ok ? "dev" : "nodev", o->exec_ok ? "exec" : "noexec");
	for (const char *s = o->source; *s != '\0'; s++) {
		if (*s == ',' || *s == '\\')
			weir_buf_addc(&b, '\\');
		weir_buf_addc(&b, *s);
	}
	if (o->allow_other || o->lazy_allow_root)
		weir_buf_adds(&b, ",allow_other");
	return weir_buf_take(&b);
}

/* Run the helper with its complaints in a pipe and, for mounting, the socket it sends the descriptor over. */
static pid_t
mount_spawn(char *const argv[], int comm_fd, int *complaints)
{
	int p[2] = {-1, -1};
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		sigset_t none;
		char number[16];

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		dup2(p[1], STDERR_FILENO);
		if (comm_fd >= 0) {
			fcntl(comm_fd, F_SETFD, 0);
			snprintf(number, sizeof(number), "%d", comm_fd);
			setenv("_FUSE_COMMFD", number, 1);
		}
		execvp(argv[0], argv);
		dprintf(STDERR_FILENO, "%s (package fuse3) cannot be run: %s\n", argv[0], strerror(errno));
		_exit(MOUNT_NO_HELPER);
	}
	close(p[1]);
	if (pid < 0)
		close(p[0]);
	else
		*complaints = p[0];
	return pid;
}

/* What the helper said, on one line, without its name in front; and its end. */
static int
mount_collect(pid_t pid, int complaints, char *text, size_t size)
{
	size_t n = 0, skip = strlen(MOUNT_HELPER ": ");
	ssize_t got;
	int status = -1;

	while (n < size - 1 && ((got = read(complaints, text + n, size - 1 - n)) > 0 || (got < 0 && errno == EINTR)))
		n += got > 0 ? (size_t)got : 0;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (strncmp(text, MOUNT_HELPER ": ", skip) == 0)
		memmove(text, text + skip, strlen(text + skip) + 1);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	close(complaints);
	return status;
}

static int
mount_receive(int sock)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	struct cmsghdr *c;
	ssize_t n;
	int fd = -1;

	do {
		n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

/* NOENT: it is not installed. */
static enum weir_code
mount_by_helper(const struct weir_fuse_options *o, int *out, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *options = mount_options(o);
	char *const argv[] = {(char[]){MOUNT_HELPER}, (char[]){"-o"}, options, (char[]){"--"}, (char *)o->mountpoint, NULL};
	int sock[2], complaints = -1, fd, status;
	char text[320];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock) < 0)
		return weir_err_errno(err, errno, "socketpair");
	pid = mount_spawn(argv, sock[0], &complaints);
	close(sock[0]);
	if (pid < 0) {
		close(sock[1]);
		return weir_err_errno(err, errno, "start %s", MOUNT_HELPER);
	}
	fd = mount_receive(sock[1]);
	status = mount_collect(pid, complaints, text, sizeof(text));
	close(sock[1]);
	if (fd < 0)	/* with the descriptor in hand the mount exists, whatever the status */
		return weir_err_set(err, WIFEXITED(status) && WEXITSTATUS(status) == MOUNT_NO_HELPER ? WEIR_E_NOENT : WEIR_E_ACCES, "mount on '%s': %s", o->mountpoint,
		    text[0] != '\0' ? text : "fusermount3 gave no descriptor");
	fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
	*out = fd;
	return WEIR_OK;
}

enum weir_code
weir_fuse_mount(const struct weir_fuse_options *o, int *fd, struct weir_err *err)
{
	enum weir_code r;

	if (geteuid() == 0)
		return mount_by_call(o, fd, err);
	r = mount_by_helper(o, fd, err);
	/* Without it: this may be a user namespace that lets us mount. */
	return r == WEIR_E_NOENT && mount_by_call(o, fd, NULL) == WEIR_OK ? WEIR_OK : r;
}

static int
mount_helper_unmount(const char *mountpoint, bool is_lazy, char *text, size_t size)
{
	char *const argv[] = {(char[]){MOUNT_HELPER}, (char *)(is_lazy ? "-uz" : "-u"), (char[]){"--"}, (char *)mountpoint, NULL};
	int complaints = -1;
	pid_t pid = mount_spawn(argv, -1, &complaints);

	if (pid < 0)
		return -1;
	return mount_collect(pid, complaints, text, size) == 0 ? 0 : -1;
}

static int
mount_off(const char *mountpoint)
{
	char text[320] = "";

	if (umount2(mountpoint, UMOUNT_NOFOLLOW) == 0)
		return 0;
	if (errno == EBUSY && umount2(mountpoint, UMOUNT_NOFOLLOW | MNT_DETACH) == 0)
		return 0;
	if (errno != EPERM || geteuid() == 0) {
		weir_log(WEIR_LOG_WARN, "unmount '%s': %s", mountpoint, strerror(errno));
		return -1;
	}
	if (mount_helper_unmount(mountpoint, false, text, sizeof(text)) == 0 ||
	    mount_helper_unmount(mountpoint, true, text, sizeof(text)) == 0)
		return 0;
	weir_log(WEIR_LOG_WARN, "unmount '%s': %s", mountpoint, text);
	return -1;
}

int
weir_fuse_unmount(const struct weir_fuse_worker *w)
{
	const char *mountpoint = w->opt->mountpoint;

	/* Never take off what somebody else has mounted there since. */
	if (w->dev != 0 && weir_fuse_mount_dev(mountpoint) != w->dev)
		return -1;
	return mount_off(mountpoint);
}

/* A mount whose weir was killed answers ENOTCONN until somebody takes it off. Asked by statfs, which the kernel never answers from what it knows: a
 * stat of the root would succeed for as long as its attributes are valid. */
void
weir_fuse_clear_dead(const char *mountpoint)
{
	struct statfs sf;

	/* CONNABORTED: the last of its processes ended while we asked. */
	for (int i = 0; i < 8 && statfs(mountpoint, &sf) < 0 && (errno == ENOTCONN || errno == ECONNABORTED); i++) {
		weir_log(WEIR_LOG_INFO, "'%s' is the mount of a process that died: taking it off", mountpoint);
		if (mount_off(mountpoint) < 0)
			return;
	}
}

/* DONT_SYNC and no field wanted: the kernel answers from what it has. */
dev_t
weir_fuse_mount_dev(const char *mountpoint)
{
	struct statx sx;

	if (statx(AT_FDCWD, mountpoint, AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, 0, &sx) < 0)
		return 0;
	return makedev(sx.stx_dev_major, sx.stx_dev_minor);
}

void
weir_fuse_raise_readahead(dev_t dev)
{
	WEIR_AUTO(weir_closep) int fd = -1;
	char path[80];

	if (dev == 0 || geteuid() != 0)
		return;
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major(dev), minor(dev));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, MOUNT_READAHEAD_KB, sizeof(MOUNT_READAHEAD_KB) - 1) < 0)
		weir_log(WEIR_LOG_DEBUG, "%s: %s", path, strerror(errno));
}

bool
weir_fuse_is_gone(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
}
