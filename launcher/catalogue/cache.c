/* SPDX-License-Identifier: Apache-2.0 */
/* What was fetched, below the user's cache directory: one folder per catalogue, in it index.json (the list, and when each thing was asked for) and
 * NAME.yml for each module as its repository has it. Written by renaming, so two weirs at once do no harm: the later one stays. What is
 * found there is trusted no more than what comes over the network. */
#include "config.h"

#include "impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../src/util/text.h"

#define CACHE_FORMAT 1
#define CACHE_INDEX "index.json"
#define CACHE_INDEX_MAX (8u << 20)
#define CACHE_TEMP_S 3600	/* a clone older than this was left behind */

/* $XDG_CACHE_HOME/weir, ~/.cache/weir; root's is /var/cache/weir, where its other caches are. Owned, or NULL. */
static char *
cache_top(void)
{
	const char *xdg = getenv("XDG_CACHE_HOME");
	WEIR_AUTO(weir_freep) char *home = NULL;

	if (xdg != NULL && xdg[0] == '/')
		return weir_path_join(xdg, "weir");
	if (geteuid() == 0)
		return weir_xstrdup("/var/cache/weir");
	home = weir_path_expand("~", NULL);
	return home != NULL && home[0] == '/' ? weir_path_join(home, ".cache/weir") : NULL;
}

static char *
cache_dir(const char *url)
{
	WEIR_AUTO(weir_freep) char *top = cache_top();
	unsigned char sum[WEIR_SHA256_LEN];
	char hex[2 * WEIR_SHA256_LEN + 1];

	if (top == NULL)
		return NULL;
	weir_sha256(url, strlen(url), sum);
	weir_hex(sum, sizeof(sum), hex);
	return weir_xasprintf("%s/catalogue/%.24s", top, hex);
}

static char *
cache_file(const char *dir, const char *name)
{
	return weir_xasprintf("%s/%s.yml", dir, name);
}

/* ---- load ---- */

static char *
cache_text(const json_t *o, const char *key)
{
	return weir_xstrdup(json_string_value(json_object_get(o, key)));
}

static int64_t
cache_time(const json_t *o, const char *key, int64_t now)
{
	json_int_t t = json_integer_value(json_object_get(o, key));

	/* A clock that was wrong must not keep anything young for ever. */
	return t > 0 && t <= now ? (int64_t)t : 0;
}

static void
cache_read_text(const char *dir, struct weir_entry *e)
{
	WEIR_AUTO(weir_freep) char *path = cache_file(dir, e->name);

	if (weir_read_file(path, WEIR_METADATA_MAX, &e->text, &e->len) == 0)
		return;
	e->text = NULL;
	e->len = 0;
}

static void
cache_entry(const char *dir, const json_t *o, int64_t now, struct weir_entries *out)
{
	const char *name = json_string_value(json_object_get(o, "name"));
	struct weir_entry *e;

	if (name == NULL || weir_entries_find(out, name) != NULL)
		return;
	e = weir_entries_add(out, name);
	e->path = cache_text(o, "path");
	e->url = cache_text(o, "url");
	e->branch = cache_text(o, "branch");
	e->bad = cache_text(o, "bad");
	e->error = cache_text(o, "error");
	e->is_none = json_is_true(json_object_get(o, "none"));
	e->tried_s = cache_time(o, "tried", now);
	if (e->bad != NULL)
		return;
	if (!weir_list_is_name(name)) {
		e->bad = weir_xstrdup("its name in the cache is no module's");
		return;
	}
	cache_read_text(dir, e);
	e->fetched_s = e->text != NULL || e->is_none ? cache_time(o, "fetched", now) : 0;
}

