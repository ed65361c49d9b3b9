/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of a sign-in and of its end: `weir login` and `weir logout` put them together. Knows no terminal and no browser. */
#include "config.h"

#include "oauth_impl.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../util/text.h"
#include "../util/util.h"

#define FLOW_URL_MAX (64u << 10)

void
weir_oauth_challenge(const char *verifier, char out[64])
{
	unsigned char sum[WEIR_SHA256_LEN];
	WEIR_AUTO(weir_freep) char *text = NULL;

	weir_sha256(verifier, strlen(verifier), sum);
	text = weir_base64url(sum, sizeof(sum));
	snprintf(out, 64, "%s", text);
}

/* Hex is within the alphabet of RFC 7636: 86 digits are 344 bits. */
void
weir_oauth_flow_init(struct weir_oauth_flow *f)
{
	memset(f, 0, sizeof(*f));
	weir_random_hex(f->verifier, 86);
	weir_random_hex(f->state, 43);
	weir_oauth_challenge(f->verifier, f->challenge);
}

char *
weir_oauth_auth_url(const struct weir_oauth_app *app, const struct weir_oauth_flow *f, const char *redirect)
{
	struct weir_buf q = WEIR_BUF(FLOW_URL_MAX);
	char *url;

	weir_oauth_field(&q, "response_type", "code");
	weir_oauth_field(&q, "client_id", app->client_id);
	weir_oauth_field(&q, "redirect_uri", redirect);
	weir_oauth_field(&q, "scope", app->scope);
	weir_oauth_field(&q, "state", f->state);
	weir_oauth_field(&q, "code_challenge", f->challenge);
	weir_oauth_field(&q, "code_challenge_method", "S256");
	if (app->auth_extra != NULL)
		weir_buf_addf(&q, "&%s", app->auth_extra);
	url = weir_xasprintf("%s%s%s", app->auth_url, strchr(app->auth_url, '?') != NULL ? "&" : "?", weir_buf_str(&q));
	weir_buf_free(&q);
	return url;
}

/* A parameter of an address, decoded; owned, NULL: not there. */
static char *
flow_param(const char *query, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = query; *p != '\0'; p += strcspn(p, "&#"), p += *p == '&') {
		size_t len = strcspn(p, "&#");

		if (len > n && strncmp(p, name, n) == 0 && p[n] == '=') {
			char *v = weir_xstrndup(p + n + 1, len - n - 1);

			weir_url_decode(v, true);
			return v;
		}
		if (p[len] == '#')
			break;
	}
	return NULL;
}

static bool
flow_is_code(const char *s)
{
	if (*s == '\0')
		return false;
	for (; *s != '\0'; s++) {
		if (*s < 0x21 || *s > 0x7e)
			return false;
	}
	return true;
}

static enum weir_code
flow_denied(const char *query, const char *why, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *more = flow_param(query, "error_description");
	WEIR_AUTO(weir_freep) char *words = more != NULL ? weir_xasprintf("%s: %s", why, more) : weir_xstrdup(why);

	for (char *p = words; *p != '\0'; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	}
	return weir_err_set(err, WEIR_E_AUTH, "the server says: %.300s", words);
}

enum weir_code
weir_oauth_code_from(const struct weir_oauth_flow *f, const char *pasted, char **code, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *text = weir_xstrdup(pasted + strspn(pasted, " \t\r\n")), *state = NULL, *why = NULL, *got = NULL;
	const char *query;
	size_t n = strlen(text);

	while (n > 0 && isspace((unsigned char)text[n - 1]))
		text[--n] = '\0';
	if (strncmp(text, "http://", 7) != 0 && strncmp(text, "https://", 8) != 0) {
		if (!flow_is_code(text))
			return weir_err_set(err, WEIR_E_INVAL, "this is neither a code nor the address of the page");
		*code = WEIR_STEAL(text);
		return WEIR_OK;
	}
	query = strchr(text, '?');
	query = query != NULL ? query + 1 : "";
	state = flow_param(query, "state");
	why = flow_param(query, "error");
	got = flow_param(query, "code");
	if (why == NULL && got == NULL)
		return weir_err_set(err, WEIR_E_INVAL, "there is no code in this address");
	if (state == NULL || strcmp(state, f->state) != 0)
		return weir_err_set(err, WEIR_E_AUTH, "this address belongs to another sign-in: its state is not the one that was sent");
	if (why != NULL)
		return flow_denied(query, why, err);
	if (!flow_is_code(got))
		return weir_err_set(err, WEIR_E_INVAL, "the code in this address is none");
	*code = WEIR_STEAL(got);
	return WEIR_OK;
}

