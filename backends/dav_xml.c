/* SPDX-License-Identifier: Apache-2.0 */
/* Multistatus answers as a stream of items (expat), and reasons out of error bodies. Prefixes mean nothing, namespaces
 * do: expat joins URI and name with a blank, and that string is what is compared. A propstat's properties count only when
 * its status, which comes after them, is 2xx: they are collected aside and merged at its end. */
#include "config.h"

#include "dav_xml.h"

#include <ctype.h>
#include <expat.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../src/util/text.h"
#include "../src/util/util.h"

#define DAV_DEPTH_MAX 32
#define DAV_TEXT_MAX (64u << 10)	/* of one property, an href included */

#define NS_DAV "DAV: "
#define NS_OC "http://owncloud.org/ns "

enum dav_el {
	EL_OTHER, EL_MULTISTATUS, EL_RESPONSE, EL_HREF, EL_PROPSTAT, EL_PROP, EL_STATUS, EL_TYPE, EL_COLLECTION, EL_LENGTH,
	EL_MTIME, EL_ETAG, EL_FILEID, EL_PERMS, EL_SUMS, EL_SUM, EL_QAVAIL, EL_QUSED, EL_SETMTIME,
};

/* Which element means what, and inside which one it does. */
static const struct {
	const char *name;
	enum dav_el el, parent;
} dav_els[] = {
	{ NS_DAV "multistatus", EL_MULTISTATUS, EL_OTHER },
	{ NS_DAV "response", EL_RESPONSE, EL_MULTISTATUS },
	{ NS_DAV "href", EL_HREF, EL_RESPONSE },
	{ NS_DAV "propstat", EL_PROPSTAT, EL_RESPONSE },
	{ NS_DAV "prop", EL_PROP, EL_PROPSTAT },
	{ NS_DAV "status", EL_STATUS, EL_OTHER },	/* of a propstat or of the response */
	{ NS_DAV "resourcetype", EL_TYPE, EL_PROP },
	{ NS_DAV "collection", EL_COLLECTION, EL_TYPE },
	{ NS_DAV "getcontentlength", EL_LENGTH, EL_PROP },
	{ NS_DAV "getlastmodified", EL_MTIME, EL_PROP },
	{ NS_DAV "getetag", EL_ETAG, EL_PROP },
	{ NS_OC "fileid", EL_FILEID, EL_PROP },
	{ NS_OC "permissions", EL_PERMS, EL_PROP },
	{ NS_OC "checksums", EL_SUMS, EL_PROP },
	{ NS_OC "checksum", EL_SUM, EL_SUMS },
	{ NS_DAV "quota-available-bytes", EL_QAVAIL, EL_PROP },
	{ NS_DAV "quota-used-bytes", EL_QUSED, EL_PROP },
	{ NS_DAV "lastmodified", EL_SETMTIME, EL_PROP },
};

struct weir_dav_xml {
	XML_Parser parser;
	weir_dav_item_fn *fn;
	void *arg;
	struct weir_err *err;		/* of the running feed */
	enum weir_code code;		/* why parsing stopped */
	enum dav_el stack[DAV_DEPTH_MAX];
	unsigned depth;
	struct weir_buf text;		/* of the innermost element we know */
	struct weir_dav_item item;	/* the response being read */
	struct weir_dav_item part;	/* its propstat being read */
	int part_status;
	bool is_multistatus;
};

static void
dav_item_init(struct weir_dav_item *it)
{
	*it = (struct weir_dav_item){ .length = UINT64_MAX, .mtime_ns = INT64_MIN, .quota_available = INT64_MIN,
		.quota_used = INT64_MIN };
}

void
weir_dav_item_clear(struct weir_dav_item *it)
{
	free(it->href);
	free(it->etag);
	free(it->fileid);
	free(it->permissions);
	free(it->checksums);
	dav_item_init(it);
}

static void
dav_stop(struct weir_dav_xml *x, enum weir_code code, const char *why)
{
	if (!x->code)
		x->code = why ? weir_err_set(x->err, code, "the server's answer %s", why) : code;
	XML_StopParser(x->parser, XML_FALSE);
}

