/* SPDX-License-Identifier: Apache-2.0 */
/* The Google Drive emulator's rooms: objects, revisions and the change log (drivestate.c), `fields` (drivefields.c), how resources look (drivejson.c), `q`
 * (drivequery.c), listings and changes (drivelist.c), objects and their places (drivefiles.c), content going out (drivemedia.c), content coming in
 * (driveupload.c, drivesess.c), about and the rest (driveabout.c), what somebody else does (driveseed.c). All state is under drive_lock; blobs are shared by reference.
 *
 * There is one person. Objects hang in trees: My Drive, the app data folder, a shared drive, or below something that was shared with the person (no parent
 * that could be seen). What may be done follows from the tree's role. Requests under /_emu/raw act for somebody else who may do everything. */
#ifndef EMU_DRIVE_H
#define EMU_DRIVE_H
#include "common.h"
#include "util/text.h"
#include <pthread.h>

#define DRIVE_FILE_MAX INT64_C(5497558138880)
#define DRIVE_QUANTUM (UINT64_C(256) << 10)		/* of chunks */
#define DRIVE_MEM_MAX (64u << 20)			/* of bodies that are read at once: metadata, multipart */
#define DRIVE_SESSION_MS (INT64_C(7) * 86400 * 1000)
#define DRIVE_DEPTH 100
#define DRIVE_EXPORT_MAX (UINT64_C(10) << 20)
#define DRIVE_APPS "application/vnd.google-apps."
#define DRIVE_FOLDER DRIVE_APPS "folder"
#define DRIVE_SHORTCUT DRIVE_APPS "shortcut"

extern pthread_mutex_t drive_lock;

/* ---- state (drivestate.c) ---- */

enum drive_role { DRIVE_NONE, DRIVE_READER, DRIVE_COMMENTER, DRIVE_WRITER, DRIVE_FILE_ORGANIZER, DRIVE_ORGANIZER, DRIVE_OWNER };
struct drive_sums {
	char md5[33], sha1[41], sha256[65];
};
struct drive_rev {
	char *id, *mime;
	struct emu_blob *blob;
	int64_t modified_ms;
	bool is_kept, is_others;
	struct drive_sums sums;
};
/* What listings still show of an object that has just changed. */
struct drive_past {
	char *name;
	struct drive_node *parent;
	bool is_trashed;
	int64_t until_ms;		/* 0: none */
};
struct drive_node {
	uint64_t n;			/* order of creation */
	char *id, *name, *mime;
	struct drive_node *parent;	/* NULL: a root, or shared with the person */
	struct drive_node *first, *last, *next, *prev;	/* children; siblings */
	struct drive_node *chain;	/* by id */
	bool is_root;			/* My Drive, app data, or a shared drive */
	bool is_appdata;		/* that root */
	bool is_drive;			/* the root of a shared drive */
	bool is_others;			/* owned by somebody else */
	bool is_others_change;		/* changed last by somebody else */
	bool is_trashed, is_starred, is_abusive;
	enum drive_role role;		/* of roots of shared drives and of what is shared directly */
	int64_t created_ms, modified_ms, viewed_ms, shared_ms, trashed_ms;
	uint64_t version, doc_size;	/* doc_size: what a Google document claims, and the length of its exports; 0: by its text */
	json_t *app_props, *props;	/* objects of texts; NULL: none */
	char *description, *color, *original, *target, *target_mime;
	struct drive_rev *rev;		/* oldest first; the last one is the head */
	size_t nrev;
	int64_t listed_ms, named_ms;	/* listings, and queries by name, do not know it before */
	struct drive_past past;
};
extern struct drive_node *drive_root, *drive_appdata;
extern struct drive_node **drive_all;	/* by order of creation; NULL: gone */
extern size_t drive_all_n;

int64_t drive_now_ms(void);
int drive_state_open(const char *dir);
struct drive_node *drive_by_id(const char *id);		/* aliases root and appDataFolder too; NULL: none */
struct drive_node *drive_top(const struct drive_node *);
struct drive_node *drive_of_node(const struct drive_node *);	/* root of its shared drive; NULL: in none */
enum drive_role drive_role(const struct drive_node *);
bool drive_in_trash(const struct drive_node *);
bool drive_is_below(const struct drive_node *, const struct drive_node *dir);	/* or dir itself */
unsigned drive_depth(const struct drive_node *);
bool drive_is_folder(const struct drive_node *);
bool drive_is_doc(const struct drive_node *);		/* a Google document: exports instead of bytes */
struct drive_rev *drive_head(const struct drive_node *);	/* NULL: no bytes */
uint64_t drive_used(bool only_trash);
extern uint64_t drive_bytes;			/* of all revisions there are, whoever pays for them: never less than drive_used() */

