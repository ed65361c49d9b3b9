/* SPDX-License-Identifier: Apache-2.0 */
/* The account: does it work (probe, check), how much room it has, and where a team's tree begins. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "dropbox_impl.h"

#define ACCOUNT_SCRATCH ".weir-check-"

static enum weir_code
account_get(struct dropbox *s, const struct weir_ctx *ctx, json_t **out, struct weir_err *err)
{
	struct dropbox_req q = { .route = "users/get_current_account", .what = "look at the account" };

	return weir_dropbox_call(s, ctx, &q, out, NULL, err);
}

/* ---- team spaces ---- */

enum weir_code
weir_dropbox_path_root(struct dropbox *s, const struct weir_ctx *ctx, const char *stale, char **out, struct weir_err *err)
{
	json_t *j = NULL;
	const char *ns;
	bool is_known;
	enum weir_code r;

	pthread_mutex_lock(&s->lock);
	is_known = s->is_root_known && (stale == NULL || s->path_root == NULL || strcmp(stale, s->path_root) != 0);
	if (is_known)
		*out = weir_xstrdup(s->path_root);
	pthread_mutex_unlock(&s->lock);
	if (is_known)
		return WEIR_OK;
	if (!s->is_team_space)
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': root_namespace is not one that this account may see", s->name);
	r = account_get(s, ctx, &j, err);
	ns = json_string_value(json_object_get(json_object_get(j, "root_info"), "root_namespace_id"));
	if (r == WEIR_OK && (ns == NULL || strspn(ns, "0123456789") != strlen(ns)))
		r = weir_err_set(err, WEIR_E_PROTO, "the account tells no root_namespace_id");
	if (r == WEIR_OK) {
		*out = weir_xasprintf("{\".tag\":\"root\",\"root\":\"%s\"}", ns);
		pthread_mutex_lock(&s->lock);
		free(s->path_root);
		s->path_root = weir_xstrdup(*out);
		s->is_root_known = true;
		pthread_mutex_unlock(&s->lock);
	}
	json_decref(j);
	return r;
}

/* ---- probe ---- */

/* One listing says all: that it is Dropbox, that the sign-in holds and may list, that the root is a folder, and why not. */
enum weir_code
weir_dropbox_probe(struct weir_backend *be, const struct weir_ctx *ctx, struct weir_err *err)
{
	struct dropbox *s = (struct dropbox *)be;
	struct dropbox_req q = { .route = "files/list_folder", .arg = json_pack("{s:s, s:i}", "path", s->root, "limit", 1), .what = "list",
		.path = s->root[0] != '\0' ? s->root : "the root" };
	json_t *j = NULL;
	enum weir_code r = weir_dropbox_call(s, ctx, &q, &j, NULL, err);

	if (r == WEIR_OK && !json_is_array(json_object_get(j, "entries")))
		r = weir_err_set(err, WEIR_E_PROTO, "the answer to a listing has no entries");
	json_decref(j);
	switch (r) {
	case WEIR_E_ACCES:
		return WEIR_E_AUTH;
	case WEIR_E_NOENT:
	case WEIR_E_NOTDIR:
	case WEIR_E_NAME:
		return weir_err_set(err, WEIR_E_NOBUCKET, "there is no folder '%s' in this Dropbox", s->root);
	case WEIR_E_PROTO:
	case WEIR_E_INVAL:
		return weir_err_wrap(err, WEIR_E_CONFIG, "is there a Dropbox at %s?", s->api_url);
	default:
		return r;
	}
}

/* ---- check ---- */

struct account_text { struct weir_source src; const char *text; };

static ssize_t
account_read(struct weir_source *src, void *buf, size_t len, uint64_t off)
{
	const char *text = ((struct account_text *)src)->text;
	size_t n = strlen(text);

	if (off >= n)
		return 0;
	len = len < n - off ? len : (size_t)(n - off);
	memcpy(buf, text + off, len);
	return (ssize_t)len;
}

static enum weir_code
account_put(struct dropbox *s, const struct weir_ctx *ctx, const char *path, const char *version, const char *text, struct weir_stat *st,
    struct weir_err *err)
{
	struct account_text src = { { account_read }, text };
	const struct weir_where w = { .path = path, .version = version };
	const struct weir_meta meta = { WEIR_TIME_NONE, WEIR_MODE_NONE };

	return weir_dropbox_put(&s->be, ctx, &w, WEIR_FILE, &src.src, strlen(text), &meta, NULL, st, err);
}

static const char *
account_kept(enum weir_code refused)
{
	return refused == WEIR_E_CHANGED || refused == WEIR_E_EXIST ? "kept" : refused == WEIR_OK ? "NOT kept" : "not tried, the server had an error";
}

static void
account_say(void (*line)(void *, const char *), void *arg, const char *what, const char *result)
{
	char text[256];

	snprintf(text, sizeof(text), "%s: %s", what, result);
	line(arg, text);
}

