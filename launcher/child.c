/* SPDX-License-Identifier: Apache-2.0 */
/* One child at a time, in the foreground: its signals, its time limit, its end.
 *
 * All signals that a job may be sent are blocked in weir and taken with sigtimedwait(2), so none is lost between two steps, and none
 * ends weir while a mount of the job's own is up. What the terminal sends (Ctrl-C) reaches the whole process group, the child too:
 * it is not passed on a second time. */
#include "config.h"

#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHILD_GRACE_MS 10000	/* between asking and forcing */
#define CHILD_ORPHANS_MS 5000
#define CHILD_OUTPUT_MAX (4u << 20)

static const int child_passed[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGQUIT};
static const int child_ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

static void
child_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGCHLD);
	for (size_t i = 0; i < WEIR_LEN(child_passed); i++)
		sigaddset(set, child_passed[i]);
}

static bool
child_is_ending(int sig)
{
	for (size_t i = 0; i < WEIR_LEN(child_ending); i++) {
		if (child_ending[i] == sig)
			return true;
	}
	return false;
}

void
weir_child_setup(void)
{
	sigset_t set;

	child_signals(&set);
	signal(SIGCHLD, SIG_DFL);	/* an inherited "ignore" would take the exit statuses away */
	sigprocmask(SIG_BLOCK, &set, NULL);
}

int
weir_child_pending(void)
{
	sigset_t set;

	sigpending(&set);
	for (size_t i = 0; i < WEIR_LEN(child_ending); i++) {
		if (sigismember(&set, child_ending[i]) == 1)
			return 128 + child_ending[i];
	}
	return 0;
}

/* ---- start ---- */

/* What become() says travels up a pipe that a successful exec closes. */
static _Noreturn void
child_be(struct weir_child *c, int err_fd, pid_t parent)
{
	sigset_t none;
	int status;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	if (c->out_fd > 0)
		dup2(c->out_fd, STDOUT_FILENO);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	status = c->become(c->arg, &c->err);
	if (write(err_fd, c->err.msg, strlen(c->err.msg)) < 0)
		status = status != 0 ? status : 1;
	_exit(status);
}

