/* SPDX-License-Identifier: Apache-2.0 */
/* From paths and ids to objects.
 *
 * files.get by id is consistent; queries lag behind by seconds. So an id is asked for first, and only what is not where it was is looked for
 * by name, first among what we made ourselves a moment ago. "name = 'x'" folds case: answers are compared exactly. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "drive_impl.h"

#define FIND_PATH_MS 30000	/* how long a folder is believed to be where it was seen */
#define FIND_MADE_MS 600000	/* how far queries may lag */

/* ---- one object ---- */

void
weir_drive_item_free(struct drive_item *it)
{
	weir_drive_file_free(&it->f);
	weir_drive_file_free(&it->to);
	it->is_shortcut = false;
}

const struct drive_file *
weir_drive_content(const struct drive_item *it)
{
	return it->is_shortcut ? &it->to : &it->f;
}

char *
weir_drive_item_id(const struct drive_item *it)
{
	return it->is_shortcut ? weir_xasprintf("%s>%s", it->f.id, it->to.id) : weir_xstrdup(it->f.id);
}

char *
weir_drive_item_name(const struct drive *d, const struct drive_item *it)
{
	return weir_drive_name_of(d->formats, &it->f);
}

void
weir_drive_stat_of(const struct drive *d, const struct drive_item *it, struct weir_stat *st)
{
	const struct drive_file *f = weir_drive_content(it);

	*st = (struct weir_stat){ .type = WEIR_FILE, .size = WEIR_SIZE_NONE, .mtime_ns = f->modified_ns, .mode = f->mode };
	st->id = weir_drive_item_id(it);
	if (weir_drive_is_folder(f)) {
		st->type = WEIR_DIR;
		st->is_readonly = f->is_closed;
		return;
	}
	if (f->is_link)
		st->type = WEIR_LINK;
	st->version = weir_drive_version(f);
	st->is_readonly = f->is_fixed || weir_drive_is_doc(f);
	if (!weir_drive_is_doc(f))
		st->size = f->size;
	if (f->md5 != NULL)
		st->sum = weir_xasprintf("md5:%s", f->md5);
}

/* ---- by id ---- */

void
weir_drive_head_forget(struct drive *d, const char *id)
{
	pthread_mutex_lock(&d->lock);
	for (size_t i = 0; i < DRIVE_HEADS; i++)
		if (d->heads[i].file.id != NULL && strcmp(d->heads[i].file.id, id) == 0)
			weir_drive_file_free(&d->heads[i].file);
	pthread_mutex_unlock(&d->lock);
}

static void
find_head_note(struct drive *d, const struct drive_file *f)
{
	struct drive_head *slot = &d->heads[0];

	pthread_mutex_lock(&d->lock);
	for (size_t i = 0; i < DRIVE_HEADS; i++) {
		struct drive_head *h = &d->heads[i];

		if (h->file.id != NULL && strcmp(h->file.id, f->id) == 0) {
			slot = h;
			break;
		}
		if (h->file.id == NULL || h->at_ms < slot->at_ms)
			slot = h;
	}
	weir_drive_file_free(&slot->file);
	weir_drive_file_copy(&slot->file, f);
	slot->at_ms = weir_now_ms();
	pthread_mutex_unlock(&d->lock);
}

enum weir_code
weir_drive_file_get(struct drive *d, const struct weir_ctx *ctx, const char *id, const char *path, struct drive_file *f, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *at = weir_drive_at("files", id, "");
	struct drive_file got = { 0 };
	json_t *o = NULL;
	enum weir_code r = weir_drive_json(d, ctx, "GET", at, "&fields=" DRIVE_FIELDS, NULL, &o, "look at", path, err);

	if (r != WEIR_OK)
		return r;
	if (weir_drive_file_parse(o, &got) < 0)
		r = weir_err_set(err, WEIR_E_PROTO, "look at '%s': the answer is no file of Drive's", path);
	json_decref(o);
	if (r == WEIR_OK && got.is_trashed)
		r = weir_err_set(err, WEIR_E_NOENT, "'%s' is in the trash", path);
	if (r != WEIR_OK) {
		weir_drive_file_free(&got);
		return r;
	}
	find_head_note(d, &got);
	*f = got;
	return WEIR_OK;
}

