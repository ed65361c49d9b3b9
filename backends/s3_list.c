/* SPDX-License-Identifier: Apache-2.0 */
/* Listings: pages of 1000 keys become entries of directories. One machine serves both kinds:
 *
 *   keys arrive in byte order; every file is held back until a key says that no directory of its name can follow ("a" waits
 *   until something at or behind "a/" comes, so "a", "a-b", "a/x" is seen as directory a and file a-b). What is held is a chain of
 *   prefixes, so it is short. A directory is told before the first entry in it; keys of one directory follow each other.
 *
 * Keys that a mount cannot show ("//", ".", "..", names beyond 255 bytes, a file hidden by a directory) are left out, with one
 * line in the log. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "s3_impl.h"

#define LIST_PAGE 1000

struct list_held {
	char *key, *etag;	/* key: relative to the listed directory, as stored */
	uint64_t size;
	int64_t mtime_ns;
};

struct list {
	struct s3 *s;
	const struct weir_ctx *ctx;
	const char *path;	/* as people see it, for messages */
	char *prefix;		/* whole key prefix: "" or ending in "/" */
	size_t prefix_len;
	bool is_deep;
	weir_list_fn *fn;
	void *arg;
	struct weir_buf last_dir;	/* path of the directory told last, with a "/" at its end; "" at first */
	char *last_key;
	struct list_held *held;
	size_t nheld, held_cap;
};

static void
list_hidden(struct list *l, const char *key, const char *why)
{
	bool is_first;

	pthread_mutex_lock(&l->s->lock);
	is_first = !l->s->is_hidden_told;
	l->s->is_hidden_told = true;
	pthread_mutex_unlock(&l->s->lock);
	if (is_first)
		weir_log(WEIR_LOG_WARN, "remote '%s': key '%s%s' is not shown: %s (said once; there may be more)", l->s->name, l->prefix, key,
		    why);
}

/* Relative key bytes [0, len) as a path people see; false when a part of it cannot be shown. */
static bool
list_path(const char *key, size_t len, struct weir_buf *out)
{
	if (len == 0 || key[len - 1] == '/')
		return false;	/* an empty name at the end */
	for (size_t i = 0, n; i < len; i += n + 1) {
		const char *slash = memchr(key + i, '/', len - i);
		WEIR_AUTO(weir_freep) char *name = NULL;

		n = slash == NULL ? len - i : (size_t)(slash - key) - i;
		name = weir_s3_name_of_part(key + i, n);
		if (name == NULL)
			return false;
		weir_buf_addf(out, "%s%s", i > 0 ? "/" : "", name);
	}
	return !out->is_full;
}

/* Tell every directory on the way to key[0..len) that was not told yet: those behind what it shares with the last one. */
static enum weir_code
list_dirs(struct list *l, const char *key, size_t len, struct weir_err *err)
{
	const char *last = weir_buf_str(&l->last_dir);
	size_t same = 0;

	for (size_t i = 0; i < len && i < l->last_dir.len && key[i] == last[i]; i++)
		if (key[i] == '/')
			same = i + 1;
	for (size_t i = same; i < len; i++) {
		WEIR_AUTO(weir_buf_free) struct weir_buf path = WEIR_BUF(8 * S3_KEY_MAX);
		struct weir_stat st = { .type = WEIR_DIR, .mtime_ns = WEIR_TIME_NONE, .mode = WEIR_MODE_NONE };
		enum weir_code r;

		if (key[i] != '/')
			continue;
		if (!list_path(key, i, &path)) {
			list_hidden(l, key, "a part of it cannot be a name");
			return WEIR_E_NAME;
		}
		st.path = path.data;
		r = l->fn(l->arg, &st, err);
		if (r != WEIR_OK)
			return r;
		weir_buf_reset(&l->last_dir);
		weir_buf_add(&l->last_dir, key, i + 1);
	}
	return WEIR_OK;
}

static void
list_held_free(struct list_held *h)
{
	free(h->key);
	free(h->etag);
}

static enum weir_code
list_tell_file(struct list *l, const struct list_held *h, struct weir_err *err)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf path = WEIR_BUF(8 * S3_KEY_MAX);
	struct weir_stat st = { .type = WEIR_FILE, .version = h->etag, .size = h->size, .mtime_ns = h->mtime_ns, .mode = WEIR_MODE_NONE };

	if (!list_path(h->key, strlen(h->key), &path)) {
		list_hidden(l, h->key, "it cannot be a name");
		return WEIR_OK;
	}
	st.path = path.data;
	return l->fn(l->arg, &st, err);
}

