/* SPDX-License-Identifier: Apache-2.0 */
/* Encodings, hashes, sizes, dates, paths: pure functions. No locale: what strptime and strtod do depends on it. */
#include "config.h"

#include "text.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

static bool
text_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
text_is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int
text_nibble(char c)
{
	if (text_is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int
weir_url_encode(struct weir_buf *b, const char *s, size_t len, const char *keep)
{
	for (size_t i = 0; i < len; i++) {
		char c = s[i];
		int r;

		if (text_is_digit(c) || text_is_alpha(c) || (c != '\0' && (strchr("-._~", c) != NULL || strchr(keep, c) != NULL)))
			r = weir_buf_addc(b, c);
		else
			r = weir_buf_addf(b, "%%%02X", (unsigned char)c);
		if (r < 0)
			return -1;
	}
	return 0;
}

size_t
weir_url_decode(char *s, bool plus_is_space)
{
	char *out = s;

	for (const char *p = s; *p != '\0'; p++) {
		if (*p == '%' && text_nibble(p[1]) >= 0 && text_nibble(p[2]) >= 0 && (p[1] != '0' || p[2] != '0')) {
			*out++ = (char)(text_nibble(p[1]) << 4 | text_nibble(p[2]));
			p += 2;
		} else {
			*out++ = (char)(*p == '+' && plus_is_space ? ' ' : *p);
		}
	}
	*out = '\0';
	return (size_t)(out - s);
}

int
weir_xml_escape(struct weir_buf *b, const char *s)
{
	for (; *s != '\0'; s++) {
		const char *as = *s == '&' ? "&amp;" : *s == '<' ? "&lt;" : *s == '>' ? "&gt;" :
		    *s == '"' ? "&quot;" : *s == '\'' ? "&apos;" : NULL;

		if ((as != NULL ? weir_buf_adds(b, as) : weir_buf_addc(b, *s)) < 0)
			return -1;
	}
	return 0;
}

/* --- hashes --- */

struct weir_digest {
	EVP_MD_CTX *ctx;
};

struct weir_digest *
weir_digest_new(const char *kind)
{
	const EVP_MD *md = strcmp(kind, "md5") == 0 ? EVP_md5() : strcmp(kind, "sha1") == 0 ? EVP_sha1() :
	    strcmp(kind, "sha256") == 0 ? EVP_sha256() : NULL;
	struct weir_digest *d;

	if (md == NULL)
		return NULL;
	d = weir_xcalloc(1, sizeof(*d));
	d->ctx = EVP_MD_CTX_new();
	if (d->ctx == NULL || EVP_DigestInit_ex(d->ctx, md, NULL) != 1) {	/* md5 where only FIPS algorithms are allowed */
		weir_digest_free(d);
		return NULL;
	}
	return d;
}

void
weir_digest_add(struct weir_digest *d, const void *data, size_t len)
{
	EVP_DigestUpdate(d->ctx, data, len);
}

size_t
weir_digest_end(struct weir_digest *d, unsigned char out[64])
{
	unsigned int n = 0;

	EVP_DigestFinal_ex(d->ctx, out, &n);
	weir_digest_free(d);
	return n;
}

void
weir_digest_free(struct weir_digest *d)
{
	if (d == NULL)
		return;
	EVP_MD_CTX_free(d->ctx);
	free(d);
}

/* A machine that forbids MD5 has no digest to give: zeroes match nothing, and the storage will say so. */
static void
text_hash(const EVP_MD *md, const void *data, size_t len, unsigned char *out, size_t n)
{
	if (EVP_Digest(data, len, out, NULL, md, NULL) != 1)
		memset(out, 0, n);
}

void
weir_sha256(const void *data, size_t len, unsigned char out[WEIR_SHA256_LEN])
{
	text_hash(EVP_sha256(), data, len, out, WEIR_SHA256_LEN);
}

void
weir_md5(const void *data, size_t len, unsigned char out[WEIR_MD5_LEN])
{
	text_hash(EVP_md5(), data, len, out, WEIR_MD5_LEN);
}

void
weir_hmac_sha256(const void *key, size_t keylen, const void *data, size_t len, unsigned char out[WEIR_SHA256_LEN])
{
	/* HMAC() takes an empty key only when the pointer is not NULL. */
	if (HMAC(EVP_sha256(), keylen > 0 ? key : "", (int)keylen, data, len, out, NULL) == NULL)
		memset(out, 0, WEIR_SHA256_LEN);
}

void
weir_hex(const unsigned char *in, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[in[i] >> 4];
		out[2 * i + 1] = digits[in[i] & 15];
	}
	out[2 * n] = '\0';
}

int
weir_unhex(const char *hex, size_t n, unsigned char *out)
{
	if (n % 2 != 0)
		return -1;
	for (size_t i = 0; i < n; i += 2) {
		int hi = text_nibble(hex[i]);
		int lo = hi < 0 ? -1 : text_nibble(hex[i + 1]);

		if (lo < 0)
			return -1;
		out[i / 2] = (unsigned char)(hi << 4 | lo);
	}
	return 0;
}

static const char text_b64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t
weir_base64_len(size_t n)
{
	return (n + 2) / 3 * 4 + 1;
}

void
weir_base64(const void *data, size_t n, char *out)
{
	const unsigned char *in = data;

	for (size_t i = 0; i < n; i += 3) {
		size_t have = n - i;
		unsigned v = (unsigned)in[i] << 16 | (have > 1 ? (unsigned)in[i + 1] << 8 : 0) | (have > 2 ? in[i + 2] : 0);

		*out++ = text_b64[v >> 18];
		*out++ = text_b64[v >> 12 & 63];
		*out++ = have > 1 ? text_b64[v >> 6 & 63] : '=';
		*out++ = have > 2 ? text_b64[v & 63] : '=';
	}
	*out = '\0';
}

char *
weir_base64url(const void *data, size_t n)
{
	char *out = weir_xcalloc(weir_base64_len(n), 1), *p;

	weir_base64(data, n, out);
	for (p = out; *p != '\0' && *p != '='; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	*p = '\0';
	return out;
}

/* Standard or URL-safe alphabet, padded or not; no blanks. */
ssize_t
weir_unbase64(const char *in, unsigned char *out, size_t max)
{
	size_t len = strlen(in), n = 0;
	unsigned v = 0, bits = 0;

	while (len > 0 && in[len - 1] == '=' && strlen(in) - len < 2)
		len--;
	if (len % 4 == 1)
		return -1;
	for (size_t i = 0; i < len; i++) {
		char c = (char)(in[i] == '-' ? '+' : in[i] == '_' ? '/' : in[i]);
		const char *at = c != '\0' ? strchr(text_b64, c) : NULL;

		if (at == NULL)
			return -1;
		v = v << 6 | (unsigned)(at - text_b64);
		bits += 6;
		if (bits < 8)
			continue;
		bits -= 8;
		if (n == max)
			return -1;
		out[n++] = (unsigned char)(v >> bits);
		v &= (1u << bits) - 1;
	}
	return (ssize_t)n;
}

/* --- numbers with units --- */

/* "1.5 MB" -> 1.5 as whole * 10^9, and the unit. Returns -1 on anything but digits, a point and digits. */
static int
text_number(const char *s, unsigned __int128 *nano, const char **unit)
{
	unsigned __int128 v = 0;
	int digits = 0, decimals = 0;

	while (*s == ' ' || *s == '\t')
		s++;
	for (; text_is_digit(*s); s++, digits++) {
		v = v * 10 + (unsigned)(*s - '0');
		if (v > UINT64_MAX)
			return -1;
	}
	if (digits == 0)
		return -1;
	if (*s == '.') {
		for (s++; text_is_digit(*s) && decimals < 9; s++, decimals++)
			v = v * 10 + (unsigned)(*s - '0');
		if (decimals == 0)
			return -1;
		while (text_is_digit(*s))
			s++;
	}
	for (; decimals < 9; decimals++)
		v *= 10;
	while (*s == ' ' || *s == '\t')
		s++;
	*nano = v;
	*unit = s;
	return 0;
}

static int
text_scale(unsigned __int128 nano, uint64_t unit, uint64_t *out)
{
	unsigned __int128 v;

	if (nano > ((unsigned __int128)-1) / unit)
		return -1;
	v = nano * unit / 1000000000u;
	if (v > UINT64_MAX)
		return -1;
	*out = (uint64_t)v;
	return 0;
}

int
weir_size_parse(const char *s, uint64_t *bytes)
{
	static const struct {
		const char *name;
		uint64_t size;
	} units[] = {
	    {"", 1}, {"B", 1},
	    {"kB", 1000}, {"MB", 1000000}, {"GB", 1000000000}, {"TB", 1000000000000}, {"PB", 1000000000000000},
	    {"KiB", 1ull << 10}, {"MiB", 1ull << 20}, {"GiB", 1ull << 30}, {"TiB", 1ull << 40}, {"PiB", 1ull << 50},
	};
	unsigned __int128 nano;
	const char *unit;

	if (text_number(s, &nano, &unit) < 0)
		return -1;
	for (size_t i = 0; i < WEIR_LEN(units); i++) {
		if (strcasecmp(unit, units[i].name) == 0)
			return text_scale(nano, units[i].size, bytes);
	}
	return -1;
}

char *
weir_size_text(uint64_t bytes, char out[16])
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
	uint64_t unit = 1;
	size_t i = 0;

	if (bytes < 1000) {
		snprintf(out, 16, "%u B", (unsigned)bytes);
		return out;
	}
	/* The next unit also when rounding would print 1000.00 of this one. */
	while (i + 1 < WEIR_LEN(units) && bytes / unit >= 1000)
		unit *= 1000, i++;
	if (i + 1 < WEIR_LEN(units) && (double)bytes / (double)unit >= 999.995)
		unit *= 1000, i++;
	snprintf(out, 16, "%.2f %s", (double)bytes / (double)unit, units[i]);
	return out;
}

int
weir_duration_parse(const char *s, int64_t *ms)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {
	    {"", 1000}, {"ms", 1}, {"s", 1000}, {"sec", 1000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000},
	};
	unsigned __int128 nano;
	const char *unit;
	uint64_t v;

	if (text_number(s, &nano, &unit) < 0)
		return -1;
	for (size_t i = 0; i < WEIR_LEN(units); i++) {
		if (strcmp(unit, units[i].name) != 0)
			continue;
		if (text_scale(nano, units[i].ms, &v) < 0 || v > INT64_MAX)
			return -1;
		*ms = (int64_t)v;
		return 0;
	}
	return -1;
}

