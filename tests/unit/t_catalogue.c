/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue without a network: YAML as the platform reads it, verdicts, lists, addresses, images, filters, and what strangers may send. */
#include "config.h"

#include <CUnit/Basic.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../launcher/catalogue/impl.h"
#include "../launcher/catalogue/yaml.h"
#include "util/clean.h"
#include "util/util.h"

/* One key a line, so that a test can replace any of them. */
static const char *const good[] = {
    "metadata_version: 2.0.0", "title: Plankton sorter", "summary: Sorts pictures of plankton", "description: |-\n  Two lines\n  of text",
    "doi: 10.5281/zenodo.1", "dates: {created: '2024-01-31', updated: '2024-12-31'}",
    "links: {source_code: 'https://github.com/ai4os-hub/plankton', docker_image: ai4oshub/plankton}", "libraries: [PyTorch, Other]",
    "tasks: [Computer Vision, Classification]", "categories: [AI4 trainable, AI4 inference]", "tags: [plankton, vo.imagine-ai.eu]", "data-type: [Image]",
    "resources:\n  inference: {cpu: 2, gpu: 0, memory_MB: 4000, gpu_memory_MB: 8000, gpu_compute_capability: 7.5, storage_MB: 100}", NULL,
};

/* The good file with the line of that key replaced ("key: …" or only "key" to leave it out; a key that is not there is added). Owned. */
static char *
with(const char *change)
{
	struct weir_buf out = WEIR_BUF(1u << 20);
	size_t n = strcspn(change, ":");
	bool is_done = change[n] == '\0';

	for (size_t i = 0; good[i] != NULL; i++) {
		bool is_it = strncmp(good[i], change, n) == 0 && good[i][n] == ':';

		if (is_it && change[n] == '\0')
			continue;
		weir_buf_addf(&out, "%s\n", is_it ? change : good[i]);
		is_done |= is_it;
	}
	if (!is_done)
		weir_buf_addf(&out, "%s\n", change);
	return weir_buf_take(&out);
}

static bool
check(const char *text, char *problems, size_t max)
{
	struct weir_words p = {0};
	bool is_valid = weir_metadata_check(text, strlen(text), &p, NULL);

	problems[0] = '\0';
	for (size_t i = 0; i < p.n; i++)
		snprintf(problems + strlen(problems), max - strlen(problems), "%s\n", p.v[i]);
	CU_ASSERT_EQUAL(is_valid, p.n == 0);
	weir_words_free(&p);
	return is_valid;
}

