/* SPDX-License-Identifier: Apache-2.0 */
/* The fetch planner: which ranges of which contents are asked for, how large, how many at once, and what is fetched ahead.
 *
 * A small file comes whole. A large one comes in pieces: sequential reading makes a window grow from 4 to 64 MiB, which is cut into pieces
 * that run side by side; a read elsewhere fetches what it touches. Pages are marked as their last byte arrives, so that a reader waits
 * for its own bytes and not for the piece. Opening small files one after the other in a directory fetches its further files. */
#include "config.h"

#include "internal.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define MIB (1024u * 1024)
#define SMALL_BYTES (4 * MIB)		/* comes whole in one request */
#define WINDOW_MIN (4ull * MIB)
#define WINDOW_MAX (64ull * MIB)
#define PIECE_MIN (1ull * MIB)
#define PIECE_MAX (8ull * MIB)
#define RANDOM_BYTES (256u * 1024)
#define NEIGHBOUR_BYTES (1u * MIB)	/* files up to this size are fetched ahead of their turn */
#define NEIGHBOURS 96
#define NEIGHBOUR_DIRS 8
#define HABIT_MS 10000

struct arrived { uint64_t index, hash; size_t bytes; };

struct fetch {
	struct job job;
	struct weir_sink sink;
	struct weir_content *c;		/* a reference */
	uint64_t off, end;		/* page-aligned start; end is too, or the base's end */
	uint64_t pos;
	struct place place;
	XXH3_state_t *hash;
	uint64_t arrived;		/* bytes, for the health of a resumed transfer */
	bool is_ahead;
	struct arrived *held;		/* LATE_CHANGED: whole pages that nobody is shown before the end says that they are of our version */
	size_t nheld;
};

/* ---- bytes arriving (engine's thread, no lock) ---- */

/* One page is whole. If the file changed its length around it meanwhile, the checksum would not fit: the file is being changed, so is the page. */
static void
page_arrived(struct fetch *f, uint64_t index, uint64_t hash, size_t bytes)
{
	struct weir_page *p = weir_content_page(f->c, index);

	p->flags &= (uint8_t)~WEIR_P_FETCHING;
	if (p->state != WEIR_PAGE_ABSENT)
		return;
	if (bytes == weir_content_page_bytes(f->c, index)) {
		weir_content_page_set(f->c, index, WEIR_PAGE_CLEAN, hash);
		p->flags |= WEIR_P_VERIFIED;
	} else
		weir_content_page_set(f->c, index, WEIR_PAGE_OPEN, 0);
}

static bool
is_here(struct weir_content *c, uint64_t from, uint64_t to)
{
	if (to > c->base_size)
		to = c->base_size;
	for (uint64_t i = from / WEIR_PAGE; i * WEIR_PAGE < to; i++)
		if (weir_content_page(c, i)->state == WEIR_PAGE_ABSENT)
			return false;
	return true;
}

/* A reader of a megabyte is woken once, by its last page, and not by each of eight (nor by those of its neighbours). */
static void
wake_readers(struct weir_content *c, uint64_t off, uint64_t end)
{
	struct weir_waiter *w, *next;

	for (w = c->waiters.head; w; w = next) {
		next = w->next;
		if (!w->to || (w->from < end && w->to > off && is_here(c, w->from, w->to)))
			weir_wake(w, WEIR_OK);
	}
}

