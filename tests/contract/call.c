/* SPDX-License-Identifier: Apache-2.0 */
/* call CONF REMOTE VERB [PATH…]: one call of the backend contract from a shell, for tests that compare with other clients.
 *   get PATH           content to standard output       put PATH [MTIME_NS [MODE]]   content from standard input
 *   ls PATH | lsr PATH type, size, name; NUL-separated  stat PATH                    type size mtime_ns mode version
 *   mkdir PATH         rm PATH         rmdir PATH       mv FROM TO                   cp FROM TO
 *   touch PATH NS [MODE]  (also of directories: PATH/)  big PATH SIZE                an upload in parts, of bytes of seed 1 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../../backends/contract/contract.h"

struct call {
	struct weir_backend *be;
	const struct weir_backend_ops *ops;
	struct weir_ctx ctx;
	struct weir_err err;
	char **argv;
	int argc;
};

static const char *
call_arg(const struct call *c, int i)
{
	return i < c->argc ? c->argv[i] : "";
}

static enum weir_code
call_write(struct weir_sink *sink, const void *data, size_t len)
{
	return fwrite(data, 1, len, stdout) == len ? WEIR_OK : WEIR_E_IO;
}

static enum weir_code
call_get(struct call *c)
{
	const struct weir_where w = { .path = call_arg(c, 0) };
	struct weir_sink sink = { call_write };

	return c->ops->get(c->be, &c->ctx, &w, 0, UINT64_MAX, &sink, NULL, &c->err);
}

struct call_source { struct weir_source src; struct weir_buf buf; };

static ssize_t
call_read(struct weir_source *src, void *buf, size_t len, uint64_t off)
{
	const struct call_source *s = (const struct call_source *)src;

	if (off >= s->buf.len)
		return 0;
	if (len > s->buf.len - off)
		len = (size_t)(s->buf.len - off);
	memcpy(buf, s->buf.data + off, len);
	return (ssize_t)len;
}

static struct weir_meta
call_meta(const struct call *c, int from)
{
	struct weir_meta m = { WEIR_TIME_NONE, WEIR_MODE_NONE };

	if (call_arg(c, from)[0] != '\0')
		m.mtime_ns = strtoll(call_arg(c, from), NULL, 10);
	if (call_arg(c, from + 1)[0] != '\0')
		m.mode = (uint32_t)strtoul(call_arg(c, from + 1), NULL, 8);
	return m;
}

static enum weir_code
call_put(struct call *c)
{
	const struct weir_where w = { .path = call_arg(c, 0) };
	const struct weir_meta meta = call_meta(c, 1);
	struct call_source s = { { call_read }, WEIR_BUF(256u << 20) };
	struct weir_stat st = { 0 };
	char buf[65536];
	size_t n;
	enum weir_code r;

	while ((n = fread(buf, 1, sizeof(buf), stdin)) > 0)
		weir_buf_add(&s.buf, buf, n);
	r = c->ops->put(c->be, &c->ctx, &w, WEIR_FILE, &s.src, s.buf.len, &meta, NULL, &st, &c->err);
	weir_stat_free(&st);
	weir_buf_free(&s.buf);
	return r;
}

static const char *
call_type(enum weir_type t)
{
	return t == WEIR_DIR ? "dir" : t == WEIR_FILE ? "file" : "other";
}

static enum weir_code
call_entry(void *arg, const struct weir_stat *st, struct weir_err *err)
{
	printf("%s %" PRId64 " %s%c", call_type(st->type), st->type == WEIR_FILE ? (int64_t)st->size : 0, st->path, '\0');
	return WEIR_OK;
}

static enum weir_code
call_ls(struct call *c, unsigned flags)
{
	const struct weir_where w = { .path = call_arg(c, 0) };

	return c->ops->list(c->be, &c->ctx, &w, flags, call_entry, NULL, NULL, &c->err);
}

static enum weir_code
call_stat(struct call *c)
{
	const struct weir_where w = { .path = call_arg(c, 0) };
	struct weir_stat st = { 0 };
	enum weir_code r = c->ops->stat(c->be, &c->ctx, &w, &st, &c->err);

	if (r == WEIR_OK)
		printf("%s %" PRId64 " %" PRId64 " %o %s\n", call_type(st.type), (int64_t)st.size, st.mtime_ns,
		    st.mode == WEIR_MODE_NONE ? 0 : st.mode, st.version == NULL ? "-" : st.version);
	weir_stat_free(&st);
	return r;
}

static enum weir_code
call_touch(struct call *c)
{
	WEIR_AUTO(weir_freep) char *path = weir_xstrdup(call_arg(c, 0));
	const struct weir_where w = { .path = path };
	const struct weir_meta meta = call_meta(c, 1);
	size_t n = strlen(path);
	bool is_dir = n > 0 && path[n - 1] == '/';
	struct weir_stat st = { 0 };
	enum weir_code r;

	if (is_dir)
		path[n - 1] = '\0';
	r = c->ops->set_meta(c->be, &c->ctx, &w, is_dir, &meta, &st, &c->err);
	weir_stat_free(&st);
	return r;
}

static ssize_t
call_seed(struct weir_source *src, void *buf, size_t len, uint64_t off)
{
	for (size_t i = 0; i < len; i++)
		((unsigned char *)buf)[i] = (unsigned char)((off + i) * 31 >> 7);
	return (ssize_t)len;
}

static enum weir_code
call_parts(struct call *c, const struct weir_where *w, const char *id, uint64_t size, char **tags, uint32_t *n)
{
	uint64_t part = weir_backend_limits(c->be)->part_min;
	struct weir_source src = { call_seed };
	enum weir_code r = WEIR_OK;

	for (uint64_t off = 0; r == WEIR_OK && off < size; off += part) {
		uint64_t len = size - off < part ? size - off : part;

		r = c->ops->upload_part(c->be, &c->ctx, w, id, *n + 1, &src, off, len, size, &tags[*n], &c->err);
		*n += r == WEIR_OK;
	}
	return r;
}

static enum weir_code
call_big(struct call *c)
{
	const struct weir_where w = { .path = call_arg(c, 0) };
	const struct weir_meta meta = { WEIR_TIME_NONE, WEIR_MODE_NONE };
	uint64_t size = strtoull(call_arg(c, 1), NULL, 10);
	char **tags = weir_xcalloc(10001, sizeof(*tags)), *id = NULL;
	struct weir_stat st = { 0 };
	uint32_t n = 0;
	enum weir_code r = c->ops->upload_begin(c->be, &c->ctx, &w, size, &meta, &id, &c->err);

	if (r == WEIR_OK)
		r = call_parts(c, &w, id, size, tags, &n);
	if (r == WEIR_OK)
		r = c->ops->upload_commit(c->be, &c->ctx, &w, id, (const char *const *)tags, n, size, &meta, NULL, &st, &c->err);
	weir_stat_free(&st);
	while (n > 0)
		free(tags[--n]);
	free(tags);
	free(id);
	return r;
}

static enum weir_code
call_two(struct call *c, bool is_move)
{
	struct weir_stat from = { 0 }, st = { 0 };
	struct weir_where a = { .path = call_arg(c, 0) }, b = { .path = call_arg(c, 1) };
	enum weir_code r = c->ops->stat(c->be, &c->ctx, &a, &from, &c->err);

	a.version = from.version;
	if (r == WEIR_OK && is_move)
		r = c->ops->move(c->be, &c->ctx, &a, &b, from.type == WEIR_DIR, &st, &c->err);
	else if (r == WEIR_OK)
		r = c->ops->copy(c->be, &c->ctx, &a, &b, &st, &c->err);
	weir_stat_free(&from);
	weir_stat_free(&st);
	return r;
}

static enum weir_code
call_verb(struct call *c, const char *verb)
{
	const struct weir_where w = { .path = call_arg(c, 0) };
	struct weir_stat st = { 0 };
	enum weir_code r;

	if (strcmp(verb, "get") == 0)
		return call_get(c);
	if (strcmp(verb, "put") == 0)
		return call_put(c);
	if (strcmp(verb, "ls") == 0 || strcmp(verb, "lsr") == 0)
		return call_ls(c, verb[2] == 'r' ? WEIR_LIST_DEEP : 0);
	if (strcmp(verb, "stat") == 0)
		return call_stat(c);
	if (strcmp(verb, "touch") == 0)
		return call_touch(c);
	if (strcmp(verb, "big") == 0)
		return call_big(c);
	if (strcmp(verb, "mv") == 0 || strcmp(verb, "cp") == 0)
		return call_two(c, verb[0] == 'm');
	if (strcmp(verb, "rm") == 0 || strcmp(verb, "rmdir") == 0)
		return c->ops->remove(c->be, &c->ctx, &w, verb[2] == 'd', &c->err);
	if (strcmp(verb, "mkdir") != 0)
		return weir_err_set(&c->err, WEIR_E_INVAL, "unknown verb '%s'", verb);
	r = c->ops->mkdir(c->be, &c->ctx, &w, &st, &c->err);
	weir_stat_free(&st);
	return r;
}

int
main(int argc, char **argv)
{
	struct call c = { .argv = argv + 4, .argc = argc - 4 };
	struct weir_conf *conf = NULL;
	struct weir_http *http = NULL;
	const struct weir_conf_type *types;
	size_t n;
	enum weir_code r;

	if (argc < 4)
		return 2;
	types = weir_backend_types(&n);
	r = weir_conf_load(argv[1], types, n, &conf, &c.err);
	if (r == WEIR_OK && weir_conf_remote(conf, argv[2]) == NULL)
		r = weir_err_set(&c.err, WEIR_E_CONFIG, "no remote '%s'", argv[2]);
	if (r == WEIR_OK)
		r = weir_http_new(&http, &c.err);
	if (r == WEIR_OK)
		r = weir_backend_open(&c.be, weir_conf_remote(conf, argv[2]), http, &c.err);
	if (r == WEIR_OK) {
		c.ops = c.be->ops;
		r = call_verb(&c, argv[3]);
	}
	if (r != WEIR_OK)
		fprintf(stderr, "%s: %s\n", weir_code_name(r), weir_err_text(&c.err, r));
	weir_backend_close(c.be);
	if (http != NULL)
		weir_http_free(http);
	weir_conf_free(conf);
	return r != WEIR_OK;
}
