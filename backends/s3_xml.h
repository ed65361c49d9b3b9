/* SPDX-License-Identifier: Apache-2.0 */
/* The XML that S3 answers: parsed as it arrives, by local names, without document types. Pure: knows no network. */
#ifndef WEIR_S3_XML_H
#define WEIR_S3_XML_H
#include "../src/net/http.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct weir_s3_entry {
	char *key;			/* whole key, decoded */
	char *etag;			/* cleaned; NULL for prefixes */
	uint64_t size;
	int64_t mtime_ns;		/* LastModified; INT64_MIN: not told */
	bool is_prefix;			/* a CommonPrefixes entry: ends in "/" */
};

/* One page of a listing: declare zeroed, weir_s3_page_begin(), feed, weir_s3_page_end(). */
struct weir_s3_page {
	struct weir_sink sink;		/* feeds the page from a response */
	struct weir_s3_entry *v;	/* after end(): by key, in byte order */
	size_t n, cap;
	bool is_listing;		/* the root element was ListBucketResult */
	bool is_truncated, is_url, is_v1;
	char *token;			/* NextContinuationToken, as it is */
	struct weir_s3_entry now;	/* being read */
	struct weir_s3_xml *xml;
};
void weir_s3_page_begin(struct weir_s3_page *);
/* 0, or -1: not a whole listing. Frees the parser in any case. */
int weir_s3_page_end(struct weir_s3_page *);
void weir_s3_page_free(struct weir_s3_page *);
int weir_s3_page_feed(struct weir_s3_page *, const void *, size_t);	/* 0 or -1; used by the sink and by tests */

/* A small answer: <Error>, InitiateMultipartUploadResult, CopyObjectResult, … Text of its elements by name; "" when absent. */
struct weir_s3_answer {
	char root[48];
	char code[64], message[300], region[64], endpoint[256];
	char upload_id[1024], etag[160];
};
/* 0, or -1: not XML (then all is empty). Leading blanks are fine (keep-alives before a late answer). */
int weir_s3_answer_parse(const char *xml, size_t len, struct weir_s3_answer *);

struct weir_s3_part { uint32_t number; uint64_t size; char etag[80]; };
struct weir_s3_parts {
	struct weir_s3_part *v;
	size_t n, cap;
	bool is_truncated, is_parts;
	uint32_t next;			/* NextPartNumberMarker */
	struct weir_s3_part now;
};
int weir_s3_parts_parse(const char *xml, size_t len, struct weir_s3_parts *);	/* 0 or -1; free v */

#endif