static pid_t
child_start(struct weir_child *c, int *err_fd)
{
	pid_t pid, parent = getpid();
	int fd[2];

	if (pipe2(fd, O_CLOEXEC) != 0) {
		weir_err_errno(&c->err, errno, "pipe");
		return -1;
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		child_be(c, fd[1], parent);
	if (pid < 0) {
		weir_err_errno(&c->err, errno, "fork");
		close(fd[0]);
	}
	close(fd[1]);
	*err_fd = fd[0];
	return pid;
}

/* Waits for the exec. True: it failed, and err holds the sentence. */
static bool
child_has_failed(struct weir_child *c, int err_fd)
{
	size_t n = 0;
	ssize_t got;

	while (n < sizeof(c->err.msg) - 1 && ((got = read(err_fd, c->err.msg + n, sizeof(c->err.msg) - 1 - n)) > 0 || (got < 0 && errno == EINTR)))
		n += got > 0 ? (size_t)got : 0;
	c->err.msg[n] = '\0';
	close(err_fd);
	return n > 0;
}

/* ---- its life ---- */

static int
child_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* True once the child itself has ended. Orphans of it that are ours now are reaped on the way. */
static bool
child_reap(struct weir_child *c, pid_t pid)
{
	bool is_over = false;
	int status;
	pid_t got;

	while ((got = waitpid(c->ends_orphans ? -1 : pid, &status, WNOHANG)) > 0) {
		if (got == pid) {
			c->status = child_status(status);
			is_over = true;
		}
	}
	return is_over;
}

static void
child_force(struct weir_child *c, pid_t pid)
{
	if (c->force != NULL)
		c->force(c->arg, pid);
	else
		kill(pid, SIGKILL);
}

/* The next signal, or 0 when the time has come. */
static int
child_next(const sigset_t *set, int64_t until_ms, siginfo_t *info)
{
	int64_t left = until_ms > 0 ? until_ms - weir_now_ms() : 3600 * 1000;
	struct timespec ts = {left > 0 ? left / 1000 : 0, left > 0 ? left % 1000 * 1000000 : 0};
	int sig = sigtimedwait(set, info, &ts);

	return sig > 0 ? sig : 0;
}

static void
child_watch(struct weir_child *c, pid_t pid)
{
	int64_t until = c->limit_ms > 0 ? weir_now_ms() + c->limit_ms : 0;
	sigset_t set;

	child_signals(&set);
	while (!child_reap(c, pid)) {
		siginfo_t info = {0};
		int sig = child_next(&set, until, &info);

		if (sig != 0 && sig != SIGCHLD) {
			if (child_is_ending(sig))
				c->signal = sig;
			if (info.si_code != SI_KERNEL)
				kill(pid, sig);
		}
		if (sig != 0 || until == 0 || weir_now_ms() < until)
			continue;
		if (!c->is_timed_out)
			kill(pid, SIGTERM);
		else
			child_force(c, pid);
		c->is_timed_out = true;
		until = weir_now_ms() + CHILD_GRACE_MS;
	}
}

/* ---- what it left running ---- */

static void
child_signal_orphans(int sig)
{
	WEIR_AUTO(weir_freep) char *path = weir_xasprintf("/proc/self/task/%d/children", (int)gettid());
	WEIR_AUTO(weir_freep) char *text = NULL;
	size_t len;

	if (weir_read_file(path, 1u << 20, &text, &len) != 0)
		return;
	for (char *p = text, *end; *p != '\0'; p = end) {
		long pid = strtol(p, &end, 10);

		if (end == p)
			break;
		if (pid > 1)
			kill((pid_t)pid, sig);
	}
}

/* A job ends when its command ends, as in a container: what goes on in its background is asked to end, then made to, so that what
 * is sent afterwards is all it wrote. Children of orphans become ours when these end, hence the repetition. */
static void
child_end_orphans(void)
{
	int64_t begin = weir_now_ms();
	sigset_t set;
	siginfo_t info;
	int sig = SIGTERM;

	child_signals(&set);
	child_signal_orphans(sig);
	for (;;) {
		pid_t pid;

		while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
			;
		if (pid < 0)
			return;
		child_next(&set, weir_now_ms() + 100, &info);
		if (weir_now_ms() - begin >= CHILD_ORPHANS_MS)
			sig = SIGKILL;
		child_signal_orphans(sig);
	}
}

int
weir_child_run(struct weir_child *c)
{
	int err_fd = -1;
	bool has_failed;
	pid_t pid;

	if (c->ends_orphans)
		prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid = child_start(c, &err_fd);
	if (pid < 0) {
		c->status = 1;
		return -1;
	}
	has_failed = child_has_failed(c, err_fd);
	child_watch(c, pid);
	if (c->ends_orphans) {
		child_end_orphans();
		prctl(PR_SET_CHILD_SUBREAPER, 0);
	}
	return has_failed ? -1 : 0;
}

/* ---- weir's own verbs ---- */

static int
child_exec_weir(void *arg, struct weir_err *err)
{
	char **argv = arg;

	execv("/proc/self/exe", argv);
	weir_err_errno(err, errno, "start weir itself (/proc/self/exe)");
	return 126;
}

/* A file in memory takes its output: a pipe would have to be read while it runs. */
static char *
child_output(int fd)
{
	struct stat st;
	char *text;

	if (fstat(fd, &st) != 0 || st.st_size > CHILD_OUTPUT_MAX)
		return NULL;
	text = weir_xcalloc(1, (size_t)st.st_size + 1);
	if (weir_pread_full(fd, text, (size_t)st.st_size, 0) != st.st_size) {
		free(text);
		return NULL;
	}
	return text;
}

int
weir_child_weir(struct weir_job *job, const char *const *args, char **out)
{
	WEIR_AUTO(weir_closep) int fd = out != NULL ? memfd_create("weir-output", MFD_CLOEXEC) : -1;
	struct weir_words words = {0};
	struct weir_child c = {.become = child_exec_weir, .out_fd = fd};

	weir_words_add(&words, "weir");
	for (size_t i = 0; args[i] != NULL; i++)
		weir_words_add(&words, args[i]);
	c.arg = words.v;
	if (weir_child_run(&c) != 0)
		weir_job_say("%s", weir_err_text(&c.err, WEIR_E_IO));
	if (c.signal != 0)
		job->signal = c.signal;
	weir_words_free(&words);
	if (out != NULL)
		*out = fd >= 0 ? child_output(fd) : NULL;
	return c.status;
}

void
weir_job_say(const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fflush(stdout);
	fprintf(stderr, "weir: %s\n", text);
}
