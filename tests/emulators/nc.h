/* SPDX-License-Identifier: Apache-2.0 */
/* The Nextcloud emulator's rooms: the tree (ncstate.c), properties (ncprops.c), files (ncfiles.c), chunked uploads
 * (ncupload.c), sign-in and OCS (ncauth.c, ncocs.c), what it tells by itself (ncpush.c). The whole tree is under nc_lock; blobs are shared by reference. */
#ifndef EMU_NC_H
#define EMU_NC_H
#include "common.h"
#include <pthread.h>

#define NC_NAME_MAX 250
#define NC_XML "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
#define NC_INSTANCE "oczn5x60emu0"

struct nc_node {
	uint64_t id;			/* oc:fileid */
	struct nc_node *parent;		/* NULL: a root */
	char *name;
	bool is_dir;
	bool is_busy;			/* an upload folder that is being assembled */
	bool is_v2;			/* an upload folder made with a Destination: chunking v2 */
	struct emu_blob *blob;		/* files */
	uint64_t size;			/* directories: of everything below */
	int64_t mtime, made;		/* seconds */
	char etag[40];
	char *checksum;			/* "SHA1:…" as the client said; NULL: none */
	struct emu_pairs props;		/* dead: "ns name" -> the element as XML */
	struct nc_node **child;		/* by name, byte order */
	size_t n, cap;
};
struct nc_conf {
	const char *user, *login, *password, *bearer;
};
extern struct nc_conf nc_conf;
extern pthread_mutex_t nc_lock;
extern struct nc_node *nc_files, *nc_uploads, *nc_trash;

enum {
	NC_QUOTA, NC_MAINTENANCE, NC_LOCKED_RATE, NC_LOCKED_NEXT, NC_UNAUTHORIZED, NC_UNAUTHORIZED_NEXT, NC_ETAG_GZIP, NC_ETAG_WEAK,
	NC_IGNORE_IF, NC_MOVE_504_NEXT, NC_MOVE_ASYNC_MS, NC_MOVE_DELAY_MS, NC_LIST_DELAY, NC_NO_OC_ETAG, NC_NO_CHECKSUM, NC_CHUNK_SIZE,
	NC_BRUTEFORCE_OFF, NC_TRASHBIN, NC_PUSH, NC_PUSH_DOWN, NC_PUSH_DEAF, NC_PUSH_QUIET, NC_PUSH_TLS, NC_PUSH_NO_TOKENS, NC_ETAG_LATE, NC_SWITCHES
};
extern struct emu_switch nc_switches[];
static inline bool
nc_on(int i)
{
	return emu_value(&nc_switches[i]) > 0;
}

/* ---- addresses ---- */

enum nc_area { NC_OTHER, NC_FILES, NC_UPLOADS, NC_TRASH };
struct nc_path {
	enum nc_area area;
	char *base;		/* "/remote.php/dav/files/alice", as on the wire */
	char **seg;		/* decoded names below it */
	size_t n;
};
/* From an encoded path. False: it cannot be decoded. Owned either way: nc_path_free. */
bool nc_path_parse(const char *, struct nc_path *);
void nc_path_free(struct nc_path *);
struct nc_node *nc_root(enum nc_area);
struct nc_node *nc_find(const struct nc_path *);	/* NULL: not there. Under nc_lock */
/* The directory the path's last name is in. NULL: missing, or a file (*is_file). Under nc_lock. */
struct nc_node *nc_find_parent(const struct nc_path *, bool *is_file);

struct nc_hash;
struct nc_req {
	struct nc_path path, dest;
	struct weir_buf mem;		/* bodies that are XML or forms */
	struct emu_writer *writer;	/* bodies that are content */
	struct emu_blob *blob;
	struct nc_hash *hash;		/* X-Hash */
};
static inline struct nc_req *
nc_of(const struct emu_req *req)
{
	return req->proto;
}

/* ---- ncstate.c: hold nc_lock; each change is in the state file when it returns ---- */
struct nc_node *nc_child(const struct nc_node *dir, const char *name);
struct nc_node *nc_make(struct nc_node *dir, const char *name, bool is_dir);
void nc_set_content(struct nc_node *, struct emu_blob *);	/* takes the blob */
void nc_remove(struct nc_node *);
void nc_move(struct nc_node *, struct nc_node *dir, const char *name);
struct nc_node *nc_copy(const struct nc_node *, struct nc_node *dir, const char *name, bool is_deep);	/* NULL: no links left */
/* New etags for the node and all above it, and the state file's line: after every change of the node itself. */
void nc_changed(struct nc_node *);
int nc_state_open(const char *dir);
bool nc_password_known(const char *);		/* an app password made by login/v2 */
void nc_password_add(const char *);
void nc_password_remove(const char *);
int64_t nc_available(void);			/* bytes left, or -3 */

/* ---- ncauth.c ---- */
bool nc_auth(struct emu_req *);			/* false: refused and replied */
bool nc_auth_failed_too_often(void);
bool nc_auth_password(const char *user, const char *password);	/* a failure is noted as any */
void nc_login_start(struct emu_req *);
void nc_login_flow(struct emu_req *, const char *token);
void nc_login_poll(struct emu_req *);
void nc_auth_reset(void);

/* ---- ncpush.c ---- */
void nc_push_tell(const struct nc_node *);	/* it changed, or is about to go. Under nc_lock */
json_t *nc_push_capability(const struct emu_req *);
void nc_push_pre_auth(struct emu_req *);
void nc_push_ws(struct emu_req *);

/* ---- ncocs.c ---- */
void nc_status_php(struct emu_req *);
void nc_ocs(struct emu_req *, const char *path);	/* path behind /ocs/ */

/* ---- replies ---- */
void nc_error(struct emu_req *, unsigned status, const char *exception, const char *message);
void nc_precondition_failed(struct emu_req *, const char *header);
void nc_out_entity(struct emu_req *, const struct nc_node *);	/* ETag, OC-ETag, OC-FileId */
bool nc_name_ok(struct emu_req *, const char *name);		/* false: 400 replied */
/* If-Match, If-None-Match and If against node (NULL: nothing there). Under nc_lock. False: replied. */
bool nc_may_change(struct emu_req *, const struct nc_node *, bool on_destination);
bool nc_room_for(struct emu_req *, uint64_t more, uint64_t instead_of);	/* false: 507 replied */
/* What X-OC-MTime and OC-Checksum say, put into the node; false: 500 replied although the content is in place. */
bool nc_apply_headers(struct emu_req *, struct nc_node *);

/* ---- ncfiles.c ---- */
void nc_get(struct emu_req *);
void nc_put_begin(struct emu_req *);
void nc_put_end(struct emu_req *);
void nc_put_data(struct emu_req *, const void *, size_t);
void nc_put_free(struct nc_req *);
void nc_mkcol(struct emu_req *);
void nc_delete(struct emu_req *);
void nc_move_copy(struct emu_req *, bool is_move);
void nc_patch(struct emu_req *);
bool nc_destination(struct emu_req *);	/* fills dest; false: replied */

/* ---- ncupload.c ---- */
void nc_chunk_begin(struct emu_req *);
void nc_chunk_end(struct emu_req *);
void nc_assemble(struct emu_req *);
bool nc_is_assembly(const struct nc_path *);

/* ---- ncprops.c ---- */
void nc_propfind(struct emu_req *);
void nc_proppatch(struct emu_req *);

#endif
