/* SPDX-License-Identifier: Apache-2.0 */
/* A growing byte buffer with a ceiling. */
#include "config.h"

#include "buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

/* Room for n more bytes and the NUL. The ceiling counts bytes, not the NUL. */
static int
buf_grow(struct weir_buf *b, size_t n)
{
	size_t need, cap;
	char *p;

	if (b->len > b->max || n > b->max - b->len) {
		b->is_full = true;
		return -1;
	}
	need = b->len + n + 1;
	if (need <= b->cap)
		return 0;
	cap = b->cap < 64 ? 64 : b->cap * 2;
	if (cap < need)
		cap = need;
	if (cap > b->max + 1 && b->max != SIZE_MAX)
		cap = b->max + 1;
	p = realloc(b->data, cap);
	if (p == NULL) {
		b->is_full = true;
		return -1;
	}
	b->data = p;
	b->cap = cap;
	return 0;
}

int
weir_buf_add(struct weir_buf *b, const void *data, size_t n)
{
	if (buf_grow(b, n) < 0)
		return -1;
	if (n > 0)
		memcpy(b->data + b->len, data, n);
	b->len += n;
	b->data[b->len] = '\0';
	return 0;
}

int
weir_buf_adds(struct weir_buf *b, const char *s)
{
	return weir_buf_add(b, s, strlen(s));
}

int
weir_buf_addc(struct weir_buf *b, char c)
{
	return weir_buf_add(b, &c, 1);
}

int
weir_buf_vaddf(struct weir_buf *b, const char *fmt, va_list ap)
{
	char small[256];
	va_list again;
	int n;

	va_copy(again, ap);
	n = vsnprintf(small, sizeof(small), fmt, again);
	va_end(again);
	if (n < 0)
		return -1;
	if ((size_t)n < sizeof(small))
		return weir_buf_add(b, small, (size_t)n);
	if (buf_grow(b, (size_t)n) < 0)
		return -1;
	vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
	b->len += (size_t)n;
	return 0;
}

int
weir_buf_addf(struct weir_buf *b, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = weir_buf_vaddf(b, fmt, ap);
	va_end(ap);
	return r;
}

void
weir_buf_reset(struct weir_buf *b)
{
	b->len = 0;
	b->is_full = false;
	if (b->data != NULL)
		b->data[0] = '\0';
}

void
weir_buf_free(struct weir_buf *b)
{
	free(b->data);
	b->data = NULL;
	b->len = b->cap = 0;
	b->is_full = false;
}

char *
weir_buf_take(struct weir_buf *b)
{
	char *s = b->data != NULL ? b->data : weir_xstrdup("");

	b->data = NULL;
	b->len = b->cap = 0;
	b->is_full = false;
	return s;
}

const char *
weir_buf_str(const struct weir_buf *b)
{
	return b->data != NULL ? b->data : "";
}
