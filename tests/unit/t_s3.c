/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of the S3 backend: names, listings, errors, metadata, AWS profiles, ETags of uploads. */
#include "config.h"

#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "backends/s3_impl.h"

#define Q "\xE2\x80\x9B"	/* U+201B, rclone's quote */

/* ---- names ---- */

static const struct { const char *path, *key; } same[] = {
	{ "a/b c/d+e", "a/b c/d+e" },
	{ "caf\xC3\xA9", "caf\xC3\xA9" },
	{ "\xEF\xBC\x8F", "\xEF\xBC\x8F" },		/* full-width slash and dot: rclone between Linux and S3 keeps them */
	{ "\xEF\xBC\x8E\xEF\xBC\x8E", "\xEF\xBC\x8E\xEF\xBC\x8E" },
	{ "new\nline\x01", "new\nline\x01" },
	{ "\xFF", Q "FF" },
	{ "a\xC3" "b", "a" Q "C3b" },
	{ "\xED\xA0\x80", Q "ED" Q "A0" Q "80" },	/* a surrogate is no UTF-8 */
	{ Q " alone", Q " alone" },
	{ Q Q "FF", Q Q "FF" },
};

static void
paths_become_keys_and_come_back(void)
{
	for (size_t i = 0; i < WEIR_LEN(same); i++) {
		struct weir_buf b = WEIR_BUF(8192);
		char *name;

		CU_ASSERT_EQUAL(weir_s3_key_of_path(&b, same[i].path, NULL), WEIR_OK);
		CU_ASSERT_STRING_EQUAL(weir_buf_str(&b), same[i].key);
		if (strchr(same[i].path, '/') == NULL) {
			name = weir_s3_name_of_part(same[i].key, strlen(same[i].key));
			CU_ASSERT_PTR_NOT_NULL_FATAL(name);
			CU_ASSERT_STRING_EQUAL(name, same[i].path);
			free(name);
		}
		weir_buf_free(&b);
	}
}

static void
paths_that_would_not_come_back_are_refused(void)
{
	static const char *const bad[] = { ".", "..", "a/../b", "a//b", "/a", "a/", Q "FF", "x" Q "80", Q "\xFF" };

	for (size_t i = 0; i < WEIR_LEN(bad); i++) {
		struct weir_buf b = WEIR_BUF(8192);

		CU_ASSERT_EQUAL(weir_s3_key_of_path(&b, bad[i], NULL), WEIR_E_NAME);
		weir_buf_free(&b);
	}
}

static void
long_names_are_refused(void)
{
	char name[1100];
	struct weir_buf b = WEIR_BUF(16384);

	memset(name, 'x', sizeof(name));
	name[256] = '\0';
	CU_ASSERT_EQUAL(weir_s3_key_of_path(&b, name, NULL), WEIR_E_NAMETOOLONG);
	name[256] = 'x';
	for (size_t i = 200; i < sizeof(name); i += 200)
		name[i] = '/';
	name[sizeof(name) - 1] = '\0';
	weir_buf_reset(&b);
	CU_ASSERT_EQUAL(weir_s3_key_of_path(&b, name, NULL), WEIR_E_NAMETOOLONG);
	weir_buf_free(&b);
}

static void
keys_that_cannot_be_names_are_not_shown(void)
{
	static const char *const bad[] = { "", ".", "..", Q "C3" Q "A9" /* would be é */, Q "\xFF" };
	char longest[300];

	for (size_t i = 0; i < WEIR_LEN(bad); i++)
		CU_ASSERT_PTR_NULL(weir_s3_name_of_part(bad[i], strlen(bad[i])));
	memset(longest, 'x', sizeof(longest));
	CU_ASSERT_PTR_NULL(weir_s3_name_of_part(longest, 256));
}

/* ---- XML ---- */

#define HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"
#define NS " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""

