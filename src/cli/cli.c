/* SPDX-License-Identifier: Apache-2.0 */
/* The table of verbs and the way to them. */
#include "config.h"

#include "cli.h"

#include <stdio.h>
#include <string.h>

static const struct weir_verb *const cli_verbs[] = {
    &weir_verb_mount, &weir_verb_umount, &weir_verb_status, &weir_verb_flush, &weir_verb_refresh, &weir_verb_reload, &weir_verb_du, &weir_verb_verify,
    &weir_verb_check, &weir_verb_init, &weir_verb_login, &weir_verb_logout, &weir_verb_import,
    &weir_verb_ls, &weir_verb_cat, &weir_verb_cp, &weir_verb_prefetch, &weir_verb_dataset, &weir_verb_stage,
    &weir_verb_run, &weir_verb_try, &weir_verb_train, &weir_verb_develop, &weir_verb_predict,
    &weir_verb_jobs, &weir_verb_logs, &weir_verb_attach, &weir_verb_exec, &weir_verb_stop, &weir_verb_again, &weir_verb_rm, &weir_verb_gc,
    &weir_verb_share, &weir_verb_unshare, &weir_verb_access, &weir_verb_modules, &weir_verb_completion,
};

const struct weir_verb *
weir_cli_verb(size_t i)
{
	return i < WEIR_LEN(cli_verbs) ? cli_verbs[i] : NULL;
}

static void
cli_help(void)
{
	printf("usage: weir VERB [options] …\n\nOne tree over your storages, and jobs that see it at /storage.\n\n");
	for (size_t i = 0; i < WEIR_LEN(cli_verbs); i++)
		if (!cli_verbs[i]->is_hidden)
			printf("  %-10s %s\n", cli_verbs[i]->name, cli_verbs[i]->summary);
	printf("\n'weir VERB --help' tells the options of a verb; the manual is weir(1), weir-run(1), weir-try(1), weir-jobs(1) and weir.conf(5).\n");
}

static const struct weir_verb *
cli_find(const char *name)
{
	for (size_t i = 0; i < WEIR_LEN(cli_verbs); i++) {
		if (strcmp(cli_verbs[i]->name, name) == 0)
			return cli_verbs[i];
	}
	return NULL;
}

/* weir help [VERB] */
static int
cli_help_verb(int argc, char **argv)
{
	const struct weir_verb *verb = argc > 2 ? cli_find(argv[2]) : NULL;

	if (argc > 2 && verb == NULL) {
		weir_say("unknown verb '%s'; see 'weir --help'", argv[2]);
		return WEIR_EXIT_USAGE;
	}
	if (verb != NULL)
		weir_opt_help(verb);
	else
		cli_help();
	return WEIR_EXIT_OK;
}

/* A full disk or a closed pipe behind standard output is a failure, not a success with half an answer. */
static int
cli_finish(int status)
{
	if (fflush(stdout) != 0 || ferror(stdout)) {
		weir_say("cannot write to standard output");
		return status == WEIR_EXIT_OK ? WEIR_EXIT_FAILED : status;
	}
	return status;
}

int
weir_cli_main(int argc, char **argv)
{
	const char *base = argc > 0 ? strrchr(argv[0], '/') : NULL;
	const struct weir_verb *verb;

	base = base != NULL ? base + 1 : argc > 0 ? argv[0] : "weir";
	if (strcmp(base, "mount.weir") == 0)
		return cli_finish(weir_mount_helper(argc, argv));
	if (argc < 2) {
		weir_say("what to do? see 'weir --help'");
		return WEIR_EXIT_USAGE;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		printf("weir %s\n", PACKAGE_VERSION);
		return cli_finish(WEIR_EXIT_OK);
	}
	if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return cli_finish(cli_help_verb(argc, argv));
	verb = cli_find(argv[1]);
	if (verb == NULL) {
		weir_say("unknown %s '%s'; see 'weir --help'", argv[1][0] == '-' ? "option" : "verb", argv[1]);
		return WEIR_EXIT_USAGE;
	}
	return cli_finish(verb->run(verb, argc - 1, argv + 1));
}
