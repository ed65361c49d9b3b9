/* SPDX-License-Identifier: Apache-2.0 */
/* Server side of the control socket: one thread accepts, one short-lived thread per connection answers. Everything that is
 * known about a mount comes from src/fs/fs.h; nothing here touches the kernel's mount or a storage.
 *
 * conn state     | in list | its thread             | fd
 * accepted       | yes     | reads, calls fs, writes | open
 * stopping       | yes     | next read/write fails; a flush gives up at its next progress call | shut down, open
 * ended          | no      | detached, gone          | closed
 * The list, its count and the fds in it belong to `lock`; weir_control_stop() returns when the list is empty. */
#include "config.h"

#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../client/prefetch.h"
#include "../fs/fs.h"
#include "../util/util.h"
#include "wire.h"

#define CONTROL_MAX_CONNS 32
#define CONTROL_PROGRESS_MS 250
#define CONTROL_IO_S 10

struct control_conn {
	struct weir_control *control;
	struct control_conn *next;
	int fd;
	int64_t sent_ms;		/* when the last progress line went out */
};

struct weir_control {
	struct weir_fs *fs;
	const struct weir_control_front *fronts;
	size_t nfronts;
	int dir_fd, listen_fd, wake_fd;
	pthread_t thread;
	atomic_bool is_stopping, is_handed_over;
	pthread_mutex_t lock;
	pthread_cond_t is_empty;
	/* under lock */
	struct control_conn *conns;
	unsigned nconns;
};

/* ---- answers ---- */

static json_t *
control_remote(const struct weir_remote_status *r)
{
	json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:b}", "name", r->name, "type", r->type, "state", r->state, "error", r->error,
	    "used_bytes", (json_int_t)r->used_bytes, "quota_bytes", (json_int_t)r->quota_bytes, "is_lower_bound", (int)r->is_lower_bound);
	json_t *free_bytes = r->has_server_free ? json_integer((json_int_t)r->server_free_bytes) : json_null();
	json_t *more = json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:i}", "server_free_bytes", free_bytes,
	    "unsent_files", (json_int_t)r->unsent_files, "unsent_bytes", (json_int_t)r->unsent_bytes, "failing_files", (json_int_t)r->failing_files,
	    "requests", (json_int_t)r->requests, "bytes_in", (json_int_t)r->bytes_in, "bytes_out", (json_int_t)r->bytes_out,
	    "errors", (json_int_t)r->errors, "fetching", (int)r->fetching, "sending", (int)r->sending);

	if (o != NULL && more != NULL)
		json_object_update(o, more);
	json_decref(more);
	if (o != NULL) {
		json_object_set_new(o, "watch", json_string(r->watch));
		json_object_set_new(o, "watched_ms", r->watched_ms > 0 ? json_integer((json_int_t)r->watched_ms) : json_null());
		json_object_set_new(o, "watch_error", json_string(r->watch_error));
		json_object_set_new(o, "push_error", json_string(r->push_error));
	}
	return o;
}

static enum weir_code
control_status(struct control_conn *c, json_t *request, json_t *answer, struct weir_err *err)
{
	struct weir_status st = {0};
	json_t *remotes = json_array(), *head;

	weir_fs_status(c->control->fs, &st);
	/* The worker's parent is the supervisor that owns the mount. */
	head = json_pack("{s:s, s:i, s:i, s:I, s:I, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i}", "version", PACKAGE_VERSION,
	    "supervisor_pid", (int)getppid(), "worker_pid", (int)getpid(),
	    "quota_bytes", (json_int_t)st.quota_bytes, "used_bytes", (json_int_t)st.used_bytes, "is_lower_bound", (int)st.is_lower_bound,
	    "cache_bytes", (json_int_t)st.cache_bytes, "cache_max_bytes", (json_int_t)st.cache_max_bytes,
	    "cache_dirty_bytes", (json_int_t)st.cache_dirty_bytes, "unsent_files", (json_int_t)st.unsent_files,
	    "unsent_bytes", (json_int_t)st.unsent_bytes, "failing_files", (json_int_t)st.failing_files,
	    "conflicts", (json_int_t)st.conflicts, "quarantined", (json_int_t)st.quarantined, "pending_ops", (int)st.pending_ops);
	for (size_t i = 0; i < st.nremotes; i++)
		json_array_append_new(remotes, control_remote(&st.remotes[i]));
	weir_status_free(&st);
	if (head == NULL) {
		json_decref(remotes);
		return weir_err_set(err, WEIR_E_NOMEM, "cannot put the status together");
	}
	json_object_update(answer, head);
	json_decref(head);
	json_object_set_new(answer, "remotes", remotes);
	return WEIR_OK;
}

