/* SPDX-License-Identifier: Apache-2.0 */
/* The S3 backend: open, close, identity, probe, and the table of its hooks. What each file of it does stands in s3_impl.h. */
#include "config.h"

#include "s3.h"

#include <stdio.h>
#include <string.h>

#include "s3_impl.h"

static void
s3_close(struct weir_backend *be)
{
	struct s3 *s = (struct s3 *)be;

	if (s == NULL)
		return;
	weir_http_pool_free(s->pool);
	weir_s3_creds_free(&s->creds);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->cas_lock);
	free(s->name);
	free(s->scheme);
	free(s->host);
	free(s->base);
	free(s->bucket);
	free(s->prefix);
	free(s->storage_class);
	free(s->sse);
	free(s->cred_file);
	free(s->cred_profile);
	free(s);
}

static enum weir_code
s3_pool(struct s3 *s, const struct weir_remote_conf *conf, struct weir_http *http, struct weir_err *err)
{
	const struct weir_http_pool_conf pool = {
		.name = conf->name, .proxy = conf->proxy, .ca_file = conf->ca_file, .up_bytes_s = conf->bandwidth_up,
		.down_bytes_s = conf->bandwidth_down, .stall_ms = 5000, .connect_ms = 5000, .max_connections = S3_CONNECTIONS,
	};

	return weir_http_pool_new(http, &pool, &s->pool, err);
}

static enum weir_code
s3_open(struct weir_backend **out, const struct weir_remote_conf *conf, struct weir_http *http, struct weir_err *err)
{
	struct s3 *s = weir_xcalloc(1, sizeof(*s));
	enum weir_code r;

	s->be.ops = &weir_backend_s3;
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->cas_lock, NULL);
	r = weir_s3_conf_read(s, conf, err);
	if (r == WEIR_OK)
		r = s3_pool(s, conf, http, err);
	if (r != WEIR_OK) {
		s3_close(&s->be);
		return r;
	}
	atomic_store(&s->be.caps, WEIR_CAP_RANGES | WEIR_CAP_LIST_DEEP | WEIR_CAP_MTIME | WEIR_CAP_MODE);
	s->be.limits = (struct weir_limits){
		.put_max = S3_PUT_MAX, .part_min = s->part_size, .part_max = S3_PART_MAX, .parts_max = S3_PARTS_MAX,
		.connections = S3_CONNECTIONS, .name_max = S3_NAME_MAX, .path_max = S3_KEY_MAX - strlen(s->prefix),
	};
	*out = &s->be;
	return WEIR_OK;
}

/* Region and credentials may change and it is still the same place. */
static char *
s3_fingerprint(struct weir_backend *be)
{
	const struct s3 *s = (const struct s3 *)be;

	return weir_xasprintf("s3 %s://%s%s/%s/%s", s->scheme, s->host != NULL ? s->host : "amazonaws.com", s->base, s->bucket, s->prefix);
}

/* One listing says all: that it is S3, that the bucket is there, that the keys work and may list, and why not. */
static enum weir_code
s3_probe(struct weir_backend *be, const struct weir_ctx *ctx, struct weir_err *err)
{
	struct s3 *s = (struct s3 *)be;
	unsigned found;
	enum weir_code r = weir_s3_peek(s, ctx, s->prefix, 1, &found, NULL, err);

	switch (r) {
	case WEIR_E_ACCES:
		return WEIR_E_AUTH;
	case WEIR_E_NOENT:	/* no S3 server says so of a bucket without a reason */
	case WEIR_E_PROTO:
	case WEIR_E_INVAL:
	case WEIR_E_NOTSUP:
		return weir_err_wrap(err, WEIR_E_CONFIG, "is there an S3 server at the endpoint?");
	default:
		return r;
	}
}

static void
s3_stats(struct weir_backend *be, int64_t *heard_ms, struct weir_http_stats *out)
{
	const struct s3 *s = (const struct s3 *)be;

	*heard_ms = weir_http_pool_heard_ms(s->pool);
	weir_http_pool_stats(s->pool, out);
}

static const struct weir_ask s3_asks[] = {
	{ "endpoint", "Address of the S3 server (empty: Amazon's)", true, false },
	{ "region", "Region (empty: the server's default)", true, false },
	{ "bucket", "Bucket", false, false },
	{ "prefix", "Folder in it that is the root (empty: all)", true, false },
	{ NULL, NULL, false, false },
};

static enum weir_code
s3_sign_in(const struct weir_remote_conf *rc, struct weir_sign_in *out, struct weir_err *err)
{
	bool is_anonymous = false;
	enum weir_code r = weir_conf_bool(rc, "anonymous", false, &is_anonymous, err);

	if (r != WEIR_OK || is_anonymous || weir_conf_get(rc, "profile") != NULL || weir_conf_get(rc, "credentials_file") != NULL)
		return r;
	out->kind = WEIR_SIGN_IN_KEYS;
	out->user_key = "access_key";
	out->secret_key = "secret_key";
	return WEIR_OK;
}

const struct weir_backend_ops weir_backend_s3 = {
	.name = "s3",
	.keys = weir_s3_keys,
	.asks = s3_asks,
	.open = s3_open,
	.close = s3_close,
	.fingerprint = s3_fingerprint,
	.probe = s3_probe,
	.check = weir_s3_check,
	.stat = weir_s3_stat,
	.list = weir_s3_list,
	.get = weir_s3_get,
	.put = weir_s3_put,
	.upload_begin = weir_s3_upload_begin,
	.upload_part = weir_s3_upload_part,
	.upload_copy_part = weir_s3_upload_copy_part,
	.upload_status = weir_s3_upload_status,
	.upload_commit = weir_s3_upload_commit,
	.upload_abort = weir_s3_upload_abort,
	.copy = weir_s3_copy,
	.move = weir_s3_move,
	.mkdir = weir_s3_mkdir,
	.remove = weir_s3_remove,
	.set_meta = weir_s3_set_meta,
	.sign_in = s3_sign_in,
	.stats = s3_stats,
};
