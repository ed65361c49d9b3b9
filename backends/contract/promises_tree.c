/* SPDX-License-Identifier: Apache-2.0 */
/* Promises about directories: listings, mkdir, remove, move, copy. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "contract.h"

#define MANY 1205		/* more than a page of any storage we know */

static void
a_listing_tells_each_entry_once(struct t *t)
{
	WEIR_AUTO(weir_freep) char *f = t_path(t, "file"), *d = t_path(t, "dir"), *deep = t_path(t, "dir/deep"), *g = t_path(t, "dir.txt");
	WEIR_AUTO(weir_stat_free) struct weir_stat put = { 0 };
	const struct weir_stat *e;
	struct t_list l;

	OK(t, t_put(t, f, NULL, "12345", &put));
	OK(t, t_mkdir(t, d));
	OK(t, t_put(t, deep, NULL, "x", NULL));
	OK(t, t_put(t, g, NULL, "", NULL));
	OK(t, t_list(t, t->dir, 0, &l));
	CHECK(t, l.n == 3);
	e = t_list_find(&l, "file", NULL);
	if (CHECK(t, e != NULL)) {
		CHECK(t, e->type == WEIR_FILE);
		CHECK(t, e->size == 5);
		CHECK(t, e->version != NULL && put.version != NULL && strcmp(e->version, put.version) == 0);
		CHECK(t, e->mtime_ns != WEIR_TIME_NONE);
	}
	e = t_list_find(&l, "dir", NULL);
	CHECK(t, e != NULL && e->type == WEIR_DIR);
	CHECK(t, t_list_find(&l, "dir.txt", NULL) != NULL);
	t_list_free(&l);
}

static void
an_empty_directory_lists_nothing(struct t *t)
{
	struct t_list l;

	OK(t, t_list(t, t->dir, 0, &l));
	CHECK(t, l.n == 0);
	t_list_free(&l);
}

/* NOENT where directories exist by themselves, empty where names imply them. */
static void
a_directory_that_is_not_there_has_no_entries(struct t *t)
{
	WEIR_AUTO(weir_freep) char *p = t_path(t, "none");
	struct t_list l;
	enum weir_code r = t_list(t, p, 0, &l);

	CHECK(t, r == (weir_backend_caps(t->be) & WEIR_CAP_DIRS ? WEIR_E_NOENT : WEIR_OK));
	CHECK(t, l.n == 0);
	t_list_free(&l);
}

struct many { struct t *t; atomic_int failed; };

static void
many_put(void *arg, int i)
{
	struct many *m = arg;
	struct t local = *m->t;
	char name[32];
	WEIR_AUTO(weir_freep) char *p = NULL;

	/* A tenth of them in directories of their own. */
	if (i % 10 == 0)
		snprintf(name, sizeof(name), "d%04d", i);
	else
		snprintf(name, sizeof(name), "f%04d +", i);
	p = t_path(&local, name);
	if (i % 10 == 0 ? t_mkdir(&local, p) != WEIR_OK : t_put(&local, p, NULL, "x", NULL) != WEIR_OK)
		atomic_fetch_add(&m->failed, 1);
}

static void
many_remove(void *arg, int i)
{
	struct many *m = arg;
	struct t local = *m->t;
	char name[32];
	WEIR_AUTO(weir_freep) char *p = NULL;

	snprintf(name, sizeof(name), i % 10 == 0 ? "d%04d" : "f%04d +", i);
	p = t_path(&local, name);
	if (t_remove(&local, p, NULL, i % 10 == 0) != WEIR_OK)
		atomic_fetch_add(&m->failed, 1);
}

static void
more_than_a_page_is_listed_whole(struct t *t)
{
	struct many m = { t, 0 };
	struct t_list l;
	int missing = 0;

	t_parallel(MANY, 8, many_put, &m);
	CHECK(t, m.failed == 0);
	for (unsigned deep = 0; deep <= 1; deep++) {
		missing = 0;
		if (deep == 1 && !(weir_backend_caps(t->be) & WEIR_CAP_LIST_DEEP))
			break;
		OK(t, t_list(t, t->dir, deep * WEIR_LIST_DEEP, &l));
		if (!CHECK(t, l.n == MANY))
			t_say(t, "%zu of %d entries", l.n, MANY);
		for (int i = 0; i < MANY; i += 7) {
			char name[32];
			size_t times;

			snprintf(name, sizeof(name), i % 10 == 0 ? "d%04d" : "f%04d +", i);
			t_list_find(&l, name, &times);
			missing += times != 1;
		}
		CHECK(t, missing == 0);
		t_list_free(&l);
	}
	t_parallel(MANY, 8, many_remove, &m);
	CHECK(t, m.failed == 0);
}

