/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP engine against a small server of our own, which can stall, reset and lie: a path names what it does. */
#include "config.h"

#include <CUnit/Basic.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/http.h"
#include "util/text.h"
#include "util/util.h"

/* --- the server --- */

static int srv_port;
static atomic_int srv_conns, srv_now, srv_most;
static pthread_mutex_t srv_lock = PTHREAD_MUTEX_INITIALIZER;
static char srv_request[8192];	/* the last request's head; guarded by srv_lock */

static void
srv_say(int fd, const char *status, int conn, const char *extra, const void *body, size_t len, size_t claimed)
{
	char head[512];
	int n = snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nContent-Length: %zu\r\nX-Conn: %d\r\n%s\r\n", status, claimed, conn, extra);

	if (write(fd, head, (size_t)n) != n)
		return;
	for (size_t off = 0; off < len;) {
		ssize_t w = write(fd, (const char *)body + off, len - off);

		if (w <= 0)
			return;
		off += (size_t)w;
	}
}

static void
srv_wait_for_close(int fd)
{
	char c;

	while (read(fd, &c, 1) > 0)
		;
}

/* Returns false to close. */
static bool
srv_answer(int fd, int conn, const char *path, const char *body, size_t len)
{
	if (strcmp(path, "/hello") == 0) {
		srv_say(fd, "200 OK", conn, "Retry-After: 7\r\nX-Fold: a\r\n  b\r\nETag: \"x\" \r\n", "hello", 5, 5);
	} else if (strcmp(path, "/echo") == 0) {
		srv_say(fd, "200 OK", conn, "", body, len, len);
	} else if (strcmp(path, "/missing") == 0) {
		srv_say(fd, "404 Not Found", conn, "", "gone", 4, 4);
	} else if (strcmp(path, "/moved") == 0) {
		srv_say(fd, "301 Moved", conn, "Location: /hello\r\n", "", 0, 0);
	} else if (strcmp(path, "/early") == 0) {
		srv_say(fd, "100 Continue\r\n\r\nHTTP/1.1 201 Created", conn, "", "", 0, 0);
	} else if (strcmp(path, "/cut") == 0) {
		srv_say(fd, "200 OK", conn, "", "half", 4, 100);
		return false;
	} else if (strcmp(path, "/stall") == 0) {
		srv_say(fd, "200 OK", conn, "", "half", 4, 100);
		srv_wait_for_close(fd);
		return false;
	} else if (strcmp(path, "/silent") == 0) {
		srv_wait_for_close(fd);
		return false;
	} else if (strcmp(path, "/slow") == 0) {
		usleep(150000);
		srv_say(fd, "200 OK", conn, "", "slow", 4, 4);
	} else if (strcmp(path, "/reset") == 0) {
		struct linger hard = {1, 0};

		setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
		return false;
	} else if (strcmp(path, "/rubbish") == 0) {
		return write(fd, "BLAH\r\n\r\n", 8) < 0;
	} else if (strncmp(path, "/big/", 5) == 0) {
		size_t n = strtoul(path + 5, NULL, 10);
		char *b = weir_xcalloc(n, 1);

		for (size_t i = 0; i < n; i++)
			b[i] = (char)(i * 7);
		srv_say(fd, "200 OK", conn, "", b, n, n);
		free(b);
	} else {
		srv_say(fd, "200 OK", conn, "", path, strlen(path), strlen(path));
	}
	return true;
}

/* Reads slowly: most of the body waits in the sender's kernel. */
static void
srv_drain(int fd, size_t len)
{
	char b[65536];

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){32768}, sizeof(int));
	while (len > 0) {
		ssize_t n;

		usleep(100000);
		n = read(fd, b, len < sizeof(b) ? len : sizeof(b));
		if (n <= 0)
			return;
		len -= (size_t)n;
	}
}

