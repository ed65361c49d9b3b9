/* SPDX-License-Identifier: Apache-2.0 */
/* What an argument must look like, by table, and where a path leads. A wrong argument is 400 in text, as Dropbox's validators say it: unknown
 * fields, missing fields, wrong types, and paths that do not match their pattern. */
#include "config.h"
#include "drop.h"
#include <stdarg.h>
#include <string.h>
#include <time.h>

/* ---- reading ---- */

const char *
drop_arg_string(const struct emu_req *req, const char *name)
{
	return json_string_value(json_object_get(drop_of(req)->arg, name));
}

bool
drop_arg_true(const json_t *arg, const char *name)
{
	return json_is_true(json_object_get(arg, name));
}

const char *
drop_tag(const json_t *o)
{
	return json_is_string(o) ? json_string_value(o) : json_string_value(json_object_get(o, ".tag"));
}

static bool
time_digits(const char *s)
{
	static const char form[] = "dddd-dd-ddTdd:dd:ddZ";

	if (strlen(s) != sizeof(form) - 1)
		return false;
	for (size_t i = 0; form[i]; i++)
		if (form[i] == 'd' ? s[i] < '0' || s[i] > '9' : s[i] != form[i])
			return false;
	return true;
}

int64_t
drop_time_parse(const char *s)
{
	struct tm tm = { 0 };
	char again[32];
	time_t t;

	if (!time_digits(s))
		return INT64_MIN;
	tm.tm_year = (int)strtol(s, NULL, 10) - 1900;
	tm.tm_mon = (int)strtol(s + 5, NULL, 10) - 1;
	tm.tm_mday = (int)strtol(s + 8, NULL, 10);
	tm.tm_hour = (int)strtol(s + 11, NULL, 10);
	tm.tm_min = (int)strtol(s + 14, NULL, 10);
	tm.tm_sec = (int)strtol(s + 17, NULL, 10);
	t = timegm(&tm);
	drop_time((int64_t)t, again);
	return strcmp(again, s) ? INT64_MIN : (int64_t)t;
}

/* ---- paths ---- */

static bool
path_is_ns(const char *s)
{
	size_t n;

	if (strncmp(s, "ns:", 3))
		return false;
	n = strspn(s + 3, "0123456789");
	return n && (!s[3 + n] || s[3 + n] == '/');
}

static bool
path_is_rev(const char *s)
{
	return !strncmp(s, "rev:", 4) && strlen(s + 4) >= 9 && strspn(s + 4, "0123456789abcdef") == strlen(s + 4);
}

/* The patterns of ReadPath, PathROrId, WritePath, WritePathOrId, PathOrId. */
static char *
path_check(enum drop_type type, const char *s)
{
	static const char *const patterns[] = {
		"(/(.|[\\r\\n])*|id:.*)|(rev:[0-9a-f]{9,})|(ns:[0-9]+(/.*)?)", "(/(.|[\\r\\n])*)?|id:.*|(ns:[0-9]+(/.*)?)",
		"(/(.|[\\r\\n])*)|(ns:[0-9]+(/.*)?)", "(/(.|[\\r\\n])*)|(ns:[0-9]+(/.*)?)|(id:.*)", "/(.|[\\r\\n])*|id:.*|(ns:[0-9]+(/.*)?)",
	};
	bool has_id = type != DROP_PATH_WRITE;

	if (!strcmp(s, "/") && type == DROP_PATH_LIST)
		return weir_xstrdup("Specify the root folder as an empty string rather than as \"/\".");
	if (!*s && type == DROP_PATH_READ)
		return weir_xstrdup("The root folder is unsupported.");
	if (*s == '/' || path_is_ns(s) || (has_id && !strncmp(s, "id:", 3)) || (type == DROP_PATH_READ && path_is_rev(s)) ||
	    (!*s && type == DROP_PATH_LIST))
		return NULL;
	return weir_xasprintf("'%s' did not match pattern '%s'", s, patterns[type - DROP_PATH_READ]);
}

