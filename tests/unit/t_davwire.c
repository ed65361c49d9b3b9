/* SPDX-License-Identifier: Apache-2.0 */
/* WebDAV and Nextcloud against a server that follows a script: odd but legal answers, lost replies, refusals. Each step says
 * what must be asked next and what is answered; a request that is not in the script fails the test. */
#include "config.h"

#include <CUnit/Basic.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../backends/backend.h"
#include "../../src/util/util.h"

extern const struct weir_backend_ops weir_backend_webdav, weir_backend_nextcloud;

/* ---- the server ---- */

struct step {
	const char *ask;		/* "METHOD /path" */
	const char *must;		/* a header line that must be in the request, or "!Name:" one that must not; NULL */
	const char *status;		/* "207 Multi-Status" */
	const char *head;		/* header lines, each with \r\n; NULL */
	const char *body;		/* NULL: empty */
};

static int wire_port;
static pthread_mutex_t wire_lock = PTHREAD_MUTEX_INITIALIZER;
/* guarded by wire_lock */
static const struct step *wire_steps;
static size_t wire_at, wire_wrong;
static bool wire_ignores;		/* without a script: a server that ignores every precondition */

#define PROPS(href, type, etag, len) "<d:response><d:href>" href "</d:href><d:propstat><d:prop><d:resourcetype>" type \
	"</d:resourcetype><d:getetag>" etag "</d:getetag><d:getcontentlength>" len "</d:getcontentlength>" \
	"<d:getlastmodified>Tue, 14 Nov 2023 22:13:20 GMT</d:getlastmodified></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
#define MULTI(responses) "<?xml version='1.0'?><d:multistatus xmlns:d='DAV:' xmlns:oc='http://owncloud.org/ns'>" responses "</d:multistatus>"
#define ONE_FILE(etag, len) MULTI(PROPS("/x", "", etag, len))
#define FOLDER "<d:collection/>"

static void
wire_say(int fd, const char *status, const char *head, const char *body)
{
	size_t n = body ? strlen(body) : 0;

	dprintf(fd, "HTTP/1.1 %s\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n%s", status, head ? head : "", n, body ? body : "");
}

static bool
wire_has(const char *request, const char *must)
{
	if (!must)
		return true;
	return *must == '!' ? !strcasestr(request, must + 1) : strstr(request, must) != NULL;
}

static void
wire_answer(int fd, const char *request)
{
	const struct step *s;
	size_t n;

	pthread_mutex_lock(&wire_lock);
	if (wire_ignores) {
		if (strncmp(request, "PROPFIND", 8) == 0)
			wire_say(fd, "207 Multi-Status", NULL, strstr(request, "/none ") ? MULTI("") : ONE_FILE("\"e1\"", "5"));
		else
			wire_say(fd, "201 Created", NULL, NULL);
		pthread_mutex_unlock(&wire_lock);
		return;
	}
	s = wire_steps ? &wire_steps[wire_at] : NULL;
	n = s && s->ask ? strlen(s->ask) : 0;
	if (n && strncmp(request, s->ask, n) == 0 && request[n] == ' ' && wire_has(request, s->must)) {
		wire_at++;
		wire_say(fd, s->status, s->head, s->body);
	} else {
		fprintf(stderr, "step %zu: wanted '%s' with '%s', got\n%s\n", wire_at, n ? s->ask : "nothing", n && s->must ? s->must : "",
		    request);
		wire_wrong++;
		wire_say(fd, "418 Not In The Script", NULL, NULL);
	}
	pthread_mutex_unlock(&wire_lock);
}

static void
wire_one(int fd)
{
	char head[16384], body[4096];
	const char *p;
	size_t n = 0, left;

	while (n < sizeof(head) - 1 && (n < 4 || memcmp(head + n - 4, "\r\n\r\n", 4) != 0)) {
		if (read(fd, head + n, 1) != 1)
			return;
		n++;
	}
	head[n] = '\0';
	p = strcasestr(head, "\r\nContent-Length:");
	for (left = p ? strtoul(p + 17, NULL, 10) : 0; left;) {
		ssize_t got = read(fd, body, left < sizeof(body) ? left : sizeof(body));

		if (got <= 0)
			return;
		left -= (size_t)got;
	}
	wire_answer(fd, head);
	shutdown(fd, SHUT_WR);
	while (read(fd, body, sizeof(body)) > 0)
		;
}

static void *
wire_run(void *arg)
{
	int listener = *(int *)arg;

	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			return NULL;
		wire_one(fd);
		close(fd);
	}
}

static int wire_listener = -1;
static pthread_t wire_thread;

static int
wire_start(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);

	signal(SIGPIPE, SIG_IGN);
	wire_listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(wire_listener, (struct sockaddr *)&a, sizeof(a)) || listen(wire_listener, 16) ||
	    getsockname(wire_listener, (struct sockaddr *)&a, &n))
		return -1;
	wire_port = ntohs(a.sin_port);
	return pthread_create(&wire_thread, NULL, wire_run, &wire_listener);
}

