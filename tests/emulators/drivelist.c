/* SPDX-License-Identifier: Apache-2.0 */
/* files.list and changes.*: what belongs to an answer, its order, its pages. Page tokens say where the next page begins and to which request they belong. */
#include "config.h"
#include "drive.h"
#include "util/fold.h"
#include <string.h>
#include <strings.h>

struct list_all {
	struct drive_node **v;
	size_t n, cap;
};
struct list_corpus {
	bool all_drives;		/* includeItemsFromAllDrives */
	const char *drive;		/* only this one; NULL */
	bool is_appdata, is_everything;	/* everything: corpora=allDrives */
};

/* ---- who belongs to it ---- */

static bool
list_text_is(const struct emu_req *req, const char *name, const char *value)
{
	const char *v = emu_query(req, name);

	return v && !strcmp(v, value);
}

/* driveId of this request, which must be a drive one may see. False: replied. */
static bool
list_drive(struct emu_req *req, const char **drive)
{
	const struct drive_node *x;

	*drive = emu_query(req, "driveId");
	if (!*drive && !(*drive = emu_query(req, "teamDriveId")))
		return true;
	x = drive_by_id(*drive);
	if (x && x->is_drive && x->role >= DRIVE_READER)
		return true;
	drive_fail(req, 404, "notFound", "driveId", "Shared drive not found: %s", *drive);
	return false;
}

static bool
list_corpus(struct emu_req *req, struct list_corpus *c)
{
	const char *corpora = emu_query(req, "corpora"), *spaces = emu_query(req, "spaces");
	bool all_drives, supports = drive_all_drives(req);

	memset(c, 0, sizeof(*c));
	if (!drive_bool(req, "includeItemsFromAllDrives", list_text_is(req, "includeTeamDriveItems", "true"), &all_drives) || !list_drive(req, &c->drive))
		return false;
	if (all_drives && !supports) {
		drive_fail(req, 403, "teamDrivesNotSupported", "includeItemsFromAllDrives",
		    "The includeItemsFromAllDrives parameter can only be set if supportsAllDrives is true.");
		return false;
	}
	c->all_drives = all_drives;
	c->is_everything = corpora && (!strcmp(corpora, "allDrives") || !strcmp(corpora, "allTeamDrives"));
	c->is_appdata = spaces && !strcmp(spaces, "appDataFolder");
	if (spaces && !c->is_appdata && strcmp(spaces, "drive") != 0)
		drive_invalid(req, "spaces");
	else if (corpora && !c->is_everything && strcmp(corpora, "user") && strcmp(corpora, "domain") && strcmp(corpora, "drive") && strcmp(corpora, "teamDrive"))
		drive_invalid(req, "corpora");
	else if ((corpora && (!strcmp(corpora, "drive") || !strcmp(corpora, "teamDrive"))) != (c->drive != NULL))
		drive_fail(req, 403, "teamDriveIdRequiresTeamDriveCorpora", NULL, "The driveId parameter must be specified if and only if corpora is set to drive.");
	else if ((c->drive || c->is_everything) && !all_drives)
		drive_fail(req, 403, "teamDrivesNotSupported", "corpora",
		    "The includeItemsFromAllDrives parameter must be set to true when driveId is specified or corpora contains drive or allDrives.");
	return !req->is_replied;
}

/* has_parents: the query asks for children of named folders, so what was only shared is searched too. */
static bool
list_belongs(const struct list_corpus *c, const struct drive_node *x, bool has_parents)
{
	const struct drive_node *top = drive_top(x);

	if (x->is_root || top->is_appdata != c->is_appdata)
		return false;
	if (c->drive)
		return top->is_drive && !strcmp(top->id, c->drive);
	if (top->is_drive)
		return c->all_drives && drive_role(x) >= DRIVE_READER;
	if (top == drive_root || top->is_appdata || !x->is_others)
		return true;
	return drive_role(x) >= DRIVE_READER && (has_parents || x->shared_ms || c->is_everything);
}

static void
list_add(struct list_all *all, struct drive_node *x)
{
	if (all->n == all->cap) {
		all->cap = all->cap ? all->cap * 2 : 256;
		all->v = weir_xrealloc(all->v, all->cap, sizeof(struct drive_node *));
	}
	all->v[all->n++] = x;
}

static int
list_by_birth(const void *a, const void *b)
{
	const struct drive_node *x = *(struct drive_node *const *)a, *y = *(struct drive_node *const *)b;

	return x->n < y->n ? -1 : x->n > y->n;
}

