/* SPDX-License-Identifier: Apache-2.0 */
/* YAML text as a tree, with the meaning that the platform's own reader gives it: YAML 1.1 as PyYAML's safe loader takes it, where an unquoted
 * 2024-01-31 is a date and not a text, `yes` is true and 010 is eight. For bytes of strangers: sizes, depth and what aliases unfold to are
 * bounded, and what is wrong is one sentence with its line. */
#ifndef WEIR_CATALOGUE_YAML_H
#define WEIR_CATALOGUE_YAML_H
#include "../../src/util/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEIR_YAML_MAX (1u << 20)	/* bytes of text; real metadata has a few kB */
#define WEIR_YAML_DEPTH 48
#define WEIR_YAML_NODES 10000		/* counted with aliases unfolded */

enum weir_yaml_kind {
	WEIR_YAML_NULL, WEIR_YAML_BOOL, WEIR_YAML_INT, WEIR_YAML_REAL, WEIR_YAML_TEXT, WEIR_YAML_LIST, WEIR_YAML_MAP,
	WEIR_YAML_DATE,			/* a date or a time */
	WEIR_YAML_OTHER,		/* sets, binary: there is no JSON for them */
};

struct weir_yaml;
struct weir_yaml_pair { struct weir_yaml *key, *value; };
struct weir_yaml {
	enum weir_yaml_kind kind;
	size_t line;			/* from 1 */
	char *text;			/* scalars: as written, len bytes and a NUL (which may also be inside) */
	size_t len;
	int64_t integer;		/* INT: clamped to what fits */
	double number;			/* INT and REAL */
	bool is_true;			/* BOOL */
	struct weir_yaml **items;	/* LIST */
	struct weir_yaml_pair *pairs;	/* MAP: no key twice (the last one wins), merge keys (<<) resolved */
	size_t n;			/* items or pairs */
	size_t weight;			/* nodes below and with it, aliases unfolded */
};

struct weir_yaml_doc { struct weir_yaml *root; struct weir_yaml **all; size_t nall; };	/* root NULL: an empty document */
/* doc must be zeroed; free it in any case. INVAL: err has "line 3: …". One node may stand in several places: a graph without circles. */
enum weir_code weir_yaml_parse(const char *text, size_t len, struct weir_yaml_doc *doc, struct weir_err *);
void weir_yaml_free(struct weir_yaml_doc *);
/* The value of a text key of a MAP; NULL: not there, or no map at all. */
const struct weir_yaml *weir_yaml_get(const struct weir_yaml *, const char *key);
bool weir_yaml_is_text(const struct weir_yaml *, const char *text);	/* NULL is none */

#endif