void drive_make_id(char *out, unsigned len);	/* len random characters and the NUL; at most 63 */
/* id NULL: made up. Not logged, not told: drive_changed() when it is complete. parent NULL: none. */
struct drive_node *drive_new(const char *id, const char *name, const char *mime, struct drive_node *parent);
void drive_sum(struct emu_blob *, struct drive_sums *);	/* takes its time: without the lock, if it can be */
void drive_add_rev(struct drive_node *, struct emu_blob *, const struct drive_sums *, const char *mime, bool is_others);	/* takes the blob */
void drive_log_rev(const struct drive_node *, const struct drive_rev *);	/* once more: keepForever changed */
void drive_drop_rev(struct drive_node *, size_t i);
/* One more version: into the state file and the change log. */
void drive_changed(struct drive_node *, bool is_others);
void drive_remember(struct drive_node *);		/* before a change that listings may not show at once */
void drive_place(struct drive_node *, struct drive_node *parent);	/* out of its place, into this one; parent NULL: nowhere */
void drive_remove(struct drive_node *);			/* with all below */
void drive_lost(struct drive_node *);			/* the person does not see it any more: told as removed */
void drive_ids_add(const char *id);			/* handed out by generateIds */
bool drive_ids_known(const char *id);

struct drive_change {
	char *id, *drive;		/* drive: id of the shared drive it is in; NULL: none */
	int64_t at_ms;
	bool is_removed, is_drive, is_past;	/* is_past: a later one tells of the same object */
};
uint64_t drive_seq(void);				/* of the next change */
uint64_t drive_seq_first(void);
const struct drive_change *drive_change(uint64_t seq);	/* NULL: none */

/* ---- fields (drivefields.c) ---- */

struct drive_mask {
	char *name;			/* "*": everything here */
	struct drive_mask *sub, *next;	/* sub NULL: everything below */
};
struct drive_mask *drive_mask_parse(const char *);	/* NULL: bad syntax. Owned */
void drive_mask_free(struct drive_mask *);
char *drive_mask_unknown(const struct drive_mask *, const char *schema);	/* the first name there is none of; owned; NULL: all known */
bool drive_mask_has(const struct drive_mask *, const char *name);		/* NULL mask: everything */
const struct drive_mask *drive_mask_sub(const struct drive_mask *, const char *name);	/* NULL: everything below */
json_t *drive_mask_apply(const struct drive_mask *, json_t *);			/* takes and returns a reference */

/* ---- resources (drivejson.c) ---- */

/* The names of a file's fields, as a mask (drivefields.c), and what is told of it when nobody asks for fields. */
#define DRIVE_SCHEMA_FILE "kind,id,name,mimeType,description,starred,trashed,explicitlyTrashed,trashingUser(*),trashedTime,parents,properties(*)," \
	"appProperties(*),spaces,version,webContentLink,webViewLink,iconLink,hasThumbnail,thumbnailLink,thumbnailVersion,viewedByMe,viewedByMeTime," \
	"createdTime,modifiedTime,modifiedByMe,modifiedByMeTime,sharedWithMeTime,sharingUser(*),owners(*),driveId,teamDriveId,lastModifyingUser(*),shared," \
	"ownedByMe,capabilities(canAcceptOwnership,canAddChildren,canAddFolderFromAnotherDrive,canAddMyDriveParent,canChangeCopyRequiresWriterPermission," \
	"canChangeItemDownloadRestriction,canChangeSecurityUpdateEnabled,canChangeViewersCanCopyContent,canComment,canCopy,canDelete,canDeleteChildren," \
	"canDisableInheritedPermissions,canDownload,canEdit,canEnableInheritedPermissions,canListChildren,canModifyContent,canModifyContentRestriction," \
	"canModifyEditorContentRestriction,canModifyLabels,canModifyOwnerContentRestriction,canMoveChildrenOutOfDrive,canMoveChildrenOutOfTeamDrive," \
	"canMoveChildrenWithinDrive,canMoveChildrenWithinTeamDrive,canMoveItemIntoTeamDrive,canMoveItemOutOfDrive,canMoveItemOutOfTeamDrive," \
	"canMoveItemWithinDrive,canMoveItemWithinTeamDrive,canMoveTeamDriveItem,canReadDrive,canReadLabels,canReadRevisions,canReadTeamDrive," \
	"canRemoveChildren,canRemoveContentRestriction,canRemoveMyDriveParent,canRename,canShare,canTrash,canTrashChildren,canUntrash)," \
	"viewersCanCopyContent,copyRequiresWriterPermission,writersCanShare,permissions(*),permissionIds,hasAugmentedPermissions,folderColorRgb," \
	"originalFilename,fullFileExtension,fileExtension,md5Checksum,sha1Checksum,sha256Checksum,size,quotaBytesUsed,headRevisionId,contentHints(*)," \
	"imageMediaMetadata(*),videoMediaMetadata(*),isAppAuthorized,exportLinks(*),shortcutDetails(targetId,targetMimeType,targetResourceKey)," \
	"contentRestrictions(*),linkShareMetadata(*),labelInfo(*),resourceKey,inheritedPermissionsDisabled,downloadRestrictions(*)"
