/* SPDX-License-Identifier: Apache-2.0 */
/* The storage "rclone": whatever an rclone.conf can name, through `rclone serve webdav` on loopback (rclone_child.c). The requests are
 * dav_*.c's; here is what this server does otherwise than others, found by reading and trying rclone 1.60:
 *
 * - An upload that breaks off is kept, cut, in place of the file that was there. So content goes under a temporary name beside its
 *   place, is looked at, and is then renamed; what is left of such names is hidden and swept.
 * - It remembers listings. Before each look it is told, through its remote control, to forget that folder (vfs/forget).
 * - It answers 405 or 403 to whatever fails on the far side, and 404 to a GET that fails. These become "internal error", and a GET's 404
 *   is believed only when a look shows it.
 * - MKCOL of a folder that is there succeeds. So it is looked for first.
 * - No preconditions (dav_learn.c finds that out), and an ETag made of time and size.
 * - Buckets hold no empty folders: a hidden file keeps them. */
#include "config.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "../src/util/text.h"
#include "../src/util/util.h"
#include "dav.h"
#include "layers.h"
#include "rclone_child.h"
#include "rclone_ini.h"

#define RCLONE_CONNECTIONS 8
#define RCLONE_STALL_MS 60000		/* rclone's own patience with the far side; its end breaks the connection at once */
#define RCLONE_WRITE_STALL_MS 600000	/* what cannot be streamed there is sent after the last byte has come here */
#define RCLONE_TEMP ".weir-upload-"
#define RCLONE_KEEP ".weir-keep"	/* in folders, where the storage has none */
#define RCLONE_TEMP_AGE_S (24 * 3600)
#define RCLONE_FRESH_MS 1000		/* reads of parts one after the other look at the folder once a second */
#define RCLONE_LOOK_MS 250		/* how old a look before a change may be; listings always look */
#define RCLONE_FRESH 64
#define RCLONE_PLACES 32
#define RCLONE_LONG (1u << 20)
#define RCLONE_COARSE_NS 1000000	/* times coarser than that are looked at twice */

struct rclone {
	struct weir_backend base;
	struct weir_dav *dav;
	struct weir_rclone_child *child;
	char *remote, *fingerprint;
	pthread_rwlock_t lock;		/* every call holds it shared; a new rclone gets its address exclusively */
	struct weir_rclone_at at;
	char *rc_auth;			/* secret */
	/* what operations/fsinfo tells, once */
	bool is_known, has_move, has_dirs;
	int64_t precision_ns;		/* of times; 0: not told */
	char *version;			/* of rclone */
	pthread_mutex_t places[RCLONE_PLACES];	/* one for the paths of a hash: held while content goes to its place */
	pthread_mutex_t fresh_lock;
	struct { uint64_t folder; int64_t ms; } fresh[RCLONE_FRESH];
};

/* ---- the remote control ---- */

static enum weir_code
rc_post(struct rclone *r, const struct weir_ctx *ctx, const char *what, const json_t *in, json_t **out, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *url = weir_xasprintf("http://127.0.0.1:%d/%s", r->at.rc_port, what);
	WEIR_AUTO(weir_freep) char *body = json_dumps(in, JSON_COMPACT);
	const char *headers[] = { "Content-Type: application/json", r->rc_auth, NULL };
	struct weir_http_req req = { .method = "POST", .url = url, .headers = headers, .body = body ? body : "{}", .has_body = true,
		.cancel = ctx ? ctx->cancel : NULL };
	struct weir_http_resp resp = { 0 };
	enum weir_code code;
	json_t *j;

	req.body_len = strlen(req.body);
	code = weir_http_perform(r->dav->pool, &req, &resp, err);
	j = code ? NULL : json_loadb(weir_buf_str(&resp.body), resp.body.len, 0, NULL);
	if (!code && resp.status != 200) {
		const char *reason = json_string_value(json_object_get(j, "error"));

		code = weir_err_set(err, WEIR_E_SERVER, "rclone: %s: %.300s", what, reason ? reason : "refused");
	}
	if (!code && out)
		*out = json_incref(j);
	json_decref(j);
	weir_http_resp_free(&resp);
	return code;
}

static enum weir_code
rclone_forget(struct rclone *r, const struct weir_ctx *ctx, const char *path, bool is_dir, struct weir_err *err)
{
	json_t *in = json_pack("{s:s}", is_dir ? "dir" : "file", path);
	enum weir_code code;

	if (!in)
		return weir_err_set(err, WEIR_E_NAME, "'%s': rclone takes names in UTF-8 only", path);
	code = rc_post(r, ctx, "vfs/forget", in, NULL, err);
	json_decref(in);
	return code;
}

static uint64_t
fresh_hash(const char *path, bool is_dir)
{
	const char *slash = strrchr(path, '/'), *end = is_dir ? path + strlen(path) : slash ? slash : path;
	uint64_t h = 14695981039346656037u;

	for (const char *p = path; p < end; p++)
		h = (h ^ (unsigned char)*p) * 1099511628211u;
	return h | 1;
}

/* Was this folder, or the folder of this file, looked at within the last so many ms? If not, it counts as looked at from now on. Where many
 * files of one folder are changed at once, each look would list it again, and each listing undo the others'. */
