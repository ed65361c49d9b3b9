/* SPDX-License-Identifier: Apache-2.0 */
/* Signed tokens (JWS compact: RFC 7515, JWT: RFC 7519, best practice: RFC 8725) against a set of public keys (JWK: RFC 7517). Everything here comes from
 * outside and is judged; no network, no clock, no files.
 *
 * Signatures: RS256, PS256 (RSA of 2048 to 8192 bits), ES256 (P-256). Which of them a key verifies follows from the key's type, never from the token alone;
 * "none" and the symmetric ones do not exist here. Keys that a token brings along (jwk, jku, x5c, x5u) are not looked at. */
#ifndef WEIR_JWT_H
#define WEIR_JWT_H
#include <jansson.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../src/util/err.h"

#define WEIR_JWT_MAX (64u << 10)	/* bytes of a token; some have hundreds of roles */
#define WEIR_JWKS_MAX (256u << 10)	/* bytes of a key set */
#define WEIR_JWKS_KEYS 64

struct weir_jwk {
	char *kid, *alg;		/* NULL: not told */
	EVP_PKEY *key;
	bool is_ec;			/* P-256, else RSA */
};
struct weir_jwks {
	struct weir_jwk *v;
	size_t n;
};
/* Keys that cannot be used here (other types, encryption, weak) are left out. PROTO: this is no key set. */
enum weir_code weir_jwks_parse(const char *json, size_t len, struct weir_jwks *out, struct weir_err *);
void weir_jwks_clear(struct weir_jwks *);

struct weir_jwt_wants {
	const char *issuer;		/* "iss" is exactly this */
	char *const *audiences;		/* "aud" is or contains one of these; NULL-terminated, at least one */
	int64_t now_s, skew_s;		/* clocks may differ by so much: exp, nbf, iat */
};
/* WEIR_OK and the claims (owned): the signature is good and every claim holds; exp and sub are required. AUTH: refused, the sentence says why and
 * holds nothing of the token but what its issuer signed. NOENT: none of these keys is the one it names (or, when it names none, fits): newer keys may help. */
enum weir_code weir_jwt_verify(const char *token, const struct weir_jwks *, const struct weir_jwt_wants *, json_t **claims, struct weir_err *);

#endif
