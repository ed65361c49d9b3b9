/* SPDX-License-Identifier: Apache-2.0 */
/* Headers <-> what weir knows of an object. mtime as rclone writes it (x-amz-meta-mtime: decimal seconds); mode as rclone
 * writes it on files (octal with the type, "100644") and as s3fs reads it on directory markers (decimal, "16877"): s3fs is
 * the one program besides weir that looks at the mode of a marker, and it takes octal digits for a decimal number. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "s3_impl.h"

#define META_DIR_TYPE "application/x-directory"
#define META_VALUE 2100		/* user metadata has 2 kB together */

char *
weir_s3_etag_clean(const char *v)
{
	size_t n;

	if (strncmp(v, "W/", 2) == 0)
		v += 2;
	v += strspn(v, "\"");
	n = strcspn(v, "\"");
	return weir_xstrndup(v, n);
}

bool
weir_s3_etag_is_md5(const char *etag)
{
	return strlen(etag) == 32 && strspn(etag, "0123456789abcdef") == 32;
}

int64_t
weir_s3_mtime_parse(const char *s)
{
	bool is_negative = *s == '-';
	int64_t sec = 0, ns = 0, unit = 100000000;

	s += is_negative;
	if (*s < '0' || *s > '9')
		return WEIR_TIME_NONE;
	for (; *s >= '0' && *s <= '9'; s++) {
		sec = sec * 10 + (*s - '0');
		if (sec > INT64_MAX / 1000000000 - 1)
			return WEIR_TIME_NONE;
	}
	if (*s == '.')
		for (s++; *s >= '0' && *s <= '9'; s++, unit /= 10)
			ns += unit * (*s - '0');
	if (*s != '\0')
		return WEIR_TIME_NONE;
	return is_negative ? -(sec * 1000000000 + ns) : sec * 1000000000 + ns;
}

static void
meta_mtime_text(int64_t ns, char out[40])
{
	uint64_t u = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
	int n = snprintf(out, 40, "%s%" PRIu64 ".%09" PRIu64, ns < 0 ? "-" : "", u / 1000000000, u % 1000000000);

	while (n > 0 && out[n - 1] == '0')
		out[--n] = '\0';
	if (n > 0 && out[n - 1] == '.')
		out[n - 1] = '\0';
}

uint32_t
weir_s3_mode_parse(const char *s, bool is_dir)
{
	unsigned long want = is_dir ? S_IFDIR : S_IFREG, oct, dec;
	char *end;

	if (*s < '0' || *s > '9' || strlen(s) > 7)
		return WEIR_MODE_NONE;
	oct = strtoul(s, &end, 8);
	if (*end == '\0' && ((oct & S_IFMT) == want || (s[0] == '0' && oct <= 07777)))
		return oct & 07777;
	/* s3fs: decimal, of new directories without the type. */
	dec = strtoul(s, &end, 10);
	return *end == '\0' && ((dec & ~07777ul) == want || dec <= 07777) ? dec & 07777 : WEIR_MODE_NONE;
}

static void
meta_times(struct s3_headers *h, const struct weir_meta *meta, bool is_dir)
{
	char text[40];

	if (meta == NULL)
		return;
	if (meta->mtime_ns != WEIR_TIME_NONE) {
		meta_mtime_text(meta->mtime_ns, text);
		weir_s3_header(h, "x-amz-meta-mtime: %s", text);
	}
	if (meta->mode != WEIR_MODE_NONE && is_dir)
		weir_s3_header(h, "x-amz-meta-mode: %u", (unsigned)S_IFDIR | (meta->mode & 07777));
	else if (meta->mode != WEIR_MODE_NONE)
		weir_s3_header(h, "x-amz-meta-mode: %o", (unsigned)S_IFREG | (meta->mode & 07777));
}

void
weir_s3_meta_headers(struct s3 *s, struct s3_headers *h, const struct weir_meta *meta, bool is_dir)
{
	weir_s3_header(h, "Content-Type: %s", is_dir ? META_DIR_TYPE : "application/octet-stream");
	if (s->storage_class != NULL && !is_dir)
		weir_s3_header(h, "x-amz-storage-class: %s", s->storage_class);
	if (s->sse != NULL)
		weir_s3_header(h, "x-amz-server-side-encryption: %s", s->sse);
	meta_times(h, meta, is_dir);
}

