/* SPDX-License-Identifier: Apache-2.0 */
/* Sending what is not content: new directories, renames, removals.
 *
 * A storage without directory moves gets one idempotent step per object: copy naming the version, check, delete. The node's own remote place changes
 * when the last one is done, so a crash in between starts the same walk again and finds what is left. */
#include "config.h"

#include "internal.h"

#include <stdio.h>
#include <string.h>

struct move {
	struct weir_remote *r;
	struct send_job *j;
	struct weir_ctx ctx;
};

/* ---- settling (lock not held) ---- */

static enum weir_code
settle_remove(struct move *m, struct weir_err *err)
{
	struct weir_store *st = m->r->sy->st;
	struct weir_node n;
	enum weir_code r;

	weir_store_lock(st);
	if (!(r = weir_store_begin(st, err))) {
		if (!(r = weir_node_get(st, m->j->node.id, &n))) {
			if (m->r->usage.has_used)
				m->r->usage.used -= n.rsize < m->r->usage.used ? n.rsize : m->r->usage.used;
			list_touch(m->r, n.rparent, n.rname);
			n.rparent = 0;
			n.rname[0] = n.rid[0] = n.rversion[0] = 0;
			n.rsize = 0;
			r = weir_node_update(st, &n, err);
			if (!r) /* the scheduler forgets it, or sends it anew if it was given a name again */
				r = weir_journal_put(st, n.id, m->r->id, 0, err);
		}
		if (r)
			weir_store_rollback(st);
		else
			r = weir_store_commit(st, err);
	}
	weir_store_unlock(st);
	return r;
}

/* A tombstone whose place was taken by a rename over it. */
static enum weir_code
settle_replaced(struct move *m, struct weir_err *err)
{
	struct weir_store *st = m->r->sy->st;
	struct weir_node n;
	enum weir_code r;

	if (!m->j->replaced || weir_node_get(st, m->j->replaced, &n))
		return WEIR_OK;
	if (m->r->usage.has_used)
		m->r->usage.used -= n.rsize < m->r->usage.used ? n.rsize : m->r->usage.used;
	n.rparent = 0;
	n.rsize = 0;
	if ((r = weir_node_update(st, &n, err)))
		return r;
	return weir_journal_put(st, n.id, m->r->id, 0, err);
}

static enum weir_code
settle_place(struct move *m, const struct weir_stat *got, bool is_new, struct weir_err *err)
{
	struct weir_store *st = m->r->sy->st;
	struct send_job *j = m->j;
	struct weir_node n;
	enum weir_code r;

	weir_store_lock(st);
	if ((r = weir_store_begin(st, err)))
		goto out;
	if (!(r = settle_replaced(m, err)) && !(r = weir_node_get(st, j->node.id, &n))) {
		if (n.rparent)
			list_touch(m->r, n.rparent, n.rname);
		list_touch(m->r, j->send.to_dir, j->send.to_name);
		n.rparent = j->send.to_dir;
		snprintf(n.rname, sizeof(n.rname), "%s", j->send.to_name);
		if (got->id)
			snprintf(n.rid, sizeof(n.rid), "%s", got->id);
		if (n.type != WEIR_DIR && got->version)
			snprintf(n.rversion, sizeof(n.rversion), "%s", got->version);
		if (is_new)
			n.listed_ms = weir_wall_ns() / 1000000;
		r = weir_node_update(st, &n, err);
		if (!r)
			r = weir_upload_drop(st, n.id, err);
		if (!r)
			r = weir_journal_put(st, n.id, m->r->id, 0, err);
	}
	if (r)
		weir_store_rollback(st);
	else
		r = weir_store_commit(st, err);
out:
	weir_store_unlock(st);
	return r;
}

/* ---- undoing what the remote forbids ---- */

static bool
has_all(struct weir_store *st, const struct weir_node *n)
{
	struct weir_content *c = NULL;
	size_t len;
	bool yes;

	if (n->type == WEIR_LINK && !weir_xattr_get(st, n->id, "!link", NULL, 0, &len))
		return true;
	if (n->size == 0)
		return true;
	if (weir_content_get(st, n, &c, NULL) || !c)
		return false;
	yes = weir_content_check_complete(c);
	weir_content_put(c);
	return yes;
}

