/* SPDX-License-Identifier: Apache-2.0 */
/* An entry's text -> struct weir_module. What can be read is taken over whatever the verdict says. */
#include "config.h"

#include "impl.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "../../src/util/clean.h"
#include "verdict.h"
#include "yaml.h"

#define MODULE_LINKS_MAX 64

/* ---- texts ---- */

/* A text, or a word that was read as a date or a number and surely meant as one. NULL: none. Owned. */
static char *
module_text(const struct weir_yaml *map, const char *key, bool has_lines)
{
	const struct weir_yaml *node = weir_yaml_get(map, key);
	char *text;

	if (node == NULL || node->text == NULL || node->kind == WEIR_YAML_NULL || node->kind == WEIR_YAML_OTHER)
		return NULL;
	text = weir_clean(node->text, node->len, has_lines);
	if (*text == '\0')
		free(WEIR_STEAL(text));
	return text;
}

static char *
module_text_or(const struct weir_yaml *map, const char *key, const char *other, bool has_lines)
{
	char *text = module_text(map, key, has_lines);

	return text != NULL ? text : weir_xstrdup(other);
}

static void
module_words(struct weir_words *out, const struct weir_yaml *map, const char *key)
{
	const struct weir_yaml *list = weir_yaml_get(map, key);

	for (size_t i = 0; list != NULL && list->kind == WEIR_YAML_LIST && i < list->n; i++) {
		WEIR_AUTO(weir_freep) char *text = NULL;

		if (list->items[i]->kind != WEIR_YAML_TEXT)
			continue;
		text = weir_clean(list->items[i]->text, list->items[i]->len, false);
		if (*text != '\0')
			weir_words_add(out, text);
	}
}

static void
module_links(struct weir_module *m, const struct weir_yaml *links)
{
	for (size_t i = 0; links != NULL && links->kind == WEIR_YAML_MAP && i < links->n && m->nlinks < MODULE_LINKS_MAX; i++) {
		const struct weir_yaml_pair *p = &links->pairs[i];
		struct weir_module_link link;

		if (p->key->kind != WEIR_YAML_TEXT || p->value->kind != WEIR_YAML_TEXT)
			continue;
		link = (struct weir_module_link){weir_clean(p->key->text, p->key->len, false), weir_clean(p->value->text, p->value->len, false)};
		if (*link.name == '\0' || *link.url == '\0') {
			free(link.name);
			free(link.url);
			continue;
		}
		m->links = weir_xrealloc(m->links, m->nlinks + 1, sizeof(*m->links));
		m->links[m->nlinks++] = link;
	}
}

/* ---- resources ---- */

static double
module_number(const struct weir_yaml *map, const char *key)
{
	const struct weir_yaml *node = weir_yaml_get(map, key);

	if (node == NULL || (node->kind != WEIR_YAML_INT && node->kind != WEIR_YAML_REAL) || !(node->number >= 0))
		return -1;
	return node->number;
}

static int64_t
module_integer(const struct weir_yaml *map, const char *key)
{
	double n = module_number(map, key);

	if (n < 0 || n != (double)(int64_t)(n < 1e15 ? n : 1e15))
		return n >= 1e15 ? (int64_t)1000000000000000 : -1;
	return (int64_t)n;
}

static void
module_resources(struct weir_module_resources *r, const struct weir_yaml *map)
{
	r->is_said = map != NULL && map->kind == WEIR_YAML_MAP;
	r->cpu = module_integer(map, "cpu");
	r->gpu = module_integer(map, "gpu");
	r->memory_mb = module_integer(map, "memory_MB");
	r->gpu_memory_mb = module_integer(map, "gpu_memory_MB");
	r->storage_mb = module_integer(map, "storage_MB");
	r->gpu_compute_capability = module_number(map, "gpu_compute_capability");
	r->cpu_architecture = module_text(map, "cpu_architecture", false);
}

/* ---- image ---- */

/* "https://hub.example/r/OWNER/NAME" -> "OWNER/NAME"; anything without a scheme stays whole. Owned. */
static char *
module_image_path(const char *text)
{
	static const char *const schemes[] = {"https://", "http://", "docker://"};
	const char *p = text, *part = NULL, *before = NULL;
	size_t n;

	for (size_t i = 0; i < WEIR_LEN(schemes); i++) {
		if (strncasecmp(text, schemes[i], strlen(schemes[i])) == 0)
			p = text + strlen(schemes[i]);
	}
	p += strspn(p, "/ ");
	n = p != text ? strcspn(p, "?# ") : strlen(p);
	while (n > 0 && (p[n - 1] == '/' || p[n - 1] == ' '))
		n--;
	if (p == text || strncasecmp(text, "docker://", 9) == 0)
		return weir_xstrndup(p, n);
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '/') {
			before = part;
			part = p + i + 1;
		}
	}
	/* host/a/b: two parts after the host at least */
	return before != NULL ? weir_xstrndup(before, (size_t)(p + n - before)) : weir_xstrndup(p, n);
}

static bool
module_has_registry(const char *image)
{
	size_t n = strcspn(image, "/");

	return image[n] == '/' && (memchr(image, '.', n) != NULL || memchr(image, ':', n) != NULL || (n == 9 && strncmp(image, "localhost", 9) == 0));
}

/* The platform's own images are all in one place; metadata that names one by its last part alone means that. */
static bool
module_is_bare(const struct weir_module *m, const char *image)
{
	static const char *const homes[] = {"https://github.com/ai4os-hub/", "https://github.com/ai4os/", "https://github.com/deephdc/"};

	for (size_t i = 0; m->source != NULL && i < WEIR_LEN(homes); i++) {
		if (strncasecmp(m->source, homes[i], strlen(homes[i])) == 0)
			return strchr(image, '/') == NULL;
	}
	return false;
}

