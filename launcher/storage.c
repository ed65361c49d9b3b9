/* SPDX-License-Identifier: Apache-2.0 */
/* The mount of a job: one that is there already, or one for jobs alone.
 *
 * A mount for jobs alone lives in a folder PLACE/weir-run.XXXXXX/storage. Jobs that share it hold a shared flock on the folder; whoever
 * can have it exclusively when its job has ended is the last one, and takes the mount away. So a mount whose weir run was killed is
 * used, and ended, by the next. */
#include "config.h"

#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../src/conf/conf.h"
#include "../src/control/mounts.h"
#include "mountspace.h"
#include "state.h"

/* ---- find ---- */

/* The folder of a mount that jobs made, owned, or NULL. */
static char *
storage_private_dir(const char *mountpoint)
{
	char *dir = weir_xstrdup(mountpoint), *slash = strrchr(dir, '/'), *base;

	if (slash != NULL && strcmp(slash, WEIR_STORAGE_POINT) == 0) {
		*slash = '\0';
		base = strrchr(dir, '/');
		if (base != NULL && strncmp(base + 1, WEIR_STORAGE_FOLDER, strlen(WEIR_STORAGE_FOLDER)) == 0)
			return dir;
	}
	free(dir);
	return NULL;
}

static void
storage_forget(struct weir_job *job)
{
	free(WEIR_STEAL(job->mountpoint));
	free(WEIR_STEAL(job->private_dir));
	free(WEIR_STEAL(job->source));
	weir_closep(&job->lock_fd);
	job->lock_fd = -1;
}

/* A mount of this configuration that shows the whole namespace. */
void
weir_storage_find(struct weir_job *job)
{
	struct weir_mounts mounts;
	const struct weir_mount *m;

	storage_forget(job);
	if (weir_mounts_read(&mounts, NULL) != WEIR_OK)
		return;
	m = weir_mounts_of(&mounts, job->o->conf->path);
	/* One that nobody serves any more is none; what is somebody else's is not for our data. */
	if (m != NULL && strcmp(m->root, "/") == 0 && (m->uid == geteuid() || m->uid == 0) && !weir_mount_is_dead(m->mountpoint)) {
		job->mountpoint = weir_xstrdup(m->mountpoint);
		job->private_dir = storage_private_dir(m->mountpoint);
	}
	weir_mounts_free(&mounts);
}

/* ---- where users cannot mount ---- */

static bool
storage_needs_mountspace(const struct weir_job *job)
{
	return job->mountpoint == NULL && weir_mountspace_is_needed();
}

static int
storage_can_mount(struct weir_job *job)
{
	weir_storage_find(job);
	if (!storage_needs_mountspace(job) || job->engine->sees_our_mounts)
		return 0;
	weir_job_say("fusermount3 is not installed, so you cannot mount, and engine '%s' does not see what weir could mount without it: have root install "
		     "package fuse3, or use --storage-mode stage, or an engine that sees it (charliecloud, apptainer, none)",
	    job->engine->name);
	return WEIR_JOB_MOUNT;
}

static int
storage_enter_mountspace(struct weir_job *job)
{
	pid_t pid = weir_mountspace_find(job->o->conf->path, NULL);
	struct weir_err err = {0};
	enum weir_code r = weir_mountspace_enter(pid, &err);

	/* The mount may have ended since, and the namespace with it. */
	if (r != WEIR_OK && pid != 0)
		r = weir_mountspace_enter(0, &err);
	if (r == WEIR_OK) {
		weir_storage_find(job);
		return 0;
	}
	weir_job_say("%s; fusermount3 is not installed, so there is no other way to mount: have root install package fuse3, or use --storage-mode stage",
	    weir_err_text(&err, r));
	return WEIR_JOB_MOUNT;
}

/* ---- check ---- */

/* Every remote must answer before anything is started: a job that finds half its data is worse than none. */
int
weir_storage_check(struct weir_job *job)
{
	const char *const args[] = {"check", "--json", "-c", job->o->conf->path, NULL};
	WEIR_AUTO(weir_freep) char *text = NULL;
	int status = job->is_staged ? 0 : storage_can_mount(job);
	json_t *answer, *remote;
	size_t i;

	if (status != 0)
		return status;
	status = weir_child_weir(job, args, &text);
	answer = text != NULL ? json_loads(text, 0, NULL) : NULL;
	json_array_foreach (json_object_get(answer, "remotes"), i, remote) {
		const char *error = json_string_value(json_object_get(remote, "error"));
		const char *name = json_string_value(json_object_get(remote, "name"));
		WEIR_AUTO(weir_freep) char *head = weir_xasprintf("remote '%s': ", name != NULL ? name : "");

		if (error == NULL || error[0] == '\0')
			continue;
		weir_job_say("%s%s", strncmp(error, head, strlen(head)) == 0 ? "" : head, error);
	}
	if (status != 0 && job->signal == 0)
		weir_job_say(answer != NULL ? "the storage is not ready, so the job was not started" :
		    "the storage could not be asked, so the job was not started");
	json_decref(answer);
	return status == 0 ? 0 : WEIR_JOB_STORAGE;
}

/* ---- take ---- */

