/* SPDX-License-Identifier: Apache-2.0 */
/* What the modes share: from a module's name to its image, waiting for its API, predictions. */
#include "config.h"

#include "mode.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../src/conf/conf.h"
#include "../src/util/text.h"
#include "deepaas.h"
#include "state.h"

#define MODE_LOOK_MS 250
#define MODE_SAY_MS 10000
#define MODE_MB 1000000u

/* ---- module to image ---- */

static void
mode_progress(void *arg, size_t done, size_t total, const char *what)
{
	int64_t *said_ms = arg;

	if (weir_now_ms() - *said_ms < 2000)
		return;
	*said_ms = weir_now_ms();
	weir_job_say("catalogue: %zu of %zu, %s", done, total, what);
}

static enum weir_code
mode_catalogue(struct weir_job *job, bool is_training, struct weir_module_resources *out, struct weir_err *err)
{
	const char *const only[] = {job->o->module, NULL};
	int64_t said_ms = weir_now_ms();
	struct weir_catalogue_options options = {.url = job->o->catalogue, .conf = job->o->conf, .only = only, .progress = job->o->is_quiet ? NULL : mode_progress, .progress_arg = &said_ms};
	WEIR_AUTO(weir_catalogue_freep) struct weir_catalogue *catalogue = NULL;
	const struct weir_module *m = NULL;
	enum weir_code r = weir_catalogue_open(&catalogue, &options, err);

	if (r == WEIR_OK && (m = weir_catalogue_find(catalogue, job->o->module, err)) == NULL)
		r = WEIR_E_INVAL;
	if (r)
		return r == WEIR_E_NOENT ? WEIR_E_INVAL : r;	/* NOENT is an engine's */
	if (weir_catalogue_word(catalogue) != NULL)
		weir_job_say("%s", weir_catalogue_word(catalogue));
	if (m->is_invalid && m->problems.n > 0)
		weir_job_say("the metadata of module '%s' is not valid: %s", m->name, m->problems.v[0]);
	if (job->image == NULL && m->image == NULL)
		return weir_err_set(err, WEIR_E_INVAL, "module '%s' names no image; give one with --image", m->name);
	if (job->image == NULL)
		job->image = weir_xstrdup(m->image);
	*out = is_training && m->training.is_said ? m->training : m->inference;
	out->cpu_architecture = NULL;	/* the catalogue's, which goes away */
	return WEIR_OK;
}

enum weir_code
weir_mode_module(struct weir_job *job, bool is_training, struct weir_module_resources *out, struct weir_err *err)
{
	enum weir_code r = WEIR_OK;
	char *tagged;

	*out = (struct weir_module_resources){.cpu = -1, .gpu = -1, .memory_mb = -1, .gpu_memory_mb = -1, .storage_mb = -1, .gpu_compute_capability = -1};
	switch (job->o->module != NULL ? weir_module_word(job->o->module, err) : WEIR_WORD_IMAGE) {
	case WEIR_WORD_BAD:
		return WEIR_E_INVAL;
	case WEIR_WORD_IMAGE:
		if (job->image == NULL)
			job->image = weir_xstrdup(job->o->module);
		break;
	case WEIR_WORD_NAME:
		r = mode_catalogue(job, is_training, out, err);
	}
	if (r)
		return r;
	tagged = weir_image_tagged(job->image, job->gpu.count > 0 ? "gpu" : "latest");
	free(job->image);
	job->image = tagged;
	return WEIR_OK;
}

void
weir_mode_gpu(struct weir_job *job, const struct weir_module_resources *r)
{
	if (job->gpu.count == 0 && r->gpu > 0) {
		weir_job_say("module '%s' asks for %lld GPU%s and gets none: it may be slow, or fail (--gpus %lld)", job->o->module, (long long)r->gpu, r->gpu == 1 ? "" : "s", (long long)r->gpu);
		return;
	}
	if (r->gpu_memory_mb > 0)
		job->gpu.memory_bytes = (uint64_t)r->gpu_memory_mb * MODE_MB;
	if (r->gpu_compute_capability > 0) {
		job->gpu.compute_major = (unsigned)r->gpu_compute_capability;
		job->gpu.compute_minor = (unsigned)((r->gpu_compute_capability - job->gpu.compute_major) * 10 + 0.5);
	}
}

