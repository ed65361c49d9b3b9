/* SPDX-License-Identifier: Apache-2.0 */
/* A job: a command that sees the namespace at /storage. The door of the launcher; weir-run(1) is its manual.
 * The launcher reaches a mount through weir's own command line and through the kernel's list of mounts, and in no other way. */
#ifndef WEIR_JOB_H
#define WEIR_JOB_H
#include <stdbool.h>
#include <stddef.h>

struct weir_conf;
struct weir_mode;

/* Exit statuses for weir's own failures; everything below is the job's (128+N: ended by signal N). */
enum weir_job_exit {
	WEIR_JOB_ACCESS = 239,	/* the access level does not allow it, or too many run already: not started */
	WEIR_JOB_USAGE = 240,	/* options or configuration are wrong */
	WEIR_JOB_STORAGE = 241,	/* a remote refuses us or does not answer: the job was not started */
	WEIR_JOB_MOUNT = 242,	/* the namespace could not be mounted or shown at /storage: not started */
	WEIR_JOB_ENGINE = 243,	/* the engine is missing or cannot do this job, or its image cannot be had: not started */
	WEIR_JOB_UNSENT = 244,	/* the job ended, but not all it wrote could be sent; it is kept */
	WEIR_JOB_TIME = 245,	/* the time limit ended it */
	WEIR_JOB_GPU = 246,	/* this host has not the GPUs that were asked for: not started */
	WEIR_JOB_API = 247,	/* the module's API did not answer, answered wrongly, or is not the module */
};

/* The modes of a job. NULL instead of one: a plain `weir run`. */
extern const struct weir_mode weir_mode_try, weir_mode_train, weir_mode_develop;

/* Everything borrowed, and valid until weir_job_run() returns. NULL or 0: not given. */
struct weir_job_options {
	const struct weir_conf *conf;	/* NULL: without storage */
	const struct weir_mode *mode;
	const char *module;		/* try, train, develop: name in the catalogue, or an image reference */
	const char *catalogue;		/* instead of [catalogue] url */
	const char *engine;		/* NULL: with an image or a rootfs the first one installed, else none */
	const char *image, *rootfs, *workdir, *name, *cpus, *memory, *shm, *pids, *time, *gpus;
	const char *storage;		/* PATH[:ro]; NULL: "/" */
	const char *storage_mode;	/* mount, stage; NULL: stage if paths are named for it, else mount */
	const char *const *stage, *const *datasets;
	size_t nstage, ndatasets;
	bool is_forced;			/* fetch data sets anew */
	const char *rshare;		/* yes, no; NULL: as the mode has it */
	const char *const *env, *const *env_files, *const *ports;
	size_t nenv, nenv_files, nports;
	/* try */
	const char *const *inputs;
	size_t ninputs;
	/* try, train */
	const char *output;
	/* train */
	const char *data, *order;
	const char *const *args;
	size_t nargs;
	/* develop */
	const char *ide, *idle;
	bool is_detached, is_dry_run, is_json, is_quiet, is_without_storage;
	char *const *command;		/* NULL-terminated; NULL or empty: the image's own */
	/* as it was typed, for `weir again` */
	int argc;
	char **argv;
};

/* Names of the engines, for --help: "podman, none". */
const char *weir_job_engines(void);
/* Parse, check, act. Sentences go to standard error. */
int weir_job_run(const struct weir_job_options *);

#endif
