/* SPDX-License-Identifier: Apache-2.0 */
/* The stage of fs_stage.h. */
#include "config.h"

#include <CUnit/Basic.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../backends/backend.h"
#include "fs_stage.h"

char top[64], cache[96], there[96], real[96];
static unsigned round_no;
struct weir_conf *conf;
struct weir_opens *opens;
struct weir_fs *fs;
struct weir_err err;
uint64_t base;

/* ---- the stage ---- */

void
fs_open_again(bool is_first)
{
	struct weir_fs_options o = { .conf = conf, .opens = opens, .is_first = is_first, .umask = 022, .uid = getuid(), .gid = getgid() };

	if (weir_fs_new(&o, &fs, &err))
		fprintf(stderr, "# %s\n", weir_err_text(&err, WEIR_E_IO));
	CU_ASSERT_PTR_NOT_NULL_FATAL(fs);
}

struct wait {
	pthread_mutex_t mu;
	pthread_cond_t cond;
	bool is_done;
	enum weir_code code;
};

static void
wait_done(struct weir_op *op, enum weir_code code)
{
	struct wait *w = op->front;

	pthread_mutex_lock(&w->mu);
	w->is_done = true;
	w->code = code;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->mu);
}

/* One request, to its end. */
enum weir_code
call(struct weir_op *op)
{
	struct wait w = { .mu = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };
	struct timespec ts;
	enum weir_code r;

	op->done = wait_done;
	op->front = &w;
	op->uid = getuid();
	op->gid = getgid();
	op->umask = 022;
	r = weir_fs_submit(fs, op);
	if (r != WEIR_PENDING)
		return r;
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += 60;
	pthread_mutex_lock(&w.mu);
	while (!w.is_done)
		if (pthread_cond_timedwait(&w.cond, &w.mu, &ts) == ETIMEDOUT) {
			fprintf(stderr, "# request %d on '%s' was never answered\n", op->kind, op->name ? op->name : "");
			abort();
		}
	r = w.code;
	pthread_mutex_unlock(&w.mu);
	return r;
}

enum weir_code
lookup(uint64_t parent, const char *name, struct weir_attr *out)
{
	struct weir_op op = { .kind = WEIR_OP_LOOKUP, .ino = parent, .name = name };
	enum weir_code r = call(&op);

	if (!r && out)
		*out = op.attr;
	return r;
}

/* Folders of this round; the configuration below [weir] and its cache is the caller's. */
void
stage_folders(void)
{
	++round_no;
	snprintf(cache, sizeof(cache), "%s/cache%u", top, round_no);
	snprintf(there, sizeof(there), "%s/there%u", top, round_no);
	snprintf(real, sizeof(real), "%s/real%u", top, round_no);
	CU_ASSERT_FATAL(mkdir(there, 0755) == 0 && mkdir(real, 0755) == 0);
}

void
stage_new_cache(void)
{
	snprintf(cache, sizeof(cache), "%s/new%u", top, round_no);
}

void
stage_start(const char *remotes, const char *root)
{
	WEIR_AUTO(weir_freep) char *text = weir_xasprintf("[weir]\ncache_dir = %s\ncache_size = 1GB\n%s\n", cache, remotes);
	const struct weir_conf_type *types;
	struct weir_attr a = { .ino = WEIR_ROOT };
	size_t n;

	types = weir_backend_types(&n);
	if (weir_conf_parse("t", text, strlen(text), types, n, &conf, &err))
		fprintf(stderr, "# %s\n", weir_err_text(&err, WEIR_E_CONFIG));
	CU_ASSERT_PTR_NOT_NULL_FATAL(conf);
	opens = weir_opens_new(1024);
	fs_open_again(true);
	CU_ASSERT_FATAL(!*root || lookup(WEIR_ROOT, root, &a) == WEIR_OK);
	base = a.ino;
}

void
fresh(const char *more)
{
	WEIR_AUTO(weir_freep) char *text = NULL;

	stage_folders();
	text = weir_xasprintf("[remote r]\ntype = local\npath = %s\nlist_age = 1h\n%s", there, more);
	stage_start(text, "r");
}

