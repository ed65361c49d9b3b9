/* SPDX-License-Identifier: Apache-2.0 */
/* A set of path hashes, see retry_list.h. */
#include "config.h"

#include "retry_list.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "../src/util/util.h"

static bool
seen_put(uint64_t *slots, size_t cap, uint64_t h)
{
	size_t i = (size_t)h & (cap - 1);

	for (; slots[i] != 0; i = (i + 1) & (cap - 1)) {
		if (slots[i] == h)
			return false;
	}
	slots[i] = h;
	return true;
}

static void
seen_grow(struct retry_seen *s)
{
	size_t cap = s->cap > 0 ? s->cap * 2 : 256;
	uint64_t *slots = weir_xcalloc(cap, sizeof(*slots));

	for (size_t i = 0; i < s->cap; i++) {
		if (s->slots[i] != 0)
			seen_put(slots, cap, s->slots[i]);
	}
	free(s->slots);
	s->slots = slots;
	s->cap = cap;
}

bool
weir_retry_seen_add(struct retry_seen *s, const char *path)
{
	uint64_t h = XXH3_64bits(path, strlen(path));

	if (s->n * 2 >= s->cap)
		seen_grow(s);
	if (!seen_put(s->slots, s->cap, h != 0 ? h : 1))
		return false;
	s->n++;
	return true;
}

void
weir_retry_seen_free(struct retry_seen *s)
{
	free(s->slots);
	s->slots = NULL;
	s->n = s->cap = 0;
}
