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
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
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
	} while (r >= 0 && weir_now_us() < until);
	atomic_store(&l->has_spinner, false);
	return r;
}

static void *
worker_thread(void *arg)
{
	struct worker_loop *l = arg;
	/* One epoll descriptor a thread: EPOLLEXCLUSIVE then wakes one of them for one request. */
	struct epoll_event ev = {.events = EPOLLIN | EPOLLEXCLUSIVE}, got;
	WEIR_AUTO(weir_closep) int ep = epoll_create1(EPOLL_CLOEXEC);

	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, l->w->fd, &ev) < 0)
		worker_end(l, errno);
	while (!atomic_load(&l->is_over)) {
		int r = worker_turn(l);

		if (atomic_load(&l->w->shared->stop_wanted))
			worker_end(l, 0);

		if (r > 0)
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

enum weir_code
weir_fuse_serve(struct weir_fuse_worker *w, struct weir_fs *fs, struct weir_err *err)
{
	enum weir_code r;

	w->fs = fs;
	r = worker_session(w, err);
	if (r)
		return r;
	weir_fuse_backing_adopt(w);
	weir_fuse_observe(w);
	atomic_store(&w->shared->phase, WEIR_FUSE_SERVING);
	worker_resend(w);
	atomic_store(&w->shared->was_ready, true);
	kill(w->supervisor, SIGUSR1);
	r = worker_loop_run(w, err);
	atomic_store(&w->shared->phase, WEIR_FUSE_ENDING);
	/* What fs ends while it is torn down has nobody to be answered to: libfuse shall not complain. */
	fuse_session_exit(w->se);
	return r;
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
