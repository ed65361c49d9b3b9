/* SPDX-License-Identifier: Apache-2.0 */
/* GPUs of this host, as far as the NVIDIA driver tells them in /proc/driver/nvidia/gpus. */
#include "config.h"

#include "gpu.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/util/util.h"

enum weir_code
weir_gpu_parse(const char *text, struct weir_gpu_request *out, struct weir_err *err)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (end == text || text[0] == '-' || n > 1024 || (*end != '\0' && (*end != ':' || end[1] == '\0')))
		return weir_err_set(err, WEIR_E_INVAL, "--gpus '%s': wants a number, as 1, or a number and a model, as 2:T4", text);
	out->count = (unsigned)n;
	free(out->model);
	out->model = *end == ':' ? weir_xstrdup(end + 1) : NULL;
	return WEIR_OK;
}

void
weir_gpus_find(struct weir_gpus *out)
{
	WEIR_AUTO(weir_freep) char *dir = weir_xasprintf("%s/proc/driver/nvidia/gpus", getenv("WEIR_GPU_ROOT") != NULL ? getenv("WEIR_GPU_ROOT") : "");
	DIR *d = opendir(dir);
	struct dirent *e;

	*out = (struct weir_gpus){0};
	while (d != NULL && (e = readdir(d)) != NULL) {
		WEIR_AUTO(weir_freep) char *path = weir_xasprintf("%s/%s/information", dir, e->d_name), *text = NULL;
		struct weir_gpu *g;
		const char *at;
		size_t len;

		if (e->d_name[0] == '.' || weir_read_file(path, 1u << 16, &text, &len) != 0)
			continue;
		out->v = weir_xrealloc(out->v, out->n + 1, sizeof(*out->v));
		g = &out->v[out->n++];
		*g = (struct weir_gpu){.vendor = WEIR_GPU_NVIDIA, .index = (unsigned)out->n - 1};
		if ((at = strstr(text, "Model:")) != NULL)
			sscanf(at, "Model: %127[^\n]", g->model);
		if ((at = strstr(text, "Device Minor:")) != NULL)
			sscanf(at, "Device Minor: %u", &g->index);
	}
	if (d != NULL)
		closedir(d);
}

void
weir_gpus_free(struct weir_gpus *g)
{
	for (size_t i = 0; i < g->n; i++) {
		weir_words_free(&g->v[i].nodes);
		free(g->v[i].holders);
	}
	free(g->v);
	free(g->cdi_spec);
	*g = (struct weir_gpus){0};
}

enum weir_code
weir_gpus_pick(const struct weir_gpus *g, const struct weir_gpu_request *want, unsigned *picked, struct weir_err *err)
{
	unsigned n = 0;

	for (size_t i = 0; i < g->n && n < want->count; i++) {
		if (want->model == NULL || strcasestr(g->v[i].model, want->model) != NULL)
			picked[n++] = (unsigned)i;
	}
	if (n == want->count)
		return WEIR_OK;
	return weir_err_set(err, WEIR_E_NOENT, "%u GPU%s%s%s wanted, and this host has %zu", want->count, want->count == 1 ? "" : "s", want->model != NULL ? " of model " : "",
	    want->model != NULL ? want->model : "", g->n);
}
