/* SPDX-License-Identifier: Apache-2.0 */
/* The folder of a data set: what is there, what is missing, and the note beside it that says which is which.
 *
 * The note (.weir-dataset.json) is written whole, under another name, and renamed: {"version": 1, "source", "complete",
 * "files": {NAME: {"bytes", "mtime_ns", "sum": "md5:HEX"}}, "begun": {NAME: "ETAG"}}. */
#include "config.h"

#include "dataset_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../src/util/text.h"

#define DATASET_NOTE ".weir-dataset.json"
#define DATASET_PART ".weir-fetch"
#define DATASET_NOTE_MAX (32u << 20)
#define DATASET_CHUNK (1u << 20)

struct dataset {
	struct weir_dataset *d;
	char *dir;		/* FOLDER/ID in the tree */
	json_t *note;
	int lock_fd;
};

/* ---- the note ---- */

static void
dataset_note_load(struct dataset *ds)
{
	WEIR_AUTO(weir_freep) char *path = weir_path_join(ds->dir, DATASET_NOTE), *text = NULL;
	struct weir_tree_file *f = NULL;
	struct weir_attr attr;
	size_t got = 0;

	if (weir_tree_stat(ds->d->tree, path, false, &attr, NULL) == WEIR_OK && attr.size <= DATASET_NOTE_MAX &&
	    weir_tree_open_file(ds->d->tree, path, O_RDONLY | O_NOFOLLOW, 0, &f, NULL) == WEIR_OK) {
		text = weir_xcalloc(1, attr.size + 1);
		weir_tree_read(f, text, attr.size, 0, &got, NULL);
		weir_tree_close_file(f, NULL);
		ds->note = json_loadb(text, got, 0, NULL);
	}
	if (!json_is_object(ds->note) || !json_is_object(json_object_get(ds->note, "files"))) {
		json_decref(ds->note);
		ds->note = json_pack("{s:i, s:s, s:b, s:{}, s:{}}", "version", 1, "source", ds->d->what, "complete", 0, "files", "begun");
	}
	if (!json_is_object(json_object_get(ds->note, "begun")))
		json_object_set_new(ds->note, "begun", json_object());
}

static enum weir_code
dataset_note_save(struct dataset *ds, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *path = weir_path_join(ds->dir, DATASET_NOTE), *part = weir_xasprintf("%s" DATASET_PART, path);
	WEIR_AUTO(weir_freep) char *text = json_dumps(ds->note, JSON_INDENT(1) | JSON_SORT_KEYS);
	struct weir_tree_file *f = NULL;
	enum weir_code r, closed;

	if (text == NULL)
		return weir_err_set(err, WEIR_E_NOMEM, "cannot put the note together");
	r = weir_tree_open_file(ds->d->tree, part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0644, &f, err);
	if (r)
		return r;
	r = weir_tree_write(f, text, strlen(text), 0, err);
	closed = weir_tree_close_file(f, r == WEIR_OK ? err : NULL);
	r = r != WEIR_OK ? r : closed;
	return r != WEIR_OK ? r : weir_tree_rename(ds->d->tree, part, path, 0, err);
}

static enum weir_code
dataset_note_file(struct dataset *ds, const struct weir_dataset_file *file, const struct weir_attr *attr, struct weir_err *err)
{
	json_t *o = json_pack("{s:I, s:I}", "bytes", (json_int_t)attr->size, "mtime_ns", (json_int_t)attr->mtime_ns);

	if (file->sum != NULL)
		json_object_set_new(o, "sum", json_sprintf("%s:%s", file->kind, file->sum));
	json_object_set_new(json_object_get(ds->note, "files"), file->name, o);
	json_object_del(json_object_get(ds->note, "begun"), file->name);
	return dataset_note_save(ds, err);
}

/* ---- what is there ---- */

