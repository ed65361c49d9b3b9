/* SPDX-License-Identifier: Apache-2.0 */
/* Content files: making, finding, growing, dropping, evicting. Page tables are in page.c. */
#include "config.h"

#include "content.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define USED_STEP_MS 60000	/* how exactly eviction knows when a content was used last */

struct weir_tx_content {
	uint64_t num, node;
	bool is_new;
};

static void
content_path(uint64_t num, char out[64])
{
	snprintf(out, 64, "content/%06llu/%03llu", (unsigned long long)num / 1000, (unsigned long long)num % 1000);
}

static int
content_open_file(struct weir_store *st, uint64_t num, int flags)
{
	char path[64], dir[64];
	int fd;

	content_path(num, path);
	fd = openat(st->dirfd, path, O_RDWR | O_CLOEXEC | flags, 0600);
	if (fd < 0 && errno == ENOENT && (flags & O_CREAT)) {
		snprintf(dir, sizeof(dir), "content/%06llu", (unsigned long long)num / 1000);
		if (mkdirat(st->dirfd, dir, 0700) && errno != EEXIST)
			return -1;
		fd = openat(st->dirfd, path, O_RDWR | O_CLOEXEC | flags, 0600);
	}
	return fd;
}

static void
content_unlink_file(struct weir_store *st, uint64_t num)
{
	char path[64];

	content_path(num, path);
	if (unlinkat(st->dirfd, path, 0) && errno != ENOENT)
		weir_log(WEIR_LOG_WARN, "cache '%s': cannot remove %s: %s", st->dir, path, strerror(errno));
}

/* ---- the table of contents in memory ---- */

static struct weir_content **
live_slot(struct weir_store *st, uint64_t node)
{
	return &st->live[(node * 0x9e3779b97f4a7c15ull >> 32) % st->live_slots];
}

static void
live_add(struct weir_content *c)
{
	struct weir_content **p = live_slot(c->st, c->node);

	c->hash_next = *p;
	*p = c;
	c->is_hashed = true;
	c->st->live_count++;
}

static void
live_remove(struct weir_content *c)
{
	struct weir_content **p;

	if (!c->is_hashed)
		return;
	for (p = live_slot(c->st, c->node); *p != c; p = &(*p)->hash_next)
		;
	*p = c->hash_next;
	c->is_hashed = false;
	c->st->live_count--;
}

struct weir_content *
weir_content_live(struct weir_store *st, uint64_t node)
{
	struct weir_content *c = *live_slot(st, node);

	while (c && c->node != node)
		c = c->hash_next;
	return c;
}

static struct weir_content *
live_by_num(struct weir_store *st, uint64_t node, uint64_t num)
{
	struct weir_content *c = *live_slot(st, node);

	while (c && c->num != num)
		c = c->hash_next;
	return c;
}

void
weir_content_ref(struct weir_content *c)
{
	c->refs++;
}

static void
content_free(struct weir_content *c)
{
	for (size_t i = 0; i < c->nrows; i++)
		free(c->rows[i]);
	free(c->rows);
	free(c->row_flags);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}

static void
content_uncount(struct weir_content *c)
{
	struct weir_store *st = c->st;

	st->cache_used -= c->counted < st->cache_used ? c->counted : st->cache_used;
	if (c->is_dirty)
		st->cache_dirty -= c->counted < st->cache_dirty ? c->counted : st->cache_dirty;
	c->counted = 0;
	weir_wake_all(&st->space, WEIR_OK);
}

/* Clean page states that no transaction has carried yet are worth one when the last user goes; losing them costs a fetch, no data. */
static void
content_save_late(struct weir_content *c)
{
	struct weir_store *st = c->st;

	if (!c->is_row_dirty || st->in_tx || weir_store_begin(st, NULL))
		return;
	if (weir_content_save(c, NULL))
		weir_store_rollback(st);
	else
		weir_store_commit(st, NULL);
}

