/* SPDX-License-Identifier: Apache-2.0 */
/* One folder a job, which outlives its launcher: job.json (what it is and how it goes), log (what it printed), lock.
 *
 * The launcher holds an exclusive flock on `lock` as long as it lives: so whoever can have the lock knows that the launcher is gone, however it went, without
 * trusting a process number. Folders lie in $XDG_STATE_HOME/weir/jobs, ~/.local/state/weir/jobs, or /var/lib/weir/jobs (root), mode 0700. */
#ifndef WEIR_STATE_H
#define WEIR_STATE_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "../src/util/err.h"

/* Statuses, in the order of a job's life: "queued", "starting", "running"; then one of "complete", "failed", "stopped". */
#define WEIR_STATE_LOCK "lock"
#define WEIR_STATE_STOP "stop"	/* this file beside job.json: somebody wants the job to end. (Only the launcher writes job.json.) */

struct weir_state {
	char *name, *dir;
	json_t *v;		/* job.json; change it with weir_state_set() */
	int lock_fd;		/* >= 0: this process is its launcher */
	bool is_live;		/* as read: its launcher lives */
};

char *weir_state_root(void);	/* owned; not made yet */
/* One launcher at a time counts the jobs there are and adds its own: a file descriptor whose close lets the next one in, or -1. */
int weir_state_admission(void);
/* Held (close it) while one looks for a mount and makes it if there is none, so that jobs that begin together share one. gives_up() is asked while another job has
 * it; true: go on without. -1: there is no such lock to be had. */
int weir_state_mounting(bool (*gives_up)(void *arg, int64_t waited_ms), void *arg);
/* A new job of this name, locked, status "queued". The folder of one that has ended is taken over, with everything in it removed. EXIST: one of that name is
 * running. */
enum weir_code weir_state_new(const char *name, struct weir_state **out, struct weir_err *);
/* As it is now. NOENT: no such job. */
enum weir_code weir_state_read(const char *name, struct weir_state **out, struct weir_err *);
/* All that there are, oldest first; *out owned, n entries. What cannot be read is left out. */
enum weir_code weir_state_list(struct weir_state ***out, size_t *n, struct weir_err *);
void weir_state_list_free(struct weir_state **, size_t n);
/* Take the value (reference stolen) and write the file: whole or not at all. A failure to write is logged once: a full disk must not end a job. NULL state: nothing. */
void weir_state_set(struct weir_state *, const char *key, json_t *value);
void weir_state_status(struct weir_state *, const char *status);
bool weir_state_is_over(const struct weir_state *);	/* its status is one of the last three */
const char *weir_state_text(const struct weir_state *, const char *key);	/* "" when it is not there */
/* Take the lock of a job whose launcher is gone. False: it lives. */
bool weir_state_adopt(struct weir_state *);
char *weir_state_file(const struct weir_state *, const char *name);	/* owned path */
/* Remove the folder and what weir put there: by name, no deeper than itself, never across a mount. */
enum weir_code weir_state_remove(struct weir_state *, struct weir_err *);
void weir_state_free(struct weir_state *);

#endif
