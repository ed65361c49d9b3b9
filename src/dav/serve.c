/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP: who asks, for what, with which body; then the handler of the method. One thread a connection, so a handler may wait.
 *
 * A refusal that is known before the body has come is given at once to a client that waits for "100 Continue"; from another the body is read and forgotten first,
 * because closing a connection under a client that still sends loses the answer. */
#include "config.h"

#include "impl.h"

#include <openssl/crypto.h>
#include <string.h>
#include <strings.h>

#define SERVE_IDLE_S 120
#define SERVE_MEMORY (FRONT_BLOCK + 65536)
#define SERVE_FORGET_MAX (64u << 20)	/* of a body that is refused */

static const struct serve_method {
	const char *name;
	enum MHD_Result (*act)(struct front_req *);
	bool changes, has_body;
} serve_methods[] = {
    {"GET", front_do_get, false, false},
    {"HEAD", front_do_get, false, false},
    {"PROPFIND", front_do_propfind, false, true},
    {"PUT", front_put_end, true, false},
    {"MKCOL", front_do_mkcol, true, true},
    {"DELETE", front_do_delete, true, false},
    {"COPY", front_do_copymove, true, false},
    {"MOVE", front_do_copymove, true, false},
    {"PROPPATCH", front_do_proppatch, true, true},
    {"LOCK", front_do_lock, true, true},
    {"UNLOCK", front_do_unlock, true, false},
};

static const struct serve_method *
serve_method(const char *name)
{
	for (size_t i = 0; i < WEIR_LEN(serve_methods); i++)
		if (strcmp(serve_methods[i].name, name) == 0)
			return &serve_methods[i];
	return NULL;
}

static enum MHD_Result
serve_options(struct front_req *req)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);

	if (response == NULL)
		return MHD_NO;
	MHD_add_response_header(response, "DAV", "1, 2");
	MHD_add_response_header(response, "MS-Author-Via", "DAV");
	MHD_add_response_header(response, "Allow", req->share->slot->is_readonly ? "OPTIONS, GET, HEAD, PROPFIND"
	    : "OPTIONS, GET, HEAD, PROPFIND, PUT, MKCOL, DELETE, COPY, MOVE, PROPPATCH, LOCK, UNLOCK");
	return front_queue(req, 200, response);
}

/* ---- who ---- */

/* Basic authentication (RFC 7617). Compared in a time that does not tell how much of it is right. */
static bool
serve_is_allowed(struct front_req *req)
{
	const char *header = front_header(req, "Authorization"), *token = req->share->slot->token;
	unsigned char plain[256] = "";
	ssize_t n = -1;
	const char *colon;
	size_t skip = strlen("Basic ");

	if (header != NULL && strncasecmp(header, "Basic ", skip) == 0 && strlen(header + skip) < sizeof(plain))
		n = weir_unbase64(header + skip + strspn(header + skip, " "), plain, sizeof(plain) - 1);
	if (n < 0)
		return false;
	plain[n] = '\0';
	colon = memchr(plain, ':', (size_t)n);
	if (colon == NULL || (size_t)(colon - (char *)plain) != strlen(WEIR_FRONT_USER) || memcmp(plain, WEIR_FRONT_USER, strlen(WEIR_FRONT_USER)) != 0)
		return false;
	colon++;
	return strlen(colon) == FRONT_TOKEN && CRYPTO_memcmp(colon, token, FRONT_TOKEN) == 0;
}

/* ---- what ---- */

static void
serve_refuse(struct front_req *req, int status, const char *why)
{
	req->status = status;
	req->why = why;
}

static void
serve_place(struct front_req *req)
{
	int status = front_path_parse(req->url, WEIR_FRONT_FILES, &req->path);

	if (status == 404) {
		status = front_path_parse(req->url, WEIR_FRONT_UPLOADS, &req->path);
		req->is_upload = status == 0;
	}
	if (status != 0)
		serve_refuse(req, status, status == 400 ? "not a path" : "nothing is here; files are below " WEIR_FRONT_FILES "/");
}

