/* SPDX-License-Identifier: Apache-2.0 */
/* One remote: its transfer threads, its health, its news thread. Knows jobs, not what they do. */
#include "config.h"

#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define IDLE_S 20
#define PROBE_EVERY_MS 5000

/* ---- transfer threads ---- */

static struct job *
pool_pick(struct weir_remote *r)
{
	for (unsigned k = 0; k < JOB_CLASSES; k++) {
		struct job *j = r->head[k];

		if (!j || r->running[k] >= r->limit[k])
			continue;
		r->head[k] = j->next;
		if (!r->head[k])
			r->tail[k] = &r->head[k];
		return j;
	}
	return NULL;
}

static void *
pool_thread(void *arg)
{
	struct weir_remote *r = arg;
	struct weir_store *st = r->sy->st;
	bool is_over = false;

	weir_store_lock(st);
	for (;;) {
		struct job *j = pool_pick(r);
		struct timespec ts;
		unsigned kind;
		int rc;

		if (j) {
			kind = j->kind;
			r->running[kind]++;
			weir_store_unlock(st);
			j->run(r, j);
			weir_store_lock(st);
			r->running[kind]--;
			is_over = false;
			continue;
		}
		if (r->sy->is_stopping || is_over)
			break;
		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_sec += IDLE_S;
		r->idle++;
		rc = weir_store_wait(st, &r->work, &ts);
		r->idle--;
		is_over = rc == ETIMEDOUT; /* but somebody may have counted on us while we waited for the lock */
	}
	r->nthreads--;
	pthread_cond_broadcast(&r->gone);
	weir_store_unlock(st);
	return NULL;
}

static void
pool_wake(struct weir_remote *r)
{
	pthread_attr_t attr;
	pthread_t t;

	if (r->idle > 0) {
		pthread_cond_signal(&r->work);
		return;
	}
	if (r->nthreads >= r->max_threads)
		return;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 512 * 1024);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&t, &attr, pool_thread, r) == 0)
		r->nthreads++;
	pthread_attr_destroy(&attr);
}

void
remote_submit(struct weir_remote *r, struct job *j, unsigned kind)
{
	j->kind = kind;
	j->next = NULL;
	*r->tail[kind] = j;
	r->tail[kind] = &j->next;
	pool_wake(r);
}

void
remote_submit_first(struct weir_remote *r, struct job *j, unsigned kind)
{
	j->kind = kind;
	j->next = r->head[kind];
	r->head[kind] = j;
	if (!j->next)
		r->tail[kind] = &j->next;
	pool_wake(r);
}

/* ---- health ---- */

enum weir_code
remote_usable(const struct weir_remote *r)
{
	if (r->state == WEIR_REMOTE_DOWN)
		return WEIR_E_DOWN;
	if (r->state == WEIR_REMOTE_REFUSED)
		return WEIR_E_AUTH;
	return WEIR_OK;
}

static void
remote_state(struct weir_remote *r, enum weir_remote_state state, const char *sentence)
{
	static const char *const word[] = { "connecting", "up", "down", "refused" };

	snprintf(r->error, sizeof(r->error), "%s", sentence ? sentence : "");
	if (r->state == state)
		return;
	r->state = state;
	weir_log(state == WEIR_REMOTE_UP ? WEIR_LOG_INFO : WEIR_LOG_WARN, "remote '%s' is %s%s%s", r->conf->name, word[state], sentence ? ": " : "",
	    sentence ? sentence : "");
	if (state == WEIR_REMOTE_UP) {
		weir_sync_kick_now(r);
		r->watch.fails = 0;
		r->watch.is_kicked = true;
		r->watch.push.next_ms = 0;
		pthread_cond_signal(&r->watch.cond);
	} else
		r->watch.is_good = false;
	weir_wake_all(&r->sent, WEIR_OK);
}

void
remote_note(struct weir_remote *r, enum weir_code code, const char *sentence)
{
	switch (code) {
	case WEIR_E_DOWN:
	case WEIR_E_NET:
	case WEIR_E_STALL:
		remote_state(r, WEIR_REMOTE_DOWN, sentence);
		break;
	case WEIR_E_AUTH:
	case WEIR_E_NOBUCKET:
	case WEIR_E_TLS:
	case WEIR_E_CONFIG:
		remote_state(r, WEIR_REMOTE_REFUSED, sentence);
		break;
	case WEIR_E_CANCELED:
	case WEIR_E_IO:
	case WEIR_E_NOMEM:
		break;
	default: /* any other answer is an answer */
		if (r->is_other_account)
			break;
		if (r->state != WEIR_REMOTE_UP)
			remote_state(r, WEIR_REMOTE_UP, NULL);
	}
}

