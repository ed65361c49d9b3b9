/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens against keys: vectors are made here with OpenSSL, good ones and every wrong one that is known from elsewhere. */
#include "config.h"

#include <CUnit/Basic.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <string.h>

#include "../../launcher/access/jwt.h"
#include "util/text.h"
#include "util/util.h"

#define NOW 1800000000
#define CLAIMS "\"iss\":\"https://i/x\",\"aud\":\"account\",\"sub\":\"s\""

static EVP_PKEY *rsa1, *rsa2, *rsa_weak, *ec1;
static char aud_account[] = "account", aud_weir[] = "weir";
static char *audiences[] = {aud_weir, aud_account, NULL};
static const struct weir_jwt_wants wants = {.issuer = "https://i/x", .audiences = audiences, .now_s = NOW, .skew_s = 60};

/* ---- making them ---- */

static char *
number(EVP_PKEY *key, const char *name, size_t pad)
{
	unsigned char buf[1024];
	BIGNUM *n = NULL;
	char *text;
	int len;

	CU_ASSERT_EQUAL_FATAL(EVP_PKEY_get_bn_param(key, name, &n), 1);
	len = pad > 0 ? BN_bn2binpad(n, buf, (int)pad) : BN_bn2bin(n, buf);
	CU_ASSERT_FATAL(len > 0);
	text = weir_base64url(buf, (size_t)len);
	BN_free(n);
	return text;
}

/* One key of a set; more: further members. */
static char *
jwk(EVP_PKEY *key, const char *kid, const char *more)
{
	bool is_rsa = EVP_PKEY_base_id(key) == EVP_PKEY_RSA;
	WEIR_AUTO(weir_freep) char *a = number(key, is_rsa ? OSSL_PKEY_PARAM_RSA_N : OSSL_PKEY_PARAM_EC_PUB_X, is_rsa ? 0 : 32);
	WEIR_AUTO(weir_freep) char *b = number(key, is_rsa ? OSSL_PKEY_PARAM_RSA_E : OSSL_PKEY_PARAM_EC_PUB_Y, is_rsa ? 0 : 32);

	if (is_rsa)
		return weir_xasprintf("{\"kty\":\"RSA\",\"kid\":\"%s\",\"n\":\"%s\",\"e\":\"%s\"%s}", kid, a, b, more);
	return weir_xasprintf("{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"%s}", kid, a, b, more);
}

static struct weir_jwks
set_of(const char *a, const char *b, const char *c)
{
	WEIR_AUTO(weir_freep) char *text = weir_xasprintf("{\"keys\":[%s%s%s%s%s]}", a, b != NULL ? "," : "", b != NULL ? b : "", c != NULL ? "," : "",
	    c != NULL ? c : "");
	struct weir_jwks s = {0};
	struct weir_err err = {0};

	CU_ASSERT_EQUAL_FATAL(weir_jwks_parse(text, strlen(text), &s, &err), WEIR_OK);
	return s;
}

static char *
signature(const char *alg, EVP_PKEY *key, const char *text)
{
	unsigned char sig[1024], raw[64];
	const unsigned char *p = sig;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx = NULL;
	size_t n = sizeof(sig);
	ECDSA_SIG *ec;

	CU_ASSERT_EQUAL_FATAL(EVP_DigestSignInit(ctx, &pctx, EVP_sha256(), NULL, key), 1);
	if (alg[0] == 'P') {
		CU_ASSERT_EQUAL(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING), 1);
		CU_ASSERT_EQUAL(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST), 1);
	}
	CU_ASSERT_EQUAL_FATAL(EVP_DigestSign(ctx, sig, &n, (const unsigned char *)text, strlen(text)), 1);
	EVP_MD_CTX_free(ctx);
	if (alg[0] != 'E')
		return weir_base64url(sig, n);
	ec = d2i_ECDSA_SIG(NULL, &p, (long)n);
	CU_ASSERT_EQUAL(BN_bn2binpad(ECDSA_SIG_get0_r(ec), raw, 32), 32);
	CU_ASSERT_EQUAL(BN_bn2binpad(ECDSA_SIG_get0_s(ec), raw + 32, 32), 32);
	ECDSA_SIG_free(ec);
	return weir_base64url(raw, sizeof(raw));
}

