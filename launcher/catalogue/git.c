/* SPDX-License-Identifier: Apache-2.0 */
/* One file of a repository, by the git program: a shallow clone without a work tree and (where the server can) without files, then the file out of it. Nothing of the repository is
 * ever checked out, no hook or template runs, and git may neither ask for a password nor take more than its time and space. */
#include "config.h"

#include "impl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../src/util/clean.h"

#define GIT_LIMIT_MS 60000
#define GIT_FILE_MAX (256u << 20)	/* bytes of one file git may write */
#define GIT_SAID_MAX 8192

extern char **environ;

struct git_run {
	char *const *argv;
	bool is_here;
	struct weir_buf *out;		/* standard output, its ceiling is a limit */
	struct weir_buf said;		/* standard error */
	int status;			/* exit status, 128+N */
	bool is_late, is_large;
};

/* ---- the process ---- */

/* What describes another repository must not be taken for this one's. */
static char **
git_environ(bool is_here, struct weir_words *own)
{
	static const char *const drop[] = {"GIT_DIR=", "GIT_WORK_TREE=", "GIT_INDEX_FILE=", "GIT_OBJECT_DIRECTORY=", "GIT_ALTERNATE_OBJECT_DIRECTORIES=",
	    "GIT_COMMON_DIR=", "GIT_NAMESPACE=", "GIT_PREFIX=", "GIT_TERMINAL_PROMPT=", "GIT_ALLOW_PROTOCOL=", "GIT_TRACE", "GIT_TEMPLATE_DIR=", "LC_ALL=",
	    "GIT_ASKPASS=", "SSH_ASKPASS="};
	bool has_ssh = getenv("GIT_SSH_COMMAND") != NULL || getenv("GIT_SSH") != NULL;

	for (char **e = environ; *e != NULL; e++) {
		size_t i = 0;

		while (i < WEIR_LEN(drop) && strncmp(*e, drop[i], strlen(drop[i])) != 0)
			i++;
		if (i == WEIR_LEN(drop))
			weir_words_add(own, *e);
	}
	weir_words_add(own, "LC_ALL=C");
	weir_words_add(own, "GIT_TERMINAL_PROMPT=0");
	weir_words_add(own, is_here ? "GIT_ALLOW_PROTOCOL=file:http:https:ssh:git" : "GIT_ALLOW_PROTOCOL=http:https:ssh:git");
	if (!has_ssh)
		weir_words_add(own, "GIT_SSH_COMMAND=ssh -o BatchMode=yes -o ConnectTimeout=10");
	return own->v;
}

static int
git_spawn(struct git_run *run, int out, int said, pid_t *pid)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	struct weir_words env = {0};
	sigset_t none, all;
	int r;

	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&files, said, STDERR_FILENO);
	sigemptyset(&none);
	sigfillset(&all);
	sigdelset(&all, SIGKILL);
	sigdelset(&all, SIGSTOP);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	r = posix_spawnp(pid, "git", &files, &attr, run->argv, git_environ(run->is_here, &env));
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	weir_words_free(&env);
	return r;
}

/* false: that end is closed. What is over the ceiling is thrown away; of standard error that is no fault. */
static bool
git_read(int fd, struct weir_buf *to, bool *is_large)
{
	char piece[16384];
	ssize_t n = read(fd, piece, sizeof(piece));

	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	if (n > 0 && weir_buf_add(to, piece, (size_t)n) != 0 && is_large != NULL)
		*is_large = true;
	return n > 0;
}

static void
git_listen(struct git_run *run, int out, int said, pid_t pid)
{
	struct pollfd fds[2] = {{out, POLLIN, 0}, {said, POLLIN, 0}};
	int64_t end = weir_now_ms() + GIT_LIMIT_MS;

	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		int64_t left = end - weir_now_ms();
		bool is_over = left <= 0 || run->is_large || weir_child_pending() != 0;

		if (is_over) {
			run->is_late = left <= 0;
			kill(pid, SIGKILL);	/* its helpers end with their pipes */
			return;
		}
		if (poll(fds, 2, left > 200 ? 200 : (int)left) <= 0)
			continue;
		if (fds[0].revents != 0 && !git_read(out, run->out, &run->is_large))
			fds[0].fd = -1;
		if (fds[1].revents != 0 && !git_read(said, &run->said, NULL))
			fds[1].fd = -1;
	}
}

static enum weir_code
git_go(struct git_run *run, struct weir_err *err)
{
	struct rlimit limit = {GIT_FILE_MAX, GIT_FILE_MAX};
	int out[2] = {-1, -1}, said[2] = {-1, -1}, r = 0, status = 0;
	pid_t pid = -1;

	if (pipe2(out, O_CLOEXEC) != 0 || pipe2(said, O_CLOEXEC) != 0)
		r = errno;
	if (r == 0)
		r = git_spawn(run, out[1], said[1], &pid);
	weir_closep(&out[1]);
	weir_closep(&said[1]);
	if (r == 0) {
		prlimit(pid, RLIMIT_FSIZE, &limit, NULL);
		git_listen(run, out[0], said[0], pid);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		run->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	}
	weir_closep(&out[0]);
	weir_closep(&said[0]);
	if (r == ENOENT)
		return weir_err_set(err, WEIR_E_NOTSUP, "it is a git repository, and the program git is not installed");
	return r == 0 ? WEIR_OK : weir_err_errno(err, r, "start git");
}

