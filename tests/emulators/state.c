/* SPDX-License-Identifier: Apache-2.0 */
/* The state file of an emulator, DIR/state.jsonl: one JSON object a line, appended by each change and rewritten at start
 * from what is then in memory. A last line cut by a kill is dropped. Callers hold their state's lock. */
#include "config.h"
#include "common.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int log_fd = -1;
static char *log_path;
static FILE *log_dump;	/* while compacting */

static int
log_replay(FILE *f, int (*apply)(const json_t *))
{
	char *line = NULL;
	size_t cap = 0, n = 0;
	ssize_t len;

	while ((len = getline(&line, &cap, f)) > 0) {
		json_t *o = json_loadb(line, (size_t)len, JSON_ALLOW_NUL, NULL);

		n++;
		if (!o) {
			fprintf(stderr, "%s:%zu: dropped a line cut short\n", log_path, n);
			continue;
		}
		if (apply(o))
			fprintf(stderr, "%s:%zu: dropped a line whose content is gone\n", log_path, n);
		json_decref(o);
	}
	free(line);
	return 0;
}

int
emu_log_open(const char *dir, int (*apply)(const json_t *))
{
	FILE *f;

	log_path = weir_xasprintf("%s/state.jsonl", dir);
	f = fopen(log_path, "re");
	if (!f && errno != ENOENT) {
		fprintf(stderr, "cannot read '%s': %s\n", log_path, strerror(errno));
		return -1;
	}
	if (f) {
		log_replay(f, apply);
		fclose(f);
	}
	return 0;
}

void
emu_log(json_t *o)
{
	char *text = json_dumps(o, JSON_COMPACT | JSON_ENCODE_ANY);
	size_t n;

	json_decref(o);
	if (!text) {
		fprintf(stderr, "%s: a change could not be written as JSON\n", log_path);
		return;
	}
	n = strlen(text);
	text[n] = '\n';	/* the terminator's place; written by length */
	if (log_dump)
		fwrite(text, 1, n + 1, log_dump);
	else if (log_fd >= 0 && write(log_fd, text, n + 1) != (ssize_t)(n + 1))
		fprintf(stderr, "cannot write '%s': %s\n", log_path, strerror(errno));
	free(text);
}

int
emu_log_compact(void (*dump)(void))
{
	char *temp = weir_xasprintf("%s.new", log_path);
	int r = -1;

	log_dump = fopen(temp, "we");
	if (log_dump) {
		dump();
		r = fflush(log_dump) || rename(temp, log_path) ? -1 : 0;
		fclose(log_dump);
		log_dump = NULL;
	}
	if (!r)
		log_fd = open(log_path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (r || log_fd < 0) {
		fprintf(stderr, "cannot write '%s': %s\n", temp, strerror(errno));
		r = -1;
	}
	free(temp);
	return r;
}
