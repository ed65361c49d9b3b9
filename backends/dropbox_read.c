/* SPDX-License-Identifier: Apache-2.0 */
/* Looking: one object, a folder's entries, bytes of a file. What has an id is asked for by it, so that a rename elsewhere does not get in the way;
 * an id nobody knows any more falls back to the path. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dropbox_impl.h"

#define READ_LIST_STALL_MS 60000	/* the first page of a large folder takes a while */
#define READ_RESULT_MAX (64u << 10)	/* of Dropbox-API-Result */
#define READ_PAGE 2000

static bool
read_has_id(const struct weir_where *w)
{
	return w->id != NULL && strncmp(w->id, "id:", 3) == 0 && w->path[0] != '\0';
}

/* ---- stat ---- */

enum weir_code
weir_dropbox_look(struct dropbox *s, const struct weir_ctx *ctx, const char *at, const char *path, struct weir_stat *st, char **path_lower,
    struct weir_err *err)
{
	struct dropbox_req q = { .route = "files/get_metadata", .arg = json_pack("{s:s}", "path", at), .what = "look at", .path = path };
	json_t *j = NULL;
	bool is_deleted = false;
	enum weir_code r = weir_dropbox_call(s, ctx, &q, &j, NULL, err);

	if (r == WEIR_E_NAME)	/* what the server cannot hold is not there */
		r = WEIR_E_NOENT;
	if (r == WEIR_OK)
		r = weir_dropbox_stat_of_json(j, st, &is_deleted, err);
	if (r == WEIR_OK && is_deleted) {
		weir_stat_free(st);
		r = weir_err_set(err, WEIR_E_NOENT, "look at '%s': it was removed", path);
	}
	if (r == WEIR_OK && path_lower != NULL)
		*path_lower = weir_xstrdup(json_string_value(json_object_get(j, "path_lower")));
	json_decref(j);
	return r;
}

enum weir_code
weir_dropbox_is_same(struct dropbox *s, const struct weir_ctx *ctx, const char *rev, const struct weir_stat *now, bool *is_same,
    struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *at = weir_xasprintf("rev:%s", rev);
	WEIR_AUTO(weir_stat_free) struct weir_stat then = { 0 };
	enum weir_code r = weir_dropbox_look(s, ctx, at, at, &then, NULL, err);

	*is_same = r == WEIR_OK && then.id != NULL && now->id != NULL && strcmp(then.id, now->id) == 0 && then.sum != NULL && now->sum != NULL &&
	           strcmp(then.sum, now->sum) == 0;
	return weir_code_retry(r) || r == WEIR_E_CANCELED || r == WEIR_E_AUTH ? r : WEIR_OK;	/* a rev nobody knows (any more) proves nothing */
}

/* The root has no metadata of its own; a folder that is the root of the remote has. */
static enum weir_code
read_stat_root(struct dropbox *s, const struct weir_ctx *ctx, struct weir_stat *st, struct weir_err *err)
{
	*st = (struct weir_stat){ .type = WEIR_DIR, .mtime_ns = WEIR_TIME_NONE, .mode = WEIR_MODE_NONE };
	return s->root[0] == '\0' ? WEIR_OK : weir_dropbox_look(s, ctx, s->root, s->root, st, NULL, err);
}

enum weir_code
weir_dropbox_stat(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, struct weir_stat *st, struct weir_err *err)
{
	struct dropbox *s = (struct dropbox *)be;
	WEIR_AUTO(weir_freep) char *at = NULL;
	struct weir_stat got = { 0 };
	enum weir_code r = weir_dropbox_path(s, w->path, false, &at, err);

	if (r != WEIR_OK)
		return r;
	if (w->path[0] == '\0') {
		r = read_stat_root(s, ctx, &got, err);
	} else {
		r = read_has_id(w) ? weir_dropbox_look(s, ctx, w->id, w->path, &got, NULL, err) : WEIR_E_NOENT;
		if (r == WEIR_E_NOENT)
			r = weir_dropbox_look(s, ctx, at, w->path, &got, NULL, err);
	}
	if (r != WEIR_OK)
		return r;
	free(WEIR_STEAL(got.path));
	*st = got;
	return WEIR_OK;
}

/* ---- list ---- */

