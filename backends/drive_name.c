/* SPDX-License-Identifier: Apache-2.0 */
/* Names. Drive holds any text as a name, any number of times in one folder; a mount needs names that are names, each once.
 *
 * Letters go as rclone shows Drive in a Linux folder: '/' is shown as '／', a '／' as '‛／', "." and ".." as "．" and "．．", a byte that is no
 * UTF-8 is held as '‛HH'. What people make must come back the same, or it is refused; what others made is always shown, and found by its
 * id. Siblings of one name: the oldest (createdTime, then id) keeps it, the others are "name (ID-PREFIX).ext". Pure. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "drive_impl.h"

#define NAME_QUOTE "\xE2\x80\x9B"	/* U+201B */
#define NAME_SLASH "\xEF\xBC\x8F"	/* U+FF0F */
#define NAME_DOT "\xEF\xBC\x8E"		/* U+FF0E */
#define NAME_NUL "\xE2\x90\x80"		/* U+2400 */
#define NAME_PREFIX 8			/* characters of an id in a twin's name */
#define NAME_EXT_MAX 16
#define NAME_BUF (8u << 20)

static bool
name_is_at(const char *s, size_t len, const char *what)
{
	size_t n = strlen(what);

	return len >= n && memcmp(s, what, n) == 0;
}

/* Length of the valid UTF-8 sequence at s, 0 when there is none. */
static size_t
name_utf8(const unsigned char *s, size_t len)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xC2 && s[0] < 0xE0 ? 2 : s[0] >= 0xE0 && s[0] < 0xF0 ? 3 : s[0] >= 0xF0 && s[0] < 0xF5 ? 4 : 0;
	uint32_t c;

	if (n <= 1)
		return n;
	if (n > len)
		return 0;
	c = s[0] & (0xFFu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xC0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3F);
	}
	return c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF) ? 0 : n;
}

/* A byte >= 0x80 as two upper-case hex digits; 0: none. */
static unsigned char
name_byte(const char *s, size_t len)
{
	unsigned char b = 0;

	if (len < 2 || strspn(s, "0123456789ABCDEF") < 2 || weir_unhex(s, 2, &b) < 0 || b < 0x80)
		return 0;
	return b;
}

static void
name_show(struct weir_buf *b, const char *s, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t left = len - i;

		if (name_is_at(s + i, left, NAME_QUOTE NAME_QUOTE)) {
			weir_buf_add(b, s + i, 6);
			i += 6;
		} else if (name_is_at(s + i, left, NAME_QUOTE) && name_byte(s + i + 3, left - 3) != 0) {
			weir_buf_addc(b, (char)name_byte(s + i + 3, left - 3));
			i += 5;
		} else if (name_is_at(s + i, left, NAME_SLASH)) {
			weir_buf_adds(b, NAME_QUOTE NAME_SLASH);
			i += 3;
		} else if (s[i] == '/') {
			weir_buf_adds(b, NAME_SLASH);
			i++;
		} else
			weir_buf_addc(b, s[i++]);
	}
}

static void
name_hold(struct weir_buf *b, const char *s, size_t len)
{
	for (size_t i = 0, n; i < len; i += n) {
		size_t left = len - i;

		if (name_is_at(s + i, left, NAME_QUOTE NAME_QUOTE)) {
			n = 6;
			weir_buf_add(b, s + i, n);
		} else if (name_is_at(s + i, left, NAME_QUOTE NAME_SLASH)) {
			n = 6;
			weir_buf_adds(b, NAME_SLASH);
		} else if (name_is_at(s + i, left, NAME_SLASH)) {
			n = 3;
			weir_buf_addc(b, '/');
		} else if ((n = name_utf8((const unsigned char *)s + i, left)) == 0) {
			n = 1;
			weir_buf_addf(b, NAME_QUOTE "%02X", (unsigned char)s[i]);
		} else
			weir_buf_add(b, s + i, n);
	}
}

/* Whole names that a folder cannot show, and their stand-ins. */
static const struct { const char *held, *shown; } name_whole[] = {
	{ ".", NAME_DOT }, { "..", NAME_DOT NAME_DOT }, { NAME_DOT, NAME_QUOTE NAME_DOT }, { NAME_DOT NAME_DOT, NAME_QUOTE NAME_DOT NAME_DOT },
	{ "", NAME_QUOTE },
};

/* Where the ending begins; the end of the name when it has none. */
static size_t
name_stem(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot == NULL || dot == name || strlen(dot) > NAME_EXT_MAX || strchr(dot, ' ') != NULL ? strlen(name) : (size_t)(dot - name);
}

