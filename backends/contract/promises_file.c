/* SPDX-License-Identifier: Apache-2.0 */
/* Promises about single files: bytes, ranges, versions, preconditions, metadata, names. */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#include "contract.h"

static void
what_is_put_is_what_is_got(struct t *t)
{
	WEIR_AUTO(weir_freep) char *p = t_path(t, "f");
	WEIR_AUTO(weir_stat_free) struct weir_stat put = { 0 }, got = { 0 }, st = { 0 };
	struct t_sink k;
	const uint64_t size = 300001;

	OK(t, t_put_seed(t, p, NULL, 7, size, &put));
	CHECK(t, put.version != NULL);
	t_sink_seed(&k, 7, 0);
	OK(t, t_get(t, p, NULL, 0, size, &k, &got));
	CHECK(t, k.got == size);
	CHECK(t, k.bad == 0);
	OK(t, t_stat(t, p, &st));
	CHECK(t, st.type == WEIR_FILE);
	CHECK(t, st.size == size);
	CHECK(t, got.size == size);
	CHECK(t, put.version != NULL && st.version != NULL && strcmp(put.version, st.version) == 0);
	CHECK(t, got.version != NULL && st.version != NULL && strcmp(got.version, st.version) == 0);
}

static void
an_empty_file_is_a_file(struct t *t)
{
	WEIR_AUTO(weir_freep) char *p = t_path(t, "empty");
	WEIR_AUTO(weir_stat_free) struct weir_stat put = { 0 }, st = { 0 };
	struct t_sink k;

	OK(t, t_put(t, p, NULL, "", &put));
	OK(t, t_stat(t, p, &st));
	CHECK(t, st.type == WEIR_FILE);
	CHECK(t, st.size == 0);
	t_sink_seed(&k, 0, 0);
	OK(t, t_get(t, p, put.version, 0, UINT64_MAX, &k, NULL));
	OK(t, t_get(t, p, put.version, 0, 4096, &k, NULL));
	OK(t, t_get(t, p, put.version, 10, 10, &k, NULL));
	CHECK(t, k.got == 0);
}

static void
what_is_not_there_is_noent(struct t *t)
{
	WEIR_AUTO(weir_freep) char *p = t_path(t, "no such"), *q = t_path(t, "no/such/way");
	WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 };
	struct t_sink k;

	t_sink_keep(&k);
	CODE(t, t_stat(t, p, &st), WEIR_E_NOENT);
	CODE(t, t_stat(t, q, &st), WEIR_E_NOENT);
	CODE(t, t_get(t, p, NULL, 0, 10, &k, &st), WEIR_E_NOENT);
	CODE(t, t_remove(t, p, NULL, false), WEIR_E_NOENT);
	CODE(t, t_remove(t, p, NULL, true), WEIR_E_NOENT);
	CHECK(t, k.got == 0);
	weir_buf_free(&k.buf);
}

static void
a_range_gives_just_these_bytes(struct t *t)
{
	static const struct { uint64_t off, len, got; } cases[] = { { 0, 1, 1 }, { 0, 100000, 100000 }, { 1, 99999, 99999 },
		{ 4096, 8192, 8192 }, { 99999, 1, 1 }, { 50000, 0, 0 } };
	WEIR_AUTO(weir_freep) char *p = t_path(t, "f");
	WEIR_AUTO(weir_stat_free) struct weir_stat put = { 0 };

	OK(t, t_put_seed(t, p, NULL, 3, 100000, &put));
	for (size_t i = 0; i < WEIR_LEN(cases); i++) {
		WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 };
		struct t_sink k;

		t_sink_seed(&k, 3, cases[i].off);
		OK(t, t_get(t, p, put.version, cases[i].off, cases[i].len, &k, &st));
		CHECK(t, k.got == cases[i].got);
		CHECK(t, k.bad == 0);
		CHECK(t, st.size == 100000);
	}
}

