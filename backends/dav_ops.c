/* SPDX-License-Identifier: Apache-2.0 */
/* What moves bytes and properties over WebDAV: stat, list, get, put, times, quota. Preconditions go with the request where the
 * endpoint keeps them; else the version is compared right before and what can be seen is compared right after. */
#include "config.h"

#include "dav.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "../src/util/text.h"
#include "../src/util/util.h"

#define DAV_WRITE_STALL_MS 60000	/* after the last byte of a body a server may scan, copy, replicate */
#define DAV_DRAIN_MAX (256u << 10)	/* so much unwanted body is read to the end rather than giving up the connection */
#define DAV_HASH_MAX (64u << 20)	/* content up to here is hashed before it is sent when nobody did */

enum weir_code
weir_dav_op_stat(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, struct weir_stat *st, struct weir_err *err)
{
	struct weir_dav *d = (struct weir_dav *)b;
	enum weir_code r = weir_dav_ready(d, ctx, err);

	return r ? r : weir_dav_stat(d, ctx, w->path, st, err);
}

/* Our own scratch folders (12 digits: dav_learn.c) are nobody's business. */
static bool
dav_is_scratch(const char *dir, const char *name)
{
	size_t n = strlen(WEIR_DAV_SCRATCH);

	return !*dir && strncmp(name, WEIR_DAV_SCRATCH, n) == 0 && strlen(name) == n + 12;
}

enum weir_code
weir_dav_op_list(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, unsigned flags, weir_list_fn *fn, void *arg,
    char **self_version, struct weir_err *err)
{
	struct weir_dav *d = (struct weir_dav *)b;
	WEIR_AUTO(weir_freep) char *plain = NULL;
	struct weir_dav_listing l = { 0 };
	enum weir_code r;

	if (flags & WEIR_LIST_DEEP)
		return weir_err_set(err, WEIR_E_NOTSUP, "WebDAV servers list one folder at a time");
	r = weir_dav_ready(d, ctx, err);
	if (r)
		return r;
	plain = weir_dav_plain(d, w->path);
	r = weir_dav_list_url(d, ctx, weir_dav_url(d, w->path, true), plain, w->path, d->dialect->props, &l, err);
	if (r == WEIR_E_NOENT && !*w->path)
		return weir_err_set(err, WEIR_E_NOBUCKET, "'%s' is gone from the server", d->url);
	if (r == WEIR_E_INVAL || r == WEIR_E_NOENT) {	/* a file asked for with a slash: 400 or 404 */
		struct weir_stat st = { 0 };

		if (weir_dav_stat(d, ctx, w->path, &st, NULL) == WEIR_OK && st.type == WEIR_FILE)
			r = weir_err_set(err, WEIR_E_NOTDIR, "'%s' is a file", w->path);
		weir_stat_free(&st);
	}
	if (r)
		return r;
	if (self_version && d->is_nextcloud)
		*self_version = weir_dav_etag(l.items[0].etag);
	for (size_t i = 1; i < l.n && !r; i++) {
		struct weir_stat st;

		if (dav_is_scratch(w->path, l.items[i].href))
			continue;
		weir_dav_item_stat(d, &l.items[i], &st);
		st.path = WEIR_STEAL(l.items[i].href);
		r = fn(arg, &st, err);
		weir_stat_free(&st);
	}
	if (r && self_version) {
		free(*self_version);
		*self_version = NULL;
	}
	weir_dav_listing_free(&l);
	return r;
}

/* ---- get ---- */

struct dav_get {
	struct weir_sink sink;
	struct weir_sink *to;
	struct weir_dav *d;
	const char *version;		/* expected; NULL: any */
	uint64_t off, len;
	uint64_t skip, left;		/* of the body as it comes: bytes before ours, ours */
	uint64_t body_left;		/* UINT64_MAX: not told */
	bool has_all;			/* ended by us because the rest is not ours */
	bool is_unproved;		/* the answer shows no version: compared afterwards */
	struct weir_stat *st;		/* the caller's: filled before its first byte comes */
};

static enum weir_code
get_write(struct weir_sink *s, const void *data, size_t len)
{
	struct dav_get *g = (struct dav_get *)s;
	const char *p = data;
	size_t n;
	enum weir_code r;

	if (g->body_left != UINT64_MAX)
		g->body_left -= len < g->body_left ? len : g->body_left;
	n = g->skip < len ? (size_t)g->skip : len;
	g->skip -= n;
	p += n;
	len -= n;
	n = g->left < len ? (size_t)g->left : len;
	if (n) {
		r = g->to->write(g->to, p, n);
		if (r)
			return r;
		g->left -= n;
	}
	if (!g->left && g->body_left > DAV_DRAIN_MAX) {
		g->has_all = true;
		return WEIR_E_CANCELED;
	}
	return WEIR_OK;
}

