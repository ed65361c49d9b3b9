/* SPDX-License-Identifier: Apache-2.0 */
/* Multipart uploads. The id is S3's UploadId; tags are the ETags of parts. mtime and mode travel with begin(): S3 takes no
 * metadata at the end, so what differs by then is told by commit's *st and set with set_meta(). */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "s3_impl.h"

static void
upload_query(struct weir_buf *b, const char *before, const char *id)
{
	weir_buf_addf(b, "%suploadId=", before);
	weir_url_encode(b, id, strlen(id), "");
}

enum weir_code
weir_s3_mp_begin(struct s3 *s, const struct weir_ctx *ctx, const char *key, const char *path, struct s3_headers *h, char **id,
    struct weir_err *err)
{
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	const struct s3_req q = { .method = "POST", .key = key, .query = "uploads=", .headers = h, .has_body = true };
	struct weir_s3_answer a;
	enum weir_code r = weir_s3_do(s, ctx, &q, &resp, "begin upload of", path, err);

	if (r != WEIR_OK)
		return r;
	if (weir_s3_answer_parse(weir_buf_str(&resp.body), resp.body.len, &a) < 0 || a.upload_id[0] == '\0')
		return weir_err_set(err, WEIR_E_PROTO, "begin upload of '%s': no UploadId in the answer", path);
	*id = weir_xstrdup(a.upload_id);
	return WEIR_OK;
}

enum weir_code
weir_s3_mp_put_part(struct s3 *s, const struct weir_ctx *ctx, const char *key, const char *path, const char *id, uint32_t number,
    struct weir_source *src, uint64_t off, uint64_t len, char **tag, struct weir_err *err)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf query = WEIR_BUF(8u << 10);
	WEIR_AUTO(weir_s3_headers_free) struct s3_headers h = { 0 };
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 };
	struct s3_req q = { .method = "PUT", .key = key, .headers = &h, .has_body = true };
	unsigned char md5[WEIR_MD5_LEN];
	char b64[32], hex[2 * WEIR_MD5_LEN + 1], before[32];
	enum weir_code r = weir_source_md5(src, off, len, md5, err);

	if (r != WEIR_OK)
		return r;
	snprintf(before, sizeof(before), "partNumber=%" PRIu32 "&", number);
	upload_query(&query, before, id);
	weir_base64(md5, sizeof(md5), b64);
	weir_s3_header(&h, "Content-MD5: %s", b64);
	q.query = weir_buf_str(&query);
	if (len > 0) {
		q.source = src;
		q.source_off = off;
		q.source_len = len;
	}
	r = weir_s3_do(s, ctx, &q, &resp, "upload a part of", path, err);
	if (r != WEIR_OK)
		return r;
	weir_s3_stat_of_head(&resp, false, &st);
	weir_hex(md5, sizeof(md5), hex);
	if (st.version == NULL)
		return weir_err_set(err, WEIR_E_PROTO, "upload a part of '%s': no ETag in the answer", path);
	if (st.sum != NULL && strcmp(st.version, hex) != 0)
		return weir_err_set(err, WEIR_E_BADSUM, "upload a part of '%s': sent MD5 %s, the server has %s", path, hex, st.version);
	*tag = WEIR_STEAL(st.version);
	return WEIR_OK;
}

enum weir_code
weir_s3_mp_copy_part(struct s3 *s, const struct weir_ctx *ctx, const char *key, const char *path, const char *id, uint32_t number,
    const char *src_key, const char *src_version, uint64_t off, uint64_t len, char **tag, struct weir_err *err)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf query = WEIR_BUF(8u << 10);
	WEIR_AUTO(weir_s3_headers_free) struct s3_headers h = { 0 };
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	struct s3_req q = { .method = "PUT", .key = key, .headers = &h, .has_body = true, .stall_ms = S3_THINK_MS };
	struct weir_s3_answer a;
	char before[32];
	enum weir_code r;

	if (len == 0)
		return weir_err_set(err, WEIR_E_INVAL, "a copied part of '%s' has no length", path);
	snprintf(before, sizeof(before), "partNumber=%" PRIu32 "&", number);
	upload_query(&query, before, id);
	q.query = weir_buf_str(&query);
	weir_s3_copy_source(s, &h, src_key, src_version);
	weir_s3_header(&h, "x-amz-copy-source-range: bytes=%" PRIu64 "-%" PRIu64, off, off + len - 1);
	r = weir_s3_do(s, ctx, &q, &resp, "copy a part of", path, err);
	if (r != WEIR_OK)
		return r;
	if (weir_s3_answer_parse(weir_buf_str(&resp.body), resp.body.len, &a) < 0 || strcmp(a.root, "CopyPartResult") != 0 || a.etag[0] == '\0')
		return weir_s3_fail(s, &resp, "copy a part of", path, err);
	*tag = weir_xstrdup(a.etag);
	return WEIR_OK;
}

