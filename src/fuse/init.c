/* SPDX-License-Identifier: Apache-2.0 */
/* FUSE_INIT, read and answered by the supervisor before any worker lives. The request is kept: every worker feeds it to its own libfuse session,
 * whose second answer the kernel refuses (ENOENT), so the flags here are the only ones that count. Each is sent only if the kernel offers it. */
#include "config.h"

#include "edge.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "../util/util.h"
#include "kernel.h"

#define INIT_WAIT_MS 10000
#define INIT_MINOR 40u		/* the newest protocol whose reply we fill in: 7.40, Linux 6.9 */

/* Not here, and why: WRITEBACK_CACHE makes the kernel own size and mtime; AUTO_INVAL_DATA drops a file's pages after each own write; POSIX_LOCKS
 * and FLOCK_LOCKS: locks are the kernel's own, so they survive a take-over; SETXATTR_EXT, SECURITY_CTX: libfuse does not parse them. */
static const uint32_t init_wanted = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO |
    FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS | FUSE_EXPLICIT_INVAL_DATA | FUSE_HANDLE_KILLPRIV_V2 |
    FUSE_INIT_EXT;

static ssize_t
init_read(int fd, char *buf, size_t size)
{
	int64_t end = weir_now_ms() + INIT_WAIT_MS;

	for (;;) {
		ssize_t n = read(fd, buf, size);
		int64_t left = end - weir_now_ms();
		struct pollfd p = {.fd = fd, .events = POLLIN};

		if (n >= 0)
			return n;
		if (errno != EAGAIN && errno != EINTR)
			return -1;
		if (left <= 0) {
			errno = ETIMEDOUT;
			return -1;
		}
		poll(&p, 1, (int)left);
	}
}

static int
init_send(int fd, uint64_t unique, const struct weir_k_init_out *out)
{
	struct {
		struct fuse_out_header head;
		struct weir_k_init_out out;
	} reply = {.head = {.len = sizeof(reply), .unique = unique}, .out = *out};

	return write(fd, &reply, sizeof(reply)) == (ssize_t)sizeof(reply) ? 0 : -1;
}

/* Copies what the kernel sent into *in (shorter in old kernels) and returns the request's unique, 0 when it is not an INIT. */
static uint64_t
init_parse(const char *buf, size_t len, struct weir_k_init_in *in)
{
	struct fuse_in_header head;

	memset(in, 0, sizeof(*in));
	if (len < sizeof(head) + 16)
		return 0;
	memcpy(&head, buf, sizeof(head));
	if (head.opcode != FUSE_INIT)
		return 0;
	len -= sizeof(head);
	memcpy(in, buf + sizeof(head), len < sizeof(*in) ? len : sizeof(*in));
	return head.unique;
}

static void
init_negotiate(struct weir_fuse_worker *w, const struct weir_k_init_in *in, struct weir_k_init_out *out)
{
	uint32_t offered2 = (in->flags & FUSE_INIT_EXT) != 0 ? in->flags2 : 0;
	long page = sysconf(_SC_PAGESIZE);

	w->has_resend = (offered2 & WEIR_K_HAS_RESEND2) != 0;
	w->has_passthrough = (offered2 & WEIR_K_PASSTHROUGH2) != 0 && geteuid() == 0;
	*out = (struct weir_k_init_out){
	    .major = 7,
	    .minor = in->minor < INIT_MINOR ? in->minor : INIT_MINOR,
	    .max_readahead = in->max_readahead,
	    .flags = in->flags & init_wanted,
	    .flags2 = offered2 & WEIR_K_NO_EXPORT2,
	    .max_background = 1024,	/* parked reads of one remote stay below half of it */
	    .congestion_threshold = 768,
	    .max_write = (in->flags & FUSE_MAX_PAGES) != 0 ? WEIR_FUSE_MAX_WRITE : 32u * (uint32_t)page,
	    .time_gran = 1,
	    .max_pages = (uint16_t)(WEIR_FUSE_MAX_WRITE / (uint32_t)page),
	};
	if (w->has_passthrough) {
		out->flags2 |= WEIR_K_PASSTHROUGH2;
		out->max_stack_depth = 1;
	}
}

enum weir_code
weir_fuse_answer_init(struct weir_fuse_worker *w, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *buf = weir_xcalloc(1, WEIR_FUSE_BUF);
	struct weir_k_init_in in;
	struct weir_k_init_out out;
	uint64_t unique;
	ssize_t n;

	for (;;) {
		n = init_read(w->fd, buf, WEIR_FUSE_BUF);
		if (n < 0)
			return weir_err_errno(err, errno, "read FUSE_INIT");
		unique = init_parse(buf, (size_t)n, &in);
		if (unique == 0 || in.major < 7 || (in.major == 7 && in.minor < 23))
			return weir_err_set(err, WEIR_E_PROTO, "the kernel speaks FUSE %u.%u; 7.23 is needed", in.major, in.minor);
		if (in.major == 7)
			break;
		/* A newer major: say ours, and the kernel asks again in it. */
		out = (struct weir_k_init_out){.major = 7, .minor = INIT_MINOR};
		if (init_send(w->fd, unique, &out) < 0)
			return weir_err_errno(err, errno, "answer FUSE_INIT");
	}
	init_negotiate(w, &in, &out);
	if (init_send(w->fd, unique, &out) < 0)
		return weir_err_errno(err, errno, "answer FUSE_INIT");
	w->init = weir_xrealloc(WEIR_STEAL(buf), (size_t)n, 1);
	w->init_len = (size_t)n;
	return WEIR_OK;
}
