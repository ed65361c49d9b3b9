/* SPDX-License-Identifier: Apache-2.0 */
/* meta.db: opening, format, transactions, durability. Knows tables, not what they are for. */
#include "config.h"

#include "store.h"

#include "content.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#define DB_FORMAT 3
#define DB_APPLICATION 0x77656972 /* "weir" */

/* Running sums for quota and df, kept by the database itself: exact at every commit, and right after a crash. */
#define UNLISTED(r) "(" r ".type=2 AND " r ".listed=0 AND (" r ".rparent IS NOT NULL OR (" r ".flags & 8)))"
#define LOCAL(r) "(CASE WHEN " r ".parent IS NOT NULL THEN " r ".size ELSE 0 END)"
#define REMOTE(r) "(CASE WHEN " r ".rparent IS NOT NULL THEN " r ".rsize ELSE 0 END)"
#define TOTALS \
	"CREATE TABLE totals(remote INTEGER PRIMARY KEY, local INTEGER NOT NULL, at_remote INTEGER NOT NULL, unlisted INTEGER NOT NULL);" \
	"INSERT INTO totals VALUES(0,0,0,0);" \
	"CREATE TRIGGER nodes_added AFTER INSERT ON nodes BEGIN UPDATE totals SET local=local+" LOCAL("new") ", at_remote=at_remote+" REMOTE("new") \
	", unlisted=unlisted+" UNLISTED("new") " WHERE remote=new.remote; END;" \
	"CREATE TRIGGER nodes_gone AFTER DELETE ON nodes BEGIN UPDATE totals SET local=local-" LOCAL("old") ", at_remote=at_remote-" REMOTE("old") \
	", unlisted=unlisted-" UNLISTED("old") " WHERE remote=old.remote; END;" \
	"CREATE TRIGGER nodes_changed AFTER UPDATE ON nodes WHEN " LOCAL("old") "<>" LOCAL("new") " OR " REMOTE("old") "<>" REMOTE("new") \
	" OR " UNLISTED("old") "<>" UNLISTED("new") " OR old.remote<>new.remote BEGIN" \
	" UPDATE totals SET local=local-" LOCAL("old") ", at_remote=at_remote-" REMOTE("old") ", unlisted=unlisted-" UNLISTED("old") " WHERE remote=old.remote;" \
	" UPDATE totals SET local=local+" LOCAL("new") ", at_remote=at_remote+" REMOTE("new") ", unlisted=unlisted+" UNLISTED("new") " WHERE remote=new.remote; END;"

#define NOW_NS "CAST(strftime('%s','now') AS INTEGER)*1000000000"
#define JOURNAL_INDEX "CREATE INDEX journal_due ON journal(remote, due);"
#define UNLISTED_INDEX "CREATE INDEX nodes_unlisted ON nodes(remote) WHERE type=2 AND listed=0;"

/* The watch: directories to look at again; nodes by what the storage calls them; folders of the configuration, which may hang below nothing listed. */
#define WATCH_TABLES "CREATE TABLE again(node INTEGER PRIMARY KEY, remote INTEGER NOT NULL, due INTEGER NOT NULL);" \
	"CREATE INDEX again_due ON again(remote, due);" \
	"CREATE INDEX nodes_rid ON nodes(remote, rid) WHERE rid<>'';" \
	"CREATE INDEX nodes_bound ON nodes(remote) WHERE (flags & 256);"

