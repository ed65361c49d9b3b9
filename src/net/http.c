/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP engine. One thread owns the curl multi handle and everything marked "engine"; callers hand it a job that lives on their
 * stack and sleep on the job's semaphore. Must not know storages, nodes, or what a request means.
 *
 * A job is
 *	state	| lists it is in			| easy	| who may touch it
 *	new	| engine.inbox				| no	| engine.lock
 *	waiting	| engine.jobs, pool.waiting		| no	| the engine's thread
 *	active	| engine.jobs, maybe a bucket.paused	| yes	| the engine's thread, curl's callbacks (same thread)
 *	ended	| engine.ended				| no	| the engine's thread
 *	done	| none					| no	| its caller again, after job.done was posted
 *
 * A pool may be freed when its last job is done, so all that touches pools comes before http_post() posts that job.
 */
#include "config.h"

#include "http.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include "../util/text.h"
#include "../util/util.h"
#include "curl_impl.h"
#include "socket.h"

#define HTTP_TICK_MS 40			/* how often cancel flags and stalls are looked at while there are jobs */
#define HTTP_IDLE_EASIES 128
#define HTTP_CONNECTIONS 512L		/* kept open, all remotes together */
#define HTTP_BUFFER (256L << 10)
#define HTTP_BULK (1u << 20)
#define HTTP_HEADERS_MAX (1u << 20)
#define HTTP_TOKENS_MIN 4096		/* below this a bucket is empty: no crumbs */
#define HTTP_HEARD_UPLOAD (2 << 20)	/* bytes a dead peer's socket buffers can swallow */
#define HTTP_SUSPECT_MS 30000		/* how long after a stall older HTTP/2 connections are not reused */

TAILQ_HEAD(http_jobs, http_job);
TAILQ_HEAD(http_pools, weir_http_pool);

/* Token bucket of one direction. Engine. */
struct http_bucket {
	uint64_t rate;			/* bytes/s; 0: no limit */
	int64_t tokens;			/* may go negative: a piece is paid after it came */
	int64_t at_us;
	struct http_jobs paused;	/* waiting for tokens, longest first */
};

enum http_dir { HTTP_DOWN, HTTP_UP };

struct http_job {
	TAILQ_ENTRY(http_job) link;	/* inbox, or engine.jobs, or engine.ended */
	TAILQ_ENTRY(http_job) wait;	/* pool.waiting */
	TAILQ_ENTRY(http_job) paused[2];
	struct weir_http_pool *pool;
	const struct weir_http_req *req;
	struct weir_http_resp *resp;
	struct weir_err err;		/* the caller's is written on failure only */
	enum weir_code code;		/* what a callback decided; beats curl's opinion */
	sem_t done;
	CURL *easy;
	struct curl_slist *headers;
	uint64_t sent;			/* bytes of the body given to curl */
	int64_t started_ms, moved_ms;	/* moved: the last byte in either direction, or the end of a pause */
	curl_off_t uploaded;		/* at the last look */
	int fd;				/* of an upload's connection; -1: none yet */
	int unsent;			/* bytes in its send queue at the last look */
	bool is_paused[2];
	bool is_head_done;
	char errbuf[CURL_ERROR_SIZE];
};

struct weir_http_pool {
	struct weir_http *http;
	struct weir_http_pool_conf conf;	/* strings owned */
	atomic_llong heard_ms;
	atomic_ullong requests, bytes_in, bytes_out, errors;
	/* engine */
	TAILQ_ENTRY(weir_http_pool) throttled;	/* in engine.throttled while a bucket has paused jobs */
	bool is_throttled;
	bool is_h2;			/* its last answer was HTTP/2 */
	int64_t stalled_ms;		/* last stall on HTTP/2; 0: never */
	int active;
	struct http_jobs waiting;
	struct http_bucket bucket[2];
};

struct weir_http {
	CURLM *multi;
	pthread_t thread;
	pthread_mutex_t lock;		/* guards inbox, is_stopping */
	struct http_jobs inbox;
	bool is_stopping;
	/* engine */
	struct http_jobs jobs, ended;
	struct http_pools throttled;
	int64_t ticked_ms;
	struct weir_sockets sockets;
	CURL *idle[HTTP_IDLE_EASIES];
	size_t nidle;
};

/* --- bandwidth --- */

