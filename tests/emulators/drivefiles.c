/* SPDX-License-Identifier: Apache-2.0 */
/* Objects and their places in the Drive emulator: get, create, update, copy, delete, trash, ids made in advance. There is no precondition anywhere and names
 * are free: creating again what is there makes a twin. */
#include "config.h"
#include "drive.h"
#include <string.h>

#define FILES_PROP_MAX 124		/* bytes of key and value */
#define FILES_PROPS 30			/* private ones of one app; public ones */

/* ---- metadata that came in ---- */

const char *
drive_meta_text(const struct drive_req *r, const char *name)
{
	return json_string_value(json_object_get(r->meta, name));
}

static bool
files_listed(const char *const *list, const char *name)
{
	for (; *list; list++)
		if (!strcmp(*list, name))
			return true;
	return false;
}

static bool
files_meta_types(struct emu_req *req)
{
	static const char *const texts[] = { "id", "name", "mimeType", "description", "folderColorRgb", "originalFilename", NULL };
	static const char *const times[] = { "modifiedTime", "createdTime", "viewedByMeTime", NULL };
	static const char *const truths[] = { "trashed", "starred", "writersCanShare", "copyRequiresWriterPermission", NULL };
	static const char *const maps[] = { "appProperties", "properties", "shortcutDetails", "contentHints", NULL };
	const char *key;
	json_t *v;

	json_object_foreach(drive_of(req)->meta, key, v) {
		bool bad = false;

		if (json_is_null(v))
			continue;
		if (files_listed(texts, key))
			bad = !json_is_string(v);
		else if (files_listed(times, key))
			bad = !json_is_string(v) || drive_time_parse(json_string_value(v), false) == INT64_MIN;
		else if (files_listed(truths, key))
			bad = !json_is_boolean(v);
		else if (files_listed(maps, key))
			bad = !json_is_object(v);
		else if (!strcmp(key, "parents"))
			bad = !json_is_array(v);
		if (bad) {
			drive_fail(req, 400, "invalid", key, "Invalid value for: %s", key);
			return false;
		}
	}
	return true;
}

static bool
files_meta_writable(struct emu_req *req, bool is_update)
{
	static const char *const never[] = { "size", "version", "md5Checksum", "sha1Checksum", "sha256Checksum", "headRevisionId", "quotaBytesUsed", "owners",
		"ownedByMe", "capabilities", "permissions", "permissionIds", "driveId", "teamDriveId", "webViewLink", "webContentLink", "iconLink",
		"thumbnailLink", "hasThumbnail", "exportLinks", "shared", "lastModifyingUser", "modifiedByMe", "modifiedByMeTime", "trashedTime",
		"trashingUser", "explicitlyTrashed", "spaces", "fileExtension", "fullFileExtension", "isAppAuthorized", NULL };
	const char *key;
	json_t *v;

	json_object_foreach(drive_of(req)->meta, key, v) {
		(void)v;
		if (is_update && !strcmp(key, "parents")) {
			drive_fail(req, 403, "fieldNotWritable", NULL, "The parents field is not directly writable in update requests. Use the addParents and "
			    "removeParents parameters instead.");
			return false;
		}
		if (files_listed(never, key) || (is_update && (!strcmp(key, "id") || !strcmp(key, "createdTime") || !strcmp(key, "shortcutDetails")))) {
			drive_fail(req, 403, "fieldNotWritable", NULL, "The resource body includes fields which are not directly writable.");
			return false;
		}
	}
	return true;
}

/* Google documents the sizes, not the words of the refusal. */
static bool
files_props_ok(struct emu_req *req, const char *name, const json_t *have, size_t most)
{
	json_t *more = json_object_get(drive_of(req)->meta, name), *v;
	size_t n = json_object_size(have);
	const char *key;

	json_object_foreach(more, key, v) {
		const char *text = json_string_value(v);

		if (!text && !json_is_null(v)) {
			drive_invalid(req, name);
			return false;
		}
		if (text && strlen(key) + strlen(text) > FILES_PROP_MAX) {
			drive_fail(req, 403, "propertyLimitExceeded", NULL, "The key and value of a property take at most %d bytes.", FILES_PROP_MAX);
			return false;
		}
		n = text && !json_object_get(have, key) ? n + 1 : !text && json_object_get(have, key) ? n - 1 : n;
	}
	if (n <= most)
		return true;
	drive_fail(req, 403, "propertyLimitExceeded", NULL, "A file has at most %zu of these properties.", most);
	return false;
}

