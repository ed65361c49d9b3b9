/* SPDX-License-Identifier: Apache-2.0 */
/* Between claims.c, policy.c and token.c. */
#ifndef WEIR_CLAIMS_H
#define WEIR_CLAIMS_H
#include "impl.h"

/* Adds what the claims of a verified token give. */
void weir_claims_levels(const struct weir_access_policy *, const json_t *claims, struct weir_access_standing *);
/* Is it of the form urn:…:group:GROUP[:SUBGROUP…][:role=ROLE][#AUTHORITY]? */
bool weir_entitlement_is_good(const char *);
/* Does somebody with the entitlement `got` fulfil `want`? */
bool weir_entitlement_covers(const char *want, const char *got);

#endif
