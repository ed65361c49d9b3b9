/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of S3 through expat. One reader hands each closed element with its text to a function; listings, errors and part
 * lists are such functions. Bounded: depth, length of a text, number of entries; a document type ends the parse, so that no
 * entity of a stranger is ever expanded. */
#include "config.h"

#include "s3_xml.h"

#include <errno.h>
#include <expat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/util/buf.h"
#include "../src/util/text.h"
#include "../src/util/util.h"

#define XML_DEPTH 12
#define XML_NAME 48
#define XML_TEXT (16u << 10)	/* a key of 1024 bytes, percent-encoded, has 3072 */
#define XML_ENTRIES 20000	/* of a page; servers send 1000 */
#define XML_PARTS 10000

typedef void xml_fn(void *arg, const char *parent, const char *name, const char *text);

struct weir_s3_xml {
	XML_Parser parser;
	xml_fn *fn;
	void *arg;
	char path[XML_DEPTH][XML_NAME];
	size_t depth;
	struct weir_buf text;
	bool is_bad, is_begun;
};

static const char *
xml_local(const char *name)
{
	const char *colon = strrchr(name, ':');

	return colon == NULL ? name : colon + 1;
}

static void
xml_stop(struct weir_s3_xml *x)
{
	x->is_bad = true;
	XML_StopParser(x->parser, XML_FALSE);
}

static void
xml_start(void *arg, const char *name, const char **attr)
{
	struct weir_s3_xml *x = arg;

	if (x->is_bad)
		return;
	if (x->depth == XML_DEPTH) {
		xml_stop(x);
		return;
	}
	snprintf(x->path[x->depth++], XML_NAME, "%s", xml_local(name));
	weir_buf_reset(&x->text);
}

static void
xml_end(void *arg, const char *name)
{
	struct weir_s3_xml *x = arg;

	if (x->is_bad || x->depth == 0)
		return;
	x->depth--;
	x->fn(x->arg, x->depth > 0 ? x->path[x->depth - 1] : "", x->path[x->depth], weir_buf_str(&x->text));
	weir_buf_reset(&x->text);
}

static void
xml_text(void *arg, const char *s, int len)
{
	struct weir_s3_xml *x = arg;

	if (!x->is_bad && weir_buf_add(&x->text, s, (size_t)len) < 0)
		xml_stop(x);
}

static void
xml_doctype(void *arg, const char *name, const char *sysid, const char *pubid, int has_internal_subset)
{
	xml_stop(arg);
}

static struct weir_s3_xml *
xml_new(xml_fn *fn, void *arg)
{
	struct weir_s3_xml *x = weir_xcalloc(1, sizeof(*x));

	x->parser = XML_ParserCreate(NULL);
	if (x->parser == NULL) {
		free(x);
		return NULL;
	}
	x->fn = fn;
	x->arg = arg;
	x->text = (struct weir_buf)WEIR_BUF(XML_TEXT);
	XML_SetUserData(x->parser, x);
	XML_SetElementHandler(x->parser, xml_start, xml_end);
	XML_SetCharacterDataHandler(x->parser, xml_text);
	XML_SetStartDoctypeDeclHandler(x->parser, xml_doctype);
	return x;
}

static void
xml_free(struct weir_s3_xml *x)
{
	if (x == NULL)
		return;
	XML_ParserFree(x->parser);
	weir_buf_free(&x->text);
	free(x);
}

static int
xml_feed(struct weir_s3_xml *x, const char *s, size_t len, bool is_last)
{
	/* Keep-alive blanks before the declaration are not XML. */
	while (!x->is_begun && len > 0 && strchr(" \t\r\n", *s) != NULL) {
		s++;
		len--;
	}
	if (len > 0)
		x->is_begun = true;
	if (x->is_bad || len > INT32_MAX || (!x->is_begun && is_last))
		return -1;
	if (!x->is_begun)
		return 0;
	if (XML_Parse(x->parser, s, (int)len, is_last) != XML_STATUS_OK)
		x->is_bad = true;
	return x->is_bad ? -1 : 0;
}

static void
xml_etag(const char *text, char *out, size_t max)
{
	size_t n;

	if (strncmp(text, "W/", 2) == 0)
		text += 2;
	text += strspn(text, "\"");
	n = strcspn(text, "\"");
	snprintf(out, max, "%.*s", (int)n, text);
}