/* Fed whole, and byte by byte. */
static int
page_of(const char *xml, size_t step, struct weir_s3_page *p)
{
	size_t len = strlen(xml);

	weir_s3_page_begin(p);
	for (size_t i = 0; i < len; i += step)
		weir_s3_page_feed(p, xml + i, len - i < step ? len - i : step);
	return weir_s3_page_end(p);
}

static void
a_page_is_read_in_any_pieces(void)
{
	static const char xml[] = HEAD "<ListBucketResult" NS "><Name>b</Name><Prefix>dir/</Prefix><EncodingType>url</EncodingType>"
		"<IsTruncated>true</IsTruncated><NextContinuationToken>a&#x1;b+/=</NextContinuationToken>"
		"<Contents><Key>dir%2Fa%20b%2Bc+d</Key><LastModified>2026-01-02T03:04:05.678Z</LastModified>"
		"<ETag>&quot;5d41402abc4b2a76b9719d911017c592&quot;</ETag><Size>5</Size></Contents>"
		"<CommonPrefixes><Prefix>dir/sub%0A/</Prefix></CommonPrefixes>"
		"<Contents><Key>dir/</Key><Size>0</Size><Owner><ID>x</ID></Owner></Contents></ListBucketResult>";
	static const size_t steps[] = { sizeof(xml), 1, 7 };

	for (size_t i = 0; i < WEIR_LEN(steps); i++) {
		struct weir_s3_page p;

		CU_ASSERT_EQUAL_FATAL(page_of(xml, steps[i], &p), 0);
		CU_ASSERT_EQUAL_FATAL(p.n, 3);
		CU_ASSERT_STRING_EQUAL(p.v[0].key, "dir/");
		CU_ASSERT_STRING_EQUAL(p.v[1].key, "dir/a b+c d");
		CU_ASSERT_STRING_EQUAL(p.v[1].etag, "5d41402abc4b2a76b9719d911017c592");
		CU_ASSERT_EQUAL(p.v[1].size, 5);
		CU_ASSERT_EQUAL(p.v[1].mtime_ns, 1767323045678000000);
		CU_ASSERT_FALSE(p.v[1].is_prefix);
		CU_ASSERT_STRING_EQUAL(p.v[2].key, "dir/sub\n/");
		CU_ASSERT_TRUE(p.v[2].is_prefix);
		CU_ASSERT_TRUE(p.is_truncated);
		CU_ASSERT_STRING_EQUAL(p.token, "a\001b+/=");
		weir_s3_page_free(&p);
	}
}

static void
without_encoding_keys_stay_as_they_are(void)
{
	struct weir_s3_page p;

	CU_ASSERT_EQUAL(page_of("<ListBucketResult><Marker></Marker><Contents><Key>a+b%20</Key></Contents></ListBucketResult>", 5, &p), 0);
	CU_ASSERT_EQUAL_FATAL(p.n, 1);
	CU_ASSERT_STRING_EQUAL(p.v[0].key, "a+b%20");
	CU_ASSERT_TRUE(p.is_v1);
	weir_s3_page_free(&p);
}

static void
what_is_no_listing_is_refused(void)
{
	static const char *const bad[] = { "", "hello", "<html><body/></html>", "<ListBucketResult><Contents>",
		HEAD "<!DOCTYPE x [<!ENTITY a \"b\">]><ListBucketResult></ListBucketResult>",
		"<a><a><a><a><a><a><a><a><a><a><a><a><a></a></a></a></a></a></a></a></a></a></a></a></a></a>" };

	for (size_t i = 0; i < WEIR_LEN(bad); i++) {
		struct weir_s3_page p;

		CU_ASSERT_EQUAL(page_of(bad[i], 3, &p), -1);
		weir_s3_page_free(&p);
	}
}