static bool
fresh_was(struct rclone *r, const char *path, bool is_dir, int64_t within_ms)
{
	uint64_t h = fresh_hash(path, is_dir);
	size_t i = h / 2 % RCLONE_FRESH;
	int64_t now = weir_now_ms();
	bool was;

	pthread_mutex_lock(&r->fresh_lock);
	was = r->fresh[i].folder == h && now - r->fresh[i].ms < within_ms;
	if (!was) {
		r->fresh[i].folder = h;
		r->fresh[i].ms = now;
	}
	pthread_mutex_unlock(&r->fresh_lock);
	return was;
}

/* ---- the dialect ---- */

/* What this thread has just written itself, rclone knows better than any listing; a look at it need not cost one. */
static _Thread_local bool rclone_is_own;

static enum weir_code
rclone_stat_own(struct weir_dav *d, const struct weir_ctx *ctx, const char *path, struct weir_stat *st, struct weir_err *err)
{
	enum weir_code code;

	rclone_is_own = true;
	code = weir_dav_stat(d, ctx, path, st, err);
	rclone_is_own = false;
	return code;
}

static enum weir_code
rclone_look_within(struct weir_dav *d, const struct weir_ctx *ctx, const char *path, bool is_dir, int64_t ms, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *theirs = NULL;

	if (rclone_is_own || (fresh_was(d->own, path, is_dir, ms) && !is_dir))
		return WEIR_OK;
	theirs = weir_dav_escape(&d->names, path);
	return rclone_forget(d->own, ctx, theirs, is_dir, err);
}

static enum weir_code
rclone_look(struct weir_dav *d, const struct weir_ctx *ctx, const char *path, bool is_dir, struct weir_err *err)
{
	return rclone_look_within(d, ctx, path, is_dir, RCLONE_LOOK_MS, err);
}

static int
rclone_status(const struct weir_dav_call *c)
{
	int s = c->resp.status;
	const char *m = c->req.method;

	if (s == 405)
		return 500;
	return s == 403 && (strcmp(m, "MOVE") == 0 || strcmp(m, "COPY") == 0) ? 500 : s;
}

/* Its remote control speaks JSON: what it cannot be asked about must not come to be. */
static enum weir_code
rclone_name(struct weir_dav *d, const char *leaf, struct weir_err *err)
{
	json_t *v = json_string(leaf);

	(void)d;
	if (!v)
		return weir_err_set(err, WEIR_E_NAME, "'%s': rclone takes names in UTF-8 only", leaf);
	json_decref(v);
	return WEIR_OK;
}

static const struct weir_dav_dialect rclone_dialect = {
	.type = "rclone",
	.props = "<d:resourcetype/><d:getlastmodified/><d:getcontentlength/><d:getetag/>",
	.name = rclone_name,
	.look = rclone_look,
	.status = rclone_status,
	.stall_ms = RCLONE_STALL_MS,
};

/* ---- an rclone to talk to ---- */

/* The password must be asked for: an rclone that serves everybody on this host is none for us. */
static enum weir_code
rclone_is_closed(struct rclone *r, struct weir_err *err)
{
	const int ports[] = { r->at.port, r->at.rc_port };

	for (size_t i = 0; i < WEIR_LEN(ports); i++) {
		WEIR_AUTO(weir_freep) char *url = weir_xasprintf("http://127.0.0.1:%d/%s", ports[i], i ? "operations/list" : "");
		struct weir_http_req req = { .method = i ? "POST" : "PROPFIND", .url = url };
		struct weir_http_resp resp = { 0 };
		enum weir_code code = weir_http_perform(r->dav->pool, &req, &resp, err);
		int status = resp.status;

		weir_http_resp_free(&resp);
		if (code)
			return code;
		if (status != 401 && status != 403)
			return weir_err_set(err, WEIR_E_CONFIG, "this rclone serves without asking for the password it was given");
	}
	return WEIR_OK;
}

static void
rclone_take_features(struct rclone *r, const json_t *info)
{
	const json_t *f = json_object_get(info, "Features"), *p = json_object_get(info, "Precision");
	unsigned caps = WEIR_CAP_RANGES | WEIR_CAP_DIRS;

	r->has_move = json_is_true(json_object_get(f, "Move")) || json_is_true(json_object_get(f, "Copy"));
	r->has_dirs = json_is_true(json_object_get(f, "CanHaveEmptyDirectories"));
	if (json_is_true(json_object_get(f, "DirMove")))
		caps |= WEIR_CAP_DIR_MOVE;
	if (json_is_true(json_object_get(f, "CaseInsensitive")))
		caps |= WEIR_CAP_FOLD_CASE;
	r->precision_ns = json_is_integer(p) ? (int64_t)json_integer_value(p) : 0;
	atomic_fetch_or(&r->base.caps, caps);
}

