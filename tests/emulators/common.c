/* SPDX-License-Identifier: Apache-2.0 */
/* Requests and replies over libmicrohttpd, with the faults of faults.c applied on the way. Knows no storage protocol. */
#include "config.h"
#include "common.h"
#include "util/text.h"
#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define COMMON_BODY_MAX (64u << 20)	/* replies built in memory */
#define COMMON_DRAIN_MAX (16 << 20)	/* a refused body up to this long is read before the answer */
#define COMMON_BLOCK (256 * 1024)

/* The plumbing's part of a request. */
struct emu_conn {
	struct MHD_Connection *mhd;
	int sock;
	bool is_begun, is_routed, is_queued;
	struct emu_fate fate;
	uint64_t in, out;
	int64_t paced_from_us;
	uint64_t paced;
	const char *fault;
};

static const struct emu_proto *common_proto;
static bool common_is_verbose;

/* ---- pairs ---- */

void
emu_pairs_add(struct emu_pairs *p, const char *name, const char *value)
{
	p->v = weir_xrealloc(p->v, p->n + 1, sizeof(*p->v));
	p->v[p->n].name = weir_xstrdup(name);
	p->v[p->n].value = weir_xstrdup(value ? value : "");
	p->n++;
}

const char *
emu_pairs_get(const struct emu_pairs *p, const char *name)
{
	for (size_t i = 0; i < p->n; i++)
		if (!strcmp(p->v[i].name, name))
			return p->v[i].value;
	return NULL;
}

void
emu_pairs_copy(struct emu_pairs *to, const struct emu_pairs *from)
{
	for (size_t i = 0; i < from->n; i++)
		emu_pairs_add(to, from->v[i].name, from->v[i].value);
}

void
emu_pairs_free(struct emu_pairs *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free(p->v[i].name);
		free(p->v[i].value);
	}
	free(p->v);
	p->v = NULL;
	p->n = 0;
}

/* ---- what a request says ---- */

const char *
emu_header(const struct emu_req *req, const char *name)
{
	for (size_t i = 0; i < req->head.n; i++)
		if (!strcasecmp(req->head.v[i].name, name))
			return req->head.v[i].value;
	return NULL;
}

const char *
emu_query(const struct emu_req *req, const char *name)
{
	return emu_pairs_get(&req->query, name);
}

bool
emu_is(const struct emu_req *req, const char *method)
{
	return !strcmp(req->method, method);
}

static int
common_hex(int c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

char *
emu_decode(const char *s, size_t len, bool plus_is_space)
{
	char *out = weir_xcalloc(1, len + 1);
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		int hi, lo;

		if (s[i] == '+' && plus_is_space) {
			out[n++] = ' ';
			continue;
		}
		if (s[i] != '%') {
			out[n++] = s[i];
			continue;
		}
		hi = i + 1 < len ? common_hex((unsigned char)s[i + 1]) : -1;
		lo = i + 2 < len ? common_hex((unsigned char)s[i + 2]) : -1;
		if (hi < 0 || lo < 0 || !(hi | lo)) {
			free(out);
			return NULL;
		}
		out[n++] = (char)(hi << 4 | lo);
		i += 2;
	}
	return out;
}

static bool
common_number(const char **p, uint64_t *v)
{
	const char *s = *p;

	if (*s < '0' || *s > '9')
		return false;
	for (*v = 0; *s >= '0' && *s <= '9'; s++) {
		if (*v > UINT64_MAX / 10 - 1)
			return false;
		*v = *v * 10 + (uint64_t)(*s - '0');
	}
	*p = s;
	return true;
}

int
emu_range(const char *header, uint64_t size, uint64_t *off, uint64_t *len)
{
	uint64_t a, b = UINT64_MAX;
	const char *p = header;

	if (!p || strncmp(p, "bytes=", 6))
		return 0;
	p += 6;
	if (*p == '-') {
		p++;
		if (!common_number(&p, &a) || *p)
			return 0;
		if (!a || !size)
			return -1;
		*len = a < size ? a : size;
		*off = size - *len;
		return 1;
	}
	if (!common_number(&p, &a) || *p++ != '-')
		return 0;
	if (*p && (!common_number(&p, &b) || *p))
		return 0;
	if (b < a)
		return 0;
	if (a >= size)
		return -1;
	*off = a;
	*len = (b >= size ? size - 1 : b) - a + 1;
	return 1;
}

/* ---- replies ---- */

void
emu_out(struct emu_req *req, const char *name, const char *value)
{
	emu_pairs_add(&req->out, name, value);
}

