/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs that were started, seen from other processes; weir-jobs(1) is the manual. Every call returns an exit status after its sentences on standard error. */
#ifndef WEIR_JOBS_H
#define WEIR_JOBS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int weir_jobs_list(bool is_json);
/* What the job printed; follow: until it has ended. */
int weir_jobs_logs(const char *name, bool is_following);
/* The log from now on, until the job has ended (then its exit status) or INT or TERM come (then 0; the job goes on). */
int weir_jobs_attach(const char *name);
/* TERM to the job, force after grace_ms; waits until all it wrote is sent. A job whose launcher is gone too. */
int weir_jobs_stop(const char *name, int64_t grace_ms);
/* Forget a job that has ended: its state folder with its log. */
int weir_jobs_remove(const char *name, bool is_forced);
int weir_jobs_remove_ended(void);
/* End what is left of jobs whose launcher is gone: containers, processes, mounts. Data that was not sent stays in its cache. */
int weir_jobs_gc(bool is_json);
/* The quiet part of gc that every start of a job does: notes which jobs are over, takes away mounts that nobody uses. Ends nothing that runs. */
void weir_jobs_reconcile(void);
/* Become COMMAND inside it. Returns only on failure. */
int weir_jobs_exec(const char *name, char *const *command);
/* Its command line and folder: *argv owned, NULL-terminated, of *argc; the current directory is changed to it. */
int weir_jobs_again(const char *name, int *argc, char ***argv);
/* Ask the module of a running job, at its port "api". */
int weir_jobs_predict(const char *name, const char *const *files, size_t nfiles, const char *const *args, size_t nargs, const char *output, bool is_json);
/* GPUs that were given to jobs which run, or are about to, count as held by their launchers, whether they compute yet or not. */
struct weir_gpus;
void weir_jobs_hold_gpus(struct weir_gpus *);
/* How many of a mode are running or starting now. */
size_t weir_jobs_count(const char *mode);
/* GPUs that running jobs hold. */
size_t weir_jobs_gpus(void);
bool weir_jobs_have_port(unsigned port);	/* has a living job this port of 127.0.0.1, or will it have it once its image is here? */

#endif
