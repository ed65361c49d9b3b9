/* SPDX-License-Identifier: Apache-2.0 */
/* Listings: folders, and the two roots that are none ("shared with me", all shared drives). A folder is read whole before a name is told,
 * because names are made distinct among all of its entries. Listings lag behind what was done: what this instance itself has just made there is
 * added, what it has just removed is left out. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "drive_impl.h"

#define LIST_LAG_MS 60000	/* how long our own knowledge is better than a listing */
#define LIST_PAGES_MAX 2000

enum weir_code
weir_drive_query(struct drive *d, const struct weir_ctx *ctx, const char *q, unsigned max, const char *token, const char *path,
    struct drive_page *page, struct weir_err *err)
{
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	WEIR_AUTO(weir_buf_free) struct weir_buf url = WEIR_BUF(256u << 10);
	struct drive_req req = { .method = "GET" };
	enum weir_code r;

	weir_buf_addf(&url, "%s/files?supportsAllDrives=true&includeItemsFromAllDrives=true&prettyPrint=false&pageSize=%u", d->api_url, max);
	pthread_mutex_lock(&d->lock);
	if (d->drive_id != NULL)
		weir_buf_addf(&url, "&corpora=drive&driveId=%s", d->drive_id);
	pthread_mutex_unlock(&d->lock);
	weir_buf_adds(&url, "&fields=nextPageToken,incompleteSearch,files(" DRIVE_FIELDS ")&q=");
	weir_url_encode(&url, q, strlen(q), "");
	if (token != NULL) {
		weir_buf_adds(&url, "&pageToken=");
		weir_url_encode(&url, token, strlen(token), "");
	}
	req.url = weir_buf_str(&url);
	r = weir_drive_do(d, ctx, &req, &resp, "list", path, err);
	if (r == WEIR_E_INVAL && token != NULL)	/* page tokens live for hours only */
		return weir_err_set(err, WEIR_E_SERVER, "list '%s': the listing was cut short", path);
	if (r != WEIR_OK)
		return r;
	if (weir_drive_page_parse(weir_buf_str(&resp.body), resp.body.len, page) < 0)
		return weir_err_set(err, WEIR_E_PROTO, "list '%s': the answer is no listing of Drive's", path);
	return WEIR_OK;
}

/* ---- pages ---- */

void
weir_drive_folder_free(struct drive_folder *all)
{
	for (size_t i = 0; i < all->n; i++)
		free(all->v[i].name);
	free(all->v);
	for (size_t i = 0; i < all->npages; i++)
		weir_drive_page_free(&all->pages[i]);
	free(all->pages);
	*all = (struct drive_folder){ 0 };
}

static struct drive_page *
folder_page(struct drive_folder *all)
{
	all->pages = weir_xrealloc(all->pages, all->npages + 1, sizeof(*all->pages));
	all->pages[all->npages] = (struct drive_page){ 0 };
	return &all->pages[all->npages++];
}

/* drives.list: each one becomes a folder whose id is the drive's. */
static enum weir_code
folder_drives_page(struct drive *d, const struct weir_ctx *ctx, const char *token, struct drive_page *page, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *query = NULL;
	WEIR_AUTO(weir_buf_free) struct weir_buf t = WEIR_BUF(64u << 10);
	json_t *o = NULL, *drives, *one;
	size_t i;
	enum weir_code r;

	if (token != NULL)
		weir_url_encode(&t, token, strlen(token), "");
	query = weir_xasprintf("&pageSize=100&fields=nextPageToken,drives(id,name,createdTime)%s%s", token != NULL ? "&pageToken=" : "",
	    weir_buf_str(&t));
	r = weir_drive_json(d, ctx, "GET", "drives", query, NULL, &o, "list", "shared drives", err);
	if (r != WEIR_OK)
		return r;
	drives = json_object_get(o, "drives");
	page->v = weir_xcalloc(json_array_size(drives) + 1, sizeof(*page->v));
	json_array_foreach(drives, i, one) {
		json_object_set_new(one, "mimeType", json_string(DRIVE_FOLDER));
		if (weir_drive_file_parse(one, &page->v[page->n]) == 0)
			page->n++;
		else
			weir_drive_file_free(&page->v[page->n]);
	}
	page->next = weir_xstrdup(weir_drive_json_text(o, "nextPageToken"));
	json_decref(o);
	return WEIR_OK;
}

