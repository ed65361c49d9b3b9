/* SPDX-License-Identifier: Apache-2.0 */
/* weir modules: what the catalogue has. */
#include "config.h"

#include "cli.h"
#include "table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../backends/backend.h"
#include "../../launcher/catalogue/catalogue.h"
#include "../util/clean.h"

#define MODULES_FILE_MAX (1u << 20)
#define MODULES_TTY_MS 100
#define MODULES_LINE_MS 5000

struct modules_options {
	const char *conf, *catalogue;
	struct weir_opt_list libraries, tasks, categories, data_types, tags;
	bool is_offline, is_json, is_quiet;
};
#define MODULES_AT(field) offsetof(struct modules_options, field)

static const struct weir_opt modules_opts[] = {
    WEIR_OPT_CONF(struct modules_options),
    {"catalogue", 0, WEIR_OPT_TEXT, MODULES_AT(catalogue), "PLACE", "a folder, a git repository or an HTTP address (default: the configuration's, else the AI4OS platform's)"},
    {"library", 0, WEIR_OPT_LIST, MODULES_AT(libraries), "NAME", "only modules with this library; again for more: any of them"},
    {"task", 0, WEIR_OPT_LIST, MODULES_AT(tasks), "NAME", "only modules for this task"},
    {"category", 0, WEIR_OPT_LIST, MODULES_AT(categories), "NAME", "only modules of this category"},
    {"data-type", 0, WEIR_OPT_LIST, MODULES_AT(data_types), "NAME", "only modules for this type of data"},
    {"tag", 0, WEIR_OPT_LIST, MODULES_AT(tags), "NAME", "only modules with this tag"},
    {"offline", 0, WEIR_OPT_FLAG, MODULES_AT(is_offline), NULL, "ask nobody: what was fetched before"},
    {"quiet", 'q', WEIR_OPT_FLAG, MODULES_AT(is_quiet), NULL, "no progress"},
    WEIR_OPT_JSON(struct modules_options),
};

struct modules {
	const struct modules_options *o;
	struct weir_conf *conf;
	struct weir_catalogue *catalogue;
	const char *const *words;	/* operands after the command, NULL-terminated */
	size_t nwords;
	int64_t said_ms;
	bool is_tty, is_shown;
};

/* ---- fetching ---- */

static void
modules_progress(void *arg, size_t done, size_t total, const char *what)
{
	struct modules *m = arg;
	int64_t now = weir_now_ms();

	if (m->o->is_quiet || (now - m->said_ms < (m->is_tty ? MODULES_TTY_MS : MODULES_LINE_MS) && !(m->is_tty && done == 0)))
		return;
	m->said_ms = now;
	if (!m->is_tty)
		weir_say("fetching: %zu of %zu", done, total);
	else if (total == 0)
		fprintf(stderr, "\r\033[Kfetching %s …", what != NULL ? what : "");
	else
		fprintf(stderr, "\r\033[Kfetching %zu of %zu  %.60s", done, total, what != NULL ? what : "");
	fflush(stderr);
	m->is_shown = m->is_tty;
}

/* Exit status; the sentence is printed. */
static int
modules_open(struct modules *m, bool is_forced, const char *const *only)
{
	struct weir_catalogue_options o = {.url = m->o->catalogue, .conf = m->conf, .is_offline = m->o->is_offline, .is_forced = is_forced, .only = only,
	    .progress = modules_progress, .progress_arg = m};
	struct weir_err err = {0};
	enum weir_code r;

	m->is_tty = isatty(STDERR_FILENO) == 1;
	m->said_ms = weir_now_ms();
	r = weir_catalogue_open(&m->catalogue, &o, &err);
	if (m->is_shown)
		fprintf(stderr, "\r\033[K");
	if (r != WEIR_OK) {
		weir_say("%s", weir_err_text(&err, r));
		return r == WEIR_E_CONFIG ? WEIR_EXIT_CONFIG : WEIR_EXIT_FAILED;
	}
	if (weir_catalogue_word(m->catalogue) != NULL)
		weir_say("%s", weir_catalogue_word(m->catalogue));
	return WEIR_EXIT_OK;
}

/* ---- JSON ---- */

static json_t *
modules_json_words(const struct weir_words *w)
{
	json_t *a = json_array();

	for (size_t i = 0; i < w->n; i++)
		json_array_append_new(a, json_string(w->v[i]));
	return a;
}

static void
modules_json_set(json_t *o, const char *key, const char *text)
{
	json_object_set_new(o, key, text != NULL ? json_string(text) : json_null());
}

