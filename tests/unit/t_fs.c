/* SPDX-License-Identifier: Apache-2.0 */
/* The tree as a program sees it and what of it reaches a remote, without FUSE: see fs_stage.h. */
#include "config.h"

#include <CUnit/Basic.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../backends/backend.h"
#include "fs_stage.h"

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
	stage_end();
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
	stage_end();
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
	stage_end();
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
	stage_end();
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
	stage_end();
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
	stage_end();
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
	stage_end();
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
	stage_end();
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
	stage_end();
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
	stage_end();
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
	stage_end();
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
	stage_end();
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
	stage_end();
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
	stage_end();
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
	stage_end();
}

/* ---- against a real folder ---- */

static void
differential(uint64_t start, unsigned rounds)
{
	fresh("");
	random_changes(start, rounds);
	CU_ASSERT_EQUAL(flush(), WEIR_OK);
	CU_ASSERT(same("the remote", there));
	refresh();
	CU_ASSERT(same("the tree after a new listing", NULL));
	stage_end();
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

int
main(void)
{
	CU_pSuite s;
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 99;
	s = CU_add_suite("fs", stage_begin, stage_finish);
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