static void
bucket_fill(struct http_bucket *b)
{
	int64_t now = weir_now_us(), burst = (int64_t)(b->rate / 8), us = now - b->at_us;

	if (burst < 4 * HTTP_TOKENS_MIN)
		burst = 4 * HTTP_TOKENS_MIN;
	if (us > 60000000)
		us = 60000000;
	b->at_us = now;
	b->tokens += (int64_t)((double)us * (double)b->rate / 1e6);
	if (b->tokens > burst)
		b->tokens = burst;
}

static int64_t
bucket_wait_ms(const struct http_bucket *b)
{
	int64_t lack = HTTP_TOKENS_MIN - b->tokens;

	return lack <= 0 ? 0 : (int64_t)((double)lack * 1000 / (double)b->rate) + 1;
}

/* How many of these bytes may move now; 0: the job was put to sleep and the callback returns curl's PAUSE. */
static size_t
bucket_take(struct http_job *job, enum http_dir dir, size_t len)
{
	struct weir_http_pool *pool = job->pool;
	struct http_bucket *b = &pool->bucket[dir];

	if (b->rate == 0 || len == 0)
		return len;
	bucket_fill(b);
	if (b->tokens < HTTP_TOKENS_MIN) {
		if (!job->is_paused[dir])
			TAILQ_INSERT_TAIL(&b->paused, job, paused[dir]);
		job->is_paused[dir] = true;
		if (!pool->is_throttled)
			TAILQ_INSERT_TAIL(&pool->http->throttled, pool, throttled);
		pool->is_throttled = true;
		return 0;
	}
	/* What was received cannot be cut; what is sent can. */
	if (dir == HTTP_UP && (int64_t)len > b->tokens)
		len = (size_t)b->tokens;
	b->tokens -= (int64_t)len;
	return len;
}

static void
bucket_forget(struct http_job *job)
{
	struct weir_http_pool *pool = job->pool;

	for (int dir = 0; dir < 2; dir++) {
		if (job->is_paused[dir])
			TAILQ_REMOVE(&pool->bucket[dir].paused, job, paused[dir]);
		job->is_paused[dir] = false;
	}
	if (pool->is_throttled && TAILQ_EMPTY(&pool->bucket[HTTP_DOWN].paused) && TAILQ_EMPTY(&pool->bucket[HTTP_UP].paused)) {
		TAILQ_REMOVE(&pool->http->throttled, pool, throttled);
		pool->is_throttled = false;
	}
}

/* Wakes sleepers, longest first, while there are tokens. curl_easy_pause() calls the callbacks at once: they pay, or the job
 * goes to the end of the queue. */
static void
bucket_wake(struct http_bucket *b, enum http_dir dir)
{
	struct http_job *job;

	while ((job = TAILQ_FIRST(&b->paused)) != NULL) {
		bucket_fill(b);
		if (b->tokens < HTTP_TOKENS_MIN)
			return;
		TAILQ_REMOVE(&b->paused, job, paused[dir]);
		job->is_paused[dir] = false;
		job->moved_ms = weir_now_ms();
		curl_easy_pause(job->easy, (job->is_paused[HTTP_DOWN] ? CURLPAUSE_RECV : 0) |
		    (job->is_paused[HTTP_UP] ? CURLPAUSE_SEND : 0));
		/* An upload asks for bytes only at curl's next round: let it pay before the next one is woken. */
		if (dir == HTTP_UP)
			return;
	}
}

/* Returns how long the engine may sleep. */
static int64_t
http_wake_throttled(struct weir_http *http, int64_t most_ms)
{
	struct weir_http_pool *pool, *next;

	for (pool = TAILQ_FIRST(&http->throttled); pool != NULL; pool = next) {
		bool is_idle = true;

		next = TAILQ_NEXT(pool, throttled);
		for (int dir = 0; dir < 2; dir++) {
			struct http_bucket *b = &pool->bucket[dir];

			bucket_wake(b, (enum http_dir)dir);
			if (TAILQ_EMPTY(&b->paused))
				continue;
			is_idle = false;
			if (bucket_wait_ms(b) < most_ms)
				most_ms = bucket_wait_ms(b);
		}
		if (is_idle) {
			TAILQ_REMOVE(&http->throttled, pool, throttled);
			pool->is_throttled = false;
		}
	}
	return most_ms;
}