void
emu_outf(struct emu_req *req, const char *name, const char *fmt, ...)
{
	char text[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	emu_out(req, name, text);
}

void
emu_out_replace(struct emu_req *req, const char *name, const char *value)
{
	for (size_t i = 0; i < req->out.n; i++)
		if (!strcasecmp(req->out.v[i].name, name)) {
			free(req->out.v[i].value);
			req->out.v[i].value = weir_xstrdup(value);
			return;
		}
	emu_out(req, name, value);
}

void
emu_reply(struct emu_req *req, unsigned status)
{
	req->status = status;
	req->is_replied = true;
}

void
emu_reply_text(struct emu_req *req, unsigned status, const char *type, const char *text)
{
	weir_buf_reset(&req->body);
	weir_buf_adds(&req->body, text);
	emu_out_replace(req, "Content-Type", type);
	emu_reply(req, status);
}

void
emu_reply_blob(struct emu_req *req, unsigned status, struct emu_blob *blob, uint64_t off, uint64_t len)
{
	req->blob = emu_blob_ref(blob);
	req->blob_off = off;
	req->blob_len = len;
	emu_reply(req, status);
}

/* ---- time: latency, bandwidth, stalls ---- */

static bool
common_hung_up(int sock, int64_t ms)
{
	struct pollfd p = { .fd = sock, .events = POLLRDHUP };

	return poll(&p, 1, (int)ms) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static bool
common_sleep(int sock, int64_t ms)
{
	int64_t end = weir_now_ms() + ms, left;

	while ((left = end - weir_now_ms()) > 0)
		if (common_hung_up(sock, left > 500 ? 500 : left))
			return false;
	return true;
}

bool
emu_sleep(struct emu_req *req, int64_t ms)
{
	return common_sleep(req->link->sock, ms);
}

/* Nothing moves until a switch changes, stall_ms are over, or the client gives up (false). */
static bool
common_stall(int sock)
{
	int64_t generation = emu_stall_generation(), start = weir_now_ms();
	int64_t most = (int64_t)emu_value(&emu_switches[EMU_STALL_MS]);

	while (emu_stall_generation() == generation || emu_stalls_all()) {
		if (most && weir_now_ms() - start >= most && !emu_stalls_all())
			break;
		if (common_hung_up(sock, 100))
			return false;
	}
	return true;
}

/* Cut the connection so that the other side sees a reset, not an orderly end. */
static void
common_reset(int sock)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	connect(sock, &none, sizeof(none));
}

/* Keep this connection at the bandwidth set, counted over one request. */
static bool
common_pace(struct emu_conn *c, size_t n)
{
	double rate = emu_value(&emu_switches[EMU_BANDWIDTH]);
	int64_t now = weir_now_us(), due;

	if (rate <= 0) {
		c->paced_from_us = 0;
		return true;
	}
	if (!c->paced_from_us) {
		c->paced_from_us = now;
		c->paced = 0;
	}
	c->paced += n;
	due = c->paced_from_us + (int64_t)((double)c->paced / rate * 1e6);
	return due <= now || common_sleep(c->sock, (due - now) / 1000 + 1);
}

/* What happens between two pieces of a body, in either direction. False: the connection is gone. */
static bool
common_flow(struct emu_conn *c, uint64_t done, size_t n)
{
	if (c->fate.reset && c->fate.reset_after && done >= (uint64_t)c->fate.reset_after) {
		emu_count_fault("reset");
		common_reset(c->sock);
		return false;
	}
	if (c->fate.stall && c->fate.stall_after && done >= (uint64_t)c->fate.stall_after) {
		c->fate.stall = false;
		emu_count_fault("stall");
		if (!common_stall(c->sock))
			return false;
	}
	if (emu_stalls_all() && !common_stall(c->sock))
		return false;
	return common_pace(c, n);
}

/* ---- sending ---- */

/* What a response reads from; outlives the request, owned by the MHD response. */
struct common_source {
	struct emu_conn conn;		/* a copy: socket, fate, pace */
	struct weir_buf body;
	struct emu_reader *reader;
	uint64_t off, len, cut;		/* cut: stop there with an error; UINT64_MAX: never */
	bool is_raw;
};

static ssize_t
common_source_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct common_source *s = cls;
	double rate = emu_value(&emu_switches[EMU_BANDWIDTH]);
	ssize_t n;

	if (pos >= s->len)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (pos >= s->cut)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (max > s->len - pos)
		max = s->len - pos;
	if (max > s->cut - pos)
		max = s->cut - pos;
	if (!s->is_raw && rate > 0 && (double)max > rate / 20 + 512)
		max = (size_t)(rate / 20) + 512;
	if (!s->is_raw && s->conn.fate.stall_after && pos < (uint64_t)s->conn.fate.stall_after &&
	    max > (uint64_t)s->conn.fate.stall_after - pos)
		max = (uint64_t)s->conn.fate.stall_after - pos;
	if (!s->is_raw && s->conn.fate.reset_after && pos < (uint64_t)s->conn.fate.reset_after &&
	    max > (uint64_t)s->conn.fate.reset_after - pos)
		max = (uint64_t)s->conn.fate.reset_after - pos;
	if (!s->is_raw && !common_flow(&s->conn, pos, max))
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (!s->reader) {
		memcpy(buf, s->body.data + pos, max);
		return (ssize_t)max;
	}
	n = emu_reader_at(s->reader, buf, max, s->off + pos);
	return n > 0 ? n : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void
common_source_free(void *cls)
{
	struct common_source *s = cls;

	emu_reader_free(s->reader);
	weir_buf_free(&s->body);
	free(s);
}

static struct MHD_Response *
common_response(struct emu_req *req)
{
	struct common_source *s;

	if (!req->blob && !req->body.len)
		return MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
	s = weir_xcalloc(1, sizeof(*s));
	s->conn = *req->link;
	s->is_raw = req->is_raw;
	s->len = req->body.len;
	if (req->blob) {
		s->reader = emu_reader_new(req->blob);
		s->off = req->blob_off;
		s->len = req->blob_len;
	} else {
		s->body = req->body;
		req->body = (struct weir_buf)WEIR_BUF(COMMON_BODY_MAX);
	}
	s->cut = UINT64_MAX;
	if (req->link->fate.truncate) {
		s->cut = s->len / 2;
		emu_count_fault("truncate");
	}
	if (!emu_is(req, "HEAD"))
		req->link->out = s->len;
	return MHD_create_response_from_callback(req->hides_length ? MHD_SIZE_UNKNOWN : s->len, COMMON_BLOCK, common_source_read, s, common_source_free);
}

struct common_upgrade {
	void (*run)(int sock, const char *extra, size_t n, void *arg);
	void *arg;
	int sock;
	char *extra;
	size_t n;
	struct MHD_UpgradeResponseHandle *urh;
};

static void *
common_upgrade_run(void *arg)
{
	struct common_upgrade *u = arg;

	u->run(u->sock, u->extra, u->n, u->arg);
	MHD_upgrade_action(u->urh, MHD_UPGRADE_ACTION_CLOSE);
	free(u->extra);
	free(u);
	return NULL;
}

static void
common_upgraded(void *cls, struct MHD_Connection *mhd, void *ctx, const char *extra, size_t n, MHD_socket sock, struct MHD_UpgradeResponseHandle *urh)
{
	struct common_upgrade *u = cls;
	pthread_t t;

	(void)mhd;
	(void)ctx;
	u->sock = sock;
	u->urh = urh;
	u->n = n;
	u->extra = weir_xcalloc(1, n + 1);
	memcpy(u->extra, n ? extra : "", n);
	if (!pthread_create(&t, NULL, common_upgrade_run, u))
		pthread_detach(t);
}

static struct MHD_Response *
common_upgrade(const struct emu_req *req)
{
	struct common_upgrade *u = weir_xcalloc(1, sizeof(*u));

	u->run = req->upgraded;
	u->arg = req->upgraded_arg;
	return MHD_create_response_for_upgrade(common_upgraded, u);
}

static enum MHD_Result
common_send(struct emu_req *req)
{
	struct MHD_Response *resp;
	enum MHD_Result r;
	char date[32];

	if (common_proto->edited && !req->is_raw)
		common_proto->edited(req);
	resp = req->upgraded && req->status == 101 ? common_upgrade(req) : common_response(req);
	if (!resp)
		return MHD_NO;
	for (size_t i = 0; i < req->out.n; i++)
		MHD_add_response_header(resp, req->out.v[i].name, req->out.v[i].value);
	if (emu_value(&emu_switches[EMU_CLOCK_SKEW])) {
		weir_date_rfc1123(emu_wall_s(), date);
		MHD_add_response_header(resp, "Date", date);
	}
	r = MHD_queue_response(req->link->mhd, req->status, resp);
	MHD_destroy_response(resp);
	req->link->is_queued = true;
	return r;
}

/* The work was done and the client shall not learn it. */
static bool
common_lose(struct emu_req *req)
{
	struct emu_conn *c = req->link;

	if (!c->fate.lost || req->status >= 300 || emu_is(req, "GET") || emu_is(req, "HEAD") || emu_is(req, "PROPFIND"))
		return true;
	if (c->fate.lost_stalls)
		emu_stall_all();	/* before anybody can see that it was lost */
	emu_count_fault("lost");
	c->fault = "lost";
	if (emu_value(&emu_switches[EMU_LOST_RESET])) {
		common_reset(c->sock);
		return false;
	}
	emu_pairs_free(&req->out);
	weir_buf_reset(&req->body);
	common_proto->error(req, (unsigned)emu_value(&emu_switches[EMU_LOST_STATUS]), NULL);
	return true;
}

/* ---- receiving ---- */

static enum MHD_Result
common_collect(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
	(void)kind;
	emu_pairs_add(cls, name, value);
	return MHD_YES;
}

static void
common_parse_query(struct emu_req *req, const char *q)
{
	while (*q) {
		size_t n = strcspn(q, "&"), eq = strcspn(q, "=&");
		char *name, *value;

		name = emu_decode(q, eq, true);
		value = eq < n ? emu_decode(q + eq + 1, n - eq - 1, true) : weir_xstrdup("");
		if (name && *name)
			emu_pairs_add(&req->query, name, value ? value : "");
		free(name);
		free(value);
		q += n + (q[n] == '&');
	}
}

/* First sight of a request, before its headers: keeps the target exactly as it was sent (signatures cover that). */
static void *
common_arrive(void *cls, const char *uri, struct MHD_Connection *mhd)
{
	struct emu_req *req = weir_xcalloc(1, sizeof(*req));
	size_t n = strcspn(uri, "?");

	(void)cls;
	req->link = weir_xcalloc(1, sizeof(*req->link));
	req->link->mhd = mhd;
	req->link->sock = -1;
	req->body = (struct weir_buf)WEIR_BUF(COMMON_BODY_MAX);
	req->target = weir_xstrdup(uri);
	req->path = weir_xstrndup(uri, n);
	if (uri[n])
		common_parse_query(req, uri + n + 1);
	return req;
}

static void
common_head(struct emu_req *req, struct MHD_Connection *mhd, const char *method)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
	const char *h;

	req->link->mhd = mhd;
	req->link->sock = info ? info->connect_fd : -1;
	req->method = weir_xstrdup(method);
	MHD_get_connection_values(mhd, MHD_HEADER_KIND, common_collect, &req->head);
	h = emu_header(req, "Content-Length");
	req->content_length = h ? strtoll(h, NULL, 10) : -1;
	h = emu_header(req, "Transfer-Encoding");
	req->has_body = req->content_length > 0 || (h && !strcasecmp(h, "chunked"));
}

