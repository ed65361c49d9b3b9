/* SPDX-License-Identifier: Apache-2.0 */
/* ncemu: Nextcloud's file side for tests and the demo, one user, one data folder. Addresses, dispatch, the faults of its
 * own; the rest is in nc*.c. See faults.c for the control path. */
#include "config.h"
#include "nc.h"
#include "util/text.h"
#include <getopt.h>
#include <string.h>
#include <strings.h>

struct nc_conf nc_conf;

struct emu_switch nc_switches[NC_SWITCHES + 1] = {
	[NC_QUOTA] = { "quota", "bytes the user may hold; 0: unlimited" },
	[NC_MAINTENANCE] = { "maintenance", "1: 503 for everything but status.php, which says so" },
	[NC_LOCKED_RATE] = { "locked_rate", "share of changes refused with 423" },
	[NC_LOCKED_NEXT] = { "locked_next", "423 for the next N changes" },
	[NC_UNAUTHORIZED] = { "unauthorized", "1: 401 for everybody" },
	[NC_UNAUTHORIZED_NEXT] = { "unauthorized_next", "401 for the next N requests" },
	[NC_ETAG_GZIP] = { "etag_gzip", "1: ETag of GET ends in -gzip, as behind mod_deflate" },
	[NC_ETAG_WEAK] = { "etag_weak", "1: ETag of GET is weak, as behind nginx" },
	[NC_IGNORE_IF] = { "ignore_conditionals", "1: If-Match, If-None-Match and If of changes are not looked at" },
	[NC_MOVE_504_NEXT] = { "move_504_next", "the next N MOVEs are done and answered with 504" },
	[NC_MOVE_ASYNC_MS] = { "move_async_ms", "MOVE of .file: 504 at once, done so much later, 423 meanwhile, then 404" },
	[NC_MOVE_DELAY_MS] = { "move_delay_ms", "MOVE of .file takes so long" },
	[NC_LIST_DELAY] = { "list_delay_ms", "PROPFIND of depth 1 takes so long" },
	[NC_NO_OC_ETAG] = { "no_oc_etag", "1: no OC-ETag header" },
	[NC_NO_CHECKSUM] = { "no_checksums", "1: stored checksums are not shown" },
	[NC_CHUNK_SIZE] = { "chunk_size", "files.chunked_upload.max_size of the capabilities", 10 << 20 },
	[NC_BRUTEFORCE_OFF] = { "bruteforce_off", "1: no 429 after failed logins" },
	[NC_TRASHBIN] = { "trashbin", "1: deleted files go to the trash" },
	[NC_PUSH] = { "push", "1: the app notify_push is there" },
	[NC_PUSH_DOWN] = { "push_down", "1: its daemon is not: connections are cut, new ones get 502" },
	[NC_PUSH_DEAF] = { "push_deaf", "1: connections stay, and nothing moves on them" },
	[NC_PUSH_QUIET] = { "push_quiet_ms", "news is told after so long without any", 500 },
	[NC_PUSH_TLS] = { "push_tls", "1: the address told is wss:// (a proxy in front ends TLS)" },
	[NC_PUSH_NO_TOKENS] = { "push_no_tokens", "1: no pre_auth, passwords only" },
	[NC_ETAG_LATE] = { "etag_late_ms", "ETags of the folders above change so long after a change (and after the news of it)" },
	[NC_SWITCHES] = { NULL },
};

/* ---- errors ---- */

void
nc_error(struct emu_req *req, unsigned status, const char *exception, const char *message)
{
	struct weir_buf b = WEIR_BUF(64u << 10);

	weir_buf_addf(&b, NC_XML "<d:error xmlns:d=\"DAV:\" xmlns:s=\"http://sabredav.org/ns\"><s:exception>Sabre\\DAV\\Exception\\%s</s:exception><s:message>",
	    exception);
	emu_xml_text_add(&b, message);
	weir_buf_addf(&b, "</s:message>%s</d:error>",
	    !strcmp(exception, "InvalidPath") ? "<o:retry xmlns:o=\"o:\">false</o:retry><o:reason xmlns:o=\"o:\">invalid name</o:reason>" : "");
	emu_reply_text(req, status, "application/xml; charset=utf-8", weir_buf_str(&b));
	weir_buf_free(&b);
}