/* Format 1 had no `sum` and no place in uploads and no totals, format 2 no watch; db_format() brings them forward in one transaction. */
static const char schema[] =
    "CREATE TABLE info(key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;"
    "CREATE TABLE remotes(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, fingerprint TEXT NOT NULL UNIQUE, root INTEGER NOT NULL,"
    " cursor TEXT NOT NULL DEFAULT '');"
    "CREATE TABLE nodes(id INTEGER PRIMARY KEY AUTOINCREMENT, parent INTEGER, name TEXT, rparent INTEGER, rname TEXT, rid TEXT, rversion TEXT,"
    " remote INTEGER NOT NULL, type INTEGER NOT NULL, mode INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL, flags INTEGER NOT NULL,"
    " size INTEGER NOT NULL, rsize INTEGER NOT NULL, mtime INTEGER NOT NULL, ctime INTEGER NOT NULL, atime INTEGER NOT NULL, btime INTEGER NOT NULL,"
    " listed INTEGER NOT NULL, content INTEGER NOT NULL);"
    "CREATE UNIQUE INDEX nodes_place ON nodes(parent, name) WHERE parent IS NOT NULL;"
    "CREATE INDEX nodes_children ON nodes(parent) WHERE parent IS NOT NULL;"
    "CREATE UNIQUE INDEX nodes_rplace ON nodes(rparent, rname) WHERE rparent IS NOT NULL;"
    UNLISTED_INDEX
    "CREATE TABLE xattrs(node INTEGER NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY(node, name)) WITHOUT ROWID;"
    "CREATE TABLE contents(num INTEGER PRIMARY KEY AUTOINCREMENT, node INTEGER NOT NULL, born INTEGER NOT NULL, complete INTEGER NOT NULL,"
    " base_size INTEGER NOT NULL, size INTEGER NOT NULL, counted INTEGER NOT NULL, used INTEGER NOT NULL);"
    "CREATE INDEX contents_used ON contents(used);"
    "CREATE TABLE pages(content INTEGER NOT NULL, block INTEGER NOT NULL, tab BLOB NOT NULL, PRIMARY KEY(content, block)) WITHOUT ROWID;"
    "CREATE TABLE journal(seq INTEGER PRIMARY KEY AUTOINCREMENT, node INTEGER NOT NULL UNIQUE, remote INTEGER NOT NULL, due INTEGER NOT NULL,"
    " attempts INTEGER NOT NULL, code INTEGER NOT NULL, error TEXT);"
    JOURNAL_INDEX
    "CREATE TABLE uploads(node INTEGER PRIMARY KEY, content INTEGER NOT NULL, wgen INTEGER NOT NULL, size INTEGER NOT NULL,"
    " part_bytes INTEGER NOT NULL, id TEXT NOT NULL, sum TEXT NOT NULL DEFAULT '', dir INTEGER NOT NULL DEFAULT 0, name TEXT NOT NULL DEFAULT '');"
    "CREATE TABLE upload_parts(node INTEGER NOT NULL, number INTEGER NOT NULL, tag TEXT NOT NULL, PRIMARY KEY(node, number)) WITHOUT ROWID;"
    "CREATE TABLE uniques(id INTEGER PRIMARY KEY, code INTEGER NOT NULL, node INTEGER NOT NULL);"
    "CREATE TABLE reports(id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, kind TEXT NOT NULL, path TEXT NOT NULL, text TEXT NOT NULL);"
    TOTALS WATCH_TABLES
    /* Node 1 is the namespace's root, 2 is kept free: cookies 1 and 2 of a listing mean "." and "..". */
    "INSERT INTO nodes VALUES(1,NULL,NULL,NULL,NULL,NULL,NULL,0,2,493,4294967295,4294967295,136,0,0," NOW_NS "," NOW_NS "," NOW_NS "," NOW_NS ",0,0);"
    "INSERT INTO nodes VALUES(2,NULL,NULL,NULL,NULL,NULL,NULL,0,2,493,4294967295,4294967295,136,0,0,0,0,0,0,0,0);";

static const char from_1_to_2[] = "ALTER TABLE uploads ADD COLUMN sum TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE uploads ADD COLUMN dir INTEGER NOT NULL DEFAULT 0; ALTER TABLE uploads ADD COLUMN name TEXT NOT NULL DEFAULT '';" UNLISTED_INDEX JOURNAL_INDEX TOTALS
    "INSERT INTO totals SELECT id,0,0,0 FROM remotes;"
    "UPDATE totals SET local=(SELECT coalesce(sum(" LOCAL("n") "),0) FROM nodes n WHERE n.remote=totals.remote),"
    " at_remote=(SELECT coalesce(sum(" REMOTE("n") "),0) FROM nodes n WHERE n.remote=totals.remote),"
    " unlisted=(SELECT coalesce(sum(" UNLISTED("n") "),0) FROM nodes n WHERE n.remote=totals.remote);";

static const char from_2_to_3[] = "ALTER TABLE remotes ADD COLUMN cursor TEXT NOT NULL DEFAULT '';" WATCH_TABLES;