/* A removal or rename that named a version the remote does not have any more: the remote's stays, the tree shows it again. */
static enum weir_code
undo(struct move *m, const char *what, struct weir_err *err)
{
	struct weir_store *st = m->r->sy->st;
	struct weir_buf path = WEIR_BUF(1 << 20);
	struct weir_node n, up, other;
	enum weir_code r;

	weir_store_lock(st);
	if ((r = weir_store_begin(st, err)))
		goto out;
	if (!(r = weir_node_get(st, m->j->node.id, &n))) {
		uint64_t dir = n.rparent;
		uint64_t old_parent = n.parent;

		weir_node_local_path(st, n.id, &path);
		weir_report_add(st, "undone", weir_buf_str(&path), what, NULL);
		enum weir_code taken = n.type == WEIR_DIR ? weir_node_child(st, n.rparent, n.rname, &other) : WEIR_OK;

		if (taken && taken != WEIR_E_NOENT) {
			r = weir_err_set(err, taken, "meta.db: cannot read");
			goto end;
		}
		if (taken == WEIR_E_NOENT) {
			n.parent = n.rparent;
			snprintf(n.name, sizeof(n.name), "%.255s", n.rname);
			n.listed_ms = n.listed_ms ? 1 : 0;
		} else if (n.type == WEIR_DIR || !n.parent) {
			n.rparent = 0; /* forgotten here; the listing below brings what is there */
			n.rsize = 0;
		} else if (!has_all(st, &n)) {
			/* Gone there, and not whole here: nothing of it can be kept. */
			news_deleted(m->r, n.parent, n.id, n.name);
			n.parent = n.rparent = 0;
			n.rsize = 0;
		} else {
			/* A renamed file: its bytes stay under the new name as a new file. */
			n.rparent = 0;
			n.rname[0] = n.rid[0] = n.rversion[0] = 0;
			n.rsize = 0;
			n.flags |= WEIR_N_CONTENT;
		}
		r = weir_node_update(st, &n, err);
		if (!r)
			r = weir_upload_drop(st, n.id, err);
		if (!r)
			r = weir_journal_put(st, n.id, m->r->id, 0, err);
		if (!r && !weir_node_get(st, dir, &up)) {
			up.listed_ms = up.listed_ms ? 1 : 0;
			r = weir_node_update(st, &up, err);
			news_node(m->r, dir, true);
		}
		if (old_parent)
			news_node(m->r, old_parent, true);
	}
end:
	if (r)
		weir_store_rollback(st);
	else
		r = weir_store_commit(st, err);
out:
	weir_store_unlock(st);
	weir_buf_free(&path);
	return r ? r : WEIR_E_BUSY;
}

/* Is what is at the old place an upload of ours whose answer was lost? */
static bool
earlier_is_ours(struct move *m, const struct weir_where *where, const struct weir_stat *now)
{
	struct weir_upload_row row;
	bool has_row;

	weir_store_lock(m->r->sy->st);
	has_row = weir_upload_get(m->r->sy->st, m->j->node.id, &row) && strcmp(row.id, WEIR_UPLOAD_MOVE) != 0;
	weir_store_unlock(m->r->sy->st);
	return has_row && send_is_ours(m->r, &m->ctx, where, now, &row);
}

