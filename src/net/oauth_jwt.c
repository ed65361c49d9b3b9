/* SPDX-License-Identifier: Apache-2.0 */
/* What a service account says to get a token: a JWT signed with its own key (RFC 7523, RS256). Knows no network. */
#include "config.h"

#include "oauth_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../util/text.h"
#include "../util/util.h"

#define JWT_KEY_MAX 65536
#define JWT_LIFE_S 3600		/* the longest that Google takes */

static enum weir_code
jwt_read(const char *path, json_t **out, struct weir_err *err)
{
	WEIR_AUTO(weir_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	WEIR_AUTO(weir_secret_freep) char *text = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return weir_err_set(err, WEIR_E_CONFIG, "'%s': %s", path, strerrordesc_np(errno));
	if (!S_ISREG(st.st_mode))
		return weir_err_set(err, WEIR_E_CONFIG, "'%s' is not a file", path);
	if (st.st_mode & 077)
		return weir_err_set(err, WEIR_E_CONFIG, "others may read or change '%s'; run chmod 600 %s", path, path);
	text = weir_xcalloc(JWT_KEY_MAX + 1, 1);
	if (weir_pread_full(fd, text, JWT_KEY_MAX, 0) < 0)
		return weir_err_set(err, WEIR_E_CONFIG, "'%s': %s", path, strerrordesc_np(errno));
	*out = json_loads(text, 0, NULL);
	if (json_string_value(json_object_get(*out, "client_email")) != NULL && json_string_value(json_object_get(*out, "private_key")) != NULL)
		return WEIR_OK;
	json_decref(*out);
	*out = NULL;
	return weir_err_set(err, WEIR_E_CONFIG, "'%s' is not the JSON key of a service account", path);
}

/* "HEADER.CLAIMS", to be signed. Owned. */
static char *
jwt_text(const struct weir_oauth_app *app, const json_t *key, int64_t now_s)
{
	json_t *h = json_pack("{s:s, s:s, s:s*}", "alg", "RS256", "typ", "JWT", "kid", json_string_value(json_object_get(key, "private_key_id")));
	json_t *c = json_pack("{s:s, s:s*, s:s, s:I, s:I, s:s*}", "iss", json_string_value(json_object_get(key, "client_email")), "scope", app->scope,
	    "aud", app->token_url, "iat", (json_int_t)now_s, "exp", (json_int_t)(now_s + JWT_LIFE_S), "sub", app->subject);
	WEIR_AUTO(weir_freep) char *head = json_dumps(h, JSON_COMPACT), *claims = json_dumps(c, JSON_COMPACT);
	WEIR_AUTO(weir_freep) char *a = head != NULL ? weir_base64url(head, strlen(head)) : NULL;
	WEIR_AUTO(weir_freep) char *b = claims != NULL ? weir_base64url(claims, strlen(claims)) : NULL;

	json_decref(h);
	json_decref(c);
	return a != NULL && b != NULL ? weir_xasprintf("%s.%s", a, b) : NULL;
}

/* Owned; NULL: the key is none. */
static char *
jwt_sign(const char *pem, const char *text)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)(char *)"") : NULL;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char *sig = NULL;
	char *out = NULL;
	size_t n = 0;

	if (key != NULL && EVP_PKEY_base_id(key) == EVP_PKEY_RSA && ctx != NULL && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
	    EVP_DigestSign(ctx, NULL, &n, (const unsigned char *)text, strlen(text)) == 1) {
		sig = weir_xcalloc(n, 1);
		if (EVP_DigestSign(ctx, sig, &n, (const unsigned char *)text, strlen(text)) == 1)
			out = weir_base64url(sig, n);
	}
	free(sig);
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	BIO_free(bio);
	return out;
}

enum weir_code
weir_oauth_assertion(const struct weir_oauth_app *app, int64_t now_s, char **out, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *text = NULL, *sig = NULL;
	json_t *key = NULL;
	enum weir_code r = jwt_read(app->service_account_file, &key, err);

	if (r != WEIR_OK)
		return r;
	text = jwt_text(app, key, now_s);
	if (text != NULL)
		sig = jwt_sign(json_string_value(json_object_get(key, "private_key")), text);
	json_decref(key);
	if (sig == NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "the private_key in '%s' is no RSA key", app->service_account_file);
	*out = weir_xasprintf("%s.%s", text, sig);
	return WEIR_OK;
}
