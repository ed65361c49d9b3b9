/* SPDX-License-Identifier: Apache-2.0 */
/* The promises of store/: what survives a restart, what a damaged byte does, what an upload sees while people write on, and that the sums
 * are exact. Networks are not known here. */
#include "config.h"

#include <CUnit/Basic.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/store/content.h"
#include "../../src/store/store.h"
#include "../../src/util/text.h"

#define PAGE ((uint64_t)WEIR_PAGE)

static char top[64], cache[96];
static unsigned round_no;
static struct weir_store *st;
static struct weir_err err;
static uint64_t remote, root;

/* ---- the stage ---- */

static void
store_open(bool is_first)
{
	struct weir_store_options o = { .dir = cache, .cache_bytes = 1 << 30, .is_first = is_first };
	uint64_t aside;

	if (weir_store_open(&o, &st, &err))
		fprintf(stderr, "# %s\n", weir_err_text(&err, WEIR_E_IO));
	CU_ASSERT_PTR_NOT_NULL_FATAL(st);
	weir_store_lock(st);
	CU_ASSERT_FATAL(weir_remote_row(st, "r", "fp", &remote, &root, &aside, &err) == WEIR_OK);
	weir_store_unlock(st);
}

static void
store_close(void)
{
	weir_store_close(st);
	st = NULL;
}

static void
store_again(bool is_first)
{
	store_close();
	store_open(is_first);
}

/* Every test has a cache of its own. */
static void
fresh(void)
{
	snprintf(cache, sizeof(cache), "%s/c%u", top, ++round_no);
	store_open(true);
}

static void
begin(void)
{
	CU_ASSERT_FATAL(weir_store_begin(st, &err) == WEIR_OK);
}

static void
commit(void)
{
	CU_ASSERT_FATAL(weir_store_commit(st, &err) == WEIR_OK);
}

static struct weir_node
node_new(const char *name, uint32_t flags)
{
	struct weir_node n = { .type = WEIR_FILE, .mode = 0644, .flags = flags };

	n.remote = remote;
	n.parent = root;
	snprintf(n.name, sizeof(n.name), "%s", name);
	CU_ASSERT_FATAL(weir_node_insert(st, &n, &err) == WEIR_OK);
	return n;
}

/* A file of `size` bytes; born here and unsent, or of a remote. Its reference is the caller's; the lock is held. */
static struct weir_content *
content_new(const char *name, bool is_born, uint64_t size, struct weir_node *n)
{
	struct weir_content *c = NULL;

	begin();
	*n = node_new(name, is_born ? WEIR_N_CONTENT : 0);
	n->size = size;
	CU_ASSERT_FATAL(weir_content_new(st, n, is_born, size, &c, &err) == WEIR_OK);
	CU_ASSERT_FATAL(weir_node_update(st, n, &err) == WEIR_OK);
	commit();
	return c;
}

static struct weir_content *
content_of(const char *name, struct weir_node *n)
{
	struct weir_content *c = NULL;

	CU_ASSERT_FATAL(weir_node_child(st, root, name, n) == WEIR_OK);
	CU_ASSERT_FATAL(weir_content_get(st, n, &c, &err) == WEIR_OK && c);
	return c;
}

static void
save(struct weir_content *c)
{
	begin();
	CU_ASSERT_FATAL(weir_content_save(c, &err) == WEIR_OK);
	commit();
}

/* n bytes of a pattern that differs from page to page. */
static void
fill(unsigned char *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (unsigned char)(seed * 37 + i * 11 + (i >> 8));
}

static void
page_put(struct weir_content *c, uint64_t index, unsigned seed)
{
	static unsigned char buf[WEIR_PAGE];
	size_t n = weir_content_page_bytes(c, index);

	fill(buf, n, seed);
	CU_ASSERT_FATAL(pwrite(c->fd, buf, n, (off_t)(index * PAGE)) == (ssize_t)n);
}

static bool
page_is(const unsigned char *got, size_t n, unsigned seed)
{
	static unsigned char want[WEIR_PAGE];

	fill(want, n, seed);
	return memcmp(got, want, n) == 0;
}

static void
page_clean(struct weir_content *c, uint64_t index, unsigned seed)
{
	static unsigned char buf[WEIR_PAGE];
	size_t n = weir_content_page_bytes(c, index);

	page_put(c, index, seed);
	fill(buf, n, seed);
	weir_content_page_set(c, index, WEIR_PAGE_CLEAN, weir_page_hash(buf, n));
}

static unsigned
state_of(struct weir_content *c, uint64_t index)
{
	return weir_content_page(c, index)->state;
}

