/* SPDX-License-Identifier: Apache-2.0 */
/* The layers on a storage made of one object in memory: what is repeated, what is resumed, what is taken for our own work. */
#include "config.h"

#include <CUnit/Basic.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backends/layers.h"
#include "util/text.h"
#include "util/util.h"

/* --- one object in memory --- */

struct mem {
	struct weir_backend base;
	char *data;		/* NULL: absent */
	size_t len;
	char version[16], sum[64];
	int writes;
	bool keeps_sums, has_dir;
	char upload[16];	/* "" none */
	unsigned calls[WEIR_OPS];
	int64_t heard_ms;
	enum weir_code always;	/* every call fails with it */
	int entries;
};

static struct mem *
mem_of(struct weir_backend *b)
{
	return (struct mem *)weir_backend_bottom(b);
}

static enum weir_code
mem_begin(struct weir_backend *b, enum weir_op op, struct weir_err *err)
{
	struct mem *m = (struct mem *)b;

	m->calls[op]++;
	if (m->always != WEIR_OK)
		return weir_err_set(err, m->always, "mem: %s", weir_code_name(m->always));
	m->heard_ms = weir_now_ms();
	return WEIR_OK;
}

static void
mem_set(struct mem *m, const char *data, size_t len)
{
	unsigned char raw[WEIR_MD5_LEN];

	free(m->data);
	m->data = weir_xcalloc(len + 1, 1);
	memcpy(m->data, data, len);
	m->len = len;
	snprintf(m->version, sizeof(m->version), "v%d", ++m->writes);
	weir_md5(data, len, raw);
	memcpy(m->sum, "md5:", 4);
	weir_hex(raw, sizeof(raw), m->sum + 4);
}

static void
mem_tell(const struct mem *m, struct weir_stat *st)
{
	if (st != NULL)
		*st = (struct weir_stat){.type = WEIR_FILE, .size = m->len, .version = weir_xstrdup(m->version), .mtime_ns = WEIR_TIME_NONE,
		    .mode = WEIR_MODE_NONE, .sum = m->keeps_sums ? weir_xstrdup(m->sum) : NULL};
}

static enum weir_code
mem_check(const struct mem *m, const struct weir_where *w, struct weir_err *err)
{
	bool is_wrong = w->version == WEIR_ABSENT ? m->data != NULL :
	    w->version != NULL && (m->data == NULL || strcmp(m->version, w->version) != 0);

	return is_wrong ? weir_err_set(err, WEIR_E_CHANGED, "mem: precondition failed") : WEIR_OK;
}

static enum weir_code
mem_probe(struct weir_backend *b, const struct weir_ctx *ctx, struct weir_err *err)
{
	return mem_begin(b, WEIR_OP_PROBE, err);
}

static enum weir_code
mem_stat(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, struct weir_stat *out, struct weir_err *err)
{
	struct mem *m = (struct mem *)b;
	enum weir_code r = mem_begin(b, WEIR_OP_STAT, err);

	if (r != WEIR_OK)
		return r;
	if (m->has_dir && strcmp(w->path, "dir") == 0) {
		*out = (struct weir_stat){.type = WEIR_DIR};
		return WEIR_OK;
	}
	if (m->data == NULL)
		return WEIR_E_NOENT;
	mem_tell(m, out);
	return WEIR_OK;
}

static enum weir_code
mem_list(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *dir, unsigned flags, weir_list_fn *fn, void *arg,
    char **self, struct weir_err *err)
{
	struct mem *m = (struct mem *)b;
	enum weir_code r = mem_begin(b, WEIR_OP_LIST, err);

	for (int i = 0; r == WEIR_OK && i < m->entries; i++) {
		char name[16];
		struct weir_stat st = {.type = WEIR_FILE, .path = name};

		snprintf(name, sizeof(name), "%d", i);
		r = fn(arg, &st, err);
		/* the first two attempts break half-way */
		if (r == WEIR_OK && m->calls[WEIR_OP_LIST] <= 2 && i == m->entries / 2)
			r = WEIR_E_NET;
	}
	return r;
}

