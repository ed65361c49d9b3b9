/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of names: mkdir, remove, move, copy. The server never overwrites and knows no precondition on a move, so that replacing is done in
 * steps, each of which finds what an earlier, half-done try left:
 *
 *   target -> .weir-aside-REV in its folder      source -> target      remove the one aside
 *
 * and the first is undone when the second fails. A rename that changes nothing but case is ignored by the server: it goes through a name
 * of its own as well. Nothing here is atomic for others who look in between; nothing is lost whenever it stops. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "dropbox_impl.h"

#define TREE_ASIDE ".weir-aside-"
#define TREE_CASE ".weir-case-"

/* One request that changes a name. */
static enum weir_code
tree_write(struct dropbox *s, const struct weir_ctx *ctx, struct dropbox_req *q, json_t **out, struct weir_err *err)
{
	enum weir_code r = weir_dropbox_write_begin(s, ctx, err);

	if (r != WEIR_OK) {
		json_decref(WEIR_STEAL(q->arg));
		return r;
	}
	q->stall_ms = DROPBOX_THINK_MS;
	r = weir_dropbox_call(s, ctx, q, out, NULL, err);
	weir_dropbox_write_end(s);
	return r;
}

static enum weir_code
tree_stat_of(json_t *answer, struct weir_stat *st, struct weir_err *err)
{
	bool is_deleted;
	enum weir_code r = weir_dropbox_stat_of_json(json_object_get(answer, "metadata"), st, &is_deleted, err);

	free(WEIR_STEAL(st->path));
	return r;
}

/* "is there already", or why the two names are one. */
static enum weir_code
tree_taken(struct dropbox *s, const struct weir_ctx *ctx, const char *at, const char *path, struct weir_err *err)
{
	WEIR_AUTO(weir_stat_free) struct weir_stat now = { 0 };
	const char *leaf = weir_dropbox_leaf(path);

	if (weir_dropbox_look(s, ctx, at, path, &now, NULL, NULL) == WEIR_OK && now.path != NULL && strcmp(now.path, leaf) != 0)
		return weir_err_set(err, WEIR_E_EXIST, "'%s' cannot be beside '%s': Dropbox makes no difference between them", leaf, now.path);
	return weir_err_set(err, WEIR_E_EXIST, "'%s' is there already", path);
}

/* ---- mkdir ---- */

enum weir_code
weir_dropbox_mkdir(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, struct weir_stat *st, struct weir_err *err)
{
	struct dropbox *s = (struct dropbox *)be;
	WEIR_AUTO(weir_freep) char *at = NULL;
	struct dropbox_req q = { .route = "files/create_folder_v2", .what = "make directory", .path = w->path };
	struct weir_stat made = { 0 };
	json_t *j = NULL;
	enum weir_code r = weir_dropbox_path(s, w->path, true, &at, err);

	if (r == WEIR_OK && w->path[0] == '\0')
		r = weir_err_set(err, WEIR_E_EXIST, "the root is there already");
	if (r != WEIR_OK)
		return r;
	q.arg = json_pack("{s:s, s:b}", "path", at, "autorename", 0);
	r = tree_write(s, ctx, &q, &j, err);
	if (r == WEIR_E_EXIST)
		return tree_taken(s, ctx, at, w->path, err);
	if (r == WEIR_OK)
		r = tree_stat_of(j, &made, err);
	json_decref(j);
	if (r == WEIR_OK && st != NULL)
		*st = made;
	else
		weir_stat_free(&made);
	return r;
}

/* ---- remove ---- */

static enum weir_code
tree_delete(struct dropbox *s, const struct weir_ctx *ctx, const char *at, const char *rev, const char *path, struct weir_err *err)
{
	struct dropbox_req q = { .route = "files/delete_v2", .arg = json_pack("{s:s}", "path", at), .what = "remove", .path = path };
	enum weir_code r;

	if (rev != NULL)
		json_object_set_new(q.arg, "parent_rev", json_string(rev));
	r = tree_write(s, ctx, &q, NULL, err);
	return r == WEIR_E_EXIST ? weir_err_set(err, WEIR_E_CHANGED, "'%s' has another version", path) : r;
}

