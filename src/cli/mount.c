/* SPDX-License-Identifier: Apache-2.0 */
/* weir mount, and mount.weir for mount(8): check everything that can be checked, become a daemon, let fuse/ supervise.
 *
 * Who is who: the front process is what the user started; it asks the remotes in a short-lived child (threads may not live in a
 * process that will fork), forks the supervisor and waits for its word on ready_fd; the supervisor forks the workers. */
#include "config.h"

#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../control/herald.h"
#include "../control/mounts.h"
#include "../dav/front.h"
#include "../fs/fs.h"
#include "../util/buf.h"
#include "../util/text.h"
#include "mountopt.h"
#include "newconf.h"
#include "unmount.h"

#define MOUNT_LOCK_MS 10000	/* how long the cache of a mount that is just ending is waited for */
#define MOUNT_END_MS 10000
#define MOUNT_READY_MS 120000	/* the first worker may have a long journal to go through */

struct mount_job {
	const char *conf_path;
	const char *target;		/* the mount point as given; NULL: the configuration's */
	bool is_fake;			/* mount -f: all but the mount */
	bool is_helper;			/* called by mount(8) */
	char *source;			/* as the kernel shows it */
	struct weir_mountopt opt;
	struct weir_conf *conf;
	struct weir_newconf *newconf;
	char *mountpoint;		/* absolute */
};

/* ---- checks ---- */

/* A mount point whose daemon is gone answers ENOTCONN to everything, realpath(3) included: resolve what is above it. */
static char *
mount_resolve(const char *target)
{
	WEIR_AUTO(weir_freep) char *absolute = NULL, *parent = NULL;
	char *real = realpath(target, NULL), *slash;

	if (real != NULL || errno != ENOTCONN)
		return real;
	absolute = weir_path_absolute(target);
	slash = absolute != NULL ? strrchr(absolute, '/') : NULL;
	if (slash == NULL)
		return NULL;
	*slash = '\0';
	parent = realpath(*absolute != '\0' ? absolute : "/", NULL);
	return parent != NULL ? weir_path_join(parent, slash + 1) : NULL;
}

/* The one of the configuration is made where it is missing, as systemd and autofs make theirs. */
static enum weir_code
mount_default_point(struct mount_job *job, struct weir_err *err)
{
	job->target = job->conf->mountpoint;
	if (job->target == NULL)
		return weir_err_set(err, WEIR_E_INVAL, "no mount point: name one, or set 'mountpoint' in [weir] of %s", job->conf->path);
	if (access(job->target, F_OK) != 0 && errno == ENOENT && weir_mkdirs(job->target, 0755) != 0)
		return weir_err_errno(err, errno, "mount point '%s'", job->target);
	return WEIR_OK;
}

static enum weir_code
mount_check_point(struct mount_job *job, struct weir_err *err)
{
	struct statfs fs;
	struct stat st;

	job->mountpoint = mount_resolve(job->target);
	if (job->mountpoint == NULL)
		return weir_err_errno(err, errno, "mount point '%s'", job->target);
	/* What died there serves nobody, and would stay in the way. stat(2) may still be answered from the kernel's memory; statfs is not. */
	if (statfs(job->mountpoint, &fs) != 0 && (errno == ENOTCONN || errno == ECONNABORTED)) {
		enum weir_code r = weir_unmount_dead(job->mountpoint, err);

		if (r)
			return weir_err_wrap(err, r, "mount point '%s' holds a dead mount that cannot be removed", job->mountpoint);
		weir_say("removed a dead mount from '%s'", job->mountpoint);
	}
	if (stat(job->mountpoint, &st) != 0)
		return weir_err_errno(err, errno, "mount point '%s'", job->mountpoint);
	if (!S_ISDIR(st.st_mode))
		return weir_err_set(err, WEIR_E_NOTDIR, "mount point '%s' is not a directory", job->mountpoint);
	return WEIR_OK;
}