/* alg: how it is signed; header: what it says about itself. */
static char *
token(const char *alg, EVP_PKEY *key, const char *header, const char *claims)
{
	WEIR_AUTO(weir_freep) char *h = weir_base64url(header, strlen(header)), *c = weir_base64url(claims, strlen(claims));
	WEIR_AUTO(weir_freep) char *text = weir_xasprintf("%s.%s", h, c), *sig = signature(alg, key, text);

	return weir_xasprintf("%s.%s", text, sig);
}

static char *
good(void)
{
	return token("RS256", rsa1, "{\"alg\":\"RS256\",\"kid\":\"r1\"}", "{" CLAIMS ",\"exp\":1800000600}");
}

static enum weir_code
verdict(const char *text, const struct weir_jwks *keys, const char *words)
{
	struct weir_err err = {0};
	json_t *claims = NULL;
	enum weir_code r = weir_jwt_verify(text, keys, &wants, &claims, &err);

	CU_ASSERT_EQUAL(claims != NULL, r == WEIR_OK);
	CU_ASSERT(r == WEIR_OK || err.msg[0] != '\0');
	if (r != WEIR_OK && words != NULL && strstr(err.msg, words) == NULL) {
		fprintf(stderr, "\n  said: %s\n  not:  %s\n", err.msg, words);
		CU_FAIL("other words");
	}
	if (r == WEIR_OK && words != NULL)
		fprintf(stderr, "\n  accepted, not: %s\n", words);
	json_decref(claims);
	return r;
}

/* Makes it, judges it, drops it. */
static enum weir_code
made(const char *alg, EVP_PKEY *key, const char *header, const char *claims, const struct weir_jwks *keys, const char *words)
{
	WEIR_AUTO(weir_freep) char *t = token(alg, key, header, claims);

	return verdict(t, keys, words);
}

static struct weir_jwks
keys_of_all(void)
{
	WEIR_AUTO(weir_freep) char *a = jwk(rsa1, "r1", ""), *b = jwk(rsa2, "r2", ",\"use\":\"sig\",\"alg\":\"PS256\""), *c = jwk(ec1, "e1", "");

	return set_of(a, b, c);
}

/* ---- tests ---- */

static void
three_kinds_of_signature_are_accepted(void)
{
	struct weir_jwks k = keys_of_all();
	static const char claims[] = "{" CLAIMS ",\"exp\":1800000600,\"nbf\":1799999999,\"iat\":1799999999}";

	CU_ASSERT_EQUAL_FATAL(k.n, 3);
	CU_ASSERT_EQUAL(made("RS256", rsa1, "{\"alg\":\"RS256\",\"kid\":\"r1\",\"typ\":\"JWT\"}", claims, &k, NULL), WEIR_OK);
	CU_ASSERT_EQUAL(made("PS256", rsa1, "{\"alg\":\"PS256\",\"kid\":\"r1\"}", claims, &k, NULL), WEIR_OK);
	CU_ASSERT_EQUAL(made("PS256", rsa2, "{\"alg\":\"PS256\",\"kid\":\"r2\"}", claims, &k, NULL), WEIR_OK);
	CU_ASSERT_EQUAL(made("ES256", ec1, "{\"alg\":\"ES256\",\"kid\":\"e1\"}", claims, &k, NULL), WEIR_OK);
	/* no kid: whichever fits */
	CU_ASSERT_EQUAL(made("RS256", rsa1, "{\"alg\":\"RS256\"}", claims, &k, NULL), WEIR_OK);
	CU_ASSERT_EQUAL(made("ES256", ec1, "{\"alg\":\"ES256\"}", claims, &k, NULL), WEIR_OK);
	/* a key for another algorithm; a header that says another one than signed */
	CU_ASSERT_EQUAL(made("RS256", rsa2, "{\"alg\":\"RS256\",\"kid\":\"r2\"}", claims, &k, "its signature is wrong"), WEIR_E_AUTH);
	CU_ASSERT_EQUAL(made("PS256", rsa1, "{\"alg\":\"RS256\",\"kid\":\"r1\"}", claims, &k, "its signature is wrong"), WEIR_E_AUTH);
	CU_ASSERT_EQUAL(made("RS256", rsa1, "{\"alg\":\"ES256\",\"kid\":\"r1\"}", claims, &k, "its signature is wrong"), WEIR_E_AUTH);
	CU_ASSERT_EQUAL(made("ES256", ec1, "{\"alg\":\"RS256\",\"kid\":\"e1\"}", claims, &k, "its signature is wrong"), WEIR_E_AUTH);
	weir_jwks_clear(&k);
}

