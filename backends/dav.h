/* SPDX-License-Identifier: Apache-2.0 */
/* What webdav.c, nextcloud.c and rclone.c share, and nobody else includes: one instance, one request, the operations that both
 * dialects do alike. dav_req.c: requests, refusals, PROPFIND. dav_ops.c: what moves bytes. dav_tree.c: what moves names. dav_learn.c:
 * which preconditions this endpoint really keeps. */
#ifndef WEIR_DAV_H
#define WEIR_DAV_H
#include <pthread.h>

#include "backend.h"
#include "dav_xml.h"

/* How an endpoint wants to be told the version an operation is about. Apache refuses If-Match while its ETag is weak (a second
 * after each change) but takes the same ETag in a tagged If: header; others know only If-Match, or neither. */
enum weir_dav_how { WEIR_DAV_HOW_NONE, WEIR_DAV_HOW_IF, WEIR_DAV_HOW_IF_MATCH };

/* Which ASCII characters the server refuses in names (weir_dav_escape). Written by open() and ready() only. */
struct weir_dav_names {
	bool is_on;			/* false: names go as they are */
	bool is_refused[128];
	bool is_rclone;			/* rclone's own spelling instead, whatever is refused */
};

struct weir_dav;
struct weir_dav_call;
struct weir_dav_dialect {
	const char *type;		/* "webdav" */
	const char *props;		/* properties asked for in PROPFIND, as XML */
	/* Makes the root's address known (nextcloud: asks for the uid once). NULL: open() did. */
	enum weir_code (*ready)(struct weir_dav *, const struct weir_ctx *, struct weir_err *);
	/* Would the server take this name? NAME with a sentence if not. NULL: not known here. */
	enum weir_code (*name)(struct weir_dav *, const char *leaf, struct weir_err *);
	/* Before a PROPFIND of the path: a server that remembers listings is told to look again. NULL: none does. */
	enum weir_code (*look)(struct weir_dav *, const struct weir_ctx *, const char *path, bool is_dir, struct weir_err *);
	/* The status that an answer should have had. NULL: the server knows what it says. */
	int (*status)(const struct weir_dav_call *);
	void (*free)(void *own);	/* NULL: own is not used */
	int64_t stall_ms;		/* how long a server may be silent; 0: 5 s */
};

struct weir_dav {
	struct weir_backend base;
	const struct weir_dav_dialect *dialect;
	const struct weir_remote_conf *conf;
	void *own;			/* of the dialect */
	struct weir_http_pool *pool;
	char *url;			/* as configured, without trailing slash: for sentences and the fingerprint */
	char *user;			/* NULL: none */
	char *_Atomic auth;		/* "Authorization: …", secret; NULL: none */
	struct weir_dav_old { struct weir_dav_old *next; char *auth; } *old;	/* what auth was: requests may still be sending it; under lock */
	char *origin;			/* scheme://host[:port] */
	char *root;			/* path of the root collection, encoded, no trailing slash; set once, before is_ready */
	char *root_plain;		/* the same decoded */
	bool is_nextcloud;
	struct weir_dav_names names;
	atomic_bool is_ready;
	atomic_bool is_auth_dead;	/* a 401 came: nothing is sent any more until probe(), for servers count failed logins */

	pthread_mutex_t lock;		/* held while one thread learns, and by ready() */
	atomic_bool is_learned;
	atomic_int how_put, how_copy, how_delete;	/* enum weir_dav_how */
	atomic_bool keeps_create;	/* If-None-Match: * on PUT */
	atomic_bool keeps_overwrite;	/* Overwrite: F on COPY and MOVE */
	atomic_bool mtime_by_put, mtime_by_patch;
	atomic_bool hides_dots;		/* takes names that begin with a dot and never lists them */
	atomic_bool has_no_etag;	/* listings show none (nginx): time and size stand for the version, whatever GET shows */
};

