/* SPDX-License-Identifier: Apache-2.0 */
/* The tree of the Nextcloud emulator in memory, and its lines in the state file. Callers hold nc_lock.
 * Three roots: files (1), chunked uploads (2), trash (3). */
#include "config.h"
#include "nc.h"
#include "util/text.h"
#include <poll.h>
#include <string.h>

pthread_mutex_t nc_lock = PTHREAD_MUTEX_INITIALIZER;
struct nc_node *nc_files, *nc_uploads, *nc_trash;

static struct nc_node **state_by_id;	/* by id */
static size_t state_ids;
static uint64_t state_next = 4;
static struct emu_pairs state_passwords;
static bool state_is_loading;

/* ---- the lines ---- */

static json_t *
state_text(const char *s)
{
	struct weir_buf b = WEIR_BUF(4u << 20);
	json_t *o;

	weir_url_encode(&b, s, strlen(s), "/ :;,=+\"'()@&<>?");
	o = json_string(weir_buf_str(&b));
	weir_buf_free(&b);
	return o;
}

static char *
state_untext(const json_t *o)
{
	const char *s = json_string_value(o);

	return s ? emu_decode(s, strlen(s), false) : NULL;
}

static void
state_log_node(const struct nc_node *x)
{
	struct weir_buf blob = WEIR_BUF(16u << 20);
	json_t *o = json_object(), *props = json_array();

	json_object_set_new(o, "op", json_string("node"));
	json_object_set_new(o, "id", json_integer((json_int_t)x->id));
	json_object_set_new(o, "parent", json_integer(x->parent ? (json_int_t)x->parent->id : 0));
	json_object_set_new(o, "name", state_text(x->name));
	json_object_set_new(o, "dir", json_boolean(x->is_dir));
	if (x->is_v2)
		json_object_set_new(o, "v2", json_true());
	json_object_set_new(o, "etag", json_string(x->etag));
	json_object_set_new(o, "mtime", json_integer(x->mtime));
	json_object_set_new(o, "made", json_integer(x->made));
	if (x->checksum)
		json_object_set_new(o, "sum", state_text(x->checksum));
	if (x->blob) {
		emu_blob_save(&blob, x->blob);
		json_object_set_new(o, "blob", json_string(weir_buf_str(&blob)));
	}
	for (size_t i = 0; i < x->props.n; i++) {
		json_array_append_new(props, state_text(x->props.v[i].name));
		json_array_append_new(props, state_text(x->props.v[i].value));
	}
	json_object_set_new(o, "props", props);
	weir_buf_free(&blob);
	emu_log(o);
}

/* ---- nodes ---- */

