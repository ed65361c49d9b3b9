/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs that are processes of this host, with or without namespaces of their own: every one has WEIR_JOB=NAME in its environment, so that
 * they are found whoever started them and whoever has gone. */
#include "config.h"

#include "engines.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROCESSES_ENVIRON_MAX (4u << 20)
#define PROCESSES_FORCE_MS 10000

static bool
processes_is_of(const char *pid, const char *wanted)
{
	WEIR_AUTO(weir_freep) char *path = weir_xasprintf("/proc/%s/environ", pid);
	WEIR_AUTO(weir_freep) char *text = NULL;
	size_t len;

	if (weir_read_file(path, PROCESSES_ENVIRON_MAX, &text, &len) != 0)
		return false;
	for (size_t at = 0; at < len; at += strlen(text + at) + 1) {
		if (strcmp(text + at, wanted) == 0)
			return true;
	}
	return false;
}

/* Calls each() with every process of the job but ourselves; how many there were. */
static size_t
processes_each(const char *name, void (*each)(pid_t, void *), void *arg)
{
	WEIR_AUTO(weir_freep) char *wanted = weir_xasprintf(WEIR_JOB_VARIABLE "=%s", name);
	DIR *proc = opendir("/proc");
	struct dirent *e;
	size_t n = 0;

	while (proc != NULL && (e = readdir(proc)) != NULL) {
		long pid = strtol(e->d_name, NULL, 10);

		if (pid <= 1 || pid == getpid() || !processes_is_of(e->d_name, wanted))
			continue;
		n++;
		each((pid_t)pid, arg);
	}
	if (proc != NULL)
		closedir(proc);
	return n;
}

static void
processes_signal(pid_t pid, void *arg)
{
	const int *sig = arg;

	if (*sig != 0)
		kill(pid, *sig);
}

size_t
weir_engine_processes(const char *name, int sig)
{
	return processes_each(name, processes_signal, &sig);
}

bool
weir_engine_processes_run(const struct weir_job_id *id)
{
	return weir_engine_processes(id->name, 0) > 0;
}

int
weir_engine_processes_end(const struct weir_job_id *id, int64_t grace_ms, struct weir_err *err)
{
	int64_t begin = weir_now_ms();

	weir_engine_processes(id->name, SIGTERM);
	while (weir_engine_processes(id->name, weir_now_ms() - begin < grace_ms ? 0 : SIGKILL) > 0) {
		if (weir_now_ms() - begin > grace_ms + PROCESSES_FORCE_MS) {
			weir_err_set(err, WEIR_E_BUSY, "processes of job '%s' do not end", id->name);
			return -1;
		}
		poll(NULL, 0, 50);
	}
	return 0;
}

void
weir_engine_kill_child(const struct weir_job *job, pid_t child)
{
	kill(child, SIGKILL);
}

/* ---- inside ---- */

struct processes_oldest { struct stat ours; pid_t pid; unsigned long long start; };

/* Field 22 of /proc/PID/stat; the name in the second one may hold anything, so from its last parenthesis on. */
static unsigned long long
processes_start(pid_t pid)
{
	WEIR_AUTO(weir_freep) char *path = weir_xasprintf("/proc/%d/stat", (int)pid);
	WEIR_AUTO(weir_freep) char *text = NULL;
	const char *p;
	size_t len;

	if (weir_read_file(path, 1u << 16, &text, &len) != 0 || (p = strrchr(text, ')')) == NULL)
		return 0;
	for (int field = 2; field < 22 && p != NULL; field++) {
		p = strchr(p, ' ');
		p += p != NULL;
	}
	return p != NULL ? strtoull(p, NULL, 10) : 0;
}

