/* SPDX-License-Identifier: Apache-2.0 */
/* Paths <-> the names Dropbox holds, escaped as rclone does for Dropbox: '\' is '＼', DEL is '␡', a space at the end of a name is '␠', a byte
 * that is not UTF-8 is ‛ and two hex digits; ‛ before such a twin means the twin itself. As elsewhere in this program, a ‛ that stands before
 * nothing of that kind is left alone both ways. Names go up in NFC: Dropbox's own clients make no difference. Pure. */
#include "config.h"

#include <string.h>
#include <utf8proc.h>

#include "dropbox_impl.h"

#define NAME_MAX_BYTES 255		/* of a name in a mount */
#define NAME_BUF (64u << 10)
#define QUOTE "\xE2\x80\x9B"		/* U+201B */

static const struct { char c; bool is_at_end; const char *twin; } name_twins[] = {
	{ '\\', false, "\xEF\xBC\xBC" }, { '\x7f', false, "\xE2\x90\xA1" }, { ' ', true, "\xE2\x90\xA0" },
};

/* Bytes of the well-formed UTF-8 character at s; 0: none. */
static size_t
name_char(const char *s, size_t len)
{
	utf8proc_int32_t cp;
	utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)(len > 4 ? 4 : len), &cp);

	return n > 0 ? (size_t)n : 0;
}

/* Index of what must be escaped here, or -1. */
static int
name_refused(const char *s, size_t len)
{
	for (size_t i = 0; i < WEIR_LEN(name_twins); i++)
		if (*s == name_twins[i].c && (len == 1 || !name_twins[i].is_at_end))
			return (int)i;
	return -1;
}

static int
name_twin(const char *s, size_t len)
{
	for (size_t i = 0; i < WEIR_LEN(name_twins); i++)
		if (len >= 3 && memcmp(s, name_twins[i].twin, 3) == 0 && (len == 3 || !name_twins[i].is_at_end))
			return (int)i;
	return -1;
}

/* Two upper-case hex digits of a byte above ASCII; -1 otherwise. */
static int
name_byte(const char *s, size_t len)
{
	unsigned char b;

	if (len < 2 || strspn(s, "0123456789ABCDEF") < 2 || weir_unhex(s, 2, &b) < 0 || b < 0x80)
		return -1;
	return b;
}

static size_t
name_quotes(const char **s, size_t *len)
{
	size_t k = 0;

	for (; *len >= 3 && memcmp(*s, QUOTE, 3) == 0; *s += 3, *len -= 3)
		k++;
	return k;
}

static void
name_add_quotes(struct weir_buf *b, size_t k)
{
	while (k-- > 0)
		weir_buf_adds(b, QUOTE);
}

static void
name_encode(struct weir_buf *b, const char *s, size_t len)
{
	while (len > 0) {
		size_t m = name_quotes(&s, &len), n = len > 0 ? name_char(s, len) : 0;

		if (len == 0) {
			name_add_quotes(b, m);
		} else if (n == 0) {
			name_add_quotes(b, 2 * m + 1);
			weir_buf_addf(b, "%02X", (unsigned char)*s);
			n = 1;
		} else if (name_refused(s, len) >= 0) {
			name_add_quotes(b, 2 * m);
			weir_buf_adds(b, name_twins[name_refused(s, len)].twin);
		} else {
			bool is_twin = name_twin(s, len) >= 0;

			name_add_quotes(b, is_twin ? 2 * m + 1 : m > 0 && name_byte(s, len) >= 0 ? 2 * m : m);
			weir_buf_add(b, s, n);
		}
		s += n;
		len -= n;
	}
}

static void
name_decode(struct weir_buf *b, const char *s, size_t len)
{
	while (len > 0) {
		size_t k = name_quotes(&s, &len), n = len > 0 ? name_char(s, len) : 0;
		int twin = len > 0 ? name_twin(s, len) : -1, byte = k > 0 ? name_byte(s, len) : -1;

		name_add_quotes(b, twin >= 0 || byte >= 0 ? k / 2 : k);
		if (len == 0)
			break;
		if (twin >= 0 && k % 2 == 0) {
			weir_buf_addc(b, name_twins[twin].c);
		} else if (byte >= 0 && k % 2 == 1) {
			weir_buf_addc(b, (char)byte);
			n = 2;
		} else {
			n = n > 0 ? n : 1;
			weir_buf_add(b, s, n);
		}
		s += n;
		len -= n;
	}
}

