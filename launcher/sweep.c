/* SPDX-License-Identifier: Apache-2.0 */
/* After a kill -9: the job's container or processes, its mount, its state.
 *
 * Who is gone is told by locks, never by process numbers: the launcher's on its state folder, and the shared one of every job on the folder of a private mount. */
#include "config.h"

#include "sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../src/control/mounts.h"
#include "jobs.h"
#include "launch.h"
#include "mountspace.h"
#include "state.h"

static void
sweep_tell(json_t *done, const char *fmt, ...) WEIR_PRINTF(2, 3);

static void
sweep_tell(json_t *done, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	if (done == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_array_append_new(done, json_string(text));
}

/* ---- jobs ---- */

static bool
sweep_was_stopped(const struct weir_state *s)
{
	WEIR_AUTO(weir_freep) char *path = weir_state_file(s, WEIR_STATE_STOP);

	return access(path, F_OK) == 0;
}

static void
sweep_note_end(struct weir_state *s)
{
	json_object_set_new(s->v, "error", json_string("its launcher was killed"));
	json_object_set_new(s->v, "exit", json_integer(137));
	json_object_set_new(s->v, "ended", json_real((double)weir_wall_ns() / 1e9));
	weir_state_status(s, sweep_was_stopped(s) ? "stopped" : "failed");
}

int
weir_sweep_job(struct weir_state *s, int64_t grace_ms, json_t *done)
{
	const struct weir_engine *engine = weir_engine_find(weir_state_text(s, "engine"));
	struct weir_job_id id = {.name = s->name, .pid = (pid_t)json_integer_value(json_object_get(s->v, "pid"))};
	struct weir_err err = {0};

	if (!weir_state_adopt(s)) {
		weir_job_say("job '%s' is being taken care of by another weir", s->name);
		return 1;
	}
	/* Also when nothing runs: an engine may keep the container of a job that has ended. */
	if (engine != NULL && engine->end(&id, grace_ms, &err) != 0) {
		weir_job_say("%s", weir_err_text(&err, WEIR_E_IO));
		return 1;
	}
	sweep_note_end(s);
	sweep_tell(done, "job '%s': its launcher was gone; what was left of it is ended", s->name);
	return 0;
}

/* ---- mounts ---- */

bool
weir_mount_is_dead(const char *mountpoint)
{
	struct statfs st;

	return statfs(mountpoint, &st) != 0 && (errno == ENOTCONN || errno == ECONNABORTED);
}

/* A dead one lazily, and by fusermount3 where we are not root. */
static int
sweep_unmount(const char *mountpoint, bool is_dead)
{
	const char *const args[] = {"umount", is_dead ? "--now" : "--quiet", mountpoint, NULL};
	struct weir_job job = {0};

	return weir_child_weir(&job, args, NULL);
}

/* It may be where only its user's namespace sees it. */
static int
sweep_unmount_elsewhere(pid_t pid, const char *mountpoint)
{
	struct weir_err err = {0};
	int status = 1;
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		if (weir_mountspace_enter(pid, &err) == WEIR_OK)
			_exit(sweep_unmount(mountpoint, weir_mount_is_dead(mountpoint)));
		weir_job_say("%s", weir_err_text(&err, WEIR_E_IO));
		_exit(1);
	}
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* only_dead: leave one that could serve the next job. 0, or 1 when something could not be taken away. */
static int
sweep_private(const struct weir_mounts *mounts, const char *dir, bool only_dead, json_t *done)
{
	WEIR_AUTO(weir_freep) char *point = weir_xasprintf("%s" WEIR_STORAGE_POINT, dir);
	WEIR_AUTO(weir_closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	const struct weir_mount *m = weir_mounts_at(mounts, point, NULL);
	bool is_mounted = m != NULL && strcmp(m->mountpoint, point) == 0, is_dead = is_mounted && weir_mount_is_dead(point);
	struct stat st;
	pid_t elsewhere;

	if (fd < 0 || fstat(fd, &st) != 0 || st.st_uid != geteuid() || flock(fd, LOCK_EX | LOCK_NB) != 0)
		return 0;	/* not ours, or a job uses it */
	if (only_dead && !is_dead)
		return 0;
	elsewhere = is_mounted ? 0 : weir_mountspace_find(NULL, point);
	if (is_mounted && sweep_unmount(point, is_dead) != 0)
		return 1;
	if (elsewhere != 0 && sweep_unmount_elsewhere(elsewhere, point) != 0)
		return 1;
	if (is_mounted && is_dead)
		sweep_tell(done, "the mount of %s at '%s' had nobody to serve it and was taken away; what was not sent is in its cache, and the next mount or job with that configuration sends it",
		    m->source, point);
	else if (is_mounted)
		sweep_tell(done, "the mount of %s at '%s', which no job used any more, has sent all and is unmounted", m->source, point);
	else if (elsewhere != 0)
		sweep_tell(done, "the mount at '%s', which no job used any more, has sent all and is unmounted", point);
	/* rmdir only: whatever else may be there stays. */
	if (rmdir(point) != 0 && errno != ENOENT)
		return 0;
	if (rmdir(dir) == 0 && !is_mounted && elsewhere == 0)
		sweep_tell(done, "the empty folder '%s' of a job that is over was removed", dir);
	return 0;
}

static int
sweep_place(const struct weir_mounts *mounts, const char *place, bool only_dead, json_t *done)
{
	int status = 0;
	DIR *d = place != NULL && place[0] == '/' ? opendir(place) : NULL;
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL) {
		WEIR_AUTO(weir_freep) char *dir = weir_xasprintf("%s/%s", place, e->d_name);

		if (strncmp(e->d_name, WEIR_STORAGE_FOLDER, strlen(WEIR_STORAGE_FOLDER)) == 0)
			status |= sweep_private(mounts, dir, only_dead, done);
	}
	if (d != NULL)
		closedir(d);
	return status;
}

int
weir_sweep_mounts(bool only_dead, json_t *done)
{
	int status = 0;
	const char *const places[] = {getenv("XDG_RUNTIME_DIR"), "/run", "/tmp"};
	struct weir_mounts mounts;

	if (weir_mounts_read(&mounts, NULL) != WEIR_OK)
		return 0;
	for (size_t i = 0; i < WEIR_LEN(places); i++)
		status |= sweep_place(&mounts, places[i], only_dead, done);
	weir_mounts_free(&mounts);
	return status;
}

/* ---- folders of staged jobs ---- */

static int
sweep_staged(const struct weir_state *s, json_t *done)
{
	WEIR_AUTO(weir_freep) char *folder = weir_xstrdup(weir_state_text(s, "staged"));

	if (weir_staged_sweep(s) != 0)
		return 1;
	sweep_tell(done, "job '%s': what it had changed in '%s' is sent", s->name, folder);
	return 0;
}

/* ---- all ---- */

void
weir_jobs_reconcile(void)
{
	struct weir_state **v;
	struct weir_err err = {0};
	size_t n;

	if (weir_state_list(&v, &n, &err) != WEIR_OK)
		return;
	for (size_t i = 0; i < n; i++) {
		const struct weir_engine *engine = weir_engine_find(weir_state_text(v[i], "engine"));
		struct weir_job_id id = {.name = v[i]->name, .pid = (pid_t)json_integer_value(json_object_get(v[i]->v, "pid"))};

		if (!v[i]->is_live && !weir_state_is_over(v[i]) && engine != NULL && !engine->is_running(&id) && weir_state_adopt(v[i]))
			sweep_note_end(v[i]);
	}
	weir_state_list_free(v, n);
}

int
weir_jobs_gc(bool is_json)
{
	struct weir_state **v;
	struct weir_err err = {0};
	json_t *done = json_array(), *text;
	size_t n, i;
	int status = 0;

	if (weir_state_list(&v, &n, &err) != WEIR_OK) {
		weir_job_say("%s", weir_err_text(&err, WEIR_E_IO));
		status = 1;
	}
	weir_child_setup();
	for (i = 0; i < n; i++) {
		if (!v[i]->is_live && !weir_state_is_over(v[i]))
			status |= weir_sweep_job(v[i], 5000, done);
		if (!v[i]->is_live && weir_staged_is_left(v[i]))
			status |= sweep_staged(v[i], done);
	}
	weir_state_list_free(v, n);
	weir_sweep_gpus(done);
	status |= weir_sweep_mounts(false, done);
	if (is_json) {
		json_dumpf(done, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		json_array_foreach (done, i, text)
			printf("%s\n", json_string_value(text));
		if (json_array_size(done) == 0 && status == 0)
			printf("nothing was left behind\n");
	}
	json_decref(done);
	return status;
}
