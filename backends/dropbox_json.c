/* SPDX-License-Identifier: Apache-2.0 */
/* JSON as Dropbox writes it (its Stone types): metadata, refusals, arguments. Unions carry ".tag"; the value of a tag stands under its own name,
 * or flattened beside it when it is a plain struct. Unknown fields and tags are no error. Pure. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "dropbox_impl.h"

char *
weir_dropbox_json_text(const json_t *j)
{
	WEIR_AUTO(weir_freep) char *plain = json_dumps(j, JSON_ENSURE_ASCII | JSON_COMPACT | JSON_ENCODE_ANY);
	WEIR_AUTO(weir_buf_free) struct weir_buf b = WEIR_BUF(16u << 20);

	for (const char *p = plain; p != NULL && *p != '\0'; p++) {
		if (*p == '\x7f')	/* ASCII to jansson, refused in a header */
			weir_buf_adds(&b, "\\u007f");
		else
			weir_buf_addc(&b, *p);
	}
	return weir_buf_take(&b);
}

static const char *
json_text(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static const char *
json_tag(const json_t *o)
{
	return json_is_string(o) ? json_string_value(o) : json_text(o, ".tag");
}

/* ---- metadata ---- */

static void
stat_file(const json_t *j, struct weir_stat *st)
{
	const json_t *size = json_object_get(j, "size"), *gets = json_object_get(j, "is_downloadable");
	const json_t *sharing = json_object_get(j, "sharing_info");
	const char *hash = json_text(j, "content_hash"), *when = json_text(j, "client_modified");

	st->type = WEIR_FILE;
	st->size = json_is_integer(size) && json_integer_value(size) >= 0 ? (uint64_t)json_integer_value(size) : WEIR_SIZE_NONE;
	st->version = weir_xstrdup(json_text(j, "rev"));
	if (when == NULL)
		when = json_text(j, "server_modified");
	st->mtime_ns = when != NULL ? weir_date_parse(when) : WEIR_TIME_NONE;
	if (hash != NULL && strlen(hash) == 2 * WEIR_SHA256_LEN)
		st->sum = weir_xasprintf("dropbox:%s", hash);
	st->is_readonly = json_is_false(gets) || json_is_true(json_object_get(sharing, "read_only"));
}

enum weir_code
weir_dropbox_stat_of_json(const json_t *j, struct weir_stat *st, bool *is_deleted, struct weir_err *err)
{
	const char *tag = json_text(j, ".tag"), *name = json_text(j, "name");

	*st = (struct weir_stat){ .mtime_ns = WEIR_TIME_NONE, .mode = WEIR_MODE_NONE };
	*is_deleted = false;
	if (name == NULL)
		return weir_err_set(err, WEIR_E_PROTO, "metadata without a name");
	if (tag == NULL)	/* where the type is clear from the call, the tag is left out */
		tag = json_text(j, "rev") != NULL ? "file" : "folder";
	if (strcmp(tag, "file") == 0)
		stat_file(j, st);
	else if (strcmp(tag, "folder") == 0)
		st->type = WEIR_DIR;
	else if (strcmp(tag, "deleted") == 0)
		*is_deleted = true;
	else
		return weir_err_set(err, WEIR_E_PROTO, "metadata of the unknown kind '%s'", tag);
	if (st->type == WEIR_FILE && st->version == NULL)
		return weir_err_set(err, WEIR_E_PROTO, "a file without a rev");
	st->id = weir_xstrdup(json_text(j, "id"));
	st->path = weir_dropbox_name_shown(name);
	return WEIR_OK;
}

/* ---- refusals ---- */

void
weir_dropbox_error_clear(struct dropbox_error *e)
{
	free(e->session);
	*e = (struct dropbox_error){ .retry_after_ms = -1 };
}

static void
error_fields(const json_t *o, struct dropbox_error *e)
{
	const json_t *offset = json_object_get(o, "correct_offset"), *wait = json_object_get(o, "retry_after");
	const char *scope = json_text(o, "required_scope"), *session = json_text(o, "upload_session_id");

	if (json_is_integer(offset) && json_integer_value(offset) >= 0) {
		e->correct_offset = (uint64_t)json_integer_value(offset);
		e->has_offset = true;
	}
	if (json_is_number(wait) && json_number_value(wait) >= 0 && json_number_value(wait) < 1e6)
		e->retry_after_ms = (int64_t)(json_number_value(wait) * 1000);
	if (scope != NULL)
		snprintf(e->scope, sizeof(e->scope), "%s", scope);
	if (session != NULL && e->session == NULL)
		e->session = weir_xstrdup(session);
}

void
weir_dropbox_error_of_json(const json_t *error, struct dropbox_error *e)
{
	const json_t *at = error;

	*e = (struct dropbox_error){ .retry_after_ms = -1, .is_json = true };
	for (int depth = 0; at != NULL && depth < 8; depth++) {
		const char *tag = json_tag(at);
		const json_t *next = NULL;

		error_fields(at, e);
		if (tag != NULL && e->ntags < WEIR_LEN(e->tags))
			snprintf(e->tags[e->ntags++], sizeof(e->tags[0]), "%s", tag);
		if (tag != NULL)
			next = json_object_get(at, tag);
		if (!json_is_object(next) && !json_is_string(next))
			next = json_object_get(at, "reason");
		at = json_is_object(next) || json_is_string(next) ? next : NULL;
	}
}

void
weir_dropbox_error_parse(const char *body, size_t len, struct dropbox_error *e)
{
	json_t *j = json_loadb(body, len, 0, NULL);
	const json_t *error = json_object_get(j, "error");
	size_t n = 0;

	*e = (struct dropbox_error){ .retry_after_ms = -1 };
	if (json_is_object(error) || json_is_string(error))
		weir_dropbox_error_of_json(error, e);
	for (size_t i = 0; error == NULL && i < len && n + 1 < sizeof(e->text); i++)
		if (n > 0 || (unsigned char)body[i] > ' ')
			e->text[n++] = (unsigned char)body[i] < ' ' ? ' ' : body[i];
	e->text[n] = '\0';
	json_decref(j);
}

bool
weir_dropbox_error_has(const struct dropbox_error *e, const char *tag)
{
	for (unsigned i = 0; i < e->ntags; i++)
		if (strcmp(e->tags[i], tag) == 0)
			return true;
	return false;
}

static const struct { const char *tag; enum weir_code code; } error_codes[] = {
	{ "not_found", WEIR_E_NOENT }, { "not_file", WEIR_E_ISDIR }, { "not_folder", WEIR_E_NOTDIR }, { "locked", WEIR_E_LOCKED },
	{ "restricted_content", WEIR_E_ACCES }, { "unsupported_content_type", WEIR_E_NOTSUP }, { "unsupported_file", WEIR_E_NOTSUP },
	{ "file_ancestor", WEIR_E_NOTDIR }, { "conflict", WEIR_E_EXIST },
	{ "no_write_permission", WEIR_E_ACCES }, { "access_restricted", WEIR_E_ACCES }, { "no_permission", WEIR_E_ACCES },
	{ "operation_suppressed", WEIR_E_ACCES }, { "route_access_denied", WEIR_E_ACCES }, { "team_access_denied", WEIR_E_ACCES },
	{ "paper_access_denied", WEIR_E_ACCES }, { "invalid_account_type", WEIR_E_ACCES }, { "missing_scope", WEIR_E_ACCES },
	{ "insufficient_space", WEIR_E_DQUOT }, { "insufficient_quota", WEIR_E_DQUOT },
	{ "disallowed_name", WEIR_E_NAME }, { "malformed_path", WEIR_E_NAME },
	{ "team_folder", WEIR_E_PERM }, { "cant_move_shared_folder", WEIR_E_PERM }, { "cant_nest_shared_folder", WEIR_E_PERM },
	{ "cant_copy_shared_folder", WEIR_E_PERM }, { "cant_transfer_ownership", WEIR_E_PERM }, { "cant_move_into_vault", WEIR_E_PERM },
	{ "cant_move_into_family", WEIR_E_PERM },
	{ "too_many_write_operations", WEIR_E_THROTTLED }, { "too_many_requests", WEIR_E_THROTTLED }, { "internal_error", WEIR_E_SERVER },
	{ "cant_move_folder_into_itself", WEIR_E_INVAL }, { "duplicated_or_nested_paths", WEIR_E_INVAL }, { "too_many_files", WEIR_E_FBIG },
	{ "too_large", WEIR_E_FBIG }, { "payload_too_large", WEIR_E_FBIG }, { "content_hash_mismatch", WEIR_E_BADSUM },
	/* An upload that cannot go on as it is must begin again: that is what NOENT of an upload means. */
	{ "closed", WEIR_E_NOENT }, { "not_closed", WEIR_E_NOENT }, { "concurrent_session_missing_data", WEIR_E_NOENT }, { "concurrent_session_not_closed", WEIR_E_NOENT },
	{ "concurrent_session_data_not_allowed", WEIR_E_NOENT }, { "incorrect_offset", WEIR_E_NOENT },
	/* of a token that was new a moment ago: the sign-in itself holds */
	{ "expired_access_token", WEIR_E_SERVER },
	{ "invalid_access_token", WEIR_E_AUTH }, { "user_suspended", WEIR_E_AUTH },
	{ "invalid_select_user", WEIR_E_AUTH }, { "invalid_select_admin", WEIR_E_AUTH }, { "reset", WEIR_E_STALE }, { "invalid_root", WEIR_E_SERVER },
};

/* The innermost tag that says something decides. */
enum weir_code
weir_dropbox_error_code(int status, const struct dropbox_error *e)
{
	for (unsigned i = e->ntags; i-- > 0;)
		for (size_t k = 0; k < WEIR_LEN(error_codes); k++)
			if (strcmp(e->tags[i], error_codes[k].tag) == 0)
				return error_codes[k].code;
	switch (status) {
	case 400:
		return WEIR_E_INVAL;
	case 401:
		return WEIR_E_AUTH;
	case 403:
		return WEIR_E_ACCES;
	case 429:
		return WEIR_E_THROTTLED;
	case 408:
	case 422:
		return WEIR_E_SERVER;
	case 503:
		return e->retry_after_ms >= 0 ? WEIR_E_THROTTLED : WEIR_E_SERVER;
	default:
		return status >= 500 ? WEIR_E_SERVER : WEIR_E_PROTO;
	}
}

const char *
weir_dropbox_error_text(int status, const struct dropbox_error *e, char out[256])
{
	size_t n = 0;

	out[0] = '\0';
	for (unsigned i = 0; i < e->ntags; i++)
		n += (size_t)snprintf(out + n, n < 256 ? 256 - n : 0, "%s%s", i > 0 ? "/" : "", e->tags[i]);
	if (weir_dropbox_error_has(e, "insufficient_space") || weir_dropbox_error_has(e, "insufficient_quota"))
		snprintf(out, 256, "the Dropbox is full");
	else if (weir_dropbox_error_has(e, "missing_scope"))
		snprintf(out, 256, "the app has no permission %s: tick it in Dropbox's App Console, then sign in again", e->scope);
	else if (weir_dropbox_error_has(e, "unsupported_file"))
		snprintf(out, 256, "a document that can be opened on dropbox.com only");
	else if (weir_dropbox_error_has(e, "restricted_content"))
		snprintf(out, 256, "Dropbox does not hand this out: somebody claims a right in it");
	else if (weir_dropbox_error_has(e, "too_many_files"))
		snprintf(out, 256, "Dropbox moves and removes at most 10000 files at once");
	else if (weir_dropbox_error_has(e, "disallowed_name"))
		snprintf(out, 256, "Dropbox keeps no file of this name");
	else if (e->ntags == 0 && e->text[0] != '\0')
		snprintf(out, 256, "HTTP %d: %s", status, e->text);
	else if (e->ntags == 0)
		snprintf(out, 256, "HTTP %d", status);
	return out;
}

/* ---- arguments ---- */

static json_t *
commit_mode(const struct weir_where *w)
{
	if (w->version == WEIR_ABSENT)
		return json_string("add");
	return w->version == NULL ? json_string("overwrite") : json_pack("{s:s, s:s}", ".tag", "update", "update", w->version);
}

json_t *
weir_dropbox_commit_json(const char *path, const struct weir_where *w, const struct weir_meta *meta)
{
	json_t *o = json_pack("{s:s, s:o, s:b, s:b, s:b}", "path", path, "mode", commit_mode(w), "autorename", 0, "mute", 1, "strict_conflict",
	    w->version != NULL);
	char when[32];
	struct tm tm;
	time_t t;

	if (o == NULL || meta == NULL || meta->mtime_ns == WEIR_TIME_NONE || meta->mtime_ns < 0)
		return o;
	t = (time_t)(meta->mtime_ns / 1000000000);
	if (gmtime_r(&t, &tm) != NULL && strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm) > 0)
		json_object_set_new(o, "client_modified", json_string(when));
	return o;
}
