/* SPDX-License-Identifier: Apache-2.0 */
/* The routes the Dropbox emulator knows and the fields their arguments may have (from Dropbox's public interface description). */
#include "config.h"
#include "drop.h"
#include <string.h>

#define END { NULL, DROP_ANY, false, 0, 0, NULL, NULL }
#define STRING(n) { n, DROP_STRING, true, 0, 0, NULL, NULL }
#define PATH(n, kind) { n, DROP_PATH_##kind, true, 0, 0, NULL, NULL }
#define FLAG(n) { n, DROP_BOOL, false, 0, 0, NULL, NULL }
#define ANY(n) { n, DROP_ANY, false, 0, 0, NULL, NULL }
#define UINT(n, need, a, b) { n, DROP_UINT, need, a, b, NULL, NULL }
#define TAG(n, list) { n, DROP_TAG, false, 0, 0, NULL, list }
#define HASH(n) { n, DROP_HASH, false, 0, 0, NULL, NULL }
#define STRUCT(n, fields) { n, DROP_STRUCT, true, 0, 0, fields, NULL }
#define LIST(n, fields, most) { n, DROP_LIST, true, 0, most, fields, NULL }

static const struct drop_field arg_list[] = {
	PATH("path", LIST), FLAG("recursive"), FLAG("include_media_info"), FLAG("include_deleted"), FLAG("include_has_explicit_shared_members"),
	FLAG("include_mounted_folders"), UINT("limit", false, 1, 2000), ANY("shared_link"), ANY("include_property_groups"),
	FLAG("include_non_downloadable_files"), FLAG("include_restorable_info"), END
};
static const struct drop_field arg_cursor[] = { STRING("cursor"), END };
static const struct drop_field arg_longpoll[] = { STRING("cursor"), UINT("timeout", false, 30, 480), END };
static const struct drop_field arg_stat[] = {
	PATH("path", READ), FLAG("include_media_info"), FLAG("include_deleted"), FLAG("include_has_explicit_shared_members"),
	ANY("include_property_groups"), END
};
static const struct drop_field arg_download[] = { PATH("path", READ), { "rev", DROP_REV, false, 0, 0, NULL, NULL }, END };
static const struct drop_field arg_export[] = { PATH("path", READ), { "export_format", DROP_STRING, false, 0, 0, NULL, NULL }, END };
static const struct drop_field arg_read[] = { PATH("path", READ), END };
#define COMMIT PATH("path", WRITE_ID), { "mode", DROP_MODE, false, 0, 0, NULL, NULL }, FLAG("autorename"), { "client_modified", DROP_TIME, false, 0, 0, NULL, NULL }, \
	FLAG("mute"), ANY("property_groups"), FLAG("strict_conflict")
static const struct drop_field arg_commit[] = { COMMIT, END };
static const struct drop_field arg_upload[] = { COMMIT, HASH("content_hash"), END };
#define SESSION_TYPES "sequential|concurrent"
static const struct drop_field arg_start[] = { FLAG("close"), TAG("session_type", SESSION_TYPES), HASH("content_hash"), END };
static const struct drop_field arg_start_batch[] = { TAG("session_type", SESSION_TYPES), UINT("num_sessions", true, 1, 1000), END };
static const struct drop_field arg_place[] = { STRING("session_id"), UINT("offset", true, 0, 0), END };
static const struct drop_field arg_append[] = { STRUCT("cursor", arg_place), FLAG("close"), HASH("content_hash"), END };
static const struct drop_field arg_append_entry[] = { STRUCT("cursor", arg_place), UINT("length", true, 0, 0), FLAG("close"), END };
static const struct drop_field arg_append_batch[] = { LIST("entries", arg_append_entry, 1000), HASH("content_hash"), END };
static const struct drop_field arg_finish[] = { STRUCT("cursor", arg_place), STRUCT("commit", arg_commit), HASH("content_hash"), END };
static const struct drop_field arg_finish_entry[] = { STRUCT("cursor", arg_place), STRUCT("commit", arg_commit), END };
static const struct drop_field arg_finish_batch[] = { LIST("entries", arg_finish_entry, 1000), END };
static const struct drop_field arg_mkdir[] = { PATH("path", WRITE), FLAG("autorename"), END };
static const struct drop_field arg_delete[] = { PATH("path", WRITE_ID), { "parent_rev", DROP_REV, false, 0, 0, NULL, NULL }, END };
static const struct drop_field arg_delete_batch[] = { LIST("entries", arg_delete, 1000), END };
static const struct drop_field arg_job[] = { STRING("async_job_id"), END };
static const struct drop_field arg_relocate[] = {
	PATH("from_path", WRITE_ID), PATH("to_path", WRITE_ID), FLAG("allow_shared_folder"), FLAG("autorename"), FLAG("allow_ownership_transfer"), END
};
static const struct drop_field arg_relocate_entry[] = { PATH("from_path", WRITE_ID), PATH("to_path", WRITE_ID), END };
static const struct drop_field arg_relocate_batch[] = {
	LIST("entries", arg_relocate_entry, 1000), FLAG("autorename"), FLAG("allow_ownership_transfer"), END
};
static const struct drop_field arg_revisions[] = { PATH("path", ID), TAG("mode", "path|id"), UINT("limit", false, 1, 100), ANY("before_rev"), END };
static const struct drop_field arg_restore[] = { PATH("path", WRITE), { "rev", DROP_REV, true, 0, 0, NULL, NULL }, END };
static const struct drop_field arg_query[] = { { "query", DROP_STRING, false, 0, 0, NULL, NULL }, END };
static const struct drop_field arg_kind[] = { PATH("path", WRITE_ID), STRING("kind"), END };

