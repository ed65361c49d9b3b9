/* SPDX-License-Identifier: Apache-2.0 */
/* Access levels: rows of a policy, who has which, what a grant log is worth, what [limits] refuse, what a hook is told. Tokens: t_jwt.c. */
#include "config.h"

#include <CUnit/Basic.h>
#include <fcntl.h>
#include <grp.h>
#include <math.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../launcher/access/claims.h"
#include "../../launcher/access/impl.h"
#include "../../src/control/notify.h"
#include "util/text.h"

static char dir[] = "/tmp/weir-t-access.XXXXXX";
static const struct weir_access_place nowhere[] = {{NULL, false}};

/* Its path, for as long as the program runs. */
static const char *
file(const char *name)
{
	static struct { const char *name; char path[128]; } known[32];
	size_t i = 0;

	while (i < WEIR_LEN(known) - 1 && known[i].name != NULL && strcmp(known[i].name, name) != 0)
		i++;
	known[i].name = name;
	snprintf(known[i].path, sizeof(known[i].path), "%s/%s", dir, name);
	return known[i].path;
}

static void
put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	CU_ASSERT_FATAL(fd >= 0 && weir_pwrite_full(fd, text, strlen(text), 0) == 0);
	close(fd);
}

static char *
get(const char *path)
{
	char *text = NULL, *out;
	size_t len;

	CU_ASSERT_EQUAL_FATAL(weir_read_file(path, 1 << 20, &text, &len), 0);
	out = text;
	return out;
}

static struct weir_conf *
parsed(const char *text)
{
	struct weir_conf *c = NULL;
	struct weir_err err = {0};

	if (weir_conf_parse("p.conf", text, strlen(text), NULL, 0, &c, &err) != WEIR_OK)
		fprintf(stderr, "%s\n", err.msg);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	return c;
}

static struct weir_access *
opened(const struct weir_conf *c)
{
	struct weir_access *a = NULL;
	struct weir_err err = {0};

	if (weir_access_open_at(nowhere, c, &a, &err) != WEIR_OK)
		fprintf(stderr, "%s\n", err.msg);
	CU_ASSERT_PTR_NOT_NULL_FATAL(a);
	return a;
}

/* As somebody who is not root, whoever runs the test. */
static void
someone(struct weir_access *a)
{
	a->who.uid = 54321;
}

static bool
says(const struct weir_err *err, const char *words)
{
	if (strstr(err->msg, words) != NULL)
		return true;
	fprintf(stderr, "\n  said: %s\n  not:  %s\n", err->msg, words);
	return false;
}

static void
without_a_policy_nothing_is_refused(void)
{
	struct weir_conf *c = parsed("[limits]\ncpus = 4\n");
	struct weir_access *a = opened(NULL), *b = opened(c);

	someone(a);
	someone(b);
	for (int r = 0; r < WEIR_RIGHTS; r++) {
		CU_ASSERT_EQUAL(weir_access_allows(a, (enum weir_right)r, NULL, NULL), WEIR_OK);
		CU_ASSERT_EQUAL(weir_access_allows(b, (enum weir_right)r, "any", NULL), WEIR_OK);
	}
	CU_ASSERT_EQUAL(weir_access_limit(a, WEIR_LIMIT_TRIES), 3);
	CU_ASSERT(weir_access_limit(a, WEIR_LIMIT_CPUS) < 0);
	CU_ASSERT_EQUAL(weir_access_limit(b, WEIR_LIMIT_CPUS), 4);
	weir_access_close(a);
	weir_access_close(b);
	weir_conf_free(c);
}

