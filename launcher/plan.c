/* SPDX-License-Identifier: Apache-2.0 */
/* What a job is about to do, and what it did, in words and as JSON. Looks, changes nothing. */
#include "config.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "../src/conf/conf.h"
#include "../src/util/text.h"
#include "launch.h"
#include "mountspace.h"

void
weir_job_tell_check(const struct weir_job *job, struct weir_buf *out)
{
	const struct weir_conf *conf = job->o->conf;

	weir_buf_addf(out, "check that every remote of %s answers and lets us in:", conf->path);
	for (size_t i = 0; i < conf->nremotes; i++)
		weir_buf_addf(out, "%s %s (%s)", i > 0 ? "," : "", conf->remotes[i].name, conf->remotes[i].type);
}

void
weir_job_tell_take(const struct weir_job *job, struct weir_buf *out)
{
	if (job->mountpoint != NULL)
		weir_buf_addf(out, "use the mount of it at %s", job->mountpoint);
	else
		weir_buf_addf(out, "mount it for this job alone, as MOUNT%s, with its cache in %s",
		    weir_mountspace_is_needed() ? ", in a user and mount namespace (there is no fusermount3)" : "", job->o->conf->cache_dir);
	weir_buf_addf(out, "; look at '%s' afresh", job->path);
}

static void
plan_time(const struct weir_job *job, struct weir_buf *out)
{
	int64_t s = job->time_ms / 1000;

	if (job->time_ms <= 0)
		return;
	if (job->o->time != NULL)
		weir_buf_addf(out, ", for %s at most", job->o->time);
	else if (s % 60 == 0)
		weir_buf_addf(out, ", for %lld min at most", (long long)(s / 60));
	else
		weir_buf_addf(out, ", for %lld s at most", (long long)s);
}

static void
plan_ports(const struct weir_job *job, struct weir_buf *out)
{
	for (size_t i = 0; i < job->nports; i++)
		weir_buf_addf(out, "%s%s%s127.0.0.1:%u", i == 0 ? ", reached at " : ", ", job->ports[i].name, job->ports[i].name[0] != '\0' ? " " : "", job->ports[i].outside);
}

void
weir_job_tell_run(const struct weir_job *job, struct weir_buf *out)
{
	struct weir_words w = {0};

	job->engine->words(job, &w);
	if (job->has_storage)
		weir_buf_addf(out, "run with '%s' at " WEIR_JOB_STORAGE_PATH "%s", job->path, job->is_readonly ? " (read-only)" : "");
	else
		weir_buf_adds(out, "run without storage");
	plan_time(job, out);
	plan_ports(job, out);
	weir_buf_adds(out, ": ");
	weir_words_quote(out, w.v);
	weir_words_free(&w);
}

void
weir_job_tell_flush(const struct weir_job *job, struct weir_buf *out)
{
	weir_buf_addf(out, "send all that was written below '%s', and wait until the storages have it", job->path);
}

void
weir_job_tell_release(const struct weir_job *job, struct weir_buf *out)
{
	if (job->mountpoint != NULL && job->private_dir == NULL)
		weir_buf_adds(out, "leave the mount as it was");
	else
		weir_buf_adds(out, "unmount, unless another job uses the mount");
}

static json_t *
plan_steps(const struct weir_job *job, const struct weir_job_step *steps, size_t n)
{
	struct weir_buf text = WEIR_BUF(1u << 20);
	json_t *plan = json_array();

	for (size_t i = 0; i < n; i++) {
		if (steps[i].tell == NULL || (steps[i].is_needed != NULL && !steps[i].is_needed(job)))
			continue;
		weir_buf_reset(&text);
		steps[i].tell(job, &text);
		json_array_append_new(plan, json_string(weir_buf_str(&text)));
	}
	weir_buf_free(&text);
	return plan;
}

void
weir_job_print_plan(const struct weir_job *job, const struct weir_job_step *steps, size_t n)
{
	json_t *plan = plan_steps(job, steps, n), *step;
	size_t i;

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
void
weir_job_print_report(const struct weir_job *job, int status)
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