void
weir_content_put(struct weir_content *c)
{
	if (!c || --c->refs)
		return;
	if (c->is_unlinked) {
		content_uncount(c);
		content_unlink_file(c->st, c->num);
	} else
		content_save_late(c);
	live_remove(c);
	content_free(c);
}

void
weir_content_set_dirty(struct weir_content *c, bool is_dirty)
{
	if (c->is_dirty == is_dirty)
		return;
	c->is_dirty = is_dirty;
	if (is_dirty)
		c->st->cache_dirty += c->counted;
	else {
		c->st->cache_dirty -= c->counted < c->st->cache_dirty ? c->counted : c->st->cache_dirty;
		weir_wake_all(&c->st->space, WEIR_OK);
	}
}

/* ---- transactions ---- */

static void
tx_note(struct weir_store *st, uint64_t num, uint64_t node, bool is_new)
{
	st->tx_contents = weir_xrealloc(st->tx_contents, st->ntx_contents + 1, sizeof(*st->tx_contents));
	st->tx_contents[st->ntx_contents++] = (struct weir_tx_content){ num, node, is_new };
}

/* A file goes only after the transaction that forgets it is committed, and one made for a transaction that failed goes at once. */
void
weir_content_tx_end(struct weir_store *st, bool is_committed)
{
	size_t n = st->ntx_contents;

	st->ntx_contents = 0;
	for (size_t i = 0; i < n; i++) {
		struct weir_tx_content t = st->tx_contents[i];
		struct weir_content *c;

		if (t.is_new == is_committed)
			continue;
		c = live_by_num(st, t.node, t.num);
		if (c) {
			live_remove(c);
			c->is_unlinked = true;
			c->cancel.is_set = true;
			weir_wake_all(&c->waiters, WEIR_OK);
			if (!c->refs) {
				c->refs = 1;
				weir_content_put(c);
			}
		} else
			content_unlink_file(st, t.num);
	}
}

/* ---- making and loading ---- */

static struct weir_content *
content_alloc(struct weir_store *st, const struct weir_node *n)
{
	struct weir_content *c = weir_xcalloc(1, sizeof(*c));

	c->st = st;
	c->num = n->content;
	c->node = n->id;
	c->remote = n->remote;
	c->fd = -1;
	c->refs = 1;
	c->size = n->size;
	c->mtime_ns = n->mtime_ns;
	c->ctime_ns = n->ctime_ns;
	c->atime_ns = n->atime_ns;
	c->is_dirty = (n->flags & WEIR_N_CONTENT) != 0;
	c->used_ms = weir_wall_ns() / 1000000;
	return c;
}

static enum weir_code
content_load(struct weir_content *c, struct weir_err *err)
{
	struct weir_store *st = c->st;
	sqlite3_stmt *s = weir_store_stmt(st, "SELECT born, complete, base_size, counted, used FROM contents WHERE num=?");
	struct stat sb;
	int e;

	sqlite3_bind_int64(s, 1, (int64_t)c->num);
	if (sqlite3_step(s) != SQLITE_ROW) {
		sqlite3_reset(s);
		return weir_err_set(err, WEIR_E_IO, "cache '%s': content %llu has no row", st->dir, (unsigned long long)c->num);
	}
	c->is_born = sqlite3_column_int(s, 0);
	c->is_complete = sqlite3_column_int(s, 1);
	c->base_size = (uint64_t)sqlite3_column_int64(s, 2);
	c->counted = (uint64_t)sqlite3_column_int64(s, 3);
	c->saved_used_ms = sqlite3_column_int64(s, 4);
	if (c->used_ms - c->saved_used_ms < USED_STEP_MS)
		c->used_ms = c->saved_used_ms;
	sqlite3_reset(s);
	c->is_suspect = st->is_powercut && c->is_dirty;
	c->fd = content_open_file(st, c->num, 0);
	if (c->fd < 0 && errno == ENOENT && !c->is_dirty) {
		/* Somebody tidied the cache: pages that are not there are fetched again, their checksums cannot match zeros. */
		c->fd = content_open_file(st, c->num, O_CREAT);
		c->is_complete = false;
	}
	if (c->fd < 0 || fstat(c->fd, &sb)) {
		e = errno;
		return weir_err_errno(err, e, "cache '%s': content %llu", st->dir, (unsigned long long)c->num);
	}
	if (!c->is_dirty && (uint64_t)sb.st_size != c->size && ftruncate(c->fd, (off_t)c->size))
		return weir_err_errno(err, errno, "cache '%s': content %llu", st->dir, (unsigned long long)c->num);
	return WEIR_OK;
}

