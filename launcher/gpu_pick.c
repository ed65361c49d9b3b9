/* SPDX-License-Identifier: Apache-2.0 */
/* Which GPUs a job gets: what it asks for, against what is there and free. */
#include "config.h"

#include "gpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/util/text.h"
#include "../src/util/util.h"

#define PICK_TELL_MAX 360	/* of a sentence, for what is there */

/* ---- parse ---- */

enum weir_code
weir_gpu_parse(const char *text, struct weir_gpu_request *req, struct weir_err *err)
{
	size_t len = strcspn(text, ":");
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (strncmp(text, "all", len) == 0 && len == 3)
		n = WEIR_GPU_ALL;
	else if (len == 0 || end != text + len || text[0] < '0' || text[0] > '9' || n > 1024)
		return weir_err_set(err, WEIR_E_INVAL, "--gpus '%s': wants a number, as 1, 2:A100 or all", text);
	if (text[len] == ':' && text[len + 1] == '\0')
		return weir_err_set(err, WEIR_E_INVAL, "--gpus '%s': after ':' stands a part of the model's name, as 1:A100", text);
	req->count = (unsigned)n;
	free(req->model);
	req->model = text[len] == ':' ? weir_xstrdup(text + len + 1) : NULL;
	return WEIR_OK;
}

/* ---- what is there, for people ---- */

static bool
pick_is_same_kind(const struct weir_gpu *a, const struct weir_gpu *b)
{
	return strcmp(a->model, b->model) == 0 && a->memory_bytes == b->memory_bytes && a->compute_major == b->compute_major && a->compute_minor == b->compute_minor;
}

static void
pick_tell_kind(const struct weir_gpu *g, size_t count, struct weir_buf *out)
{
	char size[16];

	if (count > 1)
		weir_buf_addf(out, "%zu x ", count);
	weir_buf_adds(out, g->model[0] != '\0' ? g->model : g->vendor == WEIR_GPU_NVIDIA ? "an NVIDIA GPU" : "an AMD GPU");
	if (g->memory_bytes == 0 && g->compute_major == 0)
		return;
	weir_buf_adds(out, " (");
	if (g->memory_bytes > 0)
		weir_buf_adds(out, weir_size_text(g->memory_bytes, size));
	if (g->compute_major > 0 && g->vendor == WEIR_GPU_NVIDIA)
		weir_buf_addf(out, "%scompute capability %u.%u", g->memory_bytes > 0 ? ", " : "", g->compute_major, g->compute_minor);
	weir_buf_addc(out, ')');
}

/* Equal ones once, with their number. */
static void
pick_tell_all(const struct weir_gpus *gpus, struct weir_buf *out)
{
	for (size_t i = 0; i < gpus->n; i++) {
		size_t count = 0, first = i;

		for (size_t k = gpus->n; k-- > 0;) {
			if (pick_is_same_kind(&gpus->v[i], &gpus->v[k])) {
				count++;
				first = k;
			}
		}
		if (first < i)
			continue;
		if (out->len > 0)
			weir_buf_adds(out, ", ");
		pick_tell_kind(&gpus->v[i], count, out);
	}
}

static void
pick_tell_wish(const struct weir_gpu_request *req, struct weir_buf *out)
{
	char size[16];

	if (req->count == WEIR_GPU_ALL)
		weir_buf_adds(out, "all GPUs");
	else
		weir_buf_addf(out, "%u GPU%s", req->count, req->count == 1 ? "" : "s");
	if (req->model != NULL)
		weir_buf_addf(out, " of model '%s'", req->model);
	if (req->memory_bytes > 0)
		weir_buf_addf(out, " with %s", weir_size_text(req->memory_bytes, size));
	if (req->compute_major > 0 || req->compute_minor > 0)
		weir_buf_addf(out, "%s compute capability %u.%u", req->memory_bytes > 0 ? " and" : " with", req->compute_major, req->compute_minor);
}

static void
pick_tell_holder(const struct weir_gpu *g, struct weir_buf *out)
{
	WEIR_AUTO(weir_freep) char *path = weir_xasprintf("/proc/%d/comm", (int)g->holders[0]);
	WEIR_AUTO(weir_freep) char *comm = weir_gpu_read(path);
	char name[32] = "";

	if (comm != NULL)
		weir_gpu_text(name, sizeof(name), comm);
	weir_buf_addf(out, "GPU %u by process %d", g->index, (int)g->holders[0]);
	if (name[0] != '\0')
		weir_buf_addf(out, " (%s)", name);
	if (g->nholders > 1)
		weir_buf_addf(out, " and %zu more", g->nholders - 1);
}

/* ---- choose ---- */

static bool
pick_has_model(const char *model, const char *part)
{
	size_t len = strlen(part);

	for (; *model != '\0'; model++) {
		if (strncasecmp(model, part, len) == 0)
			return true;
	}
	return len == 0;
}

