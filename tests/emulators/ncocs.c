/* SPDX-License-Identifier: Apache-2.0 */
/* What is not DAV: status.php, and the OCS answers about user, quota and capabilities, as JSON or XML. */
#include "config.h"
#include "nc.h"
#include "util/text.h"
#include <string.h>
#include <strings.h>

#define OCS_VERSION "31.0.0"

void
nc_status_php(struct emu_req *req)
{
	json_t *o = json_pack("{s:b s:b s:b s:s s:s s:s s:s s:b}", "installed", 1, "maintenance", nc_on(NC_MAINTENANCE), "needsDbUpgrade", 0,
	    "version", OCS_VERSION ".18", "versionstring", OCS_VERSION, "edition", "", "productname", "Nextcloud", "extendedSupport", 0);
	char *text = json_dumps(o, JSON_COMPACT);

	json_decref(o);
	emu_reply_text(req, 200, "application/json", text ? text : "{}");
	free(text);
}

/* ---- the envelope ---- */

static void ocs_xml(struct weir_buf *out, const char *name, const json_t *o);

static void
ocs_xml_inside(struct weir_buf *out, const json_t *o)
{
	const char *key;
	json_t *v;
	size_t i;

	if (json_is_object(o)) {
		json_object_foreach((json_t *)o, key, v)
			ocs_xml(out, key, v);
	} else if (json_is_array(o)) {
		json_array_foreach(o, i, v)
			ocs_xml(out, "element", v);
	} else if (json_is_string(o))
		emu_xml_text_add(out, json_string_value(o));
	else if (json_is_integer(o))
		weir_buf_addf(out, "%lld", (long long)json_integer_value(o));
	else if (json_is_real(o))
		weir_buf_addf(out, "%g", json_real_value(o));
	else
		weir_buf_adds(out, json_is_true(o) ? "1" : "");
}

static void
ocs_xml(struct weir_buf *out, const char *name, const json_t *o)
{
	weir_buf_addf(out, "<%s>", name);
	ocs_xml_inside(out, o);
	weir_buf_addf(out, "</%s>", name);
}

/* Wraps data (taken) as v1.php or v2.php does. status is HTTP's; v1 says it in the body only. */
static void
ocs_reply(struct emu_req *req, bool is_v1, unsigned status, const char *message, json_t *data)
{
	const char *accept = emu_header(req, "Accept"), *format = emu_query(req, "format");
	bool as_json = format ? !strcmp(format, "json") : accept && strstr(accept, "application/json");
	int code = is_v1 ? (status == 200 ? 100 : status == 401 ? 997 : (int)status) : (int)status;
	json_t *o = json_pack("{s:{s:{s:s s:i s:s} s:o}}", "ocs", "meta", "status", status == 200 ? "ok" : "failure", "statuscode", code,
	    "message", message, "data", data);
	struct weir_buf out = WEIR_BUF(1u << 20);
	char *text;

	if (as_json) {
		text = json_dumps(o, JSON_COMPACT);
		weir_buf_adds(&out, text ? text : "");
		free(text);
	} else {
		weir_buf_adds(&out, "<?xml version=\"1.0\"?>\n");
		ocs_xml_inside(&out, o);
	}
	json_decref(o);
	emu_reply_text(req, is_v1 && status != 401 ? 200 : status, as_json ? "application/json; charset=utf-8" : "application/xml; charset=utf-8",
	    weir_buf_str(&out));
	weir_buf_free(&out);
}

/* ---- the answers ---- */

static json_t *
ocs_user(void)
{
	int64_t used, room, quota = (int64_t)emu_value(&nc_switches[NC_QUOTA]), total;

	pthread_mutex_lock(&nc_lock);
	used = (int64_t)nc_files->size;
	room = nc_available();
	pthread_mutex_unlock(&nc_lock);
	if (room < 0)
		room = 1ll << 50;	/* unlimited: what the disk has */
	total = quota > 0 ? quota : used + room;
	return json_pack("{s:b s:s s:s s:s s:{s:I s:I s:I s:f s:I} s:s s:s s:s}", "enabled", 1, "id", nc_conf.user, "display-name", nc_conf.user,
	    "displayname", nc_conf.user, "quota", "free", (json_int_t)room, "used", (json_int_t)used, "total", (json_int_t)total, "relative",
	    total ? (double)used * 100 / (double)total : 0.0, "quota", (json_int_t)(quota > 0 ? quota : -3), "email",
	    strchr(nc_conf.login, '@') ? nc_conf.login : "", "language", "en", "locale", "en");
}

