/* SPDX-License-Identifier: Apache-2.0 */
/* Buckets, objects and uploads in memory, and their lines in the state file. Callers hold s3_lock. */
#include "config.h"
#include "s3.h"
#include "util/text.h"
#include <string.h>

pthread_mutex_t s3_lock = PTHREAD_MUTEX_INITIALIZER;
struct s3_bucket *s3_buckets;
static uint64_t state_used;

int64_t
s3_now_ms(void)
{
	return weir_wall_ns() / 1000000;
}

uint64_t
s3_used(void)
{
	return state_used;
}

/* ---- JSON: names and values are any bytes, so they are percent-encoded ---- */

static json_t *
state_text(const char *s)
{
	struct weir_buf b = WEIR_BUF(1u << 20);
	json_t *o;

	weir_url_encode(&b, s, strlen(s), "/ :;,=+\"'()@&");
	o = json_string(weir_buf_str(&b));
	weir_buf_free(&b);
	return o;
}

static char *
state_untext(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));
	char *out = s ? emu_decode(s, strlen(s), false) : NULL;

	return out ? out : weir_xstrdup("");
}

static json_t *
state_pairs(const struct emu_pairs *p)
{
	json_t *a = json_array();

	for (size_t i = 0; i < p->n; i++) {
		json_array_append_new(a, state_text(p->v[i].name));
		json_array_append_new(a, state_text(p->v[i].value));
	}
	return a;
}

static void
state_unpairs(const json_t *a, struct emu_pairs *p)
{
	for (size_t i = 0; i + 1 < json_array_size(a); i += 2) {
		const char *n = json_string_value(json_array_get(a, i)), *v = json_string_value(json_array_get(a, i + 1));
		char *name = n ? emu_decode(n, strlen(n), false) : NULL, *value = v ? emu_decode(v, strlen(v), false) : NULL;

		if (name && value)
			emu_pairs_add(p, name, value);
		free(name);
		free(value);
	}
}

static json_t *
state_blob(const struct emu_blob *b)
{
	struct weir_buf out = WEIR_BUF(16u << 20);
	json_t *o;

	emu_blob_save(&out, b);
	o = json_string(weir_buf_str(&out));
	weir_buf_free(&out);
	return o;
}

static const char *
state_str(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s ? s : "";
}

static int64_t
state_int(const json_t *o, const char *name)
{
	return json_integer_value(json_object_get(o, name));
}

static void
state_sum(json_t *o, const struct s3_sum *s)
{
	if (!*s->algo)
		return;
	json_object_set_new(o, "algo", json_string(s->algo));
	json_object_set_new(o, "sum", json_string(s->value));
	json_object_set_new(o, "composite", json_boolean(s->is_composite));
}

static void
state_unsum(const json_t *o, struct s3_sum *s)
{
	snprintf(s->algo, sizeof(s->algo), "%s", state_str(o, "algo"));
	snprintf(s->value, sizeof(s->value), "%s", state_str(o, "sum"));
	s->is_composite = json_is_true(json_object_get(o, "composite"));
}

static json_t *
state_line(const char *op, const struct s3_bucket *b, const char *key)
{
	json_t *o = json_object();

	json_object_set_new(o, "op", json_string(op));
	json_object_set_new(o, "bucket", state_text(b->name));
	if (key)
		json_object_set_new(o, "key", state_text(key));
	return o;
}

static void
state_log_obj(const struct s3_bucket *b, const struct s3_obj *obj)
{
	json_t *o = state_line("put", b, obj->key);

	json_object_set_new(o, "blob", state_blob(obj->blob));
	json_object_set_new(o, "etag", json_string(obj->etag));
	json_object_set_new(o, "mtime", json_integer(obj->mtime_ms));
	json_object_set_new(o, "head", state_pairs(&obj->head));
	state_sum(o, &obj->sum);
	emu_log(o);
}

