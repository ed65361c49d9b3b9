/* SPDX-License-Identifier: Apache-2.0 */
/* Who one is at the Dropbox emulator: account, space, namespaces, the Dropbox-API-Path-Root header. */
#include "config.h"
#include "drop.h"
#include "oauth.h"
#include <inttypes.h>
#include <string.h>

static uint64_t
users_root_ns(void)
{
	return drop_on(DROP_TEAM) ? DROP_TOP_NS : DROP_HOME_NS;
}

json_t *
drop_root_info(void)
{
	char root[24], home[24];
	json_t *o;

	snprintf(root, sizeof(root), "%" PRIu64, users_root_ns());
	snprintf(home, sizeof(home), "%" PRIu64, DROP_HOME_NS);
	o = json_pack("{s:s s:s s:s}", ".tag", drop_on(DROP_TEAM) ? "team" : "user", "root_namespace_id", root, "home_namespace_id", home);
	if (drop_on(DROP_TEAM))
		json_object_set_new(o, "home_path", json_string("/" DROP_HOME_NAME));
	return o;
}

/* A team folder is a namespace too, numbered after its folder. */
struct drop_node *
drop_namespace(uint64_t ns)
{
	if (ns == DROP_HOME_NS)
		return drop_home;
	if (!drop_on(DROP_TEAM))
		return NULL;
	if (ns == DROP_TOP_NS)
		return drop_top;
	for (size_t i = 0; i < drop_top->n; i++)
		if (drop_top->child[i]->is_dir && drop_top->child[i]->id + DROP_TOP_NS == ns)
			return drop_top->child[i];
	return NULL;
}

/* ---- the path root ---- */

static bool
root_number(const json_t *o, const char *name, uint64_t *ns)
{
	const char *s = json_string_value(json_object_get(o, name));

	if (!s || !*s || strspn(s, "0123456789") != strlen(s))
		return false;
	*ns = strtoull(s, NULL, 10);
	return true;
}

static struct drop_node *
root_of(struct emu_req *req, const json_t *o)
{
	const char *tag = drop_tag(o);
	struct drop_node *root = NULL;
	uint64_t ns;

	if (tag && !strcmp(tag, "home"))
		return drop_home;
	if (tag && !strcmp(tag, "root") && root_number(o, "root", &ns)) {
		if (ns == users_root_ns())
			return drop_on(DROP_TEAM) ? drop_top : drop_home;
		drop_fail(req, 422, drop_under("invalid_root", drop_root_info()));
	} else if (tag && !strcmp(tag, "namespace_id") && root_number(o, "namespace_id", &ns)) {
		root = drop_namespace(ns);
		if (!root)
			drop_fail(req, 422, drop_tags("no_permission", NULL));
	} else {
		drop_bad(req, "HTTP header \"Dropbox-API-Path-Root\": could not decode input as a path root");
	}
	return root;
}

struct drop_node *
drop_path_root(struct emu_req *req)
{
	const char *head = emu_header(req, "Dropbox-API-Path-Root");
	struct drop_node *root;
	json_t *o;

	if (drop_take(req, DROP_BADROOT_NEXT)) {
		drop_fail(req, 422, drop_under("invalid_root", drop_root_info()));
		return NULL;
	}
	if (!head)
		return drop_home;
	o = json_loads(head, JSON_DECODE_ANY, NULL);
	root = root_of(req, o);
	json_decref(o);
	return root;
}

/* ---- routes ---- */

void
drop_account(struct emu_req *req)
{
	json_t *o = json_pack("{s:s s:{s:s s:s s:s s:s s:s} s:s s:b s:b s:s s:s s:s s:b s:{s:s}}", "account_id", DROP_ACCOUNT, "name", "given_name", "Emma",
	    "surname", "Emulator", "familiar_name", "Emma", "display_name", DROP_HOME_NAME, "abbreviated_name", "EE", "email", "emma@example.org",
	    "email_verified", true, "disabled", false, "country", "ES", "locale", "en", "referral_link", "https://example.org/r", "is_paired", false,
	    "account_type", ".tag", drop_on(DROP_TEAM) ? "business" : "basic");

	if (drop_on(DROP_TEAM)) {
		json_object_set_new(o, "team", json_pack("{s:s s:s}", "id", "dbtid:AAFdgehTzw7WlXhZJsbGCLePe8RvQGYDr-I", "name", "The Emulators"));
		json_object_set_new(o, "team_member_id", json_string("dbmid:AAHhy7WsR0x-u4ZCqiDl5Fz5zvuL3kmspwU"));
	}
	json_object_set_new(o, "root_info", drop_root_info());
	drop_ok(req, o);
}

void
drop_space(struct emu_req *req)
{
	json_int_t all = (json_int_t)emu_value(&drop_switches[DROP_QUOTA]), used = (json_int_t)drop_used;
	json_t *a;

	if (drop_on(DROP_TEAM))
		a = json_pack("{s:s s:I s:I s:i s:{s:s} s:I}", ".tag", "team", "used", used, "allocated", all, "user_within_team_space_allocated", 0,
		    "user_within_team_space_limit_type", ".tag", "off", "user_within_team_space_used_cached", (json_int_t)drop_bytes(drop_home));
	else
		a = json_pack("{s:s s:I}", ".tag", "individual", "allocated", all);
	drop_ok(req, json_pack("{s:I s:o}", "used", used, "allocation", a));
}

void
drop_check_user(struct emu_req *req)
{
	const char *query = drop_arg_string(req, "query");

	drop_ok(req, json_pack("{s:s}", "result", query ? query : ""));
}

void
drop_revoke(struct emu_req *req)
{
	emu_oauth_revoke(req);
	drop_ok(req, NULL);
}

void
drop_emu_kind(struct emu_req *req)
{
	static const char *const kinds[] = { [DROP_PLAIN] = "plain", [DROP_PAPER] = "paper", [DROP_RESTRICTED] = "restricted", [DROP_SYMLINK] = "symlink" };
	const char *want = drop_arg_string(req, "kind");
	struct drop_at at;
	size_t i;

	drop_find(drop_of(req)->root, drop_arg_string(req, "path"), &at);
	for (i = 0; i < WEIR_LEN(kinds) && strcmp(kinds[i], want); i++)
		continue;
	if (!at.node || at.node->is_dir || i == WEIR_LEN(kinds)) {
		drop_bad(req, "no such file, or no such kind");
	} else {
		drop_set_kind(at.node, (enum drop_kind)i);
		drop_ok(req, drop_meta(at.node, at.root, true));
	}
	drop_at_free(&at);
}
