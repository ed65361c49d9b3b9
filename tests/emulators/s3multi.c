/* SPDX-License-Identifier: Apache-2.0 */
/* Multipart uploads. A completed upload is remembered, so that repeating a Complete whose answer was lost succeeds. */
#include "config.h"
#include "s3.h"
#include "util/text.h"
#include <string.h>
#include <strings.h>

#define MULTI_DONE 4096

struct multi_done {
	char id[40], etag[80];
};
static struct multi_done multi_done[MULTI_DONE];	/* ring, under s3_lock */
static size_t multi_done_n;

/* One line of a Complete request. */
struct multi_want {
	unsigned number;
	char etag[40];
	char sum[96];
};

static const char *
multi_query(const struct emu_req *req, const char *name)
{
	const char *v = emu_query(req, name);

	return v ? v : "";
}

static void
multi_xml(struct emu_req *req)
{
	emu_out(req, "Content-Type", "application/xml");
	emu_reply(req, 200);
}

/* ---- create, abort ---- */

static bool
multi_algo(struct emu_req *req, struct s3_upload *u)
{
	const char *algo = emu_header(req, "x-amz-checksum-algorithm"), *type = emu_header(req, "x-amz-checksum-type");

	if (!algo) {
		if (s3_on(S3_DEFAULT_SUM))
			snprintf(u->algo, sizeof(u->algo), "crc64nvme");
		u->is_full = true;
		return true;
	}
	if (s3_on(S3_REFUSE_SUMS) && !req->is_raw) {
		s3_error(req, 501, "NotImplemented", "A header you provided implies functionality that is not implemented");
		return false;
	}
	for (size_t i = 0; i < sizeof(u->algo) - 1 && algo[i]; i++)
		u->algo[i] = (char)(algo[i] >= 'A' && algo[i] <= 'Z' ? algo[i] + 32 : algo[i]);
	u->is_full = type ? !strcasecmp(type, "FULL_OBJECT") : !strcmp(u->algo, "crc64nvme");
	if (!s3_algo_known(u->algo) || (u->is_full && !strncmp(u->algo, "sha", 3)) || (!u->is_full && !strcmp(u->algo, "crc64nvme"))) {
		s3_error(req, 400, "InvalidRequest", "The checksum algorithm and type do not fit together");
		return false;
	}
	emu_out(req, "x-amz-checksum-algorithm", algo);
	emu_out(req, "x-amz-checksum-type", u->is_full ? "FULL_OBJECT" : "COMPOSITE");
	return true;
}

void
s3_create_upload(struct emu_req *req)
{
	struct s3_upload *u = weir_xcalloc(1, sizeof(*u));
	struct s3_bucket *b;

	if (!multi_algo(req, u)) {
		free(u);
		return;
	}
	u->key = weir_xstrdup(s3_of(req)->key);
	u->started_ms = s3_now_ms();
	weir_random_hex(u->id, 32);
	s3_keep_headers(req, &u->head);
	pthread_mutex_lock(&s3_lock);
	if (s3_with_bucket(req, &b)) {
		weir_buf_addf(&req->body, S3_XML "<InitiateMultipartUploadResult " S3_NS "><Bucket>%s</Bucket><Key>", b->name);
		emu_xml_text_add(&req->body, u->key);
		weir_buf_addf(&req->body, "</Key><UploadId>%s</UploadId></InitiateMultipartUploadResult>", u->id);
		s3_upload_add(b, u);
		multi_xml(req);
	} else {
		emu_pairs_free(&u->head);
		free(u->key);
		free(u);
	}
	pthread_mutex_unlock(&s3_lock);
}

/* The upload this request names; NULL: replied. Under s3_lock. */
static struct s3_upload *
multi_find(struct emu_req *req, struct s3_bucket **b)
{
	struct s3_upload *u;

	if (!s3_with_bucket(req, b))
		return NULL;
	u = s3_upload_get(*b, s3_of(req)->key, multi_query(req, "uploadId"));
	if (!u)
		s3_error(req, 404, "NoSuchUpload",
		    "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.");
	return u;
}

void
s3_abort_upload(struct emu_req *req)
{
	struct s3_bucket *b;
	struct s3_upload *u;

	pthread_mutex_lock(&s3_lock);
	u = multi_find(req, &b);
	if (u) {
		s3_upload_remove(b, u);
		emu_reply(req, 204);
	}
	pthread_mutex_unlock(&s3_lock);
}

/* ---- parts ---- */

