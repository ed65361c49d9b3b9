/* SPDX-License-Identifier: Apache-2.0 */
/* Pools, without FUSE: see fs_stage.h. The members are the folders a and b inside `there`; /all is the pool of both. */
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
#include <time.h>
#include <unistd.h>

#include "../../backends/backend.h"
#include "fs_stage.h"

#define PLAIN "/all = pool(a, b)\n"
#define SHARED "/a = a\n/b = b\n/all = pool(a, b)\n"

static void
start(const char *keys_a, const char *keys_b, const char *namespace)
{
	WEIR_AUTO(weir_freep) char *text = weir_xasprintf("xattr = yes\n[remote a]\ntype = local\npath = %s/a\nlist_age = 1h\n%s\n[remote b]\ntype = local\n"
	    "path = %s/b\nlist_age = 1h\n%s\n[namespace]\n%s", there, keys_a, there, keys_b, namespace);

	stage_start(text, "all");
}

static void
pool(const char *keys_a, const char *keys_b, const char *namespace)
{
	stage_folders();
	CU_ASSERT_FATAL(mkdir(at("a"), 0755) == 0 && mkdir(at("b"), 0755) == 0);
	start(keys_a, keys_b, namespace);
}

static uint64_t
ino_of(const char *path)
{
	struct weir_attr a;

	return attr_of(path, &a) ? 0 : a.ino;
}

/* The same below another directory of the namespace. */
static uint64_t
ino_below(const char *top_name, const char *path)
{
	uint64_t was = base, ino;
	struct weir_attr a;

	if (lookup(WEIR_ROOT, top_name, &a))
		return 0;
	base = a.ino;
	ino = ino_of(path);
	base = was;
	return ino;
}

struct seen { char text[4096]; unsigned max, n; uint64_t last; };

static int
seen_emit(struct weir_op *op, const char *name, const struct weir_attr *a, uint64_t cookie)
{
	struct seen *s = op->buf;
	size_t len = strlen(s->text);

	if (s->max && s->n == s->max)
		return 1;
	s->n++;
	s->last = cookie;
	if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
		snprintf(s->text + len, sizeof(s->text) - len, "%s%s ", name, S_ISDIR(a->mode) ? "/" : "");
	return 0;
}

/* Names in the order they are told, a few at a time as a kernel with small buffers asks. */
static const char *
list(uint64_t dir, unsigned at_once)
{
	static struct seen s;
	unsigned before;

	memset(&s, 0, sizeof(s));
	do {
		struct weir_op op = { .kind = WEIR_OP_READDIR, .ino = dir, .emit = seen_emit, .buf = &s, .off = s.last };

		before = s.n;
		s.max = at_once ? s.n + at_once : 0;
		CU_ASSERT_EQUAL(call(&op), WEIR_OK);
	} while (s.n != before);
	return s.text;
}

/* ---- what is shown ---- */

static void
members_are_shown_as_one(void)
{
	stage_folders();
	CU_ASSERT_FATAL(!mkdir(at("a"), 0755) && !mkdir(at("b"), 0755) && !mkdir(at("a/d"), 0755) && !mkdir(at("b/d"), 0755) && !mkdir(at("b/x"), 0755));
	there_put("a/one", "1");
	there_put("b/two", "2");
	there_put("a/both", "first");
	there_put("b/both", "second");
	there_put("a/x", "a file before a directory");
	there_put("a/d/in-a", "");
	there_put("b/d/in-b", "");
	start("", "", PLAIN);
	CU_ASSERT(holds("one", "1") && holds("two", "2") && holds("both", "first") && holds("d/in-a", "") && holds("d/in-b", ""));
	CU_ASSERT(holds("x", "a file before a directory"));
	for (unsigned n = 0; n < 4; n++) {
		WEIR_AUTO(weir_freep) char *names = weir_xasprintf(" %s", list(base, n));

		CU_ASSERT_EQUAL(strlen(names), strlen(" one two both x d/ "));
		CU_ASSERT(strstr(names, " one ") && strstr(names, " two ") && strstr(names, " both ") && strstr(names, " x ") && strstr(names, " d/ "));
	}
	CU_ASSERT_EQUAL(strlen(list(ino_of("d"), 1)), strlen("in-a in-b "));
	stage_end();
}

