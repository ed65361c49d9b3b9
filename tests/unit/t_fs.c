/* SPDX-License-Identifier: Apache-2.0 */
/* The tree as a program sees it and what of it reaches a remote, without FUSE: a real cache, a folder as the remote, requests through
 * weir_fs_submit(). Names are looked up and nodes passed by number, as the kernel does it. */
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

#include "../../backends/backend.h"
#include "../../src/fs/fs.h"
#include "../../src/fs/internal.h"

static char top[64], cache[96], there[96], real[96];	/* the cache, the remote's folder, a plain folder to compare with */
static unsigned round_no;
static struct weir_conf *conf;
static struct weir_opens *opens;
static struct weir_fs *fs;
static struct weir_err err;
static uint64_t base;			/* node of /r, the remote's root */

/* ---- the stage ---- */

static void
fs_open_again(bool is_first)
{
	struct weir_fs_options o = { .conf = conf, .opens = opens, .is_first = is_first, .umask = 022, .uid = getuid(), .gid = getgid() };

	if (weir_fs_new(&o, &fs, &err))
		fprintf(stderr, "# %s\n", weir_err_text(&err, WEIR_E_IO));
	CU_ASSERT_PTR_NOT_NULL_FATAL(fs);
}

struct wait {
	pthread_mutex_t mu;
	pthread_cond_t cond;
	bool is_done;
	enum weir_code code;
};

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

/* One request, to its end. */
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
	op->umask = 022;
	r = weir_fs_submit(fs, op);
	if (r != WEIR_PENDING)
		return r;
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += 60;
	pthread_mutex_lock(&w.mu);
	while (!w.is_done)
		if (pthread_cond_timedwait(&w.cond, &w.mu, &ts) == ETIMEDOUT) {
			fprintf(stderr, "# request %d on '%s' was never answered\n", op->kind, op->name ? op->name : "");
			abort();
		}
	r = w.code;
	pthread_mutex_unlock(&w.mu);
	return r;
}

static enum weir_code
lookup(uint64_t parent, const char *name, struct weir_attr *out)
{
	struct weir_op op = { .kind = WEIR_OP_LOOKUP, .ino = parent, .name = name };
	enum weir_code r = call(&op);

	if (!r && out)
		*out = op.attr;
	return r;
}

/* Each test has a cache and a folder of its own. */
static void
fresh(const char *more)
{
	WEIR_AUTO(weir_freep) char *text = NULL;
	const struct weir_conf_type *types;
	struct weir_attr a;
	size_t n;

	++round_no;
	snprintf(cache, sizeof(cache), "%s/cache%u", top, round_no);
	snprintf(there, sizeof(there), "%s/there%u", top, round_no);
	snprintf(real, sizeof(real), "%s/real%u", top, round_no);
	CU_ASSERT_FATAL(mkdir(there, 0755) == 0 && mkdir(real, 0755) == 0);
	text = weir_xasprintf("[weir]\ncache_dir = %s\ncache_size = 1GB\n[remote r]\ntype = local\npath = %s\nlist_age = 1h\n%s\n", cache, there, more);
	types = weir_backend_types(&n);
	if (weir_conf_parse("t", text, strlen(text), types, n, &conf, &err))
		fprintf(stderr, "# %s\n", weir_err_text(&err, WEIR_E_CONFIG));
	CU_ASSERT_PTR_NOT_NULL_FATAL(conf);
	opens = weir_opens_new(1024);
	fs_open_again(true);
	CU_ASSERT_FATAL(lookup(WEIR_ROOT, "r", &a) == WEIR_OK);
	base = a.ino;
}

static void
end(void)
{
	weir_fs_free(fs);
	weir_conf_free(conf);
	fs = NULL;
	conf = NULL;
}

/* ---- paths ---- */

/* Directory of the path below /r, and the last name in it. */
static enum weir_code
walk(const char *path, uint64_t *dir, char name[256])
{
	struct weir_attr a;
	enum weir_code r;

	*dir = base;
	for (;;) {
		size_t n = strcspn(path, "/");

		snprintf(name, 256, "%.*s", (int)n, path);
		if (!path[n])
			return WEIR_OK;
		if ((r = lookup(*dir, name, &a)))
			return r;
		if (!S_ISDIR(a.mode))
			return WEIR_E_NOTDIR;
		*dir = a.ino;
		path += n + 1;
	}
}

static enum weir_code
attr_of(const char *path, struct weir_attr *a)
{
	char name[256];
	uint64_t dir;
	enum weir_code r = walk(path, &dir, name);

	return r ? r : lookup(dir, name, a);
}

static bool
exists(const char *path)
{
	struct weir_attr a;

	return attr_of(path, &a) == WEIR_OK;
}