static void
list_collect(const struct list_corpus *c, const struct drive_query *q, struct list_all *all)
{
	bool has_parents = drive_query_parent(q, 0) != NULL;
	struct drive_node *dir = drive_on(DRIVE_LIST_LAG) ? NULL : drive_query_folder(q);
	int64_t now = drive_now_ms();

	if (dir) {
		for (struct drive_node *x = dir->first; x; x = x->next)
			if (list_belongs(c, x, true) && drive_query_match(q, x, now))
				list_add(all, x);
		if (all->n)
			qsort(all->v, all->n, sizeof(struct drive_node *), list_by_birth);
		return;
	}
	for (size_t i = 0; i < drive_all_n; i++)
		if (drive_all[i] && list_belongs(c, drive_all[i], has_parents) && drive_query_match(q, drive_all[i], now))
			list_add(all, drive_all[i]);
}

/* ---- order ---- */

static const char *const list_keys[] = { "createdTime", "folder", "modifiedByMeTime", "modifiedTime", "name", "name_natural", "quotaBytesUsed",
	"recency", "sharedWithMeTime", "starred", "viewedByMeTime" };
struct list_order {
	size_t n, key[8];
	bool down[8];
};

static bool
list_order_parse(const char *text, struct list_order *o)
{
	o->n = 0;
	while (*text && o->n < WEIR_LEN(o->key)) {
		size_t len, k;

		text += strspn(text, " ");
		len = strcspn(text, " ,");
		for (k = 0; k < WEIR_LEN(list_keys); k++)
			if (strlen(list_keys[k]) == len && !strncmp(list_keys[k], text, len))
				break;
		if (k == WEIR_LEN(list_keys))
			return false;
		text += len;
		text += strspn(text, " ");
		o->key[o->n] = k;
		o->down[o->n++] = !strncmp(text, "desc", 4);
		text += strcspn(text, ",");
		text += *text == ',';
	}
	return !*text;
}

static uint64_t
list_size(const struct drive_node *x)
{
	const struct drive_rev *r = drive_head(x);

	return r ? emu_blob_size(r->blob) : 0;
}

static int
list_names(const struct drive_node *x, const struct drive_node *y)
{
	WEIR_AUTO(weir_freep) char *a = weir_fold(x->name), *b = weir_fold(y->name);

	return strcmp(a, b);
}

static int
list_compare_key(size_t key, const struct drive_node *x, const struct drive_node *y)
{
	int64_t a, b;

	switch (key) {
	case 4: case 5: return list_names(x, y);
	case 0: a = x->created_ms; b = y->created_ms; break;
	case 1: a = !drive_is_folder(x); b = !drive_is_folder(y); break;
	case 6: a = (int64_t)list_size(x); b = (int64_t)list_size(y); break;
	case 8: a = x->shared_ms; b = y->shared_ms; break;
	case 9: a = !x->is_starred; b = !y->is_starred; break;
	case 10: a = x->viewed_ms; b = y->viewed_ms; break;
	default: a = x->modified_ms; b = y->modified_ms; break;
	}
	return a < b ? -1 : a > b;
}

static int
list_compare(const void *a, const void *b, void *order)
{
	const struct list_order *o = order;
	int r = 0;

	for (size_t i = 0; i < o->n && !r; i++) {
		r = list_compare_key(o->key[i], *(struct drive_node *const *)a, *(struct drive_node *const *)b);
		r = o->down[i] ? -r : r;
	}
	return r ? r : list_by_birth(a, b);
}

/* ---- pages ---- */

/* What a token belongs to: everything that decides which files there are and in which order. */
static uint32_t
list_hash(const struct emu_req *req)
{
	static const char *const names[] = { "q", "corpora", "driveId", "teamDriveId", "orderBy", "spaces", "includeItemsFromAllDrives" };
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < WEIR_LEN(names); i++) {
		const char *v = emu_query(req, names[i]);

		for (; v && *v; v++)
			h = (h ^ (unsigned char)*v) * 16777619u;
		h = (h ^ (unsigned)i) * 16777619u;
	}
	return h;
}

/* By birth: the number of the last file told; else how many were told. A page in the middle may be an empty one. */
struct list_token {
	unsigned long long at;
	unsigned pages;
};

static bool
list_token_parse(struct emu_req *req, struct list_token *t)
{
	const char *text = emu_query(req, "pageToken");
	unsigned hash;
	int end = 0;

	memset(t, 0, sizeof(*t));
	if (!text || !*text)
		return true;
	if (!drive_take(req, DRIVE_TOKEN_BAD_NEXT) && sscanf(text, "~!!~AI%8x-%llu-%u%n", &hash, &t->at, &t->pages, &end) == 3 && !text[end] &&
	    hash == list_hash(req))
		return true;
	drive_invalid(req, "pageToken");
	return false;
}

static long
list_page_size(long asked)
{
	long most = (long)emu_value(&drive_switches[DRIVE_PAGE_MAX]);

	return most > 0 && most < asked ? most : asked;
}

