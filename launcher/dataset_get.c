/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP for data sets: small answers, and one large file that goes on where it stopped. No credentials are ever sent, so redirects are followed. The engine is
 * our own, so that a sink may wait for the tree (a cache that is full of unsent bytes) and holds up nobody else. */
#include "config.h"

#include "dataset_impl.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "../src/util/text.h"

#define GET_REDIRECTS 10
#define GET_ANSWER_MAX (32u << 20)
#define GET_TRIES 8		/* in a row without a byte */
#define GET_PAUSE_MS 500	/* doubled by each of them */
#define GET_PAUSE_MAX_MS 30000
#define GET_STALL_MS 30000
#define GET_MOVED_MS 250

enum weir_code
weir_dataset_net_open(struct weir_dataset_net *n, struct weir_dataset *d, struct weir_err *err)
{
	const struct weir_section_conf *s = d->conf != NULL ? weir_conf_section(d->conf, "datasets", NULL, NULL) : NULL;
	struct weir_http_pool_conf conf = {.name = "data set", .stall_ms = GET_STALL_MS, .connect_ms = 15000, .max_connections = 2,
	    .proxy = weir_conf_section_get(s, "proxy"), .ca_file = weir_conf_section_get(s, "ca_file")};
	enum weir_code r;

	*n = (struct weir_dataset_net){.d = d};
	r = weir_http_new(&n->http, err);
	if (r == WEIR_OK)
		r = weir_http_pool_new(n->http, &conf, &n->pool, err);
	return r;
}

void
weir_dataset_net_close(struct weir_dataset_net *n)
{
	weir_http_pool_free(n->pool);
	weir_http_free(n->http);
}

bool
weir_dataset_is_canceled(const struct weir_dataset *d)
{
	return d->cancel != NULL && atomic_load(&d->cancel->is_set);
}

enum weir_code
weir_dataset_pause(struct weir_dataset *d, int64_t ms, struct weir_err *err)
{
	int64_t end = weir_now_ms() + ms;

	while (weir_now_ms() < end && !weir_dataset_is_canceled(d))
		poll(NULL, 0, 100);
	return weir_dataset_is_canceled(d) ? weir_err_set(err, WEIR_E_INTR, "interrupted") : WEIR_OK;
}

bool
weir_dataset_url_is_local(const char *url)
{
	WEIR_AUTO(weir_freep) char *host = weir_http_url_host(url);

	if (host == NULL)
		return false;
	host[strcspn(host, host[0] == '[' ? "]" : ":")] = '\0';
	return strcasecmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 || strcmp(host, "[::1") == 0;
}

/* ---- verdicts ---- */

static enum weir_code
get_verdict(const char *url, int status, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *host = weir_http_url_host(url);
	const char *who = host != NULL ? host : "the server";

	if (status == 404)
		return weir_err_set(err, WEIR_E_NOENT, "%s has no such thing (HTTP 404)", who);
	if (status == 410)
		return weir_err_set(err, WEIR_E_NOENT, "%s says that it was removed (HTTP 410)", who);
	if (status == 401 || status == 403)
		return weir_err_set(err, WEIR_E_ACCES, "%s does not let everybody read it (HTTP %d)", who, status);
	if (status == 429)
		return weir_err_set(err, WEIR_E_THROTTLED, "%s asks us to slow down (HTTP 429)", who);
	if (status >= 300 && status < 400)
		return weir_err_set(err, WEIR_E_PROTO, "%s sends us to where we do not go (HTTP %d)", who, status);
	return weir_err_set(err, status >= 500 ? WEIR_E_SERVER : WEIR_E_PROTO, "%s answers with HTTP %d", who, status);
}

/* After a failure: OK when it pays to try once more, after the pause. */
static enum weir_code
get_again(struct weir_dataset_net *n, enum weir_code r, const struct weir_http_resp *resp, unsigned *tries, struct weir_err *err)
{
	int64_t ms = GET_PAUSE_MS << (*tries < 8 ? *tries : 8), after = weir_http_retry_after_ms(resp);
	char text[WEIR_ERR_MAX + 64];

	if (weir_dataset_is_canceled(n->d))
		return weir_err_set(err, WEIR_E_INTR, "interrupted");
	if (!weir_code_retry(r) || ++*tries > GET_TRIES)
		return r;
	ms = after > ms ? after : ms;
	ms = ms > GET_PAUSE_MAX_MS ? GET_PAUSE_MAX_MS : ms;
	if (n->d->say != NULL && *tries > 1) {
		snprintf(text, sizeof(text), "%s; trying again in %" PRId64 " s", weir_err_text(err, r), (ms + 999) / 1000);
		n->d->say(n->d->arg, text);
	}
	return weir_dataset_pause(n->d, ms, err);
}

