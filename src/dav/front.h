/* SPDX-License-Identifier: Apache-2.0 */
/* The WebDAV front: parts of the mounted tree for programs that speak WebDAV and not FUSE, above all `rclone … rshare:` inside a job's container.
 *
 * A share is one folder of the namespace, read-only or writable, at one address, behind one random token; it dies when it is revoked, when its lease ends, and with
 * the mount. It does not die with the worker: the table of shares lies in memory that the workers of a mount share, and the listening sockets are kept by
 * the supervisor (`keep` below), so a successor goes on where its predecessor was cut off; connections made meanwhile wait in the socket's queue. Locks and dead
 * properties are the worker's own and end with it.
 *
 * Each share has a libmicrohttpd daemon of its own with a thread a connection, at most FRONT_CONNECTIONS of them. A handler may therefore wait for a remote without
 * holding up anybody but its own client: neither another connection, nor another share, nor the kernel's mount. It waits by a completion (fs.h), and gives up
 * when its client has gone or the share ends.
 *
 * Speaks RFC 4918 classes 1 and 2, and what rclone's vendor "nextcloud" adds: X-OC-Mtime, OC-Checksum, chunked upload.
 * It acts as the user whose mount it is: permission bits are those of that user. Knows no FUSE and no storage. */
#ifndef WEIR_FRONT_H
#define WEIR_FRONT_H
#include "../control/control.h"
#include "../util/err.h"
#include <stdbool.h>
#include <stddef.h>

struct weir_fs;
struct weir_front;

#define WEIR_FRONT_SHARES 64u			/* at most so many at once */
#define WEIR_FRONT_TABLE_BYTES (1u << 20)	/* what `table` must have room for */
#define WEIR_FRONT_USER "weir"			/* of every share; the token is what counts */
#define WEIR_FRONT_FILES "/remote.php/dav/files/" WEIR_FRONT_USER	/* spelled so that rclone's vendor nextcloud finds the upload folder beside it */
#define WEIR_FRONT_UPLOADS "/remote.php/dav/uploads/" WEIR_FRONT_USER

struct weir_front_options {
	struct weir_fs *fs;
	const char *cache_dir;		/* chunks of uploads lie in its folder "dav" until they are put together */
	void *table;			/* WEIR_FRONT_TABLE_BYTES, zeroed before the first worker, handed on to each successor */
	/* A descriptor for the successors: keep (fd < 0: drop it), and take what a predecessor kept (-1: none). 0 or -1 and errno. */
	int (*keep)(void *arg, unsigned slot, int fd);
	int (*take)(void *arg, unsigned slot);
	void *arg;
	bool is_readonly;		/* the mount is */
};

/* Go on with the shares that a predecessor had. */
enum weir_code weir_front_start(const struct weir_front_options *, struct weir_front **out, struct weir_err *);
/* Ends every connection of this worker; call it before fs is torn down and after the control socket has ended. NULL is fine. */
void weir_front_stop(struct weir_front *);

/* Requests of the control socket; arg is the struct weir_front.
 *	share {path, readonly, listen, freebind, lease} -> id, address, url, user, token, path, readonly
 *		listen: "ADDRESS:PORT" of this host, "[ADDRESS]:PORT"; without port or with port 0 a free one. Default 127.0.0.1. Never the wildcard. freebind: it need not be there yet.
 *		lease: a file; the share ends when nobody holds a flock(2) on it, or it is gone. Without: it lives until unshare or the end of the mount.
 *	unshare {id} -> nothing; NOENT: there is none
 *	shares -> shares: a list of them, without tokens */
extern const struct weir_control_verb weir_front_verbs[];
extern const size_t weir_front_nverbs;

#endif
