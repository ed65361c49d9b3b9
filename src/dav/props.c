/* SPDX-License-Identifier: Apache-2.0 */
/* Properties of one node: those that are computed, and those that clients made up ("dead" ones, kept in this worker's memory for the life of the share). */
#include "config.h"

#include "impl.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define PROPS_DEAD_MAX 4096u
#define NS_DAV "DAV:"
#define NS_OC "http://owncloud.org/ns"

struct front_dead {
	struct front_dead *next;
	uint64_t ino;
	char *ns, *name, *value;
};

struct prop_ask {
	struct front_req *req;
	const struct weir_attr *attr;
	const char *rel;		/* path below the share, for locks */
};

/* ---- computed ---- */

static bool
prop_resourcetype(const struct prop_ask *a, struct weir_buf *b)
{
	if (S_ISDIR(a->attr->mode))
		weir_buf_adds(b, "<d:collection/>");
	return true;
}

static bool
prop_length(const struct prop_ask *a, struct weir_buf *b)
{
	if (S_ISREG(a->attr->mode))
		weir_buf_addf(b, "%llu", (unsigned long long)a->attr->size);
	return S_ISREG(a->attr->mode);
}

static bool
prop_modified(const struct prop_ask *a, struct weir_buf *b)
{
	char text[32];

	weir_date_rfc1123(a->attr->mtime_ns / 1000000000 - (a->attr->mtime_ns % 1000000000 < 0), text);
	weir_buf_adds(b, text);
	return true;
}

