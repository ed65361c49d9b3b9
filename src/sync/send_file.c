/* SPDX-License-Identifier: Apache-2.0 */
/* Sending one file: freeze a version, say in the journal what is about to arrive, send it whole or in parts, settle the row. */
#include "config.h"

#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PART_BYTES (16ull << 20)
#define SUM_MAX (64ull << 20)		/* up to here the whole file's MD5 is known before it is sent */
#define PART_HELPERS 7

struct frozen_source { struct weir_source src; struct weir_content *c; const char *text; };

static ssize_t
frozen_read(struct weir_source *s, void *buf, size_t len, uint64_t off)
{
	struct frozen_source *f = (struct frozen_source *)s;
	size_t n;

	if (f->c)
		return weir_content_read_frozen(f->c, buf, len, off);
	n = strlen(f->text);
	if (off >= n)
		return 0;
	if (len > n - off)
		len = (size_t)(n - off);
	memcpy(buf, f->text + off, len);
	return (ssize_t)len;
}

struct put {
	struct weir_remote *r;
	struct send_job *j;
	struct weir_content *c;
	struct frozen_source source;
	struct weir_where where;
	struct weir_meta meta;
	struct weir_ctx ctx;
	uint64_t size;
	uint32_t wgen;
	bool has_sum;
	char sum[48];			/* "md5:…" */
	char version[WEIR_ID_MAX + 1];	/* of our own earlier try, when that is what this one replaces */
	char link[4096];
};

/* ---- what goes ---- */

static enum weir_code
put_sum(struct put *p, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *buf = NULL;
	struct weir_digest *d;
	unsigned char md[64];
	uint64_t off = 0;
	size_t n;

	if (p->size > SUM_MAX)
		return WEIR_OK;
	buf = malloc(WEIR_PAGE);
	d = weir_digest_new("md5");
	if (!buf || !d) {
		weir_digest_free(d);
		return weir_err_set(err, WEIR_E_NOMEM, "cannot hash");
	}
	while (off < p->size) {
		ssize_t got = p->source.src.read(&p->source.src, buf, WEIR_PAGE, off);

		if (got <= 0) {
			weir_digest_free(d);
			return weir_err_set(err, errno == EAGAIN ? WEIR_E_BUSY : WEIR_E_IO, "cannot read the cached content");
		}
		weir_digest_add(d, buf, (size_t)got);
		off += (uint64_t)got;
	}
	n = weir_digest_end(d, md);
	memcpy(p->sum, "md5:", 4);
	weir_hex(md, n, p->sum + 4);
	p->has_sum = true;
	return WEIR_OK;
}

/* Everything of the version must be here and be what was written, before a byte of it goes out. */
static enum weir_code
put_prepare_content(struct put *p, struct weir_err *err)
{
	struct weir_store *st = p->r->sy->st;
	uint64_t pages;
	bool dropped;
	enum weir_code r;

	if (!weir_content_check_complete(p->c)) {
		weir_sync_fetch_all(p->r->sy, p->c);
		return p->c->is_stale ? weir_err_set(err, WEIR_E_STALE, "the version this file was changed from is gone before all of it was here") : WEIR_E_BUSY;
	}
	weir_store_unlock(st);
	r = weir_content_seal(p->c, err);
	weir_store_lock(st);
	pages = weir_content_npages(p->c);
	if (!r && pages) {
		weir_store_unlock(st);
		r = weir_content_verify(p->c, 0, pages - 1, &dropped, err);
		weir_store_lock(st);
	}
	if (!r && !p->c->is_complete)
		r = WEIR_E_BUSY;
	return r ? r : weir_content_freeze(p->c, err);
}

