/* SPDX-License-Identifier: Apache-2.0 */
/* Draining the journal: which node can be sent now, as what, and what becomes of its row.
 *
 * What has to be done follows from the difference of a node's two places:
 *
 *   here | there | differs           | operation
 *   no   | no    |                   | forget the node
 *   no   | yes   |                   | REMOVE (a directory: when no node has its remote place below it)
 *   yes  | no    |                   | MKDIR or PUT, once the parent is there and the name is free
 *   yes  | yes   | place             | MOVE
 *   yes  | yes   | content           | PUT, naming the version it replaces
 *   yes  | yes   | metadata          | META
 *
 * Rows are looked at in order, but an operation only waits for what it would collide with: a running operation on the same node, on one
 * of its two names, on an ancestor or a descendant. A file that takes the name of an unlinked one takes its remote identity too: one new
 * revision instead of delete and create. A ring of renames is opened by moving one node to a temporary name. */
#include "config.h"

#include "internal.h"

#include <stdio.h>
#include <string.h>

static int64_t
wall_ms(void)
{
	return weir_wall_ns() / 1000000;
}

bool
weir_sync_is_sending(struct weir_remote *r, uint64_t node)
{
	for (struct send *s = r->sends; s; s = s->next)
		if (s->node == node)
			return true;
	return false;
}

void
weir_sync_wait_sent(struct weir_remote *r, struct weir_waiter *w)
{
	weir_wait_add(&r->sent, w);
}

void
weir_sync_kick(struct weir_remote *r)
{
	r->is_kicked = true; /* the timer looks four times a second: a thousand closes are one look at the journal */
}

void
weir_sync_kick_now(struct weir_remote *r)
{
	r->is_kicked = true;
	r->nlook = 0; /* a new look at once */
	if (!r->sy->is_stopping)
		pthread_cond_signal(&r->sy->timer_cond);
}

/* ---- what collides ---- */

static void
chain_add(struct weir_store *st, struct send *s, uint64_t dir)
{
	struct weir_node n;

	while (dir && s->nchain < CHAIN_MAX) {
		for (unsigned i = 0; i < s->nchain; i++)
			if (s->chain[i] == dir)
				return;
		s->chain[s->nchain++] = dir;
		if (weir_node_get(st, dir, &n))
			return;
		dir = n.rparent;
	}
}

static bool
in_chain(const struct send *s, uint64_t node)
{
	for (unsigned i = 0; i < s->nchain; i++)
		if (s->chain[i] == node)
			return true;
	return false;
}

static bool
has_slot(const struct send *s, uint64_t dir, const char *name)
{
	return dir && ((s->from_dir == dir && strcmp(s->from_name, name) == 0) || (s->to_dir == dir && strcmp(s->to_name, name) == 0));
}

static bool
collides(struct weir_remote *r, const struct send *a)
{
	for (struct send *b = r->sends; b; b = b->next) {
		if (b->node == a->node || has_slot(b, a->from_dir, a->from_name) || has_slot(b, a->to_dir, a->to_name))
			return true;
		if ((b->is_dir && in_chain(a, b->node)) || (a->is_dir && in_chain(b, a->node)))
			return true;
	}
	return false;
}

bool
send_enter(struct weir_remote *r, struct send *s)
{
	chain_add(r->sy->st, s, s->from_dir);
	chain_add(r->sy->st, s, s->to_dir);
	if (collides(r, s))
		return false;
	s->next = r->sends;
	r->sends = s;
	r->nsends++;
	return true;
}

void
send_leave(struct weir_remote *r, struct send *s)
{
	struct send **p;

	for (p = &r->sends; *p != s; p = &(*p)->next)
		;
	*p = s->next;
	r->nsends--;
}

/* ---- deciding ---- */

static bool
is_filelike(const struct weir_node *n)
{
	return n->type == WEIR_FILE || n->type == WEIR_LINK;
}

