/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of the Drive backend: names both ways, twins, queries, exports, JSON of the protocol, errors, notes. */
#include "config.h"

#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <string.h>

#include "backends/drive_impl.h"

#define Q "\xE2\x80\x9B"	/* U+201B */
#define SLASH "\xEF\xBC\x8F"
#define DOT "\xEF\xBC\x8E"

/* ---- names ---- */

static const struct { const char *held, *shown; } both_ways[] = {
	{ "plain.txt", "plain.txt" }, { "a/b", "a" SLASH "b" }, { "a" SLASH "b", "a" Q SLASH "b" }, { ".", DOT }, { "..", DOT DOT }, { DOT, Q DOT },
	{ DOT DOT, Q DOT DOT }, { "...", "..." }, { " x ", " x " }, { "new\nline", "new\nline" }, { Q " alone", Q " alone" }, { Q "FF", "\xFF" },
	{ "caf\xC3\xA9", "caf\xC3\xA9" }, { "cafe\xCC\x81", "cafe\xCC\x81" }, { "%2F", "%2F" }, { "it's \\ so", "it's \\ so" },
	{ Q Q "80", Q Q "80" },
};

static void
names_go_both_ways(void)
{
	for (size_t i = 0; i < WEIR_LEN(both_ways); i++) {
		WEIR_AUTO(weir_freep) char *shown = weir_drive_name_show(both_ways[i].held, "1AbCdEfGhIjK"), *held = NULL;

		CU_ASSERT_STRING_EQUAL(shown, both_ways[i].shown);
		CU_ASSERT_EQUAL_FATAL(weir_drive_name_hold(shown, strlen(shown), &held, NULL), WEIR_OK);
		CU_ASSERT_STRING_EQUAL(held, both_ways[i].held);
	}
}

static void
names_that_would_not_come_back_are_refused(void)
{
	static const char *const bad[] = { Q "FF", Q, "x" Q "80", Q "\xFF" "FF" };
	char *held = NULL, name[300];

	for (size_t i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(weir_drive_name_hold(bad[i], strlen(bad[i]), &held, NULL), WEIR_E_NAME);
	memset(name, 'x', sizeof(name));
	CU_ASSERT_EQUAL(weir_drive_name_hold(name, 256, &held, NULL), WEIR_E_NAMETOOLONG);
	CU_ASSERT_EQUAL(weir_drive_name_hold(name, 255, &held, NULL), WEIR_OK);
	free(held);
}

static void
long_and_empty_names_are_shown_somehow(void)
{
	char name[700];
	char *shown;

	for (size_t i = 0; i + 3 < sizeof(name); i += 3)
		memcpy(name + i, "\xE6\x97\xA5", 3);
	memcpy(name + 690, ".jpeg", 6);
	shown = weir_drive_name_show(name, "1AbCdEfGhIjK");
	CU_ASSERT(strlen(shown) <= 255);
	CU_ASSERT_STRING_EQUAL(shown + strlen(shown) - 16, " (1AbCdEfG).jpeg");
	CU_ASSERT(weir_drive_name_is_twin(shown));
	free(shown);
	shown = weir_drive_name_show("", "1AbCdEfGhIjK");
	CU_ASSERT(*shown != '\0');
	free(shown);
}

/* ---- twins ---- */

static struct drive_file
file(const char *id, const char *name, const char *created)
{
	return (struct drive_file){ .id = (char *)(uintptr_t)id, .name = (char *)(uintptr_t)name, .created = (char *)(uintptr_t)created,
		.mime = (char *)(uintptr_t)"text/plain", .md5 = (char *)(uintptr_t)"x" };
}

static const char *
settled(struct drive_entry *v, size_t n, const char *id)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(v[i].file->id, id) == 0)
			return v[i].name;
	return "";
}

