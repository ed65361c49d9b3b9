/* SPDX-License-Identifier: Apache-2.0 */
/* Resumable uploads: a session keeps what has come in whole multiples of 256 KiB, says so with 308 and Range, outlives restarts, and answers with the file once
 * it is complete, however often it is asked. A chunk that is cut off leaves its whole multiples behind. */
#include "config.h"
#include "drive.h"
#include <stdarg.h>
#include <string.h>

struct drive_session {
	struct drive_session *next;
	char *id, *file, *mime, *done;	/* file: NULL creates. done: id of the file it became */
	json_t *meta;
	uint64_t total, have;		/* total: UINT64_MAX unknown */
	int64_t made_ms;
	struct emu_blob **piece;
	size_t n;
	bool is_finishing;
};
static struct drive_session *sess_all;

/* ---- the list ---- */

static struct drive_session *
sess_by_id(const char *id)
{
	for (struct drive_session *s = sess_all; s; s = s->next)
		if (!strcmp(s->id, id))
			return s;
	return NULL;
}

static void
sess_drop_pieces(struct drive_session *s)
{
	for (size_t i = 0; i < s->n; i++)
		emu_blob_unref(s->piece[i]);
	free(s->piece);
	s->piece = NULL;
	s->n = 0;
}

static void
sess_log(const struct drive_session *s)
{
	json_t *o = json_pack("{s:s s:s s:s? s:s? s:s? s:I s:I}", "op", "session", "id", s->id, "file", s->file, "mime", s->mime, "done", s->done, "total",
	    (json_int_t)(s->total == UINT64_MAX ? -1 : (int64_t)s->total), "made", (json_int_t)s->made_ms);

	if (s->meta)
		json_object_set(o, "meta", s->meta);
	emu_log(o);
}

static void
sess_log_piece(const struct drive_session *s, const struct emu_blob *blob)
{
	struct weir_buf b = WEIR_BUF(16u << 20);

	emu_blob_save(&b, blob);
	emu_log(json_pack("{s:s s:s s:s}", "op", "piece", "id", s->id, "blob", weir_buf_str(&b)));
	weir_buf_free(&b);
}

static void
sess_remove(struct drive_session *s, bool is_logged)
{
	struct drive_session **slot = &sess_all;

	while (*slot != s)
		slot = &(*slot)->next;
	*slot = s->next;
	if (is_logged)
		emu_log(json_pack("{s:s s:s s:b}", "op", "session", "id", s->id, "gone", 1));
	sess_drop_pieces(s);
	json_decref(s->meta);
	free(s->id);
	free(s->file);
	free(s->mime);
	free(s->done);
	free(s);
}

static void
sess_add_piece(struct drive_session *s, struct emu_blob *blob)
{
	s->piece = weir_xrealloc(s->piece, s->n + 1, sizeof(struct emu_blob *));
	s->piece[s->n++] = blob;
	s->have += emu_blob_size(blob);
}

static char *
sess_text(const json_t *o, const char *name)
{
	return weir_xstrdup(json_string_value(json_object_get(o, name)));
}

static int
sess_load_piece(struct drive_session *s, const json_t *o)
{
	const char *text = json_string_value(json_object_get(o, "blob"));
	struct emu_blob *blob = text ? emu_blob_load(text) : NULL;

	if (!s || !blob)
		return -1;
	sess_add_piece(s, blob);
	return 0;
}

int
drive_session_load(const json_t *o)
{
	const char *op = json_string_value(json_object_get(o, "op")), *id = json_string_value(json_object_get(o, "id"));
	struct drive_session *s = id ? sess_by_id(id) : NULL;

	if (!id || !strcmp(op, "piece"))
		return id ? sess_load_piece(s, o) : -1;
	if (json_is_true(json_object_get(o, "gone"))) {
		if (s)
			sess_remove(s, false);
		return 0;
	}
	if (!s) {
		s = weir_xcalloc(1, sizeof(*s));
		s->id = weir_xstrdup(id);
		s->file = sess_text(o, "file");
		s->mime = sess_text(o, "mime");
		s->meta = json_incref(json_object_get(o, "meta"));
		s->made_ms = json_integer_value(json_object_get(o, "made"));
		s->next = sess_all;
		sess_all = s;
	}
	s->total = json_integer_value(json_object_get(o, "total")) < 0 ? UINT64_MAX : (uint64_t)json_integer_value(json_object_get(o, "total"));
	if (!s->done && (s->done = sess_text(o, "done")))
		sess_drop_pieces(s);
	return 0;
}