static void
probe_usage(struct weir_remote *r, const struct weir_ctx *ctx)
{
	struct weir_usage u = { 0 };

	if (!r->be->ops->quota || r->be->ops->quota(r->be, ctx, &u, NULL))
		return;
	weir_store_lock(r->sy->st);
	r->usage = u;
	r->usage_ms = weir_now_ms();
	weir_store_unlock(r->sy->st);
}

/* Lock held. A cache is of one account: what is unsent in it must not go into another's space, nor may that one's files be taken for ours. */
static enum weir_code
probe_account(struct weir_remote *r, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *key = weir_xasprintf("account %llu", (unsigned long long)r->id);
	WEIR_AUTO(weir_freep) char *known = NULL;

	if (!r->usage.account[0])
		return WEIR_OK;
	known = weir_info_get(r->sy->st, key);
	if (!known)
		weir_info_set(r->sy->st, key, r->usage.account);
	r->is_other_account = known && strcmp(known, r->usage.account) != 0;
	if (!r->is_other_account)
		return WEIR_OK;
	return weir_err_set(err, WEIR_E_AUTH, "signed in to another account than its cache is of; sign in to the former one with 'weir login %s', "
	    "or give this one a name of its own in weir.conf", r->conf->name);
}

static void
probe_run(struct weir_remote *r, struct job *j)
{
	struct weir_ctx ctx = { .cancel = &r->cancel, .deadline_ms = weir_now_ms() + r->conf->timeout_ms };
	struct weir_err err = { 0 };
	enum weir_code code = r->be->ops->probe(r->be, &ctx, &err);

	free(j);
	if (!code)
		probe_usage(r, &ctx);
	weir_store_lock(r->sy->st);
	if (!code)
		code = probe_account(r, &err);
	/* A probe that only met a busy server says nothing bad; one that met silence says that it is away. */
	remote_note(r, code, code ? weir_err_text(&err, code) : NULL);
	r->is_probing = false;
	r->probed_ms = weir_now_ms();
	if (!code && !r->usage.has_used)
		r->wants_walk = true;
	weir_store_unlock(r->sy->st);
}

void
remote_probe(struct weir_remote *r)
{
	struct job *j;
	int64_t now = weir_now_ms();
	/* Once at least, even if other answers have shown that it is there: nothing is sent before it is known whose it is. */
	bool is_due = !r->probed_ms || r->state == WEIR_REMOTE_CONNECTING || (r->state != WEIR_REMOTE_UP && now - r->probed_ms > PROBE_EVERY_MS) ||
	    (r->state == WEIR_REMOTE_UP && r->be->ops->quota && now - r->usage_ms > 300000 && now - r->probed_ms > 300000 &&
	    !watch_is_idle(r));

	/* Wrong credentials are not tried in a loop: servers lock accounts for that. */
	if (r->state == WEIR_REMOTE_REFUSED && now - r->probed_ms < 60000)
		is_due = false;
	if ((!is_due && !r->is_asked) || r->is_probing)
		return;
	r->is_probing = true;
	r->is_asked = false;
	j = weir_xcalloc(1, sizeof(*j));
	j->run = probe_run;
	remote_submit(r, j, JOB_PROBE);
}

void
weir_remote_look(struct weir_remote *r)
{
	r->is_asked = true;	/* a probe under way may have begun with the old credentials: another follows it */
	pthread_cond_broadcast(&r->sy->timer_cond);
}

/* ---- news ---- */

static void
news_deliver(struct weir_remote *r, const struct news *n)
{
	const struct weir_sync_hooks *h = &r->sy->hooks;

	switch (n->kind) {
	case NEWS_NODE:
		if (h->node_changed)
			h->node_changed(h->arg, n->node, n->is_data);
		break;
	case NEWS_ENTRY:
		if (h->entry_changed)
			h->entry_changed(h->arg, n->node, n->name);
		break;
	case NEWS_DELETED:
		if (h->entry_deleted)
			h->entry_deleted(h->arg, n->node, n->child, n->name);
		break;
	}
}