static int
wire_stop(void)
{
	shutdown(wire_listener, SHUT_RDWR);
	pthread_join(wire_thread, NULL);
	close(wire_listener);
	return 0;
}

/* ---- one backend ---- */

static struct weir_http *http;
static struct weir_conf *conf;
static struct weir_backend *be;
static struct weir_err err;

static void
script(const struct step *steps)
{
	pthread_mutex_lock(&wire_lock);
	wire_steps = steps;
	wire_at = wire_wrong = 0;
	wire_ignores = false;
	pthread_mutex_unlock(&wire_lock);
	err.msg[0] = '\0';
}

/* The script was followed to its end. */
static void
played(void)
{
	pthread_mutex_lock(&wire_lock);
	CU_ASSERT_EQUAL(wire_wrong, 0);
	CU_ASSERT(!wire_steps || !wire_steps[wire_at].ask);
	if (wire_steps && wire_steps[wire_at].ask)
		fprintf(stderr, "never asked: %s\n", wire_steps[wire_at].ask);
	pthread_mutex_unlock(&wire_lock);
}

static void
begin(const struct weir_backend_ops *ops, const char *more)
{
	const struct weir_conf_type types[] = { { "webdav", weir_backend_webdav.keys }, { "nextcloud", weir_backend_nextcloud.keys } };
	WEIR_AUTO(weir_freep) char *text = weir_xasprintf("[remote x]\ntype = %s\nurl = http://127.0.0.1:%d%s\nuser = u\npassword = p\n%s",
	    ops->name, wire_port, ops == &weir_backend_webdav ? "/dav" : "", more);

	CU_ASSERT_EQUAL_FATAL(weir_conf_parse("test", text, strlen(text), types, 2, &conf, &err), WEIR_OK);
	CU_ASSERT_EQUAL_FATAL(weir_http_new(&http, &err), WEIR_OK);
	CU_ASSERT_EQUAL_FATAL(ops->open(&be, &conf->remotes[0], http, &err), WEIR_OK);
}

static void
end(void)
{
	be->ops->close(be);
	weir_http_free(http);
	weir_conf_free(conf);
}

struct bytes {
	struct weir_sink sink;
	struct weir_buf buf;
};

static enum weir_code
bytes_write(struct weir_sink *s, const void *data, size_t len)
{
	return weir_buf_add(&((struct bytes *)s)->buf, data, len) ? WEIR_E_FBIG : WEIR_OK;
}

static ssize_t
five_read(struct weir_source *s, void *buf, size_t len, uint64_t off)
{
	(void)s;
	if (off >= 5)
		return 0;
	if (len > 5 - off)
		len = 5 - (size_t)off;
	memcpy(buf, "hello" + off, len);
	return (ssize_t)len;
}

static struct weir_source five = { five_read };

/* Reads, compares what arrived. */
static enum weir_code
get(const char *version, uint64_t off, uint64_t len, const char *want)
{
	struct bytes b = { .sink = { bytes_write }, .buf = WEIR_BUF(1u << 20) };
	struct weir_where w = { .path = "x", .version = version };
	struct weir_stat st;
	enum weir_code r = be->ops->get(be, NULL, &w, off, len, &b.sink, &st, &err);

	CU_ASSERT_STRING_EQUAL(weir_buf_str(&b.buf), want);
	weir_buf_free(&b.buf);
	weir_stat_free(&st);
	return r;
}

static enum weir_code
list_add(void *arg, const struct weir_stat *st, struct weir_err *e)
{
	(void)e;
	weir_buf_addf(arg, "%s%s:%s ", st->path, st->type == WEIR_DIR ? "/" : "", st->version ? st->version : "");
	return WEIR_OK;
}

static enum weir_code
list_readonly(void *arg, const struct weir_stat *st, struct weir_err *e)
{
	(void)e;
	if (st->is_readonly)
		weir_buf_addf(arg, "%s ", st->path);
	return WEIR_OK;
}

/* ---- webdav ---- */