static void
many_entries_are_listed_once(void)
{
	char name[32];
	uint64_t dir;
	const char *names;

	stage_folders();
	CU_ASSERT_FATAL(!mkdir(at("a"), 0755) && !mkdir(at("b"), 0755));
	for (unsigned i = 0; i < 900; i++) {
		snprintf(name, sizeof(name), "%s/%03u", i % 3 ? "a" : "b", i);
		if (i % 5)
			there_put(name, "");
		else
			CU_ASSERT_FATAL(!mkdir(at(name), 0755));
	}
	start("", "", PLAIN);
	dir = base;
	for (unsigned round = 0; round < 2; round++) {
		struct seen s = { .n = 0 };
		bool there_yet[900] = { false };
		unsigned count = 0, before;

		do {
			struct weir_op op = { .kind = WEIR_OP_READDIR, .ino = dir, .emit = seen_emit, .buf = &s, .off = s.last };

			before = s.n;
			s.max = s.n + 17;
			s.text[0] = 0;
			CU_ASSERT_EQUAL(call(&op), WEIR_OK);
			for (names = s.text; *names; names = strchr(names, ' ') + 1) {
				unsigned i = (unsigned)strtoul(names, NULL, 10);

				CU_ASSERT_FATAL(i < 900);
				CU_ASSERT(!there_yet[i] && (names[3] == '/') == (i % 5 == 0));
				there_yet[i] = true;
				count++;
			}
		} while (s.n != before);
		CU_ASSERT_EQUAL(count, 900);
	}
	stage_end();
}

static void
a_file_is_the_same_by_either_path(void)
{
	struct weir_attr a;
	struct weir_op op;

	pool("", "", SHARED);
	CU_ASSERT_EQUAL(put("f", "through the pool"), WEIR_OK);
	CU_ASSERT_EQUAL(mkdir_("d"), WEIR_OK);
	CU_ASSERT(ino_of("f") && ino_of("f") == ino_below("a", "f") && !ino_below("b", "f"));
	CU_ASSERT(ino_of("d") && ino_below("a", "d") && ino_of("d") != ino_below("a", "d"));
	/* The kernel may keep no name that another path can change. */
	CU_ASSERT(!attr_of("f", &a) && a.is_name_loose);
	op = (struct weir_op){ .kind = WEIR_OP_LOOKUP, .ino = WEIR_ROOT, .name = "a" };
	CU_ASSERT_EQUAL(call(&op), WEIR_OK);
	op = (struct weir_op){ .kind = WEIR_OP_LOOKUP, .ino = op.attr.ino, .name = "f" };
	CU_ASSERT(!call(&op) && op.attr.is_name_loose);
	op = (struct weir_op){ .kind = WEIR_OP_OPENDIR, .ino = base };
	CU_ASSERT(!call(&op) && op.drops_cache);
	/* Removed there, gone here. */
	CU_ASSERT_EQUAL(lookup(WEIR_ROOT, "a", &a), WEIR_OK);
	op = (struct weir_op){ .kind = WEIR_OP_UNLINK, .ino = a.ino, .name = "f" };
	CU_ASSERT(!call(&op) && !exists("f"));
	op = (struct weir_op){ .kind = WEIR_OP_RENAME, .ino = a.ino, .name = "d", .ino2 = a.ino, .name2 = "e" };
	CU_ASSERT(!call(&op) && !exists("d") && exists("e"));
	/* The members' roots stay. */
	op = (struct weir_op){ .kind = WEIR_OP_RMDIR, .ino = WEIR_ROOT, .name = "b" };
	CU_ASSERT_EQUAL(call(&op), WEIR_E_BUSY);
	stage_end();
	pool("", "", PLAIN);
	CU_ASSERT(!put("f", "") && !attr_of("f", &a) && !a.is_name_loose && a.valid_ms > 0);
	stage_end();
}

