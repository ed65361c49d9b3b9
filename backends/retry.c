/* SPDX-License-Identifier: Apache-2.0 */
/* The retry layer: promise 5 of the plan.
 *
 * A call that fails with a code that may heal is repeated after a random wait below a doubling ceiling (full jitter). It ends
 *	- at once, when its caller cancels it;
 *	- WEIR_E_DOWN, when nothing at all was heard from the remote for `timeout`. While that lasts, one call at a time tries
 *	  (the others are told DOWN without asking), and the first byte ends it;
 *	- with its own code, when the caller's deadline or the remote's patience has passed.
 *
 * What is safe to repeat, and how:
 *	stat probe quota upload_begin upload_part upload_copy_part upload_status move	as they are
 *	list	entries given already are not given again
 *	get	goes on where it stopped, with the version it began with
 *	put copy upload_commit set_meta	as they are; but once an answer was lost, a refusal of the repeat (CHANGED, EXIST, NOENT) may be about our
 *		own success: what is there is looked at, and taken as ours only on evidence (checksum, time, content)
 *	mkdir	EXIST after a lost answer is success, likewise
 *	remove upload_abort	NOENT after a lost answer
 *	check	never: it speaks to a person
 *	changes listen	never: they may wait for minutes, and who watches asks again anyway
 *
 * Must not know storages or HTTP. */
#include "config.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "../src/util/text.h"
#include "../src/util/util.h"
#include "layers.h"
#include "retry_list.h"

#define RETRY_SERVER_MOST 5		/* attempts that end in an error inside the storage */
#define RETRY_BADSUM_MOST 3
#define RETRY_PROBE_MOST 2		/* who probes wants to know, not to wait */
#define RETRY_TRY_EVERY_MS 1000		/* while down */
#define RETRY_READ_MOST (256u << 20)	/* how much is read back to recognise our own bytes */

struct retry {
	struct weir_layer layer;
	struct weir_retry_conf conf;
	char *name;
	pthread_mutex_t lock;
	int64_t silent_from_ms;		/* lock: the first attempt since the remote was last heard; 0: none yet */
	int64_t try_at_ms;		/* lock: while down, when the next call may try */
	bool is_down;			/* lock */
	bool is_tried;			/* lock: while down, a call is trying */
	char why[WEIR_ERR_MAX];		/* lock: the sentence of the attempt that found it down */
};

/* One call's history. */
struct retry_run {
	struct retry *r;
	const struct weir_call *call;	/* as it came */
	struct weir_call now;		/* as it is made */
	struct weir_ctx ctx;
	int64_t until_ms;
	int64_t ceiling_ms;		/* of the next wait */
	int server_errors, bad_sums, attempts;
	bool is_lost;			/* an attempt may have done its work though its answer did not come */
	bool is_final;			/* nothing to repeat: the caller's own sink or callback ended it, or it was not let through */
};

/* --- up or down --- */

static int64_t
retry_heard_ms(struct retry *r)
{
	struct weir_backend *b = r->layer.base.next;
	struct weir_http_stats st;
	int64_t heard = 0;

	b->ops->stats(b, &heard, &st);
	return heard;
}

/* How long the remote has been silent although somebody asked. Called with the lock held. */
static int64_t
retry_silence_ms(struct retry *r, int64_t now)
{
	int64_t heard = retry_heard_ms(r);
	int64_t from = heard > r->silent_from_ms ? heard : r->silent_from_ms;

	return now - from;
}

