/* SPDX-License-Identifier: Apache-2.0 */
/* Reading. The media request cannot name a version, so the file is looked at before (at most two seconds ago) and after: a revision that is
 * still the newest afterwards was so all along. A whole file is held against its MD5 instead.
 *
 * A Google document has no bytes: it is exported (10 MB at most, by its link somewhat more), kept in memory for a while, and read from there,
 * because two exports of one document differ. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "drive_impl.h"

#define READ_HEAD_MS 2000
#define READ_EXPORTS_BYTES (64u << 20)

/* ---- exports ---- */

static void
export_free(struct drive_export *e)
{
	free(e->version);
	free(e->data);
	free(e);
}

/* The latest first; what is too much goes. Lock held. The MD5s stay a while longer than the bytes. */
static void
export_keep(struct drive *d, struct drive_export *e)
{
	struct drive_export **p = &d->exports;
	size_t bytes = 0, n = 0;

	e->next = d->exports;
	d->exports = e;
	while (*p != NULL) {
		struct drive_export *x = *p;

		bytes += x->data != NULL ? x->len : 0;
		n++;
		if (x != e && strcmp(x->version, e->version) == 0) {
			*p = x->next;
			export_free(x);
			continue;
		}
		if (x != e && x->data != NULL && bytes > READ_EXPORTS_BYTES) {
			free(x->data);
			x->data = NULL;
		}
		if (n > 256) {
			*p = x->next;
			export_free(x);
			continue;
		}
		p = &x->next;
	}
}

struct export_sink { struct weir_sink sink; struct weir_buf buf; };

static enum weir_code
export_write(struct weir_sink *sink, const void *data, size_t len)
{
	struct export_sink *s = (struct export_sink *)sink;

	return weir_buf_add(&s->buf, data, len) < 0 ? WEIR_E_FBIG : WEIR_OK;
}

/* What is too large for the export call may still come by the document's own link. */
static enum weir_code
export_by_link(struct drive *d, const struct weir_ctx *ctx, const struct drive_file *f, const struct drive_format *as, const char *path,
    struct export_sink *s, struct weir_err *err)
{
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	WEIR_AUTO(weir_freep) char *at = weir_drive_at("files", f->id, "");
	struct drive_req q = { .method = "GET", .sink = &s->sink, .stall_ms = DRIVE_THINK_MS, .follows = true };
	json_t *o = NULL;
	enum weir_code r = weir_drive_json(d, ctx, "GET", at, "&fields=exportLinks", NULL, &o, "look at", path, err);

	if (r != WEIR_OK)
		return r;
	q.url = weir_drive_json_text(json_object_get(o, "exportLinks"), as->mime);
	if (q.url == NULL)
		r = weir_err_set(err, WEIR_E_FBIG, "'%s' is too large to be exported", path);
	else
		r = weir_drive_do(d, ctx, &q, &resp, "export", path, err);
	json_decref(o);
	return r;
}

static enum weir_code
export_fetch(struct drive *d, const struct weir_ctx *ctx, const struct drive_file *f, const struct drive_format *as, const char *path,
    struct export_sink *s, struct weir_err *err)
{
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	WEIR_AUTO(weir_freep) char *at = weir_drive_at("files", f->id, "/export"), *url = NULL;
	WEIR_AUTO(weir_buf_free) struct weir_buf mime = WEIR_BUF(4096);
	struct drive_req q = { .method = "GET", .sink = &s->sink, .stall_ms = DRIVE_THINK_MS, .follows = true };
	enum weir_code r;

	weir_url_encode(&mime, as->mime, strlen(as->mime), "");
	url = weir_xasprintf("%s/%s?mimeType=%s", d->api_url, at, weir_buf_str(&mime));
	q.url = url;
	r = weir_drive_do(d, ctx, &q, &resp, "export", path, err);
	if (r != WEIR_E_FBIG)
		return r;
	weir_buf_reset(&s->buf);
	return export_by_link(d, ctx, f, as, path, s, err);
}

