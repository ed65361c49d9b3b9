/* SPDX-License-Identifier: Apache-2.0 */
/* The log of requests, grants and revocations: JSON lines, only ever appended to.
 *
 * A line is {"at":…,"what":…,…,"hash":"64 hex digits"}; the hash is SHA-256 over the hash of the line before (nothing for the first), a newline, and this line's
 * bytes up to the comma before "hash". So a line that was changed, taken out or put in is noticed, but for lines missing at the end, and but for
 * somebody who may write the file and computes the rest anew: the chain shows accidents and clumsy edits; owner and mode of the file keep people out.
 * A line without such an ending was never whole (a full disk, a power cut): it counts for nothing and the chain goes on behind it.
 *
 * Writers hold flock(2) on the file; a line goes out in one write(2) and fsync(2). Knows no policy but the names of levels. */
#include "config.h"

#include "impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/util/text.h"

#define LOG_MAX (64u << 20)
#define LOG_LINE_MAX (16u << 10)
#define LOG_HASH (2 * WEIR_SHA256_LEN)
static const char log_tail[] = ",\"hash\":\"";	/* then the hash, then "} */
#define LOG_TAIL (sizeof(log_tail) - 1 + LOG_HASH + 2)

struct log_chain {
	char prev[LOG_HASH + 1];	/* "" before the first line */
	int line, torn, damaged_line;
	json_t *entries;		/* NULL: only the chain is wanted */
};

static void
log_hash(const char *prev, const char *head, size_t len, char out[LOG_HASH + 1])
{
	struct weir_digest *d = weir_digest_new("sha256");
	unsigned char sum[64];
	size_t n;

	weir_digest_add(d, prev, strlen(prev));
	weir_digest_add(d, "\n", 1);
	weir_digest_add(d, head, len);
	n = weir_digest_end(d, sum);
	weir_hex(sum, n, out);
}

/* Without its newline. False: the chain is broken here. */
static bool
log_line(struct log_chain *c, const char *line, size_t len)
{
	const char *tail = line + len - LOG_TAIL;
	char hash[LOG_HASH + 1];
	json_t *entry;

	c->line++;
	if (len <= LOG_TAIL || memcmp(tail, log_tail, sizeof(log_tail) - 1) != 0 || memcmp(line + len - 2, "\"}", 2) != 0) {
		c->torn++;
		return true;
	}
	log_hash(c->prev, line, len - LOG_TAIL, hash);
	if (memcmp(hash, tail + sizeof(log_tail) - 1, LOG_HASH) != 0) {
		c->damaged_line = c->line;
		return false;
	}
	memcpy(c->prev, hash, sizeof(hash));
	if (c->entries == NULL)
		return true;
	entry = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(entry)) {
		json_decref(entry);
		c->damaged_line = c->line;
		return false;
	}
	json_array_append_new(c->entries, entry);
	return true;
}

static void
log_walk(struct log_chain *c, const char *text, size_t len)
{
	while (len > 0) {
		const char *nl = memchr(text, '\n', len);
		size_t n = nl != NULL ? (size_t)(nl - text) : len;

		if (n > 0 && !log_line(c, text, n))
			return;
		text += n + (nl != NULL);
		len -= n + (nl != NULL);
	}
}

enum weir_code
weir_grant_log_read(const char *path, struct weir_grant_log *out, struct weir_err *err)
{
	struct log_chain c = {.entries = json_array()};
	WEIR_AUTO(weir_freep) char *text = NULL;
	size_t len;

	if (weir_read_file(path, LOG_MAX, &text, &len) != 0) {
		json_decref(c.entries);
		return weir_err_errno(err, errno, "access log '%s'", path);
	}
	log_walk(&c, text, len);
	*out = (struct weir_grant_log){.entries = c.entries, .damaged_line = c.damaged_line, .torn = c.torn};
	return WEIR_OK;
}

void
weir_grant_log_clear(struct weir_grant_log *l)
{
	json_decref(l->entries);
	*l = (struct weir_grant_log){0};
}

/* ---- append ---- */

/* The chain so far. A broken one is not written on: what came after would look as if it counted. */
static enum weir_code
log_last(int fd, off_t size, const char *path, struct log_chain *c, bool *ends_open, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *text = NULL;

	if (size > (off_t)LOG_MAX)
		return weir_err_set(err, WEIR_E_FBIG, "access log '%s' is larger than 64 MiB; move it away", path);
	text = weir_xcalloc((size_t)size + 1, 1);
	if (weir_pread_full(fd, text, (size_t)size, 0) != size)
		return weir_err_errno(err, errno != 0 ? errno : EIO, "access log '%s'", path);
	log_walk(c, text, (size_t)size);
	*ends_open = size > 0 && text[size - 1] != '\n';
	if (c->damaged_line > 0)
		return weir_err_set(err, WEIR_E_BADSUM, "access log '%s' was changed in line %d; move it away, a new one begins by itself", path, c->damaged_line);
	return WEIR_OK;
}

