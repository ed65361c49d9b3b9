/* SPDX-License-Identifier: Apache-2.0 */
/* Changes made elsewhere: from a storage's feed, or none, to the tree and to what the front is told. The remote is a folder under a layer of this
 * test's own that gives ids, tells changes when the test says so, counts what is asked, and holds or spoils an answer. */
#include "config.h"

#include <CUnit/Basic.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Two rooms count their operations under these names, and meet nowhere but here. */
#define weir_op weir_call_op
#define WEIR_OP_MKDIR WEIR_CALL_OP_MKDIR
#include "../../backends/layers.h"
#undef weir_op
#undef WEIR_OP_MKDIR
#include "../../src/fs/fs.h"
#include "../../src/fs/internal.h"
#include "../../src/sync/internal.h"

static char top[64], cache[96], there[96];
static unsigned round_no;
static struct weir_conf *conf;
static struct weir_opens *opens;
static struct weir_fs *fs;
static struct weir_remote *remote;
static struct weir_err err;
static uint64_t base;			/* node of /r */

/* ---- the storage ---- */

struct said { char *id, *parent_id, *path, *name, *version; bool is_removed, is_dir; };

static struct fake {
	struct weir_layer layer;
	pthread_mutex_t mu;
	pthread_cond_t cond;
	struct said said[4096];		/* the feed: entry i is change i + 1 */
	size_t nsaid;
	bool is_stale;			/* the next question finds its cursor dead */
	unsigned asked, gets, lists;
	char list_path[128];		/* lists counts those of this directory only, when set */
	unsigned list_fails;		/* so many listings to come fail */
	bool holds_list, is_held;	/* the next listing stops after it has read, until let go */
	bool holds_move;
} *fake;
static size_t told_before;		/* the feed outlives a restart of weir */
static struct said kept[4096];

static char *
id_of(const char *path)
{
	WEIR_AUTO(weir_freep) char *full = weir_xasprintf("%s/%s", there, path);
	struct stat sb;

	return lstat(full, &sb) ? NULL : weir_xasprintf("id%llu", (unsigned long long)sb.st_ino);
}

struct relay { weir_list_fn *fn; void *arg; const char *dir; };

static enum weir_code
list_with_id(void *arg, const struct weir_stat *st, struct weir_err *e)
{
	struct relay *relay = arg;
	struct weir_stat with = *st;
	WEIR_AUTO(weir_freep) char *path = weir_path_join(relay->dir, st->path);
	WEIR_AUTO(weir_freep) char *id = id_of(path);

	with.id = id;
	return relay->fn(relay->arg, &with, e);
}

static enum weir_code
fake_list(struct fake *f, const struct weir_call *c, struct weir_err *e)
{
	struct relay relay = { .fn = c->list_fn, .arg = c->arg, .dir = c->where->path };
	struct weir_call now = *c;
	bool fails;
	enum weir_code r;

	pthread_mutex_lock(&f->mu);
	f->lists += !f->list_path[0] || strcmp(f->list_path, c->where->path) == 0;
	fails = f->list_fails > 0;
	f->list_fails -= fails;
	pthread_mutex_unlock(&f->mu);
	if (fails)
		return weir_err_set(e, WEIR_E_SERVER, "not now");
	now.list_fn = list_with_id;
	now.arg = &relay;
	r = weir_call_run(f->layer.base.next, &now, e);
	pthread_mutex_lock(&f->mu);
	if (f->holds_list) {
		f->is_held = true;
		pthread_cond_broadcast(&f->cond);
		while (f->holds_list)
			pthread_cond_wait(&f->cond, &f->mu);
		f->is_held = false;
	}
	pthread_mutex_unlock(&f->mu);
	return r;
}

static enum weir_code
fake_around(struct weir_layer *l, const struct weir_call *c, struct weir_err *e)
{
	struct fake *f = (struct fake *)l;
	enum weir_code r;

	if (c->op == WEIR_OP_LIST)
		return fake_list(f, c, e);
	r = weir_call_run(l->base.next, c, e);
	if (!r && c->st && (c->op == WEIR_OP_STAT || c->op == WEIR_OP_PUT || c->op == WEIR_OP_MOVE || c->op == WEIR_CALL_OP_MKDIR)) {
		free(c->st->id);
		c->st->id = id_of(c->op == WEIR_OP_MOVE ? c->to->path : c->where->path);
	}
	pthread_mutex_lock(&f->mu);
	f->gets += c->op == WEIR_OP_GET;
	while (c->op == WEIR_OP_MOVE && f->holds_move)
		pthread_cond_wait(&f->cond, &f->mu);
	pthread_mutex_unlock(&f->mu);
	return r;
}

