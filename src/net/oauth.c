/* SPDX-License-Identifier: Apache-2.0 */
/* OAuth 2 for remotes (oauth.h is the specification). Knows no storage and no terminal. */
#include "config.h"

#include "oauth.h"

#include <stdlib.h>
#include <string.h>

#include "../util/util.h"

void
weir_oauth_app_clear(struct weir_oauth_app *a)
{
	free(a->auth_url);
	free(a->token_url);
	free(a->revoke_url);
	free(a->client_id);
	weir_secret_free(a->client_secret);
	free(a->scope);
	free(a->auth_extra);
	free(a->service_account_file);
	free(a->subject);
	free(a->token_file);
	free(a->code_redirect);
	memset(a, 0, sizeof(*a));
}
