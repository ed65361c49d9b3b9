/* SPDX-License-Identifier: Apache-2.0 */
/* contract CONF REMOTE [PROMISE]: opens the remote as weir does (all its layers) and runs the list of promises against it.
 * TAP on standard output. Everything happens below one directory that is removed at the end.
 * Exit: 0 all kept, 1 not, 77 when CONF or REMOTE is missing. */
#include "config.h"

#include "contract.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct run {
	struct weir_conf *conf;
	const struct weir_remote_conf *remote;
	struct weir_http *http;
	int number, failed;
	const char *only;
};

bool
t_check(struct t *t, bool ok, const char *file, int line, const char *what)
{
	if (!ok) {
		printf("# %s:%d: not so: %s\n", file, line, what);
		t->is_failed = true;
	}
	return ok;
}

bool
t_code(struct t *t, enum weir_code got, enum weir_code want, const char *file, int line, const char *what)
{
	if (got != want) {
		printf("# %s:%d: %s is %s, not %s: %s\n", file, line, what, weir_code_name(got), weir_code_name(want),
		    got == WEIR_OK ? "" : weir_err_text(&t->err, got));
		t->is_failed = true;
	}
	return got == want;
}

char *
t_path(struct t *t, const char *name)
{
	return weir_path_join(t->dir, name);
}

/* ---- bytes ---- */

unsigned char
t_byte(unsigned seed, uint64_t off)
{
	uint64_t x = (off + 1) * 0x9E3779B97F4A7C15u + seed * 0xD1B54A32D192ED03u;

	return (unsigned char)(x >> 56 ^ x >> 24);
}

static ssize_t
source_read(struct weir_source *src, void *buf, size_t len, uint64_t off)
{
	struct t_source *s = (struct t_source *)src;
	unsigned char *p = buf;

	if (off >= s->size)
		return 0;
	if (len > s->size - off)
		len = (size_t)(s->size - off);
	for (size_t i = 0; i < len; i++)
		p[i] = s->text != NULL ? (unsigned char)s->text[off + i] : t_byte(s->seed, off + i);
	return (ssize_t)len;
}

void
t_source_init(struct t_source *s, unsigned seed, uint64_t size)
{
	*s = (struct t_source){ { source_read }, seed, size, NULL };
}

void
t_source_text(struct t_source *s, const char *text)
{
	*s = (struct t_source){ { source_read }, 0, strlen(text), text };
}

static enum weir_code
sink_write(struct weir_sink *sink, const void *data, size_t len)
{
	struct t_sink *k = (struct t_sink *)sink;
	const unsigned char *p = data;

	if (k->is_kept && weir_buf_add(&k->buf, data, len) < 0)
		return WEIR_E_NOSPC;
	for (size_t i = 0; !k->is_kept && i < len; i++)
		k->bad += p[i] != t_byte(k->seed, k->off + k->got + i);
	k->got += len;
	return WEIR_OK;
}

void
t_sink_seed(struct t_sink *k, unsigned seed, uint64_t off)
{
	*k = (struct t_sink){ .sink = { sink_write }, .seed = seed, .off = off };
}

void
t_sink_keep(struct t_sink *k)
{
	*k = (struct t_sink){ .sink = { sink_write }, .is_kept = true, .buf = WEIR_BUF(1u << 20) };
}

/* ---- calls ---- */

static enum weir_code
put_source(struct t *t, const char *path, const char *version, struct t_source *src, struct weir_stat *st)
{
	const struct weir_where w = { .path = path, .version = version };
	const struct weir_meta meta = { WEIR_TIME_NONE, WEIR_MODE_NONE };
	struct weir_stat done = { 0 };
	enum weir_code r = t->ops->put(t->be, &t->ctx, &w, WEIR_FILE, &src->src, src->size, &meta, NULL, &done, &t->err);

	if (r == WEIR_OK && st != NULL) {
		*st = done;
		done = (struct weir_stat){ 0 };
	}
	weir_stat_free(&done);
	return r;
}

enum weir_code
t_put(struct t *t, const char *path, const char *version, const char *text, struct weir_stat *st)
{
	struct t_source src;

	t_source_text(&src, text);
	return put_source(t, path, version, &src, st);
}

enum weir_code
t_put_seed(struct t *t, const char *path, const char *version, unsigned seed, uint64_t size, struct weir_stat *st)
{
	struct t_source src;

	t_source_init(&src, seed, size);
	return put_source(t, path, version, &src, st);
}

enum weir_code
t_get(struct t *t, const char *path, const char *version, uint64_t off, uint64_t len, struct t_sink *sink, struct weir_stat *st)
{
	const struct weir_where w = { .path = path, .version = version };

	return t->ops->get(t->be, &t->ctx, &w, off, len, &sink->sink, st, &t->err);
}

enum weir_code
t_stat(struct t *t, const char *path, struct weir_stat *st)
{
	const struct weir_where w = { .path = path };

	return t->ops->stat(t->be, &t->ctx, &w, st, &t->err);
}

