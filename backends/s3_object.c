/* SPDX-License-Identifier: Apache-2.0 */
/* Single objects: stat, get, put, mkdir, remove. Preconditions come from s3_cas.c, listings from s3_list.c. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "s3_impl.h"

/* ---- stat ---- */

enum weir_code
weir_s3_head(struct s3 *s, const struct weir_ctx *ctx, const char *key, const char *path, struct weir_http_resp *resp,
    struct weir_stat *st, struct weir_err *err)
{
	const struct s3_req q = { .method = "HEAD", .key = key };
	enum weir_code r = weir_s3_do(s, ctx, &q, resp, "stat", path, err);

	if (r == WEIR_OK)
		weir_s3_stat_of_head(resp, key[0] != '\0' && key[strlen(key) - 1] == '/', st);
	return r;
}

enum weir_code
weir_s3_compare(struct s3 *s, const struct weir_ctx *ctx, const char *key, const struct weir_where *w, struct weir_err *err)
{
	struct weir_http_resp resp = { 0 };
	WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 };
	enum weir_code r;

	if (w->version == NULL)
		return WEIR_OK;
	r = weir_s3_head(s, ctx, key, w->path, &resp, &st, err);
	weir_http_resp_free(&resp);
	if (r == WEIR_E_NOENT && w->version == WEIR_ABSENT)
		return WEIR_OK;
	if (r == WEIR_E_NOENT)
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' was removed meanwhile", w->path);
	if (r != WEIR_OK)
		return r;
	if (w->version == WEIR_ABSENT)
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' was made meanwhile", w->path);
	if (st.version == NULL || strcmp(st.version, w->version) != 0)
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' has another version", w->path);
	return WEIR_OK;
}

static void
object_is_dir(struct weir_stat *st)
{
	*st = (struct weir_stat){ .type = WEIR_DIR, .mtime_ns = WEIR_TIME_NONE, .mode = WEIR_MODE_NONE };
}

/* A directory, with what its marker knows of it. NOENT: no key begins so. */
static enum weir_code
object_stat_dir(struct s3 *s, const struct weir_ctx *ctx, const char *path, struct weir_stat *st, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *key = NULL;
	struct weir_http_resp resp = { 0 };
	unsigned found = 0;
	bool has_marker = false;
	enum weir_code r = weir_s3_key(s, path, true, &key, err);

	if (r == WEIR_OK)
		r = weir_s3_peek(s, ctx, key, 1, &found, &has_marker, err);
	if (r != WEIR_OK)
		return r;
	if (found == 0)
		return WEIR_E_NOENT;
	if (!has_marker || weir_s3_head(s, ctx, key, path, &resp, st, NULL) != WEIR_OK)
		object_is_dir(st);
	weir_http_resp_free(&resp);
	return WEIR_OK;
}

/* Two requests for a file whose version is not known: a directory of the same name wins, as in listings. */
enum weir_code
weir_s3_stat(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, struct weir_stat *st, struct weir_err *err)
{
	struct s3 *s = (struct s3 *)be;
	WEIR_AUTO(weir_freep) char *key = NULL;
	struct weir_http_resp resp = { 0 };
	bool is_known = w->version != NULL && w->version != WEIR_ABSENT;
	enum weir_code r;

	if (w->path[0] == '\0') {
		object_is_dir(st);
		return WEIR_OK;
	}
	r = weir_s3_key(s, w->path, false, &key, err);
	if (r != WEIR_OK)
		return r;
	if (!is_known) {
		r = object_stat_dir(s, ctx, w->path, st, err);
		if (r != WEIR_E_NOENT && r != WEIR_E_ACCES && r != WEIR_E_NAMETOOLONG)
			return r;
	}
	r = weir_s3_head(s, ctx, key, w->path, &resp, st, err);
	weir_http_resp_free(&resp);
	if (r == WEIR_E_NOENT && is_known && object_stat_dir(s, ctx, w->path, st, NULL) == WEIR_OK)
		return WEIR_OK;
	return r;
}

/* ---- get ---- */

/* Between the response and the caller's sink: cuts to the range, and sums up what is read whole. */
struct object_get {
	struct weir_sink sink;		/* first */
	struct weir_sink *to;
	const struct weir_where *where;
	uint64_t off, len;		/* asked */
	uint64_t at;			/* offset in the object of the next byte */
	struct weir_stat *st;		/* the caller's, filled before its sink is called; it may take the strings then */
	char *version;			/* of what comes */
	struct weir_digest *md5;	/* not NULL: the whole object comes, and its ETag is an MD5 */
};

