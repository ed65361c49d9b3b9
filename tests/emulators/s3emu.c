/* SPDX-License-Identifier: Apache-2.0 */
/* s3emu: an S3 server for tests and the demo, one data folder, one account. Which operation a request is, what it needs
 * before its body, and the buckets themselves; the rest is in s3*.c. See faults.c for the control path. */
#include "config.h"
#include "s3.h"
#include <getopt.h>
#include <string.h>
#include <strings.h>

struct s3_conf s3_conf = { .region = "us-east-1", .min_part = 5u << 20 };

struct emu_switch s3_switches[S3_SWITCHES + 1] = {
	[S3_IGNORE_IF_PUT] = { "ignore_if_put", "1: conditions on PutObject are not looked at" },
	[S3_IGNORE_IF_COMPLETE] = { "ignore_if_complete", "1: nor on CompleteMultipartUpload" },
	[S3_IGNORE_IF_COPY] = { "ignore_if_copy", "1: nor on CopyObject" },
	[S3_IGNORE_IF_DELETE] = { "ignore_if_delete", "1: nor on DeleteObject" },
	[S3_REFUSE_IF] = { "refuse_conditionals", "1: 501 NotImplemented for conditional writes" },
	[S3_IF_UNQUOTED] = { "if_match_unquoted", "1: If-Match of writes matches only without quotes (Ceph 16)" },
	[S3_CONFLICT_NEXT] = { "conflict_next", "409 ConditionalRequestConflict for the next N conditional writes" },
	[S3_REFUSE_SUMS] = { "refuse_checksums", "1: 501 for x-amz-checksum-* and aws-chunked" },
	[S3_DEFAULT_SUM] = { "default_checksum", "1: crc64nvme is stored when the client sends no checksum, as AWS does" },
	[S3_COMPLETE_200_NEXT] = { "complete_error_200_next", "the next N Completes fail inside a 200" },
	[S3_COPY_200_NEXT] = { "copy_error_200_next", "the next N copies report an error inside a 200, though done" },
	[S3_COMPLETE_DELAY] = { "complete_delay_ms", "a Complete takes so long" },
	[S3_RANDOM_ETAG] = { "random_multipart_etag", "1: etags of multipart objects are no MD5 of MD5s" },
	[S3_LIST_DELAY] = { "list_delay_ms", "listings show the state of so long ago" },
	[S3_SHORT_PAGES] = { "short_pages", "at most N entries a page, whatever was asked" },
	[S3_RAW_PREFIXES] = { "unencoded_prefixes", "1: CommonPrefixes are not encoded (old Ceph)" },
	[S3_LIST_V1_ONLY] = { "list_v1_only", "1: 501 for ListObjectsV2" },
	[S3_EXPIRED] = { "expired_token", "1: every request gets 400 ExpiredToken" },
	[S3_EXPIRED_NEXT] = { "expired_token_next", "the next N requests get 400 ExpiredToken" },
	[S3_ETAG_UNQUOTED] = { "etag_unquoted", "1: ETag headers without quotes" },
	[S3_NO_BULK] = { "no_bulk_delete", "1: 501 for DeleteObjects" },
	[S3_REDIRECT] = { "region_redirect", "1: a wrong region is answered with 301 instead of 400" },
	[S3_ANONYMOUS] = { "anonymous_read", "1: unsigned GET and HEAD are allowed" },
	[S3_QUOTA] = { "quota", "bytes the account may hold; 0: no limit" },
	[S3_NO_RANGE] = { "ignore_range", "1: Range is not honoured" },
	[S3_SWITCHES] = { NULL },
};

/* ---- errors ---- */

void
s3_error(struct emu_req *req, unsigned status, const char *code, const char *message)
{
	struct weir_buf b = WEIR_BUF(64u << 10);
	const struct s3_req *s = s3_of(req);

	if (!emu_is(req, "HEAD")) {
		weir_buf_addf(&b, S3_XML "<Error><Code>%s</Code><Message>", code);
		emu_xml_text_add(&b, message);
		weir_buf_adds(&b, "</Message>");
		if (s && s->key && *s->key) {
			weir_buf_adds(&b, "<Key>");
			emu_xml_text_add(&b, s->key);
			weir_buf_adds(&b, "</Key>");
		}
		if (s && s->bucket && *s->bucket) {
			weir_buf_adds(&b, "<BucketName>");
			emu_xml_text_add(&b, s->bucket);
			weir_buf_adds(&b, "</BucketName>");
		}
		if (!strcmp(code, "AuthorizationHeaderMalformed"))
			weir_buf_addf(&b, "<Region>%s</Region>", s3_conf.region);
		weir_buf_adds(&b, "<Resource>");
		emu_xml_text_add(&b, req->path);
		weir_buf_adds(&b, "</Resource><RequestId>1</RequestId><HostId>emu</HostId></Error>");
	}
	emu_reply_text(req, status, "application/xml", weir_buf_str(&b));
	weir_buf_free(&b);
}

