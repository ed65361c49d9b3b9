/* SPDX-License-Identifier: Apache-2.0 */
/* weir verify: check what the cache holds against its checksums, and settle what is bad. */
#include "config.h"

#include "cli.h"

#include <stdio.h>

struct verify_options {
	const char *conf;
	bool is_json, is_settle;
};

static const struct weir_opt verify_opts[] = {
    WEIR_OPT_CONF(struct verify_options),
    {"settle", 0, WEIR_OPT_FLAG, offsetof(struct verify_options, is_settle), NULL, "accept unsent pages that are bad as they are now, and send them"},
    WEIR_OPT_JSON(struct verify_options),
};

static int
verify_run(const struct weir_verb *verb, int argc, char **argv)
{
	struct verify_options o = {0};
	struct weir_target t;
	struct weir_err err = {0};
	json_t *answer = NULL;
	enum weir_code r;
	int status;

	if (!weir_target_begin(&t, verb, &o, &o.conf, argc, argv, &status))
		return status;
	r = weir_target_call(&t, json_pack("{s:s, s:s, s:b}", "verb", "verify", "path", t.path, "settle", (int)o.is_settle), NULL, NULL, &answer, &err);
	if (answer != NULL && json_object_get(answer, "pages") != NULL) {
		if (o.is_json)
			weir_print_answer(answer, "path", t.path);
		else
			printf("%lld pages read below %s, %lld bad\n", (long long)json_integer_value(json_object_get(answer, "pages")), t.path,
			    (long long)json_integer_value(json_object_get(answer, "bad")));
	}
	if (r)
		status = weir_target_failed(&t, r, &err);
	else if (json_integer_value(json_object_get(answer, "bad")) > 0 && !o.is_settle)
		status = WEIR_EXIT_FAILED;
	json_decref(answer);
	weir_target_free(&t);
	return status;
}

const struct weir_verb weir_verb_verify = {
    .name = "verify",
    .operands = "[PATH]",
    .summary = "check every cached page below a path against its checksum",
    .details = "Bad pages that the storage has too are dropped and fetched again; bad unsent ones are kept back until --settle.",
    .opts = verify_opts,
    .nopts = WEIR_LEN(verify_opts),
    .max_operands = 1,
    .run = verify_run,
};
