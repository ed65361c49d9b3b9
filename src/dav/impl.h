/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share among themselves; nobody else includes it.
 *
 * Locks: front.mu guards the list of shares and what waits for fs; share.mu guards a share's locks and properties. Neither is held while fs is asked. */
#ifndef WEIR_DAV_IMPL_H
#define WEIR_DAV_IMPL_H
#include "front.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "../fs/fs.h"
#include "../util/text.h"
#include "../util/util.h"
#include "parse.h"
#include "xmlin.h"

#define FRONT_CONNECTIONS 32u
#define FRONT_TOKEN 48		/* hex digits: 192 bits */
#define FRONT_TEMPS 32		/* files being received by one share at once: no more than connections */
#define FRONT_TEMP_PREFIX ".~weir-put."	/* hidden from clients of this front */
#define FRONT_BLOCK (256u << 10)
#define FRONT_BODY_MAX (1u << 20)	/* of a request that is XML */
#define FRONT_MAX_DEPTH 64	/* folders inside folders, when a tree is copied or removed */

/* ---- the table that outlives a worker ---- */

enum { FRONT_FREE, FRONT_MAKING, FRONT_LIVE };
struct front_temp { uint64_t parent; char name[48]; };	/* parent 0: none */
struct front_slot {
	_Atomic int state;
	bool is_readonly;
	uint64_t root;			/* node of the folder shared */
	char id[17], token[FRONT_TOKEN + 1];
	char address[80];		/* "127.0.0.1:41234" */
	char path[4096], lease[4096];	/* lease "": none */
	struct front_temp temps[FRONT_TEMPS];	/* a successor removes what its predecessor could not finish */
};
_Static_assert(sizeof(struct front_slot) * WEIR_FRONT_SHARES <= WEIR_FRONT_TABLE_BYTES, "the table of shares fits its memory");

struct front_share {
	struct weir_front *front;
	struct front_slot *slot;
	unsigned index;
	struct MHD_Daemon *daemon;
	atomic_bool is_over;
	char *spool;			/* folder of unfinished uploads */
	pthread_mutex_t mu;
	struct front_lock *locks;	/* mu */
	unsigned nlocks;		/* mu */
	struct front_dead *dead;	/* mu: properties that are the clients' own */
	unsigned ndead;			/* mu */
};

struct front_wait;
struct weir_front {
	struct weir_front_options opt;
	char *spool;
	uint32_t uid, gid;
	pthread_mutex_t mu;
	pthread_cond_t over;		/* wakes the keeper */
	struct front_share *shares[WEIR_FRONT_SHARES];	/* mu */
	bool is_over;			/* mu */
	bool has_keeper;
	pthread_t keeper;
};

/* ---- one request ---- */

struct front_put;
struct front_req {
	struct front_share *share;
	struct MHD_Connection *conn;
	int fd;				/* the client's socket, to see it go */
	char *url, *method;
	bool is_begun;
	int status;			/* decided before the body was there; 0: not yet */
	const char *why;		/* sentence for it, static */
	struct weir_buf body;
	struct front_path path;
	bool is_upload;			/* below WEIR_FRONT_UPLOADS */
	struct front_put *put;		/* a file on its way in */
};

const char *front_header(struct front_req *, const char *name);	/* NULL: not there */

/* answer.c: each returns what MHD's handler returns */
int front_status_of(enum weir_code);
enum MHD_Result front_answer(struct front_req *, int status, const char *sentence);	/* sentence NULL: no body */
enum MHD_Result front_answer_code(struct front_req *, enum weir_code);
/* Body stolen and emptied. type NULL: XML. */
enum MHD_Result front_answer_body(struct front_req *, int status, struct weir_buf *, const char *type);
/* With headers of the caller's; response is released. */
enum MHD_Result front_queue(struct front_req *, int status, struct MHD_Response *);
void front_etag(const struct weir_attr *, char out[80]);

/* call.c: fs, asked by a thread that may wait. All return final codes; INTR: the client went away or the share ends. */
enum weir_code front_call(struct front_share *, int client_fd, struct weir_op *);
struct front_node { uint64_t parent; char *name; struct weir_attr attr; };	/* name owned; "" for the share's root */
void front_node_free(struct front_node *);
/* The node of a path, links followed inside the share (is_last_followed: the last one too). NOENT with *node's parent and name filled when only the last
 * name is missing (node->attr.ino 0), and with parent 0 when a folder above it is. */
