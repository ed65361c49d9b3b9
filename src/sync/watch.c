/* SPDX-License-Identifier: Apache-2.0 */
/* Seeing what others change. What a storage offers decides how:
 *
 *   feed	it tells what changed since a cursor (backend hook `changes`); with WEIR_CAP_WAITS the question waits for news
 *   walk	a directory's version moves with everything below it (WEIR_CAP_DIR_VERSION): ask for the root's, go down where it differs; seldom, while
 *		the storage says when there is something to find (push.c)
 *   age	neither: a listing holds for so long, then whoever looks has it listed again (list.c); nothing is asked when nobody looks
 *
 * Feed and walk have a thread per remote. It never changes a file's node itself: it notes directories in the store (`again`), each once however many
 * changes lead to it, and has them listed; merge.c finds out what is new, and its news go to the kernel. The note of a directory and the cursor
 * that spoke of it are one transaction, and the note goes only with a listing that began after it: nothing is lost by a crash, by a
 * listing that fails, or by one that was under way when the change happened. */
#include "config.h"

#include "internal.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../util/fold.h"

#define ASK_USED_MS 4000	/* between questions while somebody looks at the remote … */
#define ASK_IDLE_MS 10000	/* … and else: six requests a minute */
#define PUSHED_MS 300000	/* while the storage tells: it may forget to */
#define USED_MS 75000		/* kernels keep names for up to 60 s: who looks all the time is heard of that often */
#define WAIT_MS 90000		/* a question that waits */
#define WAITED_MS 500		/* after one that brought something: what comes in a burst is one look */
#define FAIL_MAX_MS 300000
#define LISTINGS 4		/* of the watch's own, at once */
#define CALM_MS 1500		/* between two listings of one directory */
#define LIST_FAIL_MS 10000
#define LATER_MS 3000
#define IDS_A_TIME 64

static int64_t
wall_ms(void)
{
	return weir_wall_ns() / 1000000;
}

/* ---- directories to look at again ---- */

enum weir_code
watch_mark(struct weir_remote *r, const struct weir_node *dir, struct weir_err *err)
{
	int64_t now = wall_ms(), due = now;

	if (dir->type != WEIR_DIR || !dir->listed_ms)
		return WEIR_OK;
	if (dir->listed_ms <= now && dir->listed_ms + CALM_MS > now)
		due = dir->listed_ms + CALM_MS;
	for (struct listing *l = r->listings; l; l = l->next)
		if (l->dir == dir->id)
			l->is_outdated = true;
	if (r->watch.next_again_ms > due)
		r->watch.next_again_ms = due;
	return weir_again_put(r->sy->st, dir->id, r->id, due, err);
}

enum weir_code
watch_later(struct weir_remote *r, uint64_t dir, struct weir_err *err)
{
	if (r->watch.how == WEIR_WATCH_AGE)
		return WEIR_OK; /* it grows old by itself */
	for (struct listing *l = r->listings; l; l = l->next)
		if (l->dir == dir)
			l->is_outdated = true;
	if (r->watch.next_again_ms > wall_ms() + LATER_MS)
		r->watch.next_again_ms = wall_ms() + LATER_MS;
	return weir_again_put(r->sy->st, dir, r->id, wall_ms() + LATER_MS, err);
}

static bool
is_listing(const struct weir_remote *r, uint64_t dir)
{
	for (const struct listing *l = r->listings; l; l = l->next)
		if (l->dir == dir)
			return true;
	return false;
}

static void
again_forget(struct weir_remote *r, uint64_t dir)
{
	if (weir_store_begin(r->sy->st, NULL))
		return;
	if (weir_again_drop(r->sy->st, dir, NULL))
		weir_store_rollback(r->sy->st);
	else
		weir_store_commit(r->sy->st, NULL);
}

void
watch_tick(struct weir_remote *r)
{
	uint64_t dirs[4 * LISTINGS];
	int64_t now = wall_ms();
	size_t n;

	if (r->sends)
		r->watch.sent_ms = weir_now_ms();
	if (now < r->watch.next_again_ms || r->watch.nlistings >= LISTINGS || r->state != WEIR_REMOTE_UP || r->sy->is_stopping)
		return;
	n = weir_again_due(r->sy->st, r->id, now, dirs, WEIR_LEN(dirs), &r->watch.next_again_ms);
	for (size_t i = 0; i < n; i++) {
		struct weir_node dir;

		if (is_listing(r, dirs[i]))
			continue; /* its end comes by here */
		if (r->watch.nlistings >= LISTINGS)
			break;
		if (weir_node_get(r->sy->st, dirs[i], &dir) || !(dir.rparent || (dir.flags & WEIR_N_ROOT)))
			again_forget(r, dirs[i]);
		else
			list_again(r, dirs[i]);
	}
}

