/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds bytes from outside to what the S3 backend reads: listings, errors, part lists, names, AWS profiles. With clang
 * -fsanitize=fuzzer and -DWEIR_LIBFUZZER it is a libFuzzer target; as built here it runs the files it is given, or a bounded number
 * of mutations of its own seeds, always the same ones. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "../../backends/s3_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In any pieces the same entries come out. */
static size_t
fuzz_page(const uint8_t *data, size_t size, size_t step)
{
	struct weir_s3_page p;
	size_t n;

	weir_s3_page_begin(&p);
	for (size_t i = 0; i < size; i += step)
		weir_s3_page_feed(&p, data + i, size - i < step ? size - i : step);
	n = weir_s3_page_end(&p) == 0 ? p.n + 1 : 0;
	for (size_t i = 1; i < p.n; i++)
		if (p.xml != NULL || strcmp(p.v[i - 1].key, p.v[i].key) > 0)
			abort();
	weir_s3_page_free(&p);
	return n;
}

/* What is shown can be asked for by the same key. */
static void
fuzz_name(const char *part, size_t len)
{
	struct weir_buf key = WEIR_BUF(64u << 10);
	char *name = memchr(part, '/', len) == NULL ? weir_s3_name_of_part(part, len) : NULL;

	if (name != NULL && (weir_s3_key_of_path(&key, name, NULL) != WEIR_OK || key.len != len || memcmp(key.data, part, len) != 0))
		abort();
	free(name);
	weir_buf_free(&key);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = weir_xstrndup((const char *)data, size), *region = NULL;
	struct weir_s3_answer a;
	struct weir_s3_parts parts;
	struct weir_s3_creds creds = { 0 };

	if (fuzz_page(data, size, size + 1) != fuzz_page(data, size, 3))
		abort();
	weir_s3_answer_parse(text, strlen(text), &a);
	weir_s3_parts_parse(text, strlen(text), &parts);
	free(parts.v);
	weir_s3_profile_parse(text, "default", &creds, &region);
	weir_s3_creds_free(&creds);
	free(region);
	weir_s3_mtime_parse(text);
	weir_s3_mode_parse(text, false);
	fuzz_name(text, strlen(text));
	free(text);
	return 0;
}

#ifndef WEIR_LIBFUZZER
#define FUZZ_ROUNDS 20000

static const char *const fuzz_seeds[] = {
	"<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><EncodingType>url</EncodingType>"
	"<IsTruncated>true</IsTruncated><NextContinuationToken>a&#x1;b</NextContinuationToken><Contents><Key>d%2Fa%20b</Key>"
	"<LastModified>2026-01-02T03:04:05.678Z</LastModified><ETag>&quot;5d41&quot;</ETag><Size>5</Size></Contents>"
	"<CommonPrefixes><Prefix>d/sub/</Prefix></CommonPrefixes></ListBucketResult>",
	"<!DOCTYPE a [<!ENTITY b 'c'>]><ListBucketResult>&b;</ListBucketResult>",
	"  <?xml version='1.0'?><Error><Code>SlowDown</Code><Message>&lt;wait&gt;</Message><Region>eu-west-1</Region></Error>",
	"<ListPartsResult><IsTruncated>true</IsTruncated><NextPartNumberMarker>7</NextPartNumberMarker><Part><PartNumber>3</PartNumber>"
	"<ETag>W/\"abc\"</ETag><Size>5242880</Size></Part></ListPartsResult>",
	"[default]\naws_access_key_id = AK\naws_secret_access_key=sec/ret+==\n[profile default]\nregion = eu-west-1\n",
	"\xE2\x80\x9B" "FF\xE2\x80\x9B\xE2\x80\x9B" "80 x\xC3\xA9", "1700000000.123456789", "100644",
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
	static const char spice[] = "<>/&;:\"'=% \n\0\x80\xff]!-?0W";

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