static bool
files_meta_ok(struct emu_req *req, const struct drive_node *x)
{
	return files_meta_types(req) && files_meta_writable(req, x != NULL) &&
	    files_props_ok(req, "appProperties", x ? x->app_props : NULL, FILES_PROPS) && files_props_ok(req, "properties", x ? x->props : NULL, FILES_PROPS);
}

static void
files_set_text(char **to, const struct drive_req *r, const char *name)
{
	const char *v = drive_meta_text(r, name);

	if (!v)
		return;
	free(*to);
	*to = weir_xstrdup(v);
}

static void
files_set_props(json_t **to, const json_t *more)
{
	const char *key;
	json_t *v;

	if (!json_is_object(more))
		return;
	if (!*to)
		*to = json_object();
	json_object_foreach((json_t *)(uintptr_t)more, key, v) {
		if (json_is_null(v))
			json_object_del(*to, key);
		else
			json_object_set(*to, key, v);
	}
}

static bool
files_set_time(int64_t *to, const struct drive_req *r, const char *name)
{
	const char *v = drive_meta_text(r, name);

	if (v)
		*to = drive_time_parse(v, false);
	return v != NULL;
}

/* What the metadata says, put into x. A new name or new content make it modified now, unless a time is given. */
static void
files_apply(struct drive_node *x, const struct drive_req *r, bool has_content)
{
	const char *name = drive_meta_text(r, "name");
	const json_t *star = json_object_get(r->meta, "starred");
	bool is_renamed = name && strcmp(name, x->name) != 0;

	if (is_renamed) {
		files_set_text(&x->name, r, "name");
		x->named_ms = drive_now_ms() + (int64_t)emu_value(&drive_switches[DRIVE_NAME_LAG]);
	}
	if (!*x->name) {
		free(x->name);
		x->name = weir_xstrdup("Untitled");
	}
	files_set_text(&x->description, r, "description");
	files_set_text(&x->color, r, "folderColorRgb");
	files_set_text(&x->original, r, "originalFilename");
	files_set_props(&x->app_props, json_object_get(r->meta, "appProperties"));
	files_set_props(&x->props, json_object_get(r->meta, "properties"));
	if (json_is_boolean(star))
		x->is_starred = json_is_true(star);
	files_set_time(&x->viewed_ms, r, "viewedByMeTime");
	if (!files_set_time(&x->modified_ms, r, "modifiedTime") && (is_renamed || has_content))
		x->modified_ms = drive_now_ms();
}

/* ---- room ---- */

bool
drive_room(struct emu_req *req, uint64_t more)
{
	double quota = emu_value(&drive_switches[DRIVE_QUOTA]);

	if (quota <= 0 || (double)(drive_bytes + more) <= quota || (double)(drive_used(false) + more) <= quota)
		return true;
	drive_fail(req, 403, "storageQuotaExceeded", NULL, "The user's Drive storage quota has been exceeded.");
	return false;
}

static unsigned
files_height(const struct drive_node *x)
{
	unsigned most = 0;

	for (const struct drive_node *c = x->first; c; c = c->next) {
		unsigned h = files_height(c) + 1;

		most = h > most ? h : most;
	}
	return most;
}

/* May something be put into dir, which so many levels hang below? */
static bool
files_may_add(struct emu_req *req, const struct drive_node *dir, unsigned height)
{
	double most = emu_value(&drive_switches[DRIVE_CHILDREN_MAX]);
	double n = 0;

	if (!drive_is_folder(dir)) {
		drive_fail(req, 403, "parentNotAFolder", NULL, "The specified parent is not a folder.");
	} else if (!req->is_raw && drive_role(dir) < DRIVE_WRITER) {
		drive_forbidden(req);
	} else if (drive_depth(dir) + 1 + height > DRIVE_DEPTH) {
		if (drive_of_node(dir))
			drive_fail(req, 403, "teamDriveHierarchyTooDeep", NULL, "The shared drive hierarchy depth will exceed the limit.");
		else
			drive_fail(req, 403, "myDriveHierarchyDepthLimitExceeded", NULL, "Your My Drive hierarchy depth will exceed the limit.");
	} else if (most > 0 && dir != drive_root) {
		for (const struct drive_node *c = dir->first; c && n < most; c = c->next)
			n++;
		if (n >= most)
			drive_fail(req, 403, "numChildrenInNonRootLimitExceeded", NULL, "The limit for this folder's number of children has been exceeded.");
	}
	return !req->is_replied;
}

