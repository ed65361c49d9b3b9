/* SPDX-License-Identifier: Apache-2.0 */
/* A job from its options to its exit status: parse, check, act. The story is the table of steps; an act that fails ends it, and what
 * was done is undone backwards. */
#include "config.h"

#include "job.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "../src/conf/conf.h"
#include "../src/util/text.h"
#include "launch.h"

#define JOB_ENV_FILE_MAX (1u << 20)

/* ---- parse ---- */

static int
job_usage(const struct weir_err *err, enum weir_code r)
{
	weir_job_say("run: %s", weir_err_text(err, r));
	return WEIR_JOB_USAGE;
}

/* PATH, PATH:ro or PATH:rw */
static enum weir_code
job_parse_storage(struct weir_job *job, struct weir_err *err)
{
	const char *text = job->o->storage != NULL ? job->o->storage : "/";
	const char *colon = strrchr(text, ':');
	size_t len = colon != NULL ? (size_t)(colon - text) : strlen(text);

	if (colon != NULL && strcmp(colon, ":ro") != 0 && strcmp(colon, ":rw") != 0)
		return weir_err_set(err, WEIR_E_INVAL, "--storage '%s': after ':' stands ro or rw", text);
	if (text[0] != '/' || strstr(text, "/../") != NULL || strstr(text, "/..") == text + len - 3)
		return weir_err_set(err, WEIR_E_INVAL, "--storage '%s': wants a path in the namespace, as '/data' or '/data:ro'", text);
	if (job->o->conf == NULL && job->o->storage != NULL)
		return weir_err_set(err, WEIR_E_INVAL, "--storage needs a configuration, and there is none");
	while (len > 1 && text[len - 1] == '/')
		len--;
	job->path = weir_xstrndup(text, len);
	job->is_readonly = colon != NULL && strcmp(colon, ":ro") == 0;
	return WEIR_OK;
}

static enum weir_code
job_parse_limits(struct weir_job *job, struct weir_err *err)
{
	const struct weir_job_options *o = job->o;
	double cpus;
	char *end;

	if (o->time != NULL && (weir_duration_parse(o->time, &job->time_ms) != 0 || job->time_ms <= 0))
		return weir_err_set(err, WEIR_E_INVAL, "--time '%s': wants a time, as 90s, 10min or 2h", o->time);
	if (o->memory != NULL && (weir_size_parse(o->memory, &job->memory_bytes) != 0 || job->memory_bytes == 0))
		return weir_err_set(err, WEIR_E_INVAL, "--memory '%s': wants a size, as 512MB or 4GiB", o->memory);
	if (o->cpus == NULL)
		return WEIR_OK;
	cpus = strtod(o->cpus, &end);
	if (end == o->cpus || *end != '\0' || !(cpus > 0))
		return weir_err_set(err, WEIR_E_INVAL, "--cpus '%s': wants a number, as 2 or 0.5", o->cpus);
	return WEIR_OK;
}

static bool
job_is_name(const char *s, size_t len)
{
	static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";

	return len > 0 && len <= 128 && strspn(s, safe) == len && s[0] != '-' && s[0] != '.';
}

/* NAME=VALUE, or NAME for the value it has here. What is not set here is not set there. */
static enum weir_code
job_add_env(struct weir_job *job, const char *text, const char *where, struct weir_err *err)
{
	size_t len = strcspn(text, "=");
	WEIR_AUTO(weir_freep) char *name = weir_xstrndup(text, len), *whole = NULL;
	const char *value = text[len] == '=' ? text + len + 1 : getenv(name);

	if (len == 0 || strpbrk(name, " \t") != NULL)
		return weir_err_set(err, WEIR_E_INVAL, "%s: '%.60s' is not NAME=VALUE", where, text);
	if (value == NULL)
		return WEIR_OK;
	whole = weir_xasprintf("%s=%s", name, value);
	weir_words_add(&job->env, whole);
	return WEIR_OK;
}

/* One variable a line; empty lines and lines that begin with # are nothing. */
static enum weir_code
job_read_env_file(struct weir_job *job, const char *path, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *text = NULL;
	char *save = NULL;
	size_t len;

	if (weir_read_file(path, JOB_ENV_FILE_MAX, &text, &len) != 0)
		return weir_err_errno(err, errno, "--env-file '%s'", path);
	for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
		WEIR_AUTO(weir_freep) char *where = weir_xasprintf("--env-file '%s'", path);
		enum weir_code r;

		line[strcspn(line, "\r")] = '\0';
		if (line[0] == '\0' || line[0] == '#')
			continue;
		r = job_add_env(job, line, where, err);
		if (r)
			return r;
	}
	return WEIR_OK;
}

