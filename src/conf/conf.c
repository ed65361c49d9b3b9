/* SPDX-License-Identifier: Apache-2.0 */
/* weir.conf: text -> struct weir_conf. Line by line first (each entry has its setter), then what only the whole can tell: types and
 * their keys, the namespace. Must not know a storage: their names and keys come from the caller. */
#include "config.h"

#include "section.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../util/ini.h"
#include "../util/text.h"
#include "../util/util.h"

#ifndef WEIR_SYSCONFDIR
#define WEIR_SYSCONFDIR "/etc"
#endif
#define CONF_MAX (1u << 20)
#define CONF_NAME_MAX 64

/* --- values --- */

static enum weir_code
conf_text(const char *v, void *out, struct weir_err *err)
{
	char *s;

	if (*v == '\0')
		return weir_err_set(err, WEIR_E_CONFIG, "a value is missing");
	s = weir_path_expand(v, err);
	if (s == NULL)
		return WEIR_E_CONFIG;
	free(*(char **)out);
	*(char **)out = s;
	return WEIR_OK;
}

static enum weir_code
conf_size(const char *v, void *out, struct weir_err *err)
{
	if (weir_size_parse(v, out) < 0)
		return weir_err_set(err, WEIR_E_CONFIG, "'%.64s' is no size; sizes look like 500GB, 2TB or 200GiB", v);
	return WEIR_OK;
}

static enum weir_code
conf_rate(const char *v, void *out, struct weir_err *err)
{
	size_t n = strlen(v);
	WEIR_AUTO(weir_freep) char *s = weir_xstrndup(v, n > 2 && strcmp(v + n - 2, "/s") == 0 ? n - 2 : n);

	if (weir_size_parse(s, out) < 0)
		return weir_err_set(err, WEIR_E_CONFIG, "'%.64s' is no bandwidth; write bytes a second, like 10MB", v);
	return WEIR_OK;
}

static enum weir_code
conf_time(const char *v, void *out, struct weir_err *err)
{
	int64_t ms;

	if (weir_duration_parse(v, &ms) < 0)
		return weir_err_set(err, WEIR_E_CONFIG, "'%.64s' is no time; times look like 30s, 5min or 1h", v);
	*(int64_t *)out = ms;
	return WEIR_OK;
}

static enum weir_code
conf_span(const char *v, void *out, struct weir_err *err)
{
	enum weir_code r = conf_time(v, out, err);

	if (r == WEIR_OK && *(int64_t *)out < 1)
		return weir_err_set(err, WEIR_E_CONFIG, "a time of 0 is too short");
	return r;
}

static enum weir_code
conf_yesno(const char *v, void *out, struct weir_err *err)
{
	static const char *const yes[] = {"yes", "true", "on", "1"}, *const no[] = {"no", "false", "off", "0"};

	for (size_t i = 0; i < WEIR_LEN(yes); i++) {
		if (strcasecmp(v, yes[i]) == 0 || strcasecmp(v, no[i]) == 0) {
			*(bool *)out = strcasecmp(v, yes[i]) == 0;
			return WEIR_OK;
		}
	}
	return weir_err_set(err, WEIR_E_CONFIG, "'%.64s' is neither yes nor no", v);
}

static enum weir_code
conf_write(const char *v, void *out, struct weir_err *err)
{
	if (strcmp(v, "back") != 0 && strcmp(v, "through") != 0)
		return weir_err_set(err, WEIR_E_CONFIG, "'%.64s' is neither back nor through", v);
	*(bool *)out = strcmp(v, "through") == 0;
	return WEIR_OK;
}

/* Keys that mean the same for all storages; the rest of [remote] belongs to its type. */
struct conf_key {
	const char *name;
	enum weir_code (*set)(const char *value, void *out, struct weir_err *);
	size_t off;
};