static void
an_error_gives_its_code_even_late(void)
{
	static const char xml[] = "   \n  " HEAD "<Error><Code>SlowDown</Code><Message>Please &lt;wait&gt;</Message><Region>eu-west-1</Region></Error>";
	struct weir_s3_answer a;

	CU_ASSERT_EQUAL(weir_s3_answer_parse(xml, strlen(xml), &a), 0);
	CU_ASSERT_STRING_EQUAL(a.root, "Error");
	CU_ASSERT_STRING_EQUAL(a.code, "SlowDown");
	CU_ASSERT_STRING_EQUAL(a.message, "Please <wait>");
	CU_ASSERT_STRING_EQUAL(a.region, "eu-west-1");
	CU_ASSERT_EQUAL(weir_s3_answer_parse("", 0, &a), -1);
	CU_ASSERT_STRING_EQUAL(a.code, "");
	CU_ASSERT_EQUAL(weir_s3_answer_parse("<Error><Code>x", 14, &a), -1);
	CU_ASSERT_STRING_EQUAL(a.code, "");
}

static void
parts_are_read(void)
{
	static const char xml[] = HEAD "<ListPartsResult" NS "><IsTruncated>true</IsTruncated><NextPartNumberMarker>7</NextPartNumberMarker>"
		"<Part><PartNumber>3</PartNumber><ETag>&quot;abc&quot;</ETag><Size>5242880</Size></Part></ListPartsResult>";
	struct weir_s3_parts p;

	CU_ASSERT_EQUAL(weir_s3_parts_parse(xml, strlen(xml), &p), 0);
	CU_ASSERT_EQUAL_FATAL(p.n, 1);
	CU_ASSERT_EQUAL(p.v[0].number, 3);
	CU_ASSERT_EQUAL(p.v[0].size, 5242880);
	CU_ASSERT_STRING_EQUAL(p.v[0].etag, "abc");
	CU_ASSERT_TRUE(p.is_truncated);
	CU_ASSERT_EQUAL(p.next, 7);
	free(p.v);
}

/* ---- metadata ---- */

static void
times_are_rclones_decimal_seconds(void)
{
	CU_ASSERT_EQUAL(weir_s3_mtime_parse("1700000000.123456789"), 1700000000123456789);
	CU_ASSERT_EQUAL(weir_s3_mtime_parse("1700000000.5"), 1700000000500000000);
	CU_ASSERT_EQUAL(weir_s3_mtime_parse("1700000000"), 1700000000000000000);
	CU_ASSERT_EQUAL(weir_s3_mtime_parse("-1.25"), -1250000000);
	CU_ASSERT_EQUAL(weir_s3_mtime_parse("1.1234567891"), 1123456789);
	CU_ASSERT_EQUAL(weir_s3_mtime_parse(""), WEIR_TIME_NONE);
	CU_ASSERT_EQUAL(weir_s3_mtime_parse("yesterday"), WEIR_TIME_NONE);
	CU_ASSERT_EQUAL(weir_s3_mtime_parse("99999999999999999999"), WEIR_TIME_NONE);
}

static void
modes_are_rclones_octal_or_s3fs_decimal(void)
{
	CU_ASSERT_EQUAL(weir_s3_mode_parse("100644", false), 0644);
	CU_ASSERT_EQUAL(weir_s3_mode_parse("104755", false), 04755);
	CU_ASSERT_EQUAL(weir_s3_mode_parse("33188", false), 0644);
	CU_ASSERT_EQUAL(weir_s3_mode_parse("33261", false), 0755);
	CU_ASSERT_EQUAL(weir_s3_mode_parse("0755", false), 0755);
	CU_ASSERT_EQUAL(weir_s3_mode_parse("493", true), 0755);
	CU_ASSERT_EQUAL(weir_s3_mode_parse("40755", true), 0755);
	CU_ASSERT_EQUAL(weir_s3_mode_parse("16877", true), 0755);
	CU_ASSERT_EQUAL(weir_s3_mode_parse("41471", false), WEIR_MODE_NONE);	/* a link of s3fs */
	CU_ASSERT_EQUAL(weir_s3_mode_parse("rw-r--r--", false), WEIR_MODE_NONE);
	CU_ASSERT_EQUAL(weir_s3_mode_parse("", false), WEIR_MODE_NONE);
}

