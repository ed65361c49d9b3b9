/* SPDX-License-Identifier: Apache-2.0 */
/* One request with a token, and its answer: a refused token is renewed once, content is followed to other hosts without the token, and what
 * a refusal means to the core. Knows nothing of names and folders. */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "drive_impl.h"

#define CALL_REDIRECTS 5
#define CALL_TOKENS 8
#define CALL_URL_MAX (16u << 10)
#define CALL_THROTTLE_FIRST_MS 500
#define CALL_THROTTLE_MOST_MS 16000
#define CALL_DAILY_MS 300000
#define CALL_WRITE_MS 60000

static bool
call_same_origin(const char *a, const char *b)
{
	WEIR_AUTO(weir_freep) char *ha = weir_http_url_host(a), *hb = weir_http_url_host(b);

	return ha != NULL && hb != NULL && strcasecmp(ha, hb) == 0 && strncasecmp(a, b, 5) == 0 && (a[4] == ':') == (b[4] == ':');
}

static bool
call_ends(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcasecmp(s + n - m, end) == 0;
}

/* May this address see the token? Our own two bases; and where these are Google's, the rest of its API (sessions, export links). */
static bool
call_is_home(struct drive *d, const char *url)
{
	WEIR_AUTO(weir_freep) char *api = weir_http_url_host(d->api_url), *host = weir_http_url_host(url);

	if (call_same_origin(url, d->api_url) || call_same_origin(url, d->upload_url))
		return true;
	return api != NULL && host != NULL && strncasecmp(url, "https://", 8) == 0 && call_ends(api, ".googleapis.com") &&
	    (call_ends(host, ".googleapis.com") || strcasecmp(host, "docs.google.com") == 0);
}

static enum weir_code
call_once(struct drive *d, const struct weir_ctx *ctx, const struct drive_req *q, const char *url, const char *token,
    struct weir_http_resp *resp, struct weir_err *err)
{
	const char *headers[WEIR_LEN(q->headers) + 2];
	WEIR_AUTO(weir_secret_freep) char *bearer = token == NULL ? NULL : weir_xasprintf("Authorization: Bearer %s", token);
	struct weir_http_req req = {
		.method = q->method, .url = url, .headers = headers, .body = q->body, .source = q->source, .source_off = q->source_off,
		.body_len = q->body_len,
		.has_body = q->has_body || q->source != NULL || q->body != NULL, .sink = q->sink, .on_head = q->on_head,
		.on_head_arg = q->on_head_arg, .stall_ms = q->stall_ms, .cancel = ctx == NULL ? NULL : ctx->cancel,
	};
	size_t n = 0;

	while (n < WEIR_LEN(q->headers) && q->headers[n] != NULL) {
		headers[n] = q->headers[n];
		n++;
	}
	if (bearer != NULL)
		headers[n++] = bearer;
	headers[n] = NULL;
	weir_http_resp_free(resp);
	return weir_http_perform(d->pool, &req, resp, err);
}

/* Where an answer points to, absolute; NULL: nowhere that may be followed. Owned. */
static char *
call_redirect(struct drive *d, const char *url, const struct weir_http_resp *resp)
{
	char *to = weir_xcalloc(1, CALL_URL_MAX), *full, *host;
	const char *path = strstr(url, "://");

	if (resp->status < 301 || resp->status > 308 || resp->status == 304 ||
	    weir_http_header(resp, "Location", to, CALL_URL_MAX) == NULL || path == NULL)
		goto none;
	if (*to == '/' && to[1] != '/') {
		path += 3 + strcspn(path + 3, "/?");
		full = weir_xasprintf("%.*s%s", (int)(path - url), url, to);
		free(to);
		to = full;
	}
	host = weir_http_url_host(to);
	free(host);
	if (host != NULL && (strncasecmp(to, "https://", 8) == 0 || (strncmp(d->api_url, "http://", 7) == 0 && strncasecmp(to, "http://", 7) == 0)))
		return to;
none:
	free(to);
	return NULL;
}

static enum weir_code
call_follow(struct drive *d, const struct weir_ctx *ctx, const struct drive_req *q, const char *token, struct weir_http_resp *resp,
    struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *at = weir_xstrdup(q->url);
	enum weir_code r = call_once(d, ctx, q, at, call_is_home(d, at) ? token : NULL, resp, err);

	for (int i = 0; r == WEIR_OK && q->follows && i < CALL_REDIRECTS; i++) {
		char *to = call_redirect(d, at, resp);

		if (to == NULL)
			break;
		free(at);
		at = to;
		r = call_once(d, ctx, q, at, call_is_home(d, at) ? token : NULL, resp, err);
	}
	return r;
}

