/* SPDX-License-Identifier: Apache-2.0 */
/* PUT. The body goes into a hidden file in the same folder, which takes the place of the old one only when it is whole and its checksum is right: a reader sees
 * the old file or the new one, a client that vanishes leaves nothing, and a worker that dies leaves a hidden file that its successor removes (the table knows it).
 * weir's uploads know a rename over a file: nothing is sent twice. Only where the quota has no room for both is a file overwritten in place, by one that is
 * not longer. */
#include "config.h"

#include "impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

struct front_put {
	struct front_new to;
	bool is_in_place, is_replacing, is_begun;
	char *name;
	char *buf;			/* FRONT_BLOCK */
	size_t fill;
	int chunk_fd;			/* a chunk of an upload; -1 */
	enum weir_code code;		/* the first failure; the rest of the body is read and forgotten */
	struct weir_digest *digest;
	char want[129];			/* hex, lower case */
};

bool
front_is_hidden(const char *name)
{
	return strncmp(name, FRONT_TEMP_PREFIX, strlen(FRONT_TEMP_PREFIX)) == 0;
}

int64_t
front_header_mtime(struct front_req *req)
{
	return front_mtime_parse(front_header(req, "X-OC-Mtime"));
}

/* ---- a new file beside the old one ---- */

static struct front_temp *
temp_note(struct front_share *share, uint64_t parent, const char *name)
{
	struct front_temp *t = NULL;

	pthread_mutex_lock(&share->front->mu);
	for (size_t i = 0; i < FRONT_TEMPS && t == NULL; i++)
		if (share->slot->temps[i].parent == 0)
			t = &share->slot->temps[i];
	if (t != NULL) {
		snprintf(t->name, sizeof(t->name), "%s", name);
		t->parent = parent;
	}
	pthread_mutex_unlock(&share->front->mu);
	return t;
}

static void
temp_strike(struct front_share *share, struct front_temp *t)
{
	pthread_mutex_lock(&share->front->mu);
	t->parent = 0;
	pthread_mutex_unlock(&share->front->mu);
}

void
front_temps_clear(struct front_share *share)
{
	struct front_req nobody = {.share = share, .fd = -1};

	for (size_t i = 0; i < FRONT_TEMPS; i++) {
		struct front_temp *t = &share->slot->temps[i];

		if (t->parent != 0)
			front_unlink(&nobody, t->parent, t->name, false);
		t->parent = 0;
	}
}

enum weir_code
front_new_begin(struct front_req *req, uint64_t parent, mode_t mode, struct front_new *n)
{
	struct weir_attr attr;
	char hex[17];
	enum weir_code r;

	*n = (struct front_new){.parent = parent};
	weir_random_hex(hex, sizeof(hex) - 1);
	snprintf(n->name, sizeof(n->name), FRONT_TEMP_PREFIX "%s", hex);
	n->temp = temp_note(req->share, parent, n->name);
	if (n->temp == NULL)
		return WEIR_E_NFILE;
	r = front_create(req, parent, n->name, O_RDWR | O_EXCL, mode, &attr, &n->fh);
	if (r)
		temp_strike(req->share, n->temp);
	else
		n->ino = attr.ino;
	return r;
}

void
front_new_drop(struct front_req *req, struct front_new *n)
{
	struct front_req nobody = {.share = req->share, .fd = -1};

	front_release(req, n->ino, n->fh, O_RDWR);
	front_unlink(&nobody, n->parent, n->name, false);
	temp_strike(req->share, n->temp);
}

/* Flushed before it is renamed: what has the name is safe. */
enum weir_code
front_new_commit(struct front_req *req, struct front_new *n, const char *name, int64_t mtime_ns, struct weir_attr *attr)
{
	enum weir_code r = front_flush(req, n->ino, n->fh);

	if (r == WEIR_OK && mtime_ns != INT64_MIN)
		r = front_set_times(req, n->ino, mtime_ns);
	if (r == WEIR_OK)
		r = front_rename(req, n->parent, n->name, n->parent, name);
	if (r) {
		front_new_drop(req, n);
		return r;
	}
	front_release(req, n->ino, n->fh, O_RDWR);
	temp_strike(req->share, n->temp);
	return attr != NULL ? front_getattr(req, n->ino, attr) : WEIR_OK;
}

/* ---- before the body ---- */

static int
put_refuse(struct front_req *req, int status, const char *why)
{
	req->why = why;
	return status;
}

static int
put_refuse_code(struct front_req *req, enum weir_code code)
{
	return put_refuse(req, front_status_of(code), weir_code_text(code));
}