static enum weir_code
put_prepare(struct put *p, struct weir_err *err)
{
	struct weir_store *st = p->r->sy->st;
	struct weir_node *n = &p->j->node;
	size_t len = 0;
	enum weir_code r;

	if ((r = weir_node_get(st, n->id, n)))
		return WEIR_E_BUSY;
	p->source.src.read = frozen_read;
	if (n->type == WEIR_LINK && !weir_xattr_get(st, n->id, "!link", p->link, sizeof(p->link) - 1, &len)) {
		p->link[len] = 0;
		p->source.text = p->link;
		p->size = len;
	} else {
		if ((r = weir_content_get(st, n, &p->c, err)))
			return r;
		if (!p->c) {
			p->source.text = "";
			p->size = 0;
		} else {
			if ((r = put_prepare_content(p, err)))
				return r;
			p->source.c = p->c;
			p->size = p->c->frozen->size;
			p->wgen = p->c->wgen;
			if (p->c->is_attr_dirty)
				n->mtime_ns = p->c->mtime_ns;
		}
	}
	p->meta.mtime_ns = n->mtime_ns;
	p->meta.mode = n->mode;
	return WEIR_OK;
}

/* ---- parts ---- */

struct parts {
	struct put *p;
	struct weir_upload_row row;
	uint32_t count, end, next;	/* guarded by the store's lock from here on; end: parts from there on are not begun yet */
	char **tags;
	unsigned helpers;
	enum weir_code code;
	struct weir_err err;
	pthread_cond_t done;
};
struct part_job { struct job job; struct parts *ps; };

static uint32_t
part_take(struct parts *ps)
{
	while (ps->next < ps->end && ps->tags[ps->next])
		ps->next++;
	return ps->code || ps->next >= ps->end ? 0 : ++ps->next;
}

/* Lock held at entry and exit. */
static void
parts_work(struct parts *ps)
{
	struct put *p = ps->p;
	struct weir_store *st = p->r->sy->st;
	uint32_t number;

	while ((number = part_take(ps))) {
		uint64_t off = (uint64_t)(number - 1) * ps->row.part_bytes;
		uint64_t len = p->size - off < ps->row.part_bytes ? p->size - off : ps->row.part_bytes;
		struct weir_err err = { 0 };
		char *tag = NULL;
		enum weir_code r;

		weir_store_unlock(st);
		r = p->r->be->ops->upload_part(p->r->be, &p->ctx, &p->where, ps->row.id, number, &p->source.src, off, len, p->size, &tag, &err);
		weir_store_lock(st);
		if (r && !ps->code) {
			ps->code = r;
			ps->err = err;
		}
		if (r) {
			free(tag);
			continue;
		}
		ps->tags[number - 1] = tag ? tag : weir_xstrdup("");
		p->r->sent_bytes += len;
		if (!weir_store_begin(st, NULL)) {
			if (weir_upload_part_put(st, p->j->node.id, number, ps->tags[number - 1], NULL))
				weir_store_rollback(st);
			else
				weir_store_commit(st, NULL);
		}
	}
}

static void
part_run(struct weir_remote *r, struct job *job)
{
	struct part_job *pj = (struct part_job *)job;
	struct weir_store *st = r->sy->st;

	weir_store_lock(st);
	parts_work(pj->ps);
	pj->ps->helpers--;
	pthread_cond_broadcast(&pj->ps->done);
	weir_store_unlock(st);
	free(pj);
}

static uint64_t
part_size(const struct weir_limits *lim, uint64_t size)
{
	uint64_t bytes = PART_BYTES, mib = 1 << 20;

	if (lim->part_max && bytes > lim->part_max)
		bytes = lim->part_max;
	if (bytes < lim->part_min)
		bytes = lim->part_min;
	if (lim->parts_max && size / bytes >= lim->parts_max)
		bytes = (size / lim->parts_max + mib) / mib * mib;
	return bytes;
}

static void
tag_known(void *arg, uint32_t number, const char *tag)
{
	struct parts *ps = arg;

	if (number >= 1 && number <= ps->count && !ps->tags[number - 1])
		ps->tags[number - 1] = weir_xstrdup(tag);
}

struct held { struct parts *ps; char *has; };

static enum weir_code
part_held(void *arg, uint32_t number, uint64_t size, const char *tag)
{
	struct held *h = arg;
	struct parts *ps = h->ps;
	uint64_t off, want;

	if (number < 1 || number > ps->count)
		return WEIR_OK;
	off = (uint64_t)(number - 1) * ps->row.part_bytes;
	want = ps->p->size - off < ps->row.part_bytes ? ps->p->size - off : ps->row.part_bytes;
	if (size == want)
		h->has[number - 1] = 1;
	return WEIR_OK;
}

