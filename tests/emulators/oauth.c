/* SPDX-License-Identifier: Apache-2.0 */
/* The authorization server beside an emulated storage. Its tokens say themselves, sealed with the program's secret, which sign-in they belong to and how
 * long they live, so they outlast a restart; what was revoked or declared expired is remembered in memory only. All state is under oauth_lock. */
#include "config.h"
#include "oauth.h"
#include "util/text.h"
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

#define OAUTH_CODE_S 60
#define OAUTH_FORM_MAX (64u << 10)
#define OAUTH_JWT "urn:ietf:params:oauth:grant-type:jwt-bearer"

enum { OAUTH_TTL_S, OAUTH_EXPIRE_EVERY, OAUTH_EXPIRE_NEXT, OAUTH_REVOKE, OAUTH_DENY, OAUTH_TOKEN_ERROR_NEXT, OAUTH_SWITCHES };
struct emu_switch emu_oauth_switches[OAUTH_SWITCHES + 1] = {
	[OAUTH_TTL_S] = { "oauth_ttl_s", "seconds an access token lives; 0: as the service says" },
	[OAUTH_EXPIRE_EVERY] = { "oauth_expire_every", "every N-th look at an access token finds it expired" },
	[OAUTH_EXPIRE_NEXT] = { "oauth_expire_next", "the next N looks at an access token find it expired" },
	[OAUTH_REVOKE] = { "oauth_revoke", "1: refresh tokens are dead" },
	[OAUTH_DENY] = { "oauth_deny", "1: the person says no" },
	[OAUTH_TOKEN_ERROR_NEXT] = { "oauth_token_error_next", "503 for the next N requests for a token" },
	[OAUTH_SWITCHES] = { NULL },
};

/* A sign-in: a refresh token (NULL: none was asked for) and what was made of it. */
struct oauth_family {
	uint64_t id;
	char *refresh;
	bool is_public;			/* came with PKCE: refreshed without the secret */
	bool is_dead;
};
struct oauth_access {
	char *text;
	int64_t expires_s;
	size_t family;
};
struct oauth_code {
	char *text, *redirect, *challenge;	/* redirect, challenge: NULL when not given */
	bool is_plain, is_offline, is_used;
	int64_t expires_s;
};
struct oauth_req {
	enum { OAUTH_AUTHORIZE, OAUTH_TOKEN, OAUTH_REVOKE_TOKEN } kind;
	struct weir_buf body;
	struct emu_pairs form;
};

static pthread_mutex_t oauth_lock = PTHREAD_MUTEX_INITIALIZER;
static struct emu_oauth_conf oauth_conf;
static struct oauth_family *oauth_families;
static struct oauth_access *oauth_accesses;
static struct oauth_code *oauth_codes;
static size_t oauth_families_n, oauth_accesses_n, oauth_codes_n;
static uint64_t oauth_looks;

/* ---- tokens ---- */

static char *
oauth_random(const char *prefix)
{
	char hex[65];

	weir_random_hex(hex, 64);
	return weir_xasprintf("%s%s", prefix ? prefix : "", hex);
}

static uint64_t
oauth_new_id(void)
{
	char hex[17];

	weir_random_hex(hex, 16);
	return strtoull(hex, NULL, 16) | 1;	/* 0 is the sign-in given at the start */
}

/* kind: 'a' access, 'r' refresh, 'p' refresh without the secret. Owned. */
static char *
oauth_sealed(const char *prefix, char kind, uint64_t id, int64_t expires_s)
{
	unsigned char sum[WEIR_SHA256_LEN];
	char body[64], random[9], seal[33];

	weir_random_hex(random, 8);
	snprintf(body, sizeof(body), "%c%016llx%016llx%s", kind, (unsigned long long)id, (unsigned long long)expires_s, random);
	weir_hmac_sha256(oauth_conf.client_secret, strlen(oauth_conf.client_secret), body, strlen(body), sum);
	weir_hex(sum, 16, seal);
	return weir_xasprintf("%s%s%s", prefix ? prefix : "", body, seal);
}

