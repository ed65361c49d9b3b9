/* SPDX-License-Identifier: Apache-2.0 */
/* What the modes try, train and develop share. */
#ifndef WEIR_MODE_H
#define WEIR_MODE_H
#include "catalogue/catalogue.h"
#include "launch.h"

/* Ports by the platform's convention, and what deep-start calls them where the job has this host's network: PORT0, PORT1, PORT2. */
#define WEIR_PORT_API 5000u
#define WEIR_PORT_MONITOR 6006u
#define WEIR_PORT_IDE 8888u

/* job->image from the module (or --image), with a tag: `gpu` for GPU jobs, else `latest`. *resources: what the metadata asks for in that use, or all "not said".
 * Sentences for what is odd but no error are said. */
enum weir_code weir_mode_module(struct weir_job *, bool is_training, struct weir_module_resources *, struct weir_err *);
/* Does the host, and what was asked for, meet the metadata? Warns, and completes job->gpu. */
void weir_mode_gpu(struct weir_job *, const struct weir_module_resources *);
/* With this host's network: the numbers that were chosen, as deep-start reads them (it does so with --gpu only). */
enum weir_code weir_mode_settle(struct weir_job *, struct weir_err *);
/* The outside port of a name; 0: none. */
unsigned weir_mode_port(const struct weir_job *, const char *name);

struct weir_deepaas;
/* Waits until the module's API serves a model: *model owned. WEIR_COMPANION_GO_ON, or the exit status after a sentence. */
int weir_mode_wait_api(struct weir_job *, struct weir_deepaas *, char **model);
/* Ask for a prediction for each file and show it: on standard output, or in folder `output`. 0 or WEIR_JOB_API after a sentence. */
int weir_mode_predict(struct weir_deepaas *, const char *model, const char *const *files, size_t nfiles, const char *const *args, size_t nargs, const char *output, bool is_json);
/* The last lines of the job's log, on standard error. */
void weir_mode_show_log(const struct weir_job *);
/* Does it answer now (or is there none)? Then its address is said, once: do not ask again. */
bool weir_mode_look_monitor(struct weir_job *);
/* Watch the monitor port; say its address once TensorBoard (or another monitor) answers there. Never returns. */
_Noreturn void weir_mode_watch_monitor(struct weir_job *);

#endif
