/* SPDX-License-Identifier: Apache-2.0 */
/* One signed request and its answer: addresses, headers, what can be learnt from a refusal (region, clock, fresh
 * credentials), and what a refusal means to the core. Knows nothing of objects. */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "s3_impl.h"

#define CALL_URL_MAX (16u << 10)
#define CALL_SKEW_S 300		/* a refusal by a server whose clock differs so much may be because of it; S3 allows 900 */

void
weir_s3_header(struct s3_headers *h, const char *fmt, ...)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf b = WEIR_BUF(16u << 10);
	va_list ap;

	if (h->n + 1 >= WEIR_LEN(h->v))
		return;
	va_start(ap, fmt);
	weir_buf_vaddf(&b, fmt, ap);
	va_end(ap);
	h->v[h->n++] = weir_buf_take(&b);
}

void
weir_s3_headers_free(struct s3_headers *h)
{
	for (size_t i = 0; i < h->n; i++)
		free(h->v[i]);
	*h = (struct s3_headers){ 0 };
}

enum weir_code
weir_s3_key(struct s3 *s, const char *path, bool is_dir, char **key, struct weir_err *err)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf b = WEIR_BUF(8 * S3_KEY_MAX);
	enum weir_code r;

	weir_buf_adds(&b, s->prefix);
	r = weir_s3_key_of_path(&b, path, err);
	if (r != WEIR_OK)
		return r;
	if (is_dir && path[0] != '\0')
		weir_buf_addc(&b, '/');
	if (b.len > S3_KEY_MAX)
		return weir_err_set(err, WEIR_E_NAMETOOLONG, "the key of '%.64s…' is longer than %d bytes", path, S3_KEY_MAX);
	*key = weir_buf_take(&b);
	return WEIR_OK;
}

/* Path as on the wire: "/bucket/key" or "/key". */
static void
call_path(struct s3 *s, const char *key, struct weir_buf *out)
{
	weir_buf_adds(out, s->base);
	if (s->is_path_style)
		weir_buf_addf(out, "/%s", s->bucket);
	if (key != NULL || !s->is_path_style)
		weir_buf_addc(out, '/');
	if (key != NULL)
		weir_url_encode(out, key, strlen(key), "/");
}

static char *
call_host(struct s3 *s, const char *region)
{
	char *host = s->host != NULL ? weir_xstrdup(s->host) :
	    weir_xasprintf("s3.%s.amazonaws.com%s", region, strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
	char *full;

	if (s->is_path_style)
		return host;
	full = weir_xasprintf("%s.%s", s->bucket, host);
	free(host);
	return full;
}

/* x-amz-date, payload hash, token and Authorization. all: room for what is there, these, and NULL. */
static enum weir_code
call_sign(struct s3 *s, const struct s3_req *q, const char *path, const char *host, const char *region, time_t when,
    struct s3_headers *own, struct weir_err *err)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf auth = WEIR_BUF(8u << 10);
	WEIR_AUTO(weir_s3_creds_free) struct weir_s3_creds creds = { 0 };
	WEIR_AUTO(weir_freep) char *host_line = weir_xasprintf("Host: %s", host);
	const char *all[WEIR_LEN(own->v) * 2 + 1];
	char date[17], hash[2 * WEIR_SHA256_LEN + 1];
	struct weir_s3_sign sign = { q->method, path, q->query == NULL ? "" : q->query, all, 0, hash, region, when };
	unsigned char raw[WEIR_SHA256_LEN];

	pthread_mutex_lock(&s->lock);
	weir_s3_creds_copy(&creds, &s->creds);
	pthread_mutex_unlock(&s->lock);
	weir_s3_date(when, date);
	if (q->source != NULL) {
		snprintf(hash, sizeof(hash), "%s", WEIR_S3_UNSIGNED);
	} else {
		weir_sha256(q->body == NULL ? "" : q->body, q->body_len, raw);
		weir_hex(raw, sizeof(raw), hash);
	}
	weir_s3_header(own, "x-amz-date: %s", date);
	weir_s3_header(own, "x-amz-content-sha256: %s", hash);
	if (creds.session_token != NULL)
		weir_s3_header(own, "x-amz-security-token: %s", creds.session_token);
	for (size_t i = 0; q->headers != NULL && i < q->headers->n; i++)
		all[sign.nheaders++] = q->headers->v[i];
	for (size_t i = 0; i < own->n; i++)
		all[sign.nheaders++] = own->v[i];
	all[sign.nheaders++] = host_line;
	if (weir_s3_authorization(&sign, &creds, &auth) < 0)
		return weir_err_set(err, WEIR_E_PROTO, "a request is too long to be signed");
	weir_s3_header(own, "Authorization: %s", auth.data);
	return WEIR_OK;
}

