/* SPDX-License-Identifier: Apache-2.0 */
/* Files in one request, and what it means when the server says that something else is there. A put that is alone goes as one files/upload; puts at
 * the same time send their bytes into sessions of their own and become files together (dropbox_commit.c), because every single commit
 * takes the account's write lock. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dropbox_impl.h"

json_t *
weir_dropbox_file_commit(const struct dropbox_file *f)
{
	struct weir_where w = *f->where;

	if (f->rev != NULL)
		w.version = f->rev;
	return weir_dropbox_commit_json(f->at, &w, f->meta);
}

static bool
put_has_hash(const struct weir_stat *st, const char *hash)
{
	return st->sum != NULL && strcmp(st->sum + strlen("dropbox:"), hash) == 0;
}

enum weir_code
weir_dropbox_arrived(const struct dropbox_file *f, const json_t *metadata, struct weir_stat *st, struct weir_err *err)
{
	struct weir_stat got = { 0 };
	bool is_deleted;
	enum weir_code r = weir_dropbox_stat_of_json(metadata, &got, &is_deleted, err);

	if (r == WEIR_OK && (got.type != WEIR_FILE || got.size != f->size || !put_has_hash(&got, f->hash)))
		r = weir_err_set(err, WEIR_E_BADSUM, "put '%s': sent %" PRIu64 " bytes with content_hash %s, the server has %" PRIu64 ", %s",
		    f->where->path, f->size, f->hash, got.size, got.sum != NULL ? got.sum : "no hash");
	free(WEIR_STEAL(got.path));
	if (r == WEIR_OK) {
		*st = got;
		return WEIR_OK;
	}
	weir_stat_free(&got);
	return r;
}

/* ---- refused: by whom? ---- */

/* Of something else at the place. */
static enum weir_code
put_taken(struct dropbox *s, const struct weir_ctx *ctx, struct dropbox_file *f, const struct weir_stat *now, enum weir_code why,
    struct weir_err *err)
{
	const char *version = f->where->version, *path = f->where->path, *leaf = weir_dropbox_leaf(path);
	bool is_same = false;
	enum weir_code r;

	if (now->type == WEIR_DIR)
		return weir_err_set(err, version == WEIR_ABSENT ? WEIR_E_EXIST : WEIR_E_ISDIR, "'%s' is a directory on the server", path);
	if (version == WEIR_ABSENT && now->path != NULL && strcmp(now->path, leaf) != 0)
		return weir_err_set(err, WEIR_E_EXIST, "'%s' cannot be beside '%s': Dropbox makes no difference between them", leaf, now->path);
	if (why == WEIR_E_NOENT)
		return why;
	if (version == WEIR_ABSENT)
		return weir_err_set(err, WEIR_E_EXIST, "'%s' is there already", path);
	if (version != NULL && f->rev == NULL && now->version != NULL && strcmp(now->version, version) != 0) {
		r = weir_dropbox_is_same(s, ctx, version, now, &is_same, err);
		if (r == WEIR_OK && is_same) {
			f->rev = weir_xstrdup(now->version);
			return WEIR_E_BUSY;
		}
		if (r != WEIR_OK)
			return r;
	}
	return weir_err_set(err, WEIR_E_CHANGED, "'%s' changed on the server meanwhile", path);
}

enum weir_code
weir_dropbox_conflict(struct dropbox *s, const struct weir_ctx *ctx, struct dropbox_file *f, enum weir_code why, struct weir_stat *st,
    struct weir_err *err)
{
	WEIR_AUTO(weir_stat_free) struct weir_stat now = { 0 };
	WEIR_AUTO(weir_freep) char *name = weir_dropbox_name_shown(weir_dropbox_leaf(f->at));
	enum weir_code r = weir_dropbox_look(s, ctx, f->at, f->where->path, &now, NULL, NULL);

	if (r == WEIR_E_NOENT)
		return why == WEIR_E_NOENT ? why : weir_err_set(err, WEIR_E_CHANGED, "'%s' is gone from the server", f->where->path);
	if (r != WEIR_OK)
		return weir_err_set(err, r, "'%s': what is there now cannot be looked at", f->where->path);
	/* The same bytes under the same name: our own earlier try, or somebody's who wrote just this. Either way nothing is left to do. */
	if (now.type == WEIR_FILE && put_has_hash(&now, f->hash) && name != NULL && now.path != NULL && strcmp(name, now.path) == 0) {
		free(WEIR_STEAL(now.path));
		*st = now;
		now = (struct weir_stat){ 0 };
		return WEIR_OK;
	}
	return put_taken(s, ctx, f, &now, why, err);
}

/* ---- sending ---- */

