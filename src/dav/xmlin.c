/* SPDX-License-Identifier: Apache-2.0 */
/* XML bodies of requests, by expat. */
#include "config.h"

#include "xmlin.h"

#include <expat.h>
#include <string.h>

#include "../util/text.h"
#include "../util/util.h"

#define XML_DEPTH 32
#define XML_VALUE_MAX (64u << 10)
#define XML_DAV "DAV:"

struct xml_state {
	XML_Parser parser;
	struct front_xml *x;
	unsigned depth;
	unsigned inner;			/* > 0: depth of the element whose inner XML is being copied */
	bool is_removing, is_in_prop;	/* below remove; below prop */
	bool is_bad;
	struct weir_buf text;
};

static void
xml_refuse(struct xml_state *s)
{
	s->is_bad = true;
	XML_StopParser(s->parser, XML_FALSE);
}

/* "NS|name" as expat gives it; the namespace's length, 0 for none. */
static const char *
xml_local(const char *full, size_t *ns)
{
	const char *bar = strrchr(full, '|');

	*ns = bar != NULL ? (size_t)(bar - full) : 0;
	return bar != NULL ? bar + 1 : full;
}

static bool
xml_is(const char *full, const char *name)
{
	size_t ns;
	const char *local = xml_local(full, &ns);

	return ns == strlen(XML_DAV) && strncmp(full, XML_DAV, ns) == 0 && strcmp(local, name) == 0;
}

static void
xml_copy_start(struct xml_state *s, const char *full, const char **attrs)
{
	size_t ns;
	const char *local = xml_local(full, &ns);
	WEIR_AUTO(weir_freep) char *space = weir_xstrndup(full, ns);

	weir_buf_addf(&s->text, "<%s xmlns=\"", local);
	weir_xml_escape(&s->text, space);
	weir_buf_addc(&s->text, '"');
	for (size_t i = 0; attrs[i] != NULL; i += 2) {
		const char *name = xml_local(attrs[i], &ns);

		if (ns > 0) {
			WEIR_AUTO(weir_freep) char *aspace = weir_xstrndup(attrs[i], ns);

			weir_buf_addf(&s->text, " xmlns:a%zu=\"", i);
			weir_xml_escape(&s->text, aspace);
			weir_buf_addf(&s->text, "\" a%zu:%s=\"", i, name);
		} else
			weir_buf_addf(&s->text, " %s=\"", name);
		weir_xml_escape(&s->text, attrs[i + 1]);
		weir_buf_addc(&s->text, '"');
	}
	weir_buf_addc(&s->text, '>');
}

static void
xml_property(struct xml_state *s, const char *full)
{
	struct front_xml *x = s->x;
	size_t ns;
	const char *local = xml_local(full, &ns);

	if (x->nprops == FRONT_PROPS) {
		xml_refuse(s);
		return;
	}
	if (x->props == NULL)
		x->props = weir_xcalloc(FRONT_PROPS, sizeof(*x->props));
	x->props[x->nprops++] = (struct front_prop){.ns = weir_xstrndup(full, ns), .name = weir_xstrdup(local),
	    .is_set = x->kind == FRONT_XML_UPDATE && !s->is_removing};
	if (x->kind == FRONT_XML_UPDATE && !s->is_removing)
		s->inner = s->depth;
}

static void
xml_root(struct xml_state *s, const char *full)
{
	s->x->kind = xml_is(full, "propfind") ? FRONT_XML_PROPFIND : xml_is(full, "propertyupdate") ? FRONT_XML_UPDATE
	    : xml_is(full, "lockinfo") ? FRONT_XML_LOCK : FRONT_XML_OTHER;
}

static void
xml_start_lock(struct xml_state *s, const char *full)
{
	struct front_xml *x = s->x;

	x->is_exclusive = x->is_exclusive || xml_is(full, "exclusive");
	x->is_shared = x->is_shared || xml_is(full, "shared");
	x->is_write = x->is_write || xml_is(full, "write");
	if (s->depth == 2 && xml_is(full, "owner"))
		s->inner = s->depth;
}

