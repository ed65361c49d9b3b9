/* SPDX-License-Identifier: Apache-2.0 */
/* Listings: when to ask, shallow or deep, and feeding what comes to merge.c in batches.
 *
 * A deep (flat) listing shows a whole subtree in the byte order of paths, a thousand names a request; it replaces the shallow listings of many small
 * directories once somebody is seen walking them. A directory is complete as soon as a name outside of it follows. */
#include "config.h"

#include "internal.h"

#include <stdio.h>
#include <string.h>

#define BATCH 500
#define WALK_WINDOW_MS 3000
#define WALK_COUNT 3
#define WATCHED_MS (3600 * 1000)	/* feeds and versions have gaps (shares, permissions): now and then a touch looks anyway */

/* ---- freshness ---- */

static int64_t
list_age_ms(const struct weir_remote *r)
{
	unsigned caps = weir_backend_caps(r->be);

	if (caps & WEIR_CAP_LOCAL)
		return r->conf->list_age_ms < 1000 ? r->conf->list_age_ms : 1000;
	if (watch_is_on(r))
		return WATCHED_MS;
	return r->conf->list_age_ms;
}

static bool
is_remote_dir(const struct weir_node *n)
{
	return n->remote && (n->rparent || (n->flags & WEIR_N_ROOT));
}

bool
weir_sync_is_fresh(struct weir_sync *sy, const struct weir_node *n)
{
	struct weir_remote *r = weir_sync_remote(sy, n->remote);
	int64_t age;

	if (!r || !is_remote_dir(n))
		return true;
	watch_used(r);
	if (!n->listed_ms)
		return false;
	if (remote_usable(r))
		return true;
	age = weir_wall_ns() / 1000000 - n->listed_ms;
	return age >= 0 && age < list_age_ms(r);
}

uint32_t
weir_sync_valid_ms(struct weir_sync *sy, const struct weir_node *n)
{
	struct weir_remote *r = weir_sync_remote(sy, n->remote);
	int64_t left;

	if (!r || !is_remote_dir(n))
		return 60000;
	watch_used(r);
	left = n->listed_ms + list_age_ms(r) - weir_wall_ns() / 1000000;
	if (left > 60000)
		return 60000;
	return left < 500 ? 500 : (uint32_t)left;
}

/* ---- one listing ---- */

struct frame {
	struct merge m;
	size_t prefix;			/* bytes of the path below the listed directory, with the slash; 0 for itself */
};

struct item { char *path, *id, *version; struct weir_stat st; };

struct list_run {
	struct weir_remote *r;
	struct listing *l;
	struct frame *frames;		/* the directories that are open now, deepest last */
	size_t nframes, frames_cap;
	char path[4096];		/* of the deepest frame, with its slash */
	struct item batch[BATCH];
	size_t nbatch;
};

static void
frame_push(struct list_run *run, uint64_t dir, const char *path)
{
	struct weir_store *st = run->r->sy->st;
	struct weir_node n;
	struct frame *f;

	if (run->nframes == run->frames_cap) {
		run->frames_cap = run->frames_cap ? run->frames_cap * 2 : 8;
		run->frames = weir_xrealloc(run->frames, run->frames_cap, sizeof(*run->frames));
	}
	f = &run->frames[run->nframes++];
	memset(f, 0, sizeof(*f));
	f->m.r = run->r;
	f->m.l = run->l;
	f->m.dir = dir;
	f->m.max_id = UINT64_MAX;
	if (!weir_node_get(st, dir, &n))
		f->m.was_listed = n.listed_ms != 0;
	snprintf(run->path, sizeof(run->path), "%s", path);
	f->prefix = strlen(path);
}

static enum weir_code
frame_pop(struct list_run *run, const char *self_version, struct weir_err *err)
{
	struct frame *f = &run->frames[--run->nframes];
	enum weir_code r = merge_end(&f->m, self_version, err);

	free(f->m.seen);
	run->path[run->nframes ? run->frames[run->nframes - 1].prefix : 0] = 0;
	return r;
}