/* Before an attempt. While the remote is down one call at a time, and one a second, gets through: *is_trial. */
static enum weir_code
retry_admit(struct retry *r, enum weir_op op, bool *is_trial, struct weir_err *err)
{
	enum weir_code code = WEIR_OK;
	int64_t now = weir_now_ms();

	*is_trial = false;
	pthread_mutex_lock(&r->lock);
	if (r->silent_from_ms == 0 || retry_heard_ms(r) >= r->silent_from_ms) {
		r->silent_from_ms = now;
		r->is_down = false;
	}
	if (r->is_down && op != WEIR_OP_PROBE && (r->is_tried || now < r->try_at_ms))
		code = weir_err_set(err, WEIR_E_DOWN, "%s", r->why);
	else if (r->is_down && !r->is_tried)
		*is_trial = r->is_tried = true;
	pthread_mutex_unlock(&r->lock);
	return code;
}

static void
retry_end_trial(struct retry *r)
{
	pthread_mutex_lock(&r->lock);
	r->is_tried = false;
	r->try_at_ms = weir_now_ms() + RETRY_TRY_EVERY_MS;
	pthread_mutex_unlock(&r->lock);
}

static void
retry_is_up(struct retry *r)
{
	pthread_mutex_lock(&r->lock);
	r->is_down = false;
	r->silent_from_ms = 0;
	pthread_mutex_unlock(&r->lock);
}

/* After an attempt that found no connection or lost it. WEIR_OK, or WEIR_E_DOWN with the sentence of that attempt. */
static enum weir_code
retry_is_down(struct retry *r, enum weir_code code, struct weir_err *err)
{
	int64_t now = weir_now_ms(), silence;

	pthread_mutex_lock(&r->lock);
	silence = retry_silence_ms(r, now);
	r->is_down = silence >= r->conf.timeout_ms;
	if (r->is_down) {
		snprintf(r->why, sizeof(r->why), "remote '%s' has not answered for %lld s: %.300s", r->name, (long long)(silence / 1000),
		    weir_err_text(err, code));
		r->try_at_ms = now + RETRY_TRY_EVERY_MS;
		weir_err_set(err, WEIR_E_DOWN, "%s", r->why);
	}
	code = r->is_down ? WEIR_E_DOWN : WEIR_OK;
	pthread_mutex_unlock(&r->lock);
	return code;
}

/* --- waiting --- */

static int64_t
retry_random_below(int64_t n)
{
	uint64_t v = 0;

	if (n <= 1 || getrandom(&v, sizeof(v), 0) != (ssize_t)sizeof(v))
		return n / 2;
	return (int64_t)(v % (uint64_t)n);
}

static enum weir_code
run_wait(struct retry_run *run, enum weir_code code, struct weir_err *err)
{
	int64_t now = weir_now_ms(), wake = now + 1 + retry_random_below(run->ceiling_ms);

	run->ceiling_ms = run->ceiling_ms * 2 < run->r->conf.most_ms ? run->ceiling_ms * 2 : run->r->conf.most_ms;
	/* A storage that asks for a pause beyond the deadline need not be asked again. */
	if (code == WEIR_E_THROTTLED && atomic_load(&weir_backend_bottom(&run->r->layer.base)->pause_until_ms) > run->until_ms)
		return code;
	if (wake > run->until_ms)
		return code;
	return weir_layer_sleep(&run->ctx, wake, err);
}

static bool
run_is_lost(enum weir_code code)
{
	return code == WEIR_E_NET || code == WEIR_E_STALL || code == WEIR_E_TIMEDOUT || code == WEIR_E_SERVER || code == WEIR_E_DOWN;
}

/* After an attempt that failed with code: WEIR_OK to try again, else what the call ends with. */
static enum weir_code
run_again(struct retry_run *run, enum weir_code code, struct weir_err *err)
{
	if (run->is_final || !weir_code_retry(code) || run->call->op == WEIR_OP_CHECK)
		return code;
	if (run->ctx.cancel != NULL && atomic_load(&run->ctx.cancel->is_set))
		return weir_err_set(err, WEIR_E_CANCELED, "cancelled");
	run->is_lost |= run_is_lost(code);
	run->attempts++;
	if (code == WEIR_E_SERVER && ++run->server_errors >= RETRY_SERVER_MOST)
		return code;
	if (code == WEIR_E_BADSUM && ++run->bad_sums >= RETRY_BADSUM_MOST)
		return code;
	if ((code == WEIR_E_NET || code == WEIR_E_STALL || code == WEIR_E_TIMEDOUT || code == WEIR_E_DOWN) &&
	    retry_is_down(run->r, code, err) != WEIR_OK)
		return WEIR_E_DOWN;
	if (run->call->op == WEIR_OP_PROBE && run->attempts >= RETRY_PROBE_MOST)
		return code;
	return run_wait(run, code, err);
}