void
watch_listed(struct weir_remote *r, const struct listing *l, enum weir_code code)
{
	struct weir_node dir;

	if (l->is_watch)
		r->watch.nlistings--;
	if (!code) {
		r->watch.was_listed = true;
		if (r->watch.how == WEIR_WATCH_FEED && !weir_node_get(r->sy->st, l->dir, &dir) && !dir.rid[0])
			r->watch.needs_ids = true;
	}
	if (code == WEIR_E_NOENT)
		again_forget(r, l->dir);
	else if (code && l->is_watch && !weir_store_begin(r->sy->st, NULL)) {
		if (weir_again_put(r->sy->st, l->dir, r->id, wall_ms() + LIST_FAIL_MS, NULL))
			weir_store_rollback(r->sy->st);
		else
			weir_store_commit(r->sy->st, NULL);
	}
	r->watch.next_again_ms = 0;
	watch_tick(r);
}

/* ---- what one piece of news leads to (lock held, in a transaction) ---- */

struct told { char *id, *parent_id, *path, *name, *version; bool is_removed, is_dir; };

struct telling {
	struct weir_remote *r;
	struct told *v;
	size_t n, cap;
	char *dir_path;			/* the parent path looked up last, and what it led to */
	uint64_t dir;
	bool is_dir_whole;
};

struct folded { char *name; uint64_t id; };

static int
find_folded(void *arg, struct weir_node *n)
{
	struct folded *f = arg;
	WEIR_AUTO(weir_freep) char *name = weir_fold(n->rname);

	if (strcmp(f->name, name) == 0)
		f->id = n->id;
	return f->id != 0;
}

/* The child that the storage means by this name. */
static bool
told_child(struct weir_remote *r, uint64_t dir, const char *name, struct weir_node *out)
{
	struct folded f = { .id = 0 };

	if (!weir_node_remote_child(r->sy->st, dir, name, out))
		return true;
	if (!(weir_backend_caps(r->be) & WEIR_CAP_FOLD_CASE))
		return false;
	f.name = weir_fold(name);
	weir_node_remote_children(r->sy->st, dir, 0, find_folded, &f);
	free(f.name);
	return f.id && !weir_node_get(r->sy->st, f.id, out);
}

/* The directory that the path's last component is in, or the last one on the way there that the tree knows (is_dir_whole false: what comes below
 * it is new). */
static void
told_dir(struct telling *t, const char *path)
{
	const char *slash = strrchr(path, '/'), *p = path;
	size_t len = slash ? (size_t)(slash - path) : 0;
	struct weir_node dir;

	if (t->dir_path && strlen(t->dir_path) == len && memcmp(t->dir_path, path, len) == 0)
		return;
	free(t->dir_path);
	t->dir_path = weir_xstrndup(path, len);
	t->dir = t->r->root;
	t->is_dir_whole = true;
	for (; slash && p <= slash; p += strcspn(p, "/") + 1) {
		WEIR_AUTO(weir_freep) char *name = weir_xstrndup(p, strcspn(p, "/"));

		if (!told_child(t->r, t->dir, name, &dir) || dir.type != WEIR_DIR) {
			t->is_dir_whole = false;
			break;
		}
		t->dir = dir.id;
	}
}

static enum weir_code
mark_id(struct weir_remote *r, uint64_t id, struct weir_err *err)
{
	struct weir_node dir;

	return weir_node_get(r->sy->st, id, &dir) ? WEIR_OK : watch_mark(r, &dir, err);
}

/* Where the change says that the object is now: directory and name, if both are certain. */
static bool
told_place(struct telling *t, const struct told *c, uint64_t *dir, const char **name)
{
	uint64_t ids[2];

	if (c->path) {
		const char *slash = strrchr(c->path, '/');

		told_dir(t, c->path);
		*dir = t->dir;
		*name = slash ? slash + 1 : c->path;
		return t->is_dir_whole && **name;
	}
	if (!c->parent_id || !c->name || weir_nodes_by_rid(t->r->sy->st, t->r->id, c->parent_id, ids, 2) != 1)
		return false;
	*dir = ids[0];
	*name = c->name;
	return true;
}

