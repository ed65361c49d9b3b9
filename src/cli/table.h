/* SPDX-License-Identifier: Apache-2.0 */
/* Tables and paragraphs on standard output: as wide as the terminal allows, uncut where there is none (pipes, files). */
#ifndef WEIR_TABLE_H
#define WEIR_TABLE_H
#include <stddef.h>

#define WEIR_TABLE_COLUMNS 8

struct weir_table {
	size_t columns;
	const char *const *heads;	/* borrowed */
	char **cells;			/* rows * columns, owned */
	size_t rows;
};
/* Texts are copied; they must be clean (util/clean.h). NULL counts as "". */
void weir_table_add(struct weir_table *, const char *const *cells);
/* width 0: no limit. Then the widest columns give way first, the first one last; what is cut ends with "…". A
 * cell with nothing after it in its row may be longer than its column. */
void weir_table_print(const struct weir_table *, size_t width);
void weir_table_free(struct weir_table *);

/* Columns of the terminal behind standard output; 0: there is none. */
size_t weir_terminal_columns(void);
/* Text broken at blanks, each line after so many blanks; newlines stay. width 0: not broken. Ends with a newline. */
void weir_print_wrapped(const char *text, size_t indent, size_t width);

#endif