/* Total size: of Content-Range when there is one. */
static uint64_t
meta_size(const struct weir_http_resp *resp)
{
	char v[96], *slash, *end;
	uint64_t n;

	if (weir_http_header(resp, "Content-Range", v, sizeof(v)) != NULL) {
		slash = strchr(v, '/');
		if (slash == NULL || slash[1] < '0' || slash[1] > '9')
			return WEIR_SIZE_NONE;
		n = strtoull(slash + 1, &end, 10);
		return *end == '\0' ? n : WEIR_SIZE_NONE;
	}
	if (weir_http_header(resp, "Content-Length", v, sizeof(v)) == NULL || v[0] < '0' || v[0] > '9')
		return WEIR_SIZE_NONE;
	return strtoull(v, NULL, 10);
}

/* ETags are no MD5 of the content where the key of the encryption is a customer's or a KMS's. */
static bool
meta_etag_may_be_md5(const struct weir_http_resp *resp)
{
	char v[64];

	if (weir_http_header(resp, "x-amz-server-side-encryption-customer-algorithm", v, sizeof(v)) != NULL)
		return false;
	return weir_http_header(resp, "x-amz-server-side-encryption", v, sizeof(v)) == NULL || strncmp(v, "aws:kms", 7) != 0;
}

void
weir_s3_stat_of_head(const struct weir_http_resp *resp, bool is_dir, struct weir_stat *st)
{
	char v[META_VALUE];

	*st = (struct weir_stat){ .type = is_dir ? WEIR_DIR : WEIR_FILE, .mtime_ns = WEIR_TIME_NONE, .mode = WEIR_MODE_NONE };
	st->size = is_dir ? 0 : meta_size(resp);
	if (!is_dir && weir_http_header(resp, "ETag", v, sizeof(v)) != NULL) {
		st->version = weir_s3_etag_clean(v);
		if (weir_s3_etag_is_md5(st->version) && meta_etag_may_be_md5(resp))
			st->sum = weir_xasprintf("md5:%s", st->version);
	}
	if (weir_http_header(resp, "x-amz-meta-mtime", v, sizeof(v)) != NULL)
		st->mtime_ns = weir_s3_mtime_parse(v);
	if (st->mtime_ns == WEIR_TIME_NONE && weir_http_header(resp, "Last-Modified", v, sizeof(v)) != NULL)
		st->mtime_ns = weir_date_parse(v);
	if (weir_http_header(resp, "x-amz-meta-mode", v, sizeof(v)) != NULL)
		st->mode = weir_s3_mode_parse(v, is_dir);
}

/* Headers of a HEAD that a copy with REPLACE would lose. */
static bool
meta_is_kept(const char *line, const struct weir_meta *meta)
{
	static const char *const kept[] = { "Content-Type:", "Cache-Control:", "Content-Encoding:", "Content-Disposition:",
		"Content-Language:", "Expires:", "x-amz-storage-class:", "x-amz-server-side-encryption:",
		"x-amz-server-side-encryption-aws-kms-key-id:", "x-amz-website-redirect-location:" };

	if (meta != NULL && meta->mtime_ns != WEIR_TIME_NONE && strncasecmp(line, "x-amz-meta-mtime:", 17) == 0)
		return false;
	if (meta != NULL && meta->mode != WEIR_MODE_NONE && strncasecmp(line, "x-amz-meta-mode:", 16) == 0)
		return false;
	if (strncasecmp(line, S3_META_SOURCE ":", sizeof(S3_META_SOURCE)) == 0)
		return false;
	if (strncasecmp(line, "x-amz-meta-", 11) == 0)
		return true;
	for (size_t i = 0; i < WEIR_LEN(kept); i++)
		if (strncasecmp(line, kept[i], strlen(kept[i])) == 0)
			return true;
	return false;
}

void
weir_s3_meta_resend(struct s3 *s, const struct weir_http_resp *head, const struct weir_meta *meta, struct s3_headers *h, bool is_dir)
{
	const char *line = weir_buf_str(&head->raw_headers), *end;

	for (; *line != '\0'; line = end + 1) {
		end = strchrnul(line, '\n');
		if (end > line && meta_is_kept(line, meta))
			weir_s3_header(h, "%.*s", (int)(end - line), line);
		if (*end == '\0')
			break;
	}
	meta_times(h, meta, is_dir);
}
