/* SPDX-License-Identifier: Apache-2.0 */
/* GPUs of made-up hosts: a tree of /proc, /sys, /dev and /etc files, and a library that answers as NVML does (tests/launch/fakenvml). */
#include "config.h"

#include <CUnit/Basic.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/gpu.h"
#include "util/util.h"

static char root[256];
static struct weir_gpus gpus;

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void
host_end(void)
{
	weir_gpus_free(&gpus);
	if (root[0] != '\0')
		nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	root[0] = '\0';
}

/* A host without anything. */
static void
host(void)
{
	host_end();
	snprintf(root, sizeof(root), "/tmp/weir-t_gpu.XXXXXX");
	if (mkdtemp(root) == NULL)
		abort();
	setenv("WEIR_GPU_ROOT", root, 1);
	unsetenv("CUDA_VISIBLE_DEVICES");
	unsetenv("WEIR_FAKE_NVML");
}

static void
put(const char *path, const char *fmt, ...)
{
	WEIR_AUTO(weir_freep) char *file = weir_xasprintf("%s%s", root, path), *dir = weir_xstrdup(file), *text = NULL;
	va_list ap;

	*strrchr(dir, '/') = '\0';
	weir_mkdirs(dir, 0755);
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0 || weir_write_file(file, text, strlen(text)) != 0)
		abort();
	va_end(ap);
}

static void
put_link(const char *path, const char *to)
{
	WEIR_AUTO(weir_freep) char *file = weir_xasprintf("%s%s", root, path), *dir = weir_xstrdup(file);

	*strrchr(dir, '/') = '\0';
	weir_mkdirs(dir, 0755);
	if (symlink(to, file) != 0)
		abort();
}

/* The library beside the test's own build, and what it is to say. */
static bool
put_nvml(const char *lines)
{
	const char *build = getenv("WEIR_BUILDDIR");
	WEIR_AUTO(weir_freep) char *rel = weir_xasprintf("%s/tests/launch/fakenvml", build != NULL ? build : ".");
	WEIR_AUTO(weir_freep) char *lib = realpath(rel, NULL), *file = weir_xasprintf("%s/nvml", root);

	CU_ASSERT_PTR_NOT_NULL(lib);
	if (lib == NULL)
		return false;
	put_link("/libnvidia-ml.so.1", lib);
	put("/nvml", "%s", lines);
	setenv("WEIR_FAKE_NVML", file, 1);
	return true;
}

static void
find(void)
{
	weir_gpus_free(&gpus);
	weir_gpus_find(&gpus);
}

static void
is_text(const char *got, const char *wanted)
{
	if (strcmp(got, wanted) != 0)
		fprintf(stderr, "\n  got    '%s'\n  wanted '%s'\n", got, wanted);
	CU_ASSERT_STRING_EQUAL(got, wanted);
}

static void
put_nvidia(const char *bus, unsigned minor, const char *model)
{
	WEIR_AUTO(weir_freep) char *path = weir_xasprintf("/proc/driver/nvidia/gpus/%s/information", bus);
	WEIR_AUTO(weir_freep) char *node = weir_xasprintf("/dev/nvidia%u", minor);

	put(path, "Model: \t\t %s\nIRQ:   \t\t 90\nGPU UUID: \t GPU-0000000%u-1111-2222-3333-444444444444\nBus Location: \t %s\nDevice Minor: \t %u\n", model, minor, bus, minor);
	put(node, "");
	put("/dev/nvidiactl", "");
	put("/dev/nvidia-uvm", "");
}

