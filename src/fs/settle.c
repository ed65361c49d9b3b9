/* SPDX-License-Identifier: Apache-2.0 */
/* How long a closed file waits before it is sent.
 *
 * WEIR_SETTLE_MS as a rule: what is a temporary name now may be renamed over its target in a moment, or be written to again, and then one upload is
 * enough. A process that unpacks or copies a tree does nothing of the kind: after RUN_LENGTH new files in a row, closed once each, its next ones are sent
 * at once, while it goes on. The run ends for everybody as soon as anything is renamed, removed, opened for writing or touched within its first
 * YOUNG_MS, whoever does it; files that look temporary never take part. So the promise of one upload holds but for a process that changes its habits in
 * the middle of a run; what it renames then costs a second upload, or a copy on the storage, and nothing else. Guarded by the store's lock. */
#include "config.h"

#include "internal.h"

#include <string.h>
#include <strings.h>

#define RUN_LENGTH 64
#define RUN_PAUSE_MS 3000	/* a longer one ends it: numbers of processes are used again */
#define YOUNG_MS 10000

static bool
is_young(const struct weir_node *n)
{
	int64_t age = weir_wall_ns() - n->btime_ns;

	return age >= 0 && age < YOUNG_MS * 1000000ll;
}

static bool
has_end(const char *name, const char *end)
{
	size_t n = strlen(name), e = strlen(end);

	return n >= e && strcasecmp(name + n - e, end) == 0;
}

static bool
looks_temporary(const char *name)
{
	static const char *const ends[] = { "~", "#", ".tmp", ".temp", ".part", ".partial", ".new", ".lock", ".lck", ".swp", ".bak", ".crdownload", ".filepart" };

	if (name[0] == '.' || name[0] == '#' || name[0] == '~' || strncasecmp(name, "tmp", 3) == 0 || strncasecmp(name, "temp", 4) == 0)
		return true;
	for (size_t i = 0; i < WEIR_LEN(ends); i++)
		if (has_end(name, ends[i]))
			return true;
	return false;
}

static struct fs_run *
run_of(struct weir_fs *fs, int32_t pid, int64_t now)
{
	struct fs_run *oldest = &fs->runs[0];

	for (size_t i = 0; i < WEIR_LEN(fs->runs); i++) {
		if (fs->runs[i].pid == pid && now - fs->runs[i].at_ms < RUN_PAUSE_MS)
			return &fs->runs[i];
		if (fs->runs[i].at_ms < oldest->at_ms)
			oldest = &fs->runs[i];
	}
	*oldest = (struct fs_run){ .pid = pid };
	return oldest;
}

int64_t
settle_ms(struct weir_op *op, const struct weir_node *n)
{
	int64_t now = weir_now_ms();
	struct fs_run *run;

	if (!op->pid || n->rparent || !is_young(n))
		return WEIR_SETTLE_MS;
	run = run_of(op->fs, op->pid, now);
	run->at_ms = now;
	run->files = looks_temporary(n->name) ? 0 : run->files + 1;
	return run->files > RUN_LENGTH ? 0 : WEIR_SETTLE_MS;
}

void
settle_upset(struct weir_fs *fs, const struct weir_node *n)
{
	if (is_young(n))
		memset(fs->runs, 0, sizeof(fs->runs));
}