static void
s3emu_inject(struct emu_req *req, unsigned status, const char *code)
{
	if (!code)
		code = status == 503 ? "SlowDown" : status == 500 ? "InternalError" : status == 429 ? "TooManyRequests" : "ServiceUnavailable";
	s3_error(req, status, code, status == 503 ? "Please reduce your request rate." : "Injected error");
}

bool
s3_with_bucket(struct emu_req *req, struct s3_bucket **b)
{
	*b = s3_bucket_get(s3_of(req)->bucket);
	if (!*b)
		s3_error(req, 404, "NoSuchBucket", "The specified bucket does not exist");
	return *b != NULL;
}

/* ---- buckets ---- */

static bool
bucket_name_ok(const char *s)
{
	size_t n = strlen(s);

	return n >= 3 && n <= 63 && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789.-") == n && *s != '.' && *s != '-' && !strstr(s, "..");
}

static void
bucket_create(struct emu_req *req)
{
	const char *name = s3_of(req)->bucket;

	if (!bucket_name_ok(name)) {
		s3_error(req, 400, "InvalidBucketName", "The specified bucket is not valid.");
		return;
	}
	pthread_mutex_lock(&s3_lock);
	if (s3_bucket_get(name) && strcmp(s3_conf.region, "us-east-1"))
		s3_error(req, 409, "BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.");
	else {
		if (!s3_bucket_get(name))
			s3_bucket_add(name, s3_now_ms());
		emu_outf(req, "Location", "/%s", name);
		emu_reply(req, 200);
	}
	pthread_mutex_unlock(&s3_lock);
}

static void
bucket_delete(struct emu_req *req)
{
	struct s3_bucket *b;

	pthread_mutex_lock(&s3_lock);
	if (s3_with_bucket(req, &b)) {
		if (b->n)
			s3_error(req, 409, "BucketNotEmpty", "The bucket you tried to delete is not empty");
		else {
			s3_bucket_remove(b);
			emu_reply(req, 204);
		}
	}
	pthread_mutex_unlock(&s3_lock);
}

static void
bucket_head(struct emu_req *req)
{
	struct s3_bucket *b;

	pthread_mutex_lock(&s3_lock);
	if (s3_with_bucket(req, &b))
		emu_reply(req, 200);
	pthread_mutex_unlock(&s3_lock);
}

/* The many settings of buckets and objects that this server does not have: what AWS says when none was ever made. */
struct sub {
	const char *query, *code, *body;
};
static const struct sub subs[] = {
	{ "acl", NULL, "<AccessControlPolicy " S3_NS "><Owner><ID>emu</ID><DisplayName>emu</DisplayName></Owner><AccessControlList><Grant>"
	    "<Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"><ID>emu</ID><DisplayName>emu</DisplayName>"
	    "</Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>" },
	{ "versioning", NULL, "<VersioningConfiguration " S3_NS "/>" },
	{ "logging", NULL, "<BucketLoggingStatus " S3_NS "/>" },
	{ "notification", NULL, "<NotificationConfiguration " S3_NS "/>" },
	{ "accelerate", NULL, "<AccelerateConfiguration " S3_NS "/>" },
	{ "requestPayment", NULL, "<RequestPaymentConfiguration " S3_NS "><Payer>BucketOwner</Payer></RequestPaymentConfiguration>" },
	{ "policyStatus", NULL, "<PolicyStatus " S3_NS "><IsPublic>FALSE</IsPublic></PolicyStatus>" },
	{ "tagging", "NoSuchTagSet", NULL },
	{ "policy", "NoSuchBucketPolicy", NULL },
	{ "cors", "NoSuchCORSConfiguration", NULL },
	{ "lifecycle", "NoSuchLifecycleConfiguration", NULL },
	{ "website", "NoSuchWebsiteConfiguration", NULL },
	{ "encryption", "ServerSideEncryptionConfigurationNotFoundError", NULL },
	{ "object-lock", "ObjectLockConfigurationNotFoundError", NULL },
	{ "replication", "ReplicationConfigurationNotFoundError", NULL },
	{ "ownershipControls", "OwnershipControlsNotFoundError", NULL },
	{ "publicAccessBlock", "NoSuchPublicAccessBlockConfiguration", NULL },
	{ "retention", "NoSuchObjectLockConfiguration", NULL },
	{ "legal-hold", "NoSuchObjectLockConfiguration", NULL },
};