static void
put_amd(unsigned node, unsigned render, const char *product, unsigned long long vram)
{
	WEIR_AUTO(weir_freep) char *base = weir_xasprintf("/sys/class/kfd/kfd/topology/nodes/%u", node), *device = weir_xasprintf("/sys/class/drm/renderD%u/device", render);
	WEIR_AUTO(weir_freep) char *properties = weir_xasprintf("%s/properties", base), *id = weir_xasprintf("%s/gpu_id", base);
	WEIR_AUTO(weir_freep) char *total = weir_xasprintf("%s/mem_info_vram_total", device), *used = weir_xasprintf("%s/mem_info_vram_used", device);
	WEIR_AUTO(weir_freep) char *name = weir_xasprintf("%s/product_name", device), *card = weir_xasprintf("%s/drm/card%u/dev", device, render - 127);
	WEIR_AUTO(weir_freep) char *render_node = weir_xasprintf("/dev/dri/renderD%u", render), *card_node = weir_xasprintf("/dev/dri/card%u", render - 127);

	put(properties, "cpu_cores_count 0\nsimd_count 432\ngfx_target_version 90010\nvendor_id 4098\ndrm_render_minor %u\nunique_id 4886718345\n", render);
	put(id, "%u\n", 1000 + node);
	put(total, "%llu\n", vram);
	put(used, "1000000\n");
	if (product != NULL)
		put(name, "%s\n", product);
	put(card, "226:1\n");
	put(render_node, "");
	put(card_node, "");
	put("/dev/kfd", "");
}

/* ---- finding ---- */

static void
a_host_without_gpus_has_none(void)
{
	host();
	find();
	CU_ASSERT_EQUAL(gpus.n, 0);
	CU_ASSERT_EQUAL(gpus.undriven.n, 0);
	CU_ASSERT_PTR_NULL(gpus.cdi_spec);
}

static void
nvml_tells_everything(void)
{
	host();
	put("/dev/nvidia3", "");
	put("/dev/nvidiactl", "");
	put("/dev/nvidia-uvm", "");
	if (!put_nvml("NVIDIA H200|GPU-aaaaaaaa-1|3|150754820096|150000000000|9|0|00000000:C1:00.0|\n"
		      "-|||||||\n"
		      "Tesla T4|GPU-bbbbbbbb-2|0|15843721216|100|7|5|00000001:01:00.0|41,42\n"))
		return;
	find();
	CU_ASSERT_EQUAL_FATAL(gpus.n, 2);
	is_text(gpus.driver, "550.54.15");
	is_text(gpus.v[0].model, "NVIDIA H200");
	is_text(gpus.v[0].uuid, "GPU-aaaaaaaa-1");
	is_text(gpus.v[0].bus, "0000:C1:00.0");
	CU_ASSERT_EQUAL(gpus.v[0].index, 0);
	CU_ASSERT_EQUAL(gpus.v[0].minor, 3);
	CU_ASSERT_EQUAL(gpus.v[0].memory_bytes, 150754820096);
	CU_ASSERT_EQUAL(gpus.v[0].free_bytes, 150000000000);
	CU_ASSERT_EQUAL(gpus.v[0].compute_major, 9);
	CU_ASSERT_EQUAL(gpus.v[0].nholders, 0);
	CU_ASSERT_EQUAL_FATAL(gpus.v[0].nodes.n, 3);
	is_text(gpus.v[0].nodes.v[0], "/dev/nvidia3");
	CU_ASSERT_EQUAL(gpus.v[1].index, 2);	/* one that is lost keeps its number */
	is_text(gpus.v[1].bus, "0001:01:00.0");
	CU_ASSERT_EQUAL_FATAL(gpus.v[1].nholders, 2);
	CU_ASSERT_EQUAL(gpus.v[1].holders[1], 42);
}

static void
an_nvml_that_fails_leaves_proc(void)
{
	host();
	put_nvidia("0000:01:00.0", 0, "NVIDIA A100-SXM4-40GB");
	if (!put_nvml("fail 18\n"))	/* NVML_ERROR_LIB_RM_VERSION_MISMATCH: after an upgrade of the driver without a reboot */
		return;
	find();
	CU_ASSERT_EQUAL_FATAL(gpus.n, 1);
	is_text(gpus.v[0].model, "NVIDIA A100-SXM4-40GB");
}