static enum weir_code
mem_get(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, uint64_t off, uint64_t len, struct weir_sink *sink,
    struct weir_stat *st, struct weir_err *err)
{
	struct mem *m = (struct mem *)b;
	enum weir_code r = mem_begin(b, WEIR_OP_GET, err);

	if (r == WEIR_OK && m->data == NULL)
		r = WEIR_E_NOENT;
	if (r == WEIR_OK)
		r = mem_check(m, w, err);
	if (r != WEIR_OK)
		return r;
	mem_tell(m, st);
	if (off > m->len)
		return WEIR_E_RANGE;
	if (len > m->len - off)
		len = m->len - off;
	for (; len > 0 && r == WEIR_OK; ) {
		size_t n = len < 7 ? (size_t)len : 7;

		r = sink->write(sink, m->data + off, n);
		off += n;
		len -= n;
	}
	return r;
}

static enum weir_code
mem_put(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, enum weir_type type, struct weir_source *src,
    uint64_t size, const struct weir_meta *meta, const char *sum, struct weir_stat *st, struct weir_err *err)
{
	struct mem *m = (struct mem *)b;
	WEIR_AUTO(weir_freep) char *data = weir_xcalloc(size + 1, 1);
	enum weir_code r = mem_begin(b, WEIR_OP_PUT, err);

	if (r == WEIR_OK)
		r = mem_check(m, w, err);
	if (r != WEIR_OK)
		return r;
	for (uint64_t n = 0; n < size;) {
		ssize_t got = src->read(src, data + n, size - n, n);

		if (got <= 0)
			return WEIR_E_IO;
		n += (uint64_t)got;
	}
	mem_set(m, data, size);
	mem_tell(m, st);
	return WEIR_OK;
}

static enum weir_code
mem_upload_begin(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, uint64_t size, const struct weir_meta *meta,
    char **id, struct weir_err *err)
{
	snprintf(mem_of(b)->upload, 16, "up");
	*id = weir_xstrdup("up");
	return WEIR_OK;
}

static enum weir_code
mem_upload_status(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, const char *id,
    enum weir_code (*fn)(void *, uint32_t, uint64_t, const char *), void *arg, struct weir_err *err)
{
	return mem_of(b)->upload[0] != '\0' ? WEIR_OK : WEIR_E_NOENT;
}

static enum weir_code
mem_upload_commit(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, const char *id, const char *const *tags,
    uint32_t ntags, uint64_t size, const struct weir_meta *meta, const char *sum, struct weir_stat *st, struct weir_err *err)
{
	struct mem *m = (struct mem *)b;
	enum weir_code r = mem_begin(b, WEIR_OP_UPLOAD_COMMIT, err);

	if (r == WEIR_OK && m->upload[0] == '\0')
		r = WEIR_E_NOENT;
	if (r == WEIR_OK)
		r = mem_check(m, w, err);
	if (r != WEIR_OK)
		return r;
	m->upload[0] = '\0';
	mem_set(m, "committed", size);
	mem_tell(m, st);
	return WEIR_OK;
}

static enum weir_code
mem_mkdir(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, struct weir_stat *st, struct weir_err *err)
{
	struct mem *m = (struct mem *)b;
	enum weir_code r = mem_begin(b, WEIR_OP_MKDIR, err);

	if (r == WEIR_OK && m->has_dir)
		r = WEIR_E_EXIST;
	if (r == WEIR_OK)
		m->has_dir = true;
	return r;
}

static enum weir_code
mem_remove(struct weir_backend *b, const struct weir_ctx *ctx, const struct weir_where *w, bool is_dir, struct weir_err *err)
{
	struct mem *m = (struct mem *)b;
	enum weir_code r = mem_begin(b, WEIR_OP_REMOVE, err);

	if (r == WEIR_OK && m->data == NULL)
		r = WEIR_E_NOENT;
	free(m->data);
	m->data = NULL;
	return r;
}

static char *
mem_fingerprint(struct weir_backend *b)
{
	return weir_xstrdup("mem");
}

