/* SPDX-License-Identifier: Apache-2.0 */
/* One file by HTTP, through the engine in src/net. No credentials are ever sent, so redirects may be followed. */
#include "config.h"

#include "impl.h"

#include <pthread.h>
#include <string.h>

#include "../../src/net/http.h"

#define GET_REDIRECTS 4
#define GET_CONNECTIONS 8
#define GET_WAIT_MS 15000

struct weir_getter {
	const struct weir_catalogue_settings *settings;
	pthread_mutex_t lock;		/* while engine and pool are made */
	struct weir_http *http;
	struct weir_http_pool *pool;
	struct weir_cancel cancel;
};

struct weir_getter *
weir_getter_new(const struct weir_catalogue_settings *settings)
{
	struct weir_getter *g = weir_xcalloc(1, sizeof(*g));

	g->settings = settings;
	pthread_mutex_init(&g->lock, NULL);
	return g;
}

void
weir_getter_free(struct weir_getter *g)
{
	if (g == NULL)
		return;
	weir_http_pool_free(g->pool);
	weir_http_free(g->http);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

void
weir_getter_cancel(struct weir_getter *g)
{
	g->cancel.is_set = true;
}

static enum weir_code
get_ready(struct weir_getter *g, struct weir_err *err)
{
	struct weir_http_pool_conf conf = {
	    .name = "catalogue", .stall_ms = GET_WAIT_MS, .connect_ms = 10000, .max_connections = GET_CONNECTIONS,
	    .proxy = g->settings->proxy, .ca_file = g->settings->ca_file,
	};
	enum weir_code r = WEIR_OK;

	pthread_mutex_lock(&g->lock);
	if (g->http == NULL)
		r = weir_http_new(&g->http, err);
	if (r == WEIR_OK && g->pool == NULL)
		r = weir_http_pool_new(g->http, &conf, &g->pool, err);
	pthread_mutex_unlock(&g->lock);
	return r;
}

/* ---- one request ---- */

struct get_sink { struct weir_sink sink; struct weir_buf *out; };

static enum weir_code
get_write(struct weir_sink *sink, const void *data, size_t len)
{
	struct get_sink *s = (struct get_sink *)sink;

	return weir_buf_add(s->out, data, len) == 0 ? WEIR_OK : WEIR_E_FBIG;
}

static enum weir_code
get_once(struct weir_getter *g, const char *url, size_t max, struct weir_buf *out, struct weir_http_resp *resp, struct weir_err *err)
{
	static const char *const headers[] = {"User-Agent: weir/" PACKAGE_VERSION, "Accept: */*", NULL};
	struct get_sink sink = {.sink = {.write = get_write}, .out = out};
	struct weir_http_req req = {.method = "GET", .url = url, .headers = headers, .sink = &sink.sink, .cancel = &g->cancel};
	enum weir_code r;

	weir_buf_free(out);
	*out = (struct weir_buf)WEIR_BUF(max);
	r = weir_http_perform(g->pool, &req, resp, err);
	if (r == WEIR_E_FBIG)
		return weir_err_set(err, r, "it has more than %zu bytes", max);
	return r;
}

static enum weir_code
get_verdict(const char *url, int status, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *host = weir_http_url_host(url);
	const char *who = host != NULL ? host : "the server";

	if (status == 404 || status == 410)
		return weir_err_set(err, WEIR_E_NOENT, "%s has no such file (HTTP %d)", who, status);
	if (status == 401 || status == 403)
		return weir_err_set(err, WEIR_E_ACCES, "%s does not let us read it (HTTP %d)", who, status);
	if (status == 429)
		return weir_err_set(err, WEIR_E_THROTTLED, "%s asks us to slow down (HTTP 429)", who);
	return weir_err_set(err, status >= 500 ? WEIR_E_SERVER : WEIR_E_PROTO, "%s answers with HTTP %d", who, status);
}

enum weir_code
weir_get(struct weir_getter *g, const char *url, size_t max, struct weir_buf *out, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *at = weir_xstrdup(url);
	enum weir_code r = get_ready(g, err);

	for (int i = 0; r == WEIR_OK && i <= GET_REDIRECTS; i++) {
		struct weir_http_resp resp = {0};
		char *next = NULL;

		r = get_once(g, at, max, out, &resp, err);
		if (r == WEIR_OK && resp.status >= 200 && resp.status < 300) {
			weir_http_resp_free(&resp);
			return WEIR_OK;
		}
		if (r == WEIR_OK)
			next = weir_http_redirect(at, &resp);
		if (r == WEIR_OK && next == NULL)
			r = get_verdict(at, resp.status, err);
		weir_http_resp_free(&resp);
		if (next != NULL) {
			free(at);
			at = next;
		}
	}
	return r != WEIR_OK ? r : weir_err_set(err, WEIR_E_PROTO, "too many redirects");
}