static void
resize(struct weir_content *c, uint64_t size)
{
	begin();
	CU_ASSERT_FATAL(weir_content_resize(c, size, &err) == WEIR_OK);
	commit();
}

static enum weir_code
seal(struct weir_content *c)
{
	enum weir_code r;

	weir_store_unlock(st);
	r = weir_content_seal(c, &err);
	weir_store_lock(st);
	begin();
	CU_ASSERT(weir_content_save(c, &err) == WEIR_OK);
	commit();
	return r;
}

static enum weir_code
verify(struct weir_content *c, bool *dropped)
{
	enum weir_code r;

	weir_store_unlock(st);
	r = weir_content_verify(c, 0, UINT64_MAX, dropped, &err);
	weir_store_lock(st);
	return r;
}

/* One bit of the content's file changes while nobody looks. */
static void
flip(uint64_t num, off_t at)
{
	char path[160];
	unsigned char b;
	int fd;

	snprintf(path, sizeof(path), "%s/content/%06llu/%03llu", cache, (unsigned long long)num / 1000, (unsigned long long)num % 1000);
	fd = open(path, O_RDWR);
	CU_ASSERT_FATAL(fd >= 0 && pread(fd, &b, 1, at) == 1);
	b ^= 4;
	CU_ASSERT_FATAL(pwrite(fd, &b, 1, at) == 1);
	close(fd);
}

static sqlite3 *
raw_open(void)
{
	char path[160];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/meta.db", cache);
	CU_ASSERT_FATAL(sqlite3_open(path, &db) == SQLITE_OK);
	return db;
}

static void
raw(const char *sql)
{
	sqlite3 *db = raw_open();
	char *why = NULL;

	if (sqlite3_exec(db, sql, NULL, NULL, &why) != SQLITE_OK)
		fprintf(stderr, "# %s\n", why);
	CU_ASSERT_PTR_NULL_FATAL(why);
	sqlite3_close(db);
}

static int64_t
raw_number(const char *sql)
{
	sqlite3 *db = raw_open();
	sqlite3_stmt *s;
	int64_t v;

	CU_ASSERT_FATAL(sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW);
	v = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	sqlite3_close(db);
	return v;
}

/* ---- pages ---- */

static void
sealed_pages_survive_a_restart(void)
{
	struct weir_node n;
	struct weir_content *c;
	bool dropped;
	unsigned char buf[100];

	fresh();
	weir_store_lock(st);
	c = content_new("f", true, 3 * PAGE + 100, &n);
	CU_ASSERT_EQUAL(state_of(c, 0), WEIR_PAGE_OPEN);
	page_put(c, 0, 1);
	page_put(c, 1, 2);
	page_put(c, 3, 4); /* page 2 stays a hole of the file */
	CU_ASSERT_EQUAL(seal(c), WEIR_OK);
	CU_ASSERT_EQUAL(state_of(c, 1), WEIR_PAGE_CHANGED);
	CU_ASSERT_EQUAL(state_of(c, 2), WEIR_PAGE_HOLE);
	weir_content_put(c);
	weir_store_unlock(st);
	store_again(false);
	weir_store_lock(st);
	c = content_of("f", &n);
	CU_ASSERT(c->is_born && c->is_dirty && c->size == 3 * PAGE + 100);
	CU_ASSERT_EQUAL(state_of(c, 0), WEIR_PAGE_CHANGED);
	CU_ASSERT_EQUAL(state_of(c, 2), WEIR_PAGE_HOLE);
	CU_ASSERT_EQUAL(state_of(c, 3), WEIR_PAGE_CHANGED);
	CU_ASSERT_EQUAL(verify(c, &dropped), WEIR_OK);
	CU_ASSERT_FALSE(dropped);
	CU_ASSERT(pread(c->fd, buf, 100, (off_t)(3 * PAGE)) == 100 && page_is(buf, 100, 4));
	weir_content_put(c);
	weir_store_unlock(st);
	store_close();
}

