/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of ai4-metadata 2.3.0 as a table, the newest of the versions 2.x and the one by which the platform judges them all (2.1 to 2.3 only added
 * optional keys). They are JSON Schema's: unknown keys are allowed, `format` (uri, date, doi) is a hint that nobody enforces, a whole number may
 * be written 4.0, true is no number. What is odd without breaking a rule becomes a note. */
#include "config.h"

#include "verdict.h"

#include <math.h>
#include <regex.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "../../src/util/clean.h"
#include "../../src/util/util.h"
#include "../words.h"

#define VERDICT_SENTENCES 40	/* nobody reads more */
#define VERDICT_VERSION_MAX 64
#define VERDICT_QUOTE 48	/* columns of a foreign text in a sentence */

enum verdict_type { VERDICT_TEXT, VERDICT_VERSION, VERDICT_INTEGER, VERDICT_NUMBER, VERDICT_LIST, VERDICT_MAP };
struct verdict_rule {
	const char *key;
	enum verdict_type type;
	bool is_required;
	const char *const *words;		/* LIST: what its texts may be; NULL: anything */
	const struct verdict_rule *rules;	/* MAP: its keys, ended by an empty row */
	bool is_closed;				/* MAP: other keys have no effect, say so */
};

static const char *const verdict_libraries[] = {"TensorFlow", "PyTorch", "Keras", "Scikit-learn", "XGBoost", "LightGBM", "CatBoost", "Other", NULL};
static const char *const verdict_tasks[] = {"Computer Vision", "Natural Language Processing", "Time Series", "Recommender Systems",
    "Anomaly Detection", "Regression", "Classification", "Clustering", "Dimensionality Reduction", "Generative Models", "Graph Neural Networks",
    "Optimization", "Reinforcement Learning", "Transfer Learning", "Uncertainty Estimation", "Other", NULL};
static const char *const verdict_categories[] = {"AI4 pre trained", "AI4 trainable", "AI4 inference", "AI4 tools", NULL};
static const char *const verdict_data_types[] = {"Image", "Text", "Time Series", "Tabular", "Graph", "Audio", "Video", "Other", NULL};

static const struct verdict_rule verdict_links[] = {
    {"source_code", VERDICT_TEXT, .is_required = true}, {"self", VERDICT_TEXT}, {"documentation", VERDICT_TEXT}, {"docker_image", VERDICT_TEXT},
    {"zenodo_doi", VERDICT_TEXT}, {"dataset", VERDICT_TEXT}, {"weights", VERDICT_TEXT}, {"citation", VERDICT_TEXT}, {"base_model", VERDICT_TEXT},
    {0},
};
static const struct verdict_rule verdict_dates[] = {
    {"created", VERDICT_TEXT, .is_required = true}, {"updated", VERDICT_TEXT, .is_required = true}, {0},
};
static const struct verdict_rule verdict_amounts[] = {
    {"cpu", VERDICT_INTEGER}, {"gpu", VERDICT_INTEGER}, {"memory_MB", VERDICT_INTEGER}, {"gpu_memory_MB", VERDICT_INTEGER},
    {"gpu_compute_capability", VERDICT_NUMBER}, {"storage_MB", VERDICT_INTEGER}, {0},
};
static const struct verdict_rule verdict_resources[] = {
    {"inference", VERDICT_MAP, .rules = verdict_amounts, .is_closed = true}, {"training", VERDICT_MAP, .rules = verdict_amounts, .is_closed = true}, {0},
};
static const struct verdict_rule verdict_root[] = {
    {"metadata_version", VERDICT_VERSION, .is_required = true},
    {"title", VERDICT_TEXT, .is_required = true},
    {"summary", VERDICT_TEXT, .is_required = true},
    {"description", VERDICT_TEXT, .is_required = true},
    {"links", VERDICT_MAP, .is_required = true, .rules = verdict_links},
    {"libraries", VERDICT_LIST, .is_required = true, .words = verdict_libraries},
    {"tasks", VERDICT_LIST, .is_required = true, .words = verdict_tasks},
    {"categories", VERDICT_LIST, .is_required = true, .words = verdict_categories},
    {"tags", VERDICT_LIST, .is_required = true},
    {"data-type", VERDICT_LIST, .words = verdict_data_types},
    {"doi", VERDICT_TEXT},
    {"dates", VERDICT_MAP, .rules = verdict_dates},
    {"resources", VERDICT_MAP, .rules = verdict_resources, .is_closed = true},
    {0},
};
/* Of version 1: whoever still has one of these has not migrated. */
static const char *const verdict_old[] = {"tosca", "sources", "dataset_url", "cite_url", "date_creation", "keywords"};

static const char *const verdict_kinds[] = {
    [WEIR_YAML_NULL] = "nothing", [WEIR_YAML_BOOL] = "a yes or no", [WEIR_YAML_INT] = "a number", [WEIR_YAML_REAL] = "a number",
    [WEIR_YAML_TEXT] = "a text", [WEIR_YAML_LIST] = "a list", [WEIR_YAML_MAP] = "a map", [WEIR_YAML_DATE] = "a date", [WEIR_YAML_OTHER] = "neither",
};