static void
mem_stats(struct weir_backend *b, int64_t *heard_ms, struct weir_http_stats *st)
{
	*heard_ms = mem_of(b)->heard_ms;
	memset(st, 0, sizeof(*st));
}

static void
mem_close(struct weir_backend *b)
{
	free(((struct mem *)b)->data);
	free(b);
}

static const struct weir_backend_ops mem_ops = {
    .name = "mem", .close = mem_close, .fingerprint = mem_fingerprint, .probe = mem_probe, .stat = mem_stat, .list = mem_list, .get = mem_get,
    .put = mem_put, .upload_begin = mem_upload_begin, .upload_status = mem_upload_status, .upload_commit = mem_upload_commit,
    .mkdir = mem_mkdir, .remove = mem_remove, .stats = mem_stats,
};

/* retry -> pace -> fault -> mem, quick. */
static struct weir_backend *
stack(const char *rules, const char *content)
{
	struct weir_retry_conf conf = {.name = "m", .timeout_ms = 300, .patience_ms = 5000, .first_ms = 4, .most_ms = 16};
	struct mem *m = weir_xcalloc(1, sizeof(*m));
	struct weir_backend *b = &m->base;

	m->base.ops = &mem_ops;
	m->keeps_sums = true;
	m->heard_ms = weir_now_ms();
	if (content != NULL)
		mem_set(m, content, strlen(content));
	if (rules != NULL)
		CU_ASSERT_EQUAL_FATAL(weir_layer_fault(b, rules, &b, NULL), WEIR_OK);
	return weir_layer_retry(weir_layer_pace(b), &conf);
}

struct text_sink {
	struct weir_sink sink;
	struct weir_buf buf;
	struct weir_stat *st;	/* must be filled by the first byte */
	bool was_told;
	enum weir_code fail;
};

static enum weir_code
text_write(struct weir_sink *s, const void *data, size_t len)
{
	struct text_sink *t = (struct text_sink *)s;

	if (t->buf.len == 0 && t->st != NULL)
		t->was_told = t->st->version != NULL;
	weir_buf_add(&t->buf, data, len);
	return t->fail;
}

struct text_source {
	struct weir_source source;
	const char *text;
};

static ssize_t
text_read(struct weir_source *s, void *buf, size_t len, uint64_t off)
{
	const char *text = ((struct text_source *)s)->text;
	size_t n = strlen(text) - off;

	n = n < len ? n : len;
	memcpy(buf, text + off, n);
	return (ssize_t)n;
}

static enum weir_code
put_text(struct weir_backend *b, const char *version, const char *text, const char *sum, struct weir_stat *st)
{
	struct text_source src = {.source.read = text_read, .text = text};
	struct weir_where w = {.path = "x", .version = version};

	return b->ops->put(b, NULL, &w, WEIR_FILE, &src.source, strlen(text), NULL, sum, st, NULL);
}

static char *
sum_of(const char *text)
{
	unsigned char raw[WEIR_MD5_LEN];
	char hex[33];

	weir_md5(text, strlen(text), raw);
	weir_hex(raw, sizeof(raw), hex);
	return weir_xasprintf("md5:%s", hex);
}

static const struct weir_where any = {.path = "x"};

/* --- promises --- */

static void
what_may_heal_is_repeated(void)
{
	struct weir_backend *b = stack("stat:NET:1,stat:STALL:2,stat:THROTTLED:3,stat:SERVER:4", "hello");
	struct weir_stat st = {0};

	CU_ASSERT_EQUAL(b->ops->stat(b, NULL, &any, &st, NULL), WEIR_OK);
	CU_ASSERT_EQUAL(st.size, 5);
	CU_ASSERT_EQUAL(mem_of(b)->calls[WEIR_OP_STAT], 1);
	weir_stat_free(&st);
	weir_backend_close(b);
}

static void
what_cannot_heal_is_told_at_once(void)
{
	struct weir_backend *b = stack("stat:AUTH:1+", "hello");
	struct weir_err err = {0};
	struct weir_stat st;		/* left alone on failure */

	CU_ASSERT_EQUAL(b->ops->stat(b, NULL, &any, &st, &err), WEIR_E_AUTH);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "fault layer"));
	CU_ASSERT_EQUAL(mem_of(b)->calls[WEIR_OP_STAT], 0);
	weir_backend_close(b);
}

