/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration of a Google Drive remote. weir.conf(5) is its manual. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "drive_impl.h"

#define CONF_SCOPE "https://www.googleapis.com/auth/"

const char *const weir_drive_keys[] = { "client_id", "client_secret", "client_secret_file", "client_secret_command", "token_file",
	"service_account_file", "subject", "scope", "root_folder_id", "shared_drive", "shared_with_me", "trash", "export_formats",
	"acknowledge_abuse", "api_url", "upload_url", "auth_url", "token_url", "revoke_url", NULL };

/* https; plain http to this host only (tests, proxies that run beside us). */
static enum weir_code
conf_url(const struct weir_remote_conf *rc, const char *key, const char *def, char **out, struct weir_err *err)
{
	const char *v = weir_conf_get(rc, key);
	WEIR_AUTO(weir_freep) char *url = weir_xstrdup(v == NULL ? def : v);
	size_t n = strlen(url);

	if (!weir_http_url_is_safe(url) || strstr(url, "://") == NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': %s must be an https address, not '%s'", rc->name, key, url);
	while (n > 0 && url[n - 1] == '/')
		url[--n] = '\0';
	*out = WEIR_STEAL(url);
	return WEIR_OK;
}

/* A base of the API; a host alone stands for the API at its usual place there. */
static enum weir_code
conf_base(const struct weir_remote_conf *rc, const char *key, const char *path, char **out, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *url = NULL;
	enum weir_code r = conf_url(rc, key, "https://www.googleapis.com", &url, err);

	if (r != WEIR_OK)
		return r;
	*out = strchr(strstr(url, "://") + 3, '/') == NULL ? weir_xasprintf("%s%s", url, path) : WEIR_STEAL(url);
	return WEIR_OK;
}

/* "drive" or "drive.readonly drive.file", or whole addresses: as Google wants them. */
static char *
conf_scope(const char *words)
{
	struct weir_buf b = WEIR_BUF(64u << 10);

	for (const char *p = words + strspn(words, ", \t"); *p != '\0'; p += strspn(p, ", \t")) {
		size_t n = strcspn(p, ", \t");

		weir_buf_addf(&b, "%s%s%.*s", b.len > 0 ? " " : "", strncmp(p, "https://", 8) == 0 ? "" : CONF_SCOPE, (int)n, p);
		p += n;
	}
	return weir_buf_take(&b);
}

static enum weir_code
conf_who(const struct weir_remote_conf *rc, struct weir_oauth_app *app, struct weir_err *err)
{
	enum weir_code r;

	app->service_account_file = weir_xstrdup(weir_conf_get(rc, "service_account_file"));
	app->subject = weir_xstrdup(weir_conf_get(rc, "subject"));
	app->client_id = weir_xstrdup(weir_conf_get(rc, "client_id"));
	r = weir_conf_secret(rc, "client_secret", &app->client_secret, err);
	if (r != WEIR_OK)
		return r;
	if (app->service_account_file != NULL && app->client_id != NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': either client_id (a person signs in) or service_account_file", rc->name);
	if (app->service_account_file == NULL && app->client_id == NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s' needs client_id and client_secret of an app of your own (or service_account_file); "
		    "weir.conf(5) says how to make one", rc->name);
	if (app->subject != NULL && app->service_account_file == NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': subject goes with service_account_file only", rc->name);
	return WEIR_OK;
}

enum weir_code
weir_drive_conf_app(const struct weir_remote_conf *rc, struct weir_oauth_app *app, struct weir_err *err)
{
	const char *scope = weir_conf_get(rc, "scope");
	enum weir_code r = conf_who(rc, app, err);

	if (r == WEIR_OK)
		r = conf_url(rc, "auth_url", "https://accounts.google.com/o/oauth2/v2/auth", &app->auth_url, err);
	if (r == WEIR_OK)
		r = conf_url(rc, "token_url", "https://oauth2.googleapis.com/token", &app->token_url, err);
	if (r == WEIR_OK)
		r = conf_url(rc, "revoke_url", "https://oauth2.googleapis.com/revoke", &app->revoke_url, err);
	if (r != WEIR_OK)
		return r;
	app->scope = conf_scope(scope == NULL ? "drive" : scope);
	/* Without these two Google gives a refresh token at the very first consent only. */
	app->auth_extra = weir_xstrdup("access_type=offline&prompt=consent");
	if (app->service_account_file != NULL)
		return WEIR_OK;
	return weir_conf_token_file(rc, &app->token_file, err);
}

static enum weir_code
conf_root(struct drive *d, const struct weir_remote_conf *rc, struct weir_err *err)
{
	bool is_shared = false;
	enum weir_code r = weir_conf_bool(rc, "shared_with_me", false, &is_shared, err);

	if (r != WEIR_OK)
		return r;
	d->root_folder = weir_xstrdup(weir_conf_get(rc, "root_folder_id"));
	d->shared_drive = weir_xstrdup(weir_conf_get(rc, "shared_drive"));
	if (is_shared && (d->root_folder != NULL || d->shared_drive != NULL))
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': shared_with_me goes with neither root_folder_id nor shared_drive", rc->name);
	d->root_kind = is_shared ? DRIVE_ROOT_SHARED : DRIVE_ROOT_FOLDER;
	if (d->shared_drive != NULL && strcmp(d->shared_drive, "*") == 0) {
		if (d->root_folder != NULL)
			return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': shared_drive = * shows all shared drives and has no root_folder_id", rc->name);
		d->root_kind = DRIVE_ROOT_DRIVES;
	}
	return WEIR_OK;
}

enum weir_code
weir_drive_conf_read(struct drive *d, const struct weir_remote_conf *rc, struct weir_err *err)
{
	const char *formats = weir_conf_get(rc, "export_formats"), *bad = NULL;
	enum weir_code r = conf_root(d, rc, err);

	d->name = weir_xstrdup(rc->name);
	if (r == WEIR_OK)
		r = conf_base(rc, "api_url", "/drive/v3", &d->api_url, err);
	if (r == WEIR_OK)
		r = conf_base(rc, "upload_url", "/upload/drive/v3", &d->upload_url, err);
	if (r == WEIR_OK)
		r = weir_conf_bool(rc, "trash", true, &d->uses_trash, err);
	if (r == WEIR_OK)
		r = weir_conf_bool(rc, "acknowledge_abuse", false, &d->acknowledges_abuse, err);
	if (r != WEIR_OK)
		return r;
	d->formats = weir_drive_formats_parse(formats == NULL ? "docx,xlsx,pptx,svg" : formats, &bad);
	if (d->formats == NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': export_formats: '%.*s' is no format that Google exports", rc->name,
		    (int)strcspn(bad, ", \t"), bad);
	return WEIR_OK;
}
