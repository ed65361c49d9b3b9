/* SPDX-License-Identifier: Apache-2.0 */
/* One request to an authorization server, and what its answer means (RFC 6749 section 5). */
#include "config.h"

#include "oauth_impl.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "../util/text.h"
#include "../util/util.h"

#define ASK_STALL_MS 15000	/* a token request may think longer than a transfer may pause */
#define ASK_FORM_MAX (256u << 10)

void
weir_oauth_wipe(struct weir_buf *b)
{
	if (b->data != NULL)
		explicit_bzero(b->data, b->cap);
	weir_buf_free(b);
}

void
weir_oauth_field(struct weir_buf *b, const char *name, const char *value)
{
	if (value == NULL)
		return;
	weir_buf_addf(b, "%s%s=", b->len > 0 ? "&" : "", name);
	weir_url_encode(b, value, strlen(value), "");
}

/* The server's own words, printable, without the quotes of JSON. */
static void
ask_words(const json_t *o, char *out, size_t max)
{
	const char *code = json_string_value(json_object_get(o, "error")), *text = json_string_value(json_object_get(o, "error_description"));
	size_t n = 0;

	if (text == NULL || *text == '\0')
		text = code != NULL ? code : "no reason was given";
	for (; *text != '\0' && n + 1 < max; text++)
		out[n++] = (unsigned char)*text < 0x20 || *text == 0x7f ? ' ' : *text;
	while (n > 0 && (out[n - 1] == '.' || out[n - 1] == ' '))
		n--;
	out[n] = '\0';
}

/* Words that promise better times, whatever the status. */
static bool
ask_is_passing(const char *code)
{
	static const char *const words[] = {"temporarily_unavailable", "server_error", "internal_failure", "backend_error", "rate_limit_exceeded",
	    "slow_down", "too_many_requests"};

	for (size_t i = 0; code != NULL && i < WEIR_LEN(words); i++) {
		if (strcmp(code, words[i]) == 0)
			return true;
	}
	return false;
}

static enum weir_code
ask_failed(const struct weir_http_resp *resp, bool *is_refused, struct weir_err *err)
{
	json_t *o = json_loads(weir_buf_str(&resp->body), 0, NULL);
	const char *code = json_string_value(json_object_get(o, "error"));
	char words[200];
	int s = resp->status;
	enum weir_code r;

	ask_words(o, words, sizeof(words));
	if (s == 429 || s == 503)
		r = weir_err_set(err, WEIR_E_THROTTLED, "the authorization server has no time (HTTP %d)", s);
	else if (s >= 500 || s == 408 || ask_is_passing(code))
		r = weir_err_set(err, WEIR_E_SERVER, "the authorization server has an error (HTTP %d)", s);
	else if (s == 401 || (s >= 400 && code != NULL)) {
		*is_refused = true;
		r = weir_err_set(err, WEIR_E_AUTH, "%s%s%s", code != NULL ? code : "", code != NULL ? ": " : "", words);
	} else
		r = weir_err_set(err, WEIR_E_PROTO, "unexpected answer of the authorization server (HTTP %d)", s);
	json_decref(o);
	return r;
}

enum weir_code
weir_oauth_post(struct weir_http_pool *pool, const char *url, const char *form, const char *bearer, struct weir_cancel *cancel, bool *is_refused,
    char **body, struct weir_err *err)
{
	WEIR_AUTO(weir_secret_freep) char *auth = bearer != NULL ? weir_xasprintf("Authorization: Bearer %s", bearer) : NULL;
	const char *headers[4] = {"Accept: application/json"};
	struct weir_http_req req = {.method = "POST", .url = url, .headers = headers, .body = form, .body_len = form != NULL ? strlen(form) : 0,
	    .has_body = form != NULL, .stall_ms = ASK_STALL_MS, .cancel = cancel};
	struct weir_http_resp resp = {0};
	size_t n = 1;
	enum weir_code r;

	*is_refused = false;
	if (!weir_http_url_is_safe(url))
		return weir_err_set(err, WEIR_E_CONFIG, "'%s' is no https address", url);
	if (form != NULL)
		headers[n++] = "Content-Type: application/x-www-form-urlencoded";
	if (auth != NULL)
		headers[n++] = auth;
	r = weir_http_perform(pool, &req, &resp, err);
	if (r == WEIR_OK && resp.status != 200)
		r = ask_failed(&resp, is_refused, err);
	else if (r == WEIR_OK)
		*body = weir_xstrdup(weir_buf_str(&resp.body));
	if (resp.body.data != NULL)
		explicit_bzero(resp.body.data, resp.body.cap);
	weir_http_resp_free(&resp);
	return r;
}

enum weir_code
weir_oauth_ask(const struct weir_oauth_app *app, struct weir_http_pool *pool, const char *grant, struct weir_cancel *cancel, bool *is_refused,
    struct weir_oauth_tokens *out, struct weir_err *err)
{
	struct weir_buf form = WEIR_BUF(ASK_FORM_MAX);
	WEIR_AUTO(weir_secret_freep) char *body = NULL;
	int64_t now_s = weir_wall_ns() / 1000000000;	/* before the request: an answer that took long has lived as long */
	enum weir_code r;

	weir_buf_adds(&form, grant);
	if (app->service_account_file == NULL) {
		weir_oauth_field(&form, "client_id", app->client_id);
		weir_oauth_field(&form, "client_secret", app->client_secret);
	}
	if (form.is_full)
		r = weir_err_set(err, WEIR_E_PROTO, "a token is too long");
	else
		r = weir_oauth_post(pool, app->token_url, weir_buf_str(&form), NULL, cancel, is_refused, &body, err);
	weir_oauth_wipe(&form);
	if (r != WEIR_OK)
		return r;
	r = weir_oauth_parse(body, now_s, out, err);
	if (r == WEIR_OK && out->access == NULL)
		r = weir_err_set(err, WEIR_E_PROTO, "no access_token in it");
	return r == WEIR_OK ? r : weir_err_wrap(err, WEIR_E_PROTO, "unexpected answer of the authorization server");
}
