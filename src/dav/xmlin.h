/* SPDX-License-Identifier: Apache-2.0 */
/* XML bodies of requests: propfind, propertyupdate, lockinfo. Document types are refused, depth, names and size are bounded. Pure. */
#ifndef WEIR_DAV_XMLIN_H
#define WEIR_DAV_XMLIN_H
#include <stdbool.h>
#include <stddef.h>

#define FRONT_PROPS 256

struct front_prop {
	char *ns, *name;	/* ns "" for none */
	char *value;		/* propertyupdate, set: its inner XML, each element with its namespace; else NULL */
	bool is_set;
};
struct front_xml {
	enum { FRONT_XML_EMPTY, FRONT_XML_PROPFIND, FRONT_XML_UPDATE, FRONT_XML_LOCK, FRONT_XML_OTHER } kind;
	bool is_allprop, is_propname;
	bool is_exclusive, is_shared, is_write;	/* lockinfo */
	char *owner;		/* lockinfo: inner XML, or NULL */
	struct front_prop *props;	/* in the order they came */
	size_t nprops;
};
/* 0, or -1: not well-formed, or beyond the bounds. An empty body is FRONT_XML_EMPTY. */
int front_xml_parse(const char *, size_t len, struct front_xml *);
void front_xml_free(struct front_xml *);

#endif