struct file { uint64_t ino, fh; };

static enum weir_code
file_start(const char *path, uint32_t flags, struct file *f)
{
	struct weir_op op = { .kind = WEIR_OP_CREATE, .mode = 0644, .flags = flags };
	struct weir_attr a;
	char name[256];
	enum weir_code r = walk(path, &op.ino, name);

	if (r)
		return r;
	op.name = name;
	r = lookup(op.ino, name, &a);
	if (r && r != WEIR_E_NOENT)
		return r;
	if (r && !(flags & O_CREAT))
		return r;
	if (!r) { /* it is there: the kernel opens it */
		op.kind = WEIR_OP_OPEN;
		op.ino = a.ino;
		op.name = NULL;
		if (S_ISDIR(a.mode))
			return WEIR_E_ISDIR;
	}
	if ((r = call(&op)))
		return r;
	f->ino = op.kind == WEIR_OP_OPEN ? op.ino : op.attr.ino;
	f->fh = op.fh;
	return WEIR_OK;
}

static enum weir_code
file_put(struct file *f, const void *buf, size_t len, uint64_t off)
{
	struct weir_op op = { .kind = WEIR_OP_WRITE, .ino = f->ino, .fh = f->fh, .len = len, .off = off };
	WEIR_AUTO(weir_freep) char *copy = malloc(len + 1);
	enum weir_code r;

	memcpy(copy, buf, len);
	op.buf = copy;
	r = call(&op);
	return r ? r : op.result == len ? WEIR_OK : WEIR_E_IO;
}

static enum weir_code
file_cut(uint64_t ino, uint64_t size)
{
	struct weir_op op = { .kind = WEIR_OP_SETATTR, .ino = ino, .set_mask = WEIR_SET_SIZE, .set.size = size };

	return call(&op);
}

static ssize_t
file_get(struct file *f, void *buf, size_t len, uint64_t off)
{
	struct weir_op op = { .kind = WEIR_OP_READ, .ino = f->ino, .fh = f->fh, .buf = buf, .len = len, .off = off };
	enum weir_code r = call(&op);

	return r ? -(ssize_t)r : (ssize_t)op.result;
}

static enum weir_code
file_stop(struct file *f)
{
	struct weir_op op = { .kind = WEIR_OP_FLUSH, .ino = f->ino, .fh = f->fh };
	enum weir_code r = call(&op);

	op = (struct weir_op){ .kind = WEIR_OP_RELEASE, .ino = f->ino, .fh = f->fh };
	call(&op);
	return r;
}

static enum weir_code
put(const char *path, const char *text)
{
	struct file f;
	enum weir_code r = file_start(path, O_WRONLY | O_CREAT | O_TRUNC, &f), r2;

	if (r)
		return r;
	r = file_put(&f, text, strlen(text), 0);
	r2 = file_stop(&f);
	return r ? r : r2;
}

/* The whole file; owned. NULL: it cannot be read. */
static char *
get(const char *path, size_t *len)
{
	struct weir_attr a;
	struct file f;
	char *buf;
	ssize_t n;

	if (attr_of(path, &a) || file_start(path, O_RDONLY, &f))
		return NULL;
	buf = calloc(a.size + 1, 1);
	n = file_get(&f, buf, a.size, 0);
	file_stop(&f);
	*len = (size_t)a.size;
	if (n == (ssize_t)a.size)
		return buf;
	free(buf);
	return NULL;
}

static bool
holds(const char *path, const char *text)
{
	size_t n;
	WEIR_AUTO(weir_freep) char *got = get(path, &n);

	return got && n == strlen(text) && memcmp(got, text, n) == 0;
}

static enum weir_code
one_name(enum weir_op_kind kind, const char *path)
{
	struct weir_op op = { .kind = kind, .mode = 0755 };
	char name[256];
	enum weir_code r = walk(path, &op.ino, name);

	op.name = name;
	return r ? r : call(&op);
}

static enum weir_code
mkdir_(const char *path)
{
	return one_name(WEIR_OP_MKDIR, path);
}

static enum weir_code
unlink_(const char *path)
{
	return one_name(WEIR_OP_UNLINK, path);
}

static enum weir_code
rmdir_(const char *path)
{
	return one_name(WEIR_OP_RMDIR, path);
}

static enum weir_code
rename_(const char *from, const char *to, uint32_t flags)
{
	struct weir_op op = { .kind = WEIR_OP_RENAME, .flags = flags };
	char a[256], b[256];
	enum weir_code r;

	if ((r = walk(from, &op.ino, a)) || (r = walk(to, &op.ino2, b)))
		return r;
	op.name = a;
	op.name2 = b;
	return call(&op);
}

/* ---- the other side ---- */

