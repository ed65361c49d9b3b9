/* SPDX-License-Identifier: Apache-2.0 */
/* weir import: another program's configuration becomes remotes in weir.conf. What is there stays as it is, byte for byte; what comes
 * new is written to a file beside it, loaded and opened as a mount would, and takes its place only then. Passwords and tokens go
 * into files of their own (0600) beside it and are never printed. */
#include "config.h"

#include "import.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../backends/backend.h"
#include "../util/text.h"

#define IMPORT_MAX (1u << 20)

struct import_options {
	const char *conf;
	bool is_dry;
	struct weir_opt_list buckets;
};

static const struct weir_opt import_opts[] = {
    {"config", 'c', WEIR_OPT_TEXT, offsetof(struct import_options, conf), "FILE", "weir.conf to add to (default: ~/.config/weir/weir.conf); made when it is not there"},
    {"dry-run", 'n', WEIR_OPT_FLAG, offsetof(struct import_options, is_dry), NULL, "print what would be added, write nothing"},
    {"bucket", 'b', WEIR_OPT_LIST, offsetof(struct import_options, buckets), "NAME=BUCKET", "this bucket of the s3 remote NAME becomes a remote; can be repeated"},
};

struct import {
	struct weir_import im;
	bool is_dry;
	char *path, *dir, *temp;	/* weir.conf, its folder, the file that is tried first */
	char *have;			/* its text now, "" when there is none */
	mode_t mode;
	struct weir_conf *conf;		/* the same loaded; NULL: there is none */
	char **made;			/* secret files written so far, taken away when it fails */
	size_t nmade;
};

/* ---- secrets beside the configuration ---- */

/* "/…/NAME.password": the first free name of that kind. Owned. */
static char *
secret_path(const struct import *m, const char *name, const char *key)
{
	size_t n = strlen(key) > 5 && strcmp(key + strlen(key) - 5, "_file") == 0 ? strlen(key) - 5 : strlen(key);
	char *path = weir_xasprintf("%s/%s.%.*s", m->dir, name, (int)n, key);

	for (int i = 2; access(path, F_OK) == 0; i++) {
		free(path);
		path = weir_xasprintf("%s/%s.%.*s.%d", m->dir, name, (int)n, key, i);
	}
	return path;
}

static enum weir_code
secret_write(struct import *m, const struct weir_import_key *k, struct weir_err *err)
{
	WEIR_AUTO(weir_secret_freep) char *line = weir_xasprintf("%s\n", k->secret);
	enum weir_code r = WEIR_OK;

	if (k->kind == WEIR_IMPORT_TOKEN)
		r = weir_oauth_import(k->value, k->secret, err);
	else if (weir_write_file(k->value, line, strlen(line)) < 0)
		r = weir_err_errno(err, errno, "'%s'", k->value);
	if (r == WEIR_OK) {
		m->made = weir_xrealloc(m->made, m->nmade + 1, sizeof(*m->made));
		m->made[m->nmade++] = weir_xstrdup(k->value);
	}
	return r;
}

static void
secret_remove(const char *path)
{
	WEIR_AUTO(weir_freep) char *lock = weir_xasprintf("%s.lock", path);	/* tokens have one */

	unlink(path);
	unlink(lock);
}

/* Names of all secret files, and (unless it is a dry run) the files. A token that cannot be taken over leaves the remote with rclone. */
static enum weir_code
import_secrets(struct import *m, struct weir_err *err)
{
	for (size_t i = 0; i < m->im.nremotes; i++) {
		struct weir_import_remote *r = &m->im.remotes[i];

		for (size_t k = 0; k < r->nkeys; k++) {
			struct weir_err why = {0};
			enum weir_code code;

			if (r->keys[k].kind == WEIR_IMPORT_PLAIN)
				continue;
			r->keys[k].value = secret_path(m, r->name, r->keys[k].key);
			code = m->is_dry ? WEIR_OK : secret_write(m, &r->keys[k], &why);
			if (code != WEIR_OK && r->keys[k].kind != WEIR_IMPORT_TOKEN)
				return weir_err_set(err, code, "%s", weir_err_text(&why, code));
			if (code != WEIR_OK) {
				weir_import_fall_back(&m->im, r, weir_err_text(&why, code));
				break;
			}
		}
	}
	return WEIR_OK;
}

static void
import_undo(struct import *m)
{
	for (size_t i = 0; i < m->nmade; i++)
		secret_remove(m->made[i]);
	if (m->temp != NULL && !m->is_dry)
		unlink(m->temp);
}

