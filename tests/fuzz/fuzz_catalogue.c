/* SPDX-License-Identifier: Apache-2.0 */
/* What a catalogue sends: lists and metadata, fed with anything. With clang: -fsanitize=fuzzer and -DWEIR_LIBFUZZER. Without, main() runs the files named on
 * its command line, then a fixed number of mutations of a few seeds: the same ones in every run. */
#include "config.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "../launcher/catalogue/impl.h"
#include "../launcher/catalogue/yaml.h"
#include "util/clean.h"
#include "util/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must_be_clean(const char *s, bool has_lines)
{
	WEIR_AUTO(weir_freep) char *again = weir_clean(s, strlen(s), has_lines);

	if (strcmp(again, s) != 0)
		abort();
}

static void
try_metadata(const char *text, size_t len)
{
	struct weir_entry e = {.name = (char *)(uintptr_t)"m", .text = (char *)(uintptr_t)text, .len = len};
	struct weir_module *m = weir_module_make(&e, NULL);

	must_be_clean(m->title, false);
	must_be_clean(m->summary, false);
	must_be_clean(m->description, true);
	for (size_t i = 0; i < m->problems.n; i++)
		must_be_clean(m->problems.v[i], false);
	for (size_t i = 0; i < m->tags.n; i++)
		must_be_clean(m->tags.v[i], false);
	if ((m->image != NULL && !weir_image_is_good(m->image)) || m->is_invalid != (m->problems.n > 0))
		abort();
	weir_module_free(m);
}

static void
try_list(const char *text, size_t len)
{
	struct weir_catalogue_place place = {.kind = WEIR_PLACE_FORGE, .url = (char *)(uintptr_t)"https://github.com/o/c"};
	struct weir_entries list = {0};

	weir_list_parse(&place, text, len, &list);
	for (size_t i = 0; i < list.n; i++) {
		const struct weir_entry *e = &list.v[i];

		must_be_clean(e->name, false);
		if (weir_entries_find(&list, e->name) != e)
			abort();
		if (e->bad == NULL && (!weir_list_is_name(e->name) || e->url == NULL || e->url[0] == '-' || strncmp(e->url, "file:", 5) == 0 || strstr(e->path, "..") == e->path))
			abort();
	}
	weir_entries_free(&list);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = weir_xcalloc(size + 1, 1);

	if (size > 0)
		memcpy(text, data, size);
	try_metadata(text, size);
	try_list(text, size);
	weir_module_word(text, NULL);
	free(text);
	return 0;
}

#ifndef WEIR_LIBFUZZER
#define ROUNDS 15000

static const char *const seeds[] = {
    "metadata_version: 2.0.0\ntitle: x\nsummary: \"a\\x1b\"\ndescription: |-\n  d\n  e\nlinks: {source_code: 'https://h/x', docker_image: o/n:t}\nlibraries: [PyTorch]\n"
    "tasks: [Other]\ncategories: [AI4 tools]\ntags: &t [a, b]\ndata-type: [Image]\nresources: {inference: {cpu: 1, memory_MB: 2_000}}\nx: {<<: {a: *t}, b: ~}\n",
    "[submodule \"a\"]\n\tpath = a\n\turl = https://github.com/o/a.git\n\tbranch = main\n[submodule \"b\"]\n\tpath = g/b\n\turl = ../b\n",
    "a: [1, 0x1f, 1:30, 1.5e+3, 2024-01-31, yes, .inf, '', !!set {a}, !!binary aGk=]\n", "registry.example.org:5000/a/b_c:tag@sha256:0123456789abcdef0123456789abcdef",
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

/* A few of: flip, insert a word of the grammar, delete, double a piece. */
static size_t
mutate(uint8_t *b, size_t n, size_t max)
{
	static const char *const words[] = {"[", "]", "{", "}", ": ", "\n", "- ", "&t ", "*t", "<<: ", "!!int ", "\"\\e[m\"", "[submodule \"x\"]\n", "path = ", "url = ", "..", "/", "-", "\t", "\x1b", "\xff", "'", "|\n", "#", "? "};

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