static void
pages_of_a_remote_version(void)
{
	struct weir_node n;
	struct weir_content *c;

	fresh();
	weir_store_lock(st);
	c = content_new("f", false, 2 * PAGE + 7, &n);
	CU_ASSERT_EQUAL(state_of(c, 0), WEIR_PAGE_ABSENT);
	CU_ASSERT_FALSE(weir_content_check_complete(c));
	page_clean(c, 0, 1);
	page_clean(c, 2, 3);
	save(c);
	weir_content_put(c);
	weir_store_unlock(st);
	store_again(false);
	weir_store_lock(st);
	c = content_of("f", &n);
	CU_ASSERT_EQUAL(state_of(c, 0), WEIR_PAGE_CLEAN);
	CU_ASSERT_EQUAL(state_of(c, 1), WEIR_PAGE_ABSENT);
	CU_ASSERT_EQUAL(state_of(c, 2), WEIR_PAGE_CLEAN);
	CU_ASSERT_FALSE(weir_content_check_complete(c));
	/* A page wholly covered by a write needs no fetch; a partly covered one does. */
	CU_ASSERT(weir_content_needs_open(c, PAGE, PAGE));
	weir_content_open_pages(c, PAGE + 1, PAGE - 1);
	CU_ASSERT_EQUAL(state_of(c, 1), WEIR_PAGE_ABSENT);
	weir_content_open_pages(c, PAGE, PAGE);
	CU_ASSERT_EQUAL(state_of(c, 1), WEIR_PAGE_OPEN);
	CU_ASSERT(weir_content_check_complete(c));
	/* What lies beyond the remote's end is zeros that nobody wrote. */
	weir_content_open_pages(c, 2 * PAGE, 7);
	resize(c, 5 * PAGE);
	CU_ASSERT_EQUAL(state_of(c, 3), WEIR_PAGE_HOLE);
	resize(c, PAGE);
	resize(c, 3 * PAGE);
	CU_ASSERT_EQUAL(state_of(c, 0), WEIR_PAGE_CLEAN);
	CU_ASSERT_EQUAL(state_of(c, 1), WEIR_PAGE_HOLE);
	CU_ASSERT_EQUAL(state_of(c, 2), WEIR_PAGE_HOLE);
	weir_content_put(c);
	weir_store_unlock(st);
	store_close();
}

static void
a_damaged_clean_page_is_fetched_again(void)
{
	struct weir_node n;
	struct weir_content *c;
	bool dropped;

	fresh();
	weir_store_lock(st);
	c = content_new("f", false, 2 * PAGE, &n);
	page_clean(c, 0, 1);
	page_clean(c, 1, 2);
	CU_ASSERT(weir_content_check_complete(c));
	save(c);
	weir_content_put(c);
	weir_store_unlock(st);
	store_close();
	flip(n.content, 200000);
	store_open(false);
	weir_store_lock(st);
	c = content_of("f", &n);
	CU_ASSERT(c->is_complete);
	CU_ASSERT_EQUAL(verify(c, &dropped), WEIR_OK);
	CU_ASSERT(dropped && !c->is_complete);
	CU_ASSERT_EQUAL(state_of(c, 0), WEIR_PAGE_CLEAN);
	CU_ASSERT_EQUAL(state_of(c, 1), WEIR_PAGE_ABSENT);
	CU_ASSERT_EQUAL(weir_report_count(st, "quarantine"), 0);
	weir_content_put(c);
	weir_store_unlock(st);
	store_close();
}

static void
a_damaged_changed_page_is_kept_back(void)
{
	struct weir_node n;
	struct weir_content *c;
	char path[160];
	struct stat sb;
	bool dropped;

	fresh();
	weir_store_lock(st);
	c = content_new("f", true, 2 * PAGE, &n);
	page_put(c, 0, 1);
	page_put(c, 1, 2);
	CU_ASSERT_EQUAL(seal(c), WEIR_OK);
	weir_content_put(c);
	weir_store_unlock(st);
	store_close();
	flip(n.content, 5);
	store_open(false);
	weir_store_lock(st);
	c = content_of("f", &n);
	CU_ASSERT_EQUAL(verify(c, &dropped), WEIR_E_IO);
	CU_ASSERT_FALSE(dropped);
	CU_ASSERT_EQUAL(state_of(c, 0), WEIR_PAGE_CHANGED);
	CU_ASSERT(weir_content_page(c, 0)->flags & WEIR_P_BAD);
	CU_ASSERT_EQUAL(verify(c, &dropped), WEIR_E_IO);
	CU_ASSERT_EQUAL(weir_report_count(st, "quarantine"), 1);
	snprintf(path, sizeof(path), "%s/quarantine/%llu-0", cache, (unsigned long long)n.content);
	CU_ASSERT(stat(path, &sb) == 0 && sb.st_size == (off_t)PAGE);
	/* Whoever settles it (or overwrites it) makes it good again. */
	weir_content_open_pages(c, 0, PAGE);
	CU_ASSERT_EQUAL(seal(c), WEIR_OK);
	CU_ASSERT_EQUAL(verify(c, &dropped), WEIR_OK);
	weir_content_put(c);
	weir_store_unlock(st);
	store_close();
}

static ssize_t
frozen_page(struct weir_content *c, unsigned char *buf, uint64_t index)
{
	ssize_t n;

	weir_store_unlock(st);
	n = weir_content_read_frozen(c, buf, WEIR_PAGE, index * PAGE);
	weir_store_lock(st);
	return n;
}

