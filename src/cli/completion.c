/* SPDX-License-Identifier: Apache-2.0 */
/* weir completion: what bash, zsh and fish offer behind TAB, made of the same tables that --help is printed from. */
#include "config.h"

#include "cli.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "../../launcher/job.h"

/* ---- what may stand there ---- */

enum completion_kind { COMPLETE_NOTHING, COMPLETE_FILE, COMPLETE_FOLDER, COMPLETE_WORDS, COMPLETE_JOB, COMPLETE_MODULE };

static bool
completion_is_one_of(const char *s, const char *const *list)
{
	for (; *list != NULL; list++) {
		if (strcmp(s, *list) == 0)
			return true;
	}
	return false;
}

/* "yes|no", "mount|stage": small letters between bars are words, capitals name something. */
static bool
completion_is_choice(const char *arg)
{
	bool has_bar = false;

	for (; *arg != '\0'; arg++) {
		has_bar = has_bar || *arg == '|';
		if (!islower((unsigned char)*arg) && *arg != '|')
			return false;
	}
	return has_bar;
}

/* words: blanks between them; a buffer that the caller lends. */
static enum completion_kind
completion_of_value(const struct weir_opt *o, char *words, size_t size)
{
	const char *list = strcmp(o->arg, "ENGINE") == 0 ? weir_job_engines() : strcmp(o->arg, "IDE") == 0 ? "jupyter vscode shell" : completion_is_choice(o->arg) ? o->arg : NULL;

	words[0] = '\0';
	if (list != NULL) {
		snprintf(words, size, "%s", list);
		for (char *p = words; *p != '\0'; p++)
			*p = *p == '|' || *p == ',' ? ' ' : *p;
		return COMPLETE_WORDS;
	}
	if (strcmp(o->arg, "FOLDER") == 0 || strcmp(o->arg, "DIR") == 0)
		return COMPLETE_FOLDER;
	return strcmp(o->arg, "FILE") == 0 || strcmp(o->arg, "PATH") == 0 ? COMPLETE_FILE : COMPLETE_NOTHING;
}

static enum completion_kind
completion_of_operand(const struct weir_verb *verb, char *words, size_t size)
{
	static const char *const jobs[] = {"predict", "logs", "attach", "exec", "stop", "again", "rm", NULL};
	static const char *const modules[] = {"try", "train", "develop", NULL};
	static const struct { const char *verb, *words; } first[] = {
	    {"modules", "list search show fetch"}, {"dataset", "fetch"}, {"access", "show log request grant revoke"}, {"completion", "bash zsh fish"}, {"import", "rclone"},
	};

	for (size_t i = 0; i < WEIR_LEN(first); i++) {
		if (strcmp(verb->name, first[i].verb) == 0) {
			snprintf(words, size, "%s", first[i].words);
			return COMPLETE_WORDS;
		}
	}
	words[0] = '\0';
	return completion_is_one_of(verb->name, jobs) ? COMPLETE_JOB : completion_is_one_of(verb->name, modules) ? COMPLETE_MODULE : verb->max_operands == 0 ? COMPLETE_NOTHING : COMPLETE_FILE;
}

static const struct weir_verb *
completion_next(size_t *i)
{
	const struct weir_verb *verb;

	while ((verb = weir_cli_verb((*i)++)) != NULL && verb->is_hidden)
		;
	return verb;
}

static void
completion_verbs(const char *between)
{
	const struct weir_verb *verb;

	for (size_t i = 0; (verb = completion_next(&i)) != NULL;)
		printf("%s%s", verb->name, between);
}

/* ---- bash ---- */

static void
bash_verb(const struct weir_verb *verb)
{
	static const char *const kinds[] = {"", "file", "folder", "words", "job", "module"};
	char words[256];
	enum completion_kind kind = completion_of_operand(verb, words, sizeof(words));

	printf("\t%s)\n\t\toperand=%s\n", verb->name, kind == COMPLETE_WORDS ? "" : kinds[kind]);
	if (words[0] != '\0')
		printf("\t\t[ \"$COMP_CWORD\" -gt 2 ] && operand=file || words='%s'\n", words);
	printf("\t\toptions='--help");
	for (size_t i = 0; i < verb->nopts; i++)
		printf(" --%s", verb->opts[i].name);
	printf("'\n\t\tcase $prev in\n");
	for (size_t i = 0; i < verb->nopts; i++) {
		const struct weir_opt *o = &verb->opts[i];

		if (o->arg == NULL)
			continue;
		kind = completion_of_value(o, words, sizeof(words));
		printf("\t\t--%s", o->name);
		if (o->letter != '\0')
			printf(" | -%c", o->letter);
		printf(") value=%s words='%s' ;;\n", kind == COMPLETE_NOTHING ? "none" : kinds[kind], words);
	}
	printf("\t\tesac ;;\n");
}