static enum weir_code
object_write(struct weir_sink *sink, const void *data, size_t len)
{
	struct object_get *g = (struct object_get *)sink;
	const char *p = data;
	uint64_t end = g->off + g->len < g->off ? UINT64_MAX : g->off + g->len, from = g->at;
	size_t skip = 0;

	g->at += len;
	if (g->md5 != NULL)
		weir_digest_add(g->md5, data, len);
	/* Only a server that sent more than was asked makes these cuts. */
	if (from < g->off)
		skip = g->off - from < len ? (size_t)(g->off - from) : len;
	if (g->at > end)
		len = end > from ? (size_t)(end - from) : 0;
	return len > skip ? g->to->write(g->to, p + skip, len - skip) : WEIR_OK;
}

/* "bytes a-b/N" must begin where we asked and end there, or at the end of the object. */
static enum weir_code
object_range(struct object_get *g, const struct weir_http_resp *resp, struct weir_err *err)
{
	char v[96];
	uint64_t a, b, n, last;

	if (resp->status == 200) {
		g->at = 0;	/* the whole: a server without ranges */
		return WEIR_OK;
	}
	if (weir_http_header(resp, "Content-Range", v, sizeof(v)) == NULL ||
	    sscanf(v, "bytes %" SCNu64 "-%" SCNu64 "/%" SCNu64, &a, &b, &n) != 3)
		return weir_err_set(err, WEIR_E_PROTO, "read '%s': a part came without Content-Range", g->where->path);
	last = g->len > n - g->off ? n - 1 : g->off + g->len - 1;
	if (n <= g->off || a != g->off || b != last)
		return weir_err_set(err, WEIR_E_PROTO, "read '%s': another part came (%s)", g->where->path, v);
	g->at = a;
	return WEIR_OK;
}

static enum weir_code
object_is_it(const struct object_get *g, const struct weir_stat *st, struct weir_err *err)
{
	if (g->where->version == NULL || (st->version != NULL && strcmp(st->version, g->where->version) == 0))
		return WEIR_OK;
	return weir_err_set(err, WEIR_E_CHANGED, "'%s' has another version", g->where->path);
}

/* Keep what is needed here, give the rest to the caller. */
static void
object_tell(struct object_get *g, struct weir_stat *st)
{
	free(g->version);
	g->version = weir_xstrdup(st->version);
	if (g->st == NULL)
		return;
	weir_stat_free(g->st);
	*g->st = *st;
	*st = (struct weir_stat){ 0 };
}

static enum weir_code
object_on_head(void *arg, const struct weir_http_resp *resp, struct weir_err *err)
{
	struct object_get *g = arg;
	struct weir_stat st;
	enum weir_code r;

	if (resp->status != 200 && resp->status != 206)
		return WEIR_OK;
	weir_s3_stat_of_head(resp, false, &st);
	r = object_is_it(g, &st, err);
	if (r == WEIR_OK)
		r = object_range(g, resp, err);
	if (r == WEIR_OK && st.sum != NULL && g->off == 0 && (resp->status == 200 || g->len >= st.size))
		g->md5 = weir_digest_new("md5");
	if (r == WEIR_OK)
		object_tell(g, &st);
	weir_stat_free(&st);
	return r;
}

static enum weir_code
object_verify(struct object_get *g, struct weir_err *err)
{
	unsigned char md5[64];
	char hex[2 * WEIR_MD5_LEN + 1];

	if (g->md5 == NULL)
		return WEIR_OK;
	weir_digest_end(WEIR_STEAL(g->md5), md5);
	weir_hex(md5, WEIR_MD5_LEN, hex);
	if (strcmp(hex, g->version) == 0)
		return WEIR_OK;
	return weir_err_set(err, WEIR_E_BADSUM, "read '%s': MD5 %s, the server says %s", g->where->path, hex, g->version);
}

/* Nothing to read there: 416, or a length of 0. Fine if it is the version asked for. */
static enum weir_code
object_past_end(struct s3 *s, const struct weir_ctx *ctx, const char *key, struct object_get *g, struct weir_err *err)
{
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 };
	enum weir_code r = weir_s3_head(s, ctx, key, g->where->path, &resp, &st, err);

	if (r == WEIR_OK)
		r = object_is_it(g, &st, err);
	if (r == WEIR_OK && g->len > 0 && st.size > g->off)
		return weir_err_set(err, WEIR_E_SERVER, "read '%s': the server refused a part that is there", g->where->path);
	if (r == WEIR_OK)
		object_tell(g, &st);
	return r;
}

