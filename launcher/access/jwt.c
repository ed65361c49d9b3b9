/* SPDX-License-Identifier: Apache-2.0 */
/* One token: taken apart, its signature verified, its claims checked, in that order; nothing in it is believed before. jwt.h. */
#include "config.h"

#include "jwt.h"

#include <math.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>
#include <sys/types.h>

#include "../../src/util/text.h"
#include "../../src/util/util.h"

#define JWT_SIG_MAX 1024	/* RSA of 8192 bits */
#define P256_LEN 32
#define JWT_TIME_MAX 1e15	/* seconds; beyond, sums lose whole ones */

enum jwt_alg { JWT_RS256, JWT_PS256, JWT_ES256, JWT_ALGS };
static const char *const jwt_algs[] = {[JWT_RS256] = "RS256", [JWT_PS256] = "PS256", [JWT_ES256] = "ES256"};

struct jwt {
	const char *signed_text;	/* "HEADER.CLAIMS" */
	size_t signed_len;
	json_t *header;
	unsigned char *claims;		/* bytes of JSON */
	size_t claims_len;
	unsigned char sig[JWT_SIG_MAX];
	size_t sig_len;
	enum jwt_alg alg;
	const char *kid;		/* NULL: none */
};

static void
jwt_clear(struct jwt *t)
{
	json_decref(t->header);
	if (t->claims != NULL)
		explicit_bzero(t->claims, t->claims_len);
	free(t->claims);
}

/* ---- apart ---- */

/* Strict base64url: one spelling for each text, or a token could be changed without being another. Bytes or -1. */
static ssize_t
jwt_decode(const char *text, size_t len, unsigned char *out, size_t max)
{
	WEIR_AUTO(weir_secret_freep) char *part = weir_xstrndup(text, len), *again = NULL;
	ssize_t n = weir_unbase64(part, out, max);

	if (n < 0)
		return -1;
	again = weir_base64url(out, (size_t)n);
	return strcmp(part, again) == 0 ? n : -1;
}

static enum weir_code
jwt_header(struct jwt *t, const char *text, size_t len, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) unsigned char *json = weir_xcalloc(len + 1, 1);
	ssize_t n = jwt_decode(text, len, json, len);
	const json_t *kid;
	const char *alg;

	t->header = n > 0 ? json_loadb((char *)json, (size_t)n, JSON_REJECT_DUPLICATES, NULL) : NULL;
	if (!json_is_object(t->header))
		return weir_err_set(err, WEIR_E_AUTH, "it is no signed token (JWT)");
	alg = json_string_value(json_object_get(t->header, "alg"));
	t->alg = JWT_ALGS;
	for (int i = 0; alg != NULL && i < JWT_ALGS; i++) {
		if (strcmp(alg, jwt_algs[i]) == 0)
			t->alg = (enum jwt_alg)i;
	}
	if (t->alg == JWT_ALGS)
		return weir_err_set(err, WEIR_E_AUTH, "its signature is of a kind that is not accepted here (only RS256, PS256, ES256)");
	/* RFC 7515 section 4.1.11: what is critical and not understood ends it; nothing is understood */
	if (json_object_get(t->header, "crit") != NULL)
		return weir_err_set(err, WEIR_E_AUTH, "it demands extensions (crit) that are not known here");
	kid = json_object_get(t->header, "kid");
	if (kid != NULL && !json_is_string(kid))
		return weir_err_set(err, WEIR_E_AUTH, "it is no signed token (JWT)");
	t->kid = json_string_value(kid);
	return WEIR_OK;
}