static void *
news_thread(void *arg)
{
	struct weir_remote *r = arg;
	struct weir_store *st = r->sy->st;

	weir_store_lock(st);
	while (!r->sy->is_stopping) {
		struct news *n = r->news;

		if (!n) {
			weir_store_wait(st, &r->news_cond, NULL);
			continue;
		}
		r->news = n->next;
		if (!r->news)
			r->news_tail = &r->news;
		r->telling = n->kind == NEWS_NODE && n->is_data ? n->node : 0;
		weir_store_unlock(st);
		news_deliver(r, n);
		free(n);
		weir_store_lock(st);
		r->telling = 0;
	}
	weir_store_unlock(st);
	return NULL;
}

static struct news *
news_add(struct weir_remote *r, uint64_t node, const char *name)
{
	struct news *n = weir_xcalloc(1, sizeof(*n));

	n->node = node;
	if (name)
		snprintf(n->name, sizeof(n->name), "%s", name);
	*r->news_tail = n;
	r->news_tail = &n->next;
	pthread_cond_signal(&r->news_cond);
	return n;
}

void
news_node(struct weir_remote *r, uint64_t node, bool is_data)
{
	struct news *n = news_add(r, node, NULL);

	n->kind = NEWS_NODE;
	n->is_data = is_data;
}

void
news_entry(struct weir_remote *r, uint64_t parent, const char *name)
{
	news_add(r, parent, name)->kind = NEWS_ENTRY;
}

void
news_deleted(struct weir_remote *r, uint64_t parent, uint64_t child, const char *name)
{
	struct news *n = news_add(r, parent, name);

	n->kind = NEWS_DELETED;
	n->child = child;
}

bool
weir_sync_is_telling(struct weir_sync *sy, const struct weir_node *node)
{
	struct weir_remote *r = weir_sync_remote(sy, node->remote);
	unsigned looked = 0;

	if (!r)
		return false;
	if (r->telling == node->id)
		return true;
	for (const struct news *n = r->news; n; n = n->next)
		if (++looked > 1000 || (n->kind == NEWS_NODE && n->is_data && n->node == node->id))
			return true;
	return false;
}

/* ---- places ---- */

static char *
copy_or_null(const char *s)
{
	return s[0] ? weir_xstrdup(s) : NULL;
}

bool
place_of(struct weir_store *st, const struct weir_node *n, struct place *p)
{
	struct weir_buf path = WEIR_BUF(1 << 20);
	struct weir_node up;

	memset(p, 0, sizeof(*p));
	if (!weir_node_remote_path(st, n, &path)) {
		weir_buf_free(&path);
		return false;
	}
	p->path = weir_buf_take(&path);
	p->id = copy_or_null(n->rid);
	p->version = copy_or_null(n->rversion);
	if (n->rparent && !weir_node_get(st, n->rparent, &up))
		p->parent_id = copy_or_null(up.rid);
	return true;
}

bool
place_in(struct weir_store *st, uint64_t dir, const char *rname, struct place *p)
{
	struct weir_buf path = WEIR_BUF(1 << 20);
	struct weir_node up;

	memset(p, 0, sizeof(*p));
	if (weir_node_get(st, dir, &up) || !weir_node_remote_path(st, &up, &path)) {
		weir_buf_free(&path);
		return false;
	}
	if (path.len)
		weir_buf_addc(&path, '/');
	weir_buf_adds(&path, rname);
	p->path = weir_buf_take(&path);
	p->parent_id = copy_or_null(up.rid);
	return true;
}

void
place_where(const struct place *p, struct weir_where *w)
{
	*w = (struct weir_where){ .path = p->path, .id = p->id, .parent_id = p->parent_id, .version = p->version };
}

void
place_free(struct place *p)
{
	free(p->path);
	free(p->id);
	free(p->parent_id);
	free(p->version);
	memset(p, 0, sizeof(*p));
}

/* ---- views ---- */

uint64_t
weir_remote_id(const struct weir_remote *r)
{
	return r->id;
}

uint64_t
weir_remote_root(const struct weir_remote *r)
{
	return r->root;
}

const struct weir_remote_conf *
weir_remote_conf(const struct weir_remote *r)
{
	return r->conf;
}

unsigned
weir_remote_caps(const struct weir_remote *r)
{
	return weir_backend_caps(r->be);
}

size_t
weir_remote_name_max(const struct weir_remote *r)
{
	size_t max = weir_backend_limits(r->be)->name_max;

	return max && max < WEIR_NAME_MAX ? max : WEIR_NAME_MAX;
}

bool
weir_remote_rname(const struct weir_remote *r, enum weir_type type, const char *name, char out[WEIR_RNAME_MAX + 1])
{
	bool is_link_file = type == WEIR_LINK && !(weir_backend_caps(r->be) & WEIR_CAP_SYMLINK);
	int n = snprintf(out, WEIR_RNAME_MAX + 1, "%s%s", name, is_link_file ? ".rclonelink" : "");

	return n <= WEIR_RNAME_MAX && (size_t)n <= weir_remote_name_max(r) + (is_link_file ? 11 : 0);
}