static void
a_range_beyond_the_end_is_short_or_empty(struct t *t)
{
	static const struct { uint64_t off, len, got; } cases[] = { { 90, 100, 10 }, { 99, UINT64_MAX, 1 }, { 100, 1, 0 }, { 100, 4096, 0 },
		{ 5000, 4096, 0 }, { UINT64_MAX - 1, 10, 0 }, { 0, 101, 100 } };
	WEIR_AUTO(weir_freep) char *p = t_path(t, "f");

	OK(t, t_put_seed(t, p, NULL, 4, 100, NULL));
	for (size_t i = 0; i < WEIR_LEN(cases); i++) {
		struct t_sink k;

		t_sink_seed(&k, 4, cases[i].off);
		OK(t, t_get(t, p, NULL, cases[i].off, cases[i].len, &k, NULL));
		if (!CHECK(t, k.got == cases[i].got))
			t_say(t, "offset %llu length %llu gave %llu", (unsigned long long)cases[i].off,
			    (unsigned long long)cases[i].len, (unsigned long long)k.got);
		CHECK(t, k.bad == 0);
	}
}

static void
put_replaces_all_of_it_and_the_version(struct t *t)
{
	WEIR_AUTO(weir_freep) char *p = t_path(t, "f");
	WEIR_AUTO(weir_stat_free) struct weir_stat one = { 0 }, two = { 0 };

	OK(t, t_put(t, p, NULL, "a longer text at first", &one));
	OK(t, t_put(t, p, NULL, "short", &two));
	CHECK(t, one.version != NULL && two.version != NULL && strcmp(one.version, two.version) != 0);
	t_holds(t, p, "short");
}

static bool
is_refusal(enum weir_code r)
{
	return r == WEIR_E_CHANGED || r == WEIR_E_EXIST;
}

static void
create_only_creates_once(struct t *t)
{
	WEIR_AUTO(weir_freep) char *p = t_path(t, "f");
	WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 };

	OK(t, t_put(t, p, WEIR_ABSENT, "first", &st));
	CHECK(t, is_refusal(t_put(t, p, WEIR_ABSENT, "second", NULL)));
	t_holds(t, p, "first");
}

static void
replace_wants_the_version_it_names(struct t *t)
{
	WEIR_AUTO(weir_freep) char *p = t_path(t, "f");
	WEIR_AUTO(weir_stat_free) struct weir_stat one = { 0 }, two = { 0 };

	OK(t, t_put(t, p, NULL, "one", &one));
	OK(t, t_put(t, p, one.version, "two", &two));
	CODE(t, t_put(t, p, one.version, "three", NULL), WEIR_E_CHANGED);
	t_holds(t, p, "two");
	OK(t, t_put(t, p, two.version, "four", NULL));
	t_holds(t, p, "four");
}

static void
replace_of_a_removed_file_is_refused(struct t *t)
{
	WEIR_AUTO(weir_freep) char *p = t_path(t, "f");
	WEIR_AUTO(weir_stat_free) struct weir_stat one = { 0 }, st = { 0 };
	enum weir_code r;

	OK(t, t_put(t, p, NULL, "one", &one));
	OK(t, t_remove(t, p, one.version, false));
	r = t_put(t, p, one.version, "two", NULL);
	CHECK(t, r == WEIR_E_CHANGED || r == WEIR_E_NOENT);
	CODE(t, t_stat(t, p, &st), WEIR_E_NOENT);
}

static void
get_of_a_changed_version_is_changed(struct t *t)
{
	WEIR_AUTO(weir_freep) char *p = t_path(t, "f");
	WEIR_AUTO(weir_stat_free) struct weir_stat one = { 0 };
	struct t_sink k;

	OK(t, t_put_seed(t, p, NULL, 1, 50000, &one));
	OK(t, t_put_seed(t, p, NULL, 2, 50000, NULL));
	t_sink_seed(&k, 1, 0);
	CODE(t, t_get(t, p, one.version, 0, 50000, &k, NULL), WEIR_E_CHANGED);
	CODE(t, t_get(t, p, one.version, 40000, 100, &k, NULL), WEIR_E_CHANGED);
	CODE(t, t_get(t, p, one.version, 60000, 100, &k, NULL), WEIR_E_CHANGED);
	CHECK(t, k.got == 0);
}

