/* SPDX-License-Identifier: Apache-2.0 */
/* The run of the contract's promises, and what they are made of: bytes that show where they belong, calls with the usual arguments. */
#include "config.h"

#include "contract.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void contract_line(struct weir_contract *, const char *fmt, ...) WEIR_PRINTF(2, 3);

static void
contract_line(struct weir_contract *c, const char *fmt, ...)
{
	char text[1200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c->line(c->arg, text);
}

void
t_say(struct t *t, const char *fmt, ...)
{
	char text[1100];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	contract_line(t->run, "# %s", text);
}

bool
t_check(struct t *t, bool ok, const char *file, int line, const char *what)
{
	if (!ok) {
		t_say(t, "%s:%d: not so: %s", file, line, what);
		t->is_failed = true;
	}
	return ok;
}

bool
t_code(struct t *t, enum weir_code got, enum weir_code want, const char *file, int line, const char *what)
{
	if (got != want) {
		t_say(t, "%s:%d: %s is %s, not %s: %s", file, line, what, weir_code_name(got), weir_code_name(want),
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
		t_say(t, "'%s' holds '%s', not '%s'", path, weir_buf_str(&k.buf), text);
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
	return (o->upload_begin != NULL && o->upload_part != NULL && o->upload_status != NULL && o->upload_commit != NULL ?
		HOOK_UPLOAD : 0u) |
	       (o->upload_abort != NULL ? HOOK_ABORT : 0u) |
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

static bool
is_cancelled(const struct weir_contract *c)
{
	return c->cancel != NULL && atomic_load(&c->cancel->is_set);
}

static void
run_one(struct weir_contract *c, struct t *t, const char *root, const struct promise *p)
{
	WEIR_AUTO(weir_freep) char *dir = NULL;
	char name[128], sub[16];

	title(p->name, name);
	c->number++;
	t->is_failed = false;
	t->skip = NULL;
	t->err = (struct weir_err){ 0 };
	if ((p->hooks & ~hooks(bottom(t->be))) != 0)
		t->skip = "this storage has no such operation";
	else if ((p->caps & ~weir_backend_caps(t->be)) != 0)
		t->skip = p->cap_name;
	if (t->skip != NULL) {
		contract_line(c, "ok %d - %s # SKIP %s%s", c->number, name, t->skip == p->cap_name ? "capability " : "", t->skip);
		c->skipped++;
		return;
	}
	snprintf(sub, sizeof(sub), "p%d", c->number);
	dir = weir_path_join(root, sub);
	t->dir = dir;
	if (OK(t, t_mkdir(t, dir)))
		p->fn(t);
	c->failed += t->is_failed;
	c->skipped += t->skip != NULL && !t->is_failed;
	if (t->skip != NULL && !t->is_failed)
		contract_line(c, "ok %d - %s # SKIP %s", c->number, name, t->skip);
	else
		contract_line(c, "%s %d - %s", t->is_failed ? "not ok" : "ok", c->number, name);
	clean(t, dir);
}

static void
run_list(struct weir_contract *c, struct t *t, const char *root, const struct promise *list)
{
	for (; list->name != NULL && !is_cancelled(c); list++)
		if (c->only == NULL || strcmp(c->only, list->name) == 0)
			run_one(c, t, root, list);
}

static struct weir_backend *
reopen(struct t *t)
{
	struct weir_backend *be = NULL;

	return OK(t, weir_backend_open(&be, t->run->remote, t->run->http, &t->err)) ? be : NULL;
}

static void
say_caps(struct t *t)
{
	static const char *const names[] = { "RANGES", "CAS_CREATE", "CAS_PUT", "CAS_COMMIT", "CAS_COPY", "CAS_DELETE", "MTIME", "MODE",
		"SYMLINK", "DIRS", "DIR_MOVE", "LIST_DEEP", "DIR_VERSION", "FOLD_CASE", "FOLD_NFC", "LIST_MTIME", "LOCAL", "WAITS", "SEQUENTIAL",
		"LAST_ALONE", "PARTS_UNTOLD" };
	unsigned caps = weir_backend_caps(t->be);
	struct weir_buf line = WEIR_BUF(4096);

	for (size_t i = 0; i < WEIR_LEN(names); i++)
		if (caps & 1u << i)
			weir_buf_addf(&line, " %s", names[i]);
	t_say(t, "capabilities:%s", weir_buf_str(&line));
	weir_buf_free(&line);
}

static void
say_line(void *arg, const char *line)
{
	t_say(arg, "check: %s", line);
}

bool
weir_contract_run(struct weir_contract *c)
{
	struct t run = { .be = c->be, .ops = c->be->ops, .reopen = reopen, .run = c }, *t = &run;
	WEIR_AUTO(weir_freep) char *fingerprint = t->ops->fingerprint(t->be);
	char random[9], root[32];

	t_say(t, "%s", fingerprint);
	if (!OK(t, t->ops->probe(t->be, &t->ctx, &t->err))) {
		contract_line(c, "Bail out! probe: %s", weir_err_text(&t->err, t->err.code));
		c->failed++;
		return false;
	}
	if (bottom(t->be)->check != NULL && !OK(t, t->ops->check(t->be, &t->ctx, say_line, t, &t->err)))
		c->failed++;
	say_caps(t);
	weir_random_hex(random, 8);
	snprintf(root, sizeof(root), "weir-live-%s", random);
	if (!OK(t, t_mkdir(t, root))) {
		contract_line(c, "Bail out! no directory can be made");
		c->failed++;
		return false;
	}
	run_list(c, t, root, promises_file);
	run_list(c, t, root, promises_tree);
	run_list(c, t, root, promises_upload);
	clean(t, root);
	if (is_cancelled(c)) {
		contract_line(c, "Bail out! interrupted; what was made there is removed");
		c->failed++;
	} else
		contract_line(c, "1..%d", c->number);
	return c->failed == 0;
}