/* ---- dav_names.c ---- */
/* A name or path as the server is to hold it, and back. Owned. */
char *weir_dav_escape(const struct weir_dav_names *, const char *);
char *weir_dav_unescape(const struct weir_dav_names *, const char *);

/* ---- dav_req.c ---- */

#define WEIR_DAV_HEADERS 14
struct weir_dav_call {			/* one request and its answer; free with weir_dav_call_free() */
	struct weir_http_req req;
	struct weir_http_resp resp;
	char *url;
	char *headers[WEIR_DAV_HEADERS + 2];
	size_t nheaders;
	const char *path;		/* for sentences; borrowed */
};

/* Common part of open(): url and credentials checked, the pool made, the root set to the path of the url. */
enum weir_code weir_dav_open(struct weir_dav **out, const struct weir_dav_dialect *, const struct weir_remote_conf *,
    struct weir_http *, int connections, struct weir_err *);
void weir_dav_close(struct weir_backend *);
void weir_dav_stats(struct weir_backend *, int64_t *heard_ms, struct weir_http_stats *);
/* Names the root collection: PATH below origin, decoded. Once. */
void weir_dav_set_root(struct weir_dav *, const char *plain);
enum weir_code weir_dav_ready(struct weir_dav *, const struct weir_ctx *, struct weir_err *);
/* May a file or folder of that name be made? NAME, NAMETOOLONG. */
enum weir_code weir_dav_check_name(struct weir_dav *, const char *path, struct weir_err *);

