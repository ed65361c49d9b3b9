/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs by their state folders: list, watch, stop, forget. What the dead left is swept.c's. */
#include "config.h"

#include "jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "deepaas.h"
#include "launch.h"
#include "mode.h"
#include "state.h"
#include "sweep.h"

#define JOBS_LOOK_MS 200	/* between two looks at a log or a lock */

static struct weir_state *
jobs_read(const char *name)
{
	struct weir_err err = {0};
	struct weir_state *s;
	enum weir_code r = weir_state_read(name, &s, &err);

	if (r)
		weir_job_say("%s", weir_err_text(&err, r));
	return s;
}

static bool
jobs_is_live(const char *name)
{
	struct weir_err err = {0};
	struct weir_state *s;
	bool is_live = weir_state_read(name, &s, &err) == WEIR_OK && s->is_live;

	weir_state_free(s);
	return is_live;
}

/* ---- list ---- */

/* As it is, not as its file says: a launcher that was killed could not write its end. */
static const char *
jobs_status(const struct weir_state *s)
{
	return s->is_live || weir_state_is_over(s) ? weir_state_text(s, "status") : "lost";
}

static void
jobs_age(double seconds, char out[32])
{
	long s = seconds > 0 ? (long)seconds : 0;

	if (s < 120)
		snprintf(out, 32, "%ld s", s);
	else if (s < 7200)
		snprintf(out, 32, "%ld min", s / 60);
	else if (s < 172800)
		snprintf(out, 32, "%ld h", s / 3600);
	else
		snprintf(out, 32, "%ld d", s / 86400);
}

static void
jobs_where(const struct weir_state *s, struct weir_buf *out)
{
	json_t *port;
	size_t i;

	if (!s->is_live)
		return;
	json_array_foreach (json_object_get(s->v, "ports"), i, port) {
		const char *name = json_string_value(json_object_get(port, "name"));

		weir_buf_addf(out, "%s%s%s127.0.0.1:%d", i > 0 ? " " : "", name != NULL ? name : "", name != NULL && name[0] != '\0' ? "=" : "",
		    (int)json_integer_value(json_object_get(port, "outside")));
	}
}

static void
jobs_row(const struct weir_state *s)
{
	double created = json_number_value(json_object_get(s->v, "created"));
	struct weir_buf where = WEIR_BUF(4096);
	char age[32], status[64];

	jobs_age((double)weir_wall_ns() / 1e9 - created, age);
	if (weir_state_is_over(s) && json_integer_value(json_object_get(s->v, "exit")) != 0)
		snprintf(status, sizeof(status), "%s (%d)", jobs_status(s), (int)json_integer_value(json_object_get(s->v, "exit")));
	else
		snprintf(status, sizeof(status), "%s", jobs_status(s));
	jobs_where(s, &where);
	printf("%-28s %-8s %-14s %7s  %s%s%s\n", s->name, weir_state_text(s, "mode"), status, age, weir_state_text(s, "module"), weir_state_text(s, "module")[0] != '\0' ? "  " : "",
	    weir_buf_str(&where));
	weir_buf_free(&where);
}

static json_t *
jobs_json(const struct weir_state *s)
{
	json_t *v = json_copy(s->v);

	json_object_set_new(v, "status", json_string(jobs_status(s)));
	json_object_set_new(v, "folder", json_string(s->dir));
	json_object_del(v, "argv");	/* may hold values of --env */
	return v;
}

