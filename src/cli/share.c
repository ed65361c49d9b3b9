/* SPDX-License-Identifier: Apache-2.0 */
/* weir share, weir unshare: a folder of a mount over WebDAV (src/dav), for programs in a container that call rclone. */
#include "config.h"

#include "cli.h"

#include <stdio.h>
#include <string.h>

#include "../../backends/rclone_ini.h"
#include "../control/mounts.h"

#define SHARE_REMOTE "RCLONE_CONFIG_RSHARE_"	/* the name that modules of the platform call */

struct share_options {
	const char *conf, *listen, *lease;
	bool is_readonly, is_json, is_list, is_freebind;
};

static const struct weir_opt share_opts[] = {
    WEIR_OPT_CONF(struct share_options),
    {"readonly", 'r', WEIR_OPT_FLAG, offsetof(struct share_options, is_readonly), NULL, "nothing can be changed through it"},
    {"listen", 'l', WEIR_OPT_TEXT, offsetof(struct share_options, listen), "ADDRESS[:PORT]", "address of this host to listen on (default: 127.0.0.1, a free port)"},
    {"freebind", 0, WEIR_OPT_FLAG, offsetof(struct share_options, is_freebind), NULL, "the address may be one that this host gets later"},
    {"lease", 0, WEIR_OPT_TEXT, offsetof(struct share_options, lease), "FILE", "it ends when nobody holds a flock(2) on FILE any more"},
    {"list", 0, WEIR_OPT_FLAG, offsetof(struct share_options, is_list), NULL, "list the shares there are, without their tokens"},
    WEIR_OPT_JSON(struct share_options),
};

static const char *
share_text(const json_t *answer, const char *key)
{
	const char *s = json_string_value(json_object_get(answer, key));

	return s != NULL ? s : "";
}

static int
share_list(const struct weir_target *t, const struct share_options *o)
{
	struct weir_err err = {0};
	json_t *answer = NULL, *share;
	enum weir_code r = weir_target_call(t, json_pack("{s:s}", "verb", "shares"), NULL, NULL, &answer, &err);
	size_t i;

	if (r == WEIR_OK && o->is_json)
		weir_print_answer(answer, NULL, NULL);
	else if (r == WEIR_OK) {
		json_array_foreach (json_object_get(answer, "shares"), i, share)
			printf("%s  %s  %s%s\n", share_text(share, "id"), share_text(share, "address"), share_text(share, "path"),
			    json_is_true(json_object_get(share, "readonly")) ? "  read-only" : "");
	}
	json_decref(answer);
	return r == WEIR_OK ? WEIR_EXIT_OK : weir_target_failed(t, r, &err);
}

/* The variables as one JSON object, or one a line, as podman's --env-file and a shell's `set -a` take them: no value has a blank or a quote in it. */
static void
share_print(json_t *answer, const char *obscured, bool is_json)
{
	const struct { const char *key, *value; } env[] = {
	    {SHARE_REMOTE "TYPE", "webdav"}, {SHARE_REMOTE "URL", share_text(answer, "url")}, {SHARE_REMOTE "VENDOR", "nextcloud"},
	    {SHARE_REMOTE "USER", share_text(answer, "user")}, {SHARE_REMOTE "PASS", obscured},
	};

	if (is_json) {
		json_t *o = json_object();

		for (size_t i = 0; i < WEIR_LEN(env); i++)
			json_object_set_new(o, env[i].key, json_string(env[i].value));
		json_object_set_new(answer, "env", o);
		weir_print_answer(answer, NULL, NULL);
		return;
	}
	printf("# share %s of %s%s, user %s, at %s\n", share_text(answer, "id"), share_text(answer, "path"),
	    json_is_true(json_object_get(answer, "readonly")) ? ", read-only" : "", share_text(answer, "user"), share_text(answer, "address"));
	for (size_t i = 0; i < WEIR_LEN(env); i++)
		printf("%s=%s\n", env[i].key, env[i].value);
}

static int
share_make(const struct weir_target *t, const struct share_options *o)
{
	WEIR_AUTO(weir_freep) char *lease = o->lease != NULL ? weir_path_absolute(o->lease) : NULL;
	WEIR_AUTO(weir_secret_freep) char *obscured = NULL;
	struct weir_err err = {0};
	json_t *answer = NULL;
	enum weir_code r = weir_target_call(t, json_pack("{s:s, s:s, s:b, s:b, s:s, s:s}", "verb", "share", "path", t->path, "readonly", (int)o->is_readonly, "freebind", (int)o->is_freebind, "listen",
	    o->listen != NULL ? o->listen : "", "lease", lease != NULL ? lease : ""), NULL, NULL, &answer, &err);
	int status = WEIR_EXIT_OK;

	if (r == WEIR_OK) {
		obscured = weir_rclone_obscure(share_text(answer, "token"));
		if (obscured == NULL)
			r = weir_err_set(&err, WEIR_E_IO, "the token cannot be obscured");
	}
	if (r == WEIR_OK)
		share_print(answer, obscured, o->is_json);
	else
		status = weir_target_failed(t, r, &err);
	json_decref(answer);
	return status;
}

static int
share_run(const struct weir_verb *verb, int argc, char **argv)
{
	struct share_options o = {0};
	struct weir_target t;
	int status;

	if (!weir_target_begin(&t, verb, &o, &o.conf, argc, argv, &status))
		return status;
	status = o.is_list ? share_list(&t, &o) : share_make(&t, &o);
	weir_target_free(&t);
	return status;
}

const struct weir_verb weir_verb_share = {
    .name = "share",
    .operands = "[PATH]",
    .summary = "a folder of a mount over WebDAV, as rclone's remote rshare:",
    .details = "Prints the variables that make it the remote rshare: of rclone, its token among them: for the environment of one job,\n"
	       "never for a command line. The share ends with weir unshare, with its lease and with the mount.",
    .opts = share_opts,
    .nopts = WEIR_LEN(share_opts),
    .max_operands = 1,
    .run = share_run,
};

/* ---- weir unshare ---- */

struct unshare_options {
	const char *conf;
};

static const struct weir_opt unshare_opts[] = {
    WEIR_OPT_CONF(struct unshare_options),
};

/* The mount: by -c, or the only one there is. */
static int
unshare_run(const struct weir_verb *verb, int argc, char **argv)
{
	struct unshare_options o = {0};
	struct weir_target t;
	struct weir_err err = {0};
	enum weir_code r;
	int status, first = weir_opt_parse(verb, &o, argc, argv, &status);

	if (first < 0)
		return status;
	status = weir_target_find(&t, o.conf, NULL);
	if (status != WEIR_EXIT_OK)
		return status;
	r = weir_target_call(&t, json_pack("{s:s, s:s}", "verb", "unshare", "id", argv[first]), NULL, NULL, NULL, &err);
	if (r)
		status = weir_target_failed(&t, r, &err);
	weir_target_free(&t);
	return status;
}

const struct weir_verb weir_verb_unshare = {
    .name = "unshare",
    .operands = "ID",
    .summary = "end a share: its token opens nothing any more",
    .opts = unshare_opts,
    .nopts = WEIR_LEN(unshare_opts),
    .min_operands = 1,
    .max_operands = 1,
    .run = unshare_run,
};
