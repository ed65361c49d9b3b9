/* SPDX-License-Identifier: Apache-2.0 */
/* Listing and watching. A cursor says all by itself, sealed: which folder, how, and how far. At first it goes through the tree (key: the last path told); when
 * that is done it goes through the journal from where it stood when the listing began, so what changed meanwhile is told (perhaps twice) later. */
#include "config.h"
#include "drop.h"
#include <string.h>

#define LIST_DEFAULT 500
#define LIST_SEAL "dropemu cursors"

struct cursor {
	uint64_t epoch, root, seq, limit;
	char *path;			/* of the folder, full, lower */
	char *key;			/* the last one told; NULL: in the journal by now */
	bool is_deep, with_deleted, with_mounts, with_paper;
	bool was_empty;			/* the last page was the empty one of empty_pages */
};
struct page {
	struct cursor *c;
	const struct drop_node *root, *dir;
	json_t *entries;
	size_t max;
};

static _Atomic uint64_t list_epoch;	/* cursors of other epochs are dead */
static pthread_mutex_t busy_lock = PTHREAD_MUTEX_INITIALIZER;
static struct emu_pairs busy;

void
drop_epoch_load(const json_t *o)
{
	list_epoch = (uint64_t)json_integer_value(json_object_get(o, "n"));
}

void
drop_epoch_dump(void)
{
	emu_log(json_pack("{s:s s:I}", "op", "epoch", "n", (json_int_t)list_epoch));
}

/* ---- cursors ---- */

static void
cursor_free(struct cursor *c)
{
	free(c->path);
	free(c->key);
	memset(c, 0, sizeof(*c));
}

static void
cursor_seal(const char *text, char out[17])
{
	unsigned char sum[WEIR_SHA256_LEN];

	weir_hmac_sha256(LIST_SEAL, strlen(LIST_SEAL), text, strlen(text), sum);
	weir_hex(sum, 8, out);
}