/* ---- small answers ---- */

static enum weir_code
get_head_only(void *arg, const struct weir_http_resp *resp, struct weir_err *err)
{
	(void)arg;
	return resp->status >= 200 && resp->status < 300 ? weir_err_set(err, WEIR_E_NODATA, "enough") : WEIR_OK;
}

/* Follows redirects. is_land: WEIR_OK as soon as somebody answers with 2xx; the body is not read. */
static enum weir_code
get_once(struct weir_dataset_net *n, const char *url, bool is_land, struct weir_http_resp *resp, char **at, struct weir_err *err)
{
	static const char *const headers[] = {"User-Agent: weir/" PACKAGE_VERSION, "Accept: application/json, */*;q=0.5", NULL};
	struct weir_http_req req = {.method = "GET", .headers = headers, .cancel = n->d->cancel, .on_head = is_land ? get_head_only : NULL};
	enum weir_code r;

	free(*at);
	*at = weir_xstrdup(url);
	for (int i = 0; i <= GET_REDIRECTS; i++) {
		char *next;

		weir_http_resp_free(resp);
		req.url = *at;
		r = weir_http_perform(n->pool, &req, resp, err);
		if (r == WEIR_E_NODATA && is_land)
			return WEIR_OK;
		if (r)
			return r;
		if (resp->status >= 200 && resp->status < 300)
			return WEIR_OK;
		next = weir_http_redirect(*at, resp);
		if (next == NULL)
			return get_verdict(*at, resp->status, err);
		free(*at);
		*at = next;
	}
	return weir_err_set(err, WEIR_E_PROTO, "too many redirects");
}

static enum weir_code
get_small(struct weir_dataset_net *n, const char *url, bool is_land, struct weir_http_resp *resp, char **at, struct weir_err *err)
{
	unsigned tries = 0;
	enum weir_code r;

	do {
		r = get_once(n, url, is_land, resp, at, err);
		if (r == WEIR_OK)
			return WEIR_OK;
	} while ((r = get_again(n, r, resp, &tries, err)) == WEIR_OK);
	return r;
}

enum weir_code
weir_dataset_ask(struct weir_dataset_net *n, const char *url, json_t **out, struct weir_err *err)
{
	struct weir_http_resp resp = {0};
	WEIR_AUTO(weir_freep) char *at = NULL;
	json_error_t why;
	enum weir_code r = get_small(n, url, false, &resp, &at, err);

	if (r == WEIR_OK && resp.body.len > GET_ANSWER_MAX)
		r = weir_err_set(err, WEIR_E_PROTO, "the answer is too long");
	if (r == WEIR_OK && (*out = json_loadb(weir_buf_str(&resp.body), resp.body.len, 0, &why)) == NULL)
		r = weir_err_set(err, WEIR_E_PROTO, "%s gives no JSON (%s)", at, why.text);
	weir_http_resp_free(&resp);
	return r;
}

enum weir_code
weir_dataset_land(struct weir_dataset_net *n, const char *url, char **at, struct weir_err *err)
{
	struct weir_http_resp resp = {0};
	enum weir_code r = get_small(n, url, true, &resp, at, err);

	weir_http_resp_free(&resp);
	if (r) {
		free(*at);
		*at = NULL;
	}
	return r;
}

/* ---- a file ---- */

struct get_file {
	struct weir_sink sink;
	struct weir_dataset_net *n;
	struct weir_dataset_get *g;
	struct weir_tree_file *out;
	struct weir_digest *digest;	/* of bytes [0, pos) */
	uint64_t pos;
	bool moved;			/* this request brought something */
	int64_t told_ms;
	struct weir_err err;		/* of the tree */
};

static enum weir_code
get_write(struct weir_sink *sink, const void *data, size_t len)
{
	struct get_file *f = (struct get_file *)sink;
	struct weir_dataset *d = f->n->d;
	enum weir_code r;

	if (weir_dataset_is_canceled(d))
		return WEIR_E_CANCELED;
	if (f->g->file->size >= 0 && f->pos + len > (uint64_t)f->g->file->size)
		return weir_err_set(&f->err, WEIR_E_CHANGED, "'%s' is longer than was announced", f->g->file->name);
	r = weir_tree_write(f->out, data, len, f->pos, &f->err);
	if (r)
		return r;
	if (f->digest != NULL)
		weir_digest_add(f->digest, data, len);
	f->pos += len;
	f->moved = true;
	d->sums.bytes += len;
	d->sums.fetched_bytes += len;
	if (d->moved != NULL && weir_now_ms() - f->told_ms >= GET_MOVED_MS) {
		f->told_ms = weir_now_ms();
		d->moved(d->arg, &d->sums);
	}
	return WEIR_OK;
}

