/* SPDX-License-Identifier: Apache-2.0 */
/* Figures and wishes of people: status, flush, du, refresh, look, verify. May block, except under the lock. */
#include "config.h"

#include "internal.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *
state_word(enum weir_remote_state s)
{
	switch (s) {
	case WEIR_REMOTE_UP: return "up";
	case WEIR_REMOTE_DOWN: return "down";
	case WEIR_REMOTE_REFUSED: return "refused";
	case WEIR_REMOTE_CONNECTING: break;
	}
	return "connecting";
}

static void
unsent_figures(struct weir_fs *fs, uint64_t remote, uint64_t *files, uint64_t *bytes, uint64_t *failing)
{
	sqlite3_stmt *s = weir_store_stmt(fs->st, "SELECT count(*), coalesce(sum(CASE WHEN n.flags & 1 AND n.parent IS NOT NULL THEN n.size ELSE 0 END),0),"
	    " coalesce(sum(j.code<>0 AND j.attempts>0),0) FROM journal j LEFT JOIN nodes n ON n.id=j.node WHERE j.remote=?");

	*files = *bytes = *failing = 0;
	sqlite3_bind_int64(s, 1, (int64_t)remote);
	if (sqlite3_step(s) == SQLITE_ROW) {
		*files = (uint64_t)sqlite3_column_int64(s, 0);
		*bytes = (uint64_t)sqlite3_column_int64(s, 1);
		*failing = (uint64_t)sqlite3_column_int64(s, 2);
	}
	sqlite3_reset(s);
}

static void
status_remote(struct weir_fs *fs, struct weir_remote *r, struct weir_remote_status *rs)
{
	struct weir_remote_view v;

	weir_remote_view(r, &v);
	rs->name = v.name;
	rs->type = v.type;
	rs->state = state_word(v.state);
	snprintf(rs->error, sizeof(rs->error), "%s", v.error);
	quota_used(fs, v.id, &rs->used_bytes, &rs->is_lower_bound);
	rs->quota_bytes = v.conf->quota_bytes;
	rs->has_server_free = v.usage.has_total && v.usage.has_used;
	if (rs->has_server_free)
		rs->server_free_bytes = v.usage.total > v.usage.used ? v.usage.total - v.usage.used : 0;
	unsent_figures(fs, v.id, &rs->unsent_files, &rs->unsent_bytes, &rs->failing_files);
	rs->requests = v.http.requests;
	rs->bytes_in = v.http.bytes_in;
	rs->bytes_out = v.http.bytes_out;
	rs->errors = v.http.errors;
	rs->fetching = v.fetching;
	rs->sending = v.sending;
	rs->watch = v.watch == WEIR_WATCH_FEED ? "feed" : v.watch == WEIR_WATCH_PUSH ? "push" : v.watch == WEIR_WATCH_WALK ? "walk" : "age";
	rs->watched_ms = v.watched_ms;
	snprintf(rs->watch_error, sizeof(rs->watch_error), "%s", v.watch_error);
	snprintf(rs->push_error, sizeof(rs->push_error), "%s", v.push_error);
}

void
weir_fs_status(struct weir_fs *fs, struct weir_status *s)
{
	memset(s, 0, sizeof(*s));
	weir_store_lock(fs->st);
	s->quota_bytes = fs->conf->quota_bytes;
	s->used_bytes = quota_namespace_used(fs);
	s->cache_bytes = fs->st->cache_used;
	s->cache_max_bytes = fs->st->cache_max;
	s->cache_dirty_bytes = fs->st->cache_dirty;
	s->conflicts = weir_report_count(fs->st, "conflict");
	s->quarantined = weir_report_count(fs->st, "quarantine");
	s->pending_ops = fs->parked;
	s->nremotes = weir_sync_count(fs->sy);
	s->remotes = weir_xcalloc(s->nremotes + 1, sizeof(*s->remotes));
	for (size_t i = 0; i < s->nremotes; i++) {
		struct weir_remote_status *rs = &s->remotes[i];

		status_remote(fs, weir_sync_at(fs->sy, i), rs);
		s->is_lower_bound |= rs->is_lower_bound;
		s->unsent_files += rs->unsent_files;
		s->unsent_bytes += rs->unsent_bytes;
		s->failing_files += rs->failing_files;
	}
	weir_store_unlock(fs->st);
}

void
weir_status_free(struct weir_status *s)
{
	free(s->remotes);
	s->remotes = NULL;
}

