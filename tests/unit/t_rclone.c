/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the storage "rclone" that need no rclone: its configuration, obscured passwords, what it prints, names. */
#include "config.h"

#include <CUnit/Basic.h>
#include <stdio.h>
#include <string.h>

#include "../../backends/dav.h"
#include "../../backends/rclone_child.h"
#include "../../backends/rclone_ini.h"
#include "util/util.h"

static void
obscured_passwords_are_revealed(void)
{
	/* made by rclone 1.60.1 */
	static const char *const made[][2] = {
		{ "ujan5ZmG_pmcUfTzjkUIF5wp4jxK", "sesam" },
		{ "HXfkxjENDoHJNZFOhkcEQczB9hZzv0RXUCv5UqQN", "geheim ü#;\" x" },
		{ "m7mYwNh3p30pqEjmbX9HVwM", "a" },
		{ "bzahdaDHoAn7Y4VlmjQ7Ke58LkATGTxA9x_Y0j8ZThuKMCy9fwlS5D_tdf1F7izOmnmp-KAjGy4LceXKs2hWdrSyCcHVC5vErOCV_ObABbHe5Q_OvOSJLvXH7FI", "pässword with spaces and a length that needs more than one block of sixteen" },
	};

	for (size_t i = 0; i < WEIR_LEN(made); i++) {
		WEIR_AUTO(weir_secret_freep) char *plain = NULL;

		CU_ASSERT_EQUAL(weir_rclone_reveal(made[i][0], &plain, NULL), WEIR_OK);
		CU_ASSERT_PTR_NOT_NULL_FATAL(plain);
		CU_ASSERT_STRING_EQUAL(plain, made[i][1]);
	}
}

static void
what_was_never_obscured_is_refused(void)
{
	static const char *const bad[] = { "", "a", "sesam", "not-obscured!", "aGVsbG8gd29ybGQ=", "AAAAAAAAAAAAAAAAAAAAA",
		"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz" };

	for (size_t i = 0; i < WEIR_LEN(bad); i++) {
		char *plain = NULL;

		CU_ASSERT_EQUAL(weir_rclone_reveal(bad[i], &plain, NULL), WEIR_E_PROTO);
		CU_ASSERT_PTR_NULL(plain);
	}
}

static struct weir_rclone_ini *
parsed(const char *text)
{
	struct weir_rclone_ini *ini = NULL;
	struct weir_err err = { 0 };

	if (weir_rclone_ini_parse("r.conf", text, strlen(text), &ini, &err) != WEIR_OK)
		fprintf(stderr, "%s\n", err.msg);
	CU_ASSERT_PTR_NOT_NULL_FATAL(ini);
	return ini;
}

static void
is(const struct weir_rclone_ini *ini, const char *section, const char *key, const char *want)
{
	const struct weir_rclone_section *s = weir_rclone_ini_section(ini, section);
	const char *v;

	CU_ASSERT_PTR_NOT_NULL_FATAL(s);
	v = weir_rclone_ini_get(s, key);
	if (want == NULL)
		CU_ASSERT_PTR_NULL(v);
	if (want != NULL) {
		CU_ASSERT_PTR_NOT_NULL_FATAL(v);
		CU_ASSERT_STRING_EQUAL(v, want);
	}
}

static void
a_configuration_is_read_as_rclone_reads_it(void)
{
	struct weir_rclone_ini *ini = parsed("\xef\xbb\xbf# comment\r\n; another\n\n[a b]\r\ntype = s3\nurl : http://h/?x=y\n  secret=a = b # c ; d\n"
	    "quoted = `in side `\nlong = \"\"\"{\"a\":\"b\"}\"\"\"\n`odd=key` = 1\nempty =\n[ other ]\nk = v\n[a b]\ntype = webdav");

	CU_ASSERT_EQUAL(ini->n, 2);
	is(ini, "a b", "type", "webdav");
	is(ini, "a b", "url", "http://h/?x=y");
	is(ini, "a b", "secret", "a = b # c ; d");
	is(ini, "a b", "quoted", "in side ");
	is(ini, "a b", "long", "{\"a\":\"b\"}");
	is(ini, "a b", "odd=key", "1");
	is(ini, "a b", "empty", NULL);
	is(ini, "other", "k", "v");
	weir_rclone_ini_free(ini);
}

