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
	if (job->o->image == NULL && job->o->rootfs == NULL)
		r = weir_err_set(err, WEIR_E_INVAL, "engine 'podman' needs --image NAME or --rootfs FOLDER");
	else if (job->o->image != NULL && job->o->rootfs != NULL)
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
	bool is_terminal = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;

	podman_program(w);
	weir_words_add(w, "run");
	weir_words_add(w, "--rm");
	podman_option(w, "--name", job->name);
	weir_words_add(w, is_terminal ? "-it" : "-i");
	if (o->conf != NULL)
		podman_volume(job, w);
	/* As files, not as what was read from them: a value on a command line can be seen by everybody. */
	for (size_t i = 0; i < o->nenv_files; i++)
		podman_option(w, "--env-file", o->env_files[i]);
	for (size_t i = 0; i < o->nenv; i++)
		podman_option(w, "--env", o->env[i]);
	podman_option(w, "--workdir", o->workdir);
	podman_option(w, "--cpus", o->cpus);
	if (job->memory_bytes > 0) {
		WEIR_AUTO(weir_freep) char *bytes = weir_xasprintf("%llub", (unsigned long long)job->memory_bytes);

		podman_option(w, "--memory", bytes);
	}
	weir_words_split(w, getenv("WEIR_PODMAN_ARGS"));
	if (o->rootfs != NULL)
		weir_words_add(w, "--rootfs");
	weir_words_add(w, o->rootfs != NULL ? o->rootfs : o->image);
	for (char *const *c = o->command; *c != NULL; c++)
		weir_words_add(w, *c);
}

static int
podman_become(const struct weir_job *job, struct weir_err *err)
{
	struct weir_words w = {0};

	if (job->source != NULL && strchr(job->source, ':') != NULL) {
		weir_err_set(err, WEIR_E_INVAL, "podman cannot be given a folder with ':' in its name: '%s'", job->source);
		return WEIR_JOB_ENGINE;
	}
	podman_words(job, &w);
	execvp(w.v[0], w.v);
	weir_err_errno(err, errno, "engine 'podman': '%s'", w.v[0]);
	return WEIR_JOB_ENGINE;
}

/* Killing the podman in front of the container would leave the container running. */
static void
podman_kill(const struct weir_job *job, pid_t child)
{
	struct weir_words w = {0};
	int status;
	pid_t pid;

	podman_program(&w);
	weir_words_add(&w, "kill");
	weir_words_add(&w, "--signal=KILL");
	weir_words_add(&w, job->name);
	if (posix_spawnp(&pid, w.v[0], NULL, NULL, w.v, environ) == 0) {
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		if (status != 0)
			kill(child, SIGKILL);
	}
	weir_words_free(&w);
}

const struct weir_engine weir_engine_podman = {
    .name = "podman",
    .check = podman_check,
    .words = podman_words,
    .become = podman_become,
    .kill = podman_kill,
    .failed_status = 125,
};