/* ---- the text ---- */

static void
text_remote(const struct weir_import_remote *r, struct weir_buf *b)
{
	weir_buf_addf(b, "\n[remote %s]\n", r->name);
	for (size_t k = 0; k < r->nkeys; k++)
		weir_buf_addf(b, "%s = %s\n", r->keys[k].key, r->keys[k].value != NULL ? r->keys[k].value : "/");
}

static void
text_remotes(const struct import *m, struct weir_buf *b)
{
	for (size_t i = 0; i < m->im.nremotes; i++)
		text_remote(&m->im.remotes[i], b);
}

static void
text_lines(const struct import *m, struct weir_buf *b)
{
	for (size_t i = 0; i < m->im.nlines; i++)
		weir_buf_addf(b, "%s = %s\n", m->im.lines[i].path, m->im.lines[i].value);
}

/* Where a line of [namespace] can be put into what is there: behind the last one. NULL: there is no [namespace]. */
static const char *
text_namespace_end(const char *text)
{
	const char *at = NULL;
	bool is_in = false;

	for (const char *p = text; *p != '\0'; ) {
		size_t n = strcspn(p, "\n");
		const char *q = p + strspn(p, " \t");

		if (*q == '[')
			is_in = strncmp(q, "[namespace]", 11) == 0;
		p += n + (p[n] == '\n');
		if (is_in && *q != '\n' && *q != '\0' && *q != '\r')
			at = p;
	}
	return at;
}

/* The new configuration, whole. Without [namespace] each remote stood at /NAME; now that there is one, they all need a line. */
static void
text_all(const struct import *m, struct weir_buf *b)
{
	const char *end = text_namespace_end(m->have);

	if (m->im.nlines > 0 && end != NULL) {
		weir_buf_add(b, m->have, (size_t)(end - m->have));
		if (end > m->have && end[-1] != '\n')
			weir_buf_addc(b, '\n');
		text_lines(m, b);
		weir_buf_adds(b, end);
	} else
		weir_buf_adds(b, m->have);
	if (b->len > 0)
		weir_buf_adds(b, b->data[b->len - 1] != '\n' ? "\n\n" : "\n");
	weir_buf_addf(b, "# from %s\n", m->im.file);
	text_remotes(m, b);
	if (m->im.nlines > 0 && end == NULL) {
		weir_buf_adds(b, "\n[namespace]\n");
		for (size_t i = 0; m->conf != NULL && i < m->conf->nremotes; i++)
			weir_buf_addf(b, "/%s = %s\n", m->conf->remotes[i].name, m->conf->remotes[i].name);
		text_lines(m, b);
	}
}

/* ---- checking ---- */

/* Does weir.conf say what was meant? Its values know $NAME and ~, rclone's do not. */
static const char *
check_values(const struct weir_import_remote *r, const struct weir_remote_conf *rc)
{
	for (size_t k = 1; k < r->nkeys; k++) {
		const char *v = weir_conf_get(rc, r->keys[k].key);
		bool is_path = strcmp(r->keys[k].key, "service_account_file") == 0 || strcmp(r->keys[k].key, "credentials_file") == 0;

		if (v == NULL || (r->keys[k].value != NULL && strcmp(v, r->keys[k].value) != 0 && !is_path))
			return r->keys[k].key;
	}
	return NULL;
}

static enum weir_code
check_remote(const struct weir_import_remote *r, const struct weir_conf *conf, struct weir_http *http, struct weir_err *err)
{
	const struct weir_remote_conf *rc = weir_conf_remote(conf, r->name);
	struct weir_backend *be = NULL;
	const char *key = rc != NULL ? check_values(r, rc) : "type";
	enum weir_code code;

	if (key != NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "'%s' cannot be written in a weir.conf", key);
	for (size_t k = 0; k < r->nkeys; k++)
		if (strstr(r->keys[k].key, "_command") != NULL)
			return WEIR_OK;	/* opening would run it */
	code = weir_backend_open(&be, rc, http, err);
	weir_backend_close(be);
	return code;
}

static bool
is_of_rclone(const struct weir_import_remote *r)
{
	return strcmp(r->keys[0].value, "rclone") == 0;
}

