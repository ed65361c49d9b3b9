/* SPDX-License-Identifier: Apache-2.0 */
/* Are all remotes there, and do they let us in? Asked of all at once, with one limit on the whole. */
#include "config.h"

#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../backends/backend.h"

#define PROBE_GRACE_MS 1500	/* for a call to end after its deadline, and for the answer to come up the pipe */

/* One per remote. Threads that outlive the limit keep their slot and the shared part, so neither is ever freed: a process that
 * probes is about to end, and a handful of slots is what that costs. */
struct probe_slot {
	const struct weir_remote_conf *remote;
	struct probe *probe;
	struct weir_cancel cancel;
	/* under probe->lock */
	bool is_done;
	enum weir_code code;
	struct weir_err err;
	json_t *lines;
	char *fingerprint;	/* what place it is; NULL: not opened */
	const char *twin;	/* the same place under another name */
};

struct probe {
	struct weir_http *http;
	const char *only;	/* NULL: all are asked */
	bool is_deep;
	int64_t deadline_ms;
	pthread_mutex_t lock;
	pthread_cond_t is_changed;
	size_t left;	/* under lock */
	size_t n;
	struct probe_slot *slots;
};

static void
probe_line(void *arg, const char *text)
{
	struct probe_slot *s = arg;
	json_t *j = json_string(text);

	pthread_mutex_lock(&s->probe->lock);
	if (j != NULL)
		json_array_append_new(s->lines, j);
	pthread_mutex_unlock(&s->probe->lock);
}

static enum weir_code
probe_one(struct probe_slot *s, struct weir_err *err)
{
	struct weir_ctx ctx = {.cancel = &s->cancel, .deadline_ms = s->probe->deadline_ms};
	struct weir_backend *be = NULL;
	enum weir_code r = weir_backend_open(&be, s->remote, s->probe->http, err);

	/* open() asks no network: whatever code it chose, waiting does not heal it. */
	if (r)
		return weir_code_retry(r) ? r : WEIR_E_CONFIG;
	pthread_mutex_lock(&s->probe->lock);
	s->fingerprint = be->ops->fingerprint(be);
	pthread_mutex_unlock(&s->probe->lock);
	if (s->probe->only == NULL || strcmp(s->probe->only, s->remote->name) == 0)
		r = be->ops->probe(be, &ctx, err);
	if (r == WEIR_OK && s->probe->is_deep && be->ops->check != NULL)
		r = be->ops->check(be, &ctx, probe_line, s, err);
	weir_backend_close(be);
	return r;
}

static void *
probe_thread(void *arg)
{
	struct probe_slot *s = arg;
	struct weir_err err = {0};
	enum weir_code r = probe_one(s, &err);

	pthread_mutex_lock(&s->probe->lock);
	s->is_done = true;
	s->code = r;
	s->err = err;
	s->probe->left--;
	pthread_cond_signal(&s->probe->is_changed);
	pthread_mutex_unlock(&s->probe->lock);
	return NULL;
}

static void
probe_start(struct probe *p, struct probe_slot *s)
{
	pthread_t thread;
	int e = pthread_create(&thread, NULL, probe_thread, s);

	if (e == 0) {
		pthread_detach(thread);
		return;
	}
	s->is_done = true;
	s->code = weir_err_errno(&s->err, e, "thread");
	p->left--;
}

static void
probe_wait(struct probe *p, int64_t limit_ms)
{
	struct timespec end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += limit_ms / 1000;
	end.tv_nsec += (limit_ms % 1000) * 1000000;
	if (end.tv_nsec >= 1000000000) {
		end.tv_sec++;
		end.tv_nsec -= 1000000000;
	}
	while (p->left > 0 && pthread_cond_timedwait(&p->is_changed, &p->lock, &end) == 0)
		;
	for (size_t i = 0; i < p->n; i++)
		atomic_store(&p->slots[i].cancel.is_set, true);
}

static json_t *
probe_result(const struct probe_slot *s, int64_t limit_ms)
{
	json_t *o = json_object(), *text;
	struct weir_err err = s->err;
	enum weir_code r = s->code;

	if (!s->is_done)
		r = weir_err_set(&err, WEIR_E_TIMEDOUT, "no answer within %lld s", (long long)((limit_ms + 999) / 1000));
	text = json_string(r == WEIR_OK ? "" : weir_err_text(&err, r));
	json_object_set_new(o, "name", json_string(s->remote->name));
	json_object_set_new(o, "type", json_string(s->remote->type));
	json_object_set_new(o, "code", json_string(weir_code_name(r)));
	json_object_set_new(o, "error", text != NULL ? text : json_string(weir_code_text(r)));
	if (s->twin != NULL)
		json_object_set_new(o, "twin", json_string(s->twin));
	json_object_set_new(o, "lines", s->is_done ? json_incref(s->lines) : json_array());
	return o;
}

static void
probe_init(struct probe *p, const struct weir_conf *conf, const char *only, bool is_deep, int64_t limit_ms)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->is_changed, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&p->lock, NULL);
	p->only = only;
	p->is_deep = is_deep;
	p->deadline_ms = weir_now_ms() + limit_ms;
	p->n = p->left = conf->nremotes;
	p->slots = weir_xcalloc(conf->nremotes + 1, sizeof(*p->slots));
	for (size_t i = 0; i < conf->nremotes; i++) {
		p->slots[i].remote = &conf->remotes[i];
		p->slots[i].probe = p;
		p->slots[i].lines = json_array();
	}
}