void
drive_session_dump(void)
{
	for (const struct drive_session *s = sess_all; s; s = s->next) {
		sess_log(s);
		for (size_t i = 0; i < s->n; i++)
			sess_log_piece(s, s->piece[i]);
	}
}

/* ---- start ---- */

static bool
sess_total(struct emu_req *req, uint64_t *total)
{
	const char *h = emu_header(req, "X-Upload-Content-Length");
	char *end;

	*total = UINT64_MAX;
	if (!h || !*h)
		return true;
	*total = strtoull(h, &end, 10);
	if (*end || *h == '-')
		drive_fail(req, 400, "badRequest", NULL, "Invalid X-Upload-Content-Length.");
	else if (*total > (uint64_t)DRIVE_FILE_MAX)
		drive_fail(req, 413, "uploadTooLarge", NULL, "The upload is too large.");
	else
		drive_room(req, *total);
	return !req->is_replied;
}

void
drive_session_start(struct emu_req *req)
{
	struct drive_req *r = drive_of(req);
	struct drive_session *s;
	char id[64] = "AHmUCY", base[300];
	uint64_t total;

	if (!sess_total(req, &total))
		return;
	drive_make_id(id + 6, 56);
	s = weir_xcalloc(1, sizeof(*s));
	s->id = weir_xstrdup(id);
	s->file = weir_xstrdup(r->arg[0]);
	s->mime = weir_xstrdup(r->mime);
	s->meta = r->meta ? json_incref(r->meta) : NULL;
	s->total = total;
	s->made_ms = drive_now_ms();
	s->next = sess_all;
	sess_all = s;
	sess_log(s);
	emu_out(req, "X-GUploader-UploadID", id);
	emu_outf(req, "Location", "%s%s&upload_id=%s", drive_base(req, base), req->target, id);
	emu_reply(req, 200);
}

/* ---- chunks ---- */

/* The session of this request's address. Under drive_lock. NULL: replied. */
static struct drive_session *
sess_of(struct emu_req *req)
{
	struct drive_session *s = sess_by_id(emu_query(req, "upload_id"));

	if (s && s->is_finishing) {
		drive_fail(req, 503, "backendError", NULL, "Backend Error");
		return NULL;
	}
	if (s && drive_take(req, DRIVE_SESSION_GONE_NEXT)) {
		sess_remove(s, true);
		drive_fail(req, (unsigned)emu_value(&drive_switches[DRIVE_SESSION_GONE_AS]), "notFound", NULL, "Not Found");
		return NULL;
	}
	if (s && drive_now_ms() - s->made_ms <= DRIVE_SESSION_MS)
		return s;
	if (s)
		sess_remove(s, true);
	drive_fail(req, 404, "notFound", NULL, "Not Found");
	return NULL;
}

/* The upload server speaks plain text. */
static void WEIR_PRINTF(3, 4)
sess_refuse(struct emu_req *req, unsigned status, const char *fmt, ...)
{
	struct weir_buf text = WEIR_BUF(4096);
	va_list ap;

	weir_buf_adds(&text, "Invalid request.  ");
	va_start(ap, fmt);
	weir_buf_vaddf(&text, fmt, ap);
	va_end(ap);
	emu_reply_text(req, status, "text/plain; charset=utf-8", weir_buf_str(&text));
	weir_buf_free(&text);
}

struct sess_range {
	unsigned long long first, last;
	uint64_t total;			/* UINT64_MAX: not told */
	bool has_bytes;			/* else "bytes * /…": only a question */
};

static bool
sess_range_parse(const char *h, struct sess_range *g)
{
	unsigned long long total;
	int n = 0;

	g->total = UINT64_MAX;
	if (!strncmp(h, "bytes */", 8)) {
		g->has_bytes = false;
		h += 8;
	} else if (sscanf(h, "bytes %llu-%llu/%n", &g->first, &g->last, &n) == 2 && n && g->first <= g->last) {
		g->has_bytes = true;
		h += n;
	} else {
		return false;
	}
	if (!strcmp(h, "*"))
		return true;
	if (*h < '0' || *h > '9' || sscanf(h, "%llu%n", &total, &n) != 1 || h[n])
		return false;
	g->total = total;
	return true;
}

