/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a user, for people and programs: weir access show. */
#include "config.h"

#include "impl.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "../../src/util/text.h"

#define SHOW_OWN_MAX (1u << 20)	/* bytes of one user's requests */
#define SHOW_PENDING_MAX 1000

static json_t *
show_rights(unsigned bits)
{
	json_t *rights = json_array();

	for (int i = 0; i < WEIR_RIGHTS; i++) {
		if (bits & 1u << i)
			json_array_append_new(rights, json_string(weir_right_name((enum weir_right)i)));
	}
	return rights;
}

static json_t *
show_held(const struct weir_access_policy *p, const struct weir_access_standing *s, unsigned *bits)
{
	json_t *all = json_array();

	for (size_t i = 0; i < s->nheld; i++) {
		const struct weir_access_held *h = &s->held[i];
		WEIR_AUTO(weir_freep) char *until = h->until_s != 0 ? weir_access_date(h->until_s) : NULL;
		json_t *o = json_pack("{s:s, s:s?, s:s, s:s?}", "level", p->levels[h->level].name, "project", h->project, "how", h->how, "until", until);

		json_array_append_new(all, o);
		*bits |= p->levels[h->level].rights;
	}
	return all;
}

/* ---- requests that nobody has answered: those behind the last grant or revocation of their user ---- */

static const char *
show_text(const json_t *entry, const char *key)
{
	return json_string_value(json_object_get(entry, key));
}

/* When an administrator last answered this user; "": never. Dates in this form compare as texts. Borrowed from log. */
static const char *
show_answered(const struct weir_grant_log *log, const char *user)
{
	const char *at = "";
	const json_t *e;
	size_t i;

	json_array_foreach (log->entries, i, e) {
		const char *what = show_text(e, "what"), *about = show_text(e, "user"), *t = show_text(e, "at");

		if (what != NULL && about != NULL && t != NULL && strcmp(what, "request") != 0 && strcmp(about, user) == 0)
			at = t;
	}
	return at;
}

/* user NULL: of everybody. owner: who asks, whatever the entries say; NULL: as they say. */
static void
show_pending(const struct weir_grant_log *from, const struct weir_grant_log *answers, const char *user, const char *owner, json_t *out)
{
	const json_t *e;
	size_t i;

	json_array_foreach (from->entries, i, e) {
		const char *what = show_text(e, "what"), *at = show_text(e, "at"), *about = owner != NULL ? owner : show_text(e, "user");

		if (what == NULL || at == NULL || about == NULL || strcmp(what, "request") != 0 || (user != NULL && strcmp(about, user) != 0) ||
		    strcmp(at, show_answered(answers, about)) <= 0 || json_array_size(out) >= SHOW_PENDING_MAX)
			continue;
		json_array_append_new(out, json_pack("{s:s, s:s, s:O?, s:O?}", "user", about, "at", at, "level", json_object_get(e, "level"), "why",
		    json_object_get(e, "why")));
	}
}

/* One file in the folder of requests: its owner says who asked. */
static void
show_pending_file(const char *path, const struct weir_grant_log *answers, const struct weir_access_who *w, json_t *out)
{
	struct weir_grant_log log = {0};
	struct stat st;

	if (lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == w->uid && st.st_size <= (off_t)SHOW_OWN_MAX &&
	    weir_grant_log_read(path, &log, NULL) == WEIR_OK)
		show_pending(&log, answers, NULL, w->name, out);
	weir_grant_log_clear(&log);
}

static void
show_pending_folder(const struct weir_access_policy *p, const struct weir_grant_log *answers, json_t *out)
{
	DIR *d = p->requests != NULL ? opendir(p->requests) : NULL;
	const struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL) {
		size_t n = strspn(e->d_name, "0123456789");
		WEIR_AUTO(weir_freep) char *uid = weir_xstrndup(e->d_name, n), *path = weir_path_join(p->requests, e->d_name);
		struct weir_access_who w = {0};

		if (n > 0 && strcmp(e->d_name + n, ".log") == 0 && weir_who_named(uid, &w, NULL) == WEIR_OK)
			show_pending_file(path, answers, &w, out);
		weir_who_clear(&w);
	}
	if (d != NULL)
		closedir(d);
}

