/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP engine: one thread runs one curl multi loop for all remotes; transfer threads call weir_http_perform() and
 * sleep until their transfer ends. Nobody else knows curl. Redirects are never followed (a signature covers the host;
 * credentials must not travel): backends see the 3xx. Cookies are off. TLS is always verified. HTTP/1.1 and HTTP/2 as the
 * server offers (bodies and ranges of 1 MiB and more always HTTP/1.1); content decoding is off (Accept-Encoding is not sent). Names resolve with curl's threaded resolver. */
#ifndef WEIR_HTTP_H
#define WEIR_HTTP_H
#include "../util/buf.h"
#include "../util/err.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct weir_http;		/* the engine: create one per process, after the last fork */
struct weir_http_pool;		/* one remote's connections, limits and health */

enum weir_code weir_http_new(struct weir_http **out, struct weir_err *);
void weir_http_free(struct weir_http *);	/* no call may be in flight, all pools freed */

struct weir_http_pool_conf {
	const char *name;		/* of the remote, for messages */
	const char *proxy, *ca_file;	/* NULL: the system's */
	uint64_t up_bytes_s, down_bytes_s;	/* 0: no limit; shared by all transfers of the pool (token bucket, enforced by pausing) */
	int64_t stall_ms;		/* 5000: a transfer without a byte in either direction for so long ends with WEIR_E_STALL */
	int64_t connect_ms;		/* 5000 */
	int max_connections;		/* further transfers queue inside the engine */
};
enum weir_code weir_http_pool_new(struct weir_http *, const struct weir_http_pool_conf *, struct weir_http_pool **out, struct weir_err *);
void weir_http_pool_free(struct weir_http_pool *);
/* weir_now_ms() when the last byte of any kind came from this remote; 0: never. Any thread. */
int64_t weir_http_pool_heard_ms(const struct weir_http_pool *);
struct weir_http_stats { uint64_t requests, bytes_in, bytes_out, errors; };
void weir_http_pool_stats(const struct weir_http_pool *, struct weir_http_stats *);

/* Where a request body comes from when it is not in memory. read: like pread, may be called again for an offset already
 * read (a retry); called on the engine's thread, so it may touch the local disk and nothing slower. -1: gives up the
 * transfer with WEIR_E_IO. */
struct weir_source {
	ssize_t (*read)(struct weir_source *, void *buf, size_t len, uint64_t off);
};
/* Where a response body goes. Called on the engine's thread, in order; may write to the local disk and nothing slower; takes
 * all bytes or returns a code, which ends the transfer and becomes the result of weir_http_perform(). */
struct weir_sink {
	enum weir_code (*write)(struct weir_sink *, const void *data, size_t len);
};
/* Set from any thread to end a transfer early with WEIR_E_CANCELED (noticed within 100 ms). */
struct weir_cancel { atomic_bool is_set; };

struct weir_http_resp;
struct weir_http_req {
	const char *method;		/* "GET", "PROPFIND", … */
	const char *url;		/* absolute, encoded; sent as it is (PATH_AS_IS) */
	const char *const *headers;	/* "Name: value", NULL-terminated; may be NULL. Content-Length is set by the engine from
					 * body_len; Expect: is never sent; no Content-Type unless given here */
	const void *body;		/* request body in memory, or … */
	struct weir_source *source;	/* … from a source, bytes [source_off, source_off + body_len) */
	uint64_t source_off;
	uint64_t body_len;		/* PUT and POST send "Content-Length: 0" when 0; GET, HEAD, DELETE … send no body then */
	bool has_body;			/* send a body (and its length) */
	struct weir_sink *sink;		/* body of a 2xx response; NULL, or another status: into resp->body */
	/* Optional: called once with status and headers, before the first byte reaches the sink; another result than WEIR_OK ends
	 * the transfer and is returned. (A 200 where a 206 was asked, a changed ETag, …) */
	enum weir_code (*on_head)(void *arg, const struct weir_http_resp *, struct weir_err *);
	void *on_head_arg;
	int64_t stall_ms;		/* 0: the pool's. Longer for requests on which a server may think (assembling, copying) */
	bool is_fresh;			/* use a new connection (after a stall) */
	struct weir_cancel *cancel;	/* may be NULL */
};
#define WEIR_HTTP_BODY_MAX (64u << 20)	/* ceiling of resp->body */
struct weir_http_resp {
	int status;
	struct weir_buf body;
	struct weir_buf raw_headers;	/* as received from the final response, "Name: value\n" each */
};
/* WEIR_OK: a whole response came, of whatever status. Else NET (resolve, connect, reset, truncated), STALL, TLS, CANCELED,
 * PROTO, IO, or what sink/on_head returned; err has "HOST: reason". resp must be zeroed or reused; free with
 * weir_http_resp_free in any case. Blocking; any number of threads at once. */
enum weir_code weir_http_perform(struct weir_http_pool *, const struct weir_http_req *, struct weir_http_resp *, struct weir_err *);
void weir_http_resp_free(struct weir_http_resp *);
/* Value of the first header of that name (any case), copied to out (cut, terminated); NULL if absent. Returns out. */
char *weir_http_header(const struct weir_http_resp *, const char *name, char *out, size_t max);
/* Where a redirect (301, 302, 303, 307, 308) leads from url: absolute, owned. NULL: no redirect, or one that is not to be followed (from https to http, too
 * long, another scheme). For requests without credentials only. */
char *weir_http_redirect(const char *url, const struct weir_http_resp *);
/* Retry-After in ms (seconds or HTTP date), -1 when absent. */
int64_t weir_http_retry_after_ms(const struct weir_http_resp *);
/* "host[:port]" of a URL exactly as curl will send it in Host: (default ports left out). Owned. NULL: not a URL. */
char *weir_http_url_host(const char *url);
/* May secrets travel there? https, or http to this very host: localhost, 127.0.0.0/8, [::1], as the whole name. No user in it. */
bool weir_http_url_is_safe(const char *url);

#endif
