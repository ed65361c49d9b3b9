/* SPDX-License-Identifier: Apache-2.0 */
/* One rclone process and the thread that looks after it.
 *
 * The thread starts rclone, reads what it prints and waits for its end; it lives from the first call until free(). It must be the
 * one that forks: PR_SET_PDEATHSIG fires when the *thread* that forked ends, not the process (prctl(2)), so a transfer thread that
 * happened to start rclone would take it along when it goes. This one goes with the process, even with kill -9, or after it has
 * ended rclone itself; so no rclone outlives us.
 *
 *	state      | process | who moves on
 *	IDLE       | none    | up(): wanted
 *	STARTING   | runs    | it listens -> UP; it ends -> DOWN
 *	UP         | runs    | it ends -> DOWN
 *	DOWN       | none    | up() once not_before_ms is over: wanted
 *
 * The password travels in the environment, which only this user and root can read; never on a command line. */
#include "config.h"

#include "rclone_child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../src/util/text.h"
#include "../src/util/util.h"

#define CHILD_START_MS 30000
#define CHILD_TERM_MS 2000
#define CHILD_BACKOFF_MS 200
#define CHILD_BACKOFF_MOST_MS 30000
#define CHILD_HEALTHY_MS 10000		/* who lived so long is started again at once */
#define CHILD_LINE 600
#define CHILD_POLL_MS 200		/* how late an end is noticed while some helper of rclone's holds the pipe */

extern char **environ;

enum child_state { CHILD_IDLE, CHILD_STARTING, CHILD_UP, CHILD_DOWN };

struct weir_rclone_child {
	char *name, *remote, *config, *program, *proxy, *ca_file;
	int wake;			/* eventfd: written to when it is to end */
	atomic_uint up_generation;	/* 0: not up */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* guarded by lock */
	pthread_t thread;
	bool has_thread, is_wanted, is_ending;
	enum child_state state;
	unsigned starts, failures;	/* ends since it was last healthy */
	int64_t not_before_ms;
	enum weir_code code;		/* of the last end */
	struct weir_rclone_at at;
	char words[CHILD_LINE];		/* the last complaint */
	char last[CHILD_LINE];		/* the last line of any kind, for an end without complaint */
	int64_t words_ms;

	/* the thread's own */
	pid_t pid;
	int out;			/* what it prints */
	char line[CHILD_LINE];
	size_t nline;
	int64_t born_ms;
};

/* ---- what it prints ---- */

static bool
line_is_level(const char *s, size_t n)
{
	static const char *const levels[] = { "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY" };

	for (size_t i = 0; i < WEIR_LEN(levels); i++)
		if (strlen(levels[i]) == n && strncmp(s, levels[i], n) == 0)
			return true;
	return false;
}

char *
weir_rclone_line(char *line, bool *is_error)
{
	char *p = line, *colon;
	size_t n;

	for (char *q = line; *q; q++)
		if ((unsigned char)*q < ' ' || *q == 0x7f)
			*q = ' ';
	/* 2026/11/22 22:12:38 */
	if (strspn(p, "0123456789/") == 10 && p[10] == ' ' && strspn(p + 11, "0123456789:.") >= 8) {
		p += 11;
		p += strspn(p, "0123456789:.");
		p += strspn(p, " ");
	}
	*is_error = true;		/* "Failed to create file system …" comes without a level */
	colon = strchr(p, ':');
	if (colon) {
		n = (size_t)(colon - p);
		while (n && p[n - 1] == ' ')
			n--;
		if (line_is_level(p, n)) {
			*is_error = *p == 'E' || *p == 'C' || *p == 'A';
			p = colon + 1;
			p += strspn(p, " ");
		}
	}
	n = strlen(p);
	while (n && p[n - 1] == ' ')
		p[--n] = '\0';
	return p;
}

int
weir_rclone_line_port(const char *line, const char *before)
{
	static const char address[] = "http://127.0.0.1:";
	const char *p = strstr(line, before);
	long port;

	p = p ? strstr(p, address) : NULL;
	if (!p)
		return 0;
	port = strtol(p + strlen(address), NULL, 10);
	return port > 0 && port < 65536 ? (int)port : 0;
}