/* Sentences may quote names that are not UTF-8; JSON cannot hold them, so such bytes become '?'. */
static json_t *
control_text(const char *s)
{
	json_t *j = json_string(s);
	WEIR_AUTO(weir_freep) char *copy = NULL;

	if (j != NULL)
		return j;
	copy = weir_xstrdup(s);
	for (char *p = copy; *p != '\0'; p++) {
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	}
	return json_string(copy);
}

static void
control_problem(void *arg, const char *kind, const char *path, const char *text)
{
	json_t *o = json_object();

	json_object_set_new(o, "kind", control_text(kind));
	json_object_set_new(o, "path", control_text(path));
	json_object_set_new(o, "text", control_text(text));
	json_array_append_new(arg, o);
}

static enum weir_code
control_problems(struct control_conn *c, json_t *request, json_t *answer, struct weir_err *err)
{
	json_t *list = json_array();

	weir_fs_problems(c->control->fs, control_problem, list);
	json_object_set_new(answer, "problems", list);
	return WEIR_OK;
}

/* The client went away, or the mount is going: whoever waits should not. */
static bool
control_is_over(struct control_conn *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};

	return atomic_load(&c->control->is_stopping) || (poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0);
}

static bool
control_flush_progress(void *arg, const struct weir_flush_progress *p)
{
	struct control_conn *c = arg;
	int64_t now = weir_now_ms();
	json_t *line;

	if (control_is_over(c))
		return false;
	if (now - c->sent_ms < CONTROL_PROGRESS_MS)
		return true;
	c->sent_ms = now;
	line = json_pack("{s:I, s:I, s:I, s:I}", "files_left", (json_int_t)p->files_left, "bytes_left", (json_int_t)p->bytes_left,
	    "bytes_sent", (json_int_t)p->bytes_sent, "bytes_total", (json_int_t)p->bytes_total);
	return weir_wire_send(c->fd, line) == 0;
}

static const char *
control_path(json_t *request)
{
	const char *path = json_string_value(json_object_get(request, "path"));

	return path != NULL ? path : "/";
}

static enum weir_code
control_flush(struct control_conn *c, json_t *request, json_t *answer, struct weir_err *err)
{
	enum weir_code r = weir_fs_flush(c->control->fs, control_path(request), control_flush_progress, c, err);

	if (r == WEIR_E_INTR && atomic_load(&c->control->is_stopping))
		return weir_err_set(err, r, "the mount ended meanwhile; what is unsent is kept for the next mount");
	return r;
}

static enum weir_code
control_du(struct control_conn *c, json_t *request, json_t *answer, struct weir_err *err)
{
	uint64_t bytes = 0, files = 0, dirs = 0;
	bool is_lower_bound = false;
	enum weir_code r = weir_fs_du(c->control->fs, control_path(request), &bytes, &files, &dirs, &is_lower_bound, err);

	if (r)
		return r;
	json_object_set_new(answer, "bytes", json_integer((json_int_t)bytes));
	json_object_set_new(answer, "files", json_integer((json_int_t)files));
	json_object_set_new(answer, "dirs", json_integer((json_int_t)dirs));
	json_object_set_new(answer, "is_lower_bound", json_boolean(is_lower_bound));
	return WEIR_OK;
}