/* Is it one of ours, of an earlier run perhaps? */
static bool
oauth_unseal(const char *prefix, const char *text, char *kind, uint64_t *id, int64_t *expires_s)
{
	size_t n = prefix ? strlen(prefix) : 0;
	unsigned char sum[WEIR_SHA256_LEN];
	char seal[33], number[17] = "";

	if (strlen(text) != n + 41 + 32 || (n && strncmp(text, prefix, n)))
		return false;
	text += n;
	weir_hmac_sha256(oauth_conf.client_secret, strlen(oauth_conf.client_secret), text, 41, sum);
	weir_hex(sum, 16, seal);
	if (strcmp(seal, text + 41))
		return false;
	*kind = *text;
	memcpy(number, text + 1, 16);
	*id = strtoull(number, NULL, 16);
	memcpy(number, text + 17, 16);
	*expires_s = (int64_t)strtoull(number, NULL, 16);
	return true;
}

/* Takes the string. */
static size_t
oauth_family_add(uint64_t id, char *refresh, bool is_public)
{
	oauth_families = weir_xrealloc(oauth_families, oauth_families_n + 1, sizeof(*oauth_families));
	oauth_families[oauth_families_n] = (struct oauth_family){ .id = id, .refresh = refresh, .is_public = is_public };
	return oauth_families_n++;
}

static size_t
oauth_family_of(uint64_t id)
{
	for (size_t i = 0; i < oauth_families_n; i++)
		if (oauth_families[i].id == id)
			return i;
	return oauth_family_add(id, NULL, true);
}

static int64_t
oauth_ttl(void)
{
	int64_t ttl = (int64_t)emu_value(&emu_oauth_switches[OAUTH_TTL_S]);

	return ttl > 0 ? ttl : oauth_conf.expires_s;
}

/* Takes the string. */
static struct oauth_access *
oauth_access_add(char *text, size_t family, int64_t expires_s)
{
	struct oauth_access *a;

	oauth_accesses = weir_xrealloc(oauth_accesses, oauth_accesses_n + 1, sizeof(*oauth_accesses));
	a = &oauth_accesses[oauth_accesses_n++];
	*a = (struct oauth_access){ .text = text, .family = family, .expires_s = expires_s };
	return a;
}

static const char *
oauth_access_new(size_t family)
{
	int64_t end = emu_wall_s() + oauth_ttl();

	return oauth_access_add(oauth_sealed(oauth_conf.access_prefix, 'a', oauth_families[family].id, end), family, end)->text;
}

static struct oauth_access *
oauth_access_find(const char *text)
{
	uint64_t id;
	int64_t end;
	char kind;

	for (size_t i = 0; text && i < oauth_accesses_n; i++)
		if (!strcmp(oauth_accesses[i].text, text))
			return &oauth_accesses[i];
	if (!text || !oauth_unseal(oauth_conf.access_prefix, text, &kind, &id, &end) || kind != 'a')
		return NULL;
	return oauth_access_add(weir_xstrdup(text), oauth_family_of(id), end);
}

static struct oauth_family *
oauth_family_find(const char *refresh)
{
	struct oauth_family *f;
	uint64_t id;
	int64_t end;
	char kind;

	for (size_t i = 0; refresh && i < oauth_families_n; i++)
		if (oauth_families[i].refresh && !strcmp(oauth_families[i].refresh, refresh))
			return &oauth_families[i];
	if (!refresh || !oauth_unseal(oauth_conf.refresh_prefix, refresh, &kind, &id, &end) || kind == 'a')
		return NULL;
	f = &oauth_families[oauth_family_of(id)];
	if (f->refresh)
		return NULL;
	f->refresh = weir_xstrdup(refresh);
	f->is_public = kind == 'p';
	return f;
}

static const char *
oauth_bearer(const struct emu_req *req)
{
	const char *h = emu_header(req, "Authorization");

	return h && !strncasecmp(h, "Bearer ", 7) ? h + 7 : NULL;
}

void
emu_oauth_setup(const struct emu_oauth_conf *conf, const char *refresh, const char *access)
{
	oauth_conf = *conf;
	oauth_family_add(0, refresh ? weir_xstrdup(refresh) : oauth_random(conf->refresh_prefix), !conf->is_google);
	oauth_access_add(access ? weir_xstrdup(access) : oauth_random(conf->access_prefix), 0, emu_wall_s() + conf->expires_s);
}

