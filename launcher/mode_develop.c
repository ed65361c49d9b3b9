/* SPDX-License-Identifier: Apache-2.0 */
/* weir develop: an IDE, or a shell, in a module's container with the storage writable at /storage. An IDE runs detached: it survives the terminal. */
#include "config.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../src/util/text.h"
#include "deepaas.h"
#include "idle.h"
#include "mode.h"
#include "state.h"

#define DEVELOP_IMAGE "ai4oshub/ai4os-dev-env"	/* of the platform, for those who bring no module */
#define DEVELOP_PASSWORD 16			/* the platform wants 9 at least */
#define DEVELOP_SAY_MS 10000

static const struct { const char *name, *option; } develop_ides[] = {{"jupyter", "--jupyter"}, {"vscode", "--vscode"}, {"shell", NULL}};

static int
develop_ide(const struct weir_job *job)
{
	const char *ide = job->o->ide != NULL ? job->o->ide : "jupyter";

	for (size_t i = 0; i < WEIR_LEN(develop_ides); i++) {
		if (strcmp(develop_ides[i].name, ide) == 0)
			return (int)i;
	}
	return -1;
}

/* deep-start's names for it, old and new (deep-start.sh). */
static void
develop_password(struct weir_job *job)
{
	static const char *const names[] = {"jupyterPASSWORD", "idePASSWORD", "PASSWORD"};
	char *password = weir_xcalloc(1, DEVELOP_PASSWORD + 1);

	weir_random_hex(password, DEVELOP_PASSWORD);
	for (size_t i = 0; i < WEIR_LEN(names); i++) {
		weir_job_env(job, names[i], password);
		weir_words_add(&job->hidden, names[i]);
	}
	job->mode_data = password;
}

static enum weir_code
develop_prepare(struct weir_job *job, struct weir_err *err)
{
	struct weir_module_resources res;
	int ide = develop_ide(job);
	int64_t idle_ms;
	enum weir_code r;

	if (ide < 0)
		return weir_err_set(err, WEIR_E_INVAL, "--ide '%s': there are jupyter, vscode and shell", job->o->ide);
	if (job->o->idle != NULL && (weir_duration_parse(job->o->idle, &idle_ms) != 0 || idle_ms < 1000))
		return weir_err_set(err, WEIR_E_INVAL, "--idle '%s': wants a time, as 30min or 2h", job->o->idle);
	if (job->o->module == NULL && job->image == NULL)
		job->image = weir_xstrdup(DEVELOP_IMAGE);
	r = weir_mode_module(job, true, &res, err);
	if (r)
		return r;
	weir_mode_gpu(job, &res);
	weir_job_port(job, "api", WEIR_PORT_API, 0);
	weir_job_port(job, "monitor", WEIR_PORT_MONITOR, 0);
	if (develop_ides[ide].option == NULL) {
		if (job->command.n == 0) {
			weir_words_add(&job->command, "sh");
			weir_words_add(&job->command, "-c");
			weir_words_add(&job->command, "command -v bash > /dev/null && exec bash; exec sh");
		}
		return WEIR_OK;
	}
	weir_job_port(job, "ide", WEIR_PORT_IDE, 0);
	weir_job_env(job, "jupyterPORT", "8888");
	weir_job_env(job, "IDE_PORT", "8888");
	develop_password(job);
	job->is_detached = true;
	if (job->command.n == 0) {
		weir_words_add(&job->command, "deep-start");
		weir_words_add(&job->command, develop_ides[ide].option);
	}
	return WEIR_OK;
}

/* Until the IDE answers; then the addresses. */
static void
develop_wait(struct weir_job *job)
{
	WEIR_AUTO(weir_freep) char *url = weir_xasprintf("http://127.0.0.1:%u", weir_mode_port(job, "ide"));
	int64_t begin = weir_now_ms(), said = begin;
	struct weir_deepaas *d;
	struct weir_err err = {0};

	if (weir_deepaas_open(url, &d, &err) != WEIR_OK)
		return;
	while (weir_deepaas_ping(d, "/", &err) != WEIR_OK) {
		poll(NULL, 0, 250);
		if (weir_now_ms() - said >= DEVELOP_SAY_MS && !job->o->is_quiet) {
			said = weir_now_ms();
			weir_job_say("waiting for the IDE: %lld s ('weir logs %s')", (long long)(said - begin) / 1000, job->name);
		}
	}
	weir_deepaas_free(d);
	weir_job_say_privately(job, "IDE: %s/  password: %s", url, (const char *)job->mode_data);
	weir_job_say("end it with: weir stop %s", job->name);
	weir_job_ready(job);
}

static int
develop_companion(struct weir_job *job)
{
	int64_t idle_ms;

	if (weir_mode_port(job, "ide") != 0)
		develop_wait(job);
	else
		weir_job_ready_when_running(job);
	if (job->o->idle == NULL || weir_duration_parse(job->o->idle, &idle_ms) != 0)
		weir_mode_watch_monitor(job);
	weir_idle_wait(job, idle_ms);
	weir_job_say("nobody used it for %s: it ends", job->o->idle);
	return WEIR_COMPANION_DONE;
}

const struct weir_mode weir_mode_develop = {
    .name = "develop",
    .right = WEIR_RIGHT_DEVELOP,
    .wants_storage = true,
    .keeps_state = true,
    .prepare = develop_prepare,
    .settle = weir_mode_settle,
    .companion = develop_companion,
};
