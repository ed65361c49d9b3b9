/* SPDX-License-Identifier: Apache-2.0 */
/* --dataset: data sets by DOI or address are in the tree before the job starts. dataset.h says how; here it is called as `weir dataset fetch`. */
#include "config.h"

#include <string.h>

#include "../src/conf/conf.h"
#include "dataset.h"
#include "launch.h"

enum weir_code
weir_datasets_parse(struct weir_job *job, struct weir_err *err)
{
	const struct weir_job_options *o = job->o;

	if (o->is_forced && o->ndatasets == 0)
		return weir_err_set(err, WEIR_E_INVAL, "--force is for --dataset, and there is none");
	if (o->ndatasets > 0 && !job->has_storage)
		return weir_err_set(err, WEIR_E_INVAL, "--dataset needs storage");
	if (o->ndatasets > 0 && job->is_readonly)
		return weir_err_set(err, WEIR_E_INVAL, "--dataset needs a storage that it can write to, and --storage says ro");
	for (size_t i = 0; i < o->ndatasets; i++) {
		WEIR_AUTO(weir_freep) char *inside = weir_datasets_inside(job, i);

		if (inside == NULL)
			return weir_err_set(err, WEIR_E_INVAL, "--dataset '%s' is neither a DOI nor an address", o->datasets[i]);
		if (job->is_staged)
			weir_staged_add(job, inside, ":ro");
	}
	return WEIR_OK;
}

char *
weir_datasets_inside(const struct weir_job *job, size_t i)
{
	WEIR_AUTO(weir_freep) char *id = weir_dataset_id(job->o->datasets[i]);

	return id != NULL ? weir_xasprintf(WEIR_DATASETS_PATH "/%s", id) : NULL;
}

void
weir_job_tell_datasets(const struct weir_job *job, struct weir_buf *out)
{
	weir_buf_adds(out, job->o->is_forced ? "fetch anew" : "fetch, unless it is there and right,");
	for (size_t i = 0; i < job->o->ndatasets; i++)
		weir_buf_addf(out, "%s %s", i > 0 ? "," : "", job->o->datasets[i]);
	weir_buf_adds(out, " to " WEIR_DATASETS_PATH);
}

/* Into the job's part of the mount, or with --storage-mode stage into the namespace. */
int
weir_datasets_fetch(struct weir_job *job)
{
	const char *below = WEIR_DATASETS_PATH + strlen(WEIR_JOB_STORAGE_PATH);
	WEIR_AUTO(weir_freep) char *to = job->source != NULL ? weir_xasprintf("%s%s", job->source, below) : weir_xasprintf(":%s", below);

	for (size_t i = 0; i < job->o->ndatasets; i++) {
		const char *args[] = {"dataset", "-c", job->o->conf->path, "--to", to, NULL, NULL, "fetch", job->o->datasets[i], NULL};
		const char *words[WEIR_LEN(args)] = {0};
		size_t n = 0;

		args[5] = job->o->is_forced ? "--force" : NULL;
		args[6] = job->o->is_quiet ? "--quiet" : NULL;
		for (size_t k = 0; k < WEIR_LEN(args); k++) {
			if (args[k] != NULL)
				words[n++] = args[k];
		}
		if (weir_child_weir_told(job, words) != 0) {
			if (job->signal == 0)
				weir_job_say("the data set '%s' is not there, so the job was not started", job->o->datasets[i]);
			return WEIR_JOB_STORAGE;
		}
	}
	return 0;
}