/* A file that was changed on the remote and renamed here: take the new version along. */
static enum weir_code
move_newer(struct move *m, struct weir_err *err)
{
	struct weir_store *st = m->r->sy->st;
	struct weir_stat now = { 0 };
	struct weir_where where;
	struct weir_node n, up;
	bool is_ours;
	enum weir_code r;

	place_where(&m->j->from, &where);
	where.version = NULL;
	r = m->r->be->ops->stat(m->r->be, &m->ctx, &where, &now, err);
	if (r == WEIR_E_NOENT)
		return undo(m, "it was removed on the remote while it was renamed here; what is cached is kept under the new name", err);
	if (r)
		return r;
	is_ours = earlier_is_ours(m, &where, &now);
	weir_store_lock(st);
	if (!(r = weir_store_begin(st, err))) {
		if (!(r = weir_node_get(st, m->j->node.id, &n))) {
			bool is_dirty = n.flags & WEIR_N_CONTENT;

			if (is_dirty && !is_ours) {
				/* Changed on both sides: theirs stays under the old name, ours is a new file under the new one. */
				uint64_t dir = n.rparent;

				n.rparent = 0;
				n.rname[0] = n.rid[0] = n.rversion[0] = 0;
				n.rsize = 0;
				if (!weir_node_get(st, dir, &up)) {
					up.listed_ms = up.listed_ms ? 1 : 0;
					weir_node_update(st, &up, NULL);
				}
			} else if (is_ours)
				snprintf(n.rversion, sizeof(n.rversion), "%s", now.version ? now.version : "");
			else if (!(r = merge_changed(m->r, &n, &now, err)) && n.id != m->j->node.id) /* who has the old version open keeps it */
				r = weir_journal_put(st, n.id, m->r->id, 0, err);
			if (!r && (is_dirty || is_ours))
				r = weir_node_update(st, &n, err);
			if (!r && is_dirty && !is_ours)
				r = weir_upload_drop(st, n.id, err);
		}
		if (r)
			weir_store_rollback(st);
		else
			r = weir_store_commit(st, err);
	}
	weir_store_unlock(st);
	weir_stat_free(&now);
	return r ? r : WEIR_E_BUSY;
}

/* Somebody else has put something where this node goes. */
static enum weir_code
move_target_taken(struct move *m, struct weir_err *err)
{
	struct weir_store *st = m->r->sy->st;
	struct weir_stat theirs = { 0 };
	struct weir_where where;
	enum weir_code r;

	place_where(&m->j->to, &where);
	r = m->r->be->ops->stat(m->r->be, &m->ctx, &where, &theirs, err);
	if (r == WEIR_E_NOENT)
		return WEIR_E_BUSY;
	if (r)
		return r;
	weir_store_lock(st);
	/* Its content may not be here: then it must keep its remote place, only the name steps aside. */
	{
		uint64_t rparent = m->j->node.rparent;
		struct weir_node n, before = m->j->node;

		r = send_conflict(m->r, m->j, &theirs, err);
		if (!r && rparent && !weir_node_get(st, before.id, &n) && !weir_store_begin(st, NULL)) {
			n.rparent = before.rparent;
			n.rsize = before.rsize;
			snprintf(n.rname, sizeof(n.rname), "%s", before.rname);
			snprintf(n.rid, sizeof(n.rid), "%s", before.rid);
			snprintf(n.rversion, sizeof(n.rversion), "%s", before.rversion);
			if (weir_node_update(st, &n, NULL) || weir_upload_drop(st, n.id, NULL))
				weir_store_rollback(st);
			else
				weir_store_commit(st, NULL);
		}
	}
	weir_store_unlock(st);
	weir_stat_free(&theirs);
	return r ? r : WEIR_E_BUSY;
}

/* ---- directories object by object ---- */

struct deep_move {
	struct move *m;
	struct place *items;
	char **versions;
	bool *dirs;
	size_t n, cap;
};

static enum weir_code
deep_collect(void *arg, const struct weir_stat *st, struct weir_err *err)
{
	struct deep_move *d = arg;

	if (d->n == d->cap) {
		d->cap = d->cap ? d->cap * 2 : 256;
		d->items = weir_xrealloc(d->items, d->cap, sizeof(*d->items));
		d->dirs = weir_xrealloc(d->dirs, d->cap, sizeof(*d->dirs));
	}
	d->items[d->n] = (struct place){ .path = weir_xstrdup(st->path), .id = weir_xstrdup(st->id), .version = weir_xstrdup(st->version) };
	d->dirs[d->n++] = st->type == WEIR_DIR;
	return WEIR_OK;
}

/* The moved object's new version belongs into the row of its node, if the object is the version that the node knows (was): what somebody else put there
 * meanwhile must still be found to be other. Lock not held. */
