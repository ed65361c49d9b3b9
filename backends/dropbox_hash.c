/* SPDX-License-Identifier: Apache-2.0 */
/* Dropbox's content_hash: SHA-256 of the concatenated SHA-256 digests of blocks of 4 MiB. Parts of an upload are whole blocks, so the hash of
 * the file follows from the digests of the parts' blocks. Pure. */
#include "config.h"

#include <string.h>

#include "dropbox_impl.h"

#define HASH_PIECE (256u << 10)
#define HASH_TAGS_MAX (64u << 20)	/* hex digits of all block digests of one part */

struct dropbox_hash {
	struct weir_digest *block, *whole;
	size_t in_block;
	struct weir_buf blocks;
};

struct dropbox_hash *
weir_dropbox_hash_new(void)
{
	struct dropbox_hash *h = weir_xcalloc(1, sizeof(*h));

	h->whole = weir_digest_new("sha256");
	h->blocks = (struct weir_buf)WEIR_BUF(HASH_TAGS_MAX);
	return h;
}

static void
hash_end_block(struct dropbox_hash *h)
{
	unsigned char raw[64];
	char hex[2 * WEIR_SHA256_LEN + 1];

	if (h->block == NULL)
		return;
	weir_digest_end(WEIR_STEAL(h->block), raw);
	weir_digest_add(h->whole, raw, WEIR_SHA256_LEN);
	weir_hex(raw, WEIR_SHA256_LEN, hex);
	weir_buf_adds(&h->blocks, hex);
	h->in_block = 0;
}

void
weir_dropbox_hash_add(struct dropbox_hash *h, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		size_t n = DROPBOX_BLOCK - h->in_block;

		if (n > len)
			n = len;
		if (h->block == NULL)
			h->block = weir_digest_new("sha256");
		weir_digest_add(h->block, p, n);
		h->in_block += n;
		p += n;
		len -= n;
		if (h->in_block == DROPBOX_BLOCK)
			hash_end_block(h);
	}
}

void
weir_dropbox_hash_end(struct dropbox_hash *h, char hex[2 * WEIR_SHA256_LEN + 1], char **blocks)
{
	unsigned char raw[64];

	hash_end_block(h);
	weir_digest_end(WEIR_STEAL(h->whole), raw);
	weir_hex(raw, WEIR_SHA256_LEN, hex);
	if (blocks != NULL)
		*blocks = weir_buf_take(&h->blocks);
	weir_dropbox_hash_free(h);
}

void
weir_dropbox_hash_free(struct dropbox_hash *h)
{
	if (h == NULL)
		return;
	weir_digest_free(h->block);
	weir_digest_free(h->whole);
	weir_buf_free(&h->blocks);
	free(h);
}

enum weir_code
weir_dropbox_hash_source(struct weir_source *src, uint64_t off, uint64_t len, char hex[2 * WEIR_SHA256_LEN + 1], char **blocks,
    struct weir_err *err)
{
	struct dropbox_hash *h = weir_dropbox_hash_new();
	WEIR_AUTO(weir_freep) char *buf = weir_xcalloc(1, HASH_PIECE);

	while (len > 0) {
		ssize_t n = src->read(src, buf, len < HASH_PIECE ? (size_t)len : HASH_PIECE, off);

		if (n <= 0) {
			weir_dropbox_hash_free(h);
			return weir_err_set(err, WEIR_E_IO, "what is to be sent cannot be read");
		}
		weir_dropbox_hash_add(h, buf, (size_t)n);
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	weir_dropbox_hash_end(h, hex, blocks);
	return WEIR_OK;
}

bool
weir_dropbox_hash_tags(const char *const *tags, uint32_t ntags, uint64_t size, char hex[2 * WEIR_SHA256_LEN + 1])
{
	const uint64_t want = (size + DROPBOX_BLOCK - 1) / DROPBOX_BLOCK;
	struct weir_digest *d = weir_digest_new("sha256");
	unsigned char raw[64];
	uint64_t n = 0;
	bool is_good = true;

	for (uint32_t i = 0; is_good && i < ntags; i++) {
		const char *t = tags[i] == NULL ? "?" : tags[i];
		size_t len = strlen(t);

		is_good = len % (2 * WEIR_SHA256_LEN) == 0;
		for (size_t at = 0; is_good && at < len; at += 2 * WEIR_SHA256_LEN, n++) {
			is_good = weir_unhex(t + at, 2 * WEIR_SHA256_LEN, raw) == 0;
			if (is_good)
				weir_digest_add(d, raw, WEIR_SHA256_LEN);
		}
	}
	weir_digest_end(d, raw);
	weir_hex(raw, WEIR_SHA256_LEN, hex);
	return is_good && n == want;
}
