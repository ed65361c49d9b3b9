/* SPDX-License-Identifier: Apache-2.0 */
/* weir cp: copy between this host and a storage, or two storages, mounted or not. Success means that the storage has it. */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "../client/copy.h"
#include "../util/text.h"
#include "tree.h"

struct cp_options {
	const char *conf;
	bool is_recursive, is_quiet;
};

struct cp {
	const struct cp_options *o;
	struct weir_cli_tree t;
	struct weir_tree *to;
	char *to_path;
	bool into;		/* to_path is a folder: each source goes into it under its own name */
	struct weir_progress progress;
	struct weir_copy_sums before;	/* what earlier sources came to */
	uint64_t made;			/* files, folders and links */
};

static void
cp_failed(void *arg, const char *sentence)
{
	struct cp *cp = arg;

	weir_progress_end(&cp->progress);
	weir_say("%s", sentence);
}

static void
cp_moved(void *arg, const struct weir_copy_sums *s)
{
	struct cp *cp = arg;

	weir_progress_count(&cp->progress, cp->before.files + s->files, cp->before.bytes + s->bytes);
}

/* ---- target ---- */

static int
cp_target(struct cp *cp, const struct weir_operand *o, size_t nsources)
{
	size_t len = strlen(o->path);
	bool is_named_folder = len > 0 && o->path[len - 1] == '/';
	struct weir_attr attr;
	struct weir_err err = {0};
	enum weir_code r;
	int status = weir_cli_tree_at(&cp->t, o, &cp->to, &cp->to_path);

	if (status != WEIR_EXIT_OK)
		return status;
	weir_tree_refresh(cp->to, cp->to_path);
	r = weir_tree_stat(cp->to, cp->to_path, true, &attr, &err);
	if (r && r != WEIR_E_NOENT)
		return weir_cli_tree_failed(r, &err);
	cp->into = r == WEIR_OK && S_ISDIR(attr.mode);
	if (cp->into || (nsources == 1 && !is_named_folder))
		return WEIR_EXIT_OK;
	weir_say("'%s' is not a folder%s", o->text, r == WEIR_OK ? "" : " that exists");
	return WEIR_EXIT_FAILED;
}

/* The name a source has in a folder: its last name, the remote's for its root. */
static char *
cp_name(const struct weir_operand *o, const char *path)
{
	const char *slash = strrchr(path, '/');

	if (slash != NULL && slash[1] != '\0' && (o->remote == NULL || o->path[strspn(o->path, "/.")] != '\0'))
		return weir_xstrdup(slash + 1);
	return weir_xstrdup(o->remote != NULL && *o->remote != '\0' ? o->remote : "storage");
}

/* ---- sources ---- */

/* "x/." means what is in x, as for cp(1). */
static bool
cp_is_inner(const char *path)
{
	size_t len = strlen(path);

	return strcmp(path, ".") == 0 || (len > 1 && strcmp(path + len - 2, "/.") == 0);
}

/* A folder into itself would never end. */
static bool
cp_is_inside(const struct cp *cp, const struct weir_tree *from, const char *path, const char *target)
{
	size_t len = strcmp(path, "/") == 0 ? 0 : strlen(path);

	return from == cp->to && strncmp(path, target, len) == 0 && (target[len] == '/' || target[len] == '\0');
}

static int
cp_source(struct cp *cp, const struct weir_operand *o)
{
	WEIR_AUTO(weir_freep) char *path = NULL, *name = NULL, *target = NULL;
	struct weir_copy c = {.to = cp->to, .cancel = weir_cli_interrupts(), .failed = cp_failed, .moved = cp_moved, .arg = cp};
	struct weir_attr attr;
	struct weir_err err = {0};
	enum weir_code r;
	int status = weir_cli_tree_at(&cp->t, o, &c.from, &path);

	if (status != WEIR_EXIT_OK)
		return status;
	weir_tree_refresh(c.from, path);
	r = weir_tree_stat(c.from, path, !cp->o->is_recursive, &attr, &err);
	if (r)
		return weir_cli_tree_failed(r, &err);
	if (S_ISDIR(attr.mode) && !cp->o->is_recursive) {
		weir_say("'%s' is a folder: give -r to copy it with everything in it", o->text);
		return WEIR_EXIT_FAILED;
	}
	name = cp_name(o, path);
	target = cp->into && !cp_is_inner(o->path) ? weir_path_join(cp->to_path, name) : weir_xstrdup(cp->to_path);
	if (cp_is_inside(cp, c.from, path, target)) {
		weir_say("'%s' cannot be copied into itself", o->text);
		return WEIR_EXIT_FAILED;
	}
	r = weir_copy(&c, path, target, !cp->o->is_recursive, &err);
	cp->before.files += c.sums.files;
	cp->before.bytes += c.sums.bytes;
	cp->made += c.sums.files + c.sums.dirs + c.sums.links;
	/* of a folder, each failure was told when it happened */
	if (r != WEIR_OK && c.sums.failures == 0)
		return weir_cli_tree_failed(r, &err);
	return r != WEIR_OK ? weir_cli_interrupted(WEIR_EXIT_FAILED) : WEIR_EXIT_OK;
}

