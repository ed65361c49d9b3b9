/* SPDX-License-Identifier: Apache-2.0 */
/* News from fs for the kernel's caches.
 *
 * Telling the kernel to drop pages waits, unkillably, for every READ of these pages that is in flight. A worker that did it itself and was killed
 * in that moment would never end: the READ it waits for is its own to answer. So a worker only posts the news in shared memory and waits for
 * the messenger, a process of its own that reads no request and that a worker's death does not touch; the successor answers the READ, and the
 * messenger goes on. The messenger has several threads, because news of one remote must not wait behind news of another. */
#include "config.h"

#include "edge.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "../fs/fs.h"
#include "../util/util.h"
#include "kernel.h"

#define NEWS_THREADS 16
#define NEWS_LOOK_MS 50	/* how often who waits looks whether this worker is leaving */
#define NEWS_LEAVE_MS 1000	/* how long one that is leaving still tries to post something */
#define NEWS_STACK (64u * 1024)

static bool
news_move(struct weir_fuse_news *n, int from, int to)
{
	return atomic_compare_exchange_strong(&n->state, &from, to);
}

static void
news_wait(sem_t *sem)
{
	while (sem_wait(sem) < 0 && errno == EINTR)
		;
}

static void
news_pause_ms(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&t, NULL);
}

void
weir_fuse_news_init(struct weir_fuse_shared *shared)
{
	sem_init(&shared->news_posted, 1, 0);
	for (unsigned i = 0; i < WEIR_FUSE_NEWS; i++)
		sem_init(&shared->news[i].done, 1, 0);
}

/* ---- the worker's side ---- */

static struct weir_fuse_news *
news_claim(struct weir_fuse_worker *w)
{
	for (int left_ms = NEWS_LEAVE_MS; left_ms > 0; left_ms -= atomic_load(&w->is_leaving) ? 2 : 0) {
		for (unsigned i = 0; i < WEIR_FUSE_NEWS; i++) {
			if (news_move(&w->shared->news[i], WEIR_FUSE_NEWS_FREE, WEIR_FUSE_NEWS_FILLING))
				return &w->shared->news[i];
		}
		news_pause_ms(2);	/* 64 invalidations wait for the kernel at once: so may this one */
	}
	return NULL;
}

/* Until the messenger has told it. A worker that hands the mount over does not wait: the kernel may, for a READ that only the successor will answer. What it
 * posted is told all the same (weir_fuse_news_adopt). */
static bool
news_await(struct weir_fuse_worker *w, struct weir_fuse_news *n)
{
	while (!atomic_load(&w->is_leaving)) {
		struct timespec until;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += NEWS_LOOK_MS * 1000000L;
		if (until.tv_nsec >= 1000000000L) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000L;
		}
		sem_clockwait(&n->done, CLOCK_MONOTONIC, &until);
		if (atomic_load(&n->state) == WEIR_FUSE_NEWS_DONE)
			return true;
	}
	return false;
}

static void
news_tell(struct weir_fuse_worker *w, int kind, uint64_t ino, uint64_t child, int64_t off, int64_t len, const char *name)
{
	struct weir_fuse_news *n = news_claim(w);

	if (n == NULL)
		return;
	n->kind = kind;
	n->ino = ino;
	n->child = child;
	n->off = off;
	n->len = len;
	snprintf(n->name, sizeof(n->name), "%s", name);
	while (sem_trywait(&n->done) == 0)
		;	/* a post meant for a worker that is dead */
	atomic_store(&n->state, WEIR_FUSE_NEWS_POSTED);
	sem_post(&w->shared->news_posted);
	if (news_await(w, n))
		atomic_store(&n->state, WEIR_FUSE_NEWS_FREE);
}

static void
news_node(void *arg, uint64_t ino, int64_t off, int64_t len)
{
	news_tell(arg, FUSE_NOTIFY_INVAL_INODE, ino, 0, off, len, "");
}