static void
a_listing_finds_itself_by_path_and_drops_what_is_no_child(void)
{
	static const struct step steps[] = {
		{ "PROPFIND /dav/a%20%28b%29/", "Depth: 1", "207 Multi-Status", NULL, MULTI(
		    PROPS("/dav/a%20(b)/one", "", "W/&quot;1&quot;", "1")
		    PROPS("http://other:99/dav/a%20%28b%29/tw%6f/", FOLDER, "&quot;2&quot;", "")
		    PROPS("/dav/a%20(b)/", FOLDER, "", "")
		    PROPS("/dav/a%20(b)/x%2fy", "", "", "1")
		    PROPS("/dav/a%20(b)/deep/er", "", "", "1")
		    PROPS("/dav/a%20(b)c", "", "", "1")
		    PROPS("/dav/a%20(b)/%2e%2e/", FOLDER, "", "")
		    "<d:response><d:href>/dav/a%20(b)/gone</d:href><d:status>HTTP/1.1 404 Not Found</d:status></d:response>"
		    PROPS("/dav/a%20(b)/no-etag", "", "", "7")) },
		{ "PROPFIND /dav/f/", NULL, "207 Multi-Status", NULL, MULTI(PROPS("/dav/f", "", "", "1")) },
		{ 0 } };
	struct weir_buf b = WEIR_BUF(4096);

	begin(&weir_backend_webdav, "");
	script(steps);
	CU_ASSERT_EQUAL(be->ops->list(be, NULL, &(struct weir_where){ .path = "a (b)" }, 0, list_add, &b, NULL, &err), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(weir_buf_str(&b), "two/: one:1 no-etag:mtime:1700000000-7 ");
	CU_ASSERT_EQUAL(be->ops->list(be, NULL, &(struct weir_where){ .path = "f" }, 0, list_add, &b, NULL, &err), WEIR_E_NOTDIR);
	played();
	weir_buf_free(&b);
	end();
}

static void
a_proxy_that_shows_other_paths_is_understood(void)
{
	static const struct step steps[] = {
		{ "PROPFIND /dav/", NULL, "207 Multi-Status", NULL, MULTI(
		    PROPS("/inner/store/b", "", "&quot;1&quot;", "1") PROPS("/inner/store/", FOLDER, "", "") PROPS("/inner/store/c/", FOLDER, "", "")) },
		{ 0 } };
	struct weir_buf b = WEIR_BUF(4096);

	begin(&weir_backend_webdav, "");
	script(steps);
	CU_ASSERT_EQUAL(be->ops->list(be, NULL, &(struct weir_where){ .path = "" }, 0, list_add, &b, NULL, &err), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(weir_buf_str(&b), "b:1 c/: ");
	played();
	weir_buf_free(&b);
	end();
}

static void
a_listing_cut_short_is_no_listing(void)
{
	static const struct step steps[] = {
		{ "PROPFIND /dav/", NULL, "207 Multi-Status", NULL, "<d:multistatus xmlns:d='DAV:'>" PROPS("/dav/", FOLDER, "", "") PROPS("/dav/a", "", "", "1") },
		{ 0 } };
	struct weir_buf b = WEIR_BUF(4096);

	begin(&weir_backend_webdav, "");
	script(steps);
	CU_ASSERT_EQUAL(be->ops->list(be, NULL, &(struct weir_where){ .path = "" }, 0, list_add, &b, NULL, &err), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(b.len, 0);	/* nothing of it is believed: what is missing would count as removed */
	played();
	weir_buf_free(&b);
	end();
}

static void
ranges_are_checked(void)
{
	static const struct step steps[] = {
		{ "GET /dav/x", "Range: bytes=2-4\r\n", "206 Partial Content", "ETag: \"1\"\r\nContent-Range: bytes 2-4/9\r\n", "cde" },
		{ "GET /dav/x", "Range: bytes=2-4\r\n", "206 Partial Content", "ETag: \"2\"\r\nContent-Range: bytes 2-4/9\r\n", "CDE" },
		/* ranges ignored: the wanted part of the whole */
		{ "GET /dav/x", NULL, "200 OK", "ETag: W/\"1-gzip\"\r\n", "abcdefghi" },
		/* never 0-0: sabre takes that for the whole file, and may send more than was asked at any time */
		{ "GET /dav/x", "Range: bytes=0-1\r\n", "206 Partial Content", "ETag: \"1\"\r\nContent-Range: bytes 0-8/9\r\n", "abcdefghi" },
		{ "GET /dav/x", NULL, "206 Partial Content", "ETag: \"1\"\r\nContent-Range: bytes 3-5/9\r\n", "def" },
		{ "GET /dav/x", NULL, "206 Partial Content", "ETag: \"1\"\r\nContent-Range: bytes 2-3/9\r\n", "cd" },
		/* the file ends within the range, and then before it */
		{ "GET /dav/x", NULL, "206 Partial Content", "ETag: \"1\"\r\nContent-Range: bytes 7-8/9\r\n", "hi" },
		{ "GET /dav/x", NULL, "416 Range Not Satisfiable", NULL, NULL },
		{ "PROPFIND /dav/x", "Depth: 0", "207 Multi-Status", NULL, ONE_FILE("&quot;1&quot;", "9") },
		{ "GET /dav/x", NULL, "416 Range Not Satisfiable", NULL, NULL },
		{ "PROPFIND /dav/x", "Depth: 0", "207 Multi-Status", NULL, ONE_FILE("&quot;2&quot;", "9") },
		{ 0 } };

	begin(&weir_backend_webdav, "");
	script(steps);
	CU_ASSERT_EQUAL(get("1", 2, 3, "cde"), WEIR_OK);
	CU_ASSERT(weir_backend_caps(be) & WEIR_CAP_RANGES);
	CU_ASSERT_EQUAL(get("1", 2, 3, ""), WEIR_E_CHANGED);
	CU_ASSERT_EQUAL(get("1", 2, 3, "cde"), WEIR_OK);
	CU_ASSERT(!(weir_backend_caps(be) & WEIR_CAP_RANGES));
	CU_ASSERT_EQUAL(get("1", 0, 1, "a"), WEIR_OK);
	CU_ASSERT_EQUAL(get("1", 2, 3, ""), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(get("1", 2, 3, ""), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(get("1", 7, 100, "hi"), WEIR_OK);
	CU_ASSERT_EQUAL(get("1", 9, 100, ""), WEIR_OK);
	CU_ASSERT_EQUAL(get("1", 9, 100, ""), WEIR_E_CHANGED);
	played();
	end();
}

static void
an_answer_without_a_version_is_compared_afterwards(void)
{
	static const struct step steps[] = {
		{ "GET /dav/x", NULL, "206 Partial Content", "Content-Range: bytes 0-4/5\r\n", "hello" },
		{ "PROPFIND /dav/x", NULL, "207 Multi-Status", NULL, ONE_FILE("&quot;1&quot;", "5") },
		{ "GET /dav/x", NULL, "206 Partial Content", "Content-Range: bytes 0-4/5\r\n", "HELLO" },
		{ "PROPFIND /dav/x", NULL, "207 Multi-Status", NULL, ONE_FILE("&quot;2&quot;", "5") },
		/* no ETag anywhere: time and size are the version */
		{ "GET /dav/x", NULL, "200 OK", "Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\n", "hello" },
		{ "GET /dav/x", NULL, "200 OK", "Last-Modified: Tue, 14 Nov 2023 22:13:21 GMT\r\n", "hello" },
		{ 0 } };

	begin(&weir_backend_webdav, "");
	script(steps);
	CU_ASSERT_EQUAL(get("1", 0, 5, "hello"), WEIR_OK);
	CU_ASSERT_EQUAL(get("1", 0, 5, "HELLO"), WEIR_E_CHANGED);
	CU_ASSERT_EQUAL(get("mtime:1700000000-5", 0, 5, "hello"), WEIR_OK);
	CU_ASSERT_EQUAL(get("mtime:1700000000-5", 0, 5, ""), WEIR_E_CHANGED);
	played();
	end();
}

static void
one_refused_login_stops_all_traffic(void)
{
	static const struct step steps[] = {
		{ "GET /dav/x", "Authorization: Basic dTpw\r\n", "401 Unauthorized", NULL, "<html><title>401</title><p>Wrong password.</p></html>" },
		{ 0 } };
	static const struct step again[] = {
		{ "PROPFIND /dav/", NULL, "207 Multi-Status", NULL, MULTI(PROPS("/dav/", FOLDER, "", "")) },
		{ "GET /dav/x", NULL, "200 OK", "ETag: \"1\"\r\n", "hello" },
		{ 0 } };

	begin(&weir_backend_webdav, "");
	script(steps);
	CU_ASSERT_EQUAL(get(NULL, 0, 5, ""), WEIR_E_AUTH);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "Wrong password"));
	CU_ASSERT_EQUAL(get(NULL, 0, 5, ""), WEIR_E_AUTH);
	CU_ASSERT_EQUAL(get(NULL, 0, 5, ""), WEIR_E_AUTH);
	played();
	script(again);
	CU_ASSERT_EQUAL(be->ops->probe(be, NULL, &err), WEIR_OK);
	CU_ASSERT_EQUAL(get(NULL, 0, 5, "hello"), WEIR_OK);
	played();
	end();
}

static void
retry_after_is_passed_on(void)
{
	static const struct step steps[] = {
		{ "GET /dav/x", NULL, "503 Service Unavailable", "Retry-After: 120\r\n", "busy" },
		{ "GET /dav/x", NULL, "429 Too Many Requests", NULL, NULL },
		{ 0 } };

	begin(&weir_backend_webdav, "");
	script(steps);
	CU_ASSERT_EQUAL(get(NULL, 0, 5, ""), WEIR_E_THROTTLED);
	CU_ASSERT(atomic_load(&be->pause_until_ms) > weir_now_ms() + 110000);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "busy"));
	CU_ASSERT_EQUAL(get(NULL, 0, 5, ""), WEIR_E_THROTTLED);
	played();
	end();
}

/* A server that says yes to everything is found out, and then the comparison is ours. */
static void
ignored_preconditions_are_compared_by_us(void)
{
	static const struct step put_new[] = {
		{ "PROPFIND /dav/none", NULL, "404 Not Found", NULL, NULL },
		{ "PUT /dav/none", "!If-None-Match", "201 Created", NULL, NULL },
		{ "PROPFIND /dav/none", NULL, "207 Multi-Status", NULL, ONE_FILE("&quot;7&quot;", "5") },
		{ 0 } };
	static const struct step put_changed[] = {
		{ "PROPFIND /dav/x", NULL, "207 Multi-Status", NULL, ONE_FILE("&quot;2&quot;", "5") },
		{ 0 } };
	static const struct step put_lost[] = {	/* someone else's shorter file right after ours */
		{ "PROPFIND /dav/x", NULL, "207 Multi-Status", NULL, ONE_FILE("&quot;2&quot;", "5") },
		{ "PUT /dav/x", NULL, "204 No Content", NULL, NULL },
		{ "PROPFIND /dav/x", NULL, "207 Multi-Status", NULL, ONE_FILE("&quot;3&quot;", "4") },
		{ 0 } };
	struct weir_meta meta = { WEIR_TIME_NONE, WEIR_MODE_NONE };
	struct weir_where w = { .path = "none", .version = WEIR_ABSENT };
	struct weir_stat st = { 0 };

	begin(&weir_backend_webdav, "");
	script(NULL);
	wire_ignores = true;
	CU_ASSERT_EQUAL(be->ops->mkdir(be, NULL, &(struct weir_where){ .path = "d" }, NULL, &err), WEIR_OK);
	CU_ASSERT_EQUAL(be->ops->put(be, NULL, &(struct weir_where){ .path = "x" }, WEIR_FILE, &five, 5, &meta, NULL, NULL, &err), WEIR_OK);
	CU_ASSERT_EQUAL(weir_backend_caps(be) & (WEIR_CAP_CAS_CREATE | WEIR_CAP_CAS_PUT | WEIR_CAP_CAS_COPY | WEIR_CAP_CAS_DELETE | WEIR_CAP_MTIME), 0);
	script(put_new);
	CU_ASSERT_EQUAL(be->ops->put(be, NULL, &w, WEIR_FILE, &five, 5, &meta, NULL, &st, &err), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(st.version, "7");
	weir_stat_free(&st);
	played();
	script(put_changed);
	w = (struct weir_where){ .path = "x", .version = "1" };
	CU_ASSERT_EQUAL(be->ops->put(be, NULL, &w, WEIR_FILE, &five, 5, &meta, NULL, NULL, &err), WEIR_E_CHANGED);
	played();
	script(put_lost);
	w.version = "2";
	CU_ASSERT_EQUAL(be->ops->put(be, NULL, &w, WEIR_FILE, &five, 5, &meta, NULL, NULL, &err), WEIR_E_CHANGED);
	played();
	end();
}

static void
a_folder_in_the_way_is_never_removed(void)
{
	static const struct step steps[] = {
		{ "PROPFIND /dav/x", NULL, "207 Multi-Status", NULL, ONE_FILE("&quot;1&quot;", "5") },
		{ "PROPFIND /dav/y", NULL, "301 Moved", "Location: /dav/y/\r\n", NULL },
		{ "PROPFIND /dav/y/", NULL, "207 Multi-Status", NULL, MULTI(PROPS("/dav/y/", FOLDER, "", "")) },
		/* a file's DELETE does not go to a folder, nor a folder's to one with something in it */
		{ "PROPFIND /dav/y", NULL, "207 Multi-Status", NULL, MULTI(PROPS("/dav/y/", FOLDER, "", "")) },
		{ "PROPFIND /dav/y/", "Depth: 1", "207 Multi-Status", NULL, MULTI(PROPS("/dav/y/", FOLDER, "", "") PROPS("/dav/y/z", "", "", "1")) },
		{ 0 } };

	begin(&weir_backend_webdav, "");
	script(NULL);
	wire_ignores = true;	/* lets it learn */
	CU_ASSERT_EQUAL(be->ops->put(be, NULL, &(struct weir_where){ .path = "x" }, WEIR_FILE, &five, 5, NULL, NULL, NULL, &err), WEIR_OK);
	script(steps);
	CU_ASSERT_EQUAL(be->ops->move(be, NULL, &(struct weir_where){ .path = "x" }, &(struct weir_where){ .path = "y" }, false, NULL, &err),
	    WEIR_E_ISDIR);
	CU_ASSERT_EQUAL(be->ops->remove(be, NULL, &(struct weir_where){ .path = "y" }, false, &err), WEIR_E_ISDIR);
	CU_ASSERT_EQUAL(be->ops->remove(be, NULL, &(struct weir_where){ .path = "y" }, true, &err), WEIR_E_NOTEMPTY);
	played();
	end();
}

/* ---- nextcloud ---- */

#define USER { "GET /ocs/v2.php/cloud/user?format=json", "OCS-APIRequest: true", "200 OK", NULL, \
	"{\"ocs\":{\"meta\":{\"statuscode\":200},\"data\":{\"id\":\"u 1@x\"}}}" }
#define CAPS(files) { "GET /ocs/v2.php/cloud/capabilities?format=json", NULL, "200 OK", NULL, \
	"{\"ocs\":{\"data\":{\"capabilities\":{\"files\":{" files "}}}}}" }