static void
modules_json_amount(json_t *o, const char *key, int64_t n)
{
	if (n >= 0)
		json_object_set_new(o, key, json_integer((json_int_t)n));
}

static json_t *
modules_json_resources(const struct weir_module_resources *r)
{
	json_t *o = json_object();

	modules_json_amount(o, "cpu", r->cpu);
	modules_json_amount(o, "gpu", r->gpu);
	modules_json_amount(o, "memory_MB", r->memory_mb);
	modules_json_amount(o, "gpu_memory_MB", r->gpu_memory_mb);
	modules_json_amount(o, "storage_MB", r->storage_mb);
	if (r->gpu_compute_capability >= 0)
		json_object_set_new(o, "gpu_compute_capability", json_real(r->gpu_compute_capability));
	if (r->cpu_architecture != NULL)
		modules_json_set(o, "cpu_architecture", r->cpu_architecture);
	return o;
}

static json_t *
modules_json(const struct weir_module *m)
{
	json_t *o = json_object(), *links = json_object();

	modules_json_set(o, "name", m->name);
	modules_json_set(o, "title", m->title);
	modules_json_set(o, "summary", m->summary);
	modules_json_set(o, "description", m->description);
	modules_json_set(o, "image", m->image);
	json_object_set_new(o, "libraries", modules_json_words(&m->libraries));
	json_object_set_new(o, "tasks", modules_json_words(&m->tasks));
	json_object_set_new(o, "categories", modules_json_words(&m->categories));
	json_object_set_new(o, "data_types", modules_json_words(&m->data_types));
	json_object_set_new(o, "tags", modules_json_words(&m->tags));
	modules_json_set(o, "license", m->license);
	modules_json_set(o, "doi", m->doi);
	modules_json_set(o, "created", m->created);
	modules_json_set(o, "updated", m->updated);
	modules_json_set(o, "metadata_version", m->metadata_version);
	for (size_t i = 0; i < m->nlinks; i++)
		modules_json_set(links, m->links[i].name, m->links[i].url);
	json_object_set_new(o, "links", links);
	json_object_set_new(o, "inference", modules_json_resources(&m->inference));
	json_object_set_new(o, "training", modules_json_resources(&m->training));
	modules_json_set(o, "source", m->source);
	modules_json_set(o, "branch", m->branch);
	if (m->fetched_s > 0)
		json_object_set_new(o, "fetched", json_integer((json_int_t)m->fetched_s));
	json_object_set_new(o, "valid", json_boolean(!m->is_invalid));
	json_object_set_new(o, "missing", json_boolean(m->is_missing));
	json_object_set_new(o, "problems", modules_json_words(&m->problems));
	json_object_set_new(o, "notes", modules_json_words(&m->notes));
	return o;
}

/* ---- list, search ---- */

static char *
modules_joined(const struct weir_words *w)
{
	struct weir_buf out = WEIR_BUF(64u << 10);

	for (size_t i = 0; i < w->n; i++)
		weir_buf_addf(&out, "%s%s", i > 0 ? ", " : "", w->v[i]);
	return weir_buf_take(&out);
}

/* A bad one says why in place of all else. */
static void
modules_row(struct weir_table *t, const struct weir_module *m)
{
	WEIR_AUTO(weir_freep) char *tasks = modules_joined(&m->tasks), *libraries = modules_joined(&m->libraries), *title = NULL;
	const char *cells[4] = {m->name, tasks, libraries, m->title};

	if (m->is_invalid && m->problems.n > 1)
		title = weir_xasprintf("invalid: %s (and %zu more)", m->problems.v[0], m->problems.n - 1);
	else if (m->is_invalid)
		title = weir_xasprintf("invalid: %s", m->problems.v[0]);
	if (title != NULL) {
		cells[1] = title;
		cells[2] = cells[3] = NULL;
	}
	weir_table_add(t, cells);
}

static void
modules_print_foot(const struct modules *m, size_t n, size_t ninvalid)
{
	size_t all = weir_catalogue_count(m->catalogue);
	int64_t fetched = weir_catalogue_fetched_s(m->catalogue);
	WEIR_AUTO(weir_freep) char *age = weir_catalogue_age(fetched);

	printf("\n%zu %s", n, n == 1 ? "module" : "modules");
	if (n != all)
		printf(" of %zu", all);
	if (ninvalid > 0)
		printf(", %zu invalid", ninvalid);
	printf(" · %s%s%s\n", weir_catalogue_url(m->catalogue), fetched > 0 ? ", fetched " : "", fetched > 0 ? age : "");
}

