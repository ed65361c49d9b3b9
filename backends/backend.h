/* SPDX-License-Identifier: Apache-2.0 */
/* The backend contract: one storage = one const table of functions. This header is its specification; tests/contract runs one
 * list of promises against every backend.
 *
 * - Calls block; they are made from transfer threads that belong to one remote, many at once on one instance.
 * - A backend sees paths and ids, never nodes, never FUSE, never the cache's tree.
 * - Optional hooks are NULL when the storage has no such thing; capability bits say the rest. Nothing fakes success.
 * - Names: `path` is relative to the remote's root, UTF-8 bytes as people see them, components joined by "/", "" is the root.
 *   Escaping for the storage happens in one place per backend, as rclone does it for that storage, both ways.
 * - Versions are opaque strings compared for equality by the core. Backends normalise them (W/ and quotes and -gzip removed), so
 *   that the same version always spells the same.
 * - Repeating: retry is a layer (layers.h); a backend does not loop on errors, it reports them with the right code:
 *   NOENT, EXIST, NOTDIR, ISDIR, ACCES, AUTH, NOBUCKET, CHANGED (a precondition failed), THROTTLED (429, 503 with a server
 *   behind it), SERVER (500, 502, 504), LOCKED (423), NOSPC/DQUOT (507, QuotaExceeded), NAME, NAMETOOLONG, FBIG, BADSUM, PROTO, and what
 *   weir_http_perform returns. err carries the server's own reason. */
#ifndef WEIR_BACKEND_H
#define WEIR_BACKEND_H
#include "../src/conf/conf.h"
#include "../src/net/http.h"
#include "../src/net/oauth.h"
#include "../src/util/err.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum weir_type { WEIR_FILE = 1, WEIR_DIR, WEIR_LINK, WEIR_FIFO, WEIR_SOCK };	/* the last two live in weir's tree only */

enum {	/* weir_backend.caps: what this endpoint really does. Static ones are set by open(), found-out ones by probe() or first use */
	WEIR_CAP_RANGES		= 1 << 0,	/* get() of a part costs a part */
	WEIR_CAP_CAS_CREATE	= 1 << 1,	/* put() with WEIR_ABSENT is atomic on the server */
	WEIR_CAP_CAS_PUT	= 1 << 2,	/* put() over a named version is atomic on the server */
	WEIR_CAP_CAS_COMMIT	= 1 << 3,	/* upload_commit() likewise */
	WEIR_CAP_CAS_COPY	= 1 << 4,	/* copy()/move() onto a place likewise */
	WEIR_CAP_CAS_DELETE	= 1 << 5,	/* remove() of a named version likewise */
	WEIR_CAP_MTIME		= 1 << 6,	/* keeps mtime given at put(), upload_begin() or set_meta() */
	WEIR_CAP_MODE		= 1 << 7,	/* keeps permission bits likewise */
	WEIR_CAP_SYMLINK	= 1 << 8,	/* holds symlinks natively (else the core writes NAME.rclonelink files) */
	WEIR_CAP_DIRS		= 1 << 9,	/* directories exist by themselves (else implied by names + markers) */
	WEIR_CAP_DIR_MOVE	= 1 << 10,	/* move() takes a directory with all in it, in one call */
	WEIR_CAP_LIST_DEEP	= 1 << 11,	/* list() with WEIR_LIST_DEEP is cheap (a page of 1000 a request) */
	WEIR_CAP_DIR_VERSION	= 1 << 12,	/* a directory's version changes whenever anything below it changes */
	WEIR_CAP_FOLD_CASE	= 1 << 13,	/* names that differ only by case are one name */
	WEIR_CAP_FOLD_NFC	= 1 << 14,	/* names come back in NFC */
	WEIR_CAP_LIST_MTIME	= 1 << 15,	/* mtime in listings is the one that was set, not the time of upload */
	WEIR_CAP_LOCAL		= 1 << 16,	/* no network: listings are cheap, no prefetch */
	WEIR_CAP_WAITS		= 1 << 17,	/* changes() waits for news by itself (longpoll); else the core asks every few seconds */
	WEIR_CAP_SEQUENTIAL	= 1 << 18,	/* parts of one upload go one after the other, each from where the last one ended */
	WEIR_CAP_LAST_ALONE	= 1 << 19,	/* the last part is sent when all others have arrived */
	WEIR_CAP_PARTS_UNTOLD	= 1 << 20,	/* upload_status() says only whether the upload lives: the core's own table tells which parts arrived,
						 * and commit finds out (BADSUM, NOENT) when that was wrong */
	WEIR_CAP_LATE_CHANGED	= 1 << 21,	/* get() may find out only at its end that the bytes are of another version (CHANGED): nobody is to see
						 * any of them before it has returned */
};

