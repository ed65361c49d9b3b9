/* SPDX-License-Identifier: Apache-2.0 */
/* What both storage emulators share: requests and replies over libmicrohttpd, faults on demand, content kept as files,
 * a small XML tree. The emulators are the independent other side of weir's backends: they are written from the
 * protocols alone and must not use weir's signer, DAV or HTTP code; src/util is all they borrow.
 *
 * One thread per connection, so a request may sleep (latency, stalls) without holding up another. A request runs
 * through emu_proto's hooks in the order route, begin, data*, end, release, all on that thread. */
#ifndef EMU_COMMON_H
#define EMU_COMMON_H
#include "util/buf.h"
#include "util/util.h"
#include <stdatomic.h>
#include <stdio.h>

/* ---- requests ---- */

struct emu_pair {
	char *name, *value;	/* owned; value is never NULL */
};
struct emu_pairs {
	struct emu_pair *v;
	size_t n;
};
void emu_pairs_add(struct emu_pairs *, const char *name, const char *value);
const char *emu_pairs_get(const struct emu_pairs *, const char *name);	/* exact name; NULL when missing */
void emu_pairs_copy(struct emu_pairs *to, const struct emu_pairs *from);
void emu_pairs_free(struct emu_pairs *);

struct emu_blob;
struct emu_req {
	char *method;
	char *target;			/* as on the wire, query included */
	char *path;			/* as on the wire, without the query: still percent-encoded */
	struct emu_pairs query;		/* decoded, in the order sent */
	struct emu_pairs head;		/* as sent */
	int64_t content_length;		/* -1: none stated */
	bool has_body;			/* a length above 0, or chunked */
	bool is_raw;			/* came in under /_emu/raw: nobody signs, nothing fails */
	char op[40];			/* what it does, in the protocol's words; counted and matched by fault_op */
	void *proto;			/* the protocol's own, freed by its release hook */

	/* The reply, set by emu_reply* and then sent when the request has been read. */
	bool is_replied;
	unsigned status;
	struct emu_pairs out;
	struct weir_buf body;
	struct emu_blob *blob;		/* when not NULL: the body is this range of it */
	uint64_t blob_off, blob_len;
	bool hides_length;		/* the body goes out in chunks, without Content-Length */
	/* With status 101: what talks over the socket from then on, in a thread of its own, until it returns; extra: bytes that came early. */
	void (*upgraded)(int sock, const char *extra, size_t n, void *arg);
	void *upgraded_arg;

	struct emu_conn *link;		/* plumbing (common.c) */
};

const char *emu_header(const struct emu_req *, const char *name);	/* any case; NULL when missing */
const char *emu_query(const struct emu_req *, const char *name);
bool emu_is(const struct emu_req *, const char *method);

void emu_out(struct emu_req *, const char *name, const char *value);	/* adds a response header */
void emu_outf(struct emu_req *, const char *name, const char *fmt, ...) WEIR_PRINTF(3, 4);
void emu_out_replace(struct emu_req *, const char *name, const char *value);
void emu_reply(struct emu_req *, unsigned status);			/* with what body holds by now */
void emu_reply_text(struct emu_req *, unsigned status, const char *type, const char *text);
void emu_reply_blob(struct emu_req *, unsigned status, struct emu_blob *, uint64_t off, uint64_t len);	/* takes a reference */

/* Sleep unless the client hangs up first; false when it did. */
bool emu_sleep(struct emu_req *, int64_t ms);

/* Decoded copy of an encoded path or query piece; NULL when it holds %00 or a broken escape. Owned. */
char *emu_decode(const char *s, size_t len, bool plus_is_space);

/* One byte range. 0: none or not one range we honour, 1: *off and *len set, -1: not satisfiable (416). */
int emu_range(const char *header, uint64_t size, uint64_t *off, uint64_t *len);

/* ---- protocol ---- */

struct emu_switch;
struct emu_proto {
	const char *name;
	struct emu_switch *switches;	/* ends with a NULL name */
	struct emu_switch *more_switches;	/* of a part it shares with others; may be NULL */
	void (*route)(struct emu_req *);			/* sets op; no reply yet */
	void (*begin)(struct emu_req *);			/* the head is there: reply now, or wait for the body */
	void (*data)(struct emu_req *, const void *, size_t);	/* a piece of the body; not called once replied */
	void (*end)(struct emu_req *);				/* must reply; not called once replied */
	void (*release)(struct emu_req *);
	void (*error)(struct emu_req *, unsigned status, const char *code);	/* an injected error in this protocol's shape */
	void (*edited)(struct emu_req *);			/* last look at a reply before it goes out; may be NULL */
	void (*reset)(void);					/* /_emu/reset: forget what is no data; may be NULL */
};
struct emu_opts {
	int port;
	const char *dir;
	bool dies_with_parent, is_verbose;
};
/* Serves until SIGTERM or SIGINT; prints "listening on 127.0.0.1:PORT". Returns the exit status. */
int emu_serve(const struct emu_proto *, const struct emu_opts *);

/* ---- faults (faults.c) ---- */

