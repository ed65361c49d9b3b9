/* SPDX-License-Identifier: Apache-2.0 */
/* The change feed: one cursor over the whole tree. A long poll on the notify host, which wants no token, says that there is something; the pages after
 * the cursor say what. A rename shows as a removal and an addition with the same id. Changes of case alone are not told. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "dropbox_impl.h"
#include "layers.h"

#define CHANGES_POLL_LEAST_S 30		/* the protocol's bounds */
#define CHANGES_POLL_MOST_S 480
#define CHANGES_JITTER_S 100		/* the server adds up to 90 */
#define CHANGES_BACKOFF_MOST_S 600

static enum weir_code
changes_now(struct dropbox *s, const struct weir_ctx *ctx, char **cursor, struct weir_err *err)
{
	struct dropbox_req q = { .route = "files/list_folder/get_latest_cursor", .what = "watch", .path = s->root };
	json_t *j = NULL;
	const char *now;
	enum weir_code r;

	q.arg = json_pack("{s:s, s:b, s:b, s:b, s:b}", "path", s->root, "recursive", 1, "include_deleted", 0, "include_mounted_folders", 1,
	    "include_non_downloadable_files", 1);
	r = weir_dropbox_call(s, ctx, &q, &j, NULL, err);
	now = json_string_value(json_object_get(j, "cursor"));
	if (r == WEIR_OK && now == NULL)
		r = weir_err_set(err, WEIR_E_PROTO, "no cursor in the answer");
	if (r == WEIR_OK)
		*cursor = weir_xstrdup(now);
	json_decref(j);
	return r;
}

/* ---- waiting ---- */

static enum weir_code
changes_poll(struct dropbox *s, const struct weir_ctx *ctx, const char *cursor, int64_t wait_ms, bool *is_news, struct weir_err *err)
{
	int64_t seconds = wait_ms / 1000;
	struct dropbox_req q = { .style = DROPBOX_POLL, .route = "files/list_folder/longpoll", .what = "wait for changes" };
	json_t *j = NULL, *backoff;
	enum weir_code r;

	seconds = seconds < CHANGES_POLL_LEAST_S ? CHANGES_POLL_LEAST_S : seconds > CHANGES_POLL_MOST_S ? CHANGES_POLL_MOST_S : seconds;
	/* Who wants less than the protocol's least goes away earlier: silence is no error here. */
	q.stall_ms = wait_ms < CHANGES_POLL_LEAST_S * 1000 ? wait_ms : (seconds + CHANGES_JITTER_S) * 1000;
	q.arg = json_pack("{s:s, s:I}", "cursor", cursor, "timeout", (json_int_t)seconds);
	r = weir_dropbox_call(s, ctx, &q, &j, NULL, err);
	if (r == WEIR_E_STALL && q.stall_ms == wait_ms)
		return WEIR_OK;
	*is_news = r == WEIR_OK && json_is_true(json_object_get(j, "changes"));
	backoff = json_object_get(j, "backoff");
	if (json_is_integer(backoff) && json_integer_value(backoff) > 0)
		s->longpoll_not_before_ms = weir_now_ms() + 1000 * (json_integer_value(backoff) < CHANGES_BACKOFF_MOST_S ?
		    (int64_t)json_integer_value(backoff) : CHANGES_BACKOFF_MOST_S);
	json_decref(j);
	return r;
}

/* Until there may be news, at most wait_ms. */
static enum weir_code
changes_wait(struct dropbox *s, const struct weir_ctx *ctx, const char *cursor, int64_t wait_ms, bool *is_news, struct weir_err *err)
{
	int64_t end = weir_now_ms() + wait_ms, from = s->longpoll_not_before_ms;
	enum weir_code r;

	*is_news = wait_ms <= 0;
	if (wait_ms <= 0)
		return WEIR_OK;
	if (from >= end) {	/* the server does not want to be waited at for so long: look by ourselves */
		*is_news = true;
		return weir_layer_sleep(ctx, end, err);
	}
	r = weir_layer_sleep(ctx, from, err);
	wait_ms = end - weir_now_ms();
	return r != WEIR_OK || wait_ms <= 0 ? r : changes_poll(s, ctx, cursor, wait_ms, is_news, err);
}

/* ---- telling ---- */