/* --- dates --- */

static const char text_months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char text_days[] = "SunMonTueWedThuFriSat";

static int
text_month(const char *s)
{
	for (int i = 0; i < 12; i++) {
		if (strncasecmp(s, text_months + 3 * i, 3) == 0)
			return i;
	}
	return -1;
}

/* Digits of a field, at least min and at most max. -1: no such field. */
static int
text_field(const char **s, int min, int max)
{
	int v = 0, n = 0;

	for (; n < max && text_is_digit(**s); n++, (*s)++)
		v = v * 10 + (**s - '0');
	return n < min ? -1 : v;
}

static bool
text_skip(const char **s, char c)
{
	if (**s != c)
		return false;
	(*s)++;
	return true;
}

static bool
text_clock(const char **s, struct tm *tm)
{
	tm->tm_hour = text_field(s, 2, 2);
	if (tm->tm_hour < 0 || !text_skip(s, ':'))
		return false;
	tm->tm_min = text_field(s, 2, 2);
	if (tm->tm_min < 0 || !text_skip(s, ':'))
		return false;
	tm->tm_sec = text_field(s, 2, 2);
	return tm->tm_sec >= 0;
}

/* "GMT", "UTC", "Z", "", "+02:00", "-0130" -> seconds east; INT_MIN: something else. */
static int
text_zone(const char *s)
{
	int sign, h, m;

	while (*s == ' ')
		s++;
	if (*s == '\0' || strcasecmp(s, "GMT") == 0 || strcasecmp(s, "UTC") == 0 || strcasecmp(s, "Z") == 0)
		return 0;
	if (*s != '+' && *s != '-')
		return INT_MIN;
	sign = *s++ == '-' ? -1 : 1;
	h = text_field(&s, 2, 2);
	text_skip(&s, ':');
	m = text_field(&s, 2, 2);
	if (h < 0 || h > 23 || m < 0 || m > 59 || *s != '\0')
		return INT_MIN;
	return sign * (h * 3600 + m * 60);
}

