/* SPDX-License-Identifier: Apache-2.0 */
/* Signature Version 4 from the server's side: recomputes what the client must have signed, from the request as it came.
 * Shares no line with weir's signer. */
#include "config.h"
#include "s3.h"
#include "util/text.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define AUTH_ALGORITHM "AWS4-HMAC-SHA256"
#define AUTH_SKEW_MAX (15 * 60)
#define AUTH_EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* What the client claims, from the header or from the query. */
struct auth_claim {
	char *key_id, *scope, *signed_headers, *signature;
	char stamp[17];
	const char *payload;
	bool is_presigned;
	int64_t expires;
};

void
s3_uri_encode(struct weir_buf *out, const char *s, bool keep_slash)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || strchr("-._~", c) || (c == '/' && keep_slash))
			weir_buf_addc(out, (char)c);
		else
			weir_buf_addf(out, "%%%02X", c);
	}
}

static void
auth_hmac(const void *key, size_t key_len, const char *text, unsigned char out[32])
{
	unsigned len = 32;

	HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)text, strlen(text), out, &len);
}

static void
auth_sha256_hex(const char *text, char out[65])
{
	unsigned char sum[32];

	EVP_Digest(text, strlen(text), sum, NULL, EVP_sha256(), NULL);
	weir_hex(sum, sizeof(sum), out);
}

