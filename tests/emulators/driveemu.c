/* SPDX-License-Identifier: Apache-2.0 */
/* driveemu: Google Drive's API v3 for tests, one person, one data folder. Options, routes, who may ask, answers and errors; the rest is in drive*.c. The hosts
 * www.googleapis.com, accounts.google.com and oauth2.googleapis.com share the port: their paths do not overlap. Sign-in is oauth.c's. What somebody
 * else does: driveseed.c. Not there: permissions, comments, channels, v2, batches. */
#include "config.h"
#include "drive.h"
#include "oauth.h"
#include <getopt.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>

#define DRIVE_CLIENT "407408718192-driveemu.apps.example.com"
#define DRIVE_SECRET "GOCSPX-emulator-secret"

struct emu_switch drive_switches[DRIVE_SWITCHES + 1] = {
	[DRIVE_QUOTA] = { "quota", "bytes the person may hold; 0: no limit", 2199023255552.0 },
	[DRIVE_THROTTLE_NEXT] = { "throttle_next", "403 userRateLimitExceeded for the next N requests" },
	[DRIVE_THROTTLE_RATE] = { "throttle_rate", "the same for a share of requests" },
	[DRIVE_RATE429_NEXT] = { "throttle_429_next", "429 rateLimitExceeded with Retry-After for the next N requests" },
	[DRIVE_DAY_NEXT] = { "day_limit_next", "403 dailyLimitExceeded for the next N requests" },
	[DRIVE_HTML] = { "html_errors", "1: injected errors are pages of a front end, not JSON" },
	[DRIVE_PARTIAL_NEXT] = { "chunk_partial_next", "of the next N chunks only half is kept" },
	[DRIVE_PARTIAL_NONE_NEXT] = { "chunk_none_next", "of the next N chunks nothing is kept" },
	[DRIVE_SESSION_GONE_NEXT] = { "session_gone_next", "the upload session of the next N requests to one is gone" },
	[DRIVE_SESSION_GONE_AS] = { "session_gone_status", "and is answered with", 404 },
	[DRIVE_TOKEN_BAD_NEXT] = { "page_token_bad_next", "the next N page tokens of listings are refused" },
	[DRIVE_LIST_LAG] = { "list_lag_ms", "listings show names, places and trash so late" },
	[DRIVE_NAME_LAG] = { "name_lag_ms", "queries by name find new names so late" },
	[DRIVE_CHANGE_LAG] = { "change_lag_ms", "changes are told so late" },
	[DRIVE_CHANGES_GONE_NEXT] = { "changes_gone_next", "the next N change tokens are too old" },
	[DRIVE_CHANGES_GONE_AS] = { "changes_gone_status", "and are answered with", 410 },
	[DRIVE_INCOMPLETE] = { "incomplete_search", "1: listings say incompleteSearch" },
	[DRIVE_MULTI_EMPTY_NEXT] = { "multi_parent_empty_next", "the next N queries of several parents find nothing" },
	[DRIVE_PAGE_MAX] = { "page_max", "at most so many entries a page, whatever pageSize says" },
	[DRIVE_EMPTY_PAGES] = { "empty_pages", "1: every other page is empty and names a next one" },
	[DRIVE_DOWN_QUOTA_NEXT] = { "download_quota_next", "403 downloadQuotaExceeded for the next N downloads" },
	[DRIVE_REDIRECT] = { "redirect_media", "1: downloads are redirected to another host, which must not see the token" },
	[DRIVE_CHILDREN_MAX] = { "children_max", "how many children a folder below the root may have", 500000 },
	[DRIVE_TWIN_NEXT] = { "twin_next", "with the next N creates somebody else makes the same name" },
	[DRIVE_LIST_MS] = { "list_delay_ms", "each page of a listing takes so long" },
	[DRIVE_SWITCHES] = { NULL },
};

/* ---- answers ---- */

