/* SPDX-License-Identifier: Apache-2.0 */
/* weir dataset fetch: a data set by DOI or address into the tree. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "../../launcher/dataset.h"
#include "../net/http.h"
#include "tree.h"

#define DATASET_FOLDER ":/ai4os-storage/datasets"

struct dataset_options {
	const char *conf, *to;
	bool is_forced, is_quiet, is_json;
};

static void
dataset_moved(void *arg, const struct weir_dataset_sums *s)
{
	weir_progress_count(arg, s->files, s->bytes);
}

static void
dataset_say(void *arg, const char *sentence)
{
	weir_progress_end(arg);
	weir_say("%s", sentence);
}

static void
dataset_report(const struct dataset_options *o, const struct weir_dataset *d, const char *where)
{
	char amount[64];

	if (o->is_json) {
		json_t *j = json_pack("{s:s, s:s, s:I, s:I, s:I, s:b}", "dataset", d->what, "path", where, "files", (json_int_t)d->sums.files, "bytes", (json_int_t)d->sums.bytes,
		    "fetched_bytes", (json_int_t)d->sums.fetched_bytes, "was_complete", (int)d->was_complete);

		weir_print_json(j);
		json_decref(j);
	} else
		printf("%s: %s%s\n", where, weir_amount_text(d->sums.files, d->sums.bytes, amount), d->was_complete ? ", complete already" : "");
}

static int
dataset_fetch(const struct dataset_options *o, const struct weir_cli_tree *t, const struct weir_operand *to, const char *what)
{
	WEIR_AUTO(weir_freep) char *folder = NULL, *where = NULL, *label = NULL;
	struct weir_progress progress;
	struct weir_dataset d = {.what = what, .conf = t->conf, .is_forced = o->is_forced, .cancel = weir_cli_cancel(), .moved = dataset_moved, .say = dataset_say,
	    .arg = &progress};
	struct weir_err err = {0};
	enum weir_code r;
	int status = weir_cli_tree_at(t, to, &d.tree, &folder);

	if (status != WEIR_EXIT_OK)
		return status;
	weir_progress_start(&progress, "fetching");
	progress.is_quiet = o->is_quiet;
	d.folder = folder;
	r = weir_dataset_fetch(&d, &where, &err);
	weir_progress_end(&progress);
	if (r)
		return weir_cli_tree_failed(r, &err);
	/* also when it was complete: what an earlier run could not send is sent now */
	status = weir_tree_is_local(d.tree) ? WEIR_EXIT_OK : weir_cli_tree_flush(d.tree, where, o->is_quiet);
	label = weir_tree_label(d.tree, where);
	if (status == WEIR_EXIT_OK)
		dataset_report(o, &d, label);
	return status;
}

/* Without a folder of the tree, [datasets] of a configuration counts all the same, if there is one. */
static int
dataset_conf(struct weir_cli_tree *t, const struct dataset_options *o)
{
	struct weir_err err = {0};
	enum weir_code r;

	if (t->conf != NULL)
		return WEIR_EXIT_OK;
	r = weir_conf_load_sections(o->conf, false, &t->conf, &err);
	if (r == WEIR_OK || (r == WEIR_E_NOENT && o->conf == NULL))
		return WEIR_EXIT_OK;
	weir_say("%s", weir_err_text(&err, r));
	return WEIR_EXIT_CONFIG;
}

static const struct weir_opt dataset_opts[] = {
    WEIR_OPT_CONF(struct dataset_options),
    {"force", 0, WEIR_OPT_FLAG, offsetof(struct dataset_options, is_forced), NULL, "fetch again what is there"},
    {"to", 0, WEIR_OPT_TEXT, offsetof(struct dataset_options, to), "FOLDER", "where its folder is made: a folder here, REMOTE:PATH or :PATH (default: :/ai4os-storage/datasets)"},
    {"quiet", 'q', WEIR_OPT_FLAG, offsetof(struct dataset_options, is_quiet), NULL, "no progress"},
    WEIR_OPT_JSON(struct dataset_options),
};

static int
dataset_run(const struct weir_verb *verb, int argc, char **argv)
{
	struct dataset_options o = {0};
	struct weir_cli_tree t;
	struct weir_operand to;
	int status, first = weir_opt_parse(verb, &o, argc, argv, &status);

	if (first < 0)
		return status;
	if (strcmp(argv[first], "fetch") != 0) {
		weir_say("dataset: unknown request '%s'; there is 'weir dataset fetch DOI|URL'", argv[first]);
		return WEIR_EXIT_USAGE;
	}
	weir_operand_parse(&to, o.to != NULL ? o.to : DATASET_FOLDER);
	status = weir_cli_tree_open(&t, o.conf, &to, 1);
	if (status == WEIR_EXIT_OK)
		status = dataset_conf(&t, &o);
	if (status == WEIR_EXIT_OK)
		status = dataset_fetch(&o, &t, &to, argv[first + 1]);
	weir_cli_tree_close(&t);
	weir_operand_free(&to);
	return weir_cli_interrupted(status);
}

const struct weir_verb weir_verb_dataset = {
    .name = "dataset",
    .operands = "fetch DOI|URL",
    .summary = "fetch a data set by DOI or address into the tree",
    .details = "A record of Zenodo comes with all its files and their checksums; an address is one file, #sha256=HEX behind it its checksum.\n"
	       "What is there and right is not fetched again; what was interrupted goes on.",
    .opts = dataset_opts,
    .nopts = WEIR_LEN(dataset_opts),
    .min_operands = 2,
    .max_operands = 2,
    .run = dataset_run,
};
