/* SPDX-License-Identifier: Apache-2.0 */
/* State folders of jobs. Knows nothing of engines and mounts. */
#include "config.h"

#include "state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../src/util/util.h"

#define STATE_LOCK_TRIES 5
#define STATE_LOCK_STEP_MS 10

#define STATE_MAX (1u << 20)

char *
weir_state_root(void)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

	if (state != NULL && state[0] == '/')
		return weir_xasprintf("%s/weir/jobs", state);
	if (geteuid() == 0 || home == NULL || home[0] != '/')
		return weir_xstrdup("/var/lib/weir/jobs");
	return weir_xasprintf("%s/.local/state/weir/jobs", home);
}

char *
weir_state_file(const struct weir_state *s, const char *name)
{
	return weir_xasprintf("%s/%s", s->dir, name);
}

void
weir_state_free(struct weir_state *s)
{
	if (s == NULL)
		return;
	json_decref(s->v);
	weir_closep(&s->lock_fd);
	free(s->name);
	free(s->dir);
	free(s);
}

static struct weir_state *
state_make(const char *name)
{
	WEIR_AUTO(weir_freep) char *root = weir_state_root();
	struct weir_state *s = weir_xcalloc(1, sizeof(*s));

	s->name = weir_xstrdup(name);
	s->dir = weir_xasprintf("%s/%s", root, name);
	s->lock_fd = -1;
	return s;
}

/* A name that is one folder below the root, and nothing else. */
static bool
state_is_name(const char *name)
{
	return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL && strlen(name) <= 128;
}

/* ---- write ---- */

/* Whole or not at all for every reader. Not synced: after a power cut no job runs any more. */
static int
state_save(const struct weir_state *s)
{
	WEIR_AUTO(weir_freep) char *path = weir_state_file(s, "job.json"), *temp = weir_state_file(s, "job.json.new");
	WEIR_AUTO(weir_freep) char *text = json_dumps(s->v, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
	WEIR_AUTO(weir_closep) int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 || text == NULL || weir_pwrite_full(fd, text, strlen(text), 0) != 0)
		return -1;
	return rename(temp, path);
}

void
weir_state_set(struct weir_state *s, const char *key, json_t *value)
{
	static bool was_said;

	if (s == NULL || s->v == NULL) {
		json_decref(value);
		return;
	}
	json_object_set_new(s->v, key, value);
	if (state_save(s) == 0 || was_said)
		return;
	was_said = true;
	weir_log(WEIR_LOG_WARN, "the job's state cannot be written to '%s': %s", s->dir, strerror(errno));
}

void
weir_state_status(struct weir_state *s, const char *status)
{
	weir_state_set(s, "status", json_string(status));
}

/* ---- locks ---- */

static int
state_open_lock(const char *suffix)
{
	WEIR_AUTO(weir_freep) char *root = weir_state_root();
	WEIR_AUTO(weir_freep) char *path = weir_xasprintf("%s%s.lock", root, suffix);

	if (weir_mkdirs(root, 0700) != 0)
		return -1;	/* making the job's own folder will say why */
	return open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

int
weir_state_admission(void)
{
	int fd = state_open_lock("");

	if (fd >= 0)
		flock(fd, LOCK_EX);
	return fd;
}

int
weir_state_mounting(bool (*gives_up)(void *arg, int64_t waited_ms), void *arg)
{
	int64_t begin = weir_now_ms();
	int fd = state_open_lock("-mount");

	while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0 && !gives_up(arg, weir_now_ms() - begin))
		poll(NULL, 0, 50);
	return fd;
}

static int
state_lock(struct weir_state *s)
{
	WEIR_AUTO(weir_freep) char *path = weir_state_file(s, WEIR_STATE_LOCK);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	/* Who only looks whether it is held holds it for a moment. */
	for (int i = 0; fd >= 0 && i < STATE_LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
			s->lock_fd = fd;
			return 0;
		}
		if (errno != EWOULDBLOCK)
			break;
		poll(NULL, 0, STATE_LOCK_STEP_MS);
		errno = EWOULDBLOCK;
	}
	weir_closep(&fd);
	return -1;
}

bool
weir_state_adopt(struct weir_state *s)
{
	if (s->lock_fd >= 0)
		return true;
	if (state_lock(s) != 0)
		return false;
	s->is_live = false;
	return true;
}

