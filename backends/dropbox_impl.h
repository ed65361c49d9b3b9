/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the Dropbox backend share. Nobody else includes it.
 *
 *   dropbox.c          table, open, identity        dropbox_conf.c     configuration, sign-in
 *   dropbox_call.c     one request, its answer      dropbox_json.c     metadata, errors, arguments (pure)
 *   dropbox_name.c     paths <-> names (pure)       dropbox_hash.c     content_hash (pure)
 *   dropbox_read.c     stat, list, get              dropbox_put.c      files in one request, and what a refusal means
 *   dropbox_commit.c   many commits as one          dropbox_upload.c   files in parts
 *   dropbox_tree.c     mkdir, remove, move, copy    dropbox_changes.c  the change feed
 *   dropbox_account.c  probe, check, quota, team spaces
 *
 * Versions are revs. An id ("id:…") stays with a file or folder through renames and overwrites and is accepted wherever a path is. Names that
 * differ only by case are one name; path_lower is what the server compares, `name` is how people spell it; of path_display only the
 * last component can be relied on, so it is not used. Folders have neither a time nor a rev. */
#ifndef WEIR_DROPBOX_IMPL_H
#define WEIR_DROPBOX_IMPL_H
#include "../src/util/text.h"
#include "../src/util/util.h"
#include "backend.h"
#include <jansson.h>
#include <pthread.h>

#define DROPBOX_BLOCK (4u << 20)		/* of content_hash; offsets and sizes of parts are multiples of it */
#define DROPBOX_PUT_MAX (32ull << 20)		/* the protocol allows 150 MiB in one request */
#define DROPBOX_PART_MAX (144ull << 20)		/* likewise, in whole blocks */
#define DROPBOX_FILE_MAX 2199019061248ull
#define DROPBOX_NAME_CHARS 255
#define DROPBOX_BATCH_MAX 1000
#define DROPBOX_CONNECTIONS 16
#define DROPBOX_WRITERS 2			/* changes of names under way at once: they contend for one lock of the account */
#define DROPBOX_THINK_MS 120000			/* commits, moves and removals of much may be silent so long */

struct dropbox_commit;

struct dropbox {
	struct weir_backend be;			/* first */
	struct weir_http_pool *pool;
	struct weir_oauth *oauth;

	/* Settled by open(). */
	char *name;				/* of the remote, for messages */
	char *client_id;
	char *root;				/* "" or "/a/b" as the server spells it: before every path */
	char *api_url, *content_url, *notify_url;	/* without a slash at the end */
	char *base_url;				/* api_url when it is not Dropbox's own: part of the identity */
	bool is_team_space;

	pthread_mutex_t lock;			/* path_root and what follows */
	char *path_root;			/* value of Dropbox-API-Path-Root; NULL: not sent */
	bool is_root_known;			/* path_root is settled */
	char account[128];			/* its id; "": not asked yet */
	bool is_hidden_told;			/* one log line about names that cannot be shown was written */

	pthread_mutex_t write_lock;		/* everything below */
	pthread_cond_t write_cond;
	int writers;				/* changes of names under way */
	int puts;				/* put() calls under way */
	bool is_committing;			/* somebody leads a group commit */
	struct dropbox_commit *queue, **queue_tail;	/* waiting for the next one */

	int64_t longpoll_not_before_ms;		/* changes() only, which is called by one thread: backoff */
};

/* ---- dropbox_conf.c ---- */
extern const char *const weir_dropbox_keys[];
enum weir_code weir_dropbox_conf_read(struct dropbox *, const struct weir_remote_conf *, struct weir_oauth_app *, struct weir_err *);
enum weir_code weir_dropbox_sign_in(const struct weir_remote_conf *, struct weir_sign_in *, struct weir_err *);

/* ---- dropbox_hash.c: pure ---- */
/* content_hash: SHA-256 of the SHA-256s of blocks of 4 MiB, lower-case hex. */
struct dropbox_hash;
struct dropbox_hash *weir_dropbox_hash_new(void);
void weir_dropbox_hash_add(struct dropbox_hash *, const void *, size_t);
/* Frees it. blocks (may be NULL): hex of the blocks' digests one after the other, owned ("" for nothing): the tag of a part. */
void weir_dropbox_hash_end(struct dropbox_hash *, char hex[2 * WEIR_SHA256_LEN + 1], char **blocks);
void weir_dropbox_hash_free(struct dropbox_hash *);
/* Of bytes [off, off+len) of a source. IO. */
enum weir_code weir_dropbox_hash_source(struct weir_source *, uint64_t off, uint64_t len, char hex[2 * WEIR_SHA256_LEN + 1], char **blocks,
    struct weir_err *);