void
weir_remote_view(struct weir_remote *r, struct weir_remote_view *v)
{
	int64_t heard;

	memset(v, 0, sizeof(*v));
	v->name = r->conf->name;
	v->type = r->conf->type;
	v->id = r->id;
	v->root = r->root;
	v->state = r->state;
	v->conf = r->conf;
	v->caps = weir_backend_caps(r->be);
	snprintf(v->error, sizeof(v->error), "%s", r->error);
	v->usage = r->usage;
	r->be->ops->stats(r->be, &heard, &v->http);
	v->fetching = r->running[JOB_FETCH] + r->running[JOB_AHEAD];
	v->sending = r->running[JOB_SEND] + r->running[JOB_PART];
	v->sent_bytes = r->sent_bytes;
	v->watch = r->watch.push.is_on && r->watch.is_good ? WEIR_WATCH_PUSH : r->watch.how;
	v->watched_ms = r->watch.asked_ms;
	snprintf(v->watch_error, sizeof(v->watch_error), "%s", r->watch.error);
	snprintf(v->push_error, sizeof(v->push_error), "%s", r->watch.push.error);
}

/* ---- the whole ---- */

static void *
sync_timer(void *arg)
{
	struct weir_sync *sy = arg;

	weir_store_lock(sy->st);
	while (!sy->is_stopping) {
		struct timespec ts;

		for (size_t i = 0; i < sy->nremotes; i++) {
			remote_probe(sy->remotes[i]);
			watch_tick(sy->remotes[i]);
			list_walk(sy->remotes[i]);
			send_schedule(sy->remotes[i]);
		}
		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_nsec += 250000000;
		if (ts.tv_nsec >= 1000000000) {
			ts.tv_sec++;
			ts.tv_nsec -= 1000000000;
		}
		weir_store_wait(sy->st, &sy->timer_cond, &ts);
	}
	weir_store_unlock(sy->st);
	return NULL;
}

static void
remote_limits(struct weir_remote *r)
{
	int c = weir_backend_limits(r->be)->connections;
	unsigned n = c > 0 ? (unsigned)c : 4;

	r->limit[JOB_PROBE] = 2;
	r->limit[JOB_LIST] = n > 8 ? 8 : n;
	r->limit[JOB_FETCH] = n;
	r->limit[JOB_SEND] = n > 16 ? 16 : n;
	r->limit[JOB_PART] = n > 8 ? 8 : n;
	r->limit[JOB_AHEAD] = n > 2 ? n - n / 8 : 1;
	r->max_threads = 2 * n + 4;
	if (r->max_threads > 48)
		r->max_threads = 48;
}

static enum weir_code
remote_new(struct weir_sync *sy, const struct weir_remote_conf *conf, struct weir_remote **out, struct weir_err *err)
{
	struct weir_remote *r = weir_xcalloc(1, sizeof(*r));
	WEIR_AUTO(weir_freep) char *fingerprint = NULL;
	uint64_t aside = 0;
	enum weir_code code;

	r->sy = sy;
	r->conf = conf;
	for (unsigned k = 0; k < JOB_CLASSES; k++)
		r->tail[k] = &r->head[k];
	r->news_tail = &r->news;
	pthread_cond_init(&r->work, NULL);
	pthread_cond_init(&r->gone, NULL);
	pthread_cond_init(&r->news_cond, NULL);
	pthread_cond_init(&r->watch.cond, NULL);
	if ((code = weir_backend_open(&r->be, conf, sy->http, err)))
		goto fail;
	remote_limits(r);
	fingerprint = r->be->ops->fingerprint(r->be);
	weir_store_lock(sy->st);
	code = weir_remote_row(sy->st, conf->name, fingerprint, &r->id, &r->root, &aside, err);
	if (!code && aside)
		weir_log(WEIR_LOG_WARN, "remote '%s' points elsewhere than before: %llu unsent changes of the old place are kept aside in the cache; "
		    "point it back to send them", conf->name, (unsigned long long)aside);
	weir_store_unlock(sy->st);
	for (size_t i = 0; !code && i < sy->nremotes; i++)
		if (sy->remotes[i]->id == r->id)
			code = weir_err_set(err, WEIR_E_CONFIG, "remotes '%s' and '%s' are one and the same place; keep one of them",
			    sy->remotes[i]->conf->name, conf->name);
	if (code)
		goto fail;
	r->is_kicked = true;
	*out = r;
	return WEIR_OK;
fail:
	weir_backend_close(r->be);
	free(r);
	return code;
}

