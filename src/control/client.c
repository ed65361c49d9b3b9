/* SPDX-License-Identifier: Apache-2.0 */
/* Client side of the control socket: one request, its progress lines, its final answer. Knows no weir_fs. */
#include "config.h"

#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../util/util.h"
#include "wire.h"

#define CLIENT_REPLACE_MS 5000	/* so long is a successor waited for */
#define CLIENT_LOOK_MS 50
#define CLIENT_LOSSES 20	/* more workers than that do not end by chance over one request */

static enum weir_code
client_connect(const char *cache_dir, int *out, struct weir_err *err)
{
	WEIR_AUTO(weir_closep) int dir_fd = open(cache_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	WEIR_AUTO(weir_closep) int fd = -1;
	struct sockaddr_un addr;
	int r;

	if (dir_fd < 0 && errno == ENOENT)
		return weir_err_set(err, WEIR_E_NOENT, "nothing is mounted from this configuration (no cache '%s')", cache_dir);
	if (dir_fd < 0)
		return weir_err_errno(err, errno, "open cache '%s'", cache_dir);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return weir_err_errno(err, errno, "control socket");
	weir_wire_address(&addr, cache_dir, dir_fd);
	do
		r = connect(fd, (struct sockaddr *)&addr, sizeof(addr));
	while (r != 0 && errno == EINTR);
	if (r != 0 && (errno == ENOENT || errno == ECONNREFUSED))
		return weir_err_set(err, WEIR_E_NOENT, "nothing is mounted from this configuration (nobody serves cache '%s')", cache_dir);
	if (r != 0)
		return weir_err_errno(err, errno, "control socket of cache '%s'", cache_dir);
	*out = fd;
	fd = -1;
	return WEIR_OK;
}

static enum weir_code
client_code(const json_t *answer)
{
	const char *name = json_string_value(json_object_get(answer, "code"));

	for (unsigned code = 0; name != NULL && code < WEIR_CODES; code++) {
		if (strcmp(name, weir_code_name((enum weir_code)code)) == 0)
			return (enum weir_code)code;
	}
	return WEIR_E_PROTO;
}

/* *is_lost: the connection ended before the answer did. */
static enum weir_code
client_converse(int fd, json_t *request /* stolen */, void (*line)(void *, json_t *), void *arg, json_t **out, bool *is_lost, struct weir_err *err)
{
	struct weir_wire wire = {.fd = fd};
	json_t *answer = NULL;
	enum weir_code r;

	*is_lost = true;
	if (weir_wire_send(fd, request) != 0)
		return weir_err_set(err, WEIR_E_IO, "the mount's worker ended before it took the request");
	while ((r = weir_wire_receive(&wire, &answer, err)) == WEIR_OK && !json_is_true(json_object_get(answer, "done"))) {
		if (line != NULL)
			line(arg, answer);
		json_decref(answer);
	}
	weir_wire_free(&wire);
	if (r && r != WEIR_E_PROTO)
		return weir_err_set(err, WEIR_E_IO, "the mount's worker ended before it answered");
	*is_lost = false;
	if (r)
		return r;
	r = client_code(answer);
	if (r) {
		const char *why = json_string_value(json_object_get(answer, "error"));

		weir_err_set(err, r, "%s", why != NULL ? why : weir_code_text(r));
	}
	if (out != NULL)
		*out = answer;
	else
		json_decref(answer);
	return r;
}

enum weir_code
weir_control_call(const char *cache_dir, json_t *request, void (*line)(void *arg, json_t *), void *arg, json_t **out, struct weir_err *err)
{
	struct weir_err lost = {0};
	enum weir_code r;
	unsigned losses = 0;
	int64_t end = 0;

	if (out != NULL)
		*out = NULL;
	if (request == NULL)	/* jansson makes none from bytes that are not UTF-8 */
		return weir_err_set(err, WEIR_E_INVAL, "this path is not UTF-8, so it cannot be asked about");
	for (;; poll(NULL, 0, CLIENT_LOOK_MS)) {
		WEIR_AUTO(weir_closep) int fd = -1;
		bool is_lost = false, is_met;

		r = client_connect(cache_dir, &fd, err);
		is_met = r == WEIR_OK;
		if (is_met)
			r = client_converse(fd, json_incref(request), line, arg, out, &is_lost, err);
		if (is_lost && ++losses < CLIENT_LOSSES) {
			end = weir_now_ms() + CLIENT_REPLACE_MS;
			lost = err != NULL ? *err : lost;
		}
		if (!is_lost && (is_met || r != WEIR_E_NOENT || end == 0))
			break;
		if (weir_now_ms() >= end || losses == CLIENT_LOSSES) {
			if (err != NULL)
				*err = lost;
			r = WEIR_E_IO;
			break;
		}
	}
	json_decref(request);
	return r;
}