void
stage_end(void)
{
	weir_fs_free(fs);
	weir_conf_free(conf);
	fs = NULL;
	conf = NULL;
}

/* ---- paths ---- */

/* Directory of the path below /r, and the last name in it. */
enum weir_code
walk(const char *path, uint64_t *dir, char name[256])
{
	struct weir_attr a;
	enum weir_code r;

	*dir = base;
	for (;;) {
		size_t n = strcspn(path, "/");

		snprintf(name, 256, "%.*s", (int)n, path);
		if (!path[n])
			return WEIR_OK;
		if ((r = lookup(*dir, name, &a)))
			return r;
		if (!S_ISDIR(a.mode))
			return WEIR_E_NOTDIR;
		*dir = a.ino;
		path += n + 1;
	}
}

enum weir_code
attr_of(const char *path, struct weir_attr *a)
{
	char name[256];
	uint64_t dir;
	enum weir_code r = walk(path, &dir, name);

	return r ? r : lookup(dir, name, a);
}

bool
exists(const char *path)
{
	struct weir_attr a;

	return attr_of(path, &a) == WEIR_OK;
}

enum weir_code
file_start(const char *path, uint32_t flags, struct file *f)
{
	struct weir_op op = { .kind = WEIR_OP_CREATE, .mode = 0644, .flags = flags };
	struct weir_attr a;
	char name[256];
	enum weir_code r = walk(path, &op.ino, name);

	if (r)
		return r;
	op.name = name;
	r = lookup(op.ino, name, &a);
	if (r && r != WEIR_E_NOENT)
		return r;
	if (r && !(flags & O_CREAT))
		return r;
	if (!r) { /* it is there: the kernel opens it */
		op.kind = WEIR_OP_OPEN;
		op.ino = a.ino;
		op.name = NULL;
		if (S_ISDIR(a.mode))
			return WEIR_E_ISDIR;
	}
	if ((r = call(&op)))
		return r;
	f->ino = op.kind == WEIR_OP_OPEN ? op.ino : op.attr.ino;
	f->fh = op.fh;
	return WEIR_OK;
}

enum weir_code
file_put(struct file *f, const void *buf, size_t len, uint64_t off)
{
	struct weir_op op = { .kind = WEIR_OP_WRITE, .ino = f->ino, .fh = f->fh, .len = len, .off = off };
	WEIR_AUTO(weir_freep) char *copy = malloc(len + 1);
	enum weir_code r;

	memcpy(copy, buf, len);
	op.buf = copy;
	r = call(&op);
	return r ? r : op.result == len ? WEIR_OK : WEIR_E_IO;
}

enum weir_code
file_cut(uint64_t ino, uint64_t size)
{
	struct weir_op op = { .kind = WEIR_OP_SETATTR, .ino = ino, .set_mask = WEIR_SET_SIZE, .set.size = size };

	return call(&op);
}

ssize_t
file_get(struct file *f, void *buf, size_t len, uint64_t off)
{
	struct weir_op op = { .kind = WEIR_OP_READ, .ino = f->ino, .fh = f->fh, .buf = buf, .len = len, .off = off };
	enum weir_code r = call(&op);

	return r ? -(ssize_t)r : (ssize_t)op.result;
}

enum weir_code
file_stop(struct file *f)
{
	struct weir_op op = { .kind = WEIR_OP_FLUSH, .ino = f->ino, .fh = f->fh };
	enum weir_code r = call(&op);

	op = (struct weir_op){ .kind = WEIR_OP_RELEASE, .ino = f->ino, .fh = f->fh };
	call(&op);
	return r;
}

enum weir_code
put(const char *path, const char *text)
{
	struct file f;
	enum weir_code r = file_start(path, O_WRONLY | O_CREAT | O_TRUNC, &f), r2;

	if (r)
		return r;
	r = file_put(&f, text, strlen(text), 0);
	r2 = file_stop(&f);
	return r ? r : r2;
}

