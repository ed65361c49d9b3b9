/* SPDX-License-Identifier: Apache-2.0 */
/* The issuer's public keys: from a file that the policy names, from what was fetched before, or from the issuer (OpenID Connect Discovery 1.0, section 4).
 *
 * What was fetched is kept in the user's own cache, for keys_age without asking, and for keys_offline when the issuer does not answer. A policy of root's
 * trusts no file that the user could write: then the keys are fetched each time, or come from keys_file. */
#include "config.h"

#include "keys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../src/net/http.h"
#include "../../src/util/text.h"

#define KEYS_STALL_MS 5000
#define KEYS_LIMIT_MS 15000	/* for one answer, however slowly it comes */
#define KEYS_DOCUMENT_MAX (64u << 10)
#define KEYS_AGAIN_S 60		/* an unknown key makes us ask the issuer again, but not more often than this */

/* ---- the wire ---- */

struct keys_sink {
	struct weir_sink sink;
	struct weir_buf buf;
	int64_t until_ms;
};

static enum weir_code
keys_take(struct weir_sink *sink, const void *data, size_t len)
{
	struct keys_sink *s = (struct keys_sink *)sink;

	if (weir_now_ms() > s->until_ms)
		return WEIR_E_TIMEDOUT;
	return weir_buf_add(&s->buf, data, len) == 0 ? WEIR_OK : WEIR_E_FBIG;
}

static enum weir_code
keys_head(void *arg, const struct weir_http_resp *resp, struct weir_err *err)
{
	const char *url = arg;

	if (resp->status == 200)
		return WEIR_OK;
	return weir_err_set(err, resp->status >= 500 ? WEIR_E_SERVER : WEIR_E_PROTO, "%.200s: HTTP %d", url, resp->status);
}

/* Owned. */
static enum weir_code
keys_get(struct weir_http_pool *pool, const char *url, size_t max, char **out, size_t *len, struct weir_err *err)
{
	static const char *const headers[] = {"Accept: application/json", NULL};
	struct keys_sink s = {.sink.write = keys_take, .buf = WEIR_BUF(max), .until_ms = weir_now_ms() + KEYS_LIMIT_MS};
	struct weir_http_req req = {.method = "GET", .url = url, .headers = headers, .sink = &s.sink, .on_head = keys_head, .on_head_arg = (void *)(uintptr_t)url};
	struct weir_http_resp resp = {0};
	struct weir_err why = {0};
	enum weir_code r = weir_http_perform(pool, &req, &resp, &why);

	weir_http_resp_free(&resp);
	if (r == WEIR_E_FBIG)
		weir_err_set(&why, r, "%.200s: the answer is longer than %zu bytes", url, max);
	else if (r == WEIR_E_TIMEDOUT)
		weir_err_set(&why, r, "%.200s: no whole answer within %d s", url, KEYS_LIMIT_MS / 1000);
	if (r != WEIR_OK) {
		weir_buf_free(&s.buf);
		return weir_err_set(err, r, "%.300s", weir_err_text(&why, r));
	}
	*len = s.buf.len;
	*out = weir_buf_take(&s.buf);
	return WEIR_OK;
}

/* "jwks_uri" of the issuer's document, which must be the issuer's own: section 4.3. Owned. */
static enum weir_code
keys_address(struct weir_http_pool *pool, const char *issuer, char **out, struct weir_err *err)
{
	size_t n = strlen(issuer), len;
	WEIR_AUTO(weir_freep) char *url = NULL, *text = NULL;
	const char *named, *keys;
	json_t *o;
	enum weir_code r;

	while (n > 0 && issuer[n - 1] == '/')
		n--;
	url = weir_xasprintf("%.*s/.well-known/openid-configuration", (int)n, issuer);
	r = keys_get(pool, url, KEYS_DOCUMENT_MAX, &text, &len, err);
	if (r != WEIR_OK)
		return r;
	o = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	named = json_string_value(json_object_get(o, "issuer"));
	keys = json_string_value(json_object_get(o, "jwks_uri"));
	if (named == NULL || strcmp(named, issuer) != 0)
		r = weir_err_set(err, WEIR_E_PROTO, "%.200s is the document of another issuer, '%.100s'", url, named != NULL ? named : "");
	else if (keys == NULL || !weir_http_url_is_safe(keys))
		r = weir_err_set(err, WEIR_E_PROTO, "%.200s names no https address of keys (jwks_uri)", url);
	else
		*out = weir_xstrdup(keys);
	json_decref(o);
	return r;
}

static enum weir_code
keys_fetch_with(struct weir_http_pool *pool, const char *issuer, char **json, size_t *len, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *url = NULL;
	struct weir_jwks keys = {0};
	enum weir_code r = keys_address(pool, issuer, &url, err);

	if (r == WEIR_OK)
		r = keys_get(pool, url, WEIR_JWKS_MAX, json, len, err);
	if (r == WEIR_OK && (r = weir_jwks_parse(*json, *len, &keys, err)) != WEIR_OK)
		return weir_err_wrap(err, r, "%.200s", url);
	weir_jwks_clear(&keys);
	return r;
}