static void
proc_tells_how_many_and_who(void)
{
	host();
	put("/proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\nGCC version:  gcc 12\n");
	put_nvidia("0000:01:00.0", 1, "NVIDIA A100-SXM4-40GB");
	put_nvidia("0000:41:00.0", 0, "Tesla T4");
	put_link("/proc/77/fd/5", "/dev/nvidia1");
	put_link("/proc/77/fd/6", "/dev/nvidia1");
	put_link("/proc/77/fd/7", "/dev/nvidiactl");
	put_link("/proc/88/fd/5", "/dev/nvidia0");
	put("/proc/88/comm", "nvidia-persiste\n");
	find();
	CU_ASSERT_EQUAL_FATAL(gpus.n, 2);
	is_text(gpus.driver, "535.183.01");
	is_text(gpus.v[0].uuid, "GPU-00000001-1111-2222-3333-444444444444");
	CU_ASSERT_EQUAL(gpus.v[0].minor, 1);
	CU_ASSERT_EQUAL(gpus.v[0].index, 0);
	CU_ASSERT_EQUAL(gpus.v[0].memory_bytes, 0);
	CU_ASSERT_EQUAL_FATAL(gpus.v[0].nholders, 1);
	CU_ASSERT_EQUAL(gpus.v[0].holders[0], 77);
	CU_ASSERT_EQUAL(gpus.v[1].nholders, 0);	/* the daemon that keeps the driver awake is nobody's job */
	is_text(gpus.v[1].nodes.v[0], "/dev/nvidia0");
}

static void
device_files_are_enough(void)
{
	host();
	put("/dev/nvidia0", "");
	put("/dev/nvidiactl", "");
	put("/dev/nvidia-modeset", "");
	find();
	CU_ASSERT_EQUAL_FATAL(gpus.n, 1);
	CU_ASSERT_EQUAL(gpus.v[0].nodes.n, 2);
	is_text(gpus.v[0].model, "");
}

static void
amd_by_kfd(void)
{
	host();
	put("/sys/class/kfd/kfd/topology/nodes/0/properties", "cpu_cores_count 64\nsimd_count 0\n");
	put_amd(10, 129, NULL, 68702699520);
	put_amd(2, 128, "AMD Instinct MI210", 68702699520);
	put("/sys/class/kfd/kfd/proc/4321/vram_1010", "4096\n");
	put("/sys/class/kfd/kfd/proc/4321/vram_1002", "0\n");
	find();
	CU_ASSERT_EQUAL_FATAL(gpus.n, 2);
	is_text(gpus.v[0].model, "AMD Instinct MI210");
	is_text(gpus.v[1].model, "AMD gfx90a");
	is_text(gpus.v[0].uuid, "GPU-0000000123456789");
	CU_ASSERT_EQUAL(gpus.v[0].vendor, WEIR_GPU_AMD);
	CU_ASSERT_EQUAL(gpus.v[0].memory_bytes, 68702699520);
	CU_ASSERT_EQUAL(gpus.v[0].free_bytes, 68702699520 - 1000000);
	CU_ASSERT_EQUAL_FATAL(gpus.v[0].nodes.n, 3);
	is_text(gpus.v[0].nodes.v[0], "/dev/kfd");
	is_text(gpus.v[0].nodes.v[1], "/dev/dri/renderD128");
	is_text(gpus.v[0].nodes.v[2], "/dev/dri/card1");
	CU_ASSERT_EQUAL(gpus.v[0].nholders, 0);
	CU_ASSERT_EQUAL_FATAL(gpus.v[1].nholders, 1);
	CU_ASSERT_EQUAL(gpus.v[1].holders[0], 4321);
}

static void
a_card_without_a_driver_is_named(void)
{
	struct weir_gpu_request one = {.count = 1};
	struct weir_err err = {0};
	unsigned *picked = NULL;

	host();
	put("/sys/bus/pci/devices/0000:00:02.0/vendor", "0x8086\n");
	put("/sys/bus/pci/devices/0000:00:02.0/class", "0x030000\n");
	put("/sys/bus/pci/devices/0000:c1:00.0/vendor", "0x10de\n");
	put("/sys/bus/pci/devices/0000:c1:00.0/class", "0x030200\n");
	put("/sys/bus/pci/devices/0000:c1:00.1/vendor", "0x10de\n");
	put("/sys/bus/pci/devices/0000:c1:00.1/class", "0x040300\n");
	find();
	CU_ASSERT_EQUAL_FATAL(gpus.undriven.n, 1);
	CU_ASSERT_EQUAL(weir_gpus_pick(&gpus, &one, &picked, &err), WEIR_E_NOENT);
	is_text(err.msg, "no GPU can be used on this host: there is NVIDIA at 0000:c1:00.0, but no driver shows it");
}