static enum weir_code
account_try_writes(struct dropbox *s, const struct weir_ctx *ctx, void (*line)(void *, const char *), void *arg, struct weir_err *err)
{
	WEIR_AUTO(weir_stat_free) struct weir_stat one = { 0 }, two = { 0 }, unused = { 0 };
	char name[64], random[13];
	struct weir_where w = { .path = name };
	enum weir_code r;

	weir_random_hex(random, 12);
	snprintf(name, sizeof(name), ACCOUNT_SCRATCH "%s", random);
	r = account_put(s, ctx, name, WEIR_ABSENT, "one", &one, err);
	if (r == WEIR_E_ACCES) {	/* the top of a team's space is such a place: its folders may be written all the same */
		line(arg, "writes: refused in the root of this remote");
		return WEIR_OK;
	}
	if (r != WEIR_OK)
		return weir_err_wrap(err, r, "nothing can be written");
	account_say(line, arg, "create-only writes", account_kept(account_put(s, ctx, name, WEIR_ABSENT, "other", &unused, NULL)));
	r = account_put(s, ctx, name, one.version, "two", &two, err);
	if (r == WEIR_OK)
		account_say(line, arg, "writes over a named version", account_kept(account_put(s, ctx, name, one.version, "three", &unused, NULL)));
	w.version = one.version;
	account_say(line, arg, "removals of a named version", account_kept(weir_dropbox_remove(&s->be, ctx, &w, false, NULL)));
	w.version = NULL;
	weir_dropbox_remove(&s->be, ctx, &w, false, NULL);
	return r;
}

static void
account_say_who(const json_t *j, void (*line)(void *, const char *), void *arg)
{
	const char *name = json_string_value(json_object_get(json_object_get(j, "name"), "display_name"));
	const char *email = json_string_value(json_object_get(j, "email"));
	const char *kind = json_string_value(json_object_get(json_object_get(j, "account_type"), ".tag"));
	char text[256];

	snprintf(text, sizeof(text), "account: %s <%s>%s%s", name != NULL ? name : "?", email != NULL ? email : "?", kind != NULL ? ", " : "",
	    kind != NULL ? kind : "");
	line(arg, text);
}

enum weir_code
weir_dropbox_check(struct weir_backend *be, const struct weir_ctx *ctx, void (*line)(void *arg, const char *), void *arg, struct weir_err *err)
{
	struct dropbox *s = (struct dropbox *)be;
	struct weir_err why = { 0 };
	json_t *j = NULL;
	enum weir_code r = account_get(s, ctx, &j, &why);

	if (r == WEIR_OK)
		account_say_who(j, line, arg);
	else if (r == WEIR_E_ACCES)
		account_say(line, arg, "account", weir_err_text(&why, r));
	else if (err != NULL)
		*err = why;
	json_decref(j);
	if (r != WEIR_OK && r != WEIR_E_ACCES)
		return r;
	line(arg, "names: upper and lower case are one; times: whole seconds, sent with the content only");
	line(arg, "renames over a file: the old one steps aside for a moment, under a name that begins with .weir-aside-");
	line(arg, "removal of a folder: it is looked at first; what somebody puts into it in that moment goes along (Dropbox keeps removed files for 30 days)");
	return account_try_writes(s, ctx, line, arg, err);
}

/* ---- quota ---- */

static bool
account_number(const json_t *o, const char *key, uint64_t *out)
{
	const json_t *v = json_object_get(o, key);

	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return false;
	*out = (uint64_t)json_integer_value(v);
	return true;
}

/* Whose space it is: asked once. Without an answer the remote's figure is its own. */
static void
account_name(struct dropbox *s, const struct weir_ctx *ctx, char *out, size_t size)
{
	const char *id;
	json_t *j = NULL;

	pthread_mutex_lock(&s->lock);
	snprintf(out, size, "%s", s->account);
	pthread_mutex_unlock(&s->lock);
	if (*out != '\0' || account_get(s, ctx, &j, NULL) != WEIR_OK)
		return;
	id = json_string_value(json_object_get(j, "account_id"));
	pthread_mutex_lock(&s->lock);
	if (id != NULL)
		snprintf(s->account, sizeof(s->account), "dropbox %s", id);
	snprintf(out, size, "%s", s->account);
	pthread_mutex_unlock(&s->lock);
	json_decref(j);
}

enum weir_code
weir_dropbox_quota(struct weir_backend *be, const struct weir_ctx *ctx, struct weir_usage *u, struct weir_err *err)
{
	struct dropbox *s = (struct dropbox *)be;
	struct dropbox_req q = { .route = "users/get_space_usage", .what = "ask for the space used" };
	const json_t *a;
	const char *kind, *limit;
	uint64_t own, own_used;
	json_t *j = NULL;
	enum weir_code r = weir_dropbox_call(s, ctx, &q, &j, NULL, err);

	*u = (struct weir_usage){ 0 };
	if (r == WEIR_E_ACCES)		/* the app may not know: no reason to call the remote broken */
		return weir_err_set(err, WEIR_E_NOTSUP, "the app has no permission account_info.read");
	if (r != WEIR_OK)
		return r;
	a = json_object_get(j, "allocation");
	kind = json_string_value(json_object_get(a, ".tag"));
	u->has_used = account_number(j, "used", &u->used);
	u->has_total = account_number(a, "allocated", &u->total) && u->total > 0;
	if (kind != NULL && strcmp(kind, "team") == 0) {
		u->has_used = account_number(a, "used", &u->used);
		limit = json_string_value(json_object_get(json_object_get(a, "user_within_team_space_limit_type"), ".tag"));
		/* a limit of this person within the team's space that stops writes */
		if (account_number(a, "user_within_team_space_allocated", &own) && own > 0 && limit != NULL && strcmp(limit, "stop_sync") == 0 &&
		    account_number(a, "user_within_team_space_used_cached", &own_used)) {
			u->total = u->has_total && u->total < own ? u->total : own;
			u->used = own_used;
			u->has_total = u->has_used = true;
		}
	}
	account_name(s, ctx, u->account, sizeof(u->account));
	json_decref(j);
	return WEIR_OK;
}