/* Sorted beforehand as bytes: "a", "a-b" and "a/…" are the trap. */
static const char *const deep_paths[] = { "a-b/x", "a.txt", "a/b/c/d", "a/b/c.txt", "a/b/z", "a/m n/o+p", "z", "\xC3\xA9/\xC3\xA9" };

static bool
deep_dir_is_left(const struct t_list *l, size_t at, const char *dir)
{
	size_t n = strlen(dir);
	bool is_left = false;

	for (size_t i = at + 1; i < l->n; i++) {
		bool is_in = strncmp(l->v[i].path, dir, n) == 0 && l->v[i].path[n] == '/';

		if (is_in && is_left)
			return false;	/* entered again */
		is_left |= !is_in;
	}
	return true;
}

static void
a_deep_listing_is_whole_and_in_order(struct t *t)
{
	struct t_list l;

	for (size_t i = 0; i < WEIR_LEN(deep_paths); i++) {
		WEIR_AUTO(weir_freep) char *p = t_path(t, deep_paths[i]);

		for (char *s = strchr(p + strlen(t->dir) + 1, '/'); s != NULL; s = strchr(s + 1, '/')) {
			enum weir_code r;

			*s = '\0';
			r = t_mkdir(t, p);
			CHECK(t, r == WEIR_OK || r == WEIR_E_EXIST);
			*s = '/';
		}
		OK(t, t_put(t, p, NULL, deep_paths[i], NULL));
	}
	OK(t, t_list(t, t->dir, WEIR_LIST_DEEP, &l));
	for (size_t i = 0; i < WEIR_LEN(deep_paths); i++) {
		size_t times;
		const struct weir_stat *e = t_list_find(&l, deep_paths[i], &times);

		if (!CHECK(t, times == 1 && e->type == WEIR_FILE && e->size == strlen(deep_paths[i])))
			t_say(t, "'%s': %zu times", deep_paths[i], times);
	}
	CHECK(t, l.n == WEIR_LEN(deep_paths) + 6);	/* a-b, a, a/b, a/b/c, "a/m n", é */
	for (size_t i = 0; i < l.n; i++) {
		const char *slash = strrchr(l.v[i].path, '/');
		WEIR_AUTO(weir_freep) char *parent = slash == NULL ? NULL : weir_xstrndup(l.v[i].path, (size_t)(slash - l.v[i].path));
		const struct weir_stat *e = parent == NULL ? NULL : t_list_find(&l, parent, NULL);

		if (parent != NULL && !CHECK(t, e != NULL && e->type == WEIR_DIR && e < &l.v[i]))
			t_say(t, "'%s' before its directory", l.v[i].path);
		if (l.v[i].type == WEIR_DIR && !CHECK(t, deep_dir_is_left(&l, i, l.v[i].path)))
			t_say(t, "'%s' is not told in one piece", l.v[i].path);
	}
	t_list_free(&l);
}

static void
mkdir_makes_a_directory_once(struct t *t)
{
	WEIR_AUTO(weir_freep) char *p = t_path(t, "d"), *implied = t_path(t, "d/e/f"), *e = t_path(t, "d/e");
	WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 };

	OK(t, t_mkdir(t, p));
	OK(t, t_stat(t, p, &st));
	CHECK(t, st.type == WEIR_DIR);
	CODE(t, t_mkdir(t, p), WEIR_E_EXIST);
	if (!(weir_backend_caps(t->be) & WEIR_CAP_DIRS)) {
		OK(t, t_put(t, implied, NULL, "x", NULL));
		CODE(t, t_mkdir(t, e), WEIR_E_EXIST);
	}
}

static void
mkdir_over_a_file_is_refused(struct t *t)
{
	WEIR_AUTO(weir_freep) char *p = t_path(t, "f");
	WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 };

	OK(t, t_put(t, p, NULL, "x", NULL));
	CODE(t, t_mkdir(t, p), WEIR_E_EXIST);
	OK(t, t_stat(t, p, &st));
	CHECK(t, st.type == WEIR_FILE);
}

