/* SPDX-License-Identifier: Apache-2.0 */
/* What the WebDAV front reads from its clients: paths, headers, XML. */
#include "config.h"

#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/dav/parse.h"
#include "../../src/dav/xmlin.h"
#include "../../backends/rclone_ini.h"
#include "../../src/util/buf.h"
#include "../../src/util/util.h"

static int
path_is(const char *url, const char *want, bool is_slashed)
{
	struct front_path p;
	int r = front_path_parse(url, "/dav", &p);
	bool same = r == 0 && strcmp(p.text, want) == 0 && p.is_slashed == is_slashed;

	front_path_free(&p);
	return r != 0 ? r : same ? 0 : -1;
}

static void
paths_are_decoded_once(void)
{
	CU_ASSERT_EQUAL(path_is("/dav", "", false), 0);
	CU_ASSERT_EQUAL(path_is("/dav/", "", true), 0);
	CU_ASSERT_EQUAL(path_is("/dav/a/b%20c/", "a/b c", true), 0);
	CU_ASSERT_EQUAL(path_is("/dav//a///b", "a/b", false), 0);
	CU_ASSERT_EQUAL(path_is("/dav/a%2541", "a%41", false), 0);
	CU_ASSERT_EQUAL(path_is("/dav/%C3%BC+x?q=1", "\xc3\xbc+x", false), 0);
	CU_ASSERT_EQUAL(path_is("/dav/...", "...", false), 0);
}

static void
paths_that_leave_are_refused(void)
{
	static const char *const bad[] = {"/dav/..", "/dav/a/../b", "/dav/%2e%2e/x", "/dav/.%2E", "/dav/.", "/dav/a%00b", "/dav/a%2fb", "/dav/%", "/dav/%4", "/dav/a%4",
	    "/dav/%zz", "/dav/a#b"};
	char name[400];

	for (size_t i = 0; i < WEIR_LEN(bad); i++)
		CU_ASSERT_EQUAL(path_is(bad[i], "", false), 400);
	CU_ASSERT_EQUAL(path_is("/davx/a", "", false), 404);
	CU_ASSERT_EQUAL(path_is("/", "", false), 404);
	snprintf(name, sizeof(name), "/dav/%0300d", 0);
	CU_ASSERT_EQUAL(path_is(name, "", false), 400);
}

static void
very_long_paths_are_refused(void)
{
	size_t n = FRONT_PATH_MAX + 100;
	char *url = weir_xcalloc(n + 1, 1);

	memset(url, '/', n);
	memcpy(url, "/dav", 4);
	CU_ASSERT_EQUAL(path_is(url, "", true), 400);
	for (size_t i = 4; i + 1 < 4 + 2 * (FRONT_SEGMENTS + 1); i += 2)
		url[i + 1] = 'a';
	url[4 + 2 * (FRONT_SEGMENTS + 1)] = '\0';
	CU_ASSERT_EQUAL(path_is(url, "", false), 400);
	free(url);
}

static void
destinations_are_of_this_host(void)
{
	CU_ASSERT_STRING_EQUAL(front_url_path("http://h:1/x/y", "h:1"), "/x/y");
	CU_ASSERT_STRING_EQUAL(front_url_path("HTTPS://H:1/x", "h:1"), "/x");
	CU_ASSERT_STRING_EQUAL(front_url_path("http://u:p@h:1/x", "h:1"), "/x");
	CU_ASSERT_STRING_EQUAL(front_url_path("/x", "h:1"), "/x");
	CU_ASSERT_PTR_NULL(front_url_path("//other/x", "h:1"));
	CU_ASSERT_PTR_NULL(front_url_path("http://h:2/x", "h:1"));
	CU_ASSERT_PTR_NULL(front_url_path("http://h:1", "h:1"));
	CU_ASSERT_PTR_NULL(front_url_path("ftp://h:1/x", "h:1"));
	CU_ASSERT_PTR_NULL(front_url_path("", "h:1"));
}

static int
range_is(const char *header, uint64_t size, uint64_t want_from, uint64_t want_len)
{
	uint64_t from = 0, len = 0;
	int r = front_range_parse(header, size, &from, &len);

	return r != 1 ? r : from == want_from && len == want_len ? 1 : -2;
}

