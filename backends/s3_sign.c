/* SPDX-License-Identifier: Apache-2.0 */
/* AWS Signature Version 4. libcurl has one of its own, but 7.88 canonicalises queries and paths in ways S3 does not.
 * The trap is that signer and wire must use the same strings: the caller encodes once and gives both the result. */
#include "config.h"

#include "s3_sign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../src/util/text.h"
#include "../src/util/util.h"

#define SIGN_MAX (256u << 10)	/* of a canonical request: headers of a few kB and a key of 3 kB at most */

void
weir_s3_creds_free(struct weir_s3_creds *c)
{
	weir_secret_free(c->access_key);
	weir_secret_free(c->secret_key);
	weir_secret_free(c->session_token);
	*c = (struct weir_s3_creds){ 0 };
}

void
weir_s3_creds_copy(struct weir_s3_creds *to, const struct weir_s3_creds *from)
{
	to->access_key = weir_xstrdup(from->access_key);
	to->secret_key = weir_xstrdup(from->secret_key);
	to->session_token = weir_xstrdup(from->session_token);
}

void
weir_s3_date(time_t when, char out[17])
{
	struct tm tm;

	if (gmtime_r(&when, &tm) == NULL || strftime(out, 17, "%Y%m%dT%H%M%SZ", &tm) != 16)
		snprintf(out, 17, "19700101T000000Z");
}

struct sign_header { char name[64]; const char *value; };

static int
sign_compare(const void *a, const void *b)
{
	return strcmp(((const struct sign_header *)a)->name, ((const struct sign_header *)b)->name);
}

/* Headers by lower-case name, sorted. Owned. NULL: no memory or a name too long. */
static struct sign_header *
sign_sorted(const struct weir_s3_sign *s)
{
	struct sign_header *h = weir_xcalloc(s->nheaders + 1, sizeof(*h));

	for (size_t i = 0; i < s->nheaders; i++) {
		const char *colon = strchr(s->headers[i], ':');
		size_t n = colon == NULL ? 0 : (size_t)(colon - s->headers[i]);

		if (n == 0 || n >= sizeof(h[i].name)) {
			free(h);
			return NULL;
		}
		for (size_t k = 0; k < n; k++) {
			char c = s->headers[i][k];

			h[i].name[k] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
		}
		h[i].value = colon + 1;
	}
	qsort(h, s->nheaders, sizeof(*h), sign_compare);
	return h;
}

/* Trimmed, inner runs of blanks as one. */
static void
sign_value(struct weir_buf *out, const char *v)
{
	bool is_blank = false;

	v += strspn(v, " \t");
	for (; *v != '\0'; v++) {
		if (*v == ' ' || *v == '\t') {
			is_blank = true;
			continue;
		}
		if (is_blank)
			weir_buf_addc(out, ' ');
		is_blank = false;
		weir_buf_addc(out, *v);
	}
}

/* Both lists of the canonical request; repeated names are joined by a comma. */
static void
sign_headers(const struct sign_header *h, size_t n, struct weir_buf *lines, struct weir_buf *names)
{
	for (size_t i = 0; i < n; i++) {
		if (i > 0 && strcmp(h[i].name, h[i - 1].name) == 0) {
			lines->data[--lines->len] = '\0';	/* the newline of the first */
			weir_buf_addc(lines, ',');
		} else {
			weir_buf_addf(lines, "%s:", h[i].name);
			weir_buf_addf(names, "%s%s", names->len > 0 ? ";" : "", h[i].name);
		}
		sign_value(lines, h[i].value);
		weir_buf_addc(lines, '\n');
	}
}

/* The canonical request, and the list of signed names. */
static int
sign_request(const struct weir_s3_sign *s, struct weir_buf *out, struct weir_buf *names)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf lines = WEIR_BUF(SIGN_MAX);
	struct sign_header *h = sign_sorted(s);

	if (h == NULL)
		return -1;
	sign_headers(h, s->nheaders, &lines, names);
	free(h);
	weir_buf_addf(out, "%s\n%s\n%s\n%s\n%s\n%s", s->method, s->path, s->query, weir_buf_str(&lines), weir_buf_str(names),
	    s->payload_hash);
	return out->is_full || lines.is_full || names->is_full ? -1 : 0;
}

int
weir_s3_canonical(const struct weir_s3_sign *s, struct weir_buf *out)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf names = WEIR_BUF(SIGN_MAX);

	return sign_request(s, out, &names);
}

static void
sign_key(const char *secret, const char *day, const char *region, unsigned char key[WEIR_SHA256_LEN])
{
	char *start = weir_xasprintf("AWS4%s", secret);
	unsigned char a[WEIR_SHA256_LEN], b[WEIR_SHA256_LEN];

	weir_hmac_sha256(start, strlen(start), day, strlen(day), a);
	weir_hmac_sha256(a, sizeof(a), region, strlen(region), b);
	weir_hmac_sha256(b, sizeof(b), "s3", 2, a);
	weir_hmac_sha256(a, sizeof(a), "aws4_request", 12, key);
	weir_secret_free(start);
}

