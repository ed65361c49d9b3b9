/* SPDX-License-Identifier: Apache-2.0 */
/* The storage "drive": open, close, identity, probe, check, sign-in, and the table of its hooks. What each file of it does stands in
 * drive_impl.h. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "drive_impl.h"

#define DRIVE_MAP_PATHS 1024
#define DRIVE_MAP_MADE 2048
#define DRIVE_MAP_GONE 2048
#define DRIVE_MAP_MEANT 256
#define DRIVE_MAP_POINTS 64
#define DRIVE_MAP_TWINS 256

static void
drive_close(struct weir_backend *be)
{
	struct drive *d = (struct drive *)be;

	if (d == NULL)
		return;
	weir_oauth_free(d->oauth);
	weir_http_pool_free(d->pool);
	weir_drive_sessions_free(d);
	while (d->exports != NULL) {
		struct drive_export *e = d->exports;

		d->exports = e->next;
		free(e->version);
		free(e->data);
		free(e);
	}
	for (size_t i = 0; i < DRIVE_HEADS; i++)
		weir_drive_file_free(&d->heads[i].file);
	for (size_t i = 0; i < d->nids; i++)
		free(d->ids[i]);
	free(d->ids);
	weir_drive_map_free(&d->paths);
	weir_drive_map_free(&d->made);
	weir_drive_map_free(&d->gone);
	weir_drive_map_free(&d->meant);
	weir_drive_map_free(&d->sent);
	weir_drive_map_free(&d->points);
	weir_drive_map_free(&d->twins);
	pthread_mutex_destroy(&d->lock);
	pthread_cond_destroy(&d->freed);
	free(d->name);
	free(d->api_url);
	free(d->upload_url);
	free(d->root_folder);
	free(d->shared_drive);
	free(d->root_id);
	free(d->drive_id);
	free(d->formats);
	free(d);
}

static enum weir_code
drive_connect(struct drive *d, const struct weir_remote_conf *rc, struct weir_http *http, struct weir_err *err)
{
	const struct weir_http_pool_conf pool = {
		.name = rc->name, .proxy = rc->proxy, .ca_file = rc->ca_file, .up_bytes_s = rc->bandwidth_up, .down_bytes_s = rc->bandwidth_down,
		.stall_ms = 5000, .connect_ms = 5000, .max_connections = DRIVE_CONNECTIONS,
	};
	WEIR_AUTO(weir_oauth_app_clear) struct weir_oauth_app app = { 0 };
	enum weir_code r = weir_drive_conf_app(rc, &app, err);

	if (r == WEIR_OK)
		r = weir_http_pool_new(http, &pool, &d->pool, err);
	return r != WEIR_OK ? r : weir_oauth_new(rc->name, &app, d->pool, &d->oauth, err);
}

static enum weir_code
drive_open(struct weir_backend **out, const struct weir_remote_conf *rc, struct weir_http *http, struct weir_err *err)
{
	struct drive *d = weir_xcalloc(1, sizeof(*d));
	enum weir_code r;

	d->be.ops = &weir_backend_drive;
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->freed, NULL);
	weir_drive_map_init(&d->paths, DRIVE_MAP_PATHS);
	weir_drive_map_init(&d->made, DRIVE_MAP_MADE);
	weir_drive_map_init(&d->gone, DRIVE_MAP_GONE);
	weir_drive_map_init(&d->meant, DRIVE_MAP_MEANT);
	weir_drive_map_init(&d->sent, DRIVE_MAP_MEANT);
	weir_drive_map_init(&d->points, DRIVE_MAP_POINTS);
	weir_drive_map_init(&d->twins, DRIVE_MAP_TWINS);
	r = weir_drive_conf_read(d, rc, err);
	if (r == WEIR_OK)
		r = drive_connect(d, rc, http, err);
	if (r != WEIR_OK) {
		drive_close(&d->be);
		return r;
	}
	atomic_store(&d->be.caps, WEIR_CAP_RANGES | WEIR_CAP_MTIME | WEIR_CAP_MODE | WEIR_CAP_SYMLINK | WEIR_CAP_DIRS | WEIR_CAP_DIR_MOVE |
	    WEIR_CAP_LIST_MTIME | WEIR_CAP_SEQUENTIAL | WEIR_CAP_LATE_CHANGED);
	/* One size for all parts: upload_status() has to say in whole parts what Drive says in bytes. */
	d->be.limits = (struct weir_limits){ .put_max = DRIVE_PUT_MAX, .part_min = DRIVE_PART, .part_max = DRIVE_PART,
		.connections = DRIVE_CONNECTIONS, .name_max = DRIVE_NAME_MAX };
	*out = &d->be;
	return WEIR_OK;
}

/* Who signs in is not known before the network is; a remote is what its root is. */
static char *
drive_fingerprint(struct weir_backend *be)
{
	const struct drive *d = (const struct drive *)be;

	/* Which account it is, only a signed-in request could tell (the core asks, by quota()); two sign-ins of one configuration have two names. */
	return weir_xasprintf("drive %s as %s %s%s%s", d->api_url, d->name, d->root_kind == DRIVE_ROOT_SHARED ? "shared-with-me" : d->shared_drive != NULL ?
	    "shared-drive " : "my-drive", d->shared_drive != NULL ? d->shared_drive : "", d->root_folder != NULL ? d->root_folder : "");
}