static void
completion_bash(void)
{
	const struct weir_verb *verb;

	printf("# What bash offers behind TAB for weir: source <(weir completion bash)\n"
	       "_weir_first() { awk 'NR > 1 {print $1}'; }\n"
	       "_weir() {\n"
	       "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} options= operand= value= words= i\n"
	       "\tCOMPREPLY=()\n"
	       "\tif [ \"$COMP_CWORD\" -eq 1 ]; then\n"
	       "\t\tCOMPREPLY=($(compgen -W '");
	completion_verbs(" ");
	printf("help --help --version' -- \"$cur\"))\n\t\treturn\n\tfi\n"
	       "\tfor ((i = 2; i < COMP_CWORD; i++)); do\n"
	       "\t\t[ \"${COMP_WORDS[i]}\" != -- ] || { compopt -o filenames 2> /dev/null; COMPREPLY=($(compgen -f -- \"$cur\")); return; }\n"
	       "\tdone\n"
	       "\tcase ${COMP_WORDS[1]} in\n");
	for (size_t i = 0; (verb = completion_next(&i)) != NULL;)
		bash_verb(verb);
	printf("\thelp) words='");
	completion_verbs(" ");
	printf("' ;;\n\tesac\n"
	       "\t[ -z \"$value\" ] || operand=$value\n"
	       "\tif [ -z \"$value\" ] && [[ $cur == -* ]]; then\n"
	       "\t\tCOMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n\t\treturn\n\tfi\n"
	       "\tcase $operand in\n"
	       "\tfile) compopt -o filenames 2> /dev/null; COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
	       "\tfolder) compopt -o filenames 2> /dev/null; COMPREPLY=($(compgen -d -- \"$cur\")) ;;\n"
	       "\tjob) COMPREPLY=($(compgen -W \"$(weir jobs 2> /dev/null | _weir_first)\" -- \"$cur\")) ;;\n"
	       "\tmodule) COMPREPLY=($(compgen -W \"$(weir modules list 2> /dev/null | _weir_first)\" -- \"$cur\")) ;;\n"
	       "\tnone) ;;\n"
	       "\t*) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")) ;;\n"
	       "\tesac\n}\ncomplete -F _weir weir\n");
}

/* ---- zsh ---- */

/* Within single quotes, and with what _arguments takes for its own marks escaped. */
static void
zsh_text(const char *s)
{
	for (; *s != '\0'; s++) {
		if (*s == '\'')
			printf("'\\''");
		else if (strchr("[]:\\", *s) != NULL)
			printf("\\%c", *s);
		else
			putchar(*s);
	}
}

static void
zsh_action(enum completion_kind kind, const char *words)
{
	static const char *const actions[] = {" ", "_files", "_files -/", "", "_weir_jobs", "_weir_modules"};

	if (kind == COMPLETE_WORDS)
		printf("(%s)", words);
	else
		printf("%s", actions[kind]);
}

static void
zsh_option(const struct weir_opt *o)
{
	char words[256];
	bool is_many = o->kind == WEIR_OPT_LIST;

	for (int is_letter = 0; is_letter < (o->letter != '\0' ? 2 : 1); is_letter++) {
		printf(" \\\n\t\t\t'%s", is_many ? "*" : "");
		if (is_letter)
			printf("-%c", o->letter);
		else
			printf("--%s", o->name);
		printf("[");
		zsh_text(o->help);
		printf("]");
		if (o->arg != NULL) {
			enum completion_kind kind = completion_of_value(o, words, sizeof(words));

			printf(":");
			zsh_text(o->arg);
			printf(":");
			zsh_action(kind, words);
		}
		printf("'");
	}
}