/* ---- ports ---- */

unsigned
weir_mode_port(const struct weir_job *job, const char *name)
{
	for (size_t i = 0; i < job->nports; i++) {
		if (strcmp(job->ports[i].name, name) == 0)
			return job->ports[i].outside;
	}
	return 0;
}

enum weir_code
weir_mode_settle(struct weir_job *job, struct weir_err *err)
{
	static const char *const names[][3] = {{"api", "PORT0", "DEEPAAS_PORT"}, {"monitor", "PORT1", "monitorPORT"}, {"ide", "PORT2", "jupyterPORT"}};
	char number[16];

	if ((job->engine->caps & WEIR_ENGINE_NETWORK) != 0)
		return WEIR_OK;
	for (size_t i = 0; i < WEIR_LEN(names); i++) {
		unsigned port = weir_mode_port(job, names[i][0]);

		snprintf(number, sizeof(number), "%u", port);
		for (size_t k = 1; k < 3 && port != 0; k++)
			weir_job_env(job, names[i][k], number);
	}
	if (job->command.n > 0 && strcmp(job->command.v[0], "deep-start") == 0)
		weir_words_add(&job->command, "--gpu");	/* it reads PORT0…2 only then (deep-start.sh) */
	return WEIR_OK;
}

/* ---- its API ---- */

int
weir_mode_wait_api(struct weir_job *job, struct weir_deepaas *d, char **model)
{
	int64_t begin = weir_now_ms(), said = begin;

	for (;;) {
		struct weir_err err = {0};
		enum weir_code r = weir_deepaas_look(d, model, &err);

		if (r == WEIR_OK)
			return WEIR_COMPANION_GO_ON;
		if (r == WEIR_E_PROTO) {
			weir_job_say("%s", weir_err_text(&err, r));
			return WEIR_JOB_API;
		}
		if (!job->o->is_quiet && weir_now_ms() - said >= MODE_SAY_MS) {
			said = weir_now_ms();
			weir_job_say("waiting for the API of '%s': %lld s (%s)", job->name, (long long)(said - begin) / 1000, weir_err_text(&err, r));
		}
		poll(NULL, 0, MODE_LOOK_MS);
	}
}

/* What an answer about this file is called, without an ending. */
static const char *
mode_answer_name(const char *file, int *len)
{
	const char *base = file != NULL ? strrchr(file, '/') != NULL ? strrchr(file, '/') + 1 : file : "prediction";
	const char *dot = strrchr(base, '.');

	*len = dot != NULL && dot != base ? (int)(dot - base) : (int)strlen(base);
	return base;
}

/* Files of one name in several folders are numbered from the second on: 1.json, 1-2.json. */
static char *
mode_answer_path(const char *folder, const char *const *files, size_t i, const char *type)
{
	int len, other_len;
	const char *base = mode_answer_name(files != NULL ? files[i] : NULL, &len);
	unsigned same = 1;
	char number[16] = "";

	for (size_t k = 0; k < i; k++) {
		const char *other = mode_answer_name(files[k], &other_len);

		same += other_len == len && strncmp(other, base, (size_t)len) == 0;
	}
	if (same > 1)
		snprintf(number, sizeof(number), "-%u", same);
	return weir_xasprintf("%s/%.*s%s%s", folder, len, base, number, weir_deepaas_ending(type));
}

