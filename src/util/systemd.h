/* SPDX-License-Identifier: Apache-2.0 */
/* What a service says to systemd and its journal, by the protocols they describe for programs that do without their library (sd_notify(3), "Notes";
 * systemd's JOURNAL_NATIVE_PROTOCOL): a datagram each. Nothing here fails in a way that a caller would have to care about. */
#ifndef WEIR_SYSTEMD_H
#define WEIR_SYSTEMD_H
#include <stdbool.h>
#include <stdint.h>

#include "util.h"

/* Lines as in sd_notify(3): "READY=1\nSTATUS=…". Nothing when no manager started us ($NOTIFY_SOCKET). */
void weir_sd_notify(const char *fmt, ...) WEIR_PRINTF(1, 2);
/* How often the manager wants to hear "WATCHDOG=1" from this process at the latest, in ms; 0: it does not ($WATCHDOG_USEC, $WATCHDOG_PID). */
int64_t weir_sd_watchdog_ms(void);

/* Is standard error the journal's ($JOURNAL_STREAM)? */
bool weir_journal_has_stderr(void);
/* Connect; each entry will have these fields ("WEIR_MOUNTPOINT=/srv/data\n…", may be NULL; one more line a call). false: there is no journal. */
bool weir_journal_open(const char *ident, const char *fields);
/* One entry. priority: syslog(3)'s. false: it was not taken. Any thread. */
bool weir_journal_send(int priority, const char *text);
void weir_journal_close(void);

#endif
