/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the catalogue share.
 *
 *	settings.c	[catalogue] of the configuration
 *	place.c		what an address is, and where a repository keeps a file that HTTP can get
 *	list.c		.gitmodules and folders -> entries
 *	cache.c		entries <-> the user's cache directory
 *	get.c		one file by HTTP
 *	git.c		one file by git
 *	fetch.c		which entries are too old; asks for them, several at once
 *	module.c	an entry's text -> struct weir_module
 *	catalogue.c	the door */
#ifndef WEIR_CATALOGUE_IMPL_H
#define WEIR_CATALOGUE_IMPL_H
#include "../../src/util/util.h"
#include "../launch.h"
#include "catalogue.h"
#include <stddef.h>

#define WEIR_METADATA_FILE "ai4-metadata.yml"
#define WEIR_METADATA_MAX (256u << 10)	/* bytes of one; real ones have up to 10 kB */
#define WEIR_LIST_FILE ".gitmodules"
#define WEIR_LIST_MAX (1u << 20)
#define WEIR_ENTRIES_MAX 2000u		/* of one catalogue */
#define WEIR_CATALOGUE_RETRY_S 300	/* after a failure nobody is asked again for so long, unless by `fetch` */

/* ---- settings.c ---- */

/* [catalogue], borrowed from the configuration; NULL: not set. */
struct weir_catalogue_settings { const char *url, *registry, *raw, *proxy, *ca_file; };
enum weir_code weir_settings_read(const struct weir_conf *, struct weir_catalogue_settings *, struct weir_err *);	/* conf may be NULL */

/* ---- place.c ---- */

enum weir_place_kind { WEIR_PLACE_FOLDER, WEIR_PLACE_FORGE, WEIR_PLACE_HTTP, WEIR_PLACE_GIT };
struct weir_catalogue_place {
	enum weir_place_kind kind;
	char *url;		/* as shown, and what the cache is named after; FOLDER: its absolute path */
	char *base;		/* FORGE, HTTP: the address below which files are, without a slash at the end; GIT: what git is given */
	bool is_here;		/* on this machine (a folder, file://): its entries may be, too */
};
enum weir_code weir_place_find(const char *url, struct weir_catalogue_place *out, struct weir_err *);
void weir_place_free(struct weir_catalogue_place *);
/* Address below which HTTP has the files of a repository at that branch (or "HEAD"), owned. NULL: no forge that we know. raw: the configuration's own pattern,
 * used for any http(s) address; may be NULL. */
char *weir_place_raw(const char *repository, const char *branch, const char *raw);
/* A module's repository as its list names it ("../x", "https://…", "git@…:…") seen from the catalogue. Owned; NULL and err: it cannot be one, or must not (a local
 * path out of a catalogue from elsewhere). */
char *weir_place_resolve(const struct weir_catalogue_place *, const char *url, struct weir_err *);
bool weir_place_is_branch(const char *);

/* ---- entries ---- */

struct weir_entry {
	char *name;		/* unique and safe as a file's name, or made harmless and is_bad */
	char *path;		/* in the catalogue, NULL: unknown */
	char *url;		/* of its repository, resolved; NULL: none */
	char *branch;		/* NULL: not said */
	char *bad;		/* a sentence: the list itself is wrong here, nothing is fetched. NULL: it is fine */
	/* its metadata */
	char *text;		/* NULL: none */
	size_t len;
	bool is_local;		/* read from the folder of the catalogue: never fetched */
	int64_t fetched_s, tried_s;	/* last answer (a "there is none" counts), last attempt; 0: never */
	char *error;		/* a sentence about the last attempt, or why there is no text; NULL: it went well */
	bool is_none;		/* the answer was: there is no such file */
};
struct weir_entries { struct weir_entry *v; size_t n; };
struct weir_entry *weir_entries_add(struct weir_entries *, const char *name);
void weir_entries_free(struct weir_entries *);
struct weir_entry *weir_entries_find(const struct weir_entries *, const char *name);

/* ---- list.c ---- */

/* Tolerant: what is wrong makes a bad entry and hides no other. */
void weir_list_parse(const struct weir_catalogue_place *, const char *text, size_t len, struct weir_entries *);
/* A folder: its .gitmodules if there is one, and every folder in it with metadata. */
enum weir_code weir_list_folder(const struct weir_catalogue_place *, struct weir_entries *, struct weir_err *);
bool weir_list_is_name(const char *);

/* ---- cache.c ---- */

struct weir_catalogue_cache {
	char *dir;		/* NULL: there is no place for one */
	int64_t fetched_s, tried_s;	/* the list */
	char *error;		/* of the last attempt, NULL: it went well */
};
/* Fills both from what is kept; what is not there or cannot be read is empty. Never fails. */
void weir_cache_load(struct weir_catalogue_cache *, const struct weir_catalogue_place *, struct weir_entries *);
void weir_cache_free(struct weir_catalogue_cache *);
/* Failure to keep anything is no error: the next one asks again. */
void weir_cache_save(const struct weir_catalogue_cache *, const struct weir_catalogue_place *, const struct weir_entries *);
void weir_cache_put(const struct weir_catalogue_cache *, const struct weir_entry *);	/* its text */

/* ---- get.c: any thread ---- */

struct weir_getter;		/* an engine and a pool, made at first use */
struct weir_getter *weir_getter_new(const struct weir_catalogue_settings *);
void weir_getter_free(struct weir_getter *);
void weir_getter_cancel(struct weir_getter *);	/* ends what is under way, for good */
/* NOENT: the server says there is no such file. Follows a few redirects, never from https to http. */
enum weir_code weir_get(struct weir_getter *, const char *url, size_t max, struct weir_buf *out, struct weir_err *);

/* ---- git.c: any thread ---- */

/* A shallow clone in a new folder below `parent`. *dir is owned, and to be removed with weir_git_remove(). branch NULL: the repository's own. */
enum weir_code weir_git_clone(const char *parent, const char *url, const char *branch, bool is_here, char **dir, struct weir_err *);
/* A file of it. NOENT: there is none. */
enum weir_code weir_git_file(const char *dir, const char *path, size_t max, struct weir_buf *out, struct weir_err *);
/* Paths of its files, each ended by a NUL. */
enum weir_code weir_git_files(const char *dir, struct weir_buf *out, struct weir_err *);
void weir_git_remove(char *dir);

/* ---- fetch.c ---- */

struct weir_fetch {
	const struct weir_catalogue_options *o;
	const struct weir_catalogue_place *place;
	struct weir_catalogue_cache *cache;
	struct weir_entries *entries;
	const char *raw;		/* [catalogue] raw, NULL: none */
	struct weir_getter *getter;
	int64_t now_s;
	char *word;			/* what went wrong and does not end it */
};
enum weir_code weir_fetch_list(struct weir_fetch *, struct weir_err *);	/* replaces the entries */
enum weir_code weir_fetch_metadata(struct weir_fetch *, struct weir_err *);	/* INTR only */

/* ---- module.c ---- */

/* Owned. registry may be NULL. */
struct weir_module *weir_module_make(const struct weir_entry *, const char *registry);
void weir_module_free(struct weir_module *);

#endif