static void
a_member_inside_another_tree_stays(void)
{
	struct weir_attr a;
	struct weir_op op;

	pool("", "", "/ = a\n/all = pool(a:data, b:x/y)\n");
	CU_ASSERT_EQUAL(put("f", "deep"), WEIR_OK);
	CU_ASSERT_EQUAL(lookup(WEIR_ROOT, "data", &a), WEIR_OK);
	op = (struct weir_op){ .kind = WEIR_OP_LOOKUP, .ino = a.ino, .name = "f" };
	CU_ASSERT(!call(&op) && op.attr.ino == ino_of("f"));
	CU_ASSERT_EQUAL(unlink_("f"), WEIR_OK);
	op = (struct weir_op){ .kind = WEIR_OP_RMDIR, .ino = WEIR_ROOT, .name = "data" };
	CU_ASSERT_EQUAL(call(&op), WEIR_E_BUSY);
	op = (struct weir_op){ .kind = WEIR_OP_RENAME, .ino = WEIR_ROOT, .name = "data", .ino2 = WEIR_ROOT, .name2 = "other" };
	CU_ASSERT_EQUAL(call(&op), WEIR_E_BUSY);
	CU_ASSERT(!mkdir_("d") && !put("d/g", "g") && !flush() && there_holds("a/data/d/g", "g"));
	stage_end();
}

static void
paths_below_a_pool(void)
{
	uint64_t was;
	struct weir_op op;

	stage_folders();
	CU_ASSERT_FATAL(!mkdir(at("a"), 0755) && !mkdir(at("b"), 0755));
	for (unsigned i = 0; i < 2; i++) {	/* and again with the same cache */
		WEIR_AUTO(weir_freep) char *text = weir_xasprintf("[remote a]\ntype = local\npath = %s/a\n[remote b]\ntype = local\npath = %s/b\n"
		    "[namespace]\n/ = pool(a:x, b:y)\n/deep/er/way = b:w\n/short = a:s\n", there, there);

		stage_start(text, "");
		CU_ASSERT_EQUAL(base, WEIR_ROOT);
		CU_ASSERT(put("deep/er/way/f", "w") == WEIR_OK && put("short/f", "s") == WEIR_OK && put("deep/f", "x") == WEIR_OK);
		CU_ASSERT_EQUAL(mkdir_("deep"), WEIR_E_EXIST);
		CU_ASSERT_EQUAL(mkdir_("short"), WEIR_E_EXIST);
		CU_ASSERT_EQUAL(rmdir_("deep"), WEIR_E_BUSY);
		CU_ASSERT_EQUAL(rename_("deep", "other", 0), WEIR_E_BUSY);
		CU_ASSERT_EQUAL(rename_("deep/f", "short/g", 0), WEIR_E_XDEV);
		CU_ASSERT_STRING_EQUAL(list(ino_of("deep/er"), 1), "way/ ");
		was = ino_of("deep");
		op = (struct weir_op){ .kind = WEIR_OP_GETATTR, .ino = was };
		CU_ASSERT(!call(&op) && S_ISDIR(op.attr.mode) && op.attr.nlink == 1);
		CU_ASSERT_EQUAL(flush(), WEIR_OK);
		CU_ASSERT(there_holds("b/w/f", "w") && there_holds("a/s/f", "s") && there_holds("a/x/deep/f", "x"));
		stage_end();
	}
}

/* ---- where new files go ---- */

static void
fill(const char *path, size_t bytes)
{
	WEIR_AUTO(weir_freep) char *data = calloc(1, bytes + 1);
	enum weir_code r;

	memset(data, 'x', bytes);
	if ((r = put(path, data)))
		printf("# %s: %s\n", path, weir_code_text(r));
	CU_ASSERT_EQUAL(r, WEIR_OK);
}

static void
first_with_room(void)
{
	WEIR_AUTO(weir_freep) char *data = calloc(1, 2000);
	struct file f;

	pool("quota = 1kB", "quota = 1kB", PLAIN);
	CU_ASSERT_EQUAL(mkdir_("d"), WEIR_OK);
	fill("d/one", 600);
	/* Beyond the room of its member: refused at the write, nothing moves. */
	CU_ASSERT_EQUAL(file_start("d/big", O_RDWR | O_CREAT, &f), WEIR_OK);
	CU_ASSERT_EQUAL(file_put(&f, data, 600, 0), WEIR_E_DQUOT);
	CU_ASSERT_EQUAL(file_put(&f, data, 395, 0), WEIR_OK);	/* 5 bytes are left: less than 1 % */
	CU_ASSERT_EQUAL(file_stop(&f), WEIR_OK);
	fill("d/two", 100);	/* its directory is made on the other member */
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_is("a/d/one") && there_is("a/d/big") && there_is("b/d/two") && !there_is("a/d/two"));
	fill("three", 895);
	CU_ASSERT_EQUAL(put("four", "five5"), WEIR_OK);		/* nobody has more than the reserve: the first that has any room */
	CU_ASSERT_EQUAL(put("five", "12345"), WEIR_OK);
	CU_ASSERT_EQUAL(put("six", ""), WEIR_E_DQUOT);
	CU_ASSERT_EQUAL(mkdir_("still"), WEIR_OK);
	CU_ASSERT(!unlink_("d/two") && !put("six", "room again"));
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_is("a/four") && there_is("b/five") && there_is("b/six"));
	stage_end();
}