static void
a_frozen_version_stays(void)
{
	unsigned char *buf = malloc(WEIR_PAGE);
	struct weir_node n;
	struct weir_content *c;

	fresh();
	weir_store_lock(st);
	c = content_new("f", true, 3 * PAGE + 50, &n);
	for (unsigned i = 0; i < 4; i++)
		page_put(c, i, i + 1);
	CU_ASSERT_EQUAL(weir_content_freeze(c, &err), WEIR_OK);
	CU_ASSERT_EQUAL(weir_content_freeze(c, &err), WEIR_E_BUSY);
	weir_content_aside(c, PAGE + 5, 10);
	page_put(c, 1, 99);
	weir_content_aside(c, PAGE, 10); /* the second write must not copy the first one's bytes */
	resize(c, 10);
	resize(c, 6 * PAGE);
	page_put(c, 3, 77);
	for (unsigned i = 0; i < 3; i++)
		CU_ASSERT(frozen_page(c, buf, i) == (ssize_t)PAGE && page_is(buf, WEIR_PAGE, i + 1));
	CU_ASSERT(frozen_page(c, buf, 3) == 50 && page_is(buf, 50, 4));
	CU_ASSERT_EQUAL(frozen_page(c, buf, 4), 0);
	weir_content_unfreeze(c);
	CU_ASSERT_PTR_NULL(c->frozen);
	c->writing = 1;
	CU_ASSERT_EQUAL(weir_content_freeze(c, &err), WEIR_E_BUSY);
	c->writing = 0;
	weir_content_put(c);
	weir_store_unlock(st);
	store_close();
	free(buf);
}

static void
lengths_change_before_the_table_is_loaded(void)
{
	struct weir_node n;
	struct weir_content *c;

	fresh();
	weir_store_lock(st);
	c = content_new("small", true, 2 * PAGE, &n);
	page_put(c, 0, 1);
	CU_ASSERT_EQUAL(seal(c), WEIR_OK);
	weir_content_put(c);
	c = content_new("large", true, 1200 * PAGE, &n);
	page_put(c, 1100, 1);
	CU_ASSERT_EQUAL(seal(c), WEIR_OK);
	weir_content_put(c);
	weir_store_unlock(st);
	store_again(false);
	weir_store_lock(st);
	c = content_of("small", &n);
	resize(c, PAGE);
	CU_ASSERT_EQUAL(state_of(c, 0), WEIR_PAGE_CHANGED);
	weir_content_put(c);
	c = content_of("large", &n);
	CU_ASSERT_EQUAL(state_of(c, 0), WEIR_PAGE_HOLE);
	resize(c, PAGE);
	resize(c, 1200 * PAGE);
	CU_ASSERT_EQUAL(state_of(c, 1100), WEIR_PAGE_OPEN);
	CU_ASSERT(c->counted < PAGE);
	weir_content_put(c);
	weir_store_unlock(st);
	store_close();
}

static void
growth_that_no_row_knew_is_kept(void)
{
	struct weir_node n;
	struct weir_content *c;

	fresh();
	weir_store_lock(st);
	c = content_new("f", true, 0, &n);
	CU_ASSERT(pwrite(c->fd, "hello", 5, 0) == 5); /* and the process ends before any commit */
	weir_content_put(c);
	weir_store_unlock(st);
	store_again(false);
	weir_store_lock(st);
	c = content_of("f", &n);
	CU_ASSERT_EQUAL(n.size, 5);
	CU_ASSERT_EQUAL(state_of(c, 0), WEIR_PAGE_OPEN);
	weir_content_put(c);
	weir_store_unlock(st);
	store_close();
}

static bool
has_content(const char *name)
{
	struct weir_node n;

	CU_ASSERT_FATAL(weir_node_child(st, root, name, &n) == WEIR_OK);
	return n.content != 0;
}

