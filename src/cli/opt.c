/* SPDX-License-Identifier: Apache-2.0 */
/* One table of options per verb, read by getopt_long and printed by --help, so that the two cannot disagree. */
#include "config.h"

#include "cli.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum { OPT_HELP = 256, OPT_FIRST = 512 };	/* values that are no letters */

static void
opt_tables(const struct weir_verb *verb, struct option *longs, char *shorts)
{
	size_t n = 0;

	/* '+': the first operand ends the options; ':': a missing value is told apart from an unknown option. */
	if (verb->stops_early)
		*shorts++ = '+';
	*shorts++ = ':';
	*shorts++ = 'h';
	for (; n < verb->nopts; n++) {
		const struct weir_opt *o = &verb->opts[n];

		longs[n] = (struct option){o->name, o->arg != NULL ? required_argument : no_argument, NULL, OPT_FIRST + (int)n};
		if (o->letter != 0) {
			*shorts++ = o->letter;
			if (o->arg != NULL)
				*shorts++ = ':';
		}
	}
	longs[n++] = (struct option){"help", no_argument, NULL, OPT_HELP};
	longs[n] = (struct option){0};
	*shorts = '\0';
}

static const struct weir_opt *
opt_row(const struct weir_verb *verb, int c)
{
	if (c >= OPT_FIRST)
		return &verb->opts[c - OPT_FIRST];
	for (size_t i = 0; i < verb->nopts; i++) {
		if (verb->opts[i].letter == c)
			return &verb->opts[i];
	}
	return NULL;
}

static void
opt_store(const struct weir_opt *o, void *into, const char *value)
{
	char *at = (char *)into + o->offset;
	struct weir_opt_list *list;

	switch (o->kind) {
	case WEIR_OPT_FLAG:
		*(bool *)(void *)at = true;
		break;
	case WEIR_OPT_TEXT:
		*(const char **)(void *)at = value;
		break;
	case WEIR_OPT_LIST:
		list = (struct weir_opt_list *)(void *)at;
		list->v = weir_xrealloc(list->v, list->n + 1, sizeof(*list->v));
		list->v[list->n++] = value;
		break;
	}
}

static int
opt_usage(const struct weir_verb *verb, const char *what, const char *arg)
{
	weir_say("%s: %s%s%s%s; see 'weir %s --help'", verb->name, what, arg != NULL ? " '" : "", arg != NULL ? arg : "", arg != NULL ? "'" : "", verb->name);
	return verb->usage_status != 0 ? verb->usage_status : WEIR_EXIT_USAGE;
}

/* The option as it was typed: a cluster of letters may hold the wrong one anywhere. */
static int
opt_bad(const struct weir_verb *verb, int c, char **argv)
{
	char letter[3] = {'-', (char)optopt, '\0'};
	const char *typed = optopt > 0 && optopt < 256 ? letter : argv[optind - 1];

	if (c == ':')
		return opt_usage(verb, "option needs a value:", typed);
	if (optopt == OPT_HELP || optopt >= OPT_FIRST)
		return opt_usage(verb, "option takes no value:", typed);
	return opt_usage(verb, "unknown option", typed);
}

static int
opt_count(const struct weir_verb *verb, int n, char **operands)
{
	if (n < verb->min_operands)
		return opt_usage(verb, "something is missing: it wants", verb->operands);
	if (verb->max_operands >= 0 && n > verb->max_operands)
		return opt_usage(verb, "too much:", operands[verb->max_operands]);
	return 0;
}

int
weir_opt_parse(const struct weir_verb *verb, void *into, int argc, char **argv, int *status)
{
	struct option *longs = weir_xcalloc(verb->nopts + 2, sizeof(*longs));
	char shorts[128];
	int c;

	opt_tables(verb, longs, shorts);
	opterr = 0;
	optind = 1;
	*status = -1;
	while (*status < 0 && (c = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		if (c == '?' || c == ':')
			*status = opt_bad(verb, c, argv);
		else if (c == 'h' || c == OPT_HELP) {
			weir_opt_help(verb);
			*status = WEIR_EXIT_OK;
		} else
			opt_store(opt_row(verb, c), into, optarg);
	}
	free(longs);
	if (*status < 0)
		*status = opt_count(verb, argc - optind, argv + optind);
	else
		return -1;
	return *status == 0 ? optind : -1;
}

static void
opt_help_row(const struct weir_opt *o)
{
	char left[64], letter[8] = "    ";

	if (o->letter != 0)
		snprintf(letter, sizeof(letter), "-%c, ", o->letter);
	snprintf(left, sizeof(left), "%s--%s%s%s", letter, o->name, o->arg != NULL ? " " : "", o->arg != NULL ? o->arg : "");
	printf("  %-28s %s\n", left, o->help);
}

void
weir_opt_help(const struct weir_verb *verb)
{
	static const struct weir_opt help = {"help", 'h', WEIR_OPT_FLAG, 0, NULL, "this text"};

	printf("usage: weir %s%s%s%s\n\n%s\n", verb->name, " [options]", verb->operands[0] != '\0' ? " " : "", verb->operands, verb->summary);
	if (verb->details != NULL)
		printf("%s\n", verb->details);
	printf("\noptions:\n");
	for (size_t i = 0; i < verb->nopts; i++)
		opt_help_row(&verb->opts[i]);
	opt_help_row(&help);
}
