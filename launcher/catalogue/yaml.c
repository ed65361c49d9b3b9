/* SPDX-License-Identifier: Apache-2.0 */
/* libyaml's events -> a tree. What a plain word means (date, number, truth) is decided in yaml_word.c. */
#include "config.h"

#include "yaml.h"

#include <string.h>
#include <yaml.h>

#include "../../src/util/util.h"
#include "yaml_word.h"

#define YAML_TAG "tag:yaml.org,2002:"

struct yaml_anchor { char *name; struct weir_yaml *node; /* NULL while it is being read */ };
struct yaml_reader {
	yaml_parser_t parser;
	struct weir_yaml_doc *doc;
	struct yaml_anchor *anchors;
	size_t nanchors;
	struct weir_err *err;
};

static struct weir_yaml *yaml_node(struct yaml_reader *, const yaml_event_t *, int depth);

static struct weir_yaml *
yaml_fail(struct yaml_reader *rd, size_t line, const char *what)
{
	weir_err_set(rd->err, WEIR_E_INVAL, "line %zu: %s", line, what);
	return NULL;
}

/* The next event, or false and the parser's own words. */
static bool
yaml_next(struct yaml_reader *rd, yaml_event_t *e)
{
	if (yaml_parser_parse(&rd->parser, e) == 1)
		return true;
	if (rd->parser.error == YAML_READER_ERROR)
		weir_err_set(rd->err, WEIR_E_INVAL, "byte %zu: %s", rd->parser.problem_offset, rd->parser.problem != NULL ? rd->parser.problem : "cannot be read");
	else
		yaml_fail(rd, rd->parser.problem_mark.line + 1, rd->parser.problem != NULL ? rd->parser.problem : "this is no YAML");
	return false;
}

static struct weir_yaml *
yaml_new(struct yaml_reader *rd, enum weir_yaml_kind kind, const yaml_event_t *e)
{
	struct weir_yaml_doc *doc = rd->doc;
	struct weir_yaml *node;

	if (doc->nall >= WEIR_YAML_NODES)
		return yaml_fail(rd, e->start_mark.line + 1, "there is too much in it");
	node = weir_xcalloc(1, sizeof(*node));
	*node = (struct weir_yaml){.kind = kind, .line = e->start_mark.line + 1, .weight = 1};
	if ((doc->nall & (doc->nall + 1)) == 0)
		doc->all = weir_xrealloc(doc->all, 2 * (doc->nall + 1), sizeof(*doc->all));
	doc->all[doc->nall++] = node;
	return node;
}

static bool
yaml_weigh(struct yaml_reader *rd, struct weir_yaml *node, const struct weir_yaml *child)
{
	node->weight += child->weight;
	if (node->weight <= WEIR_YAML_NODES)
		return true;
	yaml_fail(rd, child->line, "what its aliases stand for is too much");
	return false;
}

/* The part after the standard prefix; NULL: none was given; "?": another one. */
static const char *
yaml_tag(const yaml_char_t *tag)
{
	const char *s = (const char *)tag;

	if (s == NULL || strcmp(s, "!") == 0)
		return NULL;
	return strncmp(s, YAML_TAG, strlen(YAML_TAG)) == 0 ? s + strlen(YAML_TAG) : "?";
}

static struct weir_yaml *
yaml_scalar(struct yaml_reader *rd, const yaml_event_t *e)
{
	struct weir_yaml *node = yaml_new(rd, WEIR_YAML_TEXT, e);
	const char *tag = yaml_tag(e->data.scalar.tag);
	bool is_word = e->data.scalar.plain_implicit || (e->data.scalar.tag != NULL && tag == NULL);
	struct weir_err why = {0};

	if (node == NULL)
		return NULL;
	node->len = e->data.scalar.length;
	node->text = weir_xcalloc(node->len + 1, 1);
	memcpy(node->text, e->data.scalar.value, node->len);
	/* libyaml takes it, the platform's reader does not. */
	if (e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && memchr(node->text, '\t', node->len) != NULL)
		return yaml_fail(rd, node->line, "a tab stands in an unquoted text");
	if (tag == NULL && !is_word)
		return node;
	if (weir_yaml_word(node, tag, &why) != WEIR_OK)
		return yaml_fail(rd, node->line, why.msg);
	return node;
}

