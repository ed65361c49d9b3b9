/* SPDX-License-Identifier: Apache-2.0 */
/* Text of strangers, made fit for a terminal. */
#include "config.h"

#include "clean.h"

#include <stdint.h>
#include <string.h>
#include <utf8proc.h>

#include "buf.h"
#include "util.h"

#define CLEAN_UNKNOWN "\xef\xbf\xbd"
#define CLEAN_CUT "\xe2\x80\xa6"

static void
clean_one(struct weir_buf *out, const uint8_t *at, size_t n, int32_t c, bool has_lines)
{
	switch (utf8proc_category(c)) {
	case UTF8PROC_CATEGORY_CC:
		if (c == '\n' && has_lines)
			weir_buf_addc(out, '\n');
		else if (c == '\t' || c == '\n' || c == '\r')
			weir_buf_addc(out, ' ');
		else
			weir_buf_adds(out, CLEAN_UNKNOWN);
		break;
	case UTF8PROC_CATEGORY_ZL:
	case UTF8PROC_CATEGORY_ZP:
		weir_buf_addc(out, ' ');
		break;
	case UTF8PROC_CATEGORY_CF:
		break;
	default:
		weir_buf_add(out, at, n);
	}
}

static bool
clean_is_blank(char c)
{
	return c == ' ' || c == '\n';
}

char *
weir_clean(const char *s, size_t len, bool has_lines)
{
	struct weir_buf out = WEIR_BUF(len * 3 + 1);
	size_t at = 0;
	char *text;

	while (at < len) {
		int32_t c;
		utf8proc_ssize_t n = utf8proc_iterate((const uint8_t *)s + at, (utf8proc_ssize_t)(len - at), &c);

		if (n > 0)
			clean_one(&out, (const uint8_t *)s + at, (size_t)n, c, has_lines);
		else
			weir_buf_adds(&out, CLEAN_UNKNOWN);
		at += n > 0 ? (size_t)n : 1;
	}
	while (out.len > 0 && clean_is_blank(out.data[out.len - 1]))
		out.data[--out.len] = '\0';
	text = weir_buf_take(&out);
	for (at = 0; clean_is_blank(text[at]);)
		at++;
	memmove(text, text + at, strlen(text + at) + 1);
	return text;
}

/* Columns of the first n columns' worth of text; *bytes: how much of it that is. */
static size_t
clean_measure(const char *s, size_t max, size_t *bytes)
{
	size_t columns = 0, at = 0, len = strlen(s);

	while (at < len) {
		int32_t c;
		utf8proc_ssize_t n = utf8proc_iterate((const uint8_t *)s + at, (utf8proc_ssize_t)(len - at), &c);
		int width = n > 0 ? utf8proc_charwidth(c) : 1;

		if (width > 0 && columns + (size_t)width > max)
			break;
		columns += width > 0 ? (size_t)width : 0;
		at += n > 0 ? (size_t)n : 1;
	}
	*bytes = at;
	return columns;
}

size_t
weir_columns(const char *s)
{
	size_t bytes;

	return clean_measure(s, SIZE_MAX, &bytes);
}

char *
weir_cut_columns(const char *s, size_t columns)
{
	size_t bytes;

	clean_measure(s, columns, &bytes);
	if (s[bytes] == '\0')
		return weir_xstrdup(s);
	if (columns == 0)
		return weir_xstrdup("");
	clean_measure(s, columns - 1, &bytes);
	while (bytes > 0 && s[bytes - 1] == ' ')
		bytes--;
	return weir_xasprintf("%.*s" CLEAN_CUT, (int)bytes, s);
}