/* --- curl's callbacks, on the engine's thread --- */

static void
job_heard(struct http_job *job)
{
	int64_t now = weir_now_ms();

	job->moved_ms = now;
	atomic_store_explicit(&job->pool->heard_ms, now, memory_order_relaxed);
}

/* "HTTP/1.1 200 OK" and "HTTP/2 200" */
static int
head_status(const char *line, size_t n)
{
	const char *p = memchr(line, ' ', n);
	int status = 0;

	if (p == NULL)
		return 0;
	for (p++; p < line + n && *p >= '0' && *p <= '9' && status < 1000; p++)
		status = status * 10 + (*p - '0');
	return status;
}

static enum weir_code
head_add(struct weir_http_resp *resp, const char *line, size_t n, struct weir_err *err)
{
	struct weir_buf *b = &resp->raw_headers;

	/* A folded line (old, but legal once) belongs to the one before. */
	if ((line[0] == ' ' || line[0] == '\t') && b->len > 0) {
		b->data[b->len - 1] = ' ';
		while (n > 0 && (line[0] == ' ' || line[0] == '\t'))
			line++, n--;
	}
	if (weir_buf_add(b, line, n) < 0 || weir_buf_addc(b, '\n') < 0)
		return weir_err_set(err, WEIR_E_PROTO, "response headers of more than 1 MiB");
	return WEIR_OK;
}

static enum weir_code
head_end(struct http_job *job)
{
	if (job->resp->status < 200)	/* 100 Continue, 103 Early Hints: the real one follows */
		return WEIR_OK;
	job->is_head_done = true;
	return job->req->on_head != NULL ? job->req->on_head(job->req->on_head_arg, job->resp, &job->err) : WEIR_OK;
}

static size_t
http_on_header(char *line, size_t size, size_t n, void *arg)
{
	struct http_job *job = arg;
	size_t len = size * n;

	job_heard(job);
	atomic_fetch_add_explicit(&job->pool->bytes_in, len, memory_order_relaxed);
	if (job->is_head_done)		/* trailers */
		return len;
	while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
		len--;
	if (len > 5 && strncasecmp(line, "HTTP/", 5) == 0) {
		weir_buf_reset(&job->resp->raw_headers);
		job->resp->status = head_status(line, len);
		job->pool->is_h2 = line[5] == '2';
	} else if (len > 0) {
		job->code = head_add(job->resp, line, len, &job->err);
	} else {
		job->code = head_end(job);
	}
	return job->code == WEIR_OK ? size * n : CURL_WRITEFUNC_ERROR;
}

static size_t
http_on_data(char *data, size_t size, size_t n, void *arg)
{
	struct http_job *job = arg;
	size_t len = size * n;

	if (bucket_take(job, HTTP_DOWN, len) == 0 && len > 0)
		return CURL_WRITEFUNC_PAUSE;
	job_heard(job);
	atomic_fetch_add_explicit(&job->pool->bytes_in, len, memory_order_relaxed);
	if (job->req->sink != NULL && job->resp->status / 100 == 2)
		job->code = job->req->sink->write(job->req->sink, data, len);
	else if (weir_buf_add(&job->resp->body, data, len) < 0)
		job->code = weir_err_set(&job->err, WEIR_E_PROTO, "an answer of more than %u MiB", WEIR_HTTP_BODY_MAX >> 20);
	return job->code == WEIR_OK ? len : CURL_WRITEFUNC_ERROR;
}

static size_t
http_on_read(char *buf, size_t size, size_t n, void *arg)
{
	struct http_job *job = arg;
	const struct weir_http_req *req = job->req;
	size_t len = size * n;
	ssize_t got;

	if (len > req->body_len - job->sent)
		len = (size_t)(req->body_len - job->sent);
	if (len == 0)
		return 0;
	len = bucket_take(job, HTTP_UP, len);
	if (len == 0)
		return CURL_READFUNC_PAUSE;
	if (req->source == NULL) {
		memcpy(buf, (const char *)req->body + job->sent, len);
		got = (ssize_t)len;
	} else {
		got = req->source->read(req->source, buf, len, req->source_off + job->sent);
	}
	if (got <= 0) {
		job->code = weir_err_set(&job->err, WEIR_E_IO, got < 0 ? "the source of the request body cannot be read" :
		    "the source of the request body ends early");
		return CURL_READFUNC_ABORT;
	}
	job->sent += (uint64_t)got;
	job->moved_ms = weir_now_ms();
	atomic_fetch_add_explicit(&job->pool->bytes_out, (uint64_t)got, memory_order_relaxed);
	return (size_t)got;
}

