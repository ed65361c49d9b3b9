/* SPDX-License-Identifier: Apache-2.0 */
/* Listings: buckets, objects (V1, V2, versions), pending uploads, parts. */
#include "config.h"
#include "s3.h"
#include <string.h>
#include <time.h>

#define LIST_MAX 1000

enum list_kind { LIST_V1, LIST_V2, LIST_VERSIONS };
struct list_job {
	enum list_kind kind;
	const char *prefix, *delimiter;
	char *after;			/* start behind this key or common prefix; owned, "" from the start */
	bool is_encoded, is_truncated;
	size_t max, count;
	char *last;			/* of what was given out; owned */
	struct weir_buf contents, prefixes;
};

void
s3_out_date_iso(struct weir_buf *out, int64_t ms)
{
	time_t t = (time_t)(ms / 1000);
	char text[32];
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	weir_buf_addf(out, "%s.%03dZ", text, (int)(ms % 1000));
}

static void
list_name(struct weir_buf *out, const char *tag, const char *value, bool is_encoded)
{
	weir_buf_addf(out, "<%s>", tag);
	if (is_encoded)
		s3_uri_encode(out, value, true);
	else
		emu_xml_text_add(out, value);
	weir_buf_addf(out, "</%s>", tag);
}

void
s3_list_buckets(struct emu_req *req)
{
	struct weir_buf *out = &req->body;

	weir_buf_adds(out, S3_XML "<ListAllMyBucketsResult " S3_NS "><Owner><ID>emu</ID><DisplayName>emu</DisplayName></Owner><Buckets>");
	pthread_mutex_lock(&s3_lock);
	for (struct s3_bucket *b = s3_buckets; b; b = b->next) {
		weir_buf_addf(out, "<Bucket><Name>%s</Name><CreationDate>", b->name);
		s3_out_date_iso(out, b->made_ms);
		weir_buf_adds(out, "</CreationDate></Bucket>");
	}
	pthread_mutex_unlock(&s3_lock);
	weir_buf_adds(out, "</Buckets></ListAllMyBucketsResult>");
	emu_out(req, "Content-Type", "application/xml");
	emu_reply(req, 200);
}

/* ---- objects ---- */

/* Listings that lag: undo, newest first, what happened within the delay. The array is the caller's, the objects are borrowed. */
static struct s3_obj **
list_lagging(const struct s3_bucket *b, int64_t delay, size_t *n)
{
	struct s3_obj **v = weir_xcalloc(b->n + b->undos + 1, sizeof(*v));
	int64_t limit = s3_now_ms() - delay;

	memcpy(v, b->obj, b->n * sizeof(*v));
	*n = b->n;
	for (size_t k = b->undos; k-- > 0 && b->undo[k].at_ms > limit;) {
		const struct s3_undo *u = &b->undo[k];
		size_t i = s3_obj_place(v, *n, u->key);
		bool is_there = i < *n && !strcmp(v[i]->key, u->key);

		if (u->was && is_there)
			v[i] = u->was;
		else if (u->was) {
			memmove(v + i + 1, v + i, (*n - i) * sizeof(*v));
			v[i] = u->was;
			++*n;
		} else if (is_there) {
			memmove(v + i, v + i + 1, (*n - i - 1) * sizeof(*v));
			--*n;
		}
	}
	return v;
}

