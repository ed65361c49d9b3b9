/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: one file per verb (parse, check, act), one table of verbs in cli.c. What the verbs share is here. */
#ifndef WEIR_CLI_H
#define WEIR_CLI_H
#include "../conf/conf.h"
#include "../control/control.h"
#include "../util/err.h"
#include "../util/util.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int weir_cli_main(int argc, char **argv);

/* Exit statuses of every verb but run (weir-run(1) has its own) and of mount.weir, which speaks mount(8)'s. */
enum weir_exit {
	WEIR_EXIT_OK = 0,
	WEIR_EXIT_FAILED = 1,
	WEIR_EXIT_USAGE = 2,
	WEIR_EXIT_CONFIG = 3,	/* the configuration has an error, or there is none */
	WEIR_EXIT_NOMOUNT = 4,	/* nothing is mounted there */
	WEIR_EXIT_UNSENT = 5,	/* something could not be sent; it is kept */
};

/* ---- options: one table per verb feeds getopt_long and --help ---- */

enum weir_opt_kind { WEIR_OPT_FLAG /* bool */, WEIR_OPT_TEXT /* const char * */, WEIR_OPT_LIST /* struct weir_opt_list */ };
struct weir_opt {
	const char *name;	/* long name */
	char letter;		/* short one, or 0 */
	enum weir_opt_kind kind;
	size_t offset;		/* of its value in the verb's options struct */
	const char *arg;	/* how --help calls the value; NULL for flags */
	const char *help;
};
struct weir_opt_list { const char **v; size_t n; };	/* v owned, texts borrowed from argv */

struct weir_verb {
	const char *name;
	const char *operands;	/* "[PATH]" */
	const char *summary;	/* one line of `weir --help` */
	const char *details;	/* more for its own --help, or NULL */
	const struct weir_opt *opts;
	size_t nopts;
	int (*run)(const struct weir_verb *, int argc, char **argv);
	int min_operands, max_operands;	/* max < 0: any number */
	bool stops_early;	/* options end at the first operand: what follows is another program's command line */
	int usage_status;	/* 0: WEIR_EXIT_USAGE */
	bool is_hidden;		/* for other verbs to call, not for people */
};
#define WEIR_OPT_CONF(type) {"config", 'c', WEIR_OPT_TEXT, offsetof(type, conf), "FILE", "configuration (default: ~/.config/weir/weir.conf, then /etc/weir/weir.conf)"}
#define WEIR_OPT_JSON(type) {"json", 0, WEIR_OPT_FLAG, offsetof(type, is_json), NULL, "print JSON for programs"}

/* Fills `into`. Index of the first operand in argv, or -1: --help was given (*status 0) or the command line is wrong (a sentence was
 * printed); then return *status. */
int weir_opt_parse(const struct weir_verb *, void *into, int argc, char **argv, int *status);
void weir_opt_help(const struct weir_verb *);

extern const struct weir_verb weir_verb_mount, weir_verb_umount, weir_verb_status, weir_verb_flush, weir_verb_check, weir_verb_du,
    weir_verb_refresh, weir_verb_reload, weir_verb_verify, weir_verb_import, weir_verb_init, weir_verb_login, weir_verb_logout;
extern const struct weir_verb weir_verb_run, weir_verb_try, weir_verb_train, weir_verb_develop, weir_verb_predict, weir_verb_jobs, weir_verb_logs,
    weir_verb_attach, weir_verb_stop, weir_verb_rm, weir_verb_gc, weir_verb_exec, weir_verb_again;
extern const struct weir_verb weir_verb_access, weir_verb_share, weir_verb_unshare;
extern const struct weir_verb weir_verb_modules, weir_verb_completion;
const struct weir_verb *weir_cli_verb(size_t i);	/* of the table, hidden ones too; NULL after the last */
extern const struct weir_verb weir_verb_ls, weir_verb_cat, weir_verb_cp, weir_verb_prefetch, weir_verb_dataset, weir_verb_stage;
int weir_mount_helper(int argc, char **argv);	/* as mount.weir, called by mount(8) */

/* ---- talking to people ---- */

/* "weir: SENTENCE" on standard error. */
void weir_say(const char *fmt, ...) WEIR_PRINTF(1, 2);
void weir_print_json(const json_t *);	/* indented, to standard output; borrowed */
/* "3 files, 12.30 MB". */
const char *weir_amount_text(uint64_t files, uint64_t bytes, char out[64]);

/* Progress of a flush: a bar on a terminal, else a line now and then, all on standard error. */
struct weir_progress {
	const char *label;	/* "sending" */
	bool is_quiet, is_tty, is_shown;
	int64_t start_ms, said_ms;
};
void weir_progress_start(struct weir_progress *, const char *label);
void weir_progress_line(void *progress, json_t *line);	/* as weir_control_call wants it */
void weir_progress_count(struct weir_progress *, uint64_t files, uint64_t bytes);	/* of work whose whole is not known */
void weir_progress_end(struct weir_progress *);		/* clears the bar */

/* ---- configuration and mounts ---- */

/* Load with the types of all storages; prints the sentence when it fails. NULL: failed. */
struct weir_conf *weir_cli_conf(const char *path);

/* What a verb is about: chosen by a path inside a mount, by -c, or by being the only one. */
struct weir_target {
	struct weir_conf *conf;
	char *mountpoint;	/* NULL: mounted elsewhere (another namespace), reached by its cache */
	char *path;		/* in the namespace: "/" … */
};
/* How every verb about a mount begins: its options into `into` (whose conf is *conf afterwards), then the mount that the first operand names. false: return
 * *status. */
bool weir_target_begin(struct weir_target *, const struct weir_verb *, void *into, const char *const *conf, int argc, char **argv, int *status);
int weir_target_find(struct weir_target *, const char *conf_path, const char *path);	/* exit status; sentence printed */
void weir_target_free(struct weir_target *);
/* weir_control_call() on it. While its worker is just being replaced it tries for a moment. */
enum weir_code weir_target_call(const struct weir_target *, json_t *request, void (*line)(void *, json_t *), void *arg, json_t **out, struct weir_err *);
/* Says what the cache keeps for remotes that the mount does not have (any more): no flush sends that. */
void weir_target_say_aside(const struct weir_target *);
/* Exit status for a failed call, after saying what it was. */
int weir_target_failed(const struct weir_target *, enum weir_code, const struct weir_err *);
/* A final answer as JSON without what belongs to the wire ("done", "code"); key (may be NULL) is added to it. Borrowed. */
void weir_print_answer(json_t *, const char *key, const char *value);

/* ---- probing remotes ---- */

/* Probes every remote at once, for limit_ms at most, and gives an array of {"name", "type", "code", "error", "lines": […]} in the
 * order of the configuration; one that is the place of an earlier one fails, and has that one's name as "twin". only (NULL: all): the one to ask; of the
 * others it is just looked which places they are. Makes threads: a process that means to fork and go on calls weir_probe_apart(). */
json_t *weir_probe(const struct weir_conf *, const char *only, bool is_deep, int64_t limit_ms);
/* The same in a child process; NULL and err when that was not possible. */
json_t *weir_probe_apart(const struct weir_conf *, const char *only, bool is_deep, int64_t limit_ms, struct weir_err *);
#define WEIR_PROBE_MS 6000
/* Would waiting not heal this? Then a mount is refused. */
bool weir_probe_refuses(const json_t *result);
/* Its sentence, without the "remote 'NAME': " that callers put before it. */
const char *weir_probe_reason(const json_t *result);

#endif
