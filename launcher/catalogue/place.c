/* SPDX-License-Identifier: Apache-2.0 */
/* What an address is, and where HTTP has the files of a repository. Asks nobody. */
#include "config.h"

#include "impl.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/util/clean.h"
#include "../../src/util/text.h"

#define PLACE_MAX 1024	/* characters of an address */

/* Forges whose plain files can be had without git. {branch} may be HEAD there. A host that is "gitlab.SOMETHING" counts as the first GitLab. */
static const struct place_forge { const char *host, *raw; } place_forges[] = {
    {"github.com", "https://raw.githubusercontent.com/{owner}/{repo}/{branch}"},
    {"www.github.com", "https://raw.githubusercontent.com/{owner}/{repo}/{branch}"},
    {"gitlab.com", "https://{host}/{owner}/{repo}/-/raw/{branch}"},
    {"bitbucket.org", "https://{host}/{owner}/{repo}/raw/{branch}"},
};

static bool
place_starts(const char *s, const char *with)
{
	return strncasecmp(s, with, strlen(with)) == 0;
}

static bool
place_is_http(const char *url)
{
	return place_starts(url, "https://") || place_starts(url, "http://");
}

/* user@host:path, as ssh and git have it; "helper::…" makes git run a program and is none. */
static bool
place_is_scp(const char *url)
{
	size_t colon = strcspn(url, ":/");

	return url[colon] == ':' && colon > 1 && url[colon + 1] != '\0' && url[colon + 1] != ':' && strstr(url, "://") == NULL;
}

/* ---- parts of https://HOST/OWNER/REPO ---- */

struct place_parts { char *host, *owner, *repo; };	/* owner: may have slashes (groups) */

static void
place_parts_free(struct place_parts *p)
{
	free(p->host);
	free(p->owner);
	free(p->repo);
}

/* false: not of that form. */
static bool
place_split(const char *url, struct place_parts *out)
{
	const char *host, *path, *slash = NULL;
	size_t len;

	*out = (struct place_parts){0};
	if (!place_is_http(url))
		return false;
	host = strstr(url, "://") + 3;
	path = host + strcspn(host, "/?#");
	if (path == host || *path != '/' || memchr(host, '@', (size_t)(path - host)) != NULL)
		return false;
	path += strspn(path, "/");
	len = strcspn(path, "?#");
	while (len > 0 && path[len - 1] == '/')
		len--;
	if (len > 4 && strncmp(path + len - 4, ".git", 4) == 0)
		len -= 4;
	for (size_t i = 0; i < len; i++) {
		if (path[i] == '/')
			slash = path + i;
	}
	if (slash == NULL || slash + 1 == path + len)
		return false;
	out->host = weir_xstrndup(host, strcspn(host, "/?#"));
	out->owner = weir_xstrndup(path, (size_t)(slash - path));
	out->repo = weir_xstrndup(slash + 1, (size_t)(path + len - slash - 1));
	return true;
}

/* ---- forges ---- */

static char *
place_fill(const char *pattern, const struct place_parts *p, const char *branch)
{
	const struct { const char *name, *value; } fields[] = {{"{host}", p->host}, {"{owner}", p->owner}, {"{repo}", p->repo}, {"{branch}", branch}};
	struct weir_buf out = WEIR_BUF(4 * PLACE_MAX);

	while (*pattern != '\0') {
		size_t i = 0;

		while (i < WEIR_LEN(fields) && strncmp(pattern, fields[i].name, strlen(fields[i].name)) != 0)
			i++;
		if (i == WEIR_LEN(fields)) {
			weir_buf_addc(&out, *pattern++);
			continue;
		}
		/* The host of an address is as good as the address. */
		weir_url_encode(&out, fields[i].value, strlen(fields[i].value), i == 0 ? ":" : "/");
		pattern += strlen(fields[i].name);
	}
	return weir_buf_take(&out);
}

