/* SPDX-License-Identifier: Apache-2.0 */
/* A growing byte buffer with a ceiling stated when it is created. data is always terminated by a NUL that len does
 * not count. Owner: whoever declared it; free with weir_buf_free (also WEIR_AUTO(weir_buf_free)). Not thread-safe.
 * A call that would pass the ceiling, or finds no memory, returns -1, leaves what was there and sets is_full. */
#ifndef WEIR_BUF_H
#define WEIR_BUF_H
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct weir_buf {
	char *data;		/* NULL until something was appended */
	size_t len, cap, max;
	bool is_full;
};
#define WEIR_BUF(limit) { .max = (limit) }

int weir_buf_add(struct weir_buf *, const void *, size_t);
int weir_buf_adds(struct weir_buf *, const char *);
int weir_buf_addc(struct weir_buf *, char);
int weir_buf_addf(struct weir_buf *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int weir_buf_vaddf(struct weir_buf *, const char *fmt, va_list);
void weir_buf_reset(struct weir_buf *);		/* len = 0, memory kept */
void weir_buf_free(struct weir_buf *);
char *weir_buf_take(struct weir_buf *);		/* owned string, never NULL ("" when empty); buf is empty after */
const char *weir_buf_str(const struct weir_buf *);	/* "" when empty */

#endif
