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
#include "access/access.h"
#include "gpu.h"
#include "job.h"
#include "words.h"

#define WEIR_JOB_STORAGE_PATH "/storage"

/* A port of the job that this host shows: on 127.0.0.1, or, where the engine has no network of its own, the port that the job is told to use. */
struct weir_job_port {
	char name[16];		/* "api", "monitor", "ide", or "" for one of --port */
	unsigned inside;	/* in the container */
	unsigned outside;	/* on this host; 0 until it is chosen */
};

struct weir_engine;
struct weir_mode;
struct weir_job {
	const struct weir_job_options *o;
	const struct weir_engine *engine;
	const struct weir_mode *mode;	/* of try, train, develop; NULL: run */
	char *name;
	/* --storage */
	char *path;		/* in the namespace, "/" … */
	bool is_readonly;
	bool has_storage;	/* a configuration, and a mode that wants it */
	bool is_staged;		/* copied in and out in place of mounted */
	struct weir_words staged;	/* PATH, PATH:ro, PATH:out of the namespace */
	bool has_share;		/* and its rclone remote rshare: */
	/* limits */
	int64_t time_ms;	/* 0: no limit, as all below */
	double cpus;
	uint64_t memory_bytes;
	uint64_t shm_bytes;	/* default: half of the memory */
	uint64_t pids;
	struct weir_gpu_request gpu;
	struct weir_gpus gpus;		/* of this host, when gpu.count > 0 */
	unsigned *picked;		/* gpu.count indices into gpus.v; owned */
	/* what the options and the mode made of it; owned */
	char *image;
	char *workdir;		/* in the job; NULL: the image's */
	char *workdir_host;	/* a folder of this host that is shown there; NULL: none */
	struct weir_words command;	/* n = 0: the image's own */
	struct weir_words env;		/* NAME=VALUE; a later one wins. Engines see to it that no value stands on a command line */
	struct weir_words hidden;	/* names in env whose values no plan shows */
	struct weir_job_port *ports;
	size_t nports;
	/* the mount, once it is there */
	char *mountpoint;
	char *private_dir;	/* folder of a mount that only jobs use; NULL: somebody else's mount */
	int lock_fd;		/* on private_dir, shared while we use it */
	char *source;		/* mountpoint + path: what stands at /storage. NULL without storage */
	dev_t mount_dev;	/* of the mount that the job sees */
	struct weir_state *state;	/* its state folder; NULL in a dry run */
	int admission_fd;	/* >= 0: until it has one, no other job is counted or begun */
	int lease_fd;		/* >= 0: held as long as its rshare: is to be */
	int log_fd;		/* > 0: takes the job's output beside the terminal */
	int ready_fd;		/* >= 0: somebody waits there until a detached job has started */
	void *mode_data;	/* the mode's own, freed with free() */
	/* the end */
	int status;		/* the job's exit status, 128+N for a signal */
	bool was_started, is_timed_out, is_unsent;
	bool is_staged_sent;	/* what it changed in its folder is on the storages */
	bool is_detached;	/* by --detach, or because the mode is so */
	bool is_done;		/* ended by us, because it had done what it was for */
	int signal;		/* that ended weir's own work before the job began, or 0 */
	int64_t start_ms;
};

/* What an engine can keep a job to; what it cannot is said once, as a warning, and in weir-run(1). */
enum weir_engine_cap {
	WEIR_ENGINE_IMAGE = 1 << 0,	/* --image */
	WEIR_ENGINE_ROOTFS = 1 << 1,
	WEIR_ENGINE_CPUS = 1 << 2,
	WEIR_ENGINE_MEMORY = 1 << 3,
	WEIR_ENGINE_SHM = 1 << 4,
	WEIR_ENGINE_PIDS = 1 << 5,
	WEIR_ENGINE_NETWORK = 1 << 6,	/* a network of its own: ports are mapped. Without: the job uses this host's */
	WEIR_ENGINE_GPU = 1 << 7,
};

/* A job by what its state says of it, for those whose launcher has gone. */
struct weir_job_id {
	const char *name;
	pid_t pid;		/* of the engine's program or of the command itself; 0: not known */
};

