/* SPDX-License-Identifier: Apache-2.0 */
/* The -o options of a mount, from the command line or from fstab. */
#ifndef WEIR_MOUNTOPT_H
#define WEIR_MOUNTOPT_H
#include "../fuse/fuse.h"
#include "../util/err.h"

struct weir_mountopt {
	struct weir_fuse_options fuse;	/* the mount itself */
	uint32_t uid, gid, umask;	/* owner and mask of what a storage gives no owner and mode for */
};

/* What holds before any -o: allow_other for root, nosuid, nodev, the caller's uid, gid and umask. */
void weir_mountopt_default(struct weir_mountopt *);
/* One comma-separated list. is_sloppy: unknown options are left alone (mount -s). */
enum weir_code weir_mountopt_parse(struct weir_mountopt *, const char *list, bool is_sloppy, struct weir_err *);

#endif
