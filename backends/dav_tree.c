/* SPDX-License-Identifier: Apache-2.0 */
/* What moves names over WebDAV: mkdir, remove, move, copy. The traps: DELETE of a collection takes all in it, MOVE with
 * Overwrite: T removes a whole folder that stands in its way, and a lost reply must not look like a conflict. So nothing is sent
 * before a look has shown that source and target are what the caller thinks, and folders never go onto anything. */
#include "config.h"

#include "dav.h"

#include <string.h>

#include "../src/util/text.h"
#include "../src/util/util.h"

#define DAV_WRITE_STALL_MS 60000
#define DAV_COPY_STALL_MS 600000	/* the server copies the bytes before it answers */

enum weir_code
weir_dav_op_mkdir(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, struct weir_stat *out, struct weir_err *err)
{
	struct weir_dav *d = (struct weir_dav *)b;
	struct weir_dav_call c;
	struct weir_stat st = { 0 };
	enum weir_code r = weir_dav_ready(d, ctx, err);

	if (!r)
		r = weir_dav_learn(d, ctx, err);
	if (!r)
		r = weir_dav_check_name(d, w->path, err);
	if (r)
		return r;
	weir_dav_call(&c, d, "MKCOL", w->path, true);
	c.req.stall_ms = DAV_WRITE_STALL_MS;
	r = weir_dav_send(d, ctx, &c, err);
	if (!r && weir_dav_ok(&c)) {
		weir_dav_head_stat(&c.resp, &st);
		free(st.version);	/* what a folder's ETag covers is told by listings alone */
		st.version = NULL;
		st.mtime_ns = WEIR_TIME_NONE;
		st.type = WEIR_DIR;
		st.size = 0;
	} else if (!r && c.resp.status == 405) {
		r = weir_err_set(err, WEIR_E_EXIST, "'%s' is there already", w->path);
	} else if (!r) {	/* other servers say "exists" with 301, 400, 406 or 409 */
		if (c.resp.status != 507 && c.resp.status != 423 && weir_dav_stat(d, ctx, w->path, &st, NULL) == WEIR_OK)
			r = weir_err_set(err, WEIR_E_EXIST, "'%s' is there already", w->path);
		else
			r = weir_dav_refused_at(d, ctx, &c, w->path, err);
	}
	weir_dav_call_free(&c);
	if (!r && out)
		*out = st;
	else
		weir_stat_free(&st);
	return r;
}

/* ---- remove ---- */

static enum weir_code
remove_send(struct weir_dav *d, const struct weir_ctx *ctx, const struct weir_where *w, bool is_dir, const char *version, int *status,
    struct weir_err *err)
{
	struct weir_dav_call c;
	enum weir_code r;

	weir_dav_call(&c, d, "DELETE", w->path, is_dir);
	if (version)
		weir_dav_require(&c, d, (enum weir_dav_how)atomic_load(&d->how_delete), w->path, version);
	c.req.stall_ms = DAV_WRITE_STALL_MS;
	r = weir_dav_send(d, ctx, &c, err);
	if (!r && !weir_dav_ok(&c))
		r = weir_dav_refused(&c, err);
	*status = c.resp.status;
	weir_dav_call_free(&c);
	return r;
}

/* The server would take all that is in it, so it must be seen empty first. Its version is no help: it changes with every child
 * that was just removed, and servers compare versions of files only. */
static enum weir_code
remove_dir(struct weir_dav *d, const struct weir_ctx *ctx, const struct weir_where *w, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *plain = weir_dav_plain(d, w->path);
	struct weir_dav_listing l = { 0 };
	struct weir_stat st = { 0 };
	int status;
	enum weir_code r;

	if (!*w->path)
		return weir_err_set(err, WEIR_E_BUSY, "the root folder stays");
	r = weir_dav_list_url(d, ctx, weir_dav_url(d, w->path, true), plain, w->path, "<d:resourcetype/>", &l, err);
	if (r == WEIR_E_NOENT || r == WEIR_E_INVAL) {
		if (weir_dav_stat(d, ctx, w->path, &st, NULL) == WEIR_OK && st.type != WEIR_DIR)
			r = weir_err_set(err, WEIR_E_NOTDIR, "'%s' is a file", w->path);
		weir_stat_free(&st);
	}
	if (!r && l.n > 1)
		r = weir_err_set(err, WEIR_E_NOTEMPTY, "'%s' is not empty", w->path);
	weir_dav_listing_free(&l);
	return r ? r : remove_send(d, ctx, w, true, NULL, &status, err);
}