static void
verdicts_are_the_schemas(void)
{
	/* problem NULL: valid. Each row was also put to the schema itself, by a JSON Schema validator behind PyYAML. */
	static const struct { const char *change, *problem; } rows[] = {
	    {"nothing", NULL},
	    {"doi", NULL}, {"dates", NULL}, {"data-type", NULL}, {"resources", NULL},
	    {"metadata_version", "metadata_version: is missing"}, {"title", "title: is missing"}, {"summary", "summary: is missing"},
	    {"description", "description: is missing"}, {"links", "links: is missing"}, {"libraries", "libraries: is missing"},
	    {"tasks", "tasks: is missing"}, {"categories", "categories: is missing"}, {"tags", "tags: is missing"},
	    {"provenance: {nomad_job: 1}", NULL}, {"license: MIT", NULL},
	    {"tosca: []", "tosca: belongs to version 1"}, {"sources: {}", "sources: belongs"}, {"dataset_url: ''", "dataset_url: belongs"},
	    {"cite_url: x", "cite_url: belongs"}, {"date_creation: x", "date_creation: belongs"}, {"keywords: [a]", "keywords: belongs"},
	    {"metadata_version: 2.0", "metadata_version: unquoted, 2.0 is a number"}, {"metadata_version: '2'", "'2' is no version"},
	    {"metadata_version: 2-0-0", NULL}, {"metadata_version: 1.0.0", NULL}, {"metadata_version: 2.0.0-rc1", "is no version"},
	    {"title: 2024-01-31", "title: unquoted, 2024-01-31 is a date"}, {"title: 2024-02-30", "'2024-02-30' is no date"}, {"title: yes", "is a yes or no"},
	    {"title: 'yes'", NULL}, {"title: y", NULL}, {"title: 12", "is a number"}, {"title: 1e3", NULL}, {"title: 1.0e+3", "is a number"},
	    {"title: 12:30", "is a number"}, {"title: 0o7", NULL}, {"title: 08", NULL}, {"title: 010", "is a number"}, {"title: 0x1F", "is a number"},
	    {"title: ~", "title: has no value"}, {"title:", "title: has no value"}, {"title: ''", NULL}, {"title: [a]", "must be a text, not a list"},
	    {"title: !!str 12", NULL}, {"title: !mine x", "type (!…) that is not known"}, {"title: =", "bare << or ="},
	    {"dates: {created: 2024-01-31, updated: '2024-12-31'}", "dates.created: unquoted, 2024-01-31 is a date"},
	    {"dates: {created: '2024-01-31'}", "dates.updated: is missing"}, {"dates: {created: soon, updated: ''}", NULL}, {"dates: []", "dates: must be a map"},
	    {"links: {source_code: x}", NULL}, {"links: {docker_image: x/y}", "links.source_code: is missing"},
	    {"links: {source_code: x, weights: 1}", "links.weights: unquoted"}, {"links: {source_code: x, ai4_template: 1}", NULL},
	    {"libraries: [pytorch]", "'pytorch' is written 'PyTorch'"}, {"libraries: [MXNet]", "'MXNet' is none of TensorFlow"}, {"libraries: []", NULL},
	    {"libraries: PyTorch", "libraries: must be a list, not a text"}, {"libraries: [Other, Other]", "'Other' stands there twice"},
	    {"tasks: [Reading]", "tasks: 'Reading' is none of"}, {"categories: [AI4 toys]", "categories: 'AI4 toys' is none of"},
	    {"data-type: [Smell]", "data-type: 'Smell' is none of"}, {"tags: [1]", "tags: unquoted, 1 is a number"}, {"tags: [a, b, a]", "'a' stands there twice"},
	    {"resources: {inference: {cpu: 0}}", NULL}, {"resources: {inference: {cpu: 2.0}}", NULL}, {"resources: {inference: {cpu: 1.5}}", "must be a whole number"},
	    {"resources: {inference: {cpu: -1}}", "-1 is less than 0"}, {"resources: {inference: {cpu: yes}}", "must be a whole number"},
	    {"resources: {inference: {cpu: '2'}}", "must be a whole number"}, {"resources: {inference: {memory: 16GB}}", NULL},
	    {"resources: {inference: {gpu_compute_capability: 7.5}}", NULL}, {"resources: {inference: {gpu_compute_capability: x}}", "must be a number"},
	    {"resources: {training: {gpu: -2}}", "resources.training.gpu"}, {"resources: {training: [1]}", "resources.training: must be a map"},
	    {"resources: {other: [1]}", NULL}, {"resources: 1", "resources: must be a map"},
	    {"x: *nowhere", "an alias stands for nothing"}, {"x: &a [1, *a]", "inside of what it stands for"}, {"x: {<<: {a: 1}, b: 2}", NULL},
	    {"x: {<<: [1]}", "only maps can be merged"}, {"x: {[a]: 1}", "cannot be a key"}, {"x: @home", "line 1"}, {"x: 'open", "line"},
	};

	for (size_t i = 0; i < WEIR_LEN(rows); i++) {
		WEIR_AUTO(weir_freep) char *text = with(rows[i].change);
		char problems[4096];
		bool is_valid = check(text, problems, sizeof(problems));
		bool is_right = rows[i].problem == NULL ? is_valid : !is_valid && (strstr(problems, rows[i].problem) != NULL || strcmp(rows[i].problem, "line 1") == 0);

		if (!is_right)
			printf("\n'%s': %s", rows[i].change, is_valid ? "valid\n" : problems);
		CU_ASSERT(is_right);
	}
}

static void
whole_files_that_are_no_metadata(void)
{
	static const struct { const char *text, *problem; } rows[] = {
	    {"", "the file is empty"}, {"# nothing\n", "the file is empty"}, {"- a\n", "the file: must be a map"}, {"just words\n", "the file: must be a map"},
	    {"a: 1\n---\nb: 2\n", "line 2: a second document begins"}, {"a: 1\n b: 2\n", "the file is no YAML: line 2"}, {"\xff\xfe", "the file is no YAML"},
	    {"a: \x01\n", "the file is no YAML"}, {"a: \xc3(\n", "the file is no YAML"}, {"\t- x\n", "the file is no YAML"},
	};
	char problems[4096];

	for (size_t i = 0; i < WEIR_LEN(rows); i++) {
		CU_ASSERT_FALSE(check(rows[i].text, problems, sizeof(problems)));
		CU_ASSERT_PTR_NOT_NULL(strstr(problems, rows[i].problem));
	}
}

