/* SPDX-License-Identifier: Apache-2.0 */
/* Content at the Dropbox emulator: download, export, temporary links, upload, and the commit that uploads and sessions share. */
#include "config.h"
#include "drop.h"
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#define FILES_LINK_S (4 * 3600)
#define FILES_NAME_MAX 255

/* ---- names ---- */

static size_t
name_length(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

const char *
drop_name_refused(const char *name)
{
	static const char *const ignored[] = { "desktop.ini", "thumbs.db", ".ds_store", "icon\r", ".dropbox", ".dropbox.attr" };
	size_t len = strlen(name);

	if (!len || name_length(name) > FILES_NAME_MAX || name[len - 1] == ' ' || strchr(name, '\\') || strchr(name, 0x7f))
		return "malformed_path";
	for (size_t i = 0; i < WEIR_LEN(ignored); i++)
		if (!strcasecmp(name, ignored[i]))
			return "disallowed_name";
	return NULL;
}

/* "a.txt" and " (1)": "a (1).txt". */
char *
drop_free_name(const struct drop_node *dir, const char *name, const char *mark)
{
	const char *dot = strrchr(name, '.');
	size_t stem = dot && dot != name ? (size_t)(dot - name) : strlen(name);

	for (unsigned n = mark ? 0 : 1;; n++) {
		char number[32] = "";
		char *try, *fold;
		bool is_free;

		if (n)
			snprintf(number, sizeof(number), " (%u)", n);
		try = weir_xasprintf("%.*s%s%s%s", (int)stem, name, mark ? mark : "", number, name + stem);
		fold = drop_fold(try);
		is_free = !dir || !drop_child(dir, fold);
		free(fold);
		if (is_free)
			return try;
		free(try);
	}
}

const char *
drop_dir_refuses(const struct emu_req *req, const struct drop_node *dir)
{
	return dir == drop_top && !req->is_raw ? "no_write_permission" : NULL;
}

bool
drop_has_room(const struct emu_req *req, uint64_t more, uint64_t instead_of)
{
	double quota = emu_value(&drop_switches[DROP_QUOTA]);

	return !drop_take(req, DROP_NOSPACE_NEXT) && (double)(drop_used - instead_of) + (double)more <= quota;
}

/* ---- commit ---- */

enum commit_mode { COMMIT_ADD, COMMIT_OVERWRITE, COMMIT_UPDATE };
struct commit {
	const struct emu_req *req;
	struct drop_at at;
	enum commit_mode mode;
	const char *rev;
	bool autorename, is_strict;
	int64_t client_s;
	struct emu_blob *blob;		/* owned until written */
	const char *hash;
	json_t *error;
};

static void
commit_read(struct commit *c, const json_t *o)
{
	const json_t *mode = json_object_get(o, "mode");
	const char *tag = drop_tag(mode), *when = json_string_value(json_object_get(o, "client_modified"));

	c->mode = !tag || !strcmp(tag, "add") ? COMMIT_ADD : !strcmp(tag, "overwrite") ? COMMIT_OVERWRITE : COMMIT_UPDATE;
	c->rev = json_string_value(json_object_get(mode, "update"));
	c->autorename = drop_arg_true(o, "autorename");
	c->is_strict = drop_arg_true(o, "strict_conflict");
	c->client_s = when ? drop_time_parse(when) : INT64_MIN;
	drop_find(drop_of(c->req)->root, json_string_value(json_object_get(o, "path")), &c->at);
}

static json_t *
commit_refuse(struct commit *c, json_t *error)
{
	c->error = error;
	return NULL;
}

/* Does the mode speak against what is there? */
static bool
commit_conflicts(const struct commit *c)
{
	const struct drop_node *x = c->at.node;
	char rev[32];

	if (!x)
		return c->mode == COMMIT_UPDATE && c->is_strict;
	if (x->is_dir)
		return true;
	if (c->mode != COMMIT_UPDATE)
		return c->mode == COMMIT_ADD;
	drop_rev(x->ver, rev);
	return strcmp(rev, c->rev) != 0;
}

/* Names on the way that are not there yet, and the last one. */
static const char *
commit_name_refused(const struct commit *c)
{
	const char *tag = NULL;

	if (c->at.is_malformed || (c->at.is_gone && !c->at.node))
		return "malformed_path";
	for (size_t i = c->at.known; i < c->at.n && !tag && !c->at.node; i++)
		tag = drop_name_refused(c->at.seg[i]);
	return tag ? tag : drop_dir_refuses(c->req, c->at.dir);
}

static json_t *
commit_write(struct commit *c)
{
	struct drop_node *old = c->at.node, *x;
	WEIR_AUTO(weir_freep) char *name = NULL;

	if (commit_conflicts(c)) {
		if (!c->autorename)
			return commit_refuse(c, drop_conflict(old && old->is_dir ? "folder" : "file"));
		name = drop_free_name(old ? old->parent : c->at.dir, drop_at_name(&c->at),
		    c->mode == COMMIT_UPDATE ? " (" DROP_HOME_NAME "'s conflicted copy)" : NULL);
		old = NULL;
	}
	if (!drop_has_room(c->req, emu_blob_size(c->blob), old ? emu_blob_size(old->ver->blob) : 0))
		return commit_refuse(c, drop_tags("insufficient_space", NULL));
	x = drop_write(old, old ? NULL : drop_make_parents(&c->at), name ? name : drop_at_name(&c->at), WEIR_STEAL(c->blob), c->hash, c->client_s);
	return drop_meta(x, c->at.root, false);
}

/* Identical content is success without any change, whatever the mode, unless strict_conflict says that a conflict is one. */
static json_t *
commit_run(struct commit *c)
{
	const struct drop_node *x = c->at.node;
	const char *tag = commit_name_refused(c);

	if (tag)
		return commit_refuse(c, drop_tags(tag, NULL));
	if (c->at.is_blocked)
		return commit_refuse(c, drop_conflict("file_ancestor"));
	if (x == c->at.root)
		return commit_refuse(c, drop_conflict("folder"));
	if (x && !x->is_dir && !strcmp(x->ver->hash, c->hash) && (!c->is_strict || !commit_conflicts(c)))
		return drop_meta(x, c->at.root, false);
	return commit_write(c);
}

json_t *
drop_commit(const struct emu_req *req, const json_t *commit, struct emu_blob *blob, const char *hash, json_t **write_error)
{
	struct commit c = { .req = req, .blob = blob, .hash = hash };
	json_t *meta;

	commit_read(&c, commit);
	meta = drop_writes_contend(req) ? commit_refuse(&c, drop_tags("too_many_write_operations", NULL)) : commit_run(&c);
	emu_blob_unref(c.blob);
	drop_at_free(&c.at);
	*write_error = c.error;
	return meta;
}

/* ---- upload ---- */

/* {".tag":"path","reason":…,"upload_session_id":…}: what was sent need not be sent again. */
static void
upload_refuse(struct emu_req *req, json_t *reason, struct emu_blob *blob)
{
	char id[64];
	json_t *e;

	drop_session_keep(blob, id);
	e = json_pack("{s:s s:o s:s}", ".tag", "path", "reason", reason, "upload_session_id", id);
	drop_fail(req, 409, e);
}

void
drop_upload(struct emu_req *req)
{
	struct drop_req *r = drop_of(req);
	const char *said = drop_arg_string(req, "content_hash");
	json_t *meta, *error = NULL;
	char hash[65];

	if (r->is_over) {
		drop_fail(req, 409, drop_tags("payload_too_large", NULL));
		return;
	}
	drop_hash_text(r->hash.sums, r->hash.n, hash);
	if (said && (strcmp(said, hash) || drop_take(req, DROP_HASH_NEXT))) {
		drop_fail(req, 409, drop_tags("content_hash_mismatch", NULL));
		return;
	}
	meta = drop_commit(req, r->arg, emu_blob_ref(r->blob), hash, &error);
	if (meta)
		drop_ok(req, meta);
	else
		upload_refuse(req, error, r->blob);
}

/* ---- download ---- */

static void
download_head(struct emu_req *req, const struct drop_ver *v, json_t *meta)
{
	WEIR_AUTO(weir_freep) char *result = drop_ascii(meta);
	char rev[32];

	json_decref(meta);
	drop_rev(v, rev);
	emu_out(req, "Dropbox-API-Result", result);
	emu_outf(req, "ETag", "W/\"%s\"", rev);
	emu_out(req, "Accept-Ranges", "bytes");
	emu_out(req, "Cache-Control", "no-cache");
	emu_outf(req, "Original-Content-Length", "%" PRIu64, emu_blob_size(v->blob));
	emu_out_replace(req, "Content-Type", "application/octet-stream");
}

/* More than was asked for: what a broken proxy once did. */
static bool
download_overlong(struct emu_req *req, const struct drop_ver *v, uint64_t off, uint64_t len)
{
	uint64_t size = emu_blob_size(v->blob);

	if (off + len >= size || !drop_take(req, DROP_OVERLONG_NEXT))
		return false;
	emu_count_fault("overlong");
	len = len + 100 < size - off ? len + 100 : size - off;
	emu_reply_blob(req, 206, v->blob, off, len);
	return true;
}

static void
download_body(struct emu_req *req, const struct drop_ver *v)
{
	uint64_t size = emu_blob_size(v->blob), off = 0, len = size;
	int r = emu_range(emu_header(req, "Range"), size, &off, &len);

	if (r && drop_take(req, DROP_NORANGE_NEXT)) {
		off = 0;
		len = size;
		r = 0;
	}
	if (r < 0) {
		emu_outf(req, "Content-Range", "bytes */%" PRIu64, size);
		emu_reply_text(req, 416, "text/plain; charset=utf-8", "Requested range not satisfiable.");
		return;
	}
	if (r) {
		emu_outf(req, "Content-Range", "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, off, off + len - 1, size);
		if (download_overlong(req, v, off, len))
			return;
	}
	emu_reply_blob(req, r ? 206 : 200, v->blob, off, len);
}

static bool
download_matches(const struct emu_req *req, const struct drop_ver *v)
{
	const char *h = emu_header(req, "If-None-Match");
	char rev[32];

	drop_rev(v, rev);
	return h && strstr(h, rev);
}

/* What path and (old style) rev name, if it can be downloaded. False: replied. */
static bool
download_find(struct emu_req *req, struct drop_at *at)
{
	const char *rev = drop_arg_string(req, "rev");
	const char *tag;

	drop_find(drop_of(req)->root, drop_arg_string(req, "path"), at);
	if (rev && (at->ver = drop_by_rev(rev)) == NULL)
		at->node = NULL;
	tag = drop_lookup(at);
	if (!tag && !at->ver)
		tag = "not_file";
	if (!tag && at->node && at->node->kind == DROP_RESTRICTED)
		tag = "restricted_content";
	if (tag)
		drop_fail(req, 409, drop_tags("path", tag, NULL));
	return !tag;
}

static json_t *
download_meta(const struct drop_at *at)
{
	return at->node && at->ver == at->node->ver ? drop_meta(at->node, at->root, false) : drop_meta_ver(at->ver, at->root);
}

void
drop_download(struct emu_req *req)
{
	struct drop_at at;

	if (!download_find(req, &at)) {
		drop_at_free(&at);
		return;
	}
	if (at.node && at.node->kind == DROP_PAPER) {
		drop_fail(req, 409, drop_tags("unsupported_file", NULL));
	} else {
		download_head(req, at.ver, download_meta(&at));
		if (download_matches(req, at.ver))
			emu_reply(req, 304);
		else
			download_body(req, at.ver);
	}
	drop_at_free(&at);
}

/* Paper documents only; what they hold is given as it is, whatever the format. */
void
drop_export(struct emu_req *req)
{
	const char *format = drop_arg_string(req, "export_format");
	struct drop_at at;
	json_t *meta, *both;

	if (!download_find(req, &at)) {
		drop_at_free(&at);
		return;
	}
	if (!at.node || at.node->kind != DROP_PAPER) {
		drop_fail(req, 409, drop_tags("non_exportable", NULL));
	} else if (format && strcmp(format, "markdown") && strcmp(format, "html") && strcmp(format, "plain_text")) {
		drop_fail(req, 409, drop_tags("invalid_export_format", NULL));
	} else {
		meta = json_pack("{s:s s:I s:s s:i}", "name", at.node->name, "size", (json_int_t)emu_blob_size(at.ver->blob), "export_hash", at.ver->hash,
		    "paper_revision", 1);
		both = json_pack("{s:o s:o}", "export_metadata", meta, "file_metadata", drop_meta(at.node, at.root, false));
		download_head(req, at.ver, both);
		emu_reply_blob(req, 200, at.ver->blob, 0, emu_blob_size(at.ver->blob));
	}
	drop_at_free(&at);
}

/* ---- temporary links: the version and the hour of death, readable by everybody ---- */

void
drop_temporary_link(struct emu_req *req)
{
	const char *host = emu_header(req, "Host");
	WEIR_AUTO(weir_freep) char *link = NULL;
	struct drop_at at;
	char rev[32];

	if (!download_find(req, &at)) {
		drop_at_free(&at);
		return;
	}
	if (at.node && at.node->kind == DROP_PAPER) {
		drop_fail(req, 409, drop_tags("unsupported_file", NULL));
	} else {
		drop_rev(at.ver, rev);
		link = weir_xasprintf("http://%s/apitl/1/%s.%" PRId64, host ? host : "127.0.0.1", rev, emu_wall_s() + FILES_LINK_S);
		drop_ok(req, json_pack("{s:o s:s}", "metadata", download_meta(&at), "link", link));
	}
	drop_at_free(&at);
}

void
drop_link_get(struct emu_req *req)
{
	WEIR_AUTO(weir_freep) char *rev = weir_xstrdup(req->path + strlen("/apitl/1/"));
	char *dot = strchr(rev, '.');
	struct drop_ver *v;

	if (dot)
		*dot = 0;
	v = drop_by_rev(rev);
	if (!v || !dot || strtoll(dot + 1, NULL, 10) < emu_wall_s()) {
		emu_reply_text(req, 410, "text/plain; charset=utf-8", "This link has expired.");
		return;
	}
	emu_out(req, "Accept-Ranges", "bytes");
	emu_out(req, "Content-Type", "application/octet-stream");
	download_body(req, v);
}