static bool
name_is_dots(const char *s, size_t len)
{
	return (len == 1 && s[0] == '.') || (len == 2 && s[0] == '.' && s[1] == '.');
}

char *
weir_dropbox_name_shown(const char *name)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf b = WEIR_BUF(NAME_BUF);
	size_t len = strlen(name);

	if (len == 0 || len > 4 * NAME_MAX_BYTES || strchr(name, '/') != NULL || name_is_dots(name, len))
		return NULL;
	name_decode(&b, name, len);
	if (b.is_full || b.len == 0 || b.len > NAME_MAX_BYTES || name_is_dots(b.data, b.len))
		return NULL;
	return weir_buf_take(&b);
}

/* What Dropbox keeps on no account. */
static bool
name_is_disallowed(const char *s, size_t len)
{
	static const char *const names[] = { "desktop.ini", "thumbs.db", ".ds_store", "icon\r", ".dropbox", ".dropbox.attr", ".dropbox.cache" };

	for (size_t i = 0; i < WEIR_LEN(names); i++)
		if (strlen(names[i]) == len && strncasecmp(names[i], s, len) == 0)
			return true;
	return false;
}

static size_t
name_chars(const char *s, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += ((unsigned char)s[i] & 0xC0) != 0x80;
	return n;
}

static enum weir_code
name_add(struct weir_buf *b, const char *s, size_t len, bool is_new, struct weir_err *err)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf one = WEIR_BUF(NAME_BUF);
	utf8proc_uint8_t *nfc;

	if (len == 0 || name_is_dots(s, len))
		return weir_err_set(err, WEIR_E_NAME, "'%.*s' is not a name", (int)len, s);
	if (len > NAME_MAX_BYTES)
		return weir_err_set(err, WEIR_E_NAMETOOLONG, "'%.64s…' is longer than %d bytes", s, NAME_MAX_BYTES);
	if (is_new && name_is_disallowed(s, len))
		return weir_err_set(err, WEIR_E_NAME, "Dropbox keeps no file of the name '%.*s'", (int)len, s);
	name_encode(&one, s, len);
	nfc = utf8proc_NFC((const utf8proc_uint8_t *)weir_buf_str(&one));
	if (nfc == NULL)
		return weir_err_set(err, WEIR_E_NAME, "Dropbox cannot hold the name '%.*s'", (int)len, s);
	if (name_chars((const char *)nfc, strlen((const char *)nfc)) > DROPBOX_NAME_CHARS) {
		free(nfc);
		return weir_err_set(err, WEIR_E_NAMETOOLONG, "'%.64s…' is longer than %d characters", s, DROPBOX_NAME_CHARS);
	}
	weir_buf_addc(b, '/');
	weir_buf_adds(b, (const char *)nfc);
	free(nfc);
	return WEIR_OK;
}

enum weir_code
weir_dropbox_path_add(struct weir_buf *b, const char *path, bool is_new, struct weir_err *err)
{
	enum weir_code r = WEIR_OK;

	for (const char *p = path; r == WEIR_OK && *p != '\0';) {
		size_t n = strcspn(p, "/");

		r = name_add(b, p, n, is_new && p[n] == '\0', err);
		p += n;
		if (r == WEIR_OK && *p == '/' && *++p == '\0')
			return weir_err_set(err, WEIR_E_NAME, "'%s' is not a path of names", path);
	}
	if (r == WEIR_OK && b->is_full)
		r = weir_err_set(err, WEIR_E_NAMETOOLONG, "the path of '%.64s…' is too long", path);
	return r;
}

char *
weir_dropbox_fold(const char *s)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf b = WEIR_BUF(1u << 20);
	size_t len = strlen(s);

	while (len > 0) {
		utf8proc_uint8_t out[4];
		utf8proc_int32_t cp;
		utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)(len > 4 ? 4 : len), &cp);

		if (n <= 0) {
			n = 1;
			weir_buf_addc(&b, *s);
		} else {
			weir_buf_add(&b, out, (size_t)utf8proc_encode_char(utf8proc_tolower(cp), out));
		}
		s += n;
		len -= (size_t)n;
	}
	return weir_buf_take(&b);
}

const char *
weir_dropbox_leaf(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == NULL ? path : slash + 1;
}