char *
weir_drive_name_twin(const char *shown, const char *id, bool is_whole)
{
	size_t stem = name_stem(shown), ext = strlen(shown) - stem, n = strlen(id), most;
	struct weir_buf b = WEIR_BUF(NAME_BUF);

	if (!is_whole && n > NAME_PREFIX)
		n = NAME_PREFIX;
	most = DRIVE_NAME_MAX > ext + n + 3 ? DRIVE_NAME_MAX - ext - n - 3 : 0;
	if (stem > most)
		for (stem = most; stem > 0 && ((unsigned char)shown[stem] & 0xC0) == 0x80; stem--)
			;
	weir_buf_add(&b, shown, stem);
	weir_buf_addf(&b, " (%.*s)%s", (int)n, id, shown + strlen(shown) - ext);
	return weir_buf_take(&b);
}

char *
weir_drive_name_show(const char *name, const char *id)
{
	struct weir_buf b = WEIR_BUF(NAME_BUF);
	char *shown, *cut;

	for (size_t i = 0; i < WEIR_LEN(name_whole); i++)
		if (strcmp(name, name_whole[i].held) == 0)
			return weir_xstrdup(name_whole[i].shown);
	name_show(&b, name, strlen(name));
	shown = weir_buf_take(&b);
	if (strlen(shown) <= DRIVE_NAME_MAX)
		return shown;
	cut = weir_drive_name_twin(shown, id, false);
	free(shown);
	return cut;
}

enum weir_code
weir_drive_name_hold(const char *shown, size_t len, char **name, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *text = weir_xstrndup(shown, len), *held = NULL, *back = NULL;
	struct weir_buf b = WEIR_BUF(NAME_BUF);

	if (len > DRIVE_NAME_MAX)
		return weir_err_set(err, WEIR_E_NAMETOOLONG, "'%.64s…' is longer than %d bytes", text, DRIVE_NAME_MAX);
	for (size_t i = 0; i < WEIR_LEN(name_whole) && held == NULL; i++)
		if (strcmp(text, name_whole[i].shown) == 0)
			held = weir_xstrdup(name_whole[i].held);
	if (held == NULL) {
		name_hold(&b, text, len);
		held = weir_buf_take(&b);
	}
	back = weir_drive_name_show(held, "");
	if (strcmp(back, text) != 0 || *held == '\0')
		return weir_err_set(err, WEIR_E_NAME, "Drive cannot hold the name '%s' so that it comes back the same", text);
	*name = WEIR_STEAL(held);
	return WEIR_OK;
}

bool
weir_drive_name_is_twin(const char *shown)
{
	size_t stem = name_stem(shown), n = 0;

	if (stem < NAME_PREFIX + 3 || shown[stem - 1] != ')')
		return false;
	for (const char *p = shown + stem - 2; p > shown && *p != '('; p--, n++)
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", *p) == NULL)
			return false;
	return n >= NAME_PREFIX / 2 && shown[stem - 2 - n] == '(' && stem >= n + 3 && shown[stem - 3 - n] == ' ';
}

bool
weir_drive_name_is(const char *leaf, const char *shown, const char *id)
{
	bool is_it = strcmp(leaf, shown) == 0;

	for (int whole = 0; !is_it && whole <= 1; whole++) {
		WEIR_AUTO(weir_freep) char *twin = weir_drive_name_twin(shown, id, whole != 0);

		is_it = strcmp(leaf, twin) == 0;
	}
	return is_it;
}

/* ---- one name each ---- */

static const char *
name_or_empty(const char *s)
{
	return s == NULL ? "" : s;
}

static int
entry_order(const void *pa, const void *pb)
{
	const struct drive_entry *a = pa, *b = pb;
	int d = strcmp(a->name, b->name);

	if (d == 0)
		d = strcmp(name_or_empty(a->file->created), name_or_empty(b->file->created));
	return d != 0 ? d : strcmp(a->file->id, b->file->id);
}