/* "bytes 0-99/1234" */
static bool
get_content_range(const struct weir_http_resp *resp, uint64_t *from, uint64_t *to, uint64_t *total)
{
	char v[128];

	*total = WEIR_SIZE_NONE;
	if (!weir_http_header(resp, "Content-Range", v, sizeof(v)))
		return false;
	if (sscanf(v, "bytes %" SCNu64 "-%" SCNu64 "/%" SCNu64, from, to, total) == 3)
		return true;
	return sscanf(v, "bytes %" SCNu64 "-%" SCNu64 "/*", from, to) == 2;
}

static enum weir_code
get_check_version(struct dav_get *g, struct weir_err *err)
{
	if (g->version ? strncmp(g->version, "mtime:", 6) == 0 : atomic_load(&g->d->has_no_etag)) {
		free(g->st->version);	/* GET may show an ETag where listings do not: not the spelling we compare */
		g->st->version = NULL;
		if (g->st->mtime_ns != WEIR_TIME_NONE && g->st->size != WEIR_SIZE_NONE)
			g->st->version = weir_xasprintf("mtime:%lld-%" PRIu64, (long long)(g->st->mtime_ns / 1000000000), g->st->size);
	}
	if (!g->version)
		return WEIR_OK;
	if (!g->st->version) {
		g->is_unproved = true;
		return WEIR_OK;
	}
	return weir_dav_same(g->version, g->st->version) ? WEIR_OK : weir_err_set(err, WEIR_E_CHANGED, "it has another version now");
}

static enum weir_code
get_head(void *arg, const struct weir_http_resp *resp, struct weir_err *err)
{
	struct dav_get *g = arg;
	uint64_t from = 0, to = 0, total = WEIR_SIZE_NONE;
	char v[64];

	if (resp->status != 200 && resp->status != 206)
		return WEIR_OK;
	weir_stat_free(g->st);
	weir_dav_head_stat(resp, g->st);
	g->body_left = weir_http_header(resp, "Content-Length", v, sizeof(v)) ? strtoull(v, NULL, 10) : UINT64_MAX;
	if (resp->status == 200) {
		g->st->size = g->body_left;
		g->skip = g->off;
	} else {
		uint64_t last = g->off + g->len - 1;

		if (!get_content_range(resp, &from, &to, &total) || from > g->off || to < from)
			return weir_err_set(err, WEIR_E_PROTO, "the server answers with another range than was asked");
		if (last < g->off)
			last = UINT64_MAX;
		if (to < last && total != WEIR_SIZE_NONE && to + 1 < total)
			return weir_err_set(err, WEIR_E_PROTO, "the server answers with a shorter range than was asked");
		g->st->size = total;
		g->skip = g->off - from;	/* sabre takes an end of 0 as "none": the whole file */
	}
	g->left = g->len;
	return get_check_version(g, err);
}

/* The answer said nothing of the version, or that there is no such range: PROPFIND tells. */
static enum weir_code
get_look(struct dav_get *g, const struct weir_ctx *ctx, const struct weir_where *w, struct weir_err *err)
{
	enum weir_code r;

	weir_stat_free(g->st);
	r = weir_dav_stat(g->d, ctx, w->path, g->st, err);
	if (r)
		return r;
	if (g->st->type != WEIR_FILE)
		return weir_err_set(err, WEIR_E_ISDIR, "'%s' is a folder", w->path);
	if (w->version && !weir_dav_same(w->version, g->st->version))
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' has another version now", w->path);
	return WEIR_OK;
}