static bool
storage_is_mounted(const struct weir_job *job)
{
	struct weir_mounts mounts;
	const struct weir_mount *m;
	bool is_mounted;

	if (weir_mounts_read(&mounts, NULL) != WEIR_OK)
		return false;
	m = weir_mounts_at(&mounts, job->mountpoint, NULL);
	is_mounted = m != NULL && strcmp(m->mountpoint, job->mountpoint) == 0;
	weir_mounts_free(&mounts);
	return is_mounted;
}

/* Join the users of a jobs' mount. It may have been taken away while we waited for the lock; then there is none. */
static bool
storage_join(struct weir_job *job)
{
	job->lock_fd = open(job->private_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (job->lock_fd >= 0 && flock(job->lock_fd, LOCK_SH) == 0 && storage_is_mounted(job))
		return true;
	storage_forget(job);
	return false;
}

static bool
storage_is_usable_place(const char *dir)
{
	return dir != NULL && dir[0] == '/' && access(dir, W_OK | X_OK) == 0;
}

static int
storage_mount(struct weir_job *job)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	const char *place = storage_is_usable_place(runtime) ? runtime : geteuid() == 0 && storage_is_usable_place("/run") ? "/run" : "/tmp";
	WEIR_AUTO(weir_freep) char *dir = weir_xasprintf("%s/" WEIR_STORAGE_FOLDER "XXXXXX", place);
	WEIR_AUTO(weir_freep) char *point = NULL;

	if (mkdtemp(dir) == NULL) {
		weir_job_say("a folder for the job's mount in '%s': %s", place, strerror(errno));
		return WEIR_JOB_MOUNT;
	}
	point = weir_xasprintf("%s" WEIR_STORAGE_POINT, dir);
	if (mkdir(point, 0700) == 0) {
		const char *const args[] = {"mount", "-c", job->o->conf->path, point, NULL};

		job->lock_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (job->lock_fd >= 0)
			flock(job->lock_fd, LOCK_SH);
		if (weir_child_weir(job, args, NULL) == 0) {
			job->private_dir = WEIR_STEAL(dir);
			job->mountpoint = WEIR_STEAL(point);
			return 0;
		}
		rmdir(point);
	}
	rmdir(dir);
	storage_forget(job);
	return WEIR_JOB_MOUNT;
}

/* What is there for jobs is looked at again, so that what another host sent is seen. */
static int
storage_refresh(struct weir_job *job)
{
	const char *const args[] = {"refresh", job->source, NULL};
	struct stat st;

	if (stat(job->source, &st) != 0) {
		weir_job_say("--storage '%s': %s", job->path, strerror(errno));
		return WEIR_JOB_STORAGE;
	}
	if (!S_ISDIR(st.st_mode)) {
		weir_job_say("--storage '%s' is not a folder", job->path);
		return WEIR_JOB_STORAGE;
	}
	return weir_child_weir(job, args, NULL) == 0 ? 0 : WEIR_JOB_STORAGE;
}

static bool
storage_gives_up(void *arg, int64_t waited_ms)
{
	bool *is_said = arg;

	if (waited_ms >= 5000 && !*is_said) {
		*is_said = true;
		weir_job_say("waiting for another job that is mounting");
	}
	return weir_child_pending() != 0;
}

int
weir_storage_take(struct weir_job *job)
{
	bool is_said = false;
	WEIR_AUTO(weir_closep) int turn = weir_state_mounting(storage_gives_up, &is_said);
	int status = weir_child_pending();

	if (status != 0)
		return status;
	weir_storage_find(job);
	if (storage_needs_mountspace(job))
		status = storage_enter_mountspace(job);
	if (job->private_dir != NULL)
		storage_join(job);
	if (status == 0 && job->mountpoint == NULL)
		status = storage_mount(job);
	if (status != 0)
		return status;
	weir_closep(&turn);
	turn = -1;
	weir_state_set(job->state, "mountpoint", json_string(job->mountpoint));
	job->source = weir_xasprintf("%s%s", job->mountpoint, strcmp(job->path, "/") == 0 ? "" : job->path);
	return storage_refresh(job);
}

/* ---- flush and release ---- */

int
weir_storage_flush(struct weir_job *job)
{
	const char *const args[] = {"flush", job->source, job->o->is_quiet ? "--quiet" : NULL, NULL};

	if (weir_child_weir(job, args, NULL) == 0)
		return 0;
	job->is_unsent = true;
	weir_job_say("the job ended with status %d, but not all that it wrote could be sent; nothing is lost: it is kept in '%s', and "
		     "'weir mount -c %s MOUNTPOINT' sends it",
	    job->status, job->o->conf->cache_dir, job->o->conf->path);
	return WEIR_JOB_UNSENT;
}

/* Without waiting for what could not be sent: that has been said, and is kept. */
void
weir_storage_release(struct weir_job *job)
{
	const char *const args[] = {"umount", job->is_unsent || !job->was_started ? "--now" : "--quiet", job->mountpoint, NULL};

	if (job->private_dir == NULL || job->lock_fd < 0 || flock(job->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		storage_forget(job);	/* not ours, or another job goes on with it */
		return;
	}
	if (weir_child_weir(job, args, NULL) == 0) {
		rmdir(job->mountpoint);
		rmdir(job->private_dir);
	}
	storage_forget(job);
}