static enum weir_code
control_refresh(struct control_conn *c, json_t *request, json_t *answer, struct weir_err *err)
{
	return weir_fs_refresh(c->control->fs, control_path(request), err);
}

static enum weir_code
control_look(struct control_conn *c, json_t *request, json_t *answer, struct weir_err *err)
{
	const char *remote = json_string_value(json_object_get(request, "remote"));

	return weir_fs_look(c->control->fs, remote != NULL ? remote : "", err);
}

static enum weir_code
control_verify(struct control_conn *c, json_t *request, json_t *answer, struct weir_err *err)
{
	bool settle = json_is_true(json_object_get(request, "settle"));
	uint64_t pages = 0, bad = 0;
	enum weir_code r = weir_fs_verify(c->control->fs, control_path(request), settle, &pages, &bad, err);

	json_object_set_new(answer, "pages", json_integer((json_int_t)pages));
	json_object_set_new(answer, "bad", json_integer((json_int_t)bad));
	return r;
}

static json_t *
control_prefetch_sums(const struct weir_prefetch *p)
{
	return json_pack("{s:I, s:I, s:I, s:I}", "files", (json_int_t)p->files, "bytes", (json_int_t)p->bytes, "files_wanted", (json_int_t)p->files_wanted,
	    "bytes_wanted", (json_int_t)p->bytes_wanted);
}

static bool
control_prefetch_progress(void *arg, const struct weir_prefetch *p)
{
	struct control_conn *c = arg;

	return !control_is_over(c) && weir_wire_send(c->fd, control_prefetch_sums(p)) == 0;
}

/* "spent": bytes that earlier requests of the same caller have brought and that are not to be thrown out for these. */
static enum weir_code
control_prefetch(struct control_conn *c, json_t *request, json_t *answer, struct weir_err *err)
{
	json_t *paths = json_object_get(request, "paths"), *sums;
	json_int_t spent = json_integer_value(json_object_get(request, "spent"));
	size_t n = json_array_size(paths);
	const char **v = weir_xcalloc(n + 1, sizeof(*v));
	atomic_bool stop = false;
	struct weir_prefetch p = {.progress = control_prefetch_progress, .arg = c, .stop = &stop};
	struct weir_tree *t = weir_tree_adopt(c->control->fs, &stop);
	struct weir_status st = {0};
	enum weir_code r = WEIR_OK;

	weir_fs_status(c->control->fs, &st);
	p.room_bytes = st.cache_max_bytes > st.cache_dirty_bytes ? st.cache_max_bytes - st.cache_dirty_bytes : 0;
	p.room_bytes = spent > 0 && (uint64_t)spent < p.room_bytes ? p.room_bytes - (uint64_t)spent : spent > 0 ? 0 : p.room_bytes;
	weir_status_free(&st);
	for (size_t i = 0; i < n; i++) {
		v[i] = json_string_value(json_array_get(paths, i));
		if (v[i] == NULL || v[i][0] != '/')
			r = weir_err_set(err, WEIR_E_INVAL, "prefetch wants absolute paths");
	}
	if (r == WEIR_OK)
		r = weir_prefetch(t, v, n, &p, err);
	sums = control_prefetch_sums(&p);
	json_object_update(answer, sums);
	json_decref(sums);
	weir_tree_close(t);
	free(v);
	return r;
}

static enum weir_code
control_ping(struct control_conn *c, json_t *request, json_t *answer, struct weir_err *err)
{
	return WEIR_OK;
}

static const struct {
	const char *name;
	enum weir_code (*answer)(struct control_conn *, json_t *request, json_t *answer, struct weir_err *);
} control_verbs[] = {
    {"status", control_status},	  {"problems", control_problems}, {"flush", control_flush}, {"du", control_du},
    {"refresh", control_refresh}, {"look", control_look},	      {"verify", control_verify},
    {"prefetch", control_prefetch}, {"ping", control_ping},
};

