/* SPDX-License-Identifier: Apache-2.0 */
/* Which nodes the kernel has open, in memory that outlives a worker.
 *
 * The supervisor makes the table (anonymous shared memory) before it forks the first worker; every worker inherits it at the same
 * address. A worker that takes over learns from it what is open, how, and under which passthrough backing id. Fixed size: when it is full,
 * open fails with ENFILE. Counts may leak upwards when a worker dies between counting and replying (the request comes again):
 * that delays reaping of an unlinked file till the next mount and nothing else. Thread-safe within one worker. */
#ifndef WEIR_OPENS_H
#define WEIR_OPENS_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct weir_opens;

struct weir_open_slot {		/* a copy of one entry */
	uint64_t ino;
	uint32_t opens;		/* handles the kernel holds */
	uint32_t writers;	/* of these, opened for writing */
	int32_t backing_id;	/* passthrough, or 0 */
};

struct weir_opens *weir_opens_new(unsigned slots);	/* NULL and errno */
/* Count one more handle; -1: table full. *out (may be NULL): the entry after it. */
int weir_opens_get(struct weir_opens *, uint64_t ino, bool is_writer, struct weir_open_slot *out);
/* Count one less; *out (may be NULL) the entry after it (opens == 0: it is gone from the table). */
void weir_opens_put(struct weir_opens *, uint64_t ino, bool is_writer, struct weir_open_slot *out);
bool weir_opens_find(struct weir_opens *, uint64_t ino, struct weir_open_slot *out);
void weir_opens_set_backing(struct weir_opens *, uint64_t ino, int32_t backing_id);
void weir_opens_each(struct weir_opens *, void (*fn)(void *arg, const struct weir_open_slot *), void *arg);
/* A worker died holding the lock: called by its successor before anything else. */
void weir_opens_recover(struct weir_opens *);

#endif
