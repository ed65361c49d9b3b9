/* SPDX-License-Identifier: Apache-2.0 */
/* weir init: asks what a remote is, signs in, looks whether it answers, and adds it to the configuration; what is there stays as it is. */
#include "config.h"

#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../util/text.h"
#include "ask.h"
#include "signin.h"

#define INIT_CONF_MAX (1u << 20)
#define INIT_PROBE_MS 15000

struct init_options {
	const char *conf;
	bool without_browser;
};

static const struct weir_opt init_opts[] = {
    WEIR_OPT_CONF(struct init_options),
    {"no-browser", 0, WEIR_OPT_FLAG, offsetof(struct init_options, without_browser), NULL, "start no browser, only show the address"},
};

struct init {
	char *path;			/* of the configuration, absolute */
	char *old;			/* its text; "" when there is none */
	struct weir_conf *have;		/* of old; NULL when there is none */
	struct weir_buf section;	/* what will be added */
	char *name;
	const struct weir_backend_ops *ops;
};

/* ---- answers ---- */

/* Is this answer fine? A sentence otherwise. */
typedef const char *init_check_fn(const struct init *, const char *answer);

/* Until the answer is fine; a pipe has one try. NULL: no answer. */
static char *
init_ask(const struct init *in, const char *question, init_check_fn *check, bool is_secret)
{
	for (;;) {
		char *answer = weir_ask(question, is_secret);
		const char *wrong = answer != NULL ? check(in, answer) : NULL;

		if (answer == NULL)
			weir_say("init: '%s' was not answered; the configuration is as it was", question);
		else if (wrong != NULL)
			weir_say("init: '%.100s': %s", is_secret ? "…" : answer, wrong);
		if (answer == NULL || wrong == NULL)
			return answer;
		weir_secret_free(answer);
		if (!weir_ask_is_person())
			return NULL;
	}
}

static const char *
init_check_type(const struct init *in, const char *answer)
{
	return weir_signin_ops(answer) != NULL ? NULL : "there is no such type of storage";
}

static const char *
init_check_name(const struct init *in, const char *answer)
{
	if (*answer == '\0' || strlen(answer) > 64 || *answer == '.')
		return "a name has 1 to 64 characters and does not begin with a dot";
	for (const char *p = answer; *p != '\0'; p++) {
		if (!isalnum((unsigned char)*p) && strchr("-_.", *p) == NULL)
			return "a name has letters, digits, '-', '_' and '.' only";
	}
	return in->have != NULL && weir_conf_remote(in->have, answer) != NULL ? "there is a remote of this name already" : NULL;
}

static const char *
init_check_any(const struct init *in, const char *answer)
{
	for (const char *p = answer; *p != '\0'; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return "this holds a control character";
	}
	return NULL;
}

static const char *
init_check_some(const struct init *in, const char *answer)
{
	return *answer == '\0' ? "an answer is needed" : init_check_any(in, answer);
}

static bool
init_yes(const char *question)
{
	WEIR_AUTO(weir_freep) char *answer = weir_ask(question, false);

	return answer != NULL && (strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0);
}

/* ---- the configuration ---- */

/* The default one is the person's own, also where only /etc has one yet. */
static char *
init_path(const char *given)
{
	const char *home = getenv("HOME"), *xdg = getenv("XDG_CONFIG_HOME");
	const struct passwd *pw = home == NULL || *home != '/' ? getpwuid(getuid()) : NULL;
	WEIR_AUTO(weir_freep) char *cwd = NULL;

	if (given != NULL && *given == '/')
		return weir_xstrdup(given);
	if (given != NULL) {
		cwd = getcwd(NULL, 0);
		return cwd != NULL ? weir_path_join(cwd, given) : NULL;
	}
	if (xdg != NULL && *xdg == '/')
		return weir_path_join(xdg, "weir/weir.conf");
	if (pw != NULL)
		home = pw->pw_dir;
	return home != NULL && *home == '/' ? weir_path_join(home, ".config/weir/weir.conf") : NULL;
}

static enum weir_code
init_parse(const struct init *in, const char *text, struct weir_conf **out, struct weir_err *err)
{
	size_t n;
	const struct weir_conf_type *types = weir_backend_types(&n);
	enum weir_code r = weir_conf_parse(in->path, text, strlen(text), types, n, out, err);

	if (r == WEIR_OK && (*out)->path == NULL)
		(*out)->path = weir_xstrdup(in->path);
	return r;
}

static enum weir_code
init_load(struct init *in, struct weir_err *err)
{
	size_t len;
	enum weir_code r;

	if (in->path == NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "there is no home folder; say with -c where the configuration shall be");
	if (weir_read_file(in->path, INIT_CONF_MAX, &in->old, &len) < 0) {
		if (errno != ENOENT)
			return weir_err_errno(err, errno, "'%s'", in->path);
		in->old = weir_xstrdup("");
		return WEIR_OK;
	}
	if (strlen(in->old) != len)
		return weir_err_set(err, WEIR_E_CONFIG, "'%s' is not a text", in->path);
	r = init_parse(in, in->old, &in->have, err);
	/* a file that only has comments, or [weir], yet */
	return r == WEIR_E_CONFIG && strstr(in->old, "[remote") == NULL && strstr(in->old, "[namespace]") == NULL ? WEIR_OK : r;
}