static const struct conf_key conf_weir_keys[] = {
    {"cache_dir", conf_text, offsetof(struct weir_conf, cache_dir)},
    {"cache_size", conf_size, offsetof(struct weir_conf, cache_bytes)},
    {"quota", conf_size, offsetof(struct weir_conf, quota_bytes)},
    {"xattr", conf_yesno, offsetof(struct weir_conf, xattr)},
    {"mountpoint", conf_text, offsetof(struct weir_conf, mountpoint)},
};
static const struct conf_key conf_remote_keys[] = {
    {"type", conf_text, offsetof(struct weir_remote_conf, type)},
    {"quota", conf_size, offsetof(struct weir_remote_conf, quota_bytes)},
    {"write", conf_write, offsetof(struct weir_remote_conf, is_through)},
    {"read_only", conf_yesno, offsetof(struct weir_remote_conf, is_readonly)},
    {"bandwidth_up", conf_rate, offsetof(struct weir_remote_conf, bandwidth_up)},
    {"bandwidth_down", conf_rate, offsetof(struct weir_remote_conf, bandwidth_down)},
    {"timeout", conf_span, offsetof(struct weir_remote_conf, timeout_ms)},
    {"patience", conf_span, offsetof(struct weir_remote_conf, patience_ms)},
    {"list_age", conf_time, offsetof(struct weir_remote_conf, list_age_ms)},
    {"proxy", conf_text, offsetof(struct weir_remote_conf, proxy)},
    {"ca_file", conf_text, offsetof(struct weir_remote_conf, ca_file)},
};

/* --- reading, entry by entry --- */

struct conf_reader {
	struct weir_conf *conf;
	const char *name;
	const struct weir_conf_type *types;
	size_t ntypes;
	int weir_lines[WEIR_LEN(conf_weir_keys)];	/* where a key of [weir] was met; 0: not yet */
	int remote_lines[WEIR_LEN(conf_remote_keys)];	/* the same for the remote being read */
	bool has_secret;				/* one stands in the clear */
};

static enum weir_code
conf_table(struct conf_reader *rd, const struct conf_key *keys, size_t n, int *lines, void *base, const struct weir_ini_entry *e,
    bool *is_known, struct weir_err *err)
{
	struct weir_err why = {0};
	enum weir_code r;

	*is_known = false;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(e->key, keys[i].name) != 0)
			continue;
		*is_known = true;
		if (lines[i] != 0)
			return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: '%s' stands in line %d already", rd->name, e->line, e->key, lines[i]);
		lines[i] = e->line;
		r = keys[i].set(e->value, (char *)base + keys[i].off, &why);
		if (r != WEIR_OK)
			return weir_err_set(err, r, "%s:%d: %s: %.300s", rd->name, e->line, e->key, why.msg);
	}
	return WEIR_OK;
}

bool
weir_conf_name_is_good(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n > CONF_NAME_MAX || strcmp(s, ".") == 0 || strcmp(s, "..") == 0)
		return false;
	return s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")] == '\0';
}

