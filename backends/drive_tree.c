/* SPDX-License-Identifier: Apache-2.0 */
/* Folders, and what happens to objects as a whole: mkdir, remove, move, copy, times and modes. Drive would let two siblings have one name, delete
 * folders with all in them, and move onto anything: what the contract forbids is looked for first, one call at a time for one name. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "drive_impl.h"

#define TREE_MADE_MS 600000

/* ---- mkdir ---- */

static enum weir_code
mkdir_post(struct drive *d, const struct weir_ctx *ctx, const struct weir_where *w, const char *parent, const char *name, const char *id,
    struct drive_file *f, struct weir_err *err)
{
	json_t *answer = NULL, *o = json_pack("{s:s,s:s,s:s,s:[s]}", "id", id, "name", name, "mimeType", DRIVE_FOLDER, "parents", parent);
	enum weir_code r;

	if (o == NULL)
		return weir_err_set(err, WEIR_E_NAME, "mkdir '%s': the name is no text", w->path);
	r = weir_drive_json(d, ctx, "POST", "files", "&fields=" DRIVE_FIELDS, o, &answer, "mkdir", w->path, err);
	if (r == WEIR_OK && weir_drive_file_parse(answer, f) < 0)
		r = weir_err_set(err, WEIR_E_PROTO, "mkdir '%s': the answer is no file of Drive's", w->path);
	json_decref(answer);
	return r;
}

static enum weir_code
mkdir_make(struct drive *d, const struct weir_ctx *ctx, const struct weir_where *w, const char *parent, const char *leaf, struct drive_item *it,
    struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *name = NULL, *id = NULL;
	bool is_again = false;
	enum weir_code r = weir_drive_name_hold(leaf, strlen(leaf), &name, err);

	if (r == WEIR_OK && *parent == '\0')
		r = weir_err_set(err, WEIR_E_ACCES, "nothing can be made in '%s': it is a list, not a folder", d->name);
	if (r == WEIR_OK)
		r = weir_drive_id_new(d, ctx, parent, leaf, &id, &is_again, err);
	if (r != WEIR_OK)
		return r;
	r = mkdir_post(d, ctx, w, parent, name, id, &it->f, err);
	if (r == WEIR_E_EXIST) {	/* an earlier try has arrived */
		r = weir_drive_id_again(d, ctx, parent, leaf, &id, true, w->path, it, err);
		if (r == WEIR_E_NOENT)
			r = mkdir_post(d, ctx, w, parent, name, id, &it->f, err);
	}
	if (r == WEIR_OK && it->f.is_trashed)
		r = weir_err_set(err, WEIR_E_NOENT, "the folder of '%s' is in the trash", w->path);
	if (r == WEIR_OK && !weir_drive_is_folder(&it->f))	/* it was meant for a file of this name, and that one has arrived */
		r = weir_err_set(err, WEIR_E_EXIST, "'%s' exists", w->path);
	if (r == WEIR_OK)
		weir_drive_note_made(d, parent, leaf, id);
	if (r == WEIR_OK || (!weir_code_retry(r) && r != WEIR_E_CANCELED))
		weir_drive_id_done(d, parent, leaf);
	return r;
}

enum weir_code
weir_drive_mkdir(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, struct weir_stat *st, struct weir_err *err)
{
	struct drive *d = (struct drive *)be;
	const struct weir_where any = { .path = w->path, .parent_id = w->parent_id };
	WEIR_AUTO(weir_drive_item_free) struct drive_item it = { 0 };
	WEIR_AUTO(weir_freep) char *parent = NULL;
	const char *leaf;
	char *busy;
	enum weir_code r = w->path[0] == '\0' ? weir_err_set(err, WEIR_E_EXIST, "the root exists") :
	    weir_drive_parent(d, ctx, w, &parent, &leaf, err);

	if (r != WEIR_OK)
		return r;
	busy = weir_drive_enter(d, parent, leaf);
	r = weir_drive_find(d, ctx, &any, &it, err);
	if (r == WEIR_E_NOENT)
		r = mkdir_make(d, ctx, w, parent, leaf, &it, err);
	else if (r == WEIR_OK) {
		r = weir_err_set(err, WEIR_E_EXIST, "'%s' exists", w->path);
		if (st != NULL)
			weir_drive_stat_of(d, &it, st);
	}
	weir_drive_leave(d, busy);
	if (r == WEIR_OK && st != NULL)
		weir_drive_stat_of(d, &it, st);
	return r;
}