static void
eviction_takes_the_oldest_clean_one(void)
{
	static const struct {
		const char *name;
		bool is_born;
	} files[] = { { "dirty", true }, { "old", false }, { "mid", false }, { "new", false } };
	struct weir_content *c, *held;
	struct weir_node n;

	fresh();
	weir_store_lock(st);
	for (unsigned i = 0; i < WEIR_LEN(files); i++) {
		c = content_new(files[i].name, files[i].is_born, 2 * PAGE, &n);
		for (unsigned p = 0; p < 2; p++)
			if (files[i].is_born)
				page_put(c, p, p);
			else
				page_clean(c, p, p);
		c->used_ms = 1000 + i;
		if (files[i].is_born)
			weir_content_page_set(c, 0, WEIR_PAGE_OPEN, 0);
		save(c);
		weir_content_put(c);
	}
	CU_ASSERT_EQUAL(st->cache_used, 8 * PAGE);
	CU_ASSERT_EQUAL(st->cache_dirty, 2 * PAGE);
	st->cache_max = 8 * PAGE;
	CU_ASSERT(weir_store_evict(st, 0));
	CU_ASSERT(has_content("old"));
	CU_ASSERT(weir_store_evict(st, 1));
	CU_ASSERT(!has_content("old") && has_content("mid") && has_content("new") && has_content("dirty"));
	held = content_of("mid", &n);
	CU_ASSERT(weir_store_evict(st, 3 * PAGE));
	CU_ASSERT(has_content("mid") && !has_content("new"));
	CU_ASSERT_FALSE(weir_store_evict(st, 7 * PAGE)); /* held and unsent ones stay */
	CU_ASSERT(has_content("mid") && has_content("dirty"));
	weir_content_put(held);
	CU_ASSERT_FALSE(weir_store_evict(st, 7 * PAGE));
	CU_ASSERT(!has_content("mid") && has_content("dirty"));
	CU_ASSERT_EQUAL(st->cache_used, 2 * PAGE);
	weir_store_unlock(st);
	store_again(false);
	CU_ASSERT_EQUAL(st->cache_used, 2 * PAGE);
	CU_ASSERT_EQUAL(st->cache_dirty, 2 * PAGE);
	store_close();
}

static void
a_failed_transaction_leaves_no_file(void)
{
	struct weir_node n, m;
	struct weir_content *c;
	char path[160];

	fresh();
	weir_store_lock(st);
	begin();
	n = node_new("f", 0);
	CU_ASSERT_FATAL(weir_content_new(st, &n, true, 10, &c, &err) == WEIR_OK);
	snprintf(path, sizeof(path), "%s/content/%06llu/%03llu", cache, (unsigned long long)n.content / 1000, (unsigned long long)n.content % 1000);
	CU_ASSERT_EQUAL(access(path, F_OK), 0);
	weir_store_rollback(st);
	weir_content_put(c);
	CU_ASSERT_NOT_EQUAL(access(path, F_OK), 0);
	CU_ASSERT_EQUAL(weir_node_child(st, root, "f", &m), WEIR_E_NOENT);
	/* And one that is dropped stays until the commit. */
	c = content_new("g", true, 10, &n);
	snprintf(path, sizeof(path), "%s/content/%06llu/%03llu", cache, (unsigned long long)n.content / 1000, (unsigned long long)n.content % 1000);
	begin();
	CU_ASSERT_EQUAL(weir_node_delete(st, n.id, &err), WEIR_OK);
	weir_store_rollback(st);
	CU_ASSERT_EQUAL(access(path, F_OK), 0);
	begin();
	CU_ASSERT_EQUAL(weir_node_delete(st, n.id, &err), WEIR_OK);
	commit();
	CU_ASSERT(pwrite(c->fd, "x", 1, 0) == 1); /* whoever has it open goes on */
	weir_content_put(c);
	CU_ASSERT_NOT_EQUAL(access(path, F_OK), 0);
	weir_store_unlock(st);
	store_close();
}

/* ---- rows ---- */

static bool
totals_are_exact(void)
{
	static const char scan[] = "SELECT coalesce(sum(CASE WHEN parent IS NOT NULL THEN size ELSE 0 END),0),"
	    " coalesce(sum(CASE WHEN rparent IS NOT NULL THEN rsize ELSE 0 END),0),"
	    " coalesce(sum(type=2 AND listed=0 AND (rparent IS NOT NULL OR (flags & 8)<>0)),0) FROM nodes WHERE remote=?";
	sqlite3_stmt *s = weir_store_stmt(st, scan);
	uint64_t local, there, unlisted;
	bool same;

	weir_remote_sums(st, remote, &local, &there, &unlisted);
	sqlite3_bind_int64(s, 1, (int64_t)remote);
	CU_ASSERT_FATAL(sqlite3_step(s) == SQLITE_ROW);
	same = (uint64_t)sqlite3_column_int64(s, 0) == local && (uint64_t)sqlite3_column_int64(s, 1) == there &&
	    (uint64_t)sqlite3_column_int64(s, 2) == unlisted;
	sqlite3_reset(s);
	return same;
}

static uint32_t
rnd(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 16);
}