static int64_t
text_date_ns(struct tm *tm, int zone, int64_t ns)
{
	static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int64_t seconds, out;

	if (zone == INT_MIN || tm->tm_mon < 0 || tm->tm_mon > 11 || tm->tm_mday < 1 || tm->tm_mday > days[tm->tm_mon] ||
	    tm->tm_hour > 23 || tm->tm_min > 59 || tm->tm_sec > 60)
		return INT64_MIN;
	seconds = (int64_t)timegm(tm) - zone;
	if (__builtin_mul_overflow(seconds, 1000000000, &out) || __builtin_add_overflow(out, ns, &out))
		return INT64_MIN;
	return out;
}

static int64_t
text_date_iso(const char *s)
{
	struct tm tm = {0};
	int64_t ns = 0, unit = 100000000;

	tm.tm_year = text_field(&s, 4, 4) - 1900;
	if (!text_skip(&s, '-'))
		return INT64_MIN;
	tm.tm_mon = text_field(&s, 2, 2) - 1;
	if (!text_skip(&s, '-'))
		return INT64_MIN;
	tm.tm_mday = text_field(&s, 2, 2);
	if (*s == '\0')
		return text_date_ns(&tm, 0, 0);
	if (*s != 'T' && *s != 't' && *s != ' ')
		return INT64_MIN;
	s++;
	if (!text_clock(&s, &tm))
		return INT64_MIN;
	if (text_skip(&s, '.')) {
		for (; text_is_digit(*s); s++, unit /= 10)
			ns += (*s - '0') * unit;
	}
	return text_date_ns(&tm, text_zone(s), ns);
}

