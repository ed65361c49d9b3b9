/* SPDX-License-Identifier: Apache-2.0 */
/* What moves between the store and the remotes: listings, fetches, uploads, changes seen. fs/ asks here; backends are called only from here.
 *
 * Threads. Each remote has transfer threads of its own (a dead remote blocks nobody else's), one thread that delivers news, and the
 * remotes share one timer thread. Backends are called without any lock. All functions below want the store's lock held unless they say
 * otherwise, and never block on the network: they start work and let a waiter stand in a queue. */
#ifndef WEIR_SYNC_H
#define WEIR_SYNC_H
#include "../store/content.h"
#include "../store/store.h"

struct weir_sync;
struct weir_remote;

struct weir_sync_hooks {		/* fs/ is above: it offers these */
	/* Lock held: does anybody have this node open? */
	bool (*is_open)(void *arg, uint64_t node);
	bool (*is_open_for_writing)(void *arg, uint64_t node);
	/* Lock held, when a version of this file is about to be uploaded. true: not now, it is being written; fs/ gives its journal row a time again. */
	bool (*is_put_off)(void *arg, uint64_t node);
	/* Lock held: a version that was complete at this time (monotonic) has arrived. */
	void (*was_sent)(void *arg, uint64_t node, int64_t at_ms);
	/* Lock NOT held, from the remote's news thread; may block. */
	void (*node_changed)(void *arg, uint64_t node, bool is_data);
	void (*entry_changed)(void *arg, uint64_t parent, const char *name);
	void (*entry_deleted)(void *arg, uint64_t parent, uint64_t child, const char *name);
	void *arg;
	uint32_t umask;		/* for what the storage tells no mode of */
};

/* Lock NOT held. Opens every remote of the configuration (offline is fine), starts threads. */
enum weir_code weir_sync_new(struct weir_store *, const struct weir_conf *, const struct weir_sync_hooks *, struct weir_sync **out, struct weir_err *);
/* Lock NOT held. Ends transfers (they are cancelled), joins threads, closes backends. */
void weir_sync_free(struct weir_sync *);

struct weir_remote *weir_sync_remote(struct weir_sync *, uint64_t id);
struct weir_remote *weir_sync_remote_named(struct weir_sync *, const char *name);
size_t weir_sync_count(const struct weir_sync *);
struct weir_remote *weir_sync_at(struct weir_sync *, size_t);
/* Ask now whether it lets us in, whatever it said last and when: somebody signed in. */
void weir_remote_look(struct weir_remote *);

enum weir_remote_state { WEIR_REMOTE_CONNECTING, WEIR_REMOTE_UP, WEIR_REMOTE_DOWN, WEIR_REMOTE_REFUSED };
enum weir_watch {		/* how changes made elsewhere are seen */
	WEIR_WATCH_AGE,		/* a listing grows old */
	WEIR_WATCH_WALK,	/* versions of directories are compared from the root down */
	WEIR_WATCH_FEED,	/* the storage tells */
	WEIR_WATCH_PUSH,	/* in views: WALK, and the storage tells when it is time to */
};
struct weir_remote_view {		/* for status; a copy */
	const char *name, *type;
	uint64_t id, root;
	enum weir_remote_state state;
	const struct weir_remote_conf *conf;
	unsigned caps;
	char error[256];
	struct weir_usage usage;
	struct weir_http_stats http;
	unsigned fetching, sending;
	uint64_t sent_bytes;
	enum weir_watch watch;
	int64_t watched_ms;		/* wall clock of the last answer; 0: none yet */
	char watch_error[256];
	char push_error[256];	/* why the storage's own word is not used, although it has one */
};
void weir_remote_view(struct weir_remote *, struct weir_remote_view *);
uint64_t weir_remote_id(const struct weir_remote *);
uint64_t weir_remote_root(const struct weir_remote *);
const struct weir_remote_conf *weir_remote_conf(const struct weir_remote *);
unsigned weir_remote_caps(const struct weir_remote *);
size_t weir_remote_name_max(const struct weir_remote *);
/* Name of a node of this type on the storage ("x" or "x.rclonelink"); false: too long. */
bool weir_remote_rname(const struct weir_remote *, enum weir_type, const char *name, char out[WEIR_RNAME_MAX + 1]);

