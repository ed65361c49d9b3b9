/* SPDX-License-Identifier: Apache-2.0 */
/* Resumable uploads. Drive takes the bytes of a session one after the other and makes the file with the last one: there is no commit to hold
 * back, so the comparison that a commit would make happens before the last piece is sent, and again afterwards.
 *
 * An upload's id is "c FILE SIZE SESSION" (create) or "u FILE SIZE SESSION": with it another process can go on. FILE was made beforehand, so the
 * outcome can be asked for even when every answer was lost. The session's address is a secret by itself and never logged. The tag of the last
 * part is the revision that it made. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "drive_impl.h"

#define UPLOAD_ID_MAX 1000	/* what the core's journal holds */
#define UPLOAD_FIELDS "id,headRevisionId,md5Checksum"
#define UPLOAD_STEPS 256

struct upload { bool is_create; char *file, *session; uint64_t size; };

static void
upload_free(struct upload *u)
{
	free(u->file);
	weir_secret_free(u->session);
	*u = (struct upload){ 0 };
}

static enum weir_code
upload_parse(const char *id, struct upload *u, struct weir_err *err)
{
	char file[128];
	int at = 0;

	*u = (struct upload){ 0 };
	if ((id[0] != 'c' && id[0] != 'u') || sscanf(id + 1, " %127s %" SCNu64 " %n", file, &u->size, &at) != 2 || at == 0)
		return weir_err_set(err, WEIR_E_NOENT, "this is no upload of Drive's");
	u->is_create = id[0] == 'c';
	u->file = weir_xstrdup(file);
	u->session = weir_xstrdup(id + 1 + at);
	return WEIR_OK;
}

/* ---- what this process knows of a session ---- */

static void
session_free(struct drive_session *s)
{
	if (s == NULL)
		return;
	weir_digest_free(s->md5);
	weir_secret_free(s->id);
	free(s->rev);
	free(s);
}

/* Taken out while it is worked with: parts of one upload follow each other. NULL: not known here. */
static struct drive_session *
session_take(struct drive *d, const char *id)
{
	struct drive_session **p, *s;

	pthread_mutex_lock(&d->lock);
	for (p = &d->sessions; *p != NULL && strcmp((*p)->id, id) != 0; p = &(*p)->next)
		;
	s = *p;
	if (s != NULL)
		*p = s->next;
	pthread_mutex_unlock(&d->lock);
	return s;
}

static struct drive_session *
session_new(const char *id, uint64_t at)
{
	struct drive_session *s = weir_xcalloc(1, sizeof(*s));

	s->id = weir_xstrdup(id);
	s->at = at;
	s->md5 = weir_digest_new("md5");
	return s;
}

static void
session_keep(struct drive *d, struct drive_session *s)
{
	pthread_mutex_lock(&d->lock);
	s->next = d->sessions;
	d->sessions = s;
	pthread_mutex_unlock(&d->lock);
}

void
weir_drive_sessions_free(struct drive *d)
{
	while (d->sessions != NULL) {
		struct drive_session *s = d->sessions;

		d->sessions = s->next;
		session_free(s);
	}
}

/* Take the digest on to byte `to`. What an earlier process has sent is read once more: the content is at hand. */
static enum weir_code
session_sum(struct drive_session *s, struct weir_source *src, uint64_t to, struct weir_err *err)
{
	const size_t max = 256u << 10;
	WEIR_AUTO(weir_freep) char *buf = weir_xcalloc(1, max);

	while (s->summed < to) {
		ssize_t n = src->read(src, buf, to - s->summed < max ? (size_t)(to - s->summed) : max, s->summed);

		if (n <= 0)
			return weir_err_set(err, WEIR_E_IO, "what is to be sent cannot be read");
		weir_digest_add(s->md5, buf, (size_t)n);
		s->summed += (uint64_t)n;
	}
	return WEIR_OK;
}

/* ---- the protocol ---- */

