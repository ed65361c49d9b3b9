/* SPDX-License-Identifier: Apache-2.0 */
/* Which preconditions this endpoint really keeps, found out at the first operation that needs one, with objects named
 * .weir-check-RANDOM. Endpoints differ by operation and by spelling (Ceph RGW 16: PUT wants the ETag of If-Match without quotes;
 * CompleteMultipartUpload, CopyObject and DELETE ignore conditions), and what is ignored silently overwrites.
 *
 * A precondition counts as kept when a wrong one was refused and the right one was not. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "s3_impl.h"

#define CAS_BODY "weir asks this server which preconditions it keeps\n"
#define CAS_TRIES 3		/* more, of check(); 0.1, 0.2, 0.4 s apart */
#define CAS_NAME ".weir-check-"
#define CAS_OTHER "-2"		/* the end of the second scratch key */
#define CAS_RANDOM 16u
#define CAS_OLD_NS (3600 * 1000000000ll)
#define CAS_WRONG "00000000000000000000000000000000"

struct cas {
	struct s3 *s;
	const struct weir_ctx *ctx;
	char *key, *other;		/* two scratch keys */
	char *upload;			/* of a multipart upload onto key; NULL: none open */
	char *tag[2];			/* of its one part; the second is NULL */
	char etag[160];			/* of what is at key */
	struct weir_err *err;
};

/* An attempt under one condition ("If-Match: x"). *status as the server said; an error only where repeating may help. */
typedef enum weir_code cas_fn(struct cas *, const char *condition, int *status);

static enum weir_code
cas_call(struct cas *c, const char *method, const char *key, const char *query, const char *body, struct s3_headers *h, int *status,
    struct weir_http_resp *resp)
{
	const struct s3_req q = { .method = method, .key = key, .query = query, .headers = h, .body = body,
		.body_len = body == NULL ? 0 : strlen(body), .has_body = method[0] == 'P', .stall_ms = S3_THINK_MS };
	enum weir_code r = weir_s3_call(c->s, c->ctx, &q, resp, c->err);

	if (r != WEIR_OK)
		return r;
	*status = resp->status;
	if (resp->status < 300 || resp->status == 412 || resp->status == 501)
		return WEIR_OK;
	r = weir_s3_fail(c->s, resp, "ask for preconditions with", key, c->err);
	return weir_code_retry(r) ? r : WEIR_OK;	/* what may pass says nothing about preconditions */
}

static bool
cas_is_ok(int status)
{
	return status >= 200 && status < 300;
}

static bool
cas_is_refused(int status)
{
	return status == 412 || status == 409;	/* Alibaba: 409 FileAlreadyExists */
}

static enum weir_code
cas_put(struct cas *c, const char *key, const char *condition, int *status)
{
	WEIR_AUTO(weir_s3_headers_free) struct s3_headers h = { 0 };
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	char etag[160] = "";
	enum weir_code r;

	if (condition != NULL)
		weir_s3_header(&h, "%s", condition);
	weir_s3_meta_headers(c->s, &h, NULL, false);
	r = cas_call(c, "PUT", key, NULL, CAS_BODY, &h, status, &resp);
	if (r == WEIR_OK && cas_is_ok(*status) && weir_http_header(&resp, "ETag", etag, sizeof(etag)) != NULL) {
		WEIR_AUTO(weir_freep) char *clean = weir_s3_etag_clean(etag);

		snprintf(c->etag, sizeof(c->etag), "%s", clean);
	}
	return r;
}

static enum weir_code
cas_put_on_key(struct cas *c, const char *condition, int *status)
{
	return cas_put(c, c->key, condition, status);
}

static enum weir_code
cas_copy_onto_key(struct cas *c, const char *condition, int *status)
{
	WEIR_AUTO(weir_s3_headers_free) struct s3_headers h = { 0 };
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };

	weir_s3_header(&h, "%s", condition);
	weir_s3_copy_source(c->s, &h, c->other, NULL);
	return cas_call(c, "PUT", c->key, NULL, NULL, &h, status, &resp);
}