/* The part that is asked for, of the version that we have begun; else CHANGED, and the file begins again. */
static enum weir_code
get_check_head(void *arg, const struct weir_http_resp *resp, struct weir_err *err)
{
	struct get_file *f = arg;
	char etag[256] = "", range[128], length[32];
	uint64_t from = 0, to = 0, size = 0;

	if (resp->status < 200 || resp->status >= 300)
		return WEIR_OK;
	if (weir_http_header(resp, "ETag", etag, sizeof(etag)) == NULL)
		weir_http_header(resp, "Last-Modified", etag, sizeof(etag));
	if (f->pos > 0) {
		if (resp->status != 206 || weir_http_header(resp, "Content-Range", range, sizeof(range)) == NULL ||
		    sscanf(range, "bytes %" SCNu64 "-%" SCNu64 "/%" SCNu64, &from, &to, &size) < 2 || from != f->pos)
			return weir_err_set(err, WEIR_E_CHANGED, "the server cannot go on in the middle");
		if (f->g->etag[0] != '\0' && etag[0] != '\0' && strcmp(etag, f->g->etag) != 0)
			return weir_err_set(err, WEIR_E_CHANGED, "it changed meanwhile");
	} else if (resp->status == 206)
		return weir_err_set(err, WEIR_E_PROTO, "a part came where the whole was asked for");
	else if (weir_http_header(resp, "Content-Length", length, sizeof(length)) != NULL)
		size = strtoull(length, NULL, 10);
	if (size > 0 && f->g->file->size >= 0 && size != (uint64_t)f->g->file->size)
		return weir_err_set(err, WEIR_E_BADSUM, "it has %" PRIu64 " bytes on the server, where %" PRId64 " were announced", size, f->g->file->size);
	snprintf(f->g->etag, sizeof(f->g->etag), "%s", etag);
	if (f->pos == 0 && f->g->begun != NULL)
		f->g->begun(f->g);
	return WEIR_OK;
}

static enum weir_code
get_request(struct get_file *f, struct weir_http_resp *resp, struct weir_err *err)
{
	char range[64], condition[300];
	const char *headers[] = {"User-Agent: weir/" PACKAGE_VERSION, "Accept: */*", NULL, NULL, NULL};
	struct weir_http_req req = {.method = "GET", .headers = headers, .sink = &f->sink, .on_head = get_check_head, .on_head_arg = f, .cancel = f->n->d->cancel};
	WEIR_AUTO(weir_freep) char *at = weir_xstrdup(f->g->file->url);
	enum weir_code r;

	if (f->pos > 0) {
		snprintf(range, sizeof(range), "Range: bytes=%" PRIu64 "-", f->pos);
		headers[2] = range;
		/* a weak ETag does not do for If-Range; it is compared all the same when the answer comes */
		snprintf(condition, sizeof(condition), "If-Range: %s", f->g->etag);
		headers[3] = f->g->etag[0] != '\0' && strncmp(f->g->etag, "W/", 2) != 0 ? condition : NULL;
	}
	for (int i = 0; i <= GET_REDIRECTS; i++) {
		char *next;

		weir_http_resp_free(resp);
		req.url = at;
		r = weir_http_perform(f->n->pool, &req, resp, err);
		if (r || (resp->status >= 200 && resp->status < 300))
			return r;
		if (resp->status == 416)
			return weir_err_set(err, WEIR_E_CHANGED, "it is shorter now");
		next = weir_http_redirect(at, resp);
		if (next == NULL)
			return get_verdict(at, resp->status, err);
		free(at);
		at = next;
	}
	return weir_err_set(err, WEIR_E_PROTO, "too many redirects");
}

/* Forgets what is there. */
static enum weir_code
get_restart(struct get_file *f, struct weir_err *err)
{
	enum weir_code r;

	weir_tree_close_file(f->out, NULL);
	f->out = NULL;
	f->n->d->sums.bytes -= f->pos;
	f->pos = 0;
	f->g->etag[0] = '\0';
	weir_digest_free(f->digest);
	f->digest = f->g->file->kind != NULL ? weir_digest_new(f->g->file->kind) : NULL;
	r = weir_tree_open_file(f->n->d->tree, f->g->path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600, &f->out, err);
	return r;
}