struct verdict {
	struct weir_words *problems, *notes;
};

void
weir_sentence(struct weir_words *to, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (to == NULL || to->n >= VERDICT_SENTENCES)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	weir_words_add(to, text);
}

/* A foreign text as it can stand in a sentence. Owned. */
static char *
verdict_quote(const struct weir_yaml *node)
{
	WEIR_AUTO(weir_freep) char *text = weir_clean(node->text != NULL ? node->text : "", node->len, false);

	return weir_cut_columns(text, VERDICT_QUOTE);
}

/* ---- single values ---- */

static bool
verdict_text(struct verdict *v, const char *where, const struct weir_yaml *node)
{
	WEIR_AUTO(weir_freep) char *quote = verdict_quote(node);

	if (node->kind == WEIR_YAML_TEXT)
		return true;
	if (node->kind == WEIR_YAML_NULL)
		weir_sentence(v->problems, "%s: has no value; it must be a text", where);
	else if (node->kind == WEIR_YAML_LIST || node->kind == WEIR_YAML_MAP || node->kind == WEIR_YAML_OTHER)
		weir_sentence(v->problems, "%s: must be a text, not %s", where, verdict_kinds[node->kind]);
	else
		weir_sentence(v->problems, "%s: unquoted, %s is %s and no text; put it in quotes", where, quote, verdict_kinds[node->kind]);
	return false;
}

/* The schema's expression is ^[0-9]{1,}.[0-9]{1,}.[0-9]{1,}$ with bare dots: any character parts the numbers. */
static bool
verdict_is_version(const struct weir_yaml *node)
{
	regex_t regex;
	bool fits;

	if (node->len > VERDICT_VERSION_MAX || strlen(node->text) != node->len)
		return false;
	if (regcomp(&regex, "^[0-9]+[^\n][0-9]+[^\n][0-9]+\n?$", REG_EXTENDED | REG_NOSUB) != 0)
		return false;
	fits = regexec(&regex, node->text, 0, NULL, 0) == 0;
	regfree(&regex);
	return fits;
}

static void
verdict_version(struct verdict *v, const char *where, const struct weir_yaml *node)
{
	WEIR_AUTO(weir_freep) char *quote = verdict_quote(node);

	if (!verdict_text(v, where, node))
		return;
	if (!verdict_is_version(node))
		weir_sentence(v->problems, "%s: '%s' is no version like 2.3.0", where, quote);
	else if (node->text[0] != '2' || node->text[1] != '.')
		weir_sentence(v->notes, "%s: %s is read as a version 2", where, quote);
}

static void
verdict_amount(struct verdict *v, const char *where, const struct weir_yaml *node, bool is_whole)
{
	bool is_number = node->kind == WEIR_YAML_INT || node->kind == WEIR_YAML_REAL;
	WEIR_AUTO(weir_freep) char *quote = verdict_quote(node);

	if (!is_number || (is_whole && node->kind == WEIR_YAML_REAL && (!isfinite(node->number) || floor(node->number) != node->number)))
		weir_sentence(v->problems, "%s: must be a %s%s%s%s", where, is_whole ? "whole number" : "number", *quote != '\0' ? ", not '" : "", quote,
		    *quote != '\0' ? "'" : "");
	else if (node->number < 0)
		weir_sentence(v->problems, "%s: %s is less than 0", where, quote);
}

/* ---- lists ---- */

static void
verdict_word(struct verdict *v, const char *where, const struct weir_yaml *item, const char *const *words)
{
	WEIR_AUTO(weir_freep) char *quote = verdict_quote(item);
	WEIR_AUTO(weir_buf_free) struct weir_buf all = WEIR_BUF(400);

	if (!verdict_text(v, where, item) || words == NULL)
		return;
	for (size_t i = 0; words[i] != NULL; i++) {
		if (weir_yaml_is_text(item, words[i]))
			return;
		weir_buf_addf(&all, "%s%s", i > 0 ? ", " : "", words[i]);
	}
	for (size_t i = 0; words[i] != NULL; i++) {
		if (strcasecmp(item->text, words[i]) == 0) {
			weir_sentence(v->problems, "%s: '%s' is written '%s'", where, quote, words[i]);
			return;
		}
	}
	weir_sentence(v->problems, "%s: '%s' is none of %s", where, quote, weir_buf_str(&all));
}