static enum weir_code
fake_changes(struct weir_backend *b, const struct weir_ctx *ctx, char **cursor, int64_t wait_ms, weir_change_fn *fn, void *arg, struct weir_err *e)
{
	struct fake *f = (struct fake *)b;
	int64_t until = weir_now_ms() + wait_ms;
	size_t from = *cursor ? strtoul(*cursor, NULL, 10) : 0;
	enum weir_code r = WEIR_OK;

	pthread_mutex_lock(&f->mu);
	f->asked++;
	while (*cursor && from == f->nsaid && !f->is_stale && weir_now_ms() < until && !atomic_load(&ctx->cancel->is_set)) {
		pthread_mutex_unlock(&f->mu);
		usleep(5000);
		pthread_mutex_lock(&f->mu);
	}
	if (atomic_load(&ctx->cancel->is_set))
		r = WEIR_E_CANCELED;
	else if (f->is_stale && *cursor) {
		f->is_stale = false;
		r = weir_err_set(e, WEIR_E_STALE, "reset");
	}
	for (size_t i = *cursor ? from : f->nsaid; !r && i < f->nsaid; i++) {
		const struct said *s = &f->said[i];

		r = fn(arg, &(struct weir_change){ .id = s->id, .parent_id = s->parent_id, .path = s->path, .name = s->name, .version = s->version,
		    .is_removed = s->is_removed, .is_dir = s->is_dir }, e);
	}
	if (!r) {
		free(*cursor);
		*cursor = weir_xasprintf("%zu", f->nsaid);
	}
	pthread_mutex_unlock(&f->mu);
	return r;
}

static void
fake_free(struct weir_layer *l)
{
	struct fake *f = (struct fake *)l;

	memcpy(kept, f->said, sizeof(kept));
	told_before = f->nsaid;
	free(f);
}

static void
say(struct said s)
{
	pthread_mutex_lock(&fake->mu);
	fake->said[fake->nsaid++] = (struct said){ .id = weir_xstrdup(s.id), .parent_id = weir_xstrdup(s.parent_id), .path = weir_xstrdup(s.path),
		.name = weir_xstrdup(s.name), .version = weir_xstrdup(s.version), .is_removed = s.is_removed, .is_dir = s.is_dir };
	pthread_mutex_unlock(&fake->mu);
}

/* As Dropbox says it: where it is, and which. */
static void
say_path(const char *path)
{
	WEIR_AUTO(weir_freep) char *id = id_of(path);

	say((struct said){ .id = id, .path = (char *)(uintptr_t)path, .is_removed = !id });
}

static unsigned
counted(unsigned *what)
{
	unsigned n;

	pthread_mutex_lock(&fake->mu);
	n = *what;
	pthread_mutex_unlock(&fake->mu);
	return n;
}

/* ---- what the front is told ---- */

static struct heard { char text[64]; uint64_t ino; } heard[20000];
static atomic_uint nheard;

static void
hear(const char *kind, uint64_t ino, const char *name)
{
	unsigned i = atomic_fetch_add(&nheard, 1);

	if (i < WEIR_LEN(heard)) {
		snprintf(heard[i].text, sizeof(heard[i].text), "%s %s", kind, name);
		heard[i].ino = ino;
	}
}

static void
hear_node(void *arg, uint64_t ino, int64_t off, int64_t len)
{
	(void)arg;
	(void)len;
	hear(off < 0 ? "attr" : "data", ino, "");
}

static void
hear_entry(void *arg, uint64_t parent, const char *name)
{
	(void)arg;
	hear("entry", parent, name);
}

static void
hear_delete(void *arg, uint64_t parent, uint64_t child, const char *name)
{
	(void)arg;
	(void)child;
	hear("gone", parent, name);
}

static bool
was_told(const char *text, uint64_t ino)
{
	unsigned n = atomic_load(&nheard);

	for (unsigned i = 0; i < n && i < WEIR_LEN(heard); i++)
		if (heard[i].ino == ino && strcmp(heard[i].text, text) == 0)
			return true;
	return false;
}

#define WITHIN(ms, condition) __extension__({ \
	int64_t until_ = weir_now_ms() + (ms); \
	while (!(condition) && weir_now_ms() < until_) \
		usleep(3000); \
	(condition); })

/* ---- the stage ---- */

struct wait { pthread_mutex_t mu; pthread_cond_t cond; bool is_done; enum weir_code code; };

static void
wait_done(struct weir_op *op, enum weir_code code)
{
	struct wait *w = op->front;

	pthread_mutex_lock(&w->mu);
	w->is_done = true;
	w->code = code;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->mu);
}

