/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel edge: supervisor and worker. Only the files in this folder include FUSE headers.
 *
 * The supervisor owns /dev/fuse: it mounts, reads FUSE_INIT, answers it itself and keeps the request. It stays small and single-threaded,
 * so that it can fork. Each worker, the first too, takes over: it feeds the kept INIT to its own libfuse session, sends FUSE_NOTIFY_RESEND
 * and serves. A worker that dies, or whose heartbeat stops, is replaced under the living mount. */
#ifndef WEIR_FUSE_H
#define WEIR_FUSE_H
#include "../util/err.h"
#include <stdbool.h>
#include <stdint.h>

struct weir_fs;
struct weir_opens;
struct weir_fuse_worker;

struct weir_fuse_options {
	const char *mountpoint;		/* absolute */
	const char *source;		/* what /proc/self/mountinfo shows */
	uint32_t uid, gid;		/* of the mounting user, for user_id=/group_id= */
	bool allow_other, is_readonly, is_foreground, is_debug;
	bool suid_ok, dev_ok, exec_ok;	/* default: nosuid, nodev, exec */
	bool lazy_allow_root;		/* unused by most: -o allow_root */
	int ready_fd;			/* >= 0: one byte 'y' is written when the first worker serves, or 'n' + sentence; then closed */
};

/* Mount and supervise until unmounted. worker() runs in each forked worker: it builds its fs, calls weir_fuse_serve(), tears down, and its
 * result becomes the exit status (0: unmounted cleanly, the supervisor ends too; else a new worker is started, with a delay that grows when
 * they die young, or, for WEIR_FUSE_NEXT, at once). Tells systemd what it wants to know (READY, STOPPING, WATCHDOG, STATUS). Returns the process's exit status, with err
 * set if the mount could not be made. SIGTERM and SIGINT to the supervisor unmount (lazily when busy); nothing unsent is lost. */
#define WEIR_FUSE_NEXT 64
int weir_fuse_supervise(const struct weir_fuse_options *, int (*worker)(struct weir_fuse_worker *, void *arg), void *arg, struct weir_err *);

/* ---- in the worker ---- */
struct weir_opens *weir_fuse_opens(struct weir_fuse_worker *);
bool weir_fuse_is_first(const struct weir_fuse_worker *);
bool weir_fuse_has_passthrough(const struct weir_fuse_worker *);
/* Serve until the kernel says the mount is gone (WEIR_OK) or the device fails. Registers itself as the fs's observer. While it runs, the
 * heartbeat ticks as long as requests can be taken. */
enum weir_code weir_fuse_serve(struct weir_fuse_worker *, struct weir_fs *, struct weir_err *);

/* This worker makes room for the next one: weir_fuse_serve() takes no further request and returns WEIR_OK; what it read and has not answered the kernel
 * asks the successor (before Linux 6.9: it is answered first, for some seconds; then callers see EINTR). The worker then returns WEIR_FUSE_NEXT, if
 * weir_fuse_has_handed_over() says so: the mount may have gone in the same moment. Any thread, once weir_fuse_serve() was called or later. */
void weir_fuse_hand_over(struct weir_fuse_worker *);
bool weir_fuse_has_handed_over(const struct weir_fuse_worker *);
/* fn(arg) runs in a thread of its own as soon as this worker takes requests; it has ended when weir_fuse_serve() returns. Call it before that. */
void weir_fuse_when_serving(struct weir_fuse_worker *, void (*fn)(void *arg), void *arg);

/* The shelf: what a front beside this one wants its successor to find. The memory is shared by all workers of the mount, zeroed when it is mounted and
 * gone with it; what stands in it is the front's own. Descriptors put there are kept by the supervisor for the workers to come. */
#define WEIR_FUSE_SHELF_BYTES (1u << 20)
#define WEIR_FUSE_SHELF_SLOTS 64u
void *weir_fuse_shelf(struct weir_fuse_worker *);
/* The supervisor keeps a copy of fd under this number; fd < 0: it closes the one it has. 0, or -1 and errno. Any thread. */
int weir_fuse_shelf_put(struct weir_fuse_worker *, unsigned slot, int fd);
/* What a worker before this one put there: this process's own copy, taken (-1: none, or taken already). */
int weir_fuse_shelf_take(struct weir_fuse_worker *, unsigned slot);

/* One line about the state of the mount, for systemctl status. One thread; no more than one a second. */
void weir_fuse_line(struct weir_fuse_worker *, const char *text);

/* A worker that cannot even start says why here (goes to the log and, for the first, to ready_fd). */
void weir_fuse_refuse(struct weir_fuse_worker *, const char *sentence);

#endif