/* One weir per cache: say who has it, not only that it is taken. */
static enum weir_code
mount_check_cache(const struct mount_job *job, struct weir_err *err)
{
	struct weir_mounts mounts;
	const struct weir_mount *m;
	enum weir_code r = weir_mounts_read(&mounts, err);

	if (r)
		return r;
	m = weir_mounts_at(&mounts, job->mountpoint, NULL);
	if (m != NULL && strcmp(m->mountpoint, job->mountpoint) == 0)
		r = weir_err_set(err, WEIR_E_BUSY, "'%s' is a weir mount already, from %s", job->mountpoint, m->source);
	else if (weir_control_call(job->conf->cache_dir, json_pack("{s:s}", "verb", "ping"), NULL, NULL, NULL, NULL) == WEIR_OK) {
		m = weir_mounts_of(&mounts, job->conf->path);
		r = weir_err_set(err, WEIR_E_BUSY, "cache '%s' is in use by another weir%s%s%s", job->conf->cache_dir, m != NULL ? ", mounted at '" : "",
		    m != NULL ? m->mountpoint : "", m != NULL ? "'" : "");
	}
	weir_mounts_free(&mounts);
	return r;
}

/* What waiting cannot heal refuses the mount; what is merely away is mounted offline. */
static enum weir_code
mount_check_remotes(const struct mount_job *job, struct weir_err *err)
{
	json_t *results = weir_probe_apart(job->conf, NULL, false, WEIR_PROBE_MS, err), *result;
	unsigned refused = 0;
	size_t i;

	if (results == NULL)
		return err->code;
	json_array_foreach (results, i, result) {
		const char *name = json_string_value(json_object_get(result, "name"));

		if (strcmp(json_string_value(json_object_get(result, "code")), weir_code_name(WEIR_OK)) == 0)
			continue;
		if (weir_probe_refuses(result)) {
			refused++;
			weir_say("remote '%s': %s", name, weir_probe_reason(result));
		} else
			weir_say("warning: remote '%s' is offline: %s", name, weir_probe_reason(result));
	}
	json_decref(results);
	/* The sentences are out; err stays empty. */
	return refused > 0 ? WEIR_E_CONFIG : WEIR_OK;
}

/* ---- the worker ---- */

/* A mount that ended a moment ago may still be closing this cache. Whether it is that or a living mount, the lock does not tell,
 * but only a living one answers. */
static enum weir_code
mount_worker_fs(const struct weir_fs_options *options, struct weir_fs **fs, struct weir_err *err)
{
	int64_t end = weir_now_ms() + MOUNT_LOCK_MS;
	enum weir_code r;

	while ((r = weir_fs_new(options, fs, err)) == WEIR_E_BUSY && weir_now_ms() < end &&
	       weir_control_call(options->conf->cache_dir, json_pack("{s:s}", "verb", "ping"), NULL, NULL, NULL, NULL) == WEIR_E_NOENT)
		poll(NULL, 0, 100);
	return r;
}

static int
mount_shelf_put(void *worker, unsigned slot, int fd)
{
	return weir_fuse_shelf_put(worker, slot, fd);
}

static int
mount_shelf_take(void *worker, unsigned slot)
{
	return weir_fuse_shelf_take(worker, slot);
}

static void
mount_line(void *worker, const char *text)
{
	weir_fuse_line(worker, text);
}

_Static_assert(WEIR_FRONT_TABLE_BYTES <= WEIR_FUSE_SHELF_BYTES && WEIR_FRONT_SHARES <= WEIR_FUSE_SHELF_SLOTS, "the shares' table fits the shelf");

/* By the newest configuration that can be built. */
static enum weir_code
mount_build(struct mount_job *job, struct weir_fuse_worker *worker, const struct weir_conf **conf, struct weir_fs **fs, struct weir_err *err)
{
	bool is_trial;
	struct weir_fs_options options = {
	    .opens = weir_fuse_opens(worker),
	    .is_first = weir_fuse_is_first(worker),
	    .is_readonly = job->opt.fuse.is_readonly,
	    .passthrough = weir_fuse_has_passthrough(worker),
	    .uid = job->opt.uid,
	    .gid = job->opt.gid,
	    .umask = job->opt.umask,
	};
	enum weir_code r;

	options.conf = weir_newconf_take(job->newconf, NULL, &is_trial);
	r = mount_worker_fs(&options, fs, err);
	if (r && is_trial) {
		weir_log(WEIR_LOG_ERROR, "the configuration stays as it was: %s", weir_err_text(err, r));
		options.conf = weir_newconf_take(job->newconf, weir_err_text(err, r), &is_trial);
		*err = (struct weir_err){0};
		r = mount_worker_fs(&options, fs, err);
	}
	*conf = options.conf;
	return r;
}