static void
ncemu_inject(struct emu_req *req, unsigned status, const char *code)
{
	nc_error(req, status, code ? code : status == 503 ? "ServiceUnavailable" : "Exception", "Injected error");
}

/* ---- addresses ---- */

struct nc_node *
nc_root(enum nc_area area)
{
	return area == NC_FILES ? nc_files : area == NC_UPLOADS ? nc_uploads : area == NC_TRASH ? nc_trash : NULL;
}

static const char *
path_skip(const char *p, const char *head)
{
	size_t n = strlen(head);

	return strncmp(p, head, n) || (p[n] && p[n] != '/') ? NULL : p + n;
}

/* "/alice" or whatever spelling of it: the rest behind it, or NULL for somebody else. */
static const char *
path_skip_user(const char *p)
{
	size_t n;
	char *who;
	bool own;

	if (*p != '/')
		return NULL;
	n = strcspn(p + 1, "/");
	who = emu_decode(p + 1, n, false);
	own = who && !strcmp(who, nc_conf.user);
	free(who);
	return own ? p + 1 + n : NULL;
}

/* Finds the area; returns what is below its root. */
static const char *
path_area(const char *wire, enum nc_area *area)
{
	const char *p = path_skip(wire, "/index.php"), *rest;

	p = p ? p : wire;
	*area = NC_FILES;
	if ((rest = path_skip(p, "/remote.php/webdav")))
		return rest;
	if ((rest = path_skip(p, "/remote.php/dav/files")) && (rest = path_skip_user(rest)))
		return rest;
	*area = NC_UPLOADS;
	if ((rest = path_skip(p, "/remote.php/dav/uploads")) && (rest = path_skip_user(rest)))
		return rest;
	*area = NC_TRASH;
	if ((rest = path_skip(p, "/remote.php/dav/trashbin")) && (rest = path_skip_user(rest)) && (rest = path_skip(rest, "/trash")))
		return rest;
	*area = NC_OTHER;
	return NULL;
}

bool
nc_path_parse(const char *wire, struct nc_path *p)
{
	const char *rest = path_area(wire, &p->area);

	p->seg = NULL;
	p->n = 0;
	p->base = weir_xstrndup(wire, rest ? (size_t)(rest - wire) : strlen(wire));
	while (rest && *rest) {
		size_t len = strcspn(rest += *rest == '/', "/");
		char *name;

		if (len) {
			name = emu_decode(rest, len, false);
			if (!name)
				return false;
			p->seg = weir_xrealloc(p->seg, p->n + 1, sizeof(char *));
			p->seg[p->n++] = name;
		}
		rest += len;
	}
	return true;
}

void
nc_path_free(struct nc_path *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->seg[i]);
	free(p->seg);
	free(p->base);
	memset(p, 0, sizeof(*p));
}

static struct nc_node *
path_walk(const struct nc_path *p, size_t n, bool *is_file)
{
	struct nc_node *x = nc_root(p->area);

	*is_file = false;
	for (size_t i = 0; x && i < n; i++) {
		if (!x->is_dir) {
			*is_file = true;
			return NULL;
		}
		x = nc_child(x, p->seg[i]);
	}
	return x;
}

struct nc_node *
nc_find(const struct nc_path *p)
{
	bool is_file;

	return path_walk(p, p->n, &is_file);
}

struct nc_node *
nc_find_parent(const struct nc_path *p, bool *is_file)
{
	struct nc_node *x = path_walk(p, p->n - 1, is_file);

	if (x && !x->is_dir) {
		*is_file = true;
		return NULL;
	}
	return x;
}

/* ---- dispatch ---- */

static void
op_options(struct emu_req *req)
{
	emu_out(req, "DAV", "1, 3, extended-mkcol, access-control, nc-paginate, nextcloud-checksum-update");
	emu_out(req, "MS-Author-Via", "DAV");
	emu_out(req, "Allow", "OPTIONS, GET, HEAD, DELETE, PROPFIND, PUT, PROPPATCH, COPY, MOVE, MKCOL, REPORT");
	emu_reply(req, 200);
}

static void
op_report(struct emu_req *req)
{
	nc_error(req, 415, "ReportNotSupported", "The report this request asked for is not supported");
}

static void
op_locks(struct emu_req *req)
{
	nc_error(req, 501, "NotImplemented", "There was no plugin in the system that was willing to handle this method");
}

static void
op_move(struct emu_req *req)
{
	if (nc_is_assembly(&nc_of(req)->path))
		nc_assemble(req);
	else
		nc_move_copy(req, true);
}

