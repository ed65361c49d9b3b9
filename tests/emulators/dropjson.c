/* SPDX-License-Identifier: Apache-2.0 */
/* How Dropbox's answers look: metadata, tagged errors with their summaries, ASCII JSON, content_hash. */
#include "config.h"
#include "drop.h"
#include <stdarg.h>
#include <string.h>
#include <time.h>

/* Header values must be ASCII, and Dropbox also escapes DEL. */
char *
drop_ascii(const json_t *o)
{
	struct weir_buf b = WEIR_BUF(64u << 20);
	char *text = o ? json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY) : weir_xstrdup("null");

	for (const char *p = text ? text : "null"; *p; p++) {
		if (*p == 0x7f)
			weir_buf_adds(&b, "\\u007f");
		else
			weir_buf_addc(&b, *p);
	}
	free(text);
	return weir_buf_take(&b);
}

void
drop_ok(struct emu_req *req, json_t *o)
{
	WEIR_AUTO(weir_freep) char *text = drop_ascii(o);

	json_decref(o);
	emu_reply_text(req, 200, "application/json", text);
}

/* "path/not_found/..": the tags from outside in, then dots that mean nothing. */
static void
fail_summary(struct weir_buf *b, const json_t *e)
{
	while (json_is_object(e)) {
		const char *tag = json_string_value(json_object_get(e, ".tag"));
		const json_t *inner;

		if (!tag)
			tag = drop_tag(json_object_get(e, "reason"));
		if (!tag)
			break;
		weir_buf_addf(b, "%s/", tag);
		inner = json_object_get(e, tag);
		e = inner ? inner : json_object_get(e, "reason");
	}
	for (uint64_t n = 1 + emu_random() % 4; n; n--)
		weir_buf_addc(b, '.');
}

void
drop_fail(struct emu_req *req, unsigned status, json_t *error)
{
	struct weir_buf b = WEIR_BUF(4096);
	json_t *o = json_object();
	WEIR_AUTO(weir_freep) char *text = NULL;

	fail_summary(&b, error);
	json_object_set_new(o, "error_summary", json_string(weir_buf_str(&b)));
	json_object_set_new(o, "error", error);
	text = drop_ascii(o);
	json_decref(o);
	weir_buf_free(&b);
	emu_reply_text(req, status, "application/json", text);
}

void
drop_bad(struct emu_req *req, const char *fmt, ...)
{
	const struct drop_req *r = drop_of(req);
	struct weir_buf b = WEIR_BUF(1u << 20);
	va_list ap;

	weir_buf_addf(&b, "Error in call to API function \"%s\": ", r->route ? r->route->name : "");
	va_start(ap, fmt);
	weir_buf_vaddf(&b, fmt, ap);
	va_end(ap);
	emu_reply_text(req, 400, "text/plain; charset=utf-8", weir_buf_str(&b));
	weir_buf_free(&b);
}

json_t *
drop_under(const char *tag, json_t *inner)
{
	json_t *o = json_pack("{s:s}", ".tag", tag);

	json_object_set_new(o, tag, inner);
	return o;
}

json_t *
drop_tags(const char *first, ...)
{
	const char *tags[8] = { first };
	size_t n = 1;
	va_list ap;
	json_t *o;

	va_start(ap, first);
	while (n < WEIR_LEN(tags) && (tags[n] = va_arg(ap, const char *)))
		n++;
	va_end(ap);
	o = json_pack("{s:s}", ".tag", tags[--n]);
	while (n-- > 0)
		o = drop_under(tags[n], o);
	return o;
}

json_t *
drop_conflict(const char *what)
{
	return drop_tags("conflict", what, NULL);
}

void
drop_throttle(struct emu_req *req, const char *reason, bool is_text)
{
	int wait = (int)emu_value(&drop_switches[DROP_THROTTLE_S]);
	json_t *error;

	emu_outf(req, "Retry-After", "%d", wait);
	if (is_text) {
		emu_reply_text(req, 429, "text/plain; charset=utf-8", "Too many requests, please try again later.");
		return;
	}
	error = json_pack("{s:{s:s} s:i}", "reason", ".tag", reason, "retry_after", wait);
	drop_fail(req, 429, error);
}

const char *
drop_lookup(const struct drop_at *at)
{
	if (at->is_malformed)
		return "malformed_path";
	return at->node || at->ver ? NULL : "not_found";
}

json_t *
drop_lookup_fail(const struct drop_at *at, const char *under)
{
	const char *tag = drop_lookup(at);

	return tag ? drop_tags(under, tag, NULL) : NULL;
}

/* ---- metadata ---- */