/* Does the tree show just this already? Then it is our own change coming back, or one that a listing has brought. */
static bool
is_known(const struct weir_node *n, const struct told *c, uint64_t dir, const char *name)
{
	if (n->rparent != dir || strcmp(n->rname, name) != 0)
		return false;
	if (n->type == WEIR_DIR)
		return c->is_dir;
	return c->version && n->rversion[0] && strcmp(c->version, n->rversion) == 0;
}

/* What the tree has of it: the directory it was in is looked at, and the node goes along with a rename. */
static enum weir_code
told_node(struct telling *t, const struct told *c, bool *is_done, struct weir_err *err)
{
	struct weir_store *st = t->r->sy->st;
	uint64_t ids[8], dir = 0;
	size_t n = c->id ? weir_nodes_by_rid(st, t->r->id, c->id, ids, WEIR_LEN(ids)) : 0;
	struct weir_node node;
	const char *name;
	enum weir_code r = WEIR_OK;

	if (n == 1 && !c->is_removed && !weir_node_get(st, ids[0], &node) && told_place(t, c, &dir, &name)) {
		if ((*is_done = is_known(&node, c, dir, name)))
			return WEIR_OK;
		if ((r = mark_id(t->r, node.rparent, err)) || (r = merge_moved(t->r, &node, dir, name, err)))
			return r;
		n = 0;
	}
	for (size_t i = 0; i < n && !r; i++)
		if (!weir_node_get(st, ids[i], &node))
			r = mark_id(t->r, node.rparent, err);
	*is_done = c->is_removed && n > 0;
	return r;
}

static enum weir_code
told_one(struct telling *t, const struct told *c, struct weir_err *err)
{
	struct weir_store *st = t->r->sy->st;
	uint64_t ids[8];
	struct weir_node node;
	bool is_done = false;
	size_t n;
	enum weir_code r = told_node(t, c, &is_done, err);

	if (r || is_done)
		return r;
	if (c->path && *c->path) {
		told_dir(t, c->path);
		/* What we removed ourselves is gone here too. */
		if (c->is_removed && (!t->is_dir_whole || !told_child(t->r, t->dir, strrchr(c->path, '/') ? strrchr(c->path, '/') + 1 : c->path, &node)))
			return WEIR_OK;
		return mark_id(t->r, t->dir, err);
	}
	n = c->parent_id ? weir_nodes_by_rid(st, t->r->id, c->parent_id, ids, WEIR_LEN(ids)) : 0;
	for (size_t i = 0; i < n && !r; i++)
		r = mark_id(t->r, ids[i], err);
	return r;
}

static void
telling_clear(struct telling *t)
{
	for (size_t i = 0; i < t->n; i++) {
		free(t->v[i].id);
		free(t->v[i].parent_id);
		free(t->v[i].path);
		free(t->v[i].name);
		free(t->v[i].version);
	}
	free(t->v);
	free(t->dir_path);
}

static enum weir_code
tell(void *arg, const struct weir_change *c, struct weir_err *err)
{
	struct telling *t = arg;

	(void)err;
	if (t->n == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 64;
		t->v = weir_xrealloc(t->v, t->cap, sizeof(*t->v));
	}
	t->v[t->n++] = (struct told){ .id = weir_xstrdup(c->id), .parent_id = weir_xstrdup(c->parent_id), .path = weir_xstrdup(c->path),
		.name = weir_xstrdup(c->name), .version = weir_xstrdup(c->version), .is_removed = c->is_removed, .is_dir = c->is_dir };
	return WEIR_OK;
}

/* ---- the feed ---- */

static size_t
without_id(struct weir_remote *r, uint64_t *dirs, size_t max)
{
	sqlite3_stmt *s = weir_store_stmt(r->sy->st,
	    "SELECT id FROM nodes WHERE remote=?1 AND type=2 AND listed>0 AND coalesce(rid,'')='' AND (rparent IS NOT NULL OR (flags & 8)) LIMIT ?2");
	size_t n = 0;

	sqlite3_bind_int64(s, 1, (int64_t)r->id);
	sqlite3_bind_int64(s, 2, (int64_t)max);
	while (n < max && sqlite3_step(s) == SQLITE_ROW)
		dirs[n++] = (uint64_t)sqlite3_column_int64(s, 0);
	sqlite3_reset(s);
	return n;
}