/* One way to run a job. */
struct weir_engine {
	const char *name;
	unsigned caps;
	unsigned (*caps_here)(void);	/* those that this host lets it have; NULL: all */
	/* Can it do this job? No side effects. NOENT: the engine is not installed here. */
	enum weir_code (*check)(const struct weir_job *, struct weir_err *);
	/* Can the job reach a port of this host, and by which address of it (owned; NULL: not found out)? Both NULL: yes, by 127.0.0.1. */
	enum weir_code (*reaches_host)(const struct weir_job *, struct weir_err *);
	char *(*host_address)(const struct weir_job *);
	/* Have the image here, with progress. 0, or the exit status after one sentence (no such tag, a login is needed, the disk is full). NULL: nothing to get. */
	int (*pull)(struct weir_job *);
	/* What it will do, for --dry-run: words of a command line. */
	void (*words)(const struct weir_job *, struct weir_words *);
	/* In the child: become the job. Returns only on failure, with the exit status; writes the sentence. */
	int (*become)(const struct weir_job *, struct weir_err *);
	/* End the job by force; the child's end follows. */
	void (*kill)(const struct weir_job *, pid_t child);
	/* ---- by name: the launcher may be another process, or gone ---- */
	/* Is something of it running? */
	bool (*is_running)(const struct weir_job_id *);
	/* Ask it to end, force it after grace_ms, and take away what the engine keeps of it. 0 or -1 with a sentence in err. */
	int (*end)(const struct weir_job_id *, int64_t grace_ms, struct weir_err *);
	/* A process inside the running job: its mounts are the job's. 0: none. NULL: never. */
	pid_t (*inside)(const struct weir_job_id *);
	/* In a child: become COMMAND inside the running job. As become. */
	int (*enter)(const struct weir_job_id *, bool is_terminal, char *const *command, struct weir_err *);
	int failed_status;	/* by which the engine says that it failed itself; 0: none */
	bool ends_orphans;	/* what the job leaves running is our child then, and ends with it */
	bool sees_our_mounts;	/* the job's mounts are made from the launcher's, whatever namespace that is in */
};
extern const struct weir_engine weir_engine_podman, weir_engine_docker, weir_engine_apptainer, weir_engine_charliecloud, weir_engine_none;
const struct weir_engine *weir_engine_find(const char *name);	/* NULL: no such engine */
const struct weir_engine *weir_engine_choose(const struct weir_job *);	/* for an image or a rootfs: the first that is installed, else the first */
/* Says once what is asked for and cannot be had: limits that the engine cannot enforce here, an image made for the other kind of host, a GPU without what
 * containers need to use it. */
void weir_engine_warn(const struct weir_job *);
/* Every process of a job that runs on this host as it is has this in its environment, so that weir gc finds what is left of it. */
#define WEIR_JOB_VARIABLE "WEIR_JOB"

/* ---- storage.c ---- */
#define WEIR_STORAGE_FOLDER "weir-run."		/* + XXXXXX: a folder that holds the mount of jobs alone, */
#define WEIR_STORAGE_POINT "/storage"		/* and the mount in it */
bool weir_mount_is_dead(const char *mountpoint);	/* does nobody serve it any more? */
void weir_storage_find(struct weir_job *);	/* is there a mount already? Fills mountpoint and private_dir */
int weir_storage_check(struct weir_job *);	/* each: 0, or the exit status after saying why */
int weir_storage_take(struct weir_job *);
int weir_storage_flush(struct weir_job *);
void weir_storage_release(struct weir_job *);

/* ---- share.c ---- */
enum weir_code weir_share_parse(struct weir_job *, struct weir_err *);
int weir_share_open(struct weir_job *);	/* 0, or the exit status after saying why */
void weir_job_tell_share(const struct weir_job *, struct weir_buf *);

/* ---- staged.c ---- */
enum weir_code weir_staged_parse(struct weir_job *, struct weir_err *);
void weir_staged_add(struct weir_job *, const char *inside, const char *suffix);	/* unless it is named already */
enum weir_code weir_staged_settle(struct weir_job *, struct weir_err *);		/* once the mode has added its own */
int weir_staged_in(struct weir_job *);		/* each: 0, or the exit status after saying why */
int weir_staged_out(struct weir_job *);
void weir_staged_release(struct weir_job *);
void weir_job_tell_staged_in(const struct weir_job *, struct weir_buf *);
void weir_job_tell_staged_out(const struct weir_job *, struct weir_buf *);
struct weir_state;
bool weir_staged_is_left(const struct weir_state *);	/* has the job a folder still? */
int weir_staged_sweep(const struct weir_state *);	/* its launcher is gone: send, and remove the folder. 0, or 1 after saying why */

/* ---- datasets.c ---- */
/* Their folder as the job sees it. */
#define WEIR_DATASETS_PATH WEIR_JOB_STORAGE_PATH "/ai4os-storage/datasets"
enum weir_code weir_datasets_parse(struct weir_job *, struct weir_err *);
char *weir_datasets_inside(const struct weir_job *, size_t i);	/* of the i-th, as the job sees it. Owned */
int weir_datasets_fetch(struct weir_job *);			/* 0, or the exit status after saying why */
void weir_job_tell_datasets(const struct weir_job *, struct weir_buf *);

/* ---- reattach.c ---- */
dev_t weir_job_mount_dev(const struct weir_job *);	/* the device number of what is mounted at job->mountpoint; 0: nothing of weir's */
/* The mount at job->mountpoint is another one, of this number, than when the job started: show it at the job's /storage, in the same part and as writable as before.
 * inside: a process of the job. */
enum weir_code weir_job_reattach(const struct weir_job *, dev_t, pid_t inside, struct weir_err *);
/* Some mount came or went: do the above if it was the job's, and say so. */
void weir_job_remounted(struct weir_job *);

/* ---- child.c ---- */

/* How a companion ends; anything else: the job is to be ended, and this is the status of the whole. */
#define WEIR_COMPANION_GO_ON 0	/* it has nothing more to do */
#define WEIR_COMPANION_DONE 1	/* the job has done what it was for and is to be ended; a success */

