/* SPDX-License-Identifier: Apache-2.0 */
/* Errors, buffers, encodings, hashes, sizes, dates, paths, files, the INI reader. */
#include "config.h"

#include <CUnit/Basic.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/buf.h"
#include "util/err.h"
#include "util/fold.h"
#include "util/ini.h"
#include "util/text.h"
#include "util/util.h"

static void
every_code_has_a_name_a_text_and_an_errno(void)
{
	for (int i = 1; i < WEIR_CODES; i++) {
		CU_ASSERT(strcmp(weir_code_name((enum weir_code)i), "UNKNOWN") != 0);
		CU_ASSERT(weir_code_text((enum weir_code)i)[0] != '\0');
		CU_ASSERT(weir_code_errno((enum weir_code)i) > 0);
	}
	CU_ASSERT_EQUAL(weir_code_errno(WEIR_OK), 0);
	CU_ASSERT_EQUAL(weir_code_errno((enum weir_code)9999), EIO);
	CU_ASSERT_EQUAL(weir_code_retry(WEIR_E_NET), 1);
	CU_ASSERT_EQUAL(weir_code_retry(WEIR_E_AUTH), 0);
}

static void
errnos_find_their_general_code(void)
{
	static const struct {
		int no;
		enum weir_code code;
	} rows[] = {
	    {ENOENT, WEIR_E_NOENT}, {EACCES, WEIR_E_ACCES}, {EINVAL, WEIR_E_INVAL}, {EIO, WEIR_E_IO}, {ENOSPC, WEIR_E_NOSPC},
	    {EBUSY, WEIR_E_BUSY}, {ESTALE, WEIR_E_STALE}, {EINTR, WEIR_E_INTR}, {EOPNOTSUPP, WEIR_E_NOTSUP}, {ETIMEDOUT, WEIR_E_TIMEDOUT},
	    {ECONNRESET, WEIR_E_NET}, {EMFILE, WEIR_E_NFILE}, {EDQUOT, WEIR_E_DQUOT}, {12345, WEIR_E_IO}, {0, WEIR_OK},
	};

	for (size_t i = 0; i < WEIR_LEN(rows); i++)
		CU_ASSERT_EQUAL(weir_code_from_errno(rows[i].no), rows[i].code);
}

static void
sentences_grow_and_are_cut_never_overflowed(void)
{
	struct weir_err err = {0};
	char line[1000];

	CU_ASSERT_STRING_EQUAL(weir_err_text(&err, WEIR_E_NOENT), "no such file or directory");
	CU_ASSERT_EQUAL(weir_err_wrap(&err, WEIR_E_NOENT, "bucket '%s'", "x"), WEIR_E_NOENT);
	CU_ASSERT_EQUAL(weir_err_wrap(&err, WEIR_E_NOENT, "remote 'lab'"), WEIR_E_NOENT);
	CU_ASSERT_STRING_EQUAL(err.msg, "remote 'lab': bucket 'x': no such file or directory");
	memset(line, 'a', sizeof(line));
	line[sizeof(line) - 1] = '\0';
	weir_err_set(&err, WEIR_E_IO, "%s", line);
	CU_ASSERT_EQUAL(strlen(err.msg), WEIR_ERR_MAX - 1);
	weir_err_set(&err, WEIR_E_IO, "the reason");
	weir_err_wrap(&err, WEIR_E_IO, "%s", line);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "the reason"));
	CU_ASSERT_EQUAL(weir_err_errno(&err, ENOENT, "open '%s'", "f"), WEIR_E_NOENT);
	CU_ASSERT_STRING_EQUAL(err.msg, "open 'f': No such file or directory");
	CU_ASSERT_EQUAL(weir_err_set(NULL, WEIR_E_IO, "x"), WEIR_E_IO);
}