/* The root and folders named by the configuration came by no listing that told their ids. Lock held, let go of in between. */
static void
learn_ids(struct weir_remote *r)
{
	struct weir_store *st = r->sy->st;
	uint64_t dirs[IDS_A_TIME];
	size_t n = without_id(r, dirs, WEIR_LEN(dirs));

	r->watch.needs_ids = false;
	for (size_t i = 0; i < n && !r->sy->is_stopping; i++) {
		struct weir_ctx ctx = { .cancel = &r->cancel };
		struct weir_stat got = { 0 };
		struct weir_where w;
		struct weir_node dir;
		struct place p;

		if (weir_node_get(st, dirs[i], &dir) || !place_of(st, &dir, &p))
			continue;
		weir_store_unlock(st);
		place_where(&p, &w);
		w.version = NULL;
		if (r->be->ops->stat(r->be, &ctx, &w, &got, NULL))
			got.id = NULL;
		place_free(&p);
		weir_store_lock(st);
		if (got.id && !weir_node_get(st, dirs[i], &dir) && !weir_store_begin(st, NULL)) {
			snprintf(dir.rid, sizeof(dir.rid), "%s", got.id);
			if (weir_node_update(st, &dir, NULL))
				weir_store_rollback(st);
			else
				weir_store_commit(st, NULL);
		}
		weir_stat_free(&got);
	}
}

/* Lock held: the notes of what was told and the cursor behind it, or neither. */
static enum weir_code
feed_settle(struct weir_remote *r, struct telling *t, const char *cursor, bool is_all, struct weir_err *err)
{
	struct weir_store *st = r->sy->st;
	enum weir_code code = weir_store_begin(st, err);

	if (code)
		return code;
	for (size_t i = 0; i < t->n && !code; i++)
		code = told_one(t, &t->v[i], err);
	if (!code && is_all) {
		code = weir_again_all(st, r->id, err);
		for (struct listing *l = r->listings; l; l = l->next)
			l->is_outdated = true;
		r->watch.next_again_ms = 0;
	}
	if (!code)
		code = weir_feed_cursor_set(st, r->id, cursor, err);
	if (code)
		weir_store_rollback(st);
	else
		code = weir_store_commit(st, err);
	return code;
}

static enum weir_code
ask_feed(struct weir_remote *r, struct weir_err *err)
{
	struct weir_store *st = r->sy->st;
	struct weir_ctx ctx = { .cancel = &r->cancel };
	struct telling t = { .r = r };
	char *cursor = weir_feed_cursor(st, r->id);
	bool is_first = !cursor, waits = weir_backend_caps(r->be) & WEIR_CAP_WAITS;
	enum weir_code code;

	weir_store_unlock(st);
	code = r->be->ops->changes(r->be, &ctx, &cursor, waits && !is_first && !r->watch.fails ? WAIT_MS : 0, tell, &t, err);
	weir_store_lock(st);
	if (t.n && r->watch.needs_ids) /* something was listed while we waited, and what was told may be in it */
		learn_ids(r);
	if (code == WEIR_E_STALE) {
		weir_log(WEIR_LOG_INFO, "remote '%s': its list of changes does not reach back to where we were: all is looked at again", r->conf->name);
		t.n = 0;
		code = feed_settle(r, &t, NULL, true, err);
		r->watch.is_kicked = true;
	} else if (!code)
		code = feed_settle(r, &t, cursor, is_first && r->watch.was_listed, err);
	r->watch.told += t.n;
	telling_clear(&t);
	free(cursor);
	return code;
}

/* ---- the walk ---- */

/* Folders of the configuration hang below directories that nobody has listed: no walk from the root comes by them. */
static enum weir_code
mark_bound(struct weir_remote *r, struct weir_err *err)
{
	sqlite3_stmt *s = weir_store_stmt(r->sy->st, "SELECT n.id FROM nodes n INDEXED BY nodes_bound JOIN nodes p ON p.id=n.rparent"
	    " WHERE n.remote=?1 AND (n.flags & 256) AND n.listed>0 AND p.listed=0 LIMIT 256");
	uint64_t ids[256];
	size_t n = 0;
	enum weir_code code = WEIR_OK;

	sqlite3_bind_int64(s, 1, (int64_t)r->id);
	while (n < WEIR_LEN(ids) && sqlite3_step(s) == SQLITE_ROW)
		ids[n++] = (uint64_t)sqlite3_column_int64(s, 0);
	sqlite3_reset(s);
	for (size_t i = 0; i < n && !code; i++)
		code = mark_id(r, ids[i], err);
	return code;
}