static void
random_change(uint64_t *ids, size_t max)
{
	uint64_t *id = &ids[rnd() % max];
	struct weir_node n = { 0 };
	static unsigned serial;

	if (*id && rnd() % 4 == 0) {
		CU_ASSERT_FATAL(weir_node_delete(st, *id, &err) == WEIR_OK);
		*id = 0;
		return;
	}
	if (*id)
		CU_ASSERT_FATAL(weir_node_get(st, *id, &n) == WEIR_OK);
	n.remote = remote;
	n.type = rnd() % 3 ? WEIR_FILE : WEIR_DIR;
	n.size = rnd() % 1000;
	n.rsize = rnd() % 1000;
	n.listed_ms = rnd() % 2;
	n.parent = rnd() % 3 ? root : 0;
	n.rparent = rnd() % 3 ? root : 0;
	snprintf(n.name, sizeof(n.name), "n%u", ++serial);
	snprintf(n.rname, sizeof(n.rname), "n%u", serial);
	CU_ASSERT_FATAL((*id ? weir_node_update(st, &n, &err) : weir_node_insert(st, &n, &err)) == WEIR_OK);
	*id = n.id;
}

static void
sums_are_exact_after_anything(void)
{
	uint64_t ids[40] = { 0 }, was[40];
	unsigned wrong = 0;

	fresh();
	weir_store_lock(st);
	for (unsigned i = 0; i < 300; i++) {
		memcpy(was, ids, sizeof(ids));
		begin();
		for (unsigned k = rnd() % 8; k > 0; k--)
			random_change(ids, WEIR_LEN(ids));
		if (rnd() % 3 == 0) {
			weir_store_rollback(st);
			memcpy(ids, was, sizeof(ids));
		} else
			commit();
		wrong += !totals_are_exact();
	}
	CU_ASSERT_EQUAL(wrong, 0);
	weir_store_unlock(st);
	store_close();
}

static void
requests_are_answered_once(void)
{
	enum weir_code code;
	uint64_t node;

	fresh();
	weir_store_lock(st);
	begin();
	CU_ASSERT_EQUAL(weir_unique_record(st, 42, WEIR_E_EXIST, 7, &err), WEIR_OK);
	CU_ASSERT_EQUAL(weir_unique_record(st, 0, WEIR_OK, 7, &err), WEIR_OK); /* no number: nothing to keep */
	commit();
	begin();
	CU_ASSERT_EQUAL(weir_unique_record(st, 44, WEIR_OK, 8, &err), WEIR_OK);
	weir_store_rollback(st);
	CU_ASSERT_FALSE(weir_unique_find(st, 0, &code, &node));
	weir_store_unlock(st);
	store_again(false); /* the next worker of the same mount */
	weir_store_lock(st);
	CU_ASSERT(weir_unique_find(st, 42, &code, &node) && code == WEIR_E_EXIST && node == 7);
	CU_ASSERT_FALSE(weir_unique_find(st, 44, &code, &node));
	weir_store_unlock(st);
	store_again(true); /* another mount: its kernel counts from the start */
	weir_store_lock(st);
	CU_ASSERT_FALSE(weir_unique_find(st, 42, &code, &node));
	weir_store_unlock(st);
	store_close();
}

static int
journal_add(void *arg, const struct weir_journal_row *row)
{
	weir_buf_addf(arg, "%llu ", (unsigned long long)row->node);
	return 0;
}

static void
the_journal_keeps_its_order(void)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf b = WEIR_BUF(256);
	struct weir_journal_row row;
	uint64_t seq;

	fresh();
	weir_store_lock(st);
	begin();
	for (uint64_t i = 11; i <= 13; i++)
		CU_ASSERT_EQUAL(weir_journal_put(st, i, remote, 5, &err), WEIR_OK);
	CU_ASSERT(weir_journal_get(st, 11, &row));
	seq = row.seq;
	CU_ASSERT_EQUAL(weir_journal_fail(st, 11, 900, WEIR_E_DQUOT, "it is full", &err), WEIR_OK);
	CU_ASSERT(weir_journal_get(st, 11, &row) && row.attempts == 1 && row.due_ms == 900 && row.code == WEIR_E_DQUOT);
	CU_ASSERT_STRING_EQUAL(row.error, "it is full");
	CU_ASSERT_EQUAL(weir_journal_put(st, 11, remote, 77, &err), WEIR_OK);
	CU_ASSERT(weir_journal_get(st, 11, &row) && row.seq == seq && row.attempts == 0 && row.code == 0 && row.due_ms == 77 && !row.error[0]);
	CU_ASSERT_EQUAL(weir_journal_drop(st, 12, &err), WEIR_OK);
	CU_ASSERT_FALSE(weir_journal_get(st, 12, NULL));
	commit();
	CU_ASSERT_EQUAL(weir_journal_each(st, remote, journal_add, &b), WEIR_OK);
	CU_ASSERT_EQUAL(weir_journal_each(st, remote + 1, journal_add, &b), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(weir_buf_str(&b), "11 13 ");
	weir_store_unlock(st);
	store_again(false);
	weir_store_lock(st);
	CU_ASSERT(weir_journal_get(st, 11, &row) && row.due_ms == 0); /* a start tries all at once */
	weir_store_unlock(st);
	store_close();
}