static bool
srv_one(int fd, int conn)
{
	char head[8192], path[512] = "";
	size_t n = 0, len = 0;
	char *body = NULL, *p;
	bool keep;

	while (n < sizeof(head) - 1 && (n < 4 || memcmp(head + n - 4, "\r\n\r\n", 4) != 0)) {
		if (read(fd, head + n, 1) != 1)
			return false;
		n++;
	}
	head[n] = '\0';
	pthread_mutex_lock(&srv_lock);
	memcpy(srv_request, head, n + 1);
	pthread_mutex_unlock(&srv_lock);
	sscanf(head, "%*s %511s", path);
	p = strcasestr(head, "\r\nContent-Length:");
	if (p != NULL)
		len = strtoul(p + 17, NULL, 10);
	if (strcmp(path, "/deaf") == 0) {	/* reads nothing of the body and says nothing */
		sleep(3);
		return false;
	}
	if (strcmp(path, "/drain") == 0) {
		srv_drain(fd, len);
		srv_say(fd, "201 Created", conn, "", "", 0, 0);
		return true;
	}
	body = weir_xcalloc(len + 1, 1);
	for (n = 0; n < len;) {
		ssize_t r = read(fd, body + n, len - n);

		if (r <= 0)
			break;
		n += (size_t)r;
	}
	keep = n == len && srv_answer(fd, conn, path, body, len);
	free(body);
	return keep;
}

static void *
srv_conn(void *arg)
{
	int fd = (int)(intptr_t)arg, conn = atomic_fetch_add(&srv_conns, 1) + 1, now = atomic_fetch_add(&srv_now, 1) + 1;

	/* head and body are written apart */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	if (now > atomic_load(&srv_most))
		atomic_store(&srv_most, now);
	while (srv_one(fd, conn))
		;
	close(fd);
	atomic_fetch_sub(&srv_now, 1);
	return NULL;
}

static void *
srv_main(void *arg)
{
	int listener = (int)(intptr_t)arg;

	for (;;) {
		int fd = accept(listener, NULL, NULL);
		pthread_t t;

		if (fd < 0)
			continue;
		if (pthread_create(&t, NULL, srv_conn, (void *)(intptr_t)fd) == 0)
			pthread_detach(t);
	}
	return NULL;
}

static int
srv_start(void)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pthread_t t;

	if (fd < 0 || bind(fd, (struct sockaddr *)&sin, len) < 0 || listen(fd, 64) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sin, &len) < 0)
		return -1;
	srv_port = ntohs(sin.sin_port);
	return pthread_create(&t, NULL, srv_main, (void *)(intptr_t)fd);
}

/* --- helpers --- */

static struct weir_http *http;

static struct weir_http_pool *
pool_with(struct weir_http_pool_conf conf)
{
	struct weir_http_pool *pool = NULL;

	conf.name = "test";
	conf.proxy = "";
	CU_ASSERT_EQUAL_FATAL(weir_http_pool_new(http, &conf, &pool, NULL), WEIR_OK);
	return pool;
}

static char *
url_of(const char *path)
{
	return weir_xasprintf("http://127.0.0.1:%d%s", srv_port, path);
}

static enum weir_code
perform(struct weir_http_pool *pool, struct weir_http_req req, const char *path, struct weir_http_resp *resp, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *url = url_of(path);

	req.url = url;
	if (req.method == NULL)
		req.method = "GET";
	return weir_http_perform(pool, &req, resp, err);
}

struct mem_sink {
	struct weir_sink sink;
	struct weir_buf buf;
	enum weir_code fail;
};

static enum weir_code
mem_write(struct weir_sink *s, const void *data, size_t len)
{
	struct mem_sink *m = (struct mem_sink *)s;

	return m->fail != WEIR_OK ? m->fail : weir_buf_add(&m->buf, data, len) < 0 ? WEIR_E_NOMEM : WEIR_OK;
}

struct mem_source {
	struct weir_source source;
	size_t len;		/* of a pattern */
	bool is_broken;
};

static ssize_t
mem_read(struct weir_source *s, void *buf, size_t len, uint64_t off)
{
	struct mem_source *m = (struct mem_source *)s;

	if (m->is_broken && off > 0)
		return -1;
	if (off >= m->len)
		return 0;
	if (len > m->len - off)
		len = m->len - off;
	for (size_t i = 0; i < len; i++)
		((char *)buf)[i] = (char)((off + i) * 7);
	return (ssize_t)len;
}

static bool
is_pattern(const char *data, size_t len, size_t off)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] != (char)((off + i) * 7))
			return false;
	}
	return true;
}

static int
conn_of(const struct weir_http_resp *resp)
{
	char v[16];

	return weir_http_header(resp, "x-conn", v, sizeof(v)) != NULL ? atoi(v) : -1;
}

/* --- promises --- */

