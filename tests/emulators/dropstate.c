/* SPDX-License-Identifier: Apache-2.0 */
/* The tree, the versions and the journal of the Dropbox emulator in memory, and their lines in the state file. Callers hold drop_lock.
 * A version is logged before the node that shows it; nodes name their version by number, so a blob is named by one line only. */
#include "config.h"
#include "drop.h"
#include <locale.h>
#include <string.h>
#include <wctype.h>

#define STATE_OLD_BYTES (UINT64_C(1) << 30)	/* of replaced and deleted content that is kept */
#define STATE_BUCKETS 65536
#define STATE_REV_BASE UINT64_C(0x15e2a40000000)

struct state_event {
	struct drop_event e;
	size_t chain;			/* the next older one in this bucket, by number; 0: none */
};

pthread_mutex_t drop_lock = PTHREAD_MUTEX_INITIALIZER;
struct drop_node *drop_top, *drop_home;
uint64_t drop_used;

static struct drop_node **state_nodes;		/* by id */
static size_t state_nodes_cap;
static uint64_t state_next_node = 3;
static struct drop_ver **state_vers;		/* by number */
static size_t state_vers_cap;
static uint64_t state_next_ver = 1, state_old_bytes, state_trim = 1;
static struct state_event *state_events;
static size_t state_events_n, state_events_cap, state_bucket[STATE_BUCKETS];
static bool state_is_loading;

/* ---- names ---- */

static size_t
fold_read(const unsigned char *s, uint32_t *c)
{
	size_t n = *s < 0x80 ? 1 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : 4;

	*c = n == 1 ? *s : *s & (0x3fu >> (n - 1));
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80) {
			*c = *s;	/* JSON never brings such bytes; treated as Latin-1 */
			return 1;
		}
		*c = *c << 6 | (s[i] & 0x3fu);
	}
	return n;
}

static void
fold_write(struct weir_buf *b, uint32_t c)
{
	if (c < 0x80) {
		weir_buf_addc(b, (char)c);
	} else if (c < 0x800) {
		weir_buf_addc(b, (char)(0xc0 | c >> 6));
		weir_buf_addc(b, (char)(0x80 | (c & 0x3f)));
	} else {
		if (c < 0x10000) {
			weir_buf_addc(b, (char)(0xe0 | c >> 12));
		} else {
			weir_buf_addc(b, (char)(0xf0 | c >> 18));
			weir_buf_addc(b, (char)(0x80 | (c >> 12 & 0x3f)));
		}
		weir_buf_addc(b, (char)(0x80 | (c >> 6 & 0x3f)));
		weir_buf_addc(b, (char)(0x80 | (c & 0x3f)));
	}
}

/* Simple lower case of each code point, no full folding: "ß" is not "ss". Dropbox's table is older than the C library's; newer scripts
 * (Unicode 5 and later) are folded here and not there. */
char *
drop_fold(const char *s)
{
	static locale_t utf8;
	struct weir_buf b = WEIR_BUF(1u << 20);
	uint32_t c;

	if (!utf8)
		utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL);
	for (const unsigned char *p = (const unsigned char *)s; *p;) {
		p += fold_read(p, &c);
		fold_write(&b, utf8 ? (uint32_t)towlower_l((wint_t)c, utf8) : c);
	}
	return weir_buf_take(&b);
}

void
drop_id(const struct drop_node *x, char out[32])
{
	snprintf(out, 32, "id:wEmuAAAA%014llx", (unsigned long long)x->id);
}

void
drop_rev(const struct drop_ver *v, char out[32])
{
	snprintf(out, 32, "%015llx", (unsigned long long)(STATE_REV_BASE + v->n * 0x10000 + 1));
}

struct drop_node *
drop_by_id(const char *id)
{
	char again[32];
	uint64_t n;

	if (strlen(id) != 25 || strncmp(id, "id:", 3))
		return NULL;
	n = strtoull(id + 11, NULL, 16);
	if (n >= state_nodes_cap || !state_nodes[n])
		return NULL;
	drop_id(state_nodes[n], again);
	return strcmp(id, again) ? NULL : state_nodes[n];
}

struct drop_ver *
drop_by_rev(const char *rev)
{
	uint64_t v = strtoull(rev, NULL, 16), n;

	n = v < STATE_REV_BASE ? 0 : (v - STATE_REV_BASE) >> 16;
	if (strlen(rev) != 15 || (v & 0xffff) != 1 || n >= state_vers_cap)
		return NULL;
	return state_vers[n];
}