/* An upload that an earlier run began, if it was of just this version: what the server still holds of it need not be sent again. */
static bool
parts_resume(struct parts *ps)
{
	struct put *p = ps->p;
	struct weir_store *st = p->r->sy->st;
	struct held h = { .ps = ps };
	bool found, is_told;
	enum weir_code r;

	weir_store_lock(st);
	found = weir_upload_get(st, p->j->node.id, &ps->row) && ps->row.id[0] && ps->row.content == p->c->num && ps->row.size == p->size &&
	    ps->row.wgen == (uint64_t)p->meta.mtime_ns;
	if (found) {
		ps->count = (uint32_t)((p->size + ps->row.part_bytes - 1) / ps->row.part_bytes);
		ps->tags = weir_xcalloc(ps->count + 1, sizeof(*ps->tags));
		weir_upload_parts(st, p->j->node.id, tag_known, ps);
	}
	weir_store_unlock(st);
	if (!found)
		return false;
	h.has = weir_xcalloc(ps->count + 1, 1);
	r = p->r->be->ops->upload_status(p->r->be, &p->ctx, &p->where, ps->row.id, part_held, &h, NULL);
	is_told = !(weir_backend_caps(p->r->be) & WEIR_CAP_PARTS_UNTOLD);
	for (uint32_t i = 0; i < ps->count; i++)
		if (r || (is_told && !h.has[i])) {
			free(ps->tags[i]);
			ps->tags[i] = NULL;
		}
	free(h.has);
	if (r) {
		free(ps->tags);
		ps->tags = NULL;
	}
	return !r;
}

static enum weir_code
parts_begin(struct parts *ps, struct weir_err *err)
{
	struct put *p = ps->p;
	struct weir_store *st = p->r->sy->st;
	struct weir_upload_row old;
	char *id = NULL;
	bool has_old;
	enum weir_code r;

	weir_store_lock(st);
	has_old = weir_upload_get(st, p->j->node.id, &old) && old.id[0] && strcmp(old.id, WEIR_UPLOAD_MOVE) != 0;
	weir_store_unlock(st);
	if (has_old && p->r->be->ops->upload_abort) /* of a version that is no more; its parts cost space */
		p->r->be->ops->upload_abort(p->r->be, &p->ctx, &p->where, old.id, NULL);
	ps->row = (struct weir_upload_row){ .node = p->j->node.id, .content = p->c->num, .size = p->size, .wgen = (uint64_t)p->meta.mtime_ns,
		.dir = p->j->send.to_dir };
	snprintf(ps->row.name, sizeof(ps->row.name), "%s", p->j->send.to_name);
	ps->row.part_bytes = part_size(weir_backend_limits(p->r->be), p->size);
	ps->count = (uint32_t)((p->size + ps->row.part_bytes - 1) / ps->row.part_bytes);
	ps->tags = weir_xcalloc(ps->count + 1, sizeof(*ps->tags));
	if ((r = p->r->be->ops->upload_begin(p->r->be, &p->ctx, &p->where, p->size, &p->meta, &id, err)))
		return r;
	snprintf(ps->row.id, sizeof(ps->row.id), "%s", id);
	free(id);
	weir_store_lock(st);
	/* Only a wholly sealed version can be continued after a crash: a later write reopens a page in a transaction, which drops the row. */
	if (p->c->wgen == p->wgen && !(r = weir_store_begin(st, err))) {
		if ((r = weir_content_save(p->c, err)) || (r = weir_upload_drop(st, ps->row.node, err)) || (r = weir_upload_put(st, &ps->row, err)))
			weir_store_rollback(st);
		else
			r = weir_store_commit(st, err);
	}
	weir_store_unlock(st);
	return r;
}