static enum weir_code
dataset_sum_of(struct dataset *ds, const char *path, const char *kind, char hex[129], struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *buf = weir_xcalloc(1, DATASET_CHUNK);
	struct weir_tree_file *f = NULL;
	struct weir_digest *digest = weir_digest_new(kind);
	unsigned char sum[64];
	uint64_t off = 0;
	size_t got = 1;
	enum weir_code r = digest == NULL ? WEIR_E_NOTSUP : weir_tree_open_file(ds->d->tree, path, O_RDONLY | O_NOFOLLOW, 0, &f, err);

	for (; r == WEIR_OK && got > 0; off += got) {
		r = weir_tree_read(f, buf, DATASET_CHUNK, off, &got, err);
		if (r == WEIR_OK)
			weir_digest_add(digest, buf, got);
	}
	weir_tree_close_file(f, NULL);
	if (r) {
		weir_digest_free(digest);
		return r;
	}
	weir_hex(sum, weir_digest_end(digest, sum), hex);
	return WEIR_OK;
}

/* Is this file what was noted? Its time answers that; where it is another one, its bytes do. */
static bool
dataset_is_there(struct dataset *ds, const char *name, json_t *noted)
{
	WEIR_AUTO(weir_freep) char *path = weir_path_join(ds->dir, name), *kind = NULL;
	const char *sum = json_string_value(json_object_get(noted, "sum")), *colon = sum != NULL ? strchr(sum, ':') : NULL;
	struct weir_attr attr;
	char hex[129];

	if (noted == NULL || weir_tree_stat(ds->d->tree, path, false, &attr, NULL) != WEIR_OK || !S_ISREG(attr.mode) ||
	    attr.size != (uint64_t)json_integer_value(json_object_get(noted, "bytes")))
		return false;
	if (attr.mtime_ns == (int64_t)json_integer_value(json_object_get(noted, "mtime_ns")))
		return true;
	if (colon == NULL)
		return false;
	kind = weir_xstrndup(sum, (size_t)(colon - sum));
	if (dataset_sum_of(ds, path, kind, hex, NULL) != WEIR_OK || strcmp(hex, colon + 1) != 0)
		return false;
	json_object_set_new(noted, "mtime_ns", json_integer((json_int_t)attr.mtime_ns));
	return true;
}

static bool
dataset_is_complete(struct dataset *ds)
{
	json_t *files = json_object_get(ds->note, "files"), *noted;
	const char *name;

	if (!json_is_true(json_object_get(ds->note, "complete")) || json_object_size(files) == 0)
		return false;
	json_object_foreach (files, name, noted) {
		if (!weir_dataset_name_is_good(name) || !dataset_is_there(ds, name, noted))
			return false;
		ds->d->sums.files++;
		ds->d->sums.bytes += (uint64_t)json_integer_value(json_object_get(noted, "bytes"));
	}
	ds->d->sums.files_total = ds->d->sums.files;
	ds->d->sums.bytes_total = ds->d->sums.bytes;
	return true;
}

/* ---- fetching ---- */

static char *
dataset_part(const struct dataset *ds, const char *name)
{
	const char *slash = strrchr(name, '/');
	WEIR_AUTO(weir_freep) char *rel = slash != NULL ? weir_xasprintf("%.*s/.%s" DATASET_PART, (int)(slash - name), name, slash + 1) :
	    weir_xasprintf(".%s" DATASET_PART, name);

	return weir_path_join(ds->dir, rel);
}

/* What the server calls this version is noted before its first byte, so that a killed run can be continued. */
static void
dataset_begun(struct weir_dataset_get *g)
{
	struct dataset *ds = g->arg;
	json_t *etag = json_string(g->etag);

	json_object_set_new(json_object_get(ds->note, "begun"), g->file->name, etag != NULL ? etag : json_string(""));
	dataset_note_save(ds, NULL);
}

static enum weir_code
dataset_folders(struct dataset *ds, const char *name, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *up = strchr(name, '/') != NULL ? weir_xasprintf("%s/%.*s", ds->dir, (int)(strrchr(name, '/') - name), name) : NULL;

	return up != NULL ? weir_tree_mkdirs(ds->d->tree, up, 0755, err) : WEIR_OK;
}