static void
dav_doctype(void *arg, const XML_Char *name, const XML_Char *sysid, const XML_Char *pubid, int has_internal)
{
	(void)name, (void)sysid, (void)pubid, (void)has_internal;
	dav_stop(arg, WEIR_E_PROTO, "has a document type, which WebDAV does not use");
}

static enum dav_el
dav_top(const struct weir_dav_xml *x)
{
	return x->depth ? x->stack[x->depth - 1] : EL_OTHER;
}

static enum dav_el
dav_element(const struct weir_dav_xml *x, const char *name)
{
	enum dav_el top = dav_top(x);

	for (size_t i = 0; i < WEIR_LEN(dav_els); i++) {
		if (strcmp(name, dav_els[i].name) != 0)
			continue;
		if (dav_els[i].el == EL_STATUS)
			return top == EL_PROPSTAT || top == EL_RESPONSE ? EL_STATUS : EL_OTHER;
		if (dav_els[i].el == EL_MULTISTATUS)
			return x->depth == 0 ? EL_MULTISTATUS : EL_OTHER;
		return dav_els[i].parent == top ? dav_els[i].el : EL_OTHER;
	}
	return EL_OTHER;
}

static void
dav_start(void *arg, const XML_Char *name, const XML_Char **atts)
{
	struct weir_dav_xml *x = arg;
	enum dav_el el = dav_element(x, name);

	(void)atts;
	if (x->depth == DAV_DEPTH_MAX) {
		dav_stop(x, WEIR_E_PROTO, "is nested too deeply");
		return;
	}
	if (x->depth == 0) {
		if (el != EL_MULTISTATUS) {
			dav_stop(x, WEIR_E_PROTO, "is not a WebDAV multistatus");
			return;
		}
		x->is_multistatus = true;
	}
	x->stack[x->depth++] = el;
	weir_buf_reset(&x->text);
	if (el == EL_RESPONSE)
		weir_dav_item_clear(&x->item);
	if (el == EL_PROPSTAT) {
		weir_dav_item_clear(&x->part);
		x->part_status = 0;
	}
	if (el == EL_COLLECTION)
		x->part.is_collection = true;
	if (el == EL_SETMTIME)
		x->part.has_lastmodified = true;
}

static void
dav_text(void *arg, const XML_Char *s, int len)
{
	struct weir_dav_xml *x = arg;

	if (dav_top(x) <= EL_RESPONSE || dav_top(x) == EL_PROP || dav_top(x) == EL_PROPSTAT)
		return;
	if (weir_buf_add(&x->text, s, (size_t)len))
		dav_stop(x, WEIR_E_PROTO, "has a property longer than 64 kB");
}

/* "http://host/a%20b/" or "/a%20b/": the decoded path. A name with an escaped slash or NUL cannot be one of ours. */
static void
dav_href(struct weir_dav_item *it, const char *s)
{
	const char *p = strstr(s, "://");
	const char *slash = strchr(s, '/');

	if (p && slash == p + 1) {
		p = strchr(p + 3, '/');
		s = p ? p : "/";
	}
	for (p = strchr(s, '%'); p; p = strchr(p + 1, '%'))
		if (p[1] == '2' && (p[2] == 'F' || p[2] == 'f'))
			it->is_slashed = true;
		else if (p[1] == '0' && p[2] == '0')
			it->is_slashed = true;
	free(it->href);
	it->href = weir_xstrdup(s);
	weir_url_decode(it->href, false);
}

static char *
dav_trim(char *s)
{
	size_t n;

	while (isspace((unsigned char)*s))
		s++;
	for (n = strlen(s); n && isspace((unsigned char)s[n - 1]); n--)
		s[n - 1] = '\0';
	return s;
}

/* Numbers may exceed 2^53 and come as floats from 32-bit servers. */
static int64_t
dav_number(const char *s)
{
	char *end;
	long long n = strtoll(s, &end, 10);
	double d;

	if (end == s)
		return INT64_MIN;
	if (*end == '\0')
		return n;
	d = strtod(s, &end);
	if (*end != '\0' || !(d > -9e18 && d < 9e18))
		return INT64_MIN;
	return (int64_t)d;
}

static void
dav_set(char **to, const char *s)
{
	free(*to);
	*to = *s ? weir_xstrdup(s) : NULL;
}