static void
find_split(const char *path, struct drop_at *at)
{
	while (*path == '/') {
		size_t len = strcspn(++path, "/");

		if (!len || (len == 1 && *path == '.') || (len == 2 && !strncmp(path, "..", 2)))
			at->is_malformed = true;
		at->seg = weir_xrealloc(at->seg, at->n + 1, sizeof(char *));
		at->fold = weir_xrealloc(at->fold, at->n + 1, sizeof(char *));
		at->seg[at->n] = weir_xstrndup(path, len);
		at->fold[at->n] = drop_fold(at->seg[at->n]);
		at->n++;
		path += len;
	}
	if (*path)
		at->is_malformed = true;
}

static void
find_walk(struct drop_node *from, struct drop_at *at)
{
	struct drop_node *x = from;

	at->dir = from;
	for (size_t i = 0; i < at->n; i++) {
		x = drop_child(at->dir, at->fold[i]);
		if (!x || i + 1 == at->n)
			break;
		if (!x->is_dir) {
			at->is_blocked = true;
			x = NULL;
			break;
		}
		at->dir = x;
		at->known++;
	}
	at->node = at->is_malformed ? NULL : x;
}

static void
find_named(const char *path, struct drop_at *at)
{
	if (*path == 'r') {
		at->ver = drop_by_rev(path + 4);
		if (at->ver) {
			char id[32];
			const struct drop_node as_id = { .id = at->ver->node };

			drop_id(&as_id, id);
			at->node = drop_by_id(id);
		}
	} else {
		at->node = drop_by_id(path);
	}
	if (at->node && !drop_is_below(at->node, at->root))
		at->node = NULL;
	at->is_gone = !at->node && !at->ver;
	if (at->node && at->node->parent)
		at->dir = at->node->parent;
}

void
drop_find(struct drop_node *root, const char *path, struct drop_at *at)
{
	struct drop_node *from = root;

	memset(at, 0, sizeof(*at));
	at->root = at->dir = root;
	if (!strncmp(path, "id:", 3) || !strncmp(path, "rev:", 4)) {
		find_named(path, at);
	} else {
		if (!strncmp(path, "ns:", 3)) {
			from = drop_namespace(strtoull(path + 3, NULL, 10));
			path += 3 + strspn(path + 3, "0123456789");
		}
		if (!strcmp(path, "/"))
			path = "";
		find_split(path, at);
		if (from)
			find_walk(from, at);
		else
			at->is_gone = true;
	}
	if (at->node && !at->ver)
		at->ver = at->node->ver;
}

void
drop_at_free(struct drop_at *at)
{
	for (size_t i = 0; i < at->n; i++) {
		free(at->seg[i]);
		free(at->fold[i]);
	}
	free(at->seg);
	free(at->fold);
	memset(at, 0, sizeof(*at));
}

const char *
drop_at_name(const struct drop_at *at)
{
	return at->n ? at->seg[at->n - 1] : at->node ? at->node->name : "";
}

struct drop_node *
drop_make_parents(struct drop_at *at)
{
	while (at->known + 1 < at->n) {
		at->dir = drop_make_dir(at->dir, at->seg[at->known]);
		at->known++;
	}
	return at->dir;
}

/* ---- checking ---- */

static const char *
check_type_name(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT: return "object";
	case JSON_ARRAY: return "list";
	case JSON_STRING: return "string";
	case JSON_INTEGER: return "integer";
	case JSON_REAL: return "float";
	case JSON_NULL: return "null";
	default: return "boolean";
	}
}

static char *
check_expected(const char *type, const json_t *v)
{
	return weir_xasprintf("expected %s, got %s", type, check_type_name(v));
}

static bool
check_listed(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = list; *p; p += strcspn(p, "|"), p += *p == '|')
		if (strcspn(p, "|") == n && !strncmp(p, word, n))
			return true;
	return false;
}

static char *
check_tag(const struct drop_field *f, const json_t *v)
{
	const char *tag = drop_tag(v);

	if (!tag)
		return json_is_object(v) ? weir_xstrdup("missing '.tag' key") : check_expected("string or object", v);
	return check_listed(f->tags, tag) ? NULL : weir_xasprintf("unknown tag '%s'", tag);
}