static enum weir_code
call(struct weir_op *op)
{
	struct wait w = { .mu = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };
	struct timespec ts;
	enum weir_code r;

	op->done = wait_done;
	op->front = &w;
	op->uid = getuid();
	op->gid = getgid();
	if ((r = weir_fs_submit(fs, op)) != WEIR_PENDING)
		return r;
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += 60;
	pthread_mutex_lock(&w.mu);
	while (!w.is_done)
		if (pthread_cond_timedwait(&w.cond, &w.mu, &ts) == ETIMEDOUT)
			abort();
	pthread_mutex_unlock(&w.mu);
	return w.code;
}

static uint64_t
ino_of(const char *path)
{
	WEIR_AUTO(weir_freep) char *copy = weir_xstrdup(path);
	char *save = NULL;
	uint64_t ino = base;

	for (char *p = strtok_r(copy, "/", &save); p && ino; p = strtok_r(NULL, "/", &save)) {
		struct weir_op op = { .kind = WEIR_OP_LOOKUP, .ino = ino, .name = p };

		ino = call(&op) ? 0 : op.attr.ino;
	}
	return ino;
}

static uint64_t
size_of(uint64_t ino)
{
	struct weir_op op = { .kind = WEIR_OP_GETATTR, .ino = ino };

	return call(&op) ? UINT64_MAX : op.attr.size;
}

static bool
holds(const char *path, const char *text)
{
	struct weir_op op = { .kind = WEIR_OP_OPEN, .ino = ino_of(path), .flags = O_RDONLY }, rd;
	char buf[256] = "";
	enum weir_code r;

	if (!op.ino || call(&op))
		return false;
	rd = (struct weir_op){ .kind = WEIR_OP_READ, .ino = op.ino, .fh = op.fh, .buf = buf, .len = sizeof(buf) - 1 };
	r = call(&rd);
	op = (struct weir_op){ .kind = WEIR_OP_RELEASE, .ino = op.ino, .fh = op.fh };
	call(&op);
	return !r && strcmp(buf, text) == 0;
}

static enum weir_code
put(const char *path, const char *text)
{
	WEIR_AUTO(weir_freep) char *copy = weir_xstrdup(path), *body = weir_xstrdup(text);
	char *slash = strrchr(copy, '/');
	struct weir_op op = { .kind = WEIR_OP_CREATE, .flags = O_WRONLY | O_CREAT | O_TRUNC, .mode = 0644, .name = slash ? slash + 1 : copy }, wr, end;
	enum weir_code r;

	if (slash)
		*slash = 0;
	op.ino = slash ? ino_of(copy) : base;
	if ((r = call(&op)))
		return r;
	wr = (struct weir_op){ .kind = WEIR_OP_WRITE, .ino = op.attr.ino, .fh = op.fh, .buf = body, .len = strlen(text) };
	r = call(&wr);
	end = (struct weir_op){ .kind = WEIR_OP_FLUSH, .ino = op.attr.ino, .fh = op.fh };
	call(&end);
	end = (struct weir_op){ .kind = WEIR_OP_RELEASE, .ino = op.attr.ino, .fh = op.fh };
	call(&end);
	return r;
}

static enum weir_code
flush(void)
{
	return weir_fs_flush(fs, NULL, NULL, NULL, &err);
}

static char *
at(const char *path)
{
	static char full[4][256];
	static unsigned i;

	i = (i + 1) % 4;
	snprintf(full[i], sizeof(full[i]), "%s/%s", there, path);
	return full[i];
}

