/* SPDX-License-Identifier: Apache-2.0 */
/* weir check: is the configuration right, and does every remote let us in? */
#include "config.h"

#include "cli.h"
#include "live.h"

#include <stdio.h>
#include <string.h>

#include "../../launcher/access/access.h"
#include "../../launcher/catalogue/catalogue.h"
#include "../control/notify.h"

#define CHECK_MS 15000
#define CHECK_DEEP_MS 60000

struct check_options {
	const char *conf, *live, *report;
	bool is_verbose, is_json;
};

static const struct weir_opt check_opts[] = {
    WEIR_OPT_CONF(struct check_options),
    {"verbose", 'v', WEIR_OPT_FLAG, offsetof(struct check_options, is_verbose), NULL,
	"also find out what each storage guarantees (writes and removes .weir-check-* there)"},
    {"live", 0, WEIR_OPT_TEXT, offsetof(struct check_options, live), "REMOTE",
	"try every promise of the storage contract in a scratch folder of this remote; takes minutes"},
    {"report", 0, WEIR_OPT_TEXT, offsetof(struct check_options, report), "FILE", "where --live writes its report (default: weir-live-REMOTE.txt)"},
    WEIR_OPT_JSON(struct check_options),
};

static bool
check_is_ok(const json_t *result)
{
	return strcmp(json_string_value(json_object_get(result, "code")), weir_code_name(WEIR_OK)) == 0;
}

/* What of [namespace] is not plain from its line: pools. */
static void
check_print_pool(const struct weir_bind *b)
{
	static const char *const where[] = {
	    [WEIR_POOL_FIRST] = "to the first member with room",
	    [WEIR_POOL_MOST_FREE] = "to the member with the most room",
	    [WEIR_POOL_SIBLINGS] = "to a member that has their directory",
	};

	printf("%s: pool of ", b->path);
	for (size_t i = 0; i < b->nplaces; i++)
		printf("%s%s:%s", i > 0 ? ", " : "", b->places[i].remote, b->places[i].folder);
	printf("; new files go %s\n", where[b->policy]);
}

static void
check_print(const struct weir_conf *conf, const json_t *results)
{
	const json_t *r, *line;
	size_t i, k;

	printf("%s: OK, %zu %s\n", conf->path, conf->nremotes, conf->nremotes == 1 ? "remote" : "remotes");
	for (i = 0; i < conf->nbinds; i++) {
		if (conf->binds[i].is_pool)
			check_print_pool(&conf->binds[i]);
	}
	json_array_foreach (results, i, r) {
		printf("remote '%s': %s\n", json_string_value(json_object_get(r, "name")), check_is_ok(r) ? "OK" : weir_probe_reason(r));
		json_array_foreach (json_object_get(r, "lines"), k, line)
			printf("  %s\n", json_string_value(line));
	}
}

static int
check_run(const struct weir_verb *verb, int argc, char **argv)
{
	struct check_options o = {0};
	static struct weir_conf *conf;	/* stays: a thread that overran the limit may still look at it */
	json_t *results, *r;
	struct weir_err err = {0};
	enum weir_code r_conf;
	size_t i;
	int status, first = weir_opt_parse(verb, &o, argc, argv, &status);

	if (first < 0)
		return status;
	conf = weir_cli_conf(o.conf);
	if (conf == NULL)
		return WEIR_EXIT_CONFIG;
	r_conf = weir_catalogue_check(conf, &err);
	if (r_conf == WEIR_OK)
		r_conf = weir_access_check(conf, NULL, &err);
	if (r_conf == WEIR_OK)
		r_conf = weir_notify_check(conf, &err);
	if (r_conf != WEIR_OK) {
		weir_say("%s", weir_err_text(&err, r_conf));
		return WEIR_EXIT_CONFIG;
	}
	if (o.live != NULL)
		return weir_live(conf, o.live, o.report);
	results = weir_probe(conf, NULL, o.is_verbose, o.is_verbose ? CHECK_DEEP_MS : CHECK_MS);
	json_array_foreach (results, i, r) {
		if (!check_is_ok(r))
			status = WEIR_EXIT_FAILED;
	}
	if (o.is_json) {
		json_t *all = json_pack("{s:s, s:b, s:O}", "config", conf->path, "ok", status == WEIR_EXIT_OK, "remotes", results);

		weir_print_json(all);
		json_decref(all);
	} else
		check_print(conf, results);
	json_decref(results);
	return status;
}

const struct weir_verb weir_verb_check = {
    .name = "check",
    .operands = "",
    .summary = "check the configuration and the credentials of every remote",
    .opts = check_opts,
    .nopts = WEIR_LEN(check_opts),
    .run = check_run,
};
