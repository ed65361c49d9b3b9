/* SPDX-License-Identifier: Apache-2.0 */
/* What the API has no call for, or what somebody else does: POST /_emu/raw/emu/VERB?…, answered with the file as JSON.
 *   doc       name, parent, type (document, spreadsheet, presentation, drawing, form, …), text, size: a Google document
 *   drive     name, role (reader, commenter, writer, fileOrganizer, organizer): a shared drive
 *   share     name, role, text (a file with it) or none (a folder), owner's: something that is shared with the person
 *   unshare   id: it is not shared any more
 *   twin      id: another object with the same name in the same folder, of the same kind, with text
 *   edit      id, text: new content by somebody else
 *   own       id, by=other|me: whose it is
 *   abuse     id, value: Google takes it for malware, or no more
 * Everything else that others do are requests of the API under /_emu/raw (create, PATCH, DELETE, uploads); with emu_owner=other what is made is theirs. */
#include "config.h"
#include "drive.h"
#include <string.h>

static const char *
seed_text(const struct emu_req *req, const char *name, const char *otherwise)
{
	const char *v = emu_query(req, name);

	return v ? v : otherwise;
}

static enum drive_role
seed_role(const struct emu_req *req, enum drive_role otherwise)
{
	static const char *const names[] = { "none", "reader", "commenter", "writer", "fileOrganizer", "organizer" };
	const char *v = emu_query(req, "role");

	for (size_t i = 0; v && i < WEIR_LEN(names); i++)
		if (!strcmp(names[i], v))
			return (enum drive_role)i;
	return otherwise;
}

static void
seed_content(struct drive_node *x, const char *text, const char *mime)
{
	struct emu_writer *w = emu_writer_new();
	struct emu_blob *blob;
	struct drive_sums sums = { 0 };

	if (!w)
		return;
	emu_writer_add(w, text, strlen(text));
	blob = emu_writer_end(w);
	if (!blob)
		return;
	drive_sum(blob, &sums);
	drive_add_rev(x, blob, &sums, mime, true);
	x->modified_ms = drive_now_ms();
}

static struct drive_node *
seed_doc(struct emu_req *req)
{
	struct drive_node *dir = drive_by_id(seed_text(req, "parent", "root")), *x;
	char mime[128];

	if (!dir)
		return NULL;
	snprintf(mime, sizeof(mime), DRIVE_APPS "%s", seed_text(req, "type", "document"));
	x = drive_new(NULL, seed_text(req, "name", "Untitled document"), mime, dir);
	seed_content(x, seed_text(req, "text", ""), "text/plain");
	x->doc_size = strtoull(seed_text(req, "size", "0"), NULL, 10);
	return x;
}

static struct drive_node *
seed_drive(struct emu_req *req)
{
	char id[64] = "0A";
	struct drive_node *x;

	drive_make_id(id + 2, 11);
	snprintf(id + 13, sizeof(id) - 13, "Uk9PVA");
	x = drive_new(id, seed_text(req, "name", "Shared"), DRIVE_FOLDER, NULL);
	x->is_root = x->is_drive = true;
	x->role = seed_role(req, DRIVE_ORGANIZER);
	return x;
}

static struct drive_node *
seed_share(struct emu_req *req)
{
	const char *text = emu_query(req, "text");
	struct drive_node *x = drive_new(NULL, seed_text(req, "name", "shared"), text ? "text/plain" : DRIVE_FOLDER, NULL);

	x->is_others = true;
	x->role = seed_role(req, DRIVE_WRITER);
	x->shared_ms = drive_now_ms();
	if (text)
		seed_content(x, text, "text/plain");
	return x;
}

static struct drive_node *
seed_twin(struct emu_req *req, const struct drive_node *of)
{
	struct drive_node *x = drive_new(NULL, of->name, of->mime, of->parent);

	if (drive_head(of))
		seed_content(x, seed_text(req, "text", "a twin"), of->mime);
	return x;
}

static struct drive_node *
seed_existing(struct emu_req *req, const char *verb)
{
	struct drive_node *x = drive_by_id(seed_text(req, "id", ""));
	const char *text = seed_text(req, "text", "somebody else's words");

	if (!x)
		return NULL;
	if (!strcmp(verb, "twin"))
		return seed_twin(req, x);
	if (!strcmp(verb, "edit"))
		seed_content(x, text, x->nrev ? x->rev[x->nrev - 1].mime : "text/plain");
	else if (!strcmp(verb, "own"))
		x->is_others = !strcmp(seed_text(req, "by", "other"), "other");
	else if (!strcmp(verb, "abuse"))
		x->is_abusive = strcmp(seed_text(req, "value", "1"), "0") != 0;
	else
		return NULL;
	return x;
}

void
drive_seed(struct emu_req *req)
{
	const char *verb = drive_of(req)->arg[0];
	struct drive_node *x;

	if (!strcmp(verb, "unshare") && (x = drive_by_id(seed_text(req, "id", ""))) && x->shared_ms) {
		drive_lost(x);
		emu_reply(req, 204);
		return;
	}
	x = !strcmp(verb, "doc") ? seed_doc(req) : !strcmp(verb, "drive") ? seed_drive(req) : !strcmp(verb, "share") ? seed_share(req) :
	    seed_existing(req, verb);
	if (!x) {
		drive_fail(req, 404, "notFound", NULL, "doc, drive, share, unshare, twin, edit, own, abuse; and an id that is there");
		return;
	}
	drive_changed(x, true);
	drive_ok_file(req, x);
}
