/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of the storage "nextcloud" only. */
#ifndef WEIR_NEXTCLOUD_H
#define WEIR_NEXTCLOUD_H
#include <jansson.h>

#include "dav.h"

struct weir_nc {			/* settled by the dialect's ready(), read-only afterwards */
	char *base_plain;		/* path of the server below its host, decoded; "" mostly */
	char *folder;			/* our root in the user's files, no slashes at the ends; "" */
	char *uid;			/* the internal user id, not the login name */
	struct weir_nc_push *push;	/* nextcloud_push.c; NULL: the configuration wants none */
	char **names, **basenames, **extensions, **characters;	/* forbidden, NULL-terminated; NULL: not told */
};

/* A JSON answer of a path below the server's base ("ocs/v2.php/…"). *out NULL with WEIR_OK: the answer is something else, its status tells. c is
 * freed by the caller. */
enum weir_code weir_nc_json(struct weir_dav *, const struct weir_ctx *, const char *what, json_t **out, struct weir_dav_call *c, struct weir_err *);
json_t *weir_nc_dig(json_t *, const char *const *keys);	/* borrowed; NULL: not there */

/* ---- nextcloud_push.c: the app notify_push ---- */
struct weir_nc_push *weir_nc_push_new(void);
void weir_nc_push_free(struct weir_nc_push *);		/* before the pool goes; NULL is fine */
enum weir_code weir_nc_listen(struct weir_backend *, const struct weir_ctx *, int64_t wait_ms, bool *is_new, weir_change_fn *, void *arg,
    struct weir_err *);
/* May a WebSocket be opened at this address of a server whose configured url is that? CONFIG with the reason. is_secret: a password would be sent
 * there, not a token that is good for notifications alone. */
enum weir_code weir_nc_push_may(const char *url, const char *websocket, bool is_secret, struct weir_err *);

enum weir_code weir_nc_upload_begin(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, uint64_t size,
    const struct weir_meta *, char **id, struct weir_err *);
enum weir_code weir_nc_upload_part(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, const char *id, uint32_t number,
    struct weir_source *, uint64_t off, uint64_t len, uint64_t total, char **tag, struct weir_err *);
enum weir_code weir_nc_upload_status(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, const char *id,
    enum weir_code (*fn)(void *arg, uint32_t number, uint64_t size, const char *tag), void *arg, struct weir_err *);
enum weir_code weir_nc_upload_commit(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, const char *id,
    const char *const *tags, uint32_t ntags, uint64_t size, const struct weir_meta *, const char *sum, struct weir_stat *, struct weir_err *);
enum weir_code weir_nc_upload_abort(struct weir_backend *, const struct weir_ctx *, const struct weir_where *, const char *id,
    struct weir_err *);

#endif
