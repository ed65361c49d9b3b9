/* SPDX-License-Identifier: Apache-2.0 */
/* No container: the command runs on this host, in a mount namespace of its own that has the storage at /storage. */
#include "config.h"

#include "../launch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/conf/conf.h"

extern char **environ;

static enum weir_code
none_check(const struct weir_job *job, struct weir_err *err)
{
	const struct weir_job_options *o = job->o;
	const char *option = job->image != NULL ? "--image" : o->rootfs != NULL ? "--rootfs" : o->cpus != NULL ? "--cpus" : o->memory != NULL ? "--memory" : NULL;

	if (option != NULL)
		return weir_err_set(err, WEIR_E_INVAL, "engine 'none' runs the command on this host as it is: it has no %s (use --engine podman)", option);
	if (job->command.n == 0)
		return weir_err_set(err, WEIR_E_INVAL, "engine 'none' needs a command: weir run [options] -- COMMAND…");
	return WEIR_OK;
}

static void
none_words(const struct weir_job *job, struct weir_words *w)
{
	if (job->has_storage) {
		WEIR_AUTO(weir_freep) char *bind = NULL;

		weir_words_add(w, "unshare");
		if (geteuid() != 0) {
			weir_words_add(w, "--user");
			weir_words_add(w, "--map-current-user");
		}
		weir_words_add(w, "--mount");
		bind = weir_xasprintf("mount --rbind%s \"$0\" " WEIR_JOB_STORAGE_PATH " && exec \"$@\"", job->is_readonly ? " -o ro" : "");
		weir_words_add(w, "sh");
		weir_words_add(w, "-c");
		weir_words_add(w, bind);
		weir_words_add(w, job->source != NULL ? job->source : "MOUNT");
	}
	for (size_t i = 0; i < job->command.n; i++)
		weir_words_add(w, job->command.v[i]);
}

/* ---- the namespace ---- */

static enum weir_code
none_write(const char *path, const char *text, struct weir_err *err)
{
	WEIR_AUTO(weir_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return weir_err_errno(err, errno, "%s", path);
	return WEIR_OK;
}

/* Who is not root becomes "root" over mounts in a user namespace where it still is itself to every file. */
static enum weir_code
none_unshare(struct weir_err *err)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	WEIR_AUTO(weir_freep) char *uid_map = weir_xasprintf("%u %u 1\n", (unsigned)uid, (unsigned)uid);
	WEIR_AUTO(weir_freep) char *gid_map = weir_xasprintf("%u %u 1\n", (unsigned)gid, (unsigned)gid);
	enum weir_code r;

	if (unshare(uid == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) != 0)
		return weir_err_errno(err, errno, uid == 0 ? "a mount namespace for the job" : "a user namespace for the job (does this host allow them to users?)");
	if (uid == 0)
		return WEIR_OK;
	r = none_write("/proc/self/setgroups", "deny", err);
	if (r == WEIR_OK)
		r = none_write("/proc/self/uid_map", uid_map, err);
	if (r == WEIR_OK)
		r = none_write("/proc/self/gid_map", gid_map, err);
	return r ? weir_err_wrap(err, r, "a user namespace for the job") : WEIR_OK;
}

static enum weir_code
none_make_point(struct weir_err *err)
{
	struct stat st;

	if (stat(WEIR_JOB_STORAGE_PATH, &st) == 0)
		return S_ISDIR(st.st_mode) ? WEIR_OK :
		    weir_err_set(err, WEIR_E_NOTDIR, "'" WEIR_JOB_STORAGE_PATH "' on this host is not a folder, so the storage cannot be shown there");
	if (mkdir(WEIR_JOB_STORAGE_PATH, 0755) == 0 || errno == EEXIST)
		return WEIR_OK;
	return weir_err_errno(err, errno, "folder '" WEIR_JOB_STORAGE_PATH "' is not there and cannot be made%s",
	    geteuid() != 0 ? "; have root make it once (mkdir " WEIR_JOB_STORAGE_PATH ")" : "");
}

/* Slave, not private: that the mount itself goes away is seen here; what is mounted here is not seen outside. */
static enum weir_code
none_bind(const struct weir_job *job, struct weir_err *err)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};

	if (mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) != 0)
		return weir_err_errno(err, errno, "a mount namespace for the job");
	if (mount(job->source, WEIR_JOB_STORAGE_PATH, NULL, MS_BIND | MS_REC, NULL) != 0)
		return weir_err_errno(err, errno, "show '%s' at '" WEIR_JOB_STORAGE_PATH "'", job->source);
	if (job->is_readonly && mount_setattr(AT_FDCWD, WEIR_JOB_STORAGE_PATH, 0, &attr, sizeof(attr)) != 0)
		return weir_err_errno(err, errno, "make '" WEIR_JOB_STORAGE_PATH "' read-only");
	return WEIR_OK;
}

/* ---- the environment ---- */

