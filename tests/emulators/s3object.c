/* SPDX-License-Identifier: Apache-2.0 */
/* Single objects: get, put, copy, delete, and their conditions. */
#include "config.h"
#include "s3.h"
#include "util/text.h"
#include <string.h>
#include <strings.h>

#define OBJECT_META_MAX 2048

/* ---- etags and conditions ---- */

/* The next entity tag of a list, without W/ and quotes. */
static const char *
object_next_tag(const char *p, size_t *len)
{
	p += strspn(p, ", \t");
	if (!strncmp(p, "W/", 2))
		p += 2;
	if (*p == '"') {
		p++;
		*len = strcspn(p, "\"");
	} else
		*len = strcspn(p, ", \t");
	return p;
}

bool
s3_etag_is(const char *header, const char *etag)
{
	size_t n;

	for (const char *p = header; *p; p += n + (p[n] == '"')) {
		p = object_next_tag(p, &n);
		if ((n == 1 && *p == '*') || (n == strlen(etag) && !strncmp(p, etag, n)))
			return true;
		if (!n && !*p)
			break;
	}
	return false;
}

void
s3_out_etag(struct emu_req *req, const char *etag)
{
	emu_outf(req, "ETag", s3_on(S3_ETAG_UNQUOTED) ? "%s" : "\"%s\"", etag);
}

/* Some servers (Ceph 16) compare the header's text with the bare etag. */
static bool
object_write_tag_is(const char *header, const char *etag)
{
	return s3_on(S3_IF_UNQUOTED) ? !strcmp(header, etag) : s3_etag_is(header, etag);
}