static void
get_reads_status_headers_and_body(void)
{
	struct weir_http_pool *pool = pool_with((struct weir_http_pool_conf){0});
	struct weir_http_resp resp = {0};
	struct weir_http_stats st;
	char v[64];

	CU_ASSERT_EQUAL(weir_http_pool_heard_ms(pool), 0);
	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){0}, "/hello", &resp, NULL), WEIR_OK);
	CU_ASSERT_EQUAL(resp.status, 200);
	CU_ASSERT_STRING_EQUAL(weir_buf_str(&resp.body), "hello");
	CU_ASSERT_EQUAL(weir_http_retry_after_ms(&resp), 7000);
	CU_ASSERT_PTR_NOT_NULL_FATAL(weir_http_header(&resp, "etag", v, sizeof(v)));
	CU_ASSERT_STRING_EQUAL(v, "\"x\"");
	CU_ASSERT_PTR_NOT_NULL_FATAL(weir_http_header(&resp, "X-FOLD", v, sizeof(v)));
	CU_ASSERT_STRING_EQUAL(v, "a b");
	CU_ASSERT_PTR_NULL(weir_http_header(&resp, "X-Fol", v, sizeof(v)));
	CU_ASSERT(weir_now_ms() - weir_http_pool_heard_ms(pool) < 30000);
	weir_http_pool_stats(pool, &st);
	CU_ASSERT_EQUAL(st.requests, 1);
	CU_ASSERT_EQUAL(st.errors, 0);
	CU_ASSERT(st.bytes_in > 5);
	weir_http_resp_free(&resp);
	weir_http_pool_free(pool);
}

static void
what_is_sent_is_what_was_asked(void)
{
	struct weir_http_pool *pool = pool_with((struct weir_http_pool_conf){0});
	const char *headers[] = {"X-Mine: a b", "X-Empty:", NULL};
	struct weir_http_resp resp = {0};
	char request[8192];

	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){.method = "PUT", .headers = headers, .body = "12345", .body_len = 5},
	    "/a/../b%2Fc/./d", &resp, NULL), WEIR_OK);
	pthread_mutex_lock(&srv_lock);
	memcpy(request, srv_request, sizeof(request));
	pthread_mutex_unlock(&srv_lock);
	CU_ASSERT_PTR_NOT_NULL(strstr(request, "PUT /a/../b%2Fc/./d HTTP/1.1\r\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(request, "\r\nX-Mine: a b\r\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(request, "\r\nX-Empty:\r\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(request, "\r\nContent-Length: 5\r\n"));
	CU_ASSERT_PTR_NULL(strcasestr(request, "expect:"));
	CU_ASSERT_PTR_NULL(strcasestr(request, "content-type:"));
	CU_ASSERT_PTR_NULL(strcasestr(request, "accept-encoding:"));
	CU_ASSERT_PTR_NULL(strcasestr(request, "transfer-encoding:"));
	for (int i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){.method = i ? "POST" : "PUT"}, "/echo", &resp, NULL), WEIR_OK);
		CU_ASSERT_PTR_NOT_NULL(strstr(srv_request, "\r\nContent-Length: 0\r\n"));
	}
	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){.method = "DELETE"}, "/echo", &resp, NULL), WEIR_OK);
	CU_ASSERT_PTR_NULL(strcasestr(srv_request, "content-length:"));
	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){.method = "PROPFIND", .body = "<x/>", .body_len = 4}, "/echo", &resp, NULL),
	    WEIR_OK);
	CU_ASSERT_STRING_EQUAL(weir_buf_str(&resp.body), "<x/>");
	weir_http_resp_free(&resp);
	weir_http_pool_free(pool);
}

static void
a_header_cannot_smuggle_another(void)
{
	struct weir_http_pool *pool = pool_with((struct weir_http_pool_conf){0});
	const char *headers[] = {"X-Mine: a\r\nX-Evil: b", NULL};
	struct weir_http_resp resp = {0};

	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){.headers = headers}, "/hello", &resp, NULL), WEIR_E_INVAL);
	weir_http_resp_free(&resp);
	weir_http_pool_free(pool);
}

