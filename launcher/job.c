/* SPDX-License-Identifier: Apache-2.0 */
/* A job from its options to its exit status: parse, check, act. The story is the table of steps; an act that fails ends it, and what
 * was done is undone backwards. */
#include "config.h"

#include "job.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../src/conf/conf.h"
#include "../src/control/notify.h"
#include "../src/util/text.h"
#include "jobs.h"
#include "launch.h"
#include "state.h"
#include "sweep.h"

/* ---- the steps ---- */

static bool
job_is_staged(const struct weir_job *job)
{
	return job->has_storage && job->is_staged;
}

static bool
job_is_mounted(const struct weir_job *job)
{
	return job->has_storage && !job->is_staged;
}

static bool
job_has_datasets(const struct weir_job *job)
{
	return job->o->ndatasets > 0;
}

/* Into the mount; where there is none, into the storage before it is copied in. */
static bool
job_stages_datasets(const struct weir_job *job)
{
	return job_has_datasets(job) && job->is_staged;
}

static bool
job_mounts_datasets(const struct weir_job *job)
{
	return job_has_datasets(job) && !job->is_staged;
}

static bool
job_has_storage(const struct weir_job *job)
{
	return job->has_storage;
}

static int
job_pull(struct weir_job *job)
{
	return job->engine->pull != NULL ? job->engine->pull(job) : 0;
}

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

void
weir_job_ready(struct weir_job *job)
{
	if (job->ready_fd >= 0 && send(job->ready_fd, "", 1, MSG_NOSIGNAL) < 0)
		weir_log(WEIR_LOG_DEBUG, "nobody waits for the start of job '%s'", job->name);
	weir_closep(&job->ready_fd);
	job->ready_fd = -1;
	weir_job_say_to(-1);
}

static void
job_started(void *arg, pid_t pid)
{
	struct weir_job *job = arg;

	job->was_started = true;
	weir_state_set(job->state, "pid", json_integer(pid));
	weir_state_set(job->state, "started", json_real((double)weir_wall_ns() / 1e9));
}

/* In a child of the launcher. A job that ends before the engine says that it runs is known by its end, which ends this process too. */
void
weir_job_ready_when_running(struct weir_job *job)
{
	struct weir_job_id id = {.name = job->name, .pid = (pid_t)json_integer_value(json_object_get(job->state != NULL ? job->state->v : NULL, "pid"))};

	if (job->ready_fd < 0)
		return;
	while (!job->engine->is_running(&id))
		poll(NULL, 0, 50);
	weir_job_ready(job);
}

/* A mode's own companion says itself when the job is ready. */
static int
job_companion(void *arg)
{
	struct weir_job *job = arg;

	if (job->mode != NULL && job->mode->companion != NULL)
		return job->mode->companion(job);
	weir_job_ready_when_running(job);
	return WEIR_COMPANION_GO_ON;
}

static void
job_take_end(struct weir_job *job, const struct weir_child *c)
{
	job->status = c->status;
	job->is_timed_out = c->is_timed_out;
	if (c->companion_status == WEIR_COMPANION_DONE) {
		job->is_done = true;
		job->status = 0;
	} else if (c->companion_status != WEIR_COMPANION_GO_ON)
		job->status = c->companion_status;
	else if (job->engine->failed_status != 0 && c->status == job->engine->failed_status) {
		weir_job_say("engine '%s' could not run the job", job->engine->name);
		job->status = WEIR_JOB_ENGINE;
	}
	if (job->is_timed_out && job->mode != NULL && job->mode->is_timed_success)
		job->status = 0;
	if (job->is_timed_out && job->o->time != NULL)
		weir_job_say("the job was ended after its time limit of %s", job->o->time);
	else if (job->is_timed_out)
		weir_job_say("the job was ended after its time limit of %lld min", (long long)(job->time_ms / 60000));
}

static void
job_remounted(void *arg)
{
	weir_job_remounted(arg);
}

