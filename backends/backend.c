/* SPDX-License-Identifier: Apache-2.0 */
/* The few functions every user of a backend needs; knows no storage (registry.c does). */
#include "config.h"

#include "backend.h"

#include <string.h>

#include "../src/util/util.h"
#include "layers.h"

const char WEIR_ABSENT[] = "absent";

#define BACKEND_PAUSE_MOST_MS 300000

void
weir_stat_free(struct weir_stat *st)
{
	if (st == NULL)
		return;
	free(st->path);
	free(st->id);
	free(st->version);
	free(st->sum);
	memset(st, 0, sizeof(*st));
}

void
weir_sign_in_clear(struct weir_sign_in *s)
{
	weir_oauth_app_clear(&s->app);
	free(s->url);
	memset(s, 0, sizeof(*s));
}

unsigned
weir_backend_caps(const struct weir_backend *b)
{
	while (b->next != NULL)
		b = b->next;
	return atomic_load(&b->caps);
}

const struct weir_limits *
weir_backend_limits(const struct weir_backend *b)
{
	while (b->next != NULL)
		b = b->next;
	return &b->limits;
}

void
weir_backend_pause(struct weir_backend *b, int64_t retry_after_ms)
{
	long long until, was;

	if (retry_after_ms < 0)
		return;
	b = weir_backend_bottom(b);
	until = weir_now_ms() + (retry_after_ms < BACKEND_PAUSE_MOST_MS ? retry_after_ms : BACKEND_PAUSE_MOST_MS);
	was = atomic_load(&b->pause_until_ms);
	while (was < until && !atomic_compare_exchange_weak(&b->pause_until_ms, &was, until))
		;
}

void
weir_backend_close(struct weir_backend *b)
{
	if (b != NULL)
		b->ops->close(b);
}
