/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds bytes from outside to what the Dropbox backend reads: metadata, refusals, names. With clang -fsanitize=fuzzer and -DWEIR_LIBFUZZER it is
 * a libFuzzer target; as built here it runs the files it is given, or a bounded number of mutations of its own seeds, always the same ones. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "../../backends/dropbox_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is shown can be asked for, and leads to the same name again (in NFC: then once more). */
static void
fuzz_name(const char *name)
{
	struct weir_buf b = WEIR_BUF(256u << 10);
	char *shown = weir_dropbox_name_shown(name), *again = NULL;

	if (shown != NULL && weir_dropbox_path_add(&b, shown, false, NULL) == WEIR_OK) {
		again = weir_dropbox_name_shown(weir_buf_str(&b) + 1);
		if (strcmp(weir_buf_str(&b) + 1, name) == 0 && (again == NULL || strcmp(again, shown) != 0))
			abort();
	}
	free(again);
	free(shown);
	weir_buf_free(&b);
}

static void
fuzz_stat(const json_t *j)
{
	struct weir_stat st = { 0 };
	bool is_deleted;

	if (weir_dropbox_stat_of_json(j, &st, &is_deleted, NULL) == WEIR_OK && !is_deleted && st.type == WEIR_FILE && st.version == NULL)
		abort();
	weir_stat_free(&st);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = weir_xstrndup((const char *)data, size), *folded, out[256], hex[2 * WEIR_SHA256_LEN + 1];
	json_t *j = json_loadb(text, strlen(text), JSON_DECODE_ANY, NULL), *e;
	const char *const tags[] = { text };
	struct dropbox_error error;
	size_t i;

	fuzz_stat(j);
	json_array_foreach(json_object_get(j, "entries"), i, e)
		fuzz_stat(e);
	if (j != NULL) {
		char *ascii = weir_dropbox_json_text(j);

		for (const char *p = ascii; *p != '\0'; p++)
			if (*p < ' ' || *p == '\x7f')
				abort();
		free(ascii);
	}
	weir_dropbox_error_parse(text, strlen(text), &error);
	weir_dropbox_error_code(409, &error);
	if (strlen(weir_dropbox_error_text(409, &error, out)) >= sizeof(out))
		abort();
	weir_dropbox_error_clear(&error);
	weir_dropbox_hash_tags(tags, 1, strlen(text), hex);
	fuzz_name(text);
	folded = weir_dropbox_fold(text);
	free(folded);
	json_decref(j);
	free(text);
	return 0;
}

#ifndef WEIR_LIBFUZZER
#define FUZZ_ROUNDS 20000

static const char *const fuzz_seeds[] = {
	"{\"entries\":[{\".tag\":\"file\",\"name\":\"A.txt\",\"path_lower\":\"/d/a.txt\",\"path_display\":\"/d/A.txt\",\"id\":\"id:a4ayc\",\"client_modified\":"
	"\"2026-01-02T03:04:05Z\",\"rev\":\"0123456789abc\",\"size\":5,\"is_downloadable\":true,\"content_hash\":"
	"\"9595c9df90075148eb06860365df33584b75bff782a510c6cd4883a419833d50\"},{\".tag\":\"folder\",\"name\":\"d\",\"id\":\"id:b5\"}],\"has_more\":false}",
	"{\".tag\":\"file\",\"name\":\"caf\\u00e9 \\ud83d\\ude00\",\"rev\":\"015\",\"size\":9223372036854775807,\"sharing_info\":{\"read_only\":true}}",
	"{\"error_summary\":\"path/conflict/file/..\",\"error\":{\".tag\":\"path\",\"reason\":{\".tag\":\"conflict\",\"conflict\":{\".tag\":\"file\"}},"
	"\"upload_session_id\":\"pid_upload_session:AAA\"}}",
	"{\"error\":{\"reason\":{\".tag\":\"too_many_requests\"},\"retry_after\":1e300}}",
	"{\"error\":{\".tag\":\"lookup_failed\",\"lookup_failed\":{\".tag\":\"incorrect_offset\",\"correct_offset\":-1}}}",
	"{\"error\":{\".tag\":\"missing_scope\",\"required_scope\":\"files.content.write\"}}",
	"Error in call to API function \"files/upload\": request body: path: '\xff' did not match pattern",
	"back\xEF\xBC\xBCslash \xE2\x80\x9B" "FF \xE2\x80\x9B\xE2\x80\x9B" "80 x\xC3\xA9\xE2\x90\xA0", "\xE2\x80\x9B\xEF\xBC\xBC\xE2\x90\xA1",
	"9595c9df90075148eb06860365df33584b75bff782a510c6cd4883a419833d50",
};

static uint32_t fuzz_state = 0x77656972;

static uint32_t
fuzz_next(uint32_t below)
{
	fuzz_state ^= fuzz_state << 13;
	fuzz_state ^= fuzz_state >> 17;
	fuzz_state ^= fuzz_state << 5;
	return fuzz_state % below;
}

/* A few bytes flipped, cut, doubled or moved. */
static size_t
fuzz_mutate(char *buf, size_t n, size_t max)
{
	static const char spice[] = "{}[]:,\"\\.u0 \n\x80\xff-9et";

	for (uint32_t k = 1 + fuzz_next(6); k && n > 4; k--) {
		size_t at = fuzz_next((uint32_t)n), len = 1 + fuzz_next(20);

		if (len > n - at)
			len = n - at;
		switch (fuzz_next(4)) {
		case 0:
			buf[at] = spice[fuzz_next(sizeof(spice) - 1)];
			break;
		case 1:
			memmove(buf + at, buf + at + len, n - at - len);
			n -= len;
			break;
		case 2:
			if (n + len <= max) {
				memmove(buf + at + len, buf + at, n - at);
				n += len;
			}
			break;
		default:
			memmove(buf + at, buf + fuzz_next((uint32_t)(n - len + 1)), len);
		}
	}
	return n;
}

int
main(int argc, char **argv)
{
	static char buf[4096];

	for (int i = 1; i < argc; i++) {
		WEIR_AUTO(weir_freep) char *data = NULL;
		size_t n;

		if (weir_read_file(argv[i], 16u << 20, &data, &n)) {
			perror(argv[i]);
			return 1;
		}
		LLVMFuzzerTestOneInput((const uint8_t *)data, n);
	}
	for (int i = 0; argc == 1 && i < FUZZ_ROUNDS; i++) {
		const char *seed = fuzz_seeds[(size_t)i % WEIR_LEN(fuzz_seeds)];
		size_t n = strlen(seed);

		memcpy(buf, seed, n);
		if (i >= (int)WEIR_LEN(fuzz_seeds))
			n = fuzz_mutate(buf, n, sizeof(buf));
		LLVMFuzzerTestOneInput((const uint8_t *)buf, n);
	}
	return 0;
}
#endif