static enum weir_code
get_once(struct dav_get *g, const struct weir_ctx *ctx, const struct weir_where *w, bool with_match, int *status, struct weir_err *err)
{
	uint64_t end = g->off + g->len - 1;
	struct weir_dav_call c;
	enum weir_code r;

	weir_dav_call(&c, g->d, "GET", w->path, false);
	if (end < g->off || end > INT64_MAX)
		weir_dav_header(&c, "Range: bytes=%" PRIu64 "-", g->off);
	else	/* never bytes=0-0: sabre sends the whole file then */
		weir_dav_header(&c, "Range: bytes=%" PRIu64 "-%" PRIu64, g->off, end ? end : 1);
	if (with_match)
		weir_dav_require(&c, g->d, WEIR_DAV_HOW_IF_MATCH, w->path, w->version);
	c.req.sink = &g->sink;
	c.req.on_head = get_head;
	c.req.on_head_arg = g;
	r = weir_dav_send(g->d, ctx, &c, err);
	*status = c.resp.status;
	if (r && g->has_all)
		r = WEIR_OK;
	else if (!r && c.resp.status != 200 && c.resp.status != 206 && c.resp.status != 412 && c.resp.status != 416)
		r = c.resp.status / 100 == 3 ? weir_dav_refused_at(g->d, ctx, &c, w->path, err) : weir_dav_refused(&c, err);
	else if (r == WEIR_E_CHANGED)
		weir_err_set(err, r, "'%s' has another version now", w->path);
	if (!r && c.resp.status == 200 && g->off)
		atomic_fetch_and(&g->d->base.caps, ~(unsigned)WEIR_CAP_RANGES);
	weir_dav_call_free(&c);
	return r;
}

enum weir_code
weir_dav_op_get(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, uint64_t off, uint64_t len,
    struct weir_sink *sink, struct weir_stat *st, struct weir_err *err)
{
	struct weir_dav *d = (struct weir_dav *)b;
	struct weir_stat own = { 0 };
	struct dav_get g = { .sink = { get_write }, .to = sink, .d = d, .version = w->version, .off = off, .len = len,
		.st = st ? st : &own };
	bool with_match;
	int status = 0;
	enum weir_code r = weir_dav_ready(d, ctx, err);

	if (r)
		return r;
	memset(g.st, 0, sizeof(*g.st));
	if (!w->version && d->is_nextcloud && (r = get_look(&g, ctx, w, err)))
		return r;	/* a GET of a folder gets a text there, with 200 and an ETag */
	if (len == 0 || off > INT64_MAX) {
		r = get_look(&g, ctx, w, err);
	} else {
		/* 412 to an If-Match may only mean that the ETag is weak for now: asked once more without, and compared. */
		with_match = w->version && atomic_load(&d->how_put) == WEIR_DAV_HOW_IF_MATCH;
		r = get_once(&g, ctx, w, with_match, &status, err);
		if (!r && status == 412 && with_match)
			r = get_once(&g, ctx, w, false, &status, err);
		if (!r && (status == 416 || g.is_unproved))
			r = get_look(&g, ctx, w, err);
		else if (!r && status == 412)
			r = weir_err_set(err, WEIR_E_CHANGED, "'%s' has another version now", w->path);
		if (!r && status == 416 && g.st->size != WEIR_SIZE_NONE && g.st->size > off)
			r = weir_err_set(err, WEIR_E_PROTO, "'%s': the server says there are no bytes at %" PRIu64, w->path, off);
	}
	if (r || !st)
		weir_stat_free(g.st);
	return r;
}

/* ---- put ---- */

long long
weir_dav_seconds(const struct weir_dav *d, int64_t mtime_ns)
{
	long long s = mtime_ns / 1000000000;

	if (mtime_ns < 0 && mtime_ns % 1000000000)
		s--;
	return d->is_nextcloud && s < 86401 ? 86401 : s;
}

void
weir_dav_upload_headers(struct weir_dav *d, struct weir_dav_call *c, const struct weir_meta *meta, const char *sum)
{
	if (meta && meta->mtime_ns != WEIR_TIME_NONE && atomic_load(&d->mtime_by_put))
		weir_dav_header(c, "X-OC-Mtime: %lld", weir_dav_seconds(d, meta->mtime_ns));
	if (d->is_nextcloud && sum) {	/* stored as it comes and given back in listings; X-Hash asks the server to compute it itself */
		const char *hex = strchr(sum, ':');

		if (hex && strncmp(sum, "md5", 3) == 0)
			weir_dav_header(c, "OC-Checksum: MD5%s", hex);
		else if (hex && strncmp(sum, "sha1", 4) == 0)
			weir_dav_header(c, "OC-Checksum: SHA1%s", hex);
		else if (hex && strncmp(sum, "sha256", 6) == 0)
			weir_dav_header(c, "OC-Checksum: SHA256%s", hex);
	}
}

