/* SPDX-License-Identifier: Apache-2.0 */
/* weir flush: wait until the storages have everything below a path. */
#include "config.h"

#include "cli.h"

struct flush_options {
	const char *conf;
	bool is_quiet;
};

static const struct weir_opt flush_opts[] = {
    WEIR_OPT_CONF(struct flush_options),
    {"quiet", 'q', WEIR_OPT_FLAG, offsetof(struct flush_options, is_quiet), NULL, "no progress"},
};

static int
flush_run(const struct weir_verb *verb, int argc, char **argv)
{
	struct flush_options o = {0};
	struct weir_progress progress;
	struct weir_target t;
	struct weir_err err = {0};
	enum weir_code r;
	int status;

	if (!weir_target_begin(&t, verb, &o, &o.conf, argc, argv, &status))
		return status;
	weir_progress_start(&progress, "sending");
	progress.is_quiet = o.is_quiet;
	r = weir_target_call(&t, json_pack("{s:s, s:s}", "verb", "flush", "path", t.path), weir_progress_line, &progress, NULL, &err);
	weir_progress_end(&progress);
	if (r) {
		weir_say("%s", weir_err_text(&err, r));
		status = r == WEIR_E_NOENT && t.mountpoint == NULL ? WEIR_EXIT_NOMOUNT : WEIR_EXIT_UNSENT;
	} else
		weir_target_say_aside(&t);
	weir_target_free(&t);
	return status;
}

const struct weir_verb weir_verb_flush = {
    .name = "flush",
    .operands = "[PATH]",
    .summary = "send everything below a path now, and wait until the storages have it",
    .opts = flush_opts,
    .nopts = WEIR_LEN(flush_opts),
    .max_operands = 1,
    .run = flush_run,
};
