/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the S3 backend share: one instance, one request, names, metadata. Nobody else includes it.
 *
 *   s3.c         table, open, probe, check         s3_conf.c    configuration, credentials
 *   s3_call.c    a signed request, its answer      s3_sign.c    Signature Version 4 (pure)
 *   s3_name.c    paths <-> keys (pure)             s3_xml.c     listings, errors, results (pure)
 *   s3_object.c  stat, get, put, mkdir, remove     s3_meta.c    headers <-> weir_stat
 *   s3_list.c    listings                          s3_copy.c    copy, move, set_meta
 *   s3_upload.c  multipart                         s3_cas.c     which preconditions the endpoint keeps
 *
 * Versions are ETags without quotes and W/. A directory is a common prefix, or an empty object "dir/" (a marker). */
#ifndef WEIR_S3_IMPL_H
#define WEIR_S3_IMPL_H
#include "../src/util/text.h"
#include "../src/util/util.h"
#include "backend.h"
#include "s3_sign.h"
#include "s3_xml.h"
#include <pthread.h>

#define S3_KEY_MAX 1024			/* bytes of a key; the protocol's own limit */
#define S3_NAME_MAX 255
#define S3_PUT_MAX (32ull << 20)
#define S3_PART_MIN (5ull << 20)	/* the protocol's; the last part may be smaller */
#define S3_PART_DEFAULT (16ull << 20)
#define S3_PART_MAX (5ull << 30)
#define S3_PARTS_MAX 10000
#define S3_COPY_MAX (5ull << 30)	/* one CopyObject takes no more */
#define S3_COPY_PART (1ull << 30)	/* of an UploadPartCopy inside copy() */
#define S3_THINK_MS 120000		/* a server assembling or copying may be silent so long */
#define S3_CONNECTIONS 32
#define S3_REGION_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
/* On copies of multipart objects, whose ETag becomes another on AWS: the source's, so that a repeated move knows its own work. */
#define S3_META_SOURCE "x-amz-meta-weir-source"

/* What a precondition turned out to be worth on this endpoint (s3_cas.c). */
enum s3_keeps { S3_UNKNOWN, S3_IGNORES, S3_KEEPS, S3_KEEPS_BARE /* wants the ETag without quotes */ };

struct s3 {
	struct weir_backend be;		/* first */
	struct weir_http_pool *pool;
	const struct weir_remote_conf *conf;	/* borrowed: lives as long as the configuration */

	/* Settled by open(). */
	char *name;			/* of the remote, for messages */
	char *scheme, *host, *base;	/* of a custom endpoint: "https", "host[:port]", "" or "/path". host NULL: AWS by region */
	char *bucket;
	char *prefix;			/* "" or "a/b/": of every key */
	bool is_aws, is_path_style, is_anonymous;
	char *storage_class, *sse;	/* NULL: the bucket's default */
	uint64_t part_size;
	char *cred_file, *cred_profile;	/* NULL: keys from weir.conf */

	pthread_mutex_t lock;		/* region, creds, is_v1, cas */
	char region[64];
	struct weir_s3_creds creds;
	bool is_list_v1;		/* the endpoint does not know ListObjectsV2 */
	bool is_hidden_told;		/* one log line about names that cannot be shown was written */

	unsigned creds_count;		/* how often other credentials were read */
	atomic_llong clock_offset_s;	/* server's clock minus ours, learnt from RequestTimeTooSkewed */

	pthread_mutex_t cas_lock;	/* held while finding out, so that it happens once */
	enum s3_keeps cas_create, cas_put, cas_commit_create, cas_commit, cas_copy_create, cas_copy, cas_delete;
	bool is_swept;			/* scratch objects that somebody left behind are gone */
};

/* ---- s3_conf.c ---- */
extern const char *const weir_s3_keys[];
enum weir_code weir_s3_conf_read(struct s3 *, const struct weir_remote_conf *, struct weir_err *);
/* Read the credentials again (they expired). *is_new: they are others than before. CONFIG as at open. */
enum weir_code weir_s3_conf_reload(struct s3 *, bool *is_new, struct weir_err *);
/* The same parser for tests: keys of [profile] in the text of an AWS credentials or config file. *region may stay NULL. */
enum weir_code weir_s3_profile_parse(const char *text, const char *profile, struct weir_s3_creds *, char **region);

/* ---- s3_name.c: pure ---- */
/* Append the key of a path to b (without the prefix of the remote). NAME, NAMETOOLONG. */
enum weir_code weir_s3_key_of_path(struct weir_buf *b, const char *path, struct weir_err *);
/* One component of a key as a name people see: owned, or NULL when a mount cannot show it. */
char *weir_s3_name_of_part(const char *part, size_t len);

/* ---- s3_call.c ---- */
struct s3_headers { char *v[64]; size_t n; };
void weir_s3_header(struct s3_headers *, const char *fmt, ...) WEIR_PRINTF(2, 3);	/* beyond 63 it is dropped */
void weir_s3_headers_free(struct s3_headers *);