static void
bodies_pass_through_source_and_sink(void)
{
	struct weir_http_pool *pool = pool_with((struct weir_http_pool_conf){0});
	struct mem_source src = {.source.read = mem_read, .len = 3000000};
	struct mem_sink sink = {.sink.write = mem_write, .buf = WEIR_BUF(4000000)};
	struct weir_http_resp resp = {0};

	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){.method = "PUT", .source = &src.source, .source_off = 1000,
	    .body_len = 2000000, .sink = &sink.sink}, "/echo", &resp, NULL), WEIR_OK);
	CU_ASSERT_EQUAL(sink.buf.len, 2000000);
	CU_ASSERT(is_pattern(weir_buf_str(&sink.buf), sink.buf.len, 1000));
	CU_ASSERT_EQUAL(resp.body.len, 0);
	weir_buf_reset(&sink.buf);
	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){.sink = &sink.sink}, "/missing", &resp, NULL), WEIR_OK);
	CU_ASSERT_EQUAL(resp.status, 404);
	CU_ASSERT_EQUAL(sink.buf.len, 0);
	CU_ASSERT_STRING_EQUAL(weir_buf_str(&resp.body), "gone");
	weir_buf_free(&sink.buf);
	weir_http_resp_free(&resp);
	weir_http_pool_free(pool);
}

static void
source_and_sink_can_give_up(void)
{
	struct weir_http_pool *pool = pool_with((struct weir_http_pool_conf){0});
	struct mem_source src = {.source.read = mem_read, .len = 3000000, .is_broken = true}, brief = {.source.read = mem_read, .len = 10};
	struct mem_sink sink = {.sink.write = mem_write, .fail = WEIR_E_NOSPC};
	struct weir_http_resp resp = {0};
	struct weir_err err = {0};

	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){.method = "PUT", .source = &src.source, .body_len = 3000000}, "/echo", &resp, &err),
	    WEIR_E_IO);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "127.0.0.1"));
	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){.method = "PUT", .source = &brief.source, .body_len = 3000000}, "/echo", &resp, NULL),
	    WEIR_E_IO);
	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){.sink = &sink.sink}, "/big/100000", &resp, NULL), WEIR_E_NOSPC);
	weir_http_resp_free(&resp);
	weir_http_pool_free(pool);
}

static enum weir_code
refuse(void *arg, const struct weir_http_resp *resp, struct weir_err *err)
{
	*(int *)arg += resp->status;
	return weir_err_set(err, WEIR_E_CHANGED, "another version");
}

static void
on_head_can_refuse_before_the_first_byte(void)
{
	struct weir_http_pool *pool = pool_with((struct weir_http_pool_conf){0});
	struct mem_sink sink = {.sink.write = mem_write, .buf = WEIR_BUF(1000)};
	struct weir_http_resp resp = {0};
	struct weir_err err = {0};
	int seen = 0;

	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){.sink = &sink.sink, .on_head = refuse, .on_head_arg = &seen}, "/hello", &resp,
	    &err), WEIR_E_CHANGED);
	CU_ASSERT_EQUAL(seen, 200);
	CU_ASSERT_EQUAL(sink.buf.len, 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "another version"));
	seen = 0;
	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){.method = "PUT", .on_head = refuse, .on_head_arg = &seen}, "/early", &resp,
	    &err), WEIR_E_CHANGED);
	CU_ASSERT_EQUAL(seen, 201);	/* not for the 100 before it */
	weir_http_resp_free(&resp);
	weir_http_pool_free(pool);
}

static void
redirects_are_shown_not_followed(void)
{
	struct weir_http_pool *pool = pool_with((struct weir_http_pool_conf){0});
	struct weir_http_resp resp = {0};

	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){0}, "/moved", &resp, NULL), WEIR_OK);
	CU_ASSERT_EQUAL(resp.status, 301);
	weir_http_resp_free(&resp);
	weir_http_pool_free(pool);
}

static void
what_is_no_whole_answer_is_an_error(void)
{
	struct weir_http_pool *pool = pool_with((struct weir_http_pool_conf){0});
	struct weir_http_resp resp = {0};
	struct weir_err err = {0};
	struct weir_http_req req = {.method = "GET", .url = "http://127.0.0.1:1/"};

	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){0}, "/reset", &resp, &err), WEIR_E_NET);
	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){0}, "/cut", &resp, &err), WEIR_E_NET);
	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){0}, "/rubbish", &resp, &err), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(weir_http_perform(pool, &req, &resp, &err), WEIR_E_NET);
	req.url = "http://no-such-host.invalid/";
	CU_ASSERT_EQUAL(weir_http_perform(pool, &req, &resp, &err), WEIR_E_NET);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "no-such-host.invalid"));
	req.url = "ftp://127.0.0.1/";
	CU_ASSERT_EQUAL(weir_http_perform(pool, &req, &resp, &err), WEIR_E_CONFIG);
	weir_http_resp_free(&resp);
	weir_http_pool_free(pool);
}

