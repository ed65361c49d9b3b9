/* SPDX-License-Identifier: Apache-2.0 */
/* The opening handshake of a WebSocket, see ws_impl.h. Every byte of an answer is another machine's word. */
#include "config.h"

#include "ws_impl.h"

#include <curl/curl.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "../util/text.h"
#include "../util/util.h"
#include "curl_impl.h"

/* ---- the address ---- */

static char *
url_part(CURLU *u, CURLUPart part, unsigned flags)
{
	char *got = NULL, *copy;

	if (curl_url_get(u, part, &got, flags) != CURLUE_OK)
		return NULL;
	copy = weir_xstrdup(got);
	curl_free(got);
	return copy;
}

enum weir_code
weir_ws_url_parse(const char *url, struct weir_ws_url *out, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *user = NULL, *path = NULL, *query = NULL;
	bool is_tls = strncasecmp(url, "wss://", 6) == 0;
	CURLU *u;

	memset(out, 0, sizeof(*out));
	if (!is_tls && strncasecmp(url, "ws://", 5) != 0)
		return weir_err_set(err, WEIR_E_CONFIG, "'%.200s' is no WebSocket's address (ws:// or wss://)", url);
	out->curl_url = weir_xasprintf("%s%.*s", is_tls ? "https" : "http", (int)strcspn(url, "#") - (is_tls ? 3 : 2), url + (is_tls ? 3 : 2));
	u = curl_url();
	if (u != NULL && curl_url_set(u, CURLUPART_URL, out->curl_url, CURLU_PATH_AS_IS) == CURLUE_OK) {
		user = url_part(u, CURLUPART_USER, 0);
		path = url_part(u, CURLUPART_PATH, 0);
		query = url_part(u, CURLUPART_QUERY, 0);
		out->host = weir_http_url_host(out->curl_url);
	}
	curl_url_cleanup(u);
	/* Blanks and line breaks: curl takes some of them, a request line must not. */
	if (out->host == NULL || path == NULL || user != NULL || url[strcspn(url, " \t\r\n")] != '\0') {
		weir_ws_url_free(out);
		return weir_err_set(err, WEIR_E_CONFIG, "'%.200s' is no WebSocket's address", user != NULL ? "(an address with a user in it)" : url);
	}
	out->target = weir_xasprintf("%s%s%s", path, query != NULL ? "?" : "", query != NULL ? query : "");
	return WEIR_OK;
}

void
weir_ws_url_free(struct weir_ws_url *u)
{
	free(u->curl_url);
	free(u->host);
	free(u->target);
	memset(u, 0, sizeof(*u));
}

/* ---- request and answer ---- */

char *
weir_ws_hand_request(const struct weir_ws_url *u, const char *key)
{
	return weir_xasprintf("GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\n"
	    "Sec-WebSocket-Version: 13\r\nUser-Agent: " WEIR_USER_AGENT "\r\n\r\n", u->target, u->host, key);
}

void
weir_ws_hand_accept(const char *key, char out[29])
{
	struct weir_digest *d = weir_digest_new("sha1");
	unsigned char sum[64];
	size_t n;

	weir_digest_add(d, key, strlen(key));
	weir_digest_add(d, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);	/* RFC 6455 section 1.3 */
	n = weir_digest_end(d, sum);
	weir_base64(sum, n, out);
}

/* The value of the header line at p, without blanks around it; NULL: a line of another name. */
static const char *
hand_value(const char *line, size_t len, const char *name, size_t *n)
{
	size_t k = strlen(name);
	const char *v = line + k + 1, *end = line + len;

	if (len <= k || line[k] != ':' || strncasecmp(line, name, k) != 0)
		return NULL;
	while (v < end && (*v == ' ' || *v == '\t'))
		v++;
	while (end > v && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
		end--;
	*n = (size_t)(end - v);
	return v;
}

/* Is the word among the comma-separated ones? */
static bool
hand_lists(const char *v, size_t n, const char *word)
{
	size_t w = strlen(word), skip;

	for (; n > 0; v += skip, n -= skip) {
		size_t len = 0;

		while (n > 0 && (*v == ' ' || *v == '\t' || *v == ','))
			v++, n--;
		while (len < n && v[len] != ',')
			len++;
		skip = len;
		while (len > 0 && (v[len - 1] == ' ' || v[len - 1] == '\t'))
			len--;
		if (len == w && strncasecmp(v, word, w) == 0)
			return true;
	}
	return false;
}

struct hand { bool has_upgrade, has_connection, has_accept, has_extra; };

static void
hand_line(struct hand *h, const char *line, size_t len, const char *accept)
{
	const char *v;
	size_t n;

	if ((v = hand_value(line, len, "Upgrade", &n)) != NULL)
		h->has_upgrade |= hand_lists(v, n, "websocket");
	else if ((v = hand_value(line, len, "Connection", &n)) != NULL)
		h->has_connection |= hand_lists(v, n, "upgrade");
	else if ((v = hand_value(line, len, "Sec-WebSocket-Accept", &n)) != NULL)
		h->has_accept = n == strlen(accept) && memcmp(v, accept, n) == 0;
	else if (hand_value(line, len, "Sec-WebSocket-Extensions", &n) != NULL || hand_value(line, len, "Sec-WebSocket-Protocol", &n) != NULL)
		h->has_extra |= n > 0;	/* we asked for none: its frames would mean something else to it than to us */
}

static enum weir_code
hand_refused(const char *head, size_t len, struct weir_err *err)
{
	int status = (head[9] - '0') * 100 + (head[10] - '0') * 10 + head[11] - '0';
	size_t n = strcspn(head, "\r\n");

	(void)len;
	return weir_err_set(err, status == 429 || status == 503 ? WEIR_E_THROTTLED : status / 100 == 5 ? WEIR_E_SERVER : WEIR_E_NOTSUP,
	    "no WebSocket there: it answers '%.*s'", (int)(n < 120 ? n : 120), head);
}

enum weir_code
weir_ws_hand_check(const char *head, size_t len, const char *key, struct weir_err *err)
{
	char accept[29];
	struct hand h = { 0 };

	if (len < 16 || memchr(head, '\0', len) != NULL || strncmp(head, "HTTP/1.1 ", 9) != 0 || strspn(head + 9, "0123456789") != 3)
		return weir_err_set(err, WEIR_E_PROTO, "what answers there speaks no HTTP/1.1");
	if (strncmp(head + 9, "101", 3) != 0)
		return hand_refused(head, len, err);
	weir_ws_hand_accept(key, accept);
	for (size_t at = 0; at < len;) {
		const char *end = memchr(head + at, '\n', len - at);
		size_t n = end != NULL ? (size_t)(end - head) - at : len - at;

		hand_line(&h, head + at, n, accept);
		at += n + 1;
	}
	if (!h.has_upgrade || !h.has_connection || !h.has_accept || h.has_extra)
		return weir_err_set(err, WEIR_E_PROTO, "the handshake's answer is not one to ours: %s", !h.has_upgrade || !h.has_connection ?
		    "it does not upgrade to a WebSocket" : h.has_extra ? "it names extensions that nobody asked for" : "Sec-WebSocket-Accept is wrong");
	return WEIR_OK;
}
