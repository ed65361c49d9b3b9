/* SPDX-License-Identifier: Apache-2.0 */
/* Which preconditions does this endpoint really keep? Servers accept headers they ignore and refuse versions they gave a
 * moment ago, so it is tried, once per mount, on scratch files in a folder of their own: a wrong version must be refused and the right one,
 * as fresh as it will be between two saves of an editor, must be taken. The same for what carries times. */
#include "config.h"

#include "dav.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "../src/util/util.h"

#define LEARN_MTIME 1000000000LL	/* a time nobody gets by chance */
#define LEARN_WRONG "weir-no-such-version"

struct learn {
	struct weir_dav *d;
	const struct weir_ctx *ctx;
	char dir[32], a[40], b[40];	/* the scratch folder and two files in it; b begins with a dot */
	struct weir_err err;
	enum weir_code broken;		/* the connection or the server failed: nothing may be concluded */
	enum weir_dav_how how_put, how_copy, how_delete;
	bool keeps_create, keeps_overwrite, mtime_by_put, mtime_by_patch, hides_dots;
};

/* An odd answer is a finding; a failure is none. */
static void
learn_failed(struct learn *l, enum weir_code r)
{
	if (!l->broken && (weir_code_retry(r) || r == WEIR_E_AUTH || r == WEIR_E_CANCELED || r == WEIR_E_TLS))
		l->broken = r;
}

/* Status of the answer; 0 when there was none. */
static int
learn_send(struct learn *l, struct weir_dav_call *c)
{
	enum weir_code r = l->broken;
	int status;

	if (!r)
		r = weir_dav_send(l->d, l->ctx, c, &l->err);
	if (!r && (c->resp.status == 423 || (c->resp.status >= 500 && c->resp.status != 501 && c->resp.status != 507)))
		r = weir_dav_refused(c, &l->err);
	if (r && !l->broken)
		l->broken = r;
	status = r ? 0 : c->resp.status;
	weir_dav_call_free(c);
	return status;
}

static char *
learn_version(struct learn *l, const char *path, int64_t *mtime_ns)
{
	struct weir_stat st = { 0 };
	enum weir_code r = l->broken ? l->broken : weir_dav_stat(l->d, l->ctx, path, &st, &l->err);
	char *v = WEIR_STEAL(st.version);

	if (mtime_ns)
		*mtime_ns = r ? WEIR_TIME_NONE : st.mtime_ns;
	learn_failed(l, r);
	weir_stat_free(&st);
	return v;
}

static int
learn_folder(struct learn *l, const char *method)
{
	struct weir_dav_call c;

	weir_dav_call(&c, l->d, method, l->dir, true);
	return learn_send(l, &c);
}

static int
learn_put(struct learn *l, const char *path, enum weir_dav_how how, const char *version)
{
	struct weir_dav_call c;

	weir_dav_call(&c, l->d, "PUT", path, false);
	c.req.body = "weir looks what this server keeps; this file may be removed\n";
	c.req.body_len = strlen(c.req.body);
	c.req.has_body = true;
	weir_dav_header(&c, "X-OC-Mtime: %lld", LEARN_MTIME);
	if (version == WEIR_ABSENT)
		weir_dav_header(&c, "If-None-Match: *");
	else if (version)
		weir_dav_require(&c, l->d, how, path, version);
	return learn_send(l, &c);
}

static int
learn_delete(struct learn *l, const char *path, enum weir_dav_how how, const char *version)
{
	struct weir_dav_call c;

	weir_dav_call(&c, l->d, "DELETE", path, false);
	if (version)
		weir_dav_require(&c, l->d, how, path, version);
	return learn_send(l, &c);
}

static int
learn_transfer(struct learn *l, const char *method, const char *from, const char *to, bool overwrite, const char *version)
{
	WEIR_AUTO(weir_freep) char *dest = weir_dav_url(l->d, to, false);
	struct weir_dav_call c;

	weir_dav_call(&c, l->d, method, from, false);
	weir_dav_header(&c, "Destination: %s", dest);
	weir_dav_header(&c, "Overwrite: %s", overwrite ? "T" : "F");
	if (version)
		weir_dav_require(&c, l->d, WEIR_DAV_HOW_IF, to, version);
	return learn_send(l, &c);
}

/* The version is asked for right before it is used: as weak, and as fresh, as it gets. */
static enum weir_dav_how
learn_how_put(struct learn *l)
{
	static const enum weir_dav_how ways[] = { WEIR_DAV_HOW_IF, WEIR_DAV_HOW_IF_MATCH };

	for (size_t i = 0; i < WEIR_LEN(ways); i++) {
		WEIR_AUTO(weir_freep) char *v = NULL;

		if (learn_put(l, l->a, ways[i], LEARN_WRONG) != 412)
			continue;
		v = learn_version(l, l->a, NULL);
		if (v && learn_put(l, l->a, ways[i], v) / 100 == 2)
			return ways[i];
	}
	return WEIR_DAV_HOW_NONE;
}

