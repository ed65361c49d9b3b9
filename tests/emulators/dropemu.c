/* SPDX-License-Identifier: Apache-2.0 */
/* dropemu: Dropbox's API v2 for tests, one person, one data folder. Options, what each call style demands, dispatch, injected errors; the routes are in
 * droproutes.c, the rest in drop*.c. The three hosts api, content and notify share the port: their paths do not overlap. Sign-in is oauth.c's.
 *
 * POST /_emu/raw/2/… is any route without token, faults or counting: somebody else's doing. /_emu/raw/2/emu/kind {"path","kind"} makes a file what
 * the API cannot make: "paper" (not downloadable), "restricted", "symlink", "plain". */
#include "config.h"
#include "drop.h"
#include "oauth.h"
#include <getopt.h>
#include <string.h>
#include <strings.h>

struct emu_switch drop_switches[DROP_SWITCHES + 1] = {
	[DROP_TEAM] = { "team", "1: the account is a team's, with a team space above its own folder" },
	[DROP_QUOTA] = { "quota", "bytes the account may hold", 2199023255552.0 },
	[DROP_THROTTLE_NEXT] = { "throttle_next", "429 too_many_requests in JSON for the next N requests" },
	[DROP_THROTTLE_RATE] = { "throttle_rate", "the same for a share of requests" },
	[DROP_THROTTLE_TEXT_NEXT] = { "throttle_text_next", "429 in text with Retry-After for the next N requests" },
	[DROP_THROTTLE_S] = { "throttle_s", "seconds those answers ask to wait", 1 },
	[DROP_THROTTLE_WRITES_NEXT] = { "throttle_writes_next", "429 too_many_write_operations for the next N requests" },
	[DROP_WRITES_NEXT] = { "write_contention_next", "409 too_many_write_operations for the next N writes" },
	[DROP_WRITES_RATE] = { "write_contention_rate", "the same for a share of writes" },
	[DROP_PARTIAL_NEXT] = { "append_partial_next", "the next N appends keep half of their bytes and answer 500" },
	[DROP_EXPIRE_NEXT] = { "session_expire_next", "the session of the next N appends or finishes is gone" },
	[DROP_RESET_NEXT] = { "cursor_reset_next", "N times: all cursors made so far are dead (409 reset)" },
	[DROP_BACKOFF_S] = { "longpoll_backoff_s", "backoff that longpolls answer" },
	[DROP_LONGPOLL_MS] = { "longpoll_max_ms", "longpolls end after so long whatever they asked; 0: as asked" },
	[DROP_LIST_MS] = { "list_delay_ms", "each page of a listing takes so long" },
	[DROP_UNSEEN_NEXT] = { "from_unseen_next", "the next N moves or copies do not see their source yet (from_lookup/not_found)" },
	[DROP_OVERLONG_NEXT] = { "overlong_next", "the next N downloads of a range carry more bytes than Content-Range says" },
	[DROP_NORANGE_NEXT] = { "range_ignored_next", "the next N downloads answer 200 with everything" },
	[DROP_PAGE_MAX] = { "page_max", "at most so many entries a page, whatever limit says" },
	[DROP_EMPTY_PAGES] = { "empty_pages", "1: every other page is empty and has_more" },
	[DROP_BADROOT_NEXT] = { "invalid_root_next", "422 invalid_root for the next N requests" },
	[DROP_NOSPACE_NEXT] = { "no_space_next", "insufficient_space for the next N commits" },
	[DROP_ENTRIES_MAX] = { "entries_max", "how many entries a move, copy or delete may concern", 10000 },
	[DROP_ASYNC_MS] = { "async_ms", "jobs are in_progress so long" },
	[DROP_WRONG_CASE] = { "wrong_case_parents", "1: parents in path_display have the wrong case" },
	[DROP_MOVE_REV] = { "move_new_rev", "1: a moved file gets a new rev" },
	[DROP_INTERNAL_NEXT] = { "internal_error_next", "the next N moves or copies are done and answered with internal_error" },
	[DROP_NOSCOPE_NEXT] = { "missing_scope_next", "401 missing_scope for the next N requests" },
	[DROP_HASH_NEXT] = { "hash_mismatch_next", "the next N bodies with a content_hash are found damaged" },
	[DROP_SWITCHES] = { NULL },
};

bool
drop_writes_contend(const struct emu_req *req)
{
	return drop_take(req, DROP_WRITES_NEXT) || (!req->is_raw && emu_roll(&drop_switches[DROP_WRITES_RATE]));
}

/* ---- styles ---- */

/* Is it this type, with or without parameters? */
static bool
style_is(const char *type, const char *want)
{
	size_t n = strlen(want);

	return !strncasecmp(type, want, n) && (!type[n] || type[n] == ';' || type[n] == ' ');
}

