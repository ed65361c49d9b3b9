/* SPDX-License-Identifier: Apache-2.0 */
/* Upload sessions of the Dropbox emulator: pieces of files to be, sequential (each piece begins where the last one ended) or concurrent (4 MiB multiples in any
 * order, closed by the piece that reaches the end), finished one by one or in batches. Sessions survive a restart. Callers hold drop_lock. */
#include "config.h"
#include "drop.h"
#include <inttypes.h>
#include <string.h>

struct piece {
	uint64_t off, len;
	struct emu_blob *blob;
	unsigned char *sums;		/* of its blocks; NULL: not known (after a restart) */
	size_t n;
};
struct session {
	char id[64];
	bool is_concurrent, is_closed;
	int64_t made_s;
	struct piece *piece;		/* by offset */
	size_t n;
};

static struct session **sessions;
static size_t sessions_n;

/* ---- the sessions ---- */

static void
session_log(const struct session *s)
{
	emu_log(json_pack("{s:s s:s s:b s:b s:I}", "op", "ses", "id", s->id, "c", s->is_concurrent, "x", s->is_closed, "t", (json_int_t)s->made_s));
}

static void
session_log_piece(const struct session *s, const struct piece *p)
{
	struct weir_buf b = WEIR_BUF(16u << 20);

	emu_blob_save(&b, p->blob);
	emu_log(json_pack("{s:s s:s s:I s:s}", "op", "piece", "id", s->id, "off", (json_int_t)p->off, "blob", weir_buf_str(&b)));
	weir_buf_free(&b);
}

static struct session *
session_add(const char *id, bool is_concurrent)
{
	struct session *s = weir_xcalloc(1, sizeof(*s));

	if (id) {
		snprintf(s->id, sizeof(s->id), "%s", id);
	} else {
		char random[33];

		weir_random_hex(random, 32);
		snprintf(s->id, sizeof(s->id), "pid_upload_session:%s", random);
	}
	s->is_concurrent = is_concurrent;
	s->made_s = emu_wall_s();
	sessions = weir_xrealloc(sessions, sessions_n + 1, sizeof(*sessions));
	sessions[sessions_n++] = s;
	return s;
}

static void
session_forget(struct session *s)
{
	for (size_t i = 0; i < sessions_n; i++)
		if (sessions[i] == s) {
			sessions[i] = sessions[--sessions_n];
			break;
		}
	for (size_t i = 0; i < s->n; i++) {
		emu_blob_unref(s->piece[i].blob);
		free(s->piece[i].sums);
	}
	free(s->piece);
	free(s);
}

static void
session_end(struct session *s)
{
	emu_log(json_pack("{s:s s:s}", "op", "unses", "id", s->id));
	session_forget(s);
}

static struct session *
session_by_id(const char *id)
{
	for (size_t i = 0; i < sessions_n; i++)
		if (!strcmp(sessions[i]->id, id))
			return sessions[i];
	return NULL;
}

/* The one a cursor names, if it has not expired. */
static struct session *
session_of(const struct emu_req *req, const json_t *cursor)
{
	struct session *s = session_by_id(json_string_value(json_object_get(cursor, "session_id")));

	if (s && (s->made_s + DROP_SESSION_S < emu_wall_s() || drop_take(req, DROP_EXPIRE_NEXT))) {
		session_end(s);
		return NULL;
	}
	return s;
}

static uint64_t
session_size(const struct session *s)
{
	return s->n ? s->piece[s->n - 1].off + s->piece[s->n - 1].len : 0;
}

static bool
session_has_holes(const struct session *s)
{
	uint64_t at = 0;

	for (size_t i = 0; i < s->n; i++) {
		if (s->piece[i].off != at)
			return true;
		at += s->piece[i].len;
	}
	return false;
}

/* Takes the blob. */
static void
session_keep_piece(struct session *s, uint64_t off, struct emu_blob *blob, const struct drop_hash *hash)
{
	struct piece p = { .off = off, .len = emu_blob_size(blob), .blob = blob };
	size_t i;

	if (hash) {
		p.n = hash->n;
		p.sums = weir_xcalloc(p.n ? p.n : 1, WEIR_SHA256_LEN);
		if (p.n)
			memcpy(p.sums, hash->sums, p.n * WEIR_SHA256_LEN);
	}
	for (i = s->n; i > 0 && s->piece[i - 1].off > off; i--)
		continue;
	if (i > 0 && s->piece[i - 1].off == off && s->piece[i - 1].len == p.len) {
		emu_blob_unref(s->piece[i - 1].blob);
		free(s->piece[i - 1].sums);
		s->piece[i - 1] = p;
		return;
	}
	s->piece = weir_xrealloc(s->piece, s->n + 1, sizeof(*s->piece));
	memmove(s->piece + i + 1, s->piece + i, (s->n - i) * sizeof(*s->piece));
	s->piece[i] = p;
	s->n++;
}