static void
deep_note_version(struct move *m, const char *rel, const char *was, const struct weir_stat *got)
{
	struct weir_store *st = m->r->sy->st;
	uint64_t dir = m->j->node.id;
	struct weir_node n;
	char name[WEIR_RNAME_MAX + 1];

	if (!got->version)
		return;
	weir_store_lock(st);
	for (const char *slash; (slash = strchr(rel, '/')); rel = slash + 1) {
		snprintf(name, sizeof(name), "%.*s", (int)(slash - rel), rel);
		if (weir_node_remote_child(st, dir, name, &n))
			goto out;
		dir = n.id;
	}
	if (!weir_node_remote_child(st, dir, rel, &n) && strcmp(n.rversion, got->version) != 0 && (!was || strcmp(n.rversion, was) == 0) &&
	    !weir_store_begin(st, NULL)) {
		snprintf(n.rversion, sizeof(n.rversion), "%s", got->version);
		if (weir_node_update(st, &n, NULL))
			weir_store_rollback(st);
		else
			weir_store_commit(st, NULL);
	}
out:
	weir_store_unlock(st);
}

/* In a transaction: the name in the moved directory means theirs, and a look at its folder finds ours beside it. */
static enum weir_code
deep_give_way(struct move *m, const char *rel, const struct weir_stat *theirs, struct weir_err *err)
{
	struct weir_store *st = m->r->sy->st;
	uint64_t dir = m->j->node.id;
	struct weir_node n, up;
	char name[WEIR_RNAME_MAX + 1];
	enum weir_code r = WEIR_OK;

	for (const char *slash; (slash = strchr(rel, '/')); rel = slash + 1) {
		snprintf(name, sizeof(name), "%.*s", (int)(slash - rel), rel);
		if (weir_node_remote_child(st, dir, name, &n))
			return WEIR_OK;
		dir = n.id;
	}
	if (!weir_node_remote_child(st, dir, rel, &n) && !(n.flags & WEIR_N_CONTENT))
		r = merge_changed(m->r, &n, theirs, err);
	if (r || weir_node_get(st, dir, &up) || up.listed_ms <= 1)
		return r;
	up.listed_ms = 1;
	return weir_node_update(st, &up, err);
}

/* Somebody else has put something where this object of the moved directory goes: theirs keeps the name. Lock not held. */
static enum weir_code
deep_beside(struct deep_move *d, const struct weir_where *wf, const char *rel, const char *to, const struct weir_stat *theirs, struct weir_err *err)
{
	struct move *m = d->m;
	struct weir_backend *be = m->r->be;
	const char *slash = strrchr(to, '/');
	char name[WEIR_NAME_MAX + 1];
	WEIR_AUTO(weir_freep) char *dir = slash ? weir_xstrndup(to, (size_t)(slash - to)) : weir_xstrdup(""), *beside = NULL, *text = NULL;
	struct weir_where wt = { .version = WEIR_ABSENT };
	struct weir_stat got = { 0 };
	enum weir_code r;

	weir_conflict_name(slash ? slash + 1 : to, name);
	wt.path = beside = weir_path_join(dir, name);
	if (be->ops->move)
		r = be->ops->move(be, &m->ctx, wf, &wt, false, &got, err);
	else if (!(r = be->ops->copy(be, &m->ctx, wf, &wt, &got, err)))
		r = be->ops->remove(be, &m->ctx, wf, false, err);
	weir_stat_free(&got);
	if (r)
		return r;
	text = weir_xasprintf("somebody else put a file there while the directory was renamed here; ours is '%s'", name);
	weir_store_lock(m->r->sy->st);
	if (!(r = weir_store_begin(m->r->sy->st, err))) {
		if ((r = deep_give_way(m, rel, theirs, err)) || (r = weir_report_add(m->r->sy->st, "conflict", to, text, err)))
			weir_store_rollback(m->r->sy->st);
		else
			r = weir_store_commit(m->r->sy->st, err);
	}
	weir_store_unlock(m->r->sy->st);
	return r;
}

