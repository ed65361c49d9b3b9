/* SPDX-License-Identifier: Apache-2.0 */
/* Small things used everywhere. Knows no weir type. */
#include "config.h"

#include "systemd.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

void
weir_closep(int *fd)
{
	int keep = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = keep;
}

static _Noreturn void
util_no_memory(void)
{
	static const char text[] = "weir: out of memory\n";
	ssize_t n = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void)n;
	abort();
}

void *
weir_xcalloc(size_t n, size_t size)
{
	void *p = calloc(n > 0 ? n : 1, size > 0 ? size : 1);

	if (p == NULL)
		util_no_memory();
	return p;
}

void *
weir_xrealloc(void *old, size_t n, size_t size)
{
	size_t bytes;
	void *p;

	if (__builtin_mul_overflow(n, size, &bytes))
		util_no_memory();
	p = realloc(old, bytes > 0 ? bytes : 1);
	if (p == NULL)
		util_no_memory();
	return p;
}

char *
weir_xstrdup(const char *s)
{
	return s != NULL ? weir_xstrndup(s, strlen(s)) : NULL;
}

char *
weir_xstrndup(const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char *p = weir_xcalloc(len + 1, 1);

	memcpy(p, s, len);
	return p;
}

char *
weir_xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *s;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n < 0)
		util_no_memory();
	return s;
}

static int64_t
util_clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t
weir_now_ms(void)
{
	return util_clock_ns(CLOCK_MONOTONIC) / 1000000;
}

int64_t
weir_now_us(void)
{
	return util_clock_ns(CLOCK_MONOTONIC) / 1000;
}

int64_t
weir_wall_ns(void)
{
	return util_clock_ns(CLOCK_REALTIME);
}

ssize_t
weir_pread_full(int fd, void *buf, size_t len, off_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)buf + done, len - done, off + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int
weir_pwrite_full(int fd, const void *buf, size_t len, off_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(fd, (const char *)buf + done, len - done, off + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (n == 0)
				errno = EIO;
			return -1;
		}
		done += (size_t)n;
	}
	return 0;
}

static int
util_sync_parent(const char *path)
{
	WEIR_AUTO(weir_freep) char *dir = NULL;
	WEIR_AUTO(weir_closep) int fd = -1;
	const char *slash = strrchr(path, '/');

	if (slash == NULL)
		dir = weir_xstrdup(".");
	else if (slash == path)
		dir = weir_xstrdup("/");
	else
		dir = weir_xstrndup(path, (size_t)(slash - path));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -1 : fsync(fd);
}

static int
util_write_temp(const char *tmp, const void *data, size_t len)
{
	WEIR_AUTO(weir_closep) int fd = -1;

	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || weir_pwrite_full(fd, data, len, 0) < 0 || fsync(fd) < 0)
		return -1;
	return 0;
}

int
weir_write_file(const char *path, const void *data, size_t len)
{
	WEIR_AUTO(weir_freep) char *tmp = NULL;
	char random[17];

	weir_random_hex(random, 16);
	tmp = weir_xasprintf("%s.%s.tmp", path, random);
	if (util_write_temp(tmp, data, len) < 0 || rename(tmp, path) < 0) {
		int keep = errno;

		unlink(tmp);
		errno = keep;
		return -1;
	}
	return util_sync_parent(path);
}

