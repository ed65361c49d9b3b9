/* SPDX-License-Identifier: Apache-2.0 */
/* Files and folders: GET, PUT, PATCH, MKCOL, DELETE, MOVE, COPY, with sabre's statuses and Nextcloud's quirks. */
#include "config.h"
#include "nc.h"
#include "util/text.h"
#include <openssl/evp.h>
#include <string.h>
#include <strings.h>

/* ---- small replies ---- */

void
nc_out_entity(struct emu_req *req, const struct nc_node *x)
{
	emu_outf(req, "ETag", "\"%s\"", x->etag);
	if (!nc_on(NC_NO_OC_ETAG) || req->is_raw)
		emu_outf(req, "OC-ETag", "\"%s\"", x->etag);
	emu_outf(req, "OC-FileId", "%08llu" NC_INSTANCE, (unsigned long long)x->id);
	emu_out(req, "X-NC-OwnerId", nc_conf.user);
	emu_out(req, "X-NC-Permissions", x->is_dir ? "RGDNVCK" : "RGDNVW");
}

static bool
files_ends_with(const char *s, const char *tail)
{
	size_t n = strlen(s), t = strlen(tail);

	return n >= t && !strcasecmp(s + n - t, tail);
}

bool
nc_name_ok(struct emu_req *req, const char *name)
{
	const char *why = NULL;
	bool blank = true;

	for (const char *p = name; *p; p++) {
		if ((unsigned char)*p < 32 || *p == '\\' || *p == '/')
			why = "File name contains at least one invalid character";
		blank &= *p == ' ';
	}
	if (blank)
		why = "Empty filename is not allowed";
	else if (strlen(name) > NC_NAME_MAX)
		why = "Filename is too long";
	else if (!strcmp(name, ".") || !strcmp(name, ".."))
		why = "Dot files are not allowed";
	else if (!strcasecmp(name, ".htaccess"))
		why = "\".htaccess\" is a forbidden file or folder name";
	else if (files_ends_with(name, ".part") || files_ends_with(name, ".filepart"))
		why = "\".part\" is a forbidden file type";
	if (!why)
		return true;
	nc_error(req, 400, "InvalidPath", why);
	return false;
}

bool
nc_room_for(struct emu_req *req, uint64_t more, uint64_t instead_of)
{
	int64_t room = nc_available();

	if (room < 0 || more <= instead_of || more - instead_of <= (uint64_t)room)
		return true;
	nc_error(req, 507, "InsufficientStorage", "Insufficient space, the quota is exceeded");
	return false;
}

/* ---- conditions ---- */

static bool
files_tag_is(const char *list, const char *etag)
{
	char *quoted = weir_xasprintf("\"%s\"", etag);
	bool r = false;

	for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',') {
		size_t n;

		p += strspn(p, " ");
		n = strcspn(p, ",");
		while (n && p[n - 1] == ' ')
			n--;
		r |= n == strlen(quoted) && !strncmp(p, quoted, n);
		r |= n == 1 && *p == '*';
	}
	free(quoted);
	return r;
}

/* One "( … )" of an If header; *p is behind the "(". There are no locks here, so no token ever holds. */
static bool
files_if_list(const char **p, const struct nc_node *x)
{
	bool ok = true, negated = false;

	for (;;) {
		const char *s = *p + strspn(*p, " \t");
		size_t n;

		*p = s;
		if (!*s || *s == ')')
			break;
		if (!strncasecmp(s, "Not", 3)) {
			negated = true;
			*p += 3;
			continue;
		}
		n = strcspn(s, *s == '<' ? ">" : "]");
		if (*s == '[') {
			char *tag = weir_xstrndup(s + 1, n - 1);

			ok &= (x && !x->is_dir && files_tag_is(tag, x->etag)) != negated;
			free(tag);
		} else
			ok &= negated;
		negated = false;
		*p += n + (s[n] != 0);
	}
	*p += **p == ')';
	return ok;
}

/* The resource an If header tags: a path, or a URL. */
static const struct nc_node *
files_if_resource(const char *s, size_t n)
{
	char *url = weir_xstrndup(s, n), *path = strstr(url, "://");
	const struct nc_node *x = NULL;
	struct nc_path at = { 0 };

	path = path ? strchr(path + 3, '/') : url;
	if (path && nc_path_parse(path, &at))
		x = nc_find(&at);
	nc_path_free(&at);
	free(url);
	return x;
}

