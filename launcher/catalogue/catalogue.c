/* SPDX-License-Identifier: Apache-2.0 */
/* The door of the catalogue: from an address to modules. */
#include "config.h"

#include "impl.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "../../src/util/clean.h"

struct weir_catalogue {
	struct weir_catalogue_place place;
	struct weir_module **modules;
	size_t n;
	int64_t fetched_s;
	char *word;
};

/* ---- ages ---- */

char *
weir_catalogue_age(int64_t since_s)
{
	static const struct { int64_t s; const char *name; } units[] = {{86400, "day"}, {3600, "hour"}, {60, "minute"}};
	int64_t age = (int64_t)time(NULL) - since_s;

	for (size_t i = 0; i < WEIR_LEN(units); i++) {
		int64_t n = age / units[i].s;

		if (n > 0)
			return weir_xasprintf("%" PRId64 " %s%s ago", n, units[i].name, n == 1 ? "" : "s");
	}
	return weir_xstrdup("just now");
}

/* ---- opening ---- */

static bool
catalogue_is_old(const struct weir_fetch *f)
{
	const struct weir_catalogue_cache *c = f->cache;

	if (f->o->is_forced || c->fetched_s == 0)
		return true;
	if (f->now_s - c->fetched_s < WEIR_CATALOGUE_LIST_AGE_S)
		return false;
	return c->error == NULL || f->now_s - c->tried_s >= WEIR_CATALOGUE_RETRY_S;
}

/* Nobody answers: what is kept, with a word; or nothing. */
static enum weir_code
catalogue_stale(struct weir_fetch *f, enum weir_code r, const struct weir_err *why, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *age = weir_catalogue_age(f->cache->fetched_s);

	if (f->cache->fetched_s == 0 || f->o->is_forced)
		return weir_err_set(err, r, "%s", why->msg);
	f->word = weir_xasprintf("%s; this is what it was %s", why->msg, age);
	return WEIR_OK;
}

static enum weir_code
catalogue_list(struct weir_fetch *f, struct weir_err *err)
{
	struct weir_err why = {0};
	enum weir_code r;

	if (f->place->kind == WEIR_PLACE_FOLDER)
		return WEIR_OK;
	if (f->o->is_offline && f->cache->fetched_s == 0)
		return weir_err_set(err, WEIR_E_NOENT, "nothing of catalogue %s is kept here; run weir modules fetch while there is a network", f->place->url);
	if (f->o->is_offline)
		return WEIR_OK;
	if (!catalogue_is_old(f)) {
		if (f->cache->error == NULL || f->now_s - f->cache->fetched_s < WEIR_CATALOGUE_LIST_AGE_S)
			return WEIR_OK;
		weir_err_set(&why, WEIR_E_NET, "catalogue %s: %s", f->place->url, f->cache->error);
		return catalogue_stale(f, WEIR_E_NET, &why, err);
	}
	r = weir_fetch_list(f, &why);
	return r == WEIR_OK ? WEIR_OK : catalogue_stale(f, r, &why, err);
}

/* A folder is read anew each time; what is not checked out in it is found in the cache, or fetched like any. */
static enum weir_code
catalogue_folder(struct weir_fetch *f, struct weir_err *err)
{
	struct weir_entries folder = {0};
	enum weir_code r = weir_list_folder(f->place, &folder, err);

	for (size_t i = 0; r == WEIR_OK && i < folder.n; i++) {
		struct weir_entry *e = &folder.v[i], *k = weir_entries_find(f->entries, e->name);

		if (e->is_local || e->bad != NULL || k == NULL || k->url == NULL || e->url == NULL || strcmp(k->url, e->url) != 0)
			continue;
		free(e->error);
		e->text = WEIR_STEAL(k->text);
		e->error = WEIR_STEAL(k->error);
		e->len = k->len;
		e->fetched_s = k->fetched_s;
		e->tried_s = k->tried_s;
		e->is_none = k->is_none;
	}
	if (r != WEIR_OK) {
		weir_entries_free(&folder);
		return r;
	}
	weir_entries_free(f->entries);
	*f->entries = folder;
	return WEIR_OK;
}

static enum weir_code
catalogue_entries(struct weir_fetch *f, struct weir_err *err)
{
	int64_t list_s = f->cache->tried_s;
	enum weir_code r = f->place->kind == WEIR_PLACE_FOLDER ? catalogue_folder(f, err) : catalogue_list(f, err);
	bool is_changed;

	if (r == WEIR_OK && !f->o->is_offline)
		r = weir_fetch_metadata(f, err);
	is_changed = f->cache->tried_s != list_s;
	for (size_t i = 0; i < f->entries->n; i++)
		is_changed |= f->entries->v[i].tried_s == f->now_s;
	if (is_changed)
		weir_cache_save(f->cache, f->place, f->entries);
	return r;
}