static bool
verdict_equal(const struct weir_yaml *a, const struct weir_yaml *b)
{
	return a->kind == WEIR_YAML_TEXT && b->kind == WEIR_YAML_TEXT && a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

static void
verdict_list(struct verdict *v, const char *where, const struct weir_yaml *node, const char *const *words)
{
	if (node->kind != WEIR_YAML_LIST) {
		weir_sentence(v->problems, "%s: must be a list, not %s", where, verdict_kinds[node->kind]);
		return;
	}
	for (size_t i = 0; i < node->n && v->problems->n < VERDICT_SENTENCES; i++) {
		bool is_twice = false;

		for (size_t k = 0; k < i && !is_twice; k++)
			is_twice = verdict_equal(node->items[k], node->items[i]);
		if (is_twice) {
			WEIR_AUTO(weir_freep) char *quote = verdict_quote(node->items[i]);

			weir_sentence(v->problems, "%s: '%s' stands there twice", where, quote);
		} else
			verdict_word(v, where, node->items[i], words);
	}
}

/* ---- maps ---- */

static void verdict_map(struct verdict *, const char *where, const struct weir_yaml *, const struct verdict_rule *, bool is_closed);

static void
verdict_value(struct verdict *v, const char *where, const struct weir_yaml *node, const struct verdict_rule *rule)
{
	switch (rule->type) {
	case VERDICT_TEXT:
		verdict_text(v, where, node);
		break;
	case VERDICT_VERSION:
		verdict_version(v, where, node);
		break;
	case VERDICT_INTEGER:
	case VERDICT_NUMBER:
		verdict_amount(v, where, node, rule->type == VERDICT_INTEGER);
		break;
	case VERDICT_LIST:
		verdict_list(v, where, node, rule->words);
		break;
	case VERDICT_MAP:
		verdict_map(v, where, node, rule->rules, rule->is_closed);
		break;
	}
}

/* Keys that are read by nobody: `memory: 16GB` of the platform's own sample is one. */
static void
verdict_unknown(struct verdict *v, const char *where, const struct weir_yaml *node, const struct verdict_rule *rules)
{
	for (size_t i = 0; i < node->n; i++) {
		const struct verdict_rule *r = rules;
		WEIR_AUTO(weir_freep) char *quote = verdict_quote(node->pairs[i].key);

		while (r->key != NULL && !weir_yaml_is_text(node->pairs[i].key, r->key))
			r++;
		if (r->key != NULL || strcmp(quote, "cpu_architecture") == 0)
			continue;
		for (r = rules; r->key != NULL && (strncasecmp(r->key, quote, strlen(quote)) != 0 || r->key[strlen(quote)] != '_');)
			r++;
		weir_sentence(v->notes, "%s: '%s' is no key of it and has no effect%s%s", where, quote, r->key != NULL ? "; there is " : "", r->key != NULL ? r->key : "");
	}
}

static void
verdict_map(struct verdict *v, const char *where, const struct weir_yaml *node, const struct verdict_rule *rules, bool is_closed)
{
	if (node->kind != WEIR_YAML_MAP) {
		weir_sentence(v->problems, "%s: must be a map of keys and values, not %s", *where != '\0' ? where : "the file", verdict_kinds[node->kind]);
		return;
	}
	for (const struct verdict_rule *r = rules; r->key != NULL; r++) {
		const struct weir_yaml *value = weir_yaml_get(node, r->key);
		WEIR_AUTO(weir_freep) char *path = weir_xasprintf("%s%s%s", where, *where != '\0' ? "." : "", r->key);

		if (value != NULL)
			verdict_value(v, path, value, r);
		else if (r->is_required)
			weir_sentence(v->problems, "%s: is missing", path);
	}
	if (is_closed)
		verdict_unknown(v, where, node, rules);
}

/* ---- notes ---- */

static bool
verdict_is_date(const char *s)
{
	static const char form[] = "dddd-dd-dd";

	for (size_t i = 0; i < sizeof(form); i++) {
		if (form[i] == 'd' ? s[i] < '0' || s[i] > '9' : s[i] != form[i])
			return false;
	}
	return true;
}

static void
verdict_notes(struct verdict *v, const struct weir_yaml *root)
{
	const struct weir_yaml *links = weir_yaml_get(root, "links"), *dates = weir_yaml_get(root, "dates"), *code = weir_yaml_get(links, "source_code");

	for (size_t i = 0; i < 2; i++) {
		const struct weir_yaml *date = weir_yaml_get(dates, verdict_dates[i].key);

		if (date != NULL && date->kind == WEIR_YAML_TEXT && date->len > 0 && !verdict_is_date(date->text))
			weir_sentence(v->notes, "dates.%s: is no date like 2024-12-31", verdict_dates[i].key);
	}
	if (code != NULL && code->kind == WEIR_YAML_TEXT && strncmp(code->text, "https://", 8) != 0 && strncmp(code->text, "http://", 7) != 0)
		weir_sentence(v->notes, "links.source_code: is no address like https://example.org/code");
}

void
weir_verdict(const struct weir_yaml *root, struct weir_words *problems, struct weir_words *notes)
{
	struct verdict v = {problems, notes};

	if (root == NULL || root->kind == WEIR_YAML_NULL) {
		weir_sentence(problems, "the file is empty");
		return;
	}
	verdict_map(&v, "", root, verdict_root, false);
	for (size_t i = 0; i < WEIR_LEN(verdict_old); i++) {
		if (weir_yaml_get(root, verdict_old[i]) != NULL)
			weir_sentence(problems, "%s: belongs to version 1 of the metadata and must go", verdict_old[i]);
	}
	verdict_notes(&v, root);
}