/* What the file will be. Owned. */
static char *
init_text(const struct init *in)
{
	size_t n = strlen(in->old);

	return weir_xasprintf("%s%s%s%s", in->old, n > 0 && in->old[n - 1] != '\n' ? "\n" : "", n > 0 ? "\n" : "", weir_buf_str(&in->section));
}

static enum weir_code
init_remote(const struct init *in, struct weir_conf **conf, const struct weir_remote_conf **rc, struct weir_err *err)
{
	WEIR_AUTO(weir_secret_freep) char *text = init_text(in);
	enum weir_code r = init_parse(in, text, conf, err);

	*rc = r == WEIR_OK ? weir_conf_remote(*conf, in->name) : NULL;
	return r;
}

/* Replaced in one step; through a link, where it points. Somebody may have edited it meanwhile: then theirs stays. */
static enum weir_code
init_write(const struct init *in, struct weir_err *err)
{
	WEIR_AUTO(weir_secret_freep) char *text = init_text(in), *now = NULL;
	WEIR_AUTO(weir_freep) char *real = realpath(in->path, NULL), *dir = weir_xstrdup(in->path);
	char *slash = strrchr(dir, '/');
	size_t len;

	if (slash != NULL && slash != dir) {
		*slash = '\0';
		if (weir_mkdirs(dir, 0700) < 0)
			return weir_err_errno(err, errno, "'%s'", dir);
	}
	if (weir_read_file(in->path, INIT_CONF_MAX, &now, &len) < 0 && errno != ENOENT)
		return weir_err_errno(err, errno, "'%s'", in->path);
	if (strcmp(now != NULL ? now : "", in->old) != 0)
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' was changed meanwhile; the configuration is as it was", in->path);
	if (weir_write_file(real != NULL ? real : in->path, text, strlen(text)) < 0)
		return weir_err_errno(err, errno, "'%s'", in->path);
	return WEIR_OK;
}

/* ---- the steps ---- */

static bool
init_ask_kind(struct init *in)
{
	WEIR_AUTO(weir_freep) char *type = NULL;
	struct weir_buf q = WEIR_BUF(4096);

	weir_buf_adds(&q, "Type of the storage (");
	for (size_t i = 0; weir_backends[i] != NULL; i++)
		weir_buf_addf(&q, "%s%s", i > 0 ? ", " : "", weir_backends[i]->name);
	weir_buf_adds(&q, ")");
	type = init_ask(in, weir_buf_str(&q), init_check_type, false);
	weir_buf_free(&q);
	if (type == NULL)
		return false;
	in->ops = weir_signin_ops(type);
	in->name = init_ask(in, "Name of the remote", init_check_name, false);
	if (in->name != NULL)
		weir_buf_addf(&in->section, "[remote %s]\ntype = %s\n", in->name, type);
	return in->name != NULL;
}

/* A secret goes into a file of its own at once, so that the configuration never holds it. */
static bool
init_keep_secret(struct init *in, const struct weir_ask *a, const char *answer)
{
	WEIR_AUTO(weir_freep) char *ending = weir_xasprintf(".%s", a->key);
	WEIR_AUTO(weir_freep) char *file = weir_conf_beside(in->path, "secrets", in->name, ending);
	struct weir_err err = {0};
	enum weir_code r = weir_signin_secret_save(file, answer, &err);

	if (r != WEIR_OK) {
		weir_say("init: %s", weir_err_text(&err, r));
		return false;
	}
	weir_buf_addf(&in->section, "%s_file = %s\n", a->key, file);
	return true;
}

static bool
init_ask_keys(struct init *in)
{
	for (const struct weir_ask *a = in->ops->asks; a != NULL && a->key != NULL; a++) {
		WEIR_AUTO(weir_secret_freep) char *answer = init_ask(in, a->question, a->is_optional ? init_check_any : init_check_some, a->is_secret);

		if (answer == NULL)
			return false;
		if (*answer == '\0')
			continue;
		if (!a->is_secret)
			weir_buf_addf(&in->section, "%s = %s\n", a->key, answer);
		else if (!init_keep_secret(in, a, answer))
			return false;
	}
	return true;
}

static enum weir_code
init_sign_in(struct init *in, bool without_browser, struct weir_err *err)
{
	WEIR_AUTO(weir_conf_freep) struct weir_conf *conf = NULL;
	WEIR_AUTO(weir_freep) char *lines = NULL;
	const struct weir_remote_conf *rc;
	enum weir_code r = init_remote(in, &conf, &rc, err);

	if (r == WEIR_OK)
		r = weir_signin(rc, without_browser, &lines, err);
	if (r == WEIR_OK)
		weir_buf_adds(&in->section, lines);
	return r;
}

