/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "systemd.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

/* A path, or "@NAME" of the abstract namespace. 0: neither, or too long. */
static socklen_t
sd_address(const char *where, struct sockaddr_un *a)
{
	size_t len = strlen(where);

	if ((where[0] != '/' && where[0] != '@') || len < 2 || len >= sizeof(a->sun_path))
		return 0;
	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(a->sun_path, where, len);
	if (where[0] == '@')
		a->sun_path[0] = '\0';
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

/* ---- the manager ---- */

void
weir_sd_notify(const char *fmt, ...)
{
	const char *where = getenv("NOTIFY_SOCKET");
	struct sockaddr_un a;
	socklen_t len = where != NULL ? sd_address(where, &a) : 0;
	char text[1024];
	int keep = errno, n;
	va_list ap;

	if (len != 0) {
		WEIR_AUTO(weir_closep) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

		va_start(ap, fmt);
		n = vsnprintf(text, sizeof(text), fmt, ap);
		va_end(ap);
		if (fd < 0 || sendto(fd, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1, MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&a, len) < 0)
			weir_log(WEIR_LOG_DEBUG, "the service manager is not told: %s", strerror(errno));
	}
	errno = keep;
}

int64_t
weir_sd_watchdog_ms(void)
{
	const char *text = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	long long us = text != NULL ? strtoll(text, NULL, 10) : 0;

	if (us <= 0 || (pid != NULL && strtoll(pid, NULL, 10) != (long long)getpid()))
		return 0;
	return us / 1000 > 0 ? us / 1000 : 1;
}

/* ---- the journal ---- */

/* Set up once, before there are threads. */
static int journal_fd = -1;
static char journal_head[1024];

bool
weir_journal_has_stderr(void)
{
	const char *text = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return text != NULL && sscanf(text, "%llu:%llu", &dev, &ino) == 2 && fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

bool
weir_journal_open(const char *ident, const char *fields)
{
	struct sockaddr_un a;
	socklen_t len = sd_address(JOURNAL_SOCKET, &a);
	int n = snprintf(journal_head, sizeof(journal_head), "SYSLOG_IDENTIFIER=%s\n%s", ident, fields != NULL ? fields : "");

	weir_journal_close();
	if (n < 0 || (size_t)n >= sizeof(journal_head))
		return false;
	journal_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (journal_fd >= 0 && connect(journal_fd, (struct sockaddr *)&a, len) != 0)
		weir_journal_close();
	return journal_fd >= 0;
}

bool
weir_journal_send(int priority, const char *text)
{
	char level[32];
	int n = snprintf(level, sizeof(level), "PRIORITY=%d\nMESSAGE=", priority);
	struct iovec v[] = {
	    {journal_head, strlen(journal_head)}, {level, (size_t)n}, {(void *)(uintptr_t)text, strlen(text)}, {(void *)(uintptr_t)"\n", 1},
	};
	struct msghdr m = {.msg_iov = v, .msg_iovlen = WEIR_LEN(v)};

	return journal_fd >= 0 && sendmsg(journal_fd, &m, MSG_NOSIGNAL) > 0;
}

void
weir_journal_close(void)
{
	weir_closep(&journal_fd);
	journal_fd = -1;
}
