/* SPDX-License-Identifier: Apache-2.0 */
/* What an unquoted word of YAML 1.1 means. Part of yaml.c. */
#ifndef WEIR_CATALOGUE_YAML_WORD_H
#define WEIR_CATALOGUE_YAML_WORD_H
#include "yaml.h"

/* Settles kind and value of a scalar from its text and tag (without "tag:yaml.org,2002:"; NULL: none). INVAL and a sentence without a line:
 * it cannot be what its tag says, or is a date that no calendar has. */
enum weir_code weir_yaml_word(struct weir_yaml *, const char *tag, struct weir_err *);
/* An unquoted << or =, which have a meaning as keys only. (Kept as OTHER until it is known where they stand.) */
bool weir_yaml_is_merge(const struct weir_yaml *);
bool weir_yaml_is_equals(const struct weir_yaml *);

#endif
