/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the Google Drive backend share. Nobody else includes it (but its tests).
 *
 *   drive.c         table, open, probe, check, sign-in      drive_conf.c    configuration
 *   drive_call.c    a request with a token, its answer      drive_json.c    JSON <-> files, pages, errors (pure)
 *   drive_name.c    names, twins, queries, exports (pure)   drive_map.c     small memories of the instance
 *   drive_find.c    paths and ids -> objects                drive_list.c    listings
 *   drive_read.c    get, exports                            drive_write.c   put, pre-made ids, compare before and after
 *   drive_upload.c  resumable sessions                      drive_tree.c    mkdir, remove, move, copy, set_meta
 *   drive_watch.c   the change feed, quota
 *
 * Drive knows objects by id; names are labels, any number of siblings may have the same one. So:
 * - An id as the core sees it is Drive's, or for a shortcut "OWN>TARGET": content is the target's, name and place are the shortcut's.
 * - A version is "ID:REVISION" of the content (headRevisionId): it changes with bytes only, and says which object it is of. Google Docs
 *   have no revisions one could name: "ID:tMODIFIED".
 * - There is no If-Match: what a call names is compared right before and right after. */
#ifndef WEIR_DRIVE_IMPL_H
#define WEIR_DRIVE_IMPL_H
#include "../src/util/text.h"
#include "../src/util/util.h"
#include "backend.h"
#include <jansson.h>
#include <pthread.h>
#include <time.h>

#define DRIVE_CONNECTIONS 8
#define DRIVE_PUT_MAX (5ull << 20)	/* Google's advice for one request with metadata and content */
#define DRIVE_PART (16ull << 20)	/* of a resumable upload; a multiple of DRIVE_QUANTUM */
#define DRIVE_QUANTUM (256ull << 10)	/* the protocol's: pieces but the last are multiples of it */
#define DRIVE_FILE_MAX 5497558138880ull
#define DRIVE_NAME_MAX 255
#define DRIVE_PAGE 1000
#define DRIVE_THINK_MS 120000		/* the end of a large upload, a copy, an export */
#define DRIVE_EXPORT_MAX (64u << 20)	/* Google's limit is 10 MB; by its links somewhat more */
#define DRIVE_JSON_MAX (32u << 20)

#define DRIVE_FOLDER "application/vnd.google-apps.folder"
#define DRIVE_SHORTCUT "application/vnd.google-apps.shortcut"
#define DRIVE_APPS "application/vnd.google-apps."
#define DRIVE_FIELDS "id,name,mimeType,parents,size,modifiedTime,createdTime,headRevisionId,md5Checksum,trashed,appProperties," \
	"capabilities(canEdit,canAddChildren),shortcutDetails(targetId,targetMimeType)"

/* ---- drive_json.c: pure ---- */

struct drive_file {			/* strings owned; NULL: not told */
	char *id, *name, *mime, *parent, *rev, *md5, *created, *modified;
	char *target_id, *target_mime;	/* of a shortcut */
	uint64_t size;			/* WEIR_SIZE_NONE: not told */
	int64_t modified_ns;		/* WEIR_TIME_NONE likewise */
	uint32_t mode;			/* WEIR_MODE_NONE likewise */
	bool is_trashed, is_link, is_fixed /* may not be changed */, is_closed /* a folder nothing may be added to */;
};
void weir_drive_file_free(struct drive_file *);
void weir_drive_file_copy(struct drive_file *to, const struct drive_file *from);
bool weir_drive_is_folder(const struct drive_file *);
bool weir_drive_is_doc(const struct drive_file *);	/* a Google document: no bytes of its own */
char *weir_drive_version(const struct drive_file *);	/* owned; NULL for folders */
char *weir_drive_id_own(const char *id);		/* "OWN>TARGET" -> OWN; owned */
char *weir_drive_id_target(const char *id);
/* 0, or -1 when it is no file resource (no id). *f is to be freed in any case. */
int weir_drive_file_parse(const json_t *, struct drive_file *f);

struct drive_page { struct drive_file *v; size_t n; char *next; };
void weir_drive_page_free(struct drive_page *);
/* A page of files.list; entries that are no files are left out. 0, or -1 when it is no page. */
int weir_drive_page_parse(const char *json, size_t len, struct drive_page *);

struct drive_error { char reason[64], message[256]; };
void weir_drive_error_parse(const char *body, size_t len, struct drive_error *);
/* What status and reason mean to the core. */
enum weir_code weir_drive_code(int status, const char *reason);

