/* SPDX-License-Identifier: Apache-2.0 */
/* WebDAV requests: addresses, credentials, refusals as codes and sentences, PROPFIND. Nothing here loops: one call is one
 * request, but for the second look that tells what a refusal meant. */
#include "config.h"

#include "dav.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "../src/util/text.h"
#include "../src/util/util.h"

#define DAV_SYNTHETIC "mtime:"	/* a version made of time and size, where there is no ETag */
#define DAV_URL_MAX (64u << 10)
#define DAV_LIST_MAX 2000000u		/* entries of one folder held in memory */
#define DAV_PROPFIND_STALL_MS 60000	/* a server may think long about a large folder before its first byte */

/* ---- opening ---- */

/* *auth: the header, owned; NULL for a server that is asked without. */
static enum weir_code
dav_credentials(const struct weir_remote_conf *rc, char **auth, struct weir_err *err)
{
	WEIR_AUTO(weir_secret_freep) char *password = NULL;
	WEIR_AUTO(weir_secret_freep) char *token = NULL;
	WEIR_AUTO(weir_secret_freep) char *plain = NULL;
	WEIR_AUTO(weir_secret_freep) char *coded = NULL;
	const char *user = weir_conf_get(rc, "user");
	enum weir_code r;

	r = weir_conf_secret(rc, "password", &password, err);
	if (!r)
		r = weir_conf_secret(rc, "bearer_token", &token, err);
	if (r)
		return r;
	if (token && (password || user))
		return weir_err_set(err, WEIR_E_CONFIG, "'bearer_token' and 'user' with 'password' exclude each other");
	if (token && token[strcspn(token, "\r\n")] != '\0')
		return weir_err_set(err, WEIR_E_CONFIG, "the bearer token holds a line break");
	if (token) {
		*auth = weir_xasprintf("Authorization: Bearer %s", token);
		return WEIR_OK;
	}
	if (!user && !password)
		return WEIR_OK;
	if (!user || !password)
		return weir_err_set(err, WEIR_E_CONFIG, "'%s' is given, but not '%s'", user ? "user" : "password",
		    user ? "password" : "user");
	if (strchr(user, ':'))
		return weir_err_set(err, WEIR_E_CONFIG, "user '%s': a colon cannot stand in a user name", user);
	plain = weir_xasprintf("%s:%s", user, password);
	coded = weir_xcalloc(1, weir_base64_len(strlen(plain)));
	weir_base64(plain, strlen(plain), coded);
	*auth = weir_xasprintf("Authorization: Basic %s", coded);
	return WEIR_OK;
}

enum weir_code
weir_dav_sign_in(struct weir_dav *d, struct weir_err *err)
{
	WEIR_AUTO(weir_secret_freep) char *fresh = NULL;
	struct weir_dav_old *old;
	enum weir_code r = WEIR_OK;

	if (!atomic_exchange(&d->is_auth_dead, false))
		return WEIR_OK;
	/* A command may ask a person something: it is not run again by itself. */
	if (!weir_conf_get(d->conf, "password_file") && !weir_conf_get(d->conf, "bearer_token_file"))
		return WEIR_OK;
	r = dav_credentials(d->conf, &fresh, err);
	if (r) {
		atomic_store(&d->is_auth_dead, true);
		return weir_err_wrap(err, WEIR_E_AUTH, "the credentials were refused, and there are no others");
	}
	if (!fresh || strcmp(fresh, d->auth) == 0)
		return WEIR_OK;
	old = weir_xcalloc(1, sizeof(*old));
	pthread_mutex_lock(&d->lock);
	old->auth = atomic_exchange(&d->auth, WEIR_STEAL(fresh));
	old->next = d->old;
	d->old = old;
	pthread_mutex_unlock(&d->lock);
	return WEIR_OK;
}

static char *
dav_encode(const char *path)
{
	struct weir_buf b = WEIR_BUF(DAV_URL_MAX);

	weir_url_encode(&b, path, strlen(path), "/");	/* too long: cut here, refused by the server as missing */
	return weir_buf_take(&b);
}

void
weir_dav_set_root(struct weir_dav *d, const char *plain)
{
	size_t n = strlen(plain);

	while (n && plain[n - 1] == '/')
		n--;
	free(d->root);
	free(d->root_plain);
	d->root_plain = weir_xstrndup(plain, n);
	d->root = dav_encode(d->root_plain);
}