static void
a_buffer_keeps_its_ceiling(void)
{
	struct weir_buf b = WEIR_BUF(10);

	CU_ASSERT_STRING_EQUAL(weir_buf_str(&b), "");
	CU_ASSERT_EQUAL(weir_buf_adds(&b, "0123456789"), 0);
	CU_ASSERT_EQUAL(weir_buf_addc(&b, 'x'), -1);
	CU_ASSERT(b.is_full);
	CU_ASSERT_STRING_EQUAL(weir_buf_str(&b), "0123456789");
	weir_buf_reset(&b);
	CU_ASSERT_EQUAL(weir_buf_addf(&b, "%d-%s", 42, "ab"), 0);
	CU_ASSERT_EQUAL(weir_buf_addf(&b, "%s", "too long for it"), -1);
	char *s = weir_buf_take(&b);
	CU_ASSERT_STRING_EQUAL(s, "42-ab");
	free(s);
	s = weir_buf_take(&b);
	CU_ASSERT_STRING_EQUAL(s, "");
	free(s);
	b.max = 100000;
	for (int i = 0; i < 1000; i++)
		CU_ASSERT_EQUAL(weir_buf_addf(&b, "%0300d", i), i < 333 ? 0 : -1);
	CU_ASSERT_EQUAL(b.len, 99900);
	weir_buf_free(&b);
}

static void
urls_are_escaped_both_ways(void)
{
	struct weir_buf b = WEIR_BUF(1000);
	char s[64] = "a%20b+c%2Fd%00e%zz%4", t[64] = "a+b%2B";

	CU_ASSERT_EQUAL(weir_url_encode(&b, "a b/\xc3\xa4~-._%+", 12, "/"), 0);
	CU_ASSERT_STRING_EQUAL(weir_buf_str(&b), "a%20b/%C3%A4~-._%25%2B");
	weir_buf_reset(&b);
	weir_url_encode(&b, "a/b", 3, "");
	CU_ASSERT_STRING_EQUAL(weir_buf_str(&b), "a%2Fb");
	CU_ASSERT_EQUAL(weir_url_decode(s, false), strlen("a b+c/d%00e%zz%4"));
	CU_ASSERT_STRING_EQUAL(s, "a b+c/d%00e%zz%4");
	weir_url_decode(t, true);
	CU_ASSERT_STRING_EQUAL(t, "a b+");
	weir_buf_reset(&b);
	weir_xml_escape(&b, "<a & \"b\" 'c'>");
	CU_ASSERT_STRING_EQUAL(weir_buf_str(&b), "&lt;a &amp; &quot;b&quot; &apos;c&apos;&gt;");
	weir_buf_free(&b);
}

static void
hashes_are_the_standard_ones(void)
{
	unsigned char out[64];
	char hex[129];
	struct weir_digest *d = weir_digest_new("sha1");

	weir_sha256("abc", 3, out);
	weir_hex(out, 32, hex);
	CU_ASSERT_STRING_EQUAL(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	weir_md5("", 0, out);
	weir_hex(out, 16, hex);
	CU_ASSERT_STRING_EQUAL(hex, "d41d8cd98f00b204e9800998ecf8427e");
	weir_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, out);	/* RFC 4231, 2 */
	weir_hex(out, 32, hex);
	CU_ASSERT_STRING_EQUAL(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	weir_digest_add(d, "a", 1);
	weir_digest_add(d, "bc", 2);
	CU_ASSERT_EQUAL(weir_digest_end(d, out), 20);
	weir_hex(out, 20, hex);
	CU_ASSERT_STRING_EQUAL(hex, "a9993e364706816aba3e25717850c26c9cd0d89d");
	CU_ASSERT_PTR_NULL(weir_digest_new("crc"));
	CU_ASSERT_EQUAL(weir_unhex("00fFa", 4, out), 0);
	CU_ASSERT_EQUAL(out[1], 0xff);
	CU_ASSERT_EQUAL(weir_unhex("0g", 2, out), -1);
	CU_ASSERT_EQUAL(weir_unhex("000", 3, out), -1);
}

static void
base64_goes_both_ways(void)
{
	static const char *const rows[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}};
	unsigned char out[16];
	char text[32];

	for (size_t i = 0; i < WEIR_LEN(rows); i++) {
		weir_base64(rows[i][0], strlen(rows[i][0]), text);
		CU_ASSERT_STRING_EQUAL(text, rows[i][1]);
		CU_ASSERT_EQUAL(weir_base64_len(strlen(rows[i][0])), strlen(text) + 1);
		CU_ASSERT_EQUAL(weir_unbase64(text, out, sizeof(out)), (ssize_t)strlen(rows[i][0]));
		CU_ASSERT_EQUAL(memcmp(out, rows[i][0], strlen(rows[i][0])), 0);
	}
	CU_ASSERT_EQUAL(weir_unbase64("Zm9vYg", out, sizeof(out)), 4);
	CU_ASSERT_EQUAL(weir_unbase64("Z", out, sizeof(out)), -1);
	CU_ASSERT_EQUAL(weir_unbase64("Zm 9", out, sizeof(out)), -1);
	CU_ASSERT_EQUAL(weir_unbase64("Zm9vYg==", out, 3), -1);
}

