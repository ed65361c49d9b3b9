/* SPDX-License-Identifier: Apache-2.0 */
/* The `fields` parameter: "nextPageToken,files(id,name,capabilities/canEdit)". What it does not name is not told, and a name there is none of is refused, as
 * Google does it. A schema is a mask too, in which "x(*)" takes any name below x. */
#include "config.h"
#include "drive.h"
#include <ctype.h>
#include <string.h>

#define FIELDS_DEEP 16

static struct drive_mask *fields_list(const char **, int deep);

void
drive_mask_free(struct drive_mask *m)
{
	while (m) {
		struct drive_mask *next = m->next;

		drive_mask_free(m->sub);
		free(m->name);
		free(m);
		m = next;
	}
}

/* NULL: bad syntax. */
static struct drive_mask *
fields_item(const char **p, int deep)
{
	struct drive_mask *m;
	size_t n = 0;

	while (isalnum((unsigned char)(*p)[n]) || (*p)[n] == '*' || (*p)[n] == '_' || (*p)[n] == '-')
		n++;
	if (!n || deep > FIELDS_DEEP)
		return NULL;
	m = weir_xcalloc(1, sizeof(*m));
	m->name = weir_xstrndup(*p, n);
	*p += n;
	if (**p != '/' && **p != '(')
		return m;
	if (*(*p)++ == '/') {
		m->sub = fields_item(p, deep + 1);
	} else {
		m->sub = fields_list(p, deep + 1);
		if (m->sub && *(*p)++ != ')') {
			drive_mask_free(m->sub);
			m->sub = NULL;
		}
	}
	if (m->sub)
		return m;
	drive_mask_free(m);
	return NULL;
}

/* "files/id,files/name": one entry with both below it. True: item went into an earlier one. */
static bool
fields_join(struct drive_mask *all, struct drive_mask *item)
{
	struct drive_mask **end;

	while (all != item && strcmp(all->name, item->name) != 0)
		all = all->next;
	if (all == item)
		return false;
	if (!all->sub || !item->sub) {
		drive_mask_free(all->sub);
		all->sub = NULL;
	} else {
		for (end = &all->sub; *end; end = &(*end)->next)
			;
		*end = WEIR_STEAL(item->sub);
	}
	drive_mask_free(item);
	return true;
}

static struct drive_mask *
fields_list(const char **p, int deep)
{
	struct drive_mask *all = NULL, **end = &all;

	for (;;) {
		while (**p == ' ')
			(*p)++;
		*end = fields_item(p, deep);
		if (!*end) {
			drive_mask_free(all);
			return NULL;
		}
		if (fields_join(all, *end))
			*end = NULL;
		else
			end = &(*end)->next;
		while (**p == ' ')
			(*p)++;
		if (**p != ',')
			return all;
		(*p)++;
	}
}

struct drive_mask *
drive_mask_parse(const char *text)
{
	struct drive_mask *m = fields_list(&text, 0);

	if (m && *text) {
		drive_mask_free(m);
		return NULL;
	}
	return m;
}

static const struct drive_mask *
fields_find(const struct drive_mask *m, const char *name)
{
	const struct drive_mask *star = NULL;

	for (; m; m = m->next) {
		if (!strcmp(m->name, name))
			return m;
		if (!strcmp(m->name, "*"))
			star = m;
	}
	return star;
}

static char *
fields_check(const struct drive_mask *m, const struct drive_mask *schema)
{
	for (; m; m = m->next) {
		const struct drive_mask *s = fields_find(schema, m->name);
		char *bad;

		if (!strcmp(m->name, "*") && !m->sub)
			continue;
		if (!s || (m->sub && !s->sub && strcmp(s->name, "*") != 0))
			return weir_xstrdup(m->name);
		if (!m->sub || !s->sub)
			continue;
		bad = fields_check(m->sub, s->sub);
		if (bad)
			return bad;
	}
	return NULL;
}

char *
drive_mask_unknown(const struct drive_mask *m, const char *schema)
{
	struct drive_mask *s = drive_mask_parse(schema);
	char *bad = fields_check(m, s);

	drive_mask_free(s);
	return bad;
}

bool
drive_mask_has(const struct drive_mask *m, const char *name)
{
	return !m || fields_find(m, name);
}

const struct drive_mask *
drive_mask_sub(const struct drive_mask *m, const char *name)
{
	const struct drive_mask *found = m ? fields_find(m, name) : NULL;

	return found ? found->sub : NULL;
}

json_t *
drive_mask_apply(const struct drive_mask *m, json_t *o)
{
	const char *key;
	json_t *v, *out;
	size_t i;

	if (!m || (!json_is_object(o) && !json_is_array(o)))
		return o;
	if (json_is_array(o)) {
		out = json_array();
		json_array_foreach(o, i, v)
			json_array_append_new(out, drive_mask_apply(m, json_incref(v)));
	} else {
		out = json_object();
		json_object_foreach(o, key, v)
			if (drive_mask_has(m, key))
				json_object_set_new(out, key, drive_mask_apply(drive_mask_sub(m, key), json_incref(v)));
	}
	json_decref(o);
	return out;
}
