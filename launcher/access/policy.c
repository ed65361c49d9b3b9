/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of a policy: [access], [level], [project], [limits] made into types, with the place of every mistake. Knows no user and no token. */
#include "config.h"

#include "claims.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "../../src/net/http.h"
#include "../../src/util/text.h"

#ifndef WEIR_SYSCONFDIR
#define WEIR_SYSCONFDIR "/etc"
#endif
#define POLICY_KEYS_AGE_S 3600
#define POLICY_KEYS_OFFLINE_S (24 * 3600)
#define POLICY_SKEW_S 60
#define POLICY_SKEW_MAX_S 600

const struct weir_access_place weir_access_places[] = {
    {WEIR_SYSCONFDIR "/weir/access.conf", true},
    {"/etc/weir/access.conf", true},
    {WEIR_SYSCONFDIR "/weir/weir.conf", false},
    {"/etc/weir/weir.conf", false},
    {NULL, false},
};

static const char *const policy_rights[] = {
    [WEIR_RIGHT_TRY] = "try", [WEIR_RIGHT_DEPLOY] = "deploy", [WEIR_RIGHT_CHAT] = "chat", [WEIR_RIGHT_DEVELOP] = "develop",
    [WEIR_RIGHT_TRAIN] = "train", [WEIR_RIGHT_PRODUCTION] = "production", [WEIR_RIGHT_STORAGE] = "storage",
};

const char *
weir_right_name(enum weir_right right)
{
	return policy_rights[right];
}

char **
weir_access_split(const char *text)
{
	char **out = weir_xcalloc(1, sizeof(*out));
	size_t n = 0;

	for (text += strspn(text, ", \t"); *text != '\0'; text += strspn(text, ", \t")) {
		size_t len = strcspn(text, ", \t");

		out = weir_xrealloc(out, n + 2, sizeof(*out));
		out[n++] = weir_xstrndup(text, len);
		out[n] = NULL;
		text += len;
	}
	return out;
}

void
weir_access_split_free(char **words)
{
	for (char **w = words; words != NULL && *w != NULL; w++)
		free(*w);
	free(words);
}

int
weir_policy_level(const struct weir_access_policy *p, const char *name, size_t len)
{
	for (size_t i = 0; i < p->nlevels; i++) {
		if (strlen(p->levels[i].name) == len && memcmp(p->levels[i].name, name, len) == 0)
			return (int)i;
	}
	return -1;
}

/* ---- [limits], also of a level ---- */

static enum weir_code
policy_amount(const struct weir_section_conf *s, const char *key, enum weir_limit which, const char *value, double *out, struct weir_err *err)
{
	uint64_t bytes;
	int64_t ms;
	char *end;

	if (strcmp(value, "none") == 0) {
		*out = INFINITY;
		return WEIR_OK;
	}
	if (which == WEIR_LIMIT_MEMORY) {
		if (weir_size_parse(value, &bytes) != 0 || bytes == 0)
			return weir_conf_section_bad(s, key, err, "'%.64s' is no size; sizes look like 512MB or 16GiB", value);
		*out = (double)bytes;
		return WEIR_OK;
	}
	if (which == WEIR_LIMIT_TIME) {
		if (weir_duration_parse(value, &ms) != 0 || ms <= 0)
			return weir_conf_section_bad(s, key, err, "'%.64s' is no time; times look like 10min or 8h", value);
		*out = (double)ms;
		return WEIR_OK;
	}
	*out = strtod(value, &end);
	if (strspn(value, "0123456789.") != strlen(value) || end == value || *end != '\0' ||
	    (which == WEIR_LIMIT_CPUS ? *out <= 0 : *out != floor(*out)) || *out > 1e6)
		return weir_conf_section_bad(s, key, err, "'%.64s' is no %s", value, which == WEIR_LIMIT_CPUS ? "number of processors" : "whole number");
	return WEIR_OK;
}

static const char *const policy_limit_keys[] = {
    [WEIR_LIMIT_TRIES] = "tries", [WEIR_LIMIT_CPUS] = "cpus", [WEIR_LIMIT_MEMORY] = "memory", [WEIR_LIMIT_GPUS] = "gpus", [WEIR_LIMIT_TIME] = "time",
};