/* "https://host:8443/a%20b/" -> origin and root. */
static enum weir_code
dav_address(struct weir_dav *d, const char *url, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *path = NULL;
	WEIR_AUTO(weir_freep) char *host = NULL;
	const char *p, *at;
	size_t n = strlen(url);

	if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0)
		return weir_err_set(err, WEIR_E_CONFIG, "url '%s' does not begin with https:// or http://", url);
	if (url[strcspn(url, "?#")] != '\0')
		return weir_err_set(err, WEIR_E_CONFIG, "url '%s' holds a '?' or '#'; give the address of the folder alone", url);
	while (n && url[n - 1] == '/')
		n--;
	p = strstr(url, "://") + 3;
	at = strchr(p, '@');
	if (at && at < p + strcspn(p, "/"))
		return weir_err_set(err, WEIR_E_CONFIG, "the url holds a user name; give 'user' and 'password' instead");
	host = weir_http_url_host(url);
	if (!host || !*host)
		return weir_err_set(err, WEIR_E_CONFIG, "url '%s' is not an address", url);
	d->url = weir_xstrndup(url, n);
	p = strchr(p, '/');
	d->origin = p ? weir_xstrndup(url, (size_t)(p - url)) : weir_xstrdup(url);
	path = weir_xstrdup(p ? p : "");
	weir_url_decode(path, false);
	weir_dav_set_root(d, path);
	return WEIR_OK;
}

enum weir_code
weir_dav_open(struct weir_dav **out, const struct weir_dav_dialect *dialect, const struct weir_remote_conf *rc, struct weir_http *http,
    int connections, struct weir_err *err)
{
	struct weir_dav *d = weir_xcalloc(1, sizeof(*d));
	struct weir_http_pool_conf pc = { .name = rc->name, .proxy = rc->proxy, .ca_file = rc->ca_file, .up_bytes_s = rc->bandwidth_up,
		.down_bytes_s = rc->bandwidth_down, .stall_ms = dialect->stall_ms ? dialect->stall_ms : 5000,
		.connect_ms = 5000, .max_connections = connections };
	WEIR_AUTO(weir_secret_freep) char *auth = NULL;
	const char *url;
	enum weir_code r;

	pthread_mutex_init(&d->lock, NULL);
	d->dialect = dialect;
	d->conf = rc;
	d->user = weir_xstrdup(weir_conf_get(rc, "user"));
	r = weir_conf_need(rc, "url", &url, err);
	if (!r)
		r = dav_address(d, url, err);
	if (!r)
		r = dav_credentials(rc, &auth, err);
	atomic_init(&d->auth, WEIR_STEAL(auth));
	if (!r)
		r = weir_http_pool_new(http, &pc, &d->pool, err);
	if (r) {
		weir_dav_close(&d->base);
		return r;
	}
	d->base.limits.connections = connections;
	*out = d;
	return WEIR_OK;
}

void
weir_dav_close(struct weir_backend *b)
{
	struct weir_dav *d = (struct weir_dav *)b;

	if (d->pool)
		weir_http_pool_free(d->pool);
	if (d->dialect && d->dialect->free)
		d->dialect->free(d->own);
	pthread_mutex_destroy(&d->lock);
	weir_secret_free(d->auth);
	while (d->old) {
		struct weir_dav_old *old = d->old;

		d->old = old->next;
		weir_secret_free(old->auth);
		free(old);
	}
	free(d->url);
	free(d->user);
	free(d->origin);
	free(d->root);
	free(d->root_plain);
	free(d);
}

void
weir_dav_stats(struct weir_backend *b, int64_t *heard_ms, struct weir_http_stats *stats)
{
	struct weir_dav *d = (struct weir_dav *)b;

	if (heard_ms)
		*heard_ms = weir_http_pool_heard_ms(d->pool);
	if (stats)
		weir_http_pool_stats(d->pool, stats);
}

enum weir_code
weir_dav_ready(struct weir_dav *d, const struct weir_ctx *ctx, struct weir_err *err)
{
	enum weir_code r = WEIR_OK;

	if (atomic_load_explicit(&d->is_ready, memory_order_acquire))
		return WEIR_OK;
	pthread_mutex_lock(&d->lock);
	if (!atomic_load(&d->is_ready)) {
		if (d->dialect->ready)
			r = d->dialect->ready(d, ctx, err);
		if (!r)
			atomic_store_explicit(&d->is_ready, true, memory_order_release);
	}
	pthread_mutex_unlock(&d->lock);
	return r;
}