static enum weir_code
db_error(struct weir_store *st, struct weir_err *err, const char *what)
{
	int rc = sqlite3_extended_errcode(st->db);
	enum weir_code code = (rc & 0xff) == SQLITE_FULL ? WEIR_E_NOSPC : WEIR_E_IO;

	return weir_err_set(err, code, "cache '%s': %s: %s", st->dir, what, sqlite3_errmsg(st->db));
}

static enum weir_code
db_exec(struct weir_store *st, const char *sql, struct weir_err *err)
{
	if (sqlite3_exec(st->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return db_error(st, err, "meta.db");
	return WEIR_OK;
}

/* ---- statements ---- */

#define STMT_SLOTS 512
struct stmt_slot {
	const char *sql;
	sqlite3_stmt *stmt;
};

static sqlite3_stmt *
stmt_get(struct weir_store *st, const char *sql)
{
	struct stmt_slot *slots = (struct stmt_slot *)st->stmts;
	size_t i = ((uintptr_t)sql >> 3) % STMT_SLOTS;

	while (slots[i].sql && slots[i].sql != sql)
		i = (i + 1) % STMT_SLOTS;
	if (!slots[i].sql) {
		if (sqlite3_prepare_v3(st->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &slots[i].stmt, NULL) != SQLITE_OK) {
			weir_log(WEIR_LOG_ERROR, "meta.db: %s: %s", sql, sqlite3_errmsg(st->db));
			abort(); /* our own text against our own schema: an invariant */
		}
		slots[i].sql = sql;
	}
	return slots[i].stmt;
}

enum weir_code
weir_store_step_done(struct weir_store *st, sqlite3_stmt *s, struct weir_err *err)
{
	enum weir_code r = WEIR_OK;
	int rc;

	while ((rc = sqlite3_step(s)) == SQLITE_ROW)
		;
	if (rc != SQLITE_DONE)
		r = db_error(st, err, "write");
	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
	return r;
}

/* ---- transactions ---- */

/* Each SELECT on its own takes and gives back a lock of the WAL, two system calls: a request asks five to twenty. Within one hold of the lock they see the
 * same state anyway. */
void
weir_store_read(struct weir_store *st)
{
	if (!st->in_tx && !st->is_reading)
		st->is_reading = !weir_store_step_done(st, stmt_get(st, "BEGIN"), NULL);
}

sqlite3_stmt *
weir_store_stmt(struct weir_store *st, const char *sql)
{
	weir_store_read(st);
	return stmt_get(st, sql);
}

void
weir_store_read_end(struct weir_store *st)
{
	st->is_reading = false;
	if (weir_store_step_done(st, stmt_get(st, "COMMIT"), NULL) && !sqlite3_get_autocommit(st->db))
		weir_store_step_done(st, stmt_get(st, "ROLLBACK"), NULL);
}

enum weir_code
weir_store_begin(struct weir_store *st, struct weir_err *err)
{
	enum weir_code r;

	if (st->is_reading)
		weir_store_read_end(st);
	r = weir_store_step_done(st, stmt_get(st, "BEGIN IMMEDIATE"), err);
	if (!r)
		st->in_tx = true;
	return r;
}

void
weir_store_rollback(struct weir_store *st)
{
	if (!st->in_tx)
		return;
	st->in_tx = false;
	if (!sqlite3_get_autocommit(st->db)) /* SQLite rolls back by itself on some errors */
		weir_store_step_done(st, stmt_get(st, "ROLLBACK"), NULL);
	weir_content_tx_end(st, false);
}

enum weir_code
weir_store_commit(struct weir_store *st, struct weir_err *err)
{
	enum weir_code r = weir_store_step_done(st, stmt_get(st, "COMMIT"), err);

	if (r) {
		weir_store_rollback(st);
		return r;
	}
	st->in_tx = false;
	weir_content_tx_end(st, true);
	return WEIR_OK;
}

/* The WAL is synced through SQLite's own file object, so that a checkpoint that swaps it is seen (sqlite3.h, SQLITE_FCNTL_JOURNAL_POINTER).
 * The pointer is stable while the connection lives; the sync itself runs without the lock, so that commits go on. */
enum weir_code
weir_store_sync(struct weir_store *st, struct weir_err *err)
{
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
	sqlite3_file *f = NULL;
	int rc;

	pthread_mutex_lock(&one);
	weir_store_lock(st);
	rc = sqlite3_file_control(st->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &f);
	weir_store_unlock(st);
	if (rc == SQLITE_OK && f && f->pMethods)
		rc = f->pMethods->xSync(f, SQLITE_SYNC_NORMAL);
	pthread_mutex_unlock(&one);
	if (rc != SQLITE_OK)
		return weir_err_set(err, WEIR_E_IO, "cache '%s': cannot sync the journal", st->dir);
	return WEIR_OK;
}

/* Automatic checkpoints would stall the committing thread; this one copies the WAL back through a connection of its own. */
static void *
db_checkpointer(void *arg)
{
	struct weir_store *st = arg;
	sqlite3 *db = NULL;
	char *path = weir_xasprintf("%s/meta.db", st->dir);

	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
		sqlite3_close(db);
		free(path);
		return NULL;
	}
	sqlite3_busy_timeout(db, 2000);
	for (;;) {
		struct timespec ts;
		struct stat sb;
		bool stop;

		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_sec += 1;
		weir_store_lock(st);
		if (!st->is_stopping)
			weir_store_wait(st, &st->checkpoint_cond, &ts);
		stop = st->is_stopping;
		weir_store_unlock(st);
		if (stop)
			break;
		if (fstatat(st->dirfd, "meta.db-wal", &sb, 0) || sb.st_size < 4 << 20)
			continue;
		/* A big log wants a moment without readers to start over: RESTART waits for them, PASSIVE does not. */
		sqlite3_wal_checkpoint_v2(db, NULL, sb.st_size > 64 << 20 ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	}
	sqlite3_close(db);
	free(path);
	return NULL;
}

/* A log that earlier lives left, each too short for a checkpoint of its own, is read whole at every start: not for ever. Nobody else has the database yet. */
static void
db_checkpoint_left(struct weir_store *st)
{
	struct stat sb;

	if (fstatat(st->dirfd, "meta.db-wal", &sb, 0) == 0 && sb.st_size > 16 << 20)
		sqlite3_wal_checkpoint_v2(st->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
}

/* ---- opening ---- */

static enum weir_code
db_refuse_network(const char *dir, struct weir_err *err)
{
	static const struct {
		unsigned long magic;
		const char *name;
	} bad[] = {
		{ 0x6969, "NFS" }, { 0x517b, "SMB" }, { 0xff534d42, "CIFS" }, { 0xfe534d42, "SMB2" }, { 0x65735546, "FUSE" },
		{ 0x0bd00bd0, "Lustre" }, { 0x47504653, "GPFS" }, { 0x00c36400, "CephFS" }, { 0x5346414f, "AFS" }, { 0x7461636f, "OCFS2" },
		{ 0x19830326, "BeeGFS" }, { 0x20030528, "OrangeFS" }, { 0x01021997, "9p" },
	};
	struct statfs sf;

	if (statfs(dir, &sf))
		return weir_err_errno(err, errno, "cache_dir '%s'", dir);
	for (size_t i = 0; i < WEIR_LEN(bad); i++)
		if ((unsigned long)sf.f_type == bad[i].magic)
			return weir_err_set(err, WEIR_E_CONFIG, "cache_dir '%s' lies on %s; name a folder on a local disk", dir, bad[i].name);
	return WEIR_OK;
}

static enum weir_code
db_scalar(struct weir_store *st, const char *sql, int64_t *out, struct weir_err *err)
{
	sqlite3_stmt *s = NULL;

	if (sqlite3_prepare_v2(st->db, sql, -1, &s, NULL) != SQLITE_OK || sqlite3_step(s) != SQLITE_ROW) {
		sqlite3_finalize(s);
		return db_error(st, err, "meta.db");
	}
	*out = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return WEIR_OK;
}

static enum weir_code
db_format(struct weir_store *st, struct weir_err *err)
{
	int64_t version, app;
	enum weir_code r;
	char sql[128];

	if ((r = db_scalar(st, "PRAGMA user_version", &version, err)) || (r = db_scalar(st, "PRAGMA application_id", &app, err)))
		return r;
	if (version > DB_FORMAT)
		return weir_err_set(err, WEIR_E_CONFIG, "cache '%s' was written by a newer weir (format %lld, this one knows %d); it is left alone",
		    st->dir, (long long)version, DB_FORMAT);
	if (version != 0 && app != DB_APPLICATION)
		return weir_err_set(err, WEIR_E_CONFIG, "'%s/meta.db' is not weir's", st->dir);
	if (version == DB_FORMAT)
		return WEIR_OK;
	if ((r = db_exec(st, "BEGIN EXCLUSIVE", err)))
		return r;
	if (version == 0)
		r = db_exec(st, schema, err);
	if (version == 1)
		r = db_exec(st, from_1_to_2, err);
	if (!r && (version == 1 || version == 2))
		r = db_exec(st, from_2_to_3, err);
	snprintf(sql, sizeof(sql), "PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT", DB_APPLICATION, DB_FORMAT);
	if (!r)
		r = db_exec(st, sql, err);
	if (r)
		sqlite3_exec(st->db, "ROLLBACK", NULL, NULL, NULL);
	return r;
}

void
weir_info_set(struct weir_store *st, const char *key, const char *value)
{
	bool is_alone = !st->in_tx;
	sqlite3_stmt *s;

	if (is_alone && weir_store_begin(st, NULL))
		return;
	s = weir_store_stmt(st, "INSERT OR REPLACE INTO info VALUES(?,?)");
	sqlite3_bind_text(s, 1, key, -1, SQLITE_TRANSIENT);
	sqlite3_bind_text(s, 2, value, -1, SQLITE_TRANSIENT);
	weir_store_step_done(st, s, NULL);
	if (is_alone)
		weir_store_commit(st, NULL);
}

char *
weir_info_get(struct weir_store *st, const char *key)
{
	sqlite3_stmt *s = weir_store_stmt(st, "SELECT value FROM info WHERE key=?");
	char *out = NULL;

	sqlite3_bind_text(s, 1, key, -1, SQLITE_TRANSIENT);
	if (sqlite3_step(s) == SQLITE_ROW)
		out = weir_xstrdup((const char *)sqlite3_column_text(s, 0));
	sqlite3_reset(s);
	return out;
}

/* A different boot without a clean mark means that the machine went down under us: what was not synced may be torn. */
static void
db_note_boot(struct weir_store *st)
{
	WEIR_AUTO(weir_freep) char *boot = NULL, *old = NULL, *clean = NULL;
	size_t len;

	if (weir_read_file("/proc/sys/kernel/random/boot_id", 256, &boot, &len))
		boot = weir_xstrdup("");
	boot[strcspn(boot, "\n")] = 0;
	old = weir_info_get(st, "boot");
	clean = weir_info_get(st, "clean");
	st->is_powercut = old && strcmp(old, boot) != 0 && clean && clean[0] == '0';
	weir_info_set(st, "boot", boot);
	weir_info_set(st, "clean", "0");
}

/* What was on its way when the process ended may have arrived under a name that the file has lost since. */
static enum weir_code
db_doubts(struct weir_store *st, struct weir_err *err)
{
	sqlite3_stmt *s = weir_store_stmt(st, "SELECT node FROM uploads WHERE dir<>0");
	WEIR_AUTO(weir_freep) uint64_t *ids = NULL;
	size_t n = 0, cap = 0;
	enum weir_code r = WEIR_OK;

	while (sqlite3_step(s) == SQLITE_ROW) {
		if (n == cap) {
			cap = cap ? cap * 2 : 64;
			ids = weir_xrealloc(ids, cap, sizeof(*ids));
		}
		ids[n++] = (uint64_t)sqlite3_column_int64(s, 0);
	}
	sqlite3_reset(s);
	for (size_t i = 0; i < n && !r; i++)
		r = weir_upload_doubt(st, ids[i], err);
	return r;
}

/* Lengths of unsent contents are what the files say: growth since the last commit is kept. */
static enum weir_code
db_recover(struct weir_store *st, struct weir_err *err)
{
	static const char pick[] = "SELECT n.id, n.content, n.size FROM nodes n WHERE n.content != 0 AND (n.flags & 1)";
	sqlite3_stmt *s, *u;
	enum weir_code r;

	if ((r = weir_store_begin(st, err)))
		return r;
	s = weir_store_stmt(st, pick);
	u = weir_store_stmt(st, "UPDATE nodes SET size=? WHERE id=?");
	while (sqlite3_step(s) == SQLITE_ROW && !r) {
		uint64_t num = (uint64_t)sqlite3_column_int64(s, 1);
		char path[64];
		struct stat sb;

		snprintf(path, sizeof(path), "content/%06llu/%03llu", (unsigned long long)num / 1000, (unsigned long long)num % 1000);
		if (fstatat(st->dirfd, path, &sb, 0) || sb.st_size == sqlite3_column_int64(s, 2))
			continue;
		sqlite3_bind_int64(u, 1, sb.st_size);
		sqlite3_bind_int64(u, 2, sqlite3_column_int64(s, 0));
		r = weir_store_step_done(st, u, err);
	}
	sqlite3_reset(s);
	if (!r)
		r = weir_store_step_done(st, weir_store_stmt(st, "UPDATE journal SET due=0, attempts=0"), err);
	if (!r && st->is_first)
		r = weir_store_step_done(st, weir_store_stmt(st, "DELETE FROM uniques"), err);
	if (!r)
		r = db_doubts(st, err);
	if (r) {
		weir_store_rollback(st);
		return r;
	}
	return weir_store_commit(st, err);
}

/* Unlinked nodes that the remote does not have either: nobody can hold them open any more when no worker served this mount before. */
static enum weir_code
db_reap(struct weir_store *st, struct weir_err *err)
{
	static const char pick[] = "SELECT id FROM nodes WHERE parent IS NULL AND rparent IS NULL AND (flags & 8) = 0 LIMIT 1000";
	enum weir_code r = WEIR_OK;
	int n;

	do {
		uint64_t ids[1000];
		sqlite3_stmt *s = weir_store_stmt(st, pick);

		for (n = 0; n < 1000 && sqlite3_step(s) == SQLITE_ROW; n++)
			ids[n] = (uint64_t)sqlite3_column_int64(s, 0);
		sqlite3_reset(s);
		if (n == 0)
			break;
		if ((r = weir_store_begin(st, err)))
			return r;
		for (int i = 0; i < n && !r; i++)
			r = weir_node_delete(st, ids[i], err);
		if (r)
			weir_store_rollback(st);
		else
			r = weir_store_commit(st, err);
	} while (!r && n == 1000);
	return r;
}

/* Does any file lie below this folder? Takes fd. */
static bool
db_has_files(int fd)
{
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	struct stat sb;
	bool yes = false;

	if (d == NULL) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while (!yes && (e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || fstatat(dirfd(d), e->d_name, &sb, AT_SYMLINK_NOFOLLOW))
			continue;
		yes = S_ISREG(sb.st_mode) ||
		    (S_ISDIR(sb.st_mode) && db_has_files(openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)));
	}
	closedir(d);
	return yes;
}

/* Contents without the database that says whose they are may be all there is of somebody's unsent work; a new database would hand their numbers out again.
 * (Before SQLite looks: it removes the log of an empty database.) */
static enum weir_code
db_refuse_orphans(struct weir_store *st, struct weir_err *err)
{
	struct stat sb;

	if (fstatat(st->dirfd, "meta.db", &sb, 0) == 0 && sb.st_size > 0)
		return WEIR_OK;
	if (!st->is_first)
		return weir_err_set(err, WEIR_E_IO, "the cache in '%s' is gone from under the mount", st->dir);
	if (!db_has_files(openat(st->dirfd, "content", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)))
		return WEIR_OK;
	return weir_err_set(err, WEIR_E_CONFIG, "cache_dir '%s' holds contents of files, unsent ones perhaps, but its meta.db is missing or empty: "
	    "put that back, or move '%s/content' away", st->dir, st->dir);
}

static enum weir_code
db_prepare_dir(struct weir_store *st, struct weir_err *err)
{
	enum weir_code r;

	if (st->is_first && weir_mkdirs(st->dir, 0700))
		return weir_err_errno(err, errno, "cannot make cache_dir '%s'", st->dir);
	if ((r = db_refuse_network(st->dir, err)))
		return r;
	st->dirfd = open(st->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (st->dirfd < 0)
		return weir_err_errno(err, errno, "cache_dir '%s'", st->dir);
	st->lockfd = openat(st->dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (st->lockfd < 0)
		return weir_err_errno(err, errno, "cannot write in cache_dir '%s'", st->dir);
	if (flock(st->lockfd, LOCK_EX | LOCK_NB))
		return weir_err_set(err, WEIR_E_BUSY, "cache_dir '%s' is in use by another weir", st->dir);
	if ((mkdirat(st->dirfd, "content", 0700) && errno != EEXIST) || (mkdirat(st->dirfd, "quarantine", 0700) && errno != EEXIST))
		return weir_err_errno(err, errno, "cannot write in cache_dir '%s'", st->dir);
	return db_refuse_orphans(st, err);
}

static enum weir_code
db_open(struct weir_store *st, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *path = weir_xasprintf("%s/meta.db", st->dir);
	enum weir_code r;

	if (sqlite3_open_v2(path, &st->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		return db_error(st, err, "open");
	sqlite3_busy_timeout(st->db, 10000);
	if ((r = db_exec(st, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-16384;"
	    " PRAGMA temp_store=MEMORY; PRAGMA foreign_keys=OFF", err)))
		return r;
	return db_format(st, err);
}

static void
db_cache_sums(struct weir_store *st)
{
	int64_t v = 0;

	if (!db_scalar(st, "SELECT coalesce(sum(counted),0) FROM contents", &v, NULL))
		st->cache_used = (uint64_t)v;
	if (!db_scalar(st, "SELECT coalesce(sum(c.counted),0) FROM contents c JOIN nodes n ON n.content=c.num WHERE n.flags & 1", &v, NULL))
		st->cache_dirty = (uint64_t)v;
}

static void
db_free(struct weir_store *st)
{
	if (st->has_checkpointer) {
		weir_store_lock(st);
		st->is_stopping = true;
		pthread_cond_signal(&st->checkpoint_cond);
		weir_store_unlock(st);
		pthread_join(st->checkpointer, NULL);
	}
	if (st->stmts)
		for (int i = 0; i < STMT_SLOTS; i++)
			sqlite3_finalize(((struct stmt_slot *)st->stmts)[i].stmt);
	sqlite3_close(st->db);
	if (st->lockfd >= 0)
		close(st->lockfd);
	if (st->dirfd >= 0)
		close(st->dirfd);
	free(st->stmts);
	free(st->live);
	free(st->tx_contents);
	free(st->dir);
	pthread_mutex_destroy(&st->mu);
	pthread_cond_destroy(&st->checkpoint_cond);
	free(st);
}

enum weir_code
weir_store_open(const struct weir_store_options *opt, struct weir_store **out, struct weir_err *err)
{
	struct weir_store *st = weir_xcalloc(1, sizeof(*st));
	struct statvfs vfs;
	enum weir_code r;

	st->dir = weir_xstrdup(opt->dir);
	st->dirfd = st->lockfd = -1;
	st->is_first = opt->is_first;
	pthread_mutex_init(&st->mu, NULL);
	pthread_cond_init(&st->checkpoint_cond, NULL);
	st->stmts = weir_xcalloc(STMT_SLOTS, sizeof(struct stmt_slot));
	st->live_slots = 4096;
	st->live = weir_xcalloc(st->live_slots, sizeof(*st->live));
	if ((r = db_prepare_dir(st, err)) || (r = db_open(st, err)))
		goto fail;
	db_note_boot(st);
	if ((r = db_recover(st, err)) || (st->is_first && (r = db_reap(st, err))))
		goto fail;
	db_cache_sums(st);
	st->cache_max = opt->cache_bytes;
	if (st->cache_max == 0 && fstatvfs(st->dirfd, &vfs) == 0)
		st->cache_max = (uint64_t)vfs.f_bavail * vfs.f_frsize / 2 + st->cache_used;
	if (st->cache_max < 64u << 20)
		st->cache_max = 64u << 20;
	if (st->is_reading)
		weir_store_read_end(st);
	db_checkpoint_left(st);
	st->has_checkpointer = pthread_create(&st->checkpointer, NULL, db_checkpointer, st) == 0;
	*out = st;
	return WEIR_OK;
fail:
	db_free(st);
	return r;
}

void
weir_store_close(struct weir_store *st)
{
	if (!st)
		return;
	weir_store_lock(st);
	weir_info_set(st, "clean", "1");
	weir_store_unlock(st);
	weir_store_sync(st, NULL);
	db_free(st);
}