static int
modules_list(struct modules *m)
{
	static const char *const heads[] = {"NAME", "TASKS", "LIBRARIES", "TITLE"};
	const struct modules_options *o = m->o;
	struct weir_module_filter filter = {
	    .libraries = o->libraries.v, .nlibraries = o->libraries.n, .tasks = o->tasks.v, .ntasks = o->tasks.n, .categories = o->categories.v,
	    .ncategories = o->categories.n, .data_types = o->data_types.v, .ndata_types = o->data_types.n, .tags = o->tags.v, .ntags = o->tags.n,
	    .words = m->words, .nwords = m->nwords,
	};
	struct weir_table table = {.columns = WEIR_LEN(heads), .heads = heads};
	size_t ninvalid = 0;
	json_t *all = json_array();
	int status = modules_open(m, false, NULL);

	for (size_t i = 0; status == WEIR_EXIT_OK && i < weir_catalogue_count(m->catalogue); i++) {
		const struct weir_module *module = weir_catalogue_at(m->catalogue, i);

		if (!weir_module_matches(module, &filter))
			continue;
		ninvalid += module->is_invalid;
		modules_row(&table, module);
		if (o->is_json)
			json_array_append_new(all, modules_json(module));
	}
	if (status == WEIR_EXIT_OK && o->is_json) {
		json_t *answer = json_pack("{s:s, s:I, s:O}", "catalogue", weir_catalogue_url(m->catalogue), "fetched",
		    (json_int_t)weir_catalogue_fetched_s(m->catalogue), "modules", all);

		modules_json_set(answer, "word", weir_catalogue_word(m->catalogue));
		weir_print_json(answer);
		json_decref(answer);
	} else if (status == WEIR_EXIT_OK && table.rows == 0)
		weir_say("none of the %zu modules of %s is like that", weir_catalogue_count(m->catalogue), weir_catalogue_url(m->catalogue));
	else if (status == WEIR_EXIT_OK) {
		weir_table_print(&table, weir_terminal_columns());
		modules_print_foot(m, table.rows, ninvalid);
	}
	weir_table_free(&table);
	json_decref(all);
	return status;
}

/* ---- show ---- */

static void
modules_print_line(const char *label, const char *text)
{
	if (text != NULL && *text != '\0')
		printf("  %-12s %s\n", label, text);
}

static void
modules_print_words(const char *label, const struct weir_words *w)
{
	WEIR_AUTO(weir_freep) char *text = modules_joined(w);

	modules_print_line(label, text);
}

static void
modules_amount(struct weir_buf *out, int64_t n, const char *one, const char *many)
{
	if (n >= 0)
		weir_buf_addf(out, "%s%" PRId64 " %s", out->len > 0 ? ", " : "", n, n == 1 ? one : many);
}

static void
modules_print_resources(const char *label, const struct weir_module_resources *r)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf text = WEIR_BUF(1024);

	modules_amount(&text, r->cpu, "CPU", "CPUs");
	modules_amount(&text, r->memory_mb, "MB of memory", "MB of memory");
	modules_amount(&text, r->gpu, "GPU", "GPUs");
	modules_amount(&text, r->gpu_memory_mb, "MB of GPU memory", "MB of GPU memory");
	if (r->gpu_compute_capability >= 0)
		weir_buf_addf(&text, "%scompute capability %g", text.len > 0 ? ", " : "", r->gpu_compute_capability);
	modules_amount(&text, r->storage_mb, "MB of storage", "MB of storage");
	if (r->cpu_architecture != NULL)
		weir_buf_addf(&text, "%s%s", text.len > 0 ? ", " : "", r->cpu_architecture);
	modules_print_line(label, weir_buf_str(&text));
}

static void
modules_print_sentences(const char *label, const struct weir_words *w)
{
	if (w->n > 0)
		printf("  %s\n", label);
	for (size_t i = 0; i < w->n; i++)
		printf("    - %s\n", w->v[i]);
}

static void
modules_print_source(const struct weir_module *m)
{
	WEIR_AUTO(weir_freep) char *age = weir_catalogue_age(m->fetched_s);

	if (m->source != NULL)
		printf("  %-12s %s%s%s%s\n", "source", m->source, m->branch != NULL ? " (branch " : "", m->branch != NULL ? m->branch : "", m->branch != NULL ? ")" : "");
	for (size_t i = 0; i < m->nlinks; i++) {
		if (strcmp(m->links[i].name, "source_code") != 0 && strcmp(m->links[i].name, "docker_image") != 0)
			modules_print_line(m->links[i].name, m->links[i].url);
	}
	if (m->fetched_s > 0)
		modules_print_line("fetched", age);
}

