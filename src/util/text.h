/* SPDX-License-Identifier: Apache-2.0 */
/* Encodings, hashes, sizes, dates, paths: pure functions, thread-safe. */
#ifndef WEIR_TEXT_H
#define WEIR_TEXT_H
#include "buf.h"
#include "err.h"
#include <stdint.h>
#include <sys/types.h>

/* Percent-encoding, RFC 3986: keeps A-Z a-z 0-9 - . _ ~ and the bytes of `keep` ("/" or ""); %XX in upper case. */
int weir_url_encode(struct weir_buf *, const char *s, size_t len, const char *keep);
/* In place; returns the new length. plus_is_space for form data. "%00" and bad escapes are left as they are. */
size_t weir_url_decode(char *s, bool plus_is_space);
/* XML text escaping of & < > " and ' . */
int weir_xml_escape(struct weir_buf *, const char *s);

#define WEIR_SHA256_LEN 32
#define WEIR_MD5_LEN 16
void weir_sha256(const void *, size_t, unsigned char out[WEIR_SHA256_LEN]);
void weir_md5(const void *, size_t, unsigned char out[WEIR_MD5_LEN]);
void weir_hmac_sha256(const void *key, size_t keylen, const void *data, size_t len, unsigned char out[WEIR_SHA256_LEN]);
/* Running digest over pieces (OpenSSL EVP behind it). kind: "md5", "sha1", "sha256". */
struct weir_digest;
struct weir_digest *weir_digest_new(const char *kind);	/* NULL: unknown kind */
void weir_digest_add(struct weir_digest *, const void *, size_t);
size_t weir_digest_end(struct weir_digest *, unsigned char out[64]);	/* length; frees the digest */
void weir_digest_free(struct weir_digest *);		/* NULL is fine */

void weir_hex(const unsigned char *in, size_t n, char *out /* 2n+1 */);
int weir_unhex(const char *hex, size_t n, unsigned char *out /* n/2 */);	/* 0 or -1 */
size_t weir_base64_len(size_t n);			/* with the NUL */
void weir_base64(const void *in, size_t n, char *out);
char *weir_base64url(const void *in, size_t n);		/* with - and _, without padding (RFC 4648 section 5); owned */
ssize_t weir_unbase64(const char *in, unsigned char *out, size_t max);	/* bytes or -1 */

/* "200GiB", "2TB", "500", "1.5 MB": kB MB GB TB PB are powers of 1000, KiB … PiB of 1024. 0 or -1. */
int weir_size_parse(const char *, uint64_t *bytes);
/* "1.50 GB" for people (powers of 1000); out has room for 16. Returns out. */
char *weir_size_text(uint64_t bytes, char out[16]);
/* "30", "30s", "5min", "1h", "250ms" -> milliseconds. 0 or -1. */
int weir_duration_parse(const char *, int64_t *ms);

/* RFC 1123 / RFC 850 / asctime ("Wed, 20 Jul 2022 05:12:23 GMT") and ISO 8601 ("2026-01-02T03:04:05.678Z"): ns since
 * 1970; INT64_MIN when not a date. */
int64_t weir_date_parse(const char *);
void weir_date_rfc1123(int64_t seconds, char out[32]);

/* Expand a leading ~ and $NAME or ${NAME}; owned string, or NULL with err set (unknown variable). */
char *weir_path_expand(const char *, struct weir_err *);
/* a + "/" + b without doubling; "" + b = b. Owned. */
char *weir_path_join(const char *a, const char *b);

#endif