/* The engine's thread ends before this returns: a job's process forks afterwards. */
static enum weir_code
keys_fetch(const struct weir_access_policy *p, char **json, size_t *len, struct weir_err *err)
{
	struct weir_http_pool_conf conf = {.name = "issuer", .proxy = p->proxy, .ca_file = p->ca_file, .stall_ms = KEYS_STALL_MS,
	    .connect_ms = KEYS_STALL_MS, .max_connections = 1};
	struct weir_http_pool *pool = NULL;
	struct weir_http *http = NULL;
	enum weir_code r = weir_http_new(&http, err);

	if (r != WEIR_OK)
		return r;
	r = weir_http_pool_new(http, &conf, &pool, err);
	if (r == WEIR_OK) {
		r = keys_fetch_with(pool, p->issuer, json, len, err);
		weir_http_pool_free(pool);
	}
	weir_http_free(http);
	return r;
}

/* ---- what was fetched before ---- */

/* Owned; NULL: there is no place for it, or none that may be trusted. */
static char *
keys_cache_path(const struct weir_access_policy *p)
{
	WEIR_AUTO(weir_freep) char *dir = NULL;
	const char *xdg = getenv("XDG_CACHE_HOME");
	unsigned char sum[WEIR_SHA256_LEN];
	char hex[33];

	if (p->is_roots && getuid() != 0)
		return NULL;
	if (getuid() == 0)
		dir = weir_xstrdup("/var/cache");
	else
		dir = xdg != NULL && *xdg == '/' ? weir_xstrdup(xdg) : weir_path_expand("~/.cache", NULL);
	if (dir == NULL)
		return NULL;
	weir_sha256(p->issuer, strlen(p->issuer), sum);
	weir_hex(sum, 16, hex);
	return weir_xasprintf("%s/weir/issuers/%s.json", dir, hex);
}

static bool
keys_cache_read(const char *path, const char *issuer, int64_t now_s, struct weir_keys *out)
{
	WEIR_AUTO(weir_freep) char *text = NULL, *keys = NULL;
	json_t *o;
	size_t len;
	bool is_good;

	if (path == NULL || weir_read_file(path, 2 * WEIR_JWKS_MAX, &text, &len) != 0)
		return false;
	o = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	keys = json_dumps(json_object_get(o, "keys"), JSON_COMPACT);
	out->fetched_s = json_integer_value(json_object_get(o, "fetched"));
	is_good = keys != NULL && json_string_value(json_object_get(o, "issuer")) != NULL && strcmp(json_string_value(json_object_get(o, "issuer")), issuer) == 0 &&
	    out->fetched_s > 0 && out->fetched_s <= now_s && weir_jwks_parse(keys, strlen(keys), &out->set, NULL) == WEIR_OK;
	json_decref(o);
	return is_good;
}

/* What cannot be kept is fetched again. */
static void
keys_cache_write(const char *path, const char *issuer, const char *json, size_t len, int64_t now_s)
{
	WEIR_AUTO(weir_freep) char *dir = path != NULL ? weir_xstrdup(path) : NULL, *text = NULL;
	json_t *o;

	if (path == NULL)
		return;
	*strrchr(dir, '/') = '\0';
	o = json_pack("{s:s, s:I, s:o}", "issuer", issuer, "fetched", (json_int_t)now_s, "keys", json_loadb(json, len, 0, NULL));
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (text == NULL || weir_mkdirs(dir, 0700) < 0 || weir_write_file(path, text, strlen(text)) < 0)
		weir_log(WEIR_LOG_DEBUG, "the issuer's keys cannot be kept in '%s'", path);
}

/* ---- which ---- */

static enum weir_code
keys_from_file(const struct weir_access_policy *p, const struct weir_access_who *w, struct weir_keys *out, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *text = NULL;
	size_t len;
	enum weir_code r;

	if (p->is_roots && w->uid != 0 && weir_who_could_change(w, p->keys_file))
		return weir_err_set(err, WEIR_E_CONFIG, "%s could write '%s' or a folder above it", w->name, p->keys_file);
	if (weir_read_file(p->keys_file, WEIR_JWKS_MAX, &text, &len) != 0)
		return weir_err_errno(err, errno, "'%s'", p->keys_file);
	r = weir_jwks_parse(text, len, &out->set, err);
	out->is_final = true;
	return r == WEIR_OK ? r : weir_err_wrap(err, r, "'%s'", p->keys_file);
}

enum weir_code
weir_keys_get(const struct weir_access_policy *p, const struct weir_access_who *w, bool is_again, int64_t now_s, struct weir_keys *out, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *path = NULL, *json = NULL;
	struct weir_keys old = {0};
	bool has_old;
	size_t len;
	enum weir_code r;

	if (p->keys_file != NULL)
		return keys_from_file(p, w, out, err);
	path = keys_cache_path(p);
	has_old = keys_cache_read(path, p->issuer, now_s, &old);
	if (has_old && now_s - old.fetched_s < (is_again ? KEYS_AGAIN_S : p->keys_age_s)) {
		old.is_final = now_s - old.fetched_s < KEYS_AGAIN_S;
		*out = old;
		return WEIR_OK;
	}
	r = keys_fetch(p, &json, &len, err);
	if (r == WEIR_OK) {
		keys_cache_write(path, p->issuer, json, len, now_s);
		weir_jwks_clear(&old.set);
		*out = (struct weir_keys){.fetched_s = now_s, .is_final = true};
		return weir_jwks_parse(json, len, &out->set, err);
	}
	if (!has_old || now_s - old.fetched_s >= p->keys_offline_s) {
		weir_jwks_clear(&old.set);
		return r;
	}
	old.is_final = true;	/* the issuer does not answer now */
	*out = old;
	return WEIR_OK;
}