static void
dav_property(struct weir_dav_xml *x, enum dav_el el, char *s)
{
	struct weir_dav_item *p = &x->part;
	int64_t n;

	switch (el) {
	case EL_LENGTH:
		n = dav_number(s);
		p->length = n >= 0 ? (uint64_t)n : UINT64_MAX;
		break;
	case EL_MTIME:
		p->mtime_ns = weir_date_parse(s);
		break;
	case EL_ETAG:
		dav_set(&p->etag, s);
		break;
	case EL_FILEID:
		dav_set(&p->fileid, s);
		break;
	case EL_PERMS:
		free(p->permissions);	/* an empty one says "nothing is allowed": not the same as none */
		p->permissions = weir_xstrdup(s);
		break;
	case EL_SUM:
		if (!p->checksums)
			dav_set(&p->checksums, s);
		break;
	case EL_QAVAIL:
		p->quota_available = dav_number(s);
		break;
	case EL_QUSED:
		p->quota_used = dav_number(s);
		break;
	default:
		break;
	}
}

#define DAV_TAKE(field) do { if (from->field) { free(to->field); to->field = WEIR_STEAL(from->field); } } while (0)

/* A propstat has ended and its status is good: what it held belongs to the response. */
static void
dav_merge(struct weir_dav_item *to, struct weir_dav_item *from)
{
	DAV_TAKE(etag);
	DAV_TAKE(fileid);
	DAV_TAKE(permissions);
	DAV_TAKE(checksums);
	to->is_collection |= from->is_collection;
	to->has_lastmodified |= from->has_lastmodified;
	if (from->length != UINT64_MAX)
		to->length = from->length;
	if (from->mtime_ns != INT64_MIN)
		to->mtime_ns = from->mtime_ns;
	if (from->quota_available != INT64_MIN)
		to->quota_available = from->quota_available;
	if (from->quota_used != INT64_MIN)
		to->quota_used = from->quota_used;
}

static void
dav_end_propstat(struct weir_dav_xml *x)
{
	int s = x->part_status;

	if (s == 0 || s / 100 == 2)
		dav_merge(&x->item, &x->part);
	else if (s != 404 && !x->item.bad_status)
		x->item.bad_status = s;
	weir_dav_item_clear(&x->part);
}

static void
dav_end_response(struct weir_dav_xml *x)
{
	enum weir_code r;

	if (!x->item.href)
		return;
	r = x->fn(x->arg, &x->item, x->err);
	weir_dav_item_clear(&x->item);
	if (r)
		dav_stop(x, r, NULL);
}

static void
dav_end(void *arg, const XML_Char *name)
{
	struct weir_dav_xml *x = arg;
	enum dav_el el = dav_top(x);
	char *s;

	(void)name;
	if (x->depth)
		x->depth--;
	if (x->code)
		return;
	s = x->text.data ? dav_trim(x->text.data) : NULL;
	switch (el) {
	case EL_HREF:
		if (s && *s)
			dav_href(&x->item, s);
		break;
	case EL_STATUS:
		*(dav_top(x) == EL_PROPSTAT ? &x->part_status : &x->item.status) = s ? weir_dav_status_line(s) : 0;
		break;
	case EL_PROPSTAT:
		dav_end_propstat(x);
		break;
	case EL_RESPONSE:
		dav_end_response(x);
		break;
	default:
		dav_property(x, el, s ? s : (char[]){ "" });
	}
	weir_buf_reset(&x->text);
}

struct weir_dav_xml *
weir_dav_xml_new(weir_dav_item_fn *fn, void *arg)
{
	struct weir_dav_xml *x = weir_xcalloc(1, sizeof(*x));

	x->fn = fn;
	x->arg = arg;
	x->text = (struct weir_buf)WEIR_BUF(DAV_TEXT_MAX);
	dav_item_init(&x->item);
	dav_item_init(&x->part);
	x->parser = XML_ParserCreateNS(NULL, ' ');
	if (!x->parser)
		return x;	/* said by the first feed */
	XML_SetUserData(x->parser, x);
	XML_SetElementHandler(x->parser, dav_start, dav_end);
	XML_SetCharacterDataHandler(x->parser, dav_text);
	XML_SetStartDoctypeDeclHandler(x->parser, dav_doctype);
	return x;
}