static enum weir_code
merge_one(struct list_run *run, const char *name, const struct weir_stat *st, uint64_t *node, struct weir_err *err)
{
	bool stale;
	struct weir_node n;
	enum weir_code r = merge_entry(&run->frames[run->nframes - 1].m, name, st, node, &stale, err);

	/* A directory whose version differs has changed inside: look there as well, if anybody ever did. */
	if (!r && stale && *node && !weir_node_get(run->r->sy->st, *node, &n))
		r = watch_mark(run->r, &n, err);
	return r;
}

/* Leave frames that the path is not in, enter those it goes through, merge the last component. */
static enum weir_code
deep_entry(struct list_run *run, const char *path, const struct weir_stat *st, struct weir_err *err)
{
	const struct weir_stat implied = { .type = WEIR_DIR, .size = WEIR_SIZE_NONE, .mtime_ns = WEIR_TIME_NONE, .mode = WEIR_MODE_NONE };
	const char *slash;
	uint64_t node;
	enum weir_code r;

	while (run->nframes > 1 && strncmp(path, run->path, run->frames[run->nframes - 1].prefix) != 0)
		if ((r = frame_pop(run, NULL, err)))
			return r;
	while ((slash = strchr(path + run->frames[run->nframes - 1].prefix, '/'))) {
		size_t at = run->frames[run->nframes - 1].prefix, len = (size_t)(slash - path) - at;
		char name[WEIR_RNAME_MAX + 1], sub[4096];

		if (len == 0 || len > WEIR_RNAME_MAX || (size_t)(slash - path) + 1 >= sizeof(sub))
			return WEIR_OK;
		memcpy(name, path + at, len);
		name[len] = 0;
		if ((r = merge_one(run, name, &implied, &node, err)))
			return r;
		if (!node)
			return WEIR_OK;
		snprintf(sub, sizeof(sub), "%.*s/", (int)(slash - path), path);
		frame_push(run, node, sub);
	}
	r = merge_one(run, path + run->frames[run->nframes - 1].prefix, st, &node, err);
	if (!r && st->type == WEIR_DIR && node) { /* a marker: the directory is known now, even if nothing follows in it */
		char sub[4096];

		if (snprintf(sub, sizeof(sub), "%s/", path) < (int)sizeof(sub))
			frame_push(run, node, sub);
	}
	return r;
}

static void
batch_clear(struct list_run *run)
{
	for (size_t i = 0; i < run->nbatch; i++) {
		free(run->batch[i].path);
		free(run->batch[i].id);
		free(run->batch[i].version);
	}
	run->nbatch = 0;
}

static void
wake_listing(struct list_run *run)
{
	struct listing *l = run->l;

	weir_wake_all(&l->waiters, WEIR_OK);
}

static enum weir_code
batch_merge(struct list_run *run, bool is_last, const char *self_version, struct weir_err *err)
{
	struct weir_store *st = run->r->sy->st;
	enum weir_code r;

	weir_store_lock(st);
	if (!(r = weir_store_begin(st, err))) {
		for (size_t i = 0; !r && i < run->nbatch; i++) {
			struct item *it = &run->batch[i];

			it->st.id = it->id;
			it->st.version = it->version;
			if (run->l->is_deep)
				r = deep_entry(run, it->path, &it->st, err);
			else {
				uint64_t node;

				r = merge_one(run, it->path, &it->st, &node, err);
			}
		}
		while (!r && is_last && run->nframes)
			r = frame_pop(run, run->nframes == 1 ? self_version : NULL, err);
		if (!r && is_last && !run->l->is_outdated && run->r->watch.how != WEIR_WATCH_AGE)
			r = weir_again_drop(st, run->l->dir, err);
		if (r)
			weir_store_rollback(st);
		else
			r = weir_store_commit(st, err);
	}
	if (!r)
		wake_listing(run);
	weir_store_unlock(st);
	batch_clear(run);
	return r;
}

static enum weir_code
list_emit(void *arg, const struct weir_stat *st, struct weir_err *err)
{
	struct list_run *run = arg;
	struct item *it = &run->batch[run->nbatch++];

	it->st = *st;
	it->path = weir_xstrdup(st->path);
	it->id = weir_xstrdup(st->id);
	it->version = weir_xstrdup(st->version);
	it->st.path = it->st.sum = NULL;
	if (run->nbatch == BATCH)
		return batch_merge(run, false, NULL, err);
	return WEIR_OK;
}

