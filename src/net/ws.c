/* SPDX-License-Identifier: Apache-2.0 */
/* A WebSocket's client side, see ws.h: curl carries bytes (CONNECT_ONLY), ws_hand.c knows the handshake, wslay the frames; here they meet, and
 * here is what neither does: deadlines, cancelling, pings, and limits on what the other side may make us hold.
 *
 * Bytes from there go   socket -> curl (TLS) -> early (what came behind the handshake) -> wslay -> got[] -> the caller.
 * Trap: curl may hold decrypted bytes that poll() does not show, so curl is always read until it says AGAIN before anybody sleeps. */
#include "config.h"

#include "ws.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <wslay/wslay.h>

#include "../util/text.h"
#include "../util/util.h"
#include "curl_impl.h"
#include "ws_impl.h"

#define WS_OPEN_MS 10000
#define WS_QUIET_MS 45000
#define WS_ANSWER_MS 15000
#define WS_MESSAGE_MAX (64u << 10)
#define WS_SLICE_MS 250			/* how often a cancel flag is looked at */
#define WS_GOT_MAX 32			/* messages held for the caller before more is read (what was read already comes on top) */
#define WS_READ_MAX (256u << 10)	/* bytes read at one go: a flood must not keep us from deadlines */
#define WS_ANSWERS_MAX 64		/* pongs that do not get out before we stop being polite */

struct ws_message {
	char *text;
	size_t len;
};

struct weir_ws {
	struct weir_http_pool *pool;
	struct weir_ws_conf conf;	/* url is not kept */
	struct weir_ws_url url;
	struct weir_cancel *opening;	/* of weir_ws_open(), while it runs */
	CURL *easy;
	curl_socket_t fd;
	wslay_event_context_ptr frames;	/* NULL before the handshake is done */
	struct weir_buf early;
	size_t early_at;
	size_t read_now;		/* bytes since the last look at the clock */
	struct ws_message *got;		/* [first, ngot) are to be given */
	size_t first, ngot, cap;
	char *given;			/* what the caller reads now */
	int64_t heard_ms, asked_ms;	/* asked: when the unanswered ping went out; 0: none */
	enum weir_code code;		/* why it is dead */
	struct weir_err err;
};

/* The first reason stays. */
static enum weir_code
ws_die(struct weir_ws *ws, enum weir_code code, const char *why)
{
	if (ws->code == WEIR_OK) {
		ws->code = code;
		weir_err_set(&ws->err, code, "%s: %.300s", ws->url.host, why);
	}
	return ws->code;
}

static enum weir_code
ws_dead(struct weir_ws *ws, struct weir_err *err)
{
	if (ws->code != WEIR_OK && err != NULL)
		*err = ws->err;
	return ws->code;
}

static bool
ws_is_canceled(const struct weir_cancel *c)
{
	return c != NULL && atomic_load_explicit(&c->is_set, memory_order_relaxed);
}

/* ---- bytes ---- */

/* Bytes read, 0: none there now, -1: dead. */
static ssize_t
ws_read(struct weir_ws *ws, void *buf, size_t len)
{
	size_t n = 0;
	CURLcode c = curl_easy_recv(ws->easy, buf, len, &n);

	if (c == CURLE_AGAIN)
		return 0;
	if (c == CURLE_OK && n > 0) {
		ws->heard_ms = weir_now_ms();
		ws->asked_ms = 0;
		weir_http_pool_count(ws->pool, 0, n, 0);
		return (ssize_t)n;
	}
	ws_die(ws, WEIR_E_NET, c == CURLE_OK ? "the connection was cut" : curl_easy_strerror(c));
	return -1;
}

static ssize_t
ws_write(struct weir_ws *ws, const void *buf, size_t len)
{
	size_t n = 0;
	CURLcode c = curl_easy_send(ws->easy, buf, len, &n);

	if (c == CURLE_AGAIN)
		return 0;
	if (c == CURLE_OK) {
		weir_http_pool_count(ws->pool, 0, 0, n);
		return (ssize_t)n;
	}
	ws_die(ws, WEIR_E_NET, curl_easy_strerror(c));
	return -1;
}