/* In a transaction: the unlinked node's remote identity goes to the node that has its name now. */
static enum weir_code
hand_over(struct weir_remote *r, struct weir_node *from, struct weir_node *to, struct weir_err *err)
{
	struct weir_store *st = r->sy->st;
	enum weir_code code;

	to->rsize = from->rsize;
	snprintf(to->rid, sizeof(to->rid), "%s", from->rid);
	snprintf(to->rversion, sizeof(to->rversion), "%s", from->rversion);
	to->rparent = from->rparent;
	snprintf(to->rname, sizeof(to->rname), "%s", from->rname);
	to->flags |= WEIR_N_CONTENT;
	from->rparent = 0;
	from->rsize = 0;
	if ((code = weir_node_update(st, from, err)) || (code = weir_node_update(st, to, err)))
		return code;
	if ((code = weir_journal_drop(st, from->id, err)))
		return code;
	if (r->sy->hooks.is_open(r->sy->hooks.arg, from->id))
		return WEIR_OK;
	return weir_node_delete(st, from->id, err);
}

static bool
hand_over_now(struct weir_remote *r, struct weir_node *from, struct weir_node *to)
{
	struct weir_store *st = r->sy->st;

	if (weir_store_begin(st, NULL))
		return false;
	if (hand_over(r, from, to, NULL)) {
		weir_store_rollback(st);
		return false;
	}
	return weir_store_commit(st, NULL) == WEIR_OK;
}

static bool
is_below(struct weir_store *st, uint64_t dir, uint64_t maybe_above)
{
	struct weir_node n;

	for (int i = 0; i < 4096 && dir; i++) {
		if (dir == maybe_above)
			return true;
		if (weir_node_get(st, dir, &n))
			return false;
		dir = n.rparent;
	}
	return false;
}

/* Whom a node's way to its place waits for first: a directory that is not there yet; one that has to come out of it; who has the place. */
static bool
next_obstacle(struct weir_remote *r, const struct weir_node *n, struct weir_node *out)
{
	struct weir_store *st = r->sy->st;
	char rname[WEIR_RNAME_MAX + 1];
	struct weir_node up;

	if (!n->parent || !weir_remote_rname(r, n->type, n->name, rname) || (n->rparent == n->parent && strcmp(n->rname, rname) == 0) ||
	    weir_node_get(st, n->parent, &up))
		return false;
	if (!(up.flags & WEIR_N_ROOT) && !up.rparent) {
		*out = up;
		return true;
	}
	if (n->type == WEIR_DIR && n->rparent && is_below(st, n->parent, n->id)) {
		while (up.id != n->id && up.parent == up.rparent)
			if (weir_node_get(st, up.rparent, &up))
				return false;
		*out = up;
		return up.id != n->id;
	}
	return !weir_node_remote_child(st, n->parent, rname, out) && out->id != n->id;
}

/* Does "who waits for whom" lead back to n? (mv a t; mv b a; mv t b. And mv a t; mkdir a; mv t a/b.) */
static bool
is_ring(struct weir_remote *r, const struct weir_node *n)
{
	struct weir_node at = *n, next;

	for (int i = 0; i < 64 && next_obstacle(r, &at, &next); i++) {
		if (next.id == n->id)
			return true;
		if (weir_sync_is_sending(r, next.id))
			return false;
		at = next;
	}
	return false;
}

/* What waits for a directory does not wait until that one has settled as well: it is due now. One that was tried and failed keeps its time. */
static bool
parent_is_there(struct weir_remote *r, uint64_t parent)
{
	struct weir_journal_row row;
	struct weir_node p;
	bool has_row;

	if (weir_node_get(r->sy->st, parent, &p))
		return false;
	if ((p.flags & WEIR_N_ROOT) || p.rparent)
		return true;
	has_row = weir_journal_get(r->sy->st, parent, &row);
	if (has_row && (row.attempts || row.code || row.due_ms <= wall_ms() || weir_sync_is_sending(r, parent)))
		return false;
	if (weir_store_begin(r->sy->st, NULL))
		return false;
	if (weir_journal_put(r->sy->st, parent, r->id, 0, NULL))
		weir_store_rollback(r->sy->st);
	else if (!weir_store_commit(r->sy->st, NULL))
		r->is_kicked = true;
	return false;
}

enum decision { DECIDE_START, DECIDE_LATER, DECIDE_AGAIN, DECIDE_DROP };

