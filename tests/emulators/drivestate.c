/* SPDX-License-Identifier: Apache-2.0 */
/* Objects, revisions and the change log of the Drive emulator in memory, and their lines in the state file. Callers hold drive_lock. A revision is
 * logged once, before the object that shows it, so that one line only names its content. */
#include "config.h"
#include "drive.h"
#include <string.h>

#define STATE_BUCKETS 65536u
#define STATE_FIRST 1001u		/* seq of the first change */

struct state_change {
	struct drive_change c;
	size_t chain;			/* the next older one in this bucket, by number; 0: none */
};
struct state_word {
	struct state_word *next;
	char id[];
};

pthread_mutex_t drive_lock = PTHREAD_MUTEX_INITIALIZER;
struct drive_node *drive_root, *drive_appdata;
struct drive_node **drive_all;
size_t drive_all_n;
uint64_t drive_bytes;

static size_t state_all_cap;
static struct drive_node *state_bucket[STATE_BUCKETS];
static struct state_change *state_changes;
static size_t state_changes_n, state_changes_cap, state_change_bucket[STATE_BUCKETS];
static struct state_word *state_words[STATE_BUCKETS];
static bool state_is_loading;

static unsigned
state_hash(const char *s)
{
	uint32_t h = 2166136261u;

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 16777619u;
	return (h ^ h >> 16) % STATE_BUCKETS;
}

int64_t
drive_now_ms(void)
{
	return weir_wall_ns() / 1000000 + (int64_t)emu_value(&emu_switches[EMU_CLOCK_SKEW]) * 1000;
}

/* ---- ids ---- */

void
drive_make_id(char *out, unsigned len)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

	for (unsigned i = 0; i < len && i < 63; i++)
		out[i] = set[emu_random() >> 20 & 63];
	out[len < 63 ? len : 63] = 0;
}

bool
drive_ids_known(const char *id)
{
	for (struct state_word *w = state_words[state_hash(id)]; w; w = w->next)
		if (!strcmp(w->id, id))
			return true;
	return false;
}

void
drive_ids_add(const char *id)
{
	struct state_word **slot = &state_words[state_hash(id)], *w = weir_xcalloc(1, sizeof(*w) + strlen(id) + 1);

	memcpy(w->id, id, strlen(id) + 1);
	w->next = *slot;
	*slot = w;
	if (!state_is_loading)
		emu_log(json_pack("{s:s s:s}", "op", "id", "id", id));
}

struct drive_node *
drive_by_id(const char *id)
{
	if (!strcmp(id, "root"))
		return drive_root;
	if (!strcmp(id, "appDataFolder"))
		return drive_appdata;
	for (struct drive_node *x = state_bucket[state_hash(id)]; x; x = x->chain)
		if (!strcmp(x->id, id))
			return x;
	return NULL;
}

/* ---- what an object is ---- */

bool
drive_is_folder(const struct drive_node *x)
{
	return !strcmp(x->mime, DRIVE_FOLDER);
}

bool
drive_is_doc(const struct drive_node *x)
{
	return !strncmp(x->mime, DRIVE_APPS, strlen(DRIVE_APPS)) && !drive_is_folder(x) && strcmp(x->mime, DRIVE_SHORTCUT) != 0;
}

struct drive_rev *
drive_head(const struct drive_node *x)
{
	return x->nrev && !drive_is_doc(x) ? &x->rev[x->nrev - 1] : NULL;
}

struct drive_node *
drive_top(const struct drive_node *x)
{
	while (x->parent)
		x = x->parent;
	return (struct drive_node *)(uintptr_t)x;
}

struct drive_node *
drive_of_node(const struct drive_node *x)
{
	struct drive_node *top = drive_top(x);

	return top->is_drive ? top : NULL;
}

