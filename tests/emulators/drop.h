/* SPDX-License-Identifier: Apache-2.0 */
/* The Dropbox emulator's rooms: the tree, versions and journal (dropstate.c), how metadata and errors look (dropjson.c), what an argument must look
 * like (droparg.c, droproutes.c), listing and watching (droplist.c), content (dropfiles.c), upload sessions (dropsess.c), folders, moves, deletes (droptree.c),
 * accounts (dropusers.c). All state is under drop_lock; blobs are shared by reference.
 *
 * There is one tree. Its top is the root namespace of a team; the person's own folder ("home") is a folder in it, as in a team space. Without the
 * switch `team` nobody sees the top. A path root is therefore just a node, and every path in an answer is told relative to the request's root. */
#ifndef EMU_DROP_H
#define EMU_DROP_H
#include "common.h"
#include "util/text.h"
#include <pthread.h>

#define DROP_BLOCK (UINT64_C(4) << 20)			/* of content_hash, and what concurrent sessions are made of */
#define DROP_BODY_MAX (UINT64_C(150) << 20)		/* of one request */
#define DROP_FILE_MAX ((UINT64_C(1) << 41) - (UINT64_C(1) << 22))
#define DROP_SESSION_S (7 * 86400)
#define DROP_HOME_NS UINT64_C(3235641)
#define DROP_TOP_NS UINT64_C(7745201)
#define DROP_HOME_NAME "Emma Emulator"
#define DROP_ACCOUNT "dbid:AAH4f99T0taONIb-OurWxbNQ6ywGRopQngc"

extern pthread_mutex_t drop_lock;

/* ---- the tree ---- */

/* One revision of a file: content and times. Kept after it was replaced or deleted (list_revisions, restore, rev:), as long as there is room. */
struct drop_ver {
	uint64_t n;			/* what its rev is made of */
	uint64_t node;
	char *lower, *display;		/* full path when it was written */
	struct emu_blob *blob;
	char hash[65];
	int64_t client_s, server_s;
	bool is_live;			/* the present one of its node */
};
enum drop_kind { DROP_PLAIN, DROP_PAPER, DROP_RESTRICTED, DROP_SYMLINK };
struct drop_node {
	uint64_t id;
	struct drop_node *parent;	/* NULL: the top */
	char *name, *fold;		/* as shown; as compared */
	bool is_dir;
	enum drop_kind kind;
	struct drop_ver *ver;		/* files */
	struct drop_node **child;	/* by fold */
	size_t n, cap;
};
extern struct drop_node *drop_top, *drop_home;
extern uint64_t drop_used;		/* bytes of all files there are */

char *drop_fold(const char *);		/* per code point, simple lower case; owned */
struct drop_node *drop_child(const struct drop_node *dir, const char *fold);
size_t drop_place(const struct drop_node *dir, const char *fold);	/* where it is or would be */
struct drop_node *drop_by_id(const char *id);		/* "id:…"; NULL: none */
struct drop_ver *drop_by_rev(const char *rev);
void drop_id(const struct drop_node *, char out[32]);
void drop_rev(const struct drop_ver *, char out[32]);
bool drop_is_below(const struct drop_node *, const struct drop_node *dir);	/* or dir itself */
uint64_t drop_entries(const struct drop_node *);	/* itself and all below */
uint64_t drop_bytes(const struct drop_node *);
/* Relative to root (NULL: the top), "" for the root itself. Owned. */
char *drop_path(const struct drop_node *, const struct drop_node *root, bool is_lower);

/* Each of these is in the state file and in the journal when it returns. */
struct drop_node *drop_make_dir(struct drop_node *dir, const char *name);
/* New content: takes the blob. node NULL: a new file in dir. client_s INT64_MIN: now. */
struct drop_node *drop_write(struct drop_node *node, struct drop_node *dir, const char *name, struct emu_blob *, const char *hash, int64_t client_s);
void drop_remove(struct drop_node *);
void drop_move(struct drop_node *, struct drop_node *dir, const char *name);
struct drop_node *drop_copy(const struct drop_node *, struct drop_node *dir, const char *name);	/* NULL: no links left */
void drop_set_kind(struct drop_node *, enum drop_kind);
/* All versions written at this path (or of this node), newest first, at most max. */
size_t drop_versions(const char *full_lower, uint64_t node, struct drop_ver **out, size_t max);
int drop_state_open(const char *dir);

/* ---- the journal: what changed where, oldest first ---- */

struct drop_event {
	char *lower, *display;		/* full paths */
	bool is_delete;			/* with everything below it */
	bool is_past;			/* a later event tells of the same path */
};
uint64_t drop_seq(void);				/* of the newest; 0: none yet */
const struct drop_event *drop_event(uint64_t seq);	/* NULL: out of reach */

/* ---- where a path leads ---- */

