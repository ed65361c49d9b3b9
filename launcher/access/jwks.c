/* SPDX-License-Identifier: Apache-2.0 */
/* A key set (RFC 7517, 7518) into OpenSSL's keys. What is not usable is left out: a set may hold keys of the future. */
#include "config.h"

#include "jwt.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <string.h>

#include "../../src/util/text.h"
#include "../../src/util/util.h"

#define JWKS_RSA_MIN_BITS 2048
#define JWKS_RSA_MAX_BITS 8192		/* beyond, one verification takes too long */
#define JWKS_E_MAX_BITS 64
#define JWKS_NUMBER_MAX 2048		/* bytes of a number, still encoded */
#define P256_LEN 32

/* A number as it stands in a key: base64url of its bytes. Length, or -1. */
static ssize_t
jwks_bytes(const json_t *o, const char *name, unsigned char *out, size_t max)
{
	const char *text = json_string_value(json_object_get(o, name));

	if (text == NULL || *text == '\0' || strlen(text) > JWKS_NUMBER_MAX)
		return -1;
	return weir_unbase64(text, out, max);
}

static EVP_PKEY *
jwks_build(const char *type, OSSL_PARAM_BLD *bld)
{
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *key = NULL;

	if (params == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 || EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		key = NULL;
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(params);
	return key;
}

static EVP_PKEY *
jwks_rsa(const json_t *o)
{
	unsigned char buf[JWKS_NUMBER_MAX];
	ssize_t len = jwks_bytes(o, "n", buf, sizeof(buf));
	BIGNUM *n = len > 0 ? BN_bin2bn(buf, (int)len, NULL) : NULL, *e;
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	EVP_PKEY *key = NULL;

	len = jwks_bytes(o, "e", buf, sizeof(buf));
	e = len > 0 ? BN_bin2bn(buf, (int)len, NULL) : NULL;
	if (n != NULL && e != NULL && bld != NULL && BN_num_bits(n) >= JWKS_RSA_MIN_BITS && BN_num_bits(n) <= JWKS_RSA_MAX_BITS && BN_is_odd(n) &&
	    BN_is_odd(e) && !BN_is_one(e) && BN_num_bits(e) <= JWKS_E_MAX_BITS && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
	    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e) == 1)
		key = jwks_build("RSA", bld);
	OSSL_PARAM_BLD_free(bld);
	BN_free(n);
	BN_free(e);
	return key;
}

/* Coordinates have their full length (RFC 7518 section 6.2.1.2). */
static EVP_PKEY *
jwks_p256(const json_t *o)
{
	unsigned char point[1 + 2 * P256_LEN] = {0x04};
	const char *curve = json_string_value(json_object_get(o, "crv"));
	OSSL_PARAM_BLD *bld;
	EVP_PKEY_CTX *ctx;
	EVP_PKEY *key = NULL;

	if (curve == NULL || strcmp(curve, "P-256") != 0 || jwks_bytes(o, "x", point + 1, P256_LEN) != P256_LEN ||
	    jwks_bytes(o, "y", point + 1 + P256_LEN, P256_LEN) != P256_LEN)
		return NULL;
	bld = OSSL_PARAM_BLD_new();
	if (bld != NULL && OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1 &&
	    OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)) == 1)
		key = jwks_build("EC", bld);
	OSSL_PARAM_BLD_free(bld);
	ctx = key != NULL ? EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL) : NULL;
	if (key != NULL && (ctx == NULL || EVP_PKEY_public_check(ctx) != 1)) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	EVP_PKEY_CTX_free(ctx);
	return key;
}

/* "use" and "key_ops" are optional, and say what a key must not be used for when they are there. */
static bool
jwks_is_for_signatures(const json_t *o)
{
	const json_t *use = json_object_get(o, "use"), *ops = json_object_get(o, "key_ops"), *op;
	bool verifies = false;
	size_t i;

	if (use != NULL && (json_string_value(use) == NULL || strcmp(json_string_value(use), "sig") != 0))
		return false;
	json_array_foreach (ops, i, op)
		verifies |= json_string_value(op) != NULL && strcmp(json_string_value(op), "verify") == 0;
	return ops == NULL || verifies;
}

static void
jwks_add(struct weir_jwks *s, const json_t *o)
{
	const char *type = json_string_value(json_object_get(o, "kty"));
	struct weir_jwk k = {0};

	if (type == NULL || !jwks_is_for_signatures(o))
		return;
	k.is_ec = strcmp(type, "EC") == 0;
	if (k.is_ec)
		k.key = jwks_p256(o);
	else if (strcmp(type, "RSA") == 0)
		k.key = jwks_rsa(o);
	if (k.key == NULL)
		return;
	k.kid = weir_xstrdup(json_string_value(json_object_get(o, "kid")));
	k.alg = weir_xstrdup(json_string_value(json_object_get(o, "alg")));
	s->v = weir_xrealloc(s->v, s->n + 1, sizeof(*s->v));
	s->v[s->n++] = k;
}

enum weir_code
weir_jwks_parse(const char *json, size_t len, struct weir_jwks *out, struct weir_err *err)
{
	json_t *o = len <= WEIR_JWKS_MAX ? json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL) : NULL;
	const json_t *keys = json_object_get(o, "keys"), *key;
	struct weir_jwks s = {0};
	size_t i;

	if (!json_is_array(keys)) {
		json_decref(o);
		return weir_err_set(err, WEIR_E_PROTO, "this is no set of keys (JWKS)");
	}
	json_array_foreach (keys, i, key) {
		if (s.n < WEIR_JWKS_KEYS)
			jwks_add(&s, key);
	}
	json_decref(o);
	*out = s;
	return WEIR_OK;
}

void
weir_jwks_clear(struct weir_jwks *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->v[i].kid);
		free(s->v[i].alg);
		EVP_PKEY_free(s->v[i].key);
	}
	free(s->v);
	*s = (struct weir_jwks){0};
}