static enum weir_code
rclone_learn(struct rclone *r, const struct weir_ctx *ctx, struct weir_err *err)
{
	json_t *in = json_pack("{s:s}", "fs", r->remote), *info = NULL, *nothing = json_object();
	enum weir_code code = in ? rc_post(r, ctx, "operations/fsinfo", in, &info, err) :
	    weir_err_set(err, WEIR_E_CONFIG, "'remote' is not UTF-8");

	if (code == WEIR_E_SERVER)	/* "is a file not a directory", say: it would be served as its folder with everything else hidden */
		code = err && weir_rclone_start_code(err->msg) == WEIR_E_NET ? WEIR_E_NET : WEIR_E_CONFIG;
	if (!code && !json_is_object(json_object_get(info, "Features")))
		code = weir_err_set(err, WEIR_E_PROTO, "rclone does not tell what '%s' can do", r->remote);
	if (!code)
		rclone_take_features(r, info);
	json_decref(info);
	info = NULL;
	if (!code && rc_post(r, ctx, "core/version", nothing, &info, NULL) == WEIR_OK)
		r->version = weir_xstrdup(json_string_value(json_object_get(info, "version")));
	json_decref(info);
	json_decref(in);
	json_decref(nothing);
	r->is_known = !code;
	return code;
}

/* Under the lock, exclusively. */
static enum weir_code
rclone_start(struct rclone *r, const struct weir_ctx *ctx, struct weir_err *err)
{
	struct weir_dav *d = r->dav;
	enum weir_code code;

	if (r->at.generation && weir_rclone_child_is_up(r->child, r->at.generation))
		return WEIR_OK;		/* another thread was here first */
	r->at.generation = 0;
	code = weir_rclone_child_up(r->child, ctx ? ctx->cancel : NULL, &r->at, err);
	if (code) {
		r->at.generation = 0;
		return code;
	}
	weir_secret_free(r->rc_auth);
	r->rc_auth = weir_rclone_basic(&r->at);
	weir_secret_free(d->auth);
	d->auth = weir_xstrdup(r->rc_auth);
	free(d->origin);
	d->origin = weir_xasprintf("http://127.0.0.1:%d", r->at.port);
	atomic_store(&d->is_auth_dead, false);
	code = rclone_is_closed(r, err);
	if (!code && !r->is_known)
		code = rclone_learn(r, ctx, err);
	if (code)
		r->at.generation = 0;
	return code;
}

/* Begin of every call that talks to rclone; when it is WEIR_OK, rclone_leave() must follow. */
static enum weir_code
rclone_enter(struct rclone *r, const struct weir_ctx *ctx, struct weir_err *err)
{
	enum weir_code code;

	for (;;) {
		pthread_rwlock_rdlock(&r->lock);
		if (weir_rclone_child_is_up(r->child, r->at.generation))
			return WEIR_OK;
		pthread_rwlock_unlock(&r->lock);
		pthread_rwlock_wrlock(&r->lock);
		code = rclone_start(r, ctx, err);
		pthread_rwlock_unlock(&r->lock);
		if (code)
			return code;
	}
}

/* The statuses of this server say little; what rclone printed meanwhile says why. */
static enum weir_code
rclone_leave(struct rclone *r, enum weir_code code, int64_t since_ms, struct weir_err *err)
{
	unsigned found = atomic_load(&r->dav->base.caps) & (WEIR_CAP_MTIME | WEIR_CAP_LIST_MTIME);
	char words[256], was[256];

	if (found & ~atomic_load(&r->base.caps))
		atomic_fetch_or(&r->base.caps, found);
	if (err && (code == WEIR_E_SERVER || code == WEIR_E_NET || code == WEIR_E_PROTO)) {
		weir_rclone_child_words(r->child, since_ms, words, sizeof(words));
		if (*words && !strstr(err->msg, words)) {
			snprintf(was, sizeof(was), "%s", weir_err_text(err, code));
			weir_err_set(err, code, "%s; rclone says: %s", was, words);
		}
	}
	pthread_rwlock_unlock(&r->lock);
	return code;
}

/* ---- opening ---- */

static char *
rclone_config_path(const char *given)
{
	return given ? weir_xstrdup(given) : weir_rclone_ini_path();
}

/* What the section says of where it leads. Not all it says: rclone writes tokens and findings there (sftp: md5sum_command). */
static void
fingerprint_section(struct weir_buf *b, const struct weir_rclone_section *s)
{
	static const char *const keys[] = { "type", "provider", "remote", "upstreams", "url", "endpoint", "host", "hostname", "port", "domain", "user",
		"username", "account", "project_number", "region", "location_constraint", "tenant", "tenant_id", "container", "bucket", "share_name",
		"drive_id", "drive_type", "site_id", "team_drive", "root_folder_id", "root_namespace", "starred_only", "shared_with_me", "impersonate",
		"root", "device", "mountpoint", "namenode", "service_name", "filename_encryption", "directory_name_encryption", "vendor" };

	for (size_t i = 0; i < WEIR_LEN(keys); i++) {
		const char *v = weir_rclone_ini_get(s, keys[i]);

		if (v && !weir_rclone_ini_is_secret(keys[i]))
			weir_buf_addf(b, " %s=%s", keys[i], v);
	}
}

/* crypt writes names of 16-byte blocks in base32: 143 bytes become 231, one more 255 and above. */
static size_t
section_name_max(const struct weir_rclone_section *s)
{
	const char *type = weir_rclone_ini_get(s, "type"), *how = weir_rclone_ini_get(s, "filename_encryption");

	if (!type || strcmp(type, "crypt") != 0 || (how && strcmp(how, "off") == 0))
		return 255;
	return how && strcmp(how, "obfuscate") == 0 ? 240 : 143;
}

