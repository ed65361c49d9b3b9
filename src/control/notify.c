/* SPDX-License-Identifier: Apache-2.0 */
/* One JSON object to a command, in bounded time. Knows no event's meaning. */
#include "config.h"

#include "notify.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../conf/conf.h"
#include "../util/text.h"
#include "../util/util.h"

#define NOTIFY_MS 10000
#define NOTIFY_MAX_MS 300000
#define NOTIFY_STEP_MS 20	/* where the kernel has no pidfd */

extern char **environ;

static enum weir_code
notify_limit(const struct weir_section_conf *s, int64_t *ms, struct weir_err *err)
{
	const char *text = weir_conf_section_get(s, "timeout");

	*ms = NOTIFY_MS;
	if (text != NULL && (weir_duration_parse(text, ms) != 0 || *ms <= 0 || *ms > NOTIFY_MAX_MS))
		return weir_conf_section_bad(s, "timeout", err, "'%.64s' is no time up to 5min", text);
	return WEIR_OK;
}

enum weir_code
weir_notify_check(const struct weir_conf *conf, struct weir_err *err)
{
	const struct weir_section_conf *s = conf != NULL ? weir_conf_section(conf, "notify", NULL, NULL) : NULL;
	int64_t ms;

	if (s == NULL)
		return WEIR_OK;
	if (weir_conf_section_get(s, "command") == NULL)
		return weir_conf_section_bad(s, NULL, err, "'command' is needed");
	return notify_limit(s, &ms, err);
}

/* A file in memory as its standard input: no pipe to fill, no SIGPIPE. -1 and errno. */
static int
notify_input(const char *event, json_t *fields)
{
	time_t now = time(NULL);
	char at[32] = "", host[256] = "localhost", user[32], buf[4096];
	struct passwd pw, *found = NULL;
	json_t *o = json_object();
	struct tm tm;
	char *text;
	int fd, no;

	gethostname(host, sizeof(host) - 1);
	if (gmtime_r(&now, &tm) != NULL)
		strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%SZ", &tm);
	snprintf(user, sizeof(user), "%u", (unsigned)getuid());
	getpwuid_r(getuid(), &pw, buf, sizeof(buf), &found);
	json_object_set_new(o, "event", json_string(event));
	json_object_set_new(o, "at", json_string(at));
	json_object_set_new(o, "host", json_string(host));
	json_object_set_new(o, "user", json_string(found != NULL ? found->pw_name : user));
	json_object_update_missing(o, fields);
	text = json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(o);
	fd = memfd_create("weir-notify", MFD_CLOEXEC);
	if (fd >= 0 && (text == NULL || weir_pwrite_full(fd, text, strlen(text), 0) < 0 || weir_pwrite_full(fd, "\n", 1, (off_t)strlen(text)) < 0)) {
		no = text == NULL ? EILSEQ : errno;
		close(fd);
		errno = no;
		fd = -1;
	}
	free(text);
	return fd;
}

/* Its own process group, so that all of it can be killed; no blocked or ignored signals, whatever weir has. */
static int
notify_spawn(const char *command, int in_fd, pid_t *pid)
{
	char *argv[] = {(char *)"sh", (char *)"-c", (char *)command, NULL};
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int no;

	sigemptyset(&none);
	sigfillset(&all);
	sigdelset(&all, SIGKILL);
	sigdelset(&all, SIGSTOP);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, in_fd, STDIN_FILENO);
	posix_spawn_file_actions_addopen(&fa, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	no = posix_spawn(pid, "/bin/sh", &fa, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&fa);
	return no;
}

/* 1: it has ended, *status is set (-1: somebody else reaped it); 0: the time is over. */
static int
notify_wait(pid_t pid, int64_t limit_ms, int *status)
{
	WEIR_AUTO(weir_closep) int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	int64_t until = weir_now_ms() + limit_ms;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int64_t left = until - weir_now_ms();
		pid_t got = waitpid(pid, status, WNOHANG);

		if (got == pid)
			return 1;
		if (got < 0 && errno != EINTR) {
			*status = -1;
			return 1;
		}
		if (left <= 0)
			return 0;
		poll(&p, fd >= 0 ? 1 : 0, fd >= 0 ? (int)left : NOTIFY_STEP_MS);
	}
}

static enum weir_code
notify_run(const char *command, int in_fd, int64_t limit_ms, struct weir_err *err)
{
	int status = 0, no;
	pid_t pid;

	no = notify_spawn(command, in_fd, &pid);
	if (no != 0)
		return weir_err_errno(err, no, "/bin/sh");
	if (notify_wait(pid, limit_ms, &status) == 0) {
		kill(-pid, SIGKILL);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		return weir_err_set(err, WEIR_E_TIMEDOUT, "it did not end within %lld s", (long long)(limit_ms + 999) / 1000);
	}
	if (status == -1 || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
		return WEIR_OK;
	return weir_err_set(err, WEIR_E_IO, "it failed with status %d", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

enum weir_code
weir_notify(const struct weir_conf *conf, const char *event, json_t *fields, struct weir_err *err)
{
	static atomic_flag is_said = ATOMIC_FLAG_INIT;
	const struct weir_section_conf *s = conf != NULL ? weir_conf_section(conf, "notify", NULL, NULL) : NULL;
	const char *command = weir_conf_section_get(s, "command");
	WEIR_AUTO(weir_closep) int fd = -1;
	struct weir_err why = {0};
	int64_t limit_ms = NOTIFY_MS;
	enum weir_code r = WEIR_OK;

	if (command == NULL) {
		json_decref(fields);
		return weir_err_set(err, WEIR_E_NOENT, "there is no [notify] command");
	}
	fd = notify_input(event, fields);
	json_decref(fields);
	if (fd < 0)
		r = weir_err_errno(&why, errno, "what to say");
	if (r == WEIR_OK)
		r = notify_limit(s, &limit_ms, &why);
	if (r == WEIR_OK)
		r = notify_run(command, fd, limit_ms, &why);
	if (r != WEIR_OK && !atomic_flag_test_and_set(&is_said))
		weir_log(WEIR_LOG_WARN, "the notify command was not told of '%s': %s", event, weir_err_text(&why, r));
	return r == WEIR_OK ? r : weir_err_set(err, r, "the notify command: %.300s", weir_err_text(&why, r));
}