struct s3_req {
	const char *method;
	const char *key;		/* whole key with the remote's prefix; NULL: the bucket itself */
	const char *query;		/* canonical: encoded, sorted, "uploads=" for a bare name; NULL: none */
	struct s3_headers *headers;	/* may be NULL; x-amz-date and the like are added by weir_s3_call */
	const void *body;
	size_t body_len;
	struct weir_source *source;
	uint64_t source_off, source_len;
	bool has_body;
	struct weir_sink *sink;
	enum weir_code (*on_head)(void *arg, const struct weir_http_resp *, struct weir_err *);
	void *on_head_arg;
	int64_t stall_ms;
};
/* Sign, send, wait. Repeats by itself only what is answered before anything happened: a region, a clock or credentials that
 * had to be learnt, once each. WEIR_OK: an answer of whatever status is in resp. */
enum weir_code weir_s3_call(struct s3 *, const struct weir_ctx *, const struct s3_req *, struct weir_http_resp *, struct weir_err *);
/* The code and sentence of an answer that is not 2xx (or of an <Error> inside a 200). what: "put 'a/b'". */
enum weir_code weir_s3_fail(struct s3 *, const struct weir_http_resp *, const char *what, const char *path, struct weir_err *);
/* call + fail: WEIR_OK only for a 2xx. */
enum weir_code weir_s3_do(struct s3 *, const struct weir_ctx *, const struct s3_req *, struct weir_http_resp *, const char *what,
    const char *path, struct weir_err *);
/* Whole key of a path, owned; is_dir adds the "/" of a marker. */
enum weir_code weir_s3_key(struct s3 *, const char *path, bool is_dir, char **key, struct weir_err *);

/* ---- s3_meta.c ---- */
/* mtime, mode, storage class, encryption, content type of new objects. */
void weir_s3_meta_headers(struct s3 *, struct s3_headers *, const struct weir_meta *, bool is_dir);
/* What a HEAD or GET said of an object. Strings owned. size from Content-Range or Content-Length. */
void weir_s3_stat_of_head(const struct weir_http_resp *, bool is_dir, struct weir_stat *);
/* Everything that a copy with REPLACE must send again, with mtime and mode of *meta put in (may be NULL). */
void weir_s3_meta_resend(struct s3 *, const struct weir_http_resp *head, const struct weir_meta *, struct s3_headers *, bool is_dir);
char *weir_s3_etag_clean(const char *);		/* owned: W/, quotes and &quot; gone */
bool weir_s3_etag_is_md5(const char *);
int64_t weir_s3_mtime_parse(const char *);	/* "1700000000.5" -> ns; WEIR_TIME_NONE */
uint32_t weir_s3_mode_parse(const char *, bool is_dir);	/* rclone's octal, s3fs's decimal -> permission bits; WEIR_MODE_NONE */

/* ---- s3_object.c ---- */
enum weir_code weir_s3_stat(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, struct weir_stat *, struct weir_err *);
enum weir_code weir_s3_get(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, uint64_t off, uint64_t len,
    struct weir_sink *, struct weir_stat *, struct weir_err *);
enum weir_code weir_s3_put(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, enum weir_type, struct weir_source *,
    uint64_t size, const struct weir_meta *, const char *sum, struct weir_stat *, struct weir_err *);
enum weir_code weir_s3_mkdir(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, struct weir_stat *, struct weir_err *);
enum weir_code weir_s3_remove(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, bool is_dir, struct weir_err *);
/* HEAD of a key into resp (so that its headers can be sent again) and *st. NOENT without a sentence of the server's. */
enum weir_code weir_s3_head(struct s3 *, const struct weir_ctx *, const char *key, const char *path, struct weir_http_resp *,
    struct weir_stat *, struct weir_err *);
/* Does the object at key have the version that where names? CHANGED if not. For preconditions the endpoint does not keep. */
enum weir_code weir_s3_compare(struct s3 *, const struct weir_ctx *, const char *key, const struct weir_where *, struct weir_err *);
/* Put bytes in memory: markers and scratch objects. */
enum weir_code weir_s3_put_bytes(struct s3 *, const struct weir_ctx *, const char *key, const char *path, struct s3_headers *,
    const char *bytes, struct weir_http_resp *, struct weir_err *);

/* ---- s3_list.c ---- */
enum weir_code weir_s3_list(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, unsigned flags, weir_list_fn *, void *,
    char **self_version, struct weir_err *);
/* Up to max keys that begin with prefix (a whole key prefix): how many, and whether the first is the prefix itself. */
enum weir_code weir_s3_peek(struct s3 *, const struct weir_ctx *, const char *prefix, unsigned max, unsigned *found, bool *has_self,
    struct weir_err *);

/* Keys, owned, of up to max objects that begin with prefix and were last changed before that time; the first page's only. */
enum weir_code weir_s3_peek_old(struct s3 *, const struct weir_ctx *, const char *prefix, int64_t before_ns, char **keys, size_t max, size_t *n, struct weir_err *);

