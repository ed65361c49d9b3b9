/* SPDX-License-Identifier: Apache-2.0 */
/* Inside launcher/access: policy.c (rows of the configuration), who.c (users and groups), log.c (requests, grants), jwt.c and jwks.c (tokens against
 * keys, no network), keys.c (the issuer's keys), claims.c (what a token says about levels), access.c (the verdict). */
#ifndef WEIR_ACCESS_IMPL_H
#define WEIR_ACCESS_IMPL_H
#include <jansson.h>

#include "../../src/conf/conf.h"
#include "../../src/util/util.h"
#include "access.h"

#define WEIR_LEVELS_MAX 64
#define WEIR_RIGHTS_ALL ((1u << WEIR_RIGHTS) - 1)

/* ---- policy.c ---- */

struct weir_access_level {
	char *name;
	unsigned rights;		/* 1 << WEIR_RIGHT_… */
	double limits[WEIR_LIMITS];	/* negative: not given */
};
struct weir_access_project {		/* one row: whom it knows, what they get */
	const char *name, *vo;		/* borrowed from the configuration */
	char **groups;			/* unix groups, NULL-terminated */
	const char *role, *entitlement;	/* NULL: none */
	int level;			/* index; -1: only roles that name their level */
};
struct weir_access_policy {
	struct weir_conf *own;			/* a file of the system, when that counts */
	const struct weir_conf *conf;		/* what counts: own, or the caller's; NULL: neither */
	const struct weir_section_conf *section;	/* [access]; NULL: nothing is refused */
	bool is_roots;				/* the file is root's alone */
	struct weir_access_level *levels;	/* the lowest first */
	size_t nlevels;
	struct weir_access_project *projects;
	size_t nprojects;
	const struct weir_section_conf *limits_section;	/* [limits] beside it; NULL: none */
	double limits[WEIR_LIMITS];		/* of it; negative: not given */
	double other_limits[WEIR_LIMITS];	/* the lowest of other files' */
	char *other_place[WEIR_LIMITS];		/* "FILE:LINE" of these; owned */
	/* [access] */
	const char *log, *requests, *admins_group, *issuer, *token_file, *token_variable, *keys_file, *ca_file, *proxy;
	char **audiences;
	int64_t keys_age_s, keys_offline_s, skew_s;
};
/* Where the system's policy may stand, in order of preference; with is_only nothing but a policy may stand there. Ends with a NULL path. */
struct weir_access_place { const char *path; bool is_only; };
extern const struct weir_access_place weir_access_places[];
enum weir_code weir_policy_load(const struct weir_access_place *, const struct weir_conf *, struct weir_access_policy *out, struct weir_err *);
void weir_policy_clear(struct weir_access_policy *);
int weir_policy_level(const struct weir_access_policy *, const char *name, size_t len);	/* index, -1: none */

/* ---- who.c ---- */

struct weir_access_who {
	uid_t uid;
	char *name;			/* login name, or the number */
	gid_t *groups;			/* the primary one too */
	size_t ngroups;
};
enum weir_code weir_who_self(struct weir_access_who *out, struct weir_err *);
/* By login name, else by number. NOENT. */
enum weir_code weir_who_named(const char *user, struct weir_access_who *out, struct weir_err *);
void weir_who_clear(struct weir_access_who *);
bool weir_who_has_group(const struct weir_access_who *, const char *group);	/* false too when there is no such group */
bool weir_who_has_gid(const struct weir_access_who *, gid_t);
/* Could this user change what the file says: by its owner and mode, or those of a folder on the way to it? uid 0 is not asked about. */
bool weir_who_could_change(const struct weir_access_who *, const char *path);
bool weir_who_is_admin(const struct weir_access_who *, const struct weir_access_policy *);

/* ---- log.c ---- */

#define WEIR_GRANT_REASON_MAX 1000	/* bytes of a reason */