/* ---- remove ---- */

/* Is this really in there now? Queries are late in both directions. */
static enum weir_code
empty_has(struct drive *d, const struct weir_ctx *ctx, const char *folder, const char *child, const char *path, struct weir_err *err)
{
	struct drive_file f = { 0 };
	enum weir_code r = weir_drive_file_get(d, ctx, child, path, &f, err);

	if (r == WEIR_OK && f.parent != NULL && strcmp(f.parent, folder) == 0)
		r = weir_err_set(err, WEIR_E_NOTEMPTY, "'%s' is not empty", path);
	weir_drive_file_free(&f);
	return r == WEIR_E_NOENT ? WEIR_OK : r;
}

static enum weir_code
empty_made(struct drive *d, const struct weir_ctx *ctx, const char *folder, const char *path, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *prefix = weir_xasprintf("%s/", folder);
	enum weir_code r = WEIR_OK;
	char **made;

	pthread_mutex_lock(&d->lock);
	made = weir_drive_map_values(&d->made, prefix, TREE_MADE_MS);
	pthread_mutex_unlock(&d->lock);
	for (size_t i = 0; made[i] != NULL; i++) {
		if (r == WEIR_OK)
			r = empty_has(d, ctx, folder, made[i], path, err);
		free(made[i]);
	}
	free(made);
	return r;
}

/* NOTEMPTY, or OK. with_trash: what is in the trash counts. */
static enum weir_code
empty_look(struct drive *d, const struct weir_ctx *ctx, const char *folder, bool with_trash, const char *path, struct weir_err *err)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf q = WEIR_BUF(4096);
	WEIR_AUTO(weir_freep) char *token = NULL;
	bool is_more = true;
	enum weir_code r = empty_made(d, ctx, folder, path, err);

	weir_drive_query_text(&q, folder);
	weir_buf_addf(&q, " in parents%s", with_trash ? "" : " and trashed = false");
	while (r == WEIR_OK && is_more) {
		WEIR_AUTO(weir_drive_page_free) struct drive_page page = { 0 };

		r = weir_drive_query(d, ctx, weir_buf_str(&q), 100, token, path, &page, err);
		for (size_t i = 0; r == WEIR_OK && i < page.n; i++)
			r = with_trash ? weir_err_set(err, WEIR_E_NOTEMPTY, "'%s' has something in the trash", path) :
			    empty_has(d, ctx, folder, page.v[i].id, path, err);
		is_more = page.next != NULL;
		free(token);
		token = WEIR_STEAL(page.next);
	}
	return r;
}

static enum weir_code
remove_for_good(struct drive *d, const struct weir_ctx *ctx, const char *id, const char *path, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *at = weir_drive_at("files", id, "");

	weir_drive_head_forget(d, id);
	return weir_drive_json(d, ctx, "DELETE", at, "", NULL, NULL, "delete", path, err);
}

/* Into the trash, and out of it again when it turns out to be another version. version: NULL: any. */
static enum weir_code
remove_to_trash(struct drive *d, const struct weir_ctx *ctx, const struct drive_item *it, const char *version, const char *path, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *now = NULL;
	struct drive_file f = { 0 };
	enum weir_code r = weir_drive_trash(d, ctx, it->f.id, true, &f, path, err);

	if (r == WEIR_OK && version != NULL && version != WEIR_ABSENT && !it->is_shortcut) {
		now = weir_drive_version(&f);
		if (now == NULL || strcmp(now, version) != 0) {
			r = weir_drive_trash(d, ctx, it->f.id, false, NULL, path, err);
			if (r == WEIR_OK)
				r = weir_err_set(err, WEIR_E_CHANGED, "'%s' has another version", path);
		}
	}
	weir_drive_file_free(&f);
	if (r == WEIR_OK)
		weir_drive_note_gone(d, it->f.id);
	return r;
}