bool
s3_may_write(struct emu_req *req, const struct s3_obj *there, int ignore_switch)
{
	const char *match = emu_header(req, "If-Match"), *none = emu_header(req, "If-None-Match");

	if (!match && !none)
		return true;
	if (!req->is_raw && s3_on(S3_REFUSE_IF)) {
		s3_error(req, 501, "NotImplemented", "A header you provided implies functionality that is not implemented");
		return false;
	}
	if (!req->is_raw && s3_on(ignore_switch))
		return true;
	if (none && strcmp(none, "*")) {
		s3_error(req, 501, "NotImplemented", "If-None-Match takes only * here");
		return false;
	}
	if (!req->is_raw && emu_take(&s3_switches[S3_CONFLICT_NEXT]))
		s3_error(req, 409, "ConditionalRequestConflict", "The conditional request cannot succeed due to a conflicting operation against this resource.");
	else if (none && there)
		s3_error(req, 412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold");
	else if (match && !there)
		s3_error(req, 404, "NoSuchKey", "The specified key does not exist.");
	else if (match && !object_write_tag_is(match, there->etag))
		s3_error(req, 412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold");
	return !req->is_replied;
}

static bool
object_may_read(struct emu_req *req, const struct s3_obj *o)
{
	const char *match = emu_header(req, "If-Match"), *none = emu_header(req, "If-None-Match");
	const char *since = emu_header(req, "If-Modified-Since"), *until = emu_header(req, "If-Unmodified-Since");
	int64_t s = since ? weir_date_parse(since) : INT64_MIN, u = until ? weir_date_parse(until) : INT64_MIN;
	int64_t mtime = o->mtime_ms / 1000 * 1000000000;

	if (match ? !s3_etag_is(match, o->etag) : (u != INT64_MIN && mtime > u)) {
		s3_error(req, 412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold");
		return false;
	}
	if (none ? !s3_etag_is(none, o->etag) : (s == INT64_MIN || mtime > s))
		return true;
	s3_out_etag(req, o->etag);
	emu_reply(req, 304);
	return false;
}

/* ---- headers kept with an object ---- */

static bool
object_keeps(const char *name)
{
	static const char *const kept[] = { "content-type", "content-encoding", "content-disposition", "content-language", "cache-control",
		"expires", "x-amz-storage-class", "x-amz-website-redirect-location" };

	if (!strncasecmp(name, "x-amz-meta-", 11))
		return true;
	for (size_t i = 0; i < WEIR_LEN(kept); i++)
		if (!strcasecmp(name, kept[i]))
			return true;
	return false;
}

/* Content-Encoding without aws-chunked, which is of the transfer; NULL when nothing is left. */
static char *
object_encoding(const char *v)
{
	struct weir_buf out = WEIR_BUF(1024);

	while (*v) {
		size_t n;

		v += strspn(v, ", ");
		n = strcspn(v, ", ");
		if (n && !(n == 11 && !strncasecmp(v, "aws-chunked", 11))) {
			weir_buf_adds(&out, out.len ? "," : "");
			weir_buf_add(&out, v, n);
		}
		v += n;
	}
	if (!out.len) {
		weir_buf_free(&out);
		return NULL;
	}
	return weir_buf_take(&out);
}

void
s3_keep_headers(const struct emu_req *req, struct emu_pairs *to)
{
	for (size_t i = 0; i < req->head.n; i++) {
		const struct emu_pair *h = &req->head.v[i];
		char *name, *value;

		if (!object_keeps(h->name))
			continue;
		name = weir_xstrdup(h->name);
		for (char *p = name; *p; p++)
			*p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
		value = strcmp(name, "content-encoding") ? weir_xstrdup(h->value) : object_encoding(h->value);
		if (value)
			emu_pairs_add(to, name, value);
		free(name);
		free(value);
	}
}

static bool
object_meta_ok(struct emu_req *req)
{
	size_t n = 0;

	for (size_t i = 0; i < req->head.n; i++)
		if (!strncasecmp(req->head.v[i].name, "x-amz-meta-", 11))
			n += strlen(req->head.v[i].name) - 11 + strlen(req->head.v[i].value);
	if (n <= OBJECT_META_MAX)
		return true;
	s3_error(req, 400, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size.");
	return false;
}

void
s3_sum_headers(struct emu_req *req, const struct s3_sum *sum)
{
	char name[40];

	if (!*sum->algo)
		return;
	snprintf(name, sizeof(name), "x-amz-checksum-%s", sum->algo);
	emu_out(req, name, sum->value);
	emu_out(req, "x-amz-checksum-type", sum->is_composite ? "COMPOSITE" : "FULL_OBJECT");
}

/* ---- get ---- */

static void
object_headers(struct emu_req *req, const struct s3_obj *o)
{
	static const char *const overrides[] = { "response-content-type", "response-content-disposition", "response-cache-control",
		"response-content-encoding", "response-content-language", "response-expires" };
	const char *mode = emu_header(req, "x-amz-checksum-mode");
	char date[32];

	for (size_t i = 0; i < o->head.n; i++)
		emu_out_replace(req, o->head.v[i].name, o->head.v[i].value);
	if (!emu_pairs_get(&o->head, "content-type"))
		emu_out(req, "Content-Type", "binary/octet-stream");
	for (size_t i = 0; i < WEIR_LEN(overrides); i++)
		if (emu_query(req, overrides[i]))
			emu_out_replace(req, overrides[i] + strlen("response-"), emu_query(req, overrides[i]));
	s3_out_etag(req, o->etag);
	weir_date_rfc1123(o->mtime_ms / 1000, date);
	emu_out(req, "Last-Modified", date);
	emu_out(req, "Accept-Ranges", "bytes");
	if (mode && !strcasecmp(mode, "ENABLED") && !emu_header(req, "Range"))
		s3_sum_headers(req, &o->sum);
}

static void
object_send(struct emu_req *req, struct s3_obj *o)
{
	uint64_t size = emu_blob_size(o->blob), off = 0, len = size;
	const char *range = s3_on(S3_NO_RANGE) && !req->is_raw ? NULL : emu_header(req, "Range");
	int r = emu_range(range, size, &off, &len);

	if (emu_query(req, "partNumber")) {
		s3_error(req, 501, "NotImplemented", "This server does not read by part number");
		return;
	}
	if (r < 0) {
		emu_outf(req, "Content-Range", "bytes */%llu", (unsigned long long)size);
		s3_error(req, 416, "InvalidRange", "The requested range is not satisfiable");
		return;
	}
	object_headers(req, o);
	if (r > 0)
		emu_outf(req, "Content-Range", "bytes %llu-%llu/%llu", (unsigned long long)off, (unsigned long long)(off + len - 1),
		    (unsigned long long)size);
	emu_reply_blob(req, r > 0 ? 206 : 200, o->blob, off, len);
}

void
s3_get_object(struct emu_req *req)
{
	struct s3_obj *o = NULL;
	struct s3_bucket *b;

	pthread_mutex_lock(&s3_lock);
	if (s3_with_bucket(req, &b)) {
		o = s3_obj_get(b, s3_of(req)->key);
		if (o)
			s3_obj_ref(o);
		else
			s3_error(req, 404, "NoSuchKey", "The specified key does not exist.");
	}
	pthread_mutex_unlock(&s3_lock);
	if (o && object_may_read(req, o))
		object_send(req, o);
	s3_obj_unref(o);
}

/* ---- put ---- */

static bool
object_quota_ok(struct emu_req *req, uint64_t more)
{
	double quota = emu_value(&s3_switches[S3_QUOTA]);

	if (quota <= 0 || (double)(s3_used() + more) <= quota)
		return true;
	s3_error(req, 403, "QuotaExceeded", "The quota of this account is exhausted");
	return false;
}

void
s3_put_object(struct emu_req *req)
{
	struct s3_req *s = s3_of(req);
	struct s3_bucket *b;
	struct s3_obj *o;

	if (!object_meta_ok(req))
		return;
	pthread_mutex_lock(&s3_lock);
	if (s3_with_bucket(req, &b) && s3_may_write(req, s3_obj_get(b, s->key), S3_IGNORE_IF_PUT) &&
	    object_quota_ok(req, emu_blob_size(s->blob))) {
		o = s3_obj_new(s->key, WEIR_STEAL(s->blob));
		snprintf(o->etag, sizeof(o->etag), "%s", s->md5_hex);
		s3_keep_headers(req, &o->head);
		o->sum = s->sum_out;
		s3_out_etag(req, o->etag);
		s3_sum_headers(req, &o->sum);
		s3_obj_put(b, o);
		emu_reply(req, 200);
	}
	pthread_mutex_unlock(&s3_lock);
}

/* ---- copy ---- */

/* "/bucket/key?versionId=null", percent-encoded -> bucket and key. */
static bool
copy_parse(struct emu_req *req, char **bucket, char **key)
{
	const char *h = emu_header(req, "x-amz-copy-source");
	char *slash;

	h += *h == '/';
	*bucket = emu_decode(h, strcspn(h, "?"), false);
	slash = *bucket ? strchr(*bucket, '/') : NULL;
	if (!slash || !slash[1]) {
		s3_error(req, 400, "InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey");
		return false;
	}
	*slash = 0;
	*key = slash + 1;
	return true;
}

static bool
copy_allowed(struct emu_req *req, const struct s3_obj *o)
{
	const char *match = emu_header(req, "x-amz-copy-source-if-match"), *none = emu_header(req, "x-amz-copy-source-if-none-match");
	const char *since = emu_header(req, "x-amz-copy-source-if-modified-since");
	const char *until = emu_header(req, "x-amz-copy-source-if-unmodified-since");
	int64_t mtime = o->mtime_ms / 1000 * 1000000000;

	if ((!match || s3_etag_is(match, o->etag)) && (!none || !s3_etag_is(none, o->etag)) && (!since || mtime > weir_date_parse(since)) &&
	    (!until || match || mtime <= weir_date_parse(until)))
		return true;
	s3_error(req, 412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold");
	return false;
}

struct s3_obj *
s3_copy_source(struct emu_req *req)
{
	char *bucket = NULL, *key = NULL;
	struct s3_obj *o = NULL;
	struct s3_bucket *b;

	if (copy_parse(req, &bucket, &key)) {
		pthread_mutex_lock(&s3_lock);
		b = s3_bucket_get(bucket);
		o = b ? s3_obj_get(b, key) : NULL;
		if (!b)
			s3_error(req, 404, "NoSuchBucket", "The specified bucket does not exist");
		else if (!o)
			s3_error(req, 404, "NoSuchKey", "The specified key does not exist.");
		else if (!copy_allowed(req, o))
			o = NULL;
		if (o)
			s3_obj_ref(o);
		pthread_mutex_unlock(&s3_lock);
	}
	free(bucket);
	return o;
}

/* A copy is written in one piece, so its etag is the plain MD5 even when the source's was a multipart one. */
static void
copy_fill(struct emu_req *req, struct s3_obj *o, const struct s3_obj *from, bool replaces)
{
	unsigned char sum[32];

	snprintf(o->etag, sizeof(o->etag), "%s", from->etag);
	if (strchr(from->etag, '-')) {
		struct s3_hash *md5 = s3_hash_new("md5");

		s3_hash_blob(from->blob, md5);
		s3_hash_end(&md5, sum);
		weir_hex(sum, 16, o->etag);
	}
	if (replaces)
		s3_keep_headers(req, &o->head);
	else
		emu_pairs_copy(&o->head, &from->head);
	if (!from->sum.is_composite)
		o->sum = from->sum;
}

static void
copy_answer(struct emu_req *req, const struct s3_obj *o)
{
	if (!req->is_raw && emu_take(&s3_switches[S3_COPY_200_NEXT])) {
		emu_reply_text(req, 200, "application/xml", "\n\n" S3_XML "<Error><Code>InternalError</Code><Message>We encountered an internal error. "
		    "Please try again.</Message></Error>");
		return;
	}
	weir_buf_adds(&req->body, S3_XML "<CopyObjectResult " S3_NS "><LastModified>");
	s3_out_date_iso(&req->body, o->mtime_ms);
	weir_buf_addf(&req->body, "</LastModified><ETag>&quot;%s&quot;</ETag></CopyObjectResult>", o->etag);
	emu_out(req, "Content-Type", "application/xml");
	emu_reply(req, 200);
}

static bool
copy_makes_sense(struct emu_req *req, const struct s3_obj *from, bool replaces)
{
	WEIR_AUTO(weir_freep) char *bucket = NULL;
	char *key;

	if (emu_blob_size(from->blob) > S3_PUT_MAX) {
		s3_error(req, 400, "InvalidRequest", "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120");
		return false;
	}
	copy_parse(req, &bucket, &key);
	if (strcmp(bucket, s3_of(req)->bucket) || strcmp(key, s3_of(req)->key) || replaces || emu_header(req, "x-amz-storage-class"))
		return true;
	s3_error(req, 400, "InvalidRequest", "This copy request is illegal because it is trying to copy an object to itself without changing the "
	    "object's metadata, storage class, website redirect location or encryption attributes.");
	return false;
}

void
s3_copy_object(struct emu_req *req)
{
	const char *directive = emu_header(req, "x-amz-metadata-directive");
	bool replaces = directive && !strcasecmp(directive, "REPLACE");
	struct s3_obj *from, *o;
	struct emu_blob *blob;
	struct s3_bucket *b;

	if (!object_meta_ok(req) || !(from = s3_copy_source(req)))
		return;
	if (!copy_makes_sense(req, from, replaces)) {
		s3_obj_unref(from);
		return;
	}
	blob = emu_blob_copy(from->blob, 0, emu_blob_size(from->blob));
	o = s3_obj_new(s3_of(req)->key, blob ? blob : emu_blob_empty());
	copy_fill(req, o, from, replaces);
	pthread_mutex_lock(&s3_lock);
	if (!blob)
		s3_error(req, 500, "InternalError", "cannot link in the data folder");
	else if (s3_with_bucket(req, &b) && s3_may_write(req, s3_obj_get(b, o->key), S3_IGNORE_IF_COPY) && object_quota_ok(req, emu_blob_size(blob))) {
		s3_obj_put(b, s3_obj_ref(o));
		copy_answer(req, o);
	}
	pthread_mutex_unlock(&s3_lock);
	s3_obj_unref(o);
	s3_obj_unref(from);
}

/* ---- delete ---- */

void
s3_delete_object(struct emu_req *req)
{
	const char *match = emu_header(req, "If-Match");
	struct s3_bucket *b;
	struct s3_obj *o;

	pthread_mutex_lock(&s3_lock);
	if (s3_with_bucket(req, &b)) {
		o = s3_obj_get(b, s3_of(req)->key);
		if (!match || !o || s3_may_write(req, o, S3_IGNORE_IF_DELETE)) {
			s3_obj_remove(b, s3_of(req)->key);
			emu_reply(req, 204);
		}
	}
	pthread_mutex_unlock(&s3_lock);
}

static void
delete_one(struct emu_req *req, struct s3_bucket *b, const struct emu_xml *x, bool is_quiet)
{
	WEIR_AUTO(weir_freep) char *key = emu_xml_text(emu_xml_find(x, "Key")), *etag = emu_xml_text(emu_xml_find(x, "ETag"));
	struct s3_obj *o = s3_obj_get(b, key);
	bool refused = *etag && o && !s3_on(S3_IGNORE_IF_DELETE) && !s3_etag_is(etag, o->etag);

	if (!refused)
		s3_obj_remove(b, key);
	if (is_quiet && !refused)
		return;
	weir_buf_adds(&req->body, refused ? "<Error><Key>" : "<Deleted><Key>");
	emu_xml_text_add(&req->body, key);
	weir_buf_adds(&req->body, refused ? "</Key><Code>PreconditionFailed</Code><Message>The object has another ETag</Message></Error>" : "</Key></Deleted>");
}

void
s3_delete_objects(struct emu_req *req)
{
	struct s3_req *s = s3_of(req);
	struct emu_xml *root;
	struct s3_bucket *b;
	size_t n = 0;

	if (!*s->md5_want && !*s->sum_want && !req->is_raw) {
		s3_error(req, 400, "InvalidRequest", "Missing required header for this request: Content-MD5");
		return;
	}
	root = emu_xml_parse(weir_buf_str(&s->mem), s->mem.len);
	for (struct emu_xml *x = root ? root->child : NULL; x; x = x->next)
		n += x->name && !strcmp(x->name, "Object");
	if (!n || n > 1000) {
		s3_error(req, 400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema");
		emu_xml_free(root);
		return;
	}
	pthread_mutex_lock(&s3_lock);
	if (s3_with_bucket(req, &b)) {
		WEIR_AUTO(weir_freep) char *quiet = emu_xml_text(emu_xml_find(root, "Quiet"));

		weir_buf_adds(&req->body, S3_XML "<DeleteResult " S3_NS ">");
		for (struct emu_xml *x = root->child; x; x = x->next)
			if (x->name && !strcmp(x->name, "Object"))
				delete_one(req, b, x, !strcmp(quiet, "true"));
		weir_buf_adds(&req->body, "</DeleteResult>");
		emu_out(req, "Content-Type", "application/xml");
		emu_reply(req, 200);
	}
	pthread_mutex_unlock(&s3_lock);
	emu_xml_free(root);
}