static const struct sub *
sub_of(const struct emu_req *req)
{
	for (size_t i = 0; i < WEIR_LEN(subs); i++)
		if (emu_query(req, subs[i].query))
			return &subs[i];
	return NULL;
}

static void
sub_answer(struct emu_req *req)
{
	const struct sub *sub = sub_of(req);
	WEIR_AUTO(weir_freep) char *text = NULL;
	struct s3_bucket *b;
	bool found;

	pthread_mutex_lock(&s3_lock);
	found = s3_with_bucket(req, &b);
	pthread_mutex_unlock(&s3_lock);
	if (!found)
		return;
	if (emu_is(req, "DELETE"))
		emu_reply(req, 204);
	else if (emu_is(req, "PUT") && !strcmp(sub->query, "acl"))
		emu_reply(req, 200);	/* one account: every ACL means the same */
	else if (!emu_is(req, "GET"))
		s3_error(req, 501, "NotImplemented", "This server does not keep that setting");
	else if (sub->code)
		s3_error(req, 404, sub->code, "No such configuration");
	else {
		text = weir_xasprintf(S3_XML "%s", sub->body);
		emu_reply_text(req, 200, "application/xml", text);
	}
}

static void
bucket_location(struct emu_req *req)
{
	struct s3_bucket *b;

	pthread_mutex_lock(&s3_lock);
	if (s3_with_bucket(req, &b)) {
		weir_buf_addf(&req->body, S3_XML "<LocationConstraint " S3_NS ">%s</LocationConstraint>",
		    strcmp(s3_conf.region, "us-east-1") ? s3_conf.region : "");
		emu_out(req, "Content-Type", "application/xml");
		emu_reply(req, 200);
	}
	pthread_mutex_unlock(&s3_lock);
}

/* ---- operations ---- */

static void
op_list_v1(struct emu_req *req)
{
	s3_list_objects(req, false);
}

static void
op_list_v2(struct emu_req *req)
{
	s3_list_objects(req, true);
}

static void
op_unknown(struct emu_req *req)
{
	s3_error(req, 405, "MethodNotAllowed", "The specified method is not allowed against this resource.");
}

enum { LEVEL_SERVICE = 1, LEVEL_BUCKET = 2, LEVEL_OBJECT = 4 };
enum body { BODY_NONE, BODY_MEM, BODY_FILE };
/* The first row that fits wins. query: all of these names must be there ("a b"); header: must be there. */
struct op {
	const char *name, *method;
	int level;
	const char *query, *header;
	enum body body;
	void (*run)(struct emu_req *);
};
static const struct op ops[] = {
	{ "ListBuckets", "GET", LEVEL_SERVICE, NULL, NULL, BODY_NONE, s3_list_buckets },
	{ "Setting", NULL, LEVEL_BUCKET | LEVEL_OBJECT, "?sub", NULL, BODY_MEM, sub_answer },
	{ "GetBucketLocation", "GET", LEVEL_BUCKET, "location", NULL, BODY_NONE, bucket_location },
	{ "ListMultipartUploads", "GET", LEVEL_BUCKET, "uploads", NULL, BODY_NONE, s3_list_uploads },
	{ "ListObjectVersions", "GET", LEVEL_BUCKET, "versions", NULL, BODY_NONE, s3_list_versions },
	{ "ListObjectsV2", "GET", LEVEL_BUCKET, "list-type", NULL, BODY_NONE, op_list_v2 },
	{ "ListObjects", "GET", LEVEL_BUCKET, NULL, NULL, BODY_NONE, op_list_v1 },
	{ "HeadBucket", "HEAD", LEVEL_BUCKET, NULL, NULL, BODY_NONE, bucket_head },
	{ "CreateBucket", "PUT", LEVEL_BUCKET, NULL, NULL, BODY_MEM, bucket_create },
	{ "DeleteBucket", "DELETE", LEVEL_BUCKET, NULL, NULL, BODY_NONE, bucket_delete },
	{ "DeleteObjects", "POST", LEVEL_BUCKET, "delete", NULL, BODY_MEM, s3_delete_objects },
	{ "ListParts", "GET", LEVEL_OBJECT, "uploadId", NULL, BODY_NONE, s3_list_parts },
	{ "GetObject", "GET", LEVEL_OBJECT, NULL, NULL, BODY_NONE, s3_get_object },
	{ "HeadObject", "HEAD", LEVEL_OBJECT, NULL, NULL, BODY_NONE, s3_get_object },
	{ "UploadPartCopy", "PUT", LEVEL_OBJECT, "partNumber uploadId", "x-amz-copy-source", BODY_NONE, s3_upload_part_copy },
	{ "UploadPart", "PUT", LEVEL_OBJECT, "partNumber uploadId", NULL, BODY_FILE, s3_upload_part },
	{ "CopyObject", "PUT", LEVEL_OBJECT, NULL, "x-amz-copy-source", BODY_NONE, s3_copy_object },
	{ "PutObject", "PUT", LEVEL_OBJECT, NULL, NULL, BODY_FILE, s3_put_object },
	{ "CreateMultipartUpload", "POST", LEVEL_OBJECT, "uploads", NULL, BODY_NONE, s3_create_upload },
	{ "CompleteMultipartUpload", "POST", LEVEL_OBJECT, "uploadId", NULL, BODY_MEM, s3_complete_upload },
	{ "AbortMultipartUpload", "DELETE", LEVEL_OBJECT, "uploadId", NULL, BODY_NONE, s3_abort_upload },
	{ "DeleteObject", "DELETE", LEVEL_OBJECT, NULL, NULL, BODY_NONE, s3_delete_object },
	{ "Unknown", NULL, LEVEL_SERVICE | LEVEL_BUCKET | LEVEL_OBJECT, NULL, NULL, BODY_NONE, op_unknown },
};