/* Sleeps until the socket is ready, a slice is over, or until_ms. */
static void
ws_sleep(struct weir_ws *ws, short events, int64_t until_ms)
{
	struct pollfd p = { .fd = ws->fd, .events = events };
	int64_t left = until_ms - weir_now_ms();

	if (left > WS_SLICE_MS)
		left = WS_SLICE_MS;
	if (left > 0)
		poll(&p, 1, (int)left);
}

/* ---- wslay's side ---- */

static ssize_t
ws_on_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags, void *arg)
{
	struct weir_ws *ws = arg;
	size_t left = ws->early.len - ws->early_at;
	ssize_t n = 0;

	(void)flags;
	if (left > 0) {
		n = (ssize_t)(left < len ? left : len);
		memcpy(buf, ws->early.data + ws->early_at, (size_t)n);
		ws->early_at += (size_t)n;
		return n;
	}
	if (ws->ngot - ws->first < WS_GOT_MAX && ws->read_now < WS_READ_MAX)
		n = ws_read(ws, buf, len);
	if (n > 0) {
		ws->read_now += (size_t)n;
		return n;
	}
	wslay_event_set_error(ctx, n < 0 ? WSLAY_ERR_CALLBACK_FAILURE : WSLAY_ERR_WOULDBLOCK);
	return -1;
}

static ssize_t
ws_on_send(wslay_event_context_ptr ctx, const uint8_t *buf, size_t len, int flags, void *arg)
{
	ssize_t n = ws_write(arg, buf, len);

	(void)flags;
	if (n > 0)
		return n;
	wslay_event_set_error(ctx, n < 0 ? WSLAY_ERR_CALLBACK_FAILURE : WSLAY_ERR_WOULDBLOCK);
	return -1;
}

static int
ws_on_mask(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, void *arg)
{
	(void)ctx;
	(void)arg;
	return getrandom(buf, len, 0) == (ssize_t)len ? 0 : -1;
}

static void
ws_on_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *m, void *arg)
{
	struct weir_ws *ws = arg;
	char why[192];

	(void)ctx;
	if (m->opcode == WSLAY_CONNECTION_CLOSE) {
		snprintf(why, sizeof(why), "the other side closed the connection (%u%s%.*s)", m->status_code, m->msg_length > 2 ? ": " : "",
		    m->msg_length > 2 ? (int)(m->msg_length < 125 ? m->msg_length - 2 : 123) : 0, m->msg_length > 2 ? (const char *)m->msg + 2 : "");
		ws_die(ws, WEIR_E_NET, why);
	}
	if (m->opcode != WSLAY_TEXT_FRAME)
		return;
	if (ws->ngot == ws->cap) {
		ws->cap = ws->cap > 0 ? ws->cap * 2 : 8;
		ws->got = weir_xrealloc(ws->got, ws->cap, sizeof(*ws->got));
	}
	ws->got[ws->ngot++] = (struct ws_message){ .text = weir_xstrndup(m->msg_length > 0 ? (const char *)m->msg : "", m->msg_length), .len = m->msg_length };
}

static enum weir_code
ws_frames_new(struct weir_ws *ws)
{
	static const struct wslay_event_callbacks cb = { .recv_callback = ws_on_recv, .send_callback = ws_on_send,
		.genmask_callback = ws_on_mask, .on_msg_recv_callback = ws_on_message };

	if (wslay_event_context_client_init(&ws->frames, &cb, ws) != 0)
		return ws_die(ws, WEIR_E_NOMEM, "no memory for a WebSocket");
	wslay_event_config_set_max_recv_msg_length(ws->frames, ws->conf.message_max);
	return WEIR_OK;
}

static const char *
ws_why_bad(unsigned code)
{
	switch (code) {
	case WSLAY_CODE_MESSAGE_TOO_BIG: return "it sends a message that is too long";
	case WSLAY_CODE_INVALID_FRAME_PAYLOAD_DATA: return "it sends text that is no UTF-8";
	default: return "what it sends is no WebSocket frame";
	}
}

