/* SPDX-License-Identifier: Apache-2.0 */
/* How weir speaks to people: sentences, amounts, progress. */
#include "config.h"

#include "cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../util/text.h"

#define PROGRESS_TTY_MS 250
#define PROGRESS_LINE_MS 5000

void
weir_say(const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fflush(stdout);
	/* One write, so that lines of several processes do not mix. */
	fprintf(stderr, "weir: %s\n", text);
}

void
weir_print_json(const json_t *j)
{
	json_dumpf(j, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
}

const char *
weir_amount_text(uint64_t files, uint64_t bytes, char out[64])
{
	char size[16];

	snprintf(out, 64, "%llu %s, %s", (unsigned long long)files, files == 1 ? "file" : "files", weir_size_text(bytes, size));
	return out;
}

void
weir_progress_start(struct weir_progress *p, const char *label)
{
	*p = (struct weir_progress){.label = label, .is_tty = isatty(STDERR_FILENO) == 1, .start_ms = weir_now_ms()};
	p->said_ms = p->start_ms;
}

static uint64_t
progress_number(json_t *line, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(line, key));

	return n > 0 ? (uint64_t)n : 0;
}

static void
progress_bar(struct weir_progress *p, json_t *line, uint64_t left, uint64_t sent, uint64_t total)
{
	char bar[21], amount[64], speed[16];
	uint64_t elapsed_ms = (uint64_t)(weir_now_ms() - p->start_ms) + 1;
	uint64_t share = total > 0 ? sent * 20 / total : 20;

	share = share > 20 ? 20 : share;
	memset(bar, '.', 20);
	memset(bar, '#', share);
	bar[20] = '\0';
	fprintf(stderr, "\r\033[K%s [%s] %3u%%  %s left, %s/s", p->label, bar, (unsigned)(total > 0 ? (sent >= total ? 100 : sent * 100 / total) : 100),
	    weir_amount_text(progress_number(line, "files_left"), left, amount), weir_size_text(sent * 1000 / elapsed_ms, speed));
	fflush(stderr);
	p->is_shown = true;
}

void
weir_progress_line(void *arg, json_t *line)
{
	struct weir_progress *p = arg;
	int64_t now = weir_now_ms();
	char amount[64];

	if (p->is_quiet || now - p->said_ms < (p->is_tty ? PROGRESS_TTY_MS : PROGRESS_LINE_MS))
		return;
	p->said_ms = now;
	if (p->is_tty)
		progress_bar(p, line, progress_number(line, "bytes_left"), progress_number(line, "bytes_sent"), progress_number(line, "bytes_total"));
	else
		weir_say("%s: %s left", p->label, weir_amount_text(progress_number(line, "files_left"), progress_number(line, "bytes_left"), amount));
}

void
weir_progress_count(struct weir_progress *p, uint64_t files, uint64_t bytes)
{
	int64_t now = weir_now_ms();
	char amount[64], speed[16];

	if (p->is_quiet || now - p->said_ms < (p->is_tty ? PROGRESS_TTY_MS : PROGRESS_LINE_MS))
		return;
	p->said_ms = now;
	weir_amount_text(files, bytes, amount);
	weir_size_text(bytes * 1000 / ((uint64_t)(now - p->start_ms) + 1), speed);
	if (p->is_tty) {
		fprintf(stderr, "\r\033[K%s: %s, %s/s", p->label, amount, speed);
		fflush(stderr);
		p->is_shown = true;
	} else
		weir_say("%s: %s so far, %s/s", p->label, amount, speed);
}

void
weir_progress_end(struct weir_progress *p)
{
	if (p->is_shown)
		fprintf(stderr, "\r\033[K");
	p->is_shown = false;
}