static void
what_the_batch_system_did_not_give_is_not_there(void)
{
	host();
	if (!put_nvml("NVIDIA A100|GPU-aaaaaaaa-1|0|42949672960|42949672960|8|0||\nNVIDIA A100|GPU-bbbbbbbb-2|1|42949672960|42949672960|8|0||\n"))
		return;
	setenv("CUDA_VISIBLE_DEVICES", "1", 1);
	find();
	CU_ASSERT_EQUAL_FATAL(gpus.n, 1);
	is_text(gpus.v[0].uuid, "GPU-bbbbbbbb-2");
	setenv("CUDA_VISIBLE_DEVICES", "GPU-aaaa", 1);
	find();
	CU_ASSERT_EQUAL_FATAL(gpus.n, 1);
	is_text(gpus.v[0].uuid, "GPU-aaaaaaaa-1");
	setenv("CUDA_VISIBLE_DEVICES", "-1", 1);
	find();
	CU_ASSERT_EQUAL(gpus.n, 0);
}

/* ---- CDI ---- */

static void
cdi_names_are_read_from_yaml_and_json(void)
{
	host();
	put("/etc/cdi/nvidia.yaml", "---\ncdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- name: \"0\"\n  containerEdits:\n    deviceNodes:\n    - path: /dev/nvidia0\n- name: all\n- name: 'x;rm'\n");
	put("/etc/cdi/broken.yaml", "kind: [nvidia.com/gpu\n");
	put("/etc/cdi/other.yaml", "kind: vendor.com/net\ndevices:\n- name: eth0\n");
	put("/var/run/cdi/k8s.json", "{\"cdiVersion\":\"0.5.0\",\"kind\":\"nvidia.com/gpu\",\"devices\":[{\"name\":\"GPU-bbbbbbbb-2\"}]}");
	if (!put_nvml("NVIDIA A100|GPU-aaaaaaaa-1|0|1|1|8|0||\nNVIDIA A100|GPU-bbbbbbbb-2|1|1|1|8|0||\nNVIDIA A100|GPU-cccccccc-2|2|1|1|8|0||\n"))
		return;
	find();
	CU_ASSERT_EQUAL_FATAL(gpus.n, 3);
	CU_ASSERT_EQUAL_FATAL(gpus.cdi.n, 3);
	is_text(gpus.cdi.v[0], "nvidia.com/gpu=0");
	is_text(gpus.cdi.v[1], "nvidia.com/gpu=all");
	is_text(strrchr(gpus.cdi_spec, '/'), "/nvidia.yaml");
	is_text(weir_gpu_cdi(&gpus, &gpus.v[0]), "nvidia.com/gpu=0");
	is_text(weir_gpu_cdi(&gpus, &gpus.v[1]), "nvidia.com/gpu=GPU-bbbbbbbb-2");
	CU_ASSERT_PTR_NULL(weir_gpu_cdi(&gpus, &gpus.v[2]));
}

/* ---- choosing ---- */

static const char three[] = "NVIDIA A100-SXM4-80GB|GPU-a|0|85899345920|85899345920|8|0||\n"
			    "Tesla T4|GPU-b|1|15843721216|15843721216|7|5||\n"
			    "NVIDIA A100-SXM4-80GB|GPU-c|2|85899345920|85899345920|8|0||901\n";

static enum weir_code
pick(const char *text, uint64_t memory, unsigned major_version, char *out, struct weir_err *err)
{
	struct weir_gpu_request req = {.memory_bytes = memory, .compute_major = major_version};
	enum weir_code r = weir_gpu_parse(text, &req, err);
	unsigned *picked = NULL;

	out[0] = '\0';
	if (r == WEIR_OK)
		r = weir_gpus_pick(&gpus, &req, &picked, err);
	for (unsigned i = 0; r == WEIR_OK && i < req.count; i++)
		snprintf(out + strlen(out), 16, "%u ", picked[i]);
	free(picked);
	free(req.model);
	return r;
}

