/* SPDX-License-Identifier: Apache-2.0 */
/* Programs of engines: which one, is it there, call it. */
#include "config.h"

#include "engines.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define PROGRAM_ANSWER_MAX (1u << 20)

bool
weir_engine_is_there(const char *program)
{
	const char *path = getenv("PATH");

	if (strchr(program, '/') != NULL)
		return access(program, X_OK) == 0;
	for (const char *p = path != NULL ? path : "/usr/bin:/bin"; *p != '\0';) {
		size_t len = strcspn(p, ":");
		WEIR_AUTO(weir_freep) char *file = weir_xasprintf("%.*s/%s", (int)len, p, program);

		if (access(file, X_OK) == 0)
			return true;
		p += len + (p[len] == ':');
	}
	return false;
}

void
weir_engine_program(struct weir_words *w, const char *variable, const char *const *names)
{
	weir_words_split(w, getenv(variable));
	for (size_t i = 0; w->n == 0 && names[i] != NULL; i++) {
		if (weir_engine_is_there(names[i]))
			weir_words_add(w, names[i]);
	}
	if (w->n == 0)
		weir_words_add(w, names[0]);
}

void
weir_engine_option(struct weir_words *w, const char *option, const char *value)
{
	if (value == NULL)
		return;
	weir_words_add(w, option);
	weir_words_add(w, value);
}

/* Signals that the launcher has blocked for itself are not blocked for programs it asks something of. */
static int
program_run(struct weir_words *w, int out_fd)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none;
	int status = -1;
	pid_t pid;

	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (out_fd >= 0)
		posix_spawn_file_actions_adddup2(&fa, out_fd, STDOUT_FILENO);
	else
		posix_spawn_file_actions_addopen(&fa, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&fa, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attr, &none);
	if (posix_spawnp(&pid, w->v[0], &fa, &attr, w->v, environ) == 0) {
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	}
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&attr);
	weir_words_free(w);
	return status;
}

int
weir_engine_call(struct weir_words *w)
{
	return program_run(w, -1);
}

char *
weir_engine_ask(struct weir_words *w)
{
	WEIR_AUTO(weir_closep) int fd = memfd_create("weir-answer", MFD_CLOEXEC);
	WEIR_AUTO(weir_freep) char *text = NULL;
	struct stat st;
	ssize_t n;

	if (program_run(w, fd) != 0 || fd < 0 || fstat(fd, &st) != 0 || st.st_size > (off_t)PROGRAM_ANSWER_MAX)
		return NULL;
	text = weir_xcalloc(1, (size_t)st.st_size + 1);
	n = weir_pread_full(fd, text, (size_t)st.st_size, 0);
	if (n < 0)
		return NULL;
	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		text[--n] = '\0';
	return WEIR_STEAL(text);
}

int
weir_engine_exec(struct weir_words *w, const char *engine, struct weir_err *err)
{
	execvp(w->v[0], w->v);
	weir_err_errno(err, errno, "engine '%s': '%s'", engine, w->v[0]);
	return WEIR_JOB_ENGINE;
}
