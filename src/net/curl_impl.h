/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of net/ that know curl, and by nobody else. */
#ifndef WEIR_CURL_IMPL_H
#define WEIR_CURL_IMPL_H
#include <curl/curl.h>

#include "http.h"

#define WEIR_USER_AGENT PACKAGE_NAME "/" PACKAGE_VERSION

/* Timeouts, proxy, TLS and whose certificates are believed: one place, so that no connection is less careful than another. */
void weir_curl_connection(CURL *, const struct weir_http_pool_conf *);
/* text: curl's sentence. CURLE_OK is WEIR_OK. */
enum weir_code weir_curl_code(CURLcode, const char *text);

/* http.c: of a pool, for connections that the engine does not carry. Any thread. */
const struct weir_http_pool_conf *weir_http_pool_conf(const struct weir_http_pool *);
void weir_http_pool_count(struct weir_http_pool *, uint64_t requests, uint64_t in, uint64_t out);

#endif