/* An expired token stays expired. */
static bool
oauth_expires_now(void)
{
	int64_t every = (int64_t)emu_value(&emu_oauth_switches[OAUTH_EXPIRE_EVERY]);

	oauth_looks++;
	return emu_take(&emu_oauth_switches[OAUTH_EXPIRE_NEXT]) || (every > 0 && oauth_looks % (uint64_t)every == 0);
}

enum emu_token
emu_oauth_check(const struct emu_req *req)
{
	const char *text = oauth_bearer(req);
	struct oauth_access *a;
	enum emu_token r = EMU_TOKEN_OK;

	if (!text)
		return EMU_TOKEN_MISSING;
	pthread_mutex_lock(&oauth_lock);
	a = oauth_access_find(text);
	if (!a || oauth_families[a->family].is_dead) {
		r = EMU_TOKEN_UNKNOWN;
	} else {
		if (oauth_expires_now())
			a->expires_s = 0;
		if (a->expires_s <= emu_wall_s())
			r = EMU_TOKEN_EXPIRED;
	}
	pthread_mutex_unlock(&oauth_lock);
	return r;
}

void
emu_oauth_revoke(const struct emu_req *req)
{
	const struct oauth_access *a;

	pthread_mutex_lock(&oauth_lock);
	a = oauth_access_find(oauth_bearer(req));
	if (a)
		oauth_families[a->family].is_dead = true;
	pthread_mutex_unlock(&oauth_lock);
}

/* ---- what was sent ---- */

/* A field of the form; Dropbox also takes it from the query. */
static const char *
oauth_field(const struct emu_req *req, const char *name)
{
	const struct oauth_req *r = req->proto;
	const char *v = emu_pairs_get(&r->form, name);

	return v || oauth_conf.is_google ? v : emu_query(req, name);
}

static void
oauth_form(struct oauth_req *r)
{
	for (const char *p = weir_buf_str(&r->body); *p;) {
		size_t n = strcspn(p, "&"), eq = strcspn(p, "=&");
		char *name = emu_decode(p, eq, true), *value = eq < n ? emu_decode(p + eq + 1, n - eq - 1, true) : weir_xstrdup("");

		if (name && value && *name)
			emu_pairs_add(&r->form, name, value);
		free(name);
		free(value);
		p += n + (p[n] == '&');
	}
}

static void
oauth_error(struct emu_req *req, unsigned status, const char *error, const char *why)
{
	json_t *o = json_pack("{s:s s:s}", "error", error, "error_description", why);
	char *text = json_dumps(o, JSON_COMPACT);

	json_decref(o);
	emu_reply_text(req, status, "application/json", text ? text : "{}");
	free(text);
}

/* ---- the browser's part ---- */

/* Programs on one's own computer get the answer on the loopback interface; nothing else is registered here. */
static bool
authorize_redirect_ok(const char *uri)
{
	static const char *const hosts[] = { "http://localhost", "http://127.0.0.1", "http://[::1]" };

	for (size_t i = 0; i < WEIR_LEN(hosts); i++) {
		size_t n = strlen(hosts[i]);

		if (!strncmp(uri, hosts[i], n) && (!uri[n] || uri[n] == ':' || uri[n] == '/'))
			return !strchr(uri, '#');
	}
	return false;
}

/* What is wrong with the request, for a page: it cannot be told to the program. */
static const char *
authorize_refused(const struct emu_req *req)
{
	const char *type = emu_query(req, "response_type"), *client = emu_query(req, "client_id"), *redirect = emu_query(req, "redirect_uri");
	const char *method = emu_query(req, "code_challenge_method"), *challenge = emu_query(req, "code_challenge");

	if (!client || strcmp(client, oauth_conf.client_id))
		return "invalid client_id";
	if (!type || strcmp(type, "code"))
		return "invalid response_type";
	if (redirect ? !authorize_redirect_ok(redirect) : oauth_conf.is_google)
		return "invalid redirect_uri";
	if (oauth_conf.is_google && !emu_query(req, "scope"))
		return "missing scope";
	if (method && strcmp(method, "S256") && strcmp(method, "plain"))
		return "invalid code_challenge_method";
	if (method && (!challenge || strlen(challenge) < 43 || strlen(challenge) > 128))
		return "invalid code_challenge";
	return NULL;
}