/* The whole file; owned. NULL: it cannot be read. */
char *
get(const char *path, size_t *len)
{
	struct weir_attr a;
	struct file f;
	char *buf;
	ssize_t n;

	if (attr_of(path, &a) || file_start(path, O_RDONLY, &f))
		return NULL;
	buf = calloc(a.size + 1, 1);
	n = file_get(&f, buf, a.size, 0);
	file_stop(&f);
	*len = (size_t)a.size;
	if (n == (ssize_t)a.size)
		return buf;
	free(buf);
	return NULL;
}

bool
holds(const char *path, const char *text)
{
	size_t n;
	WEIR_AUTO(weir_freep) char *got = get(path, &n);

	return got && n == strlen(text) && memcmp(got, text, n) == 0;
}

static enum weir_code
one_name(enum weir_op_kind kind, const char *path)
{
	struct weir_op op = { .kind = kind, .mode = 0755 };
	char name[256];
	enum weir_code r = walk(path, &op.ino, name);

	op.name = name;
	return r ? r : call(&op);
}

enum weir_code
mkdir_(const char *path)
{
	return one_name(WEIR_OP_MKDIR, path);
}

enum weir_code
unlink_(const char *path)
{
	return one_name(WEIR_OP_UNLINK, path);
}

enum weir_code
rmdir_(const char *path)
{
	return one_name(WEIR_OP_RMDIR, path);
}

enum weir_code
rename_(const char *from, const char *to, uint32_t flags)
{
	struct weir_op op = { .kind = WEIR_OP_RENAME, .flags = flags };
	char a[256], b[256];
	enum weir_code r;

	if ((r = walk(from, &op.ino, a)) || (r = walk(to, &op.ino2, b)))
		return r;
	op.name = a;
	op.name2 = b;
	return call(&op);
}

/* ---- the other side ---- */

char *
at(const char *path)
{
	static char full[2][512];
	static unsigned i;

	i = !i;
	snprintf(full[i], sizeof(full[i]), "%s/%s", there, path);
	return full[i];
}

bool
there_holds(const char *path, const char *text)
{
	WEIR_AUTO(weir_freep) char *got = NULL;
	size_t n;

	return !weir_read_file(at(path), 1 << 20, &got, &n) && n == strlen(text) && memcmp(got, text, n) == 0;
}

bool
there_is(const char *path)
{
	return access(at(path), F_OK) == 0;
}

void
there_put(const char *path, const char *text)
{
	int fd = open(at(path), O_WRONLY | O_CREAT | O_TRUNC, 0644);

	CU_ASSERT_FATAL(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
}

/* Names in a folder of the remote that begin so. */
unsigned
there_count(const char *dir, const char *prefix, char *last, size_t max)
{
	DIR *d = opendir(at(dir));
	struct dirent *e;
	unsigned n = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	while ((e = readdir(d)))
		if (strncmp(e->d_name, prefix, strlen(prefix)) == 0 && e->d_name[0] != '.') {
			n++;
			if (last)
				snprintf(last, max, "%s", e->d_name);
		}
	closedir(d);
	return n;
}

enum weir_code
flush(void)
{
	enum weir_code r;

	err = (struct weir_err){ 0 };
	r = weir_fs_flush(fs, NULL, NULL, NULL, &err);
	if (r)
		fprintf(stderr, "# flush: %s\n", weir_err_text(&err, r));
	return r;
}

static bool
no_wait(void *arg, const struct weir_flush_progress *p)
{
	(void)arg;
	(void)p;
	return false;
}

/* What is due is sent now, while the test goes on. */
void
nudge(void)
{
	weir_fs_flush(fs, NULL, no_wait, NULL, &err);
}

void
refresh(void)
{
	CU_ASSERT_EQUAL(weir_fs_refresh(fs, "/", &err), WEIR_OK);
}

/* ---- first and last ---- */

int
stage_begin(void)
{
	weir_log_setup("t", false, getenv("WEIR_TEST_LOG") ? WEIR_LOG_DEBUG : WEIR_LOG_ERROR);
	snprintf(top, sizeof(top), "/tmp/weir-fs-XXXXXX");
	return mkdtemp(top) ? 0 : -1;
}

int
stage_finish(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		execlp("rm", "rm", "-rf", top, (char *)NULL);
		_exit(127);
	}
	return 0;
}