static void
rclone_identify(struct rclone *r, const char *config)
{
	WEIR_AUTO(weir_freep) char *path = rclone_config_path(config);
	WEIR_AUTO(weir_rclone_ini_freep) struct weir_rclone_ini *ini = NULL;
	WEIR_AUTO(weir_freep) char *name = weir_xstrndup(r->remote, strcspn(r->remote, ":"));
	struct weir_buf b = WEIR_BUF(8192);
	const struct weir_rclone_section *s;

	r->base.limits.name_max = 255;
	weir_buf_addf(&b, "rclone %s", r->remote);
	if (path && weir_rclone_ini_load(path, &ini, NULL) == WEIR_OK && (s = weir_rclone_ini_section(ini, name)) != NULL) {
		fingerprint_section(&b, s);
		r->base.limits.name_max = section_name_max(s);
	}
	r->dav->base.limits.name_max = r->base.limits.name_max;
	r->fingerprint = weir_buf_take(&b);
}

static enum weir_code
rclone_open_dav(struct rclone *r, const struct weir_remote_conf *rc, struct weir_http *http, struct weir_err *err)
{
	struct weir_kv url = { (char *)(uintptr_t)"url", (char *)(uintptr_t)"http://127.0.0.1:9", rc->line };
	struct weir_remote_conf inner = *rc;
	enum weir_code code;

	inner.kv = &url;		/* the true address comes with each rclone */
	inner.nkv = 1;
	inner.proxy = (char *)(uintptr_t)"";	/* none to loopback, whatever the environment says */
	inner.ca_file = NULL;
	code = weir_dav_open(&r->dav, &rclone_dialect, &inner, http, RCLONE_CONNECTIONS, err);
	if (code)
		return code;
	r->dav->own = r;
	r->dav->conf = rc;
	r->dav->names.is_rclone = true;
	free(r->dav->url);
	r->dav->url = weir_xstrdup(r->remote);	/* for sentences */
	return WEIR_OK;
}

static void
rclone_close(struct weir_backend *b)
{
	struct rclone *r = (struct rclone *)b;

	weir_rclone_child_free(r->child);
	if (r->dav)
		weir_dav_close(&r->dav->base);
	pthread_rwlock_destroy(&r->lock);
	pthread_mutex_destroy(&r->fresh_lock);
	for (size_t i = 0; i < RCLONE_PLACES; i++)
		pthread_mutex_destroy(&r->places[i]);
	explicit_bzero(&r->at, sizeof(r->at));
	weir_secret_free(r->rc_auth);
	free(r->remote);
	free(r->fingerprint);
	free(r->version);
	free(r);
}