enum weir_code
weir_drive_head(struct drive *d, const struct weir_ctx *ctx, const char *id, const char *path, int64_t max_age_ms, struct drive_file *f,
    struct weir_err *err)
{
	bool is_known = false;

	pthread_mutex_lock(&d->lock);
	for (size_t i = 0; i < DRIVE_HEADS && !is_known; i++) {
		const struct drive_head *h = &d->heads[i];

		is_known = h->file.id != NULL && strcmp(h->file.id, id) == 0 && weir_now_ms() - h->at_ms <= max_age_ms;
		if (is_known)
			weir_drive_file_copy(f, &h->file);
	}
	pthread_mutex_unlock(&d->lock);
	return is_known ? WEIR_OK : weir_drive_file_get(d, ctx, id, path, f, err);
}

enum weir_code
weir_drive_follow(struct drive *d, const struct weir_ctx *ctx, struct drive_item *it, const char *path, struct weir_err *err)
{
	enum weir_code r;

	it->is_shortcut = it->f.target_id != NULL;
	if (!it->is_shortcut)
		return WEIR_OK;
	r = weir_drive_file_get(d, ctx, it->f.target_id, path, &it->to, err);
	/* A shortcut to a shortcut cannot be made; one that says so is not followed further. */
	if (r == WEIR_OK && it->to.target_id != NULL)
		r = weir_err_set(err, WEIR_E_NOENT, "'%s' points to another shortcut", path);
	return r == WEIR_E_ACCES ? weir_err_set(err, WEIR_E_NOENT, "'%s' points to what is not shared with this account", path) : r;
}

enum weir_code
weir_drive_by_id(struct drive *d, const struct weir_ctx *ctx, const struct weir_where *w, struct drive_item *it, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *id = NULL;
	enum weir_code r;

	if (w->id != NULL)
		id = weir_drive_id_own(w->id);
	else if (w->version != NULL && w->version != WEIR_ABSENT && strchr(w->version, ':') != NULL)
		id = weir_xstrndup(w->version, strcspn(w->version, ":"));
	else
		return weir_err_set(err, WEIR_E_NOENT, "'%s' is not known by an id", w->path);
	r = weir_drive_file_get(d, ctx, id, w->path, &it->f, err);
	return r == WEIR_OK ? weir_drive_follow(d, ctx, it, w->path, err) : r;
}

enum weir_code
weir_drive_is_version(const struct weir_where *w, const struct drive_item *it, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *now = NULL;

	if (w->version == NULL)
		return WEIR_OK;
	if (w->version == WEIR_ABSENT)
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' was made meanwhile", w->path);
	now = weir_drive_version(weir_drive_content(it));
	if (now != NULL && strcmp(now, w->version) == 0)
		return WEIR_OK;
	return weir_err_set(err, WEIR_E_CHANGED, "'%s' has another version", w->path);
}

/* ---- the root ---- */

static enum weir_code
root_of_drive(struct drive *d, const struct weir_ctx *ctx, char **id, struct weir_err *err)
{
	struct drive_folder all = { 0 };
	enum weir_code r = weir_drive_folder_read(d, ctx, "*", "shared drives", &all, err);

	for (size_t i = 0; r == WEIR_OK && i < all.n && *id == NULL; i++)
		if (strcmp(all.v[i].file->id, d->shared_drive) == 0 || strcmp(all.v[i].file->name, d->shared_drive) == 0)
			*id = weir_xstrdup(all.v[i].file->id);
	weir_drive_folder_free(&all);
	if (r == WEIR_OK && *id == NULL)
		return weir_err_set(err, WEIR_E_NOBUCKET, "remote '%s': this account sees no shared drive '%s'", d->name, d->shared_drive);
	return r;
}

