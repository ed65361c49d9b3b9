/* SPDX-License-Identifier: Apache-2.0 */
/* weir access: what one may do here, and the way to more. weir-access(1). */
#include "config.h"

#include "cli.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../../backends/backend.h"
#include "../../launcher/access/access.h"
#include "../util/text.h"

struct access_options {
	const char *conf, *why, *level, *until, *reason;
	bool is_json;
};
#define ACCESS_AT(field) offsetof(struct access_options, field)

static const struct weir_opt access_opts[] = {
    WEIR_OPT_CONF(struct access_options),
    {"why", 0, WEIR_OPT_TEXT, ACCESS_AT(why), "TEXT", "request: what it is needed for"},
    {"level", 0, WEIR_OPT_TEXT, ACCESS_AT(level), "LEVEL", "request: which one (default: the one above yours)"},
    {"until", 0, WEIR_OPT_TEXT, ACCESS_AT(until), "DATE", "grant: its end, as 2026-12-31 or 30d"},
    {"reason", 0, WEIR_OPT_TEXT, ACCESS_AT(reason), "TEXT", "grant, revoke: why, for the log"},
    WEIR_OPT_JSON(struct access_options),
};

/* ---- show ---- */

static const char *
access_text(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

/* What others wrote may hold anything; a terminal gets one line of it. */
static void
access_put_words(const char *text)
{
	for (; text != NULL && *text != '\0'; text++)
		putchar((unsigned char)*text < 0x20 || *text == 0x7f ? ' ' : *text);
}

static void
access_put_list(const char *head, const json_t *list)
{
	const json_t *word;
	size_t i;

	printf("%s", head);
	json_array_foreach (list, i, word)
		printf("%s%s", i > 0 ? ", " : "", json_string_value(word));
	printf("%s\n", json_array_size(list) == 0 ? "none" : "");
}

static void
access_put_held(const json_t *held)
{
	const json_t *h;
	size_t i;

	json_array_foreach (held, i, h) {
		const char *project = access_text(h, "project"), *until = access_text(h, "until");

		printf("  %s: ", access_text(h, "level"));
		access_put_words(access_text(h, "how"));
		if (project != NULL)
			printf(" (project %s)", project);
		if (until != NULL)
			printf(", until %s", until);
		putchar('\n');
	}
}

static void
access_put_policy(const json_t *policy)
{
	const char *file = access_text(policy, "file");
	const json_t *level;
	size_t i;

	if (!json_is_object(policy)) {
		printf("policy: none, nothing is refused\n");
		return;
	}
	printf("policy: %s%s\n", file != NULL ? file : "none", json_is_true(json_object_get(policy, "roots")) ? "" :
	    " (not root's alone: advice, no more)");
	json_array_foreach (json_object_get(policy, "levels"), i, level) {
		printf("  %s: ", access_text(level, "level"));
		access_put_list("", json_object_get(level, "rights"));
	}
}

/* With whose it is, when they are of many. */
static void
access_put_asked(const json_t *asked, bool has_names)
{
	const json_t *a;
	size_t i;

	json_array_foreach (asked, i, a) {
		const char *level = access_text(a, "level"), *at = access_text(a, "at");

		printf("%s%s: %s, on %s: ", has_names ? "asked by " : "asked", has_names ? access_text(a, "user") : "", level != NULL ? level : "?",
		    at != NULL ? at : "?");
		access_put_words(access_text(a, "why"));
		putchar('\n');
	}
}

static void
access_put(const json_t *o)
{
	const char *level = access_text(o, "level"), *subject = access_text(o, "subject");
	bool is_root = json_integer_value(json_object_get(o, "uid")) == 0;
	const json_t *note;
	size_t i;

	printf("user: %s (uid %lld)%s%s\n", access_text(o, "user"), (long long)json_integer_value(json_object_get(o, "uid")),
	    subject != NULL ? ", token of " : "", subject != NULL ? subject : "");
	printf("level: %s\n", level != NULL ? level : is_root ? "none; root is refused nothing" : "none");
	access_put_held(json_object_get(o, "held"));
	access_put_list("rights: ", json_object_get(o, "rights"));
	json_array_foreach (json_object_get(o, "notes"), i, note) {
		printf("note: ");
		access_put_words(json_string_value(note));
		putchar('\n');
	}
	if (json_object_get(o, "pending") != NULL)
		access_put_asked(json_object_get(o, "pending"), true);
	else
		access_put_asked(json_object_get(o, "asked"), false);
	access_put_policy(json_object_get(o, "policy"));
}

static enum weir_code
access_show(struct weir_access *a, const struct access_options *o, char **operands, struct weir_err *err)
{
	json_t *who = NULL;
	enum weir_code r = weir_access_show(a, operands[0], &who, err);

	if (r != WEIR_OK)
		return r;
	if (o->is_json)
		weir_print_json(who);
	else
		access_put(who);
	json_decref(who);
	return WEIR_OK;
}

/* ---- the others ---- */

static enum weir_code
access_request(struct weir_access *a, const struct access_options *o, char **operands, struct weir_err *err)
{
	enum weir_code r = weir_access_request(a, o->level, o->why, err);

	if (r == WEIR_OK)
		printf("the request is recorded; 'weir access show' tells when it was granted\n");
	return r;
}

static enum weir_code
access_grant(struct weir_access *a, const struct access_options *o, char **operands, struct weir_err *err)
{
	enum weir_code r = weir_access_grant(a, operands[0], operands[1], o->until, o->reason, err);

	if (r == WEIR_OK)
		printf("%s has the level %s from now on\n", operands[0], operands[1]);
	return r;
}

/* Levels by membership stay: to be said, because the word suggests otherwise. */
static enum weir_code
access_revoke(struct weir_access *a, const struct access_options *o, char **operands, struct weir_err *err)
{
	enum weir_code r = weir_access_revoke(a, operands[0], o->reason, err);
	json_t *who = NULL;

	if (r != WEIR_OK)
		return r;
	printf("all grants of %s have ended\n", operands[0]);
	if (strncmp(operands[0], "sub:", 4) != 0 && weir_access_show(a, operands[0], &who, NULL) == WEIR_OK && access_text(who, "level") != NULL)
		printf("by membership %s still has the level %s\n", operands[0], access_text(who, "level"));
	json_decref(who);
	return WEIR_OK;
}

static const struct access_act {
	const char *name, *operands;
	int min, max;
	enum weir_code (*run)(struct weir_access *, const struct access_options *, char **operands, struct weir_err *);
} access_acts[] = {
    {"show", "[USER]", 0, 1, access_show},
    {"request", "--why TEXT [--level LEVEL]", 0, 0, access_request},
    {"grant", "USER LEVEL --until DATE --reason TEXT", 2, 2, access_grant},
    {"revoke", "USER [--reason TEXT]", 1, 1, access_revoke},
};

static const struct access_act *
access_find(const char *name)
{
	for (size_t i = 0; i < WEIR_LEN(access_acts); i++) {
		if (strcmp(access_acts[i].name, name) == 0)
			return &access_acts[i];
	}
	return NULL;
}

/* The system's policy counts without any configuration of the user's own. One that was named must be there. */
static int
access_conf(const char *path, struct weir_conf **out)
{
	struct weir_err err = {0};
	size_t n;
	const struct weir_conf_type *types = weir_backend_types(&n);
	enum weir_code r = weir_conf_load(path, types, n, out, &err);

	if (r == WEIR_OK || (r == WEIR_E_NOENT && path == NULL))
		return WEIR_EXIT_OK;
	weir_say("%s", weir_err_text(&err, r));
	return WEIR_EXIT_CONFIG;
}

static int
access_act(const struct access_act *act, const struct weir_conf *conf, const struct access_options *o, char **operands)
{
	WEIR_AUTO(weir_access_closep) struct weir_access *a = NULL;
	struct weir_err err = {0};
	enum weir_code r = weir_access_open(conf, &a, &err);

	if (r == WEIR_OK)
		r = act->run(a, o, operands, &err);
	if (r == WEIR_OK)
		return WEIR_EXIT_OK;
	weir_say("access %s: %s", act->name, weir_err_text(&err, r));
	return r == WEIR_E_CONFIG ? WEIR_EXIT_CONFIG : r == WEIR_E_INVAL ? WEIR_EXIT_USAGE : WEIR_EXIT_FAILED;
}

static int
access_run(const struct weir_verb *verb, int argc, char **argv)
{
	struct access_options o = {0};
	struct weir_conf *conf = NULL;
	const struct access_act *act;
	int status, first = weir_opt_parse(verb, &o, argc, argv, &status), n;

	if (first < 0)
		return status;
	act = access_find(argv[first]);
	n = argc - first - 1;
	if (act == NULL || n < act->min || n > act->max) {
		weir_say("access%s%s: wants %s%s%s; see 'weir access --help'", act != NULL ? " " : "", act != NULL ? act->name : "",
		    act != NULL ? act->operands : verb->operands, act == NULL ? ", not " : "", act == NULL ? argv[first] : "");
		return WEIR_EXIT_USAGE;
	}
	status = access_conf(o.conf, &conf);
	if (status == WEIR_EXIT_OK)
		status = access_act(act, conf, &o, argv + first + 1);
	weir_conf_free(conf);
	return status;
}

const struct weir_verb weir_verb_access = {
    .name = "access",
    .operands = "show|request|grant|revoke …",
    .summary = "what you may do here, and the way to more",
    .details = "  show [USER]                               level, rights, and where they come from\n"
	       "  request --why TEXT [--level LEVEL]        ask for a higher level\n"
	       "  grant USER LEVEL --until DATE --reason TEXT\n"
	       "  revoke USER [--reason TEXT]               end all grants of a user",
    .opts = access_opts,
    .nopts = WEIR_LEN(access_opts),
    .min_operands = 1,
    .max_operands = 3,
    .run = access_run,
};
