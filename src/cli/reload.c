/* SPDX-License-Identifier: Apache-2.0 */
/* weir reload: a living mount takes its configuration from its file again. Checked as 'weir mount' checks it, with what is new in it asked; then the mount
 * does it (newconf.h), and this waits for how it went. */
#include "config.h"

#include "cli.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define RELOAD_WAIT_MS 120000	/* the mount's own limit for a successor is longer; then it is for the log to tell */
#define RELOAD_LOOK_MS 50

struct reload_options {
	const char *conf;
	bool is_quiet;
};

static const struct weir_opt reload_opts[] = {
    WEIR_OPT_CONF(struct reload_options),
    {"quiet", 'q', WEIR_OPT_FLAG, offsetof(struct reload_options, is_quiet), NULL, "say nothing when all is well"},
};

static bool
reload_is_among(const json_t *names, const char *name)
{
	const json_t *n;
	size_t i;

	json_array_foreach (names, i, n) {
		if (strcmp(json_string_value(n), name) == 0)
			return true;
	}
	return false;
}

/* What waiting cannot heal refuses a remote that is new or differs; the others are as they were. */
static enum weir_code
reload_probe(const struct weir_target *t, const json_t *changed, struct weir_err *err)
{
	json_t *results, *result;
	unsigned refused = 0;
	size_t i;

	if (json_array_size(changed) == 0)
		return WEIR_OK;
	results = weir_probe(t->conf, json_array_size(changed) == 1 ? json_string_value(json_array_get(changed, 0)) : NULL, false, WEIR_PROBE_MS);
	json_array_foreach (results, i, result) {
		const char *name = json_string_value(json_object_get(result, "name"));
		bool is_fatal = weir_probe_refuses(result);

		if (!reload_is_among(changed, name) || strcmp(json_string_value(json_object_get(result, "code")), weir_code_name(WEIR_OK)) == 0)
			continue;
		refused += is_fatal;
		weir_say("%sremote '%s'%s: %s", is_fatal ? "" : "warning: ", name, is_fatal ? "" : " is offline", weir_probe_reason(result));
	}
	json_decref(results);
	return refused > 0 ? weir_err_set(err, WEIR_E_CONFIG, "the mount keeps the configuration it has") : WEIR_OK;
}

static enum weir_code
reload_await(const struct weir_target *t, json_int_t number, struct weir_err *err)
{
	int64_t end = weir_now_ms() + RELOAD_WAIT_MS;

	for (;; poll(NULL, 0, RELOAD_LOOK_MS)) {
		json_t *answer = NULL;
		enum weir_code r = weir_control_call(t->conf->cache_dir, json_pack("{s:s}", "verb", "reloaded"), NULL, NULL, &answer, NULL);
		bool is_over = r == WEIR_OK && json_is_true(json_object_get(answer, "is_done")) && json_integer_value(json_object_get(answer, "number")) >= number;
		const char *why = is_over ? json_string_value(json_object_get(answer, "why")) : NULL;

		r = WEIR_OK;
		if (why != NULL && why[0] != '\0')
			r = weir_err_set(err, WEIR_E_CONFIG, "%s; the mount keeps the configuration it had", why);
		json_decref(answer);
		if (is_over)
			return r;
		if (weir_now_ms() > end)
			return weir_err_set(err, WEIR_E_DOWN, "the mount has not come back with it after %d s; see its log", RELOAD_WAIT_MS / 1000);
	}
}

/* The file that the mount reads is the one it was mounted with. */
static enum weir_code
reload_check_path(const struct weir_target *t, const json_t *answer, struct weir_err *err)
{
	const char *path = json_string_value(json_object_get(answer, "path"));

	if (path == NULL || strcmp(path, t->conf->path) == 0)
		return WEIR_OK;
	return weir_err_set(err, WEIR_E_INVAL, "'%s' has its configuration from %s, not from %s", t->mountpoint != NULL ? t->mountpoint : t->conf->cache_dir, path,
	    t->conf->path);
}

static enum weir_code
reload_act(const struct weir_target *t, const struct reload_options *o, struct weir_err *err)
{
	json_t *answer = NULL, *warning;
	enum weir_code r = weir_target_call(t, json_pack("{s:s, s:b}", "verb", "reload", "dry", 1), NULL, NULL, &answer, err);
	size_t i;

	if (r == WEIR_E_NOENT && answer == NULL && t->mountpoint != NULL)
		r = weir_err_set(err, WEIR_E_CONFIG, "'%s' does not use the cache '%s': another 'cache_dir' needs a new mount (weir umount, weir mount)", t->mountpoint,
		    t->conf->cache_dir);
	if (r == WEIR_OK)
		r = reload_check_path(t, answer, err);
	if (r == WEIR_OK)
		r = reload_probe(t, json_object_get(answer, "changed"), err);
	json_decref(answer);
	answer = NULL;
	if (r == WEIR_OK)
		r = weir_target_call(t, json_pack("{s:s}", "verb", "reload"), NULL, NULL, &answer, err);
	if (r == WEIR_OK) {
		json_array_foreach (json_object_get(answer, "warnings"), i, warning)
			weir_say("warning: %s", json_string_value(warning));
		r = reload_await(t, json_integer_value(json_object_get(answer, "number")), err);
	}
	json_decref(answer);
	if (r == WEIR_OK && !o->is_quiet)
		printf("%s has its configuration from %s again\n", t->mountpoint != NULL ? t->mountpoint : "the mount", t->conf->path);
	return r;
}

static int
reload_run(const struct weir_verb *verb, int argc, char **argv)
{
	struct reload_options o = {0};
	struct weir_target t;
	struct weir_err err = {0};
	enum weir_code r;
	int status;

	if (!weir_target_begin(&t, verb, &o, &o.conf, argc, argv, &status))
		return status;
	r = reload_act(&t, &o, &err);
	if (r)
		status = r == WEIR_E_CONFIG ? (weir_say("%s", weir_err_text(&err, r)), WEIR_EXIT_CONFIG) : weir_target_failed(&t, r, &err);
	weir_target_free(&t);
	return status;
}

const struct weir_verb weir_verb_reload = {
    .name = "reload",
    .operands = "[MOUNTPOINT]",
    .summary = "read a mount's configuration again, without unmounting",
    .details = "What is open stays open. cache_dir, and what is at '/', need a new mount.",
    .opts = reload_opts,
    .nopts = WEIR_LEN(reload_opts),
    .max_operands = 1,
    .run = reload_run,
};