static bool
files_if(const char *h, const struct nc_node *own)
{
	const struct nc_node *x = own;
	bool any = false;

	while (*h) {
		size_t n;

		h += strspn(h, " \t");
		if (*h == '<') {
			n = strcspn(h, ">");
			x = files_if_resource(h + 1, n - 1);
			h += n + (h[n] != 0);
		} else if (*h == '(') {
			h++;
			any |= files_if_list(&h, x);
		} else
			break;
	}
	return any;
}

void
nc_precondition_failed(struct emu_req *req, const char *header)
{
	struct weir_buf b = WEIR_BUF(4096);

	weir_buf_addf(&b, NC_XML "<d:error xmlns:d=\"DAV:\" xmlns:s=\"http://sabredav.org/ns\"><s:exception>Sabre\\DAV\\Exception\\PreconditionFailed"
	    "</s:exception><s:message>An %s header was specified, but its condition did not hold.</s:message><s:header>%s</s:header></d:error>",
	    header, header);
	emu_reply_text(req, 412, "application/xml; charset=utf-8", weir_buf_str(&b));
	weir_buf_free(&b);
}

bool
nc_may_change(struct emu_req *req, const struct nc_node *x, bool on_destination)
{
	const char *match = emu_header(req, "If-Match"), *none = emu_header(req, "If-None-Match"), *condition = emu_header(req, "If");

	if (!req->is_raw && nc_on(NC_IGNORE_IF))
		return true;
	/* With two resources the plain headers are about the source; only If can name the destination. */
	if (match && !on_destination && (!x || x->is_dir || !files_tag_is(match, x->etag)))
		nc_precondition_failed(req, "If-Match");
	else if (none && !on_destination && x && files_tag_is(none, x->etag))
		nc_precondition_failed(req, "If-None-Match");
	else if (condition && !files_if(condition, x))
		nc_precondition_failed(req, "If");
	return !req->is_replied;
}

/* ---- GET ---- */

/* Nextcloud's own reading of Range: an end of 0 counts as unset; nothing is a range of an empty file. */
static int
files_range(const char *h, uint64_t size, uint64_t *off, uint64_t *len)
{
	unsigned long long a, b;
	int end = 0;

	*off = 0;
	*len = size;
	if (!h || !size || strchr(h, ','))
		return 0;
	if (sscanf(h, "bytes=%llu-%llu%n", &a, &b, &end) == 2 && !h[end]) {
		if (!b)
			b = size - 1;
		if (a >= size || b < a)
			return -1;
		*off = a;
		*len = (b >= size ? size - 1 : b) - a + 1;
		return 1;
	}
	return emu_range(h, size, off, len);
}

static bool
files_may_read(struct emu_req *req, const struct nc_node *x)
{
	const char *match = emu_header(req, "If-Match"), *none = emu_header(req, "If-None-Match");

	if (match && !files_tag_is(match, x->etag)) {
		nc_precondition_failed(req, "If-Match");
		return false;
	}
	if (none && files_tag_is(none, x->etag)) {
		emu_outf(req, "ETag", "\"%s\"", x->etag);
		emu_reply(req, 304);
		return false;
	}
	return true;
}

static void
files_send(struct emu_req *req, const struct nc_node *x)
{
	const char *if_range = emu_header(req, "If-Range"), *range = emu_header(req, "Range");
	uint64_t off, len;
	char date[32];
	int r;

	if (if_range && !files_tag_is(if_range, x->etag))
		range = NULL;
	r = files_range(range, x->size, &off, &len);
	if (r < 0) {
		nc_error(req, 416, "RequestedRangeNotSatisfiable", "The start offset exceeded the size of the entity");
		return;
	}
	nc_out_entity(req, x);
	weir_date_rfc1123(x->mtime, date);
	emu_out(req, "Last-Modified", date);
	emu_out(req, "Content-Type", "application/octet-stream");
	emu_out(req, "Content-Disposition", "attachment");
	emu_out(req, "Accept-Ranges", "bytes");
	if (x->checksum && !nc_on(NC_NO_CHECKSUM))
		emu_out(req, "OC-Checksum", x->checksum);
	if (r > 0)
		emu_outf(req, "Content-Range", "bytes %llu-%llu/%llu", (unsigned long long)off, (unsigned long long)(off + len - 1),
		    (unsigned long long)x->size);
	emu_reply_blob(req, r > 0 ? 206 : 200, x->blob, off, len);
}