enum weir_code
weir_dav_check_name(struct weir_dav *d, const char *path, struct weir_err *err)
{
	const char *leaf = strrchr(path, '/');
	const struct weir_limits *l = &d->base.limits;
	WEIR_AUTO(weir_freep) char *escaped = NULL;

	leaf = leaf ? leaf + 1 : path;
	escaped = weir_dav_escape(&d->names, leaf);
	if (l->name_max && strlen(escaped) > l->name_max)
		return weir_err_set(err, WEIR_E_NAMETOOLONG, "'%s': the storage takes names of %zu bytes at most", leaf, l->name_max);
	if (l->path_max && strlen(path) > l->path_max)
		return weir_err_set(err, WEIR_E_NAMETOOLONG, "'%s': the storage takes paths of %zu bytes at most", leaf, l->path_max);
	if (*leaf == '.' && atomic_load(&d->hides_dots))
		return weir_err_set(err, WEIR_E_NAME, "'%s': the server takes names that begin with a dot, but never lists them", leaf);
	return d->dialect->name ? d->dialect->name(d, escaped, err) : WEIR_OK;
}

/* ---- requests ---- */

char *
weir_dav_abs_path(const struct weir_dav *d, const char *path, bool is_dir)
{
	WEIR_AUTO(weir_freep) char *escaped = weir_dav_escape(&d->names, path);
	WEIR_AUTO(weir_freep) char *enc = dav_encode(escaped);

	if (!*path)
		return weir_xasprintf("%s/", d->root);
	return weir_xasprintf("%s/%s%s", d->root, enc, is_dir ? "/" : "");
}

char *
weir_dav_plain(const struct weir_dav *d, const char *path)
{
	WEIR_AUTO(weir_freep) char *escaped = weir_dav_escape(&d->names, path);

	return weir_xasprintf("%s%s%s", d->root_plain, *path ? "/" : "", escaped);
}

char *
weir_dav_url(const struct weir_dav *d, const char *path, bool is_dir)
{
	WEIR_AUTO(weir_freep) char *abs = weir_dav_abs_path(d, path, is_dir);

	return weir_xasprintf("%s%s", d->origin, abs);
}

void
weir_dav_call_url(struct weir_dav_call *c, const char *method, char *url)
{
	memset(c, 0, sizeof(*c));
	c->url = url;
	c->req.method = method;
	c->req.url = url;
	c->path = "";
}

void
weir_dav_call(struct weir_dav_call *c, struct weir_dav *d, const char *method, const char *path, bool is_dir)
{
	weir_dav_call_url(c, method, weir_dav_url(d, path, is_dir));
	c->path = path;
}

void
weir_dav_header(struct weir_dav_call *c, const char *fmt, ...)
{
	struct weir_buf b = WEIR_BUF(DAV_URL_MAX);
	va_list ap;

	if (c->nheaders == WEIR_DAV_HEADERS)
		return;
	va_start(ap, fmt);
	weir_buf_vaddf(&b, fmt, ap);
	va_end(ap);
	c->headers[c->nheaders++] = weir_buf_take(&b);
}

void
weir_dav_body(struct weir_dav_call *c, const char *xml)
{
	weir_dav_header(c, "Content-Type: application/xml; charset=utf-8");
	c->req.body = xml;
	c->req.body_len = strlen(xml);
	c->req.has_body = true;
}

void
weir_dav_call_free(struct weir_dav_call *c)
{
	for (size_t i = 0; i < c->nheaders; i++)
		free(c->headers[i]);
	free(c->url);
	weir_http_resp_free(&c->resp);
	memset(c, 0, sizeof(*c));
}

static const char *
dav_status_text(int status)
{
	static const struct { int status; const char *text; } names[] = {
		{ 301, "moved permanently" }, { 302, "found elsewhere" }, { 400, "bad request" }, { 401, "unauthorized" },
		{ 403, "forbidden" }, { 404, "not found" }, { 405, "method not allowed" }, { 409, "conflict" }, { 410, "gone" },
		{ 411, "length required" }, { 412, "precondition failed" }, { 413, "too large" }, { 414, "address too long" },
		{ 415, "unsupported media type" }, { 423, "locked" }, { 424, "failed dependency" }, { 429, "too many requests" },
		{ 500, "internal server error" }, { 501, "not implemented" }, { 502, "bad gateway" }, { 503, "service unavailable" },
		{ 504, "gateway timeout" }, { 507, "insufficient storage" },
	};

	for (size_t i = 0; i < WEIR_LEN(names); i++)
		if (names[i].status == status)
			return names[i].text;
	return "";
}