static void
the_oldest_keeps_the_name_in_every_order(void)
{
	struct drive_file f[] = { file("1oldestAAAA", "a.txt", "2020-01-01T00:00:00.000Z"), file("1youngerBBB", "a.txt", "2021-01-01T00:00:00.000Z"),
		file("1younger2CC", "a.txt", "2021-01-01T00:00:00.000Z"), file("1otherDDDDD", "b", "2019-01-01T00:00:00.000Z") };
	const size_t n = WEIR_LEN(f);

	for (size_t turn = 0; turn < n; turn++) {
		struct drive_entry v[WEIR_LEN(f)];

		for (size_t i = 0; i < n; i++)
			v[i] = (struct drive_entry){ &f[(i + turn) % n], weir_xstrdup(f[(i + turn) % n].name) };
		weir_drive_names_settle(v, n);
		CU_ASSERT_STRING_EQUAL(settled(v, n, "1oldestAAAA"), "a.txt");
		/* Their first eight characters are the same: the whole id. */
		CU_ASSERT_STRING_EQUAL(settled(v, n, "1youngerBBB"), "a (1youngerBBB).txt");
		CU_ASSERT_STRING_EQUAL(settled(v, n, "1younger2CC"), "a (1younger2CC).txt");
		CU_ASSERT_STRING_EQUAL(settled(v, n, "1otherDDDDD"), "b");
		for (size_t i = 0; i < n; i++)
			free(v[i].name);
	}
}

static void
a_twin_does_not_take_anothers_name(void)
{
	struct drive_file f[] = { file("1A", "x.tar.gz", "2020"), file("2bcdefghijk", "x.tar.gz", "2021"), file("3C", "x.tar (2bcdefgh).gz", "2022") };
	struct drive_entry v[3];

	for (size_t i = 0; i < 3; i++)
		v[i] = (struct drive_entry){ &f[i], weir_xstrdup(f[i].name) };
	weir_drive_names_settle(v, 3);
	CU_ASSERT_STRING_EQUAL(settled(v, 3, "1A"), "x.tar.gz");
	CU_ASSERT_STRING_EQUAL(settled(v, 3, "2bcdefghijk"), "x.tar (2bcdefghijk).gz");
	CU_ASSERT_STRING_EQUAL(settled(v, 3, "3C"), "x.tar (2bcdefgh).gz");
	for (size_t i = 0; i < 3; i++)
		free(v[i].name);
}

static void
twins_are_recognised(void)
{
	CU_ASSERT(weir_drive_name_is_twin("a (1AbCdEfG).txt"));
	CU_ASSERT(weir_drive_name_is_twin("noext (1AbCdEfGhIjK-_)"));
	CU_ASSERT(!weir_drive_name_is_twin("a (1).txt"));
	CU_ASSERT(!weir_drive_name_is_twin("a(1AbCdEfG).txt"));
	CU_ASSERT(!weir_drive_name_is_twin("a (copy of it).txt"));
	CU_ASSERT(!weir_drive_name_is_twin(")"));
	CU_ASSERT(!weir_drive_name_is_twin(""));
	CU_ASSERT(weir_drive_name_is("a (1AbCdEfG).txt", "a.txt", "1AbCdEfGhI"));
	CU_ASSERT(weir_drive_name_is("a (1AbCdEfGhI).txt", "a.txt", "1AbCdEfGhI"));
	CU_ASSERT(!weir_drive_name_is("a (1AbCdEfX).txt", "a.txt", "1AbCdEfGhI"));
}

static void
queries_are_escaped(void)
{
	struct weir_buf b = WEIR_BUF(4096);

	weir_drive_query_text(&b, "it's \\ \"so\"");
	CU_ASSERT_STRING_EQUAL(weir_buf_str(&b), "'it\\'s \\\\ \"so\"'");
	weir_buf_free(&b);
}

/* ---- exports ---- */

static void
documents_have_the_ending_of_their_export(void)
{
	const char *bad = NULL;
	const struct drive_format **v = weir_drive_formats_parse("docx,xlsx, pptx svg", &bad), **pdf = weir_drive_formats_parse("pdf", &bad);
	const struct drive_format **none = weir_drive_formats_parse("none", &bad);
	struct drive_file doc = { .id = (char *)(uintptr_t)"1AbCdEfGhIjK", .name = (char *)(uintptr_t)"My doc",
		.mime = (char *)(uintptr_t)"application/vnd.google-apps.document" };
	char *name;

	CU_ASSERT_PTR_NOT_NULL_FATAL(v);
	CU_ASSERT_PTR_NOT_NULL_FATAL(pdf);
	CU_ASSERT_PTR_NOT_NULL_FATAL(none);
	name = weir_drive_name_of(v, &doc);
	CU_ASSERT_STRING_EQUAL(name, "My doc.docx");
	free(name);
	name = weir_drive_name_of(pdf, &doc);
	CU_ASSERT_STRING_EQUAL(name, "My doc.pdf");
	free(name);
	CU_ASSERT_PTR_NULL(weir_drive_name_of(none, &doc));
	doc.mime = (char *)(uintptr_t)"application/vnd.google-apps.form";
	CU_ASSERT_PTR_NULL(weir_drive_name_of(v, &doc));
	CU_ASSERT_PTR_NULL(weir_drive_formats_parse("docx,exe", &bad));
	CU_ASSERT_STRING_EQUAL(bad, "exe");
	free(v);
	free(pdf);
	free(none);
}

