/* SPDX-License-Identifier: Apache-2.0 */
/* An fs for testing the kernel edge alone: a tree in shared memory, contents as files in a folder; both outlive the worker. It keeps what fs.h
 * promises (once only, parked operations, cancelling, one I/O mode per node) and does strange things for some names:
 *
 *	slow*		reads come 300 ms later, from another thread
 *	never*		reads come when "answer" is written to ctl, or when cancelled
 *	park*		looking it up waits like that (a request the kernel waits for, not a page)
 *	die*		the worker ends after the change was committed and before it is answered
 *	pass*		read by passthrough
 *	full*		opening gives ENFILE
 *	ctl		commands written to it: change NAME TEXT, replace NAME TEXT, delete NAME, answer, hang, crash
 *	.log		what happened, one line each: worker N, resent KIND, cancel KIND
 *
 * usage: fakefs [-a] [-r SENTENCE] MOUNTPOINT FOLDER	mounts, prints the supervisor's pid, serves in the background
 *	  fakefs bench FOLDER COUNT THREADS		round trips: stat of names that are not there
 *	  fakefs worst FOLDER MS			the same for so long; says the longest
 *	  fakefs mmapwrite FILE				writes through a shared mapping */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fs/fs.h"
#include "fuse/fuse.h"
#include "util/util.h"

#define NODES 24000u
#define FIRST 16u
#define BIG_ENTRIES 10000
#define RING 4096u
#define FOREVER INT64_MAX

struct place { uint64_t parent; char name[80]; };
struct node {
	struct place place[2];
	int cur;			/* which of the two counts */
	int is_linked, is_pass;
	uint32_t mode, uid, gid;
	int64_t mtime_ns;
	char target[128];
};
/* One change, written down whole before it is applied: a killed worker's half is done again. */
struct change { int is_valid; uint64_t unique, ino, victim; int cur, is_linked; };
struct tree {
	uint64_t next_ino;
	struct change change;
	struct { uint64_t unique, ino; } ring[RING];
	unsigned ring_next;
	struct node node[NODES];
};
struct parked { struct parked *next; struct weir_op *op; int64_t due_ms; enum weir_code code; };
struct job { struct job *next; char line[256]; };
struct weir_fs {
	pthread_mutex_t mu;
	pthread_cond_t more;
	struct parked *parked;
	struct job *jobs;
	const struct weir_observer *observer;
	struct weir_opens *opens;
	bool can_pass;
	atomic_bool is_hung;
};

static struct tree *tree;
static int folder = -1;
static const char *refusal;

