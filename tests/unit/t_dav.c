/* SPDX-License-Identifier: Apache-2.0 */
/* Multistatus answers as real and odd servers write them, and reasons out of error bodies. */
#include "config.h"

#include <CUnit/Basic.h>
#include <string.h>

#include "../../backends/nextcloud.h"
#include "../../src/util/util.h"

struct got {
	struct weir_dav_item items[8];
	size_t n;
};

static enum weir_code
take(void *arg, struct weir_dav_item *it, struct weir_err *err)
{
	struct got *g = arg;

	if (g->n == WEIR_LEN(g->items))
		return weir_err_set(err, WEIR_E_FBIG, "too many");
	g->items[g->n++] = *it;
	memset(it, 0, sizeof(*it));
	return WEIR_OK;
}

static void
drop(struct got *g)
{
	for (size_t i = 0; i < g->n; i++)
		weir_dav_item_clear(&g->items[i]);
	g->n = 0;
}

/* piece: bytes per feed. */
static enum weir_code
parse(const char *s, size_t piece, struct got *g, struct weir_err *err)
{
	struct weir_dav_xml *x = weir_dav_xml_new(take, g);
	size_t len = strlen(s);
	enum weir_code r = WEIR_OK;

	g->n = 0;
	for (size_t off = 0; off < len && !r; off += piece)
		r = weir_dav_xml_feed(x, s + off, len - off < piece ? len - off : piece, false, err);
	if (!r)
		r = weir_dav_xml_feed(x, "", 0, true, err);
	weir_dav_xml_free(x);
	return r;
}

static const char nextcloud[] =
    "<?xml version=\"1.0\"?>\n<d:multistatus xmlns:d=\"DAV:\" xmlns:oc=\"http://owncloud.org/ns\" xmlns:s=\"http://sabredav.org/ns\">"
    "<d:response><d:href>/remote.php/dav/files/alice/a%20b/</d:href><d:propstat><d:prop><d:resourcetype><d:collection/></d:resourcetype>"
    "<d:getlastmodified>Wed, 20 Jul 2022 05:12:23 GMT</d:getlastmodified><d:getetag>&quot;62d78f3b1c2aa&quot;</d:getetag>"
    "<oc:fileid>7</oc:fileid><oc:permissions>RGDNVCK</oc:permissions><oc:size>1278</oc:size><d:quota-available-bytes>-3</d:quota-available-bytes>"
    "<d:quota-used-bytes>9.0071992547410e+15</d:quota-used-bytes></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat>"
    "<d:propstat><d:prop><d:getcontentlength/><oc:checksums/></d:prop><d:status>HTTP/1.1 404 Not Found</d:status></d:propstat></d:response>"
    "<d:response><d:href>/remote.php/dav/files/alice/a%20b/x%26y.txt</d:href><d:propstat><d:prop><d:resourcetype/>"
    "<d:getcontentlength>1278</d:getcontentlength><oc:checksums><oc:checksum>SHA1:ABC MD5:def</oc:checksum></oc:checksums>"
    "<oc:permissions></oc:permissions></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>";

static void
check_nextcloud(const struct got *g)
{
	const struct weir_dav_item *d = &g->items[0], *f = &g->items[1];

	CU_ASSERT_EQUAL_FATAL(g->n, 2);
	CU_ASSERT_STRING_EQUAL(d->href, "/remote.php/dav/files/alice/a b/");
	CU_ASSERT(d->is_collection);
	CU_ASSERT_STRING_EQUAL(d->etag, "\"62d78f3b1c2aa\"");
	CU_ASSERT_STRING_EQUAL(d->fileid, "7");
	CU_ASSERT_STRING_EQUAL(d->permissions, "RGDNVCK");
	CU_ASSERT_EQUAL(d->mtime_ns, 1658293943LL * 1000000000);
	CU_ASSERT_EQUAL(d->length, UINT64_MAX);
	CU_ASSERT_PTR_NULL(d->checksums);
	CU_ASSERT_EQUAL(d->quota_available, -3);
	CU_ASSERT_EQUAL(d->quota_used, 9007199254741000LL);
	CU_ASSERT_STRING_EQUAL(f->href, "/remote.php/dav/files/alice/a b/x&y.txt");
	CU_ASSERT(!f->is_collection);
	CU_ASSERT_EQUAL(f->length, 1278);
	CU_ASSERT_STRING_EQUAL(f->checksums, "SHA1:ABC MD5:def");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f->permissions);
	CU_ASSERT_STRING_EQUAL(f->permissions, "");	/* empty is not the same as not told */
	CU_ASSERT_PTR_NULL(f->etag);
}

