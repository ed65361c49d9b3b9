/* SPDX-License-Identifier: Apache-2.0 */
/* weir jobs, logs, attach, stop, rm, gc, exec, again: jobs that were started. The launcher does the rest. */
#include "config.h"

#include "cli.h"

#include <string.h>

#include "../../launcher/job.h"
#include "../../launcher/jobs.h"
#include "../util/text.h"

#define JOBS_GRACE_MS 10000

struct jobs_options {
	const char *grace;
	bool is_json, is_following, is_forced, is_all;
};
#define JOBS_AT(field) offsetof(struct jobs_options, field)

/* Options, then the call. */
#define JOBS_BEGIN(o, first) \
	struct jobs_options o = {0}; \
	int status, first = weir_opt_parse(verb, &o, argc, argv, &status); \
	if (first < 0) \
		return status

static const struct weir_opt jobs_json_opts[] = {WEIR_OPT_JSON(struct jobs_options)};
static const struct weir_opt jobs_logs_opts[] = {{"follow", 'f', WEIR_OPT_FLAG, JOBS_AT(is_following), NULL, "go on until the job has ended"}};
static const struct weir_opt jobs_stop_opts[] = {{"grace", 0, WEIR_OPT_TEXT, JOBS_AT(grace), "TIME", "how long it has before it is ended by force (default: 10s)"}};
static const struct weir_opt jobs_rm_opts[] = {
    {"all", 'a', WEIR_OPT_FLAG, JOBS_AT(is_all), NULL, "all that have ended"},
    {"force", 'f', WEIR_OPT_FLAG, JOBS_AT(is_forced), NULL, "stop it first if it is running"},
};

static int
jobs_run(const struct weir_verb *verb, int argc, char **argv)
{
	JOBS_BEGIN(o, first);
	return weir_jobs_list(o.is_json);
}

static int
jobs_logs(const struct weir_verb *verb, int argc, char **argv)
{
	JOBS_BEGIN(o, first);
	return weir_jobs_logs(argv[first], o.is_following);
}

static int
jobs_attach(const struct weir_verb *verb, int argc, char **argv)
{
	JOBS_BEGIN(o, first);
	return weir_jobs_attach(argv[first]);
}

static int
jobs_stop(const struct weir_verb *verb, int argc, char **argv)
{
	int64_t grace = JOBS_GRACE_MS;
	int worst = WEIR_EXIT_OK;

	JOBS_BEGIN(o, first);
	if (o.grace != NULL && (weir_duration_parse(o.grace, &grace) != 0 || grace < 0)) {
		weir_say("stop: --grace '%s': wants a time, as 30s or 5min", o.grace);
		return WEIR_EXIT_USAGE;
	}
	for (int i = first; i < argc; i++) {
		status = weir_jobs_stop(argv[i], grace);
		worst = status > worst ? status : worst;
	}
	return worst;
}

static int
jobs_rm(const struct weir_verb *verb, int argc, char **argv)
{
	int worst = WEIR_EXIT_OK;

	JOBS_BEGIN(o, first);
	if (o.is_all == (first < argc)) {
		weir_say("rm: wants the names of jobs, or --all; see 'weir rm --help'");
		return WEIR_EXIT_USAGE;
	}
	if (o.is_all)
		return weir_jobs_remove_ended();
	for (int i = first; i < argc; i++) {
		status = weir_jobs_remove(argv[i], o.is_forced);
		worst = status > worst ? status : worst;
	}
	return worst;
}

static int
jobs_gc(const struct weir_verb *verb, int argc, char **argv)
{
	JOBS_BEGIN(o, first);
	return weir_jobs_gc(o.is_json);
}

static int
jobs_exec(const struct weir_verb *verb, int argc, char **argv)
{
	JOBS_BEGIN(o, first);
	if (first + 1 < argc && strcmp(argv[first + 1], "--") == 0) {	/* weir exec JOB -- COMMAND */
		memmove(argv + first + 1, argv + first + 2, (size_t)(argc - first - 1) * sizeof(*argv));
		argc--;
	}
	if (first + 1 >= argc) {
		weir_say("exec: something is missing: it wants %s; see 'weir exec --help'", verb->operands);
		return WEIR_EXIT_USAGE;
	}
	return weir_jobs_exec(argv[first], argv + first + 1);
}

static int
jobs_again(const struct weir_verb *verb, int argc, char **argv)
{
	char **old, **all;
	int n;

	JOBS_BEGIN(o, first);
	status = weir_jobs_again(argv[first], &n, &old);
	if (status != 0)
		return status;
	all = weir_xcalloc((size_t)n + 2, sizeof(*all));
	all[0] = weir_xstrdup("weir");
	memcpy(all + 1, old, (size_t)n * sizeof(*old));
	free(old);
	status = weir_cli_main(n + 1, all);
	for (int i = 0; i <= n; i++)
		free(all[i]);
	free(all);
	return status;
}

#define JOBS_VERB(verb_name, function, args, min, max, options, text, more) \
	{.name = verb_name, .operands = args, .summary = text, .details = more, .opts = options, .nopts = WEIR_LEN(options), .min_operands = min, .max_operands = max, .run = function}
#define JOBS_PLAIN(verb_name, function, args, min, max, early, text, more) \
	{.name = verb_name, .operands = args, .summary = text, .details = more, .min_operands = min, .max_operands = max, .stops_early = early, .run = function}

const struct weir_verb weir_verb_jobs = JOBS_VERB("jobs", jobs_run, "", 0, 0, jobs_json_opts, "list jobs that run and jobs that have ended",
    "Statuses: queued, starting, running, complete, failed, stopped; lost: its launcher was killed, 'weir gc' cleans up.");
const struct weir_verb weir_verb_logs = JOBS_VERB("logs", jobs_logs, "JOB", 1, 1, jobs_logs_opts, "what a job printed", NULL);
const struct weir_verb weir_verb_attach = JOBS_PLAIN("attach", jobs_attach, "JOB", 1, 1, false, "what a job prints, until it ends",
    "The exit status is the job's. Ctrl-C leaves it running.");
const struct weir_verb weir_verb_stop = JOBS_VERB("stop", jobs_stop, "JOB…", 1, -1, jobs_stop_opts, "end a job, and send what it wrote", NULL);
const struct weir_verb weir_verb_rm = JOBS_VERB("rm", jobs_rm, "JOB…", 0, -1, jobs_rm_opts, "forget a job that has ended, with its log", NULL);
const struct weir_verb weir_verb_gc = JOBS_VERB("gc", jobs_gc, "", 0, 0, jobs_json_opts, "clean up after jobs whose launcher was killed",
    "Ends their containers and processes, sends what their mounts hold and unmounts them. Unsent data is never removed.");
const struct weir_verb weir_verb_exec = JOBS_PLAIN("exec", jobs_exec, "JOB COMMAND…", 2, -1, true, "run a command inside a job that runs", NULL);
const struct weir_verb weir_verb_again = JOBS_PLAIN("again", jobs_again, "JOB", 1, 1, false, "start a job again, with the same options", NULL);