static enum weir_code
cas_delete_key(struct cas *c, const char *condition, int *status)
{
	WEIR_AUTO(weir_s3_headers_free) struct s3_headers h = { 0 };
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };

	weir_s3_header(&h, "%s", condition);
	return cas_call(c, "DELETE", c->key, NULL, NULL, &h, status, &resp);
}

static ssize_t
cas_read(struct weir_source *src, void *buf, size_t len, uint64_t off)
{
	const size_t all = sizeof(CAS_BODY) - 1;

	if (off >= all)
		return 0;
	len = len < all - off ? len : (size_t)(all - off);
	memcpy(buf, &CAS_BODY[off], len);
	return (ssize_t)len;
}

/* Complete an upload onto key under a condition; a refused one leaves the upload open for the next. */
static enum weir_code
cas_commit_onto_key(struct cas *c, const char *condition, int *status)
{
	WEIR_AUTO(weir_s3_headers_free) struct s3_headers h = { 0 }, begin = { 0 };
	WEIR_AUTO(weir_freep) char *etag = NULL;
	struct weir_source src = { cas_read };
	struct weir_err local = { 0 };
	enum weir_code r = WEIR_OK;

	if (c->upload == NULL) {
		weir_s3_meta_headers(c->s, &begin, NULL, false);
		r = weir_s3_mp_begin(c->s, c->ctx, c->key, c->key, &begin, &c->upload, c->err);
		if (r == WEIR_OK)
			r = weir_s3_mp_put_part(c->s, c->ctx, c->key, c->key, c->upload, 1, &src, 0, sizeof(CAS_BODY) - 1, &c->tag[0], c->err);
		if (r != WEIR_OK)
			return r;
	}
	weir_s3_header(&h, "%s", condition);
	r = weir_s3_mp_complete(c->s, c->ctx, c->key, c->key, c->upload, (const char *const *)c->tag, 1, &h, &etag, &local);
	*status = r == WEIR_OK ? 200 : r == WEIR_E_CHANGED || r == WEIR_E_EXIST ? 412 : 400;
	if (r != WEIR_OK && weir_code_retry(r)) {
		if (c->err != NULL)
			*c->err = local;
		return r;
	}
	if (r == WEIR_OK) {
		WEIR_AUTO(weir_freep) char *made = weir_s3_mp_etag((const char *const *)c->tag, 1);

		snprintf(c->etag, sizeof(c->etag), "%s", etag[0] != '\0' || made == NULL ? etag : made);
		free(WEIR_STEAL(c->upload));
		free(WEIR_STEAL(c->tag[0]));
	}
	return WEIR_OK;
}

/* One If-Match, quoted or not, with the right ETag or a wrong one. */
static enum weir_code
cas_try(struct cas *c, cas_fn *fn, const char *etag, bool is_bare, int *status)
{
	WEIR_AUTO(weir_freep) char *condition = weir_xasprintf(is_bare ? "If-Match: %s" : "If-Match: \"%s\"", etag);

	return fn(c, condition, status);
}

/* The wrong one first, so that what fn changes (a removed key) does not spoil the next question. */
static enum weir_code
cas_match(struct cas *c, cas_fn *fn, enum s3_keeps *out)
{
	*out = S3_IGNORES;
	for (int is_bare = 0; is_bare <= 1; is_bare++) {
		int wrong = 0, right = 0;
		enum weir_code r = cas_try(c, fn, CAS_WRONG, is_bare, &wrong);

		if (r != WEIR_OK || !cas_is_refused(wrong))
			return r;
		r = cas_try(c, fn, c->etag, is_bare, &right);
		if (r != WEIR_OK)
			return r;
		if (cas_is_ok(right)) {
			*out = is_bare ? S3_KEEPS_BARE : S3_KEEPS;
			return WEIR_OK;
		}
	}
	return WEIR_OK;
}

/* "Only if nothing is there", on a key where something is. */
static enum weir_code
cas_create(struct cas *c, cas_fn *fn, enum s3_keeps *out)
{
	int status = 0;
	enum weir_code r = fn(c, "If-None-Match: *", &status);

	*out = cas_is_refused(status) ? S3_KEEPS : S3_IGNORES;
	return r;
}