#define HOME "/remote.php/dav/files/u%201%40x"
#define UPLOADS "/remote.php/dav/uploads/u%201%40x"

static void
nextcloud_tells_who_we_are_and_what_it_takes(void)
{
	static const struct step steps[] = {
		{ "GET /status.php", NULL, "200 OK", NULL, "{\"installed\":true,\"maintenance\":false,\"needsDbUpgrade\":false}" },
		USER,
		CAPS("\"chunked_upload\":{\"max_size\":20000000,\"max_parallel_count\":5},\"forbidden_filename_characters\":[\"\\\\\",\"/\",\":\"],"
		    "\"forbidden_filename_basenames\":[\"con\"],\"forbidden_filename_extensions\":[\".part\",\" \"],\"forbidden_filenames\":[\".htaccess\"]"),
		{ "PROPFIND " HOME "/my%20data/", NULL, "207 Multi-Status", NULL, MULTI(PROPS(HOME "/my%20data/", FOLDER, "&quot;r1&quot;", "")) },
		{ "MKCOL " HOME "/my%20data/a%EF%BC%9Ab%EF%BC%BC/", NULL, "201 Created", NULL, NULL },
		{ 0 } };
	static const char *const bad[] = { "CON", "con.txt", "x.PART", "ends with ", ".HTACCESS", "  " };

	begin(&weir_backend_nextcloud, "folder = /my data/\n");
	script(steps);
	CU_ASSERT_EQUAL(be->ops->probe(be, NULL, &err), WEIR_OK);
	CU_ASSERT_EQUAL(be->limits.put_max, 20000000);
	CU_ASSERT_EQUAL(be->limits.part_max, 20000000);
	CU_ASSERT(be->limits.part_min >= 5000000);
	for (size_t i = 0; i < WEIR_LEN(bad); i++)
		CU_ASSERT_EQUAL(be->ops->mkdir(be, NULL, &(struct weir_where){ .path = bad[i] }, NULL, &err), WEIR_E_NAME);
	CU_ASSERT_EQUAL(be->ops->mkdir(be, NULL, &(struct weir_where){ .path = "a:b\\" }, NULL, &err), WEIR_OK);
	played();
	end();
}

