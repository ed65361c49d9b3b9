/* SPDX-License-Identifier: Apache-2.0 */
/* Files whose size a listing does not tell (documents that are exported, servers without Content-Length): it is found out when somebody opens one.
 * The storage is asked for just this object, and if even that tells nothing, it is read once and counted. */
#include "config.h"

#include "internal.h"

#include <stdio.h>
#include <string.h>

struct sizing {
	struct sizing *next;
	struct job job;
	uint64_t node;
	struct place place;
	struct weir_waitq waiters;
};

struct count_sink { struct weir_sink sink; uint64_t bytes; };

static enum weir_code
count_write(struct weir_sink *s, const void *data, size_t len)
{
	(void)data;
	((struct count_sink *)s)->bytes += len;
	return WEIR_OK;
}

static enum weir_code
size_ask(struct weir_remote *r, const struct place *p, struct weir_stat *st, struct weir_err *err)
{
	struct weir_ctx ctx = { .cancel = &r->cancel };
	struct count_sink count = { .sink.write = count_write };
	struct weir_where where;
	enum weir_code code;

	place_where(p, &where);
	where.version = NULL;
	code = r->be->ops->stat(r->be, &ctx, &where, st, err);
	if (code || st->size != WEIR_SIZE_NONE)
		return code;
	where.version = st->version;
	code = r->be->ops->get(r->be, &ctx, &where, 0, UINT64_MAX, &count.sink, NULL, err);
	st->size = count.bytes;
	return code;
}

/* Lock held. */
static enum weir_code
size_settle(struct weir_remote *r, uint64_t node, const struct weir_stat *stat, struct weir_err *err)
{
	struct weir_store *st = r->sy->st;
	struct weir_node n;
	enum weir_code code;

	if (weir_node_get(st, node, &n) || !(n.flags & WEIR_N_UNSIZED))
		return WEIR_OK;
	if ((code = weir_store_begin(st, err)))
		return code;
	n.flags &= ~(uint32_t)WEIR_N_UNSIZED;
	n.size = n.rsize = stat->size;
	if (stat->version)
		snprintf(n.rversion, sizeof(n.rversion), "%s", stat->version);
	if (!(n.content && (code = weir_content_drop(st, &n, err))))
		code = weir_node_update(st, &n, err);
	if (code)
		weir_store_rollback(st);
	else
		code = weir_store_commit(st, err);
	news_node(r, node, true);
	return code;
}

static void
size_run(struct weir_remote *r, struct job *job)
{
	struct sizing *z = (struct sizing *)((char *)job - offsetof(struct sizing, job)), **p;
	struct weir_stat st = { 0 };
	struct weir_err err = { 0 };
	enum weir_code code = size_ask(r, &z->place, &st, &err);

	weir_store_lock(r->sy->st);
	remote_note(r, code, code ? weir_err_text(&err, code) : NULL);
	if (!code)
		code = size_settle(r, z->node, &st, &err);
	if (code)
		weir_log(WEIR_LOG_INFO, "remote '%s': opening '%s': %s", r->conf->name, z->place.path, weir_err_text(&err, code));
	weir_wake_all(&z->waiters, code);
	for (p = &r->sizings; *p != z; p = &(*p)->next)
		;
	*p = z->next;
	weir_store_unlock(r->sy->st);
	weir_stat_free(&st);
	place_free(&z->place);
	free(z);
}

enum weir_code
weir_sync_size(struct weir_sync *sy, const struct weir_node *n, struct weir_waiter *w)
{
	struct weir_remote *r = weir_sync_remote(sy, n->remote);
	struct sizing *z;
	enum weir_code code;

	if (!r)
		return WEIR_E_STALE;
	if ((code = remote_usable(r)))
		return code;
	for (z = r->sizings; z && z->node != n->id; z = z->next)
		;
	if (!z) {
		z = weir_xcalloc(1, sizeof(*z));
		if (!place_of(sy->st, n, &z->place)) {
			free(z);
			return WEIR_E_STALE;
		}
		z->node = n->id;
		z->job.run = size_run;
		z->next = r->sizings;
		r->sizings = z;
		remote_submit(r, &z->job, JOB_FETCH);
	}
	weir_wait_add(&z->waiters, w);
	return WEIR_PENDING;
}
