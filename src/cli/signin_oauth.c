/* SPDX-License-Identifier: Apache-2.0 */
/* A sign-in with OAuth 2: the browser brings the code to a listener on the loopback interface (RFC 8252 section 7.3), or the person pastes it: the address of the
 * page that did not load (a browser on another machine), or the code, where the server shows one. */
#include "config.h"

#include "signin.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ask.h"

#define DOOR_CONNECTIONS 8	/* browsers open some in advance */
#define DOOR_HEAD_MAX (32u << 10)
#define DOOR_LIMIT_MS 900000

struct door {
	const struct weir_oauth_flow *flow;
	int fd;				/* -1: none */
	char *redirect;			/* "http://127.0.0.1:PORT"; NULL without listener */
	int conn[DOOR_CONNECTIONS];	/* -1: free */
	struct weir_buf head[DOOR_CONNECTIONS];
	struct weir_buf line;		/* what was pasted so far */
	bool is_input_over, is_done;
	char *code;
	enum weir_code result;
	struct weir_err *err;
};

static enum weir_code
door_open(struct door *d, struct weir_err *err)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);

	d->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->fd < 0 || bind(d->fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(d->fd, DOOR_CONNECTIONS) < 0 ||
	    getsockname(d->fd, (struct sockaddr *)&a, &len) < 0)
		return weir_err_errno(err, errno, "a listener on 127.0.0.1");
	d->redirect = weir_xasprintf("http://127.0.0.1:%u", (unsigned)ntohs(a.sin_port));
	return WEIR_OK;
}

static void
door_hang_up(struct door *d, size_t i)
{
	close(d->conn[i]);
	d->conn[i] = -1;
	if (d->head[i].data != NULL)
		explicit_bzero(d->head[i].data, d->head[i].cap);
	weir_buf_free(&d->head[i]);
	d->head[i] = (struct weir_buf)WEIR_BUF(DOOR_HEAD_MAX);
}

static void
door_close(struct door *d)
{
	for (size_t i = 0; i < DOOR_CONNECTIONS; i++) {
		if (d->conn[i] >= 0)
			door_hang_up(d, i);
	}
	if (d->fd >= 0)
		close(d->fd);
	weir_secret_free(d->code);
	weir_buf_free(&d->line);
	free(d->redirect);
}

static void
door_answer(struct door *d, size_t i, const char *status, const char *text)
{
	WEIR_AUTO(weir_freep) char *page = weir_xasprintf("<!doctype html><html><head><meta charset=\"utf-8\"><title>weir</title></head><body><p>%s</p></body></html>\n",
	    text);
	WEIR_AUTO(weir_freep) char *all = weir_xasprintf("HTTP/1.1 %s\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %zu\r\n"
	    "Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n%s", status, strlen(page), page);
	ssize_t n = send(d->conn[i], all, strlen(all), MSG_NOSIGNAL);

	(void)n;	/* whoever does not read it has the terminal to look at */
	shutdown(d->conn[i], SHUT_WR);
	door_hang_up(d, i);
}

/* A whole head is there: "GET /?code=…&state=… HTTP/1.1". */
static void
door_request(struct door *d, size_t i)
{
	const char *head = weir_buf_str(&d->head[i]), *target = head + 4;
	size_t n = strcspn(target, " \r\n");
	WEIR_AUTO(weir_secret_freep) char *address = NULL;
	struct weir_err why = {0};
	enum weir_code r;

	if (strncmp(head, "GET /", 5) != 0 || target[1] != '?') {
		door_answer(d, i, strncmp(head, "GET /", 5) != 0 ? "405 Method Not Allowed" : "404 Not Found", "There is nothing at this address.");
		return;
	}
	address = weir_xasprintf("%s%.*s", d->redirect, (int)n, target);
	r = weir_oauth_code_from(d->flow, address, &d->code, &why);
	if (r == WEIR_OK) {
		d->is_done = true;
		door_answer(d, i, "200 OK", "weir has the answer. You may close this page and go back to the terminal.");
	} else if (r == WEIR_E_AUTH && strstr(why.msg, "another sign-in") == NULL) {
		d->is_done = true;
		d->result = r;
		*d->err = why;
		door_answer(d, i, "200 OK", "The access was refused. You may close this page.");
	} else
		door_answer(d, i, "400 Bad Request", "This is not the answer that weir waits for.");
}

static void
door_read(struct door *d, size_t i)
{
	char chunk[4096];
	ssize_t n = recv(d->conn[i], chunk, sizeof(chunk), 0);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0 || weir_buf_add(&d->head[i], chunk, (size_t)n) != 0)
		door_hang_up(d, i);
	else if (strstr(weir_buf_str(&d->head[i]), "\r\n\r\n") != NULL)
		door_request(d, i);
	explicit_bzero(chunk, sizeof(chunk));
}