static void
no_signature_and_shared_secrets_are_refused(void)
{
	static const char *const algs[] = {"none", "None", "NONE", "", "HS256", "HS384", "HS512", "RS384", "RS512", "ES384", "EdDSA", "rs256", "RS256 "};
	struct weir_jwks k = keys_of_all();
	WEIR_AUTO(weir_freep) char *c = weir_base64url("{" CLAIMS ",\"exp\":1800000600}", strlen("{" CLAIMS ",\"exp\":1800000600}"));
	WEIR_AUTO(weir_freep) char *pub = jwk(rsa1, "r1", "");

	for (size_t i = 0; i < WEIR_LEN(algs); i++) {
		WEIR_AUTO(weir_freep) char *json = weir_xasprintf("{\"alg\":\"%s\",\"kid\":\"r1\"}", algs[i]), *h = weir_base64url(json, strlen(json));
		WEIR_AUTO(weir_freep) char *text = weir_xasprintf("%s.%s", h, c), *bare = weir_xasprintf("%s.", text), *sig = NULL, *keyed = NULL;
		unsigned char mac[32];

		/* the confusion: the public key's text as a shared secret */
		weir_hmac_sha256(pub, strlen(pub), text, strlen(text), mac);
		sig = weir_base64url(mac, sizeof(mac));
		keyed = weir_xasprintf("%s.%s", text, sig);
		CU_ASSERT_EQUAL(verdict(bare, &k, "of a kind that is not accepted"), WEIR_E_AUTH);
		CU_ASSERT_EQUAL(verdict(keyed, &k, "of a kind that is not accepted"), WEIR_E_AUTH);
	}
	CU_ASSERT_EQUAL(made("RS256", rsa1, "{\"kid\":\"r1\"}", "{}", &k, "of a kind"), WEIR_E_AUTH);
	CU_ASSERT_EQUAL(made("RS256", rsa1, "{\"alg\":[\"RS256\"]}", "{}", &k, "of a kind"), WEIR_E_AUTH);
	CU_ASSERT_EQUAL(made("RS256", rsa1, "{\"alg\":\"none\",\"alg\":\"RS256\"}", "{}", &k, "no signed token"), WEIR_E_AUTH);
	CU_ASSERT_EQUAL(made("RS256", rsa1, "{\"alg\":\"RS256\",\"crit\":[\"b64\"],\"b64\":false}", "{}", &k, "extensions"), WEIR_E_AUTH);
	weir_jwks_clear(&k);
}

static void
keys_come_from_the_issuer_alone(void)
{
	WEIR_AUTO(weir_freep) char *one = jwk(rsa1, "r1", ""), *two = jwk(rsa2, "r2", ""), *same = jwk(rsa2, "r1", "");
	WEIR_AUTO(weir_freep) char *header = weir_xasprintf("{\"alg\":\"RS256\",\"kid\":\"r1\",\"jwk\":%s,\"jku\":\"https://evil/\"}", two);
	static const char claims[] = "{" CLAIMS ",\"exp\":1800000600}";
	struct weir_jwks k = set_of(one, NULL, NULL), none = {0}, later = set_of(two, one, NULL), twins = set_of(one, same, NULL);

	CU_ASSERT_EQUAL(made("RS256", rsa2, "{\"alg\":\"RS256\",\"kid\":\"r1\"}", claims, &k, "its signature is wrong"), WEIR_E_AUTH);
	CU_ASSERT_EQUAL(made("RS256", rsa2, header, claims, &k, "its signature is wrong"), WEIR_E_AUTH);
	/* rotation: NOENT says that newer keys may help */
	CU_ASSERT_EQUAL(made("RS256", rsa2, "{\"alg\":\"RS256\",\"kid\":\"r2\"}", claims, &k, "none of the issuer's keys"), WEIR_E_NOENT);
	CU_ASSERT_EQUAL(made("RS256", rsa2, "{\"alg\":\"RS256\"}", claims, &k, "none of the issuer's keys"), WEIR_E_NOENT);
	CU_ASSERT_EQUAL(made("RS256", rsa2, "{\"alg\":\"RS256\",\"kid\":\"r2\"}", claims, &later, NULL), WEIR_OK);
	CU_ASSERT_EQUAL(made("RS256", rsa2, "{\"alg\":\"RS256\",\"kid\":\"r1\"}", claims, &twins, NULL), WEIR_OK);
	CU_ASSERT_EQUAL(made("RS256", rsa1, "{\"alg\":\"RS256\",\"kid\":\"r1\"}", claims, &none, "none of the issuer's keys"), WEIR_E_NOENT);
	CU_ASSERT_EQUAL(made("RS256", rsa1, "{\"alg\":\"RS256\",\"kid\":5}", claims, &k, "no signed token"), WEIR_E_AUTH);
	weir_jwks_clear(&k);
	weir_jwks_clear(&later);
	weir_jwks_clear(&twins);
}

