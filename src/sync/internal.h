/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of sync/ share. All fields are guarded by the store's lock unless said otherwise. */
#ifndef WEIR_SYNC_INTERNAL_H
#define WEIR_SYNC_INTERNAL_H
#include "../util/text.h"
#include "sync.h"

enum { JOB_PROBE, JOB_LIST, JOB_FETCH, JOB_SEND, JOB_PART, JOB_AHEAD, JOB_CLASSES };

/* Work for a transfer thread. run() is called without the lock and frees the job (it is embedded in something larger). */
struct job {
	struct job *next;
	unsigned kind;
	void (*run)(struct weir_remote *, struct job *);
};

struct news {
	struct news *next;
	enum { NEWS_NODE, NEWS_ENTRY, NEWS_DELETED } kind;
	uint64_t node, child;
	bool is_data;
	char name[WEIR_NAME_MAX + 1];
};

/* A send under way; what must not overlap with it is found by these ids. */
#define CHAIN_MAX 64
struct send {
	struct send *next;
	uint64_t node;
	uint64_t from_dir, to_dir;			/* the two remote directories it touches */
	char from_name[WEIR_RNAME_MAX + 1], to_name[WEIR_RNAME_MAX + 1];
	uint64_t chain[CHAIN_MAX];			/* remote ancestors of both places */
	unsigned nchain;
	bool is_dir;
};

/* A listing under way, shallow or deep. */
struct listing {
	struct listing *next;
	struct job job;
	uint64_t dir;
	bool is_deep, is_background;
	bool is_watch;					/* started by the watch */
	bool is_outdated;				/* news of the directory came while it was under way */
	int64_t started_ms;
	struct weir_waitq waiters;
	char **touched;					/* "DIR/NAME" of what our own operations changed meanwhile */
	size_t ntouched;
};

/* News told over a connection that stays open (push.c). */
struct push {
	pthread_t thread;
	pthread_cond_t cond;
	bool has_thread;
	bool is_on;					/* connected: news is told */
	unsigned fails;
	int64_t next_ms;				/* monotonic: not to be tried again before */
	int64_t look_ms;				/* monotonic: the watch is to ask then; 0: nothing was told */
	unsigned looks_left;				/* further looks at what was told last */
	char error[256];				/* why it is not used although it might be */
};

/* How changes made elsewhere are seen (watch.c). */
struct watch {
	enum weir_watch how;
	pthread_t thread;
	pthread_cond_t cond;
	bool has_thread;
	bool is_good;					/* the last question was answered: listings hold until news comes */
	bool was_listed;				/* some directory, ever */
	bool needs_ids;					/* there may be a listed directory whose id nobody told */
	bool is_kicked;					/* ask at once */
	int64_t asked_ms;				/* wall clock, last answer */
	int64_t last_ms, used_ms;			/* monotonic: end of the last question; somebody asked for something */
	int64_t next_again_ms;				/* wall clock: a directory may be due */
	unsigned nlistings, fails;
	uint64_t told;					/* changes, since the start */
	char *root_version;				/* WALK: seen last */
	int64_t sent_ms;				/* monotonic: something of ours was being sent, about */
	struct push push;
	char error[256];
};

struct dir_habit {
	uint64_t dir;
	int64_t at_ms;
	unsigned count;
	uint64_t mark;			/* files up to this node number are fetched or asked for */
	int left;			/* of these, not opened yet */
	bool is_active;			/* fetching ahead pays here */
};
#define HABITS 16

#define SEND_LOOK 300	/* rows a look at the journal brings */

struct weir_remote {
	struct weir_sync *sy;
	const struct weir_remote_conf *conf;
	struct weir_backend *be;
	uint64_t id, root;
	enum weir_remote_state state;
	char error[256];
	int64_t probed_ms;				/* monotonic, last probe's end */
	bool is_probing, is_asked, is_other_account;	/* is_asked: a probe is wanted at once */
	struct weir_usage usage;			/* as the server said last, kept up with what we sent since */
	int64_t usage_ms;
	struct weir_cancel cancel;			/* of everything, at the end */

	struct job *head[JOB_CLASSES], **tail[JOB_CLASSES];
	unsigned running[JOB_CLASSES], limit[JOB_CLASSES];
	unsigned nthreads, idle, max_threads;
	pthread_cond_t work, gone;

	struct news *news, **news_tail;
	uint64_t telling;				/* node whose pages are being dropped from the fronts' caches now */
	pthread_t news_thread;
	pthread_cond_t news_cond;
	bool has_news_thread;

	struct listing *listings;
	struct dir_habit list_habits[HABITS], open_habits[HABITS];

	struct sizing *sizings;				/* size.c: questions under way */
	struct send *sends;
	unsigned nsends;
	uint64_t look[SEND_LOOK];			/* nodes with due rows, in order of the journal, as of the last look at it */
	int nlook, look_at;				/* tried up to here */
	bool is_look_moved;				/* something of this look was begun */
	bool is_kicked;
	int64_t next_due_ms;				/* wall clock of the earliest journal row that waits for its time */
	uint64_t seen_puts;				/* journal_puts of the store when the journal was last looked at */
	struct weir_waitq sent;
	uint64_t sent_bytes;
	bool wants_walk;				/* background listing for the sums */
	struct watch watch;
};

struct weir_sync {
	struct weir_store *st;
	const struct weir_conf *conf;
	struct weir_sync_hooks hooks;
	struct weir_http *http;
	struct weir_remote **remotes;
	size_t nremotes;
	pthread_t timer;
	pthread_cond_t timer_cond;
	bool has_timer, is_stopping;
};