static enum weir_code
policy_limits(const struct weir_section_conf *s, double out[WEIR_LIMITS], struct weir_err *err)
{
	for (int i = 0; i < WEIR_LIMITS; i++) {
		const char *value = weir_conf_section_get(s, policy_limit_keys[i]);
		enum weir_code r;

		out[i] = -1;
		if (value == NULL)
			continue;
		r = policy_amount(s, policy_limit_keys[i], (enum weir_limit)i, value, &out[i], err);
		if (r != WEIR_OK)
			return r;
	}
	return WEIR_OK;
}

/* The lowest of what several files say counts. */
static enum weir_code
policy_other_limits(struct weir_access_policy *p, const struct weir_conf *conf, struct weir_err *err)
{
	const struct weir_section_conf *s = conf != NULL ? weir_conf_section(conf, "limits", NULL, NULL) : NULL;
	double limits[WEIR_LIMITS];
	enum weir_code r = policy_limits(s, limits, err);

	for (int i = 0; r == WEIR_OK && i < WEIR_LIMITS; i++) {
		if (limits[i] < 0 || (p->other_limits[i] >= 0 && p->other_limits[i] <= limits[i]))
			continue;
		p->other_limits[i] = limits[i];
		free(p->other_place[i]);
		p->other_place[i] = weir_xasprintf("%s:%d", conf->path != NULL ? conf->path : conf->name, s->line);
	}
	return r;
}

/* ---- [level NAME] ---- */

/* A right, "all", or a level that stands above, for all of its rights. */
static enum weir_code
policy_rights_word(const struct weir_access_policy *p, const struct weir_section_conf *s, const char *word, unsigned *rights, struct weir_err *err)
{
	int level;

	for (int i = 0; i < WEIR_RIGHTS; i++) {
		if (strcmp(word, policy_rights[i]) == 0) {
			*rights |= 1u << i;
			return WEIR_OK;
		}
	}
	if (strcmp(word, "all") == 0) {
		*rights = WEIR_RIGHTS_ALL;
		return WEIR_OK;
	}
	level = weir_policy_level(p, word, strlen(word));
	if (level < 0)
		return weir_conf_section_bad(s, "rights", err, "'%.64s' is neither a right (try, deploy, chat, develop, train, production, storage, all) nor a level above",
		    word);
	*rights |= p->levels[level].rights;
	return WEIR_OK;
}

static enum weir_code
policy_level(struct weir_access_policy *p, const struct weir_section_conf *s, struct weir_err *err)
{
	struct weir_access_level l = {0};
	const char *text = weir_conf_section_get(s, "rights");
	enum weir_code r = policy_limits(s, l.limits, err);
	char **words;

	if (r == WEIR_OK && text == NULL)
		r = weir_conf_section_bad(s, NULL, err, "'rights' is needed");
	if (r == WEIR_OK && p->nlevels == WEIR_LEVELS_MAX)
		r = weir_conf_section_bad(s, NULL, err, "there are more than %d levels", WEIR_LEVELS_MAX);
	if (r != WEIR_OK)
		return r;
	words = weir_access_split(text);
	for (char **w = words; r == WEIR_OK && *w != NULL; w++)
		r = policy_rights_word(p, s, *w, &l.rights, err);
	weir_access_split_free(words);
	if (r != WEIR_OK)
		return r;
	l.name = weir_xstrdup(s->name);
	p->levels = weir_xrealloc(p->levels, p->nlevels + 1, sizeof(*p->levels));
	p->levels[p->nlevels++] = l;
	return WEIR_OK;
}

