/* SPDX-License-Identifier: Apache-2.0 */
/* What the verified claims of a token say about levels: roles ("access:VO:LEVEL", or whatever a row names) in realm_access.roles, as Keycloak has them, and
 * entitlements (AARC-G069 and its elder AARC-G002) in eduperson_entitlement or entitlements. Pure. */
#include "config.h"

#include "claims.h"

#include <string.h>
#include <strings.h>

#include "../../src/util/text.h"

#define CLAIMS_LIST_MAX 4096		/* roles or entitlements looked at */
#define CLAIMS_TEXT_MAX 1024		/* bytes of one */
#define CLAIMS_PARTS_MAX 32		/* of an entitlement */

/* ---- entitlements: NAMESPACE:group:GROUP[:SUBGROUP…][:role=ROLE][#AUTHORITY] ---- */

struct claims_urn {
	char *text;			/* cut into parts; owned */
	char *parts[CLAIMS_PARTS_MAX];
	size_t nparts, first_group;	/* parts before "group" are the namespace */
	const char *role, *authority;	/* NULL: none */
};

static void
claims_urn_clear(struct claims_urn *u)
{
	free(u->text);
}

/* Reserved characters are percent-encoded in a part (AARC-G069 section 2.2). */
static bool
claims_urn_cut(struct claims_urn *u)
{
	char *p = u->text, *hash = strchr(p, '#');

	if (hash != NULL) {
		*hash = '\0';
		u->authority = hash + 1;
	}
	while (p != NULL) {
		char *colon = strchr(p, ':');

		if (colon != NULL)
			*colon++ = '\0';
		if (*p == '\0' || u->nparts == CLAIMS_PARTS_MAX)
			return false;
		weir_url_decode(p, false);
		u->parts[u->nparts++] = p;
		p = colon;
	}
	return true;
}

static bool
claims_urn_parse(const char *text, struct claims_urn *u)
{
	size_t at = 2;

	*u = (struct claims_urn){0};
	if (strlen(text) > CLAIMS_TEXT_MAX)
		return false;
	u->text = weir_xstrdup(text);
	if (!claims_urn_cut(u) || u->nparts < 4 || strcasecmp(u->parts[0], "urn") != 0)
		return false;
	while (at < u->nparts && strcmp(u->parts[at], "group") != 0)
		at++;
	u->first_group = at + 1;
	if (u->nparts > u->first_group && strncmp(u->parts[u->nparts - 1], "role=", 5) == 0)
		u->role = u->parts[--u->nparts] + 5;
	return u->nparts > u->first_group && (u->role == NULL || *u->role != '\0');
}

/* "urn" and the name of its namespace have no case (RFC 8141 section 3.1), the rest has. */
static bool
claims_same_namespace(const struct claims_urn *a, const struct claims_urn *b)
{
	if (a->first_group != b->first_group || strcasecmp(a->parts[1], b->parts[1]) != 0)
		return false;
	for (size_t i = 2; i < a->first_group; i++) {
		if (strcmp(a->parts[i], b->parts[i]) != 0)
			return false;
	}
	return true;
}

/* A member of a subgroup is a member of the groups above; a role is one in its very group. The authority is informational, as a fragment is (RFC 8141
 * section 2.3.3), unless the row names one. */
static bool
claims_urn_covers(const struct claims_urn *want, const struct claims_urn *got)
{
	if (!claims_same_namespace(want, got) || got->nparts < want->nparts)
		return false;
	for (size_t i = want->first_group; i < want->nparts; i++) {
		if (strcmp(want->parts[i], got->parts[i]) != 0)
			return false;
	}
	if (want->authority != NULL && (got->authority == NULL || strcmp(want->authority, got->authority) != 0))
		return false;
	return want->role == NULL || (got->role != NULL && got->nparts == want->nparts && strcmp(want->role, got->role) == 0);
}

bool
weir_entitlement_is_good(const char *text)
{
	struct claims_urn u;
	bool is_good = claims_urn_parse(text, &u);

	claims_urn_clear(&u);
	return is_good;
}

bool
weir_entitlement_covers(const char *want, const char *got)
{
	struct claims_urn w, g;
	bool has_w = claims_urn_parse(want, &w), has_g = claims_urn_parse(got, &g), covers = has_w && has_g && claims_urn_covers(&w, &g);

	claims_urn_clear(&w);
	claims_urn_clear(&g);
	return covers;
}

/* ---- rows ---- */

static void
claims_add(struct weir_access_standing *s, int level, const char *project, const char *kind, const char *text)
{
	for (size_t i = 0; i < s->nheld; i++) {
		const char *quoted = strstr(s->held[i].how, text);

		if (s->held[i].level == level && s->held[i].project != NULL && strcmp(s->held[i].project, project) == 0 && quoted != NULL)
			return;		/* several rows of one project */
	}
	weir_standing_add(s, level, project, 0, "%s '%s'", kind, text);
}

/* access:VO:LEVEL, where both are known here; all else is somebody else's. */
static void
claims_access_role(const struct weir_access_policy *p, const char *role, struct weir_access_standing *s)
{
	const char *vo = role + 7, *colon = strncmp(role, "access:", 7) == 0 ? strchr(vo, ':') : NULL;
	int level = colon != NULL ? weir_policy_level(p, colon + 1, strlen(colon + 1)) : -1;

	for (size_t i = 0; level >= 0 && i < p->nprojects; i++) {
		if (strlen(p->projects[i].vo) == (size_t)(colon - vo) && strncmp(p->projects[i].vo, vo, (size_t)(colon - vo)) == 0)
			claims_add(s, level, p->projects[i].name, "role", role);
	}
}

static void
claims_role(const struct weir_access_policy *p, const char *role, struct weir_access_standing *s)
{
	claims_access_role(p, role, s);
	for (size_t i = 0; i < p->nprojects; i++) {
		if (p->projects[i].role != NULL && strcmp(p->projects[i].role, role) == 0)
			claims_add(s, p->projects[i].level, p->projects[i].name, "role", role);
	}
}

static void
claims_entitlement(const struct weir_access_policy *p, const char *text, struct weir_access_standing *s)
{
	for (size_t i = 0; i < p->nprojects; i++) {
		if (p->projects[i].entitlement != NULL && weir_entitlement_covers(p->projects[i].entitlement, text))
			claims_add(s, p->projects[i].level, p->projects[i].name, "entitlement", text);
	}
}

/* A list of texts, or one text. */
static void
claims_each(const struct weir_access_policy *p, const json_t *list, struct weir_access_standing *s,
    void (*fn)(const struct weir_access_policy *, const char *, struct weir_access_standing *))
{
	const json_t *one;
	size_t i;

	if (json_is_string(list))
		fn(p, json_string_value(list), s);
	json_array_foreach (list, i, one) {
		const char *text = json_string_value(one);

		if (i < CLAIMS_LIST_MAX && text != NULL && strlen(text) <= CLAIMS_TEXT_MAX)
			fn(p, text, s);
	}
}

void
weir_claims_levels(const struct weir_access_policy *p, const json_t *claims, struct weir_access_standing *s)
{
	claims_each(p, json_object_get(json_object_get(claims, "realm_access"), "roles"), s, claims_role);
	claims_each(p, json_object_get(claims, "eduperson_entitlement"), s, claims_entitlement);
	claims_each(p, json_object_get(claims, "entitlements"), s, claims_entitlement);
}