static enum weir_code
rclone_open(struct weir_backend **out, const struct weir_remote_conf *rc, struct weir_http *http, struct weir_err *err)
{
	struct rclone *r = weir_xcalloc(1, sizeof(*r));
	const char *remote = NULL, *program = weir_conf_get(rc, "rclone");
	struct weir_rclone_how how = { .name = rc->name, .config = weir_conf_get(rc, "config"), .program = program ? program : "rclone",
		.proxy = rc->proxy, .ca_file = rc->ca_file };
	pthread_rwlockattr_t attr;
	enum weir_code code = weir_conf_need(rc, "remote", &remote, err);

	/* A new rclone must not wait until by chance nobody calls. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&r->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	pthread_mutex_init(&r->fresh_lock, NULL);
	for (size_t i = 0; i < RCLONE_PLACES; i++)
		pthread_mutex_init(&r->places[i], NULL);
	r->remote = weir_xstrdup(remote);
	if (!code && (!strchr(remote, ':') || *remote == '-'))
		code = weir_err_set(err, WEIR_E_CONFIG, "remote '%s': 'remote = %s' is no NAME: or NAME:PATH, as 'rclone listremotes' names them",
		    rc->name, remote);
	if (!code && weir_rclone_remote_has_secret(remote))
		code = weir_err_set(err, WEIR_E_CONFIG, "remote '%s': 'remote' holds a secret, which everybody on this host could read while rclone runs; "
		    "put it into a section of rclone.conf", rc->name);
	if (!code)
		code = rclone_open_dav(r, rc, http, err);
	if (code) {
		rclone_close(&r->base);
		return code;
	}
	how.remote = remote;
	r->child = weir_rclone_child_new(&how);
	r->base.ops = &weir_backend_rclone;
	r->base.limits.connections = RCLONE_CONNECTIONS;
	rclone_identify(r, how.config);
	atomic_store(&r->base.caps, WEIR_CAP_RANGES | WEIR_CAP_DIRS);
	*out = &r->base;
	return WEIR_OK;
}

static char *
rclone_fingerprint(struct weir_backend *b)
{
	return weir_xstrdup(((struct rclone *)b)->fingerprint);
}

static void
rclone_stats(struct weir_backend *b, int64_t *heard_ms, struct weir_http_stats *stats)
{
	weir_dav_stats(&((struct rclone *)b)->dav->base, heard_ms, stats);
}

/* ---- looking ---- */

/* BEGIN and END of a hook. */
#define ENTER \
	struct rclone *r = (struct rclone *)b; \
	struct weir_dav *d = r->dav; \
	int64_t since_ms = weir_now_ms(); \
	enum weir_code code = rclone_enter(r, ctx, err); \
	if (code) \
		return code
#define LEAVE return rclone_leave(r, code, since_ms, err)

static enum weir_code
rclone_probe(struct weir_backend *b, const struct weir_ctx *ctx, struct weir_err *err)
{
	struct weir_dav_listing l = { 0 };
	ENTER;

	/* The root itself is always shown; only a look into it tells whether it is there. */
	code = weir_dav_list_url(d, ctx, weir_dav_url(d, "", true), d->root_plain, "", "<d:resourcetype/>", &l, err);
	weir_dav_listing_free(&l);
	if (code == WEIR_E_NOENT || code == WEIR_E_SERVER || code == WEIR_E_PROTO) {
		char words[256];

		weir_rclone_child_words(r->child, since_ms, words, sizeof(words));
		if (code == WEIR_E_NOENT || strstr(words, "directory not found") || strstr(words, "NoSuchBucket"))
			code = weir_err_set(err, WEIR_E_NOBUCKET, "there is no '%s'%s%s", r->remote, *words ? "; rclone says: " : "", words);
		else if (*words && weir_rclone_start_code(words) == WEIR_E_AUTH)
			code = weir_err_set(err, WEIR_E_AUTH, "'%s' refuses the credentials; rclone says: %s", r->remote, words);
	}
	LEAVE;
}

static enum weir_code
rclone_stat(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, struct weir_stat *st, struct weir_err *err)
{
	ENTER;

	code = weir_dav_op_stat(&d->base, ctx, w, st, err);
	LEAVE;
}

struct rclone_list {
	weir_list_fn *fn;
	void *arg;
	char *stale[16];		/* temporary names that are nobody's any more */
	size_t nstale;
};

static bool
rclone_is_hidden(const char *name)
{
	return strncmp(name, RCLONE_TEMP, strlen(RCLONE_TEMP)) == 0 || strcmp(name, RCLONE_KEEP) == 0;
}

/* ".weir-upload-" and 8 hex digits of when it was begun: its mtime may be that of the file it is to become. */
static bool
rclone_is_stale(const char *name)
{
	unsigned char raw[4];
	int64_t at;

	if (strlen(name) < strlen(RCLONE_TEMP) + 8 || weir_unhex(name + strlen(RCLONE_TEMP), 8, raw) < 0)
		return false;
	at = (int64_t)raw[0] << 24 | (int64_t)raw[1] << 16 | (int64_t)raw[2] << 8 | raw[3];
	return at < weir_wall_ns() / 1000000000 - RCLONE_TEMP_AGE_S;
}

static enum weir_code
rclone_entry(void *arg, const struct weir_stat *st, struct weir_err *err)
{
	struct rclone_list *l = arg;

	if (!rclone_is_hidden(st->path))
		return l->fn(l->arg, st, err);
	if (l->nstale < WEIR_LEN(l->stale) && rclone_is_stale(st->path))
		l->stale[l->nstale++] = weir_xstrdup(st->path);
	return WEIR_OK;
}

static void
rclone_delete(struct weir_dav *d, const struct weir_ctx *ctx, const char *path)
{
	struct weir_dav_call c;

	weir_dav_call(&c, d, "DELETE", path, false);
	weir_dav_send(d, ctx, &c, NULL);
	weir_dav_call_free(&c);
}

static enum weir_code
rclone_list(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, unsigned flags, weir_list_fn *fn, void *arg,
    char **self_version, struct weir_err *err)
{
	struct rclone_list l = { .fn = fn, .arg = arg };
	ENTER;

	code = weir_dav_op_list(&d->base, ctx, w, flags, rclone_entry, &l, self_version, err);
	for (size_t i = 0; i < l.nstale; i++) {
		WEIR_AUTO(weir_freep) char *path = weir_path_join(w->path, l.stale[i]);

		if (!code)
			rclone_delete(d, ctx, path);
		free(l.stale[i]);
	}
	LEAVE;
}

static enum weir_code
rclone_get(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, uint64_t off, uint64_t len, struct weir_sink *sink,
    struct weir_stat *st, struct weir_err *err)
{
	struct weir_stat now = { 0 };
	ENTER;

	code = rclone_look_within(d, ctx, w->path, false, RCLONE_FRESH_MS, err);
	if (!code)
		code = weir_dav_op_get(&d->base, ctx, w, off, len, sink, st, err);
	if (code == WEIR_E_NOENT) {	/* or something failed behind it */
		struct weir_err why = { 0 };
		enum weir_code seen = weir_dav_stat(d, ctx, w->path, &now, &why);

		if (!seen && now.type == WEIR_DIR)
			code = weir_err_set(err, WEIR_E_ISDIR, "'%s' is a folder", w->path);
		else if (!seen)
			code = weir_err_set(err, WEIR_E_SERVER, "'%s' cannot be read just now", w->path);
		else if (seen != WEIR_E_NOENT)
			code = weir_err_set(err, seen, "%s", weir_err_text(&why, seen));
		weir_stat_free(&now);
	}
	LEAVE;
}

static enum weir_code
rclone_quota(struct weir_backend *b, const struct weir_ctx *ctx, struct weir_usage *u, struct weir_err *err)
{
	json_t *in, *about = NULL, *v;
	ENTER;

	(void)d;
	memset(u, 0, sizeof(*u));
	in = json_pack("{s:s}", "fs", r->remote);
	if (rc_post(r, ctx, "operations/about", in, &about, NULL) == WEIR_OK) {	/* many storages have no such thing */
		if (json_is_integer(v = json_object_get(about, "used")) && json_integer_value(v) >= 0) {
			u->has_used = true;
			u->used = (uint64_t)json_integer_value(v);
		}
		if (u->has_used && json_is_integer(v = json_object_get(about, "free")) && json_integer_value(v) >= 0) {
			u->has_total = true;	/* what others on the same disk use is not ours to fill */
			u->total = u->used + (uint64_t)json_integer_value(v);
		}
	}
	json_decref(about);
	json_decref(in);
	LEAVE;
}

/* ---- writing ---- */

struct rclone_put {
	struct rclone *r;
	const struct weir_ctx *ctx;
	const struct weir_where *w;
	struct weir_source *source;
	uint64_t size;
	const struct weir_meta *meta;
	char *temp;			/* path of the temporary name; NULL: content goes to its place */
};

static char *
parent_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? weir_xstrndup(path, (size_t)(slash - path)) : weir_xstrdup("");
}