static enum weir_code
fetch_write(struct weir_sink *s, const void *data, size_t len)
{
	struct fetch *f = (struct fetch *)((char *)s - offsetof(struct fetch, sink));
	struct arrived done[16];
	const char *p = data;
	size_t ndone = 0;

	if (f->pos >= f->end)
		return WEIR_OK;
	if (len > f->end - f->pos)
		len = (size_t)(f->end - f->pos);
	if (weir_pwrite_full(f->c->fd, data, len, (off_t)f->pos))
		return WEIR_E_IO;
	while (len || ndone) {
		uint64_t in = f->pos % WEIR_PAGE;
		size_t n = WEIR_PAGE - in < len ? (size_t)(WEIR_PAGE - in) : len;

		if (n) {
			XXH3_64bits_update(f->hash, p, n);
			p += n;
			len -= n;
			f->pos += n;
			if (f->pos % WEIR_PAGE == 0 || f->pos == f->end) {
				done[ndone].index = (f->pos - 1) / WEIR_PAGE;
				done[ndone].bytes = (size_t)(in + n);
				done[ndone++].hash = XXH3_64bits_digest(f->hash);
				XXH3_64bits_reset(f->hash);
			}
		}
		if (ndone && f->held) {
			memcpy(&f->held[f->nheld], done, ndone * sizeof(*done));
			f->nheld += ndone;
			ndone = 0;
		} else if (ndone == WEIR_LEN(done) || (ndone && !len)) {
			weir_store_lock(f->c->st);
			for (size_t i = 0; i < ndone; i++)
				page_arrived(f, done[i].index, done[i].hash, done[i].bytes);
			wake_readers(f->c, done[0].index * WEIR_PAGE, (done[ndone - 1].index + 1) * WEIR_PAGE);
			weir_store_unlock(f->c->st);
			ndone = 0;
		}
	}
	return WEIR_OK;
}

/* ---- one fetch ---- */

/* Lock held: a directory above the node is being renamed by us right now, or has just been: where else the object may be. Object by object or in one
 * go, it is at one of the two places. */
static bool
fetch_other_place(struct weir_remote *r, const struct weir_node *n, const struct place *tried, struct place *out)
{
	struct weir_store *st = r->sy->st;
	struct weir_buf below = WEIR_BUF(1 << 20);
	struct weir_node up = *n;
	bool found = false;

	if (place_of(st, n, out)) {
		if (strcmp(out->path, tried->path) != 0)
			return true;
		place_free(out);
	}
	while (!found && up.rparent) {
		WEIR_AUTO(weir_freep) char *tail = weir_xstrdup(weir_buf_str(&below));

		weir_buf_reset(&below);
		weir_buf_adds(&below, up.rname);
		if (*tail) {
			weir_buf_addc(&below, '/');
			weir_buf_adds(&below, tail);
		}
		if (weir_node_get(st, up.rparent, &up))
			break;
		for (const struct send *s = r->sends; s && !found; s = s->next)
			if (s->node == up.id && s->is_dir && s->to_dir && place_in(st, s->to_dir, s->to_name, out)) {
				char *path = weir_path_join(out->path, weir_buf_str(&below));

				free(out->path);
				out->path = path;
				out->id = weir_xstrdup(tried->id);
				out->version = weir_xstrdup(tried->version);
				found = strcmp(path, tried->path) != 0;
				if (!found)
					place_free(out);
			}
	}
	weir_buf_free(&below);
	return found;
}

/* The object is not where it was. While we rename a directory above it that says little: the other place is tried, and the first one again. */
static enum weir_code
fetch_follow(struct weir_remote *r, struct fetch *f, const struct weir_ctx *ctx, struct weir_stat *got, struct weir_err *err)
{
	struct weir_store *st = r->sy->st;
	enum weir_code code = WEIR_E_NOENT;

	for (int i = 0; i < 4 && code == WEIR_E_NOENT && f->pos == f->off; i++) {
		struct weir_where where;
		struct weir_node n;
		struct place p;
		bool found;

		weir_store_lock(st);
		found = !weir_node_get(st, f->c->node, &n) && n.content == f->c->num && fetch_other_place(r, &n, &f->place, &p);
		weir_store_unlock(st);
		if (!found)
			break;
		place_free(&f->place);
		f->place = p;
		place_where(&f->place, &where);
		code = r->be->ops->get(r->be, ctx, &where, f->off, f->end - f->off, &f->sink, got, err);
	}
	return code;
}