static void
missing_hooks_stay_missing(void)
{
	struct weir_backend *b = stack(NULL, NULL);

	CU_ASSERT_PTR_NULL(b->ops->copy);
	CU_ASSERT_PTR_NULL(b->ops->upload_part);
	CU_ASSERT_PTR_NULL(b->ops->set_meta);
	CU_ASSERT_PTR_NOT_NULL(b->ops->put);
	weir_backend_close(b);
}

static void
server_errors_end_after_five(void)
{
	struct weir_backend *b = stack(NULL, "hello");
	struct weir_stat st;

	mem_of(b)->always = WEIR_E_SERVER;
	CU_ASSERT_EQUAL(b->ops->stat(b, NULL, &any, &st, NULL), WEIR_E_SERVER);
	CU_ASSERT_EQUAL(mem_of(b)->calls[WEIR_OP_STAT], 5);
	weir_backend_close(b);
}

static void
bad_sums_are_repeated_twice(void)
{
	struct weir_backend *b = stack(NULL, "hello");

	mem_of(b)->always = WEIR_E_BADSUM;
	CU_ASSERT_EQUAL(put_text(b, NULL, "x", NULL, NULL), WEIR_E_BADSUM);
	CU_ASSERT_EQUAL(mem_of(b)->calls[WEIR_OP_PUT], 3);
	weir_backend_close(b);
}

static void
a_silent_remote_is_down_and_then_fails_at_once(void)
{
	struct weir_backend *b = stack(NULL, "hello");
	struct weir_err err = {0};
	struct weir_stat st = {0};
	int64_t from = weir_now_ms();
	unsigned calls;

	mem_of(b)->always = WEIR_E_NET;
	CU_ASSERT_EQUAL(b->ops->stat(b, NULL, &any, &st, &err), WEIR_E_DOWN);
	CU_ASSERT(weir_now_ms() - from >= 300);
	CU_ASSERT(weir_now_ms() - from < 20000);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "mem: NET"));
	calls = mem_of(b)->calls[WEIR_OP_STAT];
	CU_ASSERT(calls > 3);
	from = weir_now_ms();
	for (int i = 0; i < 20; i++)
		CU_ASSERT_EQUAL(b->ops->stat(b, NULL, &any, &st, NULL), WEIR_E_DOWN);
	CU_ASSERT_EQUAL(mem_of(b)->calls[WEIR_OP_STAT], calls);
	CU_ASSERT(weir_now_ms() - from < 5000);
	/* a probe gets through, and what it hears brings the others back */
	mem_of(b)->always = WEIR_OK;
	CU_ASSERT_EQUAL(b->ops->probe(b, NULL, NULL), WEIR_OK);
	CU_ASSERT_EQUAL(b->ops->stat(b, NULL, &any, &st, NULL), WEIR_OK);
	weir_stat_free(&st);
	weir_backend_close(b);
}

static void
while_it_answers_calls_wait_for_their_deadline(void)
{
	struct weir_backend *b = stack("stat:THROTTLED:1+", "hello");
	struct weir_ctx ctx = {.deadline_ms = weir_now_ms() + 500};
	struct weir_stat st;
	int64_t from = weir_now_ms();

	/* longer than timeout, and not down */
	CU_ASSERT_EQUAL(b->ops->stat(b, &ctx, &any, &st, NULL), WEIR_E_THROTTLED);
	CU_ASSERT(weir_now_ms() - from > 400);
	CU_ASSERT(weir_now_ms() - from < 20000);
	weir_backend_close(b);
}