#define READS "files.metadata.read"
#define GETS "files.content.read"
#define WRITES "files.content.write"
static const struct drop_route routes[] = {
	{ "files/list_folder", READS, DROP_RPC, arg_list, drop_list_folder, false, false },
	{ "files/list_folder/continue", READS, DROP_RPC, arg_cursor, drop_list_continue, false, false },
	{ "files/list_folder/get_latest_cursor", READS, DROP_RPC, arg_list, drop_list_latest, false, false },
	{ "files/list_folder/longpoll", NULL, DROP_NOTIFY, arg_longpoll, drop_longpoll, true, false },
	{ "files/get_metadata", READS, DROP_RPC, arg_stat, drop_get_metadata, false, false },
	{ "files/download", GETS, DROP_DOWNLOAD, arg_download, drop_download, false, false },
	{ "files/export", GETS, DROP_DOWNLOAD, arg_export, drop_export, false, false },
	{ "files/get_temporary_link", GETS, DROP_RPC, arg_read, drop_temporary_link, false, false },
	{ "files/upload", WRITES, DROP_UPLOAD, arg_upload, drop_upload, false, false },
	{ "files/upload_session/start", WRITES, DROP_UPLOAD, arg_start, drop_session_start, false, false },
	{ "files/upload_session/start_batch", WRITES, DROP_RPC, arg_start_batch, drop_session_start_batch, false, false },
	{ "files/upload_session/append_v2", WRITES, DROP_UPLOAD, arg_append, drop_session_append, false, false },
	{ "files/upload_session/append_batch", WRITES, DROP_UPLOAD, arg_append_batch, drop_session_append_batch, false, false },
	{ "files/upload_session/finish", WRITES, DROP_UPLOAD, arg_finish, drop_session_finish, false, false },
	{ "files/upload_session/finish_batch_v2", WRITES, DROP_RPC, arg_finish_batch, drop_session_finish_batch, false, false },
	{ "files/upload_session/finish_batch", WRITES, DROP_RPC, arg_finish_batch, drop_session_finish_batch_async, false, false },
	{ "files/upload_session/finish_batch/check", WRITES, DROP_RPC, arg_job, drop_job_check, false, false },
	{ "files/create_folder_v2", WRITES, DROP_RPC, arg_mkdir, drop_create_folder, false, false },
	{ "files/delete_v2", WRITES, DROP_RPC, arg_delete, drop_delete, false, false },
	{ "files/delete_batch", WRITES, DROP_RPC, arg_delete_batch, drop_delete_batch, false, false },
	{ "files/delete_batch/check", WRITES, DROP_RPC, arg_job, drop_job_check, false, false },
	{ "files/move_v2", WRITES, DROP_RPC, arg_relocate, drop_move_v2, false, false },
	{ "files/copy_v2", WRITES, DROP_RPC, arg_relocate, drop_copy_v2, false, false },
	{ "files/move_batch_v2", WRITES, DROP_RPC, arg_relocate_batch, drop_move_batch, false, false },
	{ "files/move_batch/check_v2", WRITES, DROP_RPC, arg_job, drop_job_check, false, false },
	{ "files/copy_batch_v2", WRITES, DROP_RPC, arg_relocate_batch, drop_copy_batch, false, false },
	{ "files/copy_batch/check_v2", WRITES, DROP_RPC, arg_job, drop_job_check, false, false },
	{ "files/list_revisions", READS, DROP_RPC, arg_revisions, drop_list_revisions, false, false },
	{ "files/restore", WRITES, DROP_RPC, arg_restore, drop_restore, false, false },
	{ "users/get_current_account", "account_info.read", DROP_RPC, NULL, drop_account, false, false },
	{ "users/get_space_usage", "account_info.read", DROP_RPC, NULL, drop_space, false, false },
	{ "check/user", NULL, DROP_RPC, arg_query, drop_check_user, false, false },
	{ "auth/token/revoke", NULL, DROP_RPC, NULL, drop_revoke, false, false },
	{ "emu/kind", NULL, DROP_RPC, arg_kind, drop_emu_kind, false, true },
};
static const struct drop_route route_link = { "/temporary link", NULL, DROP_PLAIN_GET, NULL, drop_link_get, false, false };

const struct drop_route *
drop_route_of(const char *name)
{
	if (!strncmp(name, "/apitl/1/", 9))
		return &route_link;
	for (size_t i = 0; i < WEIR_LEN(routes); i++)
		if (!strcmp(routes[i].name, name))
			return &routes[i];
	return NULL;
}