static int
mount_worker(struct weir_fuse_worker *worker, void *arg)
{
	struct mount_job *job = arg;
	struct weir_front_options sharing = {
	    .cache_dir = job->conf->cache_dir,
	    .table = weir_fuse_shelf(worker),
	    .keep = mount_shelf_put,
	    .take = mount_shelf_take,
	    .arg = worker,
	    .is_readonly = job->opt.fuse.is_readonly,
	};
	struct weir_control *control = NULL;
	struct weir_control_front fronts[] = {{weir_front_verbs, weir_front_nverbs, NULL}, {weir_newconf_verbs, weir_newconf_nverbs, job->newconf}};
	struct weir_herald_options telling = {.line = mount_line, .arg = worker};
	struct weir_herald *herald = NULL;
	struct weir_front *front = NULL;
	struct weir_fs *fs = NULL;
	struct weir_err err = {0};
	enum weir_code r;

	r = mount_build(job, worker, &telling.conf, &fs, &err);
	sharing.fs = telling.fs = fs;
	if (r == WEIR_OK) {
		weir_newconf_built(job->newconf, fs, worker);
		r = weir_front_start(&sharing, &front, &err);
		fronts[0].arg = front;
	}
	if (r == WEIR_OK)
		r = weir_control_start(fs, job->conf->cache_dir, fronts, WEIR_LEN(fronts), &control, &err);
	if (r == WEIR_OK)
		r = weir_herald_start(&telling, &herald, &err);
	if (r) {
		weir_fuse_refuse(worker, weir_err_text(&err, r));
		weir_control_stop(control, false);
		weir_front_stop(front);
		weir_fs_free(fs);
		return WEIR_EXIT_FAILED;
	}
	weir_fuse_when_serving(worker, weir_newconf_serving, job->newconf);
	r = weir_fuse_serve(worker, fs, &err);
	if (r)
		weir_log(WEIR_LOG_ERROR, "%s", weir_err_text(&err, r));
	weir_herald_stop(herald);
	weir_control_stop(control, weir_fuse_has_handed_over(worker));
	weir_front_stop(front);
	weir_fs_free(fs);
	if (r == WEIR_OK && weir_fuse_has_handed_over(worker))
		return WEIR_FUSE_NEXT;
	return r == WEIR_OK ? WEIR_EXIT_OK : WEIR_EXIT_FAILED;
}

/* ---- front and supervisor ---- */

static void
mount_detach(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	if (chdir("/") != 0)
		weir_log(WEIR_LOG_WARN, "cannot leave the current directory: %m");
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		if (null > STDERR_FILENO)
			close(null);
	}
}

static int
mount_supervise(struct mount_job *job)
{
	struct weir_err err = {0};
	int status = weir_fuse_supervise(&job->opt.fuse, mount_worker, job, &err);

	/* In a daemon the front process has it too, through ready_fd. */
	if (err.msg[0] != '\0')
		weir_log(WEIR_LOG_ERROR, "%s", err.msg);
	return status == 0 ? WEIR_EXIT_OK : WEIR_EXIT_FAILED;
}

static int
mount_foreground(struct mount_job *job)
{
	weir_log_setup("weir", false, job->opt.fuse.is_debug ? WEIR_LOG_DEBUG : WEIR_LOG_INFO);
	return mount_supervise(job);
}

