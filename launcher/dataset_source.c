/* SPDX-License-Identifier: Apache-2.0 */
/* From a DOI or an address to a list of files. A record is asked for as InvenioRDM answers, which Zenodo is: GET /api/records/N gives
 *   "files": [{"key", "size", "checksum": "md5:HEX", "links": {"self"}}]            (Zenodo), or
 *   "files": {"entries": {NAME: {"key", "size", "checksum", "links": {"content"}}}}  (others);
 * the number of a whole series of versions redirects to the newest. */
#include "config.h"

#include "dataset_impl.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "../src/util/text.h"

#define SOURCE_DOI "https://doi.org"
#define SOURCE_ZENODO "https://zenodo.org"
#define SOURCE_ZENODO_DOI "10.5281/zenodo."

/* ---- names ---- */

static const char *
source_below(const char *text, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncasecmp(text, prefix, n) == 0 ? text + n : NULL;
}

static const char *
source_rest(const char *url)
{
	const char *p = source_below(url, "https://");

	return p != NULL ? p : source_below(url, "http://");
}

bool
weir_dataset_name_is_good(const char *name)
{
	if (*name == '\0' || *name == '/' || name[strlen(name) - 1] == '/')
		return false;
	for (const char *p = name; *p != '\0';) {
		size_t len = strcspn(p, "/");

		if (len == 0 || len > 240 || (len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.'))
			return false;
		p += len;
		p += *p == '/';
	}
	for (const char *p = name; *p != '\0'; p++) {
		if ((unsigned char)*p < ' ' || *p == 127)
			return false;
	}
	return true;
}

/* "10.NNNN/…", or NULL. */
static const char *
source_doi(const char *what)
{
	static const char *const prefixes[] = {"doi:", "https://doi.org/", "http://doi.org/", "https://dx.doi.org/", "http://dx.doi.org/", "https://www.doi.org/"};
	const char *doi = what, *p;

	for (size_t i = 0; i < WEIR_LEN(prefixes); i++) {
		if (source_below(what, prefixes[i]) != NULL)
			doi = source_below(what, prefixes[i]);
	}
	p = strncmp(doi, "10.", 3) == 0 ? doi + 3 : NULL;
	if (p == NULL || !isdigit((unsigned char)*p))
		return NULL;
	p += strspn(p, "0123456789.");
	return *p == '/' && p[1] != '\0' && strpbrk(p, " \t\"<>#?") == NULL ? doi : NULL;
}

char *
weir_dataset_id(const char *what)
{
	const char *p = source_rest(what), *www;
	char *id;

	if (p == NULL)
		p = source_doi(what);
	else if ((www = source_below(p, "www.")) != NULL)
		p = www;
	if (p == NULL)
		return NULL;
	id = weir_xstrndup(p, strcspn(p, "#"));
	while (*id != '\0' && id[strlen(id) - 1] == '/')
		id[strlen(id) - 1] = '\0';
	if (source_rest(what) != NULL) {
		for (char *c = id; *c != '\0'; c++)
			*c = *c == '/' ? '-' : *c;
	}
	if (weir_dataset_name_is_good(id))
		return id;
	free(id);
	return NULL;
}

/* ---- files ---- */

void
weir_dataset_files_free(struct weir_dataset_files *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].name);
		free(l->v[i].url);
		free(l->v[i].kind);
		free(l->v[i].sum);
	}
	free(l->v);
	*l = (struct weir_dataset_files){0};
}

/* "md5:HEX" or "sha256=HEX". A sum of a kind that we do not know is no sum; a broken one is an error. */
static enum weir_code
source_sum(struct weir_dataset_file *f, const char *text, struct weir_err *err)
{
	size_t len = strcspn(text, ":="), want;
	struct weir_digest *known;

	if (text[len] == '\0')
		return WEIR_OK;
	f->kind = weir_xstrndup(text, len);
	known = weir_digest_new(f->kind);
	if (known == NULL) {
		free(f->kind);
		f->kind = NULL;
		return WEIR_OK;
	}
	weir_digest_free(known);
	want = strcmp(f->kind, "md5") == 0 ? 32 : strcmp(f->kind, "sha1") == 0 ? 40 : 64;
	f->sum = weir_xstrdup(text + len + 1);
	for (char *p = f->sum; *p != '\0'; p++)
		*p = (char)tolower((unsigned char)*p);
	if (strlen(f->sum) != want || strspn(f->sum, "0123456789abcdef") != want)
		return weir_err_set(err, WEIR_E_INVAL, "'%s' is no %s checksum", text + len + 1, f->kind);
	return WEIR_OK;
}