/* A PUT that failed: is its folder there? Else the far side failed. */
static enum weir_code
put_refused(struct rclone_put *p, const struct weir_dav_call *c, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *parent = parent_of(p->w->path);
	struct weir_stat st = { 0 };
	enum weir_code code = c->resp.status == 404 && *parent ? weir_dav_stat(p->r->dav, p->ctx, parent, &st, err) : WEIR_OK;

	if (!code && st.type == WEIR_FILE)
		code = weir_err_set(err, WEIR_E_NOTDIR, "'%s' is a file", parent);
	weir_stat_free(&st);
	if (code)
		return code;
	return c->resp.status == 404 ? weir_err_set(err, WEIR_E_SERVER, "'%s' cannot be written just now", p->w->path) : weir_dav_refused(c, err);
}

/* The content, whole, to its temporary name. */
static enum weir_code
put_content(struct rclone_put *p, const char *path, struct weir_err *err)
{
	struct weir_dav *d = p->r->dav;
	bool wants_mtime = p->meta && p->meta->mtime_ns != WEIR_TIME_NONE;
	struct weir_stat st = { 0 };
	struct weir_dav_call c;
	enum weir_code code;

	weir_dav_call(&c, d, "PUT", path, false);
	weir_dav_upload_headers(d, &c, p->meta, NULL);
	c.req.source = p->source;
	c.req.body_len = p->size;
	c.req.has_body = true;
	c.req.stall_ms = RCLONE_WRITE_STALL_MS;
	code = weir_dav_send(d, p->ctx, &c, err);
	if (!code && !weir_dav_ok(&c))
		code = put_refused(p, &c, err);
	weir_dav_call_free(&c);
	if (!code && wants_mtime && !atomic_load(&d->mtime_by_put) && atomic_load(&d->mtime_by_patch))
		code = weir_dav_patch_mtime(d, p->ctx, path, false, p->meta->mtime_ns, err);
	if (code)
		return code;
	/* "Created" is said even when the last byte never came. */
	code = rclone_stat_own(d, p->ctx, path, &st, err);
	if (code == WEIR_E_NOENT || (!code && st.size != p->size && st.size != WEIR_SIZE_NONE))
		code = weir_err_set(err, WEIR_E_SERVER, "'%s' did not arrive whole", p->w->path);
	weir_stat_free(&st);
	return code;
}

static enum weir_code
put_rename(struct rclone_put *p, bool may_replace, struct weir_err *err)
{
	struct weir_dav *d = p->r->dav;
	WEIR_AUTO(weir_freep) char *dest = weir_dav_url(d, p->w->path, false);
	struct weir_dav_call c;
	enum weir_code code;

	weir_dav_call(&c, d, "MOVE", p->temp, false);
	c.path = p->w->path;
	weir_dav_header(&c, "Destination: %s", dest);
	weir_dav_header(&c, "Overwrite: %s", may_replace ? "T" : "F");
	c.req.stall_ms = RCLONE_WRITE_STALL_MS;
	code = weir_dav_send(d, p->ctx, &c, err);
	if (!code && c.resp.status == 412)
		code = weir_err_set(err, WEIR_E_CHANGED, "'%s' is there already", p->w->path);
	else if (!code && !weir_dav_ok(&c))
		code = weir_dav_refused(&c, err);
	weir_dav_call_free(&c);
	return code;
}

/* To its place. The server removes what is there and renames then; when the second step failed, it is tried once more. */
static enum weir_code
put_to_place(struct rclone_put *p, struct weir_err *err)
{
	struct weir_dav *d = p->r->dav;
	bool may_replace = p->w->version != WEIR_ABSENT;
	enum weir_code code = put_rename(p, may_replace, err);
	struct weir_stat st = { 0 };

	if (code != WEIR_E_SERVER || !may_replace)
		return code;
	if (weir_dav_stat(d, p->ctx, p->w->path, &st, NULL) == WEIR_E_NOENT)
		code = put_rename(p, false, err);
	weir_stat_free(&st);
	return code;
}

/* Versions are time and size. Where times are coarse, what replaces a file of its size within one second would pass for the same
 * version, and the next one to compare would be wrong: it is sent again when the second is over. */
