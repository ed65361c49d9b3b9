/* SPDX-License-Identifier: Apache-2.0 */
/* A worker: takes the mount over and serves it with a few threads.
 *
 * Take-over: libfuse gets the descriptor as mount point /dev/fd/N and the kept INIT as if it had just arrived (its answer meets ENOENT and is
 * ignored); then the kernel is asked to send again whatever a predecessor had read and not answered. The first worker does the same.
 *
 * The loop is ours and not libfuse's, for three things: a thread that has just served a request polls for the next one for up to 50 µs before it
 * sleeps (a wake-up across cores costs 85 to 270 µs, a poll 32), but only one at a time; the supervisor sees a heartbeat; and the request as the
 * kernel sent it stays at hand, because libfuse hands neither its number nor the kill-suid bits through.
 *
 * The session is never destroyed and the descriptor never closed: transfers may still want to tell news while fs is torn down. */
#include "config.h"

#define FUSE_USE_VERSION 314
#include "edge.h"

#include <errno.h>
#include <fuse3/fuse_lowlevel.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../fs/fs.h"
#include "../util/util.h"
#include "kernel.h"

#define WORKER_THREADS_MIN 4
#define WORKER_THREADS_MAX 8
#define WORKER_SPIN_US 50
#define WORKER_IDLE_MS 1000
#define WORKER_KEPT_BUFS 8
#define WORKER_DRAIN_MS 5000

/* ---- buffers ---- */

static pthread_mutex_t buf_mu = PTHREAD_MUTEX_INITIALIZER;
static void *buf_kept[WORKER_KEPT_BUFS];	/* buf_mu */
static unsigned buf_nkept;			/* buf_mu */

/* Fresh ones come from mmap: what a parked request reserves costs no memory before it is touched. */
void *
weir_fuse_buf_alloc(void)
{
	void *p = NULL;

	pthread_mutex_lock(&buf_mu);
	if (buf_nkept > 0)
		p = buf_kept[--buf_nkept];
	pthread_mutex_unlock(&buf_mu);
	if (p != NULL)
		return p;
	p = mmap(NULL, WEIR_FUSE_BUF, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p != MAP_FAILED ? p : NULL;
}

void
weir_fuse_buf_free(void *p)
{
	if (p == NULL)
		return;
	pthread_mutex_lock(&buf_mu);
	if (buf_nkept < WORKER_KEPT_BUFS) {
		buf_kept[buf_nkept++] = p;
		p = NULL;
	}
	pthread_mutex_unlock(&buf_mu);
	if (p != NULL)
		munmap(p, WEIR_FUSE_BUF);
}

static _Thread_local void *worker_buf;	/* this thread's receive buffer; NULL once a request took it */
static _Thread_local const struct fuse_in_header *worker_current;

const struct fuse_in_header *
weir_fuse_current(void)
{
	return worker_current;
}

void *
weir_fuse_take_current(void)
{
	return WEIR_STEAL(worker_buf);
}

/* ---- kernels before 6.9: no RESEND ---- */

/* Each request read is noted before anything happens to it, and struck off when it is answered. A worker that dies leaves the list to its
 * successor, which fails those requests: without that their callers would hang for ever, unkillable. */
static void
worker_note(struct weir_fuse_worker *w, const struct fuse_in_header *in)
{
	if (w->has_resend || in->opcode == FUSE_FORGET || in->opcode == FUSE_BATCH_FORGET || in->opcode == FUSE_INTERRUPT)
		return;
	for (unsigned i = 0; i < WEIR_FUSE_NOTED; i++) {
		_Atomic uint64_t *place = &w->shared->noted[(in->unique / 2 + i) % WEIR_FUSE_NOTED];
		uint64_t none = 0;

		if (atomic_compare_exchange_strong(place, &none, in->unique))
			return;
	}
}

void
weir_fuse_note_clear(struct weir_fuse_worker *w, uint64_t unique)
{
	if (w->has_resend)
		return;
	for (unsigned i = 0; i < WEIR_FUSE_NOTED; i++) {
		_Atomic uint64_t *place = &w->shared->noted[(unique / 2 + i) % WEIR_FUSE_NOTED];
		uint64_t mine = unique;

		if (atomic_compare_exchange_strong(place, &mine, 0))
			return;
	}
}

void
weir_fuse_answer_noted(struct weir_fuse_worker *w)
{
	for (unsigned i = 0; i < WEIR_FUSE_NOTED; i++) {
		struct fuse_out_header out = {.len = sizeof(out), .error = -EIO, .unique = atomic_exchange(&w->shared->noted[i], 0)};

		/* One that was answered after all, or that libfuse answered by itself, is unknown to the kernel: ENOENT. */
		if (out.unique != 0 && write(w->fd, &out, sizeof(out)) < 0 && errno != ENOENT)
			weir_log(WEIR_LOG_WARN, "answer a request of the worker before: %s", strerror(errno));
	}
}

/* ---- the loop ---- */

struct worker_loop {
	struct weir_fuse_worker *w;
	atomic_bool is_over;		/* unmounted, stopped or failed: all threads end */
	atomic_bool has_spinner;
	_Atomic int error;		/* why, 0: unmounted */
};

static void
worker_end(struct worker_loop *l, int error)
{
	int none = 0;

	if (error != 0)
		atomic_compare_exchange_strong(&l->error, &none, error);
	atomic_store(&l->is_over, true);
}

static void
worker_process(struct worker_loop *l, size_t len)
{
	struct fuse_buf fb = {.size = len, .mem = worker_buf};

	worker_current = worker_buf;
	worker_note(l->w, worker_current);
	atomic_fetch_add_explicit(&l->w->shared->beat, 1, memory_order_relaxed);
	fuse_session_process_buf(l->w->se, &fb);
	worker_current = NULL;
}

/* One request. 1: served, 0: none there, -1: the loop is over. */
static int
worker_turn(struct worker_loop *l)
{
	ssize_t n;

	if (worker_buf == NULL && (worker_buf = weir_fuse_buf_alloc()) == NULL) {
		worker_end(l, ENOMEM);
		return -1;
	}
	n = read(l->w->fd, worker_buf, WEIR_FUSE_BUF);
	if (n >= (ssize_t)sizeof(struct fuse_in_header)) {
		worker_process(l, (size_t)n);
		return 1;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOENT))	/* ENOENT: interrupted before it was read */
		return errno == EAGAIN ? 0 : 1;
	worker_end(l, n < 0 && errno != ENODEV && errno != ECONNABORTED ? errno : 0);
	return -1;
}

