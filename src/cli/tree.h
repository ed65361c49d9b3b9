/* SPDX-License-Identifier: Apache-2.0 */
/* What the verbs that work on files share (ls, cat, cp, prefetch, dataset): operands, the tree they name, interruption. */
#ifndef WEIR_CLI_TREE_H
#define WEIR_CLI_TREE_H
#include "../client/tree.h"
#include "cli.h"

/* REMOTE:PATH, or :PATH of the namespace; anything else is a path of this host, and so is what has a "/" before its first ":". */
struct weir_operand {
	const char *text;
	char *remote;		/* NULL: this host; "": the namespace. Owned */
	const char *path;
};
void weir_operand_parse(struct weir_operand *, const char *text);
void weir_operand_free(struct weir_operand *);

struct weir_cli_tree {
	struct weir_conf *conf;
	struct weir_tree *tree;		/* NULL: no operand needed it */
	struct weir_tree *local;
};
/* Opens what the operands name. Exit status; sentence printed. */
int weir_cli_tree_open(struct weir_cli_tree *, const char *conf, const struct weir_operand *, size_t n);
void weir_cli_tree_close(struct weir_cli_tree *);
/* The tree and the path in it of one operand. Exit status; sentence printed. */
int weir_cli_tree_at(const struct weir_cli_tree *, const struct weir_operand *, struct weir_tree **, char **path);

/* From now on INT, TERM and HUP set this flag (the first time; then they end the process). */
const atomic_bool *weir_cli_interrupts(void);
struct weir_cancel;
struct weir_cancel *weir_cli_cancel(void);	/* the same flag, for what is fetched by HTTP */
/* 128+N when one came, else the given status. */
int weir_cli_interrupted(int status);
/* The sentence, and the exit status that fits. */
int weir_cli_tree_failed(enum weir_code, const struct weir_err *);

/* Wait until the storage has what is below path, with progress. Exit status; sentence printed. */
int weir_cli_tree_flush(struct weir_tree *, const char *path, bool is_quiet);

#endif