static void
note(const char *fmt, ...)
{
	WEIR_AUTO(weir_closep) int fd = openat(folder, "log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	char line[200];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	line[n++] = '\n';
	if (write(fd, line, (size_t)n) < 0)
		abort();
}

/* ---- tree; lock held ---- */

static struct place *place_of(uint64_t ino) { return &tree->node[ino].place[tree->node[ino].cur]; }
static bool starts(const char *s, const char *with) { return strncmp(s, with, strlen(with)) == 0; }

static uint64_t
child(uint64_t parent, const char *name)
{
	for (uint64_t i = FIRST; i < tree->next_ino; i++) {
		struct place *p = place_of(i);

		if (tree->node[i].is_linked && p->parent == parent && strcmp(p->name, name) == 0)
			return i;
	}
	return 0;
}

static bool
has_child(uint64_t parent)
{
	for (uint64_t i = FIRST; i < tree->next_ino; i++) {
		if (tree->node[i].is_linked && place_of(i)->parent == parent)
			return true;
	}
	return false;
}

static void
apply(void)
{
	struct change *c = &tree->change;
	unsigned slot = tree->ring_next % RING;

	if (!c->is_valid)
		return;
	if (c->victim != 0)
		tree->node[c->victim].is_linked = 0;
	tree->node[c->ino].cur = c->cur;
	tree->node[c->ino].is_linked = c->is_linked;
	tree->ring[slot].ino = c->ino;
	tree->ring[slot].unique = c->unique;
	tree->ring_next++;
	c->is_valid = 0;
}

static void
commit(const struct weir_op *op, uint64_t ino, uint64_t victim, int cur, int is_linked)
{
	tree->change = (struct change){.unique = op->unique, .ino = ino, .victim = victim, .cur = cur, .is_linked = is_linked};
	atomic_thread_fence(memory_order_seq_cst);
	tree->change.is_valid = 1;
	apply();
}

static bool
done_before(const struct weir_op *op, uint64_t *ino)
{
	if (!op->is_resent)
		return false;
	for (unsigned i = 0; i < RING; i++) {
		if (tree->ring[i].unique == op->unique && op->unique != 0) {
			*ino = tree->ring[i].ino;
			note("resent %d known", op->kind);
			return true;
		}
	}
	return false;
}

static void
die_if(const struct weir_op *op, const char *name)
{
	if (starts(name, "die") && !op->is_resent) {
		note("died %d", op->kind);
		_exit(9);
	}
}

static int
content(uint64_t ino, int flags)
{
	char name[24];

	snprintf(name, sizeof(name), "%llu", (unsigned long long)ino);
	return openat(folder, name, flags | O_CLOEXEC, 0644);
}

static void
fill(uint64_t ino, struct weir_attr *a)
{
	struct node *n = &tree->node[ino];
	struct stat st = {0};

	*a = (struct weir_attr){.ino = ino, .mode = n->mode, .uid = n->uid, .gid = n->gid, .nlink = 1, .blksize = 131072, .valid_ms = 3600000,
	    .mtime_ns = n->mtime_ns, .ctime_ns = n->mtime_ns, .atime_ns = n->mtime_ns};
	if (S_ISREG(n->mode)) {
		WEIR_AUTO(weir_closep) int fd = content(ino, O_RDONLY);

		if (fd >= 0 && fstat(fd, &st) == 0)
			a->size = (uint64_t)st.st_size;
		a->blocks = (a->size + 511) / 512;
	} else if (S_ISLNK(n->mode)) {
		a->size = strlen(n->target);
	}
}

static uint64_t
fresh(uint64_t parent, const char *name, uint32_t mode, const struct weir_op *op)
{
	uint64_t ino = tree->next_ino;
	struct node *n;

	if (ino >= NODES)
		return 0;
	n = &tree->node[ino];
	*n = (struct node){.mode = mode, .uid = op->uid, .gid = op->gid, .mtime_ns = weir_wall_ns()};
	n->place[0].parent = parent;
	snprintf(n->place[0].name, sizeof(n->place[0].name), "%s", name);
	if (S_ISREG(mode)) {
		WEIR_AUTO(weir_closep) int fd = content(ino, O_RDWR | O_CREAT | O_TRUNC);

		if (fd < 0)
			return 0;
	}
	tree->next_ino++;
	return ino;
}

/* ---- operations; lock held ---- */

static enum weir_code
make(struct weir_op *op, uint32_t mode)
{
	uint64_t ino;

	if (!done_before(op, &ino)) {
		if (child(op->ino, op->name) != 0)
			return WEIR_E_EXIST;
		ino = fresh(op->ino, op->name, mode, op);
		if (ino == 0)
			return WEIR_E_NOSPC;
		if (op->name2 != NULL)
			snprintf(tree->node[ino].target, sizeof(tree->node[ino].target), "%s", op->name2);
		commit(op, ino, 0, 0, 1);
		die_if(op, op->name);
	}
	fill(ino, &op->attr);
	return WEIR_OK;
}

static enum weir_code
unmake(struct weir_op *op, bool is_dir)
{
	uint64_t ino;

	if (done_before(op, &ino))
		return WEIR_OK;
	ino = child(op->ino, op->name);
	if (ino == 0)
		return WEIR_E_NOENT;
	if (S_ISDIR(tree->node[ino].mode) != is_dir)
		return is_dir ? WEIR_E_NOTDIR : WEIR_E_ISDIR;
	if (is_dir && has_child(ino))
		return WEIR_E_NOTEMPTY;
	commit(op, ino, 0, tree->node[ino].cur, 0);
	die_if(op, op->name);
	return WEIR_OK;
}

static enum weir_code
move(struct weir_op *op)
{
	uint64_t ino, victim;
	struct place *p;

	if (done_before(op, &ino))
		return WEIR_OK;
	ino = child(op->ino, op->name);
	victim = child(op->ino2, op->name2);
	if (ino == 0)
		return WEIR_E_NOENT;
	if (victim != 0 && has_child(victim))
		return WEIR_E_NOTEMPTY;
	p = &tree->node[ino].place[1 - tree->node[ino].cur];
	p->parent = op->ino2;
	snprintf(p->name, sizeof(p->name), "%s", op->name2);
	commit(op, ino, victim, 1 - tree->node[ino].cur, 1);
	die_if(op, op->name);
	return WEIR_OK;
}

static enum weir_code
count_open(struct weir_fs *fs, struct weir_op *op, uint64_t ino)
{
	struct node *n = &tree->node[ino];
	bool is_writer = (op->flags & O_ACCMODE) != O_RDONLY;
	struct weir_open_slot slot;

	if (starts(place_of(ino)->name, "full"))
		return WEIR_E_NFILE;
	if (weir_opens_get(fs->opens, ino, is_writer, &slot) < 0)
		return WEIR_E_NFILE;
	if (slot.opens == 1)
		n->is_pass = fs->can_pass && !is_writer && starts(place_of(ino)->name, "pass");
	if (op->flags & O_TRUNC) {
		WEIR_AUTO(weir_closep) int fd = content(ino, O_WRONLY | O_TRUNC);
	}
	if (n->is_pass) {
		op->is_passthrough = true;
		op->is_direct = is_writer;
		if (slot.backing_id == 0)
			op->pass_fd = content(ino, O_RDONLY);
	}
	op->fh = is_writer ? 2 : 1;
	return WEIR_OK;
}

static enum weir_code
create(struct weir_fs *fs, struct weir_op *op)
{
	uint64_t known, ino = child(op->ino, op->name);

	if (ino != 0 && (op->flags & O_EXCL) && !done_before(op, &known))
		return WEIR_E_EXIST;
	if (ino == 0) {
		enum weir_code r = make(op, S_IFREG | (op->mode & 07777));

		if (r)
			return r;
		ino = op->attr.ino;
	}
	fill(ino, &op->attr);
	return count_open(fs, op, ino);
}

static enum weir_code
set(struct weir_op *op)
{
	struct node *n = &tree->node[op->ino];

	if (op->set_mask & WEIR_SET_MODE)
		n->mode = (n->mode & S_IFMT) | (op->set.mode & 07777);
	if (op->set_mask & WEIR_SET_UID)
		n->uid = op->set.uid;
	if (op->set_mask & WEIR_SET_GID)
		n->gid = op->set.gid;
	if (op->set_mask & WEIR_SET_MTIME)
		n->mtime_ns = op->set.mtime_ns;
	if (op->set_mask & WEIR_SET_KILLPRIV)
		n->mode &= ~(uint32_t)S_ISUID;
	if (op->set_mask & WEIR_SET_SIZE) {
		WEIR_AUTO(weir_closep) int fd = content(op->ino, O_WRONLY);

		if (fd < 0 || ftruncate(fd, (off_t)op->set.size) < 0)
			return WEIR_E_IO;
	}
	fill(op->ino, &op->attr);
	return WEIR_OK;
}

static enum weir_code
list(struct weir_op *op)
{
	struct weir_attr a;

	fill(op->ino, &a);
	if (op->off < 1 && op->emit(op, ".", &a, 1))
		return WEIR_OK;
	if (op->off < 2 && op->emit(op, "..", &a, 2))
		return WEIR_OK;
	for (uint64_t i = op->off < FIRST ? FIRST : op->off + 1; i < tree->next_ino; i++) {
		if (!tree->node[i].is_linked || place_of(i)->parent != op->ino)
			continue;
		fill(i, &a);
		if (op->emit(op, place_of(i)->name, &a, i))
			break;
	}
	return WEIR_OK;
}

static enum weir_code
read_now(struct weir_op *op)
{
	WEIR_AUTO(weir_closep) int fd = content(op->ino, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : weir_pread_full(fd, op->buf, op->len, (off_t)op->off);

	if (n < 0)
		return WEIR_E_IO;
	op->result = (size_t)n;
	return WEIR_OK;
}

static enum weir_code
park(struct weir_fs *fs, struct weir_op *op, int64_t due_ms)
{
	struct parked *p = weir_xcalloc(1, sizeof(*p));

	*p = (struct parked){.next = fs->parked, .op = op, .due_ms = due_ms};
	fs->parked = p;
	pthread_cond_signal(&fs->more);
	return WEIR_PENDING;
}

/* News may block: each goes out from a thread of its own, as those of different remotes would. */
struct news { struct weir_fs *fs; int kind; uint64_t ino; char name[80]; };

static void *
news_run(void *arg)
{
	struct news *n = arg;
	const struct weir_observer *o = n->fs->observer;

	if (n->kind == 'c')
		o->inval_node(o->arg, n->ino, 0, 0);
	else if (n->kind == 'r')
		o->inval_entry(o->arg, WEIR_ROOT, n->name);
	else
		o->delete_entry(o->arg, WEIR_ROOT, n->ino, n->name);
	note("told %c %s", n->kind, n->name);
	free(n);
	return NULL;
}

static void
news_send(struct weir_fs *fs, int kind, uint64_t ino, const char *name)
{
	struct news *n = weir_xcalloc(1, sizeof(*n));
	pthread_t t;

	*n = (struct news){.fs = fs, .kind = kind, .ino = ino};
	snprintf(n->name, sizeof(n->name), "%s", name);
	pthread_create(&t, NULL, news_run, n);
	pthread_detach(t);
}

static enum weir_code
read_op(struct weir_fs *fs, struct weir_op *op)
{
	const char *name = place_of(op->ino)->name;

	if (starts(name, "pass"))
		note("read of a passthrough file: %d", tree->node[op->ino].is_pass);
	if (starts(name, "slow"))
		return park(fs, op, weir_now_ms() + 300);
	if (starts(name, "never"))
		return park(fs, op, FOREVER);
	return read_now(op);
}

static enum weir_code
write_op(struct weir_fs *fs, struct weir_op *op)
{
	WEIR_AUTO(weir_closep) int fd = -1;

	if (strcmp(place_of(op->ino)->name, "ctl") == 0) {
		struct job *j = weir_xcalloc(1, sizeof(*j));

		snprintf(j->line, sizeof(j->line), "%.*s", (int)op->len, (const char *)op->buf);
		j->line[strcspn(j->line, "\n")] = '\0';
		j->next = fs->jobs;
		fs->jobs = j;
		pthread_cond_signal(&fs->more);
		op->result = op->len;
		return WEIR_OK;
	}
	fd = content(op->ino, O_WRONLY);
	if (fd < 0 || weir_pwrite_full(fd, op->buf, op->len, (off_t)op->off) < 0)
		return WEIR_E_IO;
	if (op->is_killpriv && (tree->node[op->ino].mode & S_ISUID) != 0) {
		tree->node[op->ino].mode &= ~(uint32_t)S_ISUID;
		op->lost_bits = true;
	}
	op->result = op->len;
	return WEIR_OK;
}

static enum weir_code
lookup(struct weir_fs *fs, struct weir_op *op)
{
	uint64_t ino;

	if (starts(op->name, "none-"))
		return WEIR_E_NOENT;	/* for bench: the search below is linear */
	ino = child(op->ino, op->name);
	if (starts(op->name, "park"))
		return park(fs, op, FOREVER);
	if (ino == 0)
		return WEIR_E_NOENT;
	fill(ino, &op->attr);
	return WEIR_OK;
}

static enum weir_code
run_op(struct weir_fs *fs, struct weir_op *op)
{
	WEIR_AUTO(weir_closep) int fd = -1;

	switch (op->kind) {
	case WEIR_OP_LOOKUP:
		return lookup(fs, op);
	case WEIR_OP_GETATTR:
		fill(op->ino, &op->attr);
		return WEIR_OK;
	case WEIR_OP_SETATTR:
		return set(op);
	case WEIR_OP_READLINK:
		op->result = strlen(tree->node[op->ino].target);
		memcpy(op->buf, tree->node[op->ino].target, op->result);
		return WEIR_OK;
	case WEIR_OP_MKNOD:
		return S_ISBLK(op->mode) || S_ISCHR(op->mode) ? WEIR_E_PERM : make(op, op->mode);
	case WEIR_OP_MKDIR:
		return make(op, S_IFDIR | (op->mode & 07777));
	case WEIR_OP_SYMLINK:
		return make(op, S_IFLNK | 0777);
	case WEIR_OP_UNLINK:
		return unmake(op, false);
	case WEIR_OP_RMDIR:
		return unmake(op, true);
	case WEIR_OP_RENAME:
		return move(op);
	case WEIR_OP_CREATE:
		return create(fs, op);
	case WEIR_OP_OPEN:
		return count_open(fs, op, op->ino);
	case WEIR_OP_RELEASE:
		weir_opens_put(fs->opens, op->ino, op->fh == 2, NULL);
		return WEIR_OK;
	case WEIR_OP_READDIR:
		return list(op);
	case WEIR_OP_READ:
		return read_op(fs, op);
	case WEIR_OP_WRITE:
		return write_op(fs, op);
	case WEIR_OP_STATFS:
		op->statfs = (struct weir_statfs){.bsize = 4096, .blocks = 1000, .bfree = 500, .bavail = 500, .files = 99, .ffree = 9, .namemax = 255};
		return WEIR_OK;
	case WEIR_OP_FALLOCATE:
		fd = content(op->ino, O_WRONLY);
		return fallocate(fd, (int)op->flags, (off_t)op->off, (off_t)op->len64) == 0 ? WEIR_OK : weir_code_from_errno(errno);
	case WEIR_OP_SETXATTR:
	case WEIR_OP_GETXATTR:
	case WEIR_OP_LISTXATTR:
	case WEIR_OP_REMOVEXATTR:
	case WEIR_OP_COPY_RANGE:
		return WEIR_E_NOSYS;
	case WEIR_OP_LSEEK:
		return WEIR_E_NXIO;
	default:
		return WEIR_OK;
	}
}

/* ---- what fs.h promises ---- */

enum weir_code
weir_fs_submit(struct weir_fs *fs, struct weir_op *op)
{
	enum weir_code r;

	while (fs->is_hung)
		sleep(1);
	pthread_mutex_lock(&fs->mu);
	r = run_op(fs, op);
	pthread_mutex_unlock(&fs->mu);
	return r;
}

void
weir_fs_cancel(struct weir_fs *fs, struct weir_op *op)
{
	pthread_mutex_lock(&fs->mu);
	for (struct parked *p = fs->parked; p != NULL; p = p->next) {
		if (p->op == op && p->due_ms != 0) {
			note("cancel %d", op->kind);
			p->code = WEIR_E_INTR;
			p->due_ms = 0;
		}
	}
	pthread_cond_signal(&fs->more);
	pthread_mutex_unlock(&fs->mu);
}

void
weir_fs_forget(struct weir_fs *fs, uint64_t ino, uint64_t n)
{
}

void
weir_fs_observe(struct weir_fs *fs, const struct weir_observer *o)
{
	fs->observer = o;
}

/* ---- the thread that answers later and brings news ---- */

static void
rewrite(uint64_t ino, const char *text)
{
	WEIR_AUTO(weir_closep) int fd = content(ino, O_WRONLY | O_CREAT | O_TRUNC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		abort();
}

/* Lock held. */
static void
command(struct weir_fs *fs, char *line)
{
	struct weir_op nobody = {0};
	char verb[16] = "", name[80] = "", text[128] = "";
	uint64_t ino, fresh_ino;

	sscanf(line, "%15s %79s %127[^\n]", verb, name, text);
	ino = child(WEIR_ROOT, name);
	if (strcmp(verb, "answer") == 0) {
		for (struct parked *p = fs->parked; p != NULL; p = p->next)
			p->due_ms = p->due_ms == FOREVER ? 1 : p->due_ms;
	} else if (strcmp(verb, "hang") == 0) {
		fs->is_hung = true;
	} else if (strcmp(verb, "crash") == 0) {
		abort();
	} else if (strcmp(verb, "change") == 0) {
		rewrite(ino, text);
		news_send(fs, 'c', ino, name);
	} else if (strcmp(verb, "replace") == 0) {
		fresh_ino = fresh(WEIR_ROOT, name, S_IFREG | 0644, &nobody);
		rewrite(fresh_ino, text);
		commit(&nobody, fresh_ino, ino, 0, 1);
		news_send(fs, 'r', ino, name);
	} else if (strcmp(verb, "delete") == 0) {
		commit(&nobody, ino, 0, tree->node[ino].cur, 0);
		news_send(fs, 'd', ino, name);
	}
}

static struct parked *
take_due(struct weir_fs *fs, int64_t *next_ms)
{
	int64_t now = weir_now_ms();

	*next_ms = now + 1000;
	for (struct parked **p = &fs->parked; *p != NULL; p = &(*p)->next) {
		struct parked *found = *p;

		if (found->due_ms <= now) {
			*p = found->next;
			return found;
		}
		if (found->due_ms < *next_ms)
			*next_ms = found->due_ms;
	}
	return NULL;
}

static void
sleep_till(struct weir_fs *fs, int64_t ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	pthread_cond_timedwait(&fs->more, &fs->mu, &t);
}

static void *
later(void *arg)
{
	struct weir_fs *fs = arg;
	int64_t next_ms;

	pthread_mutex_lock(&fs->mu);
	for (;;) {
		struct parked *p = take_due(fs, &next_ms);
		struct job *j = fs->jobs;

		if (p != NULL) {
			enum weir_code code = p->code;

			pthread_mutex_unlock(&fs->mu);
			if (code == WEIR_OK)
				code = p->op->kind == WEIR_OP_READ ? read_now(p->op) : WEIR_E_NOENT;
			p->op->done(p->op, code);
			free(p);
			pthread_mutex_lock(&fs->mu);
		} else if (j != NULL) {
			fs->jobs = j->next;
			command(fs, j->line);
			free(j);
		} else {
			sleep_till(fs, next_ms);
		}
	}
	return NULL;
}

/* ---- programs ---- */

static int
worker(struct weir_fuse_worker *w, void *arg)
{
	static struct weir_fs fs;
	struct weir_err err = {0};
	pthread_condattr_t mono;
	pthread_t t;

	if (refusal != NULL) {
		if (*refusal == '\0')
			abort();
		weir_fuse_refuse(w, refusal);
		return 1;
	}
	pthread_condattr_init(&mono);
	pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	pthread_mutex_init(&fs.mu, NULL);
	pthread_cond_init(&fs.more, &mono);
	fs.opens = weir_fuse_opens(w);
	fs.can_pass = weir_fuse_has_passthrough(w);
	note("worker %d first %d pass %d", getpid(), weir_fuse_is_first(w), fs.can_pass);
	apply();
	pthread_create(&t, NULL, later, &fs);
	if (weir_fuse_serve(w, &fs, &err)) {
		weir_log(WEIR_LOG_ERROR, "%s", weir_err_text(&err, WEIR_E_IO));
		return 1;
	}
	note("served");
	return 0;
}

static void
plant(uint64_t parent, const char *name, uint32_t mode)
{
	struct weir_op root = {.uid = getuid(), .gid = getgid()};
	uint64_t ino = fresh(parent, name, mode, &root);

	tree->node[ino].is_linked = 1;
}

static void
plant_all(void)
{
	static const char *const files[] = {"ctl", "slow", "never", "pass", "full", "plain"};
	char name[32];

	tree->next_ino = FIRST;
	tree->node[WEIR_ROOT] = (struct node){.mode = S_IFDIR | 0755, .uid = getuid(), .gid = getgid(), .is_linked = 1, .mtime_ns = weir_wall_ns()};
	plant(WEIR_ROOT, "big", S_IFDIR | 0755);
	for (size_t i = 0; i < WEIR_LEN(files); i++) {
		plant(WEIR_ROOT, files[i], S_IFREG | 0644);
		rewrite(FIRST + 1 + i, "hello\n");
	}
	for (int i = 0; i < BIG_ENTRIES; i++) {
		snprintf(name, sizeof(name), "entry-%05d", i);
		plant(FIRST, name, S_IFDIR | 0755);
	}
}

static int
mount_main(const char *mountpoint, const char *dir, bool allow_other)
{
	struct weir_fuse_options o = {.mountpoint = mountpoint, .source = "fake,fs", .uid = getuid(), .gid = getgid(), .exec_ok = true,
	    .allow_other = allow_other};
	struct weir_err err = {0};
	int ready[2];
	char answer[600];
	ssize_t n, got;
	pid_t pid;

	folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	tree = mmap(NULL, sizeof(*tree), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (folder < 0 || tree == MAP_FAILED || pipe2(ready, O_CLOEXEC) < 0)
		return 2;
	plant_all();
	pid = fork();
	if (pid == 0) {
		int out = openat(folder, "stderr", O_WRONLY | O_CREAT | O_APPEND, 0644);

		close(ready[0]);
		setsid();
		dup2(out, STDOUT_FILENO);
		dup2(out, STDERR_FILENO);
		o.ready_fd = ready[1];
		n = weir_fuse_supervise(&o, worker, NULL, &err);
		if (n != 0)
			weir_log(WEIR_LOG_ERROR, "%s", weir_err_text(&err, WEIR_E_IO));
		note("supervisor ended %d", (int)n);
		exit((int)n);
	}
	close(ready[1]);
	for (n = 0; (got = read(ready[0], answer + n, sizeof(answer) - 1 - (size_t)n)) > 0;)
		n += got;
	answer[n] = '\0';
	if (answer[0] == 'y')
		printf("%d\n", pid);
	else
		printf("refused: %s\n", n > 0 ? answer + 1 : "no answer");
	return answer[0] == 'y' ? 0 : 1;
}

struct bench { const char *dir; int count, me; };

static void *
bench_thread(void *arg)
{
	struct bench *b = arg;
	char path[512];
	struct stat st;

	for (int i = 0; i < b->count; i++) {
		snprintf(path, sizeof(path), "%s/none-%d-%d", b->dir, b->me, i);
		if (stat(path, &st) == 0)
			abort();
	}
	return NULL;
}

static int
bench_main(const char *dir, int count, int threads)
{
	struct bench b[64];
	pthread_t t[64];
	int64_t start = weir_now_us();

	for (int i = 0; i < threads && i < 64; i++) {
		b[i] = (struct bench){dir, count, i};
		pthread_create(&t[i], NULL, bench_thread, &b[i]);
	}
	for (int i = 0; i < threads && i < 64; i++)
		pthread_join(t[i], NULL);
	printf("%.1f us a round trip, %d threads\n", (double)(weir_now_us() - start) / count, threads);
	return 0;
}

static int
worst_main(const char *dir, int ms)
{
	int64_t start = weir_now_us(), before = start, worst = 0, now;
	char path[512];
	struct stat st;
	int n = 0;

	while (before - start < ms * 1000ll) {
		snprintf(path, sizeof(path), "%s/none-%d-%d", dir, getpid(), n++);
		if (stat(path, &st) == 0 || errno != ENOENT)
			return 1;
		now = weir_now_us();
		worst = now - before > worst ? now - before : worst;
		before = now;
	}
	printf("%.1f\n", (double)worst / 1000);
	return 0;
}

static int
mmap_main(const char *path)
{
	int fd = open(path, O_RDWR);
	char *p = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return 1;
	memcpy(p, "MAPPED", 6);
	return msync(p, 4096, MS_SYNC) == 0 && close(fd) == 0 ? 0 : 1;
}

int
main(int argc, char **argv)
{
	bool allow_other = false;
	int c;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 5 && strcmp(argv[1], "bench") == 0)
		return bench_main(argv[2], atoi(argv[3]), atoi(argv[4]));
	if (argc == 4 && strcmp(argv[1], "worst") == 0)
		return worst_main(argv[2], atoi(argv[3]));
	if (argc == 3 && strcmp(argv[1], "mmapwrite") == 0)
		return mmap_main(argv[2]);
	while ((c = getopt(argc, argv, "ar:")) != -1) {
		if (c == 'a')
			allow_other = true;
		else if (c == 'r')
			refusal = optarg;
		else
			return 2;
	}
	if (argc - optind != 2)
		return 2;
	return mount_main(argv[optind], argv[optind + 1], allow_other);
}