static void
answer_json(struct emu_req *req, unsigned status, json_t *o)
{
	const char *pretty = emu_query(req, "prettyPrint");
	char *text = json_dumps(o, pretty && !strcmp(pretty, "false") ? JSON_COMPACT : JSON_INDENT(1));

	json_decref(o);
	emu_reply_text(req, status, "application/json; charset=UTF-8", text ? text : "{}");
	free(text);
}

void
drive_ok(struct emu_req *req, json_t *o)
{
	emu_out(req, "Cache-Control", "no-cache, no-store, max-age=0, must-revalidate");
	answer_json(req, 200, o);
}

void
drive_ok_masked(struct emu_req *req, json_t *o)
{
	drive_ok(req, drive_mask_apply(drive_of(req)->fields, o));
}

void
drive_ok_file(struct emu_req *req, struct drive_node *x)
{
	drive_ok(req, drive_file(req, x, drive_of(req)->fields));
}

void
drive_fail(struct emu_req *req, unsigned status, const char *reason, const char *location, const char *fmt, ...)
{
	struct weir_buf text = WEIR_BUF(64u << 10);
	json_t *e;
	va_list ap;

	va_start(ap, fmt);
	weir_buf_vaddf(&text, fmt, ap);
	va_end(ap);
	e = json_pack("{s:s s:s s:s}", "domain", !strcmp(reason, "userRateLimitExceeded") || !strcmp(reason, "rateLimitExceeded") ||
	    !strcmp(reason, "dailyLimitExceeded") ? "usageLimits" : "global", "reason", reason, "message", weir_buf_str(&text));
	if (e && location) {
		json_object_set_new(e, "locationType", json_string(!strcmp(location, "Authorization") || !strcmp(location, "Range") ? "header" : "parameter"));
		json_object_set_new(e, "location", json_string(location));
	}
	answer_json(req, status, json_pack("{s:{s:[o] s:i s:s}}", "error", "errors", e, "code", (int)status, "message", weir_buf_str(&text)));
	weir_buf_free(&text);
}

void
drive_not_found(struct emu_req *req, const char *id)
{
	drive_fail(req, 404, "notFound", "fileId", "File not found: %s.", id);
}

void
drive_forbidden(struct emu_req *req)
{
	drive_fail(req, 403, "insufficientFilePermissions", NULL, "The user does not have sufficient permissions for this file.");
}

void
drive_invalid(struct emu_req *req, const char *parameter)
{
	drive_fail(req, 400, "invalid", parameter, "Invalid Value");
}

static void
driveemu_inject(struct emu_req *req, unsigned status, const char *code)
{
	static const struct {
		unsigned status;
		const char *reason, *message;
	} known[] = {
		{ 400, "badRequest", "Bad Request" }, { 401, "authError", "Invalid Credentials" }, { 403, "userRateLimitExceeded", "User rate limit exceeded." },
		{ 404, "notFound", "Not Found" }, { 429, "rateLimitExceeded", "Rate Limit Exceeded" }, { 500, "internalError", "Internal Error" },
		{ 502, "badGateway", "Bad Gateway" }, { 503, "backendError", "Backend Error" }, { 504, "gatewayTimeout", "Gateway Timeout" },
	};
	size_t i = 0;

	if (drive_on(DRIVE_HTML)) {
		emu_reply_text(req, status, "text/html; charset=UTF-8", "<!DOCTYPE html><html lang=en><title>Error (Server Error)!!1</title></html>");
		return;
	}
	while (i + 1 < WEIR_LEN(known) && known[i].status != status)
		i++;
	drive_fail(req, status, code ? code : known[i].reason, NULL, "%s", code && strcmp(code, known[i].reason) != 0 ? code : known[i].message);
}

/* ---- parameters ---- */

bool
drive_bool(struct emu_req *req, const char *name, bool otherwise, bool *out)
{
	const char *v = emu_query(req, name);

	*out = v ? !strcasecmp(v, "true") : otherwise;
	if (!v || !strcasecmp(v, "true") || !strcasecmp(v, "false"))
		return true;
	drive_fail(req, 400, "invalidParameter", name, "Invalid boolean value: '%s'.", v);
	return false;
}