static int
catalogue_compare(const void *a, const void *b)
{
	const struct weir_module *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static void
catalogue_make(struct weir_catalogue *c, const struct weir_entries *entries, const char *registry)
{
	c->modules = weir_xcalloc(entries->n + 1, sizeof(struct weir_module *));
	for (c->n = 0; c->n < entries->n; c->n++)
		c->modules[c->n] = weir_module_make(&entries->v[c->n], registry);
	if (c->n > 0)
		qsort(c->modules, c->n, sizeof(struct weir_module *), catalogue_compare);
}

enum weir_code
weir_catalogue_open(struct weir_catalogue **out, const struct weir_catalogue_options *o, struct weir_err *err)
{
	struct weir_catalogue *c = weir_xcalloc(1, sizeof(*c));
	struct weir_catalogue_settings settings;
	struct weir_catalogue_cache cache = {0};
	struct weir_entries entries = {0};
	struct weir_fetch f = {.o = o, .place = &c->place, .cache = &cache, .entries = &entries, .now_s = (int64_t)time(NULL)};
	enum weir_code r = weir_settings_read(o->conf, &settings, err);

	f.raw = settings.raw;
	if (r == WEIR_OK) {
		r = weir_place_find(o->url != NULL ? o->url : settings.url != NULL ? settings.url : WEIR_CATALOGUE_DEFAULT, &c->place, err);
		r = r != WEIR_OK ? weir_err_wrap(err, r, "catalogue") : r;
	}
	if (r == WEIR_OK) {
		weir_cache_load(&cache, &c->place, &entries);
		f.getter = weir_getter_new(&settings);
		r = catalogue_entries(&f, err);
		weir_getter_free(f.getter);
	}
	if (r == WEIR_OK) {
		catalogue_make(c, &entries, settings.registry);
		c->fetched_s = c->place.kind == WEIR_PLACE_FOLDER ? 0 : cache.fetched_s;
		c->word = WEIR_STEAL(f.word);
		*out = WEIR_STEAL(c);
	}
	free(f.word);
	weir_cache_free(&cache);
	weir_entries_free(&entries);
	weir_catalogue_free(c);
	return r;
}

void
weir_catalogue_free(struct weir_catalogue *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < c->n; i++)
		weir_module_free(c->modules[i]);
	free(c->modules);
	weir_place_free(&c->place);
	free(c->word);
	free(c);
}

void
weir_catalogue_freep(struct weir_catalogue **c)
{
	weir_catalogue_free(*c);
	*c = NULL;
}

/* ---- looking in ---- */

const char *
weir_catalogue_url(const struct weir_catalogue *c)
{
	return c->place.url;
}

int64_t
weir_catalogue_fetched_s(const struct weir_catalogue *c)
{
	return c->fetched_s;
}

const char *
weir_catalogue_word(const struct weir_catalogue *c)
{
	return c->word;
}

size_t
weir_catalogue_count(const struct weir_catalogue *c)
{
	return c->n;
}

const struct weir_module *
weir_catalogue_at(const struct weir_catalogue *c, size_t i)
{
	return i < c->n ? c->modules[i] : NULL;
}

/* How many letters have to be changed, added, left out or swapped with their neighbour; cut at a few. */
static size_t
catalogue_distance(const char *a, const char *b)
{
	enum { MAX = 64 };
	size_t row[3][MAX + 1], na = strlen(a), nb = strlen(b);

	if (na > MAX || nb > MAX)
		return MAX;
	for (size_t j = 0; j <= nb; j++)
		row[0][j] = j;
	for (size_t i = 1; i <= na; i++) {
		size_t *now = row[i % 3], *up = row[(i + 2) % 3], *up2 = row[(i + 1) % 3];

		now[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			size_t best = up[j - 1] + (a[i - 1] != b[j - 1]);

			best = up[j] + 1 < best ? up[j] + 1 : best;
			best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && up2[j - 2] + 1 < best)
				best = up2[j - 2] + 1;
			now[j] = best;
		}
	}
	return row[na % 3][nb];
}

/* The nearest name, if one is near enough to have been meant. */
static const char *
catalogue_near(const struct weir_catalogue *c, const char *name)
{
	size_t best = 1 + strlen(name) / 4;
	const char *near = NULL;

	for (size_t i = 0; i < c->n; i++) {
		size_t d = catalogue_distance(name, c->modules[i]->name);

		if (d <= best && (near == NULL || d < best)) {
			best = d;
			near = c->modules[i]->name;
		}
	}
	for (size_t i = 0; near == NULL && strlen(name) >= 3 && i < c->n; i++) {
		if (strcasestr(c->modules[i]->name, name) != NULL)
			near = c->modules[i]->name;
	}
	return near;
}

const struct weir_module *
weir_catalogue_find(const struct weir_catalogue *c, const char *name, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *shown = weir_clean(name, strnlen(name, 100), false);
	const struct weir_module *other_case = NULL;
	const char *near;

	for (size_t i = 0; i < c->n; i++) {
		if (strcmp(c->modules[i]->name, name) == 0)
			return c->modules[i];
		if (strcasecmp(c->modules[i]->name, name) == 0)
			other_case = c->modules[i];
	}
	if (other_case != NULL)
		return other_case;
	near = catalogue_near(c, name);
	weir_err_set(err, WEIR_E_NOENT, "catalogue %s has no module '%s'%s%s%s", c->place.url, shown, near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
	    near != NULL ? "'?" : "; weir modules list shows all");
	return NULL;
}
