/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of S3 requests: aws-chunked decoding with its signatures, every digest the client promised, and the way into
 * memory or into a new blob. Nothing is kept unless all of it proves right. */
#include "config.h"
#include "s3.h"
#include "util/text.h"
#include <string.h>
#include <strings.h>

#define BODY_MEM_MAX (8u << 20)
#define BODY_CHUNK_MAX (1ull << 40)

static const char *const body_algos[] = { "crc32", "crc32c", "crc64nvme", "sha1", "sha256" };

/* Which checksum travels with this body, and (when it is in the head) its value. */
static bool
body_find_sum(struct emu_req *req)
{
	struct s3_req *s = s3_of(req);
	const char *trailer = emu_header(req, "x-amz-trailer");
	char name[40];

	if (!strcmp(req->op, "CompleteMultipartUpload"))
		return true;	/* there the header speaks of the object, not of this body */
	for (size_t i = 0; i < WEIR_LEN(body_algos); i++) {
		const char *v;

		snprintf(name, sizeof(name), "x-amz-checksum-%s", body_algos[i]);
		v = emu_header(req, name);
		if (!v && !(trailer && !strcasecmp(trailer, name)))
			continue;
		if (*s->sum_algo) {
			s3_error(req, 400, "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.");
			return false;
		}
		snprintf(s->sum_algo, sizeof(s->sum_algo), "%s", body_algos[i]);
		snprintf(s->sum_want, sizeof(s->sum_want), "%s", v ? v : "");
	}
	if (!*s->sum_algo && s3_on(S3_DEFAULT_SUM))
		snprintf(s->sum_algo, sizeof(s->sum_algo), "crc64nvme");
	return true;
}

static bool
body_find_md5(struct emu_req *req)
{
	struct s3_req *s = s3_of(req);
	const char *v = emu_header(req, "Content-MD5");
	unsigned char raw[32];

	if (!v)
		return true;
	if (strlen(v) != 24 || weir_unbase64(v, raw, sizeof(raw)) != 16) {
		s3_error(req, 400, "InvalidDigest", "The Content-MD5 you specified was invalid.");
		return false;
	}
	snprintf(s->md5_want, sizeof(s->md5_want), "%s", v);
	return true;
}

bool
s3_body_open(struct emu_req *req, bool to_file)
{
	struct s3_req *s = s3_of(req);

	if (s3_on(S3_REFUSE_SUMS) && !req->is_raw && (s->is_chunked || emu_header(req, "x-amz-sdk-checksum-algorithm"))) {
		s3_error(req, 501, "NotImplemented", "A header you provided implies functionality that is not implemented");
		return false;
	}
	if (!body_find_sum(req) || !body_find_md5(req))
		return false;
	if (s3_on(S3_REFUSE_SUMS) && !req->is_raw && *s->sum_want) {
		s3_error(req, 501, "NotImplemented", "A header you provided implies functionality that is not implemented");
		return false;
	}
	if (to_file && !(s->writer = emu_writer_new())) {
		s3_error(req, 500, "InternalError", "cannot make a file in the data folder");
		return false;
	}
	s->mem = (struct weir_buf)WEIR_BUF(BODY_MEM_MAX);
	s->md5 = s3_hash_new("md5");
	if (*s->sum_algo)
		s->sum = s3_hash_new(s->sum_algo);
	if (!s->is_chunked && strlen(s->payload) == 64)
		s->payload_hash = s3_hash_new("sha256");
	if (s->is_chunk_signed)
		s->chunk_hash = s3_hash_new("sha256");
	s->trailer = (struct weir_buf)WEIR_BUF(16u << 10);
	s->is_open = true;
	return true;
}

void
s3_body_free(struct s3_req *s)
{
	emu_writer_abort(s->writer);
	emu_blob_unref(s->blob);
	weir_buf_free(&s->mem);
	weir_buf_free(&s->trailer);
	s3_hash_free(s->payload_hash);
	s3_hash_free(s->md5);
	s3_hash_free(s->sum);
	s3_hash_free(s->chunk_hash);
}

/* ---- data ---- */