static void
most_free_and_siblings(void)
{
	pool("quota = 1MB", "quota = 2MB", "/all = pool(a, b; policy=most-free)\n");
	fill("one", 700000);	/* b: 1.3 MB left */
	fill("two", 600000);	/* b: 0.7 MB left */
	fill("three", 100000);	/* a */
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_is("b/one") && there_is("b/two") && there_is("a/three"));
	stage_end();
	pool("quota = 1MB", "quota = 2MB", "/all = pool(a, b; policy=siblings; reserve=100kB)\n");
	CU_ASSERT(mkdir(at("a/d"), 0755) == 0);
	refresh();
	fill("d/one", 800000);
	fill("d/two", 110000);	/* a: 90 kB left, less than the reserve */
	fill("d/three", 100);
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_is("a/d/one") && there_is("a/d/two") && there_is("b/d/three"));
	stage_end();
}

static void
read_only_members_are_passed_over(void)
{
	stage_folders();
	CU_ASSERT_FATAL(!mkdir(at("a"), 0755) && !mkdir(at("b"), 0755) && !mkdir(at("a/d"), 0700));
	there_put("a/d/f", "f");
	start("read_only = yes", "", PLAIN);
	CU_ASSERT(holds("d/f", "f") && !put("d/g", "g") && !mkdir_("d/e") && !flush());
	CU_ASSERT(there_holds("b/d/g", "g") && there_is("b/d/e"));
	CU_ASSERT_EQUAL(unlink_("d/f"), WEIR_E_ROFS);
	CU_ASSERT_EQUAL(rename_("d", "e", 0), WEIR_E_ROFS);
	CU_ASSERT_EQUAL(put("d/f", "other"), WEIR_E_ROFS);
	CU_ASSERT(!rename_("d/g", "d/h", 0) && !unlink_("d/h"));
	stage_end();
}

static void
a_lost_member_hides_only_its_own(void)
{
	pool("", "", PLAIN);
	there_put("a/in-a", "a");
	there_put("b/in-b", "b");
	refresh();
	CU_ASSERT(holds("in-a", "a") && holds("in-b", "b"));
	stage_end();
	/* A cache that never saw a, and a is away. */
	CU_ASSERT_FATAL(!rename(at("a"), at("gone")));
	stage_new_cache();
	start("", "", PLAIN);
	CU_ASSERT(holds("in-b", "b") && !exists("in-a"));
	CU_ASSERT(!mkdir_("d") && !put("d/f", "f") && !put("in-b", "more"));
	CU_ASSERT_STRING_EQUAL(list(ino_of("d"), 0), "f ");
	CU_ASSERT(weir_fs_flush(fs, "/all/d", NULL, NULL, &err) == WEIR_OK && there_holds("b/d/f", "f"));
	stage_end();
}

/* ---- changing ---- */