void
nc_get(struct emu_req *req)
{
	const struct nc_node *x;

	pthread_mutex_lock(&nc_lock);
	x = nc_find(&nc_of(req)->path);
	if (!x)
		nc_error(req, 404, "NotFound", "File could not be located");
	else if (nc_of(req)->path.area == NC_UPLOADS)
		nc_error(req, 405, "MethodNotAllowed", "Chunks cannot be read back");
	else if (x->is_dir) {
		nc_out_entity(req, x);
		emu_reply_text(req, 200, "text/html; charset=utf-8", "This is the WebDAV interface. It can only be accessed by WebDAV clients.");
	} else if (files_may_read(req, x))
		files_send(req, x);
	pthread_mutex_unlock(&nc_lock);
}

/* ---- PUT ---- */

struct nc_hash {
	EVP_MD_CTX *ctx[3];
};
static const char *const files_algos[3] = { "MD5", "SHA1", "SHA256" };

static struct nc_hash *
files_hash_new(const char *which)
{
	struct nc_hash *h;

	if (!which)
		return NULL;
	h = weir_xcalloc(1, sizeof(*h));
	for (int i = 0; i < 3; i++)
		if (!strcasecmp(which, files_algos[i]) || !strcasecmp(which, "all")) {
			h->ctx[i] = EVP_MD_CTX_new();
			EVP_DigestInit_ex(h->ctx[i], i == 0 ? EVP_md5() : i == 1 ? EVP_sha1() : EVP_sha256(), NULL);
		}
	return h;
}

static void
files_hash_add(struct nc_hash *h, const void *data, size_t n)
{
	for (int i = 0; h && i < 3; i++)
		if (h->ctx[i])
			EVP_DigestUpdate(h->ctx[i], data, n);
}

static void
files_hash_free(struct nc_hash *h)
{
	for (int i = 0; h && i < 3; i++)
		EVP_MD_CTX_free(h->ctx[i]);
	free(h);
}

static void
files_hash_out(struct emu_req *req, struct nc_hash *h)
{
	unsigned char sum[32];
	char name[32], hex[65];
	unsigned len = 0;

	for (int i = 0; h && i < 3; i++)
		if (h->ctx[i]) {
			EVP_DigestFinal_ex(h->ctx[i], sum, &len);
			weir_hex(sum, len, hex);
			snprintf(name, sizeof(name), "X-Hash-%s", files_algos[i]);
			emu_out(req, name, hex);
		}
}

void
nc_put_free(struct nc_req *r)
{
	emu_writer_abort(r->writer);
	emu_blob_unref(r->blob);
	weir_buf_free(&r->mem);
	files_hash_free(r->hash);
}

void
nc_put_data(struct emu_req *req, const void *data, size_t n)
{
	struct nc_req *r = nc_of(req);

	files_hash_add(r->hash, data, n);
	if (r->writer ? emu_writer_add(r->writer, data, n) : weir_buf_add(&r->mem, data, n))
		nc_error(req, r->writer ? 500 : 413, "Exception", "The body cannot be stored");
}

/* Folders on the way to the target, when the client asks the server to make them. */
static struct nc_node *
files_auto_mkcol(struct emu_req *req, const struct nc_path *p)
{
	struct nc_node *dir = nc_root(p->area), *next;

	for (size_t i = 0; i + 1 < p->n; i++, dir = next) {
		next = nc_child(dir, p->seg[i]);
		if (next && !next->is_dir)
			return NULL;
		if (!next && !nc_name_ok(req, p->seg[i]))
			return NULL;
		if (!next)
			next = nc_make(dir, p->seg[i], true);
	}
	return dir;
}