void
drop_time(int64_t seconds, char out[32])
{
	time_t t = (time_t)seconds;
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* Only the last component of path_display is what it was named; the parents' case may be any. */
static void
meta_swap_parents(char *display)
{
	char *last = strrchr(display, '/');

	for (char *p = display; last && p < last; p++)
		if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z'))
			*p ^= 0x20;
}

static json_t *
meta_new(const char *tag, const char *name, const char *lower, char *display)
{
	json_t *o = json_object();

	if (drop_on(DROP_WRONG_CASE))
		meta_swap_parents(display);
	if (tag)
		json_object_set_new(o, ".tag", json_string(tag));
	json_object_set_new(o, "name", json_string(name));
	json_object_set_new(o, "path_lower", json_string(lower));
	json_object_set_new(o, "path_display", json_string(display));
	return o;
}

static void
meta_version(json_t *o, const struct drop_ver *v)
{
	char client[32], server[32], rev[32];

	drop_time(v->client_s, client);
	drop_time(v->server_s, server);
	drop_rev(v, rev);
	json_object_set_new(o, "client_modified", json_string(client));
	json_object_set_new(o, "server_modified", json_string(server));
	json_object_set_new(o, "rev", json_string(rev));
	json_object_set_new(o, "size", json_integer((json_int_t)emu_blob_size(v->blob)));
}

json_t *
drop_meta(const struct drop_node *x, const struct drop_node *root, bool with_tag)
{
	WEIR_AUTO(weir_freep) char *lower = drop_path(x, root, true), *display = drop_path(x, root, false);
	json_t *o = meta_new(!with_tag ? NULL : x->is_dir ? "folder" : "file", x->name, lower, display);
	char id[32];

	drop_id(x, id);
	json_object_set_new(o, "id", json_string(id));
	if (x->is_dir)
		return o;
	meta_version(o, x->ver);
	json_object_set_new(o, "is_downloadable", json_boolean(x->kind != DROP_PAPER));
	if (x->kind == DROP_PAPER)
		json_object_set_new(o, "export_info", json_pack("{s:s s:[sss]}", "export_as", "markdown", "export_options", "markdown", "html", "plain_text"));
	else
		json_object_set_new(o, "content_hash", json_string(x->ver->hash));
	if (x->kind == DROP_SYMLINK)
		json_object_set_new(o, "symlink_info", json_pack("{s:s}", "target", "elsewhere"));
	return o;
}

json_t *
drop_meta_ver(const struct drop_ver *v, const struct drop_node *root)
{
	WEIR_AUTO(weir_freep) char *base = drop_path(root, NULL, true), *shown = drop_path(root, NULL, false), *display = NULL;
	size_t n = strlen(base);
	const char *name = strrchr(v->display, '/');
	const struct drop_node as_id = { .id = v->node };
	char id[32];
	json_t *o;

	if (strncmp(v->lower, base, n))
		n = 0;
	display = weir_xstrdup(v->display + (n ? strlen(shown) : 0));
	o = meta_new(NULL, name ? name + 1 : v->display, v->lower + n, display);
	drop_id(&as_id, id);
	json_object_set_new(o, "id", json_string(id));
	meta_version(o, v);
	json_object_set_new(o, "is_downloadable", json_true());
	json_object_set_new(o, "content_hash", json_string(v->hash));
	return o;
}

json_t *
drop_meta_gone(const char *lower, const char *display)
{
	WEIR_AUTO(weir_freep) char *own = weir_xstrdup(display);
	const char *name = strrchr(display, '/');

	return meta_new("deleted", name ? name + 1 : display, lower, own);
}

/* ---- content_hash ---- */

void
drop_hash_flush(struct drop_hash *h)
{
	unsigned char sum[64];

	if (!h->block)
		return;
	weir_digest_end(h->block, sum);
	h->block = NULL;
	h->in_block = 0;
	h->sums = weir_xrealloc(h->sums, h->n + 1, WEIR_SHA256_LEN);
	memcpy(h->sums + h->n++ * WEIR_SHA256_LEN, sum, WEIR_SHA256_LEN);
}

void
drop_hash_add(struct drop_hash *h, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		size_t n = len < DROP_BLOCK - h->in_block ? len : (size_t)(DROP_BLOCK - h->in_block);

		if (!h->block)
			h->block = weir_digest_new("sha256");
		weir_digest_add(h->block, p, n);
		h->in_block += n;
		p += n;
		len -= n;
		if (h->in_block == DROP_BLOCK)
			drop_hash_flush(h);
	}
}

void
drop_hash_text(const unsigned char *sums, size_t n, char out[65])
{
	unsigned char sum[WEIR_SHA256_LEN];

	weir_sha256(sums ? (const void *)sums : "", n * WEIR_SHA256_LEN, sum);
	weir_hex(sum, sizeof(sum), out);
}

void
drop_hash_free(struct drop_hash *h)
{
	weir_digest_free(h->block);
	free(h->sums);
	memset(h, 0, sizeof(*h));
}

int
drop_hash_blob(struct emu_blob *blob, char out[65])
{
	WEIR_AUTO(weir_freep) char *buf = weir_xcalloc(1, 1u << 20);
	struct emu_reader *r = emu_reader_new(blob);
	struct drop_hash h = { 0 };
	uint64_t off = 0;
	ssize_t n;

	while ((n = emu_reader_at(r, buf, 1u << 20, off)) > 0) {
		drop_hash_add(&h, buf, (size_t)n);
		off += (uint64_t)n;
	}
	drop_hash_flush(&h);
	drop_hash_text(h.sums, h.n, out);
	drop_hash_free(&h);
	emu_reader_free(r);
	return n < 0 ? -1 : 0;
}
