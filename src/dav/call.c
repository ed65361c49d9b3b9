/* SPDX-License-Identifier: Apache-2.0 */
/* Operations of fs for a thread that may wait, and the way from names to nodes.
 *
 * A thread waits on a condition of its own under front.mu. It looks every FRONT_LOOK_MS whether its client is still there and the share still lives, and
 * takes the operation back if not; the end always comes by the completion, so nothing on this thread's stack is left behind. */
#include "config.h"

#include "impl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FRONT_LOOK_MS 500
#define FRONT_LINKS 40
#define FRONT_BATCH 256

struct front_wait {
	struct front_share *share;
	pthread_cond_t ended;
	bool is_done;			/* front.mu */
	enum weir_code code;		/* front.mu */
};

static void
call_done(struct weir_op *op, enum weir_code code)
{
	struct front_wait *w = op->front;
	struct weir_front *front = w->share->front;

	pthread_mutex_lock(&front->mu);
	w->code = code;
	w->is_done = true;
	pthread_cond_signal(&w->ended);
	pthread_mutex_unlock(&front->mu);
}

static bool
call_is_in_vain(const struct front_share *share, int client_fd)
{
	struct pollfd p = {.fd = client_fd, .events = POLLRDHUP};

	if (atomic_load(&share->is_over))
		return true;
	return client_fd >= 0 && poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

enum weir_code
front_call(struct front_share *share, int client_fd, struct weir_op *op)
{
	struct weir_front *front = share->front;
	struct front_wait w = {.share = share};
	pthread_condattr_t attr;
	bool is_cancelled = false;
	enum weir_code r;

	op->done = call_done;
	op->front = &w;
	op->uid = front->uid;
	op->gid = front->gid;
	op->pid = (int32_t)getpid();
	op->pass_fd = -1;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w.ended, &attr);
	pthread_condattr_destroy(&attr);
	r = weir_fs_submit(front->opt.fs, op);
	if (r == WEIR_PENDING) {
		pthread_mutex_lock(&front->mu);
		while (!w.is_done) {
			int64_t until = weir_now_us() + FRONT_LOOK_MS * 1000;
			struct timespec ts = {until / 1000000, until % 1000000 * 1000};

			if (!is_cancelled && call_is_in_vain(share, client_fd)) {
				is_cancelled = true;
				weir_fs_cancel(front->opt.fs, op);
			}
			pthread_cond_timedwait(&w.ended, &front->mu, &ts);
		}
		r = w.code;
		pthread_mutex_unlock(&front->mu);
	}
	pthread_cond_destroy(&w.ended);
	return r;
}

/* ---- single operations; the kernel keeps names and attributes, and hears of what it has not done itself ---- */

enum weir_code
front_lookup(struct front_req *req, uint64_t parent, const char *name, struct weir_attr *attr)
{
	struct weir_op op = {.kind = WEIR_OP_LOOKUP, .ino = parent, .name = name};
	enum weir_code r = front_is_hidden(name) ? WEIR_E_NOENT : front_call(req->share, req->fd, &op);

	if (r == WEIR_OK)
		*attr = op.attr;
	return r;
}

enum weir_code
front_getattr(struct front_req *req, uint64_t ino, struct weir_attr *attr)
{
	struct weir_op op = {.kind = WEIR_OP_GETATTR, .ino = ino};
	enum weir_code r = front_call(req->share, req->fd, &op);

	if (r == WEIR_OK)
		*attr = op.attr;
	return r == WEIR_E_STALE ? WEIR_E_NOENT : r;
}

enum weir_code
front_set_times(struct front_req *req, uint64_t ino, int64_t mtime_ns)
{
	struct weir_op op = {.kind = WEIR_OP_SETATTR, .ino = ino, .set_mask = WEIR_SET_MTIME, .set = {.mtime_ns = mtime_ns}};
	enum weir_code r = front_call(req->share, req->fd, &op);

	if (r == WEIR_OK)
		weir_fs_tell(req->share->front->opt.fs, ino, NULL, false);
	return r;
}

enum weir_code
front_unlink(struct front_req *req, uint64_t parent, const char *name, bool is_dir)
{
	struct weir_op op = {.kind = is_dir ? WEIR_OP_RMDIR : WEIR_OP_UNLINK, .ino = parent, .name = name};
	enum weir_code r = front_call(req->share, req->fd, &op);

	if (r == WEIR_OK)
		weir_fs_tell(req->share->front->opt.fs, parent, name, true);
	return r;
}