static enum weir_code
log_write(int fd, const char *path, off_t size, const char *text, size_t len, struct weir_err *err)
{
	ssize_t n = write(fd, text, len);
	int no = n < 0 ? errno : ENOSPC, kept = 0;

	if (n == (ssize_t)len && fsync(fd) == 0)
		return WEIR_OK;
	if (n == (ssize_t)len)
		no = errno;
	else if (n > 0)
		kept = ftruncate(fd, size);	/* a file that may only be appended to keeps the piece, which counts for nothing */
	return weir_err_errno(err, no, "write access log '%s'%s", path, kept < 0 ? " (it ends in a piece now)" : "");
}

static enum weir_code
log_add(int fd, const char *path, const json_t *entry, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *head = json_dumps(entry, JSON_COMPACT | JSON_PRESERVE_ORDER);
	WEIR_AUTO(weir_freep) char *line = NULL;
	char hash[LOG_HASH + 1];
	struct log_chain c = {0};
	bool ends_open = false;
	struct stat st;
	enum weir_code r;
	size_t len;

	if (fstat(fd, &st) < 0)
		return weir_err_errno(err, errno, "access log '%s'", path);
	if (!S_ISREG(st.st_mode))
		return weir_err_set(err, WEIR_E_CONFIG, "access log '%s' is no file", path);
	if (head == NULL || (len = strlen(head)) < 3 || len > LOG_LINE_MAX)
		return weir_err_set(err, WEIR_E_INVAL, "this entry is too long, or no text");
	r = log_last(fd, st.st_size, path, &c, &ends_open, err);
	if (r != WEIR_OK)
		return r;
	len--;	/* without the closing brace */
	log_hash(c.prev, head, len, hash);
	line = weir_xasprintf("%s%.*s%s%s\"}\n", ends_open ? "\n" : "", (int)len, head, log_tail, hash);
	return log_write(fd, path, st.st_size, line, strlen(line), err);
}

/* So that the new name survives a power cut. */
static void
log_sync_folder(const char *path)
{
	WEIR_AUTO(weir_freep) char *dir = weir_xstrdup(path);
	char *slash = strrchr(dir, '/');
	WEIR_AUTO(weir_closep) int fd = -1;

	if (slash == NULL)
		return;
	slash[slash == dir] = '\0';
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		fsync(fd);
}

enum weir_code
weir_grant_log_append(const char *path, const json_t *entry, mode_t mode, struct weir_err *err)
{
	bool is_new = access(path, F_OK) < 0;
	struct stat st;
	WEIR_AUTO(weir_closep) int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, mode);
	enum weir_code r;

	if (fd < 0)
		return weir_err_errno(err, errno, "access log '%s'", path);
	while (flock(fd, LOCK_EX) < 0) {
		if (errno != EINTR)
			return weir_err_errno(err, errno, "lock access log '%s'", path);
	}
	if (is_new && fstat(fd, &st) == 0 && st.st_uid == geteuid() && fchmod(fd, mode) < 0)	/* whatever the umask: those whom it is about read it */
		return weir_err_errno(err, errno, "access log '%s'", path);
	r = log_add(fd, path, entry, err);
	if (r == WEIR_OK && is_new)
		log_sync_folder(path);
	return r;
}

/* ---- what counts ---- */

static bool
log_is_one_of(const char *name, const char *const *ids)
{
	for (; name != NULL && *ids != NULL; ids++) {
		if (strcmp(name, *ids) == 0)
			return true;
	}
	return false;
}

static const char *
log_text(const json_t *entry, const char *key)
{
	return json_string_value(json_object_get(entry, key));
}

void
weir_grant_log_levels(const struct weir_grant_log *log, const struct weir_access_policy *p, const char *const *ids, int64_t now_s,
    int64_t until[WEIR_LEVELS_MAX], const json_t *by[WEIR_LEVELS_MAX])
{
	const json_t *e;
	size_t i;

	memset(until, 0, WEIR_LEVELS_MAX * sizeof(*until));
	json_array_foreach (log->entries, i, e) {
		const char *what = log_text(e, "what"), *level = log_text(e, "level"), *end = log_text(e, "until");
		int64_t end_ns = end != NULL ? weir_date_parse(end) : INT64_MIN;
		int k;

		if (what == NULL || !log_is_one_of(log_text(e, "user"), ids))
			continue;
		if (strcmp(what, "revoke") == 0)
			memset(until, 0, WEIR_LEVELS_MAX * sizeof(*until));
		/* nobody gives to themself, whoever wrote the line */
		if (strcmp(what, "grant") != 0 || level == NULL || end_ns == INT64_MIN || log_is_one_of(log_text(e, "by"), ids))
			continue;
		k = weir_policy_level(p, level, strlen(level));
		if (k < 0)
			continue;
		until[k] = end_ns / 1000000000;	/* the last word on a level counts, also when it is shorter */
		by[k] = e;
	}
	for (i = 0; i < p->nlevels; i++)
		until[i] = until[i] > now_s ? until[i] : 0;
}