static enum weir_code
dav_parse_error(struct weir_dav_xml *x, struct weir_err *err)
{
	enum XML_Error e = XML_GetErrorCode(x->parser);

	if (e == XML_ERROR_NO_MEMORY)
		return weir_err_set(err, WEIR_E_NOMEM, "out of memory while reading the server's answer");
	return weir_err_set(err, WEIR_E_PROTO, "the server's answer is not XML: %s in line %lu", XML_ErrorString(e),
	    (unsigned long)XML_GetCurrentLineNumber(x->parser));
}

enum weir_code
weir_dav_xml_feed(struct weir_dav_xml *x, const void *data, size_t len, bool is_last, struct weir_err *err)
{
	const char *p = data;
	enum XML_Status s = XML_STATUS_OK;

	if (!x->parser)
		return weir_err_set(err, WEIR_E_NOMEM, "out of memory for an XML parser");
	x->err = err;
	do {
		size_t n = len > (1u << 20) ? 1u << 20 : len;	/* expat counts in int */

		s = XML_Parse(x->parser, p, (int)n, is_last && n == len);
		p += n;
		len -= n;
	} while (len && s == XML_STATUS_OK && !x->code);
	x->err = NULL;
	if (x->code)
		return x->code;
	if (s != XML_STATUS_OK)
		return x->code = dav_parse_error(x, err);
	return WEIR_OK;
}

void
weir_dav_xml_free(struct weir_dav_xml *x)
{
	if (!x)
		return;
	if (x->parser)
		XML_ParserFree(x->parser);
	weir_buf_free(&x->text);
	weir_dav_item_clear(&x->item);
	weir_dav_item_clear(&x->part);
	free(x);
}

int
weir_dav_status_line(const char *s)
{
	int status = 0;

	if (strncmp(s, "HTTP/", 5) != 0)
		return 0;
	s = strchr(s, ' ');
	while (s && *s == ' ')
		s++;
	for (int i = 0; i < 3; i++, s++) {
		if (!s || !isdigit((unsigned char)*s))
			return 0;
		status = status * 10 + (*s - '0');
	}
	return *s == '\0' || *s == ' ' ? status : 0;
}

char *
weir_dav_etag(const char *s)
{
	static const char *const tails[] = { "-gzip", "-br", "-deflate" };
	size_t n;

	if (!s)
		return NULL;
	if ((s[0] == 'W' || s[0] == 'w') && s[1] == '/')
		s += 2;
	n = strlen(s);
	if (n >= 2 && s[0] == '"' && s[n - 1] == '"') {
		s++;
		n -= 2;
	}
	for (size_t i = 0; i < WEIR_LEN(tails); i++) {
		size_t t = strlen(tails[i]);

		if (n > t && memcmp(s + n - t, tails[i], t) == 0) {
			n -= t;
			break;
		}
	}
	/* It will stand in a header between quotes and, in an If: header, between brackets. */
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == '"' || s[i] == 0x7f)
			return NULL;
	return n ? weir_xstrndup(s, n) : NULL;
}

/* ---- reasons ---- */

struct reason {
	XML_Parser parser;
	struct weir_buf *into;		/* NULL: text is not wanted here */
	struct weir_buf message, why;
};

static void
reason_start(void *arg, const XML_Char *name, const XML_Char **atts)
{
	struct reason *r = arg;

	(void)atts;
	if (strcmp(name, "http://sabredav.org/ns message") == 0 || strcmp(name, "http://apache.org/dav/xmlns human-readable") == 0)
		r->into = &r->message;
	else if (strcmp(name, "o: reason") == 0)
		r->into = &r->why;
}

static void
reason_end(void *arg, const XML_Char *name)
{
	(void)name;
	((struct reason *)arg)->into = NULL;
}

static void
reason_text(void *arg, const XML_Char *s, int len)
{
	struct reason *r = arg;

	if (r->into)
		weir_buf_add(r->into, s, (size_t)len);	/* full: cut there */
}

static void
reason_doctype(void *arg, const XML_Char *name, const XML_Char *sysid, const XML_Char *pubid, int has_internal)
{
	(void)name, (void)sysid, (void)pubid, (void)has_internal;
	XML_StopParser(((struct reason *)arg)->parser, XML_FALSE);
}