/* curl rewinds when a kept connection turned out to be closed before the request was read. */
static int
http_on_seek(void *arg, curl_off_t off, int origin)
{
	struct http_job *job = arg;

	if (origin != SEEK_SET || off < 0 || (uint64_t)off > job->req->body_len)
		return CURL_SEEKFUNC_FAIL;
	job->sent = (uint64_t)off;
	return CURL_SEEKFUNC_OK;
}

/* The request is about to go out on this connection. */
static int
http_on_connection(void *arg, char *remote, char *local, int remote_port, int local_port)
{
	struct http_job *job = arg;

	job->fd = weir_socket_by_port(&job->pool->http->sockets, local_port);
	job->unsent = 0;
	return CURL_PREREQFUNC_OK;
}

/* --- a job's life, on the engine's thread --- */

/* What a header may hold: a line break would be a second header. */
static bool
header_is_clean(const char *s)
{
	for (; *s != '\0'; s++) {
		if (((unsigned char)*s < 0x20 && *s != '\t') || *s == 0x7f)
			return false;
	}
	return true;
}

static enum weir_code
job_headers(struct http_job *job)
{
	struct curl_slist *list = curl_slist_append(NULL, "Expect:"), *more;

	for (const char *const *h = job->req->headers; h != NULL && *h != NULL; h++) {
		const char *colon = strchr(*h, ':');
		char *empty = NULL;

		if (colon == NULL || colon == *h || !header_is_clean(*h)) {
			curl_slist_free_all(list);
			return weir_err_set(&job->err, WEIR_E_INVAL, "'%.64s' is no header", *h);
		}
		/* curl spells a header without a value "Name;" */
		if (colon[1 + strspn(colon + 1, " \t")] == '\0')
			empty = weir_xasprintf("%.*s;", (int)(colon - *h), *h);
		more = curl_slist_append(list, empty != NULL ? empty : *h);
		free(empty);
		if (more == NULL) {
			curl_slist_free_all(list);
			return weir_err_set(&job->err, WEIR_E_NOMEM, "no memory for headers");
		}
		list = more;
	}
	job->headers = list;
	return WEIR_OK;
}

static void
job_set_method(struct http_job *job)
{
	const struct weir_http_req *req = job->req;
	bool has_body = req->has_body || req->body_len > 0 || strcmp(req->method, "PUT") == 0 || strcmp(req->method, "POST") == 0;
	CURL *easy = job->easy;

	if (has_body) {
		/* UPLOAD, not POST: no Content-Type of curl's own */
		curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)req->body_len);
		curl_easy_setopt(easy, CURLOPT_READFUNCTION, http_on_read);
		curl_easy_setopt(easy, CURLOPT_READDATA, job);
		curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, http_on_seek);
		curl_easy_setopt(easy, CURLOPT_SEEKDATA, job);
		curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, http_on_connection);
		curl_easy_setopt(easy, CURLOPT_PREREQDATA, job);
		if (req->body_len > 65536)
			curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, HTTP_BUFFER);
	} else if (strcmp(req->method, "HEAD") == 0) {
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
		return;
	} else {
		curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
	}
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, req->method);
}

static void
job_set_callbacks(struct http_job *job)
{
	CURL *easy = job->easy;

	curl_easy_setopt(easy, CURLOPT_PRIVATE, job);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, job->errbuf);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, job->headers);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, http_on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, job);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, http_on_data);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, job);
}

/* Large bodies go over HTTP/1.1: each has a connection and a congestion window of its own, and servers open HTTP/2's window for uploads
 * by crumbs (64 KiB a round trip with nginx's default; Apache took 1.8 times as long on loopback). HTTP/2 carries the many small ones. */
