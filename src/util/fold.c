/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing names without case, see fold.h. */
#include "config.h"

#include "fold.h"

#include <string.h>
#include <utf8proc.h>

#include "util.h"

char *
weir_fold(const char *s)
{
	utf8proc_uint8_t *out = NULL;
	utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)s, 0, &out,
	    UTF8PROC_NULLTERM | UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD);

	return n < 0 ? weir_xstrdup(s) : (char *)out;
}

bool
weir_fold_equal(const char *a, const char *b)
{
	WEIR_AUTO(weir_freep) char *x = NULL, *y = NULL;

	if (strcmp(a, b) == 0)
		return true;
	x = weir_fold(a);
	y = weir_fold(b);
	return strcmp(x, y) == 0;
}
