/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of client/ share: the table behind the three kinds of tree. */
#ifndef WEIR_TREE_IMPL_H
#define WEIR_TREE_IMPL_H
#include "../util/util.h"
#include "tree.h"

struct weir_tree_file {
	struct weir_tree *t;
	char *path;
	uint64_t ino, fh;	/* direct */
	int fd;			/* else */
};

typedef int (*weir_tree_entry_fn)(void *arg, const char *name, const struct weir_attr *);

/* They return codes; tree.c makes the sentences. Paths as the caller gave them. */
struct weir_tree_ops {
	enum weir_code (*stat)(struct weir_tree *, const char *path, bool follow, struct weir_attr *);
	enum weir_code (*list)(struct weir_tree *, const char *path, weir_tree_entry_fn, void *arg);	/* while reading: fn must not call the tree */
	enum weir_code (*readlink)(struct weir_tree *, const char *path, char **out);
	enum weir_code (*mkdir)(struct weir_tree *, const char *path, uint32_t mode);
	enum weir_code (*symlink)(struct weir_tree *, const char *path, const char *target);
	enum weir_code (*unlink)(struct weir_tree *, const char *path);
	enum weir_code (*rmdir)(struct weir_tree *, const char *path);
	enum weir_code (*rename)(struct weir_tree *, const char *from, const char *to, uint32_t flags);
	enum weir_code (*set)(struct weir_tree *, const char *path, uint32_t mask, uint32_t mode, int64_t mtime_ns);
	enum weir_code (*room)(struct weir_tree *, const char *path, uint64_t *free_bytes);
	enum weir_code (*open)(struct weir_tree_file *, int flags, uint32_t mode);
	enum weir_code (*read)(struct weir_tree_file *, void *buf, size_t len, uint64_t off, size_t *got);
	enum weir_code (*write)(struct weir_tree_file *, const void *buf, size_t len, uint64_t off);
	enum weir_code (*close)(struct weir_tree_file *);
	enum weir_code (*flush)(struct weir_tree *, const char *path, bool (*progress)(void *, const struct weir_flush_progress *), void *arg, struct weir_err *);
	void (*refresh)(struct weir_tree *, const char *path);
	enum weir_code (*prefetch)(struct weir_tree *, const char *path);	/* NULL: NOTSUP */
};
extern const struct weir_tree_ops weir_tree_ops_direct, weir_tree_ops_path;

struct weir_tree {
	const struct weir_tree_ops *ops;
	const atomic_bool *cancel;
	const struct weir_conf *conf;	/* NULL: local */
	bool is_by_remote;
	/* direct */
	struct weir_fs *fs;
	bool is_adopted;
	struct weir_conf own;		/* the configuration with a namespace of its own (is_by_remote): only binds are ours */
	/* mount */
	char *mountpoint;		/* stands before every path; NULL: local */
	int root_fd;			/* of the mount point; AT_FDCWD: local */
};

bool weir_tree_is_canceled(const struct weir_tree *);
/* Why a remote does not serve the path, in its own words; false: nobody said. */
bool weir_tree_direct_why(struct weir_tree *, const char *path, char out[256]);

#endif
