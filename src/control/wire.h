/* SPDX-License-Identifier: Apache-2.0 */
/* JSON objects, one a line, over the control socket: what both of its sides share. Inside control/ only. */
#ifndef WEIR_WIRE_H
#define WEIR_WIRE_H
#include "../util/buf.h"
#include "../util/err.h"
#include <jansson.h>

struct sockaddr_un;

#define WEIR_WIRE_NAME "control"

struct weir_wire {		/* reading side of one connection; starts as { .fd = fd } */
	int fd;
	struct weir_buf buf;	/* received and not yet taken */
	size_t taken;		/* bytes at its start that were */
};
void weir_wire_free(struct weir_wire *);	/* not the fd */

/* One object and a newline; steals the object. 0, or -1 when the other side is gone or takes nothing. */
int weir_wire_send(int fd, json_t *);
/* The next object (owned). WEIR_E_NODATA: the other side closed. WEIR_E_PROTO: no JSON object, or too long. */
enum weir_code weir_wire_receive(struct weir_wire *, json_t **out, struct weir_err *);
/* Address of the socket in a cache folder; through dir_fd where the path is too long for it. */
void weir_wire_address(struct sockaddr_un *, const char *cache_dir, int dir_fd);

#endif
