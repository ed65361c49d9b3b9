/* SPDX-License-Identifier: Apache-2.0 */
/* [catalogue] of weir.conf. */
#include "config.h"

#include "impl.h"

#include <string.h>

#include "../../src/conf/section.h"

static bool
settings_is_registry(const char *s)
{
	return s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789.-:/_")] == '\0' && strstr(s, "//") == NULL && *s != '-' && *s != '/' && s[strlen(s) - 1] != '/';
}

static bool
settings_is_pattern(const char *s)
{
	return (strncmp(s, "https://", 8) == 0 || strncmp(s, "http://", 7) == 0) && strstr(s, "{repo}") != NULL;
}

enum weir_code
weir_settings_read(const struct weir_conf *conf, struct weir_catalogue_settings *out, struct weir_err *err)
{
	const struct weir_section_conf *s = conf != NULL ? weir_conf_section(conf, "catalogue", NULL, NULL) : NULL;

	*out = (struct weir_catalogue_settings){0};
	if (s == NULL)
		return WEIR_OK;
	*out = (struct weir_catalogue_settings){
	    .url = weir_conf_section_get(s, "url"), .registry = weir_conf_section_get(s, "registry"), .raw = weir_conf_section_get(s, "raw"),
	    .proxy = weir_conf_section_get(s, "proxy"), .ca_file = weir_conf_section_get(s, "ca_file"),
	};
	if (out->url != NULL && out->url[0] != '/' && strchr(out->url, ':') == NULL)
		return weir_conf_section_bad(s, "url", err, "'%.100s' is neither a folder (/...) nor an address (https://...)", out->url);
	if (out->registry != NULL && !settings_is_registry(out->registry))
		return weir_conf_section_bad(s, "registry", err, "'%.100s' is no registry; write HOST, HOST:PORT or HOST/PATH", out->registry);
	if (out->raw != NULL && !settings_is_pattern(out->raw))
		return weir_conf_section_bad(s, "raw", err, "'%.100s' must be like https://HOST/{owner}/{repo}/raw/{branch}", out->raw);
	return WEIR_OK;
}

enum weir_code
weir_catalogue_check(const struct weir_conf *conf, struct weir_err *err)
{
	struct weir_catalogue_settings settings;

	return weir_settings_read(conf, &settings, err);
}
