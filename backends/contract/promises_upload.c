/* SPDX-License-Identifier: Apache-2.0 */
/* Promises about uploads in parts: any order, across restarts, repeated, aborted, with preconditions. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "contract.h"

#define PARTS 3

struct up {
	struct t *t;
	struct weir_backend *be;
	char *path, *id;
	char *tags[PARTS];
	uint64_t part, size;
	unsigned seed;
};

static uint64_t
up_part_size(struct t *t)
{
	uint64_t min = weir_backend_limits(t->be)->part_min;

	return min > 1u << 20 ? min : 1u << 20;
}

static void
up_begin(struct up *u, struct t *t, const char *name, const char *version)
{
	const struct weir_meta meta = { 1500000000000000000, WEIR_MODE_NONE };
	struct weir_where w;

	*u = (struct up){ .t = t, .be = t->be, .path = t_path(t, name), .seed = 42 };
	u->part = up_part_size(t);
	u->size = (PARTS - 1) * u->part + 12345;
	w = (struct weir_where){ .path = u->path, .version = version };
	OK(t, t->ops->upload_begin(u->be, &t->ctx, &w, u->size, &meta, &u->id, &t->err));
	CHECK(t, u->id != NULL);
}

static void
up_free(struct up *u)
{
	free(u->path);
	free(u->id);
	for (int i = 0; i < PARTS; i++)
		free(u->tags[i]);
}

static enum weir_code
up_send(struct up *u, uint32_t number)
{
	const struct weir_where w = { .path = u->path };
	uint64_t off = (number - 1) * u->part, len = number == PARTS ? u->size - off : u->part;
	struct t_source src;
	char *tag = NULL;
	enum weir_code r;

	t_source_init(&src, u->seed, u->size);
	r = u->t->ops->upload_part(u->be, &u->t->ctx, &w, u->id, number, &src.src, off, len, u->size, &tag, &u->t->err);
	if (r == WEIR_OK) {
		free(u->tags[number - 1]);
		u->tags[number - 1] = tag;
	}
	return r;
}

static enum weir_code
up_commit(struct up *u, const char *version, struct weir_stat *st)
{
	const struct weir_where w = { .path = u->path, .version = version };
	const struct weir_meta meta = { 1500000000000000000, WEIR_MODE_NONE };

	return u->t->ops->upload_commit(u->be, &u->t->ctx, &w, u->id, (const char *const *)u->tags, PARTS, u->size, &meta, NULL, st, &u->t->err);
}

struct held { uint64_t size[PARTS + 1]; char tag[PARTS + 1][128]; int n; };

static enum weir_code
held_part(void *arg, uint32_t number, uint64_t size, const char *tag)
{
	struct held *h = arg;

	h->n++;
	if (number <= PARTS) {
		h->size[number] = size;
		snprintf(h->tag[number], sizeof(h->tag[number]), "%s", tag == NULL ? "" : tag);
	}
	return WEIR_OK;
}

static enum weir_code
up_status(struct up *u, struct held *h)
{
	const struct weir_where w = { .path = u->path };

	*h = (struct held){ 0 };
	return u->t->ops->upload_status(u->be, &u->t->ctx, &w, u->id, held_part, h, &u->t->err);
}

static void
up_arrived(struct up *u)
{
	struct t_sink k;
	struct weir_stat st = { 0 };

	t_sink_seed(&k, u->seed, 0);
	OK(u->t, t_get(u->t, u->path, NULL, 0, UINT64_MAX, &k, &st));
	CHECK(u->t, k.got == u->size);
	CHECK(u->t, k.bad == 0);
	weir_stat_free(&st);
	t_sink_seed(&k, u->seed, u->part - 100);
	OK(u->t, t_get(u->t, u->path, NULL, u->part - 100, 200, &k, NULL));
	CHECK(u->t, k.got == 200 && k.bad == 0);
}

/* Parts in the least natural order that the storage takes: {first, second, last}. */
static const uint32_t *
up_order(struct t *t)
{
	static const uint32_t any[] = { 3, 1, 2 }, last_alone[] = { 2, 1, 3 }, in_turn[] = { 1, 2, 3 };
	unsigned caps = weir_backend_caps(t->be);

	return caps & WEIR_CAP_SEQUENTIAL ? in_turn : caps & WEIR_CAP_LAST_ALONE ? last_alone : any;
}

