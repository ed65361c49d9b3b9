/* SPDX-License-Identifier: Apache-2.0 */
/* A job: a command that sees the namespace at /storage. The door of the launcher; weir-run(1) is its manual.
 * The launcher reaches a mount through weir's own command line and through the kernel's list of mounts, and in no other way. */
#ifndef WEIR_JOB_H
#define WEIR_JOB_H
#include <stdbool.h>
#include <stddef.h>

struct weir_conf;

/* Exit statuses for weir's own failures; everything below is the job's (128+N: ended by signal N). */
enum weir_job_exit {
	WEIR_JOB_USAGE = 240,	/* options or configuration are wrong */
	WEIR_JOB_STORAGE = 241,	/* a remote refuses us or does not answer: the job was not started */
	WEIR_JOB_MOUNT = 242,	/* the namespace could not be mounted or shown at /storage: not started */
	WEIR_JOB_ENGINE = 243,	/* the engine is missing or cannot do this job: not started */
	WEIR_JOB_UNSENT = 244,	/* the job ended, but not all it wrote could be sent; it is kept */
	WEIR_JOB_TIME = 245,	/* the time limit ended it */
};

struct weir_job_options {
	const struct weir_conf *conf;	/* NULL: without storage */
	const char *engine;		/* NULL: podman with an image or a rootfs, else none */
	const char *image, *rootfs, *workdir, *name, *cpus, *memory, *time;
	const char *storage;		/* PATH[:ro]; NULL: "/" */
	const char *const *env, *const *env_files;
	size_t nenv, nenv_files;
	bool is_dry_run, is_json, is_quiet;
	char *const *command;		/* NULL-terminated, at least one */
};

/* Names of the engines, for --help: "podman, none". */
const char *weir_job_engines(void);
/* Parse, check, act. Sentences go to standard error. */
int weir_job_run(const struct weir_job_options *);

#endif