enum drive_role
drive_role(const struct drive_node *x)
{
	const struct drive_node *top = drive_top(x);
	enum drive_role best = DRIVE_NONE;

	if (top->is_drive)
		return top->role;
	if (!x->is_others)
		return DRIVE_OWNER;
	if (top == drive_root || top == drive_appdata)
		return DRIVE_WRITER;	/* somebody else's, in a folder of ours */
	for (; x; x = x->parent)
		if (x->role > best)
			best = x->role;
	return best;
}

bool
drive_in_trash(const struct drive_node *x)
{
	for (; x; x = x->parent)
		if (x->is_trashed)
			return true;
	return false;
}

bool
drive_is_below(const struct drive_node *x, const struct drive_node *dir)
{
	for (; x; x = x->parent)
		if (x == dir)
			return true;
	return false;
}

unsigned
drive_depth(const struct drive_node *x)
{
	unsigned n = 0;

	for (; x->parent; x = x->parent)
		n++;
	return n;
}

uint64_t
drive_used(bool only_trash)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < drive_all_n; i++) {
		const struct drive_node *x = drive_all[i];

		if (!x || x->is_others || drive_of_node(x) || (only_trash && !drive_in_trash(x)))
			continue;
		for (size_t r = 0; r < x->nrev; r++)
			if (r + 1 == x->nrev || x->rev[r].is_kept)
				sum += emu_blob_size(x->rev[r].blob);
	}
	return sum;
}

/* ---- the lines ---- */

static void
state_set(json_t *o, const char *key, const char *value)
{
	if (value)
		json_object_set_new(o, key, json_string(value));
}

void
drive_log_rev(const struct drive_node *x, const struct drive_rev *r)
{
	struct weir_buf blob = WEIR_BUF(16u << 20);

	emu_blob_save(&blob, r->blob);
	emu_log(json_pack("{s:s s:s s:s s:s s:I s:b s:b s:s s:s s:s s:s}", "op", "rev", "node", x->id, "id", r->id, "mime", r->mime, "at",
	    (json_int_t)r->modified_ms, "keep", r->is_kept, "others", r->is_others, "md5", r->sums.md5, "sha1", r->sums.sha1, "sha256",
	    r->sums.sha256, "blob", weir_buf_str(&blob)));
	weir_buf_free(&blob);
}

static void
state_log_node(const struct drive_node *x)
{
	json_t *o = json_pack("{s:s s:s s:s s:s s:I s:I s:I s:I s:I s:I s:I s:i s:b s:b s:b s:b s:b}", "op", "node", "id", x->id, "name", x->name,
	    "mime", x->mime, "made", (json_int_t)x->created_ms, "mod", (json_int_t)x->modified_ms, "view", (json_int_t)x->viewed_ms, "share",
	    (json_int_t)x->shared_ms, "trashedAt", (json_int_t)x->trashed_ms, "ver", (json_int_t)x->version, "doc", (json_int_t)x->doc_size,
	    "role", (int)x->role, "drive", x->is_drive, "others", x->is_others, "trash", x->is_trashed, "star", x->is_starred, "abuse", x->is_abusive);

	state_set(o, "kind", x == drive_root ? "root" : x == drive_appdata ? "appdata" : NULL);
	state_set(o, "parent", x->parent ? x->parent->id : NULL);
	state_set(o, "description", x->description);
	state_set(o, "color", x->color);
	state_set(o, "original", x->original);
	state_set(o, "target", x->target);
	state_set(o, "targetMime", x->target_mime);
	if (x->app_props)
		json_object_set(o, "appProps", x->app_props);
	if (x->props)
		json_object_set(o, "props", x->props);
	emu_log(o);
}

static void
state_log_change(const struct drive_change *c)
{
	emu_log(json_pack("{s:s s:s s:s? s:I s:b s:b}", "op", "change", "id", c->id, "drive", c->drive, "at", (json_int_t)c->at_ms, "rm",
	    c->is_removed, "isDrive", c->is_drive));
}

/* ---- the change log ---- */