static void
other_files_are_refused_with_their_line(void)
{
	static const char *const bad[][2] = { { "x = 1\n", "r.conf:1: this is no rclone.conf" }, { "[a]\nfoo\n", "r.conf:2: no 'key = value'" },
		{ "[a]\n= v\n", "r.conf:2: no 'key = value'" }, { "[a]\nk = `v\n", "r.conf:2: a quote is not closed" },
		{ "# Encrypted rclone configuration File\n\nRCLONE_ENCRYPT_V0:\nAAAA\n", "r.conf is encrypted" } };

	for (size_t i = 0; i < WEIR_LEN(bad); i++) {
		struct weir_rclone_ini *ini = NULL;
		struct weir_err err = { 0 };

		CU_ASSERT_EQUAL(weir_rclone_ini_parse("r.conf", bad[i][0], strlen(bad[i][0]), &ini, &err), WEIR_E_CONFIG);
		CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, bad[i][1]));
	}
}

static void
lines_lose_their_date_and_level(void)
{
	static const struct { const char *line, *text; bool is_error; } lines[] = {
		{ "2026/11/22 22:12:38 ERROR : a: Failed to copy: no space  ", "a: Failed to copy: no space", true },
		{ "2026/11/22 22:12:38 NOTICE: Config file \"x\" not found", "Config file \"x\" not found", false },
		{ "2026/11/22 22:12:38 Failed to create file system for \"n:\": didn't find section in config file",
		    "Failed to create file system for \"n:\": didn't find section in config file", true },
		{ "2026/11/22 22:12:38.123456 CRITICAL: no", "no", true },
		{ "Error: unknown flag: --x\x1b", "Error: unknown flag: --x", true }, { "", "", true } };

	for (size_t i = 0; i < WEIR_LEN(lines); i++) {
		WEIR_AUTO(weir_freep) char *copy = weir_xstrdup(lines[i].line);
		bool is_error;

		CU_ASSERT_STRING_EQUAL(weir_rclone_line(copy, &is_error), lines[i].text);
		CU_ASSERT_EQUAL(is_error, lines[i].is_error);
	}
}

static void
the_port_is_read_from_old_and_new_rclones(void)
{
	CU_ASSERT_EQUAL(weir_rclone_line_port("x: WebDav Server started on http://127.0.0.1:43351/", "Server started on"), 43351);
	CU_ASSERT_EQUAL(weir_rclone_line_port("x: WebDav Server started on [http://127.0.0.1:43351/]", "Server started on"), 43351);
	CU_ASSERT_EQUAL(weir_rclone_line_port("Serving remote control on http://127.0.0.1:35113/", "remote control on"), 35113);
	CU_ASSERT_EQUAL(weir_rclone_line_port("Serving remote control on http://127.0.0.1:35113/", "Server started on"), 0);
	CU_ASSERT_EQUAL(weir_rclone_line_port("Server started on http://127.0.0.1:99999/", "Server started on"), 0);
	CU_ASSERT_EQUAL(weir_rclone_line_port("Server started on http://0.0.0.0:80/", "Server started on"), 0);
}

static void
the_reason_of_a_failed_start_has_its_code(void)
{
	CU_ASSERT_EQUAL(weir_rclone_start_code("Failed to create file system for \"n:\": didn't find section in config file"), WEIR_E_CONFIG);
	CU_ASSERT_EQUAL(weir_rclone_start_code("NewFs: couldn't connect SSH: ssh: handshake failed: ssh: unable to authenticate"), WEIR_E_AUTH);
	CU_ASSERT_EQUAL(weir_rclone_start_code("NewFs: couldn't connect SSH: dial tcp 10.0.0.1:22: connect: connection refused"), WEIR_E_NET);
}