enum weir_code
t_remove(struct t *t, const char *path, const char *version, bool is_dir)
{
	const struct weir_where w = { .path = path, .version = version };

	return t->ops->remove(t->be, &t->ctx, &w, is_dir, &t->err);
}

enum weir_code
t_mkdir(struct t *t, const char *path)
{
	const struct weir_where w = { .path = path };
	struct weir_stat st = { 0 };
	enum weir_code r = t->ops->mkdir(t->be, &t->ctx, &w, &st, &t->err);

	weir_stat_free(&st);
	return r;
}

void
t_holds(struct t *t, const char *path, const char *text)
{
	struct t_sink k;

	t_sink_keep(&k);
	if (OK(t, t_get(t, path, NULL, 0, UINT64_MAX, &k, NULL)) &&
	    (k.buf.len != strlen(text) || memcmp(weir_buf_str(&k.buf), text, k.buf.len) != 0)) {
		printf("# '%s' holds '%s', not '%s'\n", path, weir_buf_str(&k.buf), text);
		t->is_failed = true;
	}
	weir_buf_free(&k.buf);
}

static enum weir_code
list_add(void *arg, const struct weir_stat *st, struct weir_err *err)
{
	struct t_list *l = arg;

	if (l->n == l->cap) {
		l->cap = l->cap == 0 ? 64 : l->cap * 2;
		l->v = weir_xrealloc(l->v, l->cap, sizeof(*l->v));
	}
	l->v[l->n] = *st;
	l->v[l->n].path = weir_xstrdup(st->path);
	l->v[l->n].id = weir_xstrdup(st->id);
	l->v[l->n].version = weir_xstrdup(st->version);
	l->v[l->n].sum = weir_xstrdup(st->sum);
	l->n++;
	return WEIR_OK;
}

enum weir_code
t_list(struct t *t, const char *path, unsigned flags, struct t_list *l)
{
	const struct weir_where w = { .path = path };

	*l = (struct t_list){ 0 };
	return t->ops->list(t->be, &t->ctx, &w, flags, list_add, l, NULL, &t->err);
}

const struct weir_stat *
t_list_find(const struct t_list *l, const char *path, size_t *times)
{
	const struct weir_stat *found = NULL;
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->v[i].path, path) == 0) {
			found = &l->v[i];
			n++;
		}
	}
	if (times != NULL)
		*times = n;
	return found;
}

void
t_list_free(struct t_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		weir_stat_free(&l->v[i]);
	free(l->v);
	*l = (struct t_list){ 0 };
}

/* ---- threads ---- */

struct parallel { void (*fn)(void *, int); void *arg; int n; atomic_int next; };

static void *
parallel_main(void *p)
{
	struct parallel *w = p;

	for (int i; (i = atomic_fetch_add(&w->next, 1)) < w->n;)
		w->fn(w->arg, i);
	return NULL;
}

void
t_parallel(int n, int threads, void (*fn)(void *arg, int i), void *arg)
{
	struct parallel w = { fn, arg, n, 0 };
	pthread_t id[16];
	int started = 0;

	while (started < threads && started < 16 && pthread_create(&id[started], NULL, parallel_main, &w) == 0)
		started++;
	if (started == 0)
		parallel_main(&w);
	while (started > 0)
		pthread_join(id[--started], NULL);
}

/* ---- the run ---- */

static int
clean_deepest_first(const void *a, const void *b)
{
	return strcmp(((const struct weir_stat *)b)->path, ((const struct weir_stat *)a)->path);
}

/* Remove a directory and all below it; silent, since promises leave all kinds of things behind. */
static void
clean(struct t *t, const char *path)
{
	struct t_list l;

	if (t_list(t, path, 0, &l) == WEIR_OK && l.n > 0) {
		qsort(l.v, l.n, sizeof(*l.v), clean_deepest_first);
		for (size_t i = 0; i < l.n; i++) {
			WEIR_AUTO(weir_freep) char *p = weir_path_join(path, l.v[i].path);

			if (l.v[i].type == WEIR_DIR)
				clean(t, p);
			else
				t_remove(t, p, NULL, false);
		}
	}
	t_list_free(&l);
	t_remove(t, path, NULL, true);
}

static unsigned
hooks(const struct weir_backend_ops *o)
{
	return (o->upload_begin != NULL && o->upload_part != NULL && o->upload_status != NULL && o->upload_commit != NULL &&
		o->upload_abort != NULL ? HOOK_UPLOAD : 0u) |
	       (o->upload_copy_part != NULL ? HOOK_COPY_PART : 0u) | (o->copy != NULL ? HOOK_COPY : 0u) |
	       (o->move != NULL ? HOOK_MOVE : 0u) | (o->set_meta != NULL ? HOOK_SET_META : 0u) | (o->quota != NULL ? HOOK_QUOTA : 0u);
}

/* What the storage at the bottom offers: layers have every hook. */
static const struct weir_backend_ops *
bottom(struct weir_backend *be)
{
	while (be->next != NULL)
		be = be->next;
	return be->ops;
}

static void
title(const char *name, char out[128])
{
	snprintf(out, 128, "%s", name);
	for (char *p = out; *p != '\0'; p++)
		if (*p == '_')
			*p = ' ';
}

