/* SPDX-License-Identifier: Apache-2.0 */
/* What people write into the log: requests, grants, revocations. Each is told to the notify hook once it is on disk. */
#include "config.h"

#include "impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../src/util/text.h"
#include "../../src/control/notify.h"

char *
weir_access_date(int64_t s)
{
	char out[32] = "";
	time_t t = (time_t)s;
	struct tm tm;

	if (gmtime_r(&t, &tm) != NULL)
		strftime(out, sizeof(out), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return weir_xstrdup(out);
}

static enum weir_code
asks_need_policy(const struct weir_access *a, struct weir_err *err)
{
	if (a->policy.section != NULL)
		return WEIR_OK;
	return weir_err_set(err, WEIR_E_NOENT, "there is no [access] in the configuration: nothing is refused, so there is nothing to ask for");
}

/* Reasons are read by people, on a terminal too. */
static enum weir_code
asks_check_text(const char *option, const char *text, struct weir_err *err)
{
	json_t *word = text != NULL ? json_string(text) : NULL;
	bool is_text = word != NULL;

	json_decref(word);
	if (text == NULL || text[strspn(text, " \t\n")] == '\0')
		return weir_err_set(err, WEIR_E_INVAL, "%s TEXT is needed", option);
	if (strlen(text) > WEIR_GRANT_REASON_MAX)
		return weir_err_set(err, WEIR_E_INVAL, "%s: at most %d bytes", option, WEIR_GRANT_REASON_MAX);
	if (!is_text)
		return weir_err_set(err, WEIR_E_INVAL, "%s: this is no UTF-8", option);
	for (const char *p = text; *p != '\0'; p++) {
		if (((unsigned char)*p < 0x20 && *p != '\n' && *p != '\t') || *p == 0x7f)
			return weir_err_set(err, WEIR_E_INVAL, "%s: control characters have no place in it", option);
	}
	return WEIR_OK;
}

static enum weir_code
asks_level(const struct weir_access *a, const char *level, int *out, struct weir_err *err)
{
	int have = weir_standing_highest(&a->standing, NULL);

	*out = level != NULL ? weir_policy_level(&a->policy, level, strlen(level)) : have + 1;
	if (level != NULL && *out < 0)
		return weir_err_set(err, WEIR_E_NOENT, "there is no level '%.64s'", level);
	if (*out >= (int)a->policy.nlevels)
		return weir_err_set(err, WEIR_E_EXIST, "you have the highest level already: %s", a->policy.levels[have].name);
	return WEIR_OK;
}

/* Who acts: as root through sudo, the person is told too (root may write there what they like). */
static json_t *
asks_entry(const struct weir_access *a, const char *what, const char *user)
{
	WEIR_AUTO(weir_freep) char *at = weir_access_date(weir_access_now_s());
	const char *sudo = a->who.uid == 0 ? getenv("SUDO_USER") : NULL;
	char host[256] = "localhost";
	json_t *e = json_object();

	gethostname(host, sizeof(host) - 1);
	json_object_set_new(e, "at", json_string(at));
	json_object_set_new(e, "what", json_string(what));
	json_object_set_new(e, "user", json_string(user));
	json_object_set_new(e, "by", json_string(a->who.name));
	json_object_set_new(e, "by_uid", json_integer((json_int_t)a->who.uid));
	if (sudo != NULL)
		json_object_set_new(e, "sudo_user", json_string(sudo));
	json_object_set_new(e, "host", json_string(host));
	return e;
}

static void
asks_tell(const struct weir_access *a, const char *event, const json_t *entry, enum weir_code *code, struct weir_err *err)
{
	json_t *fields = json_deep_copy(entry);

	json_object_del(fields, "what");
	json_object_set(fields, "about", json_object_get(fields, "user"));	/* "user" is who runs weir, in every event */
	json_object_del(fields, "user");
	*code = weir_notify(a->policy.conf, event, fields, err);
}

/* ---- request ---- */

char *
weir_access_own_file(const struct weir_access_policy *p, uid_t uid)
{
	return p->requests != NULL ? weir_xasprintf("%s/%u.log", p->requests, (unsigned)uid) : NULL;
}

/* Into the log, where this user may write it; else into their own file in the folder of requests. A log that root trusts is never made by a user: it would
 * be theirs. */
static enum weir_code
asks_write_request(const struct weir_access *a, const json_t *entry, struct weir_err *err)
{
	const struct weir_access_policy *p = &a->policy;
	WEIR_AUTO(weir_freep) char *own = weir_access_own_file(p, a->who.uid);
	bool may_make = !p->is_roots || a->who.uid == 0;

	if (p->log != NULL && (access(p->log, W_OK) == 0 || (may_make && errno == ENOENT)))
		return weir_grant_log_append(p->log, entry, 0644, err);
	if (own != NULL)
		return weir_grant_log_append(own, entry, 0644, err);
	return weir_err_set(err, WEIR_E_NOENT, "the request can be written nowhere: [access] needs 'requests', a folder that all may write to (chmod 1773)");
}

enum weir_code
weir_access_request(struct weir_access *a, const char *level, const char *why, struct weir_err *err)
{
	struct weir_err hook = {0};
	json_t *entry;
	int want = -1;
	enum weir_code r = asks_need_policy(a, err), told;

	if (r == WEIR_OK)
		r = asks_check_text("--why", why, err);
	weir_access_settle(a);
	if (r == WEIR_OK)
		r = asks_level(a, level, &want, err);
	if (r != WEIR_OK)
		return r;
	entry = asks_entry(a, "request", a->who.name);
	json_object_set_new(entry, "level", json_string(a->policy.levels[want].name));
	json_object_set_new(entry, "why", json_string(why));
	if (a->standing.subject != NULL)
		json_object_set_new(entry, "subject", json_string(a->standing.subject));
	r = asks_write_request(a, entry, err);
	if (r == WEIR_OK || r == WEIR_E_NOENT) {
		asks_tell(a, "access-asked", entry, &told, &hook);
		r = told == WEIR_OK ? WEIR_OK : r;	/* whoever the hook told knows it */
	}
	json_decref(entry);
	return r;
}

/* ---- grant, revoke ---- */

enum weir_code
weir_access_until(const char *text, int64_t now_s, int64_t *out_s, struct weir_err *err)
{
	int64_t ns = text != NULL ? weir_date_parse(text) : INT64_MIN, ms;

	if (text == NULL || *text == '\0')
		return weir_err_set(err, WEIR_E_INVAL, "--until DATE is needed: 2026-12-31, or 30d");
	if (ns != INT64_MIN)
		*out_s = ns / 1000000000 + (strlen(text) == 10 ? 24 * 3600 : 0);	/* a day is meant whole */
	else if (text[strspn(text, "0123456789")] != '\0' && weir_duration_parse(text, &ms) == 0)
		*out_s = now_s + ms / 1000;
	else
		return weir_err_set(err, WEIR_E_INVAL, "--until '%.64s': wants a date as 2026-12-31 or 2026-12-31T18:00:00Z, or a span as 12h or 30d", text);
	if (*out_s <= now_s)
		return weir_err_set(err, WEIR_E_INVAL, "--until '%.64s' is over already", text);
	return WEIR_OK;
}

/* May this one act on USER? *who: the user of this host, or the "sub:…" of a token as it is. */
static enum weir_code
asks_admin(const struct weir_access *a, const char *what, const char *user, char **who, struct weir_err *err)
{
	const char *sudo = a->who.uid == 0 ? getenv("SUDO_USER") : NULL;
	struct weir_access_who w = {0};
	enum weir_code r = asks_need_policy(a, err);

	if (r != WEIR_OK)
		return r;
	if (!weir_who_is_admin(&a->who, &a->policy))
		return weir_err_set(err, WEIR_E_PERM, "only root%s%s may do this", a->policy.admins_group != NULL ? " and members of the group " : "",
		    a->policy.admins_group != NULL ? a->policy.admins_group : "");
	if (a->policy.log == NULL)
		return weir_conf_section_bad(a->policy.section, NULL, err, "'log' is needed: the file that holds grants");
	if (strncmp(user, "sub:", 4) == 0 && user[4] != '\0')
		*who = weir_xstrdup(user);
	else if ((r = weir_who_named(user, &w, err)) == WEIR_OK)
		*who = weir_xstrdup(w.name);
	weir_who_clear(&w);
	if (r != WEIR_OK)
		return r;
	if (strcmp(what, "grant") == 0 && (strcmp(*who, a->who.name) == 0 || (sudo != NULL && strcmp(*who, sudo) == 0)))
		return weir_err_set(err, WEIR_E_PERM, "nobody grants a level to themself: ask somebody else who may");
	return WEIR_OK;
}

static enum weir_code
asks_write(const struct weir_access *a, const char *event, json_t *entry, struct weir_err *err)
{
	enum weir_code r = weir_grant_log_append(a->policy.log, entry, 0644, err), told;
	struct weir_err hook = {0};

	if (r == WEIR_OK)
		asks_tell(a, event, entry, &told, &hook);
	json_decref(entry);
	return r;
}

enum weir_code
weir_access_grant(const struct weir_access *a, const char *user, const char *level, const char *until, const char *reason, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *who = NULL, *end = NULL;
	int64_t until_s;
	json_t *entry;
	int k = -1;
	enum weir_code r = asks_admin(a, "grant", user, &who, err);

	if (r == WEIR_OK)
		r = asks_level(a, level, &k, err);
	if (r == WEIR_OK)
		r = weir_access_until(until, weir_access_now_s(), &until_s, err);
	if (r == WEIR_OK)
		r = asks_check_text("--reason", reason, err);
	if (r != WEIR_OK)
		return r;
	end = weir_access_date(until_s);
	entry = asks_entry(a, "grant", who);
	json_object_set_new(entry, "level", json_string(level));
	json_object_set_new(entry, "until", json_string(end));
	json_object_set_new(entry, "reason", json_string(reason));
	return asks_write(a, "access-granted", entry, err);
}

enum weir_code
weir_access_revoke(const struct weir_access *a, const char *user, const char *reason, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *who = NULL;
	json_t *entry;
	enum weir_code r = asks_admin(a, "revoke", user, &who, err);

	if (r == WEIR_OK && reason != NULL)
		r = asks_check_text("--reason", reason, err);
	if (r != WEIR_OK)
		return r;
	entry = asks_entry(a, "revoke", who);
	if (reason != NULL)
		json_object_set_new(entry, "reason", json_string(reason));
	return asks_write(a, "access-revoked", entry, err);
}
