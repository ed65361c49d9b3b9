/* SPDX-License-Identifier: Apache-2.0 */
/* GPUs that processes of a job hold although the job is over: what a container engine lost, or what went on in the background. */
#include "config.h"

#include "sweep.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "gpu.h"
#include "launch.h"
#include "state.h"

#define GPUS_GRACE_MS 5000
#define GPUS_FORCE_MS 5000

/* A job that nobody knows of here may be another person's, or kept in another place: it is left alone. */
static bool
gpus_is_over(const char *name)
{
	struct weir_state *s;
	bool is_over;

	if (weir_state_read(name, &s, NULL) != WEIR_OK)
		return false;
	is_over = weir_state_is_over(s) && !s->is_live;
	weir_state_free(s);
	return is_over;
}

/* A process number may be another's by now: what it is called in is looked at again before each signal. */
static bool
gpus_signal(pid_t pid, const char *name, int sig)
{
	WEIR_AUTO(weir_freep) char *job = weir_gpu_job(pid);

	return job != NULL && strcmp(job, name) == 0 && (kill(pid, sig) == 0 || errno == EPERM);
}

static bool
gpus_end(pid_t pid, const char *name)
{
	int64_t begin = weir_now_ms();

	gpus_signal(pid, name, SIGTERM);
	while (gpus_signal(pid, name, weir_now_ms() - begin < GPUS_GRACE_MS ? 0 : SIGKILL)) {
		if (weir_now_ms() - begin > GPUS_GRACE_MS + GPUS_FORCE_MS)
			return false;
		poll(NULL, 0, 50);
	}
	return true;
}

void
weir_sweep_gpus(json_t *done)
{
	struct weir_gpus gpus;
	struct weir_gpu_held *held;
	size_t n;

	weir_gpus_find(&gpus);
	n = weir_gpus_held(&gpus, &held);
	for (size_t i = 0; i < n; i++) {
		const struct weir_gpu *g = &gpus.v[held[i].gpu];
		WEIR_AUTO(weir_freep) char *what = NULL;

		if (!gpus_is_over(held[i].job))
			continue;
		what = weir_xasprintf("GPU %u%s%s was held by process %d of job '%s', which is over", g->index, g->model[0] != '\0' ? ", " : "", g->model,
		    (int)held[i].pid, held[i].job);
		if (!gpus_end(held[i].pid, held[i].job))
			weir_job_say("%s; it does not end, not even killed", what);
		else if (done != NULL) {
			WEIR_AUTO(weir_freep) char *text = weir_xasprintf("%s; it was ended", what);

			json_array_append_new(done, json_string(text));
		}
	}
	weir_gpu_held_free(held, n);
	weir_gpus_free(&gpus);
}