/* Alone, in memory: is there such a type, and can its values be written? */
static enum weir_code
check_alone(const struct weir_import_remote *r, struct weir_err *err)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf b = WEIR_BUF(IMPORT_MAX);
	WEIR_AUTO(weir_conf_freep) struct weir_conf *conf = NULL;
	size_t ntypes;
	const struct weir_conf_type *types = weir_backend_types(&ntypes);
	const char *key;
	enum weir_code code;

	text_remote(r, &b);
	code = weir_conf_parse("weir.conf", weir_buf_str(&b), b.len, types, ntypes, &conf, err);
	if (code != WEIR_OK)
		return code;
	key = check_values(r, &conf->remotes[0]);
	return key == NULL ? WEIR_OK : weir_err_set(err, WEIR_E_CONFIG, "its '%s' cannot be written in a weir.conf", key);
}

/* "FILE:12: why" -> "why". */
static const char *
without_place(const char *sentence)
{
	const char *p = strstr(sentence, ": ");

	return p != NULL && p > sentence && p[-1] >= '0' && p[-1] <= '9' ? p + 2 : sentence;
}

/* Line by line: what shows the same files twice, say, is refused by name and the rest stands. */
static void
import_settle_lines(struct import *m)
{
	size_t ntypes, all = m->im.nlines, kept = 0;
	const struct weir_conf_type *types = weir_backend_types(&ntypes);

	for (size_t i = 0; i < all; i++) {
		WEIR_AUTO(weir_buf_free) struct weir_buf b = WEIR_BUF(IMPORT_MAX);
		WEIR_AUTO(weir_conf_freep) struct weir_conf *conf = NULL;
		struct weir_import_line l = m->im.lines[i];
		struct weir_err err = {0};

		m->im.lines[kept] = l;
		m->im.nlines = kept + 1;
		text_all(m, &b);
		if (weir_conf_parse(m->path, weir_buf_str(&b), b.len, types, ntypes, &conf, &err) == WEIR_OK) {
			kept++;
			continue;
		}
		weir_import_refuse(&m->im, "%s = %s: %s", l.path, l.value, without_place(err.msg));
		free(l.path);
		free(l.value);
	}
	m->im.nlines = kept;
}

/* What weir.conf cannot say as a type of weir's own is left to rclone; what it cannot say at all is refused by name. */
static void
import_settle(struct import *m)
{
	for (size_t i = 0; i < m->im.nremotes; ) {
		struct weir_import_remote *r = &m->im.remotes[i];
		struct weir_err err = {0};

		if (check_alone(r, &err) == WEIR_OK) {
			i++;
		} else if (!is_of_rclone(r) && strcmp(r->keys[0].value, "local") != 0) {
			weir_import_fall_back(&m->im, r, without_place(err.msg));
		} else
			weir_import_drop(&m->im, i, without_place(err.msg));
	}
	import_settle_lines(m);
}

/* One try. *bad: the remote that is not accepted, SIZE_MAX: it is something else. */
static enum weir_code
import_try(struct import *m, size_t *bad, struct weir_err *err)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf b = WEIR_BUF(IMPORT_MAX);
	WEIR_AUTO(weir_conf_freep) struct weir_conf *conf = NULL;
	struct weir_http *http = NULL;
	size_t ntypes;
	const struct weir_conf_type *types = weir_backend_types(&ntypes);
	enum weir_code r;

	*bad = SIZE_MAX;
	text_all(m, &b);
	if (b.is_full)
		return weir_err_set(err, WEIR_E_CONFIG, "%s would become larger than 1 MiB", m->path);
	if (m->is_dry)		/* secret files are not there yet: the text alone */
		return weir_conf_parse(m->path, weir_buf_str(&b), b.len, types, ntypes, &conf, err);
	if (weir_write_file(m->temp, weir_buf_str(&b), b.len) < 0)
		return weir_err_errno(err, errno, "'%s'", m->temp);
	r = weir_conf_load(m->temp, types, ntypes, &conf, err);
	if (r == WEIR_OK)
		r = weir_http_new(&http, err);
	for (size_t i = 0; r == WEIR_OK && i < m->im.nremotes; i++) {
		r = check_remote(&m->im.remotes[i], conf, http, err);
		*bad = r != WEIR_OK ? i : SIZE_MAX;
	}
	if (http != NULL)
		weir_http_free(http);
	return r;
}