static struct drive_export *
export_find(struct drive *d, const char *version)
{
	struct drive_export *e = d->exports;

	while (e != NULL && strcmp(e->version, version) != 0)
		e = e->next;
	return e;
}

/* The bytes of this version of the document into *out (owned), from memory or from Google. CHANGED: an earlier export of it was different. */
static enum weir_code
export_get(struct drive *d, const struct weir_ctx *ctx, const struct drive_file *f, const char *path, char **out, size_t *len, struct weir_err *err)
{
	const struct drive_format *as = weir_drive_format(d->formats, f->mime);
	WEIR_AUTO(weir_freep) char *version = weir_drive_version(f);
	struct export_sink s = { .sink.write = export_write, .buf = WEIR_BUF(DRIVE_EXPORT_MAX) };
	struct drive_export *e;
	unsigned char md5[WEIR_MD5_LEN];
	bool is_same = true;
	enum weir_code r;

	if (as == NULL)
		return weir_err_set(err, WEIR_E_NOTSUP, "'%s' cannot be exported", path);
	pthread_mutex_lock(&d->lock);
	e = export_find(d, version);
	if (e != NULL && e->data != NULL) {
		*out = weir_xcalloc(1, e->len + 1);
		memcpy(*out, e->data, e->len);
		*len = e->len;
	}
	pthread_mutex_unlock(&d->lock);
	if (*out != NULL)
		return WEIR_OK;
	r = export_fetch(d, ctx, f, as, path, &s, err);
	if (r != WEIR_OK) {
		weir_buf_free(&s.buf);
		return r;
	}
	*len = s.buf.len;
	*out = weir_buf_take(&s.buf);
	weir_md5(*out, *len, md5);
	e = weir_xcalloc(1, sizeof(*e));
	weir_hex(md5, sizeof(md5), e->md5);
	e->version = WEIR_STEAL(version);
	e->len = *len;
	e->data = weir_xcalloc(1, *len + 1);
	memcpy(e->data, *out, *len);
	pthread_mutex_lock(&d->lock);
	for (const struct drive_export *x = d->exports; x != NULL; x = x->next)
		is_same &= strcmp(x->version, e->version) != 0 || strcmp(x->md5, e->md5) == 0;
	export_keep(d, e);
	pthread_mutex_unlock(&d->lock);
	if (is_same)
		return WEIR_OK;
	free(WEIR_STEAL(*out));
	return weir_err_set(err, WEIR_E_CHANGED, "'%s': Google exports it with other bytes than before", path);
}

enum weir_code
weir_drive_export_size(struct drive *d, const struct weir_ctx *ctx, const struct drive_file *f, const char *path, uint64_t *size,
    struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *data = NULL;
	size_t len = 0;
	enum weir_code r = export_get(d, ctx, f, path, &data, &len, err);

	if (r == WEIR_E_CHANGED)	/* whoever asks for the size begins anew: the latest export it is */
		r = export_get(d, ctx, f, path, &data, &len, err);
	if (r == WEIR_OK)
		*size = len;
	return r;
}

/* ---- get ---- */

struct get {
	struct weir_sink sink;		/* first */
	struct weir_sink *to;
	const char *path;
	const struct drive_file *f;
	uint64_t off, len, at;		/* asked; offset of the next byte that comes */
	struct weir_digest *md5;	/* of a whole file */
	struct weir_stat *st;		/* the caller's; NULL when told */
	const struct weir_stat *told;
};

static void
get_tell(struct get *g)
{
	if (g->st == NULL)
		return;
	*g->st = *g->told;
	g->st->id = weir_xstrdup(g->told->id);
	g->st->version = weir_xstrdup(g->told->version);
	g->st->sum = weir_xstrdup(g->told->sum);
	g->st = NULL;
}

