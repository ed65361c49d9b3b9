/* SPDX-License-Identifier: Apache-2.0 */
/* Where this program is. A bundle (bundle/README) runs it through a loader of its own: /proc/self/exe is then the loader. */
#ifndef WEIR_SELF_H
#define WEIR_SELF_H

/* What execv(2) takes to start this program once more. */
const char *weir_self_program(void);
/* The bundle's folder, NULL when this is none. Both: any thread, valid for ever. */
const char *weir_self_bundle(void);

#endif
