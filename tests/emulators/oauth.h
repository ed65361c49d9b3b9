/* SPDX-License-Identifier: Apache-2.0 */
/* The authorization server beside an emulated storage (RFC 6749, PKCE by RFC 7636, revocation by RFC 7009, JWT bearer by RFC 7523): the person behind
 * its browser always says yes (switch oauth_deny: no). Used by the Drive and the Dropbox emulator; its rules are checked, not waved through: client id and
 * secret, redirect address as at the start, verifier, code used once and for one minute, grant types, expiry. */
#ifndef EMU_OAUTH_H
#define EMU_OAUTH_H
#include "common.h"

struct emu_oauth_conf {
	const char *authorize_path, *token_path, *revoke_path;	/* "/o/oauth2/v2/auth", … */
	const char *client_id, *client_secret;
	const char *access_prefix, *refresh_prefix, *code_prefix;	/* what its tokens look like: "ya29." */
	const char *scope;					/* granted */
	int expires_s;						/* of an access token; switch oauth_ttl_s overrides */
	bool wants_offline;	/* Google: refresh tokens only with access_type=offline. Dropbox: token_access_type=offline */
	bool is_google;
	const char *account_json;				/* members to add to the answer of the token request ("\"account_id\":\"dbid:1\""); NULL */
	const char *service_account, *service_public_key_pem;	/* JWT bearer grant: its issuer and key; NULL: not offered */
};
/* Before emu_serve(). Also makes one pair of tokens that is valid from the start: given (or made up when NULL), for tests that skip the browser. */
void emu_oauth_setup(const struct emu_oauth_conf *, const char *refresh_token, const char *access_token);
/* Switches (besides emu_switches), to be joined to the protocol's own: oauth_ttl_s, oauth_expire_every (every N-th check of a
 * token finds it expired, and that token stays so), oauth_expire_next, oauth_revoke (all refresh tokens die), oauth_deny, oauth_token_error_next (5xx). */
extern struct emu_switch emu_oauth_switches[];

/* Is this request for the authorization server? Then it sets op, and the protocol's hooks call these instead of their own. */
bool emu_oauth_route(struct emu_req *);
void emu_oauth_begin(struct emu_req *);
void emu_oauth_data(struct emu_req *, const void *, size_t);
void emu_oauth_end(struct emu_req *);
void emu_oauth_release(struct emu_req *);

enum emu_token { EMU_TOKEN_OK, EMU_TOKEN_MISSING, EMU_TOKEN_UNKNOWN, EMU_TOKEN_EXPIRED };
/* The Authorization: Bearer of a request to the storage. */
enum emu_token emu_oauth_check(const struct emu_req *);
/* The same token dies, with the refresh token it came from and all others made of that one (Dropbox's auth/token/revoke). */
void emu_oauth_revoke(const struct emu_req *);

#endif
