/* SPDX-License-Identifier: Apache-2.0 */
/* Errors: a code for programs, a sentence for people.
 *
 * `struct weir_err *` is always the last parameter and may be NULL; success leaves it alone. Each level adds what it
 * knows ("remote 'lab': bucket 'x': access denied") with weir_err_wrap() and returns the code. Messages are lower
 * case, end without a period, quote the object and name the remedy if there is one. Thread-safe: no shared state. */
#ifndef WEIR_ERR_H
#define WEIR_ERR_H

enum weir_code {
	WEIR_OK = 0,
#define WEIR_E(name, no, retry, text) WEIR_E_##name,
#include "../tbl/errors.h"
#undef WEIR_E
	WEIR_CODES,
	WEIR_PENDING = 1000,	/* not an error: the completion will be called (src/fs/fs.h) */
};

#define WEIR_ERR_MAX 512
struct weir_err {
	enum weir_code code;
	char msg[WEIR_ERR_MAX];	/* always terminated; cut, never overflowed */
};

const char *weir_code_name(enum weir_code);	/* "NOENT" */
const char *weir_code_text(enum weir_code);	/* "no such file or directory" */
int weir_code_errno(enum weir_code);		/* positive errno; 0 for WEIR_OK */
int weir_code_retry(enum weir_code);		/* 1: may heal by waiting or repeating */
enum weir_code weir_code_from_errno(int);	/* for local system calls; unknown ones become WEIR_E_IO */

/* Set the sentence and return code. */
enum weir_code weir_err_set(struct weir_err *, enum weir_code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same from an errno: "FMT: strerror". Returns the code of that errno. */
enum weir_code weir_err_errno(struct weir_err *, int errno_value, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Put "FMT: " before what is there (or before the code's text when nothing is). Returns code. */
enum weir_code weir_err_wrap(struct weir_err *, enum weir_code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The sentence, or the code's text when none was set. Never NULL. */
const char *weir_err_text(const struct weir_err *, enum weir_code);

#endif