/* Reads the source once: OC-Checksum stands in the head, before the bytes. */
static char *
put_hash(struct weir_source *src, uint64_t size)
{
	struct weir_digest *dg = weir_digest_new("sha1");
	WEIR_AUTO(weir_freep) char *buf = weir_xcalloc(1, 128 << 10);
	unsigned char out[64];
	char hex[2 * 64 + 1];
	uint64_t off = 0;

	while (dg && off < size) {
		ssize_t n = src->read(src, buf, size - off < (128u << 10) ? (size_t)(size - off) : 128u << 10, off);

		if (n <= 0)
			break;
		weir_digest_add(dg, buf, (size_t)n);
		off += (uint64_t)n;
	}
	if (!dg || off < size) {	/* the transfer will say what is wrong with the source */
		weir_digest_free(dg);
		return NULL;
	}
	weir_hex(out, weir_digest_end(dg, out), hex);
	return weir_xasprintf("sha1:%s", hex);
}

enum weir_code
weir_dav_compare(struct weir_dav *d, const struct weir_ctx *ctx, const struct weir_where *w, struct weir_err *err)
{
	struct weir_stat st = { 0 };
	enum weir_code r = weir_dav_stat(d, ctx, w->path, &st, err);

	if (r == WEIR_E_NOENT)
		return w->version == WEIR_ABSENT || !w->version ? WEIR_OK : weir_err_set(err, WEIR_E_CHANGED, "'%s' is gone", w->path);
	if (r)
		return r;
	if (st.type == WEIR_DIR && w->version != WEIR_ABSENT)
		r = weir_err_set(err, WEIR_E_ISDIR, "'%s' is a folder", w->path);
	else if (w->version == WEIR_ABSENT)
		r = weir_err_set(err, WEIR_E_CHANGED, "'%s' is there already", w->path);
	else if (w->version && !weir_dav_same(w->version, st.version))
		r = weir_err_set(err, WEIR_E_CHANGED, "'%s' has another version now", w->path);
	weir_stat_free(&st);
	return r;
}

struct dav_put {
	const struct weir_where *w;
	struct weir_source *source;
	uint64_t size;
	const struct weir_meta *meta;
	const char *sum;
};

/* One PUT. how NONE: the caller has compared. */
static enum weir_code
put_once(struct weir_dav *d, const struct weir_ctx *ctx, const struct dav_put *p, bool with_precondition, struct weir_dav_call *c,
    struct weir_err *err)
{
	const struct weir_where *w = p->w;
	const char *kind = p->sum ? p->sum : "";

	weir_dav_call(c, d, "PUT", w->path, false);
	if (with_precondition && w->version == WEIR_ABSENT)
		weir_dav_header(c, "If-None-Match: *");
	else if (with_precondition && w->version)
		weir_dav_require(c, d, (enum weir_dav_how)atomic_load(&d->how_put), w->path, w->version);
	weir_dav_upload_headers(d, c, p->meta, p->sum);
	if (d->is_nextcloud && *kind)
		weir_dav_header(c, "X-Hash: %.*s", (int)strcspn(kind, ":"), kind);
	c->req.source = p->source;
	c->req.body_len = p->size;
	c->req.has_body = true;
	c->req.stall_ms = DAV_WRITE_STALL_MS;
	return weir_dav_send(d, ctx, c, err);
}

/* The server computed the checksum of what it got (X-Hash): ours? */
static enum weir_code
put_verify(const struct weir_dav_call *c, const char *sum, struct weir_err *err)
{
	char name[32], v[160];
	const char *hex = sum ? strchr(sum, ':') : NULL;

	if (!hex)
		return WEIR_OK;
	snprintf(name, sizeof(name), "X-Hash-%.*s", (int)(hex - sum), sum);
	if (!weir_http_header(&c->resp, name, v, sizeof(v)) || strcasecmp(v, hex + 1) == 0)
		return WEIR_OK;
	return weir_err_set(err, WEIR_E_BADSUM, "'%s': the server received other bytes than were sent", c->path);
}

/* What is there after a PUT: from its headers where they tell, else by looking. */
static enum weir_code
put_result(struct weir_dav *d, const struct weir_ctx *ctx, const struct weir_dav_call *c, const struct dav_put *p, struct weir_stat *out,
    struct weir_err *err)
{
	bool wants_mtime = p->meta && p->meta->mtime_ns != WEIR_TIME_NONE;
	struct weir_stat st;
	char v[64];
	enum weir_code r = WEIR_OK;