static void
modules_print(const struct weir_module *m)
{
	size_t width = weir_terminal_columns();

	printf("%s", m->name);
	if (strcmp(m->title, m->name) != 0)
		printf(": %s", m->title);
	putchar('\n');
	weir_print_wrapped(m->summary, 2, width);
	putchar('\n');
	modules_print_line("image", m->image != NULL ? m->image : "none is named");
	modules_print_resources("inference", &m->inference);
	modules_print_resources("training", &m->training);
	modules_print_words("tasks", &m->tasks);
	modules_print_words("libraries", &m->libraries);
	modules_print_words("data types", &m->data_types);
	modules_print_words("categories", &m->categories);
	modules_print_words("tags", &m->tags);
	modules_print_line("license", m->license);
	modules_print_line("doi", m->doi);
	modules_print_line("created", m->created);
	modules_print_line("updated", m->updated);
	modules_print_source(m);
	if (m->is_invalid)
		modules_print_sentences("metadata     invalid:", &m->problems);
	else
		printf("  %-12s valid (version %s)\n", "metadata", m->metadata_version != NULL ? m->metadata_version : "?");
	modules_print_sentences("notes", &m->notes);
	if (*m->description != '\0')
		putchar('\n');
	weir_print_wrapped(m->description, 2, width);
}

static int
modules_show(struct modules *m)
{
	struct weir_err err = {0};
	json_t *all = json_array();
	int status = modules_open(m, false, m->words);

	for (size_t i = 0; status == WEIR_EXIT_OK && i < m->nwords; i++) {
		const struct weir_module *module = weir_catalogue_find(m->catalogue, m->words[i], &err);

		if (module == NULL) {
			weir_say("%s", err.msg);
			status = WEIR_EXIT_FAILED;
		} else if (m->o->is_json)
			json_array_append_new(all, modules_json(module));
		else {
			if (i > 0)
				putchar('\n');
			modules_print(module);
		}
	}
	if (status == WEIR_EXIT_OK && m->o->is_json)
		weir_print_json(m->nwords == 1 ? json_array_get(all, 0) : all);
	json_decref(all);
	return status;
}

/* ---- fetch ---- */

static int
modules_fetch(struct modules *m)
{
	size_t n = 0, ninvalid = 0, nmissing = 0;
	struct weir_err err = {0};
	int status = modules_open(m, true, m->nwords > 0 ? m->words : NULL);

	for (size_t i = 0; status == WEIR_EXIT_OK && i < m->nwords; i++) {
		if (weir_catalogue_find(m->catalogue, m->words[i], &err) == NULL) {
			weir_say("%s", err.msg);
			status = WEIR_EXIT_FAILED;
		}
	}
	if (status != WEIR_EXIT_OK)
		return status;
	for (size_t i = 0; i < weir_catalogue_count(m->catalogue); i++) {
		const struct weir_module *module = weir_catalogue_at(m->catalogue, i);
		size_t k = 0;

		while (k < m->nwords && strcasecmp(m->words[k], module->name) != 0)
			k++;
		if (m->nwords > 0 && k == m->nwords)
			continue;
		n++;
		nmissing += module->is_missing;
		ninvalid += module->is_invalid && !module->is_missing;
	}
	printf("%zu %s of %s: %zu valid, %zu invalid, %zu without metadata\n", n, n == 1 ? "module" : "modules", weir_catalogue_url(m->catalogue),
	    n - ninvalid - nmissing, ninvalid, nmissing);
	return weir_catalogue_word(m->catalogue) != NULL ? WEIR_EXIT_FAILED : WEIR_EXIT_OK;
}

/* ---- check ---- */

static int
modules_check_file(const struct modules *m, const char *path, json_t *all)
{
	WEIR_AUTO(weir_freep) char *text = NULL;
	struct weir_words problems = {0}, notes = {0};
	size_t len = 0;
	bool is_valid;

	if (weir_read_file(path, MODULES_FILE_MAX, &text, &len) != 0) {
		weir_say("'%s': %s", path, strerror(errno));
		return WEIR_EXIT_FAILED;
	}
	is_valid = weir_metadata_check(text, len, &problems, &notes);
	json_array_append_new(all, json_pack("{s:s, s:b, s:o, s:o}", "file", path, "valid", is_valid, "problems", modules_json_words(&problems), "notes",
	    modules_json_words(&notes)));
	if (!m->o->is_json) {
		printf("%s: %s\n", path, is_valid ? "valid" : "invalid");
		for (size_t i = 0; i < problems.n; i++)
			printf("  - %s\n", problems.v[i]);
		for (size_t i = 0; i < notes.n; i++)
			printf("  note: %s\n", notes.v[i]);
	}
	weir_words_free(&problems);
	weir_words_free(&notes);
	return is_valid ? WEIR_EXIT_OK : WEIR_EXIT_FAILED;
}

