/* SPDX-License-Identifier: Apache-2.0 */
/* The storage "webdav": any RFC 4918 server, one collection as the root. What its server does beyond the RFC is found out, not
 * assumed. Names go as they are, percent-encoded: rclone, too, escapes nothing for plain WebDAV (seen). */
#include "config.h"

#include <string.h>

#include "../src/util/util.h"
#include "dav.h"

#define WEBDAV_CONNECTIONS 8

static const struct weir_dav_dialect webdav_dialect = {
	.type = "webdav",
	.props = "<d:resourcetype/><d:getlastmodified/><d:getcontentlength/><d:getetag/>",
};

static enum weir_code
webdav_open(struct weir_backend **out, const struct weir_remote_conf *rc, struct weir_http *http, struct weir_err *err)
{
	struct weir_dav *d;
	enum weir_code r = weir_dav_open(&d, &webdav_dialect, rc, http, WEBDAV_CONNECTIONS, err);

	if (r)
		return r;
	d->base.ops = &weir_backend_webdav;
	d->base.limits.name_max = 255;
	atomic_store(&d->base.caps, WEIR_CAP_RANGES | WEIR_CAP_DIRS | WEIR_CAP_DIR_MOVE);
	*out = &d->base;
	return WEIR_OK;
}

static char *
webdav_fingerprint(struct weir_backend *b)
{
	struct weir_dav *d = (struct weir_dav *)b;

	return weir_xasprintf("webdav %s user=%s", d->url, d->user ? d->user : "");
}

/* What a refusal to the first PROPFIND means for the configuration. */
static enum weir_code
webdav_probe_refused(struct weir_dav *d, const struct weir_dav_call *c, struct weir_err *err)
{
	char to[400], reason[320];
	int s = c->resp.status;

	weir_dav_reason(c->resp.body.data, c->resp.body.len, reason, sizeof(reason));
	if (s / 100 == 3)
		return weir_err_set(err, WEIR_E_CONFIG, "the server redirects '%s' to '%s' (%d); give that address as 'url'", d->url,
		    weir_dav_location(&c->resp, to, sizeof(to)), s);
	if (s == 403)
		return weir_err_set(err, WEIR_E_AUTH, "access to '%s' is forbidden (403%s%s)", d->url, *reason ? ": " : "", reason);
	if (s == 404 || s == 410)
		return weir_err_set(err, WEIR_E_NOBUCKET, "there is no '%s' on the server (%d%s%s)", d->url, s, *reason ? ": " : "", reason);
	if (s == 400)	/* Apache's word for a file asked for as a folder */
		return weir_err_set(err, WEIR_E_CONFIG, "'%s' is not a folder that the server knows (400%s%s)", d->url, *reason ? ": " : "",
		    reason);
	if (s == 405 || s == 501 || s / 100 == 2)
		return weir_err_set(err, WEIR_E_CONFIG, "the server does not speak WebDAV at '%s' (PROPFIND answered %d%s%s)", d->url, s,
		    *reason ? ": " : "", reason);
	return weir_dav_refused(c, err);
}

static enum weir_code
webdav_probe_item(void *arg, struct weir_dav_item *it, struct weir_err *err)
{
	(void)err;
	*(bool *)arg |= it->is_collection;
	return WEIR_OK;
}

static enum weir_code
webdav_probe(struct weir_backend *b, const struct weir_ctx *ctx, struct weir_err *err)
{
	struct weir_dav *d = (struct weir_dav *)b;
	struct weir_dav_call c;
	struct weir_dav_xml *x;
	bool is_collection = false;
	enum weir_code r;

	r = weir_dav_sign_in(d, err);
	if (r)
		return r;
	weir_dav_call(&c, d, "PROPFIND", "", true);
	c.path = d->url;
	weir_dav_header(&c, "Depth: 0");
	weir_dav_body(&c, "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
	    "<d:propfind xmlns:d=\"DAV:\"><d:prop><d:resourcetype/></d:prop></d:propfind>\n");
	r = weir_dav_send(d, ctx, &c, err);
	if (!r && c.resp.status != 207)
		r = webdav_probe_refused(d, &c, err);
	if (!r) {
		x = weir_dav_xml_new(webdav_probe_item, &is_collection);
		r = weir_dav_xml_feed(x, weir_buf_str(&c.resp.body), c.resp.body.len, true, err);
		weir_dav_xml_free(x);
		if (r)
			r = weir_err_wrap(err, WEIR_E_CONFIG, "no WebDAV at '%s'", d->url);
		else if (!is_collection)
			r = weir_err_set(err, WEIR_E_CONFIG, "'%s' is a file; 'url' must be a folder", d->url);
	}
	weir_dav_call_free(&c);
	return r;
}

static const char *const webdav_keys[] = { "url", "user", "password", "password_file", "password_command", "bearer_token",
	"bearer_token_file", "bearer_token_command", NULL };

static const struct weir_ask webdav_asks[] = {
	{ "url", "Address of the folder (https://dav.example.org/files)", false, false },
	{ NULL, NULL, false, false },
};

static enum weir_code
webdav_sign_in(const struct weir_remote_conf *rc, struct weir_sign_in *out, struct weir_err *err)
{
	(void)err;
	if (weir_conf_get(rc, "bearer_token") || weir_conf_get(rc, "bearer_token_file") || weir_conf_get(rc, "bearer_token_command"))
		return WEIR_OK;
	out->kind = WEIR_SIGN_IN_KEYS;
	out->user_key = "user";
	out->secret_key = "password";
	return WEIR_OK;
}

const struct weir_backend_ops weir_backend_webdav = {
	.name = "webdav",
	.keys = webdav_keys,
	.asks = webdav_asks,
	.open = webdav_open,
	.close = weir_dav_close,
	.fingerprint = webdav_fingerprint,
	.probe = webdav_probe,
	.check = weir_dav_op_check,
	.stat = weir_dav_op_stat,
	.list = weir_dav_op_list,
	.get = weir_dav_op_get,
	.put = weir_dav_op_put,
	.copy = weir_dav_op_copy,
	.move = weir_dav_op_move,
	.mkdir = weir_dav_op_mkdir,
	.remove = weir_dav_op_remove,
	.set_meta = weir_dav_op_set_meta,
	.quota = weir_dav_op_quota,
	.sign_in = webdav_sign_in,
	.stats = weir_dav_stats,
};
