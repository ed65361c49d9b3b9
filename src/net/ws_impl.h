/* SPDX-License-Identifier: Apache-2.0 */
/* The opening handshake of RFC 6455 section 4.1 as text, without any connection: for ws.c, and for tests. */
#ifndef WEIR_WS_IMPL_H
#define WEIR_WS_IMPL_H
#include "../util/err.h"
#include <stdbool.h>
#include <stddef.h>

#define WEIR_WS_KEY_LEN 24		/* base64 of 16 bytes */
#define WEIR_WS_HEAD_MAX 16384		/* an answer whose head is longer is refused */

/* The address in parts. Owned strings. CONFIG: no ws:// or wss:// address, or one with a user in it. */
struct weir_ws_url { char *curl_url, *host, *target; };	/* "https://host:port/…" for curl; "host[:port]" for Host:; "/path?query" */
enum weir_code weir_ws_url_parse(const char *url, struct weir_ws_url *, struct weir_err *);
void weir_ws_url_free(struct weir_ws_url *);

/* The request; owned. key: WEIR_WS_KEY_LEN characters. */
char *weir_ws_hand_request(const struct weir_ws_url *, const char *key);
/* What Sec-WebSocket-Accept must say to that key. */
void weir_ws_hand_accept(const char *key, char out[29]);
/* head: everything up to and including the empty line. Codes as weir_ws_open(). */
enum weir_code weir_ws_hand_check(const char *head, size_t len, const char *key, struct weir_err *);

#endif