static void
completion_zsh(void)
{
	const struct weir_verb *verb;
	char words[256];

	printf("#compdef weir\n"
	       "# What zsh offers behind TAB for weir: a file _weir in a folder of $fpath, or source <(weir completion zsh)\n"
	       "_weir_jobs() { compadd -- ${(f)\"$(weir jobs 2> /dev/null | awk 'NR > 1 {print $1}')\"} }\n"
	       "_weir_modules() { compadd -- ${(f)\"$(weir modules list 2> /dev/null | awk 'NR > 1 {print $1}')\"} }\n"
	       "_weir_verbs() {\n\tlocal -a verbs=(\n");
	for (size_t i = 0; (verb = completion_next(&i)) != NULL;) {
		printf("\t\t'%s:", verb->name);
		zsh_text(verb->summary);
		printf("'\n");
	}
	printf("\t)\n\t_describe verb verbs\n}\n"
	       "_weir() {\n"
	       "\tif (( CURRENT == 2 )); then\n\t\t_weir_verbs\n\t\treturn\n\tfi\n"
	       "\tlocal verb=$words[2]\n\tshift words\n\t(( CURRENT-- ))\n"
	       "\tcase $verb in\n");
	for (size_t i = 0; (verb = completion_next(&i)) != NULL;) {
		enum completion_kind kind = completion_of_operand(verb, words, sizeof(words));

		printf("\t%s)\n\t\t_arguments -s '(-h --help)'{-h,--help}'[this text]'", verb->name);
		for (size_t k = 0; k < verb->nopts; k++)
			zsh_option(&verb->opts[k]);
		if (words[0] != '\0')
			printf(" \\\n\t\t\t'1: :(%s)' '*: :_files'", words);
		else if (kind != COMPLETE_NOTHING) {
			printf(" \\\n\t\t\t'*: :");
			zsh_action(kind, words);
			printf("'");
		}
		printf(" ;;\n");
	}
	printf("\thelp) _weir_verbs ;;\n\tesac\n}\n"
	       "if [ \"$funcstack[1]\" = _weir ]; then _weir \"$@\"; else compdef _weir weir; fi\n");
}

/* ---- fish ---- */

static void
fish_text(const char *s)
{
	for (; *s != '\0'; s++) {
		if (*s == '\'' || *s == '\\')
			putchar('\\');
		putchar(*s);
	}
}

static void
fish_action(enum completion_kind kind, const char *words)
{
	static const char *const actions[] = {"-x", "-F", "-xa '(__fish_complete_directories)'", "", "-xa '(weir jobs 2> /dev/null | awk \"NR > 1 {print \\\\$1}\")'",
	    "-xa '(weir modules list 2> /dev/null | awk \"NR > 1 {print \\\\$1}\")'"};

	if (kind == COMPLETE_WORDS)
		printf(" -xa '%s'", words);
	else
		printf(" %s", actions[kind]);
}

static void
fish_verb(const struct weir_verb *verb)
{
	char words[256];
	enum completion_kind kind = completion_of_operand(verb, words, sizeof(words));

	printf("complete -c weir -n __fish_use_subcommand -a %s -d '", verb->name);
	fish_text(verb->summary);
	printf("'\n");
	if (kind != COMPLETE_NOTHING) {
		printf("complete -c weir -n '__fish_seen_subcommand_from %s'", verb->name);
		fish_action(kind, words);
		printf("\n");
	}
	for (size_t i = 0; i < verb->nopts; i++) {
		const struct weir_opt *o = &verb->opts[i];

		printf("complete -c weir -n '__fish_seen_subcommand_from %s' -l %s", verb->name, o->name);
		if (o->letter != '\0')
			printf(" -s %c", o->letter);
		if (o->arg != NULL) {
			printf(" -r");
			kind = completion_of_value(o, words, sizeof(words));
			fish_action(kind, words);
		}
		printf(" -d '");
		fish_text(o->help);
		printf("'\n");
	}
}

static void
completion_fish(void)
{
	const struct weir_verb *verb;

	printf("# What fish offers behind TAB for weir: weir completion fish | source\n"
	       "complete -c weir -f\n");
	for (size_t i = 0; (verb = completion_next(&i)) != NULL;)
		fish_verb(verb);
}

/* ---- the verb ---- */

static int
completion_run(const struct weir_verb *verb, int argc, char **argv)
{
	static const struct { const char *name; void (*print)(void); } shells[] = {{"bash", completion_bash}, {"zsh", completion_zsh}, {"fish", completion_fish}};
	int status, first = weir_opt_parse(verb, NULL, argc, argv, &status);

	if (first < 0)
		return status;
	for (size_t i = 0; i < WEIR_LEN(shells); i++) {
		if (strcmp(argv[first], shells[i].name) == 0) {
			shells[i].print();
			return WEIR_EXIT_OK;
		}
	}
	weir_say("completion: '%s' is not a shell that it knows: bash, zsh, fish", argv[first]);
	return WEIR_EXIT_USAGE;
}

const struct weir_verb weir_verb_completion = {
    .name = "completion",
    .operands = "bash|zsh|fish",
    .summary = "print what a shell needs to complete weir's words",
    .details = "As in: source <(weir completion bash)",
    .min_operands = 1,
    .max_operands = 1,
    .run = completion_run,
};
