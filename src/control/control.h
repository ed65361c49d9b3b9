/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: $CACHE/control (SOCK_STREAM, mode 0600). One request a connection: a JSON object on one line, {"verb": "status", …};
 * answers are JSON objects, one a line; the last has "done": true and "code" ("OK" or a name of src/tbl/errors.h) and, on failure, "error".
 * Verbs (share, unshare, shares: src/dav/front.h; reload, reloaded: src/cli/reload.h): status, flush {path}, du {path}, refresh {path}, look {remote} (ask it at once whether it lets us in), verify {path, settle}, problems, ping. flush sends progress lines
 * {"files_left":…,"bytes_left":…,"bytes_sent":…,"bytes_total":…} about four times a second; closing the connection gives it up. So does
 * prefetch {paths: [absolute …], spent} with {"files","bytes","files_wanted","bytes_wanted"}; its answer has them too. NOSPC: the cache holds no more.
 * Socket paths longer than sun_path are reached through /proc/self/fd of the directory. */
#ifndef WEIR_CONTROL_H
#define WEIR_CONTROL_H
#include "../util/err.h"
#include <jansson.h>
#include <stdbool.h>

struct weir_fs;
struct weir_control;

/* Requests that another front answers. answer() may block, is called in many threads at once, and adds what it has to say to `answer`. */
struct weir_control_verb {
	const char *name;
	enum weir_code (*answer)(void *arg, json_t *request, json_t *answer, struct weir_err *);
};
struct weir_control_front {
	const struct weir_control_verb *verbs;
	size_t nverbs;
	void *arg;
};
/* Serve in threads of its own until weir_control_stop(). Replaces a dead socket. fronts (may be NULL) outlive it. */
enum weir_code weir_control_start(struct weir_fs *, const char *cache_dir, const struct weir_control_front *fronts, size_t nfronts, struct weir_control **out,
    struct weir_err *);
/* is_handed_over: a successor serves the same mount. What was not done is then left without an answer, and its clients ask the successor. */
void weir_control_stop(struct weir_control *, bool is_handed_over);

/* Client side. *out: the final object (owned). line() gets each earlier object (borrowed; may be NULL). WEIR_E_NOENT: no mount serves this cache.
 * When a worker ends in the middle of it, its successor is asked the same. */
enum weir_code weir_control_call(const char *cache_dir, json_t *request /* stolen */, void (*line)(void *arg, json_t *), void *arg,
    json_t **out, struct weir_err *);

#endif
