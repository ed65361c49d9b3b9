/* SPDX-License-Identifier: Apache-2.0 */
/* Sections of an rclone.conf as remotes of weir. A remote becomes one of weir's own types only when all it says can be said there;
 * else it becomes one of type rclone, which means just what it meant, and the note tells which key was the reason. */
#include "config.h"

#include "import.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "../util/text.h"

#define RCLONE_DEPTH 8		/* alias of alias of … */

/* ---- making ---- */

static struct weir_import_key *
map_key(struct weir_import_remote *m, const char *key, const char *value)
{
	m->keys = weir_xrealloc(m->keys, m->nkeys + 1, sizeof(*m->keys));
	m->keys[m->nkeys] = (struct weir_import_key){ .key = weir_xstrdup(key), .value = weir_xstrdup(value) };
	return &m->keys[m->nkeys++];
}

static void
map_secret(struct weir_import_remote *m, const char *key, const char *secret, int kind)
{
	struct weir_import_key *k = map_key(m, key, NULL);

	k->kind = kind;
	k->secret = weir_xstrdup(secret);
}

static void
map_clear_keys(struct weir_import_remote *m)
{
	for (size_t i = 0; i < m->nkeys; i++) {
		free(m->keys[i].key);
		free(m->keys[i].value);
		weir_secret_free(m->keys[i].secret);
	}
	free(m->keys);
	m->keys = NULL;
	m->nkeys = 0;
}

void
weir_import_refuse(struct weir_import *im, const char *fmt, ...)
{
	struct weir_buf b = WEIR_BUF(2048);
	va_list ap;

	va_start(ap, fmt);
	weir_buf_vaddf(&b, fmt, ap);
	va_end(ap);
	for (size_t i = 0; i < im->nrefused; i++) {
		if (strcmp(im->refused[i], weir_buf_str(&b)) == 0) {	/* said of another alias already */
			weir_buf_free(&b);
			return;
		}
	}
	im->refused = weir_xrealloc(im->refused, im->nrefused + 1, sizeof(*im->refused));
	im->refused[im->nrefused++] = weir_buf_take(&b);
}

static bool
name_is_taken(const struct weir_import *im, const char *name)
{
	for (size_t i = 0; i < im->nremotes; i++)
		if (strcmp(im->remotes[i].name, name) == 0)
			return true;
	return false;
}

