/* SPDX-License-Identifier: Apache-2.0 */
/* Signature Version 4 against Amazon's published examples and four more (A-D) that two independent signers agree on. */
#include "config.h"

#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "backends/s3_sign.h"
#include "src/util/text.h"
#include "src/util/util.h"

#define WHEN 1369353600		/* 2013-05-24T00:00:00Z */
#define HOST "Host: examplebucket.s3.amazonaws.com"
#define DATE "X-Amz-Date: 20130524T000000Z"
#define EMPTY "x-amz-content-sha256: " WEIR_S3_EMPTY_SHA256
#define S3TEST "host: s3.example.test"

static char access_key[] = "AKIAIOSFODNN7EXAMPLE", secret_key[] = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
static const struct weir_s3_creds creds = { access_key, secret_key, NULL };

struct vector {
	const char *method, *path, *query, *payload;
	const char *canonical;		/* sha256 of the canonical request; NULL: not published */
	const char *signature;
	const char *headers[8];
};

static const struct vector vectors[] = {
	{ "GET", "/test.txt", "", WEIR_S3_EMPTY_SHA256, "7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972",
	  "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41", { HOST, "Range: bytes=0-9", EMPTY, DATE } },
	{ "PUT", "/test%24file.text", "", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072", NULL,
	  "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
	  { "Date: Fri, 24 May 2013 00:00:00 GMT", HOST, DATE, "x-amz-storage-class: REDUCED_REDUNDANCY",
	    "x-amz-content-sha256: 44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072" } },
	{ "GET", "/", "lifecycle=", WEIR_S3_EMPTY_SHA256, NULL, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
	  { HOST, EMPTY, DATE } },
	{ "GET", "/", "max-keys=2&prefix=J", WEIR_S3_EMPTY_SHA256, NULL,
	  "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7", { HOST, EMPTY, DATE } },
	/* A */
	{ "PUT", "/bkt/dir%20one/caf%C3%A9%2Bx%3D1%26~.txt", "", WEIR_S3_UNSIGNED,
	  "ac82ae00e92ddd9203d6fd9a04ea11c959d135134d32b408772e6dfa21332b83",
	  "aadfe071e3cdea753964207e3d32881aa35cef690bb37bdd13ba5e3c22515681",
	  { S3TEST, "x-amz-content-sha256: UNSIGNED-PAYLOAD", "Content-Type:   text/plain ", "x-amz-meta-mtime: 1700000000.5",
	    "x-amz-security-token: TOKEN/with+chars==", DATE } },
	/* B */
	{ "GET", "/bkt", "continuation-token=a%2Bb%2F%3D&delimiter=%2F&encoding-type=url&list-type=2&max-keys=1000&prefix=dir%20one%2F",
	  WEIR_S3_EMPTY_SHA256, "84ff8a2508f3a1f1041045b4ccf8f734eb20b57412fa3c4b662c609bbd27b9fd",
	  "c0f802a62e86d92cf00d8b7e933b37ff230b1b2f5b91a14b7e64d87c83ec432a", { S3TEST, EMPTY, DATE } },
	/* C */
	{ "GET", "/bkt/a%2A%28b%29%21%27.txt", "", WEIR_S3_EMPTY_SHA256,
	  "bcc5e5979dc154d9a4bcacb4ffe5051c0ff1a81484785baddeb231204349e0d4",
	  "39fc06e6e9c85d1779648d24552b1273defbabd22b50e545395448e5b2b72b99", { "Host: 127.0.0.1:9000", "range: bytes=0-9", EMPTY, DATE } },
	/* D */
	{ "POST", "/bkt/k", "uploads=", WEIR_S3_EMPTY_SHA256, "f82bbb3a4130c28a238018944fabc31b46bb3b430d9da7da4cdee5b87cad9466",
	  "a888e3577caeb130ba77b8f65edacf53ae46d731f4bdaa778519e23049aaabd6", { S3TEST, EMPTY, DATE } },
};

static struct weir_s3_sign
request(const struct vector *v)
{
	struct weir_s3_sign s = { v->method, v->path, v->query, v->headers, 0, v->payload, "us-east-1", WHEN };

	while (s.nheaders < WEIR_LEN(v->headers) && v->headers[s.nheaders] != NULL)
		s.nheaders++;
	return s;
}

