/* SPDX-License-Identifier: Apache-2.0 */
/* Nextcloud's chunked upload v2: a folder of numbered chunks under uploads/UID, moved onto the target at the end. The same
 * requests serve servers that only know the older kind. The server forgets a folder after a day without traffic. Commit may take
 * minutes, and a proxy may cut it while the server goes on: then 423 while it works and 404 when it is done, so a refusal is
 * looked into before it is believed. */
#include "config.h"

#include "nextcloud.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "../src/util/text.h"
#include "../src/util/util.h"

#define NC_PART_STALL_MS 60000
#define NC_COMMIT_STALL_MS 60000		/* and a second for each 10 MB to put together … */
#define NC_COMMIT_STALL_MAX_MS 3600000		/* … as long as PHP itself is allowed to work */

static char *
nc_upload_url(struct weir_dav *d, const char *id, const char *leaf)
{
	struct weir_nc *nc = d->own;
	struct weir_buf b = WEIR_BUF(64u << 10);

	weir_buf_adds(&b, d->origin);
	weir_url_encode(&b, nc->base_plain, strlen(nc->base_plain), "/");
	weir_buf_adds(&b, "/remote.php/dav/uploads/");
	weir_url_encode(&b, nc->uid, strlen(nc->uid), "");
	weir_buf_addf(&b, "/%s/%s", id, leaf);
	return weir_buf_take(&b);
}

/* An id comes back from the journal: it must not become another address. */
static bool
nc_is_upload_id(const char *id)
{
	return *id && strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(id);
}

static void
nc_call(struct weir_dav_call *c, struct weir_dav *d, const char *method, const char *id, const char *leaf, const struct weir_where *w)
{
	WEIR_AUTO(weir_freep) char *dest = weir_dav_url(d, w->path, false);

	weir_dav_call_url(c, method, nc_upload_url(d, id, leaf));
	c->path = w->path;
	weir_dav_header(c, "Destination: %s", dest);
}

enum weir_code
weir_nc_upload_begin(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, uint64_t size, const struct weir_meta *meta,
    char **id, struct weir_err *err)
{
	struct weir_dav *d = (struct weir_dav *)b;
	char hex[33], name[48] = "weir-";
	struct weir_dav_call c;
	enum weir_code r = weir_dav_ready(d, ctx, err);

	(void)meta;
	if (!r)
		r = weir_dav_check_name(d, w->path, err);
	if (r)
		return r;
	weir_random_hex(hex, 32);
	strncat(name, hex, sizeof(name) - strlen(name) - 1);
	nc_call(&c, d, "MKCOL", name, "", w);
	weir_dav_header(&c, "OC-Total-Length: %" PRIu64, size);
	r = weir_dav_send(d, ctx, &c, err);
	if (!r && !weir_dav_ok(&c))
		r = weir_dav_refused_at(d, ctx, &c, w->path, err);
	weir_dav_call_free(&c);
	if (!r)
		*id = weir_xstrdup(name);
	return r;
}

enum weir_code
weir_nc_upload_part(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, const char *id, uint32_t number,
    struct weir_source *src, uint64_t off, uint64_t len, uint64_t total, char **tag, struct weir_err *err)
{
	struct weir_dav *d = (struct weir_dav *)b;
	WEIR_AUTO(weir_freep) char *leaf = weir_xasprintf("%05" PRIu32, number);	/* padded: older servers put them together by name */
	struct weir_dav_call c;
	struct weir_stat st = { 0 };
	enum weir_code r = weir_dav_ready(d, ctx, err);

	if (r)
		return r;
	if (!nc_is_upload_id(id) || number < 1 || number > 10000)
		return weir_err_set(err, WEIR_E_INVAL, "upload '%s' part %" PRIu32 ": no such thing on Nextcloud", id, number);
	nc_call(&c, d, "PUT", id, leaf, w);
	weir_dav_header(&c, "OC-Total-Length: %" PRIu64, total);
	c.req.source = src;
	c.req.source_off = off;
	c.req.body_len = len;
	c.req.has_body = true;
	c.req.stall_ms = NC_PART_STALL_MS;
	r = weir_dav_send(d, ctx, &c, err);
	if (!r && !weir_dav_ok(&c))
		r = weir_dav_refused(&c, err);	/* 404 and 409: the folder of the upload is gone */
	if (!r) {
		weir_dav_head_stat(&c.resp, &st);
		*tag = st.version ? WEIR_STEAL(st.version) : weir_xstrdup("");
		weir_stat_free(&st);
	}
	weir_dav_call_free(&c);
	return r;
}