/* A shared try takes nothing from anybody for longer than this call. */
static bool
state_is_locked(const struct weir_state *s)
{
	WEIR_AUTO(weir_freep) char *path = weir_state_file(s, "lock");
	WEIR_AUTO(weir_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

/* ---- read ---- */

const char *
weir_state_text(const struct weir_state *s, const char *key)
{
	const char *text = json_string_value(json_object_get(s->v, key));

	return text != NULL ? text : "";
}

bool
weir_state_is_over(const struct weir_state *s)
{
	const char *status = weir_state_text(s, "status");

	return strcmp(status, "complete") == 0 || strcmp(status, "failed") == 0 || strcmp(status, "stopped") == 0;
}

enum weir_code
weir_state_read(const char *name, struct weir_state **out, struct weir_err *err)
{
	struct weir_state *s;
	WEIR_AUTO(weir_freep) char *path = NULL, *text = NULL;
	size_t len;
	enum weir_code r = WEIR_OK;

	*out = NULL;
	if (!state_is_name(name))
		return weir_err_set(err, WEIR_E_INVAL, "'%s' is not the name of a job", name);
	s = state_make(name);
	path = weir_state_file(s, "job.json");
	if (weir_read_file(path, STATE_MAX, &text, &len) != 0)
		r = errno == ENOENT || errno == ENOTDIR ? weir_err_set(err, WEIR_E_NOENT, "there is no job '%s'; 'weir jobs' lists those there are", name) :
		    weir_err_errno(err, errno, "job '%s': '%s'", name, path);
	else if ((s->v = json_loads(text, 0, NULL)) == NULL || !json_is_object(s->v))
		r = weir_err_set(err, WEIR_E_PROTO, "job '%s': '%s' is not what weir wrote", name, path);
	s->is_live = r == WEIR_OK && state_is_locked(s);
	if (r == WEIR_OK)
		*out = s;
	else
		weir_state_free(s);
	return r;
}

static int
state_order(const void *a, const void *b)
{
	const struct weir_state *const *x = a, *const *y = b;
	double d = json_number_value(json_object_get((*x)->v, "created")) - json_number_value(json_object_get((*y)->v, "created"));

	return d < 0 ? -1 : d > 0 ? 1 : strcmp((*x)->name, (*y)->name);
}

enum weir_code
weir_state_list(struct weir_state ***out, size_t *n, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *root = weir_state_root();
	DIR *dir = opendir(root);
	struct dirent *e;

	*out = NULL;
	*n = 0;
	if (dir == NULL)
		return errno == ENOENT ? WEIR_OK : weir_err_errno(err, errno, "'%s'", root);
	while ((e = readdir(dir)) != NULL) {
		struct weir_err ignored = {0};
		struct weir_state *s;

		if (!state_is_name(e->d_name) || weir_state_read(e->d_name, &s, &ignored) != WEIR_OK)
			continue;
		*out = weir_xrealloc(*out, *n + 1, sizeof(**out));
		(*out)[(*n)++] = s;
	}
	closedir(dir);
	if (*n > 1)
		qsort(*out, *n, sizeof(**out), state_order);
	return WEIR_OK;
}

void
weir_state_list_free(struct weir_state **v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		weir_state_free(v[i]);
	free(v);
}

/* ---- make and remove ---- */

/* Files only, and only in the folder itself: whatever else came there stays, and keeps the folder. */
static int
state_empty(const struct weir_state *s, bool with_lock)
{
	WEIR_AUTO(weir_closep) int fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *dir = fd >= 0 ? fdopendir(dup(fd)) : NULL;
	struct dirent *e;

	if (dir == NULL)
		return -1;
	while ((e = readdir(dir)) != NULL) {
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && (with_lock || strcmp(e->d_name, "lock") != 0))
			unlinkat(fd, e->d_name, 0);
	}
	closedir(dir);
	return 0;
}

enum weir_code
weir_state_remove(struct weir_state *s, struct weir_err *err)
{
	if (!weir_state_adopt(s))
		return weir_err_set(err, WEIR_E_BUSY, "job '%s' is running again", s->name);
	if (state_empty(s, true) != 0 || (rmdir(s->dir) != 0 && errno != ENOENT))
		return weir_err_errno(err, errno, "job '%s': '%s' cannot be removed", s->name, s->dir);
	return WEIR_OK;
}

enum weir_code
weir_state_new(const char *name, struct weir_state **out, struct weir_err *err)
{
	struct weir_state *s = state_make(name);
	enum weir_code r = WEIR_OK;

	*out = NULL;
	if (weir_mkdirs(s->dir, 0700) != 0)
		r = weir_err_errno(err, errno, "a folder for the job's state, '%s'", s->dir);
	else if (state_lock(s) != 0)
		r = errno == EWOULDBLOCK ? weir_err_set(err, WEIR_E_EXIST, "a job of the name '%s' is running already", name) :
		    weir_err_errno(err, errno, "'%s/lock'", s->dir);
	else {
		state_empty(s, false);
		s->v = json_pack("{s:s, s:s, s:f}", "name", name, "status", "queued", "created", (double)weir_wall_ns() / 1e9);
		if (state_save(s) != 0)
			r = weir_err_errno(err, errno, "the job's state cannot be written to '%s'", s->dir);
	}
	if (r == WEIR_OK)
		*out = s;
	else
		weir_state_free(s);
	return r;
}