#define DRIVE_DEFAULT_FILE "kind,id,name,mimeType,driveId,teamDriveId,resourceKey"
void drive_time(int64_t ms, char out[40]);
int64_t drive_time_parse(const char *, bool zone_may_lack);	/* ms; INT64_MIN: no time */
json_t *drive_file(const struct emu_req *, struct drive_node *, const struct drive_mask *);	/* already masked */
json_t *drive_rev_json(struct drive_node *, size_t i);
json_t *drive_user(bool is_others);
json_t *drive_drive_json(const struct drive_node *);
json_t *drive_texts(const char *const *);			/* array; NULL-terminated */
const char *drive_base(const struct emu_req *, char out[300]);	/* http://HOST */
const char *const *drive_exports(const char *mime);		/* types it can be exported as; NULL: none */
const char *drive_import(const char *mime);			/* the Google type that such content can become; NULL: none */

/* ---- requests ---- */

enum drive_body { DRIVE_BODY_NONE, DRIVE_BODY_JSON, DRIVE_BODY_UPLOAD };
struct drive_route {
	const char *method, *path, *op;	/* path: '*' stands for one component */
	enum drive_body body;
	void (*run)(struct emu_req *);	/* under drive_lock (uploads take it by themselves) */
	const char *schema, *fields;	/* names there are; what is told without `fields` (NULL: everything) */
};
struct drive_req {
	const struct drive_route *route;
	char *arg[2];			/* decoded components */
	enum { DRIVE_PLAIN, DRIVE_MEDIA, DRIVE_MULTIPART, DRIVE_BEGIN, DRIVE_CHUNK } kind;
	struct drive_mask *fields;	/* NULL: everything */
	json_t *meta;			/* body, or the metadata part; NULL: none */
	struct weir_buf mem;
	struct emu_writer *writer;
	struct emu_blob *blob;		/* content that came in */
	struct drive_sums sums;		/* its */
	char *mime;			/* its type as told */
	uint64_t got;
	uint64_t skip, total;		/* of a chunk: bytes at its beginning that are here already; of the file, UINT64_MAX unknown */
	uint64_t at;			/* what the session had when the chunk began */
	bool is_last, is_query;
};
static inline struct drive_req *
drive_of(const struct emu_req *req)
{
	return req->proto;
}

void drive_fail(struct emu_req *, unsigned status, const char *reason, const char *location, const char *fmt, ...) WEIR_PRINTF(5, 6);
void drive_not_found(struct emu_req *, const char *id);
void drive_forbidden(struct emu_req *);			/* insufficientFilePermissions */
void drive_invalid(struct emu_req *, const char *parameter);	/* 400 invalid */
void drive_ok(struct emu_req *, json_t *);		/* 200, already masked; takes the reference */
void drive_ok_masked(struct emu_req *, json_t *);	/* masked here */
void drive_ok_file(struct emu_req *, struct drive_node *);
/* Query parameters. False: 400 replied. */
bool drive_bool(struct emu_req *, const char *name, bool otherwise, bool *out);
bool drive_int(struct emu_req *, const char *name, long otherwise, long min, long max, long *out);
bool drive_all_drives(struct emu_req *);		/* supportsAllDrives (or its old name) is true */
/* What this request may see under this id; NULL: 404 replied. */
struct drive_node *drive_see(struct emu_req *, const char *id);
bool drive_visible(const struct emu_req *, const struct drive_node *);
const char *drive_meta_text(const struct drive_req *, const char *name);	/* NULL: not given */