static enum weir_code
session_begin(struct drive *d, const struct weir_ctx *ctx, const char *file, bool is_create, json_t *meta, const char *mime, uint64_t size,
    char **session, const char *path, struct weir_err *err)
{
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	WEIR_AUTO(weir_freep) char *text = json_dumps(meta, JSON_COMPACT), *at = is_create ? weir_xstrdup("files") : weir_drive_at("files", file, "");
	WEIR_AUTO(weir_freep) char *url = weir_xasprintf("%s/%s?uploadType=resumable&supportsAllDrives=true&fields=" UPLOAD_FIELDS, d->upload_url, at);
	WEIR_AUTO(weir_freep) char *type = weir_xasprintf("X-Upload-Content-Type: %s", mime);
	struct drive_req q = { .method = is_create ? "POST" : "PATCH", .url = url, .body = text, .body_len = text == NULL ? 0 : strlen(text) };
	char length[64], to[4096];
	WEIR_AUTO(weir_freep) char *host = NULL;
	enum weir_code r;

	json_decref(meta);
	if (text == NULL)
		return weir_err_set(err, WEIR_E_NAME, "upload '%s': the name is no text", path);
	snprintf(length, sizeof(length), "X-Upload-Content-Length: %" PRIu64, size);
	q.headers[0] = "Content-Type: application/json; charset=UTF-8";
	q.headers[1] = type;
	q.headers[2] = length;
	r = weir_drive_do(d, ctx, &q, &resp, "begin upload of", path, err);
	if (r != WEIR_OK)
		return r;
	if (weir_http_header(&resp, "Location", to, sizeof(to)) == NULL || (host = weir_http_url_host(to)) == NULL || strpbrk(to, " \t") != NULL)
		return weir_err_set(err, WEIR_E_PROTO, "begin upload of '%s': no address for the bytes in the answer", path);
	*session = weir_xstrdup(to);
	return WEIR_OK;
}

struct piece { uint64_t from, to; bool is_question; };	/* bytes [from, to) */
struct kept { uint64_t at; bool is_done; char *rev, *md5; };

static void
kept_free(struct kept *k)
{
	free(k->rev);
	free(k->md5);
	*k = (struct kept){ 0 };
}

/* One PUT to the session: bytes, or the question what is there. NOENT: forgotten. */
static enum weir_code
session_put(struct drive *d, const struct weir_ctx *ctx, const char *session, const struct piece *p, uint64_t total, struct weir_source *src,
    struct kept *k, const char *path, struct weir_err *err)
{
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	struct drive_req q = { .method = "PUT", .url = session, .source = p->to > p->from ? src : NULL, .source_off = p->from,
		.body_len = p->to - p->from, .has_body = true, .stall_ms = p->to == total ? DRIVE_THINK_MS : 0 };
	char range[96], v[96];
	json_t *o;
	enum weir_code r;