static int
job_run_command(struct weir_job *job)
{
	struct weir_child c = {
	    .become = job_become,
	    .arg = job,
	    .force = job_force,
	    .started = job_started,
	    .companion = (job->mode != NULL && job->mode->companion != NULL) || job->ready_fd >= 0 ? job_companion : NULL,
	    .limit_ms = job->time_ms,
	    .grace_ms = job->mode != NULL ? job->mode->grace_ms : 0,
	    .ends_orphans = job->engine->ends_orphans,
	    .log_fd = job->log_fd,
	    .is_silent = job->mode != NULL && job->mode->is_silent,
	};
	int r;

	if (job_is_mounted(job)) {
		job->mount_dev = weir_job_mount_dev(job);
		c.remounted = job_remounted;
	}
	r = weir_child_run(&c);
	/* An engine's program that was interrupted or killed may leave its container behind: running, or made and never started. */
	if (r == 0 && !job->engine->ends_orphans && (c.status > 128 || c.signal != 0 || c.is_timed_out || c.companion_status != WEIR_COMPANION_GO_ON))
		job->engine->end(&(struct weir_job_id){.name = job->name}, 0, NULL);
	if (r != 0) {
		job->was_started = false;
		job->status = c.status != 0 ? c.status : WEIR_JOB_ENGINE;
		weir_job_say("%s", weir_err_text(&c.err, WEIR_E_IO));
		return job->status;
	}
	job_take_end(job, &c);
	return 0;
}

static bool
job_has_with_storage(const struct weir_job *job)
{
	return job->has_storage && job->mode != NULL && job->mode->with_storage != NULL;
}

static int
job_with_storage(struct weir_job *job)
{
	return job->mode->with_storage(job);
}

static bool
job_has_before_flush(const struct weir_job *job)
{
	return job->has_storage && job->mode != NULL && job->mode->before_flush != NULL;
}

static int
job_before_flush(struct weir_job *job)
{
	return job->mode->before_flush(job);
}

static bool
job_has_share(const struct weir_job *job)
{
	return job->has_share;
}

static const struct weir_job_step job_steps[] = {
    {"starting", weir_job_tell_check, job_has_storage, weir_storage_check, NULL},
    {"starting", NULL, NULL, job_pull, NULL},
    {"starting", weir_job_tell_datasets, job_stages_datasets, weir_datasets_fetch, NULL},
    {"starting", weir_job_tell_staged_in, job_is_staged, weir_staged_in, weir_staged_release},
    {"starting", weir_job_tell_take, job_is_mounted, weir_storage_take, weir_storage_release},
    {NULL, weir_job_tell_datasets, job_mounts_datasets, weir_datasets_fetch, NULL},
    {NULL, weir_job_tell_share, job_has_share, weir_share_open, NULL},
    {NULL, NULL, job_has_with_storage, job_with_storage, NULL},
    {"running", weir_job_tell_run, NULL, job_run_command, NULL},
    {NULL, NULL, job_has_before_flush, job_before_flush, NULL},
    {NULL, weir_job_tell_staged_out, job_is_staged, weir_staged_out, NULL},
    {NULL, weir_job_tell_flush, job_is_mounted, weir_storage_flush, NULL},
    {NULL, weir_job_tell_release, job_is_mounted, NULL, NULL},
};

static bool
job_needs(const struct weir_job *job, const struct weir_job_step *step)
{
	return step->is_needed == NULL || step->is_needed(job);
}

static int
job_act_step(struct weir_job *job, const struct weir_job_step *step)
{
	int status;

	if (!job->was_started && (status = weir_child_pending()) != 0)
		return status;
	if (step->status != NULL)
		weir_state_status(job->state, step->status);
	if (step->act == NULL)
		return 0;
	status = step->act(job);
	if (!job->was_started && job->signal != 0)
		status = 128 + job->signal;	/* a helper was interrupted, or ended well just before it could be */
	return status;
}