char *
weir_place_raw(const char *repository, const char *branch, const char *raw)
{
	struct place_parts p;
	char *out = NULL;

	if (!place_split(repository, &p))
		return NULL;
	for (size_t i = 0; raw == NULL && i < WEIR_LEN(place_forges); i++) {
		if (strcasecmp(p.host, place_forges[i].host) == 0 && (strchr(p.owner, '/') == NULL || strstr(place_forges[i].raw, "/-/") != NULL))
			raw = place_forges[i].raw;
	}
	if (raw == NULL && place_starts(p.host, "gitlab."))
		raw = "https://{host}/{owner}/{repo}/-/raw/{branch}";
	if (raw != NULL)
		out = place_fill(raw, &p, branch);
	place_parts_free(&p);
	return out;
}

bool
weir_place_is_branch(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n > 200 || *s == '-' || *s == '.' || *s == '/' || strstr(s, "..") != NULL || s[n - 1] == '/')
		return false;
	return s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/+-")] == '\0';
}

/* ---- the catalogue's own address ---- */

static enum weir_code
place_check(const char *url, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *shown = weir_clean(url, strnlen(url, 200), false);
	const char *host = strstr(url, "://"), *at;

	if (*url == '\0')
		return weir_err_set(err, WEIR_E_CONFIG, "an empty address");
	if (strlen(url) > PLACE_MAX)
		return weir_err_set(err, WEIR_E_CONFIG, "'%.40s…' is too long for an address", shown);
	for (const char *p = url; *p != '\0'; p++) {
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return weir_err_set(err, WEIR_E_CONFIG, "'%s' has blanks or control characters in it", shown);
	}
	if (*url == '-' || (host != NULL && host[3] == '-'))
		return weir_err_set(err, WEIR_E_CONFIG, "'%s' begins with '-'", shown);
	at = host != NULL ? memchr(host + 3, '@', strcspn(host + 3, "/?#")) : NULL;
	if (at != NULL && memchr(host + 3, ':', (size_t)(at - host - 3)) != NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "an address with a password in it; let git keep it (git help credentials)");
	return WEIR_OK;
}

static bool
place_is_bare(const char *dir)
{
	WEIR_AUTO(weir_freep) char *head = weir_path_join(dir, "HEAD"), *objects = weir_path_join(dir, "objects"), *list = weir_path_join(dir, WEIR_LIST_FILE);

	return access(head, F_OK) == 0 && access(objects, F_OK) == 0 && access(list, F_OK) != 0;
}

static enum weir_code
place_folder(const char *path, struct weir_catalogue_place *out, struct weir_err *err)
{
	char *real = realpath(path, NULL);
	struct stat st;

	if (real == NULL)
		return weir_err_errno(err, errno, "'%s'", path);
	if (stat(real, &st) != 0 || !S_ISDIR(st.st_mode)) {
		free(real);
		return weir_err_set(err, WEIR_E_NOTDIR, "'%s' is no folder", path);
	}
	out->is_here = true;
	out->url = real;
	if (place_is_bare(real)) {
		out->kind = WEIR_PLACE_GIT;
		out->base = weir_xasprintf("file://%s", real);
	} else
		out->base = weir_xstrdup(real);
	return WEIR_OK;
}

/* Without the file's own name, a query and slashes at the end. */
static char *
place_base(const char *url)
{
	size_t n = strcspn(url, "?#"), tail = strlen(WEIR_LIST_FILE);

	if (n > tail && strncmp(url + n - tail, WEIR_LIST_FILE, tail) == 0 && url[n - tail - 1] == '/')
		n -= tail;
	while (n > 0 && url[n - 1] == '/')
		n--;
	return weir_xstrndup(url, n);
}

static bool
place_ends(const char *s, const char *with)
{
	return strlen(s) >= strlen(with) && strcmp(s + strlen(s) - strlen(with), with) == 0;
}

