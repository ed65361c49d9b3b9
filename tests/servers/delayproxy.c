/* SPDX-License-Identifier: Apache-2.0 */
/* delayproxy LISTEN TARGET DELAY_MS: a loopback TCP relay that holds every byte for DELAY_MS in each direction, so that a
 * round trip through it costs twice that and bandwidth is left alone. LISTEN 0 takes a free port; either way it prints
 * "listening on 127.0.0.1:PORT". SIGUSR1 turns it into a black hole: connections are accepted, nothing is forwarded and
 * nothing is closed. SIGUSR2 lets what was held, and everything after it, through again.
 *
 * One thread. A connection is two directions; each is a queue of pieces with the time they may leave. Reading a side
 * stops while its queue is full, which is the only back pressure there is. */
#include "config.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define PIECE (128 * 1024)
#define QUEUE_MAX (64u << 20)	/* 20 ms at 25 Gbit/s: the queue is not what limits */
#define EVENTS 128

struct piece {
	struct piece *next;
	int64_t due_us;
	size_t len, sent;	/* len 0: the end of the stream */
	char data[];
};
struct link;
struct side {			/* one socket of a link */
	struct link *link;
	int fd;
	uint32_t asked;		/* epoll events asked for */
	bool is_unwatched;	/* hung up while nothing was asked: out of epoll, which would report it for ever */
	bool has_ended;		/* read to its end */
	bool is_shut;		/* the end was passed on to it */
	struct piece *head, **tail;	/* what waits to be written to it */
	size_t queued;
};
struct link {
	struct link *next, *prev;
	struct side side[2];	/* 0 the client, 1 the target */
	bool is_dead;
};

static int proxy_epoll, proxy_listen, proxy_signals, proxy_timer;
static int64_t proxy_delay_us;
static bool proxy_is_hole;
static struct sockaddr_in proxy_target;
static struct link *proxy_links;