static void
there_put(const char *path, const char *text)
{
	int fd = open(at(path), O_WRONLY | O_CREAT | O_TRUNC, 0644);

	CU_ASSERT_FATAL(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
}

static bool
there_holds(const char *path, const char *text)
{
	WEIR_AUTO(weir_freep) char *got = NULL;
	size_t n;

	return !weir_read_file(at(path), 1 << 20, &got, &n) && strcmp(got, text) == 0;
}

/* A worker on this cache, with the layer of this test in the storage's stack. waits: the feed answers by itself. */
static void
start(unsigned caps)
{
	struct weir_fs_options o = { .conf = conf, .opens = opens, .is_first = true, .umask = 022, .uid = getuid(), .gid = getgid() };
	const struct weir_observer observer = { .inval_node = hear_node, .inval_entry = hear_entry, .delete_entry = hear_delete };
	struct weir_op op = { .kind = WEIR_OP_LOOKUP, .ino = WEIR_ROOT, .name = "r" };

	CU_ASSERT_EQUAL_FATAL(weir_fs_new(&o, &fs, &err), WEIR_OK);
	weir_fs_observe(fs, &observer);
	remote = weir_sync_remote_named(fs->sy, "r");
	CU_ASSERT_FATAL(WITHIN(60000, remote->state == WEIR_REMOTE_UP && !remote->is_probing));
	weir_store_lock(fs->st);
	fake = weir_xcalloc(1, sizeof(*fake));
	pthread_mutex_init(&fake->mu, NULL);
	pthread_cond_init(&fake->cond, NULL);
	memcpy(fake->said, kept, sizeof(kept));
	fake->nsaid = told_before;
	weir_layer_init(&fake->layer, remote->be, fake_around, fake_free);
	fake->layer.ops.changes = fake_changes;
	atomic_store(&weir_backend_bottom(remote->be)->caps, (weir_backend_caps(remote->be) & ~(unsigned)WEIR_CAP_LOCAL) | caps);
	remote->be = &fake->layer.base;
	weir_store_unlock(fs->st);
	watch_start(remote);
	CU_ASSERT_FATAL(call(&op) == WEIR_OK);
	base = op.attr.ino;
}

/* No directory is to be looked at again, and none is being looked at. */
static bool
is_settled(void)
{
	uint64_t dir;
	int64_t next;
	bool yes;

	weir_store_lock(fs->st);
	yes = !remote->listings && !weir_again_due(fs->st, remote->id, INT64_MAX, &dir, 1, &next);
	weir_store_unlock(fs->st);
	return yes;
}

static void
stop(void)
{
	weir_fs_free(fs);
	fs = NULL;
}

static void
fresh(unsigned caps)
{
	WEIR_AUTO(weir_freep) char *text = NULL;
	const struct weir_conf_type *types;
	size_t n;

	++round_no;
	snprintf(cache, sizeof(cache), "%s/cache%u", top, round_no);
	snprintf(there, sizeof(there), "%s/there%u", top, round_no);
	CU_ASSERT_FATAL(mkdir(there, 0755) == 0);
	CU_ASSERT_FATAL(mkdir(at("d"), 0755) == 0 && mkdir(at("e"), 0755) == 0);
	there_put("f", "one");
	there_put("d/g", "one");
	text = weir_xasprintf("[weir]\ncache_dir = %s\ncache_size = 1GB\n[remote r]\ntype = local\npath = %s\nlist_age = 1h\n", cache, there);
	types = weir_backend_types(&n);
	CU_ASSERT_EQUAL_FATAL(weir_conf_parse("t", text, strlen(text), types, n, &conf, &err), WEIR_OK);
	opens = weir_opens_new(1024);
	told_before = 0;
	start(caps);
	CU_ASSERT_FATAL(holds("f", "one") && holds("d/g", "one") && ino_of("e"));
	CU_ASSERT_FATAL(WITHIN(60000, remote->watch.is_good));
	CU_ASSERT_EQUAL(remote->watch.how, WEIR_WATCH_FEED);
	/* What was listed before this test's layer stood there is looked at again, so that all ids are known. */
	weir_store_lock(fs->st);
	CU_ASSERT_FATAL(!weir_store_begin(fs->st, &err) && !weir_again_all(fs->st, remote->id, &err) && !weir_store_commit(fs->st, &err));
	remote->watch.next_again_ms = 0;
	for (struct listing *l = remote->listings; l; l = l->next)
		l->is_outdated = true;
	weir_store_unlock(fs->st);
	CU_ASSERT_FATAL(WITHIN(60000, is_settled()));
	atomic_store(&nheard, 0);
	fake->lists = fake->gets = 0;
}

static void
end(void)
{
	stop();
	for (size_t i = 0; i < told_before; i++) {
		free(kept[i].id);
		free(kept[i].parent_id);
		free(kept[i].path);
		free(kept[i].name);
		free(kept[i].version);
	}
	memset(kept, 0, sizeof(kept));
	told_before = 0;
	weir_conf_free(conf);
	conf = NULL;
}

/* ---- the promises ---- */

static void
what_others_change_is_told(void)
{
	uint64_t f, d;
	int64_t began;

	fresh(WEIR_CAP_WAITS);
	f = ino_of("f");
	d = ino_of("d");
	began = weir_now_ms();
	there_put("new", "by another");
	say_path("new");
	CU_ASSERT(WITHIN(60000, was_told("entry new", base)));
	CU_ASSERT(holds("new", "by another"));
	there_put("f", "changed elsewhere");
	say_path("f");
	CU_ASSERT(WITHIN(60000, was_told("data ", f)));
	CU_ASSERT(ino_of("f") == f && size_of(f) == 17 && holds("f", "changed elsewhere"));
	CU_ASSERT(unlink(at("d/g")) == 0);
	say_path("d/g");
	CU_ASSERT(WITHIN(60000, was_told("gone g", d)));
	CU_ASSERT(!ino_of("d/g"));
	printf("# three changes, one after the other, took %lld ms\n", (long long)(weir_now_ms() - began));
	end();
}

static void
names_are_compared_as_the_storage_does(void)
{
	fresh(WEIR_CAP_WAITS | WEIR_CAP_FOLD_CASE);
	there_put("d/new", "x");
	say((struct said){ .path = (char[]){ "D/NEW" } });
	CU_ASSERT(WITHIN(60000, was_told("entry new", ino_of("d"))));
	CU_ASSERT(unlink(at("d/g")) == 0);
	say((struct said){ .path = (char[]){ "D/G" }, .is_removed = true });
	CU_ASSERT(WITHIN(60000, was_told("gone g", ino_of("d"))));
	end();
}

static void
ids_lead_to_places(void)
{
	WEIR_AUTO(weir_freep) char *root_id = NULL, *g = NULL, *d = NULL;

	fresh(WEIR_CAP_WAITS);
	root_id = id_of("");
	g = id_of("d/g");
	d = id_of("d");
	there_put("new", "x"); /* in the root, whose id no listing tells */
	say((struct said){ .id = (char[]){ "unknown" }, .parent_id = root_id });
	CU_ASSERT(WITHIN(60000, was_told("entry new", base)));
	there_put("d/h", "x");
	say((struct said){ .id = (char[]){ "unknown too" }, .parent_id = d });
	CU_ASSERT(WITHIN(60000, was_told("entry h", ino_of("d"))));
	CU_ASSERT(unlink(at("d/g")) == 0);
	say((struct said){ .id = g, .is_removed = true });
	CU_ASSERT(WITHIN(60000, was_told("gone g", ino_of("d"))));
	end();
}

static void
a_thousand_changes_are_one_look(void)
{
	char path[32];

	fresh(WEIR_CAP_WAITS);
	snprintf(fake->list_path, sizeof(fake->list_path), "d");
	for (int i = 0; i < 1000; i++) {
		snprintf(path, sizeof(path), "d/n%03d", i);
		there_put(path, "x");
	}
	pthread_mutex_lock(&fake->mu);
	for (int i = 0; i < 1000; i++) {
		snprintf(path, sizeof(path), "d/n%03d", i);
		fake->said[fake->nsaid++] = (struct said){ .id = id_of(path), .path = weir_xstrdup(path) };
	}
	pthread_mutex_unlock(&fake->mu);
	CU_ASSERT(WITHIN(60000, was_told("entry n999", ino_of("d"))));
	usleep(300000);
	CU_ASSERT(counted(&fake->lists) <= 2);
	end();
}

/* A version as the storage spells it. */
static char *
version_of(const char *path)
{
	struct weir_stat st = { 0 };
	struct weir_where w = { .path = path };
	char *version;

	CU_ASSERT_EQUAL_FATAL(fake->layer.base.next->ops->stat(fake->layer.base.next, NULL, &w, &st, &err), WEIR_OK);
	version = WEIR_STEAL(st.version);
	weir_stat_free(&st);
	return version;
}

static void
our_own_changes_are_no_news(void)
{
	WEIR_AUTO(weir_freep) char *id = NULL, *version = NULL;
	unsigned asked;

	fresh(WEIR_CAP_WAITS);
	CU_ASSERT(!put("d/ours", "ours") && !flush());
	id = id_of("d/ours");
	version = version_of("d/ours");
	atomic_store(&nheard, 0);
	fake->lists = 0;
	asked = counted(&fake->asked);
	say((struct said){ .id = id, .path = (char[]){ "d/ours" }, .version = version });
	say((struct said){ .path = (char[]){ "d/never was here" }, .is_removed = true });
	CU_ASSERT(WITHIN(60000, counted(&fake->asked) > asked));
	usleep(300000);
	CU_ASSERT_EQUAL(counted(&fake->lists), 0);
	/* A feed that tells no versions costs a look, but nobody is told anything. */
	say_path("d/ours");
	CU_ASSERT(WITHIN(60000, counted(&fake->lists) > 0 && !remote->listings));
	usleep(100000);
	CU_ASSERT_EQUAL(atomic_load(&nheard), 0);
	CU_ASSERT(holds("d/ours", "ours"));
	end();
}

static void
a_rename_elsewhere_keeps_what_is_here(void)
{
	uint64_t g, d, e;

	fresh(WEIR_CAP_WAITS);
	g = ino_of("d/g");
	d = ino_of("d");
	e = ino_of("e");
	CU_ASSERT(rename(at("d/g"), at("e/h")) == 0);
	say_path("e/h");
	CU_ASSERT(WITHIN(60000, was_told("entry g", d) && was_told("entry h", e)));
	CU_ASSERT(WITHIN(60000, ino_of("e/h") == g && !ino_of("d/g")));
	CU_ASSERT(holds("e/h", "one"));
	CU_ASSERT_EQUAL(counted(&fake->gets), 0);
	/* A directory with all in it. */
	CU_ASSERT(rename(at("e"), at("d/e2")) == 0);
	say_path("d/e2");
	CU_ASSERT(WITHIN(60000, ino_of("d/e2") == e && !ino_of("e")));
	CU_ASSERT(ino_of("d/e2/h") == g && holds("d/e2/h", "one"));
	CU_ASSERT_EQUAL(counted(&fake->gets), 0);
	end();
}

static void
what_is_unsent_goes_along(void)
{
	struct weir_op op = { .kind = WEIR_OP_OPEN, .flags = O_RDWR }, wr;

	fresh(WEIR_CAP_WAITS);
	op.ino = ino_of("d/g");
	CU_ASSERT_EQUAL_FATAL(call(&op), WEIR_OK);
	wr = (struct weir_op){ .kind = WEIR_OP_WRITE, .ino = op.ino, .fh = op.fh, .buf = (char[]){ "ours, longer" }, .len = 12 };
	CU_ASSERT_EQUAL(call(&wr), WEIR_OK);
	CU_ASSERT(rename(at("d/g"), at("e/h")) == 0);
	say_path("e/h");
	CU_ASSERT(WITHIN(60000, ino_of("e/h") == op.ino));
	op.kind = WEIR_OP_FLUSH;
	call(&op);
	op.kind = WEIR_OP_RELEASE;
	call(&op);
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_holds("e/h", "ours, longer") && access(at("d/g"), F_OK) != 0);
	CU_ASSERT(holds("e/h", "ours, longer"));
	end();
}

