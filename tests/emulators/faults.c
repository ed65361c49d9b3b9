/* SPDX-License-Identifier: Apache-2.0 */
/* Faults on demand, counters, and the control path /_emu/ that sets and shows them while the emulator runs:
 *   POST /_emu/set?NAME=VALUE&...   change switches (the names: GET /_emu/switches)
 *   POST /_emu/reset                all switches off, all counters zero
 *   GET  /_emu/stats                counters as JSON;  GET /_emu/log  the last requests, one line each
 *   ANY  /_emu/raw/PATH             PATH without signature, faults or counting: edits behind the client's back
 * All state here is under faults_lock. */
#include "config.h"
#include "common.h"
#include <jansson.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

struct emu_switch emu_switches[EMU_SWITCHES + 1] = {
	[EMU_LATENCY_MS] = { "latency_ms", "wait before each request is looked at" },
	[EMU_BANDWIDTH] = { "bandwidth", "bytes a second per connection, each way; 0 is unlimited" },
	[EMU_ERROR_RATE] = { "error_rate", "share of requests refused with error_status before anything was done" },
	[EMU_ERROR_NEXT] = { "error_next", "refuse the next N matching requests" },
	[EMU_ERROR_STATUS] = { "error_status", "status of injected errors", 503 },
	[EMU_ERROR_CODE] = { "error_code", "S3 error code of injected errors" },
	[EMU_RETRY_AFTER] = { "retry_after", "Retry-After seconds on injected errors" },
	[EMU_RESET_RATE] = { "reset_rate", "share of requests whose connection is reset" },
	[EMU_RESET_NEXT] = { "reset_next", "reset the next N matching requests" },
	[EMU_RESET_AFTER] = { "reset_after_bytes", "reset only after so many bytes of body" },
	[EMU_STALL_RATE] = { "stall_rate", "share of requests that stall" },
	[EMU_STALL_NEXT] = { "stall_next", "stall the next N matching requests" },
	[EMU_STALL_AFTER] = { "stall_after_bytes", "stall only after so many bytes of body" },
	[EMU_STALL_MS] = { "stall_ms", "how long a stall lasts; 0: until a switch changes or the client leaves" },
	[EMU_STALL_ALL] = { "stall_all", "1: every request and every body in flight stalls" },
	[EMU_TRUNCATE_RATE] = { "truncate_rate", "share of answers cut in the middle of the body" },
	[EMU_TRUNCATE_NEXT] = { "truncate_next", "cut the next N matching answers" },
	[EMU_LOST_RATE] = { "after_success_rate", "share of changes that are done and then answered with an error" },
	[EMU_LOST_NEXT] = { "after_success_next", "do the next N matching changes, then answer with an error" },
	[EMU_LOST_STATUS] = { "after_success_status", "the status of that answer", 500 },
	[EMU_LOST_RESET] = { "after_success_reset", "1: reset instead of an answer" },
	[EMU_LOST_STALL] = { "after_success_stall", "1: with it begins stall_all, so that nobody asks again before that is 0" },
	[EMU_LATE_NEXT] = { "late_next", "do the next N matching changes only late_ms after they came, also when the client has gone" },
	[EMU_LATE_MS] = { "late_ms", "see late_next" },
	[EMU_CLOCK_SKEW] = { "clock_skew", "seconds the server's clock is ahead" },
	[EMU_FAULT_METHOD] = { "fault_method", "comma list: faults strike only these methods" },
	[EMU_FAULT_OP] = { "fault_op", "comma list: faults strike only these operations (see stats)" },
	[EMU_FAULT_PATH] = { "fault_path", "faults strike only paths that hold this text" },
	[EMU_SWITCHES] = { NULL },
};

#define FAULTS_LOG 4096
struct faults_count {
	char name[48];
	uint64_t n;
};
struct faults_table {
	struct faults_count *v;
	size_t n;
};
static pthread_mutex_t faults_lock = PTHREAD_MUTEX_INITIALIZER;
static struct faults_table faults_methods, faults_ops, faults_statuses, faults_kinds;
static uint64_t faults_requests, faults_in, faults_out, faults_running, faults_running_most, faults_seq;
static char *faults_log[FAULTS_LOG];
static struct emu_switch faults_none, *faults_proto, *faults_more = &faults_none;
static void (*faults_proto_reset)(void);
static double faults_start[64], faults_proto_start[64], faults_more_start[64];	/* values to return to at reset */
static uint64_t faults_rng = 88172645463325252ull;
static _Atomic int64_t faults_generation;
static _Atomic bool faults_stall_all;

