/* SPDX-License-Identifier: Apache-2.0 */
/* libs3 as an independent client: what weir wrote is read with it byte for byte, and the other way round. On a Ceph RGW, since
 * libs3 2.0 signs with version 2 only. WEIR_TEST_RGW, WEIR_TEST_RGW_KEY, WEIR_TEST_RGW_SECRET name it; without them: skipped. */
#include "config.h"

#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <libs3.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>

#include "backends/backend.h"
#include "src/util/text.h"
#include "src/util/util.h"

static char bucket[40];
static S3BucketContext context;
static struct weir_conf *conf;
static struct weir_http *http;
static struct weir_backend *be;

/* No blanks: libs3 2.0 sends them as "+" in a path, which names another key. */
static const char *const names[] = { "plain", "semi;colon=and:more", "plus+and%25", "caf\xC3\xA9/\xE6\x97\xA5\xE6\x9C\xAC", "a*b(c)!'", "deep/er/still/x" };

static unsigned char
byte_at(unsigned seed, uint64_t i)
{
	return (unsigned char)((i * 2654435761u >> 13) ^ (i >> 3) ^ seed);
}

/* ---- libs3's side ---- */

struct far {
	S3Status status;
	unsigned seed;
	uint64_t size, at, bad;
	struct weir_buf keys;		/* listed, one a line */
};

static S3Status
far_properties(const S3ResponseProperties *p, void *arg)
{
	return S3StatusOK;
}

static void
far_complete(S3Status status, const S3ErrorDetails *details, void *arg)
{
	((struct far *)arg)->status = status;
}

static int
far_give(int max, char *buf, void *arg)
{
	struct far *f = arg;
	int n = 0;

	for (; n < max && f->at < f->size; n++)
		buf[n] = (char)byte_at(f->seed, f->at++);
	return n;
}

static S3Status
far_take(int len, const char *buf, void *arg)
{
	struct far *f = arg;

	for (int i = 0; i < len; i++)
		f->bad += (unsigned char)buf[i] != byte_at(f->seed, f->at++);
	return S3StatusOK;
}

static S3Status
far_listed(int is_truncated, const char *next, int n, const S3ListBucketContent *c, int np, const char **prefixes, void *arg)
{
	struct far *f = arg;

	for (int i = 0; i < n; i++)
		weir_buf_addf(&f->keys, "%s %llu\n", c[i].key, (unsigned long long)c[i].size);
	return S3StatusOK;
}

static const S3ResponseHandler plain = { far_properties, far_complete };

static S3Status
far_put(const char *key, unsigned seed, uint64_t size)
{
	const S3PutObjectHandler h = { { far_properties, far_complete }, far_give };
	struct far f = { .seed = seed, .size = size };

	S3_put_object(&context, key, size, NULL, NULL, &h, &f);
	return f.status;
}

/* The whole object must be what seed says. */
static void
far_is(const char *key, unsigned seed, uint64_t size)
{
	const S3GetObjectHandler h = { { far_properties, far_complete }, far_take };
	struct far f = { .seed = seed };

	S3_get_object(&context, key, NULL, 0, 0, NULL, &h, &f);
	if (f.status != S3StatusOK)
		printf("  libs3: %s: %s\n", key, S3_get_status_name(f.status));
	CU_ASSERT_EQUAL(f.status, S3StatusOK);
	CU_ASSERT_EQUAL(f.at, size);
	CU_ASSERT_EQUAL(f.bad, 0);
}

/* ---- weir's side ---- */

struct near_source { struct weir_source src; unsigned seed; uint64_t size; };

static ssize_t
near_read(struct weir_source *src, void *buf, size_t len, uint64_t off)
{
	const struct near_source *n = (const struct near_source *)src;

	if (off >= n->size)
		return 0;
	if (len > n->size - off)
		len = (size_t)(n->size - off);
	for (size_t i = 0; i < len; i++)
		((unsigned char *)buf)[i] = byte_at(n->seed, off + i);
	return (ssize_t)len;
}

struct near_sink { struct weir_sink sink; unsigned seed; uint64_t at, bad; };

static enum weir_code
near_write(struct weir_sink *sink, const void *data, size_t len)
{
	struct near_sink *n = (struct near_sink *)sink;

	for (size_t i = 0; i < len; i++)
		n->bad += ((const unsigned char *)data)[i] != byte_at(n->seed, n->at++);
	return WEIR_OK;
}