static void
remove_names_a_version_too(struct t *t)
{
	WEIR_AUTO(weir_freep) char *p = t_path(t, "f");
	WEIR_AUTO(weir_stat_free) struct weir_stat one = { 0 }, two = { 0 }, st = { 0 };

	OK(t, t_put(t, p, NULL, "one", &one));
	OK(t, t_put(t, p, NULL, "two", &two));
	CODE(t, t_remove(t, p, one.version, false), WEIR_E_CHANGED);
	t_holds(t, p, "two");
	OK(t, t_remove(t, p, two.version, false));
	CODE(t, t_stat(t, p, &st), WEIR_E_NOENT);
	CODE(t, t_remove(t, p, NULL, false), WEIR_E_NOENT);
}

static void
a_right_sum_is_accepted(struct t *t)
{
	WEIR_AUTO(weir_freep) char *p = t_path(t, "f");
	WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 };
	const struct weir_where w = { .path = p };
	const struct weir_meta meta = { WEIR_TIME_NONE, WEIR_MODE_NONE };
	struct t_source src;

	t_source_text(&src, "hello");
	OK(t, t->ops->put(t->be, &t->ctx, &w, WEIR_FILE, &src.src, 5, &meta, "md5:5d41402abc4b2a76b9719d911017c592", &st, &t->err));
	t_holds(t, p, "hello");
}

/* ---- metadata ---- */

static void
mtime_given_with_put_is_kept(struct t *t)
{
	const struct weir_meta meta = { 1234567890123000000, WEIR_MODE_NONE };
	WEIR_AUTO(weir_freep) char *p = t_path(t, "f");
	WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 }, done = { 0 };
	const struct weir_where w = { .path = p };
	struct t_source src;

	t_source_text(&src, "old");
	OK(t, t->ops->put(t->be, &t->ctx, &w, WEIR_FILE, &src.src, 3, &meta, NULL, &done, &t->err));
	OK(t, t_stat(t, p, &st));
	/* Some storages keep whole seconds only. */
	CHECK(t, st.mtime_ns == meta.mtime_ns || st.mtime_ns == meta.mtime_ns / 1000000000 * 1000000000);
	CHECK(t, done.mtime_ns == WEIR_TIME_NONE || done.mtime_ns == st.mtime_ns);
}

static void
set_meta(struct t *t, const char *path, int64_t mtime, uint32_t mode)
{
	WEIR_AUTO(weir_stat_free) struct weir_stat before = { 0 }, done = { 0 }, after = { 0 };
	const struct weir_meta meta = { mtime, mode };
	struct weir_where w = { .path = path };

	OK(t, t_stat(t, path, &before));
	w.version = before.version;
	OK(t, t->ops->set_meta(t->be, &t->ctx, &w, false, &meta, &done, &t->err));
	OK(t, t_stat(t, path, &after));
	CHECK(t, done.version == NULL || (after.version != NULL && strcmp(done.version, after.version) == 0));
	CHECK(t, done.version != NULL || (after.version != NULL && before.version != NULL && strcmp(after.version, before.version) == 0));
	if (mtime != WEIR_TIME_NONE)
		CHECK(t, after.mtime_ns / 1000000000 == mtime / 1000000000);
	if (mode != WEIR_MODE_NONE)
		CHECK(t, after.mode == mode);
	if (mode == WEIR_MODE_NONE && before.mode != WEIR_MODE_NONE)
		CHECK(t, after.mode == before.mode);
}