static void
remote_free(struct weir_remote *r)
{
	weir_backend_close(r->be);
	while (r->news) {
		struct news *n = r->news;

		r->news = n->next;
		free(n);
	}
	pthread_cond_destroy(&r->work);
	pthread_cond_destroy(&r->gone);
	pthread_cond_destroy(&r->news_cond);
	pthread_cond_destroy(&r->watch.cond);
	free(r);
}

enum weir_code
weir_sync_new(struct weir_store *st, const struct weir_conf *conf, const struct weir_sync_hooks *hooks, struct weir_sync **out, struct weir_err *err)
{
	struct weir_sync *sy = weir_xcalloc(1, sizeof(*sy));
	enum weir_code r;

	sy->st = st;
	sy->conf = conf;
	sy->hooks = *hooks;
	pthread_cond_init(&sy->timer_cond, NULL);
	sy->remotes = weir_xcalloc(conf->nremotes + 1, sizeof(*sy->remotes));
	r = weir_http_new(&sy->http, err);
	for (size_t i = 0; !r && i < conf->nremotes; i++) {
		r = remote_new(sy, &conf->remotes[i], &sy->remotes[sy->nremotes], err);
		if (!r)
			sy->nremotes++;
	}
	for (size_t i = 0; !r && i < sy->nremotes; i++)
		watch_start(sy->remotes[i]);
	for (size_t i = 0; !r && i < sy->nremotes; i++)
		sy->remotes[i]->has_news_thread = pthread_create(&sy->remotes[i]->news_thread, NULL, news_thread, sy->remotes[i]) == 0;
	if (!r)
		sy->has_timer = pthread_create(&sy->timer, NULL, sync_timer, sy) == 0;
	if (r) {
		weir_sync_free(sy);
		return r;
	}
	*out = sy;
	return WEIR_OK;
}

void
weir_sync_free(struct weir_sync *sy)
{
	if (!sy)
		return;
	weir_store_lock(sy->st);
	sy->is_stopping = true;
	pthread_cond_broadcast(&sy->timer_cond);
	for (size_t i = 0; i < sy->nremotes; i++) {
		sy->remotes[i]->cancel.is_set = true;
		pthread_cond_broadcast(&sy->remotes[i]->work);
		pthread_cond_broadcast(&sy->remotes[i]->news_cond);
		pthread_cond_broadcast(&sy->remotes[i]->watch.cond);
	}
	for (unsigned i = 0; i < sy->st->live_slots; i++)
		for (struct weir_content *c = sy->st->live[i]; c; c = c->hash_next)
			c->cancel.is_set = true;
	for (size_t i = 0; i < sy->nremotes; i++)
		weir_wake_all(&sy->remotes[i]->sent, WEIR_E_INTR);
	for (size_t i = 0; i < sy->nremotes; i++)
		while (sy->remotes[i]->nthreads)
			weir_store_wait(sy->st, &sy->remotes[i]->gone, NULL);
	weir_store_unlock(sy->st);
	if (sy->has_timer)
		pthread_join(sy->timer, NULL);
	for (size_t i = 0; i < sy->nremotes; i++) {
		push_end(sy->remotes[i]);
		watch_end(sy->remotes[i]);
		if (sy->remotes[i]->has_news_thread)
			pthread_join(sy->remotes[i]->news_thread, NULL);
		remote_free(sy->remotes[i]);
	}
	weir_http_free(sy->http);
	pthread_cond_destroy(&sy->timer_cond);
	free(sy->remotes);
	free(sy);
}

struct weir_remote *
weir_sync_remote(struct weir_sync *sy, uint64_t id)
{
	for (size_t i = 0; i < sy->nremotes; i++)
		if (sy->remotes[i]->id == id)
			return sy->remotes[i];
	return NULL;
}

struct weir_remote *
weir_sync_remote_named(struct weir_sync *sy, const char *name)
{
	for (size_t i = 0; i < sy->nremotes; i++)
		if (strcmp(sy->remotes[i]->conf->name, name) == 0)
			return sy->remotes[i];
	return NULL;
}

size_t
weir_sync_count(const struct weir_sync *sy)
{
	return sy->nremotes;
}

struct weir_remote *
weir_sync_at(struct weir_sync *sy, size_t i)
{
	return sy->remotes[i];
}