static void
a_pause_is_kept_and_one_too_long_told(void)
{
	struct weir_backend *b = stack(NULL, "hello");
	struct weir_ctx ctx = {.deadline_ms = weir_now_ms() + 3000};
	struct weir_stat st = {0};
	int64_t from = weir_now_ms();

	weir_backend_pause(b, 200);
	CU_ASSERT_EQUAL(b->ops->stat(b, &ctx, &any, &st, NULL), WEIR_OK);
	CU_ASSERT(weir_now_ms() - from >= 200);
	weir_stat_free(&st);
	weir_backend_pause(b, 60000);
	from = weir_now_ms();
	CU_ASSERT_EQUAL(b->ops->stat(b, &ctx, &any, &st, NULL), WEIR_E_THROTTLED);
	CU_ASSERT(weir_now_ms() - from < 20000);
	weir_backend_close(b);
}

static struct weir_cancel later;

static void *
cancel_later(void *arg)
{
	usleep(100000);
	atomic_store(&later.is_set, true);
	return NULL;
}

static void
cancel_ends_a_wait(void)
{
	struct weir_backend *b = stack(NULL, "hello");
	struct weir_ctx ctx = {.cancel = &later};
	struct weir_stat st;
	int64_t from = weir_now_ms();
	pthread_t t;

	weir_backend_pause(b, 3000);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, cancel_later, NULL), 0);
	CU_ASSERT_EQUAL(b->ops->stat(b, &ctx, &any, &st, NULL), WEIR_E_CANCELED);
	CU_ASSERT(weir_now_ms() - from < 2800);
	pthread_join(t, NULL);
	weir_backend_close(b);
}