static bool
faults_is_text(const char *name)
{
	const char *p = strrchr(name, '_');

	return p && (!strcmp(p, "_method") || !strcmp(p, "_op") || !strcmp(p, "_path") || !strcmp(p, "_code"));
}

double
emu_value(struct emu_switch *s)
{
	double v;

	pthread_mutex_lock(&faults_lock);
	v = s->value;
	pthread_mutex_unlock(&faults_lock);
	return v;
}

static uint64_t
faults_random(void)
{
	faults_rng ^= faults_rng << 13;
	faults_rng ^= faults_rng >> 7;
	faults_rng ^= faults_rng << 17;
	return faults_rng;
}

uint64_t
emu_random(void)
{
	uint64_t v;

	pthread_mutex_lock(&faults_lock);
	v = faults_random();
	pthread_mutex_unlock(&faults_lock);
	return v;
}

static bool
faults_roll(const struct emu_switch *s)
{
	return s->value > 0 && (double)(faults_random() >> 11) / 9007199254740992.0 < s->value;
}

static bool
faults_take(struct emu_switch *s)
{
	if (s->value < 1)
		return false;
	s->value -= 1;
	return true;
}

bool
emu_roll(struct emu_switch *s)
{
	bool r;

	pthread_mutex_lock(&faults_lock);
	r = faults_roll(s);
	pthread_mutex_unlock(&faults_lock);
	return r;
}

bool
emu_take(struct emu_switch *s)
{
	bool r;

	pthread_mutex_lock(&faults_lock);
	r = faults_take(s);
	pthread_mutex_unlock(&faults_lock);
	return r;
}

/* Is word one of a comma list? An empty list holds everything. */
static bool
faults_listed(const char *list, const char *word)
{
	size_t n = strlen(word);

	if (!*list)
		return true;
	for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',')
		if (strcspn(p, ",") == n && !strncasecmp(p, word, n))
			return true;
	return false;
}

void
emu_fate(const struct emu_req *req, struct emu_fate *f)
{
	struct emu_switch *s = emu_switches;

	pthread_mutex_lock(&faults_lock);
	if (faults_listed(s[EMU_FAULT_METHOD].text, req->method) && faults_listed(s[EMU_FAULT_OP].text, req->op) &&
	    strstr(req->path, s[EMU_FAULT_PATH].text)) {
		f->error = faults_take(&s[EMU_ERROR_NEXT]) || faults_roll(&s[EMU_ERROR_RATE]);
		f->reset = faults_take(&s[EMU_RESET_NEXT]) || faults_roll(&s[EMU_RESET_RATE]);
		f->stall = faults_take(&s[EMU_STALL_NEXT]) || faults_roll(&s[EMU_STALL_RATE]);
		f->truncate = faults_take(&s[EMU_TRUNCATE_NEXT]) || faults_roll(&s[EMU_TRUNCATE_RATE]);
		f->lost = faults_take(&s[EMU_LOST_NEXT]) || faults_roll(&s[EMU_LOST_RATE]);
		f->late = faults_take(&s[EMU_LATE_NEXT]);
		f->lost_stalls = f->lost && s[EMU_LOST_STALL].value > 0;
		f->reset_after = f->reset ? (int64_t)s[EMU_RESET_AFTER].value : 0;
		f->stall_after = f->stall ? (int64_t)s[EMU_STALL_AFTER].value : 0;
	}
	pthread_mutex_unlock(&faults_lock);
}

void
emu_stall_all(void)
{
	pthread_mutex_lock(&faults_lock);
	emu_switches[EMU_STALL_ALL].value = 1;
	faults_stall_all = true;
	pthread_mutex_unlock(&faults_lock);
}

bool
emu_stalls_all(void)
{
	return faults_stall_all;
}

int64_t
emu_stall_generation(void)
{
	return faults_generation;
}

