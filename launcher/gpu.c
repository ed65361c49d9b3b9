/* SPDX-License-Identifier: Apache-2.0 */
/* GPUs of this host by /proc, sysfs and /dev; NVML is gpu_nvml.c, CDI gpu_cdi.c, the choice gpu_pick.c. */
#include "config.h"

#include "gpu.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../src/util/util.h"

#define GPU_FILE_MAX (64u << 10)
#define GPU_FILES_MAX 4096	/* open files looked at of one process */

/* ---- paths and strings ---- */

static const char *
gpu_root(void)
{
	const char *root = getenv("WEIR_GPU_ROOT");

	return root != NULL ? root : "";
}

char *
weir_gpu_path(const char *path)
{
	return weir_xasprintf("%s%s", gpu_root(), path);
}

char *
weir_gpu_read(const char *path)
{
	WEIR_AUTO(weir_freep) char *file = weir_gpu_path(path);
	char *text = NULL;
	size_t len;

	if (weir_read_file(file, GPU_FILE_MAX, &text, &len) != 0)
		return NULL;
	while (len > 0 && text[len - 1] == '\n')
		text[--len] = '\0';
	return text;
}

void
weir_gpu_text(char *to, size_t size, const char *from)
{
	size_t n = 0;

	while (isspace((unsigned char)*from))
		from++;
	for (; *from != '\0' && *from != '\n' && n + 1 < size; from++)
		to[n++] = iscntrl((unsigned char)*from) ? ' ' : *from;
	while (n > 0 && to[n - 1] == ' ')
		n--;
	to[n] = '\0';
}

static uint64_t
gpu_read_number(const char *path, int base)
{
	WEIR_AUTO(weir_freep) char *text = weir_gpu_read(path);

	return text != NULL ? strtoull(text, NULL, base) : 0;
}

static bool
gpu_exists(const char *path)
{
	WEIR_AUTO(weir_freep) char *file = weir_gpu_path(path);

	return access(file, F_OK) == 0;
}

/* Names in a folder, sorted: alphabetically is good enough, numbers are sorted by whoever needs it. */
static void
gpu_names(const char *path, struct weir_words *out)
{
	WEIR_AUTO(weir_freep) char *dir = weir_gpu_path(path);
	struct dirent **list;
	int n = scandir(dir, &list, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		if (list[i]->d_name[0] != '.')
			weir_words_add(out, list[i]->d_name);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
}

struct weir_gpu *
weir_gpu_new(struct weir_gpus *gpus)
{
	gpus->v = weir_xrealloc(gpus->v, gpus->n + 1, sizeof(*gpus->v));
	gpus->v[gpus->n] = (struct weir_gpu){0};
	return &gpus->v[gpus->n++];
}

char *
weir_gpu_id(const struct weir_gpu *g)
{
	return g->uuid[0] != '\0' ? weir_xstrdup(g->uuid) : weir_xasprintf("%d:%u", (int)g->vendor, g->index);
}

void
weir_gpu_hold(struct weir_gpu *g, pid_t pid)
{
	for (size_t i = 0; i < g->nholders; i++) {
		if (g->holders[i] == pid)
			return;
	}
	g->holders = weir_xrealloc(g->holders, g->nholders + 1, sizeof(*g->holders));
	g->holders[g->nholders++] = pid;
}

static void
gpu_add_node(struct weir_gpu *g, const char *path)
{
	if (gpu_exists(path))
		weir_words_add(&g->nodes, path);
}

/* ---- NVIDIA without NVML ---- */

static void
gpu_nvidia_nodes(struct weir_gpu *g)
{
	WEIR_AUTO(weir_freep) char *node = weir_xasprintf("/dev/nvidia%u", g->minor);

	gpu_add_node(g, node);
	gpu_add_node(g, "/dev/nvidiactl");
	gpu_add_node(g, "/dev/nvidia-uvm");
	gpu_add_node(g, "/dev/nvidia-uvm-tools");
}

/* "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue …": the first word that is a version. */
static void
gpu_nvidia_driver(struct weir_gpus *gpus)
{
	WEIR_AUTO(weir_freep) char *text = weir_gpu_read("/proc/driver/nvidia/version");
	char *save = NULL;

	if (text == NULL)
		return;
	text[strcspn(text, "\n")] = '\0';
	for (char *word = strtok_r(text, " \t", &save); word != NULL; word = strtok_r(NULL, " \t", &save)) {
		if (isdigit((unsigned char)word[0]) && strchr(word, '.') != NULL) {
			weir_gpu_text(gpus->driver, sizeof(gpus->driver), word);
			return;
		}
	}
}

/* "Model: \t\t NVIDIA A100" and so on, one a line. An UUID that the driver does not tell us is all question marks. */
static void
gpu_nvidia_information(struct weir_gpu *g, char *text)
{
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
		char *value = strchr(line, ':');

		if (value == NULL)
			continue;
		*value++ = '\0';
		if (strcmp(line, "Model") == 0)
			weir_gpu_text(g->model, sizeof(g->model), value);
		else if (strcmp(line, "GPU UUID") == 0 && strchr(value, '?') == NULL)
			weir_gpu_text(g->uuid, sizeof(g->uuid), value);
		else if (strcmp(line, "Device Minor") == 0)
			g->minor = (unsigned)strtoul(value, NULL, 10);
	}
}

