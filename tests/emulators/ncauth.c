/* SPDX-License-Identifier: Apache-2.0 */
/* Who is asking: Basic and Bearer, the brute-force brake, and Login Flow v2. */
#include "config.h"
#include "nc.h"
#include "util/text.h"
#include <string.h>
#include <strings.h>

#define AUTH_FAILURES_MAX 10
#define AUTH_WINDOW_MS (30 * 60 * 1000)
#define AUTH_FLOW_MS (1200 * 1000)
#define AUTH_FLOWS 16

static pthread_mutex_t auth_lock = PTHREAD_MUTEX_INITIALIZER;
static int auth_failures;		/* under auth_lock, as all below */
static int64_t auth_since_ms;
static struct auth_flow {
	char token[129], poll[129], password[73];
	int64_t made_ms;
	bool is_granted;
} auth_flows[AUTH_FLOWS];
static size_t auth_flow_next;

void
nc_auth_reset(void)
{
	pthread_mutex_lock(&auth_lock);
	auth_failures = 0;
	pthread_mutex_unlock(&auth_lock);
}

bool
nc_auth_failed_too_often(void)
{
	bool r;

	pthread_mutex_lock(&auth_lock);
	if (auth_failures && weir_now_ms() - auth_since_ms > AUTH_WINDOW_MS)
		auth_failures = 0;
	r = auth_failures > AUTH_FAILURES_MAX;
	pthread_mutex_unlock(&auth_lock);
	return r && !nc_on(NC_BRUTEFORCE_OFF);
}

static void
auth_note_failure(void)
{
	pthread_mutex_lock(&auth_lock);
	if (!auth_failures++)
		auth_since_ms = weir_now_ms();
	pthread_mutex_unlock(&auth_lock);
}

static void
auth_refuse(struct emu_req *req, const char *message)
{
	emu_out(req, "WWW-Authenticate", "Basic realm=\"Nextcloud\", charset=\"UTF-8\"");
	nc_error(req, 401, "NotAuthenticated", message);
}

static bool
auth_basic(const char *b64)
{
	unsigned char raw[1024];
	ssize_t n = weir_unbase64(b64, raw, sizeof(raw) - 1);
	char *colon;

	if (n <= 0)
		return false;
	raw[n] = 0;
	colon = strchr((char *)raw, ':');
	if (!colon)
		return false;
	*colon++ = 0;
	return (!strcmp((char *)raw, nc_conf.user) || !strcmp((char *)raw, nc_conf.login)) &&
	       (!strcmp(colon, nc_conf.password) || (*colon && nc_password_known(colon)));
}

bool
nc_auth_password(const char *user, const char *password)
{
	WEIR_AUTO(weir_freep) char *both = weir_xasprintf("%s:%s", user, password);
	WEIR_AUTO(weir_freep) char *b64 = weir_xcalloc(1, weir_base64_len(strlen(both)));

	weir_base64(both, strlen(both), b64);
	if (!nc_auth_failed_too_often() && !nc_on(NC_UNAUTHORIZED) && auth_basic(b64))
		return true;
	auth_note_failure();
	return false;
}

bool
nc_auth(struct emu_req *req)
{
	const char *h = emu_header(req, "Authorization");

	if (nc_auth_failed_too_often()) {
		nc_error(req, 429, "TooManyRequests", "Too many failed logins, try again later");
		return false;
	}
	if (nc_on(NC_UNAUTHORIZED) || emu_take(&nc_switches[NC_UNAUTHORIZED_NEXT])) {
		auth_refuse(req, "The session has ended");
		return false;
	}
	if (!h) {
		auth_refuse(req, "No public access to this resource., No 'Authorization: Basic' header found.");
		return false;
	}
	if (!strncasecmp(h, "Basic ", 6) && auth_basic(h + 6 + strspn(h + 6, " ")))
		return true;
	if (!strncasecmp(h, "Bearer ", 7) && ((nc_conf.bearer && !strcmp(h + 7, nc_conf.bearer)) || nc_password_known(h + 7)))
		return true;
	auth_note_failure();
	if (!strncasecmp(h, "Bearer ", 7))
		nc_error(req, 401, "NotAuthenticated", "Bearer token was incorrect");
	else
		auth_refuse(req, "Cannot authenticate, username or password was incorrect");
	return false;
}

