/* SPDX-License-Identifier: Apache-2.0 */
/* The app notify_push and its daemon, as its source of August 2026 has it: a WebSocket at /push/ws that tells which files changed. Written for what clients trip
 * over: two messages say who somebody is, whatever kind of message comes first is taken for them, wrong pongs and missing ones end the
 * connection, news waits for half a second of quiet and then for about a second since the last, and is told before the folders' ETags need have moved.
 * One thread per connection; push_lock guards the list and what is to be told. */
#include "config.h"
#include "nc.h"
#include "util/text.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <wslay/wslay.h>

#define PUSH_AUTH_MS 15000
#define PUSH_TOKEN_MS 15000
#define PUSH_PING_MS 30000
#define PUSH_PER_USER 64
#define PUSH_IDS 256
#define PUSH_TOKENS 64

struct client {
	struct client *next;		/* push_lock, as the four below */
	uint64_t ids[PUSH_IDS];
	size_t nids;
	bool is_told, is_unknown;	/* something is to be told; and nobody knows what */
	int64_t told_ms;		/* the last thing that happened */

	/* its thread's own */
	wslay_event_context_ptr frames;
	int sock;
	char *early;			/* bytes behind the request's head */
	size_t nearly, early_at;
	char *user;			/* NULL: the first message has not come */
	bool is_in, is_over, listens_ids;
	double factor;			/* of the daemon's debouncing, for each its own */
	int64_t sent_ms, spoke_ms, tick_ms;
	uint32_t expect_pong;
};

static pthread_mutex_t push_lock = PTHREAD_MUTEX_INITIALIZER;
static struct client *push_clients;
static struct token { char text[33]; int64_t made_ms; } push_tokens[PUSH_TOKENS];	/* push_lock */
static size_t push_token_next;

/* ---- what the rest of the server calls ---- */

void
nc_push_tell(const struct nc_node *x)
{
	const struct nc_node *top = x;

	while (top->parent)
		top = top->parent;
	if (top != nc_files)
		return;
	pthread_mutex_lock(&push_lock);
	for (struct client *c = push_clients; c; c = c->next) {
		c->is_told = true;
		c->told_ms = weir_now_ms();
		if (c->nids < PUSH_IDS)
			c->ids[c->nids++] = x->id;
		else
			c->is_unknown = true;
	}
	pthread_mutex_unlock(&push_lock);
}

json_t *
nc_push_capability(const struct emu_req *req)
{
	const char *host = emu_header(req, "Host");
	WEIR_AUTO(weir_freep) char *ws = weir_xasprintf("%s://%s/push/ws", nc_on(NC_PUSH_TLS) ? "wss" : "ws", host ? host : "localhost");
	/* Servers behind a proxy that ends TLS take themselves for http, often. */
	WEIR_AUTO(weir_freep) char *auth = weir_xasprintf("http://%s/index.php/apps/notify_push/pre_auth", host ? host : "localhost");

	return json_pack("{s:[s,s,s] s:{s:s s:s*}}", "type", "files", "activities", "notifications", "endpoints", "websocket", ws,
	    "pre_auth", nc_on(NC_PUSH_NO_TOKENS) ? NULL : auth);
}

/* Whoever gets here has signed in. */
void
nc_push_pre_auth(struct emu_req *req)
{
	struct token *t;
	char text[33];

	weir_random_hex(text, 32);
	pthread_mutex_lock(&push_lock);
	t = &push_tokens[push_token_next++ % PUSH_TOKENS];
	memcpy(t->text, text, sizeof(text));
	t->made_ms = weir_now_ms();
	pthread_mutex_unlock(&push_lock);
	emu_reply_text(req, 200, "text/html; charset=utf-8", text);
}

/* ---- frames ---- */