static enum weir_code
dataset_get_file(struct dataset *ds, struct weir_dataset_net *n, const struct weir_dataset_file *file, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *part = dataset_part(ds, file->name), *path = weir_path_join(ds->dir, file->name);
	const char *etag = json_string_value(json_object_get(json_object_get(ds->note, "begun"), file->name));
	struct weir_dataset_get g = {.file = file, .path = part, .begun = dataset_begun, .arg = ds};
	struct weir_attr attr;
	enum weir_code r = dataset_folders(ds, file->name, err);

	if (r)
		return r;
	if (ds->d->is_forced)
		etag = NULL;
	if (etag != NULL && weir_tree_stat(ds->d->tree, part, false, &attr, NULL) == WEIR_OK) {
		g.have = attr.size;
		snprintf(g.etag, sizeof(g.etag), "%s", etag);
	}
	r = weir_dataset_get(n, &g, err);
	if (r == WEIR_E_BADSUM)
		weir_tree_unlink(ds->d->tree, part, NULL);
	if (r)
		return r;
	r = weir_tree_set(ds->d->tree, part, WEIR_SET_MODE, 0644, 0, err);
	if (r == WEIR_OK)
		r = weir_tree_rename(ds->d->tree, part, path, 0, err);
	if (r == WEIR_OK)
		r = weir_tree_stat(ds->d->tree, path, false, &attr, err);
	return r != WEIR_OK ? r : dataset_note_file(ds, file, &attr, err);
}

/* A file that somebody else brought here counts when its checksum says so. */
static bool
dataset_has(struct dataset *ds, const struct weir_dataset_file *file)
{
	WEIR_AUTO(weir_freep) char *path = weir_path_join(ds->dir, file->name);
	json_t *noted = json_object_get(json_object_get(ds->note, "files"), file->name);
	struct weir_attr attr;
	char hex[129];

	if (ds->d->is_forced)
		return false;
	/* what was noted is of the version that the server tells of now */
	if (noted != NULL && (file->size < 0 || file->size == (int64_t)json_integer_value(json_object_get(noted, "bytes")))) {
		const char *sum = json_string_value(json_object_get(noted, "sum"));
		WEIR_AUTO(weir_freep) char *now = file->sum != NULL ? weir_xasprintf("%s:%s", file->kind, file->sum) : NULL;

		if ((now == NULL || (sum != NULL && strcmp(sum, now) == 0)) && dataset_is_there(ds, file->name, noted))
			return true;
	}
	if (file->sum == NULL || weir_tree_stat(ds->d->tree, path, false, &attr, NULL) != WEIR_OK || !S_ISREG(attr.mode) ||
	    (file->size >= 0 && attr.size != (uint64_t)file->size))
		return false;
	return dataset_sum_of(ds, path, file->kind, hex, NULL) == WEIR_OK && strcmp(hex, file->sum) == 0 && dataset_note_file(ds, file, &attr, NULL) == WEIR_OK;
}

/* Whether it will fit is known before the first byte. */
static enum weir_code
dataset_room(struct dataset *ds, const struct weir_dataset_files *l, const bool *has, struct weir_err *err)
{
	uint64_t want = 0, room = 0;
	char a[16], b[16];

	for (size_t i = 0; i < l->n; i++)
		want += !has[i] && l->v[i].size > 0 ? (uint64_t)l->v[i].size : 0;
	if (want == 0 || weir_tree_room(ds->d->tree, ds->dir, &room, NULL) != WEIR_OK || want <= room)
		return WEIR_OK;
	return weir_err_set(err, WEIR_E_NOSPC, "it takes %s, and there is room for %s only", weir_size_text(want, a), weir_size_text(room, b));
}

