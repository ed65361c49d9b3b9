/* SPDX-License-Identifier: Apache-2.0 */
/* Sections that other rooms give their meaning: which there are, which keys they take, where a key stands. Values stay text here (expanded);
 * their owner checks them when it makes its own type of them. A new section is a row of section_kinds. */
#include "config.h"

#include "section.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "../util/ini.h"
#include "../util/text.h"
#include "../util/util.h"

#define SECTION_FILE_MAX (1u << 20)
#define SECTION_LIMITS "tries", "cpus", "memory", "gpus", "time"

static const char *const keys_access[] = {"log", "requests", "admins_group", "issuer", "audience", "token_file", "token_variable", "keys_file", "keys_age",
    "keys_offline", "skew", "ca_file", "proxy", NULL};
static const char *const keys_level[] = {"rights", SECTION_LIMITS, NULL};
static const char *const keys_project[] = {"vo", "members_group", "role", "entitlement", "level", NULL};
static const char *const keys_limits[] = {SECTION_LIMITS, NULL};
static const char *const keys_catalogue[] = {"url", "registry", "raw", "proxy", "ca_file", NULL};
static const char *const keys_datasets[] = {"doi", "zenodo", "proxy", "ca_file", NULL};
static const char *const keys_notify[] = {"command", "timeout", NULL};

static const struct section_kind {
	const char *name;
	bool is_named, is_repeated;	/* takes a name; may stand more than once (by one name, when it has one) */
	bool is_policy;			/* may stand in /etc/weir/access.conf */
	const char *const *keys;
} section_kinds[] = {
    {"access", false, false, true, keys_access},
    {"level", true, false, true, keys_level},
    {"project", true, true, true, keys_project},
    {"limits", false, false, true, keys_limits},
    {"notify", false, false, true, keys_notify},
    {"catalogue", false, false, false, keys_catalogue},
    {"datasets", false, false, false, keys_datasets},
};

static const struct section_kind *
section_kind(const char *name)
{
	for (size_t i = 0; i < WEIR_LEN(section_kinds); i++) {
		if (strcmp(section_kinds[i].name, name) == 0)
			return &section_kinds[i];
	}
	return NULL;
}

bool
weir_section_is_known(const char *kind)
{
	return section_kind(kind) != NULL;
}

static enum weir_code
section_new(struct weir_conf *c, const struct section_kind *kind, const char *file, const struct weir_ini_entry *e, struct weir_err *err)
{
	const struct weir_section_conf *twin = weir_conf_section(c, kind->name, e->label, NULL);

	if (kind->is_named && !weir_conf_name_is_good(e->label))
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: [%s NAME] needs a name of letters, digits, '-', '_' and '.'", file, e->line, kind->name);
	if (!kind->is_named && *e->label != '\0')
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: [%s] takes no name", file, e->line, kind->name);
	if (twin != NULL && !kind->is_repeated)
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: [%s%s%s] stands in line %d already", file, e->line, kind->name, kind->is_named ? " " : "",
		    e->label, twin->line);
	c->sections = weir_xrealloc(c->sections, c->nsections + 1, sizeof(*c->sections));
	c->sections[c->nsections++] =
	    (struct weir_section_conf){.kind = kind->name, .name = weir_xstrdup(e->label), .line = e->line, .conf = c};
	return WEIR_OK;
}

/* sh expands what is in a command. */
static char *
section_value(const char *key, const char *value, struct weir_err *err)
{
	return strcmp(key, "command") == 0 ? weir_xstrdup(value) : weir_path_expand(value, err);
}

