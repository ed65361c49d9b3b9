/* SPDX-License-Identifier: Apache-2.0 */
/* weir stage in|out: what a job with `--storage-mode stage` calls before and after its command. For the launcher, which may not have threads of its own. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "../../launcher/stage.h"
#include "../control/mounts.h"
#include "tree.h"

struct stage_options {
	const char *conf, *to;
	bool is_quiet;
};

static void
stage_say(void *arg, const char *sentence)
{
	weir_progress_end(arg);
	weir_say("%s", sentence);
}

static void
stage_moved(void *arg, uint64_t files, uint64_t bytes)
{
	weir_progress_count(arg, files, bytes);
}

static int
stage_in(struct weir_stage *s, char **paths, size_t n)
{
	struct weir_err err = {0};
	const char **v = weir_xcalloc(n + 1, sizeof(*v));
	char amount[64];
	enum weir_code r;

	for (size_t i = 0; i < n; i++)
		v[i] = paths[i];
	r = weir_stage_in(s, v, n, &err);
	free(v);
	weir_progress_end(s->arg);
	if (r)
		return weir_cli_tree_failed(r, &err);
	printf("staged %s\n", weir_amount_text(s->sums.files_in, s->sums.bytes_in, amount));
	return WEIR_EXIT_OK;
}

static int
stage_out(struct weir_stage *s)
{
	struct weir_err err = {0};
	char amount[64];
	enum weir_code r = weir_stage_out(s, &err);

	weir_progress_end(s->arg);
	if (r != WEIR_OK && r != WEIR_E_INTR && err.msg[0] != '\0')
		return weir_cli_tree_failed(r, &err);
	printf("sent %s, removed %llu, %llu conflicts\n", weir_amount_text(s->sums.files_out, s->sums.bytes_out, amount), (unsigned long long)s->sums.removed,
	    (unsigned long long)s->sums.conflicts);
	/* each failure was told when it happened */
	return weir_cli_interrupted(r == WEIR_OK ? WEIR_EXIT_OK : WEIR_EXIT_UNSENT);
}

static const struct weir_opt stage_opts[] = {
    WEIR_OPT_CONF(struct stage_options),
    {"to", 0, WEIR_OPT_TEXT, offsetof(struct stage_options, to), "FOLDER", "the folder that takes what is staged"},
    {"quiet", 'q', WEIR_OPT_FLAG, offsetof(struct stage_options, is_quiet), NULL, "no progress"},
};

static int
stage_run(const struct weir_verb *verb, int argc, char **argv)
{
	struct stage_options o = {0};
	struct weir_operand all = {.text = ":", .path = "/"};
	struct weir_cli_tree t;
	struct weir_progress progress;
	struct weir_stage s = {.cancel = weir_cli_interrupts(), .say = stage_say, .moved = stage_moved, .arg = &progress};
	WEIR_AUTO(weir_freep) char *folder = NULL, *nothing = weir_xstrdup("");
	int status, first = weir_opt_parse(verb, &o, argc, argv, &status);
	bool is_in;

	if (first < 0)
		return status;
	is_in = strcmp(argv[first], "in") == 0;
	folder = o.to != NULL ? weir_path_absolute(o.to) : NULL;
	if (folder == NULL || (!is_in && strcmp(argv[first], "out") != 0) || is_in != (argc - first > 1)) {
		weir_say("stage: wants 'in --to FOLDER PATH…' or 'out --to FOLDER'");
		return WEIR_EXIT_USAGE;
	}
	all.remote = nothing;
	weir_progress_start(&progress, is_in ? "copying in" : "copying out");
	progress.is_quiet = o.is_quiet;
	s.folder = folder;
	status = weir_cli_tree_open(&t, o.conf, &all, 1);
	s.tree = t.tree;
	if (status == WEIR_EXIT_OK)
		status = is_in ? stage_in(&s, argv + first + 1, (size_t)(argc - first - 1)) : stage_out(&s);
	weir_cli_tree_close(&t);
	return status;
}

const struct weir_verb weir_verb_stage = {
    .name = "stage",
    .operands = "in|out [PATH[:ro|:out]…]",
    .summary = "copy paths of the namespace into a folder, and changes back (called by jobs without a mount)",
    .opts = stage_opts,
    .nopts = WEIR_LEN(stage_opts),
    .min_operands = 1,
    .max_operands = -1,
    .is_hidden = true,
    .run = stage_run,
};