static void
words_of_yaml_mean_what_they_mean_there(void)
{
	static const struct { const char *text; enum weir_yaml_kind kind; double number; } rows[] = {
	    {"12", WEIR_YAML_INT, 12}, {"-1_000", WEIR_YAML_INT, -1000}, {"0b101", WEIR_YAML_INT, 5}, {"0x1f", WEIR_YAML_INT, 31}, {"017", WEIR_YAML_INT, 15},
	    {"190:20:30", WEIR_YAML_INT, 685230}, {"-1:30", WEIR_YAML_INT, -90}, {"1.5", WEIR_YAML_REAL, 1.5}, {"-.5", WEIR_YAML_TEXT, 0}, {".5", WEIR_YAML_REAL, .5},
	    {"1.", WEIR_YAML_REAL, 1}, {"1:30.5", WEIR_YAML_REAL, 90.5}, {"6.8523015e+5", WEIR_YAML_REAL, 685230.15}, {"1e5", WEIR_YAML_TEXT, 0}, {".inf", WEIR_YAML_REAL, HUGE_VAL},
	    {"2024-01-31 10:00:00 +1", WEIR_YAML_DATE, 0}, {"2024-1-1", WEIR_YAML_TEXT, 0}, {"Null", WEIR_YAML_NULL, 0}, {"nULL", WEIR_YAML_TEXT, 0}, {"ON", WEIR_YAML_BOOL, 0},
	    {"\"12\"", WEIR_YAML_TEXT, 0}, {"!!float 3", WEIR_YAML_REAL, 3}, {"!!int '3'", WEIR_YAML_INT, 3}, {"99999999999999999999", WEIR_YAML_INT, 1e20},
	    {"!!binary aGk=", WEIR_YAML_OTHER, 0}, {"!!set {a}", WEIR_YAML_OTHER, 0},
	};

	for (size_t i = 0; i < WEIR_LEN(rows); i++) {
		struct weir_yaml_doc doc = {0};
		struct weir_err err = {0};

		CU_ASSERT_EQUAL(weir_yaml_parse(rows[i].text, strlen(rows[i].text), &doc, &err), WEIR_OK);
		CU_ASSERT_PTR_NOT_NULL_FATAL(doc.root);
		if (doc.root->kind != rows[i].kind)
			printf("\n%s: kind %d\n", rows[i].text, doc.root->kind);
		CU_ASSERT_EQUAL(doc.root->kind, rows[i].kind);
		if (rows[i].number != 0)
			CU_ASSERT(doc.root->number == rows[i].number);
		weir_yaml_free(&doc);
	}
}

static void
keys_merge_and_the_last_one_wins(void)
{
	static const char text[] = "base: &b {a: 1, b: 2}\nmore: &m {b: 3, c: 4}\nboth: {<<: [*b, *m], a: 9}\ntwice: 1\ntwice: 2\n";
	struct weir_yaml_doc doc = {0};
	const struct weir_yaml *both;

	CU_ASSERT_EQUAL_FATAL(weir_yaml_parse(text, strlen(text), &doc, NULL), WEIR_OK);
	both = weir_yaml_get(doc.root, "both");
	CU_ASSERT_EQUAL(weir_yaml_get(both, "a")->integer, 9);
	CU_ASSERT_EQUAL(weir_yaml_get(both, "b")->integer, 2);
	CU_ASSERT_EQUAL(weir_yaml_get(both, "c")->integer, 4);
	CU_ASSERT_PTR_NULL(weir_yaml_get(both, "<<"));
	CU_ASSERT_EQUAL(weir_yaml_get(doc.root, "twice")->integer, 2);
	CU_ASSERT_EQUAL(weir_yaml_get(doc.root, "twice")->line, 5);
	weir_yaml_free(&doc);
}

/* ---- harm ---- */

