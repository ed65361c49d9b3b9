/* SPDX-License-Identifier: Apache-2.0 */
/* Page tables of one content: loading and saving rows, sealing, verifying, and the frozen version an upload reads. */
#include "config.h"

#include "content.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { ROW_DIRTY = 1, ROW_STORED = 2 };	/* row_flags: differs from what is saved; the database has something of it */

#define ENTRY 9u /* a saved page: state, then its hash in little endian */

uint64_t
weir_page_hash(const void *p, size_t len)
{
	return XXH3_64bits(p, len);
}

uint64_t
weir_content_npages(const struct weir_content *c)
{
	return (c->size + WEIR_PAGE - 1) / WEIR_PAGE;
}

size_t
weir_content_page_bytes(const struct weir_content *c, uint64_t index)
{
	uint64_t off = index * WEIR_PAGE;

	if (off >= c->size)
		return 0;
	return c->size - off < WEIR_PAGE ? (size_t)(c->size - off) : WEIR_PAGE;
}

static bool
has_bytes(unsigned state)
{
	return state == WEIR_PAGE_CLEAN || state == WEIR_PAGE_CHANGED || state == WEIR_PAGE_OPEN;
}

static unsigned
default_state(const struct weir_content *c, uint64_t index)
{
	if (c->is_born)
		return WEIR_PAGE_OPEN;
	return index * WEIR_PAGE < c->base_size ? WEIR_PAGE_ABSENT : WEIR_PAGE_HOLE;
}

/* ---- rows ---- */

static void
row_decode(struct weir_content *c, size_t row, const unsigned char *blob, size_t len)
{
	struct weir_page *p = c->rows[row];

	for (size_t i = 0; i < len / ENTRY && i < WEIR_ROW_PAGES; i++) {
		const unsigned char *e = blob + i * ENTRY;
		uint64_t hash = 0;

		if (e[0] > WEIR_PAGE_OPEN)
			continue; /* damaged: the default is safe */
		for (int b = 7; b >= 0; b--)
			hash = hash << 8 | e[1 + b];
		p[i].state = e[0];
		p[i].hash = hash;
	}
}

static bool
row_load(struct weir_content *c, size_t row)
{
	sqlite3_stmt *s = weir_store_stmt(c->st, "SELECT tab FROM pages WHERE content=? AND block=?");
	uint64_t first = (uint64_t)row * WEIR_ROW_PAGES, end = weir_content_npages(c);

	if (row >= c->nrows) {
		size_t n = row + 1 > c->nrows * 2 ? row + 1 : c->nrows * 2;

		c->rows = weir_xrealloc(c->rows, n, sizeof(*c->rows));
		c->row_flags = weir_xrealloc(c->row_flags, n, 1);
		memset(c->rows + c->nrows, 0, (n - c->nrows) * sizeof(*c->rows));
		memset(c->row_flags + c->nrows, 0, n - c->nrows);
		c->nrows = n;
	}
	c->rows[row] = weir_xcalloc(WEIR_ROW_PAGES, sizeof(struct weir_page));
	for (size_t i = 0; i < WEIR_ROW_PAGES; i++)
		c->rows[row][i].state = (uint8_t)default_state(c, first + i);
	sqlite3_bind_int64(s, 1, (int64_t)c->num);
	sqlite3_bind_int64(s, 2, (int64_t)row);
	if (sqlite3_step(s) == SQLITE_ROW) {
		c->row_flags[row] |= ROW_STORED;
		row_decode(c, row, sqlite3_column_blob(s, 0), (size_t)sqlite3_column_bytes(s, 0));
	}
	sqlite3_reset(s);
	for (size_t i = 0; i < WEIR_ROW_PAGES && first + i < end; i++)
		if (has_bytes(c->rows[row][i].state))
			c->rows[row][i].flags |= WEIR_P_COUNTED;
	return true;
}

struct weir_page *
weir_content_page(struct weir_content *c, uint64_t index)
{
	size_t row = (size_t)(index / WEIR_ROW_PAGES);

	if ((row >= c->nrows || !c->rows[row]) && !row_load(c, row))
		return NULL;
	return &c->rows[row][index % WEIR_ROW_PAGES];
}

