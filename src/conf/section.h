/* SPDX-License-Identifier: Apache-2.0 */
/* Between conf.c and section.c; everybody else includes conf.h. */
#ifndef WEIR_SECTION_H
#define WEIR_SECTION_H
#include "conf.h"

struct weir_ini_entry;
bool weir_section_is_known(const char *kind);
/* A header or a line of a known section. file: for messages. */
enum weir_code weir_section_entry(struct weir_conf *, const char *file, const struct weir_ini_entry *, struct weir_err *);
void weir_section_free_all(struct weir_conf *);
bool weir_conf_name_is_good(const char *);	/* letters, digits, - _ . ; at most 64 */

#endif