static void
state_log_upload(const struct s3_bucket *b, const struct s3_upload *u)
{
	json_t *o = state_line("upload", b, u->key);

	json_object_set_new(o, "id", json_string(u->id));
	json_object_set_new(o, "mtime", json_integer(u->started_ms));
	json_object_set_new(o, "head", state_pairs(&u->head));
	json_object_set_new(o, "algo", json_string(u->algo));
	json_object_set_new(o, "full", json_boolean(u->is_full));
	emu_log(o);
}

static void
state_log_part(const struct s3_bucket *b, const struct s3_upload *u, const struct s3_part *p)
{
	json_t *o = state_line("part", b, u->key);

	json_object_set_new(o, "id", json_string(u->id));
	json_object_set_new(o, "number", json_integer(p->number));
	json_object_set_new(o, "blob", state_blob(p->blob));
	json_object_set_new(o, "etag", json_string(p->md5));
	json_object_set_new(o, "mtime", json_integer(p->mtime_ms));
	state_sum(o, &p->sum);
	emu_log(o);
}

/* ---- objects ---- */

struct s3_obj *
s3_obj_new(const char *key, struct emu_blob *blob)
{
	struct s3_obj *o = weir_xcalloc(1, sizeof(*o));

	o->refs = 1;
	o->key = weir_xstrdup(key);
	o->blob = blob;
	o->mtime_ms = emu_wall_s() * 1000 + s3_now_ms() % 1000;
	return o;
}

struct s3_obj *
s3_obj_ref(struct s3_obj *o)
{
	o->refs++;
	return o;
}

void
s3_obj_unref(struct s3_obj *o)
{
	if (!o || --o->refs > 0)
		return;
	emu_blob_unref(o->blob);
	emu_pairs_free(&o->head);
	free(o->key);
	free(o);
}