/* YYYYMMDDTHHMMSSZ; -1 when it is not one. */
static int64_t
auth_stamp(const char *s)
{
	struct tm tm = { 0 };

	if (strlen(s) != 16 || sscanf(s, "%4d%2d%2dT%2d%2d%2dZ", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
		return -1;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	return timegm(&tm);
}

/* ---- canonical request ---- */

struct auth_param {
	char *name, *value;
};

static int
auth_param_order(const void *a, const void *b)
{
	const struct auth_param *x = a, *y = b;
	int r = strcmp(x->name, y->name);

	return r ? r : strcmp(x->value, y->value);
}

static char *
auth_encoded(const char *s)
{
	struct weir_buf b = WEIR_BUF(64u << 10);

	s3_uri_encode(&b, s, false);
	return weir_buf_take(&b);
}

static void
auth_add_query(struct weir_buf *out, const struct emu_pairs *query, bool is_presigned)
{
	struct auth_param *v = weir_xcalloc(query->n + 1, sizeof(*v));
	size_t n = 0;

	for (size_t i = 0; i < query->n; i++) {
		if (is_presigned && !strcmp(query->v[i].name, "X-Amz-Signature"))
			continue;
		v[n].name = auth_encoded(query->v[i].name);
		v[n++].value = auth_encoded(query->v[i].value);
	}
	qsort(v, n, sizeof(*v), auth_param_order);
	for (size_t i = 0; i < n; i++) {
		weir_buf_addf(out, "%s%s=%s", i ? "&" : "", v[i].name, v[i].value);
		free(v[i].name);
		free(v[i].value);
	}
	free(v);
	weir_buf_addc(out, '\n');
}

/* Trimmed, inner runs of spaces as one. */
static void
auth_add_trimmed(struct weir_buf *out, const char *v)
{
	size_t n = strlen(v);

	while (n && (v[n - 1] == ' ' || v[n - 1] == '\t'))
		n--;
	for (size_t i = strspn(v, " \t"); i < n; i++)
		if (v[i] != ' ' || v[i - 1] != ' ')
			weir_buf_addc(out, v[i]);
}

static bool
auth_add_header(struct weir_buf *out, const struct emu_req *req, const char *name)
{
	bool found = false;

	weir_buf_addf(out, "%s:", name);
	for (size_t i = 0; i < req->head.n; i++) {
		if (strcasecmp(req->head.v[i].name, name))
			continue;
		if (found)
			weir_buf_addc(out, ',');
		auth_add_trimmed(out, req->head.v[i].value);
		found = true;
	}
	weir_buf_addc(out, '\n');
	return found;
}

static bool
auth_is_signed(const char *list, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = list; *p; p += strcspn(p, ";"), p += *p == ';')
		if (strcspn(p, ";") == n && !strncasecmp(p, name, n))
			return true;
	return false;
}

static char *
auth_canonical(const struct emu_req *req, const struct auth_claim *claim)
{
	struct weir_buf out = WEIR_BUF(1u << 20);
	char *path = emu_decode(req->path, strlen(req->path), false), *list = weir_xstrdup(claim->signed_headers), *save = NULL;

	weir_buf_addf(&out, "%s\n", req->method);
	s3_uri_encode(&out, path && *path ? path : "/", true);
	weir_buf_addc(&out, '\n');
	auth_add_query(&out, &req->query, claim->is_presigned);
	for (char *name = strtok_r(list, ";", &save); name; name = strtok_r(NULL, ";", &save))
		auth_add_header(&out, req, name);
	weir_buf_addf(&out, "\n%s\n%s", claim->signed_headers, claim->payload);
	free(path);
	free(list);
	return weir_buf_take(&out);
}

/* ---- the claim ---- */

/* "Name=VALUE" out of the Authorization header; owned, or NULL. */
static char *
auth_field(const char *h, const char *name)
{
	const char *p = strstr(h, name);
	size_t n = strlen(name);

	if (!p || p[n] != '=')
		return NULL;
	p += n + 1;
	return weir_xstrndup(p, strcspn(p, ", "));
}

static void
auth_claim_free(struct auth_claim *c)
{
	free(c->key_id);
	free(c->scope);
	free(c->signed_headers);
	free(c->signature);
}

/* "AK/DATE/REGION/s3/aws4_request" -> key id and scope. */
static bool
auth_split_credential(struct auth_claim *c, const char *credential)
{
	const char *end = credential + strlen(credential), *p = end;

	for (int slashes = 0; p > credential; p--)
		if (p[-1] == '/' && ++slashes == 4)
			break;
	if (p == credential)
		return false;
	c->key_id = weir_xstrndup(credential, (size_t)(p - 1 - credential));
	c->scope = weir_xstrdup(p);
	return true;
}

static bool
auth_from_header(struct emu_req *req, const char *h, struct auth_claim *c)
{
	WEIR_AUTO(weir_freep) char *credential = auth_field(h, "Credential");
	const char *date = emu_header(req, "x-amz-date");
	int64_t t;

	c->signed_headers = auth_field(h, "SignedHeaders");
	c->signature = auth_field(h, "Signature");
	c->payload = emu_header(req, "x-amz-content-sha256");
	if (!credential || !c->signed_headers || !c->signature || !auth_split_credential(c, credential)) {
		s3_error(req, 400, "AuthorizationHeaderMalformed", "The authorization header is malformed");
		return false;
	}
	if (!c->payload) {
		s3_error(req, 400, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256");
		return false;
	}
	if (!date && (date = emu_header(req, "Date")) && (t = weir_date_parse(date)) != INT64_MIN) {
		time_t s = (time_t)(t / 1000000000);
		struct tm tm;

		gmtime_r(&s, &tm);
		strftime(c->stamp, sizeof(c->stamp), "%Y%m%dT%H%M%SZ", &tm);
		return true;
	}
	if (!date || auth_stamp(date) < 0) {
		s3_error(req, 403, "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header");
		return false;
	}
	snprintf(c->stamp, sizeof(c->stamp), "%s", date);
	return true;
}

static bool
auth_from_query(struct emu_req *req, struct auth_claim *c)
{
	const char *credential = emu_query(req, "X-Amz-Credential"), *date = emu_query(req, "X-Amz-Date");
	const char *expires = emu_query(req, "X-Amz-Expires"), *list = emu_query(req, "X-Amz-SignedHeaders");
	const char *signature = emu_query(req, "X-Amz-Signature");

	c->is_presigned = true;
	c->payload = emu_header(req, "x-amz-content-sha256");
	if (!c->payload)
		c->payload = "UNSIGNED-PAYLOAD";
	if (!credential || !date || auth_stamp(date) < 0 || !expires || !list || !signature || !auth_split_credential(c, credential)) {
		s3_error(req, 400, "AuthorizationQueryParametersError", "A query parameter of the signature is missing or malformed");
		return false;
	}
	c->expires = strtoll(expires, NULL, 10);
	if (c->expires < 1 || c->expires > 604800) {
		s3_error(req, 400, "AuthorizationQueryParametersError", "X-Amz-Expires must be between 1 and 604800 seconds");
		return false;
	}
	snprintf(c->stamp, sizeof(c->stamp), "%s", date);
	c->signed_headers = weir_xstrdup(list);
	c->signature = weir_xstrdup(signature);
	return true;
}

/* ---- checks ---- */

static bool
auth_time_ok(struct emu_req *req, const struct auth_claim *c)
{
	int64_t t = auth_stamp(c->stamp), now = emu_wall_s();

	if (c->is_presigned) {
		if (now <= t + c->expires && now >= t - AUTH_SKEW_MAX)
			return true;
		s3_error(req, 403, "AccessDenied", now < t ? "Request is not valid yet" : "Request has expired");
		return false;
	}
	if (now - t <= AUTH_SKEW_MAX && t - now <= AUTH_SKEW_MAX)
		return true;
	s3_error(req, 403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.");
	return false;
}

static bool
auth_scope_ok(struct emu_req *req, const struct auth_claim *c)
{
	WEIR_AUTO(weir_freep) char *want = weir_xasprintf("%.8s/%s/s3/aws4_request", c->stamp, s3_conf.region);
	WEIR_AUTO(weir_freep) char *msg = NULL;

	if (!strcmp(want, c->scope))
		return true;
	emu_out_replace(req, "x-amz-bucket-region", s3_conf.region);
	if (s3_on(S3_REDIRECT)) {
		s3_error(req, 301, "PermanentRedirect", "The bucket you are attempting to access must be addressed using the specified endpoint.");
		return false;
	}
	msg = weir_xasprintf("The authorization header is malformed; the scope '%s' is wrong; expecting '%s'", c->scope, want);
	s3_error(req, 400, "AuthorizationHeaderMalformed", msg);
	return false;
}

static bool
auth_token_ok(struct emu_req *req, const struct auth_claim *c)
{
	const char *token = emu_header(req, "x-amz-security-token");

	if (c->is_presigned && !token)
		token = emu_query(req, "X-Amz-Security-Token");
	if (s3_on(S3_EXPIRED) || emu_take(&s3_switches[S3_EXPIRED_NEXT])) {
		s3_error(req, 400, "ExpiredToken", "The provided token has expired.");
		return false;
	}
	if (!s3_conf.session_token || (token && !strcmp(token, s3_conf.session_token)))
		return true;
	s3_error(req, 400, "InvalidToken", "The provided token is malformed or otherwise invalid.");
	return false;
}

/* host and every x-amz-* must be under the signature. */
static bool
auth_headers_ok(struct emu_req *req, const struct auth_claim *c)
{
	bool ok = auth_is_signed(c->signed_headers, "host");

	for (size_t i = 0; i < req->head.n && ok; i++)
		if (!strncasecmp(req->head.v[i].name, "x-amz-", 6) && !(c->is_presigned && !strcasecmp(req->head.v[i].name, "x-amz-content-sha256")))
			ok = auth_is_signed(c->signed_headers, req->head.v[i].name);
	if (!ok)
		s3_error(req, 403, "AccessDenied", "There were headers present in the request which were not signed");
	return ok;
}

static void
auth_refuse(struct emu_req *req, const char *to_sign, const char *canonical)
{
	struct weir_buf b = WEIR_BUF(1u << 20);

	weir_buf_adds(&b, S3_XML "<Error><Code>SignatureDoesNotMatch</Code><Message>The request signature we calculated does not match the "
	    "signature you provided. Check your key and signing method.</Message><StringToSign>");
	emu_xml_text_add(&b, to_sign);
	weir_buf_adds(&b, "</StringToSign><CanonicalRequest>");
	emu_xml_text_add(&b, canonical);
	weir_buf_adds(&b, "</CanonicalRequest></Error>");
	emu_reply_text(req, 403, "application/xml", weir_buf_str(&b));
	weir_buf_free(&b);
}

static void
auth_signing_key(struct s3_req *s)
{
	WEIR_AUTO(weir_freep) char *first = weir_xasprintf("AWS4%s", s3_conf.secret_key);
	char date[9];

	snprintf(date, sizeof(date), "%.8s", s->stamp);
	auth_hmac(first, strlen(first), date, s->sign_key);
	auth_hmac(s->sign_key, 32, s3_conf.region, s->sign_key);
	auth_hmac(s->sign_key, 32, "s3", s->sign_key);
	auth_hmac(s->sign_key, 32, "aws4_request", s->sign_key);
}

static bool
auth_signature_ok(struct emu_req *req, const struct auth_claim *c)
{
	struct s3_req *s = s3_of(req);
	WEIR_AUTO(weir_freep) char *canonical = auth_canonical(req, c), *to_sign = NULL;
	unsigned char mac[32];
	char hash[65], want[65];

	snprintf(s->stamp, sizeof(s->stamp), "%s", c->stamp);
	snprintf(s->scope, sizeof(s->scope), "%s", c->scope);
	auth_signing_key(s);
	auth_sha256_hex(canonical, hash);
	to_sign = weir_xasprintf(AUTH_ALGORITHM "\n%s\n%s\n%s", s->stamp, s->scope, hash);
	auth_hmac(s->sign_key, 32, to_sign, mac);
	weir_hex(mac, sizeof(mac), want);
	snprintf(s->last_sig, sizeof(s->last_sig), "%s", want);
	if (!strcmp(want, c->signature))
		return true;
	auth_refuse(req, to_sign, canonical);
	return false;
}

void
s3_sign_chunk(const struct s3_req *s, const char *algorithm, const char *hash_hex, bool with_empty, char out[65])
{
	WEIR_AUTO(weir_freep) char *text = weir_xasprintf("%s\n%s\n%s\n%s\n%s%s%s", algorithm, s->stamp, s->scope, s->last_sig,
	    with_empty ? AUTH_EMPTY : "", with_empty ? "\n" : "", hash_hex);
	unsigned char mac[32];

	auth_hmac(s->sign_key, 32, text, mac);
	weir_hex(mac, sizeof(mac), out);
}

/* What x-amz-content-sha256 promises about the body. */
static bool
auth_payload(struct emu_req *req, const char *payload)
{
	struct s3_req *s = s3_of(req);
	unsigned char sum[32];

	snprintf(s->payload, sizeof(s->payload), "%s", payload);
	if (!strcmp(payload, "UNSIGNED-PAYLOAD"))
		return true;
	if (!strncmp(payload, "STREAMING-", 10)) {
		s->is_chunked = true;
		s->has_trailer = strstr(payload, "-TRAILER") != NULL;
		s->is_chunk_signed = !strncmp(payload, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", 34);
		if (s->is_chunk_signed || !strcmp(payload, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"))
			return true;
	} else if (strlen(payload) == 64 && !weir_unhex(payload, 64, sum))
		return true;
	s3_error(req, 400, "InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING word or a valid sha256 value.");
	return false;
}

static bool
auth_check(struct emu_req *req, const struct auth_claim *c)
{
	if (strcmp(c->key_id, s3_conf.access_key)) {
		s3_error(req, 403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.");
		return false;
	}
	return auth_scope_ok(req, c) && auth_time_ok(req, c) && auth_headers_ok(req, c) && auth_signature_ok(req, c) &&
	       auth_token_ok(req, c) && auth_payload(req, c->payload);
}

static bool
auth_anonymous(struct emu_req *req)
{
	if (s3_on(S3_ANONYMOUS) && *s3_of(req)->bucket && (emu_is(req, "GET") || emu_is(req, "HEAD"))) {
		s3_of(req)->is_anonymous = true;
		return true;
	}
	s3_error(req, 403, "AccessDenied", "Access Denied");
	return false;
}

bool
s3_auth(struct emu_req *req)
{
	const char *h = emu_header(req, "Authorization");
	struct auth_claim claim = { 0 };
	bool ok = false, in_query = emu_query(req, "X-Amz-Signature") != NULL;

	if (h && in_query)
		s3_error(req, 400, "InvalidArgument", "Only one auth mechanism allowed");
	else if ((h && strncmp(h, AUTH_ALGORITHM " ", sizeof(AUTH_ALGORITHM))) || emu_query(req, "Signature"))
		s3_error(req, 400, "InvalidRequest",
		    "The authorization mechanism you have provided is not supported. Please use " AUTH_ALGORITHM ".");
	else if (!h && !in_query)
		ok = auth_anonymous(req);
	else
		ok = (h ? auth_from_header(req, h, &claim) : auth_from_query(req, &claim)) && auth_check(req, &claim);
	auth_claim_free(&claim);
	return ok;
}