enum weir_code
weir_content_get(struct weir_store *st, const struct weir_node *n, struct weir_content **out, struct weir_err *err)
{
	struct weir_content *c = weir_content_live(st, n->id);
	enum weir_code r;

	*out = NULL;
	if (c) {
		c->refs++;
		*out = c;
		return WEIR_OK;
	}
	if (!n->content)
		return WEIR_OK;
	c = content_alloc(st, n);
	if ((r = content_load(c, err))) {
		content_free(c);
		return r;
	}
	live_add(c);
	*out = c;
	return WEIR_OK;
}

enum weir_code
weir_content_new(struct weir_store *st, struct weir_node *n, bool is_born, uint64_t size, struct weir_content **out, struct weir_err *err)
{
	sqlite3_stmt *s = weir_store_stmt(st, "INSERT INTO contents(node,born,complete,base_size,size,counted,used) VALUES(?,?,?,?,?,0,?)");
	int64_t now = weir_wall_ns() / 1000000;
	struct weir_content *c;
	enum weir_code r;

	sqlite3_bind_int64(s, 1, (int64_t)n->id);
	sqlite3_bind_int(s, 2, is_born);
	sqlite3_bind_int(s, 3, is_born || size == 0);
	sqlite3_bind_int64(s, 4, is_born ? 0 : (int64_t)size);
	sqlite3_bind_int64(s, 5, (int64_t)size);
	sqlite3_bind_int64(s, 6, now);
	if ((r = weir_store_step_done(st, s, err)))
		return r;
	n->content = (uint64_t)sqlite3_last_insert_rowid(st->db);
	c = content_alloc(st, n);
	c->used_ms = c->saved_used_ms = now;
	c->size = size;
	c->is_born = is_born;
	c->is_complete = is_born || size == 0;
	c->base_size = is_born ? 0 : size;
	c->fd = content_open_file(st, c->num, O_CREAT | O_TRUNC);
	if (c->fd < 0 || (size && ftruncate(c->fd, (off_t)size))) {
		r = weir_err_errno(err, errno, "cache '%s': cannot make a content file", st->dir);
		content_free(c);
		return r;
	}
	live_add(c);
	tx_note(st, c->num, n->id, true);
	*out = c;
	return WEIR_OK;
}

enum weir_code
weir_content_drop(struct weir_store *st, struct weir_node *n, struct weir_err *err)
{
	sqlite3_stmt *s;
	enum weir_code r;

	if (!n->content)
		return WEIR_OK;
	if (!live_by_num(st, n->id, n->content)) { /* else its own counter goes with it */
		s = weir_store_stmt(st, "SELECT counted FROM contents WHERE num=?");
		sqlite3_bind_int64(s, 1, (int64_t)n->content);
		if (sqlite3_step(s) == SQLITE_ROW) {
			uint64_t counted = (uint64_t)sqlite3_column_int64(s, 0);

			st->cache_used -= counted < st->cache_used ? counted : st->cache_used;
			if (n->flags & WEIR_N_CONTENT)
				st->cache_dirty -= counted < st->cache_dirty ? counted : st->cache_dirty;
		}
		sqlite3_reset(s);
	}
	s = weir_store_stmt(st, "DELETE FROM pages WHERE content=?");
	sqlite3_bind_int64(s, 1, (int64_t)n->content);
	if ((r = weir_store_step_done(st, s, err)))
		return r;
	s = weir_store_stmt(st, "DELETE FROM contents WHERE num=?");
	sqlite3_bind_int64(s, 1, (int64_t)n->content);
	if ((r = weir_store_step_done(st, s, err)))
		return r;
	tx_note(st, n->content, n->id, false);
	n->content = 0;
	return WEIR_OK;
}