/* The version we were asked for is gone. If nobody has seen a byte of it, the file simply is the new version now: who reads it looks again. */
static enum weir_code
fetch_other_version(struct weir_remote *r, struct fetch *f, const struct weir_ctx *ctx)
{
	struct weir_store *st = r->sy->st;
	struct weir_stat stat = { 0 };
	struct weir_where where;
	struct weir_node n, up;
	uint64_t id = 0;
	enum weir_code code;

	place_where(&f->place, &where);
	where.version = NULL;
	code = r->be->ops->stat(r->be, ctx, &where, &stat, NULL);
	weir_store_lock(st);
	f->c->is_stale = true;
	/* An unlinked file that somebody has open stays the version it was: what is here of it. */
	if (!weir_node_get(st, f->c->node, &n) && n.content == f->c->num && n.parent && !(n.flags & WEIR_N_CONTENT) && !weir_store_begin(st, NULL)) {
		id = n.id;
		if (code == WEIR_E_NOENT || !code)
			merge_changed(r, &n, code ? NULL : &stat, NULL);
		if (!weir_node_get(st, n.rparent, &up)) {
			if (r->watch.how != WEIR_WATCH_AGE)
				watch_mark(r, &up, NULL);
			up.listed_ms = up.listed_ms ? 1 : 0;
			weir_node_update(st, &up, NULL);
		}
		weir_store_commit(st, NULL);
	}
	code = code || !id || weir_node_get(st, id, &n) || !n.parent || n.content == f->c->num ? WEIR_E_STALE : WEIR_OK;
	weir_store_unlock(st);
	weir_stat_free(&stat);
	/* The reader is answered as soon as it is woken: before that the kernel must not know the old size any more. Attributes alone never make us wait. */
	if (!code && r->sy->hooks.node_changed)
		r->sy->hooks.node_changed(r->sy->hooks.arg, id, false);
	return code;
}

static void
fetch_end(struct weir_remote *r, struct fetch *f, enum weir_code code, const char *sentence, const struct weir_stat *got)
{
	struct weir_store *st = r->sy->st;
	struct weir_content *c = f->c;
	struct weir_node n;

	for (uint64_t i = f->off / WEIR_PAGE; i < (f->end + WEIR_PAGE - 1) / WEIR_PAGE; i++)
		weir_content_page(c, i)->flags &= (uint8_t)~WEIR_P_FETCHING;
	c->fetching--;
	if (!code)
		weir_content_check_complete(c);
	if (!c->is_unlinked && !weir_store_begin(st, NULL)) {
		bool ok = !weir_content_save(c, NULL);

		/* What only the object itself tells: precise mtime and mode. */
		if (ok && got && !weir_node_get(st, c->node, &n) && !(n.flags & (WEIR_N_META | WEIR_N_CONTENT))) {
			bool changed = false;

			if (got->mtime_ns != WEIR_TIME_NONE && !(n.flags & WEIR_N_EXACT) && (weir_backend_caps(r->be) & WEIR_CAP_MTIME)) {
				changed = n.mtime_ns != got->mtime_ns;
				n.mtime_ns = c->mtime_ns = got->mtime_ns;
				n.flags |= WEIR_N_EXACT;
			}
			if (got->mode != WEIR_MODE_NONE && !(n.flags & WEIR_N_MODE) && n.mode != (got->mode & 07777)) {
				n.mode = got->mode & 07777;
				n.flags |= WEIR_N_MODE;
				changed = true;
			}
			if (changed) {
				ok = !weir_node_update(st, &n, NULL);
				news_node(r, n.id, false);
			}
		}
		if (ok)
			weir_store_commit(st, NULL);
		else
			weir_store_rollback(st);
	}
	if (code && code != WEIR_E_CANCELED)
		weir_log(WEIR_LOG_INFO, "remote '%s': reading '%s': %s", r->conf->name, f->place.path, sentence);
	if (c->is_unlinked && code)
		code = WEIR_OK; /* look again: the node may have another content now */
	weir_wake_all(&c->waiters, code == WEIR_E_CANCELED ? (r->cancel.is_set ? WEIR_E_INTR : WEIR_OK) : code);
}

