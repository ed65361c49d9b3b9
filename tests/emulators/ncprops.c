/* SPDX-License-Identifier: Apache-2.0 */
/* PROPFIND and PROPPATCH: live properties as Nextcloud answers them, dead ones as they were set. */
#include "config.h"
#include "nc.h"
#include "util/text.h"
#include <string.h>
#include <strings.h>
#include <time.h>

#define NS_DAV "DAV:"
#define NS_OC "http://owncloud.org/ns"
#define NS_NC "http://nextcloud.org/ns"
#define PROPS_DEPTH_MAX 1000

/* ---- live properties: each writes its value and says whether the node has it ---- */

typedef bool prop_fn(struct weir_buf *, const struct nc_node *);

static bool
prop_type(struct weir_buf *out, const struct nc_node *x)
{
	weir_buf_adds(out, x->is_dir ? "<d:collection/>" : "");
	return true;
}

static bool
prop_modified(struct weir_buf *out, const struct nc_node *x)
{
	char date[32];

	weir_date_rfc1123(x->mtime, date);
	weir_buf_adds(out, date);
	return true;
}

static bool
prop_length(struct weir_buf *out, const struct nc_node *x)
{
	if (!x->is_dir)
		weir_buf_addf(out, "%llu", (unsigned long long)x->size);
	return !x->is_dir;
}

static bool
prop_etag(struct weir_buf *out, const struct nc_node *x)
{
	weir_buf_addf(out, "&quot;%s&quot;", x->etag);
	return true;
}

static bool
prop_content_type(struct weir_buf *out, const struct nc_node *x)
{
	weir_buf_adds(out, x->is_dir ? "" : "application/octet-stream");
	return !x->is_dir;
}

static bool
prop_name(struct weir_buf *out, const struct nc_node *x)
{
	emu_xml_text_add(out, x->parent ? x->name : nc_conf.user);
	return true;
}

static bool
prop_created(struct weir_buf *out, const struct nc_node *x)
{
	time_t t = (time_t)x->made;
	char text[32];
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	weir_buf_adds(out, text);
	return true;
}

static bool
prop_made(struct weir_buf *out, const struct nc_node *x)
{
	weir_buf_addf(out, "%lld", (long long)x->made);
	return true;
}

static bool
prop_available(struct weir_buf *out, const struct nc_node *x)
{
	weir_buf_addf(out, "%lld", (long long)nc_available());
	return x->is_dir;
}

static bool
prop_used(struct weir_buf *out, const struct nc_node *x)
{
	weir_buf_addf(out, "%llu", (unsigned long long)x->size);
	return x->is_dir;
}

static bool
prop_fileid(struct weir_buf *out, const struct nc_node *x)
{
	weir_buf_addf(out, "%llu", (unsigned long long)x->id);
	return true;
}

static bool
prop_id(struct weir_buf *out, const struct nc_node *x)
{
	weir_buf_addf(out, "%08llu" NC_INSTANCE, (unsigned long long)x->id);
	return true;
}

static bool
prop_permissions(struct weir_buf *out, const struct nc_node *x)
{
	weir_buf_adds(out, !x->parent ? "RGCK" : x->is_dir ? "RGDNVCK" : "RGDNVW");
	return true;
}

static bool
prop_size(struct weir_buf *out, const struct nc_node *x)
{
	weir_buf_addf(out, "%llu", (unsigned long long)x->size);
	return true;
}

static bool
prop_checksums(struct weir_buf *out, const struct nc_node *x)
{
	if (!x->checksum || nc_on(NC_NO_CHECKSUM))
		return false;
	weir_buf_adds(out, "<oc:checksum>");
	emu_xml_text_add(out, x->checksum);
	weir_buf_adds(out, "</oc:checksum>");
	return true;
}

static bool
prop_owner(struct weir_buf *out, const struct nc_node *x)
{
	(void)x;
	emu_xml_text_add(out, nc_conf.user);
	return true;
}

static bool
prop_zero(struct weir_buf *out, const struct nc_node *x)
{
	(void)x;
	weir_buf_adds(out, "0");
	return true;
}

static bool
prop_empty(struct weir_buf *out, const struct nc_node *x)
{
	(void)out;
	(void)x;
	return true;
}

static bool
prop_false(struct weir_buf *out, const struct nc_node *x)
{
	(void)x;
	weir_buf_adds(out, "false");
	return true;
}

static bool
prop_folders(struct weir_buf *out, const struct nc_node *x)
{
	size_t n = 0;

	for (size_t i = 0; i < x->n; i++)
		n += x->child[i]->is_dir;
	weir_buf_addf(out, "%zu", n);
	return x->is_dir;
}

static bool
prop_files(struct weir_buf *out, const struct nc_node *x)
{
	size_t n = 0;

	for (size_t i = 0; i < x->n; i++)
		n += !x->child[i]->is_dir;
	weir_buf_addf(out, "%zu", n);
	return x->is_dir;
}

