/* SPDX-License-Identifier: Apache-2.0 */
/* The table of verbs lives in src/cli; this is only the door. */
#include "config.h"

#include <sys/prctl.h>

#include "cli/cli.h"
#include "util/self.h"

int
main(int argc, char **argv)
{
	if (weir_self_bundle() != NULL)
		prctl(PR_SET_NAME, "weir");	/* else ps and pgrep show the loader */
	return weir_cli_main(argc, argv);
}