static enum weir_code
folder_pages(struct drive *d, const struct weir_ctx *ctx, const char *id, const char *path, struct drive_folder *all, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *token = NULL;
	WEIR_AUTO(weir_buf_free) struct weir_buf q = WEIR_BUF(4096);
	bool is_drives = strcmp(id, "*") == 0 || (*id == '\0' && d->root_kind == DRIVE_ROOT_DRIVES), is_more = true;
	enum weir_code r = WEIR_OK;

	if (*id == '\0')
		weir_buf_adds(&q, "sharedWithMe = true and trashed = false");
	else {
		weir_drive_query_text(&q, id);
		weir_buf_adds(&q, " in parents and trashed = false");
	}
	while (r == WEIR_OK && is_more) {
		struct drive_page *page = folder_page(all);

		r = is_drives ? folder_drives_page(d, ctx, token, page, err) :
		    weir_drive_query(d, ctx, weir_buf_str(&q), DRIVE_PAGE, token, path, page, err);
		is_more = page->next != NULL;
		if (r == WEIR_OK && is_more && ((token != NULL && strcmp(token, page->next) == 0) || all->npages > LIST_PAGES_MAX))
			r = weir_err_set(err, WEIR_E_PROTO, "list '%s': the same page comes again and again", path);
		free(token);
		token = weir_xstrdup(page->next);
	}
	return r;
}

static struct drive_file *
folder_find(const struct drive_folder *all, const char *id)
{
	for (size_t p = 0; p < all->npages; p++)
		for (size_t i = 0; i < all->pages[p].n; i++)
			if (strcmp(all->pages[p].v[i].id, id) == 0)
				return &all->pages[p].v[i];
	return NULL;
}

/* Does the listing know already what we called it? */
static bool
folder_knows(struct drive *d, const struct drive_file *f, const char *parent)
{
	WEIR_AUTO(weir_freep) char *shown = weir_drive_name_of(d->formats, f), *key = NULL, *meant = NULL;

	pthread_mutex_lock(&d->lock);
	meant = weir_drive_map_key_of(&d->made, f->id, LIST_LAG_MS);
	pthread_mutex_unlock(&d->lock);
	key = weir_xasprintf("%s/%s", parent, shown == NULL ? "" : shown);
	return meant == NULL || strcmp(meant, key) == 0;
}

/* What we made, moved or renamed here and the listing does not know yet: each is asked for by its id. */
static enum weir_code
folder_add_made(struct drive *d, const struct weir_ctx *ctx, const char *id, const char *path, struct drive_folder *all, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *prefix = weir_xasprintf("%s/", id);
	enum weir_code r = WEIR_OK;
	char **made;

	pthread_mutex_lock(&d->lock);
	made = weir_drive_map_values(&d->made, prefix, LIST_LAG_MS);
	pthread_mutex_unlock(&d->lock);
	for (size_t i = 0; made[i] != NULL; i++) {
		struct drive_file *was = folder_find(all, made[i]), f = { 0 };

		if (r == WEIR_OK && (was == NULL || !folder_knows(d, was, id))) {
			r = weir_drive_file_get(d, ctx, made[i], path, &f, err);
			if (r == WEIR_OK && was == NULL) {
				struct drive_page *page = folder_page(all);

				page->v = weir_xcalloc(1, sizeof(*page->v));
				page->n = 1;
				was = page->v;
			}
			if (r == WEIR_OK) {
				weir_drive_file_free(was);
				*was = f;
			} else if (r == WEIR_E_NOENT) {
				if (was != NULL)
					was->is_trashed = true;
				r = WEIR_OK;
			}
		}
		free(made[i]);
	}
	free(made);
	return r;
}

