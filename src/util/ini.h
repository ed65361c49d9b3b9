/* SPDX-License-Identifier: Apache-2.0 */
/* INI reader. One entry a line: `key = value`, `[section]` or `[section NAME]`; comments (# or ;) stand on their own
 * line, so values may hold # and ;. Leading and trailing blanks of key and value are cut; a value may be empty; keys of
 * [namespace] are paths. No line continuation, no quotes, no limit on lengths but the file's (1 MiB). A byte order mark
 * and CRLF are accepted. NUL bytes and lines without '=' are errors that name the line. */
#ifndef WEIR_INI_H
#define WEIR_INI_H
#include "err.h"
#include <stddef.h>

struct weir_ini_entry {
	const char *section;	/* "weir", "remote", "namespace" */
	const char *label;	/* "share" of [remote share]; "" when there is none */
	const char *key;	/* NULL: the section header itself was met (so that empty sections are seen) */
	const char *value;
	int line;
};
/* fn is called for each entry in order; another result than WEIR_OK stops and is returned (fn sets err).
 * text is terminated; name is used in messages ("weir.conf:12: …"). */
enum weir_code weir_ini_parse(const char *name, const char *text, size_t len,
    enum weir_code (*fn)(void *arg, const struct weir_ini_entry *, struct weir_err *), void *arg, struct weir_err *);

#endif
