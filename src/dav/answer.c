/* SPDX-License-Identifier: Apache-2.0 */
/* Answers: codes of fs as HTTP statuses, errors in the words that sabre and so rclone know. */
#include "config.h"

#include "impl.h"

#include <stdio.h>
#include <string.h>

const char *
front_header(struct front_req *req, const char *name)
{
	return MHD_lookup_connection_value(req->conn, MHD_HEADER_KIND, name);
}

int
front_status_of(enum weir_code code)
{
	switch (code) {
	case WEIR_OK:
		return 200;
	case WEIR_E_NOENT:
	case WEIR_E_NOBUCKET:
	case WEIR_E_LOOP:
		return 404;
	case WEIR_E_EXIST:
		return 405;
	case WEIR_E_NOTEMPTY:
	case WEIR_E_NOTDIR:
	case WEIR_E_ISDIR:
	case WEIR_E_STALE:
	case WEIR_E_CHANGED:
		return 409;
	case WEIR_E_ACCES:
	case WEIR_E_PERM:
	case WEIR_E_ROFS:
	case WEIR_E_AUTH:
	case WEIR_E_NOTSUP:
	case WEIR_E_NOSYS:
		return 403;
	case WEIR_E_NAMETOOLONG:
	case WEIR_E_NAME:
	case WEIR_E_INVAL:
	case WEIR_E_RANGE:
		return 400;
	case WEIR_E_FBIG:
		return 413;
	case WEIR_E_DQUOT:
	case WEIR_E_NOSPC:
		return 507;
	case WEIR_E_BUSY:
	case WEIR_E_LOCKED:
		return 423;
	case WEIR_E_NET:
	case WEIR_E_STALL:
	case WEIR_E_THROTTLED:
	case WEIR_E_DOWN:
	case WEIR_E_TIMEDOUT:
	case WEIR_E_INTR:
	case WEIR_E_CANCELED:
	case WEIR_E_NFILE:
	case WEIR_E_NOMEM:
		return 503;
	default:
		return 500;
	}
}

enum MHD_Result
front_queue(struct front_req *req, int status, struct MHD_Response *response)
{
	enum MHD_Result r;

	if (response == NULL)
		return MHD_NO;
	if (status == 401)
		MHD_add_response_header(response, "WWW-Authenticate", "Basic realm=\"weir\", charset=\"UTF-8\"");
	if (status == 503)
		MHD_add_response_header(response, "Retry-After", "5");
	r = MHD_queue_response(req->conn, (unsigned)status, response);
	MHD_destroy_response(response);
	return r;
}

enum MHD_Result
front_answer_body(struct front_req *req, int status, struct weir_buf *b, const char *type)
{
	size_t len = b->len;
	struct MHD_Response *response = MHD_create_response_from_buffer(len, weir_buf_take(b), MHD_RESPMEM_MUST_FREE);

	if (response != NULL)
		MHD_add_response_header(response, "Content-Type", type != NULL ? type : "application/xml; charset=utf-8");
	return front_queue(req, status, response);
}

enum MHD_Result
front_answer(struct front_req *req, int status, const char *sentence)
{
	struct weir_buf b = WEIR_BUF(8192);

	if (sentence == NULL)
		return front_queue(req, status, MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT));
	weir_buf_adds(&b, "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<d:error xmlns:d=\"DAV:\" xmlns:s=\"http://sabredav.org/ns\">");
	if (status == 423)
		weir_buf_adds(&b, "<d:lock-token-submitted/>");
	weir_buf_addf(&b, "<s:exception>%d</s:exception><s:message>", status);
	weir_xml_escape(&b, sentence);
	weir_buf_adds(&b, "</s:message></d:error>\n");
	return front_answer_body(req, status, &b, NULL);
}

enum MHD_Result
front_answer_code(struct front_req *req, enum weir_code code)
{
	return front_answer(req, front_status_of(code), weir_code_text(code));
}

/* A file that is put here gets a new node, one that is written to gets new times: either is another etag. */
void
front_etag(const struct weir_attr *a, char out[80])
{
	snprintf(out, 80, "\"%llx-%llx-%llx-%llx\"", (unsigned long long)a->ino, (unsigned long long)a->size, (unsigned long long)a->mtime_ns,
	    (unsigned long long)a->ctime_ns);
}