static int
job_act(struct weir_job *job)
{
	size_t i = 0;
	int status = 0;

	for (; i < WEIR_LEN(job_steps) && status == 0; i++) {
		if (job_needs(job, &job_steps[i]))
			status = job_act_step(job, &job_steps[i]);
	}
	while (i-- > 0) {
		if (job_steps[i].undo != NULL && job_needs(job, &job_steps[i]))
			job_steps[i].undo(job);
	}
	if (status != 0)
		return status;
	return job->is_timed_out && (job->mode == NULL || !job->mode->is_timed_success) ? WEIR_JOB_TIME : job->status;
}

/* ---- its state ---- */

/* All of them or none: 'weir again' shall not run something else. */
static json_t *
job_texts(int n, char *const *v)
{
	json_t *list = json_array();

	for (int i = 0; i < n; i++) {
		if (json_array_append_new(list, json_string(v[i])) != 0) {
			json_array_clear(list);
			break;
		}
	}
	return list;
}

static json_t *
job_ports(const struct weir_job *job)
{
	json_t *list = json_array();

	for (size_t i = 0; i < job->nports; i++)
		json_array_append_new(list, json_pack("{s:s, s:i, s:i}", "name", job->ports[i].name, "inside", job->ports[i].inside, "outside", job->ports[i].outside));
	return list;
}

static json_t *
job_gpu_ids(const struct weir_job *job)
{
	json_t *list = json_array();

	for (size_t i = 0; i < job->gpu.count; i++) {
		WEIR_AUTO(weir_freep) char *id = weir_gpu_id(&job->gpus.v[job->picked[i]]);

		json_array_append_new(list, json_string(id));
	}
	return list;
}

static void
job_describe(struct weir_job *job)
{
	WEIR_AUTO(weir_freep) char *cwd = realpath(".", NULL);
	json_t *v = json_object();

	/* One by one: what is not UTF-8 (a folder) is then missing, and nothing else. */
	json_object_set_new(v, "mode", json_string(job->mode != NULL ? job->mode->name : "run"));
	json_object_set_new(v, "module", job->o->module != NULL ? json_string(job->o->module) : json_null());
	json_object_set_new(v, "image", job->image != NULL ? json_string(job->image) : json_null());
	json_object_set_new(v, "engine", json_string(job->engine->name));
	json_object_set_new(v, "argv", job_texts(job->o->argc, job->o->argv));
	json_object_set_new(v, "cwd", cwd != NULL ? json_string(cwd) : json_null());
	json_object_set_new(v, "conf", job->has_storage ? json_string(job->o->conf->path) : json_null());
	json_object_set_new(v, "launcher", json_integer(getpid()));
	json_object_set_new(v, "ports", job_ports(job));
	json_object_set_new(v, "detached", json_boolean(job->is_detached));
	json_object_set_new(v, "gpus", json_integer((json_int_t)job->gpu.count));
	json_object_set_new(v, "gpu_ids", job_gpu_ids(job));
	json_object_update(job->state->v, v);
	json_decref(v);
	weir_state_status(job->state, "queued");
}

/* An earlier one of this name: its state is the only note of where that is. */
static bool
job_leaves_unsent(const struct weir_job *job)
{
	struct weir_state *old = NULL;
	bool is_left = weir_state_read(job->name, &old, NULL) == WEIR_OK && !old->is_live && weir_staged_is_left(old);

	if (is_left)
		weir_job_say("what an earlier job '%s' changed was not sent, and is kept in '%s'; 'weir gc' sends it", job->name, weir_state_text(old, "staged"));
	weir_state_free(old);
	return is_left;
}

static int
job_begin(struct weir_job *job)
{
	WEIR_AUTO(weir_freep) char *log = NULL;
	struct weir_err err = {0};
	enum weir_code r;

	if (job_leaves_unsent(job))
		return WEIR_JOB_STORAGE;
	r = weir_state_new(job->name, &job->state, &err);
	if (r) {
		weir_job_say("%s", weir_err_text(&err, r));
		return WEIR_JOB_USAGE;
	}
	job_describe(job);
	log = weir_state_file(job->state, "log");
	if (job->is_detached || (job->mode != NULL && job->mode->keeps_log))
		job->log_fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	return 0;
}

