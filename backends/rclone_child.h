/* SPDX-License-Identifier: Apache-2.0 */
/* The rclone that serves one remote: started when it is first needed, looked after, started again when it died, ended with us. It
 * knows processes and what they print, not WebDAV. All functions may be called by any thread; free when nobody calls any more. */
#ifndef WEIR_RCLONE_CHILD_H
#define WEIR_RCLONE_CHILD_H
#include "../src/net/http.h"
#include "../src/util/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct weir_rclone_how {		/* copied; NULL where not said otherwise */
	const char *name;		/* of weir's remote, for sentences; never NULL */
	const char *remote;		/* "NAME:path"; never NULL */
	const char *config;		/* rclone.conf; NULL: where rclone looks by itself */
	const char *program;		/* never NULL; without a slash it is looked for in PATH */
	const char *proxy, *ca_file;	/* for rclone's own connections */
};
struct weir_rclone_at {			/* where it listens, on 127.0.0.1 */
	unsigned generation;		/* which of all rclones started so far; never 0 */
	int port, rc_port;		/* WebDAV; remote control */
	char user[17], password[65];	/* of both, new for each start */
};
struct weir_rclone_child;
/* Starts nothing: that is for weir_rclone_child_up(), after the last fork. */
struct weir_rclone_child *weir_rclone_child_new(const struct weir_rclone_how *);
/* Ends rclone (SIGTERM, after 2 s SIGKILL) and waits for it. NULL is fine. */
void weir_rclone_child_free(struct weir_rclone_child *);
bool weir_rclone_child_is_up(const struct weir_rclone_child *, unsigned generation);	/* does not block */
/* Blocks until it listens, 30 s at most; starts it if need be. CONFIG: rclone refuses its configuration, or is not there; AUTH: the
 * storage behind it refuses the credentials; NET: it ended, or must not be started again yet (0.2 s after a failure, doubling to 30 s).
 * All with rclone's own last words. */
enum weir_code weir_rclone_child_up(struct weir_rclone_child *, const struct weir_cancel *, struct weir_rclone_at *, struct weir_err *);
/* Its last complaint, if it came at or after since_ms (weir_now_ms()); else "". */
void weir_rclone_child_words(struct weir_rclone_child *, int64_t since_ms, char *out, size_t max);

/* Pure parts, for unit tests. */
/* "2026/11/22 22:12:38 ERROR : a: no" -> "a: no", in place; *is_error: a complaint, not a notice. */
char *weir_rclone_line(char *line, bool *is_error);
/* Port out of "… Server started on [http://127.0.0.1:43351/]"; 0: another line. */
int weir_rclone_line_port(const char *line, const char *before);
/* What an rclone that ended before it listened means. */
enum weir_code weir_rclone_start_code(const char *words);
/* "Authorization: Basic …" for it; owned, weir_secret_free(). */
char *weir_rclone_basic(const struct weir_rclone_at *);

#endif