/* 'y', or 'n' and a sentence, or the end of a supervisor that died. */
static int
mount_await(const struct mount_job *job, int fd, pid_t supervisor)
{
	struct weir_buf word = WEIR_BUF(4096);
	int64_t end = weir_now_ms() + MOUNT_READY_MS;
	char chunk[512];

	while (weir_buf_str(&word)[0] != 'y') {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int64_t left = end - weir_now_ms();
		ssize_t n;

		if (left <= 0) {
			weir_say("the mount at '%s' did not start within %d s", job->mountpoint, MOUNT_READY_MS / 1000);
			kill(supervisor, SIGTERM);
			weir_buf_free(&word);
			return WEIR_EXIT_FAILED;
		}
		if (poll(&p, 1, (int)left) <= 0)
			continue;
		n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || weir_buf_add(&word, chunk, (size_t)n) != 0)
			break;
	}
	if (weir_buf_str(&word)[0] == 'y') {
		weir_buf_free(&word);
		return WEIR_EXIT_OK;
	}
	if (word.len > 1)
		weir_say("%s", weir_buf_str(&word) + 1);
	else
		weir_say("the mount at '%s' ended before it served; see the system's log", job->mountpoint);
	weir_buf_free(&word);
	return WEIR_EXIT_FAILED;
}

/* After a failure the supervisor takes its mount off again and ends: come back when that is done, so that the mount point is free. */
static void
mount_reap(pid_t supervisor)
{
	int64_t end = weir_now_ms() + MOUNT_END_MS;

	while (waitpid(supervisor, NULL, WNOHANG) == 0 && weir_now_ms() < end)
		poll(NULL, 0, 10);
}

static int
mount_daemon(struct mount_job *job)
{
	int fd[2], status;
	pid_t pid;

	if (pipe2(fd, O_CLOEXEC) != 0) {
		weir_say("pipe: %s", strerror(errno));
		return WEIR_EXIT_FAILED;
	}
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		weir_say("fork: %s", strerror(errno));
		return WEIR_EXIT_FAILED;
	}
	if (pid == 0) {
		close(fd[0]);
		mount_detach();
		weir_log_setup("weir", true, job->opt.fuse.is_debug ? WEIR_LOG_DEBUG : WEIR_LOG_INFO);
		job->opt.fuse.ready_fd = fd[1];
		_exit(mount_supervise(job));
	}
	close(fd[1]);
	status = mount_await(job, fd[0], pid);
	close(fd[0]);
	if (status != WEIR_EXIT_OK)
		mount_reap(pid);
	else
		weir_target_say_aside(&(struct weir_target){.conf = job->conf, .mountpoint = job->mountpoint});
	return status;
}

static int
mount_fail(enum weir_code r, const struct weir_err *err, int status)
{
	if (err->msg[0] != '\0')
		weir_say("%s", weir_err_text(err, r));
	return status;
}

static int
mount_act(struct mount_job *job)
{
	struct weir_err err = {0};
	enum weir_code r;

	job->conf = weir_cli_conf(job->conf_path);
	if (job->conf == NULL)
		return WEIR_EXIT_CONFIG;
	if (job->target == NULL && (r = mount_default_point(job, &err)))
		return mount_fail(r, &err, r == WEIR_E_INVAL ? WEIR_EXIT_USAGE : WEIR_EXIT_FAILED);
	if (job->conf->nremotes == 0) {
		weir_say("%s: no [remote NAME] in it: there is nothing to mount", job->conf->path);
		return WEIR_EXIT_CONFIG;
	}
	r = mount_check_point(job, &err);
	if (r == WEIR_OK)
		r = mount_check_cache(job, &err);
	if (r == WEIR_OK)
		r = mount_check_remotes(job, &err);
	if (r)
		return mount_fail(r, &err, WEIR_EXIT_FAILED);
	if (job->is_fake)
		return WEIR_EXIT_OK;
	job->opt.fuse.mountpoint = job->mountpoint;
	job->source = weir_xasprintf("%s%s", job->is_helper ? "" : WEIR_MOUNT_MARK, job->conf->path);
	job->opt.fuse.source = job->source;
	job->newconf = weir_newconf_new(job->conf);
	if (job->newconf == NULL) {
		weir_say("shared memory: %s", strerror(errno));
		return WEIR_EXIT_FAILED;
	}
	weir_log_field("WEIR_MOUNTPOINT", job->mountpoint);
	weir_log_field("WEIR_CONF", job->conf->path);
	return job->opt.fuse.is_foreground ? mount_foreground(job) : mount_daemon(job);
}

