/* SPDX-License-Identifier: Apache-2.0 */
/* Random changes in the tree and in a plain folder, see fs_stage.h. */
#include "config.h"

#include <CUnit/Basic.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../backends/backend.h"
#include "fs_stage.h"

static uint64_t seed;

static uint32_t
rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 16);
}

static const char *
some_path(void)
{
	static const char *const dirs[] = { "", "", "p/", "q/", "p/q/", "q/p/" }, *const names[] = { "a", "b", "c", "p", "q" };
	static char path[4][32];
	static unsigned i;

	i = (i + 1) % 4;
	snprintf(path[i], sizeof(path[i]), "%s%s", dirs[rnd() % WEIR_LEN(dirs)], names[rnd() % WEIR_LEN(names)]);
	return path[i];
}

static char *
plain(const char *path)
{
	static char full[4][512];
	static unsigned i;

	i = (i + 1) % 4;
	snprintf(full[i], sizeof(full[i]), "%s/%s", real, path);
	return full[i];
}

static enum weir_code
code_of(int rc)
{
	return rc < 0 ? weir_code_from_errno(errno) : WEIR_OK;
}

struct pair {
	struct file f;
	int fd;
	bool is_open;
};

static uint64_t
some_offset(void)
{
	static const uint64_t near[] = { 0, 1, 4095, 131071, 131072, 131073, 262144, 300000 };

	return near[rnd() % WEIR_LEN(near)] + rnd() % 3;
}

static enum weir_code
random_io(struct pair *p, enum weir_code *want)
{
	static char a[70000], b[70000];
	uint64_t off = some_offset();
	size_t len = rnd() % (rnd() % 4 ? 3000 : sizeof(a));
	ssize_t n, m;

	switch (rnd() % 4) {
	case 0:
		memset(a, (int)('A' + rnd() % 26), len);
		*want = code_of(pwrite(p->fd, a, len, (off_t)off) < 0 ? -1 : 0);
		return len ? file_put(&p->f, a, len, off) : WEIR_OK;
	case 1:
		*want = code_of(ftruncate(p->fd, (off_t)off));
		return file_cut(p->f.ino, off);
	default:
		n = pread(p->fd, a, len, (off_t)off);
		m = len ? file_get(&p->f, b, len, off) : 0;
		*want = WEIR_OK;
		if (n == m && memcmp(a, b, (size_t)n) == 0)
			return WEIR_OK;
		fprintf(stderr, "# read of %zu at %llu: %zd, should be %zd\n", len, (unsigned long long)off, m, n);
		return WEIR_E_IO;
	}
}

static enum weir_code
random_open(struct pair *p, const char *path, enum weir_code *want)
{
	int flags = O_RDWR | (rnd() % 2 ? O_CREAT : 0) | (rnd() % 4 == 0 ? O_TRUNC : 0);
	enum weir_code r;

	if (p->is_open) {
		*want = WEIR_OK;
		close(p->fd);
		p->is_open = false;
		return file_stop(&p->f);
	}
	p->fd = open(plain(path), flags, 0644);
	*want = code_of(p->fd);
	r = file_start(path, (uint32_t)flags, &p->f);
	p->is_open = p->fd >= 0 && !r;
	return r;
}

static enum weir_code
random_change(struct pair *pairs, size_t npairs, enum weir_code *want)
{
	struct pair *p = &pairs[rnd() % npairs];
	const char *a = some_path(), *b = some_path();
	struct stat sb;

	switch (rnd() % 12) {
	case 0:
		*want = code_of(mkdir(plain(a), 0755));
		return mkdir_(a);
	case 1:
		if (stat(plain(a), &sb) == 0 && S_ISDIR(sb.st_mode)) /* the kernel answers this one without asking */
			return *want = WEIR_OK;
		*want = code_of(unlink(plain(a)));
		return unlink_(a);
	case 2:
		*want = code_of(rmdir(plain(a)));
		return rmdir_(a);
	case 3:
	case 4:
		*want = code_of(rename(plain(a), plain(b)));
		return rename_(a, b, 0);
	case 5:
		*want = code_of(renameat2(AT_FDCWD, plain(a), AT_FDCWD, plain(b), RENAME_EXCHANGE));
		return rename_(a, b, RENAME_EXCHANGE);
	case 6:
	case 7:
	case 8:
		return random_open(p, a, want);
	default:
		return p->is_open ? random_io(p, want) : (*want = WEIR_OK);
	}
}

