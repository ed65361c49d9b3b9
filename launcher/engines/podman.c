/* SPDX-License-Identifier: Apache-2.0 */
/* A container by podman: rootless or as root, an image or a folder as its root.
 *
 * WEIR_PODMAN is the program and what stands before "run" ("podman --runtime runc"), WEIR_PODMAN_ARGS are further options of
 * "podman run", both split at blanks. */
#include "config.h"

#include "../launch.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void
podman_program(struct weir_words *w)
{
	const char *program = getenv("WEIR_PODMAN");

	weir_words_split(w, program);
	if (w->n == 0)
		weir_words_add(w, "podman");
}

static bool
podman_is_there(const char *program)
{
	const char *path = getenv("PATH");

	if (strchr(program, '/') != NULL)
		return access(program, X_OK) == 0;
	for (const char *p = path != NULL ? path : "/usr/bin:/bin"; *p != '\0';) {
		size_t len = strcspn(p, ":");
		WEIR_AUTO(weir_freep) char *file = weir_xasprintf("%.*s/%s", (int)len, p, program);

		if (access(file, X_OK) == 0)
			return true;
		p += len + (p[len] == ':');
	}
	return false;
}

static enum weir_code
podman_check(const struct weir_job *job, struct weir_err *err)
{
	struct weir_words w = {0};
	enum weir_code r = WEIR_OK;

	podman_program(&w);
	if (job->image == NULL && job->o->rootfs == NULL)
		r = weir_err_set(err, WEIR_E_INVAL, "engine 'podman' needs --image NAME or --rootfs FOLDER");
	else if (job->image != NULL && job->o->rootfs != NULL)
		r = weir_err_set(err, WEIR_E_INVAL, "--image and --rootfs exclude each other");
	else if (!podman_is_there(w.v[0]))
		r = weir_err_set(err, WEIR_E_NOENT, "engine 'podman': '%s' is not installed here", w.v[0]);
	weir_words_free(&w);
	return r;
}

static void
podman_option(struct weir_words *w, const char *option, const char *value)
{
	if (value == NULL)
		return;
	weir_words_add(w, option);
	weir_words_add(w, value);
}

static void
podman_volume(const struct weir_job *job, struct weir_words *w)
{
	/* rslave: what happens to the mount on the host is seen inside; nothing done inside is seen on the host. */
	WEIR_AUTO(weir_freep) char *volume =
	    weir_xasprintf("%s:" WEIR_JOB_STORAGE_PATH ":%srslave", job->source != NULL ? job->source : "MOUNT", job->is_readonly ? "ro," : "");

	podman_option(w, "--volume", volume);
}

static void
podman_words(const struct weir_job *job, struct weir_words *w)
{
	const struct weir_job_options *o = job->o;
	bool is_terminal = job->log_fd <= 0 && isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;

	podman_program(w);
	weir_words_add(w, "run");
	weir_words_add(w, "--rm");
	podman_option(w, "--name", job->name);
	weir_words_add(w, is_terminal ? "-it" : "-i");
	if (job->has_storage)
		podman_volume(job, w);
	for (size_t i = 0; i < job->env.n; i++) {
		WEIR_AUTO(weir_freep) char *name = weir_xstrndup(job->env.v[i], strcspn(job->env.v[i], "="));

		podman_option(w, "--env", name);	/* its value is in podman's own environment: a command line can be seen by everybody */
	}
	if (job->workdir_host != NULL) {
		WEIR_AUTO(weir_freep) char *volume = weir_xasprintf("%s:%s", job->workdir_host, job->workdir);

		podman_option(w, "--volume", volume);
	}
	podman_option(w, "--workdir", job->workdir);
	for (size_t i = 0; i < job->nports; i++) {
		WEIR_AUTO(weir_freep) char *port = weir_xasprintf("127.0.0.1:%u:%u", job->ports[i].outside, job->ports[i].inside);

		podman_option(w, "--publish", port);
	}
	podman_option(w, "--cpus", o->cpus);
	if (job->memory_bytes > 0) {
		WEIR_AUTO(weir_freep) char *bytes = weir_xasprintf("%llub", (unsigned long long)job->memory_bytes);

		podman_option(w, "--memory", bytes);
	}
	weir_words_split(w, getenv("WEIR_PODMAN_ARGS"));
	if (o->rootfs != NULL)
		weir_words_add(w, "--rootfs");
	weir_words_add(w, o->rootfs != NULL ? o->rootfs : job->image);
	for (size_t i = 0; i < job->command.n; i++)
		weir_words_add(w, job->command.v[i]);
}