static enum weir_code
call_send(struct s3 *s, const struct weir_ctx *ctx, const struct s3_req *q, const char *url, const struct s3_headers *own,
    struct weir_http_resp *resp, struct weir_err *err)
{
	const char *all[2 * WEIR_LEN(own->v) + 1];
	size_t n = 0;
	struct weir_http_req req = {
		.method = q->method, .url = url, .headers = all, .body = q->body, .source = q->source, .source_off = q->source_off,
		.body_len = q->source != NULL ? q->source_len : q->body_len, .has_body = q->has_body || q->source != NULL || q->body != NULL,
		.sink = q->sink, .on_head = q->on_head, .on_head_arg = q->on_head_arg, .stall_ms = q->stall_ms,
		.cancel = ctx == NULL ? NULL : ctx->cancel,
	};

	for (size_t i = 0; q->headers != NULL && i < q->headers->n; i++)
		all[n++] = q->headers->v[i];
	for (size_t i = 0; i < own->n; i++)
		all[n++] = own->v[i];
	all[n] = NULL;
	return weir_http_perform(s->pool, &req, resp, err);
}

/* What a request was made with. Of several that are refused at once for what was right a moment ago, one learns it, and all have to be repeated. */
struct call_used { char region[64]; int64_t clock_offset_s; unsigned creds; };

static enum weir_code
call_once(struct s3 *s, const struct weir_ctx *ctx, const struct s3_req *q, struct call_used *used, struct weir_http_resp *resp, struct weir_err *err)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf path = WEIR_BUF(CALL_URL_MAX);
	WEIR_AUTO(weir_s3_headers_free) struct s3_headers own = { 0 };
	WEIR_AUTO(weir_freep) char *host = NULL, *url = NULL;
	time_t when;
	enum weir_code r = WEIR_OK;

	_Static_assert(sizeof(used->region) >= sizeof(s->region), "a region fits");
	used->clock_offset_s = atomic_load(&s->clock_offset_s);
	when = (time_t)(weir_wall_ns() / 1000000000 + used->clock_offset_s);
	pthread_mutex_lock(&s->lock);
	snprintf(used->region, sizeof(used->region), "%s", s->region);
	used->creds = s->creds_count;
	pthread_mutex_unlock(&s->lock);
	host = call_host(s, used->region);
	call_path(s, q->key, &path);
	if (path.is_full)
		return weir_err_set(err, WEIR_E_NAMETOOLONG, "an address is too long");
	url = weir_xasprintf("%s://%s%s%s%s", s->scheme, host, path.data, q->query != NULL ? "?" : "", q->query != NULL ? q->query : "");
	if (!s->is_anonymous)
		r = call_sign(s, q, path.data, host, used->region, when, &own, err);
	return r != WEIR_OK ? r : call_send(s, ctx, q, url, &own, resp, err);
}

/* ---- what a refusal teaches ---- */

