/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of the Dropbox backend: content_hash, names, refusals, metadata, arguments. */
#include "config.h"

#include <CUnit/Basic.h>
#include <string.h>

#include "../../backends/dropbox_impl.h"

/* ---- content_hash ---- */

struct as { struct weir_source src; uint64_t size; };

static ssize_t
as_read(struct weir_source *src, void *buf, size_t len, uint64_t off)
{
	struct as *a = (struct as *)src;

	if (off >= a->size)
		return 0;
	len = len < a->size - off ? len : (size_t)(a->size - off);
	memset(buf, 'A', len);
	return (ssize_t)len;
}

static const struct { uint64_t n; const char *hash; } vectors[] = {
	{ 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
	{ 1, "1cd6ef71e6e0ff46ad2609d403dc3fee244417089aa4461245a4e4fe23a55e42" },
	{ 2, "01e0655fb754d10418a73760f57515f4903b298e6d67dda6bf0987fa79c22c88" },
	{ 4096, "8620913d33852befe09f16fff8fd75f77a83160d29f76f07e0276e9690903035" },
	{ 4194303, "647c8627d70f7a7d13ce96b1e7710a771a55d41a62c3da490d92e56044d311fa" },
	{ 4194304, "d4d63bac5b866c71620185392a8a6218ac1092454a2d16f820363b69852befa3" },
	{ 4194305, "8f553da8d00d0bf509d8470e242888be33019c20c0544811f5b2b89e98360b92" },
	{ 8388608, "e08b3ba1f538804075c5f939accdeaa9efc7b5c01865c94a41e78ca6550a88e7" },
	{ 8388609, "02c8a4aefc2bfc9036f89a7098001865885938ca580e5c9e5db672385edd303c" },
};

static void
content_hash_is_dropboxs_own(void)
{
	char hex[2 * WEIR_SHA256_LEN + 1];
	struct dropbox_hash *h = weir_dropbox_hash_new();

	for (size_t i = 0; i < WEIR_LEN(vectors); i++) {
		struct as a = { { as_read }, vectors[i].n };

		CU_ASSERT_EQUAL(weir_dropbox_hash_source(&a.src, 0, a.size, hex, NULL, NULL), WEIR_OK);
		CU_ASSERT_STRING_EQUAL(hex, vectors[i].hash);
	}
	weir_dropbox_hash_add(h, "hel", 3);
	weir_dropbox_hash_add(h, "lo", 2);
	weir_dropbox_hash_end(h, hex, NULL);
	CU_ASSERT_STRING_EQUAL(hex, "9595c9df90075148eb06860365df33584b75bff782a510c6cd4883a419833d50");
}

static void
tags_of_parts_give_the_hash_of_the_whole(void)
{
	char hex[2 * WEIR_SHA256_LEN + 1];
	struct as a = { { as_read }, 8388609 };
	const char *tags[2];
	char *one = NULL, *two = NULL;

	CU_ASSERT_EQUAL(weir_dropbox_hash_source(&a.src, 0, DROPBOX_BLOCK, hex, &one, NULL), WEIR_OK);
	CU_ASSERT_EQUAL(strlen(one), 64);
	CU_ASSERT_EQUAL(weir_dropbox_hash_source(&a.src, DROPBOX_BLOCK, a.size - DROPBOX_BLOCK, hex, &two, NULL), WEIR_OK);
	CU_ASSERT_EQUAL(strlen(two), 128);
	tags[0] = one;
	tags[1] = two;
	CU_ASSERT_TRUE(weir_dropbox_hash_tags(tags, 2, a.size, hex));
	CU_ASSERT_STRING_EQUAL(hex, vectors[8].hash);
	CU_ASSERT_FALSE(weir_dropbox_hash_tags(tags, 1, a.size, hex));
	CU_ASSERT_FALSE(weir_dropbox_hash_tags(tags, 2, a.size + DROPBOX_BLOCK, hex));
	two[5] = 'x';
	CU_ASSERT_FALSE(weir_dropbox_hash_tags(tags, 2, a.size, hex));
	tags[1] = NULL;
	CU_ASSERT_FALSE(weir_dropbox_hash_tags(tags, 2, a.size, hex));
	free(one);
	free(two);
}

static ssize_t
as_fail(struct weir_source *src, void *buf, size_t len, uint64_t off)
{
	return -1;
}

static void
a_source_that_cannot_be_read_is_io(void)
{
	struct as a = { { as_fail }, 10 };
	char hex[2 * WEIR_SHA256_LEN + 1];

	CU_ASSERT_EQUAL(weir_dropbox_hash_source(&a.src, 0, 10, hex, NULL, NULL), WEIR_E_IO);
}

/* ---- names ---- */

static void
name_is(const char *shown, const char *held)
{
	struct weir_buf b = WEIR_BUF(64u << 10);
	char *back;

	CU_ASSERT_EQUAL(weir_dropbox_path_add(&b, shown, true, NULL), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(weir_buf_str(&b) + (b.len > 0), held);
	back = weir_dropbox_name_shown(held);
	CU_ASSERT_PTR_NOT_NULL(back);
	if (back != NULL)
		CU_ASSERT_STRING_EQUAL(back, shown);
	free(back);
	weir_buf_free(&b);
}

static void
names_are_escaped_as_rclone_does(void)
{
	name_is("plain.txt", "plain.txt");
	name_is("back\\slash", "back\xEF\xBC\xBCslash");
	name_is("del\x7f", "del\xE2\x90\xA1");
	name_is("trailing ", "trailing\xE2\x90\xA0");
	name_is(" a b", " a b");
	name_is("two  ", "two \xE2\x90\xA0");
	name_is("not utf-8 \xff", "not utf-8 \xE2\x80\x9B" "FF");
	name_is("\xEF\xBC\xBC itself", "\xE2\x80\x9B\xEF\xBC\xBC itself");
	name_is("inside\xE2\x90\xA0 it", "inside\xE2\x90\xA0 it");
	name_is("\xE2\x80\x9B quote", "\xE2\x80\x9B quote");
	name_is("\xE2\x80\x9B" "FF", "\xE2\x80\x9B\xE2\x80\x9B" "FF");
	name_is("\xF0\x9F\x98\x80", "\xF0\x9F\x98\x80");
	name_is("new\nline\ttab", "new\nline\ttab");
}

static enum weir_code
path_code(const char *path, bool is_new)
{
	struct weir_buf b = WEIR_BUF(64u << 10);
	enum weir_code r = weir_dropbox_path_add(&b, path, is_new, NULL);

	weir_buf_free(&b);
	return r;
}

static void
paths_become_the_servers(void)
{
	struct weir_buf b = WEIR_BUF(64u << 10);
	char longest[300];

	CU_ASSERT_EQUAL(weir_dropbox_path_add(&b, "", false, NULL), WEIR_OK);
	CU_ASSERT_EQUAL(b.len, 0);		/* the root is "", never "/" */
	CU_ASSERT_EQUAL(weir_dropbox_path_add(&b, "a /cafe\xCC\x81", false, NULL), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(weir_buf_str(&b), "/a\xE2\x90\xA0/caf\xC3\xA9");
	weir_buf_free(&b);
	CU_ASSERT_EQUAL(path_code("a//b", false), WEIR_E_NAME);
	CU_ASSERT_EQUAL(path_code("a/", false), WEIR_E_NAME);
	CU_ASSERT_EQUAL(path_code("a/../b", false), WEIR_E_NAME);
	CU_ASSERT_EQUAL(path_code("d/Desktop.INI", true), WEIR_E_NAME);
	CU_ASSERT_EQUAL(path_code("d/Desktop.INI", false), WEIR_OK);
	CU_ASSERT_EQUAL(path_code(".dropbox/x", true), WEIR_OK);
	CU_ASSERT_EQUAL(path_code("icon\r", true), WEIR_E_NAME);
	memset(longest, 'n', sizeof(longest));
	longest[255] = '\0';
	CU_ASSERT_EQUAL(path_code(longest, true), WEIR_OK);
	longest[255] = 'n';
	longest[256] = '\0';
	CU_ASSERT_EQUAL(path_code(longest, true), WEIR_E_NAMETOOLONG);
}

static void
what_a_mount_cannot_show_is_not_shown(void)
{
	CU_ASSERT_PTR_NULL(weir_dropbox_name_shown(""));
	CU_ASSERT_PTR_NULL(weir_dropbox_name_shown("."));
	CU_ASSERT_PTR_NULL(weir_dropbox_name_shown(".."));
	CU_ASSERT_PTR_NULL(weir_dropbox_name_shown("a/b"));
}

static void
fold_is(const char *a, const char *b)
{
	char *f = weir_dropbox_fold(a);

	CU_ASSERT_STRING_EQUAL(f, b);
	free(f);
}

static void
folding_is_simple_lower_case(void)
{
	fold_is("/Some/PATH.Txt", "/some/path.txt");
	fold_is("\xC3\x84\xC3\x96\xC3\x9C", "\xC3\xA4\xC3\xB6\xC3\xBC");
	fold_is("Stra\xC3\x9F" "e", "stra\xC3\x9F" "e");		/* not "strasse" */
	fold_is("\xCE\xA3", "\xCF\x83");
	fold_is("bad \xff byte", "bad \xff byte");
}

/* ---- JSON ---- */

static void
arguments_are_ascii(void)
{
	json_t *j = json_pack("{s:s}", "path", "/caf\xC3\xA9 \xF0\x9F\x98\x80 \x7f");
	char *text = weir_dropbox_json_text(j);

	CU_ASSERT_STRING_EQUAL(text, "{\"path\":\"/caf\\u00E9 \\uD83D\\uDE00 \\u007f\"}");
	for (const char *p = text; *p != '\0'; p++)
		CU_ASSERT_TRUE(*p >= ' ' && *p < '\x7f');
	free(text);
	json_decref(j);
}

static void
commit_is(const char *version, int64_t mtime_ns, const char *want)
{
	const struct weir_where w = { .path = "a", .version = version };
	const struct weir_meta meta = { mtime_ns, WEIR_MODE_NONE };
	json_t *j = weir_dropbox_commit_json("/a", &w, &meta);
	char *text = json_dumps(j, JSON_SORT_KEYS | JSON_COMPACT);

	CU_ASSERT_STRING_EQUAL(text, want);
	free(text);
	json_decref(j);
}

static void
commits_name_what_they_replace(void)
{
	commit_is(NULL, WEIR_TIME_NONE, "{\"autorename\":false,\"mode\":\"overwrite\",\"mute\":true,\"path\":\"/a\",\"strict_conflict\":false}");
	commit_is(WEIR_ABSENT, 1767323045999999999, "{\"autorename\":false,\"client_modified\":\"2026-01-02T03:04:05Z\",\"mode\":\"add\","
	    "\"mute\":true,\"path\":\"/a\",\"strict_conflict\":true}");
	commit_is("0123456789abc", WEIR_TIME_NONE, "{\"autorename\":false,\"mode\":{\".tag\":\"update\",\"update\":\"0123456789abc\"},\"mute\":true,"
	    "\"path\":\"/a\",\"strict_conflict\":true}");
}

static const struct { int status; const char *body; enum weir_code code; const char *text; } refusals[] = {
	{ 409, "{\"error_summary\":\"path/not_found/..\",\"error\":{\".tag\":\"path\",\"path\":{\".tag\":\"not_found\"}}}", WEIR_E_NOENT, "path/not_found" },
	{ 409, "{\"error\":{\".tag\":\"path\",\"reason\":{\".tag\":\"conflict\",\"conflict\":{\".tag\":\"file\"}},\"upload_session_id\":\"s\"}}", WEIR_E_EXIST,
	    "path/conflict/file" },
	{ 409, "{\"error\":{\".tag\":\"path\",\"path\":{\".tag\":\"conflict\",\"conflict\":\"folder\"}}}", WEIR_E_EXIST, "path/conflict/folder" },
	{ 409, "{\"error\":{\".tag\":\"path\",\"path\":{\".tag\":\"conflict\",\"conflict\":{\".tag\":\"file_ancestor\"}}}}", WEIR_E_NOTDIR,
	    "path/conflict/file_ancestor" },
	{ 409, "{\"error\":{\".tag\":\"path\",\"path\":{\".tag\":\"insufficient_space\"}}}", WEIR_E_DQUOT, "the Dropbox is full" },
	{ 409, "{\"error\":{\".tag\":\"path_write\",\"path_write\":{\".tag\":\"no_write_permission\"}}}", WEIR_E_ACCES, NULL },
	{ 409, "{\"error\":{\".tag\":\"too_many_write_operations\"}}", WEIR_E_THROTTLED, NULL },
	{ 409, "{\"error\":{\".tag\":\"reset\"}}", WEIR_E_STALE, NULL },
	{ 409, "{\"error\":{\".tag\":\"content_hash_mismatch\"}}", WEIR_E_BADSUM, NULL },
	{ 409, "{\"error\":{\".tag\":\"path\",\"path\":{\".tag\":\"disallowed_name\"}}}", WEIR_E_NAME, NULL },
	{ 409, "{\"error\":{\".tag\":\"path\",\"path\":{\".tag\":\"not_file\"}}}", WEIR_E_ISDIR, NULL },
	{ 409, "{\"error\":{\".tag\":\"path\",\"path\":{\".tag\":\"not_folder\"}}}", WEIR_E_NOTDIR, NULL },
	{ 409, "{\"error\":{\".tag\":\"path\",\"path\":{\".tag\":\"locked\"}}}", WEIR_E_LOCKED, NULL },
	{ 409, "{\"error\":{\".tag\":\"path\",\"path\":{\".tag\":\"restricted_content\"}}}", WEIR_E_ACCES, NULL },
	{ 409, "{\"error\":{\".tag\":\"unsupported_file\"}}", WEIR_E_NOTSUP, NULL },
	{ 409, "{\"error\":{\".tag\":\"team_folder\"}}", WEIR_E_PERM, NULL },
	{ 409, "{\"error\":{\".tag\":\"too_many_files\"}}", WEIR_E_FBIG, NULL },
	{ 409, "{\"error\":{\".tag\":\"internal_error\"}}", WEIR_E_SERVER, NULL },
	{ 409, "{\"error\":{\".tag\":\"cant_move_folder_into_itself\"}}", WEIR_E_INVAL, NULL },
	{ 409, "{\"error\":{\".tag\":\"something_new\"}}", WEIR_E_PROTO, "something_new" },
	{ 401, "{\"error\":{\".tag\":\"invalid_access_token\"}}", WEIR_E_AUTH, NULL },
	{ 401, "{\"error\":{\".tag\":\"expired_access_token\"}}", WEIR_E_SERVER, NULL },
	{ 401, "{\"error\":{\".tag\":\"missing_scope\",\"required_scope\":\"files.content.write\"}}", WEIR_E_ACCES,
	    "the app has no permission files.content.write: tick it in Dropbox's App Console, then sign in again" },
	{ 429, "{\"error\":{\"reason\":{\".tag\":\"too_many_requests\"},\"retry_after\":15}}", WEIR_E_THROTTLED, "too_many_requests" },
	{ 429, "slow down", WEIR_E_THROTTLED, "HTTP 429: slow down" },
	{ 400, "Error in call to API function \"files/x\": bad\n", WEIR_E_INVAL, "HTTP 400: Error in call to API function \"files/x\": bad " },
	{ 422, "{\"error\":{\".tag\":\"invalid_root\",\"invalid_root\":{\".tag\":\"user\",\"root_namespace_id\":\"9\"}}}", WEIR_E_SERVER, NULL },
	{ 500, "<html>", WEIR_E_SERVER, NULL }, { 503, "", WEIR_E_SERVER, "HTTP 503" }, { 403, "{}", WEIR_E_ACCES, NULL },
};

static void
refusals_are_told_by_their_tags(void)
{
	for (size_t i = 0; i < WEIR_LEN(refusals); i++) {
		struct dropbox_error e;
		char text[256];
		enum weir_code r;

		weir_dropbox_error_parse(refusals[i].body, strlen(refusals[i].body), &e);
		r = weir_dropbox_error_code(refusals[i].status, &e);
		if (r != refusals[i].code)
			printf("\n  %s: %s, not %s\n", refusals[i].body, weir_code_name(r), weir_code_name(refusals[i].code));
		CU_ASSERT_EQUAL(r, refusals[i].code);
		weir_dropbox_error_text(refusals[i].status, &e, text);
		if (refusals[i].text != NULL)
			CU_ASSERT_STRING_EQUAL(text, refusals[i].text);
		weir_dropbox_error_clear(&e);
	}
}

static void
refusals_tell_numbers_too(void)
{
	static const char throttled[] = "{\"error\":{\"reason\":{\".tag\":\"too_many_requests\"},\"retry_after\":15}}";
	static const char offset[] = "{\"error\":{\".tag\":\"lookup_failed\",\"lookup_failed\":{\".tag\":\"incorrect_offset\",\"correct_offset\":4194304}}}";
	static const char session[] = "{\"error\":{\".tag\":\"path\",\"reason\":{\".tag\":\"conflict\"},\"upload_session_id\":\"pid:1\"}}";
	struct dropbox_error e;

	weir_dropbox_error_parse(throttled, strlen(throttled), &e);
	CU_ASSERT_EQUAL(e.retry_after_ms, 15000);
	weir_dropbox_error_clear(&e);
	weir_dropbox_error_parse(offset, strlen(offset), &e);
	CU_ASSERT_TRUE(e.has_offset);
	CU_ASSERT_EQUAL(e.correct_offset, 4194304);
	CU_ASSERT_TRUE(weir_dropbox_error_has(&e, "incorrect_offset"));
	weir_dropbox_error_clear(&e);
	weir_dropbox_error_parse(session, strlen(session), &e);
	CU_ASSERT_STRING_EQUAL(e.session, "pid:1");
	weir_dropbox_error_clear(&e);
	CU_ASSERT_PTR_NULL(e.session);
}

static enum weir_code
stat_of(const char *text, struct weir_stat *st, bool *is_deleted)
{
	json_t *j = json_loads(text, 0, NULL);
	enum weir_code r = weir_dropbox_stat_of_json(j, st, is_deleted, NULL);

	json_decref(j);
	return r;
}

static void
metadata_becomes_a_stat(void)
{
	struct weir_stat st;
	bool is_deleted;

	CU_ASSERT_EQUAL(stat_of("{\".tag\":\"file\",\"name\":\"A.txt\",\"path_lower\":\"/d/a.txt\",\"path_display\":\"/D/A.txt\",\"id\":\"id:a4\","
	    "\"client_modified\":\"2026-01-02T03:04:05Z\",\"server_modified\":\"2026-01-02T03:04:06Z\",\"rev\":\"0123456789abc\",\"size\":5,"
	    "\"content_hash\":\"9595c9df90075148eb06860365df33584b75bff782a510c6cd4883a419833d50\",\"later\":[1]}", &st, &is_deleted), WEIR_OK);
	CU_ASSERT_EQUAL(st.type, WEIR_FILE);
	CU_ASSERT_STRING_EQUAL(st.path, "A.txt");
	CU_ASSERT_STRING_EQUAL(st.id, "id:a4");
	CU_ASSERT_STRING_EQUAL(st.version, "0123456789abc");
	CU_ASSERT_EQUAL(st.size, 5);
	CU_ASSERT_EQUAL(st.mtime_ns, 1767323045000000000);
	CU_ASSERT_STRING_EQUAL(st.sum, "dropbox:9595c9df90075148eb06860365df33584b75bff782a510c6cd4883a419833d50");
	CU_ASSERT_FALSE(st.is_readonly);
	weir_stat_free(&st);
	CU_ASSERT_EQUAL(stat_of("{\"name\":\"x\",\"id\":\"id:b\",\"path_lower\":\"/x\"}", &st, &is_deleted), WEIR_OK);	/* create_folder_v2 leaves the tag out */
	CU_ASSERT_EQUAL(st.type, WEIR_DIR);
	weir_stat_free(&st);
	CU_ASSERT_EQUAL(stat_of("{\".tag\":\"deleted\",\"name\":\"x\"}", &st, &is_deleted), WEIR_OK);
	CU_ASSERT_TRUE(is_deleted);
	weir_stat_free(&st);
	CU_ASSERT_EQUAL(stat_of("{\".tag\":\"file\",\"name\":\"x.paper\",\"rev\":\"0123456789\",\"size\":1,\"is_downloadable\":false}", &st, &is_deleted), WEIR_OK);
	CU_ASSERT_TRUE(st.is_readonly);
	weir_stat_free(&st);
	CU_ASSERT_EQUAL(stat_of("{\".tag\":\"file\",\"name\":\"x\"}", &st, &is_deleted), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(stat_of("{\".tag\":\"alien\",\"name\":\"x\"}", &st, &is_deleted), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(stat_of("{}", &st, &is_deleted), WEIR_E_PROTO);
}

int
main(void)
{
	CU_TestInfo tests[] = {
		{ "content_hash is Dropbox's own", content_hash_is_dropboxs_own },
		{ "tags of parts give the hash of the whole", tags_of_parts_give_the_hash_of_the_whole },
		{ "a source that cannot be read is IO", a_source_that_cannot_be_read_is_io },
		{ "names are escaped as rclone does", names_are_escaped_as_rclone_does },
		{ "paths become the server's", paths_become_the_servers },
		{ "what a mount cannot show is not shown", what_a_mount_cannot_show_is_not_shown },
		{ "folding is simple lower case", folding_is_simple_lower_case },
		{ "arguments are ASCII", arguments_are_ascii },
		{ "commits name what they replace", commits_name_what_they_replace },
		{ "refusals are told by their tags", refusals_are_told_by_their_tags },
		{ "refusals tell numbers too", refusals_tell_numbers_too },
		{ "metadata becomes a stat", metadata_becomes_a_stat },
		CU_TEST_INFO_NULL,
	};
	CU_SuiteInfo suites[] = { { "dropbox", NULL, NULL, NULL, NULL, tests }, CU_SUITE_INFO_NULL };
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS || CU_register_suites(suites) != CUE_SUCCESS)
		return 99;
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed > 0;
}