static void
fetch_run(struct weir_remote *r, struct job *j)
{
	struct fetch *f = (struct fetch *)((char *)j - offsetof(struct fetch, job));
	struct weir_ctx ctx = { .cancel = &f->c->cancel };
	struct weir_stat got = { .mtime_ns = WEIR_TIME_NONE, .mode = WEIR_MODE_NONE };
	struct weir_err err = { 0 };
	struct weir_where where;
	bool is_other = false;
	enum weir_code code = WEIR_E_CANCELED;

	place_where(&f->place, &where);
	if (!f->c->cancel.is_set && !r->cancel.is_set)
		code = r->be->ops->get(r->be, &ctx, &where, f->off, f->end - f->off, &f->sink, &got, &err);
	if (code == WEIR_E_NOENT)
		code = fetch_follow(r, f, &ctx, &got, &err);
	if (!code && f->pos != f->end)
		code = weir_err_set(&err, WEIR_E_CHANGED, "it is shorter than listed");
	if (code == WEIR_E_CHANGED || code == WEIR_E_NOENT) {
		code = fetch_other_version(r, f, &ctx);
		is_other = true;
	}
	weir_store_lock(r->sy->st);
	for (size_t i = 0; !code && !is_other && i < f->nheld; i++)
		page_arrived(f, f->held[i].index, f->held[i].hash, f->held[i].bytes);
	if (code != WEIR_E_STALE)
		remote_note(r, code, code ? weir_err_text(&err, code) : NULL);
	fetch_end(r, f, code, weir_err_text(&err, code), code || is_other ? NULL : &got);
	weir_content_put(f->c);
	weir_store_unlock(r->sy->st);
	weir_stat_free(&got);
	place_free(&f->place);
	XXH3_freeState(f->hash);
	free(f->held);
	free(f);
}

/* ---- planning (lock held) ---- */

static enum weir_code
fetch_start(struct weir_remote *r, const struct weir_node *n, struct weir_content *c, uint64_t first, uint64_t last, bool is_ahead)
{
	struct fetch *f;
	struct place p;

	if (!place_of(r->sy->st, n, &p))
		return WEIR_E_STALE;
	f = weir_xcalloc(1, sizeof(*f));
	f->place = p;
	f->c = c;
	weir_content_ref(c);
	f->off = f->pos = first * WEIR_PAGE;
	f->end = (last + 1) * WEIR_PAGE < c->base_size ? (last + 1) * WEIR_PAGE : c->base_size;
	f->is_ahead = is_ahead;
	if (weir_backend_caps(r->be) & WEIR_CAP_LATE_CHANGED)
		f->held = weir_xcalloc((size_t)(last - first) + 1, sizeof(*f->held));
	f->hash = XXH3_createState();
	XXH3_64bits_reset(f->hash);
	f->sink.write = fetch_write;
	f->job.run = fetch_run;
	for (uint64_t i = first; i <= last; i++)
		weir_content_page(c, i)->flags |= WEIR_P_FETCHING;
	c->fetching++;
	remote_submit(r, &f->job, is_ahead ? JOB_AHEAD : JOB_FETCH);
	return WEIR_OK;
}

/* Start fetches for the absent pages of [off, end) in pieces; at most max_pieces may run on this content. */
static enum weir_code
plan_range(struct weir_remote *r, const struct weir_node *n, struct weir_content *c, uint64_t off, uint64_t end, uint64_t piece, unsigned max_pieces, bool is_ahead)
{
	uint64_t i = off / WEIR_PAGE, stop, per = piece / WEIR_PAGE;
	enum weir_code code = WEIR_OK;

	if (end > c->base_size)
		end = c->base_size;
	stop = (end + WEIR_PAGE - 1) / WEIR_PAGE;
	if (!weir_store_evict(r->sy->st, end > off ? end - off : 0) && is_ahead)
		return WEIR_OK; /* no room for guesses */
	while (!code && i < stop) {
		const struct weir_page *p = weir_content_page(c, i);
		uint64_t from = i;

		if (p->state != WEIR_PAGE_ABSENT || (p->flags & WEIR_P_FETCHING)) {
			i++;
			continue;
		}
		if (c->fetching >= max_pieces)
			break;
		while (i < stop && i - from < per) {
			p = weir_content_page(c, i);
			if (p->state != WEIR_PAGE_ABSENT || (p->flags & WEIR_P_FETCHING))
				break;
			i++;
		}
		code = fetch_start(r, n, c, from, i - 1, is_ahead);
	}
	return code;
}

static unsigned
max_pieces(const struct weir_remote *r)
{
	return r->limit[JOB_FETCH] > 16 ? 16 : r->limit[JOB_FETCH];
}

static uint64_t
piece_for(uint64_t window)
{
	uint64_t piece = window / 8;

	return piece < PIECE_MIN ? PIECE_MIN : piece > PIECE_MAX ? PIECE_MAX : piece;
}

/* Is this read the continuation of what was read before? The kernel's read-ahead arrives a little out of order. */
static bool
is_sequential(const struct weir_content *c, uint64_t off)
{
	return off == 0 || (off + 2 * MIB >= c->ra_next && off <= c->ra_next + 2 * MIB);
}

