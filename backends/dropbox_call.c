/* SPDX-License-Identifier: Apache-2.0 */
/* One request of the Dropbox API and its answer: the three styles (arguments in the body, or in a header beside a body), the token, the team's
 * root, and what a refusal means. Knows nothing of files. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "dropbox_impl.h"

#define CALL_HEADER_MAX 4096		/* longer arguments travel in the address */
#define CALL_TOKENS_MOST 3		/* a token may die while the one before it is being replaced */

enum weir_code
weir_dropbox_path(struct dropbox *s, const char *path, bool is_new, char **out, struct weir_err *err)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf b = WEIR_BUF(256u << 10);
	enum weir_code r;

	weir_buf_adds(&b, s->root);
	r = weir_dropbox_path_add(&b, path, is_new, err);
	if (r == WEIR_OK)
		*out = weir_buf_take(&b);
	return r;
}

/* ---- what goes ---- */

struct call_headers { char *v[8]; size_t n; };

static void
call_header(struct call_headers *h, char *line)
{
	if (h->n + 1 < WEIR_LEN(h->v))
		h->v[h->n++] = line;
	else
		free(line);
}

static void
call_headers_free(struct call_headers *h)
{
	for (size_t i = 0; i < h->n; i++)
		weir_secret_free(h->v[i]);	/* one of them is the token */
}

static char *
call_url(const struct dropbox *s, const struct dropbox_req *q, const char *arg)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf b = WEIR_BUF(1u << 20);

	weir_buf_adds(&b, q->style == DROPBOX_RPC ? s->api_url : q->style == DROPBOX_POLL ? s->notify_url : s->content_url);
	weir_buf_addf(&b, "/2/%s", q->route);
	if (arg != NULL) {
		weir_buf_adds(&b, "?arg=");
		weir_url_encode(&b, arg, strlen(arg), "");
	}
	return weir_buf_take(&b);
}

static enum weir_code
call_send(struct dropbox *s, const struct weir_ctx *ctx, const struct dropbox_req *q, const char *arg, const char *token, const char *root,
    struct weir_http_resp *resp, struct weir_err *err)
{
	WEIR_AUTO(call_headers_free) struct call_headers h = { 0 };
	bool has_arg_header = (q->style == DROPBOX_UPLOAD || q->style == DROPBOX_DOWNLOAD) && strlen(arg) <= CALL_HEADER_MAX;
	bool has_json_body = q->style == DROPBOX_RPC || q->style == DROPBOX_POLL;
	WEIR_AUTO(weir_freep) char *url = call_url(s, q, has_json_body || has_arg_header ? NULL : arg);
	struct weir_http_req req = {
		.method = "POST", .url = url, .has_body = true, .sink = q->sink, .on_head = q->on_head, .on_head_arg = q->on_head_arg,
		.stall_ms = q->stall_ms, .cancel = ctx == NULL ? NULL : ctx->cancel,
	};

	if (token != NULL)
		call_header(&h, weir_xasprintf("Authorization: Bearer %s", token));
	if (root != NULL)
		call_header(&h, weir_xasprintf("Dropbox-API-Path-Root: %s", root));
	if (has_arg_header)
		call_header(&h, weir_xasprintf("Dropbox-API-Arg: %s", arg));
	if (has_json_body) {
		call_header(&h, weir_xstrdup("Content-Type: application/json"));
		req.body = arg;
		req.body_len = strlen(arg);
	} else if (q->style == DROPBOX_UPLOAD) {
		call_header(&h, weir_xstrdup("Content-Type: application/octet-stream"));
		if (q->source_len > 0) {
			req.source = q->source;
			req.source_off = q->source_off;
			req.body_len = q->source_len;
		}
	}
	if (q->range != NULL)
		call_header(&h, weir_xasprintf("Range: %s", q->range));
	h.v[h.n] = NULL;
	req.headers = (const char *const *)h.v;
	return weir_http_perform(s->pool, &req, resp, err);
}

/* ---- what comes ---- */

enum weir_code
weir_dropbox_refused(struct dropbox *s, int status, const struct dropbox_error *e, const char *what, const char *path, struct weir_err *err)
{
	enum weir_code r = weir_dropbox_error_code(status, e);
	char text[256];

	if (r == WEIR_E_THROTTLED)
		weir_backend_pause(&s->be, e->retry_after_ms >= 0 ? e->retry_after_ms : status == 429 ? 1000 : -1);
	weir_dropbox_error_text(status, e, text);
	if (r == WEIR_E_AUTH)
		return weir_err_set(err, r, "Dropbox refuses the sign-in (%s): sign in again with 'weir login %s'", text, s->name);
	if (path == NULL || path[0] == '\0')
		return weir_err_set(err, r, "%s: %s", what, text);
	return weir_err_set(err, r, "%s '%s': %s", what, path, text);
}