static char *
check_mode(const json_t *v)
{
	const char *tag = drop_tag(v), *rev = json_string_value(json_object_get(v, "update"));

	if (!tag)
		return json_is_object(v) ? weir_xstrdup("missing '.tag' key") : check_expected("string or object", v);
	if (!check_listed("add|overwrite|update", tag))
		return weir_xasprintf("unknown tag '%s'", tag);
	if (strcmp(tag, "update"))
		return NULL;
	if (json_is_string(v) || !rev)
		return weir_xstrdup("update: missing value");
	if (strlen(rev) < 9 || strspn(rev, "0123456789abcdef") != strlen(rev))
		return weir_xasprintf("update: '%s' did not match pattern '[0-9a-f]+'", rev);
	return NULL;
}

static char *
check_text(const struct drop_field *f, const char *s)
{
	if (f->type >= DROP_PATH_READ)
		return path_check(f->type, s);
	if (f->type == DROP_TIME && drop_time_parse(s) == INT64_MIN)
		return weir_xasprintf("time data '%s' does not match format '%%Y-%%m-%%dT%%H:%%M:%%SZ'", s);
	if (f->type == DROP_HASH && (strlen(s) != 64 || strspn(s, "0123456789abcdef") != 64))
		return weir_xasprintf("'%s' must be exactly 64 characters of lower-case hex", s);
	if (f->type == DROP_REV && (strlen(s) < 9 || strspn(s, "0123456789abcdef") != strlen(s)))
		return weir_xasprintf("'%s' did not match pattern '[0-9a-f]+'", s);
	return NULL;
}

static char *
check_list(const struct drop_field *f, const json_t *v)
{
	size_t n = json_array_size(v);

	if (!json_is_array(v))
		return check_expected("list", v);
	if (n < f->min || (f->max && n > f->max))
		return weir_xasprintf("list length %zu is not within [%llu, %llu]", n, (unsigned long long)f->min, (unsigned long long)f->max);
	for (size_t i = 0; f->sub && i < n; i++) {
		char *inner = drop_arg_check(f->sub, json_array_get(v, i)), *msg;

		if (!inner)
			continue;
		msg = weir_xasprintf("index %zu: %s", i, inner);
		free(inner);
		return msg;
	}
	return NULL;
}

static char *
check_uint(const struct drop_field *f, const json_t *v)
{
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v))
		return check_expected("integer", v);
	if (n < 0 || (uint64_t)n < f->min || (f->max && (uint64_t)n > f->max))
		return weir_xasprintf("%lld is not within range [%llu, %llu]", (long long)n, (unsigned long long)f->min, (unsigned long long)f->max);
	return NULL;
}

static char *
check_value(const struct drop_field *f, const json_t *v)
{
	switch (f->type) {
	case DROP_ANY: return NULL;
	case DROP_BOOL: return json_is_boolean(v) ? NULL : check_expected("boolean", v);
	case DROP_UINT: return check_uint(f, v);
	case DROP_TAG: return check_tag(f, v);
	case DROP_MODE: return check_mode(v);
	case DROP_STRUCT: return drop_arg_check(f->sub, v);
	case DROP_LIST: return check_list(f, v);
	default: return json_is_string(v) ? check_text(f, json_string_value(v)) : check_expected("string", v);
	}
}

static char *
check_field(const struct drop_field *f, const json_t *arg)
{
	const json_t *v = json_object_get(arg, f->name);
	char *inner, *msg;

	if (!v)
		return f->is_needed ? weir_xasprintf("missing required field '%s'", f->name) : NULL;
	if (json_is_null(v) && !f->is_needed)
		return NULL;
	inner = check_value(f, v);
	if (!inner)
		return NULL;
	msg = weir_xasprintf("%s: %s", f->name, inner);
	free(inner);
	return msg;
}

char *
drop_arg_check(const struct drop_field *fields, const json_t *arg)
{
	const struct drop_field *f;
	const char *name;
	json_t *v;
	char *msg;

	if (!json_is_object(arg))
		return check_expected("object", arg);
	json_object_foreach((json_t *)(uintptr_t)arg, name, v) {
		for (f = fields; f->name && strcmp(f->name, name); f++)
			continue;
		if (!f->name && strcmp(name, ".tag"))
			return weir_xasprintf("unknown field '%s'", name);
	}
	for (f = fields; f->name; f++)
		if ((msg = check_field(f, arg)))
			return msg;
	return NULL;
}
