/* SPDX-License-Identifier: Apache-2.0 */
/* Small things used everywhere. Knows no weir type. */
#ifndef WEIR_UTIL_H
#define WEIR_UTIL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>

#define WEIR_AUTO(fn) __attribute__((cleanup(fn)))
#define WEIR_STEAL(v) __extension__({ __typeof__(v) steal_ = (v); (v) = NULL; steal_; })
#define WEIR_PRINTF(a, b) __attribute__((format(printf, a, b)))
#define WEIR_LEN(a) (sizeof(a) / sizeof((a)[0]))

static inline void weir_freep(void *p) { free(*(void **)p); }
void weir_closep(int *fd);			/* closes if >= 0, keeps errno */

/* Allocation that cannot fail: aborts with a sentence when memory is out (small, bounded sizes only). */
void *weir_xcalloc(size_t n, size_t size);
void *weir_xrealloc(void *, size_t n, size_t size);	/* checked multiplication */
char *weir_xstrdup(const char *);		/* NULL gives NULL */
char *weir_xstrndup(const char *, size_t);
char *weir_xasprintf(const char *fmt, ...) WEIR_PRINTF(1, 2);

int64_t weir_now_ms(void);			/* CLOCK_MONOTONIC */
int64_t weir_now_us(void);
int64_t weir_wall_ns(void);			/* CLOCK_REALTIME, nanoseconds since 1970 */

/* Whole transfers: retry EINTR and short counts. pread: returns bytes read (less only at end of file), -1 and errno. */
ssize_t weir_pread_full(int fd, void *buf, size_t len, off_t off);
int weir_pwrite_full(int fd, const void *buf, size_t len, off_t off);
/* Replace PATH atomically with these bytes, mode 0600 (temp + fsync + rename + fsync of the folder). 0 or -1 and errno. */
int weir_write_file(const char *path, const void *data, size_t len);
/* Whole small file into *out (terminated), at most max bytes (else EFBIG). 0 or -1 and errno. */
int weir_read_file(const char *path, size_t max, char **out, size_t *len);
int weir_mkdirs(const char *path, mode_t mode);	/* mkdir -p; 0 or -1 and errno */
int weir_remove_tree(const char *path);		/* rm -r, into no other file system (a mount below it stops it) and through no link; 0 or -1 and errno */

/* Zero memory in a way the compiler keeps; then free. NULL is fine. For secrets. */
void weir_secret_free(char *);
void weir_secret_freep(char **);

/* Random lower-case hex of n characters plus NUL, from the kernel. */
void weir_random_hex(char *out, size_t n);

/* Logging. One line each; goes to stderr in the foreground, to syslog in a daemon. Never a secret. */
enum weir_level { WEIR_LOG_ERROR, WEIR_LOG_WARN, WEIR_LOG_INFO, WEIR_LOG_DEBUG };
void weir_log_setup(const char *ident, bool to_syslog, enum weir_level most);
/* Every entry of systemd's journal has this field from the next setup on ("WEIR_MOUNTPOINT"). A value with a newline, or too long, is left out. */
void weir_log_field(const char *name, const char *value);
void weir_log(enum weir_level, const char *fmt, ...) WEIR_PRINTF(2, 3);

#endif