/* "20 Jul 2022 05:12:23 GMT" or "20-Jul-22 05:12:23 GMT" */
static int64_t
text_date_http(const char *s)
{
	struct tm tm = {0};
	char sep;
	int year;

	tm.tm_mday = text_field(&s, 1, 2);
	sep = *s;
	if (sep != ' ' && sep != '-')
		return INT64_MIN;
	tm.tm_mon = text_month(++s);
	if (tm.tm_mon < 0 || s[3] != sep)
		return INT64_MIN;
	s += 4;
	year = text_field(&s, 2, 4);
	if (year < 0 || !text_skip(&s, ' ') || !text_clock(&s, &tm))
		return INT64_MIN;
	if (year < 100)		/* RFC 850 has two digits */
		year += year < 70 ? 2000 : 1900;
	tm.tm_year = year - 1900;
	return text_date_ns(&tm, text_zone(s), 0);
}

/* "Jul 20 05:12:23 2022", the day padded with a blank */
static int64_t
text_date_asctime(const char *s)
{
	struct tm tm = {0};

	tm.tm_mon = text_month(s);
	if (tm.tm_mon < 0 || s[3] != ' ')
		return INT64_MIN;
	s += s[4] == ' ' ? 5 : 4;
	tm.tm_mday = text_field(&s, 1, 2);
	if (tm.tm_mday < 0 || !text_skip(&s, ' ') || !text_clock(&s, &tm) || !text_skip(&s, ' '))
		return INT64_MIN;
	tm.tm_year = text_field(&s, 4, 4) - 1900;
	return *s == '\0' && tm.tm_year >= 0 ? text_date_ns(&tm, 0, 0) : INT64_MIN;
}

