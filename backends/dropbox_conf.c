/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration of a Dropbox remote, and how a person signs in to it.
 *
 * Keys, for the manual:
 *   client_id          required: the app key of an app made at https://www.dropbox.com/developers/apps
 *   client_secret      (or client_secret_file, client_secret_command) only when the app shall prove itself; PKCE does without
 *   token_file         where the tokens lie; default beside weir.conf
 *   root               folder that is the root of the remote; default: all (of an App folder app: its folder)
 *   team_space         yes: the tree of the whole team, not of the own folder in it
 *   root_namespace     number of one namespace that is the root
 *   api_url, content_url, notify_url, auth_url, token_url, revoke_url    other addresses (proxies, tests) */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "dropbox_impl.h"

#define CONF_API "https://api.dropboxapi.com"
#define CONF_CONTENT "https://content.dropboxapi.com"
#define CONF_NOTIFY "https://notify.dropboxapi.com"
#define CONF_AUTH "https://www.dropbox.com/oauth2/authorize"
#define CONF_SCOPES "account_info.read files.metadata.read files.metadata.write files.content.read files.content.write"

const char *const weir_dropbox_keys[] = { "client_id", "client_secret", "client_secret_file", "client_secret_command", "token_file", "root",
	"team_space", "root_namespace", "api_url", "content_url", "notify_url", "auth_url", "token_url", "revoke_url", NULL };

/* https; plain http to this host only (tests, proxies that run beside us): tokens travel there. */
static enum weir_code
conf_url(const struct weir_remote_conf *rc, const char *key, const char *def, char **out, struct weir_err *err)
{
	const char *v = weir_conf_get(rc, key);
	WEIR_AUTO(weir_freep) char *url = weir_xstrdup(v == NULL ? def : v);

	if (!weir_http_url_is_safe(url) || strpbrk(url, "@?# ") != NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': %s must be an https address, not '%s'", rc->name, key, url);
	for (size_t n = strlen(url); n > 0 && url[n - 1] == '/'; n--)
		url[n - 1] = '\0';
	*out = WEIR_STEAL(url);
	return WEIR_OK;
}

static enum weir_code
conf_app(const struct weir_remote_conf *rc, struct weir_oauth_app *app, struct weir_err *err)
{
	const char *id = weir_conf_get(rc, "client_id");
	WEIR_AUTO(weir_freep) char *api = NULL, *token = NULL, *revoke = NULL;
	enum weir_code r;

	if (id == NULL || *id == '\0')
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s' needs client_id: the app key of an app of your own, made at "
		    "https://www.dropbox.com/developers/apps; weir.conf(5) says how", rc->name);
	app->client_id = weir_xstrdup(id);
	r = weir_conf_secret(rc, "client_secret", &app->client_secret, err);
	if (r == WEIR_OK)
		r = conf_url(rc, "api_url", CONF_API, &api, err);
	if (r != WEIR_OK)
		return r;
	token = weir_xasprintf("%s/oauth2/token", api);
	revoke = weir_xasprintf("%s/2/auth/token/revoke", api);
	r = conf_url(rc, "auth_url", CONF_AUTH, &app->auth_url, err);
	if (r == WEIR_OK)
		r = conf_url(rc, "token_url", token, &app->token_url, err);
	if (r == WEIR_OK)
		r = conf_url(rc, "revoke_url", revoke, &app->revoke_url, err);
	if (r != WEIR_OK)
		return r;
	app->scope = weir_xstrdup(CONF_SCOPES);
	app->auth_extra = weir_xstrdup("token_access_type=offline");	/* without it there is no refresh token */
	app->code_redirect = weir_xstrdup("");				/* Dropbox shows the code itself */
	app->revokes_by_bearer = true;
	return weir_conf_token_file(rc, &app->token_file, err);
}

static enum weir_code
conf_root(struct dropbox *s, const struct weir_remote_conf *rc, struct weir_err *err)
{
	const char *v = weir_conf_get(rc, "root"), *ns = weir_conf_get(rc, "root_namespace");
	WEIR_AUTO(weir_buf_free) struct weir_buf b = WEIR_BUF(64u << 10);
	WEIR_AUTO(weir_freep) char *root = weir_xstrdup(v == NULL ? "" : v + strspn(v, "/"));
	enum weir_code r;

	for (size_t n = strlen(root); n > 0 && root[n - 1] == '/'; n--)
		root[n - 1] = '\0';
	r = weir_dropbox_path_add(&b, root, false, err);
	if (r != WEIR_OK)
		return weir_err_wrap(err, WEIR_E_CONFIG, "remote '%s': root", rc->name);
	s->root = weir_buf_take(&b);
	r = weir_conf_bool(rc, "team_space", false, &s->is_team_space, err);
	if (r != WEIR_OK)
		return r;
	if (ns != NULL && (s->is_team_space || *ns == '\0' || strspn(ns, "0123456789") != strlen(ns)))
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': root_namespace is a number, and goes without team_space", rc->name);
	if (ns != NULL)
		s->path_root = weir_xasprintf("{\".tag\":\"namespace_id\",\"namespace_id\":\"%s\"}", ns);
	s->is_root_known = !s->is_team_space;
	return WEIR_OK;
}

enum weir_code
weir_dropbox_conf_read(struct dropbox *s, const struct weir_remote_conf *rc, struct weir_oauth_app *app, struct weir_err *err)
{
	enum weir_code r = conf_app(rc, app, err);

	s->name = weir_xstrdup(rc->name);
	if (r == WEIR_OK)
		r = conf_root(s, rc, err);
	if (r == WEIR_OK)
		r = conf_url(rc, "api_url", CONF_API, &s->api_url, err);
	if (r == WEIR_OK)
		r = conf_url(rc, "content_url", CONF_CONTENT, &s->content_url, err);
	if (r == WEIR_OK)
		r = conf_url(rc, "notify_url", CONF_NOTIFY, &s->notify_url, err);
	if (r != WEIR_OK)
		return r;
	s->client_id = weir_xstrdup(app->client_id);
	if (strcmp(s->api_url, CONF_API) != 0)
		s->base_url = weir_xstrdup(s->api_url);
	return WEIR_OK;
}

enum weir_code
weir_dropbox_sign_in(const struct weir_remote_conf *rc, struct weir_sign_in *out, struct weir_err *err)
{
	out->kind = WEIR_SIGN_IN_OAUTH;
	out->advice = "Dropbox asks for an app of your own: make one at https://www.dropbox.com/developers/apps (scoped access), tick "
		"account_info.read and the four files.* permissions there, and put its app key into client_id.";
	return conf_app(rc, &out->app, err);
}