/* Letters, digits, - _ . and 64 bytes at most are a name in weir.conf. */
static char *
name_for(const struct weir_import *im, const char *source)
{
	char *name = weir_xstrndup(*source ? source : "remote", 56), *again;

	for (char *p = name; *p; p++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", *p))
			*p = '-';
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		name[0] = '_';
	for (int i = 2; name_is_taken(im, name); i++) {
		again = weir_xasprintf("%.56s-%d", source, i);
		for (char *p = again; *p; p++)
			if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", *p))
				*p = '-';
		free(name);
		name = again;
	}
	return name;
}

/* ---- which keys can be carried ---- */

/* Of rclone's own doing, or about speed and looks only: what it holds stays the same without them. */
static const char *const keys_harmless[] = { "type", "description", "token", "upload_cutoff", "chunk_size", "copy_cutoff", "upload_concurrency",
	"pacer_min_sleep", "pacer_burst", "pacer_max_sleep", "list_chunk", "no_check_bucket", "no_head", "no_head_object", "nextcloud_chunk_size",
	"batch_mode", "batch_size", "batch_timeout", "auth_url", "token_url", "config_is_local", "disable_checksum", "disable_http2",
	"memory_pool_flush_time", "memory_pool_use_mmap", "use_multipart_etag", "location_constraint", "skip_gdocs", "formats", "list_version",
	"list_url_encode", "might_gzip", "use_unsigned_payload", "sdk_log_mode", "max_upload_parts", "auto_confirm", NULL };

static bool
list_has(const char *const *list, const char *key)
{
	for (; *list; list++)
		if (strcmp(*list, key) == 0)
			return true;
	return false;
}

/* A key that says something weir's own type cannot say; NULL: there is none. */
static const char *
key_in_the_way(const struct weir_rclone_section *s, const char *const *carried)
{
	for (size_t i = 0; i < s->nkv; i++) {
		const char *v = s->kv[i].value;

		if (*v && strcmp(v, "false") != 0 && !list_has(carried, s->kv[i].key) && !list_has(keys_harmless, s->kv[i].key))
			return s->kv[i].key;
	}
	return NULL;
}

/* A password as rclone keeps it. NULL and *why: it is none. */
static char *
revealed(const struct weir_rclone_section *s, const char *key, char **why)
{
	const char *v = weir_rclone_ini_get(s, key);
	struct weir_err err = { 0 };
	char *plain = NULL;

	if (v && weir_rclone_reveal(v, &plain, &err) != WEIR_OK)
		*why = weir_xasprintf("its '%s': %s", key, err.msg);
	return plain;
}

/* ---- the types; each returns NULL, or why it must stay with rclone (owned) ---- */

static char *
map_webdav(struct weir_import_remote *m, const struct weir_rclone_section *s)
{
	static const char *const carried[] = { "url", "vendor", "user", "pass", "bearer_token", "bearer_token_command", NULL };
	const char *url = weir_rclone_ini_get(s, "url"), *vendor = weir_rclone_ini_get(s, "vendor"), *user = weir_rclone_ini_get(s, "user");
	const char *token = weir_rclone_ini_get(s, "bearer_token"), *command = weir_rclone_ini_get(s, "bearer_token_command");
	const char *way = key_in_the_way(s, carried), *mark, *folder = NULL;
	char *why = NULL;
	WEIR_AUTO(weir_secret_freep) char *pass = revealed(s, "pass", &why);

	if (!url)
		why = why ? why : weir_xstrdup("it has no url");
	if (!why && way)
		why = weir_xasprintf("'%s' has no counterpart", way);
	if (!why && vendor && (strncmp(vendor, "sharepoint", 10) == 0))
		why = weir_xasprintf("vendor '%s' signs in in a way of its own", vendor);
	if (why)
		return why;
	mark = strstr(url, "/remote.php/");
	if (vendor && strcmp(vendor, "nextcloud") == 0 && mark) {
		if (strncmp(mark, "/remote.php/webdav", 18) == 0)
			folder = mark + 18;
		else if (strncmp(mark, "/remote.php/dav/files/", 22) == 0)
			folder = mark + 22 + strcspn(mark + 22, "/");
	}
	if (folder && (*folder == '\0' || *folder == '/')) {
		WEIR_AUTO(weir_freep) char *server = weir_xstrndup(url, (size_t)(mark - url));
		WEIR_AUTO(weir_freep) char *plain = weir_xstrdup(folder + strspn(folder, "/"));
		size_t n = weir_url_decode(plain, false);

		while (n && plain[n - 1] == '/')
			plain[--n] = '\0';
		map_key(m, "type", "nextcloud");
		map_key(m, "url", server);
		if (*plain)
			map_key(m, "folder", plain);
	} else {
		map_key(m, "type", "webdav");
		map_key(m, "url", url);
	}
	if (user)
		map_key(m, "user", user);
	if (pass)
		map_secret(m, "password_file", pass, WEIR_IMPORT_SECRET);
	if (token && !pass)
		map_secret(m, "bearer_token_file", token, WEIR_IMPORT_SECRET);
	if (command)
		map_key(m, "bearer_token_command", command);
	return NULL;
}

static char *
map_s3(struct weir_import_remote *m, const struct weir_rclone_section *s)
{
	static const char *const carried[] = { "provider", "env_auth", "access_key_id", "secret_access_key", "session_token", "region", "endpoint",
		"storage_class", "server_side_encryption", "force_path_style", "profile", "shared_credentials_file", "acl", NULL };
	const char *way = key_in_the_way(s, carried), *end = weir_rclone_ini_get(s, "endpoint"), *v;
	const char *id = weir_rclone_ini_get(s, "access_key_id"), *acl = weir_rclone_ini_get(s, "acl");
	bool is_env = (v = weir_rclone_ini_get(s, "env_auth")) && strcmp(v, "true") == 0;

	if (acl && strcmp(acl, "private") != 0)
		way = "acl";
	if (way)
		return weir_xasprintf("'%s' has no counterpart", way);
	if (is_env && !id && !weir_rclone_ini_get(s, "profile") && !weir_rclone_ini_get(s, "shared_credentials_file"))
		return weir_xstrdup("its credentials come from the environment (env_auth)");
	map_key(m, "type", "s3");
	map_key(m, "bucket", m->bucket);
	if (end) {
		WEIR_AUTO(weir_freep) char *full = weir_xasprintf("%s%s", strstr(end, "://") ? "" : "https://", end);

		map_key(m, "endpoint", full);
	}
	if ((v = weir_rclone_ini_get(s, "region")) && strcmp(v, "other-v2-signature") != 0)
		map_key(m, "region", v);
	if (id) {
		map_key(m, "access_key", id);
		if ((v = weir_rclone_ini_get(s, "secret_access_key")))
			map_secret(m, "secret_key_file", v, WEIR_IMPORT_SECRET);
		if ((v = weir_rclone_ini_get(s, "session_token")))
			map_secret(m, "session_token_file", v, WEIR_IMPORT_SECRET);
	} else if (!weir_rclone_ini_get(s, "profile") && !weir_rclone_ini_get(s, "shared_credentials_file"))
		map_key(m, "anonymous", "yes");
	if ((v = weir_rclone_ini_get(s, "profile")))
		map_key(m, "profile", v);
	if ((v = weir_rclone_ini_get(s, "shared_credentials_file")))
		map_key(m, "credentials_file", v);
	if ((v = weir_rclone_ini_get(s, "storage_class")))
		map_key(m, "storage_class", v);
	if ((v = weir_rclone_ini_get(s, "server_side_encryption")))
		map_key(m, "sse", v);
	if ((v = weir_rclone_ini_get(s, "force_path_style")))
		map_key(m, "path_style", strcmp(v, "false") == 0 ? "off" : "on");
	return NULL;
}

/* Tokens belong to the app that asked for them: those of rclone's own app are of no use without it. */
static char *
map_signed_in(struct weir_import_remote *m, const struct weir_rclone_section *s, const char *type)
{
	const char *id = weir_rclone_ini_get(s, "client_id"), *secret = weir_rclone_ini_get(s, "client_secret");
	const char *token = weir_rclone_ini_get(s, "token");

	if (!id)
		return weir_xstrdup("its sign-in belongs to rclone's own app; with a client_id of your own, made as weir.conf(5) says, it can be had "
		    "without rclone");
	map_key(m, "type", type);
	map_key(m, "client_id", id);
	if (secret)
		map_secret(m, "client_secret_file", secret, WEIR_IMPORT_SECRET);
	if (token)
		map_secret(m, "token_file", token, WEIR_IMPORT_TOKEN);
	else
		m->note = weir_xasprintf("not signed in there; sign in with 'weir login %s'", m->name);
	return NULL;
}

static char *
map_drive(struct weir_import_remote *m, const struct weir_rclone_section *s)
{
	static const char *const carried[] = { "client_id", "client_secret", "scope", "root_folder_id", "team_drive", "shared_with_me", "use_trash",
		"export_formats", "acknowledge_abuse", "service_account_file", "service_account_credentials", "impersonate", NULL };
	static const char *const same[][2] = { { "scope", "scope" }, { "root_folder_id", "root_folder_id" }, { "team_drive", "shared_drive" },
		{ "export_formats", "export_formats" }, { "shared_with_me", "shared_with_me" }, { "use_trash", "trash" },
		{ "acknowledge_abuse", "acknowledge_abuse" } };
	const char *way = key_in_the_way(s, carried), *sa = weir_rclone_ini_get(s, "service_account_file"), *v;
	const char *inline_sa = weir_rclone_ini_get(s, "service_account_credentials");
	char *why;

	if (way)
		return weir_xasprintf("'%s' has no counterpart", way);
	if (sa || inline_sa) {
		map_key(m, "type", "drive");
		if (sa)
			map_key(m, "service_account_file", sa);
		else
			map_secret(m, "service_account_file", inline_sa, WEIR_IMPORT_SECRET);
		if ((v = weir_rclone_ini_get(s, "impersonate")))
			map_key(m, "subject", v);
	} else if ((why = map_signed_in(m, s, "drive")))
		return why;
	for (size_t i = 0; i < WEIR_LEN(same); i++)
		if ((v = weir_rclone_ini_get(s, same[i][0])) && (strcmp(v, "false") != 0 || strcmp(same[i][0], "use_trash") == 0))
			map_key(m, same[i][1], v);
	return NULL;
}

static char *
map_dropbox(struct weir_import_remote *m, const struct weir_rclone_section *s)
{
	static const char *const carried[] = { "client_id", "client_secret", NULL };
	const char *way = key_in_the_way(s, carried);

	return way ? weir_xasprintf("'%s' has no counterpart", way) : map_signed_in(m, s, "dropbox");
}

/* ---- any remote ---- */

void
weir_import_fall_back(const struct weir_import *im, struct weir_import_remote *m, const char *why)
{
	WEIR_AUTO(weir_freep) char *target = weir_xasprintf("%s:%s", m->source, m->bucket ? m->bucket : "");
	char *note = weir_xstrdup(why);

	map_clear_keys(m);
	map_key(m, "type", "rclone");
	map_key(m, "remote", target);
	map_key(m, "config", im->file);
	free(m->note);
	m->note = note;
}

static bool
map_exists(const struct weir_import *im, const char *name)
{
	return im->have && weir_conf_remote(im->have, name);
}

/* Makes the remote out of its section; SIZE_MAX: there is one of that name already. */
static size_t
map_remote(struct weir_import *im, const struct weir_rclone_section *s, const char *bucket)
{
	WEIR_AUTO(weir_freep) char *source = bucket ? weir_xasprintf("%s-%s", s->name, bucket) : weir_xstrdup(s->name);
	const char *type = weir_rclone_ini_get(s, "type");
	struct weir_import_remote *m;
	char *why = NULL, *name;

	for (size_t i = 0; i < im->nremotes; i++)
		if (strcmp(im->remotes[i].source, s->name) == 0 && ((!bucket && !im->remotes[i].bucket) ||
		    (bucket && im->remotes[i].bucket && strcmp(im->remotes[i].bucket, bucket) == 0)))
			return i;
	name = name_for(im, source);
	if (map_exists(im, name)) {
		weir_import_refuse(im, "%s: weir.conf has a [remote %s] already, which stays as it is", s->name, name);
		free(name);
		im->present = weir_xrealloc(im->present, im->npresent + 1, sizeof(*im->present));
		im->present[im->npresent++] = weir_xstrdup(s->name);
		return SIZE_MAX;
	}
	im->remotes = weir_xrealloc(im->remotes, im->nremotes + 1, sizeof(*im->remotes));
	m = &im->remotes[im->nremotes];
	*m = (struct weir_import_remote){ .source = weir_xstrdup(s->name), .name = name, .bucket = weir_xstrdup(bucket) };
	if (strcmp(type, "webdav") == 0)
		why = map_webdav(m, s);
	else if (strcmp(type, "s3") == 0 && bucket)
		why = map_s3(m, s);
	else if (strcmp(type, "s3") == 0)
		why = weir_xasprintf("all its buckets are folders of it; for one of them alone, without rclone: --bucket '%s=BUCKET'", s->name);
	else if (strcmp(type, "drive") == 0)
		why = map_drive(m, s);
	else if (strcmp(type, "dropbox") == 0)
		why = map_dropbox(m, s);
	else
		why = weir_xasprintf("weir has no type '%s' of its own", type);
	if (why)
		weir_import_fall_back(im, m, why);
	free(why);
	return im->nremotes++;
}

static size_t
map_local(struct weir_import *im, const char *source, const char *path)
{
	struct weir_import_remote *m;
	char *name = name_for(im, source);

	if (map_exists(im, name)) {
		weir_import_refuse(im, "%s: weir.conf has a [remote %s] already, which stays as it is", source, name);
		free(name);
		return SIZE_MAX;
	}
	im->remotes = weir_xrealloc(im->remotes, im->nremotes + 1, sizeof(*im->remotes));
	m = &im->remotes[im->nremotes];
	*m = (struct weir_import_remote){ .source = weir_xstrdup(source), .name = name };
	map_key(m, "type", "local");
	map_key(m, "path", path);
	return im->nremotes++;
}

/* ---- places: alias, combine, union ---- */

/* "NAME:path" as "remote:folder" of weir, making the remote on the way. NULL: *why. for_whom: name of what refers to it. */
static char *
place_of(struct weir_import *im, const char *for_whom, const char *ref, int depth, size_t *which, char **why)
{
	const char *colon = strchr(ref, ':'), *path, *type;
	WEIR_AUTO(weir_freep) char *name = colon ? weir_xstrndup(ref, (size_t)(colon - ref)) : NULL;
	WEIR_AUTO(weir_freep) char *bucket = NULL;
	const struct weir_rclone_section *s;
	size_t i;

	if (!colon || strchr(name, '/')) {
		if (*ref != '/')
			return *why = weir_xasprintf("'%s' is a folder without a fixed place", ref), NULL;
		i = *which = map_local(im, for_whom, ref);
		if (i == SIZE_MAX)
			return NULL;
		im->remotes[i].is_placed = true;
		return weir_xstrdup(im->remotes[i].name);
	}
	path = colon + 1;
	s = weir_rclone_ini_section(im->ini, name);
	type = s ? weir_rclone_ini_get(s, "type") : NULL;
	if (!type)
		return *why = weir_xasprintf("there is no remote '%s' in the file", name), NULL;
	if (depth > RCLONE_DEPTH)
		return *why = weir_xasprintf("'%s' leads in a circle", name), NULL;
	if (strcmp(type, "alias") == 0) {
		const char *to = weir_rclone_ini_get(s, "remote");
		WEIR_AUTO(weir_freep) char *full = to ? weir_xasprintf("%s%s%s", to, *path && to[strlen(to) - 1] != ':' ? "/" : "", path) : NULL;

		return full ? place_of(im, for_whom, full, depth + 1, which, why) : (*why = weir_xasprintf("'%s' leads nowhere", name), NULL);
	}
	path += strspn(path, "/");
	if (strcmp(type, "s3") == 0 && *path) {
		size_t n = strcspn(path, "/");

		bucket = weir_xstrndup(path, n);
		path += n + strspn(path + n, "/");
	}
	i = *which = map_remote(im, s, bucket);
	if (i == SIZE_MAX)
		return NULL;
	im->remotes[i].is_placed = true;
	return *path ? weir_xasprintf("%s:%s", im->remotes[i].name, path) : weir_xstrdup(im->remotes[i].name);
}

static void
line_add(struct weir_import *im, char *path, char *value)
{
	im->lines = weir_xrealloc(im->lines, im->nlines + 1, sizeof(*im->lines));
	im->lines[im->nlines++] = (struct weir_import_line){ path, value };
}

/* `a:x "b:with space" c:y`: CSV with blanks between, as rclone reads it. The next word in place; NULL at the end. */
static char *
word_next(char **rest)
{
	char *p = *rest + strspn(*rest, " \t"), *out, *start;
	bool is_quoted = *p == '"';

	if (!*p)
		return NULL;
	start = out = is_quoted ? ++p : p;
	for (; *p && (is_quoted || (*p != ' ' && *p != '\t')); p++) {
		if (is_quoted && *p == '"' && p[1] != '"')
			break;
		p += is_quoted && *p == '"';
		*out++ = *p;
	}
	*rest = *p ? p + 1 : p;
	*out = '\0';
	return start;
}

static void
map_alias(struct weir_import *im, const struct weir_rclone_section *s)
{
	const char *to = weir_rclone_ini_get(s, "remote");
	char *why = NULL, *name = name_for(im, s->name);
	size_t which;
	char *place = to ? place_of(im, s->name, to, 0, &which, &why) : (why = weir_xstrdup("it leads nowhere"), NULL);

	if (place)
		line_add(im, weir_xasprintf("/%s", name), place);
	else if (why)
		weir_import_refuse(im, "%s: %s", s->name, why);
	free(why);
	free(name);
}

static void
map_combine(struct weir_import *im, const struct weir_rclone_section *s)
{
	WEIR_AUTO(weir_freep) char *list = weir_xstrdup(weir_rclone_ini_get(s, "upstreams"));
	WEIR_AUTO(weir_freep) char *name = name_for(im, s->name);
	char *rest = list, *word;

	while (rest && (word = word_next(&rest))) {
		char *sign = strchr(word, '='), *why = NULL, *place = NULL;
		WEIR_AUTO(weir_freep) char *whom = NULL;
		size_t which;

		if (!sign) {
			weir_import_refuse(im, "%s: '%s' is no 'folder=remote:path'", s->name, word);
			continue;
		}
		*sign = '\0';
		whom = weir_xasprintf("%s-%s", s->name, word);
		place = place_of(im, whom, sign + 1, 0, &which, &why);
		if (place)
			line_add(im, weir_xasprintf("/%s/%s", name, word), place);
		else if (why)
			weir_import_refuse(im, "%s: %s", s->name, why);
		free(why);
	}
}

/* What weir's pools do not do must stay with rclone. */
static const char *
union_in_the_way(const struct weir_rclone_section *s)
{
	static const char *const carried[] = { "upstreams", "action_policy", "create_policy", "search_policy", "cache_time", "min_free_space", NULL };

	return key_in_the_way(s, carried);
}

static const char *
union_policy(const struct weir_rclone_section *s)
{
	const char *p = weir_rclone_ini_get(s, "create_policy");

	if (p && (strcmp(p, "mfs") == 0 || strcmp(p, "lus") == 0))
		return "most-free";
	return !p || strncmp(p, "ep", 2) == 0 ? "siblings" : "first";	/* epmfs is rclone's own default: where the folder is */
}

static bool
union_is_marked(const char *word)
{
	size_t n = strlen(word);

	return n > 3 && (strcmp(word + n - 3, ":ro") == 0 || strcmp(word + n - 3, ":nc") == 0);
}

static void
map_union(struct weir_import *im, const struct weir_rclone_section *s)
{
	WEIR_AUTO(weir_freep) char *list = weir_xstrdup(weir_rclone_ini_get(s, "upstreams"));
	WEIR_AUTO(weir_freep) char *all = weir_xstrdup(list);
	WEIR_AUTO(weir_freep) char *name = name_for(im, s->name);
	struct weir_buf pool = WEIR_BUF(8192);
	const char *way = union_in_the_way(s);
	char *rest = all, *word, *why = NULL;
	size_t which, n = 0;

	while (!way && rest && (word = word_next(&rest)))
		if (union_is_marked(word) || strpbrk(word, ",;)"))
			way = word;
	if (way) {
		which = map_remote(im, s, NULL);
		if (which != SIZE_MAX) {
			why = weir_xasprintf("'%s' has no counterpart in a pool", way);
			weir_import_fall_back(im, &im->remotes[which], why);
		}
		free(why);
		return;
	}
	weir_buf_adds(&pool, "pool(");
	for (rest = list; rest && (word = word_next(&rest)); n++) {
		WEIR_AUTO(weir_freep) char *whom = weir_xasprintf("%s-%zu", s->name, n + 1);
		WEIR_AUTO(weir_freep) char *place = place_of(im, whom, word, 0, &which, &why);

		if (!place) {
			weir_import_refuse(im, "%s: %s", s->name, why ? why : "one of its parts is in weir.conf already");
			free(why);
			weir_buf_free(&pool);
			return;
		}
		weir_buf_addf(&pool, "%s%s", n ? ", " : "", place);
	}
	weir_buf_addf(&pool, "; policy=%s)", union_policy(s));
	line_add(im, weir_xasprintf("/%s", name), weir_buf_take(&pool));
}

/* ---- all of it ---- */

static bool
type_is_place(const char *type)
{
	return strcmp(type, "alias") == 0 || strcmp(type, "combine") == 0 || strcmp(type, "union") == 0;
}

static void
map_buckets(struct weir_import *im, const struct weir_rclone_section *s, bool *has)
{
	size_t n = strlen(s->name);

	*has = false;
	for (size_t i = 0; im->buckets && i < im->buckets->n; i++) {
		const char *b = im->buckets->v[i];

		if (strncmp(b, s->name, n) == 0 && b[n] == '=' && b[n + 1]) {
			*has = true;
			map_remote(im, s, b + n + 1);
		}
	}
}

/* Has something of this section been made for an alias or its like? Then it needs no remote of the whole beside it. */
static bool
map_is_used(const struct weir_import *im, const char *source)
{
	for (size_t i = 0; i < im->nremotes; i++)
		if (strcmp(im->remotes[i].source, source) == 0)
			return true;
	for (size_t i = 0; i < im->npresent; i++)
		if (strcmp(im->present[i], source) == 0)
			return true;
	return false;
}

static void
map_section(struct weir_import *im, const struct weir_rclone_section *s, bool is_place)
{
	const char *type = weir_rclone_ini_get(s, "type");
	bool has;

	if (!type) {
		if (is_place)
			weir_import_refuse(im, "%s: it has no type", s->name);
	} else if (is_place) {
		if (strcmp(type, "alias") == 0)
			map_alias(im, s);
		else if (strcmp(type, "combine") == 0)
			map_combine(im, s);
		else if (strcmp(type, "union") == 0)
			map_union(im, s);
	} else if (!type_is_place(type)) {
		map_buckets(im, s, &has);
		if (!has && !map_is_used(im, s->name))
			map_remote(im, s, NULL);
	}
}

/* A folder cannot be shown twice: what an alias shows a part of has no line of its own. */
static void
map_lines(struct weir_import *im)
{
	if (!im->nlines && !(im->have && im->have->nbinds && im->have->binds[0].line != im->have->remotes[0].line))
		return;			/* without [namespace] each remote stands at /NAME */
	for (size_t i = 0; i < im->nremotes; i++) {
		struct weir_import_remote *m = &im->remotes[i];
		bool is_used = m->is_placed;

		for (size_t k = 0; k < im->nlines && !is_used; k++)
			is_used = strcmp(im->lines[k].value, m->name) == 0;
		if (!is_used)
			line_add(im, weir_xasprintf("/%s", m->name), weir_xstrdup(m->name));
		else if (!m->note && !m->bucket && strcmp(m->keys[0].value, "local") != 0)
			m->note = weir_xstrdup("reached through the lines below that name it: a folder is shown once");
	}
}

void
weir_import_rclone(struct weir_import *im)
{
	for (size_t i = 0; i < im->ini->n; i++)
		map_section(im, &im->ini->v[i], true);
	for (size_t i = 0; i < im->ini->n; i++)
		map_section(im, &im->ini->v[i], false);
	map_lines(im);
}

static void
map_free(struct weir_import_remote *m)
{
	map_clear_keys(m);
	free(m->source);
	free(m->name);
	free(m->bucket);
	free(m->note);
}

/* "NAME", "NAME:folder", or among the members of a pool. */
static bool
line_names(const struct weir_import_line *l, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = strstr(l->value, name); p; p = strstr(p + 1, name)) {
		bool begins = p == l->value || p[-1] == '(' || p[-1] == ' ';

		if (begins && (p[n] == '\0' || strchr(":,;)", p[n])))
			return true;
	}
	return false;
}

