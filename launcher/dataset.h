/* SPDX-License-Identifier: Apache-2.0 */
/* Data sets by DOI or address, fetched into a folder of the tree: what `--dataset` of a job and `weir dataset fetch` do.
 *
 * What is understood: a DOI ("10.5281/zenodo.123", "doi:…", "https://doi.org/…"), the page of a record on Zenodo or another InvenioRDM, and any other https
 * address, which is one file. `#sha256=HEX` (or md5, sha1) behind an address is its checksum. Plain http is for addresses with a checksum, and for this host.
 *
 * Where it goes: FOLDER/ID, ID being the DOI as it is (with its "/"), or the address without scheme, "www." and last "/", its other "/" as "-": the names the
 * AI4OS platform gives. Archives stay packed. Beside the files lies ".weir-dataset.json", which tells what is complete; a file that is being fetched is
 * ".NAME.weir-fetch" until its size and checksum are right.
 *
 * A run again fetches what is missing, goes on inside a file that is there in part (if the server still has the same one), and fetches nothing when all files
 * have the sizes and times that were noted; a file whose time is another is read and compared with its checksum. Nothing is a success that is not whole. */
#ifndef WEIR_DATASET_H
#define WEIR_DATASET_H
#include "../src/client/tree.h"
#include "../src/net/http.h"

struct weir_dataset_sums { uint64_t files, bytes, files_total, bytes_total, fetched_bytes; };	/* bytes_total: a lower bound when a size is not known */

struct weir_dataset {
	const char *what;		/* DOI or address */
	const struct weir_conf *conf;	/* its [datasets]; NULL: the defaults, https://doi.org and https://zenodo.org */
	struct weir_tree *tree;		/* where FOLDER is */
	const char *folder;		/* a path of that tree; made if it is not there */
	bool is_forced;			/* fetch again what is there */
	struct weir_cancel *cancel;	/* may be NULL */
	/* Both may be NULL. moved: at most a few times a second. say: a sentence about something that goes on (a retry, a wait). */
	void (*moved)(void *arg, const struct weir_dataset_sums *);
	void (*say)(void *arg, const char *sentence);
	void *arg;
	/* results */
	struct weir_dataset_sums sums;
	bool was_complete;		/* nothing was fetched */
};
/* *where: the path of FOLDER/ID, owned, set whenever it is known. Errors: NOENT no such DOI, record or file; ACCES it is not public; BADSUM; DQUOT and NOSPC
 * before the first byte where sizes are known; INVAL what is neither DOI nor address. Blocking. */
enum weir_code weir_dataset_fetch(struct weir_dataset *, char **where, struct weir_err *);

/* The ID; NULL: neither DOI nor address. Owned. */
char *weir_dataset_id(const char *what);

#endif