enum weir_code
weir_dav_op_remove(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, bool is_dir, struct weir_err *err)
{
	struct weir_dav *d = (struct weir_dav *)b;
	struct weir_stat st = { 0 };
	int status = 0;
	enum weir_code r = weir_dav_ready(d, ctx, err);

	if (r)
		return r;
	if (is_dir)
		return remove_dir(d, ctx, w, err);
	r = weir_dav_learn(d, ctx, err);
	/* A look first, even where the server would compare: a folder may have taken the name, and it would go with all in it. */
	if (!r)
		r = weir_dav_stat(d, ctx, w->path, &st, err);
	if (!r && st.type != WEIR_FILE)
		r = weir_err_set(err, WEIR_E_ISDIR, "'%s' is a folder", w->path);
	if (!r && w->version && w->version != WEIR_ABSENT && !weir_dav_same(w->version, st.version))
		r = weir_err_set(err, WEIR_E_CHANGED, "'%s' has another version now", w->path);
	if (!r) {
		r = remove_send(d, ctx, w, false, st.version, &status, err);
		if (r == WEIR_E_CHANGED && !w->version)
			r = remove_send(d, ctx, w, false, NULL, &status, err);
		else if (r == WEIR_E_CHANGED)
			weir_err_set(err, r, "'%s' has another version now", w->path);
	}
	weir_stat_free(&st);
	return r;
}

/* ---- move and copy ---- */

struct dav_transfer {
	struct weir_dav *d;
	const struct weir_ctx *ctx;
	const char *method;
	const struct weir_where *from, *to;
	bool is_dir, is_new;		/* nothing may be at `to` */
	struct weir_stat src;
};

/* Is what lies at `to` what `from` was? Then the reply to an earlier MOVE was lost. */
static enum weir_code
move_lost_reply(struct dav_transfer *t, struct weir_stat *out, struct weir_err *err)
{
	struct weir_stat st = { 0 };
	enum weir_code r = weir_dav_stat(t->d, t->ctx, t->to->path, &st, NULL);
	bool is_same = false;

	if (!r && (st.type == WEIR_DIR) == t->is_dir) {
		if (t->from->id && st.id)
			is_same = strcmp(t->from->id, st.id) == 0;
		else if (t->is_dir)
			is_same = true;	/* folders have no version: one is there, the other is gone */
		else
			is_same = weir_dav_same(t->from->version, st.version);
	}
	if (!is_same) {
		weir_stat_free(&st);
		return weir_err_set(err, WEIR_E_NOENT, "'%s' is not there", t->from->path);
	}
	if (out)
		*out = st;
	else
		weir_stat_free(&st);
	return WEIR_OK;
}

static enum weir_code
transfer_look_at_source(struct dav_transfer *t, struct weir_err *err)
{
	enum weir_code r = weir_dav_stat(t->d, t->ctx, t->from->path, &t->src, err);

	if (r)
		return r;
	if (t->is_dir != (t->src.type == WEIR_DIR))
		return weir_err_set(err, t->is_dir ? WEIR_E_NOTDIR : WEIR_E_ISDIR, "'%s' is a %s", t->from->path,
		    t->is_dir ? "file" : "folder");
	if (!t->is_dir && t->from->version && !weir_dav_same(t->from->version, t->src.version))
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' has another version now", t->from->path);
	return WEIR_OK;
}

static enum weir_code
transfer_look_at_target(struct dav_transfer *t, struct weir_err *err)
{
	struct weir_stat st = { 0 };
	enum weir_code r;

	if (t->is_new && atomic_load(&t->d->keeps_overwrite))
		return WEIR_OK;	/* the server refuses by itself */
	r = weir_dav_stat(t->d, t->ctx, t->to->path, &st, err);
	if (r == WEIR_E_NOENT || r == WEIR_E_NOTDIR)	/* a missing parent is the server's to say */
		return t->to->version && t->to->version != WEIR_ABSENT ?
		    weir_err_set(err, WEIR_E_CHANGED, "'%s' is gone", t->to->path) : WEIR_OK;
	if (r)
		return r;
	if (t->is_new)
		r = weir_err_set(err, WEIR_E_EXIST, "'%s' is there already", t->to->path);
	else if (st.type == WEIR_DIR)
		r = weir_err_set(err, WEIR_E_ISDIR, "'%s' is a folder", t->to->path);
	else if (t->to->version && !weir_dav_same(t->to->version, st.version))
		r = weir_err_set(err, WEIR_E_CHANGED, "'%s' has another version now", t->to->path);
	weir_stat_free(&st);
	return r;
}

static enum weir_code
transfer_send(struct dav_transfer *t, bool with_precondition, struct weir_dav_call *c, struct weir_err *err)
{
	struct weir_dav *d = t->d;
	WEIR_AUTO(weir_freep) char *dest = weir_dav_url(d, t->to->path, t->is_dir);

	weir_dav_call(c, d, t->method, t->from->path, t->is_dir);
	weir_dav_header(c, "Destination: %s", dest);
	weir_dav_header(c, "Overwrite: %s", t->is_new ? "F" : "T");
	if (with_precondition && !t->is_new && t->to->version && atomic_load(&d->how_copy) == WEIR_DAV_HOW_IF)
		weir_dav_require(c, d, WEIR_DAV_HOW_IF, t->to->path, t->to->version);
	if (!t->is_dir && atomic_load(&d->mtime_by_put) && t->src.mtime_ns != WEIR_TIME_NONE)
		weir_dav_header(c, "X-OC-Mtime: %lld", weir_dav_seconds(d, t->src.mtime_ns));
	c->req.stall_ms = DAV_COPY_STALL_MS;
	return weir_dav_send(d, t->ctx, c, err);
}

