/* SPDX-License-Identifier: Apache-2.0 */
/* What is too old is asked for again: the list first, then metadata, a few at a time. Workers share nothing but the queue (struct fetch_queue, under its
 * lock): an entry belongs to the worker that took it until all have ended. */
#include "config.h"

#include "impl.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "../../src/util/text.h"

#define FETCH_WORKERS 8
#define FETCH_TREE_MAX (4u << 20)	/* bytes of all paths of a catalogue's repository */
#define FETCH_TIRED 3			/* failures before the first success after which nobody else is asked */
#define FETCH_TICK_MS 100
#define FETCH_LIMIT_MS 90000	/* when nobody asked for it: what has not come by then comes next time */

/* ---- the list ---- */

/* Modules that live in the catalogue's own repository: FOLDER/ai4-metadata.yml. */
static void
fetch_tree(const struct weir_fetch *f, const char *dir, struct weir_entries *out)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf files = WEIR_BUF(FETCH_TREE_MAX);
	const char *path, *end;

	if (weir_git_files(dir, &files, NULL) != WEIR_OK)
		return;
	end = weir_buf_str(&files) + files.len;
	for (path = weir_buf_str(&files); path < end && out->n < WEIR_ENTRIES_MAX; path += strlen(path) + 1) {
		const char *slash = strchr(path, '/');
		WEIR_AUTO(weir_freep) char *name = slash != NULL ? weir_xstrndup(path, (size_t)(slash - path)) : NULL;
		struct weir_buf text = {0};
		struct weir_entry *e;

		if (slash == NULL || strcmp(slash + 1, WEIR_METADATA_FILE) != 0 || !weir_list_is_name(name) || weir_entries_find(out, name) != NULL)
			continue;
		e = weir_entries_add(out, name);
		e->path = weir_xstrdup(name);
		e->fetched_s = e->tried_s = f->now_s;
		if (weir_git_file(dir, path, WEIR_METADATA_MAX, &text, NULL) == WEIR_OK) {
			e->len = text.len;
			e->text = weir_buf_take(&text);
		} else
			e->error = weir_xasprintf("its %s cannot be read", WEIR_METADATA_FILE);
		weir_buf_free(&text);
		weir_cache_put(f->cache, e);
	}
}

static enum weir_code
fetch_list_git(struct weir_fetch *f, const char *url, struct weir_entries *out, struct weir_err *err)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf text = {0};
	char *dir = NULL;
	enum weir_code r = weir_git_clone(f->cache->dir, url, NULL, f->place->is_here, &dir, err);

	if (r != WEIR_OK)
		return r;
	r = weir_git_file(dir, WEIR_LIST_FILE, WEIR_LIST_MAX, &text, err);
	if (r == WEIR_OK)
		weir_list_parse(f->place, weir_buf_str(&text), text.len, out);
	if (r == WEIR_OK || r == WEIR_E_NOENT) {
		fetch_tree(f, dir, out);
		r = out->n > 0 ? WEIR_OK : weir_err_set(err, WEIR_E_NOENT, "it is no catalogue: it has neither a " WEIR_LIST_FILE " nor a folder with " WEIR_METADATA_FILE);
	}
	weir_git_remove(dir);
	return r;
}

static enum weir_code
fetch_list_http(struct weir_fetch *f, struct weir_entries *out, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *url = weir_xasprintf("%s/" WEIR_LIST_FILE, f->place->base);
	WEIR_AUTO(weir_buf_free) struct weir_buf text = {0};
	enum weir_code r = weir_get(f->getter, url, WEIR_LIST_MAX, &text, err);

	if (r != WEIR_OK)
		return r;
	weir_list_parse(f->place, weir_buf_str(&text), text.len, out);
	if (out->n == 0)
		return weir_err_set(err, WEIR_E_PROTO, "what it has as " WEIR_LIST_FILE " lists no module");
	return WEIR_OK;
}