enum weir_code
weir_drive_remove(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, bool is_dir, struct weir_err *err)
{
	struct drive *d = (struct drive *)be;
	WEIR_AUTO(weir_drive_item_free) struct drive_item it = { 0 };
	bool for_good = !d->uses_trash, is_folder;
	enum weir_code r;

	if (w->path[0] == '\0')
		return weir_err_set(err, WEIR_E_BUSY, "the root stays");
	r = weir_drive_find(d, ctx, w, &it, err);
	if (r != WEIR_OK)
		return r;
	is_folder = weir_drive_is_folder(weir_drive_content(&it));
	if (is_folder != is_dir)
		return weir_err_set(err, is_folder ? WEIR_E_ISDIR : WEIR_E_NOTDIR, "'%s' is %s folder", w->path, is_folder ? "a" : "no");
	if (!is_dir)
		r = weir_drive_is_version(w, &it, err);
	else
		r = empty_look(d, ctx, weir_drive_content(&it)->id, false, w->path, err);
	if (r != WEIR_OK)
		return r;
	/* Deleting a folder for good takes what is in the trash below it along: that stays the person's to decide. */
	if (for_good && is_dir && !it.is_shortcut) {
		r = empty_look(d, ctx, it.f.id, true, w->path, err);
		for_good = r == WEIR_OK;
		if (r != WEIR_OK && r != WEIR_E_NOTEMPTY)
			return r;
	}
	if (!for_good)
		return remove_to_trash(d, ctx, &it, is_dir ? NULL : w->version, w->path, err);
	r = remove_for_good(d, ctx, it.f.id, w->path, err);
	if (r == WEIR_OK)
		weir_drive_note_gone(d, it.f.id);
	return r;
}

/* ---- what stands where something is to go ---- */

/* OK: nothing, or what may be replaced (then *old is it). self: the id of what goes there. */
static enum weir_code
target_look(struct drive *d, const struct weir_ctx *ctx, const struct weir_where *to, const char *parent, const char *leaf, const char *self,
    bool may_replace, struct drive_item *old, struct weir_err *err)
{
	enum weir_code r = weir_drive_lookup(d, ctx, parent, leaf, to->path, old, err);

	if (r == WEIR_E_NOENT)
		return WEIR_OK;
	if (r != WEIR_OK)
		return r;
	if (self != NULL && strcmp(old->f.id, self) == 0) {
		weir_drive_item_free(old);
		return WEIR_OK;
	}
	if (!may_replace || to->version == WEIR_ABSENT || weir_drive_is_folder(weir_drive_content(old)))
		return weir_err_set(err, WEIR_E_EXIST, "'%s' exists", to->path);
	return weir_drive_is_version(to, old, err);
}

/* The name to hold for it; a Google document does not hold the ending it is shown with. */
static enum weir_code
target_name(struct drive *d, const struct drive_item *it, const char *leaf, char **name, struct weir_err *err)
{
	const struct drive_file *f = weir_drive_content(it);
	const struct drive_format *as = weir_drive_is_doc(f) ? weir_drive_format(d->formats, f->mime) : NULL;
	size_t n = strlen(leaf), ext = as == NULL ? 0 : strlen(as->ext) + 1;

	if (as != NULL && n > ext && leaf[n - ext] == '.' && strcmp(leaf + n - ext + 1, as->ext) == 0)
		n -= ext;
	return weir_drive_name_hold(leaf, n, name, err);
}

/* ---- move ---- */

struct move {
	struct drive *d;
	const struct weir_ctx *ctx;
	const struct weir_where *from, *to;
	bool is_dir;
	char *parent;		/* where it goes */
	const char *leaf;
	struct drive_item it, old;
	bool is_done;		/* an earlier try has moved it */
};

static void
move_free(struct move *m)
{
	weir_drive_item_free(&m->it);
	weir_drive_item_free(&m->old);
	free(m->parent);
}

/* What is to move, and whether it has moved already. */
static enum weir_code
move_find(struct move *m, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *parent = NULL;
	const char *leaf;
	enum weir_code r = weir_drive_by_id(m->d, m->ctx, m->from, &m->it, err);

	if (r == WEIR_OK && strcmp(m->from->path, m->to->path) != 0 && weir_drive_is_at(m->d, &m->it, m->parent, m->leaf))
		m->is_done = true;
	if (m->is_done)
		return WEIR_OK;
	if (r == WEIR_OK) {
		r = weir_drive_parent(m->d, m->ctx, m->from, &parent, &leaf, err);
		if (r == WEIR_OK && weir_drive_is_at(m->d, &m->it, parent, leaf))
			return WEIR_OK;
		if (r == WEIR_OK && m->from->id != NULL)
			return weir_err_set(err, WEIR_E_NOENT, "'%s' is not there any more", m->from->path);
	}
	weir_drive_item_free(&m->it);
	return r == WEIR_OK || r == WEIR_E_NOENT ? weir_drive_find(m->d, m->ctx, m->from, &m->it, err) : r;
}