static void
levels_stand_in_their_order(void)
{
	struct weir_conf *c = parsed("[access]\n[level ap-a]\nrights = try chat\n[level ap-b]\nrights = ap-a, train\n[level ap-d]\nrights = all\n");
	struct weir_access *a = opened(c);
	struct weir_err err = {0};

	someone(a);
	CU_ASSERT_EQUAL_FATAL(a->policy.nlevels, 3);
	CU_ASSERT_EQUAL(a->policy.levels[0].rights, 1u << WEIR_RIGHT_TRY | 1u << WEIR_RIGHT_CHAT);
	CU_ASSERT_EQUAL(a->policy.levels[1].rights, 1u << WEIR_RIGHT_TRY | 1u << WEIR_RIGHT_CHAT | 1u << WEIR_RIGHT_TRAIN);
	CU_ASSERT_EQUAL(a->policy.levels[2].rights, WEIR_RIGHTS_ALL);
	CU_ASSERT_EQUAL(weir_access_allows(a, WEIR_RIGHT_TRY, NULL, &err), WEIR_E_PERM);
	CU_ASSERT(says(&err, "the right 'try' is needed: current level: none, required level: ap-a; ask for it with 'weir access request --level ap-a --why TEXT'"));
	weir_standing_add(&a->standing, 0, "vo", 0, "a test");
	CU_ASSERT_EQUAL(weir_access_allows(a, WEIR_RIGHT_TRY, NULL, &err), WEIR_OK);
	CU_ASSERT_EQUAL(weir_access_allows(a, WEIR_RIGHT_TRAIN, NULL, &err), WEIR_E_PERM);
	CU_ASSERT(says(&err, "current level: ap-a, required level: ap-b"));
	CU_ASSERT_EQUAL(weir_access_allows(a, WEIR_RIGHT_DEVELOP, NULL, &err), WEIR_E_PERM);
	CU_ASSERT(says(&err, "required level: ap-d"));
	/* a level counts in its project, a grant (no project) everywhere */
	CU_ASSERT_EQUAL(weir_access_allows(a, WEIR_RIGHT_TRY, "vo", NULL), WEIR_OK);
	CU_ASSERT_EQUAL(weir_access_allows(a, WEIR_RIGHT_TRY, "other", &err), WEIR_E_PERM);
	CU_ASSERT(says(&err, "in project other: current level: none"));
	weir_standing_add(&a->standing, 1, NULL, 0, "a grant");
	CU_ASSERT_EQUAL(weir_access_allows(a, WEIR_RIGHT_TRAIN, "other", NULL), WEIR_OK);
	a->who.uid = 0;
	CU_ASSERT_EQUAL(weir_access_allows(a, WEIR_RIGHT_PRODUCTION, NULL, NULL), WEIR_OK);
	weir_access_close(a);
	weir_conf_free(c);
}

static void
basic_and_full_are_built_in(void)
{
	struct weir_conf *c = parsed("[access]\n");
	struct weir_access *a = opened(c);
	struct weir_err err = {0};
	static const bool basic[] = {
	    [WEIR_RIGHT_TRY] = true, [WEIR_RIGHT_DEPLOY] = true, [WEIR_RIGHT_CHAT] = true, [WEIR_RIGHT_STORAGE] = false,
	};

	someone(a);
	CU_ASSERT_EQUAL_FATAL(a->policy.nlevels, 2);
	weir_standing_add(&a->standing, 0, "p", 0, "a test");
	for (int r = 0; r < WEIR_RIGHTS; r++)
		CU_ASSERT_EQUAL(weir_access_allows(a, (enum weir_right)r, NULL, NULL) == WEIR_OK, basic[r]);
	CU_ASSERT_EQUAL(weir_access_allows(a, WEIR_RIGHT_TRAIN, NULL, &err), WEIR_E_PERM);
	CU_ASSERT(says(&err, "current level: basic, required level: full"));
	weir_access_close(a);
	weir_conf_free(c);
}