static enum weir_code
cas_ask_put(struct cas *c, enum s3_keeps *create, enum s3_keeps *match)
{
	int status = 0;
	enum weir_code r = cas_put(c, c->key, "If-None-Match: *", &status);

	*create = *match = S3_IGNORES;
	if (r != WEIR_OK)
		return r;
	if (!cas_is_ok(status)) {	/* refused where nothing is (501, 400): not usable; is the other? */
		r = cas_put(c, c->key, NULL, &status);
	} else {
		r = cas_create(c, cas_put_on_key, create);
	}
	return r == WEIR_OK && cas_is_ok(status) ? cas_match(c, cas_put_on_key, match) : r;
}

/* The others need something at key first. Where that is refused (read only), nothing is known to be kept. */
static enum weir_code
cas_ask(struct cas *c, enum s3_cas_op op, enum s3_keeps *create, enum s3_keeps *match)
{
	cas_fn *fn = op == S3_CAS_DELETE ? cas_delete_key :
	    op == S3_CAS_COPY || op == S3_CAS_COPY_CREATE ? cas_copy_onto_key : cas_commit_onto_key;
	int status = 0;
	enum weir_code r = cas_put(c, c->key, NULL, &status);

	*create = *match = S3_IGNORES;
	if (r == WEIR_OK && cas_is_ok(status) && fn == cas_copy_onto_key)
		r = cas_put(c, c->other, NULL, &status);
	if (r != WEIR_OK || !cas_is_ok(status))
		return r;
	if (fn != cas_delete_key)
		r = cas_create(c, fn, create);
	return r == WEIR_OK ? cas_match(c, fn, match) : r;
}

static void
cas_delete(struct s3 *s, const struct weir_ctx *ctx, const char *key)
{
	const struct s3_req q = { .method = "DELETE", .key = key };
	struct weir_http_resp resp = { 0 };

	for (int i = 0; i < CAS_TRIES && weir_code_retry(weir_s3_do(s, ctx, &q, &resp, "remove", key, NULL)); i++)
		;
	weir_http_resp_free(&resp);
}

bool
weir_s3_cas_is_scratch(const char *name)
{
	size_t n = strlen(CAS_NAME);

	return strncmp(name, CAS_NAME, n) == 0 && strspn(name + n, "0123456789abcdef") == CAS_RANDOM &&
	    (name[n + CAS_RANDOM] == '\0' || strcmp(name + n + CAS_RANDOM, CAS_OTHER) == 0);
}

/* Scratch objects of a weir that was killed, or that had no answer to their removal. Young ones are somebody's who asks right now. */
static void
cas_sweep(struct s3 *s, const struct weir_ctx *ctx)
{
	WEIR_AUTO(weir_freep) char *prefix = weir_xasprintf("%s" CAS_NAME, s->prefix);
	char *keys[32];
	size_t n = 0;

	if (weir_s3_peek_old(s, ctx, prefix, weir_wall_ns() - CAS_OLD_NS, keys, WEIR_LEN(keys), &n, NULL) == WEIR_OK)
		s->is_swept = true;
	for (size_t i = 0; i < n; i++) {
		if (weir_s3_cas_is_scratch(keys[i] + strlen(s->prefix)))
			cas_delete(s, ctx, keys[i]);
		free(keys[i]);
	}
}

static void
cas_clean(struct cas *c)
{
	if (c->upload != NULL)
		weir_s3_mp_abort(c->s, c->ctx, c->key, c->key, c->upload, NULL);
	cas_delete(c->s, c->ctx, c->key);
	cas_delete(c->s, c->ctx, c->other);
	free(c->key);
	free(c->other);
	free(c->upload);
	free(c->tag[0]);
}

static enum s3_keeps *
cas_slot(struct s3 *s, enum s3_cas_op op)
{
	switch (op) {
	case S3_CAS_CREATE:
		return &s->cas_create;
	case S3_CAS_PUT:
		return &s->cas_put;
	case S3_CAS_COMMIT_CREATE:
		return &s->cas_commit_create;
	case S3_CAS_COMMIT:
		return &s->cas_commit;
	case S3_CAS_COPY_CREATE:
		return &s->cas_copy_create;
	case S3_CAS_COPY:
		return &s->cas_copy;
	case S3_CAS_DELETE:
		break;
	}
	return &s->cas_delete;
}

