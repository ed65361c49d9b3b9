/* SPDX-License-Identifier: Apache-2.0 */
/* weir prefetch: have files in the cache before somebody reads them, in the order they will be read. */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "../util/text.h"
#include "cli.h"

#define PREFETCH_BATCH_PATHS 500
#define PREFETCH_BATCH_BYTES (256u << 10)	/* a request is one line */

struct prefetch_options {
	const char *conf, *order;
	bool is_quiet;
};

struct prefetch_cli {
	struct weir_target t;
	struct weir_progress progress;
	json_t *paths;			/* of the next request */
	size_t batch_bytes;
	uint64_t files, bytes;		/* of the requests before */
	int status;
};

static uint64_t
prefetch_number(json_t *j, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(j, key));

	return n > 0 ? (uint64_t)n : 0;
}

static void
prefetch_line(void *arg, json_t *line)
{
	struct prefetch_cli *p = arg;

	weir_progress_count(&p->progress, p->files + prefetch_number(line, "files"), p->bytes + prefetch_number(line, "bytes"));
}

/* Closing the connection is all it takes to give up, so that nothing is done about signals. */
static void
prefetch_send(struct prefetch_cli *p)
{
	struct weir_err err = {0};
	json_t *answer = NULL;
	char amount[64];
	enum weir_code r;

	if (json_array_size(p->paths) == 0 || p->status != WEIR_EXIT_OK)
		return;
	r = weir_target_call(&p->t, json_pack("{s:s, s:O, s:I}", "verb", "prefetch", "paths", p->paths, "spent", (json_int_t)p->bytes), prefetch_line, p, &answer, &err);
	json_array_clear(p->paths);
	p->batch_bytes = 0;
	p->files += prefetch_number(answer, "files");
	p->bytes += prefetch_number(answer, "bytes");
	json_decref(answer);
	if (r == WEIR_OK)
		return;
	weir_progress_end(&p->progress);
	if (r == WEIR_E_NOSPC) {
		weir_say("%s: %s are there, what follows is not (cache_size in the configuration)", weir_err_text(&err, r), weir_amount_text(p->files, p->bytes, amount));
		p->status = WEIR_EXIT_FAILED;
	} else
		p->status = weir_target_failed(&p->t, r, &err);
}

static void
prefetch_add(struct prefetch_cli *p, const char *path)
{
	json_t *j = json_string(path);

	if (j == NULL) {
		weir_say("'%s' is not UTF-8, so it cannot be asked for", path);
		p->status = WEIR_EXIT_FAILED;
		return;
	}
	json_array_append_new(p->paths, j);
	p->batch_bytes += strlen(path);
	if (json_array_size(p->paths) >= PREFETCH_BATCH_PATHS || p->batch_bytes >= PREFETCH_BATCH_BYTES)
		prefetch_send(p);
}

/* Lines of the list name files below the path. */
static void
prefetch_list(struct prefetch_cli *p, const char *file)
{
	FILE *f = strcmp(file, "-") == 0 ? stdin : fopen(file, "re");
	char *line = NULL;
	size_t room = 0;
	ssize_t len;

	if (f == NULL) {
		weir_say("list '%s': %s", file, strerror(errno));
		p->status = WEIR_EXIT_FAILED;
		return;
	}
	while (p->status == WEIR_EXIT_OK && (len = getline(&line, &room, f)) >= 0) {
		WEIR_AUTO(weir_freep) char *path = NULL;

		while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
			line[--len] = '\0';
		if (len == 0)
			continue;
		path = weir_path_join(p->t.path, line + strspn(line, "/"));
		prefetch_add(p, path);
	}
	if (ferror(f)) {
		weir_say("list '%s': %s", file, strerror(errno));
		p->status = WEIR_EXIT_FAILED;
	}
	free(line);
	if (f != stdin)
		fclose(f);
}

/* Every operand is in the mount of the first one. */
static void
prefetch_operands(struct prefetch_cli *p, const char *conf, char **v, size_t n)
{
	prefetch_add(p, p->t.path);
	for (size_t i = 1; i < n && p->status == WEIR_EXIT_OK; i++) {
		struct weir_target other;

		p->status = weir_target_find(&other, conf, v[i]);
		if (p->status != WEIR_EXIT_OK)
			return;
		if (strcmp(other.conf->cache_dir, p->t.conf->cache_dir) == 0)
			prefetch_add(p, other.path);
		else {
			weir_say("'%s' is in another mount than '%s'", v[i], v[0]);
			p->status = WEIR_EXIT_USAGE;
		}
		weir_target_free(&other);
	}
}

static const struct weir_opt prefetch_opts[] = {
    WEIR_OPT_CONF(struct prefetch_options),
    {"order", 0, WEIR_OPT_TEXT, offsetof(struct prefetch_options, order), "FILE", "fetch what this list names, in its order: one file below PATH a line; - reads standard input"},
    {"quiet", 'q', WEIR_OPT_FLAG, offsetof(struct prefetch_options, is_quiet), NULL, "no progress"},
};

static int
prefetch_run(const struct weir_verb *verb, int argc, char **argv)
{
	struct prefetch_options o = {0};
	struct prefetch_cli p = {0};
	char amount[64];
	int status, first = weir_opt_parse(verb, &o, argc, argv, &status);

	if (first < 0)
		return status;
	if (o.order != NULL && argc - first != 1) {
		weir_say("prefetch: with --order there is one PATH, which the list's lines are below");
		return WEIR_EXIT_USAGE;
	}
	status = weir_target_find(&p.t, o.conf, argv[first]);
	if (status != WEIR_EXIT_OK)
		return status;
	p.paths = json_array();
	weir_progress_start(&p.progress, "fetching");
	p.progress.is_quiet = o.is_quiet;
	if (o.order != NULL)
		prefetch_list(&p, o.order);
	else
		prefetch_operands(&p, o.conf, argv + first, (size_t)(argc - first));
	prefetch_send(&p);
	weir_progress_end(&p.progress);
	if (p.status == WEIR_EXIT_OK)
		printf("%s in the cache\n", weir_amount_text(p.files, p.bytes, amount));
	json_decref(p.paths);
	weir_target_free(&p.t);
	return p.status;
}

const struct weir_verb weir_verb_prefetch = {
    .name = "prefetch",
    .operands = "PATH…",
    .summary = "fetch files into the cache before they are read",
    .details = "PATH is a file or folder in a mount (with -c: of the namespace). Returns when all of it is there; ^C gives up what is not.",
    .opts = prefetch_opts,
    .nopts = WEIR_LEN(prefetch_opts),
    .min_operands = 1,
    .max_operands = -1,
    .run = prefetch_run,
};