static void
each_claim_is_checked(void)
{
	static const struct { const char *claims, *words; } rows[] = {
	    {"{" CLAIMS ",\"exp\":1799999941}", NULL},			/* 59 s ago: clocks differ */
	    {"{" CLAIMS ",\"exp\":1799999940}", "it has expired 60 s ago"},
	    {"{" CLAIMS ",\"exp\":1800000000.5}", NULL},
	    {"{" CLAIMS "}", "no end (exp)"},
	    {"{" CLAIMS ",\"exp\":\"1900000000\"}", "a date in it is none"},
	    {"{" CLAIMS ",\"exp\":null}", "a date in it is none"},
	    {"{" CLAIMS ",\"exp\":1e300}", "a date in it is none"},
	    {"{" CLAIMS ",\"exp\":-1}", "it has expired"},
	    {"{" CLAIMS ",\"exp\":1900000000,\"nbf\":1800000060}", NULL},
	    {"{" CLAIMS ",\"exp\":1900000000,\"nbf\":1800000061}", "not valid yet"},
	    {"{" CLAIMS ",\"exp\":1900000000,\"nbf\":[]}", "a date in it is none"},
	    {"{" CLAIMS ",\"exp\":1900000000,\"iat\":1800000061}", "not valid yet"},
	    {"{\"iss\":\"https://i/x\",\"aud\":[\"a\",\"weir\"],\"sub\":\"s\",\"exp\":1900000000}", NULL},
	    {"{\"iss\":\"https://i/x\",\"aud\":\"accounts\",\"sub\":\"s\",\"exp\":1900000000}", "another audience"},
	    {"{\"iss\":\"https://i/x\",\"aud\":[],\"sub\":\"s\",\"exp\":1900000000}", "another audience"},
	    {"{\"iss\":\"https://i/x\",\"aud\":[\"account\",5],\"sub\":\"s\",\"exp\":1900000000}", "another audience"},
	    {"{\"iss\":\"https://i/x\",\"sub\":\"s\",\"exp\":1900000000}", "another audience"},
	    {"{\"iss\":\"https://i/x/\",\"aud\":\"account\",\"sub\":\"s\",\"exp\":1900000000}", "issued by 'https://i/x/'"},
	    {"{\"iss\":[\"https://i/x\"],\"aud\":\"account\",\"sub\":\"s\",\"exp\":1900000000}", "issued by 'nobody'"},
	    {"{\"iss\":\"\\u001b[2J\",\"aud\":\"account\",\"sub\":\"s\",\"exp\":1900000000}", "issued by '?[2J'"},
	    {"{\"aud\":\"account\",\"sub\":\"s\",\"exp\":1900000000}", "issued by 'nobody'"},
	    {"{\"iss\":\"https://i/x\",\"aud\":\"account\",\"exp\":1900000000}", "who it is for"},
	    {"{\"iss\":\"https://i/x\",\"aud\":\"account\",\"sub\":\"\",\"exp\":1900000000}", "who it is for"},
	    {"{\"iss\":\"https://i/x\",\"aud\":\"account\",\"sub\":7,\"exp\":1900000000}", "who it is for"},
	    {"{" CLAIMS ",\"exp\":1,\"exp\":1900000000}", "no JSON object"},	/* twice: no one knows which one others read */
	    {"[]", "no JSON object"},
	    {"\"x\"", "no JSON object"},
	    {"not JSON", "no JSON object"},
	    {"{" CLAIMS ",\"exp\":1900000000} ", NULL},
	    {"{" CLAIMS ",\"exp\":1900000000}x", "no JSON object"},
	    {"{" CLAIMS ",\"exp\":1900000000,\"x\":\"\xff\"}", "no JSON object"},
	    {"{" CLAIMS ",\"exp\":1900000000,\"x\":\"\\u0000\"}", "no JSON object"},
	};
	struct weir_jwks k = keys_of_all();

	for (size_t i = 0; i < WEIR_LEN(rows); i++)
		CU_ASSERT_EQUAL(made("RS256", rsa1, "{\"alg\":\"RS256\",\"kid\":\"r1\"}", rows[i].claims, &k, rows[i].words), rows[i].words == NULL ? WEIR_OK : WEIR_E_AUTH);
	weir_jwks_clear(&k);
}