static bool
op_query_fits(const struct emu_req *req, const char *names)
{
	char one[32];

	if (!names)
		return true;
	if (!strcmp(names, "?sub"))
		return sub_of(req) != NULL;
	for (size_t n; *names; names += n + (names[n] == ' ')) {
		n = strcspn(names, " ");
		snprintf(one, sizeof(one), "%.*s", (int)n, names);
		if (!emu_query(req, one))
			return false;
	}
	return true;
}

static const struct op *
op_of(const struct emu_req *req)
{
	const struct s3_req *s = s3_of(req);
	int level = *s->key ? LEVEL_OBJECT : *s->bucket ? LEVEL_BUCKET : LEVEL_SERVICE;

	for (size_t i = 0; i < WEIR_LEN(ops); i++)
		if ((ops[i].level & level) && (!ops[i].method || emu_is(req, ops[i].method)) && op_query_fits(req, ops[i].query) &&
		    (!ops[i].header || emu_header(req, ops[i].header)))
			return &ops[i];
	return &ops[WEIR_LEN(ops) - 1];
}

/* "BUCKET.localhost[:PORT]" is a bucket in the host name; every other host is path style. */
static char *
host_bucket(const struct emu_req *req)
{
	const char *host = emu_header(req, "Host");
	size_t n = host ? strcspn(host, ":") : 0, tail = strlen(".localhost");

	if (n <= tail || strncasecmp(host + n - tail, ".localhost", tail))
		return NULL;
	return weir_xstrndup(host, n - tail);
}

static void
s3emu_route(struct emu_req *req)
{
	struct s3_req *s = weir_xcalloc(1, sizeof(*s));
	char *path = emu_decode(req->path, strlen(req->path), false), *rest = path ? path + (*path == '/') : NULL, *slash;

	req->proto = s;
	s->bucket = host_bucket(req);
	if (s->bucket)
		s->key = weir_xstrdup(rest ? rest : "");
	else {
		slash = rest ? strchr(rest, '/') : NULL;
		s->bucket = rest ? weir_xstrndup(rest, slash ? (size_t)(slash - rest) : strlen(rest)) : weir_xstrdup("");
		s->key = weir_xstrdup(slash ? slash + 1 : "");
	}
	snprintf(req->op, sizeof(req->op), "%s", path ? op_of(req)->name : "Unknown");
	free(path);
}

