/* SPDX-License-Identifier: Apache-2.0 */
/* weir status: remotes, health, queue, cache, quota. */
#include "config.h"

#include "cli.h"

#include <stdio.h>
#include <string.h>

#include "../util/text.h"
#include "../util/util.h"

struct status_options {
	const char *conf;
	bool is_json;
};

static const struct weir_opt status_opts[] = {
    WEIR_OPT_CONF(struct status_options),
    WEIR_OPT_JSON(struct status_options),
};

static uint64_t
status_number(const json_t *o, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(o, key));

	return n > 0 ? (uint64_t)n : 0;
}

static const char *
status_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s != NULL ? s : "";
}

/* "at least 1.20 GB of 2.00 TB" */
static void
status_space(const json_t *o)
{
	uint64_t quota = status_number(o, "quota_bytes");
	char size[16];

	printf("%s%s used", json_is_true(json_object_get(o, "is_lower_bound")) ? "at least " : "", weir_size_text(status_number(o, "used_bytes"), size));
	if (quota > 0)
		printf(" of %s", weir_size_text(quota, size));
}

/* How changes made elsewhere are seen, and when the storage was heard about them. */
static void
status_watch(const json_t *r)
{
	const char *how = status_text(r, "watch");
	uint64_t at = status_number(r, "watched_ms"), now = (uint64_t)(weir_wall_ns() / 1000000);

	if (strcmp(how, "age") == 0)
		printf("    changes elsewhere: looked for when a listing has grown old\n");
	else if (how[0] != '\0') {
		printf("    changes elsewhere: %s", strcmp(how, "feed") == 0 ? "told by the storage" :
		    strcmp(how, "push") == 0 ? "told by the server as they happen, then looked for by folder versions" : "looked for by folder versions");
		if (at > 0)
			printf(", last answer %llu s ago", (unsigned long long)(now > at ? (now - at) / 1000 : 0));
		printf("\n");
	}
	if (status_text(r, "push_error")[0] != '\0')
		printf("    changes elsewhere are not told by the server: %s\n", status_text(r, "push_error"));
	if (status_text(r, "watch_error")[0] != '\0')
		printf("    changes elsewhere cannot be asked for: %s\n", status_text(r, "watch_error"));
}

static void
status_remote(const json_t *r)
{
	uint64_t unsent = status_number(r, "unsent_files"), failing = status_number(r, "failing_files");
	char amount[64], in[16], out[16], size[16];

	printf("  %s (%s): %s, ", status_text(r, "name"), status_text(r, "type"), status_text(r, "state"));
	status_space(r);
	if (json_is_integer(json_object_get(r, "server_free_bytes")))
		printf(", %s free on the server", weir_size_text(status_number(r, "server_free_bytes"), size));
	printf("\n    %s received, %s sent", weir_size_text(status_number(r, "bytes_in"), in), weir_size_text(status_number(r, "bytes_out"), out));
	if (unsent > 0)
		printf("; %s to send", weir_amount_text(unsent, status_number(r, "unsent_bytes"), amount));
	if (failing > 0)
		printf("; %llu cannot be sent", (unsigned long long)failing);
	printf("\n");
	status_watch(r);
	if (status_text(r, "error")[0] != '\0')
		printf("    %s\n", status_text(r, "error"));
}

/* Changes of remotes that this mount does not have; "problems" names them. */
static bool
status_keeps(const json_t *st)
{
	const json_t *p;
	size_t i;

	json_array_foreach (json_object_get(st, "problems"), i, p) {
		if (strcmp(status_text(p, "kind"), "aside") == 0)
			return true;
	}
	return false;
}

static void
status_print(const json_t *st)
{
	uint64_t max = status_number(st, "cache_max_bytes"), unsent = status_number(st, "unsent_files");
	char amount[64], size[16];
	const json_t *r;
	size_t i;

	printf("%s from %s\n  ", status_text(st, "mountpoint")[0] != '\0' ? status_text(st, "mountpoint") : "mounted elsewhere", status_text(st, "config"));
	status_space(st);
	printf("\n  cache: %s", weir_size_text(status_number(st, "cache_bytes"), size));
	if (max > 0)
		printf(" of %s", weir_size_text(max, size));
	printf(" in %s\n  ", status_text(st, "cache_dir"));
	if (unsent > 0)
		printf("to send: %s\n", weir_amount_text(unsent, status_number(st, "unsent_bytes"), amount));
	else
		printf("%s\n", status_keeps(st) ? "to these remotes everything is sent" : "everything is sent");
	printf("remotes:\n");
	json_array_foreach (json_object_get(st, "remotes"), i, r)
		status_remote(r);
	if (json_array_size(json_object_get(st, "problems")) > 0)
		printf("problems:\n");
	json_array_foreach (json_object_get(st, "problems"), i, r)
		printf("  %s: %s: %s\n", status_text(r, "kind"), status_text(r, "path"), status_text(r, "text"));
}

/* Two questions, one picture: the figures, and the sentences about what is wrong. */
static enum weir_code
status_ask(const struct weir_target *t, json_t **out, struct weir_err *err)
{
	json_t *st = NULL, *problems = NULL;
	enum weir_code r = weir_target_call(t, json_pack("{s:s}", "verb", "status"), NULL, NULL, &st, err);

	if (r == WEIR_OK)
		r = weir_target_call(t, json_pack("{s:s}", "verb", "problems"), NULL, NULL, &problems, err);
	if (r == WEIR_OK)
		json_object_set(st, "problems", json_object_get(problems, "problems"));
	json_decref(problems);
	if (r)
		json_decref(st);
	else
		*out = st;
	return r;
}

static int
status_run(const struct weir_verb *verb, int argc, char **argv)
{
	struct status_options o = {0};
	struct weir_target t;
	struct weir_err err = {0};
	json_t *st = NULL;
	enum weir_code r;
	int status, i = weir_opt_parse(verb, &o, argc, argv, &status);

	if (i < 0)
		return status;
	status = weir_target_find(&t, o.conf, argv[i]);
	if (status != WEIR_EXIT_OK)
		return status;
	r = status_ask(&t, &st, &err);
	if (r) {
		status = weir_target_failed(&t, r, &err);
	} else {
		json_object_set_new(st, "config", json_string(t.conf->path));
		json_object_set_new(st, "cache_dir", json_string(t.conf->cache_dir));
		json_object_set_new(st, "mountpoint", t.mountpoint != NULL ? json_string(t.mountpoint) : json_null());
		if (o.is_json)
			weir_print_answer(st, NULL, NULL);
		else
			status_print(st);
	}
	json_decref(st);
	weir_target_free(&t);
	return status;
}

const struct weir_verb weir_verb_status = {
    .name = "status",
    .operands = "[PATH]",
    .summary = "remotes and their health, what is still to send, cache and quota",
    .opts = status_opts,
    .nopts = WEIR_LEN(status_opts),
    .max_operands = 1,
    .run = status_run,
};