uint64_t
drive_seq(void)
{
	return STATE_FIRST + state_changes_n;
}

uint64_t
drive_seq_first(void)
{
	return STATE_FIRST;
}

const struct drive_change *
drive_change(uint64_t seq)
{
	return seq >= STATE_FIRST && seq - STATE_FIRST < state_changes_n ? &state_changes[seq - STATE_FIRST].c : NULL;
}

static void
state_tell(const char *id, const char *drive, int64_t at_ms, bool is_removed, bool is_drive)
{
	unsigned h = state_hash(id);
	struct state_change *s;

	for (size_t i = state_change_bucket[h]; i; i = state_changes[i - 1].chain)
		if (!state_changes[i - 1].c.is_past && !strcmp(state_changes[i - 1].c.id, id) && state_changes[i - 1].c.is_drive == is_drive) {
			state_changes[i - 1].c.is_past = true;
			break;
		}
	if (state_changes_n == state_changes_cap) {
		state_changes_cap = state_changes_cap ? state_changes_cap * 2 : 1024;
		state_changes = weir_xrealloc(state_changes, state_changes_cap, sizeof(*state_changes));
	}
	s = &state_changes[state_changes_n++];
	*s = (struct state_change){ .c = { .id = weir_xstrdup(id), .drive = weir_xstrdup(drive), .at_ms = at_ms, .is_removed = is_removed,
		.is_drive = is_drive }, .chain = state_change_bucket[h] };
	state_change_bucket[h] = state_changes_n;
	if (!state_is_loading)
		state_log_change(&s->c);
}

static void
state_tell_node(const struct drive_node *x, bool is_removed)
{
	const struct drive_node *drive = drive_of_node(x);

	state_tell(x->id, drive ? drive->id : NULL, drive_now_ms(), is_removed, x->is_drive);
}

/* ---- objects ---- */

static void
state_detach(struct drive_node *x)
{
	if (!x->parent)
		return;
	*(x->prev ? &x->prev->next : &x->parent->first) = x->next;
	*(x->next ? &x->next->prev : &x->parent->last) = x->prev;
	x->prev = x->next = x->parent = NULL;
}

static void
state_attach(struct drive_node *x, struct drive_node *dir)
{
	x->parent = dir;
	if (!dir)
		return;
	x->prev = dir->last;
	*(dir->last ? &dir->last->next : &dir->first) = x;
	dir->last = x;
}

struct drive_node *
drive_new(const char *id, const char *name, const char *mime, struct drive_node *parent)
{
	struct drive_node *x = weir_xcalloc(1, sizeof(*x)), **slot;
	char made[64] = "1";

	drive_make_id(made + 1, 32);
	x->id = weir_xstrdup(id ? id : made);
	x->name = weir_xstrdup(name);
	x->mime = weir_xstrdup(mime);
	x->created_ms = x->modified_ms = drive_now_ms();
	if (!state_is_loading) {
		x->listed_ms = x->created_ms + (int64_t)emu_value(&drive_switches[DRIVE_LIST_LAG]);
		x->named_ms = x->created_ms + (int64_t)emu_value(&drive_switches[DRIVE_NAME_LAG]);
	}
	slot = &state_bucket[state_hash(x->id)];
	x->chain = *slot;
	*slot = x;
	if (drive_all_n == state_all_cap) {
		state_all_cap = state_all_cap ? state_all_cap * 2 : 1024;
		drive_all = weir_xrealloc(drive_all, state_all_cap, sizeof(struct drive_node *));
	}
	x->n = drive_all_n;
	drive_all[drive_all_n++] = x;
	state_attach(x, parent);
	return x;
}

