/* SPDX-License-Identifier: Apache-2.0 */
/* Names that a storage takes for one: NFC and, where it says so, without case. Pure, thread-safe. */
#ifndef WEIR_FOLD_H
#define WEIR_FOLD_H
#include <stdbool.h>

/* The name (or path) as it is compared: composed (NFC) and case-folded as Unicode says. Bytes that are not UTF-8 make the whole stay as it is.
 * Owned, never NULL. */
char *weir_fold(const char *);
bool weir_fold_equal(const char *a, const char *b);

#endif
