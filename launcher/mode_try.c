/* SPDX-License-Identifier: Apache-2.0 */
/* weir try: a ready module for a few minutes, on this machine, without storage. Defaults as the platform's "try" has them: CPU, 1 to 8 processors and 1 to 16 GB as
 * the metadata asks for, 10 minutes, 3 at once. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "deepaas.h"
#include "mode.h"

#define TRY_TIME_MS (10 * 60 * 1000)
#define TRY_MB 1000000ull

static int64_t
try_clamp(int64_t value, int64_t least, int64_t most, int64_t otherwise)
{
	if (value < 0)
		return otherwise;
	return value < least ? least : value > most ? most : value;
}

static enum weir_code
try_prepare(struct weir_job *job, struct weir_err *err)
{
	struct weir_module_resources r;
	enum weir_code code = weir_mode_module(job, false, &r, err);

	if (code)
		return code;
	if (job->o->output != NULL && job->o->ninputs == 0)
		return weir_err_set(err, WEIR_E_INVAL, "--output is for the answers to --input, and there is none");
	if (job->o->ninputs > 0 && job->o->is_detached)
		return weir_err_set(err, WEIR_E_INVAL, "--input and --detach exclude each other: the answer comes here");
	for (size_t i = 0; i < job->o->ninputs; i++) {
		if (access(job->o->inputs[i], R_OK) != 0) {
			weir_err_errno(err, errno, "--input '%s'", job->o->inputs[i]);
			return WEIR_E_INVAL;
		}
	}
	weir_mode_gpu(job, &r);
	if (r.cpu > 8 || r.memory_mb > 16000)
		weir_job_say("module '%s' asks for %lld processors and %lld MB; a try gets 8 and 16000 at most (--cpus, --memory)", job->o->module, (long long)r.cpu, (long long)r.memory_mb);
	if (job->cpus == 0)
		job->cpus = (double)try_clamp(r.cpu, 1, 8, 1);
	if (job->memory_bytes == 0)
		job->memory_bytes = (uint64_t)try_clamp(r.memory_mb, 1000, 16000, 2000) * TRY_MB;
	if (job->time_ms == 0)
		job->time_ms = TRY_TIME_MS;
	if (job->command.n == 0) {
		weir_words_add(&job->command, "deep-start");
		weir_words_add(&job->command, "--deepaas");
	}
	weir_job_port(job, "api", WEIR_PORT_API, 0);
	return WEIR_OK;
}

static int
try_companion(struct weir_job *job)
{
	WEIR_AUTO(weir_freep) char *url = weir_xasprintf("http://127.0.0.1:%u", weir_mode_port(job, "api"));
	WEIR_AUTO(weir_freep) char *model = NULL;
	struct weir_deepaas *d;
	struct weir_err err = {0};
	int status;

	if (weir_deepaas_open(url, &d, &err) != WEIR_OK) {
		weir_job_say("%s", weir_err_text(&err, WEIR_E_IO));
		return WEIR_JOB_API;
	}
	status = weir_mode_wait_api(job, d, &model);
	if (status == WEIR_COMPANION_GO_ON && job->o->ninputs > 0) {
		status = weir_mode_predict(d, model, job->o->inputs, job->o->ninputs, job->o->args, job->o->nargs, job->o->output, job->o->is_json);
		status = status == 0 ? WEIR_COMPANION_DONE : status;
	} else if (status == WEIR_COMPANION_GO_ON) {
		weir_job_say("model '%s' answers at %s/ui for %lld min; try: weir predict %s FILE", model, url, (long long)(job->time_ms / 60000), job->name);
		weir_job_ready(job);
	}
	weir_deepaas_free(d);
	return status;
}

static void
try_finish(struct weir_job *job, int status)
{
	if (status == 0 || !job->was_started || job->is_timed_out || job->status == 0 || (status > 128 && status < 160))
		return;
	if (job->status != WEIR_JOB_API)
		weir_job_say("the module ended with status %d; its last words:", status);
	weir_mode_show_log(job);
}

const struct weir_mode weir_mode_try = {
    .name = "try",
    .right = WEIR_RIGHT_TRY,
    .keeps_log = true,
    .is_silent = true,
    .is_timed_success = true,
    .grace_ms = 300,	/* it has nothing to lose, and a server that is process 1 does not hear TERM */
    .prepare = try_prepare,
    .settle = weir_mode_settle,
    .companion = try_companion,
    .finish = try_finish,
};