static void
bombs_do_not_go_off(void)
{
	struct weir_buf laughs = WEIR_BUF(1u << 20), deep = WEIR_BUF(1u << 20), many = WEIR_BUF(4u << 20);
	struct weir_yaml_doc doc = {0};
	struct weir_err err = {0};

	weir_buf_adds(&laughs, "l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n");
	for (int i = 1; i < 30; i++)
		weir_buf_addf(&laughs, "l%d: &l%d [*l%d, *l%d, *l%d, *l%d, *l%d, *l%d, *l%d, *l%d, *l%d, *l%d]\n", i, i, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1,
		    i - 1, i - 1, i - 1);
	CU_ASSERT_EQUAL(weir_yaml_parse(laughs.data, laughs.len, &doc, &err), WEIR_E_INVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "aliases"));
	weir_yaml_free(&doc);
	for (int i = 0; i < 100000; i++)
		weir_buf_addc(&deep, '[');
	CU_ASSERT_EQUAL(weir_yaml_parse(deep.data, deep.len, &doc, &err), WEIR_E_INVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "too deep"));
	weir_yaml_free(&doc);
	for (int i = 0; i < 100000; i++)
		weir_buf_adds(&many, "- x\n");
	CU_ASSERT_EQUAL(weir_yaml_parse(many.data, many.len, &doc, &err), WEIR_E_INVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "too much"));
	weir_yaml_free(&doc);
	while (many.len <= WEIR_YAML_MAX)
		weir_buf_adds(&many, "# and so on and so on and so on and so on\n");
	CU_ASSERT_EQUAL(weir_yaml_parse(many.data, many.len, &doc, &err), WEIR_E_INVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "larger than"));
	weir_yaml_free(&doc);
	weir_buf_free(&laughs);
	weir_buf_free(&deep);
	weir_buf_free(&many);
}

static bool
is_harmless(const char *s, bool has_lines)
{
	WEIR_AUTO(weir_freep) char *again = weir_clean(s, strlen(s), has_lines);

	return strcmp(again, s) == 0;
}

static void
nothing_shown_can_steer_a_terminal(void)
{
	static const char text[] = "title: \"a\\e[2Jb\\u202ec\\0d\\x9be\\nf\"\nsummary: \"\\e]0;x\\a\"\ndescription: \"l1\\nl2\\e[31m\"\ntags: [\"\\e[A\", 'fine']\n"
	    "libraries: [\"\\e[31mevil\"]\nlinks: {\"\\ek\": \"\\ev\", docker_image: \"\\e[0m/x\"}\nresources: {inference: {\"\\e[1m\": 1}}\nmetadata_version: \"\\e\"\n";
	struct weir_entry e = {.name = (char *)(uintptr_t)"m", .text = (char *)(uintptr_t)text, .len = strlen(text), .is_local = true};
	struct weir_module *m = weir_module_make(&e, NULL);

	CU_ASSERT_STRING_EQUAL(m->title, "a\xef\xbf\xbd[2Jbc\xef\xbf\xbd" "d\xef\xbf\xbd" "e f");
	CU_ASSERT(is_harmless(m->summary, false));
	CU_ASSERT_STRING_EQUAL(m->description, "l1\nl2\xef\xbf\xbd[31m");
	CU_ASSERT_EQUAL(m->tags.n, 2);
	CU_ASSERT(is_harmless(m->tags.v[0], false));
	CU_ASSERT_EQUAL(m->nlinks, 2);
	CU_ASSERT(is_harmless(m->links[0].name, false) && is_harmless(m->links[0].url, false));
	CU_ASSERT_PTR_NULL(m->image);
	CU_ASSERT(m->is_invalid && !m->is_missing);
	for (size_t i = 0; i < m->problems.n; i++)
		CU_ASSERT(is_harmless(m->problems.v[i], false));
	for (size_t i = 0; i < m->notes.n; i++)
		CU_ASSERT(is_harmless(m->notes.v[i], false));
	weir_module_free(m);
}

static void
texts_are_cut_at_columns(void)
{
	WEIR_AUTO(weir_freep) char *wide = weir_cut_columns("\xe6\xb5\xae\xe6\xb8\xb8\xe7\x94\x9f\xe7\x89\xa9", 5), *same = weir_cut_columns("plain", 5), *cut = weir_cut_columns("plainly", 5);
	WEIR_AUTO(weir_freep) char *none = weir_cut_columns("plain", 0), *clean = weir_clean(" \n a\tb\xff \n", 9, true);

	CU_ASSERT_EQUAL(weir_columns("\xe6\xb5\xae\xe6\xb8\xb8"), 4);
	CU_ASSERT_STRING_EQUAL(wide, "\xe6\xb5\xae\xe6\xb8\xb8\xe2\x80\xa6");
	CU_ASSERT_STRING_EQUAL(same, "plain");
	CU_ASSERT_STRING_EQUAL(cut, "plai\xe2\x80\xa6");
	CU_ASSERT_STRING_EQUAL(none, "");
	CU_ASSERT_STRING_EQUAL(clean, "a b\xef\xbf\xbd");
}

/* ---- a module ---- */