static bool
fetch_same(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* What is known of a module stays, as long as it is the same one. */
static void
fetch_keep(struct weir_entry *to, struct weir_entry *from)
{
	if (from == NULL || to->bad != NULL || from->bad != NULL || to->url == NULL || !fetch_same(to->url, from->url) || !fetch_same(to->branch, from->branch))
		return;
	to->text = WEIR_STEAL(from->text);
	to->error = WEIR_STEAL(from->error);
	to->len = from->len;
	to->fetched_s = from->fetched_s;
	to->tried_s = from->tried_s;
	to->is_none = from->is_none;
}

enum weir_code
weir_fetch_list(struct weir_fetch *f, struct weir_err *err)
{
	struct weir_entries fresh = {0};
	struct weir_err why = {0};
	enum weir_code r;

	if (f->o->progress != NULL)
		f->o->progress(f->o->progress_arg, 0, 0, "the list");
	r = f->place->kind == WEIR_PLACE_GIT ? fetch_list_git(f, f->place->base, &fresh, &why) : fetch_list_http(f, &fresh, &why);
	/* A forge's repository may be a catalogue without a list, of folders: that takes git. */
	if (r == WEIR_E_NOENT && f->place->kind == WEIR_PLACE_FORGE)
		r = fetch_list_git(f, f->place->url, &fresh, &why);
	f->cache->tried_s = f->now_s;
	free(WEIR_STEAL(f->cache->error));
	if (r != WEIR_OK) {
		weir_entries_free(&fresh);
		f->cache->error = weir_xstrdup(weir_err_text(&why, r));
		return weir_err_set(err, r, "catalogue %s: %s", f->place->url, f->cache->error);
	}
	for (size_t i = 0; i < fresh.n; i++)
		fetch_keep(&fresh.v[i], weir_entries_find(f->entries, fresh.v[i].name));
	weir_entries_free(f->entries);
	*f->entries = fresh;
	f->cache->fetched_s = f->now_s;
	return WEIR_OK;
}

/* ---- one module ---- */

/* The next address to try, owned; NULL: no more. */
static char *
fetch_address(const struct weir_fetch *f, const struct weir_entry *e, int attempt)
{
	/* The platform takes a module without a branch for one on "master". */
	const char *branch = attempt == 1 ? (e->branch != NULL ? e->branch : "master") : "HEAD";
	char *raw, *url;

	if (attempt == 0)
		return f->place->kind == WEIR_PLACE_HTTP ? weir_xasprintf("%s/%s/" WEIR_METADATA_FILE, f->place->base, e->path) : weir_xstrdup("");
	if (attempt > 2 || (attempt == 2 && e->branch != NULL))
		return NULL;
	raw = weir_place_raw(e->url, branch, f->raw);
	if (raw == NULL)
		return NULL;
	url = weir_xasprintf("%s/" WEIR_METADATA_FILE, raw);
	free(raw);
	return url;
}

static enum weir_code
fetch_by_git(const struct weir_fetch *f, const struct weir_entry *e, struct weir_buf *text, struct weir_err *err)
{
	char *dir = NULL;
	enum weir_code r = weir_git_clone(f->cache->dir, e->url, e->branch, f->place->is_here, &dir, err);

	if (r == WEIR_OK)
		r = weir_git_file(dir, WEIR_METADATA_FILE, WEIR_METADATA_MAX, text, err);
	weir_git_remove(dir);
	return r;
}

static enum weir_code
fetch_text(const struct weir_fetch *f, const struct weir_entry *e, struct weir_buf *text, struct weir_err *err)
{
	enum weir_code r = WEIR_E_NOENT;
	bool has_forge = false;
	char *url;

	for (int attempt = 0; r == WEIR_E_NOENT && (url = fetch_address(f, e, attempt)) != NULL; attempt++) {
		has_forge |= attempt > 0;
		if (*url != '\0')
			r = weir_get(f->getter, url, WEIR_METADATA_MAX, text, err);
		free(url);
	}
	return r == WEIR_E_NOENT && !has_forge ? fetch_by_git(f, e, text, err) : r;
}

static void
fetch_settle(const struct weir_fetch *f, struct weir_entry *e, enum weir_code r, struct weir_buf *text, const struct weir_err *why)
{
	bool is_answer = r == WEIR_OK || r == WEIR_E_NOENT;

	e->tried_s = f->now_s;
	free(WEIR_STEAL(e->error));
	if (is_answer) {
		free(WEIR_STEAL(e->text));
		e->fetched_s = f->now_s;
		e->is_none = r == WEIR_E_NOENT;
		e->len = text->len;
		e->text = r == WEIR_OK ? weir_buf_take(text) : NULL;
		weir_cache_put(f->cache, e);
	}
	if (r == WEIR_E_NOENT)
		e->error = weir_xstrdup("its repository has no " WEIR_METADATA_FILE);
	else if (r != WEIR_OK)
		e->error = weir_xstrdup(weir_err_text(why, r));
}

/* ---- several at once ---- */

struct fetch_queue {
	const struct weir_fetch *f;
	struct weir_entry **v;
	size_t n;
	pthread_mutex_t lock;
	pthread_cond_t moved;
	/* under the lock */
	size_t taken, done, running, failures;
	bool has_success, is_stopping, is_interrupted;
	struct weir_err why;		/* of the failure that made us tired */
	const char *what;
};

static bool
fetch_is_tired(const struct fetch_queue *q)
{
	return !q->has_success && q->failures >= FETCH_TIRED;
}

static void
fetch_one(struct fetch_queue *q, struct weir_entry *e)
{
	struct weir_buf text = {0};
	struct weir_err why = {0};
	enum weir_code r;
	bool is_tired;

	pthread_mutex_lock(&q->lock);
	is_tired = fetch_is_tired(q);
	if (is_tired)
		why = q->why;
	pthread_mutex_unlock(&q->lock);
	r = is_tired ? why.code : fetch_text(q->f, e, &text, &why);
	if (r != WEIR_E_CANCELED)
		fetch_settle(q->f, e, r, &text, &why);
	weir_buf_free(&text);
	pthread_mutex_lock(&q->lock);
	if (r == WEIR_OK || r == WEIR_E_NOENT)
		q->has_success = true;
	else {
		q->failures++;
		q->why = why;
		q->why.code = r;
	}
	q->done++;
	q->what = e->name;
	pthread_cond_signal(&q->moved);
	pthread_mutex_unlock(&q->lock);
}

static void *
fetch_worker(void *arg)
{
	struct fetch_queue *q = arg;

	for (;;) {
		struct weir_entry *e = NULL;

		pthread_mutex_lock(&q->lock);
		if (!q->is_stopping && q->taken < q->n)
			e = q->v[q->taken++];
		else {
			q->running--;
			pthread_cond_signal(&q->moved);
		}
		pthread_mutex_unlock(&q->lock);
		if (e == NULL)
			return NULL;
		fetch_one(q, e);
	}
}

/* Tells, and notices signals that the launcher has blocked, while the workers work. Called with the lock. */
static void
fetch_watch(struct fetch_queue *q)
{
	const struct weir_catalogue_options *o = q->f->o;
	int64_t end = weir_now_ms() + FETCH_LIMIT_MS;

	while (q->running > 0) {
		struct timespec until;
		const char *what = q->what;
		size_t done = q->done;

		pthread_mutex_unlock(&q->lock);
		if (o->progress != NULL)
			o->progress(o->progress_arg, done, q->n, what);
		if (weir_child_pending() != 0)
			weir_getter_cancel(q->f->getter);
		pthread_mutex_lock(&q->lock);
		q->is_interrupted |= weir_child_pending() != 0;
		q->is_stopping |= q->is_interrupted || (!o->is_forced && weir_now_ms() > end);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += FETCH_TICK_MS * 1000000L;
		until.tv_sec += until.tv_nsec / 1000000000L;
		until.tv_nsec %= 1000000000L;
		if (q->running > 0 && q->done == done)
			pthread_cond_timedwait(&q->moved, &q->lock, &until);
	}
}

static void
fetch_run(struct fetch_queue *q)
{
	pthread_t threads[FETCH_WORKERS];
	size_t n = 0, wanted = q->n < FETCH_WORKERS ? q->n : FETCH_WORKERS;

	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->moved, NULL);
	pthread_mutex_lock(&q->lock);
	while (n < wanted && pthread_create(&threads[n], NULL, fetch_worker, q) == 0)
		n++;
	q->running = n;
	fetch_watch(q);
	pthread_mutex_unlock(&q->lock);
	for (size_t i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	if (q->f->o->progress != NULL)
		q->f->o->progress(q->f->o->progress_arg, q->done, q->n, NULL);
	pthread_cond_destroy(&q->moved);
	pthread_mutex_destroy(&q->lock);
}

/* ---- which ---- */

static bool
fetch_is_wanted(const struct weir_fetch *f, const struct weir_entry *e)
{
	int64_t age = e->is_none ? WEIR_CATALOGUE_LIST_AGE_S : WEIR_CATALOGUE_METADATA_AGE_S;
	const char *const *only = f->o->only;

	if (e->bad != NULL || e->url == NULL || e->is_local)
		return false;
	while (only != NULL && *only != NULL && strcasecmp(*only, e->name) != 0)
		only++;
	if (only != NULL && *only == NULL)
		return false;
	if (f->o->is_forced)
		return true;
	if (f->now_s - e->fetched_s < age)
		return false;
	return e->error == NULL || e->is_none || f->now_s - e->tried_s >= WEIR_CATALOGUE_RETRY_S;
}

/* One sentence about all that failed. */
static void
fetch_tell(struct weir_fetch *f, const struct fetch_queue *q)
{
	size_t failed = 0;
	const char *why = NULL;

	for (size_t i = 0; i < q->n; i++) {
		if (q->v[i]->error != NULL && !q->v[i]->is_none) {
			failed++;
			why = q->v[i]->error;
		}
	}
	if (q->taken < q->n && f->word == NULL)
		f->word = weir_xasprintf("%zu modules have not been asked for yet: it takes long; weir modules fetch waits for all", q->n - q->taken);
	else if (failed > 0 && f->word == NULL)
		f->word = weir_xasprintf("the metadata of %zu %s could not be fetched (%s)", failed, failed == 1 ? "module" : "modules", why);
}

enum weir_code
weir_fetch_metadata(struct weir_fetch *f, struct weir_err *err)
{
	struct fetch_queue q = {.f = f, .v = weir_xcalloc(f->entries->n + 1, sizeof(*q.v))};

	for (size_t i = 0; i < f->entries->n; i++) {
		if (fetch_is_wanted(f, &f->entries->v[i]))
			q.v[q.n++] = &f->entries->v[i];
	}
	if (q.n > 0) {
		fetch_run(&q);
		fetch_tell(f, &q);
	}
	free(q.v);
	return q.is_interrupted ? weir_err_set(err, WEIR_E_INTR, "interrupted") : WEIR_OK;
}