static void
nextcloud_listing_in_pieces_of_any_size(void)
{
	static const size_t pieces[] = { 1, 2, 7, 100, 1u << 20 };
	struct got g;

	for (size_t i = 0; i < WEIR_LEN(pieces); i++) {
		CU_ASSERT_EQUAL(parse(nextcloud, pieces[i], &g, NULL), WEIR_OK);
		check_nextcloud(&g);
		drop(&g);
	}
}

static void
prefixes_mean_nothing_and_namespaces_all(void)
{
	struct got g;

	/* the default namespace; one prefix for two namespaces; a property of our name in another's namespace */
	CU_ASSERT_EQUAL(parse("<multistatus xmlns='DAV:'><response><href>/a</href><propstat><prop>"
	    "<q:fileid xmlns:q='http://owncloud.org/ns'>9</q:fileid><q:getetag xmlns:q='urn:else'>\"no\"</q:getetag>"
	    "<q:getcontentlength xmlns:q='DAV:'> 5 \n</q:getcontentlength></prop><status>HTTP/1.1 200 OK</status></propstat></response>"
	    "<r:response xmlns:r='urn:else'><href>/b</href></r:response></multistatus>", 1u << 20, &g, NULL), WEIR_OK);
	CU_ASSERT_EQUAL_FATAL(g.n, 1);
	CU_ASSERT_STRING_EQUAL(g.items[0].fileid, "9");
	CU_ASSERT_PTR_NULL(g.items[0].etag);
	CU_ASSERT_EQUAL(g.items[0].length, 5);
	drop(&g);
}

static void
names_count_only_in_their_place(void)
{
	struct got g;

	/* a lock's href and a collection element outside resourcetype say nothing of the resource */
	CU_ASSERT_EQUAL(parse("<D:multistatus xmlns:D='DAV:'><D:response><D:href>/f</D:href><D:propstat><D:prop><D:resourcetype/>"
	    "<D:lockdiscovery><D:activelock><D:lockroot><D:href>/other</D:href></D:lockroot><D:collection/></D:activelock></D:lockdiscovery>"
	    "</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>", 1u << 20, &g, NULL), WEIR_OK);
	CU_ASSERT_EQUAL_FATAL(g.n, 1);
	CU_ASSERT_STRING_EQUAL(g.items[0].href, "/f");
	CU_ASSERT(!g.items[0].is_collection);
	drop(&g);
}

static void
hrefs_are_decoded_paths(void)
{
	struct got g;

	CU_ASSERT_EQUAL(parse("<m:multistatus xmlns:m='DAV:'>"
	    "<m:response><m:href>\n http://host:81/x/%c3%a4%28b%29+c~:</m:href></m:response>"
	    "<m:response><m:href>/x/%C3%A4(b)%2Bc%7E%3A</m:href><m:status>HTTP/1.1 404 Not Found</m:status></m:response>"
	    "<m:response><m:href>https://host</m:href></m:response>"
	    "<m:response><m:href>/x/a%2fb</m:href></m:response>"
	    "<m:response><m:href>/x/a%00b</m:href></m:response>"
	    "<m:response><m:href>/x/http://y</m:href></m:response>"
	    "<m:response><m:href></m:href></m:response></m:multistatus>", 3, &g, NULL), WEIR_OK);
	CU_ASSERT_EQUAL_FATAL(g.n, 6);
	CU_ASSERT_STRING_EQUAL(g.items[0].href, "/x/ä(b)+c~:");
	CU_ASSERT_STRING_EQUAL(g.items[1].href, g.items[0].href);
	CU_ASSERT_EQUAL(g.items[1].status, 404);
	CU_ASSERT_STRING_EQUAL(g.items[2].href, "/");
	CU_ASSERT(g.items[3].is_slashed);
	CU_ASSERT(g.items[4].is_slashed);
	CU_ASSERT_STRING_EQUAL(g.items[5].href, "/x/http://y");
	CU_ASSERT(!g.items[5].is_slashed);
	drop(&g);
}