static enum weir_code
control_answer(struct control_conn *c, json_t *request, json_t *answer, struct weir_err *err)
{
	const char *verb = json_string_value(json_object_get(request, "verb"));

	for (size_t i = 0; verb != NULL && i < WEIR_LEN(control_verbs); i++) {
		if (strcmp(verb, control_verbs[i].name) == 0)
			return control_verbs[i].answer(c, request, answer, err);
	}
	for (size_t i = 0; verb != NULL && i < c->control->nfronts; i++) {
		const struct weir_control_front *front = &c->control->fronts[i];

		for (size_t k = 0; k < front->nverbs; k++) {
			if (strcmp(verb, front->verbs[k].name) == 0)
				return front->verbs[k].answer(front->arg, request, answer, err);
		}
	}
	return weir_err_set(err, WEIR_E_NOSYS, "the mount's weir does not know the request '%.40s' (another version?)", verb != NULL ? verb : "");
}

/* ---- connections ---- */

/* Only the user whose mount this is, and root: the socket's mode says so too, but a socket may have been opened before. */
static bool
control_is_allowed(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		return false;
	return peer.uid == 0 || peer.uid == geteuid();
}

static void
control_serve(struct control_conn *c)
{
	struct weir_wire wire = {.fd = c->fd};
	struct weir_err err = {0};
	json_t *answer = json_object(), *request = NULL;
	enum weir_code r;

	if (!control_is_allowed(c->fd))
		r = weir_err_set(&err, WEIR_E_ACCES, "only the user who mounted and root may ask");
	else
		r = weir_wire_receive(&wire, &request, &err);
	if (r == WEIR_OK)
		r = control_answer(c, request, answer, &err);
	if (r != WEIR_OK)
		json_object_set_new(answer, "error", control_text(weir_err_text(&err, r)));
	json_object_set_new(answer, "code", json_string(weir_code_name(r)));
	json_object_set_new(answer, "done", json_true());
	if (r == WEIR_OK || !atomic_load(&c->control->is_handed_over))
		weir_wire_send(c->fd, answer);
	else
		json_decref(answer);
	json_decref(request);
	weir_wire_free(&wire);
}

static void
control_forget(struct control_conn *c)
{
	struct weir_control *control = c->control;

	pthread_mutex_lock(&control->lock);
	for (struct control_conn **p = &control->conns; *p != NULL; p = &(*p)->next) {
		if (*p == c) {
			*p = c->next;
			break;
		}
	}
	close(c->fd);
	free(c);
	if (--control->nconns == 0)
		pthread_cond_signal(&control->is_empty);
	pthread_mutex_unlock(&control->lock);
}

static void *
control_conn_thread(void *arg)
{
	control_serve(arg);
	control_forget(arg);
	return NULL;
}

static void
control_accepted(struct weir_control *control, int fd)
{
	struct timeval limit = {.tv_sec = CONTROL_IO_S};
	struct control_conn *c = weir_xcalloc(1, sizeof(*c));
	pthread_t thread;
	bool is_full;

	*c = (struct control_conn){.control = control, .fd = fd};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	pthread_mutex_lock(&control->lock);
	is_full = control->nconns >= CONTROL_MAX_CONNS;
	if (!is_full) {
		c->next = control->conns;
		control->conns = c;
		control->nconns++;
	}
	pthread_mutex_unlock(&control->lock);
	if (is_full) {
		close(fd);
		free(c);
	} else if (pthread_create(&thread, NULL, control_conn_thread, c) != 0)
		control_forget(c);
	else
		pthread_detach(thread);
}

