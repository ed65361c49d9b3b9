/* SPDX-License-Identifier: Apache-2.0 */
/* weir du: sizes below a path from the mount's own tree, without asking a storage. */
#include "config.h"

#include "cli.h"

#include <stdio.h>

#include "../util/text.h"

struct du_options {
	const char *conf;
	bool is_json;
};

static const struct weir_opt du_opts[] = {
    WEIR_OPT_CONF(struct du_options),
    WEIR_OPT_JSON(struct du_options),
};

static void
du_print(const json_t *answer, const char *path)
{
	json_int_t bytes = json_integer_value(json_object_get(answer, "bytes"));
	json_int_t files = json_integer_value(json_object_get(answer, "files"));
	json_int_t dirs = json_integer_value(json_object_get(answer, "dirs"));
	bool is_lower_bound = json_is_true(json_object_get(answer, "is_lower_bound"));
	char size[16];

	printf("%s%s in %lld %s and %lld %s below %s\n", is_lower_bound ? "at least " : "", weir_size_text((uint64_t)bytes, size), (long long)files,
	    files == 1 ? "file" : "files", (long long)dirs, dirs == 1 ? "folder" : "folders", path);
}

static int
du_run(const struct weir_verb *verb, int argc, char **argv)
{
	struct du_options o = {0};
	struct weir_target t;
	struct weir_err err = {0};
	json_t *answer = NULL;
	enum weir_code r;
	int status;

	if (!weir_target_begin(&t, verb, &o, &o.conf, argc, argv, &status))
		return status;
	r = weir_target_call(&t, json_pack("{s:s, s:s}", "verb", "du", "path", t.path), NULL, NULL, &answer, &err);
	if (r)
		status = weir_target_failed(&t, r, &err);
	else if (o.is_json)
		weir_print_answer(answer, "path", t.path);
	else
		du_print(answer, t.path);
	json_decref(answer);
	weir_target_free(&t);
	return status;
}

const struct weir_verb weir_verb_du = {
    .name = "du",
    .operands = "[PATH]",
    .summary = "how much is below a path, as far as it is known, without asking a storage",
    .opts = du_opts,
    .nopts = WEIR_LEN(du_opts),
    .max_operands = 1,
    .run = du_run,
};