/* Every byte of a good token matters, and so does every bit that base64 does not need. */
static void
a_changed_token_is_refused(void)
{
	struct weir_jwks k = keys_of_all();
	WEIR_AUTO(weir_freep) char *t = good();
	size_t n = strlen(t);

	CU_ASSERT_EQUAL_FATAL(verdict(t, &k, NULL), WEIR_OK);
	for (size_t i = 0; i < n; i++) {
		static const char others[] = {'A', '_', '=', '.', '+', ' ', '\n', 'b', '\x80'};
		char keep = t[i];

		for (size_t j = 0; j < sizeof(others); j++) {
			if (others[j] == keep)
				continue;
			t[i] = others[j];
			CU_ASSERT_NOT_EQUAL(verdict(t, &k, NULL), WEIR_OK);
		}
		t[i] = '\0';	/* cut */
		CU_ASSERT_NOT_EQUAL(verdict(t, &k, NULL), WEIR_OK);
		t[i] = keep;
	}
	for (size_t j = 0; j < 64; j++) {
		static const char b64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
		char keep = t[n - 1];

		t[n - 1] = b64[j];	/* its last bits mean nothing */
		CU_ASSERT_EQUAL(verdict(t, &k, NULL) == WEIR_OK, b64[j] == keep);
		t[n - 1] = keep;
	}
	weir_jwks_clear(&k);
}

static void
what_is_no_token_is_refused(void)
{
	static const char *const rows[] = {"", ".", "..", "...", "....", "a", "a.b", "a.b.c", "e30.e30.", "e30.e30.AA", ".e30.AA", "e30..AA",
	    "eyJhbGciOiJSUzI1NiJ9.e30.AA.BB.CC", "eyJhbGciOiJSUzI1NiJ9.e30", "eyJhbGciOiJSUzI1NiJ9.e30.", "eyJhbGciOiJSUzI1NiJ9..AAAA", "bnVsbA.e30.AAAA",
	    "eyJhbGciOiJSUzI1NiJ9.e30.AAAA\n", "\xff.\xff.\xff"};
	struct weir_jwks k = keys_of_all();
	char *huge = weir_xcalloc(3 * WEIR_JWT_MAX, 1);
	WEIR_AUTO(weir_freep) char *t = good();

	for (size_t i = 0; i < WEIR_LEN(rows); i++)
		CU_ASSERT_NOT_EQUAL(verdict(rows[i], &k, NULL), WEIR_OK);
	memset(huge, 'A', 3 * WEIR_JWT_MAX - 1);
	CU_ASSERT_EQUAL(verdict(huge, &k, "longer than 65536"), WEIR_E_AUTH);
	memcpy(huge, t, strlen(t));
	huge[WEIR_JWT_MAX] = '\0';
	CU_ASSERT_EQUAL(verdict(huge, &k, "no signed token"), WEIR_E_AUTH);	/* a signature that long */
	free(huge);
	weir_jwks_clear(&k);
}

