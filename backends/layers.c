/* SPDX-License-Identifier: Apache-2.0 */
/* What all layers share: each hook packs its parameters into a weir_call, hands it to the layer's around(), and weir_call_run()
 * unpacks them for the backend below. Tables only; no policy. */
#include "config.h"

#include "layers.h"

#include <errno.h>
#include <time.h>

#include "../src/util/util.h"

const char *
weir_op_name(enum weir_op op)
{
	static const char *const names[] = {
	    [WEIR_OP_PROBE] = "probe", [WEIR_OP_CHECK] = "check", [WEIR_OP_STAT] = "stat", [WEIR_OP_LIST] = "list", [WEIR_OP_GET] = "get",
	    [WEIR_OP_PUT] = "put", [WEIR_OP_UPLOAD_BEGIN] = "upload_begin", [WEIR_OP_UPLOAD_PART] = "upload_part",
	    [WEIR_OP_UPLOAD_COPY_PART] = "upload_copy_part", [WEIR_OP_UPLOAD_STATUS] = "upload_status",
	    [WEIR_OP_UPLOAD_COMMIT] = "upload_commit", [WEIR_OP_UPLOAD_ABORT] = "upload_abort", [WEIR_OP_COPY] = "copy",
	    [WEIR_OP_MOVE] = "move", [WEIR_OP_MKDIR] = "mkdir", [WEIR_OP_REMOVE] = "remove", [WEIR_OP_SET_META] = "set_meta",
	    [WEIR_OP_QUOTA] = "quota", [WEIR_OP_CHANGES] = "changes", [WEIR_OP_LISTEN] = "listen",
	};

	return (unsigned)op < WEIR_LEN(names) ? names[op] : "?";
}

/* --- down: a call becomes parameters --- */

#define RUN(hook, ...) (o->hook != NULL ? o->hook(b, c->ctx, ##__VA_ARGS__, err) : WEIR_E_NOTSUP)

static enum weir_code
call_run_upload(struct weir_backend *b, const struct weir_backend_ops *o, const struct weir_call *c, struct weir_err *err)
{
	switch (c->op) {
	case WEIR_OP_UPLOAD_BEGIN:
		return RUN(upload_begin, c->where, c->size, c->meta, c->new_id);
	case WEIR_OP_UPLOAD_PART:
		return RUN(upload_part, c->where, c->id, c->number, c->source, c->off, c->len, c->size, c->tag);
	case WEIR_OP_UPLOAD_COPY_PART:
		return RUN(upload_copy_part, c->where, c->id, c->number, c->to, c->off, c->len, c->tag);
	case WEIR_OP_UPLOAD_STATUS:
		return RUN(upload_status, c->where, c->id, c->part_fn, c->arg);
	case WEIR_OP_UPLOAD_COMMIT:
		return RUN(upload_commit, c->where, c->id, c->tags, c->ntags, c->size, c->meta, c->sum, c->st);
	default:
		return RUN(upload_abort, c->where, c->id);
	}
}

enum weir_code
weir_call_run(struct weir_backend *b, const struct weir_call *c, struct weir_err *err)
{
	const struct weir_backend_ops *o = b->ops;

	switch (c->op) {
	case WEIR_OP_PROBE:
		return RUN(probe);
	case WEIR_OP_CHECK:
		return RUN(check, c->line_fn, c->arg);
	case WEIR_OP_STAT:
		return RUN(stat, c->where, c->st);
	case WEIR_OP_LIST:
		return RUN(list, c->where, c->flags, c->list_fn, c->arg, c->self_version);
	case WEIR_OP_GET:
		return RUN(get, c->where, c->off, c->len, c->sink, c->st);
	case WEIR_OP_PUT:
		return RUN(put, c->where, c->type, c->source, c->size, c->meta, c->sum, c->st);
	case WEIR_OP_COPY:
		return RUN(copy, c->where, c->to, c->st);
	case WEIR_OP_MOVE:
		return RUN(move, c->where, c->to, c->is_dir, c->st);
	case WEIR_OP_MKDIR:
		return RUN(mkdir, c->where, c->st);
	case WEIR_OP_REMOVE:
		return RUN(remove, c->where, c->is_dir);
	case WEIR_OP_SET_META:
		return RUN(set_meta, c->where, c->is_dir, c->meta, c->st);
	case WEIR_OP_QUOTA:
		return RUN(quota, c->usage);
	case WEIR_OP_CHANGES:
		return RUN(changes, c->cursor, c->wait_ms, c->change_fn, c->arg);
	case WEIR_OP_LISTEN:
		return RUN(listen, c->wait_ms, c->is_new, c->change_fn, c->arg);
	default:
		return call_run_upload(b, o, c, err);
	}
}

