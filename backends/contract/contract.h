/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of backend.h as a list of promises, run against any storage: by tests/contract against every server there is, by
 * `weir check --live` against a person's real account. Knows no storage; asks capability bits only.
 *
 * A promise is a function whose name is the promise; it works in a directory of its own (t->dir). Names here begin with t_: only this
 * folder uses them. */
#ifndef WEIR_CONTRACT_H
#define WEIR_CONTRACT_H
#include "../backend.h"
#include "../../src/util/text.h"
#include "../../src/util/util.h"

/* One run of the list. The caller opens the stack as weir does (weir_backend_open) and closes it. Blocking; one thread at a time. */
struct weir_contract {
	struct weir_backend *be;
	const struct weir_remote_conf *remote;
	struct weir_http *http;
	const char *only;		/* name of one promise; NULL: all */
	struct weir_cancel *cancel;	/* may be NULL: ends the run after cleaning up */
	void (*line)(void *arg, const char *text);	/* TAP without line ends, as it comes; names no secret */
	void *arg;
	int number, failed, skipped;	/* results */
};
/* Everything happens below one new directory at the remote's root, which is removed at the end. true: every promise is kept. */
bool weir_contract_run(struct weir_contract *);

struct t {
	struct weir_backend *be;
	const struct weir_backend_ops *ops;
	struct weir_ctx ctx;
	struct weir_err err;		/* of the last helper call */
	char *dir;			/* path of this promise's directory, made already */
	bool is_failed;
	const char *skip;		/* why the rest of the promise was left out */
	/* Another instance of the same remote, as after a restart. */
	struct weir_backend *(*reopen)(struct t *);
	struct weir_contract *run;
};

/* A line of explanation in the report. */
void t_say(struct t *, const char *fmt, ...) WEIR_PRINTF(2, 3);

/* Each checks, says what was seen instead, and makes the promise fail. */
bool t_check(struct t *, bool ok, const char *file, int line, const char *what);
bool t_code(struct t *, enum weir_code got, enum weir_code want, const char *file, int line, const char *what);
#define CHECK(t, what) t_check(t, what, __FILE__, __LINE__, #what)
#define CODE(t, call, want) t_code(t, call, want, __FILE__, __LINE__, #call)
#define OK(t, call) CODE(t, call, WEIR_OK)

/* Owned path of NAME in the promise's directory. */
char *t_path(struct t *, const char *name);

/* Bytes that depend on seed and offset, so that nothing in the wrong place looks right. */
unsigned char t_byte(unsigned seed, uint64_t off);
struct t_source {			/* of size bytes of a seed; or of text when it is not NULL */
	struct weir_source src;
	unsigned seed;
	uint64_t size;
	const char *text;
};
void t_source_init(struct t_source *, unsigned seed, uint64_t size);
void t_source_text(struct t_source *, const char *text);
struct t_sink {				/* compares with a seed from off on, or keeps (up to 1 MiB) */
	struct weir_sink sink;
	unsigned seed;
	uint64_t off, got, bad;		/* bad: bytes that differ from the seed's */
	bool is_kept;
	struct weir_buf buf;
};
void t_sink_seed(struct t_sink *, unsigned seed, uint64_t off);
void t_sink_keep(struct t_sink *);

/* Calls with the common arguments filled in. path: whole. version: as in weir_where. */
enum weir_code t_put(struct t *, const char *path, const char *version, const char *text, struct weir_stat *st);
enum weir_code t_put_seed(struct t *, const char *path, const char *version, unsigned seed, uint64_t size, struct weir_stat *st);
enum weir_code t_get(struct t *, const char *path, const char *version, uint64_t off, uint64_t len, struct t_sink *, struct weir_stat *st);
enum weir_code t_stat(struct t *, const char *path, struct weir_stat *st);
enum weir_code t_remove(struct t *, const char *path, const char *version, bool is_dir);
enum weir_code t_mkdir(struct t *, const char *path);
/* Is the whole content this text? Checks. */
void t_holds(struct t *, const char *path, const char *text);

struct t_list { struct weir_stat *v; size_t n, cap; };	/* in the order told */
enum weir_code t_list(struct t *, const char *path, unsigned flags, struct t_list *);
const struct weir_stat *t_list_find(const struct t_list *, const char *path, size_t *times);
void t_list_free(struct t_list *);

/* Run fn(arg, i) for i in 0..n on several threads. */
void t_parallel(int n, int threads, void (*fn)(void *arg, int i), void *arg);

struct promise {
	const char *name;
	void (*fn)(struct t *);
	unsigned caps;			/* needed */
	const char *cap_name;
	unsigned hooks;			/* needed: HOOK_* */
};
enum { HOOK_UPLOAD = 1, HOOK_COPY_PART = 2, HOOK_COPY = 4, HOOK_MOVE = 8, HOOK_SET_META = 16, HOOK_QUOTA = 32, HOOK_ABORT = 64 };
#define PROMISE(fn) { #fn, fn, 0, NULL, 0 }
#define PROMISE_CAP(fn, cap) { #fn, fn, WEIR_CAP_##cap, #cap, 0 }
#define PROMISE_HOOK(fn, hooks) { #fn, fn, 0, NULL, hooks }
#define PROMISE_BOTH(fn, cap, hooks) { #fn, fn, WEIR_CAP_##cap, #cap, hooks }

extern const struct promise promises_file[], promises_tree[], promises_upload[];	/* name NULL at the end */

#endif