/* As the platform's document has them. */
static void
policy_built_in_levels(struct weir_access_policy *p)
{
	static const struct { const char *name; unsigned rights; } rows[] = {
	    {"basic", 1u << WEIR_RIGHT_TRY | 1u << WEIR_RIGHT_DEPLOY | 1u << WEIR_RIGHT_CHAT},
	    {"full", WEIR_RIGHTS_ALL},
	};

	p->levels = weir_xcalloc(WEIR_LEN(rows), sizeof(*p->levels));
	for (p->nlevels = 0; p->nlevels < WEIR_LEN(rows); p->nlevels++) {
		p->levels[p->nlevels] = (struct weir_access_level){.name = weir_xstrdup(rows[p->nlevels].name), .rights = rows[p->nlevels].rights};
		for (int i = 0; i < WEIR_LIMITS; i++)
			p->levels[p->nlevels].limits[i] = -1;
	}
}

static enum weir_code
policy_levels(struct weir_access_policy *p, struct weir_err *err)
{
	const struct weir_section_conf *s = NULL;
	enum weir_code r = WEIR_OK;

	while (r == WEIR_OK && (s = weir_conf_section(p->conf, "level", NULL, s)) != NULL)
		r = policy_level(p, s, err);
	if (r == WEIR_OK && p->nlevels == 0)
		policy_built_in_levels(p);
	return r;
}

/* ---- [project NAME] ---- */

static enum weir_code
policy_project(struct weir_access_policy *p, const struct weir_section_conf *s, struct weir_err *err)
{
	const char *level = weir_conf_section_get(s, "level"), *groups = weir_conf_section_get(s, "members_group"), *vo = weir_conf_section_get(s, "vo");
	struct weir_access_project j = {.name = s->name, .vo = vo != NULL ? vo : s->name, .level = -1};

	j.role = weir_conf_section_get(s, "role");
	j.entitlement = weir_conf_section_get(s, "entitlement");
	if (level != NULL)
		j.level = weir_policy_level(p, level, strlen(level));
	if (level != NULL && j.level < 0)
		return weir_conf_section_bad(s, "level", err, "there is no level '%.64s'", level);
	if (level == NULL && (groups != NULL || j.role != NULL || j.entitlement != NULL))
		return weir_conf_section_bad(s, NULL, err, "'level' is needed: what its members get");
	if (level != NULL && groups == NULL && j.role == NULL && j.entitlement == NULL)
		return weir_conf_section_bad(s, NULL, err, "says a level for nobody: members_group, role or entitlement is needed");
	if (j.entitlement != NULL && !weir_entitlement_is_good(j.entitlement))
		return weir_conf_section_bad(s, "entitlement", err, "'%.100s' is not of the form urn:...:group:GROUP[:role=ROLE][#AUTHORITY]", j.entitlement);
	if (p->issuer == NULL && groups == NULL)
		return weir_conf_section_bad(s, NULL, err, "%s", "knows nobody: it needs members_group, or [access] an issuer of tokens");
	j.groups = weir_access_split(groups != NULL ? groups : "");
	p->projects = weir_xrealloc(p->projects, p->nprojects + 1, sizeof(*p->projects));
	p->projects[p->nprojects++] = j;
	return WEIR_OK;
}

/* ---- [access] ---- */

static enum weir_code
policy_seconds(const struct weir_section_conf *s, const char *key, int64_t def_s, int64_t max_s, int64_t *out_s, struct weir_err *err)
{
	const char *value = weir_conf_section_get(s, key);
	int64_t ms;

	*out_s = def_s;
	if (value == NULL)
		return WEIR_OK;
	if (weir_duration_parse(value, &ms) != 0)
		return weir_conf_section_bad(s, key, err, "'%.64s' is no time; times look like 60s, 10min or 24h", value);
	if (ms / 1000 > max_s)
		return weir_conf_section_bad(s, key, err, "is longer than %lld s", (long long)max_s);
	*out_s = ms / 1000;
	return WEIR_OK;
}

