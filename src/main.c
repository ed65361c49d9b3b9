/* SPDX-License-Identifier: Apache-2.0 */
/* The table of verbs lives in src/cli; this is only the door. */
#include "config.h"

#include "cli/cli.h"

int
main(int argc, char **argv)
{
	return weir_cli_main(argc, argv);
}