static bool
has(const struct s3_headers *h, const char *line)
{
	for (size_t i = 0; i < h->n; i++)
		if (strcmp(h->v[i], line) == 0)
			return true;
	return false;
}

static void
metadata_goes_out_as_others_read_it(void)
{
	struct s3 s = { 0 };
	struct s3_headers h = { 0 };
	const struct weir_meta meta = { 1700000000120000000, 0640 }, before = { -1250000000, WEIR_MODE_NONE };

	weir_s3_meta_headers(&s, &h, &meta, false);
	CU_ASSERT_TRUE(has(&h, "x-amz-meta-mtime: 1700000000.12"));
	CU_ASSERT_TRUE(has(&h, "x-amz-meta-mode: 100640"));
	weir_s3_headers_free(&h);
	weir_s3_meta_headers(&s, &h, &meta, true);
	CU_ASSERT_TRUE(has(&h, "Content-Type: application/x-directory"));
	CU_ASSERT_TRUE(has(&h, "x-amz-meta-mode: 16800"));
	weir_s3_headers_free(&h);
	weir_s3_meta_headers(&s, &h, &before, false);
	CU_ASSERT_TRUE(has(&h, "x-amz-meta-mtime: -1.25"));
	weir_s3_headers_free(&h);
}

static void
a_copy_sends_again_what_it_would_lose(void)
{
	struct s3 s = { 0 };
	struct s3_headers h = { 0 };
	struct weir_http_resp head = { .raw_headers = WEIR_BUF(4096) };
	const struct weir_meta meta = { 5000000000, WEIR_MODE_NONE };

	weir_buf_adds(&head.raw_headers, "Content-Length: 5\nContent-Type: text/x\nETag: \"a\"\nX-Amz-Meta-Own: kept\nx-amz-meta-mtime: 1\n"
	    "x-amz-meta-mode: 100600\nCache-Control: no-cache\nDate: today\nx-amz-request-id: 1\nx-amz-meta-weir-source: old\n");
	weir_s3_meta_resend(&s, &head, &meta, &h, false);
	CU_ASSERT_TRUE(has(&h, "Content-Type: text/x"));
	CU_ASSERT_TRUE(has(&h, "X-Amz-Meta-Own: kept"));
	CU_ASSERT_TRUE(has(&h, "Cache-Control: no-cache"));
	CU_ASSERT_TRUE(has(&h, "x-amz-meta-mode: 100600"));
	CU_ASSERT_TRUE(has(&h, "x-amz-meta-mtime: 5"));
	CU_ASSERT_EQUAL(h.n, 5);
	weir_s3_headers_free(&h);
	weir_http_resp_free(&head);
}

static void
a_head_becomes_a_stat(void)
{
	struct weir_http_resp head = { .status = 206, .raw_headers = WEIR_BUF(4096) };
	struct weir_stat st;

	weir_buf_adds(&head.raw_headers, "Content-Length: 10\nContent-Range: bytes 5-14/100\nETag: W/\"5d41402abc4b2a76b9719d911017c592\"\n"
	    "Last-Modified: Fri, 02 Jan 2026 03:04:05 GMT\n");
	weir_s3_stat_of_head(&head, false, &st);
	CU_ASSERT_EQUAL(st.size, 100);
	CU_ASSERT_STRING_EQUAL(st.version, "5d41402abc4b2a76b9719d911017c592");
	CU_ASSERT_STRING_EQUAL(st.sum, "md5:5d41402abc4b2a76b9719d911017c592");
	CU_ASSERT_EQUAL(st.mtime_ns, 1767323045000000000);
	weir_stat_free(&st);
	weir_buf_adds(&head.raw_headers, "x-amz-server-side-encryption: aws:kms\nx-amz-meta-mtime: 7\n");
	weir_s3_stat_of_head(&head, false, &st);
	CU_ASSERT_PTR_NULL(st.sum);
	CU_ASSERT_EQUAL(st.mtime_ns, 7000000000);
	weir_stat_free(&st);
	weir_http_resp_free(&head);
}

