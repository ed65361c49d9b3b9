/* SPDX-License-Identifier: Apache-2.0 */
/* Large files: concurrent upload sessions. Parts come in any order and at the same time; the last one closes the session and is sent when all others
 * have arrived (WEIR_CAP_LAST_ALONE). A part's tag is the digests of its blocks, from which the content_hash of the whole follows.
 *
 * A session cannot be asked which parts it holds (WEIR_CAP_PARTS_UNTOLD): after a restart the core's own table says it, and the content_hash
 * of the result says whether that was true. There is no call that gives a session up; it ends by itself after seven days and takes no
 * space from anybody. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dropbox_impl.h"

enum weir_code
weir_dropbox_upload_begin(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, uint64_t size,
    const struct weir_meta *meta, char **id, struct weir_err *err)
{
	struct dropbox *s = (struct dropbox *)be;
	struct dropbox_req q = { .style = DROPBOX_UPLOAD, .route = "files/upload_session/start", .what = "begin upload of", .path = w->path };
	WEIR_AUTO(weir_freep) char *at = NULL;
	json_t *j = NULL;
	const char *session;
	enum weir_code r = weir_dropbox_path(s, w->path, true, &at, err);

	if (r == WEIR_OK && size > DROPBOX_FILE_MAX)
		r = weir_err_set(err, WEIR_E_FBIG, "'%s' is larger than Dropbox takes", w->path);
	if (r != WEIR_OK)
		return r;
	q.arg = json_pack("{s:b, s:s}", "close", 0, "session_type", "concurrent");
	r = weir_dropbox_call(s, ctx, &q, &j, NULL, err);
	session = json_string_value(json_object_get(j, "session_id"));
	if (r == WEIR_OK && session == NULL)
		r = weir_err_set(err, WEIR_E_PROTO, "begin upload of '%s': no session_id in the answer", w->path);
	if (r == WEIR_OK)
		*id = weir_xstrdup(session);
	json_decref(j);
	return r;
}

static json_t *
upload_cursor(const char *id, uint64_t off, bool is_last)
{
	return json_pack("{s:{s:s, s:I}, s:b}", "cursor", "session_id", id, "offset", (json_int_t)off, "close", is_last);
}

/* An append was refused. A first copy of it may have arrived without its answer. */
static enum weir_code
upload_refused(const struct weir_where *w, const struct dropbox_error *e, enum weir_code r, uint64_t end, bool is_last, struct weir_err *err)
{
	if (weir_dropbox_error_has(e, "closed") && is_last)
		return WEIR_OK;
	if (weir_dropbox_error_has(e, "incorrect_offset") && e->has_offset && e->correct_offset == end)
		return WEIR_OK;
	if (r == WEIR_E_NOENT)
		return weir_err_set(err, r, "the server has forgotten the upload of '%s'", w->path);
	return r;
}

enum weir_code
weir_dropbox_upload_part(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, const char *id, uint32_t number,
    struct weir_source *src, uint64_t off, uint64_t len, uint64_t total, char **tag, struct weir_err *err)
{
	struct dropbox *s = (struct dropbox *)be;
	WEIR_AUTO(weir_freep) char *blocks = NULL;
	struct dropbox_error e = { .retry_after_ms = -1 };
	bool is_last = off + len == total;
	struct dropbox_req q = { .style = DROPBOX_UPLOAD, .route = "files/upload_session/append_v2", .source = src, .source_off = off,
		.source_len = len, .what = "upload a part of", .path = w->path, .stall_ms = DROPBOX_THINK_MS, .error = &e };
	char hash[2 * WEIR_SHA256_LEN + 1];
	enum weir_code r;

	if (off % DROPBOX_BLOCK != 0 || (!is_last && len % DROPBOX_BLOCK != 0))
		return weir_err_set(err, WEIR_E_INVAL, "a part of '%s' is not in whole blocks of 4 MiB", w->path);
	r = weir_dropbox_hash_source(src, off, len, hash, &blocks, err);
	if (r != WEIR_OK)
		return r;
	q.arg = upload_cursor(id, off, is_last);
	json_object_set_new(q.arg, "content_hash", json_string(hash));
	r = weir_dropbox_call(s, ctx, &q, NULL, NULL, err);
	if (r != WEIR_OK && e.ntags > 0)
		r = upload_refused(w, &e, r, off + len, is_last, err);
	weir_dropbox_error_clear(&e);
	if (r == WEIR_OK)
		*tag = WEIR_STEAL(blocks);
	return r;
}