size_t
s3_obj_place(struct s3_obj *const *v, size_t n, const char *key)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(v[mid]->key, key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct s3_obj *
s3_obj_get(const struct s3_bucket *b, const char *key)
{
	size_t i = s3_obj_place(b->obj, b->n, key);

	return i < b->n && !strcmp(b->obj[i]->key, key) ? b->obj[i] : NULL;
}

/* Note what key was, while listings are made to lag; takes was. */
static void
state_remember(struct s3_bucket *b, const char *key, struct s3_obj *was)
{
	int64_t delay = (int64_t)emu_value(&s3_switches[S3_LIST_DELAY]), now = s3_now_ms();
	size_t old = 0;

	while (old < b->undos && b->undo[old].at_ms < now - delay)
		old++;
	for (size_t i = 0; i < old; i++) {
		free(b->undo[i].key);
		s3_obj_unref(b->undo[i].was);
	}
	if (old)
		memmove(b->undo, b->undo + old, (b->undos - old) * sizeof(*b->undo));
	b->undos -= old;
	if (!delay) {
		s3_obj_unref(was);
		return;
	}
	b->undo = weir_xrealloc(b->undo, b->undos + 1, sizeof(*b->undo));
	b->undo[b->undos++] = (struct s3_undo){ now, weir_xstrdup(key), was };
}

static void
state_insert(struct s3_bucket *b, size_t i, struct s3_obj *o)
{
	if (b->n == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 64;
		b->obj = weir_xrealloc(b->obj, b->cap, sizeof(struct s3_obj *));
	}
	memmove(b->obj + i + 1, b->obj + i, (b->n - i) * sizeof(struct s3_obj *));
	b->obj[i] = o;
	b->n++;
}

void
s3_obj_put(struct s3_bucket *b, struct s3_obj *o)
{
	size_t i = s3_obj_place(b->obj, b->n, o->key);
	struct s3_obj *was = NULL;

	state_used += emu_blob_size(o->blob);
	if (i < b->n && !strcmp(b->obj[i]->key, o->key)) {
		was = b->obj[i];
		state_used -= emu_blob_size(was->blob);
		b->obj[i] = o;
	} else
		state_insert(b, i, o);
	state_log_obj(b, o);
	state_remember(b, o->key, was);
}

void
s3_obj_remove(struct s3_bucket *b, const char *key)
{
	size_t i = s3_obj_place(b->obj, b->n, key);
	struct s3_obj *was;

	if (i == b->n || strcmp(b->obj[i]->key, key))
		return;
	was = b->obj[i];
	state_used -= emu_blob_size(was->blob);
	memmove(b->obj + i, b->obj + i + 1, (b->n - i - 1) * sizeof(struct s3_obj *));
	b->n--;
	emu_log(state_line("del", b, key));
	state_remember(b, key, was);
}

/* ---- uploads ---- */

struct s3_upload *
s3_upload_get(const struct s3_bucket *b, const char *key, const char *id)
{
	for (struct s3_upload *u = b->uploads; u; u = u->next)
		if (!strcmp(u->id, id) && (!key || !strcmp(u->key, key)))
			return u;
	return NULL;
}

/* Uploads are listed by key, then by age: kept in that order. */
void
s3_upload_add(struct s3_bucket *b, struct s3_upload *u)
{
	struct s3_upload **at = &b->uploads;

	while (*at && strcmp((*at)->key, u->key) <= 0)
		at = &(*at)->next;
	u->next = *at;
	*at = u;
	state_log_upload(b, u);
}

void
s3_part_free(struct s3_part *p)
{
	if (!p)
		return;
	emu_blob_unref(p->blob);
	free(p);
}

void
s3_upload_remove(struct s3_bucket *b, struct s3_upload *u)
{
	json_t *o = state_line("abort", b, u->key);

	json_object_set_new(o, "id", json_string(u->id));
	emu_log(o);
	for (struct s3_upload **at = &b->uploads; *at; at = &(*at)->next)
		if (*at == u) {
			*at = u->next;
			break;
		}
	for (size_t i = 0; i < u->parts; i++)
		s3_part_free(u->part[i]);
	free(u->part);
	emu_pairs_free(&u->head);
	free(u->key);
	free(u);
}

void
s3_part_put(struct s3_bucket *b, struct s3_upload *u, struct s3_part *p)
{
	size_t i = 0;

	state_log_part(b, u, p);
	while (i < u->parts && u->part[i]->number < p->number)
		i++;
	if (i < u->parts && u->part[i]->number == p->number) {
		s3_part_free(u->part[i]);
		u->part[i] = p;
		return;
	}
	u->part = weir_xrealloc(u->part, u->parts + 1, sizeof(struct s3_part *));
	memmove(u->part + i + 1, u->part + i, (u->parts - i) * sizeof(struct s3_part *));
	u->part[i] = p;
	u->parts++;
}

/* ---- buckets ---- */

struct s3_bucket *
s3_bucket_get(const char *name)
{
	for (struct s3_bucket *b = s3_buckets; b; b = b->next)
		if (!strcmp(b->name, name))
			return b;
	return NULL;
}

static void
state_log_bucket(const struct s3_bucket *b)
{
	json_t *o = state_line("bucket", b, NULL);

	json_object_set_new(o, "mtime", json_integer(b->made_ms));
	emu_log(o);
}

struct s3_bucket *
s3_bucket_add(const char *name, int64_t made_ms)
{
	struct s3_bucket *b = weir_xcalloc(1, sizeof(*b)), **at = &s3_buckets;

	b->name = weir_xstrdup(name);
	b->made_ms = made_ms;
	while (*at && strcmp((*at)->name, name) < 0)
		at = &(*at)->next;
	b->next = *at;
	*at = b;
	state_log_bucket(b);
	return b;
}

void
s3_bucket_remove(struct s3_bucket *b)
{
	emu_log(state_line("rmbucket", b, NULL));
	for (struct s3_bucket **at = &s3_buckets; *at; at = &(*at)->next)
		if (*at == b) {
			*at = b->next;
			break;
		}
	while (b->uploads)
		s3_upload_remove(b, b->uploads);
	for (size_t i = 0; i < b->undos; i++) {
		free(b->undo[i].key);
		s3_obj_unref(b->undo[i].was);
	}
	free(b->undo);
	free(b->obj);
	free(b->name);
	free(b);
}

/* ---- loading ---- */

static int
load_obj(struct s3_bucket *b, const json_t *o, const char *key)
{
	struct emu_blob *blob = emu_blob_load(state_str(o, "blob"));
	struct s3_obj *obj;

	if (!blob)
		return -1;
	obj = s3_obj_new(key, blob);
	snprintf(obj->etag, sizeof(obj->etag), "%s", state_str(o, "etag"));
	obj->mtime_ms = state_int(o, "mtime");
	state_unpairs(json_object_get(o, "head"), &obj->head);
	state_unsum(o, &obj->sum);
	s3_obj_put(b, obj);
	return 0;
}

static int
load_upload(struct s3_bucket *b, const json_t *o, const char *key)
{
	struct s3_upload *u = weir_xcalloc(1, sizeof(*u));

	u->key = weir_xstrdup(key);
	snprintf(u->id, sizeof(u->id), "%s", state_str(o, "id"));
	snprintf(u->algo, sizeof(u->algo), "%s", state_str(o, "algo"));
	u->is_full = json_is_true(json_object_get(o, "full"));
	u->started_ms = state_int(o, "mtime");
	state_unpairs(json_object_get(o, "head"), &u->head);
	s3_upload_add(b, u);
	return 0;
}

static int
load_part(struct s3_bucket *b, const json_t *o)
{
	struct s3_upload *u = s3_upload_get(b, NULL, state_str(o, "id"));
	struct emu_blob *blob = u ? emu_blob_load(state_str(o, "blob")) : NULL;
	struct s3_part *p;

	if (!blob)
		return -1;
	p = weir_xcalloc(1, sizeof(*p));
	p->number = (unsigned)state_int(o, "number");
	p->blob = blob;
	p->mtime_ms = state_int(o, "mtime");
	snprintf(p->md5, sizeof(p->md5), "%s", state_str(o, "etag"));
	state_unsum(o, &p->sum);
	s3_part_put(b, u, p);
	return 0;
}

static int
load_line(const json_t *o)
{
	WEIR_AUTO(weir_freep) char *bucket = state_untext(o, "bucket"), *key = state_untext(o, "key");
	const char *op = state_str(o, "op");
	struct s3_bucket *b = s3_bucket_get(bucket);
	struct s3_upload *u;

	if (!strcmp(op, "bucket"))
		return b || s3_bucket_add(bucket, state_int(o, "mtime")) ? 0 : -1;
	if (!b)
		return -1;
	if (!strcmp(op, "put"))
		return load_obj(b, o, key);
	if (!strcmp(op, "upload"))
		return load_upload(b, o, key);
	if (!strcmp(op, "part"))
		return load_part(b, o);
	if (!strcmp(op, "del"))
		s3_obj_remove(b, key);
	else if (!strcmp(op, "abort") && (u = s3_upload_get(b, NULL, state_str(o, "id"))))
		s3_upload_remove(b, u);
	else if (!strcmp(op, "rmbucket"))
		s3_bucket_remove(b);
	return 0;
}

static void
state_dump(void)
{
	for (struct s3_bucket *b = s3_buckets; b; b = b->next) {
		state_log_bucket(b);
		for (size_t i = 0; i < b->n; i++)
			state_log_obj(b, b->obj[i]);
		for (struct s3_upload *u = b->uploads; u; u = u->next) {
			state_log_upload(b, u);
			for (size_t i = 0; i < u->parts; i++)
				state_log_part(b, u, u->part[i]);
		}
	}
}

int
s3_state_open(const char *dir)
{
	if (emu_store_open(dir) || emu_log_open(dir, load_line))
		return -1;
	emu_store_sweep();
	return emu_log_compact(state_dump);
}
