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

static uint64_t
namespace_used(struct weir_fs *fs)
{
	uint64_t sum = 0, used;
	bool lower;

	for (size_t i = 0; i < weir_sync_count(fs->sy); i++) {
		quota_used(fs, weir_remote_id(weir_sync_at(fs->sy, i)), &used, &lower);
		sum += used;
	}
	return sum;
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
	if (fs->conf->quota_bytes && namespace_used(fs) + growth > fs->conf->quota_bytes)
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
		all = namespace_used(fs);
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
	uint64_t all = namespace_used(fs), total = fs->conf->quota_bytes, used = 0, own = 0, u;
	bool has_limit = remotes && n, lower;

	for (size_t i = 0; remotes && i < n; i++) {
		struct weir_remote *r = weir_sync_remote(fs->sy, remotes[i]);
		struct weir_remote_view v;
		size_t k;

		for (k = 0; k < i && remotes[k] != remotes[i]; k++)
			;
		if (!r || k < i)
			continue;
		weir_remote_view(r, &v);
		quota_used(fs, remotes[i], &u, &lower);
		used += u;
		own += own_limit(&v);
		has_limit &= own_limit(&v) != 0;
	}
	/* The members' own limits together count if they are the nearer ones. */
	if (has_limit && (!total || own - (own < used ? own : used) < total - (total < all ? total : all)))
		total = own;
	else
		used = all;
	statfs_fill(s, total ? total : used + PIB, used);
}

void
quota_statfs(struct weir_fs *fs, uint64_t remote, struct weir_statfs *s)
{
	quota_statfs_sum(fs, &remote, weir_sync_remote(fs->sy, remote) ? 1 : 0, s);
}
