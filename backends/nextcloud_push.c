/* SPDX-License-Identifier: Apache-2.0 */
/* What Nextcloud's app notify_push ("Client Push") tells: a WebSocket, over which its daemon says that files of the user changed, and which ones
 * if it knows. It speaks when it likes (half a second to some 15 after the change), may drop what it has to say, and tells before the
 * folders' ETags have moved: who hears it walks, and walks again a little later (src/sync/watch.c).
 *
 * Who we are is told in messages, after the handshake. Never the password, where it can be avoided: the server gives a token ("pre_auth") to whoever
 * asks with the ordinary credentials; it is good for one connection, for 15 s, and for notifications alone. So the address of the
 * WebSocket, which is the server's own word, may name another host, as long as TLS guards it. It is never less guarded than the server itself:
 *	url	WebSocket			token	password (where no pre_auth is named)
 *	https	wss, any host			yes	only to the same host
 *	https	ws				no	no
 *	http	wss				yes	only to the same host
 *	http	ws, same host			yes	yes (it goes there unguarded with every request as it is)
 *	http	ws, another host		no	no
 * The address of pre_auth gives only its path: credentials go to the configured server and nowhere else (and behind a proxy that ends TLS, servers
 * like to call themselves http://). */
#include "config.h"

#include "nextcloud.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "../src/net/ws.h"
#include "../src/util/text.h"
#include "../src/util/util.h"
#include "layers.h"

#define PUSH_KNOWN_MS (10 * 60 * 1000)	/* an administrator may move it */
#define PUSH_TOKEN_MS 100		/* the token reaches the daemon by another way than we do */
#define PUSH_WELCOME_MS 15000		/* as long as the daemon itself gives a newcomer */
#define PUSH_TOKEN_MAX 512
#define PUSH_QUIET_MS 20000		/* the daemon pings every 30 s only; whom a firewall has forgotten hears nothing, and believes that nothing happens */
#define PUSH_ANSWER_MS 8000
#define PUSH_AT_ONCE 256		/* messages given to the caller in one go */

struct weir_nc_push {
	struct weir_ws *ws;		/* NULL: not connected */
	char *websocket, *pre_auth;	/* as the server told; NULL: it does not */
	int64_t known_ms;		/* when it did; 0: never */
};

struct weir_nc_push *
weir_nc_push_new(void)
{
	return weir_xcalloc(1, sizeof(struct weir_nc_push));
}

void
weir_nc_push_free(struct weir_nc_push *p)
{
	if (!p)
		return;
	weir_ws_close(p->ws);
	free(p->websocket);
	free(p->pre_auth);
	free(p);
}

/* ---- where ---- */

/* Host of an address, without its port; owned. */
static char *
push_host(const char *url)
{
	const char *after = strstr(url, "://");
	WEIR_AUTO(weir_freep) char *http = weir_xasprintf("http%s", after ? after : "");
	char *host = weir_http_url_host(http);

	if (host && host[0] != '[')
		host[strcspn(host, ":")] = '\0';
	else if (host && strchr(host, ']'))
		strchr(host, ']')[1] = '\0';
	return host;
}

enum weir_code
weir_nc_push_may(const char *url, const char *websocket, bool is_secret, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *ours = push_host(url), *theirs = push_host(websocket);
	bool is_guarded = strncasecmp(websocket, "wss://", 6) == 0;
	bool is_same = ours && theirs && strcasecmp(ours, theirs) == 0;

	if (!theirs || (!is_guarded && strncasecmp(websocket, "ws://", 5) != 0))
		return weir_err_set(err, WEIR_E_CONFIG, "notify_push: the server names '%.200s', which is no WebSocket's address", websocket);
	if (!is_guarded && strncasecmp(url, "https://", 8) == 0)
		return weir_err_set(err, WEIR_E_CONFIG, "notify_push: the server names '%.200s', which is not encrypted: not used "
		    "(its administrator heals that with 'occ notify_push:setup https://...')", websocket);
	if (!is_guarded && !is_same)
		return weir_err_set(err, WEIR_E_CONFIG, "notify_push: the server names '%.200s', another host and not encrypted: not used", websocket);
	if (is_secret && !is_same)
		return weir_err_set(err, WEIR_E_CONFIG, "notify_push: the server names '%.200s', another host, and gives no token for it: "
		    "the password does not go there", websocket);
	return WEIR_OK;
}