static int
cp_all(struct cp *cp, const struct weir_operand *v, size_t n)
{
	char amount[64];
	int status = cp_target(cp, &v[n - 1], n - 1);

	if (status != WEIR_EXIT_OK)
		return status;
	weir_progress_start(&cp->progress, "copying");
	cp->progress.is_quiet = cp->o->is_quiet;
	for (size_t i = 0; i + 1 < n && weir_cli_interrupted(0) == 0; i++) {
		int one = cp_source(cp, &v[i]);

		status = one != WEIR_EXIT_OK ? one : status;
	}
	weir_progress_end(&cp->progress);
	if (cp->made > 0 && !weir_tree_is_local(cp->to) && weir_cli_interrupted(0) == 0) {
		int sent = weir_cli_tree_flush(cp->to, cp->to_path, cp->o->is_quiet);

		status = sent != WEIR_EXIT_OK ? sent : status;
	}
	if (status == WEIR_EXIT_OK && !cp->o->is_quiet && cp->progress.is_tty)
		weir_say("copied %s", weir_amount_text(cp->before.files, cp->before.bytes, amount));
	if (cp->made > 0 && weir_cli_interrupted(0) != 0 && !weir_tree_is_local(cp->to))
		weir_say("interrupted: what was copied whole is kept in the cache and will be sent");
	return status;
}

static const struct weir_opt cp_opts[] = {
    WEIR_OPT_CONF(struct cp_options),
    {"recursive", 'r', WEIR_OPT_FLAG, offsetof(struct cp_options, is_recursive), NULL, "folders with everything in them; symbolic links stay links"},
    {"quiet", 'q', WEIR_OPT_FLAG, offsetof(struct cp_options, is_quiet), NULL, "no progress"},
};

static int
cp_run(const struct weir_verb *verb, int argc, char **argv)
{
	struct cp_options o = {0};
	struct cp cp = {.o = &o};
	struct weir_operand *v;
	bool has_storage = false;
	int status, first = weir_opt_parse(verb, &o, argc, argv, &status);
	size_t n;

	if (first < 0)
		return status;
	n = (size_t)(argc - first);
	v = weir_xcalloc(n, sizeof(*v));
	for (size_t i = 0; i < n; i++) {
		weir_operand_parse(&v[i], argv[first + (int)i]);
		has_storage = has_storage || v[i].remote != NULL;
	}
	if (!has_storage) {
		weir_say("cp: none of these names a storage (REMOTE:PATH, or :PATH for the namespace); for files of this host there is cp(1)");
		status = WEIR_EXIT_USAGE;
	} else {
		status = weir_cli_tree_open(&cp.t, o.conf, v, n);
		if (status == WEIR_EXIT_OK)
			status = cp_all(&cp, v, n);
		weir_cli_tree_close(&cp.t);
	}
	for (size_t i = 0; i < n; i++)
		weir_operand_free(&v[i]);
	free(v);
	free(cp.to_path);
	return weir_cli_interrupted(status);
}

const struct weir_verb weir_verb_cp = {
    .name = "cp",
    .operands = "SOURCE… TARGET",
    .summary = "copy files to, from or between storages, mounted or not",
    .details = "REMOTE:PATH is a place of a remote of the configuration, :PATH one of its namespace, anything else a path of this host. Modes and times are kept.\n"
	       "The exit status is 0 only when the storage has everything; what could not be sent is kept in the cache and sent later.",
    .opts = cp_opts,
    .nopts = WEIR_LEN(cp_opts),
    .min_operands = 2,
    .max_operands = -1,
    .run = cp_run,
};