struct drop_at {
	struct drop_node *root, *node;	/* node NULL: nothing there */
	struct drop_ver *ver;		/* the version named, or the node's */
	struct drop_node *dir;		/* deepest folder on the way that exists */
	char **seg, **fold;
	size_t n, known;		/* components; how many of them dir has behind it */
	bool is_malformed, is_blocked;	/* blocked: a file where a folder should be */
	bool is_gone;			/* an id or a rev nobody has */
};
void drop_find(struct drop_node *root, const char *path, struct drop_at *);
void drop_at_free(struct drop_at *);
const char *drop_at_name(const struct drop_at *);	/* last component, or the node's name */
struct drop_node *drop_make_parents(struct drop_at *);	/* the folder the last component goes into */

/* ---- requests ---- */

/* content_hash over one body, block by block; the blocks' digests are kept. */
struct drop_hash {
	struct weir_digest *block;
	uint64_t in_block;
	unsigned char *sums;
	size_t n;
};
void drop_hash_add(struct drop_hash *, const void *, size_t);
void drop_hash_flush(struct drop_hash *);		/* the last, short block */
void drop_hash_text(const unsigned char *sums, size_t n, char out[65]);
void drop_hash_free(struct drop_hash *);
int drop_hash_blob(struct emu_blob *, char out[65]);	/* 0 or -1 */

enum drop_style { DROP_RPC, DROP_UPLOAD, DROP_DOWNLOAD, DROP_NOTIFY, DROP_PLAIN_GET };
struct drop_field;
struct drop_route {
	const char *name, *scope;
	enum drop_style style;
	const struct drop_field *arg;	/* NULL: no argument */
	void (*run)(struct emu_req *);	/* under drop_lock, unless is_slow */
	bool is_slow;			/* waits: locks by itself */
	bool is_emu;			/* not Dropbox: under /_emu/raw only */
};
struct drop_req {
	const struct drop_route *route;
	json_t *arg;
	struct weir_buf mem;		/* bodies of RPC */
	struct emu_writer *writer;	/* bodies of uploads */
	struct emu_blob *blob;
	struct drop_hash hash;
	uint64_t got;
	struct drop_node *root;
	bool is_over;			/* too long a body: no longer kept */
	char *busy;			/* cursor that is in use while this request runs */
};
const struct drop_route *drop_route_of(const char *name);	/* droproutes.c; NULL: none */
static inline struct drop_req *
drop_of(const struct emu_req *req)
{
	return req->proto;
}

/* ---- arguments (droparg.c) ---- */

enum drop_type {
	DROP_ANY, DROP_STRING, DROP_BOOL, DROP_UINT, DROP_TAG, DROP_MODE, DROP_STRUCT, DROP_LIST, DROP_TIME, DROP_HASH, DROP_REV,
	DROP_PATH_READ, DROP_PATH_LIST, DROP_PATH_WRITE, DROP_PATH_WRITE_ID, DROP_PATH_ID
};
struct drop_field {
	const char *name;		/* NULL: the end */
	enum drop_type type;
	bool is_needed;
	uint64_t min, max;		/* UINT: the number; LIST: its length */
	const struct drop_field *sub;	/* STRUCT, LIST of structs */
	const char *tags;		/* TAG: "a|b" */
};
/* What is wrong with it, in Dropbox's words; NULL: nothing. Owned. */
char *drop_arg_check(const struct drop_field *, const json_t *);
const char *drop_arg_string(const struct emu_req *, const char *name);	/* NULL: not given */
bool drop_arg_true(const json_t *, const char *name);			/* false when not given */
const char *drop_tag(const json_t *);					/* of a union, in either spelling; NULL */
int64_t drop_time_parse(const char *);					/* seconds; INT64_MIN: not of the one form allowed */

/* ---- answers (dropjson.c) ---- */

char *drop_ascii(const json_t *);		/* on one line, in ASCII; owned */
void drop_ok(struct emu_req *, json_t *);	/* 200; takes the reference; NULL: null */
void drop_fail(struct emu_req *, unsigned status, json_t *error);	/* {"error_summary","error"}; takes the reference */
void drop_bad(struct emu_req *, const char *fmt, ...) WEIR_PRINTF(2, 3);	/* 400 in text */
/* Nested tags: drop_tags("path", "conflict", "file", NULL) is {".tag":"path","path":{".tag":"conflict",…}}. */
json_t *drop_tags(const char *first, ...) __attribute__((sentinel));
json_t *drop_under(const char *tag, json_t *inner);	/* {".tag":tag, tag:inner}; takes it */
json_t *drop_meta(const struct drop_node *, const struct drop_node *root, bool with_tag);
json_t *drop_meta_ver(const struct drop_ver *, const struct drop_node *root);	/* of a revision, without .tag */
json_t *drop_meta_gone(const char *lower, const char *display);			/* paths relative to the root */
void drop_time(int64_t seconds, char out[32]);
void drop_throttle(struct emu_req *, const char *reason, bool is_text);
const char *drop_lookup(const struct drop_at *);	/* LookupError of what is not there; NULL: it is there */
json_t *drop_lookup_fail(const struct drop_at *, const char *under);	/* under's error; NULL: it is there */