static void
a_directory_that_goes_elsewhere_loses_nothing_unsent(void)
{
	fresh(WEIR_CAP_WAITS);
	CU_ASSERT(!put("d/unsent", "ours"));
	CU_ASSERT(unlink(at("d/g")) == 0 && rmdir(at("d")) == 0);
	say_path("d");
	CU_ASSERT(WITHIN(60000, !ino_of("d/g")));
	CU_ASSERT(holds("d/unsent", "ours"));
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_holds("d/unsent", "ours"));
	end();
}

static void
something_new_in_a_directory_removed_here_brings_it_back(void)
{
	struct weir_op op = { .kind = WEIR_OP_UNLINK, .name = "g" };

	fresh(WEIR_CAP_WAITS);
	op.ino = ino_of("d");
	there_put("d/theirs", "theirs");
	CU_ASSERT_EQUAL(call(&op), WEIR_OK);
	op = (struct weir_op){ .kind = WEIR_OP_RMDIR, .ino = base, .name = "d" };
	CU_ASSERT_EQUAL(call(&op), WEIR_OK);
	say_path("d/theirs"); /* the watch sees it before the removal is sent, or after */
	CU_ASSERT(WITHIN(60000, holds("d/theirs", "theirs")));
	CU_ASSERT(there_holds("d/theirs", "theirs"));
	CU_ASSERT(WITHIN(60000, access(at("d/g"), F_OK) != 0 && !ino_of("d/g")));
	end();
}