/* Polls for the next request as long as it may; the result is worker_turn's. */
static int
worker_spin(struct worker_loop *l)
{
	int64_t until;
	int r = 0;

	if (atomic_exchange(&l->has_spinner, true))
		return 0;
	until = weir_now_us() + WORKER_SPIN_US;
	do {
		r = worker_turn(l);
		if (r > 0)
			until = weir_now_us() + WORKER_SPIN_US;
	} while (r >= 0 && weir_now_us() < until && !atomic_load(&l->w->is_leaving) && !atomic_load(&l->is_over));
	atomic_store(&l->has_spinner, false);
	return r;
}

static void *
worker_thread(void *arg)
{
	struct worker_loop *l = arg;
	/* One epoll descriptor a thread: EPOLLEXCLUSIVE then wakes one of them for one request. */
	struct epoll_event ev = {.events = EPOLLIN | EPOLLEXCLUSIVE}, leave = {.events = EPOLLIN}, got;
	WEIR_AUTO(weir_closep) int ep = epoll_create1(EPOLL_CLOEXEC);

	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, l->w->fd, &ev) < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, l->w->leave_fd, &leave) < 0)
		worker_end(l, errno);
	while (!atomic_load(&l->is_over)) {
		int r = worker_turn(l);

		if (atomic_load(&l->w->shared->stop_wanted) || atomic_load(&l->w->is_leaving))
			worker_end(l, 0);
		if (r > 0 && !atomic_load(&l->is_over))
			r = worker_spin(l);
		if (r != 0)
			continue;
		epoll_wait(ep, &got, 1, WORKER_IDLE_MS);
		atomic_fetch_add_explicit(&l->w->shared->beat, 1, memory_order_relaxed);
	}
	weir_fuse_buf_free(WEIR_STEAL(worker_buf));
	return NULL;
}

static unsigned
worker_thread_count(void)
{
	long n = 2 * sysconf(_SC_NPROCESSORS_ONLN);

	return n < WORKER_THREADS_MIN ? WORKER_THREADS_MIN : n > WORKER_THREADS_MAX ? WORKER_THREADS_MAX : (unsigned)n;
}

static enum weir_code
worker_loop_run(struct weir_fuse_worker *w, struct weir_err *err)
{
	struct worker_loop l = {.w = w};
	pthread_t threads[WORKER_THREADS_MAX];
	unsigned n = 0, want = worker_thread_count();

	while (n < want && pthread_create(&threads[n], NULL, worker_thread, &l) == 0)
		n++;
	if (n == 0)
		return weir_err_set(err, WEIR_E_NOMEM, "cannot start a thread");
	while (n > 0)
		pthread_join(threads[--n], NULL);
	if (l.error != 0)
		return weir_err_errno(err, l.error, "read /dev/fuse");
	return WEIR_OK;
}

/* ---- take-over ---- */