struct drive_change { struct drive_file file; char *id; bool is_removed, has_file; };
struct drive_changes { struct drive_change *v; size_t n; char *next, *start; };
void weir_drive_changes_free(struct drive_changes *);
int weir_drive_changes_parse(const char *json, size_t len, struct drive_changes *);

/* Bytes kept of an upload: "bytes=0-N" -> N + 1, nothing -> 0. */
uint64_t weir_drive_range_kept(const char *range);
json_t *weir_drive_json_load(const char *, size_t len);	/* NULL: not JSON */
const char *weir_drive_json_text(const json_t *object, const char *key);	/* NULL: none, or not a text; borrowed */
void weir_drive_time(int64_t ns, char out[40]);		/* RFC 3339 with milliseconds */
/* Metadata of new content: time, mode, whether it is a symlink, into o. was: what is there now (NULL: nothing). */
void weir_drive_meta_json(json_t *o, const struct weir_meta *, enum weir_type, const struct drive_file *was);

/* ---- drive_name.c: pure ---- */

struct drive_format { const char *ext, *mime; unsigned kinds; };
/* The words of export_formats as a list, NULL-terminated, owned (the array only). NULL and *bad: a word that is no format. */
const struct drive_format **weir_drive_formats_parse(const char *words, const char **bad);
/* How a Google document of this type leaves; NULL: not at all. */
const struct drive_format *weir_drive_format(const struct drive_format *const *, const char *mime);

/* A name that Drive holds, as people see it: never "", ".", "..", with a '/' or longer than 255 bytes. Owned. */
char *weir_drive_name_show(const char *name, const char *id);
/* The name Drive is to hold for one that people gave; it comes back the same. NAME, NAMETOOLONG. Owned. */
enum weir_code weir_drive_name_hold(const char *shown, size_t len, char **name, struct weir_err *);
/* Name of an object with the ending of its export; NULL: not shown. Owned. */
char *weir_drive_name_of(const struct drive_format *const *, const struct drive_file *);
/* "a.txt" of id "1AbCdEfGhI" as a twin: "a (1AbCdEfG).txt". is_whole: with all of the id. Owned. */
char *weir_drive_name_twin(const char *shown, const char *id, bool is_whole);
/* Does it look like a twin's? */
bool weir_drive_name_is_twin(const char *shown);
/* Is this what the object is called, alone or as a twin? */
bool weir_drive_name_is(const char *leaf, const char *shown, const char *id);

struct drive_entry { struct drive_file *file; char *name; };	/* name: as shown, owned */
/* Make the names of one folder's entries distinct: the oldest keeps it. Entries are put into another order. */
void weir_drive_names_settle(struct drive_entry *, size_t n);
/* 'text' of a query, with its quotes and escapes. */
void weir_drive_query_text(struct weir_buf *, const char *text);

/* ---- drive_map.c: what the instance remembers for a while. Not locked. ---- */

struct drive_note { uint64_t hash; char *key, *value; int64_t at_ms; };
struct drive_map { struct drive_note *v; size_t size, next; };	/* size notes, the oldest one goes */
void weir_drive_map_init(struct drive_map *, size_t size);
void weir_drive_map_free(struct drive_map *);
void weir_drive_map_put(struct drive_map *, const char *key, const char *value);
char *weir_drive_map_get(const struct drive_map *, const char *key, int64_t max_age_ms);	/* owned; NULL: none */
char *weir_drive_map_key_of(const struct drive_map *, const char *value, int64_t max_age_ms);	/* owned; NULL: none */
void weir_drive_map_drop(struct drive_map *, const char *key);
void weir_drive_map_drop_value(struct drive_map *, const char *value);
void weir_drive_map_drop_below(struct drive_map *, const char *path);	/* and path itself */
/* Values of all keys that begin with prefix; owned, NULL-terminated. */
char **weir_drive_map_values(const struct drive_map *, const char *prefix, int64_t max_age_ms);

/* ---- the instance ---- */

struct drive_busy { struct drive_busy *next; char *key; };
struct drive_session { struct drive_session *next; char *id, *rev; uint64_t at, summed; struct weir_digest *md5; };
struct drive_export { struct drive_export *next; char *version, *data, md5[2 * WEIR_MD5_LEN + 1]; size_t len; };
struct drive_head { struct drive_file file; int64_t at_ms; };
#define DRIVE_HEADS 32