static bool
style_type_ok(const struct drop_route *route, const char *type, bool has_body)
{
	switch (route->style) {
	case DROP_UPLOAD:
		return type && (style_is(type, "application/octet-stream") || !strcasecmp(type, "text/plain; charset=dropbox-cors-hack"));
	case DROP_DOWNLOAD:
		return !type || !*type || style_is(type, "application/octet-stream") || style_is(type, "text/plain");
	default:
		if (!type || !*type)
			return !has_body && !route->arg;
		return style_is(type, "application/json") || !strcasecmp(type, "text/plain; charset=dropbox-cors-hack");
	}
}

/* Content-Type, method and argument header as this style has them. False: 400 replied. */
static bool
style_check(struct emu_req *req)
{
	static const char *const expecting[] = {
		[DROP_RPC] = "\"application/json\", \"application/json; charset=utf-8\", \"text/plain; charset=dropbox-cors-hack\"",
		[DROP_NOTIFY] = "\"application/json\", \"application/json; charset=utf-8\", \"text/plain; charset=dropbox-cors-hack\"",
		[DROP_UPLOAD] = "\"application/octet-stream\", \"text/plain; charset=dropbox-cors-hack\"",
		[DROP_DOWNLOAD] = "\"application/octet-stream\", \"text/plain\", \"text/plain; charset=utf-8\"",
	};
	const struct drop_route *route = drop_of(req)->route;
	const char *type = emu_header(req, "Content-Type");

	if (!emu_is(req, "POST") && !(route->style == DROP_DOWNLOAD && emu_is(req, "GET")))
		drop_bad(req, "Your request's HTTP method is \"%s\", but this function expects \"POST\".", req->method);
	else if (!style_type_ok(route, type, req->has_body) && !type)
		drop_bad(req, "Missing HTTP \"Content-Type\" header.  Expecting one of %s.", expecting[route->style]);
	else if (!style_type_ok(route, type, req->has_body))
		drop_bad(req, "Bad HTTP \"Content-Type\" header: \"%s\".  Expecting one of %s.", type, expecting[route->style]);
	else if (route->style == DROP_DOWNLOAD && req->has_body)
		drop_bad(req, "HTTP request body must be empty for this function.");
	return !req->is_replied;
}