static bool
pick_suits(const struct weir_gpu *g, const struct weir_gpu_request *req)
{
	if (req->model != NULL && !pick_has_model(g->model, req->model))
		return false;
	if (g->memory_bytes > 0 && g->memory_bytes < req->memory_bytes)
		return false;
	if (g->vendor != WEIR_GPU_NVIDIA || g->compute_major == 0)
		return true;
	return g->compute_major > req->compute_major || (g->compute_major == req->compute_major && g->compute_minor >= req->compute_minor);
}

/* Smaller first, what is not known last. */
static bool
pick_is_before(const struct weir_gpu *a, const struct weir_gpu *b)
{
	uint64_t x = a->memory_bytes - 1, y = b->memory_bytes - 1;	/* 0 becomes the largest */

	if (x != y)
		return x < y;
	if (a->compute_major != b->compute_major)
		return a->compute_major < b->compute_major;
	if (a->compute_minor != b->compute_minor)
		return a->compute_minor < b->compute_minor;
	return a->index < b->index;
}

struct pick_count { size_t suit, idle; };

/* Those of one vendor that would do and are free, in the order of choice. */
static struct pick_count
pick_list(const struct weir_gpus *gpus, const struct weir_gpu_request *req, enum weir_gpu_vendor vendor, unsigned *list)
{
	struct pick_count c = {0};

	for (size_t i = 0; i < gpus->n; i++) {
		size_t at;

		if (gpus->v[i].vendor != vendor || !pick_suits(&gpus->v[i], req))
			continue;
		c.suit++;
		if (gpus->v[i].nholders > 0)
			continue;
		for (at = c.idle++; at > 0 && pick_is_before(&gpus->v[i], &gpus->v[list[at - 1]]); at--)
			list[at] = list[at - 1];
		list[at] = (unsigned)i;
	}
	return c;
}

static enum weir_code
pick_refuse_none(const struct weir_gpus *gpus, struct weir_err *err)
{
	if (gpus->undriven.n > 0)
		return weir_err_set(err, WEIR_E_NOENT, "no GPU can be used on this host: there is %s%s, but no driver shows it",
		    gpus->undriven.v[0], gpus->undriven.n > 1 ? " and more" : "");
	return weir_err_set(err, WEIR_E_NOENT, "this host has no GPU%s",
	    getenv("CUDA_VISIBLE_DEVICES") != NULL ? " that CUDA_VISIBLE_DEVICES allows" : "");
}

static enum weir_code
pick_refuse(const struct weir_gpus *gpus, const struct weir_gpu_request *req, const struct pick_count *most, struct weir_err *err)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf wish = WEIR_BUF(PICK_TELL_MAX), there = WEIR_BUF(PICK_TELL_MAX);
	bool is_ever = most->suit > 0 && (req->count == WEIR_GPU_ALL || most->suit >= req->count);
	size_t told = 0;

	pick_tell_wish(req, &wish);
	if (!is_ever) {
		pick_tell_all(gpus, &there);
		if (most->suit == 0)
			return weir_err_set(err, WEIR_E_NOENT, "the job wants %s; none here will do, there is %s", weir_buf_str(&wish), weir_buf_str(&there));
		return weir_err_set(err, WEIR_E_NOENT, "the job wants %s; only %zu here will do, there is %s", weir_buf_str(&wish), most->suit, weir_buf_str(&there));
	}
	for (size_t i = 0; i < gpus->n && told < 4; i++) {
		if (gpus->v[i].nholders == 0 || !pick_suits(&gpus->v[i], req))
			continue;
		weir_buf_adds(&there, told++ > 0 ? ", " : "");
		pick_tell_holder(&gpus->v[i], &there);
	}
	return weir_err_set(err, WEIR_E_BUSY, "the job wants %s; %zu of %zu such are free, used is %s", weir_buf_str(&wish), most->idle, most->suit, weir_buf_str(&there));
}

enum weir_code
weir_gpus_pick(const struct weir_gpus *gpus, struct weir_gpu_request *req, unsigned **picked, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) unsigned *list = weir_xcalloc(gpus->n + 1, sizeof(*list));
	struct pick_count most = {0};

	if (gpus->n == 0)
		return pick_refuse_none(gpus, err);
	for (enum weir_gpu_vendor vendor = WEIR_GPU_NVIDIA; vendor <= WEIR_GPU_AMD; vendor++) {
		struct pick_count c = pick_list(gpus, req, vendor, list);
		size_t wanted = req->count == WEIR_GPU_ALL ? c.suit : req->count;

		if (wanted > 0 && c.idle >= wanted) {
			req->count = (unsigned)wanted;
			*picked = WEIR_STEAL(list);
			return WEIR_OK;
		}
		if (c.suit > most.suit)
			most = c;
	}
	return pick_refuse(gpus, req, &most, err);
}