enum weir_code
weir_oauth_exchange(const struct weir_oauth_app *app, struct weir_http_pool *pool, const struct weir_oauth_flow *f, const char *code,
    const char *redirect, struct weir_err *err)
{
	struct weir_buf b = WEIR_BUF(FLOW_URL_MAX);
	struct weir_oauth_tokens t = {0};
	bool is_refused = false;
	int fd = -1;
	enum weir_code r;

	weir_oauth_field(&b, "grant_type", "authorization_code");
	weir_oauth_field(&b, "code", code);
	weir_oauth_field(&b, "redirect_uri", redirect);
	weir_oauth_field(&b, "code_verifier", f->verifier);
	r = weir_oauth_ask(app, pool, weir_buf_str(&b), NULL, &is_refused, &t, err);
	weir_oauth_wipe(&b);
	if (r == WEIR_OK && t.refresh == NULL)
		r = weir_err_set(err, WEIR_E_AUTH, "the server gave no refresh token, so the sign-in would end within hours");
	if (r == WEIR_OK)
		r = weir_oauth_lock(app->token_file, NULL, &fd, err);
	if (r == WEIR_OK)
		r = weir_oauth_save(app->token_file, &t, err);
	weir_closep(&fd);
	weir_oauth_tokens_clear(&t);
	return r;
}

/* Two ways are in use: RFC 7009 takes the token in a form, others take it where every request has it. The second needs one that is valid. */
static enum weir_code
flow_revoke(const struct weir_oauth_app *app, struct weir_http_pool *pool, struct weir_oauth_tokens *t, bool *is_refused, struct weir_err *err)
{
	struct weir_buf b = WEIR_BUF(FLOW_URL_MAX);
	WEIR_AUTO(weir_secret_freep) char *body = NULL;
	enum weir_code r;

	if (!app->revokes_by_bearer) {
		weir_oauth_field(&b, "token", t->refresh != NULL ? t->refresh : t->access);
		r = weir_oauth_post(pool, app->revoke_url, weir_buf_str(&b), NULL, NULL, is_refused, &body, err);
		weir_oauth_wipe(&b);
		return r;
	}
	if (t->refresh != NULL && t->expires_s <= weir_wall_ns() / 1000000000) {
		weir_oauth_field(&b, "grant_type", "refresh_token");
		weir_oauth_field(&b, "refresh_token", t->refresh);
		r = weir_oauth_ask(app, pool, weir_buf_str(&b), NULL, is_refused, t, err);
		weir_oauth_wipe(&b);
		if (r != WEIR_OK)
			return r;
	}
	return weir_oauth_post(pool, app->revoke_url, NULL, t->access, NULL, is_refused, &body, err);
}

/* What the server has forgotten already is signed out. What it cannot be told now keeps the file: the tokens would live on, out of reach. */
enum weir_code
weir_oauth_logout(const struct weir_oauth_app *app, struct weir_http_pool *pool, struct weir_err *err)
{
	struct weir_oauth_tokens t = {0};
	bool is_refused = false;
	int fd = -1;
	enum weir_code r = weir_oauth_lock(app->token_file, NULL, &fd, err);

	if (r == WEIR_OK)
		r = weir_oauth_load(app->token_file, &t, err);
	if (r == WEIR_OK && app->revoke_url != NULL) {
		r = flow_revoke(app, pool, &t, &is_refused, err);
		if (r != WEIR_OK && !is_refused)
			r = weir_err_wrap(err, r, "the server could not be told, so nothing was changed");
		else
			r = WEIR_OK;
	} else if (r == WEIR_E_AUTH)
		r = WEIR_OK;	/* a file without tokens in it goes, too */
	if (r == WEIR_OK && unlink(app->token_file) < 0)
		r = weir_err_errno(err, errno, "'%s'", app->token_file);
	weir_closep(&fd);
	weir_oauth_tokens_clear(&t);
	return r;
}