static bool
folder_is_gone(struct drive *d, const struct drive_file *f)
{
	WEIR_AUTO(weir_freep) char *gone = NULL;

	pthread_mutex_lock(&d->lock);
	gone = weir_drive_map_get(&d->gone, f->id, LIST_LAG_MS);
	pthread_mutex_unlock(&d->lock);
	return gone != NULL;
}

/* What we moved away may still be listed where it was. */
static bool
folder_is_here(struct drive *d, const char *id, const struct drive_file *f)
{
	WEIR_AUTO(weir_freep) char *at = NULL;
	size_t n = strlen(id);

	if (f->is_trashed || folder_is_gone(d, f))
		return false;
	if (*id == '\0' || *id == '*')
		return true;
	pthread_mutex_lock(&d->lock);
	at = weir_drive_map_key_of(&d->made, f->id, LIST_LAG_MS);
	pthread_mutex_unlock(&d->lock);
	if (at != NULL && (strncmp(at, id, n) != 0 || at[n] != '/'))
		return false;
	return f->parent == NULL || strcmp(f->parent, id) == 0;
}

/* News of these cannot say how they are spelled here. */
static void
folder_note_twins(struct drive *d, const struct drive_folder *all)
{
	pthread_mutex_lock(&d->lock);
	for (size_t i = 0; i < all->n; i++)
		if (weir_drive_name_is_twin(all->v[i].name))
			weir_drive_map_put(&d->twins, all->v[i].file->id, "");
	pthread_mutex_unlock(&d->lock);
}

enum weir_code
weir_drive_folder_read(struct drive *d, const struct weir_ctx *ctx, const char *id, const char *path, struct drive_folder *all, struct weir_err *err)
{
	size_t most = 0;
	enum weir_code r = folder_pages(d, ctx, id, path, all, err);

	if (r == WEIR_OK && *id != '\0' && *id != '*')
		r = folder_add_made(d, ctx, id, path, all, err);
	if (r != WEIR_OK)
		return r;
	for (size_t p = 0; p < all->npages; p++)
		most += all->pages[p].n;
	all->v = weir_xcalloc(most + 1, sizeof(*all->v));
	for (size_t p = 0; p < all->npages; p++)
		for (size_t i = 0; i < all->pages[p].n; i++) {
			struct drive_file *f = &all->pages[p].v[i];
			char *name = folder_is_here(d, id, f) ? weir_drive_name_of(d->formats, f) : NULL;

			if (name != NULL)
				all->v[all->n++] = (struct drive_entry){ f, name };
		}
	weir_drive_names_settle(all->v, all->n);
	folder_note_twins(d, all);
	return WEIR_OK;
}

/* ---- the hooks ---- */

struct list {
	struct drive *d;
	const struct weir_ctx *ctx;
	const struct weir_where *dir;
	const char *id;
	weir_list_fn *fn;
	void *arg;
	char **chain;		/* folders on the way here, once a shortcut to a folder wants to know */
};

/* A shortcut to a folder we are in would go round for ever. */
static enum weir_code
list_is_loop(struct list *l, const struct drive_item *it, bool *is_loop, struct weir_err *err)
{
	enum weir_code r = WEIR_OK;
	bool is_first;

	*is_loop = strcmp(it->to.id, l->id) == 0;
	if (l->chain == NULL)
		r = weir_drive_chain(l->d, l->ctx, l->dir->path, &l->chain, err);
	for (size_t i = 0; r == WEIR_OK && l->chain[i] != NULL; i++)
		*is_loop |= strcmp(l->chain[i], it->to.id) == 0;
	if (r != WEIR_OK || !*is_loop)
		return r;
	pthread_mutex_lock(&l->d->lock);
	is_first = !l->d->is_loop_told;
	l->d->is_loop_told = true;
	pthread_mutex_unlock(&l->d->lock);
	if (is_first)
		weir_log(WEIR_LOG_WARN, "remote '%s': a shortcut in '%s' to a folder that it is in is not shown (said once; there may be more)",
		    l->d->name, l->dir->path);
	return WEIR_OK;
}

