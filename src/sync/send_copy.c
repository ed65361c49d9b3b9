/* SPDX-License-Identifier: Apache-2.0 */
/* A whole file copied inside one storage by the storage itself (copy_file_range, cp --reflink=auto): nothing travels through this host.
 *
 * The caller's request waits until the copy is there, so there is never a file whose bytes exist only as somebody else's object. What is to come is
 * noted first, as for an upload: after a crash the object is recognised by the version it was made from. */
#include "config.h"

#include "internal.h"

#include <stdio.h>
#include <string.h>

struct copy_job {
	struct job job;
	struct send send;
	struct weir_node from, to;	/* as they were when it began */
	struct place src, dst;
	struct weir_waitq waiters;
};

static bool
copy_is_possible(struct weir_remote *r, const struct weir_node *from, const struct weir_node *to)
{
	struct weir_store *st = r->sy->st;
	struct weir_upload_row row;
	struct weir_node other;
	char rname[WEIR_RNAME_MAX + 1];

	if (!r->be->ops->copy || (weir_backend_caps(r->be) & WEIR_CAP_LOCAL) || r->conf->is_readonly || from->remote != to->remote)
		return false;
	if (!from->rparent || !from->rversion[0] || (from->flags & WEIR_N_CONTENT) || from->size != from->rsize)
		return false;
	if (to->rparent || !to->parent || to->size || to->type != WEIR_FILE || weir_upload_get(st, to->id, &row))
		return false; /* what an overwrite replaces is compared by the upload */
	if (!weir_remote_rname(r, to->type, to->name, rname) || weir_node_get(st, to->parent, &other) ||
	    (!other.rparent && !(other.flags & WEIR_N_ROOT)))
		return false;
	return weir_node_remote_child(st, to->parent, rname, &other) == WEIR_E_NOENT;
}

/* What a lost answer or a crash leaves behind must be known as ours. */
static enum weir_code
copy_note(struct weir_store *st, const struct copy_job *j, struct weir_err *err)
{
	struct weir_upload_row row = { .node = j->to.id, .size = j->from.rsize, .dir = j->send.to_dir };
	enum weir_code r;

	snprintf(row.name, sizeof(row.name), "%s", j->send.to_name);
	snprintf(row.sum, sizeof(row.sum), WEIR_SUM_VERSION "%.110s", j->from.rversion);
	if ((r = weir_store_begin(st, err)))
		return r;
	if ((r = weir_upload_put(st, &row, err))) {
		weir_store_rollback(st);
		return r;
	}
	return weir_store_commit(st, err);
}

/* In a transaction: the object is there. If the file here is as it was, it becomes that version; else that version is what it replaces. */
static enum weir_code
copy_settle(struct weir_remote *r, struct copy_job *j, const struct weir_stat *got, struct weir_content **made, struct weir_err *err)
{
	struct weir_store *st = r->sy->st;
	struct weir_content *c = weir_content_live(st, j->to.id);
	struct weir_node n;
	bool as_it_was;
	enum weir_code code;

	if ((code = weir_node_get(st, j->to.id, &n)))
		return code;
	as_it_was = n.parent && n.content == j->to.content && (!c || (c->size == 0 && !c->writing && c->wgen == 0 && !c->frozen));
	n.rparent = j->send.to_dir;
	snprintf(n.rname, sizeof(n.rname), "%s", j->send.to_name);
	snprintf(n.rversion, sizeof(n.rversion), "%s", got->version ? got->version : "");
	if (got->id)
		snprintf(n.rid, sizeof(n.rid), "%s", got->id);
	n.rsize = j->from.rsize;
	if (as_it_was && n.content && (code = weir_content_drop(st, &n, err)))
		return code;
	if (as_it_was) {
		n.size = j->from.rsize;
		n.flags = (n.flags & ~(uint32_t)WEIR_N_CONTENT) | WEIR_N_EXACT;
		n.mtime_ns = n.ctime_ns = weir_wall_ns();
		if ((code = weir_content_new(st, &n, false, n.size, made, err)))
			return code;
	}
	if ((code = weir_node_update(st, &n, err)) || (code = weir_upload_drop(st, n.id, err)))
		return code;
	list_touch(r, n.rparent, n.rname);
	/* the scheduler forgets the row when nothing differs any more */
	return weir_journal_put(st, n.id, r->id, as_it_was ? 0 : weir_wall_ns() / 1000000 + WEIR_SETTLE_MS, err);
}

static enum weir_code
copy_settle_all(struct weir_remote *r, struct copy_job *j, const struct weir_stat *got, struct weir_err *err)
{
	struct weir_store *st = r->sy->st;
	struct weir_content *made = NULL;
	enum weir_code code;

	if ((code = weir_store_begin(st, err)))
		return code;
	if ((code = copy_settle(r, j, got, &made, err)))
		weir_store_rollback(st);
	else
		code = weir_store_commit(st, err);
	if (!code && r->usage.has_used)
		r->usage.used += j->from.rsize;
	weir_content_put(made);
	return code;
}

static void
copy_run(struct weir_remote *r, struct job *job)
{
	struct copy_job *j = (struct copy_job *)job;
	struct weir_store *st = r->sy->st;
	struct weir_ctx ctx = { .cancel = &r->cancel };
	struct weir_where from, to;
	struct weir_stat got = { 0 };
	struct weir_err err = { 0 };
	enum weir_code code;

	place_where(&j->src, &from);
	place_where(&j->dst, &to);
	to.version = WEIR_ABSENT;
	code = r->be->ops->copy(r->be, &ctx, &from, &to, &got, &err);
	weir_store_lock(st);
	if (code == WEIR_OK)
		code = copy_settle_all(r, j, &got, &err);
	remote_note(r, code, code ? weir_err_text(&err, code) : NULL);
	send_leave(r, &j->send);
	weir_wake_all(&j->waiters, code);
	weir_wake_all(&r->sent, WEIR_OK);
	r->is_kicked = true;
	weir_store_unlock(st);
	weir_stat_free(&got);
	place_free(&j->src);
	place_free(&j->dst);
	free(j);
}

enum weir_code
weir_sync_copy(struct weir_sync *sy, const struct weir_node *from, const struct weir_node *to, struct weir_waiter *w)
{
	struct weir_remote *r = weir_sync_remote(sy, to->remote);
	struct copy_job *j;

	if (!r || remote_usable(r) || !copy_is_possible(r, from, to))
		return WEIR_E_NOTSUP;
	j = weir_xcalloc(1, sizeof(*j));
	j->from = *from;
	j->to = *to;
	j->send.node = to->id;
	j->send.from_dir = from->rparent;
	snprintf(j->send.from_name, sizeof(j->send.from_name), "%s", from->rname);
	j->send.to_dir = to->parent;
	if (!weir_remote_rname(r, to->type, to->name, j->send.to_name) || weir_sync_is_sending(r, from->id) ||
	    !place_of(sy->st, from, &j->src) || !place_in(sy->st, to->parent, j->send.to_name, &j->dst) || !send_enter(r, &j->send)) {
		place_free(&j->src);
		place_free(&j->dst);
		free(j);
		return WEIR_E_NOTSUP;
	}
	if (copy_note(sy->st, j, NULL)) {
		send_leave(r, &j->send);
		place_free(&j->src);
		place_free(&j->dst);
		free(j);
		return WEIR_E_NOTSUP;
	}
	weir_wait_add(&j->waiters, w);
	j->job.run = copy_run;
	remote_submit(r, &j->job, JOB_SEND);
	return WEIR_PENDING;
}
