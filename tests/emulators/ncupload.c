/* SPDX-License-Identifier: Apache-2.0 */
/* Chunked uploads: folders under uploads/, chunks 1…10000 (v2) or any name (v1), and the MOVE of .file that joins them. */
#include "config.h"
#include "nc.h"
#include <ctype.h>
#include <string.h>
#include <time.h>

/* A MOVE that goes on after its connection was answered with 504. */
struct upload_job {
	char *target;		/* as in Destination, path only */
	uint64_t dir_id;
	int64_t delay_ms, mtime;
	char *checksum, *name;
};

bool
nc_is_assembly(const struct nc_path *p)
{
	return p->area == NC_UPLOADS && p->n == 2 && !strcmp(p->seg[1], ".file");
}

/* ---- chunks ---- */

/* v2 wants plain numbers; v1 takes any name (the desktop client counts from 0 there). */
static bool
upload_name_ok(struct emu_req *req, const struct nc_node *dir, const char *name)
{
	size_t digits = strspn(name, "0123456789");
	long n = strtol(name, NULL, 10);

	if (dir->is_v2 && (name[digits] || n < 1 || n > 10000)) {
		nc_error(req, 400, "BadRequest", "Invalid chunk name, must be numeric between 1 and 10000");
		return false;
	}
	return true;
}

static bool
upload_may_put(struct emu_req *req, struct nc_node **dir)
{
	const struct nc_path *p = &nc_of(req)->path;
	const char *total = emu_header(req, "OC-Total-Length");

	*dir = p->n == 2 ? nc_child(nc_uploads, p->seg[0]) : NULL;
	if (p->n != 2 || !*dir)
		nc_error(req, p->n == 2 ? 404 : 409, p->n == 2 ? "NotFound" : "Conflict", "There is no such upload");
	else if ((*dir)->is_busy)
		nc_error(req, 423, "Locked", "The upload is being assembled");
	else if (upload_name_ok(req, *dir, p->seg[1]) && total)
		nc_room_for(req, strtoull(total, NULL, 10), 0);
	return !req->is_replied;
}

void
nc_chunk_begin(struct emu_req *req)
{
	struct nc_node *dir;

	pthread_mutex_lock(&nc_lock);
	if (upload_may_put(req, &dir) && req->content_length > 0)
		nc_room_for(req, dir->size + (uint64_t)req->content_length, 0);
	pthread_mutex_unlock(&nc_lock);
	if (req->is_replied)
		return;
	nc_of(req)->writer = emu_writer_new();
	if (!nc_of(req)->writer)
		nc_error(req, 500, "Exception", "cannot make a file in the data folder");
}

void
nc_chunk_end(struct emu_req *req)
{
	struct nc_req *r = nc_of(req);
	struct nc_node *dir, *x;

	r->blob = emu_writer_end(WEIR_STEAL(r->writer));
	if (!r->blob) {
		nc_error(req, 500, "Exception", "cannot write to the data folder");
		return;
	}
	pthread_mutex_lock(&nc_lock);
	if (upload_may_put(req, &dir)) {
		x = nc_child(dir, r->path.seg[1]);
		if (!x)
			x = nc_make(dir, r->path.seg[1], false);
		nc_set_content(x, WEIR_STEAL(r->blob));
		nc_changed(x);
		nc_out_entity(req, x);
		emu_reply(req, 201);
	}
	pthread_mutex_unlock(&nc_lock);
}

/* ---- assembly ---- */

/* Natural order: runs of digits compare as numbers. */
static int
upload_natural(const char *a, const char *b)
{
	while (*a && *b) {
		if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
			unsigned long long x = strtoull(a, (char **)&a, 10), y = strtoull(b, (char **)&b, 10);

			if (x != y)
				return x < y ? -1 : 1;
			continue;
		}
		if (*a != *b)
			return (unsigned char)*a - (unsigned char)*b;
		a++;
		b++;
	}
	return (unsigned char)*a - (unsigned char)*b;
}

static int
upload_order(const void *a, const void *b)
{
	return upload_natural((*(struct nc_node *const *)a)->name, (*(struct nc_node *const *)b)->name);
}

static struct emu_blob *
upload_join(const struct nc_node *dir)
{
	struct nc_node **v = weir_xcalloc(dir->n + 1, sizeof(struct nc_node *));
	struct emu_blob **blobs = weir_xcalloc(dir->n + 1, sizeof(struct emu_blob *)), *joined;
	size_t n = 0;

	for (size_t i = 0; i < dir->n; i++)
		if (!dir->child[i]->is_dir)
			v[n++] = dir->child[i];
	qsort(v, n, sizeof(struct nc_node *), upload_order);
	for (size_t i = 0; i < n; i++)
		blobs[i] = v[i]->blob;
	joined = emu_blob_join(blobs, n);
	free(blobs);
	free(v);
	return joined;
}

