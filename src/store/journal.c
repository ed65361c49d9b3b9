/* SPDX-License-Identifier: Apache-2.0 */
/* The journal, uploads in parts, requests answered once only, reports. */
#include "config.h"

#include "store.h"

#include <stdio.h>
#include <string.h>

#define KEEP_UNIQUES 10000

/* ---- journal ---- */

enum weir_code
weir_journal_put(struct weir_store *st, uint64_t node, uint64_t remote, int64_t due_ms, struct weir_err *err)
{
	sqlite3_stmt *s = weir_store_stmt(st, "INSERT INTO journal(node, remote, due, attempts, code, error) VALUES(?1,?2,?3,0,0,NULL)"
	    " ON CONFLICT(node) DO UPDATE SET due=?3, attempts=0, code=0, error=NULL");

	sqlite3_bind_int64(s, 1, (int64_t)node);
	sqlite3_bind_int64(s, 2, (int64_t)remote);
	sqlite3_bind_int64(s, 3, due_ms);
	st->journal_puts++;
	return weir_store_step_done(st, s, err);
}

enum weir_code
weir_journal_fail(struct weir_store *st, uint64_t node, int64_t due_ms, enum weir_code code, const char *error, struct weir_err *err)
{
	sqlite3_stmt *s = weir_store_stmt(st, "UPDATE journal SET due=?2, attempts=attempts+1, code=?3, error=?4 WHERE node=?1");

	sqlite3_bind_int64(s, 1, (int64_t)node);
	sqlite3_bind_int64(s, 2, due_ms);
	sqlite3_bind_int(s, 3, (int)code);
	sqlite3_bind_text(s, 4, error, -1, SQLITE_TRANSIENT);
	return weir_store_step_done(st, s, err);
}

enum weir_code
weir_journal_drop(struct weir_store *st, uint64_t node, struct weir_err *err)
{
	sqlite3_stmt *s = weir_store_stmt(st, "DELETE FROM journal WHERE node=?");

	sqlite3_bind_int64(s, 1, (int64_t)node);
	return weir_store_step_done(st, s, err);
}

static void
journal_row(sqlite3_stmt *s, struct weir_journal_row *row)
{
	const char *e = (const char *)sqlite3_column_text(s, 6);

	row->seq = (uint64_t)sqlite3_column_int64(s, 0);
	row->node = (uint64_t)sqlite3_column_int64(s, 1);
	row->remote = (uint64_t)sqlite3_column_int64(s, 2);
	row->due_ms = sqlite3_column_int64(s, 3);
	row->attempts = (uint32_t)sqlite3_column_int64(s, 4);
	row->code = sqlite3_column_int(s, 5);
	snprintf(row->error, sizeof(row->error), "%s", e ? e : "");
}

bool
weir_journal_get(struct weir_store *st, uint64_t node, struct weir_journal_row *row)
{
	sqlite3_stmt *s = weir_store_stmt(st, "SELECT seq,node,remote,due,attempts,code,error FROM journal WHERE node=?");
	bool found;

	sqlite3_bind_int64(s, 1, (int64_t)node);
	found = sqlite3_step(s) == SQLITE_ROW;
	if (found && row)
		journal_row(s, row);
	sqlite3_reset(s);
	return found;
}

enum weir_code
weir_journal_each(struct weir_store *st, uint64_t remote, int (*fn)(void *, const struct weir_journal_row *), void *arg)
{
	static const char sql[] = "SELECT seq,node,remote,due,attempts,code,error FROM journal WHERE (?1=0 OR remote=?1) ORDER BY seq";
	struct weir_journal_row row;
	sqlite3_stmt *s = NULL;
	int rc;

	weir_store_read(st);
	if (sqlite3_prepare_v2(st->db, sql, -1, &s, NULL) != SQLITE_OK)
		return WEIR_E_IO;
	sqlite3_bind_int64(s, 1, (int64_t)remote);
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		journal_row(s, &row);
		if (fn(arg, &row))
			break;
	}
	sqlite3_finalize(s);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? WEIR_OK : WEIR_E_IO;
}

/* ---- uploads in parts ---- */

static void
text_into(sqlite3_stmt *s, int col, char *out, size_t max)
{
	const char *t = (const char *)sqlite3_column_text(s, col);

	snprintf(out, max, "%s", t ? t : "");
}

