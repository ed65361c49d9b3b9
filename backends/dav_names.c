/* SPDX-License-Identifier: Apache-2.0 */
/* Names a server would refuse, written as rclone writes them: a forbidden character becomes its full-width or control-picture
 * twin ('\' is '＼', a line feed '␊'), a byte that is no UTF-8 becomes ‛HH, and ‛ before such a twin means the twin itself. Unlike
 * rclone, a ‛ that stands before nothing of that kind is left alone both ways: so every name a server holds has a path that leads
 * back to it. */
#include "config.h"

#include <string.h>

#include "../src/util/util.h"
#include "dav.h"

#define NAMES_MAX (64u << 10)
#define QUOTE "\xe2\x80\x9b"	/* U+201B */

/* Length of the well-formed UTF-8 character at p, 0 when there is none; *cp. */
static unsigned
names_char(const unsigned char *p, uint32_t *cp)
{
	unsigned n = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2 : *p >= 0xe0 && *p < 0xf0 ? 3 : *p >= 0xf0 && *p < 0xf5 ? 4 : 0;

	if (!n)
		return 0;
	*cp = n == 1 ? *p : *p & (0x7fu >> n);
	for (unsigned i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		*cp = *cp << 6 | (p[i] & 0x3f);
	}
	if ((n == 3 && (*cp < 0x800 || (*cp >= 0xd800 && *cp < 0xe000))) || (n == 4 && (*cp < 0x10000 || *cp > 0x10ffff)))
		return 0;
	return n;
}

/* The twin of an ASCII character, and back (0: none). */
static uint32_t
names_twin(unsigned char c)
{
	return c < 0x20 ? 0x2400u + c : 0xfee0u + c;
}

static unsigned char
names_of_twin(const struct weir_dav_names *n, uint32_t cp)
{
	unsigned char c = cp > 0x2400 && cp < 0x2420 ? (unsigned char)(cp - 0x2400) : cp > 0xff00 && cp < 0xff5f ?
	    (unsigned char)(cp - 0xfee0) : 0;

	return c && n->is_refused[c] ? c : 0;
}

/* "FF" as 0xFF; 0 when it is not the hex of a byte above ASCII. */
static unsigned char
names_hex(const unsigned char *p)
{
	static const char digits[] = "0123456789ABCDEF";
	const char *a = *p ? strchr(digits, p[0]) : NULL;
	const char *b = a && p[1] ? strchr(digits, p[1]) : NULL;
	unsigned v = b ? (unsigned)((a - digits) * 16 + (b - digits)) : 0;

	return v >= 0x80 ? (unsigned char)v : 0;
}

static size_t
names_quotes(const unsigned char **p)
{
	size_t k = 0;

	for (; strncmp((const char *)*p, QUOTE, 3) == 0; *p += 3)
		k++;
	return k;
}

static void
names_add_quotes(struct weir_buf *out, size_t k)
{
	while (k--)
		weir_buf_adds(out, QUOTE);
}

static void
names_add_utf8(struct weir_buf *out, uint32_t cp)	/* U+0800 … U+FFFF: all twins are there */
{
	char s[4] = { (char)(0xe0 | cp >> 12), (char)(0x80 | (cp >> 6 & 0x3f)), (char)(0x80 | (cp & 0x3f)), '\0' };

	weir_buf_adds(out, s);
}

/* ---- as rclone speaks of names ---- */

/* Between rclone and those who talk to it, names have one spelling whatever the storage holds (lib/encoder's "Standard"): control
 * characters and DEL are their pictures, and ‛ stands before a picture, or a ‛, that means itself. What stands for '/' and NUL stays as
 * it is both ways: no name here can hold these. */
static uint32_t
standard_picture(uint32_t cp)
{
	return cp > 0 && cp < 0x20 ? 0x2400 + cp : cp == 0x7f ? 0x2421 : 0;
}

