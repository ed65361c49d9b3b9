/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share among themselves; nobody else includes it.
 *
 * Processes: the supervisor (one thread) forks the messenger (invalidate.c) and one worker after the other. All of them hold the same /dev/fuse
 * descriptor and the same shared memory. */
#ifndef WEIR_FUSE_EDGE_H
#define WEIR_FUSE_EDGE_H
#include "fuse.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/types.h>

#define WEIR_FUSE_MAX_WRITE (1u << 20)
#define WEIR_FUSE_BUF (WEIR_FUSE_MAX_WRITE + 4096)	/* one request: header, arguments, data */
#define WEIR_FUSE_NOTED 4096u
#define WEIR_FUSE_NEWS 64u

struct fuse_session;
struct fuse_in_header;

enum weir_fuse_phase { WEIR_FUSE_STARTING, WEIR_FUSE_SERVING, WEIR_FUSE_ENDING };

/* One invalidation on its way from a worker to the messenger.
 *	FREE -> FILLING -> POSTED by the worker, -> TAKEN -> DONE by the messenger, -> FREE by the worker that waited.
 * _ORPHAN: that worker is dead, the messenger frees it. */
enum weir_fuse_news_state {
	WEIR_FUSE_NEWS_FREE, WEIR_FUSE_NEWS_FILLING, WEIR_FUSE_NEWS_POSTED, WEIR_FUSE_NEWS_TAKEN, WEIR_FUSE_NEWS_DONE,
	WEIR_FUSE_NEWS_POSTED_ORPHAN, WEIR_FUSE_NEWS_TAKEN_ORPHAN,
};
struct weir_fuse_news {
	_Atomic int state;
	int kind;			/* FUSE_NOTIFY_* */
	uint64_t ino, child;
	int64_t off, len;
	char name[256];
	sem_t done;
};

struct weir_fuse_shared {
	_Atomic uint64_t beat;		/* grows while requests can be taken */
	_Atomic int phase;		/* of the present worker */
	atomic_bool was_ready;		/* some worker has served */
	atomic_bool stop_wanted;	/* end now, though the mount is still there */
	atomic_bool passthrough_off;	/* this kernel or this cache directory cannot do it after all */
	char sentence[WEIR_ERR_MAX];	/* why a worker could not start */
	char line[2][256];		/* of the state, written by the worker in turn; */
	_Atomic unsigned line_n;	/* the newest is line[line_n % 2]; 0: none yet */
	_Atomic uint64_t noted[WEIR_FUSE_NOTED];	/* kernels before 6.9: read, not yet answered */
	sem_t news_posted;
	struct weir_fuse_news news[WEIR_FUSE_NEWS];
};

struct weir_fuse_worker {
	const struct weir_fuse_options *opt;
	struct weir_fuse_shared *shared;
	struct weir_opens *opens;
	int fd;				/* /dev/fuse, O_NONBLOCK */
	pid_t supervisor;
	unsigned generation;		/* 1: the first worker of this mount */
	bool has_resend, has_passthrough;
	void *init;			/* the INIT request as the kernel sent it */
	size_t init_len;
	dev_t dev;			/* of the mount; 0: not known */
	void *shelf;			/* WEIR_FUSE_SHELF_BYTES, shared */
	int shelf_out, shelf_in;	/* a pair of sockets: workers send descriptors, the supervisor receives them */
	int shelf_fds[WEIR_FUSE_SHELF_SLOTS];	/* the supervisor's copies, inherited by each worker; -1: none */

	/* in the worker only */
	struct fuse_session *se;
	struct weir_fs *fs;
	atomic_bool is_leaving;		/* hand over */
	bool has_left;			/* handed over: nothing of this worker reaches the kernel any more */
	_Atomic int leave_fd;		/* eventfd, wakes every thread; 0: not yet made */
	void (*when_serving)(void *arg);
	void *when_serving_arg;
};

/* mount.c: system calls of mounting; supervisor and its children only */
enum weir_code weir_fuse_mount(const struct weir_fuse_options *, int *fd, struct weir_err *);
void weir_fuse_clear_dead(const char *mountpoint);
/* Blocks: call it in a child. Lazily when busy. 0, or -1 and a line in the log. */
int weir_fuse_unmount(const struct weir_fuse_worker *);
dev_t weir_fuse_mount_dev(const char *mountpoint);	/* without asking the file system; 0: unknown */
void weir_fuse_raise_readahead(dev_t);
bool weir_fuse_is_gone(int fd);				/* unmounted or aborted */

/* shelf.c */
enum weir_code weir_fuse_shelf_init(struct weir_fuse_worker *, struct weir_err *);
void weir_fuse_shelf_receive(struct weir_fuse_worker *);	/* supervisor: what workers sent */
void weir_fuse_shelf_close(struct weir_fuse_worker *);		/* in a child that is no worker: an open copy would keep a port taken */

/* init.c */
enum weir_code weir_fuse_answer_init(struct weir_fuse_worker *, struct weir_err *);

/* worker.c */
/* The request this thread is handling, as the kernel sent it: what libfuse does not hand through. */
const struct fuse_in_header *weir_fuse_current(void);
/* A request's data outlives the handler: take the thread's receive buffer; give it back with weir_fuse_buf_free. */
void *weir_fuse_take_current(void);
void *weir_fuse_buf_alloc(void);	/* WEIR_FUSE_BUF bytes, or NULL */
void weir_fuse_buf_free(void *);
void weir_fuse_note_clear(struct weir_fuse_worker *, uint64_t unique);
void weir_fuse_answer_noted(struct weir_fuse_worker *);

/* requests.c; the table is a const struct fuse_lowlevel_ops */
const void *weir_fuse_ops(size_t *size);

/* passthrough.c */
void weir_fuse_backing_adopt(struct weir_fuse_worker *);
/* The backing id for an open of this node: the one there is, else made from fd. 0: answer it cached. Closes fd if >= 0. */
int32_t weir_fuse_backing_get(struct weir_fuse_worker *, uint64_t ino, int fd);
void weir_fuse_backing_released(struct weir_fuse_worker *, uint64_t ino);

/* invalidate.c */
void weir_fuse_observe(struct weir_fuse_worker *);	/* register with the fs; call it before the first request */
void weir_fuse_news_init(struct weir_fuse_shared *);
void weir_fuse_news_adopt(struct weir_fuse_shared *);	/* a new worker: what the dead one waited for is nobody's */
_Noreturn void weir_fuse_messenger(struct weir_fuse_worker *);	/* the messenger process */

#endif