static void
grow_window(struct weir_content *c, uint64_t off, uint64_t len)
{
	if (!is_sequential(c, off)) {
		c->ra_hits = 0;
		c->ra_window = 0;
		c->ra_next = off + len;
		return;
	}
	if (off + len > c->ra_next)
		c->ra_next = off + len;
	if (c->ra_window == 0)
		c->ra_window = WINDOW_MIN;
	else if (++c->ra_hits % 4 == 0 && c->ra_window < WINDOW_MAX)
		c->ra_window *= 2;
}

enum weir_code
weir_sync_fetch(struct weir_sync *sy, const struct weir_node *n, struct weir_content *c, uint64_t off, uint64_t len, struct weir_waiter *w)
{
	struct weir_remote *r = weir_sync_remote(sy, c->remote);
	enum weir_code code;

	if (!r || c->is_stale || c->is_unlinked)
		return WEIR_E_STALE;
	if ((code = remote_usable(r)))
		return code;
	if (c->base_size <= SMALL_BYTES)
		code = plan_range(r, n, c, 0, c->base_size, SMALL_BYTES, 64, false);
	else {
		grow_window(c, off, len);
		/* What is asked for is never refused a piece; what is guessed is. */
		code = plan_range(r, n, c, off, off + (c->ra_window ? len : len > RANDOM_BYTES ? len : RANDOM_BYTES),
		    c->ra_window ? piece_for(c->ra_window) : PIECE_MIN, UINT32_MAX, false);
		if (!code && c->ra_window)
			code = plan_range(r, n, c, off + len, off + len + c->ra_window, piece_for(c->ra_window), max_pieces(r), false);
	}
	if (code)
		return code;
	if (w) {
		w->from = off;
		w->to = off + len;
		weir_wait_add(&c->waiters, w);
	}
	return WEIR_PENDING;
}

void
weir_sync_ahead(struct weir_sync *sy, struct weir_content *c, uint64_t off, uint64_t len)
{
	struct weir_remote *r;
	struct weir_node n;

	if (c->is_complete || c->is_stale || c->base_size <= SMALL_BYTES)
		return;
	grow_window(c, off, len);
	if (!c->ra_window || !(r = weir_sync_remote(sy, c->remote)) || remote_usable(r) || c->fetching >= max_pieces(r))
		return;
	if (!weir_node_get(sy->st, c->node, &n))
		plan_range(r, &n, c, off + len, off + len + c->ra_window, piece_for(c->ra_window), max_pieces(r), false);
}

void
weir_sync_fetch_all(struct weir_sync *sy, struct weir_content *c)
{
	struct weir_remote *r = weir_sync_remote(sy, c->remote);
	struct weir_node n;

	if (c->is_complete || c->is_stale || !r || remote_usable(r) || weir_node_get(sy->st, c->node, &n))
		return;
	plan_range(r, &n, c, 0, c->base_size, PIECE_MAX, max_pieces(r), false);
}

enum weir_code
weir_sync_prefetch(struct weir_sync *sy, const struct weir_node *n, struct weir_content *c, struct weir_waiter *w)
{
	struct weir_remote *r = weir_sync_remote(sy, c->remote);
	uint64_t i = 0;
	enum weir_code code;

	/* while a fetch runs, its end may still tell the exact time and mode */
	if (!c->fetching && (c->is_complete || weir_content_check_complete(c)))
		return WEIR_OK;
	if (!r || c->is_stale || c->is_unlinked)
		return WEIR_E_STALE;
	if ((code = remote_usable(r)))
		return code;
	while (i * WEIR_PAGE < c->base_size && (weir_content_page(c, i)->state != WEIR_PAGE_ABSENT || (weir_content_page(c, i)->flags & WEIR_P_FETCHING)))
		i++; /* at the end of it the last of it is under way */
	code = plan_range(r, n, c, i * WEIR_PAGE, c->base_size, c->base_size <= SMALL_BYTES ? SMALL_BYTES : PIECE_MAX, (max_pieces(r) + 1) / 2, true);
	if (code)
		return code;
	if (!c->fetching)
		return WEIR_E_NOSPC;
	w->from = 0;
	w->to = c->base_size;
	weir_wait_add(&c->waiters, w);
	return WEIR_PENDING;
}