static void
set_meta_changes_mtime_and_nothing_else(struct t *t)
{
	WEIR_AUTO(weir_freep) char *p = t_path(t, "f");

	OK(t, t_put(t, p, NULL, "content stays", NULL));
	set_meta(t, p, 1000000000000000000, WEIR_MODE_NONE);
	t_holds(t, p, "content stays");
}

static void
set_meta_changes_mode_and_nothing_else(struct t *t)
{
	WEIR_AUTO(weir_freep) char *p = t_path(t, "f");

	OK(t, t_put(t, p, NULL, "content stays", NULL));
	set_meta(t, p, WEIR_TIME_NONE, 0755);
	set_meta(t, p, 1000000000000000000, WEIR_MODE_NONE);
	set_meta(t, p, WEIR_TIME_NONE, 0640);
	t_holds(t, p, "content stays");
}

static void
set_meta_of_a_changed_version_is_changed(struct t *t)
{
	const struct weir_meta meta = { 1000000000000000000, WEIR_MODE_NONE };
	WEIR_AUTO(weir_freep) char *p = t_path(t, "f");
	WEIR_AUTO(weir_stat_free) struct weir_stat one = { 0 }, st = { 0 };
	struct weir_where w = { .path = p };

	OK(t, t_put(t, p, NULL, "one", &one));
	OK(t, t_put(t, p, NULL, "two!", NULL));
	w.version = one.version;
	CODE(t, t->ops->set_meta(t->be, &t->ctx, &w, false, &meta, &st, &t->err), WEIR_E_CHANGED);
	t_holds(t, p, "two!");
}

/* ---- names ---- */

static const char *const hard_names[] = { "plain.txt", "a b", " leading", "trailing ", "trailing.", "a+b", "a+b=c&d", "%41", "100%", "a%2Fb",
	"semi;colon", "co:lon", "com,ma", "que?ry#frag", "back\\slash", "<tag>&amp;", "\"quoted\"", "it's", "a*b(c)!'", "[x]{y}", "~tilde",
	"$HOME `x` |", "@at", "^", "=", "...", ".hidden", "-dash", "caf\xC3\xA9", "e\xCC\x81 decomposed", "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E",
	"\xF0\x9F\x98\x80", "\xEF\xBC\x8F full-width slash", "\xEF\xBC\x8E", "\xE2\x80\x9B quote", "tab\there" };
/* A storage may refuse these (NAME or NAMETOOLONG), but not spoil them. */
static const char *const harder_names[] = { "new\nline", "ctl\x01\x1f", "del\x7f", "not utf-8 \xff\xfe", "\xe2\x80\x9b" "FF", "\xe2\x80\x9b\xe2\x80\x9b" "80" };

/* Is this the name in a listing? A storage may say that names come back composed. */
static bool
name_is(struct t *t, const char *listed, const char *name)
{
	WEIR_AUTO(weir_freep) char *a = NULL, *b = NULL;

	if (strcmp(listed, name) == 0)
		return true;
	if (!(weir_backend_caps(t->be) & WEIR_CAP_FOLD_NFC))
		return false;
	a = (char *)utf8proc_NFC((const utf8proc_uint8_t *)listed);
	b = (char *)utf8proc_NFC((const utf8proc_uint8_t *)name);
	return a != NULL && b != NULL && strcmp(a, b) == 0;
}

static void
name_lives(struct t *t, const char *name, bool may_be_refused)
{
	WEIR_AUTO(weir_freep) char *p = t_path(t, name);
	WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 };
	struct t_list l = { 0 };
	size_t times = 0;
	enum weir_code r = t_put(t, p, NULL, name, NULL);

	if (may_be_refused && (r == WEIR_E_NAME || r == WEIR_E_NAMETOOLONG)) {
		t_say(t, "refused: %s", weir_err_text(&t->err, r));
		return;
	}
	if (!OK(t, r)) {
		t_say(t, "put of '%s'", name);
		return;
	}
	OK(t, t_stat(t, p, &st));
	t_holds(t, p, name);
	OK(t, t_list(t, t->dir, 0, &l));
	for (size_t i = 0; i < l.n; i++)
		times += name_is(t, l.v[i].path, name);
	if (!CHECK(t, times == 1) || !CHECK(t, l.n == 1)) {
		t_say(t, "listed %zu times: '%s'", times, name);
		for (size_t i = 0; i < l.n; i++)
			t_say(t, "listed: '%s'", l.v[i].path);
	}
	t_list_free(&l);
	OK(t, t_remove(t, p, NULL, false));
}

