/* SPDX-License-Identifier: Apache-2.0 */
/* Copies: one thread walks, a crew carries files, because a storage answers many requests at once faster than one after the other. A folder's own mode and time
 * are set when everything in it is there, so they are noted and set at the end, the deepest first. */
#include "config.h"

#include "copy.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "../util/text.h"
#include "../util/util.h"
#include "crew.h"

#define COPY_CHUNK (1u << 20)
#define COPY_CARRIERS 8

struct copy_task {
	char *from, *to;
	struct weir_attr attr;
};

struct copy_dir { char *to; struct weir_attr attr; };

struct copy_run {
	struct weir_copy *c;
	const char *followed;		/* the one path that may be a link to a file; NULL: none */
	struct weir_crew crew;
	pthread_mutex_t lock;
	/* under lock, and c->sums */
	enum weir_code first;		/* of the failures; its sentence in err */
	struct weir_err *err;
	/* the walker's */
	struct copy_dir *dirs;
	size_t ndirs;
};

static bool
copy_is_canceled(const struct weir_copy *c)
{
	return c->cancel != NULL && atomic_load(c->cancel);
}

/* ---- names of parts ---- */

/* Process numbers mean something on one boot of one host in one namespace of processes only. */
static uint64_t
copy_here(void)
{
	static const char *const boot = "/proc/sys/kernel/random/boot_id";
	WEIR_AUTO(weir_freep) char *id = NULL;
	char text[256] = "";
	size_t len = 0;
	ssize_t n = readlink("/proc/self/ns/pid", text, 64);

	if (n < 0)
		n = 0;
	if (weir_read_file(boot, 128, &id, &len) == 0)
		snprintf(text + n, sizeof(text) - (size_t)n, "%s", id);
	return XXH3_64bits(text, strlen(text));
}

static char *
copy_part(const char *to)
{
	static atomic_uint number;
	const char *slash = strrchr(to, '/');

	return weir_xasprintf("%.*s" WEIR_COPY_PART "%016" PRIx64 ".%d.%u", (int)(slash + 1 - to), to, copy_here(), (int)getpid(), atomic_fetch_add(&number, 1));
}

struct copy_sweep { struct weir_tree *t; const char *dir; };

static int
copy_sweep_one(void *arg, const char *name, const struct weir_attr *attr)
{
	struct copy_sweep *s = arg;
	WEIR_AUTO(weir_freep) char *path = NULL;
	uint64_t here;
	int pid;

	if (!S_ISREG(attr->mode) || strncmp(name, WEIR_COPY_PART, strlen(WEIR_COPY_PART)) != 0)
		return 0;
	if (sscanf(name + strlen(WEIR_COPY_PART), "%16" SCNx64 ".%d.", &here, &pid) != 2 || here != copy_here() || pid <= 0)
		return 0;
	if (kill(pid, 0) == 0 || errno != ESRCH)
		return 0;
	path = weir_path_join(s->dir, name);
	weir_tree_unlink(s->t, path, NULL);
	return 0;
}

static void
copy_sweep(struct weir_tree *t, const char *dir)
{
	struct copy_sweep s = {.t = t, .dir = dir};

	weir_tree_list(t, dir, copy_sweep_one, &s, NULL);
}

/* ---- one file ---- */

static void
copy_count(struct copy_run *run, uint64_t files, uint64_t bytes)
{
	pthread_mutex_lock(&run->lock);
	run->c->sums.files += files;
	run->c->sums.bytes += bytes;
	if (run->c->moved != NULL)
		run->c->moved(run->c->arg, &run->c->sums);
	pthread_mutex_unlock(&run->lock);
}

static void
copy_hash_text(XXH3_state_t *state, char out[WEIR_COPY_HASH])
{
	XXH128_canonical_t canon;

	XXH128_canonicalFromHash(&canon, XXH3_128bits_digest(state));
	weir_hex(canon.digest, sizeof(canon.digest), out);
}