static bool
job_is_bulk(const struct http_job *job)
{
	if (job->req->body_len >= HTTP_BULK)
		return true;
	for (const char *const *h = job->req->headers; h != NULL && *h != NULL; h++) {
		unsigned long long from, to;

		if (strncasecmp(*h, "Range:", 6) == 0 && sscanf(*h + 6, " bytes=%llu-%llu", &from, &to) == 2)
			return to > from && to - from >= HTTP_BULK - 1;
	}
	return false;
}

static void
job_set_connection(struct http_job *job)
{
	const struct weir_http_pool_conf *conf = &job->pool->conf;
	CURL *easy = job->easy;
	int64_t since_ms = weir_now_ms() - job->pool->stalled_ms;

	weir_curl_connection(easy, conf);
	/* A connection outlives its job: the table is the engine's. */
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, weir_socket_open);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, &job->pool->http->sockets);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, weir_socket_close);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, &job->pool->http->sockets);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, job_is_bulk(job) ? (long)CURL_HTTP_VERSION_1_1 : (long)CURL_HTTP_VERSION_2TLS);
	if (job->req->is_fresh)
		curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
	/* A stalled HTTP/2 connection stays open for its other streams, and curl would choose it again. */
	if (job->pool->stalled_ms != 0 && since_ms < HTTP_SUSPECT_MS)
		curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, (long)(since_ms / 1000 + 1));
}

static enum weir_code
job_setup(struct http_job *job)
{
	const struct weir_http_pool_conf *conf = &job->pool->conf;
	CURL *easy = job->easy;
	long buffer = job->req->sink != NULL ? HTTP_BUFFER : 32L << 10;
	enum weir_code r = job_headers(job);

	if (r != WEIR_OK)
		return r;
	/* Pieces of at most an eighth of a second where the bandwidth is limited. */
	if (conf->down_bytes_s > 0 && conf->down_bytes_s / 8 < (uint64_t)buffer)
		buffer = conf->down_bytes_s / 8 < 4096 ? 4096 : (long)(conf->down_bytes_s / 8);
	if (curl_easy_setopt(easy, CURLOPT_URL, job->req->url) != CURLE_OK)
		return weir_err_set(&job->err, WEIR_E_NOMEM, "no memory for a URL");
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, WEIR_USER_AGENT);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, buffer);
	job_set_method(job);
	job_set_callbacks(job);
	job_set_connection(job);
	return WEIR_OK;
}

static void
job_finish(struct weir_http *http, struct http_job *job, enum weir_code code)
{
	bucket_forget(job);
	if (job->easy != NULL) {
		/* An unfinished transfer takes its connection with it. */
		curl_multi_remove_handle(http->multi, job->easy);
		curl_easy_reset(job->easy);
		if (http->nidle < WEIR_LEN(http->idle))
			http->idle[http->nidle++] = job->easy;
		else
			curl_easy_cleanup(job->easy);
		job->easy = NULL;
		job->pool->active--;
	} else {
		TAILQ_REMOVE(&job->pool->waiting, job, wait);
	}
	curl_slist_free_all(job->headers);
	job->code = code;
	if (code != WEIR_OK)
		atomic_fetch_add_explicit(&job->pool->errors, 1, memory_order_relaxed);
	TAILQ_REMOVE(&http->jobs, job, link);
	TAILQ_INSERT_TAIL(&http->ended, job, link);
}

static bool
job_is_canceled(const struct http_job *job)
{
	return job->req->cancel != NULL && atomic_load_explicit(&job->req->cancel->is_set, memory_order_relaxed);
}

static void
job_start(struct weir_http *http, struct http_job *job)
{
	CURL *easy;
	enum weir_code r;

	if (job_is_canceled(job)) {
		job_finish(http, job, weir_err_set(&job->err, WEIR_E_CANCELED, "cancelled"));
		return;
	}
	easy = http->nidle > 0 ? http->idle[--http->nidle] : curl_easy_init();
	if (easy == NULL) {
		job_finish(http, job, weir_err_set(&job->err, WEIR_E_NOMEM, "no memory for a transfer"));
		return;
	}
	job->easy = easy;
	TAILQ_REMOVE(&job->pool->waiting, job, wait);
	job->pool->active++;
	job->started_ms = job->moved_ms = weir_now_ms();
	r = job_setup(job);
	if (r == WEIR_OK && curl_multi_add_handle(http->multi, easy) != CURLM_OK)
		r = weir_err_set(&job->err, WEIR_E_NOMEM, "no memory for a transfer");
	if (r != WEIR_OK)
		job_finish(http, job, r);
}