static const json_t *
init_result(const struct init *in, const json_t *results)
{
	const json_t *one;
	size_t i;

	json_array_foreach (results, i, one) {
		if (strcmp(json_string_value(json_object_get(one, "name")), in->name) == 0)
			return one;
	}
	return NULL;
}

/* Only the new one is asked. false and *r == OK: it may be added all the same. */
static bool
init_probe(struct init *in, struct weir_err *err, enum weir_code *r)
{
	static struct weir_conf *conf;	/* stays: a thread that overran the limit may still look at it */
	const struct weir_remote_conf *rc;
	const json_t *result = NULL, *twin;
	json_t *results;
	bool is_ok = false;

	*r = init_remote(in, &conf, &rc, err);
	if (*r != WEIR_OK)
		return false;
	results = weir_probe_apart(conf, in->name, false, INIT_PROBE_MS, err);
	if (results == NULL || (result = init_result(in, results)) == NULL)
		*r = WEIR_E_IO;
	else if ((twin = json_object_get(result, "twin")) != NULL)
		*r = weir_err_set(err, WEIR_E_EXIST, "'%s' is the same place as remote '%s'; the configuration is as it was", in->name, json_string_value(twin));
	else if (strcmp(json_string_value(json_object_get(result, "code")), weir_code_name(WEIR_OK)) == 0)
		is_ok = true;
	else
		weir_say("remote '%s': %s", in->name, weir_probe_reason(result));
	json_decref(results);
	return is_ok;
}

static int
init_offer_mount(const struct init *in)
{
	WEIR_AUTO(weir_freep) char *answer = weir_ask("Mount it now? A folder, or nothing for no", false);
	WEIR_AUTO(weir_freep) char *at = NULL;
	struct weir_err err = {0};
	char *argv[] = {(char *)"mount", (char *)"-c", in->path, NULL, NULL};

	if (answer == NULL || *answer == '\0' || strcasecmp(answer, "no") == 0 || strcasecmp(answer, "n") == 0)
		return WEIR_EXIT_OK;
	at = weir_path_expand(answer, &err);
	if (at == NULL || (mkdir(at, 0755) < 0 && errno != EEXIST)) {
		weir_say("init: '%s': %s", answer, at == NULL ? weir_err_text(&err, WEIR_E_INVAL) : strerrordesc_np(errno));
		return WEIR_EXIT_FAILED;
	}
	argv[3] = at;
	return weir_verb_mount.run(&weir_verb_mount, 4, argv);
}

static int
init_failed(enum weir_code r, const struct weir_err *err)
{
	weir_say("init: %s", weir_err_text(err, r));
	return r == WEIR_E_CONFIG ? WEIR_EXIT_CONFIG : WEIR_EXIT_FAILED;
}

static int
init_act(struct init *in, bool without_browser)
{
	struct weir_err err = {0};
	enum weir_code r = init_load(in, &err);

	if (r != WEIR_OK)
		return init_failed(r, &err);
	if (!init_ask_kind(in) || !init_ask_keys(in))
		return WEIR_EXIT_USAGE;
	r = init_sign_in(in, without_browser, &err);
	if (r != WEIR_OK)
		return init_failed(r, &err);
	if (!init_probe(in, &err, &r)) {
		if (r != WEIR_OK)
			return init_failed(r, &err);
		if (!init_yes("Add it to the configuration all the same? (yes, no)")) {
			weir_say("init: the configuration is as it was");
			return WEIR_EXIT_FAILED;
		}
	}
	r = init_write(in, &err);
	if (r != WEIR_OK)
		return init_failed(r, &err);
	fprintf(stderr, "remote '%s' is in %s\n", in->name, in->path);
	if (strstr(in->old, "[namespace]") != NULL)
		fprintf(stderr, "It has a section [namespace]: '%s' is seen when a line '/%s = %s:' stands there.\n", in->name, in->name, in->name);
	return init_offer_mount(in);
}

static int
init_run(const struct weir_verb *verb, int argc, char **argv)
{
	struct init_options o = {0};
	struct init in = {.section = WEIR_BUF(INIT_CONF_MAX)};
	int status, first = weir_opt_parse(verb, &o, argc, argv, &status);

	if (first < 0)
		return status;
	in.path = init_path(o.conf);
	status = init_act(&in, o.without_browser);
	weir_conf_free(in.have);
	weir_secret_free(in.old);
	weir_buf_free(&in.section);
	free(in.name);
	free(in.path);
	return status;
}

const struct weir_verb weir_verb_init = {
    .name = "init",
    .operands = "",
    .summary = "add a remote to the configuration, step by step",
    .details = "Asks for type, name and address, signs in, looks whether the storage answers, and offers to mount.\n"
	"Answers may come from a pipe, one a line.",
    .opts = init_opts,
    .nopts = WEIR_LEN(init_opts),
    .run = init_run,
};