static enum weir_code
copy_bytes(struct copy_run *run, struct weir_tree_file *in, struct weir_tree_file *out, XXH3_state_t *state, uint64_t *total, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *buf = weir_xcalloc(1, COPY_CHUNK);
	enum weir_code r;
	size_t got;

	for (*total = 0;; *total += got) {
		if (copy_is_canceled(run->c))
			return weir_err_set(err, WEIR_E_INTR, "interrupted");
		r = weir_tree_read(in, buf, COPY_CHUNK, *total, &got, err);
		if (r || got == 0)
			return r;
		XXH3_128bits_update(state, buf, got);
		r = weir_tree_write(out, buf, got, *total, err);
		if (r)
			return r;
		copy_count(run, 0, got);
	}
}

/* Some storages tell a file's own time and mode only together with its bytes: ask again now that these are here. */
static void
copy_exact(struct copy_run *run, const struct copy_task *task, struct weir_copied *done, bool follow)
{
	struct weir_attr attr;

	if (weir_tree_is_local(run->c->from))
		return;
	weir_tree_prefetch(run->c->from, task->from, NULL);
	if (weir_tree_stat(run->c->from, task->from, follow, &attr, NULL) == WEIR_OK && attr.ino == task->attr.ino && attr.size == task->attr.size)
		done->from_attr = attr;
}

static enum weir_code
copy_into_part(struct copy_run *run, const struct copy_task *task, const char *part, struct weir_copied *done, struct weir_err *err)
{
	struct weir_tree_file *in = NULL, *out = NULL;
	int nofollow = run->followed != NULL && strcmp(run->followed, task->from) == 0 ? 0 : O_NOFOLLOW;
	XXH3_state_t *state;
	uint64_t total = 0;
	enum weir_code r, r2;

	r = weir_tree_open_file(run->c->from, task->from, O_RDONLY | nofollow, 0, &in, err);
	if (r == WEIR_OK)
		r = weir_tree_open_file(run->c->to, part, O_WRONLY | O_CREAT | O_EXCL, 0600, &out, err);
	if (r) {
		weir_tree_close_file(in, NULL);
		return r;
	}
	state = XXH3_createState();
	XXH3_128bits_reset(state);
	r = copy_bytes(run, in, out, state, &total, err);
	copy_hash_text(state, done->hash);
	XXH3_freeState(state);
	weir_tree_close_file(in, NULL);
	if (r == WEIR_OK)
		copy_exact(run, task, done, nofollow == 0);
	/* a storage that tells no size (UNSIZED) shows 0 until its first byte was asked for */
	if (r == WEIR_OK && total != task->attr.size && task->attr.size != 0)
		r = weir_err_set(err, WEIR_E_CHANGED, "'%s' was %" PRIu64 " bytes long and ended after %" PRIu64 ": it was changed while it was copied", task->from,
		    task->attr.size, total);
	if (r == WEIR_OK)
		r = weir_tree_set(run->c->to, part, WEIR_SET_MODE | WEIR_SET_MTIME, done->from_attr.mode & 0777, done->from_attr.mtime_ns, err);
	r2 = weir_tree_close_file(out, r == WEIR_OK ? err : NULL);
	return r != WEIR_OK ? r : r2;
}

static enum weir_code
copy_file(struct copy_run *run, const struct copy_task *task, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *part = copy_part(task->to);
	struct weir_copied done = {.from = task->from, .to = task->to, .from_attr = task->attr};
	enum weir_code r = copy_into_part(run, task, part, &done, err);

	if (r == WEIR_OK)
		r = weir_tree_rename(run->c->to, part, task->to, 0, err);
	if (r) {
		weir_tree_unlink(run->c->to, part, NULL);
		return r;
	}
	copy_count(run, 1, 0);
	if (run->c->copied != NULL) {
		pthread_mutex_lock(&run->lock);
		run->c->copied(run->c->arg, &done);
		pthread_mutex_unlock(&run->lock);
	}
	return WEIR_OK;
}

/* ---- carriers ---- */

static void
copy_fail(struct copy_run *run, enum weir_code r, const struct weir_err *err)
{
	pthread_mutex_lock(&run->lock);
	run->c->sums.failures++;
	if (run->first == WEIR_OK) {
		run->first = r;
		if (run->err != NULL)
			*run->err = *err;
	}
	if (run->c->failed != NULL && r != WEIR_E_INTR)
		run->c->failed(run->c->arg, weir_err_text(err, r));
	pthread_mutex_unlock(&run->lock);
}

