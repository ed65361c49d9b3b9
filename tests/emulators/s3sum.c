/* SPDX-License-Identifier: Apache-2.0 */
/* Running checksums of S3 bodies: md5, sha1, sha256 (OpenSSL) and the reflected CRCs crc32, crc32c, crc64nvme. */
#include "config.h"
#include "s3.h"
#include <openssl/evp.h>
#include <string.h>

struct s3_hash {
	EVP_MD_CTX *evp;	/* NULL: a CRC */
	int crc_kind;
	uint64_t crc;
};
struct sum_crc {
	const char *name;
	uint64_t poly, mask;
	size_t len;
	uint64_t table[8][256];
};
static struct sum_crc sum_crcs[] = {
	{ .name = "crc32", .poly = 0xEDB88320u, .mask = 0xFFFFFFFFu, .len = 4 },
	{ .name = "crc32c", .poly = 0x82F63B78u, .mask = 0xFFFFFFFFu, .len = 4 },
	{ .name = "crc64nvme", .poly = 0x9A6C9329AC4BC9B5ull, .mask = UINT64_MAX, .len = 8 },
};
static pthread_once_t sum_once = PTHREAD_ONCE_INIT;

static void
sum_tables(void)
{
	for (size_t k = 0; k < WEIR_LEN(sum_crcs); k++) {
		struct sum_crc *c = &sum_crcs[k];

		for (unsigned i = 0; i < 256; i++) {
			uint64_t v = i;

			for (int bit = 0; bit < 8; bit++)
				v = v & 1 ? v >> 1 ^ c->poly : v >> 1;
			c->table[0][i] = v;
		}
		for (int t = 1; t < 8; t++)
			for (unsigned i = 0; i < 256; i++)
				c->table[t][i] = c->table[t - 1][i] >> 8 ^ c->table[0][c->table[t - 1][i] & 0xff];
	}
}

static int
sum_crc_kind(const char *algo)
{
	for (size_t k = 0; k < WEIR_LEN(sum_crcs); k++)
		if (!strcmp(sum_crcs[k].name, algo))
			return (int)k;
	return -1;
}

bool
s3_algo_known(const char *algo)
{
	return sum_crc_kind(algo) >= 0 || !strcmp(algo, "sha1") || !strcmp(algo, "sha256");
}

size_t
s3_algo_len(const char *algo)
{
	int k = sum_crc_kind(algo);

	return k >= 0 ? sum_crcs[k].len : !strcmp(algo, "sha1") ? 20 : !strcmp(algo, "md5") ? 16 : 32;
}

struct s3_hash *
s3_hash_new(const char *algo)
{
	struct s3_hash *h;
	const EVP_MD *md = NULL;
	int kind = sum_crc_kind(algo);

	pthread_once(&sum_once, sum_tables);
	if (kind < 0) {
		md = !strcmp(algo, "md5") ? EVP_md5() : !strcmp(algo, "sha1") ? EVP_sha1() : !strcmp(algo, "sha256") ? EVP_sha256() : NULL;
		if (!md)
			return NULL;
	}
	h = weir_xcalloc(1, sizeof(*h));
	h->crc_kind = kind;
	if (kind >= 0) {
		h->crc = sum_crcs[kind].mask;
		return h;
	}
	h->evp = EVP_MD_CTX_new();
	if (!h->evp || EVP_DigestInit_ex(h->evp, md, NULL) != 1)
		abort();
	return h;
}

static uint64_t
sum_load(const unsigned char *p)
{
	uint64_t v = 0;

	for (int i = 7; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

static uint64_t
sum_crc_run(const struct sum_crc *c, uint64_t crc, const unsigned char *p, size_t n)
{
	for (; n >= 8; n -= 8, p += 8) {
		uint64_t v = crc ^ sum_load(p);

		crc = c->table[7][v & 0xff] ^ c->table[6][v >> 8 & 0xff] ^ c->table[5][v >> 16 & 0xff] ^ c->table[4][v >> 24 & 0xff] ^
		      c->table[3][v >> 32 & 0xff] ^ c->table[2][v >> 40 & 0xff] ^ c->table[1][v >> 48 & 0xff] ^ c->table[0][v >> 56];
	}
	for (; n; n--, p++)
		crc = c->table[0][(crc ^ *p) & 0xff] ^ crc >> 8;
	return crc;
}

void
s3_hash_add(struct s3_hash *h, const void *data, size_t n)
{
	if (!h)
		return;
	if (h->evp)
		EVP_DigestUpdate(h->evp, data, n);
	else
		h->crc = sum_crc_run(&sum_crcs[h->crc_kind], h->crc, data, n);
}

void
s3_hash_free(struct s3_hash *h)
{
	if (h)
		EVP_MD_CTX_free(h->evp);
	free(h);
}

static void
sum_store(const struct sum_crc *c, uint64_t v, unsigned char *out)
{
	for (size_t i = 0; i < c->len; i++)
		out[i] = (unsigned char)(v >> (8 * (c->len - 1 - i)));
}

size_t
s3_hash_end(struct s3_hash **hp, unsigned char out[32])
{
	struct s3_hash *h = *hp;
	unsigned len = 0;

	if (h->evp)
		EVP_DigestFinal_ex(h->evp, out, &len);
	else {
		const struct sum_crc *c = &sum_crcs[h->crc_kind];

		sum_store(c, h->crc ^ c->mask, out);
		len = (unsigned)c->len;
	}
	s3_hash_free(h);
	*hp = NULL;
	return len;
}

/* Appending one zero bit to a message is a linear map of its CRC; a matrix holds the image of each bit. */
static uint64_t
sum_apply(const uint64_t m[64], uint64_t v)
{
	uint64_t r = 0;

	for (int i = 0; v; i++, v >>= 1)
		if (v & 1)
			r ^= m[i];
	return r;
}

void
s3_crc_join(const char *algo, unsigned char a[8], const unsigned char b[8], uint64_t b_len)
{
	const struct sum_crc *c = &sum_crcs[sum_crc_kind(algo)];
	uint64_t m[64], square[64], va = 0, vb = 0;

	for (size_t i = 0; i < c->len; i++) {
		va = va << 8 | a[i];
		vb = vb << 8 | b[i];
	}
	for (unsigned i = 0; i < 64; i++)
		m[i] = i ? 1ull << (i - 1) : c->poly;
	/* b_len bytes are 8 * b_len zero bits: square the map along the bits of that number. */
	for (uint64_t bits = b_len; bits; bits >>= 1) {
		if (bits == b_len)
			for (int k = 0; k < 3; k++) {	/* one bit to one byte */
				for (int i = 0; i < 64; i++)
					square[i] = sum_apply(m, m[i]);
				memcpy(m, square, sizeof(m));
			}
		if (bits & 1)
			va = sum_apply(m, va);
		for (int i = 0; i < 64; i++)
			square[i] = sum_apply(m, m[i]);
		memcpy(m, square, sizeof(m));
	}
	sum_store(c, va ^ vb, a);
}

void
s3_hash_blob(struct emu_blob *blob, struct s3_hash *h)
{
	struct emu_reader *r = emu_reader_new(blob);
	size_t size = 256 * 1024;
	char *buf = weir_xcalloc(1, size);
	uint64_t off = 0;
	ssize_t n;

	while ((n = emu_reader_at(r, buf, size, off)) > 0) {
		s3_hash_add(h, buf, (size_t)n);
		off += (uint64_t)n;
	}
	free(buf);
	emu_reader_free(r);
}
