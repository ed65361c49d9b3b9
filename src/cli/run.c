/* SPDX-License-Identifier: Apache-2.0 */
/* weir run: a command with the namespace at /storage. */
#include "config.h"

#include "jobopt.h"

static const struct weir_opt run_opts[] = {
    WEIR_JOBOPT_ENGINE,
    {"image", 0, WEIR_OPT_TEXT, WEIR_JOBOPT_AT(image), "IMAGE", "container image"},
    {"rootfs", 0, WEIR_OPT_TEXT, WEIR_JOBOPT_AT(rootfs), "FOLDER", "a folder as the container's root, in place of an image"},
    WEIR_JOBOPT_STORAGE,
    {"no-storage", 0, WEIR_OPT_FLAG, WEIR_JOBOPT_AT(is_without_storage), NULL, "no /storage, whatever the configuration says"},
    {"workdir", 0, WEIR_OPT_TEXT, WEIR_JOBOPT_AT(workdir), "FOLDER", "current directory of the job; a relative one is a folder of this host, shown to the container"},
    WEIR_JOBOPT_JOB,
    WEIR_JOBOPT_DETACH,
    WEIR_JOBOPT_END,
};

static int
run_run(const struct weir_verb *verb, int argc, char **argv)
{
	return weir_jobopt_run(verb, NULL, argc, argv);
}

const struct weir_verb weir_verb_run = {
    .name = "run",
    .operands = "-- COMMAND…",
    .summary = "run a command with the namespace at /storage",
    .details = "The exit status is the command's, 128+N when signal N ended it; 239 and above are weir's own, see weir-run(1).",
    .opts = run_opts,
    .nopts = WEIR_LEN(run_opts),
    .min_operands = 0,
    .max_operands = -1,
    .stops_early = true,
    .usage_status = WEIR_JOB_USAGE,
    .run = run_run,
};