/* /_emu/raw/X is X as the server's own administrator would do it: unsigned, uncounted, never failing. */
static void
common_strip_raw(struct emu_req *req)
{
	char *path = weir_xstrdup(req->path + strlen("/_emu/raw"));

	free(req->path);
	req->path = path;
	req->is_raw = true;
}

/* Faults that strike before the protocol sees the request. False: the connection is gone. */
static bool
common_fail_first(struct emu_req *req)
{
	struct emu_conn *c = req->link;
	char code[128];

	emu_fate(req, &c->fate);
	if (!common_sleep(c->sock, (int64_t)emu_value(&emu_switches[EMU_LATENCY_MS])))
		return false;
	if (emu_stalls_all() && !common_stall(c->sock))
		return false;
	if (c->fate.stall && !c->fate.stall_after) {
		emu_count_fault("stall");
		c->fault = "stall";
		if (!common_stall(c->sock))
			return false;
	}
	if (c->fate.reset && !c->fate.reset_after) {
		emu_count_fault("reset");
		c->fault = "reset";
		common_reset(c->sock);
		return false;
	}
	if (c->fate.error) {
		emu_count_fault("error");
		c->fault = "error";
		snprintf(code, sizeof(code), "%s", emu_switches[EMU_ERROR_CODE].text);
		if (emu_value(&emu_switches[EMU_RETRY_AFTER]) > 0)
			emu_outf(req, "Retry-After", "%d", (int)emu_value(&emu_switches[EMU_RETRY_AFTER]));
		common_proto->error(req, (unsigned)emu_value(&emu_switches[EMU_ERROR_STATUS]), *code ? code : NULL);
	}
	return true;
}