/* "PUT: 403 forbidden: REASON" */
static enum weir_code
dav_sentence(const struct weir_dav_call *c, enum weir_code code, struct weir_err *err)
{
	const char *text = dav_status_text(c->resp.status);
	char reason[320];

	weir_dav_reason(c->resp.body.data, c->resp.body.len, reason, sizeof(reason));
	return weir_err_set(err, code, "'%s': %s answered %d%s%s%s%s", c->path, c->req.method, c->resp.status, *text ? " " : "", text,
	    *reason ? ": " : "", reason);
}

static enum weir_code
dav_auth_failed(struct weir_dav *d, const struct weir_dav_call *c, struct weir_err *err)
{
	char reason[320], scheme[64];

	atomic_store(&d->is_auth_dead, true);
	weir_dav_reason(c->resp.body.data, c->resp.body.len, reason, sizeof(reason));
	if (weir_http_header(&c->resp, "WWW-Authenticate", scheme, sizeof(scheme)) && strncasecmp(scheme, "Digest", 6) == 0)
		return weir_err_set(err, WEIR_E_AUTH, "the server wants Digest authentication; only Basic and bearer tokens are supported");
	if (!d->auth)
		return weir_err_set(err, WEIR_E_AUTH, "the server wants credentials (401%s%s); give 'user' and 'password'",
		    *reason ? ": " : "", reason);
	return weir_err_set(err, WEIR_E_AUTH, "the server refuses %s%s%s (401%s%s)", d->user ? "user '" : "the token",
	    d->user ? d->user : "", d->user ? "'" : "", *reason ? ": " : "", reason);
}

enum weir_code
weir_dav_send(struct weir_dav *d, const struct weir_ctx *ctx, struct weir_dav_call *c, struct weir_err *err)
{
	const char *list[WEIR_DAV_HEADERS + 3], *auth = d->auth;
	size_t n = 0;
	enum weir_code r;

	if (atomic_load(&d->is_auth_dead))
		return weir_err_set(err, WEIR_E_AUTH, "the server refused %s%s%s before; not asked again until it is checked",
		    d->user ? "user '" : "the credentials", d->user ? d->user : "", d->user ? "'" : "");
	for (; n < c->nheaders; n++)
		list[n] = c->headers[n];
	if (auth)
		list[n++] = auth;
	list[n] = NULL;
	c->req.headers = list;
	if (ctx)
		c->req.cancel = ctx->cancel;
	r = weir_http_perform(d->pool, &c->req, &c->resp, err);
	c->req.headers = NULL;
	if (r)
		return r;
	if (d->dialect->status)
		c->resp.status = d->dialect->status(c);
	if (c->resp.status == 401)
		return dav_auth_failed(d, c, err);
	if (c->resp.status == 429 || c->resp.status == 503 || c->resp.status == 425 || c->resp.status == 509) {
		int64_t wait = weir_http_retry_after_ms(&c->resp);

		if (wait > 0)
			weir_backend_pause(&d->base, wait);
		return dav_sentence(c, WEIR_E_THROTTLED, err);
	}
	return WEIR_OK;
}

const char *
weir_dav_location(const struct weir_http_resp *resp, char *out, size_t max)
{
	if (!weir_http_header(resp, "Location", out, max))
		out[0] = '\0';
	for (char *p = out; *p; p++)
		if ((unsigned char)*p < ' ')
			*p = '?';
	return out;
}

/* Statuses inside a multistatus that answers MOVE, COPY or DELETE of a folder: the first failure speaks for all. */
static enum weir_code
dav_first_failure(void *arg, struct weir_dav_item *it, struct weir_err *err)
{
	int s = it->status ? it->status : it->bad_status;

	(void)err;
	if (s >= 400 && *(int *)arg == 0)
		*(int *)arg = s;
	return WEIR_OK;
}

static int
dav_inner_status(const struct weir_http_resp *resp)
{
	int status = 0;
	struct weir_dav_xml *x = weir_dav_xml_new(dav_first_failure, &status);

	weir_dav_xml_feed(x, weir_buf_str(&resp->body), resp->body.len, true, NULL);
	weir_dav_xml_free(x);
	return status ? status : 207;
}