static bool
prop_created(const struct prop_ask *a, struct weir_buf *b)
{
	time_t t = a->attr->btime_ns / 1000000000;
	struct tm tm;
	char text[32];

	if (gmtime_r(&t, &tm) == NULL || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		return false;
	weir_buf_adds(b, text);
	return true;
}

static bool
prop_etag(const struct prop_ask *a, struct weir_buf *b)
{
	char etag[80];

	front_etag(a->attr, etag);
	weir_xml_escape(b, etag);
	return true;
}

static bool
prop_type(const struct prop_ask *a, struct weir_buf *b)
{
	weir_buf_adds(b, S_ISDIR(a->attr->mode) ? "httpd/unix-directory" : "application/octet-stream");
	return true;
}

static bool
prop_supportedlock(const struct prop_ask *a, struct weir_buf *b)
{
	weir_buf_adds(b, "<d:lockentry><d:lockscope><d:exclusive/></d:lockscope><d:locktype><d:write/></d:locktype></d:lockentry>"
			 "<d:lockentry><d:lockscope><d:shared/></d:lockscope><d:locktype><d:write/></d:locktype></d:lockentry>");
	return true;
}

static bool
prop_locks(const struct prop_ask *a, struct weir_buf *b)
{
	front_locks_xml(a->req->share, a->rel, b);
	return true;
}

static bool
prop_statfs(const struct prop_ask *a, struct weir_statfs *s)
{
	struct weir_op op = {.kind = WEIR_OP_STATFS, .ino = a->attr->ino};

	if (!S_ISDIR(a->attr->mode) || front_call(a->req->share, a->req->fd, &op) != WEIR_OK)
		return false;
	*s = op.statfs;
	return true;
}

static bool
prop_available(const struct prop_ask *a, struct weir_buf *b)
{
	struct weir_statfs s;

	if (!prop_statfs(a, &s))
		return false;
	weir_buf_addf(b, "%llu", (unsigned long long)(s.bavail * s.bsize));
	return true;
}

static bool
prop_used(const struct prop_ask *a, struct weir_buf *b)
{
	struct weir_statfs s;

	if (!prop_statfs(a, &s))
		return false;
	weir_buf_addf(b, "%llu", (unsigned long long)((s.blocks - s.bfree) * s.bsize));
	return true;
}

static bool
prop_fileid(const struct prop_ask *a, struct weir_buf *b)
{
	weir_buf_addf(b, "%llu", (unsigned long long)a->attr->ino);
	return true;
}

/* Letters of Nextcloud: may be read is not among them; D delete, NV rename and move, W write a file, CK make files and folders in it. */
static bool
prop_permissions(const struct prop_ask *a, struct weir_buf *b)
{
	if (!a->req->share->slot->is_readonly && front_may(a->req, a->attr, FRONT_MAY_WRITE))
		weir_buf_adds(b, S_ISDIR(a->attr->mode) ? "DNVCK" : "DNVW");
	return true;
}

static const struct prop_row {
	const char *ns, *name;
	bool (*write)(const struct prop_ask *, struct weir_buf *);	/* false: this node has none */
	bool is_in_all;
} prop_rows[] = {
    {NS_DAV, "resourcetype", prop_resourcetype, true},
    {NS_DAV, "getcontentlength", prop_length, true},
    {NS_DAV, "getlastmodified", prop_modified, true},
    {NS_DAV, "creationdate", prop_created, true},
    {NS_DAV, "getetag", prop_etag, true},
    {NS_DAV, "getcontenttype", prop_type, true},
    {NS_DAV, "supportedlock", prop_supportedlock, true},
    {NS_DAV, "lockdiscovery", prop_locks, true},
    {NS_DAV, "quota-available-bytes", prop_available, false},
    {NS_DAV, "quota-used-bytes", prop_used, false},
    {NS_OC, "fileid", prop_fileid, false},
    {NS_OC, "size", prop_length, false},
    {NS_OC, "permissions", prop_permissions, false},
};

static const struct prop_row *
prop_row(const char *ns, const char *name)
{
	for (size_t i = 0; i < WEIR_LEN(prop_rows); i++)
		if (strcmp(prop_rows[i].ns, ns) == 0 && strcmp(prop_rows[i].name, name) == 0)
			return &prop_rows[i];
	return NULL;
}

static const char *
prop_prefix(const char *ns)
{
	return strcmp(ns, NS_DAV) == 0 ? "d" : "oc";
}

/* ---- dead ones; share.mu held ---- */

static struct front_dead **
dead_find(struct front_share *share, uint64_t ino, const char *ns, const char *name)
{
	struct front_dead **p = &share->dead;

	while (*p != NULL && ((*p)->ino != ino || strcmp((*p)->ns, ns) != 0 || strcmp((*p)->name, name) != 0))
		p = &(*p)->next;
	return p;
}

static void
dead_drop(struct front_share *share, struct front_dead **p)
{
	struct front_dead *d = *p;

	*p = d->next;
	share->ndead--;
	free(d->ns);
	free(d->name);
	free(d->value);
	free(d);
}

static int
dead_set(struct front_share *share, uint64_t ino, const struct front_prop *prop)
{
	struct front_dead **p = dead_find(share, ino, prop->ns, prop->name);

	if (!prop->is_set) {
		if (*p != NULL)
			dead_drop(share, p);
		return 200;
	}
	if (*p == NULL) {
		if (share->ndead >= PROPS_DEAD_MAX)
			return 507;
		*p = weir_xcalloc(1, sizeof(**p));
		(*p)->ino = ino;
		(*p)->ns = weir_xstrdup(prop->ns);
		(*p)->name = weir_xstrdup(prop->name);
		share->ndead++;
	}
	free((*p)->value);
	(*p)->value = weir_xstrdup(prop->value != NULL ? prop->value : "");
	return 200;
}

void
front_dead_forget(struct front_share *share, uint64_t ino)
{
	pthread_mutex_lock(&share->mu);
	for (struct front_dead **p = &share->dead; *p != NULL;) {
		if ((*p)->ino == ino)
			dead_drop(share, p);
		else
			p = &(*p)->next;
	}
	pthread_mutex_unlock(&share->mu);
}

void
front_dead_free(struct front_share *share)
{
	while (share->dead != NULL)
		dead_drop(share, &share->dead);
}

/* value NULL: an empty element */
static void
prop_foreign(struct weir_buf *b, const char *ns, const char *name, const char *value)
{
	weir_buf_addf(b, "<x:%s xmlns:x=\"", name);
	weir_xml_escape(b, ns);
	/* Without a namespace no prefix is allowed to be bound. */
	if (ns[0] == '\0') {
		b->len -= strlen("<x: xmlns:x=\"") + strlen(name);
		b->data[b->len] = '\0';
		weir_buf_addf(b, "<%s xmlns=\"", name);
	}
	if (value == NULL)
		weir_buf_adds(b, "\"/>");
	else
		weir_buf_addf(b, "\">%s</%s%s>", value, ns[0] != '\0' ? "x:" : "", name);
}

/* ---- answers to PROPFIND ---- */

static void
props_named(const struct prop_ask *a, const struct front_xml *x, struct weir_buf *b)
{
	struct weir_buf missing = WEIR_BUF(1u << 20);

	weir_buf_adds(b, "<d:propstat><d:prop>");
	for (size_t i = 0; i < x->nprops; i++) {
		const struct front_prop *p = &x->props[i];
		const struct prop_row *row = prop_row(p->ns, p->name);
		struct weir_buf value = WEIR_BUF(1u << 20);
		bool is_there = row != NULL && row->write(a, &value);

		if (is_there)
			weir_buf_addf(b, "<%s:%s>%s</%s:%s>", prop_prefix(p->ns), p->name, weir_buf_str(&value), prop_prefix(p->ns), p->name);
		else {
			struct front_dead *d;

			pthread_mutex_lock(&a->req->share->mu);
			d = row == NULL ? *dead_find(a->req->share, a->attr->ino, p->ns, p->name) : NULL;
			prop_foreign(d != NULL ? b : &missing, p->ns, p->name, d != NULL ? d->value : NULL);
			pthread_mutex_unlock(&a->req->share->mu);
		}
		weir_buf_free(&value);
	}
	weir_buf_adds(b, "</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat>");
	if (missing.len > 0)
		weir_buf_addf(b, "<d:propstat><d:prop>%s</d:prop><d:status>HTTP/1.1 404 Not Found</d:status></d:propstat>", weir_buf_str(&missing));
	weir_buf_free(&missing);
}

static void
props_all(const struct prop_ask *a, bool is_names_only, struct weir_buf *b)
{
	weir_buf_adds(b, "<d:propstat><d:prop>");
	for (size_t i = 0; i < WEIR_LEN(prop_rows); i++) {
		const struct prop_row *row = &prop_rows[i];
		struct weir_buf value = WEIR_BUF(1u << 20);

		if (is_names_only)
			weir_buf_addf(b, "<%s:%s/>", prop_prefix(row->ns), row->name);
		else if (row->is_in_all && row->write(a, &value))
			weir_buf_addf(b, "<%s:%s>%s</%s:%s>", prop_prefix(row->ns), row->name, weir_buf_str(&value), prop_prefix(row->ns), row->name);
		weir_buf_free(&value);
	}
	pthread_mutex_lock(&a->req->share->mu);
	for (struct front_dead *d = a->req->share->dead; d != NULL; d = d->next)
		if (d->ino == a->attr->ino)
			prop_foreign(b, d->ns, d->name, is_names_only ? NULL : d->value);
	pthread_mutex_unlock(&a->req->share->mu);
	weir_buf_adds(b, "</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat>");
}

char *
front_href(const struct front_req *req, const char *rel, bool is_dir)
{
	struct weir_buf b = WEIR_BUF(1u << 20);

	weir_buf_adds(&b, WEIR_FRONT_FILES "/");
	weir_url_encode(&b, rel, strlen(rel), "/");
	if (is_dir && rel[0] != '\0')
		weir_buf_addc(&b, '/');
	return weir_buf_take(&b);
}

void
front_props(struct front_req *req, const struct front_xml *x, const char *rel, const struct weir_attr *attr, struct weir_buf *b)
{
	struct prop_ask a = {.req = req, .attr = attr, .rel = rel};
	WEIR_AUTO(weir_freep) char *href = front_href(req, rel, S_ISDIR(attr->mode));

	weir_buf_addf(b, "<d:response><d:href>%s</d:href>", href);
	if (x->is_propname || x->is_allprop || x->nprops == 0)
		props_all(&a, x->is_propname, b);
	else
		props_named(&a, x, b);
	weir_buf_adds(b, "</d:response>\n");
}

/* ---- PROPPATCH ---- */

/* What can be set of the computed ones: the time, as rclone, Nextcloud and Windows call it. */
static bool
patch_time(const struct front_prop *p, int64_t *mtime_ns)
{
	bool is_time = (strcmp(p->ns, NS_DAV) == 0 && (strcmp(p->name, "lastmodified") == 0 || strcmp(p->name, "getlastmodified") == 0)) ||
	    (strcmp(p->ns, "urn:schemas-microsoft-com:") == 0 && strcmp(p->name, "Win32LastModifiedTime") == 0);

	if (!is_time || !p->is_set || p->value == NULL)
		return false;
	*mtime_ns = front_mtime_parse(p->value);
	if (*mtime_ns == INT64_MIN)
		*mtime_ns = weir_date_parse(p->value);
	return *mtime_ns != INT64_MIN;
}

/* 0: all of it can be done */
static int
patch_judge(const struct front_prop *p)
{
	int64_t ns;

	if (patch_time(p, &ns))
		return 0;
	return strcmp(p->ns, NS_DAV) == 0 || prop_row(p->ns, p->name) != NULL ? 403 : 0;
}

static int
patch_apply(struct front_req *req, uint64_t ino, const struct front_prop *p)
{
	int64_t ns;
	int status;

	if (patch_time(p, &ns))
		return front_status_of(front_set_times(req, ino, ns));
	pthread_mutex_lock(&req->share->mu);
	status = dead_set(req->share, ino, p);
	pthread_mutex_unlock(&req->share->mu);
	return status;
}

static const char *
patch_status(int status)
{
	return status == 200 ? "200 OK" : status == 403 ? "403 Forbidden" : status == 424 ? "424 Failed Dependency"
	    : status == 507 ? "507 Insufficient Storage" : "500 Internal Server Error";
}

/* All or nothing (RFC 4918 9.2): first whether each can be done, then done in their order. */
static enum MHD_Result
patch(struct front_req *req, const struct front_xml *x, const struct weir_attr *attr)
{
	WEIR_AUTO(weir_freep) char *href = front_href(req, req->path.text, S_ISDIR(attr->mode));
	struct weir_buf b = WEIR_BUF(4u << 20);
	bool is_refused = false;

	for (size_t i = 0; i < x->nprops; i++)
		is_refused = is_refused || patch_judge(&x->props[i]) != 0;
	weir_buf_addf(&b, "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<d:multistatus xmlns:d=\"" NS_DAV "\" xmlns:oc=\"" NS_OC "\"><d:response><d:href>%s</d:href>",
	    href);
	for (size_t i = 0; i < x->nprops; i++) {
		const struct front_prop *p = &x->props[i];
		int status = patch_judge(p);

		if (is_refused && status == 0)
			status = 424;
		else if (!is_refused)
			status = patch_apply(req, attr->ino, p);
		weir_buf_adds(&b, "<d:propstat><d:prop>");
		prop_foreign(&b, p->ns, p->name, NULL);
		weir_buf_addf(&b, "</d:prop><d:status>HTTP/1.1 %s</d:status></d:propstat>", patch_status(status));
	}
	weir_buf_adds(&b, "</d:response></d:multistatus>\n");
	return front_answer_body(req, 207, &b, NULL);
}

enum MHD_Result
front_do_proppatch(struct front_req *req)
{
	struct front_node node;
	struct front_xml x;
	enum MHD_Result done;
	enum weir_code r;
	int status;

	if (front_xml_parse(weir_buf_str(&req->body), req->body.len, &x) != 0 || x.kind != FRONT_XML_UPDATE || x.nprops == 0) {
		front_xml_free(&x);
		return front_answer(req, 400, "not a propertyupdate");
	}
	r = front_walk(req, &req->path, true, &node);
	if (r)
		done = front_answer_code(req, r);
	else if ((status = front_locks_check(req, req->path.text, &node.attr, false, false)) != 0)
		done = front_answer(req, status, status == 412 ? "the condition does not hold" : "locked");
	else if (!front_may(req, &node.attr, FRONT_MAY_WRITE))
		done = front_answer_code(req, WEIR_E_ACCES);
	else
		done = patch(req, &x, &node.attr);
	front_node_free(&node);
	front_xml_free(&x);
	return done;
}
