/* SPDX-License-Identifier: Apache-2.0 */
/* Locks of RFC 4918 among the clients of one share, in this worker's memory; and the If header, which is about them. They bind nobody else: not the
 * kernel's mount, not another share. A lock belongs to a path, not to a node. */
#include "config.h"

#include "impl.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define LOCKS_MAX 1024u
#define LOCKS_TIMEOUT 600u
#define LOCKS_TIMEOUT_MAX 3600u

struct front_lock {
	struct front_lock *next;
	char token[64];
	char *path, *owner;
	bool is_deep, is_exclusive;
	unsigned timeout_s;
	int64_t until_ms;
};

/* Is inner the path outer, or below it? */
static bool
lock_holds(const char *outer, const char *inner)
{
	size_t n = strlen(outer);

	return strncmp(outer, inner, n) == 0 && (n == 0 || inner[n] == '/' || inner[n] == '\0');
}

static bool
lock_covers(const struct front_lock *l, const char *path)
{
	return strcmp(l->path, path) == 0 || (l->is_deep && lock_holds(l->path, path));
}

static void
lock_drop(struct front_share *share, struct front_lock **p)
{
	struct front_lock *l = *p;

	*p = l->next;
	share->nlocks--;
	free(l->path);
	free(l->owner);
	free(l);
}

/* share.mu held, as in all that begins with locks_ */
static void
locks_expire(struct front_share *share)
{
	int64_t now = weir_now_ms();

	for (struct front_lock **p = &share->locks; *p != NULL;) {
		if ((*p)->until_ms <= now)
			lock_drop(share, p);
		else
			p = &(*p)->next;
	}
}

static struct front_lock *
locks_by_token(struct front_share *share, const char *token, const char *path)
{
	for (struct front_lock *l = share->locks; l != NULL; l = l->next)
		if (strcmp(l->token, token) == 0 && lock_covers(l, path))
			return l;
	return NULL;
}

/* ---- the If header ---- */

static bool
if_is_submitted(const struct front_if *f, const char *token)
{
	for (size_t i = 0; i < f->nconds; i++)
		if (!f->conds[i].is_etag && !f->conds[i].is_not && strcmp(f->conds[i].text, token) == 0)
			return true;
	return false;
}

static bool
if_cond_holds(struct front_req *req, const struct front_cond *c, const struct front_path *path)
{
	bool is_true = false;

	if (c->is_etag) {
		struct front_node node;
		char etag[80] = "";

		if (front_walk(req, path, true, &node) == WEIR_OK) {
			front_etag(&node.attr, etag);
			is_true = front_etag_listed(c->text, etag, false);
		}
		front_node_free(&node);
	} else {
		pthread_mutex_lock(&req->share->mu);
		is_true = locks_by_token(req->share, c->text, path->text) != NULL;
		pthread_mutex_unlock(&req->share->mu);
	}
	return is_true != c->is_not;
}

static bool
if_list_holds(struct front_req *req, const struct front_if *f, const struct front_iflist *l)
{
	const char *url = l->tag != NULL ? front_url_path(l->tag, front_header(req, "Host")) : NULL;
	struct front_path tagged = {0};
	bool holds = true;

	if (l->tag != NULL && (url == NULL || front_path_parse(url, WEIR_FRONT_FILES, &tagged) != 0))
		return false;
	for (size_t i = 0; i < l->n && holds; i++)
		holds = if_cond_holds(req, &f->conds[l->first + i], l->tag != NULL ? &tagged : &req->path);
	front_path_free(&tagged);
	return holds;
}

/* ---- may it be changed? ---- */

/* A lock that stands in the way, and none of its kind was named. */
static bool
locks_forbid(struct front_share *share, const struct front_if *f, const struct front_lock *l)
{
	if (if_is_submitted(f, l->token))
		return false;
	for (const struct front_lock *o = share->locks; o != NULL && !l->is_exclusive; o = o->next)
		if (!o->is_exclusive && strcmp(o->path, l->path) == 0 && if_is_submitted(f, o->token))
			return false;
	return true;
}

static char *
lock_parent(const char *path)
{
	const char *slash = strrchr(path, '/');

	return weir_xstrndup(path, slash != NULL ? (size_t)(slash - path) : 0);
}

int
front_locks_check(struct front_req *req, const char *path, const struct weir_attr *attr, bool is_tree, bool is_member)
{
	const char *header = front_header(req, "If");
	struct front_share *share = req->share;
	WEIR_AUTO(weir_freep) char *parent = lock_parent(path);
	struct front_if f = {0};
	int status = 0;

	if (header != NULL) {
		bool holds = false;

		if (front_if_parse(header, &f) != 0)
			return 412;
		for (size_t i = 0; i < f.nlists && !holds; i++)
			holds = if_list_holds(req, &f, &f.lists[i]);
		status = holds ? 0 : 412;
	}
	pthread_mutex_lock(&share->mu);
	locks_expire(share);
	for (const struct front_lock *l = share->locks; l != NULL && status == 0; l = l->next) {
		bool is_in_way = lock_covers(l, path) || (is_tree && lock_holds(path, l->path)) || (is_member && path[0] != '\0' && lock_covers(l, parent));

		if (is_in_way && locks_forbid(share, &f, l))
			status = 423;
	}
	pthread_mutex_unlock(&share->mu);
	front_if_free(&f);
	return status;
}