static int
put_conditions(struct front_req *req, const struct weir_attr *old)
{
	const char *match = front_header(req, "If-Match"), *none = front_header(req, "If-None-Match");
	char etag[80] = "";
	int status;

	if (old != NULL)
		front_etag(old, etag);
	if ((match != NULL && (old == NULL || !front_etag_listed(match, etag, false))) ||
	    (none != NULL && old != NULL && front_etag_listed(none, etag, false)))
		return put_refuse(req, 412, "the file is another version");
	status = front_locks_check(req, req->path.text, old, false, old == NULL);
	return status != 0 ? put_refuse(req, status, status == 423 ? "locked" : "the condition does not hold") : 0;
}

static void
put_digest(struct front_req *req)
{
	static const struct { const char *prefix, *kind; size_t hex; } kinds[] = {{"SHA1:", "sha1", 40}, {"MD5:", "md5", 32}, {"SHA256:", "sha256", 64}};
	const char *sum = front_header(req, "OC-Checksum");
	struct front_put *p = req->put;

	for (size_t i = 0; sum != NULL && i < WEIR_LEN(kinds); i++) {
		size_t skip = strlen(kinds[i].prefix);

		if (strncasecmp(sum, kinds[i].prefix, skip) != 0 || strlen(sum + skip) != kinds[i].hex)
			continue;
		for (size_t k = 0; k < kinds[i].hex; k++) {
			char ch = sum[skip + k];

			p->want[k] = ch >= 'A' && ch <= 'F' ? (char)(ch | 0x20) : ch;
		}
		p->digest = weir_digest_new(kinds[i].kind);
		return;
	}
}

/* Where the quota has no room for a second file: over the old one, if that is not shorter. */
static bool
put_must_overwrite(struct front_req *req, uint64_t parent, const struct weir_attr *old)
{
	const char *length = front_header(req, "Content-Length");
	unsigned long long len = length != NULL ? strtoull(length, NULL, 10) : 0;
	struct weir_op op = {.kind = WEIR_OP_STATFS, .ino = parent};

	if (old == NULL || length == NULL || len > old->size)
		return false;
	return front_call(req->share, req->fd, &op) == WEIR_OK && op.statfs.bavail * op.statfs.bsize < len;
}

static int
put_open(struct front_req *req, const struct front_node *node, const struct weir_attr *old)
{
	struct front_put *p = req->put;
	enum weir_code r = front_may_change(req, node->parent);

	if (r == WEIR_OK && old != NULL && !front_may(req, old, FRONT_MAY_WRITE))
		r = WEIR_E_ACCES;
	if (r)
		return put_refuse_code(req, r);
	p->is_replacing = old != NULL;
	p->is_in_place = put_must_overwrite(req, node->parent, old);
	if (p->is_in_place) {
		p->to.ino = old->ino;
		r = front_open(req, old->ino, O_WRONLY | O_TRUNC, &p->to.fh);
	} else
		r = front_new_begin(req, node->parent, old != NULL ? old->mode & 0777 : 0644, &p->to);
	p->is_begun = r == WEIR_OK;
	return r == WEIR_OK ? 0 : put_refuse_code(req, r);
}

static int
put_begin_file(struct front_req *req)
{
	struct front_node node;
	const struct weir_attr *old;
	enum weir_code r = front_walk(req, &req->path, true, &node);
	int status;

	old = r == WEIR_OK ? &node.attr : NULL;
	if (r == WEIR_E_NOENT && node.parent == 0)
		status = put_refuse(req, 409, "the folder above is not there");
	else if (r != WEIR_OK && r != WEIR_E_NOENT)
		status = put_refuse_code(req, r);
	else if (old != NULL && !S_ISREG(old->mode))
		status = put_refuse(req, 405, "there is no file of this name, but something else");
	else if (front_is_hidden(node.name))
		status = put_refuse_code(req, WEIR_E_ACCES);
	else if ((status = put_conditions(req, old)) == 0)
		status = put_open(req, &node, old);
	req->put->name = weir_xstrdup(node.name);
	front_node_free(&node);
	return status;
}