/* Is st what `where` is about? Also by another rev of the same file and content. */
static enum weir_code
tree_is_it(struct dropbox *s, const struct weir_ctx *ctx, const struct weir_where *w, const struct weir_stat *st, struct weir_err *err)
{
	bool is_same = false;
	enum weir_code r = WEIR_OK;

	if (w->version == NULL || (st->version != NULL && strcmp(st->version, w->version) == 0))
		return WEIR_OK;
	if (st->type == WEIR_FILE && w->version != WEIR_ABSENT)
		r = weir_dropbox_is_same(s, ctx, w->version, st, &is_same, err);
	return r != WEIR_OK || is_same ? r : weir_err_set(err, WEIR_E_CHANGED, "'%s' has another version", w->path);
}

/* Whatever is removed is named by the rev that was just seen, so that no folder and no newer version can go instead. */
static enum weir_code
tree_remove_file(struct dropbox *s, const struct weir_ctx *ctx, const char *at, const struct weir_where *w, struct weir_err *err)
{
	WEIR_AUTO(weir_stat_free) struct weir_stat now = { 0 };
	enum weir_code r = WEIR_E_CHANGED;

	if (w->version != NULL && w->version != WEIR_ABSENT)
		r = tree_delete(s, ctx, at, w->version, w->path, err);
	if (r != WEIR_E_CHANGED)
		return r;
	r = weir_dropbox_look(s, ctx, at, w->path, &now, NULL, err);
	if (r == WEIR_OK && now.type == WEIR_DIR)
		r = weir_err_set(err, w->version != NULL ? WEIR_E_CHANGED : WEIR_E_ISDIR, "'%s' is a directory", w->path);
	if (r == WEIR_OK)
		r = tree_is_it(s, ctx, w, &now, err);
	return r == WEIR_OK ? tree_delete(s, ctx, at, now.version, w->path, err) : r;
}

/* NOTEMPTY, or OK when the first entries show that there are none. */
static enum weir_code
tree_is_empty(struct dropbox *s, const struct weir_ctx *ctx, const char *at, const char *path, struct weir_err *err)
{
	struct dropbox_req q = { .route = "files/list_folder", .what = "remove", .path = path };
	bool has_more = true;
	enum weir_code r = WEIR_OK;

	q.arg = json_pack("{s:s, s:b, s:b, s:i}", "path", at, "recursive", 0, "include_non_downloadable_files", 1, "limit", 1);
	while (r == WEIR_OK && has_more) {	/* a page may be empty and not the last */
		json_t *page = NULL;
		const char *cursor;

		r = weir_dropbox_call(s, ctx, &q, &page, NULL, err);
		if (r == WEIR_OK && json_array_size(json_object_get(page, "entries")) > 0)
			r = weir_err_set(err, WEIR_E_NOTEMPTY, "directory '%s' is not empty", path);
		cursor = json_string_value(json_object_get(page, "cursor"));
		has_more = r == WEIR_OK && json_is_true(json_object_get(page, "has_more")) && cursor != NULL;
		q.route = "files/list_folder/continue";
		if (has_more)
			q.arg = json_pack("{s:s}", "cursor", cursor);
		json_decref(page);
	}
	return r == WEIR_E_STALE ? weir_err_set(err, WEIR_E_SERVER, "remove '%s': the listing broke off", path) : r;
}

enum weir_code
weir_dropbox_remove(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, bool is_dir, struct weir_err *err)
{
	struct dropbox *s = (struct dropbox *)be;
	WEIR_AUTO(weir_freep) char *at = NULL;
	enum weir_code r = weir_dropbox_path(s, w->path, false, &at, err);

	if (r != WEIR_OK)
		return r;
	if (w->path[0] == '\0')
		return weir_err_set(err, WEIR_E_BUSY, "the root cannot be removed");
	if (!is_dir)
		return tree_remove_file(s, ctx, at, w, err);
	r = tree_is_empty(s, ctx, at, w->path, err);
	return r == WEIR_OK ? tree_delete(s, ctx, at, NULL, w->path, err) : r;
}

/* ---- move and copy ---- */

struct tree_pair {
	struct dropbox *s;
	const struct weir_ctx *ctx;
	const struct weir_where *from, *to;
	char *from_at, *to_at;			/* owned: the server's paths */
	char *from_now;				/* owned: path_lower of the source as it was seen */
	bool is_move, is_dir;
	struct weir_stat source;		/* as it was seen */
};

static void
tree_pair_free(struct tree_pair *p)
{
	free(p->from_at);
	free(p->to_at);
	free(p->from_now);
	weir_stat_free(&p->source);
}

