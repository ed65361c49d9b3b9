/* SPDX-License-Identifier: Apache-2.0 */
/* INI reader. Knows nothing of what the sections mean. */
#include "config.h"

#include "ini.h"

#include <string.h>

#include "util.h"

#define INI_MAX (1u << 20)

struct ini_state {
	const char *name;
	char *section;		/* NULL until the first header; points into the copy of the text */
	char *label;
	int line;
	enum weir_code (*fn)(void *, const struct weir_ini_entry *, struct weir_err *);
	void *arg;
};

static bool
ini_is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/* Cuts blanks on both sides, in place. */
static char *
ini_trim(char *s)
{
	size_t n;

	while (ini_is_blank(*s))
		s++;
	n = strlen(s);
	while (n > 0 && ini_is_blank(s[n - 1]))
		n--;
	s[n] = '\0';
	return s;
}

static enum weir_code
ini_call(struct ini_state *st, const char *key, const char *value, struct weir_err *err)
{
	struct weir_ini_entry e = {.section = st->section, .label = st->label, .key = key, .value = value, .line = st->line};

	return st->fn(st->arg, &e, err);
}

/* s starts with '['. */
static enum weir_code
ini_header(struct ini_state *st, char *s, struct weir_err *err)
{
	size_t n = strlen(s);
	char *p;

	if (s[n - 1] != ']')
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: a section header ends with ']'", st->name, st->line);
	s[n - 1] = '\0';
	s = ini_trim(s + 1);
	if (*s == '\0')
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: a section needs a name", st->name, st->line);
	for (p = s; *p != '\0' && !ini_is_blank(*p);)
		p++;
	if (*p != '\0')
		*p++ = '\0';
	st->section = s;
	st->label = ini_trim(p);
	return ini_call(st, NULL, NULL, err);
}

static enum weir_code
ini_line(struct ini_state *st, char *s, struct weir_err *err)
{
	char *eq;

	s = ini_trim(s);
	if (*s == '\0' || *s == '#' || *s == ';')
		return WEIR_OK;
	if (*s == '[')
		return ini_header(st, s, err);
	eq = strchr(s, '=');
	if (eq == NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: this line is neither 'key = value' nor a [section]", st->name, st->line);
	*eq = '\0';
	s = ini_trim(s);
	if (*s == '\0')
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: there is no key before '='", st->name, st->line);
	if (st->section == NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: '%.64s' stands before the first [section]", st->name, st->line, s);
	return ini_call(st, s, ini_trim(eq + 1), err);
}

static enum weir_code
ini_lines(struct ini_state *st, char *p, char *end, struct weir_err *err)
{
	while (p < end) {
		char *nl = memchr(p, '\n', (size_t)(end - p));
		char *stop = nl != NULL ? nl : end;
		enum weir_code r;

		st->line++;
		if (memchr(p, '\0', (size_t)(stop - p)) != NULL)
			return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: this line holds a NUL byte", st->name, st->line);
		*stop = '\0';
		r = ini_line(st, p, err);
		if (r != WEIR_OK)
			return r;
		p = stop + 1;
	}
	return WEIR_OK;
}

/* The copy holds secrets (password = …): it is zeroed. */
enum weir_code
weir_ini_parse(const char *name, const char *text, size_t len,
    enum weir_code (*fn)(void *, const struct weir_ini_entry *, struct weir_err *), void *arg, struct weir_err *err)
{
	struct ini_state st = {.name = name, .fn = fn, .arg = arg};
	enum weir_code r;
	char *copy;

	if (len > INI_MAX)
		return weir_err_set(err, WEIR_E_CONFIG, "%s: larger than 1 MiB, this is no configuration", name);
	copy = weir_xcalloc(len + 1, 1);
	if (len > 0)
		memcpy(copy, text, len);
	if (len >= 3 && memcmp(copy, "\xef\xbb\xbf", 3) == 0)
		r = ini_lines(&st, copy + 3, copy + len, err);
	else
		r = ini_lines(&st, copy, copy + len, err);
	explicit_bzero(copy, len);
	free(copy);
	return r;
}
