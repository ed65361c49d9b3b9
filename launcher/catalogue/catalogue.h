/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue: which modules there are, what each is called, needs and runs from. weir-modules(1) is its manual.
 *
 * A catalogue is a list of modules and one ai4-metadata.yml (version 2) for each, as the AI4OS platform keeps them: the list is a
 * .gitmodules, the metadata lies at the root of each module's repository. It is read from a folder, a git repository or an HTTP address.
 * What came over a network is kept below the user's cache directory and is good for as long as on the platform: the list for 6 hours,
 * metadata for 7 days; after that it is asked for again, and used as it is (with a word about it) when nobody answers.
 *
 * An entry that is wrong is still an entry: it says what is wrong with it and hides none of the others. Nothing that a catalogue says
 * is trusted: texts hold no control characters (but newlines in `description`), names are plain words, files are small.
 *
 * weir_catalogue_open() may use the network, makes threads and child processes (git), and leaves none of either behind. What it gives is
 * immutable: any thread may read it. */
#ifndef WEIR_CATALOGUE_H
#define WEIR_CATALOGUE_H
#include "../../src/util/err.h"
#include "../words.h"
#include <stdbool.h>
#include <stdint.h>

struct weir_conf;
struct weir_catalogue;

/* The platform's own: used where neither --catalogue nor [catalogue] url names another. */
#define WEIR_CATALOGUE_DEFAULT "https://github.com/ai4os-hub/modules-catalog"
#define WEIR_CATALOGUE_LIST_AGE_S (6 * 3600)
#define WEIR_CATALOGUE_METADATA_AGE_S (7 * 24 * 3600)

/* What a module asks for. A negative number: not said (then the mode's default counts). A value of the wrong kind counts as not said, and
 * stands in `problems`. Nothing is clamped here: that is the mode's (try: 1-8 CPUs, 1000-16000 MB). */
struct weir_module_resources {
	bool is_said;				/* the block is there */
	int64_t cpu, gpu;			/* how many */
	int64_t memory_mb, gpu_memory_mb, storage_mb;	/* as written: memory_MB, …; the platform takes them for 10^6 bytes */
	double gpu_compute_capability;		/* 7.0; as NVIDIA counts */
	char *cpu_architecture;			/* "x86_64"; outside the schema, NULL: not said */
};

struct weir_module_link { char *name, *url; };	/* "documentation", "dataset", … as under `links` */

struct weir_module {
	char *name;			/* what people type: letters, digits, - _ . ; unique. (Of an entry whose name is bad: that name, made harmless) */
	char *title;			/* never NULL; the name when there is none */
	char *summary, *description;	/* never NULL; "" */
	char *metadata_version, *license, *doi, *created, *updated;	/* NULL: not said */
	struct weir_words libraries, tasks, categories, data_types, tags;
	struct weir_module_link *links;
	size_t nlinks;
	/* Container image without a tag, or with one if the metadata names it: "ai4oshub/ai4os-demo-app". From links.docker_image: of an
	 * address (https://…) the last two parts count, as on the platform; where one of its own modules names its image by the last part alone,
	 * "ai4oshub/" stands before it. [catalogue] registry stands before it if that is set
	 * and the image names none. NULL: the module names no image, or none that can be one. */
	char *image;
	struct weir_module_resources inference, training;
	char *source;			/* repository: its address, or the module's folder. NULL: unknown */
	char *branch;			/* of it, NULL: not said */
	int64_t fetched_s;		/* when its metadata was asked for, seconds since 1970; 0: never, or read from a folder just now */
	/* The verdict. What could be read is filled in even so; without any metadata title is the name, and the rest is empty. */
	bool is_invalid;
	bool is_missing;		/* no metadata at all: not there, or could not be fetched */
	struct weir_words problems;	/* one sentence each: why it is invalid */
	struct weir_words notes;	/* one sentence each: allowed by the schema, but surely not meant */
};

