/* SPDX-License-Identifier: Apache-2.0 */
/* What a mount says without being asked: a line about its state for whoever shows one (systemd), and the events of the [notify] hook that only a mount
 * sees. A thread of its own looks every few seconds, and runs the hook, one event after the other. Events, beside those of notify.h:
 *
 *	quota		{"remote" (null: all together), "used_bytes", "quota_bytes"}	90 % is in use; again only after it was below 85 %
 *	conflict	{"conflicts": how many are new, "files": [{"path" below its remote's root, "what": a sentence with the copy's name}], 20 at most}
 *	signin-dead	{"remote", "error"}	its storage no longer lets us in; again only after it did
 *
 * What is so already when the mount begins counts as told, but for a remote that lets nobody in. */
#ifndef WEIR_HERALD_H
#define WEIR_HERALD_H
#include "../util/err.h"

struct weir_conf;
struct weir_fs;
struct weir_herald;

struct weir_herald_options {
	struct weir_fs *fs;			/* both outlive it */
	const struct weir_conf *conf;
	void (*line)(void *arg, const char *text);	/* called when the line is another one; may be NULL */
	void *arg;
};
enum weir_code weir_herald_start(const struct weir_herald_options *, struct weir_herald **out, struct weir_err *);
/* Waits for a hook that runs (for its time limit at most). NULL: nothing. */
void weir_herald_stop(struct weir_herald *);

#endif
