/* SPDX-License-Identifier: Apache-2.0 */
/* A container by Charliecloud's ch-run: a folder (or a SquashFS file) as root, the user's own processes, a user namespace, this host's network
 * and devices. It knows nothing of an image's configuration, so entry point, command, variables and folder are read here from what
 * ch-image leaves in the folder: ch/config.pulled.json and ch/environment.
 *
 * WEIR_CH_RUN, WEIR_CH_IMAGE, WEIR_CH_CONVERT are the programs with their first options, WEIR_CH_RUN_ARGS further options of ch-run, split at blanks. */
#include "config.h"

#include "engines.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CH_ENVIRONMENT_MAX (1u << 20)
#define CH_LIBRARIES "usr/local/nvidia/lib64"
#define CH_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static void
ch_program(struct weir_words *w, const char *variable, const char *name)
{
	weir_engine_program(w, variable, (const char *const[]){name, NULL});
}

/* A folder or file of this host is an image as it is. */
static bool
ch_is_file(const char *image)
{
	struct stat st;

	return (image[0] == '/' || image[0] == '.') && stat(image, &st) == 0;
}

static bool
ch_is_ours(const struct weir_job *job)
{
	return job->image != NULL && !ch_is_file(job->image);
}

static char *
ch_image(const struct weir_job *job)
{
	if (ch_is_ours(job))
		return weir_engine_image_path(job, "");
	return weir_xstrdup(job->o->rootfs != NULL ? job->o->rootfs : job->image);
}

/* ch-run makes no mount points, and whose folder it is decides whether we may. Missing ones of a folder that is not ours are named. */
static enum weir_code
ch_check_points(const struct weir_job *job, const char *image, struct weir_err *err)
{
	const char *points[] = {job->has_storage ? WEIR_JOB_STORAGE_PATH : NULL, job->workdir_host != NULL ? job->workdir : NULL};
	struct stat st;

	if (stat(image, &st) != 0)
		return weir_err_errno(err, errno, "'%s'", image);
	for (size_t i = 0; i < WEIR_LEN(points); i++) {
		WEIR_AUTO(weir_freep) char *path = points[i] != NULL ? weir_xasprintf("%s%s", image, points[i]) : NULL;

		if (path != NULL && S_ISDIR(st.st_mode) && access(path, F_OK) != 0)
			return weir_err_set(err, WEIR_E_INVAL, "engine 'charliecloud' can show a folder only where one is: 'mkdir -p %s' makes it", path);
	}
	return WEIR_OK;
}

static enum weir_code
ch_check(const struct weir_job *job, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *image = NULL;
	struct weir_words w = {0};
	enum weir_code r = WEIR_OK;

	ch_program(&w, "WEIR_CH_RUN", "ch-run");
	if (job->image == NULL && job->o->rootfs == NULL)
		r = weir_err_set(err, WEIR_E_INVAL, "engine 'charliecloud' needs --image NAME or --rootfs FOLDER");
	else if (job->image != NULL && job->o->rootfs != NULL)
		r = weir_err_set(err, WEIR_E_INVAL, "--image and --rootfs exclude each other");
	else if (!weir_engine_is_there(w.v[0]))
		r = weir_err_set(err, WEIR_E_NOENT, "engine 'charliecloud': '%s' is not installed here", w.v[0]);
	else if (!ch_is_ours(job)) {
		image = ch_image(job);
		r = ch_check_points(job, image, err);
		if (r == WEIR_E_NOENT)
			r = WEIR_E_INVAL;	/* of the engine there is nothing missing */
	}
	weir_words_free(&w);
	return r;
}

/* ---- getting it ---- */

static int
ch_touch(const char *image, const char *path)
{
	WEIR_AUTO(weir_freep) char *file = weir_xasprintf("%s/%s", image, path);
	WEIR_AUTO(weir_closep) int fd = open(file, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);

	return fd >= 0 ? 0 : -1;
}

