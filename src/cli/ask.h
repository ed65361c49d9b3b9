/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to a person, or to the pipe that stands for one: on standard error, answers from standard input a byte at a time, so that whoever reads next
 * misses nothing. */
#ifndef WEIR_ASK_H
#define WEIR_ASK_H
#include "../util/buf.h"
#include <stdbool.h>

bool weir_ask_is_person(void);		/* standard input is a terminal: a bad answer may be asked for again */
/* "QUESTION: "; the answer without blanks around it, owned. NULL: the input has ended. is_secret: without echo; free with weir_secret_free. */
char *weir_ask(const char *question, bool is_secret);
/* What poll() said is there, added to line: 1: the line is whole (without its end), 0: not yet, -1: the input has ended. */
int weir_ask_more(struct weir_buf *line);

#endif