static void
get_goes_on_where_it_stopped(void)
{
	struct weir_backend *b = stack("get:NET:1:cut=10,get:STALL:2:cut=0,get:NET:3:cut=3", "0123456789abcdefghij");
	struct weir_stat st = {0};
	struct text_sink sink = {.sink.write = text_write, .buf = WEIR_BUF(100), .st = &st};

	CU_ASSERT_EQUAL(b->ops->get(b, NULL, &any, 2, 16, &sink.sink, &st, NULL), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(weir_buf_str(&sink.buf), "23456789abcdefgh");
	CU_ASSERT_STRING_EQUAL(st.version, "v1");
	CU_ASSERT(sink.was_told);
	CU_ASSERT_EQUAL(mem_of(b)->calls[WEIR_OP_GET], 4);
	weir_stat_free(&st);
	/* short at the end of the object */
	weir_buf_reset(&sink.buf);
	CU_ASSERT_EQUAL(b->ops->get(b, NULL, &any, 15, 100, &sink.sink, NULL, NULL), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(weir_buf_str(&sink.buf), "fghij");
	weir_buf_free(&sink.buf);
	weir_backend_close(b);
}

struct meddler {
	struct text_sink text;
	struct mem *m;
};

static enum weir_code
meddle(struct weir_sink *s, const void *data, size_t len)
{
	struct meddler *m = (struct meddler *)s;

	if (m->text.buf.len == 0)
		snprintf(m->m->version, sizeof(m->m->version), "other");
	return text_write(s, data, len);
}

static void
get_never_mixes_two_versions(void)
{
	struct weir_backend *b = stack("get:NET:1:cut=10", "0123456789abcdefghij");
	struct meddler m = {.text.sink.write = meddle, .text.buf = WEIR_BUF(100), .m = mem_of(b)};
	struct weir_stat st = {0};

	CU_ASSERT_EQUAL(b->ops->get(b, NULL, &any, 0, 20, &m.text.sink, &st, NULL), WEIR_E_CHANGED);
	CU_ASSERT_PTR_NULL(st.version);
	weir_buf_free(&m.text.buf);
	weir_backend_close(b);
}

/* The last byte came, and the error after it: the look that was to tell of which version it is failed. */
static void
what_only_the_end_tells_is_asked_again(void)
{
	for (int changes = 0; changes < 2; changes++) {
		struct weir_backend *b = stack("get:NET:1:lost", "0123456789abcdefghij");
		struct meddler m = {.text.sink.write = changes ? meddle : text_write, .text.buf = WEIR_BUF(100), .m = mem_of(b)};

		atomic_fetch_or(&weir_backend_bottom(b)->caps, WEIR_CAP_LATE_CHANGED);
		CU_ASSERT_EQUAL(b->ops->get(b, NULL, &any, 0, 20, &m.text.sink, NULL, NULL), changes ? WEIR_E_CHANGED : WEIR_OK);
		CU_ASSERT_EQUAL(mem_of(b)->calls[WEIR_OP_GET], 2);
		CU_ASSERT_STRING_EQUAL(weir_buf_str(&m.text.buf), "0123456789abcdefghij");
		weir_buf_free(&m.text.buf);
		weir_backend_close(b);
	}
}

static void
a_sinks_own_error_is_not_repeated(void)
{
	struct weir_backend *b = stack(NULL, "hello");
	struct text_sink sink = {.sink.write = text_write, .buf = WEIR_BUF(100), .fail = WEIR_E_NET};

	CU_ASSERT_EQUAL(b->ops->get(b, NULL, &any, 0, 5, &sink.sink, NULL, NULL), WEIR_E_NET);
	CU_ASSERT_EQUAL(mem_of(b)->calls[WEIR_OP_GET], 1);
	weir_buf_free(&sink.buf);
	weir_backend_close(b);
}

static void
our_own_put_is_recognised_after_a_lost_answer(void)
{
	for (int keeps_sums = 0; keeps_sums < 2; keeps_sums++) {	/* without sums it is read back */
		struct weir_backend *b = stack("put:NET:1:lost,put:STALL:3:lost", NULL);
		WEIR_AUTO(weir_freep) char *one = sum_of("one"), *two = sum_of("two");
		struct weir_stat st = {0};

		mem_of(b)->keeps_sums = keeps_sums != 0;
		CU_ASSERT_EQUAL(put_text(b, WEIR_ABSENT, "one", one, &st), WEIR_OK);
		CU_ASSERT_STRING_EQUAL(st.version, "v1");
		weir_stat_free(&st);
		CU_ASSERT_EQUAL(put_text(b, "v1", "two", two, &st), WEIR_OK);
		CU_ASSERT_STRING_EQUAL(st.version, "v2");
		CU_ASSERT_STRING_EQUAL(mem_of(b)->data, "two");
		weir_stat_free(&st);
		weir_backend_close(b);
	}
}

static void
a_colleagues_file_is_not_taken_for_ours(void)
{
	struct weir_backend *b = stack("put:NET:1", "two");	/* never arrived; theirs is as long as ours */
	WEIR_AUTO(weir_freep) char *one = sum_of("one");

	CU_ASSERT_EQUAL(put_text(b, WEIR_ABSENT, "one", one, NULL), WEIR_E_CHANGED);
	CU_ASSERT_STRING_EQUAL(mem_of(b)->data, "two");
	mem_of(b)->keeps_sums = false;
	CU_ASSERT_EQUAL(put_text(b, "v0", "one", one, NULL), WEIR_E_CHANGED);
	weir_backend_close(b);
	/* without any sum there is no evidence */
	b = stack("put:NET:1:lost", NULL);
	CU_ASSERT_EQUAL(put_text(b, WEIR_ABSENT, "one", NULL, NULL), WEIR_E_CHANGED);
	weir_backend_close(b);
}

static void
our_own_commit_is_recognised(void)
{
	struct weir_backend *b = stack("upload_commit:NET:1:lost", NULL);
	struct weir_where w = {.path = "x", .version = WEIR_ABSENT};
	struct weir_stat st = {0};
	char *id = NULL;

	CU_ASSERT_EQUAL(b->ops->upload_begin(b, NULL, &w, 9, NULL, &id, NULL), WEIR_OK);
	CU_ASSERT_EQUAL(b->ops->upload_commit(b, NULL, &w, id, NULL, 0, 9, NULL, NULL, &st, NULL), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(st.version, "v1");
	weir_stat_free(&st);
	/* an upload that is simply gone stays gone */
	w.version = "v1";
	CU_ASSERT_EQUAL(b->ops->upload_commit(b, NULL, &w, id, NULL, 0, 9, NULL, NULL, &st, NULL), WEIR_E_NOENT);
	free(id);
	weir_backend_close(b);
}

static void
lost_answers_of_mkdir_and_remove(void)
{
	struct weir_backend *b = stack("mkdir:NET:1:lost,remove:NET:1:lost", "hello");
	struct weir_where dir = {.path = "dir"};

	CU_ASSERT_EQUAL(b->ops->mkdir(b, NULL, &dir, NULL, NULL), WEIR_OK);
	CU_ASSERT_EQUAL(b->ops->mkdir(b, NULL, &dir, NULL, NULL), WEIR_E_EXIST);
	CU_ASSERT_EQUAL(b->ops->remove(b, NULL, &any, false, NULL), WEIR_OK);
	CU_ASSERT_EQUAL(b->ops->remove(b, NULL, &any, false, NULL), WEIR_E_NOENT);
	weir_backend_close(b);
}

static enum weir_code
count_entry(void *arg, const struct weir_stat *st, struct weir_err *err)
{
	int *seen = arg;

	seen[atoi(st->path)]++;
	return WEIR_OK;
}

static enum weir_code
refuse_entry(void *arg, const struct weir_stat *st, struct weir_err *err)
{
	return WEIR_E_NET;
}

static void
list_gives_each_entry_once(void)
{
	struct weir_backend *b = stack(NULL, NULL);
	int seen[1000] = {0}, wrong = 0;

	mem_of(b)->entries = 1000;
	CU_ASSERT_EQUAL(b->ops->list(b, NULL, &any, 0, count_entry, seen, NULL, NULL), WEIR_OK);
	for (int i = 0; i < 1000; i++)
		wrong += seen[i] != 1;
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_EQUAL(mem_of(b)->calls[WEIR_OP_LIST], 3);
	CU_ASSERT_EQUAL(b->ops->list(b, NULL, &any, 0, refuse_entry, seen, NULL, NULL), WEIR_E_NET);
	CU_ASSERT_EQUAL(mem_of(b)->calls[WEIR_OP_LIST], 4);
	weir_backend_close(b);
}

static void
fault_rules_are_checked(void)
{
	struct mem m = {.base.ops = &mem_ops};
	static const char *const bad[] = {"", "put", "put:NET", "put:NET:x", "put:WAT:1", "pout:NET:1", "put:NET:0", "put:NET:1:late"};
	struct weir_backend *out = NULL;

	for (size_t i = 0; i < WEIR_LEN(bad); i++)
		CU_ASSERT_EQUAL(weir_layer_fault(&m.base, bad[i], &out, NULL), WEIR_E_INVAL);
	CU_ASSERT_PTR_NULL(out);
}

int
main(void)
{
	CU_pSuite s;
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 99;
	s = CU_add_suite("layers", NULL, NULL);
	CU_ADD_TEST(s, what_may_heal_is_repeated);
	CU_ADD_TEST(s, what_cannot_heal_is_told_at_once);
	CU_ADD_TEST(s, missing_hooks_stay_missing);
	CU_ADD_TEST(s, server_errors_end_after_five);
	CU_ADD_TEST(s, bad_sums_are_repeated_twice);
	CU_ADD_TEST(s, a_silent_remote_is_down_and_then_fails_at_once);
	CU_ADD_TEST(s, while_it_answers_calls_wait_for_their_deadline);
	CU_ADD_TEST(s, a_pause_is_kept_and_one_too_long_told);
	CU_ADD_TEST(s, cancel_ends_a_wait);
	CU_ADD_TEST(s, get_goes_on_where_it_stopped);
	CU_ADD_TEST(s, get_never_mixes_two_versions);
	CU_ADD_TEST(s, what_only_the_end_tells_is_asked_again);
	CU_ADD_TEST(s, a_sinks_own_error_is_not_repeated);
	CU_ADD_TEST(s, our_own_put_is_recognised_after_a_lost_answer);
	CU_ADD_TEST(s, a_colleagues_file_is_not_taken_for_ours);
	CU_ADD_TEST(s, our_own_commit_is_recognised);
	CU_ADD_TEST(s, lost_answers_of_mkdir_and_remove);
	CU_ADD_TEST(s, list_gives_each_entry_once);
	CU_ADD_TEST(s, fault_rules_are_checked);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed != 0;
}