static enum weir_dav_how
learn_how_delete(struct learn *l)
{
	static const enum weir_dav_how ways[] = { WEIR_DAV_HOW_IF, WEIR_DAV_HOW_IF_MATCH };

	for (size_t i = 0; i < WEIR_LEN(ways); i++) {
		WEIR_AUTO(weir_freep) char *v = NULL;

		if (learn_put(l, l->a, WEIR_DAV_HOW_NONE, NULL) / 100 != 2 || learn_delete(l, l->a, ways[i], LEARN_WRONG) != 412)
			continue;
		v = learn_version(l, l->a, NULL);
		if (v && learn_delete(l, l->a, ways[i], v) / 100 == 2)
			return ways[i];
	}
	return WEIR_DAV_HOW_NONE;
}

/* Onto a named version, by COPY and by MOVE. Both files are there before and after COPY, only b after MOVE. */
static enum weir_dav_how
learn_how_copy(struct learn *l)
{
	static const char *const methods[] = { "COPY", "MOVE" };

	for (size_t i = 0; i < WEIR_LEN(methods); i++) {
		WEIR_AUTO(weir_freep) char *v = NULL;

		if (learn_transfer(l, methods[i], l->a, l->b, true, LEARN_WRONG) != 412)
			return WEIR_DAV_HOW_NONE;
		v = learn_version(l, l->b, NULL);
		if (!v || learn_transfer(l, methods[i], l->a, l->b, true, v) / 100 != 2)
			return WEIR_DAV_HOW_NONE;
	}
	return WEIR_DAV_HOW_IF;
}

static void
learn_times(struct learn *l)
{
	int64_t t = 0;
	enum weir_code r;

	free(learn_version(l, l->a, &t));
	l->mtime_by_put = t == LEARN_MTIME * 1000000000;
	t = 0;
	r = l->broken ? l->broken : weir_dav_patch_mtime(l->d, l->ctx, l->a, false, (LEARN_MTIME + 7) * 1000000000, &l->err);
	if (!r)
		free(learn_version(l, l->a, &t));	/* mod_dav says 200 and keeps it as a property that means nothing */
	else
		learn_failed(l, r);
	l->mtime_by_patch = t == (LEARN_MTIME + 7) * 1000000000;
}

/* A precondition that is kept is not yet an atomic one: mod_dav looks, then receives the body, then renames, and of eight
 * creations at once two were told 201 (measured). So no WEIR_CAP_CAS_ bit comes from here; the preconditions are sent all the same,
 * for they make the window as small as it can be. */
/* nginx takes names that begin with a dot and never lists them: what is not listed would count as removed by someone. */
static void
learn_listing(struct learn *l)
{
	WEIR_AUTO(weir_freep) char *plain = weir_dav_plain(l->d, l->dir);
	struct weir_dav_listing all = { 0 };
	enum weir_code r = l->broken;

	if (r)
		return;
	r = weir_dav_list_url(l->d, l->ctx, weir_dav_url(l->d, l->dir, true), plain, l->dir, l->d->dialect->props, &all, &l->err);
	l->hides_dots = !r && all.n > 1;
	for (size_t i = 1; i < all.n; i++)
		if (all.items[i].href[0] == '.')
			l->hides_dots = false;
	learn_failed(l, r);
	weir_dav_listing_free(&all);
}

static void
learn_conclude(const struct learn *l)
{
	struct weir_dav *d = l->d;

	atomic_store(&d->how_put, l->how_put);
	atomic_store(&d->how_copy, l->how_copy);
	atomic_store(&d->how_delete, l->how_delete);
	atomic_store(&d->keeps_create, l->keeps_create);
	atomic_store(&d->keeps_overwrite, l->keeps_overwrite);
	atomic_store(&d->mtime_by_put, l->mtime_by_put);
	atomic_store(&d->mtime_by_patch, l->mtime_by_patch);
	atomic_store(&d->hides_dots, l->hides_dots);
	if (atomic_load(&d->mtime_by_put) || atomic_load(&d->mtime_by_patch))
		atomic_fetch_or(&d->base.caps, WEIR_CAP_MTIME | WEIR_CAP_LIST_MTIME);
}