static void
only_an_empty_directory_is_removed(struct t *t)
{
	WEIR_AUTO(weir_freep) char *d = t_path(t, "d"), *f = t_path(t, "d/f"), *sub = t_path(t, "d/sub");

	OK(t, t_mkdir(t, d));
	OK(t, t_put(t, f, NULL, "x", NULL));
	CODE(t, t_remove(t, d, NULL, true), WEIR_E_NOTEMPTY);
	OK(t, t_remove(t, f, NULL, false));
	OK(t, t_mkdir(t, sub));
	CODE(t, t_remove(t, d, NULL, true), WEIR_E_NOTEMPTY);
	OK(t, t_remove(t, sub, NULL, true));
	OK(t, t_remove(t, d, NULL, true));
	CODE(t, t_remove(t, d, NULL, true), WEIR_E_NOENT);
}

static void
a_directory_outlives_its_last_file(struct t *t)
{
	WEIR_AUTO(weir_freep) char *d = t_path(t, "d"), *f = t_path(t, "d/f");
	WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 };

	OK(t, t_mkdir(t, d));
	OK(t, t_put(t, f, NULL, "x", NULL));
	OK(t, t_remove(t, f, NULL, false));
	OK(t, t_stat(t, d, &st));
	CHECK(t, st.type == WEIR_DIR);
}

/* ---- move, copy ---- */

static enum weir_code
move(struct t *t, const char *from, const char *from_version, const char *to, const char *to_version, bool is_dir, struct weir_stat *st)
{
	const struct weir_where a = { .path = from, .version = from_version }, b = { .path = to, .version = to_version };

	return t->ops->move(t->be, &t->ctx, &a, &b, is_dir, st, &t->err);
}

static enum weir_code
copy(struct t *t, const char *from, const char *from_version, const char *to, const char *to_version, struct weir_stat *st)
{
	const struct weir_where a = { .path = from, .version = from_version }, b = { .path = to, .version = to_version };

	return t->ops->copy(t->be, &t->ctx, &a, &b, st, &t->err);
}

static void
move_takes_the_file_along(struct t *t)
{
	WEIR_AUTO(weir_freep) char *a = t_path(t, "a +"), *b = t_path(t, "b \xC3\xA9");
	WEIR_AUTO(weir_stat_free) struct weir_stat put = { 0 }, moved = { 0 }, st = { 0 }, gone = { 0 };

	OK(t, t_put(t, a, NULL, "wanders", &put));
	OK(t, move(t, a, put.version, b, WEIR_ABSENT, false, &moved));
	CODE(t, t_stat(t, a, &gone), WEIR_E_NOENT);
	t_holds(t, b, "wanders");
	OK(t, t_stat(t, b, &st));
	CHECK(t, moved.version == NULL || (st.version != NULL && strcmp(moved.version, st.version) == 0));
}

static void
move_done_twice_is_done(struct t *t)
{
	WEIR_AUTO(weir_freep) char *a = t_path(t, "a"), *b = t_path(t, "b");
	WEIR_AUTO(weir_stat_free) struct weir_stat put = { 0 }, st = { 0 };
	struct weir_where from, to = { .path = b, .version = WEIR_ABSENT };

	OK(t, t_put(t, a, NULL, "once", &put));
	/* With its id, as the core does: where a move makes a new version, the id alone tells who lies there. */
	from = (struct weir_where){ .path = a, .id = put.id, .version = put.version };
	OK(t, t->ops->move(t->be, &t->ctx, &from, &to, false, NULL, &t->err));
	OK(t, t->ops->move(t->be, &t->ctx, &from, &to, false, NULL, &t->err));
	t_holds(t, b, "once");
	CODE(t, t_stat(t, a, &st), WEIR_E_NOENT);
}

static void
move_replaces_the_version_it_names(struct t *t)
{
	WEIR_AUTO(weir_freep) char *a = t_path(t, "a"), *b = t_path(t, "b");
	WEIR_AUTO(weir_stat_free) struct weir_stat pa = { 0 }, pb = { 0 }, st = { 0 };
	enum weir_code r;

	OK(t, t_put(t, a, NULL, "new", &pa));
	OK(t, t_put(t, b, NULL, "old, older", NULL));
	OK(t, t_put(t, b, NULL, "old", &pb));
	r = move(t, a, pa.version, b, WEIR_ABSENT, false, NULL);
	CHECK(t, r == WEIR_E_CHANGED || r == WEIR_E_EXIST);
	t_holds(t, a, "new");
	t_holds(t, b, "old");
	OK(t, move(t, a, pa.version, b, pb.version, false, NULL));
	t_holds(t, b, "new");
	CODE(t, t_stat(t, a, &st), WEIR_E_NOENT);
}