static enum weir_code
put_until_new(struct rclone_put *p, struct weir_err *err)
{
	struct weir_dav *d = p->r->dav;
	enum weir_code code = WEIR_OK;

	for (int tries = 0; !code && tries < 3; tries++) {
		struct weir_stat old = { 0 }, now = { 0 };
		bool is_same = p->r->precision_ns >= RCLONE_COARSE_NS && weir_dav_stat(d, p->ctx, p->w->path, &old, NULL) == WEIR_OK &&
		    weir_dav_stat(d, p->ctx, p->temp, &now, NULL) == WEIR_OK && weir_dav_same(old.version, now.version);

		weir_stat_free(&old);
		weir_stat_free(&now);
		if (!is_same)
			break;
		code = weir_layer_sleep(p->ctx, weir_now_ms() + 1000 - weir_wall_ns() / 1000000 % 1000 + 20, err);
		if (!code)
			code = put_content(p, p->temp, err);
	}
	return code;
}

/* A look right before the content goes to its place. That nothing is there, one question about this file tells; a PROPFIND would list its
 * folder for it, once for each of the files that are put there. A folder of that name the server sees itself (Overwrite: F). */
static enum weir_code
put_compare(struct rclone_put *p, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *theirs = weir_dav_escape(&p->r->dav->names, p->w->path);
	json_t *in, *out = NULL, *item;
	enum weir_code code;

	if (p->w->version != WEIR_ABSENT || !p->temp)
		return weir_dav_compare(p->r->dav, p->ctx, p->w, err);
	in = json_pack("{s:s, s:s, s:{s:b}}", "fs", p->r->remote, "remote", theirs, "opt", "filesOnly", 1);
	code = in ? rc_post(p->r, p->ctx, "operations/stat", in, &out, NULL) : WEIR_E_NAME;
	item = json_object_get(out, "item");
	if (code || !item)
		code = weir_dav_compare(p->r->dav, p->ctx, p->w, err);
	else if (!json_is_null(item))
		code = weir_err_set(err, WEIR_E_CHANGED, "'%s' is there already", p->w->path);
	json_decref(out);
	json_decref(in);
	return code;
}

static enum weir_code
put_all(struct rclone_put *p, struct weir_stat *out, struct weir_err *err)
{
	struct weir_dav *d = p->r->dav;
	struct weir_stat st = { 0 };
	pthread_mutex_t *place;
	bool is_long = !p->temp || p->size > RCLONE_LONG;	/* else the look right before the rename is soon enough */
	enum weir_code code = is_long ? put_compare(p, err) : WEIR_OK;

	if (!code)
		code = put_content(p, p->temp ? p->temp : p->w->path, err);
	if (!code && p->temp && p->w->version != WEIR_ABSENT)
		code = put_until_new(p, err);
	/* The server removes, then renames: of two at once, one would find the gap that the other has just made. */
	place = &p->r->places[fresh_hash(p->w->path, true) / 2 % RCLONE_PLACES];
	pthread_mutex_lock(place);
	if (!code && p->temp)
		code = put_compare(p, err);
	if (!code && p->temp)
		code = put_to_place(p, err);
	if (code && p->temp && code != WEIR_E_NET && code != WEIR_E_CANCELED)
		rclone_delete(d, p->ctx, p->temp);
	if (!code)	/* where times are coarse, rclone may still think of them as it sent them */
		code = p->r->precision_ns >= RCLONE_COARSE_NS ? weir_dav_stat(d, p->ctx, p->w->path, &st, err) :
		    rclone_stat_own(d, p->ctx, p->w->path, &st, err);
	pthread_mutex_unlock(place);
	if (code == WEIR_E_NOENT || (!code && (st.type != WEIR_FILE || (st.size != p->size && st.size != WEIR_SIZE_NONE))))
		code = weir_err_set(err, WEIR_E_CHANGED, "'%s' was changed by someone else while it was written", p->w->path);
	if (!code && out)
		*out = st;
	else
		weir_stat_free(&st);
	return code;
}

static enum weir_code
rclone_put(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, enum weir_type type, struct weir_source *src,
    uint64_t size, const struct weir_meta *meta, const char *sum, struct weir_stat *st, struct weir_err *err)
{
	struct rclone_put p = { .ctx = ctx, .w = w, .source = src, .size = size, .meta = meta };
	char hex[17];

	(void)sum;			/* rclone compares what it sent with what the storage says */
	if (type != WEIR_FILE)
		return weir_err_set(err, WEIR_E_NOTSUP, "'%s': rclone serves files and folders only", w->path);
	ENTER;
	code = weir_dav_learn(d, ctx, err);
	if (!code)
		code = weir_dav_check_name(d, w->path, err);
	if (!code) {
		WEIR_AUTO(weir_freep) char *parent = parent_of(w->path);

		p.r = r;
		weir_random_hex(hex, sizeof(hex) - 1);
		if (r->has_move)
			p.temp = weir_xasprintf("%s%s" RCLONE_TEMP "%08x%s", parent, *parent ? "/" : "", (unsigned)(weir_wall_ns() / 1000000000),
			    hex);
		code = put_all(&p, st, err);
		free(p.temp);
	}
	LEAVE;
}

/* ---- names ---- */

static ssize_t
empty_read(struct weir_source *s, void *buf, size_t len, uint64_t off)
{
	(void)s, (void)buf, (void)len, (void)off;
	return 0;
}