/* The primary group, one of the others, and what is none. */
static void
groups_give_levels(void)
{
	struct weir_access_who w = {0};
	struct passwd *pw = getpwuid(getuid());
	struct group *gr;

	CU_ASSERT_EQUAL_FATAL(weir_who_self(&w, NULL), WEIR_OK);
	CU_ASSERT_EQUAL(w.uid, getuid());
	CU_ASSERT(weir_who_has_gid(&w, pw != NULL ? pw->pw_gid : getgid()));
	gr = getgrgid(pw != NULL ? pw->pw_gid : getgid());
	if (gr != NULL)
		CU_ASSERT(weir_who_has_group(&w, gr->gr_name));
	CU_ASSERT(!weir_who_has_group(&w, "no-such-group-here"));
	if (pw != NULL)
		CU_ASSERT_STRING_EQUAL(w.name, pw->pw_name);
	weir_who_clear(&w);
	CU_ASSERT_EQUAL(weir_who_named("no-such-user-here", &w, NULL), WEIR_E_NOENT);
	CU_ASSERT_EQUAL(weir_who_named("", &w, NULL), WEIR_E_NOENT);
	CU_ASSERT_EQUAL(weir_who_named("99999999999999999999", &w, NULL), WEIR_E_NOENT);
	CU_ASSERT_EQUAL_FATAL(weir_who_named("0", &w, NULL), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(w.name, "root");
	weir_who_clear(&w);
}

/* ---- who could have written it ---- */

static void
what_a_user_could_write_is_told(void)
{
	gid_t g[] = {777};
	struct weir_access_who w = {.uid = 54321, .name = (char *)"x", .groups = g, .ngroups = 1};
	const char *f = file("guarded");

	if (getuid() != 0)
		return;	/* only root makes files of others */
	put(f, "x");
	CU_ASSERT(!weir_who_could_change(&w, f));
	CU_ASSERT_EQUAL(chmod(f, 0666), 0);
	CU_ASSERT(weir_who_could_change(&w, f));
	CU_ASSERT_EQUAL(chmod(f, 0664), 0);
	CU_ASSERT(!weir_who_could_change(&w, f));
	CU_ASSERT_EQUAL(chown(f, 0, 777), 0);
	CU_ASSERT(weir_who_could_change(&w, f));
	CU_ASSERT_EQUAL(chown(f, 54321, 0), 0);
	CU_ASSERT_EQUAL(chmod(f, 0444), 0);
	CU_ASSERT(weir_who_could_change(&w, f));	/* an owner gives the mode */
	CU_ASSERT_EQUAL(chown(f, 0, 0), 0);
	CU_ASSERT(!weir_who_could_change(&w, f));
	CU_ASSERT_EQUAL(chmod(dir, 0777), 0);
	CU_ASSERT(weir_who_could_change(&w, f));
	CU_ASSERT_EQUAL(chmod(dir, 01777), 0);
	CU_ASSERT(!weir_who_could_change(&w, f));
	CU_ASSERT_EQUAL(chown(dir, 54321, 0), 0);
	CU_ASSERT(weir_who_could_change(&w, f));
	CU_ASSERT_EQUAL(chown(dir, 0, 0), 0);
	CU_ASSERT_EQUAL(chmod(dir, 0755), 0);
	CU_ASSERT(weir_who_could_change(&w, file("is-not-there")));
}

static void
the_systems_file_counts_if_it_is_roots(void)
{
	const char *path = file("access.conf"), *other = file("weir.conf");
	const struct weir_access_place places[] = {{path, true}, {other, false}, {NULL, false}};
	struct weir_conf *c = parsed("[access]\n[level mine]\nrights = all\n[limits]\ngpus = 1\ncpus = 8\n");
	struct weir_access_policy p = {0};
	struct weir_err err = {0};

	CU_ASSERT_EQUAL_FATAL(weir_policy_load(places, c, &p, &err), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(p.levels[0].name, "mine");
	weir_policy_clear(&p);
	put(other, "[remote x]\nanything = goes\n");
	CU_ASSERT_EQUAL_FATAL(weir_policy_load(places, c, &p, &err), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(p.levels[0].name, "mine");
	weir_policy_clear(&p);
	put(path, "[access]\n[limits]\ngpus = 2\ncpus = 4\n");
	if (getuid() == 0) {
		CU_ASSERT_EQUAL_FATAL(weir_policy_load(places, c, &p, &err), WEIR_OK);
		CU_ASSERT_STRING_EQUAL(p.levels[0].name, "basic");
		CU_ASSERT(p.is_roots);
		CU_ASSERT(p.limits[WEIR_LIMIT_GPUS] == 2 && p.other_limits[WEIR_LIMIT_GPUS] == 1);
		weir_policy_clear(&p);
		CU_ASSERT_EQUAL(chown(path, 54321, 0), 0);
	}
	CU_ASSERT_EQUAL(weir_policy_load(places, c, &p, &err), WEIR_E_CONFIG);
	CU_ASSERT(says(&err, "others than root can change this policy"));
	unlink(path);
	unlink(other);
	weir_conf_free(c);
}

/* ---- the log ---- */

static void
entry(const char *path, const char *what, const char *user, const char *level, const char *until, const char *by)
{
	json_t *e = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "at", "2026-01-01T00:00:00Z", "what", what, "user", user, "level", level, "until", until, "by", by);
	struct weir_err err = {0};

	CU_ASSERT_EQUAL(weir_grant_log_append(path, e, 0644, &err), WEIR_OK);
	json_decref(e);
}

static int
levels_of(const char *path, const struct weir_access_policy *p, const char *user, int64_t now_s, int64_t until[WEIR_LEVELS_MAX])
{
	const char *const ids[] = {user, NULL};
	const json_t *by[WEIR_LEVELS_MAX];
	struct weir_grant_log log = {0};
	int highest = -1;

	CU_ASSERT_EQUAL_FATAL(weir_grant_log_read(path, &log, NULL), WEIR_OK);
	weir_grant_log_levels(&log, p, ids, now_s, until, by);
	for (int i = 0; i < (int)p->nlevels; i++)
		highest = until[i] != 0 ? i : highest;
	weir_grant_log_clear(&log);
	return highest;
}

static void
grants_count_until_their_end(void)
{
	struct weir_conf *c = parsed("[access]\n");
	struct weir_access *a = opened(c);
	const struct weir_access_policy *p = &a->policy;
	const char *path = file("grants");
	int64_t now = weir_date_parse("2026-06-01T00:00:00Z") / 1000000000, until[WEIR_LEVELS_MAX];

	entry(path, "grant", "ann", "full", "2026-12-31T00:00:00Z", "root");
	CU_ASSERT_EQUAL(levels_of(path, p, "ann", now, until), 1);
	CU_ASSERT_EQUAL(until[1], weir_date_parse("2026-12-31T00:00:00Z") / 1000000000);
	CU_ASSERT_EQUAL(levels_of(path, p, "an", now, until), -1);
	CU_ASSERT_EQUAL(levels_of(path, p, "ann", until[1] > 0 ? until[1] : now + 365 * 86400, until), -1);
	entry(path, "grant", "ann", "full", "2026-05-31T00:00:00Z", "root");	/* shortened: into the past */
	CU_ASSERT_EQUAL(levels_of(path, p, "ann", now, until), -1);
	entry(path, "grant", "ann", "full", "2026-12-31T00:00:00Z", "ann");
	CU_ASSERT_EQUAL(levels_of(path, p, "ann", now, until), -1);	/* nobody gives to themself */
	entry(path, "grant", "ann", "basic", "2026-12-31T00:00:00Z", "bob");
	entry(path, "grant", "ann", "no-such-level", "2026-12-31T00:00:00Z", "bob");
	entry(path, "grant", "ann", "full", "some day", "bob");
	CU_ASSERT_EQUAL(levels_of(path, p, "ann", now, until), 0);
	entry(path, "request", "ann", "full", "2026-12-31T00:00:00Z", "bob");
	CU_ASSERT_EQUAL(levels_of(path, p, "ann", now, until), 0);
	entry(path, "revoke", "bob", "", "", "root");
	CU_ASSERT_EQUAL(levels_of(path, p, "ann", now, until), 0);
	entry(path, "revoke", "ann", "", "", "root");
	CU_ASSERT_EQUAL(levels_of(path, p, "ann", now, until), -1);
	weir_access_close(a);
	weir_conf_free(c);
}

/* Reads the log of `text`: how many entries, where it breaks. */
static void
chain_of(const char *text, size_t entries, int damaged, int torn)
{
	struct weir_grant_log log = {0};
	const char *path = file("chain-copy");

	put(path, text);
	CU_ASSERT_EQUAL_FATAL(weir_grant_log_read(path, &log, NULL), WEIR_OK);
	CU_ASSERT_EQUAL(json_array_size(log.entries), entries);
	CU_ASSERT_EQUAL(log.damaged_line, damaged);
	CU_ASSERT_EQUAL(log.torn, torn);
	weir_grant_log_clear(&log);
}

static void
every_edit_of_the_log_is_noticed(void)
{
	const char *path = file("chain");
	char *text, *edited, *second;
	size_t len;

	for (int i = 0; i < 4; i++)
		entry(path, "grant", "ann", i & 1 ? "full" : "basic", "2030-01-01T00:00:00Z", "root");
	text = get(path);
	len = strlen(text);
	chain_of(text, 4, 0, 0);
	/* each byte: either the chain breaks, or the line is no whole one any more and the next one breaks it; the last line alone can only be lost */
	for (size_t i = 0; i < len; i += 7) {
		struct weir_grant_log log = {0};

		edited = weir_xstrdup(text);
		edited[i] ^= 1;
		put(file("chain-copy"), edited);
		CU_ASSERT_EQUAL_FATAL(weir_grant_log_read(file("chain-copy"), &log, NULL), WEIR_OK);
		CU_ASSERT(log.damaged_line > 0 || log.torn > 0);
		CU_ASSERT(json_array_size(log.entries) < 4);
		weir_grant_log_clear(&log);
		free(edited);
	}
	second = text + strcspn(text, "\n") + 1;
	chain_of(second, 0, 1, 0);		/* the first line is gone */
	edited = weir_xasprintf("%s%s", text, second);
	chain_of(edited, 4, 5, 0);		/* lines again */
	free(edited);
	edited = weir_xasprintf("%s{\"at\":\"2026", text);
	chain_of(edited, 4, 0, 1);		/* a piece */
	put(path, edited);
	free(edited);
	entry(path, "revoke", "ann", "", "", "root");
	free(text);
	text = get(path);
	chain_of(text, 5, 0, 1);
	text[10] ^= 1;
	put(path, text);
	{
		json_t *e = json_pack("{s:s}", "what", "revoke");
		struct weir_err err = {0};

		CU_ASSERT_EQUAL(weir_grant_log_append(path, e, 0644, &err), WEIR_E_BADSUM);
		CU_ASSERT(says(&err, "was changed in line 1"));
		json_decref(e);
	}
	free(text);
	chain_of("", 0, 0, 0);
	chain_of("\n\n", 0, 0, 0);
	chain_of("garbage\n{}\n", 0, 0, 2);
}

static void
ends_are_dates_or_spans(void)
{
	int64_t now = weir_date_parse("2026-06-01T12:00:00Z") / 1000000000, s = 0;
	struct weir_err err = {0};

	CU_ASSERT_EQUAL(weir_access_until("2026-06-01", now, &s, &err), WEIR_OK);
	CU_ASSERT_EQUAL(s, now + 12 * 3600);	/* that whole day */
	CU_ASSERT_EQUAL(weir_access_until("2026-06-01T13:00:00Z", now, &s, &err), WEIR_OK);
	CU_ASSERT_EQUAL(s, now + 3600);
	CU_ASSERT_EQUAL(weir_access_until("30d", now, &s, &err), WEIR_OK);
	CU_ASSERT_EQUAL(s, now + 30 * 86400);
	CU_ASSERT_EQUAL(weir_access_until("2026-05-31", now, &s, &err), WEIR_E_INVAL);
	CU_ASSERT_EQUAL(weir_access_until("0s", now, &s, &err), WEIR_E_INVAL);
	CU_ASSERT_EQUAL(weir_access_until("30", now, &s, &err), WEIR_E_INVAL);
	CU_ASSERT_EQUAL(weir_access_until("tomorrow", now, &s, &err), WEIR_E_INVAL);
	CU_ASSERT_EQUAL(weir_access_until("", now, &s, &err), WEIR_E_INVAL);
	CU_ASSERT_EQUAL(weir_access_until("2026-13-01", now, &s, &err), WEIR_E_INVAL);
}

/* ---- limits ---- */

static void
limits_refuse_with_their_place(void)
{
	struct weir_conf *c = parsed("[limits]\ncpus = 4\nmemory = 16GB\ngpus = 2\ntime = 10min\n[access]\n[level low]\nrights = try\ntries = 1\n"
	    "[level high]\nrights = all\ntries = none\ngpus = 8\n");
	struct weir_access *a = opened(c);
	struct weir_err err = {0};

	someone(a);
	CU_ASSERT_EQUAL(weir_access_limit(a, WEIR_LIMIT_TRIES), 3);	/* no level, no own value: the default */
	CU_ASSERT_EQUAL(weir_access_limit(a, WEIR_LIMIT_TIME), 600000);
	CU_ASSERT_EQUAL(weir_access_fits(a, WEIR_LIMIT_GPUS, 1, 1, &err), WEIR_OK);
	CU_ASSERT_EQUAL(weir_access_fits(a, WEIR_LIMIT_GPUS, 2, 1, &err), WEIR_E_PERM);
	CU_ASSERT(says(&err, "GPUs of a user: asked for 2 besides 1 in use, and the limit is 2 (p:1)"));
	CU_ASSERT_EQUAL(weir_access_fits(a, WEIR_LIMIT_MEMORY, 17e9, 0, &err), WEIR_E_PERM);
	CU_ASSERT(says(&err, "memory of a job: asked for 17.00 GB, and the limit is 16.00 GB (p:1)"));
	CU_ASSERT_EQUAL(weir_access_fits(a, WEIR_LIMIT_TIME, 600001, 0, &err), WEIR_E_PERM);
	weir_standing_add(&a->standing, 0, NULL, 0, "a test");
	CU_ASSERT_EQUAL(weir_access_limit(a, WEIR_LIMIT_TRIES), 1);
	CU_ASSERT_EQUAL(weir_access_limit(a, WEIR_LIMIT_GPUS), 2);
	CU_ASSERT_EQUAL(weir_access_fits(a, WEIR_LIMIT_TRIES, 1, 1, &err), WEIR_E_PERM);
	CU_ASSERT(says(&err, "(p:7)"));
	weir_standing_add(&a->standing, 1, NULL, 0, "a test");
	CU_ASSERT(weir_access_limit(a, WEIR_LIMIT_TRIES) < 0);
	CU_ASSERT_EQUAL(weir_access_limit(a, WEIR_LIMIT_GPUS), 8);
	weir_access_close(a);
	weir_conf_free(c);
}

static void
mistakes_are_named(void)
{
	static const struct { const char *text, *words; } rows[] = {
	    {"[access]\nlog = here\n", "p:2: [access] log: 'here' is not absolute"},
	    {"[access]\n[level a]\n", "p:2: [level a]: 'rights' is needed"},
	    {"[access]\n[level a]\nrights = b\n[level b]\nrights = try\n", "p:3: [level a] rights: 'b' is neither"},
	    {"[access]\n[project a]\nmembers_group = x\n", "'level' is needed"},
	    {"[access]\n[project a]\nlevel = full\n", "for nobody"},
	    {"[access]\naudience = x\n", "[access] audience: means nothing without 'issuer'"},
	    {"[access]\nissuer = https://x\naudience = a\nskew = 1h\n", "is longer than 600 s"},
	    {"[access]\nissuer = http://127.0.0.1.evil\naudience = a\n", "no https"},
	    {"[limits]\ncpus = 0\n", "no number of processors"},
	    {"[limits]\ngpus = -1\n", "no whole number"},
	    {"[limits]\ntries = 1.5\n", "no whole number"},
	    {"[limits]\nmemory = lots\n", "no size"},
	    {"[limits]\ntime = 0\n", "no time"},
	    {"[project a]\nlevel = full\n", "means nothing without a section [access]"},
	};

	for (size_t i = 0; i < WEIR_LEN(rows); i++) {
		struct weir_conf *c = parsed(rows[i].text);
		struct weir_access_policy p = {0};
		struct weir_err err = {0};

		CU_ASSERT_EQUAL(weir_policy_load(nowhere, c, &p, &err), WEIR_E_CONFIG);
		CU_ASSERT(says(&err, rows[i].words));
		weir_conf_free(c);
	}
}

/* ---- claims ---- */

static void
entitlements_are_compared_as_their_guideline_says(void)
{
	static const struct { const char *want, *got; bool covers; } rows[] = {
	    {"urn:mace:egi.eu:group:vo:role=member", "urn:mace:egi.eu:group:vo:role=member#aai.egi.eu", true},
	    {"urn:mace:egi.eu:group:vo", "urn:mace:egi.eu:group:vo:role=member#aai.egi.eu", true},
	    {"URN:MACE:egi.eu:group:vo", "urn:mace:egi.eu:group:vo", true},
	    {"urn:mace:EGI.eu:group:vo", "urn:mace:egi.eu:group:vo", false},
	    {"urn:mace:egi.eu:group:vo", "urn:mace:egi.eu:group:vo:sub#x", true},
	    {"urn:mace:egi.eu:group:vo:sub", "urn:mace:egi.eu:group:vo#x", false},
	    {"urn:mace:egi.eu:group:vo", "urn:mace:egi.eu:group:vo2", false},
	    {"urn:mace:egi.eu:group:vo:role=admin", "urn:mace:egi.eu:group:vo:role=member", false},
	    {"urn:mace:egi.eu:group:vo:role=admin", "urn:mace:egi.eu:group:vo", false},
	    {"urn:mace:egi.eu:group:vo:role=admin", "urn:mace:egi.eu:group:vo:sub:role=admin", false},
	    {"urn:mace:egi.eu:group:vo#aai", "urn:mace:egi.eu:group:vo#other", false},
	    {"urn:mace:egi.eu:group:vo#aai", "urn:mace:egi.eu:group:vo", false},
	    {"urn:mace:egi.eu:group:vo#aai", "urn:mace:egi.eu:group:vo#aai", true},
	    {"urn:geant:h-df.de:group:a%20b", "urn:geant:h-df.de:group:a b", true},
	    {"urn:mace:egi.eu:group:vo", "urn:mace:egi.eu:x:group:vo", false},
	    {"urn:mace:egi.eu:group:vo", "urn:mace:egi.eu:group::vo", false},
	    {"urn:mace:egi.eu:group:vo", "urn:mace:egi.eu:group:", false},
	    {"urn:mace:egi.eu:group:vo", "mace:egi.eu:group:vo", false},
	};

	for (size_t i = 0; i < WEIR_LEN(rows); i++) {
		if (weir_entitlement_covers(rows[i].want, rows[i].got) != rows[i].covers)
			fprintf(stderr, "%s and %s\n", rows[i].want, rows[i].got);
		CU_ASSERT_EQUAL(weir_entitlement_covers(rows[i].want, rows[i].got), rows[i].covers);
	}
	CU_ASSERT(!weir_entitlement_is_good("urn:x:group"));
	CU_ASSERT(!weir_entitlement_is_good("urn:x:y:group:role=x"));
	CU_ASSERT(!weir_entitlement_is_good("urn:x:y:group:a:role="));
	CU_ASSERT(!weir_entitlement_is_good(""));
}

static int
claimed(struct weir_access *a, const char *claims, const char *project)
{
	json_t *o = json_loads(claims, 0, NULL);
	int level;

	weir_standing_clear(&a->standing);
	weir_claims_levels(&a->policy, o, &a->standing);
	level = weir_standing_highest(&a->standing, project);
	json_decref(o);
	return level;
}

static void
roles_give_levels_in_their_project(void)
{
	struct weir_conf *c = parsed("[access]\nissuer = https://i\naudience = a\n[level ap-a]\nrights = try\n[level ap-u]\nrights = all\n"
	    "[project imagine]\nvo = vo.imagine-ai.eu\n[project vo.ai4eosc.eu]\n[project other]\nrole = special\nlevel = ap-a\n"
	    "[project other]\nentitlement = urn:a:b:group:g\nlevel = ap-u\n");
	struct weir_access *a = opened(c);

	CU_ASSERT_EQUAL(claimed(a, "{\"realm_access\":{\"roles\":[\"access:vo.imagine-ai.eu:ap-u\"]}}", NULL), 1);
	CU_ASSERT_EQUAL(weir_standing_highest(&a->standing, "imagine"), 1);
	CU_ASSERT_EQUAL(weir_standing_highest(&a->standing, "vo.ai4eosc.eu"), -1);
	CU_ASSERT_EQUAL(claimed(a, "{\"realm_access\":{\"roles\":[\"access:vo.ai4eosc.eu:ap-a\",\"access:vo.ai4eosc.eu:ap-a\"]}}", "vo.ai4eosc.eu"), 0);
	CU_ASSERT_EQUAL(a->standing.nheld, 1);
	CU_ASSERT_EQUAL(claimed(a, "{\"realm_access\":{\"roles\":[\"access:vo.imagine-ai.eu:ap-0\",\"access:imagine:ap-u\",\"access::ap-u\",\"access:ap-u\","
	    "\"Access:vo.ai4eosc.eu:ap-u\",\"access:vo.ai4eosc.eu:ap-u:x\",7,null,{}]}}", NULL), -1);
	CU_ASSERT_EQUAL(claimed(a, "{\"realm_access\":{\"roles\":\"special\"}}", "other"), 0);
	CU_ASSERT_EQUAL(claimed(a, "{\"eduperson_entitlement\":[\"urn:a:b:group:g:sub#x\"]}", "other"), 1);
	CU_ASSERT_EQUAL(claimed(a, "{\"entitlements\":\"urn:a:b:group:g\"}", "other"), 1);
	CU_ASSERT_EQUAL(claimed(a, "{\"realm_access\":[],\"eduperson_entitlement\":{}}", NULL), -1);
	CU_ASSERT_EQUAL(claimed(a, "{\"roles\":[\"access:vo.ai4eosc.eu:ap-u\"]}", NULL), -1);
	weir_access_close(a);
	weir_conf_free(c);
}

/* ---- the hook ---- */

static void
the_hook_is_told_in_bounded_time(void)
{
	WEIR_AUTO(weir_freep) char *text = weir_xasprintf("[notify]\ncommand = cat > %s; exit 0\n", file("told"));
	WEIR_AUTO(weir_freep) char *told = NULL;
	struct weir_conf *c = parsed(text), *bad = parsed("[notify]\ncommand = exit 3\n"), *slow = parsed("[notify]\ncommand = sleep 1000 & sleep 1000\ntimeout = 200ms\n");
	struct weir_err err = {0};
	int64_t begin;
	json_t *o;

	CU_ASSERT_EQUAL(weir_notify(NULL, "job-end", json_object(), &err), WEIR_E_NOENT);
	CU_ASSERT_EQUAL(weir_notify(c, "job-end", json_pack("{s:s, s:i, s:s}", "job", "a \"b\"\n", "status", 3, "event", "forged"), &err), WEIR_OK);
	told = get(file("told"));
	o = json_loads(told, 0, NULL);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(o, "event")), "job-end");
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(o, "job")), "a \"b\"\n");
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(o, "status")), 3);
	CU_ASSERT_PTR_NOT_NULL(json_object_get(o, "host"));
	CU_ASSERT_PTR_NOT_NULL(json_object_get(o, "at"));
	json_decref(o);
	weir_log_setup("t", false, WEIR_LOG_ERROR);
	CU_ASSERT_EQUAL(weir_notify(bad, "job-end", NULL, &err), WEIR_E_IO);
	CU_ASSERT(says(&err, "failed with status 3"));
	begin = weir_now_ms();
	CU_ASSERT_EQUAL(weir_notify(slow, "job-end", NULL, &err), WEIR_E_TIMEDOUT);
	CU_ASSERT(weir_now_ms() - begin < 60000);	/* far from 1000 s, whatever the machine */
	CU_ASSERT_EQUAL(weir_notify_check(c, &err), WEIR_OK);
	weir_conf_free(c);
	weir_conf_free(bad);
	weir_conf_free(slow);
	c = parsed("[notify]\ntimeout = 1s\n");
	CU_ASSERT_EQUAL(weir_notify_check(c, &err), WEIR_E_CONFIG);
	weir_conf_free(c);
}