int64_t
emu_wall_s(void)
{
	return weir_wall_ns() / 1000000000 + (int64_t)emu_value(&emu_switches[EMU_CLOCK_SKEW]);
}

void
emu_faults_setup(const struct emu_proto *proto)
{
	faults_proto = proto->switches;
	faults_more = proto->more_switches ? proto->more_switches : &faults_none;
	faults_proto_reset = proto->reset;
	for (size_t i = 0; i < EMU_SWITCHES && i < WEIR_LEN(faults_start); i++)
		faults_start[i] = emu_switches[i].value;
	for (size_t i = 0; faults_proto[i].name && i < WEIR_LEN(faults_proto_start); i++)
		faults_proto_start[i] = faults_proto[i].value;
	for (size_t i = 0; faults_more[i].name && i < WEIR_LEN(faults_more_start); i++)
		faults_more_start[i] = faults_more[i].value;
}

/* ---- counters ---- */

static void
faults_bump(struct faults_table *t, const char *name)
{
	size_t i;

	for (i = 0; i < t->n; i++)
		if (!strcmp(t->v[i].name, name))
			break;
	if (i == t->n) {
		t->v = weir_xrealloc(t->v, t->n + 1, sizeof(*t->v));
		snprintf(t->v[i].name, sizeof(t->v[i].name), "%s", name);
		t->v[i].n = 0;
		t->n++;
	}
	t->v[i].n++;
}

void
emu_count_fault(const char *kind)
{
	pthread_mutex_lock(&faults_lock);
	faults_bump(&faults_kinds, kind);
	pthread_mutex_unlock(&faults_lock);
}

void
emu_count_begin(void)
{
	pthread_mutex_lock(&faults_lock);
	faults_running++;
	if (faults_running > faults_running_most)
		faults_running_most = faults_running;
	pthread_mutex_unlock(&faults_lock);
}

void
emu_count(const struct emu_req *req, uint64_t in, uint64_t out, const char *fault)
{
	char status[16], **slot;

	snprintf(status, sizeof(status), "%u", req->is_replied ? req->status : 0);
	pthread_mutex_lock(&faults_lock);
	faults_running--;
	faults_requests++;
	faults_in += in;
	faults_out += out;
	faults_bump(&faults_methods, req->method);
	faults_bump(&faults_ops, req->op);
	faults_bump(&faults_statuses, status);
	slot = &faults_log[faults_seq++ % FAULTS_LOG];
	free(*slot);
	*slot = weir_xasprintf("%s %s %s %s %llu %llu%s%s\n", req->method, req->target, req->op, status, (unsigned long long)in,
	    (unsigned long long)out, fault ? " " : "", fault ? fault : "");
	pthread_mutex_unlock(&faults_lock);
}

static json_t *
faults_table_json(const struct faults_table *t)
{
	json_t *o = json_object();

	for (size_t i = 0; i < t->n; i++)
		json_object_set_new(o, t->v[i].name, json_integer((json_int_t)t->v[i].n));
	return o;
}

static void
faults_reply_json(struct emu_req *req, json_t *o)
{
	char *text = json_dumps(o, JSON_INDENT(1) | JSON_SORT_KEYS);

	json_decref(o);
	emu_reply_text(req, 200, "application/json", text ? text : "{}");
	free(text);
}

static void
faults_stats(struct emu_req *req)
{
	json_t *o;

	pthread_mutex_lock(&faults_lock);
	o = json_pack("{s:I s:I s:I s:I s:I s:o s:o s:o s:o}", "requests", (json_int_t)faults_requests, "bytes_in", (json_int_t)faults_in,
	    "bytes_out", (json_int_t)faults_out, "in_flight", (json_int_t)faults_running, "max_in_flight",
	    (json_int_t)faults_running_most, "methods", faults_table_json(&faults_methods), "ops", faults_table_json(&faults_ops),
	    "status", faults_table_json(&faults_statuses), "faults", faults_table_json(&faults_kinds));
	pthread_mutex_unlock(&faults_lock);
	faults_reply_json(req, o);
}

static void
faults_show_log(struct emu_req *req)
{
	uint64_t i;

	pthread_mutex_lock(&faults_lock);
	for (i = faults_seq > FAULTS_LOG ? faults_seq - FAULTS_LOG : 0; i < faults_seq; i++)
		weir_buf_adds(&req->body, faults_log[i % FAULTS_LOG]);
	pthread_mutex_unlock(&faults_lock);
	emu_out(req, "Content-Type", "text/plain");
	emu_reply(req, 200);
}

