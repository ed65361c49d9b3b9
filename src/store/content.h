/* SPDX-License-Identifier: Apache-2.0 */
/* Content files and their page tables.
 *
 * A content is one version of one file: $CACHE/content/NNNNNN/NNN by content number, sparse, its length the file's length. Its pages of
 * 128 KiB are each
 *
 *   state   | bytes in the content file are         | checksum binds | survives kill -9 as
 *   ABSENT  | nothing (never read from it)          | no             | ABSENT
 *   HOLE    | zeros that nobody has written         | no             | HOLE
 *   CLEAN   | the remote version's                  | yes            | CLEAN, or ABSENT when not saved yet
 *   CHANGED | ours, sealed                          | yes            | CHANGED
 *   OPEN    | ours, being changed                   | no             | OPEN: taken as they are
 *
 * A page without a saved row is OPEN in a content born here, ABSENT below base_size and HOLE above it in one that came from a remote.
 * Before the first byte of a page that is not OPEN is overwritten, its OPEN state is committed.
 *
 * Lock order: the store's lock is the only one. Functions here want it held unless they say otherwise; file data moves without it, protected by
 * page.inflight (a write runs), WEIR_P_FETCHING (a fetch may write there; others must not) and the frozen copy below. */
#ifndef WEIR_CONTENT_H
#define WEIR_CONTENT_H
#include "store.h"

enum weir_page_state { WEIR_PAGE_ABSENT, WEIR_PAGE_HOLE, WEIR_PAGE_CLEAN, WEIR_PAGE_CHANGED, WEIR_PAGE_OPEN };
enum { WEIR_P_VERIFIED = 1, WEIR_P_FETCHING = 2, WEIR_P_BAD = 4, WEIR_P_COUNTED = 8 };

struct weir_page {
	uint64_t hash;		/* XXH3-64 of the page's bytes up to the end of the file; bound in CLEAN and CHANGED */
	uint32_t wgen;		/* content's wgen at the last write */
	uint8_t state, flags;
	uint16_t inflight;	/* writes running in it now */
};

/* The version an upload reads. A write to a page that is not yet aside copies it there first. */
struct weir_frozen {
	uint64_t size;
	int fd;			/* the pages set aside, at their own offsets; -1 until the first */
	uint8_t *aside;		/* one byte a page */
	uint64_t npages;
	bool is_torn;		/* a page could not be set aside: the upload must start again */
};

struct weir_content {
	struct weir_store *st;
	struct weir_content *hash_next;
	bool is_hashed;
	uint64_t num, node, remote;
	int fd;
	unsigned refs;
	uint64_t size, base_size;
	uint64_t counted;			/* bytes counted in st->cache_used */
	uint32_t wgen;
	unsigned writing, fetching;		/* running writes, running fetches */
	bool is_born, is_complete, is_dirty, is_unlinked, is_suspect, is_row_dirty;
	int64_t mtime_ns, ctime_ns, atime_ns;	/* what the row will say */
	bool is_attr_dirty;			/* size or times above are newer than the row */
	int64_t used_ms, saved_used_ms;		/* saved: as its row says */
	size_t nrows;
	struct weir_page **rows;		/* loaded when touched */
	uint8_t *row_flags;			/* of each row: page.c's */
	struct weir_waitq waiters;		/* for pages, for writes to end, for fetches to end */
	struct weir_frozen *frozen;
	/* the fetch planner's */
	uint64_t ra_next, ra_done, ra_window;
	int ra_hits;
	uint64_t disk_next, disk_ahead;		/* read-ahead of the cache file itself */
	struct weir_cancel cancel;		/* of running fetches: truncation, unlink */
	bool no_copy;				/* the storage was asked to copy into it and could not */
	bool is_stale;				/* the remote does not have this version any more */
};

/* The content of a node, with one more reference; loads it. *out = NULL and WEIR_OK when the node has none. */
enum weir_code weir_content_get(struct weir_store *, const struct weir_node *, struct weir_content **out, struct weir_err *);
struct weir_content *weir_content_live(struct weir_store *, uint64_t node);	/* no reference taken; NULL when not in memory */
void weir_content_ref(struct weir_content *);
void weir_content_put(struct weir_content *);		/* NULL is fine */
/* New, in a transaction: born here (all OPEN) or for a remote version of `size` bytes (all ABSENT). Sets n->content (caller updates the row); the
 * node's older content must have been dropped. One reference. */