static enum weir_code
conf_new_remote(struct conf_reader *rd, const struct weir_ini_entry *e, struct weir_err *err)
{
	struct weir_conf *c = rd->conf;
	const struct weir_remote_conf *twin = weir_conf_remote(c, e->label);
	struct weir_remote_conf *r;

	if (!weir_conf_name_is_good(e->label))
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: [remote NAME] needs a name of letters, digits, '-', '_' and '.'", rd->name, e->line);
	if (twin != NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: remote '%s' stands in line %d already", rd->name, e->line, e->label, twin->line);
	c->remotes = weir_xrealloc(c->remotes, c->nremotes + 1, sizeof(*c->remotes));
	r = &c->remotes[c->nremotes++];
	*r = (struct weir_remote_conf){.name = weir_xstrdup(e->label), .line = e->line, .timeout_ms = 30000, .patience_ms = 300000,
	    .list_age_ms = 30000, .conf = c};
	memset(rd->remote_lines, 0, sizeof(rd->remote_lines));
	return WEIR_OK;
}

/* Expanded later, when the type has told which keys are secrets. */
static enum weir_code
conf_remote_entry(struct conf_reader *rd, const struct weir_ini_entry *e, struct weir_err *err)
{
	struct weir_remote_conf *r = &rd->conf->remotes[rd->conf->nremotes - 1];
	bool is_known;
	enum weir_code code;

	code = conf_table(rd, conf_remote_keys, WEIR_LEN(conf_remote_keys), rd->remote_lines, r, e, &is_known, err);
	if (code != WEIR_OK || is_known)
		return code;
	for (size_t i = 0; i < r->nkv; i++) {
		if (strcmp(r->kv[i].key, e->key) == 0)
			return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: '%s' stands in line %d already", rd->name, e->line, e->key, r->kv[i].line);
	}
	r->kv = weir_xrealloc(r->kv, r->nkv + 1, sizeof(*r->kv));
	r->kv[r->nkv++] = (struct weir_kv){weir_xstrdup(e->key), weir_xstrdup(e->value), e->line};
	return WEIR_OK;
}

/* Cuts slashes on both ends and doubled ones; NULL when a component is "." or "..". Owned. */
static char *
conf_clean_path(const char *s)
{
	char *out = weir_xcalloc(strlen(s) + 1, 1);
	size_t n = 0;

	while (*s != '\0') {
		size_t len = strcspn(s, "/");

		if ((len == 1 && s[0] == '.') || (len == 2 && s[0] == '.' && s[1] == '.')) {
			free(out);
			return NULL;
		}
		if (len > 0) {
			if (n > 0)
				out[n++] = '/';
			memcpy(out + n, s, len);
			n += len;
		}
		s += len + (s[len] == '/');
	}
	return out;
}

/* "REMOTE" or "REMOTE:FOLDER" of so many bytes; spaces around it do not count. */
static enum weir_code
conf_add_place(struct conf_reader *rd, struct weir_bind *b, const char *text, size_t len, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *place = NULL, *folder = NULL;
	char *colon;

	for (; len > 0 && (text[0] == ' ' || text[0] == '\t'); text++, len--)
		;
	while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
		len--;
	place = weir_xstrndup(text, len);
	colon = strchr(place, ':');
	if (*place == '\0' || colon == place)
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: '%s' needs %s", rd->name, b->line, b->path,
		    b->is_pool ? "pool(REMOTE:FOLDER, REMOTE:FOLDER)" : "REMOTE or REMOTE:FOLDER");
	folder = conf_clean_path(colon != NULL ? colon + 1 : "");
	if (folder == NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: a folder in a remote has no '.' or '..'", rd->name, b->line);
	if (colon != NULL)
		*colon = '\0';
	b->places = weir_xrealloc(b->places, b->nplaces + 1, sizeof(*b->places));
	b->places[b->nplaces++] = (struct weir_place){.remote = WEIR_STEAL(place), .folder = WEIR_STEAL(folder)};
	return WEIR_OK;
}

static const char *const conf_policies[] = {
    [WEIR_POOL_FIRST] = "first", [WEIR_POOL_MOST_FREE] = "most-free", [WEIR_POOL_SIBLINGS] = "siblings",
};

const char *
weir_conf_policy(enum weir_pool_policy p)
{
	return conf_policies[p];
}

/* "policy=most-free" or "reserve=10GB", after a semicolon. */
static enum weir_code
conf_pool_option(struct conf_reader *rd, struct weir_bind *b, const char *text, size_t len, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *option = NULL;

	for (; len > 0 && (text[0] == ' ' || text[0] == '\t'); text++, len--)
		;
	while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
		len--;
	option = weir_xstrndup(text, len);
	if (strncmp(option, "reserve=", 8) == 0) {
		if (weir_size_parse(option + 8, &b->reserve_bytes) < 0 || b->reserve_bytes == UINT64_MAX)
			return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: '%.64s' is no size; sizes look like 500MB or 10GiB", rd->name, b->line, option + 8);
		return WEIR_OK;
	}
	for (size_t i = 0; i < WEIR_LEN(conf_policies); i++) {
		if (strncmp(option, "policy=", 7) == 0 && strcmp(option + 7, conf_policies[i]) == 0) {
			b->policy = (enum weir_pool_policy)i;
			return WEIR_OK;
		}
	}
	return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: a pool knows policy=first, policy=most-free, policy=siblings and reserve=SIZE, not '%.64s'",
	    rd->name, b->line, option);
}