/* What forbids the MOVE. Under nc_lock. */
static bool
upload_may_assemble(struct emu_req *req, struct nc_node *dir, struct nc_node **parent, struct nc_node **there)
{
	const struct nc_path *to = &nc_of(req)->dest;
	const char *total = emu_header(req, "OC-Total-Length"), *overwrite = emu_header(req, "Overwrite");
	bool is_file = false;

	*parent = to->n ? nc_find_parent(to, &is_file) : NULL;
	*there = *parent ? nc_child(*parent, to->seg[to->n - 1]) : NULL;
	if (!dir)
		nc_error(req, 404, "NotFound", "There is no such upload");
	else if (dir->is_busy)
		nc_error(req, 423, "Locked", "The upload is being assembled");
	else if (to->area != NC_FILES || !to->n)
		nc_error(req, 403, "Forbidden", "An upload can only become a file");
	else if (!*parent)
		nc_error(req, is_file ? 415 : 409, is_file ? "UnsupportedMediaType" : "Conflict", "The destination node is not found");
	else if (*there && (*there)->is_dir)
		nc_error(req, 409, "Conflict", "The destination is a directory");
	else if (total && strtoull(total, NULL, 10) != dir->size)
		nc_error(req, 400, "BadRequest", "Chunks on server do not sum up to the OC-Total-Length");
	else if (*there && overwrite && (*overwrite == 'F' || *overwrite == 'f'))
		nc_error(req, 412, "PreconditionFailed", "The destination node already exists, and the overwrite header is set to false");
	else
		return nc_name_ok(req, to->seg[to->n - 1]) && nc_may_change(req, *there, true) &&
		       nc_room_for(req, dir->size, *there ? (*there)->size : 0);
	return false;
}

static struct nc_node *
upload_place(struct nc_node *dir, struct nc_node *parent, const char *name, struct nc_node *there)
{
	struct emu_blob *blob = upload_join(dir);
	struct nc_node *x = there;

	if (!blob)
		return NULL;
	if (!x)
		x = nc_make(parent, name, false);
	nc_set_content(x, blob);
	nc_remove(dir);
	return x;
}

static void *
upload_later(void *arg)
{
	struct upload_job *job = arg;
	struct timespec t = { job->delay_ms / 1000, job->delay_ms % 1000 * 1000000 };
	struct nc_node *dir, *parent, *x;
	struct nc_path to = { 0 };
	bool is_file;

	nanosleep(&t, NULL);
	pthread_mutex_lock(&nc_lock);
	dir = nc_child(nc_uploads, job->name);
	if (dir && dir->id == job->dir_id && nc_path_parse(job->target, &to) && (parent = nc_find_parent(&to, &is_file))) {
		x = upload_place(dir, parent, to.seg[to.n - 1], nc_child(parent, to.seg[to.n - 1]));
		if (x) {
			free(x->checksum);
			x->checksum = weir_xstrdup(job->checksum);
			if (job->mtime > 86400)
				x->mtime = job->mtime;
			nc_changed(x);
		} else
			dir->is_busy = false;
	} else if (dir)
		dir->is_busy = false;
	pthread_mutex_unlock(&nc_lock);
	nc_path_free(&to);
	free(job->target);
	free(job->checksum);
	free(job->name);
	free(job);
	return NULL;
}

/* The proxy gives up, the server does not: answered 504 now, done later, 423 in between. Under nc_lock. */
static void
upload_go_async(struct emu_req *req, struct nc_node *dir, int64_t delay_ms)
{
	const char *dest = emu_header(req, "Destination"), *path = strstr(dest, "://"), *mtime = emu_header(req, "X-OC-MTime");
	struct upload_job *job = weir_xcalloc(1, sizeof(*job));
	pthread_t thread;

	path = path ? strchr(path + 3, '/') : dest;
	job->target = weir_xstrdup(path);
	job->dir_id = dir->id;
	job->name = weir_xstrdup(dir->name);
	job->delay_ms = delay_ms;
	job->mtime = mtime ? strtoll(mtime, NULL, 10) : 0;
	job->checksum = weir_xstrdup(emu_header(req, "OC-Checksum"));
	dir->is_busy = true;
	if (pthread_create(&thread, NULL, upload_later, job))
		abort();
	pthread_detach(thread);
	emu_reply_text(req, 504, "text/html", "<html><body>504 Gateway Time-out</body></html>");
}

static void
upload_finish(struct emu_req *req, struct nc_node *dir, struct nc_node *parent, struct nc_node *there)
{
	const struct nc_path *to = &nc_of(req)->dest;
	struct nc_node *x = upload_place(dir, parent, to->seg[to->n - 1], there);

	if (!x) {
		nc_error(req, 500, "Exception", "cannot link in the data folder");
		return;
	}
	if (nc_apply_headers(req, x))
		emu_reply(req, there ? 204 : 201);
	nc_changed(x);
	if (req->status < 300)
		nc_out_entity(req, x);
}

void
nc_assemble(struct emu_req *req)
{
	int64_t async_ms = req->is_raw ? 0 : (int64_t)emu_value(&nc_switches[NC_MOVE_ASYNC_MS]);
	struct nc_node *dir, *parent, *there;
	bool lose_reply = false;

	if (!nc_destination(req) || (!req->is_raw && !emu_sleep(req, (int64_t)emu_value(&nc_switches[NC_MOVE_DELAY_MS]))))
		return;
	pthread_mutex_lock(&nc_lock);
	dir = nc_child(nc_uploads, nc_of(req)->path.seg[0]);
	if (upload_may_assemble(req, dir, &parent, &there)) {
		if (async_ms)
			upload_go_async(req, dir, async_ms);
		else {
			upload_finish(req, dir, parent, there);
			lose_reply = req->status < 300 && !req->is_raw && emu_take(&nc_switches[NC_MOVE_504_NEXT]);
		}
	}
	pthread_mutex_unlock(&nc_lock);
	if (lose_reply) {
		emu_pairs_free(&req->out);
		emu_reply_text(req, 504, "text/html", "<html><body>504 Gateway Time-out</body></html>");
	}
}
