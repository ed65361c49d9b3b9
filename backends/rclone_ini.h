/* SPDX-License-Identifier: Apache-2.0 */
/* rclone's own configuration, read only: for the storage "rclone" (what is this remote?) and for `weir import rclone`. */
#ifndef WEIR_RCLONE_INI_H
#define WEIR_RCLONE_INI_H
#include "../src/conf/conf.h"
#include "../src/util/err.h"
#include <stdbool.h>
#include <stddef.h>

struct weir_rclone_section { char *name; struct weir_kv *kv; size_t nkv; int line; };
struct weir_rclone_ini { struct weir_rclone_section *v; size_t n; };

/* Where rclone looks when nobody tells it: $RCLONE_CONFIG, $XDG_CONFIG_HOME/rclone/rclone.conf, ~/.config/rclone/rclone.conf,
 * ~/.rclone.conf: the first that is there, else the third. Owned; NULL: no home, or RCLONE_CONFIG is empty (rclone: "no file"). */
char *weir_rclone_ini_path(void);
/* The syntax of goconfig, which rclone reads it with: comments on lines of their own (# ;), `key = value` or `key : value`, keys and values
 * may stand in ` or """ quotes, a section that comes twice is one. CONFIG: encrypted, or not this syntax; names no value. */
enum weir_code weir_rclone_ini_parse(const char *name, const char *text, size_t len, struct weir_rclone_ini **out, struct weir_err *);
enum weir_code weir_rclone_ini_load(const char *path, struct weir_rclone_ini **out, struct weir_err *);
void weir_rclone_ini_free(struct weir_rclone_ini *);	/* zeroes the values */
void weir_rclone_ini_freep(struct weir_rclone_ini **);
const struct weir_rclone_section *weir_rclone_ini_section(const struct weir_rclone_ini *, const char *name);
const char *weir_rclone_ini_get(const struct weir_rclone_section *, const char *key);	/* NULL: not there, or empty */
/* Is it something nobody should see: a password, a token, a key? */
bool weir_rclone_ini_is_secret(const char *key);
/* Does NAME:PATH, or a connection string (":s3,key=value:bucket"), hold a secret? It would stand on a command line. */
bool weir_rclone_remote_has_secret(const char *remote);

/* What `rclone obscure` hides (fs/config/obscure of rclone): AES-256-CTR under a key that everybody knows, the IV first, in base64url
 * without padding. Owned, weir_secret_free(). PROTO when it is not such a text. */
enum weir_code weir_rclone_reveal(const char *obscured, char **out, struct weir_err *);
char *weir_rclone_obscure(const char *plain);	/* the other way; owned; NULL when the machine has no random bytes or no memory */

#endif