static void
a_name_goes_on_every_member(void)
{
	stage_folders();
	CU_ASSERT_FATAL(!mkdir(at("a"), 0755) && !mkdir(at("b"), 0755) && !mkdir(at("a/d"), 0755) && !mkdir(at("b/d"), 0755));
	there_put("a/both", "a");
	there_put("b/both", "b");
	there_put("b/d/hidden", "b");
	there_put("a/f", "a");
	there_put("b/g", "b");
	start("", "", PLAIN);
	CU_ASSERT(!rename_("both", "moved", 0) && !exists("both") && holds("moved", "a"));
	CU_ASSERT_EQUAL(rename_("d", "moved", 0), WEIR_E_NOTDIR);
	CU_ASSERT_EQUAL(rename_("moved", "d", 0), WEIR_E_ISDIR);
	CU_ASSERT_EQUAL(rmdir_("d"), WEIR_E_NOTEMPTY);
	CU_ASSERT_EQUAL(rename_("g", "f", 1), WEIR_E_EXIST);	/* RENAME_NOREPLACE */
	CU_ASSERT(!rename_("g", "f", 0) && holds("f", "b") && !exists("g"));	/* stays on b; the one on a goes */
	CU_ASSERT_EQUAL(rename_("d", "d/in", 0), WEIR_E_INVAL);
	CU_ASSERT(!mkdir_("e") && !rename_("d", "e/d2", 0) && holds("e/d2/hidden", "b"));
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_holds("a/moved", "a") && there_holds("b/moved", "b") && there_holds("b/f", "b") && !there_is("a/f"));
	CU_ASSERT(there_is("a/e/d2") && there_holds("b/e/d2/hidden", "b") && !there_is("a/d") && !there_is("b/d"));
	CU_ASSERT(!unlink_("moved") && !exists("moved") && !unlink_("e/d2/hidden") && !rmdir_("e/d2") && !rmdir_("e"));
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(!there_is("a/moved") && !there_is("b/moved") && !there_is("a/e") && !there_is("b/e"));
	stage_end();
}

static void
exchange_stays_on_the_members(void)
{
	stage_folders();
	CU_ASSERT_FATAL(!mkdir(at("a"), 0755) && !mkdir(at("b"), 0755) && !mkdir(at("b/d"), 0755));
	there_put("a/f", "f of a");
	there_put("b/d/g", "g of b");
	start("", "", PLAIN);
	CU_ASSERT_EQUAL(rename_("f", "d/g", 2), WEIR_OK);	/* RENAME_EXCHANGE */
	CU_ASSERT(holds("f", "g of b") && holds("d/g", "f of a"));
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(there_holds("b/f", "g of b") && there_holds("a/d/g", "f of a") && !there_is("a/f") && !there_is("b/d/g"));
	CU_ASSERT_EQUAL(rename_("f", "d", 2), WEIR_OK);
	CU_ASSERT(holds("d", "g of b") && holds("f/g", "f of a"));
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	refresh();
	CU_ASSERT(holds("d", "g of b") && holds("f/g", "f of a"));
	stage_end();
}

static void
out_of_the_pool_is_another_device(void)
{
	struct weir_attr a;
	struct weir_op op;

	pool("", "", SHARED);
	CU_ASSERT(!put("f", "f") && !lookup(WEIR_ROOT, "a", &a));
	op = (struct weir_op){ .kind = WEIR_OP_RENAME, .ino = base, .name = "f", .ino2 = a.ino, .name2 = "g" };
	CU_ASSERT_EQUAL(call(&op), WEIR_E_XDEV);
	op = (struct weir_op){ .kind = WEIR_OP_RENAME, .ino = a.ino, .name = "f", .ino2 = base, .name2 = "g" };
	CU_ASSERT_EQUAL(call(&op), WEIR_E_XDEV);
	stage_end();
}

static void
attributes_of_directories(void)
{
	struct weir_op op;
	struct weir_attr a;
	char buf[8];

	stage_folders();
	CU_ASSERT_FATAL(!mkdir(at("a"), 0755) && !mkdir(at("b"), 0755) && !mkdir(at("a/d"), 0755) && !mkdir(at("b/d"), 0755));
	start("", "", SHARED);
	op = (struct weir_op){ .kind = WEIR_OP_SETATTR, .ino = ino_of("d"), .set_mask = WEIR_SET_MODE | WEIR_SET_MTIME, .set.mode = 0711, .set.mtime_ns = 5000000000 };
	CU_ASSERT(!call(&op) && (op.attr.mode & 07777) == 0711 && op.attr.mtime_ns == 5000000000);
	CU_ASSERT(!attr_of("d", &a) && S_ISDIR(a.mode) && (a.mode & 07777) == 0711);
	op = (struct weir_op){ .kind = WEIR_OP_GETATTR, .ino = ino_below("b", "d") };
	CU_ASSERT(!call(&op) && (op.attr.mode & 07777) == 0711);
	op = (struct weir_op){ .kind = WEIR_OP_SETXATTR, .ino = ino_of("d"), .name = "user.x", .buf = (char *)"v", .len = 1 };
	CU_ASSERT_EQUAL(call(&op), WEIR_OK);
	op = (struct weir_op){ .kind = WEIR_OP_GETXATTR, .ino = ino_of("d"), .name = "user.x", .buf = buf, .len = sizeof(buf) };
	CU_ASSERT(!call(&op) && op.result == 1 && buf[0] == 'v');
	stage_end();
}