/* A refusal that is no precondition: the source was seen a moment ago, so it is the target's folder, or rights. */
static enum weir_code
transfer_refused(struct dav_transfer *t, const struct weir_dav_call *c, struct weir_err *err)
{
	size_t n = strlen(t->from->path);
	int s = c->resp.status;

	if (t->is_dir && strncmp(t->to->path, t->from->path, n) == 0 && t->to->path[n] == '/')
		return weir_err_set(err, WEIR_E_INVAL, "'%s' cannot go into itself", t->from->path);
	if (s == 404 || s == 410)
		return weir_dav_refused(c, err);
	return weir_dav_refused_at(t->d, t->ctx, c, t->to->path, err);
}

/* No answer, or one from a proxy that lost patience: the MOVE may have been done. Then the source, seen a moment ago, lies there. */
static bool
move_was_done(struct dav_transfer *t, enum weir_code r, int status)
{
	struct weir_stat st = { 0 };
	bool is = false;

	if (strcmp(t->method, "MOVE") != 0 || r == WEIR_E_AUTH || r == WEIR_E_CANCELED || (!r && status < 500))
		return false;
	if (weir_dav_stat(t->d, t->ctx, t->from->path, &st, NULL) != WEIR_E_NOENT) {
		weir_stat_free(&st);
		return false;
	}
	if (weir_dav_stat(t->d, t->ctx, t->to->path, &st, NULL) == WEIR_OK && st.type == t->src.type)
		is = st.id && t->src.id ? strcmp(st.id, t->src.id) == 0 : t->is_dir || weir_dav_same(st.version, t->src.version);
	weir_stat_free(&st);
	return is;
}

static enum weir_code
transfer(struct dav_transfer *t, struct weir_stat *out, struct weir_err *err)
{
	struct weir_dav_call c = { 0 };
	struct weir_stat st = { 0 };
	enum weir_code r = transfer_look_at_target(t, err);

	if (r)
		return r;
	r = transfer_send(t, true, &c, err);
	if (!r && c.resp.status == 412 && !t->is_new) {	/* a change since the look, or an ETag that cannot be compared just now */
		r = transfer_look_at_target(t, err);
		weir_dav_call_free(&c);
		if (!r)
			r = transfer_send(t, false, &c, err);
	}
	if ((r || c.resp.status >= 500) && move_was_done(t, r, c.resp.status))
		r = WEIR_OK;
	else if (!r && c.resp.status == 412)
		r = weir_err_set(err, t->is_new ? WEIR_E_EXIST : WEIR_E_CHANGED, "'%s' is there already", t->to->path);
	else if (!r && !weir_dav_ok(&c))
		r = transfer_refused(t, &c, err);
	weir_dav_call_free(&c);
	if (!r)
		r = weir_dav_stat(t->d, t->ctx, t->to->path, &st, err);
	if (!r && !t->is_dir && (st.type != WEIR_FILE || st.size != t->src.size))
		r = weir_err_set(err, WEIR_E_CHANGED, "'%s' was changed by someone else meanwhile", t->to->path);
	if (!r && out)
		*out = st;
	else
		weir_stat_free(&st);
	return r;
}

static enum weir_code
transfer_begin(struct dav_transfer *t, struct weir_err *err)
{
	enum weir_code r = weir_dav_ready(t->d, t->ctx, err);

	if (!r)
		r = weir_dav_learn(t->d, t->ctx, err);
	if (!r)
		r = weir_dav_check_name(t->d, t->to->path, err);
	if (!r)
		r = transfer_look_at_source(t, err);
	return r;
}

enum weir_code
weir_dav_op_move(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *from, const struct weir_where *to, bool is_dir,
    struct weir_stat *out, struct weir_err *err)
{
	struct dav_transfer t = { .d = (struct weir_dav *)b, .ctx = ctx, .method = "MOVE", .from = from, .to = to, .is_dir = is_dir,
		.is_new = is_dir || to->version == WEIR_ABSENT };
	enum weir_code r = transfer_begin(&t, err);

	if (r == WEIR_E_NOENT || r == WEIR_E_NOTDIR)
		r = r == WEIR_E_NOTDIR && t.src.type ? r : move_lost_reply(&t, out, err);
	else if (!r && strcmp(from->path, to->path) == 0 && out)
		r = weir_dav_stat(t.d, ctx, to->path, out, err);
	else if (!r && strcmp(from->path, to->path) != 0)
		r = transfer(&t, out, err);
	weir_stat_free(&t.src);
	return r;
}

enum weir_code
weir_dav_op_copy(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *from, const struct weir_where *to,
    struct weir_stat *out, struct weir_err *err)
{
	struct dav_transfer t = { .d = (struct weir_dav *)b, .ctx = ctx, .method = "COPY", .from = from, .to = to,
		.is_new = to->version == WEIR_ABSENT };
	enum weir_code r = transfer_begin(&t, err);

	if (!r)
		r = transfer(&t, out, err);
	weir_stat_free(&t.src);
	return r;
}