static void
op_copy(struct emu_req *req)
{
	nc_move_copy(req, false);
}

static const struct op {
	const char *method;
	bool is_change;
	void (*run)(struct emu_req *);
} ops[] = {
	{ "OPTIONS", false, op_options },
	{ "GET", false, nc_get },
	{ "HEAD", false, nc_get },
	{ "PROPFIND", false, nc_propfind },
	{ "REPORT", false, op_report },
	{ "PUT", true, nc_put_end },
	{ "PATCH", true, nc_patch },
	{ "MKCOL", true, nc_mkcol },
	{ "DELETE", true, nc_delete },
	{ "MOVE", true, op_move },
	{ "COPY", true, op_copy },
	{ "PROPPATCH", true, nc_proppatch },
	{ "LOCK", false, op_locks },
	{ "UNLOCK", false, op_locks },
};

static const struct op *
op_of(const struct emu_req *req)
{
	for (size_t i = 0; i < WEIR_LEN(ops); i++)
		if (emu_is(req, ops[i].method))
			return &ops[i];
	return NULL;
}

static const char *
ncemu_php_path(const struct emu_req *req)
{
	const char *p = path_skip(req->path, "/index.php");

	return p ? p : req->path;
}

static void
ncemu_route(struct emu_req *req)
{
	static const char *const area_names[] = { "", "files", "uploads", "trashbin" };
	struct nc_req *r = weir_xcalloc(1, sizeof(*r));
	bool ok;

	req->proto = r;
	r->mem = (struct weir_buf)WEIR_BUF(4u << 20);
	ok = nc_path_parse(req->path, &r->path);
	if (!ok)
		r->path.area = NC_OTHER;
	if (r->path.area == NC_OTHER)
		snprintf(req->op, sizeof(req->op), "%s", !strncmp(ncemu_php_path(req), "/ocs/", 5) ? "OCS" : !strncmp(ncemu_php_path(req), "/login/v2", 9) ? "login" :
		    strstr(req->path, "/push") ? "push" : "other");
	else if (r->path.area == NC_UPLOADS && nc_is_assembly(&r->path))
		snprintf(req->op, sizeof(req->op), "assemble");
	else
		snprintf(req->op, sizeof(req->op), "%s %.12s", area_names[r->path.area], req->method);
}

/* The server as a whole is away, or a transaction lock is in the way. */
static bool
ncemu_is_open(struct emu_req *req)
{
	const struct op *op = op_of(req);

	if (nc_on(NC_MAINTENANCE)) {
		emu_out(req, "Retry-After", "120");
		emu_out(req, "X-Nextcloud-Maintenance-Mode", "1");
		nc_error(req, 503, "ServiceUnavailable", "System in maintenance mode.");
		return false;
	}
	if (op && op->is_change && nc_of(req)->path.area != NC_OTHER &&
	    (emu_take(&nc_switches[NC_LOCKED_NEXT]) || emu_roll(&nc_switches[NC_LOCKED_RATE]))) {
		nc_error(req, 423, "Locked", "The resource is locked");
		return false;
	}
	return true;
}

static bool
ncemu_is_public(const struct emu_req *req)
{
	const char *p = ncemu_php_path(req);

	return !strcmp(p, "/status.php") || !strncmp(p, "/login/v2", 9) || (!strcmp(req->path, "/push/ws") && nc_on(NC_PUSH));
}

static void
ncemu_begin(struct emu_req *req)
{
	struct nc_req *r = nc_of(req);

	emu_out(req, "Server", "ncemu");
	if (ncemu_is_public(req))
		return;
	if (!req->is_raw && (!ncemu_is_open(req) || !nc_auth(req)))
		return;
	if (r->path.area != NC_OTHER && !op_of(req))
		nc_error(req, 501, "NotImplemented", "There was no plugin in the system that was willing to handle this method");
	else if (r->path.area == NC_FILES && emu_is(req, "PUT"))
		nc_put_begin(req);
	else if (r->path.area == NC_UPLOADS && emu_is(req, "PUT"))
		nc_chunk_begin(req);
	else if (r->path.area == NC_TRASH && emu_is(req, "PUT"))
		nc_error(req, 403, "Forbidden", "Permission denied to create file in the trash");
}

