/* SPDX-License-Identifier: Apache-2.0 */
/* The storage "nextcloud": WebDAV as Nextcloud speaks it (sabre/dav and its plugins). What that server keeps is known and not
 * tried out on it: scratch files would stay in its trash and activity list. `weir check` tries it all the same. Characters the
 * server refuses are escaped (dav_names.c); names it refuses as a whole are refused here, before any upload. */
#include "config.h"

#include "nextcloud.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "../src/util/text.h"
#include "../src/util/util.h"

#define NC_CONNECTIONS 6		/* more contend for the ETags of common folders and are refused with 423 */
#define NC_PUT_MAX (10u << 20)		/* unless the server names another size */
#define NC_PART_MIN (5u << 20)
#define NC_PART_MAX (5000000000u)

static void
nc_list_free(char **list)
{
	for (char **p = list; p && *p; p++)
		free(*p);
	free(list);
}

static void
nc_free(void *own)
{
	struct weir_nc *nc = own;

	if (!nc)
		return;
	free(nc->base_plain);
	free(nc->folder);
	free(nc->uid);
	nc_list_free(nc->names);
	nc_list_free(nc->basenames);
	nc_list_free(nc->extensions);
	nc_list_free(nc->characters);
	free(nc);
}

/* ---- what the server tells of itself ---- */

enum weir_code
weir_nc_json(struct weir_dav *d, const struct weir_ctx *ctx, const char *what, json_t **out, struct weir_dav_call *c, struct weir_err *err)
{
	enum weir_code r;

	weir_dav_call_url(c, "GET", weir_xasprintf("%s/%s", d->url, what));
	c->path = c->url;
	weir_dav_header(c, "OCS-APIRequest: true");
	weir_dav_header(c, "Accept: application/json");
	r = weir_dav_send(d, ctx, c, err);
	*out = NULL;
	if (!r && c->resp.status == 200)
		*out = json_loadb(weir_buf_str(&c->resp.body), c->resp.body.len, 0, NULL);
	return r;
}

json_t *
weir_nc_dig(json_t *j, const char *const *keys)
{
	for (; j && *keys; keys++)
		j = json_object_get(j, *keys);
	return j;
}

static char **
nc_strings(json_t *array)
{
	char **list;
	size_t n = json_array_size(array), kept = 0;

	if (!json_is_array(array))
		return NULL;
	list = weir_xcalloc(n + 1, sizeof(*list));
	for (size_t i = 0; i < n; i++)
		if (json_is_string(json_array_get(array, i)) && *json_string_value(json_array_get(array, i)))
			list[kept++] = weir_xstrdup(json_string_value(json_array_get(array, i)));
	return list;
}

static void
nc_take_limits(struct weir_dav *d, json_t *files)
{
	struct weir_nc *nc = d->own;
	struct weir_limits *l = &d->base.limits;
	json_t *chunked = json_object_get(files, "chunked_upload");
	json_t *max = json_object_get(chunked, "max_size");

	nc->names = nc_strings(json_object_get(files, "forbidden_filenames"));
	if (!nc->names)
		nc->names = nc_strings(json_object_get(files, "blacklisted_files"));	/* before 30 */
	nc->basenames = nc_strings(json_object_get(files, "forbidden_filename_basenames"));
	nc->extensions = nc_strings(json_object_get(files, "forbidden_filename_extensions"));
	nc->characters = nc_strings(json_object_get(files, "forbidden_filename_characters"));
	for (char **p = nc->characters; p && *p; p++) {
		unsigned char ch = (unsigned char)**p;

		if (!(*p)[1] && ch > 0x20 && ch < 0x7f && ch != '/' && ch != '.' && !isalnum(ch))
			d->names.is_refused[ch] = true;
	}
	if (json_is_integer(max) && json_integer_value(max) >= NC_PART_MIN) {
		l->put_max = (uint64_t)json_integer_value(max);
		if (l->put_max < l->part_max)
			l->part_max = l->put_max;
	} else if (json_is_integer(max) && json_integer_value(max) == 0) {
		l->put_max = 0;	/* the administrator has switched chunks off: everything in one request */
	}
}