static void
nextcloud_refusals_are_told_apart(void)
{
	static const struct step maintenance[] = {
		{ "GET /status.php", NULL, "200 OK", NULL, "{\"installed\":true,\"maintenance\":true}" }, { 0 } };
	static const struct step away[] = {
		{ "GET /status.php", NULL, "503 Service Unavailable", "Retry-After: 120\r\nX-Nextcloud-Maintenance-Mode: 1\r\n", NULL }, { 0 } };
	static const struct step other[] = { { "GET /status.php", NULL, "404 Not Found", NULL, NULL }, { 0 } };
	static const struct step moved[] = {
		{ "GET /status.php", NULL, "302 Found", "Location: https://cloud.example/nc/status.php\r\n", NULL }, { 0 } };
	static const struct step wrong[] = {
		{ "GET /status.php", NULL, "200 OK", NULL, "{\"installed\":true}" },
		{ "GET /ocs/v2.php/cloud/user?format=json", NULL, "401 Unauthorized", NULL,
		    "{\"ocs\":{\"meta\":{\"status\":\"failure\",\"statuscode\":997,\"message\":\"Current user is not logged in\"}}}" }, { 0 } };

	begin(&weir_backend_nextcloud, "");
	script(maintenance);
	CU_ASSERT_EQUAL(be->ops->probe(be, NULL, &err), WEIR_E_THROTTLED);
	played();
	script(away);
	CU_ASSERT_EQUAL(be->ops->probe(be, NULL, &err), WEIR_E_THROTTLED);
	played();
	script(other);
	CU_ASSERT_EQUAL(be->ops->probe(be, NULL, &err), WEIR_E_CONFIG);
	played();
	script(moved);
	CU_ASSERT_EQUAL(be->ops->probe(be, NULL, &err), WEIR_E_CONFIG);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "'https://cloud.example/nc'"));
	played();
	script(wrong);
	CU_ASSERT_EQUAL(be->ops->probe(be, NULL, &err), WEIR_E_AUTH);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "Current user is not logged in"));
	played();
	end();
}