static void
count(struct weir_content *c, int64_t bytes)
{
	struct weir_store *st = c->st;
	uint64_t d = (uint64_t)(bytes < 0 ? -bytes : bytes);

	if (bytes < 0) {
		if (d > c->counted)
			d = c->counted;
		c->counted -= d;
		st->cache_used -= d < st->cache_used ? d : st->cache_used;
		if (c->is_dirty)
			st->cache_dirty -= d < st->cache_dirty ? d : st->cache_dirty;
		weir_wake_all(&st->space, WEIR_OK);
	} else {
		c->counted += d;
		st->cache_used += d;
		if (c->is_dirty)
			st->cache_dirty += d;
	}
}

void
weir_content_page_set(struct weir_content *c, uint64_t index, enum weir_page_state state, uint64_t hash)
{
	struct weir_page *p = weir_content_page(c, index);
	size_t bytes = (weir_content_page_bytes(c, index) + 4095) & ~(size_t)4095;

	p->state = (uint8_t)state;
	p->hash = hash;
	p->flags &= (uint8_t) ~(WEIR_P_VERIFIED | WEIR_P_BAD);
	if (has_bytes(state) && !(p->flags & WEIR_P_COUNTED)) {
		p->flags |= WEIR_P_COUNTED;
		count(c, (int64_t)bytes);
	} else if (!has_bytes(state) && (p->flags & WEIR_P_COUNTED)) {
		p->flags &= (uint8_t)~WEIR_P_COUNTED;
		count(c, -(int64_t)bytes);
	}
	c->row_flags[index / WEIR_ROW_PAGES] |= ROW_DIRTY;
	c->is_row_dirty = true;
}

static bool
is_all_open(const struct weir_page *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i].state != WEIR_PAGE_OPEN)
			return false;
	return true;
}

static enum weir_code
row_save(struct weir_content *c, size_t row, struct weir_err *err)
{
	unsigned char blob[WEIR_ROW_PAGES * ENTRY];
	uint64_t first = (uint64_t)row * WEIR_ROW_PAGES, end = weir_content_npages(c);
	size_t n = end <= first ? 0 : end - first > WEIR_ROW_PAGES ? WEIR_ROW_PAGES : (size_t)(end - first);
	sqlite3_stmt *s;

	c->row_flags[row] &= (uint8_t)~ROW_DIRTY;
	if (!n || (c->is_born && !(c->row_flags[row] & ROW_STORED) && is_all_open(c->rows[row], n)))
		return WEIR_OK; /* nothing, or what no row means anyway */
	c->row_flags[row] |= ROW_STORED;
	for (size_t i = 0; i < n; i++) {
		const struct weir_page *p = &c->rows[row][i];

		blob[i * ENTRY] = p->state;
		for (int b = 0; b < 8; b++)
			blob[i * ENTRY + 1 + (size_t)b] = (unsigned char)(p->hash >> (8 * b));
	}
	s = weir_store_stmt(c->st, "INSERT OR REPLACE INTO pages VALUES(?,?,?)");
	sqlite3_bind_int64(s, 1, (int64_t)c->num);
	sqlite3_bind_int64(s, 2, (int64_t)row);
	sqlite3_bind_blob(s, 3, blob, (int)(n * ENTRY), SQLITE_STATIC);
	return weir_store_step_done(c->st, s, err);
}

enum weir_code
weir_content_save(struct weir_content *c, struct weir_err *err)
{
	sqlite3_stmt *s;
	struct stat sb;
	enum weir_code r;

	if (!c->is_row_dirty || c->is_unlinked)
		return WEIR_OK;
	for (size_t i = 0; i < c->nrows; i++)
		if ((c->row_flags[i] & ROW_DIRTY) && (r = row_save(c, i, err)))
			return r;
	/* The file system knows best what a sparse file takes. */
	if (!c->writing && !c->fetching && fstat(c->fd, &sb) == 0)
		count(c, (int64_t)sb.st_blocks * 512 - (int64_t)c->counted);
	/* The column `used` has an index, which is written with every change that names it. */
	s = c->used_ms == c->saved_used_ms ? weir_store_stmt(c->st, "UPDATE contents SET complete=?, base_size=?, size=?, counted=? WHERE num=?") :
	    weir_store_stmt(c->st, "UPDATE contents SET complete=?, base_size=?, size=?, counted=?, used=?6 WHERE num=?5");
	sqlite3_bind_int(s, 1, c->is_complete);
	sqlite3_bind_int64(s, 2, (int64_t)c->base_size);
	sqlite3_bind_int64(s, 3, (int64_t)c->size);
	sqlite3_bind_int64(s, 4, (int64_t)c->counted);
	sqlite3_bind_int64(s, 5, (int64_t)c->num);
	if (c->used_ms != c->saved_used_ms)
		sqlite3_bind_int64(s, 6, c->used_ms);
	if ((r = weir_store_step_done(c->st, s, err)))
		return r;
	c->saved_used_ms = c->used_ms;
	c->is_row_dirty = false;
	return WEIR_OK;
}

