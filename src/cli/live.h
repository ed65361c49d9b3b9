/* SPDX-License-Identifier: Apache-2.0 */
/* The contract list against one remote of the configuration, in a scratch folder that is removed at the end. Prints each promise as it is
 * tried and writes all that was seen to the report (mode 0600; NULL: ./weir-live-REMOTE.txt). It names servers and account
 * names, never a secret. SIGINT ends it after the promise that runs, cleaned up. Returns an exit status. */
#ifndef WEIR_LIVE_H
#define WEIR_LIVE_H
#include "../conf/conf.h"

int weir_live(const struct weir_conf *, const char *remote, const char *report);

#endif