	weir_dav_head_stat(&c->resp, &st);
	if (atomic_load(&d->has_no_etag)) {
		free(st.version);
		st.version = NULL;
	}
	st.mtime_ns = WEIR_TIME_NONE;
	st.size = p->size;
	if (wants_mtime && weir_http_header(&c->resp, "X-OC-MTime", v, sizeof(v)) && strcasecmp(v, "accepted") == 0)
		st.mtime_ns = weir_dav_seconds(d, p->meta->mtime_ns) * 1000000000;
	else if (wants_mtime && atomic_load(&d->mtime_by_patch)) {
		r = weir_dav_patch_mtime(d, ctx, p->w->path, false, p->meta->mtime_ns, err);
		weir_stat_free(&st);	/* the ETag may have changed with it */
	}
	if (!r && (!st.version || st.mtime_ns == WEIR_TIME_NONE)) {
		weir_stat_free(&st);
		r = weir_dav_stat(d, ctx, p->w->path, &st, err);
		if (r == WEIR_E_NOENT || (!r && (st.type != WEIR_FILE || st.size != p->size)))
			r = weir_err_set(err, WEIR_E_CHANGED, "'%s' was changed by someone else while it was written", p->w->path);
	}
	if (!r && !st.sum && d->is_nextcloud)
		st.sum = weir_xstrdup(p->sum);
	if (!r && out)
		*out = st;
	else
		weir_stat_free(&st);
	return r;
}

/* 412. A real change, or an ETag that the server will not compare just now? If a fresh look shows what we expect, the look is the
 * comparison and the request goes without the precondition. */
static enum weir_code
put_settle(struct weir_dav *d, const struct weir_ctx *ctx, const struct dav_put *p, struct weir_dav_call *c, struct weir_err *err)
{
	enum weir_code r = weir_dav_compare(d, ctx, p->w, err);

	if (r)
		return r;
	weir_dav_call_free(c);
	return put_once(d, ctx, p, false, c, err);
}

static bool
put_is_guarded(struct weir_dav *d, const char *version)
{
	if (version == WEIR_ABSENT)
		return atomic_load(&d->keeps_create);
	return atomic_load(&d->how_put) != WEIR_DAV_HOW_NONE && strncmp(version, "mtime:", 6) != 0;
}

/* No answer, or a proxy's: the server may hold it all the same, and asking again would find our own file in the way. Only a
 * checksum tells whose it is; without one the caller, who has written down what it sent, must look. */
static bool
put_was_done(struct weir_dav *d, const struct weir_ctx *ctx, const struct dav_put *p, enum weir_code r, int status, struct weir_stat *out)
{
	struct weir_stat st = { 0 };
	bool is;

	/* 412 as well: it may be our own file that is in the way, when this is the second attempt. */
	if (!p->sum || (r ? !weir_code_retry(r) || r == WEIR_E_THROTTLED : status != 412 && (status < 500 || status == 507)))
		return false;
	if (weir_dav_stat(d, ctx, p->w->path, &st, NULL) != WEIR_OK)
		return false;
	is = st.type == WEIR_FILE && st.size == p->size && st.sum && strcmp(st.sum, p->sum) == 0 &&
	    !(p->w->version && weir_dav_same(p->w->version, st.version));
	if (is && out)
		*out = st;
	else
		weir_stat_free(&st);
	return is;
}

enum weir_code
weir_dav_op_put(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, enum weir_type type, struct weir_source *src,
    uint64_t size, const struct weir_meta *meta, const char *sum, struct weir_stat *st, struct weir_err *err)
{
	struct weir_dav *d = (struct weir_dav *)b;
	WEIR_AUTO(weir_freep) char *own_sum = NULL;
	struct dav_put p = { .w = w, .source = src, .size = size, .meta = meta, .sum = sum };
	struct weir_dav_call c = { 0 };
	bool is_guarded;
	enum weir_code r;

	if (type != WEIR_FILE)
		return weir_err_set(err, WEIR_E_NOTSUP, "'%s': WebDAV holds files and folders only", w->path);
	r = weir_dav_ready(d, ctx, err);
	if (!r)
		r = weir_dav_learn(d, ctx, err);
	if (!r)
		r = weir_dav_check_name(d, w->path, err);
	if (r)
		return r;
	is_guarded = w->version && put_is_guarded(d, w->version);
	if (w->version && !is_guarded && (r = weir_dav_compare(d, ctx, w, err)))
		return r;
	if (!sum && d->is_nextcloud && size <= DAV_HASH_MAX)
		p.sum = own_sum = put_hash(src, size);
	r = put_once(d, ctx, &p, is_guarded, &c, err);
	if ((r || c.resp.status == 412 || c.resp.status >= 500) && put_was_done(d, ctx, &p, r, c.resp.status, st)) {
		weir_dav_call_free(&c);
		return WEIR_OK;
	}
	if (!r && c.resp.status == 412 && is_guarded)
		r = put_settle(d, ctx, &p, &c, err);
	if (!r && !weir_dav_ok(&c))
		r = weir_dav_refused_at(d, ctx, &c, w->path, err);
	if (!r)
		r = put_verify(&c, p.sum, err);
	if (!r)
		r = put_result(d, ctx, &c, &p, st, err);
	weir_dav_call_free(&c);
	return r;
}