static enum weir_code
get_write(struct weir_sink *sink, const void *data, size_t len)
{
	struct get *g = (struct get *)sink;
	uint64_t end = g->off + g->len;
	const char *p = data;

	if (g->md5 != NULL)
		weir_digest_add(g->md5, data, len);
	if (g->at + len > end)	/* only a server that did not keep to the range */
		len = end > g->at ? (size_t)(end - g->at) : 0;
	if (g->at < g->off) {
		size_t skip = g->off - g->at < len ? (size_t)(g->off - g->at) : len;

		g->at += skip;
		p += skip;
		len -= skip;
	}
	g->at += len;
	return len > 0 ? g->to->write(g->to, p, len) : WEIR_OK;
}

static enum weir_code
get_head(void *arg, const struct weir_http_resp *resp, struct weir_err *err)
{
	struct get *g = arg;
	char v[96];
	uint64_t a, b, n;

	if (resp->status == 200) {
		g->at = 0;
		if (g->f->md5 != NULL && g->off == 0 && g->len == g->f->size && g->md5 == NULL)
			g->md5 = weir_digest_new("md5");
	} else if (resp->status == 206) {
		if (weir_http_header(resp, "Content-Range", v, sizeof(v)) == NULL ||
		    sscanf(v, "bytes %" SCNu64 "-%" SCNu64 "/%" SCNu64, &a, &b, &n) != 3 || a != g->off || b != g->off + g->len - 1)
			return weir_err_set(err, WEIR_E_CHANGED, "read '%s': another part came", g->path);
		g->at = a;
	} else
		return WEIR_OK;
	get_tell(g);
	return WEIR_OK;
}

/* Is it still the revision we believed to read? */
static enum weir_code
get_is_still(struct drive *d, const struct weir_ctx *ctx, const struct get *g, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *then = weir_drive_version(g->f), *now = NULL;
	struct drive_file f = { 0 };
	enum weir_code r = weir_drive_file_get(d, ctx, g->f->id, g->path, &f, err);

	if (r == WEIR_OK)
		now = weir_drive_version(&f);
	weir_drive_file_free(&f);
	if (r == WEIR_E_NOENT || (r == WEIR_OK && (now == NULL || strcmp(now, then) != 0)))
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' changed while it was read", g->path);
	return r;
}

static enum weir_code
get_verify(struct drive *d, const struct weir_ctx *ctx, struct get *g, struct weir_err *err)
{
	unsigned char md5[64];
	char hex[2 * WEIR_MD5_LEN + 1];
	enum weir_code r;

	if (g->at != g->off + g->len) {
		r = get_is_still(d, ctx, g, err);
		return r != WEIR_OK ? r : weir_err_set(err, WEIR_E_NET, "read '%s': it ended early", g->path);
	}
	if (g->md5 == NULL)
		return get_is_still(d, ctx, g, err);
	weir_digest_end(WEIR_STEAL(g->md5), md5);
	weir_hex(md5, WEIR_MD5_LEN, hex);
	if (strcmp(hex, g->f->md5) == 0)
		return WEIR_OK;
	r = get_is_still(d, ctx, g, err);
	return r != WEIR_OK ? r : weir_err_set(err, WEIR_E_BADSUM, "read '%s': MD5 %s, Drive says %s", g->path, hex, g->f->md5);
}

static enum weir_code
get_media(struct drive *d, const struct weir_ctx *ctx, struct get *g, struct weir_err *err)
{
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	WEIR_AUTO(weir_freep) char *at = weir_drive_at("files", g->f->id, ""), *url = NULL;
	struct drive_req q = { .method = "GET", .sink = &g->sink, .on_head = get_head, .on_head_arg = g, .follows = true };
	char range[80];
	enum weir_code r;

	url = weir_xasprintf("%s/%s?alt=media&supportsAllDrives=true%s", d->api_url, at, d->acknowledges_abuse ? "&acknowledgeAbuse=true" : "");
	q.url = url;
	if (g->off > 0 || g->len < g->f->size) {
		snprintf(range, sizeof(range), "Range: bytes=%" PRIu64 "-%" PRIu64, g->off, g->off + g->len - 1);
		q.headers[0] = range;
	}
	r = weir_drive_call(d, ctx, &q, &resp, err);
	if (r != WEIR_OK)
		return r == WEIR_E_AUTH ? r : weir_err_wrap(err, r, "read '%s'", g->path);
	if (resp.status == 416) {
		r = get_is_still(d, ctx, g, err);
		return r != WEIR_OK ? r : weir_err_set(err, WEIR_E_SERVER, "read '%s': the server refused a part that is there", g->path);
	}
	if (resp.status != 200 && resp.status != 206)
		return weir_drive_fail(d, &resp, "read", g->path, err);
	return get_verify(d, ctx, g, err);
}