static void
parts_send(struct parts *ps)
{
	struct weir_remote *r = ps->p->r;
	struct weir_store *st = r->sy->st;
	unsigned caps = weir_backend_caps(r->be);
	unsigned helpers = caps & WEIR_CAP_SEQUENTIAL ? 0 : PART_HELPERS;

	pthread_cond_init(&ps->done, NULL);
	weir_store_lock(st);
	ps->end = caps & WEIR_CAP_LAST_ALONE ? ps->count - 1 : ps->count;
	for (unsigned i = 0; i < helpers && i + 1 < ps->end; i++) {
		struct part_job *pj = weir_xcalloc(1, sizeof(*pj));

		pj->ps = ps;
		pj->job.run = part_run;
		ps->helpers++;
		remote_submit(r, &pj->job, JOB_PART);
	}
	parts_work(ps);
	while (ps->helpers)
		weir_store_wait(st, &ps->done, NULL);
	ps->end = ps->count;
	parts_work(ps);
	weir_store_unlock(st);
	pthread_cond_destroy(&ps->done);
}

static enum weir_code
put_in_parts(struct put *p, struct weir_stat *got, struct weir_err *err)
{
	struct parts ps = { .p = p };
	enum weir_code r = WEIR_OK;

	if (!parts_resume(&ps))
		r = parts_begin(&ps, err);
	if (!r) {
		parts_send(&ps);
		r = ps.code;
		if (r && err)
			*err = ps.err;
	}
	if (!r)
		r = p->r->be->ops->upload_commit(p->r->be, &p->ctx, &p->where, ps.row.id, (const char *const *)ps.tags, ps.count, p->size, &p->meta,
		    NULL, got, err);
	if (r == WEIR_E_NOENT || r == WEIR_E_BADSUM) { /* the server has forgotten it, or holds something else: start again */
		weir_store_lock(p->r->sy->st);
		if (!weir_store_begin(p->r->sy->st, NULL)) {
			weir_upload_drop(p->r->sy->st, p->j->node.id, NULL);
			weir_store_commit(p->r->sy->st, NULL);
		}
		weir_store_unlock(p->r->sy->st);
		if (r == WEIR_E_NOENT)
			r = weir_err_set(err, WEIR_E_SERVER, "the storage has forgotten the upload; it starts again");
	}
	if (r == WEIR_E_CHANGED && p->r->be->ops->upload_abort)
		p->r->be->ops->upload_abort(p->r->be, &p->ctx, &p->where, ps.row.id, NULL);
	for (uint32_t i = 0; ps.tags && i < ps.count; i++)
		free(ps.tags[i]);
	free(ps.tags);
	return r;
}

/* ---- afterwards ---- */

/* Lock held, in a transaction: the version that was sent is the remote's now. */
static enum weir_code
put_settle_content(struct put *p, struct weir_node *n, struct weir_err *err)
{
	struct weir_content *c = p->c;

	if (!c) {
		n->flags &= ~(uint32_t)WEIR_N_CONTENT;
		return WEIR_OK;
	}
	if (c->wgen != p->wgen || n->content != c->num)
		return WEIR_OK; /* written to meanwhile: the next version is still to be sent */
	for (uint64_t i = 0; i < weir_content_npages(c); i++) {
		struct weir_page *pg = weir_content_page(c, i);

		if (pg->state == WEIR_PAGE_OPEN)
			return WEIR_OK;
		if (pg->state == WEIR_PAGE_CHANGED) {
			weir_content_page_set(c, i, WEIR_PAGE_CLEAN, pg->hash);
			pg->flags |= WEIR_P_VERIFIED;
		} else if (c->is_born)
			weir_content_page_set(c, i, pg->state, pg->hash); /* rows of their own: the default changes below */
	}
	c->is_born = false;
	c->base_size = c->size;
	c->is_complete = true;
	c->is_row_dirty = true;
	n->flags &= ~(uint32_t)WEIR_N_CONTENT;
	return weir_content_save(c, err);
}

