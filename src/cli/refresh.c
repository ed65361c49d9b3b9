/* SPDX-License-Identifier: Apache-2.0 */
/* weir refresh: look at a folder again at its next touch, whatever its listing's age. */
#include "config.h"

#include "cli.h"

struct refresh_options {
	const char *conf;
};

static const struct weir_opt refresh_opts[] = {
    WEIR_OPT_CONF(struct refresh_options),
};

static int
refresh_run(const struct weir_verb *verb, int argc, char **argv)
{
	struct refresh_options o = {0};
	struct weir_target t;
	struct weir_err err = {0};
	enum weir_code r;
	int status;

	if (!weir_target_begin(&t, verb, &o, &o.conf, argc, argv, &status))
		return status;
	r = weir_target_call(&t, json_pack("{s:s, s:s}", "verb", "refresh", "path", t.path), NULL, NULL, NULL, &err);
	if (r)
		status = weir_target_failed(&t, r, &err);
	weir_target_free(&t);
	return status;
}

const struct weir_verb weir_verb_refresh = {
    .name = "refresh",
    .operands = "PATH",
    .summary = "look at a folder, and all below it, again at its next touch",
    .opts = refresh_opts,
    .nopts = WEIR_LEN(refresh_opts),
    .min_operands = 1,
    .max_operands = 1,
    .run = refresh_run,
};