/* ---- the journal ---- */

uint64_t
drop_seq(void)
{
	return state_events_n;
}

const struct drop_event *
drop_event(uint64_t seq)
{
	return seq && seq <= state_events_n ? &state_events[seq - 1].e : NULL;
}

static unsigned
state_hash(const char *s)
{
	uint32_t h = 2166136261u;

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 16777619u;
	return (h ^ h >> 16) % STATE_BUCKETS;
}

/* Takes the strings. */
static void
state_event_add(char *lower, char *display, bool is_delete)
{
	unsigned h = state_hash(lower);
	struct state_event *e;

	for (size_t i = state_bucket[h]; i; i = state_events[i - 1].chain)
		if (!strcmp(state_events[i - 1].e.lower, lower)) {
			state_events[i - 1].e.is_past = true;
			break;
		}
	if (state_events_n == state_events_cap) {
		state_events_cap = state_events_cap ? state_events_cap * 2 : 1024;
		state_events = weir_xrealloc(state_events, state_events_cap, sizeof(*state_events));
	}
	e = &state_events[state_events_n++];
	*e = (struct state_event){ .e = { lower, display, is_delete, false }, .chain = state_bucket[h] };
	state_bucket[h] = state_events_n;
}

static void
state_event_log(const struct drop_event *e)
{
	emu_log(json_pack("{s:s s:s s:s s:b}", "op", "ev", "p", e->lower, "d", e->display, "x", e->is_delete));
}

static void
state_tell(const struct drop_node *x, bool is_delete)
{
	state_event_add(drop_path(x, NULL, true), drop_path(x, NULL, false), is_delete);
	state_event_log(&state_events[state_events_n - 1].e);
}

static void
state_tell_all(const struct drop_node *x)
{
	state_tell(x, false);
	for (size_t i = 0; i < x->n; i++)
		state_tell_all(x->child[i]);
}

/* ---- versions ---- */

static void
state_ver_log(const struct drop_ver *v)
{
	struct weir_buf blob = WEIR_BUF(16u << 20);

	emu_blob_save(&blob, v->blob);
	emu_log(json_pack("{s:s s:I s:I s:s s:s s:s s:s s:I s:I}", "op", "ver", "n", (json_int_t)v->n, "node", (json_int_t)v->node, "p", v->lower,
	    "d", v->display, "blob", weir_buf_str(&blob), "hash", v->hash, "c", (json_int_t)v->client_s, "s", (json_int_t)v->server_s));
	weir_buf_free(&blob);
}

static void
state_ver_index(struct drop_ver *v)
{
	if (v->n >= state_vers_cap) {
		size_t n = (size_t)v->n * 2 + 64;

		state_vers = weir_xrealloc(state_vers, n, sizeof(*state_vers));
		memset(state_vers + state_vers_cap, 0, (n - state_vers_cap) * sizeof(*state_vers));
		state_vers_cap = n;
	}
	state_vers[v->n] = v;
	if (v->n >= state_next_ver)
		state_next_ver = v->n + 1;
}

static void
state_ver_free(struct drop_ver *v)
{
	state_vers[v->n] = NULL;
	emu_blob_unref(v->blob);
	free(v->lower);
	free(v->display);
	free(v);
}

static void
state_ver_trim(void)
{
	for (; state_old_bytes > STATE_OLD_BYTES && state_trim < state_next_ver; state_trim++) {
		struct drop_ver *v = state_trim < state_vers_cap ? state_vers[state_trim] : NULL;

		if (!v || v->is_live)
			continue;
		state_old_bytes -= emu_blob_size(v->blob);
		emu_log(json_pack("{s:s s:I}", "op", "unver", "n", (json_int_t)v->n));
		state_ver_free(v);
	}
}

/* The version a node showed until now becomes history. */
static void
state_ver_retire(struct drop_node *x)
{
	struct drop_ver *v = x->ver;

	x->ver = NULL;
	if (!v)
		return;
	v->is_live = false;
	drop_used -= emu_blob_size(v->blob);
	state_old_bytes += emu_blob_size(v->blob);
	if (v->n < state_trim)
		state_trim = v->n;
	if (!state_is_loading)
		state_ver_trim();
}

static void
state_ver_show(struct drop_node *x, struct drop_ver *v)
{
	if (v == x->ver)
		return;
	state_ver_retire(x);
	x->ver = v;
	v->is_live = true;
	drop_used += emu_blob_size(v->blob);
}