/* remote.c */
void remote_submit(struct weir_remote *, struct job *, unsigned kind);
void remote_submit_first(struct weir_remote *, struct job *, unsigned kind);
/* A backend call ended: keep the state of the remote right. Lock held. */
void remote_note(struct weir_remote *, enum weir_code, const char *sentence);
/* Can it be asked now? WEIR_OK, DOWN or AUTH. Lock held. */
enum weir_code remote_usable(const struct weir_remote *);
void remote_probe(struct weir_remote *);
void news_node(struct weir_remote *, uint64_t node, bool is_data);
void news_entry(struct weir_remote *, uint64_t parent, const char *name);
void news_deleted(struct weir_remote *, uint64_t parent, uint64_t child, const char *name);
/* Owned copies of where a node is at the remote. false: it is not there. Lock held. */
struct place { char *path, *id, *parent_id, *version; };
bool place_of(struct weir_store *, const struct weir_node *, struct place *);
/* The place NAME in directory node dir. */
bool place_in(struct weir_store *, uint64_t dir, const char *rname, struct place *);
void place_where(const struct place *, struct weir_where *);
void place_free(struct place *);

/* list.c */
void list_touch(struct weir_remote *, uint64_t dir, const char *rname);
void list_walk(struct weir_remote *);
/* List one directory for the watch. */
void list_again(struct weir_remote *, uint64_t dir);

/* watch.c */
/* Lock NOT held. */
void watch_start(struct weir_remote *);
void watch_end(struct weir_remote *);
/* Lock held. Start what is due of the directories to look at again. */
void watch_tick(struct weir_remote *);
/* In a transaction: something in this directory may have changed; listed if it ever was. */
enum weir_code watch_mark(struct weir_remote *, const struct weir_node *dir, struct weir_err *);
/* In a transaction: this directory could not be taken over as it is listed now; look again in a while. */
enum weir_code watch_later(struct weir_remote *, uint64_t dir, struct weir_err *);
void watch_listed(struct weir_remote *, const struct listing *, enum weir_code);	/* a listing has ended */
void watch_used(struct weir_remote *);		/* somebody asked for something */
bool watch_is_on(const struct weir_remote *);	/* changes are told: listings need not grow old */
bool watch_is_idle(const struct weir_remote *);
void watch_look(struct weir_remote *, int64_t at_ms);	/* something was told: ask at that time, and some more */

/* push.c. Lock NOT held. */
void push_start(struct weir_remote *);
void push_end(struct weir_remote *);

/* merge.c: what one entry of a listing means for the tree. Lock held, transaction open. */
struct merge {
	struct weir_remote *r;
	struct listing *l;
	uint64_t dir;					/* the node listed */
	uint64_t max_id;				/* nodes made later are no evidence of removal */
	bool was_listed;
	uint64_t asker;					/* node whose send asks (a conflict); 0 for listings */
	uint64_t *seen;
	size_t nseen, seen_cap;
	bool is_changed;				/* something in the directory differs: its cached listing in the kernel is old */
};
/* *node: the entry's node (0: nothing to show). *stale_dir: a directory whose version differs from what we had. */
enum weir_code merge_entry(struct merge *, const char *rname, const struct weir_stat *, uint64_t *node, bool *stale_dir, struct weir_err *);
/* The listing of m->dir is whole: what it did not show is gone. */
enum weir_code merge_end(struct merge *, const char *self_version, struct weir_err *);
/* The remote says this node is another version now, or gone (st NULL). *n becomes the node that has the name then: another one, if somebody has the
 * old version open. */
enum weir_code merge_changed(struct weir_remote *, struct weir_node *, const struct weir_stat *, struct weir_err *);

/* The storage says that the object of this node is called rname in directory dir now: the node goes along, with what is cached and unsent, where
 * nothing speaks against it; else the listings of both directories settle it. */
enum weir_code merge_moved(struct weir_remote *, struct weir_node *, uint64_t dir, const char *rname, struct weir_err *);

/* send.c, send_file.c, send_dir.c */
void send_schedule(struct weir_remote *);
struct send_job {
	struct job job;
	struct send send;
	struct weir_node node;				/* as it was when the work began */
	struct place from, to;				/* owned */
	enum { SEND_MKDIR, SEND_PUT, SEND_MOVE, SEND_REMOVE, SEND_META } op;
	uint64_t replaced;				/* MOVE: tombstone whose place it takes */
	bool is_repeat;					/* MOVE: an earlier try may have arrived, wholly or half */
	int64_t wait_ms;				/* BUSY: look again after so long; 0: soon */
	int64_t began_ms;				/* monotonic */
};
enum weir_code send_put(struct weir_remote *, struct send_job *, struct weir_err *);
enum weir_code send_move(struct weir_remote *, struct send_job *, struct weir_err *);
/* Take part in what must not overlap: false when the operation (node and the two places filled in) collides with a running one. Lock held. */
bool send_enter(struct weir_remote *, struct send *);
void send_leave(struct weir_remote *, struct send *);
/* Is what the storage has at this place what this upload sent? May read it back. Lock not held. */
bool send_is_ours(struct weir_remote *, const struct weir_ctx *, const struct weir_where *, const struct weir_stat *theirs, const struct weir_upload_row *);
/* The local version steps aside as NAME (conflict HOST DATE).EXT and the name shows theirs (NULL: it is gone there, ours becomes new). Lock held. */
enum weir_code send_conflict(struct weir_remote *, struct send_job *, const struct weir_stat *theirs, struct weir_err *);

#endif