/* Owned. */
static char *
cursor_write(const struct cursor *c)
{
	json_t *o = json_pack("{s:I s:I s:I s:I s:s s:b s:b s:b s:b s:b}", "e", (json_int_t)c->epoch, "r", (json_int_t)c->root, "s", (json_int_t)c->seq,
	    "l", (json_int_t)c->limit, "p", c->path, "d", c->is_deep, "x", c->with_deleted, "m", c->with_mounts, "n", c->with_paper, "z", c->was_empty);
	WEIR_AUTO(weir_freep) char *text = NULL, *b64 = NULL;
	char seal[17];

	if (c->key)
		json_object_set_new(o, "k", json_string(c->key));
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	b64 = weir_xcalloc(1, weir_base64_len(strlen(text)));
	weir_base64(text, strlen(text), b64);
	for (char *p = b64; *p; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	cursor_seal(b64, seal);
	return weir_xasprintf("AA%s%s", seal, b64);
}

static json_t *
cursor_open(const char *text)
{
	WEIR_AUTO(weir_freep) char *b64 = NULL, *plain = NULL;
	char seal[17];
	ssize_t n;

	if (strlen(text) < 20 || strncmp(text, "AA", 2))
		return NULL;
	cursor_seal(text + 18, seal);
	if (strncmp(seal, text + 2, 16))
		return NULL;
	b64 = weir_xstrdup(text + 18);
	for (char *p = b64; *p; p++)
		*p = *p == '-' ? '+' : *p == '_' ? '/' : *p;
	plain = weir_xcalloc(1, strlen(b64) + 1);
	n = weir_unbase64(b64, (unsigned char *)plain, strlen(b64));
	return n > 0 ? json_loadb(plain, (size_t)n, 0, NULL) : NULL;
}

static bool
cursor_read(const char *text, struct cursor *c)
{
	json_t *o = cursor_open(text);
	const char *key;

	memset(c, 0, sizeof(*c));
	if (!o)
		return false;
	key = json_string_value(json_object_get(o, "k"));
	c->epoch = (uint64_t)json_integer_value(json_object_get(o, "e"));
	c->root = (uint64_t)json_integer_value(json_object_get(o, "r"));
	c->seq = (uint64_t)json_integer_value(json_object_get(o, "s"));
	c->limit = (uint64_t)json_integer_value(json_object_get(o, "l"));
	c->path = weir_xstrdup(json_string_value(json_object_get(o, "p")));
	c->key = weir_xstrdup(key);
	c->is_deep = drop_arg_true(o, "d");
	c->with_deleted = drop_arg_true(o, "x");
	c->with_mounts = drop_arg_true(o, "m");
	c->with_paper = drop_arg_true(o, "n");
	c->was_empty = drop_arg_true(o, "z");
	json_decref(o);
	return c->path != NULL;
}

static bool
arg_unless_false(const json_t *arg, const char *name)
{
	return !json_is_false(json_object_get(arg, name));
}

static void
cursor_new(const struct emu_req *req, const struct drop_node *dir, struct cursor *c)
{
	const struct drop_req *r = drop_of(req);
	json_int_t limit = json_integer_value(json_object_get(r->arg, "limit"));

	*c = (struct cursor){ .epoch = list_epoch, .root = r->root->id, .seq = drop_seq(), .limit = limit > 0 ? (uint64_t)limit : LIST_DEFAULT,
		.path = drop_path(dir, NULL, true), .is_deep = drop_arg_true(r->arg, "recursive"),
		.with_deleted = drop_arg_true(r->arg, "include_deleted"), .with_mounts = arg_unless_false(r->arg, "include_mounted_folders"),
		.with_paper = arg_unless_false(r->arg, "include_non_downloadable_files") };
}

/* The one a request names. False: replied. */
static bool
cursor_of(struct emu_req *req, struct cursor *c)
{
	if (!cursor_read(drop_arg_string(req, "cursor"), c) || c->seq > drop_seq()) {
		drop_bad(req, "request body: cursor: invalid cursor");
		return false;
	}
	if (drop_take(req, DROP_RESET_NEXT)) {
		list_epoch++;
		drop_epoch_dump();
	}
	if (c->epoch == list_epoch)
		return true;
	drop_fail(req, 409, drop_tags("reset", NULL));
	return false;
}

/* ---- the tree ---- */

static bool
page_wants(const struct page *p, const struct drop_node *x)
{
	if (x->kind == DROP_PAPER && !p->c->with_paper)
		return false;
	return p->c->with_mounts || x->parent != drop_top;
}

static bool
page_add(struct page *p, const struct drop_node *x)
{
	if (!page_wants(p, x))
		return true;
	if (json_array_size(p->entries) >= p->max)
		return false;
	json_array_append_new(p->entries, drop_meta(x, p->root, true));
	free(p->c->key);
	p->c->key = drop_path(x, p->dir, true);
	return true;
}

/* What comes behind key ("/a/b" below this folder; NULL: everything). False: the page is full. */
static bool
page_walk(struct page *p, const struct drop_node *dir, const char *key)
{
	size_t i = 0;

	if (key && *key == '/') {
		size_t len = strcspn(key + 1, "/");
		WEIR_AUTO(weir_freep) char *name = weir_xstrndup(key + 1, len);

		i = drop_place(dir, name);
		if (i < dir->n && !strcmp(dir->child[i]->fold, name)) {
			if (p->c->is_deep && page_wants(p, dir->child[i]) && !page_walk(p, dir->child[i], key + 1 + len))
				return false;
			i++;
		}
	}
	for (; i < dir->n; i++) {
		if (!page_add(p, dir->child[i]))
			return false;
		if (p->c->is_deep && page_wants(p, dir->child[i]) && !page_walk(p, dir->child[i], NULL))
			return false;
	}
	return true;
}

/* ---- the journal ---- */

/* Where an event stands to the folder: is it of interest? */
static bool
event_matches(const struct cursor *c, const struct drop_event *e)
{
	size_t n = strlen(c->path), len = strlen(e->lower);

	if (!strcmp(e->lower, c->path))
		return c->is_deep || e->is_delete;
	if (len < n)
		return e->is_delete && !strncmp(e->lower, c->path, len) && c->path[len] == '/';
	if (strncmp(e->lower, c->path, n) || e->lower[n] != '/')
		return false;
	return c->is_deep || !strchr(e->lower + n + 1, '/');
}

static struct drop_node *
event_node(const char *lower)
{
	struct drop_at at;
	struct drop_node *x;

	drop_find(drop_top, lower, &at);
	x = at.node;
	drop_at_free(&at);
	return x;
}

/* What an event tells today; NULL: nothing any more. */
static json_t *
event_entry(const struct page *p, const struct drop_event *e)
{
	WEIR_AUTO(weir_freep) char *base = drop_path(p->root, NULL, true), *shown = drop_path(p->root, NULL, false);
	size_t n = strlen(base);
	const char *lower = e->lower, *display = e->display;
	const struct drop_node *x;

	if (!e->is_delete) {
		x = e->is_past ? NULL : event_node(lower);
		return x && page_wants(p, x) ? drop_meta(x, p->root, true) : NULL;
	}
	if (strlen(lower) < strlen(p->c->path))
		lower = display = p->c->path;	/* a folder above went, and this one with it */
	if (strlen(lower) <= n || strncmp(lower, base, n))
		return NULL;
	return drop_meta_gone(lower + n, display == p->c->path ? display + n : display + strlen(shown));
}

/* Events from c->seq on. False: the page is full. */
static bool
page_events(struct page *p)
{
	const struct drop_event *e;

	for (; (e = drop_event(p->c->seq + 1)); p->c->seq++) {
		json_t *entry = event_matches(p->c, e) ? event_entry(p, e) : NULL;

		if (!entry)
			continue;
		if (json_array_size(p->entries) >= p->max) {
			json_decref(entry);
			return false;
		}
		json_array_append_new(p->entries, entry);
	}
	return true;
}

/* include_deleted: what was there once and is not now, at the end of the first listing. */
static void
page_deleted(struct page *p)
{
	for (uint64_t i = 1; i <= drop_seq(); i++) {
		const struct drop_event *e = drop_event(i);
		json_t *entry = NULL;

		if (e->is_delete && !e->is_past && strlen(e->lower) > strlen(p->c->path) && event_matches(p->c, e) && !event_node(e->lower))
			entry = event_entry(p, e);
		if (entry)
			json_array_append_new(p->entries, entry);
	}
}

/* ---- pages ---- */

static void
page_reply(struct emu_req *req, struct page *p, bool has_more)
{
	WEIR_AUTO(weir_freep) char *text = cursor_write(p->c);

	drop_ok(req, json_pack("{s:o s:s s:b}", "entries", WEIR_STEAL(p->entries), "cursor", text, "has_more", has_more));
}

static void
page_start(struct page *p, struct cursor *c, const struct drop_node *root, const struct drop_node *dir)
{
	double most = emu_value(&drop_switches[DROP_PAGE_MAX]);

	*p = (struct page){ .c = c, .root = root, .dir = dir, .entries = json_array(), .max = c->limit };
	if (most >= 1 && most < (double)p->max)
		p->max = (size_t)most;
}

/* One page of the tree, from key on. */
static void
page_tree(struct emu_req *req, struct page *p)
{
	bool is_first = !*p->c->key;
	WEIR_AUTO(weir_freep) char *from = weir_xstrdup(p->c->key);

	if (drop_on(DROP_EMPTY_PAGES) && !p->c->was_empty) {
		p->c->was_empty = true;
		page_reply(req, p, true);
		return;
	}
	p->c->was_empty = false;
	if (is_first && p->c->is_deep && p->dir != p->root)
		json_array_append_new(p->entries, drop_meta(p->dir, p->root, true));
	if (!page_walk(p, p->dir, from)) {
		page_reply(req, p, true);
		return;
	}
	if (p->c->with_deleted)
		page_deleted(p);
	free(WEIR_STEAL(p->c->key));
	page_reply(req, p, p->c->seq < drop_seq());
}

static bool
list_dir(struct emu_req *req, struct drop_at *at)
{
	const char *tag;

	drop_find(drop_of(req)->root, drop_arg_string(req, "path"), at);
	tag = drop_lookup(at);
	if (!tag && !at->node->is_dir)
		tag = "not_folder";
	if (tag)
		drop_fail(req, 409, drop_tags("path", tag, NULL));
	return !tag;
}

void
drop_list_folder(struct emu_req *req)
{
	struct drop_at at;
	struct cursor c;
	struct page p;

	if (list_dir(req, &at)) {
		cursor_new(req, at.node, &c);
		c.key = weir_xstrdup("");
		page_start(&p, &c, at.root, at.node);
		page_tree(req, &p);
		json_decref(p.entries);
		cursor_free(&c);
	}
	drop_at_free(&at);
}

void
drop_list_latest(struct emu_req *req)
{
	struct drop_at at;
	struct cursor c;

	if (list_dir(req, &at)) {
		WEIR_AUTO(weir_freep) char *text = NULL;

		cursor_new(req, at.node, &c);
		text = cursor_write(&c);
		drop_ok(req, json_pack("{s:s}", "cursor", text));
		cursor_free(&c);
	}
	drop_at_free(&at);
}

/* A folder that is gone: its deletion is told first, once; then there is nothing to go on with. */
static void
list_go_on(struct emu_req *req, struct cursor *c)
{
	char id[32];
	const struct drop_node as_id = { .id = c->root };
	struct drop_node *root, *dir = event_node(c->path);
	struct page p;
	bool is_all;

	drop_id(&as_id, id);
	root = c->root == drop_top->id ? drop_top : drop_by_id(id);
	if (!root || (c->root == drop_top->id && !drop_on(DROP_TEAM))) {
		drop_fail(req, 409, drop_tags("reset", NULL));
		return;
	}
	page_start(&p, c, root, dir);
	if (c->key && dir && dir->is_dir) {
		page_tree(req, &p);
	} else {
		uint64_t from = c->seq;

		is_all = !c->key && page_events(&p);
		if (!dir && (c->key || c->seq == from))
			drop_fail(req, 409, drop_tags("path", "not_found", NULL));
		else if (dir && !dir->is_dir)
			drop_fail(req, 409, drop_tags("path", "not_folder", NULL));
		else
			page_reply(req, &p, !is_all);
	}
	json_decref(p.entries);
}

void
drop_list_continue(struct emu_req *req)
{
	struct cursor c;

	if (cursor_of(req, &c))
		list_go_on(req, &c);
	cursor_free(&c);
}

/* ---- waiting ---- */

static bool
longpoll_sees(struct cursor *c)
{
	const struct drop_event *e;

	if (c->key)
		return true;
	for (; (e = drop_event(c->seq + 1)); c->seq++)
		if (event_matches(c, e))
			return true;
	return false;
}

static void
longpoll_reply(struct emu_req *req, bool changes)
{
	int backoff = (int)emu_value(&drop_switches[DROP_BACKOFF_S]);
	json_t *o = json_pack("{s:b}", "changes", changes);

	if (backoff > 0)
		json_object_set_new(o, "backoff", json_integer(backoff));
	drop_ok(req, o);
}

/* A cursor that dies while one waits is told at once. */
static void
longpoll_wait(struct emu_req *req, struct cursor *c, int64_t end)
{
	for (;;) {
		bool sees;

		pthread_mutex_lock(&drop_lock);
		sees = longpoll_sees(c);
		pthread_mutex_unlock(&drop_lock);
		if (c->epoch != list_epoch)
			drop_fail(req, 409, drop_tags("reset", NULL));
		else if (sees || weir_now_ms() >= end)
			longpoll_reply(req, sees);
		if (req->is_replied || !emu_sleep(req, 50))
			return;
	}
}

void
drop_longpoll(struct emu_req *req)
{
	json_int_t timeout = json_integer_value(json_object_get(drop_of(req)->arg, "timeout"));
	double most = emu_value(&drop_switches[DROP_LONGPOLL_MS]);
	int64_t wait = timeout ? (int64_t)timeout * 1000 : 30000;
	struct cursor c;
	bool ok;

	pthread_mutex_lock(&drop_lock);
	ok = cursor_of(req, &c);
	pthread_mutex_unlock(&drop_lock);
	if (ok)
		longpoll_wait(req, &c, weir_now_ms() + (most >= 1 && most < (double)wait ? (int64_t)most : wait));
	cursor_free(&c);
}

/* ---- the same cursor twice at once ---- */

bool
drop_cursor_begin(struct emu_req *req)
{
	struct drop_req *r = drop_of(req);
	const char *cursor = drop_arg_string(req, "cursor");
	int64_t delay = (int64_t)emu_value(&drop_switches[DROP_LIST_MS]);
	bool is_free;

	if (r->route->run == drop_list_folder && delay > 0)
		return emu_sleep(req, delay);
	if (r->route->run != drop_list_continue)
		return true;
	pthread_mutex_lock(&busy_lock);
	is_free = !emu_pairs_get(&busy, cursor);
	if (is_free) {
		emu_pairs_add(&busy, cursor, "");
		r->busy = weir_xstrdup(cursor);
	}
	pthread_mutex_unlock(&busy_lock);
	if (!is_free)
		drop_throttle(req, "too_many_requests", false);
	return is_free && (delay <= 0 || emu_sleep(req, delay));
}

void
drop_cursor_end(struct emu_req *req)
{
	struct drop_req *r = drop_of(req);

	if (!r->busy)
		return;
	pthread_mutex_lock(&busy_lock);
	for (size_t i = 0; i < busy.n; i++)
		if (!strcmp(busy.v[i].name, r->busy)) {
			free(busy.v[i].name);
			free(busy.v[i].value);
			busy.v[i] = busy.v[--busy.n];
			break;
		}
	pthread_mutex_unlock(&busy_lock);
	free(WEIR_STEAL(r->busy));
}

/* ---- one item ---- */

static json_t *
stat_deleted(const struct drop_at *at)
{
	struct weir_buf full = WEIR_BUF(1u << 20);
	WEIR_AUTO(weir_freep) char *base = drop_path(at->root, NULL, true), *shown = drop_path(at->root, NULL, false);
	json_t *o = NULL;

	weir_buf_adds(&full, base);
	for (size_t i = 0; i < at->n; i++)
		weir_buf_addf(&full, "/%s", at->fold[i]);
	for (uint64_t i = drop_seq(); i && !o; i--) {
		const struct drop_event *e = drop_event(i);

		if (e->is_delete && at->n && !strcmp(e->lower, weir_buf_str(&full)))
			o = drop_meta_gone(e->lower + strlen(base), e->display + strlen(shown));
	}
	weir_buf_free(&full);
	return o;
}

void
drop_get_metadata(struct emu_req *req)
{
	struct drop_at at;
	json_t *o = NULL;

	drop_find(drop_of(req)->root, drop_arg_string(req, "path"), &at);
	if (at.node == at.root) {
		drop_bad(req, "request body: path: The root folder is unsupported.");
	} else if (at.node && at.ver == at.node->ver) {
		drop_ok(req, drop_meta(at.node, at.root, true));
	} else if (at.ver) {
		o = drop_meta_ver(at.ver, at.root);
		json_object_set_new(o, ".tag", json_string("file"));
		drop_ok(req, o);
	} else if (drop_arg_true(drop_of(req)->arg, "include_deleted") && (o = stat_deleted(&at))) {
		drop_ok(req, o);
	} else {
		drop_fail(req, 409, drop_lookup_fail(&at, "path"));
	}
	drop_at_free(&at);
}
