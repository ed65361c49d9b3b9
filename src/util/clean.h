/* SPDX-License-Identifier: Apache-2.0 */
/* Text of strangers, made fit for a terminal. Pure, thread-safe. */
#ifndef WEIR_CLEAN_H
#define WEIR_CLEAN_H
#include <stdbool.h>
#include <stddef.h>

/* Valid UTF-8 without control characters (escape sequences), without marks that turn the direction of writing or show nothing; what is not
 * UTF-8, and a control character, becomes U+FFFD, white space becomes a blank (newlines stay if has_lines). Blanks at both ends are
 * cut. Owned, never NULL. */
char *weir_clean(const char *, size_t len, bool has_lines);
/* Columns of a terminal that cleaned text takes. */
size_t weir_columns(const char *);
/* The same text in at most so many columns: cut at the end, with "…" in the last column if anything was cut. Owned. */
char *weir_cut_columns(const char *, size_t columns);

#endif