static void
gpu_nvidia_proc(struct weir_gpus *gpus)
{
	struct weir_words names = {0};
	unsigned index = 0;

	gpu_names("/proc/driver/nvidia/gpus", &names);
	for (size_t i = 0; i < names.n; i++) {
		WEIR_AUTO(weir_freep) char *path = weir_xasprintf("/proc/driver/nvidia/gpus/%s/information", names.v[i]);
		WEIR_AUTO(weir_freep) char *text = weir_gpu_read(path);
		struct weir_gpu *g;

		if (text == NULL)
			continue;
		g = weir_gpu_new(gpus);
		g->vendor = WEIR_GPU_NVIDIA;
		g->index = g->minor = index++;
		weir_gpu_text(g->bus, sizeof(g->bus), names.v[i]);
		gpu_nvidia_information(g, text);
		gpu_nvidia_nodes(g);
	}
	weir_words_free(&names);
}

/* In some containers the device files are all there is. */
static void
gpu_nvidia_dev(struct weir_gpus *gpus)
{
	struct weir_words names = {0};

	gpu_names("/dev", &names);
	for (size_t i = 0; i < names.n; i++) {
		const char *digits = strncmp(names.v[i], "nvidia", 6) == 0 ? names.v[i] + 6 : "";
		struct weir_gpu *g;

		if (*digits == '\0' || digits[strspn(digits, "0123456789")] != '\0')
			continue;
		g = weir_gpu_new(gpus);
		g->vendor = WEIR_GPU_NVIDIA;
		g->index = g->minor = (unsigned)strtoul(digits, NULL, 10);
		gpu_nvidia_nodes(g);
	}
	weir_words_free(&names);
}

/* ---- AMD ---- */

/* "simd_count 432" and so on, one a line. */
static uint64_t
gpu_property(const char *text, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = text; p != NULL && *p != '\0'; p = strchr(p, '\n'), p += p != NULL) {
		if (strncmp(p, name, len) == 0 && p[len] == ' ')
			return strtoull(p + len + 1, NULL, 10);
	}
	return 0;
}

/* The name on the card where the driver knows it, else the chip's: gfx90a is 9.0.10. */
static void
gpu_amd_model(struct weir_gpu *g, const char *device, unsigned gfx)
{
	WEIR_AUTO(weir_freep) char *path = weir_xasprintf("%s/product_name", device);
	WEIR_AUTO(weir_freep) char *name = weir_gpu_read(path);

	if (name != NULL && name[0] != '\0')
		weir_gpu_text(g->model, sizeof(g->model), name);
	else
		snprintf(g->model, sizeof(g->model), "AMD gfx%u%u%x", gfx / 10000, gfx / 100 % 100, gfx % 100);
	g->compute_major = gfx / 10000;
	g->compute_minor = gfx / 100 % 100;
}

static void
gpu_amd_bus(struct weir_gpu *g, const char *device)
{
	WEIR_AUTO(weir_freep) char *path = weir_gpu_path(device), *real = realpath(path, NULL);
	const char *slash = real != NULL ? strrchr(real, '/') : NULL;

	if (slash != NULL && strchr(slash, ':') != NULL)
		weir_gpu_text(g->bus, sizeof(g->bus), slash + 1);
}