/* Mount points of what a job may be shown; here, where the folder is new and ours. An image that has its own keeps it. */
static int
ch_make_points(const char *image)
{
	WEIR_AUTO(weir_freep) char *storage = weir_xasprintf("%s" WEIR_JOB_STORAGE_PATH, image), *libraries = weir_xasprintf("%s/" CH_LIBRARIES, image);
	WEIR_AUTO(weir_freep) char *workdir = weir_xasprintf("%s/work", image);	/* where --workdir shows a folder of this host */
	struct weir_words libs = {0};
	int r = weir_mkdirs(storage, 0755) == 0 && weir_mkdirs(workdir, 0755) == 0 ? 0 : -1;

	weir_gpu_libraries(&libs);
	if (libs.n > 0 && weir_mkdirs(libraries, 0755) == 0) {
		for (size_t i = 0; i < libs.n; i++) {
			WEIR_AUTO(weir_freep) char *point = weir_xasprintf(CH_LIBRARIES "/%s", strrchr(libs.v[i], '/') + 1);

			ch_touch(image, point);
		}
	}
	weir_words_free(&libs);
	return r;
}

static int
ch_convert(struct weir_job *job, const char *image)
{
	char random[9];
	WEIR_AUTO(weir_freep) char *partial = NULL;
	struct weir_words w = {0};
	int status;

	weir_random_hex(random, sizeof(random) - 1);
	partial = weir_xasprintf("%s.part-%s", image, random);
	ch_program(&w, "WEIR_CH_CONVERT", "ch-convert");
	weir_engine_option(&w, "-i", "ch-image");
	weir_engine_option(&w, "-o", "dir");
	weir_words_add(&w, job->image);
	weir_words_add(&w, partial);
	status = weir_engine_pull(job, &w, "ch-image");
	if (status != 0)
		return status;
	if (ch_make_points(partial) == 0 && (rename(partial, image) == 0 || errno == EEXIST || errno == ENOTEMPTY))
		return 0;
	weir_job_say("image '%s' cannot be kept in '%s': %s", job->image, image, strerror(errno));
	return WEIR_JOB_ENGINE;
}

static void
ch_set_user(void)
{
	const struct passwd *pw = getenv("USER") == NULL ? getpwuid(geteuid()) : NULL;

	if (getenv("USER") == NULL)
		setenv("USER", pw != NULL ? pw->pw_name : "user", 1);	/* the programs refuse to work without */
}

static int
ch_pull(struct weir_job *job)
{
	WEIR_AUTO(weir_freep) char *image = ch_image(job), *dir = weir_xstrdup(image);
	struct weir_words w = {0};
	int status;

	if (!ch_is_ours(job) || access(image, F_OK) == 0)
		return 0;
	*strrchr(dir, '/') = '\0';
	if (weir_mkdirs(dir, 0700) != 0) {
		weir_job_say("a folder for images, '%s': %s", dir, strerror(errno));
		return WEIR_JOB_ENGINE;
	}
	ch_set_user();
	setenv("CH_IMAGE_CACHE", "disabled", 0);	/* for builds: it wants git, and a name to commit as */
	if (!job->o->is_quiet)
		weir_job_say("getting image '%s'", job->image);
	ch_program(&w, "WEIR_CH_IMAGE", "ch-image");
	weir_words_add(&w, "pull");
	weir_words_add(&w, job->image);
	status = weir_engine_pull(job, &w, "ch-image pull --auth");
	return status == 0 ? ch_convert(job, image) : status;
}

/* ---- what the image says of itself ---- */

/* The part "config" of its OCI configuration, or NULL: a folder that was made otherwise. Owned. */
static json_t *
ch_config(const char *image)
{
	WEIR_AUTO(weir_freep) char *path = weir_xasprintf("%s/ch/config.pulled.json", image);
	json_t *whole = json_load_file(path, 0, NULL), *config = json_incref(json_object_get(whole, "config"));

	json_decref(whole);
	return config;
}

