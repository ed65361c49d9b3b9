/* SPDX-License-Identifier: Apache-2.0 */
/* May this job run? The access level of who starts it, and the limits of one job and of all. */
#include "config.h"

#include "jobs.h"
#include "launch.h"

static enum weir_code
allow_rights(const struct weir_job *job, struct weir_access *access, struct weir_err *err)
{
	enum weir_code r = weir_access_allows(access, job->mode != NULL ? job->mode->right : WEIR_RIGHT_DEVELOP, NULL, err);

	return r == WEIR_OK && job->has_storage ? weir_access_allows(access, WEIR_RIGHT_STORAGE, NULL, err) : r;
}

/* What was asked for must fit; what was not asked for is the limit, and so is what a mode wants beyond it by itself. */
static enum weir_code
allow_one(struct weir_access *access, enum weir_limit limit, bool is_asked, double wanted, double *out, struct weir_err *err)
{
	double most = weir_access_limit(access, limit);

	*out = most < 0 || (wanted > 0 && wanted <= most) ? wanted : most;
	return is_asked && wanted > 0 ? weir_access_fits(access, limit, wanted, 0, err) : WEIR_OK;
}

static enum weir_code
allow_limits(struct weir_job *job, struct weir_access *access, struct weir_err *err)
{
	double memory = 0, time = 0;
	enum weir_code r = allow_one(access, WEIR_LIMIT_CPUS, job->o->cpus != NULL, job->cpus, &job->cpus, err);

	if (r == WEIR_OK)
		r = allow_one(access, WEIR_LIMIT_MEMORY, job->o->memory != NULL, (double)job->memory_bytes, &memory, err);
	if (r == WEIR_OK)
		r = allow_one(access, WEIR_LIMIT_TIME, job->o->time != NULL, (double)job->time_ms, &time, err);
	if (r)
		return r;
	job->memory_bytes = (uint64_t)memory;
	job->time_ms = (int64_t)time;
	if (job->mode == &weir_mode_try && !job->o->is_dry_run)
		r = weir_access_fits(access, WEIR_LIMIT_TRIES, 1, (double)weir_jobs_count("try"), err);
	if (r == WEIR_OK && job->gpu.count > 0)
		r = weir_access_fits(access, WEIR_LIMIT_GPUS, job->gpu.count, (double)weir_jobs_gpus(), err);
	return r;
}

int
weir_job_allow(struct weir_job *job)
{
	WEIR_AUTO(weir_access_closep) struct weir_access *access = NULL;
	struct weir_err err = {0};
	enum weir_code r = weir_access_open(job->o->conf, &access, &err);

	if (r) {
		weir_job_say("%s", weir_err_text(&err, r));
		return WEIR_JOB_USAGE;
	}
	r = allow_rights(job, access, &err);
	if (r == WEIR_OK)
		r = allow_limits(job, access, &err);
	if (r)
		weir_job_say("%s", weir_err_text(&err, r));
	return r ? WEIR_JOB_ACCESS : 0;
}