bool
weir_content_check_complete(struct weir_content *c)
{
	uint64_t n = (c->base_size + WEIR_PAGE - 1) / WEIR_PAGE;

	if (c->is_complete)
		return true;
	for (uint64_t i = 0; i < n; i++)
		if (weir_content_page(c, i)->state == WEIR_PAGE_ABSENT)
			return false;
	c->is_complete = true;
	c->is_row_dirty = true;
	return true;
}

/* ---- opening for change ---- */

static bool
must_open(const struct weir_page *p)
{
	return p->state == WEIR_PAGE_CLEAN || p->state == WEIR_PAGE_CHANGED || p->state == WEIR_PAGE_HOLE;
}

bool
weir_content_needs_open(struct weir_content *c, uint64_t off, uint64_t len)
{
	if (!len)
		return false;
	for (uint64_t i = off / WEIR_PAGE; i <= (off + len - 1) / WEIR_PAGE; i++) {
		const struct weir_page *p = weir_content_page(c, i);

		if (must_open(p) || p->state == WEIR_PAGE_ABSENT)
			return true;
	}
	return false;
}

void
weir_content_open_pages(struct weir_content *c, uint64_t off, uint64_t len)
{
	if (!len)
		return;
	for (uint64_t i = off / WEIR_PAGE; i <= (off + len - 1) / WEIR_PAGE; i++) {
		const struct weir_page *p = weir_content_page(c, i);
		uint64_t start = i * WEIR_PAGE, end = start + WEIR_PAGE;

		if (end > c->size && c->size > start)
			end = c->size;
		if (must_open(p) || (p->state == WEIR_PAGE_ABSENT && off <= start && off + len >= end))
			weir_content_page_set(c, i, WEIR_PAGE_OPEN, 0);
	}
}

/* ---- sealing ---- */

struct seal_step {
	uint64_t index;
	uint32_t wgen;
	size_t bytes;
};

/* Pages the file system holds nothing of are zeros; no need to read them. */
static bool
is_hole_on_disk(struct weir_content *c, uint64_t index, size_t bytes)
{
	off_t at = (off_t)(index * WEIR_PAGE), data = lseek(c->fd, at, SEEK_DATA);

	return (data < 0 && errno == ENXIO) || (data >= 0 && data >= at + (off_t)bytes);
}

static bool
seal_next(struct weir_content *c, uint64_t *next, struct seal_step *step)
{
	uint64_t end = weir_content_npages(c);

	for (; *next < end; (*next)++) {
		struct weir_page *p = weir_content_page(c, *next);

		if (p->state != WEIR_PAGE_OPEN || p->inflight)
			continue;
		*step = (struct seal_step){ *next, p->wgen, weir_content_page_bytes(c, *next) };
		return true;
	}
	return false;
}

static enum weir_code
seal_commit(struct weir_content *c, struct weir_err *err)
{
	enum weir_code r;

	if (c->is_unlinked)
		return WEIR_OK;
	if ((r = weir_store_begin(c->st, err)))
		return r;
	if ((r = weir_content_save(c, err))) {
		weir_store_rollback(c->st);
		return r;
	}
	return weir_store_commit(c->st, err);
}