static void
ch_add_texts(const json_t *list, struct weir_words *w)
{
	size_t i;
	json_t *v;

	json_array_foreach (list, i, v) {
		if (json_is_string(v))
			weir_words_add(w, json_string_value(v));
	}
}

/* As every other engine: the entry point stays, the job's command stands in for the image's. */
static void
ch_command(const struct weir_job *job, const json_t *config, struct weir_words *w)
{
	ch_add_texts(json_object_get(config, "Entrypoint"), w);
	if (job->command.n == 0)
		ch_add_texts(json_object_get(config, "Cmd"), w);
	for (size_t i = 0; i < job->command.n; i++)
		weir_words_add(w, job->command.v[i]);
}

static void
ch_image_environment(const char *image, struct weir_words *env)
{
	WEIR_AUTO(weir_freep) char *path = weir_xasprintf("%s/ch/environment", image);
	WEIR_AUTO(weir_freep) char *text = NULL;
	char *save = NULL;
	size_t len;

	if (weir_read_file(path, CH_ENVIRONMENT_MAX, &text, &len) != 0)
		return;
	for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
		if (strchr(line, '=') != NULL && line[0] != '=')
			weir_words_add(env, line);
	}
}

/* ---- run ---- */

static void
ch_bind(struct weir_words *w, const char *from, const char *to)
{
	WEIR_AUTO(weir_freep) char *bind = weir_xasprintf("%s:%s", from, to);

	weir_engine_option(w, "--bind", bind);
}

/* Devices are all there; what a program links with is not. Where the image has no place for it, the image was prepared by ch-fromhost, or is of no use. */
static void
ch_libraries(const struct weir_job *job, const char *image, struct weir_words *w)
{
	struct weir_words libs = {0};

	if (weir_engine_ngpus(job) == 0 || weir_engine_gpu(job, 0)->vendor != WEIR_GPU_NVIDIA)
		return;
	weir_gpu_libraries(&libs);
	for (size_t i = 0; i < libs.n; i++) {
		WEIR_AUTO(weir_freep) char *inside = weir_xasprintf("/" CH_LIBRARIES "/%s", strrchr(libs.v[i], '/') + 1);
		WEIR_AUTO(weir_freep) char *point = weir_xasprintf("%s%s", image, inside);

		if (access(point, F_OK) == 0)
			ch_bind(w, libs.v[i], inside);
	}
	weir_words_free(&libs);
}

static void
ch_all_words(const struct weir_job *job, const char *env_file, struct weir_words *w)
{
	WEIR_AUTO(weir_freep) char *image = ch_image(job);
	json_t *config = ch_config(image);
	const char *dir = job->workdir != NULL ? job->workdir : json_string_value(json_object_get(config, "WorkingDir"));

	ch_program(w, "WEIR_CH_RUN", "ch-run");
	weir_engine_option(w, "--uid", "0");	/* as images expect; to files it still is the user */
	weir_engine_option(w, "--gid", "0");
	weir_words_add(w, "--private-tmp");
	if (job->has_storage)
		ch_bind(w, job->source != NULL ? job->source : "MOUNT", WEIR_JOB_STORAGE_PATH);
	if (job->workdir_host != NULL)
		ch_bind(w, job->workdir_host, job->workdir);
	ch_libraries(job, image, w);
	weir_engine_option(w, "--cd", dir != NULL && dir[0] == '/' ? dir : NULL);
	if (env_file != NULL) {
		WEIR_AUTO(weir_freep) char *option = weir_xasprintf("--set-env=%s", env_file);

		weir_words_add(w, "--env-no-expand");
		weir_words_add(w, option);
	}
	weir_words_split(w, getenv("WEIR_CH_RUN_ARGS"));
	weir_words_add(w, image);
	weir_words_add(w, "--");
	ch_command(job, config, w);
	json_decref(config);
}

static void
ch_words(const struct weir_job *job, struct weir_words *w)
{
	ch_all_words(job, "FILE", w);
}

