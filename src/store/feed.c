/* SPDX-License-Identifier: Apache-2.0 */
/* What the watch keeps on disk: each remote's place in its change feed, and the directories that have to be looked at again. Both change in one
 * transaction, so that no piece of news is lost between the storage's "told" and our "looked". */
#include "config.h"

#include "store.h"

char *
weir_feed_cursor(struct weir_store *st, uint64_t remote)
{
	sqlite3_stmt *s = weir_store_stmt(st, "SELECT cursor FROM remotes WHERE id=? AND cursor<>''");
	char *out = NULL;

	sqlite3_bind_int64(s, 1, (int64_t)remote);
	if (sqlite3_step(s) == SQLITE_ROW)
		out = weir_xstrdup((const char *)sqlite3_column_text(s, 0));
	sqlite3_reset(s);
	return out;
}

enum weir_code
weir_feed_cursor_set(struct weir_store *st, uint64_t remote, const char *cursor, struct weir_err *err)
{
	sqlite3_stmt *s = weir_store_stmt(st, "UPDATE remotes SET cursor=? WHERE id=?");

	sqlite3_bind_text(s, 1, cursor ? cursor : "", -1, SQLITE_STATIC);
	sqlite3_bind_int64(s, 2, (int64_t)remote);
	return weir_store_step_done(st, s, err);
}

enum weir_code
weir_again_put(struct weir_store *st, uint64_t dir, uint64_t remote, int64_t due_ms, struct weir_err *err)
{
	sqlite3_stmt *s = weir_store_stmt(st, "INSERT INTO again VALUES(?1,?2,?3) ON CONFLICT(node) DO UPDATE SET due=?3");

	sqlite3_bind_int64(s, 1, (int64_t)dir);
	sqlite3_bind_int64(s, 2, (int64_t)remote);
	sqlite3_bind_int64(s, 3, due_ms);
	return weir_store_step_done(st, s, err);
}

enum weir_code
weir_again_drop(struct weir_store *st, uint64_t dir, struct weir_err *err)
{
	sqlite3_stmt *s = weir_store_stmt(st, "DELETE FROM again WHERE node=?");

	sqlite3_bind_int64(s, 1, (int64_t)dir);
	return weir_store_step_done(st, s, err);
}

/* listed=1: whoever asks before the watch has come by waits for the listing. */
enum weir_code
weir_again_all(struct weir_store *st, uint64_t remote, struct weir_err *err)
{
	sqlite3_stmt *s = weir_store_stmt(st, "INSERT OR IGNORE INTO again SELECT id, remote, 0 FROM nodes WHERE remote=? AND type=2 AND listed>0");
	enum weir_code r;

	sqlite3_bind_int64(s, 1, (int64_t)remote);
	if ((r = weir_store_step_done(st, s, err)))
		return r;
	s = weir_store_stmt(st, "UPDATE nodes SET listed=1 WHERE remote=? AND type=2 AND listed>1");
	sqlite3_bind_int64(s, 1, (int64_t)remote);
	return weir_store_step_done(st, s, err);
}

size_t
weir_again_due(struct weir_store *st, uint64_t remote, int64_t now_ms, uint64_t *dirs, size_t max, int64_t *next_ms)
{
	sqlite3_stmt *s = weir_store_stmt(st, "SELECT node, due FROM again WHERE remote=? ORDER BY due LIMIT ?");
	size_t n = 0;

	*next_ms = INT64_MAX;
	sqlite3_bind_int64(s, 1, (int64_t)remote);
	sqlite3_bind_int64(s, 2, (int64_t)max + 1);
	while (n < max && sqlite3_step(s) == SQLITE_ROW) {
		if (sqlite3_column_int64(s, 1) > now_ms) {
			*next_ms = sqlite3_column_int64(s, 1);
			break;
		}
		dirs[n++] = (uint64_t)sqlite3_column_int64(s, 0);
	}
	if (n == max)
		*next_ms = now_ms;
	sqlite3_reset(s);
	return n;
}

size_t
weir_nodes_by_rid(struct weir_store *st, uint64_t remote, const char *rid, uint64_t *ids, size_t max)
{
	sqlite3_stmt *s = weir_store_stmt(st, "SELECT id FROM nodes WHERE remote=?1 AND rid=?2 AND rid<>'' AND (rparent IS NOT NULL OR (flags & 8)) LIMIT ?3");
	size_t n = 0;

	sqlite3_bind_int64(s, 1, (int64_t)remote);
	sqlite3_bind_text(s, 2, rid, -1, SQLITE_STATIC);
	sqlite3_bind_int64(s, 3, (int64_t)max);
	while (n < max && sqlite3_step(s) == SQLITE_ROW)
		ids[n++] = (uint64_t)sqlite3_column_int64(s, 0);
	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
	return n;
}
