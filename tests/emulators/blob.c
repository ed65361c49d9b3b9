/* SPDX-License-Identifier: Apache-2.0 */
/* Content of the emulators: immutable byte strings, each a list of pieces of files under DIR/data. Joining parts and
 * copying objects are hard links, so a 6 GiB upload is written once and completed at once. A file goes when the last
 * blob that holds it does; readers hold their blob, so an object replaced under a download is still read whole. */
#include "config.h"
#include "common.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct blob_seg {
	uint64_t id, off, len;
};
struct emu_blob {
	_Atomic int refs;
	uint64_t size;
	size_t n;
	struct blob_seg *seg;
};
struct emu_writer {
	int fd, error;
	uint64_t id, len;
};
struct emu_reader {
	struct emu_blob *blob;
	int fd;
	size_t open;		/* the segment fd belongs to */
	size_t at;		/* where the last read was: its segment and that segment's offset in the blob */
	uint64_t at_off;
};

static int blob_dir = -1;
static _Atomic uint64_t blob_next = 1;
static uint64_t *blob_known;	/* ids seen while loading, for the sweep */
static size_t blob_known_n, blob_known_cap;

static void
blob_name(uint64_t id, char out[32])
{
	snprintf(out, 32, "%02x/%016" PRIx64, (unsigned)(id & 0xff), id);
}

