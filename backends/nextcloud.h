/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by nextcloud.c and nextcloud_up.c only. */
#ifndef WEIR_NEXTCLOUD_H
#define WEIR_NEXTCLOUD_H
#include "dav.h"

struct weir_nc {			/* settled by the dialect's ready(), read-only afterwards */
	char *base_plain;		/* path of the server below its host, decoded; "" mostly */
	char *folder;			/* our root in the user's files, no slashes at the ends; "" */
	char *uid;			/* the internal user id, not the login name */
	char **names, **basenames, **extensions, **characters;	/* forbidden, NULL-terminated; NULL: not told */
};

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