static void
listing_unlink(struct weir_remote *r, struct listing *l)
{
	struct listing **p;

	for (p = &r->listings; *p != l; p = &(*p)->next)
		;
	*p = l->next;
	for (size_t i = 0; i < l->ntouched; i++)
		free(l->touched[i]);
	free(l->touched);
}

/* A directory that is not there any more: its parent's listing will show that. */
static void
listing_missing(struct weir_remote *r, uint64_t dir)
{
	struct weir_store *st = r->sy->st;
	struct weir_node n, up;

	if (weir_node_get(st, dir, &n) || weir_store_begin(st, NULL))
		return;
	if (n.flags & (WEIR_N_ROOT | WEIR_N_BIND)) {
		n.listed_ms = weir_wall_ns() / 1000000;
		weir_node_update(st, &n, NULL);
	} else if (!weir_node_get(st, n.rparent, &up)) {
		if (r->watch.how != WEIR_WATCH_AGE)
			watch_mark(r, &up, NULL);
		up.listed_ms = up.listed_ms ? 1 : 0; /* 0 would say that nobody has ever been told of what is in it */
		weir_node_update(st, &up, NULL);
		news_entry(r, n.parent ? n.parent : up.id, n.name);
	}
	weir_store_commit(st, NULL);
}

static void
list_run_job(struct weir_remote *r, struct job *j)
{
	struct listing *l = (struct listing *)((char *)j - offsetof(struct listing, job));
	struct weir_store *st = r->sy->st;
	struct list_run *run = weir_xcalloc(1, sizeof(*run));
	struct weir_ctx ctx = { .cancel = &r->cancel };
	struct weir_err err = { 0 };
	struct weir_where where;
	struct weir_node n;
	struct place p = { 0 };
	char *self = NULL;
	enum weir_code code = WEIR_E_NOENT;

	run->r = r;
	run->l = l;
	weir_store_lock(st);
	if (!weir_node_get(st, l->dir, &n) && place_of(st, &n, &p)) {
		frame_push(run, l->dir, "");
		code = WEIR_OK;
	}
	weir_store_unlock(st);
	if (!code) {
		place_where(&p, &where);
		where.version = NULL;
		code = r->be->ops->list(r->be, &ctx, &where, l->is_deep ? WEIR_LIST_DEEP : 0, list_emit, run, &self, &err);
	}
	if (!code)
		code = batch_merge(run, true, self, &err);
	weir_store_lock(st);
	while (run->nframes)
		free(run->frames[--run->nframes].m.seen);
	remote_note(r, code, code ? weir_err_text(&err, code) : NULL);
	if (code == WEIR_E_NOENT)
		listing_missing(r, l->dir);
	else if (code)
		weir_log(WEIR_LOG_INFO, "remote '%s': listing '%s': %s", r->conf->name, p.path ? p.path : "?", weir_err_text(&err, code));
	weir_wake_all(&l->waiters, code);
	listing_unlink(r, l);
	watch_listed(r, l, code);
	if (l->is_background && code)
		r->wants_walk = false; /* the next successful probe asks for it again */
	weir_store_unlock(st);
	batch_clear(run);
	place_free(&p);
	free(run->frames);
	free(run);
	free(self);
	free(l);
}

static struct listing *
listing_start(struct weir_remote *r, uint64_t dir, bool is_deep, bool is_background)
{
	struct listing *l = weir_xcalloc(1, sizeof(*l));

	l->dir = dir;
	l->is_deep = is_deep;
	l->is_background = is_background;
	l->started_ms = weir_now_ms();
	l->next = r->listings;
	r->listings = l;
	l->job.run = list_run_job;
	remote_submit(r, &l->job, is_background ? JOB_AHEAD : JOB_LIST);
	return l;
}

void
list_again(struct weir_remote *r, uint64_t dir)
{
	listing_start(r, dir, false, false)->is_watch = true;
	r->watch.nlistings++;
}

/* ---- who asks ---- */