static enum decision
decide_remove(struct weir_remote *r, struct send_job *j)
{
	struct weir_node *n = &j->node, taker;

	j->op = SEND_REMOVE;
	if (n->flags & WEIR_N_DOUBT)
		return DECIDE_START;
	/* What was removed with it goes first. Something that still has its name in there came from elsewhere: the storage will say that it is not empty,
	 * and that undoes the removal. */
	if (n->type == WEIR_DIR)
		return weir_node_has_remote_child(r->sy->st, n->id) && !weir_node_has_child(r->sy->st, n->id) ? DECIDE_LATER : DECIDE_START;
	/* Somebody has its name already and is not there yet: that one will be a new revision. */
	if (n->type == WEIR_FILE && !weir_node_child(r->sy->st, n->rparent, n->rname, &taker) && taker.type == WEIR_FILE && !taker.rparent &&
	    !weir_sync_is_sending(r, taker.id))
		return hand_over_now(r, n, &taker) ? DECIDE_DROP : DECIDE_LATER;
	return DECIDE_START;
}

/* Another node's rename to this place began, and nobody saw its end: what may be there is neither ours nor somebody else's until that is known. */
static bool
is_promised(struct weir_store *st, uint64_t node, uint64_t dir, const char *rname)
{
	sqlite3_stmt *s = weir_store_stmt(st, "SELECT 1 FROM uploads u JOIN journal j ON j.node=u.node WHERE u.dir=? AND u.name=? AND u.id='" WEIR_UPLOAD_MOVE "' AND u.node<>?");
	bool found;

	sqlite3_bind_int64(s, 1, (int64_t)dir);
	sqlite3_bind_text(s, 2, rname, -1, SQLITE_STATIC);
	sqlite3_bind_int64(s, 3, (int64_t)node);
	found = sqlite3_step(s) == SQLITE_ROW;
	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
	return found;
}

/* A ring is opened where something can step aside: a file or directory that the storage has. */
static enum decision
decide_ring(struct weir_remote *r, struct send_job *j)
{
	struct weir_node *n = &j->node;
	char name[WEIR_NAME_MAX + 1];

	snprintf(name, sizeof(name), ".weir-swap-%llu", (unsigned long long)n->id);
	if (!n->rparent || strcmp(n->rname, name) == 0 || !is_ring(r, n))
		return DECIDE_LATER;
	j->send.to_dir = n->rparent;
	snprintf(j->send.to_name, sizeof(j->send.to_name), "%s", name);
	return DECIDE_START;
}

static enum decision
decide_place(struct weir_remote *r, struct send_job *j)
{
	struct weir_store *st = r->sy->st;
	struct weir_node *n = &j->node, m;
	bool is_new = !n->rparent;

	j->op = !is_new ? SEND_MOVE : n->type == WEIR_DIR ? SEND_MKDIR : SEND_PUT;
	j->send.to_dir = n->parent;
	if (!weir_remote_rname(r, n->type, n->name, j->send.to_name))
		return DECIDE_LATER;
	if (!parent_is_there(r, n->parent) || (n->type == WEIR_DIR && !is_new && is_below(st, n->parent, n->id)))
		return decide_ring(r, j);
	/* Where nothing is known to be, that rename can be ended at once (decide_unfinished), so nothing waits in a ring. */
	if (weir_node_remote_child(st, n->parent, j->send.to_name, &m))
		return is_promised(st, n->id, n->parent, j->send.to_name) ? DECIDE_LATER : DECIDE_START;
	if (weir_sync_is_sending(r, m.id) || (m.flags & WEIR_N_DOUBT))
		return DECIDE_LATER;
	if (!m.parent && is_filelike(&m) && is_filelike(n)) {
		if (is_new)
			return hand_over_now(r, &m, n) ? DECIDE_AGAIN : DECIDE_LATER;
		j->replaced = m.id;
		return DECIDE_START;
	}
	return m.parent ? decide_ring(r, j) : DECIDE_LATER;
}