static enum weir_code
get_export(struct drive *d, const struct weir_ctx *ctx, struct get *g, struct weir_stat *told, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *data = NULL;
	size_t len = 0;
	enum weir_code r = export_get(d, ctx, g->f, g->path, &data, &len, err);

	if (r != WEIR_OK)
		return r;
	told->size = len;
	get_tell(g);
	if (g->off >= len || g->len == 0)
		return WEIR_OK;
	return g->to->write(g->to, data + g->off, g->len < len - g->off ? (size_t)g->len : (size_t)(len - g->off));
}

/* The object to read: by id, wherever it is by now; by path when that is all there is, or when the id is no more. max_age_ms: of what is known of it. */
static enum weir_code
get_item(struct drive *d, const struct weir_ctx *ctx, const struct weir_where *w, int64_t max_age_ms, struct drive_item *it, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *target = w->id == NULL ? NULL : weir_drive_id_target(w->id);
	enum weir_code r = WEIR_E_NOENT;

	*it = (struct drive_item){ 0 };
	if (w->path[0] == '\0')
		return weir_err_set(err, WEIR_E_ISDIR, "the root is a directory");
	if (target != NULL)
		r = weir_drive_head(d, ctx, target, w->path, max_age_ms, &it->f, err);
	return r == WEIR_E_NOENT ? weir_drive_find(d, ctx, w, it, err) : r;
}

enum weir_code
weir_drive_get(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, uint64_t off, uint64_t len,
    struct weir_sink *to, struct weir_stat *st, struct weir_err *err)
{
	struct drive *d = (struct drive *)be;
	WEIR_AUTO(weir_drive_item_free) struct drive_item it = { 0 };
	WEIR_AUTO(weir_stat_free) struct weir_stat told = { 0 };
	struct get g = { .sink.write = get_write, .to = to, .path = w->path, .off = off, .len = len, .st = st, .told = &told };
	enum weir_code r;

	if (st != NULL)
		*st = (struct weir_stat){ 0 };
	/* Who reads nothing may want to know of which version the bytes are that came before: that is only seen now. */
	r = get_item(d, ctx, w, len == 0 ? -1 : READ_HEAD_MS, &it, err);
	if (r == WEIR_OK && weir_drive_is_folder(weir_drive_content(&it)))
		r = weir_err_set(err, WEIR_E_ISDIR, "'%s' is a folder", w->path);
	if (r == WEIR_OK)
		r = weir_drive_is_version(w, &it, err);
	if (r != WEIR_OK)
		return r;
	weir_drive_stat_of(d, &it, &told);
	if (w->id != NULL) {	/* a shortcut's stays as it was given */
		free(told.id);
		told.id = weir_xstrdup(w->id);
	}
	g.f = weir_drive_content(&it);
	if (weir_drive_is_doc(g.f))
		r = get_export(d, ctx, &g, &told, err);
	else if (g.f->size == WEIR_SIZE_NONE)
		r = weir_err_set(err, WEIR_E_NOTSUP, "'%s' has no content", w->path);
	else if (off >= g.f->size || len == 0)
		get_tell(&g);
	else {
		g.len = len < g.f->size - off ? len : g.f->size - off;
		r = get_media(d, ctx, &g, err);
	}
	weir_digest_free(g.md5);
	if (r != WEIR_OK)	/* the next one looks anew */
		weir_drive_head_forget(d, g.f->id);
	if (r != WEIR_OK && st != NULL)
		weir_stat_free(st);
	return r;
}
