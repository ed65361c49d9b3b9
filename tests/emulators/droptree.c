/* SPDX-License-Identifier: Apache-2.0 */
/* Folders, deletes, moves, copies, revisions and the jobs of batches at the Dropbox emulator. */
#include "config.h"
#include "drop.h"
#include <string.h>

/* ---- jobs: done at once, told when async_ms are over ---- */

struct job {
	char id[48];
	int64_t due_ms;
	json_t *result;
};
static struct job *jobs;
static size_t jobs_n;

void
drop_job_launch(struct emu_req *req, json_t *result)
{
	struct job *j;
	char random[33];

	json_object_set_new(result, ".tag", json_string("complete"));
	jobs = weir_xrealloc(jobs, jobs_n + 1, sizeof(*jobs));
	j = &jobs[jobs_n++];
	weir_random_hex(random, 32);
	snprintf(j->id, sizeof(j->id), "dbjid:%s", random);
	j->due_ms = weir_now_ms() + (int64_t)emu_value(&drop_switches[DROP_ASYNC_MS]);
	j->result = result;
	drop_ok(req, json_pack("{s:s s:s}", ".tag", "async_job_id", "async_job_id", j->id));
}

void
drop_job_check(struct emu_req *req)
{
	const char *id = drop_arg_string(req, "async_job_id");

	for (size_t i = 0; i < jobs_n; i++) {
		if (strcmp(jobs[i].id, id))
			continue;
		if (weir_now_ms() < jobs[i].due_ms)
			drop_ok(req, drop_tags("in_progress", NULL));
		else
			drop_ok(req, json_incref(jobs[i].result));
		return;
	}
	drop_fail(req, 409, drop_tags("invalid_async_job_id", NULL));
}

/* ---- folders ---- */

/* A WriteError against making at's last component, or NULL. What exists there is not looked at. */
static json_t *
make_refused(const struct emu_req *req, const struct drop_at *at)
{
	const char *tag = at->is_malformed || at->is_gone ? "malformed_path" : NULL;

	for (size_t i = at->known; i < at->n && !tag; i++)
		tag = drop_name_refused(at->seg[i]);
	if (!tag)
		tag = drop_dir_refuses(req, at->dir);
	if (tag)
		return drop_tags(tag, NULL);
	return at->is_blocked ? drop_conflict("file_ancestor") : NULL;
}

void
drop_create_folder(struct emu_req *req)
{
	WEIR_AUTO(weir_freep) char *name = NULL;
	struct drop_at at;
	json_t *e;

	drop_find(drop_of(req)->root, drop_arg_string(req, "path"), &at);
	e = drop_writes_contend(req) ? drop_tags("too_many_write_operations", NULL) : at.node == at.root ? drop_conflict("folder") : make_refused(req, &at);
	if (!e && at.node && !drop_arg_true(drop_of(req)->arg, "autorename"))
		e = drop_conflict(at.node->is_dir ? "folder" : "file");
	if (e) {
		drop_fail(req, 409, drop_under("path", e));
	} else {
		name = at.node ? drop_free_name(at.dir, drop_at_name(&at), NULL) : weir_xstrdup(drop_at_name(&at));
		drop_ok(req, json_pack("{s:o}", "metadata", drop_meta(drop_make_dir(drop_make_parents(&at), name), at.root, false)));
	}
	drop_at_free(&at);
}

/* ---- deletes ---- */

static json_t *
delete_refused(const struct emu_req *req, const struct drop_at *at, const char *rev)
{
	const struct drop_node *x = at->node;
	char now[32];

	if (x == drop_home || x == at->root)
		return drop_under("path_write", drop_tags("no_write_permission", NULL));
	if (x->parent == drop_top && !req->is_raw)
		return drop_under("path_write", drop_tags("team_folder", NULL));
	if ((double)drop_entries(x) > emu_value(&drop_switches[DROP_ENTRIES_MAX]))
		return drop_tags("too_many_files", NULL);
	if (!rev)
		return NULL;
	if (x->is_dir)
		return drop_under("path_write", drop_conflict("folder"));
	drop_rev(x->ver, now);
	return strcmp(now, rev) ? drop_under("path_write", drop_conflict("file")) : NULL;
}

/* {"metadata":…} of what was there, or NULL and a DeleteError. */
static json_t *
delete_one(const struct emu_req *req, const json_t *arg, json_t **error)
{
	struct drop_at at;
	json_t *meta = NULL;

	drop_find(drop_of(req)->root, json_string_value(json_object_get(arg, "path")), &at);
	*error = drop_lookup_fail(&at, "path_lookup");
	if (!*error && drop_writes_contend(req))
		*error = drop_tags("too_many_write_operations", NULL);
	if (!*error)
		*error = delete_refused(req, &at, json_string_value(json_object_get(arg, "parent_rev")));
	if (!*error) {
		meta = json_pack("{s:o}", "metadata", drop_meta(at.node, at.root, true));
		drop_remove(at.node);
	}
	drop_at_free(&at);
	return meta;
}

