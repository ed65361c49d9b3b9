/* SPDX-License-Identifier: Apache-2.0 */
/* Paths that are looked up below a folder and must not lead out of it, whatever links somebody else has put there: openat2(2) with RESOLVE_BENEATH.
 * Links inside that stay inside are followed. root: a descriptor of the folder, or AT_FDCWD: no such limit, an ordinary path. A leading slash means the folder.
 * All: -1 and errno (EXDEV: it would lead out). */
#ifndef WEIR_INSIDE_H
#define WEIR_INSIDE_H
#include <sys/types.h>

/* open(2), always O_CLOEXEC. */
int weir_inside_open(int root, const char *path, int flags, mode_t mode);
/* The folder that the last name stands in, O_PATH; *name: that name, within path. */
int weir_inside_parent(int root, const char *path, const char **name);
/* mkdir -p of all below the folder. */
int weir_inside_mkdirs(int root, const char *path, mode_t mode);

#endif
