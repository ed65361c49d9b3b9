/* SPDX-License-Identifier: Apache-2.0 */
/* What comes from outside to decide about levels, fed with anything: key sets, tokens, entitlements, claims, the log of grants. With clang: -fsanitize=fuzzer and
 * -DWEIR_LIBFUZZER. Without, main() runs the files named on its command line, then a fixed number of mutations of a few seeds: the same ones in every run. */
#include "config.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../launcher/access/claims.h"
#include "../../launcher/access/jwt.h"
#include "util/text.h"
#include "util/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Two keys, so that a token with such a header comes as far as its signature. */
static const char own_keys[] =
    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"e\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},"
    "{\"kty\":\"RSA\",\"kid\":\"r\",\"e\":\"AQAB\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1"
    "W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxX"
    "FvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\"}]}";

/* Signed ones cannot come from mutation: nothing may be accepted. */
static void
try_token(const char *text)
{
	static char audience[] = "account";
	char *audiences[] = {audience, NULL};
	struct weir_jwt_wants wants = {.issuer = "https://i", .audiences = audiences, .now_s = 1800000000, .skew_s = 60};
	struct weir_jwks keys = {0};
	struct weir_err err = {0};
	json_t *claims = NULL;

	if (weir_jwks_parse(own_keys, strlen(own_keys), &keys, NULL) != WEIR_OK || keys.n != 2)
		abort();
	if (weir_jwt_verify(text, &keys, &wants, &claims, &err) == WEIR_OK || claims != NULL || err.msg[0] == '\0')
		abort();
	weir_jwks_clear(&keys);
}

static void
try_claims(const char *text, size_t size)
{
	struct weir_conf *conf = NULL;
	struct weir_access_policy p = {0};
	struct weir_access_standing s = {0};
	static const struct weir_access_place nowhere[] = {{NULL, false}};
	static const char policy[] = "[access]\nissuer = https://i\naudience = a\n[project v]\nrole = x\nentitlement = urn:a:b:group:c\nlevel = full\n";
	json_t *o = json_loadb(text, size, 0, NULL);

	if (o != NULL && weir_conf_parse("f", policy, strlen(policy), NULL, 0, &conf, NULL) == WEIR_OK &&
	    weir_policy_load(nowhere, conf, &p, NULL) == WEIR_OK)
		weir_claims_levels(&p, o, &s);
	weir_standing_clear(&s);
	weir_policy_clear(&p);
	weir_conf_free(conf);
	json_decref(o);
}

static void
try_log(const uint8_t *data, size_t size)
{
	struct weir_grant_log log = {0};
	char path[64];
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fd >= 0 && weir_pwrite_full(fd, data, size, 0) == 0 && weir_grant_log_read(path, &log, NULL) == WEIR_OK)
		weir_grant_log_clear(&log);
	if (fd >= 0)
		close(fd);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = weir_xcalloc(size + 1, 1);
	struct weir_jwks keys = {0};

	if (size > 0)
		memcpy(text, data, size);
	try_token(text);
	if (weir_jwks_parse(text, size, &keys, NULL) == WEIR_OK)
		weir_jwks_clear(&keys);
	weir_entitlement_covers(text, text);
	weir_entitlement_covers("urn:a:b:group:c:role=x#y", text);
	try_claims(text, size);
	try_log(data, size);
	free(text);
	return 0;
}

#ifndef WEIR_LIBFUZZER
#define ROUNDS 20000

static const char *const seeds[] = {
    own_keys,
    /* headers {"alg":"ES256","kid":"e"} and {"alg":"RS256","kid":"r"}, claims {"iss":"https://i","aud":"account","sub":"s","exp":1900000000} */
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImUifQ.eyJpc3MiOiJodHRwczovL2kiLCJhdWQiOiJhY2NvdW50Iiwic3ViIjoicyIsImV4cCI6MTkwMDAwMDAwMH0."
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "eyJhbGciOiJSUzI1NiIsImtpZCI6InIifQ.eyJpc3MiOiJodHRwczovL2kiLCJhdWQiOiJhY2NvdW50Iiwic3ViIjoicyIsImV4cCI6MTkwMDAwMDAwMH0.AAAA",
    "urn:a:b:group:c:d:role=x#y", "{\"realm_access\":{\"roles\":[\"access:v:full\",\"x\"]},\"eduperson_entitlement\":[\"urn:a:b:group:c#d\"]}",
    "{\"at\":\"2026-11-23T02:13:59Z\",\"what\":\"grant\",\"user\":\"nobody\",\"by\":\"root\",\"by_uid\":0,\"host\":\"vm\",\"level\":\"full\",\"until\":\"2026-12-23T02:13:59Z\","
    "\"reason\":\"ok\",\"hash\":\"347fe92a6c06d93b96c629c4f415e53c46829e3ad80c7feffae367a69756cfc4\"}\n{\"x\"\n",
};

static uint64_t state = 88172645463325252u;

static size_t
below(size_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return n > 0 ? (size_t)(state % n) : 0;
}

/* A few of: put in a byte, cut, double, put in a word of the grammars. */
static size_t
mutate(uint8_t *b, size_t n, size_t max)
{
	static const char *const words[] = {".", "=", "\"", "{", "}", "[", ":", ",", "group", "role=", "#", "%", "%00", "eyJhbGciOiJub25lIn0", "AAAA", "\n", "\"hash\":\"", "null",
	    "1e999", "\\u0000"};

	for (size_t times = below(6); times > 0; times--) {
		const char *w = words[below(WEIR_LEN(words))];
		size_t at = below(n + 1), len = 1 + below(16);

		switch (below(4)) {
		case 0:
			if (at < n)
				b[at] = (uint8_t)below(256);
			break;
		case 1:
			len = strlen(w);
			if (n + len <= max) {
				memmove(b + at + len, b + at, n - at);
				memcpy(b + at, w, len);
				n += len;
			}
			break;
		case 2:
			len = len < n - at ? len : n - at;
			memmove(b + at, b + at + len, n - at - len);
			n -= len;
			break;
		default:
			len = len < n - at ? len : n - at;
			if (n + len <= max) {
				memmove(b + at + len, b + at, n - at);
				n += len;
			}
		}
	}
	return n;
}

int
main(int argc, char **argv)
{
	uint8_t b[4096];

	for (int i = 1; i < argc; i++) {
		char *text = NULL;
		size_t len = 0;

		if (weir_read_file(argv[i], 16 << 20, &text, &len) < 0) {
			perror(argv[i]);
			return 1;
		}
		LLVMFuzzerTestOneInput((const uint8_t *)text, len);
		free(text);
	}
	for (int i = 0; i < ROUNDS; i++) {
		const char *seed = seeds[below(WEIR_LEN(seeds))];
		size_t n = strlen(seed);

		memcpy(b, seed, n);
		LLVMFuzzerTestOneInput(b, mutate(b, n, sizeof(b)));
	}
	printf("%d inputs\n", ROUNDS);
	return 0;
}
#endif