/* A type of weir's own that is not accepted, for whatever reason, is left to rclone; then once more. */
static enum weir_code
import_check(struct import *m, struct weir_err *err)
{
	enum weir_code r;
	size_t bad;

	while ((r = import_try(m, &bad, err)) != WEIR_OK && bad != SIZE_MAX && !is_of_rclone(&m->im.remotes[bad]) &&
	    strcmp(m->im.remotes[bad].keys[0].value, "local") != 0) {
		WEIR_AUTO(weir_freep) char *why = weir_xstrdup(weir_err_text(err, r));

		weir_import_fall_back(&m->im, &m->im.remotes[bad], why);
	}
	return r;
}

/* ---- the verb ---- */

static enum weir_code
import_target(struct import *m, const char *given, struct weir_err *err)
{
	struct stat st;
	size_t n, ntypes;
	const struct weir_conf_type *types = weir_backend_types(&ntypes);
	char *slash;
	enum weir_code r;

	m->path = given != NULL ? weir_xstrdup(given) : weir_path_expand("~/.config/weir/weir.conf", err);
	if (m->path == NULL)
		return WEIR_E_CONFIG;
	if (m->path[0] != '/') {
		WEIR_AUTO(weir_freep) char *cwd = getcwd(NULL, 0);
		char *full = weir_path_join(cwd != NULL ? cwd : "", m->path);

		free(m->path);
		m->path = full;
	}
	m->mode = 0600;
	if (stat(m->path, &st) == 0) {
		char *real = realpath(m->path, NULL);	/* a link stays one */

		if (real != NULL) {
			free(m->path);
			m->path = real;
		}
		m->mode = st.st_mode & 0777;
		if (weir_read_file(m->path, IMPORT_MAX, &m->have, &n) < 0)
			return weir_err_errno(err, errno, "'%s'", m->path);
		r = weir_conf_load(m->path, types, ntypes, &m->conf, err);
		if (r != WEIR_OK)
			return r;
	} else
		m->have = weir_xstrdup("");
	m->dir = weir_xstrdup(m->path);
	slash = strrchr(m->dir, '/');
	*(slash == m->dir ? slash + 1 : slash) = '\0';
	m->temp = weir_xasprintf("%s.new", m->path);
	if (!m->is_dry && weir_mkdirs(m->dir, 0700) < 0)
		return weir_err_errno(err, errno, "'%s'", m->dir);
	return WEIR_OK;
}

static enum weir_code
import_source(struct import *m, const char *given, struct weir_rclone_ini **ini, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *path = given != NULL ? weir_xstrdup(given) : weir_rclone_ini_path();
	enum weir_code r;

	if (path == NULL)
		return weir_err_set(err, WEIR_E_NOENT, "there is no rclone.conf: RCLONE_CONFIG is empty");
	m->im.file = realpath(path, NULL);
	if (m->im.file == NULL)
		return weir_err_errno(err, errno, "'%s'", path);
	r = weir_rclone_ini_load(m->im.file, ini, err);
	if (r == WEIR_E_CONFIG && err != NULL && strstr(err->msg, "is encrypted") != NULL)
		return weir_err_set(err, r, "'%s' is encrypted: run 'rclone config show > plain.conf' (it asks for the password, or takes RCLONE_CONFIG_PASS), "
		    "import that file with 'weir import rclone plain.conf', and remove it when no remote of type rclone names it", m->im.file);
	return r;
}

static void
import_tell(const struct import *m)
{
	for (size_t i = 0; i < m->im.nremotes; i++) {
		const struct weir_import_remote *r = &m->im.remotes[i];
		WEIR_AUTO(weir_freep) char *as = strcmp(r->source, r->name) != 0 ? weir_xasprintf(" as '%s'", r->name) : weir_xstrdup("");

		printf("%s%s: type %s%s%s%s\n", r->source, as, r->keys[0].value, r->note != NULL ? " (" : "", r->note != NULL ? r->note : "",
		    r->note != NULL ? ")" : "");
	}
	for (size_t i = 0; i < m->im.nlines; i++)
		printf("%s = %s\n", m->im.lines[i].path, m->im.lines[i].value);
	for (size_t i = 0; i < m->im.nrefused; i++)
		printf("not imported: %s\n", m->im.refused[i]);
}

/* Somebody may have edited it meanwhile: then theirs stays. */
static enum weir_code
import_place(struct import *m, struct weir_err *err)
{
	WEIR_AUTO(weir_secret_freep) char *now = NULL;
	size_t n;

	if (weir_read_file(m->path, IMPORT_MAX, &now, &n) < 0 && errno != ENOENT)
		return weir_err_errno(err, errno, "'%s'", m->path);
	if (strcmp(now != NULL ? now : "", m->have) != 0)
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' was edited meanwhile", m->path);
	if (chmod(m->temp, m->mode) < 0 || rename(m->temp, m->path) < 0)
		return weir_err_errno(err, errno, "'%s'", m->path);
	return WEIR_OK;
}