/* ---- neighbours ---- */

struct neighbours {
	uint64_t ids[NEIGHBOURS];
	uint64_t dirs[NEIGHBOUR_DIRS];
	size_t n, ndirs;
};

static int
neighbour_pick(void *arg, struct weir_node *n)
{
	struct neighbours *nb = arg;

	if (n->type == WEIR_FILE && n->rparent && !n->content && n->size && n->size <= NEIGHBOUR_BYTES)
		nb->ids[nb->n++] = n->id;
	return nb->n == NEIGHBOURS;
}

static int
neighbour_dir(void *arg, struct weir_node *n)
{
	struct neighbours *nb = arg;

	if (n->type == WEIR_DIR && n->rparent && n->listed_ms)
		nb->dirs[nb->ndirs++] = n->id;
	return nb->ndirs == NEIGHBOUR_DIRS;
}

static void
neighbour_fetch(struct weir_remote *r, uint64_t id)
{
	struct weir_store *st = r->sy->st;
	struct weir_content *c;
	struct weir_node n;

	if (weir_node_get(st, id, &n) || n.content || weir_store_begin(st, NULL))
		return;
	if (weir_content_new(st, &n, false, n.rsize, &c, NULL) || weir_node_update(st, &n, NULL)) {
		weir_store_rollback(st);
		return;
	}
	if (weir_store_commit(st, NULL))
		return;
	plan_range(r, &n, c, 0, c->base_size, SMALL_BYTES, 64, true);
	weir_content_put(c);
}

static struct dir_habit *
habit_of(struct weir_remote *r, uint64_t dir)
{
	struct dir_habit *slot = &r->open_habits[0];
	int64_t now = weir_now_ms();

	for (unsigned i = 0; i < HABITS; i++) {
		struct dir_habit *h = &r->open_habits[i];

		if (h->dir == dir && now - h->at_ms < HABIT_MS) {
			h->at_ms = now;
			h->count++;
			return h;
		}
		if (h->at_ms < slot->at_ms)
			slot = h;
	}
	*slot = (struct dir_habit){ .dir = dir, .at_ms = now, .count = 1 };
	return slot;
}

/* Fetch ahead from where the habit stands in one directory. */
static void
neighbours_in(struct weir_remote *r, struct dir_habit *h, struct neighbours *nb, bool from_start)
{
	size_t before = nb->n;

	weir_node_children(r->sy->st, h->dir, h->mark, neighbour_pick, nb);
	if (nb->n == before && from_start) /* readers in random order have left gaps before */
		weir_node_children(r->sy->st, h->dir, 0, neighbour_pick, nb);
	h->is_active = nb->n > before;
	for (size_t i = before; i < nb->n; i++) {
		neighbour_fetch(r, nb->ids[i]);
		h->mark = nb->ids[i];
		h->left++;
	}
}

void
weir_sync_neighbours(struct weir_sync *sy, const struct weir_node *n, bool is_miss)
{
	struct weir_remote *r = weir_sync_remote(sy, n->remote);
	struct neighbours nb = { .n = 0 };
	struct dir_habit *h;
	struct weir_node dir;

	if (!r || !n->parent || n->rsize > NEIGHBOUR_BYTES || (weir_backend_caps(r->be) & WEIR_CAP_LOCAL) || remote_usable(r))
		return;
	h = habit_of(r, n->parent);
	h->left -= h->left > 0;
	if (is_miss ? h->count < 2 : !h->is_active || h->left > NEIGHBOURS / 2)
		return;
	if (is_miss && !h->is_active)
		h->mark = n->id;
	neighbours_in(r, h, &nb, is_miss);
	/* Whoever reads one small directory whole goes on to the next ones. */
	if (nb.n < NEIGHBOURS / 2 && h->count > 4 && !weir_node_get(sy->st, n->parent, &dir) && dir.parent)
		weir_node_children(sy->st, dir.parent, dir.id, neighbour_dir, &nb);
	for (size_t i = 0; i < nb.ndirs && nb.n < NEIGHBOURS; i++)
		neighbours_in(r, habit_of(r, nb.dirs[i]), &nb, false);
	if (nb.ndirs && nb.n)
		h->is_active = true; /* its reader keeps the next directories coming */
}