static int
text_order(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool
entry_shares_prefix(const struct drive_entry *v, size_t from, size_t to, size_t i)
{
	for (size_t k = from; k < to; k++)
		if (k != i && strncmp(v[k].file->id, v[i].file->id, NAME_PREFIX) == 0)
			return true;
	return false;
}

/* v[from, to) have one name. base: all names of the folder, sorted. */
static void
entry_settle(struct drive_entry *v, size_t from, size_t to, char **base, size_t n)
{
	for (size_t i = from + 1; i < to; i++) {
		/* Where so many are called the same, prefixes are not compared in pairs. */
		bool is_whole = to - from > 256 || entry_shares_prefix(v, from + 1, to, i);
		char *twin = weir_drive_name_twin(base[from], v[i].file->id, is_whole);

		if (!is_whole && bsearch(&twin, base, n, sizeof(*base), text_order) != NULL) {
			free(twin);
			twin = weir_drive_name_twin(base[from], v[i].file->id, true);
		}
		v[i].name = twin;
	}
}

void
weir_drive_names_settle(struct drive_entry *v, size_t n)
{
	char **base = weir_xcalloc(n + 1, sizeof(*base));

	qsort(v, n, sizeof(*v), entry_order);
	for (size_t i = 0; i < n; i++)
		base[i] = v[i].name;
	for (size_t from = 0, to; from < n; from = to) {
		for (to = from + 1; to < n && strcmp(base[to], base[from]) == 0; to++)
			;
		entry_settle(v, from, to, base, n);
	}
	for (size_t i = 0; i < n; i++)
		if (v[i].name != base[i])
			free(base[i]);
	free(base);
}

/* ---- queries ---- */

void
weir_drive_query_text(struct weir_buf *b, const char *text)
{
	weir_buf_addc(b, '\'');
	for (; *text != '\0'; text++) {
		if (*text == '\\' || *text == '\'')
			weir_buf_addc(b, '\\');
		weir_buf_addc(b, *text);
	}
	weir_buf_addc(b, '\'');
}

/* ---- exports ---- */

enum { KIND_DOC = 1, KIND_SHEET = 2, KIND_SLIDES = 4, KIND_DRAWING = 8, KIND_SCRIPT = 16 };

static const struct { const char *mime; unsigned kind; } name_kinds[] = {
	{ DRIVE_APPS "document", KIND_DOC }, { DRIVE_APPS "spreadsheet", KIND_SHEET }, { DRIVE_APPS "presentation", KIND_SLIDES },
	{ DRIVE_APPS "drawing", KIND_DRAWING }, { DRIVE_APPS "script", KIND_SCRIPT },
};

/* What Google offers (about.exportFormats), of which one ending each. */
static const struct drive_format name_formats[] = {
	{ "docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", KIND_DOC },
	{ "xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", KIND_SHEET },
	{ "pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation", KIND_SLIDES },
	{ "svg", "image/svg+xml", KIND_DRAWING },
	{ "pdf", "application/pdf", KIND_DOC | KIND_SHEET | KIND_SLIDES | KIND_DRAWING },
	{ "odt", "application/vnd.oasis.opendocument.text", KIND_DOC },
	{ "ods", "application/x-vnd.oasis.opendocument.spreadsheet", KIND_SHEET },
	{ "odp", "application/vnd.oasis.opendocument.presentation", KIND_SLIDES },
	{ "rtf", "application/rtf", KIND_DOC },
	{ "txt", "text/plain", KIND_DOC | KIND_SLIDES },
	{ "md", "text/markdown", KIND_DOC },
	{ "html", "text/html", KIND_DOC },
	{ "epub", "application/epub+zip", KIND_DOC },
	{ "csv", "text/csv", KIND_SHEET },
	{ "tsv", "text/tab-separated-values", KIND_SHEET },
	{ "png", "image/png", KIND_DRAWING },
	{ "jpg", "image/jpeg", KIND_DRAWING },
	{ "json", "application/vnd.google-apps.script+json", KIND_SCRIPT },
};

const struct drive_format **
weir_drive_formats_parse(const char *words, const char **bad)
{
	const struct drive_format **v = weir_xcalloc(WEIR_LEN(name_formats) + 1, sizeof(*v));
	size_t n = 0;

	for (const char *p = words + strspn(words, ", \t"); *p != '\0'; p += strspn(p, ", \t")) {
		size_t len = strcspn(p, ", \t"), i;

		if (len == 4 && strncmp(p, "none", 4) == 0 && n == 0 && p[4 + strspn(p + 4, ", \t")] == '\0')
			return v;
		for (i = 0; i < WEIR_LEN(name_formats); i++)
			if (strlen(name_formats[i].ext) == len && strncmp(name_formats[i].ext, p, len) == 0)
				break;
		if (i == WEIR_LEN(name_formats) || n == WEIR_LEN(name_formats)) {
			*bad = p;
			free(v);
			return NULL;
		}
		v[n++] = &name_formats[i];
		p += len;
	}
	return v;
}

const struct drive_format *
weir_drive_format(const struct drive_format *const *formats, const char *mime)
{
	unsigned kind = 0;

	for (size_t i = 0; mime != NULL && i < WEIR_LEN(name_kinds); i++)
		if (strcmp(name_kinds[i].mime, mime) == 0)
			kind = name_kinds[i].kind;
	for (; *formats != NULL; formats++)
		if ((*formats)->kinds & kind)
			return *formats;
	return NULL;
}

/* What the shortcut points to decides its ending. */
char *
weir_drive_name_of(const struct drive_format *const *formats, const struct drive_file *f)
{
	const char *mime = f->target_id != NULL ? f->target_mime : f->mime;
	bool is_doc = mime != NULL && strncmp(mime, DRIVE_APPS, strlen(DRIVE_APPS)) == 0 && strcmp(mime, DRIVE_FOLDER) != 0 && f->md5 == NULL;
	const struct drive_format *as = is_doc ? weir_drive_format(formats, mime) : NULL;
	WEIR_AUTO(weir_freep) char *full = NULL;

	if (is_doc && as == NULL)
		return NULL;
	full = as == NULL ? weir_xstrdup(f->name) : weir_xasprintf("%s.%s", f->name, as->ext);
	return weir_drive_name_show(full, f->id);
}