static enum weir_code
object_fetch(struct s3 *s, const struct weir_ctx *ctx, const char *key, struct object_get *g, struct weir_err *err)
{
	WEIR_AUTO(weir_s3_headers_free) struct s3_headers h = { 0 };
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	const struct s3_req q = { .method = "GET", .key = key, .headers = &h, .sink = &g->sink, .on_head = object_on_head, .on_head_arg = g };
	enum weir_code r;

	if (g->off + g->len < g->off || g->len == UINT64_MAX) {
		if (g->off > 0)
			weir_s3_header(&h, "Range: bytes=%" PRIu64 "-", g->off);
	} else {
		weir_s3_header(&h, "Range: bytes=%" PRIu64 "-%" PRIu64, g->off, g->off + g->len - 1);
	}
	if (g->where->version != NULL)
		weir_s3_header(&h, "If-Match: \"%s\"", g->where->version);
	r = weir_s3_call(s, ctx, &q, &resp, err);
	if (r != WEIR_OK)
		return weir_err_wrap(err, r, "read '%s'", g->where->path);
	if (resp.status == 416)
		return object_past_end(s, ctx, key, g, err);
	if (resp.status != 200 && resp.status != 206)
		return weir_s3_fail(s, &resp, "read", g->where->path, err);
	return object_verify(g, err);
}

enum weir_code
weir_s3_get(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, uint64_t off, uint64_t len,
    struct weir_sink *to, struct weir_stat *st, struct weir_err *err)
{
	struct s3 *s = (struct s3 *)be;
	WEIR_AUTO(weir_freep) char *key = NULL;
	struct object_get g = { .sink.write = object_write, .to = to, .where = w, .off = off, .len = len, .st = st };
	enum weir_code r = weir_s3_key(s, w->path, false, &key, err);

	if (st != NULL)
		*st = (struct weir_stat){ 0 };
	if (r != WEIR_OK)
		return r;
	if (w->path[0] == '\0')
		return weir_err_set(err, WEIR_E_ISDIR, "the root is a directory");
	r = len == 0 ? object_past_end(s, ctx, key, &g, err) : object_fetch(s, ctx, key, &g, err);
	weir_digest_free(g.md5);
	free(g.version);
	if (r != WEIR_OK && st != NULL)
		weir_stat_free(st);
	return r;
}

/* ---- put ---- */

struct object_put {
	const char *key;
	const struct weir_where *where;
	struct weir_source *src;
	uint64_t size;
	const struct weir_meta *meta;
	unsigned char md5[WEIR_MD5_LEN];
	char hex[2 * WEIR_MD5_LEN + 1];
};

/* The MD5 given with the content, or computed: the server checks what arrives against it. */
static enum weir_code
object_sum(struct object_put *p, const char *sum, struct weir_err *err)
{
	enum weir_code r = WEIR_OK;

	if (sum == NULL || strncmp(sum, "md5:", 4) != 0 || strlen(sum) != 4 + 2 * WEIR_MD5_LEN ||
	    weir_unhex(sum + 4, 2 * WEIR_MD5_LEN, p->md5) < 0)
		r = weir_source_md5(p->src, 0, p->size, p->md5, err);
	weir_hex(p->md5, WEIR_MD5_LEN, p->hex);
	return r;
}

static bool
object_same_mtime(const struct object_put *p, const struct weir_stat *st)
{
	return p->meta == NULL || p->meta->mtime_ns == WEIR_TIME_NONE || p->meta->mtime_ns == st->mtime_ns;
}

/* A precondition failed. When what is there is exactly what we send, an earlier try of ours (whose reply was lost) did it. */
static enum weir_code
object_was_ours(struct s3 *s, const struct weir_ctx *ctx, const struct object_put *p, struct weir_stat *st, struct weir_err *err)
{
	struct weir_http_resp resp = { 0 };
	struct weir_stat there = { 0 };
	enum weir_code r = weir_s3_head(s, ctx, p->key, p->where->path, &resp, &there, NULL);

	weir_http_resp_free(&resp);
	if (r == WEIR_OK && there.version != NULL && strcmp(there.version, p->hex) == 0 && there.size == p->size &&
	    object_same_mtime(p, &there)) {
		*st = there;
		return WEIR_OK;
	}
	weir_stat_free(&there);
	return weir_err_set(err, WEIR_E_CHANGED, "'%s' changed on the server meanwhile", p->where->path);
}