static void
copy_task_free(struct copy_task *task)
{
	free(task->from);
	free(task->to);
	free(task);
}

static void
copy_carry(void *arg, void *task)
{
	struct copy_run *run = arg;
	struct weir_err err = {0};
	enum weir_code r = copy_is_canceled(run->c) ? weir_err_set(&err, WEIR_E_INTR, "interrupted") : copy_file(run, task, &err);

	if (r)
		copy_fail(run, r, &err);
	copy_task_free(task);
}

static void
copy_add(struct copy_run *run, const char *from, const char *to, const struct weir_attr *attr)
{
	struct copy_task *task = weir_xcalloc(1, sizeof(*task));

	*task = (struct copy_task){.from = weir_xstrdup(from), .to = weir_xstrdup(to), .attr = *attr};
	weir_crew_add(&run->crew, task);
}

/* ---- the walk ---- */

static enum weir_code
copy_link(struct copy_run *run, const char *from, const char *to, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *target = NULL, *there = NULL;
	struct weir_attr attr;
	enum weir_code r = weir_tree_readlink(run->c->from, from, &target, err);

	if (r)
		return r;
	if (weir_tree_stat(run->c->to, to, false, &attr, NULL) == WEIR_OK) {
		if (S_ISLNK(attr.mode) && weir_tree_readlink(run->c->to, to, &there, NULL) == WEIR_OK && strcmp(there, target) == 0)
			return WEIR_OK;
		r = weir_tree_unlink(run->c->to, to, err);
		if (r)
			return r;
	}
	r = weir_tree_symlink(run->c->to, to, target, err);
	if (r == WEIR_OK) {
		pthread_mutex_lock(&run->lock);
		run->c->sums.links++;
		pthread_mutex_unlock(&run->lock);
	}
	return r;
}

static enum weir_code copy_any(struct copy_run *, const char *from, const char *to, const struct weir_attr *, struct weir_err *);

struct copy_walk { struct copy_run *run; const char *from, *to; };

static int
copy_entry(void *arg, const char *name, const struct weir_attr *attr)
{
	struct copy_walk *w = arg;
	WEIR_AUTO(weir_freep) char *from = weir_path_join(w->from, name);
	WEIR_AUTO(weir_freep) char *to = weir_path_join(w->to, name);
	struct weir_err err = {0};
	enum weir_code r;

	if (copy_is_canceled(w->run->c))
		return 1;
	if (strncmp(name, WEIR_COPY_PART, strlen(WEIR_COPY_PART)) == 0)
		return 0;
	r = copy_any(w->run, from, to, attr, &err);
	if (r)
		copy_fail(w->run, r, &err);
	return 0;
}

/* 0700 until everything is in it. */
static enum weir_code
copy_dir(struct copy_run *run, const char *from, const char *to, const struct weir_attr *attr, struct weir_err *err)
{
	struct copy_walk w = {.run = run, .from = from, .to = to};
	struct weir_attr there;
	enum weir_code r = weir_tree_stat(run->c->to, to, true, &there, NULL);

	if (r == WEIR_E_NOENT) {
		r = weir_tree_mkdir(run->c->to, to, (attr->mode & 0777) | 0700, err);
		if (r)
			return r;
		run->dirs = weir_xrealloc(run->dirs, run->ndirs + 1, sizeof(*run->dirs));
		run->dirs[run->ndirs++] = (struct copy_dir){.to = weir_xstrdup(to), .attr = *attr};
	} else if (r)
		return weir_tree_stat(run->c->to, to, true, &there, err);
	else if (!S_ISDIR(there.mode)) {
		WEIR_AUTO(weir_freep) char *label = weir_tree_label(run->c->to, to);

		return weir_err_set(err, WEIR_E_NOTDIR, "'%s' is there already and is not a folder", label);
	} else
		copy_sweep(run->c->to, to);
	pthread_mutex_lock(&run->lock);
	run->c->sums.dirs++;
	pthread_mutex_unlock(&run->lock);
	return weir_tree_list(run->c->from, from, copy_entry, &w, err);
}