/* Somebody walks: several directories under one parent were asked for shortly one after the other. */
static bool
is_walking(struct weir_remote *r, uint64_t parent)
{
	struct dir_habit *slot = &r->list_habits[0];
	int64_t now = weir_now_ms();

	for (unsigned i = 0; i < HABITS; i++) {
		struct dir_habit *h = &r->list_habits[i];

		if (h->dir == parent && now - h->at_ms < WALK_WINDOW_MS) {
			h->at_ms = now;
			return ++h->count >= WALK_COUNT;
		}
		if (h->at_ms < slot->at_ms)
			slot = h;
	}
	*slot = (struct dir_habit){ .dir = parent, .at_ms = now, .count = 1 };
	return false;
}

static struct listing *
deep_above(struct weir_remote *r, uint64_t dir)
{
	struct weir_node n;

	for (unsigned i = 0; i < 64 && dir; i++) {
		for (struct listing *l = r->listings; l; l = l->next)
			if (l->is_deep && l->dir == dir)
				return l;
		if (weir_node_get(r->sy->st, dir, &n))
			break;
		dir = n.rparent;
	}
	return NULL;
}

enum weir_code
weir_sync_list(struct weir_sync *sy, const struct weir_node *n, struct weir_waiter *w)
{
	struct weir_remote *r = weir_sync_remote(sy, n->remote);
	struct listing *l, *deep = NULL;
	enum weir_code code;

	if (!r || !is_remote_dir(n))
		return WEIR_E_INVAL;
	if ((code = remote_usable(r)))
		return code;
	for (l = r->listings; l; l = l->next)
		if (l->dir == n->id)
			break;
	if (!l && (weir_backend_caps(r->be) & WEIR_CAP_LIST_DEEP)) {
		deep = deep_above(r, n->rparent);
		if (!deep && n->rparent && is_walking(r, n->rparent))
			deep = listing_start(r, n->rparent, true, false);
		/* A huge subtree must not make one directory wait for all that come before it. */
		if (deep && weir_now_ms() - deep->started_ms < 2000)
			l = deep;
	}
	if (!l)
		l = listing_start(r, n->id, false, false);
	if (w)
		weir_wait_add(&l->waiters, w);
	return WEIR_PENDING;
}

void
list_touch(struct weir_remote *r, uint64_t dir, const char *rname)
{
	for (struct listing *l = r->listings; l; l = l->next) {
		l->touched = weir_xrealloc(l->touched, l->ntouched + 1, sizeof(*l->touched));
		l->touched[l->ntouched++] = weir_xasprintf("%llu/%s", (unsigned long long)dir, rname);
	}
}

/* ---- the walk for the sums ---- */

/* Where the server gives no figure, "used" is the sum of the tree: complete it once, in the background. */
void
list_walk(struct weir_remote *r)
{
	sqlite3_stmt *s;
	uint64_t dir = 0;

	if (!r->wants_walk || r->state != WEIR_REMOTE_UP)
		return;
	for (struct listing *l = r->listings; l; l = l->next)
		if (l->is_background)
			return;
	if (weir_backend_caps(r->be) & WEIR_CAP_LIST_DEEP) {
		r->wants_walk = false;
		s = weir_store_stmt(r->sy->st, "SELECT 1 FROM totals WHERE remote=? AND unlisted>0");
		sqlite3_bind_int64(s, 1, (int64_t)r->id);
		dir = sqlite3_step(s) == SQLITE_ROW ? r->root : 0;
		sqlite3_reset(s);
		if (dir && !r->listings)
			listing_start(r, dir, true, true);
		else if (dir)
			r->wants_walk = true;
		return;
	}
	s = weir_store_stmt(r->sy->st, "SELECT id FROM nodes WHERE remote=? AND type=2 AND listed=0 AND (rparent IS NOT NULL OR (flags & 8)) LIMIT 1");
	sqlite3_bind_int64(s, 1, (int64_t)r->id);
	if (sqlite3_step(s) == SQLITE_ROW)
		dir = (uint64_t)sqlite3_column_int64(s, 0);
	sqlite3_reset(s);
	if (dir)
		listing_start(r, dir, false, true);
	else
		r->wants_walk = false;
}