static void
near_ok(enum weir_code r, const struct weir_err *err)
{
	if (r != WEIR_OK)
		printf("  weir: %s\n", weir_err_text(err, r));
	CU_ASSERT_EQUAL(r, WEIR_OK);
}

static void
near_put(const char *path, unsigned seed, uint64_t size)
{
	const struct weir_where w = { .path = path };
	const struct weir_meta meta = { 1700000000000000000, 0644 };
	struct near_source src = { { near_read }, seed, size };
	struct weir_stat st = { 0 };
	struct weir_err err = { 0 };

	near_ok(be->ops->put(be, &(struct weir_ctx){ 0 }, &w, WEIR_FILE, &src.src, size, &meta, NULL, &st, &err), &err);
	weir_stat_free(&st);
}

static void
near_is(const char *path, unsigned seed, uint64_t size)
{
	const struct weir_where w = { .path = path };
	struct near_sink sink = { { near_write }, seed, 0, 0 };
	struct weir_err err = { 0 };

	near_ok(be->ops->get(be, &(struct weir_ctx){ 0 }, &w, 0, UINT64_MAX, &sink.sink, NULL, &err), &err);
	CU_ASSERT_EQUAL(sink.at, size);
	CU_ASSERT_EQUAL(sink.bad, 0);
}

/* ---- what is promised ---- */

static void
libs3_reads_what_weir_wrote(void)
{
	for (unsigned i = 0; i < WEIR_LEN(names); i++) {
		WEIR_AUTO(weir_freep) char *path = weir_xasprintf("ours/%s", names[i]), *key = weir_xasprintf("root/%s", path);

		near_put(path, i, 100000 + i);
		far_is(key, i, 100000 + i);
	}
	near_put("ours/empty", 0, 0);
	far_is("root/ours/empty", 0, 0);
}

static void
weir_reads_what_libs3_wrote(void)
{
	for (unsigned i = 0; i < WEIR_LEN(names); i++) {
		WEIR_AUTO(weir_freep) char *path = weir_xasprintf("theirs/%s", names[i]), *key = weir_xasprintf("root/%s", path);

		CU_ASSERT_EQUAL(far_put(key, 70 + i, 200000 + i), S3StatusOK);
		near_is(path, 70 + i, 200000 + i);
	}
	CU_ASSERT_EQUAL(far_put("root/theirs/empty", 0, 0), S3StatusOK);
	near_is("theirs/empty", 0, 0);
}

static void
libs3_reads_an_upload_in_parts(void)
{
	const uint64_t part = 5u << 20, size = 2 * part + 777;
	const struct weir_where w = { .path = "ours/in-parts" };
	const struct weir_meta meta = { WEIR_TIME_NONE, WEIR_MODE_NONE };
	const struct weir_ctx ctx = { 0 };
	struct near_source src = { { near_read }, 9, size };
	struct weir_stat st = { 0 };
	struct weir_err err = { 0 };
	char *id = NULL, *tags[3] = { NULL };

	near_ok(be->ops->upload_begin(be, &ctx, &w, size, &meta, &id, &err), &err);
	for (uint32_t i = 0; i < 3; i++)
		near_ok(be->ops->upload_part(be, &ctx, &w, id, i + 1, &src.src, i * part, i == 2 ? 777 : part, size, &tags[i], &err), &err);
	near_ok(be->ops->upload_commit(be, &ctx, &w, id, (const char *const *)tags, 3, size, &meta, NULL, &st, &err), &err);
	far_is("root/ours/in-parts", 9, size);
	for (int i = 0; i < 3; i++)
		free(tags[i]);
	free(id);
	weir_stat_free(&st);
}

struct seen { size_t n; bool has_plain; };

static enum weir_code
near_listed(void *arg, const struct weir_stat *st, struct weir_err *err)
{
	struct seen *s = arg;

	s->n += st->type == WEIR_FILE;
	s->has_plain |= strcmp(st->path, "plain") == 0 && st->size == 200000;
	return WEIR_OK;
}

