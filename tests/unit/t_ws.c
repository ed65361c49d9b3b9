/* SPDX-License-Identifier: Apache-2.0 */
/* The WebSocket client against a small server of our own that can lie, drip and fall silent: the path names what it does. Its frames are made and
 * read here by hand, so that the library which weir uses for them is not its own judge. */
#include "config.h"

#include <CUnit/Basic.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/ws.h"
#include "net/ws_impl.h"
#include "util/buf.h"
#include "util/util.h"

/* ---- the server ---- */

static int srv_port;
static atomic_int srv_pongs;		/* right answers to its pings */
static atomic_uint srv_seed;
static const char *const srv_texts[] = { "one", "two", "three" };

static void
put(int fd, const void *p, size_t n)
{
	if (send(fd, p, n, MSG_NOSIGNAL) != (ssize_t)n)
		return;
}

/* Bits of the first byte: 0x80 the last piece, then the kind. */
static void
frame_add(struct weir_buf *b, unsigned first, const void *data, size_t n)
{
	weir_buf_addc(b, (char)first);
	if (n < 126) {
		weir_buf_addc(b, (char)n);
	} else {
		weir_buf_addc(b, 126);
		weir_buf_addc(b, (char)(n >> 8));
		weir_buf_addc(b, (char)n);
	}
	weir_buf_add(b, data, n);
}

static void
frame_put(int fd, unsigned first, const void *data, size_t n)
{
	struct weir_buf b = WEIR_BUF(1 << 20);

	frame_add(&b, first, data, n);
	put(fd, b.data, b.len);
	weir_buf_free(&b);
}

static bool
get(int fd, void *p, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t r = read(fd, (char *)p + at, n - at);

		if (r <= 0)
			return false;
		at += (size_t)r;
	}
	return true;
}

/* One short frame from the client; a client's frames are masked, or they are none. */
static int
frame_get(int fd, char *out, size_t max)
{
	unsigned char head[2], mask[4], len[2];
	size_t n;

	if (!get(fd, head, 2) || !(head[1] & 0x80))
		return -1;
	n = head[1] & 0x7f;
	if (n == 127 || (n == 126 && !get(fd, len, 2)))
		return -1;
	if (n == 126)
		n = (size_t)len[0] << 8 | len[1];
	if (n >= max || !get(fd, mask, 4) || !get(fd, out, n))
		return -1;
	for (size_t i = 0; i < n; i++)
		out[i] = (char)(out[i] ^ mask[i % 4]);
	out[n] = '\0';
	return head[0];
}

static void
play_echo(int fd)
{
	char text[70000];
	int first;

	while ((first = frame_get(fd, text, sizeof(text))) > 0 && first != 0x88)
		frame_put(fd, (unsigned)first, text, strlen(text));
}

static void
play_burst(int fd)
{
	struct weir_buf b = WEIR_BUF(1 << 20);

	for (int i = 0; i < 5000; i++) {
		char text[16];

		frame_add(&b, 0x81, text, (size_t)snprintf(text, sizeof(text), "%d", i));
	}
	put(fd, b.data, b.len);
	weir_buf_free(&b);
	play_echo(fd);
}

/* Every byte a segment of its own, control frames in the middle of a message. */
static void
play_drip(int fd)
{
	struct weir_buf b = WEIR_BUF(1 << 20);

	frame_add(&b, 0x01, "drip", 4);
	frame_add(&b, 0x89, "why?", 4);
	frame_add(&b, 0x00, ", ", 2);
	frame_add(&b, 0x00, "", 0);
	frame_add(&b, 0x8a, "unasked", 7);
	frame_add(&b, 0x80, "drop", 4);
	for (size_t i = 0; i < b.len; i++) {
		put(fd, b.data + i, 1);
		usleep(300);
	}
	weir_buf_free(&b);
	play_echo(fd);
}

static void
play_pings(int fd)
{
	char text[200];

	for (unsigned i = 0; i < 3; i++) {
		unsigned char data[4] = { 1, 0xff, 0, (unsigned char)i };

		frame_put(fd, 0x89, data, 4);
		if (frame_get(fd, text, sizeof(text)) == 0x8a && memcmp(text, data, 4) == 0)
			atomic_fetch_add(&srv_pongs, 1);
	}
	frame_put(fd, 0x81, "done", 4);
	play_echo(fd);
}