static void
silence_is_a_stall(void)
{
	struct weir_http_pool *pool = pool_with((struct weir_http_pool_conf){.stall_ms = 300});
	struct mem_source src = {.source.read = mem_read, .len = 30000000};
	struct weir_http_resp resp = {0};
	int64_t from = weir_now_ms();

	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){0}, "/stall", &resp, NULL), WEIR_E_STALL);
	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){0}, "/silent", &resp, NULL), WEIR_E_STALL);
	CU_ASSERT(weir_now_ms() - from >= 600);
	CU_ASSERT(weir_now_ms() - from < 20000);
	/* who never reads what we send stalls too */
	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){.method = "PUT", .source = &src.source, .body_len = 30000000}, "/deaf", &resp,
	    NULL), WEIR_E_STALL);
	/* a request may allow more */
	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){.stall_ms = 5000}, "/slow", &resp, NULL), WEIR_OK);
	weir_http_resp_free(&resp);
	weir_http_pool_free(pool);
}

static void
what_leaves_the_kernel_slowly_is_no_stall(void)
{
	struct weir_http_pool *pool = pool_with((struct weir_http_pool_conf){.stall_ms = 1000});
	struct mem_source src = {.source.read = mem_read, .len = 1200000};
	struct weir_http_resp resp = {0};
	int64_t from = weir_now_ms();

	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){.method = "PUT", .source = &src.source, .body_len = 1200000}, "/drain", &resp, NULL),
	    WEIR_OK);
	CU_ASSERT_EQUAL(resp.status, 201);
	CU_ASSERT(weir_now_ms() - from > 1200);
	weir_http_resp_free(&resp);
	weir_http_pool_free(pool);
}

static enum weir_code
slow_disk(struct weir_sink *s, const void *data, size_t len)
{
	usleep(2500000);
	return WEIR_OK;
}

static void *
wait_for_slow(void *arg)
{
	struct weir_http_resp resp = {0};
	enum weir_code *r = arg;
	struct weir_http_pool *pool = pool_with((struct weir_http_pool_conf){.stall_ms = 1500});

	/* answers after 150 ms, while the engine writes for 2,500 */
	*r = perform(pool, (struct weir_http_req){0}, "/slow", &resp, NULL);
	weir_http_resp_free(&resp);
	weir_http_pool_free(pool);
	return NULL;
}

static void
a_slow_disk_is_not_the_servers_stall(void)
{
	struct weir_http_pool *pool = pool_with((struct weir_http_pool_conf){0});
	struct weir_sink sink = {.write = slow_disk};
	struct weir_http_resp resp = {0};
	enum weir_code r = WEIR_E_IO;
	pthread_t t;

	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, wait_for_slow, &r), 0);
	usleep(50000);
	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){.sink = &sink}, "/hello", &resp, NULL), WEIR_OK);
	pthread_join(t, NULL);
	CU_ASSERT_EQUAL(r, WEIR_OK);
	weir_http_resp_free(&resp);
	weir_http_pool_free(pool);
}

static struct weir_cancel later_cancel;

static void *
cancel_later(void *arg)
{
	usleep(100000);
	atomic_store(&later_cancel.is_set, true);
	return NULL;
}

static void
cancel_ends_it(void)
{
	struct weir_http_pool *pool = pool_with((struct weir_http_pool_conf){0});
	struct weir_http_resp resp = {0};
	int64_t from = weir_now_ms();
	pthread_t t;

	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, cancel_later, NULL), 0);
	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){.cancel = &later_cancel}, "/silent", &resp, NULL), WEIR_E_CANCELED);
	CU_ASSERT(weir_now_ms() - from < 10000);
	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){.cancel = &later_cancel}, "/hello", &resp, NULL), WEIR_E_CANCELED);
	pthread_join(t, NULL);
	weir_http_resp_free(&resp);
	weir_http_pool_free(pool);
}

