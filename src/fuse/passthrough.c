/* SPDX-License-Identifier: Apache-2.0 */
/* Backing files: which node's pages the kernel reads straight from the cache file.
 *
 * A node has one backing id while the kernel holds it open; a second one, even for the same file, gets EIO. The id stands in the opens table,
 * where a successor finds it; the map here (node -> id, this worker's) says which ids are still to be closed, because the entry of the opens
 * table is gone at the last release.
 *
 * What is cached and what is passthrough must never differ between two opens of one node, so one failure to make an id switches the whole
 * mount to cached opens: it means that the kernel or the cache's file system cannot do it, and the next open would fail likewise.
 * Which opens qualify is decided by fs. */
#include "config.h"

#include "edge.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../fs/opens.h"
#include "../util/util.h"
#include "kernel.h"

struct backing {
	struct backing *next;
	uint64_t ino;
	int32_t id;
};

static pthread_mutex_t backing_mu = PTHREAD_MUTEX_INITIALIZER;
static struct backing *backing_map[1024];	/* backing_mu */

static struct backing **
backing_seek(uint64_t ino)
{
	struct backing **p = &backing_map[(ino * 0x9e3779b97f4a7c15u) >> 54];

	while (*p != NULL && (*p)->ino != ino)
		p = &(*p)->next;
	return p;
}

static void
backing_close(struct weir_fuse_worker *w, int32_t id)
{
	uint32_t arg = (uint32_t)id;

	if (ioctl(w->fd, WEIR_K_BACKING_CLOSE, &arg) < 0)
		weir_log(WEIR_LOG_DEBUG, "close backing file %d: %s", id, strerror(errno));
}

/* Lock held. An older id of the node belongs to opens that are over: it is closed. */
static void
backing_remember(struct weir_fuse_worker *w, uint64_t ino, int32_t id)
{
	struct backing **p = backing_seek(ino);

	if (*p == NULL) {
		*p = weir_xcalloc(1, sizeof(**p));
		(*p)->ino = ino;
	} else if ((*p)->id != id) {
		backing_close(w, (*p)->id);
	}
	(*p)->id = id;
}

static int32_t
backing_make(struct weir_fuse_worker *w, int fd)
{
	struct weir_k_backing_map map = {.fd = fd};
	int id;

	if (fd < 0 || !w->has_passthrough || atomic_load(&w->shared->passthrough_off))
		return 0;
	id = ioctl(w->fd, WEIR_K_BACKING_OPEN, &map);
	if (id <= 0) {
		weir_log(WEIR_LOG_WARN, "reads go through weir: the kernel refuses the cache's file system for passthrough: %s",
		    strerror(errno));
		atomic_store(&w->shared->passthrough_off, true);
		return 0;
	}
	return id;
}

int32_t
weir_fuse_backing_get(struct weir_fuse_worker *w, uint64_t ino, int fd)
{
	struct weir_open_slot slot = {0};
	int32_t id = 0;

	pthread_mutex_lock(&backing_mu);
	/* Two first opens at once: the second finds the id of the first. */
	if (weir_opens_find(w->opens, ino, &slot))
		id = slot.backing_id;
	if (id == 0) {
		id = backing_make(w, fd);
		if (id != 0) {
			weir_opens_set_backing(w->opens, ino, id);
			backing_remember(w, ino, id);
		}
	}
	pthread_mutex_unlock(&backing_mu);
	if (fd >= 0)
		close(fd);
	return id;
}

void
weir_fuse_backing_released(struct weir_fuse_worker *w, uint64_t ino)
{
	struct weir_open_slot slot = {0};
	struct backing **p, *gone = NULL;

	pthread_mutex_lock(&backing_mu);
	p = backing_seek(ino);
	if (*p != NULL && (!weir_opens_find(w->opens, ino, &slot) || slot.backing_id != (*p)->id)) {
		gone = *p;
		*p = gone->next;
		backing_close(w, gone->id);
	}
	pthread_mutex_unlock(&backing_mu);
	free(gone);
}

static void
backing_adopt_one(void *arg, const struct weir_open_slot *slot)
{
	pthread_mutex_lock(&backing_mu);
	if (slot->backing_id != 0)
		backing_remember(arg, slot->ino, slot->backing_id);
	pthread_mutex_unlock(&backing_mu);
}

void
weir_fuse_backing_adopt(struct weir_fuse_worker *w)
{
	weir_opens_each(w->opens, backing_adopt_one, w);
}