/* The key that comes now settles every held file that is not a prefix of what may still follow. key NULL: the end. */
static enum weir_code
list_release(struct list *l, const char *key, struct weir_err *err)
{
	enum weir_code r = WEIR_OK;

	while (l->nheld > 0) {
		struct list_held *h = &l->held[l->nheld - 1];
		size_t n = strlen(h->key);

		if (key != NULL && strncmp(key, h->key, n) == 0 && (unsigned char)key[n] < '/')
			return r;
		if (key != NULL && strncmp(key, h->key, n) == 0 && key[n] == '/')
			list_hidden(l, h->key, "a directory has the same name");
		else if (r == WEIR_OK)
			r = list_tell_file(l, h, err);
		list_held_free(h);
		l->nheld--;
		if (r != WEIR_OK)
			return r;
	}
	return r;
}

static void
list_hold(struct list *l, const struct weir_s3_entry *e, const char *key)
{
	if (l->nheld == l->held_cap) {
		l->held_cap = l->held_cap == 0 ? 16 : l->held_cap * 2;
		l->held = weir_xrealloc(l->held, l->held_cap, sizeof(*l->held));
	}
	l->held[l->nheld++] = (struct list_held){ weir_xstrdup(key), weir_xstrdup(e->etag), e->size, e->mtime_ns };
}

static enum weir_code
list_entry(struct list *l, const struct weir_s3_entry *e, struct weir_err *err)
{
	const char *key = e->key + l->prefix_len, *slash;
	enum weir_code r;

	if (strncmp(e->key, l->prefix, l->prefix_len) != 0)
		return weir_err_set(err, WEIR_E_PROTO, "list '%s': the server tells a key outside of it", l->path);
	if (*key == '\0' || (l->path[0] == '\0' && weir_s3_cas_is_scratch(key)))
		return WEIR_OK;		/* the marker of the directory itself */
	if (l->last_key != NULL && strcmp(e->key, l->last_key) <= 0) {
		if (e->is_prefix || strcmp(e->key, l->last_key) == 0)
			return WEIR_OK;	/* V1: a common prefix may come again on the next page */
		return weir_err_set(err, WEIR_E_PROTO, "list '%s': keys are not in order ('%s')", l->path, e->key);
	}
	free(l->last_key);
	l->last_key = weir_xstrdup(e->key);
	r = list_release(l, key, err);
	if (r != WEIR_OK)
		return r;
	slash = strrchr(key, '/');
	r = slash == NULL ? WEIR_OK : list_dirs(l, key, (size_t)(slash - key) + 1, err);
	if (r == WEIR_E_NAME)
		return WEIR_OK;		/* nothing below can be shown */
	if (r == WEIR_OK && (slash == NULL || slash[1] != '\0'))
		list_hold(l, e, key);
	return r;
}

/* ---- pages ---- */

static void
list_query(const char *prefix, bool has_delimiter, unsigned max, bool is_v1, const char *token, struct weir_buf *out)
{
	/* Sorted by name, as the signature wants it. */
	if (!is_v1 && token != NULL) {
		weir_buf_adds(out, "continuation-token=");
		weir_url_encode(out, token, strlen(token), "");
		weir_buf_addc(out, '&');
	}
	if (has_delimiter)
		weir_buf_adds(out, "delimiter=%2F&");
	weir_buf_adds(out, "encoding-type=url&");
	if (!is_v1)
		weir_buf_adds(out, "list-type=2&");
	if (is_v1 && token != NULL) {
		weir_buf_adds(out, "marker=");
		weir_url_encode(out, token, strlen(token), "");
		weir_buf_addc(out, '&');
	}
	weir_buf_addf(out, "max-keys=%u&prefix=", max);
	weir_url_encode(out, prefix, strlen(prefix), "");
}

/* One page; page must be freed by the caller in any case. */
static enum weir_code
list_page(struct s3 *s, const struct weir_ctx *ctx, const char *path, const char *prefix, bool has_delimiter, unsigned max, bool is_v1,
    const char *token, struct weir_s3_page *page, struct weir_http_resp *resp, struct weir_err *err)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf query = WEIR_BUF(32u << 10);
	struct s3_req q = { .method = "GET", .sink = &page->sink };
	enum weir_code r;

	weir_s3_page_begin(page);
	list_query(prefix, has_delimiter, max, is_v1, token, &query);
	q.query = weir_buf_str(&query);
	r = weir_s3_do(s, ctx, &q, resp, "list", path, err);
	if (r != WEIR_OK)
		return r;
	if (weir_s3_page_end(page) < 0)
		return weir_err_set(err, WEIR_E_PROTO, "list '%s': the answer is not a listing of S3", path);
	if (page->is_truncated && page->n == 0)
		return weir_err_set(err, WEIR_E_PROTO, "list '%s': an empty page says that more follows", path);
	return WEIR_OK;
}

static bool
list_is_v1(struct s3 *s)
{
	bool is_v1;

	pthread_mutex_lock(&s->lock);
	is_v1 = s->is_list_v1;
	pthread_mutex_unlock(&s->lock);
	return is_v1;
}