static void
body_store(struct emu_req *req, const char *data, size_t n)
{
	struct s3_req *s = s3_of(req);

	s->got += n;
	s3_hash_add(s->md5, data, n);
	s3_hash_add(s->sum, data, n);
	if (s->writer ? emu_writer_add(s->writer, data, n) : weir_buf_add(&s->mem, data, n)) {
		if (s->writer)
			s3_error(req, 500, "InternalError", "cannot write to the data folder");
		else
			s3_error(req, 400, "MaxMessageLengthExceeded", "Your request was too big.");
	}
}

static void
body_bad_chunk(struct emu_req *req)
{
	s3_error(req, 400, "InvalidChunkSizeError", "The aws-chunked body is malformed");
}

/* The signature of the chunk that just ended must follow from the one before. */
static bool
body_chunk_signed(struct emu_req *req)
{
	struct s3_req *s = s3_of(req);
	unsigned char sum[32];
	char hash[65], want[65];

	if (!s->is_chunk_signed)
		return true;
	s3_hash_end(&s->chunk_hash, sum);
	s->chunk_hash = s3_hash_new("sha256");
	weir_hex(sum, sizeof(sum), hash);
	s3_sign_chunk(s, "AWS4-HMAC-SHA256-PAYLOAD", hash, true, want);
	if (strcmp(want, s->chunk_sig)) {
		s3_error(req, 403, "SignatureDoesNotMatch", "The signature of a chunk does not match");
		return false;
	}
	snprintf(s->last_sig, sizeof(s->last_sig), "%s", want);
	return true;
}

/* "HEX[;chunk-signature=SIG]" */
static void
body_chunk_line(struct emu_req *req)
{
	struct s3_req *s = s3_of(req);
	const char *sig = strstr(s->line, ";chunk-signature=");
	char *end;

	s->chunk_left = strtoull(s->line, &end, 16);
	if (end == s->line || s->chunk_left > BODY_CHUNK_MAX || (s->is_chunk_signed && !sig)) {
		body_bad_chunk(req);
		return;
	}
	snprintf(s->chunk_sig, sizeof(s->chunk_sig), "%.64s", sig ? sig + strlen(";chunk-signature=") : "");
	if (s->chunk_left)
		s->chunk = S3_CHUNK_DATA;
	else if (body_chunk_signed(req))
		s->chunk = S3_CHUNK_TRAILER;
}

static void
body_trailer_line(struct emu_req *req)
{
	struct s3_req *s = s3_of(req);
	char *value = strchr(s->line, ':'), want[40];

	if (!*s->line) {
		s->chunk = S3_CHUNK_DONE;
		return;
	}
	if (!value) {
		body_bad_chunk(req);
		return;
	}
	*value++ = 0;
	value += strspn(value, " ");
	if (!strcasecmp(s->line, "x-amz-trailer-signature")) {
		snprintf(s->trailer_sig, sizeof(s->trailer_sig), "%.64s", value);
		return;
	}
	weir_buf_addf(&s->trailer, "%s:%s\n", s->line, value);
	snprintf(want, sizeof(want), "x-amz-checksum-%s", s->sum_algo);
	if (!strcasecmp(s->line, want))
		snprintf(s->sum_want, sizeof(s->sum_want), "%s", value);
}

/* Gather a line; true when it is complete in s->line, without its end. */
static bool
body_gather(struct emu_req *req, char c)
{
	struct s3_req *s = s3_of(req);

	if (c != '\n') {
		if (s->line_len == sizeof(s->line) - 1)
			body_bad_chunk(req);
		else
			s->line[s->line_len++] = c;
		return false;
	}
	if (s->line_len && s->line[s->line_len - 1] == '\r')
		s->line_len--;
	s->line[s->line_len] = 0;
	s->line_len = 0;
	return true;
}

static size_t
body_chunk_data(struct emu_req *req, const char *p, size_t n)
{
	struct s3_req *s = s3_of(req);

	if (n > s->chunk_left)
		n = (size_t)s->chunk_left;
	s3_hash_add(s->chunk_hash, p, n);
	body_store(req, p, n);
	s->chunk_left -= n;
	if (!s->chunk_left && !req->is_replied && body_chunk_signed(req))
		s->chunk = S3_CHUNK_CRLF;
	return n;
}