/* Answers every ping of the client's, says nothing else. */
static void
play_alive(int fd)
{
	char text[200];
	int first;

	while ((first = frame_get(fd, text, sizeof(text))) > 0 && first != 0x88)
		if (first == 0x89)
			frame_put(fd, 0x8a, text, strlen(text));
}

static void
play_fuzz(int fd)
{
	unsigned seed = atomic_fetch_add(&srv_seed, 1);
	struct weir_buf b = WEIR_BUF(1 << 20);

	for (unsigned i = 0; i < 4; i++) {
		static const unsigned kinds[] = { 0x81, 0x01, 0x80, 0x89, 0x8a, 0x88, 0x82, 0x00 };
		char data[300];
		size_t n = (size_t)rand_r(&seed) % sizeof(data);

		for (size_t k = 0; k < n; k++)
			data[k] = (char)('a' + k % 26);
		frame_add(&b, kinds[(size_t)rand_r(&seed) % WEIR_LEN(kinds)], data, n);
	}
	for (unsigned i = 0; i < 3; i++)
		b.data[(size_t)rand_r(&seed) % (i ? b.len : 8)] ^= (char)(1 << rand_r(&seed) % 8);
	put(fd, b.data, b.len);
	weir_buf_free(&b);
}

static void
play(int fd, const char *path)
{
	static const char long_piece[1000] = { 0 };

	if (strncmp(path, "/echo", 5) == 0) {
		play_echo(fd);
	} else if (strcmp(path, "/burst") == 0) {
		play_burst(fd);
	} else if (strcmp(path, "/drip") == 0) {
		play_drip(fd);
	} else if (strcmp(path, "/pings") == 0) {
		play_pings(fd);
	} else if (strcmp(path, "/alive") == 0) {
		play_alive(fd);
	} else if (strcmp(path, "/texts") == 0) {
		for (size_t i = 0; i < WEIR_LEN(srv_texts); i++)
			frame_put(fd, i == 1 ? 0x82 : 0x81, srv_texts[i], strlen(srv_texts[i]));
		frame_put(fd, 0x88, "\x03\xe9gone home", 11);
		play_echo(fd);
	} else if (strcmp(path, "/cut") == 0) {
		put(fd, "\x81\x05he", 4);
	} else if (strcmp(path, "/garbage") == 0) {
		put(fd, "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n\r\n<html><body>The server behind has gone away</body></html>", 106);
		play_echo(fd);
	} else if (strcmp(path, "/masked") == 0) {
		put(fd, "\x81\x83\0\0\0\0abc", 9);
		play_echo(fd);
	} else if (strcmp(path, "/rsv") == 0) {
		frame_put(fd, 0xc1, "abc", 3);
		play_echo(fd);
	} else if (strcmp(path, "/stray") == 0) {
		frame_put(fd, 0x80, "abc", 3);
		play_echo(fd);
	} else if (strcmp(path, "/huge") == 0) {
		put(fd, "\x81\x7f\0\0\1\0\0\0\0\0abcd", 14);	/* 2^40 bytes, it says */
		play_echo(fd);
	} else if (strcmp(path, "/long") == 0) {
		frame_put(fd, 0x01, long_piece, 1000);
		for (int i = 0; i < 100; i++)
			frame_put(fd, 0x00, long_piece, 1000);
		play_echo(fd);
	} else if (strcmp(path, "/latin1") == 0) {
		frame_put(fd, 0x81, "caf\xe9 au lait", 12);
		play_echo(fd);
	} else if (strcmp(path, "/fuzz") == 0) {
		play_fuzz(fd);
	} else {		/* "/deaf" */
		char c;

		while (read(fd, &c, 1) > 0)
			;
	}
}

