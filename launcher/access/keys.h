/* SPDX-License-Identifier: Apache-2.0 */
/* Between keys.c and token.c. */
#ifndef WEIR_KEYS_H
#define WEIR_KEYS_H
#include "impl.h"
#include "jwt.h"

struct weir_keys {
	struct weir_jwks set;		/* weir_jwks_clear() */
	int64_t fetched_s;
	bool is_final;			/* asking again now would bring nothing else */
};
/* Blocking; the network only when it must. is_again: a key was not among those we had. Codes of weir_http_perform(), PROTO, CONFIG, of files. */
enum weir_code weir_keys_get(const struct weir_access_policy *, const struct weir_access_who *, bool is_again, int64_t now_s, struct weir_keys *out,
    struct weir_err *);

#endif
