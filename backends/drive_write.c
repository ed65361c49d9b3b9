/* SPDX-License-Identifier: Apache-2.0 */
/* Writing in one request, and what all writing shares: ids made beforehand, so that a repeated create makes one file; comparing right before
 * and right after, since the protocol has no If-Match; trash.
 *
 *   before | revisions afterwards    | told
 *   named  | named, ours             | done
 *   other  |                         | CHANGED, nothing sent
 *   named  | named, theirs, ours     | CHANGED; theirs is made the newest again, the core keeps ours as a conflict copy
 *   named  | named, ours, theirs     | CHANGED, likewise */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "drive_impl.h"

#define WRITE_IDS 100
#define WRITE_MEANT_MS 86400000
#define WRITE_TRIES 3
#define WRITE_SENT_MOST (8 * (2 * WEIR_MD5_LEN + 1))	/* contents of a create that are remembered */

/* ---- ids ---- */

static enum weir_code
ids_fill(struct drive *d, const struct weir_ctx *ctx, struct weir_err *err)
{
	char query[64];
	json_t *o = NULL, *ids, *one;
	size_t i;
	enum weir_code r;

	snprintf(query, sizeof(query), "&count=%d&space=drive&fields=ids", WRITE_IDS);
	r = weir_drive_json(d, ctx, "GET", "files/generateIds", query, NULL, &o, "ask for ids for", d->name, err);
	if (r != WEIR_OK)
		return r;
	ids = json_object_get(o, "ids");
	pthread_mutex_lock(&d->lock);
	d->ids = weir_xrealloc(d->ids, d->nids + json_array_size(ids) + 1, sizeof(*d->ids));
	json_array_foreach(ids, i, one)
		if (json_is_string(one) && json_string_length(one) > 0 && json_string_length(one) <= 120)
			d->ids[d->nids++] = weir_xstrdup(json_string_value(one));
	pthread_mutex_unlock(&d->lock);
	json_decref(o);
	return WEIR_OK;
}

enum weir_code
weir_drive_id_take(struct drive *d, const struct weir_ctx *ctx, char **id, struct weir_err *err)
{
	enum weir_code r = WEIR_OK;

	*id = NULL;
	for (int i = 0; r == WEIR_OK && *id == NULL && i < 8; i++) {	/* others may empty what was just filled */
		pthread_mutex_lock(&d->lock);
		if (d->nids > 0)
			*id = d->ids[--d->nids];
		pthread_mutex_unlock(&d->lock);
		if (*id == NULL)
			r = ids_fill(d, ctx, err);
	}
	if (r == WEIR_OK && *id == NULL)
		return weir_err_set(err, WEIR_E_PROTO, "Drive gives no ids for new files");
	return r;
}

enum weir_code
weir_drive_id_new(struct drive *d, const struct weir_ctx *ctx, const char *parent, const char *leaf, char **id, bool *is_again,
    struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *key = weir_xasprintf("%s/%s", parent, leaf);
	enum weir_code r;

	pthread_mutex_lock(&d->lock);
	*id = weir_drive_map_get(&d->meant, key, WRITE_MEANT_MS);
	pthread_mutex_unlock(&d->lock);
	*is_again = *id != NULL;
	if (*is_again)
		return WEIR_OK;
	r = weir_drive_id_take(d, ctx, id, err);
	if (r != WEIR_OK)
		return r;
	pthread_mutex_lock(&d->lock);
	weir_drive_map_put(&d->meant, key, *id);
	pthread_mutex_unlock(&d->lock);
	return WEIR_OK;
}

void
weir_drive_id_done(struct drive *d, const char *parent, const char *leaf)
{
	WEIR_AUTO(weir_freep) char *key = weir_xasprintf("%s/%s", parent, leaf);

	pthread_mutex_lock(&d->lock);
	weir_drive_map_drop(&d->meant, key);
	weir_drive_map_drop(&d->sent, key);
	pthread_mutex_unlock(&d->lock);
}

enum weir_code
weir_drive_id_again(struct drive *d, const struct weir_ctx *ctx, const char *parent, const char *leaf, char **id, bool is_taken, const char *path,
    struct drive_item *it, struct weir_err *err)
{
	bool is_again;
	enum weir_code r = weir_drive_file_get(d, ctx, *id, path, &it->f, err);