void
drive_add_rev(struct drive_node *x, struct emu_blob *blob, const struct drive_sums *sums, const char *mime, bool is_others)
{
	struct drive_rev *r;
	char id[64] = "0B";

	drive_make_id(id + 2, 49);
	x->rev = weir_xrealloc(x->rev, x->nrev + 1, sizeof(*x->rev));
	r = &x->rev[x->nrev++];
	*r = (struct drive_rev){ .id = weir_xstrdup(id), .mime = weir_xstrdup(mime), .blob = blob, .modified_ms = drive_now_ms(), .is_others = is_others, .sums = *sums };
	drive_bytes += emu_blob_size(blob);
	drive_log_rev(x, r);
	while (x->nrev > 100 && !x->rev[0].is_kept)	/* what Google keeps without being asked */
		drive_drop_rev(x, 0);
}

static void
state_rev_clear(struct drive_rev *r)
{
	drive_bytes -= emu_blob_size(r->blob);
	emu_blob_unref(r->blob);
	free(r->id);
	free(r->mime);
}

void
drive_drop_rev(struct drive_node *x, size_t i)
{
	emu_log(json_pack("{s:s s:s s:s}", "op", "norev", "node", x->id, "id", x->rev[i].id));
	state_rev_clear(&x->rev[i]);
	memmove(x->rev + i, x->rev + i + 1, (x->nrev - i - 1) * sizeof(*x->rev));
	x->nrev--;
}

void
drive_sum(struct emu_blob *blob, struct drive_sums *sums)
{
	static const char *const kinds[] = { "md5", "sha1", "sha256" };
	char *out[] = { sums->md5, sums->sha1, sums->sha256 }, *buf = weir_xcalloc(1, 1 << 20);
	struct emu_reader *in = emu_reader_new(blob);
	struct weir_digest *d[3];
	unsigned char sum[64];
	uint64_t off = 0;
	ssize_t n;

	for (int k = 0; k < 3; k++)
		d[k] = weir_digest_new(kinds[k]);
	while ((n = emu_reader_at(in, buf, 1 << 20, off)) > 0) {
		for (int k = 0; k < 3; k++)
			weir_digest_add(d[k], buf, (size_t)n);
		off += (uint64_t)n;
	}
	for (int k = 0; k < 3; k++) {
		size_t len = weir_digest_end(d[k], sum);

		weir_hex(sum, len, out[k]);
	}
	free(buf);
	emu_reader_free(in);
}

void
drive_changed(struct drive_node *x, bool is_others)
{
	x->version += 1 + (emu_random() >> 40 & 1);
	x->is_others_change = is_others;
	state_log_node(x);
	if (!drive_is_below(x, drive_appdata))
		state_tell_node(x, false);
}

void
drive_remember(struct drive_node *x)
{
	int64_t lag = (int64_t)emu_value(&drive_switches[DRIVE_LIST_LAG]), now = drive_now_ms();

	if (lag <= 0 || x->past.until_ms > now)
		return;
	free(x->past.name);
	x->past = (struct drive_past){ weir_xstrdup(x->name), x->parent, drive_in_trash(x), now + lag };
}

void
drive_place(struct drive_node *x, struct drive_node *parent)
{
	state_detach(x);
	state_attach(x, parent);
}

/* Nobody may hold this object afterwards. */
static void
state_free(struct drive_node *x)
{
	struct drive_node **slot = &state_bucket[state_hash(x->id)];

	while (*slot != x)
		slot = &(*slot)->chain;
	*slot = x->chain;
	drive_all[x->n] = NULL;
	for (size_t i = 0; i < drive_all_n; i++)
		if (drive_all[i] && drive_all[i]->past.parent == x)
			drive_all[i]->past.parent = NULL;
	for (size_t i = 0; i < x->nrev; i++)
		state_rev_clear(&x->rev[i]);
	json_decref(x->app_props);
	json_decref(x->props);
	free(x->rev);
	free(x->id);
	free(x->name);
	free(x->mime);
	free(x->description);
	free(x->color);
	free(x->original);
	free(x->target);
	free(x->target_mime);
	free(x->past.name);
	free(x);
}