static void
the_smallest_free_one_that_will_do(void)
{
	char got[64];
	struct weir_err err = {0};

	host();
	if (!put_nvml(three))
		return;
	put("/proc/901/comm", "python3\n");
	find();
	CU_ASSERT_EQUAL(pick("1", 0, 0, got, &err), WEIR_OK);
	is_text(got, "1 ");
	CU_ASSERT_EQUAL(pick("2", 0, 0, got, &err), WEIR_OK);
	is_text(got, "1 0 ");
	CU_ASSERT_EQUAL(pick("1:a100", 0, 0, got, &err), WEIR_OK);
	is_text(got, "0 ");
	CU_ASSERT_EQUAL(pick("1", 40000000000, 0, got, &err), WEIR_OK);
	is_text(got, "0 ");
	CU_ASSERT_EQUAL(pick("1", 0, 8, got, &err), WEIR_OK);
	is_text(got, "0 ");
	CU_ASSERT_EQUAL(pick("all:t4", 0, 0, got, &err), WEIR_OK);
	is_text(got, "1 ");
}

static void
a_refusal_names_what_is_missing_and_what_is_there(void)
{
	char got[64];
	struct weir_err err = {0};

	host();
	if (!put_nvml(three))
		return;
	put("/proc/901/comm", "python3\n");
	find();
	CU_ASSERT_EQUAL(pick("2:A100", 0, 0, got, &err), WEIR_E_BUSY);
	is_text(err.msg, "the job wants 2 GPUs of model 'A100'; 1 of 2 such are free, used is GPU 2 by process 901 (python3)");
	CU_ASSERT_EQUAL(pick("all", 0, 0, got, &err), WEIR_E_BUSY);
	CU_ASSERT_EQUAL(pick("4", 0, 0, got, &err), WEIR_E_NOENT);
	is_text(err.msg, "the job wants 4 GPUs; only 3 here will do, there is 2 x NVIDIA A100-SXM4-80GB (85.90 GB, compute capability 8.0), "
			 "Tesla T4 (15.84 GB, compute capability 7.5)");
	CU_ASSERT_EQUAL(pick("1", 20000000000, 100, got, &err), WEIR_E_NOENT);
	is_text(err.msg, "the job wants 1 GPU with 20.00 GB and compute capability 100.0; none here will do, there is "
			 "2 x NVIDIA A100-SXM4-80GB (85.90 GB, compute capability 8.0), Tesla T4 (15.84 GB, compute capability 7.5)");
	host();
	find();
	CU_ASSERT_EQUAL(pick("1", 0, 0, got, &err), WEIR_E_NOENT);
	is_text(err.msg, "this host has no GPU");
}

static void
vendors_are_not_mixed_and_unknown_figures_do_no_harm(void)
{
	char got[64];
	struct weir_err err = {0};

	host();
	put_nvidia("0000:01:00.0", 0, "NVIDIA A100-SXM4-40GB");
	put_amd(2, 128, "AMD Instinct MI210", 68702699520);
	put_amd(3, 129, "AMD Instinct MI210", 68702699520);
	find();
	CU_ASSERT_EQUAL(pick("1", 40000000000, 8, got, &err), WEIR_OK);
	is_text(got, "0 ");
	CU_ASSERT_EQUAL(pick("2", 40000000000, 8, got, &err), WEIR_OK);
	is_text(got, "1 2 ");
	CU_ASSERT_EQUAL(pick("3", 0, 0, got, &err), WEIR_E_NOENT);
	CU_ASSERT_EQUAL(pick("1:MI210", 70000000000, 0, got, &err), WEIR_E_NOENT);
	is_text(err.msg, "the job wants 1 GPU of model 'MI210' with 70.00 GB; none here will do, there is NVIDIA A100-SXM4-40GB, 2 x AMD Instinct MI210 (68.70 GB)");
}