int
weir_jobs_list(bool is_json)
{
	struct weir_state **v;
	struct weir_err err = {0};
	json_t *list = json_array();
	size_t n;
	enum weir_code r;

	weir_jobs_reconcile();
	r = weir_state_list(&v, &n, &err);
	if (r)
		weir_job_say("%s", weir_err_text(&err, r));
	if (!is_json && n > 0)
		printf("%-28s %-8s %-14s %7s  %s\n", "NAME", "MODE", "STATUS", "AGE", "MODULE, ADDRESSES");
	for (size_t i = 0; i < n; i++) {
		if (is_json)
			json_array_append_new(list, jobs_json(v[i]));
		else
			jobs_row(v[i]);
	}
	if (is_json) {
		json_dumpf(list, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
		putchar('\n');
	}
	json_decref(list);
	weir_state_list_free(v, n);
	return r ? 1 : 0;
}

/* Sums over the running ones: 1 each of a mode, or what stands under a key. */
static size_t
jobs_sum(const char *mode, const char *key)
{
	struct weir_state **v;
	struct weir_err err = {0};
	size_t n, sum = 0;

	if (weir_state_list(&v, &n, &err) != WEIR_OK)
		return 0;
	for (size_t i = 0; i < n; i++) {
		if (v[i]->is_live && (mode == NULL || strcmp(weir_state_text(v[i], "mode"), mode) == 0))
			sum += key != NULL ? (size_t)json_integer_value(json_object_get(v[i]->v, key)) : 1;
	}
	weir_state_list_free(v, n);
	return sum;
}

void
weir_jobs_hold_gpus(struct weir_gpus *gpus)
{
	struct weir_state **v;
	size_t n, k;
	json_t *id;

	if (weir_state_list(&v, &n, NULL) != WEIR_OK)
		return;
	for (size_t i = 0; i < n; i++) {
		json_array_foreach (v[i]->is_live ? json_object_get(v[i]->v, "gpu_ids") : NULL, k, id) {
			for (size_t g = 0; g < gpus->n; g++) {
				WEIR_AUTO(weir_freep) char *name = weir_gpu_id(&gpus->v[g]);

				if (json_string_value(id) != NULL && strcmp(json_string_value(id), name) == 0)
					weir_gpu_hold(&gpus->v[g], (pid_t)json_integer_value(json_object_get(v[i]->v, "launcher")));
			}
		}
	}
	weir_state_list_free(v, n);
}

bool
weir_jobs_have_port(unsigned port)
{
	struct weir_state **v;
	struct weir_err err = {0};
	size_t n, k;
	bool found = false;
	json_t *p;

	if (weir_state_list(&v, &n, &err) != WEIR_OK)
		return false;
	for (size_t i = 0; i < n; i++) {
		json_array_foreach (v[i]->is_live ? json_object_get(v[i]->v, "ports") : NULL, k, p)
			found = found || json_integer_value(json_object_get(p, "outside")) == (json_int_t)port;
	}
	weir_state_list_free(v, n);
	return found;
}

size_t
weir_jobs_count(const char *mode)
{
	return jobs_sum(mode, NULL);
}

size_t
weir_jobs_gpus(void)
{
	return jobs_sum(NULL, "gpus");
}

/* ---- logs ---- */

static void
jobs_copy(int fd)
{
	char text[1 << 14];
	ssize_t n;

	while ((n = read(fd, text, sizeof(text))) > 0)
		fwrite(text, 1, (size_t)n, stdout);
	fflush(stdout);
}

static int
jobs_open_log(const struct weir_state *s)
{
	WEIR_AUTO(weir_freep) char *path = weir_state_file(s, "log");
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		weir_job_say("job '%s' has no log: it printed on the terminal it was started from", s->name);
	else if (fd < 0)
		weir_job_say("'%s': %s", path, strerror(errno));
	return fd;
}

int
weir_jobs_logs(const char *name, bool is_following)
{
	struct weir_state *s = jobs_read(name);
	WEIR_AUTO(weir_closep) int fd = s != NULL ? jobs_open_log(s) : -1;

	weir_state_free(s);
	if (fd < 0)
		return 1;
	jobs_copy(fd);
	while (is_following && !ferror(stdout) && jobs_is_live(name)) {
		poll(NULL, 0, JOBS_LOOK_MS);
		jobs_copy(fd);
	}
	jobs_copy(fd);
	return ferror(stdout) ? 1 : 0;
}

/* ---- attach ---- */

static volatile sig_atomic_t jobs_is_leaving;

static void
jobs_leave(int sig)
{
	jobs_is_leaving = sig;
}

int
weir_jobs_attach(const char *name)
{
	struct sigaction leave = {.sa_handler = jobs_leave};
	struct weir_state *s = jobs_read(name);
	WEIR_AUTO(weir_closep) int fd = s != NULL ? jobs_open_log(s) : -1;
	int status;

	if (fd < 0) {
		weir_state_free(s);
		return 1;
	}
	if (s->is_live)
		lseek(fd, 0, SEEK_END);
	weir_state_free(s);
	sigaction(SIGINT, &leave, NULL);
	sigaction(SIGTERM, &leave, NULL);
	while (!jobs_is_leaving && jobs_is_live(name)) {
		jobs_copy(fd);
		poll(NULL, 0, JOBS_LOOK_MS);
	}
	jobs_copy(fd);
	if (jobs_is_leaving) {
		weir_job_say("job '%s' goes on; 'weir stop %s' ends it", name, name);
		return 0;
	}
	s = jobs_read(name);
	status = s != NULL ? (int)json_integer_value(json_object_get(s->v, "exit")) : 0;	/* forgotten as soon as it had ended: it had succeeded */
	weir_state_free(s);
	return status;
}

/* ---- stop and forget ---- */

static void
jobs_note_wish(const struct weir_state *s)
{
	WEIR_AUTO(weir_freep) char *path = weir_state_file(s, WEIR_STATE_STOP);
	WEIR_AUTO(weir_closep) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static void
jobs_id(const struct weir_state *s, struct weir_job_id *id)
{
	*id = (struct weir_job_id){.name = s->name, .pid = (pid_t)json_integer_value(json_object_get(s->v, "pid"))};
}

/* The launcher ends the job as it would at Ctrl-C, sends what it wrote, and writes how it ended. */
static int
jobs_stop_live(struct weir_state *s, int64_t grace_ms)
{
	const struct weir_engine *engine = weir_engine_find(weir_state_text(s, "engine"));
	pid_t launcher = (pid_t)json_integer_value(json_object_get(s->v, "launcher"));
	int64_t force = weir_now_ms() + grace_ms;
	struct weir_job_id id;
	struct weir_err err = {0};

	jobs_id(s, &id);
	jobs_note_wish(s);
	if (launcher <= 1 || kill(launcher, SIGTERM) != 0) {
		weir_job_say("job '%s': its launcher (process %d) cannot be told: %s", s->name, (int)launcher, strerror(errno));
		return 1;
	}
	while (jobs_is_live(s->name)) {
		poll(NULL, 0, JOBS_LOOK_MS / 4);
		if (weir_now_ms() < force || engine == NULL)
			continue;
		force = INT64_MAX;
		if (engine->is_running(&id) && engine->end(&id, 0, &err) != 0)
			weir_job_say("%s", weir_err_text(&err, WEIR_E_IO));
	}
	return 0;
}

int
weir_jobs_stop(const char *name, int64_t grace_ms)
{
	struct weir_state *s = jobs_read(name);
	int status = 1;

	if (s == NULL)
		return 1;
	if (weir_state_is_over(s) && !s->is_live) {
		weir_job_say("job '%s' has ended already: %s", name, weir_state_text(s, "status"));
		status = 0;
	} else if (s->is_live)
		status = jobs_stop_live(s, grace_ms);
	else {
		jobs_note_wish(s);
		status = weir_sweep_job(s, grace_ms, NULL);
	}
	weir_state_free(s);
	return status;
}

static void
jobs_say_staged(const struct weir_state *s)
{
	weir_job_say("what job '%s' changed was not sent, and is kept in '%s'; 'weir gc' sends it, and then it can be removed", s->name, weir_state_text(s, "staged"));
}

int
weir_jobs_remove(const char *name, bool is_forced)
{
	struct weir_state *s = jobs_read(name);
	struct weir_err err = {0};
	int status = 1;

	if (s != NULL && s->is_live && is_forced && jobs_stop_live(s, 10000) == 0)
		s->is_live = jobs_is_live(name);
	if (s != NULL && s->is_live)
		weir_job_say("job '%s' is running; 'weir stop %s' ends it", name, name);
	else if (s != NULL && !weir_state_is_over(s) && weir_sweep_job(s, 5000, NULL) != 0)
		weir_job_say("job '%s' is not removed", name);
	else if (s != NULL && weir_staged_is_left(s))
		jobs_say_staged(s);
	else if (s != NULL && weir_state_remove(s, &err) != WEIR_OK)
		weir_job_say("%s", weir_err_text(&err, WEIR_E_IO));
	else
		status = s == NULL;
	weir_state_free(s);
	return status;
}

int
weir_jobs_remove_ended(void)
{
	struct weir_state **v;
	struct weir_err err = {0};
	size_t n;
	int status = 0;

	weir_jobs_reconcile();
	if (weir_state_list(&v, &n, &err) != WEIR_OK) {
		weir_job_say("%s", weir_err_text(&err, WEIR_E_IO));
		return 1;
	}
	for (size_t i = 0; i < n; i++) {
		if (v[i]->is_live || !weir_state_is_over(v[i]))
			continue;
		if (weir_staged_is_left(v[i])) {
			jobs_say_staged(v[i]);
			status = 1;
		} else if (weir_state_remove(v[i], &err) != WEIR_OK) {
			weir_job_say("%s", weir_err_text(&err, WEIR_E_IO));
			status = 1;
		}
	}
	weir_state_list_free(v, n);
	return status;
}

/* ---- exec and again ---- */

int
weir_jobs_exec(const char *name, char *const *command)
{
	struct weir_state *s = jobs_read(name);
	const struct weir_engine *engine = s != NULL ? weir_engine_find(weir_state_text(s, "engine")) : NULL;
	struct weir_err err = {0};
	struct weir_job_id id;
	int status = 1;

	if (s == NULL)
		return WEIR_JOB_USAGE;
	jobs_id(s, &id);
	if (engine == NULL || !engine->is_running(&id))
		weir_job_say("job '%s' is not running: %s", name, jobs_status(s));
	else {
		status = engine->enter(&id, isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1, command, &err);
		weir_job_say("%s", weir_err_text(&err, WEIR_E_IO));
	}
	weir_state_free(s);
	return status;
}

int
weir_jobs_again(const char *name, int *argc, char ***argv)
{
	struct weir_state *s = jobs_read(name);
	json_t *list = s != NULL ? json_object_get(s->v, "argv") : NULL, *text;
	size_t i;

	if (s == NULL)
		return WEIR_JOB_USAGE;
	*argv = weir_xcalloc(json_array_size(list) + 2, sizeof(**argv));
	json_array_foreach (list, i, text)
		(*argv)[i] = weir_xstrdup(json_string_value(text) != NULL ? json_string_value(text) : "");
	*argc = (int)json_array_size(list);
	if (*argc == 0 || chdir(weir_state_text(s, "cwd")) != 0) {
		weir_job_say("job '%s' cannot be started again from '%s': %s", name, weir_state_text(s, "cwd"), *argc == 0 ? "its command line is not known" : strerror(errno));
		weir_state_free(s);
		return WEIR_JOB_USAGE;
	}
	weir_state_free(s);
	return 0;
}

/* ---- predict ---- */

static unsigned
jobs_port(const struct weir_state *s, const char *wanted)
{
	json_t *port;
	size_t i;

	json_array_foreach (json_object_get(s->v, "ports"), i, port) {
		const char *name = json_string_value(json_object_get(port, "name"));

		if (name != NULL && strcmp(name, wanted) == 0)
			return (unsigned)json_integer_value(json_object_get(port, "outside"));
	}
	return 0;
}

int
weir_jobs_predict(const char *name, const char *const *files, size_t nfiles, const char *const *args, size_t nargs, const char *output, bool is_json)
{
	struct weir_state *s = jobs_read(name);
	WEIR_AUTO(weir_freep) char *url = NULL, *model = NULL;
	struct weir_deepaas *d = NULL;
	struct weir_err err = {0};
	enum weir_code r = WEIR_OK;
	int status = WEIR_JOB_API;

	if (s == NULL)
		return WEIR_JOB_USAGE;
	url = weir_xasprintf("http://127.0.0.1:%u", jobs_port(s, "api"));
	if (!s->is_live)
		weir_job_say("job '%s' is not running: %s", name, jobs_status(s));
	else if (jobs_port(s, "api") == 0)
		weir_job_say("job '%s' has no API", name);
	else if ((r = weir_deepaas_open(url, &d, &err)) != WEIR_OK || (r = weir_deepaas_look(d, &model, &err)) != WEIR_OK)
		weir_job_say("job '%s': %s", name, r == WEIR_E_BUSY ? "its API does not answer yet" : weir_err_text(&err, r));
	else
		status = weir_mode_predict(d, model, files, nfiles, args, nargs, output, is_json);
	weir_deepaas_free(d);
	weir_state_free(s);
	return status;
}
