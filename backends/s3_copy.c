/* SPDX-License-Identifier: Apache-2.0 */
/* Copies inside the bucket: copy, move (copy, verify, remove), set_meta (a copy onto itself). Objects beyond 5 GB go in parts.
 *
 * x-amz-copy-source-if-match is sent, and not trusted (Ceph RGW 16 copies whatever is there): the ETag of the copy tells what was
 * copied, since it is that of the content. Where it is another (a multipart object on AWS, encryption by KMS), the source is
 * looked at once more. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "s3_impl.h"

void
weir_s3_copy_source(struct s3 *s, struct s3_headers *h, const char *key, const char *version)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf enc = WEIR_BUF(8 * S3_KEY_MAX);

	weir_url_encode(&enc, key, strlen(key), "/");
	weir_s3_header(h, "x-amz-copy-source: /%s/%s", s->bucket, weir_buf_str(&enc));
	if (version != NULL && version != WEIR_ABSENT)
		weir_s3_header(h, "x-amz-copy-source-if-match: \"%s\"", version);
}

enum weir_code
weir_s3_copy_object(struct s3 *s, const struct weir_ctx *ctx, const char *from_key, const char *from_version, const char *to_key,
    const char *path, struct s3_headers *h, char **etag, struct weir_err *err)
{
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	const struct s3_req q = { .method = "PUT", .key = to_key, .headers = h, .has_body = true, .stall_ms = S3_THINK_MS };
	struct weir_s3_answer a;
	enum weir_code r;

	weir_s3_copy_source(s, h, from_key, from_version);
	r = weir_s3_do(s, ctx, &q, &resp, "copy", path, err);
	if (r != WEIR_OK)
		return r;
	if (weir_s3_answer_parse(weir_buf_str(&resp.body), resp.body.len, &a) < 0 || strcmp(a.root, "CopyObjectResult") != 0)
		return weir_s3_fail(s, &resp, "copy", path, err);
	*etag = weir_xstrdup(a.etag);
	return WEIR_OK;
}

struct copy {
	const struct weir_where *from, *to;
	char *from_key, *to_key;
	struct weir_http_resp head;	/* of the source, when is_headed */
	struct weir_stat source;
	bool is_headed;
	char *etag;			/* of the result */
};

static void
copy_free(struct copy *c)
{
	free(c->from_key);
	free(c->to_key);
	free(c->etag);
	weir_http_resp_free(&c->head);
	weir_stat_free(&c->source);
}

static bool
copy_is_multipart(const char *version)
{
	return version != NULL && version != WEIR_ABSENT && strchr(version, '-') != NULL;
}

/* Is the source (headed) what from->version names? */
static enum weir_code
copy_head(struct s3 *s, const struct weir_ctx *ctx, struct copy *c, struct weir_err *err)
{
	const char *version = c->from->version;
	enum weir_code r = weir_s3_head(s, ctx, c->from_key, c->from->path, &c->head, &c->source, err);

	c->is_headed = r == WEIR_OK;
	if (r == WEIR_OK && version != NULL && version != WEIR_ABSENT &&
	    (c->source.version == NULL || strcmp(c->source.version, version) != 0))
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' has another version", c->from->path);
	return r;
}

static uint64_t
copy_part_size(uint64_t size)
{
	const uint64_t mib = 1u << 20;
	uint64_t part = (size / S3_PARTS_MAX + mib) / mib * mib;

	return part > S3_COPY_PART ? part : S3_COPY_PART;
}

/* All parts, one after the other: the server does the work, and it is rare. */
static enum weir_code
copy_parts(struct s3 *s, const struct weir_ctx *ctx, struct copy *c, const char *id, char **tags, uint32_t *ntags, struct weir_err *err)
{
	uint64_t part = copy_part_size(c->source.size);
	enum weir_code r = WEIR_OK;

	for (uint64_t off = 0; r == WEIR_OK && off < c->source.size; off += part) {
		uint64_t len = c->source.size - off < part ? c->source.size - off : part;

		r = weir_s3_mp_copy_part(s, ctx, c->to_key, c->to->path, id, *ntags + 1, c->from_key, c->source.version, off, len,
		    &tags[*ntags], err);
		if (r == WEIR_OK)
			++*ntags;
	}
	return r;
}

static enum weir_code
copy_large(struct s3 *s, const struct weir_ctx *ctx, struct copy *c, struct s3_headers *conditions, const struct weir_meta *meta,
    struct weir_err *err)
{
	WEIR_AUTO(weir_s3_headers_free) struct s3_headers h = { 0 };
	WEIR_AUTO(weir_freep) char *id = NULL;
	const struct weir_where source = { .path = c->from->path, .version = c->source.version };
	char **tags = weir_xcalloc(S3_PARTS_MAX + 1, sizeof(*tags));
	uint32_t ntags = 0;
	enum weir_code r;

