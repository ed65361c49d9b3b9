/* SPDX-License-Identifier: Apache-2.0 */
/* A job's storage without a mount (--storage-mode stage): the named paths are copied into a folder beside the cache before the job, and what it changed is sent
 * after it. stage.h says what is compared; here it is called as `weir stage`, because the launcher may not have threads.
 *
 * The folder, CACHE/stage/JOB, stays until everything in it has been sent: `weir gc` tries again, `weir rm` does not take it away. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../src/conf/conf.h"
#include "launch.h"
#include "state.h"

#define STAGED_SEEN "/storage"	/* below the folder: what the job sees */

/* ---- which paths ---- */

/* "/a" from "/a:ro". */
static size_t
staged_length(const char *text)
{
	const char *colon = strrchr(text, ':');

	return colon != NULL && (strcmp(colon, ":ro") == 0 || strcmp(colon, ":out") == 0) ? (size_t)(colon - text) : strlen(text);
}

static bool
staged_holds(const char *text, const char *path)
{
	size_t len = staged_length(text);

	return strncmp(text, path, len) == 0 && (path[len] == '\0' || path[len] == '/' || len == 1);
}

/* What the mode needs and the user did not name. inside: as the job sees it, below /storage. */
void
weir_staged_add(struct weir_job *job, const char *inside, const char *suffix)
{
	const char *path = inside + strlen(WEIR_JOB_STORAGE_PATH);
	WEIR_AUTO(weir_freep) char *whole = weir_xasprintf("%s%s", path, suffix);

	for (size_t i = 0; i < job->staged.n; i++) {
		if (staged_holds(job->staged.v[i], path))
			return;
	}
	weir_words_add(&job->staged, whole);
}

enum weir_code
weir_staged_parse(struct weir_job *job, struct weir_err *err)
{
	const struct weir_job_options *o = job->o;

	if (o->storage_mode != NULL && strcmp(o->storage_mode, "mount") != 0 && strcmp(o->storage_mode, "stage") != 0)
		return weir_err_set(err, WEIR_E_INVAL, "--storage-mode '%s': wants mount or stage", o->storage_mode);
	job->is_staged = o->storage_mode != NULL ? o->storage_mode[0] == 's' : o->nstage > 0;
	if (!job->is_staged)
		return o->nstage == 0 ? WEIR_OK : weir_err_set(err, WEIR_E_INVAL, "--stage and --storage-mode mount exclude each other");
	if (!job->has_storage)
		return weir_err_set(err, WEIR_E_INVAL, "--storage-mode stage needs storage");
	if (o->storage != NULL)
		return weir_err_set(err, WEIR_E_INVAL, "--storage names what is mounted; with --storage-mode stage the paths are named by --stage");
	for (size_t i = 0; i < o->nstage; i++) {
		if (o->stage[i][0] != '/' || strstr(o->stage[i], "/../") != NULL)
			return weir_err_set(err, WEIR_E_INVAL, "--stage '%s': wants a path in the namespace, as /data, /data:ro or /results:out", o->stage[i]);
		weir_words_add(&job->staged, o->stage[i]);
	}
	return WEIR_OK;
}

enum weir_code
weir_staged_settle(struct weir_job *job, struct weir_err *err)
{
	if (job->is_staged && job->staged.n == 0)
		return weir_err_set(err, WEIR_E_INVAL, "--storage-mode stage: which paths? (--stage PATH, PATH:ro or PATH:out)");
	return WEIR_OK;
}

/* ---- in ---- */

void
weir_job_tell_staged_in(const struct weir_job *job, struct weir_buf *out)
{
	weir_buf_adds(out, "copy into a folder beside the cache: ");
	weir_words_quote(out, job->staged.v);
}