static char *
authorize_code(const struct emu_req *req)
{
	const char *method = emu_query(req, "code_challenge_method");
	const char *offline = emu_query(req, oauth_conf.is_google ? "access_type" : "token_access_type");
	struct oauth_code c = { .text = oauth_random(oauth_conf.code_prefix), .redirect = weir_xstrdup(emu_query(req, "redirect_uri")),
		.challenge = weir_xstrdup(emu_query(req, "code_challenge")), .is_plain = !method || !strcmp(method, "plain"),
		.is_offline = !oauth_conf.wants_offline || (offline && !strcmp(offline, "offline")), .expires_s = emu_wall_s() + OAUTH_CODE_S };

	pthread_mutex_lock(&oauth_lock);
	oauth_codes = weir_xrealloc(oauth_codes, oauth_codes_n + 1, sizeof(*oauth_codes));
	oauth_codes[oauth_codes_n++] = c;
	pthread_mutex_unlock(&oauth_lock);
	return weir_xstrdup(c.text);
}

static void
authorize_add(struct weir_buf *b, const char *name, const char *value)
{
	if (!value)
		return;
	weir_buf_addf(b, "%s%s=", strchr(weir_buf_str(b), '?') ? "&" : "?", name);
	weir_url_encode(b, value, strlen(value), "");
}

static void
authorize_end(struct emu_req *req)
{
	const char *redirect = emu_query(req, "redirect_uri"), *wrong = authorize_refused(req);
	bool denied = emu_value(&emu_oauth_switches[OAUTH_DENY]) > 0;
	WEIR_AUTO(weir_freep) char *code = NULL;
	WEIR_AUTO(weir_freep) char *page = NULL;
	struct weir_buf to = WEIR_BUF(64u << 10);

	if (!emu_is(req, "GET") || wrong) {
		emu_reply_text(req, 400, "text/plain; charset=utf-8", wrong ? wrong : "GET is wanted");
		return;
	}
	code = denied ? NULL : authorize_code(req);
	if (!redirect) {
		page = weir_xasprintf("%s\n", denied ? "Access was denied." : code);
		emu_reply_text(req, 200, "text/plain; charset=utf-8", page);
		return;
	}
	weir_buf_adds(&to, redirect);
	authorize_add(&to, "state", emu_query(req, "state"));
	authorize_add(&to, "code", code);
	authorize_add(&to, "scope", code && oauth_conf.is_google ? oauth_conf.scope : NULL);
	authorize_add(&to, "error", denied ? "access_denied" : NULL);
	authorize_add(&to, "error_description", denied && !oauth_conf.is_google ? "The user chose not to give your app access to their account" : NULL);
	emu_out(req, "Location", weir_buf_str(&to));
	weir_buf_free(&to);
	emu_reply(req, 302);
}

/* ---- the token endpoint ---- */

/* Name and password of the program from the Authorization header, into id and secret (owned, maybe NULL). */
static void
token_basic(const struct emu_req *req, char **id, char **secret)
{
	const char *h = emu_header(req, "Authorization");
	unsigned char plain[1024];
	const char *colon;
	ssize_t n;

	if (!h || strncasecmp(h, "Basic ", 6) || (n = weir_unbase64(h + 6, plain, sizeof(plain) - 1)) < 0)
		return;
	plain[n] = 0;
	colon = strchr((char *)plain, ':');
	if (!colon)
		return;
	*id = emu_decode((char *)plain, (size_t)(colon - (char *)plain), true);
	*secret = emu_decode(colon + 1, strlen(colon + 1), true);
}