	if (r == WEIR_OK && weir_drive_is_at(d, it, parent, leaf))
		return WEIR_OK;
	if (r != WEIR_OK && r != WEIR_E_NOENT)
		return r;
	if (r == WEIR_E_NOENT && !is_taken)
		return r;
	weir_drive_file_free(&it->f);
	weir_drive_id_done(d, parent, leaf);
	free(*id);
	*id = NULL;
	r = weir_drive_id_new(d, ctx, parent, leaf, id, &is_again, err);
	return r == WEIR_OK ? weir_err_set(err, WEIR_E_NOENT, "'%s' was moved or removed on Drive meanwhile", path) : r;
}

/* ---- metadata ---- */

enum weir_code
weir_drive_patch(struct drive *d, const struct weir_ctx *ctx, const char *id, const char *query, json_t *body, struct drive_file *f,
    const char *what, const char *path, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *at = weir_drive_at("files", id, ""), *full = weir_xasprintf("&fields=" DRIVE_FIELDS "%s", query);
	struct drive_file got = { 0 };
	json_t *o = NULL;
	enum weir_code r;

	weir_drive_head_forget(d, id);
	r = weir_drive_json(d, ctx, "PATCH", at, full, body, &o, what, path, err);
	if (r != WEIR_OK)
		return r;
	if (weir_drive_file_parse(o, &got) < 0)
		r = weir_err_set(err, WEIR_E_PROTO, "%s '%s': the answer is no file of Drive's", what, path);
	json_decref(o);
	if (r == WEIR_OK && f != NULL) {
		*f = got;
		got = (struct drive_file){ 0 };
	}
	weir_drive_file_free(&got);
	return r;
}

enum weir_code
weir_drive_trash(struct drive *d, const struct weir_ctx *ctx, const char *id, bool is_in, struct drive_file *f, const char *path,
    struct weir_err *err)
{
	json_t *o = json_object();

	json_object_set_new(o, "trashed", json_boolean(is_in));
	return weir_drive_patch(d, ctx, id, "", o, f, is_in ? "trash" : "take out of the trash", path, err);
}

/* ---- afterwards ---- */

struct spool { struct weir_source src; struct weir_sink sink; FILE *file; uint64_t at; };

static ssize_t
spool_read(struct weir_source *src, void *buf, size_t len, uint64_t off)
{
	return weir_pread_full(fileno(((struct spool *)src)->file), buf, len, (off_t)off);
}

static enum weir_code
spool_write(struct weir_sink *sink, const void *data, size_t len)
{
	struct spool *s = (struct spool *)((char *)sink - offsetof(struct spool, sink));

	if (weir_pwrite_full(fileno(s->file), data, len, (off_t)s->at) < 0)
		return WEIR_E_IO;
	s->at += len;
	return WEIR_OK;
}

/* Theirs, which ours has covered, becomes the newest revision once more. v3 has no call for that: its bytes are read and sent again. */
enum weir_code
weir_drive_restore(struct drive *d, const struct weir_ctx *ctx, const char *id, const char *rev, const char *modified, const char *path,
    struct weir_err *err)
{
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	WEIR_AUTO(weir_freep) char *at = weir_drive_at("files", id, "/revisions"), *one = weir_drive_at(at, rev, ""), *url = NULL;
	struct spool s = { .src.read = spool_read, .sink.write = spool_write, .file = tmpfile() };
	struct drive_req q = { .method = "GET", .sink = &s.sink, .follows = true };
	enum weir_code r;

	if (s.file == NULL)
		return weir_err_errno(err, errno, "a place for what another program wrote to '%s'", path);
	url = weir_xasprintf("%s/%s?alt=media&supportsAllDrives=true", d->api_url, one);
	q.url = url;
	r = weir_drive_do(d, ctx, &q, &resp, "read the covered version of", path, err);
	if (r == WEIR_OK)
		r = weir_drive_send_whole(d, ctx, id, &s.src, s.at, modified == NULL ? WEIR_TIME_NONE : weir_date_parse(modified), path, err);
	fclose(s.file);
	return r;
}

struct after { char *prev, *prev_time, *covered, *covered_time; bool has_base, has_ours, has_later; };

static void
after_look(struct after *a, json_t *revisions, const char *base, const char *ours)
{
	json_t *one;
	size_t i;

	json_array_foreach(revisions, i, one) {
		const char *id = weir_drive_json_text(one, "id");

		if (id == NULL)
			continue;
		a->has_base |= strcmp(id, base) == 0;
		if (strcmp(id, ours) == 0) {
			a->has_ours = true;
			if (a->prev != NULL && strcmp(a->prev, base) != 0) {
				a->covered = weir_xstrdup(a->prev);
				a->covered_time = weir_xstrdup(a->prev_time);
			}
		} else
			a->has_later |= a->has_ours;
		free(a->prev);
		free(a->prev_time);
		a->prev = weir_xstrdup(id);
		a->prev_time = weir_xstrdup(weir_drive_json_text(one, "modifiedTime"));
	}
}