/* A child process under control: signals sent to weir are passed on to it, a time limit ends it. */
struct weir_child {
	int (*become)(void *arg, struct weir_err *);	/* in the child; returns only on failure, with an exit status */
	void *arg;
	void (*force)(void *arg, pid_t);	/* instead of SIGKILL; may be NULL */
	int (*companion)(void *arg);		/* in a process of its own that runs beside it; its exit status. May be NULL */
	void (*started)(void *arg, pid_t);	/* once, after the exec; may be NULL */
	void (*remounted)(void *arg);		/* whenever a mount came or went; may be NULL */
	int64_t limit_ms;			/* 0: none */
	int64_t grace_ms;			/* between asking and forcing when its companion wants it to end; 0: 10 s */
	bool ends_orphans;
	int out_fd;				/* > 0: a file that takes its standard output */
	int log_fd;				/* > 0: takes its standard output and error beside the terminal, */
	bool is_silent;				/* or instead of it */
	bool keeps_terminal;			/* with log_fd: a terminal as standard error stays one, for progress that is drawn */
	/* results */
	int status;				/* exit status, 128+N */
	int signal;				/* last ending signal (INT, TERM, HUP, QUIT) that was passed on, or 0 */
	int companion_status;			/* WEIR_COMPANION_GO_ON unless it ended the job */
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
/* The same, its standard output on standard error (nowhere with -q): standard output is the job's. */
int weir_child_weir_told(struct weir_job *, const char *const *args);
/* The same beside this process, which does not wait for it and ends it with itself. For companions. */
void weir_child_weir_beside(const char *const *args);

/* "weir: SENTENCE" on standard error, and to whoever waits for a detached job to start. */
void weir_job_say(const char *fmt, ...) WEIR_PRINTF(1, 2);
/* Only to the one who waits, or else to standard error: what should not stand in a log. */
void weir_job_say_privately(struct weir_job *, const char *fmt, ...) WEIR_PRINTF(2, 3);
void weir_job_say_to(int fd);	/* -1: to nobody else any more */

/* ---- allow.c ---- */
/* Do [access] and [limits] allow it? 0 or WEIR_JOB_ACCESS (WEIR_JOB_USAGE: the policy is wrong) after a sentence. Limits fill in what the job left open. */
int weir_job_allow(struct weir_job *);

/* ---- parse.c, plan.c ---- */
enum weir_code weir_job_parse(struct weir_job *, struct weir_err *);
enum weir_code weir_job_settle(struct weir_job *, struct weir_err *);	/* what other jobs may have: ports. Under admission */
void weir_job_env(struct weir_job *, const char *name, const char *value);	/* what is added later wins */
void weir_job_port(struct weir_job *, const char *name, unsigned inside, unsigned outside);
void weir_job_free(struct weir_job *);
void weir_job_ready_when_running(struct weir_job *);	/* the same, once the engine says that it runs; blocks; nothing for one that is not detached */
void weir_job_ready(struct weir_job *);	/* a detached job: whoever waits for its start waits no more */
struct weir_job_step {
	const char *status;	/* of the job's state while it acts; NULL: as before */
	void (*tell)(const struct weir_job *, struct weir_buf *);	/* for --dry-run; NULL: nothing to tell */
	bool (*is_needed)(const struct weir_job *);			/* NULL: always */
	int (*act)(struct weir_job *);	/* 0, or the exit status that ends the story here */
	void (*undo)(struct weir_job *);	/* for a step whose act was begun; may be NULL */
};
void weir_job_print_plan(const struct weir_job *, const struct weir_job_step *, size_t n);
void weir_job_print_report(const struct weir_job *, int status);
void weir_job_tell_check(const struct weir_job *, struct weir_buf *);
void weir_job_tell_take(const struct weir_job *, struct weir_buf *);
void weir_job_tell_run(const struct weir_job *, struct weir_buf *);
void weir_job_tell_flush(const struct weir_job *, struct weir_buf *);
void weir_job_tell_release(const struct weir_job *, struct weir_buf *);

/* ---- modes ---- */
struct weir_mode {
	const char *name;
	enum weir_right right;		/* that [access] must give */
	bool wants_storage, needs_storage, keeps_log, keeps_state;
	bool is_silent;			/* what the job prints goes to its log alone */
	bool is_timed_success;		/* the time limit is how such a job ends */
	int64_t grace_ms;		/* as weir_child's */
	/* Defaults from the module's metadata and the mode's own rules; the person's options are in job->o and win. After the options were parsed. */
	enum weir_code (*prepare)(struct weir_job *, struct weir_err *);
	/* Once engine and ports are known: the variables that tell the job its ports. May be NULL. */
	enum weir_code (*settle)(struct weir_job *, struct weir_err *);
	/* Once the storage is there, before the job starts; and after its end, before all is sent: 0 or an exit status after a sentence. May be NULL. */
	int (*with_storage)(struct weir_job *);
	int (*before_flush)(struct weir_job *);
	int (*companion)(struct weir_job *);	/* as weir_child's; may be NULL */
	void (*finish)(struct weir_job *, int status);	/* words at the end; may be NULL */
};

#endif