/* NAME in the folder of the target. Owned. */
static char *
tree_beside(const char *at, const char *prefix, const char *rest)
{
	const char *leaf = weir_dropbox_leaf(at);

	return weir_xasprintf("%.*s%s%s", (int)(leaf - at), at, prefix, rest);
}

/* The plain operation of the server, which takes no notice of versions and overwrites nothing. */
static enum weir_code
tree_relocate(struct tree_pair *p, bool is_move, const char *from, const char *to, struct weir_stat *st, struct weir_err *err)
{
	struct dropbox_error e = { .retry_after_ms = -1 };
	struct dropbox_req q = { .route = is_move ? "files/move_v2" : "files/copy_v2", .what = is_move ? "rename" : "copy", .path = p->from->path,
		.error = &e };
	json_t *j = NULL;
	enum weir_code r;

	q.arg = json_pack("{s:s, s:s, s:b, s:b}", "from_path", from, "to_path", to, "autorename", 0, "allow_ownership_transfer", 0);
	r = tree_write(p->s, p->ctx, &q, &j, err);
	if (r == WEIR_OK)
		r = tree_stat_of(j, st, err);
	/* It was seen a moment ago: the server's own parts do not know of it yet. */
	if (r == WEIR_E_NOENT && weir_dropbox_error_has(&e, "from_lookup"))
		r = weir_err_set(err, WEIR_E_SERVER, "%s '%s': the server does not see it yet", q.what, p->from->path);
	weir_dropbox_error_clear(&e);
	json_decref(j);
	return r;
}

/* Look at the source, by its id first. NOENT, CHANGED. */
static enum weir_code
tree_source(struct tree_pair *p, struct weir_err *err)
{
	bool has_id = p->from->id != NULL && strncmp(p->from->id, "id:", 3) == 0;
	enum weir_code r = WEIR_E_NOENT;

	if (has_id)
		r = weir_dropbox_look(p->s, p->ctx, p->from->id, p->from->path, &p->source, &p->from_now, err);
	if (r == WEIR_E_NOENT)
		r = weir_dropbox_look(p->s, p->ctx, p->from_at, p->from->path, &p->source, &p->from_now, err);
	if (r != WEIR_OK)
		return r;
	if (p->from_now == NULL)
		p->from_now = weir_xstrdup(p->from_at);
	if ((p->source.type == WEIR_DIR) != p->is_dir)
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' is %s on the server", p->from->path, p->is_dir ? "a file" : "a directory");
	return p->is_dir ? WEIR_OK : tree_is_it(p->s, p->ctx, p->from, &p->source, err);
}

/* Is what is at the target the source, moved there by an earlier try? Of a folder without an id nothing better is known than that it is one. */
static enum weir_code
tree_is_source(struct tree_pair *p, const struct weir_stat *there, bool *yes, struct weir_err *err)
{
	*yes = false;
	if ((there->type == WEIR_DIR) != p->is_dir)
		return WEIR_OK;
	if (p->from->id != NULL)
		*yes = there->id != NULL && strcmp(there->id, p->from->id) == 0;
	else if (p->is_dir)
		*yes = true;
	else if (p->from->version != NULL && there->version != NULL && strcmp(there->version, p->from->version) == 0)
		*yes = true;
	else if (p->from->version != NULL)
		return weir_dropbox_is_same(p->s, p->ctx, p->from->version, there, yes, err);
	return WEIR_OK;
}

static void
tree_give(struct weir_stat *from, struct weir_stat *st)
{
	free(WEIR_STEAL(from->path));
	*st = *from;
	*from = (struct weir_stat){ 0 };
}

/* What an earlier, half-done replacement put aside. */
static char *
tree_aside_path(const struct tree_pair *p)
{
	const char *v = p->to->version;

	return v != NULL && v != WEIR_ABSENT ? tree_beside(p->to_at, TREE_ASIDE, v) : NULL;
}

/* It is everybody's to see until it is gone: an error that passes is told, and the repeat finds the move done and comes here again. Others
 * are not: the move itself is done. */
static enum weir_code
tree_drop(struct tree_pair *p, const char *aside, const char *rev, struct weir_err *err)
{
	struct weir_err why = { 0 };
	enum weir_code r = tree_delete(p->s, p->ctx, aside, rev, p->to->path, &why);

	if (!p->is_move || !(weir_code_retry(r) || r == WEIR_E_CANCELED))
		return WEIR_OK;
	if (err != NULL)
		*err = why;
	return r;
}