static int
mode_show(const struct weir_deepaas_answer *a, const char *const *files, size_t i, const char *folder, bool is_json)
{
	struct weir_buf text = WEIR_BUF(64u << 20);
	WEIR_AUTO(weir_freep) char *path = folder != NULL ? mode_answer_path(folder, files, i, a->type) : NULL;
	const char *file = files != NULL ? files[i] : NULL;
	int status = 0;

	if (path != NULL && (weir_mkdirs(folder, 0777) != 0 || weir_write_file(path, weir_buf_str(&a->body), a->body.len) != 0)) {
		weir_job_say("'%s': %s", path, strerror(errno));
		status = WEIR_JOB_API;
	} else if (path != NULL && chmod(path, 0644) != 0)
		weir_job_say("'%s': %s", path, strerror(errno));
	if (file != NULL && !is_json && a->predictions != NULL)
		printf("%s\n", file);
	if (a->predictions != NULL && is_json)
		fwrite(weir_buf_str(&a->body), 1, a->body.len, stdout);
	else if (a->predictions != NULL) {
		weir_deepaas_text(a->predictions, &text);
		fputs(weir_buf_str(&text), stdout);
	} else if (path == NULL)
		fwrite(weir_buf_str(&a->body), 1, a->body.len, stdout);	/* an image: to be sent on, as with curl */
	if (path != NULL && status == 0)
		printf("%s%s\n", a->predictions != NULL ? "kept in " : "", path);
	fflush(stdout);
	weir_buf_free(&text);
	return status;
}

int
weir_mode_predict(struct weir_deepaas *d, const char *model, const char *const *files, size_t nfiles, const char *const *args, size_t nargs, const char *output, bool is_json)
{
	int status = 0;

	for (size_t i = 0; i < nfiles || (i == 0 && nfiles == 0); i++) {
		struct weir_deepaas_answer answer = {0};
		struct weir_err err = {0};
		const char *file = nfiles > 0 ? files[i] : NULL;
		enum weir_code r = weir_deepaas_predict(d, model, file, args, nargs, &answer, &err);

		if (r) {
			weir_job_say("%s%s%s", file != NULL ? file : "", file != NULL ? ": " : "", weir_err_text(&err, r));
			status = WEIR_JOB_API;
		} else if (mode_show(&answer, nfiles > 0 ? files : NULL, i, output, is_json) != 0)
			status = WEIR_JOB_API;
		weir_deepaas_answer_free(&answer);
	}
	return status;
}

/* ---- words ---- */

#define MODE_TAIL 2000

void
weir_mode_show_log(const struct weir_job *job)
{
	WEIR_AUTO(weir_freep) char *path = job->state != NULL ? weir_state_file(job->state, "log") : NULL;
	WEIR_AUTO(weir_closep) int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	char text[MODE_TAIL + 1];
	struct stat st;
	ssize_t n;
	const char *at = text;

	if (fd < 0 || fstat(fd, &st) != 0 || st.st_size == 0)
		return;
	n = weir_pread_full(fd, text, MODE_TAIL, st.st_size > MODE_TAIL ? st.st_size - MODE_TAIL : 0);
	if (n <= 0)
		return;
	text[n] = '\0';
	if (st.st_size > MODE_TAIL && strchr(text, '\n') != NULL)
		at = strchr(text, '\n') + 1;
	fprintf(stderr, "%s%s", at, text[n - 1] == '\n' ? "" : "\n");
}

bool
weir_mode_look_monitor(struct weir_job *job)
{
	WEIR_AUTO(weir_freep) char *url = weir_xasprintf("http://127.0.0.1:%u", weir_mode_port(job, "monitor"));
	struct weir_deepaas *d;
	struct weir_err err = {0};
	bool answers;

	if (weir_mode_port(job, "monitor") == 0 || weir_deepaas_open(url, &d, &err) != WEIR_OK)
		return true;
	answers = weir_deepaas_ping(d, "/", &err) == WEIR_OK;
	weir_deepaas_free(d);
	if (answers) {
		weir_job_say("monitoring (TensorBoard): %s/", url);
		weir_state_set(job->state, "monitor_url", json_string(url));
	}
	return answers;
}

_Noreturn void
weir_mode_watch_monitor(struct weir_job *job)
{
	while (!weir_mode_look_monitor(job))
		poll(NULL, 0, 2000);
	_exit(WEIR_COMPANION_GO_ON);
}
