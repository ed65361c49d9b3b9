/* SPDX-License-Identifier: Apache-2.0 */
/* weir.conf as a typed value: weir.conf(5) is its manual. Read whole and checked whole before anything acts on it;
 * every error names file and line. Immutable after loading, so all threads may read it. */
#ifndef WEIR_CONF_H
#define WEIR_CONF_H
#include "../util/err.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct weir_kv { char *key, *value; int line; };

struct weir_remote_conf {
	char *name;			/* of [remote NAME]: letters, digits, - _ . */
	char *type;			/* "s3", "webdav", … */
	int line;
	uint64_t quota_bytes;		/* 0: none of its own */
	bool is_through;		/* write = through */
	bool is_readonly;
	uint64_t bandwidth_up, bandwidth_down;	/* bytes/s, 0: no limit */
	int64_t timeout_ms;		/* 30 s: down when nothing at all came for so long */
	int64_t patience_ms;		/* 5 min: how long an operation waits while the remote answers */
	int64_t list_age_ms;		/* 30 s: how old a listing may be where changes are not pushed */
	char *proxy, *ca_file;		/* NULL: the system's */
	struct weir_kv *kv;		/* keys of the storage itself (url, bucket, …), expanded (~ and $NAME), but for secrets (what
					 * has a KEY_file beside it) and commands */
	size_t nkv;
	const struct weir_conf *conf;	/* back pointer, for messages */
};

struct weir_place {
	char *remote;			/* name of a remote */
	char *folder;			/* in it, "" = its root; no leading or trailing slash */
};

#define WEIR_POOL_MAX 32u
enum weir_pool_policy {			/* where a new file of a pool goes */
	WEIR_POOL_FIRST,		/* to the first member with room */
	WEIR_POOL_MOST_FREE,		/* to the one with the most room */
	WEIR_POOL_SIBLINGS,		/* to one that has the file's directory already (of several: the one with the most room) */
};

struct weir_bind {			/* one line of [namespace] */
	char *path;			/* normalised: "/" or "/a/b", no trailing slash */
	struct weir_place *places;	/* one, or the members of a pool in their order */
	size_t nplaces;
	bool is_pool;
	enum weir_pool_policy policy;
	uint64_t reserve_bytes;		/* a member with less room than this gets no new files while others have more; UINT64_MAX: 1 % of what
					 * it may hold, at most 1 GiB */
	int line;
};

/* A section whose meaning belongs to another room: [access], [level NAME], … (all of them: section.c). Its keys are known ones and stand once; values are
 * expanded text, but for commands. */
struct weir_section_conf {
	const char *kind;		/* "level" */
	char *name;			/* "basic"; "" where the kind takes none */
	struct weir_kv *kv;
	size_t nkv;
	int line;
	const struct weir_conf *conf;	/* back pointer, for messages */
};

struct weir_conf {
	char *path;			/* absolute path of the file; NULL when there is none */
	char *name;			/* its base name without .conf: part of the default cache_dir */
	char *mountpoint;		/* absolute; where 'weir mount' mounts when it is told no place. NULL: not given */
	char *cache_dir;		/* absolute; default ~/.cache/weir/HOSTNAME-NAME (root: /var/cache/weir/NAME) */
	uint64_t cache_bytes;		/* 0: half of what is free there (decided when the store opens) */
	uint64_t quota_bytes;		/* default 2 000 000 000 000; 0: none */
	bool xattr;			/* default no */
	struct weir_remote_conf *remotes;
	size_t nremotes;
	struct weir_bind *binds;	/* without [namespace]: /NAME for every remote. Overlaps inside one remote are refused, but a pool
					 * may show once more what others show, and no place twice by itself */
	size_t nbinds;
	struct weir_section_conf *sections;	/* in the file's order */
	size_t nsections;
};

/* What a storage type accepts: name and its keys (NULL-terminated). Given by the caller, so that conf knows no storage. */
struct weir_conf_type { const char *name; const char *const *keys; };

/* path NULL: ~/.config/weir/weir.conf, then /etc/weir/weir.conf; none there: WEIR_E_NOENT. A file that others can read
 * while it holds a secret in the clear (password, secret_key, …) is refused: WEIR_E_CONFIG. */
enum weir_code weir_conf_load(const char *path, const struct weir_conf_type *types, size_t ntypes,
    struct weir_conf **out, struct weir_err *);
/* The same from memory (tests, fuzzing); name stands in messages. */
enum weir_code weir_conf_parse(const char *name, const char *text, size_t len,
    const struct weir_conf_type *types, size_t ntypes, struct weir_conf **out, struct weir_err *);
void weir_conf_free(struct weir_conf *);
void weir_conf_freep(struct weir_conf **);

/* Do the two places show some of the same files: one folder, or one inside the other? */
bool weir_conf_overlap(const struct weir_place *, const struct weir_place *);
const char *weir_conf_policy(enum weir_pool_policy);	/* as the configuration writes it */

const struct weir_remote_conf *weir_conf_remote(const struct weir_conf *, const char *name);	/* NULL: none */
/* Value of a storage key; NULL when it is not there. Borrowed. */
const char *weir_conf_get(const struct weir_remote_conf *, const char *key);
/* Required key: WEIR_E_CONFIG with "FILE:LINE: remote 'x' needs 'url'". */
enum weir_code weir_conf_need(const struct weir_remote_conf *, const char *key, const char **out, struct weir_err *);
/* yes/no/true/false/on/off/1/0; def when not there. */
enum weir_code weir_conf_bool(const struct weir_remote_conf *, const char *key, bool def, bool *out, struct weir_err *);
/* A secret: KEY itself, KEY_file (0600 demanded; first line) or KEY_command (sh -c, first line of its output). Owned, free with
 * weir_secret_free. *out = NULL and WEIR_OK when none of the three is given. */
enum weir_code weir_conf_secret(const struct weir_remote_conf *, const char *key, char **out, struct weir_err *);
/* Where weir keeps something of a remote's beside the configuration: FOLDER/REMOTE ENDING; where that is not called weir.conf, FOLDER/FILE:REMOTE ENDING, because
 * two configurations in one folder may have a remote of one name each. Owned; NULL: path (of the configuration) is NULL or has no folder. */
char *weir_conf_beside(const char *path, const char *folder, const char *remote, const char *ending);
/* Where the tokens of a remote lie that people sign in to: token_file, else beside the configuration. Absolute, owned. CONFIG: neither is known. */
enum weir_code weir_conf_token_file(const struct weir_remote_conf *, char **out, struct weir_err *);

/* The first section of that kind behind `after` (NULL: of all); name NULL: any. NULL: there is none (more). */
const struct weir_section_conf *weir_conf_section(const struct weir_conf *, const char *kind, const char *name, const struct weir_section_conf *after);
/* Value of a key; NULL when it is not there, or the section itself is NULL. Borrowed. */
const char *weir_conf_section_get(const struct weir_section_conf *, const char *key);
/* Sets and returns WEIR_E_CONFIG: "FILE:LINE: [level basic] rights: …". key NULL: about the whole section. */
enum weir_code weir_conf_section_bad(const struct weir_section_conf *, const char *key, struct weir_err *, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Reads such sections alone (no remotes, no namespace, no cache_dir). Others are skipped unread; with is_only
 * all but those of an access policy are errors. */
enum weir_code weir_conf_load_sections(const char *path, bool is_only, struct weir_conf **out, struct weir_err *);

#endif