static enum weir_code
policy_token_keys(struct weir_access_policy *p, struct weir_err *err)
{
	const struct weir_section_conf *s = p->section;
	static const char *const with_issuer[] = {"audience", "token_file", "token_variable", "keys_file", "keys_age", "keys_offline", "skew", "ca_file", "proxy"};
	const char *audience = weir_conf_section_get(s, "audience");
	enum weir_code r;

	p->issuer = weir_conf_section_get(s, "issuer");
	p->token_file = weir_conf_section_get(s, "token_file");
	p->token_variable = weir_conf_section_get(s, "token_variable");
	p->keys_file = weir_conf_section_get(s, "keys_file");
	p->ca_file = weir_conf_section_get(s, "ca_file");
	p->proxy = weir_conf_section_get(s, "proxy");
	if (p->token_variable == NULL)
		p->token_variable = "WEIR_ACCESS_TOKEN";
	for (size_t i = 0; p->issuer == NULL && i < WEIR_LEN(with_issuer); i++) {
		if (weir_conf_section_get(s, with_issuer[i]) != NULL)
			return weir_conf_section_bad(s, with_issuer[i], err, "means nothing without 'issuer'");
	}
	p->audiences = weir_access_split(audience != NULL ? audience : "");
	if (p->issuer != NULL && !weir_http_url_is_safe(p->issuer))
		return weir_conf_section_bad(s, "issuer", err, "'%.100s' is no https address", p->issuer);
	if (p->issuer != NULL && p->audiences[0] == NULL)
		return weir_conf_section_bad(s, NULL, err, "'audience' is needed besides 'issuer': for whom tokens are made, as 'account'");
	r = policy_seconds(s, "keys_age", POLICY_KEYS_AGE_S, INT32_MAX, &p->keys_age_s, err);
	if (r == WEIR_OK)
		r = policy_seconds(s, "keys_offline", POLICY_KEYS_OFFLINE_S, INT32_MAX, &p->keys_offline_s, err);
	return r == WEIR_OK ? policy_seconds(s, "skew", POLICY_SKEW_S, POLICY_SKEW_MAX_S, &p->skew_s, err) : r;
}

static enum weir_code
policy_absolute(const struct weir_section_conf *s, const char *key, const char **out, struct weir_err *err)
{
	*out = weir_conf_section_get(s, key);
	if (*out == NULL || **out == '/')
		return WEIR_OK;
	return weir_conf_section_bad(s, key, err, "'%.200s' is not absolute", *out);
}

static enum weir_code
policy_read_access(struct weir_access_policy *p, struct weir_err *err)
{
	static const char *const files[] = {"token_file", "keys_file", "ca_file"};
	const struct weir_section_conf *s = p->section;
	const char *ignored;
	enum weir_code r = policy_absolute(s, "log", &p->log, err);

	if (r == WEIR_OK)
		r = policy_absolute(s, "requests", &p->requests, err);
	for (size_t i = 0; r == WEIR_OK && i < WEIR_LEN(files); i++)
		r = policy_absolute(s, files[i], &ignored, err);
	p->admins_group = weir_conf_section_get(s, "admins_group");
	return r == WEIR_OK ? policy_token_keys(p, err) : r;
}

/* Rows without [access] would look as if they counted. */
static enum weir_code
policy_orphans(const struct weir_conf *conf, struct weir_err *err)
{
	static const char *const kinds[] = {"level", "project"};

	for (size_t i = 0; conf != NULL && i < WEIR_LEN(kinds); i++) {
		const struct weir_section_conf *s = weir_conf_section(conf, kinds[i], NULL, NULL);

		if (s != NULL)
			return weir_conf_section_bad(s, NULL, err, "means nothing without a section [access]");
	}
	return WEIR_OK;
}

static enum weir_code
policy_read(struct weir_access_policy *p, struct weir_err *err)
{
	const struct weir_section_conf *s = NULL;
	enum weir_code r;

	p->section = p->conf != NULL ? weir_conf_section(p->conf, "access", NULL, NULL) : NULL;
	p->limits_section = p->conf != NULL ? weir_conf_section(p->conf, "limits", NULL, NULL) : NULL;
	r = policy_limits(p->limits_section, p->limits, err);
	if (r != WEIR_OK)
		return r;
	if (p->section == NULL)
		return policy_orphans(p->conf, err);
	r = policy_read_access(p, err);
	if (r == WEIR_OK)
		r = policy_levels(p, err);
	while (r == WEIR_OK && (s = weir_conf_section(p->conf, "project", NULL, s)) != NULL)
		r = policy_project(p, s, err);
	return r;
}