static enum weir_code
call_failed(struct dropbox *s, const struct dropbox_req *q, const struct weir_http_resp *resp, struct weir_err *err)
{
	struct dropbox_error e;
	int64_t wait = weir_http_retry_after_ms(resp);
	enum weir_code r;

	weir_dropbox_error_parse(weir_buf_str(&resp->body), resp->body.len, &e);
	if (e.retry_after_ms < 0)
		e.retry_after_ms = wait;
	r = weir_dropbox_refused(s, resp->status, &e, q->what, q->path, err);
	if (q->error != NULL)
		*q->error = e;
	else
		weir_dropbox_error_clear(&e);
	return r;
}

/* A refusal that heals by itself: an expired token, a team root that has moved. */
enum call_cure { CURE_NONE, CURE_TOKEN, CURE_ROOT };

static enum call_cure
call_cure(const struct weir_http_resp *resp)
{
	struct dropbox_error e;
	enum call_cure cure = CURE_NONE;

	if (resp->status != 401 && resp->status != 422)
		return CURE_NONE;
	weir_dropbox_error_parse(weir_buf_str(&resp->body), resp->body.len, &e);
	if (resp->status == 401 && (e.ntags == 0 || weir_dropbox_error_has(&e, "expired_access_token") ||
	    weir_dropbox_error_has(&e, "invalid_access_token")))
		cure = CURE_TOKEN;
	if (resp->status == 422 && weir_dropbox_error_has(&e, "invalid_root"))
		cure = CURE_ROOT;
	weir_dropbox_error_clear(&e);
	return cure;
}

static enum weir_code
call_perform(struct dropbox *s, const struct weir_ctx *ctx, const struct dropbox_req *q, const char *arg, struct weir_http_resp *resp,
    struct weir_err *err)
{
	WEIR_AUTO(weir_secret_freep) char *refused = NULL;
	WEIR_AUTO(weir_freep) char *stale = NULL;
	bool wants_root = strncmp(q->route, "files/", 6) == 0 && q->style != DROPBOX_POLL;
	int tokens = 1;

	for (;;) {
		WEIR_AUTO(weir_secret_freep) char *token = NULL;
		WEIR_AUTO(weir_freep) char *root = NULL;
		enum call_cure cure;
		enum weir_code r = WEIR_OK;

		if (q->style != DROPBOX_POLL)
			r = weir_oauth_bearer(s->oauth, refused, ctx == NULL ? NULL : ctx->cancel, &token, err);
		if (r == WEIR_OK && wants_root)
			r = weir_dropbox_path_root(s, ctx, stale, &root, err);
		if (r == WEIR_OK)
			r = call_send(s, ctx, q, arg, token, root, resp, err);
		if (r != WEIR_OK)
			return r;
		cure = call_cure(resp);
		if (cure == CURE_TOKEN && tokens++ < CALL_TOKENS_MOST) {
			weir_secret_free(refused);
			refused = WEIR_STEAL(token);
		} else if (cure == CURE_ROOT && stale == NULL && root != NULL) {
			stale = WEIR_STEAL(root);
		} else {
			return WEIR_OK;
		}
	}
}

enum weir_code
weir_dropbox_call(struct dropbox *s, const struct weir_ctx *ctx, struct dropbox_req *q, json_t **out, struct weir_http_resp *resp,
    struct weir_err *err)
{
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp own = { 0 };
	WEIR_AUTO(weir_freep) char *arg = q->arg == NULL ? weir_xstrdup("null") : weir_dropbox_json_text(q->arg);
	enum weir_code r;

	json_decref(q->arg);
	q->arg = NULL;
	resp = resp != NULL ? resp : &own;
	r = call_perform(s, ctx, q, arg, resp, err);
	if (r != WEIR_OK)
		return q->path == NULL || q->path[0] == '\0' ? r : weir_err_wrap(err, r, "%s '%s'", q->what, q->path);
	if (resp->status < 200 || resp->status > 299)
		return call_failed(s, q, resp, err);
	if (out == NULL)
		return WEIR_OK;
	*out = json_loadb(weir_buf_str(&resp->body), resp->body.len, JSON_DECODE_ANY, NULL);
	if (*out == NULL)
		return weir_err_set(err, WEIR_E_PROTO, "%s '%s': the answer is not JSON", q->what, q->path == NULL ? "" : q->path);
	return WEIR_OK;
}
