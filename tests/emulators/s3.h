/* SPDX-License-Identifier: Apache-2.0 */
/* The S3 emulator's rooms: state (s3state.c), signatures (s3auth.c), bodies and checksums (s3body.c, s3sum.c), and the
 * operations. Everything reachable from s3_buckets is under s3_lock; objects and blobs are shared by reference. */
#ifndef EMU_S3_H
#define EMU_S3_H
#include "common.h"
#include <pthread.h>

#define S3_NS "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""
#define S3_XML "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define S3_PARTS_MAX 10000
#define S3_KEY_MAX 1024
#define S3_PUT_MAX 5368709120ull

struct s3_sum {
	char algo[12];		/* "" none, else crc32 crc32c crc64nvme sha1 sha256 */
	char value[112];	/* base64, "-N" after it when composite */
	bool is_composite;
};
struct s3_obj {			/* never changed once it is in a bucket */
	_Atomic int refs;
	char *key;
	struct emu_blob *blob;
	char etag[80];		/* without quotes */
	int64_t mtime_ms;
	struct emu_pairs head;	/* content-*, cache-control, expires, x-amz-meta-*, x-amz-storage-class: lower case */
	struct s3_sum sum;
};
struct s3_part {
	unsigned number;
	struct emu_blob *blob;
	char md5[33];
	int64_t mtime_ms;
	struct s3_sum sum;
};
struct s3_upload {
	struct s3_upload *next;
	char id[40];
	char *key;
	int64_t started_ms;
	struct emu_pairs head;
	char algo[12];
	bool is_full;		/* checksum type FULL_OBJECT */
	struct s3_part **part;	/* by number */
	size_t parts;
};
struct s3_undo {		/* what a key was before a change: for listings that lag */
	int64_t at_ms;
	char *key;
	struct s3_obj *was;	/* NULL: it was not there */
};
struct s3_bucket {
	struct s3_bucket *next;
	char *name;
	int64_t made_ms;
	struct s3_obj **obj;	/* by key, byte order */
	size_t n, cap;
	struct s3_upload *uploads;
	struct s3_undo *undo;	/* oldest first */
	size_t undos;
};
struct s3_conf {
	const char *access_key, *secret_key, *session_token, *region;
	uint64_t min_part;
};
extern struct s3_conf s3_conf;
extern pthread_mutex_t s3_lock;
extern struct s3_bucket *s3_buckets;

enum {
	S3_IGNORE_IF_PUT, S3_IGNORE_IF_COMPLETE, S3_IGNORE_IF_COPY, S3_IGNORE_IF_DELETE, S3_REFUSE_IF, S3_IF_UNQUOTED, S3_CONFLICT_NEXT,
	S3_REFUSE_SUMS, S3_DEFAULT_SUM, S3_COMPLETE_200_NEXT, S3_COPY_200_NEXT, S3_COMPLETE_DELAY, S3_RANDOM_ETAG, S3_LIST_DELAY,
	S3_SHORT_PAGES, S3_RAW_PREFIXES, S3_LIST_V1_ONLY, S3_EXPIRED, S3_EXPIRED_NEXT, S3_ETAG_UNQUOTED, S3_NO_BULK, S3_REDIRECT,
	S3_ANONYMOUS, S3_QUOTA, S3_NO_RANGE, S3_SWITCHES
};
extern struct emu_switch s3_switches[];
static inline bool
s3_on(int i)
{
	return emu_value(&s3_switches[i]) > 0;
}

/* ---- request state ---- */

struct s3_hash;
enum s3_chunk { S3_CHUNK_LINE, S3_CHUNK_DATA, S3_CHUNK_CRLF, S3_CHUNK_TRAILER, S3_CHUNK_DONE };
struct s3_req {
	char *bucket, *key;		/* "" when the path names none */
	bool is_anonymous;

	/* Set by s3_auth for signed chunks. */
	unsigned char sign_key[32];
	char stamp[17], scope[160], last_sig[65];
	char payload[72];		/* x-amz-content-sha256; "" when unsigned */
	bool is_chunked, is_chunk_signed, has_trailer;

	/* The body: into memory, or into a new blob. */
	bool is_open;
	struct weir_buf mem;
	struct emu_writer *writer;
	uint64_t got;			/* decoded bytes */
	struct s3_hash *payload_hash, *md5, *sum, *chunk_hash;
	char sum_algo[12], sum_want[96], md5_want[32];

	enum s3_chunk chunk;
	uint64_t chunk_left;
	char line[2048];
	size_t line_len;
	char chunk_sig[65], trailer_sig[65];
	struct weir_buf trailer;	/* "name:value\n" of each */

