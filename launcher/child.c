/* SPDX-License-Identifier: Apache-2.0 */
/* One child at a time, in the foreground: its signals, its time limit, its end.
 *
 * All signals that a job may be sent are blocked in weir and taken with sigtimedwait(2), so none is lost between two steps, and none
 * ends weir while a mount of the job's own is up. What the terminal sends (Ctrl-C) reaches the whole process group, the child too:
 * it is not passed on a second time. */
#include "config.h"

#include "launch.h"
#include "../src/util/clean.h"
#include "../src/util/self.h"
#include "mountspace.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHILD_GRACE_MS 10000	/* between asking and forcing */
#define CHILD_ORPHANS_MS 5000
#define CHILD_OUTPUT_MAX (4u << 20)
#define CHILD_COPY 4096			/* PIPE_BUF: what poll(2) calls writable takes as much at once */
#define CHILD_PIPE_MAX (1 << 20)	/* what a pipe may hold (pipe(7)) */

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

/* Where its output goes beside the terminal: [0] its standard output, [1] its standard error. */
struct child_pipes { int from[2], to[2]; };

static void
child_close_pipes(struct child_pipes *p, bool with_ours)
{
	for (int i = 0; i < 2; i++) {
		weir_closep(&p->to[i]);
		p->to[i] = -1;
		if (with_ours) {
			weir_closep(&p->from[i]);
			p->from[i] = -1;
		}
	}
}

/* A terminal of our own in place of the pipe, as wide as the real one, so that programs go on drawing progress. */
static int
child_open_terminal(int fd[2])
{
	struct winsize size = {0};

	ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
	if (openpty(&fd[0], &fd[1], NULL, NULL, &size) != 0)
		return -1;
	fcntl(fd[0], F_SETFD, FD_CLOEXEC);
	fcntl(fd[1], F_SETFD, FD_CLOEXEC);
	return 0;
}

static int
child_open_pipes(const struct weir_child *c, struct child_pipes *p)
{
	*p = (struct child_pipes){{-1, -1}, {-1, -1}};
	for (int i = 0; i < 2 && c->log_fd > 0; i++) {
		bool is_terminal = i == 1 && c->keeps_terminal && isatty(STDERR_FILENO) == 1;
		int fd[2];

		if ((is_terminal ? child_open_terminal(fd) : pipe2(fd, O_CLOEXEC)) != 0)
			return -1;
		p->from[i] = fd[0];
		p->to[i] = fd[1];
		fcntl(fd[0], F_SETFL, O_NONBLOCK);
	}
	return 0;
}