static void
connections_are_kept_and_fresh_ones_made(void)
{
	struct weir_http_pool *pool = pool_with((struct weir_http_pool_conf){0});
	struct weir_http_resp resp = {0};
	int conn;

	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){0}, "/hello", &resp, NULL), WEIR_OK);
	conn = conn_of(&resp);
	for (int i = 0; i < 5; i++) {
		CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){.method = i & 1 ? "PUT" : "GET"}, "/hello", &resp, NULL), WEIR_OK);
		CU_ASSERT_EQUAL(conn_of(&resp), conn);
	}
	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){.is_fresh = true}, "/hello", &resp, NULL), WEIR_OK);
	CU_ASSERT_NOT_EQUAL(conn_of(&resp), conn);
	weir_http_resp_free(&resp);
	weir_http_pool_free(pool);
}

struct crowd {
	struct weir_http_pool *pool;
	const char *path;
	int each;
	atomic_int good;
};

static void *
crowd_one(void *arg)
{
	struct crowd *c = arg;
	struct weir_http_resp resp = {0};

	for (int i = 0; i < c->each; i++) {
		if (perform(c->pool, (struct weir_http_req){0}, c->path, &resp, NULL) == WEIR_OK && resp.status == 200)
			atomic_fetch_add(&c->good, 1);
	}
	weir_http_resp_free(&resp);
	return NULL;
}

static int
crowd_run(struct weir_http_pool *pool, const char *path, int threads, int each)
{
	struct crowd c = {.pool = pool, .path = path, .each = each};
	pthread_t t[32];

	for (int i = 0; i < threads; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&t[i], NULL, crowd_one, &c), 0);
	for (int i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
	return atomic_load(&c.good);
}

static void
more_than_the_limit_queue(void)
{
	struct weir_http_pool *pool = pool_with((struct weir_http_pool_conf){.max_connections = 3});
	int64_t from = weir_now_ms();
	int before = atomic_load(&srv_now);

	atomic_store(&srv_most, before);
	CU_ASSERT_EQUAL(crowd_run(pool, "/slow", 9, 1), 9);
	CU_ASSERT(weir_now_ms() - from >= 440);		/* three rounds of 150 ms */
	CU_ASSERT(atomic_load(&srv_most) <= before + 3);
	weir_http_pool_free(pool);
}

static void
many_threads_at_once(void)
{
	struct weir_http_pool *pool = pool_with((struct weir_http_pool_conf){.max_connections = 8});

	CU_ASSERT_EQUAL(crowd_run(pool, "/hello", 32, 50), 1600);
	weir_http_pool_free(pool);
}

static void
bandwidth_is_kept_both_ways(void)
{
	struct weir_http_pool *pool = pool_with((struct weir_http_pool_conf){.down_bytes_s = 1000000, .up_bytes_s = 1000000});
	struct mem_source src = {.source.read = mem_read, .len = 800000};
	struct mem_sink sink = {.sink.write = mem_write, .buf = WEIR_BUF(4000000)};
	struct weir_http_resp resp = {0};
	int64_t from = weir_now_ms(), took;

	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){.sink = &sink.sink}, "/big/800000", &resp, NULL), WEIR_OK);
	took = weir_now_ms() - from;
	CU_ASSERT_EQUAL(sink.buf.len, 800000);
	CU_ASSERT(is_pattern(weir_buf_str(&sink.buf), sink.buf.len, 0));
	CU_ASSERT(took > 450 && took < 20000);
	from = weir_now_ms();
	CU_ASSERT_EQUAL(perform(pool, (struct weir_http_req){.method = "PUT", .source = &src.source, .body_len = 800000}, "/x", &resp, NULL),
	    WEIR_OK);
	took = weir_now_ms() - from;
	CU_ASSERT(took > 450 && took < 20000);
	/* shared by all transfers of the pool */
	from = weir_now_ms();
	CU_ASSERT_EQUAL(crowd_run(pool, "/big/200000", 4, 1), 4);
	took = weir_now_ms() - from;
	CU_ASSERT(took > 450 && took < 20000);
	weir_buf_free(&sink.buf);
	weir_http_resp_free(&resp);
	weir_http_pool_free(pool);
}

static void
hosts_are_spelt_as_curl_sends_them(void)
{
	static const char *const rows[][2] = {
	    {"http://a.example/x", "a.example"}, {"http://a.example:80/x", "a.example"}, {"https://a.example:443/x", "a.example"},
	    {"https://a.example:8443", "a.example:8443"}, {"http://[::1]:9/", "[::1]:9"}, {"http://u:p@h:443/", "h:443"},
	    {"ftp://a/", NULL}, {"", NULL}, {"/x", NULL}, {"http://", NULL},
	};

	for (size_t i = 0; i < WEIR_LEN(rows); i++) {
		WEIR_AUTO(weir_freep) char *host = weir_http_url_host(rows[i][0]);

		CU_ASSERT_STRING_EQUAL(host != NULL ? host : "-", rows[i][1] != NULL ? rows[i][1] : "-");
	}
}