/* A rename that began and whose end nobody saw is ended first, whatever is wanted by now: it can be repeated, and then it is known where the object is. */
static bool
decide_unfinished(struct weir_remote *r, struct send_job *j, enum decision *d)
{
	struct weir_store *st = r->sy->st;
	struct weir_upload_row row;
	struct weir_node *n = &j->node, m;

	if (!n->rparent || !weir_upload_get(st, n->id, &row) || strcmp(row.id, WEIR_UPLOAD_MOVE) != 0 ||
	    (row.dir == n->rparent && strcmp(row.name, n->rname) == 0))
		return false;
	j->op = SEND_MOVE;
	j->is_repeat = true;
	j->send.to_dir = row.dir;
	snprintf(j->send.to_name, sizeof(j->send.to_name), "%s", row.name);
	if (weir_node_get(st, row.dir, &m))
		return false;
	if (!weir_node_remote_child(st, row.dir, row.name, &m)) {
		if (m.parent || weir_sync_is_sending(r, m.id))
			return false;
		j->replaced = m.id;
	}
	*d = DECIDE_START;
	return true;
}

static enum decision
decide(struct weir_remote *r, struct send_job *j)
{
	struct weir_node *n = &j->node;
	char rname[WEIR_RNAME_MAX + 1];
	enum decision d;

	if (n->flags & (WEIR_N_LOCAL | WEIR_N_ROOT))
		return DECIDE_DROP;
	if (n->rparent) {
		j->send.from_dir = n->rparent;
		snprintf(j->send.from_name, sizeof(j->send.from_name), "%s", n->rname);
	}
	if (decide_unfinished(r, j, &d))
		return d;
	if (!n->parent)
		return n->rparent ? decide_remove(r, j) : DECIDE_DROP;
	if (!weir_remote_rname(r, n->type, n->name, rname))
		rname[0] = 0;
	if (!n->rparent || n->rparent != n->parent || strcmp(n->rname, rname) != 0)
		return decide_place(r, j);
	j->send.to_dir = n->rparent;
	snprintf(j->send.to_name, sizeof(j->send.to_name), "%s", n->rname);
	if (n->flags & WEIR_N_CONTENT) {
		j->op = SEND_PUT;
		return DECIDE_START;
	}
	if (n->flags & WEIR_N_META) {
		j->op = SEND_META;
		return DECIDE_START;
	}
	return DECIDE_DROP;
}

/* ---- what becomes of it ---- */

static void
drop_row(struct weir_remote *r, const struct weir_node *n)
{
	struct weir_store *st = r->sy->st;
	bool is_dead = !n->parent && !n->rparent && !(n->flags & WEIR_N_ROOT);
	enum weir_code code;

	if (weir_store_begin(st, NULL))
		return;
	if (is_dead && !r->sy->hooks.is_open(r->sy->hooks.arg, n->id))
		code = weir_node_delete(st, n->id, NULL);
	else
		code = weir_journal_drop(st, n->id, NULL);
	if (code)
		weir_store_rollback(st);
	else
		weir_store_commit(st, NULL);
	weir_wake_all(&r->sent, WEIR_OK);
}

static int64_t
next_try_ms(enum weir_code code, uint32_t attempts)
{
	int64_t wait;

	if (code == WEIR_E_BUSY) /* only waits for something here */
		return wall_ms() + 200;
	if (!weir_code_retry(code))
		return wall_ms() + 300000;
	wait = 1000ll << (attempts > 6 ? 6 : attempts);
	return wall_ms() + wait;
}

static void
send_failed(struct weir_remote *r, struct send_job *j, enum weir_code code, const struct weir_err *err)
{
	struct weir_store *st = r->sy->st;
	struct weir_journal_row row;

	if (code == WEIR_E_CANCELED || !weir_journal_get(st, j->node.id, &row) || weir_store_begin(st, NULL))
		return;
	if (code != WEIR_E_BUSY)
		weir_log(WEIR_LOG_WARN, "remote '%s': sending '%s': %s", r->conf->name, j->to.path ? j->to.path : j->from.path, weir_err_text(err, code));
	/* A plain no means that the rename did not happen: people may choose another name. */
	if (weir_upload_doubt(st, j->node.id, NULL) ||
	    (j->op == SEND_MOVE && code != WEIR_E_BUSY && !weir_code_retry(code) && weir_upload_drop(st, j->node.id, NULL))) {
		weir_store_rollback(st);
		return;
	}
	if (code == WEIR_E_BUSY ? weir_journal_put(st, j->node.id, r->id, j->wait_ms ? wall_ms() + j->wait_ms : next_try_ms(code, 0), NULL) :
	    weir_journal_fail(st, j->node.id, next_try_ms(code, row.attempts), code, weir_err_text(err, code), NULL))
		weir_store_rollback(st);
	else
		weir_store_commit(st, NULL);
}