static void
move_of_a_changed_version_is_changed(struct t *t)
{
	WEIR_AUTO(weir_freep) char *a = t_path(t, "a"), *b = t_path(t, "b");
	WEIR_AUTO(weir_stat_free) struct weir_stat one = { 0 }, st = { 0 };

	OK(t, t_put(t, a, NULL, "one", &one));
	OK(t, t_put(t, a, NULL, "two", NULL));
	CODE(t, move(t, a, one.version, b, WEIR_ABSENT, false, NULL), WEIR_E_CHANGED);
	t_holds(t, a, "two");
	CODE(t, t_stat(t, b, &st), WEIR_E_NOENT);
}

static void
move_of_nothing_is_noent(struct t *t)
{
	WEIR_AUTO(weir_freep) char *a = t_path(t, "a"), *b = t_path(t, "b");

	CODE(t, move(t, a, NULL, b, WEIR_ABSENT, false, NULL), WEIR_E_NOENT);
}

static void
move_takes_a_directory_with_all_in_it(struct t *t)
{
	WEIR_AUTO(weir_freep) char *d = t_path(t, "d"), *f = t_path(t, "d/f"), *s = t_path(t, "d/s"), *g = t_path(t, "d/s/g"),
		*e = t_path(t, "e"), *ef = t_path(t, "e/f"), *eg = t_path(t, "e/s/g"), *other = t_path(t, "other");
	WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 };
	enum weir_code r;

	OK(t, t_mkdir(t, d));
	OK(t, t_put(t, f, NULL, "f", NULL));
	OK(t, t_mkdir(t, s));
	OK(t, t_put(t, g, NULL, "g", NULL));
	OK(t, move(t, d, NULL, e, WEIR_ABSENT, true, NULL));
	t_holds(t, ef, "f");
	t_holds(t, eg, "g");
	CODE(t, t_stat(t, d, &st), WEIR_E_NOENT);
	OK(t, t_mkdir(t, other));
	r = move(t, e, NULL, other, WEIR_ABSENT, true, NULL);
	CHECK(t, r == WEIR_E_EXIST || r == WEIR_E_CHANGED);
	t_holds(t, ef, "f");
}

static void
copy_leaves_two_of_one_content(struct t *t)
{
	WEIR_AUTO(weir_freep) char *a = t_path(t, "a +"), *b = t_path(t, "b %");
	WEIR_AUTO(weir_stat_free) struct weir_stat put = { 0 }, st = { 0 };
	struct t_sink k;

	OK(t, t_put_seed(t, a, NULL, 5, 123456, &put));
	OK(t, copy(t, a, put.version, b, WEIR_ABSENT, &st));
	for (int i = 0; i < 2; i++) {
		t_sink_seed(&k, 5, 0);
		OK(t, t_get(t, i == 0 ? a : b, NULL, 0, UINT64_MAX, &k, NULL));
		CHECK(t, k.got == 123456 && k.bad == 0);
	}
}

static void
copy_keeps_its_preconditions(struct t *t)
{
	WEIR_AUTO(weir_freep) char *a = t_path(t, "a"), *b = t_path(t, "b"), *c = t_path(t, "c");
	WEIR_AUTO(weir_stat_free) struct weir_stat one = { 0 }, two = { 0 }, pb = { 0 }, st = { 0 };
	enum weir_code r;

	OK(t, t_put(t, a, NULL, "one", &one));
	OK(t, t_put(t, a, NULL, "two", &two));
	CODE(t, copy(t, a, one.version, c, WEIR_ABSENT, NULL), WEIR_E_CHANGED);
	CODE(t, t_stat(t, c, &st), WEIR_E_NOENT);
	OK(t, t_put(t, b, NULL, "here", &pb));
	r = copy(t, a, two.version, b, WEIR_ABSENT, NULL);
	CHECK(t, r == WEIR_E_CHANGED || r == WEIR_E_EXIST);
	CODE(t, copy(t, a, two.version, b, one.version, NULL), WEIR_E_CHANGED);
	t_holds(t, b, "here");
	OK(t, copy(t, a, two.version, b, pb.version, NULL));
	t_holds(t, b, "two");
	CODE(t, copy(t, c, NULL, b, NULL, NULL), WEIR_E_NOENT);
}

