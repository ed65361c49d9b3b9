/* SPDX-License-Identifier: Apache-2.0 */
/* The INI reader and what stands on it, fed with anything. With clang: -fsanitize=fuzzer and -DWEIR_LIBFUZZER. Without, main() runs
 * the files named on its command line, then a fixed number of mutations of a few seeds: the same ones in every run. */
#include "config.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "conf/conf.h"
#include "util/ini.h"
#include "util/text.h"
#include "util/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum weir_code
entry(void *arg, const struct weir_ini_entry *e, struct weir_err *err)
{
	int *line = arg;

	if (e->section == NULL || e->section[0] == '\0' || e->label == NULL || e->line < *line || (e->key == NULL) != (e->value == NULL))
		abort();
	*line = e->line;
	return WEIR_OK;
}

/* The pure functions that read what storages and people write. */
static void
try_texts(const char *text)
{
	WEIR_AUTO(weir_freep) char *copy = weir_xstrdup(text);
	unsigned char out[256];
	uint64_t u;
	int64_t i;

	if (weir_size_parse(text, &u) == 0 && text[strspn(text, " \t")] == '-')
		abort();
	if (weir_duration_parse(text, &i) == 0 && i < 0)
		abort();
	weir_date_parse(text);
	if (weir_unbase64(text, out, sizeof(out)) > (ssize_t)sizeof(out))
		abort();
	if (weir_url_decode(copy, true) != strlen(copy))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const keys[] = {"url", "password", "password_file", "password_command", NULL};
	static const struct weir_conf_type types[] = {{"webdav", keys}};
	struct weir_err err = {0};
	struct weir_conf *conf = NULL;
	char *text = weir_xcalloc(size + 1, 1);
	int line = 0;
	enum weir_code r;

	if (size > 0)
		memcpy(text, data, size);
	r = weir_ini_parse("fuzz", text, size, entry, &line, &err);
	if (r != WEIR_OK && err.msg[0] == '\0')
		abort();
	err.msg[0] = '\0';
	r = weir_conf_parse("fuzz.conf", text, size, types, 1, &conf, &err);
	if ((r == WEIR_OK) != (conf != NULL) || (r != WEIR_OK && err.msg[0] == '\0'))
		abort();
	weir_conf_free(conf);
	try_texts(text);
	free(text);
	return 0;
}

#ifndef WEIR_LIBFUZZER
#define ROUNDS 20000

static const char *const seeds[] = {
    "# c\n[weir]\ncache_dir = /x\ncache_size = 200GiB\nquota = 2TB\nxattr = no\n[remote share]\ntype = webdav\nurl = https://h/$HOME\n"
    "password = p#;\ntimeout = 30s\nbandwidth_up = 1.5MB/s\n[namespace]\n/ = share\n/a/b = share:c/d\n",
    "\xef\xbb\xbf[remote a]\r\ntype=webdav\r\n\r\n[namespace]\r\n/=a:\r\n", "Wed, 20 Jul 2022 05:12:23 GMT", "2026-01-02T03:04:05.678+02:00",
    "1.5 MiB", "250ms", "a%2Fb+%00%zz", "Zm9vYmFy==",
};

static uint64_t state = 88172645463325252u;

static size_t
below(size_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return n > 0 ? (size_t)(state % n) : 0;
}

/* A few of: flip, insert, delete, double a piece, put in a word of the grammar. */
static size_t
mutate(uint8_t *b, size_t n, size_t max)
{
	static const char *const words[] = {"[", "]", "=", "\n", "[namespace]\n", "[remote a]\n", "type = webdav\n", "/", "..", "$", "${", "~", "\r", "#"};

	for (size_t times = 1 + below(6); times > 0; times--) {
		const char *w = words[below(WEIR_LEN(words))];
		size_t at = below(n + 1), len = 1 + below(16);

		switch (below(4)) {
		case 0:
			if (at < n)
				b[at] = (uint8_t)below(256);
			break;
		case 1:
			len = strlen(w);
			if (n + len <= max) {
				memmove(b + at + len, b + at, n - at);
				memcpy(b + at, w, len);
				n += len;
			}
			break;
		case 2:
			len = len < n - at ? len : n - at;
			memmove(b + at, b + at + len, n - at - len);
			n -= len;
			break;
		default:
			len = len < n - at ? len : n - at;
			if (n + len <= max) {
				memmove(b + at + len, b + at, n - at);
				n += len;
			}
		}
	}
	return n;
}

int
main(int argc, char **argv)
{
	uint8_t b[4096];

	for (int i = 1; i < argc; i++) {
		char *text = NULL;
		size_t len = 0;

		if (weir_read_file(argv[i], 16 << 20, &text, &len) < 0) {
			perror(argv[i]);
			return 1;
		}
		LLVMFuzzerTestOneInput((const uint8_t *)text, len);
		free(text);
	}
	for (int i = 0; i < ROUNDS; i++) {
		const char *seed = seeds[below(WEIR_LEN(seeds))];
		size_t n = strlen(seed);

		memcpy(b, seed, n);
		LLVMFuzzerTestOneInput(b, i < (int)WEIR_LEN(seeds) ? n : mutate(b, n, sizeof(b)));
	}
	printf("%d inputs\n", ROUNDS);
	return 0;
}
#endif
