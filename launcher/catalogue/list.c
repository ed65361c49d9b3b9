/* SPDX-License-Identifier: Apache-2.0 */
/* Which modules there are: .gitmodules and folders -> entries. A bad entry stays visible and hides no other. */
#include "config.h"

#include "impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/util/clean.h"
#include "../../src/util/ini.h"
#include "../../src/util/text.h"

#define LIST_NAME_MAX 100
#define LIST_SHOWN 60

/* ---- entries ---- */

struct weir_entry *
weir_entries_add(struct weir_entries *list, const char *name)
{
	list->v = weir_xrealloc(list->v, list->n + 1, sizeof(*list->v));
	list->v[list->n] = (struct weir_entry){.name = weir_xstrdup(name)};
	return &list->v[list->n++];
}

void
weir_entries_free(struct weir_entries *list)
{
	for (size_t i = 0; i < list->n; i++) {
		struct weir_entry *e = &list->v[i];

		free(e->name);
		free(e->path);
		free(e->url);
		free(e->branch);
		free(e->bad);
		free(e->text);
		free(e->error);
	}
	free(list->v);
	*list = (struct weir_entries){0};
}

struct weir_entry *
weir_entries_find(const struct weir_entries *list, const char *name)
{
	for (size_t i = 0; i < list->n; i++) {
		if (strcmp(list->v[i].name, name) == 0)
			return &list->v[i];
	}
	return NULL;
}

/* A word that can be typed, that no option and no path can be taken for, and that is a file's name everywhere. */
bool
weir_list_is_name(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n > LIST_NAME_MAX || *s == '-' || *s == '.')
		return false;
	return s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.+")] == '\0';
}

/* ---- .gitmodules ---- */

struct list_reader {
	const struct weir_catalogue_place *place;
	struct weir_entries *out;
	char *label, *path, *url, *branch;	/* of the section being read */
	bool has_section;
};

/* Git writes "names" of sections, and values with odd characters, in quotes. */
static char *
list_unquote(const char *s)
{
	size_t n = strlen(s);
	char *out, *p;

	if (n < 2 || s[0] != '"' || s[n - 1] != '"')
		return weir_xstrdup(s);
	out = weir_xstrndup(s + 1, n - 2);
	p = out;
	for (const char *q = out; *q != '\0'; q++) {
		if (*q == '\\' && q[1] != '\0')
			q++;
		*p++ = *q;
	}
	*p = '\0';
	return out;
}

static enum weir_code
list_entry(void *arg, const struct weir_ini_entry *e, struct weir_err *err)
{
	struct list_reader *rd = arg;
	char **field = NULL;

	if (strcmp(e->section, "submodule") != 0)
		return WEIR_OK;
	rd->has_section = true;
	if (e->key == NULL) {
		free(rd->label);
		rd->label = list_unquote(e->label);
	} else if (strcmp(e->key, "path") == 0)
		field = &rd->path;
	else if (strcmp(e->key, "url") == 0)
		field = &rd->url;
	else if (strcmp(e->key, "branch") == 0)
		field = &rd->branch;
	if (field != NULL) {
		free(*field);
		*field = list_unquote(e->value);
	}
	return WEIR_OK;
}

/* A name that people see for an entry that has no good one. Unique. */
static char *
list_harmless(const struct weir_entries *list, const char *text)
{
	WEIR_AUTO(weir_freep) char *clean = weir_clean(text, strnlen(text, 400), false);
	WEIR_AUTO(weir_freep) char *cut = weir_cut_columns(clean, LIST_SHOWN);
	char *name = weir_xstrdup(*cut != '\0' ? cut : "(no name)");

	for (unsigned i = 2; weir_entries_find(list, name) != NULL; i++) {
		free(name);
		name = weir_xasprintf("%s (%u)", *cut != '\0' ? cut : "(no name)", i);
	}
	return name;
}

static struct weir_entry *
list_bad(struct weir_entries *list, const char *name, const char *why)
{
	WEIR_AUTO(weir_freep) char *shown = list_harmless(list, name);
	struct weir_entry *e = weir_entries_add(list, shown);

	e->bad = weir_xstrdup(why);
	return e;
}

/* Paths lead into the catalogue and nowhere else. */
static bool
list_is_path(const char *path)
{
	while (*path != '\0') {
		size_t n = strcspn(path, "/");
		WEIR_AUTO(weir_freep) char *part = weir_xstrndup(path, n);

		if (!weir_list_is_name(part))
			return false;
		path += n + (path[n] == '/');
	}
	return true;
}

static void
list_good(struct list_reader *rd, const char *name)
{
	struct weir_entry *e = weir_entries_add(rd->out, name);
	struct weir_err err = {0};

	e->path = WEIR_STEAL(rd->path);
	if (rd->url != NULL && *rd->url != '\0') {
		e->url = weir_place_resolve(rd->place, rd->url, &err);
		if (e->url == NULL)
			e->bad = weir_xstrdup(err.msg);
	} else
		e->bad = weir_xstrdup("the list names no address (url) for it");
	if (rd->branch != NULL && strcmp(rd->branch, ".") != 0) {
		if (weir_place_is_branch(rd->branch))
			e->branch = WEIR_STEAL(rd->branch);
		else if (e->bad == NULL)
			e->bad = weir_xstrdup("the branch that the list names for it cannot be one");
	}
}