#define SHA "sha1:aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"

#define OURS MULTI("<d:response><d:href>/x</d:href><d:propstat><d:prop><d:resourcetype/><d:getetag>&quot;n9&quot;</d:getetag>" \
	"<d:getcontentlength>5</d:getcontentlength><oc:checksums><oc:checksum>SHA1:aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d</oc:checksum></oc:checksums>" \
	"</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>")
#define LOOK(body) { "PROPFIND " HOME "/x", NULL, "207 Multi-Status", NULL, body }
#define OLD LOOK(ONE_FILE("&quot;n1&quot;", "3"))

static void
nextcloud_put_sends_and_checks_a_checksum(void)
{
	static const struct step steps[] = {
		USER, CAPS(""),
		{ "PUT " HOME "/x", "OC-Checksum: SHA1:aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d\r\n", "201 Created",
		    "OC-ETag: \"n1\"\r\nETag: \"n1-gzip\"\r\nOC-FileId: 00000259oczn5x60nrdu\r\nX-OC-MTime: accepted\r\n"
		    "X-Hash-SHA1: AAF4C61DDCC5E8A2DABEDE0F3B482CD9AEA9434D\r\n", NULL },
		{ "PUT " HOME "/x", "If-Match: \"n1\"\r\n", "204 No Content", "ETag: \"n2\"\r\nX-OC-MTime: accepted\r\nX-Hash-SHA1: 00\r\n", NULL },
		/* a time before 1970-01-02 would be stored and then be an error */
		{ "PUT " HOME "/y", "X-OC-Mtime: 86401\r\n", "201 Created", "ETag: \"n3\"\r\nX-OC-MTime: accepted\r\n", NULL },
		/* refused although a look shows the version we expect: the look is the comparison */
		{ "PUT " HOME "/x", "If-Match: \"n2\"\r\n", "412 Precondition Failed", NULL, NULL },
		{ "PROPFIND " HOME "/x", NULL, "207 Multi-Status", NULL, ONE_FILE("&quot;n2&quot;", "5") },
		{ "PROPFIND " HOME "/x", NULL, "207 Multi-Status", NULL, ONE_FILE("&quot;n2&quot;", "5") },
		{ "PUT " HOME "/x", "!If-Match", "204 No Content", "ETag: \"n4\"\r\nX-OC-MTime: accepted\r\n", NULL },
		{ "PUT " HOME "/x", "If-Match: \"n2\"\r\n", "412 Precondition Failed", NULL, NULL },
		{ "PROPFIND " HOME "/x", NULL, "207 Multi-Status", NULL, ONE_FILE("&quot;n4&quot;", "5") },
		{ "PROPFIND " HOME "/x", NULL, "207 Multi-Status", NULL, ONE_FILE("&quot;n4&quot;", "5") },
		/* the same when a second attempt finds our own file in the way, or a proxy lost patience: no conflict */
		{ "PUT " HOME "/x", "If-Match: \"n2\"\r\n", "412 Precondition Failed", NULL, NULL }, LOOK(OURS),
		{ "PUT " HOME "/x", "If-Match: \"n2\"\r\n", "504 Gateway Timeout", NULL, NULL }, LOOK(OURS),
		{ 0 } };
	struct weir_meta meta = { 1700000000LL * 1000000000, WEIR_MODE_NONE }, old = { -5000000000LL, WEIR_MODE_NONE };
	struct weir_stat st = { 0 };

	begin(&weir_backend_nextcloud, "");
	script(steps);
	CU_ASSERT_EQUAL(be->ops->put(be, NULL, &(struct weir_where){ .path = "x", .version = WEIR_ABSENT }, WEIR_FILE, &five, 5, &meta, NULL, &st, &err),
	    WEIR_OK);
	CU_ASSERT_STRING_EQUAL(st.version, "n1");
	CU_ASSERT_STRING_EQUAL(st.id, "259");
	CU_ASSERT_STRING_EQUAL(st.sum, SHA);
	CU_ASSERT_EQUAL(st.mtime_ns, meta.mtime_ns);
	weir_stat_free(&st);
	CU_ASSERT_EQUAL(be->ops->put(be, NULL, &(struct weir_where){ .path = "x", .version = "n1" }, WEIR_FILE, &five, 5, &meta, NULL, NULL, &err),
	    WEIR_E_BADSUM);
	CU_ASSERT_EQUAL(be->ops->put(be, NULL, &(struct weir_where){ .path = "y" }, WEIR_FILE, &five, 5, &old, NULL, &st, &err), WEIR_OK);
	CU_ASSERT_EQUAL(st.mtime_ns, 86401LL * 1000000000);
	weir_stat_free(&st);
	CU_ASSERT_EQUAL(be->ops->put(be, NULL, &(struct weir_where){ .path = "x", .version = "n2" }, WEIR_FILE, &five, 5, &meta, NULL, NULL, &err),
	    WEIR_OK);
	CU_ASSERT_EQUAL(be->ops->put(be, NULL, &(struct weir_where){ .path = "x", .version = "n2" }, WEIR_FILE, &five, 5, &meta, NULL, NULL, &err),
	    WEIR_E_CHANGED);
	for (int i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL(be->ops->put(be, NULL, &(struct weir_where){ .path = "x", .version = "n2" }, WEIR_FILE, &five, 5, &meta, NULL, &st, &err),
		    WEIR_OK);
		CU_ASSERT_STRING_EQUAL(st.version, "n9");
		weir_stat_free(&st);
	}
	played();
	end();
}