/* ---- create ---- */

/* The folder that the metadata names; otherwise is it when it names none. NULL: replied. */
static struct drive_node *
files_parent(struct emu_req *req, struct drive_node *otherwise)
{
	const json_t *parents = json_object_get(drive_of(req)->meta, "parents");
	const char *id = json_string_value(json_array_get(parents, 0));
	struct drive_node *dir = otherwise;

	if (json_array_size(parents) > 1) {
		drive_fail(req, 403, "cannotAddParent", NULL, "Increasing the number of parents is not allowed");
		return NULL;
	}
	if (json_array_size(parents) && !id) {
		drive_invalid(req, "parents");
		return NULL;
	}
	if (id && !(dir = drive_see(req, id)))
		return NULL;
	return files_may_add(req, dir, 0) ? dir : NULL;
}

static bool
files_id_ok(struct emu_req *req, const char *mime)
{
	const char *id = drive_meta_text(drive_of(req), "id");

	if (!id)
		return true;
	if (drive_by_id(id))
		drive_fail(req, 409, "fileIdInUse", NULL, "A file already exists with the provided ID.");
	else if (!drive_ids_known(id))
		drive_fail(req, 400, "invalid", "file.id", "The provided file ID is not usable.");
	else if (mime && !strncmp(mime, DRIVE_APPS, strlen(DRIVE_APPS)) && strcmp(mime, DRIVE_FOLDER) != 0 && strcmp(mime, DRIVE_SHORTCUT) != 0)
		drive_fail(req, 400, "generatedIdNotSupported", NULL, "Generated IDs are not supported for Docs Editors formats.");
	return !req->is_replied;
}

static bool
files_shortcut_ok(struct emu_req *req)
{
	const char *target = json_string_value(json_object_get(json_object_get(drive_of(req)->meta, "shortcutDetails"), "targetId"));
	const struct drive_node *x;

	if (!target) {
		drive_fail(req, 400, "required", "shortcutDetails.targetId", "The shortcutDetails.targetId field is required.");
		return false;
	}
	x = drive_see(req, target);
	if (x && x->target)
		drive_fail(req, 403, "shortcutTargetInvalid", NULL, "A shortcut cannot point to a shortcut.");
	return !req->is_replied;
}

/* Can content of the request's type become such an object? */
static bool
files_content_ok(struct emu_req *req, const char *mime)
{
	const struct drive_req *r = drive_of(req);
	const char *to;

	if (!mime || strncmp(mime, DRIVE_APPS, strlen(DRIVE_APPS)) != 0 || r->kind == DRIVE_PLAIN)
		return true;
	to = r->mime ? drive_import(r->mime) : NULL;
	if (to && !strcmp(to, mime))
		return true;
	drive_fail(req, 400, "badRequest", NULL, "Bad Request");
	return false;
}

bool
drive_create_check(struct emu_req *req)
{
	const char *mime = drive_meta_text(drive_of(req), "mimeType");

	return files_meta_ok(req, NULL) && files_id_ok(req, mime) && files_content_ok(req, mime) &&
	    (!mime || strcmp(mime, DRIVE_SHORTCUT) != 0 || files_shortcut_ok(req)) && files_parent(req, drive_root);
}

static void
files_add_content(struct drive_node *x, struct drive_req *r, bool is_others)
{
	const char *mime = r->mime ? r->mime : drive_is_doc(x) ? "application/octet-stream" : x->mime;

	if (!r->blob) {
		r->blob = emu_blob_empty();
		drive_sum(r->blob, &r->sums);
	}
	drive_add_rev(x, WEIR_STEAL(r->blob), &r->sums, mime, is_others);
}