/* ---- the rest ---- */

static void
the_root_is_a_directory(struct t *t)
{
	WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 };
	struct t_list l;

	OK(t, t_stat(t, "", &st));
	CHECK(t, st.type == WEIR_DIR);
	OK(t, t_list(t, "", 0, &l));
	CHECK(t, l.n > 0);
	t_list_free(&l);
}

static void
another_instance_has_the_same_fingerprint(struct t *t)
{
	struct weir_backend *be = t->reopen(t);
	WEIR_AUTO(weir_freep) char *a = t->ops->fingerprint(t->be), *b = NULL;

	if (be == NULL)
		return;
	b = be->ops->fingerprint(be);
	CHECK(t, strcmp(a, b) == 0);
	weir_backend_close(be);
}

static void
traffic_is_counted(struct t *t)
{
	struct weir_http_stats before = { 0 }, after = { 0 };
	int64_t heard = 0;
	struct t_list l;

	t->ops->stats(t->be, &heard, &before);
	OK(t, t_list(t, t->dir, 0, &l));
	t_list_free(&l);
	t->ops->stats(t->be, &heard, &after);
	CHECK(t, heard > 0);
	CHECK(t, weir_now_ms() - heard < 10000);
	CHECK(t, (weir_backend_caps(t->be) & WEIR_CAP_LOCAL) || after.requests > before.requests);
}

static void
quota_is_told_in_whole_numbers(struct t *t)
{
	struct weir_usage u = { 0 };
	enum weir_code r = t->ops->quota(t->be, &t->ctx, &u, &t->err);

	CHECK(t, r == WEIR_OK || r == WEIR_E_NOTSUP);
	CHECK(t, !u.has_used || !u.has_total || u.used <= u.total);
}

static void
a_cancelled_call_ends_at_once(struct t *t)
{
	WEIR_AUTO(weir_freep) char *p = t_path(t, "f");
	struct weir_cancel cancel = { true };
	const struct weir_ctx ctx = { .cancel = &cancel };
	const struct weir_where w = { .path = p };
	int64_t start;
	struct t_sink k;
	enum weir_code r;

	OK(t, t_put_seed(t, p, NULL, 1, 1000000, NULL));
	t_sink_seed(&k, 1, 0);
	start = weir_now_ms();
	r = t->ops->get(t->be, &ctx, &w, 0, 1000000, &k.sink, NULL, &t->err);
	CHECK(t, r == WEIR_E_CANCELED || ((weir_backend_caps(t->be) & WEIR_CAP_LOCAL) && r == WEIR_OK));
	CHECK(t, weir_now_ms() - start < 2000);
}

const struct promise promises_tree[] = {
	PROMISE(the_root_is_a_directory),
	PROMISE(a_listing_tells_each_entry_once),
	PROMISE(an_empty_directory_lists_nothing),
	PROMISE(a_directory_that_is_not_there_has_no_entries),
	PROMISE(more_than_a_page_is_listed_whole),
	PROMISE_CAP(a_deep_listing_is_whole_and_in_order, LIST_DEEP),
	PROMISE(mkdir_makes_a_directory_once),
	PROMISE(mkdir_over_a_file_is_refused),
	PROMISE(only_an_empty_directory_is_removed),
	PROMISE(a_directory_outlives_its_last_file),
	PROMISE_HOOK(move_takes_the_file_along, HOOK_MOVE),
	PROMISE_HOOK(move_done_twice_is_done, HOOK_MOVE),
	PROMISE_HOOK(move_replaces_the_version_it_names, HOOK_MOVE),
	PROMISE_HOOK(move_of_a_changed_version_is_changed, HOOK_MOVE),
	PROMISE_HOOK(move_of_nothing_is_noent, HOOK_MOVE),
	PROMISE_BOTH(move_takes_a_directory_with_all_in_it, DIR_MOVE, HOOK_MOVE),
	PROMISE_HOOK(copy_leaves_two_of_one_content, HOOK_COPY),
	PROMISE_HOOK(copy_keeps_its_preconditions, HOOK_COPY),
	PROMISE(another_instance_has_the_same_fingerprint),
	PROMISE(traffic_is_counted),
	PROMISE_HOOK(quota_is_told_in_whole_numbers, HOOK_QUOTA),
	PROMISE(a_cancelled_call_ends_at_once),
	{ 0 },
};