/* ---- listings ---- */

static void
page_push(struct weir_s3_page *p, bool is_prefix)
{
	if (p->now.key == NULL || p->n == XML_ENTRIES) {
		p->xml->is_bad |= p->n == XML_ENTRIES;
		return;
	}
	if (p->n == p->cap) {
		p->cap = p->cap == 0 ? 1024 : p->cap * 2;
		p->v = weir_xrealloc(p->v, p->cap, sizeof(*p->v));
	}
	p->now.is_prefix = is_prefix;
	p->v[p->n++] = p->now;
	p->now = (struct weir_s3_entry){ .mtime_ns = INT64_MIN };
}

static void
page_key(struct weir_s3_page *p, const char *text)
{
	free(p->now.key);
	p->now.key = weir_xstrdup(text);
}

static void
page_content(struct weir_s3_page *p, const char *name, const char *text)
{
	char etag[160];

	if (strcmp(name, "Key") == 0) {
		page_key(p, text);
	} else if (strcmp(name, "LastModified") == 0) {
		p->now.mtime_ns = weir_date_parse(text);
	} else if (strcmp(name, "Size") == 0) {
		p->now.size = strtoull(text, NULL, 10);
	} else if (strcmp(name, "ETag") == 0) {
		xml_etag(text, etag, sizeof(etag));
		free(p->now.etag);
		p->now.etag = weir_xstrdup(etag);
	}
}

static void
page_element(void *arg, const char *parent, const char *name, const char *text)
{
	struct weir_s3_page *p = arg;

	if (parent[0] == '\0') {
		p->is_listing = strcmp(name, "ListBucketResult") == 0;
	} else if (strcmp(parent, "Contents") == 0) {
		page_content(p, name, text);
	} else if (strcmp(parent, "CommonPrefixes") == 0) {
		if (strcmp(name, "Prefix") == 0)
			page_key(p, text);
	} else if (strcmp(parent, "ListBucketResult") != 0) {
		return;
	} else if (strcmp(name, "Contents") == 0 || strcmp(name, "CommonPrefixes") == 0) {
		page_push(p, name[1] == 'o' && name[3] == 'm');
	} else if (strcmp(name, "IsTruncated") == 0) {
		p->is_truncated = strcmp(text, "true") == 0;
	} else if (strcmp(name, "EncodingType") == 0) {
		p->is_url = strcmp(text, "url") == 0;
	} else if (strcmp(name, "NextContinuationToken") == 0) {
		free(p->token);
		p->token = weir_xstrdup(text);
	} else if (strcmp(name, "Marker") == 0 || strcmp(name, "NextMarker") == 0) {
		p->is_v1 = true;
	}
}

int
weir_s3_page_feed(struct weir_s3_page *p, const void *data, size_t len)
{
	return xml_feed(p->xml, data, len, false);
}

static enum weir_code
page_write(struct weir_sink *sink, const void *data, size_t len)
{
	struct weir_s3_page *p = (struct weir_s3_page *)sink;

	/* A broken page is noticed at its end: Ceph puts a token that may hold control characters behind all entries. */
	weir_s3_page_feed(p, data, len);
	return WEIR_OK;
}

void
weir_s3_page_begin(struct weir_s3_page *p)
{
	*p = (struct weir_s3_page){ .sink.write = page_write, .now.mtime_ns = INT64_MIN };
	p->xml = xml_new(page_element, p);
	if (p->xml == NULL)
		abort();	/* as weir_xcalloc: no memory for a parser */
}

static int
page_compare(const void *a, const void *b)
{
	return strcmp(((const struct weir_s3_entry *)a)->key, ((const struct weir_s3_entry *)b)->key);
}

/* Ceph 16 sends NextContinuationToken unescaped and after the entries: a key with a control character there ends the parse. All
 * entries of the page are known then, and its token is a plain key. */
static bool
page_is_ceph_token(const struct weir_s3_page *p)
{
	return p->n > 0 && p->is_truncated && p->xml->depth == 2 && strcmp(p->xml->path[0], "ListBucketResult") == 0 &&
	       strcmp(p->xml->path[1], "NextContinuationToken") == 0;
}