static struct drive_node *
files_make(struct emu_req *req, const char *id, const char *name, const char *mime, struct drive_node *parent)
{
	struct drive_node *x = drive_new(id, name, mime, parent);

	x->is_others = req->is_raw && emu_query(req, "emu_owner") && !drive_of_node(parent);
	return x;
}

/* Somebody else makes the same at the same moment. */
static void
files_twin(struct emu_req *req, const char *name, const char *mime, struct drive_node *parent)
{
	struct drive_node *x = files_make(req, NULL, name, mime, parent);
	struct drive_req empty = { .kind = DRIVE_PLAIN };

	if (strncmp(mime, DRIVE_APPS, strlen(DRIVE_APPS)) != 0)
		files_add_content(x, &empty, true);
	drive_changed(x, true);
}

struct drive_node *
drive_create_do(struct emu_req *req)
{
	struct drive_req *r = drive_of(req);
	const char *mime = drive_meta_text(r, "mimeType"), *name = drive_meta_text(r, "name");
	const json_t *link = json_object_get(r->meta, "shortcutDetails");
	struct drive_node *parent, *x;

	if (!drive_create_check(req) || !(parent = files_parent(req, drive_root)))
		return NULL;
	if (r->blob && !drive_of_node(parent) && !drive_room(req, emu_blob_size(r->blob)))
		return NULL;
	if (!mime)
		mime = r->mime ? r->mime : "application/octet-stream";
	if (drive_take(req, DRIVE_TWIN_NEXT)) {
		files_twin(req, name ? name : "Untitled", mime, parent);
	}
	x = files_make(req, drive_meta_text(r, "id"), "", mime, parent);
	files_set_time(&x->created_ms, r, "createdTime");
	files_apply(x, r, false);
	if (!strcmp(mime, DRIVE_SHORTCUT)) {
		const char *target = json_string_value(json_object_get(link, "targetId"));

		x->target = weir_xstrdup(target);
		x->target_mime = weir_xstrdup(drive_by_id(target)->mime);
	} else if (r->blob || strncmp(mime, DRIVE_APPS, strlen(DRIVE_APPS)) != 0) {
		files_add_content(x, r, req->is_raw);
	}
	drive_changed(x, req->is_raw);
	return x;
}

void
drive_files_create(struct emu_req *req)
{
	struct drive_node *x = drive_create_do(req);

	if (x)
		drive_ok_file(req, x);
}

/* ---- update ---- */

static bool
files_in_list(const char *list, const char *id)
{
	size_t n = strlen(id);

	for (const char *p = list; p && *p; p += strcspn(p, ","), p += *p == ',') {
		p += strspn(p, " ");
		if (strcspn(p, ", ") == n && !strncmp(p, id, n))
			return true;
	}
	return false;
}

/* Where the request wants it to go: *to. False: replied. */
static bool
files_destination(struct emu_req *req, struct drive_node *x, struct drive_node **to)
{
	const char *add = emu_query(req, "addParents"), *drop = emu_query(req, "removeParents");
	bool leaves = x->parent && drop && (files_in_list(drop, x->parent->id) || (x->parent == drive_root && files_in_list(drop, "root")));
	struct drive_node *dir;

	*to = leaves ? NULL : x->parent;
	if (!add || !*add)
		return true;
	if (strchr(add, ',')) {
		drive_fail(req, 403, "cannotAddParent", NULL, "Increasing the number of parents is not allowed");
		return false;
	}
	if (!(dir = drive_see(req, add)))
		return false;
	*to = dir;
	if (dir != x->parent && !leaves && x->parent)
		drive_fail(req, 403, "cannotAddParent", NULL, "Increasing the number of parents is not allowed");
	else if (dir != x->parent && drive_is_below(dir, x))
		drive_fail(req, 400, "badRequest", NULL, "The requested parent would create a cycle in the directory graph.");
	return !req->is_replied;
}