static size_t
state_place(const struct nc_node *dir, const char *name)
{
	size_t lo = 0, hi = dir->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(dir->child[mid]->name, name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct nc_node *
nc_child(const struct nc_node *dir, const char *name)
{
	size_t i = state_place(dir, name);

	return i < dir->n && !strcmp(dir->child[i]->name, name) ? dir->child[i] : NULL;
}

static void
state_grow(struct nc_node *from, int64_t delta)
{
	for (struct nc_node *x = from; x; x = x->parent)
		x->size += (uint64_t)delta;
}

static void
state_attach(struct nc_node *x, struct nc_node *dir)
{
	size_t i = state_place(dir, x->name);

	if (dir->n == dir->cap) {
		dir->cap = dir->cap ? dir->cap * 2 : 8;
		dir->child = weir_xrealloc(dir->child, dir->cap, sizeof(struct nc_node *));
	}
	memmove(dir->child + i + 1, dir->child + i, (dir->n - i) * sizeof(struct nc_node *));
	dir->child[i] = x;
	dir->n++;
	x->parent = dir;
	state_grow(dir, (int64_t)x->size);
}

static void
state_detach(struct nc_node *x)
{
	struct nc_node *dir = x->parent;
	size_t i = state_place(dir, x->name);

	memmove(dir->child + i, dir->child + i + 1, (dir->n - i - 1) * sizeof(struct nc_node *));
	dir->n--;
	state_grow(dir, -(int64_t)x->size);
	x->parent = NULL;
}

static void
state_index(struct nc_node *x)
{
	if (x->id >= state_ids) {
		size_t n = (size_t)x->id * 2 + 64;

		state_by_id = weir_xrealloc(state_by_id, n, sizeof(struct nc_node *));
		memset(state_by_id + state_ids, 0, (n - state_ids) * sizeof(struct nc_node *));
		state_ids = n;
	}
	state_by_id[x->id] = x;
	if (x->id >= state_next)
		state_next = x->id + 1;
}

static struct nc_node *
state_new(uint64_t id, const char *name, bool is_dir)
{
	struct nc_node *x = weir_xcalloc(1, sizeof(*x));

	x->id = id;
	x->name = weir_xstrdup(name);
	x->is_dir = is_dir;
	x->mtime = x->made = emu_wall_s();
	if (!is_dir)
		x->blob = emu_blob_empty();
	weir_random_hex(x->etag, is_dir ? 13 : 32);
	state_index(x);
	return x;
}

struct nc_node *
nc_make(struct nc_node *dir, const char *name, bool is_dir)
{
	struct nc_node *x = state_new(state_next, name, is_dir);

	state_attach(x, dir);
	nc_changed(x);
	return x;
}

void
nc_set_content(struct nc_node *x, struct emu_blob *blob)
{
	state_grow(x, (int64_t)emu_blob_size(blob) - (int64_t)x->size);
	emu_blob_unref(x->blob);
	x->blob = blob;
	x->mtime = emu_wall_s();
}

static void
state_free(struct nc_node *x)
{
	for (size_t i = 0; i < x->n; i++)
		state_free(x->child[i]);
	state_by_id[x->id] = NULL;
	emu_blob_unref(x->blob);
	emu_pairs_free(&x->props);
	free(x->checksum);
	free(x->child);
	free(x->name);
	free(x);
}

/* Everything above gets one new etag, and a modification time that is not older than now. */
static void
state_touch(struct nc_node *dir)
{
	json_t *ids = json_array();
	int64_t now = emu_wall_s();
	char etag[40];

	weir_random_hex(etag, 13);
	for (struct nc_node *x = dir; x; x = x->parent) {
		snprintf(x->etag, sizeof(x->etag), "%s", etag);
		if (x->mtime < now)
			x->mtime = now;
		json_array_append_new(ids, json_integer((json_int_t)x->id));
	}
	emu_log(json_pack("{s:s s:s s:I s:o}", "op", "touch", "etag", etag, "mtime", (json_int_t)now, "ids", ids));
}

struct late { uint64_t id; int64_t ms; };

static void *
state_touch_later(void *arg)
{
	struct late *l = arg;
	struct nc_node *x;

	poll(NULL, 0, (int)l->ms);
	pthread_mutex_lock(&nc_lock);
	x = l->id < state_ids ? state_by_id[l->id] : NULL;
	if (x)
		state_touch(x);
	pthread_mutex_unlock(&nc_lock);
	free(l);
	return NULL;
}

/* The real server writes the file, says so, and then goes up to the root. */
static void
state_propagate(struct nc_node *dir)
{
	struct late *l;
	pthread_t t;

	if (!nc_on(NC_ETAG_LATE)) {
		state_touch(dir);
		return;
	}
	l = weir_xcalloc(1, sizeof(*l));
	*l = (struct late){ .id = dir->id, .ms = (int64_t)emu_value(&nc_switches[NC_ETAG_LATE]) };
	if (!pthread_create(&t, NULL, state_touch_later, l))
		pthread_detach(t);
}

void
nc_changed(struct nc_node *x)
{
	weir_random_hex(x->etag, x->is_dir ? 13 : 32);
	state_log_node(x);
	nc_push_tell(x);
	if (x->parent)
		state_propagate(x->parent);
}

void
nc_remove(struct nc_node *x)
{
	struct nc_node *dir = x->parent;

	if (!state_is_loading)
		nc_push_tell(x);
	state_detach(x);
	emu_log(json_pack("{s:s s:I}", "op", "rm", "id", (json_int_t)x->id));
	state_free(x);
	if (!state_is_loading)
		state_propagate(dir);
}

void
nc_move(struct nc_node *x, struct nc_node *dir, const char *name)
{
	struct nc_node *from = x->parent;

	state_detach(x);
	free(x->name);
	x->name = weir_xstrdup(name);
	state_attach(x, dir);
	state_log_node(x);
	nc_push_tell(x);
	state_propagate(from);
	if (dir != from)
		state_propagate(dir);
}

struct nc_node *
nc_copy(const struct nc_node *from, struct nc_node *dir, const char *name, bool is_deep)
{
	struct emu_blob *blob = from->is_dir ? NULL : emu_blob_copy(from->blob, 0, from->size);
	struct nc_node *x;

	if (!from->is_dir && !blob)
		return NULL;
	x = nc_make(dir, name, from->is_dir);
	if (blob)
		nc_set_content(x, blob);
	x->mtime = from->mtime;
	x->checksum = weir_xstrdup(from->checksum);
	emu_pairs_copy(&x->props, &from->props);
	nc_changed(x);
	for (size_t i = 0; is_deep && i < from->n; i++)
		if (!nc_copy(from->child[i], x, from->child[i]->name, true))
			return NULL;
	return x;
}

int64_t
nc_available(void)
{
	double quota = emu_value(&nc_switches[NC_QUOTA]);

	if (quota <= 0)
		return -3;
	return (double)nc_files->size >= quota ? 0 : (int64_t)(quota - (double)nc_files->size);
}

/* ---- app passwords ---- */

bool
nc_password_known(const char *password)
{
	bool known;

	pthread_mutex_lock(&nc_lock);
	known = emu_pairs_get(&state_passwords, password) != NULL;
	pthread_mutex_unlock(&nc_lock);
	return known;
}

void
nc_password_add(const char *password)
{
	emu_pairs_add(&state_passwords, password, "");
	emu_log(json_pack("{s:s s:s}", "op", "password", "value", password));
}

void
nc_password_remove(const char *password)
{
	for (size_t i = 0; i < state_passwords.n; i++)
		if (!strcmp(state_passwords.v[i].name, password))
			state_passwords.v[i].name[0] = 0;
	emu_log(json_pack("{s:s s:s}", "op", "revoke", "value", password));
}

/* ---- loading ---- */

static struct nc_node *
load_id(const json_t *o, const char *name)
{
	uint64_t id = (uint64_t)json_integer_value(json_object_get(o, name));

	return id < state_ids ? state_by_id[id] : NULL;
}

static void
load_fields(struct nc_node *x, const json_t *o)
{
	const json_t *props = json_object_get(o, "props");
	const char *etag = json_string_value(json_object_get(o, "etag"));

	snprintf(x->etag, sizeof(x->etag), "%s", etag ? etag : "");
	x->mtime = json_integer_value(json_object_get(o, "mtime"));
	x->made = json_integer_value(json_object_get(o, "made"));
	x->is_v2 = json_is_true(json_object_get(o, "v2"));
	free(x->checksum);
	x->checksum = state_untext(json_object_get(o, "sum"));
	emu_pairs_free(&x->props);
	for (size_t i = 0; i + 1 < json_array_size(props); i += 2) {
		char *name = state_untext(json_array_get(props, i)), *value = state_untext(json_array_get(props, i + 1));

		if (name && value)
			emu_pairs_add(&x->props, name, value);
		free(name);
		free(value);
	}
}

static int
load_node(const json_t *o)
{
	struct nc_node *x = load_id(o, "id"), *parent = load_id(o, "parent");
	const char *text = json_string_value(json_object_get(o, "blob"));
	WEIR_AUTO(weir_freep) char *name = state_untext(json_object_get(o, "name"));
	struct emu_blob *blob = NULL;

	if (!name || (x ? (x->parent && !parent) : !parent) || (text && !(blob = emu_blob_load(text))))
		return -1;
	if (!x)
		x = state_new((uint64_t)json_integer_value(json_object_get(o, "id")), name, json_is_true(json_object_get(o, "dir")));
	else if (x->parent)
		state_detach(x);
	free(x->name);
	x->name = WEIR_STEAL(name);
	if (parent)
		state_attach(x, parent);
	if (blob) {
		state_grow(x, (int64_t)emu_blob_size(blob) - (int64_t)x->size);
		if (x->blob && emu_blob_size(x->blob)) {
			/* The same files may be named by both lines: forget the old blob without removing them. */
			x->blob = NULL;
		}
		emu_blob_unref(x->blob);
		x->blob = blob;
	}
	load_fields(x, o);
	return 0;
}

static int
load_touch(const json_t *o)
{
	const json_t *ids = json_object_get(o, "ids");
	const char *etag = json_string_value(json_object_get(o, "etag"));
	int64_t mtime = json_integer_value(json_object_get(o, "mtime"));

	for (size_t i = 0; i < json_array_size(ids); i++) {
		uint64_t id = (uint64_t)json_integer_value(json_array_get(ids, i));
		struct nc_node *x = id < state_ids ? state_by_id[id] : NULL;

		if (!x)
			continue;
		snprintf(x->etag, sizeof(x->etag), "%s", etag ? etag : "");
		if (x->mtime < mtime)
			x->mtime = mtime;
	}
	return 0;
}

static int
load_line(const json_t *o)
{
	const char *op = json_string_value(json_object_get(o, "op")), *value = json_string_value(json_object_get(o, "value"));
	struct nc_node *x;

	if (!op)
		return -1;
	if (!strcmp(op, "node"))
		return load_node(o);
	if (!strcmp(op, "touch"))
		return load_touch(o);
	if (!strcmp(op, "password") && value)
		nc_password_add(value);
	else if (!strcmp(op, "revoke") && value)
		nc_password_remove(value);
	else if (!strcmp(op, "rm") && (x = load_id(o, "id")) && x->parent)
		nc_remove(x);
	return 0;
}

static void
state_dump_node(const struct nc_node *x)
{
	state_log_node(x);
	for (size_t i = 0; i < x->n; i++)
		state_dump_node(x->child[i]);
}

static void
state_dump(void)
{
	state_dump_node(nc_files);
	state_dump_node(nc_uploads);
	state_dump_node(nc_trash);
	for (size_t i = 0; i < state_passwords.n; i++)
		if (*state_passwords.v[i].name)
			emu_log(json_pack("{s:s s:s}", "op", "password", "value", state_passwords.v[i].name));
}

int
nc_state_open(const char *dir)
{
	nc_files = state_new(1, "", true);
	nc_uploads = state_new(2, "", true);
	nc_trash = state_new(3, "", true);
	state_is_loading = true;
	if (emu_store_open(dir) || emu_log_open(dir, load_line))
		return -1;
	state_is_loading = false;
	emu_store_sweep();
	return emu_log_compact(state_dump);
}