static void
news_entry(void *arg, uint64_t parent, const char *name)
{
	news_tell(arg, FUSE_NOTIFY_INVAL_ENTRY, parent, 0, 0, 0, name);
}

static void
news_delete(void *arg, uint64_t parent, uint64_t child, const char *name)
{
	news_tell(arg, FUSE_NOTIFY_DELETE, parent, child, 0, 0, name);
}

void
weir_fuse_observe(struct weir_fuse_worker *w)
{
	static struct weir_observer observer;	/* for the life of the process */

	observer = (struct weir_observer){.inval_node = news_node, .inval_entry = news_entry, .delete_entry = news_delete, .arg = w};
	weir_fs_observe(w->fs, &observer);
}

/* A worker died while it filled, posted or waited. What it had posted is still told: the tree has changed. */
void
weir_fuse_news_adopt(struct weir_fuse_shared *shared)
{
	for (unsigned i = 0; i < WEIR_FUSE_NEWS; i++) {
		struct weir_fuse_news *n = &shared->news[i];

		/* The messenger may move it on between two attempts; the end of its way is DONE. */
		while (atomic_load(&n->state) != WEIR_FUSE_NEWS_FREE) {
			if (news_move(n, WEIR_FUSE_NEWS_POSTED, WEIR_FUSE_NEWS_POSTED_ORPHAN) ||
			    news_move(n, WEIR_FUSE_NEWS_TAKEN, WEIR_FUSE_NEWS_TAKEN_ORPHAN) ||
			    news_move(n, WEIR_FUSE_NEWS_FILLING, WEIR_FUSE_NEWS_FREE) ||
			    news_move(n, WEIR_FUSE_NEWS_DONE, WEIR_FUSE_NEWS_FREE) ||
			    atomic_load(&n->state) >= WEIR_FUSE_NEWS_POSTED_ORPHAN)
				break;
		}
	}
}

/* ---- the messenger ---- */

static int
news_write(int fd, const struct weir_fuse_news *n)
{
	union {
		struct fuse_notify_inval_inode_out node;
		struct fuse_notify_inval_entry_out entry;
		struct fuse_notify_delete_out gone;
	} body;
	size_t name_len = strlen(n->name), body_len;
	struct fuse_out_header head = {.error = n->kind};
	struct iovec iov[3] = {{&head, sizeof(head)}, {&body, 0}, {(void *)n->name, name_len + 1}};

	memset(&body, 0, sizeof(body));
	switch (n->kind) {
	case FUSE_NOTIFY_INVAL_INODE:
		body.node = (struct fuse_notify_inval_inode_out){.ino = n->ino, .off = n->off, .len = n->len};
		body_len = sizeof(body.node);
		iov[2].iov_len = 0;
		break;
	case FUSE_NOTIFY_INVAL_ENTRY:
		body.entry = (struct fuse_notify_inval_entry_out){.parent = n->ino, .namelen = (uint32_t)name_len};
		body_len = sizeof(body.entry);
		break;
	default:
		body.gone = (struct fuse_notify_delete_out){.parent = n->ino, .child = n->child, .namelen = (uint32_t)name_len};
		body_len = sizeof(body.gone);
	}
	iov[1].iov_len = body_len;
	head.len = (uint32_t)(sizeof(head) + body_len + iov[2].iov_len);
	return writev(fd, iov, iov[2].iov_len > 0 ? 3 : 2) < 0 ? -errno : 0;
}