/* ---- switches ---- */

static void
faults_clear(struct emu_switch *s, const double *start)
{
	for (size_t i = 0; s[i].name; i++) {
		s[i].value = i < WEIR_LEN(faults_start) ? start[i] : 0;
		s[i].text[0] = 0;
	}
}

static void
faults_reset(struct emu_req *req)
{
	pthread_mutex_lock(&faults_lock);
	faults_clear(emu_switches, faults_start);
	faults_clear(faults_proto, faults_proto_start);
	faults_clear(faults_more, faults_more_start);
	faults_methods.n = faults_ops.n = faults_statuses.n = faults_kinds.n = 0;
	faults_requests = faults_in = faults_out = faults_seq = 0;
	faults_running_most = faults_running;
	faults_stall_all = false;
	faults_generation++;
	pthread_mutex_unlock(&faults_lock);
	if (faults_proto_reset)
		faults_proto_reset();
	emu_reply_text(req, 200, "text/plain", "ok\n");
}

static struct emu_switch *
faults_find(const char *name)
{
	for (struct emu_switch *s = emu_switches; s->name; s++)
		if (!strcmp(s->name, name))
			return s;
	for (struct emu_switch *s = faults_proto; s->name; s++)
		if (!strcmp(s->name, name))
			return s;
	for (struct emu_switch *s = faults_more; s->name; s++)
		if (!strcmp(s->name, name))
			return s;
	return NULL;
}

static bool
faults_set_one(const char *name, const char *value)
{
	struct emu_switch *s;
	char *end;
	double v;

	if (!strcmp(name, "seed")) {
		faults_rng = strtoull(value, NULL, 10) * 2654435769u + 88172645463325252ull;
		return true;
	}
	s = faults_find(name);
	if (!s)
		return false;
	if (faults_is_text(name)) {
		snprintf(s->text, sizeof(s->text), "%s", value);
		return true;
	}
	v = strtod(value, &end);
	if (end == value || *end)
		return false;
	s->value = v;
	return true;
}

static void
faults_set(struct emu_req *req)
{
	const char *bad = NULL;
	char *msg;

	pthread_mutex_lock(&faults_lock);
	for (size_t i = 0; i < req->query.n && !bad; i++)
		if (!faults_set_one(req->query.v[i].name, req->query.v[i].value))
			bad = req->query.v[i].name;
	faults_stall_all = emu_switches[EMU_STALL_ALL].value > 0;
	faults_generation++;
	pthread_mutex_unlock(&faults_lock);
	if (!bad) {
		emu_reply_text(req, 200, "text/plain", "ok\n");
		return;
	}
	msg = weir_xasprintf("no switch '%s', or not a number\n", bad);
	emu_reply_text(req, 400, "text/plain", msg);
	free(msg);
}

static void
faults_list(struct emu_req *req, const struct emu_switch *s)
{
	for (; s->name; s++) {
		if (faults_is_text(s->name))
			weir_buf_addf(&req->body, "%s=%s\t%s\n", s->name, s->text, s->help);
		else
			weir_buf_addf(&req->body, "%s=%.15g\t%s\n", s->name, s->value, s->help);
	}
}

void
emu_control(struct emu_req *req, const char *verb)
{
	bool is_post = emu_is(req, "POST");

	if (!strcmp(verb, "set") && is_post)
		faults_set(req);
	else if (!strcmp(verb, "reset") && is_post)
		faults_reset(req);
	else if (!strcmp(verb, "stats"))
		faults_stats(req);
	else if (!strcmp(verb, "log"))
		faults_show_log(req);
	else if (!strcmp(verb, "switches")) {
		pthread_mutex_lock(&faults_lock);
		faults_list(req, emu_switches);
		faults_list(req, faults_proto);
		faults_list(req, faults_more);
		pthread_mutex_unlock(&faults_lock);
		emu_reply(req, 200);
	} else
		emu_reply_text(req, 404, "text/plain", "set, reset, stats, log, switches, raw/PATH\n");
}
