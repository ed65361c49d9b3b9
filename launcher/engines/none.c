/* SPDX-License-Identifier: Apache-2.0 */
/* No container: the command runs on this host, in a mount namespace of its own that has the storage at /storage. */
#include "config.h"

#include "engines.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum weir_code
none_check(const struct weir_job *job, struct weir_err *err)
{
	const struct weir_job_options *o = job->o;
	const char *option = job->image != NULL ? "--image" : o->rootfs != NULL ? "--rootfs" : o->cpus != NULL ? "--cpus" : o->memory != NULL ? "--memory" : NULL;

	if (option != NULL)
		return weir_err_set(err, WEIR_E_INVAL, "engine 'none' runs the command on this host as it is: it has no %s (use --engine podman)", option);
	if (job->command.n == 0)
		return weir_err_set(err, WEIR_E_INVAL, "engine 'none' needs a command: weir run [options] -- COMMAND…");
	return WEIR_OK;
}

static void
none_words(const struct weir_job *job, struct weir_words *w)
{
	if (job->has_storage) {
		WEIR_AUTO(weir_freep) char *bind = NULL;

		weir_words_add(w, "unshare");
		if (geteuid() != 0) {
			weir_words_add(w, "--user");
			weir_words_add(w, "--map-current-user");
		}
		weir_words_add(w, "--mount");
		bind = weir_xasprintf("mount --rbind%s \"$0\" " WEIR_JOB_STORAGE_PATH " && exec \"$@\"", job->is_readonly ? " -o ro" : "");
		weir_words_add(w, "sh");
		weir_words_add(w, "-c");
		weir_words_add(w, bind);
		weir_words_add(w, job->source != NULL ? job->source : "MOUNT");
	}
	for (size_t i = 0; i < job->command.n; i++)
		weir_words_add(w, job->command.v[i]);
}

static enum weir_code
none_make_point(struct weir_err *err)
{
	struct stat st;

	if (stat(WEIR_JOB_STORAGE_PATH, &st) == 0)
		return S_ISDIR(st.st_mode) ? WEIR_OK :
		    weir_err_set(err, WEIR_E_NOTDIR, "'" WEIR_JOB_STORAGE_PATH "' on this host is not a folder, so the storage cannot be shown there");
	if (mkdir(WEIR_JOB_STORAGE_PATH, 0755) == 0 || errno == EEXIST)
		return WEIR_OK;
	return weir_err_errno(err, errno, "folder '" WEIR_JOB_STORAGE_PATH "' is not there and cannot be made%s",
	    geteuid() != 0 ? "; have root make it once (mkdir " WEIR_JOB_STORAGE_PATH ")" : "");
}

static enum weir_code
none_environment(const struct weir_job *job, struct weir_err *err)
{
	enum weir_code r;

	if (job->o->conf != NULL)
		weir_engine_clean_environment(job->o->conf);
	r = weir_engine_gpu_environment(job, "", err);
	for (size_t i = 0; i < job->env.n && r == WEIR_OK; i++) {
		if (putenv(job->env.v[i]) != 0)
			r = weir_err_errno(err, errno, "environment");
	}
	return r;
}

static int
none_become(const struct weir_job *job, struct weir_err *err)
{
	enum weir_code r = WEIR_OK;

	if (job->source != NULL)
		r = weir_engine_unshare(err);
	if (r == WEIR_OK && job->source != NULL)
		r = none_make_point(err);
	if (r == WEIR_OK && job->source != NULL)
		r = weir_engine_bind(job->source, WEIR_JOB_STORAGE_PATH, job->is_readonly, err);
	if (r == WEIR_OK)
		r = none_environment(job, err);
	if (r)
		return WEIR_JOB_MOUNT;
	if (job->workdir != NULL && chdir(job->workdir) != 0) {
		weir_err_errno(err, errno, "--workdir '%s'", job->workdir);
		return WEIR_JOB_MOUNT;
	}
	execvp(job->command.v[0], job->command.v);
	r = errno == ENOENT || errno == ENOTDIR ? WEIR_E_NOENT : WEIR_E_ACCES;
	weir_err_errno(err, errno, "'%s'", job->command.v[0]);
	return r == WEIR_E_NOENT ? 127 : 126;	/* as a shell says it */
}

const struct weir_engine weir_engine_none = {
    .name = "none",
    .caps = WEIR_ENGINE_GPU,
    .check = none_check,
    .words = none_words,
    .become = none_become,
    .kill = weir_engine_kill_child,
    .is_running = weir_engine_processes_run,
    .end = weir_engine_processes_end,
    .enter = weir_engine_processes_enter,
    .inside = weir_engine_processes_inside,
    .ends_orphans = true,
    .sees_our_mounts = true,
};