static const struct prop {
	const char *ns, *name;
	prop_fn *get;
	bool is_in_all;
} props[] = {
	{ NS_DAV, "resourcetype", prop_type, true },
	{ NS_DAV, "getlastmodified", prop_modified, true },
	{ NS_DAV, "getcontentlength", prop_length, true },
	{ NS_DAV, "getetag", prop_etag, true },
	{ NS_DAV, "getcontenttype", prop_content_type, true },
	{ NS_DAV, "quota-available-bytes", prop_available, true },
	{ NS_DAV, "quota-used-bytes", prop_used, true },
	{ NS_DAV, "displayname", prop_name, false },
	{ NS_DAV, "creationdate", prop_created, false },
	{ NS_OC, "id", prop_id, false },
	{ NS_OC, "fileid", prop_fileid, false },
	{ NS_OC, "permissions", prop_permissions, false },
	{ NS_OC, "size", prop_size, false },
	{ NS_OC, "checksums", prop_checksums, false },
	{ NS_OC, "owner-id", prop_owner, false },
	{ NS_OC, "owner-display-name", prop_owner, false },
	{ NS_OC, "favorite", prop_zero, false },
	{ NS_OC, "share-types", prop_empty, false },
	{ NS_OC, "data-fingerprint", prop_empty, false },
	{ NS_OC, "comments-unread", prop_zero, false },
	{ NS_NC, "data-fingerprint", prop_empty, false },
	{ NS_NC, "has-preview", prop_false, false },
	{ NS_NC, "mount-type", prop_empty, false },
	{ NS_NC, "is-mount-root", prop_false, false },
	{ NS_NC, "is-encrypted", prop_zero, false },
	{ NS_NC, "creation_time", prop_made, false },
	{ NS_NC, "upload_time", prop_made, false },
	{ NS_NC, "contained-folder-count", prop_folders, false },
	{ NS_NC, "contained-file-count", prop_files, false },
};

static const struct prop *
prop_live(const char *ns, const char *name)
{
	for (size_t i = 0; i < WEIR_LEN(props); i++)
		if (!strcmp(props[i].name, name) && !strcmp(props[i].ns, ns))
			return &props[i];
	return NULL;
}

static const char *
prop_prefix(const char *ns)
{
	return !strcmp(ns, NS_DAV) ? "d" : !strcmp(ns, NS_OC) ? "oc" : !strcmp(ns, NS_NC) ? "nc" : NULL;
}

/* <d:name>value</d:name>, or with a namespace of its own. */
static void
prop_element(struct weir_buf *out, const char *ns, const char *name, const char *value)
{
	const char *prefix = prop_prefix(ns);

	if (prefix)
		weir_buf_addf(out, *value ? "<%s:%s>%s</%s:%s>" : "<%s:%s/>", prefix, name, value, prefix, name);
	else {
		weir_buf_addf(out, "<%s xmlns=\"", name);
		emu_xml_text_add(out, ns);
		weir_buf_adds(out, "\"/>");
	}
}

/* ---- PROPFIND ---- */

struct find {
	struct emu_xml *root;		/* NULL: all properties */
	const struct emu_xml *prop;	/* <prop>: these; NULL: all, or only names */
	bool names_only, is_minimal;
	int depth;
	const char *base;
	struct weir_buf *out;
};

static void
find_one(struct find *f, const struct nc_node *x, const char *ns, const char *name, struct weir_buf *found, struct weir_buf *missing)
{
	const struct prop *live = prop_live(ns, name);
	struct weir_buf value = WEIR_BUF(1u << 20);
	char *key;
	const char *dead;

	if (live && live->get(&value, x))
		prop_element(found, ns, name, f->names_only ? "" : weir_buf_str(&value));
	else {
		key = weir_xasprintf("%s %s", ns, name);
		dead = emu_pairs_get(&x->props, key);
		if (dead && !f->names_only)
			weir_buf_adds(found, dead);
		else
			prop_element(dead ? found : missing, ns, name, "");
		free(key);
	}
	weir_buf_free(&value);
}

static void
find_dead(struct find *f, const struct nc_node *x, struct weir_buf *found)
{
	for (size_t i = 0; i < x->props.n; i++) {
		const char *key = x->props.v[i].name, *space = strrchr(key, ' ');
		char *ns = weir_xstrndup(key, (size_t)(space - key));

		if (f->names_only)
			prop_element(found, ns, space + 1, "");
		else
			weir_buf_adds(found, x->props.v[i].value);
		free(ns);
	}
}

static void
find_href(struct weir_buf *out, const struct nc_node *x)
{
	if (x->parent) {
		find_href(out, x->parent);
		weir_buf_adds(out, "/");
		weir_url_encode(out, x->name, strlen(x->name), "()~'!*");
	}
}