int
front_put_begin(struct front_req *req)
{
	const char *length = front_header(req, "Content-Length");
	int status;

	req->put = weir_xcalloc(1, sizeof(*req->put));
	req->put->chunk_fd = -1;
	if (front_header(req, "Content-Range") != NULL)
		return put_refuse(req, 400, "a part of a file cannot be put");
	if (req->is_upload) {
		status = front_chunk_begin(req, length != NULL ? strtoull(length, NULL, 10) : 0, &req->put->chunk_fd);
		if (status != 0)
			return put_refuse(req, status, status == 507 ? "no space left for the parts of this upload" : "no such upload");
	} else if ((status = put_begin_file(req)) != 0)
		return status;
	put_digest(req);
	req->put->buf = malloc(FRONT_BLOCK);
	return req->put->buf != NULL ? 0 : put_refuse(req, 503, "out of memory");
}

/* ---- the body ---- */

static void
put_drain(struct front_req *req)
{
	struct front_put *p = req->put;

	if (p->fill == 0 || p->code != WEIR_OK)
		return;
	if (p->digest != NULL)
		weir_digest_add(p->digest, p->buf, p->fill);
	if (p->chunk_fd >= 0)
		p->code = weir_pwrite_full(p->chunk_fd, p->buf, p->fill, (off_t)p->to.off) == 0 ? WEIR_OK : weir_code_from_errno(errno);
	else
		p->code = front_write(req, p->to.ino, p->to.fh, p->buf, p->fill, p->to.off);
	p->to.off += p->fill;
	p->fill = 0;
}

void
front_put_data(struct front_req *req, const char *data, size_t len)
{
	struct front_put *p = req->put;

	while (len > 0 && p->code == WEIR_OK) {
		size_t n = FRONT_BLOCK - p->fill < len ? FRONT_BLOCK - p->fill : len;

		memcpy(p->buf + p->fill, data, n);
		p->fill += n;
		data += n;
		len -= n;
		if (p->fill == FRONT_BLOCK)
			put_drain(req);
	}
}

/* ---- behind the body ---- */

static bool
put_is_right(struct front_put *p)
{
	unsigned char sum[64];
	char hex[129];
	size_t n;

	if (p->digest == NULL)
		return true;
	n = weir_digest_end(WEIR_STEAL(p->digest), sum);
	weir_hex(sum, n, hex);
	return strcmp(hex, p->want) == 0;
}

static enum MHD_Result
put_answer(struct front_req *req, const struct weir_attr *a)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
	char etag[80], id[32];

	if (response == NULL)
		return MHD_NO;
	if (a != NULL) {
		front_etag(a, etag);
		snprintf(id, sizeof(id), "%llu", (unsigned long long)a->ino);
		MHD_add_response_header(response, "ETag", etag);
		MHD_add_response_header(response, "OC-ETag", etag);
		MHD_add_response_header(response, "OC-FileId", id);
	}
	if (front_header_mtime(req) != INT64_MIN)
		MHD_add_response_header(response, "X-OC-MTime", "accepted");
	return front_queue(req, req->put->is_replacing ? 204 : 201, response);
}

static enum weir_code
put_commit(struct front_req *req, struct weir_attr *a)
{
	struct front_put *p = req->put;
	int64_t mtime_ns = front_header_mtime(req);
	enum weir_code r;

	p->is_begun = false;
	if (!p->is_in_place)
		return front_new_commit(req, &p->to, p->name, mtime_ns, a);
	r = front_flush(req, p->to.ino, p->to.fh);
	if (r == WEIR_OK && mtime_ns != INT64_MIN)
		r = front_set_times(req, p->to.ino, mtime_ns);
	front_release(req, p->to.ino, p->to.fh, O_WRONLY);
	weir_fs_tell(req->share->front->opt.fs, p->to.ino, NULL, true);
	return r == WEIR_OK ? front_getattr(req, p->to.ino, a) : r;
}

enum MHD_Result
front_put_end(struct front_req *req)
{
	struct front_put *p = req->put;
	struct weir_attr a;
	enum weir_code r;

	put_drain(req);
	if (p->code != WEIR_OK)
		return front_answer_code(req, p->code);
	if (!put_is_right(p))
		return front_answer(req, 400, "what arrived does not match its OC-Checksum");
	if (p->chunk_fd >= 0)
		return put_answer(req, NULL);
	r = put_commit(req, &a);
	return r == WEIR_OK ? put_answer(req, &a) : front_answer_code(req, r);
}

void
front_put_free(struct front_req *req)
{
	struct front_put *p = req->put;

	if (p == NULL)
		return;
	if (p->is_begun && p->is_in_place)
		front_release(req, p->to.ino, p->to.fh, O_WRONLY);
	else if (p->is_begun)
		front_new_drop(req, &p->to);
	weir_closep(&p->chunk_fd);
	weir_digest_free(p->digest);
	free(p->buf);
	free(p->name);
	free(p);
	req->put = NULL;
}