/* ---- s3_copy.c ---- */
enum weir_code weir_s3_copy(struct weir_backend *, const struct weir_ctx *, const struct weir_where *from, const struct weir_where *to,
    struct weir_stat *, struct weir_err *);
enum weir_code weir_s3_move(struct weir_backend *, const struct weir_ctx *, const struct weir_where *from, const struct weir_where *to,
    bool is_dir, struct weir_stat *, struct weir_err *);
enum weir_code weir_s3_set_meta(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, bool is_dir, const struct weir_meta *,
    struct weir_stat *, struct weir_err *);
/* "x-amz-copy-source: /bucket/key" and, when version is not NULL, its precondition (which Ceph 16 ignores: compare too). */
void weir_s3_copy_source(struct s3 *, struct s3_headers *, const char *key, const char *version);
/* One CopyObject. *etag owned, "" when the server tells none. Also an <Error> inside a 200 is an error. */
enum weir_code weir_s3_copy_object(struct s3 *, const struct weir_ctx *, const char *from_key, const char *from_version, const char *to_key,
    const char *path, struct s3_headers *, char **etag, struct weir_err *);

/* ---- s3_upload.c ---- */
enum weir_code weir_s3_upload_begin(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, uint64_t size,
    const struct weir_meta *, char **id, struct weir_err *);
enum weir_code weir_s3_upload_part(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, const char *id, uint32_t number,
    struct weir_source *, uint64_t off, uint64_t len, uint64_t total, char **tag, struct weir_err *);
enum weir_code weir_s3_upload_copy_part(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, const char *id,
    uint32_t number, const struct weir_where *src, uint64_t off, uint64_t len, char **tag, struct weir_err *);
enum weir_code weir_s3_upload_status(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, const char *id,
    enum weir_code (*fn)(void *arg, uint32_t number, uint64_t size, const char *tag), void *arg, struct weir_err *);
enum weir_code weir_s3_upload_commit(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, const char *id,
    const char *const *tags, uint32_t ntags, uint64_t size, const struct weir_meta *, const char *sum, struct weir_stat *, struct weir_err *);
enum weir_code weir_s3_upload_abort(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, const char *id,
    struct weir_err *);
/* The steps by whole key, for copies beyond S3_COPY_MAX and for finding out preconditions. */
enum weir_code weir_s3_mp_begin(struct s3 *, const struct weir_ctx *, const char *key, const char *path, struct s3_headers *, char **id,
    struct weir_err *);
enum weir_code weir_s3_mp_put_part(struct s3 *, const struct weir_ctx *, const char *key, const char *path, const char *id, uint32_t number,
    struct weir_source *, uint64_t off, uint64_t len, char **tag, struct weir_err *);
enum weir_code weir_s3_mp_copy_part(struct s3 *, const struct weir_ctx *, const char *key, const char *path, const char *id, uint32_t number,
    const char *src_key, const char *src_version, uint64_t off, uint64_t len, char **tag, struct weir_err *);
enum weir_code weir_s3_mp_complete(struct s3 *, const struct weir_ctx *, const char *key, const char *path, const char *id,
    const char *const *tags, uint32_t ntags, struct s3_headers *, char **etag, struct weir_err *);
enum weir_code weir_s3_mp_abort(struct s3 *, const struct weir_ctx *, const char *key, const char *path, const char *id, struct weir_err *);
/* The ETag that S3 gives to an object of these parts, owned; NULL when the tags are not MD5s. */
char *weir_s3_mp_etag(const char *const *tags, uint32_t ntags);

/* ---- s3_cas.c ---- */
/* Is this (below the remote's prefix) the name of a scratch object of weir_s3_cas()? Nobody is to see them. */
bool weir_s3_cas_is_scratch(const char *name);
enum s3_cas_op { S3_CAS_CREATE, S3_CAS_PUT, S3_CAS_COMMIT_CREATE, S3_CAS_COMMIT, S3_CAS_COPY_CREATE, S3_CAS_COPY, S3_CAS_DELETE };
/* What the endpoint does with this precondition; asks it with scratch objects the first time. Errors only where asking may be
 * repeated (network, throttling, cancel): then nothing was learnt. */
enum weir_code weir_s3_cas(struct s3 *, const struct weir_ctx *, enum s3_cas_op, enum s3_keeps *, struct weir_err *);
/* Add the precondition of where->version to the headers, or compare beforehand where the endpoint does not keep it.
 * *is_kept: the server decides. create and match: the two operations to ask for. */
enum weir_code weir_s3_cas_headers(struct s3 *, const struct weir_ctx *, enum s3_cas_op create, enum s3_cas_op match, const char *key,
    const struct weir_where *, struct s3_headers *, bool *is_kept, struct weir_err *);
enum weir_code weir_s3_check(struct weir_backend *, const struct weir_ctx *, void (*line)(void *, const char *), void *, struct weir_err *);

#endif