/* First behind everything that starts with prefix. */
static size_t
list_behind(struct s3_obj *const *v, size_t n, size_t from, const char *prefix)
{
	size_t lo = from, hi = n, len = strlen(prefix);

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strncmp(v[mid]->key, prefix, len) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void
list_object(struct list_job *job, const struct s3_obj *o)
{
	const char *class = emu_pairs_get(&o->head, "x-amz-storage-class");
	struct weir_buf *out = &job->contents;

	weir_buf_adds(out, job->kind == LIST_VERSIONS ? "<Version>" : "<Contents>");
	list_name(out, "Key", o->key, job->is_encoded);
	if (job->kind == LIST_VERSIONS)
		weir_buf_adds(out, "<VersionId>null</VersionId><IsLatest>true</IsLatest>");
	weir_buf_adds(out, "<LastModified>");
	s3_out_date_iso(out, o->mtime_ms);
	weir_buf_addf(out, "</LastModified><ETag>&quot;%s&quot;</ETag><Size>%llu</Size>", o->etag, (unsigned long long)emu_blob_size(o->blob));
	if (job->kind != LIST_V2)
		weir_buf_adds(out, "<Owner><ID>emu</ID><DisplayName>emu</DisplayName></Owner>");
	weir_buf_addf(out, "<StorageClass>%s</StorageClass>", class ? class : "STANDARD");
	weir_buf_adds(out, job->kind == LIST_VERSIONS ? "</Version>" : "</Contents>");
}

static bool
list_full(struct list_job *job)
{
	job->is_truncated = job->count == job->max;
	return job->is_truncated;
}

static void
list_took(struct list_job *job, char *last)
{
	free(job->last);
	job->last = last;
	job->count++;
}

static void
list_run(struct list_job *job, struct s3_obj *const *v, size_t n)
{
	size_t plen = strlen(job->prefix), i = s3_obj_place(v, n, strcmp(job->after, job->prefix) > 0 ? job->after : job->prefix);

	while (i < n && !strncmp(v[i]->key, job->prefix, plen)) {
		const char *key = v[i]->key, *cut = *job->delimiter ? strstr(key + plen, job->delimiter) : NULL;
		char *common;

		if (!cut) {
			if (*job->after && !strcmp(key, job->after)) {
				i++;
				continue;
			}
			if (list_full(job))
				return;
			list_object(job, v[i++]);
			list_took(job, weir_xstrdup(key));
			continue;
		}
		common = weir_xstrndup(key, (size_t)(cut - key) + strlen(job->delimiter));
		i = list_behind(v, n, i, common);
		if (!strcmp(common, job->after)) {
			free(common);
			continue;
		}
		if (list_full(job)) {
			free(common);
			return;
		}
		weir_buf_adds(&job->prefixes, "<CommonPrefixes>");
		list_name(&job->prefixes, "Prefix", common, job->is_encoded && !s3_on(S3_RAW_PREFIXES));
		weir_buf_adds(&job->prefixes, "</CommonPrefixes>");
		list_took(job, common);
	}
}

/* Continuation tokens are the hex of where the page ended: opaque to clients, and survive a restart. */
static char *
list_token(const char *last)
{
	struct weir_buf out = WEIR_BUF(8192);

	weir_buf_adds(&out, "t");
	for (; *last; last++)
		weir_buf_addf(&out, "%02x", (unsigned char)*last);
	return weir_buf_take(&out);
}

static char *
list_untoken(const char *token)
{
	size_t n = strlen(token);
	char *out;

	if (*token != 't' || n % 2 != 1 || strspn(token + 1, "0123456789abcdef") != n - 1)
		return NULL;
	out = weir_xcalloc(1, n);
	for (size_t i = 0; i < n / 2; i++) {
		char two[3] = { token[1 + 2 * i], token[2 + 2 * i], 0 };

		out[i] = (char)strtol(two, NULL, 16);
	}
	return out;
}

static const char *
list_query(const struct emu_req *req, const char *name)
{
	const char *v = emu_query(req, name);

	return v ? v : "";
}

static bool
list_parse(struct emu_req *req, struct list_job *job, size_t *asked)
{
	const char *max = emu_query(req, "max-keys"), *token = emu_query(req, "continuation-token"), *encoding = emu_query(req, "encoding-type");
	size_t short_pages = (size_t)emu_value(&s3_switches[S3_SHORT_PAGES]);
	char *end;
	long n = LIST_MAX;

	if (max && *max) {
		n = strtol(max, &end, 10);
		if (*end || n < 0) {
			s3_error(req, 400, "InvalidArgument", "Provided max-keys not an integer or within integer range");
			return false;
		}
	}
	if (encoding && *encoding && strcmp(encoding, "url")) {
		s3_error(req, 400, "InvalidArgument", "Invalid Encoding Method specified in Request");
		return false;
	}
	*asked = (size_t)(n > LIST_MAX ? LIST_MAX : n);
	job->max = short_pages && short_pages < *asked && !req->is_raw ? short_pages : *asked;
	job->is_encoded = encoding && *encoding;
	job->prefix = list_query(req, "prefix");
	job->delimiter = list_query(req, "delimiter");
	if (job->kind == LIST_V2 && token)
		job->after = list_untoken(token);
	else
		job->after = weir_xstrdup(list_query(req, job->kind == LIST_V2 ? "start-after" : job->kind == LIST_V1 ? "marker" : "key-marker"));
	if (job->after)
		return true;
	s3_error(req, 400, "InvalidArgument", "The continuation token provided is incorrect");
	return false;
}

static void
list_answer(struct emu_req *req, struct list_job *job, size_t asked)
{
	const char *root = job->kind == LIST_VERSIONS ? "ListVersionsResult" : "ListBucketResult";
	struct weir_buf *out = &req->body;

	weir_buf_addf(out, S3_XML "<%s " S3_NS "><Name>%s</Name>", root, s3_of(req)->bucket);
	list_name(out, "Prefix", job->prefix, job->is_encoded);
	if (*job->delimiter)
		list_name(out, "Delimiter", job->delimiter, job->is_encoded);
	weir_buf_addf(out, "<MaxKeys>%zu</MaxKeys><IsTruncated>%s</IsTruncated>", asked, job->is_truncated ? "true" : "false");
	if (job->is_encoded)
		weir_buf_adds(out, "<EncodingType>url</EncodingType>");
	if (job->kind == LIST_V2) {
		weir_buf_addf(out, "<KeyCount>%zu</KeyCount>", job->count);
		if (emu_query(req, "continuation-token"))
			list_name(out, "ContinuationToken", emu_query(req, "continuation-token"), false);
		if (emu_query(req, "start-after"))
			list_name(out, "StartAfter", emu_query(req, "start-after"), job->is_encoded);
	} else
		list_name(out, job->kind == LIST_V1 ? "Marker" : "KeyMarker", job->after, job->is_encoded);
	if (job->is_truncated && job->kind == LIST_V2) {
		char *token = list_token(job->last);

		list_name(out, "NextContinuationToken", token, false);
		free(token);
	} else if (job->is_truncated && job->kind == LIST_VERSIONS)
		list_name(out, "NextKeyMarker", job->last, job->is_encoded);
	else if (job->is_truncated && *job->delimiter)
		list_name(out, "NextMarker", job->last, job->is_encoded);
	weir_buf_adds(out, weir_buf_str(&job->contents));
	weir_buf_adds(out, weir_buf_str(&job->prefixes));
	weir_buf_addf(out, "</%s>", root);
	emu_out(req, "Content-Type", "application/xml");
	emu_reply(req, 200);
}

static void
list_bucket(struct emu_req *req, enum list_kind kind)
{
	struct list_job job = { .kind = kind, .contents = WEIR_BUF(32u << 20), .prefixes = WEIR_BUF(32u << 20) };
	int64_t delay = (int64_t)emu_value(&s3_switches[S3_LIST_DELAY]);
	struct s3_bucket *b;
	size_t asked = 0, n;

	if (!list_parse(req, &job, &asked)) {
		free(job.after);
		return;
	}
	pthread_mutex_lock(&s3_lock);
	if (s3_with_bucket(req, &b) && job.max) {
		struct s3_obj **v = delay && !req->is_raw ? list_lagging(b, delay, &n) : NULL;

		list_run(&job, v ? v : b->obj, v ? n : b->n);
		free(v);
	}
	pthread_mutex_unlock(&s3_lock);
	if (!req->is_replied)
		list_answer(req, &job, asked);
	weir_buf_free(&job.contents);
	weir_buf_free(&job.prefixes);
	free(job.after);
	free(job.last);
}

void
s3_list_objects(struct emu_req *req, bool is_v2)
{
	if (is_v2 && s3_on(S3_LIST_V1_ONLY) && !req->is_raw) {
		s3_error(req, 501, "NotImplemented", "A parameter you provided implies functionality that is not implemented");
		return;
	}
	list_bucket(req, is_v2 ? LIST_V2 : LIST_V1);
}

void
s3_list_versions(struct emu_req *req)
{
	list_bucket(req, LIST_VERSIONS);
}

/* ---- uploads and parts ---- */

static size_t
list_limit(const struct emu_req *req, const char *name)
{
	const char *v = emu_query(req, name);
	long n = v && *v ? strtol(v, NULL, 10) : LIST_MAX;

	return n > 0 && n < LIST_MAX ? (size_t)n : LIST_MAX;
}

/* Is this upload behind the markers? */
static bool
uploads_behind(const struct s3_upload *u, const char *key_marker, const char *id_marker, bool *met)
{
	int r = strcmp(u->key, key_marker);

	if (!*key_marker || r > 0)
		return true;
	if (r < 0 || !*id_marker)
		return false;
	if (*met)
		return true;
	*met = !strcmp(u->id, id_marker);
	return false;
}

void
s3_list_uploads(struct emu_req *req)
{
	const char *prefix = list_query(req, "prefix"), *key_marker = list_query(req, "key-marker"), *id_marker = list_query(req, "upload-id-marker");
	const char *enc = emu_query(req, "encoding-type");
	bool is_encoded = enc && !strcmp(enc, "url"), met = false, truncated = false;
	size_t max = list_limit(req, "max-uploads"), n = 0;
	const struct s3_upload *last = NULL;
	struct weir_buf rows = WEIR_BUF(32u << 20);
	struct s3_bucket *b;

	pthread_mutex_lock(&s3_lock);
	if (!s3_with_bucket(req, &b)) {
		pthread_mutex_unlock(&s3_lock);
		return;
	}
	for (const struct s3_upload *u = b->uploads; u; u = u->next) {
		if (strncmp(u->key, prefix, strlen(prefix)) || !uploads_behind(u, key_marker, id_marker, &met))
			continue;
		truncated = n == max;
		if (truncated)
			break;
		weir_buf_adds(&rows, "<Upload>");
		list_name(&rows, "Key", u->key, is_encoded);
		weir_buf_addf(&rows, "<UploadId>%s</UploadId><StorageClass>STANDARD</StorageClass><Initiated>", u->id);
		s3_out_date_iso(&rows, u->started_ms);
		weir_buf_adds(&rows, "</Initiated></Upload>");
		last = u;
		n++;
	}
	weir_buf_addf(&req->body, S3_XML "<ListMultipartUploadsResult " S3_NS "><Bucket>%s</Bucket>", b->name);
	list_name(&req->body, "Prefix", prefix, is_encoded);
	list_name(&req->body, "KeyMarker", key_marker, is_encoded);
	if (truncated && last) {
		list_name(&req->body, "NextKeyMarker", last->key, is_encoded);
		list_name(&req->body, "NextUploadIdMarker", last->id, false);
	}
	pthread_mutex_unlock(&s3_lock);
	weir_buf_addf(&req->body, "%s<MaxUploads>%zu</MaxUploads><IsTruncated>%s</IsTruncated>%s</ListMultipartUploadsResult>",
	    is_encoded ? "<EncodingType>url</EncodingType>" : "", max, truncated ? "true" : "false", weir_buf_str(&rows));
	weir_buf_free(&rows);
	emu_out(req, "Content-Type", "application/xml");
	emu_reply(req, 200);
}

static void
parts_row(struct weir_buf *out, const struct s3_part *p)
{
	weir_buf_addf(out, "<Part><PartNumber>%u</PartNumber><LastModified>", p->number);
	s3_out_date_iso(out, p->mtime_ms);
	weir_buf_addf(out, "</LastModified><ETag>&quot;%s&quot;</ETag><Size>%llu</Size></Part>", p->md5, (unsigned long long)emu_blob_size(p->blob));
}

void
s3_list_parts(struct emu_req *req)
{
	unsigned marker = (unsigned)strtoul(list_query(req, "part-number-marker"), NULL, 10), last = marker;
	size_t max = list_limit(req, "max-parts"), n = 0;
	struct weir_buf rows = WEIR_BUF(32u << 20);
	struct s3_upload *u = NULL;
	struct s3_bucket *b;
	bool truncated = false;

	pthread_mutex_lock(&s3_lock);
	if (s3_with_bucket(req, &b) && !(u = s3_upload_get(b, s3_of(req)->key, list_query(req, "uploadId"))))
		s3_error(req, 404, "NoSuchUpload", "The specified upload does not exist.");
	for (size_t i = 0; u && i < u->parts && !truncated; i++) {
		if (u->part[i]->number <= marker)
			continue;
		truncated = n == max;
		if (truncated)
			break;
		parts_row(&rows, u->part[i]);
		last = u->part[i]->number;
		n++;
	}
	pthread_mutex_unlock(&s3_lock);
	if (req->is_replied)
		return;
	weir_buf_addf(&req->body, S3_XML "<ListPartsResult " S3_NS "><Bucket>%s</Bucket>", s3_of(req)->bucket);
	list_name(&req->body, "Key", s3_of(req)->key, false);
	list_name(&req->body, "UploadId", list_query(req, "uploadId"), false);
	weir_buf_addf(&req->body, "<PartNumberMarker>%u</PartNumberMarker><NextPartNumberMarker>%u</NextPartNumberMarker><MaxParts>%zu</MaxParts>"
	    "<IsTruncated>%s</IsTruncated>%s</ListPartsResult>", marker, last, max, truncated ? "true" : "false", weir_buf_str(&rows));
	weir_buf_free(&rows);
	emu_out(req, "Content-Type", "application/xml");
	emu_reply(req, 200);
}
