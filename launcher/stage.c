/* SPDX-License-Identifier: Apache-2.0 */
/* Copying in, noting, comparing, sending out. The note maps each path of the namespace below the roots to what it was:
 *   {"type": "file", "size", "mtime_ns"        of the storage's version (what is compared before it is replaced),
 *    "hash"                                     of its bytes; absent: it was there and was not copied (:out),
 *    "here": [size, mtime_ns, ctime_ns, ino]    of the copy, before the job; "mode"}
 *   {"type": "link", "target"}   {"type": "folder"}   {"type": "new"}: it was not there;
 * "settled" beside any of these: the job's version (hash or target) that stands under another name already. */
#include "config.h"

#include "stage.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../src/client/copy.h"
#include "../src/util/text.h"
#include "../src/util/util.h"
#include "../src/control/mounts.h"

#define STAGE_NOTE_MAX (1u << 30)

enum stage_kind { STAGE_BOTH, STAGE_READ_ONLY, STAGE_OUT };
static const char *const stage_kinds[] = {"both", "ro", "out"};

struct stage {
	struct weir_stage *s;
	struct weir_tree *local;
	char *storage;		/* FOLDER/storage */
	char *note_path;
	json_t *note;		/* {"version", "roots": [{"path", "kind"}], "files": {PATH: …}} */
	json_t *files;		/* borrowed from note */
	enum stage_kind kind;	/* of the root that is being worked on */
	enum weir_code first;	/* of the failures that did not stop us; its sentence in err */
	struct weir_err *err;
};

static void
stage_say(struct stage *st, const char *sentence)
{
	if (st->s->say != NULL)
		st->s->say(st->s->arg, sentence);
}

static void
stage_fail(struct stage *st, enum weir_code r, const struct weir_err *why)
{
	stage_say(st, weir_err_text(why, r));
	if (st->first != WEIR_OK)
		return;
	st->first = r;
	if (st->err != NULL)
		*st->err = *why;
}

static bool
stage_is_canceled(const struct stage *st)
{
	return st->s->cancel != NULL && atomic_load(st->s->cancel);
}

/* Where a path of the namespace lies here. */
static char *
stage_here(const struct stage *st, const char *path)
{
	return weir_xasprintf("%s%s", st->storage, strcmp(path, "/") == 0 ? "" : path);
}

static enum weir_code
stage_open(struct stage *st, struct weir_stage *s, struct weir_err *err)
{
	*st = (struct stage){.s = s, .err = err};
	s->sums = (struct weir_stage_sums){0};
	st->local = weir_tree_local(s->cancel);
	st->storage = weir_path_join(s->folder, "storage");
	st->note_path = weir_path_join(s->folder, "stage.json");
	return WEIR_OK;
}

static void
stage_close(struct stage *st)
{
	weir_tree_close(st->local);
	json_decref(st->note);
	free(st->storage);
	free(st->note_path);
}

/* ---- notes of what is here ---- */

static json_t *
stage_stat_json(const struct stat *sb)
{
	return json_pack("[I, I, I, I]", (json_int_t)sb->st_size, (json_int_t)sb->st_mtim.tv_sec * 1000000000 + sb->st_mtim.tv_nsec,
	    (json_int_t)sb->st_ctim.tv_sec * 1000000000 + sb->st_ctim.tv_nsec, (json_int_t)sb->st_ino);
}

/* ---- in: roots ---- */

static enum weir_code
stage_parse(const char *text, char **path, enum stage_kind *kind)
{
	const char *colon = strrchr(text, ':');
	WEIR_AUTO(weir_freep) char *plain = NULL;

	*kind = STAGE_BOTH;
	if (colon != NULL && strcmp(colon, ":ro") == 0)
		*kind = STAGE_READ_ONLY;
	else if (colon != NULL && strcmp(colon, ":out") == 0)
		*kind = STAGE_OUT;
	plain = *kind == STAGE_BOTH ? weir_xasprintf("/%s", text) : weir_xasprintf("/%.*s", (int)(colon - text), text);
	*path = weir_path_absolute(plain);
	return *path != NULL ? WEIR_OK : WEIR_E_INVAL;
}