/* Of the whole, from the tags of its parts in order. false: a tag is not one. */
bool weir_dropbox_hash_tags(const char *const *tags, uint32_t ntags, uint64_t size, char hex[2 * WEIR_SHA256_LEN + 1]);

/* ---- dropbox_name.c: pure ---- */
/* Append the server's spelling of a path to b, with "/" before each component. NAME, NAMETOOLONG. is_new: for something that is about to get
 * this name: what Dropbox never keeps (desktop.ini …) is refused too. */
enum weir_code weir_dropbox_path_add(struct weir_buf *b, const char *path, bool is_new, struct weir_err *);
/* A server's name as people see it: owned, or NULL when a mount cannot show it. */
char *weir_dropbox_name_shown(const char *name);
/* Lower case as the server folds it (per character). Owned; bytes that are not UTF-8 pass. */
char *weir_dropbox_fold(const char *);
/* Last component. Borrowed. */
const char *weir_dropbox_leaf(const char *path);

/* ---- dropbox_json.c: pure ---- */
/* For a header or a body: ASCII only, U+007F and beyond as \uXXXX. Owned. */
char *weir_dropbox_json_text(const json_t *);
/* A file's or folder's metadata. Strings owned; path is the name as shown (NULL: cannot be shown). is_deleted: a tombstone. PROTO. */
enum weir_code weir_dropbox_stat_of_json(const json_t *, struct weir_stat *, bool *is_deleted, struct weir_err *);
/* Why a request was refused: tags from the outside in ("path", "conflict", "file"). */
struct dropbox_error {
	char tags[6][48];
	unsigned ntags;
	char scope[48];				/* missing_scope */
	char text[200];				/* of an answer that is not JSON, one line */
	int64_t retry_after_ms;			/* -1: not told */
	uint64_t correct_offset;
	bool has_offset, is_json;
	char *session;				/* owned: upload_session_id of a refused files/upload */
};
void weir_dropbox_error_of_json(const json_t *error, struct dropbox_error *);	/* the union itself: what stands under "error" or "failure" */
void weir_dropbox_error_parse(const char *body, size_t len, struct dropbox_error *);	/* a whole answer */
void weir_dropbox_error_clear(struct dropbox_error *);
bool weir_dropbox_error_has(const struct dropbox_error *, const char *tag);
enum weir_code weir_dropbox_error_code(int status, const struct dropbox_error *);
/* "path/conflict/file", or the text. */
const char *weir_dropbox_error_text(int status, const struct dropbox_error *, char out[256]);
/* The argument of files/upload and the commit of a session. mtime in whole seconds. */
json_t *weir_dropbox_commit_json(const char *path, const struct weir_where *, const struct weir_meta *);

/* ---- dropbox_call.c ---- */
struct dropbox_req {
	enum { DROPBOX_RPC, DROPBOX_UPLOAD, DROPBOX_DOWNLOAD, DROPBOX_POLL } style;
	const char *route;			/* "files/list_folder" */
	json_t *arg;				/* stolen by the call; NULL: null */
	struct weir_source *source;
	uint64_t source_off, source_len;
	const char *range;			/* "bytes=0-9" */
	struct weir_sink *sink;
	enum weir_code (*on_head)(void *arg, const struct weir_http_resp *, struct weir_err *);
	void *on_head_arg;
	int64_t stall_ms;
	const char *what, *path;		/* for sentences: "put", "a/b" */
	struct dropbox_error *error;		/* may be NULL: filled when the answer is a refusal; the caller clears it */
};
/* Send with a fresh token, again once when the token is refused or the team's root has changed. WEIR_OK: a 2xx; *out (may be NULL) is the
 * answer's JSON, owned. Otherwise the code of the refusal. resp may be NULL. */
enum weir_code weir_dropbox_call(struct dropbox *, const struct weir_ctx *, struct dropbox_req *, json_t **out, struct weir_http_resp *,
    struct weir_err *);
/* The sentence of a refusal; tells the layers of a pause. Returns the code. */
enum weir_code weir_dropbox_refused(struct dropbox *, int status, const struct dropbox_error *, const char *what, const char *path, struct weir_err *);
/* Whole path of the server for w->path, owned. */
enum weir_code weir_dropbox_path(struct dropbox *, const char *path, bool is_new, char **out, struct weir_err *);

/* ---- dropbox_read.c ---- */
enum weir_code weir_dropbox_stat(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, struct weir_stat *, struct weir_err *);
enum weir_code weir_dropbox_list(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, unsigned flags, weir_list_fn *, void *,
    char **self_version, struct weir_err *);
enum weir_code weir_dropbox_get(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, uint64_t off, uint64_t len,
    struct weir_sink *, struct weir_stat *, struct weir_err *);
/* Metadata of a server's path, id or "rev:…". path_lower (may be NULL): owned. */
enum weir_code weir_dropbox_look(struct dropbox *, const struct weir_ctx *, const char *at, const char *path, struct weir_stat *, char **path_lower,
    struct weir_err *);
