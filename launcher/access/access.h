/* SPDX-License-Identifier: Apache-2.0 */
/* Who may do what: the levels of weir.conf(5), given by groups, by a token, by a grant in the log. weir-access(1) is the manual.
 *
 * A policy is [access] with its [level], [project], [limits] and [notify]. The system's policy is /etc/weir/access.conf, else the [access] of
 * /etc/weir/weir.conf, when the file is root's; it alone counts then, whatever -c names. Else the [access] of the configuration in use counts, which
 * is advice when the user owns that file. Without any [access] nothing is refused. uid 0 is refused nothing, because it could change the policy.
 *
 * Levels stand in their order, the lowest first. A user may do what any of their levels has; the highest one is "the current level" of a sentence.
 *
 * A token is looked at only when groups and grants are not enough: its issuer may have to be asked (15 s at most an answer, two answers).
 *
 * Threads: one access is used by one thread at a time. What asks the issuer starts a thread for the network and ends it before it returns, so that the
 * process may fork afterwards. */
#ifndef WEIR_ACCESS_H
#define WEIR_ACCESS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../../src/util/err.h"

struct weir_conf;

enum weir_right {
	WEIR_RIGHT_TRY,		/* weir try, predict */
	WEIR_RIGHT_DEPLOY,	/* a module served in one's own cloud (later: weir deploy) */
	WEIR_RIGHT_CHAT,	/* later: the llm of a site */
	WEIR_RIGHT_DEVELOP,	/* weir develop, run, exec */
	WEIR_RIGHT_TRAIN,	/* weir train */
	WEIR_RIGHT_PRODUCTION,	/* later: weir deploy on the site's own machines */
	WEIR_RIGHT_STORAGE,	/* a job that sees a namespace at /storage: asked for besides the right of its verb */
	WEIR_RIGHTS,
};
const char *weir_right_name(enum weir_right);	/* "try": the word in rights = … */

struct weir_access;

/* Reads the policy and finds out who runs this process (the real uid; a token, if there is an issuer). Everything that can be wrong with the policy
 * itself is said here: CONFIG. A token that is not accepted, or an issuer that does not answer, is no failure but gives no level; the sentence of a
 * refusal says so. No network yet. conf (may be NULL) is borrowed until weir_access_close(). The variable that holds the token is
 * taken out of the environment: no job inherits it; so open once in a process, before a job starts.
 * *out is never NULL on success, also when there is no policy. */
enum weir_code weir_access_open(const struct weir_conf *conf, struct weir_access **out, struct weir_err *);
void weir_access_close(struct weir_access *);	/* NULL is fine */
void weir_access_closep(struct weir_access **);

/* PERM: refused; the sentence has the current and the required level and how to ask. project: levels of other projects do not count (grants do);
 * NULL: those of any project. */
enum weir_code weir_access_allows(struct weir_access *, enum weir_right, const char *project, struct weir_err *);

/* ---- [limits] ---- */

enum weir_limit {
	WEIR_LIMIT_TRIES,	/* jobs of `weir try` that one user has at once */
	WEIR_LIMIT_CPUS,	/* of one job */
	WEIR_LIMIT_MEMORY,	/* of one job, bytes */
	WEIR_LIMIT_GPUS,	/* of all jobs of one user at once */
	WEIR_LIMIT_TIME,	/* of one job, milliseconds */
	WEIR_LIMITS,
};
/* Negative: no limit. The user's highest level's own value, else that of [limits], else the default (3 tries at once, nothing else); when both the system
 * and the configuration in use have one, the lower. Also without [access]. */
double weir_access_limit(struct weir_access *, enum weir_limit);
/* Do `asked` more fit? in_use: what other jobs of the user hold (TRIES and GPUS; 0 else). PERM with both numbers and the place of the limit. A job that names no
 * memory, processors or time where there is a limit is started with the limit itself: weir_access_limit(). */
enum weir_code weir_access_fits(struct weir_access *, enum weir_limit, double asked, double in_use, struct weir_err *);

/* ---- weir access ---- */

/* Checks the policy that would count, without asking who anybody is: CONFIG. *has_policy (may be NULL): is there one? For `weir check`. */
enum weir_code weir_access_check(const struct weir_conf *, bool *has_policy, struct weir_err *);

/* What is known about a user (login name or uid; NULL: who runs this process) as a JSON object that weir-access(1) describes; borrowed references
 * are the caller's to free with json_decref(). Of others no token is known. NOENT: there is no such user. */
struct json_t;
enum weir_code weir_access_show(struct weir_access *, const char *user, struct json_t **out, struct weir_err *);

/* The three entries of the log. Each is told to the notify hook afterwards. PERM: not for the one who asks. NOENT: no policy, no such user or level.
 * level NULL: the lowest above the current one. */
enum weir_code weir_access_request(struct weir_access *, const char *level, const char *why, struct weir_err *);
/* until: 2026-12-31 (that whole day, UTC), a date with a time (ISO 8601), or a span from now as 12h or 30d. */
enum weir_code weir_access_grant(const struct weir_access *, const char *user, const char *level, const char *until, const char *reason, struct weir_err *);
enum weir_code weir_access_revoke(const struct weir_access *, const char *user, const char *reason, struct weir_err *);

#endif
