/* SPDX-License-Identifier: Apache-2.0 */
/* Drive's JSON as structs, and back. Pure: no network, no instance. Whatever a server sends becomes a value or an error here. */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "drive_impl.h"

#define JSON_MODE "weir_mode"	/* appProperties, ours alone: permission bits in octal */
#define JSON_TYPE "weir_type"	/* "link": the content is the target of a symlink */

json_t *
weir_drive_json_load(const char *text, size_t len)
{
	/* A name may hold a NUL, and it must not hide the rest of the folder. */
	return json_loadb(text, len, JSON_ALLOW_NUL, NULL);
}

const char *
weir_drive_json_text(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static char *
json_dup(const json_t *o, const char *key)
{
	return weir_xstrdup(weir_drive_json_text(o, key));
}

/* 64-bit numbers come as texts. */
static uint64_t
json_u64(const json_t *o, const char *key)
{
	const char *s = weir_drive_json_text(o, key);
	unsigned long long v;
	char *end;

	if (s == NULL || *s < '0' || *s > '9')
		return json_is_integer(json_object_get(o, key)) && json_integer_value(json_object_get(o, key)) >= 0 ?
		    (uint64_t)json_integer_value(json_object_get(o, key)) : WEIR_SIZE_NONE;
	errno = 0;
	v = strtoull(s, &end, 10);
	return errno != 0 || *end != '\0' ? WEIR_SIZE_NONE : v;
}

/* A NUL inside of a name becomes the picture of one. */
static char *
json_name(const json_t *o)
{
	const json_t *v = json_object_get(o, "name");
	const char *s = json_string_value(v);
	size_t n = json_string_length(v);
	struct weir_buf b = WEIR_BUF(1u << 20);

	for (size_t i = 0; s != NULL && i < n; i++) {
		if (s[i] == '\0')
			weir_buf_adds(&b, "\xE2\x90\x80");
		else
			weir_buf_addc(&b, s[i]);
	}
	return weir_buf_take(&b);
}

void
weir_drive_file_free(struct drive_file *f)
{
	free(f->id);
	free(f->name);
	free(f->mime);
	free(f->parent);
	free(f->rev);
	free(f->md5);
	free(f->created);
	free(f->modified);
	free(f->target_id);
	free(f->target_mime);
	*f = (struct drive_file){ 0 };
}

void
weir_drive_file_copy(struct drive_file *to, const struct drive_file *from)
{
	*to = *from;
	to->id = weir_xstrdup(from->id);
	to->name = weir_xstrdup(from->name);
	to->mime = weir_xstrdup(from->mime);
	to->parent = weir_xstrdup(from->parent);
	to->rev = weir_xstrdup(from->rev);
	to->md5 = weir_xstrdup(from->md5);
	to->created = weir_xstrdup(from->created);
	to->modified = weir_xstrdup(from->modified);
	to->target_id = weir_xstrdup(from->target_id);
	to->target_mime = weir_xstrdup(from->target_mime);
}

static bool
json_is_id(const char *id)
{
	return id != NULL && *id != '\0' && strlen(id) <= 120 &&
	    strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == strlen(id);
}

static void
file_own(const json_t *o, struct drive_file *f)
{
	const json_t *own = json_object_get(o, "appProperties"), *can = json_object_get(o, "capabilities");
	const char *mode = weir_drive_json_text(own, JSON_MODE), *type = weir_drive_json_text(own, JSON_TYPE);
	unsigned long bits;
	char *end;

	f->mode = WEIR_MODE_NONE;
	if (mode != NULL && *mode >= '0' && *mode <= '7') {
		bits = strtoul(mode, &end, 8);
		if (*end == '\0' && bits <= 07777)
			f->mode = (uint32_t)bits;
	}
	f->is_link = type != NULL && strcmp(type, "link") == 0;
	f->is_fixed = json_is_false(json_object_get(can, "canEdit"));
	f->is_closed = json_is_false(json_object_get(can, "canAddChildren"));
}

int
weir_drive_file_parse(const json_t *o, struct drive_file *f)
{
	const json_t *to = json_object_get(o, "shortcutDetails");
	const char *parent = json_string_value(json_array_get(json_object_get(o, "parents"), 0));

	*f = (struct drive_file){ .size = WEIR_SIZE_NONE, .modified_ns = WEIR_TIME_NONE, .mode = WEIR_MODE_NONE };
	if (!json_is_id(weir_drive_json_text(o, "id")))
		return -1;
	f->id = json_dup(o, "id");
	f->name = json_name(o);
	f->mime = json_dup(o, "mimeType");
	f->parent = json_is_id(parent) ? weir_xstrdup(parent) : NULL;
	f->rev = json_dup(o, "headRevisionId");
	if (f->rev != NULL && (strlen(f->rev) > 120 || *f->rev == '\0')) {
		free(f->rev);
		f->rev = NULL;
	}
	f->md5 = json_dup(o, "md5Checksum");
	if (f->md5 != NULL && (strlen(f->md5) != 32 || strspn(f->md5, "0123456789abcdef") != 32)) {
		free(f->md5);
		f->md5 = NULL;
	}
	f->created = json_dup(o, "createdTime");
	f->modified = json_dup(o, "modifiedTime");
	f->modified_ns = f->modified == NULL ? WEIR_TIME_NONE : weir_date_parse(f->modified);
	f->size = json_u64(o, "size");
	f->is_trashed = json_is_true(json_object_get(o, "trashed"));
	if (json_is_id(weir_drive_json_text(to, "targetId"))) {
		f->target_id = json_dup(to, "targetId");
		f->target_mime = json_dup(to, "targetMimeType");
	}
	file_own(o, f);
	return 0;
}

void
weir_drive_page_free(struct drive_page *p)
{
	for (size_t i = 0; i < p->n; i++)
		weir_drive_file_free(&p->v[i]);
	free(p->v);
	free(p->next);
	*p = (struct drive_page){ 0 };
}

int
weir_drive_page_parse(const char *text, size_t len, struct drive_page *p)
{
	json_t *o = weir_drive_json_load(text, len), *files = json_object_get(o, "files"), *file;
	size_t i;

	*p = (struct drive_page){ 0 };
	if (!json_is_array(files)) {
		json_decref(o);
		return -1;
	}
	p->v = weir_xcalloc(json_array_size(files) + 1, sizeof(*p->v));
	json_array_foreach(files, i, file) {
		if (weir_drive_file_parse(file, &p->v[p->n]) == 0)
			p->n++;
		else
			weir_drive_file_free(&p->v[p->n]);
	}
	p->next = json_dup(o, "nextPageToken");
	json_decref(o);
	return 0;
}

bool
weir_drive_is_folder(const struct drive_file *f)
{
	return f->mime != NULL && strcmp(f->mime, DRIVE_FOLDER) == 0;
}

bool
weir_drive_is_doc(const struct drive_file *f)
{
	return f->mime != NULL && strncmp(f->mime, DRIVE_APPS, strlen(DRIVE_APPS)) == 0 && !weir_drive_is_folder(f) && f->md5 == NULL;
}

char *
weir_drive_id_own(const char *id)
{
	return weir_xstrndup(id, strcspn(id, ">"));
}

char *
weir_drive_id_target(const char *id)
{
	const char *to = strchr(id, '>');

	return weir_xstrdup(to == NULL ? id : to + 1);
}

char *
weir_drive_version(const struct drive_file *f)
{
	if (weir_drive_is_folder(f))
		return NULL;
	if (f->rev != NULL)
		return weir_xasprintf("%s:%s", f->id, f->rev);
	if (f->md5 != NULL)
		return weir_xasprintf("%s:%s", f->id, f->md5);
	return weir_xasprintf("%s:t%s", f->id, f->modified == NULL ? "" : f->modified);
}

/* ---- changes ---- */

void
weir_drive_changes_free(struct drive_changes *c)
{
	for (size_t i = 0; i < c->n; i++) {
		weir_drive_file_free(&c->v[i].file);
		free(c->v[i].id);
	}
	free(c->v);
	free(c->next);
	free(c->start);
	*c = (struct drive_changes){ 0 };
}

int
weir_drive_changes_parse(const char *text, size_t len, struct drive_changes *c)
{
	json_t *o = weir_drive_json_load(text, len), *changes = json_object_get(o, "changes"), *one;
	size_t i;

	*c = (struct drive_changes){ 0 };
	if (!json_is_array(changes)) {
		json_decref(o);
		return -1;
	}
	c->v = weir_xcalloc(json_array_size(changes) + 1, sizeof(*c->v));
	json_array_foreach(changes, i, one) {
		struct drive_change *x = &c->v[c->n];
		const char *type = weir_drive_json_text(one, "changeType");

		if ((type != NULL && strcmp(type, "file") != 0) || !json_is_id(weir_drive_json_text(one, "fileId")))
			continue;
		x->id = json_dup(one, "fileId");
		x->is_removed = json_is_true(json_object_get(one, "removed"));
		x->has_file = weir_drive_file_parse(json_object_get(one, "file"), &x->file) == 0;
		c->n++;
	}
	c->next = json_dup(o, "nextPageToken");
	c->start = json_dup(o, "newStartPageToken");
	json_decref(o);
	return 0;
}

/* ---- errors ---- */

void
weir_drive_error_parse(const char *body, size_t len, struct drive_error *e)
{
	json_t *o = weir_drive_json_load(body, len), *error = json_object_get(o, "error");
	const json_t *first = json_array_get(json_object_get(error, "errors"), 0);
	const char *reason = weir_drive_json_text(first, "reason"), *message = weir_drive_json_text(error, "message");

	if (reason == NULL)
		reason = weir_drive_json_text(error, "status");
	if (reason == NULL)	/* the way of OAuth */
		reason = json_string_value(error);
	if (message == NULL)
		message = weir_drive_json_text(first, "message");
	if (message == NULL)
		message = weir_drive_json_text(o, "error_description");
	snprintf(e->reason, sizeof(e->reason), "%s", reason == NULL ? "" : reason);
	snprintf(e->message, sizeof(e->message), "%s", message == NULL ? "" : message);
	for (char *p = e->message; *p != '\0'; p++)
		if ((unsigned char)*p < ' ')
			*p = ' ';
	json_decref(o);
}

/* The rows of the protocol sheet, and of Google's page "Resolve errors". */
static const struct { const char *reason; enum weir_code code; } error_reasons[] = {
	{ "rateLimitExceeded", WEIR_E_THROTTLED }, { "userRateLimitExceeded", WEIR_E_THROTTLED }, { "dailyLimitExceeded", WEIR_E_THROTTLED },
	{ "sharingRateLimitExceeded", WEIR_E_THROTTLED }, { "RESOURCE_EXHAUSTED", WEIR_E_THROTTLED },
	{ "storageQuotaExceeded", WEIR_E_DQUOT }, { "quotaExceeded", WEIR_E_DQUOT },
	{ "teamDriveFileLimitExceeded", WEIR_E_NOSPC }, { "numChildrenInNonRootLimitExceeded", WEIR_E_NOSPC },
	{ "activeItemCreationLimitExceeded", WEIR_E_NOSPC },
	{ "myDriveHierarchyDepthLimitExceeded", WEIR_E_NAMETOOLONG }, { "teamDriveHierarchyTooDeep", WEIR_E_NAMETOOLONG },
	{ "teamDrivesFolderMoveInNotSupported", WEIR_E_XDEV }, { "teamDrivesParentLimit", WEIR_E_XDEV },
	{ "exportSizeLimitExceeded", WEIR_E_FBIG }, { "uploadTooLarge", WEIR_E_FBIG },
	{ "fileNotDownloadable", WEIR_E_NOTSUP }, { "fileNotExportable", WEIR_E_NOTSUP }, { "generatedIdNotSupported", WEIR_E_NOTSUP },
	{ "authError", WEIR_E_AUTH }, { "accessNotConfigured", WEIR_E_AUTH }, { "SERVICE_DISABLED", WEIR_E_AUTH },
	{ "insufficientPermissions", WEIR_E_AUTH },	/* the token's scope, not the file's (that is insufficientFilePermissions) */
	{ "ACCESS_TOKEN_SCOPE_INSUFFICIENT", WEIR_E_AUTH }, { "required", WEIR_E_PROTO },
	{ "notFound", WEIR_E_NOENT }, { "NOT_FOUND", WEIR_E_NOENT },
	{ "fileIdInUse", WEIR_E_EXIST }, { "conditionNotMet", WEIR_E_CHANGED },
	{ "backendError", WEIR_E_SERVER }, { "internalError", WEIR_E_SERVER }, { "transientError", WEIR_E_SERVER },
};

static enum weir_code
error_of_status(int status)
{
	switch (status) {
	case 400:
		return WEIR_E_INVAL;
	case 401:
		return WEIR_E_AUTH;
	case 403:
		return WEIR_E_ACCES;
	case 404:
	case 410:
		return WEIR_E_NOENT;
	case 408:
		return WEIR_E_SERVER;
	case 409:
		return WEIR_E_EXIST;
	case 412:
		return WEIR_E_CHANGED;
	case 413:
		return WEIR_E_FBIG;
	case 416:
		return WEIR_E_RANGE;
	case 423:
		return WEIR_E_LOCKED;
	case 429:
	case 503:
		return WEIR_E_THROTTLED;
	case 507:
		return WEIR_E_NOSPC;
	default:
		return status >= 500 ? WEIR_E_SERVER : WEIR_E_PROTO;
	}
}

enum weir_code
weir_drive_code(int status, const char *reason)
{
	/* A 5xx tells of the server, whatever its reason says; but busy is not broken. */
	for (size_t i = 0; i < WEIR_LEN(error_reasons); i++)
		if (strcmp(error_reasons[i].reason, reason) == 0)
			return status == 503 ? WEIR_E_THROTTLED : error_reasons[i].code;
	return error_of_status(status);
}

uint64_t
weir_drive_range_kept(const char *range)
{
	uint64_t last;
	char end;

	if (range == NULL || sscanf(range, "bytes=0-%" SCNu64 "%c", &last, &end) != 1 || last == UINT64_MAX)
		return 0;
	return last + 1;
}

/* ---- what is sent ---- */

void
weir_drive_time(int64_t ns, char out[40])
{
	int64_t ms = ns / 1000000 - (ns % 1000000 < 0), s = ms / 1000 - (ms % 1000 < 0);
	time_t t = (time_t)s;
	struct tm tm;

	gmtime_r(&t, &tm);
	snprintf(out, 40, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", (tm.tm_year + 1900) % 10000, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
	    tm.tm_sec, (int)(ms - s * 1000));
}

void
weir_drive_meta_json(json_t *o, const struct weir_meta *meta, enum weir_type type, const struct drive_file *was)
{
	json_t *own = json_object();
	char text[40];

	if (meta != NULL && meta->mtime_ns != WEIR_TIME_NONE) {
		weir_drive_time(meta->mtime_ns, text);
		json_object_set_new(o, "modifiedTime", json_string(text));
	}
	if (meta != NULL && meta->mode != WEIR_MODE_NONE) {
		snprintf(text, sizeof(text), "%04o", (unsigned)(meta->mode & 07777));
		json_object_set_new(own, JSON_MODE, json_string(text));
	}
	if (type == WEIR_LINK)
		json_object_set_new(own, JSON_TYPE, json_string("link"));
	else if (was != NULL && was->is_link && type == WEIR_FILE)
		json_object_set_new(own, JSON_TYPE, json_null());
	if (json_object_size(own) > 0)
		json_object_set(o, "appProperties", own);
	json_decref(own);
}