/* What AWS tools read, and any value that the configuration holds as a secret. */
static bool
none_is_secret(const struct weir_conf *conf, const char *variable)
{
	static const char *const names[] = {"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "AWS_SESSION_TOKEN=", "AWS_SECURITY_TOKEN="};
	static const char *const keys[] = {"password", "secret_key", "access_key", "session_token", "bearer_token"};
	const char *value = strchr(variable, '=');

	for (size_t i = 0; i < WEIR_LEN(names); i++) {
		if (strncmp(variable, names[i], strlen(names[i])) == 0)
			return true;
	}
	if (value == NULL || value[1] == '\0')
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

static void
none_clean_environment(const struct weir_conf *conf)
{
	char **to = environ;

	for (char **from = environ; from != NULL && *from != NULL; from++) {
		if (!none_is_secret(conf, *from))
			*to++ = *from;
	}
	if (to != NULL)
		*to = NULL;
}

static enum weir_code
none_environment(const struct weir_job *job, struct weir_err *err)
{
	if (job->o->conf != NULL)
		none_clean_environment(job->o->conf);
	for (size_t i = 0; i < job->env.n; i++) {
		if (putenv(job->env.v[i]) != 0)
			return weir_err_errno(err, errno, "environment");
	}
	return WEIR_OK;
}

static int
none_become(const struct weir_job *job, struct weir_err *err)
{
	enum weir_code r = WEIR_OK;

	if (job->source != NULL)
		r = none_unshare(err);
	if (r == WEIR_OK && job->source != NULL)
		r = none_make_point(err);
	if (r == WEIR_OK && job->source != NULL)
		r = none_bind(job, err);
	if (r == WEIR_OK)
		r = none_environment(job, err);
	if (r)
		return WEIR_JOB_MOUNT;
	if (job->workdir != NULL && chdir(job->workdir) != 0) {
		weir_err_errno(err, errno, "--workdir '%s'", job->workdir);
		return WEIR_JOB_MOUNT;
	}
	execvp(job->command.v[0], job->command.v);
	r = errno == ENOENT || errno == ENOTDIR ? WEIR_E_NOENT : WEIR_E_ACCES;
	weir_err_errno(err, errno, "'%s'", job->command.v[0]);
	return r == WEIR_E_NOENT ? 127 : 126;	/* as a shell says it */
}

static void
none_kill(const struct weir_job *job, pid_t child)
{
	kill(child, SIGKILL);
}

/* ---- by name: every process of the job has its name in its environment ---- */

/* Calls act for each; how many there were. */
static size_t
none_each(const char *name, int sig)
{
	WEIR_AUTO(weir_freep) char *wanted = weir_xasprintf(WEIR_JOB_VARIABLE "=%s", name);
	DIR *proc = opendir("/proc");
	struct dirent *e;
	size_t n = 0;

	while (proc != NULL && (e = readdir(proc)) != NULL) {
		WEIR_AUTO(weir_freep) char *path = weir_xasprintf("/proc/%s/environ", e->d_name);
		WEIR_AUTO(weir_freep) char *text = NULL;
		long pid = strtol(e->d_name, NULL, 10);
		size_t len;

		if (pid <= 1 || pid == getpid() || weir_read_file(path, 4u << 20, &text, &len) != 0)
			continue;
		for (size_t at = 0; at < len; at += strlen(text + at) + 1) {
			if (strcmp(text + at, wanted) != 0)
				continue;
			n++;
			if (sig != 0)
				kill((pid_t)pid, sig);
			break;
		}
	}
	if (proc != NULL)
		closedir(proc);
	return n;
}

static bool
none_is_running(const struct weir_job_id *id)
{
	return none_each(id->name, 0) > 0;
}

static int
none_end(const struct weir_job_id *id, int64_t grace_ms, struct weir_err *err)
{
	int64_t begin = weir_now_ms();

	none_each(id->name, SIGTERM);
	while (none_each(id->name, weir_now_ms() - begin < grace_ms ? 0 : SIGKILL) > 0) {
		if (weir_now_ms() - begin > grace_ms + 10000) {
			weir_err_set(err, WEIR_E_BUSY, "processes of job '%s' do not end", id->name);
			return -1;
		}
		poll(NULL, 0, 50);
	}
	return 0;
}

/* The job's mounts, its environment and its current directory. */
static int
none_enter(const struct weir_job_id *id, bool is_terminal, char *const *command, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *ns = weir_xasprintf("/proc/%d/ns/mnt", (int)id->pid), *user = weir_xasprintf("/proc/%d/ns/user", (int)id->pid);
	WEIR_AUTO(weir_freep) char *cwd = weir_xasprintf("/proc/%d/cwd", (int)id->pid);
	WEIR_AUTO(weir_closep) int ns_fd = open(ns, O_RDONLY | O_CLOEXEC);
	WEIR_AUTO(weir_closep) int user_fd = open(user, O_RDONLY | O_CLOEXEC);
	char target[4096];
	ssize_t n = readlink(cwd, target, sizeof(target) - 1);

	if (ns_fd < 0 || user_fd < 0 || n < 0 || (geteuid() != 0 && setns(user_fd, CLONE_NEWUSER) != 0) || setns(ns_fd, CLONE_NEWNS) != 0) {
		weir_err_errno(err, errno, "job '%s' cannot be entered", id->name);
		return WEIR_JOB_ENGINE;
	}
	target[n] = '\0';
	if (chdir(target) != 0 || setenv(WEIR_JOB_VARIABLE, id->name, 1) != 0) {
		weir_err_errno(err, errno, "'%s' in job '%s'", target, id->name);
		return WEIR_JOB_ENGINE;
	}
	execvp(command[0], command);
	n = errno == ENOENT || errno == ENOTDIR ? 127 : 126;
	weir_err_errno(err, errno, "'%s'", command[0]);
	return (int)n;
}

const struct weir_engine weir_engine_none = {
    .name = "none",
    .check = none_check,
    .words = none_words,
    .become = none_become,
    .kill = none_kill,
    .is_running = none_is_running,
    .end = none_end,
    .enter = none_enter,
    .ends_orphans = true,
};