static ssize_t
push_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags, void *arg)
{
	struct client *c = arg;
	size_t left = c->nearly - c->early_at;
	ssize_t n;

	(void)flags;
	if (left) {
		n = (ssize_t)(left < len ? left : len);
		memcpy(buf, c->early + c->early_at, (size_t)n);
		c->early_at += (size_t)n;
		return n;
	}
	n = recv(c->sock, buf, len, MSG_DONTWAIT);
	if (n > 0)
		return n;
	wslay_event_set_error(ctx, n < 0 && (errno == EAGAIN || errno == EINTR) ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static ssize_t
push_send(wslay_event_context_ptr ctx, const uint8_t *buf, size_t len, int flags, void *arg)
{
	ssize_t n = send(((struct client *)arg)->sock, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	(void)flags;
	if (n > 0)
		return n;
	wslay_event_set_error(ctx, n < 0 && (errno == EAGAIN || errno == EINTR) ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static void
push_say(struct client *c, const char *text)
{
	struct wslay_event_msg m = { .opcode = WSLAY_TEXT_FRAME, .msg = (const uint8_t *)text, .msg_length = strlen(text) };

	wslay_event_queue_msg(c->frames, &m);
	wslay_event_send(c->frames);
}

/* ---- who is it ---- */

static bool
push_take_token(const char *text)
{
	bool found = false;

	pthread_mutex_lock(&push_lock);
	for (size_t i = 0; i < PUSH_TOKENS; i++) {
		struct token *t = &push_tokens[i];

		if (!*t->text || strcmp(t->text, text) || weir_now_ms() - t->made_ms > PUSH_TOKEN_MS)
			continue;
		memset(t, 0, sizeof(*t));
		found = true;
	}
	pthread_mutex_unlock(&push_lock);
	return found;
}

static void
push_enter(struct client *c)
{
	size_t n = 0;

	push_say(c, "authenticated");
	pthread_mutex_lock(&push_lock);
	for (struct client *o = push_clients; o; o = o->next)
		n++;
	if (n <= PUSH_PER_USER) {
		c->next = push_clients;
		push_clients = c;
		c->is_in = true;
	}
	pthread_mutex_unlock(&push_lock);
	if (!c->is_in) {
		push_say(c, "Connection limit exceeded for user");
		c->is_over = true;
	}
	c->spoke_ms = weir_now_ms() - PUSH_PING_MS;	/* so that the first ping comes at once */
}

/* Blanks at the ends are nobody's. */
static char *
push_trimmed(const char *s, size_t n)
{
	while (n && strchr(" \t\r\n", *s))
		s++, n--;
	while (n && strchr(" \t\r\n", s[n - 1]))
		n--;
	return weir_xstrndup(s, n);
}

static void
push_auth(struct client *c, const struct wslay_event_on_msg_recv_arg *m)
{
	WEIR_AUTO(weir_freep) char *text = NULL;

	if (m->opcode != WSLAY_TEXT_FRAME) {
		push_say(c, "err: Invalid authentication message");
		c->is_over = true;
		return;
	}
	text = push_trimmed(m->msg ? (const char *)m->msg : "", m->msg_length);
	if (!c->user) {
		c->user = WEIR_STEAL(text);
		return;
	}
	if (push_take_token(text) || (*c->user && nc_auth_password(c->user, text))) {
		push_enter(c);
	} else {
		push_say(c, "err: Invalid credentials");
		c->is_over = true;
	}
}

static void
push_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *m, void *arg)
{
	struct client *c = arg;
	uint32_t pong = 0;

	(void)ctx;
	if (c->is_over || m->opcode == WSLAY_CONNECTION_CLOSE)
		c->is_over = true;
	else if (!c->is_in)
		push_auth(c, m);
	else if (m->opcode == WSLAY_TEXT_FRAME && m->msg_length == 21 && !memcmp(m->msg, "listen notify_file_id", 21))
		c->listens_ids = true;
	else if (m->opcode == WSLAY_PONG) {
		if (m->msg_length == sizeof(pong))
			memcpy(&pong, m->msg, sizeof(pong));
		c->is_over = m->msg_length != sizeof(pong) || pong != c->expect_pong;
		c->expect_pong = 0;
	}
}

/* ---- what it tells ---- */

static char *
push_news(struct client *c)
{
	struct weir_buf b = WEIR_BUF(64u << 10);

	if (!c->listens_ids || c->is_unknown || !c->nids)
		return weir_xstrdup("notify_file");
	for (size_t i = 0; i < c->nids; i++) {
		bool again = false;

		for (size_t k = 0; k < i; k++)
			again |= c->ids[k] == c->ids[i];
		if (!again)
			weir_buf_addf(&b, "%s%llu", b.len ? "," : "notify_file_id [", (unsigned long long)c->ids[i]);
	}
	weir_buf_addc(&b, ']');
	return weir_buf_take(&b);
}

/* After a while in which nothing happened. */
static void
push_tick(struct client *c, int64_t now)
{
	char *news = NULL;
	uint32_t ping;

	pthread_mutex_lock(&push_lock);
	if (c->is_told && now - c->sent_ms > (int64_t)(1000 * c->factor) && now - c->told_ms > 100) {
		news = push_news(c);
		c->nids = 0;
		c->is_told = c->is_unknown = false;
	}
	pthread_mutex_unlock(&push_lock);
	if (news) {
		push_say(c, news);
		free(news);
		c->sent_ms = c->spoke_ms = now;
	}
	if (now - c->spoke_ms <= PUSH_PING_MS)
		return;
	if (c->expect_pong) {
		c->is_over = true;
		return;
	}
	ping = (uint32_t)emu_random() | 1;
	c->expect_pong = ping;
	c->spoke_ms = now;
	wslay_event_queue_msg(c->frames, &(struct wslay_event_msg){ .opcode = WSLAY_PING, .msg = (uint8_t *)&ping, .msg_length = sizeof(ping) });
}

static void
push_run_once(struct client *c, int64_t came_ms)
{
	struct pollfd p = { .fd = c->sock, .events = POLLIN };
	int64_t now = weir_now_ms(), told;

	if (c->early_at == c->nearly)
		poll(&p, 1, 20);
	if (emu_stalls_all() || nc_on(NC_PUSH_DEAF)) {
		poll(NULL, 0, 20);
		return;
	}
	if (wslay_event_recv(c->frames) || !wslay_event_get_read_enabled(c->frames))
		c->is_over = true;
	if (!c->is_in && !c->is_over && now - came_ms > PUSH_AUTH_MS) {
		push_say(c, "Authentication timeout");
		c->is_over = true;
	}
	pthread_mutex_lock(&push_lock);
	told = c->told_ms;
	pthread_mutex_unlock(&push_lock);
	if (told > c->tick_ms)
		c->tick_ms = told;
	if (c->is_in && !c->is_over && now - c->tick_ms >= (int64_t)emu_value(&nc_switches[NC_PUSH_QUIET])) {
		c->tick_ms = now;
		push_tick(c, now);
	}
	if (wslay_event_send(c->frames) || nc_on(NC_PUSH_DOWN))
		c->is_over = true;
}

static void
push_run(int sock, const char *extra, size_t n, void *arg)
{
	static const struct wslay_event_callbacks cb = { .recv_callback = push_recv, .send_callback = push_send, .on_msg_recv_callback = push_message };
	struct client *c = weir_xcalloc(1, sizeof(*c));
	int64_t came_ms = weir_now_ms();

	(void)arg;
	c->sock = sock;
	c->early = weir_xstrndup(extra ? extra : "", n);
	c->nearly = n;
	c->factor = 0.5 + (double)(emu_random() % 1000) / 1000;
	c->tick_ms = came_ms;
	c->sent_ms = came_ms - 120000;
	if (wslay_event_context_server_init(&c->frames, &cb, c) == 0) {
		while (!c->is_over)
			push_run_once(c, came_ms);
		wslay_event_send(c->frames);
		wslay_event_context_free(c->frames);
	}
	pthread_mutex_lock(&push_lock);
	for (struct client **p = &push_clients; c->is_in && *p; p = &(*p)->next)
		if (*p == c) {
			*p = c->next;
			break;
		}
	pthread_mutex_unlock(&push_lock);
	free(c->user);
	free(c->early);
	free(c);
}

/* ---- the handshake ---- */

void
nc_push_ws(struct emu_req *req)
{
	const char *key = emu_header(req, "Sec-WebSocket-Key"), *up = emu_header(req, "Upgrade"), *version = emu_header(req, "Sec-WebSocket-Version");
	struct weir_digest *d;
	unsigned char sum[64];
	char accept[40];
	size_t n;

	if (nc_on(NC_PUSH_DOWN)) {	/* the proxy in front finds nobody */
		emu_reply_text(req, 502, "text/html", "<html><body>Bad Gateway</body></html>");
		return;
	}
	if (!emu_is(req, "GET") || !key || !up || strcasecmp(up, "websocket") || !version || strcmp(version, "13")) {
		emu_reply_text(req, 400, "text/plain", "Missing request header");
		return;
	}
	d = weir_digest_new("sha1");
	weir_digest_add(d, key, strlen(key));
	weir_digest_add(d, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
	n = weir_digest_end(d, sum);
	weir_base64(sum, n, accept);
	emu_out(req, "Upgrade", "websocket");
	emu_out(req, "Sec-WebSocket-Accept", accept);
	req->upgraded = push_run;
	emu_reply(req, 101);
}