static enum weir_code
import_do(struct import *m, struct weir_err *err)
{
	enum weir_code r = import_secrets(m, err);

	if (r == WEIR_OK)
		r = import_check(m, err);
	if (r == WEIR_OK && !m->is_dry)
		r = import_place(m, err);
	if (r != WEIR_OK)
		import_undo(m);
	return r;
}

/* Secret files of a remote that fell back to rclone are of no use. */
static void
import_sweep(struct import *m, const char *text)
{
	for (size_t i = 0; i < m->nmade; i++)
		if (strstr(text, m->made[i]) == NULL)
			secret_remove(m->made[i]);
}

static int
import_finish(struct import *m)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf b = WEIR_BUF(IMPORT_MAX);
	struct weir_err err = {0};
	enum weir_code r;

	if (m->im.nremotes == 0 && m->im.nlines == 0) {
		import_tell(m);
		weir_say("nothing was imported from %s", m->im.file);
		return WEIR_EXIT_FAILED;
	}
	r = import_do(m, &err);
	if (r != WEIR_OK) {
		weir_say("%s; nothing was changed", weir_err_text(&err, r));
		return WEIR_EXIT_CONFIG;
	}
	if (m->is_dry) {
		weir_buf_addf(&b, "# from %s\n", m->im.file);
		text_remotes(m, &b);
		if (m->im.nlines > 0)
			weir_buf_adds(&b, "\n[namespace]\n");
		text_lines(m, &b);
		printf("%s\n", weir_buf_str(&b));
	} else {
		text_all(m, &b);
		import_sweep(m, weir_buf_str(&b));
	}
	import_tell(m);
	if (!m->is_dry)
		printf("%s: written; 'weir check -c %s' asks every remote\n", m->path, m->path);
	return WEIR_EXIT_OK;
}

static void
import_free(struct import *m)
{
	weir_import_clear(&m->im);
	for (size_t i = 0; i < m->nmade; i++)
		free(m->made[i]);
	free(m->made);
	free((char *)(uintptr_t)m->im.file);
	free(m->path);
	free(m->dir);
	free(m->temp);
	weir_secret_free(m->have);
	weir_conf_free(m->conf);
}

static int
import_run(const struct weir_verb *verb, int argc, char **argv)
{
	struct import_options o = {0};
	struct import m = {0};
	WEIR_AUTO(weir_rclone_ini_freep) struct weir_rclone_ini *ini = NULL;
	struct weir_err err = {0};
	enum weir_code r;
	int status, first = weir_opt_parse(verb, &o, argc, argv, &status);

	if (first < 0)
		return status;
	if (strcmp(argv[first], "rclone") != 0) {
		weir_say("import: '%s' is nothing to import from; there is: rclone", argv[first]);
		free(o.buckets.v);
		return WEIR_EXIT_USAGE;
	}
	m.is_dry = o.is_dry;
	r = import_source(&m, argv[first + 1], &ini, &err);
	if (r == WEIR_OK)
		r = import_target(&m, o.conf, &err);
	if (r == WEIR_OK) {
		m.im.ini = ini;
		m.im.have = m.conf;
		m.im.buckets = &o.buckets;
		weir_import_rclone(&m.im);
		import_settle(&m);
		status = import_finish(&m);
	} else {
		weir_say("%s", weir_err_text(&err, r));
		status = r == WEIR_E_CONFIG ? WEIR_EXIT_CONFIG : WEIR_EXIT_FAILED;
	}
	import_free(&m);
	free(o.buckets.v);
	return status;
}

const struct weir_verb weir_verb_import = {
    .name = "import",
    .operands = "rclone [FILE]",
    .summary = "make remotes out of an rclone.conf",
    .details = "FILE: the rclone.conf (default: where rclone looks). Remotes of type webdav (Nextcloud too), s3, drive and dropbox become weir's own, with\n"
	       "their passwords and sign-ins; alias, combine and union become lines of [namespace]; all others go through rclone (type = rclone).\n"
	       "What is in weir.conf already stays as it is.",
    .opts = import_opts,
    .nopts = WEIR_LEN(import_opts),
    .run = import_run,
    .min_operands = 1,
    .max_operands = 2,
};