#define COMMIT(status) { "MOVE " UPLOADS "/weir-1/.file", "If: <" HOME "/x> ([\"n1\"])\r\n", status, NULL, NULL }

static enum weir_code
commit(struct weir_stat *st)
{
	struct weir_meta meta = { 1700000001LL * 1000000000, WEIR_MODE_NONE };
	struct weir_where w = { .path = "x", .version = "n1" };

	return be->ops->upload_commit(be, NULL, &w, "weir-1", NULL, 1, 5, &meta, SHA, st, &err);
}

static void
a_commit_whose_reply_was_lost_is_recognised(void)
{
	static const struct step steps[] = {
		USER, CAPS(""),
		/* cut by a proxy, but done */
		OLD, COMMIT("504 Gateway Timeout"), LOOK(OURS),
		/* cut by a proxy; the server goes on: locked; the retry layer asks again: gone, and the target is ours */
		OLD, COMMIT("504 Gateway Timeout"), OLD,
		OLD, COMMIT("423 Locked"), OLD,
		OLD, COMMIT("404 Not Found"), LOOK(OURS),
		/* done before we ask again: the target has changed, to what we sent */
		LOOK(OURS), LOOK(OURS),
		/* forgotten */
		OLD, COMMIT("404 Not Found"), OLD,
		/* somebody else's */
		LOOK(ONE_FILE("&quot;n2&quot;", "5")), LOOK(ONE_FILE("&quot;n2&quot;", "5")), { 0 } };
	struct weir_stat st = { 0 };

	begin(&weir_backend_nextcloud, "");
	script(steps);
	CU_ASSERT_EQUAL(commit(&st), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(st.version, "n9");
	weir_stat_free(&st);
	CU_ASSERT_EQUAL(commit(&st), WEIR_E_SERVER);
	CU_ASSERT_EQUAL(commit(&st), WEIR_E_LOCKED);
	CU_ASSERT_EQUAL(commit(&st), WEIR_OK);
	weir_stat_free(&st);
	CU_ASSERT_EQUAL(commit(&st), WEIR_OK);
	weir_stat_free(&st);
	CU_ASSERT_EQUAL(commit(&st), WEIR_E_NOENT);
	CU_ASSERT_EQUAL(commit(&st), WEIR_E_CHANGED);	/* same size, but neither our sum nor our time */
	played();
	end();
}

static void
permissions_say_what_is_read_only(void)
{
#define PERM(href, type, perms) "<d:response><d:href>" HOME href "</d:href><d:propstat><d:prop><d:resourcetype>" type "</d:resourcetype>" \
	"<oc:permissions>" perms "</oc:permissions><d:getcontentlength>1</d:getcontentlength></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
	static const struct step steps[] = { USER, CAPS(""),
		{ "PROPFIND " HOME "/", NULL, "207 Multi-Status", NULL, MULTI(PERM("/", FOLDER, "RGCK") PERM("/rw", "", "RGDNVW") PERM("/ro", "", "SRG")
		    PERM("/drw/", FOLDER, "RGDNVCK") PERM("/dro/", FOLDER, "SG")) }, { 0 } };
	struct weir_buf b = WEIR_BUF(4096);

	begin(&weir_backend_nextcloud, "");
	script(steps);
	CU_ASSERT_EQUAL(be->ops->list(be, NULL, &(struct weir_where){ .path = "" }, 0, list_readonly, &b, NULL, &err), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(weir_buf_str(&b), "ro dro ");
	played();
	weir_buf_free(&b);
	end();
}

static void
an_upload_id_cannot_become_another_address(void)
{
	static const struct step steps[] = { USER, CAPS(""), { 0 } };
	static const char *const bad[] = { "", "../x", "a/b", "a?b", "%2e" };
	char *tag = NULL;

	begin(&weir_backend_nextcloud, "");
	script(steps);
	for (size_t i = 0; i < WEIR_LEN(bad); i++)
		CU_ASSERT_EQUAL(be->ops->upload_part(be, NULL, &(struct weir_where){ .path = "x" }, bad[i], 1, &five, 0, 5, 5, &tag, &err), WEIR_E_INVAL);
	played();
	end();
}

int
main(void)
{
	CU_pSuite s;
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 99;
	s = CU_add_suite("davwire", wire_start, wire_stop);
	CU_ADD_TEST(s, a_listing_finds_itself_by_path_and_drops_what_is_no_child);
	CU_ADD_TEST(s, a_proxy_that_shows_other_paths_is_understood);
	CU_ADD_TEST(s, a_listing_cut_short_is_no_listing);
	CU_ADD_TEST(s, ranges_are_checked);
	CU_ADD_TEST(s, an_answer_without_a_version_is_compared_afterwards);
	CU_ADD_TEST(s, one_refused_login_stops_all_traffic);
	CU_ADD_TEST(s, retry_after_is_passed_on);
	CU_ADD_TEST(s, ignored_preconditions_are_compared_by_us);
	CU_ADD_TEST(s, a_folder_in_the_way_is_never_removed);
	CU_ADD_TEST(s, nextcloud_tells_who_we_are_and_what_it_takes);
	CU_ADD_TEST(s, nextcloud_refusals_are_told_apart);
	CU_ADD_TEST(s, nextcloud_put_sends_and_checks_a_checksum);
	CU_ADD_TEST(s, a_commit_whose_reply_was_lost_is_recognised);
	CU_ADD_TEST(s, permissions_say_what_is_read_only);
	CU_ADD_TEST(s, an_upload_id_cannot_become_another_address);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed ? 1 : 0;
}
