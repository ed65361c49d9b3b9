/* SPDX-License-Identifier: Apache-2.0 */
/* How the Drive emulator's objects look on the wire: files, revisions, shared drives, people, times, and what Google documents can become. */
#include "config.h"
#include "drive.h"
#include <string.h>
#include <strings.h>
#include <time.h>

/* ---- what documents can become ---- */

static const char *const json_document[] = { "text/plain", "text/html", "application/pdf", "application/rtf", "application/zip", "application/epub+zip",
	"text/markdown", "application/vnd.oasis.opendocument.text", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", NULL };
static const char *const json_sheet[] = { "text/csv", "text/tab-separated-values", "application/pdf", "application/zip",
	"application/x-vnd.oasis.opendocument.spreadsheet", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", NULL };
static const char *const json_slides[] = { "text/plain", "application/pdf", "application/vnd.oasis.opendocument.presentation",
	"application/vnd.openxmlformats-officedocument.presentationml.presentation", NULL };
static const char *const json_drawing[] = { "image/png", "image/jpeg", "image/svg+xml", "application/pdf", NULL };
static const char *const json_script[] = { DRIVE_APPS "script+json", NULL };
static const struct {
	const char *mime;
	const char *const *to;
} json_exports[] = {
	{ DRIVE_APPS "document", json_document }, { DRIVE_APPS "spreadsheet", json_sheet }, { DRIVE_APPS "presentation", json_slides },
	{ DRIVE_APPS "drawing", json_drawing }, { DRIVE_APPS "script", json_script },
};
static const struct {
	const char *from, *to;
} json_imports[] = {
	{ "text/plain", DRIVE_APPS "document" }, { "text/html", DRIVE_APPS "document" }, { "text/markdown", DRIVE_APPS "document" },
	{ "application/vnd.openxmlformats-officedocument.wordprocessingml.document", DRIVE_APPS "document" },
	{ "text/csv", DRIVE_APPS "spreadsheet" }, { "text/tab-separated-values", DRIVE_APPS "spreadsheet" },
	{ "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", DRIVE_APPS "spreadsheet" },
	{ "application/vnd.openxmlformats-officedocument.presentationml.presentation", DRIVE_APPS "presentation" },
};

const char *const *
drive_exports(const char *mime)
{
	for (size_t i = 0; i < WEIR_LEN(json_exports); i++)
		if (!strcmp(json_exports[i].mime, mime))
			return json_exports[i].to;
	return NULL;
}

const char *
drive_import(const char *mime)
{
	size_t n = strcspn(mime, "; ");

	for (size_t i = 0; i < WEIR_LEN(json_imports); i++)
		if (strlen(json_imports[i].from) == n && !strncasecmp(json_imports[i].from, mime, n))
			return json_imports[i].to;
	return NULL;
}

json_t *
drive_texts(const char *const *v)
{
	json_t *a = json_array();

	for (; *v; v++)
		json_array_append_new(a, json_string(*v));
	return a;
}

/* ---- times ---- */

void
drive_time(int64_t ms, char out[40])
{
	int64_t s = ms / 1000 - (ms % 1000 < 0);
	time_t t = (time_t)s;
	struct tm tm;
	char day[32];

	gmtime_r(&t, &tm);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out, 40, "%s.%03dZ", day, (int)(ms - s * 1000));
}

int64_t
drive_time_parse(const char *s, bool zone_may_lack)
{
	static const char shape[] = "0000-00-00T00:00:00";
	const char *p = s;
	int64_t ns;
	char *full;

	for (const char *k = shape; *k; k++, p++)
		if (*k == '0' ? *p < '0' || *p > '9' : *p != *k)
			return INT64_MIN;
	if (*p == '.') {
		size_t n = strspn(p + 1, "0123456789");

		if (!n)
			return INT64_MIN;
		p += 1 + n;
	}
	if (!*p && !zone_may_lack)
		return INT64_MIN;
	full = weir_xasprintf("%s%s", s, *p ? "" : "Z");
	ns = weir_date_parse(full);
	free(full);
	return ns == INT64_MIN ? INT64_MIN : ns / 1000000 - (ns % 1000000 < 0);
}

/* ---- files ---- */

const char *
drive_base(const struct emu_req *req, char out[300])
{
	const char *host = emu_header(req, "Host");
	bool is_plain = !host || !strncmp(host, "127.0.0.1", 9) || !strncmp(host, "localhost", 9);

	/* Under any other name only a front with a certificate leads here. */
	snprintf(out, 300, "http%s://%.280s", is_plain ? "" : "s", host ? host : "127.0.0.1");
	return out;
}

json_t *
drive_user(bool is_others)
{
	return json_pack("{s:s s:s s:b s:s s:s}", "kind", "drive#user", "displayName", is_others ? "Oscar Other" : "Emma Emulator", "me", !is_others,
	    "permissionId", is_others ? "09876543210987654321" : "01234567890123456789", "emailAddress",
	    is_others ? "oscar@example.com" : "emma@example.com");
}

static json_t *
json_time(int64_t ms)
{
	char text[40];

	drive_time(ms, text);
	return json_string(text);
}

static json_t *
json_number(uint64_t v)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
	return json_string(text);
}

