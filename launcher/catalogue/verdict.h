/* SPDX-License-Identifier: Apache-2.0 */
/* Is a tree what version 2 of the platform's metadata asks for? */
#ifndef WEIR_CATALOGUE_VERDICT_H
#define WEIR_CATALOGUE_VERDICT_H
#include "yaml.h"

struct weir_words;
/* Adds one sentence for each thing that is wrong to problems (the schema's rules: the metadata is invalid), and one for each that is allowed but
 * odd to notes. root NULL: an empty document. */
void weir_verdict(const struct weir_yaml *root, struct weir_words *problems, struct weir_words *notes);
/* A formatted sentence, cut at a sensible length. */
void weir_sentence(struct weir_words *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
