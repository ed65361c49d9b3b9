/* SPDX-License-Identifier: Apache-2.0 */
/* AWS Signature Version 4 for S3: pure functions over one request. Knows no network and no configuration. */
#ifndef WEIR_S3_SIGN_H
#define WEIR_S3_SIGN_H
#include "../src/util/buf.h"
#include <time.h>

struct weir_s3_creds { char *access_key, *secret_key, *session_token; };	/* token NULL: none */
void weir_s3_creds_free(struct weir_s3_creds *);	/* zeroes the strings first */
void weir_s3_creds_copy(struct weir_s3_creds *to, const struct weir_s3_creds *from);

#define WEIR_S3_UNSIGNED "UNSIGNED-PAYLOAD"
#define WEIR_S3_EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

struct weir_s3_sign {
	const char *method;
	const char *path;		/* as on the wire: encoded once, "/" at least */
	const char *query;		/* as on the wire and canonical: encoded, sorted, every name with "="; "" when none */
	const char *const *headers;	/* "Name: value", all that are to be signed, host among them; any order */
	size_t nheaders;
	const char *payload_hash;	/* value of x-amz-content-sha256 */
	const char *region;
	time_t when;
};
void weir_s3_date(time_t, char out[17]);		/* "20130524T000000Z" */
/* Canonical request, for tests too. 0 or -1 (no room). */
int weir_s3_canonical(const struct weir_s3_sign *, struct weir_buf *out);
/* Value of the Authorization header. 0 or -1. */
int weir_s3_authorization(const struct weir_s3_sign *, const struct weir_s3_creds *, struct weir_buf *out);
/* Query string of a presigned request: what s->query holds plus the signature. Only the host is signed. 0 or -1. */
int weir_s3_presign(const struct weir_s3_sign *, const struct weir_s3_creds *, unsigned expires_s, struct weir_buf *out);

#endif