/* NOENT: not to be shown. */
static enum weir_code
list_shortcut(struct list *l, struct drive_item *it, struct weir_err *err)
{
	bool is_loop = false;
	enum weir_code r = weir_drive_follow(l->d, l->ctx, it, l->dir->path, err);

	if (r == WEIR_OK && weir_drive_is_folder(&it->to))
		r = list_is_loop(l, it, &is_loop, err);
	return r == WEIR_OK && is_loop ? WEIR_E_NOENT : r;
}

static void
list_note_folder(struct list *l, const struct drive_item *it, const char *name)
{
	WEIR_AUTO(weir_freep) char *path = weir_path_join(l->dir->path, name), *seen = weir_drive_item_id(it);

	pthread_mutex_lock(&l->d->lock);
	weir_drive_map_put(&l->d->paths, path, weir_drive_content(it)->id);
	if (it->is_shortcut)
		weir_drive_map_put(&l->d->points, it->to.id, seen);
	pthread_mutex_unlock(&l->d->lock);
}

static enum weir_code
list_tell(struct list *l, const struct drive_entry *e, struct weir_err *err)
{
	WEIR_AUTO(weir_drive_item_free) struct drive_item it = { 0 };
	WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 };
	enum weir_code r = WEIR_OK;

	weir_drive_file_copy(&it.f, e->file);
	if (it.f.target_id != NULL)
		r = list_shortcut(l, &it, err);
	if (r != WEIR_OK)
		return r == WEIR_E_NOENT ? WEIR_OK : r;
	if (weir_drive_is_folder(weir_drive_content(&it)))
		list_note_folder(l, &it, e->name);
	weir_drive_stat_of(l->d, &it, &st);
	st.path = weir_xstrdup(e->name);
	return l->fn(l->arg, &st, err);
}

enum weir_code
weir_drive_list(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *dir, unsigned flags, weir_list_fn *fn, void *arg,
    char **self_version, struct weir_err *err)
{
	struct drive *d = (struct drive *)be;
	WEIR_AUTO(weir_freep) char *id = NULL;
	struct drive_folder all = { 0 };
	struct list l = { .d = d, .ctx = ctx, .dir = dir, .fn = fn, .arg = arg };
	enum weir_code r;

	if (flags & WEIR_LIST_DEEP)
		return weir_err_set(err, WEIR_E_NOTSUP, "Drive lists folder by folder");
	r = weir_drive_dir(d, ctx, dir, &id, err);
	if (r == WEIR_OK)
		r = weir_drive_folder_read(d, ctx, id, dir->path, &all, err);
	l.id = id;
	for (size_t i = 0; r == WEIR_OK && i < all.n; i++)
		r = list_tell(&l, &all.v[i], err);
	weir_drive_folder_free(&all);
	for (size_t i = 0; l.chain != NULL && l.chain[i] != NULL; i++)
		free(l.chain[i]);
	free(l.chain);
	if (r == WEIR_OK && self_version != NULL)
		*self_version = NULL;
	return r;
}

enum weir_code
weir_drive_stat(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, struct weir_stat *st, struct weir_err *err)
{
	struct drive *d = (struct drive *)be;
	WEIR_AUTO(weir_drive_item_free) struct drive_item it = { 0 };
	WEIR_AUTO(weir_stat_free) struct weir_stat got = { 0 };
	const struct drive_file *f;
	enum weir_code r;

	if (w->path[0] == '\0') {
		r = weir_drive_root(d, ctx, err);
		if (r == WEIR_OK)
			*st = (struct weir_stat){ .type = WEIR_DIR, .mtime_ns = WEIR_TIME_NONE, .mode = WEIR_MODE_NONE,
				.is_readonly = d->root_kind != DRIVE_ROOT_FOLDER };
		return r;
	}
	r = weir_drive_find(d, ctx, w, &it, err);
	if (r != WEIR_OK)
		return r;
	weir_drive_stat_of(d, &it, &got);
	f = weir_drive_content(&it);
	/* A listing need not know how long an export is; who asks for this one wants to read it. */
	if (weir_drive_is_doc(f))
		r = weir_drive_export_size(d, ctx, f, w->path, &got.size, err);
	if (r != WEIR_OK)
		return r;
	*st = got;
	got = (struct weir_stat){ 0 };
	return WEIR_OK;
}
