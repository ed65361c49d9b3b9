/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "herald.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../fs/fs.h"
#include "../util/buf.h"
#include "../util/text.h"
#include "../util/util.h"
#include "notify.h"

#define HERALD_S 5		/* between looks */
#define HERALD_FILES 20u
#define HERALD_FULL 90u		/* % of a quota */
#define HERALD_FREE 85u

struct herald_remote { bool is_full, is_dead; };
struct weir_herald {
	struct weir_herald_options opt;
	pthread_t thread;
	pthread_mutex_t mu;
	pthread_cond_t over;
	bool is_over;			/* mu */
	/* the thread's own */
	bool has_looked, is_full;
	uint64_t conflicts;
	struct herald_remote *remotes;	/* as many as the configuration has, in its order */
	char line[256];
};

/* ---- events ---- */

static void
herald_tell(struct weir_herald *h, const char *event, json_t *fields)
{
	weir_notify(h->opt.conf, event, fields, NULL);	/* says itself, once, what went wrong */
}

static void
herald_quota(struct weir_herald *h, bool *is_full, const char *remote, uint64_t used, uint64_t quota)
{
	bool was_full = *is_full;

	if (quota == 0)
		*is_full = false;
	else if (used / 100.0 >= quota / 10000.0 * HERALD_FULL)
		*is_full = true;
	else if (used / 100.0 < quota / 10000.0 * HERALD_FREE)
		*is_full = false;
	if (*is_full && !was_full && h->has_looked)
		herald_tell(h, "quota", json_pack("{s:s?, s:I, s:I}", "remote", remote, "used_bytes", (json_int_t)used, "quota_bytes", (json_int_t)quota));
}

static void
herald_signin(struct weir_herald *h, bool *is_dead, const struct weir_remote_status *r)
{
	bool was_dead = *is_dead;

	/* One that is being asked has not answered yet. */
	if (strcmp(r->state, "refused") == 0)
		*is_dead = true;
	else if (strcmp(r->state, "up") == 0)
		*is_dead = false;
	if (*is_dead && !was_dead)
		herald_tell(h, "signin-dead", json_pack("{s:s, s:s}", "remote", r->name, "error", r->error));
}

struct herald_files { json_t *list; uint64_t left; };

/* The newest come first. */
static void
herald_file(void *arg, const char *kind, const char *path, const char *text)
{
	struct herald_files *p = arg;

	if (strcmp(kind, "conflict") != 0 || p->left == 0)
		return;
	p->left--;
	json_array_insert_new(p->list, 0, json_pack("{s:s, s:s}", "path", path, "what", text));
}

static void
herald_conflicts(struct weir_herald *h, uint64_t n)
{
	uint64_t fresh = n > h->conflicts && h->has_looked ? n - h->conflicts : 0;
	struct herald_files p = {json_array(), fresh < HERALD_FILES ? fresh : HERALD_FILES};

	h->conflicts = n;
	if (fresh > 0)
		weir_fs_problems(h->opt.fs, herald_file, &p);
	if (fresh > 0)
		herald_tell(h, "conflict", json_pack("{s:I, s:O}", "conflicts", (json_int_t)fresh, "files", p.list));
	json_decref(p.list);
}

/* ---- the line ---- */

/* "3 remotes; 12 files, 3.4 GB to send", "1 of 3 remotes away (share: connection refused); all is sent". */
static void
herald_line(struct weir_herald *h, const struct weir_status *st)
{
	struct weir_buf b = WEIR_BUF(1024);
	char size[16];
	size_t away = 0;
	const struct weir_remote_status *first = NULL;

	for (size_t i = 0; i < st->nremotes; i++) {
		if (strcmp(st->remotes[i].state, "down") != 0 && strcmp(st->remotes[i].state, "refused") != 0)
			continue;
		first = first != NULL ? first : &st->remotes[i];
		away++;
	}
	if (away > 0)
		weir_buf_addf(&b, "%zu of ", away);
	weir_buf_addf(&b, "%zu remote%s", st->nremotes, st->nremotes == 1 ? "" : "s");
	if (first != NULL)
		weir_buf_addf(&b, " %s (%s: %.80s)", strcmp(first->state, "refused") == 0 ? "not letting us in" : "away", first->name, first->error);
	if (st->unsent_files > 0)
		weir_buf_addf(&b, "; %llu file%s, %s to send", (unsigned long long)st->unsent_files, st->unsent_files == 1 ? "" : "s",
		    weir_size_text(st->unsent_bytes, size));
	else
		weir_buf_adds(&b, "; all is sent");
	if (st->failing_files > 0)
		weir_buf_addf(&b, ", %llu refused by their storage", (unsigned long long)st->failing_files);
	if (h->opt.line != NULL && strncmp(weir_buf_str(&b), h->line, sizeof(h->line) - 1) != 0) {
		snprintf(h->line, sizeof(h->line), "%s", weir_buf_str(&b));
		h->opt.line(h->opt.arg, h->line);
	}
	weir_buf_free(&b);
}

/* ---- the thread ---- */

static void
herald_look(struct weir_herald *h)
{
	struct weir_status st = {0};

	weir_fs_status(h->opt.fs, &st);
	herald_line(h, &st);
	herald_quota(h, &h->is_full, NULL, st.used_bytes, st.quota_bytes);
	if (h->remotes == NULL)
		h->remotes = weir_xcalloc(st.nremotes + 1, sizeof(*h->remotes));
	for (size_t i = 0; i < st.nremotes; i++) {
		herald_quota(h, &h->remotes[i].is_full, st.remotes[i].name, st.remotes[i].used_bytes, st.remotes[i].quota_bytes);
		herald_signin(h, &h->remotes[i].is_dead, &st.remotes[i]);
	}
	herald_conflicts(h, st.conflicts);
	h->has_looked = true;
	weir_status_free(&st);
}

static void *
herald_thread(void *arg)
{
	struct weir_herald *h = arg;
	bool is_over = false;

	while (!is_over) {
		struct timespec until;

		herald_look(h);
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += HERALD_S;
		pthread_mutex_lock(&h->mu);
		while (!h->is_over && pthread_cond_timedwait(&h->over, &h->mu, &until) != ETIMEDOUT)
			;
		is_over = h->is_over;
		pthread_mutex_unlock(&h->mu);
	}
	return NULL;
}

enum weir_code
weir_herald_start(const struct weir_herald_options *opt, struct weir_herald **out, struct weir_err *err)
{
	struct weir_herald *h = weir_xcalloc(1, sizeof(*h));
	pthread_condattr_t attr;
	int no;

	h->opt = *opt;
	pthread_mutex_init(&h->mu, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&h->over, &attr);
	pthread_condattr_destroy(&attr);
	no = pthread_create(&h->thread, NULL, herald_thread, h);
	if (no != 0) {
		pthread_mutex_destroy(&h->mu);
		pthread_cond_destroy(&h->over);
		free(h);
		return weir_err_errno(err, no, "a thread");
	}
	*out = h;
	return WEIR_OK;
}

void
weir_herald_stop(struct weir_herald *h)
{
	if (h == NULL)
		return;
	pthread_mutex_lock(&h->mu);
	h->is_over = true;
	pthread_cond_signal(&h->over);
	pthread_mutex_unlock(&h->mu);
	pthread_join(h->thread, NULL);
	pthread_mutex_destroy(&h->mu);
	pthread_cond_destroy(&h->over);
	free(h->remotes);
	free(h);
}