/* The oldest one makes room: a browser that opened it in advance opens another. */
static void
door_accept(struct door *d)
{
	int fd = accept4(d->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	size_t i = 0;

	if (fd < 0)
		return;
	while (i < DOOR_CONNECTIONS && d->conn[i] >= 0)
		i++;
	if (i == DOOR_CONNECTIONS)
		door_hang_up(d, i = 0);
	d->conn[i] = fd;
}

/* A line from the terminal. */
static void
door_pasted(struct door *d)
{
	int r = weir_ask_more(&d->line);
	struct weir_err why = {0};
	enum weir_code c;

	if (r < 0)
		d->is_input_over = true;
	if (r <= 0)
		return;
	if (d->line.len > 0) {
		c = weir_oauth_code_from(d->flow, weir_buf_str(&d->line), &d->code, &why);
		d->is_done = c == WEIR_OK || c == WEIR_E_AUTH || !weir_ask_is_person();
		if (c != WEIR_OK && d->is_done) {
			d->result = c;
			*d->err = why;
		} else if (c != WEIR_OK)
			weir_say("%s; once more", weir_err_text(&why, c));
		explicit_bzero(d->line.data, d->line.cap);
	}
	weir_buf_reset(&d->line);
}

static enum weir_code
door_wait(struct door *d, struct weir_err *err)
{
	int64_t end = weir_now_ms() + DOOR_LIMIT_MS;

	while (!d->is_done) {
		struct pollfd p[DOOR_CONNECTIONS + 2] = {{.fd = d->is_input_over ? -1 : STDIN_FILENO, .events = POLLIN}, {.fd = d->fd, .events = POLLIN}};
		int64_t left = end - weir_now_ms();

		if (d->is_input_over && d->fd < 0)
			return weir_err_set(err, WEIR_E_INVAL, "no code was given");
		if (left <= 0)
			return weir_err_set(err, WEIR_E_TIMEDOUT, "nobody signed in within 15 minutes");
		for (size_t i = 0; i < DOOR_CONNECTIONS; i++)
			p[i + 2] = (struct pollfd){.fd = d->conn[i], .events = POLLIN};
		if (poll(p, WEIR_LEN(p), (int)left) <= 0)
			continue;
		for (size_t i = 0; i < DOOR_CONNECTIONS && !d->is_done; i++) {
			if (p[i + 2].revents != 0 && d->conn[i] >= 0)
				door_read(d, i);
		}
		if (p[1].revents != 0 && !d->is_done)
			door_accept(d);
		if (p[0].revents != 0 && !d->is_done)
			door_pasted(d);
	}
	return d->result;
}

enum weir_code
weir_signin_oauth(struct weir_signin_net *net, const struct weir_oauth_app *app, bool without_browser, struct weir_err *err)
{
	struct weir_oauth_flow flow;
	struct weir_err own = {0};
	struct door d = {.flow = &flow, .fd = -1, .line = WEIR_BUF(DOOR_HEAD_MAX), .err = &own};
	WEIR_AUTO(weir_freep) char *url = NULL;
	const char *redirect;
	enum weir_code r = WEIR_OK;

	for (size_t i = 0; i < DOOR_CONNECTIONS; i++) {
		d.conn[i] = -1;
		d.head[i] = (struct weir_buf)WEIR_BUF(DOOR_HEAD_MAX);
	}
	weir_oauth_flow_init(&flow);
	if (app->code_redirect == NULL)
		r = door_open(&d, &own);
	redirect = app->code_redirect == NULL ? d.redirect : *app->code_redirect != '\0' ? app->code_redirect : NULL;
	if (r == WEIR_OK) {
		url = weir_oauth_auth_url(app, &flow, redirect);
		fprintf(stderr, "Open this address in a browser, sign in there and allow the access:\n\n  %s\n\n%s", url, app->code_redirect == NULL ?
		    "Is the browser on another machine? Then its last page will not load: paste the address of that page here.\nwaiting … " :
		    "Paste the code that the page shows: ");
		fflush(stderr);
		if (!without_browser)
			weir_signin_browse(url);
		r = door_wait(&d, &own);
		fputc('\n', stderr);
	}
	if (r == WEIR_OK)
		r = weir_oauth_exchange(app, net->pool, &flow, d.code, redirect, &own);
	door_close(&d);
	explicit_bzero(&flow, sizeof(flow));
	if (r != WEIR_OK)
		*err = own;
	return r;
}
