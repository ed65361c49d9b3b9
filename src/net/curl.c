/* SPDX-License-Identifier: Apache-2.0 */
/* What every connection of weir has in common, whether requests go over it (http.c) or messages (ws.c), and what curl's codes mean. */
#include "config.h"

#include "curl_impl.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../util/self.h"
#include "../util/util.h"

/* ---- authorities ---- */

static pthread_once_t authorities_once = PTHREAD_ONCE_INIT;
static char authorities_file[4200];	/* "": what libcurl was built with */

/* A bundle's libcurl knows where one distribution keeps them; the host may be another one, or have none. */
static void
authorities_find(void)
{
	static const char *const places[] = {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
	    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem"};

	if (weir_self_bundle() == NULL)
		return;
	for (size_t i = 0; i < WEIR_LEN(places); i++) {
		if (access(places[i], R_OK) == 0) {
			snprintf(authorities_file, sizeof(authorities_file), "%s", places[i]);
			return;
		}
	}
	snprintf(authorities_file, sizeof(authorities_file), "%s/share/weir/ca-certificates.crt", weir_self_bundle());
}

void
weir_curl_connection(CURL *easy, const struct weir_http_pool_conf *conf)
{
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	/* Else giving up a transfer whose name is still being resolved joins the resolver's thread, and the engine stands still. */
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)conf->connect_ms);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	if (conf->ca_file != NULL) {
		/* these authorities and no others */
		curl_easy_setopt(easy, CURLOPT_CAINFO, conf->ca_file);
		curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	} else {
		pthread_once(&authorities_once, authorities_find);
		if (authorities_file[0] != '\0')
			curl_easy_setopt(easy, CURLOPT_CAINFO, authorities_file);
	}
	if (conf->proxy != NULL)	/* "": none */
		curl_easy_setopt(easy, CURLOPT_PROXY, conf->proxy);
	curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
}

/* A handshake that the network cut is no verdict on the certificate. */
static bool
tls_is_network(const char *text)
{
	static const char *const signs[] = {"SYSCALL", "reset", "unexpected eof", "timed out", "closed"};

	for (size_t i = 0; i < WEIR_LEN(signs); i++) {
		if (strstr(text, signs[i]) != NULL)
			return true;
	}
	return false;
}

enum weir_code
weir_curl_code(CURLcode c, const char *text)
{
	switch (c) {
	case CURLE_OK:
		return WEIR_OK;
	case CURLE_SSL_CONNECT_ERROR:
		return tls_is_network(text) ? WEIR_E_NET : WEIR_E_TLS;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CRL_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
	case CURLE_SSL_INVALIDCERTSTATUS:
		return WEIR_E_TLS;
	case CURLE_UNSUPPORTED_PROTOCOL:	/* also curl's word for an answer that is no HTTP */
		return strstr(text, "HTTP/0.9") != NULL ? WEIR_E_PROTO : WEIR_E_CONFIG;
	case CURLE_URL_MALFORMAT:
		return WEIR_E_CONFIG;
	case CURLE_OUT_OF_MEMORY:
		return WEIR_E_NOMEM;
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_BAD_CONTENT_ENCODING:
		return WEIR_E_PROTO;
	case CURLE_WRITE_ERROR:
	case CURLE_READ_ERROR:
	case CURLE_ABORTED_BY_CALLBACK:
		return WEIR_E_IO;
	default:
		return WEIR_E_NET;
	}
}