	weir_s3_meta_resend(s, &c->head, meta, &h, false);
	weir_s3_header(&h, S3_META_SOURCE ": %s", c->source.version);
	r = weir_s3_mp_begin(s, ctx, c->to_key, c->to->path, &h, &id, err);
	if (r == WEIR_OK)
		r = copy_parts(s, ctx, c, id, tags, &ntags, err);
	if (r == WEIR_OK)
		r = weir_s3_compare(s, ctx, c->from_key, &source, err);
	if (r == WEIR_OK)
		r = weir_s3_mp_complete(s, ctx, c->to_key, c->to->path, id, (const char *const *)tags, ntags, conditions, &c->etag, err);
	if (r != WEIR_OK && id != NULL)
		weir_s3_mp_abort(s, ctx, c->to_key, c->to->path, id, NULL);
	for (uint32_t i = 0; i < ntags; i++)
		free(tags[i]);
	free(tags);
	return r;
}

static enum weir_code
copy_small(struct s3 *s, const struct weir_ctx *ctx, struct copy *c, struct s3_headers *h, const struct weir_meta *meta, struct weir_err *err)
{
	if (c->is_headed) {
		weir_s3_header(h, "x-amz-metadata-directive: REPLACE");
		weir_s3_meta_resend(s, &c->head, meta, h, false);
		if (copy_is_multipart(c->source.version))
			weir_s3_header(h, S3_META_SOURCE ": %s", c->source.version);
	}
	return weir_s3_copy_object(s, ctx, c->from_key, c->from->version, c->to_key, c->to->path, h, &c->etag, err);
}

/* Is what stands at `to` this very copy, made by an earlier try whose reply was lost? */
static bool
copy_is_done(struct s3 *s, const struct weir_ctx *ctx, struct copy *c)
{
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 };
	const char *want = c->from->version;
	char source[160] = "";

	if (want == NULL || want == WEIR_ABSENT || weir_s3_head(s, ctx, c->to_key, c->to->path, &resp, &st, NULL) != WEIR_OK ||
	    st.version == NULL)
		return false;
	weir_http_header(&resp, S3_META_SOURCE, source, sizeof(source));
	if (strcmp(st.version, want) != 0 && strcmp(source, want) != 0)
		return false;
	free(c->etag);
	c->etag = WEIR_STEAL(st.version);
	return true;
}

/* The copy has another ETag than its source: fine if the source is still the version it was. */
static enum weir_code
copy_verify(struct s3 *s, const struct weir_ctx *ctx, struct copy *c, struct weir_err *err)
{
	const char *version = c->from->version;
	enum weir_code r;

	if (version == NULL || version == WEIR_ABSENT || strcmp(c->etag, version) == 0)
		return WEIR_OK;
	r = weir_s3_compare(s, ctx, c->from_key, c->from, err);
	if (r == WEIR_E_CHANGED && c->to->version == WEIR_ABSENT) {
		const struct weir_where made = { .path = c->to->path, .version = c->etag };

		weir_s3_remove(&s->be, ctx, &made, false, NULL);
	}
	return r;
}

static enum weir_code
copy_prepare(struct s3 *s, struct copy *c, struct weir_err *err)
{
	enum weir_code r = weir_s3_key(s, c->from->path, false, &c->from_key, err);

	if (r == WEIR_OK)
		r = weir_s3_key(s, c->to->path, false, &c->to_key, err);
	if (r == WEIR_OK && (c->from->path[0] == '\0' || c->to->path[0] == '\0'))
		return weir_err_set(err, WEIR_E_ISDIR, "the root is a directory");
	return r;
}

/* From keys to c->etag. A plain MD5 as version says that the object came in one PUT, so it is below 5 GB and needs no HEAD. */
static enum weir_code
copy_run(struct s3 *s, const struct weir_ctx *ctx, struct copy *c, struct weir_err *err)
{
	WEIR_AUTO(weir_s3_headers_free) struct s3_headers h = { 0 };
	const char *version = c->from->version;
	bool is_kept, is_large;
	enum weir_code r = WEIR_OK;

	if (version == NULL || copy_is_multipart(version))
		r = copy_head(s, ctx, c, err);
	is_large = c->is_headed && c->source.size > S3_COPY_MAX;
	if (r == WEIR_OK)
		r = weir_s3_cas_headers(s, ctx, is_large ? S3_CAS_COMMIT_CREATE : S3_CAS_COPY_CREATE, is_large ? S3_CAS_COMMIT : S3_CAS_COPY,
		    c->to_key, c->to, &h, &is_kept, err);
	if (r == WEIR_OK)
		r = is_large ? copy_large(s, ctx, c, &h, NULL, err) : copy_small(s, ctx, c, &h, NULL, err);
	if ((r == WEIR_E_CHANGED || r == WEIR_E_NOENT) && copy_is_done(s, ctx, c))
		return WEIR_OK;
	return r == WEIR_OK ? copy_verify(s, ctx, c, err) : r;
}