static enum weir_code
move_send(struct move *m, const char *parent, const char *name, struct drive_file *now, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *query = NULL;
	const struct drive_file *f = &m->it.f;
	json_t *o = json_object();

	if (f->parent == NULL || strcmp(f->parent, parent) != 0)
		query = weir_xasprintf("&addParents=%s%s%s", parent, f->parent != NULL ? "&removeParents=" : "", f->parent != NULL ? f->parent : "");
	json_object_set_new(o, "name", json_string(name));
	if (f->modified != NULL)	/* it would become now */
		json_object_set_new(o, "modifiedTime", json_string(f->modified));
	return weir_drive_patch(m->d, m->ctx, f->id, query == NULL ? "" : query, o, now, "move", m->from->path, err);
}

/* What was replaced goes to the trash, if it is still the version that was named; else all goes back. */
static enum weir_code
move_replaced(struct move *m, struct weir_err *err)
{
	struct move back = *m;
	struct drive_file now = { 0 };
	enum weir_code r;

	if (m->old.f.id == NULL)
		return WEIR_OK;
	r = remove_to_trash(m->d, m->ctx, &m->old, m->to->version, m->to->path, err);
	if (r == WEIR_OK || r == WEIR_E_NOENT)
		return WEIR_OK;
	/* What passes is repeated and finds the move done. What does not (another version, somebody else's file) ends it. */
	if (weir_code_retry(r) || r == WEIR_E_CANCELED || r == WEIR_E_AUTH || m->it.f.parent == NULL)
		return r;
	back.it.f = m->it.f;
	back.it.f.parent = m->parent;
	if (move_send(&back, m->it.f.parent, m->it.f.name, &now, NULL) != WEIR_OK)
		weir_log(WEIR_LOG_WARN, "remote '%s': '%s' has moved to '%s' and could not be moved back; both versions are there", m->d->name, m->from->path,
		    m->to->path);
	weir_drive_file_free(&now);
	pthread_mutex_lock(&m->d->lock);
	weir_drive_map_drop_value(&m->d->made, m->it.f.id);
	pthread_mutex_unlock(&m->d->lock);
	return r;
}

/* It is there already. Was what it replaces left behind? */
static enum weir_code
move_again(struct move *m, struct weir_err *err)
{
	enum weir_code r;

	if (m->to->version == NULL || m->to->version == WEIR_ABSENT)
		return WEIR_OK;
	r = weir_drive_by_id(m->d, m->ctx, &(struct weir_where){ .path = m->to->path, .version = m->to->version }, &m->old, err);
	if (r == WEIR_E_NOENT)
		return WEIR_OK;
	if (r != WEIR_OK)
		return r;
	if (strcmp(m->old.f.id, m->it.f.id) == 0 || !weir_drive_is_at(m->d, &m->old, m->parent, m->leaf) ||
	    weir_drive_is_version(m->to, &m->old, NULL) != WEIR_OK)
		return WEIR_OK;
	r = remove_to_trash(m->d, m->ctx, &m->old, m->to->version, m->to->path, err);
	return r == WEIR_E_NOENT ? WEIR_OK : r;
}

static enum weir_code
move_locked(struct move *m, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *name = NULL;
	struct drive_file now = { 0 };
	enum weir_code r = move_find(m, err);

	if (r == WEIR_OK && m->is_done)
		return move_again(m, err);
	if (r == WEIR_OK && weir_drive_is_folder(weir_drive_content(&m->it)) != m->is_dir)
		r = weir_err_set(err, m->is_dir ? WEIR_E_NOTDIR : WEIR_E_ISDIR, "'%s' is %s folder", m->from->path, m->is_dir ? "no" : "a");
	if (r == WEIR_OK && !m->is_dir)
		r = weir_drive_is_version(m->from, &m->it, err);
	if (r == WEIR_OK)
		r = target_look(m->d, m->ctx, m->to, m->parent, m->leaf, m->it.f.id, !m->is_dir, &m->old, err);
	if (r == WEIR_OK)
		r = target_name(m->d, &m->it, m->leaf, &name, err);
	if (r == WEIR_OK)
		r = move_send(m, m->parent, name, &now, err);
	weir_drive_file_free(&now);
	if (r != WEIR_OK)
		return r;
	weir_drive_note_gone(m->d, m->it.f.id);
	weir_drive_note_made(m->d, m->parent, m->leaf, m->it.f.id);
	if (m->is_dir) {
		pthread_mutex_lock(&m->d->lock);
		weir_drive_map_drop_below(&m->d->paths, m->from->path);
		pthread_mutex_unlock(&m->d->lock);
	}
	return move_replaced(m, err);
}

