/* SPDX-License-Identifier: Apache-2.0 */
/* A container by podman: rootless or as root, an image or a folder as its root.
 *
 * WEIR_PODMAN is the program and what stands before "run" ("podman --runtime runc"), WEIR_PODMAN_ARGS are further options of
 * "podman run", both split at blanks. */
#include "config.h"

#include "engines.h"

static const struct weir_container podman = {
    .name = "podman",
    .variable = "WEIR_PODMAN",
    .arguments = "WEIR_PODMAN_ARGS",
    .is_apart = true,
    .network = "podman",
    .gateway = "{{(index .Subnets 0).Gateway}}",
    .has_cdi = true,
    .has_rootfs = true,
};

static enum weir_code
podman_check(const struct weir_job *job, struct weir_err *err)
{
	return weir_container_check(&podman, job, err);
}

static enum weir_code
podman_reaches_host(const struct weir_job *job, struct weir_err *err)
{
	(void)job;
	return weir_container_reaches_host(&podman, err);
}

static char *
podman_host_address(const struct weir_job *job)
{
	(void)job;
	return weir_container_host_address(&podman);
}

static int
podman_pull(struct weir_job *job)
{
	return weir_container_pull(&podman, job, (const char *const[]){"image", "exists", NULL}, "podman login");
}

static void
podman_words(const struct weir_job *job, struct weir_words *w)
{
	weir_container_words(&podman, job, weir_engine_has_own_variable(&job->env) ? "FILE" : NULL, w);
}

static int
podman_become(const struct weir_job *job, struct weir_err *err)
{
	return weir_container_become(&podman, job, err);
}

static void
podman_kill(const struct weir_job *job, pid_t child)
{
	weir_container_kill(&podman, job->name, child);
}

static bool
podman_is_running(const struct weir_job_id *id)
{
	return weir_container_is_running(&podman, id);
}

static int
podman_end(const struct weir_job_id *id, int64_t grace_ms, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *grace = weir_xasprintf("%lld", (long long)(grace_ms / 1000));
	struct weir_words w = {0};

	weir_container_program(&podman, &w);
	weir_words_add(&w, "rm");
	weir_words_add(&w, "--force");
	weir_words_add(&w, "--ignore");
	weir_engine_option(&w, "--time", grace);
	weir_words_add(&w, id->name);
	if (weir_engine_call(&w) == 0)
		return 0;
	weir_err_set(err, WEIR_E_IO, "podman could not end and remove the container '%s'", id->name);
	return -1;
}

static int
podman_enter(const struct weir_job_id *id, bool is_terminal, char *const *command, struct weir_err *err)
{
	return weir_container_enter(&podman, id, is_terminal, command, err);
}

static pid_t
podman_inside(const struct weir_job_id *id)
{
	return weir_container_inside(&podman, id);
}

const struct weir_engine weir_engine_podman = {
    .name = "podman",
    .caps = WEIR_ENGINE_IMAGE | WEIR_ENGINE_ROOTFS | WEIR_ENGINE_CPUS | WEIR_ENGINE_MEMORY | WEIR_ENGINE_SHM | WEIR_ENGINE_PIDS | WEIR_ENGINE_NETWORK | WEIR_ENGINE_GPU,
    .check = podman_check,
    .reaches_host = podman_reaches_host,
    .host_address = podman_host_address,
    .pull = podman_pull,
    .words = podman_words,
    .become = podman_become,
    .kill = podman_kill,
    .is_running = podman_is_running,
    .end = podman_end,
    .enter = podman_enter,
    .inside = podman_inside,
    .failed_status = 125,
};
