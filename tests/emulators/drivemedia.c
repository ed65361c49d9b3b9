/* SPDX-License-Identifier: Apache-2.0 */
/* Content going out of the Drive emulator: alt=media, exports of Google documents, revisions. */
#include "config.h"
#include "drive.h"
#include <string.h>

/* ---- bytes ---- */

static bool
media_allowed(struct emu_req *req, const struct drive_node *x, const struct drive_rev *r)
{
	bool acknowledged;

	if (!drive_bool(req, "acknowledgeAbuse", false, &acknowledged))
		return false;
	if (!r)
		drive_fail(req, 403, "fileNotDownloadable", "alt", "Only files with binary content can be downloaded. Use Export with Docs Editors files.");
	else if (x->is_abusive && !acknowledged)
		drive_fail(req, 403, "cannotDownloadAbusiveFile", "alt",
		    "This file has been identified as malware or spam and cannot be downloaded.");
	else if (drive_take(req, DRIVE_DOWN_QUOTA_NEXT))
		drive_fail(req, 403, "downloadQuotaExceeded", NULL, "The download quota for this file has been exceeded.");
	return !req->is_replied;
}

static void
media_send(struct emu_req *req, const struct drive_rev *r)
{
	uint64_t size = emu_blob_size(r->blob), off = 0, len = size;
	int range = emu_range(emu_header(req, "Range"), size, &off, &len);

	if (range < 0) {
		emu_outf(req, "Content-Range", "bytes */%llu", (unsigned long long)size);
		drive_fail(req, 416, "requestedRangeNotSatisfiable", "Range", "Request range not satisfiable");
		return;
	}
	if (range > 0)
		emu_outf(req, "Content-Range", "bytes %llu-%llu/%llu", (unsigned long long)off, (unsigned long long)(off + len - 1), (unsigned long long)size);
	emu_out(req, "Content-Type", r->mime);
	emu_out(req, "Content-Disposition", "attachment");
	emu_out(req, "Accept-Ranges", "bytes");
	if (size)
		emu_reply_blob(req, range > 0 ? 206 : 200, r->blob, off, range > 0 ? len : size);
	else
		emu_reply(req, 200);
}

void
drive_media(struct emu_req *req, struct drive_node *x, struct drive_rev *r)
{
	const char *host = emu_header(req, "Host"), *port = host ? strrchr(host, ':') : NULL;

	if (!media_allowed(req, x, r))
		return;
	if (!drive_on(DRIVE_REDIRECT) || req->is_raw) {
		media_send(req, r);
		return;
	}
	emu_outf(req, "Location", "http://localhost%s/content/%s/%s", port ? port : "", x->id, r->id);
	emu_reply(req, 302);
}

/* The host that redirected media come from: its address is the permission, and a token does not belong there. */
void
drive_content_host(struct emu_req *req)
{
	struct drive_node *x = drive_by_id(drive_of(req)->arg[0]);

	if (emu_header(req, "Authorization")) {
		emu_count_fault("token_at_content_host");
		emu_reply_text(req, 400, "text/html", "<!DOCTYPE html><title>Bad Request</title>");
		return;
	}
	for (size_t i = 0; x && i < x->nrev; i++)
		if (!strcmp(x->rev[i].id, drive_of(req)->arg[1])) {
			media_send(req, &x->rev[i]);
			return;
		}
	emu_reply_text(req, 404, "text/html", "<!DOCTYPE html><title>Not Found</title>");
}

/* ---- exports ---- */

uint64_t
drive_doc_size(const struct drive_node *x)
{
	return x->doc_size ? x->doc_size : 1024 + (x->nrev ? emu_blob_size(x->rev[x->nrev - 1].blob) : 0);
}

/* A document's text as this type. Formats with a time stamp inside come out otherwise each time, as Google's do. */
static void
media_render(struct emu_req *req, struct drive_node *x, const char *mime)
{
	struct weir_buf *b = &req->body;
	char nonce[17];

	weir_random_hex(nonce, 16);
	if (!strcmp(mime, "application/pdf"))
		weir_buf_addf(b, "%%PDF-1.4\n%% %s\n", nonce);
	else if (!strncmp(mime, "application/vnd.", 16) || !strcmp(mime, "application/zip"))
		weir_buf_addf(b, "PK\x03\x04%s\n", nonce);
	else if (!strcmp(mime, "text/plain"))
		weir_buf_adds(b, "\xef\xbb\xbf");	/* as Google's text exports begin */
	if (x->nrev) {
		struct drive_rev *r = &x->rev[x->nrev - 1];
		struct emu_reader *in = emu_reader_new(r->blob);
		char piece[4096];
		uint64_t off = 0;
		ssize_t n;

		while ((n = emu_reader_at(in, piece, sizeof(piece), off)) > 0 && !weir_buf_add(b, piece, (size_t)n))
			off += (uint64_t)n;
		emu_reader_free(in);
	}
	while (b->len < x->doc_size && !weir_buf_adds(b, "and so on and so forth, as long documents do.\n"))
		;
}

