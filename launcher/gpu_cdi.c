/* SPDX-License-Identifier: Apache-2.0 */
/* Container Device Interface: which device names a container engine would understand here. Of a specification only kind and the names of
 * its devices are read (github.com/cncf-tags/container-device-interface, SPEC.md); JSON is read as the YAML it is. One that cannot be
 * read is passed over, as the engines do. */
#include "config.h"

#include "gpu.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "../src/util/util.h"

#define CDI_FILE_MAX (8u << 20)

static const yaml_node_t *
cdi_get(yaml_document_t *doc, const yaml_node_t *map, const char *key)
{
	if (map == NULL || map->type != YAML_MAPPING_NODE)
		return NULL;
	for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
		const yaml_node_t *k = yaml_document_get_node(doc, p->key);

		if (k->type == YAML_SCALAR_NODE && strcmp((const char *)k->data.scalar.value, key) == 0)
			return yaml_document_get_node(doc, p->value);
	}
	return NULL;
}

static const char *
cdi_text(const yaml_node_t *node)
{
	return node != NULL && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

/* Names reach command lines: those the specification allows, and no others. */
static bool
cdi_is_name(const char *s)
{
	static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-/";

	return s != NULL && *s != '\0' && *s != '-' && s[strspn(s, safe)] == '\0' && strlen(s) < 200;
}

static void
cdi_devices(struct weir_gpus *gpus, yaml_document_t *doc, const char *path)
{
	const yaml_node_t *root = yaml_document_get_root_node(doc);
	const yaml_node_t *list = cdi_get(doc, root, "devices");
	const char *kind = cdi_text(cdi_get(doc, root, "kind"));

	if (kind == NULL || list == NULL || list->type != YAML_SEQUENCE_NODE || (strcmp(kind, "nvidia.com/gpu") != 0 && strcmp(kind, "amd.com/gpu") != 0))
		return;
	for (yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top; i++) {
		const char *name = cdi_text(cdi_get(doc, yaml_document_get_node(doc, *i), "name"));
		WEIR_AUTO(weir_freep) char *whole = weir_xasprintf("%s=%s", kind, name != NULL ? name : "");

		if (!cdi_is_name(name))
			continue;
		weir_words_add(&gpus->cdi, whole);
		if (gpus->cdi_spec == NULL)
			gpus->cdi_spec = weir_xstrdup(path);
	}
}

static void
cdi_read(struct weir_gpus *gpus, const char *path)
{
	WEIR_AUTO(weir_freep) char *text = NULL;
	yaml_parser_t parser;
	yaml_document_t doc;
	size_t len;

	if (weir_read_file(path, CDI_FILE_MAX, &text, &len) != 0 || !yaml_parser_initialize(&parser))
		return;
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	if (yaml_parser_load(&parser, &doc)) {
		cdi_devices(gpus, &doc, path);
		yaml_document_delete(&doc);
	}
	yaml_parser_delete(&parser);
}

void
weir_gpus_cdi(struct weir_gpus *gpus)
{
	static const char *const patterns[] = {"/etc/cdi/*.yaml", "/etc/cdi/*.json", "/var/run/cdi/*.yaml", "/var/run/cdi/*.json"};

	for (size_t i = 0; i < WEIR_LEN(patterns); i++) {
		WEIR_AUTO(weir_freep) char *pattern = weir_gpu_path(patterns[i]);
		glob_t found;

		if (glob(pattern, 0, NULL, &found) != 0)
			continue;
		for (size_t f = 0; f < found.gl_pathc; f++)
			cdi_read(gpus, found.gl_pathv[f]);
		globfree(&found);
	}
}

static const char *
cdi_find(const struct weir_gpus *gpus, const char *name)
{
	for (size_t i = 0; i < gpus->cdi.n; i++) {
		if (strcmp(gpus->cdi.v[i], name) == 0)
			return gpus->cdi.v[i];
	}
	return NULL;
}

/* By UUID where the specification has it: numbers change when a card fails. */
const char *
weir_gpu_cdi(const struct weir_gpus *gpus, const struct weir_gpu *g)
{
	const char *kind = g->vendor == WEIR_GPU_NVIDIA ? "nvidia.com/gpu" : "amd.com/gpu";
	WEIR_AUTO(weir_freep) char *by_uuid = weir_xasprintf("%s=%s", kind, g->uuid);
	WEIR_AUTO(weir_freep) char *by_index = weir_xasprintf("%s=%u", kind, g->index);
	const char *name = g->uuid[0] != '\0' ? cdi_find(gpus, by_uuid) : NULL;

	return name != NULL ? name : cdi_find(gpus, by_index);
}
