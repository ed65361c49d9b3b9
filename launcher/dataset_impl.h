/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind dataset.h share: a list of files (dataset_source.c), one file by HTTP (dataset_get.c), the folder (dataset.c). */
#ifndef WEIR_DATASET_IMPL_H
#define WEIR_DATASET_IMPL_H
#include <jansson.h>

#include "../src/net/http.h"
#include "../src/util/util.h"
#include "dataset.h"

struct weir_dataset_file {
	char *name;		/* relative, no "..", no control characters */
	char *url;
	int64_t size;		/* -1: not known */
	char *kind, *sum;	/* "md5" and lower-case hex; NULL: none */
};
struct weir_dataset_files { struct weir_dataset_file *v; size_t n; };
void weir_dataset_files_free(struct weir_dataset_files *);
/* False: not a name that may be made in a folder. */
bool weir_dataset_name_is_good(const char *);

struct weir_dataset_net {
	struct weir_dataset *d;
	struct weir_http *http;
	struct weir_http_pool *pool;
};
enum weir_code weir_dataset_net_open(struct weir_dataset_net *, struct weir_dataset *, struct weir_err *);
void weir_dataset_net_close(struct weir_dataset_net *);
bool weir_dataset_is_canceled(const struct weir_dataset *);
/* Waits; INTR when cancelled. */
enum weir_code weir_dataset_pause(struct weir_dataset *, int64_t ms, struct weir_err *);
/* Is plain http all right for it? */
bool weir_dataset_url_is_local(const char *url);

/* A small answer (JSON), redirects followed, repeated while that may help. *at: the address that answered, owned. */
enum weir_code weir_dataset_ask(struct weir_dataset_net *, const char *url, json_t **out, struct weir_err *);
/* Only where redirects lead: nothing of the page is read. */
enum weir_code weir_dataset_land(struct weir_dataset_net *, const char *url, char **at, struct weir_err *);

/* What is to be fetched. */
enum weir_code weir_dataset_source(struct weir_dataset_net *, struct weir_dataset_files *, struct weir_err *);

/* One file into `path`, from byte *have on if the server still has what `etag` names. */
struct weir_dataset_get {
	const struct weir_dataset_file *file;
	char *path;		/* where it is written */
	char etag[256];		/* in: of what is there; out: of what came. "" none */
	uint64_t have;		/* in: bytes there; out: all there are */
	void (*begun)(struct weir_dataset_get *);	/* etag is known now; may be NULL */
	void *arg;
};
enum weir_code weir_dataset_get(struct weir_dataset_net *, struct weir_dataset_get *, struct weir_err *);

#endif
