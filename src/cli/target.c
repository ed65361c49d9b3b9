/* SPDX-License-Identifier: Apache-2.0 */
/* Which configuration, which mount, which path in it: the question every verb begins with. */
#include "config.h"

#include "cli.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "../../backends/backend.h"
#include "../control/mounts.h"

#define TARGET_REPLACE_MS 5000

struct weir_conf *
weir_cli_conf(const char *path)
{
	struct weir_conf *conf = NULL;
	struct weir_err err = {0};
	size_t n;
	const struct weir_conf_type *types = weir_backend_types(&n);
	enum weir_code r = weir_conf_load(path, types, n, &conf, &err);

	if (r) {
		weir_say("%s", weir_err_text(&err, r));
		return NULL;
	}
	return conf;
}

bool
weir_target_begin(struct weir_target *t, const struct weir_verb *verb, void *into, const char *const *conf, int argc, char **argv, int *status)
{
	int first = weir_opt_parse(verb, into, argc, argv, status);

	if (first < 0)
		return false;
	*status = weir_target_find(t, *conf, argv[first]);
	return *status == WEIR_EXIT_OK;
}

void
weir_target_free(struct weir_target *t)
{
	weir_conf_free(t->conf);
	free(t->mountpoint);
	free(t->path);
	*t = (struct weir_target){0};
}

/* By text first, which a stuck mount cannot hang; through symbolic links only when that finds nothing. */
static const struct weir_mount *
target_mount_at(const struct weir_mounts *mounts, const char *path, char **inside)
{
	WEIR_AUTO(weir_freep) char *absolute = weir_path_absolute(path);
	WEIR_AUTO(weir_freep) char *real = NULL;
	const struct weir_mount *m = absolute != NULL ? weir_mounts_at(mounts, absolute, inside) : NULL;

	if (m != NULL)
		return m;
	real = realpath(path, NULL);
	return real != NULL ? weir_mounts_at(mounts, real, inside) : NULL;
}

static int
target_by_path(struct weir_target *t, const struct weir_mounts *mounts, const char *conf_path, const char *path)
{
	const struct weir_mount *m = target_mount_at(mounts, path, &t->path);

	if (m == NULL && conf_path == NULL) {
		weir_say("'%s' is not in a weir mount", path);
		return WEIR_EXIT_NOMOUNT;
	}
	t->conf = weir_cli_conf(m != NULL ? m->source : conf_path);
	if (t->conf == NULL)
		return WEIR_EXIT_CONFIG;
	if (m != NULL)
		t->mountpoint = weir_xstrdup(m->mountpoint);
	else
		t->path = weir_xstrdup(path);	/* a path in the namespace */
	return WEIR_EXIT_OK;
}

static int
target_several(const struct weir_mounts *mounts)
{
	weir_say("several weir mounts are here, name one of them:");
	for (size_t i = 0; i < mounts->n; i++) {
		if (mounts->v[i].is_weir)
			weir_say("  %s from %s", mounts->v[i].mountpoint, mounts->v[i].source);
	}
	return WEIR_EXIT_USAGE;
}

/* Nothing was named: the only mount there is, else the one of the default configuration. */
static int
target_default(struct weir_target *t, const struct weir_mounts *mounts)
{
	const struct weir_mount *only = NULL, *m;
	bool is_only = true;

	for (size_t i = 0; i < mounts->n; i++) {
		if (!mounts->v[i].is_weir)
			continue;
		if (only != NULL && strcmp(only->source, mounts->v[i].source) != 0)
			is_only = false;
		only = only != NULL ? only : &mounts->v[i];
	}
	if (only == NULL || is_only) {
		t->conf = weir_cli_conf(only != NULL ? only->source : NULL);
		if (t->conf == NULL)
			return WEIR_EXIT_CONFIG;
		m = only;
	} else {
		size_t n;
		const struct weir_conf_type *types = weir_backend_types(&n);

		if (weir_conf_load(NULL, types, n, &t->conf, NULL) != WEIR_OK || (m = weir_mounts_of(mounts, t->conf->path)) == NULL)
			return target_several(mounts);
	}
	t->mountpoint = m != NULL ? weir_xstrdup(m->mountpoint) : NULL;
	t->path = weir_xstrdup("/");
	return WEIR_EXIT_OK;
}

static int
target_by_conf(struct weir_target *t, const struct weir_mounts *mounts, const char *conf_path)
{
	const struct weir_mount *m;

	t->conf = weir_cli_conf(conf_path);
	if (t->conf == NULL)
		return WEIR_EXIT_CONFIG;
	m = weir_mounts_of(mounts, t->conf->path);
	t->mountpoint = m != NULL ? weir_xstrdup(m->mountpoint) : NULL;
	t->path = weir_xstrdup("/");
	return WEIR_EXIT_OK;
}

int
weir_target_find(struct weir_target *t, const char *conf_path, const char *path)
{
	struct weir_mounts mounts;
	struct weir_err err = {0};
	enum weir_code r = weir_mounts_read(&mounts, &err);
	int status;

	*t = (struct weir_target){0};
	if (r) {
		weir_say("%s", weir_err_text(&err, r));
		return WEIR_EXIT_FAILED;
	}
	if (path != NULL)
		status = target_by_path(t, &mounts, conf_path, path);
	else if (conf_path != NULL)
		status = target_by_conf(t, &mounts, conf_path);
	else
		status = target_default(t, &mounts);
	weir_mounts_free(&mounts);
	if (status != WEIR_EXIT_OK)
		weir_target_free(t);
	return status;
}

enum weir_code
weir_target_call(const struct weir_target *t, json_t *request, void (*line)(void *, json_t *), void *arg, json_t **out, struct weir_err *err)
{
	int64_t end = weir_now_ms() + TARGET_REPLACE_MS;
	json_t *answer = NULL;
	enum weir_code r;

	/* A mount that is there but not served has just lost its worker; the next one takes a moment. (NOENT with an answer is the
	 * mount's own: no such path.) */
	while ((r = weir_control_call(t->conf->cache_dir, json_incref(request), line, arg, &answer, err)) == WEIR_E_NOENT && answer == NULL &&
	       t->mountpoint != NULL && weir_now_ms() < end)
		poll(NULL, 0, 50);
	json_decref(request);
	if (out != NULL)
		*out = answer;
	else
		json_decref(answer);
	return r;
}

void
weir_target_say_aside(const struct weir_target *t)
{
	json_t *answer = NULL, *problem;
	size_t i;

	if (weir_target_call(t, json_pack("{s:s}", "verb", "problems"), NULL, NULL, &answer, NULL) != WEIR_OK)
		return;
	json_array_foreach (json_object_get(answer, "problems"), i, problem) {
		const char *kind = json_string_value(json_object_get(problem, "kind"));

		if (kind != NULL && strcmp(kind, "aside") == 0)
			weir_say("%s: %s", json_string_value(json_object_get(problem, "path")), json_string_value(json_object_get(problem, "text")));
	}
	json_decref(answer);
}

int
weir_target_failed(const struct weir_target *t, enum weir_code r, const struct weir_err *err)
{
	weir_say("%s", weir_err_text(err, r));
	return r == WEIR_E_NOENT && t->mountpoint == NULL ? WEIR_EXIT_NOMOUNT : WEIR_EXIT_FAILED;
}

void
weir_print_answer(json_t *answer, const char *key, const char *value)
{
	json_object_del(answer, "done");
	json_object_del(answer, "code");
	json_object_del(answer, "error");
	if (key != NULL)
		json_object_set_new(answer, key, json_string(value));
	weir_print_json(answer);
}
