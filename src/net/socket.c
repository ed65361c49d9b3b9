/* SPDX-License-Identifier: Apache-2.0 */
/* A table of the engine's sockets, see socket.h. */
#include "config.h"

#include "socket.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../util/util.h"

curl_socket_t
weir_socket_open(void *table, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct weir_sockets *t = table;
	int fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);

	if (fd < 0)
		return CURL_SOCKET_BAD;
	if (t->n == t->cap) {
		t->cap = t->cap > 0 ? t->cap * 2 : 32;
		t->v = weir_xrealloc(t->v, t->cap, sizeof(*t->v));
	}
	t->v[t->n++] = (struct weir_socket_entry){.fd = fd};
	return fd;
}

int
weir_socket_close(void *table, curl_socket_t fd)
{
	struct weir_sockets *t = table;

	for (size_t i = 0; i < t->n; i++) {
		if (t->v[i].fd == fd) {
			t->v[i] = t->v[--t->n];
			break;
		}
	}
	return close(fd);
}

static int
socket_port(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} a = {0};
	socklen_t len = sizeof(a);

	if (getsockname(fd, &a.any, &len) < 0)
		return 0;
	return a.any.sa_family == AF_INET ? ntohs(a.v4.sin_port) : a.any.sa_family == AF_INET6 ? ntohs(a.v6.sin6_port) : 0;
}

int
weir_socket_by_port(struct weir_sockets *t, int port)
{
	for (size_t i = 0; i < t->n; i++) {
		if (t->v[i].port == 0)
			t->v[i].port = socket_port(t->v[i].fd);
		if (t->v[i].port == port)
			return t->v[i].fd;
	}
	return -1;
}

int
weir_socket_unsent(int fd)
{
	int n = 0;

	return fd >= 0 && ioctl(fd, SIOCOUTQ, &n) == 0 ? n : -1;
}

void
weir_sockets_free(struct weir_sockets *t)
{
	free(t->v);
	*t = (struct weir_sockets){0};
}