enum weir_code
weir_s3_mp_complete(struct s3 *s, const struct weir_ctx *ctx, const char *key, const char *path, const char *id,
    const char *const *tags, uint32_t ntags, struct s3_headers *h, char **etag, struct weir_err *err)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf query = WEIR_BUF(8u << 10), body = WEIR_BUF(4u << 20);
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	struct s3_req q = { .method = "POST", .key = key, .headers = h, .has_body = true, .stall_ms = S3_THINK_MS };
	struct weir_s3_answer a;
	enum weir_code r;

	weir_buf_adds(&body, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	for (uint32_t i = 0; i < ntags; i++) {
		weir_buf_addf(&body, "<Part><PartNumber>%" PRIu32 "</PartNumber><ETag>\"", i + 1);
		weir_xml_escape(&body, tags[i]);
		weir_buf_adds(&body, "\"</ETag></Part>");
	}
	weir_buf_adds(&body, "</CompleteMultipartUpload>");
	if (body.is_full)
		return weir_err_set(err, WEIR_E_FBIG, "upload of '%s' has too many parts", path);
	upload_query(&query, "", id);
	q.query = weir_buf_str(&query);
	q.body = body.data;
	q.body_len = body.len;
	r = weir_s3_do(s, ctx, &q, &resp, "finish upload of", path, err);
	if (r != WEIR_OK)
		return r;
	/* The 200 comes before the work is done: an error may follow in the body. */
	if (weir_s3_answer_parse(weir_buf_str(&resp.body), resp.body.len, &a) < 0 || strcmp(a.root, "CompleteMultipartUploadResult") != 0)
		return weir_s3_fail(s, &resp, "finish upload of", path, err);
	*etag = weir_xstrdup(a.etag);
	return WEIR_OK;
}

enum weir_code
weir_s3_mp_abort(struct s3 *s, const struct weir_ctx *ctx, const char *key, const char *path, const char *id, struct weir_err *err)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf query = WEIR_BUF(8u << 10);
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	struct s3_req q = { .method = "DELETE", .key = key };
	enum weir_code r;

	upload_query(&query, "", id);
	q.query = weir_buf_str(&query);
	r = weir_s3_do(s, ctx, &q, &resp, "abort upload of", path, err);
	return r == WEIR_E_NOENT ? WEIR_OK : r;
}

char *
weir_s3_mp_etag(const char *const *tags, uint32_t ntags)
{
	struct weir_digest *d = weir_digest_new("md5");
	unsigned char md5[64];
	char hex[2 * WEIR_MD5_LEN + 1];

	for (uint32_t i = 0; i < ntags; i++) {
		if (!weir_s3_etag_is_md5(tags[i]) || weir_unhex(tags[i], 2 * WEIR_MD5_LEN, md5) < 0) {
			weir_digest_free(d);
			return NULL;
		}
		weir_digest_add(d, md5, WEIR_MD5_LEN);
	}
	weir_digest_end(d, md5);
	weir_hex(md5, WEIR_MD5_LEN, hex);
	return weir_xasprintf("%s-%" PRIu32, hex, ntags);
}

/* ---- the contract's hooks ---- */

enum weir_code
weir_s3_upload_begin(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, uint64_t size,
    const struct weir_meta *meta, char **id, struct weir_err *err)
{
	struct s3 *s = (struct s3 *)be;
	WEIR_AUTO(weir_freep) char *key = NULL;
	WEIR_AUTO(weir_s3_headers_free) struct s3_headers h = { 0 };
	enum weir_code r = weir_s3_key(s, w->path, false, &key, err);

	if (r != WEIR_OK)
		return r;
	weir_s3_meta_headers(s, &h, meta, false);
	return weir_s3_mp_begin(s, ctx, key, w->path, &h, id, err);
}