static enum weir_code
put_direct(struct dropbox *s, const struct weir_ctx *ctx, const struct dropbox_file *f, struct weir_source *src, json_t **answer,
    struct dropbox_error *e, struct weir_err *err)
{
	struct dropbox_req q = { .style = DROPBOX_UPLOAD, .route = "files/upload", .arg = weir_dropbox_file_commit(f), .source = src,
		.source_len = f->size, .what = "put", .path = f->where->path, .error = e, .stall_ms = DROPBOX_THINK_MS };

	json_object_set_new(q.arg, "content_hash", json_string(f->hash));
	return weir_dropbox_call(s, ctx, &q, answer, NULL, err);
}

static enum weir_code
put_session(struct dropbox *s, const struct weir_ctx *ctx, const struct dropbox_file *f, struct weir_source *src, char **session,
    struct weir_err *err)
{
	struct dropbox_req q = { .style = DROPBOX_UPLOAD, .route = "files/upload_session/start",
		.arg = json_pack("{s:b, s:s}", "close", 1, "content_hash", f->hash), .source = src, .source_len = f->size, .what = "put",
		.path = f->where->path, .stall_ms = DROPBOX_THINK_MS };
	json_t *j = NULL;
	enum weir_code r = weir_dropbox_call(s, ctx, &q, &j, NULL, err);

	if (r == WEIR_OK)
		*session = weir_xstrdup(json_string_value(json_object_get(j, "session_id")));
	json_decref(j);
	if (r == WEIR_OK && *session == NULL)
		r = weir_err_set(err, WEIR_E_PROTO, "put '%s': no session_id in the answer", f->where->path);
	return r;
}

static enum weir_code
put_send(struct dropbox *s, const struct weir_ctx *ctx, const struct dropbox_file *f, struct weir_source *src, bool is_alone, json_t **answer,
    struct dropbox_error *e, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *session = NULL;
	enum weir_code r;

	if (is_alone)
		return put_direct(s, ctx, f, src, answer, e, err);
	r = put_session(s, ctx, f, src, &session, err);
	if (r != WEIR_OK)
		return r;
	r = weir_dropbox_commit(s, ctx, f, session, answer, e, err);
	/* of a session this young: an earlier finish arrived without its answer, or the server lost it; the repetition tells */
	return r == WEIR_E_NOENT ? weir_err_set(err, WEIR_E_SERVER, "put '%s': the server has lost what was sent", f->where->path) : r;
}

static enum weir_code
put_try(struct dropbox *s, const struct weir_ctx *ctx, struct dropbox_file *f, struct weir_source *src, bool is_alone, struct weir_stat *st,
    struct weir_err *err)
{
	struct dropbox_error e = { .retry_after_ms = -1 };
	json_t *answer = NULL;
	enum weir_code r = put_send(s, ctx, f, src, is_alone, &answer, &e, err);

	if (r == WEIR_OK)
		r = weir_dropbox_arrived(f, answer, st, err);
	else if (r == WEIR_E_EXIST)
		r = weir_dropbox_conflict(s, ctx, f, r, st, err);
	json_decref(answer);
	weir_dropbox_error_clear(&e);
	return r;
}

static bool
put_enter(struct dropbox *s)
{
	bool is_alone;

	pthread_mutex_lock(&s->write_lock);
	is_alone = s->puts++ == 0;
	pthread_mutex_unlock(&s->write_lock);
	return is_alone;
}

static void
put_leave(struct dropbox *s)
{
	pthread_mutex_lock(&s->write_lock);
	s->puts--;
	pthread_mutex_unlock(&s->write_lock);
}

enum weir_code
weir_dropbox_put(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, enum weir_type type, struct weir_source *src,
    uint64_t size, const struct weir_meta *meta, const char *sum, struct weir_stat *st, struct weir_err *err)
{
	struct dropbox *s = (struct dropbox *)be;
	struct dropbox_file f = { .where = w, .meta = meta, .size = size };
	struct weir_stat done = { 0 };
	bool is_alone;
	enum weir_code r;

	if (type != WEIR_FILE)
		return weir_err_set(err, WEIR_E_NOTSUP, "Dropbox holds files only");
	if (w->path[0] == '\0')
		return weir_err_set(err, WEIR_E_ISDIR, "the root is a directory");
	r = weir_dropbox_path(s, w->path, true, &f.at, err);
	if (r == WEIR_OK)
		r = weir_dropbox_hash_source(src, 0, size, f.hash, NULL, err);
	if (r != WEIR_OK) {
		free(f.at);
		return r;
	}
	is_alone = put_enter(s);
	r = put_try(s, ctx, &f, src, is_alone, &done, err);
	if (r == WEIR_E_BUSY)
		r = put_try(s, ctx, &f, src, is_alone, &done, err);
	put_leave(s);
	if (r == WEIR_OK && st != NULL)
		*st = done;
	else
		weir_stat_free(&done);
	free(f.at);
	free(f.rev);
	return r;
}
