/* SPDX-License-Identifier: Apache-2.0 */
/* What GPUs this host has, which of them a job may have, and who holds them. Asked once, before anything is started; no side effects.
 *
 * NVIDIA: NVML (libnvidia-ml.so.1, loaded when it is there) knows all; without it /proc/driver/nvidia and /dev/nvidia* say how many
 * there are, not how large. AMD: /sys/class/kfd (the compute driver's own list) and /sys/class/drm.
 * WEIR_GPU_ROOT (tests) stands before /proc, /sys, /dev, /etc and /var, and the only libnvidia-ml.so.1 is then the one in it. */
#ifndef WEIR_GPU_H
#define WEIR_GPU_H
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../src/util/err.h"
#include "words.h"

enum weir_gpu_vendor { WEIR_GPU_NVIDIA, WEIR_GPU_AMD };
struct weir_gpu {
	enum weir_gpu_vendor vendor;
	unsigned index;			/* the vendor's number, as nvidia-smi and CDI count */
	unsigned minor;			/* /dev/nvidiaN, /dev/dri/renderDN; not always the same as index */
	char uuid[80], model[128];	/* "" when only /proc and sysfs could be asked */
	char bus[32];			/* PCI address, "0000:c1:00.0"; "" when not known */
	uint64_t memory_bytes, free_bytes;	/* 0: not known */
	unsigned compute_major, compute_minor;	/* CUDA's "8.0"; AMD: of the gfx version. 0.0: not known */
	struct weir_words nodes;	/* device files it needs, those shared by all included */
	pid_t *holders;			/* processes that compute on it now, as far as they can be seen */
	size_t nholders;
};
struct weir_gpus {
	struct weir_gpu *v;
	size_t n;
	char driver[64];		/* NVIDIA's version; "" without */
	struct weir_words cdi;		/* device names in CDI specifications: "nvidia.com/gpu=0", "…=GPU-…", "…=all", "amd.com/gpu=0" */
	char *cdi_spec;			/* the specification that has the first of them, or NULL */
	struct weir_words undriven;	/* PCI addresses of GPUs that no driver shows */
};

#define WEIR_GPU_ALL UINT_MAX
struct weir_gpu_request {
	unsigned count;		/* 0: none; WEIR_GPU_ALL: every one of that kind */
	char *model;		/* part of the model's name, case folded; NULL: any. Owned */
	uint64_t memory_bytes;	/* each must have so much, 0: no matter */
	unsigned compute_major, compute_minor;	/* CUDA's figure: AMD's GPUs are not measured by it */
};
/* "N", "N:MODEL", "all" or "all:MODEL". */
enum weir_code weir_gpu_parse(const char *text, struct weir_gpu_request *, struct weir_err *);
/* Never fails: a host without GPUs has none. What CUDA_VISIBLE_DEVICES (a batch system's allocation) leaves out is not there. */
void weir_gpus_find(struct weir_gpus *);
void weir_gpus_free(struct weir_gpus *);
/* Chooses GPUs that nobody uses, of one vendor, the smallest that will do first. What is not known of a GPU is not held against it.
 * Then *picked is an owned array of req->count indices into v (WEIR_GPU_ALL has become their number).
 * NOENT: this host has too few such GPUs, ever; BUSY: not now. The sentence names what is missing and what is there. */
enum weir_code weir_gpus_pick(const struct weir_gpus *, struct weir_gpu_request *req, unsigned **picked, struct weir_err *);

/* The CDI name of this GPU, or NULL: no specification names it. Borrowed. */
const char *weir_gpu_cdi(const struct weir_gpus *, const struct weir_gpu *);
/* The driver's own libraries on this host, which a container without them needs: owned paths whose last part is what programs look for. */
void weir_gpu_libraries(struct weir_words *);

/* A process that computes on a GPU for a job of weir's. */
struct weir_gpu_held {
	unsigned gpu;		/* index into v */
	pid_t pid;
	char *job;		/* WEIR_JOB in its environment */
};
/* Who of the holders belongs to jobs; whether such a job is over is for the caller to know. *out owned: weir_gpu_held_free. Processes
 * whose environment we may not read are not named. */
size_t weir_gpus_held(const struct weir_gpus *, struct weir_gpu_held **out);
void weir_gpu_held_free(struct weir_gpu_held *, size_t n);
char *weir_gpu_job(pid_t);	/* NAME of WEIR_JOB=NAME in the environment of a process; NULL: none, or gone. Owned */

/* ---- between the files of gpu*.c ---- */
char *weir_gpu_path(const char *path);			/* below WEIR_GPU_ROOT. Owned */
char *weir_gpu_read(const char *path);			/* a small file below it, without the last newline; NULL: not to be had. Owned */
struct weir_gpu *weir_gpu_new(struct weir_gpus *);	/* zeroed, at the end of v; earlier pointers into v are void */
char *weir_gpu_id(const struct weir_gpu *);	/* what names it as long as this host runs. Owned */
void weir_gpu_hold(struct weir_gpu *, pid_t);
void weir_gpu_text(char *to, size_t size, const char *from);	/* cut, trimmed, control characters taken out: drivers' strings are outside input */
int weir_gpus_nvml(struct weir_gpus *);			/* 0, or -1: no NVML here, nothing changed */
void weir_gpus_cdi(struct weir_gpus *);

#endif