void
weir_cache_load(struct weir_catalogue_cache *cache, const struct weir_catalogue_place *place, struct weir_entries *out)
{
	WEIR_AUTO(weir_freep) char *path = NULL, *text = NULL;
	int64_t now = (int64_t)time(NULL);
	const char *url;
	json_t *index, *o;
	size_t len, i;

	*cache = (struct weir_catalogue_cache){.dir = cache_dir(place->url)};
	if (cache->dir == NULL)
		return;
	path = weir_path_join(cache->dir, CACHE_INDEX);
	if (weir_read_file(path, CACHE_INDEX_MAX, &text, &len) != 0)
		return;
	index = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	url = json_string_value(json_object_get(index, "url"));
	if (url != NULL && strcmp(url, place->url) == 0 && json_integer_value(json_object_get(index, "format")) == CACHE_FORMAT) {
		cache->fetched_s = cache_time(index, "fetched", now);
		cache->tried_s = cache_time(index, "tried", now);
		cache->error = cache_text(index, "error");
		json_array_foreach (json_object_get(index, "modules"), i, o) {
			if (out->n < WEIR_ENTRIES_MAX)
				cache_entry(cache->dir, o, now, out);
		}
	}
	json_decref(index);
}

void
weir_cache_free(struct weir_catalogue_cache *cache)
{
	free(cache->dir);
	free(cache->error);
	*cache = (struct weir_catalogue_cache){0};
}

/* ---- save ---- */

static void
cache_set(json_t *o, const char *key, const char *text)
{
	if (text != NULL)
		json_object_set_new(o, key, json_string(text));
}

static void
cache_set_time(json_t *o, const char *key, int64_t t)
{
	if (t > 0)
		json_object_set_new(o, key, json_integer((json_int_t)t));
}

static json_t *
cache_entry_json(const struct weir_entry *e)
{
	json_t *o = json_object();

	cache_set(o, "name", e->name);
	cache_set(o, "path", e->path);
	cache_set(o, "url", e->url);
	cache_set(o, "branch", e->branch);
	cache_set(o, "bad", e->bad);
	cache_set(o, "error", e->error);
	cache_set_time(o, "fetched", e->fetched_s);
	cache_set_time(o, "tried", e->tried_s);
	if (e->is_none)
		json_object_set_new(o, "none", json_true());
	return o;
}

/* Clones of a weir that was killed. */
static void
cache_sweep(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *de;
	struct stat st;

	while (d != NULL && (de = readdir(d)) != NULL) {
		if (strncmp(de->d_name, "clone.", 6) == 0 && fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode) &&
		    st.st_mtime < time(NULL) - CACHE_TEMP_S)
			weir_git_remove(weir_path_join(dir, de->d_name));
	}
	if (d != NULL)
		closedir(d);
}

void
weir_cache_save(const struct weir_catalogue_cache *cache, const struct weir_catalogue_place *place, const struct weir_entries *entries)
{
	WEIR_AUTO(weir_freep) char *path = NULL, *text = NULL;
	json_t *index, *modules = json_array();

	if (cache->dir == NULL || weir_mkdirs(cache->dir, 0700) != 0) {
		json_decref(modules);
		return;
	}
	for (size_t i = 0; i < entries->n; i++)
		json_array_append_new(modules, cache_entry_json(&entries->v[i]));
	index = json_pack("{s:i, s:s, s:o}", "format", CACHE_FORMAT, "url", place->url, "modules", modules);
	cache_set_time(index, "fetched", cache->fetched_s);
	cache_set_time(index, "tried", cache->tried_s);
	cache_set(index, "error", cache->error);
	path = weir_path_join(cache->dir, CACHE_INDEX);
	text = json_dumps(index, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
	if (text != NULL)
		(void)weir_write_file(path, text, strlen(text));
	json_decref(index);
	cache_sweep(cache->dir);
}

void
weir_cache_put(const struct weir_catalogue_cache *cache, const struct weir_entry *e)
{
	WEIR_AUTO(weir_freep) char *path = NULL;

	if (cache->dir == NULL || !weir_list_is_name(e->name) || weir_mkdirs(cache->dir, 0700) != 0)
		return;
	path = cache_file(cache->dir, e->name);
	if (e->text != NULL)
		(void)weir_write_file(path, e->text, e->len);
	else
		unlink(path);
}