/* A folder that the configuration names counts as there until something cannot be made in it: then it is to be made first. (Not for a move, where what is
 * missing may be the thing itself.) */
static bool
bind_is_missing(struct weir_remote *r, const struct send_job *j)
{
	struct weir_store *st = r->sy->st;
	struct weir_node dir;

	if ((j->op != SEND_MKDIR && j->op != SEND_PUT) || !j->send.to_dir || weir_node_get(st, j->send.to_dir, &dir))
		return false;
	if (!dir.rparent && weir_journal_get(st, dir.id, NULL)) /* a listing has found that out meanwhile */
		return true;
	if (!(dir.flags & WEIR_N_BIND) || !dir.rparent || weir_store_begin(st, NULL))
		return false;
	dir.rparent = 0;
	dir.rname[0] = dir.rid[0] = dir.rversion[0] = 0;
	if (weir_node_update(st, &dir, NULL) || weir_journal_put(st, dir.id, r->id, 0, NULL)) {
		weir_store_rollback(st);
		return false;
	}
	return weir_store_commit(st, NULL) == WEIR_OK;
}

static void
send_run(struct weir_remote *r, struct job *job)
{
	struct send_job *j = (struct send_job *)((char *)job - offsetof(struct send_job, job));
	struct weir_store *st = r->sy->st;
	struct weir_err err = { 0 };
	enum weir_code code = WEIR_E_CANCELED;

	if (!r->cancel.is_set)
		code = j->op == SEND_PUT || j->op == SEND_META ? send_put(r, j, &err) : send_move(r, j, &err);
	weir_store_lock(st);
	if (code == WEIR_E_NOENT && bind_is_missing(r, j))
		code = WEIR_E_BUSY;
	if (code != WEIR_E_BUSY)
		remote_note(r, code, code ? weir_err_text(&err, code) : NULL);
	send_leave(r, &j->send);
	if (code)
		send_failed(r, j, code, &err);
	weir_wake_all(&r->sent, WEIR_OK);
	r->is_kicked = true;
	send_schedule(r);
	weir_store_unlock(st);
	place_free(&j->from);
	place_free(&j->to);
	free(j);
}

static bool
send_places(struct weir_remote *r, struct send_job *j)
{
	struct weir_store *st = r->sy->st;

	if (j->send.from_dir && !place_of(st, &j->node, &j->from))
		return false;
	return !j->send.to_dir || j->op == SEND_REMOVE || place_in(st, j->send.to_dir, j->send.to_name, &j->to);
}

static void
put_off(struct weir_remote *r, uint64_t node)
{
	struct weir_store *st = r->sy->st;

	if (weir_store_begin(st, NULL))
		return;
	if (weir_journal_put(st, node, r->id, WEIR_DUE_NEVER, NULL))
		weir_store_rollback(st);
	else
		weir_store_commit(st, NULL);
}

static void
try_row(struct weir_remote *r, uint64_t node)
{
	struct weir_store *st = r->sy->st;
	struct send_job *j = weir_xcalloc(1, sizeof(*j));
	enum decision d = DECIDE_AGAIN;

	if (weir_node_get(st, node, &j->node)) {
		j->node.id = node;
		j->node.parent = j->node.rparent = 0;
		drop_row(r, &j->node);
		free(j);
		return;
	}
	for (int i = 0; i < 3 && d == DECIDE_AGAIN; i++)
		d = decide(r, j);
	if (d == DECIDE_DROP)
		drop_row(r, &j->node);
	if (d != DECIDE_START) {
		free(j);
		return;
	}
	if (j->op == SEND_PUT && r->sy->hooks.is_put_off(r->sy->hooks.arg, node)) {
		put_off(r, node);
		free(j);
		return;
	}
	j->began_ms = weir_now_ms();
	j->send.node = node;
	j->send.is_dir = j->node.type == WEIR_DIR;
	if (!send_places(r, j) || !send_enter(r, &j->send)) {
		place_free(&j->from);
		place_free(&j->to);
		free(j);
		return;
	}
	j->job.run = send_run;
	remote_submit(r, &j->job, JOB_SEND);
}