static enum weir_code
source_add(struct weir_dataset_files *l, const char *name, const char *url, int64_t size, const char *sum, struct weir_err *err)
{
	struct weir_dataset_file *f;
	enum weir_code r;

	if (!weir_dataset_name_is_good(name))
		return weir_err_set(err, WEIR_E_PROTO, "a file of it has a name that cannot be made here");
	l->v = weir_xrealloc(l->v, l->n + 1, sizeof(*l->v));
	f = &l->v[l->n++];
	*f = (struct weir_dataset_file){.name = weir_xstrdup(name), .url = weir_xstrdup(url), .size = size};
	r = sum != NULL ? source_sum(f, sum, err) : WEIR_OK;
	if (r)
		return r;
	if (source_below(url, "https://") != NULL || (source_below(url, "http://") != NULL && (f->sum != NULL || weir_dataset_url_is_local(url))))
		return WEIR_OK;
	return weir_err_set(err, WEIR_E_INVAL, "'%s' would come without protection: use https, or give its checksum behind it (#sha256=…)", url);
}

/* ---- records ---- */

static enum weir_code
source_entry(struct weir_dataset_files *l, const char *api, json_t *e, struct weir_err *err)
{
	static const char *const links[] = {"content", "self", "download"};
	const char *key = json_string_value(json_object_get(e, "key")), *url = NULL, *sum = json_string_value(json_object_get(e, "checksum"));
	json_t *size = json_object_get(e, "size"), *all = json_object_get(e, "links");
	WEIR_AUTO(weir_freep) char *made = NULL;

	if (key == NULL)
		return weir_err_set(err, WEIR_E_PROTO, "a file of it has no name");
	for (size_t i = 0; i < WEIR_LEN(links) && url == NULL; i++)
		url = json_string_value(json_object_get(all, links[i]));
	if (url == NULL) {
		struct weir_buf b = WEIR_BUF(16u << 10);

		weir_buf_addf(&b, "%s/files/", api);
		weir_url_encode(&b, key, strlen(key), "");
		weir_buf_adds(&b, "/content");
		url = made = weir_buf_take(&b);
	}
	return source_add(l, key, url, json_is_integer(size) ? (int64_t)json_integer_value(size) : -1, sum, err);
}

static enum weir_code
source_none(json_t *record, const char *api, struct weir_err *err)
{
	const char *access = json_string_value(json_object_get(json_object_get(record, "access"), "files"));

	if (access == NULL)
		access = json_string_value(json_object_get(json_object_get(record, "metadata"), "access_right"));
	if (access != NULL && strcmp(access, "open") != 0 && strcmp(access, "public") != 0)
		return weir_err_set(err, WEIR_E_ACCES, "the files of %s are not public (%s)", api, access);
	return weir_err_set(err, WEIR_E_NOENT, "%s has no files", api);
}

static enum weir_code
source_record(struct weir_dataset_net *n, const char *base, const char *number, struct weir_dataset_files *l, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *api = weir_xasprintf("%s/api/records/%.*s", base, (int)strspn(number, "0123456789"), number);
	json_t *record = NULL, *files, *entries, *e;
	const char *name;
	size_t i;
	enum weir_code r = weir_dataset_ask(n, api, &record, err);

	if (r == WEIR_E_NOENT)
		return weir_err_wrap(err, r, "record %.*s", (int)strspn(number, "0123456789"), number);
	if (r)
		return r;
	files = json_object_get(record, "files");
	entries = json_is_object(files) ? json_object_get(files, "entries") : files;
	if (json_is_object(entries)) {
		json_object_foreach (entries, name, e) {
			if (r == WEIR_OK)
				r = source_entry(l, api, e, err);
		}
	}
	json_array_foreach (entries, i, e) {
		if (r == WEIR_OK)
			r = source_entry(l, api, e, err);
	}
	if (r == WEIR_OK && l->n == 0)
		r = source_none(record, api, err);
	json_decref(record);
	return r;
}