/* The right program? *has_secret: it proved so. False: replied. */
static bool
token_client(struct emu_req *req, bool *has_secret)
{
	WEIR_AUTO(weir_freep) char *id = NULL;
	WEIR_AUTO(weir_freep) char *secret = NULL;

	token_basic(req, &id, &secret);
	if (!id)
		id = weir_xstrdup(oauth_field(req, "client_id"));
	if (!secret)
		secret = weir_xstrdup(oauth_field(req, "client_secret"));
	if (!id || strcmp(id, oauth_conf.client_id) || (secret && strcmp(secret, oauth_conf.client_secret))) {
		oauth_error(req, id && !oauth_conf.is_google ? 400 : 401, "invalid_client", "The OAuth client was not found.");
		return false;
	}
	*has_secret = secret != NULL;
	if (oauth_conf.is_google && !secret) {
		oauth_error(req, 400, "invalid_request", "client_secret is missing.");
		return false;
	}
	return true;
}

static void
token_reply(struct emu_req *req, const char *access, const char *refresh, bool is_first)
{
	json_t *o = json_pack("{s:s s:I s:s}", "access_token", access, "expires_in", (json_int_t)oauth_ttl(), "token_type",
	    oauth_conf.is_google ? "Bearer" : "bearer");
	char *more = is_first && oauth_conf.account_json ? weir_xasprintf("{%s}", oauth_conf.account_json) : NULL;
	json_t *account = more ? json_loads(more, 0, NULL) : NULL;
	char *text;

	if (refresh)
		json_object_set_new(o, "refresh_token", json_string(refresh));
	if (is_first || oauth_conf.is_google)
		json_object_set_new(o, "scope", json_string(oauth_conf.scope));
	if (account)
		json_object_update(o, account);
	text = json_dumps(o, JSON_COMPACT);
	json_decref(account);
	json_decref(o);
	free(more);
	emu_out(req, "Cache-Control", "no-store");
	emu_reply_text(req, 200, "application/json", text ? text : "{}");
	free(text);
}