/* One place under two names would be two caches of the same files. Lock held. */
static void
probe_twins(struct probe *p)
{
	for (size_t i = 1; i < p->n; i++)
		for (size_t k = 0; k < i; k++) {
			struct probe_slot *s = &p->slots[i];

			if (!s->is_done || !s->fingerprint || !p->slots[k].fingerprint || strcmp(s->fingerprint, p->slots[k].fingerprint) != 0)
				continue;
			s->twin = p->slots[k].remote->name;
			s->code = weir_err_set(&s->err, WEIR_E_CONFIG, "the same place as remote '%s'; keep one of the two", s->twin);
			break;
		}
}

/* Never freed: see struct probe_slot. */
json_t *
weir_probe(const struct weir_conf *conf, const char *only, bool is_deep, int64_t limit_ms)
{
	static struct probe *volatile kept;	/* reachable to the end, for leak checkers */
	struct probe *p = kept = weir_xcalloc(1, sizeof(*p));
	json_t *results = json_array();
	struct weir_err err = {0};
	enum weir_code r = weir_http_new(&p->http, &err);

	probe_init(p, conf, only, is_deep, limit_ms);
	pthread_mutex_lock(&p->lock);
	for (size_t i = 0; i < p->n; i++) {
		if (r == WEIR_OK)
			probe_start(p, &p->slots[i]);
		else {
			p->slots[i].is_done = true;
			p->slots[i].code = r;
			p->slots[i].err = err;
			p->left--;
		}
	}
	probe_wait(p, limit_ms);
	probe_twins(p);
	for (size_t i = 0; i < p->n; i++)
		json_array_append_new(results, probe_result(&p->slots[i], limit_ms));
	if (p->left == 0) { /* else some thread is still in a call */
		weir_http_free(p->http);
		p->http = NULL;
	}
	pthread_mutex_unlock(&p->lock);
	return results;
}

bool
weir_probe_refuses(const json_t *result)
{
	static const enum weir_code final[] = {WEIR_E_AUTH, WEIR_E_NOBUCKET, WEIR_E_TLS, WEIR_E_CONFIG};
	const char *code = json_string_value(json_object_get(result, "code"));

	for (size_t i = 0; code != NULL && i < WEIR_LEN(final); i++) {
		if (strcmp(code, weir_code_name(final[i])) == 0)
			return true;
	}
	return false;
}

const char *
weir_probe_reason(const json_t *result)
{
	const char *name = json_string_value(json_object_get(result, "name"));
	const char *error = json_string_value(json_object_get(result, "error"));
	WEIR_AUTO(weir_freep) char *head = weir_xasprintf("remote '%s': ", name != NULL ? name : "");

	if (error == NULL)
		return "";
	return strncmp(error, head, strlen(head)) == 0 ? error + strlen(head) : error;
}

/* ---- in a process of its own ---- */

static void __attribute__((noreturn))
probe_child(const struct weir_conf *conf, const char *only, bool is_deep, int64_t limit_ms, int fd)
{
	json_t *results;
	WEIR_AUTO(weir_freep) char *text = NULL;
	size_t len, done = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	results = weir_probe(conf, only, is_deep, limit_ms);
	text = json_dumps(results, JSON_COMPACT);
	len = text != NULL ? strlen(text) : 0;
	while (done < len) {
		ssize_t n = write(fd, text + done, len - done);

		if (n < 0 && errno != EINTR)
			break;
		done += n > 0 ? (size_t)n : 0;
	}
	_exit(done == len ? 0 : 1);
}

/* All that the child says, until it ends or the time is over. */
static json_t *
probe_read(int fd, int64_t limit_ms)
{
	int64_t end = weir_now_ms() + limit_ms + PROBE_GRACE_MS;
	struct weir_buf text = WEIR_BUF(1u << 20);
	json_t *results = NULL;
	char chunk[4096];

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int64_t left = end - weir_now_ms();
		ssize_t n;

		if (left <= 0 || (poll(&p, 1, (int)left) < 0 && errno != EINTR))
			break;
		if (p.revents == 0)
			continue;
		n = read(fd, chunk, sizeof(chunk));
		if (n <= 0 || weir_buf_add(&text, chunk, (size_t)n) != 0)
			break;
	}
	results = json_loads(weir_buf_str(&text), 0, NULL);
	weir_buf_free(&text);
	return results;
}

json_t *
weir_probe_apart(const struct weir_conf *conf, const char *only, bool is_deep, int64_t limit_ms, struct weir_err *err)
{
	json_t *results;
	int fd[2];
	pid_t pid;

	if (pipe2(fd, O_CLOEXEC) != 0) {
		weir_err_errno(err, errno, "pipe");
		return NULL;
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		probe_child(conf, only, is_deep, limit_ms, fd[1]);
	close(fd[1]);
	if (pid < 0) {
		weir_err_errno(err, errno, "fork");
		close(fd[0]);
		return NULL;
	}
	results = probe_read(fd[0], limit_ms);
	close(fd[0]);
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (!json_is_array(results)) {
		json_decref(results);
		weir_err_set(err, WEIR_E_IO, "the process that was to ask the remotes died");
		return NULL;
	}
	return results;
}