enum weir_code
weir_nc_upload_status(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, const char *id,
    enum weir_code (*fn)(void *arg, uint32_t number, uint64_t size, const char *tag), void *arg, struct weir_err *err)
{
	struct weir_dav *d = (struct weir_dav *)b;
	struct weir_nc *nc = d->own;
	WEIR_AUTO(weir_freep) char *plain = NULL;
	struct weir_dav_listing l = { 0 };
	enum weir_code r = weir_dav_ready(d, ctx, err);

	if (r)
		return r;
	if (!nc_is_upload_id(id))
		return weir_err_set(err, WEIR_E_NOENT, "upload '%s': no such thing on Nextcloud", id);
	plain = weir_xasprintf("%s/remote.php/dav/uploads/%s/%s", nc->base_plain, nc->uid, id);
	r = weir_dav_list_url(d, ctx, nc_upload_url(d, id, ""), plain, w->path, "<d:resourcetype/><d:getcontentlength/><d:getetag/>", &l, err);
	for (size_t i = 1; i < l.n && !r; i++) {
		const char *name = l.items[i].href;
		unsigned long n = strtoul(name, NULL, 10);
		WEIR_AUTO(weir_freep) char *etag = NULL;

		if (strspn(name, "0123456789") != strlen(name) || n < 1 || n > 10000 || l.items[i].length == WEIR_SIZE_NONE)
			continue;	/* ".file" is the whole, not a part */
		etag = weir_dav_etag(l.items[i].etag);
		r = fn(arg, (uint32_t)n, l.items[i].length, etag ? etag : "");
	}
	weir_dav_listing_free(&l);
	return r;
}

/* ---- commit ---- */

struct nc_commit {
	struct weir_dav *d;
	const struct weir_ctx *ctx;
	const struct weir_where *w;
	const char *id, *sum;
	uint64_t size;
	const struct weir_meta *meta;
};

static enum weir_code
nc_forget_part(void *arg, uint32_t number, uint64_t size, const char *tag)
{
	(void)arg, (void)number, (void)size, (void)tag;
	return WEIR_OK;
}

/* Does the target hold what this upload was to bring? After a lost reply our own success must not pass for a conflict. */
static bool
nc_is_ours(struct nc_commit *k, struct weir_stat *out)
{
	struct weir_stat st = { 0 };
	bool is = false;

	if (weir_dav_stat(k->d, k->ctx, k->w->path, &st, NULL) != WEIR_OK)
		return false;
	if (st.type == WEIR_FILE && st.size == k->size && !(k->w->version && weir_dav_same(k->w->version, st.version))) {
		if (k->sum && st.sum && strcspn(k->sum, ":") == strcspn(st.sum, ":"))
			is = strcmp(k->sum, st.sum) == 0;
		else if (k->meta && k->meta->mtime_ns != WEIR_TIME_NONE)
			is = st.mtime_ns == weir_dav_seconds(k->d, k->meta->mtime_ns) * 1000000000;
		else	/* nothing to tell it by, but the upload was used up by someone, and that is us */
			is = weir_nc_upload_status(&k->d->base, k->ctx, k->w, k->id, nc_forget_part, NULL, NULL) == WEIR_E_NOENT;
	}
	if (is && out)
		*out = st;
	else
		weir_stat_free(&st);
	return is;
}

static enum weir_code
nc_commit_send(struct nc_commit *k, bool with_precondition, struct weir_dav_call *c, struct weir_err *err)
{
	nc_call(c, k->d, "MOVE", k->id, ".file", k->w);
	weir_dav_header(c, "OC-Total-Length: %" PRIu64, k->size);
	weir_dav_upload_headers(k->d, c, k->meta, k->sum);
	weir_dav_header(c, "Overwrite: %s", k->w->version == WEIR_ABSENT ? "F" : "T");
	/* An If-Match would speak of the chunks; the target is named in a tagged If:. */
	if (with_precondition && k->w->version && k->w->version != WEIR_ABSENT)
		weir_dav_require(c, k->d, WEIR_DAV_HOW_IF, k->w->path, k->w->version);
	c->req.stall_ms = NC_COMMIT_STALL_MS + (int64_t)(k->size / 10000);
	if (c->req.stall_ms > NC_COMMIT_STALL_MAX_MS)
		c->req.stall_ms = NC_COMMIT_STALL_MAX_MS;
	return weir_dav_send(k->d, k->ctx, c, err);
}