/* --- up: parameters become a call --- */

static enum weir_code
layer_around(struct weir_backend *b, const struct weir_call *c, struct weir_err *err)
{
	struct weir_layer *l = (struct weir_layer *)b;

	return l->around(l, c, err);
}

#define PACK(OP, ...) layer_around(b, &(struct weir_call){.op = WEIR_OP_##OP, .ctx = ctx, ##__VA_ARGS__}, err)

static enum weir_code
layer_probe(struct weir_backend *b, const struct weir_ctx *ctx, struct weir_err *err)
{
	return PACK(PROBE);
}

static enum weir_code
layer_check(struct weir_backend *b, const struct weir_ctx *ctx, void (*line)(void *, const char *), void *arg, struct weir_err *err)
{
	return PACK(CHECK, .line_fn = line, .arg = arg);
}

static enum weir_code
layer_stat(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, struct weir_stat *st, struct weir_err *err)
{
	return PACK(STAT, .where = w, .st = st);
}

static enum weir_code
layer_list(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, unsigned flags, weir_list_fn *fn, void *arg,
    char **self_version, struct weir_err *err)
{
	return PACK(LIST, .where = w, .flags = flags, .list_fn = fn, .arg = arg, .self_version = self_version);
}

static enum weir_code
layer_get(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, uint64_t off, uint64_t len, struct weir_sink *sink,
    struct weir_stat *st, struct weir_err *err)
{
	return PACK(GET, .where = w, .off = off, .len = len, .sink = sink, .st = st);
}

static enum weir_code
layer_put(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, enum weir_type type, struct weir_source *source,
    uint64_t size, const struct weir_meta *meta, const char *sum, struct weir_stat *st, struct weir_err *err)
{
	return PACK(PUT, .where = w, .type = type, .source = source, .size = size, .meta = meta, .sum = sum, .st = st);
}

static enum weir_code
layer_upload_begin(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, uint64_t size,
    const struct weir_meta *meta, char **id, struct weir_err *err)
{
	return PACK(UPLOAD_BEGIN, .where = w, .size = size, .meta = meta, .new_id = id);
}

static enum weir_code
layer_upload_part(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, const char *id, uint32_t number,
    struct weir_source *source, uint64_t off, uint64_t len, uint64_t total, char **tag, struct weir_err *err)
{
	return PACK(UPLOAD_PART, .where = w, .id = id, .number = number, .source = source, .off = off, .len = len, .size = total, .tag = tag);
}

static enum weir_code
layer_upload_copy_part(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, const char *id, uint32_t number,
    const struct weir_where *src, uint64_t off, uint64_t len, char **tag, struct weir_err *err)
{
	return PACK(UPLOAD_COPY_PART, .where = w, .id = id, .number = number, .to = src, .off = off, .len = len, .tag = tag);
}

static enum weir_code
layer_upload_status(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, const char *id,
    enum weir_code (*fn)(void *, uint32_t, uint64_t, const char *), void *arg, struct weir_err *err)
{
	return PACK(UPLOAD_STATUS, .where = w, .id = id, .part_fn = fn, .arg = arg);
}

static enum weir_code
layer_upload_commit(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, const char *id, const char *const *tags,
    uint32_t ntags, uint64_t size, const struct weir_meta *meta, const char *sum, struct weir_stat *st, struct weir_err *err)
{
	return PACK(UPLOAD_COMMIT, .where = w, .id = id, .tags = tags, .ntags = ntags, .size = size, .meta = meta, .sum = sum, .st = st);
}

static enum weir_code
layer_upload_abort(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, const char *id, struct weir_err *err)
{
	return PACK(UPLOAD_ABORT, .where = w, .id = id);
}

static enum weir_code
layer_copy(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *from, const struct weir_where *to,
    struct weir_stat *st, struct weir_err *err)
{
	return PACK(COPY, .where = from, .to = to, .st = st);
}

