/* SPDX-License-Identifier: Apache-2.0 */
/* What GPUs this host has, and which of them a job may have. Asked once, before anything is started; no side effects. */
#ifndef WEIR_GPU_H
#define WEIR_GPU_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../src/util/err.h"
#include "words.h"

enum weir_gpu_vendor { WEIR_GPU_NVIDIA, WEIR_GPU_AMD };
struct weir_gpu {
	enum weir_gpu_vendor vendor;
	unsigned index;			/* the driver's number: /dev/nvidiaN, renderD(128+…) is in nodes */
	char uuid[80], model[128];	/* "" when only /proc and sysfs could be asked */
	uint64_t memory_bytes, free_bytes;	/* 0: not known */
	unsigned compute_major, compute_minor;	/* 0.0: not known (AMD: gfx version) */
	struct weir_words nodes;	/* device files it needs, those shared by all included */
	pid_t *holders;			/* processes that use it now, as far as they can be seen */
	size_t nholders;
};
struct weir_gpus { struct weir_gpu *v; size_t n; char driver[64]; char *cdi_spec; /* path of a CDI specification, or NULL */ };
struct weir_gpu_request {
	unsigned count;		/* 0: none */
	char *model;		/* part of the model's name, case folded; NULL: any */
	uint64_t memory_bytes;	/* each must have so much, 0: no matter */
	unsigned compute_major, compute_minor;
};
/* "N", "N:MODEL" or "all". */
enum weir_code weir_gpu_parse(const char *text, struct weir_gpu_request *, struct weir_err *);
/* NVML by dlopen, else /proc and sysfs. Never fails: a host without GPUs has none. WEIR_GPU_ROOT (tests): stands before /proc, /sys, /dev and /etc. */
void weir_gpus_find(struct weir_gpus *);
void weir_gpus_free(struct weir_gpus *);
/* Chooses GPUs that nobody uses, best fit first; the sentence names what is missing and what is there. picked[] are indices into v. */
enum weir_code weir_gpus_pick(const struct weir_gpus *, const struct weir_gpu_request *, unsigned *picked, struct weir_err *);

#endif