bool
drive_int(struct emu_req *req, const char *name, long otherwise, long min, long max, long *out)
{
	const char *v = emu_query(req, name);
	char *end;

	*out = otherwise;
	if (!v)
		return true;
	*out = strtol(v, &end, 10);
	if (end == v || *end)
		drive_fail(req, 400, "invalidParameter", name, "Invalid integer value: '%s'.", v);
	else if (*out < min || *out > max)
		drive_fail(req, 400, "invalidParameter", name, "Invalid value '%s'. Values must be within the range: [%ld, %ld]", v, min, max);
	return !req->is_replied;
}

bool
drive_all_drives(struct emu_req *req)
{
	const char *v = emu_query(req, "supportsAllDrives"), *old = emu_query(req, "supportsTeamDrives");

	return req->is_raw || (v && !strcasecmp(v, "true")) || (old && !strcasecmp(old, "true"));
}

bool
drive_visible(const struct emu_req *req, const struct drive_node *x)
{
	if (req->is_raw)
		return true;
	return drive_role(x) >= DRIVE_READER && (!drive_of_node(x) || drive_all_drives((struct emu_req *)(uintptr_t)req));
}

struct drive_node *
drive_see(struct emu_req *req, const char *id)
{
	struct drive_node *x = drive_by_id(id);

	if (x && drive_visible(req, x))
		return x;
	drive_not_found(req, id);
	return NULL;
}

/* ---- routes ---- */

#define API "/drive/v3/"
#define UPLOAD "/upload/drive/v3/"
#define USER "kind,displayName,photoLink,me,permissionId,emailAddress"
#define CAPS "capabilities(*)"
#define SCHEMA_LIST "kind,nextPageToken,incompleteSearch,files(" DRIVE_SCHEMA_FILE ")"
#define SCHEMA_DRIVE "kind,id,name,themeId,colorRgb,backgroundImageLink,createdTime,hidden,orgUnitId,restrictions(*),backgroundImageFile(*)," CAPS
#define SCHEMA_REV "kind,id,mimeType,modifiedTime,keepForever,published,publishedLink,publishAuto,publishedOutsideDomain,lastModifyingUser(" USER ")," \
	"originalFilename,md5Checksum,size,exportLinks(*)"
#define SCHEMA_ABOUT "kind,user(" USER "),storageQuota(limit,usage,usageInDrive,usageInDriveTrash),importFormats(*),exportFormats(*),maxImportSizes(*)," \
	"maxUploadSize,appInstalled,folderColorPalette,driveThemes(*),canCreateDrives,teamDriveThemes(*),canCreateTeamDrives"
#define SCHEMA_CHANGE "kind,type,changeType,removed,time,fileId,file(" DRIVE_SCHEMA_FILE "),driveId,drive(" SCHEMA_DRIVE "),teamDriveId,teamDrive(*)"

