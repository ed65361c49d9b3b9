/* SPDX-License-Identifier: Apache-2.0 */
/* What podman and docker have in common: nearly the whole of "run". */
#include "config.h"

#include "engines.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONTAINER_LIBRARIES "/usr/local/nvidia/lib64"	/* where CUDA images look, by their LD_LIBRARY_PATH */

void
weir_container_program(const struct weir_container *c, struct weir_words *w)
{
	weir_engine_program(w, c->variable, (const char *const[]){c->name, NULL});
}

enum weir_code
weir_container_check(const struct weir_container *c, const struct weir_job *job, struct weir_err *err)
{
	struct weir_words w = {0};
	enum weir_code r = WEIR_OK;

	weir_container_program(c, &w);
	if (job->image == NULL && job->o->rootfs == NULL)
		r = weir_err_set(err, WEIR_E_INVAL, "engine '%s' needs --image NAME%s", c->name, c->has_rootfs ? " or --rootfs FOLDER" : "");
	else if (job->image != NULL && job->o->rootfs != NULL)
		r = weir_err_set(err, WEIR_E_INVAL, "--image and --rootfs exclude each other");
	else if (job->o->rootfs != NULL && !c->has_rootfs)
		r = weir_err_set(err, WEIR_E_INVAL, "engine '%s' has no --rootfs (use --engine podman)", c->name);
	else if (!weir_engine_is_there(w.v[0]))
		r = weir_err_set(err, WEIR_E_NOENT, "engine '%s': '%s' is not installed here", c->name, w.v[0]);
	weir_words_free(&w);
	return r;
}

int
weir_container_pull(const struct weir_container *c, struct weir_job *job, const char *const *exists, const char *login)
{
	struct weir_words w = {0};

	if (job->image == NULL)
		return 0;
	weir_container_program(c, &w);
	for (; *exists != NULL; exists++)
		weir_words_add(&w, *exists);
	weir_words_add(&w, job->image);
	if (weir_engine_call(&w) == 0)
		return 0;
	if (!job->o->is_quiet)
		weir_job_say("getting image '%s'", job->image);
	weir_container_program(c, &w);
	weir_words_add(&w, "pull");
	weir_words_add(&w, job->image);
	return weir_engine_pull(job, &w, login);
}

/* ---- run ---- */

/* rslave: what happens to mounts on the host is seen inside; nothing done inside is seen on the host. */
static void
container_volumes(const struct weir_job *job, struct weir_words *w)
{
	if (job->has_storage) {
		WEIR_AUTO(weir_freep) char *storage =
		    weir_xasprintf("%s:" WEIR_JOB_STORAGE_PATH ":%srslave", job->source != NULL ? job->source : "MOUNT", job->is_readonly ? "ro," : "");

		weir_engine_option(w, "--volume", storage);
	}
	if (job->workdir_host != NULL) {
		WEIR_AUTO(weir_freep) char *workdir = weir_xasprintf("%s:%s", job->workdir_host, job->workdir);

		weir_engine_option(w, "--volume", workdir);
	}
	/* There, files of FUSE and of people's folders have labels that no container may read; relabelling them is not ours to do. */
	if ((job->has_storage || job->workdir_host != NULL) && access("/sys/fs/selinux/enforce", F_OK) == 0)
		weir_engine_option(w, "--security-opt", "label=disable");
}

static void
container_env(const struct weir_job *job, const char *env_file, struct weir_words *w)
{
	weir_engine_option(w, "--env-file", env_file);
	for (size_t i = 0; i < job->env.n; i++) {
		WEIR_AUTO(weir_freep) char *name = weir_xstrndup(job->env.v[i], strcspn(job->env.v[i], "="));

		if (!weir_engine_is_own_variable(name))
			weir_engine_option(w, "--env", name);	/* its value is in the engine's own environment */
	}
	/* Images made for CUDA ask for every GPU there is, and some hosts' runtimes grant it. */
	if (weir_engine_ngpus(job) == 0 && weir_engine_env(job, "NVIDIA_VISIBLE_DEVICES") == NULL)
		weir_engine_option(w, "--env", "NVIDIA_VISIBLE_DEVICES=none");
}

static void
container_limits(const struct weir_job *job, struct weir_words *w)
{
	if (job->cpus > 0) {
		WEIR_AUTO(weir_freep) char *cpus = weir_xasprintf("%.6g", job->cpus);

		weir_engine_option(w, "--cpus", cpus);
	}
	if (job->memory_bytes > 0) {
		WEIR_AUTO(weir_freep) char *bytes = weir_xasprintf("%llub", (unsigned long long)job->memory_bytes);

		weir_engine_option(w, "--memory", bytes);
	}
	if (job->shm_bytes > 0) {
		WEIR_AUTO(weir_freep) char *bytes = weir_xasprintf("%llub", (unsigned long long)job->shm_bytes);

		weir_engine_option(w, "--shm-size", bytes);
	}
	if (job->pids > 0) {
		WEIR_AUTO(weir_freep) char *pids = weir_xasprintf("%llu", (unsigned long long)job->pids);

		weir_engine_option(w, "--pids-limit", pids);
	}
}