static enum weir_code
job_parse_env(struct weir_job *job, struct weir_err *err)
{
	enum weir_code r = WEIR_OK;

	for (size_t i = 0; i < job->o->nenv_files && r == WEIR_OK; i++)
		r = job_read_env_file(job, job->o->env_files[i], err);
	for (size_t i = 0; i < job->o->nenv && r == WEIR_OK; i++)
		r = job_add_env(job, job->o->env[i], "--env", err);
	return r;
}

static enum weir_code
job_parse(struct weir_job *job, struct weir_err *err)
{
	const struct weir_job_options *o = job->o;
	const char *engine = o->engine != NULL ? o->engine : o->image != NULL || o->rootfs != NULL ? "podman" : "none";
	char random[9];
	enum weir_code r;

	job->engine = weir_engine_find(engine);
	if (job->engine == NULL)
		return weir_err_set(err, WEIR_E_INVAL, "unknown engine '%s'; there are: %s", engine, weir_job_engines());
	if (o->name != NULL && !job_is_name(o->name, strlen(o->name)))
		return weir_err_set(err, WEIR_E_INVAL, "--name '%s': letters, digits, '_', '.' and '-' only", o->name);
	weir_random_hex(random, sizeof(random) - 1);
	job->name = o->name != NULL ? weir_xstrdup(o->name) : weir_xasprintf("weir-%s", random);
	r = job_parse_storage(job, err);
	if (r == WEIR_OK)
		r = job_parse_limits(job, err);
	if (r == WEIR_OK)
		r = job_parse_env(job, err);
	return r;
}

static void
job_free(struct weir_job *job)
{
	weir_words_free(&job->env);
	free(job->name);
	free(job->path);
	free(job->mountpoint);
	free(job->private_dir);
	free(job->source);
	weir_closep(&job->lock_fd);
}

/* ---- the steps ---- */

static int
job_become(void *arg, struct weir_err *err)
{
	const struct weir_job *job = arg;

	return job->engine->become(job, err);
}

static void
job_force(void *arg, pid_t child)
{
	const struct weir_job *job = arg;

	job->engine->kill(job, child);
}

static int
job_run_command(struct weir_job *job)
{
	struct weir_child c = {
	    .become = job_become,
	    .arg = job,
	    .force = job_force,
	    .limit_ms = job->time_ms,
	    .ends_orphans = job->engine->ends_orphans,
	};
	int r = weir_child_run(&c);

	job->status = c.status;
	job->is_timed_out = c.is_timed_out;
	if (r != 0) {
		weir_job_say("%s", weir_err_text(&c.err, WEIR_E_IO));
		return c.status != 0 ? c.status : WEIR_JOB_ENGINE;
	}
	job->was_started = true;
	if (job->engine->failed_status != 0 && c.status == job->engine->failed_status) {
		weir_job_say("engine '%s' could not run the job", job->engine->name);
		job->status = WEIR_JOB_ENGINE;
	}
	if (job->is_timed_out)
		weir_job_say("the job was ended after its time limit of %s", job->o->time);
	return 0;
}

static void
job_tell_check(const struct weir_job *job, struct weir_buf *out)
{
	const struct weir_conf *conf = job->o->conf;

	weir_buf_addf(out, "check that every remote of %s answers and lets us in:", conf->path);
	for (size_t i = 0; i < conf->nremotes; i++)
		weir_buf_addf(out, "%s %s (%s)", i > 0 ? "," : "", conf->remotes[i].name, conf->remotes[i].type);
}

static void
job_tell_take(const struct weir_job *job, struct weir_buf *out)
{
	if (job->mountpoint != NULL)
		weir_buf_addf(out, "use the mount of it at %s", job->mountpoint);
	else
		weir_buf_addf(out, "mount it for this job alone, as MOUNT, with its cache in %s", job->o->conf->cache_dir);
	weir_buf_addf(out, "; look at '%s' afresh", job->path);
}

static void
job_tell_run(const struct weir_job *job, struct weir_buf *out)
{
	struct weir_words w = {0};

	job->engine->words(job, &w);
	if (job->o->conf != NULL)
		weir_buf_addf(out, "run with '%s' at " WEIR_JOB_STORAGE_PATH "%s", job->path, job->is_readonly ? " (read-only)" : "");
	else
		weir_buf_adds(out, "run without storage");
	if (job->time_ms > 0)
		weir_buf_addf(out, ", for %s at most", job->o->time);
	weir_buf_adds(out, ": ");
	weir_words_quote(out, w.v);
	weir_words_free(&w);
}

static void
job_tell_flush(const struct weir_job *job, struct weir_buf *out)
{
	weir_buf_addf(out, "send all that was written below '%s', and wait until the storages have it", job->path);
}