static void
sizes_and_times_have_units(void)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
	    {"0", 0}, {"500", 500}, {"1kB", 1000}, {"1.5 MB", 1500000}, {"200GiB", 200ull << 30}, {"2TB", 2000000000000}, {"2tb", 2000000000000},
	    {"0.5KiB", 512}, {"18446744073709551615", UINT64_MAX}, {" 1 PiB", 1ull << 50},
	};
	static const char *const bad[] = {"", "x", "-1", "1.", "1 MB x", "1 K", "18446744073709551616", "20000000 PB", "1e3", "1..5"};
	uint64_t v;
	int64_t ms;
	char out[16];

	for (size_t i = 0; i < WEIR_LEN(good); i++) {
		CU_ASSERT_EQUAL(weir_size_parse(good[i].text, &v), 0);
		CU_ASSERT_EQUAL(v, good[i].bytes);
	}
	for (size_t i = 0; i < WEIR_LEN(bad); i++)
		CU_ASSERT_EQUAL(weir_size_parse(bad[i], &v), -1);
	CU_ASSERT_STRING_EQUAL(weir_size_text(0, out), "0 B");
	CU_ASSERT_STRING_EQUAL(weir_size_text(999, out), "999 B");
	CU_ASSERT_STRING_EQUAL(weir_size_text(999999, out), "1.00 MB");
	CU_ASSERT_STRING_EQUAL(weir_size_text(1500000000, out), "1.50 GB");
	CU_ASSERT_STRING_EQUAL(weir_size_text(UINT64_MAX, out), "18.45 EB");
	CU_ASSERT(weir_duration_parse("30", &ms) == 0 && ms == 30000);
	CU_ASSERT(weir_duration_parse("250ms", &ms) == 0 && ms == 250);
	CU_ASSERT(weir_duration_parse("5min", &ms) == 0 && ms == 300000);
	CU_ASSERT(weir_duration_parse("1.5h", &ms) == 0 && ms == 5400000);
	CU_ASSERT_EQUAL(weir_duration_parse("5 parsecs", &ms), -1);
}

static void
dates_of_all_three_kinds(void)
{
	static const int64_t s = 1658293943;
	char out[32];

	CU_ASSERT_EQUAL(weir_date_parse("Wed, 20 Jul 2022 05:12:23 GMT"), s * 1000000000);
	CU_ASSERT_EQUAL(weir_date_parse("Wednesday, 20-Jul-22 05:12:23 GMT"), s * 1000000000);
	CU_ASSERT_EQUAL(weir_date_parse("Wed Jul 20 05:12:23 2022"), s * 1000000000);
	CU_ASSERT_EQUAL(weir_date_parse("Sun Nov  6 08:49:37 1994"), 784111777000000000);
	CU_ASSERT_EQUAL(weir_date_parse("2022-07-20T05:12:23.678Z"), s * 1000000000 + 678000000);
	CU_ASSERT_EQUAL(weir_date_parse("2022-07-20T07:12:23+02:00"), s * 1000000000);
	CU_ASSERT_EQUAL(weir_date_parse("1969-12-31T23:59:59Z"), -1000000000);
	static const char *const bad[] = {"", "yesterday", "Wed, 32 Jul 2022 05:12:23 GMT", "2022-13-20T05:12:23Z", "2022-07-20T25:12:23Z",
	    "9999-01-01T00:00:00Z", "Wed, 20 Jul 2022 05:12:23 XYZ", "20 Jul", "2022-07-20Tx"};
	for (size_t i = 0; i < WEIR_LEN(bad); i++)
		CU_ASSERT_EQUAL(weir_date_parse(bad[i]), INT64_MIN);
	weir_date_rfc1123(s, out);
	CU_ASSERT_STRING_EQUAL(out, "Wed, 20 Jul 2022 05:12:23 GMT");
}