static enum weir_code
put_settle(struct put *p, const struct weir_stat *got, struct weir_err *err)
{
	struct weir_remote *r = p->r;
	struct weir_store *st = r->sy->st;
	char rname[WEIR_RNAME_MAX + 1];
	struct weir_node n;
	bool was_dirty;
	enum weir_code code;

	if ((code = weir_store_begin(st, err)))
		return code;
	if ((code = weir_node_get(st, p->j->node.id, &n)))
		goto fail;
	was_dirty = n.flags & WEIR_N_CONTENT;
	if (r->usage.has_used)
		r->usage.used += p->size > n.rsize ? p->size - n.rsize : 0;
	n.rparent = p->j->send.to_dir;
	snprintf(n.rname, sizeof(n.rname), "%s", p->j->send.to_name);
	snprintf(n.rversion, sizeof(n.rversion), "%s", got->version ? got->version : "");
	if (got->id)
		snprintf(n.rid, sizeof(n.rid), "%s", got->id);
	n.rsize = p->size;
	n.flags |= WEIR_N_EXACT;
	if (n.mtime_ns == p->meta.mtime_ns && n.mode == p->meta.mode)
		n.flags &= ~(uint32_t)WEIR_N_META;
	if ((code = put_settle_content(p, &n, err)) || (code = weir_node_update(st, &n, err)) || (code = weir_upload_drop(st, n.id, err)))
		goto fail;
	if (n.parent == n.rparent && !(n.flags & (WEIR_N_CONTENT | WEIR_N_META)) && weir_remote_rname(r, n.type, n.name, rname) &&
	    strcmp(rname, n.rname) == 0)
		code = weir_journal_drop(st, n.id, err);
	else
		code = weir_journal_put(st, n.id, r->id, (n.flags & WEIR_N_CONTENT) ? weir_wall_ns() / 1000000 + WEIR_SETTLE_MS : 0, err);
	list_touch(r, n.rparent, n.rname);
	if (code || (code = weir_store_commit(st, err)))
		goto fail;
	if (was_dirty && !(n.flags & WEIR_N_CONTENT) && p->c)
		weir_content_set_dirty(p->c, false);
	r->sy->hooks.was_sent(r->sy->hooks.arg, n.id, p->j->began_ms);
	if (!p->c || p->size <= SUM_MAX)
		r->sent_bytes += p->size;
	return WEIR_OK;
fail:
	weir_store_rollback(st);
	return code;
}

/* ---- conflicts ---- */