static enum weir_code
dav_status_code(const struct weir_dav_call *c)
{
	int s = c->resp.status == 207 ? dav_inner_status(&c->resp) : c->resp.status;

	switch (s) {
	case 400: return WEIR_E_INVAL;
	case 403: return strstr(weir_buf_str(&c->resp.body), ":retry>true<") ? WEIR_E_LOCKED : WEIR_E_ACCES;	/* Nextcloud: later may work */
	case 404: case 409: case 410: return WEIR_E_NOENT;
	case 405: case 501: return WEIR_E_NOTSUP;
	case 412: return WEIR_E_CHANGED;
	case 413: return WEIR_E_FBIG;
	case 414: return WEIR_E_NAMETOOLONG;
	case 415: return WEIR_E_NOTDIR;
	case 423: return WEIR_E_LOCKED;
	case 507: return WEIR_E_NOSPC;
	default: return s >= 500 && s <= 599 ? WEIR_E_SERVER : WEIR_E_PROTO;
	}
}

enum weir_code
weir_dav_refused(const struct weir_dav_call *c, struct weir_err *err)
{
	char to[400];

	if (c->resp.status / 100 == 3 && *weir_dav_location(&c->resp, to, sizeof(to)))
		return weir_err_set(err, WEIR_E_PROTO, "'%s': %s is redirected to '%s'", c->path, c->req.method, to);
	return dav_sentence(c, dav_status_code(c), err);
}

enum weir_code
weir_dav_refused_at(struct weir_dav *d, const struct weir_ctx *ctx, const struct weir_dav_call *c, const char *path, struct weir_err *err)
{
	const char *slash = strrchr(path, '/');
	WEIR_AUTO(weir_freep) char *parent = slash ? weir_xstrndup(path, (size_t)(slash - path)) : weir_xstrdup("");
	struct weir_stat st = { 0 };
	enum weir_code r = WEIR_OK;
	int s = c->resp.status;

	if (s == 412 || s == 413 || s == 414 || s == 423 || s == 507 || s == 502 || s == 504)
		return weir_dav_refused(c, err);
	if (*parent)
		r = weir_dav_stat(d, ctx, parent, &st, NULL);
	if (!r && *parent && st.type != WEIR_DIR)
		r = WEIR_E_NOTDIR;
	weir_stat_free(&st);
	if (r == WEIR_E_NOENT || r == WEIR_E_NOTDIR)
		return weir_err_set(err, r, "'%s': its folder %s", path, r == WEIR_E_NOENT ? "is not there" : "is a file");
	if (r)
		return weir_dav_refused(c, err);
	r = weir_dav_stat(d, ctx, path, &st, NULL);
	if (!r && st.type == WEIR_DIR) {
		weir_stat_free(&st);
		return weir_err_set(err, WEIR_E_ISDIR, "'%s' is a folder", path);
	}
	weir_stat_free(&st);
	return weir_dav_refused(c, err);
}