static void
read_tell_hidden(struct dropbox *s, const char *dir)
{
	bool is_told;

	pthread_mutex_lock(&s->lock);
	is_told = s->is_hidden_told;
	s->is_hidden_told = true;
	pthread_mutex_unlock(&s->lock);
	if (!is_told)
		weir_log(WEIR_LOG_WARN, "remote '%s': '%s' holds a name that a mount cannot show; it is left out", s->name, dir);
}

/* Entries of one page. What changes while a listing is read may show twice or be gone when it is told: the change feed brings that. */
static enum weir_code
read_page(struct dropbox *s, const char *dir, const json_t *page, weir_list_fn *fn, void *arg, struct weir_err *err)
{
	const json_t *entries = json_object_get(page, "entries"), *e;
	size_t i;

	if (!json_is_array(entries))
		return weir_err_set(err, WEIR_E_PROTO, "list '%s': a page without entries", dir);
	json_array_foreach((json_t *)entries, i, e) {
		WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 };
		bool is_deleted;
		enum weir_code r = weir_dropbox_stat_of_json(e, &st, &is_deleted, err);

		if (r != WEIR_OK)
			return weir_err_wrap(err, r, "list '%s'", dir);
		if (is_deleted)
			continue;
		if (st.path == NULL) {
			read_tell_hidden(s, dir);
			continue;
		}
		r = fn(arg, &st, err);
		if (r != WEIR_OK)
			return r;
	}
	return WEIR_OK;
}

static enum weir_code
read_list(struct dropbox *s, const struct weir_ctx *ctx, const char *at, const char *dir, weir_list_fn *fn, void *arg, struct weir_err *err)
{
	struct dropbox_req q = { .route = "files/list_folder", .what = "list", .path = dir, .stall_ms = READ_LIST_STALL_MS };
	json_t *page = NULL;
	enum weir_code r;

	q.arg = json_pack("{s:s, s:b, s:b, s:b, s:b, s:i}", "path", at, "recursive", 0, "include_deleted", 0, "include_mounted_folders", 1,
	    "include_non_downloadable_files", 1, "limit", READ_PAGE);
	for (;;) {
		WEIR_AUTO(weir_freep) char *cursor = NULL;
		bool has_more;

		r = weir_dropbox_call(s, ctx, &q, &page, NULL, err);
		if (r == WEIR_OK)
			r = read_page(s, dir, page, fn, arg, err);
		has_more = r == WEIR_OK && json_is_true(json_object_get(page, "has_more"));
		cursor = weir_xstrdup(json_string_value(json_object_get(page, "cursor")));
		json_decref(page);
		page = NULL;
		if (r == WEIR_E_STALE)	/* the cursor died under us: from the start, by whoever repeats */
			r = weir_err_set(err, WEIR_E_SERVER, "list '%s': the server wants it read again", dir);
		if (!has_more)
			return r;
		if (cursor == NULL)
			return weir_err_set(err, WEIR_E_PROTO, "list '%s': more to come, but no cursor", dir);
		q.route = "files/list_folder/continue";
		q.arg = json_pack("{s:s}", "cursor", cursor);
	}
}

struct read_count { weir_list_fn *fn; void *arg; bool is_begun; };

static enum weir_code
read_counted(void *arg, const struct weir_stat *st, struct weir_err *err)
{
	struct read_count *c = arg;

	c->is_begun = true;
	return c->fn(c->arg, st, err);
}

enum weir_code
weir_dropbox_list(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, unsigned flags, weir_list_fn *fn, void *arg,
    char **self_version, struct weir_err *err)
{
	struct dropbox *s = (struct dropbox *)be;
	WEIR_AUTO(weir_freep) char *at = NULL;
	struct read_count c = { fn, arg, false };
	enum weir_code r = weir_dropbox_path(s, w->path, false, &at, err);

	if (r != WEIR_OK)
		return r;
	if ((flags & WEIR_LIST_DEEP) != 0)
		return weir_err_set(err, WEIR_E_NOTSUP, "Dropbox lists whole trees in no order");
	if (self_version != NULL)
		*self_version = NULL;
	r = read_has_id(w) ? read_list(s, ctx, w->id, w->path, read_counted, &c, err) : WEIR_E_NOENT;
	if (r == WEIR_E_NOENT && !c.is_begun)
		r = read_list(s, ctx, at, w->path, fn, arg, err);
	return r == WEIR_E_NAME ? WEIR_E_NOENT : r;
}

/* ---- get ---- */

