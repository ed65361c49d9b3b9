/* SPDX-License-Identifier: Apache-2.0 */
/* Reads /proc/self/mountinfo. A line is
 *   36 35 98:0 /root /mount/point rw,opts [tag:value …] - type source superoptions
 * with blanks, newlines and backslashes in names as \ooo. */
#include "config.h"

#include "mounts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../util/buf.h"
#include "../util/util.h"

#define MOUNTINFO_MAX (16u << 20)

static bool
mounts_is_octal(const char *s)
{
	return s[0] >= '0' && s[0] <= '3' && s[1] >= '0' && s[1] <= '7' && s[2] >= '0' && s[2] <= '7';
}

static char *
mounts_unescape(const char *s)
{
	char *out = weir_xstrdup(s), *to = out;

	while (*s != '\0') {
		if (*s == '\\' && mounts_is_octal(s + 1)) {
			*to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 4;
		} else
			*to++ = *s++;
	}
	*to = '\0';
	return out;
}

static void
mounts_add(struct weir_mounts *m, char *line)
{
	unsigned dev[2] = {0, 0};
	char *field[5] = {NULL}, *type, *source, *options, *user, *save = NULL, *dash = strstr(line, " - ");

	if (dash == NULL)
		return;
	*dash = '\0';
	for (size_t i = 0; i < WEIR_LEN(field); i++) {
		field[i] = strtok_r(i == 0 ? line : NULL, " ", &save);
		if (field[i] == NULL)
			return;
	}
	save = NULL;
	type = strtok_r(dash + 3, " ", &save);
	source = strtok_r(NULL, " ", &save);
	options = strtok_r(NULL, " ", &save);
	user = options != NULL ? strstr(options, "user_id=") : NULL;
	if (type == NULL || source == NULL || sscanf(field[2], "%u:%u", &dev[0], &dev[1]) != 2)
		return;
	if (strcmp(type, "fuse.weir") == 0 && strncmp(source, WEIR_MOUNT_MARK, strlen(WEIR_MOUNT_MARK)) == 0)
		source += strlen(WEIR_MOUNT_MARK);
	m->v = weir_xrealloc(m->v, m->n + 1, sizeof(*m->v));
	m->v[m->n++] = (struct weir_mount){.root = mounts_unescape(field[3]), .mountpoint = mounts_unescape(field[4]),
	    .source = mounts_unescape(source), .dev = makedev(dev[0], dev[1]),
	    .uid = user != NULL ? (uid_t)strtoul(user + strlen("user_id="), NULL, 10) : 0, .is_weir = strcmp(type, "fuse.weir") == 0};
}

void
weir_mounts_parse(struct weir_mounts *m, char *text)
{
	char *save = NULL;

	*m = (struct weir_mounts){0};
	for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
		mounts_add(m, line);
}

enum weir_code
weir_mounts_read(struct weir_mounts *m, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *text = NULL;
	size_t len;

	if (weir_read_file("/proc/self/mountinfo", MOUNTINFO_MAX, &text, &len) != 0)
		return weir_err_errno(err, errno, "read /proc/self/mountinfo");
	weir_mounts_parse(m, text);
	return WEIR_OK;
}

void
weir_mounts_free(struct weir_mounts *m)
{
	for (size_t i = 0; i < m->n; i++) {
		free(m->v[i].mountpoint);
		free(m->v[i].source);
		free(m->v[i].root);
	}
	free(m->v);
	*m = (struct weir_mounts){0};
}

/* What of path lies below dir ("" for dir itself), or NULL. */
static const char *
mounts_below(const char *dir, const char *path)
{
	size_t len = strcmp(dir, "/") == 0 ? 0 : strlen(dir);

	if (strncmp(dir, path, len) != 0 || (path[len] != '/' && path[len] != '\0'))
		return NULL;
	return path + len;
}

/* A later mount on the same or a shorter-named point hides an earlier one below it, so the last match wins unless it is only
 * further out: /a over /a/b hides it, but the kernel keeps both lines. Longest match, then latest, is right for all real trees. */
const struct weir_mount *
weir_mounts_at(const struct weir_mounts *m, const char *path, char **inside)
{
	const struct weir_mount *best = NULL;
	const char *rest = NULL;

	for (size_t i = 0; i < m->n; i++) {
		const char *r = mounts_below(m->v[i].mountpoint, path);

		if (r != NULL && (best == NULL || strlen(m->v[i].mountpoint) >= strlen(best->mountpoint))) {
			best = &m->v[i];
			rest = r;
		}
	}
	if (best == NULL || !best->is_weir)
		return NULL;
	if (inside != NULL) {
		*inside = weir_xasprintf("%s%s", strcmp(best->root, "/") == 0 ? "" : best->root, rest);
		if (**inside == '\0') {
			free(*inside);
			*inside = weir_xstrdup("/");
		}
	}
	return best;
}

/* The smaller the better; 0: not at all. */
static int
mounts_rank(const struct weir_mount *m, const char *source)
{
	bool is_ours = m->uid == 0 || m->uid == geteuid();

	if (!m->is_weir || strcmp(m->source, source) != 0 || (!is_ours && geteuid() != 0))
		return 0;
	return (is_ours ? 1 : 3) + (strcmp(m->root, "/") != 0);
}

const struct weir_mount *
weir_mounts_of(const struct weir_mounts *m, const char *source)
{
	const struct weir_mount *best = NULL;
	int best_rank = 0;

	for (size_t i = 0; i < m->n; i++) {
		int rank = mounts_rank(&m->v[i], source);

		/* The first whole one, the last of the binds. */
		if (rank == 0 || (best != NULL && rank > best_rank) || (rank == best_rank && rank % 2 == 1))
			continue;
		best = &m->v[i];
		best_rank = rank;
	}
	return best;
}

static void
mounts_component(struct weir_buf *b, const char *name, size_t len)
{
	if (len == 0 || (len == 1 && name[0] == '.'))
		return;
	if (len == 2 && name[0] == '.' && name[1] == '.') {
		while (b->len > 0 && b->data[b->len - 1] != '/')
			b->len--;
		if (b->len > 0)
			b->len--;
		if (b->data != NULL)
			b->data[b->len] = '\0';
		return;
	}
	weir_buf_addc(b, '/');
	weir_buf_add(b, name, len);
}

char *
weir_path_absolute(const char *path)
{
	WEIR_AUTO(weir_freep) char *whole = NULL;
	struct weir_buf b = WEIR_BUF(1u << 20);

	if (path[0] == '/')
		whole = weir_xstrdup(path);
	else {
		WEIR_AUTO(weir_freep) char *cwd = getcwd(NULL, 0);

		if (cwd == NULL)
			return NULL;
		whole = weir_xasprintf("%s/%s", cwd, path);
	}
	for (const char *p = whole; *p != '\0';) {
		size_t len = strcspn(p, "/");

		mounts_component(&b, p, len);
		p += len;
		p += strspn(p, "/");
	}
	if (b.len == 0)
		weir_buf_addc(&b, '/');
	return weir_buf_take(&b);
}