static bool
reason_xml(const char *body, size_t len, struct weir_buf *out)
{
	struct reason r = { .message = WEIR_BUF(2048), .why = WEIR_BUF(2048) };

	r.parser = XML_ParserCreateNS(NULL, ' ');
	if (!r.parser)
		return false;
	XML_SetUserData(r.parser, &r);
	XML_SetElementHandler(r.parser, reason_start, reason_end);
	XML_SetCharacterDataHandler(r.parser, reason_text);
	XML_SetStartDoctypeDeclHandler(r.parser, reason_doctype);
	XML_Parse(r.parser, body, (int)(len > (64u << 10) ? 64u << 10 : len), 1);	/* what came before an error counts */
	XML_ParserFree(r.parser);
	weir_buf_adds(out, weir_buf_str(&r.message));
	if (r.why.len && (!r.message.len || !strstr(r.message.data, r.why.data)))
		weir_buf_addf(out, "%s%s", r.message.len ? ": " : "", r.why.data);
	weir_buf_free(&r.message);
	weir_buf_free(&r.why);
	return out->len != 0;
}

/* The first sentence between <TAG…> and </TAG>, markup inside it dropped. */
static bool
reason_html(const char *body, const char *tag, struct weir_buf *out)
{
	char open[16] = "<", shut[16] = "</";
	const char *p, *end;
	bool is_markup = false;

	strncat(open, tag, 8);
	strncat(shut, tag, 8);
	for (p = strcasestr(body, open); p; p = strcasestr(p + 1, open))
		if (p[strlen(open)] == '>' || p[strlen(open)] == ' ')
			break;
	if (!p || !(p = strchr(p, '>')))
		return false;
	end = strcasestr(p, shut);
	for (p++; *p && p != end; p++) {
		if (*p == '<')
			is_markup = true;
		else if (*p == '>' && is_markup)
			is_markup = false;
		else if (!is_markup && weir_buf_addc(out, *p))
			break;
	}
	p = out->data ? strstr(out->data, ". ") : NULL;	/* the first sentence is the reason, the rest is advice */
	if (p)
		out->data[out->len = (size_t)(p - out->data)] = '\0';
	return out->len != 0;
}

/* {"ocs":{"meta":{…,"message":"Current user is not logged in"}}} */
static void
reason_json(const char *body, struct weir_buf *out)
{
	const char *p = strstr(body, "\"message\":");

	p = p ? strchr(p + 10, '"') : NULL;
	for (p = p ? p + 1 : ""; *p && *p != '"'; p++)
		if (*p != '\\' && weir_buf_addc(out, *p))
			break;
}

/* One line: runs of blanks and control characters become one blank; no blanks at the ends, no period. */
static void
reason_line(const char *s, char *out, size_t max)
{
	size_t n = 0;

	for (; *s && n + 1 < max && n < 300; s++) {
		unsigned char c = (unsigned char)*s;

		if (c > ' ' && c != 0x7f)
			out[n++] = (char)c;
		else if (n && out[n - 1] != ' ')
			out[n++] = ' ';
	}
	if (*s) {	/* cut: not inside a character */
		while (n && ((unsigned char)out[n - 1] & 0xc0) == 0x80)
			n--;
		if (n && (unsigned char)out[n - 1] >= 0xc0)
			n--;
	}
	while (n && (out[n - 1] == ' ' || out[n - 1] == '.'))
		n--;
	out[n] = '\0';
}

void
weir_dav_reason(const char *body, size_t len, char *out, size_t max)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf text = WEIR_BUF(4096);
	WEIR_AUTO(weir_freep) char *copy = NULL;

	out[0] = '\0';
	if (!body || !len)
		return;
	copy = weir_xstrndup(body, len > (64u << 10) ? 64u << 10 : len);	/* ends at a NUL */
	if (copy[0] == '{')
		reason_json(copy, &text);
	else if (!reason_xml(copy, strlen(copy), &text) && !reason_html(copy, "p", &text) && !reason_html(copy, "title", &text) &&
	    copy[0] != '<')
		weir_buf_add(&text, copy, strnlen(copy, 300));
	reason_line(weir_buf_str(&text), out, max);
}