/* Which of two refusals comes first is the kernel's affair; what is done and what is refused must be the same. */
static bool
sorted_out(enum weir_code got, enum weir_code want)
{
	return got == want || (got && want);
}

static int
digest_line(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
digest_file(struct weir_buf *b, const char *path, const void *data, size_t len)
{
	weir_buf_addf(b, "%s %zu %llx\n", path, len, (unsigned long long)weir_page_hash(data, len));
}

struct names { char *name[64]; unsigned n; };

static int
names_emit(struct weir_op *op, const char *name, const struct weir_attr *a, uint64_t cookie)
{
	struct names *l = op->buf;

	(void)cookie;
	if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && l->n < WEIR_LEN(l->name))
		l->name[l->n++] = weir_xasprintf("%s%s", name, S_ISDIR(a->mode) ? "/" : "");
	return 0;
}

/* Everything below a directory: of the tree (root NULL) or of a real folder. */
static void
digest(struct weir_buf *b, const char *root, const char *dir)
{
	struct names l = { .n = 0 };

	if (!root) {
		struct weir_attr a = { .ino = base };
		struct weir_op op = { .kind = WEIR_OP_READDIR, .emit = names_emit, .buf = &l };

		if (*dir)
			CU_ASSERT_EQUAL(attr_of(dir, &a), WEIR_OK);
		op.ino = a.ino;
		CU_ASSERT_EQUAL(call(&op), WEIR_OK);
	} else {
		WEIR_AUTO(weir_freep) char *full = weir_xasprintf("%s/%s", root, dir);
		DIR *d = opendir(full);
		struct dirent *e;

		CU_ASSERT_PTR_NOT_NULL_FATAL(d);
		while ((e = readdir(d)) && l.n < WEIR_LEN(l.name))
			if (e->d_name[0] != '.')
				l.name[l.n++] = weir_xasprintf("%s%s", e->d_name, e->d_type == DT_DIR ? "/" : "");
		closedir(d);
	}
	qsort(l.name, l.n, sizeof(l.name[0]), digest_line);
	for (unsigned i = 0; i < l.n; i++) {
		WEIR_AUTO(weir_freep) char *path = weir_xasprintf("%s%s%s", dir, *dir ? "/" : "", l.name[i]);
		WEIR_AUTO(weir_freep) char *data = NULL, *full = NULL;
		size_t len = strlen(path);

		free(l.name[i]);
		if (path[len - 1] == '/') {
			weir_buf_addf(b, "%s\n", path);
			path[len - 1] = 0;
			digest(b, root, path);
			continue;
		}
		if (root) {
			full = weir_xasprintf("%s/%s", root, path);
			if (weir_read_file(full, 8 << 20, &data, &len))
				len = 0;
		} else
			data = get(path, &len);
		if (data)
			digest_file(b, path, data, len);
		else
			weir_buf_addf(b, "%s cannot be read\n", path);
	}
}

bool
same(const char *what, const char *root)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf want = WEIR_BUF(1 << 20), got = WEIR_BUF(1 << 20);

	digest(&want, real, "");
	digest(&got, root, "");
	if (strcmp(weir_buf_str(&want), weir_buf_str(&got)) == 0)
		return true;
	fprintf(stderr, "# %s differs:\n# should be:\n%s# is:\n%s", what, weir_buf_str(&want), weir_buf_str(&got));
	return false;
}

void
random_changes(uint64_t start, unsigned rounds)
{
	struct pair pairs[4] = { 0 };
	unsigned wrong = 0;

	seed = start;
	for (unsigned i = 0; i < rounds && wrong < 5; i++) {
		enum weir_code want = WEIR_OK, got = random_change(pairs, WEIR_LEN(pairs), &want);

		if (!sorted_out(got, want)) {
			fprintf(stderr, "# step %u of seed %llu: %d, should be %d\n", i, (unsigned long long)start, got, want);
			wrong++;
		}
		if (i % 7 == 0)
			nudge();
	}
	CU_ASSERT_EQUAL(wrong, 0);
	for (unsigned i = 0; i < WEIR_LEN(pairs); i++)
		if (pairs[i].is_open) {
			close(pairs[i].fd);
			CU_ASSERT_EQUAL(file_stop(&pairs[i].f), WEIR_OK);
		}
	CU_ASSERT(same("the tree", NULL));
}