/* Is the file `now`, which has another rev, still the same file with the same content as at that rev (moved, alone or with its folder)? An
 * error only when that could not be found out. */
enum weir_code weir_dropbox_is_same(struct dropbox *, const struct weir_ctx *, const char *rev, const struct weir_stat *now, bool *is_same,
    struct weir_err *);

/* ---- dropbox_put.c ---- */
enum weir_code weir_dropbox_put(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, enum weir_type, struct weir_source *,
    uint64_t size, const struct weir_meta *, const char *sum, struct weir_stat *, struct weir_err *);
/* One file about to appear: what every way of sending it needs. */
struct dropbox_file {
	const struct weir_where *where;
	const struct weir_meta *meta;
	char *at;				/* owned: the server's path */
	uint64_t size;
	char hash[2 * WEIR_SHA256_LEN + 1];
	char *rev;				/* owned: rev to replace when where->version is an older name of the same content; NULL: that one */
};
/* What the server told of a file that has arrived: *st, or BADSUM. */
enum weir_code weir_dropbox_arrived(const struct dropbox_file *, const json_t *metadata, struct weir_stat *, struct weir_err *);
/* The precondition failed, or a session is used up (why). WEIR_OK: what is there is what was sent, *st. BUSY: only the rev is another one, f->rev
 * holds it: try again. Else CHANGED, EXIST, ISDIR, or why. */
enum weir_code weir_dropbox_conflict(struct dropbox *, const struct weir_ctx *, struct dropbox_file *, enum weir_code why, struct weir_stat *,
    struct weir_err *);
json_t *weir_dropbox_file_commit(const struct dropbox_file *);

/* ---- dropbox_commit.c ---- */
/* Make a closed session a file. Calls that come while another one is under way go together in one request. *answer: the metadata, owned. */
enum weir_code weir_dropbox_commit(struct dropbox *, const struct weir_ctx *, const struct dropbox_file *, const char *session, json_t **answer,
    struct dropbox_error *, struct weir_err *);
/* A place among the few that may change names at once. CANCELED. */
enum weir_code weir_dropbox_write_begin(struct dropbox *, const struct weir_ctx *, struct weir_err *);
void weir_dropbox_write_end(struct dropbox *);

/* ---- dropbox_upload.c ---- */
enum weir_code weir_dropbox_upload_begin(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, uint64_t size,
    const struct weir_meta *, char **id, struct weir_err *);
enum weir_code weir_dropbox_upload_part(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, const char *id, uint32_t number,
    struct weir_source *, uint64_t off, uint64_t len, uint64_t total, char **tag, struct weir_err *);
enum weir_code weir_dropbox_upload_status(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, const char *id,
    enum weir_code (*fn)(void *arg, uint32_t number, uint64_t size, const char *tag), void *arg, struct weir_err *);
enum weir_code weir_dropbox_upload_commit(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, const char *id,
    const char *const *tags, uint32_t ntags, uint64_t size, const struct weir_meta *, const char *sum, struct weir_stat *, struct weir_err *);

/* ---- dropbox_tree.c ---- */
enum weir_code weir_dropbox_mkdir(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, struct weir_stat *, struct weir_err *);
enum weir_code weir_dropbox_remove(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, bool is_dir, struct weir_err *);
enum weir_code weir_dropbox_copy(struct weir_backend *, const struct weir_ctx *, const struct weir_where *from, const struct weir_where *to,
    struct weir_stat *, struct weir_err *);
enum weir_code weir_dropbox_move(struct weir_backend *, const struct weir_ctx *, const struct weir_where *from, const struct weir_where *to, bool is_dir,
    struct weir_stat *, struct weir_err *);

/* ---- dropbox_changes.c ---- */
enum weir_code weir_dropbox_changes(struct weir_backend *, const struct weir_ctx *, char **cursor, int64_t wait_ms, weir_change_fn *, void *arg,
    struct weir_err *);

/* ---- dropbox_account.c ---- */
enum weir_code weir_dropbox_probe(struct weir_backend *, const struct weir_ctx *, struct weir_err *);
enum weir_code weir_dropbox_check(struct weir_backend *, const struct weir_ctx *, void (*line)(void *arg, const char *), void *arg, struct weir_err *);
enum weir_code weir_dropbox_quota(struct weir_backend *, const struct weir_ctx *, struct weir_usage *, struct weir_err *);
/* Value of Dropbox-API-Path-Root, owned, NULL when none is sent. Asks for the account once when the configuration says team space; stale: the
 * value the server has just refused. */
enum weir_code weir_dropbox_path_root(struct dropbox *, const struct weir_ctx *, const char *stale, char **out, struct weir_err *);
#endif