/* A folder that would not be there without something in it. */
static enum weir_code
rclone_keep(struct rclone *r, const struct weir_ctx *ctx, const char *dir, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *path = weir_path_join(dir, RCLONE_KEEP);
	struct weir_source nothing = { empty_read };
	const struct weir_where w = { .path = path };
	struct rclone_put p = { .r = r, .ctx = ctx, .w = &w, .source = &nothing };

	return put_all(&p, NULL, err);
}

static enum weir_code
rclone_mkdir(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, struct weir_stat *st, struct weir_err *err)
{
	struct weir_stat there = { 0 };
	ENTER;

	code = weir_dav_check_name(d, w->path, err);
	if (!code && weir_dav_stat(d, ctx, w->path, &there, NULL) == WEIR_OK)
		code = weir_err_set(err, WEIR_E_EXIST, "'%s' is there already", w->path);
	weir_stat_free(&there);
	if (!code)
		code = weir_dav_op_mkdir(&d->base, ctx, w, st, err);
	if (!code && !r->has_dirs)
		code = rclone_keep(r, ctx, w->path, err);
	LEAVE;
}

struct rclone_left { size_t others; char *names[64]; size_t n; };

static enum weir_code
left_entry(void *arg, const struct weir_stat *st, struct weir_err *err)
{
	struct rclone_left *l = arg;

	(void)err;
	if (rclone_is_hidden(st->path) && l->n < WEIR_LEN(l->names))
		l->names[l->n++] = weir_xstrdup(st->path);
	else
		l->others++;
	return WEIR_OK;
}

/* What only we put there is no reason to keep a folder. */
static void
rclone_clear(struct weir_dav *d, const struct weir_ctx *ctx, const struct weir_where *w)
{
	struct rclone_left l = { 0 };
	enum weir_code code = weir_dav_op_list(&d->base, ctx, w, 0, left_entry, &l, NULL, NULL);

	for (size_t i = 0; i < l.n; i++) {
		WEIR_AUTO(weir_freep) char *path = weir_path_join(w->path, l.names[i]);

		if (!code && !l.others)
			rclone_delete(d, ctx, path);
		free(l.names[i]);
	}
}

static enum weir_code
rclone_remove(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, bool is_dir, struct weir_err *err)
{
	ENTER;

	code = weir_dav_op_remove(&d->base, ctx, w, is_dir, err);
	if (code == WEIR_E_NOTEMPTY) {
		rclone_clear(d, ctx, w);
		code = weir_dav_op_remove(&d->base, ctx, w, true, err);
		if (code == WEIR_E_NOENT && !r->has_dirs)
			code = WEIR_OK;	/* it went with the file that kept it */
	}
	LEAVE;
}

static enum weir_code
rclone_move(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *from, const struct weir_where *to, bool is_dir,
    struct weir_stat *st, struct weir_err *err)
{
	ENTER;

	if (is_dir || r->has_move) {
		code = weir_dav_op_move(&d->base, ctx, from, to, is_dir, st, err);
	} else {			/* neither rename nor copy there: rclone reads and writes */
		code = weir_dav_op_copy(&d->base, ctx, from, to, st, err);
		if (!code)
			code = weir_dav_op_remove(&d->base, ctx, from, false, err);
	}
	LEAVE;
}

static enum weir_code
rclone_set_meta(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, bool is_dir, const struct weir_meta *meta,
    struct weir_stat *st, struct weir_err *err)
{
	ENTER;

	code = weir_dav_op_set_meta(&d->base, ctx, w, is_dir, meta, st, err);
	LEAVE;
}

static enum weir_code
rclone_check(struct weir_backend *b, const struct weir_ctx *ctx, void (*line)(void *, const char *), void *arg, struct weir_err *err)
{
	char text[200];
	ENTER;

	snprintf(text, sizeof(text), "served by rclone %s", r->version ? r->version : "(of unknown version)");
	line(arg, text);
	code = weir_dav_op_check(&d->base, ctx, line, arg, err);
	if (!code && r->precision_ns >= 1000000000LL * 86400)
		line(arg, "times are those of the upload: the storage keeps no others");
	else if (!code && r->precision_ns >= 1000000) {
		snprintf(text, sizeof(text), "versions are time and size: two changes of one size within %.3g s look the same",
		    (double)r->precision_ns / 1e9);
		line(arg, text);
	}
	if (!code && !r->has_move)
		line(arg, "the storage can neither rename nor copy: an upload that breaks off leaves a cut file until it is sent again");
	if (!code && !r->has_dirs)
		line(arg, "the storage holds no empty folders: weir keeps them with a hidden file " RCLONE_KEEP);
	LEAVE;
}

static const char *const rclone_keys[] = { "remote", "config", "rclone", NULL };

static const struct weir_ask rclone_asks[] = {
	{"remote", "Remote as rclone calls it (name:folder)", false, false},
	{NULL, NULL, false, false},
};

const struct weir_backend_ops weir_backend_rclone = {
	.name = "rclone",
	.keys = rclone_keys,
	.asks = rclone_asks,
	.open = rclone_open,
	.close = rclone_close,
	.fingerprint = rclone_fingerprint,
	.probe = rclone_probe,
	.check = rclone_check,
	.stat = rclone_stat,
	.list = rclone_list,
	.get = rclone_get,
	.put = rclone_put,
	.move = rclone_move,
	.mkdir = rclone_mkdir,
	.remove = rclone_remove,
	.set_meta = rclone_set_meta,
	.quota = rclone_quota,
	.stats = rclone_stats,
};