enum weir_code
weir_rclone_start_code(const char *words)
{
	static const struct { const char *part; enum weir_code code; } table[] = {
		{ "didn't find section in config file", WEIR_E_CONFIG }, { "didn't find backend", WEIR_E_CONFIG },
		{ "ailed to load config file", WEIR_E_CONFIG }, { "onfiguration is encrypted", WEIR_E_CONFIG },
		{ "unable to decrypt configuration", WEIR_E_CONFIG }, { "Couldn't decrypt configuration", WEIR_E_CONFIG },
		{ "unknown flag", WEIR_E_CONFIG }, { "unknown command", WEIR_E_CONFIG }, { "onfig file", WEIR_E_CONFIG },
		{ "failed to parse", WEIR_E_CONFIG }, { "failed to make", WEIR_E_CONFIG }, { "not set", WEIR_E_CONFIG },
		{ "can't be blank", WEIR_E_CONFIG }, { "is a file not a directory", WEIR_E_CONFIG },
		{ "unable to authenticate", WEIR_E_AUTH }, { "invalid_grant", WEIR_E_AUTH }, { "401 Unauthorized", WEIR_E_AUTH },
		{ "empty token", WEIR_E_AUTH }, { "AccessDenied", WEIR_E_AUTH }, { "InvalidAccessKeyId", WEIR_E_AUTH },
		{ "SignatureDoesNotMatch", WEIR_E_AUTH }, { "expired", WEIR_E_AUTH },
	};

	for (size_t i = 0; i < WEIR_LEN(table); i++)
		if (strstr(words, table[i].part))
			return table[i].code;
	return WEIR_E_NET;
}

static void
child_take_line(struct weir_rclone_child *c)
{
	bool is_error;
	int port;
	char *s;

	c->line[c->nline] = '\0';
	c->nline = 0;
	s = weir_rclone_line(c->line, &is_error);
	if (!*s)
		return;
	pthread_mutex_lock(&c->lock);
	if ((port = weir_rclone_line_port(s, "Server started on")) != 0) {
		c->at.port = port;
	} else if ((port = weir_rclone_line_port(s, "remote control on")) != 0) {
		c->at.rc_port = port;
	} else {
		snprintf(is_error ? c->words : c->last, CHILD_LINE, "%s", s);
		if (is_error)
			c->words_ms = weir_now_ms();
	}
	pthread_mutex_unlock(&c->lock);
	if (is_error)
		weir_log(WEIR_LOG_DEBUG, "remote '%s': rclone: %s", c->name, s);
}