static bool
stage_is_below(const char *dir, const char *path)
{
	size_t len = strcmp(dir, "/") == 0 ? 0 : strlen(dir);

	return strncmp(dir, path, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static enum weir_code
stage_roots(struct stage *st, const char *const *paths, size_t n, struct weir_err *err)
{
	json_t *roots = json_object_get(st->note, "roots"), *other;
	size_t k;

	for (size_t i = 0; i < n; i++) {
		WEIR_AUTO(weir_freep) char *path = NULL;
		enum stage_kind kind;
		struct weir_attr attr;
		json_t *root;
		enum weir_code r;

		if (stage_parse(paths[i], &path, &kind) != WEIR_OK)
			return weir_err_set(err, WEIR_E_INVAL, "'%s' is no path", paths[i]);
		json_array_foreach (roots, k, other) {
			const char *p = json_string_value(json_object_get(other, "path"));

			if (stage_is_below(p, path) || stage_is_below(path, p))
				return weir_err_set(err, WEIR_E_INVAL, "'%s' and '%s' are to be staged, and one lies in the other", p, path);
		}
		weir_tree_refresh(st->s->tree, path);
		r = weir_tree_stat(st->s->tree, path, true, &attr, err);
		if (r && !(r == WEIR_E_NOENT && kind == STAGE_OUT))
			return r;
		root = json_pack("{s:s, s:s}", "path", path, "kind", stage_kinds[kind]);
		if (root == NULL)
			return weir_err_set(err, WEIR_E_INVAL, "'%s' is not UTF-8", path);
		json_array_append_new(roots, root);
	}
	return WEIR_OK;
}

/* ---- in: what is there ---- */

/* Walks what the storage has: for :out it notes the files, for the others it adds up their sizes. */
struct stage_walk { struct stage *st; const char *dir; uint64_t bytes; enum weir_code r; struct weir_err *err; };

static void stage_look(struct stage_walk *);

static int
stage_look_entry(void *arg, const char *name, const struct weir_attr *attr)
{
	struct stage_walk *w = arg;
	WEIR_AUTO(weir_freep) char *path = weir_path_join(w->dir, name);
	struct stage_walk below = {.st = w->st, .dir = path, .err = w->err};

	if (S_ISDIR(attr->mode)) {
		stage_look(&below);
		w->bytes += below.bytes;
		w->r = below.r;
	} else if (S_ISREG(attr->mode)) {
		w->bytes += attr->size;
		if (w->st->kind == STAGE_OUT)
			json_object_set_new(w->st->files, path, json_pack("{s:s, s:I, s:I}", "type", "file", "size", (json_int_t)attr->size, "mtime_ns", (json_int_t)attr->mtime_ns));
	}
	return w->r != WEIR_OK || stage_is_canceled(w->st);
}

static void
stage_look(struct stage_walk *w)
{
	enum weir_code r = weir_tree_list(w->st->s->tree, w->dir, stage_look_entry, w, w->err);

	if (w->r == WEIR_OK)
		w->r = r;
}

static enum weir_code
stage_measure(struct stage *st, const char *path, uint64_t *bytes, struct weir_err *err)
{
	struct stage_walk w = {.st = st, .dir = path, .err = err};
	struct weir_attr attr;
	enum weir_code r = weir_tree_stat(st->s->tree, path, true, &attr, err);

	if (r == WEIR_E_NOENT && st->kind == STAGE_OUT)
		return WEIR_OK;
	if (r)
		return r;
	if (S_ISDIR(attr.mode))
		stage_look(&w);
	else
		w.bytes = attr.size;
	*bytes += st->kind == STAGE_OUT ? 0 : w.bytes;
	return w.r;
}

static enum stage_kind
stage_kind_of(json_t *root)
{
	const char *kind = json_string_value(json_object_get(root, "kind"));

	return kind != NULL && strcmp(kind, "ro") == 0 ? STAGE_READ_ONLY : kind != NULL && strcmp(kind, "out") == 0 ? STAGE_OUT : STAGE_BOTH;
}

static enum weir_code
stage_room(struct stage *st, struct weir_err *err)
{
	json_t *roots = json_object_get(st->note, "roots"), *root;
	uint64_t want = 0, room = 0;
	char a[16], b[16];
	size_t i;
	enum weir_code r = WEIR_OK;

	json_array_foreach (roots, i, root) {
		st->kind = stage_kind_of(root);
		if (r == WEIR_OK)
			r = stage_measure(st, json_string_value(json_object_get(root, "path")), &want, err);
	}
	if (r)
		return r;
	r = weir_tree_room(st->local, st->s->folder, &room, err);
	if (r == WEIR_OK && want > room)
		return weir_err_set(err, WEIR_E_NOSPC, "the named paths take %s, and '%s' has room for %s only", weir_size_text(want, a), st->s->folder, weir_size_text(room, b));
	return r;
}

/* ---- in: copies ---- */

static void
stage_copied(void *arg, const struct weir_copied *c)
{
	struct stage *st = arg;
	json_t *o = json_pack("{s:s, s:I, s:I, s:s}", "type", "file", "size", (json_int_t)c->from_attr.size, "mtime_ns", (json_int_t)c->from_attr.mtime_ns, "hash", c->hash);

	/* a path that is not UTF-8 gets no note: after the job it looks like a new file, and is compared as such */
	json_object_set_new(st->files, c->from, o);
}

static void
stage_copy_failed(void *arg, const char *sentence)
{
	stage_say(arg, sentence);
}

static void
stage_copy_moved(void *arg, const struct weir_copy_sums *sums)
{
	struct stage *st = arg;

	if (st->s->moved != NULL)
		st->s->moved(st->s->arg, st->s->sums.files_in + st->s->sums.files_out + sums->files, st->s->sums.bytes_in + st->s->sums.bytes_out + sums->bytes);
}

/* What the copies look like before the job touches them. */
static int
stage_note_entry(void *arg, const char *name, const struct weir_attr *attr)
{
	struct stage_walk *w = arg;
	WEIR_AUTO(weir_freep) char *path = weir_path_join(w->dir, name), *here = stage_here(w->st, path), *target = NULL;
	struct stage_walk below = {.st = w->st, .dir = path, .err = w->err};
	json_t *o = json_object_get(w->st->files, path);
	struct stat sb;

	if (S_ISDIR(attr->mode)) {
		json_object_set_new(w->st->files, path, json_pack("{s:s}", "type", "folder"));
		w->r = weir_tree_list(w->st->local, here, stage_note_entry, &below, w->err);
		w->r = w->r != WEIR_OK ? w->r : below.r;
	} else if (S_ISLNK(attr->mode)) {
		if (weir_tree_readlink(w->st->local, here, &target, NULL) == WEIR_OK)
			json_object_set_new(w->st->files, path, json_pack("{s:s, s:s}", "type", "link", "target", target));
	} else if (o != NULL && lstat(here, &sb) == 0) {
		json_object_set_new(o, "here", stage_stat_json(&sb));
		json_object_set_new(o, "mode", json_integer(sb.st_mode & 0777));
	}
	return w->r != WEIR_OK;
}

static enum weir_code
stage_root_in(struct stage *st, const char *path, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *here = stage_here(st, path), *up = weir_xstrndup(here, (size_t)(strrchr(here, '/') - here));
	WEIR_AUTO(weir_freep) char *dir = weir_xstrndup(path, (size_t)(strrchr(path, '/') - path));
	struct weir_copy c = {.from = st->s->tree, .to = st->local, .cancel = st->s->cancel, .failed = stage_copy_failed, .moved = stage_copy_moved, .copied = stage_copied,
	    .arg = st};
	struct stage_walk w = {.st = st, .dir = path, .err = err};
	struct weir_attr attr;
	enum weir_code r = weir_tree_mkdirs(st->local, st->kind == STAGE_OUT ? here : up, 0755, err);

	if (r || st->kind == STAGE_OUT)
		return r;
	r = weir_copy(&c, path, here, true, err);
	st->s->sums.files_in += c.sums.files;
	st->s->sums.bytes_in += c.sums.bytes;
	if (r == WEIR_OK)
		r = weir_tree_stat(st->local, here, false, &attr, err);
	if (r)
		return r;
	if (S_ISDIR(attr.mode)) {
		r = weir_tree_list(st->local, here, stage_note_entry, &w, err);
		return r != WEIR_OK ? r : w.r;
	}
	w.dir = *dir != '\0' ? dir : "/";
	stage_note_entry(&w, strrchr(path, '/') + 1, &attr);
	return w.r;
}

static enum weir_code
stage_save(struct stage *st, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *text = json_dumps(st->note, JSON_COMPACT);

	if (text == NULL)
		return weir_err_set(err, WEIR_E_NOMEM, "cannot put the note of what was staged together");
	return weir_write_file(st->note_path, text, strlen(text)) == 0 ? WEIR_OK : weir_err_errno(err, errno, "'%s'", st->note_path);
}

static enum weir_code
stage_in_all(struct stage *st, const char *const *paths, size_t n, struct weir_err *err)
{
	json_t *root;
	size_t i;
	enum weir_code r;

	if (weir_mkdirs(st->s->folder, 0700) != 0)
		return weir_err_errno(err, errno, "folder '%s'", st->s->folder);
	if (access(st->note_path, F_OK) == 0)
		return weir_err_set(err, WEIR_E_EXIST, "'%s' holds staged files already", st->s->folder);
	st->note = json_pack("{s:i, s:[], s:{}}", "version", 1, "roots", "files");
	st->files = json_object_get(st->note, "files");
	r = stage_roots(st, paths, n, err);
	if (r == WEIR_OK)
		r = stage_room(st, err);
	if (r == WEIR_OK)
		r = weir_tree_mkdirs(st->local, st->storage, 0755, err);
	json_array_foreach (json_object_get(st->note, "roots"), i, root) {
		st->kind = stage_kind_of(root);
		if (r == WEIR_OK)
			r = stage_root_in(st, json_string_value(json_object_get(root, "path")), err);
	}
	return r == WEIR_OK ? stage_save(st, err) : r;
}

enum weir_code
weir_stage_in(struct weir_stage *s, const char *const *paths, size_t n, struct weir_err *err)
{
	struct stage st;
	enum weir_code r = stage_open(&st, s, err);

	if (r == WEIR_OK)
		r = stage_in_all(&st, paths, n, err);
	stage_close(&st);
	return r;
}

/* ---- out: comparing ---- */

static bool
stage_is_untouched(json_t *o, const struct stat *sb)
{
	json_t *now = stage_stat_json(sb);
	bool is_same = json_equal(now, json_object_get(o, "here")) != 0;

	json_decref(now);
	return is_same;
}

/* Is the storage's file the one that was noted? By size and time, or by its bytes where those tell something else. */
static bool
stage_is_noted(struct stage *st, const char *path, const struct weir_attr *there, json_t *o)
{
	const char *hash = json_string_value(json_object_get(o, "hash"));
	char now[WEIR_COPY_HASH];

	if (o == NULL || !S_ISREG(there->mode) || there->size != (uint64_t)json_integer_value(json_object_get(o, "size")))
		return false;
	if (there->mtime_ns == (int64_t)json_integer_value(json_object_get(o, "mtime_ns")))
		return true;
	return hash != NULL && weir_tree_hash(st->s->tree, path, now, NULL) == WEIR_OK && strcmp(now, hash) == 0;
}

/* The name that our version takes beside theirs. */
static char *
stage_conflict(struct stage *st, const char *path)
{
	const char *slash = strrchr(path, '/');
	char name[256], text[WEIR_ERR_MAX * 2];
	WEIR_AUTO(weir_freep) char *label = weir_tree_label(st->s->tree, path);

	weir_tree_conflict_name(slash + 1, name);
	st->s->sums.conflicts++;
	snprintf(text, sizeof(text), "'%s' was changed by somebody else while the job ran: the job's version is kept beside it as '%s'", label, name);
	stage_say(st, text);
	return weir_xasprintf("%.*s/%s", (int)(slash - path), path, name);
}

/* ---- out: sending ---- */

static enum weir_code
stage_send(struct stage *st, const char *path, const char *to, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *here = stage_here(st, path);
	struct weir_copy c = {.from = st->local, .to = st->s->tree, .cancel = st->s->cancel, .moved = stage_copy_moved, .arg = st};
	enum weir_code r = weir_copy(&c, here, to, false, err);

	st->s->sums.files_out += c.sums.files + c.sums.links;
	st->s->sums.bytes_out += c.sums.bytes;
	return r;
}

/* This version stands beside theirs: a second run is not to put it there again. */
static void
stage_settled(struct stage *st, const char *path, const char *version)
{
	json_t *o = json_object_get(st->files, path);

	if (o == NULL) {
		o = json_pack("{s:s}", "type", "new");
		json_object_set_new(st->files, path, o);
	}
	json_object_set_new(o, "settled", json_string(version));
	stage_save(st, NULL);
}

static bool
stage_is_settled(struct stage *st, const char *path, const char *version)
{
	const char *settled = json_string_value(json_object_get(json_object_get(st->files, path), "settled"));

	return settled != NULL && strcmp(settled, version) == 0;
}

/* Path is a file here, changed or new. */
static enum weir_code
stage_send_file(struct stage *st, const char *path, const struct stat *sb, const char *hash, json_t *o, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *beside = NULL;
	char theirs[WEIR_COPY_HASH];
	struct weir_attr there;
	enum weir_code r;

	r = weir_tree_stat(st->s->tree, path, false, &there, err);
	if (r == WEIR_E_NOENT)
		return stage_send(st, path, path, err);
	if (r)
		return r;
	if (stage_is_noted(st, path, &there, o))
		return stage_send(st, path, path, err);
	/* sent before, or the same by chance */
	if (S_ISREG(there.mode) && there.size == (uint64_t)sb->st_size && weir_tree_hash(st->s->tree, path, theirs, NULL) == WEIR_OK && strcmp(theirs, hash) == 0)
		return WEIR_OK;
	beside = stage_conflict(st, path);
	r = stage_send(st, path, beside, err);
	if (r == WEIR_OK)
		stage_settled(st, path, hash);
	return r;
}

static void
stage_told_read_only(struct stage *st, const char *path)
{
	char text[WEIR_ERR_MAX];

	st->s->sums.kept++;
	snprintf(text, sizeof(text), "'%s' was changed by the job, and was given to it read-only: not sent", path);
	stage_say(st, text);
}

static enum weir_code
stage_file_out(struct stage *st, const char *path, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *here = stage_here(st, path);
	json_t *o = json_object_get(st->files, path);
	const char *noted = json_string_value(json_object_get(o, "hash"));
	char hash[WEIR_COPY_HASH];
	struct stat sb;
	enum weir_code r;

	if (lstat(here, &sb) != 0)
		return weir_err_errno(err, errno, "'%s'", here);
	if (noted != NULL && stage_is_untouched(o, &sb))
		return WEIR_OK;
	r = weir_tree_hash(st->local, here, hash, err);
	if (r || stage_is_settled(st, path, hash))
		return r;
	if (noted != NULL && strcmp(hash, noted) == 0) {
		if ((sb.st_mode & 0777) == (mode_t)json_integer_value(json_object_get(o, "mode")) || st->kind == STAGE_READ_ONLY)
			return WEIR_OK;
		return weir_tree_set(st->s->tree, path, WEIR_SET_MODE, sb.st_mode & 0777, 0, err);
	}
	if (st->kind == STAGE_READ_ONLY) {
		stage_told_read_only(st, path);
		return WEIR_OK;
	}
	return stage_send_file(st, path, &sb, hash, o, err);
}

static enum weir_code
stage_link_out(struct stage *st, const char *path, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *here = stage_here(st, path), *target = NULL, *theirs = NULL, *beside = NULL;
	const char *noted = json_string_value(json_object_get(json_object_get(st->files, path), "target"));
	struct weir_attr there;
	enum weir_code r = weir_tree_readlink(st->local, here, &target, err);

	if (r || (noted != NULL && strcmp(noted, target) == 0) || stage_is_settled(st, path, target))
		return r;
	if (st->kind == STAGE_READ_ONLY) {
		stage_told_read_only(st, path);
		return WEIR_OK;
	}
	r = weir_tree_stat(st->s->tree, path, false, &there, err);
	if (r == WEIR_E_NOENT)
		return stage_send(st, path, path, err);
	if (r)
		return r;
	if (S_ISLNK(there.mode) && weir_tree_readlink(st->s->tree, path, &theirs, NULL) == WEIR_OK && (strcmp(theirs, target) == 0 || (noted != NULL && strcmp(theirs, noted) == 0)))
		return strcmp(theirs, target) == 0 ? WEIR_OK : stage_send(st, path, path, err);
	if (stage_is_noted(st, path, &there, json_object_get(st->files, path)))
		return stage_send(st, path, path, err);
	beside = stage_conflict(st, path);
	r = stage_send(st, path, beside, err);
	if (r == WEIR_OK)
		stage_settled(st, path, target);
	return r;
}

/* A folder that stands here stands there; false: what is in it has no place. */
static bool
stage_folder_out(struct stage *st, const char *path, const struct weir_attr *attr)
{
	struct weir_attr there;
	struct weir_err err = {0};
	enum weir_code r;

	if (st->kind == STAGE_READ_ONLY)
		return true;
	r = weir_tree_stat(st->s->tree, path, true, &there, &err);
	if (r == WEIR_OK && S_ISDIR(there.mode))
		return true;
	/* the job made a folder where a file was */
	if (r == WEIR_OK && stage_is_noted(st, path, &there, json_object_get(st->files, path)))
		r = weir_tree_unlink(st->s->tree, path, &err) == WEIR_OK ? WEIR_E_NOENT : WEIR_E_NOTDIR;
	if (r == WEIR_E_NOENT)
		r = weir_tree_mkdir(st->s->tree, path, attr->mode & 0777, &err);
	else if (r == WEIR_OK)
		r = weir_err_set(&err, WEIR_E_NOTDIR, "'%s' is no folder there any more: what the job made in it is not sent", path);
	if (r)
		stage_fail(st, r, &err);
	return r == WEIR_OK;
}

static int
stage_out_entry(void *arg, const char *name, const struct weir_attr *attr)
{
	struct stage_walk *w = arg;
	struct stage *st = w->st;
	WEIR_AUTO(weir_freep) char *path = weir_path_join(w->dir, name), *here = stage_here(st, path);
	struct stage_walk below = {.st = st, .dir = path};
	struct weir_err err = {0};
	enum weir_code r = WEIR_OK;

	if (stage_is_canceled(st))
		return 1;
	if (S_ISDIR(attr->mode)) {
		if (stage_folder_out(st, path, attr))
			r = weir_tree_list(st->local, here, stage_out_entry, &below, &err);
	} else if (S_ISREG(attr->mode))
		r = stage_file_out(st, path, &err);
	else if (S_ISLNK(attr->mode))
		r = stage_link_out(st, path, &err);
	else {
		st->s->sums.kept++;
		r = weir_err_set(&err, WEIR_E_NOTSUP, "'%s' is neither file, folder nor link: not sent", here);
	}
	if (r)
		stage_fail(st, r, &err);
	return 0;
}

/* ---- out: removals ---- */

static int
stage_deepest_first(const void *a, const void *b)
{
	return strcmp(*(const char *const *)b, *(const char *const *)a);
}

static void
stage_remove(struct stage *st, const char *path)
{
	json_t *o = json_object_get(st->files, path);
	const char *type = json_string_value(json_object_get(o, "type"));
	WEIR_AUTO(weir_freep) char *target = NULL;
	struct weir_attr there;
	struct weir_err err = {0};
	char text[WEIR_ERR_MAX];
	bool is_ours;
	enum weir_code r = weir_tree_stat(st->s->tree, path, false, &there, &err);

	if (r == WEIR_E_NOENT)
		return;
	if (r == WEIR_OK && type != NULL && strcmp(type, "folder") == 0) {
		r = S_ISDIR(there.mode) ? weir_tree_rmdir(st->s->tree, path, &err) : WEIR_OK;
		if (r && r != WEIR_E_NOTEMPTY)
			stage_fail(st, r, &err);
		return;
	}
	if (type != NULL && strcmp(type, "link") == 0)
		is_ours = S_ISLNK(there.mode) && weir_tree_readlink(st->s->tree, path, &target, NULL) == WEIR_OK &&
		    strcmp(target, json_string_value(json_object_get(o, "target"))) == 0;
	else
		is_ours = stage_is_noted(st, path, &there, o);
	if (r == WEIR_OK && is_ours) {
		r = weir_tree_unlink(st->s->tree, path, &err);
		st->s->sums.removed += r == WEIR_OK;
	} else if (r == WEIR_OK) {
		st->s->sums.kept++;
		snprintf(text, sizeof(text), "'%s' was removed by the job and changed by somebody else: it stays", path);
		stage_say(st, text);
	}
	if (r)
		stage_fail(st, r, &err);
}

/* What was copied in and is not here any more. */
static void
stage_removals(struct stage *st, const char *root)
{
	const char **gone = NULL, *path;
	size_t n = 0;
	json_t *o;

	json_object_foreach (st->files, path, o) {
		WEIR_AUTO(weir_freep) char *here = stage_here(st, path);
		const char *type = json_string_value(json_object_get(o, "type"));
		struct stat sb;
		bool was_staged = type != NULL && strcmp(type, "new") != 0 && (strcmp(type, "file") != 0 || json_object_get(o, "hash") != NULL);

		if (!was_staged || !stage_is_below(root, path) || lstat(here, &sb) == 0 || (errno != ENOENT && errno != ENOTDIR))
			continue;
		gone = weir_xrealloc(gone, n + 1, sizeof(*gone));
		gone[n++] = path;
	}
	if (n > 0)
		qsort(gone, n, sizeof(*gone), stage_deepest_first);
	for (size_t i = 0; i < n && !stage_is_canceled(st); i++)
		stage_remove(st, gone[i]);
	free(gone);
}

/* ---- out ---- */

static bool
stage_sending(void *arg, const struct weir_flush_progress *p)
{
	struct stage *st = arg;

	return st->s->sending == NULL || st->s->sending(st->s->arg, p);
}

static void
stage_root_out(struct stage *st, const char *root)
{
	WEIR_AUTO(weir_freep) char *here = stage_here(st, root), *dir = weir_xstrndup(root, (size_t)(strrchr(root, '/') - root));
	struct stage_walk w = {.st = st, .dir = *dir != '\0' ? dir : "/"};
	struct weir_attr attr;
	struct weir_err err = {0};
	enum weir_code r;

	weir_tree_refresh(st->s->tree, root);
	if (st->kind == STAGE_BOTH)
		stage_removals(st, root);
	if (weir_tree_stat(st->local, here, false, &attr, NULL) != WEIR_OK)
		return;		/* the job removed it whole */
	if (strcmp(root, "/") == 0) {
		w.dir = "/";
		r = weir_tree_list(st->local, here, stage_out_entry, &w, &err);
		if (r)
			stage_fail(st, r, &err);
		return;
	}
	if (st->kind == STAGE_OUT) {
		/* an output that nothing was written to is not made there */
		r = rmdir(here) == 0 ? WEIR_E_NODATA : weir_tree_mkdirs(st->s->tree, root, 0755, &err);
		if (r == WEIR_E_NODATA)
			return;
		if (r) {
			stage_fail(st, r, &err);
			return;
		}
	}
	stage_out_entry(&w, strrchr(root, '/') + 1, &attr);
}

/* The namespace's own folder is in no storage: only what the roots hold is waited for. */
static void
stage_flush(struct stage *st, const char *root)
{
	struct weir_attr attr;
	struct weir_err err = {0};
	const char *path = weir_tree_stat(st->s->tree, root, true, &attr, NULL) == WEIR_OK ? root : "/";
	enum weir_code r = weir_tree_flush(st->s->tree, path, stage_sending, st, &err);

	if (r)
		stage_fail(st, r, &err);
}

static enum weir_code
stage_out_all(struct stage *st, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *text = NULL;
	struct stat sb;
	json_t *root;
	size_t len, i;

	if (weir_read_file(st->note_path, STAGE_NOTE_MAX, &text, &len) != 0)
		return errno == ENOENT ? weir_err_set(err, WEIR_E_NOENT, "nothing was staged in '%s'", st->s->folder) : weir_err_errno(err, errno, "'%s'", st->note_path);
	st->note = json_loadb(text, len, 0, NULL);
	st->files = json_object_get(st->note, "files");
	/* A folder that is gone is no order to remove what was copied from. */
	if (lstat(st->storage, &sb) != 0 || !S_ISDIR(sb.st_mode))
		return weir_err_set(err, WEIR_E_IO, "'%s' is not there any more, so what the job changed is not known", st->storage);
	if (!json_is_object(st->files))
		return weir_err_set(err, WEIR_E_IO, "'%s' is damaged", st->note_path);
	json_array_foreach (json_object_get(st->note, "roots"), i, root) {
		st->kind = stage_kind_of(root);
		stage_root_out(st, json_string_value(json_object_get(root, "path")));
	}
	json_array_foreach (json_object_get(st->note, "roots"), i, root) {
		if (stage_kind_of(root) != STAGE_READ_ONLY && !stage_is_canceled(st))
			stage_flush(st, json_string_value(json_object_get(root, "path")));
	}
	if (st->first == WEIR_OK && stage_is_canceled(st))
		return weir_err_set(err, WEIR_E_INTR, "interrupted");
	return st->first;
}

enum weir_code
weir_stage_out(struct weir_stage *s, struct weir_err *err)
{
	struct stage st;
	enum weir_code r = stage_open(&st, s, err);

	if (r == WEIR_OK)
		r = stage_out_all(&st, err);
	stage_close(&st);
	return r;
}
