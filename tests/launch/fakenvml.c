/* SPDX-License-Identifier: Apache-2.0 */
/* A stand-in for NVIDIA's libnvidia-ml.so.1, by the names, numbers and structs of NVIDIA's manual: what launcher/gpu_nvml.c is judged by
 * where there is no GPU. It reads what it tells from the file that WEIR_FAKE_NVML names, one GPU a line:
 *	NAME|UUID|MINOR|TOTAL|FREE|MAJOR|MINOR|BUS|PID,PID…
 * A first line "fail N" makes nvmlInit_v2 answer N; a NAME of "-" is a GPU that nobody can have a handle of. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 16

typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } process_t;
typedef struct { char legacy[16]; unsigned domain, bus, device, device_id, subsystem_id; char bus_id[32]; } pci_t;
typedef struct {
	char name[96], uuid[80], bus[32], pids[64];
	unsigned minor;
	unsigned long long total, free;
	int compute_major, compute_minor;
} gpu_t;

static gpu_t gpus[MOST];
static unsigned ngpus;
static int is_open;

int nvmlInit_v2(void);
int nvmlShutdown(void);
int nvmlSystemGetDriverVersion(char *, unsigned);
int nvmlDeviceGetCount_v2(unsigned *);
int nvmlDeviceGetHandleByIndex_v2(unsigned, void **);
int nvmlDeviceGetName(void *, char *, unsigned);
int nvmlDeviceGetUUID(void *, char *, unsigned);
int nvmlDeviceGetMinorNumber(void *, unsigned *);
int nvmlDeviceGetMemoryInfo(void *, memory_t *);
int nvmlDeviceGetCudaComputeCapability(void *, int *, int *);
int nvmlDeviceGetComputeRunningProcesses_v3(void *, unsigned *, process_t *);
int nvmlDeviceGetPciInfo_v3(void *, pci_t *);

static char *
field(char **p)
{
	char *s = *p, *end = s + strcspn(s, "|\n");

	*p = end + (*end != '\0');
	*end = '\0';
	return s;
}

static void
copy(char *to, size_t size, const char *from)
{
	size_t len = strlen(from);

	if (len >= size)
		len = size - 1;
	memcpy(to, from, len);
	to[len] = '\0';
}

static void
read_line(char *line)
{
	gpu_t *g = &gpus[ngpus++];
	char *p = line;

	copy(g->name, sizeof(g->name), field(&p));
	copy(g->uuid, sizeof(g->uuid), field(&p));
	g->minor = (unsigned)strtoul(field(&p), NULL, 10);
	g->total = strtoull(field(&p), NULL, 10);
	g->free = strtoull(field(&p), NULL, 10);
	g->compute_major = (int)strtol(field(&p), NULL, 10);
	g->compute_minor = (int)strtol(field(&p), NULL, 10);
	copy(g->bus, sizeof(g->bus), field(&p));
	copy(g->pids, sizeof(g->pids), field(&p));
}

int
nvmlInit_v2(void)
{
	const char *path = getenv("WEIR_FAKE_NVML");
	FILE *f = path != NULL ? fopen(path, "r") : NULL;
	char line[512];
	int fails = 0;

	ngpus = 0;
	if (f == NULL)
		return 9;	/* NVML_ERROR_DRIVER_NOT_LOADED */
	while (ngpus < MOST && fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "fail %d", &fails) != 1)
			read_line(line);
	}
	fclose(f);
	is_open = fails == 0;
	return fails;
}

int
nvmlShutdown(void)
{
	if (!is_open)
		abort();
	is_open = 0;
	return 0;
}

int
nvmlSystemGetDriverVersion(char *text, unsigned size)
{
	copy(text, size, "550.54.15");
	return 0;
}

int
nvmlDeviceGetCount_v2(unsigned *n)
{
	*n = ngpus;
	return is_open ? 0 : 1;
}

int
nvmlDeviceGetHandleByIndex_v2(unsigned i, void **dev)
{
	if (i >= ngpus || gpus[i].name[0] == '-')
		return 15;	/* NVML_ERROR_GPU_IS_LOST */
	*dev = &gpus[i];
	return 0;
}

int
nvmlDeviceGetName(void *dev, char *text, unsigned size)
{
	copy(text, size, ((gpu_t *)dev)->name);
	return 0;
}

int
nvmlDeviceGetUUID(void *dev, char *text, unsigned size)
{
	copy(text, size, ((gpu_t *)dev)->uuid);
	return 0;
}

int
nvmlDeviceGetMinorNumber(void *dev, unsigned *n)
{
	*n = ((gpu_t *)dev)->minor;
	return 0;
}

int
nvmlDeviceGetMemoryInfo(void *dev, memory_t *m)
{
	const gpu_t *g = dev;

	if (g->total == 0)
		return 3;	/* NVML_ERROR_NOT_SUPPORTED, as unified-memory chips say */
	*m = (memory_t){g->total, g->free, g->total - g->free};
	return 0;
}

int
nvmlDeviceGetCudaComputeCapability(void *dev, int *compute_major, int *compute_minor)
{
	*compute_major = ((gpu_t *)dev)->compute_major;
	*compute_minor = ((gpu_t *)dev)->compute_minor;
	return 0;
}

int
nvmlDeviceGetComputeRunningProcesses_v3(void *dev, unsigned *n, process_t *out)
{
	unsigned count = 0, room = *n;
	const char *p = ((gpu_t *)dev)->pids;

	while (*p >= '0' && *p <= '9') {
		char *end;
		unsigned pid = (unsigned)strtoul(p, &end, 10);

		if (out != NULL && count < room)
			out[count] = (process_t){pid, 1u << 20, 0xffffffffu, 0xffffffffu};
		count++;
		p = end + (*end == ',');
	}
	*n = count;
	return count > room ? 7 : 0;	/* NVML_ERROR_INSUFFICIENT_SIZE */
}

int
nvmlDeviceGetPciInfo_v3(void *dev, pci_t *pci)
{
	*pci = (pci_t){0};
	copy(pci->bus_id, sizeof(pci->bus_id), ((gpu_t *)dev)->bus);
	return 0;
}
