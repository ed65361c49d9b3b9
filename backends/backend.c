/* SPDX-License-Identifier: Apache-2.0 */
/* The few functions every user of a backend needs; knows no storage (registry.c does). */
#include "config.h"

#include "backend.h"

#include <string.h>

#include "../src/util/text.h"
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

enum weir_code
weir_source_md5(struct weir_source *src, uint64_t off, uint64_t len, unsigned char out[WEIR_MD5_LEN], struct weir_err *err)
{
	const size_t max = 256u << 10;
	WEIR_AUTO(weir_freep) char *buf = weir_xcalloc(1, max);
	struct weir_digest *d = weir_digest_new("md5");
	unsigned char all[64];

	while (len > 0) {
		ssize_t n = src->read(src, buf, len < max ? (size_t)len : max, off);

		if (n <= 0) {
			weir_digest_free(d);
			return weir_err_set(err, WEIR_E_IO, "what is to be sent cannot be read");
		}
		weir_digest_add(d, buf, (size_t)n);
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	weir_digest_end(d, all);
	memcpy(out, all, WEIR_MD5_LEN);
	return WEIR_OK;
}

void
weir_backend_close(struct weir_backend *b)
{
	if (b != NULL)
		b->ops->close(b);
}