static void
another_storage_under_the_same_name_is_set_aside(void)
{
	uint64_t id, r, aside;

	fresh();
	weir_store_lock(st);
	begin();
	CU_ASSERT_EQUAL(weir_journal_put(st, node_new("f", WEIR_N_CONTENT).id, remote, 0, &err), WEIR_OK);
	commit();
	CU_ASSERT_EQUAL(weir_remote_row(st, "r", "other", &id, &r, &aside, &err), WEIR_OK);
	CU_ASSERT(id != remote && r != root && aside == 1);
	CU_ASSERT_EQUAL(weir_remote_row(st, "r", "fp", &id, &r, &aside, &err), WEIR_OK);
	CU_ASSERT(id == remote && r == root && aside == 0);
	weir_store_unlock(st);
	store_close();
}

static void
what_may_have_arrived_is_remembered(void)
{
	struct weir_upload_row row = { .size = 5, .sum = "abc", .name = "f", .id = "" };
	struct weir_node n, d;

	fresh();
	weir_store_lock(st);
	begin();
	n = node_new("f", WEIR_N_CONTENT);
	row.node = n.id;
	row.dir = root;
	CU_ASSERT_EQUAL(weir_upload_put(st, &row, &err), WEIR_OK);
	CU_ASSERT_EQUAL(weir_upload_doubt(st, n.id, &err), WEIR_OK); /* still its place: nothing to doubt */
	CU_ASSERT_EQUAL(weir_node_remote_child(st, root, "f", &d), WEIR_E_NOENT);
	snprintf(n.name, sizeof(n.name), "g");
	CU_ASSERT_EQUAL(weir_node_update(st, &n, &err), WEIR_OK);
	CU_ASSERT_EQUAL(weir_upload_doubt(st, n.id, &err), WEIR_OK);
	commit();
	CU_ASSERT_EQUAL(weir_node_remote_child(st, root, "f", &d), WEIR_OK);
	CU_ASSERT(d.id != n.id && d.parent == 0 && (d.flags & WEIR_N_DOUBT));
	CU_ASSERT(weir_journal_get(st, d.id, NULL));
	CU_ASSERT(weir_upload_get(st, d.id, &row) && strcmp(row.sum, "abc") == 0);
	CU_ASSERT_FALSE(weir_upload_get(st, n.id, &row));
	weir_store_unlock(st);
	store_close();
}

/* ---- formats ---- */

static enum weir_code
open_fails(void)
{
	struct weir_store_options o = { .dir = cache, .cache_bytes = 1 << 30, .is_first = true };
	struct weir_store *other = NULL;
	enum weir_code r;

	err = (struct weir_err){ 0 };
	r = weir_store_open(&o, &other, &err);
	CU_ASSERT_PTR_NULL(other);
	return r;
}

static void
one_cache_has_one_owner(void)
{
	fresh();
	CU_ASSERT_EQUAL(open_fails(), WEIR_E_BUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(weir_err_text(&err, WEIR_E_BUSY), "in use by another weir"));
	store_close();
	store_open(false);
	store_close();
}

static void
a_newer_format_is_left_alone(void)
{
	fresh();
	store_close();
	raw("PRAGMA user_version=99");
	CU_ASSERT_EQUAL(open_fails(), WEIR_E_CONFIG);
	CU_ASSERT_PTR_NOT_NULL(strstr(weir_err_text(&err, WEIR_E_CONFIG), "newer weir (format 99"));
	CU_ASSERT_PTR_NOT_NULL(strstr(weir_err_text(&err, WEIR_E_CONFIG), "left alone"));
	CU_ASSERT_EQUAL(raw_number("PRAGMA user_version"), 99);
	CU_ASSERT_EQUAL(raw_number("SELECT count(*) FROM info WHERE key='clean' AND value='1'"), 1);
}

static void
a_strange_database_is_left_alone(void)
{
	fresh();
	store_close();
	raw("PRAGMA application_id=7; PRAGMA user_version=1");
	CU_ASSERT_EQUAL(open_fails(), WEIR_E_CONFIG);
	CU_ASSERT_PTR_NOT_NULL(strstr(weir_err_text(&err, WEIR_E_CONFIG), "is not weir's"));
	CU_ASSERT_EQUAL(raw_number("PRAGMA user_version"), 1);
}

