/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds bytes from outside to what the Drive backend reads: listings, changes, errors, names, ranges. With clang -fsanitize=fuzzer and
 * -DWEIR_LIBFUZZER it is a libFuzzer target; as built here it runs the files it is given, or a bounded number of mutations of its own seeds, always
 * the same ones. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "../../backends/drive_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever it is, it is shown as one component of a path, and what was held for a shown name comes back. */
static void
fuzz_name(const char *text)
{
	WEIR_AUTO(weir_freep) char *shown = weir_drive_name_show(text, "1AbCdEfGhIjKlMnOp"), *held = NULL, *back = NULL;
	size_t n = strlen(shown);

	if (n == 0 || n > DRIVE_NAME_MAX || strchr(shown, '/') != NULL || strcmp(shown, ".") == 0 || strcmp(shown, "..") == 0)
		abort();
	if (weir_drive_name_hold(shown, n, &held, NULL) == WEIR_OK) {
		back = weir_drive_name_show(held, "");
		if (strcmp(back, shown) != 0)
			abort();
	}
	weir_drive_name_is_twin(text);
}

/* The entries of a page have distinct names, and the same ones in every order. */
static void
fuzz_settle(struct drive_page *p)
{
	const char *bad;
	const struct drive_format **formats = weir_drive_formats_parse("docx,xlsx", &bad);
	struct drive_entry *v = weir_xcalloc(p->n + 1, sizeof(*v)), *w = weir_xcalloc(p->n + 1, sizeof(*w));
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++) {
		char *name = weir_drive_name_of(formats, &p->v[i]);

		if (name != NULL)
			v[n++] = (struct drive_entry){ &p->v[i], name };
	}
	for (size_t i = 0; i < n; i++)
		w[i] = (struct drive_entry){ v[n - 1 - i].file, weir_xstrdup(v[n - 1 - i].name) };
	weir_drive_names_settle(v, n);
	weir_drive_names_settle(w, n);
	for (size_t i = 0; i < n; i++) {
		if (strcmp(v[i].file->id, w[i].file->id) == 0 && strcmp(v[i].name, w[i].name) != 0)
			abort();
	}
	for (size_t i = 0; i < n; i++) {
		free(v[i].name);
		free(w[i].name);
	}
	free(v);
	free(w);
	free(formats);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = weir_xcalloc(1, size + 1);
	struct drive_page page;
	struct drive_changes changes;
	struct drive_error e;
	struct weir_buf q = WEIR_BUF(1u << 20);

	memcpy(text, data, size);
	if (weir_drive_page_parse(text, size, &page) == 0) {
		for (size_t i = 0; i < page.n; i++) {
			free(weir_drive_version(&page.v[i]));
			fuzz_name(page.v[i].name);
		}
		fuzz_settle(&page);
	}
	weir_drive_page_free(&page);
	weir_drive_changes_parse(text, size, &changes);
	weir_drive_changes_free(&changes);
	weir_drive_error_parse(text, size, &e);
	weir_drive_code((int)(size % 700), e.reason);
	fuzz_name(text);
	weir_drive_query_text(&q, text);
	weir_buf_free(&q);
	weir_drive_range_kept(text);
	free(text);
	return 0;
}

#ifndef WEIR_LIBFUZZER
#define FUZZ_ROUNDS 20000

static const char *const fuzz_seeds[] = {
	"{\"nextPageToken\":\"~!!~A\",\"files\":[{\"id\":\"1AbC\",\"name\":\"a.txt\",\"mimeType\":\"text/plain\",\"parents\":[\"0Ar\"],\"size\":\"5\","
	"\"modifiedTime\":\"2026-01-02T03:04:05.678Z\",\"headRevisionId\":\"0B9\",\"md5Checksum\":\"5d41402abc4b2a76b9719d911017c592\","
	"\"appProperties\":{\"weir_mode\":\"0750\"}},{\"id\":\"1AbD\",\"name\":\"a.txt\",\"shortcutDetails\":{\"targetId\":\"1\"}},"
	"{\"id\":\"1AbE\",\"name\":\"a.txt\"},{\"id\":\"1AbF\",\"name\":\"D\",\"mimeType\":\"application/vnd.google-apps.document\"}]}",
	"{\"changes\":[{\"removed\":true,\"fileId\":\"1x\"},{\"fileId\":\"1y\",\"file\":{\"id\":\"1y\",\"name\":\"y\\u0000\"}}],\"newStartPageToken\":\"1240\"}",
	"{\"error\":{\"code\":403,\"message\":\"no\\n\",\"errors\":[{\"reason\":\"userRateLimitExceeded\"}]}}",
	"{\"error\":\"invalid_grant\",\"error_description\":\"Token has been expired\"}",
	"\xE2\x80\x9B" "FF\xE2\x80\x9B\xE2\x80\x9B" "80 x\xC3\xA9/\xEF\xBC\x8F (1AbCdEfG).txt", "bytes=0-262143", "..",
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
	static const char spice[] = "{}[],:\"\\u0/.() \n\0\x80\xff-9t";

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