struct weir_limits {			/* filled by open()/probe(); 0: no limit */
	uint64_t put_max;		/* larger files go through upload_* (if there are such hooks) */
	uint64_t part_min, part_max;	/* bytes of every part but the last; all parts but the last have one size */
	uint32_t parts_max;
	int connections;		/* how many calls at once pay (and are allowed) */
	size_t name_max, path_max;	/* bytes */
};

#define WEIR_TIME_NONE INT64_MIN
#define WEIR_MODE_NONE UINT32_MAX
#define WEIR_SIZE_NONE UINT64_MAX

/* What the storage says of one object. In callbacks everything is borrowed until the callback returns; as an out-parameter
 * the strings are owned by the caller: weir_stat_free(). */
struct weir_stat {
	enum weir_type type;		/* FILE or DIR; LINK only with WEIR_CAP_SYMLINK */
	char *path;			/* list(): relative to the listed directory (one component unless DEEP). stat(): NULL */
	char *id;			/* the storage's id, NULL for storages addressed by path */
	char *version;			/* NULL: not told (directories mostly) */
	uint64_t size;			/* WEIR_SIZE_NONE: unknown until read */
	int64_t mtime_ns;		/* WEIR_TIME_NONE: not told */
	uint32_t mode;			/* permission bits; WEIR_MODE_NONE: not told */
	bool is_readonly;		/* the storage would refuse to change it */
	char *sum;			/* checksum as "md5:hex", "sha1:hex", "sha256:hex"; NULL: none */
};
void weir_stat_free(struct weir_stat *);	/* frees the strings, zeroes the struct */

/* Which object: the core fills all it knows, a backend uses what it needs. Borrowed. */
struct weir_where {
	const char *path;
	const char *id;			/* NULL: unknown or addressed by path */
	const char *parent_id;
	const char *version;		/* the version this operation is about. NULL: any; WEIR_ABSENT: there must be none */
};
extern const char WEIR_ABSENT[];	/* compared by address */

struct weir_meta {			/* sent along with content, or alone by set_meta() */
	int64_t mtime_ns;		/* WEIR_TIME_NONE: leave */
	uint32_t mode;			/* WEIR_MODE_NONE: leave */
};

struct weir_ctx {			/* of one call; NULL members and 0 are fine */
	struct weir_cancel *cancel;
	int64_t deadline_ms;		/* weir_now_ms() after which retrying stops; 0: the remote's patience from now */
};

/* One piece of news from a change feed. Borrowed until the callback returns. It says where to look, not what is there now: the core lists the
 * directories concerned. id: of what changed; path or parent_id: where it is now (either, as the storage tells); neither: nobody knows. A
 * removal may have an id or a path only. name and version, where the feed tells them for certain, save listings: a change that shows what
 * the tree has already (our own, mostly) is no news, and a rename elsewhere keeps what is cached. */
struct weir_change {
	const char *id, *parent_id;
	const char *path;		/* relative to the remote's root; compared as the storage folds names */
	const char *name;		/* with parent_id: the last component as list() spells it. NULL: not certain */
	const char *version;		/* of a file, spelled as in struct weir_stat. NULL: not told */
	bool is_removed, is_dir;
};
typedef enum weir_code weir_change_fn(void *arg, const struct weir_change *, struct weir_err *);