/* Is it another one than the request was signed for? */
static bool
call_set_region(struct s3 *s, const struct call_used *used, const char *region)
{
	bool is_new;

	if (region[0] == '\0' || strlen(region) >= sizeof(s->region) ||
	    strspn(region, S3_REGION_CHARS) != strlen(region))
		return false;
	pthread_mutex_lock(&s->lock);
	is_new = strcmp(s->region, region) != 0;
	if (is_new)
		snprintf(s->region, sizeof(s->region), "%s", region);
	pthread_mutex_unlock(&s->lock);
	if (is_new)
		weir_log(WEIR_LOG_INFO, "remote '%s': bucket '%s' is in region %s", s->name, s->bucket, region);
	return strcmp(used->region, region) != 0;
}

static bool
call_learn_region(struct s3 *s, const struct weir_ctx *ctx, const struct call_used *used, const struct weir_http_resp *resp, const struct weir_s3_answer *a)
{
	const struct s3_req head = { .method = "HEAD" };
	struct weir_http_resp bucket = { 0 };
	struct call_used now;
	char region[64] = "";

	if (resp->status != 301 && resp->status != 307 && resp->status != 400)
		return false;
	if (resp->status == 400 && a->code[0] != '\0' && strcmp(a->code, "AuthorizationHeaderMalformed") != 0 &&
	    strcmp(a->code, "IllegalLocationConstraintException") != 0)
		return false;
	if (weir_http_header(resp, "x-amz-bucket-region", region, sizeof(region)) == NULL && a->region[0] != '\0')
		snprintf(region, sizeof(region), "%s", a->region);
	if (region[0] == '\0' && call_once(s, ctx, &head, &now, &bucket, NULL) == WEIR_OK)
		weir_http_header(&bucket, "x-amz-bucket-region", region, sizeof(region));
	weir_http_resp_free(&bucket);
	return call_set_region(s, used, region);
}

/* Only a refusal for the clock, or one without a reason (HEAD), by a server whose clock differs much from the one we signed with. */
static bool
call_learn_clock(struct s3 *s, const struct call_used *used, const struct weir_http_resp *resp, const struct weir_s3_answer *a)
{
	char date[64];
	int64_t there, offset;

	if (resp->status != 403 || (a->code[0] != '\0' && strcmp(a->code, "RequestTimeTooSkewed") != 0) ||
	    weir_http_header(resp, "Date", date, sizeof(date)) == NULL)
		return false;
	there = weir_date_parse(date);
	if (there == INT64_MIN)
		return false;
	offset = (there - weir_wall_ns()) / 1000000000;
	if (llabs(offset - used->clock_offset_s) < CALL_SKEW_S)
		return false;
	if (llabs(offset - atomic_exchange(&s->clock_offset_s, offset)) >= CALL_SKEW_S)
		weir_log(WEIR_LOG_WARN, "remote '%s': the clocks differ by %lld s; signing with the server's", s->name, (long long)offset);
	return true;
}

/* HEAD has no body: with a token, its 400 may be an expired one. */
static bool
call_learn_creds(struct s3 *s, const struct s3_req *q, const struct call_used *used, const struct weir_http_resp *resp, const struct weir_s3_answer *a)
{
	bool is_new = false, has_token;
	struct weir_err err = { 0 };

	pthread_mutex_lock(&s->lock);
	has_token = s->creds.session_token != NULL;
	pthread_mutex_unlock(&s->lock);
	if (s->is_anonymous || (strcmp(a->code, "ExpiredToken") != 0 && strcmp(a->code, "TokenRefreshRequired") != 0 &&
	    !(has_token && resp->status == 400 && strcmp(q->method, "HEAD") == 0)))
		return false;
	if (weir_s3_conf_reload(s, &is_new, &err) != WEIR_OK)
		weir_log(WEIR_LOG_WARN, "%s", weir_err_text(&err, WEIR_E_CONFIG));
	pthread_mutex_lock(&s->lock);
	is_new = s->creds_count != used->creds;
	pthread_mutex_unlock(&s->lock);
	return is_new;
}

