/* SPDX-License-Identifier: Apache-2.0 */
/* Taking a mount away, as root or through fusermount3. */
#ifndef WEIR_UNMOUNT_H
#define WEIR_UNMOUNT_H
#include "../util/err.h"
#include <stdbool.h>

/* BUSY names who is in it. */
enum weir_code weir_unmount(const char *mountpoint, struct weir_err *);
/* One whose daemon is gone: at once, whoever still has files open there. */
enum weir_code weir_unmount_dead(const char *mountpoint, struct weir_err *);

#endif