/* How a person signs in to a storage; `weir login` and `weir init` act on it, so that they name no storage. */
struct weir_sign_in {
	enum {
		WEIR_SIGN_IN_NONE,	/* nothing to do: credentials stand in the configuration */
		WEIR_SIGN_IN_OAUTH,	/* app says how; the tokens' file is app.token_file */
		WEIR_SIGN_IN_FLOW2,	/* Nextcloud's Login Flow v2 at url: gives user and app password */
		WEIR_SIGN_IN_KEYS,	/* a name and a secret are asked for on the terminal, without echo for the secret */
	} kind;
	struct weir_oauth_app app;	/* OAUTH */
	char *url;			/* FLOW2: the server. Owned */
	const char *user_key, *secret_key;	/* FLOW2, KEYS: keys of the configuration that hold the two ("user", "password"); static */
	const char *advice;		/* a sentence or two to print first (why one needs an own client id); NULL; static */
};
void weir_sign_in_clear(struct weir_sign_in *);

/* A question that `weir init` asks before a sign-in; the answer becomes the value of key. is_secret: read without echo, kept in a file of its own, which
 * KEY_file then names. */
struct weir_ask { const char *key, *question; bool is_optional, is_secret; };

struct weir_usage {
	uint64_t used, total;
	bool has_used, has_total;
	char account[160];		/* whose figure it is, the same text for every remote of one account ("" : this remote's own) */
};

struct weir_backend;
typedef enum weir_code weir_list_fn(void *arg, const struct weir_stat *, struct weir_err *);

struct weir_backend_ops {
	const char *name;			/* "s3": the `type` of the configuration */
	const char *const *keys;		/* its keys there, NULL-terminated */
	const struct weir_ask *asks;		/* ends with a NULL key; NULL: `weir init` has nothing to ask */

	/* Read the configuration, prepare; no network. *out only on success. Required for storages, unused in layers. */
	enum weir_code (*open)(struct weir_backend **out, const struct weir_remote_conf *, struct weir_http *, struct weir_err *);
	/* Free everything; no other call in flight. Required. */
	void (*close)(struct weir_backend *);
	/* Text that names what this remote is (endpoint, bucket, account, root), without secrets; the cache's identity. Owned. Required. */
	char *(*fingerprint)(struct weir_backend *);

	/* Is it there, do the credentials work, is the root there? One sentence with the server's own reason when not. Learns the
	 * endpoint's capabilities. AUTH, NOBUCKET, TLS and CONFIG refuse a mount; NET, STALL, THROTTLED, SERVER mean "away". Required. */
	enum weir_code (*probe)(struct weir_backend *, const struct weir_ctx *, struct weir_err *);
	/* Findings of probe() in more depth for `weir check`: calls line() with sentences ("conditional writes: kept"); may write and
	 * remove objects named .weir-check-RANDOM. Optional. */
	enum weir_code (*check)(struct weir_backend *, const struct weir_ctx *, void (*line)(void *arg, const char *), void *arg, struct weir_err *);

	/* One object. NOENT when it is not there. Fills *out. Required. */
	enum weir_code (*stat)(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, struct weir_stat *out, struct weir_err *);
	/* A directory's entries (not itself), any order, paged inside. flags: WEIR_LIST_DEEP lists the whole subtree, in byte order of
	 * paths so that a directory is complete once another one's entries follow. *self (may be NULL): version of the directory
	 * itself, owned, if the storage tells it with the listing. A missing directory is NOENT where directories exist, empty elsewhere. Required. */
#define WEIR_LIST_DEEP 1u
	enum weir_code (*list)(struct weir_backend *, const struct weir_ctx *, const struct weir_where *dir, unsigned flags,
	    weir_list_fn *, void *arg, char **self_version, struct weir_err *);