static enum weir_code
layer_move(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *from, const struct weir_where *to, bool is_dir,
    struct weir_stat *st, struct weir_err *err)
{
	return PACK(MOVE, .where = from, .to = to, .is_dir = is_dir, .st = st);
}

static enum weir_code
layer_mkdir(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, struct weir_stat *st, struct weir_err *err)
{
	return PACK(MKDIR, .where = w, .st = st);
}

static enum weir_code
layer_remove(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, bool is_dir, struct weir_err *err)
{
	return PACK(REMOVE, .where = w, .is_dir = is_dir);
}

static enum weir_code
layer_set_meta(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, bool is_dir, const struct weir_meta *meta,
    struct weir_stat *st, struct weir_err *err)
{
	return PACK(SET_META, .where = w, .is_dir = is_dir, .meta = meta, .st = st);
}

static enum weir_code
layer_quota(struct weir_backend *b, const struct weir_ctx *ctx, struct weir_usage *usage, struct weir_err *err)
{
	return PACK(QUOTA, .usage = usage);
}

static enum weir_code
layer_changes(struct weir_backend *b, const struct weir_ctx *ctx, char **cursor, int64_t wait_ms, weir_change_fn *fn, void *arg,
    struct weir_err *err)
{
	return PACK(CHANGES, .cursor = cursor, .wait_ms = wait_ms, .change_fn = fn, .arg = arg);
}

static enum weir_code
layer_listen(struct weir_backend *b, const struct weir_ctx *ctx, int64_t wait_ms, bool *is_new, weir_change_fn *fn, void *arg, struct weir_err *err)
{
	return PACK(LISTEN, .wait_ms = wait_ms, .is_new = is_new, .change_fn = fn, .arg = arg);
}

static void
layer_close(struct weir_backend *b)
{
	struct weir_layer *l = (struct weir_layer *)b;

	weir_backend_close(b->next);
	l->free(l);
}

static char *
layer_fingerprint(struct weir_backend *b)
{
	return b->next->ops->fingerprint(b->next);
}

static void
layer_stats(struct weir_backend *b, int64_t *heard_ms, struct weir_http_stats *st)
{
	b->next->ops->stats(b->next, heard_ms, st);
}

void
weir_layer_init(struct weir_layer *l, struct weir_backend *next,
    enum weir_code (*around)(struct weir_layer *, const struct weir_call *, struct weir_err *), void (*free_fn)(struct weir_layer *))
{
	const struct weir_backend_ops *n = next->ops;

	l->around = around;
	l->free = free_fn;
	l->base.ops = &l->ops;
	l->base.next = next;
	l->ops = (struct weir_backend_ops){.name = n->name, .keys = n->keys, .close = layer_close, .fingerprint = layer_fingerprint,
	    .stats = layer_stats};
#define HOOK(name) l->ops.name = n->name != NULL ? layer_##name : NULL
	HOOK(probe);
	HOOK(check);
	HOOK(stat);
	HOOK(list);
	HOOK(get);
	HOOK(put);
	HOOK(upload_begin);
	HOOK(upload_part);
	HOOK(upload_copy_part);
	HOOK(upload_status);
	HOOK(upload_commit);
	HOOK(upload_abort);
	HOOK(copy);
	HOOK(move);
	HOOK(mkdir);
	HOOK(remove);
	HOOK(set_meta);
	HOOK(quota);
	HOOK(changes);
	HOOK(listen);
#undef HOOK
}

struct weir_backend *
weir_backend_bottom(struct weir_backend *b)
{
	while (b->next != NULL)
		b = b->next;
	return b;
}

/* In slices: a cancel flag is only a flag. */
enum weir_code
weir_layer_sleep(const struct weir_ctx *ctx, int64_t until_ms, struct weir_err *err)
{
	for (;;) {
		int64_t left = until_ms - weir_now_ms();
		struct timespec ts;

		if (ctx != NULL && ctx->cancel != NULL && atomic_load(&ctx->cancel->is_set))
			return weir_err_set(err, WEIR_E_CANCELED, "cancelled");
		if (left <= 0)
			return WEIR_OK;
		if (left > 25)
			left = 25;
		ts = (struct timespec){.tv_nsec = left * 1000000};
		nanosleep(&ts, NULL);
	}
}
