/* SPDX-License-Identifier: Apache-2.0 */
/* What clients write in request lines and headers, taken apart. Pure, thread-safe; everything may be hostile. */
#ifndef WEIR_DAV_PARSE_H
#define WEIR_DAV_PARSE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRONT_SEGMENTS 256
#define FRONT_PATH_MAX 16384

/* A path below the share: names, decoded, none empty, "." or "..", none with "/" or NUL in it or longer than 255. */
struct front_path {
	char *text;		/* "a/b c", owned; "" is the share's root */
	const char *seg[FRONT_SEGMENTS];	/* into a copy */
	char *copy;
	size_t n;
	bool is_slashed;	/* written with a slash at the end */
};
/* url: the path of a request as it was sent, with or without a query. 0; 404: not below prefix; 400: not a path of ours. */
int front_path_parse(const char *url, const char *prefix, struct front_path *);
void front_path_free(struct front_path *);

/* Of "http://host:1/x/y" the path, if host is this one (the Host header; NULL: any will do); of "/x/y" itself. NULL: another host, or no URL. */
const char *front_url_path(const char *url, const char *host);

/* Range: bytes=… with one range. 1: *from and *len are set; 0: send all (none, several, or not understood: RFC 9110 14.2); -1: nothing of it is there. */
int front_range_parse(const char *, uint64_t size, uint64_t *from, uint64_t *len);

enum front_depth { FRONT_DEPTH_0, FRONT_DEPTH_1, FRONT_DEPTH_INFINITY, FRONT_DEPTH_BAD };
enum front_depth front_depth_parse(const char *, enum front_depth when_absent);
/* Overwrite: T or F. 1, 0; -1: neither. Absent is T. */
int front_overwrite_parse(const char *);
/* Timeout: Second-N or Infinite, a list by preference; seconds within [1, most]. */
unsigned front_timeout_parse(const char *, unsigned when_absent, unsigned most);
/* X-OC-Mtime: whole seconds, or with a fraction. INT64_MIN: not a time. */
int64_t front_mtime_parse(const char *);
/* Does the list of an If-Match or If-None-Match header hold this etag (with its quotes) or "*"? Weak ones count only if is_weak_ok. */
bool front_etag_listed(const char *list, const char *etag, bool is_weak_ok);

/* The If header (RFC 4918 10.4): lists of conditions, each tagged with a resource or about the request's own. */
struct front_cond { bool is_not, is_etag; const char *text; };	/* token without <>, etag without [] */
struct front_iflist { const char *tag; size_t first, n; };	/* tag NULL: the request's own */
struct front_if {
	struct front_cond *conds;
	struct front_iflist *lists;
	size_t nconds, nlists;
	char *copy;
};
/* 0, or -1: not an If header. */
int front_if_parse(const char *, struct front_if *);
void front_if_free(struct front_if *);

#endif
