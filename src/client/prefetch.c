/* SPDX-License-Identifier: Apache-2.0 */
/* One thread walks the list, a crew asks for the files; each waits for its own. */
#include "config.h"

#include "prefetch.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "../util/text.h"
#include "../util/util.h"
#include "crew.h"

#define PREFETCH_AT_ONCE 16

struct prefetch_task { char *path; uint64_t bytes; };

struct prefetch {
	struct weir_tree *t;
	struct weir_prefetch *p;
	struct weir_crew crew;
	pthread_mutex_t lock;
	/* under lock */
	enum weir_code first;
	struct weir_err *err;
};

static void
prefetch_fail(struct prefetch *run, enum weir_code r, const struct weir_err *err)
{
	pthread_mutex_lock(&run->lock);
	if (run->first == WEIR_OK) {
		run->first = r;
		if (run->err != NULL)
			*run->err = *err;
	}
	pthread_mutex_unlock(&run->lock);
}

static bool
prefetch_is_over(struct prefetch *run)
{
	bool is_over;

	pthread_mutex_lock(&run->lock);
	is_over = run->first != WEIR_OK;
	pthread_mutex_unlock(&run->lock);
	return is_over;
}

static void
prefetch_work(void *arg, void *task)
{
	struct prefetch *run = arg;
	struct prefetch_task *f = task;
	struct weir_err err = {0};
	enum weir_code r = prefetch_is_over(run) ? WEIR_E_CANCELED : weir_tree_prefetch(run->t, f->path, &err);

	if (r == WEIR_OK) {
		pthread_mutex_lock(&run->lock);
		run->p->files++;
		run->p->bytes += f->bytes;
		pthread_mutex_unlock(&run->lock);
	} else if (r != WEIR_E_CANCELED)
		prefetch_fail(run, r, &err);
	free(f->path);
	free(f);
}

static void
prefetch_tick(void *arg)
{
	struct prefetch *run = arg;
	struct weir_err err = {0};
	struct weir_prefetch copy;

	if (run->p->progress == NULL)
		return;
	pthread_mutex_lock(&run->lock);
	copy = *run->p;
	pthread_mutex_unlock(&run->lock);
	if (run->p->progress(run->p->arg, &copy))
		return;
	weir_err_set(&err, WEIR_E_INTR, "given up");
	prefetch_fail(run, WEIR_E_INTR, &err);
	if (run->p->stop != NULL)
		atomic_store(run->p->stop, true);
}

static enum weir_code
prefetch_file(struct prefetch *run, const char *path, const struct weir_attr *attr, struct weir_err *err)
{
	struct prefetch_task *f;
	bool is_full;

	pthread_mutex_lock(&run->lock);
	is_full = run->p->bytes_wanted + attr->size > run->p->room_bytes;
	run->p->is_full = run->p->is_full || is_full;
	if (!is_full) {
		run->p->files_wanted++;
		run->p->bytes_wanted += attr->size;
	}
	pthread_mutex_unlock(&run->lock);
	if (is_full)
		return weir_err_set(err, WEIR_E_NOSPC, "the cache holds no more");
	f = weir_xcalloc(1, sizeof(*f));
	*f = (struct prefetch_task){.path = weir_xstrdup(path), .bytes = attr->size};
	weir_crew_add(&run->crew, f);
	return WEIR_OK;
}

struct prefetch_names { char **v; struct weir_attr *attrs; size_t *order, n; };

static int
prefetch_note(void *arg, const char *name, const struct weir_attr *attr)
{
	struct prefetch_names *l = arg;

	l->v = weir_xrealloc(l->v, l->n + 1, sizeof(*l->v));
	l->attrs = weir_xrealloc(l->attrs, l->n + 1, sizeof(*l->attrs));
	l->order = weir_xrealloc(l->order, l->n + 1, sizeof(*l->order));
	l->order[l->n] = l->n;
	l->attrs[l->n] = *attr;
	l->v[l->n++] = weir_xstrdup(name);
	return 0;
}

static int
prefetch_by_name(const void *a, const void *b, void *arg)
{
	const struct prefetch_names *l = arg;

	return strcmp(l->v[*(const size_t *)a], l->v[*(const size_t *)b]);
}

static enum weir_code
prefetch_any(struct prefetch *run, const char *path, const struct weir_attr *attr, struct weir_err *err)
{
	struct prefetch_names l = {0};
	enum weir_code r;

	if (S_ISREG(attr->mode))
		return prefetch_file(run, path, attr, err);
	if (!S_ISDIR(attr->mode))
		return WEIR_OK;
	r = weir_tree_list(run->t, path, prefetch_note, &l, err);
	if (r == WEIR_OK && l.n > 0)
		qsort_r(l.order, l.n, sizeof(*l.order), prefetch_by_name, &l);
	for (size_t i = 0; i < l.n && r == WEIR_OK; i++) {
		WEIR_AUTO(weir_freep) char *child = weir_path_join(path, l.v[l.order[i]]);

		r = prefetch_is_over(run) ? WEIR_E_CANCELED : prefetch_any(run, child, &l.attrs[l.order[i]], err);
	}
	for (size_t i = 0; i < l.n; i++)
		free(l.v[i]);
	free(l.v);
	free(l.attrs);
	free(l.order);
	return r;
}

enum weir_code
weir_prefetch(struct weir_tree *t, const char *const *paths, size_t n, struct weir_prefetch *p, struct weir_err *err)
{
	struct prefetch run = {.t = t, .p = p, .crew = {.work = prefetch_work, .tick = prefetch_tick}, .lock = PTHREAD_MUTEX_INITIALIZER, .err = err};
	enum weir_code r = WEIR_OK;

	run.crew.arg = &run;
	if (weir_crew_start(&run.crew, PREFETCH_AT_ONCE) == 0)
		return weir_err_set(err, WEIR_E_NOMEM, "no thread can be made");
	for (size_t i = 0; i < n && r == WEIR_OK && !prefetch_is_over(&run); i++) {
		struct weir_attr attr;
		struct weir_err why = {0};

		r = weir_tree_stat(t, paths[i], true, &attr, &why);
		if (r == WEIR_OK)
			r = prefetch_any(&run, paths[i], &attr, &why);
		if (r && r != WEIR_E_CANCELED && r != WEIR_E_NOSPC)
			prefetch_fail(&run, r, &why);
	}
	weir_crew_end(&run.crew);
	if (p->progress != NULL)
		p->progress(p->arg, p);
	if (run.first == WEIR_OK && p->is_full)
		return weir_err_set(err, WEIR_E_NOSPC, "the cache holds no more");
	return run.first;
}