/* ---- anchors ---- */

static struct weir_yaml *
yaml_alias(struct yaml_reader *rd, const yaml_event_t *e)
{
	for (size_t i = 0; i < rd->nanchors; i++) {
		if (strcmp(rd->anchors[i].name, (const char *)e->data.alias.anchor) != 0)
			continue;
		if (rd->anchors[i].node == NULL)
			return yaml_fail(rd, e->start_mark.line + 1, "an alias stands inside of what it stands for");
		return rd->anchors[i].node;
	}
	return yaml_fail(rd, e->start_mark.line + 1, "an alias stands for nothing");
}

/* Its index + 1; 0: none was given; -1: the name is taken. */
static long
yaml_anchor(struct yaml_reader *rd, const yaml_char_t *name, size_t line)
{
	if (name == NULL)
		return 0;
	for (size_t i = 0; i < rd->nanchors; i++) {
		if (strcmp(rd->anchors[i].name, (const char *)name) == 0) {
			yaml_fail(rd, line, "an anchor stands here a second time");
			return -1;
		}
	}
	rd->anchors = weir_xrealloc(rd->anchors, rd->nanchors + 1, sizeof(*rd->anchors));
	rd->anchors[rd->nanchors++] = (struct yaml_anchor){.name = weir_xstrdup((const char *)name)};
	return (long)rd->nanchors;
}

/* ---- lists and maps ---- */

/* A value that only means something as a key ("="). */
static bool
yaml_is_usable(struct yaml_reader *rd, const struct weir_yaml *value)
{
	if (!weir_yaml_is_merge(value) && !weir_yaml_is_equals(value))
		return true;
	yaml_fail(rd, value->line, "a bare << or = has no meaning as a value; put it in quotes");
	return false;
}

static struct weir_yaml *
yaml_list(struct yaml_reader *rd, const yaml_event_t *first, int depth)
{
	struct weir_yaml *node = yaml_new(rd, WEIR_YAML_LIST, first), *item;
	yaml_event_t e;

	while (node != NULL) {
		if (!yaml_next(rd, &e))
			return NULL;
		if (e.type == YAML_SEQUENCE_END_EVENT) {
			yaml_event_delete(&e);
			break;
		}
		item = yaml_node(rd, &e, depth + 1);
		yaml_event_delete(&e);
		if (item == NULL || !yaml_weigh(rd, node, item) || !yaml_is_usable(rd, item))
			return NULL;
		node->items = weir_xrealloc(node->items, node->n + 1, sizeof(*node->items));
		node->items[node->n++] = item;
	}
	return node;
}

static bool
yaml_same(const struct weir_yaml *a, const struct weir_yaml *b)
{
	if (a->kind != b->kind)
		return false;
	return a->kind == WEIR_YAML_NULL || (a->len == b->len && memcmp(a->text, b->text, a->len) == 0);
}

/* The last one of a key wins, unless it comes by a merge. */
static void
yaml_put(struct weir_yaml *map, struct weir_yaml *key, struct weir_yaml *value, bool is_weak)
{
	for (size_t i = 0; i < map->n; i++) {
		if (yaml_same(map->pairs[i].key, key)) {
			if (!is_weak)
				map->pairs[i].value = value;
			return;
		}
	}
	map->pairs = weir_xrealloc(map->pairs, map->n + 1, sizeof(*map->pairs));
	map->pairs[map->n++] = (struct weir_yaml_pair){key, value};
}