static void
requests_are_parsed(void)
{
	static const char *const bad[] = {"", "x", "-1", "1x", "1:", ":A100", "all:", "99999", " 1", "ALLE"};
	struct weir_gpu_request req = {0};
	struct weir_err err = {0};

	CU_ASSERT_EQUAL(weir_gpu_parse("0", &req, &err), WEIR_OK);
	CU_ASSERT_EQUAL(req.count, 0);
	CU_ASSERT_EQUAL(weir_gpu_parse("2:Tesla V100", &req, &err), WEIR_OK);
	CU_ASSERT_EQUAL(req.count, 2);
	is_text(req.model, "Tesla V100");
	CU_ASSERT_EQUAL(weir_gpu_parse("all", &req, &err), WEIR_OK);
	CU_ASSERT_EQUAL(req.count, WEIR_GPU_ALL);
	CU_ASSERT_PTR_NULL(req.model);
	for (size_t i = 0; i < WEIR_LEN(bad); i++)
		CU_ASSERT_EQUAL(weir_gpu_parse(bad[i], &req, &err), WEIR_E_INVAL);
	is_text(err.msg, "--gpus 'ALLE': wants a number, as 1, 2:A100 or all");
}

static void
holders_are_known_by_their_job(void)
{
	struct weir_gpu_held *held = NULL;
	char environ_text[] = "PATH=/bin\0WEIR_JOB=train-7\0X=1";
	WEIR_AUTO(weir_freep) char *path = NULL;
	size_t n;

	host();
	if (!put_nvml("Tesla T4|GPU-b|0|1|1|7|5||901,902\n"))
		return;
	put("/proc/901/comm", "python3\n");
	path = weir_xasprintf("%s/proc/901/environ", root);
	CU_ASSERT_EQUAL(weir_write_file(path, environ_text, sizeof(environ_text)), 0);
	find();
	n = weir_gpus_held(&gpus, &held);
	CU_ASSERT_EQUAL_FATAL(n, 1);
	CU_ASSERT_EQUAL(held[0].pid, 901);
	CU_ASSERT_EQUAL(held[0].gpu, 0);
	is_text(held[0].job, "train-7");
	weir_gpu_held_free(held, n);
}

static void
the_drivers_libraries_are_found(void)
{
	struct weir_words w = {0};

	host();
	put("/usr/lib64/libcuda.so.1", "");
	put("/usr/lib64/libnvidia-ml.so.1", "");
	put("/usr/lib64/libnvidia-nvvm.so.4", "");
	put("/usr/lib/libcuda.so.1", "");
	weir_gpu_libraries(&w);
	CU_ASSERT_EQUAL(w.n, 3);
	weir_words_free(&w);
}

int
main(void)
{
	CU_pSuite s;
	unsigned failed;

	CU_initialize_registry();
	s = CU_add_suite("gpu", NULL, NULL);
	CU_ADD_TEST(s, a_host_without_gpus_has_none);
	CU_ADD_TEST(s, nvml_tells_everything);
	CU_ADD_TEST(s, an_nvml_that_fails_leaves_proc);
	CU_ADD_TEST(s, proc_tells_how_many_and_who);
	CU_ADD_TEST(s, device_files_are_enough);
	CU_ADD_TEST(s, amd_by_kfd);
	CU_ADD_TEST(s, a_card_without_a_driver_is_named);
	CU_ADD_TEST(s, what_the_batch_system_did_not_give_is_not_there);
	CU_ADD_TEST(s, cdi_names_are_read_from_yaml_and_json);
	CU_ADD_TEST(s, the_smallest_free_one_that_will_do);
	CU_ADD_TEST(s, a_refusal_names_what_is_missing_and_what_is_there);
	CU_ADD_TEST(s, vendors_are_not_mixed_and_unknown_figures_do_no_harm);
	CU_ADD_TEST(s, requests_are_parsed);
	CU_ADD_TEST(s, holders_are_known_by_their_job);
	CU_ADD_TEST(s, the_drivers_libraries_are_found);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	host_end();
	CU_cleanup_registry();
	return failed > 0;
}
