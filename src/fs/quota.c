/* SPDX-License-Identifier: Apache-2.0 */
/* What is used and what may still be used. Quota counts apparent size and is reserved when a file grows.
 *
 * Used by one remote = the server's figure, where it gives one, plus what is not sent yet; else the sum of the tree, which is a lower bound until every
 * directory was listed once. The sums are kept by the database itself, so they are exact right after a crash. */
#include "config.h"

#include "internal.h"

#include <string.h>

#define BLOCK 4096u
#define PIB (1ull << 50)

static int64_t *
grown_slot(struct weir_fs *fs, uint64_t remote)
{
	size_t i;

	for (i = 0; i < fs->conf->nremotes && fs->grown[i].remote; i++)
		if (fs->grown[i].remote == remote)
			break;
	fs->grown[i].remote = remote;
	return &fs->grown[i].bytes;
}

void
quota_grow(struct weir_fs *fs, uint64_t remote, int64_t bytes)
{
	*grown_slot(fs, remote) += bytes;
}

void
quota_used(struct weir_fs *fs, uint64_t remote, uint64_t *used, bool *is_lower_bound)
{
	struct weir_remote *r = weir_sync_remote(fs->sy, remote);
	uint64_t local, at_remote, unlisted;
	struct weir_remote_view v;
	int64_t sum;

	weir_remote_sums(fs->st, remote, &local, &at_remote, &unlisted);
	weir_remote_view(r, &v);
	sum = (int64_t)local + *grown_slot(fs, remote);
	if (v.usage.has_used)
		sum += (int64_t)v.usage.used - (int64_t)at_remote;
	*used = sum > 0 ? (uint64_t)sum : 0;
	*is_lower_bound = !v.usage.has_used && unlisted > 0;
}

/* What it may hold: its own quota or the server's figure, whichever is less; 0: no limit. */
static uint64_t
own_limit(const struct weir_remote_view *v)
{
	uint64_t own = v->conf->quota_bytes;

	if (v->usage.has_total && v->usage.total && (!own || v->usage.total < own))
		own = v->usage.total;
	return own;
}

/* Remotes that were summed up so far. A figure that a server gives for an account counts once, however many remotes are of that account; what is not
 * sent yet counts for each. */
struct sum { struct weir_remote_view *seen; size_t n; uint64_t used, own; bool has_limit; };

static void
sum_add(struct weir_fs *fs, struct sum *s, struct weir_remote *r)
{
	struct weir_remote_view *v = &s->seen[s->n];
	uint64_t used, counted = 0;
	bool lower, is_known = false;

	weir_remote_view(r, v);
	quota_used(fs, v->id, &used, &lower);
	for (size_t i = 0; i < s->n && v->usage.account[0]; i++) {
		const struct weir_remote_view *o = &s->seen[i];

		if (strcmp(o->usage.account, v->usage.account) != 0)
			continue;
		is_known = true;
		if (o->usage.has_used && o->usage.used > counted)
			counted = o->usage.used;
	}
	if (v->usage.has_used && counted > v->usage.used)
		counted = v->usage.used;
	s->used += used - (counted < used ? counted : used);
	if (!is_known || v->conf->quota_bytes) {
		s->own += own_limit(v);
		s->has_limit &= own_limit(v) != 0;
	}
	s->n++;
}

uint64_t
quota_namespace_used(struct weir_fs *fs)
{
	size_t n = weir_sync_count(fs->sy);
	WEIR_AUTO(weir_freep) struct weir_remote_view *seen = weir_xcalloc(n + 1, sizeof(*seen));
	struct sum s = { .seen = seen };

	for (size_t i = 0; i < n; i++)
		sum_add(fs, &s, weir_sync_at(fs->sy, i));
	return s.used;
}

enum weir_code
quota_room(struct weir_fs *fs, uint64_t remote, uint64_t growth)
{
	struct weir_remote *r = weir_sync_remote(fs->sy, remote);
	struct weir_remote_view v;
	uint64_t used;
	bool lower;

	if (!r || !growth)
		return WEIR_OK;
	weir_remote_view(r, &v);
	quota_used(fs, remote, &used, &lower);
	if (v.conf->quota_bytes && used + growth > v.conf->quota_bytes)
		return WEIR_E_DQUOT;
	if (fs->conf->quota_bytes && quota_namespace_used(fs) + growth > fs->conf->quota_bytes)
		return WEIR_E_DQUOT;
	if (v.usage.has_total && v.usage.total && used + growth > v.usage.total)
		return WEIR_E_NOSPC;
	return WEIR_OK;
}

uint64_t
quota_left(struct weir_fs *fs, uint64_t remote, uint64_t *limit)
{
	struct weir_remote *r = weir_sync_remote(fs->sy, remote);
	uint64_t used, all, left = PIB, total = fs->conf->quota_bytes;
	struct weir_remote_view v;
	bool lower;

	*limit = 0;
	if (!r)
		return 0;
	weir_remote_view(r, &v);
	quota_used(fs, remote, &used, &lower);
	*limit = own_limit(&v);
	if (*limit)
		left = used < *limit ? *limit - used : 0;
	if (total) {
		all = quota_namespace_used(fs);
		if (total - (all < total ? all : total) < left)
			left = total - (all < total ? all : total);
	}
	return left;
}

static void
statfs_fill(struct weir_statfs *s, uint64_t total, uint64_t used)
{
	memset(s, 0, sizeof(*s));
	s->bsize = BLOCK;
	s->blocks = total / BLOCK;
	s->bfree = s->bavail = used < total ? (total - used) / BLOCK : 0;
	s->namemax = WEIR_NAME_MAX;
}

void
quota_statfs_sum(struct weir_fs *fs, const uint64_t *remotes, size_t n, struct weir_statfs *s)
{
	WEIR_AUTO(weir_freep) struct weir_remote_view *seen = weir_xcalloc(n + 1, sizeof(*seen));
	struct sum sum = { .seen = seen, .has_limit = remotes && n };
	uint64_t all = quota_namespace_used(fs), total = fs->conf->quota_bytes, used;

	for (size_t i = 0; remotes && i < n; i++) {
		struct weir_remote *r = weir_sync_remote(fs->sy, remotes[i]);
		size_t k;

		for (k = 0; k < i && remotes[k] != remotes[i]; k++)
			;
		if (r && k == i)
			sum_add(fs, &sum, r);
	}
	used = sum.used;
	/* The members' own limits together count if they are the nearer ones. */
	if (sum.has_limit && (!total || sum.own - (sum.own < used ? sum.own : used) < total - (total < all ? total : all)))
		total = sum.own;
	else
		used = all;
	statfs_fill(s, total ? total : used + PIB, used);
}

void
quota_statfs(struct weir_fs *fs, uint64_t remote, struct weir_statfs *s)
{
	quota_statfs_sum(fs, &remote, weir_sync_remote(fs->sy, remote) ? 1 : 0, s);
}
