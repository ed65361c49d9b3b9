/* SPDX-License-Identifier: Apache-2.0 */
/* A job's options to what the launcher works with. Looks at this host (which engine is there, which ports are free), changes nothing. */
#include "config.h"

#include "job.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../src/conf/conf.h"
#include "../src/util/text.h"
#include "jobs.h"
#include "launch.h"
#include "state.h"

#define PARSE_ENV_FILE_MAX (1u << 20)
#define PARSE_WORKDIR "/work"

/* PATH, PATH:ro or PATH:rw */
static enum weir_code
parse_storage(struct weir_job *job, struct weir_err *err)
{
	const char *text = job->o->storage != NULL ? job->o->storage : "/";
	const char *colon = strrchr(text, ':');
	size_t len = colon != NULL ? (size_t)(colon - text) : strlen(text);

	if (colon != NULL && strcmp(colon, ":ro") != 0 && strcmp(colon, ":rw") != 0)
		return weir_err_set(err, WEIR_E_INVAL, "--storage '%s': after ':' stands ro or rw", text);
	if (text[0] != '/' || strstr(text, "/../") != NULL || strstr(text, "/..") == text + len - 3)
		return weir_err_set(err, WEIR_E_INVAL, "--storage '%s': wants a path in the namespace, as '/data' or '/data:ro'", text);
	if (job->o->conf == NULL && job->o->storage != NULL)
		return weir_err_set(err, WEIR_E_INVAL, "--storage needs a configuration, and there is none");
	if (job->o->is_without_storage && job->o->storage != NULL)
		return weir_err_set(err, WEIR_E_INVAL, "--storage and --no-storage exclude each other");
	while (len > 1 && text[len - 1] == '/')
		len--;
	job->path = weir_xstrndup(text, len);
	job->is_readonly = colon != NULL && strcmp(colon, ":ro") == 0;
	job->has_storage = job->o->conf != NULL && !job->o->is_without_storage && (job->mode == NULL || job->mode->wants_storage);
	if (job->mode != NULL && job->mode->needs_storage && !job->has_storage)
		return weir_err_set(err, WEIR_E_INVAL, "%s needs storage, and there is no configuration: 'weir init' makes one (or give one with -c FILE)", job->mode->name);
	return WEIR_OK;
}

static enum weir_code
parse_limits(struct weir_job *job, struct weir_err *err)
{
	const struct weir_job_options *o = job->o;
	char *end;

	if (o->time != NULL && (weir_duration_parse(o->time, &job->time_ms) != 0 || job->time_ms <= 0))
		return weir_err_set(err, WEIR_E_INVAL, "--time '%s': wants a time, as 90s, 10min or 2h", o->time);
	if (o->memory != NULL && (weir_size_parse(o->memory, &job->memory_bytes) != 0 || job->memory_bytes == 0))
		return weir_err_set(err, WEIR_E_INVAL, "--memory '%s': wants a size, as 512MB or 4GiB", o->memory);
	if (o->shm != NULL && (weir_size_parse(o->shm, &job->shm_bytes) != 0 || job->shm_bytes == 0))
		return weir_err_set(err, WEIR_E_INVAL, "--shm '%s': wants a size, as 512MB or 4GiB", o->shm);
	if (o->pids != NULL) {
		job->pids = strtoull(o->pids, &end, 10);
		if (end == o->pids || *end != '\0' || o->pids[0] == '-' || job->pids == 0)
			return weir_err_set(err, WEIR_E_INVAL, "--pids '%s': wants a number of processes, as 1000", o->pids);
	}
	if (o->cpus != NULL) {
		job->cpus = strtod(o->cpus, &end);
		if (end == o->cpus || *end != '\0' || !(job->cpus > 0) || job->cpus > 100000)
			return weir_err_set(err, WEIR_E_INVAL, "--cpus '%s': wants a number, as 2 or 0.5", o->cpus);
	}
	return o->gpus != NULL ? weir_gpu_parse(o->gpus, &job->gpu, err) : WEIR_OK;
}