enum weir_code
weir_drive_move(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *from, const struct weir_where *to,
    bool is_dir, struct weir_stat *st, struct weir_err *err)
{
	WEIR_AUTO(move_free) struct move m = { .d = (struct drive *)be, .ctx = ctx, .from = from, .to = to, .is_dir = is_dir };
	char *busy;
	enum weir_code r;

	if (from->path[0] == '\0')
		return weir_err_set(err, WEIR_E_BUSY, "the root stays");
	r = weir_drive_parent(m.d, ctx, to, &m.parent, &m.leaf, err);
	if (r == WEIR_OK && *m.parent == '\0')
		r = weir_err_set(err, WEIR_E_ACCES, "nothing can be moved into '%s': it is a list, not a folder", m.d->name);
	if (r != WEIR_OK)
		return r;
	busy = weir_drive_enter(m.d, m.parent, m.leaf);
	r = move_locked(&m, err);
	weir_drive_leave(m.d, busy);
	/* The version told is the one that was asked about: what came in between the next listing shows. */
	if (r == WEIR_OK && st != NULL)
		weir_drive_stat_of(m.d, &m.it, st);
	return r;
}

/* ---- copy ---- */

static enum weir_code
copy_post(struct drive *d, const struct weir_ctx *ctx, const struct drive_file *f, const char *parent, const char *name, const char *id, const char *path,
    struct drive_file *made, struct weir_err *err)
{
	const struct weir_meta meta = { f->modified_ns, f->mode };
	WEIR_AUTO(weir_freep) char *at = weir_drive_at("files", f->id, "/copy");
	json_t *answer = NULL, *o = json_pack("{s:s,s:s,s:[s]}", "id", id, "name", name, "parents", parent);
	enum weir_code r;

	if (o == NULL)
		return weir_err_set(err, WEIR_E_NAME, "copy '%s': the name is no text", path);
	weir_drive_meta_json(o, &meta, f->is_link ? WEIR_LINK : WEIR_FILE, NULL);
	r = weir_drive_json(d, ctx, "POST", at, "&fields=" DRIVE_FIELDS, o, &answer, "copy", path, err);
	if (r == WEIR_OK && weir_drive_file_parse(answer, made) < 0)
		r = weir_err_set(err, WEIR_E_PROTO, "copy '%s': the answer is no file of Drive's", path);
	json_decref(answer);
	return r;
}

/* CHANGED and made->f.id: what was made just now, and by us, is not what it should be. */
static enum weir_code
copy_send(struct drive *d, const struct weir_ctx *ctx, const struct drive_file *f, const char *parent, const char *leaf, const char *path,
    struct drive_item *made, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *name = NULL, *id = NULL;
	bool is_again = false, is_earlier = false;
	enum weir_code r = weir_drive_name_hold(leaf, strlen(leaf), &name, err);

	if (r == WEIR_OK)
		r = weir_drive_id_new(d, ctx, parent, leaf, &id, &is_again, err);
	if (r == WEIR_OK)
		r = copy_post(d, ctx, f, parent, name, id, path, &made->f, err);
	if (r == WEIR_E_EXIST) {	/* an earlier try has arrived */
		r = weir_drive_id_again(d, ctx, parent, leaf, &id, true, path, made, err);
		is_earlier = r == WEIR_OK;
		if (r == WEIR_E_NOENT)
			r = copy_post(d, ctx, f, parent, name, id, path, &made->f, err);
	}
	if (r == WEIR_OK && made->f.is_trashed)
		r = weir_err_set(err, WEIR_E_NOENT, "the folder of '%s' is in the trash", path);
	if (r == WEIR_OK && (f->md5 == NULL || made->f.md5 == NULL || strcmp(f->md5, made->f.md5) != 0)) {
		if (is_earlier)		/* somebody may have written to it since */
			weir_drive_item_free(made);
		r = weir_err_set(err, WEIR_E_CHANGED, "'%s' changed while it was copied", path);
	}
	return r;
}

