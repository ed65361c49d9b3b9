/* SPDX-License-Identifier: Apache-2.0 */
/* What `weir import` makes out of somebody else's configuration before anything is written: remotes, secrets that lie in files of
 * their own, lines of [namespace], and a sentence about each remote. import_rclone.c fills it, import.c writes it. */
#ifndef WEIR_IMPORT_H
#define WEIR_IMPORT_H
#include "../../backends/rclone_ini.h"
#include "cli.h"

struct weir_import_key {
	char *key, *value;		/* as they will stand in weir.conf; of a secret: the key of its file ("password_file") */
	enum { WEIR_IMPORT_PLAIN, WEIR_IMPORT_SECRET, WEIR_IMPORT_TOKEN } kind;
	char *secret;			/* SECRET: the text; TOKEN: rclone's JSON */
};
struct weir_import_remote {
	char *source;			/* its name there: "my drive" */
	char *name;			/* in weir.conf: "my-drive" */
	char *bucket;			/* s3: the source together with this bucket; NULL otherwise */
	char *note;			/* why it is not what one would expect; NULL */
	struct weir_import_key *keys;	/* "type" first */
	size_t nkeys;
	bool is_placed;			/* reached by a line of [namespace] */
};
struct weir_import_line { char *path, *value; };	/* "/all" = "pool(a:, b:)" */

struct weir_import {
	const struct weir_rclone_ini *ini;
	const struct weir_conf *have;	/* what weir.conf says already; NULL: there is none */
	const char *file;		/* absolute: the rclone.conf */
	const struct weir_opt_list *buckets;	/* "NAME=BUCKET" */
	struct weir_import_remote *remotes;
	size_t nremotes;
	struct weir_import_line *lines;
	size_t nlines;
	char **refused;			/* "NAME: why", in order */
	size_t nrefused;
	char **present;			/* sections of which weir.conf has something already */
	size_t npresent;
};
/* Every section of the rclone.conf becomes something, or a sentence. No network, no file is written. */
void weir_import_rclone(struct weir_import *);
void weir_import_clear(struct weir_import *);
/* Adds a sentence to those of what could not be carried, once. */
void weir_import_refuse(struct weir_import *, const char *fmt, ...) WEIR_PRINTF(2, 3);
/* Takes it and the lines that name it out again, with a sentence. */
void weir_import_drop(struct weir_import *, size_t which, const char *why);
/* Makes it one of type rclone, for when what was made of it is not accepted. */
void weir_import_fall_back(const struct weir_import *, struct weir_import_remote *, const char *why);

#endif
