/* SPDX-License-Identifier: Apache-2.0 */
/* Signing in to one remote (signin.h): which way the storage wants it, and where what comes of it is kept. */
#include "config.h"

#include "signin.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ask.h"

extern char **environ;

const struct weir_backend_ops *
weir_signin_ops(const char *type)
{
	for (size_t i = 0; weir_backends[i] != NULL; i++) {
		if (strcmp(weir_backends[i]->name, type) == 0)
			return weir_backends[i];
	}
	return NULL;
}

enum weir_code
weir_signin_how(const struct weir_remote_conf *rc, struct weir_sign_in *out, struct weir_err *err)
{
	const struct weir_backend_ops *ops = weir_signin_ops(rc->type);

	*out = (struct weir_sign_in){.kind = WEIR_SIGN_IN_NONE};
	return ops != NULL && ops->sign_in != NULL ? ops->sign_in(rc, out, err) : WEIR_OK;
}

enum weir_code
weir_signin_net_open(struct weir_signin_net *n, const struct weir_remote_conf *rc, struct weir_err *err)
{
	struct weir_http_pool_conf pc = {.name = rc->name, .proxy = rc->proxy, .ca_file = rc->ca_file, .stall_ms = 15000, .connect_ms = 10000,
	    .max_connections = 2};
	enum weir_code r = weir_http_new(&n->http, err);

	if (r == WEIR_OK)
		r = weir_http_pool_new(n->http, &pc, &n->pool, err);
	return r;
}

void
weir_signin_net_close(struct weir_signin_net *n)
{
	if (n->pool != NULL)
		weir_http_pool_free(n->pool);
	if (n->http != NULL)
		weir_http_free(n->http);
	*n = (struct weir_signin_net){0};
}

/* The address holds no secret: the verifier stays here. */
void
weir_signin_browse(const char *url)
{
	char *argv[] = {(char *)"xdg-open", (char *)url, NULL};
	posix_spawn_file_actions_t fa;
	const char *x = getenv("DISPLAY"), *wayland = getenv("WAYLAND_DISPLAY");
	pid_t pid;

	if ((x == NULL || *x == '\0') && (wayland == NULL || *wayland == '\0'))
		return;
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&fa, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&fa, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawnp(&pid, "xdg-open", &fa, NULL, argv, environ);	/* without one, the person opens the address that is shown */
	posix_spawn_file_actions_destroy(&fa);
}

enum weir_code
weir_signin_secret_file(const struct weir_remote_conf *rc, const char *key, char **file, bool *is_new, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *as_file = weir_xasprintf("%s_file", key), *as_command = weir_xasprintf("%s_command", key);
	WEIR_AUTO(weir_freep) char *beside = weir_conf_beside(rc->conf->path, "secrets", rc->name, "");
	const char *v = weir_conf_get(rc, as_file);

	if (weir_conf_get(rc, key) != NULL || weir_conf_get(rc, as_command) != NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': the secret comes from %s in the configuration; change it there, or take that line out",
		    rc->name, weir_conf_get(rc, key) != NULL ? key : as_command);
	if (v == NULL && beside == NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': %s is needed", rc->name, as_file);
	*is_new = v == NULL;
	*file = v != NULL ? weir_xstrdup(v) : WEIR_STEAL(beside);
	return WEIR_OK;
}

enum weir_code
weir_signin_secret_save(const char *file, const char *secret, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *dir = weir_xstrdup(file);
	WEIR_AUTO(weir_secret_freep) char *text = weir_xasprintf("%s\n", secret);
	char *slash = strrchr(dir, '/');

	if (slash != NULL && slash != dir) {
		*slash = '\0';
		if (weir_mkdirs(dir, 0700) < 0)
			return weir_err_errno(err, errno, "'%s'", dir);
	}
	return weir_write_file(file, text, strlen(text)) < 0 ? weir_err_errno(err, errno, "'%s'", file) : WEIR_OK;
}

/* A name and a secret from the terminal. */
static enum weir_code
signin_keys(const struct weir_remote_conf *rc, const struct weir_sign_in *how, char **user, char **secret, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *ask_user = weir_xasprintf("%s for '%s'", how->user_key, rc->name);
	WEIR_AUTO(weir_freep) char *ask_secret = weir_xasprintf("%s for '%s' (not shown)", how->secret_key, rc->name);

	if (weir_conf_get(rc, how->user_key) == NULL) {
		*user = weir_ask(ask_user, false);
		if (*user == NULL || **user == '\0')
			return weir_err_set(err, WEIR_E_INVAL, "remote '%s': %s was not given", rc->name, how->user_key);
	}
	*secret = weir_ask(ask_secret, true);
	if (*secret == NULL || **secret == '\0')
		return weir_err_set(err, WEIR_E_INVAL, "remote '%s': %s was not given", rc->name, how->secret_key);
	return WEIR_OK;
}

/* The two ways that end with a name and a secret. */
static enum weir_code
signin_pair(struct weir_signin_net *net, const struct weir_remote_conf *rc, const struct weir_sign_in *how, bool without_browser, struct weir_buf *lines,
    struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *file = NULL, *user = NULL;
	WEIR_AUTO(weir_secret_freep) char *secret = NULL;
	const char *have = weir_conf_get(rc, how->user_key);
	bool is_new = false;
	enum weir_code r = weir_signin_secret_file(rc, how->secret_key, &file, &is_new, err);

	if (r == WEIR_OK && how->kind == WEIR_SIGN_IN_FLOW2)
		r = weir_signin_flow2(net, how->url, without_browser, &user, &secret, err);
	else if (r == WEIR_OK)
		r = signin_keys(rc, how, &user, &secret, err);
	if (r == WEIR_OK)
		r = weir_signin_secret_save(file, secret, err);
	if (r != WEIR_OK)
		return r;
	if (user != NULL && (have == NULL || strcmp(have, user) != 0))
		weir_buf_addf(lines, "%s = %s\n", how->user_key, user);
	if (is_new)
		weir_buf_addf(lines, "%s_file = %s\n", how->secret_key, file);
	return WEIR_OK;
}

enum weir_code
weir_signin(const struct weir_remote_conf *rc, bool without_browser, char **out, struct weir_err *err)
{
	struct weir_signin_net net = {0};
	struct weir_sign_in how;
	struct weir_buf lines = WEIR_BUF(64u << 10);
	enum weir_code r = weir_signin_how(rc, &how, err);

	if (r == WEIR_OK && how.kind != WEIR_SIGN_IN_NONE)
		r = weir_signin_net_open(&net, rc, err);
	if (r == WEIR_OK && how.advice != NULL && how.kind != WEIR_SIGN_IN_NONE)
		fprintf(stderr, "%s\n", how.advice);
	if (r == WEIR_OK && how.kind == WEIR_SIGN_IN_OAUTH)
		r = weir_signin_oauth(&net, &how.app, without_browser, err);
	else if (r == WEIR_OK && how.kind != WEIR_SIGN_IN_NONE)
		r = signin_pair(&net, rc, &how, without_browser, &lines, err);
	weir_signin_net_close(&net);
	weir_sign_in_clear(&how);
	*out = weir_buf_take(&lines);
	return r;
}