/* ---- environment ---- */

void
weir_job_env(struct weir_job *job, const char *name, const char *value)
{
	WEIR_AUTO(weir_freep) char *whole = weir_xasprintf("%s=%s", name, value);

	weir_words_add(&job->env, whole);
}

/* NAME=VALUE, or NAME for the value it has here. What is not set here is not set there. */
static enum weir_code
parse_add_env(struct weir_job *job, const char *text, const char *where, struct weir_err *err)
{
	size_t len = strcspn(text, "=");
	WEIR_AUTO(weir_freep) char *name = weir_xstrndup(text, len);
	const char *value = text[len] == '=' ? text + len + 1 : getenv(name);

	if (len == 0 || strpbrk(name, " \t") != NULL)
		return weir_err_set(err, WEIR_E_INVAL, "%s: '%.60s' is not NAME=VALUE", where, text);
	if (value != NULL)
		weir_job_env(job, name, value);
	return WEIR_OK;
}

/* One variable a line; empty lines and lines that begin with # are nothing. */
static enum weir_code
parse_env_file(struct weir_job *job, const char *path, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *text = NULL;
	WEIR_AUTO(weir_freep) char *where = weir_xasprintf("--env-file '%s'", path);
	char *save = NULL;
	size_t len;
	enum weir_code r = WEIR_OK;

	if (weir_read_file(path, PARSE_ENV_FILE_MAX, &text, &len) != 0) {
		weir_err_errno(err, errno, "--env-file '%s'", path);
		return WEIR_E_INVAL;	/* NOENT is an engine that is not installed */
	}
	for (char *line = strtok_r(text, "\n", &save); line != NULL && r == WEIR_OK; line = strtok_r(NULL, "\n", &save)) {
		line[strcspn(line, "\r")] = '\0';
		if (line[0] != '\0' && line[0] != '#')
			r = parse_add_env(job, line, where, err);
	}
	return r;
}

static enum weir_code
parse_env(struct weir_job *job, struct weir_err *err)
{
	enum weir_code r = WEIR_OK;

	for (size_t i = 0; i < job->o->nenv_files && r == WEIR_OK; i++)
		r = parse_env_file(job, job->o->env_files[i], err);
	for (size_t i = 0; i < job->o->nenv && r == WEIR_OK; i++)
		r = parse_add_env(job, job->o->env[i], "--env", err);
	return r;
}

/* ---- ports ---- */

static bool
parse_port_number(const char *text, size_t len, unsigned *out)
{
	unsigned long n = 0;

	if (len == 0 || len > 5)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		n = n * 10 + (unsigned long)(text[i] - '0');
	}
	*out = (unsigned)n;
	return n > 0 && n < 65536;
}

void
weir_job_port(struct weir_job *job, const char *name, unsigned inside, unsigned outside)
{
	struct weir_job_port *p;

	job->ports = weir_xrealloc(job->ports, job->nports + 1, sizeof(*job->ports));
	p = &job->ports[job->nports++];
	*p = (struct weir_job_port){.inside = inside, .outside = outside};
	snprintf(p->name, sizeof(p->name), "%s", name);
}

/* PORT or HOSTPORT:PORT. A port that the mode has already gets the host's side only. */
static enum weir_code
parse_port(struct weir_job *job, const char *text, struct weir_err *err)
{
	const char *colon = strchr(text, ':'), *tail = colon != NULL ? colon + 1 : text;
	unsigned inside, outside = 0;

	if (!parse_port_number(tail, strlen(tail), &inside) || (colon != NULL && !parse_port_number(text, (size_t)(colon - text), &outside)))
		return weir_err_set(err, WEIR_E_INVAL, "--port '%s': wants a port of the job, as 5000, or one of this host before it, as 8000:5000", text);
	for (size_t i = 0; i < job->nports; i++) {
		if (job->ports[i].inside == inside) {
			job->ports[i].outside = outside;
			return WEIR_OK;
		}
	}
	weir_job_port(job, "", inside, outside);
	return WEIR_OK;
}