/* pool(share:data, lab:data; policy=most-free; reserve=10GB) */
static enum weir_code
conf_pool(struct conf_reader *rd, struct weir_bind *b, const char *value, struct weir_err *err)
{
	const char *p = value + strlen("pool("), *end = value + strlen(value) - 1;
	enum weir_code r = WEIR_OK;
	bool is_option = false;

	b->is_pool = true;
	b->reserve_bytes = UINT64_MAX;
	if (*end != ')')
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: the pool does not end with ')'", rd->name, b->line);
	for (;;) {
		size_t len = strcspn(p, is_option ? ";" : ",;");

		if (len > (size_t)(end - p))
			len = (size_t)(end - p);
		r = is_option ? conf_pool_option(rd, b, p, len, err) : conf_add_place(rd, b, p, len, err);
		if (r != WEIR_OK || p + len >= end)
			return r;
		is_option |= p[len] == ';';
		p += len + 1;
		if (b->nplaces == WEIR_POOL_MAX && !is_option)
			return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: a pool has at most %u members", rd->name, b->line, WEIR_POOL_MAX);
	}
}

static enum weir_code
conf_bind(struct conf_reader *rd, const struct weir_ini_entry *e, struct weir_err *err)
{
	struct weir_conf *c = rd->conf;
	WEIR_AUTO(weir_freep) char *path = conf_clean_path(e->key);
	struct weir_bind *b;

	if (e->key[0] != '/' || path == NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: '%.64s' is no path like /datasets", rd->name, e->line, e->key);
	c->binds = weir_xrealloc(c->binds, c->nbinds + 1, sizeof(*c->binds));
	b = &c->binds[c->nbinds++];
	*b = (struct weir_bind){.path = weir_xasprintf("/%s", path), .line = e->line};
	if (strncmp(e->value, "pool(", 5) == 0)
		return conf_pool(rd, b, e->value, err);
	return conf_add_place(rd, b, e->value, strlen(e->value), err);
}

static enum weir_code
conf_entry(void *arg, const struct weir_ini_entry *e, struct weir_err *err)
{
	struct conf_reader *rd = arg;
	bool is_weir = strcmp(e->section, "weir") == 0, is_remote = strcmp(e->section, "remote") == 0;
	bool is_namespace = strcmp(e->section, "namespace") == 0, is_known;
	enum weir_code r;

	if (weir_section_is_known(e->section))
		return weir_section_entry(rd->conf, rd->name, e, err);
	if (!is_weir && !is_remote && !is_namespace)
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: unknown section [%.64s]; there are [weir], [remote NAME], [namespace] and others: see weir.conf(5)",
		    rd->name, e->line, e->section);
	if (!is_remote && *e->label != '\0')
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: [%s] takes no name", rd->name, e->line, e->section);
	if (e->key == NULL)
		return is_remote ? conf_new_remote(rd, e, err) : WEIR_OK;
	if (is_remote)
		return conf_remote_entry(rd, e, err);
	if (is_namespace)
		return conf_bind(rd, e, err);
	r = conf_table(rd, conf_weir_keys, WEIR_LEN(conf_weir_keys), rd->weir_lines, rd->conf, e, &is_known, err);
	if (r == WEIR_OK && !is_known)
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: unknown key '%.64s' in [weir]", rd->name, e->line, e->key);
	return r;
}

