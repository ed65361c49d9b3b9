/* SPDX-License-Identifier: Apache-2.0 */
/* The options of the verbs that start a job: run, try, train, develop. */
#ifndef WEIR_CLI_JOBOPT_H
#define WEIR_CLI_JOBOPT_H
#include "cli.h"

#include "../../launcher/job.h"

struct weir_jobopt {
	const char *conf, *engine, *image, *rootfs, *storage, *storage_mode, *rshare, *workdir, *name, *cpus, *memory, *shm, *pids, *time, *gpus;
	struct weir_opt_list env, env_files, ports, stage, datasets;
	bool is_forced, is_detached, is_dry_run, is_json, is_quiet, is_without_storage;
	/* of one mode or another */
	const char *catalogue, *output, *data, *order, *ide, *idle;
	struct weir_opt_list inputs, args;
};
#define WEIR_JOBOPT_AT(field) offsetof(struct weir_jobopt, field)

/* What all four share. */
#define WEIR_JOBOPT_ENGINE \
    WEIR_OPT_CONF(struct weir_jobopt), \
    {"engine", 0, WEIR_OPT_TEXT, WEIR_JOBOPT_AT(engine), "ENGINE", "how to run it (default: with an image the first one installed, else none)"}
#define WEIR_JOBOPT_STORAGE \
    {"storage", 0, WEIR_OPT_TEXT, WEIR_JOBOPT_AT(storage), "PATH[:ro]", "part of the namespace that stands at /storage (default: / )"}, \
    {"rshare", 0, WEIR_OPT_TEXT, WEIR_JOBOPT_AT(rshare), "yes|no", "give the job that part as the rclone remote rshare: too (default: yes but for run)"}, \
    {"storage-mode", 0, WEIR_OPT_TEXT, WEIR_JOBOPT_AT(storage_mode), "mount|stage", "stage: without a mount, by copying paths in before and changes back after"}, \
    {"stage", 0, WEIR_OPT_LIST, WEIR_JOBOPT_AT(stage), "PATH[:ro|:out]", "a path that is copied in (:ro only in, :out only back); again for more"}, \
    {"dataset", 0, WEIR_OPT_LIST, WEIR_JOBOPT_AT(datasets), "DOI|URL", "a data set to be in /storage/ai4os-storage/datasets first; again for more"}, \
    {"force", 0, WEIR_OPT_FLAG, WEIR_JOBOPT_AT(is_forced), NULL, "with --dataset: fetch it again"}
#define WEIR_JOBOPT_JOB \
    {"env", 0, WEIR_OPT_LIST, WEIR_JOBOPT_AT(env), "NAME[=VALUE]", "a variable of the job's environment; again for more"}, \
    {"env-file", 0, WEIR_OPT_LIST, WEIR_JOBOPT_AT(env_files), "FILE", "variables, one NAME=VALUE a line"}, \
    {"port", 'p', WEIR_OPT_LIST, WEIR_JOBOPT_AT(ports), "[HOSTPORT:]PORT", "show a port of the job on 127.0.0.1; again for more"}, \
    {"cpus", 0, WEIR_OPT_TEXT, WEIR_JOBOPT_AT(cpus), "N", "processors the job may use"}, \
    {"memory", 0, WEIR_OPT_TEXT, WEIR_JOBOPT_AT(memory), "SIZE", "memory it may use"}, \
    {"shm", 0, WEIR_OPT_TEXT, WEIR_JOBOPT_AT(shm), "SIZE", "size of its /dev/shm (default: half of its memory)"}, \
    {"pids", 0, WEIR_OPT_TEXT, WEIR_JOBOPT_AT(pids), "N", "processes it may have"}, \
    {"gpus", 0, WEIR_OPT_TEXT, WEIR_JOBOPT_AT(gpus), "N[:MODEL]", "GPUs it gets"}, \
    {"time", 0, WEIR_OPT_TEXT, WEIR_JOBOPT_AT(time), "TIME", "time limit: 90s, 10min, 2h"}, \
    {"name", 0, WEIR_OPT_TEXT, WEIR_JOBOPT_AT(name), "NAME", "name of the job and its container"}
#define WEIR_JOBOPT_DETACH \
    {"detach", 'd', WEIR_OPT_FLAG, WEIR_JOBOPT_AT(is_detached), NULL, "print its name once it runs, and leave it running"}
#define WEIR_JOBOPT_END \
    {"dry-run", 'n', WEIR_OPT_FLAG, WEIR_JOBOPT_AT(is_dry_run), NULL, "print the steps, do nothing"}, \
    {"json", 0, WEIR_OPT_FLAG, WEIR_JOBOPT_AT(is_json), NULL, "with --dry-run: the steps as JSON; else a report on standard error at the end"}, \
    {"quiet", 'q', WEIR_OPT_FLAG, WEIR_JOBOPT_AT(is_quiet), NULL, "no progress"}

/* The whole of such a verb, from its command line to its exit status. mode NULL: run. */
int weir_jobopt_run(const struct weir_verb *, const struct weir_mode *, int argc, char **argv);

#endif