static void
job_start_waiting(struct weir_http *http, struct weir_http_pool *pool)
{
	struct http_job *job;

	while (pool->active < pool->conf.max_connections && (job = TAILQ_FIRST(&pool->waiting)) != NULL)
		job_start(http, job);
}

/* --- what curl says --- */

static enum weir_code
job_result(struct http_job *job, CURLcode c)
{
	WEIR_AUTO(weir_freep) char *host = NULL;
	const char *text = job->errbuf[0] != '\0' ? job->errbuf : curl_easy_strerror(c);
	enum weir_code r = job->code != WEIR_OK ? job->code : weir_curl_code(c, text);

	if (r == WEIR_OK && job->is_head_done)
		return WEIR_OK;
	host = weir_http_url_host(job->req->url);
	if (host == NULL)
		host = weir_xstrdup(job->pool->conf.name);
	if (job->code != WEIR_OK)
		return weir_err_wrap(&job->err, r, "%s", host);
	if (r == WEIR_OK)
		return weir_err_set(&job->err, WEIR_E_PROTO, "%s: no complete HTTP response", host);
	return weir_err_set(&job->err, r, "%s: %.300s", host, text);
}

static enum weir_code
job_stalled(struct http_job *job, int64_t ms)
{
	WEIR_AUTO(weir_freep) char *host = weir_http_url_host(job->req->url);

	if (job->pool->is_h2)
		job->pool->stalled_ms = weir_now_ms();
	return weir_err_set(&job->err, WEIR_E_STALL, "%s: no byte for %.1f s", host != NULL ? host : job->pool->conf.name,
	    (double)ms / 1000);
}

/* Bytes leave after curl has handed them to the kernel: as long as the send queue shrinks, the transfer moves. */
static void
job_look_at_socket(struct http_job *job, int64_t now)
{
	curl_off_t up = 0;
	int unsent;

	curl_easy_getinfo(job->easy, CURLINFO_SIZE_UPLOAD_T, &up);
	if (up != job->uploaded) {
		job->uploaded = up;
		job->moved_ms = now;
		if (up > HTTP_HEARD_UPLOAD)
			atomic_store_explicit(&job->pool->heard_ms, now, memory_order_relaxed);
	}
	if (job->sent == 0)
		return;
	unsent = weir_socket_unsent(job->fd);
	if (unsent >= 0 && unsent < job->unsent)
		job->moved_ms = now;
	job->unsent = unsent;
}

/* WEIR_OK: go on. */
static enum weir_code
job_look(struct http_job *job, int64_t now)
{
	int64_t stall_ms = job->req->stall_ms > 0 ? job->req->stall_ms : job->pool->conf.stall_ms;
	curl_off_t connected_us = 0;

	if (job_is_canceled(job))
		return weir_err_set(&job->err, WEIR_E_CANCELED, "cancelled");
	if (job->easy == NULL)
		return WEIR_OK;
	if (job->is_paused[HTTP_DOWN] || job->is_paused[HTTP_UP]) {
		job->moved_ms = now;
		return WEIR_OK;
	}
	/* Until there is a connection its own timeout counts; the clock of stalls starts there. */
	curl_easy_getinfo(job->easy, CURLINFO_PRETRANSFER_TIME_T, &connected_us);
	if (connected_us == 0) {
		if (now - job->started_ms < job->pool->conf.connect_ms + 2000)
			job->moved_ms = now;
	} else {
		job_look_at_socket(job, now);
	}
	return stall_ms > 0 && now - job->moved_ms >= stall_ms ? job_stalled(job, now - job->moved_ms) : WEIR_OK;
}

/* --- the engine's thread --- */

static void
http_look_at_all(struct weir_http *http)
{
	int64_t now = weir_now_ms(), late = now - http->ticked_ms - 2 * HTTP_TICK_MS;
	struct http_job *job, *next;

	if (now - http->ticked_ms < HTTP_TICK_MS)
		return;
	http->ticked_ms = now;
	/* While a sink waited for the disk nobody looked at the sockets: that silence was ours. */
	if (late > 0) {
		TAILQ_FOREACH(job, &http->jobs, link)
			job->moved_ms = job->moved_ms + late < now ? job->moved_ms + late : now;
	}
	for (job = TAILQ_FIRST(&http->jobs); job != NULL; job = next) {
		enum weir_code r = job_look(job, now);

		next = TAILQ_NEXT(job, link);
		if (r != WEIR_OK)
			job_finish(http, job, r);
	}
}

