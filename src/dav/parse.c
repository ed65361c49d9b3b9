/* SPDX-License-Identifier: Apache-2.0 */
/* Request lines and headers. */
#include "config.h"

#include "parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../util/text.h"
#include "../util/util.h"

#define PARSE_NAME_MAX 255
#define PARSE_CONDS 256

/* ---- paths ---- */

static int
parse_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One name, decoded into out; bytes written, or -1. A slash or a NUL that was escaped cannot be part of a name. */
static ssize_t
path_name(const char *s, size_t len, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		int c = (unsigned char)s[i];

		if (c == '%') {
			int high = i + 2 < len ? parse_hex(s[i + 1]) : -1, low = i + 2 < len ? parse_hex(s[i + 2]) : -1;

			if (high < 0 || low < 0)
				return -1;
			c = high * 16 + low;
			i += 2;
		}
		if (c == '\0' || c == '/' || n >= PARSE_NAME_MAX)
			return -1;
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return strcmp(out, ".") == 0 || strcmp(out, "..") == 0 ? -1 : (ssize_t)n;
}

int
front_path_parse(const char *url, const char *prefix, struct front_path *p)
{
	size_t skip = strlen(prefix), len = strcspn(url, "?"), at = 0;

	*p = (struct front_path){0};
	if (strncmp(url, prefix, skip) != 0 || (url[skip] != '/' && url[skip] != '\0' && url[skip] != '?'))
		return 404;
	if (len > FRONT_PATH_MAX || memchr(url, '#', len) != NULL)	/* a fragment is no part of a request */
		return 400;
	url += skip;
	len -= skip;
	p->copy = weir_xcalloc(len + PARSE_NAME_MAX + 2, 1);
	p->text = weir_xcalloc(len + PARSE_NAME_MAX + 2, 1);
	for (size_t i = 0; i < len;) {
		size_t n = strcspn(url + i, "/?");
		ssize_t got;

		if (n == 0) {
			p->is_slashed = true;
			i++;
			continue;
		}
		got = p->n < FRONT_SEGMENTS ? path_name(url + i, n, p->copy + at) : -1;
		if (got <= 0) {
			front_path_free(p);
			return 400;
		}
		p->seg[p->n++] = p->copy + at;
		at += (size_t)got + 1;
		i += n;
		p->is_slashed = false;
	}
	for (size_t i = 0, t = 0; i < p->n; i++) {
		size_t n = strlen(p->seg[i]);

		if (i > 0)
			p->text[t++] = '/';
		memcpy(p->text + t, p->seg[i], n + 1);
		t += n;
	}
	return 0;
}

void
front_path_free(struct front_path *p)
{
	free(p->text);
	free(p->copy);
	*p = (struct front_path){0};
}

const char *
front_url_path(const char *url, const char *host)
{
	const char *rest, *path;
	size_t n;

	if (url[0] == '/')
		return url[1] != '/' ? url : NULL;
	if (strncasecmp(url, "http://", 7) == 0)
		rest = url + 7;
	else if (strncasecmp(url, "https://", 8) == 0)
		rest = url + 8;
	else
		return NULL;
	n = strcspn(rest, "/?#");
	path = rest + n;
	for (size_t i = 0; i < n; i++) {
		if (rest[i] == '@') {	/* who wrote a user into it says nothing new */
			rest += i + 1;
			n -= i + 1;
			break;
		}
	}
	if (host != NULL && (strlen(host) != n || strncasecmp(rest, host, n) != 0))
		return NULL;
	return *path == '/' ? path : NULL;
}

/* ---- small headers ---- */

/* Digits only; UINT64_MAX when there are none or too many. */
static uint64_t
parse_number(const char **s)
{
	uint64_t v = 0;
	const char *p = *s;

	while (*p >= '0' && *p <= '9') {
		if (v > (UINT64_MAX - 10) / 10)
			return UINT64_MAX;
		v = v * 10 + (uint64_t)(*p++ - '0');
	}
	if (p == *s)
		return UINT64_MAX;
	*s = p;
	return v;
}

int
front_range_parse(const char *s, uint64_t size, uint64_t *from, uint64_t *len)
{
	uint64_t first, last;

	if (s == NULL || strncasecmp(s, "bytes=", 6) != 0)
		return 0;
	s += 6;
	s += strspn(s, " \t");
	if (*s == '-') {
		s++;
		last = parse_number(&s);
		if (last == UINT64_MAX || *s != '\0')
			return 0;
		if (last == 0 || size == 0)
			return -1;
		*len = last < size ? last : size;
		*from = size - *len;
		return 1;
	}
	first = parse_number(&s);
	if (first == UINT64_MAX || *s != '-')
		return 0;
	s++;
	last = *s == '\0' ? UINT64_MAX - 1 : parse_number(&s);
	if (last == UINT64_MAX || *s != '\0' || last < first)
		return 0;
	if (first >= size)
		return -1;
	*from = first;
	*len = (last < size ? last + 1 : size) - first;
	return 1;
}