enum weir_code weir_content_new(struct weir_store *, struct weir_node *n, bool is_born, uint64_t size, struct weir_content **out, struct weir_err *);
/* In a transaction: forget this content (rows now, file when the last reference goes). Sets n->content = 0. Used when a version is replaced. */
enum weir_code weir_content_drop(struct weir_store *, struct weir_node *n, struct weir_err *);

/* The node's unsent flag changed: keeps st->cache_dirty right. */
void weir_content_set_dirty(struct weir_content *, bool is_dirty);
/* store/db.c calls these at the end of each transaction. */
void weir_content_tx_end(struct weir_store *, bool is_committed);

struct weir_page *weir_content_page(struct weir_content *, uint64_t index);	/* loads its row; NULL: no memory or damaged row */
uint64_t weir_content_npages(const struct weir_content *);
size_t weir_content_page_bytes(const struct weir_content *, uint64_t index);
void weir_content_page_set(struct weir_content *, uint64_t index, enum weir_page_state, uint64_t hash);	/* marks the row for saving, counts */
/* Is there a bound or hole page in [off, off+len), which must be committed as OPEN before its bytes change? */
bool weir_content_needs_open(struct weir_content *, uint64_t off, uint64_t len);
/* Make them OPEN (in a transaction, followed by weir_content_save). ABSENT pages wholly inside become OPEN too; partly covered ones stay ABSENT. */
void weir_content_open_pages(struct weir_content *, uint64_t off, uint64_t len);
/* In a transaction: write changed page rows and the content row. */
enum weir_code weir_content_save(struct weir_content *, struct weir_err *);
/* After page tables may have become whole: sets is_complete when no page is ABSENT. Returns it. */
bool weir_content_check_complete(struct weir_content *);
/* Change the length. In a transaction; no write or fetch running past the shorter end; the partial page at the shorter end is OPEN or ABSENT already and
 * committed so (weir_content_open_pages), because its checksum would not fit the new length. Resets what lies beyond, ftruncates, saves. Pages a frozen
 * upload needs are set aside first. */
enum weir_code weir_content_resize(struct weir_content *, uint64_t new_size, struct weir_err *);

/* Hash pages [first, last] that are bound and not verified yet. Lock NOT held. Bad clean pages become ABSENT (fetched again); bad changed ones are
 * copied to quarantine, marked BAD and reported: WEIR_E_IO. *dropped: some page became absent. */
enum weir_code weir_content_verify(struct weir_content *, uint64_t first, uint64_t last, bool *dropped, struct weir_err *);
/* Turn all OPEN pages that no write touches meanwhile into CHANGED. Lock NOT held; commits now and then. What it leaves uncommitted goes with the next
 * weir_content_save, at the latest with the last weir_content_put: until then a crash finds those pages OPEN. */
enum weir_code weir_content_seal(struct weir_content *, struct weir_err *);

/* Uploads. freeze: BUSY while a write runs. One at a time. */
enum weir_code weir_content_freeze(struct weir_content *, struct weir_err *);
void weir_content_unfreeze(struct weir_content *);
/* Before a write to [off, off+len) or a cut at off (len = UINT64_MAX). */
void weir_content_aside(struct weir_content *, uint64_t off, uint64_t len);
/* Bytes of the frozen version. Lock NOT held. -1 and errno. */
ssize_t weir_content_read_frozen(struct weir_content *, void *buf, size_t len, uint64_t off);

/* Make room: drop clean contents nobody uses, least recently used first, until cache_used + want <= cache_max. Lock held, no transaction
 * open. Returns true when there is room. */
bool weir_store_evict(struct weir_store *, uint64_t want);
void weir_content_touch(struct weir_content *);		/* used now (saved now and then) */

uint64_t weir_page_hash(const void *, size_t);

#endif