static void
body_chunked(struct emu_req *req, const char *p, size_t n)
{
	struct s3_req *s = s3_of(req);

	while (n && !req->is_replied && s->chunk != S3_CHUNK_DONE) {
		size_t k = 1;

		if (s->chunk == S3_CHUNK_DATA)
			k = body_chunk_data(req, p, n);
		else if (body_gather(req, *p)) {
			if (s->chunk == S3_CHUNK_LINE)
				body_chunk_line(req);
			else if (s->chunk == S3_CHUNK_TRAILER)
				body_trailer_line(req);
			else if (*s->line)
				body_bad_chunk(req);
			else
				s->chunk = S3_CHUNK_LINE;
		}
		p += k;
		n -= k;
	}
}

void
s3_body_add(struct emu_req *req, const void *data, size_t n)
{
	struct s3_req *s = s3_of(req);

	if (s->is_chunked) {
		body_chunked(req, data, n);
		return;
	}
	s3_hash_add(s->payload_hash, data, n);
	body_store(req, data, n);
}

/* ---- the end ---- */

static bool
body_length_ok(struct emu_req *req)
{
	struct s3_req *s = s3_of(req);
	const char *decoded = emu_header(req, "x-amz-decoded-content-length");

	if (!s->is_chunked || (s->chunk == S3_CHUNK_DONE && decoded && strtoull(decoded, NULL, 10) == s->got))
		return true;
	/* Some clients end the last chunk without the blank line that closes the (empty) trailer. */
	if (s->chunk == S3_CHUNK_TRAILER && !s->has_trailer && decoded && strtoull(decoded, NULL, 10) == s->got)
		return true;
	s3_error(req, 400, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header");
	return false;
}

static bool
body_trailer_ok(struct emu_req *req)
{
	struct s3_req *s = s3_of(req);
	unsigned char sum[32];
	char hash[65], want[65];
	struct s3_hash *h;

	if (!s->has_trailer || !s->is_chunk_signed)
		return true;
	h = s3_hash_new("sha256");
	s3_hash_add(h, weir_buf_str(&s->trailer), s->trailer.len);
	s3_hash_end(&h, sum);
	weir_hex(sum, sizeof(sum), hash);
	s3_sign_chunk(s, "AWS4-HMAC-SHA256-TRAILER", hash, false, want);
	if (!strcmp(want, s->trailer_sig))
		return true;
	s3_error(req, 403, "SignatureDoesNotMatch", "The signature of the trailer does not match");
	return false;
}

static bool
body_payload_ok(struct emu_req *req)
{
	struct s3_req *s = s3_of(req);
	unsigned char sum[32];
	char hex[65];

	if (!s->payload_hash)
		return true;
	s3_hash_end(&s->payload_hash, sum);
	weir_hex(sum, sizeof(sum), hex);
	if (!strcasecmp(hex, s->payload))
		return true;
	s3_error(req, 400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.");
	return false;
}

static bool
body_digests_ok(struct emu_req *req)
{
	struct s3_req *s = s3_of(req);
	unsigned char sum[32];
	char text[64];
	size_t n;

	s3_hash_end(&s->md5, sum);
	weir_hex(sum, 16, s->md5_hex);
	weir_base64(sum, 16, text);
	if (*s->md5_want && strcmp(text, s->md5_want)) {
		s3_error(req, 400, "BadDigest", "The Content-MD5 you specified did not match what we received.");
		return false;
	}
	if (!s->sum)
		return true;
	n = s3_hash_end(&s->sum, sum);
	weir_base64(sum, n, text);
	if (s->has_trailer && emu_header(req, "x-amz-trailer") && !*s->sum_want) {
		s3_error(req, 400, "MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to its header");
		return false;
	}
	if (*s->sum_want && strcmp(text, s->sum_want)) {
		s3_error(req, 400, "BadDigest", "The checksum you specified did not match the calculated checksum.");
		return false;
	}
	snprintf(s->sum_out.algo, sizeof(s->sum_out.algo), "%s", s->sum_algo);
	snprintf(s->sum_out.value, sizeof(s->sum_out.value), "%s", text);
	return true;
}

bool
s3_body_end(struct emu_req *req)
{
	struct s3_req *s = s3_of(req);

	if (!body_length_ok(req) || !body_trailer_ok(req) || !body_payload_ok(req) || !body_digests_ok(req))
		return false;
	if (!s->writer)
		return true;
	s->blob = emu_writer_end(WEIR_STEAL(s->writer));
	if (!s->blob)
		s3_error(req, 500, "InternalError", "cannot write to the data folder");
	return s->blob != NULL;
}