static enum weir_code
copy_any(struct copy_run *run, const char *from, const char *to, const struct weir_attr *attr, struct weir_err *err)
{
	struct weir_attr there;

	if (S_ISDIR(attr->mode))
		return copy_dir(run, from, to, attr, err);
	if (weir_tree_stat(run->c->to, to, false, &there, NULL) == WEIR_OK && S_ISDIR(there.mode)) {
		WEIR_AUTO(weir_freep) char *label = weir_tree_label(run->c->to, to);

		return weir_err_set(err, WEIR_E_ISDIR, "'%s' is a folder there", label);
	}
	if (S_ISLNK(attr->mode))
		return copy_link(run, from, to, err);
	if (S_ISREG(attr->mode)) {
		copy_add(run, from, to, attr);
		return WEIR_OK;
	}
	return weir_err_set(err, WEIR_E_NOTSUP, "'%s' is neither file, folder nor link", from);
}

/* What they hold has changed their times; the deepest stand last in the list. */
static void
copy_settle_dirs(struct copy_run *run)
{
	while (run->ndirs > 0) {
		struct copy_dir *d = &run->dirs[--run->ndirs];
		struct weir_err err = {0};
		enum weir_code r = WEIR_OK;

		if (!copy_is_canceled(run->c))
			r = weir_tree_set(run->c->to, d->to, WEIR_SET_MODE | WEIR_SET_MTIME, d->attr.mode & 0777, d->attr.mtime_ns, &err);
		if (r)
			copy_fail(run, r, &err);
		free(d->to);
	}
	free(run->dirs);
}

static void
copy_walk_all(struct copy_run *run, const char *from, const char *to, const struct weir_attr *attr)
{
	struct weir_err err = {0};
	enum weir_code r;

	run->crew = (struct weir_crew){.work = copy_carry, .arg = run};
	if (weir_crew_start(&run->crew, S_ISDIR(attr->mode) ? COPY_CARRIERS : 1) == 0)
		r = weir_err_set(&err, WEIR_E_NOMEM, "no thread can be made");
	else {
		r = copy_any(run, from, to, attr, &err);
		weir_crew_end(&run->crew);
	}
	if (r)
		copy_fail(run, r, &err);
	copy_settle_dirs(run);
}

enum weir_code
weir_copy(struct weir_copy *c, const char *from, const char *to, bool follow, struct weir_err *err)
{
	struct copy_run run = {.c = c, .lock = PTHREAD_MUTEX_INITIALIZER, .err = err};
	struct weir_attr attr;
	enum weir_code r = weir_tree_stat(c->from, from, follow, &attr, err);

	if (r)
		return r;
	/* files below are opened without following: nobody may put a link into the place of one while we walk */
	run.followed = follow ? from : NULL;
	if (!S_ISDIR(attr.mode)) {
		WEIR_AUTO(weir_freep) char *dir = weir_xstrndup(to, (size_t)(strrchr(to, '/') - to));

		copy_sweep(c->to, *dir != '\0' ? dir : "/");
	}
	copy_walk_all(&run, from, to, &attr);
	if (run.first == WEIR_OK && copy_is_canceled(c))
		return weir_err_set(err, WEIR_E_INTR, "interrupted");
	return run.first;
}

enum weir_code
weir_tree_hash(struct weir_tree *t, const char *path, char out[WEIR_COPY_HASH], struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *buf = weir_xcalloc(1, COPY_CHUNK);
	struct weir_tree_file *f = NULL;
	XXH3_state_t *state;
	enum weir_code r = weir_tree_open_file(t, path, O_RDONLY | O_NOFOLLOW, 0, &f, err);
	uint64_t off = 0;
	size_t got = 1;

	if (r)
		return r;
	state = XXH3_createState();
	XXH3_128bits_reset(state);
	while (r == WEIR_OK && got > 0) {
		r = weir_tree_read(f, buf, COPY_CHUNK, off, &got, err);
		XXH3_128bits_update(state, buf, got);
		off += got;
	}
	copy_hash_text(state, out);
	XXH3_freeState(state);
	weir_tree_close_file(f, NULL);
	return r;
}