static void
mount_job_free(struct mount_job *job)
{
	weir_newconf_free(job->newconf);
	weir_conf_free(job->conf);
	free(job->mountpoint);
	free(job->source);
}

/* ---- weir mount ---- */

struct mount_options {
	const char *conf;
	bool is_foreground, is_debug;
	struct weir_opt_list list;
};

static const struct weir_opt mount_opts[] = {
    WEIR_OPT_CONF(struct mount_options),
    {"foreground", 'f', WEIR_OPT_FLAG, offsetof(struct mount_options, is_foreground), NULL, "stay in the foreground, log to standard error"},
    {"debug", 'd', WEIR_OPT_FLAG, offsetof(struct mount_options, is_debug), NULL, "log more"},
    {"options", 'o', WEIR_OPT_LIST, offsetof(struct mount_options, list), "OPTIONS",
	"ro, uid=N, gid=N, umask=OCTAL, allow_other (default for root), and fstab's"},
};

static int
mount_run(const struct weir_verb *verb, int argc, char **argv)
{
	struct mount_options o = {0};
	struct mount_job job = {0};
	struct weir_err err = {0};
	enum weir_code r = WEIR_OK;
	int status, first = weir_opt_parse(verb, &o, argc, argv, &status);

	if (first < 0)
		return status;
	weir_mountopt_default(&job.opt);
	for (size_t i = 0; i < o.list.n && r == WEIR_OK; i++)
		r = weir_mountopt_parse(&job.opt, o.list.v[i], false, &err);
	free(o.list.v);
	if (r)
		return mount_fail(r, &err, WEIR_EXIT_USAGE);
	job.conf_path = o.conf;
	job.target = first < argc ? argv[first] : NULL;
	job.opt.fuse.is_foreground = o.is_foreground;
	job.opt.fuse.is_debug = job.opt.fuse.is_debug || o.is_debug;
	status = mount_act(&job);
	mount_job_free(&job);
	return status;
}

const struct weir_verb weir_verb_mount = {
    .name = "mount",
    .operands = "[MOUNTPOINT]",
    .summary = "mount the storages of a configuration as one tree",
    .opts = mount_opts,
    .nopts = WEIR_LEN(mount_opts),
    .max_operands = 1,
    .run = mount_run,
};

/* ---- mount.weir ---- */

enum { HELPER_USAGE = 1, HELPER_FAILED = 32 };	/* mount(8)'s */

/* mount.weir SOURCE DIRECTORY [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE], in any order. */
int
weir_mount_helper(int argc, char **argv)
{
	struct mount_job job = {.is_helper = true};
	struct weir_err err = {0};
	struct weir_opt_list list = {0};
	bool is_sloppy = false;
	enum weir_code r = WEIR_OK;
	int c, status;

	weir_mountopt_default(&job.opt);
	opterr = 0;
	while ((c = getopt(argc, argv, "sfnvN:o:t:")) != -1) {
		if (c == '?') {
			weir_say("mount.weir: unknown option; it is called by mount(8): mount -t weir FILE MOUNTPOINT [-o OPTIONS]");
			return HELPER_USAGE;
		}
		is_sloppy = is_sloppy || c == 's';
		job.is_fake = job.is_fake || c == 'f';
		if (c == 'o') {
			list.v = weir_xrealloc(list.v, list.n + 1, sizeof(*list.v));
			list.v[list.n++] = optarg;
		}
	}
	if (argc - optind != 2) {
		weir_say("mount.weir: wants a configuration and a mount point: mount -t weir FILE MOUNTPOINT [-o OPTIONS]");
		return HELPER_USAGE;
	}
	for (size_t i = 0; i < list.n && r == WEIR_OK; i++)
		r = weir_mountopt_parse(&job.opt, list.v[i], is_sloppy, &err);
	free(list.v);
	if (r)
		return mount_fail(r, &err, HELPER_USAGE);
	job.conf_path = argv[optind];
	job.target = argv[optind + 1];
	status = mount_act(&job);
	mount_job_free(&job);
	return status == WEIR_EXIT_OK ? 0 : HELPER_FAILED;
}