enum weir_code
front_rename(struct front_req *req, uint64_t from, const char *name, uint64_t to, const char *name2)
{
	struct weir_op op = {.kind = WEIR_OP_RENAME, .ino = from, .name = name, .ino2 = to, .name2 = name2};
	enum weir_code r = front_call(req->share, req->fd, &op);

	if (r == WEIR_OK) {
		weir_fs_tell(req->share->front->opt.fs, from, name, true);
		weir_fs_tell(req->share->front->opt.fs, to, name2, true);
	}
	return r;
}

enum weir_code
front_mkdir(struct front_req *req, uint64_t parent, const char *name, struct weir_attr *attr)
{
	struct weir_op op = {.kind = WEIR_OP_MKDIR, .ino = parent, .name = name, .mode = 0777, .umask = 022};
	enum weir_code r;

	op.mode &= ~op.umask;
	r = front_call(req->share, req->fd, &op);
	if (r == WEIR_OK)
		weir_fs_tell(req->share->front->opt.fs, parent, name, true);
	if (r == WEIR_OK && attr != NULL)
		*attr = op.attr;
	return r;
}

enum weir_code
front_open(struct front_req *req, uint64_t ino, int flags, uint64_t *fh)
{
	struct weir_op op = {.kind = WEIR_OP_OPEN, .ino = ino, .flags = (uint32_t)flags};
	enum weir_code r = front_call(req->share, req->fd, &op);

	if (r == WEIR_OK) {
		*fh = op.fh;
		weir_closep(&op.pass_fd);
	}
	return r;
}

enum weir_code
front_create(struct front_req *req, uint64_t parent, const char *name, int flags, mode_t mode, struct weir_attr *attr, uint64_t *fh)
{
	struct weir_op op = {.kind = WEIR_OP_CREATE, .ino = parent, .name = name, .flags = (uint32_t)flags, .mode = S_IFREG | mode};
	enum weir_code r = front_call(req->share, req->fd, &op);

	if (r == WEIR_OK) {
		*attr = op.attr;
		*fh = op.fh;
		weir_closep(&op.pass_fd);
		weir_fs_tell(req->share->front->opt.fs, parent, name, true);
	}
	return r;
}

/* Must happen even when the client has gone. */
void
front_release(struct front_req *req, uint64_t ino, uint64_t fh, int flags)
{
	struct weir_op op = {.kind = WEIR_OP_RELEASE, .ino = ino, .fh = fh, .flags = (uint32_t)flags};

	front_call(req->share, -1, &op);
}

enum weir_code
front_flush(struct front_req *req, uint64_t ino, uint64_t fh)
{
	struct weir_op op = {.kind = WEIR_OP_FLUSH, .ino = ino, .fh = fh};

	return front_call(req->share, req->fd, &op);
}

enum weir_code
front_read(struct front_req *req, uint64_t ino, uint64_t fh, void *buf, size_t len, uint64_t off, size_t *got)
{
	struct weir_op op = {.kind = WEIR_OP_READ, .ino = ino, .fh = fh, .buf = buf, .len = len, .off = off};
	enum weir_code r = front_call(req->share, req->fd, &op);

	*got = r == WEIR_OK ? op.result : 0;
	return r;
}

enum weir_code
front_write(struct front_req *req, uint64_t ino, uint64_t fh, const void *buf, size_t len, uint64_t off)
{
	while (len > 0) {
		struct weir_op op = {.kind = WEIR_OP_WRITE, .ino = ino, .fh = fh, .buf = (void *)buf, .len = len, .off = off};
		enum weir_code r = front_call(req->share, req->fd, &op);

		if (r)
			return r;
		buf = (const char *)buf + op.result;
		off += op.result;
		len -= op.result;
	}
	return WEIR_OK;
}

/* ---- directories ---- */

static int
batch_emit(struct weir_op *op, const char *name, const struct weir_attr *attr, uint64_t cookie)
{
	struct front_batch *b = (struct front_batch *)op->buf;
	bool is_shown = S_ISDIR(attr->mode) || S_ISREG(attr->mode) || S_ISLNK(attr->mode);

	if (b->n == FRONT_BATCH)
		return 1;
	b->cookie = cookie;
	if (is_shown && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !front_is_hidden(name))
		b->v[b->n++] = (struct front_entry){.name = weir_xstrdup(name), .attr = *attr};
	return 0;
}

enum weir_code
front_readdir(struct front_req *req, uint64_t ino, uint64_t cookie, struct front_batch *b)
{
	struct weir_op op = {.kind = WEIR_OP_READDIR, .ino = ino, .off = cookie, .emit = batch_emit, .buf = b};
	enum weir_code r;

	*b = (struct front_batch){.v = weir_xcalloc(FRONT_BATCH, sizeof(*b->v)), .cookie = cookie};
	r = front_call(req->share, req->fd, &op);
	if (r)
		front_batch_free(b);
	else
		b->is_end = b->cookie == cookie;
	return r;
}