static void
http_reap(struct weir_http *http)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(http->multi, &left)) != NULL) {
		struct http_job *job = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &job);
		job_finish(http, job, job_result(job, msg->data.result));
	}
}

static bool
http_take_inbox(struct weir_http *http)
{
	struct http_jobs got = TAILQ_HEAD_INITIALIZER(got);
	struct http_job *job;
	bool is_stopping;

	pthread_mutex_lock(&http->lock);
	TAILQ_CONCAT(&got, &http->inbox, link);
	is_stopping = http->is_stopping;
	pthread_mutex_unlock(&http->lock);
	while ((job = TAILQ_FIRST(&got)) != NULL) {
		TAILQ_REMOVE(&got, job, link);
		TAILQ_INSERT_TAIL(&http->jobs, job, link);
		TAILQ_INSERT_TAIL(&job->pool->waiting, job, wait);
		job_start_waiting(http, job->pool);
	}
	return !is_stopping;
}

/* The last the engine does with a job: its memory, and with the last one the pool, is the caller's again. */
static void
http_post(struct weir_http *http)
{
	struct http_job *job;

	while ((job = TAILQ_FIRST(&http->ended)) != NULL) {
		job_start_waiting(http, job->pool);	/* may end others */
		TAILQ_REMOVE(&http->ended, job, link);
		sem_post(&job->done);
	}
}

static void *
http_main(void *arg)
{
	struct weir_http *http = arg;
	int running;

	while (http_take_inbox(http)) {
		int64_t wait_ms;

		curl_multi_perform(http->multi, &running);
		http_reap(http);
		http_look_at_all(http);
		http_post(http);
		wait_ms = http_wake_throttled(http, TAILQ_EMPTY(&http->jobs) ? 60000 : HTTP_TICK_MS);
		curl_multi_poll(http->multi, NULL, 0, (int)wait_ms, NULL);
	}
	return NULL;
}

/* --- what others call --- */

static pthread_once_t http_once = PTHREAD_ONCE_INIT;
static CURLcode http_once_result;