/* Everything that forbids this PUT, whatever its body. Under nc_lock. *dir: where the file goes (NULL: to be made). */
static bool
files_may_put(struct emu_req *req, struct nc_node **dir, struct nc_node **there)
{
	const struct nc_path *p = &nc_of(req)->path;
	const char *mkcol = emu_header(req, "X-NC-WebDAV-AutoMkcol");
	bool is_file;

	*there = NULL;
	*dir = p->n ? nc_find_parent(p, &is_file) : NULL;
	if (!p->n) {
		nc_error(req, 409, "Conflict", "PUT is not allowed on non-files.");
		return false;
	}
	if (!nc_name_ok(req, p->seg[p->n - 1]))
		return false;
	if (!*dir && !(mkcol && !strcmp(mkcol, "1") && !is_file)) {
		nc_error(req, 409, "Conflict", "Files can only be created as children of collections");
		return false;
	}
	*there = *dir ? nc_child(*dir, p->seg[p->n - 1]) : NULL;
	if (*there && (*there)->is_dir) {
		nc_error(req, 409, "Conflict", "PUT is not allowed on non-files.");
		return false;
	}
	return nc_may_change(req, *there, false);
}

void
nc_put_begin(struct emu_req *req)
{
	struct nc_node *dir, *there;

	if (emu_header(req, "Content-Range")) {
		nc_error(req, 400, "BadRequest", "Content-Range on PUT requests are forbidden.");
		return;
	}
	pthread_mutex_lock(&nc_lock);
	if (files_may_put(req, &dir, &there) && req->content_length > 0)
		nc_room_for(req, (uint64_t)req->content_length, there ? there->size : 0);
	pthread_mutex_unlock(&nc_lock);
	if (req->is_replied)
		return;
	nc_of(req)->hash = files_hash_new(emu_header(req, "X-Hash"));
	nc_of(req)->writer = emu_writer_new();
	if (!nc_of(req)->writer)
		nc_error(req, 500, "Exception", "cannot make a file in the data folder");
}

bool
nc_apply_headers(struct emu_req *req, struct nc_node *x)
{
	const char *mtime = emu_header(req, "X-OC-MTime"), *sum = emu_header(req, "OC-Checksum");
	char *end;
	long long t;

	free(x->checksum);
	x->checksum = weir_xstrdup(sum);
	if (!mtime)
		return true;
	t = strtoll(mtime, &end, 10);
	if (end == mtime || (*end && *end != '.') || t <= 86400) {
		nc_error(req, 500, "Exception", "X-OC-MTime header must be a valid integer (unix timestamp) greater than 86400");
		return false;
	}
	x->mtime = t;
	emu_out(req, "X-OC-MTime", "accepted");
	return true;
}

static void
files_commit(struct emu_req *req, struct nc_node *dir, struct nc_node *x)
{
	struct nc_req *r = nc_of(req);
	bool is_new = !x;

	if (!dir)
		dir = files_auto_mkcol(req, &r->path);
	if (!dir) {
		if (!req->is_replied)
			nc_error(req, 409, "Conflict", "Files can only be created as children of collections");
		return;
	}
	if (is_new)
		x = nc_make(dir, r->path.seg[r->path.n - 1], false);
	nc_set_content(x, WEIR_STEAL(r->blob));
	if (nc_apply_headers(req, x))
		emu_reply(req, is_new ? 201 : 204);
	nc_changed(x);
	if (req->status >= 300)
		return;
	files_hash_out(req, r->hash);
	nc_out_entity(req, x);
}

void
nc_put_end(struct emu_req *req)
{
	struct nc_req *r = nc_of(req);
	struct nc_node *dir, *there;

	r->blob = emu_writer_end(WEIR_STEAL(r->writer));
	if (!r->blob) {
		nc_error(req, 500, "Exception", "cannot write to the data folder");
		return;
	}
	pthread_mutex_lock(&nc_lock);
	if (files_may_put(req, &dir, &there) && nc_room_for(req, emu_blob_size(r->blob), there ? there->size : 0))
		files_commit(req, dir, there);
	pthread_mutex_unlock(&nc_lock);
}

/* ---- PATCH: have the server compute a checksum ---- */

