/* SPDX-License-Identifier: Apache-2.0 */
/* weir ls and weir cat: what lies on a storage, without a mount. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../util/clean.h"
#include "../util/text.h"
#include "tree.h"

struct ls_options {
	const char *conf;
	bool is_json, is_long, is_recursive;
};

struct ls_entry { char *name; struct weir_attr attr; };

struct ls {
	const struct ls_options *o;
	struct weir_tree *tree;
	struct ls_entry *v;	/* of the folder that is being read */
	size_t n;
	json_t *list;		/* with --json */
	bool is_terminal, has_headings, was_printed;
	int status;
};

/* ---- printing ---- */

static const char *
ls_type(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "folder";
	case S_IFLNK:
		return "link";
	case S_IFREG:
		return "file";
	default:
		return "other";
	}
}

static void
ls_mode(uint32_t mode, char out[11])
{
	static const char bits[] = "rwxrwxrwx";

	out[0] = S_ISDIR(mode) ? 'd' : S_ISLNK(mode) ? 'l' : S_ISREG(mode) ? '-' : '?';
	for (int i = 0; i < 9; i++)
		out[i + 1] = (mode & (0400u >> i)) != 0 ? bits[i] : '-';
	out[10] = '\0';
}

/* JSON holds no bytes that are not UTF-8: they become U+FFFD, and the name cannot be used to ask for the file again. */
static void
ls_json(struct ls *ls, const char *path, const char *name, const struct weir_attr *a)
{
	WEIR_AUTO(weir_freep) char *label = weir_tree_label(ls->tree, path);
	WEIR_AUTO(weir_freep) char *clean_label = weir_clean(label, strlen(label), true);
	WEIR_AUTO(weir_freep) char *clean_name = weir_clean(name, strlen(name), true);
	json_t *jlabel = json_string(label), *jname = json_string(name);
	char mode[8];

	snprintf(mode, sizeof(mode), "%04o", a->mode & 07777);
	json_array_append_new(ls->list, json_pack("{s:o, s:o, s:s, s:I, s:s, s:f}", "path", jlabel != NULL ? jlabel : json_string(clean_label), "name",
	    jname != NULL ? jname : json_string(clean_name), "type", ls_type(a->mode), "bytes", (json_int_t)a->size, "mode", mode, "mtime", (double)a->mtime_ns / 1e9));
}

static void
ls_print(struct ls *ls, const char *path, const char *name, const struct weir_attr *a)
{
	WEIR_AUTO(weir_freep) char *shown = ls->is_terminal ? weir_clean(name, strlen(name), false) : weir_xstrdup(name);
	WEIR_AUTO(weir_freep) char *target = NULL;
	time_t seconds = (time_t)(a->mtime_ns / 1000000000);
	char mode[11], when[32] = "";
	struct tm tm;

	if (ls->list != NULL) {
		ls_json(ls, path, name, a);
		return;
	}
	if (!ls->o->is_long) {
		printf("%s%s\n", shown, S_ISDIR(a->mode) ? "/" : "");
		return;
	}
	ls_mode(a->mode, mode);
	if (localtime_r(&seconds, &tm) != NULL)
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	if (S_ISLNK(a->mode))
		weir_tree_readlink(ls->tree, path, &target, NULL);
	printf("%s %15" PRIu64 " %s %s%s%s%s\n", mode, S_ISDIR(a->mode) ? (uint64_t)0 : a->size, when, shown, S_ISDIR(a->mode) ? "/" : "", target != NULL ? " -> " : "",
	    target != NULL ? target : "");
}

/* ---- folders ---- */

static int
ls_note(void *arg, const char *name, const struct weir_attr *attr)
{
	struct ls *ls = arg;

	ls->v = weir_xrealloc(ls->v, ls->n + 1, sizeof(*ls->v));
	ls->v[ls->n++] = (struct ls_entry){.name = weir_xstrdup(name), .attr = *attr};
	return 0;
}

static int
ls_by_name(const void *a, const void *b)
{
	return strcmp(((const struct ls_entry *)a)->name, ((const struct ls_entry *)b)->name);
}

static void
ls_failed(struct ls *ls, enum weir_code r, const struct weir_err *err)
{
	ls->status = weir_cli_tree_failed(r, err);
}