static void
sign_string(const char *canonical, const char *date, const char *scope, const struct weir_s3_sign *s, const char *secret,
    char hex[2 * WEIR_SHA256_LEN + 1])
{
	unsigned char hash[WEIR_SHA256_LEN], key[WEIR_SHA256_LEN];
	char day[9], *text;

	weir_sha256(canonical, strlen(canonical), hash);
	weir_hex(hash, sizeof(hash), hex);
	text = weir_xasprintf("AWS4-HMAC-SHA256\n%s\n%s\n%s", date, scope, hex);
	snprintf(day, sizeof(day), "%.8s", date);
	sign_key(secret, day, s->region, key);
	weir_hmac_sha256(key, sizeof(key), text, strlen(text), hash);
	weir_hex(hash, sizeof(hash), hex);
	explicit_bzero(key, sizeof(key));
	free(text);
}

int
weir_s3_authorization(const struct weir_s3_sign *s, const struct weir_s3_creds *c, struct weir_buf *out)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf request = WEIR_BUF(SIGN_MAX);
	WEIR_AUTO(weir_buf_free) struct weir_buf names = WEIR_BUF(SIGN_MAX);
	WEIR_AUTO(weir_freep) char *scope = NULL;
	char date[17], hex[2 * WEIR_SHA256_LEN + 1];

	if (sign_request(s, &request, &names) < 0)
		return -1;
	weir_s3_date(s->when, date);
	scope = weir_xasprintf("%.8s/%s/s3/aws4_request", date, s->region);
	sign_string(request.data, date, scope, s, c->secret_key, hex);
	weir_buf_addf(out, "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s", c->access_key, scope, names.data, hex);
	return out->is_full ? -1 : 0;
}

/* By name, then value: "=" ends the name and comes before every byte of a longer one. */
static int
sign_compare_pairs(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;

	while (*x != '\0' && *x == *y)
		x++, y++;
	if (*x == '=' || *y == '=')
		return (*y == '=') - (*x == '=');
	return (unsigned char)*x - (unsigned char)*y;
}

/* "name=value" parts of the query and those of the signature, sorted, joined by "&". */
static void
sign_presign_query(const struct weir_s3_sign *s, const struct weir_s3_creds *c, const char *date, const char *scope, unsigned expires_s,
    struct weir_buf *out)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf all = WEIR_BUF(SIGN_MAX);
	char *parts[64], *end;
	size_t n = 0;

	weir_buf_addf(&all, "%s%sX-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=%s&X-Amz-Expires=%u&X-Amz-SignedHeaders=host&X-Amz-Credential=",
	    s->query, s->query[0] != '\0' ? "&" : "", date, expires_s);
	weir_url_encode(&all, c->access_key, strlen(c->access_key), "");
	weir_buf_adds(&all, "%2F");
	weir_url_encode(&all, scope, strlen(scope), "");
	if (c->session_token != NULL) {
		weir_buf_adds(&all, "&X-Amz-Security-Token=");
		weir_url_encode(&all, c->session_token, strlen(c->session_token), "");
	}
	for (char *p = all.data; p != NULL && n < WEIR_LEN(parts); p = end) {
		parts[n++] = p;
		end = strchr(p, '&');
		if (end != NULL)
			*end++ = '\0';
	}
	qsort(parts, n, sizeof(parts[0]), sign_compare_pairs);
	for (size_t i = 0; i < n; i++)
		weir_buf_addf(out, "%s%s", i > 0 ? "&" : "", parts[i]);
}

int
weir_s3_presign(const struct weir_s3_sign *s, const struct weir_s3_creds *c, unsigned expires_s, struct weir_buf *out)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf query = WEIR_BUF(SIGN_MAX);
	WEIR_AUTO(weir_buf_free) struct weir_buf request = WEIR_BUF(SIGN_MAX);
	WEIR_AUTO(weir_freep) char *scope = NULL;
	struct weir_s3_sign with = *s;
	char date[17], hex[2 * WEIR_SHA256_LEN + 1];

	weir_s3_date(s->when, date);
	scope = weir_xasprintf("%.8s/%s/s3/aws4_request", date, s->region);
	sign_presign_query(s, c, date, scope, expires_s, &query);
	with.query = query.data;
	with.payload_hash = WEIR_S3_UNSIGNED;
	if (query.is_full || weir_s3_canonical(&with, &request) < 0)
		return -1;
	sign_string(request.data, date, scope, s, c->secret_key, hex);
	weir_buf_addf(out, "%s&X-Amz-Signature=%s", query.data, hex);
	return out->is_full ? -1 : 0;
}
