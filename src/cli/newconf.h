/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of a living mount, and its exchange for a newer one ('weir reload').
 *
 * A worker is built from one configuration and keeps it to its end. To exchange it, the worker reads the file, checks all that can be checked, puts the text
 * into memory that the workers of this mount share, and hands the mount over. Its successor tries the new one; if that cannot be built, it goes on with the one before.
 * The file is read at no other time, so a half-edited file costs nothing when a worker dies.
 *
 * Requests of the control socket:
 *	reload {dry}	-> path: of the file, changed: names of remotes that are new or differ, warnings: sentences, number: of this exchange (not with dry)
 *			   CONFIG, and the mount stays as it is: the file has an error, or says what only a new mount can do (cache_dir, the place "/")
 *	reloaded {}	-> number: of the exchange that was last tried, error: why it failed, "" when it did not, is_done: nothing is under way */
#ifndef WEIR_NEWCONF_H
#define WEIR_NEWCONF_H
#include "../conf/conf.h"
#include "../control/control.h"
#include <stdbool.h>

struct weir_fs;
struct weir_fuse_worker;
struct weir_newconf;

/* In the supervisor, before it forks. first: what the mount began with; outlives it. NULL and errno. */
struct weir_newconf *weir_newconf_new(const struct weir_conf *first);
void weir_newconf_free(struct weir_newconf *);	/* NULL is fine */

/* ---- in a worker, in this order ---- */
/* What to build from; lives as long as the worker. Call it again when that cannot be built and *is_trial was true, with the reason: then it is the one before. */
const struct weir_conf *weir_newconf_take(struct weir_newconf *, const char *reason, bool *is_trial);
/* What it was built into. */
void weir_newconf_built(struct weir_newconf *, struct weir_fs *, struct weir_fuse_worker *);
/* It serves: the exchange is done, and the kernel is told which names mean something else now. arg is the struct weir_newconf. Not in a thread that serves. */
void weir_newconf_serving(void *arg);

extern const struct weir_control_verb weir_newconf_verbs[];
extern const size_t weir_newconf_nverbs;

#endif