/* A file as listings know it: what changed a moment ago may still be as it was. */
static json_t *
list_file(const struct emu_req *req, struct drive_node *x, const struct drive_mask *mask)
{
	json_t *o = drive_file(req, x, mask);

	if (x->past.until_ms <= drive_now_ms())
		return o;
	if (json_object_get(o, "name"))
		json_object_set_new(o, "name", json_string(x->past.name));
	if (json_object_get(o, "parents") && x->past.parent)
		json_object_set_new(o, "parents", json_pack("[s]", x->past.parent->id));
	if (json_object_get(o, "trashed"))
		json_object_set_new(o, "trashed", json_boolean(x->past.is_trashed));
	return o;
}

static void
list_reply(struct emu_req *req, struct list_all *all, struct list_token *t, bool by_birth, long size, bool is_incomplete)
{
	const struct drive_mask *fields = drive_of(req)->fields, *of_file = drive_mask_sub(fields, "files");
	json_t *files = json_array(), *o = json_object();
	size_t i = 0, end;
	char *next;

	if (by_birth)
		while (i < all->n && t->at && all->v[i]->n < t->at)
			i++;
	else
		i = t->at < all->n ? (size_t)t->at : all->n;
	t->pages++;
	if (drive_on(DRIVE_EMPTY_PAGES) && t->pages % 2)
		size = 0;
	end = i + (size_t)size < all->n ? i + (size_t)size : all->n;
	if (drive_mask_has(fields, "files"))
		for (size_t k = i; k < end; k++)
			json_array_append_new(files, list_file(req, all->v[k], of_file));
	if (end < all->n && drive_mask_has(fields, "nextPageToken")) {
		next = weir_xasprintf("~!!~AI%08x-%llu-%u", list_hash(req), by_birth ? (unsigned long long)all->v[end]->n : (unsigned long long)end, t->pages);
		json_object_set_new(o, "nextPageToken", json_string(next));
		free(next);
	}
	if (drive_mask_has(fields, "kind"))
		json_object_set_new(o, "kind", json_string("drive#fileList"));
	if (drive_mask_has(fields, "incompleteSearch"))
		json_object_set_new(o, "incompleteSearch", json_boolean(is_incomplete));
	if (drive_mask_has(fields, "files"))
		json_object_set(o, "files", files);
	json_decref(files);
	drive_ok(req, o);
}

/* Every folder named must be there: else the whole query is refused, as Google does it. */
static bool
list_parents_there(struct emu_req *req, const struct drive_query *q)
{
	const char *id;

	for (size_t i = 0; (id = drive_query_parent(q, i)); i++) {
		const struct drive_node *x = drive_by_id(id);

		if (!x || !drive_visible(req, x)) {
			drive_fail(req, 404, "notFound", "fileId", "File not found: .");
			return false;
		}
	}
	return true;
}

static void
list_answer(struct emu_req *req, const struct drive_query *q, const struct list_order *order)
{
	struct list_all all = { 0 };
	struct list_corpus corpus;
	struct list_token token;
	long size;

	if (!list_corpus(req, &corpus) || !drive_int(req, "pageSize", 100, 1, 1000, &size) || !list_token_parse(req, &token) || !list_parents_there(req, q))
		return;
	if (!(drive_query_parent(q, 1) && drive_take(req, DRIVE_MULTI_EMPTY_NEXT)))
		list_collect(&corpus, q, &all);
	if (order->n && all.n)
		qsort_r(all.v, all.n, sizeof(struct drive_node *), list_compare, (void *)(uintptr_t)order);
	list_reply(req, &all, &token, !order->n, list_page_size(size), drive_on(DRIVE_INCOMPLETE));
	free(all.v);
}

void
drive_files_list(struct emu_req *req)
{
	const char *text = emu_query(req, "q"), *by = emu_query(req, "orderBy");
	struct drive_query *q = NULL;
	struct list_order order = { 0 };

	if (text && *text && !(q = drive_query_parse(text)))
		drive_invalid(req, "q");
	else if (by && *by && !list_order_parse(by, &order))
		drive_invalid(req, "orderBy");
	else
		list_answer(req, q, &order);
	drive_query_free(q);
}

/* ---- changes ---- */

/* How far the log may be told: changes younger than the lag are not known yet. */
static uint64_t
list_changes_end(void)
{
	int64_t lag = (int64_t)emu_value(&drive_switches[DRIVE_CHANGE_LAG]), now = drive_now_ms();
	uint64_t end = drive_seq();

	while (lag > 0 && end > drive_seq_first() && drive_change(end - 1)->at_ms > now - lag)
		end--;
	return end;
}

void
drive_changes_start(struct emu_req *req)
{
	const char *drive;
	char token[32];

	if (!list_drive(req, &drive))
		return;
	if (drive && !drive_all_drives(req)) {
		drive_fail(req, 403, "teamDrivesNotSupported", "driveId", "The driveId parameter can only be used if supportsAllDrives is true.");
		return;
	}
	snprintf(token, sizeof(token), "%llu", (unsigned long long)list_changes_end());
	drive_ok_masked(req, json_pack("{s:s s:s}", "kind", "drive#startPageToken", "startPageToken", token));
}