static bool
answer(int fd, const char *head, const char *path)
{
	char key[WEIR_WS_KEY_LEN + 1] = "", accept[29], text[512];
	const char *p = strcasestr(head, "Sec-WebSocket-Key: ");
	int n;

	if (strcmp(path, "/silent") == 0) {
		play(fd, "/deaf");
		return false;
	}
	for (int i = 0; strcmp(path, "/endless") == 0 && i < 400; i++)
		put(fd, "HTTP/1.1 101 Switching Protocols, after this and only after this: ", 66);
	if (strcmp(path, "/missing") == 0)
		put(fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 45);
	if (p == NULL || strcmp(path, "/missing") == 0 || strcmp(path, "/endless") == 0)
		return false;
	snprintf(key, sizeof(key), "%.24s", p + 19);
	weir_ws_hand_accept(strcmp(path, "/liar") == 0 ? "dGhlIHNhbXBsZSBub25jZQ==" : key, accept);
	n = snprintf(text, sizeof(text), "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nCONNECTION: keep-alive, Upgrade\r\n"
	    "Sec-WebSocket-Accept: %s\r\n\r\n%s", accept, strcmp(path, "/echo/early") == 0 ? "\x81\x05" "early" : "");
	put(fd, text, (size_t)n);
	return true;
}

static void *
srv_conn(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char head[4096], path[200] = "";
	size_t n = 0;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	while (n < sizeof(head) - 1 && (n < 4 || memcmp(head + n - 4, "\r\n\r\n", 4) != 0) && read(fd, head + n, 1) == 1)
		n++;
	head[n] = '\0';
	if (sscanf(head, "GET %199s HTTP/1.1", path) == 1 && answer(fd, head, path))
		play(fd, path);
	shutdown(fd, SHUT_WR);
	while (recv(fd, head, sizeof(head), 0) > 0)	/* a close with unread bytes would be a reset */
		;
	close(fd);
	return NULL;
}