static enum weir_code
push_learn(struct weir_dav *d, struct weir_nc_push *p, const struct weir_ctx *ctx, struct weir_err *err)
{
	static const char *const where[] = { "ocs", "data", "capabilities", "notify_push", "endpoints", NULL };
	struct weir_dav_call c;
	json_t *j, *ends;
	enum weir_code r;

	if (p->known_ms && weir_now_ms() - p->known_ms < PUSH_KNOWN_MS)
		return WEIR_OK;
	r = weir_nc_json(d, ctx, "ocs/v2.php/cloud/capabilities?format=json", &j, &c, err);
	if (!r && !j)
		r = weir_err_set(err, WEIR_E_SERVER, "the server does not tell its capabilities (status %d)", c.resp.status);
	weir_dav_call_free(&c);
	if (r)
		return r;
	ends = weir_nc_dig(j, where);
	free(p->websocket);
	free(p->pre_auth);
	p->websocket = weir_xstrdup(json_string_value(json_object_get(ends, "websocket")));
	p->pre_auth = weir_xstrdup(json_string_value(json_object_get(ends, "pre_auth")));
	p->known_ms = weir_now_ms();
	json_decref(j);
	return WEIR_OK;
}

/* ---- who ---- */

/* The path of an absolute address; NULL: it has none. */
static const char *
push_path(const char *url)
{
	const char *p = strstr(url, "://");

	return p ? strchr(p + 3, '/') : NULL;
}

static enum weir_code
push_token(struct weir_dav *d, struct weir_nc_push *p, const struct weir_ctx *ctx, char **out, struct weir_err *err)
{
	const char *path = push_path(p->pre_auth);
	struct weir_dav_call c;
	enum weir_code r;

	if (!path)
		return weir_err_set(err, WEIR_E_CONFIG, "notify_push: the server names '%.200s' as its pre_auth address", p->pre_auth);
	weir_dav_call_url(&c, "POST", weir_xasprintf("%s%s", d->origin, path));
	c.path = "notify_push's pre_auth";
	weir_dav_header(&c, "OCS-APIRequest: true");
	r = weir_dav_send(d, ctx, &c, err);
	if (!r) {
		const char *token = weir_buf_str(&c.resp.body);
		size_t n = strcspn(token, "\r\n");

		if (c.resp.status != 200 || n == 0 || n > PUSH_TOKEN_MAX || n != c.resp.body.len)
			r = weir_err_set(err, WEIR_E_PROTO, "notify_push: no token (status %d)", c.resp.status);
		else
			*out = weir_xstrndup(token, n);
	}
	weir_dav_call_free(&c);
	return r;
}

/* Out of the header that every request carries: no second copy of a secret lies about. */
static enum weir_code
push_password(struct weir_dav *d, char **out, struct weir_err *err)
{
	static const char head[] = "Authorization: Basic ";
	unsigned char raw[4096];
	ssize_t n = d->user && d->auth && strncmp(d->auth, head, strlen(head)) == 0 ? weir_unbase64(d->auth + strlen(head), raw, sizeof(raw) - 1) : -1;
	char *colon;

	if (n < 0)
		return weir_err_set(err, WEIR_E_NOTSUP, "notify_push of this server takes passwords only");
	raw[n] = '\0';
	colon = strchr((char *)raw, ':');
	*out = weir_xstrdup(colon ? colon + 1 : "");
	explicit_bzero(raw, sizeof(raw));
	return WEIR_OK;
}

/* ---- the connection ---- */

static enum weir_code
push_welcome(struct weir_ws *ws, const struct weir_ctx *ctx, struct weir_err *err)
{
	int64_t until_ms = weir_now_ms() + PUSH_WELCOME_MS, left;
	const char *text;
	size_t len;
	enum weir_code r;

	while ((left = until_ms - weir_now_ms()) > 0) {
		r = weir_ws_receive(ws, left, ctx ? ctx->cancel : NULL, &text, &len, err);
		if (r)
			return r;
		if (text && strcmp(text, "authenticated") == 0)
			return WEIR_OK;
		if (text)	/* "err: Invalid credentials", "Authentication timeout" */
			return weir_err_set(err, WEIR_E_ACCES, "notify_push refuses us: %.200s", text);
	}
	return weir_err_set(err, WEIR_E_STALL, "notify_push does not welcome us");
}