static enum weir_code
run_attempt(struct retry_run *run, struct weir_err *err)
{
	bool is_trial;
	enum weir_code code = retry_admit(run->r, run->call->op, &is_trial, err);

	if (code != WEIR_OK) {
		run->is_final = true;
		return code;
	}
	err->msg[0] = '\0';
	code = weir_call_run(run->r->layer.base.next, &run->now, err);
	if (is_trial)
		retry_end_trial(run->r);
	if (code == WEIR_OK)
		retry_is_up(run->r);
	return code;
}

/* A call of the layer's own, to look at what is there: through the layer, so that it is repeated like any other. */
static enum weir_code
run_side_call(struct retry_run *run, struct weir_call call)
{
	call.ctx = &run->ctx;
	return weir_call_run(&run->r->layer.base, &call, NULL);
}

/* --- is what is there ours? --- */

static enum weir_code
run_stat(struct retry_run *run, const struct weir_where *where, struct weir_stat *st)
{
	struct weir_where any = *where;
	struct weir_call call = {.op = WEIR_OP_STAT, .where = &any, .st = st};

	any.version = NULL;
	/* an id named the object we wanted to replace; the one that is there may be new */
	any.id = NULL;
	if (where->path == NULL)
		any.id = where->id;
	return run_side_call(run, call);
}

struct digest_sink {
	struct weir_sink sink;
	struct weir_digest *digest;
};

static enum weir_code
digest_write(struct weir_sink *sink, const void *data, size_t len)
{
	weir_digest_add(((struct digest_sink *)sink)->digest, data, len);
	return WEIR_OK;
}

/* Reads the object and compares: where a storage keeps no checksums nothing else tells. sum: "md5:hex". */
static bool
run_content_is(struct retry_run *run, const struct weir_where *where, const struct weir_stat *st, const char *sum)
{
	const char *colon = strchr(sum, ':');
	WEIR_AUTO(weir_freep) char *kind = weir_xstrndup(sum, colon != NULL ? (size_t)(colon - sum) : 0);
	struct digest_sink sink = {.sink.write = digest_write, .digest = weir_digest_new(kind)};
	struct weir_where exact = *where;
	struct weir_call call = {.op = WEIR_OP_GET, .where = &exact, .len = st->size, .sink = &sink.sink};
	unsigned char raw[64];
	char hex[129];
	enum weir_code code;

	if (sink.digest == NULL)
		return false;
	exact.version = st->version;
	exact.id = st->id;
	code = st->size > 0 ? run_side_call(run, call) : WEIR_OK;
	weir_hex(raw, weir_digest_end(sink.digest, raw), hex);
	return code == WEIR_OK && strcasecmp(hex, colon + 1) == 0;
}

/* Two sums of one kind: 1 equal, 0 not; -1: cannot be compared. */
static int
sums_equal(const char *a, const char *b)
{
	const char *colon = a != NULL ? strchr(a, ':') : NULL;

	if (colon == NULL || b == NULL || strncasecmp(a, b, (size_t)(colon - a) + 1) != 0)
		return -1;
	return strcasecmp(a, b) == 0;
}

static bool
times_equal(int64_t a_ns, int64_t b_ns)
{
	return a_ns != WEIR_TIME_NONE && b_ns != WEIR_TIME_NONE && a_ns / 1000000000 == b_ns / 1000000000;
}