enum weir_code
weir_s3_call(struct s3 *s, const struct weir_ctx *ctx, const struct s3_req *q, struct weir_http_resp *resp, struct weir_err *err)
{
	bool did_region = false, did_clock = false, did_creds = false;
	struct weir_s3_answer a;
	struct call_used used;
	enum weir_code r;

	for (;;) {
		weir_http_resp_free(resp);
		r = call_once(s, ctx, q, &used, resp, err);
		if (r != WEIR_OK || resp->status < 300 || resp->status == 404 || resp->status == 412 || resp->status >= 500)
			return r;
		weir_s3_answer_parse(weir_buf_str(&resp->body), resp->body.len, &a);
		if (!did_region && call_learn_region(s, ctx, &used, resp, &a))
			did_region = true;
		else if (!did_clock && call_learn_clock(s, &used, resp, &a))
			did_clock = true;
		else if (!did_creds && call_learn_creds(s, q, &used, resp, &a))
			did_creds = true;
		else
			return WEIR_OK;
	}
}

/* ---- what a refusal means ---- */

static const struct { const char *code; enum weir_code means; } call_codes[] = {
	{ "AccessDenied", WEIR_E_ACCES }, { "AllAccessDisabled", WEIR_E_ACCES }, { "AccountProblem", WEIR_E_ACCES },
	{ "InvalidObjectState", WEIR_E_ACCES },
	{ "InvalidAccessKeyId", WEIR_E_AUTH }, { "SignatureDoesNotMatch", WEIR_E_AUTH }, { "InvalidToken", WEIR_E_AUTH },
	{ "ExpiredToken", WEIR_E_AUTH }, { "RequestTimeTooSkewed", WEIR_E_AUTH }, { "InvalidSecurity", WEIR_E_AUTH },
	{ "NotSignedUp", WEIR_E_AUTH }, { "UserSuspended", WEIR_E_AUTH },
	{ "AuthorizationHeaderMalformed", WEIR_E_CONFIG }, { "PermanentRedirect", WEIR_E_CONFIG },
	{ "IllegalLocationConstraintException", WEIR_E_CONFIG }, { "InvalidBucketName", WEIR_E_CONFIG },
	{ "TemporaryRedirect", WEIR_E_SERVER },
	{ "NoSuchBucket", WEIR_E_NOBUCKET }, { "NoSuchKey", WEIR_E_NOENT }, { "NoSuchUpload", WEIR_E_NOENT },
	{ "NoSuchVersion", WEIR_E_NOENT }, { "InvalidPart", WEIR_E_NOENT }, { "InvalidPartOrder", WEIR_E_NOENT },
	{ "PreconditionFailed", WEIR_E_CHANGED },
	{ "ConditionalRequestConflict", WEIR_E_LOCKED }, { "OperationAborted", WEIR_E_LOCKED },
	{ "QuotaExceeded", WEIR_E_DQUOT }, { "XMinioAdminBucketQuotaExceeded", WEIR_E_DQUOT }, { "XMinioStorageFull", WEIR_E_NOSPC },
	{ "EntityTooLarge", WEIR_E_FBIG }, { "KeyTooLongError", WEIR_E_NAMETOOLONG }, { "InvalidObjectName", WEIR_E_NAME },
	{ "XMinioInvalidObjectName", WEIR_E_NAME }, { "InvalidURI", WEIR_E_NAME }, { "XMinioParentIsObject", WEIR_E_NOTDIR },
	{ "BadDigest", WEIR_E_BADSUM }, { "XAmzContentSHA256Mismatch", WEIR_E_BADSUM },
	{ "IncompleteBody", WEIR_E_SERVER }, { "RequestTimeout", WEIR_E_SERVER }, { "InternalError", WEIR_E_SERVER },
	{ "SlowDown", WEIR_E_THROTTLED }, { "ServiceUnavailable", WEIR_E_THROTTLED }, { "Throttling", WEIR_E_THROTTLED },
	{ "ThrottlingException", WEIR_E_THROTTLED }, { "RequestLimitExceeded", WEIR_E_THROTTLED },
	{ "TooManyRequests", WEIR_E_THROTTLED }, { "BandwidthLimitExceeded", WEIR_E_THROTTLED },
	{ "NotImplemented", WEIR_E_NOTSUP }, { "InvalidRange", WEIR_E_RANGE }, { "EntityTooSmall", WEIR_E_INVAL },
	{ "InvalidArgument", WEIR_E_INVAL }, { "InvalidRequest", WEIR_E_INVAL },
};