void
drop_session_keep(struct emu_blob *blob, char id[64])
{
	struct session *s = session_add(NULL, false);

	session_log(s);
	if (emu_blob_size(blob)) {
		session_keep_piece(s, 0, emu_blob_ref(blob), NULL);
		session_log_piece(s, &s->piece[0]);
	}
	snprintf(id, 64, "%s", s->id);
}

/* ---- appending ---- */

static json_t *
append_wrong_offset(const struct session *s)
{
	return json_pack("{s:s s:I}", ".tag", "incorrect_offset", "correct_offset", (json_int_t)session_size(s));
}

/* What speaks against len bytes at off; NULL: nothing. */
static json_t *
append_refused(const struct session *s, uint64_t off, uint64_t len, bool is_last)
{
	if (s->is_closed)
		return drop_tags("closed", NULL);
	if (off > DROP_FILE_MAX || len > DROP_FILE_MAX - off)
		return drop_tags("too_large", NULL);
	if (!s->is_concurrent)
		return off == session_size(s) ? NULL : append_wrong_offset(s);
	if (off % DROP_BLOCK)
		return drop_tags("concurrent_session_invalid_offset", NULL);
	if (len % DROP_BLOCK && !is_last)
		return drop_tags("concurrent_session_invalid_data_size", NULL);
	for (size_t i = 0; i < s->n; i++) {
		const struct piece *p = &s->piece[i];

		if (off < p->off + p->len && p->off < off + len && (p->off != off || p->len != len))
			return drop_tags("concurrent_session_invalid_offset", NULL);
	}
	return NULL;
}

/* Takes the blob. NULL or the error. */
static json_t *
append_piece(struct session *s, uint64_t off, struct emu_blob *blob, const struct drop_hash *hash, bool is_last)
{
	json_t *e = append_refused(s, off, emu_blob_size(blob), is_last);

	if (e || !emu_blob_size(blob)) {
		emu_blob_unref(blob);
	} else {
		session_keep_piece(s, off, blob, hash);
		for (size_t i = 0; i < s->n; i++)
			if (s->piece[i].off == off)
				session_log_piece(s, &s->piece[i]);
	}
	if (!e && is_last) {
		s->is_closed = true;
		session_log(s);
	}
	return e;
}

/* Is the body of this upload as its argument says? False: replied. */
static bool
body_ok(struct emu_req *req)
{
	struct drop_req *r = drop_of(req);
	const char *said = drop_arg_string(req, "content_hash");
	char hash[65];

	if (r->is_over) {
		drop_fail(req, 409, drop_tags("payload_too_large", NULL));
		return false;
	}
	drop_hash_text(r->hash.sums, r->hash.n, hash);
	if (said && (strcmp(said, hash) || drop_take(req, DROP_HASH_NEXT)))
		drop_fail(req, 409, drop_tags("content_hash_mismatch", NULL));
	return !req->is_replied;
}

static uint64_t
cursor_offset(const json_t *cursor)
{
	return (uint64_t)json_integer_value(json_object_get(cursor, "offset"));
}

static bool
arg_concurrent(const struct emu_req *req)
{
	const char *tag = drop_tag(json_object_get(drop_of(req)->arg, "session_type"));

	return tag && !strcmp(tag, "concurrent");
}

void
drop_session_start(struct emu_req *req)
{
	struct drop_req *r = drop_of(req);
	bool is_concurrent = arg_concurrent(req), is_closed = drop_arg_true(r->arg, "close");
	struct session *s;

	if (!body_ok(req))
		return;
	if (is_concurrent && (r->got || is_closed)) {
		drop_fail(req, 409, drop_tags(r->got ? "concurrent_session_data_not_allowed" : "concurrent_session_close_not_allowed", NULL));
		return;
	}
	s = session_add(NULL, is_concurrent);
	session_log(s);
	json_decref(append_piece(s, 0, emu_blob_ref(r->blob), &r->hash, is_closed));
	drop_ok(req, json_pack("{s:s}", "session_id", s->id));
}

void
drop_session_start_batch(struct emu_req *req)
{
	json_int_t n = json_integer_value(json_object_get(drop_of(req)->arg, "num_sessions"));
	json_t *ids = json_array();

	while (n-- > 0) {
		struct session *s = session_add(NULL, arg_concurrent(req));

		session_log(s);
		json_array_append_new(ids, json_string(s->id));
	}
	drop_ok(req, json_pack("{s:o}", "session_ids", ids));
}