	kept_free(k);
	if (p->is_question)
		snprintf(range, sizeof(range), "Content-Range: bytes */%" PRIu64, total);
	else
		snprintf(range, sizeof(range), "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, p->from, p->to - 1, total);
	q.headers[0] = p->is_question || p->to > p->from ? range : NULL;
	r = weir_drive_call(d, ctx, &q, &resp, err);
	if (r != WEIR_OK)
		return r == WEIR_E_AUTH ? r : weir_err_wrap(err, r, "upload '%s'", path);
	if (resp.status == 308) {
		k->at = weir_drive_range_kept(weir_http_header(&resp, "Range", v, sizeof(v)));
		return k->at <= total ? WEIR_OK : weir_err_set(err, WEIR_E_NOENT, "upload '%s': Drive has more of it than there is", path);
	}
	if (resp.status != 200 && resp.status != 201) {
		r = weir_drive_fail(d, &resp, "upload", path, err);
		return r == WEIR_E_INVAL || r == WEIR_E_PROTO ? WEIR_E_NOENT : r;	/* the session is spoilt: begin anew */
	}
	o = weir_drive_json_load(weir_buf_str(&resp.body), resp.body.len);
	k->at = total;
	k->is_done = true;
	k->rev = weir_xstrdup(weir_drive_json_text(o, "headRevisionId"));
	k->md5 = weir_xstrdup(weir_drive_json_text(o, "md5Checksum"));
	json_decref(o);
	return WEIR_OK;
}

static enum weir_code
session_ask(struct drive *d, const struct weir_ctx *ctx, const struct upload *u, struct kept *k, const char *path, struct weir_err *err)
{
	const struct piece question = { .is_question = true };

	return session_put(d, ctx, u->session, &question, u->size, NULL, k, path, err);
}

/* Bytes [s->at, end). The server may keep less than it was sent: then from there on. */
static enum weir_code
session_send(struct drive *d, const struct weir_ctx *ctx, const struct upload *u, struct drive_session *s, struct weir_source *src, uint64_t end,
    struct kept *k, const char *path, struct weir_err *err)
{
	for (int step = 0, idle = 0; s->at < end || (end == u->size && !k->is_done); step++) {
		/* All sent and no word yet: ask. A file of no bytes is made by an empty body. */
		const struct piece p = { .from = s->at, .to = end, .is_question = s->at == end && end > 0 };
		enum weir_code r = session_put(d, ctx, u->session, &p, u->size, src, k, path, err);

		if (r != WEIR_OK)
			return r;
		if (k->at > end || (k->at < s->at && !k->is_done))
			return weir_err_set(err, WEIR_E_NOENT, "upload '%s': Drive has lost a part of it", path);
		idle = k->at > s->at ? 0 : idle + 1;
		s->at = k->at;
		if (idle > 3 || step > UPLOAD_STEPS)
			return weir_err_set(err, WEIR_E_SERVER, "upload '%s': Drive keeps nothing of what it is sent", path);
	}
	return WEIR_OK;
}

/* ---- begin ---- */

static enum weir_code
begin_meta(struct drive *d, const struct weir_ctx *ctx, const struct weir_where *w, const struct weir_meta *meta, const char *parent,
    const char *leaf, struct upload *u, json_t *o, char **mime, struct weir_err *err)
{
	WEIR_AUTO(weir_drive_item_free) struct drive_item it = { 0 };
	WEIR_AUTO(weir_freep) char *name = NULL;
	const struct drive_file *to;
	struct drive_file folder = { 0 };
	enum weir_code r = weir_drive_find(d, ctx, w, &it, err);

	if (r == WEIR_OK) {
		to = weir_drive_content(&it);
		if (weir_drive_is_folder(to) || weir_drive_is_doc(to))
			return weir_err_set(err, weir_drive_is_folder(to) ? WEIR_E_CHANGED : WEIR_E_ACCES, "'%s' holds no bytes", w->path);
		r = weir_drive_is_version(w, &it, err);
		u->file = weir_xstrdup(to->id);
		if (to->mime != NULL && strncmp(to->mime, DRIVE_APPS, strlen(DRIVE_APPS)) != 0 && strpbrk(to->mime, "\r\n") == NULL)
			*mime = weir_xstrdup(to->mime);
		weir_drive_meta_json(o, meta, WEIR_FILE, to);
		return r;
	}
	if (r == WEIR_E_NOENT && w->version != NULL && w->version != WEIR_ABSENT)
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' was removed meanwhile", w->path);
	if (r != WEIR_E_NOENT)
		return r;
	if (*parent == '\0')
		return weir_err_set(err, WEIR_E_ACCES, "nothing can be made in '%s': it is a list, not a folder", d->name);
	/* A folder in the trash would take it all. */
	r = weir_drive_file_get(d, ctx, parent, w->path, &folder, err);
	weir_drive_file_free(&folder);
	if (r == WEIR_OK)
		r = weir_drive_name_hold(leaf, strlen(leaf), &name, err);
	if (r == WEIR_OK)
		r = weir_drive_id_take(d, ctx, &u->file, err);
	if (r != WEIR_OK)
		return r;
	u->is_create = true;
	json_object_set_new(o, "id", json_string(u->file));
	json_object_set_new(o, "name", json_string(name));
	json_object_set_new(o, "parents", json_pack("[s]", parent));
	weir_drive_meta_json(o, meta, WEIR_FILE, NULL);
	return WEIR_OK;
}

enum weir_code
weir_drive_upload_begin(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, uint64_t size,
    const struct weir_meta *meta, char **id, struct weir_err *err)
{
	struct drive *d = (struct drive *)be;
	WEIR_AUTO(upload_free) struct upload u = { .size = size };
	WEIR_AUTO(weir_freep) char *parent = NULL, *mime = NULL;
	WEIR_AUTO(weir_secret_freep) char *text = NULL;
	json_t *o;
	const char *leaf;
	enum weir_code r;

	if (size > DRIVE_FILE_MAX)
		return weir_err_set(err, WEIR_E_FBIG, "'%s' is larger than 5 TiB", w->path);
	r = weir_drive_parent(d, ctx, w, &parent, &leaf, err);
	if (r != WEIR_OK)
		return r;
	o = json_object();
	r = begin_meta(d, ctx, w, meta, parent, leaf, &u, o, &mime, err);
	if (r != WEIR_OK) {
		json_decref(o);
		return r;
	}
	r = session_begin(d, ctx, u.file, u.is_create, o, mime == NULL ? "application/octet-stream" : mime, size, &u.session, w->path, err);
	if (r != WEIR_OK)
		return r;
	text = weir_xasprintf("%c %s %" PRIu64 " %s", u.is_create ? 'c' : 'u', u.file, size, u.session);
	if (strlen(text) > UPLOAD_ID_MAX)
		return weir_err_set(err, WEIR_E_PROTO, "begin upload of '%s': the address for the bytes is too long", w->path);
	session_keep(d, session_new(text, 0));
	*id = WEIR_STEAL(text);
	return WEIR_OK;
}

/* ---- parts ---- */

/* The last piece makes the file: is what it replaces still what the core believes? is_asked: what the server holds is known to be less than all. */
static enum weir_code
part_compare(struct drive *d, const struct weir_ctx *ctx, const struct weir_where *w, const struct upload *u, const char *parent, const char *leaf,
    struct weir_err *err)
{
	WEIR_AUTO(weir_drive_item_free) struct drive_item it = { 0 };
	enum weir_code r;