static void
ch_keep(struct weir_words *env, const char *name)
{
	WEIR_AUTO(weir_freep) char *whole = getenv(name) != NULL ? weir_xasprintf("%s=%s", name, getenv(name)) : NULL;

	if (whole != NULL)
		weir_words_add(env, whole);
}

/* What a job finds, least important first: our defaults, the image's, the GPUs', the person's. */
static enum weir_code
ch_collect(const struct weir_job *job, struct weir_words *env, struct weir_err *err)
{
	static const char *const kept[] = {"TERM", "LANG", "LC_ALL", "TZ"}, *const gpus[] = {"CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"};
	WEIR_AUTO(weir_freep) char *image = ch_image(job);
	enum weir_code r = weir_engine_gpu_environment(job, "", err);

	weir_words_add(env, CH_PATH);
	weir_words_add(env, "HOME=/root");
	for (size_t i = 0; i < WEIR_LEN(kept); i++)
		ch_keep(env, kept[i]);
	ch_image_environment(image, env);
	for (size_t i = 0; i < WEIR_LEN(gpus); i++)
		ch_keep(env, gpus[i]);
	if (weir_engine_ngpus(job) > 0)
		weir_words_add(env, "LD_LIBRARY_PATH=/" CH_LIBRARIES);
	for (size_t i = 0; i < job->env.n; i++)
		weir_words_add(env, job->env.v[i]);
	return r;
}

/* What ch-run passes on unchanged is its own environment: so that becomes the job's, all but what would change ch-run. */
static enum weir_code
ch_environment(const struct weir_job *job, struct weir_words *out, char **env_file, struct weir_err *err)
{
	struct weir_words env = {0};
	enum weir_code r = ch_collect(job, &env, err);

	ch_set_user();
	ch_keep(out, "USER");
	weir_words_add(out, CH_PATH);
	weir_engine_env_list(&env, out);
	if (r == WEIR_OK)
		r = weir_engine_env_file(&env, "'", env_file, err);
	weir_words_free(&env);
	return r;
}

static int
ch_become(const struct weir_job *job, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *env_file = NULL;
	struct weir_words w = {0}, env = {0};
	enum weir_code r = WEIR_OK;

	if (job->source != NULL && strchr(job->source, ':') != NULL) {
		weir_err_set(err, WEIR_E_INVAL, "charliecloud cannot be given a folder with ':' in its name: '%s'", job->source);
		return WEIR_JOB_ENGINE;
	}
	if (job->source != NULL && job->is_readonly) {	/* its own binds are always writable */
		r = weir_engine_unshare(err);
		if (r == WEIR_OK)
			r = weir_engine_bind(job->source, job->source, true, err);
	}
	if (r == WEIR_OK)
		r = ch_environment(job, &env, &env_file, err);
	if (r)
		return WEIR_JOB_ENGINE;
	ch_all_words(job, env_file, &w);
	if (strcmp(w.v[w.n - 1], "--") == 0) {
		weir_err_set(err, WEIR_E_INVAL, "the image does not say what it runs: give a command after --");
		return WEIR_JOB_ENGINE;
	}
	execvpe(w.v[0], w.v, env.v);
	weir_err_errno(err, errno, "engine 'charliecloud': '%s'", w.v[0]);
	return WEIR_JOB_ENGINE;
}

const struct weir_engine weir_engine_charliecloud = {
    .name = "charliecloud",
    .caps = WEIR_ENGINE_IMAGE | WEIR_ENGINE_ROOTFS | WEIR_ENGINE_GPU,
    .check = ch_check,
    .pull = ch_pull,
    .words = ch_words,
    .become = ch_become,
    .kill = weir_engine_kill_child,
    .is_running = weir_engine_processes_run,
    .end = weir_engine_processes_end,
    .enter = weir_engine_processes_enter,
    .inside = weir_engine_processes_inside,
    .ends_orphans = true,
    .sees_our_mounts = true,
};
