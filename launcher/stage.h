/* SPDX-License-Identifier: Apache-2.0 */
/* Storage for a job where nothing can be mounted (`--storage-mode stage`, or no /dev/fuse): the named paths of the namespace are copied into a folder before the
 * job, and what the job changed there is sent back after it, through the same journal as everything else.
 *
 *   FOLDER/storage       what the job sees at /storage: the named paths, at their own places
 *   FOLDER/stage.json    what was there before the job: written whole when everything is in, and read by weir_stage_out(), which may be another process, later
 *
 * A path is "/a/b" (copied in, changes sent back), "/a/b:ro" (copied in, changes told and not sent) or "/a/b:out" (nothing copied in; what the job makes there is
 * sent). Without a suffix and with :ro the path must exist. None may lie inside another.
 *
 * Compare before replace: a file that somebody changed on the storage meanwhile is not overwritten; the job's version goes beside it as
 * "NAME (conflict HOST DATE).EXT". A file that the job removed is removed there only if it is still the one that was copied in. What was sent already is
 * found to be the same, so that weir_stage_out() may be repeated after any failure. A file counts as changed when its size, time, change time or inode are
 * others and its bytes are too (XXH3-128). */
#ifndef WEIR_STAGE_H
#define WEIR_STAGE_H
#include "../src/client/tree.h"

struct weir_stage_sums { uint64_t files_in, bytes_in, files_out, bytes_out, removed, conflicts, kept; };	/* kept: removals and read-only changes not carried out */

struct weir_stage {
	struct weir_tree *tree;		/* of the namespace (not is_by_remote) */
	const char *folder;		/* of this host, absolute; made, mode 0700 */
	const atomic_bool *cancel;	/* may be NULL */
	/* All may be NULL. From any thread, one at a time. */
	void (*say)(void *arg, const char *sentence);	/* conflicts, and what could not be copied or sent */
	void (*moved)(void *arg, uint64_t files, uint64_t bytes);
	bool (*sending)(void *arg, const struct weir_flush_progress *);
	void *arg;
	struct weir_stage_sums sums;	/* result */
};
/* NOSPC before the first byte when the paths do not fit. After a failure the folder holds no stage.json. */
enum weir_code weir_stage_in(struct weir_stage *, const char *const *paths, size_t n, struct weir_err *);
/* Everything that can be sent is; the first failure is the result then. OK: the storage has it. The folder stays: it is the caller's. NOENT: nothing was staged
 * there. */
enum weir_code weir_stage_out(struct weir_stage *, struct weir_err *);

#endif
