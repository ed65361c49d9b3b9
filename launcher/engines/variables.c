/* SPDX-License-Identifier: Apache-2.0 */
/* A job's variables on their way into a container. No value ever stands on a command line, which everybody on this host can read: they
 * travel in the engine's own environment, or, where they would change the engine itself, in a file that only it can open. */
#include "config.h"

#include "engines.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../src/conf/conf.h"

extern char **environ;

static size_t
variable_length(const char *variable)
{
	return strcspn(variable, "=");
}

const char *
weir_engine_env(const struct weir_job *job, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = job->env.n; i-- > 0;) {
		if (strncmp(job->env.v[i], name, len) == 0 && job->env.v[i][len] == '=')
			return job->env.v[i] + len + 1;
	}
	return NULL;
}

/* What the loader, Go's runtime, podman, docker and their helpers read. */
bool
weir_engine_is_own_variable(const char *name)
{
	static const char *const names[] = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "IFS", "ENV", "BASH_ENV", "NOTIFY_SOCKET", "INVOCATION_ID",
	    "REGISTRY_AUTH_FILE", "GODEBUG", "GOTRACEBACK", "GOMAXPROCS", "GOGC", "GOMEMLIMIT", "DBUS_SESSION_BUS_ADDRESS", "SSL_CERT_FILE", "SSL_CERT_DIR", "RES_OPTIONS",
	    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "FTP_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy", "ftp_proxy"};
	static const char *const begins[] = {"LD_", "XDG_", "CONTAINER", "DOCKER_", "PODMAN_", "STORAGE_", "BUILDAH_", "_CONTAINERS_", "LISTEN_", "SYSTEMD_", "GLIBC_",
	    "MALLOC_", "GCONV_", "NETAVARK_", "SSH_", "WEIR_PODMAN", "WEIR_DOCKER"};

	for (size_t i = 0; i < WEIR_LEN(names); i++) {
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	for (size_t i = 0; i < WEIR_LEN(begins); i++) {
		if (strncmp(name, begins[i], strlen(begins[i])) == 0)
			return true;
	}
	return false;
}

static bool
variable_is_own(const char *variable)
{
	WEIR_AUTO(weir_freep) char *name = weir_xstrndup(variable, variable_length(variable));

	return weir_engine_is_own_variable(name);
}

bool
weir_engine_has_own_variable(const struct weir_words *env)
{
	for (size_t i = 0; i < env->n; i++) {
		if (variable_is_own(env->v[i]))
			return true;
	}
	return false;
}

/* Only the last of a name counts: a file with two of them is read differently by different engines. */
static bool
variable_is_last(const struct weir_words *env, size_t at)
{
	size_t len = variable_length(env->v[at]);

	for (size_t i = at + 1; i < env->n; i++) {
		if (strncmp(env->v[i], env->v[at], len + 1) == 0)
			return false;
	}
	return true;
}

enum weir_code
weir_engine_env_file(const struct weir_words *env, const char *quote, char **path, struct weir_err *err)
{
	struct weir_buf text = WEIR_BUF(8u << 20);
	enum weir_code r = WEIR_OK;
	int fd;

	for (size_t i = 0; i < env->n && r == WEIR_OK; i++) {
		int len = (int)variable_length(env->v[i]);

		if (!variable_is_own(env->v[i]) || !variable_is_last(env, i))
			continue;
		if (strchr(env->v[i], '\n') != NULL)
			r = weir_err_set(err, WEIR_E_INVAL, "--env %.*s: a value with a newline cannot be given to the job under this name, which the engine itself reads", len, env->v[i]);
		weir_buf_addf(&text, "%.*s=%s%s%s\n", len, env->v[i], quote, env->v[i] + len + 1, quote);
	}
	if (r == WEIR_OK && text.len > 0) {
		fd = memfd_create("weir-env", 0);	/* lives on through exec: it ends with the engine's program */
		if (fd < 0 || weir_pwrite_full(fd, text.data, text.len, 0) != 0)
			r = weir_err_errno(err, errno, "a file in memory for the job's variables");
		else
			*path = weir_xasprintf("/proc/self/fd/%d", fd);
	}
	weir_buf_free(&text);
	return r;
}

void
weir_engine_env_list(const struct weir_words *env, struct weir_words *out)
{
	for (size_t i = 0; i < env->n; i++) {
		if (!variable_is_own(env->v[i]) && variable_is_last(env, i))
			weir_words_add(out, env->v[i]);
	}
}

enum weir_code
weir_engine_putenv(const struct weir_words *env, const char *before, struct weir_err *err)
{
	for (size_t i = 0; i < env->n; i++) {
		WEIR_AUTO(weir_freep) char *name = weir_xasprintf("%s%.*s", before, (int)variable_length(env->v[i]), env->v[i]);

		if (before[0] == '\0' && weir_engine_is_own_variable(name))
			continue;
		if (setenv(name, env->v[i] + variable_length(env->v[i]) + 1, 1) != 0)
			return weir_err_errno(err, errno, "variable '%s'", name);
	}
	return WEIR_OK;
}

/* ---- secrets ---- */

static bool
variable_is_secret(const struct weir_conf *conf, const char *variable)
{
	static const char *const names[] = {"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "AWS_SESSION_TOKEN=", "AWS_SECURITY_TOKEN="};
	static const char *const keys[] = {"password", "secret_key", "access_key", "session_token", "bearer_token"};
	const char *value = strchr(variable, '=');

	for (size_t i = 0; i < WEIR_LEN(names); i++) {
		if (strncmp(variable, names[i], strlen(names[i])) == 0)
			return true;
	}
	if (value == NULL || value[1] == '\0' || conf == NULL)
		return false;
	for (size_t i = 0; i < conf->nremotes; i++) {
		for (size_t k = 0; k < WEIR_LEN(keys); k++) {
			const char *secret = weir_conf_get(&conf->remotes[i], keys[k]);

			if (secret != NULL && strcmp(secret, value + 1) == 0)
				return true;
		}
	}
	return false;
}

void
weir_engine_clean_environment(const struct weir_conf *conf)
{
	char **to = environ;

	for (char **from = environ; from != NULL && *from != NULL; from++) {
		if (!variable_is_secret(conf, *from))
			*to++ = *from;
	}
	if (to != NULL)
		*to = NULL;
}