/* Takes the blob. */
static void
state_ver_new(struct drop_node *x, struct emu_blob *blob, const char *hash, int64_t client_s, int64_t server_s)
{
	struct drop_ver *v = weir_xcalloc(1, sizeof(*v));

	v->n = state_next_ver;
	v->node = x->id;
	v->lower = drop_path(x, NULL, true);
	v->display = drop_path(x, NULL, false);
	v->blob = blob;
	snprintf(v->hash, sizeof(v->hash), "%s", hash);
	v->server_s = server_s;
	v->client_s = client_s == INT64_MIN ? server_s : client_s;
	state_ver_index(v);
	state_ver_log(v);
	state_ver_show(x, v);
}

size_t
drop_versions(const char *full_lower, uint64_t node, struct drop_ver **out, size_t max)
{
	size_t n = 0;

	for (uint64_t i = state_next_ver; i-- > 1 && n < max;) {
		struct drop_ver *v = i < state_vers_cap ? state_vers[i] : NULL;

		if (v && (full_lower ? !strcmp(v->lower, full_lower) : v->node == node))
			out[n++] = v;
	}
	return n;
}

/* ---- nodes ---- */

size_t
drop_place(const struct drop_node *dir, const char *fold)
{
	size_t lo = 0, hi = dir->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(dir->child[mid]->fold, fold) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct drop_node *
drop_child(const struct drop_node *dir, const char *fold)
{
	size_t i = drop_place(dir, fold);

	return i < dir->n && !strcmp(dir->child[i]->fold, fold) ? dir->child[i] : NULL;
}

bool
drop_is_below(const struct drop_node *x, const struct drop_node *dir)
{
	for (; x; x = x->parent)
		if (x == dir)
			return true;
	return false;
}

uint64_t
drop_entries(const struct drop_node *x)
{
	uint64_t n = 1;

	for (size_t i = 0; i < x->n; i++)
		n += drop_entries(x->child[i]);
	return n;
}

uint64_t
drop_bytes(const struct drop_node *x)
{
	uint64_t n = x->ver ? emu_blob_size(x->ver->blob) : 0;

	for (size_t i = 0; i < x->n; i++)
		n += drop_bytes(x->child[i]);
	return n;
}

char *
drop_path(const struct drop_node *x, const struct drop_node *root, bool is_lower)
{
	const struct drop_node *way[512];
	struct weir_buf b = WEIR_BUF(1u << 20);
	size_t n = 0;

	for (; x && x != root && x->parent && n < WEIR_LEN(way); x = x->parent)
		way[n++] = x;
	while (n-- > 0) {
		weir_buf_addc(&b, '/');
		weir_buf_adds(&b, is_lower ? way[n]->fold : way[n]->name);
	}
	return weir_buf_take(&b);
}

static void
state_attach(struct drop_node *x, struct drop_node *dir)
{
	size_t i = drop_place(dir, x->fold);

	if (dir->n == dir->cap) {
		dir->cap = dir->cap ? dir->cap * 2 : 8;
		dir->child = weir_xrealloc(dir->child, dir->cap, sizeof(*dir->child));
	}
	memmove(dir->child + i + 1, dir->child + i, (dir->n - i) * sizeof(*dir->child));
	dir->child[i] = x;
	dir->n++;
	x->parent = dir;
}

static void
state_detach(struct drop_node *x)
{
	struct drop_node *dir = x->parent;
	size_t i = drop_place(dir, x->fold);

	memmove(dir->child + i, dir->child + i + 1, (dir->n - i - 1) * sizeof(*dir->child));
	dir->n--;
	x->parent = NULL;
}

static void
state_rename(struct drop_node *x, const char *name)
{
	char *own = weir_xstrdup(name);

	free(x->name);
	free(x->fold);
	x->name = own;
	x->fold = drop_fold(own);
}

static struct drop_node *
state_new(uint64_t id, const char *name, bool is_dir)
{
	struct drop_node *x = weir_xcalloc(1, sizeof(*x));

	x->id = id;
	x->is_dir = is_dir;
	state_rename(x, name);
	if (id >= state_nodes_cap) {
		size_t n = (size_t)id * 2 + 64;

		state_nodes = weir_xrealloc(state_nodes, n, sizeof(*state_nodes));
		memset(state_nodes + state_nodes_cap, 0, (n - state_nodes_cap) * sizeof(*state_nodes));
		state_nodes_cap = n;
	}
	state_nodes[id] = x;
	if (id >= state_next_node)
		state_next_node = id + 1;
	return x;
}

static void
state_node_log(const struct drop_node *x)
{
	emu_log(json_pack("{s:s s:I s:I s:s s:b s:i s:I}", "op", "node", "id", (json_int_t)x->id, "parent", (json_int_t)x->parent->id, "name", x->name,
	    "dir", x->is_dir, "kind", (int)x->kind, "ver", (json_int_t)(x->ver ? x->ver->n : 0)));
}

static void
state_free(struct drop_node *x)
{
	for (size_t i = 0; i < x->n; i++)
		state_free(x->child[i]);
	state_ver_retire(x);
	state_nodes[x->id] = NULL;
	free(x->child);
	free(x->name);
	free(x->fold);
	free(x);
}

/* ---- changes ---- */

struct drop_node *
drop_make_dir(struct drop_node *dir, const char *name)
{
	struct drop_node *x = state_new(state_next_node, name, true);

	state_attach(x, dir);
	state_node_log(x);
	state_tell(x, false);
	return x;
}

struct drop_node *
drop_write(struct drop_node *x, struct drop_node *dir, const char *name, struct emu_blob *blob, const char *hash, int64_t client_s)
{
	if (!x) {
		x = state_new(state_next_node, name, false);
		state_attach(x, dir);
	}
	x->kind = DROP_PLAIN;
	state_ver_new(x, blob, hash, client_s, emu_wall_s());
	state_node_log(x);
	state_tell(x, false);
	return x;
}

void
drop_set_kind(struct drop_node *x, enum drop_kind kind)
{
	x->kind = kind;
	state_node_log(x);
	state_tell(x, false);
}

void
drop_remove(struct drop_node *x)
{
	state_tell(x, true);
	state_detach(x);
	emu_log(json_pack("{s:s s:I}", "op", "rm", "id", (json_int_t)x->id));
	state_free(x);
}

/* A file that moved is a new revision of the same content, when the switch says so. */
static void
state_new_revs(struct drop_node *x)
{
	if (x->ver) {
		struct emu_blob *blob = emu_blob_copy(x->ver->blob, 0, emu_blob_size(x->ver->blob));

		if (blob)
			state_ver_new(x, blob, x->ver->hash, x->ver->client_s, x->ver->server_s);
		state_node_log(x);
	}
	for (size_t i = 0; i < x->n; i++)
		state_new_revs(x->child[i]);
}

void
drop_move(struct drop_node *x, struct drop_node *dir, const char *name)
{
	state_tell(x, true);
	state_detach(x);
	state_rename(x, name);
	state_attach(x, dir);
	state_node_log(x);
	if (drop_on(DROP_MOVE_REV))
		state_new_revs(x);
	state_tell_all(x);
}

struct drop_node *
drop_copy(const struct drop_node *from, struct drop_node *dir, const char *name)
{
	struct emu_blob *blob;
	struct drop_node *x;

	if (from->is_dir) {
		x = drop_make_dir(dir, name);
		for (size_t i = 0; i < from->n; i++)
			if (!drop_copy(from->child[i], x, from->child[i]->name))
				return NULL;
		return x;
	}
	blob = emu_blob_copy(from->ver->blob, 0, emu_blob_size(from->ver->blob));
	if (!blob)
		return NULL;
	x = drop_write(NULL, dir, name, blob, from->ver->hash, from->ver->client_s);
	if (from->kind != DROP_PLAIN)
		drop_set_kind(x, from->kind);
	return x;
}

/* ---- loading ---- */

static int64_t
load_int(const json_t *o, const char *name)
{
	return json_integer_value(json_object_get(o, name));
}

static struct drop_node *
load_id(const json_t *o, const char *name)
{
	uint64_t id = (uint64_t)load_int(o, name);

	return id < state_nodes_cap ? state_nodes[id] : NULL;
}

/* Content that was thrown away later is gone by now; a node that still needs it is dropped at the end. */
static int
load_ver(const json_t *o)
{
	const char *text = json_string_value(json_object_get(o, "blob")), *hash = json_string_value(json_object_get(o, "hash"));
	const char *p = json_string_value(json_object_get(o, "p")), *d = json_string_value(json_object_get(o, "d"));
	struct emu_blob *blob;
	struct drop_ver *v;

	if (!text || !hash || !p || !d)
		return -1;
	if (state_next_ver <= (uint64_t)load_int(o, "n"))
		state_next_ver = (uint64_t)load_int(o, "n") + 1;
	blob = emu_blob_load(text);
	if (!blob)
		return 0;
	v = weir_xcalloc(1, sizeof(*v));
	v->n = (uint64_t)load_int(o, "n");
	v->node = (uint64_t)load_int(o, "node");
	v->lower = weir_xstrdup(p);
	v->display = weir_xstrdup(d);
	v->blob = blob;
	snprintf(v->hash, sizeof(v->hash), "%s", hash);
	v->client_s = load_int(o, "c");
	v->server_s = load_int(o, "s");
	state_ver_index(v);
	state_old_bytes += emu_blob_size(blob);
	return 0;
}

static int
load_node(const json_t *o)
{
	struct drop_node *x = load_id(o, "id"), *parent = load_id(o, "parent");
	const char *name = json_string_value(json_object_get(o, "name"));
	uint64_t n = (uint64_t)load_int(o, "ver");
	struct drop_ver *v = n && n < state_vers_cap ? state_vers[n] : NULL;

	if (!name || !parent)
		return -1;
	if (!x)
		x = state_new((uint64_t)load_int(o, "id"), name, json_is_true(json_object_get(o, "dir")));
	else
		state_detach(x);
	state_rename(x, name);
	state_attach(x, parent);
	x->kind = (enum drop_kind)load_int(o, "kind");
	if (v && v != x->ver) {
		state_old_bytes -= emu_blob_size(v->blob);
		state_ver_show(x, v);
	}
	return 0;
}

static int
load_line(const json_t *o)
{
	const char *op = json_string_value(json_object_get(o, "op"));
	const char *p = json_string_value(json_object_get(o, "p")), *d = json_string_value(json_object_get(o, "d"));
	uint64_t n = (uint64_t)load_int(o, "n");
	struct drop_node *x;

	if (!op)
		return -1;
	if (!strcmp(op, "ver"))
		return load_ver(o);
	if (!strcmp(op, "node"))
		return load_node(o);
	if (!strcmp(op, "next")) {
		state_next_node = (uint64_t)load_int(o, "id");
		state_next_ver = n;
	} else if (!strcmp(op, "epoch")) {
		drop_epoch_load(o);
	} else if (!strcmp(op, "rm") && (x = load_id(o, "id")) && x->parent) {
		state_detach(x);
		state_free(x);
	} else if (!strcmp(op, "ev") && p && d) {
		state_event_add(weir_xstrdup(p), weir_xstrdup(d), json_is_true(json_object_get(o, "x")));
	} else if (!strcmp(op, "unver") && n < state_vers_cap && state_vers[n] && !state_vers[n]->is_live) {
		state_old_bytes -= emu_blob_size(state_vers[n]->blob);
		state_ver_free(state_vers[n]);
	} else if (!strcmp(op, "ses") || !strcmp(op, "piece") || !strcmp(op, "unses")) {
		return drop_session_load(o);
	}
	return 0;
}

/* Files whose content could not be read back. */
static void
load_prune(struct drop_node *x)
{
	for (size_t i = x->n; i-- > 0;) {
		struct drop_node *c = x->child[i];

		if (!c->is_dir && !c->ver) {
			fprintf(stderr, "dropped '%s': its content is gone\n", c->name);
			state_detach(c);
			state_free(c);
		} else {
			load_prune(c);
		}
	}
}

static void
state_dump_node(const struct drop_node *x)
{
	if (x != drop_top && x != drop_home)
		state_node_log(x);
	for (size_t i = 0; i < x->n; i++)
		state_dump_node(x->child[i]);
}

static void
state_dump(void)
{
	emu_log(json_pack("{s:s s:I s:I}", "op", "next", "id", (json_int_t)state_next_node, "n", (json_int_t)state_next_ver));
	for (uint64_t i = 1; i < state_next_ver && i < state_vers_cap; i++)
		if (state_vers[i])
			state_ver_log(state_vers[i]);
	state_dump_node(drop_top);
	for (size_t i = 0; i < state_events_n; i++)
		state_event_log(&state_events[i].e);
	drop_session_dump();
	drop_epoch_dump();
}

int
drop_state_open(const char *dir)
{
	drop_top = state_new(1, "", true);
	drop_home = state_new(2, DROP_HOME_NAME, true);
	state_attach(drop_home, drop_top);
	state_is_loading = true;
	if (emu_store_open(dir) || emu_log_open(dir, load_line))
		return -1;
	load_prune(drop_top);
	state_is_loading = false;
	emu_store_sweep();
	return emu_log_compact(state_dump);
}