enum weir_code
weir_s3_upload_part(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, const char *id, uint32_t number,
    struct weir_source *src, uint64_t off, uint64_t len, uint64_t total, char **tag, struct weir_err *err)
{
	struct s3 *s = (struct s3 *)be;
	WEIR_AUTO(weir_freep) char *key = NULL;
	enum weir_code r = weir_s3_key(s, w->path, false, &key, err);

	return r != WEIR_OK ? r : weir_s3_mp_put_part(s, ctx, key, w->path, id, number, src, off, len, tag, err);
}

enum weir_code
weir_s3_upload_copy_part(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, const char *id,
    uint32_t number, const struct weir_where *src, uint64_t off, uint64_t len, char **tag, struct weir_err *err)
{
	struct s3 *s = (struct s3 *)be;
	WEIR_AUTO(weir_freep) char *key = NULL, *src_key = NULL, *made = NULL;
	enum weir_code r = weir_s3_key(s, w->path, false, &key, err);

	if (r == WEIR_OK)
		r = weir_s3_key(s, src->path, false, &src_key, err);
	if (r == WEIR_OK)
		r = weir_s3_mp_copy_part(s, ctx, key, w->path, id, number, src_key, src->version, off, len, &made, err);
	if (r == WEIR_OK)	/* the source's precondition may have been ignored */
		r = weir_s3_compare(s, ctx, src_key, src, err);
	if (r == WEIR_OK)
		*tag = WEIR_STEAL(made);
	return r;
}

/* One page of parts. */
static enum weir_code
upload_parts(struct s3 *s, const struct weir_ctx *ctx, const char *key, const char *path, const char *id, uint32_t marker,
    struct weir_s3_parts *parts, struct weir_err *err)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf query = WEIR_BUF(8u << 10);
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	struct s3_req q = { .method = "GET", .key = key };
	char before[64];
	enum weir_code r;

	snprintf(before, sizeof(before), "max-parts=1000&part-number-marker=%" PRIu32 "&", marker);
	upload_query(&query, before, id);
	q.query = weir_buf_str(&query);
	r = weir_s3_do(s, ctx, &q, &resp, "look for upload of", path, err);
	if (r != WEIR_OK)
		return r;
	if (weir_s3_parts_parse(weir_buf_str(&resp.body), resp.body.len, parts) < 0)
		return weir_err_set(err, WEIR_E_PROTO, "look for upload of '%s': the answer is not a list of parts", path);
	return WEIR_OK;
}

enum weir_code
weir_s3_upload_status(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, const char *id,
    enum weir_code (*fn)(void *arg, uint32_t number, uint64_t size, const char *tag), void *arg, struct weir_err *err)
{
	struct s3 *s = (struct s3 *)be;
	WEIR_AUTO(weir_freep) char *key = NULL;
	uint32_t marker = 0;
	bool is_more = true;
	enum weir_code r = weir_s3_key(s, w->path, false, &key, err);

	while (r == WEIR_OK && is_more) {
		struct weir_s3_parts parts = { 0 };

		r = upload_parts(s, ctx, key, w->path, id, marker, &parts, err);
		for (size_t i = 0; r == WEIR_OK && i < parts.n; i++)
			r = fn(arg, parts.v[i].number, parts.v[i].size, parts.v[i].etag);
		/* The marker must grow, or a confused server would keep us for ever. */
		is_more = parts.is_truncated && parts.next > marker;
		marker = parts.next;
		free(parts.v);
	}
	return r;
}

struct upload_commit {
	const char *key, *id;
	const struct weir_where *where;
	char *expected;			/* ETag to be; NULL: this endpoint's cannot be computed */
	uint64_t size;
};

static const char upload_any[] = "*";	/* compared by address: neither told nor computable */

/* Is what stands there now the upload? Then *st. */
static enum weir_code
upload_is_there(struct s3 *s, const struct weir_ctx *ctx, const struct upload_commit *c, const char *etag, struct weir_stat *st,
    struct weir_err *err)
{
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	WEIR_AUTO(weir_stat_free) struct weir_stat now = { 0 };
	enum weir_code r = weir_s3_head(s, ctx, c->key, c->where->path, &resp, &now, err);

