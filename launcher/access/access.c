/* SPDX-License-Identifier: Apache-2.0 */
/* The verdict: policy, user, groups, token and log put together. access.h is the specification. */
#include "config.h"

#include "impl.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../src/util/text.h"

/* ---- what a user has ---- */

/* A text that was cut may end inside a character, and would be no text for JSON. */
static void
access_whole_characters(char *s, size_t max)
{
	size_t n = strlen(s);

	if (n + 1 < max)
		return;
	while (n > 0 && ((unsigned char)s[n - 1] & 0xc0) == 0x80)
		n--;
	if (n > 0 && (unsigned char)s[n - 1] >= 0xc0)
		n--;
	s[n] = '\0';
}

void
weir_standing_add(struct weir_access_standing *s, int level, const char *project, int64_t until_s, const char *fmt, ...)
{
	char how[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(how, sizeof(how), fmt, ap);
	va_end(ap);
	access_whole_characters(how, sizeof(how));
	s->held = weir_xrealloc(s->held, s->nheld + 1, sizeof(*s->held));
	s->held[s->nheld++] = (struct weir_access_held){level, weir_xstrdup(project), weir_xstrdup(how), until_s};
}

void
weir_standing_clear(struct weir_access_standing *s)
{
	for (size_t i = 0; i < s->nheld; i++) {
		free(s->held[i].project);
		free(s->held[i].how);
	}
	free(s->held);
	free(s->subject);
	free(s->token_note);
	free(s->log_note);
	*s = (struct weir_access_standing){0};
}

static bool
standing_counts(const struct weir_access_held *h, const char *project)
{
	return project == NULL || h->project == NULL || strcmp(h->project, project) == 0;
}

int
weir_standing_highest(const struct weir_access_standing *s, const char *project)
{
	int best = -1;

	for (size_t i = 0; i < s->nheld; i++) {
		if (s->held[i].level > best && standing_counts(&s->held[i], project))
			best = s->held[i].level;
	}
	return best;
}

static void
standing_groups(const struct weir_access_policy *p, const struct weir_access_who *w, struct weir_access_standing *s)
{
	for (size_t i = 0; i < p->nprojects; i++) {
		for (char **g = p->projects[i].groups; *g != NULL; g++) {
			if (weir_who_has_group(w, *g))
				weir_standing_add(s, p->projects[i].level, p->projects[i].name, 0, "group '%s'", *g);
		}
	}
}

static void
standing_grants(const struct weir_access_policy *p, const struct weir_access_who *w, const struct weir_grant_log *log, int64_t now_s,
    struct weir_access_standing *s)
{
	WEIR_AUTO(weir_freep) char *subject = s->subject != NULL ? weir_xasprintf("sub:%s", s->subject) : NULL;
	const char *ids[] = {w->name, subject, NULL};
	int64_t until[WEIR_LEVELS_MAX];
	const json_t *by[WEIR_LEVELS_MAX];

	weir_grant_log_levels(log, p, ids, now_s, until, by);
	for (size_t i = 0; i < p->nlevels; i++) {
		const char *who = until[i] != 0 ? json_string_value(json_object_get(by[i], "by")) : NULL;

		if (until[i] != 0)
			weir_standing_add(s, (int)i, NULL, until[i], "granted by %.100s", who != NULL ? who : "somebody");
	}
}

/* A log that the user could write, or that was changed, gives nothing. */
static void
standing_log(const struct weir_access_policy *p, const struct weir_access_who *w, int64_t now_s, struct weir_access_standing *s)
{
	struct weir_grant_log log = {0};
	struct weir_err err = {0};
	enum weir_code r;

	if (p->log == NULL)
		return;
	r = weir_grant_log_read(p->log, &log, &err);
	if (r == WEIR_E_NOENT)
		return;
	if (r != WEIR_OK)
		s->log_note = weir_xstrdup(weir_err_text(&err, r));
	else if (log.damaged_line > 0)
		s->log_note = weir_xasprintf("grants do not count: '%s' was changed in line %d", p->log, log.damaged_line);
	else if (p->is_roots && w->uid != 0 && weir_who_could_change(w, p->log))
		s->log_note = weir_xasprintf("grants do not count: %s could write '%s' or a folder above it", w->name, p->log);
	else
		standing_grants(p, w, &log, now_s, s);
	weir_grant_log_clear(&log);
}

void
weir_standing_of(const struct weir_access_policy *p, const struct weir_access_who *w, int64_t now_s, struct weir_access_standing *s)
{
	standing_groups(p, w, s);
	standing_log(p, w, now_s, s);
}

/* ---- open ---- */

int64_t
weir_access_now_s(void)
{
	return weir_wall_ns() / 1000000000;
}

static enum weir_code
access_open(struct weir_access *a, const struct weir_access_place *places, struct weir_err *err)
{
	enum weir_code r = weir_policy_load(places, a->conf, &a->policy, err);
	struct weir_err none = {0};

	/* without a policy nobody is looked up: a directory of users may be far away */
	if (r != WEIR_OK || a->policy.section == NULL)
		return r;
	r = weir_who_self(&a->who, err);
	if (r != WEIR_OK)
		return r;
	weir_standing_of(&a->policy, &a->who, weir_access_now_s(), &a->standing);
	a->is_settled = a->policy.issuer == NULL;
	if (!a->is_settled && weir_token_find(&a->policy, &a->token, &none) != WEIR_OK) {
		a->standing.token_note = weir_xasprintf("no token: %s", weir_err_text(&none, none.code));
		a->is_settled = true;
	}
	return WEIR_OK;
}

void
weir_access_settle(struct weir_access *a)
{
	int64_t now_s = weir_access_now_s();

	if (a->is_settled || a->policy.section == NULL)
		return;
	a->is_settled = true;
	weir_standing_clear(&a->standing);
	weir_standing_token(&a->policy, &a->who, a->token, now_s, &a->standing);
	weir_standing_of(&a->policy, &a->who, now_s, &a->standing);
}

enum weir_code
weir_access_open_at(const struct weir_access_place *places, const struct weir_conf *conf, struct weir_access **out, struct weir_err *err)
{
	WEIR_AUTO(weir_access_closep) struct weir_access *a = weir_xcalloc(1, sizeof(*a));
	enum weir_code r;

	a->conf = conf;
	r = access_open(a, places, err);
	if (r == WEIR_OK)
		*out = WEIR_STEAL(a);
	return r;
}

enum weir_code
weir_access_open(const struct weir_conf *conf, struct weir_access **out, struct weir_err *err)
{
	return weir_access_open_at(weir_access_places, conf, out, err);
}

void
weir_access_close(struct weir_access *a)
{
	if (a == NULL)
		return;
	weir_secret_free(a->token);
	weir_standing_clear(&a->standing);
	weir_who_clear(&a->who);
	weir_policy_clear(&a->policy);
	free(a);
}

void
weir_access_closep(struct weir_access **a)
{
	weir_access_close(*a);
	*a = NULL;
}

enum weir_code
weir_access_check(const struct weir_conf *conf, bool *has_policy, struct weir_err *err)
{
	struct weir_access_policy p = {0};
	enum weir_code r = weir_policy_load(weir_access_places, conf, &p, err);

	if (r == WEIR_OK && has_policy != NULL)
		*has_policy = p.section != NULL;
	weir_policy_clear(&p);
	return r;
}

/* ---- may they? ---- */

int
weir_policy_needed(const struct weir_access_policy *p, enum weir_right right)
{
	for (size_t i = 0; i < p->nlevels; i++) {
		if (p->levels[i].rights & 1u << right)
			return (int)i;
	}
	return -1;
}

static enum weir_code
access_refusal(const struct weir_access *a, enum weir_right right, const char *project, struct weir_err *err)
{
	const struct weir_access_policy *p = &a->policy;
	const struct weir_access_standing *s = &a->standing;
	int have = weir_standing_highest(s, project), need = weir_policy_needed(p, right);
	const char *note = s->token_note != NULL ? s->token_note : s->log_note;
	const char *level = have >= 0 ? p->levels[have].name : "none";

	if (need < 0)
		return weir_err_set(err, WEIR_E_PERM, "no level here has the right '%s' (current level: %s)", weir_right_name(right), level);
	return weir_err_set(err, WEIR_E_PERM, "the right '%s' is needed%s%s: current level: %s, required level: %s; ask for it with 'weir access request --level %s --why TEXT'%s%s%s",
	    weir_right_name(right), project != NULL ? " in project " : "", project != NULL ? project : "", level, p->levels[need].name, p->levels[need].name,
	    note != NULL ? " (" : "", note != NULL ? note : "", note != NULL ? ")" : "");
}

static bool
access_has(const struct weir_access *a, enum weir_right right, const char *project)
{
	const struct weir_access_standing *s = &a->standing;

	for (size_t i = 0; i < s->nheld; i++) {
		if (standing_counts(&s->held[i], project) && (a->policy.levels[s->held[i].level].rights & 1u << right))
			return true;
	}
	return false;
}

enum weir_code
weir_access_allows(struct weir_access *a, enum weir_right right, const char *project, struct weir_err *err)
{
	if (a->policy.section == NULL || a->who.uid == 0 || access_has(a, right, project))
		return WEIR_OK;
	weir_access_settle(a);
	return access_has(a, right, project) ? WEIR_OK : access_refusal(a, right, project, err);
}

/* ---- limits ---- */

#define ACCESS_TRIES 3

/* Of the policy: the level's own, [limits], the default. */
static double
access_policy_limit(const struct weir_access *a, enum weir_limit which)
{
	int level = weir_standing_highest(&a->standing, NULL);

	if (level >= 0 && a->policy.levels[level].limits[which] >= 0)
		return a->policy.levels[level].limits[which];
	if (a->policy.limits[which] >= 0)
		return a->policy.limits[which];
	return which == WEIR_LIMIT_TRIES ? ACCESS_TRIES : INFINITY;
}

double
weir_access_limit(struct weir_access *a, enum weir_limit which)
{
	double limit, other = a->policy.other_limits[which];

	for (size_t i = 0; i < a->policy.nlevels; i++) {
		if (a->policy.levels[i].limits[which] >= 0)
			weir_access_settle(a);	/* it depends on the level */
	}
	limit = access_policy_limit(a, which);
	if (other >= 0 && other < limit)
		limit = other;
	return isinf(limit) ? -1 : limit;
}

static const char *
access_amount(enum weir_limit which, double n, char out[32])
{
	char size[16];

	if (which == WEIR_LIMIT_MEMORY)
		snprintf(out, 32, "%s", weir_size_text(n > 0 ? (uint64_t)n : 0, size));
	else if (which == WEIR_LIMIT_TIME && n >= 60000)
		snprintf(out, 32, "%.6g min", n / 60000);
	else if (which == WEIR_LIMIT_TIME)
		snprintf(out, 32, "%.6g s", n / 1000);
	else
		snprintf(out, 32, "%.6g", n);
	return out;
}

/* "FILE:LINE", for people who want to read it. */
static char *
access_limit_place(const struct weir_access *a, enum weir_limit which)
{
	double other = a->policy.other_limits[which];
	int level = weir_standing_highest(&a->standing, NULL);
	const struct weir_section_conf *s = a->policy.limits_section;

	if (other >= 0 && other < access_policy_limit(a, which))
		return weir_xstrdup(a->policy.other_place[which]);
	if (level >= 0 && a->policy.levels[level].limits[which] >= 0)
		s = weir_conf_section(a->policy.conf, "level", a->policy.levels[level].name, NULL);
	else if (a->policy.limits[which] < 0)
		return weir_xstrdup("the default");
	return s != NULL ? weir_xasprintf("%s:%d", s->conf->path != NULL ? s->conf->path : s->conf->name, s->line) : weir_xstrdup("the default");
}

enum weir_code
weir_access_fits(struct weir_access *a, enum weir_limit which, double asked, double in_use, struct weir_err *err)
{
	static const char *const what[] = {
	    [WEIR_LIMIT_TRIES] = "tries at once", [WEIR_LIMIT_CPUS] = "processors of a job", [WEIR_LIMIT_MEMORY] = "memory of a job",
	    [WEIR_LIMIT_GPUS] = "GPUs of a user", [WEIR_LIMIT_TIME] = "time of a job",
	};
	WEIR_AUTO(weir_freep) char *place = NULL;
	double limit = weir_access_limit(a, which);
	char n[32], use[32], max[32];

	if (limit < 0 || asked + in_use <= limit)
		return WEIR_OK;
	place = access_limit_place(a, which);
	access_amount(which, asked, n);
	access_amount(which, limit, max);
	if (in_use <= 0)
		return weir_err_set(err, WEIR_E_PERM, "%s: asked for %s, and the limit is %s (%s)", what[which], n, max, place);
	return weir_err_set(err, WEIR_E_PERM, "%s: asked for %s besides %s in use, and the limit is %s (%s)", what[which], n,
	    access_amount(which, in_use, use), max, place);
}