static void
module_image(struct weir_module *m, const struct weir_yaml *links, const char *registry)
{
	WEIR_AUTO(weir_freep) char *text = module_text(links, "docker_image", false), *image = NULL, *shown = NULL;

	if (text == NULL) {
		weir_sentence(&m->notes, "links.docker_image: names no image: it can be run only with one given by hand");
		return;
	}
	image = module_image_path(text);
	if (module_is_bare(m, image)) {
		char *whole = weir_xasprintf("ai4oshub/%s", image);

		free(image);
		image = whole;
	}
	if (!weir_image_is_good(image)) {
		shown = weir_cut_columns(text, 80);
		weir_sentence(&m->notes, "links.docker_image: '%s' is no image reference", shown);
	} else if (registry != NULL && *registry != '\0' && !module_has_registry(image))
		m->image = weir_xasprintf("%s/%s", registry, image);
	else
		m->image = WEIR_STEAL(image);
}

/* ---- the whole ---- */

static void
module_fill(struct weir_module *m, const struct weir_yaml *root, const char *registry)
{
	const struct weir_yaml *links = weir_yaml_get(root, "links"), *dates = weir_yaml_get(root, "dates"), *resources = weir_yaml_get(root, "resources");

	m->title = module_text_or(root, "title", m->name, false);
	m->summary = module_text_or(root, "summary", "", false);
	m->description = module_text_or(root, "description", "", true);
	m->metadata_version = module_text(root, "metadata_version", false);
	m->license = module_text(root, "license", false);
	m->doi = module_text(root, "doi", false);
	m->created = module_text(dates, "created", false);
	m->updated = module_text(dates, "updated", false);
	module_words(&m->libraries, root, "libraries");
	module_words(&m->tasks, root, "tasks");
	module_words(&m->categories, root, "categories");
	module_words(&m->data_types, root, "data-type");
	module_words(&m->tags, root, "tags");
	module_links(m, links);
	module_resources(&m->inference, weir_yaml_get(resources, "inference"));
	module_resources(&m->training, weir_yaml_get(resources, "training"));
	if (root != NULL && root->kind == WEIR_YAML_MAP)
		module_image(m, links, registry);
}

/* Verdict and content. doc stays the caller's. */
static void
module_read(struct weir_module *m, const char *text, size_t len, struct weir_yaml_doc *doc)
{
	struct weir_err err = {0};
	WEIR_AUTO(weir_freep) char *why = NULL;

	if (weir_yaml_parse(text, len, doc, &err) == WEIR_OK) {
		weir_verdict(doc->root, &m->problems, &m->notes);
		return;
	}
	why = weir_clean(err.msg, strlen(err.msg), false);
	weir_sentence(&m->problems, "the file is no YAML: %s", why);
}

struct weir_module *
weir_module_make(const struct weir_entry *e, const char *registry)
{
	struct weir_module *m = weir_xcalloc(1, sizeof(*m));
	struct weir_yaml_doc doc = {0};

	m->name = weir_xstrdup(e->name);
	m->source = weir_xstrdup(e->url);
	m->branch = weir_xstrdup(e->branch);
	m->fetched_s = e->is_local ? 0 : e->fetched_s;
	m->is_missing = e->bad != NULL || e->text == NULL;
	if (e->bad != NULL)
		weir_sentence(&m->problems, "%s", e->bad);
	else if (e->text != NULL)
		module_read(m, e->text, e->len, &doc);
	else if (e->is_none || e->is_local)
		weir_sentence(&m->problems, "%s", e->error != NULL ? e->error : "it has no metadata");
	else if (e->error != NULL)
		weir_sentence(&m->problems, "its metadata could not be fetched: %s", e->error);
	else
		weir_sentence(&m->problems, "its metadata has not been fetched yet");
	module_fill(m, doc.root, registry);
	weir_yaml_free(&doc);
	m->is_invalid = m->problems.n > 0;
	return m;
}

static void
module_free_resources(struct weir_module_resources *r)
{
	free(r->cpu_architecture);
}

void
weir_module_free(struct weir_module *m)
{
	if (m == NULL)
		return;
	char *const texts[] = {m->name, m->title, m->summary, m->description, m->metadata_version, m->license, m->doi, m->created, m->updated, m->image, m->source, m->branch};
	struct weir_words *const words[] = {&m->libraries, &m->tasks, &m->categories, &m->data_types, &m->tags, &m->problems, &m->notes};

	for (size_t i = 0; i < WEIR_LEN(texts); i++)
		free(texts[i]);
	for (size_t i = 0; i < WEIR_LEN(words); i++)
		weir_words_free(words[i]);
	for (size_t i = 0; i < m->nlinks; i++) {
		free(m->links[i].name);
		free(m->links[i].url);
	}
	free(m->links);
	module_free_resources(&m->inference);
	module_free_resources(&m->training);
	free(m);
}

bool
weir_metadata_check(const char *text, size_t len, struct weir_words *problems, struct weir_words *notes)
{
	struct weir_entry e = {.name = (char *)(uintptr_t)"-", .text = (char *)(uintptr_t)text, .len = len};
	struct weir_module *m = weir_module_make(&e, NULL);
	bool is_valid = !m->is_invalid;

	for (size_t i = 0; problems != NULL && i < m->problems.n; i++)
		weir_words_add(problems, m->problems.v[i]);
	for (size_t i = 0; notes != NULL && i < m->notes.n; i++)
		weir_words_add(notes, m->notes.v[i]);
	weir_module_free(m);
	return is_valid;
}