static enum weir_code
push_introduce(struct weir_dav *d, struct weir_nc_push *p, struct weir_ws *ws, const struct weir_ctx *ctx, struct weir_err *err)
{
	WEIR_AUTO(weir_secret_freep) char *secret = NULL;
	enum weir_code r;

	r = p->pre_auth ? push_token(d, p, ctx, &secret, err) : push_password(d, &secret, err);
	if (!r && p->pre_auth)
		r = weir_layer_sleep(ctx, weir_now_ms() + PUSH_TOKEN_MS, err);
	if (!r)
		r = weir_ws_send(ws, p->pre_auth ? "" : d->user, err);
	if (!r)
		r = weir_ws_send(ws, secret, err);
	if (!r)
		r = push_welcome(ws, ctx, err);
	return r ? r : weir_ws_send(ws, "listen notify_file_id", err);
}

static enum weir_code
push_open(struct weir_dav *d, struct weir_nc_push *p, const struct weir_ctx *ctx, struct weir_err *err)
{
	struct weir_ws_conf conf = { 0 };
	struct weir_ws *ws = NULL;
	enum weir_code r = push_learn(d, p, ctx, err);

	if (!r && !p->websocket)
		r = weir_err_set(err, WEIR_E_NOTSUP, "the server has no notify_push");
	if (!r)
		r = weir_nc_push_may(d->url, p->websocket, !p->pre_auth, err);
	if (r)
		return r;
	conf.url = p->websocket;
	conf.quiet_ms = PUSH_QUIET_MS;
	conf.answer_ms = PUSH_ANSWER_MS;
	r = weir_ws_open(d->pool, &conf, ctx ? ctx->cancel : NULL, &ws, err);
	if (!r)
		r = push_introduce(d, p, ws, ctx, err);
	if (!r) {
		p->ws = ws;
		return WEIR_OK;
	}
	weir_ws_close(ws);
	return r == WEIR_E_NOTSUP ? weir_err_wrap(err, WEIR_E_PROTO, "notify_push") : r;	/* it is announced, so it should be there */
}

/* ---- what it says ---- */

/* "notify_file_id [12,34]" */
static enum weir_code
push_tell_ids(const char *list, weir_change_fn *fn, void *arg, struct weir_err *err)
{
	json_t *ids = json_loads(list, 0, NULL);
	enum weir_code r = WEIR_OK;
	size_t n = json_array_size(ids);

	for (size_t i = 0; i < n && !r; i++) {
		json_t *id = json_array_get(ids, i);
		char text[24];

		snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(id));
		if (json_is_integer(id))
			r = fn(arg, &(struct weir_change){ .id = text }, err);
	}
	json_decref(ids);
	return n || r ? r : fn(arg, &(struct weir_change){ .id = NULL }, err);
}

/* notify_activity, notify_notification and what other apps send are not about files. */
static enum weir_code
push_tell(const char *text, weir_change_fn *fn, void *arg, struct weir_err *err)
{
	if (strncmp(text, "notify_file_id ", 15) == 0)
		return push_tell_ids(text + 15, fn, arg, err);
	if (strcmp(text, "notify_file") == 0)
		return fn(arg, &(struct weir_change){ .id = NULL }, err);
	if (strncmp(text, "err: ", 5) == 0 || strncmp(text, "Connection limit", 16) == 0)
		return weir_err_set(err, WEIR_E_THROTTLED, "notify_push: %.200s", text);
	return WEIR_OK;
}

static bool
push_is_news(const char *text)
{
	return strncmp(text, "notify_file", 11) == 0;
}

enum weir_code
weir_nc_listen(struct weir_backend *b, const struct weir_ctx *ctx, int64_t wait_ms, bool *is_new, weir_change_fn *fn, void *arg, struct weir_err *err)
{
	struct weir_dav *d = (struct weir_dav *)b;
	struct weir_nc_push *p = ((struct weir_nc *)d->own)->push;
	int64_t until_ms = weir_now_ms() + wait_ms;
	const char *text;
	size_t len;
	enum weir_code r;

	*is_new = false;
	if (!p)
		return weir_err_set(err, WEIR_E_NOTSUP, "notify_push is switched off in the configuration");
	if (!p->ws) {
		r = push_open(d, p, ctx, err);
		*is_new = !r;
		return r;
	}
	for (int n = 0; n < PUSH_AT_ONCE; n++) {
		int64_t left = until_ms - weir_now_ms();

		r = weir_ws_receive(p->ws, left > 0 ? left : 0, ctx ? ctx->cancel : NULL, &text, &len, err);
		if (!r && text)
			r = push_tell(text, fn, arg, err);
		if (r == WEIR_E_CANCELED)
			return r;
		if (r) {
			weir_ws_close(WEIR_STEAL(p->ws));
			return weir_err_wrap(err, r, "notify_push");
		}
		if (!text)
			break;
		if (push_is_news(text))
			until_ms = 0;	/* and what else has come already */
	}
	return WEIR_OK;
}
