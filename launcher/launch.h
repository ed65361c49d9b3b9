/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the launcher share. */
#ifndef WEIR_LAUNCH_H
#define WEIR_LAUNCH_H
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "../src/util/buf.h"
#include "../src/util/err.h"
#include "../src/util/util.h"
#include "job.h"

#define WEIR_JOB_STORAGE_PATH "/storage"

struct weir_words { char **v; size_t n; };	/* owned; v is NULL-terminated when n > 0 */
void weir_words_add(struct weir_words *, const char *);
void weir_words_split(struct weir_words *, const char *text);	/* at blanks */
void weir_words_free(struct weir_words *);
/* As one could type it into a shell. */
void weir_words_quote(struct weir_buf *, char *const *words);

struct weir_engine;
struct weir_job {
	const struct weir_job_options *o;
	const struct weir_engine *engine;
	char *name;
	/* --storage */
	char *path;		/* in the namespace, "/" … */
	bool is_readonly;
	/* --time, --memory */
	int64_t time_ms;	/* 0: no limit */
	uint64_t memory_bytes;	/* 0: no limit */
	/* --env-file and --env read, as NAME=VALUE; a later one wins */
	struct weir_words env;
	/* the mount, once it is there */
	char *mountpoint;
	char *private_dir;	/* folder of a mount that only jobs use; NULL: somebody else's mount */
	int lock_fd;		/* on private_dir, shared while we use it */
	char *source;		/* mountpoint + path: what stands at /storage. NULL without storage */
	/* the end */
	int status;		/* the job's exit status, 128+N for a signal */
	bool was_started, is_timed_out, is_unsent;
	int signal;		/* that ended weir's own work before the job began, or 0 */
	int64_t start_ms;
};

/* One way to run a job. */
struct weir_engine {
	const char *name;
	/* Can it do this job? No side effects. */
	enum weir_code (*check)(const struct weir_job *, struct weir_err *);
	/* What it will do, for --dry-run: words of a command line. */
	void (*words)(const struct weir_job *, struct weir_words *);
	/* In the child: become the job. Returns only on failure, with the exit status; writes the sentence. */
	int (*become)(const struct weir_job *, struct weir_err *);
	/* End the job by force; the child's end follows. */
	void (*kill)(const struct weir_job *, pid_t child);
	int failed_status;	/* by which the engine says that it failed itself; 0: none */
	bool ends_orphans;	/* what the job leaves running is our child then, and ends with it */
};
extern const struct weir_engine weir_engine_podman, weir_engine_none;
const struct weir_engine *weir_engine_find(const char *name);	/* NULL: no such engine */

/* ---- storage.c ---- */
void weir_storage_find(struct weir_job *);	/* is there a mount already? Fills mountpoint and private_dir */
int weir_storage_check(struct weir_job *);	/* each: 0, or the exit status after saying why */
int weir_storage_take(struct weir_job *);
int weir_storage_flush(struct weir_job *);
void weir_storage_release(struct weir_job *);

/* ---- child.c ---- */

/* A child process under control: signals sent to weir are passed on to it, a time limit ends it. */
struct weir_child {
	int (*become)(void *arg, struct weir_err *);	/* in the child; returns only on failure, with an exit status */
	void *arg;
	void (*force)(void *arg, pid_t);	/* instead of SIGKILL; may be NULL */
	int64_t limit_ms;			/* 0: none */
	bool ends_orphans;
	int out_fd;				/* > 0: a file that takes its standard output */
	/* results */
	int status;				/* exit status, 128+N */
	int signal;				/* last ending signal (INT, TERM, HUP, QUIT) that was passed on, or 0 */
	bool is_timed_out;
	struct weir_err err;			/* what become() said */
};
/* Blocks the signals that are to be passed on, for good: call once at the beginning. */
void weir_child_setup(void);
/* -1 and err when it could not be started (become() failed or fork did); else 0 and the results. */
int weir_child_run(struct weir_child *);
/* One that waits already: 128+N for INT, TERM, HUP or QUIT, else 0. */
int weir_child_pending(void);
/* Run this weir with these arguments. Its exit status; *out (may be NULL): its standard output, owned. */
int weir_child_weir(struct weir_job *, const char *const *args, char **out);

void weir_job_say(const char *fmt, ...) WEIR_PRINTF(1, 2);

#endif
