/* SPDX-License-Identifier: Apache-2.0 */
/* The Dropbox backend: open, close, identity, and the table of its hooks. What each file of it does stands in dropbox_impl.h. */
#include "config.h"

#include <string.h>

#include "dropbox_impl.h"

extern const struct weir_backend_ops weir_backend_dropbox;

static void
dropbox_close(struct weir_backend *be)
{
	struct dropbox *s = (struct dropbox *)be;

	if (s == NULL)
		return;
	weir_oauth_free(s->oauth);
	weir_http_pool_free(s->pool);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->write_lock);
	pthread_cond_destroy(&s->write_cond);
	free(s->name);
	free(s->client_id);
	free(s->root);
	free(s->api_url);
	free(s->content_url);
	free(s->notify_url);
	free(s->base_url);
	free(s->path_root);
	free(s);
}

static enum weir_code
dropbox_connect(struct dropbox *s, const struct weir_remote_conf *conf, const struct weir_oauth_app *app, struct weir_http *http,
    struct weir_err *err)
{
	const struct weir_http_pool_conf pool = {
		.name = conf->name, .proxy = conf->proxy, .ca_file = conf->ca_file, .up_bytes_s = conf->bandwidth_up,
		.down_bytes_s = conf->bandwidth_down, .stall_ms = 10000, .connect_ms = 5000,
		.max_connections = DROPBOX_CONNECTIONS + 1,	/* one waits for changes */
	};
	enum weir_code r = weir_http_pool_new(http, &pool, &s->pool, err);

	return r == WEIR_OK ? weir_oauth_new(conf->name, app, s->pool, &s->oauth, err) : r;
}

static void
dropbox_init(struct dropbox *s)
{
	pthread_condattr_t attr;

	s->be.ops = &weir_backend_dropbox;
	s->queue_tail = &s->queue;
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->write_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->write_cond, &attr);
	pthread_condattr_destroy(&attr);
	atomic_store(&s->be.caps, WEIR_CAP_RANGES | WEIR_CAP_CAS_CREATE | WEIR_CAP_CAS_PUT | WEIR_CAP_CAS_COMMIT | WEIR_CAP_CAS_DELETE |
	    WEIR_CAP_MTIME | WEIR_CAP_LIST_MTIME | WEIR_CAP_DIRS | WEIR_CAP_DIR_MOVE | WEIR_CAP_FOLD_CASE | WEIR_CAP_FOLD_NFC | WEIR_CAP_WAITS |
	    WEIR_CAP_LAST_ALONE | WEIR_CAP_PARTS_UNTOLD);
	s->be.limits = (struct weir_limits){
		.put_max = DROPBOX_PUT_MAX, .part_min = DROPBOX_BLOCK, .part_max = DROPBOX_PART_MAX, .connections = DROPBOX_CONNECTIONS,
		.name_max = 255, .path_max = 4000,
	};
}

static enum weir_code
dropbox_open(struct weir_backend **out, const struct weir_remote_conf *conf, struct weir_http *http, struct weir_err *err)
{
	struct dropbox *s = weir_xcalloc(1, sizeof(*s));
	struct weir_oauth_app app = { 0 };
	enum weir_code r;

	dropbox_init(s);
	r = weir_dropbox_conf_read(s, conf, &app, err);
	if (r == WEIR_OK)
		r = dropbox_connect(s, conf, &app, http, err);
	weir_oauth_app_clear(&app);
	if (r != WEIR_OK) {
		dropbox_close(&s->be);
		return r;
	}
	*out = &s->be;
	return WEIR_OK;
}

/* Which account it is, only a signed-in request could tell (the core asks, by quota()); the remote's name, the app (whose folder it may be) and the root
 * say what the configuration can. */
static char *
dropbox_fingerprint(struct weir_backend *be)
{
	struct dropbox *s = (struct dropbox *)be;

	return weir_xasprintf("dropbox %s as %s %s %s%s", s->base_url != NULL ? s->base_url : "dropbox.com", s->name, s->client_id,
	    s->is_team_space ? "team" : s->path_root != NULL ? s->path_root : "home", s->root);
}

static void
dropbox_stats(struct weir_backend *be, int64_t *heard_ms, struct weir_http_stats *out)
{
	const struct dropbox *s = (const struct dropbox *)be;

	*heard_ms = weir_http_pool_heard_ms(s->pool);
	weir_http_pool_stats(s->pool, out);
}

static const struct weir_ask dropbox_asks[] = {
	{ "client_id", "App key of your own app (weir.conf(5) says how to make one)", false, false },
	{ "root", "Folder that is the root (empty: everything the app may see)", true, false },
	{ NULL, NULL, false, false },
};

const struct weir_backend_ops weir_backend_dropbox = {
	.name = "dropbox",
	.keys = weir_dropbox_keys,
	.asks = dropbox_asks,
	.open = dropbox_open,
	.close = dropbox_close,
	.fingerprint = dropbox_fingerprint,
	.probe = weir_dropbox_probe,
	.check = weir_dropbox_check,
	.stat = weir_dropbox_stat,
	.list = weir_dropbox_list,
	.get = weir_dropbox_get,
	.put = weir_dropbox_put,
	.upload_begin = weir_dropbox_upload_begin,
	.upload_part = weir_dropbox_upload_part,
	.upload_status = weir_dropbox_upload_status,
	.upload_commit = weir_dropbox_upload_commit,
	.copy = weir_dropbox_copy,
	.move = weir_dropbox_move,
	.mkdir = weir_dropbox_mkdir,
	.remove = weir_dropbox_remove,
	.changes = weir_dropbox_changes,
	.sign_in = weir_dropbox_sign_in,
	.quota = weir_dropbox_quota,
	.stats = dropbox_stats,
};
