/* SPDX-License-Identifier: Apache-2.0 */
/* GET and HEAD: a file, whole or one range of it, read as it is sent. */
#include "config.h"

#include "impl.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define GET_TRIES 100	/* a name that is put again all the time */

/* Lives as long as the response; the request it was made for may end a moment before. */
struct get {
	struct front_req asker;		/* share and socket, to call fs with */
	uint64_t ino, fh, from;
};

static ssize_t
get_read(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct get *g = arg;
	size_t got;
	enum weir_code r = front_read(&g->asker, g->ino, g->fh, buf, max < FRONT_BLOCK ? max : FRONT_BLOCK, g->from + pos, &got);

	/* A file that has become shorter, too: the length is out already. */
	return r == WEIR_OK && got > 0 ? (ssize_t)got : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void
get_free(void *arg)
{
	struct get *g = arg;

	front_release(&g->asker, g->ino, g->fh, O_RDONLY);
	free(g);
}

static void
get_headers(struct MHD_Response *response, const struct weir_attr *a, const char *etag)
{
	char text[64];

	MHD_add_response_header(response, "ETag", etag);
	MHD_add_response_header(response, "OC-ETag", etag);
	weir_date_rfc1123(a->mtime_ns / 1000000000 - (a->mtime_ns % 1000000000 < 0), text);
	MHD_add_response_header(response, "Last-Modified", text);
	MHD_add_response_header(response, "Accept-Ranges", "bytes");
	MHD_add_response_header(response, "Content-Type", S_ISDIR(a->mode) ? "httpd/unix-directory" : "application/octet-stream");
	/* What a job wrote is not a page of this server's. */
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(response, "Content-Security-Policy", "sandbox; default-src 'none'");
}

static enum MHD_Result
get_file(struct front_req *req, const struct weir_attr *a, const char *etag, uint64_t fh)
{
	const char *range = front_header(req, "Range"), *if_range = front_header(req, "If-Range");
	uint64_t from = 0, len = a->size;
	struct MHD_Response *response;
	struct get *g;
	int is_part = 0;

	if (range != NULL && (if_range == NULL || front_etag_listed(if_range, etag, false)))
		is_part = front_range_parse(range, a->size, &from, &len);
	if (is_part < 0) {
		char text[64];

		front_release(req, a->ino, fh, O_RDONLY);
		snprintf(text, sizeof(text), "bytes */%llu", (unsigned long long)a->size);
		response = MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
		if (response != NULL)
			MHD_add_response_header(response, "Content-Range", text);
		return front_queue(req, 416, response);
	}
	g = weir_xcalloc(1, sizeof(*g));
	g->asker = (struct front_req){.share = req->share, .fd = req->fd};
	g->ino = a->ino;
	g->fh = fh;
	g->from = from;
	response = MHD_create_response_from_callback(len, FRONT_BLOCK, get_read, g, get_free);
	if (response == NULL) {
		get_free(g);
		return MHD_NO;
	}
	get_headers(response, a, etag);
	if (is_part > 0) {
		char text[96];

		snprintf(text, sizeof(text), "bytes %llu-%llu/%llu", (unsigned long long)from, (unsigned long long)(from + len - 1),
		    (unsigned long long)a->size);
		MHD_add_response_header(response, "Content-Range", text);
	}
	return front_queue(req, is_part > 0 ? 206 : 200, response);
}

static enum MHD_Result
get_head(struct front_req *req, const struct weir_attr *a, const char *etag)
{
	struct MHD_Response *response = MHD_create_response_from_callback(S_ISREG(a->mode) ? a->size : 0, 1, get_read, NULL, NULL);

	if (response != NULL)
		get_headers(response, a, etag);
	return front_queue(req, 200, response);
}

/* STALE: the file that had the name was replaced before it could be opened; nothing is answered then. */
static enum weir_code
get_once(struct front_req *req, enum MHD_Result *result)
{
	struct front_node node;
	enum weir_code r = front_walk(req, &req->path, true, &node);
	struct weir_attr a = node.attr;
	char etag[80];
	uint64_t fh;

	front_node_free(&node);
	*result = MHD_NO;
	if (r)
		return r;
	if (!S_ISREG(a.mode) && !S_ISDIR(a.mode)) {
		*result = front_answer(req, 403, "not a file");
		return WEIR_OK;
	}
	if (!front_may(req, &a, FRONT_MAY_READ))
		return WEIR_E_ACCES;
	front_etag(&a, etag);
	if (front_header(req, "If-Match") != NULL && !front_etag_listed(front_header(req, "If-Match"), etag, false))
		*result = front_answer(req, 412, "the file is another version");
	else if (front_etag_listed(front_header(req, "If-None-Match"), etag, true))
		*result = front_answer(req, 304, NULL);
	else if (strcmp(req->method, "GET") != 0)
		*result = get_head(req, &a, etag);
	else if (S_ISDIR(a.mode))
		*result = front_answer(req, 405, "a folder is read with PROPFIND");
	else if ((r = front_open(req, a.ino, O_RDONLY, &fh)) == WEIR_OK)
		*result = get_file(req, &a, etag, fh);
	return r;
}

enum MHD_Result
front_do_get(struct front_req *req)
{
	enum MHD_Result result;
	enum weir_code r;
	unsigned tries = 0;

	do
		r = get_once(req, &result);
	while (r == WEIR_E_STALE && ++tries < GET_TRIES);
	return r == WEIR_OK ? result : front_answer_code(req, r);
}