static void
refused_properties_are_told(void)
{
	struct got g;

	CU_ASSERT_EQUAL(parse("<d:multistatus xmlns:d='DAV:'><d:response><d:href>/f</d:href><d:propstat><d:prop><d:lastmodified/></d:prop>"
	    "<d:status>HTTP/1.1 403 Forbidden</d:status></d:propstat></d:response><d:response><d:href>/g</d:href><d:propstat><d:prop><d:lastmodified/>"
	    "</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>", 50, &g, NULL), WEIR_OK);
	CU_ASSERT_EQUAL_FATAL(g.n, 2);
	CU_ASSERT(!g.items[0].has_lastmodified);
	CU_ASSERT_EQUAL(g.items[0].bad_status, 403);
	CU_ASSERT(g.items[1].has_lastmodified);
	drop(&g);
}

static void
what_is_no_multistatus_is_refused(void)
{
	static const char *const bad[] = {
		"", "<html><body>hello</body></html>", "<d:error xmlns:d='DAV:'/>", "<multistatus/>", "not xml at all", "<d:multistatus xmlns:d='DAV:'>",
		"<!DOCTYPE m [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;'>]><d:multistatus xmlns:d='DAV:'>&b;</d:multistatus>",
	};
	struct weir_buf deep = WEIR_BUF(1u << 20), longer = WEIR_BUF(1u << 20);
	struct weir_err err = { 0 };
	struct got g;

	for (size_t i = 0; i < WEIR_LEN(bad); i++) {
		err.msg[0] = '\0';
		CU_ASSERT_EQUAL(parse(bad[i], 5, &g, &err), WEIR_E_PROTO);
		CU_ASSERT_NOT_EQUAL(err.msg[0], '\0');
		drop(&g);
	}
	weir_buf_adds(&deep, "<d:multistatus xmlns:d='DAV:'>");
	for (int i = 0; i < 100; i++)
		weir_buf_adds(&deep, "<d:response>");
	CU_ASSERT_EQUAL(parse(deep.data, 1u << 20, &g, &err), WEIR_E_PROTO);
	weir_buf_adds(&longer, "<d:multistatus xmlns:d='DAV:'><d:response><d:href>/");
	for (int i = 0; i < 70000; i++)
		weir_buf_addc(&longer, 'x');
	weir_buf_adds(&longer, "</d:href></d:response></d:multistatus>");
	CU_ASSERT_EQUAL(parse(longer.data, 1u << 20, &g, &err), WEIR_E_PROTO);
	weir_buf_free(&deep);
	weir_buf_free(&longer);
}

static void
a_listener_that_refuses_ends_the_parsing(void)
{
	struct weir_buf b = WEIR_BUF(1u << 20);
	struct weir_err err = { 0 };
	struct got g;

	weir_buf_adds(&b, "<d:multistatus xmlns:d='DAV:'>");
	for (int i = 0; i < 20; i++)
		weir_buf_addf(&b, "<d:response><d:href>/%d</d:href></d:response>", i);
	weir_buf_adds(&b, "</d:multistatus>");
	CU_ASSERT_EQUAL(parse(b.data, 1u << 20, &g, &err), WEIR_E_FBIG);
	CU_ASSERT_STRING_EQUAL(err.msg, "too many");
	CU_ASSERT_EQUAL(g.n, 8);
	drop(&g);
	weir_buf_free(&b);
}

static void
status_lines(void)
{
	CU_ASSERT_EQUAL(weir_dav_status_line("HTTP/1.1 200 OK"), 200);
	CU_ASSERT_EQUAL(weir_dav_status_line("HTTP/1.1 404"), 404);
	CU_ASSERT_EQUAL(weir_dav_status_line("HTTP/2  507 Insufficient"), 507);
	CU_ASSERT_EQUAL(weir_dav_status_line("HTTP/1.1 2000 OK"), 0);
	CU_ASSERT_EQUAL(weir_dav_status_line("HTTP/1.1 20"), 0);
	CU_ASSERT_EQUAL(weir_dav_status_line("HTTP/1.1"), 0);
	CU_ASSERT_EQUAL(weir_dav_status_line("200 OK"), 0);
	CU_ASSERT_EQUAL(weir_dav_status_line(""), 0);
}