static const struct drive_route routes[] = {
	{ "GET", API "about", "about.get", DRIVE_BODY_NONE, drive_about, SCHEMA_ABOUT, NULL },
	{ "GET", API "files", "files.list", DRIVE_BODY_NONE, drive_files_list, SCHEMA_LIST, "kind,nextPageToken,incompleteSearch,files(" DRIVE_DEFAULT_FILE ")" },
	{ "GET", API "files/generateIds", "files.generateIds", DRIVE_BODY_NONE, drive_files_generate_ids, "kind,space,ids", NULL },
	{ "DELETE", API "files/trash", "files.emptyTrash", DRIVE_BODY_NONE, drive_files_empty_trash, "*", NULL },
	{ "GET", API "files/*", "files.get", DRIVE_BODY_NONE, drive_files_get, DRIVE_SCHEMA_FILE, DRIVE_DEFAULT_FILE },
	{ "POST", API "files", "files.create", DRIVE_BODY_JSON, drive_files_create, DRIVE_SCHEMA_FILE, DRIVE_DEFAULT_FILE },
	{ "PATCH", API "files/*", "files.update", DRIVE_BODY_JSON, drive_files_update, DRIVE_SCHEMA_FILE, DRIVE_DEFAULT_FILE },
	{ "DELETE", API "files/*", "files.delete", DRIVE_BODY_NONE, drive_files_delete, "*", NULL },
	{ "POST", API "files/*/copy", "files.copy", DRIVE_BODY_JSON, drive_files_copy, DRIVE_SCHEMA_FILE, DRIVE_DEFAULT_FILE },
	{ "GET", API "files/*/export", "files.export", DRIVE_BODY_NONE, drive_files_export, "*", NULL },
	{ "GET", API "files/*/revisions", "revisions.list", DRIVE_BODY_NONE, drive_revisions_list, "kind,nextPageToken,revisions(" SCHEMA_REV ")", "kind,nextPageToken,revisions(kind,id,mimeType,modifiedTime)" },
	{ "GET", API "files/*/revisions/*", "revisions.get", DRIVE_BODY_NONE, drive_revisions_get, SCHEMA_REV, "kind,id,mimeType,modifiedTime" },
	{ "PATCH", API "files/*/revisions/*", "revisions.update", DRIVE_BODY_JSON, drive_revisions_update, SCHEMA_REV, "kind,id,mimeType,modifiedTime" },
	{ "DELETE", API "files/*/revisions/*", "revisions.delete", DRIVE_BODY_NONE, drive_revisions_delete, "*", NULL },
	{ "POST", UPLOAD "files", "upload.create", DRIVE_BODY_UPLOAD, drive_upload_end, DRIVE_SCHEMA_FILE, DRIVE_DEFAULT_FILE },
	{ "PATCH", UPLOAD "files/*", "upload.update", DRIVE_BODY_UPLOAD, drive_upload_end, DRIVE_SCHEMA_FILE, DRIVE_DEFAULT_FILE },
	{ "PUT", UPLOAD "files", "upload.chunk", DRIVE_BODY_UPLOAD, drive_upload_end, DRIVE_SCHEMA_FILE, DRIVE_DEFAULT_FILE },
	{ "PUT", UPLOAD "files/*", "upload.chunk", DRIVE_BODY_UPLOAD, drive_upload_end, DRIVE_SCHEMA_FILE, DRIVE_DEFAULT_FILE },
	{ "POST", UPLOAD "files/*", "upload.chunk", DRIVE_BODY_UPLOAD, drive_upload_end, DRIVE_SCHEMA_FILE, DRIVE_DEFAULT_FILE },
	{ "DELETE", UPLOAD "files", "upload.cancel", DRIVE_BODY_UPLOAD, drive_upload_end, DRIVE_SCHEMA_FILE, NULL },
	{ "DELETE", UPLOAD "files/*", "upload.cancel", DRIVE_BODY_UPLOAD, drive_upload_end, DRIVE_SCHEMA_FILE, NULL },
	{ "GET", API "changes/startPageToken", "changes.getStartPageToken", DRIVE_BODY_NONE, drive_changes_start, "kind,startPageToken", NULL },
	{ "GET", API "changes", "changes.list", DRIVE_BODY_NONE, drive_changes_list, "kind,nextPageToken,newStartPageToken,changes(" SCHEMA_CHANGE ")",
	    "kind,nextPageToken,newStartPageToken,changes(kind,type,changeType,removed,time,fileId,file(kind,id,name,mimeType,driveId,teamDriveId),driveId,drive(kind,id,name))" },
	{ "GET", API "drives", "drives.list", DRIVE_BODY_NONE, drive_drives_list, "kind,nextPageToken,drives(" SCHEMA_DRIVE ")", "kind,nextPageToken,drives(kind,id,name)" },
	{ "GET", API "drives/*", "drives.get", DRIVE_BODY_NONE, drive_drives_get, SCHEMA_DRIVE, "kind,id,name" },
	{ "GET", "/feeds/download/documents/export/Export", "exportLinks", DRIVE_BODY_NONE, drive_export_link, "*", NULL },
	{ "GET", "/content/*/*", "content", DRIVE_BODY_NONE, drive_content_host, "*", NULL },
	{ "POST", "/emu/*", "emu", DRIVE_BODY_NONE, drive_seed, DRIVE_SCHEMA_FILE, NULL },
};