void
drive_remove(struct drive_node *x)
{
	while (x->first)
		drive_remove(x->first);
	if (!state_is_loading) {
		emu_log(json_pack("{s:s s:s}", "op", "rm", "id", x->id));
		state_tell_node(x, true);
	}
	state_detach(x);
	state_free(x);
}

void
drive_lost(struct drive_node *x)
{
	x->role = DRIVE_NONE;
	x->shared_ms = 0;
	state_log_node(x);
	state_tell_node(x, true);
}

/* ---- loading ---- */

static const char *
load_text(const json_t *o, const char *name)
{
	return json_string_value(json_object_get(o, name));
}

static int64_t
load_number(const json_t *o, const char *name)
{
	return json_integer_value(json_object_get(o, name));
}

static void
load_copy(char **to, const json_t *o, const char *name)
{
	free(*to);
	*to = weir_xstrdup(load_text(o, name));
}

static void
load_fields(struct drive_node *x, const json_t *o)
{
	x->created_ms = load_number(o, "made");
	x->modified_ms = load_number(o, "mod");
	x->viewed_ms = load_number(o, "view");
	x->shared_ms = load_number(o, "share");
	x->trashed_ms = load_number(o, "trashedAt");
	x->version = (uint64_t)load_number(o, "ver");
	x->doc_size = (uint64_t)load_number(o, "doc");
	x->role = (enum drive_role)load_number(o, "role");
	x->is_drive = json_is_true(json_object_get(o, "drive"));
	x->is_others = json_is_true(json_object_get(o, "others"));
	x->is_trashed = json_is_true(json_object_get(o, "trash"));
	x->is_starred = json_is_true(json_object_get(o, "star"));
	x->is_abusive = json_is_true(json_object_get(o, "abuse"));
	load_copy(&x->description, o, "description");
	load_copy(&x->color, o, "color");
	load_copy(&x->original, o, "original");
	load_copy(&x->target, o, "target");
	load_copy(&x->target_mime, o, "targetMime");
	json_decref(x->app_props);
	json_decref(x->props);
	x->app_props = json_incref(json_object_get(o, "appProps"));
	x->props = json_incref(json_object_get(o, "props"));
}

/* The first line of an object may come after its first revision: whichever comes first makes it. */
static struct drive_node *
load_make(const char *id)
{
	struct drive_node *x = drive_by_id(id);

	return x ? x : drive_new(id, "", "", NULL);
}

static int
load_node(const json_t *o)
{
	const char *id = load_text(o, "id"), *parent = load_text(o, "parent"), *kind = load_text(o, "kind");
	struct drive_node *x, *dir = parent ? drive_by_id(parent) : NULL;

	if (!id || !load_text(o, "name") || !load_text(o, "mime") || (parent && !dir))
		return -1;
	x = load_make(id);
	load_copy(&x->name, o, "name");
	load_copy(&x->mime, o, "mime");
	load_fields(x, o);
	x->is_root = x->is_drive || kind;
	if (kind && !strcmp(kind, "root"))
		drive_root = x;
	if (kind && !strcmp(kind, "appdata")) {
		drive_appdata = x;
		x->is_appdata = true;
	}
	if (x->parent != dir)
		drive_place(x, dir);
	return 0;
}