static void
copy_stat(struct copy *c, struct weir_stat *st)
{
	if (st == NULL)
		return;
	*st = (struct weir_stat){ .type = WEIR_FILE, .size = WEIR_SIZE_NONE, .mtime_ns = WEIR_TIME_NONE, .mode = WEIR_MODE_NONE };
	if (c->is_headed) {
		st->size = c->source.size;
		st->mtime_ns = c->source.mtime_ns;
		st->mode = c->source.mode;
	}
	st->version = c->etag[0] != '\0' ? WEIR_STEAL(c->etag) : NULL;
}

enum weir_code
weir_s3_copy(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *from, const struct weir_where *to,
    struct weir_stat *st, struct weir_err *err)
{
	struct s3 *s = (struct s3 *)be;
	WEIR_AUTO(copy_free) struct copy c = { .from = from, .to = to };
	enum weir_code r = copy_prepare(s, &c, err);

	if (r == WEIR_OK)
		r = copy_run(s, ctx, &c, err);
	if (r == WEIR_OK)
		copy_stat(&c, st);
	return r;
}

enum weir_code
weir_s3_move(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *from, const struct weir_where *to, bool is_dir,
    struct weir_stat *st, struct weir_err *err)
{
	struct s3 *s = (struct s3 *)be;
	WEIR_AUTO(copy_free) struct copy c = { .from = from, .to = to };
	enum weir_code r;

	if (is_dir)
		return weir_err_set(err, WEIR_E_NOTSUP, "S3 cannot move a directory in one step");
	r = copy_prepare(s, &c, err);
	if (r == WEIR_OK)
		r = copy_run(s, ctx, &c, err);
	if (r != WEIR_OK)
		return r;
	if (strcmp(c.from_key, c.to_key) != 0)
		r = weir_s3_remove(be, ctx, from, false, err);
	if (r == WEIR_E_NOENT)
		r = WEIR_OK;	/* an earlier try went so far */
	if (r == WEIR_E_CHANGED && to->version == WEIR_ABSENT) {
		const struct weir_where made = { .path = to->path, .version = c.etag };

		weir_s3_remove(be, ctx, &made, false, NULL);
	}
	if (r == WEIR_OK)
		copy_stat(&c, st);
	return r;
}

/* ---- set_meta ---- */

/* A directory has times and modes in its marker, which is made for it where there is none. */
static enum weir_code
copy_set_dir(struct s3 *s, const struct weir_ctx *ctx, const struct weir_where *w, const struct weir_meta *meta, struct weir_stat *st,
    struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *key = NULL;
	WEIR_AUTO(weir_s3_headers_free) struct s3_headers h = { 0 };
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp head = { 0 }, put = { 0 };
	struct weir_stat now = { 0 };
	enum weir_code r = weir_s3_key(s, w->path, true, &key, err);

	if (r == WEIR_OK && w->path[0] == '\0')
		return weir_err_set(err, WEIR_E_NOTSUP, "the root of a bucket keeps no times");
	if (r == WEIR_OK)
		r = weir_s3_head(s, ctx, key, w->path, &head, &now, err);
	weir_stat_free(&now);
	if (r == WEIR_OK)
		weir_s3_meta_resend(s, &head, meta, &h, true);
	else if (r == WEIR_E_NOENT)
		weir_s3_meta_headers(s, &h, meta, true);
	else
		return r;
	r = weir_s3_put_bytes(s, ctx, key, w->path, &h, "", &put, err);
	if (r == WEIR_OK && st != NULL)
		*st = (struct weir_stat){ .type = WEIR_DIR, .mtime_ns = meta->mtime_ns, .mode = meta->mode };
	return r;
}

enum weir_code
weir_s3_set_meta(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, bool is_dir, const struct weir_meta *meta,
    struct weir_stat *st, struct weir_err *err)
{
	struct s3 *s = (struct s3 *)be;
	WEIR_AUTO(copy_free) struct copy c = { .from = w, .to = w };
	WEIR_AUTO(weir_s3_headers_free) struct s3_headers h = { 0 };
	enum weir_code r;

	if (is_dir)
		return copy_set_dir(s, ctx, w, meta, st, err);
	r = copy_prepare(s, &c, err);
	if (r == WEIR_OK)
		r = copy_head(s, ctx, &c, err);
	if (r == WEIR_OK)
		r = c.source.size > S3_COPY_MAX ? copy_large(s, ctx, &c, &h, meta, err) : copy_small(s, ctx, &c, &h, meta, err);
	if (r != WEIR_OK)
		return r;
	/* A PUT that came between HEAD and copy shows in the ETag. */
	if (c.source.sum != NULL && c.etag[0] != '\0' && strcmp(c.etag, c.source.version) != 0)
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' changed on the server meanwhile", w->path);
	copy_stat(&c, st);
	if (st != NULL && meta->mtime_ns != WEIR_TIME_NONE)
		st->mtime_ns = meta->mtime_ns;
	if (st != NULL && meta->mode != WEIR_MODE_NONE)
		st->mode = meta->mode;
	return WEIR_OK;
}