static enum MHD_Result
common_begin(struct emu_req *req)
{
	const char *expect = emu_header(req, "Expect");

	if (!strncmp(req->path, "/_emu/", 6) && strncmp(req->path, "/_emu/raw/", 10)) {
		req->is_raw = true;
		emu_control(req, req->path + 6);
		return MHD_YES;
	}
	if (!strncmp(req->path, "/_emu/raw/", 10))
		common_strip_raw(req);
	else
		emu_count_begin();
	common_proto->route(req);
	req->link->is_routed = true;
	if (!req->is_raw && !common_fail_first(req))
		return MHD_NO;
	if (!req->is_replied)
		common_proto->begin(req);
	/* A refusal goes out at once when the client waits for our leave to send, or when the rest is too long to read. */
	if (req->is_replied && req->has_body &&
	    ((expect && !strcasecmp(expect, "100-continue")) || req->content_length > COMMON_DRAIN_MAX))
		return common_send(req);
	return MHD_YES;
}

/* A busy server does what it has read, whoever still listens. */
static void
common_late(struct emu_conn *c)
{
	int64_t ms = (int64_t)emu_value(&emu_switches[EMU_LATE_MS]);

	if (!c->fate.late)
		return;
	emu_count_fault("late");
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

static enum MHD_Result
common_handle(void *cls, struct MHD_Connection *mhd, const char *url, const char *method, const char *version, const char *data,
    size_t *size, void **ctx)
{
	struct emu_req *req = *ctx;
	struct emu_conn *c = req->link;

	(void)cls;
	(void)url;
	(void)version;
	if (!c->is_begun) {
		c->is_begun = true;
		common_head(req, mhd, method);
		return common_begin(req);
	}
	if (c->is_queued)
		return MHD_YES;
	if (*size) {
		if (!req->is_raw && !common_flow(c, c->in, *size))
			return MHD_NO;
		c->in += *size;
		if (!req->is_replied)
			common_proto->data(req, data, *size);
		*size = 0;
		return MHD_YES;
	}
	if (!req->is_replied)
		common_late(c);
	if (!req->is_replied)
		common_proto->end(req);
	if (!req->is_replied)
		return MHD_NO;	/* the client left while it was made to wait */
	if (!req->is_raw && !common_lose(req))
		return MHD_NO;
	return common_send(req);
}

static void
common_complete(void *cls, struct MHD_Connection *mhd, void **ctx, enum MHD_RequestTerminationCode how)
{
	struct emu_req *req = *ctx;

	(void)cls;
	(void)mhd;
	(void)how;
	if (!req)
		return;
	if (req->link->is_routed) {
		if (!req->is_raw)
			emu_count(req, req->link->in, req->link->out, req->link->fault);
		if (common_is_verbose)
			fprintf(stderr, "%s %s %s -> %u\n", req->method, req->target, req->op, req->status);
		common_proto->release(req);
	}
	emu_blob_unref(req->blob);
	weir_buf_free(&req->body);
	emu_pairs_free(&req->query);
	emu_pairs_free(&req->head);
	emu_pairs_free(&req->out);
	free(req->link);
	free(req->method);
	free(req->target);
	free(req->path);
	free(req);
	*ctx = NULL;
}

/* The path stays as sent: MHD must not decode it. */
static size_t
common_keep(void *cls, struct MHD_Connection *mhd, char *s)
{
	(void)cls;
	(void)mhd;
	return strlen(s);
}

int
emu_serve(const struct emu_proto *proto, const struct emu_opts *opts)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons((uint16_t)opts->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const union MHD_DaemonInfo *info;
	struct MHD_Daemon *daemon;
	sigset_t stop;
	int sig = 0;

	common_proto = proto;
	common_is_verbose = opts->is_verbose;
	emu_faults_setup(proto);
	signal(SIGPIPE, SIG_IGN);
	if (opts->dies_with_parent)
		prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGINT);
	pthread_sigmask(SIG_BLOCK, &stop, NULL);
	daemon = MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_ALLOW_UPGRADE, 0, NULL, NULL,
	    common_handle, NULL, MHD_OPTION_SOCK_ADDR, &addr, MHD_OPTION_URI_LOG_CALLBACK, common_arrive, NULL,
	    MHD_OPTION_UNESCAPE_CALLBACK, common_keep, NULL, MHD_OPTION_NOTIFY_COMPLETED, common_complete, NULL,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)(512 * 1024), MHD_OPTION_CONNECTION_LIMIT, 900u,
	    MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u, MHD_OPTION_THREAD_STACK_SIZE, (size_t)(1 << 20), MHD_OPTION_END);
	if (!daemon) {
		fprintf(stderr, "%s: cannot listen on port %d: %s\n", proto->name, opts->port, strerror(errno));
		return 1;
	}
	info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);
	printf("listening on 127.0.0.1:%u\n", info ? (unsigned)info->port : 0u);
	fflush(stdout);
	sigwait(&stop, &sig);
	/* Stalled requests would hold up an orderly stop; every change is already in the state file. */
	_exit(0);
}
