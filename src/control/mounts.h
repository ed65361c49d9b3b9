/* SPDX-License-Identifier: Apache-2.0 */
/* Which weir mounts there are, seen from outside: the kernel's own list. Touches no mounted file system. */
#ifndef WEIR_MOUNTS_H
#define WEIR_MOUNTS_H
#include "../util/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Stands before the configuration's path in what the kernel calls a mount's source: jobs of the AI4OS platform wait until a line of df(1) holds "rshare". Not
 * before that of mount(8)'s mounts: it finds its own again by the source that stands in fstab. */
#define WEIR_MOUNT_MARK "rshare:"

struct weir_mount {
	char *mountpoint;	/* absolute, as the kernel spells it */
	char *source;		/* path of the configuration, without the mark */
	char *root;		/* "/", or the folder of the mount that a bind shows here */
	dev_t dev;		/* another one for every mount as long as anybody still has the older ones open */
	uid_t uid;		/* who mounted (FUSE's user_id); of what is no FUSE mount 0 */
	bool is_weir;		/* fuse.weir; else it only hides what lies below it */
};
struct weir_mounts {
	struct weir_mount *v;	/* in the order they were mounted */
	size_t n;
};

enum weir_code weir_mounts_read(struct weir_mounts *, struct weir_err *);
/* The same from the text of a mountinfo file (tests). */
void weir_mounts_parse(struct weir_mounts *, char *text);
void weir_mounts_free(struct weir_mounts *);

/* The mount that an absolute, normalised path lies in; NULL if that is no weir mount. *inside (may be NULL): the path in the
 * namespace, owned. */
const struct weir_mount *weir_mounts_at(const struct weir_mounts *, const char *path, char **inside);
/* The weir mount of a configuration, ours and root's only (root: anybody's, after those), whole mounts before binds of a folder; NULL: none. Anybody may mount
 * something under any name. */
const struct weir_mount *weir_mounts_of(const struct weir_mounts *, const char *source);

/* Absolute path without ".", ".." and doubled slashes, by text alone: nothing is looked up, so a dead mount cannot hang it.
 * NULL and errno when the current directory is unknown. Owned. */
char *weir_path_absolute(const char *);

#endif