static void
keys_that_are_not_usable_are_left_out(void)
{
	WEIR_AUTO(weir_freep) char *weak = jwk(rsa_weak, "w", ""), *enc = jwk(rsa1, "enc", ",\"use\":\"enc\""), *ops = jwk(rsa1, "ops", ",\"key_ops\":[\"encrypt\"]");
	WEIR_AUTO(weir_freep) char *fine = jwk(rsa1, "fine", ",\"key_ops\":[\"verify\"]"), *text = NULL, *many = NULL;
	static const char odd[] = "{\"kty\":\"oct\",\"k\":\"AAAA\",\"kid\":\"o\"},{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\",\"y\":\"AAAA\"},"
	    "{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"AAAA\",\"y\":\"AAAA\"},{\"kty\":\"OKP\"},{},7,null,"
	    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE\",\"y\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE\"},"
	    "{\"kty\":\"RSA\",\"n\":\"AA\",\"e\":\"AQAB\"},{\"kty\":\"RSA\",\"n\":5,\"e\":\"AQAB\"},{\"kty\":\"RSA\"}";
	struct weir_jwks k = set_of(weak, enc, ops);
	struct weir_buf b = WEIR_BUF(1u << 20);

	CU_ASSERT_EQUAL(k.n, 0);
	weir_jwks_clear(&k);
	k = set_of(odd, fine, NULL);
	CU_ASSERT_EQUAL_FATAL(k.n, 1);
	CU_ASSERT_STRING_EQUAL(k.v[0].kid, "fine");
	weir_jwks_clear(&k);
	for (int i = 0; i < 100; i++)
		weir_buf_addf(&b, "%s%s", i > 0 ? "," : "", fine);
	many = weir_buf_take(&b);
	k = set_of(many, NULL, NULL);
	CU_ASSERT_EQUAL(k.n, WEIR_JWKS_KEYS);
	weir_jwks_clear(&k);
	CU_ASSERT_EQUAL(weir_jwks_parse("[]", 2, &k, NULL), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(weir_jwks_parse("{\"keys\":{}}", 11, &k, NULL), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(weir_jwks_parse("", 0, &k, NULL), WEIR_E_PROTO);
	text = weir_xcalloc(WEIR_JWKS_MAX + 20, 1);
	memset(text, ' ', WEIR_JWKS_MAX + 10);
	memcpy(text, "{\"keys\":[]}", 11);
	CU_ASSERT_EQUAL(weir_jwks_parse(text, WEIR_JWKS_MAX + 10, &k, NULL), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(weir_jwks_parse(text, WEIR_JWKS_MAX, &k, NULL), WEIR_OK);
	weir_jwks_clear(&k);
}

/* A signature of ES256 has 64 bytes; r and s of 0, or longer ones, are none. */
static void
odd_signatures_of_curves_are_refused(void)
{
	struct weir_jwks k = keys_of_all();
	static const char head[] = "{\"alg\":\"ES256\",\"kid\":\"e1\"}", claims[] = "{" CLAIMS ",\"exp\":1900000000}";
	WEIR_AUTO(weir_freep) char *h = weir_base64url(head, strlen(head)), *c = weir_base64url(claims, strlen(claims));
	static const size_t lengths[] = {1, 32, 63, 64, 65, 70, 72, 128, 1024, 1025};

	for (size_t i = 0; i < WEIR_LEN(lengths); i++) {
		WEIR_AUTO(weir_freep) unsigned char *zero = weir_xcalloc(lengths[i], 1);
		WEIR_AUTO(weir_freep) char *s = weir_base64url(zero, lengths[i]), *t = weir_xasprintf("%s.%s.%s", h, c, s);

		CU_ASSERT_EQUAL(verdict(t, &k, NULL), WEIR_E_AUTH);
	}
	weir_jwks_clear(&k);
}

int
main(void)
{
	CU_pSuite s;
	unsigned failed;

	rsa1 = EVP_RSA_gen(2048);
	rsa2 = EVP_RSA_gen(2048);
	rsa_weak = EVP_RSA_gen(1024);
	ec1 = EVP_EC_gen("P-256");
	if (rsa1 == NULL || rsa2 == NULL || rsa_weak == NULL || ec1 == NULL || CU_initialize_registry() != CUE_SUCCESS)
		return 99;
	s = CU_add_suite("jwt", NULL, NULL);
	CU_ADD_TEST(s, three_kinds_of_signature_are_accepted);
	CU_ADD_TEST(s, no_signature_and_shared_secrets_are_refused);
	CU_ADD_TEST(s, keys_come_from_the_issuer_alone);
	CU_ADD_TEST(s, each_claim_is_checked);
	CU_ADD_TEST(s, a_changed_token_is_refused);
	CU_ADD_TEST(s, what_is_no_token_is_refused);
	CU_ADD_TEST(s, keys_that_are_not_usable_are_left_out);
	CU_ADD_TEST(s, odd_signatures_of_curves_are_refused);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	EVP_PKEY_free(rsa1);
	EVP_PKEY_free(rsa2);
	EVP_PKEY_free(rsa_weak);
	EVP_PKEY_free(ec1);
	return failed != 0;
}