static void
sess_chunk_range(struct emu_req *req, struct drive_session *s, const struct sess_range *g)
{
	struct drive_req *r = drive_of(req);
	uint64_t total = g->total != UINT64_MAX ? g->total : s->total;

	r->is_query = !g->has_bytes;
	r->total = total;
	if (g->total != UINT64_MAX && s->total != UINT64_MAX && g->total != s->total) {
		sess_refuse(req, 400, "The total size of an upload cannot change from %llu to %llu byte(s).", (unsigned long long)s->total,
		    (unsigned long long)g->total);
		return;
	}
	if (r->is_query) {
		r->is_last = total == s->have;
		if (req->content_length > 0)
			sess_refuse(req, 400, "There were %lld byte(s) in the request body.  There should have been 0 byte(s).", (long long)req->content_length);
		return;
	}
	r->is_last = total != UINT64_MAX && g->last + 1 == total;
	r->skip = g->first < s->have ? s->have - g->first : 0;
	if (req->content_length >= 0 && (uint64_t)req->content_length != g->last - g->first + 1)
		sess_refuse(req, 400, "There were %lld byte(s) in the request body.  There should have been %llu byte(s) according to the Content-Range header.",
		    (long long)req->content_length, g->last - g->first + 1);
	else if (total != UINT64_MAX && g->last >= total)
		sess_refuse(req, 400, "The Content-Range ends at %llu, beyond the total size of %llu byte(s).", g->last, (unsigned long long)total);
	else if (g->first > s->have)
		sess_refuse(req, 503, "According to the Content-Range header, the upload offset is %llu byte(s), which exceeds already uploaded size of %llu "
		    "byte(s).", g->first, (unsigned long long)s->have);
	else if (!r->is_last && g->last - g->first + 1 < DRIVE_QUANTUM)
		sess_refuse(req, 400, "The number of bytes uploaded is required to be equal or greater than 262144, except for the final request (it's recommended "
		    "to be the exact multiple of 262144).  The received request contained %llu bytes, which does not meet this requirement.",
		    g->last - g->first + 1);
}

void
drive_session_chunk_begin(struct emu_req *req)
{
	struct drive_req *r = drive_of(req);
	const char *h = emu_header(req, "Content-Range");
	struct sess_range g = { 0 };
	struct drive_session *s;

	pthread_mutex_lock(&drive_lock);
	s = sess_of(req);
	if (s && !s->done && !emu_is(req, "DELETE")) {
		r->at = s->have;
		if (h && !sess_range_parse(h, &g)) {
			sess_refuse(req, 400, "Failed to parse Content-Range header.");
		} else if (h) {
			sess_chunk_range(req, s, &g);
		} else {	/* all of it in one request */
			r->total = req->content_length >= 0 ? (uint64_t)req->content_length : UINT64_MAX;
			r->is_last = true;
			r->skip = s->have;
			if (s->total != UINT64_MAX && r->total != UINT64_MAX && r->total != s->total)
				sess_refuse(req, 400, "The total size of an upload cannot change from %llu to %llu byte(s).", (unsigned long long)s->total,
				    (unsigned long long)r->total);
		}
		if (!req->is_replied && !r->is_query && !(r->writer = emu_writer_new()))
			drive_fail(req, 500, "internalError", NULL, "Internal Error");
	}
	pthread_mutex_unlock(&drive_lock);
}

static void
sess_reply_progress(struct emu_req *req, const struct drive_session *s)
{
	if (s->have)
		emu_outf(req, "Range", "bytes=0-%llu", (unsigned long long)s->have - 1);
	emu_out(req, "X-GUploader-UploadID", s->id);
	emu_reply(req, 308);
}

/* What of so many new bytes stays. */
static uint64_t
sess_keep(const struct emu_req *req, const struct drive_session *s, uint64_t n, bool is_whole)
{
	if (!req->is_raw && n && emu_take(&drive_switches[DRIVE_PARTIAL_NONE_NEXT]))
		return 0;
	if (!req->is_raw && n && emu_take(&drive_switches[DRIVE_PARTIAL_NEXT])) {
		n /= 2;
		is_whole = false;
	}
	if (is_whole)
		return n;
	n = (s->have + n) / DRIVE_QUANTUM * DRIVE_QUANTUM;
	return n > s->have ? n - s->have : 0;
}