bool
weir_dav_same(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

bool
weir_dav_require(struct weir_dav_call *c, const struct weir_dav *d, enum weir_dav_how how, const char *path, const char *version)
{
	WEIR_AUTO(weir_freep) char *abs = NULL;

	if (how == WEIR_DAV_HOW_NONE || strncmp(version, DAV_SYNTHETIC, strlen(DAV_SYNTHETIC)) == 0)
		return false;
	if (how == WEIR_DAV_HOW_IF_MATCH) {
		weir_dav_header(c, "If-Match: \"%s\"", version);
		return true;
	}
	abs = weir_dav_abs_path(d, path, false);	/* tagged: an untagged list would be asked of the parent too (mod_dav: 424) */
	weir_dav_header(c, "If: <%s> ([\"%s\"])", abs, version);
	return true;
}

/* ---- what an answer tells of an object ---- */

static char *
dav_version(const char *etag, int64_t mtime_ns, uint64_t size)
{
	char *v = weir_dav_etag(etag);

	if (!v && mtime_ns != WEIR_TIME_NONE && size != WEIR_SIZE_NONE)
		v = weir_xasprintf(DAV_SYNTHETIC "%lld-%llu", (long long)(mtime_ns / 1000000000), (unsigned long long)size);
	return v;
}

/* "SHA1:abc MD5:def": the first of a kind we know, as "sha1:abc". */
static char *
dav_sum(const char *list)
{
	static const struct { const char *name; size_t hex; } kinds[] = { { "md5:", 32 }, { "sha1:", 40 }, { "sha256:", 64 } };

	for (const char *p = list; p && *p; p += strcspn(p, " "), p += strspn(p, " ")) {
		for (size_t i = 0; i < WEIR_LEN(kinds); i++) {
			size_t n = strlen(kinds[i].name);

			if (strncasecmp(p, kinds[i].name, n) == 0 && strcspn(p, " ") == n + kinds[i].hex) {
				char *sum = weir_xstrndup(p, n + kinds[i].hex);

				for (char *q = sum; *q; q++)
					if (*q >= 'A' && *q <= 'Z')
						*q = (char)(*q - 'A' + 'a');
				return sum;
			}
		}
	}
	return NULL;
}

/* oc:permissions: W a file may be written, C and K files and folders may be made in a folder. */
static bool
dav_is_readonly(const struct weir_dav_item *it)
{
	if (!it->permissions)
		return false;
	return it->is_collection ? !strpbrk(it->permissions, "CK") : !strchr(it->permissions, 'W');
}

void
weir_dav_item_stat(struct weir_dav *d, struct weir_dav_item *it, struct weir_stat *st)
{
	*st = (struct weir_stat){ .type = it->is_collection ? WEIR_DIR : WEIR_FILE, .size = it->length, .mtime_ns = it->mtime_ns,
		.mode = WEIR_MODE_NONE, .is_readonly = dav_is_readonly(it) };
	st->id = WEIR_STEAL(it->fileid);
	if (it->is_collection) {
		st->size = 0;
		st->version = d->is_nextcloud ? weir_dav_etag(it->etag) : NULL;	/* elsewhere it does not tell what is below */
	} else {
		st->version = dav_version(it->etag, it->mtime_ns, it->length);
		if (st->version && !d->is_nextcloud)
			atomic_store(&d->has_no_etag, strncmp(st->version, DAV_SYNTHETIC, strlen(DAV_SYNTHETIC)) == 0);
		st->sum = dav_sum(it->checksums);
	}
}

/* "00000259oczn5x60nrdu" (padded id, then the instance) is the "259" of the listings. */
static char *
dav_file_id(const char *s)
{
	size_t n;

	s += strspn(s, "0");
	n = strspn(s, "0123456789");
	return n ? weir_xstrndup(s, n) : NULL;
}

void
weir_dav_head_stat(const struct weir_http_resp *resp, struct weir_stat *st)
{
	char v[1024];

	*st = (struct weir_stat){ .type = WEIR_FILE, .size = WEIR_SIZE_NONE, .mtime_ns = WEIR_TIME_NONE, .mode = WEIR_MODE_NONE };
	if (weir_http_header(resp, "OC-ETag", v, sizeof(v)) || weir_http_header(resp, "ETag", v, sizeof(v)))
		st->version = weir_dav_etag(v);
	if (weir_http_header(resp, "OC-FileId", v, sizeof(v)))
		st->id = dav_file_id(v);
	if (weir_http_header(resp, "Last-Modified", v, sizeof(v)))
		st->mtime_ns = weir_date_parse(v);
	if (weir_http_header(resp, "OC-Checksum", v, sizeof(v)))
		st->sum = dav_sum(v);
}

/* ---- PROPFIND ---- */

struct dav_propfind {			/* a 207 is parsed as it comes; another answer stays in resp.body */
	struct weir_sink sink;
	struct weir_dav_xml *xml;
	struct weir_err err;		/* the parser's; the engine only passes the code on */
	struct weir_dav_listing *into;
};

static enum weir_code
propfind_write(struct weir_sink *s, const void *data, size_t len)
{
	struct dav_propfind *p = (struct dav_propfind *)s;

	return weir_dav_xml_feed(p->xml, data, len, false, &p->err);
}

static enum weir_code
propfind_item(void *arg, struct weir_dav_item *it, struct weir_err *err)
{
	struct weir_dav_listing *l = arg;

	if (l->n == DAV_LIST_MAX)
		return weir_err_set(err, WEIR_E_FBIG, "the folder holds more than %u entries", DAV_LIST_MAX);
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 8;
		l->items = weir_xrealloc(l->items, l->cap, sizeof(*l->items));
	}
	l->items[l->n++] = *it;
	memset(it, 0, sizeof(*it));
	return WEIR_OK;
}

void
weir_dav_listing_free(struct weir_dav_listing *l)
{
	for (size_t i = 0; i < l->n; i++)
		weir_dav_item_clear(&l->items[i]);
	free(l->items);
	memset(l, 0, sizeof(*l));
}