static void
gpu_amd_nodes(struct weir_gpu *g, const char *device)
{
	WEIR_AUTO(weir_freep) char *drm = weir_xasprintf("%s/drm", device);
	WEIR_AUTO(weir_freep) char *render = weir_xasprintf("/dev/dri/renderD%u", g->minor);
	struct weir_words names = {0};

	gpu_add_node(g, "/dev/kfd");
	gpu_add_node(g, render);
	gpu_names(drm, &names);
	for (size_t i = 0; i < names.n; i++) {
		WEIR_AUTO(weir_freep) char *card = weir_xasprintf("/dev/dri/%s", names.v[i]);

		if (strncmp(names.v[i], "card", 4) == 0)
			gpu_add_node(g, card);
	}
	weir_words_free(&names);
}

/* Processes that compute: one folder each, in it vram_ID, the bytes it has on that GPU. */
static void
gpu_amd_holders(struct weir_gpu *g, const char *node)
{
	WEIR_AUTO(weir_freep) char *id_path = weir_xasprintf("/sys/class/kfd/kfd/topology/nodes/%s/gpu_id", node);
	unsigned long long id = gpu_read_number(id_path, 10);
	struct weir_words pids = {0};

	gpu_names("/sys/class/kfd/kfd/proc", &pids);
	for (size_t i = 0; i < pids.n; i++) {
		WEIR_AUTO(weir_freep) char *path = weir_xasprintf("/sys/class/kfd/kfd/proc/%s/vram_%llu", pids.v[i], id);
		long pid = strtol(pids.v[i], NULL, 10);

		if (pid > 0 && gpu_read_number(path, 10) > 0)
			weir_gpu_hold(g, (pid_t)pid);
	}
	weir_words_free(&pids);
}

/* A node of the topology is a GPU when it has SIMD units; processors are nodes too. */
static void
gpu_amd_node(struct weir_gpus *gpus, const char *node, unsigned *index)
{
	WEIR_AUTO(weir_freep) char *path = weir_xasprintf("/sys/class/kfd/kfd/topology/nodes/%s/properties", node);
	WEIR_AUTO(weir_freep) char *text = weir_gpu_read(path);
	WEIR_AUTO(weir_freep) char *device = NULL, *total = NULL, *used = NULL;
	struct weir_gpu *g;

	if (text == NULL || gpu_property(text, "simd_count") == 0)
		return;
	g = weir_gpu_new(gpus);
	g->vendor = WEIR_GPU_AMD;
	g->index = (*index)++;
	g->minor = (unsigned)gpu_property(text, "drm_render_minor");
	if (gpu_property(text, "unique_id") != 0)
		snprintf(g->uuid, sizeof(g->uuid), "GPU-%016llx", (unsigned long long)gpu_property(text, "unique_id"));
	device = weir_xasprintf("/sys/class/drm/renderD%u/device", g->minor);
	gpu_amd_model(g, device, (unsigned)gpu_property(text, "gfx_target_version"));
	gpu_amd_bus(g, device);
	total = weir_xasprintf("%s/mem_info_vram_total", device);
	used = weir_xasprintf("%s/mem_info_vram_used", device);
	g->memory_bytes = gpu_read_number(total, 10);
	g->free_bytes = g->memory_bytes - gpu_read_number(used, 10);
	gpu_amd_nodes(g, device);
	gpu_amd_holders(g, node);
}

static int
gpu_by_number(const void *a, const void *b)
{
	long x = strtol(*(char *const *)a, NULL, 10), y = strtol(*(char *const *)b, NULL, 10);

	return (x > y) - (x < y);
}

static void
gpu_amd(struct weir_gpus *gpus)
{
	struct weir_words nodes = {0};
	unsigned index = 0;

	gpu_names("/sys/class/kfd/kfd/topology/nodes", &nodes);
	if (nodes.n > 1)
		qsort(nodes.v, nodes.n, sizeof(*nodes.v), gpu_by_number);
	for (size_t i = 0; i < nodes.n; i++)
		gpu_amd_node(gpus, nodes.v[i], &index);
	weir_words_free(&nodes);
}

/* ---- who holds them, without NVML ---- */