static enum weir_code
drive_probe(struct weir_backend *be, const struct weir_ctx *ctx, struct weir_err *err)
{
	struct drive *d = (struct drive *)be;
	json_t *o = NULL;
	struct drive_folder all = { 0 };
	enum weir_code r = weir_drive_root(d, ctx, err);

	/* The root is asked for once only; this is the question for every time. */
	if (r == WEIR_OK && d->root_kind == DRIVE_ROOT_DRIVES)
		r = weir_drive_folder_read(d, ctx, "*", "shared drives", &all, err);
	else if (r == WEIR_OK)
		r = weir_drive_json(d, ctx, "GET", "about", "&fields=user", NULL, &o, "sign in to", d->name, err);
	weir_drive_folder_free(&all);
	json_decref(o);
	switch (r) {
	case WEIR_E_ACCES:
		return WEIR_E_AUTH;
	case WEIR_E_PROTO:
	case WEIR_E_INVAL:
	case WEIR_E_NOENT:
		return weir_err_wrap(err, WEIR_E_CONFIG, "is there a Drive API at %s?", d->api_url);
	default:
		return r;
	}
}

static enum weir_code
drive_check(struct weir_backend *be, const struct weir_ctx *ctx, void (*line)(void *, const char *), void *arg, struct weir_err *err)
{
	struct drive *d = (struct drive *)be;
	char text[512];
	json_t *o = NULL;
	enum weir_code r = weir_drive_json(d, ctx, "GET", "about", "&fields=user(emailAddress,displayName),maxUploadSize", NULL, &o, "ask about", d->name,
	    err);
	const char *who;

	if (r != WEIR_OK)
		return r;
	who = weir_drive_json_text(json_object_get(o, "user"), "emailAddress");
	snprintf(text, sizeof(text), "account: %s", who == NULL ? "not told" : who);
	line(arg, text);
	json_decref(o);
	line(arg, "conditional writes: Drive has none; versions are compared right before and right after each write, and a version of somebody else's that "
	    "ours covered in between is made the newest again");
	line(arg, "creating: Drive lets two programs make two files of one name at once; both are shown, the younger one with a part of its id in its name");
	line(arg, "replacing by a rename: the file moves first, what it replaces goes to the trash a moment later; for that moment both are there");
	line(arg, d->uses_trash ? "removing: to the trash, where Google keeps it for 30 days" : "removing: for good (trash = no); a change made "
	    "between the look and the delete is lost with it");
	return WEIR_OK;
}

static const char drive_advice[] =
    "Google Drive wants an app of your own: in the Google Cloud console make a project, enable the Google Drive API, and create an OAuth client of type "
    "'Desktop app'; its id and secret go into the configuration. Ids shared by many users are being withdrawn and are slow. Set the consent screen's "
    "publishing status to 'In production': Google ends the sign-in of apps in testing after 7 days.";

static enum weir_code
drive_sign_in(const struct weir_remote_conf *rc, struct weir_sign_in *out, struct weir_err *err)
{
	enum weir_code r = weir_drive_conf_app(rc, &out->app, err);

	if (r != WEIR_OK)
		return r;
	out->kind = out->app.service_account_file != NULL ? WEIR_SIGN_IN_NONE : WEIR_SIGN_IN_OAUTH;
	out->advice = drive_advice;
	return WEIR_OK;
}

static void
drive_stats(struct weir_backend *be, int64_t *heard_ms, struct weir_http_stats *out)
{
	const struct drive *d = (const struct drive *)be;

	*heard_ms = weir_http_pool_heard_ms(d->pool);
	weir_http_pool_stats(d->pool, out);
}

static const struct weir_ask drive_asks[] = {
	{ "client_id", "client_id of your own app (weir.conf(5) says how to make one)", false, false },
	{ "client_secret", "client_secret of the app (not shown)", false, true },
	{ "root_folder_id", "Id of the folder that is the root (empty: My Drive)", true, false },
	{ NULL, NULL, false, false },
};

const struct weir_backend_ops weir_backend_drive = {
	.name = "drive",
	.keys = weir_drive_keys,
	.asks = drive_asks,
	.open = drive_open,
	.close = drive_close,
	.fingerprint = drive_fingerprint,
	.probe = drive_probe,
	.check = drive_check,
	.stat = weir_drive_stat,
	.list = weir_drive_list,
	.get = weir_drive_get,
	.put = weir_drive_put,
	.upload_begin = weir_drive_upload_begin,
	.upload_part = weir_drive_upload_part,
	.upload_status = weir_drive_upload_status,
	.upload_commit = weir_drive_upload_commit,
	.upload_abort = weir_drive_upload_abort,
	.copy = weir_drive_copy,
	.move = weir_drive_move,
	.mkdir = weir_drive_mkdir,
	.remove = weir_drive_remove,
	.set_meta = weir_drive_set_meta,
	.changes = weir_drive_watch,
	.sign_in = drive_sign_in,
	.quota = weir_drive_quota,
	.stats = drive_stats,
};