/* The checksum goes over all bytes, so those that are there are read once. */
static enum weir_code
get_resume(struct get_file *f, struct weir_err *err)
{
	enum { CHUNK = 1 << 20 };
	WEIR_AUTO(weir_freep) char *buf = NULL;
	enum weir_code r;
	size_t got = 1;

	if (f->g->have == 0 || (f->g->etag[0] == '\0' && f->g->file->kind == NULL) || (f->g->file->size >= 0 && f->g->have > (uint64_t)f->g->file->size))
		return get_restart(f, err);
	r = weir_tree_open_file(f->n->d->tree, f->g->path, O_RDWR | O_NOFOLLOW, 0600, &f->out, err);
	if (r)
		return get_restart(f, err);
	f->digest = f->g->file->kind != NULL ? weir_digest_new(f->g->file->kind) : NULL;
	buf = weir_xcalloc(1, CHUNK);
	while (r == WEIR_OK && got > 0 && f->pos < f->g->have) {
		r = weir_tree_read(f->out, buf, CHUNK, f->pos, &got, err);
		if (r == WEIR_OK && f->digest != NULL)
			weir_digest_add(f->digest, buf, got);
		f->pos += got;
		f->n->d->sums.bytes += got;
	}
	return r == WEIR_OK && f->pos == f->g->have ? WEIR_OK : get_restart(f, err);
}

/* BADSUM when what is there is not what was announced. */
static enum weir_code
get_verify(struct get_file *f, struct weir_err *err)
{
	const struct weir_dataset_file *file = f->g->file;
	unsigned char sum[64];
	char hex[129];
	size_t n;

	if (file->size >= 0 && f->pos != (uint64_t)file->size)
		return weir_err_set(err, WEIR_E_NET, "'%s' ended after %" PRIu64 " of %" PRId64 " bytes", file->name, f->pos, file->size);
	if (f->digest == NULL)
		return WEIR_OK;
	n = weir_digest_end(f->digest, sum);
	f->digest = NULL;
	weir_hex(sum, n, hex);
	if (strcmp(hex, file->sum) == 0)
		return WEIR_OK;
	return weir_err_set(err, WEIR_E_BADSUM, "'%s' has the %s checksum %s, not %s", file->name, file->kind, hex, file->sum);
}

/* Requests until it is whole. */
static enum weir_code
get_all(struct get_file *f, struct weir_err *err)
{
	unsigned tries = 0, restarts = 0;

	while (f->g->file->size < 0 || f->pos < (uint64_t)f->g->file->size) {
		struct weir_http_resp resp = {0};
		enum weir_code r;

		f->moved = false;
		f->err = (struct weir_err){0};
		r = get_request(f, &resp, err);
		if (f->err.code != WEIR_OK && r == f->err.code)
			*err = f->err;
		tries = f->moved ? 0 : tries;
		if (r == WEIR_E_CHANGED && f->err.code == WEIR_OK && ++restarts <= 3)
			r = get_restart(f, err);
		else if (r == WEIR_E_CANCELED)
			r = weir_err_set(err, WEIR_E_INTR, "interrupted");
		else if (r == WEIR_OK && (f->g->file->size < 0 || f->pos >= (uint64_t)f->g->file->size)) {
			weir_http_resp_free(&resp);
			return WEIR_OK;
		} else {
			if (r == WEIR_OK)
				r = weir_err_set(err, WEIR_E_NET, "the answer ended early");
			r = get_again(f->n, r, &resp, &tries, err);
		}
		weir_http_resp_free(&resp);
		if (r)
			return r;
	}
	return WEIR_OK;
}

enum weir_code
weir_dataset_get(struct weir_dataset_net *n, struct weir_dataset_get *g, struct weir_err *err)
{
	struct get_file f = {.sink = {.write = get_write}, .n = n, .g = g};
	enum weir_code r = get_resume(&f, err), closed;
	uint64_t had = f.pos;

	if (r == WEIR_OK && g->file->size == 0 && g->begun != NULL)
		g->begun(g);
	if (r == WEIR_OK)
		r = get_all(&f, err);
	if (r == WEIR_OK)
		r = get_verify(&f, err);
	/* A part of an earlier run may have been another file's: once more, from the first byte. */
	if (r == WEIR_E_BADSUM && had > 0) {
		if (n->d->say != NULL)
			n->d->say(n->d->arg, "what an earlier run left does not fit: from the beginning");
		r = get_restart(&f, err);
		if (r == WEIR_OK)
			r = get_all(&f, err);
		if (r == WEIR_OK)
			r = get_verify(&f, err);
	}
	weir_digest_free(f.digest);
	g->have = f.pos;
	closed = weir_tree_close_file(f.out, r == WEIR_OK ? err : NULL);
	return r != WEIR_OK ? r : closed;
}
