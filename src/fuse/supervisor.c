/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor: mounts, keeps one worker alive under the living mount, unmounts. One thread, so that it can fork at any time; all it does is
 * wait for a signal or the next second. It never touches a path of its own mount in a way that asks the file system.
 *
 *	signal		meaning
 *	SIGCHLD		worker, messenger or unmounter ended
 *	SIGUSR1		the worker serves, or sent something for the shelf
 *	SIGTERM, INT, HUP	unmount; once more: end now, keeping the mount's users waiting for nobody
 *
 * Time is counted in the supervisor's own ticks (at most one a second): a machine that slept, or a stopped supervisor, is not a silent worker. */
#include "config.h"

#include "edge.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../fs/opens.h"
#include "../util/systemd.h"
#include "../util/util.h"

#define SUPERVISOR_TICK_MS 1000
#define SUPERVISOR_SILENT_TICKS 20	/* no beat for so long: killed */
#define SUPERVISOR_START_TICKS 300	/* a successor that does not come up: others wait on the mount */
#define SUPERVISOR_END_TICKS 60		/* tearing down after the unmount */
#define SUPERVISOR_YOUNG_MS 5000
#define SUPERVISOR_OPEN_SLOTS (1u << 17)

struct supervisor {
	struct weir_fuse_worker w;	/* what each worker gets */
	int (*worker)(struct weir_fuse_worker *, void *);
	void *arg;
	struct weir_err *err;
	sigset_t signals;

	pid_t worker_pid, messenger_pid, unmounter_pid;	/* 0: none */
	int64_t born_ms, restart_ms, tick_ms;
	unsigned young_deaths, quiet_ticks, phase_ticks;
	int last_phase;
	uint64_t last_beat;
	int ready_fd;
	bool is_ready, is_over, is_stopping;
	int64_t watchdog_ms, told_ms;	/* how often systemd wants to hear from us (0: not), and when it last did */
	unsigned told_line;		/* shared->line_n */
	int status;			/* of the process, once is_over */
};

/* ---- start ---- */

static void
supervisor_tell_ready(struct supervisor *s, const char *sentence)
{
	ssize_t n;

	if (sentence == NULL && !s->is_ready)
		weir_sd_notify("READY=1\nSTATUS=serving %.400s", s->w.opt->mountpoint);
	else if (sentence != NULL)
		weir_sd_notify("STATUS=%.400s", sentence);
	s->is_ready = true;
	if (s->ready_fd < 0)
		return;
	n = write(s->ready_fd, sentence != NULL ? "n" : "y", 1);
	if (n == 1 && sentence != NULL)
		n = write(s->ready_fd, sentence, strlen(sentence));
	close(s->ready_fd);
	s->ready_fd = -1;
}

static void
supervisor_block_signals(struct supervisor *s)
{
	static const int which[] = {SIGCHLD, SIGUSR1, SIGTERM, SIGINT, SIGHUP};

	sigemptyset(&s->signals);
	for (size_t i = 0; i < WEIR_LEN(which); i++) {
		sigaddset(&s->signals, which[i]);
		signal(which[i], SIG_DFL);	/* an ignored SIGCHLD or, under nohup, SIGHUP would never reach us */
	}
	sigprocmask(SIG_BLOCK, &s->signals, NULL);
}

static enum weir_code
supervisor_share(struct supervisor *s, struct weir_err *err)
{
	s->w.shared = mmap(NULL, sizeof(*s->w.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s->w.shared == MAP_FAILED)
		return weir_err_errno(err, errno, "shared memory");
	weir_fuse_news_init(s->w.shared);
	s->w.opens = weir_opens_new(SUPERVISOR_OPEN_SLOTS);
	if (s->w.opens == NULL)
		return weir_err_errno(err, errno, "shared memory");
	return weir_fuse_shelf_init(&s->w, err);
}

static enum weir_code
supervisor_mount(struct supervisor *s, struct weir_err *err)
{
	enum weir_code r;

	weir_fuse_clear_dead(s->w.opt->mountpoint);
	r = weir_fuse_mount(s->w.opt, &s->w.fd, err);
	if (r)
		return r;
	r = weir_fuse_answer_init(&s->w, err);
	if (r) {
		weir_fuse_unmount(&s->w);
		return r;
	}
	s->w.dev = weir_fuse_mount_dev(s->w.opt->mountpoint);
	weir_fuse_raise_readahead(s->w.dev);
	return WEIR_OK;
}

/* ---- children ---- */

static pid_t
supervisor_fork(struct supervisor *s)
{
	pid_t parent = getpid(), pid;
	sigset_t none;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		weir_log(WEIR_LOG_ERROR, "fork: %s", strerror(errno));
	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);	/* it died before we asked to be told */
	if (s->ready_fd >= 0)
		close(s->ready_fd);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	return 0;
}