struct read_get {
	struct weir_sink sink;
	struct weir_sink *to;
	const struct weir_where *where;
	uint64_t off, len;
	uint64_t want, done;			/* settled by the answer's head */
	bool is_overlong;			/* more came than was announced */
	struct dropbox_hash *hash;		/* of a whole download */
	char *sum;
	struct weir_stat *st;			/* the caller's, or NULL */
};

static enum weir_code
read_write(struct weir_sink *sink, const void *data, size_t len)
{
	struct read_get *g = (struct read_get *)sink;

	size_t n = len < g->want - g->done ? len : (size_t)(g->want - g->done);
	enum weir_code r;

	if (g->hash != NULL)
		weir_dropbox_hash_add(g->hash, data, n);
	r = n > 0 ? g->to->write(g->to, data, n) : WEIR_OK;
	g->done += r == WEIR_OK ? n : 0;
	/* What is too much is not given on, and with an error this connection is not used again. */
	g->is_overlong = n < len;
	return r == WEIR_OK && g->is_overlong ? WEIR_E_SERVER : r;
}

static enum weir_code
read_is_it(const struct read_get *g, const struct weir_stat *st, struct weir_err *err)
{
	if (g->where->version == NULL || (st->version != NULL && strcmp(st->version, g->where->version) == 0))
		return WEIR_OK;
	return weir_err_set(err, WEIR_E_CHANGED, "'%s' has another version", g->where->path);
}

/* A 206 must be just what was asked for. A 200 in its place is the whole file: fine only when that was asked for in other words. */
static enum weir_code
read_range(struct read_get *g, const struct weir_http_resp *resp, uint64_t size, struct weir_err *err)
{
	uint64_t a, b, n;
	char v[96];

	g->want = g->off >= size ? 0 : size - g->off < g->len ? size - g->off : g->len;
	if (resp->status == 200) {
		if (size == 0 || (g->off == 0 && g->want == size))
			return WEIR_OK;
		return weir_err_set(err, WEIR_E_SERVER, "read '%s': the whole file came instead of a part", g->where->path);
	}
	if (weir_http_header(resp, "Content-Range", v, sizeof(v)) == NULL ||
	    sscanf(v, "bytes %" SCNu64 "-%" SCNu64 "/%" SCNu64, &a, &b, &n) != 3)
		return weir_err_set(err, WEIR_E_PROTO, "read '%s': a part came without Content-Range", g->where->path);
	if (n != size || a != g->off || g->want == 0 || b != g->off + g->want - 1)
		return weir_err_set(err, WEIR_E_PROTO, "read '%s': another part came (%s)", g->where->path, v);
	return WEIR_OK;
}

static enum weir_code
read_result(const struct weir_http_resp *resp, struct weir_stat *st, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *v = weir_xcalloc(1, READ_RESULT_MAX);
	json_t *j = NULL;
	bool is_deleted;
	enum weir_code r;

	if (weir_http_header(resp, "Dropbox-API-Result", v, READ_RESULT_MAX) != NULL)
		j = json_loads(v, 0, NULL);
	if (j == NULL)
		return weir_err_set(err, WEIR_E_PROTO, "an answer without Dropbox-API-Result");
	r = weir_dropbox_stat_of_json(j, st, &is_deleted, err);
	json_decref(j);
	if (r == WEIR_OK && (st->type != WEIR_FILE || st->size == WEIR_SIZE_NONE))
		r = weir_err_set(err, WEIR_E_PROTO, "Dropbox-API-Result is not about a file");
	return r;
}

static void
read_tell(struct read_get *g, struct weir_stat *st)
{
	free(g->sum);
	g->sum = weir_xstrdup(st->sum);
	if (g->st == NULL)
		return;
	weir_stat_free(g->st);
	free(WEIR_STEAL(st->path));
	*g->st = *st;
	*st = (struct weir_stat){ 0 };
}

static enum weir_code
read_on_head(void *arg, const struct weir_http_resp *resp, struct weir_err *err)
{
	struct read_get *g = arg;
	WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 };
	enum weir_code r;

	if (resp->status != 200 && resp->status != 206)
		return WEIR_OK;
	r = read_result(resp, &st, err);
	if (r == WEIR_OK)
		r = read_is_it(g, &st, err);
	if (r == WEIR_OK)
		r = read_range(g, resp, st.size, err);
	if (r != WEIR_OK)
		return r;
	if (g->off == 0 && g->want == st.size && st.sum != NULL)
		g->hash = weir_dropbox_hash_new();
	read_tell(g, &st);
	return WEIR_OK;
}