struct problem { char *kind, *path, *text; };
struct problems { struct weir_fs *fs; struct problem *p; size_t n; };

static void
problem_add(struct problems *ps, const char *kind, const char *path, const char *text)
{
	ps->p = weir_xrealloc(ps->p, ps->n + 1, sizeof(*ps->p));
	ps->p[ps->n++] = (struct problem){ weir_xstrdup(kind), weir_xstrdup(path), weir_xstrdup(text) };
}

/* Unsent changes of remotes that are not in this configuration, or that lead elsewhere by now. */
static void
problems_aside(struct problems *ps)
{
	static const char sql[] = "SELECT r.id, r.name, count(*) FROM journal j JOIN remotes r ON r.id=j.remote GROUP BY r.id";
	sqlite3_stmt *s = NULL;

	weir_store_read(ps->fs->st);
	if (sqlite3_prepare_v2(ps->fs->st->db, sql, -1, &s, NULL) != SQLITE_OK)
		return;
	while (sqlite3_step(s) == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(s, 1);
		uint64_t n = (uint64_t)sqlite3_column_int64(s, 2);
		WEIR_AUTO(weir_freep) char *what = NULL, *text = NULL;

		if (weir_sync_remote(ps->fs->sy, (uint64_t)sqlite3_column_int64(s, 0)))
			continue;
		what = weir_xasprintf("remote '%s'", name);
		text = weir_xasprintf("%llu unsent change%s kept in '%s' until %s", (unsigned long long)n, n == 1 ? " is" : "s are", ps->fs->conf->cache_dir,
		    weir_sync_remote_named(ps->fs->sy, name) ? "it leads again where it did when they were made" : "it is in the configuration again");
		problem_add(ps, "aside", what, text);
	}
	sqlite3_finalize(s);
}

static int
problem_row(void *arg, const struct weir_journal_row *row)
{
	struct problems *ps = arg;
	struct weir_buf path = WEIR_BUF(1 << 20);

	if (!row->code || !row->attempts)
		return 0;
	weir_node_local_path(ps->fs->st, row->node, &path);
	problem_add(ps, "unsent", weir_buf_str(&path), row->error[0] ? row->error : weir_code_text((enum weir_code)row->code));
	weir_buf_free(&path);
	return ps->n >= 1000;
}

static void
problem_report(void *arg, const char *kind, const char *path, const char *text)
{
	problem_add(arg, kind, path, text);
}

void
weir_fs_problems(struct weir_fs *fs, void (*fn)(void *, const char *, const char *, const char *), void *arg)
{
	struct problems ps = { .fs = fs };

	weir_store_lock(fs->st);
	problems_aside(&ps);
	weir_journal_each(fs->st, 0, problem_row, &ps);
	weir_report_each(fs->st, problem_report, &ps);
	weir_store_unlock(fs->st);
	for (size_t i = 0; i < ps.n; i++) {
		fn(arg, ps.p[i].kind, ps.p[i].path, ps.p[i].text);
		free(ps.p[i].kind);
		free(ps.p[i].path);
		free(ps.p[i].text);
	}
	free(ps.p);
}

/* ---- flush ---- */

#define LOOK_OFTEN 64	/* changes left: a look at the journal costs a few µs each, under the lock */

struct flush {
	struct weir_fs *fs;
	struct ns_scope top;
	bool has_top;			/* else everything */
	struct weir_flush_progress p;
	bool has_failed;		/* some row has failed at least once: else nothing can be behind one */
	uint64_t failing, behind;		/* rows that cannot be sent; rows that wait for a directory among those */
	enum weir_code code;
	char error[256], path[512];
	bool is_down;
	char away[400];			/* which remote, and why */
	int64_t began_ms;
	uint64_t base;			/* bytes sent before it */
};

/* Is the node in the flushed subtree, by either of its places? */
static bool
flush_covers(struct flush *f, uint64_t node)
{
	return !f->has_top || ns_covers(f->fs, &f->top, node);
}

static bool
is_hopeless(const struct weir_journal_row *row, const struct weir_remote_view *v)
{
	return row->code && row->attempts && (!weir_code_retry((enum weir_code)row->code) || row->attempts > 6 || v->state == WEIR_REMOTE_REFUSED);
}