/* All that is there now. false: nothing more will come. */
static bool
child_read(struct weir_rclone_child *c)
{
	char buf[4096];
	ssize_t n;

	while ((n = read(c->out, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			if (buf[i] == '\n')
				child_take_line(c);
			else if (c->nline < sizeof(c->line) - 1)
				c->line[c->nline++] = buf[i];
		}
	}
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* ---- starting ---- */

/* Where execvp would find it; it may not be called between fork and exec. Owned, NULL: nowhere. */
static char *
child_program(const char *program)
{
	const char *path = getenv("PATH");

	if (strchr(program, '/'))
		return weir_xstrdup(program);
	for (const char *p = path ? path : "/usr/local/bin:/usr/bin:/bin"; *p; ) {
		size_t n = strcspn(p, ":");
		char *full = weir_xasprintf("%.*s%s%s", (int)n, p, n ? "/" : "./", program);

		if (access(full, X_OK) == 0)
			return full;
		free(full);
		p += n + (p[n] == ':');
	}
	return NULL;
}

/* Only what says where the configuration is and how to read it is passed on: RCLONE_VFS_CACHE_MODE of somebody's shell would mean that
 * writes are acknowledged before they are there. */
static bool
env_is_kept(const struct weir_rclone_child *c, const char *e)
{
	if (strncmp(e, "RCLONE_", 7) == 0)
		return strncmp(e, "RCLONE_CONFIG", 13) == 0 || strncmp(e, "RCLONE_PASSWORD_COMMAND=", 24) == 0;
	if (c->proxy && (strncasecmp(e, "http_proxy=", 11) == 0 || strncasecmp(e, "https_proxy=", 12) == 0))
		return false;
	return true;
}

static char **
child_env(const struct weir_rclone_child *c)
{
	const struct weir_rclone_at *at = &c->at;
	size_t n = 0, m = 0;
	char **env;

	while (environ[n])
		n++;
	env = weir_xcalloc(n + 8, sizeof(*env));
	for (size_t i = 0; i < n; i++)
		if (env_is_kept(c, environ[i]))
			env[m++] = weir_xstrdup(environ[i]);
	env[m++] = weir_xasprintf("RCLONE_USER=%s", at->user);
	env[m++] = weir_xasprintf("RCLONE_PASS=%s", at->password);
	env[m++] = weir_xasprintf("RCLONE_RC_USER=%s", at->user);
	env[m++] = weir_xasprintf("RCLONE_RC_PASS=%s", at->password);
	if (c->proxy) {
		env[m++] = weir_xasprintf("http_proxy=%s", c->proxy);
		env[m++] = weir_xasprintf("https_proxy=%s", c->proxy);
	}
	return env;
}

static void
env_free(char **env)
{
	for (size_t i = 0; env[i]; i++)
		weir_secret_free(env[i]);
	free(env);
}

/* --vfs-cache-mode off: the answer to a PUT comes when the far side has it. --dir-cache-time: what is asked for is forgotten first
 * through the remote control, so this is only how old the folders above may be; 0 would list a folder once for each of its entries.
 * --buffer-size, --vfs-read-chunk-size: a part that is asked for costs about that part. --server-…-timeout: of a whole transfer. */
static size_t
child_argv(const struct weir_rclone_child *c, const char *argv[40])
{
	static const char *const fixed[] = { "--addr", "127.0.0.1:0", "--rc", "--rc-addr", "127.0.0.1:0", "--vfs-cache-mode", "off",
		"--dir-cache-time", "10s", "--poll-interval", "0", "--buffer-size", "0", "--vfs-read-chunk-size", "8M",
		"--server-read-timeout", "240h", "--server-write-timeout", "240h", "--contimeout", "10s", "--timeout", "60s",
		"--low-level-retries", "3", "--ask-password=false", "--log-level", "NOTICE", "--use-json-log=false" };
	size_t n = 0;

	argv[n++] = "rclone";
	argv[n++] = "serve";
	argv[n++] = "webdav";
	for (size_t i = 0; i < WEIR_LEN(fixed); i++)
		argv[n++] = fixed[i];
	if (c->config) {
		argv[n++] = "--config";
		argv[n++] = c->config;
	}
	if (c->ca_file) {
		argv[n++] = "--ca-cert";
		argv[n++] = c->ca_file;
	}
	argv[n++] = "--";
	argv[n++] = c->remote;
	argv[n] = NULL;
	return n;
}

/* In the child, between fork and exec: other threads held locks when we were copied, so system calls only. */
__attribute__((noreturn)) static void
child_become(const char *program, char *const *argv, char *const *env, int out, int tell, pid_t parent)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;
	int null, no;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)	/* it died before the line above */
		_exit(127);
	setsid();			/* a Ctrl-C at the terminal is for weir, which ends it when all is sent */
	for (int s = 1; s < NSIG; s++)
		sigaction(s, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	null = open("/dev/null", O_RDONLY);
	if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 || dup3(tell, 3, O_CLOEXEC) < 0)
		_exit(127);
	close_range(4, ~0U, 0);
	execve(program, argv, env);
	no = errno;
	_exit(write(3, &no, sizeof(no)) == sizeof(no) ? 127 : 126);
}

/* Forks. 0, or the errno of what failed; exec's own reason comes through a pipe that a successful exec closes. */
static int
child_fork(struct weir_rclone_child *c, const char *program, const char *const *argv, char *const *env)
{
	int out[2], tell[2], no = 0;
	pid_t parent = getpid();

	if (pipe2(out, O_CLOEXEC) < 0)
		return errno;
	if (pipe2(tell, O_CLOEXEC) < 0) {
		no = errno;
		close(out[0]);
		close(out[1]);
		return no;
	}
	/* The child's end must not be among the descriptors it writes over. */
	c->pid = fork();
	if (c->pid == 0) {
		int high = fcntl(tell[1], F_DUPFD_CLOEXEC, 16), far = fcntl(out[1], F_DUPFD_CLOEXEC, 16);

		child_become(program, (char *const *)(uintptr_t)argv, env, far, high, parent);
	}
	if (c->pid < 0)
		no = errno;
	close(out[1]);
	close(tell[1]);
	if (c->pid > 0 && read(tell[0], &no, sizeof(no)) == (ssize_t)sizeof(no))
		waitpid(c->pid, NULL, 0);
	close(tell[0]);
	if (no) {
		close(out[0]);
		c->pid = -1;
		return no;
	}
	c->out = out[0];
	fcntl(c->out, F_SETFL, O_NONBLOCK);
	return 0;
}