void
weir_conflict_name(const char *name, char out[WEIR_NAME_MAX + 1])
{
	char host[64] = "host", stamp[64];
	const char *dot = strrchr(name, '.');
	time_t now = time(NULL);
	struct tm tm;
	size_t stem;

	gethostname(host, sizeof(host) - 1);
	host[strcspn(host, ".")] = 0;
	localtime_r(&now, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%d %H.%M.%S", &tm);
	if (!dot || dot == name || strlen(dot) > 20)
		dot = name + strlen(name);
	stem = (size_t)(dot - name);
	if (stem > WEIR_NAME_MAX - 110)
		stem = WEIR_NAME_MAX - 110;
	while (stem > 0 && ((unsigned char)name[stem] & 0xc0) == 0x80)
		stem--; /* not inside a character */
	snprintf(out, WEIR_NAME_MAX + 1, "%.*s (conflict %.40s %s)%s", (int)stem, name, host, stamp, dot);
}

enum weir_code
send_conflict(struct weir_remote *r, struct send_job *j, const struct weir_stat *theirs, struct weir_err *err)
{
	struct weir_store *st = r->sy->st;
	struct weir_node n, other, up;
	char old[WEIR_NAME_MAX + 1], rname[WEIR_RNAME_MAX + 1], text[700];
	struct weir_buf path = WEIR_BUF(1 << 20);
	enum weir_code code;

	if ((code = weir_store_begin(st, err)))
		return code;
	if ((code = weir_node_get(st, j->node.id, &n)))
		goto fail;
	weir_node_local_path(st, n.id, &path);
	snprintf(old, sizeof(old), "%s", n.name);
	n.rparent = 0;
	n.rname[0] = n.rid[0] = n.rversion[0] = 0;
	n.rsize = 0;
	/* Renamed meanwhile: then the two are apart already, and the next listing brings theirs. */
	if (n.parent != j->send.to_dir || !weir_remote_rname(r, n.type, n.name, rname) || strcmp(rname, j->send.to_name) != 0)
		theirs = NULL;
	if (theirs && n.parent) {
		weir_conflict_name(old, n.name);
		for (int i = 2; i < 100 && !weir_node_child(st, n.parent, n.name, &other); i++) {
			char more[WEIR_NAME_MAX + 1];

			snprintf(more, sizeof(more), "%.200s %d", old, i);
			weir_conflict_name(more, n.name);
		}
	}
	if ((code = weir_node_update(st, &n, err)) || (code = weir_upload_drop(st, n.id, err)) ||
	    (code = weir_journal_put(st, n.id, r->id, 0, err)))
		goto fail;
	if (theirs && n.parent) {
		struct listing none = { .dir = n.parent };
		struct merge m = { .r = r, .l = &none, .dir = n.parent, .max_id = UINT64_MAX, .was_listed = true, .asker = n.id };
		uint64_t node;
		bool stale;

		code = merge_entry(&m, j->send.to_name, theirs, &node, &stale, err);
		free(m.seen);
		if (code)
			goto fail;
		snprintf(text, sizeof(text), "changed here and on remote '%s'; the version of this host is now '%s'", r->conf->name, n.name);
		weir_report_add(st, "conflict", weir_buf_str(&path), text, NULL);
		news_entry(r, n.parent, n.name);
		news_node(r, n.parent, true);
	}
	if (!weir_node_get(st, j->send.to_dir, &up)) {
		up.listed_ms = up.listed_ms ? 1 : 0; /* look again at the next touch */
		weir_node_update(st, &up, NULL);
	}
	weir_buf_free(&path);
	return weir_store_commit(st, err);
fail:
	weir_buf_free(&path);
	weir_store_rollback(st);
	return code;
}

struct sum_sink { struct weir_sink sink; struct weir_digest *d; };

static enum weir_code
sum_write(struct weir_sink *s, const void *data, size_t len)
{
	weir_digest_add(((struct sum_sink *)s)->d, data, len);
	return WEIR_OK;
}

/* Is what the storage has just what we sent? (The answer to an earlier try may have been lost, perhaps in an earlier life.) */
bool
send_is_ours(struct weir_remote *r, const struct weir_ctx *ctx, const struct weir_where *at, const struct weir_stat *theirs,
    const struct weir_upload_row *ours)
{
	struct sum_sink s = { .sink.write = sum_write };
	struct weir_where where = *at;
	unsigned char md[64];
	char hex[160] = "";
	size_t n;

	if (theirs->type != WEIR_FILE || theirs->size != ours->size)
		return false;
	if (strncmp(ours->sum, WEIR_SUM_VERSION, strlen(WEIR_SUM_VERSION)) == 0)
		return theirs->version && strcmp(theirs->version, ours->sum + strlen(WEIR_SUM_VERSION)) == 0;
	if (ours->sum[0] && theirs->sum && strncmp(theirs->sum, "md5:", 4) == 0)
		return strcmp(theirs->sum, ours->sum) == 0;
	if (!ours->sum[0])
		return theirs->mtime_ns != WEIR_TIME_NONE && (weir_backend_caps(r->be) & WEIR_CAP_MTIME) &&
		    theirs->mtime_ns / 1000000000 == (int64_t)ours->wgen / 1000000000;
	/* No checksum to compare: read it back. */
	where.version = NULL;
	s.d = weir_digest_new("md5");
	if (!s.d || r->be->ops->get(r->be, ctx, &where, 0, ours->size, &s.sink, NULL, NULL)) {
		weir_digest_free(s.d);
		return false;
	}
	n = weir_digest_end(s.d, md);
	weir_hex(md, n, hex);
	return strcmp(hex, ours->sum + 4) == 0;
}

static enum weir_code
put_conflict(struct put *p, struct weir_stat *got, struct weir_err *err)
{
	struct weir_where where = p->where;
	struct weir_upload_row ours = { .size = p->size, .wgen = (uint64_t)p->meta.mtime_ns };
	struct weir_stat theirs = { 0 };
	enum weir_code code;

	where.version = NULL;
	code = p->r->be->ops->stat(p->r->be, &p->ctx, &where, &theirs, err);
	if (code && code != WEIR_E_NOENT)
		return code;
	snprintf(ours.sum, sizeof(ours.sum), "%s", p->sum);
	if (!code && send_is_ours(p->r, &p->ctx, &p->where, &theirs, &ours)) {
		weir_stat_free(got);
		*got = theirs;
		return WEIR_OK;
	}
	weir_store_lock(p->r->sy->st);
	code = send_conflict(p->r, p->j, code ? NULL : &theirs, err);
	weir_store_unlock(p->r->sy->st);
	weir_stat_free(&theirs);
	return code ? code : WEIR_E_BUSY;
}

/* A directory above is not there any more: what is unsent in it makes it again, and this upload waits for that. */
static bool
put_parent_gone(struct put *p)
{
	struct weir_store *st = p->r->sy->st;
	struct weir_node up;
	bool ok = false;

	weir_store_lock(st);
	if (!weir_node_get(st, p->j->send.to_dir, &up) && !(up.flags & WEIR_N_ROOT) && !weir_store_begin(st, NULL)) {
		if (merge_changed(p->r, &up, NULL, NULL))
			weir_store_rollback(st);
		else
			ok = !weir_store_commit(st, NULL);
	}
	weir_store_unlock(st);
	return ok;
}

static enum weir_code
put_meta(struct put *p, struct weir_stat *got, struct weir_err *err)
{
	struct weir_remote *r = p->r;
	struct weir_store *st = r->sy->st;
	struct weir_node *n = &p->j->node, now;
	enum weir_code code = WEIR_OK;

	if (r->be->ops->set_meta && (weir_backend_caps(r->be) & (WEIR_CAP_MTIME | WEIR_CAP_MODE)))
		code = r->be->ops->set_meta(r->be, &p->ctx, &p->where, n->type == WEIR_DIR, &p->meta, got, err);
	weir_store_lock(st);
	if (code == WEIR_E_CHANGED || code == WEIR_E_NOENT) /* somebody was faster: their version stands, the next listing brings it */
		code = WEIR_OK;
	if (!code && !(code = weir_store_begin(st, err))) {
		if (!weir_node_get(st, n->id, &now)) {
			if (got->version)
				snprintf(now.rversion, sizeof(now.rversion), "%s", got->version);
			if (now.mtime_ns == p->meta.mtime_ns && now.mode == p->meta.mode)
				now.flags &= ~(uint32_t)WEIR_N_META;
			code = weir_node_update(st, &now, err);
			if (!code)
				code = weir_journal_put(st, n->id, r->id, 0, err);
		}
		list_touch(r, n->rparent, n->rname);
		if (code)
			weir_store_rollback(st);
		else
			code = weir_store_commit(st, err);
	}
	weir_store_unlock(st);
	return code;
}

static enum weir_code
put_send(struct put *p, struct weir_stat *got, struct weir_err *err)
{
	struct weir_store *st = p->r->sy->st;
	const struct weir_limits *lim = weir_backend_limits(p->r->be);
	struct weir_upload_row intent = { .node = p->j->node.id, .size = p->size, .wgen = (uint64_t)p->meta.mtime_ns, .dir = p->j->send.to_dir };
	enum weir_code r;

	if (p->c && lim->put_max && p->size > lim->put_max && p->r->be->ops->upload_begin)
		return put_in_parts(p, got, err);
	if ((r = put_sum(p, err)))
		return r;
	snprintf(intent.sum, sizeof(intent.sum), "%s", p->sum);
	snprintf(intent.name, sizeof(intent.name), "%s", p->j->send.to_name);
	weir_store_lock(st);
	if (!(r = weir_store_begin(st, err))) {
		if ((r = weir_upload_put(st, &intent, err)))
			weir_store_rollback(st);
		else
			r = weir_store_commit(st, err);
	}
	weir_store_unlock(st);
	if (r)
		return r;
	return p->r->be->ops->put(p->r->be, &p->ctx, &p->where, p->j->node.type == WEIR_LINK && (weir_backend_caps(p->r->be) & WEIR_CAP_SYMLINK) ?
	    WEIR_LINK : WEIR_FILE, &p->source.src, p->size, &p->meta, p->has_sum ? p->sum : NULL, got, err);
}

/* It did: that goes into the row before the note of it gives way to the next one's. */
static enum weir_code
put_earlier_arrived(struct put *p, const struct weir_upload_row *row, const struct weir_stat *theirs, struct weir_err *err)
{
	struct weir_store *st = p->r->sy->st;
	struct weir_node n, other;
	enum weir_code r;

	weir_store_lock(st);
	if (!(r = weir_store_begin(st, err))) {
		if (!(r = weir_node_get(st, row->node, &n)) &&
		    (weir_node_remote_child(st, row->dir, row->name, &other) || other.id == n.id)) {
			n.rparent = row->dir;
			snprintf(n.rname, sizeof(n.rname), "%s", row->name);
			snprintf(n.rversion, sizeof(n.rversion), "%s", theirs->version);
			if (theirs->id)
				snprintf(n.rid, sizeof(n.rid), "%s", theirs->id);
			n.rsize = row->size;
			if (!(r = weir_node_update(st, &n, err)))
				r = weir_upload_drop(st, n.id, err);
		}
		if (r)
			weir_store_rollback(st);
		else
			r = weir_store_commit(st, err);
	}
	weir_store_unlock(st);
	return r;
}

/* An earlier version of this file was on its way here and nobody saw it arrive. If it did, that is the version this one replaces. */
static enum weir_code
put_earlier(struct put *p, struct weir_err *err)
{
	struct weir_store *st = p->r->sy->st;
	struct weir_stat theirs = { 0 };
	struct weir_upload_row row;
	struct weir_where where = p->where;
	bool has_row;
	enum weir_code r;

	weir_store_lock(st);
	has_row = weir_upload_get(st, p->j->node.id, &row) && row.dir == p->j->send.to_dir && strcmp(row.name, p->j->send.to_name) == 0 &&
	    strcmp(row.id, WEIR_UPLOAD_MOVE) != 0;
	weir_store_unlock(st);
	if (!has_row || (row.size == p->size && row.wgen == (uint64_t)p->meta.mtime_ns))
		return WEIR_OK; /* the same version: resumed, or recognised when it is refused */
	where.version = NULL;
	r = p->r->be->ops->stat(p->r->be, &p->ctx, &where, &theirs, err);
	if (!r && theirs.version && send_is_ours(p->r, &p->ctx, &where, &theirs, &row) && !(r = put_earlier_arrived(p, &row, &theirs, err))) {
		snprintf(p->version, sizeof(p->version), "%s", theirs.version);
		p->where.version = p->version;
	}
	weir_stat_free(&theirs);
	return r == WEIR_E_NOENT ? WEIR_OK : r;
}

enum weir_code
send_put(struct weir_remote *r, struct send_job *j, struct weir_err *err)
{
	struct put p = { .r = r, .j = j, .ctx.cancel = &r->cancel };
	struct weir_stat got = { 0 };
	struct weir_store *st = r->sy->st;
	bool is_meta = j->op == SEND_META;
	enum weir_code code = WEIR_OK;

	weir_store_lock(st);
	if (is_meta) {
		p.meta.mtime_ns = j->node.mtime_ns;
		p.meta.mode = j->node.mode;
	} else
		code = put_prepare(&p, err);
	weir_store_unlock(st);
	place_where(&j->to, &p.where);
	/* to was made from the directory and the name; identity and version are the node's own. */
	p.where.id = j->node.rid[0] ? j->node.rid : NULL;
	p.where.version = !j->node.rparent ? WEIR_ABSENT : j->node.rversion[0] ? j->node.rversion : NULL;
	if (!code && is_meta)
		code = put_meta(&p, &got, err);
	else if (!code && !(code = put_earlier(&p, err))) {
		code = put_send(&p, &got, err);
		if (code == WEIR_E_CHANGED || code == WEIR_E_EXIST)
			code = put_conflict(&p, &got, err);
		else if ((code == WEIR_E_NOENT || code == WEIR_E_NOTDIR) && put_parent_gone(&p))
			code = WEIR_E_BUSY;
		if (code == WEIR_E_IO && p.c && p.c->frozen && p.c->frozen->is_torn)
			code = WEIR_E_BUSY;
	}
	weir_store_lock(st);
	if (!code && !is_meta)
		code = put_settle(&p, &got, err);
	if (p.c) {
		if (p.source.c)
			weir_content_unfreeze(p.c);
		weir_content_put(p.c);
	}
	weir_store_unlock(st);
	weir_stat_free(&got);
	return code;
}