static enum weir_code
dav_propfind(struct weir_dav *d, const struct weir_ctx *ctx, struct weir_dav_call *c, int depth, const char *props,
    struct weir_dav_listing *into, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *body = weir_xasprintf("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<d:propfind xmlns:d=\"DAV:\" "
	    "xmlns:oc=\"http://owncloud.org/ns\" xmlns:nc=\"http://nextcloud.org/ns\"><d:prop>%s</d:prop></d:propfind>\n", props);
	struct dav_propfind p = { .sink = { propfind_write }, .into = into };
	enum weir_code r;

	weir_dav_header(c, "Depth: %d", depth);
	weir_dav_body(c, body);
	c->req.sink = &p.sink;
	c->req.stall_ms = DAV_PROPFIND_STALL_MS;
	p.xml = weir_dav_xml_new(propfind_item, into);
	r = weir_dav_send(d, ctx, c, err);
	if (!r && c->resp.status == 207)
		r = weir_dav_xml_feed(p.xml, "", 0, true, &p.err);
	if (r && p.err.code)
		r = weir_err_set(err, p.err.code, "'%s': %s", c->path, p.err.msg);
	weir_dav_xml_free(p.xml);
	c->req.sink = NULL;
	c->req.body = NULL;
	return r;
}

/* A folder asked for without its slash: Apache answers 301 with the same path and a slash. */
static bool
dav_wants_slash(const struct weir_dav_call *c)
{
	char to[4096];
	size_t n, m = strlen(c->url);
	const char *tail;

	if (c->resp.status / 100 != 3 || c->url[m - 1] == '/')
		return false;
	n = strlen(weir_dav_location(&c->resp, to, sizeof(to)));
	if (!n || to[n - 1] != '/')
		return false;
	to[n - 1] = '\0';
	weir_url_decode(to, false);
	tail = strrchr(to, '/');
	if (!tail)
		return false;
	n = strlen(tail);
	m = strlen(c->path);
	return m + 1 >= n && strcmp(c->path + m - (n - 1), tail + 1) == 0;
}

enum weir_code
weir_dav_propfind0(struct weir_dav *d, const struct weir_ctx *ctx, const char *path, bool is_dir, const char *props,
    struct weir_dav_item *item, int *status, struct weir_err *err)
{
	struct weir_dav_listing l = { 0 };
	struct weir_dav_call c;
	enum weir_code r;

	r = d->dialect->look ? d->dialect->look(d, ctx, path, false, err) : WEIR_OK;
	if (r)
		return r;
	weir_dav_call(&c, d, "PROPFIND", path, is_dir);
	r = dav_propfind(d, ctx, &c, 0, props, &l, err);
	if (!r && dav_wants_slash(&c)) {
		weir_dav_call_free(&c);
		weir_dav_listing_free(&l);
		weir_dav_call(&c, d, "PROPFIND", path, true);
		r = dav_propfind(d, ctx, &c, 0, props, &l, err);
	}
	if (status)
		*status = c.resp.status;
	if (!r && c.resp.status != 207)
		r = weir_dav_refused(&c, err);
	else if (!r && (l.n != 1 || l.items[0].status / 100 == 4))
		r = l.n ? weir_err_set(err, WEIR_E_NOENT, "'%s' is not there", path)
			: weir_err_set(err, WEIR_E_PROTO, "'%s': PROPFIND was answered without a response", path);
	if (!r) {
		*item = l.items[0];
		l.n = 0;
	}
	weir_dav_listing_free(&l);
	weir_dav_call_free(&c);
	return r;
}

/* Apache answers 400 to a path below a file. */
static enum weir_code
dav_stat_400(struct weir_dav *d, const struct weir_ctx *ctx, const char *path, enum weir_code r, struct weir_err *err)
{
	const char *slash = strrchr(path, '/');
	WEIR_AUTO(weir_freep) char *parent = slash ? weir_xstrndup(path, (size_t)(slash - path)) : NULL;
	struct weir_stat st = { 0 };

	if (!parent)
		return r;
	switch (weir_dav_stat(d, ctx, parent, &st, NULL)) {
	case WEIR_OK:
		if (st.type != WEIR_DIR)
			r = weir_err_set(err, WEIR_E_NOTDIR, "'%s' is a file", parent);
		weir_stat_free(&st);
		return r;
	case WEIR_E_NOTDIR:
		return weir_err_set(err, WEIR_E_NOTDIR, "'%s': a file is in its path", path);
	default:
		return r;
	}
}

