/* SPDX-License-Identifier: Apache-2.0 */
/* A container by apptainer, or singularity, its older name: one image file, the user's own processes, no daemon and no network of its own.
 *
 * Variables travel as APPTAINERENV_NAME: an --env-file is evaluated by a shell there, and --env stands on the command line.
 * WEIR_APPTAINER is the program and what stands before "run", WEIR_APPTAINER_ARGS are further options of "run", split at blanks. */
#include "config.h"

#include "engines.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void
apptainer_program(struct weir_words *w)
{
	weir_engine_program(w, "WEIR_APPTAINER", (const char *const[]){"apptainer", "singularity", NULL});
}

static enum weir_code
apptainer_check(const struct weir_job *job, struct weir_err *err)
{
	struct weir_words w = {0};
	enum weir_code r = WEIR_OK;

	apptainer_program(&w);
	if (job->image == NULL && job->o->rootfs == NULL)
		r = weir_err_set(err, WEIR_E_INVAL, "engine 'apptainer' needs --image NAME or --rootfs FOLDER");
	else if (job->image != NULL && job->o->rootfs != NULL)
		r = weir_err_set(err, WEIR_E_INVAL, "--image and --rootfs exclude each other");
	else if (!weir_engine_is_there(w.v[0]))
		r = weir_err_set(err, WEIR_E_NOENT, "engine 'apptainer': '%s' is not installed here", w.v[0]);
	weir_words_free(&w);
	return r;
}

/* A file or a folder of this host, or a reference with its own scheme ("library://…")? */
static bool
apptainer_is_file(const char *image)
{
	struct stat st;

	return (image[0] == '/' || image[0] == '.') && stat(image, &st) == 0;
}

/* What "run" is given: a file as it is, else the image file made by the pull. Owned. */
static char *
apptainer_image(const struct weir_job *job)
{
	if (job->o->rootfs != NULL)
		return weir_xstrdup(job->o->rootfs);
	return apptainer_is_file(job->image) ? weir_xstrdup(job->image) : weir_engine_image_path(job, ".sif");
}

static int
apptainer_pull(struct weir_job *job)
{
	WEIR_AUTO(weir_freep) char *file = apptainer_image(job);
	WEIR_AUTO(weir_freep) char *dir = weir_xstrdup(file), *from = NULL;
	struct weir_words w = {0};

	if (job->image == NULL || access(file, F_OK) == 0)
		return 0;
	*strrchr(dir, '/') = '\0';
	if (weir_mkdirs(dir, 0700) != 0) {
		weir_job_say("a folder for images, '%s', cannot be made", dir);
		return WEIR_JOB_ENGINE;
	}
	from = strstr(job->image, "://") != NULL ? weir_xstrdup(job->image) : weir_xasprintf("docker://%s", job->image);
	if (!job->o->is_quiet)
		weir_job_say("getting image '%s'", job->image);
	apptainer_program(&w);
	weir_words_add(&w, "pull");
	weir_words_add(&w, file);
	weir_words_add(&w, from);
	return weir_engine_pull(job, &w, "apptainer registry login -u USER");
}

/* It can hold a job to limits only through cgroup v2. */
static bool
apptainer_has_cgroups(void)
{
	return access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;
}

static unsigned
apptainer_caps(void)
{
	unsigned limits = WEIR_ENGINE_CPUS | WEIR_ENGINE_MEMORY | WEIR_ENGINE_PIDS;

	return weir_engine_apptainer.caps & ~(apptainer_has_cgroups() ? 0 : limits);
}

static void
apptainer_limits(const struct weir_job *job, struct weir_words *w)
{
	WEIR_AUTO(weir_freep) char *cpus = weir_xasprintf("%.6g", job->cpus);
	WEIR_AUTO(weir_freep) char *memory = weir_xasprintf("%llu", (unsigned long long)job->memory_bytes);
	WEIR_AUTO(weir_freep) char *pids = weir_xasprintf("%llu", (unsigned long long)job->pids);

	if (!apptainer_has_cgroups())
		return;
	weir_engine_option(w, "--cpus", job->cpus > 0 ? cpus : NULL);
	weir_engine_option(w, "--memory", job->memory_bytes > 0 ? memory : NULL);
	weir_engine_option(w, "--pids-limit", job->pids > 0 ? pids : NULL);
}