enum weir_code front_walk(struct front_req *, const struct front_path *, bool is_last_followed, struct front_node *);
enum weir_code front_lookup(struct front_req *, uint64_t parent, const char *name, struct weir_attr *);
enum { FRONT_MAY_READ = 4, FRONT_MAY_WRITE = 2, FRONT_MAY_ENTER = 1 };
bool front_may(const struct front_req *, const struct weir_attr *, int what);
enum weir_code front_getattr(struct front_req *, uint64_t ino, struct weir_attr *);
enum weir_code front_set_times(struct front_req *, uint64_t ino, int64_t mtime_ns);
enum weir_code front_unlink(struct front_req *, uint64_t parent, const char *name, bool is_dir);
enum weir_code front_rename(struct front_req *, uint64_t from, const char *name, uint64_t to, const char *name2);
enum weir_code front_mkdir(struct front_req *, uint64_t parent, const char *name, struct weir_attr *);
enum weir_code front_open(struct front_req *, uint64_t ino, int flags, uint64_t *fh);
enum weir_code front_create(struct front_req *, uint64_t parent, const char *name, int flags, mode_t, struct weir_attr *, uint64_t *fh);
void front_release(struct front_req *, uint64_t ino, uint64_t fh, int flags);
enum weir_code front_flush(struct front_req *, uint64_t ino, uint64_t fh);
enum weir_code front_read(struct front_req *, uint64_t ino, uint64_t fh, void *, size_t len, uint64_t off, size_t *got);
enum weir_code front_write(struct front_req *, uint64_t ino, uint64_t fh, const void *, size_t len, uint64_t off);
/* A batch of entries behind the cookie, without "." and "..", names of ours and what is no file, folder or link. Links stay links. */
struct front_entry { char *name; struct weir_attr attr; };
struct front_batch { struct front_entry *v; size_t n; uint64_t cookie; bool is_end; };
enum weir_code front_readdir(struct front_req *, uint64_t ino, uint64_t cookie, struct front_batch *);
void front_batch_free(struct front_batch *);

/* tree.c */
enum weir_code front_may_change(struct front_req *, uint64_t dir);	/* may entries be made and removed in this folder? */
enum weir_code front_remove_tree(struct front_req *, uint64_t parent, const char *name, const struct weir_attr *, unsigned depth);
enum MHD_Result front_do_delete(struct front_req *), front_do_mkcol(struct front_req *), front_do_copymove(struct front_req *);
/* The place a Destination header names; 0, or the status of the refusal. */
int front_destination(struct front_req *, struct front_path *);

/* get.c, list.c, props.c */
enum MHD_Result front_do_get(struct front_req *);
enum MHD_Result front_do_propfind(struct front_req *), front_do_proppatch(struct front_req *);
void front_dead_forget(struct front_share *, uint64_t ino);
void front_dead_free(struct front_share *);
/* The properties of one node that a request asked for, as a d:response; rel: its path below the share. */
void front_props(struct front_req *, const struct front_xml *, const char *rel, const struct weir_attr *, struct weir_buf *);
char *front_href(const struct front_req *, const char *rel, bool is_dir);	/* owned, escaped */

/* put.c: receiving. front_put_begin is called before the body: 0, or the status of a refusal (req->why). */
int front_put_begin(struct front_req *);
void front_put_data(struct front_req *, const char *, size_t);
enum MHD_Result front_put_end(struct front_req *);
void front_put_free(struct front_req *);
/* A new, hidden, open file beside the one it will replace, noted in the table. */
struct front_new { uint64_t parent, ino, fh, off; char name[48]; struct front_temp *temp; };
enum weir_code front_new_begin(struct front_req *, uint64_t parent, mode_t, struct front_new *);
enum weir_code front_new_commit(struct front_req *, struct front_new *, const char *name, int64_t mtime_ns, struct weir_attr *);
void front_new_drop(struct front_req *, struct front_new *);
void front_temps_clear(struct front_share *);
bool front_is_hidden(const char *name);
int64_t front_header_mtime(struct front_req *);	/* X-OC-Mtime in ns; INT64_MIN: none */

/* upload.c: chunks */
enum MHD_Result front_do_upload(struct front_req *);
int front_chunk_begin(struct front_req *, uint64_t len, int *fd);	/* 0, or the status of a refusal */
void front_spool_remove(const char *folder);	/* with the folders and files in it, three levels at most */

/* locks.c */
struct front_lock;
enum MHD_Result front_do_lock(struct front_req *), front_do_unlock(struct front_req *);
/* May this request change the node at this path (is_tree: and all below; is_member: and the list of its parent)? 0, 423 or 412. */
int front_locks_check(struct front_req *, const char *path, const struct weir_attr *, bool is_tree, bool is_member);
void front_locks_moved(struct front_share *, const char *path);	/* it is gone: so are its locks, and those below */
void front_locks_xml(struct front_share *, const char *path, struct weir_buf *);	/* d:activelock elements */
void front_locks_free(struct front_share *);

/* serve.c */
struct MHD_Daemon *front_serve(struct front_share *, int listen_fd);

#endif