/* --- what only the whole can tell --- */

static const struct weir_conf_type *
conf_type(const struct conf_reader *rd, const char *name)
{
	for (size_t i = 0; i < rd->ntypes; i++) {
		if (strcmp(rd->types[i].name, name) == 0)
			return &rd->types[i];
	}
	return NULL;
}

static bool
conf_type_has(const struct weir_conf_type *t, const char *key)
{
	for (const char *const *k = t->keys; *k != NULL; k++) {
		if (strcmp(*k, key) == 0)
			return true;
	}
	return false;
}

/* What has a KEY_file beside it is a secret. */
static bool
conf_is_secret(const struct weir_conf_type *t, const char *key)
{
	WEIR_AUTO(weir_freep) char *as_file = weir_xasprintf("%s_file", key);

	return conf_type_has(t, as_file);
}

static bool
conf_is_command(const char *key)
{
	size_t n = strlen(key);

	return n > 8 && strcmp(key + n - 8, "_command") == 0;
}

/* https://user:password@host */
static bool
conf_url_has_secret(const char *v)
{
	const char *host = strstr(v, "://"), *at, *colon;

	if (host == NULL)
		return false;
	host += 3;
	at = memchr(host, '@', strcspn(host, "/?#"));
	colon = at != NULL ? memchr(host, ':', (size_t)(at - host)) : NULL;
	return colon != NULL && colon + 1 < at;
}

/* Secrets and commands mean themselves: a password may start with ~ or hold a $, and sh expands its own. */
static enum weir_code
conf_settle_value(struct conf_reader *rd, const struct weir_remote_conf *r, const struct weir_conf_type *t, struct weir_kv *kv,
    struct weir_err *err)
{
	struct weir_err why = {0};
	char *v;

	if (!conf_type_has(t, kv->key))
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: remote '%s': unknown key '%.64s' for type %s", rd->name, kv->line, r->name, kv->key,
		    r->type);
	if (conf_is_secret(t, kv->key)) {
		rd->has_secret = true;
		return WEIR_OK;
	}
	if (conf_is_command(kv->key))
		return WEIR_OK;
	v = weir_path_expand(kv->value, &why);
	if (v == NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: remote '%s': %s: %.200s", rd->name, kv->line, r->name, kv->key, why.msg);
	free(kv->value);
	kv->value = v;
	rd->has_secret |= conf_url_has_secret(v);
	return WEIR_OK;
}

static enum weir_code
conf_settle_remote(struct conf_reader *rd, struct weir_remote_conf *r, struct weir_err *err)
{
	const struct weir_conf_type *t;
	enum weir_code code;

	if (r->type == NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: remote '%s' needs 'type'", rd->name, r->line, r->name);
	t = conf_type(rd, r->type);
	if (t == NULL) {
		WEIR_AUTO(weir_buf_free) struct weir_buf known = WEIR_BUF(256);

		for (size_t i = 0; i < rd->ntypes; i++)
			weir_buf_addf(&known, "%s%s", i > 0 ? ", " : "", rd->types[i].name);
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: remote '%s': unknown type '%.64s'; there are %s", rd->name, r->line, r->name,
		    r->type, weir_buf_str(&known));
	}
	for (size_t i = 0; i < r->nkv; i++) {
		code = conf_settle_value(rd, r, t, &r->kv[i], err);
		if (code != WEIR_OK)
			return code;
	}
	rd->has_secret |= r->proxy != NULL && conf_url_has_secret(r->proxy);
	return WEIR_OK;
}

/* Is b the folder a, or below it? */
static bool
conf_is_below(const char *a, const char *b)
{
	size_t n = strlen(a);

	return n == 0 || (strncmp(a, b, n) == 0 && (b[n] == '\0' || b[n] == '/'));
}