int
main(void)
{
	CU_pSuite s;
	unsigned failed;
	char *rm;

	if (mkdtemp(dir) == NULL || chmod(dir, 0755) != 0 || CU_initialize_registry() != CUE_SUCCESS)
		return 99;
	s = CU_add_suite("access", NULL, NULL);
	CU_ADD_TEST(s, without_a_policy_nothing_is_refused);
	CU_ADD_TEST(s, levels_stand_in_their_order);
	CU_ADD_TEST(s, basic_and_full_are_built_in);
	CU_ADD_TEST(s, groups_give_levels);
	CU_ADD_TEST(s, what_a_user_could_write_is_told);
	CU_ADD_TEST(s, the_systems_file_counts_if_it_is_roots);
	CU_ADD_TEST(s, grants_count_until_their_end);
	CU_ADD_TEST(s, every_edit_of_the_log_is_noticed);
	CU_ADD_TEST(s, ends_are_dates_or_spans);
	CU_ADD_TEST(s, limits_refuse_with_their_place);
	CU_ADD_TEST(s, mistakes_are_named);
	CU_ADD_TEST(s, entitlements_are_compared_as_their_guideline_says);
	CU_ADD_TEST(s, roles_give_levels_in_their_project);
	CU_ADD_TEST(s, the_hook_is_told_in_bounded_time);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	rm = weir_xasprintf("rm -rf %s", dir);
	if (system(rm) != 0)
		failed++;
	free(rm);
	return failed > 0;
}