static void
format_1_is_brought_forward(void)
{
	struct weir_upload_row row = { .size = 2 * PAGE, .part_bytes = 5, .id = "upload-1" };
	unsigned char *buf = malloc(WEIR_PAGE);
	struct weir_content *c;
	struct weir_node n;
	bool dropped;

	fresh();
	weir_store_lock(st);
	c = content_new("unsent", true, 2 * PAGE, &n);
	page_put(c, 0, 5);
	page_put(c, 1, 6);
	CU_ASSERT_EQUAL(seal(c), WEIR_OK);
	weir_content_put(c);
	begin();
	row.node = n.id;
	CU_ASSERT_EQUAL(weir_upload_put(st, &row, &err), WEIR_OK);
	CU_ASSERT_EQUAL(weir_journal_put(st, n.id, remote, 0, &err), WEIR_OK);
	commit();
	weir_store_unlock(st);
	store_close();
	raw("DROP TRIGGER nodes_added; DROP TRIGGER nodes_gone; DROP TRIGGER nodes_changed; DROP TABLE totals; DROP INDEX nodes_unlisted; DROP INDEX IF EXISTS journal_due;"
	    "ALTER TABLE uploads DROP COLUMN sum; ALTER TABLE uploads DROP COLUMN dir; ALTER TABLE uploads DROP COLUMN name;"
	    "DROP TABLE again; DROP INDEX nodes_rid; DROP INDEX nodes_bound; ALTER TABLE remotes DROP COLUMN cursor; PRAGMA user_version=1");
	store_open(true);
	CU_ASSERT_EQUAL(raw_number("PRAGMA user_version"), 3);
	CU_ASSERT_EQUAL(raw_number("SELECT count(*) FROM again") + raw_number("SELECT count(*) FROM remotes WHERE cursor<>''"), 0);
	weir_store_lock(st);
	CU_ASSERT(totals_are_exact());
	c = content_of("unsent", &n);
	CU_ASSERT_EQUAL(n.size, 2 * PAGE);
	CU_ASSERT_EQUAL(verify(c, &dropped), WEIR_OK);
	CU_ASSERT(pread(c->fd, buf, WEIR_PAGE, (off_t)PAGE) == (ssize_t)PAGE && page_is(buf, WEIR_PAGE, 6));
	CU_ASSERT(weir_journal_get(st, n.id, NULL));
	CU_ASSERT(weir_upload_get(st, n.id, &row) && strcmp(row.id, "upload-1") == 0 && row.dir == 0 && !row.sum[0] && row.part_bytes == 5);
	begin();
	n.size = 10;
	CU_ASSERT_EQUAL(weir_node_update(st, &n, &err), WEIR_OK);
	commit();
	CU_ASSERT(totals_are_exact());
	weir_content_put(c);
	weir_store_unlock(st);
	store_close();
	free(buf);
}

static int
suite_begin(void)
{
	weir_log_setup("t_store", false, WEIR_LOG_ERROR);
	snprintf(top, sizeof(top), "/tmp/weir-store-XXXXXX");
	return mkdtemp(top) ? 0 : -1;
}

static int
suite_end(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		execlp("rm", "rm", "-rf", top, (char *)NULL);
		_exit(127);
	}
	return 0;
}

int
main(void)
{
	CU_pSuite s;
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 99;
	s = CU_add_suite("store", suite_begin, suite_end);
	CU_ADD_TEST(s, sealed_pages_survive_a_restart);
	CU_ADD_TEST(s, pages_of_a_remote_version);
	CU_ADD_TEST(s, a_damaged_clean_page_is_fetched_again);
	CU_ADD_TEST(s, a_damaged_changed_page_is_kept_back);
	CU_ADD_TEST(s, a_frozen_version_stays);
	CU_ADD_TEST(s, lengths_change_before_the_table_is_loaded);
	CU_ADD_TEST(s, growth_that_no_row_knew_is_kept);
	CU_ADD_TEST(s, eviction_takes_the_oldest_clean_one);
	CU_ADD_TEST(s, a_failed_transaction_leaves_no_file);
	CU_ADD_TEST(s, sums_are_exact_after_anything);
	CU_ADD_TEST(s, requests_are_answered_once);
	CU_ADD_TEST(s, the_journal_keeps_its_order);
	CU_ADD_TEST(s, another_storage_under_the_same_name_is_set_aside);
	CU_ADD_TEST(s, what_may_have_arrived_is_remembered);
	CU_ADD_TEST(s, one_cache_has_one_owner);
	CU_ADD_TEST(s, a_newer_format_is_left_alone);
	CU_ADD_TEST(s, a_strange_database_is_left_alone);
	CU_ADD_TEST(s, format_1_is_brought_forward);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed ? 1 : 0;
}