static void
processes_take_oldest(pid_t pid, void *arg)
{
	struct processes_oldest *oldest = arg;
	WEIR_AUTO(weir_freep) char *path = weir_xasprintf("/proc/%d/ns/mnt", (int)pid);
	WEIR_AUTO(weir_freep) char *dir = weir_xasprintf("/proc/%d", (int)pid);
	unsigned long long start = processes_start(pid);
	struct stat st;

	/* Anybody may have our variable in their environment. Root's engines may run a job as somebody else, but not its first process. */
	if (stat(dir, &st) != 0 || st.st_uid != geteuid())
		return;
	if (start == 0 || stat(path, &st) != 0 || (st.st_ino == oldest->ours.st_ino && st.st_dev == oldest->ours.st_dev))
		return;
	if (oldest->pid != 0 && oldest->start <= start)
		return;
	oldest->pid = pid;
	oldest->start = start;
}

pid_t
weir_engine_inside(const char *name)
{
	struct processes_oldest oldest = {0};

	if (stat("/proc/self/ns/mnt", &oldest.ours) == 0)
		processes_each(name, processes_take_oldest, &oldest);
	return oldest.pid;
}

pid_t
weir_engine_processes_inside(const struct weir_job_id *id)
{
	return weir_engine_inside(id->name);
}

/* The environment of that process: the image's and the job's. */
static int
processes_take_environment(pid_t pid)
{
	WEIR_AUTO(weir_freep) char *path = weir_xasprintf("/proc/%d/environ", (int)pid);
	WEIR_AUTO(weir_freep) char *text = NULL;
	size_t len;

	if (weir_read_file(path, PROCESSES_ENVIRON_MAX, &text, &len) != 0 || clearenv() != 0)
		return -1;
	for (size_t at = 0; at < len; at += strlen(text + at) + 1) {
		char *equals = strchr(text + at, '=');
		WEIR_AUTO(weir_freep) char *name = equals != NULL ? weir_xstrndup(text + at, (size_t)(equals - text) - at) : NULL;

		if (name != NULL && name[0] != '\0' && setenv(name, equals + 1, 1) != 0)
			return -1;
	}
	return 0;
}

static int
processes_open(pid_t pid, const char *what)
{
	WEIR_AUTO(weir_freep) char *path = weir_xasprintf("/proc/%d/%s", (int)pid, what);

	return open(path, O_RDONLY | O_CLOEXEC);
}

static bool
processes_is_same(int fd, const char *path)
{
	struct stat theirs, ours;

	return fstat(fd, &theirs) == 0 && stat(path, &ours) == 0 && theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev;
}

/* All is opened before the first step in: inside, /proc may be another one, or none. */
static int
processes_step_in(pid_t pid, char *cwd, size_t size)
{
	WEIR_AUTO(weir_freep) char *link = weir_xasprintf("/proc/%d/cwd", (int)pid);
	WEIR_AUTO(weir_closep) int user = processes_open(pid, "ns/user"), mnt = processes_open(pid, "ns/mnt"), root = processes_open(pid, "root");
	ssize_t n = readlink(link, cwd, size - 1);

	if (user < 0 || mnt < 0 || root < 0 || n < 0 || processes_take_environment(pid) != 0)
		return -1;
	cwd[n] = '\0';
	if (processes_is_same(mnt, "/proc/self/ns/mnt"))
		return chdir(cwd);
	if ((!processes_is_same(user, "/proc/self/ns/user") && setns(user, CLONE_NEWUSER) != 0) || setns(mnt, CLONE_NEWNS) != 0)
		return -1;
	return fchdir(root) == 0 && chroot(".") == 0 && chdir(cwd) == 0 ? 0 : -1;
}

int
weir_engine_processes_enter(const struct weir_job_id *id, bool is_terminal, char *const *command, struct weir_err *err)
{
	pid_t pid = weir_engine_inside(id->name);
	char cwd[4096] = "/";
	int status;

	if (pid == 0)
		pid = id->pid;	/* a job without storage and without a container has this host's mounts */
	if (pid <= 0 || processes_step_in(pid, cwd, sizeof(cwd)) != 0) {
		weir_err_errno(err, pid <= 0 ? ESRCH : errno, "job '%s' cannot be entered", id->name);
		return WEIR_JOB_ENGINE;
	}
	execvp(command[0], command);
	status = errno == ENOENT || errno == ENOTDIR ? 127 : 126;
	weir_err_errno(err, errno, "'%s'", command[0]);
	return status;
}