enum front_depth
front_depth_parse(const char *s, enum front_depth when_absent)
{
	if (s == NULL)
		return when_absent;
	if (strcmp(s, "0") == 0)
		return FRONT_DEPTH_0;
	if (strcmp(s, "1") == 0)
		return FRONT_DEPTH_1;
	return strcasecmp(s, "infinity") == 0 ? FRONT_DEPTH_INFINITY : FRONT_DEPTH_BAD;
}

int
front_overwrite_parse(const char *s)
{
	if (s == NULL || strcasecmp(s, "T") == 0)
		return 1;
	return strcasecmp(s, "F") == 0 ? 0 : -1;
}

unsigned
front_timeout_parse(const char *s, unsigned when_absent, unsigned most)
{
	while (s != NULL && *s != '\0') {
		s += strspn(s, " \t,");
		if (strncasecmp(s, "Infinite", 8) == 0)
			return most;
		if (strncasecmp(s, "Second-", 7) == 0) {
			uint64_t n;

			s += 7;
			n = parse_number(&s);
			if (n != UINT64_MAX)
				return n < 1 ? 1 : n > most ? most : (unsigned)n;
		}
		s += strcspn(s, ",");
	}
	return when_absent;
}

int64_t
front_mtime_parse(const char *s)
{
	bool is_negative = s != NULL && *s == '-';
	uint64_t seconds;
	int64_t ns = 0, unit = 100000000;

	if (s == NULL)
		return INT64_MIN;
	s += is_negative;
	seconds = parse_number(&s);
	if (seconds > INT64_MAX / 1000000000 - 1)
		return INT64_MIN;
	if (*s == '.')
		for (s++; *s >= '0' && *s <= '9'; s++, unit /= 10)
			ns += (*s - '0') * unit;
	if (*s != '\0')
		return INT64_MIN;
	ns += (int64_t)seconds * 1000000000;
	return is_negative ? -ns : ns;
}

bool
front_etag_listed(const char *list, const char *etag, bool is_weak_ok)
{
	size_t n = strlen(etag);

	while (list != NULL && *list != '\0') {
		bool is_weak;

		list += strspn(list, " \t,");
		if (*list == '*')
			return true;
		is_weak = strncmp(list, "W/", 2) == 0;
		list += is_weak ? 2 : 0;
		if (strncmp(list, etag, n) == 0 && (list[n] == '\0' || strchr(" \t,", list[n]) != NULL) && (!is_weak || is_weak_ok))
			return true;
		if (*list == '"')
			list += 1 + strcspn(list + 1, "\"");
		list += strcspn(list, ",");
	}
	return false;
}

/* ---- If ---- */

/* The text up to a closing character, ended with a NUL; *s behind it. NULL: it never closes. */
static char *
if_until(char **s, char close)
{
	char *begin = *s, *end = begin;
	bool is_quoted = false;

	for (; *end != '\0' && (*end != close || is_quoted); end++)
		if (*end == '"' && close == ']')
			is_quoted = !is_quoted;
	if (*end == '\0')
		return NULL;
	*end = '\0';
	*s = end + 1;
	return begin;
}

static int
if_list(struct front_if *f, char **s, const char *tag)
{
	struct front_iflist *l = &f->lists[f->nlists];
	bool is_not = false;

	*l = (struct front_iflist){.tag = tag, .first = f->nconds};
	for (;;) {
		bool is_etag;
		char *text;

		*s += strspn(*s, " \t");
		if (**s == ')') {
			(*s)++;
			f->nlists++;
			return l->n > 0 && !is_not ? 0 : -1;
		}
		if (!is_not && strncasecmp(*s, "Not", 3) == 0) {
			is_not = true;
			*s += 3;
			continue;
		}
		if ((**s != '<' && **s != '[') || f->nconds == PARSE_CONDS)
			return -1;
		is_etag = **s == '[';
		(*s)++;
		text = if_until(s, is_etag ? ']' : '>');
		if (text == NULL)
			return -1;
		f->conds[f->nconds++] = (struct front_cond){.is_not = is_not, .is_etag = is_etag, .text = text};
		l->n++;
		is_not = false;
	}
}

int
front_if_parse(const char *header, struct front_if *f)
{
	const char *tag = NULL;
	char *s;

	*f = (struct front_if){0};
	f->copy = s = weir_xstrdup(header);
	f->conds = weir_xcalloc(PARSE_CONDS, sizeof(*f->conds));
	f->lists = weir_xcalloc(PARSE_CONDS, sizeof(*f->lists));
	for (;;) {
		s += strspn(s, " \t");
		if (*s == '\0')
			break;
		if (*s == '<') {
			s++;
			tag = if_until(&s, '>');
			if (tag == NULL)
				goto bad;
		} else if (*s == '(') {
			s++;
			if (f->nlists == PARSE_CONDS || if_list(f, &s, tag) != 0)
				goto bad;
		} else
			goto bad;
	}
	if (f->nlists > 0)
		return 0;
bad:
	front_if_free(f);
	return -1;
}

void
front_if_free(struct front_if *f)
{
	free(f->copy);
	free(f->conds);
	free(f->lists);
	*f = (struct front_if){0};
}