static char *
at(const char *path)
{
	static char full[2][512];
	static unsigned i;

	i = !i;
	snprintf(full[i], sizeof(full[i]), "%s/%s", there, path);
	return full[i];
}

static bool
there_holds(const char *path, const char *text)
{
	WEIR_AUTO(weir_freep) char *got = NULL;
	size_t n;

	return !weir_read_file(at(path), 1 << 20, &got, &n) && n == strlen(text) && memcmp(got, text, n) == 0;
}

static bool
there_is(const char *path)
{
	return access(at(path), F_OK) == 0;
}

static void
there_put(const char *path, const char *text)
{
	int fd = open(at(path), O_WRONLY | O_CREAT | O_TRUNC, 0644);

	CU_ASSERT_FATAL(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
}

/* Names in a folder of the remote that begin so. */
static unsigned
there_count(const char *dir, const char *prefix, char *last, size_t max)
{
	DIR *d = opendir(at(dir));
	struct dirent *e;
	unsigned n = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	while ((e = readdir(d)))
		if (strncmp(e->d_name, prefix, strlen(prefix)) == 0 && e->d_name[0] != '.') {
			n++;
			if (last)
				snprintf(last, max, "%s", e->d_name);
		}
	closedir(d);
	return n;
}

static enum weir_code
flush(void)
{
	enum weir_code r;

	err = (struct weir_err){ 0 };
	r = weir_fs_flush(fs, NULL, NULL, NULL, &err);
	if (r)
		fprintf(stderr, "# flush: %s\n", weir_err_text(&err, r));
	return r;
}

static bool
no_wait(void *arg, const struct weir_flush_progress *p)
{
	(void)arg;
	(void)p;
	return false;
}

/* What is due is sent now, while the test goes on. */
static void
nudge(void)
{
	weir_fs_flush(fs, NULL, no_wait, NULL, &err);
}

static void
refresh(void)
{
	CU_ASSERT_EQUAL(weir_fs_refresh(fs, "/", &err), WEIR_OK);
}

static void
view(struct weir_remote_view *v)
{
	weir_store_lock(fs->st);
	weir_remote_view(weir_sync_at(fs->sy, 0), v);
	weir_store_unlock(fs->st);
}

static uint64_t
sent_bytes(void)
{
	struct weir_remote_view v;

	view(&v);
	return v.sent_bytes;
}

/* ---- sending ---- */

static void
what_is_written_arrives(void)
{
	struct weir_attr a;

	fresh("");
	CU_ASSERT_EQUAL(put("f", "hello"), WEIR_OK);
	CU_ASSERT_EQUAL(mkdir_("d"), WEIR_OK);
	CU_ASSERT_EQUAL(mkdir_("d"), WEIR_E_EXIST);
	CU_ASSERT_EQUAL(put("d/empty", ""), WEIR_OK);
	CU_ASSERT(holds("f", "hello"));
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_holds("f", "hello") && there_holds("d/empty", ""));
	CU_ASSERT_EQUAL(put("f", "more than hello"), WEIR_OK);
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_holds("f", "more than hello"));
	CU_ASSERT(attr_of("f", &a) == WEIR_OK && a.size == 15);
	there_put("theirs", "from elsewhere");
	refresh();
	CU_ASSERT(holds("theirs", "from elsewhere"));
	end();
}

static void
unsent_data_survives_a_restart(void)
{
	struct weir_attr a;

	fresh("");
	CU_ASSERT_EQUAL(put("f", "unsent"), WEIR_OK);
	weir_fs_free(fs);
	fs_open_again(true);
	CU_ASSERT(lookup(WEIR_ROOT, "r", &a) == WEIR_OK && a.ino == base);
	CU_ASSERT(holds("f", "unsent"));
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_holds("f", "unsent"));
	end();
}

static void
write_and_rename_is_one_new_version(void)
{
	uint64_t before;

	fresh("");
	CU_ASSERT_EQUAL(put("f", "first"), WEIR_OK);
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	before = sent_bytes();
	CU_ASSERT_EQUAL(put("f.tmp", "0123456789"), WEIR_OK);
	CU_ASSERT_EQUAL(rename_("f.tmp", "f", 0), WEIR_OK);
	CU_ASSERT(holds("f", "0123456789") && !exists("f.tmp"));
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_holds("f", "0123456789") && !there_is("f.tmp"));
	CU_ASSERT_EQUAL(sent_bytes() - before, 10);
	CU_ASSERT_EQUAL(there_count("", "", NULL, 0), 1);
	/* Both sent already, then one over the other. */
	CU_ASSERT_EQUAL(put("g", "gg"), WEIR_OK);
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT_EQUAL(rename_("g", "f", 0), WEIR_OK);
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_holds("f", "gg") && there_count("", "", NULL, 0) == 1);
	end();
}