/* Is it free on 127.0.0.1 now? 0: any that is; the number that was free, or 0. */
static unsigned
parse_free_port(unsigned wanted)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)wanted), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(at);
	WEIR_AUTO(weir_closep) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &len) != 0)
		return 0;
	return ntohs(at.sin_port);
}

static bool
parse_port_is_taken(const struct weir_job *job, const struct weir_job_port *but, unsigned port)
{
	for (size_t i = 0; i < job->nports; i++) {
		if (&job->ports[i] != but && job->ports[i].outside == port)
			return true;
	}
	return false;
}

/* The same number as inside where it is free, so that what people remember works; else one from the kernel. */
static enum weir_code
parse_choose_port(struct weir_job *job, struct weir_job_port *p, struct weir_err *err)
{
	bool is_mapped = (job->engine->caps & WEIR_ENGINE_NETWORK) != 0;
	bool is_fixed = !is_mapped && p->name[0] == '\0';

	if (is_fixed && p->outside != 0 && p->outside != p->inside)
		return weir_err_set(err, WEIR_E_INVAL, "--port %u:%u: engine '%s' has no network of its own, so the job's port is this host's", p->outside, p->inside, job->engine->name);
	if (is_fixed)
		p->outside = p->inside;
	if (p->outside != 0)
		return parse_free_port(p->outside) != 0 && !weir_jobs_have_port(p->outside) ? WEIR_OK : weir_err_set(err, WEIR_E_INVAL, "port %u of this host is in use", p->outside);
	for (unsigned i = 0, wanted = p->inside; i < 32; i++, wanted = 0) {
		unsigned port = parse_free_port(wanted);

		if (port == 0 || parse_port_is_taken(job, p, port) || weir_jobs_have_port(port) || (wanted == 0 && port < 1024))
			continue;
		p->outside = port;
		return WEIR_OK;
	}
	return weir_err_set(err, WEIR_E_BUSY, "no port of this host is free for the job's port %u", p->inside);
}

static enum weir_code
parse_ports(struct weir_job *job, struct weir_err *err)
{
	enum weir_code r = WEIR_OK;

	for (size_t i = 0; i < job->o->nports && r == WEIR_OK; i++)
		r = parse_port(job, job->o->ports[i], err);
	for (size_t i = 0; i < job->nports && r == WEIR_OK; i++)
		r = parse_choose_port(job, &job->ports[i], err);
	return r;
}

/* ---- engine, name, folders ---- */

/* The first of the table that is installed and takes images; the first of all if none is, so that its sentence says what is missing. */
static enum weir_code
parse_engine(struct weir_job *job, struct weir_err *err)
{
	const char *name = job->o->engine;
	bool is_container = job->image != NULL || job->o->rootfs != NULL;

	if (name == NULL && is_container)
		job->engine = weir_engine_choose(job);
	else
		job->engine = weir_engine_find(name != NULL ? name : "none");
	return job->engine != NULL ? WEIR_OK : weir_err_set(err, WEIR_E_INVAL, "unknown engine '%s'; there are: %s", name, weir_job_engines());
}

static bool
parse_is_name(const char *s)
{
	static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
	size_t len = strlen(s);

	return len > 0 && len <= 100 && strspn(s, safe) == len && s[0] != '-' && s[0] != '.';
}

/* MODE-MODULE-RANDOM, of the characters that every engine takes. */
static char *
parse_make_name(const struct weir_job *job)
{
	char random[9], module[48] = "";
	const char *base = job->o->module != NULL ? strrchr(job->o->module, '/') : NULL;
	size_t n = 0;

	base = base != NULL ? base + 1 : job->o->module;
	for (; base != NULL && *base != '\0' && *base != ':' && *base != '@' && n < sizeof(module) - 1; base++) {
		if ((*base >= 'a' && *base <= 'z') || (*base >= '0' && *base <= '9') || *base == '-')
			module[n++] = *base;
	}
	module[n] = '\0';
	weir_random_hex(random, job->mode != NULL ? 4 : 8);
	if (job->mode == NULL)
		return weir_xasprintf("weir-%s", random);
	return weir_xasprintf("%s%s%s-%s", job->mode->name, n > 0 ? "-" : "", module, random);
}