static void
container_ports(const struct weir_job *job, struct weir_words *w)
{
	for (size_t i = 0; i < job->nports; i++) {
		WEIR_AUTO(weir_freep) char *port = weir_xasprintf("127.0.0.1:%u:%u", job->ports[i].outside, job->ports[i].inside);

		weir_engine_option(w, "--publish", port);
	}
}

/* ---- the way from the job to this host ---- */

/* The network that the user's own arguments choose, owned; NULL: none. */
static char *
container_network(const struct weir_container *c)
{
	struct weir_words w = {0};
	char *network = NULL;

	weir_words_split(&w, getenv(c->arguments));
	for (size_t i = 0; i < w.n; i++) {
		const char *eq = strchr(w.v[i], '=');
		size_t len = eq != NULL ? (size_t)(eq - w.v[i]) : strlen(w.v[i]);
		bool is_network = (len == 9 && strncmp(w.v[i], "--network", len) == 0) || (len == 5 && strncmp(w.v[i], "--net", len) == 0);

		if (is_network && (eq != NULL || i + 1 < w.n)) {
			free(network);
			network = weir_xstrdup(eq != NULL ? eq + 1 : w.v[i + 1]);
		}
	}
	weir_words_free(&w);
	return network;
}

enum weir_code
weir_container_reaches_host(const struct weir_container *c, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *network = container_network(c);

	if (network != NULL && strcmp(network, "host") == 0)
		return WEIR_OK;
	if (network != NULL)
		return weir_err_set(err, WEIR_E_INVAL, "how a container on the network '%s' (%s) reaches this host is not known", network, c->arguments);
	if (c->is_apart && geteuid() != 0)
		return weir_err_set(err, WEIR_E_INVAL, "a container of %s without root has a network of its own and does not reach this host; %s='--network host' lets it", c->name,
		    c->arguments);
	return WEIR_OK;
}

char *
weir_container_host_address(const struct weir_container *c)
{
	WEIR_AUTO(weir_freep) char *network = container_network(c);
	struct weir_words w = {0};
	char *address;

	if (network != NULL)
		return weir_xstrdup("127.0.0.1");
	weir_container_program(c, &w);
	weir_words_add(&w, "network");
	weir_words_add(&w, "inspect");
	weir_engine_option(&w, "--format", c->gateway);
	weir_words_add(&w, c->network);
	address = weir_engine_ask(&w);
	if (address != NULL && address[0] == '\0')
		free(WEIR_STEAL(address));
	return address;
}

/* ---- GPUs: CDI, else the engine's own way, else device files and the driver's libraries ---- */

static bool
container_cdi(const struct weir_job *job, struct weir_words *w)
{
	for (size_t i = 0; i < weir_engine_ngpus(job); i++) {
		if (weir_gpu_cdi(&job->gpus, weir_engine_gpu(job, i)) == NULL)
			return false;
	}
	for (size_t i = 0; i < weir_engine_ngpus(job); i++)
		weir_engine_option(w, "--device", weir_gpu_cdi(&job->gpus, weir_engine_gpu(job, i)));
	return true;
}

static bool
container_is_open_to_us(const char *node)
{
	struct stat st;

	return stat(node, &st) != 0 || (st.st_mode & S_IRWXO) >= (S_IROTH | S_IWOTH);
}

static void
container_nodes(const struct weir_container *c, const struct weir_job *job, struct weir_words *w)
{
	struct weir_words nodes = {0};
	bool needs_groups = false;

	weir_engine_gpu_nodes(job, &nodes);
	for (size_t i = 0; i < nodes.n; i++) {
		weir_engine_option(w, "--device", nodes.v[i]);
		needs_groups = needs_groups || !container_is_open_to_us(nodes.v[i]);
	}
	/* Rootless: what we may open by a group of ours (video, render), the job may open only if it keeps that group. */
	if (needs_groups && c->has_cdi && geteuid() != 0)
		weir_engine_option(w, "--group-add", "keep-groups");
	weir_words_free(&nodes);
}

static void
container_libraries(const struct weir_job *job, struct weir_words *w)
{
	struct weir_words libs = {0};

	weir_gpu_libraries(&libs);
	for (size_t i = 0; i < libs.n; i++) {
		WEIR_AUTO(weir_freep) char *real = realpath(libs.v[i], NULL);
		WEIR_AUTO(weir_freep) char *volume = weir_xasprintf("%s:" CONTAINER_LIBRARIES "/%s:ro", real != NULL ? real : libs.v[i], strrchr(libs.v[i], '/') + 1);

		weir_engine_option(w, "--volume", volume);
	}
	weir_words_free(&libs);
}