bool
weir_conf_overlap(const struct weir_place *a, const struct weir_place *b)
{
	return strcmp(a->remote, b->remote) == 0 && (conf_is_below(a->folder, b->folder) || conf_is_below(b->folder, a->folder));
}

static enum weir_code
conf_check_places(const struct conf_reader *rd, const struct weir_bind *b, struct weir_err *err)
{
	for (size_t i = 0; i < b->nplaces; i++) {
		if (weir_conf_remote(rd->conf, b->places[i].remote) == NULL)
			return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: there is no [remote %.64s]", rd->name, b->line, b->places[i].remote);
		for (size_t k = 0; k < i; k++) {
			if (weir_conf_overlap(&b->places[k], &b->places[i]))
				return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: '%.64s:%.64s' and '%.64s:%.64s' put the same files into the pool twice",
				    rd->name, b->line, b->places[k].remote, b->places[k].folder, b->places[i].remote, b->places[i].folder);
		}
	}
	return WEIR_OK;
}

static enum weir_code
conf_check_bind(const struct conf_reader *rd, const struct weir_bind *b, struct weir_err *err)
{
	enum weir_code r = conf_check_places(rd, b, err);

	for (const struct weir_bind *a = rd->conf->binds; r == WEIR_OK && a < b; a++) {
		if (strcmp(a->path, b->path) == 0)
			return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: '%.64s' stands in line %d already", rd->name, b->line, b->path, a->line);
		if (!a->is_pool && !b->is_pool && weir_conf_overlap(a->places, b->places))
			return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: '%.64s:%.64s' and line %d show the same files twice", rd->name, b->line,
			    b->places->remote, b->places->folder, a->line);
	}
	return r;
}

static enum weir_code
conf_settle_namespace(struct conf_reader *rd, struct weir_err *err)
{
	struct weir_conf *c = rd->conf;

	for (size_t i = 0; i < c->nbinds; i++) {
		enum weir_code r = conf_check_bind(rd, &c->binds[i], err);

		if (r != WEIR_OK)
			return r;
	}
	if (c->nbinds > 0 || c->nremotes == 0)
		return WEIR_OK;
	c->binds = weir_xcalloc(c->nremotes, sizeof(*c->binds));
	for (c->nbinds = 0; c->nbinds < c->nremotes; c->nbinds++) {
		struct weir_remote_conf *r = &c->remotes[c->nbinds];

		c->binds[c->nbinds] = (struct weir_bind){.path = weir_xasprintf("/%s", r->name), .nplaces = 1, .line = r->line};
		c->binds[c->nbinds].places = weir_xcalloc(1, sizeof(struct weir_place));
		*c->binds[c->nbinds].places = (struct weir_place){.remote = weir_xstrdup(r->name), .folder = weir_xstrdup("")};
	}
	return WEIR_OK;
}

/* Homes are shared between hosts, a cache is not: hence the host's name. */
static enum weir_code
conf_settle_cache_dir(struct conf_reader *rd, struct weir_err *err)
{
	struct weir_conf *c = rd->conf;
	WEIR_AUTO(weir_freep) char *text = NULL;
	char host[HOST_NAME_MAX + 1] = "localhost";

	if (c->cache_dir != NULL && c->cache_dir[0] != '/')
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: cache_dir: '%.200s' is not absolute", rd->name, rd->weir_lines[0], c->cache_dir);
	if (c->cache_dir != NULL)
		return WEIR_OK;
	if (geteuid() == 0) {
		c->cache_dir = weir_xasprintf("/var/cache/weir/%s", c->name);
		return WEIR_OK;
	}
	gethostname(host, sizeof(host) - 1);
	text = weir_xasprintf("/.cache/weir/%s-%s", host, c->name);
	c->cache_dir = weir_path_expand("~", err);
	if (c->cache_dir == NULL)
		return WEIR_E_CONFIG;
	c->cache_dir = weir_xrealloc(c->cache_dir, strlen(c->cache_dir) + strlen(text) + 1, 1);
	memcpy(c->cache_dir + strlen(c->cache_dir), text, strlen(text) + 1);
	return WEIR_OK;
}