static enum weir_code
dataset_get_all(struct dataset *ds, struct weir_dataset_net *n, const struct weir_dataset_files *l, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) bool *has = weir_xcalloc(l->n, sizeof(*has));
	struct weir_dataset_sums *sums = &ds->d->sums;
	enum weir_code r;

	sums->files_total = l->n;
	for (size_t i = 0; i < l->n; i++) {
		has[i] = dataset_has(ds, &l->v[i]);
		sums->bytes_total += l->v[i].size > 0 ? (uint64_t)l->v[i].size : 0;
		sums->files += has[i];
		sums->bytes += has[i] && l->v[i].size > 0 ? (uint64_t)l->v[i].size : 0;
	}
	r = dataset_room(ds, l, has, err);
	if (r)
		return r;
	json_object_set_new(ds->note, "complete", json_false());
	for (size_t i = 0; i < l->n && r == WEIR_OK; i++) {
		if (has[i])
			continue;
		r = weir_dataset_is_canceled(ds->d) ? weir_err_set(err, WEIR_E_INTR, "interrupted") : dataset_get_file(ds, n, &l->v[i], err);
		sums->files += r == WEIR_OK;
	}
	if (r == WEIR_OK) {
		json_object_set_new(ds->note, "complete", json_true());
		json_object_clear(json_object_get(ds->note, "begun"));
		r = dataset_note_save(ds, err);
	}
	return r;
}

/* ---- one at a time ---- */

/* Two jobs that want the same data set share one fetch: the second one waits and finds it complete. A direct tree is ours alone. */
static enum weir_code
dataset_lock(struct dataset *ds, struct weir_err *err)
{
	const char *mount = weir_tree_mountpoint(ds->d->tree);
	WEIR_AUTO(weir_freep) char *real = NULL;
	bool was_said = false;
	enum weir_code r;

	if (mount == NULL && !weir_tree_is_local(ds->d->tree))
		return WEIR_OK;
	real = mount != NULL ? weir_xasprintf("%s%s", mount, ds->dir) : weir_xstrdup(ds->dir);
	ds->lock_fd = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ds->lock_fd < 0)
		return weir_err_errno(err, errno, "'%s'", real);
	while (flock(ds->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return WEIR_OK;	/* a file system without locks */
		if (!was_said && ds->d->say != NULL)
			ds->d->say(ds->d->arg, "another weir is fetching this data set: waiting for it");
		was_said = true;
		r = weir_dataset_pause(ds->d, 500, err);
		if (r)
			return r;
	}
	return WEIR_OK;
}

static enum weir_code
dataset_run(struct dataset *ds, struct weir_err *err)
{
	struct weir_dataset_files files = {0};
	struct weir_dataset_net net = {0};
	enum weir_code r = weir_tree_mkdirs(ds->d->tree, ds->dir, 0755, err);

	if (r == WEIR_OK)
		r = dataset_lock(ds, err);
	if (r)
		return r;
	weir_tree_refresh(ds->d->tree, ds->dir);
	dataset_note_load(ds);
	if (!ds->d->is_forced && dataset_is_complete(ds)) {
		ds->d->was_complete = true;
		return WEIR_OK;
	}
	ds->d->sums = (struct weir_dataset_sums){0};
	r = weir_dataset_net_open(&net, ds->d, err);
	if (r == WEIR_OK)
		r = weir_dataset_source(&net, &files, err);
	if (r == WEIR_OK)
		r = dataset_get_all(ds, &net, &files, err);
	weir_dataset_net_close(&net);
	weir_dataset_files_free(&files);
	return r;
}

enum weir_code
weir_dataset_fetch(struct weir_dataset *d, char **where, struct weir_err *err)
{
	struct dataset ds = {.d = d, .lock_fd = -1};
	WEIR_AUTO(weir_freep) char *id = weir_dataset_id(d->what);
	enum weir_code r;

	*where = NULL;
	if (id == NULL)
		return weir_err_set(err, WEIR_E_INVAL, "'%s' is neither a DOI (10.5281/zenodo.123) nor an address (https://…)", d->what);
	ds.dir = weir_path_join(d->folder, id);
	*where = weir_xstrdup(ds.dir);
	r = dataset_run(&ds, err);
	if (r)
		weir_err_wrap(err, r, "data set '%s'", d->what);
	/* a folder that nothing came into says nothing */
	if (r && ds.note != NULL && json_object_size(json_object_get(ds.note, "files")) == 0)
		weir_tree_rmdir(d->tree, ds.dir, NULL);
	weir_closep(&ds.lock_fd);
	json_decref(ds.note);
	free(ds.dir);
	return r;
}