	/* Bytes [off, off+len) into the sink, in order; fewer only at the end of the object. where->version set: CHANGED if it is not
	 * that version any more (also when only the answer shows it). *st (may be NULL): what the answer's headers told, owned; it is filled before the
	 * first byte reaches the sink. Required. */
	enum weir_code (*get)(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, uint64_t off, uint64_t len,
	    struct weir_sink *, struct weir_stat *st, struct weir_err *);
	/* Create or replace in one request, atomically: readers see old or new. where->version as the precondition; what the endpoint
	 * cannot guarantee is compared right before (CHANGED). sum: "md5:hex" of the content or NULL. *st: version, id, mtime as stored. type: FILE,
	 * or LINK with WEIR_CAP_SYMLINK. Required unless read-only. */
	enum weir_code (*put)(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, enum weir_type,
	    struct weir_source *, uint64_t size, const struct weir_meta *, const char *sum, struct weir_stat *st, struct weir_err *);

	/* Upload in parts, resumable across restarts: begin gives an upload id (owned) that means something to the server later.
	 * Parts are numbered from 1, many at once, any order; repeating one replaces it. *tag: what commit needs to know of it, owned.
	 * status: calls fn for each part the server holds (number, size, tag). NOENT: the server has forgotten the upload.
	 * commit: names where->version as precondition. CHANGED, NOENT (upload gone), BADSUM. After a lost reply the core compares with stat().
	 * copy_part: part from bytes [off, off+len) of another object of this storage. All optional, but together (copy_part alone may be NULL). */
	enum weir_code (*upload_begin)(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, uint64_t size,
	    const struct weir_meta *, char **id, struct weir_err *);
	enum weir_code (*upload_part)(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, const char *id, uint32_t number,
	    struct weir_source *, uint64_t off, uint64_t len, uint64_t total, char **tag, struct weir_err *);
	enum weir_code (*upload_copy_part)(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, const char *id, uint32_t number,
	    const struct weir_where *src, uint64_t off, uint64_t len, char **tag, struct weir_err *);
	enum weir_code (*upload_status)(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, const char *id,
	    enum weir_code (*fn)(void *arg, uint32_t number, uint64_t size, const char *tag), void *arg, struct weir_err *);
	enum weir_code (*upload_commit)(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, const char *id, const char *const *tags,
	    uint32_t ntags, uint64_t size, const struct weir_meta *, const char *sum, struct weir_stat *st, struct weir_err *);
	enum weir_code (*upload_abort)(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, const char *id, struct weir_err *);