int
emu_store_open(const char *dir)
{
	char *path = weir_xasprintf("%s/data", dir), sub[8];

	if (weir_mkdirs(path, 0700) || (blob_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
		fprintf(stderr, "cannot use '%s': %s\n", path, strerror(errno));
		free(path);
		return -1;
	}
	free(path);
	for (unsigned i = 0; i < 256; i++) {
		snprintf(sub, sizeof(sub), "%02x", i);
		if (mkdirat(blob_dir, sub, 0700) && errno != EEXIST) {
			fprintf(stderr, "cannot make '%s' in '%s': %s\n", sub, dir, strerror(errno));
			return -1;
		}
	}
	return 0;
}

static struct emu_blob *
blob_new(size_t n)
{
	struct emu_blob *b = weir_xcalloc(1, sizeof(*b));

	b->refs = 1;
	b->seg = weir_xcalloc(n ? n : 1, sizeof(*b->seg));
	return b;
}

struct emu_blob *
emu_blob_empty(void)
{
	return blob_new(0);
}

struct emu_blob *
emu_blob_ref(struct emu_blob *b)
{
	b->refs++;
	return b;
}

void
emu_blob_unref(struct emu_blob *b)
{
	char name[32];

	if (!b || --b->refs > 0)
		return;
	for (size_t i = 0; i < b->n; i++) {
		blob_name(b->seg[i].id, name);
		unlinkat(blob_dir, name, 0);
	}
	free(b->seg);
	free(b);
}

uint64_t
emu_blob_size(const struct emu_blob *b)
{
	return b->size;
}

/* ---- writing ---- */

struct emu_writer *
emu_writer_new(void)
{
	struct emu_writer *w = weir_xcalloc(1, sizeof(*w));
	char name[32];

	w->id = blob_next++;
	blob_name(w->id, name);
	w->fd = openat(blob_dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (w->fd < 0) {
		free(w);
		return NULL;
	}
	return w;
}

int
emu_writer_add(struct emu_writer *w, const void *data, size_t len)
{
	if (!w->error && weir_pwrite_full(w->fd, data, len, (off_t)w->len))
		w->error = errno ? errno : EIO;
	w->len += len;
	return w->error ? -1 : 0;
}

void
emu_writer_abort(struct emu_writer *w)
{
	char name[32];

	if (!w)
		return;
	blob_name(w->id, name);
	unlinkat(blob_dir, name, 0);
	close(w->fd);
	free(w);
}

struct emu_blob *
emu_writer_end(struct emu_writer *w)
{
	struct emu_blob *b;

	if (w->error || !w->len) {
		bool failed = w->error;

		emu_writer_abort(w);
		return failed ? NULL : emu_blob_empty();
	}
	b = blob_new(1);
	b->seg[0] = (struct blob_seg){ w->id, 0, w->len };
	b->n = 1;
	b->size = w->len;
	close(w->fd);
	free(w);
	return b;
}

/* ---- copying ---- */

static int
blob_link(struct emu_blob *to, const struct blob_seg *from, uint64_t off, uint64_t len)
{
	char old[32], new[32];
	uint64_t id = blob_next++;

	blob_name(from->id, old);
	blob_name(id, new);
	if (linkat(blob_dir, old, blob_dir, new, 0))
		return -1;
	to->seg[to->n++] = (struct blob_seg){ id, from->off + off, len };
	to->size += len;
	return 0;
}

struct emu_blob *
emu_blob_copy(const struct emu_blob *b, uint64_t off, uint64_t len)
{
	struct emu_blob *to = blob_new(b->n);
	uint64_t pos = 0;

	for (size_t i = 0; i < b->n && len; pos += b->seg[i++].len) {
		uint64_t skip, take;

		if (off >= pos + b->seg[i].len)
			continue;
		skip = off - pos;
		take = b->seg[i].len - skip < len ? b->seg[i].len - skip : len;
		if (blob_link(to, &b->seg[i], skip, take)) {
			emu_blob_unref(to);
			return NULL;
		}
		off += take;
		len -= take;
	}
	return to;
}

struct emu_blob *
emu_blob_join(struct emu_blob *const *v, size_t n)
{
	struct emu_blob *to;
	size_t segs = 0;

	for (size_t i = 0; i < n; i++)
		segs += v[i]->n;
	to = blob_new(segs);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < v[i]->n; k++)
			if (blob_link(to, &v[i]->seg[k], 0, v[i]->seg[k].len)) {
				emu_blob_unref(to);
				return NULL;
			}
	return to;
}

/* ---- reading ---- */

struct emu_reader *
emu_reader_new(struct emu_blob *b)
{
	struct emu_reader *r = weir_xcalloc(1, sizeof(*r));

	r->blob = emu_blob_ref(b);
	r->fd = -1;
	return r;
}

/* Make the segment that holds off the current one, with its file open. */
static int
reader_seek(struct emu_reader *r, uint64_t off)
{
	const struct emu_blob *b = r->blob;
	char name[32];

	if (off < r->at_off)
		r->at = r->at_off = 0;
	while (r->at < b->n && off >= r->at_off + b->seg[r->at].len)
		r->at_off += b->seg[r->at++].len;
	if (r->at == b->n)
		return 1;
	if (r->fd >= 0 && r->open == r->at)
		return 0;
	weir_closep(&r->fd);
	blob_name(b->seg[r->at].id, name);
	r->fd = openat(blob_dir, name, O_RDONLY | O_CLOEXEC);
	r->open = r->at;
	return r->fd < 0 ? -1 : 0;
}

ssize_t
emu_reader_at(struct emu_reader *r, void *buf, size_t len, uint64_t off)
{
	const struct blob_seg *s;
	int k = reader_seek(r, off);

	if (k)
		return k > 0 ? 0 : -1;
	s = &r->blob->seg[r->at];
	off -= r->at_off;
	if (len > s->len - off)
		len = s->len - off;
	return weir_pread_full(r->fd, buf, len, (off_t)(s->off + off));
}

void
emu_reader_free(struct emu_reader *r)
{
	if (!r)
		return;
	weir_closep(&r->fd);
	emu_blob_unref(r->blob);
	free(r);
}

/* ---- state file ---- */

void
emu_blob_save(struct weir_buf *out, const struct emu_blob *b)
{
	for (size_t i = 0; i < b->n; i++)
		weir_buf_addf(out, "%s%" PRIx64 ":%" PRIu64 ":%" PRIu64, i ? "," : "", b->seg[i].id, b->seg[i].off, b->seg[i].len);
}

static void
blob_know(uint64_t id)
{
	if (blob_known_n == blob_known_cap) {
		blob_known_cap = blob_known_cap ? blob_known_cap * 2 : 1024;
		blob_known = weir_xrealloc(blob_known, blob_known_cap, sizeof(*blob_known));
	}
	blob_known[blob_known_n++] = id;
	if (id >= blob_next)
		blob_next = id + 1;
}

struct emu_blob *
emu_blob_load(const char *text)
{
	struct emu_blob *b;
	size_t n = *text ? 1 : 0;

	for (const char *p = text; *p; p++)
		n += *p == ',';
	b = blob_new(n);
	for (const char *p = text; *p && b->n < n; p += strcspn(p, ","), p += *p == ',') {
		struct blob_seg *s = &b->seg[b->n];

		if (sscanf(p, "%" SCNx64 ":%" SCNu64 ":%" SCNu64, &s->id, &s->off, &s->len) != 3)
			break;
		b->n++;
		b->size += s->len;
		blob_know(s->id);
	}
	if (b->n == n)
		return b;
	free(b->seg);
	free(b);
	return NULL;
}

static int
blob_order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void
sweep_folder(DIR *d)
{
	struct dirent *e;
	uint64_t id;

	while ((e = readdir(d))) {
		if (sscanf(e->d_name, "%16" SCNx64, &id) != 1 || e->d_name[0] == '.')
			continue;
		if (id >= blob_next)
			blob_next = id + 1;
		if (!blob_known_n || !bsearch(&id, blob_known, blob_known_n, sizeof(id), blob_order))
			unlinkat(dirfd(d), e->d_name, 0);
	}
}

void
emu_store_sweep(void)
{
	char sub[8];

	if (blob_known_n)
		qsort(blob_known, blob_known_n, sizeof(*blob_known), blob_order);
	for (unsigned i = 0; i < 256; i++) {
		DIR *d;
		int fd;

		snprintf(sub, sizeof(sub), "%02x", i);
		fd = openat(blob_dir, sub, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			continue;
		d = fdopendir(fd);
		if (!d) {
			close(fd);
			continue;
		}
		sweep_folder(d);
		closedir(d);
	}
	free(blob_known);
	blob_known = NULL;
	blob_known_n = blob_known_cap = 0;
}