void
front_batch_free(struct front_batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		free(b->v[i].name);
	free(b->v);
	*b = (struct front_batch){0};
}

/* ---- permission ---- */

bool
front_may(const struct front_req *req, const struct weir_attr *a, int what)
{
	const struct weir_front *front = req->share->front;
	uint32_t bits = a->uid == front->uid ? a->mode >> 6 : a->gid == front->gid ? a->mode >> 3 : a->mode;

	return front->uid == 0 || ((int)bits & what) == what;
}

/* ---- names to nodes ---- */

struct walk {
	struct front_req *req;
	struct weir_attr at[FRONT_SEGMENTS + 1];	/* the folders from the share's root to here */
	size_t depth;
	char **todo;			/* names still to go, the next one last; owned */
	size_t ntodo, links;
};

static void
walk_push_text(struct walk *w, const char *text)
{
	size_t from = w->ntodo;

	for (const char *p = text; *p != '\0';) {
		size_t n = strcspn(p, "/");

		if (n > 0) {
			w->todo = weir_xrealloc(w->todo, w->ntodo + 1, sizeof(*w->todo));
			w->todo[w->ntodo++] = weir_xstrndup(p, n);
		}
		p += n;
		p += strspn(p, "/");
	}
	for (size_t a = from, b = w->ntodo; a + 1 < b; a++) {
		char *t = w->todo[a];

		w->todo[a] = w->todo[--b];
		w->todo[b] = t;
	}
}

/* A link is read as if the share's root were all there is: what leads above it, or begins at /, leads nowhere. */
static enum weir_code
walk_link(struct walk *w, uint64_t ino)
{
	char target[4097];
	struct weir_op op = {.kind = WEIR_OP_READLINK, .ino = ino, .buf = target, .len = sizeof(target) - 1};
	enum weir_code r;

	if (++w->links > FRONT_LINKS)
		return WEIR_E_LOOP;
	r = front_call(w->req->share, w->req->fd, &op);
	if (r)
		return r;
	target[op.result] = '\0';
	if (op.result == 0 || target[0] == '/' || w->ntodo > FRONT_SEGMENTS)
		return WEIR_E_NOENT;
	walk_push_text(w, target);
	return WEIR_OK;
}

static enum weir_code
walk_step(struct walk *w, char *name, bool is_last_followed, struct front_node *node)
{
	struct weir_attr *dir = &w->at[w->depth], attr;
	bool is_last = w->ntodo == 0;
	enum weir_code r;

	if (strcmp(name, ".") == 0)
		return WEIR_OK;
	if (strcmp(name, "..") == 0) {
		if (w->depth == 0)
			return WEIR_E_NOENT;
		w->depth--;
		return WEIR_OK;
	}
	if (!S_ISDIR(dir->mode))
		return WEIR_E_NOENT;
	if (!front_may(w->req, dir, FRONT_MAY_ENTER))
		return WEIR_E_ACCES;
	r = front_lookup(w->req, dir->ino, name, &attr);
	if (is_last && (r == WEIR_OK || r == WEIR_E_NOENT)) {
		free(node->name);
		node->name = weir_xstrdup(name);
		node->parent = dir->ino;
	}
	if (r)
		return r;
	if (S_ISLNK(attr.mode) && (!is_last || is_last_followed))
		return walk_link(w, attr.ino);
	if (w->depth == FRONT_SEGMENTS)
		return WEIR_E_NAMETOOLONG;
	w->at[++w->depth] = attr;
	return WEIR_OK;
}

enum weir_code
front_walk(struct front_req *req, const struct front_path *path, bool is_last_followed, struct front_node *node)
{
	struct walk *w = weir_xcalloc(1, sizeof(*w));
	enum weir_code r;

	*node = (struct front_node){.name = weir_xstrdup("")};
	w->req = req;
	walk_push_text(w, path->text);
	r = front_getattr(req, req->share->slot->root, &w->at[0]);
	while (r == WEIR_OK && w->ntodo > 0) {
		WEIR_AUTO(weir_freep) char *name = w->todo[--w->ntodo];

		r = walk_step(w, name, is_last_followed, node);
	}
	if (r == WEIR_OK)
		node->attr = w->at[w->depth];
	else if (r != WEIR_E_NOENT || w->ntodo > 0 || path->n == 0)
		node->parent = 0;
	while (w->ntodo > 0)
		free(w->todo[--w->ntodo]);
	free(w->todo);
	free(w);
	return r;
}

void
front_node_free(struct front_node *n)
{
	free(n->name);
	*n = (struct front_node){0};
}