struct weir_catalogue_options {
	const char *url;		/* --catalogue: a folder, a git address or an HTTP address. NULL: the configuration's, else the default */
	const struct weir_conf *conf;	/* NULL: none */
	bool is_offline;		/* use what is here */
	bool is_forced;			/* ask for everything (of `only`) again, however young: `weir modules fetch`. Then a failure to reach the
					 * catalogue is an error, not a word */
	const char *const *only;	/* NULL: all; else NULL-terminated names: other modules' metadata are not asked for (a mode needs one). Names that
					 * the catalogue does not have are ignored */
	/* Called now and then from the calling thread while fetching; may be NULL. */
	void (*progress)(void *arg, size_t done, size_t total, const char *what);
	void *progress_arg;
};

/* Is [catalogue] of the configuration right? CONFIG: "FILE:LINE: [catalogue] url: …". (weir_catalogue_open() asks the same.) */
enum weir_code weir_catalogue_check(const struct weir_conf *, struct weir_err *);

/* NOENT: no such folder. CONFIG: an address that cannot be one. INTR: a signal that the launcher blocks is waiting. NET and others: it cannot be had, and nothing
 * of it is kept here. Else WEIR_OK, whatever is wrong with entries. */
enum weir_code weir_catalogue_open(struct weir_catalogue **out, const struct weir_catalogue_options *, struct weir_err *);
void weir_catalogue_free(struct weir_catalogue *);
void weir_catalogue_freep(struct weir_catalogue **);

const char *weir_catalogue_url(const struct weir_catalogue *);
int64_t weir_catalogue_fetched_s(const struct weir_catalogue *);	/* the list; 0: read from a folder just now */
/* What people must know about how it was opened ("…: no answer; this is what it was 3 days ago"), NULL: nothing. */
const char *weir_catalogue_word(const struct weir_catalogue *);
/* "3 days ago", "just now". Owned. */
char *weir_catalogue_age(int64_t since_s);
size_t weir_catalogue_count(const struct weir_catalogue *);
const struct weir_module *weir_catalogue_at(const struct weir_catalogue *, size_t i);	/* by name, ASCII order */
/* Exactly this name, else this name in any case when one has it. NULL: none, and err has a sentence, with the nearest name when one is near. */
const struct weir_module *weir_catalogue_find(const struct weir_catalogue *, const char *name, struct weir_err *);

/* Filters of `list` and `search`: within one list any value is enough, all lists must agree. Values are compared without case; words are looked for in
 * name, title, summary, description, tags, tasks and libraries, and all must be there. */
struct weir_module_filter {
	const char *const *libraries, *const *tasks, *const *categories, *const *data_types, *const *tags, *const *words;
	size_t nlibraries, ntasks, ncategories, ndata_types, ntags, nwords;
};
bool weir_module_matches(const struct weir_module *, const struct weir_module_filter *);

/* ---- a word on the command line: a module, or an image? ---- */

enum weir_module_word {
	WEIR_WORD_NAME,		/* can be a name in a catalogue ("ai4os-demo-app"). An image of one bare word is written with its tag: busybox:latest */
	WEIR_WORD_IMAGE,	/* an image reference: has a '/', ':' or '@' */
	WEIR_WORD_BAD,		/* neither; err has the sentence */
};
enum weir_module_word weir_module_word(const char *word, struct weir_err *);
/* [HOST[:PORT]/]PATH[:TAG][@sha256:…], as the engines take it; such a word can stand on a command line without being an option. */
bool weir_image_is_good(const char *);
/* Does it name a tag or a digest? */
bool weir_image_has_tag(const char *);
/* image, or image:tag when it has none. Owned. */
char *weir_image_tagged(const char *image, const char *tag);

/* ---- one file by itself (weir modules check, tests) ---- */

/* The verdict on the text of an ai4-metadata.yml, into problems and notes (both may be NULL). True: valid. */
bool weir_metadata_check(const char *text, size_t len, struct weir_words *problems, struct weir_words *notes);

#endif