static int
load_rev(const json_t *o)
{
	const char *id = load_text(o, "id"), *node = load_text(o, "node"), *mime = load_text(o, "mime"), *text = load_text(o, "blob"),
	    *md5 = load_text(o, "md5"), *sha1 = load_text(o, "sha1"), *sha256 = load_text(o, "sha256");
	struct emu_blob *blob;
	struct drive_node *x;
	struct drive_rev *r;

	if (!id || !node || !mime || !text || !md5 || !sha1 || !sha256)
		return -1;
	x = load_make(node);
	for (size_t i = 0; i < x->nrev; i++)
		if (!strcmp(x->rev[i].id, id)) {	/* only keepForever can have changed */
			x->rev[i].is_kept = json_is_true(json_object_get(o, "keep"));
			return 0;
		}
	blob = emu_blob_load(text);
	if (!blob)
		return -1;
	drive_bytes += emu_blob_size(blob);
	x->rev = weir_xrealloc(x->rev, x->nrev + 1, sizeof(*x->rev));
	r = &x->rev[x->nrev++];
	*r = (struct drive_rev){ .id = weir_xstrdup(id), .mime = weir_xstrdup(mime), .blob = blob, .modified_ms = load_number(o, "at"),
		.is_kept = json_is_true(json_object_get(o, "keep")), .is_others = json_is_true(json_object_get(o, "others")) };
	snprintf(r->sums.md5, sizeof(r->sums.md5), "%s", md5);
	snprintf(r->sums.sha1, sizeof(r->sums.sha1), "%s", sha1);
	snprintf(r->sums.sha256, sizeof(r->sums.sha256), "%s", sha256);
	return 0;
}

static int
load_line(const json_t *o)
{
	const char *op = load_text(o, "op"), *id = load_text(o, "id"), *node = load_text(o, "node");
	struct drive_node *x;

	if (!op)
		return -1;
	if (!strcmp(op, "node"))
		return load_node(o);
	if (!strcmp(op, "rev"))
		return load_rev(o);
	if (!strcmp(op, "session") || !strcmp(op, "piece"))
		return drive_session_load(o);
	if (!id)
		return -1;
	if (!strcmp(op, "id"))
		drive_ids_add(id);
	else if (!strcmp(op, "rm") && (x = drive_by_id(id)))
		drive_remove(x);
	else if (!strcmp(op, "change"))
		state_tell(id, load_text(o, "drive"), load_number(o, "at"), json_is_true(json_object_get(o, "rm")), json_is_true(json_object_get(o, "isDrive")));
	else if (!strcmp(op, "norev") && node && (x = drive_by_id(node)))
		for (size_t i = 0; i < x->nrev; i++)
			if (!strcmp(x->rev[i].id, id)) {
				drive_drop_rev(x, i);
				break;
			}
	return 0;
}

static void
state_dump_tree(const struct drive_node *x)
{
	state_log_node(x);
	for (size_t i = 0; i < x->nrev; i++)
		drive_log_rev(x, &x->rev[i]);
	for (const struct drive_node *c = x->first; c; c = c->next)
		state_dump_tree(c);
}

static void
state_dump(void)
{
	for (size_t i = 0; i < drive_all_n; i++)
		if (drive_all[i] && !drive_all[i]->parent)
			state_dump_tree(drive_all[i]);
	for (size_t i = 0; i < state_changes_n; i++)
		state_log_change(&state_changes[i].c);
	for (size_t i = 0; i < STATE_BUCKETS; i++)
		for (const struct state_word *w = state_words[i]; w; w = w->next)
			emu_log(json_pack("{s:s s:s}", "op", "id", "id", w->id));
	drive_session_dump();
}

static struct drive_node *
state_make_root(const char *name)
{
	struct drive_node *x;
	char id[64] = "0A";

	drive_make_id(id + 2, 11);
	snprintf(id + 13, sizeof(id) - 13, "Uk9PVA");	/* so end the ids of roots */
	x = drive_new(id, name, DRIVE_FOLDER, NULL);
	x->is_root = true;
	x->version = 1;
	return x;
}

int
drive_state_open(const char *dir)
{
	state_is_loading = true;
	if (emu_store_open(dir) || emu_log_open(dir, load_line))
		return -1;
	if (!drive_root)
		drive_root = state_make_root("My Drive");
	if (!drive_appdata) {
		drive_appdata = state_make_root("Drive App Data");
		drive_appdata->is_appdata = true;
	}
	state_is_loading = false;
	emu_store_sweep();
	return emu_log_compact(state_dump);
}