/* Asked for once: "root" is an alias, parents name the real id. */
enum weir_code
weir_drive_root(struct drive *d, const struct weir_ctx *ctx, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *drive = NULL;
	struct drive_file f = { 0 };
	bool is_known;
	enum weir_code r = WEIR_OK;

	pthread_mutex_lock(&d->lock);
	is_known = d->root_id != NULL;
	pthread_mutex_unlock(&d->lock);
	if (is_known || d->root_kind != DRIVE_ROOT_FOLDER)
		return WEIR_OK;
	if (d->shared_drive != NULL)
		r = root_of_drive(d, ctx, &drive, err);
	if (r == WEIR_OK)
		r = weir_drive_file_get(d, ctx, d->root_folder != NULL ? d->root_folder : drive != NULL ? drive : "root", "", &f, err);
	if (r == WEIR_E_NOENT)
		r = weir_err_set(err, WEIR_E_NOBUCKET, "remote '%s': there is no folder '%s', or this account may not see it", d->name,
		    d->root_folder != NULL ? d->root_folder : "root");
	if (r == WEIR_OK && !weir_drive_is_folder(&f))
		r = weir_err_set(err, WEIR_E_CONFIG, "remote '%s': root_folder_id '%s' is no folder", d->name, f.id);
	pthread_mutex_lock(&d->lock);
	if (r == WEIR_OK && d->root_id == NULL) {
		d->root_id = WEIR_STEAL(f.id);
		d->drive_id = WEIR_STEAL(drive);
	}
	pthread_mutex_unlock(&d->lock);
	weir_drive_file_free(&f);
	return r;
}

static enum weir_code
find_root_id(struct drive *d, const struct weir_ctx *ctx, char **id, struct weir_err *err)
{
	enum weir_code r = weir_drive_root(d, ctx, err);

	if (r != WEIR_OK)
		return r;
	pthread_mutex_lock(&d->lock);
	*id = weir_xstrdup(d->root_kind == DRIVE_ROOT_FOLDER ? d->root_id : "");
	pthread_mutex_unlock(&d->lock);
	return WEIR_OK;
}

/* ---- by name ---- */

/* Is the object, wherever the query had it from, really called leaf and in parent? */
bool
weir_drive_is_at(struct drive *d, const struct drive_item *it, const char *parent, const char *leaf)
{
	WEIR_AUTO(weir_freep) char *shown = weir_drive_item_name(d, it);

	if (it->f.is_trashed || shown == NULL || !weir_drive_name_is(leaf, shown, it->f.id))
		return false;
	/* What is shared with us often shows no parent; a virtual root has no id. */
	return *parent == '\0' || it->f.parent == NULL || strcmp(it->f.parent, parent) == 0;
}

/* A query's answer may be older than what happened to the object since: ask for itself. NOENT: it is not there any more. */
static enum weir_code
lookup_verify(struct drive *d, const struct weir_ctx *ctx, const char *id, const char *parent, const char *leaf, const char *path,
    struct drive_item *it, struct weir_err *err)
{
	enum weir_code r = weir_drive_file_get(d, ctx, id, path, &it->f, err);

	if (r == WEIR_OK)
		r = weir_drive_follow(d, ctx, it, path, err);
	if (r == WEIR_OK && !weir_drive_is_at(d, it, parent, leaf))
		r = WEIR_E_NOENT;
	if (r != WEIR_OK)
		weir_drive_item_free(it);
	return r;
}

/* What we ourselves made there lately: queries may not know it yet. */
static enum weir_code
lookup_made(struct drive *d, const struct weir_ctx *ctx, const char *parent, const char *leaf, const char *path, struct drive_item *it,
    struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *key = weir_xasprintf("%s/%s", parent, leaf), *id = NULL;
	enum weir_code r;

	pthread_mutex_lock(&d->lock);
	id = weir_drive_map_get(&d->made, key, FIND_MADE_MS);
	pthread_mutex_unlock(&d->lock);
	if (id == NULL)
		return WEIR_E_NOENT;
	r = lookup_verify(d, ctx, id, parent, leaf, path, it, err);
	if (r != WEIR_E_NOENT)
		return r;
	pthread_mutex_lock(&d->lock);
	weir_drive_map_drop(&d->made, key);
	pthread_mutex_unlock(&d->lock);
	return WEIR_E_NOENT;
}