static void
the_etag_of_an_upload_is_foreseen(void)
{
	static const char *const tags[] = { "79b281060d337b9b2b84ccf390adcf74", "92eb5ffee6ae2fec3ad71c777531578f" };
	static const char *const odd[] = { "not an md5" };
	char *etag = weir_s3_mp_etag(tags, 2);

	CU_ASSERT_PTR_NOT_NULL_FATAL(etag);
	CU_ASSERT_STRING_EQUAL(etag, "e5a8c5272b26fc10581a21089559b006-2");
	free(etag);
	CU_ASSERT_PTR_NULL(weir_s3_mp_etag(odd, 1));
}

/* ---- profiles ---- */

static const char profiles[] = "# comment\n[default]\naws_access_key_id = AKDEFAULT\naws_secret_access_key=sec/ret+==\n\n"
	"[other one]\r\nregion = eu-west-1\r\naws_access_key_id=AKOTHER\r\naws_secret_access_key = s2\r\naws_session_token = tok==\r\n"
	"s3 =\n  max_concurrent_requests = 20\n[profile third]\nregion=us-west-2\n";

static void
profiles_are_read_as_the_aws_tools_read_them(void)
{
	struct weir_s3_creds c = { 0 };
	char *region = NULL;

	CU_ASSERT_EQUAL(weir_s3_profile_parse(profiles, "default", &c, &region), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(c.access_key, "AKDEFAULT");
	CU_ASSERT_STRING_EQUAL(c.secret_key, "sec/ret+==");
	CU_ASSERT_PTR_NULL(c.session_token);
	CU_ASSERT_PTR_NULL(region);
	weir_s3_creds_free(&c);
	CU_ASSERT_EQUAL(weir_s3_profile_parse(profiles, "other one", &c, &region), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(c.access_key, "AKOTHER");
	CU_ASSERT_STRING_EQUAL(c.session_token, "tok==");
	CU_ASSERT_STRING_EQUAL(region, "eu-west-1");
	weir_s3_creds_free(&c);
	free(WEIR_STEAL(region));
	CU_ASSERT_EQUAL(weir_s3_profile_parse(profiles, "third", &c, &region), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(region, "us-west-2");
	free(region);
	CU_ASSERT_EQUAL(weir_s3_profile_parse(profiles, "oth", &c, &region), WEIR_E_NOENT);
	weir_s3_creds_free(&c);
}

int
main(void)
{
	CU_pSuite suite;
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite("s3", NULL, NULL);
	CU_ADD_TEST(suite, paths_become_keys_and_come_back);
	CU_ADD_TEST(suite, paths_that_would_not_come_back_are_refused);
	CU_ADD_TEST(suite, long_names_are_refused);
	CU_ADD_TEST(suite, keys_that_cannot_be_names_are_not_shown);
	CU_ADD_TEST(suite, a_page_is_read_in_any_pieces);
	CU_ADD_TEST(suite, without_encoding_keys_stay_as_they_are);
	CU_ADD_TEST(suite, what_is_no_listing_is_refused);
	CU_ADD_TEST(suite, an_error_gives_its_code_even_late);
	CU_ADD_TEST(suite, parts_are_read);
	CU_ADD_TEST(suite, times_are_rclones_decimal_seconds);
	CU_ADD_TEST(suite, modes_are_rclones_octal_or_s3fs_decimal);
	CU_ADD_TEST(suite, metadata_goes_out_as_others_read_it);
	CU_ADD_TEST(suite, a_copy_sends_again_what_it_would_lose);
	CU_ADD_TEST(suite, a_head_becomes_a_stat);
	CU_ADD_TEST(suite, the_etag_of_an_upload_is_foreseen);
	CU_ADD_TEST(suite, profiles_are_read_as_the_aws_tools_read_them);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed > 0;
}