static void
http_global(void)
{
	http_once_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* All signals stay with the other threads; SIGPIPE too, which OpenSSL's writes would raise. */
static int
http_start_thread(struct weir_http *http)
{
	sigset_t all, old;
	int no;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	no = pthread_create(&http->thread, NULL, http_main, http);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return no;
}

enum weir_code
weir_http_new(struct weir_http **out, struct weir_err *err)
{
	struct weir_http *http;
	int no;

	pthread_once(&http_once, http_global);
	if (http_once_result != CURLE_OK)
		return weir_err_set(err, WEIR_E_NOMEM, "libcurl does not start: %s", curl_easy_strerror(http_once_result));
	http = weir_xcalloc(1, sizeof(*http));
	TAILQ_INIT(&http->inbox);
	TAILQ_INIT(&http->jobs);
	TAILQ_INIT(&http->ended);
	TAILQ_INIT(&http->throttled);
	pthread_mutex_init(&http->lock, NULL);
	http->multi = curl_multi_init();
	if (http->multi == NULL) {
		pthread_mutex_destroy(&http->lock);
		free(http);
		return weir_err_set(err, WEIR_E_NOMEM, "no memory for the HTTP engine");
	}
	curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, HTTP_CONNECTIONS);
	curl_multi_setopt(http->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
	no = http_start_thread(http);
	if (no != 0) {
		curl_multi_cleanup(http->multi);
		pthread_mutex_destroy(&http->lock);
		free(http);
		return weir_err_errno(err, no, "start the HTTP engine's thread");
	}
	*out = http;
	return WEIR_OK;
}

void
weir_http_free(struct weir_http *http)
{
	if (http == NULL)
		return;
	pthread_mutex_lock(&http->lock);
	http->is_stopping = true;
	pthread_mutex_unlock(&http->lock);
	curl_multi_wakeup(http->multi);
	pthread_join(http->thread, NULL);
	while (http->nidle > 0)
		curl_easy_cleanup(http->idle[--http->nidle]);
	curl_multi_cleanup(http->multi);	/* closes what is still open */
	weir_sockets_free(&http->sockets);
	pthread_mutex_destroy(&http->lock);
	free(http);
}

enum weir_code
weir_http_pool_new(struct weir_http *http, const struct weir_http_pool_conf *conf, struct weir_http_pool **out, struct weir_err *err)
{
	struct weir_http_pool *pool = weir_xcalloc(1, sizeof(*pool));

	pool->http = http;
	pool->conf = *conf;
	pool->conf.name = weir_xstrdup(conf->name != NULL ? conf->name : "?");
	pool->conf.proxy = weir_xstrdup(conf->proxy);
	pool->conf.ca_file = weir_xstrdup(conf->ca_file);
	if (pool->conf.stall_ms <= 0)
		pool->conf.stall_ms = 5000;
	if (pool->conf.connect_ms <= 0)
		pool->conf.connect_ms = 5000;
	if (pool->conf.max_connections <= 0)
		pool->conf.max_connections = 16;
	pool->bucket[HTTP_DOWN].rate = conf->down_bytes_s;
	pool->bucket[HTTP_UP].rate = conf->up_bytes_s;
	for (int dir = 0; dir < 2; dir++) {
		pool->bucket[dir].at_us = weir_now_us();
		TAILQ_INIT(&pool->bucket[dir].paused);
	}
	TAILQ_INIT(&pool->waiting);
	*out = pool;
	return WEIR_OK;
}

void
weir_http_pool_free(struct weir_http_pool *pool)
{
	if (pool == NULL)
		return;
	free((char *)pool->conf.name);
	free((char *)pool->conf.proxy);
	free((char *)pool->conf.ca_file);
	free(pool);
}

int64_t
weir_http_pool_heard_ms(const struct weir_http_pool *pool)
{
	return atomic_load_explicit(&pool->heard_ms, memory_order_relaxed);
}

void
weir_http_pool_stats(const struct weir_http_pool *pool, struct weir_http_stats *st)
{
	st->requests = atomic_load_explicit(&pool->requests, memory_order_relaxed);
	st->bytes_in = atomic_load_explicit(&pool->bytes_in, memory_order_relaxed);
	st->bytes_out = atomic_load_explicit(&pool->bytes_out, memory_order_relaxed);
	st->errors = atomic_load_explicit(&pool->errors, memory_order_relaxed);
}

const struct weir_http_pool_conf *
weir_http_pool_conf(const struct weir_http_pool *pool)
{
	return &pool->conf;
}

void
weir_http_pool_count(struct weir_http_pool *pool, uint64_t requests, uint64_t in, uint64_t out)
{
	atomic_fetch_add_explicit(&pool->requests, requests, memory_order_relaxed);
	atomic_fetch_add_explicit(&pool->bytes_in, in, memory_order_relaxed);
	atomic_fetch_add_explicit(&pool->bytes_out, out, memory_order_relaxed);
}

enum weir_code
weir_http_perform(struct weir_http_pool *pool, const struct weir_http_req *req, struct weir_http_resp *resp, struct weir_err *err)
{
	struct weir_http *http = pool->http;
	struct http_job job = {.pool = pool, .req = req, .resp = resp, .fd = -1};
	bool was_empty;

	resp->status = 0;
	resp->body.max = WEIR_HTTP_BODY_MAX;
	resp->raw_headers.max = HTTP_HEADERS_MAX;
	weir_buf_reset(&resp->body);
	weir_buf_reset(&resp->raw_headers);
	atomic_fetch_add_explicit(&pool->requests, 1, memory_order_relaxed);
	sem_init(&job.done, 0, 0);
	pthread_mutex_lock(&http->lock);
	was_empty = TAILQ_EMPTY(&http->inbox);
	TAILQ_INSERT_TAIL(&http->inbox, &job, link);
	pthread_mutex_unlock(&http->lock);
	if (was_empty)	/* else whoever made it non-empty has rung already */
		curl_multi_wakeup(http->multi);
	while (sem_wait(&job.done) < 0 && errno == EINTR)
		;
	sem_destroy(&job.done);
	if (job.code != WEIR_OK && err != NULL)
		*err = job.err;
	return job.code;
}
