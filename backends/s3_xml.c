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
#define XML_IS_CONTROL(c) ((unsigned char)(c) < 0x20 && (c) != 0 && (c) != '\t' && (c) != '\n' && (c) != '\r')

typedef void xml_fn(void *arg, const char *parent, const char *name, const char *text);

struct weir_s3_xml {
	XML_Parser parser;
	xml_fn *fn;
	void *arg;
	char path[XML_DEPTH][XML_NAME];
	size_t depth;
	struct weir_buf text;
	bool is_bad, is_begun, has_controls;
	char ref[12];			/* "&#x0" cut off at the end of the last piece */
	size_t nref;
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

/* Keys with control characters stand in Prefix, Key and NextContinuationToken of Ceph and AWS as "&#x1;", which XML 1.0 forbids and no
 * parser takes. They travel through the parser as private characters, U+E000 + the byte; xml_controls_back() makes them bytes again. */
static void
xml_control(struct weir_s3_xml *x, struct weir_buf *b, unsigned c)
{
	x->has_controls = true;
	weir_buf_addf(b, "\xEE\x80%c", (char)(0x80 | c));
}

/* A reference is complete in x->ref, or is none after all. */
static void
xml_reference(struct weir_s3_xml *x, struct weir_buf *b)
{
	unsigned long c = 0;
	char *end = x->ref;

	x->ref[x->nref] = '\0';
	if (x->nref > 2 && x->ref[1] == '#')
		c = x->ref[2] == 'x' ? strtoul(x->ref + 3, &end, 16) : strtoul(x->ref + 2, &end, 10);
	if (*end == ';' && c < 0x20 && XML_IS_CONTROL(c))
		xml_control(x, b, (unsigned)c);
	else
		weir_buf_add(b, x->ref, x->nref);
	x->nref = 0;
}

static int
xml_feed_controls(struct weir_s3_xml *x, const char *s, size_t len, bool is_last)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf b = WEIR_BUF(3 * len + 2 * sizeof(x->ref));

	for (size_t i = 0; i < len; i++) {
		if (x->nref > 0 && (s[i] == '&' || x->nref + 1 == sizeof(x->ref)))
			xml_reference(x, &b);
		if (s[i] == '&' || x->nref > 0) {
			x->ref[x->nref++] = s[i];
			if (s[i] == ';')
				xml_reference(x, &b);
		} else if (XML_IS_CONTROL(s[i])) {
			xml_control(x, &b, (unsigned char)s[i]);
		} else {
			weir_buf_addc(&b, s[i]);
		}
	}
	if (is_last && x->nref > 0)
		xml_reference(x, &b);
	return b.len > INT32_MAX || XML_Parse(x->parser, weir_buf_str(&b), (int)b.len, is_last) != XML_STATUS_OK ? -1 : 0;
}

/* Is there anything that only xml_feed_controls() can take? */
static bool
xml_is_odd(const struct weir_s3_xml *x, const char *s, size_t len)
{
	bool is_odd = x->nref > 0 || (len > 0 && s[len - 1] == '&') || (len > 1 && memmem(s, len, "&#", 2) != NULL);

	for (size_t i = 0; i < len && !is_odd; i++)
		is_odd = XML_IS_CONTROL(s[i]);
	return is_odd;
}

static void
xml_controls_back(char *s)
{
	char *to = s;

	for (; *s != '\0'; s++) {
		if (memcmp(s, "\xEE\x80", 2) == 0 && (unsigned char)s[2] > 0x80 && XML_IS_CONTROL(s[2] & 0x7F)) {
			*to++ = (char)(s[2] & 0x7F);
			s += 2;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

static int
xml_feed(struct weir_s3_xml *x, const char *s, size_t len, bool is_last)
{
	/* Keep-alive blanks before the declaration are not XML. */
	while (!x->is_begun && len > 0 && *s != '\0' && strchr(" \t\r\n", *s) != NULL) {
		s++;
		len--;
	}
	if (len > 0)
		x->is_begun = true;
	if (x->is_bad || len > INT32_MAX || (!x->is_begun && is_last))
		return -1;
	if (!x->is_begun)
		return 0;
	if (xml_is_odd(x, s, len) ? xml_feed_controls(x, s, len, is_last) < 0 : XML_Parse(x->parser, s, (int)len, is_last) != XML_STATUS_OK)
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

	weir_s3_page_feed(p, data, len);	/* a broken page is noticed at its end */
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

int
weir_s3_page_end(struct weir_s3_page *p)
{
	int r = xml_feed(p->xml, "", 0, true);

	if (p->token != NULL && p->xml->has_controls)
		xml_controls_back(p->token);
	xml_free(p->xml);
	p->xml = NULL;
	for (size_t i = 0; p->is_url && i < p->n; i++)
		weir_url_decode(p->v[i].key, true);
	if (p->n > 1)
		qsort(p->v, p->n, sizeof(*p->v), page_compare);
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

/* For people, on one line. */
static void
answer_line(char *out, size_t max, const char *text)
{
	snprintf(out, max, "%s", text);
	for (; *out != '\0'; out++)
		if ((unsigned char)*out < 0x20 || *out == 0x7F)
			*out = ' ';
}

static void
answer_element(void *arg, const char *parent, const char *name, const char *text)
{
	struct weir_s3_answer *a = arg;

	if (parent[0] == '\0') {
		snprintf(a->root, sizeof(a->root), "%s", name);
	} else if (strcmp(name, "Code") == 0) {
		answer_line(a->code, sizeof(a->code), text);
	} else if (strcmp(name, "Message") == 0) {
		answer_line(a->message, sizeof(a->message), text);
	} else if (strcmp(name, "Region") == 0) {
		snprintf(a->region, sizeof(a->region), "%s", text);
	} else if (strcmp(name, "Endpoint") == 0) {
		answer_line(a->endpoint, sizeof(a->endpoint), text);
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