struct emu_switch {
	const char *name, *help;
	double value;		/* under faults.c's lock: read with emu_value() */
	char text[128];		/* for names that end in _method, _op, _path, _code */
};
enum {
	EMU_LATENCY_MS, EMU_BANDWIDTH, EMU_ERROR_RATE, EMU_ERROR_NEXT, EMU_ERROR_STATUS, EMU_ERROR_CODE, EMU_RETRY_AFTER,
	EMU_RESET_RATE, EMU_RESET_NEXT, EMU_RESET_AFTER, EMU_STALL_RATE, EMU_STALL_NEXT, EMU_STALL_AFTER, EMU_STALL_MS,
	EMU_STALL_ALL, EMU_TRUNCATE_RATE, EMU_TRUNCATE_NEXT, EMU_LOST_RATE, EMU_LOST_NEXT, EMU_LOST_STATUS, EMU_LOST_RESET, EMU_LOST_STALL,
	EMU_LATE_NEXT, EMU_LATE_MS,
	EMU_CLOCK_SKEW, EMU_FAULT_METHOD, EMU_FAULT_OP, EMU_FAULT_PATH, EMU_SWITCHES
};
extern struct emu_switch emu_switches[];
double emu_value(struct emu_switch *);
bool emu_roll(struct emu_switch *rate);		/* true with that probability */
bool emu_take(struct emu_switch *next);		/* counts down; true while above 0 */
/* What shall go wrong with this request: decided once, after route. */
struct emu_fate {
	bool error, reset, stall, truncate, lost, lost_stalls, late;
	int64_t reset_after, stall_after;	/* bytes of body, either way; 0: before the answer */
};
void emu_fate(const struct emu_req *, struct emu_fate *);
bool emu_stalls_all(void);
void emu_stall_all(void);
int64_t emu_stall_generation(void);		/* changes with every change of a switch: ends stalls */

void emu_faults_setup(const struct emu_proto *);
void emu_control(struct emu_req *, const char *verb);	/* answers /_emu/VERB */
void emu_count(const struct emu_req *, uint64_t in, uint64_t out, const char *fault);
void emu_count_fault(const char *kind);
void emu_count_begin(void);
uint64_t emu_random(void);
int64_t emu_wall_s(void);			/* the server's clock: skewed on demand */

/* ---- content (blob.c): immutable byte strings made of pieces of files, shared by reference ---- */

int emu_store_open(const char *dir);		/* DIR/data; 0 or -1 with a message printed */
struct emu_writer;
struct emu_writer *emu_writer_new(void);	/* NULL: errno */
int emu_writer_add(struct emu_writer *, const void *, size_t);
struct emu_blob *emu_writer_end(struct emu_writer *);	/* frees it; NULL when a write had failed */
void emu_writer_abort(struct emu_writer *);	/* NULL is fine */

struct emu_blob *emu_blob_empty(void);
struct emu_blob *emu_blob_ref(struct emu_blob *);
void emu_blob_unref(struct emu_blob *);		/* the last one removes its files; NULL is fine */
uint64_t emu_blob_size(const struct emu_blob *);
struct emu_blob *emu_blob_copy(const struct emu_blob *, uint64_t off, uint64_t len);	/* by hard links; NULL: errno */
struct emu_blob *emu_blob_join(struct emu_blob *const *, size_t n);			/* one after the other; by hard links */
struct emu_reader;
struct emu_reader *emu_reader_new(struct emu_blob *);		/* holds a reference */
ssize_t emu_reader_at(struct emu_reader *, void *, size_t, uint64_t off);	/* may be short; 0 at the end; -1 */
void emu_reader_free(struct emu_reader *);
/* As text for the state file, and back ("ID:OFF:LEN,..."; "" is the empty blob). */
void emu_blob_save(struct weir_buf *, const struct emu_blob *);
struct emu_blob *emu_blob_load(const char *);	/* NULL: a file is missing or the text is bad */
void emu_store_sweep(void);			/* after loading: removes files no blob holds */

/* ---- state file (state.c): one JSON object a line, appended by every change, rewritten at start ---- */

#include <jansson.h>
int emu_log_open(const char *dir, int (*apply)(const json_t *));	/* replays; 0 or -1 */
void emu_log(json_t *);				/* appends; takes the reference */
int emu_log_compact(void (*dump)(void));	/* calls dump, which logs everything that is; swaps the files */

/* ---- XML (xml.c) ---- */

struct emu_xml {
	char *ns, *name;		/* NULL name: a text node */
	char *text;			/* text nodes only */
	struct emu_pairs attrs;		/* "ns|name" or "name" */
	struct emu_xml *child, *next;
};
struct emu_xml *emu_xml_parse(const char *, size_t);	/* NULL: not well-formed, has a DTD, or too deep */
void emu_xml_free(struct emu_xml *);
struct emu_xml *emu_xml_find(const struct emu_xml *, const char *name);	/* first child of that local name */
char *emu_xml_text(const struct emu_xml *);		/* all text inside; owned, never NULL; NULL node gives "" */
void emu_xml_write(struct weir_buf *, const struct emu_xml *);		/* stands alone: declares every namespace it uses */
void emu_xml_text_add(struct weir_buf *, const char *);	/* escaped */

#endif