/* ENOENT: the kernel knows no such node or name, nothing to drop. ENOTEMPTY, EBUSY: a directory in use, it revalidates. ENODEV: unmounted. */
static void
news_deliver(struct weir_fuse_worker *w, struct weir_fuse_news *n)
{
	int r = news_write(w->fd, n);

	/* A delete the kernel refuses must not leave the old name behind. */
	if (r < 0 && r != -ENOENT && r != -ENODEV && n->kind == FUSE_NOTIFY_DELETE) {
		n->kind = FUSE_NOTIFY_INVAL_ENTRY;
		r = news_write(w->fd, n);
	}
	if (r < 0 && r != -ENOENT && r != -ENOTEMPTY && r != -EBUSY && r != -ENODEV)
		weir_log(WEIR_LOG_WARN, "invalidation %d of node %llu: %s", n->kind, (unsigned long long)n->ino, strerror(-r));
	if (news_move(n, WEIR_FUSE_NEWS_TAKEN, WEIR_FUSE_NEWS_DONE))
		sem_post(&n->done);
	else
		atomic_store(&n->state, WEIR_FUSE_NEWS_FREE);	/* TAKEN_ORPHAN: nobody waits */
}

static bool
news_take(struct weir_fuse_news *n)
{
	return news_move(n, WEIR_FUSE_NEWS_POSTED, WEIR_FUSE_NEWS_TAKEN) ||
	    news_move(n, WEIR_FUSE_NEWS_POSTED_ORPHAN, WEIR_FUSE_NEWS_TAKEN_ORPHAN);
}

static void *
news_thread(void *arg)
{
	struct weir_fuse_worker *w = arg;

	for (;;) {
		news_wait(&w->shared->news_posted);
		for (unsigned i = 0; i < WEIR_FUSE_NEWS; i++) {
			if (news_take(&w->shared->news[i])) {
				news_deliver(w, &w->shared->news[i]);
				break;
			}
		}
	}
	return NULL;
}

/* The supervisor is gone and took the worker along: nobody will answer what is in flight, and a thread of ours may be waiting for just that, with
 * the device open, so that the mount would hang instead of failing. Answer everything, then go. */
static _Noreturn void
news_last_rites(struct weir_fuse_worker *w)
{
	struct fuse_out_header resend = {.len = sizeof(resend), .error = WEIR_K_NOTIFY_RESEND};
	char *buf = weir_fuse_buf_alloc();

	for (int i = 0; i < 20 && buf != NULL; i++) {
		ssize_t n = write(w->fd, &resend, sizeof(resend));

		if (!w->has_resend)
			weir_fuse_answer_noted(w);
		while ((n = read(w->fd, buf, WEIR_FUSE_BUF)) > 0) {
			const struct fuse_in_header *in = (const void *)buf;
			struct fuse_out_header out = {.len = sizeof(out), .error = -ENOTCONN, .unique = in->unique};

			if (in->opcode != FUSE_FORGET && in->opcode != FUSE_BATCH_FORGET && write(w->fd, &out, sizeof(out)) < 0)
				break;
		}
		news_pause_ms(10);	/* the worker may still be dying with a request in its hands */
	}
	_exit(0);
}

void
weir_fuse_messenger(struct weir_fuse_worker *w)
{
	pthread_attr_t attr;
	sigset_t term;
	int sig;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_SETMASK, &term, NULL);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	prctl(PR_SET_NAME, "weir-news");
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	/* A predecessor that was killed (by the OOM killer, say) had taken these. */
	for (unsigned i = 0; i < WEIR_FUSE_NEWS; i++) {
		struct weir_fuse_news *n = &w->shared->news[i];

		if (!news_move(n, WEIR_FUSE_NEWS_TAKEN, WEIR_FUSE_NEWS_POSTED))
			news_move(n, WEIR_FUSE_NEWS_TAKEN_ORPHAN, WEIR_FUSE_NEWS_POSTED_ORPHAN);
		sem_post(&w->shared->news_posted);
	}
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, NEWS_STACK > PTHREAD_STACK_MIN ? NEWS_STACK : (size_t)PTHREAD_STACK_MIN);
	for (int i = 0; i < NEWS_THREADS; i++) {
		pthread_t t;

		pthread_create(&t, &attr, news_thread, w);
	}
	/* systemd and terminals send SIGTERM to the whole group: only the supervisor's end counts. */
	while (getppid() == w->supervisor)
		sigwait(&term, &sig);
	news_last_rites(w);
}
