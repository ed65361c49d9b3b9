/* SPDX-License-Identifier: Apache-2.0 */
/* What a listing means for the tree: each entry is compared with the node that has its remote place.
 *
 *   here            | listed as before | listed changed            | not listed
 *   clean           | nothing          | takes the new version     | goes (an open file lives on without a name)
 *   unsent content  | nothing          | left: the upload compares | loses its remote place: it is sent as new
 *   moved, unlinked | nothing          | left: the send compares   | loses its remote place
 *
 * A clean file that somebody has open for writing is left as well, and looked at again later: what is about to be written through that handle belongs
 * to the name, and the upload will compare.
 *
 * A name listed that a node made here already has (not sent yet) is left to the send, which will find the conflict; two directories
 * of one name become one. Needs the store's lock and an open transaction throughout. */
#include "config.h"

#include "internal.h"

#include <stdio.h>
#include <string.h>

#define LINK_SUFFIX ".rclonelink"

static bool
is_sending(struct weir_remote *r, uint64_t node)
{
	for (struct send *s = r->sends; s; s = s->next)
		if (s->node == node)
			return true;
	return false;
}

/* Local name and type of a listed object; false: not to be shown. */
static bool
entry_name(struct weir_remote *r, const char *rname, const struct weir_stat *st, char name[WEIR_NAME_MAX + 1], enum weir_type *type)
{
	size_t len = strlen(rname), cut = strlen(LINK_SUFFIX);

	*type = st->type;
	if (st->type == WEIR_FILE && !(weir_backend_caps(r->be) & WEIR_CAP_SYMLINK) && len > cut && strcmp(rname + len - cut, LINK_SUFFIX) == 0) {
		*type = WEIR_LINK;
		len -= cut;
	}
	if (len == 0 || len > WEIR_NAME_MAX || memchr(rname, '/', len) || (len <= 2 && strncmp(rname, "..", len) == 0))
		return false;
	memcpy(name, rname, len);
	name[len] = 0;
	return true;
}

static bool
is_touched(const struct listing *l, uint64_t dir, const char *rname)
{
	char key[WEIR_RNAME_MAX + 32];

	snprintf(key, sizeof(key), "%llu/%s", (unsigned long long)dir, rname);
	for (size_t i = 0; i < l->ntouched; i++)
		if (strcmp(l->touched[i], key) == 0)
			return true;
	return false;
}

static void
seen_add(struct merge *m, uint64_t id)
{
	if (m->nseen == m->seen_cap) {
		m->seen_cap = m->seen_cap ? m->seen_cap * 2 : 64;
		m->seen = weir_xrealloc(m->seen, m->seen_cap, sizeof(*m->seen));
	}
	m->seen[m->nseen++] = id;
}