/* Lock held: the root's version is this one now. */
static enum weir_code
walk_settle(struct weir_remote *r, const char *version, struct weir_err *err)
{
	struct weir_store *st = r->sy->st;
	struct weir_node root;
	enum weir_code code;

	if ((code = weir_node_get(st, r->root, &root)) || (code = weir_store_begin(st, err)))
		return code;
	if (root.listed_ms && strcmp(version, root.rversion) != 0)
		code = watch_mark(r, &root, err);
	if (!code && (!r->watch.root_version || strcmp(version, r->watch.root_version) != 0))
		code = mark_bound(r, err);
	if (code)
		weir_store_rollback(st);
	else if (!(code = weir_store_commit(st, err))) {
		free(r->watch.root_version);
		r->watch.root_version = weir_xstrdup(version);
	}
	return code;
}

static enum weir_code
ask_walk(struct weir_remote *r, struct weir_err *err)
{
	struct weir_where where = { .path = "" };
	struct weir_ctx ctx = { .cancel = &r->cancel };
	struct weir_stat st = { 0 };
	enum weir_code code;

	weir_store_unlock(r->sy->st);
	code = r->be->ops->stat(r->be, &ctx, &where, &st, err);
	weir_store_lock(r->sy->st);
	remote_note(r, code, code ? weir_err_text(err, code) : NULL);
	if (!code && st.version)
		code = walk_settle(r, st.version, err);
	else if (!code)
		code = weir_err_set(err, WEIR_E_NOTSUP, "the server tells no version of the folder");
	weir_stat_free(&st);
	return code;
}

/* ---- when ---- */

static bool
has_cursor(struct weir_remote *r)
{
	WEIR_AUTO(weir_freep) char *cursor = weir_feed_cursor(r->sy->st, r->id);

	return cursor != NULL;
}

/* What was told is looked at again so long after the last look; the last one first. */
static const int64_t look_again_ms[] = { 8000, 2000 };

void
watch_look(struct weir_remote *r, int64_t at_ms)
{
	struct push *p = &r->watch.push;

	p->looks_left = WEIR_LEN(look_again_ms);
	if (!p->look_ms || p->look_ms > at_ms)
		p->look_ms = at_ms;
	pthread_cond_signal(&r->watch.cond);
}

/* When the storage's word asks for it. */
static int64_t
pushed_at(const struct watch *w)
{
	int64_t at = w->last_ms + PUSHED_MS;

	return w->push.look_ms && w->push.look_ms < at ? w->push.look_ms : at;
}

/* Monotonic time of the next question; INT64_MAX: none, nobody has ever looked at this remote, or it is away. */
static int64_t
ask_at(struct weir_remote *r, int64_t now)
{
	struct watch *w = &r->watch;
	bool waits = w->how == WEIR_WATCH_FEED && (weir_backend_caps(r->be) & WEIR_CAP_WAITS);
	int64_t gap = waits ? WAITED_MS : now - w->used_ms < USED_MS ? ASK_USED_MS : ASK_IDLE_MS;

	if (r->state != WEIR_REMOTE_UP || r->sy->is_stopping)
		return INT64_MAX;
	/* The feed's first cursor is taken before anything is listed, if it can be: what is listed later needs no second look. */
	if (!w->was_listed && (w->how == WEIR_WATCH_WALK || has_cursor(r)))
		return INT64_MAX;
	if (w->fails) {
		gap = (int64_t)ASK_IDLE_MS << (w->fails > 6 ? 6 : w->fails - 1);
		if (gap > FAIL_MAX_MS)
			gap = FAIL_MAX_MS;
	} else if (w->is_kicked)
		gap = 0;
	else if (w->push.is_on)
		return pushed_at(w);
	return w->last_ms + gap;
}

