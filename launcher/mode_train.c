/* SPDX-License-Identifier: Apache-2.0 */
/* weir train: a module's training, or any command in it, as a batch job with the storage at /storage. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../src/util/inside.h"
#include "mode.h"
#include "state.h"

#define TRAIN_MB 1000000ull

/* Paths of the namespace as the job sees them; NULL: not given. */
struct train {
	char data[1024], output[1024];
};

/* PATH below the part of the namespace that is at /storage; people may also write /storage/… as the job does. */
static enum weir_code
train_path(const struct weir_job *job, const char *option, const char *path, char out[1024], struct weir_err *err)
{
	size_t len = strlen(job->path);

	out[0] = '\0';
	if (path == NULL)
		return WEIR_OK;
	if (path[0] != '/' || strstr(path, "/../") != NULL)
		return weir_err_set(err, WEIR_E_INVAL, "%s '%s': wants a path in the namespace, as /datasets/digits", option, path);
	if (strcmp(path, WEIR_JOB_STORAGE_PATH) == 0 || strncmp(path, WEIR_JOB_STORAGE_PATH "/", strlen(WEIR_JOB_STORAGE_PATH) + 1) == 0)
		snprintf(out, 1024, "%s", path);
	else if (len == 1)
		snprintf(out, 1024, WEIR_JOB_STORAGE_PATH "%s", path);
	else if (strncmp(path, job->path, len) == 0 && (path[len] == '/' || path[len] == '\0'))
		snprintf(out, 1024, WEIR_JOB_STORAGE_PATH "%s", path + len);
	else
		return weir_err_set(err, WEIR_E_INVAL, "%s '%s' is not below '%s', which is all that the job sees (--storage)", option, path, job->path);
	return WEIR_OK;
}

/* {data} and {output} in a word of the command. */
static enum weir_code
train_fill(const struct train *t, const char *word, struct weir_words *out, struct weir_err *err)
{
	struct weir_buf text = WEIR_BUF(1u << 20);
	enum weir_code r = WEIR_OK;

	while (*word != '\0' && r == WEIR_OK) {
		const char *value = strncmp(word, "{data}", 6) == 0 ? t->data : strncmp(word, "{output}", 8) == 0 ? t->output : NULL;

		if (value == NULL)
			weir_buf_addc(&text, *word++);
		else if (value[0] == '\0')
			r = weir_err_set(err, WEIR_E_INVAL, "the command has %.*s, and there is no %s", (int)strcspn(word, "}") + 1, word, value == t->data ? "--data" : "--output");
		else {
			weir_buf_adds(&text, value);
			word += strcspn(word, "}") + 1;
		}
	}
	if (r == WEIR_OK)
		weir_words_add(out, weir_buf_str(&text));
	weir_buf_free(&text);
	return r;
}

static enum weir_code
train_fill_all(struct weir_job *job, const struct train *t, struct weir_err *err)
{
	struct weir_words filled = {0};
	enum weir_code r = WEIR_OK;

	for (size_t i = 0; i < job->command.n && r == WEIR_OK; i++)
		r = train_fill(t, job->command.v[i], &filled, err);
	weir_words_free(&job->command);
	job->command = filled;
	return r;
}

/* deepaas-cli [--deepaas_method_output F] train --NAME VALUE … */
static enum weir_code
train_command(struct weir_job *job, const struct train *t, struct weir_err *err)
{
	if (job->command.n > 0 && job->o->nargs > 0)
		return weir_err_set(err, WEIR_E_INVAL, "--arg is for the module's own training; a command after -- takes its arguments there");
	if (job->command.n > 0)
		return train_fill_all(job, t, err);
	weir_words_add(&job->command, "deepaas-cli");
	if (t->output[0] != '\0') {
		WEIR_AUTO(weir_freep) char *metrics = weir_xasprintf("{output}/%s.json", job->name);

		weir_words_add(&job->command, "--deepaas_method_output");
		weir_words_add(&job->command, metrics);
	}
	weir_words_add(&job->command, "train");
	for (size_t i = 0; i < job->o->nargs; i++) {
		size_t len = strcspn(job->o->args[i], "=");
		WEIR_AUTO(weir_freep) char *option = weir_xasprintf("--%.*s", (int)len, job->o->args[i]);

		if (len == 0 || job->o->args[i][len] == '\0')
			return weir_err_set(err, WEIR_E_INVAL, "--arg '%s': wants NAME=VALUE", job->o->args[i]);
		weir_words_add(&job->command, option);
		weir_words_add(&job->command, job->o->args[i] + len + 1);
	}
	return train_fill_all(job, t, err);
}

/* One data set is the data when no other is named. */
static enum weir_code
train_needs(struct weir_job *job, struct train *t, struct weir_err *err)
{
	if (t->data[0] == '\0' && job->o->ndatasets == 1) {
		WEIR_AUTO(weir_freep) char *inside = weir_datasets_inside(job, 0);

		snprintf(t->data, sizeof(t->data), "%s", inside);
	}
	if (job->o->order != NULL && (t->data[0] == '\0' || job->is_staged))
		return weir_err_set(err, WEIR_E_INVAL, job->is_staged ? "--order needs a mount, and --storage-mode is stage" : "--order lists files below --data, and there is none");
	if (job->is_staged && t->data[0] != '\0')
		weir_staged_add(job, t->data, ":ro");
	if (job->is_staged && t->output[0] != '\0')
		weir_staged_add(job, t->output, ":out");
	return WEIR_OK;
}