/* What stays: jobs of modes that keep theirs, detached ones, named ones, and those whose end somebody will ask about. */
static bool
job_keeps_state(const struct weir_job *job, int status)
{
	return job->is_detached || job->o->name != NULL || (job->mode != NULL && job->mode->keeps_state) || status == WEIR_JOB_UNSENT;
}

static void
job_notify(const struct weir_job *job, int status)
{
	struct weir_err err = {0};
	json_t *fields;

	if (job->o->conf == NULL)
		return;
	fields = json_pack("{s:s, s:s, s:s?, s:s, s:i, s:b, s:f}", "job", job->name, "mode", job->mode != NULL ? job->mode->name : "run", "module", job->o->module, "status",
	    weir_state_text(job->state, "status"), "exit", status, "unsent", job->is_unsent, "seconds", (double)(weir_now_ms() - job->start_ms) / 1000);
	weir_notify(job->o->conf, "job-end", fields, &err);	/* says itself, once, what went wrong */
}

static void
job_end(struct weir_job *job, int status)
{
	WEIR_AUTO(weir_freep) char *wish = weir_state_file(job->state, WEIR_STATE_STOP);
	bool was_stopped = access(wish, F_OK) == 0;
	struct weir_err err = {0};

	json_object_set_new(job->state->v, "exit", json_integer(status));
	json_object_set_new(job->state->v, "ended", json_real((double)weir_wall_ns() / 1e9));
	weir_state_status(job->state, status == 0 ? "complete" : was_stopped ? "stopped" : "failed");
	job_notify(job, status);
	if (!job_keeps_state(job, status) && weir_state_remove(job->state, &err) != WEIR_OK)
		weir_job_say("%s", weir_err_text(&err, WEIR_E_IO));
}

static int
job_whole(struct weir_job *job)
{
	int status;

	weir_child_setup();
	weir_sweep_mounts(true, NULL);
	status = job_act(job);
	if (job->mode != NULL && job->mode->finish != NULL)
		job->mode->finish(job, status);
	job_end(job, status);
	if (job->o->is_json)
		weir_job_print_report(job, status);
	return status;
}

/* ---- detached ---- */

/* The launcher itself, in a session of its own. Its words go to the log, and up to the one who waits until the job runs. */
static _Noreturn void
job_detached(struct weir_job *job, int ready_fd)
{
	WEIR_AUTO(weir_closep) int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	setsid();
	dup2(null, STDIN_FILENO);
	dup2(job->log_fd, STDOUT_FILENO);
	dup2(job->log_fd, STDERR_FILENO);
	close(job->log_fd);
	job->log_fd = -1;
	job->ready_fd = ready_fd;
	weir_job_say_to(ready_fd);
	weir_state_set(job->state, "launcher", json_integer(getpid()));
	_exit(job_whole(job));
}

