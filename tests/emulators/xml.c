/* SPDX-License-Identifier: Apache-2.0 */
/* A small XML tree over expat: request bodies, and dead properties that must come back as they were sent. */
#include "config.h"
#include "common.h"
#include "util/text.h"
#include <expat.h>
#include <string.h>

#define XML_SEP '\x01'
#define XML_OWN "http://www.w3.org/XML/1998/namespace"	/* bound to the prefix xml, and to no other */
#define XML_DEPTH 64
#define XML_NODES 200000

struct xml_build {
	XML_Parser parser;
	struct emu_xml *root;
	struct emu_xml *open[XML_DEPTH];
	struct emu_xml **tail[XML_DEPTH];
	int depth;
	size_t nodes;
	bool is_bad;
};

static void
xml_fail(struct xml_build *b)
{
	b->is_bad = true;
	XML_StopParser(b->parser, XML_FALSE);
}

static struct emu_xml *
xml_append(struct xml_build *b)
{
	struct emu_xml *x = weir_xcalloc(1, sizeof(*x));

	if (!b->depth)
		b->root = x;
	else {
		*b->tail[b->depth - 1] = x;
		b->tail[b->depth - 1] = &x->next;
	}
	return x;
}

static void XMLCALL
xml_start(void *arg, const XML_Char *name, const XML_Char **attrs)
{
	struct xml_build *b = arg;
	const char *sep = strchr(name, XML_SEP);
	struct emu_xml *x;

	if (b->is_bad)
		return;
	if (b->depth == XML_DEPTH || ++b->nodes > XML_NODES) {
		xml_fail(b);
		return;
	}
	x = xml_append(b);
	x->ns = sep ? weir_xstrndup(name, (size_t)(sep - name)) : weir_xstrdup("");
	x->name = weir_xstrdup(sep ? sep + 1 : name);
	for (; attrs[0]; attrs += 2)
		emu_pairs_add(&x->attrs, attrs[0], attrs[1]);
	b->open[b->depth] = x;
	b->tail[b->depth++] = &x->child;
}

static void XMLCALL
xml_end(void *arg, const XML_Char *name)
{
	struct xml_build *b = arg;

	(void)name;
	if (!b->is_bad)
		b->depth--;
}

static void XMLCALL
xml_chars(void *arg, const XML_Char *s, int len)
{
	struct xml_build *b = arg;
	struct emu_xml *x;

	if (b->is_bad || !b->depth)
		return;
	if (++b->nodes > XML_NODES) {
		xml_fail(b);
		return;
	}
	x = xml_append(b);
	x->text = weir_xstrndup(s, (size_t)len);
}

static void XMLCALL
xml_doctype(void *arg, const XML_Char *name, const XML_Char *sysid, const XML_Char *pubid, int internal)
{
	(void)name;
	(void)sysid;
	(void)pubid;
	(void)internal;
	xml_fail(arg);
}

/* "xmlns:x=''" is an error in namespaces 1.0, which expat lets pass; litmus asks for it. */
static void XMLCALL
xml_namespace(void *arg, const XML_Char *prefix, const XML_Char *uri)
{
	if (prefix && (!uri || !*uri))
		xml_fail(arg);
}

struct emu_xml *
emu_xml_parse(const char *text, size_t len)
{
	struct xml_build b = { 0 };

	b.parser = XML_ParserCreateNS(NULL, XML_SEP);
	if (!b.parser)
		return NULL;
	XML_SetUserData(b.parser, &b);
	XML_SetElementHandler(b.parser, xml_start, xml_end);
	XML_SetCharacterDataHandler(b.parser, xml_chars);
	XML_SetStartDoctypeDeclHandler(b.parser, xml_doctype);
	XML_SetStartNamespaceDeclHandler(b.parser, xml_namespace);
	if (XML_Parse(b.parser, text, (int)len, 1) != XML_STATUS_OK || b.is_bad) {
		emu_xml_free(b.root);
		b.root = NULL;
	}
	XML_ParserFree(b.parser);
	return b.root;
}

void
emu_xml_free(struct emu_xml *x)
{
	while (x) {
		struct emu_xml *next = x->next;

		emu_xml_free(x->child);
		emu_pairs_free(&x->attrs);
		free(x->ns);
		free(x->name);
		free(x->text);
		free(x);
		x = next;
	}
}

struct emu_xml *
emu_xml_find(const struct emu_xml *x, const char *name)
{
	for (struct emu_xml *c = x ? x->child : NULL; c; c = c->next)
		if (c->name && !strcmp(c->name, name))
			return c;
	return NULL;
}

static void
xml_gather(struct weir_buf *out, const struct emu_xml *x)
{
	for (const struct emu_xml *c = x->child; c; c = c->next) {
		if (c->text)
			weir_buf_adds(out, c->text);
		else
			xml_gather(out, c);
	}
}

char *
emu_xml_text(const struct emu_xml *x)
{
	struct weir_buf out = WEIR_BUF(16u << 20);

	if (x)
		xml_gather(&out, x);
	return weir_buf_take(&out);
}

void
emu_xml_text_add(struct weir_buf *out, const char *s)
{
	weir_xml_escape(out, s);
}

static void
xml_write_attrs(struct weir_buf *out, const struct emu_pairs *attrs)
{
	for (size_t i = 0; i < attrs->n; i++) {
		const char *name = attrs->v[i].name, *sep = strchr(name, XML_SEP);

		if (sep && !strncmp(name, XML_OWN, strlen(XML_OWN))) {
			weir_buf_addf(out, " xml:%s=\"", sep + 1);
		} else if (sep) {
			weir_buf_addf(out, " xmlns:a%zu=\"", i);
			weir_buf_add(out, name, (size_t)(sep - name));
			weir_buf_addf(out, "\" a%zu:%s=\"", i, sep + 1);
		} else
			weir_buf_addf(out, " %s=\"", name);
		emu_xml_text_add(out, attrs->v[i].value);
		weir_buf_adds(out, "\"");
	}
}

void
emu_xml_write(struct weir_buf *out, const struct emu_xml *x)
{
	if (x->text) {
		emu_xml_text_add(out, x->text);
		return;
	}
	weir_buf_addf(out, "<%s xmlns=\"", x->name);
	emu_xml_text_add(out, x->ns);
	weir_buf_adds(out, "\"");
	xml_write_attrs(out, &x->attrs);
	if (!x->child) {
		weir_buf_adds(out, "/>");
		return;
	}
	weir_buf_adds(out, ">");
	for (const struct emu_xml *c = x->child; c; c = c->next)
		emu_xml_write(out, c);
	weir_buf_addf(out, "</%s>", x->name);
}