static json_t *
ocs_capabilities(const struct emu_req *req)
{
	json_int_t chunk = (json_int_t)emu_value(&nc_switches[NC_CHUNK_SIZE]);
	json_t *files = json_pack("{s:b s:[s] s:[s] s:[] s:[s,s] s:[s,s] s:{s:I s:i} s:b s:b}", "bigfilechunking", 1, "blacklisted_files", ".htaccess",
	    "forbidden_filenames", ".htaccess", "forbidden_filename_basenames", "forbidden_filename_characters", "\\", "/",
	    "forbidden_filename_extensions", ".part", ".filepart", "chunked_upload", "max_size", chunk, "max_parallel_count", 5, "undelete",
	    nc_on(NC_TRASHBIN), "versioning", 0);

	return json_pack("{s:{s:i s:i s:i s:s s:s s:b} s:{s:{s:i s:s s:b} s:{s:s} s:o s:{s:[s,s,s] s:s} s:o*}}", "version", "major", 31, "minor", 0, "micro", 0,
	    "string", OCS_VERSION, "edition", "", "extendedSupport", 0, "capabilities", "core", "pollinterval", 60, "webdav-root",
	    "remote.php/webdav", "reference-api", 0, "dav", "chunking", "1.0", "files", files, "checksums", "supportedTypes", "SHA1", "MD5", "SHA256",
	    "preferredUploadType", "SHA1", "notify_push", nc_on(NC_PUSH) ? nc_push_capability(req) : NULL);
}

/* getapppassword turns the real password into one that can be revoked; refused for those who have one already. */
static void
ocs_app_password(struct emu_req *req, bool is_v1)
{
	const char *h = emu_header(req, "Authorization");
	unsigned char raw[1024];
	ssize_t n = h && !strncasecmp(h, "Basic ", 6) ? weir_unbase64(h + 6, raw, sizeof(raw) - 1) : 0;
	char *colon, password[73];

	raw[n > 0 ? n : 0] = 0;
	colon = strchr((char *)raw, ':');
	if (!colon || strcmp(colon + 1, nc_conf.password)) {
		ocs_reply(req, is_v1, 403, "You cannot request an new apppassword with an apppassword", json_array());
		return;
	}
	weir_random_hex(password, 72);
	pthread_mutex_lock(&nc_lock);
	nc_password_add(password);
	pthread_mutex_unlock(&nc_lock);
	ocs_reply(req, is_v1, 200, "OK", json_pack("{s:s}", "apppassword", password));
}

static void
ocs_revoke(struct emu_req *req, bool is_v1)
{
	const char *h = emu_header(req, "Authorization");
	unsigned char raw[1024];
	ssize_t n = h && !strncasecmp(h, "Basic ", 6) ? weir_unbase64(h + 6, raw, sizeof(raw) - 1) : 0;
	char *colon;

	raw[n > 0 ? n : 0] = 0;
	colon = strchr((char *)raw, ':');
	pthread_mutex_lock(&nc_lock);
	if (colon)
		nc_password_remove(colon + 1);
	pthread_mutex_unlock(&nc_lock);
	ocs_reply(req, is_v1, 200, "OK", json_array());
}

void
nc_ocs(struct emu_req *req, const char *path)
{
	bool is_v1 = !strncmp(path, "v1.php/", 7);
	const char *what = path + 7, *flag = emu_header(req, "OCS-APIRequest");

	if (strncmp(path, "v1.php/", 7) && strncmp(path, "v2.php/", 7)) {
		ocs_reply(req, false, 404, "Invalid query", json_array());
		return;
	}
	if (!flag || strcasecmp(flag, "true")) {
		emu_reply_text(req, 412, "application/json", "{\"message\":\"CSRF check failed\"}");
		return;
	}
	if (!strcmp(what, "cloud/capabilities"))
		ocs_reply(req, is_v1, 200, "OK", ocs_capabilities(req));
	else if (!strcmp(what, "cloud/user"))
		ocs_reply(req, is_v1, 200, "OK", ocs_user());
	else if (!strcmp(what, "core/getapppassword"))
		ocs_app_password(req, is_v1);
	else if (!strcmp(what, "core/apppassword") && emu_is(req, "DELETE"))
		ocs_revoke(req, is_v1);
	else
		ocs_reply(req, is_v1, 404, "Invalid query, please check the syntax. API specifications are here.", json_array());
}
