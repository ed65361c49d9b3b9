/* SPDX-License-Identifier: Apache-2.0 */
/* A WebSocket (RFC 6455), client side: messages of text that both ends send when they like, over one connection that stays open. The connection
 * is curl's (TLS verified, proxy and authorities of the pool, as every request), the framing is wslay's, the handshake is ours. No extensions, no
 * subprotocols, no redirects; the answer's Sec-WebSocket-Accept is checked. Nothing secret goes into the handshake: who connects says who it
 * is in messages, once it knows whom it talks to. Why not curl's own WebSockets: Debian 12 builds libcurl without them.
 *
 * Threads: one at a time may call into a connection; there is no thread behind it, so pings are answered and sent only while somebody
 * is in weir_ws_receive(). Connections need no engine (struct weir_http) to run, but their pool must outlive them.
 * SIGPIPE must be ignored or blocked by the process.
 * Once a call has failed, all later ones fail with the same code and sentence: only weir_ws_close() is left to do. */
#ifndef WEIR_WS_H
#define WEIR_WS_H
#include "http.h"

struct weir_ws;

struct weir_ws_conf {
	const char *url;		/* "ws://…" or "wss://…", encoded; CONFIG if it is anything else, or names a user */
	int64_t open_ms;		/* the handshake's answer must have come so long after the connection stood (that has the pool's connect_ms). 0: 10 s */
	int64_t quiet_ms;		/* after so long without a byte from there we ask whether it lives (ping). 0: 45 s */
	int64_t answer_ms;		/* … and without a byte for so long after that it is dead: STALL. 0: 15 s */
	size_t message_max;		/* bytes of one message, all its pieces together; a longer one ends the connection with PROTO. 0: 64 KiB */
};

/* Connects and shakes hands; blocks. NET, STALL, TLS and CANCELED as weir_http_perform(); CONFIG: the url; THROTTLED (429, 503) and SERVER (other
 * 5xx): whoever is in front has nobody behind it; NOTSUP: an HTTP server that speaks no WebSocket there (any other status, named in the sentence);
 * PROTO: an answer that is none. *out only on success. cancel may be NULL; noticed within a second while connecting, 250 ms later. */
enum weir_code weir_ws_open(struct weir_http_pool *, const struct weir_ws_conf *, struct weir_cancel *, struct weir_ws **out, struct weir_err *);

/* One text message, sent whole before it returns. text is UTF-8. NET, STALL (nothing went out for the pool's stall_ms). */
enum weir_code weir_ws_send(struct weir_ws *, const char *text, struct weir_err *);

/* The next text message: *text is borrowed until the next call, terminated (what it holds may hold NULs of its own: *len). WEIR_OK with *text
 * NULL: wait_ms went by without one (0: only what is there already). Binary messages are skipped. NET: the other side closed, with its reason in
 * the sentence, or the network did. STALL: no life. PROTO: what came is no WebSocket (bad frames, bad UTF-8, a message too long).
 * CANCELED: noticed within 250 ms; the connection is as good as before. */
enum weir_code weir_ws_receive(struct weir_ws *, int64_t wait_ms, struct weir_cancel *, const char **text, size_t *len, struct weir_err *);

/* Says goodbye if that goes without waiting, closes, frees. NULL is fine. */
void weir_ws_close(struct weir_ws *);

#endif
