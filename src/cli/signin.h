/* SPDX-License-Identifier: Apache-2.0 */
/* What `weir login`, `weir logout` and `weir init` share: signing in to one remote, as its storage's hook says. Names no storage. */
#ifndef WEIR_SIGNIN_H
#define WEIR_SIGNIN_H
#include "../../backends/backend.h"
#include "cli.h"

/* A storage by the `type` of the configuration; NULL: there is none. */
const struct weir_backend_ops *weir_signin_ops(const char *type);
/* The hook's answer; NONE for storages without. */
enum weir_code weir_signin_how(const struct weir_remote_conf *, struct weir_sign_in *out, struct weir_err *);
/* Connections for a sign-in, through the remote's proxy. */
struct weir_signin_net { struct weir_http *http; struct weir_http_pool *pool; };
enum weir_code weir_signin_net_open(struct weir_signin_net *, const struct weir_remote_conf *, struct weir_err *);
void weir_signin_net_close(struct weir_signin_net *);

/* Signs in; without_browser: starts none. *lines (owned): what has to be added to the remote's section, "key = value\n" each, "" for nothing. */
enum weir_code weir_signin(const struct weir_remote_conf *, bool without_browser, char **lines, struct weir_err *);
/* The steps by kind. */
enum weir_code weir_signin_oauth(struct weir_signin_net *, const struct weir_oauth_app *, bool without_browser, struct weir_err *);
enum weir_code weir_signin_flow2(struct weir_signin_net *, const char *url, bool without_browser, char **user, char **secret, struct weir_err *);
/* Show it in a browser, if there is one and somebody to look at it. */
void weir_signin_browse(const char *url);

/* Where a secret is kept: KEY_file of the configuration, else in secrets/ beside it (*is_new: the configuration does not say so yet). CONFIG: it stands in the
 * configuration itself or comes from a command. Owned. */
enum weir_code weir_signin_secret_file(const struct weir_remote_conf *, const char *key, char **file, bool *is_new, struct weir_err *);
/* One line, 0600, atomically; makes the folder for its owner alone. */
enum weir_code weir_signin_secret_save(const char *file, const char *secret, struct weir_err *);

#endif