void
weir_import_drop(struct weir_import *im, size_t which, const char *why)
{
	struct weir_import_remote gone = im->remotes[which];
	size_t kept = 0;

	weir_import_refuse(im, "%s: %s", gone.source, why);
	for (size_t i = 0; i < im->nlines; i++) {
		if (!line_names(&im->lines[i], gone.name)) {
			im->lines[kept++] = im->lines[i];
			continue;
		}
		if (strcmp(im->lines[i].path + 1, gone.name) != 0)
			weir_import_refuse(im, "%s: it needs %s", im->lines[i].path, gone.source);
		free(im->lines[i].path);
		free(im->lines[i].value);
	}
	im->nlines = kept;
	memmove(&im->remotes[which], &im->remotes[which + 1], (im->nremotes - which - 1) * sizeof(*im->remotes));
	im->nremotes--;
	map_free(&gone);
}

void
weir_import_clear(struct weir_import *im)
{
	for (size_t i = 0; i < im->nremotes; i++)
		map_free(&im->remotes[i]);
	for (size_t i = 0; i < im->nlines; i++) {
		free(im->lines[i].path);
		free(im->lines[i].value);
	}
	for (size_t i = 0; i < im->nrefused; i++)
		free(im->refused[i]);
	for (size_t i = 0; i < im->npresent; i++)
		free(im->present[i]);
	free(im->remotes);
	free(im->lines);
	free(im->refused);
	free(im->present);
}
