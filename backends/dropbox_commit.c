/* SPDX-License-Identifier: Apache-2.0 */
/* Many commits as one. Whoever comes first leads: it takes all that wait (itself included) and sends them in one finish_batch_v2; who comes
 * meanwhile waits for the next round, which the first of them leads. Nobody sleeps to collect company, so a commit that is alone goes at once.
 *
 *   entry    | in s->queue? | who may touch it
 *   WAITING  | yes          | anybody with write_lock; its owner may take it back
 *   TAKEN    | no           | the leader
 *   DONE     | no           | its owner
 *
 * Beside it: few changes of names at once, since they all wait for one lock of the account and are thrown out when they crowd. */
#include "config.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "dropbox_impl.h"

#define COMMIT_LOOK_MS 50		/* how often a waiting call looks whether it was cancelled */

struct dropbox_commit {
	struct dropbox_commit *next;
	const struct dropbox_file *file;
	const char *session;
	enum { COMMIT_WAITING, COMMIT_TAKEN, COMMIT_DONE } state;
	enum weir_code code;
	struct weir_err err;
	struct dropbox_error error;
	json_t *answer;			/* owned */
};

static bool
commit_is_cancelled(const struct weir_ctx *ctx)
{
	return ctx != NULL && ctx->cancel != NULL && atomic_load(&ctx->cancel->is_set);
}

/* write_lock held. */
static void
commit_wait(struct dropbox *s)
{
	struct timespec ts;
	long ns;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ns = ts.tv_nsec + COMMIT_LOOK_MS * 1000000L;
	ts.tv_sec += ns / 1000000000;
	ts.tv_nsec = ns % 1000000000;
	pthread_cond_timedwait(&s->write_cond, &s->write_lock, &ts);
}

enum weir_code
weir_dropbox_write_begin(struct dropbox *s, const struct weir_ctx *ctx, struct weir_err *err)
{
	enum weir_code r = WEIR_OK;

	pthread_mutex_lock(&s->write_lock);
	while (s->writers >= DROPBOX_WRITERS && r == WEIR_OK) {
		commit_wait(s);
		if (commit_is_cancelled(ctx))
			r = weir_err_set(err, WEIR_E_CANCELED, "cancelled");
	}
	if (r == WEIR_OK)
		s->writers++;
	pthread_mutex_unlock(&s->write_lock);
	return r;
}

void
weir_dropbox_write_end(struct dropbox *s)
{
	pthread_mutex_lock(&s->write_lock);
	s->writers--;
	pthread_cond_broadcast(&s->write_cond);
	pthread_mutex_unlock(&s->write_lock);
}

/* ---- one round ---- */

static json_t *
commit_json(const struct dropbox_commit *c)
{
	return json_pack("{s:{s:s, s:I}, s:o}", "cursor", "session_id", c->session, "offset", (json_int_t)c->file->size, "commit",
	    weir_dropbox_file_commit(c->file));
}

static void
commit_one(struct dropbox *s, const struct weir_ctx *ctx, struct dropbox_commit *c)
{
	struct dropbox_req q = { .style = DROPBOX_UPLOAD, .route = "files/upload_session/finish", .arg = commit_json(c), .what = "put",
		.path = c->file->where->path, .stall_ms = DROPBOX_THINK_MS, .error = &c->error };

	c->code = weir_dropbox_call(s, ctx, &q, &c->answer, NULL, &c->err);
}

static void
commit_result(struct dropbox *s, struct dropbox_commit *c, json_t *entry)
{
	const char *tag = json_string_value(json_object_get(entry, ".tag"));

	if (tag != NULL && strcmp(tag, "success") == 0) {
		json_object_del(entry, ".tag");		/* the entry's; the metadata stands flattened beside it */
		c->answer = json_incref(entry);
		c->code = WEIR_OK;
		return;
	}
	weir_dropbox_error_of_json(json_object_get(entry, "failure"), &c->error);
	c->code = weir_dropbox_refused(s, 409, &c->error, "put", c->file->where->path, &c->err);
}