/* ---- which file ---- */

static bool
policy_is_roots(const struct stat *st)
{
	return st->st_uid == 0 && (st->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* *out stays NULL when this place says nothing. */
static enum weir_code
policy_system(const struct weir_access_place *place, struct weir_conf **out, struct weir_err *err)
{
	WEIR_AUTO(weir_conf_freep) struct weir_conf *c = NULL;
	struct stat st;
	enum weir_code r;

	if (stat(place->path, &st) < 0) {
		if (errno == ENOENT || errno == ENOTDIR || (errno == EACCES && !place->is_only))
			return WEIR_OK;
		return weir_err_errno(err, errno, "'%s'", place->path);
	}
	r = weir_conf_load_sections(place->path, place->is_only, &c, err);
	if (r == WEIR_E_ACCES && !place->is_only)
		return WEIR_OK;		/* it is for root, and so holds no policy for others */
	if (r != WEIR_OK)
		return r;
	if (!place->is_only && weir_conf_section(c, "access", NULL, NULL) == NULL && weir_conf_section(c, "limits", NULL, NULL) == NULL)
		return WEIR_OK;
	if (weir_conf_section(c, "access", NULL, NULL) == NULL && (r = policy_orphans(c, err)) != WEIR_OK)
		return r;
	if (!policy_is_roots(&st))
		return weir_err_set(err, WEIR_E_CONFIG, "%s: others than root can change this policy; run chown root %s; chmod go-w %s", place->path, place->path,
		    place->path);
	*out = WEIR_STEAL(c);
	return WEIR_OK;
}

static bool
policy_is_repeated(const struct weir_access_place *places, const struct weir_access_place *place)
{
	for (; places < place; places++) {
		if (strcmp(places->path, place->path) == 0)
			return true;
	}
	return false;
}

/* The first file of the system that has [access], else the caller's. Limits count from all of them. */
static enum weir_code
policy_find(const struct weir_access_place *places, const struct weir_conf *conf, struct weir_access_policy *p, struct weir_err *err)
{
	enum weir_code r = WEIR_OK;
	struct stat st;

	for (const struct weir_access_place *place = places; r == WEIR_OK && place->path != NULL; place++) {
		WEIR_AUTO(weir_conf_freep) struct weir_conf *c = NULL;

		if (policy_is_repeated(places, place))
			continue;
		r = policy_system(place, &c, err);
		if (r != WEIR_OK || c == NULL)
			continue;
		if (p->own == NULL && weir_conf_section(c, "access", NULL, NULL) != NULL)
			p->own = WEIR_STEAL(c);
		else
			r = policy_other_limits(p, c, err);
	}
	p->conf = p->own != NULL ? p->own : conf;
	p->is_roots = p->own != NULL || (conf != NULL && conf->path != NULL && stat(conf->path, &st) == 0 && policy_is_roots(&st));
	return r == WEIR_OK && p->own != NULL ? policy_other_limits(p, conf, err) : r;
}

enum weir_code
weir_policy_load(const struct weir_access_place *places, const struct weir_conf *conf, struct weir_access_policy *out, struct weir_err *err)
{
	struct weir_access_policy p = {0};
	enum weir_code r;

	for (int i = 0; i < WEIR_LIMITS; i++)
		p.other_limits[i] = -1;
	r = policy_find(places, conf, &p, err);

	if (r == WEIR_OK)
		r = policy_read(&p, err);
	if (r != WEIR_OK) {
		weir_policy_clear(&p);
		return r;
	}
	*out = p;
	return WEIR_OK;
}

void
weir_policy_clear(struct weir_access_policy *p)
{
	for (size_t i = 0; i < p->nlevels; i++)
		free(p->levels[i].name);
	for (size_t i = 0; i < p->nprojects; i++)
		weir_access_split_free(p->projects[i].groups);
	free(p->levels);
	free(p->projects);
	for (int i = 0; i < WEIR_LIMITS; i++)
		free(p->other_place[i]);
	weir_access_split_free(p->audiences);
	weir_conf_free(p->own);
	*p = (struct weir_access_policy){0};
}