/* What become() says travels up a pipe that a successful exec closes. */
static _Noreturn void
child_be(struct weir_child *c, int err_fd, const struct child_pipes *p, pid_t parent)
{
	sigset_t none;
	int status;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	if (p->to[0] >= 0)
		dup2(p->to[0], STDOUT_FILENO);
	if (p->to[1] >= 0)
		dup2(p->to[1], STDERR_FILENO);
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
child_start(struct weir_child *c, int *err_fd, struct child_pipes *p)
{
	pid_t pid, parent = getpid();
	int fd[2];

	if (child_open_pipes(c, p) != 0 || pipe2(fd, O_CLOEXEC) != 0) {
		weir_err_errno(&c->err, errno, "pipe");
		child_close_pipes(p, true);
		return -1;
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		child_be(c, fd[1], p, parent);
	if (pid < 0) {
		weir_err_errno(&c->err, errno, "fork");
		close(fd[0]);
	}
	close(fd[1]);
	child_close_pipes(p, pid < 0);
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

/* Ends by itself when we do. */
static pid_t
child_start_companion(struct weir_child *c)
{
	pid_t pid, parent = getpid();
	sigset_t none;

	if (c->companion == NULL)
		return 0;
	fflush(NULL);
	pid = fork();
	if (pid != 0)
		return pid > 0 ? pid : 0;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGINT, SIG_IGN);	/* the terminal's Ctrl-C is for the job; we end it when the job has ended */
	signal(SIGQUIT, SIG_IGN);
	_exit(getppid() == parent ? c->companion(c->arg) : 1);
}

/* ---- its life ---- */

/* One child while it lives. */
struct child_life {
	struct weir_child *c;
	pid_t pid, companion;
	struct child_pipes pipes;
	int signal_fd, mounts_fd;
	int64_t until;		/* next step of ending it, 0: none */
	bool is_over, is_forced;
};

static int
child_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Orphans of it that are ours now are reaped on the way. */
static void
child_reap(struct child_life *l)
{
	int status;
	pid_t got;

	while ((got = waitpid(-1, &status, WNOHANG)) > 0) {
		if (got == l->pid) {
			l->c->status = child_status(status);
			l->is_over = true;
		} else if (got == l->companion) {
			l->companion = 0;
			l->c->companion_status = child_status(status);
			if (l->c->companion_status != WEIR_COMPANION_GO_ON && !l->is_over) {
				kill(l->pid, SIGTERM);
				l->until = weir_now_ms() + (l->c->grace_ms > 0 ? l->c->grace_ms : CHILD_GRACE_MS);
				l->is_forced = true;
			}
		}
	}
}

static void
child_force(struct weir_child *c, pid_t pid)
{
	if (c->force != NULL)
		c->force(c->arg, pid);
	else
		kill(pid, SIGKILL);
}

static void
child_take_signals(struct child_life *l)
{
	struct signalfd_siginfo info;

	while (read(l->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			continue;
		if (child_is_ending((int)info.ssi_signo))
			l->c->signal = (int)info.ssi_signo;
		if (info.ssi_code != SI_KERNEL)
			kill(l->pid, (int)info.ssi_signo);
	}
}

static void
child_copy_end(struct child_life *l, int i)
{
	weir_closep(&l->pipes.from[i]);
	l->pipes.from[i] = -1;
}

/* Will somebody take it now? Who has stopped reading (a pager) must not keep signals and the time limit waiting: so far the job waits for them. */
static bool
child_is_taken(const struct child_life *l, int to)
{
	struct pollfd p = {.fd = to, .events = POLLOUT};

	return l->c->is_silent || poll(&p, 1, 0) != 0;
}

/* One piece, so that a job that never stops printing does not keep signals and the time limit waiting; false: there is nothing more just now. To the log first:
 * a terminal that is gone ends nothing. */
static bool
child_copy(struct child_life *l, int i)
{
	int to = i == 0 ? STDOUT_FILENO : STDERR_FILENO;
	char text[CHILD_COPY];
	ssize_t n;

	if (l->pipes.from[i] < 0 || !child_is_taken(l, to))
		return false;
	n = read(l->pipes.from[i], text, sizeof(text));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		child_copy_end(l, i);
		return false;
	}
	if (write(l->c->log_fd, text, (size_t)n) != n)
		weir_log(WEIR_LOG_DEBUG, "the job's log is not whole: %s", strerror(errno));
	for (ssize_t done = 0, m; done < n && !l->c->is_silent; done += m) {
		m = write(to, text + done, (size_t)(n - done));
		if (m <= 0)
			break;
	}
	return true;
}

/* What child_watch waits for: the job's words, or somebody to take them. */
static struct pollfd
child_wait_copy(const struct child_life *l, int i)
{
	int to = i == 0 ? STDOUT_FILENO : STDERR_FILENO;

	if (l->pipes.from[i] < 0 || child_is_taken(l, to))
		return (struct pollfd){.fd = l->pipes.from[i], .events = POLLIN};
	return (struct pollfd){.fd = to, .events = POLLOUT};
}

/* Once the job has ended: what stands in the pipes, which is a bounded amount, though something it left behind may go on printing. Who does not
 * read is waited for a while, unless a signal says that we shall end; the log has it all. */
static void
child_copy_rest(struct child_life *l, int i)
{
	for (int n = 0; n < CHILD_PIPE_MAX / CHILD_COPY + 1 && l->pipes.from[i] >= 0; n++) {
		struct pollfd p[] = {child_wait_copy(l, i), {.fd = l->signal_fd, .events = POLLIN}};

		if (p[0].events == POLLOUT && (poll(p, WEIR_LEN(p), CHILD_GRACE_MS) <= 0 || p[0].revents == 0))
			l->c->is_silent = true;
		if (!child_copy(l, i))
			break;
	}
	if (l->pipes.from[i] >= 0)
		child_copy_end(l, i);
}

static void
child_step_end(struct child_life *l)
{
	if (l->until == 0 || weir_now_ms() < l->until)
		return;
	if (!l->is_forced) {
		l->c->is_timed_out = true;
		kill(l->pid, SIGTERM);
	} else
		child_force(l->c, l->pid);
	l->is_forced = true;
	l->until = weir_now_ms() + CHILD_GRACE_MS;
}

static void
child_watch(struct child_life *l)
{
	l->until = l->c->limit_ms > 0 ? weir_now_ms() + l->c->limit_ms : 0;
	for (;;) {
		struct pollfd fds[] = {
		    {.fd = l->signal_fd, .events = POLLIN},
		    {.fd = l->mounts_fd, .events = POLLPRI},
		    child_wait_copy(l, 0),
		    child_wait_copy(l, 1),
		};
		int64_t left;

		child_reap(l);	/* may set the time of the next step */
		if (l->is_over)
			break;
		left = l->until > 0 ? l->until - weir_now_ms() : 3600 * 1000;
		if (poll(fds, WEIR_LEN(fds), left > 0 ? (int)(left < 3600 * 1000 ? left : 3600 * 1000) : 0) < 0 && errno != EINTR)
			break;
		child_take_signals(l);
		child_copy(l, 0);
		child_copy(l, 1);
		if (fds[1].revents != 0)
			l->c->remounted(l->c->arg);
		child_step_end(l);
	}
	child_copy_rest(l, 0);
	child_copy_rest(l, 1);
}

static void
child_end_companion(struct child_life *l)
{
	int status;

	if (l->companion <= 0)
		return;
	kill(l->companion, SIGTERM);
	if (waitpid(l->companion, &status, 0) == l->companion && WIFEXITED(status))
		l->c->companion_status = WEXITSTATUS(status);	/* it had come to its end just then */
	l->companion = 0;
}

static void
child_live(struct child_life *l)
{
	sigset_t set;

	child_signals(&set);
	l->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	l->mounts_fd = l->c->remounted != NULL ? open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC) : -1;
	child_watch(l);
	child_end_companion(l);
	child_close_pipes(&l->pipes, true);
	weir_closep(&l->signal_fd);
	weir_closep(&l->mounts_fd);
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

/* The next signal, or 0 when the time has come. */
static int
child_next(const sigset_t *set, int64_t wait_ms, siginfo_t *info)
{
	struct timespec ts = {wait_ms / 1000, wait_ms % 1000 * 1000000};
	int sig = sigtimedwait(set, info, &ts);

	return sig > 0 ? sig : 0;
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
		child_next(&set, 100, &info);
		if (weir_now_ms() - begin >= CHILD_ORPHANS_MS)
			sig = SIGKILL;
		child_signal_orphans(sig);
	}
}

int
weir_child_run(struct weir_child *c)
{
	struct child_life life = {.c = c};
	int err_fd = -1;
	bool has_failed;

	if (c->ends_orphans)
		prctl(PR_SET_CHILD_SUBREAPER, 1);
	life.pid = child_start(c, &err_fd, &life.pipes);
	if (life.pid < 0) {
		c->status = 1;
		return -1;
	}
	has_failed = child_has_failed(c, err_fd);
	if (!has_failed && c->started != NULL)
		c->started(c->arg, life.pid);
	if (!has_failed)
		life.companion = child_start_companion(c);
	child_live(&life);
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

	weir_mountspace_keep_right();
	execv(weir_self_program(), argv);
	weir_err_errno(err, errno, "start weir itself (%s)", weir_self_program());
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

int
weir_child_weir_told(struct weir_job *job, const char *const *args)
{
	WEIR_AUTO(weir_freep) char *text = NULL;
	int status = weir_child_weir(job, args, &text);

	if (text != NULL && text[0] != '\0' && (job->o == NULL || !job->o->is_quiet))
		fputs(text, stderr);
	return status;
}

void
weir_child_weir_beside(const char *const *args)
{
	pid_t pid, parent = getpid();
	struct weir_words words = {0};
	struct weir_err err = {0};

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		weir_job_say("fork: %s", strerror(errno));
	if (pid != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	weir_words_add(&words, "weir");
	for (size_t i = 0; args[i] != NULL; i++)
		weir_words_add(&words, args[i]);
	dup2(STDERR_FILENO, STDOUT_FILENO);
	_exit(child_exec_weir(words.v, &err));
}

static int child_say_fd = -1;

void
weir_job_say_to(int fd)
{
	child_say_fd = fd;
}

static void
child_say(bool to_stderr, bool to_waiter, const char *fmt, va_list ap)
{
	WEIR_AUTO(weir_freep) char *clean = NULL;
	char text[2048], line[2100];
	int n;

	vsnprintf(text, sizeof(text), fmt, ap);
	clean = weir_clean(text, strlen(text), true);	/* it may hold words of a module's */
	fflush(stdout);
	n = snprintf(line, sizeof(line), "weir: %.2090s\n", clean);
	if (to_stderr)
		fputs(line, stderr);
	if (to_waiter && child_say_fd >= 0 && send(child_say_fd, line, (size_t)n, MSG_NOSIGNAL) < 0)
		child_say_fd = -1;
}

void
weir_job_say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	child_say(true, true, fmt, ap);
	va_end(ap);
}

void
weir_job_say_privately(struct weir_job *job, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	child_say(job->ready_fd < 0, true, fmt, ap);
	va_end(ap);
}