	if (w->version == NULL)
		return WEIR_OK;
	if (!u->is_create) {
		r = weir_drive_file_get(d, ctx, u->file, w->path, &it.f, err);
		if (r == WEIR_E_NOENT)
			return weir_err_set(err, WEIR_E_CHANGED, "'%s' was removed meanwhile", w->path);
		return r != WEIR_OK ? r : weir_drive_is_version(w, &it, err);
	}
	r = weir_drive_lookup(d, ctx, parent, leaf, w->path, &it, err);
	if (r == WEIR_E_NOENT)
		return w->version == WEIR_ABSENT ? WEIR_OK : weir_err_set(err, WEIR_E_CHANGED, "'%s' was removed meanwhile", w->path);
	return r != WEIR_OK ? r : weir_err_set(err, WEIR_E_CHANGED, "'%s' was made meanwhile", w->path);
}

/* All bytes are there: are they ours? */
static enum weir_code
part_done(struct drive *d, const struct weir_ctx *ctx, const struct weir_where *w, const struct upload *u, struct drive_session *s,
    struct weir_source *src, const struct kept *k, struct weir_err *err)
{
	unsigned char md5[64];
	char hex[2 * WEIR_MD5_LEN + 1];
	const char *base = w->version == NULL || w->version == WEIR_ABSENT ? NULL : strchr(w->version, ':');
	enum weir_code r = session_sum(s, src, u->size, err);

	if (r != WEIR_OK)
		return r;
	weir_digest_end(WEIR_STEAL(s->md5), md5);
	weir_hex(md5, WEIR_MD5_LEN, hex);
	s->rev = weir_xstrdup(k->rev);
	if (k->md5 == NULL || strcmp(k->md5, hex) == 0)
		return WEIR_OK;
	/* Nobody is to take that for the file. */
	if (u->is_create)
		weir_drive_trash(d, ctx, u->file, true, NULL, w->path, NULL);
	else if (base != NULL)
		weir_drive_restore(d, ctx, u->file, base + 1, NULL, w->path, NULL);
	return weir_err_set(err, WEIR_E_BADSUM, "upload '%s': sent MD5 %s, Drive has %s", w->path, hex, k->md5);
}

static enum weir_code
part_send(struct drive *d, const struct weir_ctx *ctx, const struct weir_where *w, const struct upload *u, struct drive_session *s,
    struct weir_source *src, uint64_t off, uint64_t end, const char *parent, const char *leaf, struct kept *k, struct weir_err *err)
{
	enum weir_code r = WEIR_OK;