/* ---- JSON ---- */

static const char page_text[] =
    "{\"nextPageToken\":\"~!!~A\",\"incompleteSearch\":false,\"files\":["
    "{\"id\":\"1AbC\",\"name\":\"a.txt\",\"mimeType\":\"text/plain\",\"parents\":[\"0AroOt\"],\"size\":\"5\",\"modifiedTime\":\"2026-01-02T03:04:05.678Z\","
    "\"createdTime\":\"2026-01-02T03:04:05.678Z\",\"version\":\"7\",\"headRevisionId\":\"0B9\",\"md5Checksum\":\"5d41402abc4b2a76b9719d911017c592\","
    "\"trashed\":false,\"appProperties\":{\"weir_mode\":\"0750\",\"weir_type\":\"link\"},\"capabilities\":{\"canEdit\":false}},"
    "{\"name\":\"no id\"},{\"id\":\"a/../b\",\"name\":\"bad id\"},"
    "{\"id\":\"1d\",\"name\":\"nul\\u0000here\",\"mimeType\":\"application/vnd.google-apps.folder\",\"capabilities\":{\"canAddChildren\":false}},"
    "{\"id\":\"1s\",\"name\":\"s\",\"mimeType\":\"application/vnd.google-apps.shortcut\",\"shortcutDetails\":{\"targetId\":\"1AbC\",\"targetMimeType\":\"text/plain\"}}]}";

static void
a_page_is_read(void)
{
	struct drive_page p;

	CU_ASSERT_EQUAL_FATAL(weir_drive_page_parse(page_text, strlen(page_text), &p), 0);
	CU_ASSERT_EQUAL_FATAL(p.n, 3);
	CU_ASSERT_STRING_EQUAL(p.next, "~!!~A");
	CU_ASSERT_STRING_EQUAL(p.v[0].rev, "0B9");
	CU_ASSERT_EQUAL(p.v[0].size, 5);
	CU_ASSERT_EQUAL(p.v[0].mode, 0750);
	CU_ASSERT(p.v[0].is_link && p.v[0].is_fixed);
	CU_ASSERT_EQUAL(p.v[0].modified_ns, 1767323045678000000);
	CU_ASSERT_STRING_EQUAL(p.v[1].name, "nul\xE2\x90\x80here");
	CU_ASSERT(p.v[1].is_closed);
	CU_ASSERT_EQUAL(p.v[1].size, WEIR_SIZE_NONE);
	CU_ASSERT_STRING_EQUAL(p.v[2].target_id, "1AbC");
	weir_drive_page_free(&p);
	CU_ASSERT_EQUAL(weir_drive_page_parse("{}", 2, &p), -1);
	CU_ASSERT_EQUAL(weir_drive_page_parse("<html>", 6, &p), -1);
}

static void
versions_say_which_bytes_of_which_file(void)
{
	struct drive_page p;
	char *v;

	CU_ASSERT_EQUAL_FATAL(weir_drive_page_parse(page_text, strlen(page_text), &p), 0);
	v = weir_drive_version(&p.v[0]);
	CU_ASSERT_STRING_EQUAL(v, "1AbC:0B9");
	free(v);
	CU_ASSERT_PTR_NULL(weir_drive_version(&p.v[1]));
	weir_drive_page_free(&p);
}