/* The argument as JSON text; where says how messages call it. False: 400 replied. */
static bool
style_parse(struct emu_req *req, const char *where, const char *text, size_t len)
{
	struct drop_req *r = drop_of(req);
	const struct drop_route *route = r->route;
	char *wrong;

	if (!route->arg && !len)
		return true;
	r->arg = json_loadb(text, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
	if (!r->arg) {
		drop_bad(req, "%s: could not decode input as JSON", where);
		return false;
	}
	if (!route->arg) {
		if (!json_is_null(r->arg))
			drop_bad(req, "%s: expected null, got %s", where, json_is_object(r->arg) ? "object" : "something else");
		return !req->is_replied;
	}
	wrong = drop_arg_check(route->arg, r->arg);
	if (wrong)
		drop_bad(req, "%s: %s", where, wrong);
	free(wrong);
	return !req->is_replied;
}

static bool
style_parse_head(struct emu_req *req)
{
	const char *arg = emu_header(req, "Dropbox-API-Arg"), *where = "HTTP header \"Dropbox-API-Arg\"";

	if (!arg && (arg = emu_query(req, "arg"))) {
		where = "URL parameter \"arg\"";
	} else if (arg) {
		for (const char *p = arg; *p; p++)
			if ((unsigned char)*p >= 0x7f || (unsigned char)*p < 0x20) {
				drop_bad(req, "%s: could not decode input as JSON", where);
				return false;
			}
	}
	if (!arg) {
		drop_bad(req, "Must provide HTTP header \"Dropbox-API-Arg\" or URL parameter \"arg\".");
		return false;
	}
	return style_parse(req, where, arg, strlen(arg));
}

/* ---- who asks ---- */

static void
access_missing_scope(struct emu_req *req)
{
	json_t *e = json_pack("{s:s s:s}", ".tag", "missing_scope", "required_scope", drop_of(req)->route->scope);

	drop_fail(req, 401, e);
}

static bool
access_check(struct emu_req *req)
{
	if (req->is_raw || drop_of(req)->route->style == DROP_NOTIFY)
		return true;
	switch (emu_oauth_check(req)) {
	case EMU_TOKEN_OK:
		if (drop_of(req)->route->scope && drop_take(req, DROP_NOSCOPE_NEXT))
			access_missing_scope(req);
		break;
	case EMU_TOKEN_MISSING:
		drop_bad(req, "Must provide HTTP header \"Authorization\" or URL parameter \"authorization\".");
		break;
	case EMU_TOKEN_UNKNOWN:
		drop_fail(req, 401, drop_tags("invalid_access_token", NULL));
		break;
	case EMU_TOKEN_EXPIRED:
		drop_fail(req, 401, drop_tags("expired_access_token", NULL));
		break;
	}
	return !req->is_replied;
}

static bool
access_throttle(struct emu_req *req)
{
	if (req->is_raw)
		return true;
	if (drop_take(req, DROP_THROTTLE_TEXT_NEXT))
		drop_throttle(req, "", true);
	else if (drop_take(req, DROP_THROTTLE_WRITES_NEXT))
		drop_throttle(req, "too_many_write_operations", false);
	else if (drop_take(req, DROP_THROTTLE_NEXT) || emu_roll(&drop_switches[DROP_THROTTLE_RATE]))
		drop_throttle(req, "too_many_requests", false);
	return !req->is_replied;
}

/* ---- the hooks ---- */

static bool
dropemu_is_sign_in(const struct emu_req *req)
{
	return !strncmp(req->path, "/oauth2/", 8);
}

static void
dropemu_route(struct emu_req *req)
{
	const char *name = !strncmp(req->path, "/2/", 3) ? req->path + 3 : req->path;
	struct drop_req *r;

	if (!strncmp(req->path, "/1/oauth2/", 10))	/* the older spelling, which rclone uses */
		memmove(req->path, req->path + 2, strlen(req->path + 2) + 1);
	if (dropemu_is_sign_in(req)) {
		if (!emu_oauth_route(req))
			snprintf(req->op, sizeof(req->op), "other");
		return;
	}
	r = weir_xcalloc(1, sizeof(*r));
	r->mem = (struct weir_buf)WEIR_BUF(16u << 20);
	req->proto = r;
	r->route = drop_route_of(name);
	if (r->route && r->route->is_emu && !req->is_raw)
		r->route = NULL;
	snprintf(req->op, sizeof(req->op), "%s", r->route ? r->route->name : "other");
}

static void
dropemu_unknown(struct emu_req *req)
{
	WEIR_AUTO(weir_freep) char *text = NULL;

	if (strncmp(req->path, "/2/", 3)) {
		emu_reply_text(req, 404, "text/html", "<!DOCTYPE html><title>Dropbox - 404</title>");
		return;
	}
	text = weir_xasprintf("Unknown API function: \"%s\"", req->path + 3);
	emu_reply_text(req, 400, "text/plain; charset=utf-8", text);
}

static void
dropemu_id(struct emu_req *req)
{
	char id[33];

	weir_random_hex(id, 32);
	emu_out(req, "X-Dropbox-Request-Id", id);
	emu_out(req, "Server", "envoy");
}

static void
dropemu_begin(struct emu_req *req)
{
	struct drop_req *r = drop_of(req);

	if (dropemu_is_sign_in(req)) {
		emu_oauth_begin(req);
		return;
	}
	dropemu_id(req);
	if (!r->route) {
		dropemu_unknown(req);
		return;
	}
	if (r->route->style == DROP_PLAIN_GET || !style_check(req) || !access_check(req) || !access_throttle(req))
		return;
	if ((r->route->style == DROP_UPLOAD || r->route->style == DROP_DOWNLOAD) && !style_parse_head(req))
		return;
	if (r->route->style == DROP_UPLOAD) {
		r->is_over = req->content_length > (int64_t)DROP_BODY_MAX;
		r->writer = r->is_over ? NULL : emu_writer_new();
		if (!r->is_over && !r->writer)
			emu_reply_text(req, 500, "text/plain", "no room on the server");
	}
}

static void
dropemu_data(struct emu_req *req, const void *data, size_t len)
{
	struct drop_req *r = drop_of(req);

	if (dropemu_is_sign_in(req)) {
		emu_oauth_data(req, data, len);
		return;
	}
	r->got += len;
	if (r->route && r->route->style == DROP_UPLOAD) {
		if (r->got > DROP_BODY_MAX)
			r->is_over = true;
		if (!r->is_over) {
			emu_writer_add(r->writer, data, len);
			drop_hash_add(&r->hash, data, len);
		}
	} else if (weir_buf_add(&r->mem, data, len)) {
		drop_bad(req, "request body: too large");
	}
}

/* The body of an upload as a blob. False: replied. */
static bool
dropemu_body(struct emu_req *req)
{
	struct drop_req *r = drop_of(req);

	if (r->route->style != DROP_UPLOAD)
		return style_parse(req, "request body", weir_buf_str(&r->mem), r->mem.len);
	drop_hash_flush(&r->hash);
	if (r->is_over) {
		emu_writer_abort(WEIR_STEAL(r->writer));
		return true;
	}
	r->blob = emu_writer_end(WEIR_STEAL(r->writer));
	if (!r->blob)
		emu_reply_text(req, 500, "text/plain", "no room on the server");
	return !req->is_replied;
}

static void
dropemu_end(struct emu_req *req)
{
	struct drop_req *r = drop_of(req);

	if (dropemu_is_sign_in(req)) {
		emu_oauth_end(req);
		return;
	}
	if (r->route->style == DROP_PLAIN_GET) {
		pthread_mutex_lock(&drop_lock);
		r->route->run(req);
		pthread_mutex_unlock(&drop_lock);
		return;
	}
	if ((r->route->style != DROP_DOWNLOAD && !dropemu_body(req)) || !drop_cursor_begin(req))
		return;
	if (r->route->is_slow) {
		r->route->run(req);
		return;
	}
	pthread_mutex_lock(&drop_lock);
	r->root = drop_path_root(req);
	if (r->root)
		r->route->run(req);
	pthread_mutex_unlock(&drop_lock);
	drop_cursor_end(req);
}

static void
dropemu_release(struct emu_req *req)
{
	struct drop_req *r = drop_of(req);

	if (dropemu_is_sign_in(req)) {
		emu_oauth_release(req);
		return;
	}
	drop_cursor_end(req);
	json_decref(r->arg);
	weir_buf_free(&r->mem);
	emu_writer_abort(r->writer);
	drop_hash_free(&r->hash);
	pthread_mutex_lock(&drop_lock);
	emu_blob_unref(r->blob);
	pthread_mutex_unlock(&drop_lock);
	free(r);
}

static void
dropemu_inject(struct emu_req *req, unsigned status, const char *code)
{
	dropemu_id(req);
	if (status == 429)
		drop_throttle(req, code ? code : "too_many_requests", false);
	else if (status >= 500 || status == 400 || !code)
		emu_reply_text(req, status, "text/html", "<!DOCTYPE html><title>Dropbox - error</title>An injected error.");
	else
		drop_fail(req, status, drop_tags(code, NULL));
}

static const struct emu_proto dropemu_proto = {
	.name = "dropemu", .switches = drop_switches, .more_switches = emu_oauth_switches, .route = dropemu_route, .begin = dropemu_begin,
	.data = dropemu_data, .end = dropemu_end, .release = dropemu_release, .error = dropemu_inject,
};

static int
usage(void)
{
	fprintf(stderr, "usage: dropemu --port N --dir DATADIR [--client-id ID] [--client-secret SECRET] [--refresh-token TOKEN]\n"
	    "               [--access-token TOKEN] [--team] [--quota BYTES] [--die-with-parent] [--verbose]\n");
	return 2;
}

static const struct option options[] = {
	{ "port", required_argument, NULL, 'p' }, { "dir", required_argument, NULL, 'd' }, { "client-id", required_argument, NULL, 'i' },
	{ "client-secret", required_argument, NULL, 's' }, { "refresh-token", required_argument, NULL, 'r' },
	{ "access-token", required_argument, NULL, 'a' }, { "team", no_argument, NULL, 't' }, { "quota", required_argument, NULL, 'q' },
	{ "die-with-parent", no_argument, NULL, 'x' }, { "verbose", no_argument, NULL, 'v' }, { NULL, 0, NULL, 0 },
};

int
main(int argc, char **argv)
{
	struct emu_opts opts = { 0 };
	struct emu_oauth_conf conf = {
		.authorize_path = "/oauth2/authorize", .token_path = "/oauth2/token", .client_id = "dropemuappkey01", .client_secret = "dropemusecret01",
		.access_prefix = "sl.u.", .refresh_prefix = "", .code_prefix = "", .expires_s = 14400, .wants_offline = true,
		.scope = "account_info.read files.content.read files.content.write files.metadata.read files.metadata.write",
		.account_json = "\"uid\":\"1235641\",\"account_id\":\"" DROP_ACCOUNT "\"",
	};
	const char *refresh = NULL, *access = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'p': opts.port = atoi(optarg); break;
		case 'd': opts.dir = optarg; break;
		case 'i': conf.client_id = optarg; break;
		case 's': conf.client_secret = optarg; break;
		case 'r': refresh = optarg; break;
		case 'a': access = optarg; break;
		case 't': drop_switches[DROP_TEAM].value = 1; break;
		case 'q': drop_switches[DROP_QUOTA].value = strtod(optarg, NULL); break;
		case 'x': opts.dies_with_parent = true; break;
		case 'v': opts.is_verbose = true; break;
		default: return usage();
		}
	}
	if (!opts.dir || optind != argc)
		return usage();
	if (!refresh)
		refresh = "emulator-refresh-token";
	fprintf(stderr, "app key %s, secret %s, refresh token %s\n", conf.client_id, conf.client_secret, refresh);
	emu_oauth_setup(&conf, refresh, access);
	if (drop_state_open(opts.dir))
		return 1;
	return emu_serve(&dropemu_proto, &opts);
}
