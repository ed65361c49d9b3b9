/* SPDX-License-Identifier: Apache-2.0 */
/* The change feed, and the space used. Drive tells what changed by id with its present place, not where it was; it answers at once. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "drive_impl.h"

#define WATCH_PAGES_MAX 1000

static void
watch_scope(struct drive *d, struct weir_buf *b)
{
	pthread_mutex_lock(&d->lock);
	if (d->drive_id != NULL)
		weir_buf_addf(b, "&driveId=%s", d->drive_id);
	pthread_mutex_unlock(&d->lock);
}

static enum weir_code
watch_start(struct drive *d, const struct weir_ctx *ctx, char **cursor, struct weir_err *err)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf q = WEIR_BUF(4096);
	const char *token;
	json_t *o = NULL;
	enum weir_code r;

	watch_scope(d, &q);
	r = weir_drive_json(d, ctx, "GET", "changes/startPageToken", weir_buf_str(&q), NULL, &o, "ask for changes of", d->name, err);
	if (r != WEIR_OK)
		return r;
	token = weir_drive_json_text(o, "startPageToken");
	if (token == NULL)
		r = weir_err_set(err, WEIR_E_PROTO, "Drive gives no token to ask for changes with");
	else
		*cursor = weir_xstrdup(token);
	json_decref(o);
	return r;
}

static enum weir_code
watch_page(struct drive *d, const struct weir_ctx *ctx, const char *token, struct drive_changes *c, struct weir_err *err)
{
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	WEIR_AUTO(weir_buf_free) struct weir_buf url = WEIR_BUF(16u << 10);
	struct drive_req q = { .method = "GET" };
	enum weir_code r;

	weir_buf_addf(&url, "%s/changes?supportsAllDrives=true&includeItemsFromAllDrives=true&includeRemoved=true&prettyPrint=false&pageSize=%d"
	    "&fields=nextPageToken,newStartPageToken,changes(changeType,removed,fileId,file(" DRIVE_FIELDS "))&pageToken=", d->api_url, DRIVE_PAGE);
	weir_url_encode(&url, token, strlen(token), "");
	watch_scope(d, &url);
	q.url = weir_buf_str(&url);
	r = weir_drive_do(d, ctx, &q, &resp, "ask for changes of", d->name, err);
	if (r == WEIR_E_INVAL || r == WEIR_E_NOENT)
		return WEIR_E_STALE;
	if (r != WEIR_OK)
		return r;
	if (weir_drive_changes_parse(weir_buf_str(&resp.body), resp.body.len, c) < 0)
		return weir_err_set(err, WEIR_E_PROTO, "the answer to a question for changes is not Drive's");
	return WEIR_OK;
}

/* Whatever was remembered of it is old now. */
static void
watch_forget(struct drive *d, const char *id)
{
	weir_drive_head_forget(d, id);
	pthread_mutex_lock(&d->lock);
	weir_drive_map_drop_value(&d->paths, id);
	pthread_mutex_unlock(&d->lock);
}

/* made: "PARENT/name". */
static bool
watch_is_at(const char *made, const char *parent, const char *shown)
{
	size_t n = parent != NULL ? strlen(parent) : 0;

	return parent == NULL || (strncmp(made, parent, n) == 0 && made[n] == '/' && shown != NULL && strcmp(made + n + 1, shown) == 0);
}

/* What we did ourselves outweighs listings for a while, since these are late. News that say otherwise may be late too, or of what somebody did after
 * us: the object itself knows. */
static enum weir_code
watch_doubt(struct drive *d, const struct weir_ctx *ctx, const struct drive_change *x, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *gone = NULL, *made = NULL, *shown = NULL;
	struct drive_file now = { 0 };
	enum weir_code r;

	if (!x->has_file || x->is_removed || x->file.is_trashed)
		return WEIR_OK;
	shown = weir_drive_name_of(d->formats, &x->file);
	pthread_mutex_lock(&d->lock);
	gone = weir_drive_map_get(&d->gone, x->id, INT64_MAX);
	made = weir_drive_map_key_of(&d->made, x->id, INT64_MAX);
	pthread_mutex_unlock(&d->lock);
	if (gone == NULL && (made == NULL || watch_is_at(made, x->file.parent, shown)))
		return WEIR_OK;
	r = weir_drive_file_get(d, ctx, x->id, shown != NULL ? shown : x->id, &now, err);
	if (r != WEIR_OK)
		return r == WEIR_E_NOENT || r == WEIR_E_ACCES ? WEIR_OK : r;
	free(shown);
	shown = weir_drive_name_of(d->formats, &now);
	pthread_mutex_lock(&d->lock);
	weir_drive_map_drop(&d->gone, x->id);
	if (made != NULL && !watch_is_at(made, now.parent, shown))
		weir_drive_map_drop(&d->made, made);
	pthread_mutex_unlock(&d->lock);
	weir_drive_file_free(&now);
	return WEIR_OK;
}

static bool
watch_is_root(struct drive *d, const char *parent)
{
	bool is_root;

	pthread_mutex_lock(&d->lock);
	is_root = parent == NULL ? d->root_kind == DRIVE_ROOT_SHARED : d->root_id != NULL && strcmp(d->root_id, parent) == 0;
	pthread_mutex_unlock(&d->lock);
	return is_root;
}