static void
place_remote(const char *url, struct weir_catalogue_place *out)
{
	const char *git = place_starts(url, "git+") ? url + 4 : url;
	char *raw = git == url ? weir_place_raw(url, "HEAD", NULL) : NULL;
	WEIR_AUTO(weir_freep) char *base = place_base(url);

	out->url = weir_xstrdup(url);
	if (raw != NULL && !place_ends(url, WEIR_LIST_FILE)) {
		out->kind = WEIR_PLACE_FORGE;
		out->base = raw;
		return;
	}
	free(raw);
	if (git == url && place_is_http(url) && !place_ends(base, ".git")) {
		out->kind = WEIR_PLACE_HTTP;
		out->base = WEIR_STEAL(base);
	} else {
		out->kind = WEIR_PLACE_GIT;
		out->base = weir_xstrdup(git);
		out->is_here = place_starts(git, "file://");
	}
}

enum weir_code
weir_place_find(const char *url, struct weir_catalogue_place *out, struct weir_err *err)
{
	static const char *const schemes[] = {"http://", "https://", "ssh://", "git://", "file://"};
	const char *inner = place_starts(url, "git+") ? url + 4 : url;
	bool is_known = false;
	bool is_folder = inner == url && strstr(url, "://") == NULL && (!place_is_scp(url) || access(url, F_OK) == 0);
	enum weir_code r = is_folder && *url != '\0' ? WEIR_OK : place_check(url, err);

	*out = (struct weir_catalogue_place){0};
	if (r)
		return r;
	if (is_folder)
		return place_folder(url, out, err);
	for (size_t i = 0; i < WEIR_LEN(schemes); i++)
		is_known |= place_starts(inner, schemes[i]);
	if (!is_known && (!place_is_scp(inner) || *inner == '-'))
		return weir_err_set(err, WEIR_E_CONFIG, "'%.200s' is neither a folder nor an address (https://, http://, ssh://, git://, file://, user@host:path)", url);
	place_remote(url, out);
	return WEIR_OK;
}

void
weir_place_free(struct weir_catalogue_place *p)
{
	free(p->url);
	free(p->base);
	*p = (struct weir_catalogue_place){0};
}

/* ---- addresses in a list ---- */

/* "../x" and "./x" are meant from the catalogue's repository, as git does. */
static char *
place_relative(const char *from, const char *url)
{
	char *base = weir_xstrdup(from);
	size_t n = strlen(base);

	while (n > 0 && base[n - 1] == '/')
		base[--n] = '\0';
	for (;;) {
		char *slash;

		if (strncmp(url, "./", 2) == 0) {
			url += 2;
			continue;
		}
		if (strncmp(url, "../", 3) != 0)
			break;
		url += 3;
		slash = strrchr(base, '/');
		if (slash == NULL || (slash > base && slash[-1] == '/')) {
			free(base);
			return NULL;
		}
		*slash = '\0';
	}
	from = base;
	base = weir_xasprintf("%s/%s", from, url);
	free((char *)(uintptr_t)from);
	return base;
}

char *
weir_place_resolve(const struct weir_catalogue_place *place, const char *url, struct weir_err *err)
{
	bool is_relative = strncmp(url, "./", 2) == 0 || strncmp(url, "../", 3) == 0;
	const char *from = place->kind == WEIR_PLACE_GIT ? place->base : place->url;
	WEIR_AUTO(weir_freep) char *full = is_relative ? place_relative(from, url) : weir_xstrdup(url), *shown = weir_clean(url, strnlen(url, 200), false);
	struct weir_err why = {0};

	if (full == NULL) {
		weir_err_set(err, WEIR_E_INVAL, "its address '%s' leads nowhere", shown);
		return NULL;
	}
	if (full[0] == '/') {
		char *as_file = weir_xasprintf("file://%s", full);

		free(full);
		full = as_file;
	}
	if (place_check(full, &why) != WEIR_OK) {
		weir_err_set(err, WEIR_E_INVAL, "its address: %s", why.msg);
		return NULL;
	}
	if (place_starts(full, "file://") ? !place->is_here : !place_is_http(full) && !place_starts(full, "ssh://") && !place_starts(full, "git://") && !place_is_scp(full)) {
		weir_err_set(err, WEIR_E_INVAL, "its address '%s' is not one of https://, http://, ssh://, git:// or user@host:path", shown);
		return NULL;
	}
	return WEIR_STEAL(full);
}