enum weir_code
weir_section_entry(struct weir_conf *c, const char *file, const struct weir_ini_entry *e, struct weir_err *err)
{
	const struct section_kind *kind = section_kind(e->section);
	const char *const *k = kind->keys;
	struct weir_section_conf *s;
	struct weir_err why = {0};
	char *value;

	if (e->key == NULL)
		return section_new(c, kind, file, e, err);
	s = &c->sections[c->nsections - 1];
	while (*k != NULL && strcmp(*k, e->key) != 0)
		k++;
	if (*k == NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: unknown key '%.64s' in [%s]", file, e->line, e->key, kind->name);
	for (size_t i = 0; i < s->nkv; i++) {
		if (strcmp(s->kv[i].key, e->key) == 0)
			return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: '%s' stands in line %d already", file, e->line, e->key, s->kv[i].line);
	}
	if (*e->value == '\0')
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: %s: a value is missing", file, e->line, e->key);
	value = section_value(e->key, e->value, &why);
	if (value == NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: %s: %.300s", file, e->line, e->key, why.msg);
	s->kv = weir_xrealloc(s->kv, s->nkv + 1, sizeof(*s->kv));
	s->kv[s->nkv++] = (struct weir_kv){weir_xstrdup(e->key), value, e->line};
	return WEIR_OK;
}

void
weir_section_free_all(struct weir_conf *c)
{
	for (size_t i = 0; i < c->nsections; i++) {
		for (size_t k = 0; k < c->sections[i].nkv; k++) {
			free(c->sections[i].kv[k].key);
			free(c->sections[i].kv[k].value);
		}
		free(c->sections[i].kv);
		free(c->sections[i].name);
	}
	free(c->sections);
}

/* ---- a file of which only these sections count ---- */

struct section_reader {
	struct weir_conf *conf;
	const char *file;
	bool is_only;
};

static enum weir_code
section_read_entry(void *arg, const struct weir_ini_entry *e, struct weir_err *err)
{
	struct section_reader *rd = arg;
	const struct section_kind *kind = section_kind(e->section);

	if (kind != NULL && (kind->is_policy || !rd->is_only))
		return weir_section_entry(rd->conf, rd->file, e, err);
	if (!rd->is_only)
		return WEIR_OK;
	return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: [%.64s] has no place in this file", rd->file, e->line, e->section);
}

enum weir_code
weir_conf_load_sections(const char *path, bool is_only, struct weir_conf **out, struct weir_err *err)
{
	WEIR_AUTO(weir_conf_freep) struct weir_conf *c = weir_xcalloc(1, sizeof(*c));
	struct section_reader rd = {.conf = c, .file = path, .is_only = is_only};
	WEIR_AUTO(weir_secret_freep) char *text = NULL;
	enum weir_code r;
	size_t len;

	if (weir_read_file(path, SECTION_FILE_MAX, &text, &len) < 0)
		return weir_err_errno(err, errno, "configuration '%s'", path);
	r = weir_ini_parse(path, text, len, section_read_entry, &rd, err);
	if (r != WEIR_OK)
		return r;
	c->path = weir_xstrdup(path);
	c->name = weir_xstrdup("");
	*out = WEIR_STEAL(c);
	return WEIR_OK;
}

/* ---- for their owners ---- */

const struct weir_section_conf *
weir_conf_section(const struct weir_conf *c, const char *kind, const char *name, const struct weir_section_conf *after)
{
	for (size_t i = after != NULL ? (size_t)(after - c->sections) + 1 : 0; i < c->nsections; i++) {
		if (strcmp(c->sections[i].kind, kind) == 0 && (name == NULL || strcmp(c->sections[i].name, name) == 0))
			return &c->sections[i];
	}
	return NULL;
}

static const struct weir_kv *
section_kv(const struct weir_section_conf *s, const char *key)
{
	for (size_t i = 0; s != NULL && i < s->nkv; i++) {
		if (strcmp(s->kv[i].key, key) == 0)
			return &s->kv[i];
	}
	return NULL;
}

const char *
weir_conf_section_get(const struct weir_section_conf *s, const char *key)
{
	const struct weir_kv *kv = section_kv(s, key);

	return kv != NULL ? kv->value : NULL;
}

enum weir_code
weir_conf_section_bad(const struct weir_section_conf *s, const char *key, struct weir_err *err, const char *fmt, ...)
{
	const struct weir_kv *kv = key != NULL ? section_kv(s, key) : NULL;
	const char *file = s->conf->path != NULL ? s->conf->path : s->conf->name;
	char what[WEIR_ERR_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return weir_err_set(err, WEIR_E_CONFIG, "%.160s:%d: [%s%s%.64s]%s%s: %.200s", file, kv != NULL ? kv->line : s->line, s->kind, *s->name != '\0' ? " " : "",
	    s->name, key != NULL ? " " : "", key != NULL ? key : "", what);
}