void
drop_delete(struct emu_req *req)
{
	json_t *error = NULL, *meta = delete_one(req, drop_of(req)->arg, &error);

	if (meta)
		drop_ok(req, meta);
	else
		drop_fail(req, 409, error);
}

void
drop_delete_batch(struct emu_req *req)
{
	const json_t *entries = json_object_get(drop_of(req)->arg, "entries");
	json_t *out = json_array();

	for (size_t i = 0; i < json_array_size(entries); i++) {
		json_t *error = NULL, *meta = delete_one(req, json_array_get(entries, i), &error);

		if (meta)
			json_object_set_new(meta, ".tag", json_string("success"));
		json_array_append_new(out, meta ? meta : drop_under("failure", error));
	}
	drop_job_launch(req, json_pack("{s:o}", "entries", out));
}

/* ---- moves and copies ---- */

struct relocation {
	struct emu_req *req;
	bool is_move, autorename;
	struct drop_at from, to;
};

static json_t *
relocate_from_refused(const struct relocation *m)
{
	const struct drop_node *x = m->from.node;

	if (drop_take(m->req, DROP_UNSEEN_NEXT))
		return drop_tags("from_lookup", "not_found", NULL);
	if (drop_lookup(&m->from))
		return drop_lookup_fail(&m->from, "from_lookup");
	if (x == m->from.root)
		return drop_under("from_write", drop_tags("no_write_permission", NULL));
	if (m->is_move && x == drop_home)
		return drop_tags("cant_move_shared_folder", NULL);
	if (m->is_move && x->parent == drop_top && !m->req->is_raw)
		return drop_under("from_write", drop_tags("team_folder", NULL));
	return (double)drop_entries(x) > emu_value(&drop_switches[DROP_ENTRIES_MAX]) ? drop_tags("too_many_files", NULL) : NULL;
}

static json_t *
relocate_to_refused(const struct relocation *m)
{
	const struct drop_node *x = m->from.node, *there = m->to.node;
	json_t *e = there == m->to.root ? drop_conflict("folder") : make_refused(m->req, &m->to);

	if (e)
		return drop_under("to", e);
	if (x->is_dir && drop_is_below(m->to.dir, x))
		return drop_tags(m->is_move ? "cant_move_folder_into_itself" : "duplicated_or_nested_paths", NULL);
	if (there && !m->autorename)
		return drop_under("to", drop_conflict(there->is_dir ? "folder" : "file"));
	if (!m->is_move && !drop_has_room(m->req, drop_bytes(x), 0))
		return drop_tags("insufficient_quota", NULL);
	return NULL;
}

/* Onto itself: the same name is refused; another case of it is "done", and nothing changes. */
static json_t *
relocate_onto_itself(const struct relocation *m, json_t **error)
{
	const struct drop_node *x = m->from.node;

	if (strcmp(drop_at_name(&m->to), x->name) && m->is_move)
		return drop_meta(x, m->from.root, true);
	*error = drop_tags("duplicated_or_nested_paths", NULL);
	return NULL;
}

static json_t *
relocate_do(struct relocation *m, json_t **error)
{
	WEIR_AUTO(weir_freep) char *name = m->to.node ? drop_free_name(m->to.dir, drop_at_name(&m->to), NULL) : weir_xstrdup(drop_at_name(&m->to));
	struct drop_node *dir = drop_make_parents(&m->to), *x = m->from.node;

	if (m->is_move)
		drop_move(x, dir, name);
	else
		x = drop_copy(x, dir, name);
	if (!x || drop_take(m->req, DROP_INTERNAL_NEXT)) {
		*error = drop_tags("internal_error", NULL);
		return NULL;
	}
	return drop_meta(x, m->to.root, true);
}

/* Metadata with its .tag, or NULL and a RelocationError. */
static json_t *
relocate(struct emu_req *req, const json_t *arg, bool is_move, bool autorename, json_t **error)
{
	struct relocation m = { .req = req, .is_move = is_move, .autorename = autorename };
	json_t *meta = NULL;

	drop_find(drop_of(req)->root, json_string_value(json_object_get(arg, "from_path")), &m.from);
	drop_find(drop_of(req)->root, json_string_value(json_object_get(arg, "to_path")), &m.to);
	*error = drop_writes_contend(req) ? drop_tags("too_many_write_operations", NULL) : relocate_from_refused(&m);
	if (!*error && m.to.node == m.from.node) {
		meta = relocate_onto_itself(&m, error);
	} else if (!*error) {
		*error = relocate_to_refused(&m);
		if (!*error)
			meta = relocate_do(&m, error);
	}
	drop_at_free(&m.from);
	drop_at_free(&m.to);
	return meta;
}

static void
relocate_one(struct emu_req *req, bool is_move)
{
	const json_t *arg = drop_of(req)->arg;
	json_t *error = NULL, *meta = relocate(req, arg, is_move, drop_arg_true(arg, "autorename"), &error);

	if (meta)
		drop_ok(req, json_pack("{s:o}", "metadata", meta));
	else
		drop_fail(req, 409, error);
}