/* Evidence that the object at where is what this put or commit sent. */
static bool
run_is_ours(struct retry_run *run, const struct weir_stat *st)
{
	const struct weir_call *c = run->call;
	bool keeps_time = (weir_backend_caps(&run->r->layer.base) & WEIR_CAP_MTIME) != 0;
	int same = sums_equal(c->sum, st->sum);

	if (st->type == WEIR_DIR || (st->size != WEIR_SIZE_NONE && st->size != c->size))
		return false;
	/* still the version we wanted to replace: nothing happened */
	if (c->where->version != NULL && c->where->version != WEIR_ABSENT && st->version != NULL && strcmp(c->where->version, st->version) == 0)
		return false;
	if (same >= 0)
		return same == 1;
	if (keeps_time && c->meta != NULL && times_equal(c->meta->mtime_ns, st->mtime_ns))
		return true;
	if (c->sum != NULL && c->size <= RETRY_READ_MOST && run_content_is(run, c->where, st, c->sum))
		return true;
	return false;
}

static enum weir_code
ignore_part(void *arg, uint32_t number, uint64_t size, const char *tag)
{
	return WEIR_OK;
}

/* A commit whose upload id is used up, and an object of our size that is not the old one. */
static bool
run_upload_is_gone(struct retry_run *run)
{
	struct weir_call call = {.op = WEIR_OP_UPLOAD_STATUS, .where = run->call->where, .id = run->call->id, .part_fn = ignore_part};

	return run_side_call(run, call) == WEIR_E_NOENT;
}

static bool
run_commit_is_ours(struct retry_run *run, enum weir_code code, const struct weir_stat *st)
{
	const struct weir_call *c = run->call;
	bool is_old = c->where->version != NULL && c->where->version != WEIR_ABSENT && st->version != NULL &&
	    strcmp(c->where->version, st->version) == 0;

	if (run_is_ours(run, st))
		return true;
	if (st->type == WEIR_DIR || st->size != c->size || is_old || sums_equal(c->sum, st->sum) == 0)
		return false;
	return code == WEIR_E_NOENT || run_upload_is_gone(run);
}

static bool
run_copy_is_ours(struct retry_run *run, const struct weir_stat *to)
{
	struct weir_stat from = {0};
	bool is_same = run_stat(run, run->call->where, &from) == WEIR_OK && from.size == to->size && sums_equal(from.sum, to->sum) == 1;

	weir_stat_free(&from);
	return is_same;
}

/* The call was refused after an answer had been lost. True: our own success, *st tells of it. */
static bool
run_did_it(struct retry_run *run, enum weir_code code, struct weir_stat *st)
{
	const struct weir_call *c = run->call;
	bool is_refused = code == WEIR_E_CHANGED || code == WEIR_E_EXIST;

	switch (c->op) {
	case WEIR_OP_PUT:
		return is_refused && run_stat(run, c->where, st) == WEIR_OK && run_is_ours(run, st);
	case WEIR_OP_UPLOAD_COMMIT:
		return (is_refused || code == WEIR_E_NOENT) && run_stat(run, c->where, st) == WEIR_OK && run_commit_is_ours(run, code, st);
	case WEIR_OP_COPY:
		return is_refused && run_stat(run, c->to, st) == WEIR_OK && run_copy_is_ours(run, st);
	case WEIR_OP_SET_META:
		return code == WEIR_E_CHANGED && c->meta != NULL && run_stat(run, c->where, st) == WEIR_OK &&
		    times_equal(c->meta->mtime_ns, st->mtime_ns);
	case WEIR_OP_MKDIR:
		return code == WEIR_E_EXIST && run_stat(run, c->where, st) == WEIR_OK && st->type == WEIR_DIR;
	case WEIR_OP_REMOVE:
	case WEIR_OP_UPLOAD_ABORT:
		return code == WEIR_E_NOENT;
	default:
		return false;
	}
}