struct list_feed {
	const char *drive;
	bool all_drives, with_removed, only_mine, is_appdata;
};

static bool
list_feed_wants(const struct emu_req *req, const struct list_feed *f, const struct drive_change *c)
{
	struct drive_node *x = c->is_removed ? NULL : drive_by_id(c->id);
	bool is_appdata = x && drive_top(x)->is_appdata;

	if (c->is_past || (c->is_removed ? !f->with_removed : !x) || is_appdata != f->is_appdata)
		return false;
	if (f->drive)
		return c->drive && !strcmp(c->drive, f->drive);
	if (c->drive)
		return f->all_drives;
	if (x && !drive_visible(req, x))
		return false;
	return !f->only_mine || !x || drive_is_below(x, drive_root);
}

static json_t *
list_change_json(const struct emu_req *req, const struct drive_change *c, const struct drive_mask *mask)
{
	struct drive_node *x = c->is_removed ? NULL : drive_by_id(c->id);
	json_t *o = json_pack("{s:s s:s s:s s:b}", "kind", "drive#change", "changeType", c->is_drive ? "drive" : "file", "type",
	    c->is_drive ? "drive" : "file", "removed", c->is_removed);
	char at[40];

	drive_time(c->at_ms, at);
	json_object_set_new(o, "time", json_string(at));
	json_object_set_new(o, c->is_drive ? "driveId" : "fileId", json_string(c->id));
	if (x && c->is_drive)
		json_object_set_new(o, "drive", drive_drive_json(x));
	o = drive_mask_apply(mask, o);
	if (x && !c->is_drive && drive_mask_has(mask, "file"))
		json_object_set_new(o, "file", drive_file(req, x, drive_mask_sub(mask, "file")));
	return o;
}

static void
list_changes_reply(struct emu_req *req, const struct list_feed *f, uint64_t at, long size)
{
	const struct drive_mask *fields = drive_of(req)->fields;
	json_t *o = json_object(), *changes = json_array();
	uint64_t end = list_changes_end();
	char token[32];
	long n = 0;

	for (; at < end && n < size; at++)
		if (list_feed_wants(req, f, drive_change(at))) {
			json_array_append_new(changes, list_change_json(req, drive_change(at), drive_mask_sub(fields, "changes")));
			n++;
		}
	while (at < end && !list_feed_wants(req, f, drive_change(at)))
		at++;
	if (drive_mask_has(fields, "kind"))
		json_object_set_new(o, "kind", json_string("drive#changeList"));
	snprintf(token, sizeof(token), "%llu", (unsigned long long)at);
	if (drive_mask_has(fields, at < end ? "nextPageToken" : "newStartPageToken"))
		json_object_set_new(o, at < end ? "nextPageToken" : "newStartPageToken", json_string(token));
	if (drive_mask_has(fields, "changes"))
		json_object_set(o, "changes", changes);
	json_decref(changes);
	drive_ok(req, o);
}

void
drive_changes_list(struct emu_req *req)
{
	const char *text = emu_query(req, "pageToken"), *spaces = emu_query(req, "spaces");
	struct list_feed f = { .is_appdata = spaces && !strcmp(spaces, "appDataFolder") };
	unsigned long long at = 0;
	int end = 0;
	long size;

	if (!drive_int(req, "pageSize", 100, 1, 1000, &size) || !drive_bool(req, "includeRemoved", true, &f.with_removed) ||
	    !drive_bool(req, "restrictToMyDrive", false, &f.only_mine) || !list_drive(req, &f.drive) ||
	    !drive_bool(req, "includeItemsFromAllDrives", list_text_is(req, "includeTeamDriveItems", "true"), &f.all_drives))
		return;
	if (!text)
		drive_fail(req, 400, "required", "pageToken", "Required parameter: pageToken");
	else if (drive_take(req, DRIVE_CHANGES_GONE_NEXT))
		drive_fail(req, (unsigned)emu_value(&drive_switches[DRIVE_CHANGES_GONE_AS]), "invalid", "pageToken", "Invalid Value");
	else if (sscanf(text, "%llu%n", &at, &end) != 1 || text[end] || at < drive_seq_first() || at > drive_seq())
		drive_invalid(req, "pageToken");
	else if ((f.all_drives || f.drive) && !drive_all_drives(req))
		drive_fail(req, 403, "teamDrivesNotSupported", "includeItemsFromAllDrives",
		    "The includeItemsFromAllDrives parameter can only be set if supportsAllDrives is true.");
	else
		list_changes_reply(req, &f, at, list_page_size(size));
}