static void
cas_caps(struct s3 *s)
{
	unsigned caps = 0;

	if (s->cas_create >= S3_KEEPS)
		caps |= WEIR_CAP_CAS_CREATE;
	if (s->cas_put >= S3_KEEPS)
		caps |= WEIR_CAP_CAS_PUT;
	if (s->cas_commit >= S3_KEEPS && s->cas_commit_create >= S3_KEEPS)
		caps |= WEIR_CAP_CAS_COMMIT;
	if (s->cas_copy >= S3_KEEPS && s->cas_copy_create >= S3_KEEPS)
		caps |= WEIR_CAP_CAS_COPY;
	if (s->cas_delete >= S3_KEEPS)
		caps |= WEIR_CAP_CAS_DELETE;
	atomic_fetch_or(&s->be.caps, caps);
}

/* Both questions of the operation that op belongs to; called with cas_lock held. */
static enum weir_code
cas_find_out(struct s3 *s, const struct weir_ctx *ctx, enum s3_cas_op op, struct weir_err *err)
{
	char random[CAS_RANDOM + 1];
	struct cas c = { .s = s, .ctx = ctx, .err = err };
	enum s3_keeps create = S3_UNKNOWN, match = S3_UNKNOWN;
	enum weir_code r;

	if (!s->is_swept)
		cas_sweep(s, ctx);
	weir_random_hex(random, CAS_RANDOM);
	c.key = weir_xasprintf("%s" CAS_NAME "%s", s->prefix, random);
	c.other = weir_xasprintf("%s" CAS_NAME "%s" CAS_OTHER, s->prefix, random);
	if (op == S3_CAS_CREATE || op == S3_CAS_PUT)
		r = cas_ask_put(&c, &create, &match);
	else
		r = cas_ask(&c, op, &create, &match);
	cas_clean(&c);
	if (r != WEIR_OK && weir_code_retry(r))
		return r;
	if (r == WEIR_E_CANCELED || r == WEIR_E_TLS || r == WEIR_E_AUTH || r == WEIR_E_NOBUCKET)
		return r;
	/* Anything else (a policy that forbids these names) will not change while we are mounted. */
	if (op == S3_CAS_CREATE || op == S3_CAS_PUT) {
		s->cas_create = create;
		s->cas_put = match;
	} else if (op == S3_CAS_COMMIT || op == S3_CAS_COMMIT_CREATE) {
		s->cas_commit_create = create;
		s->cas_commit = match;
	} else if (op == S3_CAS_COPY || op == S3_CAS_COPY_CREATE) {
		s->cas_copy_create = create;
		s->cas_copy = match;
	} else {
		s->cas_delete = match;
	}
	cas_caps(s);
	return WEIR_OK;
}

enum weir_code
weir_s3_cas(struct s3 *s, const struct weir_ctx *ctx, enum s3_cas_op op, enum s3_keeps *out, struct weir_err *err)
{
	enum weir_code r = WEIR_OK;

	pthread_mutex_lock(&s->cas_lock);
	if (*cas_slot(s, op) == S3_UNKNOWN)
		r = cas_find_out(s, ctx, op, err);
	*out = *cas_slot(s, op);
	pthread_mutex_unlock(&s->cas_lock);
	return r;
}

enum weir_code
weir_s3_cas_headers(struct s3 *s, const struct weir_ctx *ctx, enum s3_cas_op create, enum s3_cas_op match, const char *key,
    const struct weir_where *w, struct s3_headers *h, bool *is_kept, struct weir_err *err)
{
	bool is_create = w->version == WEIR_ABSENT;
	enum s3_keeps keeps;
	enum weir_code r;

	*is_kept = true;
	if (w->version == NULL)
		return WEIR_OK;
	r = weir_s3_cas(s, ctx, is_create ? create : match, &keeps, err);
	if (r != WEIR_OK)
		return r;
	if (keeps == S3_IGNORES) {
		*is_kept = false;
		return weir_s3_compare(s, ctx, key, w, err);
	}
	if (is_create)
		weir_s3_header(h, "If-None-Match: *");
	else
		weir_s3_header(h, keeps == S3_KEEPS_BARE ? "If-Match: %s" : "If-Match: \"%s\"", w->version);
	return WEIR_OK;
}