static void
canonical_requests_hash_as_published(void)
{
	for (size_t i = 0; i < WEIR_LEN(vectors); i++) {
		struct weir_s3_sign s = request(&vectors[i]);
		struct weir_buf b = WEIR_BUF(1u << 16);
		unsigned char hash[WEIR_SHA256_LEN];
		char hex[2 * WEIR_SHA256_LEN + 1];

		CU_ASSERT_EQUAL(weir_s3_canonical(&s, &b), 0);
		weir_sha256(b.data, b.len, hash);
		weir_hex(hash, sizeof(hash), hex);
		if (vectors[i].canonical != NULL)
			CU_ASSERT_STRING_EQUAL(hex, vectors[i].canonical);
		weir_buf_free(&b);
	}
}

static void
signatures_are_as_published(void)
{
	for (size_t i = 0; i < WEIR_LEN(vectors); i++) {
		struct weir_s3_sign s = request(&vectors[i]);
		struct weir_buf b = WEIR_BUF(1u << 16);
		const char *signature;

		CU_ASSERT_EQUAL_FATAL(weir_s3_authorization(&s, &creds, &b), 0);
		CU_ASSERT_PTR_NOT_NULL(strstr(b.data, "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "));
		signature = strstr(b.data, "Signature=");
		CU_ASSERT_PTR_NOT_NULL_FATAL(signature);
		CU_ASSERT_STRING_EQUAL(signature + 10, vectors[i].signature);
		weir_buf_free(&b);
	}
}

static void
the_list_of_signed_headers_is_sorted(void)
{
	struct weir_s3_sign s = request(&vectors[4]);
	struct weir_buf b = WEIR_BUF(1u << 16);

	CU_ASSERT_EQUAL_FATAL(weir_s3_authorization(&s, &creds, &b), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(b.data,
	    " SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-meta-mtime;x-amz-security-token,"));
	weir_buf_free(&b);
}

static void
repeated_headers_and_blanks_are_joined(void)
{
	const char *headers[] = { "x-b:  two   words\t here ", "X-A: 1", "x-a:2" };
	struct weir_s3_sign s = { "GET", "/", "", headers, 3, WEIR_S3_UNSIGNED, "us-east-1", WHEN };
	struct weir_buf b = WEIR_BUF(1u << 16);

	CU_ASSERT_EQUAL_FATAL(weir_s3_canonical(&s, &b), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(b.data, "\nx-b:two words here\n\n"));
	CU_ASSERT_TRUE(strstr(b.data, "\nx-a:1,2\n") != NULL || strstr(b.data, "\nx-a:2,1\n") != NULL);
	CU_ASSERT_PTR_NOT_NULL(strstr(b.data, "\nx-a;x-b\nUNSIGNED-PAYLOAD"));
	weir_buf_free(&b);
}

static void
a_header_without_a_colon_is_refused(void)
{
	const char *headers[] = { "no colon here" };
	struct weir_s3_sign s = { "GET", "/", "", headers, 1, WEIR_S3_UNSIGNED, "us-east-1", WHEN };
	struct weir_buf b = WEIR_BUF(1u << 16);

	CU_ASSERT_EQUAL(weir_s3_canonical(&s, &b), -1);
	weir_buf_free(&b);
}

static void
a_presigned_address_is_as_published(void)
{
	const char *headers[] = { "host: examplebucket.s3.amazonaws.com" };
	struct weir_s3_sign s = { "GET", "/test.txt", "", headers, 1, NULL, "us-east-1", WHEN };
	struct weir_buf b = WEIR_BUF(1u << 16);

	CU_ASSERT_EQUAL_FATAL(weir_s3_presign(&s, &creds, 86400, &b), 0);
	CU_ASSERT_STRING_EQUAL(b.data, "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2F"
	    "aws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature="
	    "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
	weir_buf_free(&b);
}

static void
creds_are_copied_and_freed(void)
{
	struct weir_s3_creds a = { 0 }, b = { 0 };

	weir_s3_creds_copy(&a, &creds);
	CU_ASSERT_STRING_EQUAL(a.secret_key, secret_key);
	CU_ASSERT_PTR_NULL(a.session_token);
	weir_s3_creds_free(&a);
	CU_ASSERT_PTR_NULL(a.secret_key);
	weir_s3_creds_free(&b);
}

int
main(void)
{
	CU_pSuite suite;
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite("s3 signatures", NULL, NULL);
	CU_ADD_TEST(suite, canonical_requests_hash_as_published);
	CU_ADD_TEST(suite, signatures_are_as_published);
	CU_ADD_TEST(suite, the_list_of_signed_headers_is_sorted);
	CU_ADD_TEST(suite, repeated_headers_and_blanks_are_joined);
	CU_ADD_TEST(suite, a_header_without_a_colon_is_refused);
	CU_ADD_TEST(suite, a_presigned_address_is_as_published);
	CU_ADD_TEST(suite, creds_are_copied_and_freed);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed > 0;
}