/* ---- switches ---- */

enum {
	DROP_TEAM, DROP_QUOTA, DROP_THROTTLE_NEXT, DROP_THROTTLE_RATE, DROP_THROTTLE_TEXT_NEXT, DROP_THROTTLE_S, DROP_THROTTLE_WRITES_NEXT,
	DROP_WRITES_NEXT, DROP_WRITES_RATE, DROP_PARTIAL_NEXT, DROP_EXPIRE_NEXT, DROP_RESET_NEXT, DROP_BACKOFF_S, DROP_LONGPOLL_MS, DROP_LIST_MS, DROP_UNSEEN_NEXT,
	DROP_OVERLONG_NEXT, DROP_NORANGE_NEXT, DROP_PAGE_MAX, DROP_EMPTY_PAGES, DROP_BADROOT_NEXT, DROP_NOSPACE_NEXT, DROP_ENTRIES_MAX,
	DROP_ASYNC_MS, DROP_WRONG_CASE, DROP_MOVE_REV, DROP_INTERNAL_NEXT, DROP_NOSCOPE_NEXT, DROP_HASH_NEXT, DROP_SWITCHES
};
extern struct emu_switch drop_switches[];
static inline bool
drop_on(int i)
{
	return emu_value(&drop_switches[i]) > 0;
}
static inline bool
drop_take(const struct emu_req *req, int i)
{
	return !req->is_raw && emu_take(&drop_switches[i]);
}
bool drop_writes_contend(const struct emu_req *);	/* shall this write meet too_many_write_operations? */

/* ---- what the routes do ---- */

void drop_account(struct emu_req *);
void drop_space(struct emu_req *);
void drop_check_user(struct emu_req *);
void drop_revoke(struct emu_req *);
json_t *drop_root_info(void);
/* Dropbox-API-Path-Root: the node, or NULL with the refusal replied. */
struct drop_node *drop_path_root(struct emu_req *);
struct drop_node *drop_namespace(uint64_t ns);		/* NULL: none of ours */

void drop_list_folder(struct emu_req *);
void drop_list_continue(struct emu_req *);
void drop_list_latest(struct emu_req *);
void drop_longpoll(struct emu_req *);
void drop_get_metadata(struct emu_req *);
bool drop_cursor_begin(struct emu_req *);		/* waits list_delay_ms; false: the same cursor is in use (429 replied), or the client left */
void drop_cursor_end(struct emu_req *);
void drop_epoch_load(const json_t *);			/* lines of the state file: which cursors are alive */
void drop_epoch_dump(void);

void drop_download(struct emu_req *);
void drop_export(struct emu_req *);
void drop_temporary_link(struct emu_req *);
void drop_link_get(struct emu_req *);
void drop_upload(struct emu_req *);
/* Put content where a CommitInfo says: the file's metadata without .tag, or NULL and *write_error (a WriteError). Takes the blob either way. */
json_t *drop_commit(const struct emu_req *, const json_t *commit, struct emu_blob *, const char *hash, json_t **write_error);
/* Would more bytes fit? */
bool drop_has_room(const struct emu_req *, uint64_t more, uint64_t instead_of);

void drop_session_start(struct emu_req *);
void drop_session_start_batch(struct emu_req *);
void drop_session_append(struct emu_req *);
void drop_session_append_batch(struct emu_req *);
void drop_session_finish(struct emu_req *);
void drop_session_finish_batch(struct emu_req *);	/* at once (v2) */
void drop_session_finish_batch_async(struct emu_req *);
/* A session that holds this content already: an upload whose commit failed. Fills id. Takes no reference. */
void drop_session_keep(struct emu_blob *, char id[64]);
int drop_session_load(const json_t *);
void drop_session_dump(void);

void drop_create_folder(struct emu_req *);
void drop_delete(struct emu_req *);
void drop_delete_batch(struct emu_req *);
void drop_job_check(struct emu_req *);
void drop_job_launch(struct emu_req *, json_t *result);	/* replies with its id; takes the reference */
void drop_move_v2(struct emu_req *);
void drop_copy_v2(struct emu_req *);
void drop_move_batch(struct emu_req *);
void drop_copy_batch(struct emu_req *);
void drop_list_revisions(struct emu_req *);
void drop_restore(struct emu_req *);
void drop_emu_kind(struct emu_req *);
/* A WriteError's tag for this name, or NULL: it may be made. */
const char *drop_name_refused(const char *name);
json_t *drop_conflict(const char *what);		/* WriteError conflict */
/* "a (1).txt", the first that is free in dir (NULL: dir is yet to be made). Owned. */
char *drop_free_name(const struct drop_node *dir, const char *name, const char *mark);
/* May names appear or vanish right here? NULL: yes; else a WriteError's tag. */
const char *drop_dir_refuses(const struct emu_req *, const struct drop_node *dir);

#endif