static void
apptainer_words(const struct weir_job *job, struct weir_words *w)
{
	WEIR_AUTO(weir_freep) char *image = apptainer_image(job);

	apptainer_program(w);
	weir_words_add(w, "run");
	weir_words_add(w, "--cleanenv");
	weir_words_add(w, "--no-home");
	weir_words_add(w, "--writable-tmpfs");	/* modules write below /srv and /root */
	if (geteuid() != 0)
		weir_words_add(w, "--fakeroot");
	if (job->has_storage) {
		WEIR_AUTO(weir_freep) char *bind = weir_xasprintf("%s:" WEIR_JOB_STORAGE_PATH "%s", job->source != NULL ? job->source : "MOUNT", job->is_readonly ? ":ro" : "");

		weir_engine_option(w, "--bind", bind);
	}
	if (job->workdir_host != NULL) {
		WEIR_AUTO(weir_freep) char *bind = weir_xasprintf("%s:%s", job->workdir_host, job->workdir);

		weir_engine_option(w, "--bind", bind);
	}
	weir_engine_option(w, "--pwd", job->workdir);
	apptainer_limits(job, w);
	if (weir_engine_ngpus(job) > 0)
		weir_words_add(w, weir_engine_gpu(job, 0)->vendor == WEIR_GPU_NVIDIA ? "--nv" : "--rocm");
	weir_words_split(w, getenv("WEIR_APPTAINER_ARGS"));
	weir_words_add(w, image);
	for (size_t i = 0; i < job->command.n; i++)
		weir_words_add(w, job->command.v[i]);
}

static int
apptainer_become(const struct weir_job *job, struct weir_err *err)
{
	struct weir_words w = {0};
	const char *before, *base;
	enum weir_code r = WEIR_OK;

	if (job->source != NULL && strpbrk(job->source, ":,") != NULL) {
		weir_err_set(err, WEIR_E_INVAL, "apptainer cannot be given a folder with ':' or ',' in its name: '%s'", job->source);
		return WEIR_JOB_ENGINE;
	}
	apptainer_words(job, &w);
	base = strrchr(w.v[0], '/') != NULL ? strrchr(w.v[0], '/') + 1 : w.v[0];
	before = strncmp(base, "singularity", 11) == 0 ? "SINGULARITYENV_" : "APPTAINERENV_";
	weir_engine_clean_environment(job->o->conf);
	/* It shows the folder it is called in to the job, writable, whatever --no-home says; but for the root. */
	if (chdir("/") != 0)
		r = weir_err_errno(err, errno, "enter /");
	if (r == WEIR_OK)
		r = weir_engine_gpu_environment(job, before, err);
	if (r == WEIR_OK)
		r = weir_engine_putenv(&job->env, before, err);
	if (r == WEIR_OK && setenv(WEIR_JOB_VARIABLE, job->name, 1) != 0)	/* its own processes are the job's too */
		r = weir_err_errno(err, errno, "environment");
	return r ? WEIR_JOB_ENGINE : weir_engine_exec(&w, "apptainer", err);
}

const struct weir_engine weir_engine_apptainer = {
    .name = "apptainer",
    .caps = WEIR_ENGINE_IMAGE | WEIR_ENGINE_ROOTFS | WEIR_ENGINE_CPUS | WEIR_ENGINE_MEMORY | WEIR_ENGINE_PIDS | WEIR_ENGINE_GPU,
    .caps_here = apptainer_caps,
    .check = apptainer_check,
    .pull = apptainer_pull,
    .words = apptainer_words,
    .become = apptainer_become,
    .kill = weir_engine_kill_child,
    .is_running = weir_engine_processes_run,
    .end = weir_engine_processes_end,
    .enter = weir_engine_processes_enter,
    .inside = weir_engine_processes_inside,
    .failed_status = 255,
    .ends_orphans = true,
    .sees_our_mounts = true,
};
