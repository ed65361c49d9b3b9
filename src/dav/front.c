/* SPDX-License-Identifier: Apache-2.0 */
/* Shares: their table, their sockets, their leases, and the requests of the control socket about them.
 *
 *	slot state	written by			a successor
 *	FREE		-				leaves it
 *	MAKING		share_new, under front.mu	frees it: nobody was told of it
 *	LIVE		share_new, at its end		takes the socket and serves
 * A share is in front.shares while it serves; whoever takes it out of there (unshare, keeper, stop) ends it. */
#include "config.h"

#include "impl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FRONT_LEASE_MS 2000
#define FRONT_BACKLOG 64

static struct front_slot *
front_slot(struct weir_front *front, unsigned i)
{
	return (struct front_slot *)front->opt.table + i;
}

/* ---- sockets ---- */

static bool
address_is_wild(const struct sockaddr *a)
{
	if (a->sa_family == AF_INET)
		return ((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr == htonl(INADDR_ANY);
	return a->sa_family != AF_INET6 || IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
}

/* "1.2.3.4:5", "1.2.3.4", "[::1]:5", "::1". Owned host; *port "0" when it names none. */
static char *
address_split(const char *text, const char **port)
{
	const char *colon = strrchr(text, ':'), *close = strchr(text, ']');

	*port = "0";
	if (text[0] == '[' && close != NULL) {
		if (close[1] == ':')
			*port = close + 2;
		return weir_xstrndup(text + 1, (size_t)(close - text - 1));
	}
	if (colon != NULL && strchr(text, ':') == colon) {
		*port = colon + 1;
		return weir_xstrndup(text, (size_t)(colon - text));
	}
	return weir_xstrdup(text);
}

/* How a URL spells where the socket listens. */
static enum weir_code
address_tell(int fd, char out[80], struct weir_err *err)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);
	char host[64], port[8];

	if (getsockname(fd, (struct sockaddr *)&a, &len) != 0 ||
	    getnameinfo((struct sockaddr *)&a, len, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return weir_err_set(err, WEIR_E_IO, "where does the share listen");
	snprintf(out, 80, a.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
	return WEIR_OK;
}

static enum weir_code
address_listen(const char *text, bool is_free, int *out, struct weir_err *err)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *a = NULL;
	WEIR_AUTO(weir_freep) char *host = NULL;
	WEIR_AUTO(weir_closep) int fd = -1;
	const char *port;
	int one = 1, e;
	enum weir_code r = WEIR_OK;

	host = address_split(text, &port);
	e = getaddrinfo(host, *port != '\0' ? port : "0", &hints, &a);
	if (e != 0)
		return weir_err_set(err, WEIR_E_INVAL, "'%s' is not an address of this host, as in 127.0.0.1 or 10.88.0.1:8080", text);
	if (address_is_wild(a->ai_addr))
		r = weir_err_set(err, WEIR_E_INVAL, "'%s' would let everybody in who reaches this host: name one address", text);
	else if ((fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 || (is_free && setsockopt(fd, SOL_IP, IP_FREEBIND, &one, sizeof(one)) != 0) ||
	    bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, FRONT_BACKLOG) != 0)
		r = weir_err_errno(err, errno, "listen on '%s'", text);
	freeaddrinfo(a);
	if (r == WEIR_OK) {
		*out = fd;
		fd = -1;
	}
	return r;
}

/* ---- the folder that is shared ---- */

/* A share's folder is found before there is a share to call fs with: a stand-in for it. */
static enum weir_code
folder_find(struct weir_front *front, const char *path, uint64_t *ino, struct weir_err *err)
{
	struct front_slot slot = {.root = WEIR_ROOT};
	struct front_share share = {.front = front, .slot = &slot};
	struct front_req req = {.share = &share, .fd = -1};
	struct front_path p = {.text = (char *)path, .n = 1};
	struct front_node node;
	enum weir_code r;

	r = front_walk(&req, &p, true, &node);
	*ino = node.attr.ino;
	if (r == WEIR_OK && !S_ISDIR(node.attr.mode))
		r = WEIR_E_NOTDIR;
	front_node_free(&node);
	return r == WEIR_OK ? r : weir_err_set(err, r, "'%s': %s", path, weir_code_text(r));
}

/* ---- one share ---- */

static void
share_free(struct front_share *s)
{
	front_locks_free(s);
	front_dead_free(s);
	pthread_mutex_destroy(&s->mu);
	free(s->spool);
	free(s);
}

static struct front_share *
share_make(struct weir_front *front, unsigned index)
{
	struct front_share *s = weir_xcalloc(1, sizeof(*s));

	s->front = front;
	s->index = index;
	s->slot = front_slot(front, index);
	s->spool = weir_path_join(front->spool, s->slot->id);
	atomic_init(&s->is_over, false);
	pthread_mutex_init(&s->mu, NULL);
	return s;
}

/* Nobody else has it any more. is_final: it will not be served again by a successor either. */
static void
share_end(struct front_share *s, bool is_final)
{
	atomic_store(&s->is_over, true);
	if (is_final)
		s->front->opt.keep(s->front->opt.arg, s->index, -1);
	MHD_stop_daemon(s->daemon);
	if (is_final) {
		front_temps_clear(s);
		front_spool_remove(s->spool);
		OPENSSL_cleanse(s->slot->token, sizeof(s->slot->token));
		atomic_store(&s->slot->state, FRONT_FREE);
	}
	share_free(s);
}

static void
share_serve(struct weir_front *front, struct front_share *s)
{
	pthread_mutex_lock(&front->mu);
	front->shares[s->index] = s;
	pthread_mutex_unlock(&front->mu);
}

/* Taken out: the caller ends it. NULL: none. */
static struct front_share *
share_take(struct weir_front *front, const char *id)
{
	struct front_share *s = NULL;

	pthread_mutex_lock(&front->mu);
	for (size_t i = 0; i < WEIR_FRONT_SHARES && s == NULL; i++) {
		if (front->shares[i] != NULL && strcmp(front->shares[i]->slot->id, id) == 0) {
			s = front->shares[i];
			front->shares[i] = NULL;
		}
	}
	pthread_mutex_unlock(&front->mu);
	return s;
}

static int
slot_reserve(struct weir_front *front)
{
	int found = -1;

	pthread_mutex_lock(&front->mu);
	for (unsigned i = 0; i < WEIR_FRONT_SHARES && found < 0 && !front->is_over; i++) {
		struct front_slot *slot = front_slot(front, i);

		if (atomic_load(&slot->state) != FRONT_FREE)
			continue;
		memset((char *)slot + sizeof(slot->state), 0, sizeof(*slot) - sizeof(slot->state));
		atomic_store(&slot->state, FRONT_MAKING);
		found = (int)i;
	}
	pthread_mutex_unlock(&front->mu);
	return found;
}

static enum weir_code
share_open(struct weir_front *front, struct front_slot *slot, unsigned index, const char *listen_on, bool is_free, struct weir_err *err)
{
	WEIR_AUTO(weir_closep) int fd = -1;
	struct front_share *s;
	enum weir_code r = address_listen(listen_on, is_free, &fd, err);

	if (r == WEIR_OK)
		r = address_tell(fd, slot->address, err);
	if (r)
		return r;
	s = share_make(front, index);
	/* Kept before it is LIVE: a successor that sees it live has its socket. */
	if (front->opt.keep(front->opt.arg, index, fd) != 0 || (s->daemon = front_serve(s, fd)) == NULL) {
		front->opt.keep(front->opt.arg, index, -1);
		share_free(s);
		return weir_err_set(err, WEIR_E_IO, "the share cannot be served");
	}
	fd = -1;	/* the daemon's */
	atomic_store(&slot->state, FRONT_LIVE);
	share_serve(front, s);
	return WEIR_OK;
}

/* ---- leases ---- */

/* Held by somebody? What cannot be looked at counts as held, but for a file that is gone. */
static bool
lease_is_held(const char *path)
{
	WEIR_AUTO(weir_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return errno != ENOENT && errno != ENOTDIR;
	if (flock(fd, LOCK_SH | LOCK_NB) != 0)
		return true;
	flock(fd, LOCK_UN);
	return false;
}

static void
lease_look(struct weir_front *front)
{
	for (unsigned i = 0; i < WEIR_FRONT_SHARES; i++) {
		struct front_share *s = NULL;
		char lease[sizeof(front_slot(front, i)->lease)], id[sizeof(front_slot(front, i)->id)];

		pthread_mutex_lock(&front->mu);
		if (front->shares[i] != NULL) {
			memcpy(lease, front->shares[i]->slot->lease, sizeof(lease));
			memcpy(id, front->shares[i]->slot->id, sizeof(id));
		} else
			lease[0] = '\0';
		pthread_mutex_unlock(&front->mu);
		if (lease[0] == '\0' || lease_is_held(lease))
			continue;
		s = share_take(front, id);
		if (s != NULL) {
			weir_log(WEIR_LOG_INFO, "share %s ends: nobody holds '%s' any more", id, lease);
			share_end(s, true);
		}
	}
}

static void *
lease_thread(void *arg)
{
	struct weir_front *front = arg;

	pthread_mutex_lock(&front->mu);
	while (!front->is_over) {
		int64_t until = weir_now_us() + FRONT_LEASE_MS * 1000;
		struct timespec ts = {until / 1000000, until % 1000000 * 1000};

		pthread_cond_timedwait(&front->over, &front->mu, &ts);
		pthread_mutex_unlock(&front->mu);
		lease_look(front);
		pthread_mutex_lock(&front->mu);
	}
	pthread_mutex_unlock(&front->mu);
	return NULL;
}

/* ---- requests ---- */

static void
answer_share(json_t *o, const struct front_slot *slot)
{
	WEIR_AUTO(weir_freep) char *url = weir_xasprintf("http://%s" WEIR_FRONT_FILES, slot->address);

	json_object_set_new(o, "id", json_string(slot->id));
	json_object_set_new(o, "address", json_string(slot->address));
	json_object_set_new(o, "url", json_string(url));
	json_object_set_new(o, "user", json_string(WEIR_FRONT_USER));
	json_object_set_new(o, "path", json_string(slot->path));
	json_object_set_new(o, "readonly", json_boolean(slot->is_readonly));
}

static enum weir_code
front_share_verb(void *arg, json_t *request, json_t *answer, struct weir_err *err)
{
	struct weir_front *front = arg;
	const char *path = json_string_value(json_object_get(request, "path")), *lease = json_string_value(json_object_get(request, "lease"));
	const char *listen_on = json_string_value(json_object_get(request, "listen"));
	struct front_slot *slot;
	uint64_t root;
	enum weir_code r;
	int index;

	path = path != NULL ? path : "/";
	lease = lease != NULL ? lease : "";
	if (strlen(path) >= sizeof(slot->path) || strlen(lease) >= sizeof(slot->lease))
		return weir_err_set(err, WEIR_E_NAMETOOLONG, "the path is too long");
	if (lease[0] != '\0' && (lease[0] != '/' || !lease_is_held(lease)))
		return weir_err_set(err, WEIR_E_INVAL, "nobody holds the lease '%s' (an absolute path of a file with a flock on it)", lease);
	r = folder_find(front, path, &root, err);
	if (r)
		return r;
	index = slot_reserve(front);
	if (index < 0)
		return weir_err_set(err, WEIR_E_NFILE, "there are %u shares already", WEIR_FRONT_SHARES);
	slot = front_slot(front, (unsigned)index);
	slot->root = root;
	slot->is_readonly = json_is_true(json_object_get(request, "readonly")) || front->opt.is_readonly;
	snprintf(slot->path, sizeof(slot->path), "%s", path);
	snprintf(slot->lease, sizeof(slot->lease), "%s", lease);
	weir_random_hex(slot->id, sizeof(slot->id) - 1);
	weir_random_hex(slot->token, sizeof(slot->token) - 1);
	r = share_open(front, slot, (unsigned)index, listen_on != NULL && listen_on[0] != '\0' ? listen_on : "127.0.0.1", json_is_true(json_object_get(request, "freebind")), err);
	if (r) {
		atomic_store(&slot->state, FRONT_FREE);
		return r;
	}
	answer_share(answer, slot);
	json_object_set_new(answer, "token", json_string(slot->token));
	return WEIR_OK;
}

static enum weir_code
front_unshare_verb(void *arg, json_t *request, json_t *answer, struct weir_err *err)
{
	const char *id = json_string_value(json_object_get(request, "id"));
	struct front_share *s = share_take(arg, id != NULL ? id : "");

	if (s == NULL)
		return weir_err_set(err, WEIR_E_NOENT, "there is no share '%.40s'", id != NULL ? id : "");
	share_end(s, true);
	return WEIR_OK;
}

static enum weir_code
front_shares_verb(void *arg, json_t *request, json_t *answer, struct weir_err *err)
{
	struct weir_front *front = arg;
	json_t *list = json_array();

	pthread_mutex_lock(&front->mu);
	for (size_t i = 0; i < WEIR_FRONT_SHARES; i++) {
		json_t *o;

		if (front->shares[i] == NULL)
			continue;
		o = json_object();
		answer_share(o, front->shares[i]->slot);
		json_array_append_new(list, o);
	}
	pthread_mutex_unlock(&front->mu);
	json_object_set_new(answer, "shares", list);
	return WEIR_OK;
}

const struct weir_control_verb weir_front_verbs[] = {
    {"share", front_share_verb},
    {"unshare", front_unshare_verb},
    {"shares", front_shares_verb},
};
const size_t weir_front_nverbs = WEIR_LEN(weir_front_verbs);

/* ---- start and stop ---- */

/* What a predecessor left: its shares go on, its unfinished files go. */
static void
front_adopt(struct weir_front *front)
{
	for (unsigned i = 0; i < WEIR_FRONT_SHARES; i++) {
		struct front_slot *slot = front_slot(front, i);
		int fd = front->opt.take(front->opt.arg, i), state = atomic_load(&slot->state);
		struct front_share *s = state == FRONT_LIVE && fd >= 0 ? share_make(front, i) : NULL;

		if (s != NULL) {
			listen(fd, FRONT_BACKLOG);	/* again: a predecessor that ended in good order has shut it down */
			front_temps_clear(s);
			s->daemon = front_serve(s, fd);
		}
		if (s != NULL && s->daemon != NULL) {
			share_serve(front, s);
			continue;
		}
		if (state != FRONT_FREE)
			weir_log(WEIR_LOG_WARN, "share %s is lost", slot->id);
		if (s != NULL)
			share_free(s);
		weir_closep(&fd);
		front->opt.keep(front->opt.arg, i, -1);
		atomic_store(&slot->state, FRONT_FREE);
	}
}

enum weir_code
weir_front_start(const struct weir_front_options *opt, struct weir_front **out, struct weir_err *err)
{
	struct weir_front *front = weir_xcalloc(1, sizeof(*front));
	pthread_condattr_t attr;

	front->opt = *opt;
	front->uid = geteuid();
	front->gid = getegid();
	front->spool = weir_path_join(opt->cache_dir, "dav");
	pthread_mutex_init(&front->mu, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&front->over, &attr);
	pthread_condattr_destroy(&attr);
	front_adopt(front);
	front->has_keeper = pthread_create(&front->keeper, NULL, lease_thread, front) == 0;
	if (!front->has_keeper) {
		weir_front_stop(front);
		return weir_err_set(err, WEIR_E_NOMEM, "cannot start a thread");
	}
	*out = front;
	return WEIR_OK;
}

void
weir_front_stop(struct weir_front *front)
{
	if (front == NULL)
		return;
	pthread_mutex_lock(&front->mu);
	front->is_over = true;
	pthread_cond_signal(&front->over);
	pthread_mutex_unlock(&front->mu);
	if (front->has_keeper)
		pthread_join(front->keeper, NULL);
	/* The mount is gone, or this worker failed and a successor comes: the table stays as it is, and with it the socket in the supervisor's hand. */
	for (size_t i = 0; i < WEIR_FRONT_SHARES; i++) {
		struct front_share *s;

		pthread_mutex_lock(&front->mu);
		s = WEIR_STEAL(front->shares[i]);
		pthread_mutex_unlock(&front->mu);
		if (s != NULL)
			share_end(s, false);
	}
	pthread_cond_destroy(&front->over);
	pthread_mutex_destroy(&front->mu);
	free(front->spool);
	free(front);
}