static void
hard_names_live_as_files(struct t *t)
{
	for (size_t i = 0; i < WEIR_LEN(hard_names); i++)
		name_lives(t, hard_names[i], false);
	for (size_t i = 0; i < WEIR_LEN(harder_names); i++)
		name_lives(t, harder_names[i], true);
}

static void
hard_names_live_as_directories(struct t *t)
{
	for (size_t i = 0; i < WEIR_LEN(hard_names); i++) {
		WEIR_AUTO(weir_freep) char *d = t_path(t, hard_names[i]), *f = weir_path_join(d, hard_names[i]);
		struct t_list l = { 0 };

		OK(t, t_mkdir(t, d));
		OK(t, t_put(t, f, NULL, hard_names[i], NULL));
		OK(t, t_list(t, t->dir, 0, &l));
		if (!CHECK(t, l.n == 1 && name_is(t, l.v[0].path, hard_names[i])))
			t_say(t, "'%s'", hard_names[i]);
		t_list_free(&l);
		OK(t, t_list(t, d, 0, &l));
		CHECK(t, l.n == 1 && name_is(t, l.v[0].path, hard_names[i]));
		t_list_free(&l);
		OK(t, t_remove(t, f, NULL, false));
		OK(t, t_remove(t, d, NULL, true));
	}
}

static void
the_longest_name_lives_and_one_more_is_too_long(struct t *t)
{
	const struct weir_limits *lim = weir_backend_limits(t->be);
	size_t max = lim->name_max == 0 ? 255 : lim->name_max;
	WEIR_AUTO(weir_freep) char *name = weir_xcalloc(max + 2, 1), *p = NULL;

	memset(name, 'n', max);
	name_lives(t, name, false);
	name[max] = 'n';
	p = t_path(t, name);
	CODE(t, t_put(t, p, NULL, "x", NULL), WEIR_E_NAMETOOLONG);
}

/* Case and composition are kept apart unless the storage says that it folds them. */
static void
names_that_differ_little_are_two(struct t *t)
{
	unsigned caps = weir_backend_caps(t->be);
	WEIR_AUTO(weir_freep) char *lower = t_path(t, "case"), *upper = t_path(t, "CASE");
	WEIR_AUTO(weir_freep) char *nfc = t_path(t, "caf\xC3\xA9"), *nfd = t_path(t, "cafe\xCC\x81");

	if (!(caps & WEIR_CAP_FOLD_CASE)) {
		OK(t, t_put(t, lower, WEIR_ABSENT, "lower", NULL));
		OK(t, t_put(t, upper, WEIR_ABSENT, "upper", NULL));
		t_holds(t, lower, "lower");
	}
	if (!(caps & WEIR_CAP_FOLD_NFC)) {
		OK(t, t_put(t, nfc, WEIR_ABSENT, "nfc", NULL));
		OK(t, t_put(t, nfd, WEIR_ABSENT, "nfd", NULL));
		t_holds(t, nfc, "nfc");
	}
}

/* ---- races ---- */

struct race { struct t *t; const char *path, *version; enum weir_code r[8]; uint64_t size; };

static void
race_put(void *arg, int i)
{
	struct race *race = arg;
	struct t local = *race->t;

	race->r[i] = t_put_seed(&local, race->path, race->version, 100u + (unsigned)i, race->size, NULL);
}