/* The addresses hold the internal user id, which only the server knows: the login name may be an e-mail address. */
static enum weir_code
nc_whoami(struct weir_dav *d, const struct weir_ctx *ctx, struct weir_err *err)
{
	struct weir_nc *nc = d->own;
	struct weir_dav_call c;
	json_t *j;
	const char *id;
	enum weir_code r = weir_nc_json(d, ctx, "ocs/v2.php/cloud/user?format=json", &j, &c, err);

	id = json_string_value(weir_nc_dig(j, (const char *const[]){ "ocs", "data", "id", NULL }));
	if (!r && id && *id && !strchr(id, '/')) {
		free(nc->uid);
		nc->uid = weir_xstrdup(id);
	} else if (!r) {
		r = weir_err_set(err, c.resp.status / 100 == 5 ? WEIR_E_SERVER : WEIR_E_CONFIG,
		    "the server at '%s' does not tell who '%s' is (status %d)", d->url, d->user ? d->user : "the token's owner", c.resp.status);
	}
	json_decref(j);
	weir_dav_call_free(&c);
	return r;
}

static enum weir_code
nc_ready(struct weir_dav *d, const struct weir_ctx *ctx, struct weir_err *err)
{
	struct weir_nc *nc = d->own;
	WEIR_AUTO(weir_freep) char *plain = NULL;
	struct weir_dav_call c;
	json_t *j;
	enum weir_code r = nc_whoami(d, ctx, err);

	if (r)
		return r;
	r = weir_nc_json(d, ctx, "ocs/v2.php/cloud/capabilities?format=json", &j, &c, err);
	weir_dav_call_free(&c);
	if (r)
		return r;
	nc_take_limits(d, weir_nc_dig(j, (const char *const[]){ "ocs", "data", "capabilities", "files", NULL }));
	json_decref(j);
	plain = weir_xasprintf("%s/remote.php/dav/files/%s%s%s", nc->base_plain, nc->uid, *nc->folder ? "/" : "", nc->folder);
	weir_dav_set_root(d, plain);
	return WEIR_OK;
}

/* ---- names ---- */

static bool
nc_ends_with(const char *name, const char *tail)
{
	size_t n = strlen(name), t = strlen(tail);

	return n >= t && strcasecmp(name + n - t, tail) == 0;
}

static const char *const nc_default_names[] = { ".htaccess", NULL };
static const char *const nc_default_extensions[] = { ".part", ".filepart", NULL };

static enum weir_code
nc_name(struct weir_dav *d, const char *leaf, struct weir_err *err)
{
	struct weir_nc *nc = d->own;
	size_t base = strcspn(leaf[0] == '.' ? leaf + 1 : leaf, ".") + (leaf[0] == '.');
	const char *const *p;

	if (leaf[strspn(leaf, " ")] == '\0')
		return weir_err_set(err, WEIR_E_NAME, "Nextcloud takes no names of blanks alone");
	for (p = nc->names ? (const char *const *)nc->names : nc_default_names; *p; p++)
		if (strcasecmp(leaf, *p) == 0)
			return weir_err_set(err, WEIR_E_NAME, "the server forbids the name '%s'", leaf);
	for (p = nc->extensions ? (const char *const *)nc->extensions : nc_default_extensions; *p; p++)
		if (nc_ends_with(leaf, *p))
			return weir_err_set(err, WEIR_E_NAME, "'%s': the server forbids names that end in '%s'", leaf, *p);
	for (p = (const char *const *)nc->characters; p && *p; p++)	/* what has no twin to be written as */
		if (strcmp(*p, "/") != 0 && strstr(leaf, *p))
			return weir_err_set(err, WEIR_E_NAME, "'%s': the server forbids '%s' in names", leaf, *p);
	for (p = (const char *const *)nc->basenames; p && *p; p++)
		if (strlen(*p) == base && strncasecmp(leaf, *p, base) == 0)
			return weir_err_set(err, WEIR_E_NAME, "'%s': the server forbids names that begin with '%s.'", leaf, *p);
	return WEIR_OK;
}

/* ---- the table's own hooks ---- */

static const struct weir_dav_dialect nc_dialect = {
	.type = "nextcloud",
	.props = "<d:resourcetype/><d:getlastmodified/><d:getcontentlength/><d:getetag/><oc:fileid/><oc:permissions/><oc:checksums/>",
	.ready = nc_ready,
	.name = nc_name,
	.free = nc_free,
};