/* Does it wait for a directory that cannot be made? */
static bool
is_behind_failure(struct flush *f, uint64_t node, const struct weir_remote_view *v)
{
	struct weir_journal_row row;
	struct weir_node n;

	for (int i = 0; i < 4096 && !weir_node_get(f->fs->st, node, &n) && n.parent; i++) {
		node = n.parent;
		if (weir_node_get(f->fs->st, node, &n) || n.rparent || (n.flags & WEIR_N_ROOT))
			return false;
		if (weir_journal_get(f->fs->st, node, &row) && is_hopeless(&row, v))
			return true;
	}
	return false;
}

static bool
has_failed_row(struct weir_store *st)
{
	sqlite3_stmt *s = weir_store_stmt(st, "SELECT 1 FROM journal WHERE attempts>0 AND code<>0 LIMIT 1");
	bool yes = sqlite3_step(s) == SQLITE_ROW;

	sqlite3_reset(s);
	return yes;
}

/* What was in the file when the flush began has arrived; what is left was written since, by somebody who still writes. */
static bool
is_newer(struct flush *f, struct weir_remote *r, uint64_t node)
{
	struct fs_open *o = open_find(f->fs, node);
	char rname[WEIR_RNAME_MAX + 1];
	struct weir_node n;

	return o && o->sent_ms >= f->began_ms && fs_is_open_for_writing(f->fs, node) && !weir_node_get(f->fs->st, node, &n) && n.parent == n.rparent &&
	    weir_remote_rname(r, n.type, n.name, rname) && strcmp(rname, n.rname) == 0;
}

static int
flush_row(void *arg, const struct weir_journal_row *row)
{
	struct flush *f = arg;
	struct weir_remote *r = weir_sync_remote(f->fs->sy, row->remote);
	struct weir_remote_view v;
	struct weir_node n;

	if (!r || !flush_covers(f, row->node) || is_newer(f, r, row->node))
		return 0;
	f->p.files_left++;
	if (!weir_node_get(f->fs->st, row->node, &n) && (n.flags & WEIR_N_CONTENT) && n.parent)
		f->p.bytes_left += n.size;
	weir_remote_view(r, &v);
	if (v.state == WEIR_REMOTE_DOWN || v.state == WEIR_REMOTE_REFUSED) {
		f->is_down = true;
		snprintf(f->away, sizeof(f->away), "remote '%s' does not answer%s%s", v.name, v.error[0] ? ": " : "", v.error);
	}
	if (f->has_failed && is_behind_failure(f, row->node, &v)) {
		f->behind++;
	} else if (is_hopeless(row, &v)) {
		if (!f->failing++) {
			struct weir_buf path = WEIR_BUF(1 << 20);

			weir_node_local_path(f->fs->st, row->node, &path);
			snprintf(f->path, sizeof(f->path), "%s", weir_buf_str(&path));
			weir_buf_free(&path);
			f->code = (enum weir_code)row->code;
			snprintf(f->error, sizeof(f->error), "%s", row->error);
		}
	} else if (v.state == WEIR_REMOTE_REFUSED && !f->failing) {
		f->failing++;
		f->code = WEIR_E_AUTH;
		snprintf(f->path, sizeof(f->path), "remote '%s'", v.name);
		snprintf(f->error, sizeof(f->error), "%.250s", v.error);
	}
	return 0;
}

/* Files still open count as well: what is in them now goes out. */
static void
flush_make_due(struct weir_fs *fs)
{
	fs->wanted_ms = weir_now_ms() + 1; /* a transfer that began in this millisecond may be older */
	for (unsigned i = 0; i < OPEN_SLOTS; i++)
		for (struct fs_open *o = fs->open[i]; o; o = o->next)
			if ((o->c && o->c->is_attr_dirty) || o->needs_due)
				o->written_ms = 0;
	file_due_idle(fs);
	if (!weir_store_begin(fs->st, NULL)) {
		if (weir_store_step_done(fs->st, weir_store_stmt(fs->st, "UPDATE journal SET due=0, attempts=0, code=0"), NULL))
			weir_store_rollback(fs->st);
		else
			weir_store_commit(fs->st, NULL);
	}
	for (size_t i = 0; i < weir_sync_count(fs->sy); i++)
		weir_sync_kick_now(weir_sync_at(fs->sy, i));
}

static uint64_t
sent_so_far(struct weir_fs *fs)
{
	struct weir_remote_view v;
	uint64_t sum = 0;

	for (size_t i = 0; i < weir_sync_count(fs->sy); i++) {
		weir_remote_view(weir_sync_at(fs->sy, i), &v);
		sum += v.sent_bytes;
	}
	return sum;
}