static void
ncemu_other(struct emu_req *req)
{
	const char *p = ncemu_php_path(req);

	if (!strcmp(p, "/status.php"))
		nc_status_php(req);
	else if (!strncmp(p, "/ocs/", 5))
		nc_ocs(req, p + 5);
	else if (!strcmp(p, "/login/v2") && emu_is(req, "POST"))
		nc_login_start(req);
	else if (!strcmp(p, "/login/v2/poll") && emu_is(req, "POST"))
		nc_login_poll(req);
	else if (!strncmp(p, "/login/v2/flow/", 15))
		nc_login_flow(req, p + 15);
	else if (!strcmp(req->path, "/push/ws") && nc_on(NC_PUSH))
		nc_push_ws(req);
	else if (!strcmp(p, "/apps/notify_push/pre_auth") && nc_on(NC_PUSH) && emu_is(req, "POST"))
		nc_push_pre_auth(req);
	else if (emu_is(req, "OPTIONS"))
		op_options(req);
	else
		nc_error(req, 404, "NotFound", "There is nothing at this address");
}

static void
ncemu_end(struct emu_req *req)
{
	struct nc_req *r = nc_of(req);

	if (r->path.area == NC_OTHER)
		ncemu_other(req);
	else if (r->path.area == NC_UPLOADS && emu_is(req, "PUT"))
		nc_chunk_end(req);
	else
		op_of(req)->run(req);
}

static void
ncemu_release(struct emu_req *req)
{
	struct nc_req *r = nc_of(req);

	nc_put_free(r);
	nc_path_free(&r->path);
	nc_path_free(&r->dest);
	free(r);
}

/* What front ends do to the ETag of a body they compress. */
static void
ncemu_edited(struct emu_req *req)
{
	const char *etag = emu_pairs_get(&req->out, "ETag");
	size_t n = etag ? strlen(etag) : 0;
	char *text;

	if (n < 2 || (!emu_is(req, "GET") && !emu_is(req, "HEAD")) || (!nc_on(NC_ETAG_GZIP) && !nc_on(NC_ETAG_WEAK)))
		return;
	text = nc_on(NC_ETAG_GZIP) ? weir_xasprintf("%.*s-gzip\"", (int)n - 1, etag) : weir_xasprintf("W/%s", etag);
	emu_out_replace(req, "ETag", text);
	free(text);
}

static const struct emu_proto ncemu_proto = {
	.name = "ncemu", .switches = nc_switches, .route = ncemu_route, .begin = ncemu_begin, .data = nc_put_data, .end = ncemu_end,
	.release = ncemu_release, .error = ncemu_inject, .edited = ncemu_edited, .reset = nc_auth_reset,
};

static int
usage(void)
{
	fprintf(stderr, "usage: ncemu --port N --dir DATADIR --user UID --password P [--login NAME] [--bearer TOKEN] [--quota BYTES]\n"
	    "             [--die-with-parent] [--verbose]\n");
	return 2;
}

static const struct option options[] = {
	{ "port", required_argument, NULL, 'p' }, { "dir", required_argument, NULL, 'd' }, { "user", required_argument, NULL, 'u' },
	{ "password", required_argument, NULL, 'w' }, { "login", required_argument, NULL, 'l' }, { "bearer", required_argument, NULL, 'b' },
	{ "quota", required_argument, NULL, 'q' }, { "die-with-parent", no_argument, NULL, 'x' }, { "verbose", no_argument, NULL, 'v' },
	{ NULL, 0, NULL, 0 },
};

int
main(int argc, char **argv)
{
	struct emu_opts opts = { 0 };
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'p': opts.port = atoi(optarg); break;
		case 'd': opts.dir = optarg; break;
		case 'u': nc_conf.user = optarg; break;
		case 'w': nc_conf.password = optarg; break;
		case 'l': nc_conf.login = optarg; break;
		case 'b': nc_conf.bearer = optarg; break;
		case 'q': nc_switches[NC_QUOTA].value = strtod(optarg, NULL); break;
		case 'x': opts.dies_with_parent = true; break;
		case 'v': opts.is_verbose = true; break;
		default: return usage();
		}
	}
	if (!opts.dir || !nc_conf.user || !nc_conf.password || optind != argc)
		return usage();
	if (!nc_conf.login)
		nc_conf.login = nc_conf.user;
	if (nc_state_open(opts.dir))
		return 1;
	return emu_serve(&ncemu_proto, &opts);
}