/* ---- weir check ---- */

static const char *
cas_words(enum s3_keeps k)
{
	return k == S3_KEEPS ? "kept" : k == S3_KEEPS_BARE ? "kept (ETag without quotes)" : "ignored";
}

struct cas_report { void (*line)(void *, const char *); void *arg; };

static void
cas_line(const struct cas_report *out, const char *fmt, ...)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf b = WEIR_BUF(2048);
	va_list ap;

	va_start(ap, fmt);
	weir_buf_vaddf(&b, fmt, ap);
	va_end(ap);
	out->line(out->arg, weir_buf_str(&b));
}

/* How long is the time between looking and writing? One round trip, measured. */
static enum weir_code
cas_window(struct s3 *s, const struct weir_ctx *ctx, const struct cas_report *out, struct weir_err *err)
{
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	const struct s3_req q = { .method = "HEAD", .key = NULL };
	int64_t start = weir_now_us();
	enum weir_code r = weir_s3_call(s, ctx, &q, &resp, err);

	if (r == WEIR_OK)
		cas_line(out, "where a precondition is ignored, versions are compared right before: a change by somebody else within "
		    "about %.1f ms of ours is not noticed", (double)(weir_now_us() - start) / 1000);
	return r;
}

static void
cas_report(struct s3 *s, const struct cas_report *out)
{
	cas_line(out, "conditional writes: create %s, replace %s", cas_words(s->cas_create), cas_words(s->cas_put));
	cas_line(out, "conditional multipart uploads (files above %" PRIu64 " MiB): create %s, replace %s", (uint64_t)S3_PUT_MAX >> 20,
	    cas_words(s->cas_commit_create), cas_words(s->cas_commit));
	cas_line(out, "conditional copies and renames: create %s, replace %s", cas_words(s->cas_copy_create), cas_words(s->cas_copy));
	cas_line(out, "conditional removal: %s", cas_words(s->cas_delete));
}

/* The retry layer repeats no check, since its lines would come twice. */
static enum weir_code
cas_patiently(struct s3 *s, const struct weir_ctx *ctx, enum s3_cas_op op, enum s3_keeps *keeps, struct weir_err *err)
{
	enum weir_code r = weir_s3_cas(s, ctx, op, keeps, err);

	for (int i = 0; i < CAS_TRIES && r != WEIR_OK && weir_code_retry(r); i++) {
		const struct timespec pause = { .tv_nsec = 100000000L << i };

		nanosleep(&pause, NULL);
		r = weir_s3_cas(s, ctx, op, keeps, err);
	}
	return r;
}

enum weir_code
weir_s3_check(struct weir_backend *be, const struct weir_ctx *ctx, void (*line)(void *, const char *), void *arg, struct weir_err *err)
{
	static const enum s3_cas_op ops[] = { S3_CAS_PUT, S3_CAS_COMMIT, S3_CAS_COPY, S3_CAS_DELETE };
	struct s3 *s = (struct s3 *)be;
	const struct cas_report out = { line, arg };
	char region[sizeof(s->region)];
	bool is_all = true, is_v1;

	pthread_mutex_lock(&s->lock);
	memcpy(region, s->region, sizeof(region));
	is_v1 = s->is_list_v1;
	pthread_mutex_unlock(&s->lock);

	cas_line(&out, "bucket '%s' in region %s, %s style, %s, listing with version %d", s->bucket, region,
	    s->is_path_style ? "path" : "virtual-host", s->is_anonymous ? "anonymous" : s->cred_profile != NULL ? "keys of a profile" : "keys",
	    is_v1 ? 1 : 2);
	if (s->is_anonymous)
		return WEIR_OK;
	for (size_t i = 0; i < WEIR_LEN(ops); i++) {
		enum s3_keeps keeps;
		enum weir_code r = cas_patiently(s, ctx, ops[i], &keeps, err);

		if (r != WEIR_OK)
			return r;
		is_all &= keeps != S3_IGNORES;
	}
	cas_report(s, &out);
	is_all &= s->cas_create != S3_IGNORES && s->cas_commit_create != S3_IGNORES && s->cas_copy_create != S3_IGNORES;
	return is_all ? WEIR_OK : cas_window(s, ctx, &out, err);
}