/* After a put that the server did not guard: is ours what is there now? */
static enum weir_code
object_after(struct s3 *s, const struct weir_ctx *ctx, const struct object_put *p, const char *version, struct weir_err *err)
{
	struct weir_where now = *p->where;

	now.version = version;
	return weir_s3_compare(s, ctx, p->key, &now, err);
}

static enum weir_code
object_sent(const struct object_put *p, const struct weir_http_resp *resp, struct weir_stat *st, struct weir_err *err)
{
	weir_s3_stat_of_head(resp, false, st);
	if (st->sum != NULL && strcmp(st->version, p->hex) != 0) {
		weir_err_set(err, WEIR_E_BADSUM, "put '%s': sent MD5 %s, the server has %s", p->where->path, p->hex, st->version);
		weir_stat_free(st);
		return WEIR_E_BADSUM;
	}
	if (st->version == NULL)
		return weir_err_set(err, WEIR_E_PROTO, "put '%s': no ETag in the answer", p->where->path);
	st->size = p->size;
	st->mtime_ns = p->meta == NULL ? WEIR_TIME_NONE : p->meta->mtime_ns;
	st->mode = p->meta == NULL ? WEIR_MODE_NONE : p->meta->mode;
	return WEIR_OK;
}

static enum weir_code
object_put(struct s3 *s, const struct weir_ctx *ctx, const struct object_put *p, struct weir_stat *st, struct weir_err *err)
{
	WEIR_AUTO(weir_s3_headers_free) struct s3_headers h = { 0 };
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	struct s3_req q = { .method = "PUT", .key = p->key, .headers = &h, .has_body = true };
	char b64[32];
	bool is_kept = true;
	enum weir_code r;

	if (p->size > 0) {
		q.source = p->src;
		q.source_len = p->size;
	}
	weir_base64(p->md5, WEIR_MD5_LEN, b64);
	weir_s3_header(&h, "Content-MD5: %s", b64);
	weir_s3_meta_headers(s, &h, p->meta, false);
	r = weir_s3_cas_headers(s, ctx, S3_CAS_CREATE, S3_CAS_PUT, p->key, p->where, &h, &is_kept, err);
	if (r == WEIR_OK)
		r = weir_s3_do(s, ctx, &q, &resp, "put", p->where->path, err);
	if (r == WEIR_E_CHANGED || (r == WEIR_E_NOENT && p->where->version != NULL))
		return object_was_ours(s, ctx, p, st, err);
	if (r == WEIR_OK)
		r = object_sent(p, &resp, st, err);
	if (r == WEIR_OK && !is_kept) {
		r = object_after(s, ctx, p, st->version, err);
		if (r != WEIR_OK)
			weir_stat_free(st);
	}
	return r;
}

enum weir_code
weir_s3_put(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, enum weir_type type, struct weir_source *src,
    uint64_t size, const struct weir_meta *meta, const char *sum, struct weir_stat *st, struct weir_err *err)
{
	struct s3 *s = (struct s3 *)be;
	WEIR_AUTO(weir_freep) char *key = NULL;
	WEIR_AUTO(weir_stat_free) struct weir_stat done = { 0 };
	struct object_put p = { .where = w, .src = src, .size = size, .meta = meta };
	enum weir_code r;

	if (type != WEIR_FILE)
		return weir_err_set(err, WEIR_E_NOTSUP, "S3 holds files only");
	if (w->path[0] == '\0')
		return weir_err_set(err, WEIR_E_ISDIR, "the root is a directory");
	r = weir_s3_key(s, w->path, false, &key, err);
	if (r == WEIR_OK)
		r = object_sum(&p, sum, err);
	if (r != WEIR_OK)
		return r;
	p.key = key;
	r = object_put(s, ctx, &p, &done, err);
	if (r == WEIR_OK && st != NULL) {
		*st = done;
		done = (struct weir_stat){ 0 };
	}
	return r;
}

enum weir_code
weir_s3_put_bytes(struct s3 *s, const struct weir_ctx *ctx, const char *key, const char *path, struct s3_headers *h, const char *bytes,
    struct weir_http_resp *resp, struct weir_err *err)
{
	const struct s3_req q = { .method = "PUT", .key = key, .headers = h, .has_body = true, .body = bytes, .body_len = strlen(bytes) };

	return weir_s3_do(s, ctx, &q, resp, "put", path, err);
}

/* ---- directories, remove ---- */