/* The note goes first: with it, what a half removed folder lacks would be taken for removed by the job. */
static int
staged_remove(const char *folder)
{
	WEIR_AUTO(weir_freep) char *note = weir_xasprintf("%s/stage.json", folder);

	if ((unlink(note) == 0 || errno == ENOENT || errno == ENOTDIR) && weir_remove_tree(folder) == 0)
		return 0;
	weir_job_say("'%s' cannot be removed: %s; nothing in it is needed any more", folder, strerror(errno));
	return -1;
}

int
weir_staged_in(struct weir_job *job)
{
	WEIR_AUTO(weir_freep) char *folder = weir_xasprintf("%s/stage/%s", job->o->conf->cache_dir, job->name);
	struct weir_words w = {0};
	int status;

	weir_state_set(job->state, "staged", json_string(folder));	/* also for what an earlier one left: weir gc finds it by this */
	if (access(folder, F_OK) == 0) {
		weir_job_say("what an earlier job '%s' changed was not sent, and is kept in '%s'; 'weir gc' sends it", job->name, folder);
		return WEIR_JOB_STORAGE;
	}
	weir_words_add(&w, "stage");
	weir_words_add(&w, "in");
	weir_words_add(&w, "-c");
	weir_words_add(&w, job->o->conf->path);
	weir_words_add(&w, "--to");
	weir_words_add(&w, folder);
	if (job->o->is_quiet)
		weir_words_add(&w, "--quiet");
	for (size_t i = 0; i < job->staged.n; i++)
		weir_words_add(&w, job->staged.v[i]);
	status = weir_child_weir_told(job, (const char *const *)w.v);
	weir_words_free(&w);
	if (status != 0) {
		if (access(folder, F_OK) == 0)
			staged_remove(folder);
		return WEIR_JOB_STORAGE;
	}
	job->source = weir_xasprintf("%s" STAGED_SEEN, folder);
	return 0;
}

/* ---- out ---- */

static int
staged_send(struct weir_job *job, const char *conf, const char *folder, bool is_quiet)
{
	const char *const args[] = {"stage", "out", "-c", conf, "--to", folder, is_quiet ? "--quiet" : NULL, NULL};

	return weir_child_weir_told(job, args);
}

void
weir_job_tell_staged_out(const struct weir_job *job, struct weir_buf *out)
{
	(void)job;
	weir_buf_adds(out, "send what the job changed there, wait until the storages have it, and remove the folder");
}

int
weir_staged_out(struct weir_job *job)
{
	const char *folder = weir_state_text(job->state, "staged");

	if (staged_send(job, job->o->conf->path, folder, job->o->is_quiet) == 0) {
		job->is_staged_sent = true;
		return 0;
	}
	job->is_unsent = true;
	weir_job_say("the job ended with status %d, but not all that it wrote could be sent; nothing is lost: it is kept in '%s', and 'weir gc' sends it", job->status, folder);
	return WEIR_JOB_UNSENT;
}

/* Of a job that never ran nothing is to be sent. */
void
weir_staged_release(struct weir_job *job)
{
	if (job->source != NULL && (job->is_staged_sent || !job->was_started))
		staged_remove(weir_state_text(job->state, "staged"));
	free(WEIR_STEAL(job->source));
}

/* ---- what is left of others ---- */

bool
weir_staged_is_left(const struct weir_state *s)
{
	const char *folder = weir_state_text(s, "staged");

	return folder != NULL && folder[0] == '/' && access(folder, F_OK) == 0;
}

int
weir_staged_sweep(const struct weir_state *s)
{
	const char *folder = weir_state_text(s, "staged"), *conf = weir_state_text(s, "conf");
	WEIR_AUTO(weir_freep) char *note = weir_xasprintf("%s/stage.json", folder);
	struct weir_job job = {0};

	/* Without its note it was never whole, so no job has seen it. */
	if (access(note, F_OK) == 0 && (conf == NULL || staged_send(&job, conf, folder, true) != 0)) {
		weir_job_say("job '%s': not all that it changed could be sent; it is kept in '%s'", s->name, folder);
		return 1;
	}
	return staged_remove(folder) == 0 ? 0 : 1;
}
