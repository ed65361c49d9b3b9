/* SPDX-License-Identifier: Apache-2.0 */
/* about and shared drives of the Drive emulator. */
#include "config.h"
#include "drive.h"
#include <string.h>

static json_t *
about_number(double v)
{
	return json_sprintf("%.0f", v);
}

static json_t *
about_quota(void)
{
	double quota = emu_value(&drive_switches[DRIVE_QUOTA]), used = (double)drive_used(false), trash = (double)drive_used(true);
	json_t *o = json_object();

	if (quota > 0)
		json_object_set_new(o, "limit", about_number(quota));
	json_object_set_new(o, "usage", about_number(used));
	json_object_set_new(o, "usageInDrive", about_number(used));
	json_object_set_new(o, "usageInDriveTrash", about_number(trash));
	return o;
}

static json_t *
about_formats(bool is_export)
{
	static const char *const docs[] = { "document", "spreadsheet", "presentation", "drawing", "script" };
	static const char *const imports[] = { "text/plain", "text/html", "text/markdown", "text/csv", "text/tab-separated-values",
		"application/vnd.openxmlformats-officedocument.wordprocessingml.document",
		"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
		"application/vnd.openxmlformats-officedocument.presentationml.presentation" };
	json_t *o = json_object();
	char mime[64];

	for (size_t i = 0; is_export && i < WEIR_LEN(docs); i++) {
		snprintf(mime, sizeof(mime), DRIVE_APPS "%s", docs[i]);
		json_object_set_new(o, mime, drive_texts(drive_exports(mime)));
	}
	for (size_t i = 0; !is_export && i < WEIR_LEN(imports); i++)
		json_object_set_new(o, imports[i], json_pack("[s]", drive_import(imports[i])));
	return o;
}

void
drive_about(struct emu_req *req)
{
	if (!emu_query(req, "fields")) {
		drive_fail(req, 400, "required", "fields", "The 'fields' parameter is required for this method.");
		return;
	}
	drive_ok_masked(req, json_pack("{s:s s:o s:o s:s s:b s:b s:o s:o s:{s:s s:s s:s}}", "kind", "drive#about", "user", drive_user(false),
	    "storageQuota", about_quota(), "maxUploadSize", "5242880000000", "appInstalled", 1, "canCreateDrives", 1, "exportFormats",
	    about_formats(true), "importFormats", about_formats(false), "maxImportSizes", DRIVE_APPS "document", "10485760",
	    DRIVE_APPS "spreadsheet", "104857600", DRIVE_APPS "presentation", "104857600"));
}

void
drive_drives_list(struct emu_req *req)
{
	const char *token = emu_query(req, "pageToken"), *next = NULL;
	json_t *list, *o;
	bool is_behind;
	long size;

	if (!drive_int(req, "pageSize", 10, 1, 100, &size))
		return;
	is_behind = !token;
	list = json_array();
	for (size_t i = 0; i < drive_all_n && !next; i++) {
		const struct drive_node *x = drive_all[i];

		if (!x || !x->is_drive || (!req->is_raw && x->role < DRIVE_READER))
			continue;
		is_behind = is_behind || !strcmp(token, x->id);
		if (!is_behind)
			continue;
		if ((long)json_array_size(list) < size)
			json_array_append_new(list, drive_drive_json(x));
		else
			next = x->id;
	}
	if (!is_behind) {
		json_decref(list);
		drive_invalid(req, "pageToken");
		return;
	}
	o = json_pack("{s:s s:o}", "kind", "drive#driveList", "drives", list);
	if (next)
		json_object_set_new(o, "nextPageToken", json_string(next));
	drive_ok_masked(req, o);
}

void
drive_drives_get(struct emu_req *req)
{
	const char *id = drive_of(req)->arg[0];
	const struct drive_node *x = drive_by_id(id);

	if (x && x->is_drive && (req->is_raw || x->role >= DRIVE_READER))
		drive_ok_masked(req, drive_drive_json(x));
	else
		drive_fail(req, 404, "notFound", "driveId", "Shared drive not found: %s", id);
}