static enum weir_code
after_list(struct drive *d, const struct weir_ctx *ctx, const char *id, const char *base, const char *ours, const char *path, struct after *a,
    struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *at = weir_drive_at("files", id, "/revisions"), *token = NULL;
	enum weir_code r = WEIR_OK;
	bool is_more = true;

	while (r == WEIR_OK && is_more) {
		WEIR_AUTO(weir_buf_free) struct weir_buf q = WEIR_BUF(16u << 10);
		json_t *o = NULL;

		weir_buf_adds(&q, "&pageSize=1000&fields=nextPageToken,revisions(id,modifiedTime)");
		if (token != NULL) {
			weir_buf_adds(&q, "&pageToken=");
			weir_url_encode(&q, token, strlen(token), "");
		}
		r = weir_drive_json(d, ctx, "GET", at, weir_buf_str(&q), NULL, &o, "look at the versions of", path, err);
		if (r != WEIR_OK)
			break;
		after_look(a, json_object_get(o, "revisions"), base, ours);
		free(token);
		token = weir_xstrdup(weir_drive_json_text(o, "nextPageToken"));
		is_more = token != NULL;
		json_decref(o);
	}
	return r;
}

static const char *
after_rev(const char *version)
{
	const char *colon = strchr(version, ':');

	return colon == NULL ? version : colon + 1;
}

/* Where versions may not be listed (files shared without that right): at least nobody came after us. */
static enum weir_code
after_head(struct drive *d, const struct weir_ctx *ctx, const char *id, const char *ours, const char *path, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *now = NULL;
	struct drive_file f = { 0 };
	enum weir_code r = weir_drive_file_get(d, ctx, id, path, &f, err);

	if (r == WEIR_OK)
		now = weir_drive_version(&f);
	weir_drive_file_free(&f);
	if (r == WEIR_E_NOENT || (r == WEIR_OK && (now == NULL || strcmp(now, ours) != 0)))
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' changed on Drive meanwhile", path);
	return r;
}

enum weir_code
weir_drive_after(struct drive *d, const struct weir_ctx *ctx, const char *id, const char *base, const char *ours, const char *path,
    struct weir_err *err)
{
	struct after a = { 0 };
	struct weir_err why = { 0 };
	enum weir_code r = after_list(d, ctx, id, after_rev(base), after_rev(ours), path, &a, err);

	if ((r != WEIR_OK && !weir_code_retry(r) && r != WEIR_E_CANCELED && r != WEIR_E_AUTH) || (r == WEIR_OK && !a.has_ours))
		r = after_head(d, ctx, id, ours, path, err);
	else if (r == WEIR_OK && a.has_later)
		r = weir_err_set(err, WEIR_E_CHANGED, "'%s' changed on Drive meanwhile", path);
	else if (r == WEIR_OK && a.has_base && a.covered != NULL) {
		if (weir_drive_restore(d, ctx, id, a.covered, a.covered_time, path, &why) != WEIR_OK)
			weir_log(WEIR_LOG_WARN, "remote '%s': '%s': a version that another program wrote is older than ours by a moment and could not be made "
			    "the newest again (%s); Drive keeps it under 'manage versions'", d->name, path, why.msg);
		r = weir_err_set(err, WEIR_E_CHANGED, "'%s' changed on Drive meanwhile", path);
	}
	free(a.prev);
	free(a.prev_time);
	free(a.covered);
	free(a.covered_time);
	return r;
}

/* ---- put ---- */

/* A body of three: head, the caller's bytes, tail. */
struct multipart { struct weir_source src; struct weir_source *content; uint64_t size; struct weir_buf head; char tail[64]; };

static ssize_t
multipart_read(struct weir_source *src, void *buf, size_t len, uint64_t off)
{
	struct multipart *m = (struct multipart *)src;
	uint64_t end = m->head.len + m->size;
	const char *from = m->head.data + off;
	size_t left;

	if (off >= m->head.len && off < end)
		return m->content->read(m->content, buf, len < end - off ? len : (size_t)(end - off), off - m->head.len);
	if (off < m->head.len)
		left = (size_t)(m->head.len - off);
	else {
		if (off - end >= strlen(m->tail))
			return 0;
		from = m->tail + (off - end);
		left = strlen(from);
	}
	if (len > left)
		len = left;
	memcpy(buf, from, len);
	return (ssize_t)len;
}

