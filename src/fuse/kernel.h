/* SPDX-License-Identifier: Apache-2.0 */
/* What we speak to the kernel ourselves, and <linux/fuse.h> of Debian 12 (6.1, protocol 7.38) does not have yet. Names of our own, so that newer
 * headers do not collide. The wire format never changes; the kernel that brought each item stands beside it. */
#ifndef WEIR_FUSE_KERNEL_H
#define WEIR_FUSE_KERNEL_H
#include <linux/fuse.h>
#include <stdint.h>
#include <sys/ioctl.h>

/* flags2 of INIT: bits 32 and up of the 64-bit flags */
#define WEIR_K_PASSTHROUGH2 (1u << 5)		/* 6.9: FUSE_PASSTHROUGH, 1ULL << 37 */
#define WEIR_K_NO_EXPORT2 (1u << 6)		/* 6.9: FUSE_NO_EXPORT_SUPPORT, 1ULL << 38 */
#define WEIR_K_HAS_RESEND2 (1u << 7)		/* 6.9: FUSE_HAS_RESEND, 1ULL << 39 */

#define WEIR_K_UNIQUE_RESEND (1ull << 63)	/* 6.9: this request was sent to an earlier reader, too */
#define WEIR_K_NOTIFY_RESEND 7			/* 6.9: send again what was read and not answered */

#define WEIR_K_FOPEN_PASSTHROUGH (1u << 7)	/* 6.9 */

struct weir_k_init_in {				/* 7.36; before, the last two are missing */
	uint32_t major, minor, max_readahead, flags, flags2, unused[11];
};
struct weir_k_init_out {			/* 7.40 */
	uint32_t major, minor, max_readahead, flags;
	uint16_t max_background, congestion_threshold;
	uint32_t max_write, time_gran;
	uint16_t max_pages, map_alignment;
	uint32_t flags2, max_stack_depth, unused[6];
};
struct weir_k_open_out {			/* 7.40: backing_id was padding before */
	uint64_t fh;
	uint32_t open_flags;
	int32_t backing_id;
};
struct weir_k_backing_map {			/* 6.9 */
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define WEIR_K_BACKING_OPEN _IOW(229, 1, struct weir_k_backing_map)	/* 6.9 */
#define WEIR_K_BACKING_CLOSE _IOW(229, 2, uint32_t)			/* 6.9 */

_Static_assert(sizeof(struct weir_k_init_out) == 64, "INIT reply as the kernel reads it");
_Static_assert(sizeof(struct weir_k_open_out) == 16, "OPEN reply as the kernel reads it");

#endif