static enum weir_code
deep_one(struct deep_move *d, size_t i, struct weir_err *err)
{
	struct move *m = d->m;
	struct weir_backend *be = m->r->be;
	WEIR_AUTO(weir_freep) char *from = weir_path_join(m->j->from.path, d->items[i].path);
	WEIR_AUTO(weir_freep) char *to = weir_path_join(m->j->to.path, d->items[i].path);
	struct weir_where wf = { .path = from, .id = d->items[i].id, .version = d->items[i].version }, wt = { .path = to, .version = d->dirs[i] ? NULL : WEIR_ABSENT };
	struct weir_stat got = { 0 };
	enum weir_code r;

	if (d->dirs[i]) {
		r = be->ops->mkdir(be, &m->ctx, &wt, &got, err);
		if (r == WEIR_E_EXIST)
			r = WEIR_OK;
	} else if (be->ops->move)
		r = be->ops->move(be, &m->ctx, &wf, &wt, false, &got, err);
	else if (be->ops->copy) {
		r = be->ops->copy(be, &m->ctx, &wf, &wt, &got, err);
		if (!r)
			r = be->ops->remove(be, &m->ctx, &wf, false, err);
	} else
		r = weir_err_set(err, WEIR_E_NOTSUP, "the storage cannot rename");
	if (!r && !d->dirs[i])
		deep_note_version(m, d->items[i].path, d->items[i].version, &got);
	weir_stat_free(&got);
	if ((r == WEIR_E_CHANGED || r == WEIR_E_EXIST) && !d->dirs[i]) {
		const struct weir_where there = { .path = to };

		got = (struct weir_stat){ 0 };
		if (be->ops->stat(be, &m->ctx, &there, &got, NULL) == WEIR_OK)
			r = deep_beside(d, &wf, d->items[i].path, to, &got, err);
		weir_stat_free(&got);
	}
	return r == WEIR_E_NOENT || r == WEIR_E_CHANGED ? WEIR_E_LOCKED : r; /* somebody is at work in there: look again */
}

static enum weir_code
move_deep(struct move *m, struct weir_stat *got, struct weir_err *err)
{
	struct deep_move d = { .m = m };
	struct weir_backend *be = m->r->be;
	struct weir_where from, to;
	enum weir_code r;

	place_where(&m->j->from, &from);
	place_where(&m->j->to, &to);
	from.version = to.version = NULL;
	r = be->ops->list(be, &m->ctx, &from, WEIR_LIST_DEEP, deep_collect, &d, NULL, err);
	if (!r) {
		r = be->ops->mkdir(be, &m->ctx, &to, got, err);
		if (r == WEIR_E_EXIST)
			r = WEIR_OK;
	}
	for (size_t i = 0; !r && i < d.n; i++)
		r = deep_one(&d, i, err);
	for (size_t i = d.n; !r && i-- > 0;)
		if (d.dirs[i]) {
			WEIR_AUTO(weir_freep) char *path = weir_path_join(m->j->from.path, d.items[i].path);
			struct weir_where w = { .path = path };

			r = be->ops->remove(be, &m->ctx, &w, true, err);
			if (r == WEIR_E_NOENT)
				r = WEIR_OK;
		}
	if (!r) {
		r = be->ops->remove(be, &m->ctx, &from, true, err);
		if (r == WEIR_E_NOENT)
			r = WEIR_OK;
	}
	for (size_t i = 0; i < d.n; i++)
		place_free(&d.items[i]);
	free(d.items);
	free(d.dirs);
	return r == WEIR_E_NOTEMPTY ? WEIR_E_LOCKED : r;
}

/* ---- the operations ---- */

#define DOUBT_MS 10000	/* a request that a server took before we went away has had its effect by then */

/* Nothing is there yet. A busy server may still work on what a worker sent that is dead by now, so it is looked at again, ever less often. */
static bool
is_doubt_young(struct move *m)
{
	int64_t age = (weir_wall_ns() - m->j->node.btime_ns) / 1000000;

	if (age < 0 || age >= DOUBT_MS)
		return false;
	m->j->wait_ms = age < 500 ? 250 : age / 2;
	return true;
}