/* "name = 'x'", and for "x.docx" also the document called "x". */
static void
lookup_query(struct drive *d, const char *parent, const char *name, struct weir_buf *q)
{
	size_t n = strlen(name);

	if (*parent == '\0')
		weir_buf_adds(q, "sharedWithMe = true");
	else {
		weir_drive_query_text(q, parent);
		weir_buf_adds(q, " in parents");
	}
	weir_buf_adds(q, " and trashed = false and (name = ");
	weir_drive_query_text(q, name);
	for (const struct drive_format *const *f = d->formats; *f != NULL; f++) {
		size_t ext = strlen((*f)->ext);
		WEIR_AUTO(weir_freep) char *stem = n > ext + 1 ? weir_xstrndup(name, n - ext - 1) : NULL;

		if (stem == NULL || name[n - ext - 1] != '.' || strcmp(name + n - ext, (*f)->ext) != 0)
			continue;
		weir_buf_adds(q, " or name = ");
		weir_drive_query_text(q, stem);
	}
	weir_buf_addc(q, ')');
}

/* The best one of a page: the oldest, as listings have it. *best: an index, or SIZE_MAX. */
static void
lookup_best(struct drive *d, const struct drive_page *p, const char *leaf, size_t *best)
{
	*best = SIZE_MAX;
	for (size_t i = 0; i < p->n; i++) {
		WEIR_AUTO(weir_freep) char *shown = weir_drive_name_of(d->formats, &p->v[i]);
		const struct drive_file *f = &p->v[i], *b = *best == SIZE_MAX ? NULL : &p->v[*best];
		int age;

		if (shown == NULL || strcmp(shown, leaf) != 0 || f->is_trashed)
			continue;
		age = b == NULL ? -1 : strcmp(f->created == NULL ? "" : f->created, b->created == NULL ? "" : b->created);
		if (age < 0 || (age == 0 && strcmp(f->id, b->id) < 0))
			*best = i;
	}
}

static enum weir_code
lookup_named(struct drive *d, const struct weir_ctx *ctx, const char *parent, const char *leaf, const char *path, struct drive_item *it,
    struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *name = NULL, *token = NULL;
	WEIR_AUTO(weir_buf_free) struct weir_buf q = WEIR_BUF(64u << 10);
	bool is_more = true;
	enum weir_code r = weir_drive_name_hold(leaf, strlen(leaf), &name, err), found = WEIR_E_NOENT;

	if (r != WEIR_OK)
		return r == WEIR_E_NAME ? WEIR_E_NOENT : r;
	lookup_query(d, parent, name, &q);
	while (r == WEIR_OK && is_more && found == WEIR_E_NOENT) {
		WEIR_AUTO(weir_drive_page_free) struct drive_page page = { 0 };
		size_t best = 0;

		r = weir_drive_query(d, ctx, weir_buf_str(&q), DRIVE_PAGE, token, path, &page, err);
		while (r == WEIR_OK && found == WEIR_E_NOENT) {
			lookup_best(d, &page, leaf, &best);
			if (best == SIZE_MAX)
				break;
			found = lookup_verify(d, ctx, page.v[best].id, parent, leaf, path, it, err);
			page.v[best].is_trashed = true;	/* looked at */
		}
		is_more = page.next != NULL;
		free(token);
		token = WEIR_STEAL(page.next);
	}
	return r != WEIR_OK ? r : found;
}

/* Twins, names that were cut, and virtual folders: only the whole folder tells. */
static enum weir_code
lookup_listed(struct drive *d, const struct weir_ctx *ctx, const char *parent, const char *leaf, const char *path, struct drive_item *it,
    struct weir_err *err)
{
	struct drive_folder all = { 0 };
	enum weir_code r = weir_drive_folder_read(d, ctx, parent, path, &all, err);

	for (size_t i = 0; r == WEIR_OK && i < all.n && it->f.id == NULL; i++)
		if (strcmp(all.v[i].name, leaf) == 0)
			weir_drive_file_copy(&it->f, all.v[i].file);
	weir_drive_folder_free(&all);
	if (r != WEIR_OK)
		return r;
	return it->f.id == NULL ? WEIR_E_NOENT : weir_drive_follow(d, ctx, it, path, err);
}

