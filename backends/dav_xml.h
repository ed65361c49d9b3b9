/* SPDX-License-Identifier: Apache-2.0 */
/* The XML of WebDAV (RFC 4918): a multistatus answer as a stream, and the reason inside an error body. Knows no network
 * and no backend. Everything in it comes from outside and may lie: document types are refused, depth and text are bounded. */
#ifndef WEIR_DAV_XML_H
#define WEIR_DAV_XML_H
#include "../src/util/buf.h"
#include "../src/util/err.h"
#include <stdint.h>

/* One d:response. Only properties of propstats with a 2xx status are in it. Strings are NULL when not told. */
struct weir_dav_item {
	char *href;			/* decoded path, without scheme and host; keeps its trailing slash */
	int status;			/* of the whole response; 0: none, the propstats count */
	int bad_status;			/* of the first propstat that is neither 2xx nor 404; 0: none */
	bool is_collection;
	bool is_slashed;		/* an escaped slash (%2F) stands inside a name: such an item cannot be a path of ours */
	bool has_lastmodified;		/* the property `lastmodified` in a 2xx propstat: an answer to PROPPATCH */
	char *etag;			/* as it came */
	char *fileid, *permissions, *checksums;
	uint64_t length;		/* getcontentlength; UINT64_MAX: not told */
	int64_t mtime_ns;		/* getlastmodified; INT64_MIN: not told */
	int64_t quota_available, quota_used;	/* INT64_MIN: not told; negative as the server says */
};
void weir_dav_item_clear(struct weir_dav_item *);

struct weir_dav_xml;
/* fn is called for each response; what it wants to keep it takes (and sets to NULL). Another result than WEIR_OK ends the parsing. */
typedef enum weir_code weir_dav_item_fn(void *arg, struct weir_dav_item *, struct weir_err *);
struct weir_dav_xml *weir_dav_xml_new(weir_dav_item_fn *, void *arg);
/* PROTO: not well-formed, not a multistatus, or beyond the bounds. After a failure only weir_dav_xml_free may follow. */
enum weir_code weir_dav_xml_feed(struct weir_dav_xml *, const void *data, size_t len, bool is_last, struct weir_err *);
void weir_dav_xml_free(struct weir_dav_xml *);	/* NULL is fine */

/* The server's own words in an error body: sabre's s:message (with o:reason), mod_dav's human-readable, the first
 * paragraph or title of an HTML page, a short plain text. One line, cut, control characters replaced; "" when there are none. */
void weir_dav_reason(const char *body, size_t len, char *out, size_t max);
/* The status of "HTTP/1.1 200 OK"; 0 when it is not a status line. */
int weir_dav_status_line(const char *);
/* ETag without W/, quotes and what compressing proxies append (-gzip, -br, -deflate). Owned; NULL when nothing usable is left. */
char *weir_dav_etag(const char *);

#endif