static void
a_dead_cursor_means_look_everywhere(void)
{
	uint64_t f;

	fresh(WEIR_CAP_WAITS);
	f = ino_of("f");
	there_put("f", "in the gap");
	there_put("d/new", "in the gap");
	pthread_mutex_lock(&fake->mu);
	fake->is_stale = true;
	pthread_mutex_unlock(&fake->mu);
	CU_ASSERT(WITHIN(60000, was_told("data ", f) && was_told("entry new", ino_of("d"))));
	/* and the feed goes on */
	there_put("after", "x");
	say_path("after");
	CU_ASSERT(WITHIN(60000, was_told("entry after", base)));
	end();
}

static void
changes_while_weir_was_away_are_seen(void)
{
	fresh(WEIR_CAP_WAITS);
	say_path("f");
	CU_ASSERT(WITHIN(60000, counted(&fake->lists) > 0 && !remote->listings));
	stop();
	there_put("f", "while away");
	told_before++;
	kept[told_before - 1] = (struct said){ .path = weir_xstrdup("f") };
	start(WEIR_CAP_WAITS);
	CU_ASSERT(WITHIN(60000, size_of(ino_of("f")) == 10));
	CU_ASSERT(holds("f", "while away"));
	end();
}

static void
news_during_a_listing_is_not_lost(void)
{
	uint64_t d;

	fresh(WEIR_CAP_WAITS);
	d = ino_of("d");
	usleep(1600000); /* beyond the calm between two listings */
	pthread_mutex_lock(&fake->mu);
	fake->holds_list = true;
	pthread_mutex_unlock(&fake->mu);
	there_put("d/first", "x");
	say_path("d/first");
	CU_ASSERT_FATAL(WITHIN(60000, fake->is_held)); /* it has read the directory, and does not end */
	there_put("d/second", "x");
	say_path("d/second");
	usleep(800000);
	pthread_mutex_lock(&fake->mu);
	fake->holds_list = false;
	pthread_cond_broadcast(&fake->cond);
	pthread_mutex_unlock(&fake->mu);
	CU_ASSERT(WITHIN(60000, was_told("entry first", d) && was_told("entry second", d)));
	end();
}

