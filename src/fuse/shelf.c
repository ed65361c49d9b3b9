/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors and memory that a worker leaves to its successor (fuse.h, "The shelf"). A descriptor travels over a pair of sockets that both sides have
 * had since before the first worker: what a worker sent before it died is still there for the supervisor to receive. */
#include "config.h"

#include "edge.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../util/util.h"

union shelf_control {
	struct cmsghdr align;
	char space[CMSG_SPACE(sizeof(int))];
};

enum weir_code
weir_fuse_shelf_init(struct weir_fuse_worker *w, struct weir_err *err)
{
	int pair[2];

	for (size_t i = 0; i < WEIR_FUSE_SHELF_SLOTS; i++)
		w->shelf_fds[i] = -1;
	w->shelf = mmap(NULL, WEIR_FUSE_SHELF_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (w->shelf == MAP_FAILED)
		return weir_err_errno(err, errno, "shared memory");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return weir_err_errno(err, errno, "socketpair");
	w->shelf_out = pair[0];
	w->shelf_in = pair[1];
	return WEIR_OK;
}

void *
weir_fuse_shelf(struct weir_fuse_worker *w)
{
	return w->shelf;
}

int
weir_fuse_shelf_put(struct weir_fuse_worker *w, unsigned slot, int fd)
{
	union shelf_control control = {0};
	struct iovec iov = {&slot, sizeof(slot)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (slot >= WEIR_FUSE_SHELF_SLOTS) {
		errno = EINVAL;
		return -1;
	}
	if (fd >= 0) {
		struct cmsghdr *c;

		m.msg_control = &control;
		m.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	do {
		n = sendmsg(w->shelf_out, &m, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -1;
	kill(w->supervisor, SIGUSR1);
	return 0;
}

int
weir_fuse_shelf_take(struct weir_fuse_worker *w, unsigned slot)
{
	int fd = slot < WEIR_FUSE_SHELF_SLOTS ? w->shelf_fds[slot] : -1;

	if (fd >= 0)
		w->shelf_fds[slot] = -1;
	return fd;
}

void
weir_fuse_shelf_receive(struct weir_fuse_worker *w)
{
	unsigned slot;

	for (;;) {
		union shelf_control control;
		struct iovec iov = {&slot, sizeof(slot)};
		struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
		ssize_t n = recvmsg(w->shelf_in, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
		int fd = -1;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
			memcpy(&fd, CMSG_DATA(c), sizeof(fd));
		if (n != sizeof(slot) || slot >= WEIR_FUSE_SHELF_SLOTS) {
			weir_closep(&fd);
			continue;
		}
		weir_closep(&w->shelf_fds[slot]);
		w->shelf_fds[slot] = fd;
	}
}

void
weir_fuse_shelf_close(struct weir_fuse_worker *w)
{
	for (size_t i = 0; i < WEIR_FUSE_SHELF_SLOTS; i++) {
		weir_closep(&w->shelf_fds[i]);
		w->shelf_fds[i] = -1;
	}
}