enum weir_code
weir_drive_lookup(struct drive *d, const struct weir_ctx *ctx, const char *parent, const char *leaf, const char *path, struct drive_item *it,
    struct weir_err *err)
{
	enum weir_code r;

	*it = (struct drive_item){ 0 };
	if (*parent == '\0' && d->root_kind == DRIVE_ROOT_DRIVES)
		r = lookup_listed(d, ctx, parent, leaf, path, it, err);
	else {
		r = lookup_made(d, ctx, parent, leaf, path, it, err);
		if (r == WEIR_E_NOENT)
			r = lookup_named(d, ctx, parent, leaf, path, it, err);
		if (r == WEIR_E_NOENT && weir_drive_name_is_twin(leaf))
			r = lookup_listed(d, ctx, parent, leaf, path, it, err);
	}
	if (r != WEIR_OK)
		weir_drive_item_free(it);
	return r == WEIR_E_NOENT ? weir_err_set(err, r, "there is no '%s'", path) : r;
}

/* ---- paths ---- */

static enum weir_code
find_step(struct drive *d, const struct weir_ctx *ctx, const char *parent, const char *sofar, const char *leaf, char **id, struct weir_err *err)
{
	WEIR_AUTO(weir_drive_item_free) struct drive_item it = { 0 };
	enum weir_code r;

	pthread_mutex_lock(&d->lock);
	*id = weir_drive_map_get(&d->paths, sofar, FIND_PATH_MS);
	pthread_mutex_unlock(&d->lock);
	if (*id != NULL)
		return WEIR_OK;
	r = weir_drive_lookup(d, ctx, parent, leaf, sofar, &it, err);
	if (r != WEIR_OK)
		return r;
	if (!weir_drive_is_folder(weir_drive_content(&it)))
		return weir_err_set(err, WEIR_E_NOTDIR, "'%s' is no folder", sofar);
	*id = weir_xstrdup(weir_drive_content(&it)->id);
	pthread_mutex_lock(&d->lock);
	weir_drive_map_put(&d->paths, sofar, *id);
	pthread_mutex_unlock(&d->lock);
	return WEIR_OK;
}

enum weir_code
weir_drive_chain(struct drive *d, const struct weir_ctx *ctx, const char *path, char ***ids, struct weir_err *err)
{
	size_t n = 1, depth = 2;
	char **v;
	enum weir_code r;

	for (const char *p = path; *p != '\0'; p++)
		depth += *p == '/';
	v = weir_xcalloc(depth + 2, sizeof(*v));
	r = find_root_id(d, ctx, &v[0], err);
	for (const char *p = path; r == WEIR_OK && *p != '\0' && n <= depth;) {
		size_t len = strcspn(p, "/");
		WEIR_AUTO(weir_freep) char *leaf = weir_xstrndup(p, len), *sofar = weir_xstrndup(path, (size_t)(p - path) + len);

		r = find_step(d, ctx, v[n - 1], sofar, leaf, &v[n], err);
		n++;
		p += len;
		p += *p == '/';
	}
	if (r == WEIR_OK) {
		*ids = v;
		return WEIR_OK;
	}
	for (size_t i = 0; i < n; i++)
		free(v[i]);
	free(v);
	return r;
}

static enum weir_code
find_path(struct drive *d, const struct weir_ctx *ctx, const char *path, char **id, struct weir_err *err)
{
	char **ids = NULL;
	size_t n = 0;
	enum weir_code r = weir_drive_chain(d, ctx, path, &ids, err);

	if (r != WEIR_OK)
		return r;
	while (ids[n + 1] != NULL)
		free(ids[n++]);
	*id = ids[n];
	free(ids);
	return WEIR_OK;
}