static json_t *
json_capabilities(const struct drive_node *x)
{
	enum drive_role role = drive_role(x);
	bool folder = drive_is_folder(x), writes = role >= DRIVE_WRITER, shared = drive_of_node(x) != NULL;
	bool trashes = !x->is_root && role >= (shared ? DRIVE_FILE_ORGANIZER : DRIVE_OWNER);
	json_t *o = json_object();
	const struct {
		const char *name;
		bool value;
	} can[] = {
		{ "canAddChildren", folder && writes }, { "canComment", role >= DRIVE_COMMENTER }, { "canCopy", !folder },
		{ "canDelete", !x->is_root && role >= (shared ? DRIVE_ORGANIZER : DRIVE_OWNER) }, { "canDownload", !folder },
		{ "canEdit", writes }, { "canListChildren", folder }, { "canModifyContent", writes }, { "canReadRevisions", writes && !folder },
		{ "canRemoveChildren", folder && writes }, { "canRename", writes && !x->is_root }, { "canShare", writes },
		{ "canTrash", trashes }, { "canUntrash", trashes }, { "canMoveItemWithinDrive", writes && !x->is_root },
		{ "canMoveItemOutOfDrive", !x->is_root && role >= (shared ? DRIVE_ORGANIZER : DRIVE_OWNER) },
		{ "canAddMyDriveParent", false }, { "canRemoveMyDriveParent", !x->is_root && !shared },
	};

	for (size_t i = 0; i < WEIR_LEN(can); i++)
		json_object_set_new(o, can[i].name, json_boolean(can[i].value));
	if (shared)
		json_object_set_new(o, "canReadDrive", json_true());
	return o;
}

static json_t *
json_export_links(const struct emu_req *req, const struct drive_node *x)
{
	const char *const *to = drive_exports(x->mime);
	json_t *o = json_object();
	char base[300], *link;

	for (; *to; to++) {
		struct weir_buf b = WEIR_BUF(4096);

		weir_url_encode(&b, *to, strlen(*to), "");
		link = weir_xasprintf("%s/feeds/download/documents/export/Export?id=%s&mimeType=%s", drive_base(req, base), x->id, weir_buf_str(&b));
		json_object_set_new(o, *to, json_string(link));
		weir_buf_free(&b);
		free(link);
	}
	return o;
}

static json_t *
json_shortcut(const struct drive_node *x)
{
	return json_pack("{s:s s:s}", "targetId", x->target, "targetMimeType", x->target_mime ? x->target_mime : "application/octet-stream");
}

struct json_want {
	json_t *o;
	const struct drive_mask *mask;
};

static bool
json_wants(const struct json_want *w, const char *name)
{
	return drive_mask_has(w->mask, name);
}

static void
json_put(const struct json_want *w, const char *name, json_t *v)
{
	if (json_wants(w, name))
		json_object_set_new(w->o, name, drive_mask_apply(drive_mask_sub(w->mask, name), v));
	else
		json_decref(v);
}

static void
json_put_content(const struct json_want *w, struct drive_node *x)
{
	struct drive_rev *r = drive_head(x);
	const char *dot = strrchr(x->name, '.');
	uint64_t used = 0;

	for (size_t i = 0; i < x->nrev; i++)
		if (r && (&x->rev[i] == r || x->rev[i].is_kept))
			used += emu_blob_size(x->rev[i].blob);
	json_put(w, "quotaBytesUsed", json_number(used));
	if (drive_is_doc(x) && drive_exports(x->mime))
		json_put(w, "size", json_number(drive_doc_size(x)));
	if (!r)
		return;
	json_put(w, "size", json_number(emu_blob_size(r->blob)));
	json_put(w, "md5Checksum", json_string(r->sums.md5));
	json_put(w, "sha1Checksum", json_string(r->sums.sha1));
	json_put(w, "sha256Checksum", json_string(r->sums.sha256));
	json_put(w, "headRevisionId", json_string(r->id));
	json_put(w, "originalFilename", json_string(x->original ? x->original : x->name));
	json_put(w, "fullFileExtension", json_string(dot ? dot + 1 : ""));
	json_put(w, "fileExtension", json_string(dot ? dot + 1 : ""));
}

