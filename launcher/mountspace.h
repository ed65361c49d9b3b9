/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts of people who have no fusermount3: a user namespace, in which they may mount, and a mount namespace, in which launcher, mount and
 * job live together. Nobody else sees the mount; later jobs of the same configuration join the namespace of the first.
 *
 * In the user namespace everybody is who they were: files, sockets and signals are as outside. Source: user_namespaces(7); FUSE may be mounted
 * in one since Linux 4.18. */
#ifndef WEIR_MOUNTSPACE_H
#define WEIR_MOUNTSPACE_H
#include <stdbool.h>
#include <sys/types.h>

#include "../src/util/err.h"

/* We are not root, and fusermount3 is not in PATH. */
bool weir_mountspace_is_needed(void);
/* A process of ours, in another mount namespace, that sees a whole mount of this configuration, or one at this place (either may be NULL). 0: none. */
pid_t weir_mountspace_find(const char *conf, const char *mountpoint);
/* Become part of that process' namespaces; 0: of new ones. The current directory stays. The caller has one thread. ACCES: this host gives users no
 * user namespace. */
enum weir_code weir_mountspace_enter(pid_t, struct weir_err *);
/* After the above, in a child that is about to become a weir that mounts or unmounts: without this exec takes the right to. Else nothing. */
void weir_mountspace_keep_right(void);

#endif