static enum weir_code
conf_read(struct conf_reader *rd, const char *text, size_t len, struct weir_err *err)
{
	struct weir_conf *c = rd->conf;
	enum weir_code r = weir_ini_parse(rd->name, text, len, conf_entry, rd, err);

	if (r == WEIR_OK && c->mountpoint != NULL && c->mountpoint[0] != '/')
		r = weir_err_set(err, WEIR_E_CONFIG, "%s:%d: mountpoint: '%.200s' is not absolute", rd->name, rd->weir_lines[WEIR_LEN(conf_weir_keys) - 1], c->mountpoint);
	for (size_t i = 0; r == WEIR_OK && i < c->nremotes; i++)
		r = conf_settle_remote(rd, &c->remotes[i], err);
	if (r == WEIR_OK)
		r = conf_settle_namespace(rd, err);
	return r == WEIR_OK ? conf_settle_cache_dir(rd, err) : r;
}

static struct weir_conf *
conf_new(const char *path)
{
	struct weir_conf *c = weir_xcalloc(1, sizeof(*c));
	const char *slash = strrchr(path, '/'), *base = slash != NULL ? slash + 1 : path;
	size_t n = strlen(base);

	if (n > 5 && strcmp(base + n - 5, ".conf") == 0)
		n -= 5;
	c->name = n > 0 ? weir_xstrndup(base, n) : weir_xstrdup("weir");
	c->quota_bytes = 2000000000000;
	return c;
}

enum weir_code
weir_conf_parse(const char *name, const char *text, size_t len, const struct weir_conf_type *types, size_t ntypes,
    struct weir_conf **out, struct weir_err *err)
{
	WEIR_AUTO(weir_conf_freep) struct weir_conf *c = conf_new(name);
	struct conf_reader rd = {.conf = c, .name = name, .types = types, .ntypes = ntypes};
	enum weir_code r = conf_read(&rd, text, len, err);

	if (r != WEIR_OK)
		return r;
	*out = WEIR_STEAL(c);
	return WEIR_OK;
}

/* --- from a file --- */

static char *
conf_find(struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *mine = weir_path_expand("~/.config/weir/weir.conf", NULL);
	static const char system_wide[] = WEIR_SYSCONFDIR "/weir/weir.conf";

	if (mine != NULL && access(mine, F_OK) == 0)
		return WEIR_STEAL(mine);
	if (access(system_wide, F_OK) == 0)
		return weir_xstrdup(system_wide);
	/* --prefix=/usr/local has its own sysconfdir; the documented place counts too */
	if (access("/etc/weir/weir.conf", F_OK) == 0)
		return weir_xstrdup("/etc/weir/weir.conf");
	weir_err_set(err, WEIR_E_NOENT, "there is no configuration: neither %s nor %s; give one with -c FILE",
	    mine != NULL ? mine : "~/.config/weir/weir.conf", "/etc/weir/weir.conf");
	return NULL;
}

static enum weir_code
conf_load_from(const char *path, const struct weir_conf_type *types, size_t ntypes, struct weir_conf **out, struct weir_err *err)
{
	WEIR_AUTO(weir_conf_freep) struct weir_conf *c = conf_new(path);
	struct conf_reader rd = {.conf = c, .name = path, .types = types, .ntypes = ntypes};
	WEIR_AUTO(weir_secret_freep) char *text = NULL;
	struct stat st;
	enum weir_code r;
	size_t len;

	if (stat(path, &st) < 0 || weir_read_file(path, CONF_MAX, &text, &len) < 0)
		return weir_err_errno(err, errno, "configuration '%s'", path);
	if (st.st_mode & S_IWOTH)
		return weir_err_set(err, WEIR_E_CONFIG, "%s: everybody can change this file; run chmod o-w %s", path, path);
	r = conf_read(&rd, text, len, err);
	if (r != WEIR_OK)
		return r;
	if (rd.has_secret && (st.st_mode & (S_IRGRP | S_IROTH)))
		return weir_err_set(err, WEIR_E_CONFIG, "%s: others can read the password in it; run chmod 600 %s", path, path);
	c->path = realpath(path, NULL);
	if (c->path == NULL)
		return weir_err_errno(err, errno, "configuration '%s'", path);
	*out = WEIR_STEAL(c);
	return WEIR_OK;
}