static void
ranges(void)
{
	CU_ASSERT_EQUAL(range_is("bytes=0-0", 10, 0, 1), 1);
	CU_ASSERT_EQUAL(range_is("bytes=2-", 10, 2, 8), 1);
	CU_ASSERT_EQUAL(range_is("bytes=2-99", 10, 2, 8), 1);
	CU_ASSERT_EQUAL(range_is("bytes=-3", 10, 7, 3), 1);
	CU_ASSERT_EQUAL(range_is("bytes=-99", 10, 0, 10), 1);
	CU_ASSERT_EQUAL(range_is("bytes=10-", 10, 0, 0), -1);
	CU_ASSERT_EQUAL(range_is("bytes=-0", 10, 0, 0), -1);
	CU_ASSERT_EQUAL(range_is("bytes=0-", 0, 0, 0), -1);
	CU_ASSERT_EQUAL(range_is("bytes=-5", 0, 0, 0), -1);
	CU_ASSERT_EQUAL(range_is("bytes=5-2", 10, 0, 0), 0);
	CU_ASSERT_EQUAL(range_is("bytes=0-1,3-4", 10, 0, 0), 0);
	CU_ASSERT_EQUAL(range_is("bytes=x", 10, 0, 0), 0);
	CU_ASSERT_EQUAL(range_is("lines=1-2", 10, 0, 0), 0);
	CU_ASSERT_EQUAL(range_is("bytes=0-18446744073709551615", 10, 0, 10), 0);
	CU_ASSERT_EQUAL(range_is("bytes=99999999999999999999999-", 10, 0, 0), 0);
	CU_ASSERT_EQUAL(range_is(NULL, 10, 0, 0), 0);
}

static void
small_headers(void)
{
	CU_ASSERT_EQUAL(front_depth_parse(NULL, FRONT_DEPTH_1), FRONT_DEPTH_1);
	CU_ASSERT_EQUAL(front_depth_parse("Infinity", FRONT_DEPTH_0), FRONT_DEPTH_INFINITY);
	CU_ASSERT_EQUAL(front_depth_parse("2", FRONT_DEPTH_0), FRONT_DEPTH_BAD);
	CU_ASSERT_EQUAL(front_overwrite_parse(NULL), 1);
	CU_ASSERT_EQUAL(front_overwrite_parse("f"), 0);
	CU_ASSERT_EQUAL(front_overwrite_parse("maybe"), -1);
	CU_ASSERT_EQUAL(front_timeout_parse("Infinite, Second-4100000000", 5, 3600), 3600);
	CU_ASSERT_EQUAL(front_timeout_parse("Extend, Second-30", 5, 3600), 30);
	CU_ASSERT_EQUAL(front_timeout_parse("Second-99999999999999999999", 5, 3600), 5);
	CU_ASSERT_EQUAL(front_timeout_parse(NULL, 5, 3600), 5);
	CU_ASSERT_EQUAL(front_mtime_parse("1500000000"), 1500000000000000000);
	CU_ASSERT_EQUAL(front_mtime_parse("1.25"), 1250000000);
	CU_ASSERT_EQUAL(front_mtime_parse("-2"), -2000000000);
	CU_ASSERT_EQUAL(front_mtime_parse("99999999999999"), INT64_MIN);
	CU_ASSERT_EQUAL(front_mtime_parse("1x"), INT64_MIN);
	CU_ASSERT_EQUAL(front_mtime_parse(""), INT64_MIN);
	CU_ASSERT_TRUE(front_etag_listed("\"a\", W/\"b\"", "\"a\"", false));
	CU_ASSERT_FALSE(front_etag_listed("\"a\", W/\"b\"", "\"b\"", false));
	CU_ASSERT_TRUE(front_etag_listed("\"a,\", W/\"b\"", "\"b\"", true));
	CU_ASSERT_TRUE(front_etag_listed("*", "\"b\"", false));
	CU_ASSERT_FALSE(front_etag_listed("\"bc\"", "\"b\"", false));
	CU_ASSERT_FALSE(front_etag_listed(NULL, "\"b\"", false));
}

static void
if_headers(void)
{
	static const char *const bad[] = {"", "()", "(<a>", "<a", "<a>", "(Not)", "(\"a\")", "(<a>) x", "([\"a\"", "(Not Not <a>)"};
	struct front_if f;

	CU_ASSERT_EQUAL(front_if_parse("(<urn:a> [\"x]\"]) (Not <DAV:no-lock>)", &f), 0);
	CU_ASSERT_EQUAL(f.nlists, 2);
	CU_ASSERT_EQUAL(f.lists[0].n, 2);
	CU_ASSERT_PTR_NULL(f.lists[0].tag);
	CU_ASSERT_STRING_EQUAL(f.conds[0].text, "urn:a");
	CU_ASSERT_TRUE(f.conds[1].is_etag);
	CU_ASSERT_STRING_EQUAL(f.conds[1].text, "\"x]\"");
	CU_ASSERT_TRUE(f.conds[2].is_not);
	front_if_free(&f);
	CU_ASSERT_EQUAL(front_if_parse("<http://h/x> (<a>)(<b>) <http://h/y> (<c>)", &f), 0);
	CU_ASSERT_EQUAL(f.nlists, 3);
	CU_ASSERT_STRING_EQUAL(f.lists[1].tag, "http://h/x");
	CU_ASSERT_STRING_EQUAL(f.lists[2].tag, "http://h/y");
	front_if_free(&f);
	for (size_t i = 0; i < WEIR_LEN(bad); i++)
		CU_ASSERT_EQUAL(front_if_parse(bad[i], &f), -1);
}