/* Which of n seeds is there, whole? -1: none. */
static int
race_winner(struct t *t, const char *path, int n, uint64_t size)
{
	for (int i = 0; i < n; i++) {
		struct t_sink k;

		t_sink_seed(&k, 100u + (unsigned)i, 0);
		if (t_get(t, path, NULL, 0, UINT64_MAX, &k, NULL) == WEIR_OK && k.got == size && k.bad == 0)
			return i;
	}
	return -1;
}

static void
of_two_puts_at_once_one_stays_whole(struct t *t)
{
	WEIR_AUTO(weir_freep) char *p = t_path(t, "f");
	struct race race = { .t = t, .path = p, .size = 1u << 20 };

	t_parallel(2, 2, race_put, &race);
	OK(t, race.r[0]);
	OK(t, race.r[1]);
	CHECK(t, race_winner(t, p, 2, race.size) >= 0);
}

static void
race_one_wins(struct t *t, struct race *race)
{
	int won = 0, winner = -1;

	t_parallel(8, 8, race_put, race);
	for (int i = 0; i < 8; i++) {
		if (race->r[i] == WEIR_OK) {
			won++;
			winner = i;
		} else if (!CHECK(t, is_refusal(race->r[i]) || race->r[i] == WEIR_E_LOCKED)) {
			t_say(t, "%s", weir_code_name(race->r[i]));
		}
	}
	if (!CHECK(t, won == 1))
		t_say(t, "%d of 8 won", won);
	CHECK(t, race_winner(t, race->path, 8, race->size) == winner);
}

static void
of_eight_creates_at_once_one_wins(struct t *t)
{
	WEIR_AUTO(weir_freep) char *p = t_path(t, "f");
	struct race race = { .t = t, .path = p, .version = WEIR_ABSENT, .size = 70000 };

	race_one_wins(t, &race);
}

static void
of_eight_replacements_of_one_version_one_wins(struct t *t)
{
	WEIR_AUTO(weir_freep) char *p = t_path(t, "f");
	WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 };
	struct race race = { .t = t, .path = p, .size = 70000 };

	OK(t, t_put(t, p, NULL, "base", &st));
	race.version = st.version;
	race_one_wins(t, &race);
}

const struct promise promises_file[] = {
	PROMISE(what_is_put_is_what_is_got),
	PROMISE(an_empty_file_is_a_file),
	PROMISE(what_is_not_there_is_noent),
	PROMISE(a_range_gives_just_these_bytes),
	PROMISE(a_range_beyond_the_end_is_short_or_empty),
	PROMISE(put_replaces_all_of_it_and_the_version),
	PROMISE(create_only_creates_once),
	PROMISE(replace_wants_the_version_it_names),
	PROMISE(replace_of_a_removed_file_is_refused),
	PROMISE(get_of_a_changed_version_is_changed),
	PROMISE(remove_names_a_version_too),
	PROMISE(a_right_sum_is_accepted),
	PROMISE_CAP(mtime_given_with_put_is_kept, MTIME),
	PROMISE_BOTH(set_meta_changes_mtime_and_nothing_else, MTIME, HOOK_SET_META),
	PROMISE_BOTH(set_meta_changes_mode_and_nothing_else, MODE, HOOK_SET_META),
	PROMISE_BOTH(set_meta_of_a_changed_version_is_changed, MTIME, HOOK_SET_META),
	PROMISE(hard_names_live_as_files),
	PROMISE(hard_names_live_as_directories),
	PROMISE(the_longest_name_lives_and_one_more_is_too_long),
	PROMISE(names_that_differ_little_are_two),
	PROMISE(of_two_puts_at_once_one_stays_whole),
	PROMISE_CAP(of_eight_creates_at_once_one_wins, CAS_CREATE),
	PROMISE_CAP(of_eight_replacements_of_one_version_one_wins, CAS_PUT),
	{ 0 },
};