static void
base64url(const unsigned char *data, size_t n, char *out)
{
	char *p;

	weir_base64(data, n, out);
	for (p = out; *p && *p != '='; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	*p = 0;
}

static bool
code_verified(const struct oauth_code *c, const char *verifier)
{
	unsigned char sum[WEIR_SHA256_LEN];
	char text[64];

	if (!c->challenge)
		return !verifier;
	if (!verifier || strlen(verifier) < 43 || strlen(verifier) > 128)
		return false;
	if (c->is_plain)
		return !strcmp(verifier, c->challenge);
	weir_sha256(verifier, strlen(verifier), sum);
	base64url(sum, sizeof(sum), text);
	return !strcmp(text, c->challenge);
}

/* Why this code gives no token; NULL: it does. */
static const char *
code_refused(struct emu_req *req, const struct oauth_code *c, bool has_secret)
{
	const char *redirect = oauth_field(req, "redirect_uri");

	if (!c || c->is_used)
		return "code doesn't exist or has been used";
	if (c->expires_s < emu_wall_s())
		return "code has expired";
	if ((redirect == NULL) != (c->redirect == NULL) || (redirect && strcmp(redirect, c->redirect)))
		return "redirect_uri mismatch";
	if (!code_verified(c, oauth_field(req, "code_verifier")))
		return "invalid code verifier";
	return c->challenge || has_secret ? NULL : "client_secret is missing";
}

static void
token_by_code(struct emu_req *req, bool has_secret)
{
	const char *text = oauth_field(req, "code"), *wrong;
	struct oauth_code *c = NULL;
	size_t family;

	for (size_t i = 0; text && i < oauth_codes_n; i++)
		if (!strcmp(oauth_codes[i].text, text))
			c = &oauth_codes[i];
	wrong = code_refused(req, c, has_secret);
	if (wrong) {
		oauth_error(req, 400, "invalid_grant", wrong);
		return;
	}
	c->is_used = true;
	family = oauth_family_add(oauth_new_id(), NULL, c->challenge != NULL);
	if (c->is_offline)
		oauth_families[family].refresh = oauth_sealed(oauth_conf.refresh_prefix, c->challenge ? 'p' : 'r', oauth_families[family].id, 0);
	token_reply(req, oauth_access_new(family), oauth_families[family].refresh, true);
}

static void
token_by_refresh(struct emu_req *req, bool has_secret)
{
	const struct oauth_family *f = oauth_family_find(oauth_field(req, "refresh_token"));

	if (!f || f->is_dead || emu_value(&emu_oauth_switches[OAUTH_REVOKE]) > 0)
		oauth_error(req, 400, "invalid_grant", oauth_conf.is_google ? "Token has been expired or revoked." : "refresh token is invalid or revoked");
	else if (!f->is_public && !has_secret)
		oauth_error(req, 400, "invalid_request", "client_secret is missing");
	else
		token_reply(req, oauth_access_new((size_t)(f - oauth_families)), NULL, false);
}

/* ---- service accounts ---- */

/* Base64url, no padding. Owned, terminated; NULL: it is not. */
static unsigned char *
jwt_decode(const char *s, size_t len, size_t *n)
{
	size_t padded = (len + 3) / 4 * 4;
	char *b64 = weir_xcalloc(1, padded + 1);
	unsigned char *out = weir_xcalloc(1, padded + 1);
	ssize_t r;

	memset(b64, '=', padded);
	for (size_t i = 0; i < len; i++)
		b64[i] = s[i] == '-' ? '+' : s[i] == '_' ? '/' : s[i];
	r = weir_unbase64(b64, out, padded);
	free(b64);
	if (r < 0) {
		free(out);
		return NULL;
	}
	*n = (size_t)r;
	out[r] = 0;
	return out;
}

static bool
jwt_signed(const char *text, size_t len, const char *signature)
{
	BIO *bio = BIO_new_mem_buf(oauth_conf.service_public_key_pem, -1);
	EVP_PKEY *key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t n = 0;
	WEIR_AUTO(weir_freep) unsigned char *sig = jwt_decode(signature, strlen(signature), &n);
	bool ok = key && ctx && sig && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
	    EVP_DigestVerify(ctx, sig, n, (const unsigned char *)text, len) == 1;

	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	BIO_free(bio);
	return ok;
}

/* Why these claims give no token; NULL: they do. */
static const char *
jwt_claims_refused(const json_t *o)
{
	const char *iss = json_string_value(json_object_get(o, "iss")), *aud = json_string_value(json_object_get(o, "aud"));
	int64_t iat = json_integer_value(json_object_get(o, "iat")), end = json_integer_value(json_object_get(o, "exp")), now = emu_wall_s();
	size_t n = aud ? strlen(aud) : 0, path = strlen(oauth_conf.token_path);

	if (!iss || strcmp(iss, oauth_conf.service_account))
		return "Invalid issuer";
	if (n < path || strcmp(aud + n - path, oauth_conf.token_path))
		return "Invalid JWT: audience";
	if (end <= now || iat > now + 300 || end > iat + 3600)
		return "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.";
	return json_string_value(json_object_get(o, "scope")) ? NULL : "Missing scope";
}

static const char *
jwt_refused(const char *jwt)
{
	const char *dot = jwt ? strchr(jwt, '.') : NULL, *second = dot ? strchr(dot + 1, '.') : NULL, *wrong;
	WEIR_AUTO(weir_freep) unsigned char *head = NULL;
	WEIR_AUTO(weir_freep) unsigned char *claims = NULL;
	json_t *h, *c;
	const char *alg;
	size_t n, m;

	if (!second)
		return "Invalid assertion";
	head = jwt_decode(jwt, (size_t)(dot - jwt), &n);
	claims = jwt_decode(dot + 1, (size_t)(second - dot - 1), &m);
	h = head ? json_loadb((char *)head, n, 0, NULL) : NULL;
	c = claims ? json_loadb((char *)claims, m, 0, NULL) : NULL;
	alg = json_string_value(json_object_get(h, "alg"));
	if (!c || !alg || strcmp(alg, "RS256") || !jwt_signed(jwt, (size_t)(second - jwt), second + 1))
		wrong = "Invalid JWT Signature.";
	else
		wrong = jwt_claims_refused(c);
	json_decref(h);
	json_decref(c);
	return wrong;
}

static void
token_by_jwt(struct emu_req *req)
{
	const char *wrong = oauth_conf.service_account ? jwt_refused(oauth_field(req, "assertion")) : "no service accounts here";

	if (wrong)
		oauth_error(req, 400, "invalid_grant", wrong);
	else
		token_reply(req, oauth_access_new(oauth_family_add(oauth_new_id(), NULL, true)), NULL, false);
}

static void
token_end(struct emu_req *req)
{
	const char *grant = oauth_field(req, "grant_type");
	bool has_secret = false;

	if (!emu_is(req, "POST")) {
		oauth_error(req, 405, "invalid_request", "POST is wanted");
	} else if (emu_take(&emu_oauth_switches[OAUTH_TOKEN_ERROR_NEXT])) {
		emu_reply_text(req, 503, "text/plain", "Service unavailable");
	} else if (grant && !strcmp(grant, OAUTH_JWT) && oauth_conf.is_google) {
		token_by_jwt(req);
	} else if (!grant || (strcmp(grant, "authorization_code") && strcmp(grant, "refresh_token"))) {
		oauth_error(req, 400, "unsupported_grant_type", grant ? grant : "grant_type is missing");
	} else if (token_client(req, &has_secret)) {
		if (!strcmp(grant, "refresh_token"))
			token_by_refresh(req, has_secret);
		else
			token_by_code(req, has_secret);
	}
}

/* Either kind of token ends the whole sign-in. */
static void
revoke_end(struct emu_req *req)
{
	const char *text = oauth_field(req, "token");
	const struct oauth_access *a;
	struct oauth_family *f;

	if (!text)
		text = emu_query(req, "token");
	a = oauth_access_find(text);
	f = a ? &oauth_families[a->family] : oauth_family_find(text);
	if (!f || f->is_dead) {
		oauth_error(req, 400, "invalid_token", "Token expired or revoked");
		return;
	}
	f->is_dead = true;
	emu_reply_text(req, 200, "application/json", "{}");
}

/* ---- the hooks ---- */

bool
emu_oauth_route(struct emu_req *req)
{
	struct oauth_req *r;
	int kind;

	if (oauth_conf.authorize_path && !strcmp(req->path, oauth_conf.authorize_path))
		kind = OAUTH_AUTHORIZE;
	else if (oauth_conf.token_path && !strcmp(req->path, oauth_conf.token_path))
		kind = OAUTH_TOKEN;
	else if (oauth_conf.revoke_path && !strcmp(req->path, oauth_conf.revoke_path))
		kind = OAUTH_REVOKE_TOKEN;
	else
		return false;
	r = weir_xcalloc(1, sizeof(*r));
	r->kind = kind == OAUTH_AUTHORIZE ? OAUTH_AUTHORIZE : kind == OAUTH_TOKEN ? OAUTH_TOKEN : OAUTH_REVOKE_TOKEN;
	r->body = (struct weir_buf)WEIR_BUF(OAUTH_FORM_MAX);
	req->proto = r;
	snprintf(req->op, sizeof(req->op), "oauth %s", kind == OAUTH_AUTHORIZE ? "authorize" : kind == OAUTH_TOKEN ? "token" : "revoke");
	return true;
}

void
emu_oauth_begin(struct emu_req *req)
{
	const char *type = emu_header(req, "Content-Type");

	if (!req->proto)
		emu_reply_text(req, 404, "text/plain", "There is nothing at this address");
	else if (req->has_body && (!type || strncasecmp(type, "application/x-www-form-urlencoded", 33)))
		oauth_error(req, 400, "invalid_request", "application/x-www-form-urlencoded is wanted");
}

void
emu_oauth_data(struct emu_req *req, const void *data, size_t len)
{
	struct oauth_req *r = req->proto;

	if (weir_buf_add(&r->body, data, len))
		oauth_error(req, 413, "invalid_request", "too long");
}

void
emu_oauth_end(struct emu_req *req)
{
	struct oauth_req *r = req->proto;

	oauth_form(r);
	if (r->kind == OAUTH_AUTHORIZE) {
		authorize_end(req);
		return;
	}
	pthread_mutex_lock(&oauth_lock);
	if (r->kind == OAUTH_TOKEN)
		token_end(req);
	else
		revoke_end(req);
	pthread_mutex_unlock(&oauth_lock);
}

void
emu_oauth_release(struct emu_req *req)
{
	struct oauth_req *r = req->proto;

	if (!r)
		return;
	weir_buf_free(&r->body);
	emu_pairs_free(&r->form);
	free(r);
}
