/* SPDX-License-Identifier: Apache-2.0 */
/* What a job will not get although it is asked for, said once, before it starts. */
#include "config.h"

#include "engines.h"

#include <string.h>

static void
warn_add(struct weir_buf *out, bool is_wanted, unsigned caps, unsigned cap, const char *option)
{
	if (is_wanted && (caps & cap) == 0)
		weir_buf_addf(out, "%s%s", out->len > 0 ? ", " : "", option);
}

static void
warn_limits(const struct weir_job *job)
{
	unsigned caps = job->engine->caps_here != NULL ? job->engine->caps_here() : job->engine->caps;
	WEIR_AUTO(weir_buf_free) struct weir_buf lost = WEIR_BUF(256);

	warn_add(&lost, job->cpus > 0, caps, WEIR_ENGINE_CPUS, "processors");
	warn_add(&lost, job->memory_bytes > 0, caps, WEIR_ENGINE_MEMORY, "memory");
	warn_add(&lost, job->o->shm != NULL, caps, WEIR_ENGINE_SHM, "shared memory");
	warn_add(&lost, job->pids > 0, caps, WEIR_ENGINE_PIDS, "processes");
	if (lost.len > 0)
		weir_job_say("warning: engine '%s' cannot hold the job to its limits here: %s", job->engine->name, weir_buf_str(&lost));
}

/* "cpu", "cpu-test", "2.1-gpu", "cuda11.8": a part of the tag between anything that is not a letter. */
static bool
warn_tag_has(const char *tag, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = tag; (p = strstr(p, word)) != NULL; p++) {
		bool begins = p == tag || !((p[-1] >= 'a' && p[-1] <= 'z') || (p[-1] >= 'A' && p[-1] <= 'Z'));
		bool ends = !((p[len] >= 'a' && p[len] <= 'z') || (p[len] >= 'A' && p[len] <= 'Z'));

		if (begins && ends)
			return true;
	}
	return false;
}

/* Platforms publish two images of a module under one name; the wrong one starts, and then is slow or fails late. */
static void
warn_image(const struct weir_job *job)
{
	const char *base = job->image != NULL ? strrchr(job->image, '/') : NULL;
	const char *colon = job->image != NULL ? strchr(base != NULL ? base : job->image, ':') : NULL;
	WEIR_AUTO(weir_freep) char *tag = colon != NULL ? weir_xstrndup(colon + 1, strcspn(colon + 1, "@")) : NULL;

	if (tag == NULL)
		return;
	if (weir_engine_ngpus(job) > 0 && warn_tag_has(tag, "cpu"))
		weir_job_say("warning: image '%s' is by its tag one for processors only: it will not use the GPU", job->image);
	else if (weir_engine_ngpus(job) == 0 && (warn_tag_has(tag, "gpu") || warn_tag_has(tag, "cuda")))
		weir_job_say("warning: image '%s' is by its tag one for GPUs, and the job has none (--gpus 1 gives it one)", job->image);
}

/* With device files alone a container runs, but finds the driver's libraries only where it looks for them. */
static void
warn_cdi(const struct weir_job *job)
{
	bool is_podman = job->engine == &weir_engine_podman;

	if (!is_podman || weir_engine_ngpus(job) == 0 || weir_engine_gpu(job, 0)->vendor != WEIR_GPU_NVIDIA || weir_gpu_cdi(&job->gpus, weir_engine_gpu(job, 0)) != NULL)
		return;
	weir_job_say("warning: no CDI specification names this GPU: the job gets its device files, and the driver's libraries in /usr/local/nvidia/lib64 only; "
		     "'nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml' makes one");
}

void
weir_engine_warn(const struct weir_job *job)
{
	warn_limits(job);
	warn_image(job);
	warn_cdi(job);
}
