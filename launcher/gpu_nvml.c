/* SPDX-License-Identifier: Apache-2.0 */
/* NVIDIA's management library, loaded when it is there: the only source that knows memory, compute capability and who computes.
 *
 * NVIDIA keeps its ABI by versioned names; what is declared here is what its reference manual ("NVML API Reference", chapters device
 * queries and structs) says of them. Nothing of NVIDIA's is needed to build. A GPU about which one question fails is still a GPU. */
#include "config.h"

#include "gpu.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "../src/util/util.h"

#define NVML_SUCCESS 0
#define NVML_INSUFFICIENT_SIZE 7
#define NVML_HOLDERS_MAX 4096u

typedef int nvml_return;
typedef void *nvml_device;
struct nvml_memory { unsigned long long total, free, used; };
struct nvml_process {	/* of the calls that end in _v2 and _v3; the oldest one, without a number, has a shorter one */
	unsigned pid;
	unsigned long long used;
	unsigned gpu_instance, compute_instance;
};
struct nvml_pci {	/* of _v3 */
	char bus_id_legacy[16];
	unsigned domain, bus, device, device_id, subsystem_id;
	char bus_id[32];
};

static struct {
	nvml_return (*init)(void), (*shutdown)(void);
	nvml_return (*driver)(char *, unsigned);
	nvml_return (*count)(unsigned *);
	nvml_return (*handle)(unsigned, nvml_device *);
	nvml_return (*name)(nvml_device, char *, unsigned);
	nvml_return (*uuid)(nvml_device, char *, unsigned);
	nvml_return (*minor)(nvml_device, unsigned *);
	nvml_return (*memory)(nvml_device, struct nvml_memory *);
	nvml_return (*compute)(nvml_device, int *, int *);
	nvml_return (*processes)(nvml_device, unsigned *, struct nvml_process *);
	nvml_return (*pci)(nvml_device, struct nvml_pci *);
} nvml;

static const struct nvml_symbol {
	void **to;
	const char *name, *older;
	bool is_required;
} nvml_symbols[] = {
    {(void **)&nvml.init, "nvmlInit_v2", NULL, true},
    {(void **)&nvml.shutdown, "nvmlShutdown", NULL, true},
    {(void **)&nvml.count, "nvmlDeviceGetCount_v2", NULL, true},
    {(void **)&nvml.handle, "nvmlDeviceGetHandleByIndex_v2", NULL, true},
    {(void **)&nvml.driver, "nvmlSystemGetDriverVersion", NULL, false},
    {(void **)&nvml.name, "nvmlDeviceGetName", NULL, false},
    {(void **)&nvml.uuid, "nvmlDeviceGetUUID", NULL, false},
    {(void **)&nvml.minor, "nvmlDeviceGetMinorNumber", NULL, false},
    {(void **)&nvml.memory, "nvmlDeviceGetMemoryInfo", NULL, false},
    {(void **)&nvml.compute, "nvmlDeviceGetCudaComputeCapability", NULL, false},
    {(void **)&nvml.processes, "nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2", false},
    {(void **)&nvml.pci, "nvmlDeviceGetPciInfo_v3", NULL, false},
};

static void *
nvml_load(void)
{
	WEIR_AUTO(weir_freep) char *in_root = weir_gpu_path("/libnvidia-ml.so.1");
	void *lib = dlopen(getenv("WEIR_GPU_ROOT") != NULL ? in_root : "libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);

	if (lib == NULL)
		return NULL;
	for (size_t i = 0; i < WEIR_LEN(nvml_symbols); i++) {
		const struct nvml_symbol *s = &nvml_symbols[i];

		*s->to = dlsym(lib, s->name);
		if (*s->to == NULL && s->older != NULL)
			*s->to = dlsym(lib, s->older);
		if (*s->to == NULL && s->is_required) {
			dlclose(lib);
			return NULL;
		}
	}
	return lib;
}

/* Twice: how many, then who. More may come in between, hence the room. */
static void
nvml_holders(struct weir_gpu *g, nvml_device dev)
{
	WEIR_AUTO(weir_freep) struct nvml_process *v = NULL;
	unsigned n = 0;
	nvml_return r = nvml.processes(dev, &n, NULL);

	if (r != NVML_INSUFFICIENT_SIZE || n > NVML_HOLDERS_MAX)
		return;
	n += 16;
	v = weir_xcalloc(n, sizeof(*v));
	if (nvml.processes(dev, &n, v) != NVML_SUCCESS)
		return;
	for (unsigned i = 0; i < n; i++)
		weir_gpu_hold(g, (pid_t)v[i].pid);
}

/* NVML writes the domain with eight digits, the kernel with four. */
static void
nvml_bus(struct weir_gpu *g, nvml_device dev)
{
	struct nvml_pci pci = {0};
	size_t len;

	if (nvml.pci(dev, &pci) != NVML_SUCCESS)
		return;
	pci.bus_id[sizeof(pci.bus_id) - 1] = '\0';
	len = strlen(pci.bus_id);
	weir_gpu_text(g->bus, sizeof(g->bus), len == 16 && strncmp(pci.bus_id, "0000", 4) == 0 ? pci.bus_id + 4 : pci.bus_id);
}

static void
nvml_ask(struct weir_gpu *g, nvml_device dev)
{
	char text[128] = "";
	struct nvml_memory memory = {0};
	unsigned minor;
	int major_version, minor_version;

	if (nvml.name != NULL && nvml.name(dev, text, sizeof(text)) == NVML_SUCCESS)
		weir_gpu_text(g->model, sizeof(g->model), text);
	if (nvml.uuid != NULL && nvml.uuid(dev, text, sizeof(text)) == NVML_SUCCESS)
		weir_gpu_text(g->uuid, sizeof(g->uuid), text);
	if (nvml.minor != NULL && nvml.minor(dev, &minor) == NVML_SUCCESS)
		g->minor = minor;
	if (nvml.memory != NULL && nvml.memory(dev, &memory) == NVML_SUCCESS) {
		g->memory_bytes = memory.total;
		g->free_bytes = memory.free;
	}
	if (nvml.compute != NULL && nvml.compute(dev, &major_version, &minor_version) == NVML_SUCCESS && major_version > 0 && minor_version >= 0) {
		g->compute_major = (unsigned)major_version;
		g->compute_minor = (unsigned)minor_version;
	}
	if (nvml.pci != NULL)
		nvml_bus(g, dev);
	if (nvml.processes != NULL)
		nvml_holders(g, dev);
}

int
weir_gpus_nvml(struct weir_gpus *gpus)
{
	void *lib = nvml_load();
	unsigned count = 0;

	if (lib == NULL)
		return -1;
	if (nvml.init() != NVML_SUCCESS) {
		dlclose(lib);
		return -1;
	}
	if (nvml.driver != NULL) {
		char text[sizeof(gpus->driver)] = "";

		if (nvml.driver(text, sizeof(text)) == NVML_SUCCESS)
			weir_gpu_text(gpus->driver, sizeof(gpus->driver), text);
	}
	if (nvml.count(&count) != NVML_SUCCESS)
		count = 0;
	for (unsigned i = 0; i < count; i++) {
		nvml_device dev;
		struct weir_gpu *g;

		if (nvml.handle(i, &dev) != NVML_SUCCESS)
			continue;	/* lost, or not for us (a batch system's device cgroup) */
		g = weir_gpu_new(gpus);
		g->vendor = WEIR_GPU_NVIDIA;
		g->index = g->minor = i;
		nvml_ask(g, dev);
	}
	nvml.shutdown();
	dlclose(lib);
	return 0;
}