enum weir_code
weir_drive_copy(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *from, const struct weir_where *to,
    struct weir_stat *st, struct weir_err *err)
{
	struct drive *d = (struct drive *)be;
	WEIR_AUTO(weir_drive_item_free) struct drive_item it = { 0 }, old = { 0 }, made = { 0 };
	WEIR_AUTO(weir_freep) char *parent = NULL;
	const char *leaf;
	char *busy;
	bool is_sent;
	enum weir_code r = weir_drive_find(d, ctx, from, &it, err);

	if (r == WEIR_OK)
		r = weir_drive_is_version(from, &it, err);
	if (r == WEIR_OK && (weir_drive_is_folder(weir_drive_content(&it)) || weir_drive_is_doc(weir_drive_content(&it))))
		r = weir_err_set(err, WEIR_E_NOTSUP, "Drive copies files only");
	if (r == WEIR_OK)
		r = weir_drive_parent(d, ctx, to, &parent, &leaf, err);
	if (r == WEIR_OK && *parent == '\0')
		r = weir_err_set(err, WEIR_E_ACCES, "nothing can be made in '%s': it is a list, not a folder", d->name);
	if (r != WEIR_OK)
		return r;
	busy = weir_drive_enter(d, parent, leaf);
	r = target_look(d, ctx, to, parent, leaf, NULL, true, &old, err);
	if (r == WEIR_OK && old.f.id == NULL && to->version != NULL && to->version != WEIR_ABSENT)
		r = weir_err_set(err, WEIR_E_CHANGED, "'%s' was removed meanwhile", to->path);
	is_sent = r == WEIR_OK;
	if (is_sent)
		r = copy_send(d, ctx, weir_drive_content(&it), parent, leaf, from->path, &made, err);
	if (r == WEIR_OK && old.f.id != NULL)
		r = remove_to_trash(d, ctx, &old, to->version, to->path, err);
	if (r == WEIR_E_CHANGED && made.f.id != NULL)
		weir_drive_trash(d, ctx, made.f.id, true, NULL, to->path, NULL);
	if (r == WEIR_OK)
		weir_drive_note_made(d, parent, leaf, made.f.id);
	/* Only now: a repeat that has but the replaced one to remove must not copy again. */
	if (is_sent && (r == WEIR_OK || (!weir_code_retry(r) && r != WEIR_E_CANCELED)))
		weir_drive_id_done(d, parent, leaf);
	weir_drive_leave(d, busy);
	if (r == WEIR_OK && st != NULL)
		weir_drive_stat_of(d, &made, st);
	return r;
}

/* ---- set_meta ---- */

enum weir_code
weir_drive_set_meta(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, bool is_dir, const struct weir_meta *meta,
    struct weir_stat *st, struct weir_err *err)
{
	struct drive *d = (struct drive *)be;
	WEIR_AUTO(weir_drive_item_free) struct drive_item it = { 0 };
	WEIR_AUTO(weir_freep) char *before = NULL, *after = NULL;
	struct drive_file now = { 0 }, *f;
	json_t *o;
	enum weir_code r;

	if (w->path[0] == '\0')
		return weir_err_set(err, WEIR_E_NOTSUP, "the root keeps no times");
	r = weir_drive_find(d, ctx, w, &it, err);
	if (r == WEIR_OK && !is_dir)
		r = weir_drive_is_version(w, &it, err);
	if (r != WEIR_OK)
		return r;
	f = it.is_shortcut ? &it.to : &it.f;
	before = weir_drive_version(f);
	o = json_object();
	weir_drive_meta_json(o, meta, f->is_link ? WEIR_LINK : WEIR_DIR, NULL);
	r = weir_drive_patch(d, ctx, f->id, "", o, &now, "set the time of", w->path, err);
	if (r != WEIR_OK)
		return r;
	after = weir_drive_version(&now);
	weir_drive_file_free(f);
	*f = now;
	if (!weir_drive_is_doc(f) && before != NULL && after != NULL && strcmp(before, after) != 0)
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' changed on Drive meanwhile", w->path);
	if (st != NULL)
		weir_drive_stat_of(d, &it, st);
	return WEIR_OK;
}