/* Half of it arrives, and nobody says so. */
static bool
append_partly(struct emu_req *req, struct session *s, uint64_t off)
{
	struct drop_req *r = drop_of(req);
	uint64_t half = emu_blob_size(r->blob) / 2;
	struct emu_blob *blob;

	if (s->is_concurrent || off != session_size(s) || s->is_closed || !half || !drop_take(req, DROP_PARTIAL_NEXT))
		return false;
	emu_count_fault("partial");
	blob = emu_blob_copy(r->blob, 0, half);
	if (blob)
		json_decref(append_piece(s, off, blob, NULL, false));
	emu_reply_text(req, 500, "text/html", "<!DOCTYPE html><title>Dropbox - 500</title>");
	return true;
}

void
drop_session_append(struct emu_req *req)
{
	struct drop_req *r = drop_of(req);
	const json_t *cursor = json_object_get(r->arg, "cursor");
	struct session *s;
	json_t *e;

	if (!body_ok(req))
		return;
	s = session_of(req, cursor);
	if (s && append_partly(req, s, cursor_offset(cursor)))
		return;
	e = s ? append_piece(s, cursor_offset(cursor), emu_blob_ref(r->blob), &r->hash, drop_arg_true(r->arg, "close")) : drop_tags("not_found", NULL);
	if (e)
		drop_fail(req, 409, e);
	else
		drop_ok(req, NULL);
}

/* One entry of append_batch: its piece of the body. */
static json_t *
append_batch_entry(struct emu_req *req, const json_t *entry, uint64_t from, uint64_t len)
{
	const json_t *cursor = json_object_get(entry, "cursor");
	struct session *s = session_of(req, cursor);
	struct emu_blob *blob = s ? emu_blob_copy(drop_of(req)->blob, from, len) : NULL;
	json_t *e;

	if (!s)
		e = drop_tags("not_found", NULL);
	else
		e = blob ? append_piece(s, cursor_offset(cursor), blob, NULL, drop_arg_true(entry, "close")) : drop_tags("other", NULL);
	return e ? drop_under("failure", e) : drop_tags("success", NULL);
}

void
drop_session_append_batch(struct emu_req *req)
{
	struct drop_req *r = drop_of(req);
	const json_t *entries = json_object_get(r->arg, "entries");
	json_t *out;
	uint64_t at = 0;

	if (!body_ok(req))
		return;
	for (size_t i = 0; i < json_array_size(entries); i++)
		at += (uint64_t)json_integer_value(json_object_get(json_array_get(entries, i), "length"));
	if (at != r->got) {
		drop_fail(req, 409, drop_tags("length_mismatch", NULL));
		return;
	}
	out = json_array();
	at = 0;
	for (size_t i = 0; i < json_array_size(entries); i++) {
		const json_t *entry = json_array_get(entries, i);
		uint64_t len = (uint64_t)json_integer_value(json_object_get(entry, "length"));

		json_array_append_new(out, append_batch_entry(req, entry, at, len));
		at += len;
	}
	drop_ok(req, json_pack("{s:o}", "entries", out));
}

/* ---- finishing ---- */

/* From the blocks' digests when every piece begins at a block, else by reading. */
static int
finish_hash(const struct session *s, struct emu_blob *whole, char out[65])
{
	unsigned char *sums = NULL;
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++) {
		const struct piece *p = &s->piece[i];

		if (!p->sums || p->off % DROP_BLOCK) {
			free(sums);
			return drop_hash_blob(whole, out);
		}
		sums = weir_xrealloc(sums, n + p->n, WEIR_SHA256_LEN);
		memcpy(sums + n * WEIR_SHA256_LEN, p->sums, p->n * WEIR_SHA256_LEN);
		n += p->n;
	}
	drop_hash_text(sums, n, out);
	free(sums);
	return 0;
}

static struct emu_blob *
finish_join(const struct session *s)
{
	struct emu_blob **blobs, *whole;

	if (!s->n)
		return emu_blob_empty();
	blobs = weir_xcalloc(s->n, sizeof(struct emu_blob *));
	for (size_t i = 0; i < s->n; i++)
		blobs[i] = s->piece[i].blob;
	whole = emu_blob_join(blobs, s->n);
	free(blobs);
	return whole;
}

static json_t *
finish_lookup(json_t *e)
{
	return drop_under("lookup_failed", e);
}