static enum weir_code
object_mkdir_is_free(struct s3 *s, const struct weir_ctx *ctx, const struct weir_where *w, const char *marker, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *file = weir_xstrndup(marker, strlen(marker) - 1);
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 };
	unsigned found = 0;
	enum weir_code r = weir_s3_peek(s, ctx, marker, 1, &found, NULL, err);

	if (r != WEIR_OK)
		return r;
	if (found > 0)
		return weir_err_set(err, WEIR_E_EXIST, "'%s' is there already", w->path);
	/* A marker beside a file of that name would hide the file from everybody. */
	r = weir_s3_head(s, ctx, file, w->path, &resp, &st, err);
	if (r == WEIR_OK)
		return weir_err_set(err, WEIR_E_EXIST, "'%s' is there already, as a file", w->path);
	return r == WEIR_E_NOENT ? WEIR_OK : r;
}

enum weir_code
weir_s3_mkdir(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, struct weir_stat *st, struct weir_err *err)
{
	struct s3 *s = (struct s3 *)be;
	WEIR_AUTO(weir_freep) char *key = NULL;
	WEIR_AUTO(weir_s3_headers_free) struct s3_headers h = { 0 };
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	enum weir_code r = weir_s3_key(s, w->path, true, &key, err);

	if (r != WEIR_OK)
		return r;
	if (w->path[0] == '\0')
		return weir_err_set(err, WEIR_E_EXIST, "the root is there already");
	r = object_mkdir_is_free(s, ctx, w, key, err);
	if (r != WEIR_OK)
		return r;
	weir_s3_meta_headers(s, &h, NULL, true);
	r = weir_s3_put_bytes(s, ctx, key, w->path, &h, "", &resp, err);
	if (r == WEIR_OK && st != NULL)
		object_is_dir(st);
	return r;
}

static enum weir_code
object_delete(struct s3 *s, const struct weir_ctx *ctx, const char *key, const char *path, struct s3_headers *h, struct weir_err *err)
{
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	const struct s3_req q = { .method = "DELETE", .key = key, .headers = h };

	return weir_s3_do(s, ctx, &q, &resp, "remove", path, err);
}

static enum weir_code
object_rmdir(struct s3 *s, const struct weir_ctx *ctx, const char *path, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *key = NULL;
	unsigned found = 0;
	bool has_marker = false;
	enum weir_code r = weir_s3_key(s, path, true, &key, err);

	if (r == WEIR_OK && path[0] == '\0')
		return weir_err_set(err, WEIR_E_BUSY, "the root cannot be removed");
	if (r == WEIR_OK)
		r = weir_s3_peek(s, ctx, key, 2, &found, &has_marker, err);
	if (r != WEIR_OK)
		return r;
	if (found == 0)
		return weir_err_set(err, WEIR_E_NOENT, "directory '%s' is gone", path);
	if (found > 1 || !has_marker)
		return weir_err_set(err, WEIR_E_NOTEMPTY, "directory '%s' is not empty", path);
	return object_delete(s, ctx, key, path, NULL, err);
}

/* DELETE says 204 even when nothing was there, so one looks first, unless the server itself compares. */
enum weir_code
weir_s3_remove(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, bool is_dir, struct weir_err *err)
{
	struct s3 *s = (struct s3 *)be;
	WEIR_AUTO(weir_freep) char *key = NULL;
	WEIR_AUTO(weir_s3_headers_free) struct s3_headers h = { 0 };
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 };
	enum s3_keeps keeps = S3_IGNORES;
	enum weir_code r;

	if (is_dir)
		return object_rmdir(s, ctx, w->path, err);
	r = weir_s3_key(s, w->path, false, &key, err);
	if (r == WEIR_OK && w->version != NULL && w->version != WEIR_ABSENT)
		r = weir_s3_cas(s, ctx, S3_CAS_DELETE, &keeps, err);
	if (r != WEIR_OK)
		return r;
	if (keeps != S3_IGNORES) {
		weir_s3_header(&h, keeps == S3_KEEPS ? "If-Match: \"%s\"" : "If-Match: %s", w->version);
		return object_delete(s, ctx, key, w->path, &h, err);
	}
	r = weir_s3_head(s, ctx, key, w->path, &resp, &st, err);
	if (r == WEIR_OK && w->version != NULL && (st.version == NULL || strcmp(st.version, w->version) != 0))
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' has another version", w->path);
	return r != WEIR_OK ? r : object_delete(s, ctx, key, w->path, NULL, err);
}