/* Of one user, or (w NULL) of everybody. */
static json_t *
show_all_pending(const struct weir_access_policy *p, const struct weir_access_who *w)
{
	struct weir_grant_log log = {.entries = NULL};
	json_t *out = json_array();

	if (p->log != NULL)
		weir_grant_log_read(p->log, &log, NULL);
	show_pending(&log, &log, w != NULL ? w->name : NULL, NULL, out);
	if (w != NULL) {
		WEIR_AUTO(weir_freep) char *own = weir_access_own_file(p, w->uid);

		if (own != NULL)
			show_pending_file(own, &log, w, out);
	} else
		show_pending_folder(p, &log, out);
	weir_grant_log_clear(&log);
	return out;
}

/* ---- the rest ---- */

static json_t *
show_policy(const struct weir_access *a)
{
	const struct weir_access_policy *p = &a->policy;
	json_t *levels = json_array();

	if (p->section == NULL)
		return json_null();
	for (size_t i = 0; i < p->nlevels; i++)
		json_array_append_new(levels, json_pack("{s:s, s:o}", "level", p->levels[i].name, "rights", show_rights(p->levels[i].rights)));
	return json_pack("{s:s?, s:b, s:b, s:o}", "file", p->conf->path, "system", p->own != NULL, "roots", p->is_roots, "levels", levels);
}

static json_t *
show_limits(struct weir_access *a)
{
	static const char *const names[] = {
	    [WEIR_LIMIT_TRIES] = "tries", [WEIR_LIMIT_CPUS] = "cpus", [WEIR_LIMIT_MEMORY] = "memory", [WEIR_LIMIT_GPUS] = "gpus", [WEIR_LIMIT_TIME] = "time_ms",
	};
	json_t *o = json_object();

	for (int i = 0; i < WEIR_LIMITS; i++) {
		double n = weir_access_limit(a, (enum weir_limit)i);

		if (n >= 0)
			json_object_set_new(o, names[i], n == floor(n) && n < 9e15 ? json_integer((json_int_t)n) : json_real(n));
	}
	return o;
}

static json_t *
show_who(struct weir_access *a, const struct weir_access_who *w, const struct weir_access_standing *s)
{
	const struct weir_access_policy *p = &a->policy;
	int level = weir_standing_highest(s, NULL);
	json_t *notes = json_array(), *held;
	bool is_free = p->section == NULL || w->uid == 0;
	unsigned bits = is_free ? WEIR_RIGHTS_ALL : 0;

	held = show_held(p, s, &bits);
	if (s->token_note != NULL)
		json_array_append_new(notes, json_string(s->token_note));
	if (s->log_note != NULL)
		json_array_append_new(notes, json_string(s->log_note));
	return json_pack("{s:s, s:I, s:s?, s:s?, s:o, s:o, s:b, s:o, s:o}", "user", w->name, "uid", (json_int_t)w->uid, "level",
	    level >= 0 ? p->levels[level].name : NULL, "subject", s->subject, "rights", show_rights(bits), "held", held, "admin", weir_who_is_admin(w, p),
	    "asked", show_all_pending(p, w), "notes", notes);
}

enum weir_code
weir_access_show(struct weir_access *a, const char *user, struct json_t **out, struct weir_err *err)
{
	struct weir_access_standing other = {0};
	struct weir_access_who w = {0};
	bool is_self = user == NULL;
	enum weir_code r = a->who.name == NULL ? weir_who_self(&a->who, err) : WEIR_OK;

	if (r != WEIR_OK)
		return r;
	if (!is_self) {
		r = weir_who_named(user, &w, err);
		if (r != WEIR_OK)
			return r;
		is_self = w.uid == a->who.uid;
		if (!is_self && a->policy.section != NULL)
			weir_standing_of(&a->policy, &w, weir_access_now_s(), &other);
	}
	if (is_self)
		weir_access_settle(a);
	*out = show_who(a, is_self ? &a->who : &w, is_self ? &a->standing : &other);
	json_object_set_new(*out, "policy", show_policy(a));
	if (is_self)
		json_object_set_new(*out, "limits", show_limits(a));
	if (user == NULL && a->policy.section != NULL && weir_who_is_admin(&a->who, &a->policy))
		json_object_set_new(*out, "pending", show_all_pending(&a->policy, NULL));
	weir_standing_clear(&other);
	weir_who_clear(&w);
	return WEIR_OK;
}