static enum weir_code
read_verify(struct read_get *g, struct weir_err *err)
{
	char hex[2 * WEIR_SHA256_LEN + 1];

	if (g->done != g->want)
		return weir_err_set(err, WEIR_E_NET, "read '%s': %" PRIu64 " bytes came instead of %" PRIu64, g->where->path, g->done, g->want);
	if (g->hash == NULL)
		return WEIR_OK;
	weir_dropbox_hash_end(WEIR_STEAL(g->hash), hex, NULL);
	if (strcmp(g->sum + strlen("dropbox:"), hex) == 0)
		return WEIR_OK;
	return weir_err_set(err, WEIR_E_BADSUM, "read '%s': content_hash %s, the server says %s", g->where->path, hex, g->sum);
}

/* Nothing to read there: fine if it is the version asked for. */
static enum weir_code
read_past_end(struct dropbox *s, const struct weir_ctx *ctx, const char *at, struct read_get *g, struct weir_err *err)
{
	WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 };
	enum weir_code r = weir_dropbox_look(s, ctx, at, g->where->path, &st, NULL, err);

	if (r == WEIR_OK && st.type == WEIR_DIR)
		return weir_err_set(err, WEIR_E_ISDIR, "'%s' is a directory", g->where->path);
	if (r == WEIR_OK)
		r = read_is_it(g, &st, err);
	if (r == WEIR_OK && g->len > 0 && st.size > g->off)
		return weir_err_set(err, WEIR_E_SERVER, "read '%s': the server refused a part that is there", g->where->path);
	if (r == WEIR_OK)
		read_tell(g, &st);
	return r;
}

static enum weir_code
read_fetch(struct dropbox *s, const struct weir_ctx *ctx, const char *at, struct read_get *g, struct weir_err *err)
{
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	struct dropbox_req q = { .style = DROPBOX_DOWNLOAD, .route = "files/download", .arg = json_pack("{s:s}", "path", at), .sink = &g->sink,
		.on_head = read_on_head, .on_head_arg = g, .what = "read", .path = g->where->path };
	char range[64];
	bool is_open = g->len > DROPBOX_FILE_MAX - g->off;
	enum weir_code r;

	if (!is_open)
		snprintf(range, sizeof(range), "bytes=%" PRIu64 "-%" PRIu64, g->off, g->off + g->len - 1);
	else
		snprintf(range, sizeof(range), "bytes=%" PRIu64 "-", g->off);
	q.range = !is_open || g->off > 0 ? range : NULL;
	r = weir_dropbox_call(s, ctx, &q, NULL, &resp, err);
	if (r != WEIR_OK && resp.status == 416)
		return read_past_end(s, ctx, at, g, err);
	return r != WEIR_OK && !g->is_overlong ? r : read_verify(g, err);
}

static enum weir_code
read_get_at(struct dropbox *s, const struct weir_ctx *ctx, const char *at, struct read_get *g, struct weir_err *err)
{
	bool is_past = g->len == 0 || g->off >= DROPBOX_FILE_MAX;
	enum weir_code r = is_past ? read_past_end(s, ctx, at, g, err) : read_fetch(s, ctx, at, g, err);

	weir_dropbox_hash_free(WEIR_STEAL(g->hash));
	return r;
}

enum weir_code
weir_dropbox_get(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, uint64_t off, uint64_t len,
    struct weir_sink *to, struct weir_stat *st, struct weir_err *err)
{
	struct dropbox *s = (struct dropbox *)be;
	WEIR_AUTO(weir_freep) char *at = NULL;
	struct read_get g = { .sink.write = read_write, .to = to, .where = w, .off = off, .len = len, .st = st };
	enum weir_code r = weir_dropbox_path(s, w->path, false, &at, err);

	if (st != NULL)
		*st = (struct weir_stat){ 0 };
	if (r != WEIR_OK)
		return r;
	if (w->path[0] == '\0')
		return weir_err_set(err, WEIR_E_ISDIR, "the root is a directory");
	r = read_has_id(w) ? read_get_at(s, ctx, w->id, &g, err) : WEIR_E_NOENT;
	if (r == WEIR_E_NOENT && g.done == 0)
		r = read_get_at(s, ctx, at, &g, err);
	free(g.sum);
	if (r != WEIR_OK && st != NULL)
		weir_stat_free(st);
	return r;
}