static void *
control_thread(void *arg)
{
	struct weir_control *control = arg;
	struct pollfd p[2] = {{.fd = control->listen_fd, .events = POLLIN}, {.fd = control->wake_fd, .events = POLLIN}};

	while (!atomic_load(&control->is_stopping)) {
		int fd;

		if (poll(p, 2, -1) < 0)
			continue;
		if ((p[0].revents & POLLIN) == 0)
			continue;
		fd = accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			control_accepted(control, fd);
		else if (errno == EMFILE || errno == ENFILE)
			poll(&p[1], 1, 200);	/* the connection stays in the queue: do not spin on it */
	}
	return NULL;
}

/* ---- start and stop ---- */

/* The cache's lock is held by now, so whatever socket lies there is a dead one. fchmod before bind gives the name its mode
 * from the first moment on, without touching the umask that all threads share. */
static enum weir_code
control_listen(struct weir_control *control, const char *cache_dir, struct weir_err *err)
{
	struct sockaddr_un addr;

	control->dir_fd = open(cache_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (control->dir_fd < 0)
		return weir_err_errno(err, errno, "open cache '%s'", cache_dir);
	control->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (control->listen_fd < 0)
		return weir_err_errno(err, errno, "control socket");
	unlinkat(control->dir_fd, WEIR_WIRE_NAME, 0);
	weir_wire_address(&addr, cache_dir, control->dir_fd);
	if (fchmod(control->listen_fd, 0600) != 0 || bind(control->listen_fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
	    listen(control->listen_fd, CONTROL_MAX_CONNS) != 0)
		return weir_err_errno(err, errno, "control socket in '%s'", cache_dir);
	control->wake_fd = eventfd(0, EFD_CLOEXEC);
	if (control->wake_fd < 0)
		return weir_err_errno(err, errno, "control socket");
	return WEIR_OK;
}

static void
control_free(struct weir_control *control)
{
	weir_closep(&control->wake_fd);
	weir_closep(&control->listen_fd);
	weir_closep(&control->dir_fd);
	pthread_cond_destroy(&control->is_empty);
	pthread_mutex_destroy(&control->lock);
	free(control);
}

enum weir_code
weir_control_start(struct weir_fs *fs, const char *cache_dir, const struct weir_control_front *fronts, size_t nfronts, struct weir_control **out,
    struct weir_err *err)
{
	struct weir_control *control = weir_xcalloc(1, sizeof(*control));
	enum weir_code r;
	int e;

	control->fs = fs;
	control->fronts = fronts;
	control->nfronts = fronts != NULL ? nfronts : 0;
	control->dir_fd = control->listen_fd = control->wake_fd = -1;
	atomic_init(&control->is_stopping, false);
	pthread_mutex_init(&control->lock, NULL);
	pthread_cond_init(&control->is_empty, NULL);
	r = control_listen(control, cache_dir, err);
	if (r == WEIR_OK && (e = pthread_create(&control->thread, NULL, control_thread, control)) != 0)
		r = weir_err_errno(err, e, "control thread");
	if (r) {
		control_free(control);
		return r;
	}
	*out = control;
	return WEIR_OK;
}

void
weir_control_stop(struct weir_control *control, bool is_handed_over)
{
	if (control == NULL)
		return;
	atomic_store(&control->is_handed_over, is_handed_over);
	atomic_store(&control->is_stopping, true);
	eventfd_write(control->wake_fd, 1);
	pthread_join(control->thread, NULL);
	/* Unlinked before it is closed, so that nobody finds a name that answers no more. */
	unlinkat(control->dir_fd, WEIR_WIRE_NAME, 0);
	pthread_mutex_lock(&control->lock);
	/* Reading ends; an answer that is on its way may still be written. */
	for (struct control_conn *c = control->conns; c != NULL; c = c->next)
		shutdown(c->fd, SHUT_RD);
	while (control->nconns > 0)
		pthread_cond_wait(&control->is_empty, &control->lock);
	pthread_mutex_unlock(&control->lock);
	control_free(control);
}