static void
ls_folder(struct ls *ls, const char *path)
{
	struct weir_err err = {0};
	enum weir_code r;
	struct ls_entry *v;
	size_t n;

	ls->v = NULL;
	ls->n = 0;
	r = weir_tree_list(ls->tree, path, ls_note, ls, &err);
	v = ls->v;
	n = ls->n;
	if (r)
		ls_failed(ls, r, &err);
	else if (n > 0)
		qsort(v, n, sizeof(*v), ls_by_name);
	if (ls->has_headings && ls->list == NULL) {
		WEIR_AUTO(weir_freep) char *label = weir_tree_label(ls->tree, path);

		printf("%s%s:\n", ls->was_printed ? "\n" : "", label);
	}
	ls->was_printed = true;
	for (size_t i = 0; i < n && r == WEIR_OK; i++) {
		WEIR_AUTO(weir_freep) char *child = weir_path_join(path, v[i].name);

		ls_print(ls, child, v[i].name, &v[i].attr);
	}
	for (size_t i = 0; i < n; i++) {
		WEIR_AUTO(weir_freep) char *child = weir_path_join(path, v[i].name);

		if (r == WEIR_OK && ls->o->is_recursive && S_ISDIR(v[i].attr.mode) && weir_cli_interrupted(0) == 0)
			ls_folder(ls, child);
		free(v[i].name);
	}
	free(v);
}

static void
ls_operand(struct ls *ls, const struct weir_cli_tree *t, const struct weir_operand *o)
{
	WEIR_AUTO(weir_freep) char *path = NULL;
	struct weir_attr attr;
	struct weir_err err = {0};
	enum weir_code r;
	int status = weir_cli_tree_at(t, o, &ls->tree, &path);

	if (status != WEIR_EXIT_OK) {
		ls->status = status;
		return;
	}
	weir_tree_refresh(ls->tree, path);
	r = weir_tree_stat(ls->tree, path, true, &attr, &err);
	if (r)
		ls_failed(ls, r, &err);
	else if (S_ISDIR(attr.mode))
		ls_folder(ls, path);
	else
		ls_print(ls, path, o->text, &attr);
}

static int
ls_all(const struct ls_options *o, const struct weir_operand *operands, size_t n)
{
	struct weir_cli_tree t;
	struct ls ls = {.o = o, .is_terminal = isatty(STDOUT_FILENO) == 1, .has_headings = n > 1 || o->is_recursive};
	int status = weir_cli_tree_open(&t, o->conf, operands, n);

	if (status == WEIR_EXIT_OK && o->is_json)
		ls.list = json_array();
	for (size_t i = 0; status == WEIR_EXIT_OK && i < n; i++)
		ls_operand(&ls, &t, &operands[i]);
	if (ls.list != NULL)
		weir_print_json(ls.list);
	json_decref(ls.list);
	weir_cli_tree_close(&t);
	return weir_cli_interrupted(status != WEIR_EXIT_OK ? status : ls.status);
}

/* Parses the operands, none of which may be a path of this host. */
static struct weir_operand *
ls_operands(const struct weir_verb *verb, char **texts, size_t n)
{
	struct weir_operand *v = weir_xcalloc(n + 1, sizeof(*v));

	for (size_t i = 0; i < n; i++) {
		weir_operand_parse(&v[i], texts[i]);
		if (v[i].remote != NULL)
			continue;
		weir_say("%s: '%s' names no storage: write REMOTE:PATH, or :PATH for the namespace", verb->name, texts[i]);
		for (size_t k = 0; k < i; k++)
			weir_operand_free(&v[k]);
		free(v);
		return NULL;
	}
	return v;
}

static void
ls_operands_free(struct weir_operand *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		weir_operand_free(&v[i]);
	free(v);
}

static const struct weir_opt ls_opts[] = {
    WEIR_OPT_CONF(struct ls_options),
    {"long", 'l', WEIR_OPT_FLAG, offsetof(struct ls_options, is_long), NULL, "modes, sizes and times too"},
    {"recursive", 'R', WEIR_OPT_FLAG, offsetof(struct ls_options, is_recursive), NULL, "folders below too"},
    WEIR_OPT_JSON(struct ls_options),
};