static void
a_listing_that_fails_is_made_again(void)
{
	int64_t began;

	fresh(WEIR_CAP_WAITS);
	usleep(1600000);
	began = weir_now_ms();
	pthread_mutex_lock(&fake->mu);
	fake->list_fails = 1;
	pthread_mutex_unlock(&fake->mu);
	there_put("d/new", "x");
	say_path("d/new");
	CU_ASSERT(WITHIN(60000, was_told("entry new", ino_of("d"))));
	CU_ASSERT(weir_now_ms() - began > 2000);
	end();
}

/* A file that nobody has read yet changes between the look and the read. */
static void
an_unread_file_is_read_as_it_is_now(void)
{
	fresh(WEIR_CAP_WAITS);
	there_put("d/new", "first");
	say_path("d/new");
	CU_ASSERT_FATAL(WITHIN(60000, ino_of("d/new") != 0 && size_of(ino_of("d/new")) == 5));
	there_put("d/new", "second, and longer"); /* the feed has not told yet */
	CU_ASSERT(holds("d/new", "second, and longer"));
	CU_ASSERT(was_told("attr ", ino_of("d/new")));
	CU_ASSERT_EQUAL(size_of(ino_of("d/new")), 18);
	end();
}

/* While we rename a directory, its files are at one of two places. */
static void
a_directory_under_way_is_followed(void)
{
	struct weir_op op = { .kind = WEIR_OP_RENAME, .name = "d", .name2 = "moved" };
	uint64_t g;

	fresh(WEIR_CAP_WAITS);
	g = ino_of("d/g");
	weir_store_lock(fs->st);
	weir_store_evict(fs->st, fs->st->cache_max);
	weir_store_unlock(fs->st);
	pthread_mutex_lock(&fake->mu);
	fake->holds_move = true;
	pthread_mutex_unlock(&fake->mu);
	op.ino = op.ino2 = base;
	CU_ASSERT_EQUAL(call(&op), WEIR_OK);
	CU_ASSERT_FATAL(WITHIN(60000, access(at("moved/g"), F_OK) == 0)); /* it has arrived, and nobody was told */
	CU_ASSERT(holds("moved/g", "one"));
	CU_ASSERT_EQUAL(ino_of("moved/g"), g);
	pthread_mutex_lock(&fake->mu);
	fake->holds_move = false;
	pthread_cond_broadcast(&fake->cond);
	pthread_mutex_unlock(&fake->mu);
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(holds("moved/g", "one") && ino_of("moved/g") == g);
	end();
}

/* Who has the old version open keeps it; the name shows the new one, after the first look as after every other. */
static void
an_open_file_keeps_its_version(void)
{
	struct weir_op op = { .kind = WEIR_OP_OPEN, .flags = O_RDONLY }, rd;
	char buf[16] = "";

	fresh(WEIR_CAP_WAITS);
	op.ino = ino_of("f");
	CU_ASSERT_EQUAL_FATAL(call(&op), WEIR_OK);
	there_put("f", "changed elsewhere");
	say_path("f");
	CU_ASSERT(WITHIN(60000, was_told("entry f", base)));
	CU_ASSERT(WITHIN(60000, holds("f", "changed elsewhere")));
	CU_ASSERT_NOT_EQUAL(ino_of("f"), op.ino);
	rd = (struct weir_op){ .kind = WEIR_OP_READ, .ino = op.ino, .fh = op.fh, .buf = buf, .len = sizeof(buf) - 1 };
	CU_ASSERT(call(&rd) == WEIR_OK && strcmp(buf, "one") == 0);
	op.kind = WEIR_OP_RELEASE;
	call(&op);
	end();
}

static unsigned
count_there(const char *begin, const char *text)
{
	DIR *d = opendir(there);
	struct dirent *e;
	unsigned n = 0;

	while ((e = readdir(d)))
		n += strncmp(e->d_name, begin, strlen(begin)) == 0 && there_holds(e->d_name, text);
	closedir(d);
	return n;
}

/* Open for writing, nothing written yet: what will be written belongs to the name, and nothing of either side is lost. */
static void
a_change_under_a_writer_ends_as_a_conflict_copy(void)
{
	struct weir_op op = { .kind = WEIR_OP_OPEN, .flags = O_RDWR }, wr;

	fresh(WEIR_CAP_WAITS);
	op.ino = ino_of("f");
	CU_ASSERT_EQUAL_FATAL(call(&op), WEIR_OK);
	there_put("f", "theirs");
	say_path("f");
	usleep(1500000);
	wr = (struct weir_op){ .kind = WEIR_OP_WRITE, .ino = op.ino, .fh = op.fh, .buf = (char[]){ "ours" }, .len = 4 };
	CU_ASSERT_EQUAL(call(&wr), WEIR_OK);
	op.kind = WEIR_OP_FLUSH;
	CU_ASSERT_EQUAL(call(&op), WEIR_OK);
	op.kind = WEIR_OP_RELEASE;
	call(&op);
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_holds("f", "theirs") && count_there("f (conflict", "ours") == 1);
	CU_ASSERT(WITHIN(60000, holds("f", "theirs")));
	end();
}