enum weir_code
weir_content_seal(struct weir_content *c, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) unsigned char *buf = malloc(WEIR_PAGE);
	struct weir_store *st = c->st;
	struct seal_step step;
	enum weir_code r = WEIR_OK;
	uint64_t next = 0, sealed = 0;

	if (!buf)
		return weir_err_set(err, WEIR_E_NOMEM, "cannot seal");
	weir_store_lock(st);
	while (!r && seal_next(c, &next, &step)) {
		struct weir_page *p;
		ssize_t got = (ssize_t)step.bytes;
		bool hole;

		weir_store_unlock(st);
		hole = is_hole_on_disk(c, step.index, step.bytes);
		if (!hole)
			got = weir_pread_full(c->fd, buf, step.bytes, (off_t)(step.index * WEIR_PAGE));
		weir_store_lock(st);
		p = weir_content_page(c, step.index);
		next = step.index + 1;
		if (p->state != WEIR_PAGE_OPEN || p->inflight || p->wgen != step.wgen || weir_content_page_bytes(c, step.index) != step.bytes)
			continue; /* somebody wrote meanwhile: it stays OPEN */
		if (got != (ssize_t)step.bytes) {
			r = weir_err_set(err, WEIR_E_IO, "cache '%s': cannot read content %llu", st->dir, (unsigned long long)c->num);
			break;
		}
		weir_content_page_set(c, step.index, hole ? WEIR_PAGE_HOLE : WEIR_PAGE_CHANGED, hole ? 0 : weir_page_hash(buf, step.bytes));
		p->flags |= WEIR_P_VERIFIED;
		if (++sealed % (4 * WEIR_ROW_PAGES) == 0)
			r = seal_commit(c, err);
	}
	weir_store_unlock(st);
	return r;
}

/* ---- verifying ---- */

static void
quarantine(struct weir_content *c, uint64_t index, const void *buf, size_t len)
{
	char name[96], text[320];
	int fd;

	snprintf(name, sizeof(name), "quarantine/%llu-%llu", (unsigned long long)c->num, (unsigned long long)index);
	fd = openat(c->st->dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd >= 0) {
		weir_pwrite_full(fd, buf, len, 0);
		close(fd);
	}
	snprintf(text, sizeof(text), "page %llu of unsent content does not match its checksum; a copy is in %s of the cache; settle it with weir verify",
	    (unsigned long long)index, name);
	weir_report_add(c->st, "quarantine", "", text, NULL);
}

/* Lock held; the page is still what was hashed. */
static enum weir_code
verify_bad(struct weir_content *c, struct weir_page *p, uint64_t index, const void *buf, size_t len, bool *dropped, struct weir_err *err)
{
	if (p->state == WEIR_PAGE_CLEAN) {
		weir_log(WEIR_LOG_WARN, "cache '%s': page %llu of content %llu was damaged on disk; it is fetched again", c->st->dir,
		    (unsigned long long)index, (unsigned long long)c->num);
		weir_content_page_set(c, index, WEIR_PAGE_ABSENT, 0);
		c->is_complete = false;
		*dropped = true;
		return WEIR_OK;
	}
	if (c->is_suspect) {
		weir_report_add(c->st, "powercut", "", "a page written just before the power went does not match its checksum; it is kept as it is", NULL);
		weir_content_page_set(c, index, WEIR_PAGE_OPEN, 0);
		return WEIR_OK;
	}
	p->flags |= WEIR_P_BAD;
	quarantine(c, index, buf, len);
	return weir_err_set(err, WEIR_E_IO, "an unsent page in the cache is damaged; see weir verify");
}

enum weir_code
weir_content_verify(struct weir_content *c, uint64_t first, uint64_t last, bool *dropped, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) unsigned char *buf = malloc(WEIR_PAGE);
	enum weir_code r = WEIR_OK;

	*dropped = false;
	if (!buf)
		return weir_err_set(err, WEIR_E_NOMEM, "cannot verify");
	weir_store_lock(c->st);
	for (uint64_t i = first; !r && i <= last && i < weir_content_npages(c); i++) {
		struct weir_page *p = weir_content_page(c, i);
		struct weir_page was = *p;
		size_t bytes = weir_content_page_bytes(c, i);
		bool match;

		if (p->flags & WEIR_P_BAD) {
			r = weir_err_set(err, WEIR_E_IO, "an unsent page in the cache is damaged; see weir verify");
			break;
		}
		if ((was.state != WEIR_PAGE_CLEAN && was.state != WEIR_PAGE_CHANGED) || (was.flags & WEIR_P_VERIFIED))
			continue;
		weir_store_unlock(c->st);
		match = weir_pread_full(c->fd, buf, bytes, (off_t)(i * WEIR_PAGE)) == (ssize_t)bytes && weir_page_hash(buf, bytes) == was.hash;
		weir_store_lock(c->st);
		p = weir_content_page(c, i);
		if (p->state != was.state || p->hash != was.hash || weir_content_page_bytes(c, i) != bytes)
			continue; /* written to meanwhile */
		if (match)
			p->flags |= WEIR_P_VERIFIED;
		else
			r = verify_bad(c, p, i, buf, bytes, dropped, err);
	}
	weir_store_unlock(c->st);
	return r;
}