static void
a_module_has_what_its_file_says(void)
{
	WEIR_AUTO(weir_freep) char *text = with("nothing");
	struct weir_entry e = {.name = (char *)(uintptr_t)"plankton", .url = (char *)(uintptr_t)"https://github.com/ai4os-hub/plankton", .text = text, .len = strlen(text),
	    .fetched_s = 77};
	struct weir_module *m = weir_module_make(&e, NULL);

	CU_ASSERT_STRING_EQUAL(m->name, "plankton");
	CU_ASSERT_STRING_EQUAL(m->title, "Plankton sorter");
	CU_ASSERT_STRING_EQUAL(m->description, "Two lines\nof text");
	CU_ASSERT_STRING_EQUAL(m->image, "ai4oshub/plankton");
	CU_ASSERT_STRING_EQUAL(m->created, "2024-01-31");
	CU_ASSERT_EQUAL(m->libraries.n, 2);
	CU_ASSERT_STRING_EQUAL(m->tasks.v[1], "Classification");
	CU_ASSERT_STRING_EQUAL(m->data_types.v[0], "Image");
	CU_ASSERT_EQUAL(m->inference.cpu, 2);
	CU_ASSERT_EQUAL(m->inference.gpu, 0);
	CU_ASSERT_EQUAL(m->inference.memory_mb, 4000);
	CU_ASSERT_EQUAL(m->inference.gpu_memory_mb, 8000);
	CU_ASSERT_EQUAL(m->inference.storage_mb, 100);
	CU_ASSERT(m->inference.gpu_compute_capability == 7.5);
	CU_ASSERT(m->inference.is_said && !m->training.is_said);
	CU_ASSERT_EQUAL(m->training.cpu, -1);
	CU_ASSERT(!m->is_invalid && !m->is_missing && m->notes.n == 0);
	CU_ASSERT_EQUAL(m->fetched_s, 77);
	weir_module_free(m);
}

static void
wrong_amounts_count_as_not_said(void)
{
	WEIR_AUTO(weir_freep) char *text = with("resources: {inference: {cpu: -3, gpu: 1.5, memory_MB: 4000.0, gpu_memory_MB: 1e400, storage_MB: 99999999999999999999, "
	    "gpu_compute_capability: .nan}, training: 7}");
	struct weir_entry e = {.name = (char *)(uintptr_t)"m", .text = text, .len = strlen(text)};
	struct weir_module *m = weir_module_make(&e, NULL);

	CU_ASSERT_EQUAL(m->inference.cpu, -1);
	CU_ASSERT_EQUAL(m->inference.gpu, -1);
	CU_ASSERT_EQUAL(m->inference.memory_mb, 4000);
	CU_ASSERT_EQUAL(m->inference.gpu_memory_mb, -1);
	CU_ASSERT_EQUAL(m->inference.storage_mb, 1000000000000000);
	CU_ASSERT(m->inference.gpu_compute_capability == -1);
	CU_ASSERT(!m->training.is_said);
	CU_ASSERT(m->is_invalid);
	weir_module_free(m);
}

static void
images_come_out_of_links(void)
{
	static const struct { const char *link, *registry, *source, *image; } rows[] = {
	    {"ai4oshub/ai4os-demo-app", NULL, NULL, "ai4oshub/ai4os-demo-app"},
	    {"https://hub.example.org/r/deephdc/deep-oc-mods", NULL, NULL, "deephdc/deep-oc-mods"},
	    {"https://hub.example.org/r/deephdc/deep-oc-mods/", NULL, NULL, "deephdc/deep-oc-mods"},
	    {" ai4oshub/x/ ", NULL, NULL, NULL},
	    {"ai4oshub/x:cpu", "mirror.example.org:5000/hub", NULL, "mirror.example.org:5000/hub/ai4oshub/x:cpu"},
	    {"registry.example.org/a/b", "mirror.example.org", NULL, "registry.example.org/a/b"},
	    {"docker://registry.example.org/a/b:1", NULL, NULL, "registry.example.org/a/b:1"},
	    {"plain", NULL, NULL, "plain"}, {"plain", NULL, "https://github.com/ai4os-hub/plain", "ai4oshub/plain"},
	    {"ai4oshub/Upper", NULL, NULL, NULL}, {"-v/x", NULL, NULL, NULL}, {"a b", NULL, NULL, NULL}, {"../x", NULL, NULL, NULL}, {"https://example.org", NULL, NULL, "example.org"},
	};

	for (size_t i = 0; i < WEIR_LEN(rows); i++) {
		WEIR_AUTO(weir_freep) char *line = weir_xasprintf("links: {source_code: x, docker_image: '%s'}", rows[i].link), *text = with(line);
		struct weir_entry e = {.name = (char *)(uintptr_t)"m", .url = (char *)(uintptr_t)rows[i].source, .text = text, .len = strlen(text)};
		struct weir_module *m = weir_module_make(&e, rows[i].registry);

		if (rows[i].image == NULL ? m->image != NULL && strcmp(m->image, "ai4oshub/x") != 0 : m->image == NULL || strcmp(m->image, rows[i].image) != 0) {
			printf("\n%s: %s\n", rows[i].link, m->image);
			CU_FAIL("another image");
		}
		weir_module_free(m);
	}
}