int64_t
weir_date_parse(const char *s)
{
	while (*s == ' ')
		s++;
	if (text_is_digit(s[0]) && text_is_digit(s[1]) && text_is_digit(s[2]) && text_is_digit(s[3]))
		return text_date_iso(s);
	while (text_is_alpha(*s))	/* the day's name says nothing new */
		s++;
	if (*s == ',')
		s++;
	while (*s == ' ')
		s++;
	return text_is_digit(*s) ? text_date_http(s) : text_date_asctime(s);
}

void
weir_date_rfc1123(int64_t seconds, char out[32])
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL) {
		t = 0;
		gmtime_r(&t, &tm);
	}
	/* The % say to the compiler how long it can get. */
	snprintf(out, 32, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT", text_days + 3 * tm.tm_wday, (unsigned)tm.tm_mday % 100,
	    text_months + 3 * tm.tm_mon, (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100,
	    (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
}

/* --- paths --- */

static char *
text_home(void)
{
	const char *home = getenv("HOME");
	char buf[4096];
	struct passwd pw, *found = NULL;

	if (home != NULL && home[0] == '/')
		return weir_xstrdup(home);
	if (getpwuid_r(geteuid(), &pw, buf, sizeof(buf), &found) == 0 && found != NULL)
		return weir_xstrdup(pw.pw_dir);
	return NULL;
}

/* *s stands on '$'; moves it behind the name. "$" before anything but a name is a plain character. */
static int
text_expand_variable(struct weir_buf *b, const char **s, struct weir_err *err)
{
	bool is_braced = (*s)[1] == '{';
	const char *from = *s + (is_braced ? 2 : 1), *p = from, *value;
	WEIR_AUTO(weir_freep) char *name = NULL;

	while (text_is_alpha(*p) || *p == '_' || (p > from && text_is_digit(*p)))
		p++;
	if (p == from || (is_braced && *p != '}')) {
		(*s)++;
		return weir_buf_addc(b, '$');
	}
	name = weir_xstrndup(from, (size_t)(p - from));
	value = getenv(name);
	if (value == NULL) {
		weir_err_set(err, WEIR_E_CONFIG, "the variable $%s is not set", name);
		return -1;
	}
	*s = is_braced ? p + 1 : p;
	return weir_buf_adds(b, value);
}

char *
weir_path_expand(const char *s, struct weir_err *err)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf b = WEIR_BUF(1u << 20);

	if (s[0] == '~' && (s[1] == '/' || s[1] == '\0')) {
		WEIR_AUTO(weir_freep) char *home = text_home();

		if (home == NULL) {
			weir_err_set(err, WEIR_E_CONFIG, "there is no home directory for '~': set HOME");
			return NULL;
		}
		weir_buf_adds(&b, home);
		s++;
	}
	while (*s != '\0') {
		if (*s == '$') {
			if (text_expand_variable(&b, &s, err) < 0)
				return NULL;
		} else {
			weir_buf_addc(&b, *s++);
		}
	}
	if (b.is_full) {
		weir_err_set(err, WEIR_E_CONFIG, "a value of more than 1 MiB");
		return NULL;
	}
	return weir_buf_take(&b);
}

char *
weir_path_join(const char *a, const char *b)
{
	size_t n = strlen(a);

	if (n == 0)
		return weir_xstrdup(b);
	if (*b == '\0')
		return weir_xstrdup(a);
	while (n > 0 && a[n - 1] == '/')
		n--;
	while (*b == '/')
		b++;
	return weir_xasprintf("%.*s/%s", (int)n, a, b);
}
