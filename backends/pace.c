/* SPDX-License-Identifier: Apache-2.0 */
/* The pace layer: waits out what the storage asked for (weir_backend_pause), and lets fewer calls run at once after it throttled us:
 * their number is cut at each such answer (once a second) and grows again with every success, as TCP does. Does not repeat: that is
 * retry's business, above. Storages on the local disk pass through. */
#include "config.h"

#include <pthread.h>

#include "../src/util/util.h"
#include "layers.h"

#define PACE_LEAST 2.0			/* one could wait for itself when a list callback asks for more */
#define PACE_MOST 256.0
#define PACE_CUT 0.6
#define PACE_CUT_EVERY_MS 1000

struct pace {
	struct weir_layer layer;
	pthread_mutex_t lock;
	pthread_cond_t left;		/* a call ended */
	int running;			/* lock */
	double allowed;			/* lock */
	int64_t cut_ms;			/* lock: when allowed was last cut */
};

static int64_t
pace_deadline(const struct weir_ctx *ctx)
{
	return ctx != NULL && ctx->deadline_ms > 0 ? ctx->deadline_ms : INT64_MAX;
}

/* Until the storage wants to hear from us again. A pause that outlasts the caller's patience is answered at once. */
static enum weir_code
pace_wait_pause(struct pace *p, const struct weir_ctx *ctx, struct weir_err *err)
{
	struct weir_backend *storage = weir_backend_bottom(&p->layer.base);

	for (;;) {
		int64_t until = atomic_load(&storage->pause_until_ms), now = weir_now_ms();
		enum weir_code r;

		if (until <= now)
			return WEIR_OK;
		if (until > pace_deadline(ctx))
			return weir_err_set(err, WEIR_E_THROTTLED, "the storage asks us to wait for %.1f s", (double)(until - now) / 1000);
		r = weir_layer_sleep(ctx, until, err);
		if (r != WEIR_OK)
			return r;
	}
}

static void
pace_wait_a_bit(struct pace *p)
{
	struct timespec ts;
	int64_t ns;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ns = ts.tv_nsec + 25000000;
	ts.tv_sec += ns / 1000000000;
	ts.tv_nsec = ns % 1000000000;
	pthread_cond_timedwait(&p->left, &p->lock, &ts);
}

static enum weir_code
pace_enter(struct pace *p, const struct weir_ctx *ctx, struct weir_err *err)
{
	enum weir_code r = WEIR_OK;

	pthread_mutex_lock(&p->lock);
	while (p->running >= (int)p->allowed && r == WEIR_OK) {
		pace_wait_a_bit(p);
		if (ctx != NULL && ctx->cancel != NULL && atomic_load(&ctx->cancel->is_set))
			r = weir_err_set(err, WEIR_E_CANCELED, "cancelled");
		else if (weir_now_ms() > pace_deadline(ctx))
			r = weir_err_set(err, WEIR_E_THROTTLED, "the storage has slowed us down, and the time is up");
	}
	if (r == WEIR_OK)
		p->running++;
	pthread_mutex_unlock(&p->lock);
	return r;
}

static void
pace_leave(struct pace *p, enum weir_code r)
{
	int64_t now = weir_now_ms();

	pthread_mutex_lock(&p->lock);
	if (r == WEIR_E_THROTTLED && now - p->cut_ms >= PACE_CUT_EVERY_MS) {
		/* from what really ran, not from a ceiling nobody reached */
		if (p->allowed > p->running)
			p->allowed = p->running;
		p->allowed = p->allowed * PACE_CUT > PACE_LEAST ? p->allowed * PACE_CUT : PACE_LEAST;
		p->cut_ms = now;
	} else if (r == WEIR_OK && p->allowed < PACE_MOST) {
		p->allowed += 1 / p->allowed;
	}
	p->running--;
	pthread_cond_broadcast(&p->left);
	pthread_mutex_unlock(&p->lock);
}

static enum weir_code
pace_around(struct weir_layer *l, const struct weir_call *c, struct weir_err *err)
{
	struct pace *p = (struct pace *)l;
	enum weir_code r;

	if (weir_backend_caps(&l->base) & WEIR_CAP_LOCAL)
		return weir_call_run(l->base.next, c, err);
	r = pace_wait_pause(p, c->ctx, err);
	if (r == WEIR_OK && (c->op == WEIR_OP_CHANGES || c->op == WEIR_OP_LISTEN)) /* may wait for news for minutes: takes no place */
		return weir_call_run(l->base.next, c, err);
	if (r == WEIR_OK)
		r = pace_enter(p, c->ctx, err);
	if (r != WEIR_OK)
		return r;
	r = weir_call_run(l->base.next, c, err);
	pace_leave(p, r);
	return r;
}

static void
pace_free(struct weir_layer *l)
{
	struct pace *p = (struct pace *)l;

	pthread_cond_destroy(&p->left);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

struct weir_backend *
weir_layer_pace(struct weir_backend *next)
{
	struct pace *p = weir_xcalloc(1, sizeof(*p));
	pthread_condattr_t attr;

	weir_layer_init(&p->layer, next, pace_around, pace_free);
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->left, &attr);
	pthread_condattr_destroy(&attr);
	p->allowed = PACE_MOST;
	return &p->layer.base;
}