/* ---- Login Flow v2 ---- */

static char *
auth_base(const struct emu_req *req)
{
	const char *host = emu_header(req, "Host");

	return weir_xasprintf("http://%s", host ? host : "127.0.0.1");
}

static void
auth_json(struct emu_req *req, unsigned status, json_t *o)
{
	char *text = json_dumps(o, JSON_COMPACT);

	json_decref(o);
	emu_reply_text(req, status, "application/json; charset=utf-8", text ? text : "");
	free(text);
}

void
nc_login_start(struct emu_req *req)
{
	WEIR_AUTO(weir_freep) char *base = auth_base(req), *endpoint = weir_xasprintf("%s/login/v2/poll", base), *login = NULL;
	struct auth_flow *f;
	char poll[129];

	pthread_mutex_lock(&auth_lock);
	f = &auth_flows[auth_flow_next++ % AUTH_FLOWS];
	memset(f, 0, sizeof(*f));
	weir_random_hex(f->token, 128);
	weir_random_hex(f->poll, 128);
	f->made_ms = weir_now_ms();
	login = weir_xasprintf("%s/login/v2/flow/%s", base, f->token);
	memcpy(poll, f->poll, sizeof(poll));
	pthread_mutex_unlock(&auth_lock);
	auth_json(req, 200, json_pack("{s:{s:s s:s} s:s}", "poll", "token", poll, "endpoint", endpoint, "login", login));
}

/* The page a browser opens: whoever signs in here grants the flow. */
void
nc_login_flow(struct emu_req *req, const char *token)
{
	bool found = false;

	if (!nc_auth(req))
		return;
	pthread_mutex_lock(&auth_lock);
	for (size_t i = 0; i < AUTH_FLOWS; i++)
		if (*auth_flows[i].token && !strcmp(auth_flows[i].token, token)) {
			auth_flows[i].is_granted = found = true;
			weir_random_hex(auth_flows[i].password, 72);
		}
	pthread_mutex_unlock(&auth_lock);
	emu_reply_text(req, found ? 200 : 404, "text/html", found ? "<html><body>Account connected</body></html>" : "<html><body>Not found</body></html>");
}

/* "token=…" of a form; owned. */
static char *
auth_form_token(const struct emu_req *req)
{
	const char *body = weir_buf_str(&nc_of(req)->mem), *p = strstr(body, "token=");

	return p ? emu_decode(p + 6, strcspn(p + 6, "&"), true) : NULL;
}

void
nc_login_poll(struct emu_req *req)
{
	WEIR_AUTO(weir_freep) char *token = auth_form_token(req), *base = auth_base(req);
	char password[73] = "";

	pthread_mutex_lock(&auth_lock);
	for (size_t i = 0; token && i < AUTH_FLOWS; i++) {
		struct auth_flow *f = &auth_flows[i];

		if (!*f->poll || strcmp(f->poll, token) || !f->is_granted || weir_now_ms() - f->made_ms > AUTH_FLOW_MS)
			continue;
		memcpy(password, f->password, sizeof(password));
		memset(f, 0, sizeof(*f));
	}
	pthread_mutex_unlock(&auth_lock);
	if (!*password) {
		emu_reply_text(req, 404, "application/json; charset=utf-8", "[]");
		return;
	}
	pthread_mutex_lock(&nc_lock);
	nc_password_add(password);
	pthread_mutex_unlock(&nc_lock);
	auth_json(req, 200, json_pack("{s:s s:s s:s}", "server", base, "loginName", nc_conf.login, "appPassword", password));
}