static enum weir_code
watch_tell(struct drive *d, const struct drive_change *x, weir_change_fn *fn, void *arg, struct weir_err *err)
{
	const struct drive_file *f = &x->file;
	const char *mime = f->target_id != NULL ? f->target_mime : f->mime;
	WEIR_AUTO(weir_freep) char *name = x->has_file ? weir_drive_name_of(d->formats, f) : NULL, *version = NULL, *twin = NULL, *alias = NULL;
	WEIR_AUTO(weir_freep) char *id = x->has_file && f->target_id != NULL ? weir_xasprintf("%s>%s", x->id, f->target_id) : weir_xstrdup(x->id);
	struct weir_change c = { .id = id, .is_removed = x->is_removed || !x->has_file || f->is_trashed,
		.is_dir = mime != NULL && strcmp(mime, DRIVE_FOLDER) == 0 };
	enum weir_code r;

	watch_forget(d, x->id);
	if (x->has_file && watch_is_root(d, f->parent)) {
		c.path = name;
		if (name == NULL)	/* something that is not shown */
			return WEIR_OK;
	} else if (x->has_file)
		c.parent_id = f->parent;
	pthread_mutex_lock(&d->lock);
	twin = weir_drive_map_get(&d->twins, x->id, INT64_MAX);
	alias = c.parent_id == NULL ? NULL : weir_drive_map_get(&d->points, c.parent_id, INT64_MAX);
	pthread_mutex_unlock(&d->lock);
	/* What has namesakes is spelled otherwise; a shortcut's content is another file's. */
	if (x->has_file && f->target_id == NULL && !c.is_dir)
		c.version = version = weir_drive_version(f);
	if (twin == NULL)
		c.name = name;
	r = fn(arg, &c, err);
	if (r == WEIR_OK && alias != NULL) {	/* the folder is also seen through a shortcut */
		c.parent_id = alias;
		r = fn(arg, &c, err);
	}
	return r;
}

enum weir_code
weir_drive_watch(struct weir_backend *be, const struct weir_ctx *ctx, char **cursor, int64_t wait_ms, weir_change_fn *fn, void *arg,
    struct weir_err *err)
{
	struct drive *d = (struct drive *)be;
	WEIR_AUTO(weir_freep) char *token = NULL, *start = NULL;
	enum weir_code r = weir_drive_root(d, ctx, err);

	(void)wait_ms;
	if (r == WEIR_OK && *cursor == NULL)
		return watch_start(d, ctx, cursor, err);
	token = weir_xstrdup(*cursor);
	for (int i = 0; r == WEIR_OK && token != NULL; i++) {
		struct drive_changes c = { 0 };

		r = i < WATCH_PAGES_MAX ? watch_page(d, ctx, token, &c, err) : WEIR_E_STALE;
		for (size_t k = 0; r == WEIR_OK && k < c.n; k++) {
			r = watch_doubt(d, ctx, &c.v[k], err);
			if (r == WEIR_OK)
				r = watch_tell(d, &c.v[k], fn, arg, err);
		}
		free(token);
		token = WEIR_STEAL(c.next);
		if (c.start != NULL) {
			free(start);
			start = WEIR_STEAL(c.start);
		}
		weir_drive_changes_free(&c);
	}
	if (r == WEIR_OK && start == NULL)
		return weir_err_set(err, WEIR_E_PROTO, "the last page of changes has no token to go on with");
	if (r == WEIR_OK) {
		free(*cursor);
		*cursor = WEIR_STEAL(start);
	}
	return r;
}

enum weir_code
weir_drive_quota(struct weir_backend *be, const struct weir_ctx *ctx, struct weir_usage *u, struct weir_err *err)
{
	struct drive *d = (struct drive *)be;
	const char *used, *limit, *who;
	json_t *o = NULL, *q;
	enum weir_code r;

	/* Shared drives and other people's files have no figure. */
	if (d->root_kind != DRIVE_ROOT_FOLDER || d->shared_drive != NULL)
		return weir_err_set(err, WEIR_E_NOTSUP, "Drive tells no figure for what is shared");
	r = weir_drive_json(d, ctx, "GET", "about", "&fields=storageQuota,user(permissionId)", NULL, &o, "ask for the space of", d->name, err);
	if (r != WEIR_OK)
		return r;
	q = json_object_get(o, "storageQuota");
	used = weir_drive_json_text(q, "usage");
	limit = weir_drive_json_text(q, "limit");
	who = weir_drive_json_text(json_object_get(o, "user"), "permissionId");
	snprintf(u->account, sizeof(u->account), "%s%s", who != NULL ? "drive " : "", who != NULL ? who : "");
	u->has_used = used != NULL;
	u->used = used == NULL ? 0 : strtoull(used, NULL, 10);
	u->has_total = limit != NULL;
	u->total = limit == NULL ? 0 : strtoull(limit, NULL, 10);
	if (u->has_total && u->has_used && u->used > u->total)
		u->total = u->used;
	json_decref(o);
	return WEIR_OK;
}
