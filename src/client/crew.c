/* SPDX-License-Identifier: Apache-2.0 */
/* The crew: a ring of tasks under one lock; everything that changes it wakes everybody, who are few. */
#include "config.h"

#include "crew.h"

#include <time.h>

#define CREW_TICK_MS 250

static void *
crew_thread(void *arg)
{
	struct weir_crew *c = arg;

	pthread_mutex_lock(&c->lock);
	for (;;) {
		void *task;

		while (c->n == 0 && !c->is_over)
			pthread_cond_wait(&c->changed, &c->lock);
		if (c->n == 0)
			break;
		task = c->queue[c->first];
		c->first = (c->first + 1) % WEIR_CREW_QUEUE;
		c->n--;
		c->running++;
		pthread_cond_broadcast(&c->changed);
		pthread_mutex_unlock(&c->lock);
		c->work(c->arg, task);
		pthread_mutex_lock(&c->lock);
		c->running--;
		pthread_cond_broadcast(&c->changed);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

size_t
weir_crew_start(struct weir_crew *c, size_t nthreads)
{
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->changed, NULL);
	c->first = c->n = c->running = c->nthreads = 0;
	c->is_over = false;
	while (c->nthreads < nthreads && c->nthreads < WEIR_CREW_MAX && pthread_create(&c->threads[c->nthreads], NULL, crew_thread, c) == 0)
		c->nthreads++;
	return c->nthreads;
}

/* Lock held at entry and exit. */
static void
crew_wait(struct weir_crew *c)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_nsec += CREW_TICK_MS * 1000000L;
	ts.tv_sec += ts.tv_nsec / 1000000000L;
	ts.tv_nsec %= 1000000000L;
	if (pthread_cond_timedwait(&c->changed, &c->lock, &ts) == 0 || c->tick == NULL)
		return;
	pthread_mutex_unlock(&c->lock);
	c->tick(c->arg);
	pthread_mutex_lock(&c->lock);
}

void
weir_crew_add(struct weir_crew *c, void *task)
{
	pthread_mutex_lock(&c->lock);
	while (c->n == WEIR_CREW_QUEUE)
		crew_wait(c);
	c->queue[(c->first + c->n) % WEIR_CREW_QUEUE] = task;
	c->n++;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

void
weir_crew_end(struct weir_crew *c)
{
	pthread_mutex_lock(&c->lock);
	while (c->n > 0 || c->running > 0)
		crew_wait(c);
	c->is_over = true;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	while (c->nthreads > 0)
		pthread_join(c->threads[--c->nthreads], NULL);
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->lock);
}