enum weir_code
weir_conf_load(const char *path, const struct weir_conf_type *types, size_t ntypes, struct weir_conf **out, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *found = NULL;

	if (path == NULL) {
		found = conf_find(err);
		if (found == NULL)
			return WEIR_E_NOENT;
		path = found;
	}
	return conf_load_from(path, types, ntypes, out, err);
}

/* --- the rest --- */

static void
conf_free_remote(struct weir_remote_conf *r)
{
	free(r->name);
	free(r->type);
	weir_secret_free(r->proxy);
	free(r->ca_file);
	for (size_t i = 0; i < r->nkv; i++) {
		free(r->kv[i].key);
		weir_secret_free(r->kv[i].value);
	}
	free(r->kv);
}

void
weir_conf_free(struct weir_conf *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < c->nremotes; i++)
		conf_free_remote(&c->remotes[i]);
	for (size_t i = 0; i < c->nbinds; i++) {
		free(c->binds[i].path);
		for (size_t k = 0; k < c->binds[i].nplaces; k++) {
			free(c->binds[i].places[k].remote);
			free(c->binds[i].places[k].folder);
		}
		free(c->binds[i].places);
	}
	weir_section_free_all(c);
	free(c->remotes);
	free(c->binds);
	free(c->path);
	free(c->name);
	free(c->mountpoint);
	free(c->cache_dir);
	free(c);
}

void
weir_conf_freep(struct weir_conf **c)
{
	weir_conf_free(*c);
	*c = NULL;
}

const struct weir_remote_conf *
weir_conf_remote(const struct weir_conf *c, const char *name)
{
	for (size_t i = 0; i < c->nremotes; i++) {
		if (strcmp(c->remotes[i].name, name) == 0)
			return &c->remotes[i];
	}
	return NULL;
}

static const struct weir_kv *
conf_kv(const struct weir_remote_conf *r, const char *key)
{
	for (size_t i = 0; i < r->nkv; i++) {
		if (strcmp(r->kv[i].key, key) == 0)
			return &r->kv[i];
	}
	return NULL;
}

const char *
weir_conf_get(const struct weir_remote_conf *r, const char *key)
{
	const struct weir_kv *kv = conf_kv(r, key);

	return kv != NULL ? kv->value : NULL;
}

static const char *
conf_file_name(const struct weir_remote_conf *r)
{
	return r->conf != NULL && r->conf->path != NULL ? r->conf->path : "weir.conf";
}

enum weir_code
weir_conf_need(const struct weir_remote_conf *r, const char *key, const char **out, struct weir_err *err)
{
	const char *v = weir_conf_get(r, key);

	if (v == NULL || *v == '\0')
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: remote '%s' needs '%s'", conf_file_name(r), r->line, r->name, key);
	*out = v;
	return WEIR_OK;
}

enum weir_code
weir_conf_bool(const struct weir_remote_conf *r, const char *key, bool def, bool *out, struct weir_err *err)
{
	const struct weir_kv *kv = conf_kv(r, key);
	struct weir_err why = {0};

	*out = def;
	if (kv == NULL || conf_yesno(kv->value, out, &why) == WEIR_OK)
		return WEIR_OK;
	return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: remote '%s': %s: %.200s", conf_file_name(r), kv->line, r->name, key, why.msg);
}