static void
learn_all(struct learn *l)
{
	if (learn_folder(l, "MKCOL") / 100 != 2 || learn_put(l, l->a, WEIR_DAV_HOW_NONE, NULL) / 100 != 2)
		return;	/* no right to write there: nothing is concluded, everything is compared */
	learn_times(l);
	l->keeps_create = learn_put(l, l->a, WEIR_DAV_HOW_NONE, WEIR_ABSENT) == 412;
	if (learn_put(l, l->b, WEIR_DAV_HOW_NONE, WEIR_ABSENT) / 100 != 2)	/* what follows wants both there */
		l->keeps_create = false;
	learn_listing(l);
	l->how_put = learn_how_put(l);
	l->keeps_overwrite = learn_transfer(l, "COPY", l->a, l->b, false, NULL) == 412 &&
	    learn_transfer(l, "MOVE", l->a, l->b, false, NULL) == 412;
	l->how_copy = learn_how_copy(l);
	l->how_delete = learn_how_delete(l);
}

/* The folder goes with all in it, what mod_dav keeps beside files (.DAV) included. */
static void
learn_clean(struct learn *l)
{
	struct learn k = *l;

	k.broken = WEIR_OK;
	learn_folder(&k, "DELETE");
}

static enum weir_code
learn_run(struct weir_dav *d, const struct weir_ctx *ctx, struct weir_err *err)
{
	struct learn l = { .d = d, .ctx = ctx };
	char hex[13];

	weir_random_hex(hex, sizeof(hex) - 1);
	snprintf(l.dir, sizeof(l.dir), "%s%s", WEIR_DAV_SCRATCH, hex);
	snprintf(l.a, sizeof(l.a), "%s/a", l.dir);
	snprintf(l.b, sizeof(l.b), "%s/.b", l.dir);
	learn_all(&l);
	if (l.broken != WEIR_E_AUTH && l.broken != WEIR_E_CANCELED)
		learn_clean(&l);
	if (l.broken) {
		if (err)
			*err = l.err;
		return l.broken;
	}
	learn_conclude(&l);
	return WEIR_OK;
}

enum weir_code
weir_dav_learn(struct weir_dav *d, const struct weir_ctx *ctx, struct weir_err *err)
{
	enum weir_code r = WEIR_OK;

	if (atomic_load_explicit(&d->is_learned, memory_order_acquire))
		return WEIR_OK;
	pthread_mutex_lock(&d->lock);
	if (!atomic_load(&d->is_learned)) {
		r = learn_run(d, ctx, err);
		if (!r)
			atomic_store_explicit(&d->is_learned, true, memory_order_release);
	}
	pthread_mutex_unlock(&d->lock);
	return r;
}

static const char *
learn_spelling(int how)
{
	return how == WEIR_DAV_HOW_IF ? "compared by the server (If:)" : how == WEIR_DAV_HOW_IF_MATCH ? "compared by the server (If-Match)" :
	    "ignored by the server: compared right before, someone else's change within that moment is overwritten";
}

/* For `weir check`: always tries, whatever is assumed of this kind of server. */
enum weir_code
weir_dav_op_check(struct weir_backend *b, const struct weir_ctx *ctx, void (*line)(void *, const char *), void *arg, struct weir_err *err)
{
	static const char *const what[] = { "replacing a file", "copying and renaming onto a file", "removing a file" };
	struct weir_dav *d = (struct weir_dav *)b;
	enum weir_code r = weir_dav_ready(d, ctx, err);
	int how[3];

	if (r)
		return r;
	pthread_mutex_lock(&d->lock);
	r = learn_run(d, ctx, err);
	if (!r)
		atomic_store_explicit(&d->is_learned, true, memory_order_release);
	pthread_mutex_unlock(&d->lock);
	if (r)
		return r;
	how[0] = atomic_load(&d->how_put);
	how[1] = atomic_load(&d->how_copy);
	how[2] = atomic_load(&d->how_delete);
	if (d->auth && !weir_http_url_is_safe(d->origin))
		line(arg, "the credentials travel in the clear: the url is http, not https");
	for (size_t i = 0; i < WEIR_LEN(what); i++) {
		WEIR_AUTO(weir_freep) char *s = weir_xasprintf("versions when %s: %s", what[i], learn_spelling(how[i]));

		line(arg, s);
	}
	line(arg, atomic_load(&d->keeps_create) ? "creating a file only where none is: looked at by the server" :
	    "creating a file only where none is: ignored by the server, compared right before");
	line(arg, atomic_load(&d->mtime_by_put) || atomic_load(&d->mtime_by_patch) ? "modification times: kept" :
	    "modification times: not kept by the server");
	if (atomic_load(&d->hides_dots))
		line(arg, "names that begin with a dot: taken, but never listed by the server, so weir refuses them");
	if (atomic_load(&d->has_no_etag))
		line(arg, "the server tells no versions (ETags): time and size stand for them, two changes within one second look the same");
	if (!(atomic_load(&b->caps) & WEIR_CAP_CAS_PUT))
		line(arg, "two who write one file within the same moment: WebDAV servers look first and write then, the later one may win");
	line(arg, "removing a folder: looked into right before; what someone puts there within that moment goes with it");
	return WEIR_OK;
}