static void
both_list_the_same(void)
{
	const S3ListBucketHandler h = { { far_properties, far_complete }, far_listed };
	struct far f = { .keys = WEIR_BUF(1u << 20) };
	const struct weir_where w = { .path = "theirs" };
	struct seen seen = { 0 };
	struct weir_err err = { 0 };
	size_t lines = 0;

	S3_list_bucket(&context, "root/theirs/", NULL, NULL, 1000, NULL, &h, &f);
	CU_ASSERT_EQUAL(f.status, S3StatusOK);
	for (const char *p = weir_buf_str(&f.keys); (p = strchr(p, '\n')) != NULL; p++)
		lines++;
	near_ok(be->ops->list(be, &(struct weir_ctx){ 0 }, &w, WEIR_LIST_DEEP, near_listed, &seen, NULL, &err), &err);
	CU_ASSERT_EQUAL(seen.n, lines);
	CU_ASSERT_EQUAL(lines, WEIR_LEN(names) + 1);
	CU_ASSERT_TRUE(seen.has_plain);
	weir_buf_free(&f.keys);
}

/* ---- frame ---- */

static S3Status
far_make_bucket(void)
{
	struct far f = { 0 };

	S3_create_bucket(context.protocol, context.accessKeyId, context.secretAccessKey, NULL, bucket, S3CannedAclPrivate, NULL, NULL,
	    &plain, &f);
	return f.status;
}

static void
far_remove_all(void)
{
	const S3ListBucketHandler h = { { far_properties, far_complete }, far_listed };
	struct far f = { .keys = WEIR_BUF(1u << 20) }, d = { 0 };

	S3_list_bucket(&context, NULL, NULL, NULL, 1000, NULL, &h, &f);
	for (char *p = f.keys.data, *end; p != NULL && (end = strchr(p, '\n')) != NULL; p = end + 1) {
		*end = '\0';
		*strrchr(p, ' ') = '\0';
		S3_delete_object(&context, p, NULL, &plain, &d);
	}
	S3_delete_bucket(context.protocol, S3UriStylePath, context.accessKeyId, context.secretAccessKey, NULL, bucket, NULL, &plain, &d);
	weir_buf_free(&f.keys);
}

static int
near_open(const char *url, const char *key, const char *secret)
{
	WEIR_AUTO(weir_freep) char *text = weir_xasprintf("[remote r]\ntype = s3\nendpoint = %s\nbucket = %s\nprefix = root\n"
	    "access_key = %s\nsecret_key = %s\n", url, bucket, key, secret);
	const struct weir_conf_type *types;
	struct weir_err err = { 0 };
	size_t n;
	enum weir_code r;

	types = weir_backend_types(&n);
	r = weir_conf_parse("t_libs3", text, strlen(text), types, n, &conf, &err);
	if (r == WEIR_OK)
		r = weir_http_new(&http, &err);
	if (r == WEIR_OK)
		r = weir_backend_open(&be, weir_conf_remote(conf, "r"), http, &err);
	if (r == WEIR_OK)
		r = be->ops->probe(be, &(struct weir_ctx){ 0 }, &err);
	if (r != WEIR_OK)
		printf("cannot open the remote: %s\n", weir_err_text(&err, r));
	return r == WEIR_OK ? 0 : -1;
}

static unsigned
run(void)
{
	CU_pSuite suite;
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite("libs3", NULL, NULL);
	CU_ADD_TEST(suite, libs3_reads_what_weir_wrote);
	CU_ADD_TEST(suite, weir_reads_what_libs3_wrote);
	CU_ADD_TEST(suite, libs3_reads_an_upload_in_parts);
	CU_ADD_TEST(suite, both_list_the_same);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed;
}

int
main(void)
{
	const char *url = getenv("WEIR_TEST_RGW"), *key = getenv("WEIR_TEST_RGW_KEY"), *secret = getenv("WEIR_TEST_RGW_SECRET");
	char random[13];
	unsigned failed = 1;

	if (url == NULL || key == NULL || secret == NULL || strncmp(url, "http://", 7) != 0) {
		printf("skipped: WEIR_TEST_RGW, WEIR_TEST_RGW_KEY and WEIR_TEST_RGW_SECRET name no Ceph RGW\n");
		return 77;
	}
	weir_random_hex(random, 12);
	snprintf(bucket, sizeof(bucket), "weir-libs3-%s", random);
	context = (S3BucketContext){ NULL, bucket, S3ProtocolHTTP, S3UriStylePath, key, secret };
	if (S3_initialize("weir-test", S3_INIT_ALL, url + 7) != S3StatusOK || far_make_bucket() != S3StatusOK) {
		printf("libs3 cannot make a bucket at %s\n", url);
		return 1;
	}
	if (near_open(url, key, secret) == 0)
		failed = run();
	weir_backend_close(be);
	weir_http_free(http);
	weir_conf_free(conf);
	far_remove_all();
	S3_deinitialize();
	return failed > 0;
}