/* ---- the frozen version ---- */

enum weir_code
weir_content_freeze(struct weir_content *c, struct weir_err *err)
{
	struct weir_frozen *f;

	if (c->frozen || c->writing)
		return weir_err_set(err, WEIR_E_BUSY, "is being written");
	f = weir_xcalloc(1, sizeof(*f));
	f->size = c->size;
	f->fd = -1;
	f->npages = weir_content_npages(c);
	f->aside = calloc(f->npages + 1, 1);
	if (!f->aside) {
		free(f);
		return weir_err_set(err, WEIR_E_NOMEM, "cannot freeze");
	}
	c->frozen = f;
	return WEIR_OK;
}

void
weir_content_unfreeze(struct weir_content *c)
{
	struct weir_frozen *f = c->frozen;

	if (!f)
		return;
	c->frozen = NULL;
	if (f->fd >= 0)
		close(f->fd);
	free(f->aside);
	free(f);
}

/* The file is unlinked at once: what was set aside is worth nothing after a crash, the upload starts again from what is there. */
static int
aside_open(struct weir_content *c)
{
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "quarantine/aside-%llu", (unsigned long long)c->num);
	fd = openat(c->st->dirfd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd >= 0)
		unlinkat(c->st->dirfd, name, 0);
	return fd;
}

void
weir_content_aside(struct weir_content *c, uint64_t off, uint64_t len)
{
	struct weir_frozen *f = c->frozen;
	uint64_t last;
	char *buf;

	if (!f || f->is_torn || off >= f->size || !len)
		return;
	last = len > f->size - off ? f->npages - 1 : (off + len - 1) / WEIR_PAGE;
	buf = malloc(WEIR_PAGE);
	if (f->fd < 0)
		f->fd = aside_open(c);
	for (uint64_t i = off / WEIR_PAGE; i <= last; i++) {
		off_t at = (off_t)(i * WEIR_PAGE);
		ssize_t n;

		if (f->aside[i])
			continue;
		n = buf && f->fd >= 0 ? weir_pread_full(c->fd, buf, WEIR_PAGE, at) : -1;
		if (n < 0 || weir_pwrite_full(f->fd, buf, (size_t)n, at)) {
			f->is_torn = true;
			break;
		}
		f->aside[i] = 1;
	}
	free(buf);
}

ssize_t
weir_content_read_frozen(struct weir_content *c, void *buf, size_t len, uint64_t off)
{
	struct weir_frozen *f = c->frozen;
	size_t done = 0;

	if (off >= f->size)
		return 0;
	if (len > f->size - off)
		len = (size_t)(f->size - off);
	while (done < len) {
		uint64_t i = (off + done) / WEIR_PAGE;
		size_t in = (size_t)((off + done) % WEIR_PAGE), n = WEIR_PAGE - in < len - done ? WEIR_PAGE - in : len - done;
		bool was_aside, torn;
		ssize_t got;

		weir_store_lock(c->st);
		was_aside = f->aside[i];
		torn = f->is_torn;
		weir_store_unlock(c->st);
		if (torn) {
			errno = EAGAIN;
			return -1;
		}
		got = weir_pread_full(was_aside ? f->fd : c->fd, (char *)buf + done, n, (off_t)(off + done));
		if (!was_aside) {
			weir_store_lock(c->st);
			was_aside = f->aside[i];
			weir_store_unlock(c->st);
			if (was_aside)
				continue; /* overwritten while we read: the copy has it whole */
		}
		if (got != (ssize_t)n) {
			if (got >= 0)
				errno = EIO;
			return -1;
		}
		done += n;
	}
	return (ssize_t)done;
}