static void
images_and_names_are_told_apart(void)
{
	static const struct { const char *word; enum weir_module_word kind; } rows[] = {
	    {"ai4os-demo-app", WEIR_WORD_NAME}, {"DEEP-OC-mods", WEIR_WORD_NAME}, {"busybox", WEIR_WORD_NAME}, {"busybox:latest", WEIR_WORD_IMAGE}, {"ai4oshub/x", WEIR_WORD_IMAGE},
	    {"localhost:5000/x:1", WEIR_WORD_IMAGE}, {"localhost/x", WEIR_WORD_IMAGE}, {"r.example.org/a/b/c:v1.0_x", WEIR_WORD_IMAGE},
	    {"a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", WEIR_WORD_IMAGE}, {"a/b@sha256:12", WEIR_WORD_BAD}, {"a/b:", WEIR_WORD_BAD},
	    {"a/b:-x", WEIR_WORD_BAD}, {"--rm", WEIR_WORD_BAD}, {"-x/y", WEIR_WORD_BAD}, {"", WEIR_WORD_BAD}, {"a//b", WEIR_WORD_BAD}, {"/a", WEIR_WORD_BAD}, {"a/", WEIR_WORD_BAD},
	    {"a b/c", WEIR_WORD_BAD}, {"a___b/c", WEIR_WORD_BAD}, {"a__b/c", WEIR_WORD_IMAGE}, {"a---b/c", WEIR_WORD_IMAGE}, {"A/b", WEIR_WORD_BAD}, {"h:x/a", WEIR_WORD_BAD},
	    {"h:99999999/a", WEIR_WORD_BAD}, {"\xc3\xa9/a", WEIR_WORD_BAD}, {"a\x1b[m", WEIR_WORD_BAD},
	};
	WEIR_AUTO(weir_freep) char *tagged = weir_image_tagged("localhost:5000/x", "cpu"), *kept = weir_image_tagged("x/y:gpu", "cpu");

	for (size_t i = 0; i < WEIR_LEN(rows); i++) {
		struct weir_err err = {0};
		enum weir_module_word kind = weir_module_word(rows[i].word, &err);

		if (kind != rows[i].kind)
			printf("\n'%s': %d\n", rows[i].word, kind);
		CU_ASSERT_EQUAL(kind, rows[i].kind);
		CU_ASSERT_EQUAL(kind == WEIR_WORD_BAD, err.msg[0] != '\0');
	}
	CU_ASSERT_STRING_EQUAL(tagged, "localhost:5000/x:cpu");
	CU_ASSERT_STRING_EQUAL(kept, "x/y:gpu");
	CU_ASSERT(weir_image_has_tag("a/b:1") && weir_image_has_tag("a@sha256:x") && !weir_image_has_tag("h:5000/a"));
}

static void
filters_agree_or_do_not(void)
{
	static const char *const pytorch[] = {"keras", "PYTORCH"}, *const keras[] = {"Keras"}, *const vision[] = {"computer vision"}, *const tag[] = {"VO.imagine-ai.eu"},
	    *const words[] = {"PLANKTON", "pictures"}, *const others[] = {"plankton", "whale"}, *const image[] = {"image"}, *const category[] = {"ai4 trainable"};
	WEIR_AUTO(weir_freep) char *text = with("nothing");
	struct weir_entry e = {.name = (char *)(uintptr_t)"m", .text = text, .len = strlen(text)};
	struct weir_module *m = weir_module_make(&e, NULL);

	CU_ASSERT(weir_module_matches(m, &(struct weir_module_filter){0}));
	CU_ASSERT(weir_module_matches(m, &(struct weir_module_filter){.libraries = pytorch, .nlibraries = 2}));
	CU_ASSERT_FALSE(weir_module_matches(m, &(struct weir_module_filter){.libraries = keras, .nlibraries = 1}));
	CU_ASSERT(weir_module_matches(m, &(struct weir_module_filter){.libraries = pytorch, .nlibraries = 2, .tasks = vision, .ntasks = 1, .tags = tag, .ntags = 1,
	    .data_types = image, .ndata_types = 1, .categories = category, .ncategories = 1, .words = words, .nwords = 2}));
	CU_ASSERT_FALSE(weir_module_matches(m, &(struct weir_module_filter){.tasks = keras, .ntasks = 1, .words = words, .nwords = 2}));
	CU_ASSERT_FALSE(weir_module_matches(m, &(struct weir_module_filter){.words = others, .nwords = 2}));
	weir_module_free(m);
}