static void
list_set_v1(struct s3 *s)
{
	pthread_mutex_lock(&s->lock);
	s->is_list_v1 = true;
	pthread_mutex_unlock(&s->lock);
}

/* The same with the protocol's first version where the second is refused, or taken for the first. */
static enum weir_code
list_any_page(struct s3 *s, const struct weir_ctx *ctx, const char *path, const char *prefix, bool has_delimiter, unsigned max,
    const char *token, struct weir_s3_page *page, struct weir_err *err)
{
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	bool is_v1 = list_is_v1(s);
	enum weir_code r = list_page(s, ctx, path, prefix, has_delimiter, max, is_v1, token, page, &resp, err);

	if (!is_v1 && token == NULL && (r == WEIR_E_NOTSUP || r == WEIR_E_INVAL)) {
		weir_s3_page_free(page);
		r = list_page(s, ctx, path, prefix, has_delimiter, max, true, token, page, &resp, err);
		if (r == WEIR_OK)
			list_set_v1(s);
	} else if (r == WEIR_OK && !is_v1 && page->is_truncated && page->token == NULL) {
		if (!page->is_v1)
			return weir_err_set(err, WEIR_E_PROTO, "list '%s': more follows, but the server gave no token", path);
		list_set_v1(s);
	}
	return r;
}

static enum weir_code
list_all(struct list *l, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *token = NULL;
	bool is_more = true;
	enum weir_code r = WEIR_OK;

	while (r == WEIR_OK && is_more) {
		WEIR_AUTO(weir_s3_page_free) struct weir_s3_page page = { 0 };

		r = list_any_page(l->s, l->ctx, l->path, l->prefix, !l->is_deep, LIST_PAGE, token, &page, err);
		for (size_t i = 0; r == WEIR_OK && i < page.n; i++)
			r = list_entry(l, &page.v[i], err);
		is_more = page.is_truncated;
		if (r == WEIR_OK && is_more) {
			char *next = weir_xstrdup(list_is_v1(l->s) ? page.v[page.n - 1].key : page.token);

			if (token != NULL && strcmp(next, token) == 0)
				r = weir_err_set(err, WEIR_E_PROTO, "list '%s': the same page comes again and again", l->path);
			free(token);
			token = next;
		}
	}
	return r == WEIR_OK ? list_release(l, NULL, err) : r;
}

enum weir_code
weir_s3_list(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *dir, unsigned flags, weir_list_fn *fn, void *arg,
    char **self_version, struct weir_err *err)
{
	struct s3 *s = (struct s3 *)be;
	struct list l = { .s = s, .ctx = ctx, .path = dir->path, .is_deep = (flags & WEIR_LIST_DEEP) != 0, .fn = fn, .arg = arg,
		.last_dir = WEIR_BUF(8 * S3_KEY_MAX) };
	enum weir_code r = weir_s3_key(s, dir->path, true, &l.prefix, err);

	if (r == WEIR_OK) {
		l.prefix_len = strlen(l.prefix);
		r = list_all(&l, err);
	}
	while (l.nheld > 0)
		list_held_free(&l.held[--l.nheld]);
	free(l.held);
	free(l.prefix);
	free(l.last_key);
	weir_buf_free(&l.last_dir);
	if (r == WEIR_OK && self_version != NULL)
		*self_version = NULL;
	return r;
}

enum weir_code
weir_s3_peek(struct s3 *s, const struct weir_ctx *ctx, const char *prefix, unsigned max, unsigned *found, bool *has_self,
    struct weir_err *err)
{
	WEIR_AUTO(weir_s3_page_free) struct weir_s3_page page = { 0 };
	const char *path = strcmp(prefix, s->prefix) == 0 ? "" : prefix;
	enum weir_code r = list_any_page(s, ctx, path, prefix, false, max, NULL, &page, err);

	if (r != WEIR_OK)
		return r;
	*found = (unsigned)page.n;
	if (has_self != NULL)
		*has_self = page.n > 0 && strcmp(page.v[0].key, prefix) == 0;
	return WEIR_OK;
}

enum weir_code
weir_s3_peek_old(struct s3 *s, const struct weir_ctx *ctx, const char *prefix, int64_t before_ns, char **keys, size_t max, size_t *n, struct weir_err *err)
{
	WEIR_AUTO(weir_s3_page_free) struct weir_s3_page page = { 0 };
	enum weir_code r = list_any_page(s, ctx, prefix, prefix, false, LIST_PAGE, NULL, &page, err);

	*n = 0;
	for (size_t i = 0; r == WEIR_OK && i < page.n && *n < max; i++)
		if (!page.v[i].is_prefix && page.v[i].mtime_ns != INT64_MIN && page.v[i].mtime_ns < before_ns)
			keys[(*n)++] = weir_xstrdup(page.v[i].key);
	return r;
}
