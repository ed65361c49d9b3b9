/* SPDX-License-Identifier: Apache-2.0 */
/* Is anybody using a job? */
#ifndef WEIR_IDLE_H
#define WEIR_IDLE_H
#include <stdint.h>

struct weir_job;

/* Returns when, for idle_ms on end, nobody was connected to one of the job's ports on this host and its processes used less than a twentieth of one processor: a
 * training in a notebook that nobody looks at is use. */
void weir_idle_wait(struct weir_job *, int64_t idle_ms);

#endif