/* ---- lists and addresses ---- */

static void
a_bad_entry_hides_no_other(void)
{
	static const char text[] =
	    "\xef\xbb\xbf# the modules\n[submodule \"first\"]\n\tpath = first\n\turl = https://github.com/o/first.git\n\tbranch = main\n"
	    "[submodule \"up\"]\n\tpath = ../../up\n\turl = https://github.com/o/up\n[submodule \"-x\"]\n\tpath = -x\n\turl = https://github.com/o/x\n"
	    "[submodule \"esc\"]\n\tpath = e\x1b[31m\n\turl = https://github.com/o/x\n[submodule \"nourl\"]\n\tpath = nourl\n"
	    "[submodule \"junk\"]\n\tpath = junk\n\tthis is no line\n\turl = https://github.com/o/junk\n[submodule \"ext\"]\n\tpath = ext\n\turl = ext::sh -c id\n"
	    "[submodule \"opt\"]\n\tpath = opt\n\turl = --upload-pack=id\n[submodule \"file\"]\n\tpath = file\n\turl = file:///etc\n"
	    "[submodule \"branch\"]\n\tpath = branch\n\turl = https://github.com/o/b\n\tbranch = --x\n[submodule \"first\"]\n\tpath = first\n\turl = https://github.com/o/twice\n"
	    "[core]\n\tx = y\n[submodule \"q\"]\n\tpath = \"group/quoted\"\n\turl = \"https://github.com/o/q\"\n\tbranch = .\n[broken\n[submodule \"nopath\"]\n\turl = https://github.com/o/n\n"
	    "[submodule \"last\"]\n\tpath = last\n\turl = ../last";
	struct weir_catalogue_place place = {0};
	struct weir_entries list = {0};
	const struct weir_entry *e;

	CU_ASSERT_EQUAL_FATAL(weir_place_find("https://github.com/o/catalogue", &place, NULL), WEIR_OK);
	weir_list_parse(&place, text, sizeof(text) - 1, &list);
	CU_ASSERT_EQUAL(list.n, 15);
	e = weir_entries_find(&list, "first");
	CU_ASSERT(e != NULL && e->bad == NULL && strcmp(e->url, "https://github.com/o/first.git") == 0 && strcmp(e->branch, "main") == 0);
	e = weir_entries_find(&list, "quoted");
	CU_ASSERT(e != NULL && e->bad == NULL && strcmp(e->path, "group/quoted") == 0 && e->branch == NULL);
	e = weir_entries_find(&list, "last");
	CU_ASSERT(e != NULL && e->bad == NULL && strcmp(e->url, "https://github.com/o/last") == 0);
	for (size_t i = 0; i < list.n; i++) {
		CU_ASSERT(is_harmless(list.v[i].name, false));
		CU_ASSERT_EQUAL(list.v[i].bad == NULL, &list.v[i] == weir_entries_find(&list, "first") || &list.v[i] == weir_entries_find(&list, "quoted") || &list.v[i] == weir_entries_find(&list, "last"));
	}
	CU_ASSERT_PTR_NOT_NULL(weir_entries_find(&list, "first (2)"));
	CU_ASSERT_PTR_NOT_NULL(weir_entries_find(&list, "nopath"));
	weir_entries_free(&list);
	weir_place_free(&place);
}