int
weir_s3_page_end(struct weir_s3_page *p)
{
	int r = xml_feed(p->xml, "", 0, true);
	bool is_token_broken = r < 0 && page_is_ceph_token(p);

	xml_free(p->xml);
	p->xml = NULL;
	for (size_t i = 0; p->is_url && i < p->n; i++)
		weir_url_decode(p->v[i].key, true);
	if (p->n > 1)
		qsort(p->v, p->n, sizeof(*p->v), page_compare);
	if (is_token_broken) {
		p->token = weir_xstrdup(p->v[p->n - 1].key);
		p->is_listing = true;
		return 0;
	}
	return r == 0 && p->is_listing ? 0 : -1;
}

void
weir_s3_page_free(struct weir_s3_page *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free(p->v[i].key);
		free(p->v[i].etag);
	}
	free(p->v);
	free(p->now.key);
	free(p->now.etag);
	free(p->token);
	xml_free(p->xml);
	*p = (struct weir_s3_page){ 0 };
}

/* ---- small answers ---- */

static void
answer_element(void *arg, const char *parent, const char *name, const char *text)
{
	struct weir_s3_answer *a = arg;

	if (parent[0] == '\0') {
		snprintf(a->root, sizeof(a->root), "%s", name);
	} else if (strcmp(name, "Code") == 0) {
		snprintf(a->code, sizeof(a->code), "%s", text);
	} else if (strcmp(name, "Message") == 0) {
		snprintf(a->message, sizeof(a->message), "%s", text);
	} else if (strcmp(name, "Region") == 0) {
		snprintf(a->region, sizeof(a->region), "%s", text);
	} else if (strcmp(name, "Endpoint") == 0) {
		snprintf(a->endpoint, sizeof(a->endpoint), "%s", text);
	} else if (strcmp(name, "UploadId") == 0) {
		snprintf(a->upload_id, sizeof(a->upload_id), "%s", text);
	} else if (strcmp(name, "ETag") == 0) {
		xml_etag(text, a->etag, sizeof(a->etag));
	}
}

int
weir_s3_answer_parse(const char *xml, size_t len, struct weir_s3_answer *a)
{
	struct weir_s3_xml *x = xml_new(answer_element, a);
	int r;

	*a = (struct weir_s3_answer){ 0 };
	if (x == NULL)
		return -1;
	r = xml_feed(x, xml, len, true);
	xml_free(x);
	if (r < 0)
		*a = (struct weir_s3_answer){ 0 };
	return r;
}

static void
parts_element(void *arg, const char *parent, const char *name, const char *text)
{
	struct weir_s3_parts *p = arg;

	if (parent[0] == '\0') {
		p->is_parts = strcmp(name, "ListPartsResult") == 0;
	} else if (strcmp(parent, "Part") == 0 && strcmp(name, "PartNumber") == 0) {
		p->now.number = (uint32_t)strtoul(text, NULL, 10);
	} else if (strcmp(parent, "Part") == 0 && strcmp(name, "Size") == 0) {
		p->now.size = strtoull(text, NULL, 10);
	} else if (strcmp(parent, "Part") == 0 && strcmp(name, "ETag") == 0) {
		xml_etag(text, p->now.etag, sizeof(p->now.etag));
	} else if (strcmp(name, "IsTruncated") == 0) {
		p->is_truncated = strcmp(text, "true") == 0;
	} else if (strcmp(name, "NextPartNumberMarker") == 0) {
		p->next = (uint32_t)strtoul(text, NULL, 10);
	} else if (strcmp(name, "Part") == 0 && p->n < XML_PARTS) {
		if (p->n == p->cap) {
			p->cap = p->cap == 0 ? 256 : p->cap * 2;
			p->v = weir_xrealloc(p->v, p->cap, sizeof(*p->v));
		}
		p->v[p->n++] = p->now;
		p->now = (struct weir_s3_part){ 0 };
	}
}

int
weir_s3_parts_parse(const char *xml, size_t len, struct weir_s3_parts *p)
{
	struct weir_s3_xml *x;
	int r;

	*p = (struct weir_s3_parts){ 0 };
	x = xml_new(parts_element, p);
	if (x == NULL)
		return -1;
	r = xml_feed(x, xml, len, true);
	xml_free(x);
	return r == 0 && p->is_parts ? 0 : -1;
}