static void
expands_to(const char *in, const char *out)
{
	WEIR_AUTO(weir_freep) char *s = weir_path_expand(in, NULL);

	CU_ASSERT_STRING_EQUAL(s != NULL ? s : "(null)", out);
}

static void
joins_to(const char *a, const char *b, const char *out)
{
	WEIR_AUTO(weir_freep) char *s = weir_path_join(a, b);

	CU_ASSERT_STRING_EQUAL(s, out);
}

static void
paths_expand_and_join(void)
{
	struct weir_err err = {0};

	setenv("HOME", "/home/x", 1);
	setenv("WEIR_T", "v", 1);
	unsetenv("WEIR_NONE");
	expands_to("~", "/home/x");
	expands_to("~/a", "/home/x/a");
	expands_to("a~/~", "a~/~");
	expands_to("/$WEIR_T/${WEIR_T}x$", "/v/vx$");
	expands_to("a$1${", "a$1${");
	CU_ASSERT_PTR_NULL(weir_path_expand("/$WEIR_NONE", &err));
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "$WEIR_NONE"));
	joins_to("", "b", "b");
	joins_to("a", "", "a");
	joins_to("a", "b/c", "a/b/c");
	joins_to("/a/", "/b", "/a/b");
	joins_to("/", "b", "/b");
}

static void
files_are_replaced_whole(void)
{
	char dir[] = "/tmp/weir-t-util-XXXXXX";
	WEIR_AUTO(weir_freep) char *deep = NULL, *path = NULL, *text = NULL;
	struct stat st;
	size_t len = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	deep = weir_path_join(dir, "a/b");
	path = weir_path_join(deep, "f");
	CU_ASSERT_EQUAL(weir_mkdirs(deep, 0700), 0);
	CU_ASSERT_EQUAL(weir_mkdirs(deep, 0700), 0);
	CU_ASSERT_EQUAL(weir_write_file(path, "one", 3), 0);
	CU_ASSERT_EQUAL(weir_write_file(path, "second", 6), 0);
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 07777, 0600);
	CU_ASSERT_EQUAL(weir_read_file(path, 6, &text, &len), 0);
	CU_ASSERT_EQUAL(len, 6);
	CU_ASSERT_STRING_EQUAL(text, "second");
	CU_ASSERT(weir_read_file(path, 5, &text, &len) == -1 && errno == EFBIG);
	CU_ASSERT(weir_mkdirs(path, 0700) == -1 && errno == ENOTDIR);
	unlink(path);
	rmdir(deep);
	free(path);
	path = weir_path_join(dir, "a");
	rmdir(path);
	CU_ASSERT_EQUAL(rmdir(dir), 0);	/* no temporary file was left */
}

static void
random_names_differ(void)
{
	char a[200], b[200];

	weir_random_hex(a, 199);
	weir_random_hex(b, 199);
	CU_ASSERT_EQUAL(strlen(a), 199);
	CU_ASSERT_EQUAL(strspn(a, "0123456789abcdef"), 199);
	CU_ASSERT_STRING_NOT_EQUAL(a, b);
}

/* --- INI --- */

static enum weir_code
ini_note(void *arg, const struct weir_ini_entry *e, struct weir_err *err)
{
	if (e->key != NULL && strcmp(e->key, "stop") == 0)
		return weir_err_set(err, WEIR_E_CONFIG, "stopped");
	weir_buf_addf(arg, "%d[%s|%s]%s=%s;", e->line, e->section, e->label, e->key != NULL ? e->key : "", e->value != NULL ? e->value : "");
	return WEIR_OK;
}