/* ---- length ---- */

static enum weir_code
resize_shrink(struct weir_content *c, uint64_t new_size, struct weir_err *err)
{
	uint64_t first = (new_size + WEIR_PAGE - 1) / WEIR_PAGE, end = weir_content_npages(c);
	sqlite3_stmt *s;

	weir_content_aside(c, new_size, UINT64_MAX);
	if (c->base_size > new_size)
		c->base_size = new_size;
	/* What comes back above the new end is zeros: OPEN in a born content, HOLE in another; neither needs a row of its own. */
	for (uint64_t i = first; i < end; i++) {
		if (i % WEIR_ROW_PAGES == 0 && (i / WEIR_ROW_PAGES >= c->nrows || !c->rows[i / WEIR_ROW_PAGES])) {
			i += WEIR_ROW_PAGES - 1;
			continue;
		}
		weir_content_page_set(c, i, c->is_born ? WEIR_PAGE_OPEN : WEIR_PAGE_HOLE, 0);
	}
	s = weir_store_stmt(c->st, "DELETE FROM pages WHERE content=? AND block>?");
	sqlite3_bind_int64(s, 1, (int64_t)c->num);
	sqlite3_bind_int64(s, 2, new_size ? (int64_t)((new_size - 1) / WEIR_PAGE / WEIR_ROW_PAGES) : -1);
	return weir_store_step_done(c->st, s, err);
}

enum weir_code
weir_content_resize(struct weir_content *c, uint64_t new_size, struct weir_err *err)
{
	enum weir_code r;

	if (new_size < c->size && (r = resize_shrink(c, new_size, err)))
		return r;
	if (ftruncate(c->fd, (off_t)new_size))
		return weir_err_errno(err, errno, "cache '%s': cannot change the length of a content file", c->st->dir);
	c->size = new_size;
	c->is_row_dirty = true;
	c->ra_next = c->ra_done = c->ra_window = 0;
	return weir_content_save(c, err);
}

/* ---- room ---- */

void
weir_content_touch(struct weir_content *c)
{
	int64_t now = weir_wall_ns() / 1000000;

	if (now - c->used_ms < USED_STEP_MS)
		return;
	c->is_row_dirty = true;
	c->used_ms = now;
}

static size_t
evict_pick(struct weir_store *st, uint64_t *nodes, size_t max)
{
	sqlite3_stmt *s = weir_store_stmt(st, "SELECT c.node FROM contents c JOIN nodes n ON n.id=c.node AND n.content=c.num"
	    " WHERE (n.flags & 1)=0 AND n.parent IS NOT NULL ORDER BY c.used LIMIT 2000");
	size_t n = 0;

	while (n < max && sqlite3_step(s) == SQLITE_ROW) {
		uint64_t node = (uint64_t)sqlite3_column_int64(s, 0);

		if (!weir_content_live(st, node))
			nodes[n++] = node;
	}
	sqlite3_reset(s);
	return n;
}

bool
weir_store_evict(struct weir_store *st, uint64_t want)
{
	uint64_t nodes[64];
	struct weir_node n;
	size_t count;

	while (st->cache_used + want > st->cache_max) {
		count = evict_pick(st, nodes, WEIR_LEN(nodes));
		if (!count || weir_store_begin(st, NULL))
			return false;
		for (size_t i = 0; i < count && st->cache_used + want > st->cache_max; i++)
			if (!weir_node_get(st, nodes[i], &n) && (weir_content_drop(st, &n, NULL) || weir_node_update(st, &n, NULL))) {
				weir_store_rollback(st);
				return false;
			}
		if (weir_store_commit(st, NULL))
			return false;
	}
	return true;
}