static void
job_tell_release(const struct weir_job *job, struct weir_buf *out)
{
	if (job->mountpoint != NULL && job->private_dir == NULL)
		weir_buf_adds(out, "leave the mount as it was");
	else
		weir_buf_adds(out, "unmount, unless another job uses the mount");
}

/* act: 0, or the exit status that ends the story here. undo: for a step whose act was begun. */
static const struct job_step {
	void (*tell)(const struct weir_job *, struct weir_buf *);
	int (*act)(struct weir_job *);
	void (*undo)(struct weir_job *);
	bool needs_storage;
} job_steps[] = {
    {job_tell_check, weir_storage_check, NULL, true},
    {job_tell_take, weir_storage_take, weir_storage_release, true},
    {job_tell_run, job_run_command, NULL, false},
    {job_tell_flush, weir_storage_flush, NULL, true},
};

static bool
job_has_step(const struct weir_job *job, const struct job_step *step)
{
	return job->o->conf != NULL || !step->needs_storage;
}

/* ---- tell ---- */

static json_t *
job_plan(const struct weir_job *job)
{
	struct weir_buf text = WEIR_BUF(1u << 20);
	json_t *plan = json_array();

	for (size_t i = 0; i < WEIR_LEN(job_steps); i++) {
		if (!job_has_step(job, &job_steps[i]))
			continue;
		weir_buf_reset(&text);
		job_steps[i].tell(job, &text);
		json_array_append_new(plan, json_string(weir_buf_str(&text)));
	}
	if (job->o->conf != NULL) {
		weir_buf_reset(&text);
		job_tell_release(job, &text);
		json_array_append_new(plan, json_string(weir_buf_str(&text)));
	}
	weir_buf_free(&text);
	return plan;
}

static void
job_print_plan(struct weir_job *job)
{
	json_t *plan, *step;
	size_t i;

	if (job->o->conf != NULL)
		weir_storage_find(job);
	if (job->mountpoint != NULL)
		job->source = weir_xasprintf("%s%s", job->mountpoint, strcmp(job->path, "/") == 0 ? "" : job->path);
	plan = job_plan(job);
	if (job->o->is_json) {
		json_t *whole = json_pack("{s:s, s:s, s:O}", "name", job->name, "engine", job->engine->name, "steps", plan);

		json_dumpf(whole, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
		putchar('\n');
		json_decref(whole);
	} else {
		json_array_foreach (plan, i, step)
			printf("%zu. %s\n", i + 1, json_string_value(step));
	}
	json_decref(plan);
}

/* On standard error: standard output is the job's. */
static void
job_print_report(const struct weir_job *job, int status)
{
	json_t *report = json_pack("{s:s, s:s, s:i, s:b, s:b, s:b, s:f}", "name", job->name, "engine", job->engine->name, "status", status,
	    "started", job->was_started, "timed_out", job->is_timed_out, "unsent", job->is_unsent, "seconds",
	    (double)(weir_now_ms() - job->start_ms) / 1000);

	if (job->was_started)
		json_object_set_new(report, "job_status", json_integer(job->status));
	json_dumpf(report, stderr, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
	fputc('\n', stderr);
	json_decref(report);
}

/* ---- act ---- */

static int
job_act(struct weir_job *job)
{
	size_t i = 0;
	int status = 0;

	for (; i < WEIR_LEN(job_steps) && status == 0; i++) {
		if (!job_has_step(job, &job_steps[i]))
			continue;
		if (!job->was_started && (status = weir_child_pending()) != 0)
			break;
		status = job_steps[i].act(job);
		if (!job->was_started && job->signal != 0)
			status = 128 + job->signal;	/* a helper was interrupted, or ended well just before it could be */
	}
	while (i-- > 0) {
		if (job_steps[i].undo != NULL && job_has_step(job, &job_steps[i]))
			job_steps[i].undo(job);
	}
	if (status != 0)
		return status;
	return job->is_timed_out ? WEIR_JOB_TIME : job->status;
}

int
weir_job_run(const struct weir_job_options *o)
{
	struct weir_job job = {.o = o, .lock_fd = -1, .start_ms = weir_now_ms()};
	struct weir_err err = {0};
	enum weir_code r = job_parse(&job, &err);
	int status = 0;

	if (r == WEIR_OK && (r = job.engine->check(&job, &err)) == WEIR_E_NOENT) {
		weir_job_say("%s", weir_err_text(&err, r));
		status = WEIR_JOB_ENGINE;
	} else if (r)
		status = job_usage(&err, r);
	else if (o->is_dry_run)
		job_print_plan(&job);
	else {
		if (o->conf == NULL)
			weir_job_say("no configuration: the job runs without storage");
		weir_child_setup();
		status = job_act(&job);
		if (o->is_json)
			job_print_report(&job, status);
	}
	job_free(&job);
	return status;
}