static unsigned char
standard_of_picture(uint32_t cp)
{
	return cp > 0x2400 && cp < 0x2420 ? (unsigned char)(cp - 0x2400) : cp == 0x2421 ? 0x7f : 0;
}

static char *
standard_escape(const char *name)
{
	struct weir_buf out = WEIR_BUF(NAMES_MAX);

	for (const unsigned char *p = (const unsigned char *)name; *p; ) {
		uint32_t cp = 0;
		unsigned len = names_char(p, &cp);

		if (len && standard_picture(cp)) {
			names_add_utf8(&out, standard_picture(cp));
		} else {
			if (len && (cp == 0x201b || standard_of_picture(cp)))
				weir_buf_adds(&out, QUOTE);
			weir_buf_add(&out, p, len ? len : 1);
		}
		p += len ? len : 1;
	}
	return weir_buf_take(&out);
}

static char *
standard_unescape(const char *name)
{
	struct weir_buf out = WEIR_BUF(NAMES_MAX);

	for (const unsigned char *p = (const unsigned char *)name; *p; ) {
		uint32_t cp = 0, next = 0;
		unsigned len = names_char(p, &cp), more = 0;

		if (len && cp == 0x201b && (more = names_char(p + len, &next)) && (next == 0x201b || standard_of_picture(next)))
			weir_buf_add(&out, p + len, more);
		else if (len && standard_of_picture(cp))
			weir_buf_addc(&out, (char)standard_of_picture(cp));
		else
			weir_buf_add(&out, p, len ? len : 1);
		p += (len ? len : 1) + (len && cp == 0x201b && (next == 0x201b || standard_of_picture(next)) ? more : 0);
	}
	return weir_buf_take(&out);
}

char *
weir_dav_escape(const struct weir_dav_names *n, const char *name)
{
	struct weir_buf out = WEIR_BUF(NAMES_MAX);
	const unsigned char *p = (const unsigned char *)name;

	if (n->is_rclone)
		return standard_escape(name);
	if (!n->is_on)
		return weir_xstrdup(name);
	while (*p) {
		size_t m = names_quotes(&p);
		uint32_t cp = 0;
		unsigned len = names_char(p, &cp);

		if (len == 1 && n->is_refused[*p]) {
			names_add_quotes(&out, 2 * m);
			names_add_utf8(&out, names_twin(*p));
		} else if (!len) {
			names_add_quotes(&out, 2 * m + 1);
			weir_buf_addf(&out, "%02X", *p);
			len = 1;
		} else if (names_of_twin(n, cp)) {
			names_add_quotes(&out, 2 * m + 1);
			weir_buf_add(&out, p, len);
		} else {
			names_add_quotes(&out, m && names_hex(p) ? 2 * m : m);
			if (*p)
				weir_buf_add(&out, p, len);
		}
		p += *p ? len : 0;
	}
	return weir_buf_take(&out);
}

char *
weir_dav_unescape(const struct weir_dav_names *n, const char *name)
{
	struct weir_buf out = WEIR_BUF(NAMES_MAX);
	const unsigned char *p = (const unsigned char *)name;

	if (n->is_rclone)
		return standard_unescape(name);
	if (!n->is_on)
		return weir_xstrdup(name);
	while (*p) {
		size_t k = names_quotes(&p);
		uint32_t cp = 0;
		unsigned len = names_char(p, &cp);
		unsigned char twin_of = len ? names_of_twin(n, cp) : 0, byte = k ? names_hex(p) : 0;

		names_add_quotes(&out, twin_of || byte ? k / 2 : k);
		if (twin_of && k % 2 == 0) {
			weir_buf_addc(&out, (char)twin_of);
		} else if (byte && k % 2 == 1) {
			weir_buf_addc(&out, (char)byte);
			len = 2;
		} else if (*p) {
			len = len ? len : 1;
			weir_buf_add(&out, p, len);
		}
		p += *p ? len : 0;
	}
	return weir_buf_take(&out);
}