static void *
srv_main(void *arg)
{
	int listener = (int)(intptr_t)arg;

	for (;;) {
		int fd = accept(listener, NULL, NULL);
		pthread_t t;

		if (fd >= 0 && pthread_create(&t, NULL, srv_conn, (void *)(intptr_t)fd) == 0)
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

	if (fd < 0 || bind(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0 || listen(fd, 64) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sin, &len) < 0 || pthread_create(&t, NULL, srv_main, (void *)(intptr_t)fd) != 0)
		return -1;
	pthread_detach(t);
	srv_port = ntohs(sin.sin_port);
	return 0;
}

/* ---- the client ---- */

static struct weir_http *http;
static struct weir_http_pool *pool;
static struct weir_err err;

static enum weir_code
dial(const char *path, const struct weir_ws_conf *how, struct weir_ws **out)
{
	WEIR_AUTO(weir_freep) char *url = weir_xasprintf("ws://127.0.0.1:%d%s", srv_port, path);
	struct weir_ws_conf conf = how != NULL ? *how : (struct weir_ws_conf){ 0 };

	conf.url = url;
	*out = NULL;
	memset(&err, 0, sizeof(err));
	return weir_ws_open(pool, &conf, NULL, out, &err);
}

/* Is this the next message? */
static bool
hears(struct weir_ws *ws, const char *text)
{
	const char *got;
	size_t len;

	return weir_ws_receive(ws, 5000, NULL, &got, &len, &err) == WEIR_OK && got != NULL && len == strlen(text) && memcmp(got, text, len) == 0;
}

/* How the connection ends, whatever comes before. */
static enum weir_code
ends(struct weir_ws *ws)
{
	const char *got;
	size_t len;
	enum weir_code r;

	do
		r = weir_ws_receive(ws, 5000, NULL, &got, &len, &err);
	while (r == WEIR_OK && got != NULL);
	return r;
}

static enum weir_code
ends_at(const char *path, const struct weir_ws_conf *how)
{
	struct weir_ws *ws;
	enum weir_code r = dial(path, how, &ws);

	if (r == WEIR_OK)
		r = ends(ws);
	weir_ws_close(ws);
	return r;
}

/* ---- the handshake as text ---- */

#define SAMPLE "dGhlIHNhbXBsZSBub25jZQ=="	/* RFC 6455 section 1.3 */

static void
the_accept_of_the_standards_own_example(void)
{
	char accept[29];

	weir_ws_hand_accept(SAMPLE, accept);
	CU_ASSERT_STRING_EQUAL(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

static enum weir_code
judged(const char *head)
{
	memset(&err, 0, sizeof(err));
	return weir_ws_hand_check(head, strlen(head), SAMPLE, &err);
}

#define OK101 "HTTP/1.1 101 Switching Protocols\r\n"
#define UP "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

static void
answers_are_judged(void)
{
	CU_ASSERT_EQUAL(judged(OK101 UP ACCEPT "\r\n"), WEIR_OK);
	CU_ASSERT_EQUAL(judged(OK101 "connection:upgrade , close\r\nUPGRADE:WebSocket\r\nX: y\r\n" ACCEPT "\r\n"), WEIR_OK);
	CU_ASSERT_EQUAL(judged("HTTP/1.1 101\r\n" UP ACCEPT "Sec-WebSocket-Protocol:\r\n\r\n"), WEIR_OK);
	CU_ASSERT_EQUAL(judged(OK101 UP "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOO=\r\n\r\n"), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(judged(OK101 UP "\r\n"), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(judged(OK101 "Connection: Upgrade\r\n" ACCEPT "\r\n"), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(judged(OK101 "Upgrade: websocket\r\nConnection: keep-alive\r\n" ACCEPT "\r\n"), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(judged(OK101 UP ACCEPT "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(judged("HTTP/1.0 101 Switching Protocols\r\n" UP ACCEPT "\r\n"), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(judged("HTTP/1.1 1010 What\r\n" UP ACCEPT "\r\n"), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(judged("SSH-2.0-OpenSSH_9.2p1\r\n\r\n"), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(judged(""), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(judged("HTTP/1.1 200 OK\r\n" UP ACCEPT "\r\n"), WEIR_E_NOTSUP);
	CU_ASSERT_EQUAL(judged("HTTP/1.1 302 Found\r\nLocation: ws://elsewhere/\r\n\r\n"), WEIR_E_NOTSUP);
	CU_ASSERT_EQUAL(judged("HTTP/1.1 503 Service Unavailable\r\n\r\n"), WEIR_E_THROTTLED);
	CU_ASSERT_EQUAL(judged("HTTP/1.1 502 Bad Gateway\r\n\r\n"), WEIR_E_SERVER);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "502 Bad Gateway"));
	CU_ASSERT_EQUAL(weir_ws_hand_check(OK101 UP "\0" ACCEPT "\r\n", sizeof(OK101 UP "\0" ACCEPT "\r\n") - 1, SAMPLE, NULL), WEIR_E_PROTO);
}

/* No answer makes it read where it must not; only the right one is taken. */
static void
mangled_answers_are_survived(void)
{
	static const char good[] = OK101 UP ACCEPT "Date: now\r\n\r\n";
	unsigned seed = 1, taken = 0;

	for (int i = 0; i < 100000; i++) {
		size_t len = sizeof(good) - 1, cut = rand_r(&seed) % 4 ? len : (size_t)rand_r(&seed) % (len + 1);
		char *head = weir_xcalloc(1, cut + 1);	/* so that a step too far is seen by the sanitizers */

		memcpy(head, good, cut);
		for (int k = rand_r(&seed) % 4; k > 0 && cut > 0; k--)
			head[(size_t)rand_r(&seed) % cut] = (char)rand_r(&seed);
		taken += weir_ws_hand_check(head, cut, SAMPLE, NULL) == WEIR_OK;
		free(head);
	}
	CU_ASSERT(taken > 1000);
	CU_ASSERT(taken < 60000);
}

static void
addresses_are_taken_apart(void)
{
	struct weir_ws_url u;
	static const char *const bad[] = { "https://h/ws", "ws:/h", "", "wss://", "ws://user:secret@h/ws", "ws://h/a b", "ws://h/a\r\nX: y", "ws://h:99999999/" };

	CU_ASSERT_EQUAL_FATAL(weir_ws_url_parse("wss://push.example.org/push/ws?a=%20b#c", &u, NULL), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(u.curl_url, "https://push.example.org/push/ws?a=%20b");
	CU_ASSERT_STRING_EQUAL(u.host, "push.example.org");
	CU_ASSERT_STRING_EQUAL(u.target, "/push/ws?a=%20b");
	weir_ws_url_free(&u);
	CU_ASSERT_EQUAL_FATAL(weir_ws_url_parse("ws://[::1]:7867", &u, NULL), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(u.host, "[::1]:7867");
	CU_ASSERT_STRING_EQUAL(u.target, "/");
	weir_ws_url_free(&u);
	for (size_t i = 0; i < WEIR_LEN(bad); i++) {
		CU_ASSERT_EQUAL(weir_ws_url_parse(bad[i], &u, &err), WEIR_E_CONFIG);
		CU_ASSERT_PTR_NULL(strstr(err.msg, "secret"));
	}
}

/* ---- over the wire ---- */

static void
messages_go_both_ways(void)
{
	struct weir_http_stats before, after;
	struct weir_ws *ws;
	char text[66000];

	weir_http_pool_stats(pool, &before);
	CU_ASSERT_EQUAL_FATAL(dial("/echo", NULL, &ws), WEIR_OK);
	CU_ASSERT_EQUAL(weir_ws_send(ws, "alice", NULL), WEIR_OK);
	CU_ASSERT_EQUAL(weir_ws_send(ws, "", NULL), WEIR_OK);
	CU_ASSERT_EQUAL(weir_ws_send(ws, "grüße", NULL), WEIR_OK);
	memset(text, 'x', 60000);
	text[60000] = '\0';
	CU_ASSERT_EQUAL(weir_ws_send(ws, text, NULL), WEIR_OK);
	CU_ASSERT(hears(ws, "alice"));
	CU_ASSERT(hears(ws, ""));
	CU_ASSERT(hears(ws, "grüße"));
	CU_ASSERT(hears(ws, text));
	weir_ws_close(ws);
	weir_http_pool_stats(pool, &after);
	CU_ASSERT_EQUAL(after.requests - before.requests, 1);
	CU_ASSERT(after.bytes_in - before.bytes_in > 60000);
}

static void
what_comes_with_the_handshake_is_not_lost(void)
{
	struct weir_ws *ws;

	CU_ASSERT_EQUAL_FATAL(dial("/echo/early", NULL, &ws), WEIR_OK);
	CU_ASSERT(hears(ws, "early"));
	weir_ws_close(ws);
}

static void
pieces_become_one_message(void)
{
	struct weir_ws *ws;

	CU_ASSERT_EQUAL_FATAL(dial("/drip", NULL, &ws), WEIR_OK);
	CU_ASSERT(hears(ws, "drip, drop"));
	weir_ws_close(ws);
}

static void
a_burst_is_heard_whole_and_in_order(void)
{
	struct weir_ws *ws;
	int n = 0;
	char text[16];

	CU_ASSERT_EQUAL_FATAL(dial("/burst", NULL, &ws), WEIR_OK);
	do
		snprintf(text, sizeof(text), "%d", n);
	while (hears(ws, text) && ++n < 5000);
	CU_ASSERT_EQUAL(n, 5000);
	weir_ws_close(ws);
}

static void
pings_are_answered(void)
{
	struct weir_ws *ws;

	CU_ASSERT_EQUAL_FATAL(dial("/pings", NULL, &ws), WEIR_OK);
	CU_ASSERT(hears(ws, "done"));
	CU_ASSERT_EQUAL(atomic_load(&srv_pongs), 3);
	weir_ws_close(ws);
}

static void
a_farewell_is_told_after_what_came_before_it(void)
{
	struct weir_ws *ws;

	CU_ASSERT_EQUAL_FATAL(dial("/texts", NULL, &ws), WEIR_OK);
	CU_ASSERT(hears(ws, "one"));
	CU_ASSERT(hears(ws, "three"));		/* "two" is binary */
	CU_ASSERT_EQUAL(ends(ws), WEIR_E_NET);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "closed the connection (1001: gone home)"));
	CU_ASSERT_EQUAL(ends(ws), WEIR_E_NET);
	CU_ASSERT_EQUAL(weir_ws_send(ws, "hello?", &err), WEIR_E_NET);
	weir_ws_close(ws);
	CU_ASSERT_EQUAL(ends_at("/cut", NULL), WEIR_E_NET);
}

static void
what_is_no_websocket_is_refused(void)
{
	CU_ASSERT_EQUAL(ends_at("/garbage", NULL), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(ends_at("/rsv", NULL), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(ends_at("/stray", NULL), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(ends_at("/masked", NULL), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(ends_at("/latin1", NULL), WEIR_E_PROTO);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "UTF-8"));
	CU_ASSERT_EQUAL(ends_at("/huge", NULL), WEIR_E_PROTO);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "too long"));
	CU_ASSERT_EQUAL(ends_at("/long", NULL), WEIR_E_PROTO);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "too long"));
}

static void
handshakes_that_fail_say_why(void)
{
	struct weir_ws_conf soon = { .open_ms = 200 };
	struct weir_ws *ws;
	struct weir_ws_conf nobody = { .url = "ws://127.0.0.1:1/ws" };

	CU_ASSERT_EQUAL(ends_at("/missing", NULL), WEIR_E_NOTSUP);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "404 Not Found"));
	CU_ASSERT_EQUAL(ends_at("/liar", NULL), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(ends_at("/endless", NULL), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(ends_at("/silent", &soon), WEIR_E_STALL);
	CU_ASSERT_EQUAL(weir_ws_open(pool, &nobody, NULL, &ws, &err), WEIR_E_NET);
}

static void
silence_is_found_out_and_life_is_not_silence(void)
{
	struct weir_ws_conf quick = { .quiet_ms = 50, .answer_ms = 300 };
	const char *got;
	size_t len;
	struct weir_ws *ws;

	CU_ASSERT_EQUAL(ends_at("/deaf", &quick), WEIR_E_STALL);
	CU_ASSERT_EQUAL_FATAL(dial("/alive", &quick, &ws), WEIR_OK);
	CU_ASSERT_EQUAL(weir_ws_receive(ws, 1500, NULL, &got, &len, &err), WEIR_OK);
	CU_ASSERT_PTR_NULL(got);
	weir_ws_close(ws);
}

static void *
set_soon(void *arg)
{
	struct weir_cancel *c = arg;

	usleep(50000);
	atomic_store(&c->is_set, true);
	return NULL;
}

static void
waiting_can_be_cancelled_and_begun_again(void)
{
	struct weir_cancel c = { false };
	struct weir_ws *ws;
	const char *got;
	size_t len;
	pthread_t t;

	CU_ASSERT_EQUAL_FATAL(dial("/echo", NULL, &ws), WEIR_OK);
	CU_ASSERT_EQUAL(weir_ws_receive(ws, 0, &c, &got, &len, &err), WEIR_OK);
	CU_ASSERT_PTR_NULL(got);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, set_soon, &c), 0);
	CU_ASSERT_EQUAL(weir_ws_receive(ws, 60000, &c, &got, &len, &err), WEIR_E_CANCELED);
	pthread_join(t, NULL);
	CU_ASSERT_EQUAL(weir_ws_send(ws, "still here", NULL), WEIR_OK);
	CU_ASSERT(hears(ws, "still here"));
	weir_ws_close(ws);
	CU_ASSERT_EQUAL(weir_ws_open(pool, &(struct weir_ws_conf){ .url = "ws://127.0.0.1:1/" }, &c, &ws, &err), WEIR_E_CANCELED);
}

static void
mangled_frames_are_survived(void)
{
	int ended[WEIR_CODES] = { 0 };

	for (int i = 0; i < 1500; i++)
		ended[ends_at("/fuzz", NULL)]++;
	CU_ASSERT_EQUAL(ended[WEIR_E_NET] + ended[WEIR_E_PROTO], 1500);
	CU_ASSERT(ended[WEIR_E_PROTO] > 100);
}

static int
set_up(void)
{
	struct weir_http_pool_conf conf = { .name = "test", .stall_ms = 2000, .connect_ms = 2000 };

	signal(SIGPIPE, SIG_IGN);
	return srv_start() || weir_http_new(&http, NULL) || weir_http_pool_new(http, &conf, &pool, NULL);
}

static int
tear_down(void)
{
	weir_http_pool_free(pool);
	weir_http_free(http);
	return 0;
}

int
main(void)
{
	CU_pSuite s;
	int failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 99;
	s = CU_add_suite("ws", set_up, tear_down);
#define T(name) CU_add_test(s, #name, name)
	T(the_accept_of_the_standards_own_example);
	T(answers_are_judged);
	T(mangled_answers_are_survived);
	T(addresses_are_taken_apart);
	T(messages_go_both_ways);
	T(what_comes_with_the_handshake_is_not_lost);
	T(pieces_become_one_message);
	T(a_burst_is_heard_whole_and_in_order);
	T(pings_are_answered);
	T(a_farewell_is_told_after_what_came_before_it);
	T(what_is_no_websocket_is_refused);
	T(handshakes_that_fail_say_why);
	T(silence_is_found_out_and_life_is_not_silence);
	T(waiting_can_be_cancelled_and_begun_again);
	T(mangled_frames_are_survived);
#undef T
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = (int)(CU_get_number_of_failures() + CU_get_number_of_suites_failed());
	CU_cleanup_registry();
	return failed ? 1 : 0;
}