struct put {
	struct drive *d;
	const struct weir_ctx *ctx;
	const struct weir_where *w;
	const char *parent, *leaf;
	enum weir_type type;
	struct weir_source *src;
	uint64_t size;
	const struct weir_meta *meta;
	char md5[2 * WEIR_MD5_LEN + 1];
};

/* POST or PATCH of metadata and content. meta is stolen. */
static enum weir_code
put_send(const struct put *p, const char *method, const char *id, json_t *meta, const char *mime, struct drive_file *f, struct weir_err *err)
{
	struct drive *d = p->d;
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	WEIR_AUTO(weir_freep) char *text = json_dumps(meta, JSON_COMPACT), *at = id == NULL ? weir_xstrdup("files") : weir_drive_at("files", id, "");
	WEIR_AUTO(weir_freep) char *url = weir_xasprintf("%s/%s?uploadType=multipart&supportsAllDrives=true&prettyPrint=false&fields=" DRIVE_FIELDS,
	    d->upload_url, at);
	struct multipart m = { .src.read = multipart_read, .content = p->src, .size = p->size, .head = WEIR_BUF(1u << 20) };
	struct drive_req q = { .method = method, .url = url, .source = &m.src, .stall_ms = 30000 };
	char boundary[33], type[96];
	json_t *o;
	enum weir_code r;

	json_decref(meta);
	if (text == NULL)
		return weir_err_set(err, WEIR_E_NAME, "put '%s': the name is no text", p->w->path);
	weir_random_hex(boundary, 32);
	snprintf(type, sizeof(type), "Content-Type: multipart/related; boundary=%s", boundary);
	weir_buf_addf(&m.head, "--%s\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n%s\r\n--%s\r\nContent-Type: %s\r\n\r\n", boundary, text,
	    boundary, mime);
	snprintf(m.tail, sizeof(m.tail), "\r\n--%s--\r\n", boundary);
	q.headers[0] = type;
	q.body_len = m.head.len + p->size + strlen(m.tail);
	if (id != NULL)
		weir_drive_head_forget(d, id);
	r = weir_drive_do(d, p->ctx, &q, &resp, "put", p->w->path, err);
	weir_buf_free(&m.head);
	if (r != WEIR_OK)
		return r;
	o = weir_drive_json_load(weir_buf_str(&resp.body), resp.body.len);
	if (weir_drive_file_parse(o, f) < 0)
		r = weir_err_set(err, WEIR_E_PROTO, "put '%s': the answer is no file of Drive's", p->w->path);
	json_decref(o);
	return r;
}

static bool
put_is_ours(const struct put *p, const struct drive_file *f)
{
	return f->md5 != NULL && strcmp(f->md5, p->md5) == 0;
}

/* Did an earlier try of this create come with the content that is there? Then nobody has written to it since. */
static bool
put_was_sent(const struct put *p, const struct drive_file *f)
{
	WEIR_AUTO(weir_freep) char *key = weir_xasprintf("%s/%s", p->parent, p->leaf), *sent = NULL;

	pthread_mutex_lock(&p->d->lock);
	sent = weir_drive_map_get(&p->d->sent, key, WRITE_MEANT_MS);
	pthread_mutex_unlock(&p->d->lock);
	return sent != NULL && f->md5 != NULL && strlen(f->md5) == 2 * WEIR_MD5_LEN && strstr(sent, f->md5) != NULL;
}

static void
put_note_sent(const struct put *p)
{
	WEIR_AUTO(weir_freep) char *key = weir_xasprintf("%s/%s", p->parent, p->leaf), *sent = NULL, *more = NULL;

	pthread_mutex_lock(&p->d->lock);
	sent = weir_drive_map_get(&p->d->sent, key, WRITE_MEANT_MS);
	more = weir_xasprintf("%s %.*s", p->md5, WRITE_SENT_MOST, sent != NULL ? sent : "");
	weir_drive_map_put(&p->d->sent, key, more);
	pthread_mutex_unlock(&p->d->lock);
}