/* Past the remote's own root, compared as the server folds; NULL: not below it. */
static const char *
changes_below(const struct dropbox *s, const char *path)
{
	const char *p = path;
	WEIR_AUTO(weir_freep) char *head = NULL, *a = NULL, *b = NULL;

	for (const char *q = s->root; *q != '\0'; q++)
		if (*q == '/') {
			p = *p == '/' ? p + 1 : p;
			p += strcspn(p, "/");
		}
	head = weir_xstrndup(path, (size_t)(p - path));
	a = weir_dropbox_fold(head);
	b = weir_dropbox_fold(s->root);
	return strcmp(a, b) == 0 && *p == '/' && p[1] != '\0' ? p + 1 : NULL;
}

/* As people see it; NULL when some name on the way cannot be shown. Owned. */
static char *
changes_path(const struct dropbox *s, const char *path)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf b = WEIR_BUF(256u << 10);
	const char *p = changes_below(s, path);

	while (p != NULL && *p != '\0') {
		size_t n = strcspn(p, "/");
		WEIR_AUTO(weir_freep) char *raw = weir_xstrndup(p, n), *name = weir_dropbox_name_shown(raw);

		if (name == NULL)
			return NULL;
		if (b.len > 0)
			weir_buf_addc(&b, '/');
		weir_buf_adds(&b, name);
		p += n;
		p += *p == '/';
	}
	return b.len > 0 && !b.is_full ? weir_buf_take(&b) : NULL;
}

static enum weir_code
changes_tell(struct dropbox *s, const json_t *entry, weir_change_fn *fn, void *arg, struct weir_err *err)
{
	const char *tag = json_string_value(json_object_get(entry, ".tag")), *at = json_string_value(json_object_get(entry, "path_display"));
	WEIR_AUTO(weir_freep) char *path = NULL;
	struct weir_change c = { .id = json_string_value(json_object_get(entry, "id")) };

	if (at == NULL)		/* an unmounted shared folder has no place */
		at = json_string_value(json_object_get(entry, "path_lower"));
	path = at != NULL ? changes_path(s, at) : NULL;
	if (path == NULL && (c.id == NULL || at != NULL))
		return WEIR_OK;	/* the root itself, or a name that is not shown */
	c.path = path;
	c.is_removed = tag != NULL && strcmp(tag, "deleted") == 0;
	c.is_dir = tag != NULL && strcmp(tag, "folder") == 0;
	c.version = json_string_value(json_object_get(entry, "rev"));
	return fn(arg, &c, err);
}

static enum weir_code
changes_pages(struct dropbox *s, const struct weir_ctx *ctx, char **cursor, weir_change_fn *fn, void *arg, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *at = weir_xstrdup(*cursor);
	bool has_more = true;

	while (has_more) {
		struct dropbox_req q = { .route = "files/list_folder/continue", .arg = json_pack("{s:s}", "cursor", at), .what = "changes of",
			.path = s->root };
		json_t *page = NULL, *entries;
		const char *next;
		enum weir_code r = weir_dropbox_call(s, ctx, &q, &page, NULL, err);

		entries = json_object_get(page, "entries");
		for (size_t i = 0; r == WEIR_OK && i < json_array_size(entries); i++)
			r = changes_tell(s, json_array_get(entries, i), fn, arg, err);
		next = json_string_value(json_object_get(page, "cursor"));
		if (r == WEIR_OK && next == NULL)
			r = weir_err_set(err, WEIR_E_PROTO, "a page of changes without a cursor");
		has_more = json_is_true(json_object_get(page, "has_more"));
		if (r == WEIR_OK) {
			free(at);
			at = weir_xstrdup(next);
		}
		json_decref(page);
		if (r != WEIR_OK)
			return r;
	}
	free(*cursor);
	*cursor = WEIR_STEAL(at);
	return WEIR_OK;
}

enum weir_code
weir_dropbox_changes(struct weir_backend *be, const struct weir_ctx *ctx, char **cursor, int64_t wait_ms, weir_change_fn *fn, void *arg,
    struct weir_err *err)
{
	struct dropbox *s = (struct dropbox *)be;
	bool is_news = false;
	enum weir_code r;

	if (*cursor == NULL)
		return changes_now(s, ctx, cursor, err);
	r = changes_wait(s, ctx, *cursor, wait_ms, &is_news, err);
	if (r == WEIR_OK && is_news)
		r = changes_pages(s, ctx, cursor, fn, arg, err);
	return r;
}