/* New bytes into the session. False: dropped, because another request was faster or there is no room. Under drive_lock. */
static bool
sess_store(struct emu_req *req, struct drive_session *s, bool is_whole)
{
	struct drive_req *r = drive_of(req);
	struct emu_blob *blob = emu_writer_end(WEIR_STEAL(r->writer)), *part;
	uint64_t n, keep;

	if (!blob)
		return false;
	n = emu_blob_size(blob);
	if (s->done || s->have != r->at || !n) {
		emu_blob_unref(blob);
		return !n;
	}
	keep = sess_keep(req, s, n, is_whole);
	if (keep < n) {
		part = keep ? emu_blob_copy(blob, 0, keep) : NULL;
		emu_blob_unref(blob);
		blob = part;
	}
	if (blob) {
		sess_log_piece(s, blob);
		sess_add_piece(s, blob);
	}
	return keep == n;
}

void
drive_session_chunk_cut(struct emu_req *req)
{
	struct drive_session *s;

	pthread_mutex_lock(&drive_lock);
	s = sess_by_id(emu_query(req, "upload_id"));
	if (s)
		sess_store(req, s, false);
	pthread_mutex_unlock(&drive_lock);
}

/* All bytes are here: make the file. The sums take a while, so the lock is let go meanwhile. */
static void
sess_finish(struct emu_req *req, struct drive_session *s)
{
	struct drive_req *r = drive_of(req);
	struct drive_node *x;

	if (s->is_finishing) {
		drive_fail(req, 503, "backendError", NULL, "Backend Error");
		return;
	}
	s->is_finishing = true;
	r->blob = s->n ? emu_blob_join(s->piece, s->n) : emu_blob_empty();
	pthread_mutex_unlock(&drive_lock);
	if (r->blob)
		drive_sum(r->blob, &r->sums);
	pthread_mutex_lock(&drive_lock);
	s->is_finishing = false;
	if (!r->blob) {
		drive_fail(req, 500, "internalError", NULL, "Internal Error");
		return;
	}
	json_decref(r->meta);
	r->meta = s->meta ? json_incref(s->meta) : NULL;
	free(r->mime);
	r->mime = weir_xstrdup(s->mime ? s->mime : emu_header(req, "Content-Type"));
	x = s->file ? drive_update_do(req, s->file) : drive_create_do(req);
	if (!x) {
		sess_remove(s, true);
		return;
	}
	s->done = weir_xstrdup(x->id);
	s->total = s->have;
	sess_drop_pieces(s);
	sess_log(s);
	drive_ok_file(req, x);
}

static void
sess_reply_done(struct emu_req *req, const struct drive_session *s)
{
	struct drive_node *x = drive_by_id(s->done);

	if (x)
		drive_ok_file(req, x);
	else
		drive_fail(req, 404, "notFound", NULL, "Not Found");
}

static void
sess_chunk(struct emu_req *req, struct drive_session *s)
{
	struct drive_req *r = drive_of(req);
	bool is_whole = true;

	if (r->total != UINT64_MAX && s->total == UINT64_MAX) {
		s->total = r->total;
		sess_log(s);
	}
	if (!r->is_query)
		is_whole = sess_store(req, s, r->is_last);
	if (r->is_last && is_whole && (s->total == UINT64_MAX || s->have == s->total))
		sess_finish(req, s);
	else
		sess_reply_progress(req, s);
}

void
drive_session_chunk_end(struct emu_req *req)
{
	struct drive_session *s;

	pthread_mutex_lock(&drive_lock);
	s = sess_by_id(emu_query(req, "upload_id"));
	if (!s) {
		drive_fail(req, 404, "notFound", NULL, "Not Found");
	} else if (emu_is(req, "DELETE")) {
		if (!s->is_finishing)
			sess_remove(s, true);
		emu_reply(req, 499);
	} else if (s->done) {
		sess_reply_done(req, s);
	} else if (drive_room(req, s->have + drive_of(req)->got)) {
		sess_chunk(req, s);
	}
	pthread_mutex_unlock(&drive_lock);
}
