/* SPDX-License-Identifier: Apache-2.0 */
/* The sockets curl opened for us, found again by their local port: curl names the port of a transfer's connection but, while it runs, not
 * its socket, and only the socket tells whether bytes handed to the kernel are still leaving. Engine's thread only. */
#ifndef WEIR_SOCKET_H
#define WEIR_SOCKET_H
#include <curl/curl.h>
#include <stddef.h>
#include <stdint.h>

struct weir_socket_entry { int fd, port; };	/* port 0: not looked up yet */
struct weir_sockets {
	struct weir_socket_entry *v;
	size_t n, cap;
};

/* For CURLOPT_OPENSOCKETFUNCTION and CURLOPT_CLOSESOCKETFUNCTION, with the table as their data. */
curl_socket_t weir_socket_open(void *table, curlsocktype, struct curl_sockaddr *);
int weir_socket_close(void *table, curl_socket_t);
int weir_socket_by_port(struct weir_sockets *, int port);	/* -1: none */
int weir_socket_unsent(int fd);				/* bytes the other side has not acknowledged; -1: not known */
void weir_sockets_free(struct weir_sockets *);

#endif
