/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the oauth*.c files: tokens and where they lie (oauth_store.c), one request for a token (oauth_ask.c), what a service account says to
 * get one (oauth_jwt.c). */
#ifndef WEIR_OAUTH_IMPL_H
#define WEIR_OAUTH_IMPL_H
#include "oauth.h"
#include <sys/types.h>

struct weir_oauth_tokens {
	char *access, *refresh;		/* owned; NULL: none */
	char *scope;			/* as granted, NULL: not told */
	int64_t expires_s;		/* of access, seconds since 1970; 0: not known, so at once */
};
void weir_oauth_tokens_clear(struct weir_oauth_tokens *);	/* frees, zeroes */

/* ---- the file ---- */

struct weir_oauth_stamp {		/* another value: another file */
	int64_t mtime_ns;
	ino_t ino;
	off_t size;
};
/* NOENT: there is none. */
enum weir_code weir_oauth_stamp(const char *file, struct weir_oauth_stamp *);
/* NOENT: there is none; AUTH: it holds no tokens, or others may read it. Only success touches *out. */
enum weir_code weir_oauth_load(const char *file, struct weir_oauth_tokens *out, struct weir_err *);
/* Atomic, 0600; makes the folder (0700). */
enum weir_code weir_oauth_save(const char *file, const struct weir_oauth_tokens *, struct weir_err *);
/* FILE.lock, held until the descriptor is closed. Waits; CANCELED. */
enum weir_code weir_oauth_lock(const char *file, struct weir_cancel *, int *fd, struct weir_err *);
/* Of a server's answer or a file. PROTO. now_s: what "expires_in" counts from. */
enum weir_code weir_oauth_parse(const char *json, int64_t now_s, struct weir_oauth_tokens *out, struct weir_err *);

/* ---- the server ---- */

/* One form to token_url (or another address). is_refused: the server said that what it was shown is worth nothing (any more): then AUTH, and asking again
 * is useless. Retryable codes otherwise, or PROTO, or CONFIG for an address that is neither https nor this host. *body: what came with 200, owned. */
enum weir_code weir_oauth_post(struct weir_http_pool *, const char *url, const char *form, const char *bearer, struct weir_cancel *, bool *is_refused,
    char **body, struct weir_err *);
/* grant: the form's fields that differ ("grant_type=refresh_token&refresh_token=…"); client_id and secret are added unless it is a service account. */
enum weir_code weir_oauth_ask(const struct weir_oauth_app *, struct weir_http_pool *, const char *grant, struct weir_cancel *, bool *is_refused,
    struct weir_oauth_tokens *out, struct weir_err *);
/* "&name=value" (without "&" at the start), encoded; nothing when value is NULL. */
struct weir_buf;
void weir_oauth_field(struct weir_buf *, const char *name, const char *value);
void weir_oauth_wipe(struct weir_buf *);	/* zeroes and frees */

/* The signed assertion (RFC 7523) for the app's service account; owned. CONFIG: the key file is no such key. */
enum weir_code weir_oauth_assertion(const struct weir_oauth_app *, int64_t now_s, char **out, struct weir_err *);

#endif
