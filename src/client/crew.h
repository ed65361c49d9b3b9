/* SPDX-License-Identifier: Apache-2.0 */
/* A few threads that carry out tasks in the order they were given. The caller hands out the tasks and waits for the end; nobody else. */
#ifndef WEIR_CREW_H
#define WEIR_CREW_H
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#define WEIR_CREW_MAX 32
#define WEIR_CREW_QUEUE 64	/* tasks that wait; weir_crew_add() waits while there are so many */

struct weir_crew {
	/* Set before the start. work: in one of the threads; the task is its own from then on. tick (may be NULL): in the caller's thread, about four times a second
	 * while it waits in add or end. */
	void (*work)(void *arg, void *task);
	void (*tick)(void *arg);
	void *arg;
	/* private */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	void *queue[WEIR_CREW_QUEUE];
	size_t first, n, running;
	bool is_over;
	pthread_t threads[WEIR_CREW_MAX];
	size_t nthreads;
};

/* How many threads there are; 0: none could be made, and there is nothing to end. */
size_t weir_crew_start(struct weir_crew *, size_t nthreads);
void weir_crew_add(struct weir_crew *, void *task);
void weir_crew_end(struct weir_crew *);	/* when all tasks are done */

#endif