static void
addresses_are_what_they_are(void)
{
	static const struct { const char *url; enum weir_place_kind kind; const char *base; } rows[] = {
	    {"https://github.com/o/r", WEIR_PLACE_FORGE, "https://raw.githubusercontent.com/o/r/HEAD"},
	    {"https://github.com/o/r.git/", WEIR_PLACE_FORGE, "https://raw.githubusercontent.com/o/r/HEAD"},
	    {"https://gitlab.com/g/s/r", WEIR_PLACE_FORGE, "https://gitlab.com/g/s/r/-/raw/HEAD"},
	    {"https://gitlab.example.org/g/r", WEIR_PLACE_FORGE, "https://gitlab.example.org/g/r/-/raw/HEAD"},
	    {"git+https://github.com/o/r", WEIR_PLACE_GIT, "https://github.com/o/r"}, {"https://example.org/r.git", WEIR_PLACE_GIT, "https://example.org/r.git"},
	    {"git@example.org:o/r", WEIR_PLACE_GIT, "git@example.org:o/r"}, {"ssh://example.org/r", WEIR_PLACE_GIT, "ssh://example.org/r"},
	    {"file:///srv/r", WEIR_PLACE_GIT, "file:///srv/r"}, {"http://127.0.0.1:8000/", WEIR_PLACE_HTTP, "http://127.0.0.1:8000"},
	    {"http://example.org/c/.gitmodules", WEIR_PLACE_HTTP, "http://example.org/c"}, {"/", WEIR_PLACE_FOLDER, "/"},
	};
	static const char *const bad[] = {"", "ext::sh -c id", "https://u:p@example.org/x", "https://-oProxyCommand=x/y", "ftp://example.org/x", "https://a b/c", "/nowhere/at/all", "nowhere"};
	struct weir_catalogue_place place;
	struct weir_err err;

	for (size_t i = 0; i < WEIR_LEN(rows); i++) {
		CU_ASSERT_EQUAL(weir_place_find(rows[i].url, &place, &err), WEIR_OK);
		if (place.kind != rows[i].kind || strcmp(place.base, rows[i].base) != 0) {
			printf("\n%s: %d %s\n", rows[i].url, place.kind, place.base);
			CU_FAIL("another place");
		}
		weir_place_free(&place);
	}
	for (size_t i = 0; i < WEIR_LEN(bad); i++) {
		err = (struct weir_err){0};
		CU_ASSERT_NOT_EQUAL(weir_place_find(bad[i], &place, &err), WEIR_OK);
		CU_ASSERT(err.msg[0] != '\0');
		weir_place_free(&place);
	}
}

static void
files_of_repositories_have_addresses(void)
{
	WEIR_AUTO(weir_freep) char *a = weir_place_raw("https://github.com/o/r/", "a b", NULL), *b = weir_place_raw("https://example.org/o/r", "x", NULL);
	WEIR_AUTO(weir_freep) char *c = weir_place_raw("https://example.org/o/r.git", "v/1", "https://{host}/x/{owner}/{repo}/{branch}"), *d = weir_place_raw("git@github.com:o/r", "x", NULL);

	CU_ASSERT_STRING_EQUAL(a, "https://raw.githubusercontent.com/o/r/a%20b");
	CU_ASSERT_PTR_NULL(b);
	CU_ASSERT_STRING_EQUAL(c, "https://example.org/x/o/r/v/1");
	CU_ASSERT_PTR_NULL(d);
	CU_ASSERT(weir_place_is_branch("main") && weir_place_is_branch("feature/x-1.0"));
	CU_ASSERT(!weir_place_is_branch("-x") && !weir_place_is_branch("a..b") && !weir_place_is_branch("") && !weir_place_is_branch("a b") && !weir_place_is_branch("x/"));
}

int
main(void)
{
	CU_pSuite s;
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 99;
	s = CU_add_suite("catalogue", NULL, NULL);
	CU_ADD_TEST(s, words_of_yaml_mean_what_they_mean_there);
	CU_ADD_TEST(s, keys_merge_and_the_last_one_wins);
	CU_ADD_TEST(s, verdicts_are_the_schemas);
	CU_ADD_TEST(s, whole_files_that_are_no_metadata);
	CU_ADD_TEST(s, bombs_do_not_go_off);
	CU_ADD_TEST(s, nothing_shown_can_steer_a_terminal);
	CU_ADD_TEST(s, texts_are_cut_at_columns);
	CU_ADD_TEST(s, a_module_has_what_its_file_says);
	CU_ADD_TEST(s, wrong_amounts_count_as_not_said);
	CU_ADD_TEST(s, images_come_out_of_links);
	CU_ADD_TEST(s, images_and_names_are_told_apart);
	CU_ADD_TEST(s, filters_agree_or_do_not);
	CU_ADD_TEST(s, a_bad_entry_hides_no_other);
	CU_ADD_TEST(s, addresses_are_what_they_are);
	CU_ADD_TEST(s, files_of_repositories_have_addresses);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed != 0;
}