/* Does path have this pattern? args: components in place of '*', decoded, owned. */
static bool
route_match(const char *pattern, const char *path, char *args[2])
{
	size_t n = 0;

	for (; *pattern; pattern++) {
		if (*pattern == '*') {
			size_t len = strcspn(path, "/");

			if (!len || n == 2 || !(args[n++] = emu_decode(path, len, false)))
				return false;
			path += len;
		} else if (*path++ != *pattern) {
			return false;
		}
	}
	return !*path;
}

static const struct drive_route *
route_of(const struct emu_req *req, char *args[2])
{
	for (size_t i = 0; i < WEIR_LEN(routes); i++) {
		if (strcmp(routes[i].method, req->method) != 0 && !(emu_is(req, "HEAD") && !strcmp(routes[i].method, "GET")))
			continue;
		if (route_match(routes[i].path, req->path, args) && (req->is_raw || strncmp(routes[i].path, "/emu/", 5) != 0))
			return &routes[i];
		free(args[0]);
		free(args[1]);
		args[0] = args[1] = NULL;
	}
	return NULL;
}

/* Uploads have several meanings at one address; faults and counters tell them apart. */
static void
route_upload_op(struct emu_req *req)
{
	const char *range = emu_header(req, "Content-Range"), *type = emu_query(req, "uploadType");
	bool is_create = !drive_of(req)->arg[0];

	if (emu_is(req, "DELETE"))
		return;
	if (emu_query(req, "upload_id"))
		snprintf(req->op, sizeof(req->op), "%s", range && !strncmp(range, "bytes */", 8) ? "upload.status" : "upload.chunk");
	else
		snprintf(req->op, sizeof(req->op), "upload.%s.%.12s", is_create ? "create" : "update", type ? type : "none");
}

static void
driveemu_route(struct emu_req *req)
{
	const char *alt = emu_query(req, "alt");
	struct drive_req *r;

	r = weir_xcalloc(1, sizeof(*r));
	r->mem = (struct weir_buf)WEIR_BUF(DRIVE_MEM_MAX);
	req->proto = r;
	r->route = route_of(req, r->arg);
	snprintf(req->op, sizeof(req->op), "%s%s", r->route ? r->route->op : "other",
	    r->route && alt && !strcmp(alt, "media") && !strcmp(r->route->op, "files.get") ? ".media" : "");
	if (r->route && r->route->body == DRIVE_BODY_UPLOAD)
		route_upload_op(req);
}

/* ---- who asks ---- */

static void
access_refuse(struct emu_req *req)
{
	emu_out(req, "WWW-Authenticate", "Bearer realm=\"https://accounts.google.com/\", error=\"invalid_token\"");
	drive_fail(req, 401, "authError", "Authorization", "Invalid Credentials");
}

static bool
access_check(struct emu_req *req)
{
	const struct drive_req *r = drive_of(req);

	if (req->is_raw || r->route->run == drive_content_host)
		return true;
	/* The address of an upload session is a permission by itself; a token that comes along must be good. */
	if (r->route->body == DRIVE_BODY_UPLOAD && emu_query(req, "upload_id") && !emu_header(req, "Authorization"))
		return true;
	switch (emu_oauth_check(req)) {
	case EMU_TOKEN_OK:
		break;
	case EMU_TOKEN_MISSING:
		drive_fail(req, 403, "forbidden", NULL, "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or "
		    "other form of API consumer identity to call this API.");
		break;
	case EMU_TOKEN_UNKNOWN:
	case EMU_TOKEN_EXPIRED:
		access_refuse(req);
		break;
	}
	return !req->is_replied;
}

