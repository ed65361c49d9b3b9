/* SPDX-License-Identifier: Apache-2.0 */
/* weir try, train, develop, predict: modules. The launcher does the rest. */
#include "config.h"

#include "jobopt.h"

#include "../../launcher/jobs.h"

#define MODES_MODULE \
    {"catalogue", 0, WEIR_OPT_TEXT, WEIR_JOBOPT_AT(catalogue), "PLACE", "a folder, a git repository or an address that lists modules (default: the configuration's)"}, \
    {"image", 0, WEIR_OPT_TEXT, WEIR_JOBOPT_AT(image), "IMAGE", "container image, in place of the module's own"}

static const struct weir_opt try_opts[] = {
    WEIR_JOBOPT_ENGINE,
    MODES_MODULE,
    {"input", 'i', WEIR_OPT_LIST, WEIR_JOBOPT_AT(inputs), "FILE", "ask for a prediction for this file, show it, and end; again for more"},
    {"output", 'o', WEIR_OPT_TEXT, WEIR_JOBOPT_AT(output), "DIR", "keep the answers in this folder"},
    {"arg", 0, WEIR_OPT_LIST, WEIR_JOBOPT_AT(args), "NAME=VALUE", "an argument of the prediction; again for more"},
    WEIR_JOBOPT_JOB,
    WEIR_JOBOPT_DETACH,
    WEIR_JOBOPT_END,
};
static const struct weir_opt train_opts[] = {
    WEIR_JOBOPT_ENGINE,
    MODES_MODULE,
    WEIR_JOBOPT_STORAGE,
    {"data", 0, WEIR_OPT_TEXT, WEIR_JOBOPT_AT(data), "PATH", "the data, in the namespace: {data} in the command and in --arg"},
    {"order", 0, WEIR_OPT_TEXT, WEIR_JOBOPT_AT(order), "FILE", "a list of files below the data, one a line: they are fetched in this order beside the job"},
    {"output", 'o', WEIR_OPT_TEXT, WEIR_JOBOPT_AT(output), "PATH", "a folder for what comes out, in the namespace: {output}; log and metrics are kept there"},
    {"arg", 0, WEIR_OPT_LIST, WEIR_JOBOPT_AT(args), "NAME=VALUE", "an argument of the module's training; again for more"},
    {"workdir", 0, WEIR_OPT_TEXT, WEIR_JOBOPT_AT(workdir), "FOLDER", "current directory of the job; a relative one is a folder of this host, shown to the container"},
    WEIR_JOBOPT_JOB,
    WEIR_JOBOPT_DETACH,
    WEIR_JOBOPT_END,
};
static const struct weir_opt develop_opts[] = {
    WEIR_JOBOPT_ENGINE,
    MODES_MODULE,
    WEIR_JOBOPT_STORAGE,
    {"ide", 0, WEIR_OPT_TEXT, WEIR_JOBOPT_AT(ide), "IDE", "jupyter, vscode or shell (default: jupyter)"},
    {"idle", 0, WEIR_OPT_TEXT, WEIR_JOBOPT_AT(idle), "TIME", "end it when nobody has used it for so long: 30min, 2h"},
    {"no-storage", 0, WEIR_OPT_FLAG, WEIR_JOBOPT_AT(is_without_storage), NULL, "no /storage, whatever the configuration says"},
    {"workdir", 0, WEIR_OPT_TEXT, WEIR_JOBOPT_AT(workdir), "FOLDER", "current directory of the job; a relative one is a folder of this host, shown to the container"},
    WEIR_JOBOPT_JOB,
    WEIR_JOBOPT_END,
};

static int
modes_try(const struct weir_verb *verb, int argc, char **argv)
{
	return weir_jobopt_run(verb, &weir_mode_try, argc, argv);
}

static int
modes_train(const struct weir_verb *verb, int argc, char **argv)
{
	return weir_jobopt_run(verb, &weir_mode_train, argc, argv);
}

static int
modes_develop(const struct weir_verb *verb, int argc, char **argv)
{
	return weir_jobopt_run(verb, &weir_mode_develop, argc, argv);
}

struct predict_options {
	const char *output;
	struct weir_opt_list args;
	bool is_json;
};
#define PREDICT_AT(field) offsetof(struct predict_options, field)

static const struct weir_opt predict_opts[] = {
    {"output", 'o', WEIR_OPT_TEXT, PREDICT_AT(output), "DIR", "keep the answers in this folder"},
    {"arg", 0, WEIR_OPT_LIST, PREDICT_AT(args), "NAME=VALUE", "an argument of the prediction; again for more"},
    {"json", 0, WEIR_OPT_FLAG, PREDICT_AT(is_json), NULL, "print the model's own JSON"},
};

static int
modes_predict(const struct weir_verb *verb, int argc, char **argv)
{
	struct predict_options o = {0};
	int status, first = weir_opt_parse(verb, &o, argc, argv, &status);

	if (first >= 0)
		status = weir_jobs_predict(argv[first], (const char *const *)argv + first + 1, (size_t)(argc - first - 1), o.args.v, o.args.n, o.output, o.is_json);
	free(o.args.v);
	return status;
}

const struct weir_verb weir_verb_try = {
    .name = "try",
    .operands = "MODULE",
    .summary = "try a ready module on this machine, for ten minutes",
    .details = "MODULE is a name in the catalogue ('weir modules list') or an image. No storage and no configuration are needed.\n"
	       "With --input it predicts, shows the answer and ends; without, it prints the address of the module's API.",
    .opts = try_opts,
    .nopts = WEIR_LEN(try_opts),
    .min_operands = 1,
    .max_operands = 1,
    .usage_status = WEIR_JOB_USAGE,
    .run = modes_try,
};
const struct weir_verb weir_verb_train = {
    .name = "train",
    .operands = "MODULE [-- COMMAND…]",
    .summary = "train a module on data of the storages",
    .details = "Without a COMMAND: deepaas-cli train, with the arguments of --arg. In both, {data} and {output} stand for the paths of --data and --output\n"
	       "as the job sees them. The exit status is the job's; 0 only when all it wrote has reached the storages.",
    .opts = train_opts,
    .nopts = WEIR_LEN(train_opts),
    .min_operands = 1,
    .max_operands = 1,
    .usage_status = WEIR_JOB_USAGE,
    .run = modes_train,
};
const struct weir_verb weir_verb_develop = {
    .name = "develop",
    .operands = "[MODULE] [-- COMMAND…]",
    .summary = "an IDE in a module's container, with the storages at /storage",
    .details = "Prints the address and a password once the IDE answers, and leaves it running; 'weir stop' ends it. --ide shell stays in this terminal.",
    .opts = develop_opts,
    .nopts = WEIR_LEN(develop_opts),
    .max_operands = 1,
    .usage_status = WEIR_JOB_USAGE,
    .run = modes_develop,
};
const struct weir_verb weir_verb_predict = {
    .name = "predict",
    .operands = "JOB [FILE…]",
    .summary = "ask the module of a running job for predictions",
    .opts = predict_opts,
    .nopts = WEIR_LEN(predict_opts),
    .min_operands = 1,
    .max_operands = -1,
    .run = modes_predict,
};
