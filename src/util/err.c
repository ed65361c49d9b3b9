/* SPDX-License-Identifier: Apache-2.0 */
/* The error table and the sentences that grow on their way up. Knows no room above it. */
#include "config.h"

#include "err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util.h"

static const struct {
	const char *name;
	int no;
	int retry;
	const char *text;
} err_rows[] = {
    [WEIR_OK] = {"OK", 0, 0, "success"},
#define WEIR_E(name, no, retry, text) [WEIR_E_##name] = {#name, no, retry, text},
#include "../tbl/errors.h"
#undef WEIR_E
};

/* WEIR_PENDING and numbers from a torn row of a database come here too: never index with them. */
static int
err_is_row(enum weir_code code)
{
	return (unsigned)code < WEIR_LEN(err_rows) && err_rows[code].name != NULL;
}

const char *
weir_code_name(enum weir_code code)
{
	if (code == WEIR_PENDING)
		return "PENDING";
	return err_is_row(code) ? err_rows[code].name : "UNKNOWN";
}

const char *
weir_code_text(enum weir_code code)
{
	if (code == WEIR_PENDING)
		return "not finished yet";
	return err_is_row(code) ? err_rows[code].text : "unknown error";
}

int
weir_code_errno(enum weir_code code)
{
	return err_is_row(code) ? err_rows[code].no : EIO;
}

int
weir_code_retry(enum weir_code code)
{
	return err_is_row(code) ? err_rows[code].retry : 0;
}

/* The first row of an errno is the general one, but for those named here. */
enum weir_code
weir_code_from_errno(int no)
{
	switch (no) {
	case 0:
		return WEIR_OK;
	case EINVAL:
		return WEIR_E_INVAL;
	case ETIMEDOUT:
		return WEIR_E_TIMEDOUT;
	case EAGAIN:
	case ETXTBSY:
		return WEIR_E_BUSY;
	case EMFILE:
		return WEIR_E_NFILE;
	case ENOTTY:
		return WEIR_E_NOTSUP;
	case ENETUNREACH:
	case ECONNREFUSED:
	case ECONNRESET:
	case ECONNABORTED:
	case EPIPE:
		return WEIR_E_NET;
	}
	for (size_t i = 1; i < WEIR_LEN(err_rows); i++) {
		if (err_rows[i].no == no)
			return (enum weir_code)i;
	}
	return WEIR_E_IO;
}

enum weir_code
weir_err_set(struct weir_err *err, enum weir_code code, const char *fmt, ...)
{
	va_list ap;

	if (err == NULL)
		return code;
	err->code = code;
	va_start(ap, fmt);
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	return code;
}

enum weir_code
weir_err_errno(struct weir_err *err, int no, const char *fmt, ...)
{
	enum weir_code code = weir_code_from_errno(no);
	char text[WEIR_ERR_MAX], buf[128];
	va_list ap;

	if (err == NULL)
		return code;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* The GNU strerror_r, which is thread-safe: _GNU_SOURCE is always on. */
	return weir_err_set(err, code, "%.360s: %s", text, strerror_r(no, buf, sizeof(buf)));
}

enum weir_code
weir_err_wrap(struct weir_err *err, enum weir_code code, const char *fmt, ...)
{
	char head[WEIR_ERR_MAX], tail[WEIR_ERR_MAX];
	va_list ap;

	if (err == NULL)
		return code;
	va_start(ap, fmt);
	vsnprintf(head, sizeof(head), fmt, ap);
	va_end(ap);
	snprintf(tail, sizeof(tail), "%s", weir_err_text(err, code));
	/* The reason stands at the end: a long head must not push it out. */
	return weir_err_set(err, code, "%.256s: %s", head, tail);
}

const char *
weir_err_text(const struct weir_err *err, enum weir_code code)
{
	if (err != NULL && err->msg[0] != '\0')
		return err->msg;
	return weir_code_text(code);
}
