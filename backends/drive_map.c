/* SPDX-License-Identifier: Apache-2.0 */
/* A fixed number of notes, found by their key, the oldest one overwritten: what an instance remembers for a while. A few hundred hashes are
 * compared faster than a request is written. Knows nothing of Drive. */
#include "config.h"

#include <string.h>

#include "drive_impl.h"

static uint64_t
map_hash(const char *key)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *key != '\0'; key++)
		h = (h ^ (unsigned char)*key) * 0x100000001b3u;
	return h;
}

static void
note_free(struct drive_note *n)
{
	free(n->key);
	free(n->value);
	*n = (struct drive_note){ 0 };
}

void
weir_drive_map_init(struct drive_map *m, size_t size)
{
	*m = (struct drive_map){ weir_xcalloc(size, sizeof(*m->v)), size, 0 };
}

void
weir_drive_map_free(struct drive_map *m)
{
	for (size_t i = 0; i < m->size; i++)
		note_free(&m->v[i]);
	free(m->v);
	*m = (struct drive_map){ 0 };
}

static struct drive_note *
map_find(const struct drive_map *m, const char *key)
{
	uint64_t hash = map_hash(key);

	for (size_t i = 0; i < m->size; i++)
		if (m->v[i].key != NULL && m->v[i].hash == hash && strcmp(m->v[i].key, key) == 0)
			return &m->v[i];
	return NULL;
}

void
weir_drive_map_put(struct drive_map *m, const char *key, const char *value)
{
	struct drive_note *n = map_find(m, key);

	if (n == NULL) {
		n = &m->v[m->next];
		m->next = (m->next + 1) % m->size;
		note_free(n);
		n->hash = map_hash(key);
		n->key = weir_xstrdup(key);
	}
	free(n->value);
	n->value = weir_xstrdup(value);
	n->at_ms = weir_now_ms();
}

char *
weir_drive_map_get(const struct drive_map *m, const char *key, int64_t max_age_ms)
{
	const struct drive_note *n = map_find(m, key);

	return n != NULL && weir_now_ms() - n->at_ms <= max_age_ms ? weir_xstrdup(n->value) : NULL;
}

char *
weir_drive_map_key_of(const struct drive_map *m, const char *value, int64_t max_age_ms)
{
	for (size_t i = 0; i < m->size; i++)
		if (m->v[i].key != NULL && strcmp(m->v[i].value, value) == 0 && weir_now_ms() - m->v[i].at_ms <= max_age_ms)
			return weir_xstrdup(m->v[i].key);
	return NULL;
}

void
weir_drive_map_drop(struct drive_map *m, const char *key)
{
	struct drive_note *n = map_find(m, key);

	if (n != NULL)
		note_free(n);
}

void
weir_drive_map_drop_value(struct drive_map *m, const char *value)
{
	for (size_t i = 0; i < m->size; i++)
		if (m->v[i].key != NULL && strcmp(m->v[i].value, value) == 0)
			note_free(&m->v[i]);
}

void
weir_drive_map_drop_below(struct drive_map *m, const char *path)
{
	size_t n = strlen(path);

	for (size_t i = 0; i < m->size; i++) {
		const char *key = m->v[i].key;

		if (key != NULL && strncmp(key, path, n) == 0 && (key[n] == '\0' || key[n] == '/' || n == 0))
			note_free(&m->v[i]);
	}
}

char **
weir_drive_map_values(const struct drive_map *m, const char *prefix, int64_t max_age_ms)
{
	char **v = weir_xcalloc(m->size + 1, sizeof(*v));
	size_t n = 0, len = strlen(prefix);

	for (size_t i = 0; i < m->size; i++)
		if (m->v[i].key != NULL && strncmp(m->v[i].key, prefix, len) == 0 && weir_now_ms() - m->v[i].at_ms <= max_age_ms)
			v[n++] = weir_xstrdup(m->v[i].value);
	return v;
}