void
nc_patch(struct emu_req *req)
{
	const char *which = emu_header(req, "X-Recalculate-Hash");
	struct emu_blob *blob = NULL;
	struct nc_hash *h = files_hash_new(which);
	unsigned char sum[32];
	char buf[65536], hex[65];
	unsigned len = 0;
	struct nc_node *x;
	ssize_t n;

	pthread_mutex_lock(&nc_lock);
	x = nc_find(&nc_of(req)->path);
	if (x && !x->is_dir)
		blob = emu_blob_ref(x->blob);
	pthread_mutex_unlock(&nc_lock);
	if (!blob)
		nc_error(req, 404, "NotFound", "File could not be located");
	for (int i = 0; blob && h && i < 3; i++) {
		struct emu_reader *r;

		if (!h->ctx[i] || !strcasecmp(which, "all"))
			continue;
		r = emu_reader_new(blob);
		for (uint64_t off = 0; (n = emu_reader_at(r, buf, sizeof(buf), off)) > 0; off += (uint64_t)n)
			EVP_DigestUpdate(h->ctx[i], buf, (size_t)n);
		emu_reader_free(r);
		EVP_DigestFinal_ex(h->ctx[i], sum, &len);
		weir_hex(sum, len, hex);
		emu_outf(req, "OC-Checksum", "%s:%s", files_algos[i], hex);
		pthread_mutex_lock(&nc_lock);
		x = nc_find(&nc_of(req)->path);
		if (x && x->blob == blob) {
			free(x->checksum);
			x->checksum = weir_xasprintf("%s:%s", files_algos[i], hex);
			nc_changed(x);
		}
		pthread_mutex_unlock(&nc_lock);
		emu_reply(req, 204);
	}
	if (!req->is_replied)
		nc_error(req, 400, "BadRequest", "X-Recalculate-Hash names no known algorithm");
	files_hash_free(h);
	emu_blob_unref(blob);
}

/* ---- MKCOL, DELETE ---- */

void
nc_mkcol(struct emu_req *req)
{
	const struct nc_path *p = &nc_of(req)->path;
	struct nc_node *dir;
	bool is_file;

	if (nc_of(req)->mem.len) {
		nc_error(req, 415, "UnsupportedMediaType", "The request body for the MKCOL request must have an xml Content-Type");
		return;
	}
	pthread_mutex_lock(&nc_lock);
	dir = p->n ? nc_find_parent(p, &is_file) : NULL;
	if (!p->n || (dir && nc_child(dir, p->seg[p->n - 1])))
		nc_error(req, 405, "MethodNotAllowed", "The resource you tried to create already exists");
	else if (!dir)
		nc_error(req, 409, "Conflict", is_file ? "Parent node is not a collection" : "Parent node does not exist");
	else if ((p->area == NC_UPLOADS || nc_name_ok(req, p->seg[p->n - 1])) && nc_may_change(req, NULL, false) && nc_room_for(req, 4096, 0)) {
		struct nc_node *x = nc_make(dir, p->seg[p->n - 1], true);

		if (p->area == NC_UPLOADS && emu_header(req, "Destination")) {
			x->is_v2 = true;
			nc_changed(x);
		}
		emu_outf(req, "OC-FileId", "%08llu" NC_INSTANCE, (unsigned long long)x->id);
		emu_reply(req, 201);
	}
	pthread_mutex_unlock(&nc_lock);
}

static void
files_discard(struct nc_node *x, enum nc_area area)
{
	char *name;

	if (area != NC_FILES || !nc_on(NC_TRASHBIN)) {
		nc_remove(x);
		return;
	}
	name = weir_xasprintf("%s.d%lld-%llu", x->name, (long long)emu_wall_s(), (unsigned long long)x->id);
	nc_move(x, nc_trash, name);
	free(name);
}

void
nc_delete(struct emu_req *req)
{
	const struct nc_path *p = &nc_of(req)->path;
	struct nc_node *x;

	pthread_mutex_lock(&nc_lock);
	x = nc_find(p);
	if (!x)
		nc_error(req, 404, "NotFound", "File could not be located");
	else if (!p->n && p->area != NC_TRASH)
		nc_error(req, 403, "Forbidden", "You may not delete the root");
	else if (x->is_busy)
		nc_error(req, 423, "Locked", "The upload is being assembled");
	else if (nc_may_change(req, x, false)) {
		if (p->n)
			files_discard(x, p->area);
		while (!p->n && x->n)
			nc_remove(x->child[0]);
		emu_reply(req, 204);
	}
	pthread_mutex_unlock(&nc_lock);
}

/* ---- MOVE, COPY ---- */