static enum weir_code
tree_drop_aside(struct tree_pair *p, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *aside = tree_aside_path(p);
	WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 };
	enum weir_code r = aside != NULL ? weir_dropbox_look(p->s, p->ctx, aside, p->to->path, &st, NULL, err) : WEIR_E_NOENT;

	if (r == WEIR_OK)
		return st.type == WEIR_FILE ? tree_drop(p, aside, st.version, err) : WEIR_OK;
	return weir_code_retry(r) || r == WEIR_E_CANCELED ? r : WEIR_OK;
}

/* The source is gone. Is the target what it was to become? */
static enum weir_code
tree_is_done(struct tree_pair *p, struct weir_stat *st, struct weir_err *err)
{
	WEIR_AUTO(weir_stat_free) struct weir_stat there = { 0 };
	bool yes = false;
	enum weir_code r = p->is_move ? weir_dropbox_look(p->s, p->ctx, p->to_at, p->to->path, &there, NULL, err) : WEIR_E_NOENT;

	if (r == WEIR_OK)
		r = tree_is_source(p, &there, &yes, err);
	if (r != WEIR_OK && r != WEIR_E_NOENT)
		return r;
	if (!yes)
		return weir_err_set(err, WEIR_E_NOENT, "'%s' is gone from the server", p->from->path);
	r = tree_drop_aside(p, err);
	if (r == WEIR_OK)
		tree_give(&there, st);
	return r;
}

/* ---- replacing ---- */

/* The target, which has this rev, steps aside. */
static enum weir_code
tree_step_aside(struct tree_pair *p, const struct weir_stat *there, const char *aside, struct weir_stat *st, struct weir_err *err)
{
	enum weir_code r;

	if (there->type == WEIR_DIR)
		return weir_err_set(err, WEIR_E_EXIST, "'%s' is a directory on the server", p->to->path);
	r = tree_is_it(p->s, p->ctx, p->to, there, err);
	return r == WEIR_OK ? tree_relocate(p, true, p->to_at, aside, st, err) : r;
}

/* The second step failed with r: WEIR_OK when it was done all the same, else the target is put back. */
static enum weir_code
tree_second_failed(struct tree_pair *p, const char *aside, enum weir_code r, struct weir_stat *st)
{
	WEIR_AUTO(weir_stat_free) struct weir_stat there = { 0 }, back = { 0 };
	enum weir_code look = weir_dropbox_look(p->s, p->ctx, p->to_at, p->to->path, &there, NULL, NULL);
	const char *was = p->is_move ? p->source.id : p->source.sum, *is = p->is_move ? there.id : there.sum;

	if (look == WEIR_OK && was != NULL && is != NULL && strcmp(was, is) == 0) {
		tree_give(&there, st);
		return WEIR_OK;
	}
	if (look == WEIR_E_NOENT)
		tree_relocate(p, true, aside, p->to_at, &back, NULL);
	return r;
}

static enum weir_code
tree_replace(struct tree_pair *p, struct weir_stat *st, struct weir_err *err)
{
	WEIR_AUTO(weir_stat_free) struct weir_stat there = { 0 }, put = { 0 };
	WEIR_AUTO(weir_freep) char *aside = NULL;
	enum weir_code r = weir_dropbox_look(p->s, p->ctx, p->to_at, p->to->path, &there, NULL, err);

	if (r == WEIR_OK && p->is_move && there.id != NULL && p->source.id != NULL && strcmp(there.id, p->source.id) == 0) {
		tree_give(&there, st);
		return WEIR_OK;
	}
	aside = tree_aside_path(p);
	if (aside == NULL)
		aside = tree_beside(p->to_at, TREE_ASIDE, there.version != NULL ? there.version : "");
	if (r == WEIR_OK)
		r = tree_step_aside(p, &there, aside, &put, err);
	else if (r == WEIR_E_NOENT)		/* did an earlier try come so far? */
		r = weir_dropbox_look(p->s, p->ctx, aside, p->to->path, &put, NULL, err);
	if (r == WEIR_E_NOENT)
		r = weir_err_set(err, WEIR_E_CHANGED, "'%s' is gone from the server", p->to->path);
	if (r != WEIR_OK)
		return r;
	r = tree_relocate(p, p->is_move, p->from_now, p->to_at, st, err);
	if (r != WEIR_OK)
		r = tree_second_failed(p, aside, r, st);
	return r == WEIR_OK ? tree_drop(p, aside, put.version, err) : r;
}

