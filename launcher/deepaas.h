/* SPDX-License-Identifier: Apache-2.0 */
/* A client of the DEEPaaS API, version 2, as modules serve it (its routes: /swagger.json, /v2/models/, /v2/models/NAME/predict/). One thread at a time; makes
 * threads of its own, so a process that means to fork does that first. */
#ifndef WEIR_DEEPAAS_H
#define WEIR_DEEPAAS_H
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "../src/util/buf.h"
#include "../src/util/err.h"

struct weir_deepaas;

/* url: "http://127.0.0.1:5000", without a slash at its end. */
enum weir_code weir_deepaas_open(const char *url, struct weir_deepaas **out, struct weir_err *);
void weir_deepaas_free(struct weir_deepaas *);

/* Does it serve a model by now? OK: *model, owned, is the first of its list. BUSY: nobody answers yet, or not with a 2xx. PROTO: an answer that no module
 * gives, or only the placeholder `deepaas-test`, which DEEPaaS serves in place of a model that cannot be loaded. */
enum weir_code weir_deepaas_look(struct weir_deepaas *, char **model, struct weir_err *);
/* Does anything speak HTTP there, whatever it says? OK or BUSY. */
enum weir_code weir_deepaas_ping(struct weir_deepaas *, const char *path, struct weir_err *);

struct weir_deepaas_answer {
	int status;			/* 200 */
	char type[96];			/* of its content, without parameters: "application/json" */
	struct weir_buf body;
	json_t *predictions;		/* of a JSON answer: what stands under "predictions", else all of it; NULL: not JSON */
};
/* One file (NULL: none) as the parameter that the model's own description takes files by; args: "name=value", to the query. INVAL: the model knows no such
 * argument, takes no file, or refuses the values (its own words). SERVER: the model failed, with its words. */
enum weir_code weir_deepaas_predict(struct weir_deepaas *, const char *model, const char *file, const char *const *args, size_t nargs, struct weir_deepaas_answer *,
    struct weir_err *);
void weir_deepaas_answer_free(struct weir_deepaas_answer *);
/* For people: lists that belong together (labels and probabilities) as a table, all else as JSON. Appends to out. */
void weir_deepaas_text(const json_t *predictions, struct weir_buf *out);
/* Ending of a file that holds such content, with its dot: ".json", ".png"; ".bin" for what is unknown. Static. */
const char *weir_deepaas_ending(const char *type);

#endif