bool
weir_upload_get(struct weir_store *st, uint64_t node, struct weir_upload_row *row)
{
	sqlite3_stmt *s = weir_store_stmt(st, "SELECT node,content,wgen,size,part_bytes,id,sum,dir,name FROM uploads WHERE node=?");
	bool found;

	sqlite3_bind_int64(s, 1, (int64_t)node);
	found = sqlite3_step(s) == SQLITE_ROW;
	if (found) {
		row->node = node;
		row->content = (uint64_t)sqlite3_column_int64(s, 1);
		row->wgen = (uint64_t)sqlite3_column_int64(s, 2);
		row->size = (uint64_t)sqlite3_column_int64(s, 3);
		row->part_bytes = (uint64_t)sqlite3_column_int64(s, 4);
		text_into(s, 5, row->id, sizeof(row->id));
		text_into(s, 6, row->sum, sizeof(row->sum));
		row->dir = (uint64_t)sqlite3_column_int64(s, 7);
		text_into(s, 8, row->name, sizeof(row->name));
	}
	sqlite3_reset(s);
	return found;
}

enum weir_code
weir_upload_put(struct weir_store *st, const struct weir_upload_row *row, struct weir_err *err)
{
	sqlite3_stmt *s = weir_store_stmt(st, "INSERT OR REPLACE INTO uploads(node,content,wgen,size,part_bytes,id,sum,dir,name)"
	    " VALUES(?,?,?,?,?,?,?,?,?)");

	sqlite3_bind_int64(s, 1, (int64_t)row->node);
	sqlite3_bind_int64(s, 2, (int64_t)row->content);
	sqlite3_bind_int64(s, 3, (int64_t)row->wgen);
	sqlite3_bind_int64(s, 4, (int64_t)row->size);
	sqlite3_bind_int64(s, 5, (int64_t)row->part_bytes);
	sqlite3_bind_text(s, 6, row->id, -1, SQLITE_TRANSIENT);
	sqlite3_bind_text(s, 7, row->sum, -1, SQLITE_TRANSIENT);
	sqlite3_bind_int64(s, 8, (int64_t)row->dir);
	sqlite3_bind_text(s, 9, row->name, -1, SQLITE_TRANSIENT);
	return weir_store_step_done(st, s, err);
}

enum weir_code
weir_upload_drop(struct weir_store *st, uint64_t node, struct weir_err *err)
{
	sqlite3_stmt *s = weir_store_stmt(st, "DELETE FROM uploads WHERE node=?");
	enum weir_code r;

	sqlite3_bind_int64(s, 1, (int64_t)node);
	if ((r = weir_store_step_done(st, s, err)) || sqlite3_changes(st->db) == 0)
		return r;
	s = weir_store_stmt(st, "DELETE FROM upload_parts WHERE node=?");
	sqlite3_bind_int64(s, 1, (int64_t)node);
	return weir_store_step_done(st, s, err);
}

enum weir_code
weir_upload_stale(struct weir_store *st, uint64_t node, struct weir_err *err)
{
	sqlite3_stmt *s = weir_store_stmt(st, "UPDATE uploads SET content=0 WHERE node=? AND content<>0");

	sqlite3_bind_int64(s, 1, (int64_t)node);
	return weir_store_step_done(st, s, err);
}

static bool
is_its_place(const struct weir_node *n, const struct weir_upload_row *row)
{
	size_t len = strlen(n->name);

	/* "x" goes to "x", a link perhaps to "x.rclonelink". */
	return n->parent == row->dir && strncmp(n->name, row->name, len) == 0 && (row->name[len] == 0 || n->type == WEIR_LINK);
}

enum weir_code
weir_upload_doubt(struct weir_store *st, uint64_t node, struct weir_err *err)
{
	struct weir_upload_row row;
	struct weir_node n, doubt = { .type = WEIR_FILE, .flags = WEIR_N_DOUBT, .uid = WEIR_NOBODY, .gid = WEIR_NOBODY }, other;
	enum weir_code r;

	if (!weir_upload_get(st, node, &row) || !row.dir || weir_node_get(st, node, &n) || n.rparent || is_its_place(&n, &row) ||
	    !weir_node_remote_child(st, row.dir, row.name, &other))
		return WEIR_OK;
	doubt.remote = n.remote;
	doubt.rparent = row.dir;
	snprintf(doubt.rname, sizeof(doubt.rname), "%s", row.name);
	doubt.mtime_ns = n.mtime_ns;
	doubt.btime_ns = weir_wall_ns();
	if ((r = weir_node_insert(st, &doubt, err)) || (r = weir_upload_drop(st, node, err)))
		return r;
	row.node = doubt.id;
	if ((r = weir_upload_put(st, &row, err)))
		return r;
	return weir_journal_put(st, doubt.id, doubt.remote, 0, err);
}

enum weir_code
weir_upload_part_put(struct weir_store *st, uint64_t node, uint32_t number, const char *tag, struct weir_err *err)
{
	sqlite3_stmt *s = weir_store_stmt(st, "INSERT OR REPLACE INTO upload_parts VALUES(?,?,?)");

	sqlite3_bind_int64(s, 1, (int64_t)node);
	sqlite3_bind_int64(s, 2, number);
	sqlite3_bind_text(s, 3, tag, -1, SQLITE_TRANSIENT);
	return weir_store_step_done(st, s, err);
}