/* ---- drivequery.c ---- */

struct drive_query;
struct drive_query *drive_query_parse(const char *);		/* NULL: invalid. Under drive_lock. Owned */
void drive_query_free(struct drive_query *);
bool drive_query_match(const struct drive_query *, const struct drive_node *, int64_t now_ms);
/* The i-th "'id' in parents" of it, anywhere; NULL: no more. */
const char *drive_query_parent(const struct drive_query *, size_t i);
/* A folder all matches must be in; NULL: none. */
struct drive_node *drive_query_folder(const struct drive_query *);

/* ---- what the routes do ---- */

void drive_files_list(struct emu_req *);
void drive_changes_start(struct emu_req *);
void drive_changes_list(struct emu_req *);

void drive_files_get(struct emu_req *);
void drive_files_create(struct emu_req *);
void drive_files_update(struct emu_req *);
void drive_files_copy(struct emu_req *);
void drive_files_delete(struct emu_req *);
void drive_files_empty_trash(struct emu_req *);
void drive_files_generate_ids(struct emu_req *);
/* The two halves of create and update, for uploads: check before content comes (false: replied), then do. */
bool drive_create_check(struct emu_req *);
struct drive_node *drive_create_do(struct emu_req *);		/* with drive_of()->blob, which is taken; NULL: replied */
bool drive_update_check(struct emu_req *, const char *id);
struct drive_node *drive_update_do(struct emu_req *, const char *id);
bool drive_room(struct emu_req *, uint64_t more);		/* false: 403 storageQuotaExceeded replied */

void drive_media(struct emu_req *, struct drive_node *, struct drive_rev *);
void drive_files_export(struct emu_req *);
void drive_export_link(struct emu_req *);
void drive_content_host(struct emu_req *);
uint64_t drive_doc_size(const struct drive_node *);
void drive_revisions_list(struct emu_req *);
void drive_revisions_get(struct emu_req *);
void drive_revisions_update(struct emu_req *);
void drive_revisions_delete(struct emu_req *);

void drive_upload_begin(struct emu_req *);
void drive_upload_data(struct emu_req *, const void *, size_t);
void drive_upload_end(struct emu_req *);
void drive_upload_release(struct emu_req *);

/* ---- drivesess.c: resumable sessions ---- */

void drive_session_start(struct emu_req *);			/* metadata is here: replies with the address */
void drive_session_chunk_begin(struct emu_req *);
void drive_session_chunk_end(struct emu_req *);
void drive_session_chunk_cut(struct emu_req *);			/* the client is gone: keep what has come */
int drive_session_load(const json_t *);
void drive_session_dump(void);

void drive_about(struct emu_req *);
void drive_drives_list(struct emu_req *);
void drive_drives_get(struct emu_req *);
void drive_seed(struct emu_req *);				/* /_emu/raw/emu/VERB */

/* ---- switches ---- */

enum {
	DRIVE_QUOTA, DRIVE_THROTTLE_NEXT, DRIVE_THROTTLE_RATE, DRIVE_RATE429_NEXT, DRIVE_DAY_NEXT, DRIVE_HTML, DRIVE_PARTIAL_NEXT,
	DRIVE_PARTIAL_NONE_NEXT, DRIVE_SESSION_GONE_NEXT, DRIVE_SESSION_GONE_AS, DRIVE_TOKEN_BAD_NEXT, DRIVE_LIST_LAG, DRIVE_NAME_LAG, DRIVE_CHANGE_LAG,
	DRIVE_CHANGES_GONE_NEXT, DRIVE_CHANGES_GONE_AS, DRIVE_INCOMPLETE, DRIVE_MULTI_EMPTY_NEXT, DRIVE_PAGE_MAX, DRIVE_EMPTY_PAGES, DRIVE_DOWN_QUOTA_NEXT,
	DRIVE_REDIRECT, DRIVE_CHILDREN_MAX, DRIVE_TWIN_NEXT, DRIVE_LIST_MS, DRIVE_SWITCHES
};
extern struct emu_switch drive_switches[];
static inline bool
drive_on(int i)
{
	return emu_value(&drive_switches[i]) > 0;
}
static inline bool
drive_take(const struct emu_req *req, int i)
{
	return !req->is_raw && emu_take(&drive_switches[i]);
}

#endif