static int
modules_check(struct modules *m)
{
	json_t *all = json_array();
	int status = WEIR_EXIT_OK;

	for (size_t i = 0; i < m->nwords; i++) {
		if (modules_check_file(m, m->words[i], all) != WEIR_EXIT_OK)
			status = WEIR_EXIT_FAILED;
	}
	if (m->o->is_json)
		weir_print_json(all);
	json_decref(all);
	return status;
}

/* ---- the verb ---- */

static const struct modules_command {
	const char *name;
	int (*run)(struct modules *);
	size_t min_words;
	bool has_words;
	const char *wants;
} modules_commands[] = {
    {"list", modules_list, 0, false, NULL},
    {"search", modules_list, 1, true, "WORD…"},
    {"show", modules_show, 1, true, "MODULE…"},
    {"fetch", modules_fetch, 0, true, NULL},
    {"check", modules_check, 1, true, "FILE…"},
};

/* Exit status of a wrong command line, or 0. */
static int
modules_command(const char *name, size_t nwords, const char *word, const struct modules_command **out)
{
	for (size_t i = 0; i < WEIR_LEN(modules_commands); i++) {
		const struct modules_command *c = &modules_commands[i];

		if (strcmp(c->name, name) != 0)
			continue;
		*out = c;
		if (nwords < c->min_words)
			weir_say("modules %s: something is missing: it wants '%s'; see 'weir modules --help'", c->name, c->wants);
		else if (nwords > 0 && !c->has_words)
			weir_say("modules %s: too much: '%s'; see 'weir modules --help'", c->name, word);
		else
			return WEIR_EXIT_OK;
		return WEIR_EXIT_USAGE;
	}
	weir_say("modules: '%s' is none of list, search, show, fetch, check; see 'weir modules --help'", name);
	return WEIR_EXIT_USAGE;
}

static int
modules_conf(const char *path, struct weir_conf **out)
{
	struct weir_err err = {0};
	size_t n;
	const struct weir_conf_type *types = weir_backend_types(&n);
	enum weir_code r = weir_conf_load(path, types, n, out, &err);

	if (r == WEIR_OK || (r == WEIR_E_NOENT && path == NULL))
		return WEIR_EXIT_OK;
	weir_say("%s", weir_err_text(&err, r));
	return WEIR_EXIT_CONFIG;
}

static int
modules_run(const struct weir_verb *verb, int argc, char **argv)
{
	struct modules_options o = {0};
	struct modules m = {.o = &o};
	const struct modules_command *command = NULL;
	int status, first = weir_opt_parse(verb, &o, argc, argv, &status);

	if (first >= 0) {
		m.words = (const char *const *)argv + (first < argc ? first + 1 : first);
		m.nwords = first < argc ? (size_t)(argc - first - 1) : 0;
		status = modules_command(first < argc ? argv[first] : "list", m.nwords, m.nwords > 0 ? m.words[0] : NULL, &command);
	}
	if (first >= 0 && status == WEIR_EXIT_OK)
		status = modules_conf(o.conf, &m.conf);
	if (first >= 0 && status == WEIR_EXIT_OK)
		status = command->run(&m);
	weir_catalogue_free(m.catalogue);
	weir_conf_free(m.conf);
	free(o.libraries.v);
	free(o.tasks.v);
	free(o.categories.v);
	free(o.data_types.v);
	free(o.tags.v);
	return status;
}

const struct weir_verb weir_verb_modules = {
    .name = "modules",
    .operands = "[list | search WORD… | show MODULE… | fetch [MODULE…] | check FILE…]",
    .summary = "what can be tried, trained and developed: the catalogue of modules",
    .details = "list (the default) and search print a table, show tells all about a module, fetch asks for everything again,\n"
	"check judges an ai4-metadata.yml of your own; see weir-modules(1).",
    .opts = modules_opts,
    .nopts = WEIR_LEN(modules_opts),
    .max_operands = -1,
    .run = modules_run,
};