static void
nc_settle(struct weir_dav *d)
{
	struct weir_limits *l = &d->base.limits;

	d->is_nextcloud = true;
	d->names.is_on = true;
	for (int c = 1; c < 0x20; c++)
		d->names.is_refused[c] = true;
	d->names.is_refused['\\'] = true;
	l->put_max = NC_PUT_MAX;
	l->part_min = NC_PART_MIN;
	l->part_max = NC_PART_MAX;
	l->parts_max = 10000;
	l->name_max = 250;
	l->path_max = 4000;
	atomic_store(&d->how_put, WEIR_DAV_HOW_IF_MATCH);
	atomic_store(&d->how_copy, WEIR_DAV_HOW_IF);
	atomic_store(&d->how_delete, WEIR_DAV_HOW_IF_MATCH);
	atomic_store(&d->keeps_create, true);
	atomic_store(&d->keeps_overwrite, true);
	atomic_store(&d->mtime_by_put, true);
	atomic_store(&d->mtime_by_patch, true);
	atomic_store(&d->is_learned, true);
	atomic_store(&d->base.caps, WEIR_CAP_RANGES | WEIR_CAP_CAS_CREATE | WEIR_CAP_CAS_PUT | WEIR_CAP_CAS_COMMIT | WEIR_CAP_CAS_COPY |
	    WEIR_CAP_CAS_DELETE | WEIR_CAP_MTIME | WEIR_CAP_LIST_MTIME | WEIR_CAP_DIRS | WEIR_CAP_DIR_MOVE | WEIR_CAP_DIR_VERSION |
	    WEIR_CAP_FOLD_NFC);
}

/* The push connection counts its bytes in the pool. */
static void
nc_close(struct weir_backend *b)
{
	struct weir_nc *nc = ((struct weir_dav *)b)->own;

	if (nc) {
		weir_nc_push_free(nc->push);
		nc->push = NULL;
	}
	weir_dav_close(b);
}

static enum weir_code
nc_open(struct weir_backend **out, const struct weir_remote_conf *rc, struct weir_http *http, struct weir_err *err)
{
	const char *folder = weir_conf_get(rc, "folder");
	struct weir_dav *d;
	struct weir_nc *nc;
	bool is_pushed;
	size_t n;
	enum weir_code r = weir_dav_open(&d, &nc_dialect, rc, http, NC_CONNECTIONS, err);

	if (r)
		return r;
	d->own = nc = weir_xcalloc(1, sizeof(*nc));
	nc->base_plain = weir_xstrdup(d->root_plain);
	folder = folder ? folder + strspn(folder, "/") : "";
	for (n = strlen(folder); n && folder[n - 1] == '/';)
		n--;
	nc->folder = weir_xstrndup(folder, n);
	r = weir_conf_bool(rc, "push", true, &is_pushed, err);
	if (!r && is_pushed)
		nc->push = weir_nc_push_new();
	if (!r && strstr(d->url, "/remote.php"))
		r = weir_err_set(err, WEIR_E_CONFIG, "url '%s': give the server alone, without /remote.php and what follows", d->url);
	else if (!r && !d->auth)
		r = weir_err_set(err, WEIR_E_CONFIG, "Nextcloud needs 'user' and 'password' (an app password), or 'bearer_token'");
	if (r) {
		nc_close(&d->base);
		return r;
	}
	d->base.ops = &weir_backend_nextcloud;
	nc_settle(d);
	*out = &d->base;
	return WEIR_OK;
}

static char *
nc_fingerprint(struct weir_backend *b)
{
	struct weir_dav *d = (struct weir_dav *)b;

	return weir_xasprintf("nextcloud %s user=%s folder=%s", d->url, d->user ? d->user : "", ((struct weir_nc *)d->own)->folder);
}

/* Is it a Nextcloud at all, and in service? status.php answers without a login. */
static enum weir_code
nc_probe_status(struct weir_dav *d, const struct weir_ctx *ctx, struct weir_err *err)
{
	struct weir_dav_call c;
	char to[400];
	json_t *j;
	enum weir_code r = weir_nc_json(d, ctx, "status.php", &j, &c, err);

	if (!r && c.resp.status / 100 == 3) {
		char *tail = strstr(weir_dav_location(&c.resp, to, sizeof(to)), "/status.php");

		if (tail)
			*tail = '\0';
		r = weir_err_set(err, WEIR_E_CONFIG, "the server redirects '%s' to '%s' (%d); give that address as 'url'", d->url, to,
		    c.resp.status);
	} else if (!r && c.resp.status / 100 == 5) {
		r = weir_dav_refused(&c, err);
	} else if (!r && !json_object_get(j, "installed")) {
		r = weir_err_set(err, WEIR_E_CONFIG, "no Nextcloud answers at '%s' (status.php: %d)", d->url, c.resp.status);
	} else if (!r && (json_is_true(json_object_get(j, "maintenance")) || json_is_true(json_object_get(j, "needsDbUpgrade")))) {
		r = weir_err_set(err, WEIR_E_THROTTLED, "the server is in maintenance mode");
	}
	json_decref(j);
	weir_dav_call_free(&c);
	return r;
}

