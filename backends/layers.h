/* SPDX-License-Identifier: Apache-2.0 */
/* Layers: backends that stand on another one and have its operations. A layer is one function around a call: it may run the call
 * below any number of times (weir_call_run), wait, or answer itself. Hooks the storage lacks are missing in its layers too.
 *
 *	retry	repeats what is safe to repeat, resumes reads, tells "down" from "busy"
 *	pace	waits where the storage asked for it, lets fewer calls run at once when it is throttled
 *	fault	fails on purpose (tests)
 *
 * close, fingerprint and stats always pass through. */
#ifndef WEIR_LAYERS_H
#define WEIR_LAYERS_H
#include "backend.h"

enum weir_op {
	WEIR_OP_PROBE, WEIR_OP_CHECK, WEIR_OP_STAT, WEIR_OP_LIST, WEIR_OP_GET, WEIR_OP_PUT,
	WEIR_OP_UPLOAD_BEGIN, WEIR_OP_UPLOAD_PART, WEIR_OP_UPLOAD_COPY_PART, WEIR_OP_UPLOAD_STATUS, WEIR_OP_UPLOAD_COMMIT, WEIR_OP_UPLOAD_ABORT,
	WEIR_OP_COPY, WEIR_OP_MOVE, WEIR_OP_MKDIR, WEIR_OP_REMOVE, WEIR_OP_SET_META, WEIR_OP_QUOTA, WEIR_OP_CHANGES, WEIR_OP_LISTEN, WEIR_OPS
};
const char *weir_op_name(enum weir_op);		/* "upload_part" */

/* One call, whatever the operation: each uses the members that its hook in backend.h has as parameters. All borrowed; a layer that
 * changes something changes a copy. */
struct weir_call {
	enum weir_op op;
	const struct weir_ctx *ctx;		/* may be NULL */
	const struct weir_where *where;		/* copy, move: from */
	const struct weir_where *to;		/* copy, move; upload_copy_part: the source */
	struct weir_stat *st;
	unsigned flags;				/* list */
	weir_list_fn *list_fn;
	enum weir_code (*part_fn)(void *, uint32_t, uint64_t, const char *);
	void (*line_fn)(void *, const char *);
	void *arg;				/* of list_fn, part_fn or line_fn */
	char **self_version;
	uint64_t off, len, size;		/* size: whole size, upload_part's total */
	struct weir_sink *sink;
	struct weir_source *source;
	enum weir_type type;
	const struct weir_meta *meta;
	const char *sum;
	const char *id;				/* upload id */
	char **new_id;
	uint32_t number, ntags;
	const char *const *tags;
	char **tag;
	bool is_dir;
	struct weir_usage *usage;
	char **cursor;				/* changes */
	int64_t wait_ms;			/* changes, listen */
	bool *is_new;				/* listen */
	weir_change_fn *change_fn;
};

/* Make the call on b. NOTSUP when b has no such hook. */
enum weir_code weir_call_run(struct weir_backend *b, const struct weir_call *, struct weir_err *);

/* First member of every layer. */
struct weir_layer {
	struct weir_backend base;
	struct weir_backend_ops ops;		/* of this instance: what `next` lacks is NULL here */
	enum weir_code (*around)(struct weir_layer *, const struct weir_call *, struct weir_err *);
	void (*free)(struct weir_layer *);	/* the layer's own; not `next` */
};
/* Makes base and ops of a layer that stands on next, which it owns from now on. */
void weir_layer_init(struct weir_layer *, struct weir_backend *next,
    enum weir_code (*around)(struct weir_layer *, const struct weir_call *, struct weir_err *), void (*free)(struct weir_layer *));
/* The storage under the layers. */
struct weir_backend *weir_backend_bottom(struct weir_backend *);
/* Sleep until weir_now_ms() reaches until_ms; WEIR_E_CANCELED as soon as ctx is cancelled. */
enum weir_code weir_layer_sleep(const struct weir_ctx *, int64_t until_ms, struct weir_err *);

struct weir_retry_conf {
	const char *name;			/* of the remote, for sentences */
	int64_t timeout_ms, patience_ms;
	int64_t first_ms, most_ms;		/* backoff: 100 ms doubling to 20 s, the actual wait is random below that; 0: these */
};
struct weir_backend *weir_layer_retry(struct weir_backend *next, const struct weir_retry_conf *);
struct weir_backend *weir_layer_pace(struct weir_backend *next);

/* rules: OP:CODE:WHEN[:lost|:cut=BYTES], separated by commas. OP: a name or *. CODE: NET, STALL, … WHEN: N (the N-th call of that
 * operation), N+ (from there on), %N (every N-th), ~P (P per cent of them, the same ones in every run). lost: the call is made, its
 * answer is dropped. cut: a get gives so many bytes before it fails. */
enum weir_code weir_layer_fault(struct weir_backend *next, const char *rules, struct weir_backend **out, struct weir_err *);
/* Test programs set it before weir_backend_open(): then WEIR_FAULT of the environment is obeyed. The product never does. */
extern bool weir_layer_fault_allowed;

#endif