static void
etags_of_one_version_spell_the_same(void)
{
	static const char *const same[] = { "\"6-660e\"", "W/\"6-660e\"", "6-660e", "\"6-660e-gzip\"", "W/\"6-660e-br\"", "w/\"6-660e-deflate\"" };

	for (size_t i = 0; i < WEIR_LEN(same); i++) {
		WEIR_AUTO(weir_freep) char *v = weir_dav_etag(same[i]);

		CU_ASSERT_PTR_NOT_NULL_FATAL(v);
		CU_ASSERT_STRING_EQUAL(v, "6-660e");
	}
	CU_ASSERT_PTR_NULL(weir_dav_etag(NULL));
	CU_ASSERT_PTR_NULL(weir_dav_etag("\"\""));
	CU_ASSERT_PTR_NULL(weir_dav_etag("\"a\r\nX-Evil: 1\""));
	CU_ASSERT_PTR_NULL(weir_dav_etag("\"a\"b\""));
}

static void
reason_is(const char *body, const char *want)
{
	char out[320];

	weir_dav_reason(body, strlen(body), out, sizeof(out));
	CU_ASSERT_STRING_EQUAL(out, want);
	if (strcmp(out, want) != 0)
		fprintf(stderr, "got '%s', want '%s'\n", out, want);
}

static void
reasons_are_the_servers_own_words(void)
{
	char out[24];

	reason_is("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<d:error xmlns:d=\"DAV:\" xmlns:s=\"http://sabredav.org/ns\">"
	    "<s:exception>Sabre\\DAV\\Exception\\NotFound</s:exception>\n<s:message>File with name /x could not\n be located</s:message></d:error>",
	    "File with name /x could not be located");
	reason_is("<d:error xmlns:d='DAV:' xmlns:s='http://sabredav.org/ns' xmlns:o='o:'><s:message>no</s:message><o:retry>false</o:retry>"
	    "<o:reason>Filename contains \"&lt;\"</o:reason></d:error>", "no: Filename contains \"<\"");
	reason_is("<D:error xmlns:D='DAV:' xmlns:m='http://apache.org/dav/xmlns'><m:human-readable errcode='0'>\nThe locktoken is bad.\n"
	    "</m:human-readable></D:error>", "The locktoken is bad");
	reason_is("<!DOCTYPE HTML PUBLIC \"x\">\n<html><head>\n<title>403 Forbidden</title></head><body>\n<h1>Forbidden</h1>\n"
	    "<p>You don't have permission to <b>access</b> this.  Ask somebody.</p>", "You don't have permission to access this");
	reason_is("<html><head><title>502 Bad Gateway</title></head><body><center><h1>502</h1></center></body>", "502 Bad Gateway");
	reason_is("{\"ocs\":{\"meta\":{\"status\":\"failure\",\"statuscode\":997,\"message\":\"Current user is not logged in\"},\"data\":[]}}",
	    "Current user is not logged in");
	reason_is("quota\x01 used up\n", "quota used up");
	reason_is("", "");
	reason_is("<p", "");
	reason_is("<broken", "");
	weir_dav_reason("abcdefghijklmnopqrstuvüvwxyz", 29, out, sizeof(out));
	CU_ASSERT_EQUAL(strlen(out), 22);	/* cut before the character that does not fit whole */
}

static void
escaped_is(const struct weir_dav_names *n, const char *name, const char *held)
{
	WEIR_AUTO(weir_freep) char *e = weir_dav_escape(n, name);
	WEIR_AUTO(weir_freep) char *u = weir_dav_unescape(n, held);

	CU_ASSERT_STRING_EQUAL(e, held);
	CU_ASSERT_STRING_EQUAL(u, name);
	if (strcmp(e, held) != 0 || strcmp(u, name) != 0)
		fprintf(stderr, "'%s' became '%s', '%s' became '%s'\n", name, e, held, u);
}

static void
refused_characters_are_written_as_rclone_does(void)
{
	struct weir_dav_names n = { .is_on = true };

	n.is_refused['\\'] = n.is_refused['\n'] = n.is_refused['?'] = true;
	escaped_is(&n, "a/b c", "a/b c");
	escaped_is(&n, "a\\b?\n", "a＼b？␊");
	escaped_is(&n, "a＼b", "a‛＼b");
	escaped_is(&n, "a‛\\b", "a‛‛＼b");
	escaped_is(&n, "a‛＼b", "a‛‛‛＼b");
	escaped_is(&n, "no utf-8 \xff\xc3(", "no utf-8 ‛FF‛C3(");
	escaped_is(&n, "‛FF", "‛‛FF");
	escaped_is(&n, "‛\xff", "‛‛‛FF");
	escaped_is(&n, "‛41‛x‛", "‛41‛x‛");
	escaped_is(&n, "‛‛", "‛‛");
	escaped_is(&n, "：*｜ ␀", "：*｜ ␀");	/* twins of what is not refused are only themselves */
	n.is_on = false;
	escaped_is(&n, "a\\‛＼\xff", "a\\‛＼\xff");
}