static _Noreturn void
supervisor_be_worker(struct supervisor *s)
{
	/* A terminal's Ctrl-C and systemd's SIGTERM go to the whole group: the supervisor alone decides. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_NAME, "weir-worker");
	weir_opens_recover(s->w.opens);
	weir_fuse_news_adopt(s->w.shared);
	exit(s->worker(&s->w, s->arg));
}

static void
supervisor_start_worker(struct supervisor *s)
{
	pid_t pid;

	weir_fuse_shelf_receive(&s->w);
	s->w.generation++;
	s->restart_ms = 0;
	s->born_ms = weir_now_ms();
	s->quiet_ticks = s->phase_ticks = 0;
	atomic_store(&s->w.shared->phase, WEIR_FUSE_STARTING);
	s->w.shared->sentence[0] = '\0';
	pid = supervisor_fork(s);
	if (pid == 0)
		supervisor_be_worker(s);
	if (pid > 0)
		s->worker_pid = pid;
	else
		s->restart_ms = weir_now_ms() + SUPERVISOR_TICK_MS;
}

static void
supervisor_start_messenger(struct supervisor *s)
{
	pid_t pid = supervisor_fork(s);

	if (pid == 0) {
		weir_fuse_shelf_close(&s->w);
		weir_fuse_messenger(&s->w);
	}
	s->messenger_pid = pid > 0 ? pid : 0;
}

/* Unmounting may wait for a worker (dirty pages of a shared mmap are written out), and the worker may need replacing meanwhile: so a child does it. */
static void
supervisor_stop(struct supervisor *s)
{
	pid_t pid;

	if (s->is_stopping) {
		atomic_store(&s->w.shared->stop_wanted, true);
		return;
	}
	s->is_stopping = true;
	weir_sd_notify("STOPPING=1");
	pid = supervisor_fork(s);
	if (pid == 0) {
		weir_fuse_shelf_close(&s->w);
		_exit(weir_fuse_unmount(&s->w) == 0 ? 0 : 1);
	}
	if (pid > 0)
		s->unmounter_pid = pid;
	else
		atomic_store(&s->w.shared->stop_wanted, true);
}

/* ---- a worker's end ---- */

static void
supervisor_describe(int status, char *out, size_t size)
{
	if (WIFSIGNALED(status))
		snprintf(out, size, "was ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(out, size, "ended with status %d", WEXITSTATUS(status));
}

static void
supervisor_refused(struct supervisor *s, const char *how)
{
	const char *said = s->w.shared->sentence;

	if (said[0] != '\0')
		weir_err_set(s->err, WEIR_E_CONFIG, "%s", said);
	else
		weir_err_set(s->err, WEIR_E_IO, "the worker %s while it started", how);
	supervisor_tell_ready(s, weir_err_text(s->err, WEIR_E_IO));
	s->is_over = true;
	s->status = 1;
}

/* The first three deaths in a row cost nobody any time. From then on a worker that crashes at once is given ever more of it; one that somebody else
 * kills (kill -9, the OOM killer) comes back faster than one that crashes by itself. */
static int64_t
supervisor_delay_ms(struct supervisor *s, int status)
{
	int64_t most = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? 250 : SUPERVISOR_YOUNG_MS;
	unsigned n;

	if (weir_now_ms() - s->born_ms >= SUPERVISOR_YOUNG_MS)
		s->young_deaths = 0;
	n = ++s->young_deaths;
	if (n <= 3)
		return 0;
	return n < 12 && (int64_t)25 << (n - 3) < most ? (int64_t)25 << (n - 3) : most;
}

static void
supervisor_worker_ended(struct supervisor *s, int status)
{
	bool is_clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	char how[80];
	int64_t delay;

	s->worker_pid = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == WEIR_FUSE_NEXT && !weir_fuse_is_gone(s->w.fd) && !atomic_load(&s->w.shared->stop_wanted)) {
		s->restart_ms = weir_now_ms();
		return;
	}
	supervisor_describe(status, how, sizeof(how));
	if (is_clean || weir_fuse_is_gone(s->w.fd) || atomic_load(&s->w.shared->stop_wanted)) {
		if (!is_clean)
			weir_log(WEIR_LOG_WARN, "the worker %s after the unmount; what is unsent stays in the cache", how);
		s->is_over = true;
		return;
	}
	if (!atomic_load(&s->w.shared->was_ready)) {
		supervisor_refused(s, how);
		return;
	}
	delay = supervisor_delay_ms(s, status);
	weir_log(WEIR_LOG_ERROR, "the worker %s%s%s; the next one starts %s", how, s->w.shared->sentence[0] != '\0' ? ": " : "",
	    s->w.shared->sentence, delay > 0 ? "soon" : "now");
	s->restart_ms = weir_now_ms() + delay;
}

static void
supervisor_reap(struct supervisor *s)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == s->worker_pid) {
			supervisor_worker_ended(s, status);
		} else if (pid == s->messenger_pid) {
			s->messenger_pid = 0;	/* started again with the next tick */
		} else if (pid == s->unmounter_pid) {
			s->unmounter_pid = 0;
			if (status != 0)
				atomic_store(&s->w.shared->stop_wanted, true);
		}
	}
}

/* ---- time ---- */

static void
supervisor_kill_silent(struct supervisor *s, const char *why)
{
	weir_log(WEIR_LOG_ERROR, "the worker %s for %u s: killed", why, s->quiet_ticks > s->phase_ticks ? s->quiet_ticks : s->phase_ticks);
	kill(s->worker_pid, SIGKILL);
	s->quiet_ticks = s->phase_ticks = 0;
}