	/* What an open body became: valid after s3_body_end returned true. */
	struct emu_blob *blob;
	char md5_hex[33];
	struct s3_sum sum_out;
};
static inline struct s3_req *
s3_of(const struct emu_req *req)
{
	return req->proto;
}

/* ---- s3auth.c ---- */
bool s3_auth(struct emu_req *);				/* false: refused and replied */
void s3_sign_chunk(const struct s3_req *, const char *algorithm, const char *hash_hex, bool with_empty, char out[65]);
void s3_uri_encode(struct weir_buf *, const char *, bool keep_slash);

/* ---- s3body.c ---- */
bool s3_body_open(struct emu_req *, bool to_file);	/* false: replied */
void s3_body_add(struct emu_req *, const void *, size_t);
bool s3_body_end(struct emu_req *);			/* checks every length, digest and signature; false: replied */
void s3_body_free(struct s3_req *);

/* ---- s3sum.c ---- */
struct s3_hash *s3_hash_new(const char *algo);		/* also md5; NULL: unknown */
void s3_hash_add(struct s3_hash *, const void *, size_t);
size_t s3_hash_end(struct s3_hash **, unsigned char out[32]);	/* length; frees it */
void s3_hash_free(struct s3_hash *);
bool s3_algo_known(const char *);
size_t s3_algo_len(const char *);
void s3_crc_join(const char *algo, unsigned char a[8], const unsigned char b[8], uint64_t b_len);	/* a = crc(a's bytes + b's) */
void s3_hash_blob(struct emu_blob *, struct s3_hash *);

/* ---- s3state.c: hold s3_lock ---- */
struct s3_bucket *s3_bucket_get(const char *name);
struct s3_bucket *s3_bucket_add(const char *name, int64_t made_ms);
void s3_bucket_remove(struct s3_bucket *);
struct s3_obj *s3_obj_get(const struct s3_bucket *, const char *key);	/* borrowed */
size_t s3_obj_place(struct s3_obj *const *, size_t n, const char *key);	/* first not below key */
struct s3_obj *s3_obj_new(const char *key, struct emu_blob *);		/* takes the blob */
struct s3_obj *s3_obj_ref(struct s3_obj *);
void s3_obj_unref(struct s3_obj *);
void s3_obj_put(struct s3_bucket *, struct s3_obj *);			/* takes it; logs */
void s3_obj_remove(struct s3_bucket *, const char *key);		/* logs; fine when missing */
struct s3_upload *s3_upload_get(const struct s3_bucket *, const char *key, const char *id);
void s3_upload_add(struct s3_bucket *, struct s3_upload *);		/* takes it; logs */
void s3_upload_remove(struct s3_bucket *, struct s3_upload *);		/* logs; frees */
void s3_part_put(struct s3_bucket *, struct s3_upload *, struct s3_part *);	/* takes it; logs */
void s3_part_free(struct s3_part *);
uint64_t s3_used(void);
int s3_state_open(const char *dir);
int64_t s3_now_ms(void);

/* ---- operations: named as in req->op ---- */
void s3_error(struct emu_req *, unsigned status, const char *code, const char *message);
void s3_out_date_iso(struct weir_buf *, int64_t ms);
void s3_out_etag(struct emu_req *, const char *etag);
bool s3_etag_is(const char *header, const char *etag);	/* one of a list, or "*"; quotes and W/ removed */
/* Write preconditions of this request against what is there; false: replied. */
bool s3_may_write(struct emu_req *, const struct s3_obj *there, int ignore_switch);
bool s3_with_bucket(struct emu_req *, struct s3_bucket **);	/* false: NoSuchBucket replied (lock held either way) */
void s3_keep_headers(const struct emu_req *, struct emu_pairs *);
void s3_sum_headers(struct emu_req *, const struct s3_sum *);
/* The source of a copy, checked against x-amz-copy-source-if-*; NULL: replied. Takes the lock itself; owned. */
struct s3_obj *s3_copy_source(struct emu_req *);

void s3_list_buckets(struct emu_req *);
void s3_list_objects(struct emu_req *, bool is_v2);
void s3_list_uploads(struct emu_req *);
void s3_list_parts(struct emu_req *);
void s3_list_versions(struct emu_req *);
void s3_get_object(struct emu_req *);
void s3_put_object(struct emu_req *);		/* body ended */
void s3_copy_object(struct emu_req *);
void s3_delete_object(struct emu_req *);
void s3_delete_objects(struct emu_req *);	/* body ended */
void s3_create_upload(struct emu_req *);
void s3_upload_part(struct emu_req *);		/* body ended */
void s3_upload_part_copy(struct emu_req *);
void s3_complete_upload(struct emu_req *);	/* body ended */
void s3_abort_upload(struct emu_req *);

#endif
