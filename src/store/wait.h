/* SPDX-License-Identifier: Apache-2.0 */
/* Something that waits for the store's state to change: parked requests of fs/, internal steps of sync/.
 * A waiter stands in at most one queue. Queues and waiters are guarded by the store's lock. Waking takes it out of the queue and
 * calls wake() with the lock held: wake() may only hand the waiter on to another thread. */
#ifndef WEIR_WAIT_H
#define WEIR_WAIT_H
#include "../util/err.h"
#include <stdbool.h>
#include <stdint.h>

struct weir_waiter {
	struct weir_waiter *next, **prevp;	/* prevp NULL: in no queue */
	void (*wake)(struct weir_waiter *);
	enum weir_code code;			/* set by whoever wakes: WEIR_OK "look again", or why the wait is hopeless */
	uint64_t from, to;			/* bytes of a content without which looking again is of no use; to 0: any news will do */
};
struct weir_waitq { struct weir_waiter *head; };

static inline void
weir_wait_add(struct weir_waitq *q, struct weir_waiter *w)
{
	w->next = q->head;
	w->prevp = &q->head;
	if (q->head)
		q->head->prevp = &w->next;
	q->head = w;
}

static inline bool
weir_wait_remove(struct weir_waiter *w)
{
	if (!w->prevp)
		return false;
	*w->prevp = w->next;
	if (w->next)
		w->next->prevp = w->prevp;
	w->next = NULL;
	w->prevp = NULL;
	return true;
}

static inline void
weir_wake(struct weir_waiter *w, enum weir_code code)
{
	weir_wait_remove(w);
	w->code = code;
	w->wake(w);
}

static inline void
weir_wake_all(struct weir_waitq *q, enum weir_code code)
{
	while (q->head)
		weir_wake(q->head, code);
}

#endif