/* Before the body: all that can be refused without it. */
static void
serve_begin(struct front_req *req)
{
	const struct serve_method *m = serve_method(req->method);

	if (atomic_load(&req->share->is_over))
		serve_refuse(req, 503, "this share has ended");
	else if (!serve_is_allowed(req))
		serve_refuse(req, 401, "user or token is wrong");
	else if (strcmp(req->method, "OPTIONS") == 0)
		return;
	else if (m == NULL)
		serve_refuse(req, 501, "not a method of this server");
	else
		serve_place(req);
	if (req->status == 0 && m != NULL && m->changes && req->share->slot->is_readonly)
		serve_refuse(req, 403, "this share is read-only");
	if (req->status == 0 && m != NULL && m->act == front_put_end)
		req->status = front_put_begin(req);
}

static enum MHD_Result
serve_act(struct front_req *req)
{
	if (req->status != 0)
		return front_answer(req, req->status, req->why);
	if (strcmp(req->method, "OPTIONS") == 0)
		return serve_options(req);
	if (req->is_upload && req->put == NULL)
		return front_do_upload(req);
	return serve_method(req->method)->act(req);
}

/* Whether a refusal has to wait for the end of the body. */
static bool
serve_must_read(struct front_req *req)
{
	const char *expect = front_header(req, "Expect"), *length = front_header(req, "Content-Length");

	if (expect != NULL && strcasecmp(expect, "100-continue") == 0)
		return false;
	if (length != NULL)
		return strtoull(length, NULL, 10) <= SERVE_FORGET_MAX;
	return front_header(req, "Transfer-Encoding") != NULL;
}

static void
serve_body(struct front_req *req, const char *data, size_t len)
{
	if (req->status != 0)
		return;
	if (req->put != NULL)
		front_put_data(req, data, len);
	else if (weir_buf_add(&req->body, data, len) != 0)
		serve_refuse(req, 413, "the body is too long");
}

static enum MHD_Result
serve_handle(void *arg, struct MHD_Connection *conn, const char *url, const char *method, const char *version, const char *data, size_t *len, void **state)
{
	struct front_req *req = *state;

	if (!req->is_begun) {
		const union MHD_ConnectionInfo *info = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);

		req->is_begun = true;
		req->conn = conn;
		req->fd = info != NULL ? info->connect_fd : -1;
		req->method = weir_xstrdup(method);
		serve_begin(req);
		if (req->status != 0 && !serve_must_read(req))
			return serve_act(req);
		return MHD_YES;
	}
	if (*len > 0) {
		serve_body(req, data, *len);
		*len = 0;
		return MHD_YES;
	}
	return serve_act(req);
}

/* The first word of a request: its URL as it was sent, before anybody has decoded it. */
static void *
serve_uri(void *arg, const char *uri, struct MHD_Connection *conn)
{
	struct front_req *req = weir_xcalloc(1, sizeof(*req));

	*req = (struct front_req){.share = arg, .fd = -1, .url = weir_xstrdup(uri), .body = WEIR_BUF(FRONT_BODY_MAX)};
	return req;
}

static void
serve_over(void *arg, struct MHD_Connection *conn, void **state, enum MHD_RequestTerminationCode code)
{
	struct front_req *req = *state;

	if (req == NULL)
		return;
	front_put_free(req);
	front_path_free(&req->path);
	weir_buf_free(&req->body);
	free(req->url);
	free(req->method);
	free(req);
	*state = NULL;
}

static size_t
serve_keep(void *arg, struct MHD_Connection *conn, char *text)
{
	return strlen(text);
}

struct MHD_Daemon *
front_serve(struct front_share *share, int listen_fd)
{
	return MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_ITC, 0, NULL, NULL, serve_handle, share,
	    MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_CONNECTION_LIMIT, FRONT_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SERVE_IDLE_S,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)SERVE_MEMORY, MHD_OPTION_URI_LOG_CALLBACK, serve_uri, share,
	    MHD_OPTION_UNESCAPE_CALLBACK, serve_keep, NULL, MHD_OPTION_NOTIFY_COMPLETED, serve_over, NULL, MHD_OPTION_END);
}