static bool
yaml_merge_one(struct yaml_reader *rd, struct weir_yaml *map, const struct weir_yaml *from)
{
	if (from->kind != WEIR_YAML_MAP) {
		yaml_fail(rd, from->line, "only maps can be merged with <<");
		return false;
	}
	for (size_t i = 0; i < from->n; i++)
		yaml_put(map, from->pairs[i].key, from->pairs[i].value, true);
	return true;
}

static bool
yaml_merge(struct yaml_reader *rd, struct weir_yaml *map, const struct weir_yaml *from)
{
	if (from->kind != WEIR_YAML_LIST)
		return yaml_merge_one(rd, map, from);
	for (size_t i = 0; i < from->n; i++) {
		if (!yaml_merge_one(rd, map, from->items[i]))
			return false;
	}
	return true;
}

static bool
yaml_pair(struct yaml_reader *rd, struct weir_yaml *map, struct weir_yaml *key, struct weir_yaml *value, struct weir_yaml *merges)
{
	if (!yaml_weigh(rd, map, key) || !yaml_weigh(rd, map, value))
		return false;
	if (key->kind == WEIR_YAML_LIST || key->kind == WEIR_YAML_MAP) {
		yaml_fail(rd, key->line, "a list or a map cannot be a key");
		return false;
	}
	if (!weir_yaml_is_merge(key)) {
		yaml_put(map, key, value, false);
		return true;
	}
	merges->items = weir_xrealloc(merges->items, merges->n + 1, sizeof(*merges->items));
	merges->items[merges->n++] = value;
	return true;
}

static bool
yaml_pairs(struct yaml_reader *rd, struct weir_yaml *map, struct weir_yaml *merges, int depth)
{
	struct weir_yaml *key, *value;
	yaml_event_t e;

	for (;;) {
		if (!yaml_next(rd, &e))
			return false;
		if (e.type == YAML_MAPPING_END_EVENT) {
			yaml_event_delete(&e);
			return true;
		}
		key = yaml_node(rd, &e, depth + 1);
		yaml_event_delete(&e);
		if (key == NULL || !yaml_next(rd, &e))
			return false;
		value = yaml_node(rd, &e, depth + 1);
		yaml_event_delete(&e);
		if (value == NULL || !yaml_pair(rd, map, key, value, merges) || (!weir_yaml_is_merge(key) && !yaml_is_usable(rd, value)))
			return false;
	}
}

static struct weir_yaml *
yaml_map(struct yaml_reader *rd, const yaml_event_t *first, int depth)
{
	struct weir_yaml *node = yaml_new(rd, WEIR_YAML_MAP, first);
	struct weir_yaml merges = {0};
	bool is_good = node != NULL && yaml_pairs(rd, node, &merges, depth);

	for (size_t i = 0; is_good && i < merges.n; i++)
		is_good = yaml_merge(rd, node, merges.items[i]);
	free(merges.items);
	return is_good ? node : NULL;
}

static struct weir_yaml *
yaml_collection(struct yaml_reader *rd, const yaml_event_t *e, int depth)
{
	bool is_map = e->type == YAML_MAPPING_START_EVENT;
	const char *tag = yaml_tag(is_map ? e->data.mapping_start.tag : e->data.sequence_start.tag);
	struct weir_yaml *node;

	if (tag != NULL && strcmp(tag, is_map ? "map" : "seq") != 0 && strcmp(tag, is_map ? "set" : "omap") != 0 && (is_map || strcmp(tag, "pairs") != 0))
		return yaml_fail(rd, e->start_mark.line + 1, "it has a type (!…) that is not known");
	if (depth > WEIR_YAML_DEPTH)
		return yaml_fail(rd, e->start_mark.line + 1, "it is nested too deep");
	node = is_map ? yaml_map(rd, e, depth) : yaml_list(rd, e, depth);
	if (node != NULL && tag != NULL && strcmp(tag, "set") == 0)
		node->kind = WEIR_YAML_OTHER;
	return node;
}

