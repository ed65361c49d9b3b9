/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens as JSON: a file of our own, a server's answer, or rclone's; and the lock that makes one refresh of many processes. Knows no network. */
#include "config.h"

#include "oauth_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../util/text.h"
#include "../util/util.h"

#define STORE_MAX (256u << 10)
#define STORE_LOCK_STEP_MS 20	/* flock cannot be cancelled, so it is tried */

void
weir_oauth_tokens_clear(struct weir_oauth_tokens *t)
{
	weir_secret_free(t->access);
	weir_secret_free(t->refresh);
	free(t->scope);
	*t = (struct weir_oauth_tokens){0};
}

/* Tokens travel in headers and forms: visible ASCII only (RFC 6749 appendix A), or none of it. */
static char *
store_token(const json_t *o, const char *key)
{
	const char *v = json_string_value(json_object_get(o, key));

	if (v == NULL || *v == '\0')
		return NULL;
	for (const char *p = v; *p != '\0'; p++) {
		if (*p < 0x21 || *p > 0x7e)
			return NULL;
	}
	return weir_xstrdup(v);
}

/* "expires_at" (ours), "expires_in" (a server's; some send it as a string), "expiry" (rclone's date). */
static int64_t
store_expiry(const json_t *o, int64_t now_s)
{
	const json_t *at = json_object_get(o, "expires_at"), *in = json_object_get(o, "expires_in");
	const char *date = json_string_value(json_object_get(o, "expiry"));
	int64_t ns, s = 3600;

	if (json_is_integer(at))
		return json_integer_value(at) > 0 ? json_integer_value(at) : 0;
	if (date != NULL) {
		ns = weir_date_parse(date);
		return ns == INT64_MIN || ns < 0 ? 0 : ns / 1000000000;
	}
	if (json_is_number(in))
		s = json_number_value(in) > 0 && json_number_value(in) < INT32_MAX ? (int64_t)json_number_value(in) : 0;
	else if (json_is_string(in))
		s = strtoll(json_string_value(in), NULL, 10);
	else if (json_object_get(o, "refresh_token") != NULL && now_s == 0)
		return 0;
	return s <= 0 || s > INT32_MAX ? now_s : now_s + s;
}

enum weir_code
weir_oauth_parse(const char *json, int64_t now_s, struct weir_oauth_tokens *out, struct weir_err *err)
{
	struct weir_oauth_tokens t = {0};
	json_t *o = json_loads(json, JSON_REJECT_DUPLICATES, NULL);

	if (!json_is_object(o)) {
		json_decref(o);
		return weir_err_set(err, WEIR_E_PROTO, "no tokens, but something else");
	}
	t.access = store_token(o, "access_token");
	t.refresh = store_token(o, "refresh_token");
	t.scope = weir_xstrdup(json_string_value(json_object_get(o, "scope")));
	t.expires_s = t.access != NULL ? store_expiry(o, now_s) : 0;
	json_decref(o);
	if (t.access == NULL && t.refresh == NULL) {
		weir_oauth_tokens_clear(&t);
		return weir_err_set(err, WEIR_E_PROTO, "neither access_token nor refresh_token in it");
	}
	weir_oauth_tokens_clear(out);
	*out = t;
	return WEIR_OK;
}

enum weir_code
weir_oauth_stamp(const char *file, struct weir_oauth_stamp *out)
{
	struct stat st;

	if (stat(file, &st) < 0)
		return weir_code_from_errno(errno);
	*out = (struct weir_oauth_stamp){.mtime_ns = st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec, .ino = st.st_ino, .size = st.st_size};
	return WEIR_OK;
}