	if (r != WEIR_OK)
		return r;
	if (now.version == NULL || etag == NULL || (etag != upload_any && strcmp(now.version, etag) != 0))
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' changed on the server meanwhile", c->where->path);
	if (now.size != c->size)
		return weir_err_set(err, WEIR_E_BADSUM, "upload of '%s' has %" PRIu64 " bytes on the server, not %" PRIu64, c->where->path,
		    now.size, c->size);
	*st = now;
	now = (struct weir_stat){ 0 };
	return WEIR_OK;
}

/* Complete was refused. An earlier try may have done it (its reply was lost); else an unknown upload is told as NOENT: Ceph 16 says
 * 500 InternalError for one that is gone. */
static enum weir_code
upload_refused(struct s3 *s, const struct weir_ctx *ctx, const struct upload_commit *c, enum weir_code why, struct weir_stat *st,
    struct weir_err *err)
{
	struct weir_s3_parts parts = { 0 };

	if (why != WEIR_E_NOENT && why != WEIR_E_CHANGED && why != WEIR_E_SERVER)
		return why;
	if (upload_is_there(s, ctx, c, c->expected, st, NULL) == WEIR_OK)
		return WEIR_OK;
	if (why == WEIR_E_SERVER && upload_parts(s, ctx, c->key, c->where->path, c->id, 0, &parts, NULL) == WEIR_E_NOENT)
		why = weir_err_set(err, WEIR_E_NOENT, "the server has forgotten the upload of '%s'", c->where->path);
	free(parts.v);
	return why;
}

static enum weir_code
upload_commit(struct s3 *s, const struct weir_ctx *ctx, const struct upload_commit *c, const char *const *tags, uint32_t ntags,
    struct weir_stat *st, struct weir_err *err)
{
	WEIR_AUTO(weir_s3_headers_free) struct s3_headers h = { 0 };
	WEIR_AUTO(weir_freep) char *etag = NULL;
	bool is_kept = true;
	enum weir_code r;

	weir_s3_header(&h, "Content-Type: application/xml");
	r = weir_s3_cas_headers(s, ctx, S3_CAS_COMMIT_CREATE, S3_CAS_COMMIT, c->key, c->where, &h, &is_kept, err);
	if (r == WEIR_OK)
		r = weir_s3_mp_complete(s, ctx, c->key, c->where->path, c->id, tags, ntags, &h, &etag, err);
	if (r != WEIR_OK)
		return upload_refused(s, ctx, c, r, st, err);
	/* Ceph 16 tells no ETag the first time. */
	return upload_is_there(s, ctx, c, etag[0] != '\0' ? etag : c->expected != NULL ? c->expected : upload_any, st, err);
}

enum weir_code
weir_s3_upload_commit(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, const char *id,
    const char *const *tags, uint32_t ntags, uint64_t size, const struct weir_meta *meta, const char *sum, struct weir_stat *st,
    struct weir_err *err)
{
	struct s3 *s = (struct s3 *)be;
	WEIR_AUTO(weir_freep) char *key = NULL, *expected = NULL;
	WEIR_AUTO(weir_stat_free) struct weir_stat done = { 0 };
	struct upload_commit c = { .id = id, .where = w, .size = size };
	enum weir_code r = weir_s3_key(s, w->path, false, &key, err);

	if (r != WEIR_OK)
		return r;
	expected = weir_s3_mp_etag(tags, ntags);
	c.key = key;
	c.expected = expected;
	r = upload_commit(s, ctx, &c, tags, ntags, &done, err);
	if (r == WEIR_OK && st != NULL) {
		*st = done;
		done = (struct weir_stat){ 0 };
	}
	return r;
}

enum weir_code
weir_s3_upload_abort(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, const char *id, struct weir_err *err)
{
	struct s3 *s = (struct s3 *)be;
	WEIR_AUTO(weir_freep) char *key = NULL;
	enum weir_code r = weir_s3_key(s, w->path, false, &key, err);

	return r != WEIR_OK ? r : weir_s3_mp_abort(s, ctx, key, w->path, id, err);
}