static struct weir_yaml *
yaml_node(struct yaml_reader *rd, const yaml_event_t *e, int depth)
{
	const yaml_char_t *name = NULL;
	struct weir_yaml *node;
	long anchor;

	if (e->type == YAML_ALIAS_EVENT)
		return yaml_alias(rd, e);
	if (e->type == YAML_SCALAR_EVENT)
		name = e->data.scalar.anchor;
	else if (e->type == YAML_SEQUENCE_START_EVENT)
		name = e->data.sequence_start.anchor;
	else if (e->type == YAML_MAPPING_START_EVENT)
		name = e->data.mapping_start.anchor;
	else
		return yaml_fail(rd, e->start_mark.line + 1, "something is missing");
	anchor = yaml_anchor(rd, name, e->start_mark.line + 1);
	if (anchor < 0)
		return NULL;
	node = e->type == YAML_SCALAR_EVENT ? yaml_scalar(rd, e) : yaml_collection(rd, e, depth);
	if (node != NULL && anchor > 0)
		rd->anchors[anchor - 1].node = node;
	return node;
}

/* ---- the document ---- */

static bool
yaml_stream(struct yaml_reader *rd)
{
	yaml_event_type_t type = YAML_NO_EVENT;
	size_t documents = 0;
	yaml_event_t e;

	while (type != YAML_STREAM_END_EVENT) {
		bool is_good = true;

		if (!yaml_next(rd, &e))
			return false;
		type = e.type;
		if (type == YAML_DOCUMENT_START_EVENT && ++documents > 1) {
			yaml_fail(rd, e.start_mark.line + 1, "a second document begins");
			is_good = false;
		} else if (type == YAML_SCALAR_EVENT || type == YAML_SEQUENCE_START_EVENT || type == YAML_MAPPING_START_EVENT || type == YAML_ALIAS_EVENT) {
			rd->doc->root = yaml_node(rd, &e, 0);
			is_good = rd->doc->root != NULL && yaml_is_usable(rd, rd->doc->root);
		}
		yaml_event_delete(&e);
		if (!is_good)
			return false;
	}
	return true;
}

enum weir_code
weir_yaml_parse(const char *text, size_t len, struct weir_yaml_doc *doc, struct weir_err *err)
{
	struct weir_err why = {0};
	struct yaml_reader rd = {.doc = doc, .err = &why};
	bool is_good;

	if (len > WEIR_YAML_MAX)
		return weir_err_set(err, WEIR_E_INVAL, "it is larger than %u bytes", WEIR_YAML_MAX);
	if (yaml_parser_initialize(&rd.parser) != 1)
		return weir_err_set(err, WEIR_E_NOMEM, "out of memory");
	yaml_parser_set_encoding(&rd.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&rd.parser, (const unsigned char *)text, len);
	is_good = yaml_stream(&rd);
	yaml_parser_delete(&rd.parser);
	for (size_t i = 0; i < rd.nanchors; i++)
		free(rd.anchors[i].name);
	free(rd.anchors);
	if (is_good)
		return WEIR_OK;
	doc->root = NULL;
	return weir_err_set(err, WEIR_E_INVAL, "%s", why.msg);
}

void
weir_yaml_free(struct weir_yaml_doc *doc)
{
	for (size_t i = 0; i < doc->nall; i++) {
		free(doc->all[i]->text);
		free(doc->all[i]->items);
		free(doc->all[i]->pairs);
		free(doc->all[i]);
	}
	free(doc->all);
	*doc = (struct weir_yaml_doc){0};
}

bool
weir_yaml_is_text(const struct weir_yaml *node, const char *text)
{
	return node != NULL && node->kind == WEIR_YAML_TEXT && node->len == strlen(text) && memcmp(node->text, text, node->len) == 0;
}

const struct weir_yaml *
weir_yaml_get(const struct weir_yaml *map, const char *key)
{
	if (map == NULL || map->kind != WEIR_YAML_MAP)
		return NULL;
	for (size_t i = 0; i < map->n; i++) {
		if (weir_yaml_is_text(map->pairs[i].key, key))
			return map->pairs[i].value;
	}
	return NULL;
}