/* A token may die between the refresh and its use when many threads wear it out: more than one may be refused. */
enum weir_code
weir_drive_call(struct drive *d, const struct weir_ctx *ctx, const struct drive_req *q, struct weir_http_resp *resp, struct weir_err *err)
{
	WEIR_AUTO(weir_secret_freep) char *token = NULL;
	struct weir_cancel *cancel = ctx == NULL ? NULL : ctx->cancel;
	enum weir_code r = weir_oauth_bearer(d->oauth, NULL, cancel, &token, err);

	for (int i = 0; r == WEIR_OK; i++) {
		char *fresh = NULL;

		r = call_follow(d, ctx, q, token, resp, err);
		if (r != WEIR_OK || resp->status != 401 || i == CALL_TOKENS)
			break;
		r = weir_oauth_bearer(d->oauth, token, cancel, &fresh, err);
		weir_secret_free(token);
		token = fresh;
	}
	return r;
}

/* Google seldom says how long to wait: then longer each time. */
static void
call_throttled(struct drive *d, const struct weir_http_resp *resp, const char *reason)
{
	int64_t wait = weir_http_retry_after_ms(resp);

	pthread_mutex_lock(&d->lock);
	d->throttle_ms = d->throttle_ms == 0 ? CALL_THROTTLE_FIRST_MS : d->throttle_ms * 2;
	if (d->throttle_ms > CALL_THROTTLE_MOST_MS)
		d->throttle_ms = CALL_THROTTLE_MOST_MS;
	if (wait < 0)
		wait = strcmp(reason, "dailyLimitExceeded") == 0 ? CALL_DAILY_MS : d->throttle_ms;
	pthread_mutex_unlock(&d->lock);
	weir_backend_pause(&d->be, wait);
}

enum weir_code
weir_drive_fail(struct drive *d, const struct weir_http_resp *resp, const char *what, const char *path, struct weir_err *err)
{
	struct drive_error e;
	enum weir_code r;

	weir_drive_error_parse(weir_buf_str(&resp->body), resp->body.len, &e);
	r = weir_drive_code(resp->status, e.reason);
	if (r == WEIR_E_THROTTLED)
		call_throttled(d, resp, e.reason);
	/* The authorization server gave one fresh token after the other: the sign-in is not what is wrong. */
	if (resp->status == 401)
		r = WEIR_E_SERVER;
	if (e.message[0] == '\0' && e.reason[0] == '\0')
		return weir_err_set(err, r, "%s '%s': HTTP %d", what, path, resp->status);
	return weir_err_set(err, r, "%s '%s': %s%s%s%s", what, path, e.message[0] != '\0' ? e.message : e.reason, e.message[0] != '\0' &&
	    e.reason[0] != '\0' ? " (" : "", e.message[0] != '\0' ? e.reason : "", e.message[0] != '\0' && e.reason[0] != '\0' ? ")" : "");
}

enum weir_code
weir_drive_do(struct drive *d, const struct weir_ctx *ctx, const struct drive_req *q, struct weir_http_resp *resp, const char *what,
    const char *path, struct weir_err *err)
{
	enum weir_code r = weir_drive_call(d, ctx, q, resp, err);

	if (r != WEIR_OK)
		return r == WEIR_E_AUTH ? r : weir_err_wrap(err, r, "%s '%s'", what, path);
	if (resp->status < 200 || resp->status > 299)
		return weir_drive_fail(d, resp, what, path, err);
	pthread_mutex_lock(&d->lock);
	d->throttle_ms = 0;
	pthread_mutex_unlock(&d->lock);
	return WEIR_OK;
}

char *
weir_drive_at(const char *kind, const char *id, const char *more)
{
	struct weir_buf b = WEIR_BUF(64u << 10);

	weir_buf_addf(&b, "%s/", kind);
	weir_url_encode(&b, id, strlen(id), "");
	weir_buf_adds(&b, more);
	return weir_buf_take(&b);
}

enum weir_code
weir_drive_json(struct drive *d, const struct weir_ctx *ctx, const char *method, const char *where, const char *query, json_t *body,
    json_t **out, const char *what, const char *path, struct weir_err *err)
{
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	WEIR_AUTO(weir_freep) char *url = weir_xasprintf("%s/%s?supportsAllDrives=true&prettyPrint=false%s", d->api_url, where, query);
	WEIR_AUTO(weir_freep) char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
	struct drive_req q = { .method = method, .url = url, .body = text, .body_len = text == NULL ? 0 : strlen(text),
		.has_body = text != NULL || strcmp(method, "POST") == 0 };
	json_t *answer;
	enum weir_code r;

	if (strcmp(method, "GET") != 0)	/* copies and moves take their time */
		q.stall_ms = CALL_WRITE_MS;
	if (body != NULL && text == NULL) {
		json_decref(body);
		return weir_err_set(err, WEIR_E_NAME, "%s '%s': it is no text", what, path);
	}
	json_decref(body);
	if (text != NULL)
		q.headers[0] = "Content-Type: application/json; charset=UTF-8";
	r = weir_drive_do(d, ctx, &q, &resp, what, path, err);
	if (r != WEIR_OK || out == NULL)
		return r;
	answer = weir_drive_json_load(weir_buf_str(&resp.body), resp.body.len);
	if (!json_is_object(answer)) {
		json_decref(answer);
		return weir_err_set(err, WEIR_E_PROTO, "%s '%s': the answer is not what Drive answers", what, path);
	}
	*out = answer;
	return WEIR_OK;
}