/* ---- figures, news, restarts ---- */

static void
everything_counts_once(void)
{
	uint64_t bytes, files, dirs;
	struct weir_statfs one;
	struct weir_op op;
	bool lower;

	pool("quota = 1MiB", "quota = 3MiB", SHARED);
	CU_ASSERT(!mkdir_("d") && !put("d/f", "12345") && !put("g", "123"));
	CU_ASSERT(!weir_fs_du(fs, "/all", &bytes, &files, &dirs, &lower, &err) && bytes == 8 && files == 2);
	CU_ASSERT(!weir_fs_du(fs, "/all/d", &bytes, &files, &dirs, &lower, &err) && bytes == 5 && files == 1);
	CU_ASSERT(!weir_fs_du(fs, "/", &bytes, &files, &dirs, &lower, &err) && bytes == 8 && files == 2);
	op = (struct weir_op){ .kind = WEIR_OP_STATFS, .ino = base };
	CU_ASSERT(!call(&op) && op.statfs.blocks == (4u << 20) / 4096);
	op = (struct weir_op){ .kind = WEIR_OP_STATFS, .ino = ino_of("d") };
	CU_ASSERT(!call(&op) && op.statfs.blocks == (4u << 20) / 4096);
	one = op.statfs;
	CU_ASSERT_EQUAL(one.blocks - one.bfree, 1);
	CU_ASSERT_EQUAL(weir_fs_refresh(fs, "/all/d", &err), WEIR_OK);
	stage_end();
	/* Two folders of one remote: its quota is there once. */
	pool("quota = 1MiB", "", "/all = pool(a:x, a:y)\n");
	op = (struct weir_op){ .kind = WEIR_OP_STATFS, .ino = base };
	CU_ASSERT(!call(&op) && op.statfs.blocks == (1u << 20) / 4096);
	stage_end();
}

struct news { pthread_mutex_t mu; pthread_cond_t cond; uint64_t wanted; unsigned n; char name[64]; };

static void
news_entry(void *arg, uint64_t parent, const char *name)
{
	struct news *w = arg;

	pthread_mutex_lock(&w->mu);
	if (parent == w->wanted && strcmp(name, w->name) == 0)
		w->n++;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->mu);
}

static bool
news_came(struct news *w)
{
	struct timespec ts;
	bool came;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += 20;
	pthread_mutex_lock(&w->mu);
	while (!w->n && pthread_cond_timedwait(&w->cond, &w->mu, &ts) != ETIMEDOUT)
		;
	came = w->n > 0;
	w->n = 0;
	pthread_mutex_unlock(&w->mu);
	return came;
}

static void
news_is_told_under_the_pool(void)
{
	struct news w = { .mu = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER, .name = "f" };
	struct weir_observer o = { .inval_entry = news_entry, .arg = &w };

	pool("", "", PLAIN);
	CU_ASSERT(!mkdir_("d") && !put("d/f", "f") && !flush());
	weir_fs_observe(fs, &o);
	pthread_mutex_lock(&w.mu);
	w.wanted = ino_of("d");
	pthread_mutex_unlock(&w.mu);
	CU_ASSERT(unlink(at("a/d/f")) == 0);
	refresh();
	CU_ASSERT(!exists("d/f") && news_came(&w));
	there_put("a/d/f", "again");
	refresh();
	CU_ASSERT(holds("d/f", "again"));
	stage_end();
}