static void
ini_is(const char *text, size_t len, enum weir_code code, const char *want)
{
	struct weir_buf b = WEIR_BUF(10000);
	struct weir_err err = {0};

	CU_ASSERT_EQUAL(weir_ini_parse("f", text, len, ini_note, &b, &err), code);
	CU_ASSERT_STRING_EQUAL(code == WEIR_OK ? weir_buf_str(&b) : err.msg, want);
	weir_buf_free(&b);
}

#define INI_IS(text, code, want) ini_is(text, sizeof(text) - 1, code, want)

static void
ini_keeps_values_as_they_are(void)
{
	INI_IS("", WEIR_OK, "");
	INI_IS("\xef\xbb\xbf[a]\r\nk = v # x ; y\r\n\n # c\n;c\n[remote  my share ]\n/p = a=b\n\tempty =\nlast=1", WEIR_OK,
	    "1[a|]=;2[a|]k=v # x ; y;6[remote|my share]=;7[remote|my share]/p=a=b;8[remote|my share]empty=;9[remote|my share]last=1;");
}

static void
ini_errors_name_the_line(void)
{
	INI_IS("[a]\nwhat", WEIR_E_CONFIG, "f:2: this line is neither 'key = value' nor a [section]");
	INI_IS("\nk = v", WEIR_E_CONFIG, "f:2: 'k' stands before the first [section]");
	INI_IS("[a\n", WEIR_E_CONFIG, "f:1: a section header ends with ']'");
	INI_IS("[]\n", WEIR_E_CONFIG, "f:1: a section needs a name");
	INI_IS("[a]\n = v", WEIR_E_CONFIG, "f:2: there is no key before '='");
	INI_IS("[a]\nk = a\0b\n", WEIR_E_CONFIG, "f:2: this line holds a NUL byte");
	INI_IS("[a]\nstop=1\nk", WEIR_E_CONFIG, "stopped");
}

static void
names_that_a_storage_takes_for_one(void)
{
	WEIR_AUTO(weir_freep) char *odd = weir_fold("\xff" "A");

	CU_ASSERT(weir_fold_equal("Docs/Report.TXT", "docs/report.txt"));
	CU_ASSERT(weir_fold_equal("\xc3\x84pfel", "a\xcc\x88PFEL"));	/* composed and upper, decomposed and lower */
	CU_ASSERT(weir_fold_equal("\xce\xa3\xce\xaf\xcf\x83\xcf\x85\xcf\x86\xce\xbf\xcf\x82", "\xcf\x83\xce\x8a\xce\xa3\xce\xa5\xce\xa6\xce\x9f\xce\xa3"));
	CU_ASSERT(!weir_fold_equal("a", "\xc3\xa4") && !weir_fold_equal("a", "ab") && weir_fold_equal("", ""));
	CU_ASSERT_STRING_EQUAL(odd, "\xff" "A");	/* not UTF-8: as it is */
}

int
main(void)
{
	CU_pSuite s;
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 99;
	s = CU_add_suite("util", NULL, NULL);
	CU_ADD_TEST(s, every_code_has_a_name_a_text_and_an_errno);
	CU_ADD_TEST(s, errnos_find_their_general_code);
	CU_ADD_TEST(s, sentences_grow_and_are_cut_never_overflowed);
	CU_ADD_TEST(s, a_buffer_keeps_its_ceiling);
	CU_ADD_TEST(s, urls_are_escaped_both_ways);
	CU_ADD_TEST(s, hashes_are_the_standard_ones);
	CU_ADD_TEST(s, base64_goes_both_ways);
	CU_ADD_TEST(s, sizes_and_times_have_units);
	CU_ADD_TEST(s, dates_of_all_three_kinds);
	CU_ADD_TEST(s, paths_expand_and_join);
	CU_ADD_TEST(s, files_are_replaced_whole);
	CU_ADD_TEST(s, random_names_differ);
	CU_ADD_TEST(s, names_that_a_storage_takes_for_one);
	CU_ADD_TEST(s, ini_keeps_values_as_they_are);
	CU_ADD_TEST(s, ini_errors_name_the_line);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed != 0;
}