/* Does the status say that just the parts sent so far are there? Some storages can only say that the upload lives. */
static void
up_holds(struct up *u, const struct held *h)
{
	int sent = 0;

	if (weir_backend_caps(u->t->be) & WEIR_CAP_PARTS_UNTOLD) {
		CHECK(u->t, h->n == 0);
		return;
	}
	for (uint32_t i = 1; i <= PARTS; i++) {
		uint64_t size = i == PARTS ? u->size - (PARTS - 1) * u->part : u->part;

		sent += u->tags[i - 1] != NULL;
		CHECK(u->t, h->size[i] == (u->tags[i - 1] != NULL ? size : 0));
	}
	CHECK(u->t, h->n == sent);
}

static void
parts_in_any_order_become_a_file(struct t *t)
{
	WEIR_AUTO(up_free) struct up u;
	WEIR_AUTO(weir_stat_free) struct weir_stat done = { 0 }, st = { 0 }, absent = { 0 };
	const uint32_t *order = up_order(t);
	struct held h;

	up_begin(&u, t, "big +", NULL);
	OK(t, up_send(&u, order[0]));
	OK(t, up_send(&u, order[1]));
	CODE(t, t_stat(t, u.path, &absent), WEIR_E_NOENT);	/* nothing to see before the commit */
	OK(t, up_status(&u, &h));
	up_holds(&u, &h);
	OK(t, up_send(&u, order[2]));
	OK(t, up_commit(&u, NULL, &done));
	OK(t, t_stat(t, u.path, &st));
	CHECK(t, st.size == u.size);
	CHECK(t, done.version != NULL && st.version != NULL && strcmp(done.version, st.version) == 0);
	if (weir_backend_caps(t->be) & WEIR_CAP_MTIME)
		CHECK(t, st.mtime_ns == 1500000000000000000);
	up_arrived(&u);
}

static void
an_upload_goes_on_after_a_restart(struct t *t)
{
	bool is_told = !(weir_backend_caps(t->be) & WEIR_CAP_PARTS_UNTOLD);
	uint32_t first = weir_backend_caps(t->be) & WEIR_CAP_SEQUENTIAL ? 1 : 2;
	WEIR_AUTO(up_free) struct up u;
	struct weir_backend *again;
	struct held h;

	up_begin(&u, t, "big", NULL);
	OK(t, up_send(&u, first));
	again = t->reopen(t);
	if (again == NULL)
		return;
	u.be = again;
	OK(t, up_status(&u, &h));
	up_holds(&u, &h);
	if (is_told) {		/* all that the restart knows is the id */
		free(u.tags[first - 1]);
		u.tags[first - 1] = weir_xstrdup(h.tag[first]);
	}
	for (uint32_t i = 1; i <= PARTS; i++)
		if (i != first)
			OK(t, up_send(&u, i));
	OK(t, up_commit(&u, NULL, NULL));
	weir_backend_close(again);
	u.be = t->be;
	up_arrived(&u);
}

static void
a_part_sent_again_replaces_itself(struct t *t)
{
	WEIR_AUTO(up_free) struct up u;

	up_begin(&u, t, "big", NULL);
	u.seed = 43;
	if (!(weir_backend_caps(t->be) & WEIR_CAP_SEQUENTIAL))	/* there a part that has arrived is passed already */
		OK(t, up_send(&u, 1));
	u.seed = 42;
	for (uint32_t i = 1; i <= PARTS; i++)
		OK(t, up_send(&u, i));
	OK(t, up_commit(&u, NULL, NULL));
	up_arrived(&u);
}

static void
commit_done_twice_is_done_or_forgotten(struct t *t)
{
	WEIR_AUTO(up_free) struct up u;
	enum weir_code r;

	up_begin(&u, t, "big", NULL);
	for (uint32_t i = 1; i <= PARTS; i++)
		OK(t, up_send(&u, i));
	OK(t, up_commit(&u, NULL, NULL));
	r = up_commit(&u, NULL, NULL);
	CHECK(t, r == WEIR_OK || r == WEIR_E_NOENT);
	up_arrived(&u);
}

static void
commit_wants_the_version_it_names(struct t *t)
{
	WEIR_AUTO(up_free) struct up u;
	WEIR_AUTO(weir_stat_free) struct weir_stat one = { 0 }, two = { 0 };
	enum weir_code r;

	up_begin(&u, t, "big", NULL);
	for (uint32_t i = 1; i <= PARTS; i++)
		OK(t, up_send(&u, i));
	OK(t, t_put(t, u.path, NULL, "one", &one));
	OK(t, t_put(t, u.path, NULL, "in between", &two));
	r = up_commit(&u, WEIR_ABSENT, NULL);
	CHECK(t, r == WEIR_E_CHANGED || r == WEIR_E_EXIST);
	CODE(t, up_commit(&u, one.version, NULL), WEIR_E_CHANGED);
	t_holds(t, u.path, "in between");
	/* Storages may forget an upload that was refused, but then say so. */
	r = up_commit(&u, two.version, NULL);
	if (r == WEIR_OK)
		up_arrived(&u);
	else
		CHECK(t, r == WEIR_E_NOENT);
}