/* An upload that may have arrived under a name the file does not have any more. What is there goes only if it is what we sent. */
static enum weir_code
remove_doubt(struct move *m, struct weir_err *err)
{
	struct weir_backend *be = m->r->be;
	struct weir_stat theirs = { 0 };
	struct weir_upload_row row;
	struct weir_where w;
	bool has_row;
	enum weir_code r;

	weir_store_lock(m->r->sy->st);
	has_row = weir_upload_get(m->r->sy->st, m->j->node.id, &row);
	weir_store_unlock(m->r->sy->st);
	place_where(&m->j->from, &w);
	if (has_row && row.id[0] && be->ops->upload_abort)
		be->ops->upload_abort(be, &m->ctx, &w, row.id, NULL);
	r = be->ops->stat(be, &m->ctx, &w, &theirs, err);
	if (!r && has_row && send_is_ours(m->r, &m->ctx, &w, &theirs, &row)) {
		w.version = theirs.version;
		r = be->ops->remove(be, &m->ctx, &w, false, err);
	}
	weir_stat_free(&theirs);
	if (r == WEIR_E_NOENT && is_doubt_young(m))
		return WEIR_E_BUSY;
	if (r == WEIR_E_NOENT || r == WEIR_E_CHANGED)
		r = WEIR_OK;
	return r ? r : settle_remove(m, err);
}

static enum weir_code
do_remove(struct move *m, struct weir_err *err)
{
	struct weir_backend *be = m->r->be;
	bool is_dir = m->j->node.type == WEIR_DIR;
	struct weir_where w;
	enum weir_code r;

	if (m->j->node.flags & WEIR_N_DOUBT)
		return remove_doubt(m, err);
	place_where(&m->j->from, &w);
	if (is_dir)
		w.version = NULL;
	r = be->ops->remove(be, &m->ctx, &w, is_dir, err);
	if (r == WEIR_E_NOENT)
		r = WEIR_OK;
	if (r == WEIR_E_CHANGED && !is_dir) {
		struct weir_stat now = { 0 };

		w.version = NULL;
		r = be->ops->stat(be, &m->ctx, &w, &now, err);
		if (!r && earlier_is_ours(m, &w, &now)) {
			w.version = now.version;
			r = be->ops->remove(be, &m->ctx, &w, false, err);
		} else if (!r)
			r = WEIR_E_CHANGED;
		weir_stat_free(&now);
		if (r == WEIR_E_NOENT)
			r = WEIR_OK;
	}
	if (r == WEIR_E_CHANGED)
		return undo(m, "it was removed here and changed on the remote; the remote's version stays", err);
	if (r == WEIR_E_NOTEMPTY)
		return undo(m, "the directory was removed here, but something new is in it on the remote; it stays", err);
	return r ? r : settle_remove(m, err);
}

static enum weir_code
do_mkdir(struct move *m, struct weir_stat *got, struct weir_err *err)
{
	struct weir_where w;
	enum weir_code r;

	place_where(&m->j->to, &w);
	r = m->r->be->ops->mkdir(m->r->be, &m->ctx, &w, got, err);
	if (r == WEIR_E_EXIST) /* directories of one name merge: what is in it has to be looked at */
		return settle_place(m, got, false, err);
	return r ? r : settle_place(m, got, true, err);
}

/* Before a rename is sent, say where it goes: a crash must not leave an object under a name that nobody knows of. An upload's note stays. */
static enum weir_code
move_note(struct move *m, struct weir_err *err)
{
	struct weir_store *st = m->r->sy->st;
	struct weir_upload_row row = { .node = m->j->node.id, .size = m->j->node.rsize, .dir = m->j->send.to_dir, .id = WEIR_UPLOAD_MOVE }, old;
	enum weir_code r = WEIR_OK;

	snprintf(row.name, sizeof(row.name), "%s", m->j->send.to_name);
	weir_store_lock(st);
	if ((!weir_upload_get(st, row.node, &old) || strcmp(old.id, WEIR_UPLOAD_MOVE) == 0) && !(r = weir_store_begin(st, err))) {
		if ((r = weir_upload_put(st, &row, err)))
			weir_store_rollback(st);
		else
			r = weir_store_commit(st, err);
	}
	weir_store_unlock(st);
	return r;
}

