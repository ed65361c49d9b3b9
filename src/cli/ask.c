/* SPDX-License-Identifier: Apache-2.0 */
/* Questions and answers (ask.h). */
#include "config.h"

#include "ask.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "../util/util.h"

#define ASK_MAX (16u << 10)

static struct termios ask_saved;	/* for the signal handler, too */

bool
weir_ask_is_person(void)
{
	return isatty(STDIN_FILENO) == 1;
}

int
weir_ask_more(struct weir_buf *line)
{
	char c;
	ssize_t n = read(STDIN_FILENO, &c, 1);

	if (n < 0 && errno == EINTR)
		return 0;
	if (n <= 0)
		return line->len > 0 && n == 0 ? 1 : -1;
	if (c == '\n')
		return 1;
	if (c != '\r' && c != '\0')
		weir_buf_addc(line, c);
	return 0;
}

/* A person who gives up gets the terminal back as it was. */
static void
ask_on_signal(int sig)
{
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &ask_saved);
	signal(sig, SIG_DFL);
	raise(sig);
}

static bool
ask_echo_off(struct sigaction old[3])
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction sa = {.sa_handler = ask_on_signal};
	struct termios t;

	if (!weir_ask_is_person() || tcgetattr(STDIN_FILENO, &ask_saved) < 0)
		return false;
	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < WEIR_LEN(signals); i++)
		sigaction(signals[i], &sa, &old[i]);
	t = ask_saved;
	t.c_lflag &= ~(tcflag_t)ECHO;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &t);
	return true;
}

static void
ask_echo_on(const struct sigaction old[3])
{
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &ask_saved);
	sigaction(SIGINT, &old[0], NULL);
	sigaction(SIGTERM, &old[1], NULL);
	sigaction(SIGHUP, &old[2], NULL);
	fputc('\n', stderr);
}

char *
weir_ask(const char *question, bool is_secret)
{
	struct weir_buf line = WEIR_BUF(ASK_MAX);
	struct sigaction old[3];
	bool is_off;
	char *answer = NULL;
	int r;

	fprintf(stderr, "%s: ", question);
	fflush(stderr);
	is_off = is_secret && ask_echo_off(old);
	while ((r = weir_ask_more(&line)) == 0)
		;
	if (is_off)
		ask_echo_on(old);
	if (r > 0) {
		const char *s = weir_buf_str(&line);
		size_t n;

		s += strspn(s, " \t");
		for (n = strlen(s); n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t'); n--)
			;
		answer = weir_xstrndup(s, n);
	} else
		fputc('\n', stderr);
	if (line.data != NULL)
		explicit_bzero(line.data, line.cap);
	weir_buf_free(&line);
	return answer;
}
