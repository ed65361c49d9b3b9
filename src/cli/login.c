/* SPDX-License-Identifier: Apache-2.0 */
/* weir login: lets a person in at one remote, or carries a sign-in from one machine to another. weir logout takes it back. */
#include "config.h"

#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../util/text.h"
#include "signin.h"

#define LOGIN_INPUT_MAX (256u << 10)

struct login_options {
	const char *conf;
	bool without_browser, is_export, is_import;
};

static const struct weir_opt login_opts[] = {
    WEIR_OPT_CONF(struct login_options),
    {"no-browser", 0, WEIR_OPT_FLAG, offsetof(struct login_options, without_browser), NULL, "start no browser, only show the address"},
    {"paste", 0, WEIR_OPT_FLAG, offsetof(struct login_options, without_browser), NULL, "the same, for machines without a browser: paste what it ends at"},
    {"export", 0, WEIR_OPT_FLAG, offsetof(struct login_options, is_export), NULL, "print the sign-in for another machine (signs in first if need be)"},
    {"import", 0, WEIR_OPT_FLAG, offsetof(struct login_options, is_import), NULL, "read on standard input what --export printed, or rclone's token"},
};

static int
login_failed(const struct weir_remote_conf *rc, enum weir_code r, const struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *head = weir_xasprintf("remote '%s': ", rc->name);
	const char *text = weir_err_text(err, r);

	weir_say("%s%s", strncmp(text, head, strlen(head)) == 0 || strstr(text, head) != NULL ? "" : head, text);
	return r == WEIR_E_CONFIG ? WEIR_EXIT_CONFIG : WEIR_EXIT_FAILED;
}

static char *
login_read_input(void)
{
	struct weir_buf b = WEIR_BUF(LOGIN_INPUT_MAX);
	char chunk[4096];
	ssize_t n;

	while ((n = read(STDIN_FILENO, chunk, sizeof(chunk))) > 0 || (n < 0 && errno == EINTR)) {
		if (n > 0 && weir_buf_add(&b, chunk, (size_t)n) != 0)
			break;
	}
	explicit_bzero(chunk, sizeof(chunk));
	return weir_buf_take(&b);
}

static enum weir_code
login_import(const struct weir_sign_in *how, struct weir_err *err)
{
	WEIR_AUTO(weir_secret_freep) char *text = login_read_input();
	enum weir_code r = weir_oauth_import(how->app.token_file, text, err);

	return r == WEIR_E_PROTO ? weir_err_wrap(err, r, "what came on standard input is no sign-in") : r;
}

static enum weir_code
login_print(const struct weir_sign_in *how, struct weir_err *err)
{
	WEIR_AUTO(weir_secret_freep) char *text = NULL;
	size_t len;

	if (weir_read_file(how->app.token_file, LOGIN_INPUT_MAX, &text, &len) < 0)
		return weir_err_errno(err, errno, "'%s'", how->app.token_file);
	printf("%s\n", text);
	return WEIR_OK;
}

/* What cannot be done by itself is told: the configuration belongs to the person. */
static void
login_tell(const struct weir_remote_conf *rc, const char *lines)
{
	if (*lines == '\0')
		fprintf(stderr, "signed in to '%s'\n", rc->name);
	else
		fprintf(stderr, "signed in to '%s'; the section [remote %s] of %s must say:\n\n%s\n", rc->name, rc->name, rc->conf->path, lines);
}

/* A mount of this configuration need not wait for its next look at the remote. Whether there is one is no matter: that one asks as it starts. */
static void
login_tell_mount(const struct weir_remote_conf *rc)
{
	if (weir_control_call(rc->conf->cache_dir, json_pack("{s:s, s:s}", "verb", "look", "remote", rc->name), NULL, NULL, NULL, NULL) == WEIR_OK)
		fprintf(stderr, "the mount that runs asks '%s' again now\n", rc->name);
}

static int
login_act(const struct login_options *o, const struct weir_remote_conf *rc)
{
	WEIR_AUTO(weir_freep) char *lines = NULL;
	struct weir_sign_in how = {0};
	struct weir_err err = {0};
	bool is_there;
	enum weir_code r = weir_signin_how(rc, &how, &err);

	is_there = r == WEIR_OK && how.kind == WEIR_SIGN_IN_OAUTH && how.app.token_file != NULL && access(how.app.token_file, F_OK) == 0;
	if (r == WEIR_OK && (how.kind == WEIR_SIGN_IN_NONE || (how.kind == WEIR_SIGN_IN_OAUTH && how.app.service_account_file != NULL)))
		r = weir_err_set(&err, WEIR_E_CONFIG, "nobody signs in to it: what it needs stands in the configuration");
	else if (r == WEIR_OK && (o->is_export || o->is_import) && how.kind != WEIR_SIGN_IN_OAUTH)
		r = weir_err_set(&err, WEIR_E_CONFIG, "--export and --import are for remotes that keep tokens; sign in on the other machine, too");
	else if (r == WEIR_OK && o->is_import)
		r = login_import(&how, &err);
	else if (r == WEIR_OK && !(o->is_export && is_there))
		r = weir_signin(rc, o->without_browser, &lines, &err);
	if (r == WEIR_OK && o->is_export)
		r = login_print(&how, &err);
	else if (r == WEIR_OK) {
		login_tell(rc, lines != NULL ? lines : "");
		login_tell_mount(rc);
	}
	weir_sign_in_clear(&how);
	return r == WEIR_OK ? WEIR_EXIT_OK : login_failed(rc, r, &err);
}

