/* SPDX-License-Identifier: Apache-2.0 */
/* The table of open nodes: counts, gravestones, a full table, and a worker that is killed at any moment. */
#include "config.h"

#include <CUnit/Basic.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/opens.h"
#include "util/util.h"

static void
handles_are_counted(void)
{
	struct weir_opens *o = weir_opens_new(16);
	struct weir_open_slot s;

	CU_ASSERT_EQUAL(weir_opens_get(o, 7, false, &s), 0);
	CU_ASSERT_EQUAL(s.opens, 1);
	CU_ASSERT_EQUAL(s.writers, 0);
	CU_ASSERT_EQUAL(weir_opens_get(o, 7, true, &s), 0);
	CU_ASSERT_EQUAL(s.opens, 2);
	CU_ASSERT_EQUAL(s.writers, 1);
	weir_opens_put(o, 7, true, &s);
	CU_ASSERT_EQUAL(s.opens, 1);
	CU_ASSERT_EQUAL(s.writers, 0);
	weir_opens_put(o, 7, false, &s);
	CU_ASSERT_EQUAL(s.opens, 0);
	CU_ASSERT_FALSE(weir_opens_find(o, 7, &s));
	weir_opens_put(o, 7, false, &s);	/* one too many changes nothing */
	CU_ASSERT_EQUAL(s.opens, 0);
}

static void
a_backing_id_ends_with_the_last_handle(void)
{
	struct weir_opens *o = weir_opens_new(16);
	struct weir_open_slot s;

	weir_opens_get(o, 7, false, NULL);
	weir_opens_set_backing(o, 7, 42);
	CU_ASSERT_TRUE(weir_opens_find(o, 7, &s));
	CU_ASSERT_EQUAL(s.backing_id, 42);
	weir_opens_put(o, 7, false, NULL);
	weir_opens_get(o, 7, false, &s);
	CU_ASSERT_EQUAL(s.backing_id, 0);
}

static void
a_full_table_is_an_error_and_heals(void)
{
	struct weir_opens *o = weir_opens_new(16);
	uint64_t n = 1;

	while (weir_opens_get(o, n, false, NULL) == 0)
		n++;
	CU_ASSERT_EQUAL(errno, ENFILE);
	CU_ASSERT_EQUAL(n, 15);
	CU_ASSERT_EQUAL(weir_opens_get(o, 3, false, NULL), 0);	/* a node that is open already has its place */
	weir_opens_put(o, 5, false, NULL);
	CU_ASSERT_EQUAL(weir_opens_get(o, 1000, false, NULL), 0);
	CU_ASSERT_NOT_EQUAL(weir_opens_get(o, 1001, false, NULL), 0);
}

/* Gravestones must neither hide living entries nor fill the table. */
static void
many_come_and_go(void)
{
	struct weir_opens *o = weir_opens_new(64);
	uint32_t count[500] = {0};
	unsigned seed = 1, open = 0;
	bool is_right = true;

	for (int i = 0; i < 300000; i++) {
		unsigned n = (unsigned)rand_r(&seed) % 500;

		if (rand_r(&seed) % 2 != 0 && (open < 50 || count[n] > 0)) {
			is_right = is_right && weir_opens_get(o, n + 1, false, NULL) == 0;
			open += count[n]++ == 0;
		} else if (count[n] > 0) {
			weir_opens_put(o, n + 1, false, NULL);
			open -= --count[n] == 0;
		}
		if (i % 1000 == 0) {
			for (unsigned k = 0; k < 500; k++) {
				struct weir_open_slot s = {0};

				is_right = is_right && weir_opens_find(o, k + 1, &s) == (count[k] > 0) && s.opens == count[k];
			}
		}
	}
	CU_ASSERT_TRUE(is_right);
}

static void
collect(void *arg, const struct weir_open_slot *s)
{
	uint64_t *sum = arg;

	*sum += s->opens * 1000 + s->ino;
}

static void
each_sees_what_is_open(void)
{
	struct weir_opens *o = weir_opens_new(64);
	uint64_t sum = 0;

	weir_opens_get(o, 1, false, NULL);
	weir_opens_get(o, 2, false, NULL);
	weir_opens_get(o, 2, true, NULL);
	weir_opens_get(o, 3, true, NULL);
	weir_opens_put(o, 3, true, NULL);
	weir_opens_each(o, collect, &sum);
	CU_ASSERT_EQUAL(sum, 3003);
}

/* Some nodes stay open throughout. However the worker dies, the next one finds every one of them with at least its handles. */
static void
a_killed_worker_leaves_a_table_that_holds(void)
{
	struct weir_opens *o = weir_opens_new(64);
	bool is_right = true;

	for (uint64_t k = 0; k < 20; k++)
		weir_opens_get(o, 1000 + k, true, NULL);
	for (int round = 0; round < 60; round++) {
		pid_t pid = fork();

		if (pid == 0) {
			unsigned seed = (unsigned)round;

			weir_opens_recover(o);
			for (;;) {
				uint64_t n = (uint64_t)rand_r(&seed) % 20;

				weir_opens_get(o, n + 1, true, NULL);
				weir_opens_put(o, n + 1, true, NULL);
			}
		}
		usleep(1000 + (unsigned)round * 37);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		weir_opens_recover(o);
		for (uint64_t k = 0; k < 20; k++) {
			struct weir_open_slot s = {0};

			is_right = is_right && weir_opens_find(o, 1000 + k, &s) && s.opens == 1 && s.writers == 1;
		}
		is_right = is_right && weir_opens_get(o, 77, false, NULL) == 0;
		weir_opens_put(o, 77, false, NULL);
	}
	CU_ASSERT_TRUE(is_right);
}

int
main(void)
{
	CU_pSuite s;
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 99;
	s = CU_add_suite("opens", NULL, NULL);
	CU_ADD_TEST(s, handles_are_counted);
	CU_ADD_TEST(s, a_backing_id_ends_with_the_last_handle);
	CU_ADD_TEST(s, a_full_table_is_an_error_and_heals);
	CU_ADD_TEST(s, many_come_and_go);
	CU_ADD_TEST(s, each_sees_what_is_open);
	CU_ADD_TEST(s, a_killed_worker_leaves_a_table_that_holds);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed > 0;
}