	/* Server-side copy of a file; from->version and to->version are preconditions. *st as in put. Large objects in parts, inside. Optional. */
	enum weir_code (*copy)(struct weir_backend *, const struct weir_ctx *, const struct weir_where *from, const struct weir_where *to,
	    struct weir_stat *st, struct weir_err *);
	/* Rename inside the storage. A file may replace a file (to->version names it; WEIR_ABSENT: EXIST/CHANGED when something is there). A directory only with
	 * WEIR_CAP_DIR_MOVE, never onto something. *st (may be NULL): as after put. Idempotent: if `from` is gone and `to` is what it would be, WEIR_OK.
	 * NULL: the core copies, checks, deletes. */
	enum weir_code (*move)(struct weir_backend *, const struct weir_ctx *, const struct weir_where *from, const struct weir_where *to, bool is_dir,
	    struct weir_stat *st, struct weir_err *);
	/* EXIST when it is there already (the core then merges). *st: id and version if told. Required unless read-only. */
	enum weir_code (*mkdir)(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, struct weir_stat *st, struct weir_err *);
	/* Remove one file, or one directory after looking that it is empty (NOTEMPTY). NOENT when it is gone already. where->version: CHANGED. Required
	 * unless read-only. */
	enum weir_code (*remove)(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, bool is_dir, struct weir_err *);
	/* mtime/mode of what is there already. *st: new version if told. Optional. */
	enum weir_code (*set_meta)(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, bool is_dir, const struct weir_meta *,
	    struct weir_stat *st, struct weir_err *);
	/* The change feed. *cursor NULL: there is none yet; the present one is returned, nothing is told. Otherwise fn once for each change since,
	 * in order; *cursor (owned) is replaced when all were told, and only then. Nothing new: waits up to wait_ms for something (0: not at all) if the
	 * storage can, else returns at once. STALE: the cursor is dead, the core looks at everything again and starts from NULL. Own changes may be
	 * among the news. The layers do not repeat it, the core does. NULL hook: no feed (the core walks DIR_VERSIONs or listing ages). */
	enum weir_code (*changes)(struct weir_backend *, const struct weir_ctx *, char **cursor, int64_t wait_ms, weir_change_fn *, void *arg,
	    struct weir_err *);
	/* News as it happens, over a connection that the storage keeps open between calls; for storages whose DIR_VERSIONs the core walks: it says that
	 * something changed and perhaps what, never all of it, and how soon is the server's affair. Is there no connection, one is opened, *is_new is
	 * set, and it returns: what happened before was heard by nobody. Else it waits up to wait_ms for news; fn for each, with nothing but an id,
	 * or with nothing at all (somewhere). WEIR_OK: the connection stands, news or not. Otherwise there is none any more, and the caller
	 * decides when to try again: NOTSUP when the server has no such thing (or the configuration wants none), CONFIG when it has one that must not be
	 * used, with the reason. CANCELED leaves it open. The layers do not repeat it. One caller at a time; closed by close(). */
	enum weir_code (*listen)(struct weir_backend *, const struct weir_ctx *, int64_t wait_ms, bool *is_new, weir_change_fn *, void *arg,
	    struct weir_err *);
	/* How a person signs in to such a remote; no instance is needed, no network. *out zeroed by the caller, freed with
	 * weir_sign_in_clear(). NULL hook: WEIR_SIGN_IN_NONE. */
	enum weir_code (*sign_in)(const struct weir_remote_conf *, struct weir_sign_in *out, struct weir_err *);
	/* Space as the server counts it. Optional. */
	enum weir_code (*quota)(struct weir_backend *, const struct weir_ctx *, struct weir_usage *, struct weir_err *);
	/* Health and traffic, never blocks. Required (layers pass on). heard_ms as weir_http_pool_heard_ms(); local storages: now. */
	void (*stats)(struct weir_backend *, int64_t *heard_ms, struct weir_http_stats *);
};

/* First member of every instance. */
struct weir_backend {
	const struct weir_backend_ops *ops;
	struct weir_backend *next;	/* the layer below, owned; NULL at the bottom */
	atomic_uint caps;		/* layers copy what is below after probe(); read through weir_backend_caps() */
	struct weir_limits limits;	/* settled when open() or the first probe() returns */
	atomic_llong pause_until_ms;	/* weir_now_ms() before which the pace layer starts no call; set by weir_backend_pause() */
};
/* For storages that were told Retry-After with a 429 or 503: calls from now on wait that long (negative: not told, does nothing;
 * longer than 5 min is cut). The storage still returns WEIR_E_THROTTLED. Any thread. */
void weir_backend_pause(struct weir_backend *, int64_t retry_after_ms);
/* MD5 of bytes [off, off+len) of a source. IO. */
enum weir_code weir_source_md5(struct weir_source *, uint64_t off, uint64_t len, unsigned char out[16], struct weir_err *);
/* Capabilities and limits of the storage at the bottom of a stack. */
unsigned weir_backend_caps(const struct weir_backend *);
const struct weir_limits *weir_backend_limits(const struct weir_backend *);

/* All storages this program knows, for the configuration and for opening (backends/registry.c). */
extern const struct weir_backend_ops *const weir_backends[];	/* NULL-terminated */
/* Configuration types made from the table above. */
const struct weir_conf_type *weir_backend_types(size_t *n);
/* Open the storage of one [remote] with its layers on top: retry -> pace -> storage (with fault in tests, through WEIR_FAULT in the
 * environment of test programs only). */
enum weir_code weir_backend_open(struct weir_backend **out, const struct weir_remote_conf *, struct weir_http *, struct weir_err *);
void weir_backend_close(struct weir_backend *);	/* the whole stack; NULL is fine */

#endif