static int
ls_run(const struct weir_verb *verb, int argc, char **argv)
{
	static char root[] = ":";
	char *only[] = {root};
	struct ls_options o = {0};
	struct weir_operand *v;
	int status, first = weir_opt_parse(verb, &o, argc, argv, &status);
	size_t n;

	if (first < 0)
		return status;
	n = (size_t)(argc - first);
	v = ls_operands(verb, n > 0 ? argv + first : only, n > 0 ? n : 1);
	if (v == NULL)
		return WEIR_EXIT_USAGE;
	n = n > 0 ? n : 1;
	status = ls_all(&o, v, n);
	ls_operands_free(v, n);
	return status;
}

const struct weir_verb weir_verb_ls = {
    .name = "ls",
    .operands = "[REMOTE:PATH…]",
    .summary = "list what lies on a storage, mounted or not",
    .details = "REMOTE:PATH is a place of a remote of the configuration, :PATH one of its namespace; nothing: the namespace.",
    .opts = ls_opts,
    .nopts = WEIR_LEN(ls_opts),
    .max_operands = -1,
    .run = ls_run,
};

/* ---- cat ---- */

#define CAT_CHUNK (1u << 20)

struct cat_options { const char *conf; };

static const struct weir_opt cat_opts[] = {
    WEIR_OPT_CONF(struct cat_options),
};

/* 0, or the exit status. */
static int
cat_write(const char *buf, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDOUT_FILENO, buf, len);

		if (n < 0 && errno == EINTR && weir_cli_interrupted(0) == 0)
			continue;
		if (n < 0) {
			if (weir_cli_interrupted(0) == 0)
				weir_say("standard output: %s", strerror(errno));
			return WEIR_EXIT_FAILED;
		}
		buf += n;
		len -= (size_t)n;
	}
	return WEIR_EXIT_OK;
}

static int
cat_file(const struct weir_cli_tree *t, const struct weir_operand *o)
{
	WEIR_AUTO(weir_freep) char *path = NULL, *buf = weir_xcalloc(1, CAT_CHUNK);
	struct weir_tree_file *f = NULL;
	struct weir_tree *tree;
	struct weir_err err = {0};
	uint64_t off = 0;
	size_t got = 1;
	int status = weir_cli_tree_at(t, o, &tree, &path);
	enum weir_code r;

	if (status != WEIR_EXIT_OK)
		return status;
	weir_tree_refresh(tree, path);
	r = weir_tree_open_file(tree, path, O_RDONLY, 0, &f, &err);
	for (; r == WEIR_OK && status == WEIR_EXIT_OK && got > 0; off += got) {
		r = weir_cli_interrupted(0) != 0 ? WEIR_E_INTR : weir_tree_read(f, buf, CAT_CHUNK, off, &got, &err);
		if (r == WEIR_OK)
			status = cat_write(buf, got);
	}
	weir_tree_close_file(f, NULL);
	return r ? weir_cli_tree_failed(r, &err) : status;
}

static int
cat_run(const struct weir_verb *verb, int argc, char **argv)
{
	struct cat_options o = {0};
	struct weir_cli_tree t;
	int status, first = weir_opt_parse(verb, &o, argc, argv, &status);
	struct weir_operand *v;
	size_t n;

	if (first < 0)
		return status;
	n = (size_t)(argc - first);
	v = ls_operands(verb, argv + first, n);
	if (v == NULL)
		return WEIR_EXIT_USAGE;
	status = weir_cli_tree_open(&t, o.conf, v, n);
	if (status == WEIR_EXIT_OK) {
		for (size_t i = 0; i < n; i++) {
			int one = cat_file(&t, &v[i]);

			status = one != WEIR_EXIT_OK ? one : status;
		}
	}
	weir_cli_tree_close(&t);
	ls_operands_free(v, n);
	return weir_cli_interrupted(status);
}

const struct weir_verb weir_verb_cat = {
    .name = "cat",
    .operands = "REMOTE:PATH…",
    .summary = "write files of a storage to standard output",
    .opts = cat_opts,
    .nopts = WEIR_LEN(cat_opts),
    .min_operands = 1,
    .max_operands = -1,
    .run = cat_run,
};