static bool
part_number(struct emu_req *req, unsigned *n)
{
	char *end;
	unsigned long v = strtoul(multi_query(req, "partNumber"), &end, 10);

	*n = (unsigned)v;
	if (!*end && v >= 1 && v <= S3_PARTS_MAX)
		return true;
	s3_error(req, 400, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive");
	return false;
}

/* The upload wants a checksum of its kind with every part; one that the client left out is computed. */
static bool
part_sum_ok(struct emu_req *req, const struct s3_upload *u, struct s3_part *p)
{
	unsigned char sum[32];
	struct s3_hash *h;
	size_t n;

	if (!*u->algo || !strcmp(p->sum.algo, u->algo))
		return true;
	if (*p->sum.algo && !s3_on(S3_DEFAULT_SUM)) {
		s3_error(req, 400, "InvalidRequest", "Checksum Type mismatch occurred, expected checksum Type of the upload");
		return false;
	}
	h = s3_hash_new(u->algo);
	s3_hash_blob(p->blob, h);
	n = s3_hash_end(&h, sum);
	snprintf(p->sum.algo, sizeof(p->sum.algo), "%s", u->algo);
	weir_base64(sum, n, p->sum.value);
	return true;
}

/* Takes p. */
static bool
part_store(struct emu_req *req, struct s3_part *p)
{
	struct s3_bucket *b;
	struct s3_upload *u;
	bool ok = false;

	p->mtime_ms = s3_now_ms();
	pthread_mutex_lock(&s3_lock);
	u = multi_find(req, &b);
	if (u && part_sum_ok(req, u, p)) {
		ok = true;
		s3_part_put(b, u, p);
	} else
		s3_part_free(p);
	pthread_mutex_unlock(&s3_lock);
	return ok;
}

void
s3_upload_part(struct emu_req *req)
{
	struct s3_req *s = s3_of(req);
	struct s3_part *p;
	unsigned n;

	if (!part_number(req, &n))
		return;
	p = weir_xcalloc(1, sizeof(*p));
	p->number = n;
	p->blob = WEIR_STEAL(s->blob);
	snprintf(p->md5, sizeof(p->md5), "%s", s->md5_hex);
	p->sum = s->sum_out;
	if (!part_store(req, p))
		return;
	s3_out_etag(req, s->md5_hex);
	s3_sum_headers(req, &s->sum_out);
	emu_reply(req, 200);
}

static bool
part_copy_range(struct emu_req *req, uint64_t size, uint64_t *off, uint64_t *len)
{
	const char *h = emu_header(req, "x-amz-copy-source-range");
	unsigned long long a, b;
	int end = 0;

	*off = 0;
	*len = size;
	if (!h)
		return true;
	if (sscanf(h, "bytes=%llu-%llu%n", &a, &b, &end) != 2 || h[end] || b < a) {
		s3_error(req, 400, "InvalidArgument", "The x-amz-copy-source-range value must be of the form bytes=first-last");
		return false;
	}
	if (b >= size) {
		s3_error(req, 416, "InvalidRange", "The requested range is not valid for the size of the source object");
		return false;
	}
	*off = a;
	*len = b - a + 1;
	return true;
}

static struct s3_part *
part_copy(struct emu_req *req, struct s3_obj *from, unsigned number)
{
	unsigned char sum[32];
	struct s3_hash *md5;
	struct s3_part *p;
	uint64_t off, len;

	if (!part_copy_range(req, emu_blob_size(from->blob), &off, &len))
		return NULL;
	p = weir_xcalloc(1, sizeof(*p));
	p->number = number;
	p->blob = emu_blob_copy(from->blob, off, len);
	if (!p->blob) {
		s3_error(req, 500, "InternalError", "cannot link in the data folder");
		free(p);
		return NULL;
	}
	md5 = s3_hash_new("md5");
	s3_hash_blob(p->blob, md5);
	s3_hash_end(&md5, sum);
	weir_hex(sum, 16, p->md5);
	return p;
}

void
s3_upload_part_copy(struct emu_req *req)
{
	struct s3_obj *from = NULL;
	struct s3_part *p = NULL;
	unsigned number;
	char md5[33];

	if (part_number(req, &number) && (from = s3_copy_source(req)))
		p = part_copy(req, from, number);
	s3_obj_unref(from);
	if (!p)
		return;
	snprintf(md5, sizeof(md5), "%s", p->md5);
	if (!part_store(req, p))
		return;
	weir_buf_adds(&req->body, S3_XML "<CopyPartResult " S3_NS "><LastModified>");
	s3_out_date_iso(&req->body, s3_now_ms());
	weir_buf_addf(&req->body, "</LastModified><ETag>&quot;%s&quot;</ETag></CopyPartResult>", md5);
	multi_xml(req);
}

/* ---- complete ---- */

static void
complete_want(const struct emu_xml *x, struct multi_want *w)
{
	WEIR_AUTO(weir_freep) char *number = emu_xml_text(emu_xml_find(x, "PartNumber")), *etag = emu_xml_text(emu_xml_find(x, "ETag"));
	const char *p = etag + strspn(etag, " \n\"");

	w->number = (unsigned)strtoul(number, NULL, 10);
	snprintf(w->etag, sizeof(w->etag), "%.*s", (int)strcspn(p, "\" \n"), p);
	for (const struct emu_xml *c = x->child; c; c = c->next)
		if (c->name && !strncmp(c->name, "Checksum", 8)) {
			char *v = emu_xml_text(c);

			snprintf(w->sum, sizeof(w->sum), "%s", v);
			free(v);
		}
}

static struct multi_want *
complete_parse(struct emu_req *req, size_t *n)
{
	struct s3_req *s = s3_of(req);
	struct emu_xml *root = emu_xml_parse(weir_buf_str(&s->mem), s->mem.len);
	struct multi_want *w = NULL;

	*n = 0;
	if (root && !strcmp(root->name, "CompleteMultipartUpload"))
		for (struct emu_xml *x = root->child; x; x = x->next) {
			if (!x->name || strcmp(x->name, "Part"))
				continue;
			w = weir_xrealloc(w, *n + 1, sizeof(*w));
			w[*n] = (struct multi_want){ 0 };
			complete_want(x, &w[(*n)++]);
		}
	emu_xml_free(root);
	if (!*n)
		s3_error(req, 400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema");
	return w;
}

static struct s3_part *
complete_part(const struct s3_upload *u, unsigned number)
{
	for (size_t i = 0; i < u->parts; i++)
		if (u->part[i]->number == number)
			return u->part[i];
	return NULL;
}

/* Every named part must be there, match, be in order and large enough; complaints come in this order. */
static bool
complete_check(struct emu_req *req, const struct s3_upload *u, const struct multi_want *w, size_t n)
{
	const char *total = emu_header(req, "x-amz-mp-object-size");
	bool too_small = false;
	uint64_t size = 0;

	for (size_t i = 1; i < n; i++)
		if (w[i].number <= w[i - 1].number) {
			s3_error(req, 400, "InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number.");
			return false;
		}
	for (size_t i = 0; i < n; i++) {
		const struct s3_part *p = complete_part(u, w[i].number);

		if (!p || strcmp(p->md5, w[i].etag) || (*w[i].sum && *p->sum.value && strcmp(w[i].sum, p->sum.value))) {
			s3_error(req, 400, "InvalidPart", "One or more of the specified parts could not be found.");
			return false;
		}
		size += emu_blob_size(p->blob);
		too_small |= i + 1 < n && emu_blob_size(p->blob) < s3_conf.min_part;
	}
	if (too_small)
		s3_error(req, 400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size");
	else if (total && strtoull(total, NULL, 10) != size)
		s3_error(req, 400, "InvalidRequest", "The provided 'x-amz-mp-object-size' header value does not match what was computed.");
	return !req->is_replied;
}

static void
complete_etag(struct s3_obj *o, const struct s3_upload *u, const struct multi_want *w, size_t n)
{
	struct s3_hash *md5 = s3_hash_new("md5");
	unsigned char sum[32];
	char hex[33];

	for (size_t i = 0; i < n; i++) {
		weir_unhex(complete_part(u, w[i].number)->md5, 32, sum);
		s3_hash_add(md5, sum, 16);
	}
	s3_hash_end(&md5, sum);
	weir_hex(sum, 16, hex);
	if (s3_on(S3_RANDOM_ETAG))
		weir_random_hex(hex, 32);
	snprintf(o->etag, sizeof(o->etag), "%s-%zu", hex, n);
}

/* The object's checksum: the parts' CRCs joined, or the hash of the parts' hashes. */
static bool
complete_sum(struct emu_req *req, struct s3_obj *o, const struct s3_upload *u, const struct multi_want *w, size_t n)
{
	size_t len = s3_algo_len(u->algo);
	unsigned char all[40] = { 0 }, one[40];
	struct s3_hash *h;
	const char *want;
	char name[40], bare[96];

	if (!*u->algo)
		return true;
	h = s3_hash_new(u->algo);
	for (size_t i = 0; i < n; i++) {
		const struct s3_part *p = complete_part(u, w[i].number);

		if (weir_unbase64(p->sum.value, one, sizeof(one)) != (ssize_t)len) {
			s3_hash_free(h);
			return true;	/* a copied part without one: the object has none */
		}
		s3_hash_add(h, one, len);
		if (!u->is_full)
			continue;
		if (i)
			s3_crc_join(u->algo, all, one, emu_blob_size(p->blob));
		else
			memcpy(all, one, 8);
	}
	if (u->is_full)
		s3_hash_free(h);
	else
		s3_hash_end(&h, all);
	weir_base64(all, len, bare);
	snprintf(o->sum.algo, sizeof(o->sum.algo), "%s", u->algo);
	snprintf(o->sum.value, sizeof(o->sum.value), "%s", bare);
	if (!u->is_full)
		snprintf(o->sum.value, sizeof(o->sum.value), "%.80s-%zu", bare, n);
	o->sum.is_composite = !u->is_full;
	snprintf(name, sizeof(name), "x-amz-checksum-%s", u->algo);
	want = emu_header(req, name);
	if (!want || !strcmp(want, o->sum.value) || !strcmp(want, bare))
		return true;
	s3_error(req, 400, "BadDigest", "The checksum you specified did not match the calculated checksum.");
	return false;
}

static struct s3_obj *
complete_build(struct emu_req *req, const struct s3_upload *u, const struct multi_want *w, size_t n)
{
	struct emu_blob **v = weir_xcalloc(n, sizeof(*v)), *blob;
	struct s3_obj *o;

	for (size_t i = 0; i < n; i++)
		v[i] = complete_part(u, w[i].number)->blob;
	blob = emu_blob_join(v, n);
	free(v);
	if (!blob) {
		s3_error(req, 500, "InternalError", "cannot link in the data folder");
		return NULL;
	}
	o = s3_obj_new(u->key, blob);
	complete_etag(o, u, w, n);
	emu_pairs_copy(&o->head, &u->head);
	if (complete_sum(req, o, u, w, n))
		return o;
	s3_obj_unref(o);
	return NULL;
}

static void
complete_answer(struct emu_req *req, const char *etag)
{
	const char *host = emu_header(req, "Host");

	weir_buf_adds(&req->body, S3_XML "<CompleteMultipartUploadResult " S3_NS "><Location>");
	weir_buf_addf(&req->body, "http://%s%s</Location><Bucket>%s</Bucket><Key>", host ? host : "localhost", req->path, s3_of(req)->bucket);
	emu_xml_text_add(&req->body, s3_of(req)->key);
	weir_buf_addf(&req->body, "</Key><ETag>&quot;%s&quot;</ETag></CompleteMultipartUploadResult>", etag);
	multi_xml(req);
}

static const char *
complete_before(const char *id)
{
	for (size_t i = 0; i < MULTI_DONE && i < multi_done_n; i++)
		if (!strcmp(multi_done[i].id, id))
			return multi_done[i].etag;
	return NULL;
}

static void
complete_locked(struct emu_req *req, const struct multi_want *w, size_t n)
{
	const char *before = complete_before(multi_query(req, "uploadId"));
	struct multi_done *done;
	struct s3_upload *u;
	struct s3_bucket *b;
	struct s3_obj *o;

	if (before) {
		complete_answer(req, before);
		return;
	}
	u = multi_find(req, &b);
	if (!u || !complete_check(req, u, w, n) || !s3_may_write(req, s3_obj_get(b, u->key), S3_IGNORE_IF_COMPLETE))
		return;
	o = complete_build(req, u, w, n);
	if (!o)
		return;
	done = &multi_done[multi_done_n++ % MULTI_DONE];
	snprintf(done->id, sizeof(done->id), "%s", u->id);
	snprintf(done->etag, sizeof(done->etag), "%s", o->etag);
	complete_answer(req, o->etag);
	s3_obj_put(b, o);
	s3_upload_remove(b, u);
}

void
s3_complete_upload(struct emu_req *req)
{
	struct multi_want *w;
	size_t n;

	if (!req->is_raw && emu_take(&s3_switches[S3_COMPLETE_200_NEXT])) {
		emu_reply_text(req, 200, "application/xml", "\n   \n" S3_XML "<Error><Code>InternalError</Code><Message>We encountered an internal "
		    "error. Please try again.</Message></Error>");
		return;
	}
	if (!emu_sleep(req, (int64_t)emu_value(&s3_switches[S3_COMPLETE_DELAY])))
		return;
	w = complete_parse(req, &n);
	if (n) {
		pthread_mutex_lock(&s3_lock);
		complete_locked(req, w, n);
		pthread_mutex_unlock(&s3_lock);
	}
	free(w);
}