enum weir_code
weir_dav_stat(struct weir_dav *d, const struct weir_ctx *ctx, const char *path, struct weir_stat *st, struct weir_err *err)
{
	struct weir_dav_item item;
	int status = 0;
	enum weir_code r = weir_dav_propfind0(d, ctx, path, false, d->dialect->props, &item, &status, err);

	if (r == WEIR_E_NOENT && !*path)
		return weir_err_set(err, WEIR_E_NOBUCKET, "'%s' is gone from the server", d->url);
	if (status == 400 && r == WEIR_E_INVAL)
		return dav_stat_400(d, ctx, path, r, err);
	if (r)
		return r;
	weir_dav_item_stat(d, &item, st);
	weir_dav_item_clear(&item);
	return WEIR_OK;
}

/* href becomes the bare name of a child of `base` (decoded, no trailing slash), as people see it. false: not a child. */
static bool
dav_child(const struct weir_dav_names *names, struct weir_dav_item *it, const char *base, size_t n)
{
	char *name;
	size_t len;

	if (it->is_slashed || strncmp(it->href, base, n) != 0 || it->href[n] != '/')
		return false;
	name = it->href + n;
	name += strspn(name, "/");
	len = strlen(name);
	while (len && name[len - 1] == '/')
		name[--len] = '\0';
	if (!len || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return false;
	name = weir_dav_unescape(names, name);
	free(it->href);
	it->href = name;
	return strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !strchr(name, '/');
}

static size_t
dav_unslashed(const char *href)
{
	size_t n = strlen(href);

	while (n && href[n - 1] == '/')
		n--;
	return n;
}

/* The collection itself goes to [0]: by its path, never by its position. Where a proxy shows other paths than we asked for (or the
 * server normalises them), it is the shortest one. */
static void
dav_self_first(struct weir_dav_listing *l, const char *plain)
{
	size_t self = 0, n = dav_unslashed(plain);
	struct weir_dav_item tmp;

	for (size_t i = 0; i < l->n; i++) {
		size_t m = dav_unslashed(l->items[i].href);

		if (m == n && strncmp(l->items[i].href, plain, n) == 0) {
			self = i;
			break;
		}
		if (m < dav_unslashed(l->items[self].href))
			self = i;
	}
	tmp = l->items[0];
	l->items[0] = l->items[self];
	l->items[self] = tmp;
}

static enum weir_code
dav_arrange(const struct weir_dav_names *names, struct weir_dav_listing *l, const char *plain, const char *path, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *base = NULL;
	size_t n, kept = 1;

	if (!l->n)
		return weir_err_set(err, WEIR_E_PROTO, "'%s': PROPFIND was answered without a response", path);
	dav_self_first(l, plain);
	if (!l->items[0].is_collection)
		return weir_err_set(err, WEIR_E_NOTDIR, "'%s' is a file", path);
	n = dav_unslashed(l->items[0].href);
	base = weir_xstrndup(l->items[0].href, n);
	for (size_t i = 1; i < l->n; i++) {
		int s = l->items[i].status;

		/* 425: an upload is being processed there; it is listed as it is. */
		if (dav_child(names, &l->items[i], base, n) && (s == 0 || s / 100 == 2 || s == 425))
			l->items[kept++] = l->items[i];
		else
			weir_dav_item_clear(&l->items[i]);
	}
	l->n = kept;
	return WEIR_OK;
}

enum weir_code
weir_dav_list_url(struct weir_dav *d, const struct weir_ctx *ctx, char *url, const char *plain, const char *path, const char *props,
    struct weir_dav_listing *l, struct weir_err *err)
{
	struct weir_dav_call c;
	enum weir_code r = d->dialect->look ? d->dialect->look(d, ctx, path, true, err) : WEIR_OK;

	memset(l, 0, sizeof(*l));
	if (r) {
		free(url);
		return r;
	}
	weir_dav_call_url(&c, "PROPFIND", url);
	c.path = path;
	r = dav_propfind(d, ctx, &c, 1, props, l, err);
	if (!r && c.resp.status != 207)
		r = weir_dav_refused(&c, err);
	if (!r)
		r = dav_arrange(&d->names, l, plain, path, err);
	weir_dav_call_free(&c);
	if (r)
		weir_dav_listing_free(l);
	return r;
}