static void
ask(struct weir_remote *r)
{
	struct watch *w = &r->watch;
	struct weir_err err = { 0 };
	enum weir_code code;

	w->is_kicked = false;
	w->push.look_ms = 0;
	if (w->how == WEIR_WATCH_FEED && w->needs_ids)
		learn_ids(r);
	code = w->how == WEIR_WATCH_FEED ? ask_feed(r, &err) : ask_walk(r, &err);
	w->last_ms = weir_now_ms();
	if (code == WEIR_E_CANCELED)
		return;
	/* Not if more was told meanwhile: that begins anew. */
	if (w->push.is_on && w->push.looks_left && !w->push.look_ms)
		w->push.look_ms = w->last_ms + look_again_ms[--w->push.looks_left];
	w->is_good = !code;
	w->fails = code ? w->fails + 1 : 0;
	snprintf(w->error, sizeof(w->error), "%s", code ? weir_err_text(&err, code) : "");
	if (!code)
		w->asked_ms = wall_ms();
	else
		weir_log(WEIR_LOG_INFO, "remote '%s': asking for changes: %s", r->conf->name, weir_err_text(&err, code));
	if (code == WEIR_E_AUTH)
		remote_note(r, code, w->error);
	watch_tick(r);
}

static void *
watch_thread(void *arg)
{
	struct weir_remote *r = arg;
	struct weir_store *st = r->sy->st;

	weir_store_lock(st);
	while (!r->sy->is_stopping) {
		int64_t now = weir_now_ms(), at = ask_at(r, now), wait;
		struct timespec ts;

		if (at <= now) {
			ask(r);
			continue;
		}
		if (r->state != WEIR_REMOTE_UP)
			r->watch.is_good = false;
		wait = at - now < 1000 ? at - now : 1000;
		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_sec += wait / 1000;
		ts.tv_nsec += wait % 1000 * 1000000;
		if (ts.tv_nsec >= 1000000000) {
			ts.tv_sec++;
			ts.tv_nsec -= 1000000000;
		}
		weir_store_wait(st, &r->watch.cond, &ts);
	}
	weir_store_unlock(st);
	return NULL;
}

void
watch_used(struct weir_remote *r)
{
	struct watch *w = &r->watch;
	int64_t now = weir_now_ms();

	/* The first look after a pause finds out at once what has happened meanwhile. */
	if (w->has_thread && now - w->used_ms > ASK_USED_MS && now - w->last_ms > ASK_USED_MS)
		pthread_cond_signal(&w->cond);
	w->used_ms = now;
}

void
weir_sync_used(struct weir_sync *sy, uint64_t remote)
{
	struct weir_remote *r = weir_sync_remote(sy, remote);

	if (r)
		watch_used(r);
}

bool
watch_is_on(const struct weir_remote *r)
{
	return r->watch.how != WEIR_WATCH_AGE && r->watch.is_good;
}

bool
watch_is_idle(const struct weir_remote *r)
{
	return weir_now_ms() - r->watch.used_ms > USED_MS;
}

void
watch_start(struct weir_remote *r)
{
	struct watch *w = &r->watch;
	pthread_attr_t attr;
	sqlite3_stmt *s;

	w->how = r->be->ops->changes ? WEIR_WATCH_FEED : weir_backend_caps(r->be) & WEIR_CAP_DIR_VERSION ? WEIR_WATCH_WALK : WEIR_WATCH_AGE;
	w->used_ms = weir_now_ms() - USED_MS;
	w->last_ms = weir_now_ms() - ASK_IDLE_MS;
	if (w->how == WEIR_WATCH_AGE)
		return;
	weir_store_lock(r->sy->st);
	s = weir_store_stmt(r->sy->st, "SELECT 1 FROM nodes WHERE remote=? AND type=2 AND listed>0 LIMIT 1");
	sqlite3_bind_int64(s, 1, (int64_t)r->id);
	w->was_listed = sqlite3_step(s) == SQLITE_ROW;
	sqlite3_reset(s);
	weir_store_unlock(r->sy->st);
	w->needs_ids = true;
	push_start(r);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 512 * 1024);
	w->has_thread = pthread_create(&w->thread, &attr, watch_thread, r) == 0;
	pthread_attr_destroy(&attr);
}

void
watch_end(struct weir_remote *r)
{
	if (r->watch.has_thread)
		pthread_join(r->watch.thread, NULL);
	r->watch.has_thread = false;
	free(r->watch.root_version);
	r->watch.root_version = NULL;
}
