/* SPDX-License-Identifier: Apache-2.0 */
/* Storages that say when something changed (backend hook `listen`), over a connection that stays open: the walk of watch.c then need not ask every
 * few seconds. A thread of its own per remote that has one, because it sleeps in the backend while the watch asks.
 *
 *	push	| the watch asks
 *	away	| every few seconds, as if there were none
 *	on	| at every piece of news, twice more soon after it (the server speaks before its folders' versions have moved), and every 5 min
 *
 * What is told is never taken for all that changed, nor is silence: news leads to a walk. Known ids among the news have their directories
 * listed at once, which spares the way down from the root, and finds changes in places whose ancestors' versions do not move. */
#include "config.h"

#include "internal.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define HEAR_MS 60000		/* one call of the backend's hook */
#define BUSY_MS 3000		/* since something of ours was sent: what is told is most likely that */
#define BUSY_GAP_MS 4000
#define CALM_GAP_MS 1000
#define NEVER_MS (60 * 60 * 1000)	/* there is no such thing on that server, or it must not be used: an administrator may change that */
#define IDS_MAX 1000

struct heard { char **ids; size_t n; bool is_news; };

static enum weir_code
push_hear(void *arg, const struct weir_change *c, struct weir_err *err)
{
	struct heard *h = arg;

	(void)err;
	h->is_news = true;
	if (!c->id || h->n == IDS_MAX)
		return WEIR_OK;
	if (!h->ids)
		h->ids = weir_xcalloc(IDS_MAX, sizeof(*h->ids));
	h->ids[h->n++] = weir_xstrdup(c->id);
	return WEIR_OK;
}

static void
heard_free(struct heard *h)
{
	for (size_t i = 0; i < h->n; i++)
		free(h->ids[i]);
	free(h->ids);
}

/* In a transaction: what has this id is to be looked at, from the directory that lists it; a directory itself too. */
static enum weir_code
push_mark(struct weir_remote *r, const char *id, struct weir_err *err)
{
	struct weir_store *st = r->sy->st;
	uint64_t ids[8];
	size_t n = weir_nodes_by_rid(st, r->id, id, ids, WEIR_LEN(ids));
	enum weir_code code = WEIR_OK;

	for (size_t i = 0; i < n && !code; i++) {
		struct weir_node node, dir;

		if (weir_node_get(st, ids[i], &node))
			continue;
		if (node.type == WEIR_DIR)
			code = watch_mark(r, &node, err);
		if (!code && node.rparent && !weir_node_get(st, node.rparent, &dir))
			code = watch_mark(r, &dir, err);
	}
	return code;
}

/* Lock held. While we send, the news is about that, mostly: then the walk finds out in its own time, as it would without push. */
static void
push_settle(struct weir_remote *r, const struct heard *h)
{
	struct watch *w = &r->watch;
	int64_t now = weir_now_ms();
	bool is_busy = r->sends || now - w->sent_ms < BUSY_MS;
	int64_t at = w->last_ms + (is_busy ? BUSY_GAP_MS : CALM_GAP_MS);
	enum weir_code code = WEIR_OK;

	if (!is_busy && h->n && !(code = weir_store_begin(r->sy->st, NULL))) {
		for (size_t i = 0; i < h->n && !code; i++)
			code = push_mark(r, h->ids[i], NULL);
		if (code)
			weir_store_rollback(r->sy->st);
		else
			weir_store_commit(r->sy->st, NULL);
	}
	w->told++;
	watch_look(r, at > now ? at : now);
	watch_tick(r);
}

/* How long until the next try; random, so that a server that comes back is not met by all at once. */
static int64_t
push_wait_ms(const struct push *p, enum weir_code code, bool was_on)
{
	static const int64_t waits[] = { 5000, 15000, 60000, 300000 };
	int64_t ms = waits[p->fails < WEIR_LEN(waits) ? p->fails : WEIR_LEN(waits) - 1];
	struct timespec ts;

	if (code == WEIR_E_NOTSUP || code == WEIR_E_CONFIG)
		return NEVER_MS;
	if (was_on)
		ms = 2000;
	else if (code == WEIR_E_ACCES && ms < 60000)	/* servers count refusals */
		ms = 60000;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ms / 2 + ms * (ts.tv_nsec / 1000 % 1000) / 1000;
}