/* Whatever other clients put there has a path that leads back to it, and no two names meet in one. */
static void
every_name_comes_back_the_same(void)
{
	static const char *const bits[] = { "‛", "‛", "＼", "\\", "FF", "80", "4", "\xff", "\xe2\x80", "x", "␊", "\n" };
	struct weir_dav_names n = { .is_on = true };
	uint32_t state = 7;

	n.is_refused['\\'] = n.is_refused['\n'] = true;
	for (int i = 0; i < 20000; i++) {
		char name[64] = "";
		WEIR_AUTO(weir_freep) char *e = NULL, *u = NULL;

		for (int k = 0; k < 6; k++) {
			state = state * 1664525 + 1013904223;
			strncat(name, bits[(state >> 16) % WEIR_LEN(bits)], 8);
		}
		e = weir_dav_escape(&n, name);
		u = weir_dav_unescape(&n, e);
		CU_ASSERT_STRING_EQUAL_FATAL(u, name);
	}
}

/* A server's word about where to push from: never less guarded than the server, and no password elsewhere. */
static void
push_addresses_are_judged(void)
{
	static const struct { const char *url, *websocket; bool may_token, may_password; } cases[] = {
		{ "https://cloud.example.org", "wss://cloud.example.org/push/ws", true, true },
		{ "https://cloud.example.org:8443/nc", "wss://Cloud.Example.ORG/push/ws", true, true },
		{ "https://cloud.example.org", "wss://push.example.org/ws", true, false },
		{ "https://cloud.example.org", "wss://cloud.example.org.evil.example/ws", true, false },
		{ "https://cloud.example.org", "ws://cloud.example.org/push/ws", false, false },
		{ "HTTPS://cloud.example.org", "ws://cloud.example.org/push/ws", false, false },
		{ "http://127.0.0.1:8080", "ws://127.0.0.1:7867/ws", true, true },
		{ "http://[::1]:8080", "ws://[::1]:7867/ws", true, true },
		{ "http://[::1]:8080", "ws://[::2]:7867/ws", false, false },
		{ "http://cloud.lan", "wss://cloud.lan/ws", true, true },
		{ "http://cloud.lan", "ws://push.lan/ws", false, false },
		{ "https://cloud.example.org", "https://cloud.example.org/push/ws", false, false },
		{ "https://cloud.example.org", "/push/ws", false, false },
		{ "https://cloud.example.org", "", false, false },
		{ "https://cloud.example.org", "wss://", false, false },
	};

	for (size_t i = 0; i < WEIR_LEN(cases); i++) {
		CU_ASSERT_EQUAL(weir_nc_push_may(cases[i].url, cases[i].websocket, false, NULL), cases[i].may_token ? WEIR_OK : WEIR_E_CONFIG);
		CU_ASSERT_EQUAL(weir_nc_push_may(cases[i].url, cases[i].websocket, true, NULL), cases[i].may_password ? WEIR_OK : WEIR_E_CONFIG);
	}
}

int
main(void)
{
	CU_pSuite s;
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 99;
	s = CU_add_suite("dav", NULL, NULL);
	CU_ADD_TEST(s, nextcloud_listing_in_pieces_of_any_size);
	CU_ADD_TEST(s, prefixes_mean_nothing_and_namespaces_all);
	CU_ADD_TEST(s, names_count_only_in_their_place);
	CU_ADD_TEST(s, hrefs_are_decoded_paths);
	CU_ADD_TEST(s, refused_properties_are_told);
	CU_ADD_TEST(s, what_is_no_multistatus_is_refused);
	CU_ADD_TEST(s, a_listener_that_refuses_ends_the_parsing);
	CU_ADD_TEST(s, status_lines);
	CU_ADD_TEST(s, etags_of_one_version_spell_the_same);
	CU_ADD_TEST(s, reasons_are_the_servers_own_words);
	CU_ADD_TEST(s, refused_characters_are_written_as_rclone_does);
	CU_ADD_TEST(s, every_name_comes_back_the_same);
	CU_ADD_TEST(s, push_addresses_are_judged);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed ? 1 : 0;
}