static void
swaps_arrive(void)
{
	fresh("");
	CU_ASSERT(!put("a", "aaa") && !put("b", "bb") && !flush());
	CU_ASSERT_EQUAL(rename_("a", "b", RENAME_EXCHANGE), WEIR_OK);
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_holds("a", "bb") && there_holds("b", "aaa") && there_count("", "", NULL, 0) == 2);
	CU_ASSERT(!rename_("a", "t", 0) && !rename_("b", "a", 0) && !rename_("t", "b", 0));
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_holds("a", "aaa") && there_holds("b", "bb") && there_count("", "", NULL, 0) == 2);
	/* Swapped, and one of them written to as well. */
	CU_ASSERT(!rename_("a", "b", RENAME_EXCHANGE) && !put("a", "new"));
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_holds("a", "new") && there_holds("b", "aaa"));
	CU_ASSERT(holds("a", "new") && holds("b", "aaa"));
	CU_ASSERT_EQUAL(rename_("a", "b", RENAME_NOREPLACE), WEIR_E_EXIST);
	end();
}

static void
directories_turned_inside_out_arrive(void)
{
	fresh("");
	CU_ASSERT(!mkdir_("x") && !mkdir_("x/y") && !put("x/f", "xf") && !put("x/y/g", "yg") && !flush());
	CU_ASSERT(!rename_("x/y", "y", 0) && !rename_("x", "y/x", 0));
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_holds("y/x/f", "xf") && there_holds("y/g", "yg") && !there_is("x") && !there_is("y/x/y"));
	/* Exchanged directories. */
	CU_ASSERT(!mkdir_("z") && !put("z/only", "z") && !flush());
	CU_ASSERT_EQUAL(rename_("y", "z", RENAME_EXCHANGE), WEIR_OK);
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_holds("z/x/f", "xf") && there_holds("y/only", "z") && there_count("", "", NULL, 0) == 2);
	end();
}

static void
trees_go_and_move(void)
{
	fresh("");
	CU_ASSERT(!mkdir_("d") && !mkdir_("d/e") && !put("d/e/f", "f") && !flush());
	CU_ASSERT_EQUAL(rmdir_("d"), WEIR_E_NOTEMPTY);
	CU_ASSERT(!rename_("d", "n", 0) && !put("n/e/g", "g") && !rename_("n/e", "e", 0));
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_holds("e/f", "f") && there_holds("e/g", "g") && there_is("n") && !there_is("d") && !there_is("n/e"));
	CU_ASSERT(!unlink_("e/f") && !unlink_("e/g") && !rmdir_("e") && !rmdir_("n"));
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT_EQUAL(there_count("", "", NULL, 0), 0);
	/* The same name again, as another kind. */
	CU_ASSERT(!put("e", "a file now") && !flush() && there_holds("e", "a file now"));
	CU_ASSERT(!unlink_("e") && !mkdir_("e") && !put("e/in", "1") && !flush() && there_holds("e/in", "1"));
	end();
}

static void
unlinked_files_live_until_closed(void)
{
	struct weir_attr a;
	struct file f;
	char buf[8];

	fresh("");
	CU_ASSERT(!put("f", "data") && !flush());
	CU_ASSERT_EQUAL(file_start("f", O_RDWR, &f), WEIR_OK);
	CU_ASSERT_EQUAL(unlink_("f"), WEIR_OK);
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(!there_is("f") && !exists("f"));
	CU_ASSERT(file_get(&f, buf, 8, 0) == 4 && memcmp(buf, "data", 4) == 0);
	CU_ASSERT_EQUAL(file_put(&f, "more", 4, 4), WEIR_OK);
	CU_ASSERT(file_get(&f, buf, 8, 0) == 8 && memcmp(buf, "datamore", 8) == 0);
	CU_ASSERT_EQUAL(put("f", "another"), WEIR_OK);
	CU_ASSERT_EQUAL(file_stop(&f), WEIR_OK);
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_holds("f", "another") && attr_of("f", &a) == WEIR_OK && a.ino != f.ino);
	end();
}

/* ---- both sides ---- */

