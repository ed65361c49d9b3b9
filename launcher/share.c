/* SPDX-License-Identifier: Apache-2.0 */
/* The job's own rclone remote rshare: its part of the tree over WebDAV (weir-share(1)), behind a token that ends with the job's launcher. */
#include "config.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "launch.h"
#include "engines/engines.h"
#include "state.h"

#define SHARE_TYPE "RCLONE_CONFIG_RSHARE_TYPE"

static bool
share_is_given(const struct weir_job *job)
{
	for (size_t i = 0; i < job->env.n; i++) {
		if (strncmp(job->env.v[i], SHARE_TYPE "=", sizeof(SHARE_TYPE)) == 0)
			return true;
	}
	return false;
}

/* Modules of the platform call rclone, so where they run the remote is there unless it is not wanted; one that the user describes is left alone. */
enum weir_code
weir_share_parse(struct weir_job *job, struct weir_err *err)
{
	const char *text = job->o->rshare;

	if (text != NULL && strcmp(text, "yes") != 0 && strcmp(text, "no") != 0)
		return weir_err_set(err, WEIR_E_INVAL, "--rshare '%s': wants yes or no", text);
	if (text != NULL && text[0] == 'y' && !job->has_storage)
		return weir_err_set(err, WEIR_E_INVAL, "--rshare yes needs storage");
	if (text != NULL && text[0] == 'y' && job->is_staged)
		return weir_err_set(err, WEIR_E_INVAL, "--rshare yes needs a mount, and --storage-mode is stage");
	if (text != NULL && text[0] == 'y' && share_is_given(job))
		return weir_err_set(err, WEIR_E_INVAL, "--rshare yes, and " SHARE_TYPE " is given to the job already");
	job->has_share = job->has_storage && !share_is_given(job) && (text != NULL ? text[0] == 'y' : job->mode != NULL) && !job->is_staged;
	if (!job->has_share || job->engine->reaches_host == NULL)
		return WEIR_OK;
	job->has_share = job->engine->reaches_host(job, err) == WEIR_OK;
	if (!job->has_share && text != NULL)
		return WEIR_E_INVAL;
	if (!job->has_share)
		weir_job_say("the job gets no rclone remote rshare: %s", weir_err_text(err, WEIR_E_INVAL));
	*err = (struct weir_err){0};
	return WEIR_OK;
}

void
weir_job_tell_share(const struct weir_job *job, struct weir_buf *out)
{
	weir_buf_addf(out, "serve '%s'%s to this job alone as its rclone remote rshare:, in RCLONE_CONFIG_RSHARE_*", job->path, job->is_readonly ? " (read-only)" : "");
}

/* Engines hand http_proxy on, and a proxy has no business with what this host says to its job. */
static void
share_spare_proxy(struct weir_job *job, const char *address)
{
	static const char *const names[] = {"no_proxy", "NO_PROXY"};

	for (size_t i = 0; i < WEIR_LEN(names); i++) {
		const char *old = weir_engine_env(job, names[i]);
		WEIR_AUTO(weir_freep) char *value = NULL;

		old = old != NULL ? old : getenv(names[i]);
		value = weir_xasprintf("%s%s%s", old != NULL ? old : "", old != NULL && old[0] != '\0' ? "," : "", address);
		weir_job_env(job, names[i], value);
	}
}

static int
share_take(struct weir_job *job, const char *text)
{
	json_t *answer = json_loads(text, 0, NULL), *value;
	const char *name;
	int status = WEIR_JOB_STORAGE;

	json_object_foreach (json_object_get(answer, "env"), name, value) {
		if (!json_is_string(value))
			continue;
		weir_job_env(job, name, json_string_value(value));
		weir_words_add(&job->hidden, name);
		status = 0;
	}
	json_decref(answer);
	return status;
}

/* A job that was not told to have it starts without. */
static int
share_failed(const struct weir_job *job, const char *why)
{
	if (job->signal != 0)
		return WEIR_JOB_STORAGE;
	weir_job_say("the job gets no rclone remote rshare: %s%s", why, job->o->rshare != NULL ? "; it was not started" : "");
	return job->o->rshare != NULL ? WEIR_JOB_STORAGE : 0;
}

/* A lease that this launcher holds: however it ends, the share ends with it. A file of its own, which a next job of this name removes: the lock of the state
 * folder would be that job's by the time somebody looks. */
static char *
share_lease(struct weir_job *job)
{
	char name[6 + 16 + 1] = "lease-";
	char *path;

	weir_random_hex(name + 6, 16);
	path = weir_state_file(job->state, name);
	job->lease_fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (job->lease_fd >= 0 && flock(job->lease_fd, LOCK_EX | LOCK_NB) == 0)
		return path;
	free(path);
	return NULL;
}

int
weir_share_open(struct weir_job *job)
{
	WEIR_AUTO(weir_freep) char *lease = share_lease(job);
	WEIR_AUTO(weir_freep) char *address = job->engine->host_address != NULL ? job->engine->host_address(job) : weir_xstrdup("127.0.0.1");
	WEIR_AUTO(weir_secret_freep) char *text = NULL;
	const char *const args[] = {"share", "--json", "--freebind", "--listen", address, "--lease", lease, job->is_readonly ? "--readonly" : "--", job->source, NULL};

	if (lease == NULL)
		return share_failed(job, "its state folder takes no lease");
	if (address == NULL)
		return share_failed(job, "the address by which it reaches this host is not known");
	if (weir_child_weir(job, args, &text) != 0 || text == NULL || share_take(job, text) != 0)
		return share_failed(job, "it could not be made");
	if (strcmp(address, "127.0.0.1") != 0)
		share_spare_proxy(job, address);
	return 0;
}