void
front_locks_moved(struct front_share *share, const char *path)
{
	pthread_mutex_lock(&share->mu);
	for (struct front_lock **p = &share->locks; *p != NULL;) {
		if (lock_holds(path, (*p)->path))
			lock_drop(share, p);
		else
			p = &(*p)->next;
	}
	pthread_mutex_unlock(&share->mu);
}

void
front_locks_free(struct front_share *share)
{
	while (share->locks != NULL)
		lock_drop(share, &share->locks);
}

/* ---- telling ---- */

static void
locks_write(const struct front_lock *l, struct weir_buf *b)
{
	int64_t left = (l->until_ms - weir_now_ms()) / 1000;

	weir_buf_addf(b, "<d:activelock><d:locktype><d:write/></d:locktype><d:lockscope><d:%s/></d:lockscope><d:depth>%s</d:depth>",
	    l->is_exclusive ? "exclusive" : "shared", l->is_deep ? "infinity" : "0");
	if (l->owner != NULL)
		weir_buf_addf(b, "<d:owner>%s</d:owner>", l->owner);
	weir_buf_addf(b, "<d:timeout>Second-%lld</d:timeout><d:locktoken><d:href>%s</d:href></d:locktoken><d:lockroot><d:href>" WEIR_FRONT_FILES "/",
	    (long long)(left > 0 ? left : 1), l->token);
	weir_url_encode(b, l->path, strlen(l->path), "/");
	weir_buf_adds(b, "</d:href></d:lockroot></d:activelock>");
}

void
front_locks_xml(struct front_share *share, const char *path, struct weir_buf *b)
{
	pthread_mutex_lock(&share->mu);
	locks_expire(share);
	for (const struct front_lock *l = share->locks; l != NULL; l = l->next)
		if (lock_covers(l, path))
			locks_write(l, b);
	pthread_mutex_unlock(&share->mu);
}

/* body: d:activelock */
static enum MHD_Result
lock_answer(struct front_req *req, int status, const char *active, const char *token)
{
	struct weir_buf b = WEIR_BUF(1u << 20);
	struct MHD_Response *response;
	size_t len;

	weir_buf_addf(&b, "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<d:prop xmlns:d=\"DAV:\"><d:lockdiscovery>%s</d:lockdiscovery></d:prop>\n", active);
	len = b.len;
	response = MHD_create_response_from_buffer(len, weir_buf_take(&b), MHD_RESPMEM_MUST_FREE);
	if (response != NULL) {
		MHD_add_response_header(response, "Content-Type", "application/xml; charset=utf-8");
		if (token != NULL) {
			char text[80];

			snprintf(text, sizeof(text), "<%s>", token);
			MHD_add_response_header(response, "Lock-Token", text);
		}
	}
	return front_queue(req, status, response);
}

/* ---- LOCK ---- */

static enum MHD_Result
lock_refresh(struct front_req *req, unsigned timeout_s)
{
	const char *header = front_header(req, "If");
	struct front_share *share = req->share;
	struct weir_buf b = WEIR_BUF(1u << 20);
	struct front_if f = {0};
	bool is_found = false;
	enum MHD_Result done;

	if (header == NULL || front_if_parse(header, &f) != 0)
		return front_answer(req, 400, "which lock should be refreshed");
	pthread_mutex_lock(&share->mu);
	locks_expire(share);
	for (struct front_lock *l = share->locks; l != NULL && !is_found; l = l->next) {
		is_found = lock_covers(l, req->path.text) && if_is_submitted(&f, l->token);
		if (is_found) {
			l->timeout_s = timeout_s;
			l->until_ms = weir_now_ms() + (int64_t)timeout_s * 1000;
			locks_write(l, &b);
		}
	}
	pthread_mutex_unlock(&share->mu);
	front_if_free(&f);
	done = is_found ? lock_answer(req, 200, weir_buf_str(&b), NULL) : front_answer(req, 412, "there is no such lock");
	weir_buf_free(&b);
	return done;
}

static bool
locks_conflict(struct front_share *share, const char *path, bool is_deep, bool is_exclusive)
{
	for (const struct front_lock *l = share->locks; l != NULL; l = l->next)
		if ((lock_covers(l, path) || (is_deep && lock_holds(path, l->path))) && (is_exclusive || l->is_exclusive))
			return true;
	return false;
}