static int
podman_become(const struct weir_job *job, struct weir_err *err)
{
	struct weir_words w = {0};

	if (job->source != NULL && strchr(job->source, ':') != NULL) {
		weir_err_set(err, WEIR_E_INVAL, "podman cannot be given a folder with ':' in its name: '%s'", job->source);
		return WEIR_JOB_ENGINE;
	}
	for (size_t i = 0; i < job->env.n; i++) {
		if (putenv(job->env.v[i]) != 0) {
			weir_err_errno(err, errno, "environment");
			return WEIR_JOB_ENGINE;
		}
	}
	podman_words(job, &w);
	execvp(w.v[0], w.v);
	weir_err_errno(err, errno, "engine 'podman': '%s'", w.v[0]);
	return WEIR_JOB_ENGINE;
}

/* A podman of its own, quiet; its exit status, or -1. */
static int
podman_call(struct weir_words *w)
{
	posix_spawn_file_actions_t fa;
	int status = -1;
	pid_t pid;

	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&fa, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	if (posix_spawnp(&pid, w->v[0], &fa, NULL, w->v, environ) == 0) {
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	}
	posix_spawn_file_actions_destroy(&fa);
	weir_words_free(w);
	return status;
}

/* Killing the podman in front of the container would leave the container running. */
static void
podman_kill(const struct weir_job *job, pid_t child)
{
	struct weir_words w = {0};

	podman_program(&w);
	weir_words_add(&w, "kill");
	weir_words_add(&w, "--signal=KILL");
	weir_words_add(&w, job->name);
	if (podman_call(&w) != 0)
		kill(child, SIGKILL);
}

static bool
podman_is_running(const struct weir_job_id *id)
{
	struct weir_words w = {0};

	podman_program(&w);
	weir_words_add(&w, "top");	/* fails unless it runs */
	weir_words_add(&w, id->name);
	weir_words_add(&w, "pid");
	return podman_call(&w) == 0;
}

static int
podman_end(const struct weir_job_id *id, int64_t grace_ms, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *grace = weir_xasprintf("%lld", (long long)(grace_ms / 1000));
	struct weir_words w = {0};

	podman_program(&w);
	weir_words_add(&w, "rm");
	weir_words_add(&w, "--force");
	weir_words_add(&w, "--ignore");
	podman_option(&w, "--time", grace);
	weir_words_add(&w, id->name);
	if (podman_call(&w) == 0)
		return 0;
	weir_err_set(err, WEIR_E_IO, "podman could not end and remove the container '%s'", id->name);
	return -1;
}

static int
podman_enter(const struct weir_job_id *id, bool is_terminal, char *const *command, struct weir_err *err)
{
	struct weir_words w = {0};

	podman_program(&w);
	weir_words_add(&w, "exec");
	weir_words_add(&w, is_terminal ? "-it" : "-i");
	weir_words_add(&w, id->name);
	for (; *command != NULL; command++)
		weir_words_add(&w, *command);
	execvp(w.v[0], w.v);
	weir_err_errno(err, errno, "engine 'podman': '%s'", w.v[0]);
	return WEIR_JOB_ENGINE;
}

const struct weir_engine weir_engine_podman = {
    .name = "podman",
    .caps = WEIR_ENGINE_IMAGE | WEIR_ENGINE_ROOTFS | WEIR_ENGINE_CPUS | WEIR_ENGINE_MEMORY | WEIR_ENGINE_SHM | WEIR_ENGINE_PIDS | WEIR_ENGINE_NETWORK | WEIR_ENGINE_GPU,
    .check = podman_check,
    .words = podman_words,
    .become = podman_become,
    .kill = podman_kill,
    .is_running = podman_is_running,
    .end = podman_end,
    .enter = podman_enter,
    .failed_status = 125,
};