static void
changes_are_read(void)
{
	static const char text[] = "{\"changes\":[{\"changeType\":\"file\",\"removed\":true,\"fileId\":\"1x\"},{\"changeType\":\"drive\",\"driveId\":\"0A\"},"
	    "{\"changeType\":\"file\",\"removed\":false,\"fileId\":\"1y\",\"file\":{\"id\":\"1y\",\"name\":\"y\",\"trashed\":true}}],\"newStartPageToken\":\"1240\"}";
	struct drive_changes c;

	CU_ASSERT_EQUAL_FATAL(weir_drive_changes_parse(text, strlen(text), &c), 0);
	CU_ASSERT_EQUAL_FATAL(c.n, 2);
	CU_ASSERT(c.v[0].is_removed && !c.v[0].has_file);
	CU_ASSERT(c.v[1].has_file && c.v[1].file.is_trashed);
	CU_ASSERT_STRING_EQUAL(c.start, "1240");
	weir_drive_changes_free(&c);
}

static const struct { int status; const char *body; enum weir_code code; } errors[] = {
	{ 404, "{\"error\":{\"code\":404,\"message\":\"File not found: X.\",\"errors\":[{\"reason\":\"notFound\"}]}}", WEIR_E_NOENT },
	{ 403, "{\"error\":{\"code\":403,\"message\":\"slow\",\"errors\":[{\"reason\":\"userRateLimitExceeded\"}]}}", WEIR_E_THROTTLED },
	{ 403, "{\"error\":{\"errors\":[{\"reason\":\"rateLimitExceeded\"}]}}", WEIR_E_THROTTLED },
	{ 429, "", WEIR_E_THROTTLED },
	{ 403, "{\"error\":{\"errors\":[{\"reason\":\"storageQuotaExceeded\"}]}}", WEIR_E_DQUOT },
	{ 403, "{\"error\":{\"errors\":[{\"reason\":\"insufficientFilePermissions\"}]}}", WEIR_E_ACCES },
	{ 403, "{\"error\":{\"status\":\"PERMISSION_DENIED\",\"message\":\"no\"}}", WEIR_E_ACCES },
	{ 403, "{\"error\":{\"errors\":[{\"reason\":\"accessNotConfigured\"}]}}", WEIR_E_AUTH },
	{ 403, "{\"error\":{\"errors\":[{\"reason\":\"teamDriveFileLimitExceeded\"}]}}", WEIR_E_NOSPC },
	{ 403, "{\"error\":{\"errors\":[{\"reason\":\"exportSizeLimitExceeded\"}]}}", WEIR_E_FBIG },
	{ 409, "{\"error\":{\"errors\":[{\"reason\":\"fileIdInUse\"}]}}", WEIR_E_EXIST },
	{ 401, "{\"error\":{\"errors\":[{\"reason\":\"authError\"}]}}", WEIR_E_AUTH },
	{ 400, "{\"error\":{\"errors\":[{\"reason\":\"invalid\"}]}}", WEIR_E_INVAL },
	{ 500, "{\"error\":{\"errors\":[{\"reason\":\"internalError\"}]}}", WEIR_E_SERVER },
	{ 503, "{\"error\":{\"errors\":[{\"reason\":\"backendError\"}]}}", WEIR_E_THROTTLED },
	{ 502, "<html>Bad gateway</html>", WEIR_E_SERVER },
};

static void
errors_mean_what_the_sheet_says(void)
{
	for (size_t i = 0; i < WEIR_LEN(errors); i++) {
		struct drive_error e;

		weir_drive_error_parse(errors[i].body, strlen(errors[i].body), &e);
		CU_ASSERT_EQUAL(weir_drive_code(errors[i].status, e.reason), errors[i].code);
		if (weir_drive_code(errors[i].status, e.reason) != errors[i].code)
			printf("\n%d %s: %s\n", errors[i].status, errors[i].body, weir_code_name(weir_drive_code(errors[i].status, e.reason)));
	}
}

static void
what_is_kept_of_an_upload(void)
{
	CU_ASSERT_EQUAL(weir_drive_range_kept(NULL), 0);
	CU_ASSERT_EQUAL(weir_drive_range_kept("bytes=0-262143"), 262144);
	CU_ASSERT_EQUAL(weir_drive_range_kept("bytes=5-9"), 0);
	CU_ASSERT_EQUAL(weir_drive_range_kept("bytes=0-9x"), 0);
	CU_ASSERT_EQUAL(weir_drive_range_kept("rubbish"), 0);
}

