/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of words: command lines and environments. */
#ifndef WEIR_WORDS_H
#define WEIR_WORDS_H
#include <stddef.h>

#include "../src/util/buf.h"

struct weir_words { char **v; size_t n; };	/* owned; v is NULL-terminated when n > 0 */
void weir_words_add(struct weir_words *, const char *);
void weir_words_split(struct weir_words *, const char *text);	/* at blanks */
void weir_words_free(struct weir_words *);
/* As one could type it into a shell. */
void weir_words_quote(struct weir_buf *, char *const *words);

#endif