static void
container_gpus(const struct weir_container *c, const struct weir_job *job, struct weir_words *w)
{
	WEIR_AUTO(weir_freep) char *list = weir_engine_gpu_list(job);
	bool is_nvidia = weir_engine_ngpus(job) > 0 && weir_engine_gpu(job, 0)->vendor == WEIR_GPU_NVIDIA;
	bool is_many = strchr(list, ',') != NULL;

	if (weir_engine_ngpus(job) == 0 || (c->has_cdi && container_cdi(job, w)))
		return;
	if (!c->has_cdi && is_nvidia) {
		/* a list of fields, so a comma in a field wants quotes */
		WEIR_AUTO(weir_freep) char *devices = weir_xasprintf("%sdevice=%s%s", is_many ? "\"" : "", list, is_many ? "\"" : "");

		weir_engine_option(w, "--gpus", devices);
		return;
	}
	container_nodes(c, job, w);
	if (is_nvidia) {
		WEIR_AUTO(weir_freep) char *visible = weir_xasprintf("NVIDIA_VISIBLE_DEVICES=%s", list);

		container_libraries(job, w);
		if (weir_engine_env(job, "NVIDIA_VISIBLE_DEVICES") == NULL)
			weir_engine_option(w, "--env", visible);
	}
}

void
weir_container_words(const struct weir_container *c, const struct weir_job *job, const char *env_file, struct weir_words *w)
{
	WEIR_AUTO(weir_freep) char *label = weir_xasprintf("weir.job=%s", job->name);
	bool is_terminal = job->log_fd <= 0 && isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;

	weir_container_program(c, w);
	weir_words_add(w, "run");
	weir_words_add(w, "--rm");
	weir_words_add(w, is_terminal ? "-it" : "-i");
	weir_engine_option(w, "--name", job->name);
	weir_engine_option(w, "--label", label);
	container_volumes(job, w);
	container_env(job, env_file, w);
	weir_engine_option(w, "--workdir", job->workdir);
	container_ports(job, w);
	container_limits(job, w);
	container_gpus(c, job, w);
	weir_words_split(w, getenv(c->arguments));
	if (job->o->rootfs != NULL)
		weir_words_add(w, "--rootfs");
	else
		weir_engine_option(w, "--pull", "never");	/* that was a step of its own */
	weir_words_add(w, job->o->rootfs != NULL ? job->o->rootfs : job->image);
	for (size_t i = 0; i < job->command.n; i++)
		weir_words_add(w, job->command.v[i]);
}

int
weir_container_become(const struct weir_container *c, const struct weir_job *job, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *env_file = NULL;
	struct weir_words w = {0};
	enum weir_code r;

	if (job->source != NULL && strchr(job->source, ':') != NULL) {
		weir_err_set(err, WEIR_E_INVAL, "%s cannot be given a folder with ':' in its name: '%s'", c->name, job->source);
		return WEIR_JOB_ENGINE;
	}
	r = weir_engine_env_file(&job->env, "", &env_file, err);
	if (r == WEIR_OK)
		r = weir_engine_putenv(&job->env, "", err);
	if (r)
		return WEIR_JOB_ENGINE;
	weir_container_words(c, job, env_file, &w);
	return weir_engine_exec(&w, c->name, err);
}

/* ---- by name ---- */

/* Killing the program in front of the container would leave the container running. */
void
weir_container_kill(const struct weir_container *c, const char *name, pid_t child)
{
	struct weir_words w = {0};

	weir_container_program(c, &w);
	weir_words_add(&w, "kill");
	weir_words_add(&w, "--signal=KILL");
	weir_words_add(&w, name);
	if (weir_engine_call(&w) != 0)
		kill(child, SIGKILL);
}

static char *
container_inspect(const struct weir_container *c, const char *name, const char *format)
{
	struct weir_words w = {0};

	weir_container_program(c, &w);
	weir_words_add(&w, "container");
	weir_words_add(&w, "inspect");
	weir_engine_option(&w, "--format", format);
	weir_words_add(&w, name);
	return weir_engine_ask(&w);
}

bool
weir_container_is_running(const struct weir_container *c, const struct weir_job_id *id)
{
	WEIR_AUTO(weir_freep) char *text = container_inspect(c, id->name, "{{.State.Running}}");

	return text != NULL && strcmp(text, "true") == 0;
}

pid_t
weir_container_inside(const struct weir_container *c, const struct weir_job_id *id)
{
	WEIR_AUTO(weir_freep) char *text = container_inspect(c, id->name, "{{.State.Pid}}");
	long pid = text != NULL ? strtol(text, NULL, 10) : 0;

	return pid > 1 ? (pid_t)pid : 0;
}

int
weir_container_enter(const struct weir_container *c, const struct weir_job_id *id, bool is_terminal, char *const *command, struct weir_err *err)
{
	struct weir_words w = {0};

	weir_container_program(c, &w);
	weir_words_add(&w, "exec");
	weir_words_add(&w, is_terminal ? "-it" : "-i");
	weir_words_add(&w, id->name);
	for (; *command != NULL; command++)
		weir_words_add(&w, *command);
	return weir_engine_exec(&w, c->name, err);
}