static void
times_have_milliseconds(void)
{
	char text[40];

	weir_drive_time(1767323045678999999, text);
	CU_ASSERT_STRING_EQUAL(text, "2026-01-02T03:04:05.678Z");
	weir_drive_time(0, text);
	CU_ASSERT_STRING_EQUAL(text, "1970-01-01T00:00:00.000Z");
	weir_drive_time(-1000000, text);
	CU_ASSERT_STRING_EQUAL(text, "1969-12-31T23:59:59.999Z");
	for (int64_t ns = -5000000000000000; ns < 5000000000000000; ns += 777777777000000) {
		weir_drive_time(ns, text);
		CU_ASSERT_EQUAL(weir_date_parse(text), ns);
	}
}

static void
metadata_says_mode_and_link(void)
{
	const struct weir_meta meta = { 1767323045678000000, 0755 };
	const struct drive_file was = { .is_link = true };
	json_t *o = json_object();
	char *text;

	weir_drive_meta_json(o, &meta, WEIR_LINK, NULL);
	text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
	CU_ASSERT_STRING_EQUAL(text, "{\"appProperties\":{\"weir_mode\":\"0755\",\"weir_type\":\"link\"},\"modifiedTime\":\"2026-01-02T03:04:05.678Z\"}");
	free(text);
	json_object_clear(o);
	weir_drive_meta_json(o, NULL, WEIR_FILE, &was);	/* a symlink that becomes a file */
	text = json_dumps(o, JSON_COMPACT);
	CU_ASSERT_STRING_EQUAL(text, "{\"appProperties\":{\"weir_type\":null}}");
	free(text);
	json_decref(o);
}

static void
notes_are_found_forgotten_and_overwritten(void)
{
	struct drive_map m;
	char *v, **all;

	weir_drive_map_init(&m, 3);
	weir_drive_map_put(&m, "a", "1");
	weir_drive_map_put(&m, "a/b", "2");
	weir_drive_map_put(&m, "ab", "3");
	v = weir_drive_map_get(&m, "a/b", 1000);
	CU_ASSERT_STRING_EQUAL(v, "2");
	free(v);
	all = weir_drive_map_values(&m, "a/", 1000);
	CU_ASSERT_STRING_EQUAL(all[0], "2");
	CU_ASSERT_PTR_NULL(all[1]);
	free(all[0]);
	free(all);
	weir_drive_map_drop_below(&m, "a");
	CU_ASSERT_PTR_NULL(weir_drive_map_get(&m, "a", 1000));
	CU_ASSERT_PTR_NULL(weir_drive_map_get(&m, "a/b", 1000));
	v = weir_drive_map_key_of(&m, "3", 1000);
	CU_ASSERT_STRING_EQUAL(v, "ab");
	free(v);
	for (int i = 0; i < 3; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%d", i);
		weir_drive_map_put(&m, key, "v");
	}
	CU_ASSERT_PTR_NULL(weir_drive_map_get(&m, "ab", 1000));
	weir_drive_map_free(&m);
}

int
main(void)
{
	CU_pSuite suite;
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite("drive", NULL, NULL);
	CU_ADD_TEST(suite, names_go_both_ways);
	CU_ADD_TEST(suite, names_that_would_not_come_back_are_refused);
	CU_ADD_TEST(suite, long_and_empty_names_are_shown_somehow);
	CU_ADD_TEST(suite, the_oldest_keeps_the_name_in_every_order);
	CU_ADD_TEST(suite, a_twin_does_not_take_anothers_name);
	CU_ADD_TEST(suite, twins_are_recognised);
	CU_ADD_TEST(suite, queries_are_escaped);
	CU_ADD_TEST(suite, documents_have_the_ending_of_their_export);
	CU_ADD_TEST(suite, a_page_is_read);
	CU_ADD_TEST(suite, versions_say_which_bytes_of_which_file);
	CU_ADD_TEST(suite, changes_are_read);
	CU_ADD_TEST(suite, errors_mean_what_the_sheet_says);
	CU_ADD_TEST(suite, what_is_kept_of_an_upload);
	CU_ADD_TEST(suite, times_have_milliseconds);
	CU_ADD_TEST(suite, metadata_says_mode_and_link);
	CU_ADD_TEST(suite, notes_are_found_forgotten_and_overwritten);
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed > 0;
}