static void
changed_on_both_sides_both_stay(void)
{
	char name[300] = "";

	fresh("");
	CU_ASSERT(!put("f.txt", "one") && !put("calm", "one") && !flush());
	there_put("f.txt", "theirs!");
	CU_ASSERT(!put("f.txt", "ours, longer") && !put("calm", "two"));
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	refresh();
	CU_ASSERT(there_holds("f.txt", "theirs!") && holds("f.txt", "theirs!"));
	CU_ASSERT_EQUAL(there_count("", "f (conflict ", name, sizeof(name)), 1);
	CU_ASSERT(there_holds(name, "ours, longer") && holds(name, "ours, longer"));
	CU_ASSERT(strlen(name) > 4 && strcmp(name + strlen(name) - 4, ".txt") == 0);
	CU_ASSERT(there_holds("calm", "two") && there_count("", "calm", NULL, 0) == 1);
	/* The same name made on both sides. */
	there_put("new", "their new");
	CU_ASSERT(!put("new", "our new") && !flush());
	CU_ASSERT(there_holds("new", "their new") && there_count("", "new (conflict ", name, sizeof(name)) == 1 && there_holds(name, "our new"));
	end();
}

static void
removed_there_and_changed_here_is_made_again(void)
{
	fresh("");
	CU_ASSERT(!put("f", "one") && !mkdir_("d") && !put("d/f", "one") && !flush());
	CU_ASSERT(unlink(at("f")) == 0 && unlink(at("d/f")) == 0 && rmdir(at("d")) == 0);
	CU_ASSERT(!put("f", "ours") && !put("d/f", "ours too") && !put("d/g", "new in it"));
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_holds("f", "ours") && there_count("", "f", NULL, 0) == 1);
	CU_ASSERT(there_holds("d/f", "ours too") && there_holds("d/g", "new in it") && there_count("d", "", NULL, 0) == 2);
	refresh();
	CU_ASSERT(holds("d/f", "ours too") && holds("f", "ours"));
	end();
}

static void
a_listing_without_it_keeps_what_is_unsent(void)
{
	struct file f, g;

	fresh("");
	CU_ASSERT(!mkdir_("d") && !put("d/f", "one") && !put("d/clean", "c") && !flush());
	CU_ASSERT_EQUAL(file_start("d/f", O_RDWR, &f), WEIR_OK);
	CU_ASSERT_EQUAL(file_put(&f, "two", 3, 0), WEIR_OK);
	CU_ASSERT_EQUAL(file_start("d/g", O_RDWR | O_CREAT, &g), WEIR_OK);
	CU_ASSERT_EQUAL(file_put(&g, "new", 3, 0), WEIR_OK);
	CU_ASSERT(unlink(at("d/f")) == 0 && unlink(at("d/clean")) == 0 && rmdir(at("d")) == 0);
	refresh();
	CU_ASSERT(exists("d") && exists("d/f") && exists("d/g") && !exists("d/clean"));
	CU_ASSERT(!file_stop(&f) && !file_stop(&g));
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_holds("d/f", "two") && there_holds("d/g", "new") && there_count("d", "", NULL, 0) == 2);
	end();
}

static void
deleted_here_and_changed_there_stays(void)
{
	fresh("");
	CU_ASSERT(!put("f", "one") && !flush());
	there_put("f", "theirs, newer");
	CU_ASSERT_EQUAL(unlink_("f"), WEIR_OK);
	flush();
	CU_ASSERT(there_holds("f", "theirs, newer"));
	refresh();
	CU_ASSERT(holds("f", "theirs, newer"));
	end();
}

/* ---- lengths ---- */

static bool
tail_is(const char *path, uint64_t size, uint64_t data, char want)
{
	size_t n;
	WEIR_AUTO(weir_freep) char *got = get(path, &n), *other = NULL;
	size_t m;

	if (!got || n != size || weir_read_file(at(path), 4 << 20, &other, &m) || m != size || memcmp(got, other, n) != 0)
		return false;
	for (size_t i = 0; i < n; i++)
		if (got[i] != (i < data ? want : 0))
			return false;
	return true;
}

static void
lengths_at_the_edges_of_pages(void)
{
	static const uint64_t edges[] = { 131071, 131072, 131073, 1, 262143, 262144, 262145 };
	static char data[300000];
	struct weir_attr a;
	struct file f;
	unsigned wrong = 0;

	fresh("");
	memset(data, 'x', sizeof(data));
	for (unsigned i = 0; i < WEIR_LEN(edges); i++)
		for (unsigned k = 0; k < 3; k++) { /* cut what is unsent, what is sent, and what is not cached any more */
			CU_ASSERT_FATAL(!file_start("f", O_RDWR | O_CREAT | O_TRUNC, &f) && !file_put(&f, data, sizeof(data), 0) && !file_stop(&f));
			if (k)
				CU_ASSERT(!flush());
			if (k == 2) {
				weir_store_lock(fs->st);
				weir_store_evict(fs->st, fs->st->cache_max);
				weir_store_unlock(fs->st);
			}
			CU_ASSERT_FATAL(attr_of("f", &a) == WEIR_OK);
			CU_ASSERT_EQUAL(file_cut(a.ino, edges[i]), WEIR_OK);
			CU_ASSERT_EQUAL(file_cut(a.ino, 400000), WEIR_OK);
			CU_ASSERT_EQUAL(flush(), WEIR_OK);
			wrong += !tail_is("f", 400000, edges[i], 'x');
			CU_ASSERT(!file_cut(a.ino, edges[i]) && !flush());
			wrong += !tail_is("f", edges[i], edges[i], 'x');
		}
	CU_ASSERT_EQUAL(wrong, 0);
	end();
}

