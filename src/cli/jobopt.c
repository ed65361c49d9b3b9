/* SPDX-License-Identifier: Apache-2.0 */
/* From a command line to a job. The launcher does the rest. */
#include "config.h"

#include "jobopt.h"

#include <string.h>

#include "../../backends/backend.h"

/* No configuration at all is fine: the job runs without storage. One that was named must be there. */
static int
jobopt_conf(const char *path, struct weir_conf **out)
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

/* MODULE [-- COMMAND…] for the modes, COMMAND… for run. develop may go without a module. */
static int
jobopt_operands(const struct weir_verb *verb, const struct weir_mode *mode, int n, char **v, struct weir_job_options *job)
{
	if (mode == NULL) {
		job->command = v;
		return WEIR_EXIT_OK;
	}
	if (n > 0 && strcmp(v[0], "--") != 0) {
		job->module = v[0];
		n--;
		v++;
	}
	if (n > 0 && strcmp(v[0], "--") != 0) {
		weir_say("%s: too much: '%s'; a command for the job stands after --; see 'weir %s --help'", verb->name, v[0], verb->name);
		return WEIR_JOB_USAGE;
	}
	if (n > 0)
		job->command = v + 1;
	return WEIR_EXIT_OK;
}

static void
jobopt_fill(const struct weir_jobopt *o, struct weir_job_options *job)
{
	job->engine = o->engine;
	job->image = o->image;
	job->rootfs = o->rootfs;
	job->workdir = o->workdir;
	job->name = o->name;
	job->cpus = o->cpus;
	job->memory = o->memory;
	job->shm = o->shm;
	job->pids = o->pids;
	job->time = o->time;
	job->gpus = o->gpus;
	job->storage = o->storage;
	job->rshare = o->rshare;
	job->storage_mode = o->storage_mode;
	job->stage = o->stage.v;
	job->nstage = o->stage.n;
	job->datasets = o->datasets.v;
	job->ndatasets = o->datasets.n;
	job->is_forced = o->is_forced;
	job->order = o->order;
	job->env = o->env.v;
	job->nenv = o->env.n;
	job->env_files = o->env_files.v;
	job->nenv_files = o->env_files.n;
	job->ports = o->ports.v;
	job->nports = o->ports.n;
	job->catalogue = o->catalogue;
	job->inputs = o->inputs.v;
	job->ninputs = o->inputs.n;
	job->output = o->output;
	job->data = o->data;
	job->args = o->args.v;
	job->nargs = o->args.n;
	job->ide = o->ide;
	job->idle = o->idle;
	job->is_detached = o->is_detached;
	job->is_dry_run = o->is_dry_run;
	job->is_json = o->is_json;
	job->is_quiet = o->is_quiet;
	job->is_without_storage = o->is_without_storage;
}

static void
jobopt_free(struct weir_jobopt *o)
{
	free(o->env.v);
	free(o->env_files.v);
	free(o->ports.v);
	free(o->stage.v);
	free(o->datasets.v);
	free(o->inputs.v);
	free(o->args.v);
}

/* Where the options end: getopt would take "--" away, and with it the border between the module and the command. */
static int
jobopt_border(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0)
			return i;
	}
	return argc;
}

int
weir_jobopt_run(const struct weir_verb *verb, const struct weir_mode *mode, int argc, char **argv)
{
	struct weir_jobopt o = {0};
	struct weir_conf *conf = NULL;
	struct weir_job_options job = {.mode = mode, .argc = argc, .argv = argv};
	WEIR_AUTO(weir_freep) char **typed = weir_xcalloc((size_t)argc + 1, sizeof(*typed));
	int border = mode != NULL ? jobopt_border(argc, argv) : argc, first, status;

	memcpy(typed, argv, (size_t)argc * sizeof(*typed));	/* getopt reorders argv, and a job keeps what was typed */
	job.argv = typed;
	first = weir_opt_parse(verb, &o, border, argv, &status);
	if (first >= 0) {
		status = jobopt_operands(verb, mode, argc - first, argv + first, &job);
		if (status == WEIR_EXIT_OK)
			status = jobopt_conf(o.conf, &conf);
		if (status == WEIR_EXIT_OK) {
			job.conf = conf;
			jobopt_fill(&o, &job);
			status = weir_job_run(&job);
		}
	}
	jobopt_free(&o);
	weir_conf_free(conf);
	return status;
}