static void
list_settle(struct list_reader *rd, const char *broken)
{
	const char *key = rd->path != NULL ? rd->path : rd->label != NULL ? rd->label : "";
	const char *slash = strrchr(key, '/'), *name = slash != NULL ? slash + 1 : key;

	if (broken != NULL)
		list_bad(rd->out, key, broken);
	else if (rd->path == NULL)
		list_bad(rd->out, key, "the list names no path for it");
	else if (!list_is_path(key) || !weir_list_is_name(name))
		list_bad(rd->out, key, "its name (path in the list) must be of letters, digits, - _ . and not begin with - or .");
	else if (weir_entries_find(rd->out, name) != NULL)
		list_bad(rd->out, key, "another module of the list has this name already");
	else
		list_good(rd, name);
	free(WEIR_STEAL(rd->label));
	free(WEIR_STEAL(rd->path));
	free(WEIR_STEAL(rd->url));
	free(WEIR_STEAL(rd->branch));
}

/* Where the next section begins, or the end. */
static const char *
list_next(const char *p, const char *end)
{
	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));

		if (nl == NULL)
			return end;
		p = nl + 1;
		while (p < end && (*p == ' ' || *p == '\t'))
			p++;
		if (p < end && *p == '[')
			return p;
	}
	return end;
}

/* Section by section, so that a broken one ends at the next. */
void
weir_list_parse(const struct weir_catalogue_place *place, const char *text, size_t len, struct weir_entries *out)
{
	const char *end = text + len, *next;

	for (const char *p = text; p < end && out->n < WEIR_ENTRIES_MAX; p = next) {
		struct list_reader rd = {.place = place, .out = out};
		struct weir_err err = {0};

		next = list_next(p, end);
		if (weir_ini_parse("", p, (size_t)(next - p), list_entry, &rd, &err) != WEIR_OK) {
			/* ":3: this line …" */
			WEIR_AUTO(weir_freep) char *why = weir_xasprintf("its section of the list, line %s", err.msg + (err.msg[0] == ':'));

			list_settle(&rd, why);
		} else if (rd.has_section)
			list_settle(&rd, NULL);
	}
}

/* ---- folders ---- */

/* Plain files only: a link in a clone of strangers may lead anywhere. */
static void
list_read(int dir, struct weir_entry *e)
{
	WEIR_AUTO(weir_closep) int folder = openat(dir, e->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	WEIR_AUTO(weir_closep) int fd = folder >= 0 ? openat(folder, WEIR_METADATA_FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0) {
		if (folder >= 0 && errno != ENOENT)
			e->error = weir_xasprintf("its %s cannot be read: %s", WEIR_METADATA_FILE, errno == ELOOP ? "it is a link" : strerror(errno));
		return;
	}
	e->is_local = true;
	if (!S_ISREG(st.st_mode) || st.st_size > (off_t)WEIR_METADATA_MAX) {
		e->error = weir_xasprintf("its %s is %s", WEIR_METADATA_FILE, S_ISREG(st.st_mode) ? "too large" : "no file");
		return;
	}
	e->text = weir_xcalloc((size_t)st.st_size + 1, 1);
	e->len = (size_t)weir_pread_full(fd, e->text, (size_t)st.st_size, 0);
	if (e->len > (size_t)st.st_size) {
		free(WEIR_STEAL(e->text));
		e->len = 0;
		e->error = weir_xasprintf("its %s cannot be read: %s", WEIR_METADATA_FILE, strerror(errno));
	}
}

/* Folders that no list names. */
static void
list_scan(const struct weir_catalogue_place *place, int dir, struct weir_entries *out)
{
	DIR *d = fdopendir(dup(dir));
	struct dirent *de;

	while (d != NULL && out->n < WEIR_ENTRIES_MAX && (de = readdir(d)) != NULL) {
		WEIR_AUTO(weir_freep) char *file = weir_xasprintf("%s/%s", de->d_name, WEIR_METADATA_FILE);
		struct weir_entry *e;

		if (de->d_name[0] == '.' || faccessat(dir, file, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		if (!weir_list_is_name(de->d_name)) {
			list_bad(out, de->d_name, "its folder's name must be of letters, digits, - _ . and not begin with - or .");
			continue;
		}
		if (weir_entries_find(out, de->d_name) != NULL)
			continue;
		e = weir_entries_add(out, de->d_name);
		e->path = weir_xstrdup(de->d_name);
		e->url = weir_path_join(place->url, de->d_name);
		list_read(dir, e);
		e->is_local = true;
		if (e->text == NULL && e->error == NULL)
			e->error = weir_xasprintf("its %s cannot be read", WEIR_METADATA_FILE);
	}
	if (d != NULL)
		closedir(d);
}

enum weir_code
weir_list_folder(const struct weir_catalogue_place *place, struct weir_entries *out, struct weir_err *err)
{
	WEIR_AUTO(weir_closep) int dir = open(place->url, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	WEIR_AUTO(weir_freep) char *path = weir_path_join(place->url, WEIR_LIST_FILE), *text = NULL;
	size_t len;

	if (dir < 0)
		return weir_err_errno(err, errno, "catalogue '%s'", place->url);
	if (weir_read_file(path, WEIR_LIST_MAX, &text, &len) == 0)
		weir_list_parse(place, text, len, out);
	else if (errno != ENOENT)
		return weir_err_errno(err, errno, "list '%s'", path);
	for (size_t i = 0; i < out->n; i++) {
		if (out->v[i].path != NULL)
			list_read(dir, &out->v[i]);
	}
	list_scan(place, dir, out);
	if (out->n == 0)
		return weir_err_set(err, WEIR_E_NOENT, "'%s' is no catalogue: it has neither a %s nor a folder with %s", place->url, WEIR_LIST_FILE, WEIR_METADATA_FILE);
	return WEIR_OK;
}
