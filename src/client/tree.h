/* SPDX-License-Identifier: Apache-2.0 */
/* A tree of files that a program walks, reads and changes by path, with calls that return when they are done: the front of `weir ls|cat|cp`, of a job's
 * staged data, of data sets and of prefetching. Three kinds behind one set of calls:
 *
 *   direct   the cache of a configuration, opened in this process: fs/ without a kernel mount. What is written is journalled as under a mount, is sent in
 *            the background, and survives the end of this process; the next mount, or the next direct tree, sends what is left.
 *   mount    the same configuration is mounted already (a cache is of one weir): its paths through the kernel, its control socket for flush and refresh.
 *   local    plain folders of this host.
 *
 * Paths. Absolute ("/" is the root), normalised by weir_tree_path() or weir_path_absolute(); they never end in "/". With is_by_remote, a direct tree shows every
 * remote whole at "/NAME", whatever [namespace] says; weir_tree_path() finds the path for both kinds. Symbolic links are followed where a call says so, inside
 * the tree only: one that leads out of a direct tree is WEIR_E_XDEV.
 *
 * Threads. Any number of threads may call at once, but for open, adopt, close. A direct tree makes threads: a process that means to fork does so before.
 * Every call that waits for a storage ends with WEIR_E_INTR soon after *cancel was set.
 * Errors: one sentence that names the path as people wrote it ("lab:x/y"), and where the storage is the reason, its own words. */
#ifndef WEIR_TREE_H
#define WEIR_TREE_H
#include "../fs/fs.h"
#include <stdatomic.h>

struct weir_tree;
struct weir_tree_file;

struct weir_tree_options {
	const struct weir_conf *conf;	/* outlives the tree */
	bool is_by_remote;
	const atomic_bool *cancel;	/* may be NULL; outlives the tree */
	/* Called once when another process has the cache and no mount of it can be seen from here: the call waits until it lets go. May be NULL. */
	void (*waits)(void *arg, const char *sentence);
	void *arg;
};
/* A mount of this configuration if one can be seen from here, else direct. CONFIG: a remote refuses us, with its reason (only what waiting cannot heal). */
enum weir_code weir_tree_open(const struct weir_tree_options *, struct weir_tree **out, struct weir_err *);
/* Plain folders; paths are paths of this host. */
struct weir_tree *weir_tree_local(const atomic_bool *cancel);
/* The tree of an fs that is open already and stays the caller's (control/); paths are those of its namespace. */
struct weir_tree *weir_tree_adopt(struct weir_fs *, const atomic_bool *cancel);
/* All files closed. What a direct tree has not sent stays in the cache. NULL is fine. */
void weir_tree_close(struct weir_tree *);

bool weir_tree_is_local(const struct weir_tree *);
const char *weir_tree_mountpoint(const struct weir_tree *);	/* NULL: direct or local */
/* Path of REMOTE:PATH; remote NULL or "": PATH of the namespace. NOENT: no such remote; XDEV: the mount does not show this place. Owned. */
enum weir_code weir_tree_path(const struct weir_tree *, const char *remote, const char *path, char **out, struct weir_err *);
/* The path as people write it: "lab:x/y", ":/x/y", or the path itself. Owned. */
char *weir_tree_label(const struct weir_tree *, const char *path);

enum weir_code weir_tree_stat(struct weir_tree *, const char *path, bool follow, struct weir_attr *, struct weir_err *);
/* Names in a folder with their attributes, "." and ".." left out, in the tree's order. fn runs after the folder was read whole: it may call the tree. Non-zero ends. */
enum weir_code weir_tree_list(struct weir_tree *, const char *path, int (*fn)(void *arg, const char *name, const struct weir_attr *), void *arg, struct weir_err *);
enum weir_code weir_tree_readlink(struct weir_tree *, const char *path, char **out, struct weir_err *);	/* owned */
enum weir_code weir_tree_mkdir(struct weir_tree *, const char *path, uint32_t mode, struct weir_err *);
enum weir_code weir_tree_mkdirs(struct weir_tree *, const char *path, uint32_t mode, struct weir_err *);	/* mkdir -p */
enum weir_code weir_tree_symlink(struct weir_tree *, const char *path, const char *target, struct weir_err *);
enum weir_code weir_tree_unlink(struct weir_tree *, const char *path, struct weir_err *);
enum weir_code weir_tree_rmdir(struct weir_tree *, const char *path, struct weir_err *);
/* flags: 0 or RENAME_NOREPLACE. */
enum weir_code weir_tree_rename(struct weir_tree *, const char *from, const char *to, uint32_t flags, struct weir_err *);
/* mask: WEIR_SET_MODE and WEIR_SET_MTIME. Links are not followed. */
enum weir_code weir_tree_set(struct weir_tree *, const char *path, uint32_t mask, uint32_t mode, int64_t mtime_ns, struct weir_err *);
enum weir_code weir_tree_room(struct weir_tree *, const char *path, uint64_t *free_bytes, struct weir_err *);

/* flags: O_RDONLY, O_WRONLY or O_RDWR, with O_CREAT, O_EXCL, O_TRUNC, O_NOFOLLOW. A file is for one thread at a time. */
enum weir_code weir_tree_open_file(struct weir_tree *, const char *path, int flags, uint32_t mode, struct weir_tree_file **out, struct weir_err *);
/* *got < len only at the end of the file. */
enum weir_code weir_tree_read(struct weir_tree_file *, void *buf, size_t len, uint64_t off, size_t *got, struct weir_err *);
enum weir_code weir_tree_write(struct weir_tree_file *, const void *buf, size_t len, uint64_t off, struct weir_err *);
/* Closes in any case. What it says (a full quota, a remote with write = through) counts as much as a failed write. NULL is fine. */
enum weir_code weir_tree_close_file(struct weir_tree_file *, struct weir_err *);

/* Send everything below path and wait until the storage has it; progress as of weir_fs_flush(), may be NULL. Local: nothing to do. A direct tree by remotes then
 * sends what else is left of that remote. */
enum weir_code weir_tree_flush(struct weir_tree *, const char *path, bool (*progress)(void *arg, const struct weir_flush_progress *), void *arg, struct weir_err *);
/* What is known of path and of what is below it is asked for again at its next touch. On a mount: below it only, because what a mount shows is as old as its
 * configuration lets it be, for all alike. */
void weir_tree_refresh(struct weir_tree *, const char *path);
/* The whole file into the cache, behind what readers want; returns when it is there (fs.h, WEIR_OP_PREFETCH). Local: nothing to do. On a mount this is
 * `weir prefetch`: NOTSUP. */
enum weir_code weir_tree_prefetch(struct weir_tree *, const char *path, struct weir_err *);

/* NAME (conflict HOST DATE).EXT: the name under which what would overwrite a stranger's change is kept. */
void weir_tree_conflict_name(const char *name, char out[256]);

#endif