/* A process computes on /dev/nvidiaN while it has it open; the daemon that keeps the driver loaded has them all. */
static bool
gpu_is_keeper(const char *pid)
{
	WEIR_AUTO(weir_freep) char *path = weir_xasprintf("/proc/%s/comm", pid);
	WEIR_AUTO(weir_freep) char *comm = weir_gpu_read(path);

	return comm != NULL && strncmp(comm, "nvidia-persist", 14) == 0;
}

static void
gpu_open_file(struct weir_gpus *gpus, const char *pid, const char *file)
{
	char *end;
	unsigned long minor;

	if (strncmp(file, "/dev/nvidia", 11) != 0 || !isdigit((unsigned char)file[11]))
		return;
	minor = strtoul(file + 11, &end, 10);
	for (size_t i = 0; *end == '\0' && i < gpus->n; i++) {
		if (gpus->v[i].vendor == WEIR_GPU_NVIDIA && gpus->v[i].minor == minor && !gpu_is_keeper(pid))
			weir_gpu_hold(&gpus->v[i], (pid_t)strtol(pid, NULL, 10));
	}
}

static void
gpu_open_files(struct weir_gpus *gpus, const char *pid)
{
	WEIR_AUTO(weir_freep) char *path = weir_xasprintf("%s/proc/%s/fd", gpu_root(), pid);
	DIR *dir = opendir(path);
	struct dirent *e;
	int most = GPU_FILES_MAX;

	while (dir != NULL && most-- > 0 && (e = readdir(dir)) != NULL) {
		char file[64];
		ssize_t n = readlinkat(dirfd(dir), e->d_name, file, sizeof(file) - 1);

		if (n <= 0)
			continue;
		file[n] = '\0';
		gpu_open_file(gpus, pid, file);
	}
	if (dir != NULL)
		closedir(dir);
}

static void
gpu_nvidia_holders(struct weir_gpus *gpus)
{
	struct weir_words names = {0};

	gpu_names("/proc", &names);
	for (size_t i = 0; i < names.n; i++) {
		if (isdigit((unsigned char)names.v[i][0]))
			gpu_open_files(gpus, names.v[i]);
	}
	weir_words_free(&names);
}

/* ---- cards without a driver ---- */

static bool
gpu_has_bus(const struct weir_gpus *gpus, const char *bus)
{
	for (size_t i = 0; i < gpus->n; i++) {
		if (strcasecmp(gpus->v[i].bus, bus) == 0)
			return true;
	}
	return false;
}

/* Class 0x0300 and 0x0302: display and 3D controllers; 0x1200: accelerators. Only these two vendors' can be given to a job. */
static void
gpu_undriven(struct weir_gpus *gpus)
{
	struct weir_words names = {0};

	gpu_names("/sys/bus/pci/devices", &names);
	for (size_t i = 0; i < names.n; i++) {
		WEIR_AUTO(weir_freep) char *vendor_path = weir_xasprintf("/sys/bus/pci/devices/%s/vendor", names.v[i]);
		WEIR_AUTO(weir_freep) char *class_path = weir_xasprintf("/sys/bus/pci/devices/%s/class", names.v[i]);
		uint64_t vendor = gpu_read_number(vendor_path, 16), class = gpu_read_number(class_path, 16) >> 8;
		WEIR_AUTO(weir_freep) char *text = NULL;

		if ((vendor != 0x10de && vendor != 0x1002) || (class != 0x0300 && class != 0x0302 && class != 0x1200) || gpu_has_bus(gpus, names.v[i]))
			continue;
		text = weir_xasprintf("%s at %s", vendor == 0x10de ? "NVIDIA" : "AMD", names.v[i]);
		weir_words_add(&gpus->undriven, text);
	}
	weir_words_free(&names);
}

/* ---- all together ---- */

static void
gpu_free(struct weir_gpu *g)
{
	weir_words_free(&g->nodes);
	free(g->holders);
}

/* Is it in a batch system's list? Of "0,2" or "GPU-2a…,GPU-9b…" (beginnings are enough); what follows something else is not seen by CUDA. */
static bool
gpu_is_listed(const struct weir_gpu *g, const char *list)
{
	for (const char *p = list; *p != '\0'; p += strcspn(p, ","), p += *p == ',') {
		size_t len = strcspn(p, ",");
		char *end;
		unsigned long n = strtoul(p, &end, 10);

		if (end == p + len && len > 0 ? n == g->index : len > 4 && strncasecmp(p, g->uuid, len) == 0)
			return true;
	}
	return false;
}

