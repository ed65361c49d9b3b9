/* SPDX-License-Identifier: Apache-2.0 */
/* What a token gives: found in a variable or a file, verified, read. What goes wrong is a note, not an error: somebody without a token may have a level
 * by other ways. The token itself is in no sentence. */
#include "config.h"

#include "claims.h"
#include "jwt.h"
#include "keys.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- found ---- */

/* As text, or as JSON with an access_token, which is how sign-ins are kept. Takes text over; NULL: nothing in it. */
static char *
token_trim(char *text)
{
	json_t *o = *text == '{' ? json_loads(text, 0, NULL) : NULL;
	const char *inside = json_string_value(json_object_get(o, "access_token"));
	char *out, *p;

	if (inside != NULL) {
		out = weir_xstrdup(inside);
		weir_secret_free(text);
	} else
		out = text;
	json_decref(o);
	for (p = out + strlen(out); p > out && isspace((unsigned char)p[-1]); p--)
		p[-1] = '\0';
	for (p = out; isspace((unsigned char)*p); p++)
		;
	memmove(out, p, strlen(p) + 1);
	if (*out != '\0')
		return out;
	free(out);
	return NULL;
}

static enum weir_code
token_from_file(const char *path, char **out, struct weir_err *err)
{
	WEIR_AUTO(weir_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	WEIR_AUTO(weir_secret_freep) char *text = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return weir_err_errno(err, errno, "'%s'", path);
	if (!S_ISREG(st.st_mode) || st.st_size > (off_t)(2 * WEIR_JWT_MAX))
		return weir_err_set(err, WEIR_E_CONFIG, "'%s' is no file of a token", path);
	if (st.st_mode & 077)
		return weir_err_set(err, WEIR_E_CONFIG, "others may read or change '%s'; run chmod 600 %s", path, path);
	text = weir_xcalloc(2 * WEIR_JWT_MAX + 1, 1);
	if (weir_pread_full(fd, text, 2 * WEIR_JWT_MAX, 0) < 0)
		return weir_err_errno(err, errno, "'%s'", path);
	*out = token_trim(WEIR_STEAL(text));
	return *out != NULL ? WEIR_OK : weir_err_set(err, WEIR_E_NOENT, "'%s' is empty", path);
}

enum weir_code
weir_token_find(const struct weir_access_policy *p, char **out, struct weir_err *err)
{
	const char *value = getenv(p->token_variable);
	char *text = value != NULL && *value != '\0' ? weir_xstrdup(value) : NULL;

	unsetenv(p->token_variable);	/* a job inherits the environment */
	if (text != NULL && (*out = token_trim(text)) != NULL)
		return WEIR_OK;
	if (p->token_file == NULL)
		return weir_err_set(err, WEIR_E_NOENT, "there is none in $%s", p->token_variable);
	return token_from_file(p->token_file, out, err);
}

/* ---- verified ---- */

enum weir_code
weir_token_verify(const struct weir_access_policy *p, const struct weir_access_who *w, const char *token, int64_t now_s, json_t **claims, struct weir_err *err)
{
	struct weir_jwt_wants wants = {.issuer = p->issuer, .audiences = p->audiences, .now_s = now_s, .skew_s = p->skew_s};
	struct weir_keys keys = {0};
	enum weir_code r = weir_keys_get(p, w, false, now_s, &keys, err);

	if (r == WEIR_OK)
		r = weir_jwt_verify(token, &keys.set, &wants, claims, err);
	if (r == WEIR_E_NOENT && !keys.is_final) {
		weir_jwks_clear(&keys.set);
		r = weir_keys_get(p, w, true, now_s, &keys, err);
		if (r == WEIR_OK)
			r = weir_jwt_verify(token, &keys.set, &wants, claims, err);
	}
	weir_jwks_clear(&keys.set);
	return r;
}

void
weir_standing_token(const struct weir_access_policy *p, const struct weir_access_who *w, const char *token, int64_t now_s, struct weir_access_standing *s)
{
	struct weir_err err = {0};
	json_t *claims = NULL;
	enum weir_code r = weir_token_verify(p, w, token, now_s, &claims, &err);

	if (r == WEIR_OK) {
		s->subject = weir_xstrdup(json_string_value(json_object_get(claims, "sub")));
		weir_claims_levels(p, claims, s);
		json_decref(claims);
	} else if (r == WEIR_E_AUTH || r == WEIR_E_NOENT)
		s->token_note = weir_xasprintf("the token does not count: %s", weir_err_text(&err, r));
	else
		s->token_note = weir_xasprintf("the token cannot be checked: %s", weir_err_text(&err, r));
}