/* A whole look at the journal found nothing that can go: let the rows behind these have theirs. */
static void
step_aside(struct weir_store *st, const uint64_t *nodes, int n, int64_t now)
{
	sqlite3_stmt *s;
	enum weir_code r = WEIR_OK;

	if (weir_store_begin(st, NULL))
		return;
	s = weir_store_stmt(st, "UPDATE journal SET due=?1 WHERE node=?2 AND due<?1");
	for (int i = 0; i < n && !r; i++) {
		sqlite3_bind_int64(s, 1, now + 500);
		sqlite3_bind_int64(s, 2, (int64_t)nodes[i]);
		r = weir_store_step_done(st, s, NULL);
	}
	if (r)
		weir_store_rollback(st);
	else
		weir_store_commit(st, NULL);
}

/* The rows that are due, and when the next of the others will be. */
static void
look_at_journal(struct weir_remote *r, int64_t now)
{
	struct weir_store *st = r->sy->st;
	sqlite3_stmt *s;

	r->is_kicked = r->is_look_moved = false;
	r->nlook = r->look_at = 0;
	r->seen_puts = st->journal_puts;
	s = weir_store_stmt(st, "SELECT node FROM journal WHERE remote=? AND due<=? ORDER BY seq LIMIT ?");
	sqlite3_bind_int64(s, 1, (int64_t)r->id);
	sqlite3_bind_int64(s, 2, now);
	sqlite3_bind_int(s, 3, SEND_LOOK);
	while (r->nlook < SEND_LOOK && sqlite3_step(s) == SQLITE_ROW)
		r->look[r->nlook++] = (uint64_t)sqlite3_column_int64(s, 0);
	sqlite3_reset(s);
	s = weir_store_stmt(st, "SELECT coalesce(min(due),?) FROM journal WHERE remote=? AND due>?");
	sqlite3_bind_int64(s, 1, now + 3600000);
	sqlite3_bind_int64(s, 2, (int64_t)r->id);
	sqlite3_bind_int64(s, 3, now);
	r->next_due_ms = sqlite3_step(s) == SQLITE_ROW ? sqlite3_column_int64(s, 0) : now + 1000;
	sqlite3_reset(s);
	if (r->nlook && r->next_due_ms > now + 1000) /* what was blocked is looked at again soon */
		r->next_due_ms = now + 1000;
}

/* A row that was due when the journal was looked at may have been put off since: its file is being written again. */
static bool
is_still_due(struct weir_remote *r, uint64_t node, int64_t now)
{
	struct weir_journal_row row;

	return !weir_sync_is_sending(r, node) && weir_journal_get(r->sy->st, node, &row) && row.due_ms <= now;
}

/* Goes on in the last look where it ended, and looks again when that is used up: a sorted look for every upload that ends would cost more than the
 * upload. What was blocked when its turn came is in the next look, in front. */
void
send_schedule(struct weir_remote *r)
{
	int64_t now = wall_ms();

	if (remote_usable(r) || r->sy->is_stopping || r->state == WEIR_REMOTE_CONNECTING || !r->probed_ms)
		return;
	for (int looks = 0; looks < 4; looks++) { /* then the timer goes on */
		while (r->look_at < r->nlook && r->nsends < r->limit[JOB_SEND]) {
			uint64_t node = r->look[r->look_at++];
			unsigned before = r->nsends;

			if (is_still_due(r, node, now))
				try_row(r, node);
			r->is_look_moved |= r->nsends != before;
		}
		/* Most who put a row say so; a row that nobody spoke of must not wait for an hour. */
		if (r->nsends >= r->limit[JOB_SEND] || (!r->is_kicked && r->seen_puts == r->sy->st->journal_puts && now < r->next_due_ms))
			return;
		if (r->nlook == SEND_LOOK && !r->is_look_moved && !r->nsends)
			step_aside(r->sy->st, r->look, r->nlook, now);
		look_at_journal(r, now);
		if (!r->nlook)
			return;
	}
}