static bool
access_throttle(struct emu_req *req)
{
	if (drive_take(req, DRIVE_RATE429_NEXT)) {
		emu_out(req, "Retry-After", "1");
		drive_fail(req, 429, "rateLimitExceeded", NULL, "Rate Limit Exceeded");
	} else if (drive_take(req, DRIVE_DAY_NEXT)) {
		drive_fail(req, 403, "dailyLimitExceeded", NULL, "Daily Limit Exceeded");
	} else if (drive_take(req, DRIVE_THROTTLE_NEXT) || (!req->is_raw && emu_roll(&drive_switches[DRIVE_THROTTLE_RATE]))) {
		drive_fail(req, 403, "userRateLimitExceeded", NULL, "User Rate Limit Exceeded. Rate of requests for user exceed configured project quota.");
	}
	return !req->is_replied;
}

/* ---- the hooks ---- */

/* `fields`, or what the method tells without. False: replied. */
static bool
driveemu_fields(struct emu_req *req)
{
	struct drive_req *r = drive_of(req);
	const char *text = emu_query(req, "fields");
	char *bad = NULL;

	r->fields = text && *text ? drive_mask_parse(text) : r->route->fields ? drive_mask_parse(r->route->fields) : NULL;
	if (!text || !*text || (r->fields && !(bad = drive_mask_unknown(r->fields, r->route->schema))))
		return true;
	drive_fail(req, 400, "invalidParameter", "fields", "Invalid field selection %s", bad ? bad : text);
	free(bad);
	return false;
}

static void
driveemu_begin(struct emu_req *req)
{
	struct drive_req *r = drive_of(req);
	bool ignored;

	emu_out(req, "Server", "ESF");
	if (!r->route) {
		emu_reply_text(req, 404, "text/html; charset=UTF-8", "<!DOCTYPE html><html lang=en><title>Error 404 (Not Found)!!1</title></html>");
		return;
	}
	if (!access_check(req) || !access_throttle(req) || !drive_bool(req, "supportsAllDrives", false, &ignored) || !driveemu_fields(req))
		return;
	if (r->route->body == DRIVE_BODY_UPLOAD)
		drive_upload_begin(req);
}

static void
driveemu_data(struct emu_req *req, const void *data, size_t len)
{
	if (drive_of(req)->route->body == DRIVE_BODY_UPLOAD)
		drive_upload_data(req, data, len);
	else
		weir_buf_add(&drive_of(req)->mem, data, len);
}

static bool
driveemu_body(struct emu_req *req)
{
	struct drive_req *r = drive_of(req);

	if (r->route->body != DRIVE_BODY_JSON || !r->mem.len)
		return true;
	r->meta = json_loadb(r->mem.data, r->mem.len, JSON_REJECT_DUPLICATES, NULL);
	if (r->meta && json_is_object(r->meta) && !r->mem.is_full)
		return true;
	drive_fail(req, 400, "parseError", NULL, "Parse Error");
	return false;
}

static void
driveemu_end(struct emu_req *req)
{
	const struct drive_route *route = drive_of(req)->route;

	if (route->body == DRIVE_BODY_UPLOAD) {
		route->run(req);
		return;
	}
	if (!driveemu_body(req))
		return;
	if (!req->is_raw && route->run == drive_files_list && !emu_sleep(req, (int64_t)emu_value(&drive_switches[DRIVE_LIST_MS])))
		return;
	pthread_mutex_lock(&drive_lock);
	route->run(req);
	pthread_mutex_unlock(&drive_lock);
}

static void
driveemu_release(struct emu_req *req)
{
	struct drive_req *r = drive_of(req);

	if (r->route && r->route->body == DRIVE_BODY_UPLOAD)
		drive_upload_release(req);
	drive_mask_free(r->fields);
	json_decref(r->meta);
	weir_buf_free(&r->mem);
	free(r->mime);
	free(r->arg[0]);
	free(r->arg[1]);
	emu_blob_unref(r->blob);
	free(r);
}

/* ---- one door for both servers ---- */

static bool
door_is_sign_in(const struct emu_req *req)
{
	return !strncmp(req->path, "/o/oauth2/", 10) || !strcmp(req->path, "/token") || !strcmp(req->path, "/revoke") || !strcmp(req->path, "/device/code");
}