static enum weir_code
call_code_of_status(const struct weir_http_resp *resp)
{
	char marker[8];

	switch (resp->status) {
	case 401:
		return WEIR_E_AUTH;
	case 403:
		return WEIR_E_ACCES;
	case 404:
		return WEIR_E_NOENT;
	case 405:
		return weir_http_header(resp, "x-amz-delete-marker", marker, sizeof(marker)) != NULL ? WEIR_E_NOENT : WEIR_E_NOTSUP;
	case 409:
		return WEIR_E_LOCKED;
	case 412:
		return WEIR_E_CHANGED;
	case 413:
		return WEIR_E_FBIG;
	case 416:
		return WEIR_E_RANGE;
	case 429:
	case 503:
	case 509:
		return WEIR_E_THROTTLED;
	case 501:
		return WEIR_E_NOTSUP;
	case 507:
		return WEIR_E_NOSPC;
	default:
		return resp->status >= 500 ? WEIR_E_SERVER : WEIR_E_PROTO;
	}
}

static enum weir_code
call_code(const struct weir_http_resp *resp, const struct weir_s3_answer *a)
{
	for (size_t i = 0; i < WEIR_LEN(call_codes); i++)
		if (strcmp(a->code, call_codes[i].code) == 0)
			return call_codes[i].means;
	if (resp->status == 409 && strstr(a->code, "Exists") != NULL)
		return WEIR_E_EXIST;
	/* An <Error> inside a 200 is a late 500. */
	return resp->status < 300 ? WEIR_E_SERVER : call_code_of_status(resp);
}

enum weir_code
weir_s3_fail(struct s3 *s, const struct weir_http_resp *resp, const char *what, const char *path, struct weir_err *err)
{
	struct weir_s3_answer a;
	enum weir_code r;

	weir_s3_answer_parse(weir_buf_str(&resp->body), resp->body.len, &a);
	r = call_code(resp, &a);
	if (r == WEIR_E_THROTTLED)
		weir_backend_pause(&s->be, weir_http_retry_after_ms(resp));
	if (r == WEIR_E_NOBUCKET)
		return weir_err_set(err, r, "bucket '%s': %s%s%s", s->bucket, a.code, a.message[0] != '\0' ? ": " : "", a.message);
	if (a.endpoint[0] != '\0' && r == WEIR_E_CONFIG)
		return weir_err_set(err, r, "bucket '%s' wants endpoint %s (%s: %s)", s->bucket, a.endpoint, a.code, a.message);
	if (path[0] == '\0') {
		what = "bucket";
		path = s->bucket;
	}
	if (a.code[0] == '\0')
		return weir_err_set(err, r, "%s '%s': HTTP %d", what, path, resp->status);
	return weir_err_set(err, r, "%s '%s': %s%s%s", what, path, a.code, a.message[0] != '\0' ? ": " : "", a.message);
}

enum weir_code
weir_s3_do(struct s3 *s, const struct weir_ctx *ctx, const struct s3_req *q, struct weir_http_resp *resp, const char *what,
    const char *path, struct weir_err *err)
{
	enum weir_code r = weir_s3_call(s, ctx, q, resp, err);

	if (r != WEIR_OK)
		return path[0] == '\0' ? r : weir_err_wrap(err, r, "%s '%s'", what, path);
	return resp->status >= 200 && resp->status < 300 ? WEIR_OK : weir_s3_fail(s, resp, what, path, err);
}