static void
commit_many(struct dropbox *s, const struct weir_ctx *ctx, struct dropbox_commit *first, size_t n)
{
	struct dropbox_req q = { .route = "files/upload_session/finish_batch_v2", .what = "put several files", .stall_ms = DROPBOX_THINK_MS };
	json_t *all = json_array(), *answer = NULL, *entries;
	struct weir_err err = { 0 };
	enum weir_code r;
	size_t i = 0;

	for (struct dropbox_commit *c = first; c != NULL; c = c->next)
		json_array_append_new(all, commit_json(c));
	q.arg = json_pack("{s:o}", "entries", all);
	r = weir_dropbox_call(s, ctx, &q, &answer, NULL, &err);
	entries = json_object_get(answer, "entries");
	if (r == WEIR_OK && json_array_size(entries) != n)
		r = weir_err_set(&err, WEIR_E_PROTO, "put several files: %zu answers to %zu of them", json_array_size(entries), n);
	for (struct dropbox_commit *c = first; c != NULL; c = c->next, i++) {
		if (r == WEIR_OK) {
			commit_result(s, c, json_array_get(entries, i));
		} else {
			c->code = r;
			c->err = err;
		}
	}
	json_decref(answer);
}

/* write_lock held at entry and exit. */
static void
commit_lead(struct dropbox *s, const struct weir_ctx *ctx)
{
	struct dropbox_commit *first = s->queue, *last = NULL, *c;
	struct weir_err err = { 0 };
	enum weir_code r;
	size_t n = 0;

	s->is_committing = true;
	for (c = first; c != NULL && n < DROPBOX_BATCH_MAX; c = c->next, n++) {
		c->state = COMMIT_TAKEN;
		last = c;
	}
	s->queue = c;
	if (c == NULL)
		s->queue_tail = &s->queue;
	last->next = NULL;
	pthread_mutex_unlock(&s->write_lock);
	r = weir_dropbox_write_begin(s, ctx, &err);
	for (c = first; r != WEIR_OK && c != NULL; c = c->next) {
		c->code = r;
		c->err = err;
	}
	if (r == WEIR_OK) {
		if (n == 1)
			commit_one(s, ctx, first);
		else
			commit_many(s, ctx, first, n);
		weir_dropbox_write_end(s);
	}
	pthread_mutex_lock(&s->write_lock);
	for (struct dropbox_commit *next; first != NULL; first = next) {
		next = first->next;
		first->state = COMMIT_DONE;
	}
	s->is_committing = false;
	pthread_cond_broadcast(&s->write_cond);
}

/* write_lock held. */
static void
commit_take_back(struct dropbox *s, struct dropbox_commit *c)
{
	struct dropbox_commit **p;

	for (p = &s->queue; *p != c; p = &(*p)->next)
		;
	*p = c->next;
	if (s->queue_tail == &c->next)
		s->queue_tail = p;
	c->state = COMMIT_DONE;
	c->code = weir_err_set(&c->err, WEIR_E_CANCELED, "cancelled");
}

enum weir_code
weir_dropbox_commit(struct dropbox *s, const struct weir_ctx *ctx, const struct dropbox_file *f, const char *session, json_t **answer,
    struct dropbox_error *e, struct weir_err *err)
{
	struct dropbox_commit c = { .file = f, .session = session, .error.retry_after_ms = -1 };

	pthread_mutex_lock(&s->write_lock);
	*s->queue_tail = &c;
	s->queue_tail = &c.next;
	while (c.state != COMMIT_DONE) {
		if (c.state == COMMIT_WAITING && commit_is_cancelled(ctx))
			commit_take_back(s, &c);
		else if (c.state == COMMIT_WAITING && !s->is_committing)
			commit_lead(s, ctx);
		else
			commit_wait(s);
	}
	pthread_mutex_unlock(&s->write_lock);
	/* The leader was cancelled, not we. Whether it arrived is found out by trying again. */
	if (c.code == WEIR_E_CANCELED && !commit_is_cancelled(ctx))
		c.code = weir_err_set(&c.err, WEIR_E_NET, "put '%s': the commit was given up", f->where->path);
	*e = c.error;
	*answer = c.answer;
	if (c.code != WEIR_OK && err != NULL)
		*err = c.err;
	return c.code;
}