/* ---- only case differs ---- */

static enum weir_code
tree_recase(struct tree_pair *p, struct weir_stat *st, struct weir_err *err)
{
	WEIR_AUTO(weir_stat_free) struct weir_stat half = { 0 };
	WEIR_AUTO(weir_freep) char *folded = weir_dropbox_fold(p->to_at), *by = NULL;
	unsigned char raw[WEIR_SHA256_LEN];
	char hex[2 * WEIR_SHA256_LEN + 1];
	enum weir_code r;

	weir_sha256(folded, strlen(folded), raw);
	weir_hex(raw, 6, hex);
	by = tree_beside(p->to_at, TREE_CASE, hex);
	r = p->from_now != NULL ? tree_relocate(p, true, p->from_now, by, &half, err)
		: weir_dropbox_look(p->s, p->ctx, by, p->from->path, &half, NULL, err);
	return r == WEIR_OK ? tree_relocate(p, true, by, p->to_at, st, err) : r;
}

/* Source and target are one place to the server. */
static bool
tree_is_one_place(const char *a, const char *b)
{
	WEIR_AUTO(weir_freep) char *fa = weir_dropbox_fold(a), *fb = weir_dropbox_fold(b);

	return strcmp(fa, fb) == 0;
}

static enum weir_code
tree_move_in_place(struct tree_pair *p, struct weir_stat *st, struct weir_err *err)
{
	if (p->source.path != NULL && strcmp(p->source.path, weir_dropbox_leaf(p->to->path)) == 0) {
		enum weir_code r = tree_drop_aside(p, err);

		if (r == WEIR_OK)
			tree_give(&p->source, st);
		return r;
	}
	return tree_recase(p, st, err);
}

/* ---- the hooks ---- */

static enum weir_code
tree_go(struct tree_pair *p, struct weir_stat *st, struct weir_err *err)
{
	const char *v = p->to->version;
	enum weir_code r = tree_source(p, err);

	if (r == WEIR_E_NOENT) {
		/* between the two steps of a change of case it has neither name */
		if (p->is_move && tree_is_one_place(p->from_at, p->to_at) && tree_recase(p, st, NULL) == WEIR_OK)
			return WEIR_OK;
		return tree_is_done(p, st, err);
	}
	if (r == WEIR_OK && p->is_move && tree_is_one_place(p->from_now, p->to_at))
		return tree_move_in_place(p, st, err);
	if (r != WEIR_OK)
		return r;
	if (v != NULL && v != WEIR_ABSENT && !p->is_dir)
		return tree_replace(p, st, err);
	r = tree_relocate(p, p->is_move, p->from_now, p->to_at, st, err);
	if (r == WEIR_E_EXIST && v == NULL && !p->is_dir)
		return tree_replace(p, st, err);
	return r == WEIR_E_EXIST ? tree_taken(p->s, p->ctx, p->to_at, p->to->path, err) : r;
}

static enum weir_code
tree_pair(struct dropbox *s, const struct weir_ctx *ctx, const struct weir_where *from, const struct weir_where *to, bool is_move, bool is_dir,
    struct weir_stat *st, struct weir_err *err)
{
	WEIR_AUTO(tree_pair_free) struct tree_pair p = { .s = s, .ctx = ctx, .from = from, .to = to, .is_move = is_move, .is_dir = is_dir };
	struct weir_stat got = { 0 };
	enum weir_code r = weir_dropbox_path(s, from->path, false, &p.from_at, err);

	if (r == WEIR_OK)
		r = weir_dropbox_path(s, to->path, true, &p.to_at, err);
	if (r == WEIR_OK && (from->path[0] == '\0' || to->path[0] == '\0'))
		r = weir_err_set(err, WEIR_E_BUSY, "the root stays where it is");
	if (r == WEIR_OK)
		r = tree_go(&p, &got, err);
	if (r == WEIR_OK && st != NULL)
		*st = got;
	else
		weir_stat_free(&got);
	return r;
}

enum weir_code
weir_dropbox_copy(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *from, const struct weir_where *to,
    struct weir_stat *st, struct weir_err *err)
{
	return tree_pair((struct dropbox *)be, ctx, from, to, false, false, st, err);
}

enum weir_code
weir_dropbox_move(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *from, const struct weir_where *to, bool is_dir,
    struct weir_stat *st, struct weir_err *err)
{
	return tree_pair((struct dropbox *)be, ctx, from, to, true, is_dir, st, err);
}