	if (s->at < off)
		return weir_err_set(err, WEIR_E_NOENT, "upload '%s': Drive has lost a part of it", w->path);
	if (end == u->size && !k->is_done) {
		r = part_compare(d, ctx, w, u, parent, leaf, err);
		weir_drive_head_forget(d, u->file);
	}
	if (r == WEIR_OK && !k->is_done)
		r = session_send(d, ctx, u, s, src, end, k, w->path, err);
	if (r == WEIR_OK && end == u->size) {
		if (u->is_create)	/* it is there from now on */
			weir_drive_note_made(d, parent, leaf, u->file);
		return part_done(d, ctx, w, u, s, src, k, err);
	}
	return r != WEIR_OK ? r : session_sum(s, src, end, err);
}

enum weir_code
weir_drive_upload_part(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, const char *id, uint32_t number,
    struct weir_source *src, uint64_t off, uint64_t len, uint64_t total, char **tag, struct weir_err *err)
{
	struct drive *d = (struct drive *)be;
	WEIR_AUTO(upload_free) struct upload u = { 0 };
	WEIR_AUTO(kept_free) struct kept k = { 0 };
	WEIR_AUTO(weir_freep) char *parent = NULL;
	struct drive_session *s;
	const char *leaf;
	char *busy = NULL;
	enum weir_code r = upload_parse(id, &u, err);

	if (r == WEIR_OK && (total != u.size || off > total || len > total - off || (off + len < total && (off + len) % DRIVE_QUANTUM != 0)))
		return weir_err_set(err, WEIR_E_INVAL, "part %" PRIu32 " of '%s' is none of this upload's", number, w->path);
	if (r == WEIR_OK)
		r = weir_drive_parent(d, ctx, w, &parent, &leaf, err);
	if (r != WEIR_OK)
		return r;
	s = session_take(d, id);
	if (s == NULL) {
		r = session_ask(d, ctx, &u, &k, w->path, err);
		if (r != WEIR_OK)
			return r;
		s = session_new(id, k.at);
	}
	if (off + len == total)
		busy = weir_drive_enter(d, parent, leaf);
	if (s->at < off + len || off + len == total)
		r = part_send(d, ctx, w, &u, s, src, off, off + len, parent, leaf, &k, err);
	if (busy != NULL)
		weir_drive_leave(d, busy);
	if (r != WEIR_OK) {	/* what arrived of it is asked for next time */
		session_free(s);
		return r;
	}
	*tag = weir_xstrdup(off + len == total && s->rev != NULL ? s->rev : "");
	if (off + len < total)
		session_keep(d, s);
	else
		session_free(s);
	return WEIR_OK;
}

/* ---- status, commit, abort ---- */

enum weir_code
weir_drive_upload_status(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, const char *id,
    enum weir_code (*fn)(void *arg, uint32_t number, uint64_t size, const char *tag), void *arg, struct weir_err *err)
{
	struct drive *d = (struct drive *)be;
	WEIR_AUTO(upload_free) struct upload u = { 0 };
	WEIR_AUTO(kept_free) struct kept k = { 0 };
	uint32_t whole, n;
	enum weir_code r = upload_parse(id, &u, err);