static int64_t
proxy_now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void
proxy_die(const char *what)
{
	fprintf(stderr, "delayproxy: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void
proxy_watch(int fd, uint32_t events, void *who)
{
	struct epoll_event e = { .events = events, .data.ptr = who };

	if (epoll_ctl(proxy_epoll, EPOLL_CTL_ADD, fd, &e))
		proxy_die("epoll_ctl");
}

/* Ask for exactly what can be used now: room to read into, pieces that are due to be written. */
static void
side_ask(struct side *s, bool is_due)
{
	struct side *other = &s->link->side[s == s->link->side];
	uint32_t want = 0;

	if (!proxy_is_hole) {
		want |= !s->has_ended && other->queued < QUEUE_MAX ? EPOLLIN : 0;
		want |= is_due ? EPOLLOUT : 0;
	}
	if (want != s->asked) {
		struct epoll_event e = { .events = want, .data.ptr = s };

		epoll_ctl(proxy_epoll, s->is_unwatched ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, s->fd, &e);
		s->is_unwatched = false;
		s->asked = want;
	}
}

/* One read into the other side's queue. */
static void
side_read(struct side *s)
{
	struct side *other = &s->link->side[s == s->link->side];
	struct piece *p = malloc(sizeof(*p) + PIECE), *fit;
	ssize_t n;

	if (!p) {
		s->link->is_dead = true;
		return;
	}
	n = recv(s->fd, p->data, PIECE, MSG_DONTWAIT);
	if (n < 0) {
		s->link->is_dead |= errno != EAGAIN && errno != EINTR;
		free(p);
		return;
	}
	fit = realloc(p, sizeof(*p) + (size_t)n);
	p = fit ? fit : p;
	p->next = NULL;
	p->due_us = proxy_now_us() + proxy_delay_us;
	p->len = (size_t)n;
	p->sent = 0;
	s->has_ended = n == 0;
	*other->tail = p;
	other->tail = &p->next;
	other->queued += (size_t)n;
}

/* Write what is due. Returns when the next piece is; INT64_MAX: nothing waits for time. */
static int64_t
side_write(struct side *s, int64_t now)
{
	struct piece *p;
	ssize_t n;

	while ((p = s->head)) {
		if (p->due_us > now)
			return p->due_us;
		if (!p->len) {
			shutdown(s->fd, SHUT_WR);
			s->is_shut = true;
		} else {
			n = send(s->fd, p->data + p->sent, p->len - p->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
			if (n < 0) {
				s->link->is_dead |= errno != EAGAIN && errno != EINTR;
				return INT64_MAX;
			}
			p->sent += (size_t)n;
			s->queued -= (size_t)n;
			if (p->sent < p->len)
				return INT64_MAX;
		}
		s->head = p->next;
		if (!s->head)
			s->tail = &s->head;
		free(p);
	}
	return INT64_MAX;
}

static void
link_free(struct link *l)
{
	for (int i = 0; i < 2; i++) {
		struct piece *p;

		while ((p = l->side[i].head)) {
			l->side[i].head = p->next;
			free(p);
		}
		close(l->side[i].fd);
	}
	if (l->prev)
		l->prev->next = l->next;
	else
		proxy_links = l->next;
	if (l->next)
		l->next->prev = l->prev;
	free(l);
}

static void
side_setup(struct side *s, struct link *l, int fd)
{
	int one = 1;

	s->link = l;
	s->fd = fd;
	s->tail = &s->head;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	proxy_watch(fd, 0, s);
}

static void
proxy_accept(void)
{
	int client = accept4(proxy_listen, NULL, NULL, SOCK_CLOEXEC), target;
	struct link *l;

	if (client < 0)
		return;
	target = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* The target is on this machine: connecting to it does not wait. */
	if (target < 0 || connect(target, (struct sockaddr *)&proxy_target, sizeof(proxy_target)) || !(l = calloc(1, sizeof(*l)))) {
		if (target >= 0)
			close(target);
		close(client);
		return;
	}
	side_setup(&l->side[0], l, client);
	side_setup(&l->side[1], l, target);
	l->next = proxy_links;
	if (l->next)
		l->next->prev = l;
	proxy_links = l;
}

static void
proxy_signal(void)
{
	struct signalfd_siginfo si;

	if (read(proxy_signals, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo == SIGUSR1 || si.ssi_signo == SIGUSR2)
		proxy_is_hole = si.ssi_signo == SIGUSR1;
	else
		exit(0);
}

static void
proxy_event(const struct epoll_event *e)
{
	struct side *s = e->data.ptr;
	uint64_t ticks;

	if (e->data.ptr == &proxy_listen)
		proxy_accept();
	else if (e->data.ptr == &proxy_signals)
		proxy_signal();
	else if (e->data.ptr == &proxy_timer) {
		if (read(proxy_timer, &ticks, sizeof(ticks)) < 0 && errno != EAGAIN)
			proxy_die("timer");
	} else if (s->asked & EPOLLIN && e->events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		side_read(s);
	else if (!s->asked && e->events & (EPOLLERR | EPOLLHUP)) {
		epoll_ctl(proxy_epoll, EPOLL_CTL_DEL, s->fd, NULL);
		s->is_unwatched = true;
	}
}

/* Move everything that is due, ask for what can come, and set the clock for what is held. */
static void
proxy_turn(void)
{
	int64_t now = proxy_now_us(), wake = INT64_MAX, due;
	struct itimerspec t = { 0 };

	for (struct link *l = proxy_links, *next; l; l = next) {
		next = l->next;
		for (int i = 0; i < 2 && !proxy_is_hole; i++) {
			due = side_write(&l->side[i], now);
			wake = due < wake ? due : wake;
			side_ask(&l->side[i], l->side[i].head && due == INT64_MAX);
		}
		for (int i = 0; i < 2 && proxy_is_hole; i++)
			side_ask(&l->side[i], false);
		if (l->is_dead || (l->side[0].is_shut && l->side[1].is_shut))
			link_free(l);
	}
	if (wake != INT64_MAX) {
		t.it_value.tv_sec = wake / 1000000;
		t.it_value.tv_nsec = wake % 1000000 * 1000;
	}
	timerfd_settime(proxy_timer, TFD_TIMER_ABSTIME, &t, NULL);
}

static void
proxy_setup(int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	sigset_t set;
	int one = 1;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	proxy_epoll = epoll_create1(EPOLL_CLOEXEC);
	proxy_signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	proxy_timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	proxy_listen = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (proxy_epoll < 0 || proxy_signals < 0 || proxy_timer < 0 || proxy_listen < 0)
		proxy_die("setup");
	setsockopt(proxy_listen, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(proxy_listen, (struct sockaddr *)&a, sizeof(a)) || listen(proxy_listen, 512) || getsockname(proxy_listen, (struct sockaddr *)&a, &len))
		proxy_die("listen");
	proxy_watch(proxy_listen, EPOLLIN, &proxy_listen);
	proxy_watch(proxy_signals, EPOLLIN, &proxy_signals);
	proxy_watch(proxy_timer, EPOLLIN, &proxy_timer);
	printf("listening on 127.0.0.1:%u\n", ntohs(a.sin_port));
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];

	if (argc != 4) {
		fprintf(stderr, "usage: delayproxy LISTEN_PORT TARGET_PORT DELAY_MS\n");
		return 2;
	}
	proxy_delay_us = (int64_t)(strtod(argv[3], NULL) * 1000);
	proxy_target = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2])),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	proxy_setup(atoi(argv[1]));
	for (;;) {
		int n = epoll_wait(proxy_epoll, events, EVENTS, -1);

		if (n < 0 && errno != EINTR)
			proxy_die("epoll_wait");
		for (int i = 0; i < n; i++)
			proxy_event(&events[i]);
		proxy_turn();
	}
}