/* Reads to the end, not to st_size: files of /proc and pipes say 0. */
static int
util_slurp(int fd, size_t max, char **out, size_t *len)
{
	size_t cap = 4096, n = 0;
	WEIR_AUTO(weir_freep) char *p = weir_xcalloc(1, cap + 1);

	for (;;) {
		ssize_t got = read(fd, p + n, cap - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		n += (size_t)got;
		if (n > max) {
			errno = EFBIG;
			return -1;
		}
		if (n == cap) {
			cap *= 2;
			p = weir_xrealloc(p, cap + 1, 1);
		}
	}
	p[n] = '\0';
	*out = WEIR_STEAL(p);
	if (len != NULL)
		*len = n;
	return 0;
}

int
weir_read_file(const char *path, size_t max, char **out, size_t *len)
{
	WEIR_AUTO(weir_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -1 : util_slurp(fd, max, out, len);
}

static int
util_mkdir_one(const char *path, mode_t mode)
{
	struct stat st;

	if (mkdir(path, mode) == 0)
		return 0;
	/* EEXIST first, but also EROFS or EACCES of a parent that is there already. */
	if (stat(path, &st) == 0) {
		if (S_ISDIR(st.st_mode))
			return 0;
		errno = ENOTDIR;
	}
	return -1;
}

int
weir_mkdirs(const char *path, mode_t mode)
{
	WEIR_AUTO(weir_freep) char *p = weir_xstrdup(path);

	for (char *s = p; *s != '\0'; s++) {
		if (*s != '/' || s == p)
			continue;
		*s = '\0';
		if (util_mkdir_one(p, mode) < 0)
			return -1;
		*s = '/';
	}
	return util_mkdir_one(p, mode);
}

#define UTIL_TREE_DEPTH 8

static int
util_unlink(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	return type == FTW_DP || type == FTW_D || type == FTW_DNR ? rmdir(path) : unlink(path);
}

static int
util_open_up(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)ftw;
	if ((type == FTW_D || type == FTW_DNR) && (st->st_mode & 0700) != 0700)
		(void)!chmod(path, (st->st_mode & 07777) | 0700);
	return 0;
}

int
weir_remove_tree(const char *path)
{
	if (nftw(path, util_unlink, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == 0)
		return 0;
	if (errno != EACCES)
		return -1;
	/* A folder without the right to write or enter. One that could not be read is opened before what is below it, so each level takes a turn. */
	for (int i = 0; i < UTIL_TREE_DEPTH; i++) {
		nftw(path, util_open_up, 16, FTW_PHYS | FTW_MOUNT);
		if (nftw(path, util_unlink, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == 0)
			return 0;
		if (errno != EACCES)
			return -1;
	}
	return -1;
}

void
weir_secret_free(char *s)
{
	if (s == NULL)
		return;
	explicit_bzero(s, strlen(s));
	free(s);
}

void
weir_secret_freep(char **s)
{
	weir_secret_free(*s);
	*s = NULL;
}

void
weir_random_hex(char *out, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char bytes[128];
	size_t have = 0;

	for (size_t i = 0; i < n; i++) {
		if (i % sizeof(bytes) == 0) {
			size_t want = n - i < sizeof(bytes) ? n - i : sizeof(bytes);

			for (have = 0; have < want;) {
				ssize_t got = getrandom(bytes + have, want - have, 0);

				if (got < 0 && errno != EINTR)
					abort();	/* no source of random numbers: no safe name can be made */
				have += got > 0 ? (size_t)got : 0;
			}
		}
		out[i] = digits[bytes[i % sizeof(bytes)] & 15];
	}
	out[n] = '\0';
}

/* Set up once, before there are threads; read by all. */
static char log_fields[800];
static atomic_int log_most = WEIR_LOG_INFO;
static atomic_bool log_to_syslog;
static char log_ident[32] = "weir";

void
weir_log_setup(const char *ident, bool to_syslog, enum weir_level most)
{
	snprintf(log_ident, sizeof(log_ident), "%s", ident);
	atomic_store(&log_most, most);
	if (to_syslog)
		openlog(log_ident, LOG_PID | LOG_NDELAY, LOG_DAEMON);
	else if (atomic_load(&log_to_syslog))
		closelog();
	atomic_store(&log_to_syslog, to_syslog);
	/* What stands on standard error is the journal's own, if that is where it leads; else somebody reads it. */
	if (to_syslog || weir_journal_has_stderr())
		weir_journal_open(log_ident, log_fields);
}

void
weir_log_field(const char *name, const char *value)
{
	size_t len = strlen(log_fields), left = sizeof(log_fields) - len;
	int n = strchr(value, '\n') == NULL ? snprintf(log_fields + len, left, "%s=%s\n", name, value) : -1;

	if (n < 0 || (size_t)n >= left)
		log_fields[len] = '\0';
}

static void
log_stderr(enum weir_level level, const char *text)
{
	static const char *const names[] = {"error: ", "warning: ", "", "debug: "};
	char line[2200];
	ssize_t n;
	int len;

	len = snprintf(line, sizeof(line), "%s: %s%s\n", log_ident, names[level & 3], text);
	/* One write a line: threads do not mix. */
	n = write(STDERR_FILENO, line, (size_t)len < sizeof(line) ? (size_t)len : sizeof(line) - 1);
	(void)n;
}

void
weir_log(enum weir_level level, const char *fmt, ...)
{
	static const int prio[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
	char text[2048];
	int keep = errno;
	va_list ap;

	if ((int)level > atomic_load(&log_most))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* Names from storages may hold anything: one entry stays one line. */
	for (char *p = text; *p != '\0'; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	}
	if (weir_journal_send(prio[level & 3], text))
		;
	else if (atomic_load(&log_to_syslog))
		syslog(prio[level & 3], "%s", text);
	else
		log_stderr(level, text);
	errno = keep;
}
