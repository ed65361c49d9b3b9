/* SPDX-License-Identifier: Apache-2.0 */
/* Login Flow v2: the server gives an address to open and one to ask; when the person has agreed in the browser, the second answers, once, with a name and
 * an app password. (Nextcloud developer manual, "Login Flow"; seen: 404 with [] until then.) */
#include "config.h"

#include "signin.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../util/text.h"

#define FLOW2_LIFE_MS 1200000	/* the server forgets after that */
#define FLOW2_STEP_MS 1000
#define FLOW2_LOST_MS 60000	/* a network that comes back within that is no reason to begin anew */

/* One POST; the JSON of a 200 into *out (NULL for another status). */
static enum weir_code
flow2_post(struct weir_http_pool *pool, const char *url, const char *form, int *status, json_t **out, struct weir_err *err)
{
	char host[65] = "", agent[128];
	const char *headers[] = {agent, "Accept: application/json", "Content-Type: application/x-www-form-urlencoded", NULL};
	struct weir_http_req req = {.method = "POST", .url = url, .headers = headers, .body = form, .body_len = strlen(form), .has_body = true};
	struct weir_http_resp resp = {0};
	enum weir_code r;

	gethostname(host, sizeof(host) - 1);
	snprintf(agent, sizeof(agent), "User-Agent: weir (%.64s)", host);	/* shown among the devices of the account */
	r = weir_http_perform(pool, &req, &resp, err);
	*status = r == WEIR_OK ? resp.status : 0;
	*out = r == WEIR_OK && resp.status == 200 ? json_loads(weir_buf_str(&resp.body), 0, NULL) : NULL;
	if (resp.body.data != NULL)
		explicit_bzero(resp.body.data, resp.body.cap);
	weir_http_resp_free(&resp);
	return r;
}

/* What comes from the server is shown in a browser and sent a token: an address without surprises, and with TLS if the server's own has it. */
static bool
flow2_is_address(const char *url, const char *server)
{
	bool is_tls = url != NULL && strncmp(url, "https://", 8) == 0;

	if (url == NULL || (!is_tls && (strncmp(url, "http://", 7) != 0 || strncmp(server, "https://", 8) == 0)))
		return false;
	for (const char *p = url; *p != '\0'; p++) {
		if (*p < 0x21 || *p > 0x7e)
			return false;
	}
	return true;
}

static enum weir_code
flow2_start(struct weir_http_pool *pool, const char *server, json_t **out, struct weir_err *err)
{
	size_t n = strlen(server);
	WEIR_AUTO(weir_freep) char *url = NULL;
	json_t *o = NULL, *p;
	int status;
	enum weir_code r;

	while (n > 0 && server[n - 1] == '/')
		n--;
	url = weir_xasprintf("%.*s/index.php/login/v2", (int)n, server);
	r = flow2_post(pool, url, "", &status, &o, err);
	if (r != WEIR_OK)
		return r;
	p = json_object_get(o, "poll");
	if (json_string_value(json_object_get(p, "token")) == NULL || json_string_value(json_object_get(o, "login")) == NULL) {
		json_decref(o);
		return weir_err_set(err, WEIR_E_PROTO, "the server at '%s' offers no sign-in by browser (HTTP %d)", server, status);
	}
	if (!flow2_is_address(json_string_value(json_object_get(o, "login")), server) ||
	    !flow2_is_address(json_string_value(json_object_get(p, "endpoint")), server)) {
		json_decref(o);
		return weir_err_set(err, WEIR_E_PROTO, "the server at '%s' names an address without TLS, or none; its 'overwriteprotocol' may be wrong", server);
	}
	*out = o;
	return WEIR_OK;
}

/* Is this the end? *r then says how. */
static bool
flow2_asked(enum weir_code *r, int status, json_t *o, int64_t heard_ms, char **user, char **secret, struct weir_err *err)
{
	const char *name = json_string_value(json_object_get(o, "loginName")), *password = json_string_value(json_object_get(o, "appPassword"));

	if (*r != WEIR_OK)
		return !weir_code_retry(*r) || weir_now_ms() - heard_ms > FLOW2_LOST_MS;
	if (status == 200 && name != NULL && password != NULL && strpbrk(name, "\r\n") == NULL && strpbrk(password, "\r\n") == NULL) {
		*user = weir_xstrdup(name);
		*secret = weir_xstrdup(password);
		return true;
	}
	if (status == 404 || status == 429 || status >= 500)
		return false;
	*r = weir_err_set(err, WEIR_E_PROTO, "unexpected answer of the server to the sign-in (HTTP %d)", status);
	return true;
}

enum weir_code
weir_signin_flow2(struct weir_signin_net *net, const char *url, bool without_browser, char **user, char **secret, struct weir_err *err)
{
	struct weir_buf form = WEIR_BUF(16u << 10);
	int64_t end = weir_now_ms() + FLOW2_LIFE_MS, heard_ms = weir_now_ms();
	json_t *flow = NULL, *o;
	const char *login, *token;
	bool is_over = false;
	int status;
	enum weir_code r = flow2_start(net->pool, url, &flow, err);

	if (r != WEIR_OK)
		return r;
	login = json_string_value(json_object_get(flow, "login"));
	token = json_string_value(json_object_get(json_object_get(flow, "poll"), "token"));
	fprintf(stderr, "Open this address in a browser, sign in there and allow the access:\n\n  %s\n\nwaiting …\n", login);
	if (!without_browser)
		weir_signin_browse(login);
	weir_buf_adds(&form, "token=");
	weir_url_encode(&form, token, strlen(token), "");
	while (!is_over && weir_now_ms() < end) {
		poll(NULL, 0, FLOW2_STEP_MS);
		r = flow2_post(net->pool, json_string_value(json_object_get(json_object_get(flow, "poll"), "endpoint")), weir_buf_str(&form), &status, &o, err);
		if (r == WEIR_OK)
			heard_ms = weir_now_ms();
		is_over = flow2_asked(&r, status, o, heard_ms, user, secret, err);
		json_decref(o);
	}
	if (!is_over)
		r = weir_err_set(err, WEIR_E_TIMEDOUT, "nobody allowed the access within 20 minutes");
	weir_buf_free(&form);
	json_decref(flow);
	return r;
}
