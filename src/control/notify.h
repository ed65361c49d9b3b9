/* SPDX-License-Identifier: Apache-2.0 */
/* The notify hook: [notify] command is run by sh -c with one JSON object on standard input, for whoever wants mail, chat or a ticket of it. Events:
 * "job-end", those of a mount (herald.h), "access-asked", "access-granted", "access-revoked". Each object has event, at (UTC), host, user (who runs weir) and the event's own keys. Never a secret. */
#ifndef WEIR_NOTIFY_H
#define WEIR_NOTIFY_H
#include <jansson.h>

#include "../util/err.h"

struct weir_conf;

/* Waits until the hook has ended, or for [notify] timeout (10s), after which it is killed with all it started. Its standard output goes nowhere, its standard
 * error where weir's goes. fields: an object, taken over (NULL: none). A failure is said once in a process (weir_log) and may be ignored: nothing depends
 * on the hook. NOENT: there is none. Any thread; not between fork and exec. */
enum weir_code weir_notify(const struct weir_conf *, const char *event, json_t *fields, struct weir_err *);
/* The section is well formed: for `weir check`. CONFIG. */
enum weir_code weir_notify_check(const struct weir_conf *, struct weir_err *);

#endif