void
drop_move_v2(struct emu_req *req)
{
	relocate_one(req, true);
}

void
drop_copy_v2(struct emu_req *req)
{
	relocate_one(req, false);
}

static void
relocate_batch(struct emu_req *req, bool is_move)
{
	const json_t *arg = drop_of(req)->arg, *entries = json_object_get(arg, "entries");
	json_t *out = json_array();

	for (size_t i = 0; i < json_array_size(entries); i++) {
		json_t *error = NULL, *meta = relocate(req, json_array_get(entries, i), is_move, drop_arg_true(arg, "autorename"), &error);
		const char *tag = drop_tag(error);

		if (tag && strcmp(tag, "too_many_write_operations") && strcmp(tag, "internal_error"))
			error = drop_under("relocation_error", error);
		json_array_append_new(out, meta ? drop_under("success", meta) : drop_under("failure", error));
	}
	drop_job_launch(req, json_pack("{s:o}", "entries", out));
}

void
drop_move_batch(struct emu_req *req)
{
	relocate_batch(req, true);
}

void
drop_copy_batch(struct emu_req *req)
{
	relocate_batch(req, false);
}

/* ---- revisions ---- */

/* The full path in lower case that at means, there or not. Owned. */
static char *
at_full(const struct drop_at *at)
{
	struct weir_buf b = WEIR_BUF(1u << 20);
	WEIR_AUTO(weir_freep) char *base = drop_path(at->node ? at->node : at->root, NULL, true);

	weir_buf_adds(&b, base);
	for (size_t i = 0; !at->node && i < at->n; i++)
		weir_buf_addf(&b, "/%s", at->fold[i]);
	return weir_buf_take(&b);
}

void
drop_list_revisions(struct emu_req *req)
{
	json_int_t limit = json_integer_value(json_object_get(drop_of(req)->arg, "limit"));
	const char *mode = drop_tag(json_object_get(drop_of(req)->arg, "mode"));
	bool by_id = mode && !strcmp(mode, "id");
	struct drop_ver *v[100];
	struct drop_at at;
	json_t *out = json_array();
	WEIR_AUTO(weir_freep) char *full = NULL;
	size_t n;

	drop_find(drop_of(req)->root, drop_arg_string(req, "path"), &at);
	full = at_full(&at);
	n = by_id && !at.node ? 0 : drop_versions(by_id ? NULL : full, by_id ? at.node->id : 0, v, limit > 0 ? (size_t)limit : 10);
	if (at.node && at.ver && (!n || v[0] != at.ver))
		json_array_append_new(out, drop_meta(at.node, at.root, false));	/* it came here by a move */
	for (size_t i = 0; i < n; i++)
		json_array_append_new(out, drop_meta_ver(v[i], at.root));
	if (at.node && at.node->is_dir)
		drop_fail(req, 409, drop_tags("path", "not_file", NULL));
	else if (!json_array_size(out))
		drop_fail(req, 409, drop_tags("path", at.is_malformed ? "malformed_path" : "not_found", NULL));
	else
		drop_ok(req, json_pack("{s:b s:O s:b}", "is_deleted", !at.node, "entries", out, "has_more", false));
	json_decref(out);
	drop_at_free(&at);
}

/* The old content comes back as a new revision, with its old time. */
static json_t *
restore_write(const struct emu_req *req, struct drop_at *at, const struct drop_ver *v)
{
	struct emu_blob *blob;

	if (!drop_has_room(req, emu_blob_size(v->blob), at->node ? emu_blob_size(at->node->ver->blob) : 0))
		return NULL;
	blob = emu_blob_copy(v->blob, 0, emu_blob_size(v->blob));
	if (!blob)
		return NULL;
	return drop_meta(drop_write(at->node, at->node ? NULL : drop_make_parents(at), drop_at_name(at), blob, v->hash, v->client_s), at->root, false);
}

void
drop_restore(struct emu_req *req)
{
	const struct drop_ver *v = drop_by_rev(drop_arg_string(req, "rev"));
	WEIR_AUTO(weir_freep) char *full = NULL;
	struct drop_at at;
	json_t *e, *meta;

	drop_find(drop_of(req)->root, drop_arg_string(req, "path"), &at);
	full = at_full(&at);
	e = make_refused(req, &at);
	if (!e && at.node && at.node->is_dir)
		e = drop_conflict("folder");
	if (e)
		drop_fail(req, 409, drop_under("path_write", e));
	else if (!v || (strcmp(v->lower, full) && v != at.ver))
		drop_fail(req, 409, drop_tags("invalid_revision", NULL));
	else if (v == at.ver)
		drop_ok(req, drop_meta(at.node, at.root, false));
	else if ((meta = restore_write(req, &at, v)))
		drop_ok(req, meta);
	else
		drop_fail(req, 409, drop_tags("path_write", "insufficient_space", NULL));
	drop_at_free(&at);
}