enum weir_code
weir_upload_parts(struct weir_store *st, uint64_t node, void (*fn)(void *, uint32_t, const char *), void *arg)
{
	sqlite3_stmt *s = weir_store_stmt(st, "SELECT number, tag FROM upload_parts WHERE node=? ORDER BY number");
	int rc;

	sqlite3_bind_int64(s, 1, (int64_t)node);
	while ((rc = sqlite3_step(s)) == SQLITE_ROW)
		fn(arg, (uint32_t)sqlite3_column_int64(s, 0), (const char *)sqlite3_column_text(s, 1));
	sqlite3_reset(s);
	return rc == SQLITE_DONE ? WEIR_OK : WEIR_E_IO;
}

/* ---- once only ---- */

enum weir_code
weir_unique_record(struct weir_store *st, uint64_t unique, enum weir_code code, uint64_t node, struct weir_err *err)
{
	sqlite3_stmt *s;
	enum weir_code r;

	if (!unique)
		return WEIR_OK;
	s = weir_store_stmt(st, "INSERT OR REPLACE INTO uniques VALUES(?,?,?)");
	sqlite3_bind_int64(s, 1, (int64_t)unique);
	sqlite3_bind_int(s, 2, (int)code);
	sqlite3_bind_int64(s, 3, (int64_t)node);
	if ((r = weir_store_step_done(st, s, err)) || ++st->ntx_uniques < KEEP_UNIQUES / 10)
		return r;
	st->ntx_uniques = 0;
	s = weir_store_stmt(st, "DELETE FROM uniques WHERE id < (SELECT max(id) FROM uniques) - ?");
	sqlite3_bind_int64(s, 1, 8 * KEEP_UNIQUES); /* the kernel counts uniques in steps of two, and reads take numbers too */
	return weir_store_step_done(st, s, err);
}

bool
weir_unique_find(struct weir_store *st, uint64_t unique, enum weir_code *code, uint64_t *node)
{
	sqlite3_stmt *s = weir_store_stmt(st, "SELECT code, node FROM uniques WHERE id=?");
	bool found;

	sqlite3_bind_int64(s, 1, (int64_t)unique);
	found = sqlite3_step(s) == SQLITE_ROW;
	if (found) {
		*code = (enum weir_code)sqlite3_column_int(s, 0);
		*node = (uint64_t)sqlite3_column_int64(s, 1);
	}
	sqlite3_reset(s);
	return found;
}

/* ---- reports ---- */

enum weir_code
weir_report_add(struct weir_store *st, const char *kind, const char *path, const char *text, struct weir_err *err)
{
	bool is_alone = !st->in_tx;
	sqlite3_stmt *s;
	enum weir_code r;

	weir_log(WEIR_LOG_WARN, "%s: %s: %s", kind, path, text);
	if (is_alone && (r = weir_store_begin(st, err)))
		return r;
	s = weir_store_stmt(st, "INSERT INTO reports(at,kind,path,text) VALUES(?,?,?,?)");
	sqlite3_bind_int64(s, 1, weir_wall_ns() / 1000000);
	sqlite3_bind_text(s, 2, kind, -1, SQLITE_TRANSIENT);
	sqlite3_bind_text(s, 3, path, -1, SQLITE_TRANSIENT);
	sqlite3_bind_text(s, 4, text, -1, SQLITE_TRANSIENT);
	r = weir_store_step_done(st, s, err);
	if (!is_alone)
		return r;
	if (!r)
		return weir_store_commit(st, err);
	weir_store_rollback(st);
	return r;
}

enum weir_code
weir_report_each(struct weir_store *st, void (*fn)(void *, const char *, const char *, const char *), void *arg)
{
	sqlite3_stmt *s = weir_store_stmt(st, "SELECT kind, path, text FROM reports ORDER BY id DESC LIMIT 1000");

	while (sqlite3_step(s) == SQLITE_ROW)
		fn(arg, (const char *)sqlite3_column_text(s, 0), (const char *)sqlite3_column_text(s, 1), (const char *)sqlite3_column_text(s, 2));
	sqlite3_reset(s);
	return WEIR_OK;
}

uint64_t
weir_report_count(struct weir_store *st, const char *kind)
{
	sqlite3_stmt *s = weir_store_stmt(st, "SELECT count(*) FROM reports WHERE kind=?");
	uint64_t n = 0;

	sqlite3_bind_text(s, 1, kind, -1, SQLITE_TRANSIENT);
	if (sqlite3_step(s) == SQLITE_ROW)
		n = (uint64_t)sqlite3_column_int64(s, 0);
	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
	return n;
}
