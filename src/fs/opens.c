/* SPDX-License-Identifier: Apache-2.0 */
/* The table of open nodes: open addressing in anonymous shared memory, so that a worker's death costs nothing but counts that are too high.
 *
 * A worker can be killed between any two stores. Therefore no entry is ever moved: an entry whose opens fell to 0 stays as a gravestone until its
 * place is used again, or until nothing behind it needs it; every change is ordered so that what a killed worker leaves is a valid table:
 *
 *	ino   opens   meaning
 *	0     0       never used, or cleaned: a search ends here
 *	n     0       gravestone of n: a search goes on, an insertion may take it
 *	n     > 0     n is open
 *
 * Knows neither FUSE nor the store. */
#include "config.h"

#include "opens.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

struct opens_entry {
	_Atomic uint64_t ino;
	_Atomic uint32_t opens;
	_Atomic uint32_t writers;
	_Atomic int32_t backing_id;
};

struct weir_opens {
	pthread_mutex_t mu;
	uint32_t mask;		/* slots - 1 */
	uint32_t used;		/* entries with opens > 0; counted anew by recover */
	uint32_t most;		/* an eighth stays free, or searches get long */
	struct opens_entry slot[];
};

static void
opens_mutex_init(struct weir_opens *o)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&o->mu, &attr);
	pthread_mutexattr_destroy(&attr);
}

struct weir_opens *
weir_opens_new(unsigned slots)
{
	struct weir_opens *o;
	uint32_t n = 16;

	while (n < slots && n < 1u << 28)
		n *= 2;
	o = mmap(NULL, sizeof(*o) + (size_t)n * sizeof(o->slot[0]), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (o == MAP_FAILED)
		return NULL;
	o->mask = n - 1;
	o->most = n - n / 8;
	opens_mutex_init(o);
	return o;
}

static uint32_t
opens_home(const struct weir_opens *o, uint64_t ino)
{
	return (uint32_t)((ino * 0x9e3779b97f4a7c15u) >> 32) & o->mask;
}

/* The living entry of ino, or NULL; *room (may be NULL) then says where it could go, NULL: nowhere. */
static struct opens_entry *
opens_seek(struct weir_opens *o, uint64_t ino, struct opens_entry **room)
{
	struct opens_entry *grave = NULL;
	uint32_t i = opens_home(o, ino);

	for (uint32_t n = 0; n <= o->mask; n++, i = (i + 1) & o->mask) {
		struct opens_entry *e = &o->slot[i];

		if (e->ino == ino && e->opens > 0)
			return e;
		if (e->opens == 0 && grave == NULL)
			grave = e;
		if (e->ino == 0)
			break;
	}
	if (room != NULL)
		*room = grave;
	return NULL;
}

static void
opens_copy(const struct opens_entry *e, struct weir_open_slot *out)
{
	if (out == NULL)
		return;
	out->ino = e->ino;
	out->opens = e->opens;
	out->writers = e->writers;
	out->backing_id = e->backing_id;
}

int
weir_opens_get(struct weir_opens *o, uint64_t ino, bool is_writer, struct weir_open_slot *out)
{
	struct opens_entry *e, *room = NULL;

	pthread_mutex_lock(&o->mu);
	e = opens_seek(o, ino, &room);
	if (e == NULL) {
		if (o->used >= o->most || room == NULL) {
			pthread_mutex_unlock(&o->mu);
			errno = ENFILE;
			return -1;
		}
		e = room;
		e->ino = ino;
		e->writers = 0;
		e->backing_id = 0;
		o->used++;
	}
	/* opens first: what leaks when we are killed in between is a handle too many, never a writer nobody can take back. */
	e->opens++;
	if (is_writer)
		e->writers++;
	opens_copy(e, out);
	pthread_mutex_unlock(&o->mu);
	return 0;
}

/* Clean gravestones nobody needs to step over any more: those directly before a never-used slot. */
static void
opens_trim(struct weir_opens *o, uint32_t i)
{
	if (o->slot[(i + 1) & o->mask].ino != 0)
		return;
	for (uint32_t n = 0; n <= o->mask && o->slot[i].ino != 0 && o->slot[i].opens == 0; n++, i = (i - 1) & o->mask)
		o->slot[i].ino = 0;
}

void
weir_opens_put(struct weir_opens *o, uint64_t ino, bool is_writer, struct weir_open_slot *out)
{
	struct opens_entry *e;

	if (out != NULL)
		*out = (struct weir_open_slot){.ino = ino};
	pthread_mutex_lock(&o->mu);
	e = opens_seek(o, ino, NULL);
	if (e != NULL) {
		if (is_writer && e->writers > 0)
			e->writers--;
		e->opens--;
		opens_copy(e, out);
		if (e->opens == 0) {
			o->used--;
			opens_trim(o, (uint32_t)(e - o->slot));
		}
	}
	pthread_mutex_unlock(&o->mu);
}

bool
weir_opens_find(struct weir_opens *o, uint64_t ino, struct weir_open_slot *out)
{
	struct opens_entry *e;

	pthread_mutex_lock(&o->mu);
	e = opens_seek(o, ino, NULL);
	if (e != NULL)
		opens_copy(e, out);
	pthread_mutex_unlock(&o->mu);
	return e != NULL;
}

void
weir_opens_set_backing(struct weir_opens *o, uint64_t ino, int32_t backing_id)
{
	struct opens_entry *e;

	pthread_mutex_lock(&o->mu);
	e = opens_seek(o, ino, NULL);
	if (e != NULL)
		e->backing_id = backing_id;
	pthread_mutex_unlock(&o->mu);
}

/* fn sees copies and runs without the lock, so it may call back. */
void
weir_opens_each(struct weir_opens *o, void (*fn)(void *arg, const struct weir_open_slot *), void *arg)
{
	for (uint32_t i = 0; i <= o->mask; i++) {
		struct weir_open_slot copy;

		if (o->slot[i].opens == 0)
			continue;
		pthread_mutex_lock(&o->mu);
		opens_copy(&o->slot[i], &copy);
		pthread_mutex_unlock(&o->mu);
		if (copy.opens > 0)
			fn(arg, &copy);
	}
}

void
weir_opens_recover(struct weir_opens *o)
{
	uint32_t used = 0;

	opens_mutex_init(o);
	for (uint32_t i = 0; i <= o->mask; i++)
		used += o->slot[i].opens > 0;
	o->used = used;
}
