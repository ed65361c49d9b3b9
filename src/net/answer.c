/* SPDX-License-Identifier: Apache-2.0 */
/* What can be read from an answer and from a URL: no transfer, no engine. */
#include "config.h"

#include "http.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "../util/text.h"
#include "../util/util.h"

void
weir_http_resp_free(struct weir_http_resp *resp)
{
	weir_buf_free(&resp->body);
	weir_buf_free(&resp->raw_headers);
	resp->status = 0;
}

char *
weir_http_header(const struct weir_http_resp *resp, const char *name, char *out, size_t max)
{
	size_t n = strlen(name);
	const char *line = weir_buf_str(&resp->raw_headers), *end;

	for (; *line != '\0'; line = end + 1) {
		end = strchrnul(line, '\n');
		if (strncasecmp(line, name, n) == 0 && line[n] == ':') {
			const char *v = line + n + 1;

			while (v < end && (*v == ' ' || *v == '\t'))
				v++;
			while (end > v && (end[-1] == ' ' || end[-1] == '\t'))
				end--;
			snprintf(out, max, "%.*s", (int)(end - v), v);
			return out;
		}
		if (*end == '\0')
			break;
	}
	return NULL;
}

int64_t
weir_http_retry_after_ms(const struct weir_http_resp *resp)
{
	char value[64];
	int64_t ms, when;

	if (weir_http_header(resp, "Retry-After", value, sizeof(value)) == NULL)
		return -1;
	if (value[0] >= '0' && value[0] <= '9' && value[strspn(value, "0123456789.")] == '\0')
		return weir_duration_parse(value, &ms) == 0 ? ms : -1;
	when = weir_date_parse(value);
	if (when == INT64_MIN)
		return -1;
	ms = (when - weir_wall_ns()) / 1000000;
	return ms > 0 ? ms : 0;
}

static bool
url_is_loopback(const char *host)
{
	struct in_addr a;

	return strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 || (inet_pton(AF_INET, host, &a) == 1 && ntohl(a.s_addr) >> 24 == 127);
}

bool
weir_http_url_is_safe(const char *url)
{
	CURLU *u = curl_url();
	char *host = NULL, *scheme = NULL, *user = NULL;
	bool is_safe = u != NULL && curl_url_set(u, CURLUPART_URL, url, CURLU_PATH_AS_IS) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK && curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_NO_USER &&
	    (strcmp(scheme, "https") == 0 || (strcmp(scheme, "http") == 0 && url_is_loopback(host)));

	curl_free(user);
	curl_free(host);
	curl_free(scheme);
	curl_url_cleanup(u);
	return is_safe;
}

char *
weir_http_url_host(const char *url)
{
	CURLU *u = curl_url();
	char *host = NULL, *port = NULL, *scheme = NULL, *out = NULL;

	if (u != NULL && curl_url_set(u, CURLUPART_URL, url, CURLU_PATH_AS_IS) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
	    (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0) &&
	    (curl_url_get(u, CURLUPART_HOST, &host, CURLU_PUNYCODE) == CURLUE_OK ||
	    curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK)) {
		if (curl_url_get(u, CURLUPART_PORT, &port, CURLU_NO_DEFAULT_PORT) == CURLUE_OK)
			out = weir_xasprintf("%s:%s", host, port);
		else
			out = weir_xstrdup(host);
	}
	curl_free(host);
	curl_free(port);
	curl_free(scheme);
	curl_url_cleanup(u);
	return out;
}

/* ---- redirects ---- */

static bool
redirect_is_one(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

char *
weir_http_redirect(const char *url, const struct weir_http_resp *resp)
{
	char location[2048];
	size_t host;

	if (!redirect_is_one(resp->status) || weir_http_header(resp, "Location", location, sizeof(location)) == NULL || strlen(location) >= sizeof(location) - 1)
		return NULL;
	for (const char *p = location; *p != '\0'; p++) {
		if ((unsigned char)*p <= ' ')
			return NULL;
	}
	if (strncasecmp(location, "https://", 8) == 0 || (strncasecmp(location, "http://", 7) == 0 && strncasecmp(url, "http://", 7) == 0))
		return weir_xstrdup(location);
	if (location[0] != '/' || location[1] == '/')
		return NULL;
	host = (size_t)(strstr(url, "://") + 3 - url);
	host += strcspn(url + host, "/?#");
	return weir_xasprintf("%.*s%s", (int)host, url, location);
}
