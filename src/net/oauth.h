/* SPDX-License-Identifier: Apache-2.0 */
/* OAuth 2 (RFC 6749, PKCE: RFC 7636, native apps: RFC 8252) for the storages that want it: where a remote's tokens lie, how they stay
 * fresh, and the steps of a sign-in. Knows no storage: each says what its authorization server is in a struct weir_oauth_app.
 *
 * Tokens lie in one file per remote, mode 0600, replaced atomically (write, fsync, rename); a lock beside it (FILE.lock, flock) makes one refresh of
 * many processes, a mutex one of many threads. No token is ever in a message, a log, a command line or an environment. */
#ifndef WEIR_OAUTH_H
#define WEIR_OAUTH_H
#include "../util/err.h"
#include "http.h"
#include <stdbool.h>
#include <stdint.h>

/* What is constant for one remote. All strings owned by it: weir_oauth_app_clear(). NULL where not said otherwise. */
struct weir_oauth_app {
	char *auth_url, *token_url, *revoke_url;	/* https; http only for loopback hosts (tests). revoke_url may be NULL */
	char *client_id, *client_secret;		/* the secret may be NULL (public clients with PKCE) */
	char *scope;					/* space separated; NULL: what the app is registered for */
	char *auth_extra;				/* further query of auth_url, encoded: "access_type=offline&prompt=consent" */
	char *service_account_file;			/* Google: JSON key of a service account; then there is no sign-in, tokens are asked
							 * for with a signed JWT (RFC 7523), scope is required */
	char *subject;					/* service account: whom to act for (domain-wide delegation); NULL: itself */
	char *token_file;				/* absolute */
	char *code_redirect;				/* redirect_uri for copy and paste where the server shows the code itself (Dropbox: NULL redirect);
							 * "" = leave redirect_uri out; NULL: the server has no such way, the person
							 * pastes the address of the failed loopback page */
	bool revokes_by_bearer;				/* revoke_url takes no form (RFC 7009) but the access token where every request has it */
};
void weir_oauth_app_clear(struct weir_oauth_app *);	/* frees, zeroes secrets */

/* Tokens of one remote in memory, kept fresh. Any number of threads. */
struct weir_oauth;
/* No network, no file read yet. name: of the remote, for sentences. The app is copied. pool: the connections to use for token requests (borrowed). */
enum weir_code weir_oauth_new(const char *name, const struct weir_oauth_app *, struct weir_http_pool *, struct weir_oauth **out, struct weir_err *);
void weir_oauth_free(struct weir_oauth *);
/* An access token to send now, owned (weir_secret_free). Refreshes by itself 60 to 300 s before expiry (one thread does, others that still have a
 * valid token go on with it). refused: the token that the storage has just answered 401 to (NULL: none): if it is still the current one,
 * it is refreshed first, else the current one is given. AUTH: not signed in, or the sign-in was revoked or has expired; the sentence ends with
 * "sign in again with 'weir login NAME'"; the file is looked at again when it has changed, so that a login heals a running mount.
 * NET, STALL, TLS, SERVER, THROTTLED as weir_http_perform(): the sign-in is not lost by them. */
enum weir_code weir_oauth_bearer(struct weir_oauth *, const char *refused, struct weir_cancel *, char **token, struct weir_err *);

/* ---- sign-in: pieces that `weir login` puts together ---- */

struct weir_oauth_flow { char verifier[129], challenge[64], state[44]; };
/* Fresh random values (RFC 7636 section 4). */
void weir_oauth_flow_init(struct weir_oauth_flow *);
/* The challenge of a verifier: base64url without padding of its SHA-256. */
void weir_oauth_challenge(const char *verifier, char out[64]);
/* Address for the browser, owned. redirect NULL: without redirect_uri. */
char *weir_oauth_auth_url(const struct weir_oauth_app *, const struct weir_oauth_flow *, const char *redirect);
/* The code out of what a person pasted: the code alone, or the whole address of the redirect (then state is compared; error=… becomes AUTH with the
 * server's own words). Owned. */
enum weir_code weir_oauth_code_from(const struct weir_oauth_flow *, const char *pasted, char **code, struct weir_err *);
/* Code to tokens, saved to the app's token_file. AUTH with the server's own reason when it refuses; also when the server gave no refresh token. */
enum weir_code weir_oauth_exchange(const struct weir_oauth_app *, struct weir_http_pool *, const struct weir_oauth_flow *, const char *code,
    const char *redirect, struct weir_err *);
/* Tell the server that the token is no longer wanted (if it has such a way), remove the file. */
enum weir_code weir_oauth_logout(const struct weir_oauth_app *, struct weir_http_pool *, struct weir_err *);
/* Save what somebody else signed in (`weir login --import`, an rclone.conf): JSON as this file holds it, or rclone's "token" value
 * {"access_token","token_type","refresh_token","expiry"}. PROTO when it is neither. */
enum weir_code weir_oauth_import(const char *token_file, const char *json, struct weir_err *);

#endif