static enum weir_code
nc_commit_result(struct nc_commit *k, const struct weir_dav_call *c, struct weir_stat *out, struct weir_err *err)
{
	struct weir_stat st;
	char v[32];
	enum weir_code r = WEIR_OK;

	weir_dav_head_stat(&c->resp, &st);
	st.size = k->size;
	st.mtime_ns = WEIR_TIME_NONE;
	if (k->meta && k->meta->mtime_ns != WEIR_TIME_NONE && weir_http_header(&c->resp, "X-OC-MTime", v, sizeof(v)) &&
	    strcasecmp(v, "accepted") == 0)
		st.mtime_ns = weir_dav_seconds(k->d, k->meta->mtime_ns) * 1000000000;
	if (!st.version || st.mtime_ns == WEIR_TIME_NONE) {
		weir_stat_free(&st);
		r = weir_dav_stat(k->d, k->ctx, k->w->path, &st, err);
		if (!r && st.size != k->size)
			r = weir_err_set(err, WEIR_E_CHANGED, "'%s' was changed by someone else while it was put together", k->w->path);
	}
	if (!r && !st.sum)
		st.sum = weir_xstrdup(k->sum);
	if (!r && out)
		*out = st;
	else
		weir_stat_free(&st);
	return r;
}

static enum weir_code
nc_commit_refused(struct nc_commit *k, const struct weir_dav_call *c, struct weir_err *err)
{
	switch (c->resp.status) {
	case 412:
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' has another version now", k->w->path);
	case 404:
		return weir_err_set(err, WEIR_E_NOENT, "'%s': the server has forgotten the upload", k->w->path);
	case 400:	/* the chunks do not add up to OC-Total-Length */
		weir_dav_refused(c, err);
		return weir_err_wrap(err, WEIR_E_BADSUM, "put together");
	default:
		return weir_dav_refused_at(k->d, k->ctx, c, k->w->path, err);
	}
}

enum weir_code
weir_nc_upload_commit(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, const char *id, const char *const *tags,
    uint32_t ntags, uint64_t size, const struct weir_meta *meta, const char *sum, struct weir_stat *out, struct weir_err *err)
{
	struct nc_commit k = { .d = (struct weir_dav *)b, .ctx = ctx, .w = w, .id = id, .sum = sum, .size = size, .meta = meta };
	struct weir_dav_call c = { 0 };
	enum weir_code r = weir_dav_ready(k.d, ctx, err);

	(void)tags, (void)ntags;
	if (r)
		return r;
	if (!nc_is_upload_id(id))
		return weir_err_set(err, WEIR_E_NOENT, "upload '%s': no such thing on Nextcloud", id);
	/* Also where the server compares: a folder at the target would be removed with all in it. */
	r = weir_dav_compare(k.d, ctx, w, err);
	if (r)
		return r == WEIR_E_CHANGED && nc_is_ours(&k, out) ? WEIR_OK : r;
	r = nc_commit_send(&k, true, &c, err);
	if (!r && c.resp.status == 412 && w->version && !nc_is_ours(&k, NULL) && weir_dav_compare(k.d, ctx, w, NULL) == WEIR_OK) {
		weir_dav_call_free(&c);	/* refused although nothing changed: a proxy mangles ETags */
		r = nc_commit_send(&k, false, &c, err);
	}
	if (!r && weir_dav_ok(&c))
		r = nc_commit_result(&k, &c, out, err);
	else if (r != WEIR_E_AUTH && r != WEIR_E_CANCELED && nc_is_ours(&k, out))
		r = WEIR_OK;
	else if (!r)
		r = nc_commit_refused(&k, &c, err);
	weir_dav_call_free(&c);
	return r;
}

enum weir_code
weir_nc_upload_abort(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, const char *id, struct weir_err *err)
{
	struct weir_dav *d = (struct weir_dav *)b;
	struct weir_dav_call c;
	enum weir_code r = weir_dav_ready(d, ctx, err);

	if (r || !nc_is_upload_id(id))
		return r;
	weir_dav_call_url(&c, "DELETE", nc_upload_url(d, id, ""));
	c.path = w->path;
	r = weir_dav_send(d, ctx, &c, err);
	if (!r && !weir_dav_ok(&c) && c.resp.status != 404)
		r = weir_dav_refused(&c, err);
	weir_dav_call_free(&c);
	return r;
}