static const struct weir_remote_conf *
login_remote(const struct weir_conf *conf, const char *name)
{
	const struct weir_remote_conf *rc = weir_conf_remote(conf, name);

	if (rc == NULL)
		weir_say("there is no remote '%s' in %s", name, conf->path);
	return rc;
}

static int
login_run(const struct weir_verb *verb, int argc, char **argv)
{
	struct login_options o = {0};
	WEIR_AUTO(weir_conf_freep) struct weir_conf *conf = NULL;
	const struct weir_remote_conf *rc;
	int status, first = weir_opt_parse(verb, &o, argc, argv, &status);

	if (first < 0)
		return status;
	if (o.is_export && o.is_import) {
		weir_say("login: --export and --import do not go together; see 'weir login --help'");
		return WEIR_EXIT_USAGE;
	}
	conf = weir_cli_conf(o.conf);
	rc = conf != NULL ? login_remote(conf, argv[first]) : NULL;
	return rc != NULL ? login_act(&o, rc) : WEIR_EXIT_CONFIG;
}

const struct weir_verb weir_verb_login = {
    .name = "login",
    .operands = "REMOTE",
    .summary = "sign in to a remote of the configuration",
    .details = "Shows an address to open in a browser, or asks for the keys. A mount that runs is told, and goes on with the new sign-in.",
    .opts = login_opts,
    .nopts = WEIR_LEN(login_opts),
    .run = login_run,
    .min_operands = 1,
    .max_operands = 1,
};

/* ---- logout ---- */

static const struct weir_opt logout_opts[] = {
    WEIR_OPT_CONF(struct login_options),
};

static enum weir_code
logout_act(const struct weir_remote_conf *rc, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *file = NULL;
	struct weir_signin_net net = {0};
	struct weir_sign_in how = {0};
	bool is_new = false;
	enum weir_code r = weir_signin_how(rc, &how, err);

	if (r == WEIR_OK && (how.kind == WEIR_SIGN_IN_NONE || (how.kind == WEIR_SIGN_IN_OAUTH && how.app.service_account_file != NULL)))
		r = weir_err_set(err, WEIR_E_CONFIG, "nobody signs in to it: what it needs stands in the configuration");
	else if (r == WEIR_OK && how.kind == WEIR_SIGN_IN_OAUTH) {
		r = weir_signin_net_open(&net, rc, err);
		if (r == WEIR_OK)
			r = weir_oauth_logout(&how.app, net.pool, err);
		weir_signin_net_close(&net);
	} else if (r == WEIR_OK) {
		r = weir_signin_secret_file(rc, how.secret_key, &file, &is_new, err);
		if (r == WEIR_OK && unlink(file) < 0)
			r = errno == ENOENT ? weir_err_set(err, WEIR_E_NOENT, "nobody is signed in") : weir_err_errno(err, errno, "'%s'", file);
		if (r == WEIR_OK && how.kind == WEIR_SIGN_IN_FLOW2)
			fprintf(stderr, "the app password is forgotten here; take it back in the account's settings as well (Security, Devices & sessions)\n");
	}
	weir_sign_in_clear(&how);
	return r;
}

static int
logout_run(const struct weir_verb *verb, int argc, char **argv)
{
	struct login_options o = {0};
	WEIR_AUTO(weir_conf_freep) struct weir_conf *conf = NULL;
	const struct weir_remote_conf *rc;
	struct weir_err err = {0};
	enum weir_code r;
	int status, first = weir_opt_parse(verb, &o, argc, argv, &status);

	if (first < 0)
		return status;
	conf = weir_cli_conf(o.conf);
	rc = conf != NULL ? login_remote(conf, argv[first]) : NULL;
	if (rc == NULL)
		return WEIR_EXIT_CONFIG;
	r = logout_act(rc, &err);
	if (r != WEIR_OK)
		return login_failed(rc, r, &err);
	fprintf(stderr, "signed out of '%s'\n", rc->name);
	return WEIR_EXIT_OK;
}

const struct weir_verb weir_verb_logout = {
    .name = "logout",
    .operands = "REMOTE",
    .summary = "take a sign-in back, and forget it",
    .opts = logout_opts,
    .nopts = WEIR_LEN(logout_opts),
    .run = logout_run,
    .min_operands = 1,
    .max_operands = 1,
};
