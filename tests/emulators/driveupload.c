/* SPDX-License-Identifier: Apache-2.0 */
/* Content coming into the Drive emulator in one request: uploadType media and multipart; and the beginning of resumable ones (drivesess.c has the rest). */
#include "config.h"
#include "drive.h"
#include <string.h>
#include <strings.h>

static void
upload_bad(struct emu_req *req, const char *message)
{
	drive_fail(req, 400, "badRequest", NULL, "%s", message);
}

/* ---- begin ---- */

static void
upload_type(struct emu_req *req)
{
	struct drive_req *r = drive_of(req);
	const char *type = emu_query(req, "uploadType"), *content = emu_header(req, "Content-Type");

	if (emu_query(req, "upload_id")) {
		r->kind = DRIVE_CHUNK;
	} else if (emu_is(req, "PUT") || emu_is(req, "DELETE")) {
		drive_fail(req, 404, "notFound", NULL, "Not Found");
	} else if (!type || !*type) {
		upload_bad(req, "Required parameter: uploadType");
	} else if (!strcmp(type, "media")) {
		r->kind = DRIVE_MEDIA;
		r->mime = weir_xstrdup(content && *content ? content : "application/octet-stream");
	} else if (!strcmp(type, "multipart")) {
		r->kind = DRIVE_MULTIPART;
		if (!content || strncasecmp(content, "multipart/related", 17) != 0)
			upload_bad(req, "Multipart uploads must have the content type multipart/related.");
	} else if (!strcmp(type, "resumable")) {
		r->kind = DRIVE_BEGIN;
		content = emu_header(req, "X-Upload-Content-Type");
		r->mime = weir_xstrdup(content && *content ? content : NULL);
	} else {
		drive_invalid(req, "uploadType");
	}
}

void
drive_upload_begin(struct emu_req *req)
{
	struct drive_req *r = drive_of(req);

	upload_type(req);
	if (req->is_replied)
		return;
	if (req->content_length > DRIVE_FILE_MAX)
		drive_fail(req, 413, "uploadTooLarge", NULL, "The upload is too large.");
	else if (r->kind == DRIVE_CHUNK)
		drive_session_chunk_begin(req);
	else if (r->kind == DRIVE_MEDIA && !(r->writer = emu_writer_new()))
		drive_fail(req, 500, "internalError", NULL, "Internal Error");
}

void
drive_upload_data(struct emu_req *req, const void *data, size_t len)
{
	struct drive_req *r = drive_of(req);

	if (r->kind == DRIVE_MULTIPART || r->kind == DRIVE_BEGIN) {
		weir_buf_add(&r->mem, data, len);
		return;
	}
	if (r->got < r->skip) {	/* bytes that an earlier chunk brought */
		size_t n = r->skip - r->got < len ? (size_t)(r->skip - r->got) : len;

		r->got += n;
		data = (const char *)data + n;
		len -= n;
	}
	r->got += len;
	if (r->writer && len)
		emu_writer_add(r->writer, data, len);
}

/* ---- multipart/related (RFC 2387), two parts: metadata, content ---- */

/* Owned; NULL: none. */
static char *
upload_boundary(const char *type)
{
	const char *p = strcasestr(type, "boundary=");
	size_t n;

	if (!p)
		return NULL;
	p += strlen("boundary=");
	if (*p == '"') {
		p++;
		n = strcspn(p, "\"");
	} else {
		n = strcspn(p, "; \t");
	}
	return n && n <= 70 ? weir_xstrndup(p, n) : NULL;
}

struct upload_part {
	char *type;			/* owned */
	const char *data;
	size_t len;
};

/* From right behind a delimiter: headers, empty line, bytes up to the next delimiter. *p is then behind that one. */
static bool
upload_part(const char **p, const char *end, const char *mark, struct upload_part *part)
{
	const char *next;

	if (end - *p < 2 || memcmp(*p, "\r\n", 2) != 0)
		return false;
	*p += 2;
	for (;;) {
		const char *eol = memmem(*p, (size_t)(end - *p), "\r\n", 2);

		if (!eol)
			return false;
		if (eol == *p)
			break;
		if (!strncasecmp(*p, "content-type:", 13) && !part->type) {
			const char *v = *p + 13 + strspn(*p + 13, " \t");

			part->type = weir_xstrndup(v, eol > v ? (size_t)(eol - v) : 0);
		}
		*p = eol + 2;
	}
	*p += 2;
	next = memmem(*p - 2, (size_t)(end - *p + 2), mark, strlen(mark));	/* the empty line's end may be the delimiter's */
	if (!next)
		return false;
	part->data = *p;
	part->len = next > *p ? (size_t)(next - *p) : 0;
	*p = next + strlen(mark);
	return true;
}