	if (r == WEIR_OK)
		r = session_ask(d, ctx, &u, &k, w->path, err);
	if (r != WEIR_OK)
		return r;
	/* All parts but the last have one size (be.limits says so): what is kept beyond whole ones is gone on with in upload_part(). */
	whole = (uint32_t)(k.at / DRIVE_PART);
	for (n = 1; r == WEIR_OK && n <= whole; n++)
		r = fn(arg, n, DRIVE_PART, k.is_done && n * DRIVE_PART == u.size && k.rev != NULL ? k.rev : "");
	if (r == WEIR_OK && k.is_done && u.size % DRIVE_PART != 0)
		r = fn(arg, n, u.size % DRIVE_PART, k.rev == NULL ? "" : k.rev);
	return r;
}

/* Is the file, as it is now, what this upload made? */
static bool
commit_is_ours(const struct drive_file *f, const struct upload *u, const char *tag, const struct weir_meta *meta)
{
	if (f->size != u->size)
		return false;
	if (tag != NULL && *tag != '\0' && f->rev != NULL)
		return strcmp(tag, f->rev) == 0;
	/* The answer to the last part was lost, and so was its revision. */
	return meta != NULL && meta->mtime_ns != WEIR_TIME_NONE && f->modified_ns != WEIR_TIME_NONE && meta->mtime_ns / 1000000 == f->modified_ns / 1000000;
}

enum weir_code
weir_drive_upload_commit(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, const char *id,
    const char *const *tags, uint32_t ntags, uint64_t size, const struct weir_meta *meta, const char *sum, struct weir_stat *st, struct weir_err *err)
{
	struct drive *d = (struct drive *)be;
	WEIR_AUTO(upload_free) struct upload u = { 0 };
	WEIR_AUTO(weir_drive_item_free) struct drive_item it = { 0 };
	WEIR_AUTO(weir_freep) char *parent = NULL, *now = NULL;
	const char *leaf;
	bool names_one = w->version != NULL && w->version != WEIR_ABSENT;
	enum weir_code r = upload_parse(id, &u, err);

	if (r == WEIR_OK)
		r = weir_drive_parent(d, ctx, w, &parent, &leaf, err);
	if (r == WEIR_OK)
		r = weir_drive_file_get(d, ctx, u.file, w->path, &it.f, err);
	if (r == WEIR_E_NOENT && !u.is_create)
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' was removed meanwhile", w->path);
	if (r != WEIR_OK)
		return r;
	now = weir_drive_version(&it.f);
	if (size != u.size || !commit_is_ours(&it.f, &u, ntags > 0 ? tags[ntags - 1] : NULL, meta)) {
		if (w->version == NULL || (names_one && now != NULL && strcmp(now, w->version) == 0))
			return weir_err_set(err, WEIR_E_NOENT, "the upload of '%s' is not there any more", w->path);
		return weir_err_set(err, WEIR_E_CHANGED, "'%s' changed on Drive meanwhile", w->path);
	}
	if (sum != NULL && strncmp(sum, "md5:", 4) == 0 && it.f.md5 != NULL && strcmp(sum + 4, it.f.md5) != 0)
		return weir_err_set(err, WEIR_E_BADSUM, "upload of '%s': %s was meant, Drive has %s", w->path, sum, it.f.md5);
	if (!u.is_create && names_one)
		r = weir_drive_after(d, ctx, u.file, w->version, now, w->path, err);
	if (r != WEIR_OK)
		return r;
	if (u.is_create)
		weir_drive_note_made(d, parent, leaf, u.file);
	if (st != NULL) {
		weir_drive_stat_of(d, &it, st);
		if (w->id != NULL) {
			free(st->id);
			st->id = weir_xstrdup(w->id);
		}
	}
	return WEIR_OK;
}

/* Google answers 499 to a session that is given up. */
enum weir_code
weir_drive_upload_abort(struct weir_backend *be, const struct weir_ctx *ctx, const struct weir_where *w, const char *id, struct weir_err *err)
{
	struct drive *d = (struct drive *)be;
	WEIR_AUTO(weir_http_resp_free) struct weir_http_resp resp = { 0 };
	WEIR_AUTO(upload_free) struct upload u = { 0 };
	struct drive_req q = { .method = "DELETE" };
	enum weir_code r;

	session_free(session_take(d, id));
	if (upload_parse(id, &u, NULL) != WEIR_OK)
		return WEIR_OK;
	q.url = u.session;
	r = weir_drive_call(d, ctx, &q, &resp, err);
	if (r != WEIR_OK || resp.status < 500)
		return r == WEIR_OK && (resp.status == 429 || resp.status == 401) ? weir_drive_fail(d, &resp, "abort upload of", w->path, err) : r;
	return weir_drive_fail(d, &resp, "abort upload of", w->path, err);
}

enum weir_code
weir_drive_send_whole(struct drive *d, const struct weir_ctx *ctx, const char *id, struct weir_source *src, uint64_t size, int64_t mtime_ns,
    const char *path, struct weir_err *err)
{
	const struct weir_meta meta = { mtime_ns, WEIR_MODE_NONE };
	WEIR_AUTO(upload_free) struct upload u = { .size = size };
	WEIR_AUTO(kept_free) struct kept k = { 0 };
	struct drive_session s = { 0 };
	json_t *o = json_object();
	enum weir_code r;

	weir_drive_meta_json(o, &meta, WEIR_FILE, NULL);
	r = session_begin(d, ctx, id, false, o, "application/octet-stream", size, &u.session, path, err);
	if (r == WEIR_OK)
		r = session_send(d, ctx, &u, &s, src, size, &k, path, err);
	weir_drive_head_forget(d, id);
	return r;
}