/* --- list and get, which hand things out while they run --- */

struct list_guard {
	struct retry_run *run;
	struct retry_seen seen;
};

static enum weir_code
list_entry(void *arg, const struct weir_stat *st, struct weir_err *err)
{
	struct list_guard *g = arg;
	enum weir_code r;

	if (st->path != NULL && !weir_retry_seen_add(&g->seen, st->path))
		return WEIR_OK;
	r = g->run->call->list_fn(g->run->call->arg, st, err);
	g->run->is_final |= r != WEIR_OK;
	return r;
}

struct get_guard {
	struct weir_sink sink;
	struct retry_run *run;
	struct weir_stat st;		/* of the attempt that runs */
	uint64_t done;			/* bytes the caller's sink has taken, all attempts */
	char *version;			/* the first answer's, when the caller named none */
	uint64_t size;			/* of the object, as the first answer told */
	bool is_told;			/* the caller's st is filled */
};

/* The caller may look at its st as soon as its sink is called. */
static void
get_tell(struct get_guard *g)
{
	struct weir_stat *st = g->run->call->st;

	if (g->version == NULL)
		g->version = weir_xstrdup(g->st.version);
	g->size = g->st.size;
	if (st != NULL && !g->is_told) {
		*st = g->st;
		memset(&g->st, 0, sizeof(g->st));
	}
	g->is_told = true;
}

static enum weir_code
get_write(struct weir_sink *sink, const void *data, size_t len)
{
	struct get_guard *g = (struct get_guard *)sink;
	enum weir_code r;

	if (len > g->run->call->len - g->done)		/* more than was asked: the range was not honoured */
		return WEIR_E_PROTO;
	if (!g->is_told)
		get_tell(g);
	r = g->run->call->sink->write(g->run->call->sink, data, len);
	g->run->is_final |= r != WEIR_OK;
	if (r == WEIR_OK)
		g->done += len;
	return r;
}

/* The last byte came, though the transfer ended badly. Where only the end tells of which version the bytes are, that is not enough: the
 * repeat asks for no more bytes, and is told. */
static bool
get_is_whole(const struct get_guard *g)
{
	const struct weir_call *c = g->run->call;

	if (weir_backend_caps(&g->run->r->layer.base) & WEIR_CAP_LATE_CHANGED)
		return false;
	return !g->run->is_final && g->done > 0 && (g->done == c->len || (g->size != 0 && g->size != WEIR_SIZE_NONE && c->off + g->done == g->size));
}

static enum weir_code
run_get(struct retry_run *run, struct weir_err *err)
{
	const struct weir_call *c = run->call;
	struct get_guard g = {.sink.write = get_write, .run = run};
	struct weir_where where = *c->where;
	enum weir_code code;

	run->now.sink = &g.sink;
	run->now.st = &g.st;
	run->now.where = &where;
	for (;;) {
		uint64_t before = g.done;

		code = run_attempt(run, err);
		/* BADSUM and CHANGED may come after the last byte: the storage has looked again, and the bytes are of no one version. */
		if (code == WEIR_OK || (code != WEIR_E_BADSUM && code != WEIR_E_CHANGED && get_is_whole(&g))) {
			code = WEIR_OK;
			break;
		}
		weir_stat_free(&g.st);
		if (code == WEIR_E_BADSUM && g.done > 0)
			break;		/* bad bytes are in the caller's sink: only the caller can begin again */
		if (g.done > 0 && c->where->version == NULL && g.version == NULL)
			break;		/* nothing says that the rest would be of the same file */
		if (g.done > before) {	/* it moves: patience starts anew */
			run->ceiling_ms = run->r->conf.first_ms;
			run->server_errors = 0;
		}
		code = run_again(run, code, err);
		if (code != WEIR_OK)
			break;
		where.version = where.version != NULL ? where.version : g.version;
		run->now.off = c->off + g.done;
		run->now.len = c->len - g.done;
	}
	if (code == WEIR_OK && !g.is_told)
		get_tell(&g);
	else if (code != WEIR_OK && g.is_told && c->st != NULL)
		weir_stat_free(c->st);
	weir_stat_free(&g.st);
	free(g.version);
	return code;
}