static bool
s3emu_limits_ok(struct emu_req *req, const struct op *op)
{
	struct s3_req *s = s3_of(req);

	if (strlen(s->key) > S3_KEY_MAX)
		s3_error(req, 400, "KeyTooLongError", "Your key is too long");
	else if (op->body == BODY_FILE && req->content_length < 0 && !emu_header(req, "x-amz-decoded-content-length"))
		s3_error(req, 411, "MissingContentLength", "You must provide the Content-Length HTTP header.");
	else if (op->body == BODY_FILE && req->content_length > (int64_t)S3_PUT_MAX && !s->is_chunked)
		s3_error(req, 400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size");
	else if (op->run == s3_delete_objects && s3_on(S3_NO_BULK) && !req->is_raw)
		s3_error(req, 501, "NotImplemented", "A header you provided implies functionality that is not implemented");
	return !req->is_replied;
}

/* Refuse what must fail anyway before a body of gigabytes is sent; it is checked again when the body is there. */
static void
s3emu_look_ahead(struct emu_req *req, const struct op *op)
{
	struct s3_bucket *b;

	pthread_mutex_lock(&s3_lock);
	if (s3_with_bucket(req, &b)) {
		if (op->run == s3_upload_part && !s3_upload_get(b, s3_of(req)->key, emu_query(req, "uploadId")))
			s3_error(req, 404, "NoSuchUpload", "The specified upload does not exist.");
		else if (op->run == s3_put_object && emu_header(req, "Expect"))
			s3_may_write(req, s3_obj_get(b, s3_of(req)->key), S3_IGNORE_IF_PUT);
	}
	pthread_mutex_unlock(&s3_lock);
}

static void
s3emu_begin(struct emu_req *req)
{
	const struct op *op = op_of(req);

	emu_out(req, "x-amz-request-id", "1");
	emu_out(req, "Server", "s3emu");
	if (op->run == bucket_head)
		emu_out(req, "x-amz-bucket-region", s3_conf.region);	/* also, and above all, with a refusal */
	if (!req->is_raw && !s3_auth(req))
		return;
	if (!s3emu_limits_ok(req, op))
		return;
	if (op->body == BODY_FILE)
		s3emu_look_ahead(req, op);
	if (!req->is_replied)
		s3_body_open(req, op->body == BODY_FILE);
}

static void
s3emu_data(struct emu_req *req, const void *data, size_t n)
{
	s3_body_add(req, data, n);
}

static void
s3emu_end(struct emu_req *req)
{
	if (s3_body_end(req))
		op_of(req)->run(req);
}

static void
s3emu_release(struct emu_req *req)
{
	struct s3_req *s = s3_of(req);

	s3_body_free(s);
	free(s->bucket);
	free(s->key);
	free(s);
}

static const struct emu_proto s3emu_proto = {
	.name = "s3emu", .switches = s3_switches, .route = s3emu_route, .begin = s3emu_begin, .data = s3emu_data, .end = s3emu_end,
	.release = s3emu_release, .error = s3emu_inject,
};

static int
usage(void)
{
	fprintf(stderr, "usage: s3emu --port N --dir DATADIR --access-key K --secret-key S --bucket B... [--region R] [--min-part BYTES]\n"
	    "             [--session-token T] [--die-with-parent] [--verbose]\n");
	return 2;
}

static const struct option options[] = {
	{ "port", required_argument, NULL, 'p' }, { "dir", required_argument, NULL, 'd' }, { "access-key", required_argument, NULL, 'a' },
	{ "secret-key", required_argument, NULL, 's' }, { "bucket", required_argument, NULL, 'b' }, { "region", required_argument, NULL, 'r' },
	{ "min-part", required_argument, NULL, 'm' }, { "session-token", required_argument, NULL, 't' },
	{ "die-with-parent", no_argument, NULL, 'x' }, { "verbose", no_argument, NULL, 'v' }, { NULL, 0, NULL, 0 },
};

int
main(int argc, char **argv)
{
	struct emu_opts opts = { 0 };
	struct emu_pairs buckets = { 0 };
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'p': opts.port = atoi(optarg); break;
		case 'd': opts.dir = optarg; break;
		case 'a': s3_conf.access_key = optarg; break;
		case 's': s3_conf.secret_key = optarg; break;
		case 'b': emu_pairs_add(&buckets, optarg, ""); break;
		case 'r': s3_conf.region = optarg; break;
		case 'm': s3_conf.min_part = strtoull(optarg, NULL, 10); break;
		case 't': s3_conf.session_token = optarg; break;
		case 'x': opts.dies_with_parent = true; break;
		case 'v': opts.is_verbose = true; break;
		default: return usage();
		}
	}
	if (!opts.dir || !s3_conf.access_key || !s3_conf.secret_key || optind != argc)
		return usage();
	if (s3_state_open(opts.dir))
		return 1;
	for (size_t i = 0; i < buckets.n; i++)
		if (!s3_bucket_get(buckets.v[i].name))
			s3_bucket_add(buckets.v[i].name, s3_now_ms());
	emu_pairs_free(&buckets);
	return emu_serve(&s3emu_proto, &opts);
}