/* Takes in what is there and lets out what waits; never sleeps. */
static enum weir_code
ws_pump(struct weir_ws *ws)
{
	ws->read_now = 0;
	/* When it was the connection, our callback has said so already: the first reason stays. */
	if (ws->code == WEIR_OK && wslay_event_recv(ws->frames) != 0)
		ws_die(ws, WEIR_E_PROTO, ws_why_bad(0));
	if (!wslay_event_get_read_enabled(ws->frames)) {
		wslay_event_send(ws->frames);	/* the farewell, as far as it goes */
		/* wslay notes what it makes of bad frames as the reason it gives there. */
		if (!wslay_event_get_close_received(ws->frames))
			ws_die(ws, WEIR_E_PROTO, ws_why_bad(wslay_event_get_status_code_sent(ws->frames)));
	}
	if (ws->code == WEIR_OK && wslay_event_send(ws->frames) != 0)
		ws_die(ws, WEIR_E_NET, "the connection was cut");
	if (wslay_event_get_queued_msg_count(ws->frames) > WS_ANSWERS_MAX)
		ws_die(ws, WEIR_E_PROTO, "it asks for answers and does not take them");
	return ws->code;
}

/* ---- opening ---- */

static int
ws_on_progress(void *arg, curl_off_t dt, curl_off_t dn, curl_off_t ut, curl_off_t un)
{
	(void)dt, (void)dn, (void)ut, (void)un;
	return ws_is_canceled(((struct weir_ws *)arg)->opening);
}

