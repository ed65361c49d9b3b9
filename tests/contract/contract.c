/* SPDX-License-Identifier: Apache-2.0 */
/* contract CONF REMOTE [PROMISE]: opens the remote as weir does (all its layers) and runs the list of promises against it.
 * TAP on standard output. Everything happens below one directory that is removed at the end.
 * Exit: 0 all kept, 1 not, 77 when CONF or REMOTE is missing. */
#include "config.h"

#include <stdio.h>

#include "../../backends/contract/contract.h"

static void
say(void *arg, const char *text)
{
	printf("%s\n", text);
	fflush(stdout);
}

static int
fail(const char *what, enum weir_code r, const struct weir_err *err)
{
	printf("Bail out! %s: %s\n", what, weir_err_text(err, r));
	return 1;
}

int
main(int argc, char **argv)
{
	struct weir_contract run = { .line = say };
	const struct weir_conf_type *types;
	struct weir_conf *conf;
	struct weir_err err = { 0 };
	size_t ntypes;
	enum weir_code r;

	if (argc < 3) {
		printf("1..0 # SKIP usage: contract CONF REMOTE [PROMISE]\n");
		return 77;
	}
	weir_log_setup("contract", false, WEIR_LOG_WARN);
	run.only = argc > 3 ? argv[3] : NULL;
	types = weir_backend_types(&ntypes);
	r = weir_conf_load(argv[1], types, ntypes, &conf, &err);
	if (r != WEIR_OK)
		return fail("configuration", r, &err);
	run.remote = weir_conf_remote(conf, argv[2]);
	if (run.remote == NULL)
		return fail("no such remote", WEIR_E_CONFIG, NULL);
	r = weir_http_new(&run.http, &err);
	if (r == WEIR_OK)
		r = weir_backend_open(&run.be, run.remote, run.http, &err);
	if (r != WEIR_OK)
		return fail("open", r, &err);
	weir_contract_run(&run);
	weir_backend_close(run.be);
	weir_http_free(run.http);
	weir_conf_free(conf);
	return run.failed > 0;
}
