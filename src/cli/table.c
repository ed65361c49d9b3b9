/* SPDX-License-Identifier: Apache-2.0 */
/* Tables and paragraphs on standard output. */
#include "config.h"

#include "table.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../util/clean.h"
#include "../util/util.h"

#define TABLE_GAP 2
#define TABLE_LEAST 8	/* columns that a cell keeps */

void
weir_table_add(struct weir_table *t, const char *const *cells)
{
	t->cells = weir_xrealloc(t->cells, (t->rows + 1) * t->columns, sizeof(*t->cells));
	for (size_t i = 0; i < t->columns; i++)
		t->cells[t->rows * t->columns + i] = weir_xstrdup(cells[i] != NULL ? cells[i] : "");
	t->rows++;
}

void
weir_table_free(struct weir_table *t)
{
	for (size_t i = 0; i < t->rows * t->columns; i++)
		free(t->cells[i]);
	free(t->cells);
	t->cells = NULL;
	t->rows = 0;
}

/* Takes one column of text from the widest cell, of equals from the last one; false: nothing can give way any more. */
static bool
table_shrink(size_t *widths, size_t n, size_t from)
{
	size_t widest = n;

	for (size_t i = from; i < n; i++) {
		if (widths[i] > TABLE_LEAST && (widest == n || widths[i] >= widths[widest]))
			widest = i;
	}
	if (widest == n)
		return false;
	widths[widest]--;
	return true;
}

/* With nothing after it in its row, a cell may use the place of the columns there. */
static bool
table_spans(const struct weir_table *t, size_t row, size_t column)
{
	for (size_t i = column + 1; i < t->columns; i++) {
		if (*t->cells[row * t->columns + i] != '\0')
			return false;
	}
	return column + 1 < t->columns;
}

static void
table_fit(const struct weir_table *t, size_t width, size_t *widths)
{
	size_t sum = TABLE_GAP * (t->columns - 1);

	for (size_t i = 0; i < t->columns; i++) {
		widths[i] = weir_columns(t->heads[i]);
		for (size_t k = 0; k < t->rows; k++) {
			size_t w = weir_columns(t->cells[k * t->columns + i]);

			widths[i] = w > widths[i] && !table_spans(t, k, i) ? w : widths[i];
		}
		sum += widths[i];
	}
	while (width > 0 && sum > width && (table_shrink(widths, t->columns, 1) || table_shrink(widths, 1, 0)))
		sum--;
}

static void
table_row(const struct weir_table *t, const char *const *cells, const size_t *widths, size_t width)
{
	size_t at = 0;

	for (size_t i = 0; i < t->columns; i++) {
		size_t next = i + 1, room;
		WEIR_AUTO(weir_freep) char *cell = NULL;

		while (next < t->columns && *cells[next] == '\0')
			next++;
		room = next < t->columns || next == i + 1 ? widths[i] : width > at ? width - at : SIZE_MAX;
		cell = weir_cut_columns(cells[i], room);
		fputs(cell, stdout);
		if (next == t->columns)
			break;
		printf("%*s", (int)(widths[i] - weir_columns(cell) + TABLE_GAP), "");
		at += widths[i] + TABLE_GAP;
	}
	putchar('\n');
}

void
weir_table_print(const struct weir_table *t, size_t width)
{
	size_t widths[WEIR_TABLE_COLUMNS];

	table_fit(t, width, widths);
	table_row(t, t->heads, widths, width);
	for (size_t i = 0; i < t->rows; i++)
		table_row(t, (const char *const *)t->cells + i * t->columns, widths, width);
}

size_t
weir_terminal_columns(void)
{
	struct winsize size = {0};

	if (isatty(STDOUT_FILENO) != 1)
		return 0;
	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* One line of text, without its newline. */
static void
table_paragraph(const char *line, size_t len, size_t indent, size_t width)
{
	size_t at = 0, room = width > indent + TABLE_LEAST ? width - indent : TABLE_LEAST;

	printf("%*s", (int)(len > 0 ? indent : 0), "");
	for (const char *p = line, *end = line + len; p < end;) {
		size_t gap = strspn(p, " "), n = strcspn(p + gap, " \n");
		WEIR_AUTO(weir_freep) char *word = weir_xstrndup(p + gap, n);
		size_t columns = weir_columns(word);

		if (width > 0 && at > 0 && at + gap + columns > room) {
			printf("\n%*s", (int)indent, "");
			at = gap = 0;
		}
		printf("%*s%s", (int)gap, "", word);
		at += gap + columns;
		p += strspn(p, " ") + n;
	}
	putchar('\n');
}

void
weir_print_wrapped(const char *text, size_t indent, size_t width)
{
	while (*text != '\0') {
		size_t n = strcspn(text, "\n");

		table_paragraph(text, n, indent, width);
		text += n + (text[n] == '\n');
	}
}