static void
sparse_files_arrive(void)
{
	static char want[1000000];
	WEIR_AUTO(weir_freep) char *got = NULL;
	struct weir_attr a;
	struct file f;
	size_t n;

	fresh("");
	memcpy(want + 900000, "island", 6);
	memcpy(want + 70, "shore", 5);
	CU_ASSERT_EQUAL(file_start("f", O_RDWR | O_CREAT, &f), WEIR_OK);
	CU_ASSERT_EQUAL(file_put(&f, "shore", 5, 70), WEIR_OK);
	CU_ASSERT_EQUAL(file_put(&f, "island", 6, 900000), WEIR_OK);
	CU_ASSERT_EQUAL(file_cut(f.ino, sizeof(want)), WEIR_OK);
	CU_ASSERT_EQUAL(file_stop(&f), WEIR_OK);
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(attr_of("f", &a) == WEIR_OK && a.size == sizeof(want));
	CU_ASSERT(!weir_read_file(at("f"), 4 << 20, &got, &n) && n == sizeof(want) && memcmp(got, want, n) == 0);
	end();
}

static void
emptied_while_it_is_sent(void)
{
	WEIR_AUTO(weir_freep) char *data = malloc(6 << 20);
	struct weir_remote_view v;
	int64_t until = weir_now_ms() + 20000;
	struct file f;

	fresh("bandwidth_up = 3MB");
	memset(data, 'y', 6 << 20);
	CU_ASSERT_FATAL(!file_start("f", O_WRONLY | O_CREAT, &f) && !file_put(&f, data, 6 << 20, 0) && !file_stop(&f));
	nudge();
	do {
		usleep(2000);
		view(&v);
	} while (!v.sending && weir_now_ms() < until);
	CU_ASSERT(v.sending > 0);
	CU_ASSERT_EQUAL(put("f", "short"), WEIR_OK);
	CU_ASSERT(holds("f", "short"));
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_holds("f", "short") && there_count("", "", NULL, 0) == 1 && holds("f", "short"));
	end();
}

static void
the_quota_holds_at_the_write(void)
{
	WEIR_AUTO(weir_freep) char *data = calloc(1, 600000);
	struct file f;

	fresh("quota = 1MB");
	CU_ASSERT_EQUAL(file_start("f", O_RDWR | O_CREAT, &f), WEIR_OK);
	CU_ASSERT_EQUAL(file_put(&f, data, 600000, 0), WEIR_OK);
	CU_ASSERT_EQUAL(file_put(&f, data, 600000, 600000), WEIR_E_DQUOT);
	CU_ASSERT_EQUAL(file_cut(f.ino, 2000000), WEIR_E_DQUOT);
	CU_ASSERT_EQUAL(file_put(&f, data, 600000, 0), WEIR_OK); /* over itself: nothing grows */
	CU_ASSERT_EQUAL(file_cut(f.ino, 100), WEIR_OK);
	CU_ASSERT_EQUAL(file_put(&f, data, 600000, 100), WEIR_OK);
	CU_ASSERT_EQUAL(file_stop(&f), WEIR_OK);
	CU_ASSERT(!unlink_("f") && !put("g", "room again"));
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	end();
}

/* ---- against a real folder ---- */

static uint64_t seed;

static uint32_t
rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 16);
}

static const char *
some_path(void)
{
	static const char *const dirs[] = { "", "", "p/", "q/", "p/q/", "q/p/" }, *const names[] = { "a", "b", "c", "p", "q" };
	static char path[4][32];
	static unsigned i;

	i = (i + 1) % 4;
	snprintf(path[i], sizeof(path[i]), "%s%s", dirs[rnd() % WEIR_LEN(dirs)], names[rnd() % WEIR_LEN(names)]);
	return path[i];
}

static char *
plain(const char *path)
{
	static char full[4][512];
	static unsigned i;

	i = (i + 1) % 4;
	snprintf(full[i], sizeof(full[i]), "%s/%s", real, path);
	return full[i];
}

static enum weir_code
code_of(int rc)
{
	return rc < 0 ? weir_code_from_errno(errno) : WEIR_OK;
}

struct pair {
	struct file f;
	int fd;
	bool is_open;
};