/* 0, or the status of a refusal. */
static int
lock_take(struct front_req *req, const struct front_xml *x, bool is_deep, unsigned timeout_s, char token[64], struct weir_buf *b)
{
	struct front_share *share = req->share;
	struct front_lock *l;
	char hex[33];
	int status;

	weir_random_hex(hex, sizeof(hex) - 1);
	snprintf(token, 64, "opaquelocktoken:%.8s-%.4s-4%.3s-a%.3s-%.12s", hex, hex + 8, hex + 13, hex + 17, hex + 20);
	pthread_mutex_lock(&share->mu);
	locks_expire(share);
	status = locks_conflict(share, req->path.text, is_deep, x->is_exclusive) ? 423 : share->nlocks >= LOCKS_MAX ? 507 : 0;
	if (status == 0) {
		l = weir_xcalloc(1, sizeof(*l));
		*l = (struct front_lock){.next = share->locks, .path = weir_xstrdup(req->path.text), .owner = weir_xstrdup(x->owner), .is_deep = is_deep,
		    .is_exclusive = x->is_exclusive, .timeout_s = timeout_s, .until_ms = weir_now_ms() + (int64_t)timeout_s * 1000};
		snprintf(l->token, sizeof(l->token), "%s", token);
		share->locks = l;
		share->nlocks++;
		locks_write(l, b);
	}
	pthread_mutex_unlock(&share->mu);
	return status;
}

/* What is locked before it exists becomes an empty file (RFC 4918 7.3). 0, or the status of a refusal. */
static int
lock_make(struct front_req *req, bool *is_made)
{
	struct front_node node;
	struct weir_attr made;
	uint64_t fh;
	enum weir_code r = front_walk(req, &req->path, true, &node);
	int status = 0;

	if (r == WEIR_E_NOENT && node.parent == 0)
		status = 409;
	else if (r == WEIR_E_NOENT && (status = front_locks_check(req, req->path.text, NULL, false, true)) == 0) {
		r = front_is_hidden(node.name) ? WEIR_E_ACCES : front_may_change(req, node.parent);
		if (r == WEIR_OK)
			r = front_create(req, node.parent, node.name, O_WRONLY | O_EXCL, 0644, &made, &fh);
		if (r == WEIR_OK)
			front_release(req, made.ino, fh, O_WRONLY);
		*is_made = r == WEIR_OK;
		status = r == WEIR_OK ? 0 : front_status_of(r);
	} else if (r == WEIR_OK && front_header(req, "If") != NULL) {
		status = front_locks_check(req, req->path.text, &node.attr, false, false);
		status = status == 412 ? 412 : 0;	/* whether it is locked, the lock table says */
	} else if (r != WEIR_OK && status == 0)
		status = front_status_of(r);
	front_node_free(&node);
	return status;
}

enum MHD_Result
front_do_lock(struct front_req *req)
{
	enum front_depth depth = front_depth_parse(front_header(req, "Depth"), FRONT_DEPTH_INFINITY);
	unsigned timeout_s = front_timeout_parse(front_header(req, "Timeout"), LOCKS_TIMEOUT, LOCKS_TIMEOUT_MAX);
	struct weir_buf b = WEIR_BUF(1u << 20);
	struct front_xml x;
	char token[64];
	bool is_made = false;
	enum MHD_Result done;
	int status;

	if (depth == FRONT_DEPTH_1 || depth == FRONT_DEPTH_BAD)
		return front_answer(req, 400, "Depth is 0 or infinity");
	if (front_xml_parse(weir_buf_str(&req->body), req->body.len, &x) != 0)
		return front_answer(req, 400, "not a lockinfo");
	if (x.kind == FRONT_XML_EMPTY)
		return lock_refresh(req, timeout_s);
	if (x.kind != FRONT_XML_LOCK || x.is_exclusive == x.is_shared || !x.is_write)
		status = 400;
	else
		status = lock_make(req, &is_made);
	if (status == 0)
		status = lock_take(req, &x, depth == FRONT_DEPTH_INFINITY, timeout_s, token, &b);
	front_xml_free(&x);
	done = status == 0 ? lock_answer(req, is_made ? 201 : 200, weir_buf_str(&b), token)
			   : front_answer(req, status, status == 423 ? "locked" : "it cannot be locked");
	weir_buf_free(&b);
	return done;
}

enum MHD_Result
front_do_unlock(struct front_req *req)
{
	const char *header = front_header(req, "Lock-Token");
	size_t n = header != NULL ? strlen(header) : 0;
	struct front_share *share = req->share;
	bool is_found = false;

	if (n < 3 || header[0] != '<' || header[n - 1] != '>')
		return front_answer(req, 400, "which lock");
	pthread_mutex_lock(&share->mu);
	locks_expire(share);
	for (struct front_lock **p = &share->locks; *p != NULL && !is_found;) {
		is_found = strlen((*p)->token) == n - 2 && strncmp((*p)->token, header + 1, n - 2) == 0 && lock_covers(*p, req->path.text);
		if (is_found)
			lock_drop(share, p);
		else
			p = &(*p)->next;
	}
	pthread_mutex_unlock(&share->mu);
	return is_found ? front_answer(req, 204, NULL) : front_answer(req, 409, "there is no such lock here");
}
