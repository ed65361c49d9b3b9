/* SPDX-License-Identifier: Apache-2.0 */
/* A container by docker: its client; the daemon does the work, usually as root, and so it must be allowed to look into the mount.
 *
 * WEIR_DOCKER is the program and what stands before "run" ("docker --context lab"), WEIR_DOCKER_ARGS are further options of
 * "docker run", both split at blanks. */
#include "config.h"

#include "engines.h"

#include <unistd.h>

static const struct weir_container docker = {
    .name = "docker",
    .variable = "WEIR_DOCKER",
    .arguments = "WEIR_DOCKER_ARGS",
    .network = "bridge",
    .gateway = "{{(index .IPAM.Config 0).Gateway}}",
};

/* The client alone is often installed where no daemon is. Only where nobody said where it is, and none of its usual places is there, is that certain. */
static bool
docker_has_daemon(void)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR"), *home = getenv("HOME");
	WEIR_AUTO(weir_freep) char *rootless = weir_xasprintf("%s/docker.sock", runtime != NULL ? runtime : "");
	WEIR_AUTO(weir_freep) char *contexts = weir_xasprintf("%s/.docker/contexts", home != NULL ? home : "");

	return getenv("WEIR_DOCKER") != NULL || getenv("DOCKER_HOST") != NULL || getenv("DOCKER_CONTEXT") != NULL || access("/var/run/docker.sock", F_OK) == 0 ||
	    access(rootless, F_OK) == 0 || access(contexts, F_OK) == 0;
}

static enum weir_code
docker_check(const struct weir_job *job, struct weir_err *err)
{
	enum weir_code r = weir_container_check(&docker, job, err);

	if (r == WEIR_OK && !docker_has_daemon())
		return weir_err_set(err, WEIR_E_NOENT, "engine 'docker': no daemon runs here (there is no /var/run/docker.sock)");
	return r;
}

static enum weir_code
docker_reaches_host(const struct weir_job *job, struct weir_err *err)
{
	(void)job;
	return weir_container_reaches_host(&docker, err);
}

static char *
docker_host_address(const struct weir_job *job)
{
	(void)job;
	return weir_container_host_address(&docker);
}

static int
docker_pull(struct weir_job *job)
{
	return weir_container_pull(&docker, job, (const char *const[]){"image", "inspect", NULL}, "docker login");
}

static void
docker_words(const struct weir_job *job, struct weir_words *w)
{
	weir_container_words(&docker, job, weir_engine_has_own_variable(&job->env) ? "FILE" : NULL, w);
}

static int
docker_become(const struct weir_job *job, struct weir_err *err)
{
	return weir_container_become(&docker, job, err);
}

static void
docker_kill(const struct weir_job *job, pid_t child)
{
	weir_container_kill(&docker, job->name, child);
}

static bool
docker_is_running(const struct weir_job_id *id)
{
	return weir_container_is_running(&docker, id);
}

/* Its containers go by themselves when they end (--rm), so that none is left to remove is no failure. */
static int
docker_end(const struct weir_job_id *id, int64_t grace_ms, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *grace = weir_xasprintf("%lld", (long long)(grace_ms / 1000));
	struct weir_words w = {0};

	weir_container_program(&docker, &w);
	weir_words_add(&w, "stop");
	weir_engine_option(&w, "--time", grace);
	weir_words_add(&w, id->name);
	weir_engine_call(&w);
	weir_container_program(&docker, &w);
	weir_words_add(&w, "rm");
	weir_words_add(&w, "--force");
	weir_words_add(&w, id->name);
	weir_engine_call(&w);
	if (!weir_container_is_running(&docker, id))
		return 0;
	weir_err_set(err, WEIR_E_IO, "docker could not end the container '%s'", id->name);
	return -1;
}

static int
docker_enter(const struct weir_job_id *id, bool is_terminal, char *const *command, struct weir_err *err)
{
	return weir_container_enter(&docker, id, is_terminal, command, err);
}

static pid_t
docker_inside(const struct weir_job_id *id)
{
	return weir_container_inside(&docker, id);
}

const struct weir_engine weir_engine_docker = {
    .name = "docker",
    .caps = WEIR_ENGINE_IMAGE | WEIR_ENGINE_CPUS | WEIR_ENGINE_MEMORY | WEIR_ENGINE_SHM | WEIR_ENGINE_PIDS | WEIR_ENGINE_NETWORK | WEIR_ENGINE_GPU,
    .check = docker_check,
    .reaches_host = docker_reaches_host,
    .host_address = docker_host_address,
    .pull = docker_pull,
    .words = docker_words,
    .become = docker_become,
    .kill = docker_kill,
    .is_running = docker_is_running,
    .end = docker_end,
    .enter = docker_enter,
    .inside = docker_inside,
    .failed_status = 125,
};