/* Lock held: there is no connection (any more). */
static void
push_lost(struct weir_remote *r, enum weir_code code, const char *sentence)
{
	struct watch *w = &r->watch;
	struct push *p = &w->push;
	int64_t now = weir_now_ms();
	bool was_on = p->is_on;

	p->is_on = false;
	p->next_ms = now + push_wait_ms(p, code, was_on);
	p->fails = was_on ? 0 : p->fails + 1;
	snprintf(p->error, sizeof(p->error), "%s", code == WEIR_E_NOTSUP ? "" : sentence);
	if (was_on || p->fails == 1)
		weir_log(code == WEIR_E_CONFIG ? WEIR_LOG_WARN : WEIR_LOG_INFO, "remote '%s': changes are not told: %s", r->conf->name, sentence);
	/* A try is a question too: what nobody looks at costs no more than one every ten seconds. */
	if (!was_on && watch_is_idle(r))
		w->last_ms = now;
	pthread_cond_signal(&w->cond);
}

static void
push_hear_once(struct weir_remote *r)
{
	struct weir_ctx ctx = { .cancel = &r->cancel };
	struct push *p = &r->watch.push;
	struct heard h = { 0 };
	struct weir_err err = { 0 };
	bool is_new = false;
	enum weir_code code;

	weir_store_unlock(r->sy->st);
	code = r->be->ops->listen(r->be, &ctx, HEAR_MS, &is_new, push_hear, &h, &err);
	weir_store_lock(r->sy->st);
	if (!code && is_new) {
		weir_log(WEIR_LOG_INFO, "remote '%s': changes are told by the storage", r->conf->name);
		p->is_on = true;
		p->fails = 0;
		p->error[0] = '\0';
		watch_look(r, weir_now_ms());	/* what happened before */
	}
	/* What was told before a connection broke was told. */
	if (h.is_news)
		push_settle(r, &h);
	heard_free(&h);
	if (code && code != WEIR_E_CANCELED)
		push_lost(r, code, weir_err_text(&err, code));
}

/* Nobody has looked at the remote yet, or it is away: no need of news. */
static bool
push_may(const struct weir_remote *r)
{
	return r->state == WEIR_REMOTE_UP && r->watch.was_listed;
}

static void *
push_thread(void *arg)
{
	struct weir_remote *r = arg;
	struct push *p = &r->watch.push;
	struct weir_store *st = r->sy->st;

	weir_store_lock(st);
	while (!r->sy->is_stopping) {
		struct timespec ts;

		if (p->is_on || (push_may(r) && weir_now_ms() >= p->next_ms)) {
			push_hear_once(r);
			continue;
		}
		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_sec++;
		weir_store_wait(st, &p->cond, &ts);
	}
	weir_store_unlock(st);
	return NULL;
}

void
push_start(struct weir_remote *r)
{
	struct push *p = &r->watch.push;
	pthread_attr_t attr;

	if (r->watch.how != WEIR_WATCH_WALK || !r->be->ops->listen)
		return;
	pthread_cond_init(&p->cond, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 1024 * 1024);	/* TLS handshakes happen here */
	p->has_thread = pthread_create(&p->thread, &attr, push_thread, r) == 0;
	pthread_attr_destroy(&attr);
	if (!p->has_thread)
		pthread_cond_destroy(&p->cond);
}

void
push_end(struct weir_remote *r)
{
	struct push *p = &r->watch.push;

	if (!p->has_thread)
		return;
	weir_store_lock(r->sy->st);
	pthread_cond_signal(&p->cond);
	weir_store_unlock(r->sy->st);
	pthread_join(p->thread, NULL);
	pthread_cond_destroy(&p->cond);
	p->has_thread = false;
}
