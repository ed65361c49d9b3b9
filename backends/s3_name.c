/* SPDX-License-Identifier: Apache-2.0 */
/* Paths <-> keys, as rclone spells them for S3 (its encoding Slash,InvalidUtf8,Dot seen from a Linux folder). Pure.
 *
 * S3 takes every UTF-8 name as it is, and so does rclone between Linux and S3: slash and dot have the same stand-ins on both
 * sides and pass unchanged. What is left is a byte that is not UTF-8: it becomes U+201B and two hex digits ("‛FF"). A doubled
 * U+201B is rclone's quoted one and passes as it is. A name that would not come back the same is refused, a key that would
 * not is not shown. */
#include "config.h"

#include <string.h>

#include "s3_impl.h"

#define NAME_QUOTE "\xE2\x80\x9B"	/* U+201B */

/* Length of the valid UTF-8 sequence at s, 0 when there is none. */
static size_t
name_utf8(const unsigned char *s, size_t len)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t c;
	size_t n;

	if (s[0] < 0x80)
		return 1;
	n = s[0] >= 0xF0 && s[0] <= 0xF4 ? 4 : s[0] >= 0xE0 && s[0] < 0xF0 ? 3 : s[0] >= 0xC2 && s[0] < 0xE0 ? 2 : 0;
	if (n == 0 || n > len)
		return 0;
	c = s[0] & (0xFFu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xC0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3F);
	}
	return c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF) ? 0 : n;
}

/* A byte >= 0x80 written as two upper-case hex digits; -1 otherwise. */
static int
name_byte(const char *s, size_t len)
{
	unsigned char b;

	if (len < 2 || strspn(s, "0123456789ABCDEF") < 2 || weir_unhex(s, 2, &b) < 0 || b < 0x80)
		return -1;
	return b;
}

static bool
name_is_quote(const char *s, size_t len)
{
	return len >= 3 && memcmp(s, NAME_QUOTE, 3) == 0;
}

static void
name_encode(struct weir_buf *b, const char *s, size_t len)
{
	for (size_t i = 0, n; i < len; i += n) {
		n = name_utf8((const unsigned char *)s + i, len - i);
		if (n == 0) {
			n = 1;
			weir_buf_addf(b, NAME_QUOTE "%02X", (unsigned char)s[i]);
		} else {
			weir_buf_add(b, s + i, n);
		}
	}
}

static void
name_decode(struct weir_buf *b, const char *s, size_t len)
{
	for (size_t i = 0; i < len;) {
		if (!name_is_quote(s + i, len - i)) {
			weir_buf_addc(b, s[i++]);
		} else if (name_is_quote(s + i + 3, len - i - 3)) {
			weir_buf_add(b, s + i, 6);
			i += 6;
		} else if (name_byte(s + i + 3, len - i - 3) >= 0) {
			weir_buf_addc(b, (char)name_byte(s + i + 3, len - i - 3));
			i += 5;
		} else {
			weir_buf_add(b, s + i, 3);
			i += 3;
		}
	}
}

static bool
name_is_dots(const char *s, size_t len)
{
	return (len == 1 && s[0] == '.') || (len == 2 && s[0] == '.' && s[1] == '.');
}

char *
weir_s3_name_of_part(const char *part, size_t len)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf name = WEIR_BUF(4 * S3_KEY_MAX);
	WEIR_AUTO(weir_buf_free) struct weir_buf back = WEIR_BUF(16 * S3_KEY_MAX);

	if (len == 0 || len > S3_KEY_MAX || name_is_dots(part, len) || memchr(part, '\0', len) != NULL)
		return NULL;
	name_decode(&name, part, len);
	name_encode(&back, name.data, name.len);
	if (name.len > S3_NAME_MAX || back.len != len || memcmp(back.data, part, len) != 0)
		return NULL;
	return weir_buf_take(&name);
}

/* Would the key bytes [start, b->len) be read as this name again? */
static bool
name_comes_back(const struct weir_buf *b, size_t start, const char *name, size_t len)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf back = WEIR_BUF(16 * S3_KEY_MAX);

	name_decode(&back, b->data + start, b->len - start);
	return back.len == len && memcmp(back.data, name, len) == 0;
}

enum weir_code
weir_s3_key_of_path(struct weir_buf *b, const char *path, struct weir_err *err)
{
	size_t start = b->len, at;

	for (const char *p = path; *p != '\0';) {
		size_t n = strcspn(p, "/");

		if (n == 0 || name_is_dots(p, n))
			return weir_err_set(err, WEIR_E_NAME, "'%s' is not a path of names", path);
		if (n > S3_NAME_MAX)
			return weir_err_set(err, WEIR_E_NAMETOOLONG, "'%.64s…' is longer than %d bytes", p, S3_NAME_MAX);
		if (b->len > start)
			weir_buf_addc(b, '/');
		at = b->len;
		name_encode(b, p, n);
		if (b->is_full || !name_comes_back(b, at, p, n))
			return weir_err_set(err, WEIR_E_NAME, "S3 cannot hold the name '%.*s'", (int)n, p);
		p += n;
		if (*p == '/' && *++p == '\0')
			return weir_err_set(err, WEIR_E_NAME, "'%s' is not a path of names", path);
	}
	if (b->len > S3_KEY_MAX)
		return weir_err_set(err, WEIR_E_NAMETOOLONG, "the key of '%.64s…' is longer than %d bytes", path, S3_KEY_MAX);
	return WEIR_OK;
}