/* Lock not held. Until nothing of it is left, or nothing of it can be sent. */
static enum weir_code
flush_wait(struct flush *f, bool (*progress)(void *, const struct weir_flush_progress *), void *arg, struct weir_err *err)
{
	struct weir_fs *fs = f->fs;
	uint64_t base = f->base, total = 0;
	int64_t down_since = 0;

	for (int round = 0;; round += f->p.files_left <= LOOK_OFTEN) {
		struct timespec ts;

		weir_store_lock(fs->st);
		memset(&f->p, 0, sizeof(f->p));
		f->failing = f->behind = 0;
		f->is_down = false;
		f->has_failed = has_failed_row(fs->st);
		weir_journal_each(fs->st, 0, flush_row, f);
		f->p.bytes_sent = sent_so_far(fs) - base;
		if (f->p.bytes_left + f->p.bytes_sent > total)
			total = f->p.bytes_left + f->p.bytes_sent;
		f->p.bytes_total = total;
		weir_store_unlock(fs->st);
		if (progress && !progress(arg, &f->p))
			return weir_err_set(err, WEIR_E_INTR, "given up with %llu changes unsent", (unsigned long long)f->p.files_left);
		if (!f->p.files_left)
			break;
		/* Others may still get through: give up only when nothing but failures is left, or the remote stays away. */
		if (f->failing && f->failing + f->behind >= f->p.files_left)
			return weir_err_set(err, f->code, "%llu changes cannot be sent; the first: %s: %s", (unsigned long long)f->p.files_left, f->path, f->error);
		if (!f->is_down)
			down_since = 0;
		else if (!down_since)
			down_since = weir_now_ms();
		else if (weir_now_ms() - down_since > 30000)
			return weir_err_set(err, WEIR_E_DOWN, "%s; %llu changes wait in the cache", f->away, (unsigned long long)f->p.files_left);
		if (fs->is_stopping)
			return weir_err_set(err, WEIR_E_INTR, "the mount ends");
		ts = (struct timespec){ .tv_nsec = round < 20 && f->p.files_left <= LOOK_OFTEN ? 25000000 : 250000000 };
		nanosleep(&ts, NULL);
	}
	return WEIR_OK;
}

enum weir_code
weir_fs_flush(struct weir_fs *fs, const char *path, bool (*progress)(void *, const struct weir_flush_progress *), void *arg, struct weir_err *err)
{
	struct flush f = { .fs = fs };
	struct weir_node n;
	enum weir_code r = WEIR_OK;

	weir_store_lock(fs->st);
	if (path && strcmp(path, "/") != 0) {
		if ((r = ns_resolve(fs, path, &n, err))) {
			weir_store_unlock(fs->st);
			return r;
		}
		ns_scope(fs, &n, &f.top);
		f.has_top = true;
	}
	fs->flushes++;
	flush_make_due(fs);
	f.began_ms = fs->wanted_ms;
	f.base = sent_so_far(fs);
	weir_store_unlock(fs->st);
	r = flush_wait(&f, progress, arg, err);
	weir_store_lock(fs->st);
	fs->flushes--;
	weir_store_unlock(fs->st);
	return r;
}

/* ---- du, refresh, verify ---- */

enum weir_code
weir_fs_du(struct weir_fs *fs, const char *path, uint64_t *bytes, uint64_t *files, uint64_t *dirs, bool *is_lower_bound, struct weir_err *err)
{
	uint64_t unlisted = 0, b, f, d, u;
	WEIR_AUTO(weir_freep) uint64_t *trees = NULL;
	size_t ntrees = 0;
	struct weir_node n;
	enum weir_code r;

	*bytes = *files = *dirs = 0;
	weir_store_lock(fs->st);
	if (!(r = ns_resolve(fs, path, &n, err)))
		trees = ns_trees(fs, &n, &ntrees);
	for (size_t i = 0; i < ntrees; i++) {
		b = f = d = u = 0;
		weir_du(fs->st, trees[i], &b, &f, &d, &u);
		*bytes += b;
		*files += f;
		*dirs += d;
		unlisted += u;
	}
	*is_lower_bound = unlisted > 0;
	weir_store_unlock(fs->st);
	return r;
}