struct weir_grant_log {
	json_t *entries;		/* array of objects, in order; only those before a break of the chain */
	int damaged_line;		/* > 0: here the chain is broken */
	int torn;			/* lines that were never whole (a crash, a full disk) */
};
/* NOENT: there is no log yet. */
enum weir_code weir_grant_log_read(const char *path, struct weir_grant_log *out, struct weir_err *);
void weir_grant_log_clear(struct weir_grant_log *);
/* One line, on disk when it returns. entry: borrowed; "hash" is added. mode: for a log that is made now. */
enum weir_code weir_grant_log_append(const char *path, const json_t *entry, mode_t mode, struct weir_err *);
/* Ends of the grants that a user has at a time: until[level], 0 = none. ids: names that mean this user, NULL-terminated. by[level]: the entry, borrowed. */
void weir_grant_log_levels(const struct weir_grant_log *, const struct weir_access_policy *, const char *const *ids, int64_t now_s,
    int64_t until[WEIR_LEVELS_MAX], const json_t *by[WEIR_LEVELS_MAX]);

/* ---- token.c ---- */

/* Takes the variable out of the environment. Owned (weir_secret_free). NOENT: there is none. */
enum weir_code weir_token_find(const struct weir_access_policy *, char **out, struct weir_err *);
/* The claims, owned. AUTH, NOENT: it does not count; others: it could not be checked. */
enum weir_code weir_token_verify(const struct weir_access_policy *, const struct weir_access_who *, const char *token, int64_t now_s, json_t **claims,
    struct weir_err *);

/* ---- the verdict ---- */

struct weir_access_held {
	int level;
	char *project;			/* NULL: counts everywhere */
	char *how;			/* "group 'imagine'" */
	int64_t until_s;		/* 0: no end */
};
struct weir_access_standing {		/* what one user has */
	struct weir_access_held *held;
	size_t nheld;
	char *subject;			/* of an accepted token; NULL: none */
	char *token_note, *log_note;	/* why the one or the other does not count; NULL: it does, or there is none */
};
void weir_standing_add(struct weir_access_standing *, int level, const char *project, int64_t until_s, const char *fmt, ...) WEIR_PRINTF(5, 6);
void weir_standing_clear(struct weir_access_standing *);
int weir_standing_highest(const struct weir_access_standing *, const char *project);	/* index, -1: none */

struct weir_access {
	const struct weir_conf *conf;		/* the caller's */
	struct weir_access_policy policy;
	struct weir_access_who who;
	struct weir_access_standing standing;
	char *token;				/* NULL: none */
	bool is_settled;			/* the token was looked at, or there is none */
};
enum weir_code weir_access_open_at(const struct weir_access_place *, const struct weir_conf *, struct weir_access **out, struct weir_err *);
/* What groups and the log give; a token before it, because it may say who somebody is. */
void weir_standing_of(const struct weir_access_policy *, const struct weir_access_who *, int64_t now_s, struct weir_access_standing *);
void weir_standing_token(const struct weir_access_policy *, const struct weir_access_who *, const char *token, int64_t now_s, struct weir_access_standing *);
/* A token is looked at when nothing else is enough: it may need the network. */
void weir_access_settle(struct weir_access *);
int weir_policy_needed(const struct weir_access_policy *, enum weir_right);	/* the lowest level with that right, -1: none */
int64_t weir_access_now_s(void);
enum weir_code weir_access_until(const char *text, int64_t now_s, int64_t *out_s, struct weir_err *);	/* what --until means; INVAL */

char *weir_access_date(int64_t s);	/* "2026-12-31T00:00:00Z"; owned */
char *weir_access_own_file(const struct weir_access_policy *, uid_t);	/* a user's own requests; owned, NULL: [access] has no such folder */

/* ---- lists ---- */

/* "a, b c": at commas and blanks; owned, NULL-terminated. */
char **weir_access_split(const char *);
void weir_access_split_free(char **);

#endif