char *weir_dav_url(const struct weir_dav *, const char *path, bool is_dir);		/* absolute, encoded; owned */
char *weir_dav_abs_path(const struct weir_dav *, const char *path, bool is_dir);	/* the same from the slash on */
char *weir_dav_plain(const struct weir_dav *, const char *path);	/* the same decoded, without slash at its end: as hrefs decode to */
void weir_dav_call(struct weir_dav_call *, struct weir_dav *, const char *method, const char *path, bool is_dir);
void weir_dav_call_url(struct weir_dav_call *, const char *method, char *url /* taken */);
void weir_dav_header(struct weir_dav_call *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void weir_dav_body(struct weir_dav_call *, const char *xml);	/* borrowed */
void weir_dav_call_free(struct weir_dav_call *);
/* What probe() begins with: if the credentials were refused, others are taken from their file, should there be others by now. */
enum weir_code weir_dav_sign_in(struct weir_dav *, struct weir_err *);
/* WEIR_OK: an answer of whatever status, except 401 (AUTH) and 429, 503 (THROTTLED). */
enum weir_code weir_dav_send(struct weir_dav *, const struct weir_ctx *, struct weir_dav_call *, struct weir_err *);
static inline bool
weir_dav_ok(const struct weir_dav_call *c)
{
	return c->resp.status / 100 == 2 && c->resp.status != 207;
}
/* The code and sentence of an answer that refuses. Never WEIR_OK. */
enum weir_code weir_dav_refused(const struct weir_dav_call *, struct weir_err *);
/* The same where a status can mean several things: looks at the path and its parent to tell NOENT, NOTDIR and ISDIR. */
enum weir_code weir_dav_refused_at(struct weir_dav *, const struct weir_ctx *, const struct weir_dav_call *, const char *path,
    struct weir_err *);

/* "PATH has VERSION" in the spelling `how`. false: cannot be said (synthetic version, or NONE), the caller compares. */
bool weir_dav_require(struct weir_dav_call *, const struct weir_dav *, enum weir_dav_how how, const char *path, const char *version);
/* Is it the same object? Versions compared after normalising. */
bool weir_dav_same(const char *a, const char *b);

/* Depth 0. NOENT, NOTDIR. */
enum weir_code weir_dav_stat(struct weir_dav *, const struct weir_ctx *, const char *path, struct weir_stat *, struct weir_err *);
/* Depth 0 at an address of its own, for what needs more than a weir_stat. item is cleared by the caller. */
enum weir_code weir_dav_propfind0(struct weir_dav *, const struct weir_ctx *, const char *path, bool is_dir, const char *props,
    struct weir_dav_item *, int *status, struct weir_err *);
struct weir_dav_listing { struct weir_dav_item *items; size_t n, cap; };	/* [0] is the collection itself */
void weir_dav_listing_free(struct weir_dav_listing *);
/* Depth 1 of a collection by its URL (taken). names: href of [i > 0] becomes the bare name. */
enum weir_code weir_dav_list_url(struct weir_dav *, const struct weir_ctx *, char *url, const char *plain, const char *path, const char *props,
    struct weir_dav_listing *, struct weir_err *);
void weir_dav_item_stat(struct weir_dav *, struct weir_dav_item *, struct weir_stat *);	/* takes its strings */
/* Version, id and mtime out of the headers of an answer. */
void weir_dav_head_stat(const struct weir_http_resp *, struct weir_stat *);
/* Where a redirect points, for a sentence: "" when it does not say. */
const char *weir_dav_location(const struct weir_http_resp *, char *out, size_t max);

/* ---- dav_ops.c, dav_tree.c: the hooks both dialects share ---- */
enum weir_code weir_dav_op_stat(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, struct weir_stat *, struct weir_err *);
enum weir_code weir_dav_op_list(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, unsigned, weir_list_fn *, void *,
    char **, struct weir_err *);
enum weir_code weir_dav_op_get(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, uint64_t off, uint64_t len,
    struct weir_sink *, struct weir_stat *, struct weir_err *);
enum weir_code weir_dav_op_put(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, enum weir_type, struct weir_source *,
    uint64_t size, const struct weir_meta *, const char *sum, struct weir_stat *, struct weir_err *);
enum weir_code weir_dav_op_copy(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, const struct weir_where *,
    struct weir_stat *, struct weir_err *);
enum weir_code weir_dav_op_move(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, const struct weir_where *, bool is_dir,
    struct weir_stat *, struct weir_err *);
enum weir_code weir_dav_op_mkdir(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, struct weir_stat *, struct weir_err *);
enum weir_code weir_dav_op_remove(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, bool is_dir, struct weir_err *);
enum weir_code weir_dav_op_set_meta(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, bool is_dir,
    const struct weir_meta *, struct weir_stat *, struct weir_err *);
enum weir_code weir_dav_op_quota(struct weir_backend *, const struct weir_ctx *, struct weir_usage *, struct weir_err *);
enum weir_code weir_dav_op_check(struct weir_backend *, const struct weir_ctx *, void (*line)(void *, const char *), void *, struct weir_err *);

/* Compares what is at w->path with w->version, for what the endpoint does not guarantee, and so that nothing ever goes onto a
 * folder: CHANGED, ISDIR. */
enum weir_code weir_dav_compare(struct weir_dav *, const struct weir_ctx *, const struct weir_where *, struct weir_err *);
/* Sets the modification time of what is there. NOTSUP when the server does not. */
enum weir_code weir_dav_patch_mtime(struct weir_dav *, const struct weir_ctx *, const char *path, bool is_dir, int64_t mtime_ns, struct weir_err *);
/* Whole seconds as the server will take them (Nextcloud stores, then fails, on anything up to a day after 1970). */
long long weir_dav_seconds(const struct weir_dav *, int64_t mtime_ns);
/* "X-OC-Mtime" and the checksum headers of an upload. */
void weir_dav_upload_headers(struct weir_dav *, struct weir_dav_call *, const struct weir_meta *, const char *sum);

/* ---- dav_learn.c ---- */
/* Finds out once, in a scratch folder `.weir-check-RANDOM` of the root, what the endpoint keeps. Other threads wait. What could not be
 * tried (no right to write there) counts as not kept. Errors: only of the connection. */
enum weir_code weir_dav_learn(struct weir_dav *, const struct weir_ctx *, struct weir_err *);
#define WEIR_DAV_SCRATCH ".weir-check-"

extern const struct weir_backend_ops weir_backend_webdav, weir_backend_nextcloud, weir_backend_rclone;

#endif