/* The number of a record in the address of its page, and what stands before its path. */
static const char *
source_page(const char *url, char **base)
{
	const char *rest = source_rest(url), *path = rest != NULL ? strchr(rest, '/') : NULL, *number;

	if (path == NULL)
		return NULL;
	number = source_below(path, "/records/");
	if (number == NULL)
		number = source_below(path, "/record/");
	if (number == NULL || !isdigit((unsigned char)*number) || strchr("/?#", number[strspn(number, "0123456789")]) == NULL)
		return NULL;
	/* the address of one of its files is that file */
	if (number[strspn(number, "0123456789")] == '/' && number[strspn(number, "0123456789") + 1] != '\0')
		return NULL;
	*base = weir_xstrndup(url, (size_t)(path - url));
	return number;
}

static enum weir_code
source_by_doi(struct weir_dataset_net *n, const char *doi, const char *resolver, const char *zenodo, struct weir_dataset_files *l, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *url = NULL, *at = NULL, *base = NULL;
	const char *number = source_below(doi, SOURCE_ZENODO_DOI);
	struct weir_buf b = WEIR_BUF(16u << 10);
	enum weir_code r;

	if (number != NULL && *number != '\0' && number[strspn(number, "0123456789")] == '\0')
		return source_record(n, zenodo, number, l, err);
	weir_buf_addf(&b, "%s/", resolver);
	weir_url_encode(&b, doi, strlen(doi), "/");
	url = weir_buf_take(&b);
	r = weir_dataset_land(n, url, &at, err);
	if (r == WEIR_E_NOENT)
		return weir_err_set(err, r, "there is no DOI '%s', or what it leads to is gone", doi);
	if (r)
		return weir_err_wrap(err, r, "DOI '%s'", doi);
	number = source_page(at, &base);
	if (number == NULL)
		return weir_err_set(err, WEIR_E_NOTSUP, "DOI '%s' leads to '%.200s', which is no record of Zenodo or of another InvenioRDM: give the address of a file of it", doi, at);
	return source_record(n, base, number, l, err);
}

/* ---- one file ---- */

static enum weir_code
source_file(const char *what, struct weir_dataset_files *l, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *url = weir_xstrndup(what, strcspn(what, "#")), *name = NULL;
	const char *rest = source_rest(url), *path = strchr(rest, '/'), *end, *last = NULL;

	if (path != NULL) {
		end = path + strcspn(path, "?");
		for (const char *p = path; p < end; p++)
			last = *p == '/' && p + 1 < end ? p + 1 : last;
		if (last != NULL)
			name = weir_xstrndup(last, strcspn(last, "/?"));
	}
	if (name != NULL)
		weir_url_decode(name, false);
	if (name == NULL || !weir_dataset_name_is_good(name) || strchr(name, '/') != NULL) {
		free(name);
		name = weir_xstrdup("data");
	}
	return source_add(l, name, url, -1, strchr(what, '#') != NULL ? strchr(what, '#') + 1 : NULL, err);
}

enum weir_code
weir_dataset_source(struct weir_dataset_net *n, struct weir_dataset_files *l, struct weir_err *err)
{
	const struct weir_section_conf *s = n->d->conf != NULL ? weir_conf_section(n->d->conf, "datasets", NULL, NULL) : NULL;
	const char *resolver = weir_conf_section_get(s, "doi"), *zenodo = weir_conf_section_get(s, "zenodo"), *doi = source_doi(n->d->what), *number;
	WEIR_AUTO(weir_freep) char *base = NULL;

	resolver = resolver != NULL ? resolver : SOURCE_DOI;
	zenodo = zenodo != NULL ? zenodo : SOURCE_ZENODO;
	if (source_rest(resolver) == NULL || source_rest(zenodo) == NULL)
		return weir_conf_section_bad(s, source_rest(resolver) == NULL ? "doi" : "zenodo", err, "wants an address, as https://example.org");
	if (doi != NULL)
		return source_by_doi(n, doi, resolver, zenodo, l, err);
	number = source_page(n->d->what, &base);
	if (number != NULL && strcasecmp(base, zenodo) == 0)
		return source_record(n, zenodo, number, l, err);
	return source_file(n->d->what, l, err);
}