/* What speaks against finishing here; NULL: nothing. */
static json_t *
finish_refused(const struct session *s, uint64_t off, bool has_data, bool is_batch)
{
	if (s->is_concurrent && has_data)
		return drop_tags("concurrent_session_data_not_allowed", NULL);
	if (s->is_concurrent && !s->is_closed)
		return is_batch ? finish_lookup(drop_tags("not_closed", NULL)) : drop_tags("concurrent_session_not_closed", NULL);
	if (is_batch && !s->is_closed)
		return finish_lookup(drop_tags("not_closed", NULL));
	if (s->is_concurrent && session_has_holes(s))
		return drop_tags("concurrent_session_missing_data", NULL);
	if (off != session_size(s))
		return finish_lookup(append_wrong_offset(s));
	return has_data && s->is_closed ? finish_lookup(drop_tags("closed", NULL)) : NULL;
}

static json_t *
finish_commit(struct emu_req *req, struct session *s, const json_t *commit, json_t **error)
{
	struct emu_blob *whole = finish_join(s);
	json_t *meta, *write_error = NULL;
	const char *tag;
	char hash[65];

	if (!whole || finish_hash(s, whole, hash)) {
		emu_blob_unref(whole);
		*error = drop_tags("other", NULL);
		return NULL;
	}
	meta = drop_commit(req, commit, whole, hash, &write_error);
	if (meta) {
		session_end(s);
		return meta;
	}
	tag = drop_tag(write_error);
	if (tag && !strcmp(tag, "too_many_write_operations"))
		*error = write_error;
	else
		*error = drop_under("path", write_error);
	return NULL;
}

/* The file's metadata, or NULL and an UploadSessionFinishError. What the body brought stays in the session when the commit fails. */
static json_t *
finish_one(struct emu_req *req, const json_t *entry, bool is_batch, json_t **error)
{
	struct drop_req *r = drop_of(req);
	const json_t *cursor = json_object_get(entry, "cursor");
	struct session *s = session_of(req, cursor);
	bool has_data = !is_batch && r->got;

	*error = s ? finish_refused(s, cursor_offset(cursor), has_data, is_batch) : finish_lookup(drop_tags("not_found", NULL));
	if (!*error && has_data && (*error = append_piece(s, cursor_offset(cursor), emu_blob_ref(r->blob), &r->hash, false)))
		*error = finish_lookup(*error);
	return *error ? NULL : finish_commit(req, s, json_object_get(entry, "commit"), error);
}

void
drop_session_finish(struct emu_req *req)
{
	json_t *meta, *error = NULL;

	if (!body_ok(req))
		return;
	meta = finish_one(req, drop_of(req)->arg, false, &error);
	if (meta)
		drop_ok(req, meta);
	else
		drop_fail(req, 409, error);
}

static json_t *
finish_batch(struct emu_req *req)
{
	const json_t *entries = json_object_get(drop_of(req)->arg, "entries");
	json_t *out = json_array();

	for (size_t i = 0; i < json_array_size(entries); i++) {
		json_t *error = NULL, *meta = finish_one(req, json_array_get(entries, i), true, &error);

		if (meta)
			json_object_set_new(meta, ".tag", json_string("success"));
		json_array_append_new(out, meta ? meta : drop_under("failure", error));
	}
	return json_pack("{s:o}", "entries", out);
}

void
drop_session_finish_batch(struct emu_req *req)
{
	drop_ok(req, finish_batch(req));
}

void
drop_session_finish_batch_async(struct emu_req *req)
{
	drop_job_launch(req, finish_batch(req));
}

/* ---- the state file ---- */

int
drop_session_load(const json_t *o)
{
	const char *op = json_string_value(json_object_get(o, "op")), *id = json_string_value(json_object_get(o, "id"));
	const char *text = json_string_value(json_object_get(o, "blob"));
	struct session *s = id ? session_by_id(id) : NULL;
	struct emu_blob *blob;

	if (!id)
		return -1;
	if (!strcmp(op, "ses")) {
		s = s ? s : session_add(id, drop_arg_true(o, "c"));
		s->is_closed = drop_arg_true(o, "x");
		s->made_s = json_integer_value(json_object_get(o, "t"));
	} else if (!strcmp(op, "unses") && s) {
		session_forget(s);
	} else if (!strcmp(op, "piece") && s && text && (blob = emu_blob_load(text))) {
		session_keep_piece(s, (uint64_t)json_integer_value(json_object_get(o, "off")), blob, NULL);
	}
	return 0;
}

void
drop_session_dump(void)
{
	for (size_t i = 0; i < sessions_n; i++) {
		session_log(sessions[i]);
		for (size_t k = 0; k < sessions[i]->n; k++)
			session_log_piece(sessions[i], &sessions[i]->piece[k]);
	}
}