static enum weir_code
ws_connect(struct weir_ws *ws)
{
	char text[CURL_ERROR_SIZE] = "";
	CURLcode c;

	ws->easy = curl_easy_init();
	if (ws->easy == NULL || curl_easy_setopt(ws->easy, CURLOPT_URL, ws->url.curl_url) != CURLE_OK)
		return ws_die(ws, WEIR_E_NOMEM, "no memory for a connection");
	curl_easy_setopt(ws->easy, CURLOPT_CONNECT_ONLY, 1L);
	curl_easy_setopt(ws->easy, CURLOPT_HTTPPROXYTUNNEL, 1L);	/* a proxy that reads along would read frames as requests */
	curl_easy_setopt(ws->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(ws->easy, CURLOPT_USERAGENT, WEIR_USER_AGENT);	/* for the proxy */
	curl_easy_setopt(ws->easy, CURLOPT_ERRORBUFFER, text);
	curl_easy_setopt(ws->easy, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(ws->easy, CURLOPT_XFERINFOFUNCTION, ws_on_progress);
	curl_easy_setopt(ws->easy, CURLOPT_XFERINFODATA, ws);
	weir_curl_connection(ws->easy, weir_http_pool_conf(ws->pool));
	c = curl_easy_perform(ws->easy);
	curl_easy_setopt(ws->easy, CURLOPT_ERRORBUFFER, NULL);
	if (c == CURLE_ABORTED_BY_CALLBACK)
		return ws_die(ws, WEIR_E_CANCELED, "cancelled");
	if (c != CURLE_OK)
		return ws_die(ws, weir_curl_code(c, text), text[0] != '\0' ? text : curl_easy_strerror(c));
	if (curl_easy_getinfo(ws->easy, CURLINFO_ACTIVESOCKET, &ws->fd) != CURLE_OK || ws->fd == CURL_SOCKET_BAD)
		return ws_die(ws, WEIR_E_NET, "the connection was cut");
	return WEIR_OK;
}

static enum weir_code
ws_still_opening(struct weir_ws *ws, int64_t until_ms)
{
	if (ws_is_canceled(ws->opening))
		return ws_die(ws, WEIR_E_CANCELED, "cancelled");
	if (weir_now_ms() >= until_ms)
		return ws_die(ws, WEIR_E_STALL, "no answer to the WebSocket's handshake");
	return WEIR_OK;
}

/* The head of the answer, into early; returns where frames begin, 0 when it died. */
static size_t
ws_read_head(struct weir_ws *ws, int64_t until_ms)
{
	char buf[2048];

	for (;;) {
		ssize_t n = ws_read(ws, buf, sizeof(buf));
		const char *end;

		if (n < 0 || ws_still_opening(ws, until_ms) != WEIR_OK)
			return 0;
		if (n == 0) {
			ws_sleep(ws, POLLIN, until_ms);
			continue;
		}
		weir_buf_add(&ws->early, buf, (size_t)n);
		end = memmem(ws->early.data, ws->early.len, "\r\n\r\n", 4);
		if (end != NULL)
			return (size_t)(end - ws->early.data) + 4;
		if (ws->early.len > WEIR_WS_HEAD_MAX) {
			ws_die(ws, WEIR_E_PROTO, "the answer to the handshake does not end");
			return 0;
		}
	}
}

static enum weir_code
ws_shake_hands(struct weir_ws *ws)
{
	int64_t until_ms = weir_now_ms() + ws->conf.open_ms;
	WEIR_AUTO(weir_freep) char *request = NULL;
	char key[WEIR_WS_KEY_LEN + 1];
	unsigned char raw[16];
	struct weir_err err = { 0 };
	enum weir_code r;
	size_t head, len;

	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return ws_die(ws, WEIR_E_IO, "no random numbers");
	weir_base64(raw, sizeof(raw), key);
	request = weir_ws_hand_request(&ws->url, key);
	len = strlen(request);
	weir_http_pool_count(ws->pool, 1, 0, 0);
	for (size_t at = 0; at < len;) {
		ssize_t n = ws_write(ws, request + at, len - at);

		if (n < 0 || ws_still_opening(ws, until_ms) != WEIR_OK)
			return ws->code;
		if (n == 0)
			ws_sleep(ws, POLLOUT, until_ms);
		at += (size_t)n;
	}
	head = ws_read_head(ws, until_ms);
	if (head == 0)
		return ws->code;
	r = weir_ws_hand_check(ws->early.data, head, key, &err);
	if (r != WEIR_OK)
		return ws_die(ws, r, weir_err_text(&err, r));
	ws->early_at = head;
	return WEIR_OK;
}

enum weir_code
weir_ws_open(struct weir_http_pool *pool, const struct weir_ws_conf *conf, struct weir_cancel *cancel, struct weir_ws **out, struct weir_err *err)
{
	struct weir_ws *ws = weir_xcalloc(1, sizeof(*ws));
	enum weir_code r;

	ws->pool = pool;
	ws->fd = CURL_SOCKET_BAD;
	ws->early = (struct weir_buf)WEIR_BUF(WEIR_WS_HEAD_MAX + 4096);
	ws->opening = cancel;
	ws->conf = (struct weir_ws_conf){ .open_ms = conf->open_ms > 0 ? conf->open_ms : WS_OPEN_MS,
		.quiet_ms = conf->quiet_ms > 0 ? conf->quiet_ms : WS_QUIET_MS, .answer_ms = conf->answer_ms > 0 ? conf->answer_ms : WS_ANSWER_MS,
		.message_max = conf->message_max > 0 ? conf->message_max : WS_MESSAGE_MAX };
	r = weir_ws_url_parse(conf->url, &ws->url, err);
	if (r != WEIR_OK) {
		free(ws);
		return r;
	}
	if (ws_is_canceled(cancel))
		ws_die(ws, WEIR_E_CANCELED, "cancelled");
	else if (ws_connect(ws) == WEIR_OK && ws_shake_hands(ws) == WEIR_OK)
		ws_frames_new(ws);
	ws->opening = NULL;
	r = ws_dead(ws, err);
	if (r != WEIR_OK)
		weir_ws_close(ws);
	else
		*out = ws;
	return r;
}

/* ---- talking ---- */

enum weir_code
weir_ws_send(struct weir_ws *ws, const char *text, struct weir_err *err)
{
	struct wslay_event_msg m = { .opcode = WSLAY_TEXT_FRAME, .msg = (const uint8_t *)text, .msg_length = strlen(text) };
	int64_t stall_ms = weir_http_pool_conf(ws->pool)->stall_ms, moved_ms = weir_now_ms();
	size_t before;

	if (ws_dead(ws, err) != WEIR_OK)
		return ws->code;
	if (wslay_event_queue_msg(ws->frames, &m) != 0)
		return weir_err_set(err, WEIR_E_NET, "%s: the connection is being closed", ws->url.host);
	while (ws_pump(ws) == WEIR_OK && (before = wslay_event_get_queued_msg_length(ws->frames)) > 0) {
		ws_sleep(ws, POLLOUT | POLLIN, moved_ms + stall_ms);
		if (wslay_event_get_queued_msg_length(ws->frames) < before)
			moved_ms = weir_now_ms();
		else if (weir_now_ms() - moved_ms >= stall_ms)
			ws_die(ws, WEIR_E_STALL, "nothing goes out");
	}
	return ws_dead(ws, err);
}

/* Asks an other side that has been quiet whether it is there; gives up one that does not answer. */
static enum weir_code
ws_look_at_life(struct weir_ws *ws)
{
	struct wslay_event_msg ping = { .opcode = WSLAY_PING };
	int64_t now = weir_now_ms();

	if (ws->asked_ms != 0 && now - ws->asked_ms >= ws->conf.answer_ms)
		return ws_die(ws, WEIR_E_STALL, "it does not answer any more");
	if (ws->asked_ms == 0 && now - ws->heard_ms >= ws->conf.quiet_ms) {
		ws->asked_ms = now;
		if (wslay_event_queue_msg(ws->frames, &ping) != 0)
			return ws_die(ws, WEIR_E_NET, "the connection is being closed");
	}
	return WEIR_OK;
}

static int64_t
ws_next_look_ms(const struct weir_ws *ws)
{
	return ws->asked_ms != 0 ? ws->asked_ms + ws->conf.answer_ms : ws->heard_ms + ws->conf.quiet_ms;
}

enum weir_code
weir_ws_receive(struct weir_ws *ws, int64_t wait_ms, struct weir_cancel *cancel, const char **text, size_t *len, struct weir_err *err)
{
	int64_t until_ms = weir_now_ms() + wait_ms;

	*text = NULL;
	*len = 0;
	free(ws->given);
	ws->given = NULL;
	while (ws->first == ws->ngot) {
		int64_t next_ms;

		ws->first = ws->ngot = 0;
		if (ws_pump(ws) != WEIR_OK || ws->ngot > 0 || ws_look_at_life(ws) != WEIR_OK)
			break;
		if (ws_is_canceled(cancel))
			return weir_err_set(err, WEIR_E_CANCELED, "cancelled");
		if (weir_now_ms() >= until_ms)
			return WEIR_OK;
		if (ws->read_now >= WS_READ_MAX)
			continue;
		next_ms = ws_next_look_ms(ws);
		ws_sleep(ws, wslay_event_want_write(ws->frames) ? POLLIN | POLLOUT : POLLIN, next_ms < until_ms ? next_ms : until_ms);
	}
	/* What came before the end is still told. */
	if (ws->first == ws->ngot)
		return ws_dead(ws, err);
	ws->given = ws->got[ws->first].text;
	*text = ws->given;
	*len = ws->got[ws->first++].len;
	return WEIR_OK;
}

void
weir_ws_close(struct weir_ws *ws)
{
	if (ws == NULL)
		return;
	if (ws->frames != NULL && ws->code == WEIR_OK && wslay_event_queue_close(ws->frames, WSLAY_CODE_NORMAL_CLOSURE, NULL, 0) == 0)
		wslay_event_send(ws->frames);
	if (ws->frames != NULL)
		wslay_event_context_free(ws->frames);
	curl_easy_cleanup(ws->easy);
	while (ws->first < ws->ngot)
		free(ws->got[ws->first++].text);
	free(ws->got);
	free(ws->given);
	weir_buf_free(&ws->early);
	weir_ws_url_free(&ws->url);
	free(ws);
}