/* An empty append at an offset that no part can have changes nothing, whatever the server says to it; only of a session that is gone it says so. */
enum weir_code
weir_dropbox_upload_status(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, const char *id,
    enum weir_code (*fn)(void *arg, uint32_t number, uint64_t size, const char *tag), void *arg, struct weir_err *err)
{
	struct dropbox *s = (struct dropbox *)be;
	struct dropbox_error e = { .retry_after_ms = -1 };
	struct dropbox_req q = { .style = DROPBOX_UPLOAD, .route = "files/upload_session/append_v2", .arg = upload_cursor(id, 1, false),
		.what = "look for upload of", .path = w->path, .error = &e };
	enum weir_code r = weir_dropbox_call(s, ctx, &q, NULL, NULL, err);

	if (weir_dropbox_error_has(&e, "not_found") || weir_dropbox_error_has(&e, "lookup_failed"))
		r = weir_err_set(err, WEIR_E_NOENT, "the server has forgotten the upload of '%s'", w->path);
	else if (weir_dropbox_error_has(&e, "closed") || weir_dropbox_error_has(&e, "incorrect_offset") ||
	         weir_dropbox_error_has(&e, "concurrent_session_invalid_offset") || weir_dropbox_error_has(&e, "concurrent_session_invalid_data_size"))
		r = WEIR_OK;
	weir_dropbox_error_clear(&e);
	return r;
}

/* ---- commit ---- */

/* What has become of the session is not what was sent. It must not stay: the revision before comes back, or nothing does. */
static void
upload_undo(struct dropbox *s, const struct weir_ctx *ctx, const struct dropbox_file *f, const json_t *answer)
{
	const char *rev = json_string_value(json_object_get(answer, "rev"));
	struct dropbox_req q = { .what = "undo upload of", .path = f->where->path };

	if (f->where->version == NULL || rev == NULL)
		return;		/* what was there is in the list of revisions */
	if (f->where->version == WEIR_ABSENT) {
		q.route = "files/delete_v2";
		q.arg = json_pack("{s:s, s:s}", "path", f->at, "parent_rev", rev);
	} else {
		q.route = "files/restore";
		q.arg = json_pack("{s:s, s:s}", "path", f->at, "rev", f->rev != NULL ? f->rev : f->where->version);
	}
	weir_dropbox_call(s, ctx, &q, NULL, NULL, NULL);
}

static enum weir_code
upload_finish(struct dropbox *s, const struct weir_ctx *ctx, struct dropbox_file *f, const char *id, struct weir_stat *st, struct weir_err *err)
{
	struct dropbox_error e = { .retry_after_ms = -1 };
	json_t *answer = NULL;
	enum weir_code r = weir_dropbox_commit(s, ctx, f, id, &answer, &e, err);

	if (r == WEIR_OK) {
		r = weir_dropbox_arrived(f, answer, st, err);
		if (r == WEIR_E_BADSUM)
			upload_undo(s, ctx, f, answer);
	} else if (r == WEIR_E_EXIST || r == WEIR_E_NOENT) {
		r = weir_dropbox_conflict(s, ctx, f, r, st, err);
	}
	json_decref(answer);
	weir_dropbox_error_clear(&e);
	return r;
}

enum weir_code
weir_dropbox_upload_commit(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, const char *id,
    const char *const *tags, uint32_t ntags, uint64_t size, const struct weir_meta *meta, const char *sum, struct weir_stat *st,
    struct weir_err *err)
{
	struct dropbox *s = (struct dropbox *)be;
	struct dropbox_file f = { .where = w, .meta = meta, .size = size };
	struct weir_stat done = { 0 };
	enum weir_code r = weir_dropbox_path(s, w->path, true, &f.at, err);

	if (r == WEIR_OK && !weir_dropbox_hash_tags(tags, ntags, size, f.hash))
		r = weir_err_set(err, WEIR_E_NOENT, "the tags of the upload of '%s' are not of %" PRIu64 " bytes", w->path, size);
	if (r == WEIR_OK)
		r = upload_finish(s, ctx, &f, id, &done, err);
	if (r == WEIR_E_BUSY)
		r = upload_finish(s, ctx, &f, id, &done, err);
	if (r == WEIR_OK && st != NULL)
		*st = done;
	else
		weir_stat_free(&done);
	free(f.at);
	free(f.rev);
	return r;
}