static enum weir_code
child_spawn(struct weir_rclone_child *c)
{
	WEIR_AUTO(weir_freep) char *program = child_program(c->program);
	const char *argv[40];
	char **env;
	int no;

	pthread_mutex_lock(&c->lock);
	c->at = (struct weir_rclone_at){ .generation = ++c->starts };
	c->words[0] = c->last[0] = '\0';
	weir_random_hex(c->at.user, sizeof(c->at.user) - 1);
	weir_random_hex(c->at.password, sizeof(c->at.password) - 1);
	pthread_mutex_unlock(&c->lock);
	c->nline = 0;
	c->born_ms = weir_now_ms();
	env = child_env(c);
	child_argv(c, argv);
	no = program ? child_fork(c, program, argv, env) : ENOENT;
	env_free(env);
	if (!no)
		return WEIR_OK;
	pthread_mutex_lock(&c->lock);
	snprintf(c->words, sizeof(c->words), "the program '%s' cannot be started: %s; install rclone, or name it with 'rclone = PATH'",
	    c->program, strerrordesc_np(no));
	c->words_ms = weir_now_ms();
	pthread_mutex_unlock(&c->lock);
	return WEIR_E_CONFIG;
}

/* ---- looking after it ---- */

static void
child_set(struct weir_rclone_child *c, enum child_state state)
{
	pthread_mutex_lock(&c->lock);
	c->state = state;
	atomic_store(&c->up_generation, state == CHILD_UP ? c->at.generation : 0);
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

static void
child_ended(struct weir_rclone_child *c, enum weir_code code, int status)
{
	bool was_healthy = weir_now_ms() - c->born_ms >= CHILD_HEALTHY_MS;
	int64_t wait = CHILD_BACKOFF_MS;

	pthread_mutex_lock(&c->lock);
	c->failures = was_healthy ? 0 : c->failures + 1;
	for (unsigned i = 1; i < c->failures && wait < CHILD_BACKOFF_MOST_MS; i++)
		wait *= 2;
	if (wait > CHILD_BACKOFF_MOST_MS)
		wait = CHILD_BACKOFF_MOST_MS;
	c->not_before_ms = c->failures ? weir_now_ms() + wait : 0;
	if (!c->words[0] && WIFSIGNALED(status))
		snprintf(c->words, sizeof(c->words), "it was ended by signal %d%s%.400s", WTERMSIG(status), c->last[0] ? "; before: " : "", c->last);
	else if (!c->words[0])
		snprintf(c->words, sizeof(c->words), "%s", c->last[0] ? c->last : "it ended without a word");
	c->code = code ? code : c->state == CHILD_STARTING ? weir_rclone_start_code(c->words) : WEIR_E_NET;
	if (!c->is_ending && c->state == CHILD_UP)
		weir_log(WEIR_LOG_WARN, "remote '%s': rclone ended: %s", c->name, c->words);
	pthread_mutex_unlock(&c->lock);
	child_set(c, CHILD_DOWN);
}

/* One look at the process. true: it has ended, *status. */
static bool
child_reap(struct weir_rclone_child *c, int *status)
{
	pid_t r;

	*status = 0;
	while ((r = waitpid(c->pid, status, WNOHANG)) < 0 && errno == EINTR)
		;
	return r != 0;			/* < 0: somebody ignores SIGCHLD, then it is gone as well */
}

static void
child_end(struct weir_rclone_child *c, int *status)
{
	int64_t until = weir_now_ms() + CHILD_TERM_MS;

	kill(c->pid, SIGTERM);
	while (!child_reap(c, status)) {
		struct pollfd p = { .fd = c->out, .events = POLLIN };

		if (weir_now_ms() > until)
			kill(c->pid, SIGKILL);
		if (poll(&p, 1, 20) > 0 && !child_read(c))
			poll(NULL, 0, 5);
	}
}

static bool
child_is_ending(struct weir_rclone_child *c)
{
	bool is;

	pthread_mutex_lock(&c->lock);
	is = c->is_ending;
	pthread_mutex_unlock(&c->lock);
	return is;
}

/* From fork to end. */
static void
child_live(struct weir_rclone_child *c)
{
	struct pollfd p[2] = { { .fd = c->wake, .events = POLLIN }, { .events = POLLIN } };
	enum weir_code code = child_spawn(c);
	bool is_up = false;
	int status = 0;

	if (code) {
		child_ended(c, code, 0);
		return;
	}
	p[1].fd = c->out;
	for (;;) {
		poll(p, 2, CHILD_POLL_MS);
		if ((p[1].revents & (POLLIN | POLLHUP | POLLERR)) && !child_read(c))
			p[1].fd = -1;
		if (child_reap(c, &status))
			break;
		if (!is_up && c->at.port && c->at.rc_port) {	/* written by this thread alone */
			child_set(c, CHILD_UP);
			is_up = true;
		}
		if (child_is_ending(c) || (!is_up && weir_now_ms() - c->born_ms > CHILD_START_MS)) {
			child_end(c, &status);
			break;
		}
	}
	child_read(c);
	if (c->nline)
		child_take_line(c);
	close(c->out);
	child_ended(c, WEIR_OK, status);
}

static void *
child_thread(void *arg)
{
	struct weir_rclone_child *c = arg;

	pthread_mutex_lock(&c->lock);
	while (!c->is_ending) {
		if (!c->is_wanted) {
			pthread_cond_wait(&c->changed, &c->lock);
			continue;
		}
		c->is_wanted = false;
		c->state = CHILD_STARTING;
		pthread_mutex_unlock(&c->lock);
		child_live(c);
		pthread_mutex_lock(&c->lock);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

/* ---- for the backend ---- */

struct weir_rclone_child *
weir_rclone_child_new(const struct weir_rclone_how *how)
{
	struct weir_rclone_child *c = weir_xcalloc(1, sizeof(*c));
	pthread_condattr_t attr;

	c->name = weir_xstrdup(how->name);
	c->remote = weir_xstrdup(how->remote);
	c->config = weir_xstrdup(how->config);
	c->program = weir_xstrdup(how->program);
	c->proxy = weir_xstrdup(how->proxy);
	c->ca_file = weir_xstrdup(how->ca_file);
	c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->changed, &attr);
	pthread_condattr_destroy(&attr);
	return c;
}

void
weir_rclone_child_free(struct weir_rclone_child *c)
{
	const uint64_t one = 1;

	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->is_ending = true;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	if (c->has_thread) {
		while (c->wake >= 0 && write(c->wake, &one, sizeof(one)) < 0 && errno == EINTR)
			;
		pthread_join(c->thread, NULL);
	}
	if (c->wake >= 0)
		close(c->wake);
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->lock);
	free(c->name);
	free(c->remote);
	free(c->config);
	free(c->program);
	weir_secret_free(c->proxy);
	free(c->ca_file);
	explicit_bzero(&c->at, sizeof(c->at));
	free(c);
}

bool
weir_rclone_child_is_up(const struct weir_rclone_child *c, unsigned generation)
{
	return generation && atomic_load(&c->up_generation) == generation;
}

void
weir_rclone_child_words(struct weir_rclone_child *c, int64_t since_ms, char *out, size_t max)
{
	pthread_mutex_lock(&c->lock);
	snprintf(out, max, "%s", c->words_ms >= since_ms ? c->words : "");
	pthread_mutex_unlock(&c->lock);
}

/* Signals are for other threads of the program. */
static int
child_make_thread(struct weir_rclone_child *c)
{
	sigset_t all, old;
	int no;

	if (c->has_thread)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	no = pthread_create(&c->thread, NULL, child_thread, c);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	c->has_thread = no == 0;
	return no;
}

static void
child_wait(struct weir_rclone_child *c, int64_t ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += (long)(ms * 1000000);
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	pthread_cond_timedwait(&c->changed, &c->lock, &t);
}

static enum weir_code
child_sentence(const struct weir_rclone_child *c, struct weir_err *err)
{
	return weir_err_set(err, c->code, "rclone does not serve '%s': %s", c->remote, c->words);
}

enum weir_code
weir_rclone_child_up(struct weir_rclone_child *c, const struct weir_cancel *cancel, struct weir_rclone_at *at, struct weir_err *err)
{
	enum weir_code r = WEIR_OK;
	unsigned before;
	int no;

	pthread_mutex_lock(&c->lock);
	no = child_make_thread(c);
	before = c->starts;
	if (no) {
		r = weir_err_errno(err, no, "a thread for rclone");
	} else if (c->state == CHILD_DOWN && weir_now_ms() < c->not_before_ms) {
		r = child_sentence(c, err);
	} else if (c->state == CHILD_IDLE || c->state == CHILD_DOWN) {
		c->is_wanted = true;
		pthread_cond_broadcast(&c->changed);
	} else {
		before--;		/* the start under way is ours as well */
	}
	while (!r && c->state != CHILD_UP) {
		if (cancel && atomic_load(&cancel->is_set))
			r = weir_err_set(err, WEIR_E_CANCELED, "cancelled while rclone was starting");
		else if (c->state == CHILD_DOWN && c->starts != before)
			r = child_sentence(c, err);
		else
			child_wait(c, 100);
	}
	if (!r)
		*at = c->at;
	pthread_mutex_unlock(&c->lock);
	return r;
}

char *
weir_rclone_basic(const struct weir_rclone_at *at)
{
	char plain[128], coded[192];
	char *s;

	snprintf(plain, sizeof(plain), "%s:%s", at->user, at->password);
	weir_base64(plain, strlen(plain), coded);
	s = weir_xasprintf("Authorization: Basic %s", coded);
	explicit_bzero(plain, sizeof(plain));
	explicit_bzero(coded, sizeof(coded));
	return s;
}