/* An earlier try of this rename may have made the copy and not removed the original, or both: then what is at the target has our version. */
static enum weir_code
move_half_done(struct move *m, enum weir_code why, struct weir_stat *got, struct weir_err *err)
{
	struct weir_backend *be = m->r->be;
	struct weir_stat there = { 0 };
	struct weir_where from, to;
	enum weir_code r;

	place_where(&m->j->from, &from);
	place_where(&m->j->to, &to);
	if (be->ops->stat(be, &m->ctx, &to, &there, NULL))
		return why;
	if (there.size != m->j->node.rsize || !there.version || !from.version || strcmp(there.version, from.version) != 0) {
		weir_stat_free(&there);
		return why;
	}
	r = be->ops->remove(be, &m->ctx, &from, false, err);
	if (r && r != WEIR_E_NOENT) {
		weir_stat_free(&there);
		return r;
	}
	weir_stat_free(got);
	*got = there;
	return WEIR_OK;
}

/* The directory is not where it was. Either our own rename has arrived and its answer was lost, then it is at the target (what is in it is looked at
 * again), or somebody else took it away. */
static bool
dir_has_moved(struct move *m, struct weir_stat *got)
{
	struct weir_backend *be = m->r->be;
	struct weir_stat there = { 0 };
	struct weir_where to;
	bool yes;

	place_where(&m->j->to, &to);
	to.id = NULL;
	to.version = NULL;
	if (be->ops->stat(be, &m->ctx, &to, &there, NULL))
		return false;
	yes = there.type == WEIR_DIR && (!there.id || !m->j->from.id || strcmp(there.id, m->j->from.id) == 0);
	if (yes) {
		weir_stat_free(got);
		*got = there;
	} else
		weir_stat_free(&there);
	return yes;
}

static enum weir_code
do_move(struct move *m, struct weir_stat *got, struct weir_err *err)
{
	struct weir_backend *be = m->r->be;
	struct send_job *j = m->j;
	bool is_dir = j->node.type == WEIR_DIR;
	struct weir_where from, to;
	struct weir_node old;
	char version[WEIR_ID_MAX + 1] = "";
	enum weir_code r;

	if ((r = move_note(m, err)))
		return r;
	if (is_dir && !(weir_backend_caps(be) & WEIR_CAP_DIR_MOVE)) {
		if ((r = move_deep(m, got, err)))
			return r;
		weir_stat_free(got);
		return settle_place(m, got, false, err);
	}
	place_where(&j->from, &from);
	place_where(&j->to, &to);
	to.version = WEIR_ABSENT;
	if (is_dir)
		from.version = NULL;
	weir_store_lock(m->r->sy->st);
	if (j->replaced && !weir_node_get(m->r->sy->st, j->replaced, &old))
		snprintf(version, sizeof(version), "%s", old.rversion);
	weir_store_unlock(m->r->sy->st);
	if (j->replaced)
		to.version = version[0] ? version : NULL;
	if (be->ops->move)
		r = be->ops->move(be, &m->ctx, &from, &to, is_dir, got, err);
	else if (be->ops->copy && !is_dir) {
		r = be->ops->copy(be, &m->ctx, &from, &to, got, err);
		if (!r)
			r = be->ops->remove(be, &m->ctx, &from, false, err);
	} else
		r = weir_err_set(err, WEIR_E_NOTSUP, "the storage cannot rename");
	if (j->is_repeat && !is_dir && (r == WEIR_E_EXIST || r == WEIR_E_CHANGED || r == WEIR_E_NOENT))
		r = move_half_done(m, r, got, err);
	if (r == WEIR_E_EXIST || (r == WEIR_E_CHANGED && j->replaced))
		return move_target_taken(m, err);
	if (r == WEIR_E_NOENT && is_dir && dir_has_moved(m, got))
		r = WEIR_OK;
	if (r == WEIR_E_CHANGED || r == WEIR_E_NOENT)
		return move_newer(m, err);
	return r ? r : settle_place(m, got, false, err);
}

enum weir_code
send_move(struct weir_remote *r, struct send_job *j, struct weir_err *err)
{
	struct move m = { .r = r, .j = j, .ctx.cancel = &r->cancel };
	struct weir_stat got = { 0 };
	enum weir_code code;

	if (j->op == SEND_REMOVE)
		code = do_remove(&m, err);
	else if (j->op == SEND_MKDIR)
		code = do_mkdir(&m, &got, err);
	else
		code = do_move(&m, &got, err);
	weir_stat_free(&got);
	return code;
}
