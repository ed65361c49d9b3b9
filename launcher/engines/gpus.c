/* SPDX-License-Identifier: Apache-2.0 */
/* The GPUs that were picked for a job, as engines want to hear of them. */
#include "config.h"

#include "engines.h"

#include <errno.h>
#include <string.h>

size_t
weir_engine_ngpus(const struct weir_job *job)
{
	return job->picked != NULL && job->gpu.count != WEIR_GPU_ALL ? job->gpu.count : 0;
}

const struct weir_gpu *
weir_engine_gpu(const struct weir_job *job, size_t i)
{
	return &job->gpus.v[job->picked[i]];
}

char *
weir_engine_gpu_list(const struct weir_job *job)
{
	struct weir_buf out = WEIR_BUF(1u << 16);

	for (size_t i = 0; i < weir_engine_ngpus(job); i++) {
		const struct weir_gpu *g = weir_engine_gpu(job, i);

		weir_buf_adds(&out, i > 0 ? "," : "");
		if (g->uuid[0] != '\0')
			weir_buf_adds(&out, g->uuid);
		else
			weir_buf_addf(&out, "%u", g->index);
	}
	return weir_buf_take(&out);
}

/* A batch system that has already said which devices are ours is not contradicted: 0 GPUs asked of us is then not "none". */
static bool
gpus_are_set(const struct weir_job *job, const char *name)
{
	return weir_engine_env(job, name) != NULL || (weir_engine_ngpus(job) == 0 && getenv(name) != NULL);
}

enum weir_code
weir_engine_gpu_environment(const struct weir_job *job, const char *before, struct weir_err *err)
{
	static const char *const cuda[] = {"CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"}, *const rocm[] = {"ROCR_VISIBLE_DEVICES"};
	WEIR_AUTO(weir_freep) char *list = weir_engine_gpu_list(job);
	bool is_amd = weir_engine_ngpus(job) > 0 && weir_engine_gpu(job, 0)->vendor == WEIR_GPU_AMD;
	bool is_none = weir_engine_ngpus(job) == 0;

	for (size_t i = 0; i < WEIR_LEN(cuda) + WEIR_LEN(rocm); i++) {
		const char *name = i < WEIR_LEN(cuda) ? cuda[i] : rocm[0];
		bool is_for_it = !is_none && (i < WEIR_LEN(cuda)) != is_amd;
		const char *value = is_for_it ? list : i == 1 ? "none" : "";
		WEIR_AUTO(weir_freep) char *whole = weir_xasprintf("%s%s", before, name);

		if (!gpus_are_set(job, name) && setenv(whole, value, 1) != 0)
			return weir_err_errno(err, errno, "variable '%s'", whole);
	}
	return WEIR_OK;
}

static bool
gpus_has_word(const struct weir_words *w, const char *word)
{
	for (size_t i = 0; i < w->n; i++) {
		if (strcmp(w->v[i], word) == 0)
			return true;
	}
	return false;
}

void
weir_engine_gpu_nodes(const struct weir_job *job, struct weir_words *out)
{
	for (size_t i = 0; i < weir_engine_ngpus(job); i++) {
		const struct weir_gpu *g = weir_engine_gpu(job, i);

		for (size_t k = 0; k < g->nodes.n; k++) {
			if (!gpus_has_word(out, g->nodes.v[k]))
				weir_words_add(out, g->nodes.v[k]);
		}
	}
}