static void
job_print_where(const struct weir_job *job)
{
	if (job->o->is_json) {
		json_t *v = json_pack("{s:s, s:s, s:o}", "name", job->name, "engine", job->engine->name, "ports", job_ports(job));

		json_dumpf(v, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
		putchar('\n');
		json_decref(v);
		return;
	}
	printf("%s\n", job->name);
	for (size_t i = 0; i < job->nports; i++)
		printf("  %s%s127.0.0.1:%u\n", job->ports[i].name, job->ports[i].name[0] != '\0' ? ": " : "", job->ports[i].outside);
}

/* Copies what the launcher says until it says, by one zero byte, that the job runs (then 0), or has ended (then its status). */
static int
job_wait_ready(struct weir_job *job, pid_t pid, int fd)
{
	char text[1024];
	ssize_t n;
	int status;

	while ((n = read(fd, text, sizeof(text))) > 0 || (n < 0 && errno == EINTR)) {
		const char *end = n > 0 ? memchr(text, '\0', (size_t)n) : NULL;

		if (n > 0 && fwrite(text, 1, end != NULL ? (size_t)(end - text) : (size_t)n, stderr) == 0 && end == NULL)
			break;
		if (end != NULL) {
			job_print_where(job);
			return 0;
		}
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	if (status == 0)
		job_print_where(job);	/* short, and done already */
	return status;
}

static int
job_detach(struct weir_job *job)
{
	int fd[2], status;
	pid_t pid;

	if (job->log_fd < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) != 0) {
		weir_job_say("a log for the detached job: %s", strerror(errno));
		return WEIR_JOB_USAGE;
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		close(fd[0]);
		job_detached(job, fd[1]);
	}
	close(fd[1]);
	if (pid < 0) {
		weir_job_say("fork: %s", strerror(errno));
		close(fd[0]);
		return WEIR_JOB_USAGE;
	}
	/* The lock is the launcher's now: ours would look like a living one. It is the same open file, so it is closed, not unlocked. */
	weir_closep(&job->state->lock_fd);
	job->state->lock_fd = -1;
	status = job_wait_ready(job, pid, fd[0]);
	close(fd[0]);
	return status;
}

/* ---- the whole ---- */

static int
job_gpus(struct weir_job *job)
{
	struct weir_err err = {0};
	enum weir_code r;

	if (job->gpu.count == 0)
		return 0;
	if (!job->o->is_dry_run)
		weir_sweep_gpus(NULL);
	weir_gpus_find(&job->gpus);
	weir_jobs_hold_gpus(&job->gpus);
	r = weir_gpus_pick(&job->gpus, &job->gpu, &job->picked, &err);
	if (r)
		weir_job_say("%s", weir_err_text(&err, r));
	return r ? WEIR_JOB_GPU : 0;
}

static int
job_dry_run(struct weir_job *job)
{
	if (job->has_storage)
		weir_storage_find(job);
	if (job->mountpoint != NULL)
		job->source = weir_xasprintf("%s%s", job->mountpoint, strcmp(job->path, "/") == 0 ? "" : job->path);
	weir_job_print_plan(job, job_steps, WEIR_LEN(job_steps));
	return 0;
}

static int
job_real(struct weir_job *job)
{
	int status;

	if (job->o->conf == NULL && job->mode == NULL && !job->o->is_without_storage)
		weir_job_say("no configuration: the job runs without storage");
	weir_jobs_reconcile();
	weir_engine_warn(job);
	status = job_begin(job);
	weir_closep(&job->admission_fd);
	job->admission_fd = -1;
	if (status != 0)
		return status;
	return job->is_detached ? job_detach(job) : job_whole(job);
}

int
weir_job_run(const struct weir_job_options *o)
{
	struct weir_job job = {.o = o, .lock_fd = -1, .admission_fd = -1, .lease_fd = -1, .log_fd = -1, .ready_fd = -1, .start_ms = weir_now_ms()};
	struct weir_err err = {0};
	enum weir_code r = weir_job_parse(&job, &err);
	int status = 0;

	if (r == WEIR_OK && !o->is_dry_run)
		job.admission_fd = weir_state_admission();
	if (r == WEIR_OK)
		r = weir_job_settle(&job, &err);
	if (r) {
		weir_job_say("%s: %s", o->mode != NULL ? o->mode->name : "run", weir_err_text(&err, r));
		status = r == WEIR_E_NOENT && job.engine != NULL ? WEIR_JOB_ENGINE : WEIR_JOB_USAGE;
	}
	if (status == 0)
		status = weir_job_allow(&job);
	if (status == 0)
		status = job_gpus(&job);
	if (status == 0)
		status = o->is_dry_run ? job_dry_run(&job) : job_real(&job);
	weir_job_free(&job);
	return status;
}