struct drive {
	struct weir_backend be;			/* first */
	struct weir_http_pool *pool;
	struct weir_oauth *oauth;

	/* Settled by open(). */
	char *name, *api_url, *upload_url;
	char *root_folder, *shared_drive;	/* as configured; NULL: not */
	const struct drive_format **formats;
	bool uses_trash, acknowledges_abuse;
	enum { DRIVE_ROOT_FOLDER, DRIVE_ROOT_SHARED, DRIVE_ROOT_DRIVES } root_kind;

	pthread_mutex_t lock;			/* all below */
	pthread_cond_t freed;
	struct drive_busy *busy;		/* "PARENT/name" somebody makes or moves something to */
	char *root_id, *drive_id;		/* NULL: not asked yet; drive_id: of a shared drive */
	char **ids;				/* made by the server, for objects to come */
	size_t nids;
	struct drive_map paths;			/* folder's path -> id */
	struct drive_map made;			/* "PARENT/name" -> id of what was made or moved there: listings and queries lag */
	struct drive_map gone;			/* id -> "": what was trashed or moved away, likewise */
	struct drive_map meant;			/* "PARENT/name" -> id of a create whose answer may have been lost */
	struct drive_map sent;			/* the same -> MD5s of the contents it may have come with, 32 digits each */
	struct drive_map points;		/* target of a folder shortcut -> the id its children's parent has for the core */
	struct drive_map twins;			/* ids that a listing gave a name of their own */
	struct drive_head heads[DRIVE_HEADS];
	struct drive_session *sessions;
	struct drive_export *exports;		/* latest first */
	int64_t throttle_ms;
	bool is_loop_told;
};

/* ---- drive_conf.c ---- */
extern const char *const weir_drive_keys[];
enum weir_code weir_drive_conf_read(struct drive *, const struct weir_remote_conf *, struct weir_err *);
/* Everything the sign-in needs. CONFIG. */
enum weir_code weir_drive_conf_app(const struct weir_remote_conf *, struct weir_oauth_app *, struct weir_err *);

/* ---- drive_call.c ---- */

struct drive_req {
	const char *method, *url;
	const char *headers[6];		/* NULL-terminated; room for one more is not needed */
	const void *body;
	struct weir_source *source;	/* instead of body */
	uint64_t body_len, source_off;
	bool has_body;
	struct weir_sink *sink;
	enum weir_code (*on_head)(void *arg, const struct weir_http_resp *, struct weir_err *);
	void *on_head_arg;
	int64_t stall_ms;
	bool follows;			/* GET of content: redirects, without the token on other hosts */
};
/* Send with a token, wait. A refused token is renewed, once. WEIR_OK: an answer of whatever status is in resp. */
enum weir_code weir_drive_call(struct drive *, const struct weir_ctx *, const struct drive_req *, struct weir_http_resp *, struct weir_err *);
/* Code and sentence of an answer that is not 2xx. */
enum weir_code weir_drive_fail(struct drive *, const struct weir_http_resp *, const char *what, const char *path, struct weir_err *);
enum weir_code weir_drive_do(struct drive *, const struct weir_ctx *, const struct drive_req *, struct weir_http_resp *, const char *what,
    const char *path, struct weir_err *);
/* One metadata request. query: after "supportsAllDrives=true", with a leading '&', or "". body: stolen, may be NULL. *out (may be NULL): the answer,
 * owned (json_decref). */
enum weir_code weir_drive_json(struct drive *, const struct weir_ctx *, const char *method, const char *where, const char *query, json_t *body,
    json_t **out, const char *what, const char *path, struct weir_err *);
/* "files/ID" with the id encoded, and what follows. Owned. */
char *weir_drive_at(const char *kind, const char *id, const char *more);

/* ---- drive_find.c ---- */

struct drive_item {			/* an object as its folder names it */
	struct drive_file f;		/* itself */
	struct drive_file to;		/* what a shortcut stands for */
	bool is_shortcut;
};
void weir_drive_item_free(struct drive_item *);
const struct drive_file *weir_drive_content(const struct drive_item *);
char *weir_drive_item_id(const struct drive_item *);
/* The core's view. Strings owned. path stays NULL. */
void weir_drive_stat_of(const struct drive *, const struct drive_item *, struct weir_stat *);
/* NULL: it is named like a folder that cannot be shown. */
char *weir_drive_item_name(const struct drive *, const struct drive_item *);