static enum weir_code
train_prepare(struct weir_job *job, struct weir_err *err)
{
	struct train *t = weir_xcalloc(1, sizeof(*t));
	struct weir_module_resources res;
	enum weir_code r = weir_mode_module(job, true, &res, err);

	job->mode_data = t;
	if (r == WEIR_OK)
		r = train_path(job, "--data", job->o->data, t->data, err);
	if (r == WEIR_OK)
		r = train_path(job, "--output", job->o->output, t->output, err);
	if (r == WEIR_OK)
		r = train_needs(job, t, err);
	if (r == WEIR_OK)
		r = train_command(job, t, err);
	if (r)
		return r;
	weir_mode_gpu(job, &res);
	if (job->cpus == 0 && res.cpu > 0)
		job->cpus = (double)res.cpu;
	if (job->memory_bytes == 0 && res.memory_mb > 0)
		job->memory_bytes = (uint64_t)res.memory_mb * TRAIN_MB;
	weir_job_port(job, "monitor", WEIR_PORT_MONITOR, 0);
	if (t->data[0] != '\0')
		weir_job_env(job, "WEIR_DATA", t->data);
	if (t->output[0] != '\0')
		weir_job_env(job, "WEIR_OUTPUT", t->output);
	return WEIR_OK;
}

/* ---- once the storage is there ---- */

static char *
train_here(const struct weir_job *job, const char *inside)
{
	return weir_xasprintf("%s%s", job->source, inside + strlen(WEIR_JOB_STORAGE_PATH));
}

static int
train_storage(struct weir_job *job)
{
	const struct train *t = job->mode_data;
	struct stat st;

	if (t->data[0] != '\0') {
		WEIR_AUTO(weir_freep) char *data = train_here(job, t->data);

		if (stat(data, &st) != 0) {
			weir_job_say("--data '%s': %s", job->o->data, strerror(errno));
			return WEIR_JOB_STORAGE;
		}
	}
	if (t->output[0] != '\0') {
		WEIR_AUTO(weir_closep) int root = open(job->source, O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (root < 0 || weir_inside_mkdirs(root, t->output + strlen(WEIR_JOB_STORAGE_PATH), 0777) != 0) {
			weir_job_say("--output '%s': %s", job->o->output, strerror(errno));
			return WEIR_JOB_STORAGE;
		}
	}
	return 0;
}

/* The log goes beside the results, while the storage is still there: and nowhere else, whatever links the job has put there. */
static int
train_keep_log(struct weir_job *job)
{
	const struct train *t = job->mode_data;
	WEIR_AUTO(weir_freep) char *log = weir_state_file(job->state, "log"), *copy = NULL;
	WEIR_AUTO(weir_closep) int from = open(log, O_RDONLY | O_CLOEXEC);
	WEIR_AUTO(weir_closep) int root = open(job->source, O_PATH | O_DIRECTORY | O_CLOEXEC);
	WEIR_AUTO(weir_closep) int to = -1;
	char text[1 << 16];
	ssize_t n = 0;

	if (t->output[0] == '\0' || from < 0)
		return 0;
	copy = weir_xasprintf("%s/%s.log", t->output + strlen(WEIR_JOB_STORAGE_PATH), job->name);
	if (root >= 0)
		to = weir_inside_open(root, copy, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0666);
	for (off_t at = 0; to >= 0 && (n = pread(from, text, sizeof(text), at)) > 0; at += n) {
		if (weir_pwrite_full(to, text, (size_t)n, at) != 0)
			break;
	}
	if (to < 0 || n != 0)
		weir_job_say("the job's log could not be copied to '%s': %s; 'weir logs %s' has it", job->o->output, strerror(errno), job->name);
	return 0;
}

/* Beside the job, ended with it. What it could not fetch the job fetches itself when it reads. */
static void
train_prefetch(const struct weir_job *job)
{
	const struct train *t = job->mode_data;
	WEIR_AUTO(weir_freep) char *data = train_here(job, t->data);
	const char *const args[] = {"prefetch", "--quiet", "--order", job->o->order, data, NULL};

	if (job->o->order != NULL)
		weir_child_weir_beside(args);
}

static int
train_companion(struct weir_job *job)
{
	train_prefetch(job);
	weir_job_ready_when_running(job);
	weir_mode_watch_monitor(job);
}

const struct weir_mode weir_mode_train = {
    .name = "train",
    .right = WEIR_RIGHT_TRAIN,
    .wants_storage = true,
    .needs_storage = true,
    .keeps_log = true,
    .keeps_state = true,
    .prepare = train_prepare,
    .settle = weir_mode_settle,
    .with_storage = train_storage,
    .before_flush = train_keep_log,
    .companion = train_companion,
};