static bool
files_may_move(struct emu_req *req, struct drive_node *x, struct drive_node *to)
{
	struct drive_node *from_drive = drive_of_node(x), *to_drive = to ? drive_of_node(to) : NULL;
	enum drive_role role = drive_role(x);

	if (to == x->parent)
		return true;
	if (x->is_root)
		drive_forbidden(req);
	else if (!to && from_drive)
		drive_fail(req, 403, "teamDrivesParentLimit", NULL, "A shared drive item must have exactly one parent.");
	else if (from_drive != to_drive && drive_is_folder(x))
		drive_fail(req, 403, "teamDrivesFolderMoveInNotSupported", NULL, "Moving folders into or out of shared drives is not supported.");
	else if (!req->is_raw && from_drive && from_drive != to_drive && role < DRIVE_ORGANIZER)
		drive_forbidden(req);
	else if (!req->is_raw && !from_drive && to_drive && role < DRIVE_OWNER)
		drive_forbidden(req);
	return !req->is_replied && (!to || files_may_add(req, to, files_height(x)));
}

static bool
files_may_trash(struct emu_req *req, const struct drive_node *x)
{
	const json_t *v = json_object_get(drive_of(req)->meta, "trashed");

	if (!json_is_boolean(v))
		return true;
	if (x->is_root || (!req->is_raw && drive_role(x) < (drive_of_node(x) ? DRIVE_FILE_ORGANIZER : DRIVE_OWNER)))
		drive_forbidden(req);
	return !req->is_replied;
}

bool
drive_update_check(struct emu_req *req, const char *id)
{
	struct drive_req *r = drive_of(req);
	struct drive_node *x = drive_see(req, id), *to;
	const char *mime = drive_meta_text(r, "mimeType");

	if (!x || !files_meta_ok(req, x) || !files_destination(req, x, &to) || !files_may_move(req, x, to) || !files_may_trash(req, x))
		return false;
	if (!req->is_raw && drive_role(x) < DRIVE_WRITER)
		drive_forbidden(req);
	else if (x->is_root && drive_meta_text(r, "name"))
		drive_forbidden(req);
	else if (r->kind != DRIVE_PLAIN && (drive_is_folder(x) || x->target))
		drive_fail(req, 403, "fileNotDownloadable", NULL, "Only files with binary content can be updated with content.");
	else
		files_content_ok(req, mime ? mime : x->mime);
	return !req->is_replied;
}

static void
files_set_trashed(struct drive_node *x, const json_t *v)
{
	if (!json_is_boolean(v) || x->is_trashed == json_is_true(v))
		return;
	x->is_trashed = json_is_true(v);
	x->trashed_ms = x->is_trashed ? drive_now_ms() : 0;
}

struct drive_node *
drive_update_do(struct emu_req *req, const char *id)
{
	struct drive_req *r = drive_of(req);
	struct drive_node *x, *to;
	const char *mime = drive_meta_text(r, "mimeType");
	bool has_content = r->blob != NULL;

	if (!drive_update_check(req, id) || !(x = drive_see(req, id)) || !files_destination(req, x, &to))
		return NULL;
	if (has_content && !drive_of_node(x) && !x->is_others && !drive_room(req, emu_blob_size(r->blob)))
		return NULL;
	drive_remember(x);
	if (to != x->parent)
		drive_place(x, to);
	files_set_trashed(x, json_object_get(r->meta, "trashed"));
	files_apply(x, r, has_content);
	if (mime || (has_content && r->mime && !drive_is_doc(x))) {
		free(x->mime);
		x->mime = weir_xstrdup(mime ? mime : r->mime);
	}
	if (has_content)
		files_add_content(x, r, req->is_raw);
	drive_changed(x, req->is_raw);
	return x;
}

void
drive_files_update(struct emu_req *req)
{
	struct drive_node *x = drive_update_do(req, drive_of(req)->arg[0]);

	if (x)
		drive_ok_file(req, x);
}

/* ---- get, copy, delete ---- */

void
drive_files_get(struct emu_req *req)
{
	const char *alt = emu_query(req, "alt");
	struct drive_node *x = drive_see(req, drive_of(req)->arg[0]);

	if (!x)
		return;
	if (alt && !strcmp(alt, "media"))
		drive_media(req, x, drive_head(x));
	else if (alt && strcmp(alt, "json") != 0)
		drive_invalid(req, "alt");
	else
		drive_ok_file(req, x);
}

