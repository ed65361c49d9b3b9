/* SPDX-License-Identifier: Apache-2.0 */
/* weir run: a command with the namespace at /storage. Options to a job; the launcher does the rest. */
#include "config.h"

#include "cli.h"

#include "../../backends/backend.h"
#include "../../launcher/job.h"

struct run_options {
	const char *conf, *engine, *image, *rootfs, *storage, *workdir, *name, *cpus, *memory, *time;
	struct weir_opt_list env, env_files;
	bool is_dry_run, is_json, is_quiet;
};
#define RUN_AT(field) offsetof(struct run_options, field)

static const struct weir_opt run_opts[] = {
    WEIR_OPT_CONF(struct run_options),
    {"engine", 0, WEIR_OPT_TEXT, RUN_AT(engine), "ENGINE", "podman or none (default: podman with an image or a rootfs, else none)"},
    {"image", 0, WEIR_OPT_TEXT, RUN_AT(image), "IMAGE", "container image"},
    {"rootfs", 0, WEIR_OPT_TEXT, RUN_AT(rootfs), "FOLDER", "a folder as the container's root, in place of an image"},
    {"storage", 0, WEIR_OPT_TEXT, RUN_AT(storage), "PATH[:ro]", "part of the namespace that stands at /storage (default: / )"},
    {"workdir", 0, WEIR_OPT_TEXT, RUN_AT(workdir), "FOLDER", "current directory of the job"},
    {"env", 0, WEIR_OPT_LIST, RUN_AT(env), "NAME[=VALUE]", "a variable of the job's environment; again for more"},
    {"env-file", 0, WEIR_OPT_LIST, RUN_AT(env_files), "FILE", "variables, one NAME=VALUE a line"},
    {"cpus", 0, WEIR_OPT_TEXT, RUN_AT(cpus), "N", "processors the job may use (podman)"},
    {"memory", 0, WEIR_OPT_TEXT, RUN_AT(memory), "SIZE", "memory it may use (podman)"},
    {"time", 0, WEIR_OPT_TEXT, RUN_AT(time), "TIME", "time limit: 90s, 10min, 2h"},
    {"name", 0, WEIR_OPT_TEXT, RUN_AT(name), "NAME", "name of the job and its container"},
    {"dry-run", 'n', WEIR_OPT_FLAG, RUN_AT(is_dry_run), NULL, "print the steps, do nothing"},
    {"json", 0, WEIR_OPT_FLAG, RUN_AT(is_json), NULL, "with --dry-run: the steps as JSON; else a report on standard error at the end"},
    {"quiet", 'q', WEIR_OPT_FLAG, RUN_AT(is_quiet), NULL, "no progress"},
};

/* No configuration at all is fine: the job runs without storage. One that was named must be there. */
static int
run_conf(const char *path, struct weir_conf **out)
{
	struct weir_err err = {0};
	size_t n;
	const struct weir_conf_type *types = weir_backend_types(&n);
	enum weir_code r = weir_conf_load(path, types, n, out, &err);

	if (r == WEIR_OK || (r == WEIR_E_NOENT && path == NULL))
		return WEIR_EXIT_OK;
	weir_say("%s", weir_err_text(&err, r));
	return WEIR_JOB_USAGE;
}

static int
run_run(const struct weir_verb *verb, int argc, char **argv)
{
	struct run_options o = {0};
	struct weir_conf *conf = NULL;
	int status, first = weir_opt_parse(verb, &o, argc, argv, &status);

	if (first < 0)
		return status;
	status = run_conf(o.conf, &conf);
	if (status == WEIR_EXIT_OK) {
		struct weir_job_options job = {
		    .conf = conf, .engine = o.engine, .image = o.image, .rootfs = o.rootfs, .workdir = o.workdir, .name = o.name,
		    .cpus = o.cpus, .memory = o.memory, .time = o.time, .storage = o.storage,
		    .env = o.env.v, .nenv = o.env.n, .env_files = o.env_files.v, .nenv_files = o.env_files.n,
		    .is_dry_run = o.is_dry_run, .is_json = o.is_json, .is_quiet = o.is_quiet, .command = argv + first,
		};

		status = weir_job_run(&job);
	}
	free(o.env.v);
	free(o.env_files.v);
	weir_conf_free(conf);
	return status;
}

const struct weir_verb weir_verb_run = {
    .name = "run",
    .operands = "-- COMMAND…",
    .summary = "run a command with the namespace at /storage",
    .details = "The exit status is the command's, 128+N when signal N ended it; 240 and above are weir's own, see weir-run(1).",
    .opts = run_opts,
    .nopts = WEIR_LEN(run_opts),
    .min_operands = 1,
    .max_operands = -1,
    .stops_early = true,
    .usage_status = WEIR_JOB_USAGE,
    .run = run_run,
};