static void
names_are_spelled_as_rclone_does_and_back(void)
{
	static const char *const names[][2] = { { "plain/a b", "plain/a b" }, { "tab\there", "tab\xe2\x90\x89here" }, { "del\x7f", "del\xe2\x90\xa1" },
		{ "\xe2\x90\x89", "\xe2\x80\x9b\xe2\x90\x89" }, { "\xe2\x80\x9b", "\xe2\x80\x9b\xe2\x80\x9b" },
		{ "\xe2\x80\x9b\xe2\x90\x89\n", "\xe2\x80\x9b\xe2\x80\x9b\xe2\x80\x9b\xe2\x90\x89\xe2\x90\x8a" },
		{ "\xef\xbc\x8f slash", "\xef\xbc\x8f slash" }, { "\xff", "\xff" }, { "", "" } };
	const struct weir_dav_names how = { .is_rclone = true };

	for (size_t i = 0; i < WEIR_LEN(names); i++) {
		WEIR_AUTO(weir_freep) char *there = weir_dav_escape(&how, names[i][0]), *back = weir_dav_unescape(&how, there);

		CU_ASSERT_STRING_EQUAL(there, names[i][1]);
		CU_ASSERT_STRING_EQUAL(back, names[i][0]);
	}
}

static void
no_secret_is_told_apart_by_chance(void)
{
	static const char *const secret[] = { "pass", "password2", "token", "client_secret", "secret_access_key", "bearer_token", "key_pem", "api_key" };
	static const char *const open[] = { "type", "url", "host", "user", "remote", "region", "bucket", "root_folder_id" };

	for (size_t i = 0; i < WEIR_LEN(secret); i++)
		CU_ASSERT_TRUE(weir_rclone_ini_is_secret(secret[i]));
	for (size_t i = 0; i < WEIR_LEN(open); i++)
		CU_ASSERT_FALSE(weir_rclone_ini_is_secret(open[i]));
	CU_ASSERT_TRUE(weir_rclone_remote_has_secret(":s3,provider=AWS,secret_access_key=abc:bucket"));
	CU_ASSERT_TRUE(weir_rclone_remote_has_secret("far,pass=abc:folder"));
	CU_ASSERT_FALSE(weir_rclone_remote_has_secret(":s3,env_auth=true,shared_credentials_file=/a/b:bucket"));
	CU_ASSERT_FALSE(weir_rclone_remote_has_secret("far:a, b/pass,word"));
	CU_ASSERT_FALSE(weir_rclone_remote_has_secret(":memory:bucket"));
}

/* A program in rclone's place that ends at once: its last words, and no second start before the pause is over. */
static void
a_child_that_ends_is_told_in_its_own_words(void)
{
	const struct weir_rclone_how how = { .name = "r", .remote = "nosuch:", .program = "/bin/false" };
	const struct weir_rclone_how none = { .name = "r", .remote = "n:", .program = "/nonexistent/rclone" };
	struct weir_rclone_child *c = weir_rclone_child_new(&how);
	struct weir_rclone_at at;
	struct weir_err err = { 0 };

	CU_ASSERT_EQUAL(weir_rclone_child_up(c, NULL, &at, &err), WEIR_E_NET);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "rclone does not serve 'nosuch:'"));
	CU_ASSERT_EQUAL(weir_rclone_child_up(c, NULL, &at, &err), WEIR_E_NET);
	CU_ASSERT_FALSE(weir_rclone_child_is_up(c, 1));
	weir_rclone_child_free(c);
	c = weir_rclone_child_new(&none);
	CU_ASSERT_EQUAL(weir_rclone_child_up(c, NULL, &at, &err), WEIR_E_CONFIG);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "install rclone"));
	weir_rclone_child_free(c);
	weir_rclone_child_free(NULL);
}

int
main(void)
{
	CU_pSuite s;
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 99;
	s = CU_add_suite("rclone", NULL, NULL);
	CU_ADD_TEST(s, obscured_passwords_are_revealed);
	CU_ADD_TEST(s, what_was_never_obscured_is_refused);
	CU_ADD_TEST(s, a_configuration_is_read_as_rclone_reads_it);
	CU_ADD_TEST(s, other_files_are_refused_with_their_line);
	CU_ADD_TEST(s, lines_lose_their_date_and_level);
	CU_ADD_TEST(s, the_port_is_read_from_old_and_new_rclones);
	CU_ADD_TEST(s, the_reason_of_a_failed_start_has_its_code);
	CU_ADD_TEST(s, names_are_spelled_as_rclone_does_and_back);
	CU_ADD_TEST(s, no_secret_is_told_apart_by_chance);
	CU_ADD_TEST(s, a_child_that_ends_is_told_in_its_own_words);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed != 0;
}