static int
xml(const char *text, struct front_xml *x)
{
	return front_xml_parse(text, strlen(text), x);
}

static void
bodies(void)
{
	struct front_xml x;

	CU_ASSERT_EQUAL(xml("", &x), 0);
	CU_ASSERT_EQUAL(x.kind, FRONT_XML_EMPTY);
	CU_ASSERT_EQUAL(xml("<propfind xmlns='DAV:'><prop><getetag/><a:size xmlns:a='urn:a'/><none xmlns=''/></prop></propfind>", &x), 0);
	CU_ASSERT_EQUAL(x.kind, FRONT_XML_PROPFIND);
	CU_ASSERT_EQUAL(x.nprops, 3);
	CU_ASSERT_STRING_EQUAL(x.props[1].ns, "urn:a");
	CU_ASSERT_STRING_EQUAL(x.props[2].ns, "");
	front_xml_free(&x);
	CU_ASSERT_EQUAL(xml("<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop><p xmlns='u'>a&amp;<b c='\"'/></p></D:prop></D:set>"
			    "<D:remove><D:prop><q xmlns='u'/></D:prop></D:remove></D:propertyupdate>", &x), 0);
	CU_ASSERT_EQUAL(x.nprops, 2);
	CU_ASSERT_TRUE(x.props[0].is_set);
	CU_ASSERT_STRING_EQUAL(x.props[0].value, "a&amp;<b xmlns=\"u\" c=\"&quot;\"></b>");
	CU_ASSERT_FALSE(x.props[1].is_set);
	front_xml_free(&x);
	CU_ASSERT_EQUAL(xml("<lockinfo xmlns='DAV:'><lockscope><shared/></lockscope><locktype><write/></locktype><owner>me</owner></lockinfo>", &x), 0);
	CU_ASSERT_TRUE(x.kind == FRONT_XML_LOCK && x.is_shared && !x.is_exclusive && x.is_write);
	CU_ASSERT_STRING_EQUAL(x.owner, "me");
	front_xml_free(&x);
}

static void
bodies_that_are_refused(void)
{
	struct weir_buf b = WEIR_BUF(1u << 20);
	struct front_xml x;

	CU_ASSERT_EQUAL(xml("<propfind xmlns='DAV:'>", &x), -1);
	CU_ASSERT_EQUAL(xml("<a:b/>", &x), -1);
	CU_ASSERT_EQUAL(xml("<!DOCTYPE a [<!ENTITY b 'c'>]><propfind xmlns='DAV:'/>", &x), -1);
	for (int i = 0; i < 40; i++)
		weir_buf_adds(&b, "<a>");
	for (int i = 0; i < 40; i++)
		weir_buf_adds(&b, "</a>");
	CU_ASSERT_EQUAL(xml(weir_buf_str(&b), &x), -1);
	weir_buf_reset(&b);
	weir_buf_adds(&b, "<propfind xmlns='DAV:'><prop>");
	for (int i = 0; i < FRONT_PROPS + 1; i++)
		weir_buf_addf(&b, "<p%d/>", i);
	weir_buf_adds(&b, "</prop></propfind>");
	CU_ASSERT_EQUAL(xml(weir_buf_str(&b), &x), -1);
	weir_buf_reset(&b);
	weir_buf_adds(&b, "<propertyupdate xmlns='DAV:'><set><prop><p>");
	for (int i = 0; i < 100000; i++)
		weir_buf_adds(&b, "x");
	weir_buf_adds(&b, "</p></prop></set></propertyupdate>");
	CU_ASSERT_EQUAL(xml(weir_buf_str(&b), &x), -1);
	weir_buf_free(&b);
}

static void
what_is_obscured_is_revealed(void)
{
	WEIR_AUTO(weir_secret_freep) char *plain = NULL;
	WEIR_AUTO(weir_freep) char *one = weir_rclone_obscure("0123abcd"), *two = weir_rclone_obscure("0123abcd");

	CU_ASSERT_PTR_NOT_NULL_FATAL(one);
	CU_ASSERT_STRING_NOT_EQUAL(one, two);
	CU_ASSERT_EQUAL(weir_rclone_reveal(one, &plain, NULL), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(plain, "0123abcd");
}

int
main(void)
{
	CU_pSuite s;
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS || (s = CU_add_suite("front", NULL, NULL)) == NULL)
		return 99;
	CU_ADD_TEST(s, paths_are_decoded_once);
	CU_ADD_TEST(s, paths_that_leave_are_refused);
	CU_ADD_TEST(s, very_long_paths_are_refused);
	CU_ADD_TEST(s, destinations_are_of_this_host);
	CU_ADD_TEST(s, ranges);
	CU_ADD_TEST(s, small_headers);
	CU_ADD_TEST(s, if_headers);
	CU_ADD_TEST(s, bodies);
	CU_ADD_TEST(s, bodies_that_are_refused);
	CU_ADD_TEST(s, what_is_obscured_is_revealed);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed != 0;
}