/* A relative folder is one of this host, shown to the job and current there; an absolute one is the job's own. */
static enum weir_code
parse_workdir(struct weir_job *job, struct weir_err *err)
{
	const char *dir = job->o->workdir;
	bool is_container = (job->engine->caps & (WEIR_ENGINE_IMAGE | WEIR_ENGINE_ROOTFS)) != 0;

	if (dir == NULL)
		return WEIR_OK;
	free(job->workdir);
	if (dir[0] == '/' || !is_container) {
		job->workdir = weir_xstrdup(dir);
		return WEIR_OK;
	}
	job->workdir_host = realpath(dir, NULL);
	if (job->workdir_host == NULL) {
		weir_err_errno(err, errno, "--workdir '%s'", dir);
		return WEIR_E_INVAL;
	}
	job->workdir = weir_xstrdup(PARSE_WORKDIR);
	return WEIR_OK;
}

enum weir_code
weir_job_parse(struct weir_job *job, struct weir_err *err)
{
	const struct weir_job_options *o = job->o;
	enum weir_code r;

	job->mode = o->mode;
	job->is_detached = o->is_detached;
	if (o->name != NULL && !parse_is_name(o->name))
		return weir_err_set(err, WEIR_E_INVAL, "--name '%s': letters, digits, '_', '.' and '-' only", o->name);
	job->name = o->name != NULL ? weir_xstrdup(o->name) : parse_make_name(job);
	job->image = weir_xstrdup(o->image);
	for (char *const *c = o->command; c != NULL && *c != NULL; c++)
		weir_words_add(&job->command, *c);
	weir_job_env(job, WEIR_JOB_VARIABLE, job->name);
	r = parse_storage(job, err);
	if (r == WEIR_OK)
		r = weir_staged_parse(job, err);
	if (r == WEIR_OK)
		r = weir_datasets_parse(job, err);
	if (r == WEIR_OK)
		r = parse_limits(job, err);
	if (r == WEIR_OK && job->mode != NULL)
		r = job->mode->prepare(job, err);
	if (r == WEIR_OK)
		r = weir_staged_settle(job, err);
	if (r == WEIR_OK)
		r = parse_engine(job, err);
	if (r == WEIR_OK)
		r = parse_workdir(job, err);
	if (r == WEIR_OK)
		r = parse_env(job, err);
	if (r == WEIR_OK)
		r = job->engine->check(job, err);
	if (r == WEIR_OK)
		r = weir_share_parse(job, err);
	if (job->shm_bytes == 0)
		job->shm_bytes = job->memory_bytes / 2;
	return r;
}

enum weir_code
weir_job_settle(struct weir_job *job, struct weir_err *err)
{
	enum weir_code r = parse_ports(job, err);

	return r == WEIR_OK && job->mode != NULL && job->mode->settle != NULL ? job->mode->settle(job, err) : r;
}

void
weir_job_free(struct weir_job *job)
{
	weir_words_free(&job->env);
	weir_words_free(&job->hidden);
	weir_words_free(&job->staged);
	weir_closep(&job->admission_fd);
	weir_words_free(&job->command);
	weir_gpus_free(&job->gpus);
	weir_state_free(job->state);
	free(job->gpu.model);
	free(job->picked);
	free(job->ports);
	free(job->mode_data);
	free(job->image);
	free(job->workdir);
	free(job->workdir_host);
	free(job->name);
	free(job->path);
	free(job->mountpoint);
	free(job->private_dir);
	free(job->source);
	weir_closep(&job->lock_fd);
	if (job->log_fd > 0)
		close(job->log_fd);
}