static void
find_node(struct find *f, const struct nc_node *x)
{
	struct weir_buf found = WEIR_BUF(16u << 20), missing = WEIR_BUF(1u << 20);

	if (f->prop) {
		for (const struct emu_xml *c = f->prop->child; c; c = c->next)
			if (c->name)
				find_one(f, x, c->ns, c->name, &found, &missing);
	} else {
		for (size_t i = 0; i < WEIR_LEN(props); i++)
			if (props[i].is_in_all || f->names_only)
				find_one(f, x, props[i].ns, props[i].name, &found, &missing);
		find_dead(f, x, &found);
		weir_buf_reset(&missing);
	}
	weir_buf_adds(f->out, "<d:response><d:href>");
	weir_buf_adds(f->out, f->base);
	find_href(f->out, x);
	weir_buf_adds(f->out, x->is_dir ? "/</d:href>" : "</d:href>");
	if (found.len || !missing.len)
		weir_buf_addf(f->out, "<d:propstat><d:prop>%s</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat>", weir_buf_str(&found));
	if (missing.len && !f->is_minimal)
		weir_buf_addf(f->out, "<d:propstat><d:prop>%s</d:prop><d:status>HTTP/1.1 404 Not Found</d:status></d:propstat>", weir_buf_str(&missing));
	weir_buf_adds(f->out, "</d:response>");
	weir_buf_free(&found);
	weir_buf_free(&missing);
}

static void
find_tree(struct find *f, const struct nc_node *x, int depth)
{
	find_node(f, x);
	for (size_t i = 0; depth > 0 && i < x->n; i++)
		find_tree(f, x->child[i], depth - 1);
}

/* An upload folder shows one more entry: the file it will become. */
static void
find_dot_file(struct find *f, struct nc_node *x)
{
	char name[] = ".file";
	struct nc_node file = { .id = x->id, .name = name, .parent = x, .mtime = x->mtime, .made = x->made };

	snprintf(file.etag, sizeof(file.etag), "%s", x->etag);
	if (x->is_dir && f->depth > 0 && x->parent == nc_uploads)
		find_node(f, &file);
}

static bool
find_parse(struct emu_req *req, struct find *f)
{
	const char *depth = emu_header(req, "Depth"), *prefer = emu_header(req, "Prefer");
	const struct weir_buf *body = &nc_of(req)->mem;

	f->depth = !depth || !strcmp(depth, "1") ? 1 : !strcmp(depth, "0") ? 0 : PROPS_DEPTH_MAX;
	f->is_minimal = prefer && strstr(prefer, "return=minimal");
	if (!body->len)
		return true;
	f->root = emu_xml_parse(weir_buf_str(body), body->len);
	if (!f->root || strcmp(f->root->name, "propfind")) {
		nc_error(req, 400, "BadRequest", "The request body is not a propfind element");
		return false;
	}
	f->prop = emu_xml_find(f->root, "prop");
	f->names_only = emu_xml_find(f->root, "propname") != NULL;
	return true;
}

void
nc_propfind(struct emu_req *req)
{
	struct find f = { .base = nc_of(req)->path.base, .out = &req->body };
	struct nc_node *x;

	if (find_parse(req, &f) && (f.depth == 0 || req->is_raw || emu_sleep(req, (int64_t)emu_value(&nc_switches[NC_LIST_DELAY])))) {
		pthread_mutex_lock(&nc_lock);
		x = nc_find(&nc_of(req)->path);
		if (!x)
			nc_error(req, 404, "NotFound", "File could not be located");
		else {
			weir_buf_adds(&req->body, NC_XML "<d:multistatus xmlns:d=\"DAV:\" xmlns:s=\"http://sabredav.org/ns\" xmlns:oc=\"" NS_OC "\" xmlns:nc=\"" NS_NC "\">");
			find_tree(&f, x, f.depth);
			find_dot_file(&f, x);
			weir_buf_adds(&req->body, "</d:multistatus>");
			emu_out(req, "Content-Type", "application/xml; charset=utf-8");
			emu_reply(req, 207);
		}
		pthread_mutex_unlock(&nc_lock);
	}
	emu_xml_free(f.root);
}

/* ---- PROPPATCH ---- */

struct patch_item {
	const struct emu_xml *prop;
	bool is_remove;
	unsigned status;
};

/* What a client may do to this property; nothing is changed yet. */
static unsigned
patch_judge(const struct emu_xml *x)
{
	static const char *const settable[] = { "lastmodified", "creationdate", "creation_time", "favorite", "upload_time" };
	WEIR_AUTO(weir_freep) char *text = NULL;

	for (size_t i = 0; i < WEIR_LEN(settable); i++)
		if (!strcmp(x->name, settable[i]) && prop_prefix(x->ns)) {
			text = emu_xml_text(x);
			return !strcmp(x->name, "lastmodified") && strtoll(text, NULL, 10) <= 0 ? 403 : 200;
		}
	return prop_live(x->ns, x->name) ? 403 : 200;
}

