/* SPDX-License-Identifier: Apache-2.0 */
/* Operands that name a place on a storage, and the tree behind them. */
#include "config.h"

#include "tree.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "../control/mounts.h"
#include "../net/http.h"

static struct weir_cancel tree_stop;
static volatile sig_atomic_t tree_signal;

/* ---- operands ---- */

void
weir_operand_parse(struct weir_operand *o, const char *text)
{
	size_t len = strcspn(text, ":/");

	*o = (struct weir_operand){.text = text, .path = text};
	if (text[len] != ':')
		return;
	o->remote = weir_xstrndup(text, len);
	o->path = text + len + 1;
}

void
weir_operand_free(struct weir_operand *o)
{
	free(o->remote);
	*o = (struct weir_operand){0};
}

/* ---- trees ---- */

static void
tree_waits(void *arg, const char *sentence)
{
	(void)arg;
	weir_say("waiting: %s", sentence);
}

int
weir_cli_tree_open(struct weir_cli_tree *t, const char *conf, const struct weir_operand *o, size_t n)
{
	struct weir_tree_options options = {.cancel = weir_cli_interrupts(), .waits = tree_waits};
	bool has_namespace = false;
	struct weir_err err = {0};
	enum weir_code r;

	*t = (struct weir_cli_tree){.local = weir_tree_local(options.cancel)};
	for (size_t i = 0; i < n; i++) {
		options.is_by_remote = options.is_by_remote || (o[i].remote != NULL && *o[i].remote != '\0');
		has_namespace = has_namespace || (o[i].remote != NULL && *o[i].remote == '\0');
	}
	if (!options.is_by_remote && !has_namespace)
		return WEIR_EXIT_OK;
	weir_log_setup("weir", false, WEIR_LOG_ERROR);
	t->conf = weir_cli_conf(conf);
	if (t->conf == NULL)
		return WEIR_EXIT_CONFIG;
	options.conf = t->conf;
	r = weir_tree_open(&options, &t->tree, &err);
	if (r)
		return weir_cli_tree_failed(r, &err);
	if (options.is_by_remote && has_namespace && weir_tree_mountpoint(t->tree) == NULL) {
		weir_say("without a mount, places of the namespace (:PATH) and of a remote (REMOTE:PATH) cannot be named together");
		return WEIR_EXIT_USAGE;
	}
	return WEIR_EXIT_OK;
}

void
weir_cli_tree_close(struct weir_cli_tree *t)
{
	weir_tree_close(t->tree);
	weir_tree_close(t->local);
	weir_conf_free(t->conf);
	*t = (struct weir_cli_tree){0};
}

int
weir_cli_tree_at(const struct weir_cli_tree *t, const struct weir_operand *o, struct weir_tree **tree, char **path)
{
	struct weir_err err = {0};
	enum weir_code r = WEIR_OK;

	*tree = o->remote != NULL ? t->tree : t->local;
	if (o->remote != NULL)
		r = weir_tree_path(t->tree, o->remote, o->path, path, &err);
	else if ((*path = weir_path_absolute(o->path)) == NULL)
		r = weir_err_errno(&err, errno, "current directory");
	if (r == WEIR_E_NOENT) {
		weir_say("%s; a file of that name here is './%s'", weir_err_text(&err, r), o->text);
		return WEIR_EXIT_FAILED;
	}
	return r ? weir_cli_tree_failed(r, &err) : WEIR_EXIT_OK;
}

/* ---- interruption ---- */

static void
tree_interrupt(int sig)
{
	tree_signal = sig;
	atomic_store(&tree_stop.is_set, true);
}

const atomic_bool *
weir_cli_interrupts(void)
{
	/* no SA_RESTART: a call that waits for a mount is to end */
	struct sigaction sa = {.sa_handler = tree_interrupt, .sa_flags = (int)SA_RESETHAND};

	sigemptyset(&sa.sa_mask);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	return &tree_stop.is_set;
}

struct weir_cancel *
weir_cli_cancel(void)
{
	weir_cli_interrupts();
	return &tree_stop;
}

int
weir_cli_interrupted(int status)
{
	return atomic_load(&tree_stop.is_set) ? 128 + (int)tree_signal : status;
}

int
weir_cli_tree_failed(enum weir_code r, const struct weir_err *err)
{
	if (r != WEIR_E_INTR || !atomic_load(&tree_stop.is_set))
		weir_say("%s", weir_err_text(err, r));
	return weir_cli_interrupted(r == WEIR_E_CONFIG ? WEIR_EXIT_CONFIG : WEIR_EXIT_FAILED);
}

/* ---- flush ---- */

static bool
tree_flush_progress(void *arg, const struct weir_flush_progress *p)
{
	json_t *line = json_pack("{s:I, s:I, s:I, s:I}", "files_left", (json_int_t)p->files_left, "bytes_left", (json_int_t)p->bytes_left, "bytes_sent",
	    (json_int_t)p->bytes_sent, "bytes_total", (json_int_t)p->bytes_total);

	weir_progress_line(arg, line);
	json_decref(line);
	return true;
}

int
weir_cli_tree_flush(struct weir_tree *t, const char *path, bool is_quiet)
{
	struct weir_progress progress;
	struct weir_err err = {0};
	enum weir_code r;

	weir_progress_start(&progress, "sending");
	progress.is_quiet = is_quiet;
	r = weir_tree_flush(t, path, tree_flush_progress, &progress, &err);
	weir_progress_end(&progress);
	if (r == WEIR_OK)
		return WEIR_EXIT_OK;
	weir_say("%s", weir_err_text(&err, r));
	weir_say("what is not sent is kept in the cache; the next mount, 'weir cp' or 'weir ls' of this configuration goes on with it");
	return weir_cli_interrupted(WEIR_EXIT_UNSENT);
}