/* A new revision of what is there. */
static enum weir_code
put_replace(const struct put *p, struct drive_item *it, struct weir_err *err)
{
	struct drive_file *to = it->is_shortcut ? &it->to : &it->f, now = { 0 };
	WEIR_AUTO(weir_freep) char *base = weir_drive_version(to), *ours = NULL;
	bool is_mime = to->mime != NULL && strncmp(to->mime, DRIVE_APPS, strlen(DRIVE_APPS)) != 0 && strpbrk(to->mime, "\r\n") == NULL;
	enum weir_code r = WEIR_E_BADSUM;

	if (weir_drive_is_doc(to) || base == NULL)
		return weir_err_set(err, WEIR_E_ACCES, "'%s' is a Google document: it is changed in the browser", p->w->path);
	for (int i = 0; r == WEIR_E_BADSUM && i < WRITE_TRIES; i++) {
		json_t *meta = json_object();

		weir_drive_meta_json(meta, p->meta, p->type, to);
		weir_drive_file_free(&now);
		r = put_send(p, "PATCH", to->id, meta, is_mime ? to->mime : "application/octet-stream", &now, err);
		if (r == WEIR_OK && now.is_trashed)
			r = weir_err_set(err, WEIR_E_CHANGED, "'%s' was removed meanwhile", p->w->path);
		if (r != WEIR_OK || put_is_ours(p, &now))
			break;
		/* Our own damaged revision is what the next try replaces. */
		r = weir_err_set(err, WEIR_E_BADSUM, "put '%s': sent MD5 %s, Drive has %s", p->w->path, p->md5, now.md5 == NULL ? "none" : now.md5);
		free(base);
		base = weir_drive_version(&now);
	}
	if (r == WEIR_OK)
		ours = weir_drive_version(&now);
	if (r == WEIR_OK && p->w->version != NULL)
		r = weir_drive_after(p->d, p->ctx, to->id, base, ours, p->w->path, err);
	if (r == WEIR_OK) {
		weir_drive_file_free(to);
		*to = now;
		return WEIR_OK;
	}
	weir_drive_file_free(&now);
	return r;
}

/* An earlier try of this create has arrived: with this content, or an older one of ours; or somebody has changed it since. */
static enum weir_code
put_again(const struct put *p, struct drive_item *it, struct weir_err *err)
{
	weir_drive_note_made(p->d, p->parent, p->leaf, it->f.id);
	if (put_is_ours(p, &it->f))
		return WEIR_OK;
	if (!put_was_sent(p, &it->f))
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' was changed on Drive as soon as it was there", p->w->path);
	put_note_sent(p);
	return put_replace(p, it, err);
}

static enum weir_code
put_post(const struct put *p, const char *id, const char *name, struct drive_item *it, struct weir_err *err)
{
	json_t *meta = json_object(), *parents = json_array();

	json_array_append_new(parents, json_string(p->parent));
	json_object_set_new(meta, "id", json_string(id));
	json_object_set_new(meta, "name", json_string(name));
	json_object_set_new(meta, "parents", parents);
	weir_drive_meta_json(meta, p->meta, p->type, NULL);
	put_note_sent(p);
	return put_send(p, "POST", NULL, meta, "application/octet-stream", &it->f, err);
}

static enum weir_code
put_create_as(const struct put *p, char **id, const char *name, struct drive_item *it, struct weir_err *err)
{
	enum weir_code r = put_post(p, *id, name, it, err);

	for (int i = 0; r == WEIR_E_EXIST && i < WRITE_TRIES; i++) {
		r = weir_drive_id_again(p->d, p->ctx, p->parent, p->leaf, id, true, p->w->path, it, err);
		if (r == WEIR_OK)
			return put_again(p, it, err);
		if (r == WEIR_E_NOENT)
			r = put_post(p, *id, name, it, err);
	}
	if (r != WEIR_OK)
		return r;
	if (it->f.is_trashed) {
		/* Drive lets people write into folders in the trash: nobody would see it there. */
		weir_drive_file_free(&it->f);
		return weir_err_set(err, WEIR_E_NOENT, "the folder of '%s' is in the trash", p->w->path);
	}
	weir_drive_note_made(p->d, p->parent, p->leaf, *id);
	if (put_is_ours(p, &it->f))
		return WEIR_OK;
	/* What came is not what was sent: the same object gets it once more. */
	return put_replace(p, it, err);
}