static void
run_one(struct run *r, struct t *t, const char *root, const struct promise *p)
{
	WEIR_AUTO(weir_freep) char *dir = NULL;
	char name[128], sub[16];

	title(p->name, name);
	r->number++;
	t->is_failed = false;
	t->skip = NULL;
	t->err = (struct weir_err){ 0 };
	if ((p->hooks & ~hooks(bottom(t->be))) != 0) {
		printf("ok %d - %s # SKIP this storage has no such operation\n", r->number, name);
		return;
	}
	if ((p->caps & ~weir_backend_caps(t->be)) != 0) {
		printf("ok %d - %s # SKIP capability %s\n", r->number, name, p->cap_name);
		return;
	}
	snprintf(sub, sizeof(sub), "p%d", r->number);
	dir = weir_path_join(root, sub);
	t->dir = dir;
	if (OK(t, t_mkdir(t, dir)))
		p->fn(t);
	r->failed += t->is_failed;
	if (t->skip != NULL && !t->is_failed)
		printf("ok %d - %s # SKIP %s\n", r->number, name, t->skip);
	else
		printf("%s %d - %s\n", t->is_failed ? "not ok" : "ok", r->number, name);
	fflush(stdout);
	clean(t, dir);
}

static void
run_list(struct run *r, struct t *t, const char *root, const struct promise *list)
{
	for (; list->name != NULL; list++)
		if (r->only == NULL || strcmp(r->only, list->name) == 0)
			run_one(r, t, root, list);
}

static struct weir_backend *
reopen(struct t *t)
{
	struct run *r = t->reopen_arg;
	struct weir_backend *be = NULL;

	return OK(t, weir_backend_open(&be, r->remote, r->http, &t->err)) ? be : NULL;
}

static void
say_caps(struct t *t)
{
	static const char *const names[] = { "RANGES", "CAS_CREATE", "CAS_PUT", "CAS_COMMIT", "CAS_COPY", "CAS_DELETE", "MTIME", "MODE",
		"SYMLINK", "DIRS", "DIR_MOVE", "LIST_DEEP", "DIR_VERSION", "FOLD_CASE", "FOLD_NFC", "LIST_MTIME", "LOCAL" };
	unsigned caps = weir_backend_caps(t->be);

	printf("# capabilities:");
	for (size_t i = 0; i < WEIR_LEN(names); i++)
		if (caps & 1u << i)
			printf(" %s", names[i]);
	printf("\n");
}

static void
say_line(void *arg, const char *line)
{
	printf("# check: %s\n", line);
}

static void
run_all(struct run *r, struct t *t)
{
	WEIR_AUTO(weir_freep) char *fingerprint = t->ops->fingerprint(t->be);
	char random[9], root[32];

	printf("# %s\n", fingerprint);
	if (!OK(t, t->ops->probe(t->be, &t->ctx, &t->err))) {
		printf("Bail out! probe: %s\n", weir_err_text(&t->err, t->err.code));
		r->failed++;
		return;
	}
	if (bottom(t->be)->check != NULL && !OK(t, t->ops->check(t->be, &t->ctx, say_line, NULL, &t->err)))
		r->failed++;
	say_caps(t);
	weir_random_hex(random, 8);
	snprintf(root, sizeof(root), "contract-%s", random);
	if (!OK(t, t_mkdir(t, root))) {
		printf("Bail out! no directory can be made\n");
		r->failed++;
		return;
	}
	run_list(r, t, root, promises_file);
	run_list(r, t, root, promises_tree);
	run_list(r, t, root, promises_upload);
	clean(t, root);
	printf("1..%d\n", r->number);
}

static int
fail(const char *what, enum weir_code r, const struct weir_err *err)
{
	printf("Bail out! %s: %s\n", what, weir_err_text(err, r));
	return 1;
}

int
main(int argc, char **argv)
{
	struct run run = { 0 };
	struct t t = { .reopen = reopen, .reopen_arg = &run };
	const struct weir_conf_type *types;
	size_t ntypes;
	enum weir_code r;

	if (argc < 3) {
		printf("1..0 # SKIP usage: contract CONF REMOTE [PROMISE]\n");
		return 77;
	}
	weir_log_setup("contract", false, WEIR_LOG_WARN);
	run.only = argc > 3 ? argv[3] : NULL;
	types = weir_backend_types(&ntypes);
	r = weir_conf_load(argv[1], types, ntypes, &run.conf, &t.err);
	if (r != WEIR_OK)
		return fail("configuration", r, &t.err);
	run.remote = weir_conf_remote(run.conf, argv[2]);
	if (run.remote == NULL)
		return fail("no such remote", WEIR_E_CONFIG, NULL);
	r = weir_http_new(&run.http, &t.err);
	if (r == WEIR_OK)
		r = weir_backend_open(&t.be, run.remote, run.http, &t.err);
	if (r != WEIR_OK)
		return fail("open", r, &t.err);
	t.ops = t.be->ops;
	run_all(&run, &t);
	weir_backend_close(t.be);
	weir_http_free(run.http);
	weir_conf_free(run.conf);
	return run.failed > 0;
}