static void XMLCALL
xml_start(void *arg, const char *full, const char **attrs)
{
	struct xml_state *s = arg;
	struct front_xml *x = s->x;

	if (++s->depth > XML_DEPTH || s->text.is_full) {
		xml_refuse(s);
		return;
	}
	if (s->inner > 0)
		xml_copy_start(s, full, attrs);
	else if (s->depth == 1)
		xml_root(s, full);
	else if (x->kind == FRONT_XML_LOCK)
		xml_start_lock(s, full);
	else if (x->kind == FRONT_XML_PROPFIND && s->depth == 2) {
		x->is_allprop = x->is_allprop || xml_is(full, "allprop");
		x->is_propname = x->is_propname || xml_is(full, "propname");
		s->is_in_prop = xml_is(full, "prop");
	} else if (x->kind == FRONT_XML_PROPFIND && s->depth == 3 && s->is_in_prop)
		xml_property(s, full);
	else if (x->kind == FRONT_XML_UPDATE && s->depth == 2)
		s->is_removing = xml_is(full, "remove");
	else if (x->kind == FRONT_XML_UPDATE && s->depth == 3)
		s->is_in_prop = xml_is(full, "prop");
	else if (x->kind == FRONT_XML_UPDATE && s->depth == 4 && s->is_in_prop)
		xml_property(s, full);
}

static void XMLCALL
xml_end(void *arg, const char *full)
{
	struct xml_state *s = arg;
	size_t ns;

	if (s->inner > 0 && s->depth > s->inner)
		weir_buf_addf(&s->text, "</%s>", xml_local(full, &ns));
	else if (s->inner > 0) {
		char *value = weir_buf_take(&s->text);

		if (s->x->kind == FRONT_XML_LOCK) {
			free(s->x->owner);
			s->x->owner = value;
		} else
			s->x->props[s->x->nprops - 1].value = value;
		s->text = (struct weir_buf)WEIR_BUF(XML_VALUE_MAX);
		s->inner = 0;
	}
	s->depth--;
}

static void XMLCALL
xml_text(void *arg, const char *text, int len)
{
	struct xml_state *s = arg;
	WEIR_AUTO(weir_freep) char *piece = NULL;

	if (s->inner == 0)
		return;
	piece = weir_xstrndup(text, (size_t)len);
	weir_xml_escape(&s->text, piece);
	if (s->text.is_full)
		xml_refuse(s);
}

static void XMLCALL
xml_doctype(void *arg, const char *name, const char *sysid, const char *pubid, int has_internal)
{
	xml_refuse(arg);
}

int
front_xml_parse(const char *data, size_t len, struct front_xml *x)
{
	struct xml_state s = {.x = x, .text = WEIR_BUF(XML_VALUE_MAX)};
	bool is_ok;

	*x = (struct front_xml){0};
	if (len == 0)
		return 0;
	s.parser = XML_ParserCreateNS(NULL, '|');
	if (s.parser == NULL)
		return -1;
	XML_SetUserData(s.parser, &s);
	XML_SetElementHandler(s.parser, xml_start, xml_end);
	XML_SetCharacterDataHandler(s.parser, xml_text);
	XML_SetStartDoctypeDeclHandler(s.parser, xml_doctype);
	is_ok = XML_Parse(s.parser, data, (int)len, 1) == XML_STATUS_OK && !s.is_bad;
	XML_ParserFree(s.parser);
	weir_buf_free(&s.text);
	if (!is_ok)
		front_xml_free(x);
	return is_ok ? 0 : -1;
}

void
front_xml_free(struct front_xml *x)
{
	for (size_t i = 0; i < x->nprops; i++) {
		free(x->props[i].ns);
		free(x->props[i].name);
		free(x->props[i].value);
	}
	free(x->props);
	free(x->owner);
	*x = (struct front_xml){0};
}