static void
numbers_and_answers_survive_a_restart(void)
{
	struct weir_op op, wr;
	uint64_t d, root = 0, gone;

	pool("", "", PLAIN);
	root = base;
	op = (struct weir_op){ .kind = WEIR_OP_MKDIR, .ino = base, .name = "d", .mode = 0755, .unique = 77 };
	CU_ASSERT_EQUAL(call(&op), WEIR_OK);
	d = op.attr.ino;
	CU_ASSERT(!put("d/f", "f") && !mkdir_("gone"));
	gone = ino_of("gone");
	CU_ASSERT(!rmdir_("gone") && !mkdir_("gone") && ino_of("gone") != gone);
	weir_fs_free(fs);
	fs_open_again(false);
	CU_ASSERT(lookup(WEIR_ROOT, "all", &op.attr) == WEIR_OK && op.attr.ino == root);
	op = (struct weir_op){ .kind = WEIR_OP_MKDIR, .ino = base, .name = "d", .mode = 0755, .unique = 77, .is_resent = true };
	CU_ASSERT(!call(&op) && op.attr.ino == d && S_ISDIR(op.attr.mode));
	CU_ASSERT(holds("d/f", "f") && ino_of("d") == d);
	/* An opening that also cut the file, whose answer was lost: cut once, open all the same. */
	op = (struct weir_op){ .kind = WEIR_OP_OPEN, .ino = ino_of("d/f"), .flags = O_WRONLY | O_TRUNC, .unique = 79 };
	CU_ASSERT_EQUAL(call(&op), WEIR_OK);
	weir_fs_free(fs);
	fs_open_again(false);
	op = (struct weir_op){ .kind = WEIR_OP_OPEN, .ino = ino_of("d/f"), .flags = O_WRONLY | O_TRUNC, .unique = 79, .is_resent = true };
	CU_ASSERT_EQUAL(call(&op), WEIR_OK);
	wr = (struct weir_op){ .kind = WEIR_OP_WRITE, .ino = op.ino, .fh = op.fh, .buf = (char[]){ "f" }, .len = 1 };
	CU_ASSERT_EQUAL(call(&wr), WEIR_OK);
	op.kind = WEIR_OP_FLUSH;
	CU_ASSERT_EQUAL(call(&op), WEIR_OK);
	op.kind = WEIR_OP_RELEASE;
	call(&op);
	weir_fs_free(fs);
	fs_open_again(true);
	CU_ASSERT(holds("d/f", "f") && ino_of("d") == d && !flush() && there_holds("a/d/f", "f"));
	stage_end();
}

static void
differential(uint64_t seed, const char *namespace)
{
	pool("quota = 1GB", "quota = 1GB", namespace);
	random_changes(seed, 700);
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	refresh();
	CU_ASSERT(same("the tree after a new listing", NULL));
	weir_fs_free(fs);
	weir_conf_free(conf);
	/* What the members hold together, seen by a cache that knows nothing. */
	stage_new_cache();
	start("", "", namespace);
	CU_ASSERT(same("the members together", NULL));
	stage_end();
}

static void
it_behaves_like_a_real_folder(void)
{
	const char *s = getenv("WEIR_TEST_SEED");

	if (s) {
		differential(strtoull(s, NULL, 10), SHARED);
		return;
	}
	for (uint64_t i = 1; i <= 3; i++) {
		differential(i * 104729, "/all = pool(a, b; policy=most-free)\n");
		differential(i * 7919, "/b = b\n/all = pool(a, b; policy=most-free)\n");
		differential(i * 15485863, "/all = pool(a:x, b:y, a:z; policy=siblings)\n");
	}
}

int
main(void)
{
	CU_pSuite s;
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 99;
	s = CU_add_suite("pool", stage_begin, stage_finish);
	CU_ADD_TEST(s, members_are_shown_as_one);
	CU_ADD_TEST(s, many_entries_are_listed_once);
	CU_ADD_TEST(s, a_file_is_the_same_by_either_path);
	CU_ADD_TEST(s, a_member_inside_another_tree_stays);
	CU_ADD_TEST(s, paths_below_a_pool);
	CU_ADD_TEST(s, first_with_room);
	CU_ADD_TEST(s, most_free_and_siblings);
	CU_ADD_TEST(s, read_only_members_are_passed_over);
	CU_ADD_TEST(s, a_lost_member_hides_only_its_own);
	CU_ADD_TEST(s, a_name_goes_on_every_member);
	CU_ADD_TEST(s, exchange_stays_on_the_members);
	CU_ADD_TEST(s, out_of_the_pool_is_another_device);
	CU_ADD_TEST(s, attributes_of_directories);
	CU_ADD_TEST(s, everything_counts_once);
	CU_ADD_TEST(s, news_is_told_under_the_pool);
	CU_ADD_TEST(s, numbers_and_answers_survive_a_restart);
	CU_ADD_TEST(s, it_behaves_like_a_real_folder);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed ? 1 : 0;
}