enum weir_code weir_drive_root(struct drive *, const struct weir_ctx *, struct weir_err *);
/* files.get. NOENT also when it is in the trash. */
enum weir_code weir_drive_file_get(struct drive *, const struct weir_ctx *, const char *id, const char *path, struct drive_file *, struct weir_err *);
/* The same, at most max_age_ms old. */
enum weir_code weir_drive_head(struct drive *, const struct weir_ctx *, const char *id, const char *path, int64_t max_age_ms, struct drive_file *,
    struct weir_err *);
void weir_drive_head_forget(struct drive *, const char *id);
/* Fill ->to of an item whose ->f is a shortcut. NOENT: it points nowhere. */
enum weir_code weir_drive_follow(struct drive *, const struct weir_ctx *, struct drive_item *, const char *path, struct weir_err *);
/* Id of the folder that where's object is in (target of shortcuts; NULL-able for virtual roots: ""). Owned. */
enum weir_code weir_drive_parent(struct drive *, const struct weir_ctx *, const struct weir_where *, char **parent, const char **leaf, struct weir_err *);
/* Id of a directory by where->id or its path. Owned; "" for a virtual root. NOENT, NOTDIR. */
enum weir_code weir_drive_dir(struct drive *, const struct weir_ctx *, const struct weir_where *, char **id, struct weir_err *);
/* Ids of all folders on the way to path, itself included, outermost first; owned, NULL-terminated. */
enum weir_code weir_drive_chain(struct drive *, const struct weir_ctx *, const char *path, char ***ids, struct weir_err *);
/* What is called leaf in parent. NOENT. */
enum weir_code weir_drive_lookup(struct drive *, const struct weir_ctx *, const char *parent, const char *leaf, const char *path, struct drive_item *,
    struct weir_err *);
/* The object where names, if it is there: by id when that is known and still at this place, else by name. NOENT. */
enum weir_code weir_drive_find(struct drive *, const struct weir_ctx *, const struct weir_where *, struct drive_item *, struct weir_err *);
/* The object of where->id, or of the id inside of where->version; wherever it is now. NOENT. */
enum weir_code weir_drive_by_id(struct drive *, const struct weir_ctx *, const struct weir_where *, struct drive_item *, struct weir_err *);
/* Is it the version where names? CHANGED with a sentence if not. */
enum weir_code weir_drive_is_version(const struct weir_where *, const struct drive_item *, struct weir_err *);
/* Is it really called leaf and in parent? */
bool weir_drive_is_at(struct drive *, const struct drive_item *, const char *parent, const char *leaf);
/* One at a time for one name of one folder. */
char *weir_drive_enter(struct drive *, const char *parent, const char *leaf);
void weir_drive_leave(struct drive *, char *key);	/* frees it */
void weir_drive_note_made(struct drive *, const char *parent, const char *leaf, const char *id);
void weir_drive_note_gone(struct drive *, const char *id);

/* ---- drive_list.c ---- */
/* All entries of a folder ("" : the virtual root), with their names settled. Owned. */
struct drive_folder { struct drive_page *pages; size_t npages; struct drive_entry *v; size_t n; };
void weir_drive_folder_free(struct drive_folder *);
enum weir_code weir_drive_folder_read(struct drive *, const struct weir_ctx *, const char *id, const char *path, struct drive_folder *, struct weir_err *);
/* One page of files.list with this query; max entries, after token (NULL: the first). */
enum weir_code weir_drive_query(struct drive *, const struct weir_ctx *, const char *q, unsigned max, const char *token, const char *path,
    struct drive_page *, struct weir_err *);
enum weir_code weir_drive_list(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, unsigned flags, weir_list_fn *, void *,
    char **self_version, struct weir_err *);
enum weir_code weir_drive_stat(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, struct weir_stat *, struct weir_err *);

/* ---- drive_read.c ---- */
enum weir_code weir_drive_get(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, uint64_t off, uint64_t len,
    struct weir_sink *, struct weir_stat *, struct weir_err *);
/* Bytes a Google document has when it is exported: it is, and kept for a while. */
enum weir_code weir_drive_export_size(struct drive *, const struct weir_ctx *, const struct drive_file *, const char *path, uint64_t *size,
    struct weir_err *);