bool
nc_destination(struct emu_req *req)
{
	const char *h = emu_header(req, "Destination"), *host = emu_header(req, "Host"), *path = h;

	if (!h) {
		nc_error(req, 400, "BadRequest", "The destination header was not supplied");
		return false;
	}
	if (*h != '/') {
		const char *start = strstr(h, "://");

		start = start ? start + 3 : h;
		path = strchr(start, '/');
		if (!path || !host || strncmp(start, host, strlen(host)) || start[strlen(host)] != '/') {
			nc_error(req, 502, "BadGateway", "The Destination is on another server");
			return false;
		}
	}
	if (!strncmp(path, "/_emu/raw/", 10))
		path += strlen("/_emu/raw");
	nc_path_free(&nc_of(req)->dest);
	if (nc_path_parse(path, &nc_of(req)->dest) && nc_of(req)->dest.area != NC_OTHER)
		return true;
	nc_error(req, 403, "Forbidden", "The Destination is outside of this user's files");
	return false;
}

static bool
files_is_below(const struct nc_node *x, const struct nc_node *top)
{
	for (; x; x = x->parent)
		if (x == top)
			return true;
	return false;
}

/* Where a MOVE or COPY may go. Under nc_lock. */
static bool
files_may_move(struct emu_req *req, struct nc_node *x, bool is_move, struct nc_node **dir, struct nc_node **there)
{
	const struct nc_path *to = &nc_of(req)->dest;
	const char *overwrite = emu_header(req, "Overwrite");
	bool is_file = false;

	*dir = to->n ? nc_find_parent(to, &is_file) : NULL;
	*there = *dir ? nc_child(*dir, to->seg[to->n - 1]) : NULL;
	if (!x)
		nc_error(req, 404, "NotFound", "File could not be located");
	else if ((is_move && !x->parent) || !to->n)
		nc_error(req, 403, "Forbidden", "The root cannot be moved or replaced");
	else if (!*dir)
		nc_error(req, is_file ? 415 : 409, is_file ? "UnsupportedMediaType" : "Conflict", "The destination node is not found");
	else if (*there == x)
		nc_error(req, 403, "Forbidden", "Source and destination uri are identical.");
	else if (files_is_below(*dir, x) || files_is_below(x, *there))
		nc_error(req, 409, "Conflict", "The destination may not be part of the same subtree as the source path.");
	else if (!nc_name_ok(req, to->seg[to->n - 1]))
		return false;
	else if (*there && overwrite && !strcasecmp(overwrite, "F"))
		nc_error(req, 412, "PreconditionFailed", "The destination node already exists, and the overwrite header is set to false");
	else
		return nc_may_change(req, x, false) && (is_move || nc_room_for(req, x->size, *there ? (*there)->size : 0));
	return false;
}

static struct nc_node *
files_relocate(struct emu_req *req, struct nc_node *x, bool is_move, struct nc_node *dir, struct nc_node *there)
{
	const char *depth = emu_header(req, "Depth"), *name = nc_of(req)->dest.seg[nc_of(req)->dest.n - 1];
	const char *mtime = emu_header(req, "X-OC-MTime");

	/* As sabre does it: the target goes first, so its file id is lost. */
	if (there)
		files_discard(there, nc_of(req)->dest.area);
	if (is_move)
		nc_move(x, dir, name);
	else
		x = nc_copy(x, dir, name, !depth || strcmp(depth, "0"));
	if (x && mtime && strtoll(mtime, NULL, 10) > 86400) {
		x->mtime = strtoll(mtime, NULL, 10);
		nc_changed(x);
		emu_out(req, "X-OC-MTime", "accepted");
	}
	return x;
}

void
nc_move_copy(struct emu_req *req, bool is_move)
{
	struct nc_node *x, *dir, *there;
	bool lose_reply = false;

	if (!nc_destination(req))
		return;
	pthread_mutex_lock(&nc_lock);
	x = nc_find(&nc_of(req)->path);
	if (files_may_move(req, x, is_move, &dir, &there)) {
		x = files_relocate(req, x, is_move, dir, there);
		if (!x)
			nc_error(req, 500, "Exception", "cannot link in the data folder");
		else {
			nc_out_entity(req, x);
			emu_reply(req, there ? 204 : 201);
			lose_reply = is_move && !req->is_raw && emu_take(&nc_switches[NC_MOVE_504_NEXT]);
		}
	}
	pthread_mutex_unlock(&nc_lock);
	if (lose_reply) {
		emu_pairs_free(&req->out);
		emu_reply_text(req, 504, "text/html", "<html><body>504 Gateway Time-out</body></html>");
	}
}