static uint64_t
some_offset(void)
{
	static const uint64_t near[] = { 0, 1, 4095, 131071, 131072, 131073, 262144, 300000 };

	return near[rnd() % WEIR_LEN(near)] + rnd() % 3;
}

static enum weir_code
random_io(struct pair *p, enum weir_code *want)
{
	static char a[70000], b[70000];
	uint64_t off = some_offset();
	size_t len = rnd() % (rnd() % 4 ? 3000 : sizeof(a));
	ssize_t n, m;

	switch (rnd() % 4) {
	case 0:
		memset(a, (int)('A' + rnd() % 26), len);
		*want = code_of(pwrite(p->fd, a, len, (off_t)off) < 0 ? -1 : 0);
		return len ? file_put(&p->f, a, len, off) : WEIR_OK;
	case 1:
		*want = code_of(ftruncate(p->fd, (off_t)off));
		return file_cut(p->f.ino, off);
	default:
		n = pread(p->fd, a, len, (off_t)off);
		m = len ? file_get(&p->f, b, len, off) : 0;
		*want = WEIR_OK;
		if (n == m && memcmp(a, b, (size_t)n) == 0)
			return WEIR_OK;
		fprintf(stderr, "# read of %zu at %llu: %zd, should be %zd\n", len, (unsigned long long)off, m, n);
		return WEIR_E_IO;
	}
}

static enum weir_code
random_open(struct pair *p, const char *path, enum weir_code *want)
{
	int flags = O_RDWR | (rnd() % 2 ? O_CREAT : 0) | (rnd() % 4 == 0 ? O_TRUNC : 0);
	enum weir_code r;

	if (p->is_open) {
		*want = WEIR_OK;
		close(p->fd);
		p->is_open = false;
		return file_stop(&p->f);
	}
	p->fd = open(plain(path), flags, 0644);
	*want = code_of(p->fd);
	r = file_start(path, (uint32_t)flags, &p->f);
	p->is_open = p->fd >= 0 && !r;
	return r;
}

static enum weir_code
random_change(struct pair *pairs, size_t npairs, enum weir_code *want)
{
	struct pair *p = &pairs[rnd() % npairs];
	const char *a = some_path(), *b = some_path();
	struct stat sb;

	switch (rnd() % 12) {
	case 0:
		*want = code_of(mkdir(plain(a), 0755));
		return mkdir_(a);
	case 1:
		if (stat(plain(a), &sb) == 0 && S_ISDIR(sb.st_mode)) /* the kernel answers this one without asking */
			return *want = WEIR_OK;
		*want = code_of(unlink(plain(a)));
		return unlink_(a);
	case 2:
		*want = code_of(rmdir(plain(a)));
		return rmdir_(a);
	case 3:
	case 4:
		*want = code_of(rename(plain(a), plain(b)));
		return rename_(a, b, 0);
	case 5:
		*want = code_of(renameat2(AT_FDCWD, plain(a), AT_FDCWD, plain(b), RENAME_EXCHANGE));
		return rename_(a, b, RENAME_EXCHANGE);
	case 6:
	case 7:
	case 8:
		return random_open(p, a, want);
	default:
		return p->is_open ? random_io(p, want) : (*want = WEIR_OK);
	}
}

/* Which of two refusals comes first is the kernel's affair; what is done and what is refused must be the same. */
static bool
sorted_out(enum weir_code got, enum weir_code want)
{
	return got == want || (got && want);
}

static int
digest_line(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
digest_file(struct weir_buf *b, const char *path, const void *data, size_t len)
{
	weir_buf_addf(b, "%s %zu %llx\n", path, len, (unsigned long long)weir_page_hash(data, len));
}

struct names { char *name[64]; unsigned n; };

static int
names_emit(struct weir_op *op, const char *name, const struct weir_attr *a, uint64_t cookie)
{
	struct names *l = op->buf;

	(void)cookie;
	if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && l->n < WEIR_LEN(l->name))
		l->name[l->n++] = weir_xasprintf("%s%s", name, S_ISDIR(a->mode) ? "/" : "");
	return 0;
}