static enum weir_code
nc_probe(struct weir_backend *b, const struct weir_ctx *ctx, struct weir_err *err)
{
	struct weir_dav *d = (struct weir_dav *)b;
	struct weir_nc *nc = d->own;
	struct weir_stat st = { 0 };
	enum weir_code r;

	r = weir_dav_sign_in(d, err);
	if (!r)
		r = nc_probe_status(d, ctx, err);
	if (!r)
		r = weir_dav_ready(d, ctx, err);
	if (r)
		return r;
	r = weir_dav_stat(d, ctx, "", &st, err);
	if (r == WEIR_E_NOBUCKET || r == WEIR_E_NOENT)
		r = weir_err_set(err, WEIR_E_NOBUCKET, "there is no folder '%s' in the files of '%s'", nc->folder, nc->uid);
	else if (r == WEIR_E_ACCES)
		r = weir_err_wrap(err, WEIR_E_AUTH, "folder '%s'", nc->folder);
	else if (!r && st.type != WEIR_DIR)
		r = weir_err_set(err, WEIR_E_CONFIG, "'%s' is a file; 'folder' must be a folder", nc->folder);
	weir_stat_free(&st);
	return r;
}

static enum weir_code
nc_check_told(void *arg, const struct weir_change *c, struct weir_err *err)
{
	(void)arg, (void)c, (void)err;
	return WEIR_OK;
}

static enum weir_code
nc_check(struct weir_backend *b, const struct weir_ctx *ctx, void (*line)(void *, const char *), void *arg, struct weir_err *err)
{
	struct weir_err why = { 0 };
	bool is_new = false;
	enum weir_code r = weir_dav_op_check(b, ctx, line, arg, err);

	if (r)
		return r;
	r = weir_nc_listen(b, ctx, 0, &is_new, nc_check_told, NULL, &why);
	if (!r) {
		line(arg, "changes elsewhere: told by the server as they happen (notify_push)");
	} else {
		WEIR_AUTO(weir_freep) char *s = weir_xasprintf("changes elsewhere: folder versions are asked for every few seconds (%s)",
		    weir_err_text(&why, r));

		line(arg, s);
	}
	return WEIR_OK;
}

static const char *const nc_keys[] = { "url", "user", "password", "password_file", "password_command", "bearer_token",
	"bearer_token_file", "bearer_token_command", "folder", "push", NULL };

static const struct weir_ask nc_asks[] = {
	{ "url", "Address of the server (https://cloud.example.org)", false, false },
	{ "folder", "Folder that is the root (empty: everything)", true, false },
	{ NULL, NULL, false, false },
};

static enum weir_code
nc_sign_in(const struct weir_remote_conf *rc, struct weir_sign_in *out, struct weir_err *err)
{
	const char *url;
	enum weir_code r;

	if (weir_conf_get(rc, "bearer_token") || weir_conf_get(rc, "bearer_token_file") || weir_conf_get(rc, "bearer_token_command"))
		return WEIR_OK;
	r = weir_conf_need(rc, "url", &url, err);
	if (r)
		return r;
	out->kind = WEIR_SIGN_IN_FLOW2;
	out->url = weir_xstrdup(url);
	out->user_key = "user";
	out->secret_key = "password";
	return WEIR_OK;
}

const struct weir_backend_ops weir_backend_nextcloud = {
	.name = "nextcloud",
	.keys = nc_keys,
	.asks = nc_asks,
	.open = nc_open,
	.close = nc_close,
	.fingerprint = nc_fingerprint,
	.probe = nc_probe,
	.check = nc_check,
	.stat = weir_dav_op_stat,
	.list = weir_dav_op_list,
	.get = weir_dav_op_get,
	.put = weir_dav_op_put,
	.upload_begin = weir_nc_upload_begin,
	.upload_part = weir_nc_upload_part,
	.upload_status = weir_nc_upload_status,
	.upload_commit = weir_nc_upload_commit,
	.upload_abort = weir_nc_upload_abort,
	.copy = weir_dav_op_copy,
	.move = weir_dav_op_move,
	.mkdir = weir_dav_op_mkdir,
	.remove = weir_dav_op_remove,
	.set_meta = weir_dav_op_set_meta,
	.quota = weir_dav_op_quota,
	.listen = weir_nc_listen,
	.sign_in = nc_sign_in,
	.stats = weir_dav_stats,
};