/* ---- what it said ---- */

/* The line that tells most: the first that begins with "fatal:" or "error:"; but where that only says that the connection failed, the first of all, which is
 * ssh's. */
static const char *
git_line(const char *text, size_t *len)
{
	static const char *const marks[] = {"fatal: ", "error: ", "ERROR: "}, useless[] = "Could not read from remote";
	const char *best = text, *next;

	for (const char *line = text; *line != '\0'; line = next) {
		next = line + strcspn(line, "\n");
		next += *next == '\n';
		for (size_t i = 0; i < WEIR_LEN(marks); i++) {
			size_t n = strlen(marks[i]);

			if (strncmp(line, marks[i], n) == 0 && strncmp(line + n, useless, strlen(useless)) != 0) {
				*len = strcspn(line + n, "\n");
				return line + n;
			}
		}
	}
	best += strspn(best, " \r\n");
	*len = strcspn(best, "\n");
	return best;
}

static enum weir_code
git_failed(struct git_run *run, struct weir_err *err)
{
	size_t len;
	const char *line = git_line(weir_buf_str(&run->said), &len);
	WEIR_AUTO(weir_freep) char *clean = weir_clean(line, len, false);

	if (weir_child_pending() != 0)
		return weir_err_set(err, WEIR_E_INTR, "interrupted");
	if (run->is_late)
		return weir_err_set(err, WEIR_E_TIMEDOUT, "git had no end after %d seconds", GIT_LIMIT_MS / 1000);
	return weir_err_set(err, WEIR_E_NET, "git: %.300s", *clean != '\0' ? clean : "it failed and said nothing");
}

/* ---- clone ---- */

enum weir_code
weir_git_clone(const char *parent, const char *url, const char *branch, bool is_here, char **dir, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *tmp = parent != NULL ? weir_xasprintf("%s/clone.XXXXXX", parent) : weir_xstrdup("/tmp/weir-clone.XXXXXX");
	WEIR_AUTO(weir_buf_free) struct weir_buf out = WEIR_BUF(4096);
	struct git_run run = {.out = &out, .said = WEIR_BUF(GIT_SAID_MAX), .is_here = is_here};
	struct weir_words argv = {0};
	static const char *const options[] = {"git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "clone", "--quiet", "--depth=1", "--filter=blob:none", "--no-checkout", "--no-tags",
	    "--single-branch", "--template="};
	enum weir_code r;

	if ((parent != NULL && weir_mkdirs(parent, 0700) != 0) || mkdtemp(tmp) == NULL)
		return weir_err_errno(err, errno, "make a folder in '%s'", parent != NULL ? parent : "/tmp");
	for (size_t i = 0; i < WEIR_LEN(options); i++)
		weir_words_add(&argv, options[i]);
	if (branch != NULL) {
		weir_words_add(&argv, "--branch");
		weir_words_add(&argv, branch);
	}
	weir_words_add(&argv, "--");
	weir_words_add(&argv, url);
	weir_words_add(&argv, tmp);
	run.argv = argv.v;
	r = git_go(&run, err);
	if (r == WEIR_OK && run.status != 0)
		r = git_failed(&run, err);
	weir_words_free(&argv);
	weir_buf_free(&run.said);
	if (r != WEIR_OK)
		weir_git_remove(WEIR_STEAL(tmp));
	else
		*dir = WEIR_STEAL(tmp);
	return r;
}

/* ---- what is in it ---- */

static enum weir_code
git_ask(const char *dir, const char *const *words, struct weir_buf *out, int *status, struct weir_err *err)
{
	/* A clone with a filter gets the file now, from the address that was good enough to clone. */
	struct git_run run = {.out = out, .said = WEIR_BUF(GIT_SAID_MAX), .is_here = true};
	struct weir_words argv = {0};
	enum weir_code r;

	weir_words_add(&argv, "git");
	weir_words_add(&argv, "-C");
	weir_words_add(&argv, dir);
	for (; *words != NULL; words++)
		weir_words_add(&argv, *words);
	run.argv = argv.v;
	r = git_go(&run, err);
	*status = run.status;
	if (r == WEIR_OK && run.is_large)
		r = weir_err_set(err, WEIR_E_FBIG, "it has more than %zu bytes", out->max);
	weir_words_free(&argv);
	weir_buf_free(&run.said);
	return r;
}

enum weir_code
weir_git_file(const char *dir, const char *path, size_t max, struct weir_buf *out, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *object = weir_xasprintf("HEAD:%s", path);
	const char *const words[] = {"cat-file", "blob", object, NULL};
	enum weir_code r;
	int status;

	weir_buf_free(out);
	*out = (struct weir_buf)WEIR_BUF(max);
	r = git_ask(dir, words, out, &status, err);
	return r == WEIR_OK && status != 0 ? weir_err_set(err, WEIR_E_NOENT, "the repository has no such file") : r;
}

enum weir_code
weir_git_files(const char *dir, struct weir_buf *out, struct weir_err *err)
{
	static const char *const words[] = {"ls-tree", "-r", "-z", "--name-only", "HEAD", NULL};
	int status;
	enum weir_code r = git_ask(dir, words, out, &status, err);

	return r == WEIR_OK && status != 0 ? weir_err_set(err, WEIR_E_PROTO, "the repository is empty") : r;
}

void
weir_git_remove(char *dir)
{
	if (dir != NULL)
		weir_remove_tree(dir);
	free(dir);
}
