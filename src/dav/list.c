/* SPDX-License-Identifier: Apache-2.0 */
/* PROPFIND: one node, or a folder and what is in it, written out batch by batch, so that a folder of a million names takes no more memory than one of ten.
 * Depth infinity is refused, as RFC 4918 9.1 allows: nobody who copies a tree needs it. */
#include "config.h"

#include "impl.h"

#include <string.h>

#define LIST_BUF (64u << 20)	/* of one batch */

/* Lives as long as the response. */
struct list {
	struct front_req asker;
	struct front_xml xml;
	char *text;			/* path of the folder below the share */
	uint64_t ino, cookie;
	struct weir_buf buf;
	size_t taken;
	bool is_listing, is_ended;
};

/* A link is shown as what it leads to; one that leads nowhere, or out of the share, is not shown. */
static bool
list_resolve(struct list *l, const char *rel, struct weir_attr *attr)
{
	struct front_path path = {.text = (char *)rel, .n = 1};
	struct front_node node;
	bool is_there;

	if (!S_ISLNK(attr->mode))
		return true;
	is_there = front_walk(&l->asker, &path, true, &node) == WEIR_OK && (S_ISREG(node.attr.mode) || S_ISDIR(node.attr.mode));
	if (is_there)
		*attr = node.attr;
	front_node_free(&node);
	return is_there;
}

static enum weir_code
list_batch(struct list *l)
{
	struct front_batch b;
	enum weir_code r = front_readdir(&l->asker, l->ino, l->cookie, &b);

	if (r)
		return r;
	for (size_t i = 0; i < b.n; i++) {
		WEIR_AUTO(weir_freep) char *rel = weir_path_join(l->text, b.v[i].name);

		if (list_resolve(l, rel, &b.v[i].attr))
			front_props(&l->asker, &l->xml, rel, &b.v[i].attr, &l->buf);
	}
	l->cookie = b.cookie;
	l->is_ended = b.is_end;
	front_batch_free(&b);
	return WEIR_OK;
}

static enum weir_code
list_more(struct list *l)
{
	enum weir_code r = WEIR_OK;

	weir_buf_reset(&l->buf);
	l->taken = 0;
	while (r == WEIR_OK && l->is_listing && l->buf.len == 0) {
		r = list_batch(l);
		l->is_listing = !l->is_ended;
		if (l->is_ended)
			weir_buf_adds(&l->buf, "</d:multistatus>\n");
	}
	return l->buf.is_full ? WEIR_E_NOMEM : r;
}

static ssize_t
list_read(void *arg, uint64_t pos, char *out, size_t max)
{
	struct list *l = arg;
	size_t n;

	if (l->taken == l->buf.len) {
		if (!l->is_listing)
			return MHD_CONTENT_READER_END_OF_STREAM;
		if (list_more(l) != WEIR_OK)
			return MHD_CONTENT_READER_END_WITH_ERROR;
	}
	n = l->buf.len - l->taken < max ? l->buf.len - l->taken : max;
	memcpy(out, l->buf.data + l->taken, n);
	l->taken += n;
	return (ssize_t)n;
}

static void
list_free(void *arg)
{
	struct list *l = arg;

	weir_buf_free(&l->buf);
	front_xml_free(&l->xml);
	free(l->text);
	free(l);
}

/* The first batch is read before the status line goes out: a folder that cannot be listed is an error, not half an answer. */
static enum weir_code
list_start(struct list *l, const struct weir_attr *attr, bool is_deep)
{
	enum weir_code r = WEIR_OK;

	weir_buf_adds(&l->buf, "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<d:multistatus xmlns:d=\"DAV:\" xmlns:oc=\"http://owncloud.org/ns\">\n");
	front_props(&l->asker, &l->xml, l->text, attr, &l->buf);
	l->is_listing = is_deep && S_ISDIR(attr->mode);
	if (l->is_listing) {
		r = list_batch(l);
		l->is_listing = !l->is_ended;
	}
	if (!l->is_listing)
		weir_buf_adds(&l->buf, "</d:multistatus>\n");
	return r;
}

static enum MHD_Result
list_answer(struct front_req *req, struct list *l)
{
	struct MHD_Response *response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, FRONT_BLOCK, list_read, l, list_free);

	if (response == NULL) {
		list_free(l);
		return MHD_NO;
	}
	MHD_add_response_header(response, "Content-Type", "application/xml; charset=utf-8");
	return front_queue(req, 207, response);
}

enum MHD_Result
front_do_propfind(struct front_req *req)
{
	enum front_depth depth = front_depth_parse(front_header(req, "Depth"), FRONT_DEPTH_INFINITY);
	struct front_node node;
	struct list *l;
	enum weir_code r;

	if (depth == FRONT_DEPTH_BAD)
		return front_answer(req, 400, "Depth is 0, 1 or infinity");
	l = weir_xcalloc(1, sizeof(*l));
	*l = (struct list){.asker = {.share = req->share, .fd = req->fd}, .text = weir_xstrdup(req->path.text), .buf = WEIR_BUF(LIST_BUF)};
	if (front_xml_parse(weir_buf_str(&req->body), req->body.len, &l->xml) != 0 ||
	    (l->xml.kind != FRONT_XML_EMPTY && l->xml.kind != FRONT_XML_PROPFIND)) {
		list_free(l);
		return front_answer(req, 400, "not a propfind");
	}
	r = front_walk(req, &req->path, true, &node);
	if (r == WEIR_OK && S_ISDIR(node.attr.mode) && depth == FRONT_DEPTH_INFINITY) {
		struct weir_buf b = WEIR_BUF(1024);

		front_node_free(&node);
		list_free(l);
		weir_buf_adds(&b, "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<d:error xmlns:d=\"DAV:\"><d:propfind-finite-depth/></d:error>\n");
		return front_answer_body(req, 403, &b, NULL);
	}
	if (r == WEIR_OK && depth == FRONT_DEPTH_1 && S_ISDIR(node.attr.mode) && !front_may(req, &node.attr, FRONT_MAY_READ | FRONT_MAY_ENTER))
		r = WEIR_E_ACCES;
	if (r == WEIR_OK) {
		l->ino = node.attr.ino;
		r = list_start(l, &node.attr, depth == FRONT_DEPTH_1);
	}
	front_node_free(&node);
	if (r == WEIR_OK && !l->buf.is_full)
		return list_answer(req, l);
	list_free(l);
	return front_answer_code(req, r != WEIR_OK ? r : WEIR_E_NOMEM);
}