static void
media_export(struct emu_req *req, struct drive_node *x, bool has_limit)
{
	const char *mime = emu_query(req, "mimeType");
	const char *const *to = drive_exports(x->mime);

	if (!mime || !*mime) {
		drive_fail(req, 400, "required", "mimeType", "Required parameter: mimeType");
		return;
	}
	if (!drive_is_doc(x) || !to) {
		drive_fail(req, 403, "fileNotExportable", NULL, "Export only supports Docs Editors files.");
		return;
	}
	while (*to && strcmp(*to, mime) != 0)
		to++;
	if (!*to) {
		drive_fail(req, 400, "badRequest", "convertTo", "The requested conversion is not supported.");
		return;
	}
	if (has_limit && x->doc_size > DRIVE_EXPORT_MAX) {
		drive_fail(req, 403, "exportSizeLimitExceeded", NULL, "This file is too large to be exported.");
		return;
	}
	media_render(req, x, mime);
	emu_out(req, "Content-Type", mime);
	emu_out(req, "Content-Disposition", "attachment");
	req->hides_length = true;	/* Google sends exports in chunks */
	emu_reply(req, 200);
}

void
drive_files_export(struct emu_req *req)
{
	struct drive_node *x = drive_see(req, drive_of(req)->arg[0]);

	if (x)
		media_export(req, x, true);
}

void
drive_export_link(struct emu_req *req)
{
	const char *id = emu_query(req, "id");
	struct drive_node *x = id ? drive_by_id(id) : NULL;

	if (x && (req->is_raw || drive_role(x) >= DRIVE_READER))
		media_export(req, x, false);
	else
		emu_reply_text(req, 404, "text/html", "<!DOCTYPE html><title>Page not found</title>");
}

/* ---- revisions ---- */

static struct drive_node *
media_revisions_of(struct emu_req *req)
{
	struct drive_node *x = drive_see(req, drive_of(req)->arg[0]);

	if (x && !req->is_raw && drive_role(x) < DRIVE_WRITER)
		drive_forbidden(req);
	else if (x && !drive_head(x))
		drive_fail(req, 403, "revisionsNotSupported", NULL, "The file does not support revisions.");
	return req->is_replied ? NULL : x;
}

/* NULL: replied. */
static struct drive_rev *
media_revision(struct emu_req *req, struct drive_node *x, size_t *i)
{
	const char *id = drive_of(req)->arg[1];

	for (*i = 0; *i < x->nrev; ++*i)
		if (!strcmp(x->rev[*i].id, id) || (!strcmp(id, "head") && *i + 1 == x->nrev))
			return &x->rev[*i];
	drive_fail(req, 404, "notFound", "revisionId", "Revision not found: %s.", id);
	return NULL;
}

void
drive_revisions_list(struct emu_req *req)
{
	const char *token = emu_query(req, "pageToken");
	struct drive_node *x = media_revisions_of(req);
	json_t *list, *o;
	long size;
	size_t at;

	if (!x || !drive_int(req, "pageSize", 200, 1, 1000, &size))
		return;
	at = token ? strtoul(token, NULL, 10) : 0;
	if (token && (!at || at >= x->nrev)) {
		drive_invalid(req, "pageToken");
		return;
	}
	list = json_array();
	for (; at < x->nrev && size > 0; at++, size--)
		json_array_append_new(list, drive_rev_json(x, at));
	o = json_pack("{s:s s:o}", "kind", "drive#revisionList", "revisions", list);
	if (at < x->nrev)
		json_object_set_new(o, "nextPageToken", json_sprintf("%zu", at));
	drive_ok_masked(req, o);
}

void
drive_revisions_get(struct emu_req *req)
{
	const char *alt = emu_query(req, "alt");
	struct drive_node *x = media_revisions_of(req);
	struct drive_rev *r;
	size_t i;

	if (!x || !(r = media_revision(req, x, &i)))
		return;
	if (alt && !strcmp(alt, "media"))
		drive_media(req, x, r);
	else
		drive_ok_masked(req, drive_rev_json(x, i));
}

void
drive_revisions_update(struct emu_req *req)
{
	const json_t *keep = json_object_get(drive_of(req)->meta, "keepForever");
	struct drive_node *x = media_revisions_of(req);
	struct drive_rev *r;
	size_t i;

	if (!x || !(r = media_revision(req, x, &i)))
		return;
	if (json_is_boolean(keep))
		r->is_kept = json_is_true(keep);
	drive_log_rev(x, r);
	drive_changed(x, req->is_raw);
	drive_ok_masked(req, drive_rev_json(x, i));
}

void
drive_revisions_delete(struct emu_req *req)
{
	struct drive_node *x = media_revisions_of(req);
	size_t i;

	if (!x || !media_revision(req, x, &i))
		return;
	if (x->nrev == 1) {
		drive_fail(req, 400, "cannotDeleteOnlyRevision", NULL, "The only remaining revision of a file cannot be deleted.");
		return;
	}
	drive_drop_rev(x, i);
	drive_changed(x, req->is_raw);
	emu_reply(req, 204);
}