static enum weir_code
jwt_apart(struct jwt *t, const char *token, struct weir_err *err)
{
	size_t len = strnlen(token, WEIR_JWT_MAX + 1);
	const char *dot = memchr(token, '.', len), *dot2 = dot != NULL ? memchr(dot + 1, '.', len - (size_t)(dot + 1 - token)) : NULL;
	enum weir_code r;
	ssize_t n;

	if (len > WEIR_JWT_MAX)
		return weir_err_set(err, WEIR_E_AUTH, "it is longer than %u bytes", WEIR_JWT_MAX);
	if (dot2 == NULL || memchr(dot2 + 1, '.', len - (size_t)(dot2 + 1 - token)) != NULL)
		return weir_err_set(err, WEIR_E_AUTH, "it is no signed token (JWT)");
	r = jwt_header(t, token, (size_t)(dot - token), err);
	if (r != WEIR_OK)
		return r;
	t->signed_text = token;
	t->signed_len = (size_t)(dot2 - token);
	t->claims_len = (size_t)(dot2 - dot);
	t->claims = weir_xcalloc(t->claims_len + 1, 1);
	n = jwt_decode(dot + 1, (size_t)(dot2 - dot - 1), t->claims, t->claims_len);
	if (n >= 0) {
		t->claims_len = (size_t)n;
		n = jwt_decode(dot2 + 1, len - (size_t)(dot2 + 1 - token), t->sig, sizeof(t->sig));
	}
	if (n <= 0)
		return weir_err_set(err, WEIR_E_AUTH, "it is no signed token (JWT)");
	t->sig_len = (size_t)n;
	return WEIR_OK;
}

/* ---- the signature ---- */

/* JWS has r and s side by side (RFC 7518 section 3.4), OpenSSL wants DER. Owned with OPENSSL_free; length, or -1. */
static int
jwt_es256_der(const struct jwt *t, unsigned char **der)
{
	ECDSA_SIG *sig = t->sig_len == (size_t)2 * P256_LEN ? ECDSA_SIG_new() : NULL;
	BIGNUM *r = sig != NULL ? BN_bin2bn(t->sig, P256_LEN, NULL) : NULL, *s = sig != NULL ? BN_bin2bn(t->sig + P256_LEN, P256_LEN, NULL) : NULL;
	int n = -1;

	if (r != NULL && s != NULL && ECDSA_SIG_set0(sig, r, s) == 1) {
		r = s = NULL;
		n = i2d_ECDSA_SIG(sig, der);
	}
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(sig);
	return n;
}

static bool
jwt_is_signed_by(const struct jwt *t, EVP_PKEY *key)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx = NULL;
	unsigned char *der = NULL;
	int der_len = 0, ok;

	ok = ctx != NULL && EVP_DigestVerifyInit(ctx, &pctx, EVP_sha256(), NULL, key) == 1;
	if (ok && t->alg == JWT_PS256)
		ok = EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 && EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) == 1;
	if (ok && t->alg == JWT_ES256)
		ok = (der_len = jwt_es256_der(t, &der)) > 0;
	if (ok)
		ok = EVP_DigestVerify(ctx, der != NULL ? der : t->sig, der != NULL ? (size_t)der_len : t->sig_len, (const unsigned char *)t->signed_text,
		    t->signed_len) == 1;
	OPENSSL_free(der);
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();	/* why it failed is nobody's business, and must not be found by the next user of OpenSSL in this thread */
	return ok == 1;
}

/* Does the key's own description allow this algorithm? */
static bool
jwt_fits(const struct jwt *t, const struct weir_jwk *k)
{
	return k->is_ec == (t->alg == JWT_ES256) && (k->alg == NULL || strcmp(k->alg, jwt_algs[t->alg]) == 0);
}

static enum weir_code
jwt_check_signature(const struct jwt *t, const struct weir_jwks *keys, struct weir_err *err)
{
	bool has_named = false;

	for (size_t i = 0; i < keys->n; i++) {
		const struct weir_jwk *k = &keys->v[i];

		if (t->kid != NULL && (k->kid == NULL || strcmp(k->kid, t->kid) != 0))
			continue;
		has_named |= t->kid != NULL;
		if (jwt_fits(t, k) && jwt_is_signed_by(t, k->key))
			return WEIR_OK;
	}
	if (has_named)
		return weir_err_set(err, WEIR_E_AUTH, "its signature is wrong");
	return weir_err_set(err, WEIR_E_NOENT, "it is signed with none of the issuer's keys");
}

/* ---- the claims ---- */

/* For people: what the issuer wrote, in ASCII, one line, not too long. */
static char *
jwt_words(const char *text)
{
	char *out = weir_xstrndup(text, 100);

	for (char *p = out; *p != '\0'; p++) {
		if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
			*p = '?';
	}
	return out;
}