enum weir_code
weir_oauth_load(const char *file, struct weir_oauth_tokens *out, struct weir_err *err)
{
	WEIR_AUTO(weir_closep) int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	WEIR_AUTO(weir_secret_freep) char *text = NULL;
	struct stat st;
	ssize_t n;
	enum weir_code r;

	if (fd < 0 && errno == ENOENT)
		return weir_err_set(err, WEIR_E_NOENT, "nobody has signed in yet");
	if (fd < 0 || fstat(fd, &st) < 0)
		return weir_err_set(err, WEIR_E_AUTH, "'%s': %s", file, strerrordesc_np(errno));
	if (!S_ISREG(st.st_mode) || st.st_size > (off_t)STORE_MAX)
		return weir_err_set(err, WEIR_E_AUTH, "'%s' is no file with tokens", file);
	if (st.st_mode & 077)
		return weir_err_set(err, WEIR_E_AUTH, "others may read or change '%s'; run chmod 600 %s", file, file);
	text = weir_xcalloc((size_t)st.st_size + 1, 1);
	n = weir_pread_full(fd, text, (size_t)st.st_size, 0);
	if (n < 0)
		return weir_err_set(err, WEIR_E_AUTH, "'%s': %s", file, strerrordesc_np(errno));
	r = weir_oauth_parse(text, 0, out, NULL);
	return r == WEIR_OK ? r : weir_err_set(err, WEIR_E_AUTH, "'%s' holds no tokens", file);
}

/* The folder is for secrets: made for its owner alone. */
static enum weir_code
store_folder(const char *file, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *dir = weir_xstrdup(file);
	char *slash = strrchr(dir, '/');

	if (slash == NULL || slash == dir)
		return WEIR_OK;
	*slash = '\0';
	return weir_mkdirs(dir, 0700) < 0 ? weir_err_errno(err, errno, "'%s'", dir) : WEIR_OK;
}

enum weir_code
weir_oauth_save(const char *file, const struct weir_oauth_tokens *t, struct weir_err *err)
{
	json_t *o = json_object();
	char *text;
	int no = 0;
	enum weir_code r = store_folder(file, err);

	json_object_set_new(o, "access_token", t->access != NULL ? json_string(t->access) : NULL);
	json_object_set_new(o, "refresh_token", t->refresh != NULL ? json_string(t->refresh) : NULL);
	json_object_set_new(o, "token_type", json_string("Bearer"));
	json_object_set_new(o, "expires_at", json_integer(t->expires_s));
	json_object_set_new(o, "scope", t->scope != NULL ? json_string(t->scope) : NULL);
	text = json_dumps(o, JSON_INDENT(1));
	json_decref(o);
	if (r == WEIR_OK && (text == NULL || weir_write_file(file, text, strlen(text)) < 0))
		no = text == NULL ? ENOMEM : errno;
	if (text != NULL)
		weir_secret_free(text);
	return no != 0 ? weir_err_errno(err, no, "'%s'", file) : r;
}

enum weir_code
weir_oauth_lock(const char *file, struct weir_cancel *cancel, int *out, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *path = weir_xasprintf("%s.lock", file);
	enum weir_code r = store_folder(file, err);
	int fd;

	if (r != WEIR_OK)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return weir_err_errno(err, errno, "'%s'", path);
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int no = errno;

		if (cancel != NULL && atomic_load(&cancel->is_set)) {
			close(fd);
			return weir_err_set(err, WEIR_E_CANCELED, "cancelled");
		}
		if (no != EWOULDBLOCK && no != EINTR) {
			close(fd);
			return weir_err_errno(err, no, "'%s'", path);
		}
		poll(NULL, 0, STORE_LOCK_STEP_MS);
	}
	*out = fd;
	return WEIR_OK;
}

enum weir_code
weir_oauth_import(const char *file, const char *json, struct weir_err *err)
{
	struct weir_oauth_tokens t = {0};
	enum weir_code r = weir_oauth_parse(json, 0, &t, err);
	int fd = -1;

	if (r == WEIR_OK && t.refresh == NULL)
		r = weir_err_set(err, WEIR_E_PROTO, "there is no refresh_token in it, so it would not last");
	if (r == WEIR_OK)
		r = weir_oauth_lock(file, NULL, &fd, err);
	if (r == WEIR_OK)
		r = weir_oauth_save(file, &t, err);
	weir_closep(&fd);
	weir_oauth_tokens_clear(&t);
	return r;
}