static enum weir_code
worker_session(struct weir_fuse_worker *w, struct weir_err *err)
{
	static char name[] = "weir", debug[] = "-d", allow_root[] = "-oallow_root";
	char *argv[4] = {name, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct fuse_buf init = {.size = w->init_len, .mem = w->init};
	size_t size;
	const struct fuse_lowlevel_ops *ops = weir_fuse_ops(&size);
	char path[32];

	if (w->opt->is_debug)
		argv[args.argc++] = debug;
	if (w->opt->lazy_allow_root)
		argv[args.argc++] = allow_root;
	w->se = fuse_session_new(&args, ops, size, w);
	fuse_opt_free_args(&args);
	snprintf(path, sizeof(path), "/dev/fd/%d", w->fd);
	if (w->se == NULL || fuse_session_mount(w->se, path) < 0)
		return weir_err_set(err, WEIR_E_IO, "libfuse does not take /dev/fuse over");
	fuse_session_process_buf(w->se, &init);
	if (fuse_session_exited(w->se))
		return weir_err_set(err, WEIR_E_PROTO, "libfuse refuses this kernel's FUSE_INIT");
	return WEIR_OK;
}

static void
worker_resend(struct weir_fuse_worker *w)
{
	struct fuse_out_header out = {.len = sizeof(out), .error = WEIR_K_NOTIFY_RESEND};

	if (!w->has_resend)
		weir_fuse_answer_noted(w);
	else if (write(w->fd, &out, sizeof(out)) < 0 && errno != ENODEV)
		weir_log(WEIR_LOG_WARN, "ask the kernel to send again: %s", strerror(errno));
}

static bool
worker_owes(const struct weir_fuse_worker *w)
{
	for (unsigned i = 0; i < WEIR_FUSE_NOTED; i++) {
		if (atomic_load(&w->shared->noted[i]) != 0)
			return true;
	}
	return false;
}

/* No thread reads requests any more. Those that wait will be ended with INTR when fs is torn down: not for the kernel to see, the successor is asked the
 * same. So whatever is written to the device from here on goes nowhere. A kernel that does not send again gets its answers instead. */
static void
worker_leave(struct weir_fuse_worker *w)
{
	int64_t end = weir_now_ms() + WORKER_DRAIN_MS;
	WEIR_AUTO(weir_closep) int null = -1;

	while (!w->has_resend && worker_owes(w) && weir_now_ms() < end)
		poll(NULL, 0, 10);
	if (weir_fuse_is_gone(w->fd))
		return;
	null = w->has_resend ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;
	if (null >= 0)
		dup3(null, w->fd, O_CLOEXEC);
	w->has_left = true;
}

static void *
worker_serving_thread(void *arg)
{
	struct weir_fuse_worker *w = arg;

	w->when_serving(w->when_serving_arg);
	return NULL;
}

static enum weir_code
worker_loop(struct weir_fuse_worker *w, struct weir_err *err)
{
	pthread_t thread;
	bool has_thread = w->when_serving != NULL && pthread_create(&thread, NULL, worker_serving_thread, w) == 0;
	enum weir_code r = worker_loop_run(w, err);

	if (has_thread)
		pthread_join(thread, NULL);
	return r;
}

enum weir_code
weir_fuse_serve(struct weir_fuse_worker *w, struct weir_fs *fs, struct weir_err *err)
{
	enum weir_code r;

	w->fs = fs;
	r = worker_session(w, err);
	if (r)
		return r;
	w->leave_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->leave_fd < 0)
		return weir_err_errno(err, errno, "eventfd");
	weir_fuse_backing_adopt(w);
	weir_fuse_observe(w);
	atomic_store(&w->shared->phase, WEIR_FUSE_SERVING);
	worker_resend(w);
	atomic_store(&w->shared->was_ready, true);
	kill(w->supervisor, SIGUSR1);
	r = worker_loop(w, err);
	atomic_store(&w->shared->phase, WEIR_FUSE_ENDING);
	if (r == WEIR_OK && atomic_load(&w->is_leaving))
		worker_leave(w);
	/* What fs ends while it is torn down has nobody to be answered to: libfuse shall not complain. */
	fuse_session_exit(w->se);
	return r;
}

void
weir_fuse_hand_over(struct weir_fuse_worker *w)
{
	atomic_store(&w->is_leaving, true);
	if (atomic_load(&w->leave_fd) > 0)
		eventfd_write(w->leave_fd, 1);
}

bool
weir_fuse_has_handed_over(const struct weir_fuse_worker *w)
{
	return w->has_left;
}

void
weir_fuse_when_serving(struct weir_fuse_worker *w, void (*fn)(void *arg), void *arg)
{
	w->when_serving = fn;
	w->when_serving_arg = arg;
}

struct weir_opens *
weir_fuse_opens(struct weir_fuse_worker *w)
{
	return w->opens;
}

bool
weir_fuse_is_first(const struct weir_fuse_worker *w)
{
	return !atomic_load(&w->shared->was_ready);
}

bool
weir_fuse_has_passthrough(const struct weir_fuse_worker *w)
{
	return w->has_passthrough && !atomic_load(&w->shared->passthrough_off);
}

void
weir_fuse_refuse(struct weir_fuse_worker *w, const char *sentence)
{
	snprintf(w->shared->sentence, sizeof(w->shared->sentence), "%s", sentence);
	weir_log(WEIR_LOG_ERROR, "%s", sentence);
}

void
weir_fuse_line(struct weir_fuse_worker *w, const char *text)
{
	unsigned n = atomic_load(&w->shared->line_n) + 1;
	char *line = w->shared->line[n % 2];
	size_t size = sizeof(w->shared->line[0]);

	snprintf(line, size, "%s", text);
	line[strcspn(line, "\n")] = '\0';	/* a second one would be a message of its own */
	atomic_store(&w->shared->line_n, n != 0 ? n : 2);
}