static void
secrets_travel_by_tls_or_stay_here(void)
{
	static const struct { const char *url; bool is_safe; } rows[] = {
	    {"https://a.example/x", true}, {"https://a.example:8443", true}, {"HTTPS://a.example", true}, {"http://a.example", false},
	    {"http://localhost", true}, {"http://LOCALHOST:80/x", true}, {"http://127.0.0.1:9/x", true}, {"http://127.3.2.1", true}, {"http://[::1]:9", true},
	    {"http://localhost.a.example", false}, {"http://localhosts", false}, {"http://127.a.example:8080/", false}, {"http://127.0.0.1.a.example", false},
	    {"http://[::1234]", false}, {"http://128.0.0.1", false}, {"http://localhost@a.example", false}, {"http://localhost:80@a.example/", false},
	    {"https://localhost@a.example", false}, {"https://a.example@localhost", false}, {"ftp://localhost", false}, {"file:///etc/passwd", false},
	    {"localhost", false}, {"", false}, {"https://", false},
	};

	for (size_t i = 0; i < WEIR_LEN(rows); i++) {
		CU_ASSERT_EQUAL(weir_http_url_is_safe(rows[i].url), rows[i].is_safe);
		if (weir_http_url_is_safe(rows[i].url) != rows[i].is_safe)
			fprintf(stderr, "%s\n", rows[i].url);
	}
}

static void
retry_after_may_be_a_date(void)
{
	struct weir_http_resp resp = {.raw_headers = WEIR_BUF(1000)};
	char date[32];
	int64_t ms;

	weir_date_rfc1123(weir_wall_ns() / 1000000000 + 100, date);
	weir_buf_addf(&resp.raw_headers, "retry-after: %s\n", date);
	ms = weir_http_retry_after_ms(&resp);
	CU_ASSERT(ms > 97000 && ms <= 100000);
	weir_buf_reset(&resp.raw_headers);
	weir_buf_adds(&resp.raw_headers, "Retry-After: soon\n");
	CU_ASSERT_EQUAL(weir_http_retry_after_ms(&resp), -1);
	weir_http_resp_free(&resp);
}

int
main(void)
{
	CU_pSuite s;
	unsigned failed;

	signal(SIGPIPE, SIG_IGN);	/* for the server's threads; the engine needs no such help */
	if (srv_start() != 0 || weir_http_new(&http, NULL) != WEIR_OK || CU_initialize_registry() != CUE_SUCCESS)
		return 99;
	s = CU_add_suite("http", NULL, NULL);
	CU_ADD_TEST(s, get_reads_status_headers_and_body);
	CU_ADD_TEST(s, what_is_sent_is_what_was_asked);
	CU_ADD_TEST(s, a_header_cannot_smuggle_another);
	CU_ADD_TEST(s, bodies_pass_through_source_and_sink);
	CU_ADD_TEST(s, source_and_sink_can_give_up);
	CU_ADD_TEST(s, on_head_can_refuse_before_the_first_byte);
	CU_ADD_TEST(s, redirects_are_shown_not_followed);
	CU_ADD_TEST(s, what_is_no_whole_answer_is_an_error);
	CU_ADD_TEST(s, silence_is_a_stall);
	CU_ADD_TEST(s, what_leaves_the_kernel_slowly_is_no_stall);
	CU_ADD_TEST(s, a_slow_disk_is_not_the_servers_stall);
	CU_ADD_TEST(s, cancel_ends_it);
	CU_ADD_TEST(s, connections_are_kept_and_fresh_ones_made);
	CU_ADD_TEST(s, more_than_the_limit_queue);
	CU_ADD_TEST(s, many_threads_at_once);
	CU_ADD_TEST(s, bandwidth_is_kept_both_ways);
	CU_ADD_TEST(s, hosts_are_spelt_as_curl_sends_them);
	CU_ADD_TEST(s, secrets_travel_by_tls_or_stay_here);
	CU_ADD_TEST(s, retry_after_may_be_a_date);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	weir_http_free(http);
	return failed != 0;
}