/* ---- listings ---- */
/* May the tree answer for this directory without asking? */
bool weir_sync_is_fresh(struct weir_sync *, const struct weir_node *dir);
/* How long the answer holds, ms. */
uint32_t weir_sync_valid_ms(struct weir_sync *, const struct weir_node *dir);
/* Start or join a listing of dir; w is woken when it (or enough of it to look again) is there. WEIR_PENDING, or why it cannot be. */
enum weir_code weir_sync_list(struct weir_sync *, const struct weir_node *dir, struct weir_waiter *w);

/* Somebody uses this remote: news is asked for more often for a while. The calls above and below say so by themselves. */
void weir_sync_used(struct weir_sync *, uint64_t remote);
/* Are the fronts still to be told that their pages of this node are old? */
bool weir_sync_is_telling(struct weir_sync *, const struct weir_node *);

/* ---- fetches ---- */
/* Have [off, off+len) of c fetched, and what the planner thinks will be wanted next. w (may be NULL) is woken as pages arrive or when it
 * failed. WEIR_PENDING, or why it cannot be. */
enum weir_code weir_sync_fetch(struct weir_sync *, const struct weir_node *, struct weir_content *c, uint64_t off, uint64_t len, struct weir_waiter *w);
/* A read was served from the cache: keep the read-ahead going. Cheap. */
void weir_sync_ahead(struct weir_sync *, struct weir_content *c, uint64_t off, uint64_t len);
/* Fetch all of it, piece by piece (open for writing, prefetch, pin). */
void weir_sync_fetch_all(struct weir_sync *, struct weir_content *c);
/* The same for somebody who waits for the whole, behind all who read: w is woken when a piece is there or failed. OK: all of it is here; NOSPC: there is no
 * room for it, and nothing is under way. Else PENDING, or why it cannot be. */
enum weir_code weir_sync_prefetch(struct weir_sync *, const struct weir_node *, struct weir_content *c, struct weir_waiter *w);
/* Find out the size of a file that is WEIR_N_UNSIZED; w is woken when the node has it, or with why not. PENDING, or why it cannot be. */
enum weir_code weir_sync_size(struct weir_sync *, const struct weir_node *, struct weir_waiter *w);
/* A small file was opened (is_miss: it was not here): fetch its neighbours if that has become a habit. */
void weir_sync_neighbours(struct weir_sync *, const struct weir_node *, bool is_miss);

/* ---- sending ---- */
/* The journal has new or newly due rows of this remote. */
void weir_sync_kick(struct weir_remote *);
/* The same, and somebody waits for it. */
void weir_sync_kick_now(struct weir_remote *);
/* Is an operation on this node under way? */
bool weir_sync_is_sending(struct weir_remote *, uint64_t node);
/* w is woken whenever something was sent or failed (write = through, flush). */
void weir_sync_wait_sent(struct weir_remote *, struct weir_waiter *w);
/* Have the storage copy `from` whole to the place of `to`, a file that is new and empty here. NOTSUP when it cannot (other remote, unsent changes,
 * no such call, the remote is away): copy through the cache then. Otherwise PENDING: w is woken when the copy is there and the node is
 * that version, without unsent changes, or with why not. */
enum weir_code weir_sync_copy(struct weir_sync *, const struct weir_node *from, const struct weir_node *to, struct weir_waiter *w);
/* NAME (conflict HOST DATE).EXT: where a version steps aside. Lock not needed. */
void weir_conflict_name(const char *name, char out[WEIR_NAME_MAX + 1]);
/* How long after a close an upload waits for a rename over its target. */
#define WEIR_SETTLE_MS 2000
#define WEIR_DUE_NEVER (INT64_MAX / 4)	/* still open for writing */

#endif
