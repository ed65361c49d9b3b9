/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: one file per verb (parse, check, act), one table of verbs. */
#ifndef WEIR_CLI_H
#define WEIR_CLI_H

int weir_cli_main(int argc, char **argv);

#endif