enum weir_code
weir_drive_parent(struct drive *d, const struct weir_ctx *ctx, const struct weir_where *w, char **parent, const char **leaf, struct weir_err *err)
{
	const char *slash = strrchr(w->path, '/');
	WEIR_AUTO(weir_freep) char *dir = weir_xstrndup(w->path, slash == NULL ? 0 : (size_t)(slash - w->path));

	*leaf = slash == NULL ? w->path : slash + 1;
	if (**leaf == '\0')
		return weir_err_set(err, WEIR_E_ISDIR, "the root is a directory");
	if (w->parent_id != NULL) {
		*parent = weir_drive_id_target(w->parent_id);
		return WEIR_OK;
	}
	return find_path(d, ctx, dir, parent, err);
}

enum weir_code
weir_drive_dir(struct drive *d, const struct weir_ctx *ctx, const struct weir_where *w, char **id, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *target = NULL;
	struct drive_file f = { 0 };
	enum weir_code r;

	if (w->id == NULL || w->path[0] == '\0')
		return find_path(d, ctx, w->path, id, err);
	target = weir_drive_id_target(w->id);
	r = weir_drive_file_get(d, ctx, target, w->path, &f, err);
	if (r == WEIR_OK && !weir_drive_is_folder(&f))
		r = weir_err_set(err, WEIR_E_NOTDIR, "'%s' is no folder", w->path);
	weir_drive_file_free(&f);
	if (r == WEIR_OK)
		*id = WEIR_STEAL(target);
	return r;
}

enum weir_code
weir_drive_find(struct drive *d, const struct weir_ctx *ctx, const struct weir_where *w, struct drive_item *it, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *parent = NULL;
	const char *leaf;
	enum weir_code r = weir_drive_parent(d, ctx, w, &parent, &leaf, err);

	*it = (struct drive_item){ 0 };
	if (r != WEIR_OK)
		return r;
	r = weir_drive_by_id(d, ctx, w, it, err);
	if (r == WEIR_OK && weir_drive_is_at(d, it, parent, leaf))
		return WEIR_OK;
	weir_drive_item_free(it);
	if (r != WEIR_OK && r != WEIR_E_NOENT)
		return r;
	return weir_drive_lookup(d, ctx, parent, leaf, w->path, it, err);
}

/* ---- what we did ourselves ---- */

char *
weir_drive_enter(struct drive *d, const char *parent, const char *leaf)
{
	struct drive_busy *b, *mine = weir_xcalloc(1, sizeof(*mine));

	mine->key = weir_xasprintf("%s/%s", parent, leaf);
	pthread_mutex_lock(&d->lock);
	for (;;) {
		for (b = d->busy; b != NULL && strcmp(b->key, mine->key) != 0; b = b->next)
			;
		if (b == NULL)
			break;
		pthread_cond_wait(&d->freed, &d->lock);
	}
	mine->next = d->busy;
	d->busy = mine;
	pthread_mutex_unlock(&d->lock);
	return mine->key;
}

void
weir_drive_leave(struct drive *d, char *key)
{
	struct drive_busy **p, *mine;

	pthread_mutex_lock(&d->lock);
	for (p = &d->busy; (*p)->key != key; p = &(*p)->next)
		;
	mine = *p;
	*p = mine->next;
	pthread_cond_broadcast(&d->freed);
	pthread_mutex_unlock(&d->lock);
	free(key);
	free(mine);
}

void
weir_drive_note_made(struct drive *d, const char *parent, const char *leaf, const char *id)
{
	WEIR_AUTO(weir_freep) char *key = weir_xasprintf("%s/%s", parent, leaf);

	pthread_mutex_lock(&d->lock);
	weir_drive_map_drop_value(&d->made, id);
	weir_drive_map_put(&d->made, key, id);
	weir_drive_map_drop(&d->gone, id);
	pthread_mutex_unlock(&d->lock);
}

void
weir_drive_note_gone(struct drive *d, const char *id)
{
	pthread_mutex_lock(&d->lock);
	weir_drive_map_drop_value(&d->made, id);
	weir_drive_map_drop_value(&d->paths, id);
	weir_drive_map_put(&d->gone, id, "");
	pthread_mutex_unlock(&d->lock);
	weir_drive_head_forget(d, id);
}