/* Seconds since 1970 (NumericDate; fractions are allowed). False: there, but no such number. */
static bool
jwt_time(const json_t *claims, const char *name, bool *is_there, double *out)
{
	const json_t *v = json_object_get(claims, name);

	*is_there = v != NULL;
	if (v == NULL)
		return true;
	if (!json_is_number(v))
		return false;
	*out = json_number_value(v);
	return isfinite(*out) && fabs(*out) <= JWT_TIME_MAX;
}

static enum weir_code
jwt_check_times(const json_t *claims, const struct weir_jwt_wants *w, struct weir_err *err)
{
	double exp = 0, nbf = 0, iat = 0, now = (double)w->now_s, skew = (double)w->skew_s;
	bool has_exp, has_nbf, has_iat;

	if (!jwt_time(claims, "exp", &has_exp, &exp) || !jwt_time(claims, "nbf", &has_nbf, &nbf) || !jwt_time(claims, "iat", &has_iat, &iat))
		return weir_err_set(err, WEIR_E_AUTH, "a date in it is none");
	if (!has_exp)
		return weir_err_set(err, WEIR_E_AUTH, "it has no end (exp)");
	if (now >= exp + skew)
		return weir_err_set(err, WEIR_E_AUTH, "it has expired %.0f s ago: get a new one", now - exp);
	if ((has_nbf && nbf > now + skew) || (has_iat && iat > now + skew))
		return weir_err_set(err, WEIR_E_AUTH, "it is not valid yet: is this clock right?");
	return WEIR_OK;
}

static bool
jwt_is_wanted(const json_t *aud, const struct weir_jwt_wants *w)
{
	const char *text = json_string_value(aud);

	for (char *const *a = w->audiences; text != NULL && *a != NULL; a++) {
		if (strcmp(*a, text) == 0)
			return true;
	}
	return false;
}

static enum weir_code
jwt_check_audience(const json_t *claims, const struct weir_jwt_wants *w, struct weir_err *err)
{
	const json_t *aud = json_object_get(claims, "aud"), *one;
	bool is_wanted = jwt_is_wanted(aud, w), is_odd = aud != NULL && !json_is_string(aud) && !json_is_array(aud);
	size_t i;

	json_array_foreach (aud, i, one) {
		is_odd |= !json_is_string(one);
		is_wanted |= jwt_is_wanted(one, w);
	}
	if (is_odd || !is_wanted)
		return weir_err_set(err, WEIR_E_AUTH, "it is for another audience (aud) than '%.100s'", w->audiences[0]);
	return WEIR_OK;
}

static enum weir_code
jwt_check_claims(const json_t *claims, const struct weir_jwt_wants *w, struct weir_err *err)
{
	const char *iss = json_string_value(json_object_get(claims, "iss")), *sub = json_string_value(json_object_get(claims, "sub"));
	WEIR_AUTO(weir_freep) char *words = jwt_words(iss != NULL ? iss : "nobody");
	enum weir_code r;

	if (iss == NULL || strcmp(iss, w->issuer) != 0)
		return weir_err_set(err, WEIR_E_AUTH, "it is issued by '%s'", words);
	if (sub == NULL || *sub == '\0')
		return weir_err_set(err, WEIR_E_AUTH, "it says nothing about who it is for (sub)");
	r = jwt_check_audience(claims, w, err);
	return r == WEIR_OK ? jwt_check_times(claims, w, err) : r;
}

enum weir_code
weir_jwt_verify(const char *token, const struct weir_jwks *keys, const struct weir_jwt_wants *w, json_t **claims, struct weir_err *err)
{
	struct jwt t = {0};
	json_t *c = NULL;
	enum weir_code r = jwt_apart(&t, token, err);

	if (r == WEIR_OK)
		r = jwt_check_signature(&t, keys, err);
	if (r == WEIR_OK) {
		c = json_loadb((char *)t.claims, t.claims_len, JSON_REJECT_DUPLICATES, NULL);
		r = json_is_object(c) ? jwt_check_claims(c, w, err) : weir_err_set(err, WEIR_E_AUTH, "what is signed in it is no JSON object");
	}
	jwt_clear(&t);
	if (r == WEIR_OK)
		*claims = c;
	else
		json_decref(c);
	return r;
}