enum weir_code
weir_fs_refresh(struct weir_fs *fs, const char *path, struct weir_err *err)
{
	static const char sql[] = "WITH RECURSIVE t(id) AS (SELECT ?1 UNION ALL SELECT n.id FROM nodes n JOIN t ON n.parent=t.id WHERE n.type=2)"
	    " UPDATE nodes SET listed=1 WHERE id IN t AND listed>1";
	WEIR_AUTO(weir_freep) uint64_t *trees = NULL;
	size_t ntrees = 0;
	struct weir_node n;
	sqlite3_stmt *s;
	enum weir_code r;

	weir_store_lock(fs->st);
	if (!(r = ns_resolve(fs, path, &n, err)) && !(r = weir_store_begin(fs->st, err))) {
		trees = ns_trees(fs, &n, &ntrees);
		s = weir_store_stmt(fs->st, sql);
		for (size_t i = 0; !r && i < ntrees; i++) {
			sqlite3_bind_int64(s, 1, (int64_t)trees[i]);
			r = weir_store_step_done(fs->st, s, err);
		}
		if (r)
			weir_store_rollback(fs->st);
		else
			r = weir_store_commit(fs->st, err);
	}
	weir_store_unlock(fs->st);
	if (!r)
		fs_news_data(fs, n.id);
	return r;
}

enum weir_code
weir_fs_look(struct weir_fs *fs, const char *remote, struct weir_err *err)
{
	struct weir_remote *r;

	weir_store_lock(fs->st);
	r = weir_sync_remote_named(fs->sy, remote);
	if (r)
		weir_remote_look(r);
	weir_store_unlock(fs->st);
	return r ? WEIR_OK : weir_err_set(err, WEIR_E_NOENT, "the mount has no remote '%s'", remote);
}

static enum weir_code
verify_one(struct weir_fs *fs, uint64_t node, bool settle, uint64_t *pages, uint64_t *bad, struct weir_err *err)
{
	struct weir_content *c = NULL;
	struct weir_node n;
	bool dropped = false;
	uint64_t count = 0;
	enum weir_code r;

	weir_store_lock(fs->st);
	if ((r = weir_node_get(fs->st, node, &n)) || !n.content || (r = weir_content_get(fs->st, &n, &c, err)) || !c) {
		weir_store_unlock(fs->st);
		return r == WEIR_E_NOENT ? WEIR_OK : r;
	}
	for (uint64_t i = 0; i < weir_content_npages(c); i++) {
		struct weir_page *p = weir_content_page(c, i);

		if (settle && (p->flags & WEIR_P_BAD))
			weir_content_page_set(c, i, WEIR_PAGE_OPEN, 0);
		p->flags &= (uint8_t)~WEIR_P_VERIFIED;
		count += p->state == WEIR_PAGE_CLEAN || p->state == WEIR_PAGE_CHANGED;
	}
	weir_store_unlock(fs->st);
	*pages += count;
	if (count)
		r = weir_content_verify(c, 0, weir_content_npages(c) - 1, &dropped, err);
	if (r || dropped)
		(*bad)++;
	weir_store_lock(fs->st);
	weir_content_put(c);
	weir_store_unlock(fs->st);
	return r == WEIR_E_IO && !settle ? WEIR_OK : r;
}

enum weir_code
weir_fs_verify(struct weir_fs *fs, const char *path, bool settle, uint64_t *pages, uint64_t *bad, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) uint64_t *ids = NULL;
	size_t n = 0, cap = 0;
	struct flush cover = { .fs = fs };
	struct weir_node top;
	sqlite3_stmt *s;
	enum weir_code r = WEIR_OK;

	*pages = *bad = 0;
	weir_store_lock(fs->st);
	if (path && strcmp(path, "/") != 0 && !(r = ns_resolve(fs, path, &top, err))) {
		ns_scope(fs, &top, &cover.top);
		cover.has_top = true;
	}
	s = weir_store_stmt(fs->st, "SELECT node FROM contents");
	while (!r && sqlite3_step(s) == SQLITE_ROW) {
		if (n == cap) {
			cap = cap ? cap * 2 : 256;
			ids = weir_xrealloc(ids, cap, sizeof(*ids));
		}
		ids[n++] = (uint64_t)sqlite3_column_int64(s, 0);
	}
	sqlite3_reset(s);
	for (size_t i = 0; !r && cover.has_top && i < n; i++)
		if (!flush_covers(&cover, ids[i]))
			ids[i] = 0;
	if (!r && settle)
		weir_store_step_done(fs->st, weir_store_stmt(fs->st, "DELETE FROM reports WHERE kind='quarantine'"), NULL);
	weir_store_unlock(fs->st);
	for (size_t i = 0; !r && i < n; i++)
		if (ids[i])
			r = verify_one(fs, ids[i], settle, pages, bad, err);
	return r;
}