static void
door_route(struct emu_req *req)
{
	if (!door_is_sign_in(req))
		driveemu_route(req);
	else if (!emu_oauth_route(req))
		snprintf(req->op, sizeof(req->op), "other");
}

static void
door_begin(struct emu_req *req)
{
	if (door_is_sign_in(req))
		emu_oauth_begin(req);
	else
		driveemu_begin(req);
}

static void
door_data(struct emu_req *req, const void *data, size_t len)
{
	if (door_is_sign_in(req))
		emu_oauth_data(req, data, len);
	else
		driveemu_data(req, data, len);
}

static void
door_end(struct emu_req *req)
{
	if (door_is_sign_in(req))
		emu_oauth_end(req);
	else
		driveemu_end(req);
}

static void
door_release(struct emu_req *req)
{
	if (door_is_sign_in(req))
		emu_oauth_release(req);
	else
		driveemu_release(req);
}

static const struct emu_proto driveemu_proto = {
	.name = "driveemu", .switches = drive_switches, .more_switches = emu_oauth_switches, .route = door_route, .begin = door_begin, .data = door_data,
	.end = door_end, .release = door_release, .error = driveemu_inject,
};

static int
usage(void)
{
	fprintf(stderr, "usage: driveemu --port N --dir DATADIR [--client-id ID] [--client-secret SECRET] [--refresh-token TOKEN]\n"
	    "                [--access-token TOKEN] [--service-account EMAIL --service-key PUBLIC.pem] [--quota BYTES] [--die-with-parent] [--verbose]\n");
	return 2;
}

static const struct option options[] = {
	{ "port", required_argument, NULL, 'p' }, { "dir", required_argument, NULL, 'd' }, { "client-id", required_argument, NULL, 'i' },
	{ "client-secret", required_argument, NULL, 's' }, { "refresh-token", required_argument, NULL, 'r' },
	{ "access-token", required_argument, NULL, 'a' }, { "service-account", required_argument, NULL, 'e' },
	{ "service-key", required_argument, NULL, 'k' }, { "quota", required_argument, NULL, 'q' }, { "die-with-parent", no_argument, NULL, 'x' },
	{ "verbose", no_argument, NULL, 'v' }, { NULL, 0, NULL, 0 },
};

int
main(int argc, char **argv)
{
	struct emu_opts opts = { 0 };
	struct emu_oauth_conf conf = {
		.authorize_path = "/o/oauth2/v2/auth", .token_path = "/token", .revoke_path = "/revoke", .client_id = DRIVE_CLIENT,
		.client_secret = DRIVE_SECRET, .access_prefix = "ya29.", .refresh_prefix = "1//0", .code_prefix = "4/0A", .expires_s = 3599,
		.wants_offline = true, .is_google = true, .scope = "https://www.googleapis.com/auth/drive",
	};
	const char *refresh = "1//0emulator-refresh-token", *access = NULL, *key = NULL;
	char *pem = NULL;
	size_t len;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'p': opts.port = atoi(optarg); break;
		case 'd': opts.dir = optarg; break;
		case 'i': conf.client_id = optarg; break;
		case 's': conf.client_secret = optarg; break;
		case 'r': refresh = optarg; break;
		case 'a': access = optarg; break;
		case 'e': conf.service_account = optarg; break;
		case 'k': key = optarg; break;
		case 'q': drive_switches[DRIVE_QUOTA].value = strtod(optarg, NULL); break;
		case 'x': opts.dies_with_parent = true; break;
		case 'v': opts.is_verbose = true; break;
		default: return usage();
		}
	}
	if (!opts.dir || optind != argc || (conf.service_account && !key))
		return usage();
	if (key && weir_read_file(key, 64u << 10, &pem, &len)) {
		fprintf(stderr, "driveemu: cannot read '%s'\n", key);
		return 1;
	}
	conf.service_public_key_pem = pem;
	emu_oauth_setup(&conf, refresh, access);
	if (drive_state_open(opts.dir))
		return 1;
	return emu_serve(&driveemu_proto, &opts);
}
