/* SPDX-License-Identifier: Apache-2.0 */
/* What jobs leave behind when their launcher was killed. Nothing here removes a folder with something in it, and nothing walks into a mount. */
#ifndef WEIR_SWEEP_H
#define WEIR_SWEEP_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct weir_state;

/* End what runs of a job whose launcher is gone, and write down how it ended. done (may be NULL): an array that gets a sentence a deed. 0, or 1 after a
 * sentence: somebody else does it, or the engine cannot. */
int weir_sweep_job(struct weir_state *, int64_t grace_ms, json_t *done);
/* Mounts in folders weir-run.* that no launcher holds: sent and unmounted (not with only_dead), or, where nobody serves them any more, taken away. 0, or 1 when
 * one could not be. After weir_child_setup(). */
int weir_sweep_mounts(bool only_dead, json_t *done);
/* Processes that compute on a GPU for a job that is over are ended: TERM, after five seconds KILL. */
void weir_sweep_gpus(json_t *done);

#endif