static void
json_put_places(const struct json_want *w, const struct drive_node *x)
{
	const struct drive_node *drive = drive_of_node(x);

	if (x->parent && drive_role(x->parent) >= DRIVE_READER)
		json_put(w, "parents", json_pack("[s]", x->parent->id));
	if (drive) {
		json_put(w, "driveId", json_string(drive->id));
		json_put(w, "teamDriveId", json_string(drive->id));
	} else {
		json_put(w, "owners", json_pack("[o]", drive_user(x->is_others)));
		json_put(w, "ownedByMe", json_boolean(!x->is_others));
	}
	json_put(w, "shared", json_boolean(drive || drive_top(x)->shared_ms));
	json_put(w, "spaces", json_pack("[s]", drive_top(x)->is_appdata ? "appDataFolder" : "drive"));
	if (x->shared_ms) {
		json_put(w, "sharedWithMeTime", json_time(x->shared_ms));
		json_put(w, "sharingUser", drive_user(true));
	}
}

static void
json_put_times(const struct json_want *w, const struct drive_node *x)
{
	json_put(w, "createdTime", json_time(x->created_ms));
	json_put(w, "modifiedTime", json_time(x->modified_ms));
	json_put(w, "modifiedByMe", json_boolean(!x->is_others_change));
	if (!x->is_others_change)
		json_put(w, "modifiedByMeTime", json_time(x->modified_ms));
	json_put(w, "viewedByMe", json_boolean(x->viewed_ms != 0));
	if (x->viewed_ms)
		json_put(w, "viewedByMeTime", json_time(x->viewed_ms));
	json_put(w, "lastModifyingUser", drive_user(x->is_others_change));
	if (x->is_trashed && x->trashed_ms && drive_of_node(x)) {
		json_put(w, "trashedTime", json_time(x->trashed_ms));
		json_put(w, "trashingUser", drive_user(x->is_others_change));
	}
}

json_t *
drive_file(const struct emu_req *req, struct drive_node *x, const struct drive_mask *mask)
{
	struct json_want w = { json_object(), mask };
	WEIR_AUTO(weir_freep) char *link = NULL;
	char base[300];

	json_put(&w, "kind", json_string("drive#file"));
	json_put(&w, "id", json_string(x->id));
	json_put(&w, "name", json_string(x->name));
	json_put(&w, "mimeType", json_string(x->mime));
	if (x->description)
		json_put(&w, "description", json_string(x->description));
	if (drive_is_folder(x) && !x->is_root)
		json_put(&w, "folderColorRgb", json_string(x->color ? x->color : "#8f8f8f"));
	json_put(&w, "starred", json_boolean(x->is_starred));
	json_put(&w, "trashed", json_boolean(drive_in_trash(x)));
	json_put(&w, "explicitlyTrashed", json_boolean(x->is_trashed));
	json_put(&w, "version", json_number(x->version));
	json_put(&w, "hasThumbnail", json_false());
	json_put(&w, "isAppAuthorized", json_true());
	json_put(&w, "writersCanShare", json_true());
	json_put(&w, "copyRequiresWriterPermission", json_false());
	json_put_places(&w, x);
	json_put_times(&w, x);
	json_put_content(&w, x);
	if (json_wants(&w, "capabilities"))
		json_put(&w, "capabilities", json_capabilities(x));
	if (x->app_props && json_object_size(x->app_props))
		json_put(&w, "appProperties", json_incref(x->app_props));
	if (x->props && json_object_size(x->props))
		json_put(&w, "properties", json_incref(x->props));
	if (x->target)
		json_put(&w, "shortcutDetails", json_shortcut(x));
	if (json_wants(&w, "exportLinks") && drive_exports(x->mime))
		json_put(&w, "exportLinks", json_export_links(req, x));
	link = weir_xasprintf("%s/file/d/%s/view", drive_base(req, base), x->id);
	json_put(&w, "webViewLink", json_string(link));
	return w.o;
}

json_t *
drive_rev_json(struct drive_node *x, size_t i)
{
	const struct drive_rev *r = &x->rev[i];

	return json_pack("{s:s s:s s:s s:o s:b s:b s:o s:o s:s s:s}", "kind", "drive#revision", "id", r->id, "mimeType", r->mime, "modifiedTime",
	    json_time(r->modified_ms), "keepForever", r->is_kept, "published", 0, "lastModifyingUser", drive_user(r->is_others), "size",
	    json_number(emu_blob_size(r->blob)), "md5Checksum", r->sums.md5, "originalFilename", x->original ? x->original : x->name);
}

json_t *
drive_drive_json(const struct drive_node *x)
{
	bool writes = x->role >= DRIVE_WRITER;

	return json_pack("{s:s s:s s:s s:o s:b s:{s:b s:b s:b s:b s:b s:b s:b}}", "kind", "drive#drive", "id", x->id, "name", x->name, "createdTime",
	    json_time(x->created_ms), "hidden", 0, "capabilities", "canAddChildren", writes, "canEdit", writes, "canListChildren", 1, "canRename",
	    x->role >= DRIVE_ORGANIZER, "canDeleteDrive", x->role >= DRIVE_ORGANIZER, "canTrashChildren", x->role >= DRIVE_FILE_ORGANIZER, "canDownload", 1);
}
