/* SPDX-License-Identifier: Apache-2.0 */
/* Where a secret comes from: the configuration, a file, a command. Never says one, zeroes what it had. */
#include "config.h"

#include "conf.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../util/util.h"

#define SECRET_MAX 65536
#define SECRET_COMMAND_MS 60000		/* a person may have to touch a key or type a phrase */

extern char **environ;

/* The first line becomes the string, the rest is zeroed. */
static void
secret_first_line(char *s)
{
	size_t n = strcspn(s, "\r\n");

	explicit_bzero(s + n, strlen(s + n));
}

static enum weir_code
secret_from_file(const char *path, char **out, struct weir_err *err)
{
	WEIR_AUTO(weir_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	WEIR_AUTO(weir_secret_freep) char *s = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return weir_err_set(err, WEIR_E_CONFIG, "'%s': %s", path, strerrordesc_np(errno));
	if (!S_ISREG(st.st_mode))
		return weir_err_set(err, WEIR_E_CONFIG, "'%s' is not a file", path);
	if (st.st_mode & 077)
		return weir_err_set(err, WEIR_E_CONFIG, "others may read or change '%s'; run chmod 600 %s", path, path);
	s = weir_xcalloc(SECRET_MAX + 1, 1);
	n = weir_pread_full(fd, s, SECRET_MAX, 0);
	if (n < 0)
		return weir_err_set(err, WEIR_E_CONFIG, "'%s': %s", path, strerrordesc_np(errno));
	secret_first_line(s);
	if (*s == '\0')
		return weir_err_set(err, WEIR_E_CONFIG, "'%s' is empty", path);
	*out = WEIR_STEAL(s);
	return WEIR_OK;
}

/* posix_spawn, not fork: there may be threads. Standard input is /dev/null: a daemon has no person behind it. */
static int
secret_spawn(const char *command, int out_fd, pid_t *pid)
{
	char *argv[] = {(char *)"sh", (char *)"-c", (char *)command, NULL};
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none, dfl;
	int no;

	sigemptyset(&none);
	sigemptyset(&dfl);
	sigaddset(&dfl, SIGPIPE);
	sigaddset(&dfl, SIGCHLD);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&fa, out_fd, STDOUT_FILENO);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &dfl);
	no = posix_spawn(pid, "/bin/sh", &fa, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&fa);
	return no;
}

/* All output, in time; what exceeds the buffer is read and dropped, so that the command can end. -1: too slow. */
static int
secret_read_pipe(int fd, char *buf, size_t max, int64_t until_ms)
{
	char rest[256];
	size_t n = 0;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int64_t left = until_ms - weir_now_ms();
		ssize_t got;

		if (left <= 0)
			return -1;
		if (poll(&p, 1, (int)left) <= 0)
			continue;
		got = n < max ? read(fd, buf + n, max - n) : read(fd, rest, sizeof(rest));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		n += n < max ? (size_t)got : 0;
	}
	explicit_bzero(rest, sizeof(rest));
	return 0;
}

static enum weir_code
secret_from_command(const char *command, char **out, struct weir_err *err)
{
	WEIR_AUTO(weir_secret_freep) char *s = weir_xcalloc(SECRET_MAX + 1, 1);
	int fds[2], status = 0, slow, no;
	pid_t pid, r;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return weir_err_errno(err, errno, "pipe");
	no = secret_spawn(command, fds[1], &pid);
	close(fds[1]);
	if (no != 0) {
		close(fds[0]);
		return weir_err_set(err, WEIR_E_CONFIG, "sh: %s", strerrordesc_np(no));
	}
	slow = secret_read_pipe(fds[0], s, SECRET_MAX, weir_now_ms() + SECRET_COMMAND_MS);
	close(fds[0]);
	if (slow < 0)
		kill(-pid, SIGKILL);
	while ((r = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
		;
	if (slow < 0)
		return weir_err_set(err, WEIR_E_CONFIG, "the command did not end within %d s", SECRET_COMMAND_MS / 1000);
	/* r < 0: whoever ignores SIGCHLD has lost the status */
	if (r == pid && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
		return weir_err_set(err, WEIR_E_CONFIG, "the command failed with status %d", WIFEXITED(status) ? WEXITSTATUS(status) :
		    128 + WTERMSIG(status));
	secret_first_line(s);
	if (*s == '\0')
		return weir_err_set(err, WEIR_E_CONFIG, "the command printed nothing");
	*out = WEIR_STEAL(s);
	return WEIR_OK;
}

enum weir_code
weir_conf_secret(const struct weir_remote_conf *conf, const char *key, char **out, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *as_file = weir_xasprintf("%s_file", key);
	WEIR_AUTO(weir_freep) char *as_command = weir_xasprintf("%s_command", key);
	const char *v = weir_conf_get(conf, key), *file = weir_conf_get(conf, as_file), *command = weir_conf_get(conf, as_command);
	enum weir_code r;

	*out = NULL;
	if ((v != NULL) + (file != NULL) + (command != NULL) > 1)
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: remote '%s': give only one of %s, %s and %s",
		    conf->conf != NULL && conf->conf->path != NULL ? conf->conf->path : "weir.conf", conf->line, conf->name, key, as_file,
		    as_command);
	if (v != NULL)
		*out = weir_xstrdup(v);
	if (file != NULL) {
		r = secret_from_file(file, out, err);
		if (r != WEIR_OK)
			return weir_err_wrap(err, r, "remote '%s': %s", conf->name, as_file);
	}
	if (command != NULL) {
		r = secret_from_command(command, out, err);
		if (r != WEIR_OK)
			return weir_err_wrap(err, r, "remote '%s': %s", conf->name, as_command);
	}
	return WEIR_OK;
}

char *
weir_conf_beside(const char *path, const char *folder, const char *remote, const char *ending)
{
	const char *slash = path != NULL ? strrchr(path, '/') : NULL, *base = slash != NULL ? slash + 1 : NULL;
	bool is_usual = base != NULL && strcmp(base, "weir.conf") == 0;

	if (base == NULL)
		return NULL;
	return weir_xasprintf("%.*s/%s/%s%s%s%s", (int)(slash - path), path, folder, is_usual ? "" : base, is_usual ? "" : ":", remote, ending);
}

enum weir_code
weir_conf_token_file(const struct weir_remote_conf *rc, char **out, struct weir_err *err)
{
	const char *v = weir_conf_get(rc, "token_file");
	WEIR_AUTO(weir_freep) char *beside = weir_conf_beside(rc->conf != NULL ? rc->conf->path : NULL, "tokens", rc->name, ".json");

	if (v != NULL && *v != '/')
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': token_file must begin with / or ~, not '%s'", rc->name, v);
	if (v == NULL && beside == NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': token_file is needed, as there is no configuration file to put the tokens beside",
		    rc->name);
	*out = v != NULL ? weir_xstrdup(v) : WEIR_STEAL(beside);
	return WEIR_OK;
}