static void
supervisor_judge(struct supervisor *s)
{
	int phase = atomic_load(&s->w.shared->phase);
	uint64_t beat = atomic_load(&s->w.shared->beat);

	s->phase_ticks = phase == s->last_phase ? s->phase_ticks + 1 : 0;
	s->quiet_ticks = phase == WEIR_FUSE_SERVING && beat == s->last_beat ? s->quiet_ticks + 1 : 0;
	s->last_phase = phase;
	s->last_beat = beat;
	if (s->w.opt->is_debug)
		return;		/* somebody stands in it with a debugger */
	if (phase == WEIR_FUSE_SERVING && s->quiet_ticks >= SUPERVISOR_SILENT_TICKS)
		supervisor_kill_silent(s, "took no request");
	else if (phase == WEIR_FUSE_STARTING && s->w.generation > 1 && s->phase_ticks >= SUPERVISOR_START_TICKS)
		supervisor_kill_silent(s, "did not start");
	else if (phase == WEIR_FUSE_ENDING && s->phase_ticks >= SUPERVISOR_END_TICKS)
		supervisor_kill_silent(s, "did not end");
}

/* Twice as often as it asks for. A worker that hangs is this process's affair. */
static void
supervisor_tell_manager(struct supervisor *s, int64_t now)
{
	unsigned line = atomic_load(&s->w.shared->line_n);

	if (s->watchdog_ms > 0 && now - s->told_ms >= s->watchdog_ms / 2) {
		s->told_ms = now;
		weir_sd_notify("WATCHDOG=1");
	}
	if (line != s->told_line && s->is_ready) {
		s->told_line = line;
		weir_sd_notify("STATUS=%.255s", s->w.shared->line[line % 2]);
	}
}

static void
supervisor_tick(struct supervisor *s)
{
	supervisor_tell_manager(s, s->tick_ms);
	if (s->messenger_pid == 0)
		supervisor_start_messenger(s);
	if (s->worker_pid != 0)
		supervisor_judge(s);
}

static int64_t
supervisor_wait_ms(const struct supervisor *s, int64_t now)
{
	int64_t until = s->tick_ms + SUPERVISOR_TICK_MS;

	if (s->worker_pid == 0 && s->restart_ms < until)
		until = s->restart_ms;
	return until > now ? until - now : 0;
}

static void
supervisor_turn(struct supervisor *s)
{
	int64_t wait_ms = supervisor_wait_ms(s, weir_now_ms()), now;
	struct timespec ts = {wait_ms / 1000, wait_ms % 1000 * 1000000};
	int sig = sigtimedwait(&s->signals, NULL, &ts);

	if (sig == SIGTERM || sig == SIGINT || sig == SIGHUP)
		supervisor_stop(s);
	weir_fuse_shelf_receive(&s->w);
	supervisor_reap(s);
	if (atomic_load(&s->w.shared->was_ready))
		supervisor_tell_ready(s, NULL);
	if (s->is_over)
		return;
	now = weir_now_ms();
	if (now - s->tick_ms >= SUPERVISOR_TICK_MS) {
		s->tick_ms = now;
		supervisor_tick(s);
	}
	if (s->worker_pid == 0 && now >= s->restart_ms) {
		if (weir_fuse_is_gone(s->w.fd) || atomic_load(&s->w.shared->stop_wanted))
			s->is_over = true;
		else
			supervisor_start_worker(s);
	}
}

/* Off with the mount if it is still there, then close the device: whoever still waits for it gets ENOTCONN. */
static void
supervisor_end(struct supervisor *s)
{
	if (s->unmounter_pid == 0 && !weir_fuse_is_gone(s->w.fd))
		weir_fuse_unmount(&s->w);
	if (s->messenger_pid > 0)
		kill(s->messenger_pid, SIGKILL);
	if (s->unmounter_pid > 0)
		kill(s->unmounter_pid, SIGKILL);
	close(s->w.fd);
	free(s->w.init);
}

int
weir_fuse_supervise(const struct weir_fuse_options *opt, int (*worker)(struct weir_fuse_worker *, void *arg), void *arg, struct weir_err *err)
{
	struct weir_err own = {0};
	struct supervisor s = {
	    .w = {.opt = opt, .fd = -1, .supervisor = getpid()},
	    .worker = worker,
	    .arg = arg,
	    .err = err != NULL ? err : &own,
	    .ready_fd = opt->ready_fd,
	    .watchdog_ms = weir_sd_watchdog_ms(),
	};

	supervisor_block_signals(&s);
	if (supervisor_share(&s, s.err) || supervisor_mount(&s, s.err)) {
		supervisor_tell_ready(&s, weir_err_text(s.err, WEIR_E_IO));
		return 1;
	}
	s.tick_ms = weir_now_ms();
	supervisor_start_messenger(&s);
	supervisor_start_worker(&s);
	while (!s.is_over)
		supervisor_turn(&s);
	supervisor_end(&s);
	return s.status;
}