/* ---- properties ---- */

static enum weir_code
patch_item(void *arg, struct weir_dav_item *it, struct weir_err *err)
{
	struct weir_dav_item *to = arg;

	(void)err;
	to->has_lastmodified |= it->has_lastmodified;
	if (!to->bad_status)
		to->bad_status = it->bad_status ? it->bad_status : it->status;
	return WEIR_OK;
}

enum weir_code
weir_dav_patch_mtime(struct weir_dav *d, const struct weir_ctx *ctx, const char *path, bool is_dir, int64_t mtime_ns, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *body = weir_xasprintf("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<d:propertyupdate xmlns:d=\"DAV:\">"
	    "<d:set><d:prop><d:lastmodified>%lld</d:lastmodified></d:prop></d:set></d:propertyupdate>\n", weir_dav_seconds(d, mtime_ns));
	struct weir_dav_item got = { 0 };
	struct weir_dav_call c;
	struct weir_dav_xml *x;
	enum weir_code r;

	weir_dav_call(&c, d, "PROPPATCH", path, is_dir);
	weir_dav_body(&c, body);
	r = weir_dav_send(d, ctx, &c, err);
	if (!r && c.resp.status != 207)
		r = weir_dav_refused(&c, err);
	if (!r) {
		x = weir_dav_xml_new(patch_item, &got);
		r = weir_dav_xml_feed(x, weir_buf_str(&c.resp.body), c.resp.body.len, true, err);
		weir_dav_xml_free(x);
	}
	if (!r && !got.has_lastmodified)
		r = weir_err_set(err, got.bad_status == 403 ? WEIR_E_ACCES : WEIR_E_NOTSUP, "'%s': the server does not set its time (%d)",
		    path, got.bad_status);
	weir_dav_call_free(&c);
	return r;
}

enum weir_code
weir_dav_op_set_meta(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, bool is_dir, const struct weir_meta *meta,
    struct weir_stat *out, struct weir_err *err)
{
	struct weir_dav *d = (struct weir_dav *)b;
	struct weir_stat st = { 0 };
	enum weir_code r = weir_dav_ready(d, ctx, err);

	if (!r)
		r = weir_dav_learn(d, ctx, err);
	if (r)
		return r;
	if (meta->mtime_ns == WEIR_TIME_NONE || !atomic_load(&d->mtime_by_patch))
		return weir_err_set(err, WEIR_E_NOTSUP, "'%s': the server keeps no such property", w->path);
	if (!is_dir && w->version && w->version != WEIR_ABSENT && (r = weir_dav_compare(d, ctx, w, err)))
		return r;
	r = weir_dav_patch_mtime(d, ctx, w->path, is_dir, meta->mtime_ns, err);
	if (!r && out)
		r = weir_dav_stat(d, ctx, w->path, &st, err);
	if (!r && out)
		*out = st;
	return r;
}

enum weir_code
weir_dav_op_quota(struct weir_backend *b, const struct weir_ctx *ctx, struct weir_usage *u, struct weir_err *err)
{
	struct weir_dav *d = (struct weir_dav *)b;
	struct weir_dav_item it;
	enum weir_code r = weir_dav_ready(d, ctx, err);

	if (!r)
		r = weir_dav_propfind0(d, ctx, "", true, "<d:quota-available-bytes/><d:quota-used-bytes/>", &it, NULL, err);
	if (r)
		return r;
	memset(u, 0, sizeof(*u));
	if (d->is_nextcloud && d->user != NULL) /* what it says of any folder is part of one person's space */
		snprintf(u->account, sizeof(u->account), "%s %s", d->origin, d->user);
	if (it.quota_used >= 0) {
		u->has_used = true;
		u->used = (uint64_t)it.quota_used;
	}
	if (it.quota_used >= 0 && it.quota_available >= 0) {	/* negative: not computed, unknown, unlimited */
		u->has_total = true;
		u->total = (uint64_t)it.quota_used + (uint64_t)it.quota_available;
	}
	weir_dav_item_clear(&it);
	return WEIR_OK;
}