/* Everything below a directory: of the tree (root NULL) or of a real folder. */
static void
digest(struct weir_buf *b, const char *root, const char *dir)
{
	struct names l = { .n = 0 };

	if (!root) {
		struct weir_attr a = { .ino = base };
		struct weir_op op = { .kind = WEIR_OP_READDIR, .emit = names_emit, .buf = &l };

		if (*dir)
			CU_ASSERT_EQUAL(attr_of(dir, &a), WEIR_OK);
		op.ino = a.ino;
		CU_ASSERT_EQUAL(call(&op), WEIR_OK);
	} else {
		WEIR_AUTO(weir_freep) char *full = weir_xasprintf("%s/%s", root, dir);
		DIR *d = opendir(full);
		struct dirent *e;

		CU_ASSERT_PTR_NOT_NULL_FATAL(d);
		while ((e = readdir(d)) && l.n < WEIR_LEN(l.name))
			if (e->d_name[0] != '.')
				l.name[l.n++] = weir_xasprintf("%s%s", e->d_name, e->d_type == DT_DIR ? "/" : "");
		closedir(d);
	}
	qsort(l.name, l.n, sizeof(l.name[0]), digest_line);
	for (unsigned i = 0; i < l.n; i++) {
		WEIR_AUTO(weir_freep) char *path = weir_xasprintf("%s%s%s", dir, *dir ? "/" : "", l.name[i]);
		WEIR_AUTO(weir_freep) char *data = NULL, *full = NULL;
		size_t len = strlen(path);

		free(l.name[i]);
		if (path[len - 1] == '/') {
			weir_buf_addf(b, "%s\n", path);
			path[len - 1] = 0;
			digest(b, root, path);
			continue;
		}
		if (root) {
			full = weir_xasprintf("%s/%s", root, path);
			if (weir_read_file(full, 8 << 20, &data, &len))
				len = 0;
		} else
			data = get(path, &len);
		if (data)
			digest_file(b, path, data, len);
		else
			weir_buf_addf(b, "%s cannot be read\n", path);
	}
}

static bool
same(const char *what, const char *root)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf want = WEIR_BUF(1 << 20), got = WEIR_BUF(1 << 20);

	digest(&want, real, "");
	digest(&got, root, "");
	if (strcmp(weir_buf_str(&want), weir_buf_str(&got)) == 0)
		return true;
	fprintf(stderr, "# %s differs:\n# should be:\n%s# is:\n%s", what, weir_buf_str(&want), weir_buf_str(&got));
	return false;
}

static void
differential(uint64_t start, unsigned rounds)
{
	struct pair pairs[4] = { 0 };
	unsigned wrong = 0;

	seed = start;
	fresh("");
	for (unsigned i = 0; i < rounds && wrong < 5; i++) {
		enum weir_code want = WEIR_OK, got = random_change(pairs, WEIR_LEN(pairs), &want);

		if (!sorted_out(got, want)) {
			fprintf(stderr, "# step %u of seed %llu: %d, should be %d\n", i, (unsigned long long)start, got, want);
			wrong++;
		}
		if (i % 7 == 0)
			nudge();
	}
	CU_ASSERT_EQUAL(wrong, 0);
	for (unsigned i = 0; i < WEIR_LEN(pairs); i++)
		if (pairs[i].is_open) {
			close(pairs[i].fd);
			CU_ASSERT_EQUAL(file_stop(&pairs[i].f), WEIR_OK);
		}
	CU_ASSERT(same("the tree", NULL));
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(same("the remote", there));
	refresh();
	CU_ASSERT(same("the tree after a new listing", NULL));
	end();
}

static void
it_behaves_like_a_real_folder(void)
{
	const char *s = getenv("WEIR_TEST_SEED");

	if (s) {
		differential(strtoull(s, NULL, 10), 2000);
		return;
	}
	for (uint64_t i = 1; i <= 4; i++)
		differential(i * 7919, 500);
}

static int
suite_begin(void)
{
	weir_log_setup("t_fs", false, getenv("WEIR_TEST_LOG") ? WEIR_LOG_DEBUG : WEIR_LOG_ERROR);
	snprintf(top, sizeof(top), "/tmp/weir-fs-XXXXXX");
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
	s = CU_add_suite("fs", suite_begin, suite_end);
	CU_ADD_TEST(s, what_is_written_arrives);
	CU_ADD_TEST(s, unsent_data_survives_a_restart);
	CU_ADD_TEST(s, write_and_rename_is_one_new_version);
	CU_ADD_TEST(s, swaps_arrive);
	CU_ADD_TEST(s, directories_turned_inside_out_arrive);
	CU_ADD_TEST(s, trees_go_and_move);
	CU_ADD_TEST(s, unlinked_files_live_until_closed);
	CU_ADD_TEST(s, changed_on_both_sides_both_stay);
	CU_ADD_TEST(s, removed_there_and_changed_here_is_made_again);
	CU_ADD_TEST(s, a_listing_without_it_keeps_what_is_unsent);
	CU_ADD_TEST(s, deleted_here_and_changed_there_stays);
	CU_ADD_TEST(s, lengths_at_the_edges_of_pages);
	CU_ADD_TEST(s, sparse_files_arrive);
	CU_ADD_TEST(s, emptied_while_it_is_sent);
	CU_ADD_TEST(s, the_quota_holds_at_the_write);
	CU_ADD_TEST(s, it_behaves_like_a_real_folder);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed ? 1 : 0;
}