/* ---- drive_write.c ---- */
enum weir_code weir_drive_put(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, enum weir_type, struct weir_source *,
    uint64_t size, const struct weir_meta *, const char *sum, struct weir_stat *, struct weir_err *);
/* An id for something new at (parent, leaf): the same one again until weir_drive_id_done(). Owned. */
enum weir_code weir_drive_id_new(struct drive *, const struct weir_ctx *, const char *parent, const char *leaf, char **id, bool *is_again,
    struct weir_err *);
/* One that nothing has yet. Owned. */
enum weir_code weir_drive_id_take(struct drive *, const struct weir_ctx *, char **id, struct weir_err *);
void weir_drive_id_done(struct drive *, const char *parent, const char *leaf);
/* What an earlier try of making *id may have left. OK: it is at its place, in *it (zeroed). NOENT: it is not; where somebody has moved or removed it since,
 * what was made is theirs, and *id is a new one, as it is when Drive says that the id is taken (is_taken) and shows nothing. */
enum weir_code weir_drive_id_again(struct drive *, const struct weir_ctx *, const char *parent, const char *leaf, char **id, bool is_taken,
    const char *path, struct drive_item *it, struct weir_err *);
/* Is `ours` the revision right after base (a version), and the newest? A foreign one that it covered becomes the newest again. CHANGED. */
enum weir_code weir_drive_after(struct drive *, const struct weir_ctx *, const char *id, const char *base, const char *ours, const char *path,
    struct weir_err *);
/* Make this revision the newest once more. modified: its time; NULL: now. */
enum weir_code weir_drive_restore(struct drive *, const struct weir_ctx *, const char *id, const char *rev, const char *modified, const char *path,
    struct weir_err *);
/* PATCH of metadata; the new state into *f (may be NULL). body is stolen. */
enum weir_code weir_drive_patch(struct drive *, const struct weir_ctx *, const char *id, const char *query, json_t *body, struct drive_file *f,
    const char *what, const char *path, struct weir_err *);
enum weir_code weir_drive_trash(struct drive *, const struct weir_ctx *, const char *id, bool is_in, struct drive_file *f, const char *path,
    struct weir_err *);

/* ---- drive_upload.c ---- */
enum weir_code weir_drive_upload_begin(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, uint64_t size,
    const struct weir_meta *, char **id, struct weir_err *);
enum weir_code weir_drive_upload_part(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, const char *id, uint32_t number,
    struct weir_source *, uint64_t off, uint64_t len, uint64_t total, char **tag, struct weir_err *);
enum weir_code weir_drive_upload_status(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, const char *id,
    enum weir_code (*fn)(void *arg, uint32_t number, uint64_t size, const char *tag), void *arg, struct weir_err *);
enum weir_code weir_drive_upload_commit(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, const char *id,
    const char *const *tags, uint32_t ntags, uint64_t size, const struct weir_meta *, const char *sum, struct weir_stat *, struct weir_err *);
enum weir_code weir_drive_upload_abort(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, const char *id, struct weir_err *);
void weir_drive_sessions_free(struct drive *);
/* Replace the content of a file by a source in one session. */
enum weir_code weir_drive_send_whole(struct drive *, const struct weir_ctx *, const char *id, struct weir_source *, uint64_t size, int64_t mtime_ns,
    const char *path, struct weir_err *);

/* ---- drive_tree.c ---- */
enum weir_code weir_drive_mkdir(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, struct weir_stat *, struct weir_err *);
enum weir_code weir_drive_remove(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, bool is_dir, struct weir_err *);
enum weir_code weir_drive_move(struct weir_backend *, const struct weir_ctx *, const struct weir_where *from, const struct weir_where *to,
    bool is_dir, struct weir_stat *, struct weir_err *);
enum weir_code weir_drive_copy(struct weir_backend *, const struct weir_ctx *, const struct weir_where *from, const struct weir_where *to,
    struct weir_stat *, struct weir_err *);
enum weir_code weir_drive_set_meta(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, bool is_dir, const struct weir_meta *,
    struct weir_stat *, struct weir_err *);

/* ---- drive_watch.c ---- */
enum weir_code weir_drive_watch(struct weir_backend *, const struct weir_ctx *, char **cursor, int64_t wait_ms, weir_change_fn *, void *arg,
    struct weir_err *);
enum weir_code weir_drive_quota(struct weir_backend *, const struct weir_ctx *, struct weir_usage *, struct weir_err *);

extern const struct weir_backend_ops weir_backend_drive;

#endif