static void
an_aborted_upload_is_forgotten(struct t *t)
{
	WEIR_AUTO(up_free) struct up u;
	WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 };
	struct weir_where w;
	struct held h;

	up_begin(&u, t, "big", NULL);
	OK(t, up_send(&u, 1));
	w = (struct weir_where){ .path = u.path };
	OK(t, t->ops->upload_abort(t->be, &t->ctx, &w, u.id, &t->err));
	CODE(t, up_status(&u, &h), WEIR_E_NOENT);
	CODE(t, t_stat(t, u.path, &st), WEIR_E_NOENT);
	for (uint32_t i = 0; i < PARTS; i++)
		u.tags[i] = u.tags[i] != NULL ? u.tags[i] : weir_xstrdup(u.tags[0]);
	CODE(t, up_commit(&u, NULL, NULL), WEIR_E_NOENT);
}

static void
a_part_can_come_from_another_file(struct t *t)
{
	WEIR_AUTO(up_free) struct up u;
	WEIR_AUTO(weir_freep) char *source = t_path(t, "source");
	WEIR_AUTO(weir_stat_free) struct weir_stat st = { 0 };
	struct weir_where w, from;

	up_begin(&u, t, "big", NULL);
	OK(t, t_put_seed(t, source, NULL, u.seed, u.part * 2, &st));
	w = (struct weir_where){ .path = u.path };
	from = (struct weir_where){ .path = source, .version = st.version };
	OK(t, t->ops->upload_copy_part(t->be, &t->ctx, &w, u.id, 1, &from, 0, u.part, &u.tags[0], &t->err));
	OK(t, t->ops->upload_copy_part(t->be, &t->ctx, &w, u.id, 2, &from, u.part, u.part, &u.tags[1], &t->err));
	OK(t, up_send(&u, 3));
	OK(t, up_commit(&u, NULL, NULL));
	up_arrived(&u);
}

static void
a_file_sent_in_parts_moves_and_keeps_its_meta(struct t *t)
{
	WEIR_AUTO(up_free) struct up u;
	WEIR_AUTO(weir_freep) char *to = t_path(t, "elsewhere");
	WEIR_AUTO(weir_stat_free) struct weir_stat done = { 0 }, moved = { 0 }, st = { 0 };
	struct weir_where from, there;

	up_begin(&u, t, "big", NULL);
	for (uint32_t i = 1; i <= PARTS; i++)
		OK(t, up_send(&u, i));
	OK(t, up_commit(&u, NULL, &done));
	from = (struct weir_where){ .path = u.path, .id = done.id, .version = done.version };
	there = (struct weir_where){ .path = to, .version = WEIR_ABSENT };
	OK(t, t->ops->move(t->be, &t->ctx, &from, &there, false, &moved, &t->err));
	OK(t, t->ops->move(t->be, &t->ctx, &from, &there, false, NULL, &t->err));
	OK(t, t_stat(t, to, &st));
	CHECK(t, moved.version == NULL || (st.version != NULL && strcmp(st.version, moved.version) == 0));
	CHECK(t, st.size == u.size);
	if (weir_backend_caps(t->be) & WEIR_CAP_MTIME)
		CHECK(t, st.mtime_ns == 1500000000000000000);
	free(u.path);
	u.path = weir_xstrdup(to);
	up_arrived(&u);
}

const struct promise promises_upload[] = {
	PROMISE_HOOK(parts_in_any_order_become_a_file, HOOK_UPLOAD),
	PROMISE_HOOK(an_upload_goes_on_after_a_restart, HOOK_UPLOAD),
	PROMISE_HOOK(a_part_sent_again_replaces_itself, HOOK_UPLOAD),
	PROMISE_HOOK(commit_done_twice_is_done_or_forgotten, HOOK_UPLOAD),
	PROMISE_HOOK(commit_wants_the_version_it_names, HOOK_UPLOAD),
	PROMISE_HOOK(an_aborted_upload_is_forgotten, HOOK_UPLOAD | HOOK_ABORT),
	PROMISE_HOOK(a_part_can_come_from_another_file, HOOK_UPLOAD | HOOK_COPY_PART),
	PROMISE_HOOK(a_file_sent_in_parts_moves_and_keeps_its_meta, HOOK_UPLOAD | HOOK_MOVE),
	{ 0 },
};