/* … and who closes without having written sees theirs soon. */
static void
a_writer_that_writes_nothing_lets_it_through(void)
{
	struct weir_op op = { .kind = WEIR_OP_OPEN, .flags = O_RDWR };

	fresh(WEIR_CAP_WAITS);
	op.ino = ino_of("f");
	CU_ASSERT_EQUAL_FATAL(call(&op), WEIR_OK);
	there_put("f", "theirs");
	say_path("f");
	usleep(1500000);
	op.kind = WEIR_OP_RELEASE;
	call(&op);
	CU_ASSERT(WITHIN(60000, holds("f", "theirs")));
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_holds("f", "theirs") && count_there("f (conflict", "one") == 0);
	end();
}

/* Nobody has asked the tree for anything: the feed is not asked either, beyond its first cursor. */
static void
an_idle_feed_is_asked_seldom(void)
{
	struct weir_remote_view v;
	unsigned asked;
	int64_t began;

	fresh(0);
	weir_store_lock(fs->st);
	remote->watch.used_ms = weir_now_ms() - 1000000;
	remote->watch.last_ms = began = weir_now_ms();
	asked = counted(&fake->asked);
	weir_store_unlock(fs->st);
	usleep(6000000);
	CU_ASSERT(counted(&fake->asked) - asked <= (weir_now_ms() - began) / 10000);
	there_put("f", "changed elsewhere"); /* the first look after a pause finds out */
	say_path("f");
	weir_store_lock(fs->st);
	remote->watch.last_ms = weir_now_ms() - 4500; /* idle, it would ask in 5.5 s */
	asked = counted(&fake->asked);
	weir_store_unlock(fs->st);
	ino_of("f");
	CU_ASSERT(WITHIN(5000, counted(&fake->asked) > asked));
	CU_ASSERT(WITHIN(60000, was_told("data ", ino_of("f"))));
	weir_store_lock(fs->st);
	weir_remote_view(remote, &v);
	weir_store_unlock(fs->st);
	CU_ASSERT(v.watch == WEIR_WATCH_FEED && v.watched_ms > 0 && !v.watch_error[0]);
	end();
}

static int
suite_begin(void)
{
	weir_log_setup("t_watch", false, WEIR_LOG_ERROR);
	snprintf(top, sizeof(top), "/tmp/weir-watch-XXXXXX");
	return mkdtemp(top) ? 0 : -1;
}

static int
suite_end(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		execlp("rm", "rm", "-rf", top, (char *)NULL);
		_exit(127);
	}
	return 0;
}

int
main(void)
{
	CU_pSuite s;
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 99;
	s = CU_add_suite("watch", suite_begin, suite_end);
	CU_ADD_TEST(s, what_others_change_is_told);
	CU_ADD_TEST(s, names_are_compared_as_the_storage_does);
	CU_ADD_TEST(s, ids_lead_to_places);
	CU_ADD_TEST(s, a_thousand_changes_are_one_look);
	CU_ADD_TEST(s, our_own_changes_are_no_news);
	CU_ADD_TEST(s, a_rename_elsewhere_keeps_what_is_here);
	CU_ADD_TEST(s, what_is_unsent_goes_along);
	CU_ADD_TEST(s, a_directory_that_goes_elsewhere_loses_nothing_unsent);
	CU_ADD_TEST(s, something_new_in_a_directory_removed_here_brings_it_back);
	CU_ADD_TEST(s, a_dead_cursor_means_look_everywhere);
	CU_ADD_TEST(s, changes_while_weir_was_away_are_seen);
	CU_ADD_TEST(s, news_during_a_listing_is_not_lost);
	CU_ADD_TEST(s, a_listing_that_fails_is_made_again);
	CU_ADD_TEST(s, an_unread_file_is_read_as_it_is_now);
	CU_ADD_TEST(s, a_directory_under_way_is_followed);
	CU_ADD_TEST(s, an_open_file_keeps_its_version);
	CU_ADD_TEST(s, a_change_under_a_writer_ends_as_a_conflict_copy);
	CU_ADD_TEST(s, a_writer_that_writes_nothing_lets_it_through);
	CU_ADD_TEST(s, an_idle_feed_is_asked_seldom);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed != 0;
}