static bool
upload_store(struct emu_req *req, const struct upload_part *part)
{
	struct drive_req *r = drive_of(req);
	struct emu_writer *w = emu_writer_new();

	if (w && part->len)
		emu_writer_add(w, part->data, part->len);
	r->blob = w ? emu_writer_end(w) : NULL;
	if (!r->blob)
		drive_fail(req, 500, "internalError", NULL, "Internal Error");
	return r->blob != NULL;
}

static bool
upload_meta(struct emu_req *req, const char *text, size_t len)
{
	struct drive_req *r = drive_of(req);

	if (!len)
		return true;
	r->meta = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	if (r->meta && json_is_object(r->meta))
		return true;
	drive_fail(req, 400, "parseError", NULL, "Parse Error");
	return false;
}

static bool
upload_parts(struct emu_req *req, const char *boundary)
{
	struct drive_req *r = drive_of(req);
	WEIR_AUTO(weir_freep) char *mark = weir_xasprintf("\r\n--%s", boundary);
	struct upload_part meta = { 0 }, media = { 0 };
	const char *p = weir_buf_str(&r->mem), *end = p + r->mem.len;
	bool ok;

	/* The first delimiter may stand at the very beginning. */
	if (!strncmp(p, mark + 2, strlen(mark) - 2))
		p += strlen(mark) - 2;
	else
		p = (p = memmem(p, r->mem.len, mark, strlen(mark))) ? p + strlen(mark) : end;
	ok = upload_part(&p, end, mark, &meta) && upload_part(&p, end, mark, &media) && end - p >= 2 && !strncmp(p, "--", 2);
	if (!ok)
		upload_bad(req, "Malformed multipart body.");
	else if (!meta.type || strncasecmp(meta.type, "application/json", 16) != 0)
		upload_bad(req, "The first part of a multipart upload must be the metadata as application/json.");
	else if (upload_meta(req, meta.data, meta.len) && upload_store(req, &media))
		r->mime = weir_xstrdup(media.type && *media.type ? media.type : "application/octet-stream");
	free(meta.type);
	free(media.type);
	return !req->is_replied;
}

static bool
upload_multipart(struct emu_req *req)
{
	WEIR_AUTO(weir_freep) char *boundary = upload_boundary(emu_header(req, "Content-Type"));

	if (drive_of(req)->mem.is_full)
		drive_fail(req, 413, "uploadTooLarge", NULL, "The upload is too large.");
	else if (!boundary)
		upload_bad(req, "Missing boundary in the content type.");
	else
		upload_parts(req, boundary);
	return !req->is_replied;
}

/* ---- end ---- */

static bool
upload_media(struct emu_req *req)
{
	struct drive_req *r = drive_of(req);

	r->blob = emu_writer_end(WEIR_STEAL(r->writer));
	if (!r->blob)
		drive_fail(req, 500, "internalError", NULL, "Internal Error");
	return r->blob != NULL;
}

/* Parameters of a content type are no part of an object's type, but what is no text at all cannot be one either. */
static void
upload_mime(struct drive_req *r)
{
	json_t *probe;

	if (!r->mime)
		return;
	probe = json_string(r->mime);
	if (!probe) {
		free(r->mime);
		r->mime = weir_xstrdup("application/octet-stream");
	}
	json_decref(probe);
	r->mime[strcspn(r->mime, ";")] = 0;
}

static void
upload_do(struct emu_req *req)
{
	struct drive_req *r = drive_of(req);
	struct drive_node *x;

	drive_sum(r->blob, &r->sums);
	pthread_mutex_lock(&drive_lock);
	x = r->arg[0] ? drive_update_do(req, r->arg[0]) : drive_create_do(req);
	if (x)
		drive_ok_file(req, x);
	pthread_mutex_unlock(&drive_lock);
}

void
drive_upload_end(struct emu_req *req)
{
	struct drive_req *r = drive_of(req);

	upload_mime(r);
	switch (r->kind) {
	case DRIVE_MEDIA:
		if (upload_media(req))
			upload_do(req);
		break;
	case DRIVE_MULTIPART:
		if (upload_multipart(req)) {
			upload_mime(r);
			upload_do(req);
		}
		break;
	case DRIVE_BEGIN:
		if (!upload_meta(req, weir_buf_str(&r->mem), r->mem.len))
			break;
		pthread_mutex_lock(&drive_lock);
		if (r->arg[0] ? drive_update_check(req, r->arg[0]) : drive_create_check(req))
			drive_session_start(req);
		pthread_mutex_unlock(&drive_lock);
		break;
	default:
		drive_session_chunk_end(req);
		break;
	}
}

void
drive_upload_release(struct emu_req *req)
{
	struct drive_req *r = drive_of(req);

	if (r->kind == DRIVE_CHUNK && !req->is_replied && r->writer)
		drive_session_chunk_cut(req);
	emu_writer_abort(r->writer);
	r->writer = NULL;
}