static int
cmp_id(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* What the storage says of times and modes, where our own knowledge is not better. */
static bool
take_facts(struct weir_remote *r, struct weir_node *n, const struct weir_stat *st)
{
	uint32_t base = n->type == WEIR_DIR ? 0777 : n->type == WEIR_LINK ? 0777 : 0666;
	uint32_t mode = st->mode != WEIR_MODE_NONE ? st->mode & 07777 : base & ~r->sy->hooks.umask;
	uint32_t flags = st->is_readonly ? n->flags | WEIR_N_READONLY : n->flags & ~(uint32_t)WEIR_N_READONLY;
	bool changed = false;

	if (st->is_readonly)
		mode &= ~0222u;
	if (!(n->flags & (WEIR_N_MODE | WEIR_N_META)) && n->mode != mode) {
		n->mode = mode;
		changed = true;
	}
	if (st->mtime_ns != WEIR_TIME_NONE && !(n->flags & (WEIR_N_EXACT | WEIR_N_META)) && n->type != WEIR_DIR && n->mtime_ns != st->mtime_ns) {
		n->mtime_ns = n->ctime_ns = st->mtime_ns;
		changed = true;
	}
	if (n->flags != flags) {
		n->flags = flags;
		changed = true;
	}
	return changed;
}

static void
set_remote(struct weir_node *n, const struct weir_stat *st)
{
	snprintf(n->rversion, sizeof(n->rversion), "%s", st->version ? st->version : "");
	if (st->id)
		snprintf(n->rid, sizeof(n->rid), "%s", st->id);
}

/* What is not told is found out at the first open: sync/size.c. */
static void
set_size(struct weir_node *n, const struct weir_stat *st)
{
	bool is_told = st->size != WEIR_SIZE_NONE;

	n->size = n->rsize = is_told ? st->size : 0;
	n->flags = is_told || n->type != WEIR_FILE ? n->flags & ~(uint32_t)WEIR_N_UNSIZED : n->flags | WEIR_N_UNSIZED;
}

static enum weir_code
insert_new(struct merge *m, const char *rname, const char *name, enum weir_type type, const struct weir_stat *st, uint64_t *node, struct weir_err *err)
{
	struct weir_node n = { .type = type, .parent = m->dir, .rparent = m->dir, .remote = m->r->id, .uid = WEIR_NOBODY,
		.gid = WEIR_NOBODY };
	int64_t now = weir_wall_ns();
	enum weir_code r;

	snprintf(n.name, sizeof(n.name), "%s", name);
	snprintf(n.rname, sizeof(n.rname), "%s", rname);
	set_remote(&n, st);
	n.mtime_ns = n.ctime_ns = n.atime_ns = n.btime_ns = st->mtime_ns != WEIR_TIME_NONE ? st->mtime_ns : now;
	if (type != WEIR_DIR)
		set_size(&n, st);
	take_facts(m->r, &n, st);
	if (type == WEIR_DIR)
		n.rversion[0] = 0; /* known only once it is listed: merge_end() */
	if ((r = weir_node_insert(m->r->sy->st, &n, err)))
		return r;
	*node = n.id;
	m->is_changed = true;
	if (m->was_listed)
		news_entry(m->r, m->dir, name);
	return WEIR_OK;
}

/* The name means something else from now on; who has the node open keeps it. */
static enum weir_code
detach(struct weir_remote *r, struct weir_node *n, struct weir_err *err)
{
	struct weir_store *st = r->sy->st;
	struct weir_content *c = weir_content_live(st, n->id);

	if (n->parent)
		news_deleted(r, n->parent, n->id, n->name);
	if (!r->sy->hooks.is_open(r->sy->hooks.arg, n->id))
		return weir_node_delete(st, n->id, err);
	if (c)
		c->is_stale = true;
	n->parent = n->rparent = 0;
	weir_journal_drop(st, n->id, err);
	return weir_node_update(st, n, err);
}

/* Somebody may be about to write: the node must not change under that handle. */
static bool
is_held_for_writing(struct weir_remote *r, const struct weir_node *n)
{
	return n->type == WEIR_FILE && n->parent && r->sy->hooks.is_open_for_writing(r->sy->hooks.arg, n->id);
}

static int
collect_child(void *arg, struct weir_node *n)
{
	struct merge *m = arg;

	seen_add(m, n->id);
	return 0;
}

static enum weir_code lose_remote(struct weir_remote *r, struct weir_node *n, bool *is_kept, struct weir_err *err);

/* The remote directory is gone with all in it. What is unsent below keeps its directories alive; they are made again for it. */
static enum weir_code
lose_directory(struct weir_remote *r, struct weir_node *n, bool *is_kept, struct weir_err *err)
{
	struct weir_store *st = r->sy->st;
	struct merge ids = { .r = r };
	enum weir_code code;

	*is_kept = false;
	weir_node_remote_children(st, n->id, 0, collect_child, &ids);
	code = WEIR_OK;
	for (size_t i = 0; !code && i < ids.nseen; i++) {
		struct weir_node child;
		bool kept;

		if (!weir_node_get(st, ids.seen[i], &child))
			code = lose_remote(r, &child, &kept, err);
	}
	free(ids.seen);
	if (!code && weir_node_has_child(st, n->id))
		*is_kept = true;
	return code;
}

static enum weir_code
lose_remote(struct weir_remote *r, struct weir_node *n, bool *is_kept, struct weir_err *err)
{
	struct weir_store *st = r->sy->st;
	char rname[WEIR_RNAME_MAX + 1];
	bool is_moved = n->parent != n->rparent || !weir_remote_rname(r, n->type, n->name, rname) || strcmp(rname, n->rname) != 0;
	enum weir_code code;

	*is_kept = false;
	if (n->type == WEIR_DIR && (code = lose_directory(r, n, is_kept, err)))
		return code;
	if (n->type == WEIR_DIR && weir_node_has_remote_child(st, n->id)) { /* a file moved out of it: its send must first find out where it is */
		*is_kept = true;
		return WEIR_OK;
	}
	if (n->parent == 0) { /* unlinked here, gone there */
		n->rparent = 0;
		n->rsize = 0;
		if ((code = weir_journal_drop(st, n->id, err)))
			return code;
		return r->sy->hooks.is_open(r->sy->hooks.arg, n->id) ? weir_node_update(st, n, err) : weir_node_delete(st, n->id, err);
	}
	if (n->type == WEIR_DIR && (n->flags & WEIR_N_BIND))
		*is_kept = true;
	if (n->type != WEIR_DIR && is_moved) { /* perhaps our own rename has arrived: the send finds out */
		*is_kept = true;
		return WEIR_OK;
	}
	if (!*is_kept && !(n->flags & WEIR_N_CONTENT) && !is_moved) {
		if (!is_held_for_writing(r, n))
			return detach(r, n, err);
		*is_kept = true;
		return watch_later(r, n->rparent, err);
	}
	/* Unsent: it becomes new here. */
	*is_kept = true;
	n->rparent = 0;
	n->rname[0] = n->rid[0] = n->rversion[0] = 0;
	n->rsize = 0;
	if ((code = weir_node_update(st, n, err)))
		return code;
	return weir_journal_put(st, n->id, r->id, weir_wall_ns() / 1000000 + WEIR_SETTLE_MS, err);
}

static bool
is_same_version(const struct weir_node *n, const struct weir_stat *st)
{
	if (st->version && n->rversion[0])
		return strcmp(st->version, n->rversion) == 0;
	return st->size == WEIR_SIZE_NONE || st->size == n->rsize;
}

/* Has nobody seen a byte of this version yet? Then who has the file open may as well have the new one. */
static bool
is_unread(struct weir_store *st, const struct weir_node *n)
{
	const struct weir_content *c = weir_content_live(st, n->id);

	return c && c->num == n->content && !c->counted && !c->is_dirty && !(n->flags & WEIR_N_CONTENT);
}

enum weir_code
merge_changed(struct weir_remote *r, struct weir_node *n, const struct weir_stat *stat, struct weir_err *err)
{
	struct weir_store *st = r->sy->st;
	struct weir_node fresh;
	bool kept;
	enum weir_code code;

	if (!stat)
		return lose_remote(r, n, &kept, err);
	if (n->content && is_held_for_writing(r, n) && !is_unread(st, n))
		return watch_later(r, n->rparent, err);
	if (n->parent && r->sy->hooks.is_open(r->sy->hooks.arg, n->id) && n->content && !is_unread(st, n)) {
		fresh = *n;
		if ((code = detach(r, n, err)))
			return code;
		fresh.id = 0;
		fresh.content = 0;
	} else
		fresh = *n;
	if (fresh.content && (code = weir_content_drop(st, &fresh, err)))
		return code;
	fresh.flags &= ~(uint32_t)WEIR_N_EXACT;
	set_size(&fresh, stat);
	set_remote(&fresh, stat);
	take_facts(r, &fresh, stat);
	fresh.ctime_ns = weir_wall_ns();
	if (fresh.id) {
		news_node(r, fresh.id, true);
		return weir_node_update(st, &fresh, err);
	}
	if ((code = weir_node_insert(st, &fresh, err)))
		return code;
	news_entry(r, fresh.parent, fresh.name);
	*n = fresh;
	return WEIR_OK;
}

static enum weir_code
merge_found(struct merge *m, struct weir_node *n, enum weir_type type, const struct weir_stat *stat, bool *stale_dir, struct weir_err *err)
{
	struct weir_store *st = m->r->sy->st;
	bool is_busy = (n->flags & (WEIR_N_CONTENT | WEIR_N_META)) || n->parent != m->dir || is_sending(m->r, n->id);
	bool kept;
	enum weir_code r;

	if (n->type != type) {
		if (is_busy)
			return WEIR_OK;
		if ((r = lose_remote(m->r, n, &kept, err)))
			return r;
		n->id = 0;
		return kept ? WEIR_OK : insert_new(m, n->rname, n->name, type, stat, &n->id, err);
	}
	if (type == WEIR_DIR) {
		if (stat->version && n->listed_ms && strcmp(stat->version, n->rversion) != 0)
			*stale_dir = true;
		if (stat->id && strcmp(stat->id, n->rid) != 0) {
			snprintf(n->rid, sizeof(n->rid), "%s", stat->id);
			return weir_node_update(st, n, err);
		}
		return WEIR_OK;
	}
	if (is_busy)
		return WEIR_OK;
	if (!is_same_version(n, stat)) {
		m->is_changed = true;
		return merge_changed(m->r, n, stat, err);
	}
	if (!n->rversion[0] && stat->version)
		set_remote(n, stat);
	else if (take_facts(m->r, n, stat))
		news_node(m->r, n->id, false);
	else if (!stat->id || strcmp(stat->id, n->rid) == 0)
		return WEIR_OK;
	if (stat->id)
		snprintf(n->rid, sizeof(n->rid), "%s", stat->id);
	return weir_node_update(st, n, err);
}

/* Is this an object of ours that has just been put or renamed there, and whose answer nobody has seen yet? */
static bool
is_arriving(const struct merge *m, const char *rname)
{
	sqlite3_stmt *s;
	bool found;

	for (const struct send *x = m->r->sends; x; x = x->next)
		if (x->node != m->asker && x->to_dir == m->dir && strcmp(x->to_name, rname) == 0)
			return true;
	s = weir_store_stmt(m->r->sy->st, "SELECT 1 FROM uploads WHERE dir=? AND name=? AND id='" WEIR_UPLOAD_MOVE "' AND node<>?");
	sqlite3_bind_int64(s, 1, (int64_t)m->dir);
	sqlite3_bind_text(s, 2, rname, -1, SQLITE_STATIC);
	sqlite3_bind_int64(s, 3, (int64_t)m->asker);
	found = sqlite3_step(s) == SQLITE_ROW;
	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
	return found;
}

enum weir_code
merge_entry(struct merge *m, const char *rname, const struct weir_stat *stat, uint64_t *node, bool *stale_dir, struct weir_err *err)
{
	struct weir_store *st = m->r->sy->st;
	char name[WEIR_NAME_MAX + 1];
	enum weir_type type;
	struct weir_node n;
	uint64_t was;
	enum weir_code r;

	*node = 0;
	*stale_dir = false;
	if (!entry_name(m->r, rname, stat, name, &type))
		return WEIR_OK;
	r = weir_node_remote_child(st, m->dir, rname, &n);
	if (r && r != WEIR_E_NOENT)
		return weir_err_set(err, r, "meta.db: cannot read");
	if (!r) {
		seen_add(m, n.id);
		*node = n.parent || n.type == WEIR_DIR ? n.id : 0;
		if (is_touched(m->l, m->dir, rname))
			return WEIR_OK;
		was = n.id;
		if ((r = merge_found(m, &n, type, stat, stale_dir, err)) || n.id == was)
			return r;
		/* Another node has the place now: who had the old one open keeps it. */
		*node = n.id;
		if (n.id)
			seen_add(m, n.id);
		return WEIR_OK;
	}
	if (is_touched(m->l, m->dir, rname) || is_arriving(m, rname))
		return WEIR_OK;
	r = weir_node_child(st, m->dir, name, &n);
	if (r == WEIR_E_NOENT) {
		r = insert_new(m, rname, name, type, stat, node, err);
		if (!r && *node)
			seen_add(m, *node);
		return r;
	}
	if (r)
		return weir_err_set(err, r, "meta.db: cannot read");
	if (n.type != WEIR_DIR || type != WEIR_DIR || n.rparent || is_sending(m->r, n.id))
		return WEIR_OK;
	/* Two directories of one name merge. */
	n.rparent = m->dir;
	snprintf(n.rname, sizeof(n.rname), "%s", rname);
	set_remote(&n, stat);
	n.rversion[0] = 0;
	n.listed_ms = 0;
	*node = n.id;
	seen_add(m, n.id);
	return weir_node_update(st, &n, err);
}

static int
collect_gone(void *arg, struct weir_node *n)
{
	struct merge *gone = ((struct merge **)arg)[0], *m = ((struct merge **)arg)[1];

	if (n->id > m->max_id || (m->nseen && bsearch(&n->id, m->seen, m->nseen, sizeof(n->id), cmp_id)))
		return 0;
	if (is_touched(m->l, m->dir, n->rname) || is_sending(m->r, n->id))
		return 0;
	seen_add(gone, n->id);
	return 0;
}

enum weir_code
merge_end(struct merge *m, const char *self_version, struct weir_err *err)
{
	struct weir_store *st = m->r->sy->st;
	struct merge gone = { .r = m->r };
	struct weir_node n;
	enum weir_code r = WEIR_OK;

	if (m->was_listed || weir_node_has_remote_child(st, m->dir)) {
		if (m->nseen)
			qsort(m->seen, m->nseen, sizeof(*m->seen), cmp_id);
		r = weir_node_remote_children(st, m->dir, 0, collect_gone, (struct merge *[]){ &gone, m });
	}
	for (size_t i = 0; !r && i < gone.nseen; i++) {
		bool kept;

		if (!weir_node_get(st, gone.seen[i], &n) && n.rparent == m->dir) {
			m->is_changed = true;
			r = lose_remote(m->r, &n, &kept, err);
		}
	}
	free(gone.seen);
	if (r || (r = weir_node_get(st, m->dir, &n)))
		return r;
	n.listed_ms = weir_wall_ns() / 1000000;
	if (self_version)
		snprintf(n.rversion, sizeof(n.rversion), "%s", self_version);
	if (m->is_changed && m->was_listed)
		news_node(m->r, m->dir, true);
	return weir_node_update(st, &n, err);
}

/* ---- renamed elsewhere ---- */

static bool
is_inside(struct weir_store *st, uint64_t dir, uint64_t maybe_above)
{
	struct weir_node n;

	for (int i = 0; i < 4096 && dir; i++) {
		if (dir == maybe_above)
			return true;
		if (weir_node_get(st, dir, &n))
			return false;
		dir = n.parent;
	}
	return false;
}

/* Only a node that is where the remote had it, that nothing of ours is on its way to or from, to a place that is free on both sides. */
static bool
may_move(struct weir_remote *r, const struct weir_node *n, uint64_t dir, const char *rname, const char *name)
{
	struct weir_store *st = r->sy->st;
	struct send s = { .node = n->id, .from_dir = n->rparent, .to_dir = dir, .is_dir = n->type == WEIR_DIR };
	char was[WEIR_RNAME_MAX + 1];
	struct weir_upload_row row;
	struct weir_node other;

	if (!n->rparent || n->parent != n->rparent || !weir_remote_rname(r, n->type, n->name, was) || strcmp(was, n->rname) != 0 ||
	    (n->flags & (WEIR_N_ROOT | WEIR_N_BIND | WEIR_N_DOUBT)) || weir_upload_get(st, n->id, &row))
		return false;
	if (weir_node_get(st, dir, &other) || other.type != WEIR_DIR || (!other.parent && !(other.flags & WEIR_N_ROOT)) || is_inside(st, dir, n->id))
		return false;
	if (weir_node_remote_child(st, dir, rname, &other) != WEIR_E_NOENT || weir_node_child(st, dir, name, &other) != WEIR_E_NOENT)
		return false;
	snprintf(s.from_name, sizeof(s.from_name), "%s", n->rname);
	snprintf(s.to_name, sizeof(s.to_name), "%s", rname);
	if (!send_enter(r, &s))
		return false;
	send_leave(r, &s);
	return true;
}

enum weir_code
merge_moved(struct weir_remote *r, struct weir_node *n, uint64_t dir, const char *rname, struct weir_err *err)
{
	const struct weir_stat as = { .type = n->type == WEIR_LINK && !(weir_backend_caps(r->be) & WEIR_CAP_SYMLINK) ? WEIR_FILE : n->type };
	char name[WEIR_NAME_MAX + 1];
	enum weir_type type;

	if (strlen(rname) > WEIR_RNAME_MAX || !entry_name(r, rname, &as, name, &type) || type != n->type || !may_move(r, n, dir, rname, name))
		return WEIR_OK;
	news_entry(r, n->parent, n->name);
	n->parent = n->rparent = dir;
	snprintf(n->name, sizeof(n->name), "%s", name);
	snprintf(n->rname, sizeof(n->rname), "%s", rname);
	news_entry(r, n->parent, n->name);
	return weir_node_update(r->sy->st, n, err);
}
