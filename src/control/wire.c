/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of JSON over a socket. Knows neither what they mean nor which side it is on. */
#include "config.h"

#include "wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "../util/util.h"

#define WIRE_LINE_MAX (8u << 20)	/* a list of problems can be long */

void
weir_wire_free(struct weir_wire *w)
{
	weir_buf_free(&w->buf);
}

static int
wire_send_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

int
weir_wire_send(int fd, json_t *object)
{
	WEIR_AUTO(weir_freep) char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
	struct weir_buf line = WEIR_BUF(WIRE_LINE_MAX);
	int r = -1;

	json_decref(object);
	if (text != NULL && weir_buf_adds(&line, text) == 0 && weir_buf_addc(&line, '\n') == 0)
		r = wire_send_all(fd, line.data, line.len);
	weir_buf_free(&line);
	return r;
}

/* The first whole line of what was received, terminated, or NULL. */
static char *
wire_line(struct weir_wire *w)
{
	char *start, *end;

	if (w->buf.len == w->taken)
		return NULL;
	start = w->buf.data + w->taken;
	end = memchr(start, '\n', w->buf.len - w->taken);
	if (end == NULL)
		return NULL;
	*end = '\0';
	w->taken = (size_t)(end + 1 - w->buf.data);
	return start;
}

static enum weir_code
wire_more(struct weir_wire *w, struct weir_err *err)
{
	char chunk[4096];
	ssize_t n;

	if (w->taken == w->buf.len) {
		weir_buf_reset(&w->buf);
		w->taken = 0;
	}
	w->buf.max = WIRE_LINE_MAX;
	do
		n = recv(w->fd, chunk, sizeof(chunk), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return weir_err_errno(err, errno, "control socket");
	if (n == 0)
		return weir_err_set(err, WEIR_E_NODATA, "the other side of the control socket closed it");
	if (weir_buf_add(&w->buf, chunk, (size_t)n) != 0)
		return weir_err_set(err, WEIR_E_PROTO, "a line on the control socket is too long");
	return WEIR_OK;
}

enum weir_code
weir_wire_receive(struct weir_wire *w, json_t **out, struct weir_err *err)
{
	json_error_t why;
	json_t *object;
	char *line;

	while ((line = wire_line(w)) == NULL) {
		enum weir_code r = wire_more(w, err);

		if (r)
			return r;
	}
	object = json_loads(line, 0, &why);
	if (!json_is_object(object)) {
		json_decref(object);
		return weir_err_set(err, WEIR_E_PROTO, "no JSON object on the control socket: %s", why.text);
	}
	*out = object;
	return WEIR_OK;
}

void
weir_wire_address(struct sockaddr_un *addr, const char *cache_dir, int dir_fd)
{
	int n;

	*addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	n = snprintf(addr->sun_path, sizeof(addr->sun_path), "%s/" WEIR_WIRE_NAME, cache_dir);
	if (n < 0 || (size_t)n >= sizeof(addr->sun_path))
		snprintf(addr->sun_path, sizeof(addr->sun_path), "/proc/self/fd/%d/" WEIR_WIRE_NAME, dir_fd);
}