static enum weir_code
put_create(const struct put *p, struct drive_item *it, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *name = NULL, *id = NULL;
	bool is_again = false;
	enum weir_code r = weir_drive_name_hold(p->leaf, strlen(p->leaf), &name, err);

	if (r == WEIR_OK && *p->parent == '\0')
		r = weir_err_set(err, WEIR_E_ACCES, "nothing can be made in '%s': it is a list, not a folder", p->d->name);
	if (r == WEIR_OK)
		r = weir_drive_id_new(p->d, p->ctx, p->parent, p->leaf, &id, &is_again, err);
	if (r == WEIR_OK && is_again) {
		r = weir_drive_id_again(p->d, p->ctx, p->parent, p->leaf, &id, false, p->w->path, it, err);
		if (r == WEIR_OK) {
			r = put_again(p, it, err);
			goto end;
		}
		if (r == WEIR_E_NOENT)
			r = WEIR_OK;
	}
	if (r == WEIR_OK)
		r = put_create_as(p, &id, name, it, err);
end:
	/* Kept while the answer may have been lost. */
	if (r == WEIR_OK || (!weir_code_retry(r) && r != WEIR_E_CANCELED))
		weir_drive_id_done(p->d, p->parent, p->leaf);
	return r;
}

static enum weir_code
put_locked(const struct put *p, struct drive_item *it, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *name = NULL;
	enum weir_code r = weir_drive_name_hold(p->leaf, strlen(p->leaf), &name, err);

	if (r == WEIR_OK || weir_drive_name_is_twin(p->leaf))
		r = weir_drive_find(p->d, p->ctx, p->w, it, err);
	if (r == WEIR_E_NOENT && p->w->version != NULL && p->w->version != WEIR_ABSENT)
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' was removed meanwhile", p->w->path);
	if (r == WEIR_E_NOENT)
		return put_create(p, it, err);
	if (r != WEIR_OK)
		return r;
	if (weir_drive_is_folder(weir_drive_content(it)))
		return weir_err_set(err, p->w->version == NULL ? WEIR_E_ISDIR : WEIR_E_CHANGED, "'%s' is a folder", p->w->path);
	if (p->w->version == WEIR_ABSENT) {
		WEIR_AUTO(weir_freep) char *key = weir_xasprintf("%s/%s", p->parent, p->leaf), *meant = NULL;

		pthread_mutex_lock(&p->d->lock);
		meant = weir_drive_map_get(&p->d->meant, key, WRITE_MEANT_MS);
		pthread_mutex_unlock(&p->d->lock);
		if (meant != NULL && strcmp(meant, it->f.id) == 0 && (put_is_ours(p, &it->f) || put_was_sent(p, &it->f))) {
			r = put_again(p, it, err);
			if (r == WEIR_OK || (!weir_code_retry(r) && r != WEIR_E_CANCELED))
				weir_drive_id_done(p->d, p->parent, p->leaf);
			return r;
		}
	}
	r = weir_drive_is_version(p->w, it, err);
	return r == WEIR_OK ? put_replace(p, it, err) : r;
}

static enum weir_code
put_sum(struct put *p, const char *sum, struct weir_err *err)
{
	unsigned char md5[WEIR_MD5_LEN];
	enum weir_code r;

	if (sum != NULL && strncmp(sum, "md5:", 4) == 0 && strlen(sum) == 4 + 2 * WEIR_MD5_LEN) {
		memcpy(p->md5, sum + 4, sizeof(p->md5));
		return WEIR_OK;
	}
	r = weir_source_md5(p->src, 0, p->size, md5, err);
	weir_hex(md5, sizeof(md5), p->md5);
	return r;
}

enum weir_code
weir_drive_put(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, enum weir_type type, struct weir_source *src,
    uint64_t size, const struct weir_meta *meta, const char *sum, struct weir_stat *st, struct weir_err *err)
{
	struct drive *d = (struct drive *)be;
	WEIR_AUTO(weir_drive_item_free) struct drive_item it = { 0 };
	WEIR_AUTO(weir_freep) char *parent = NULL;
	struct put p = { .d = d, .ctx = ctx, .w = w, .type = type, .src = src, .size = size, .meta = meta };
	char *busy;
	enum weir_code r;

	if (type != WEIR_FILE && type != WEIR_LINK)
		return weir_err_set(err, WEIR_E_NOTSUP, "Drive holds files, folders and symlinks only");
	r = weir_drive_parent(d, ctx, w, &parent, &p.leaf, err);
	if (r == WEIR_OK)
		r = put_sum(&p, sum, err);
	if (r != WEIR_OK)
		return r;
	p.parent = parent;
	busy = weir_drive_enter(d, parent, p.leaf);
	r = put_locked(&p, &it, err);
	weir_drive_leave(d, busy);
	if (r == WEIR_OK && st != NULL)
		weir_drive_stat_of(d, &it, st);
	return r;
}