/* --- the layer --- */

/* Attempts fill a struct of their own: the caller's is written on success only, and may be anything before. */
static enum weir_code
run_plain(struct retry_run *run, struct weir_err *err)
{
	struct weir_stat st = {0};
	enum weir_code code;

	if (run->call->st != NULL)
		run->now.st = &st;
	for (;;) {
		code = run_attempt(run, err);
		if (code != WEIR_OK) {
			weir_stat_free(&st);
			if (run->is_lost && run_did_it(run, code, &st))
				code = WEIR_OK;
		}
		if (code == WEIR_OK)
			break;
		weir_stat_free(&st);
		code = run_again(run, code, err);
		if (code != WEIR_OK)
			return code;
	}
	if (run->call->st != NULL)
		*run->call->st = st;
	else
		weir_stat_free(&st);
	return WEIR_OK;
}

static enum weir_code
run_list(struct retry_run *run, struct weir_err *err)
{
	struct list_guard g = {.run = run};
	enum weir_code code;

	run->now.list_fn = list_entry;
	run->now.arg = &g;
	for (;;) {
		size_t before = g.seen.n;

		code = run_attempt(run, err);
		if (code == WEIR_OK)
			break;
		if (g.seen.n > before)
			run->server_errors = 0;
		code = run_again(run, code, err);
		if (code != WEIR_OK)
			break;
	}
	weir_retry_seen_free(&g.seen);
	return code;
}

static enum weir_code
retry_around(struct weir_layer *l, const struct weir_call *c, struct weir_err *err)
{
	struct retry *r = (struct retry *)l;
	struct weir_err mine = {0};
	struct retry_run run = {.r = r, .call = c, .now = *c, .ceiling_ms = r->conf.first_ms};
	enum weir_code code;

	if (c->op == WEIR_OP_CHANGES || c->op == WEIR_OP_LISTEN)
		return weir_call_run(l->base.next, c, err);
	if (c->ctx != NULL)
		run.ctx = *c->ctx;
	run.until_ms = run.ctx.deadline_ms > 0 ? run.ctx.deadline_ms : weir_now_ms() + r->conf.patience_ms;
	run.ctx.deadline_ms = run.until_ms;
	run.now.ctx = &run.ctx;
	code = c->op == WEIR_OP_GET ? run_get(&run, &mine) : c->op == WEIR_OP_LIST ? run_list(&run, &mine) : run_plain(&run, &mine);
	if (code != WEIR_OK && err != NULL) {
		*err = mine;
		err->code = code;
	}
	return code;
}

static void
retry_free(struct weir_layer *l)
{
	struct retry *r = (struct retry *)l;

	pthread_mutex_destroy(&r->lock);
	free(r->name);
	free(r);
}

struct weir_backend *
weir_layer_retry(struct weir_backend *next, const struct weir_retry_conf *conf)
{
	struct retry *r = weir_xcalloc(1, sizeof(*r));

	weir_layer_init(&r->layer, next, retry_around, retry_free);
	pthread_mutex_init(&r->lock, NULL);
	r->name = weir_xstrdup(conf->name != NULL ? conf->name : "?");
	r->conf = *conf;
	r->conf.name = r->name;
	if (r->conf.timeout_ms <= 0)
		r->conf.timeout_ms = 30000;
	if (r->conf.patience_ms <= 0)
		r->conf.patience_ms = 300000;
	if (r->conf.first_ms <= 0)
		r->conf.first_ms = 100;
	if (r->conf.most_ms <= 0)
		r->conf.most_ms = 20000;
	return &r->layer.base;
}