static void
gpu_keep_visible(struct weir_gpus *gpus)
{
	const char *list = getenv("CUDA_VISIBLE_DEVICES");
	size_t kept = 0;

	if (list == NULL || list[0] == '\0')
		return;
	for (size_t i = 0; i < gpus->n; i++) {
		if (gpus->v[i].vendor != WEIR_GPU_NVIDIA || gpu_is_listed(&gpus->v[i], list))
			gpus->v[kept++] = gpus->v[i];
		else
			gpu_free(&gpus->v[i]);
	}
	gpus->n = kept;
}

void
weir_gpus_find(struct weir_gpus *gpus)
{
	*gpus = (struct weir_gpus){0};
	if (weir_gpus_nvml(gpus) == 0) {
		for (size_t i = 0; i < gpus->n; i++)
			gpu_nvidia_nodes(&gpus->v[i]);
	} else {
		gpu_nvidia_driver(gpus);
		gpu_nvidia_proc(gpus);
		if (gpus->n == 0)
			gpu_nvidia_dev(gpus);
		if (gpus->n > 0)
			gpu_nvidia_holders(gpus);
	}
	gpu_amd(gpus);
	gpu_undriven(gpus);
	gpu_keep_visible(gpus);
	weir_gpus_cdi(gpus);
}

void
weir_gpus_free(struct weir_gpus *gpus)
{
	for (size_t i = 0; i < gpus->n; i++)
		gpu_free(&gpus->v[i]);
	free(gpus->v);
	free(gpus->cdi_spec);
	weir_words_free(&gpus->cdi);
	weir_words_free(&gpus->undriven);
	*gpus = (struct weir_gpus){0};
}

/* ---- for containers without them ---- */

void
weir_gpu_libraries(struct weir_words *out)
{
	static const char *const dirs[] = {"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib/wsl/lib", "/usr/lib"};
	static const char *const names[] = {"libcuda.so.1", "libnvidia-ml.so.1", "libnvidia-ptxjitcompiler.so.1", "libnvidia-gpucomp.so.*", "libnvidia-nvvm.so.[0-9]"};

	for (size_t n = 0; n < WEIR_LEN(names); n++) {
		for (size_t d = 0; d < WEIR_LEN(dirs); d++) {
			WEIR_AUTO(weir_freep) char *pattern = weir_xasprintf("%s%s/%s", gpu_root(), dirs[d], names[n]);
			glob_t found;
			size_t count = 0;

			if (glob(pattern, 0, NULL, &found) == 0) {
				for (count = 0; count < found.gl_pathc; count++)
					weir_words_add(out, found.gl_pathv[count]);
				globfree(&found);
			}
			if (count > 0)
				break;
		}
	}
}

/* ---- whose jobs hold them ---- */

char *
weir_gpu_job(pid_t pid)
{
	WEIR_AUTO(weir_freep) char *path = weir_xasprintf("%s/proc/%d/environ", gpu_root(), (int)pid);
	WEIR_AUTO(weir_freep) char *text = NULL;
	size_t len;

	if (weir_read_file(path, 4u << 20, &text, &len) != 0)
		return NULL;
	for (const char *p = text; p < text + len; p += strlen(p) + 1) {
		if (strncmp(p, "WEIR_JOB=", 9) == 0 && p[9] != '\0')
			return weir_xstrdup(p + 9);
	}
	return NULL;
}

size_t
weir_gpus_held(const struct weir_gpus *gpus, struct weir_gpu_held **out)
{
	struct weir_gpu_held *v = NULL;
	size_t n = 0;

	for (size_t i = 0; i < gpus->n; i++) {
		for (size_t h = 0; h < gpus->v[i].nholders; h++) {
			char *job = weir_gpu_job(gpus->v[i].holders[h]);

			if (job == NULL)
				continue;
			v = weir_xrealloc(v, n + 1, sizeof(*v));
			v[n++] = (struct weir_gpu_held){(unsigned)i, gpus->v[i].holders[h], job};
		}
	}
	*out = v;
	return n;
}

void
weir_gpu_held_free(struct weir_gpu_held *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(v[i].job);
	free(v);
}