static struct emu_blob *
files_copy_blob(struct emu_req *req, const struct drive_rev *rev)
{
	struct emu_blob *blob = emu_blob_copy(rev->blob, 0, emu_blob_size(rev->blob));

	if (!blob)
		drive_fail(req, 500, "internalError", NULL, "Internal Error");
	return blob;
}

void
drive_files_copy(struct emu_req *req)
{
	struct drive_req *r = drive_of(req);
	struct drive_node *from = drive_see(req, r->arg[0]), *parent, *x;
	const char *mime = drive_meta_text(r, "mimeType");
	struct drive_rev *rev;

	if (!from || !files_meta_ok(req, NULL))
		return;
	if (drive_is_folder(from)) {
		drive_fail(req, 403, "cannotCopyFile", NULL, "This file cannot be copied by the user.");
		return;
	}
	rev = from->nrev ? &from->rev[from->nrev - 1] : NULL;
	if (!files_id_ok(req, drive_is_doc(from) ? from->mime : mime) ||
	    !(parent = files_parent(req, from->parent && (req->is_raw || drive_role(from->parent) >= DRIVE_WRITER) ? from->parent : drive_root)) ||
	    (rev && !drive_of_node(parent) && !drive_room(req, emu_blob_size(rev->blob))) || (rev && !(r->blob = files_copy_blob(req, rev))))
		return;
	x = files_make(req, drive_meta_text(r, "id"), from->name, mime ? mime : from->mime, parent);
	if (!drive_meta_text(r, "name")) {
		free(x->name);
		x->name = weir_xasprintf("Copy of %s", from->name);
	}
	x->description = weir_xstrdup(from->description);
	x->target = weir_xstrdup(from->target);
	x->target_mime = weir_xstrdup(from->target_mime);
	x->doc_size = from->doc_size;
	x->app_props = from->app_props ? json_deep_copy(from->app_props) : NULL;
	x->props = from->props ? json_deep_copy(from->props) : NULL;
	files_apply(x, r, false);
	if (drive_is_doc(x))
		x->modified_ms = drive_now_ms();	/* copies of documents do not heed the time that is asked for */
	if (rev)
		drive_add_rev(x, WEIR_STEAL(r->blob), &rev->sums, rev->mime, req->is_raw);
	drive_changed(x, req->is_raw);
	drive_ok_file(req, x);
}

void
drive_files_delete(struct emu_req *req)
{
	struct drive_node *x = drive_see(req, drive_of(req)->arg[0]);

	if (!x)
		return;
	if (x->is_root || (!req->is_raw && drive_role(x) < (drive_of_node(x) ? DRIVE_ORGANIZER : DRIVE_OWNER))) {
		drive_forbidden(req);
		return;
	}
	drive_remove(x);
	emu_reply(req, 204);
}

void
drive_files_empty_trash(struct emu_req *req)
{
	const char *drive = emu_query(req, "driveId");

	for (size_t i = 0; i < drive_all_n; i++) {
		struct drive_node *x = drive_all[i], *of = x ? drive_of_node(x) : NULL;

		if (!x || !x->is_trashed || (drive ? !of || strcmp(of->id, drive) != 0 : of || x->is_others))
			continue;
		drive_remove(x);
	}
	emu_reply(req, 204);
}

void
drive_files_generate_ids(struct emu_req *req)
{
	const char *space = emu_query(req, "space"), *type = emu_query(req, "type");
	json_t *ids = json_array();
	char id[64] = "1";
	long count = 0;

	if (drive_int(req, "count", 10, 1, 1000, &count) && space && strcmp(space, "drive") != 0 && strcmp(space, "appDataFolder") != 0)
		drive_invalid(req, "space");
	else if (!req->is_replied && type && strcmp(type, "files") != 0 && strcmp(type, "shortcuts") != 0)
		drive_invalid(req, "type");
	for (; !req->is_replied && count > 0; count--) {
		drive_make_id(id + 1, 32);
		drive_ids_add(id);
		json_array_append_new(ids, json_string(id));
	}
	if (!req->is_replied)
		drive_ok_masked(req, json_pack("{s:s s:s s:O}", "kind", "drive#generatedIds", "space", space ? space : "drive", "ids", ids));
	json_decref(ids);
}