static void
patch_dead(struct nc_node *node, const struct emu_xml *x, bool is_remove)
{
	char *key = weir_xasprintf("%s %s", x->ns, x->name);
	struct weir_buf value = WEIR_BUF(1u << 20);

	for (size_t i = 0; i < node->props.n; i++)
		if (!strcmp(node->props.v[i].name, key)) {
			free(node->props.v[i].name);
			free(node->props.v[i].value);
			node->props.v[i] = node->props.v[--node->props.n];
			break;
		}
	if (!is_remove) {
		emu_xml_write(&value, x);
		emu_pairs_add(&node->props, key, weir_buf_str(&value));
	}
	weir_buf_free(&value);
	free(key);
}

static void
patch_apply(struct nc_node *node, const struct patch_item *it)
{
	WEIR_AUTO(weir_freep) char *text = emu_xml_text(it->prop);
	int64_t t;

	if (!strcmp(it->prop->name, "lastmodified") && prop_prefix(it->prop->ns))
		node->mtime = strtoll(text, NULL, 10);
	else if (!strcmp(it->prop->name, "creation_time") && prop_prefix(it->prop->ns))
		node->made = strtoll(text, NULL, 10);
	else if (!strcmp(it->prop->name, "creationdate") && prop_prefix(it->prop->ns)) {
		t = weir_date_parse(text);
		if (t != INT64_MIN)
			node->made = t / 1000000000;
	} else if (!prop_live(it->prop->ns, it->prop->name))
		patch_dead(node, it->prop, it->is_remove);
}

static size_t
patch_items(const struct emu_xml *root, struct patch_item **out)
{
	struct patch_item *v = NULL;
	size_t n = 0;

	for (const struct emu_xml *c = root->child; c; c = c->next) {
		bool is_remove = c->name && !strcmp(c->name, "remove");
		const struct emu_xml *prop = emu_xml_find(c, "prop");

		if (!c->name || !prop || (!is_remove && strcmp(c->name, "set")))
			continue;
		for (const struct emu_xml *p = prop->child; p; p = p->next) {
			if (!p->name)
				continue;
			v = weir_xrealloc(v, n + 1, sizeof(*v));
			v[n++] = (struct patch_item){ p, is_remove, patch_judge(p) };
		}
	}
	*out = v;
	return n;
}

static void
patch_run(struct emu_req *req, struct nc_node *node, struct patch_item *v, size_t n)
{
	bool failed = false;

	for (size_t i = 0; i < n; i++)
		failed |= v[i].status != 200;
	for (size_t i = 0; i < n; i++) {
		if (!failed)
			patch_apply(node, &v[i]);
		else if (v[i].status == 200)
			v[i].status = 424;
	}
	if (!failed)
		nc_changed(node);
	weir_buf_adds(&req->body, NC_XML "<d:multistatus xmlns:d=\"DAV:\" xmlns:oc=\"" NS_OC "\" xmlns:nc=\"" NS_NC "\"><d:response><d:href>");
	weir_buf_adds(&req->body, req->path);
	weir_buf_adds(&req->body, "</d:href>");
	for (size_t i = 0; i < n; i++) {
		weir_buf_adds(&req->body, "<d:propstat><d:prop>");
		prop_element(&req->body, v[i].prop->ns, v[i].prop->name, "");
		weir_buf_addf(&req->body, "</d:prop><d:status>HTTP/1.1 %s</d:status></d:propstat>",
		    v[i].status == 200 ? "200 OK" : v[i].status == 403 ? "403 Forbidden" : "424 Failed Dependency");
	}
	weir_buf_adds(&req->body, "</d:response></d:multistatus>");
	emu_out(req, "Content-Type", "application/xml; charset=utf-8");
	emu_reply(req, 207);
}

void
nc_proppatch(struct emu_req *req)
{
	const struct weir_buf *body = &nc_of(req)->mem;
	struct emu_xml *root = emu_xml_parse(weir_buf_str(body), body->len);
	struct patch_item *v = NULL;
	struct nc_node *x;
	size_t n;

	if (!root || strcmp(root->name, "propertyupdate"))
		nc_error(req, 400, "BadRequest", "The request body is not a propertyupdate element");
	else {
		n = patch_items(root, &v);
		pthread_mutex_lock(&nc_lock);
		x = nc_find(&nc_of(req)->path);
		if (!x)
			nc_error(req, 404, "NotFound", "File could not be located");
		else if (nc_may_change(req, x, false))
			patch_run(req, x, v, n);
		pthread_mutex_unlock(&nc_lock);
	}
	free(v);
	emu_xml_free(root);
}
