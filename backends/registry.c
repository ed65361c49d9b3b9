/* SPDX-License-Identifier: Apache-2.0 */
/* All storages this program knows, and how one is stacked. The only place that names them. */
#include "config.h"

#include "backend.h"

#include <pthread.h>
#include <string.h>

#include "../src/util/util.h"
#include "layers.h"

extern const struct weir_backend_ops weir_backend_local, weir_backend_webdav, weir_backend_nextcloud, weir_backend_s3, weir_backend_drive, weir_backend_dropbox,
    weir_backend_rclone;

const struct weir_backend_ops *const weir_backends[] = {
    &weir_backend_local, &weir_backend_webdav, &weir_backend_nextcloud, &weir_backend_s3, &weir_backend_drive, &weir_backend_dropbox, &weir_backend_rclone,
    NULL,
};

bool weir_layer_fault_allowed;

static struct weir_conf_type registry_types[WEIR_LEN(weir_backends) - 1];
static pthread_once_t registry_once = PTHREAD_ONCE_INIT;

static void
registry_fill(void)
{
	for (size_t i = 0; weir_backends[i] != NULL; i++)
		registry_types[i] = (struct weir_conf_type){weir_backends[i]->name, weir_backends[i]->keys};
}

const struct weir_conf_type *
weir_backend_types(size_t *n)
{
	pthread_once(&registry_once, registry_fill);
	*n = WEIR_LEN(registry_types);
	return registry_types;
}

static const struct weir_backend_ops *
registry_find(const char *type)
{
	for (size_t i = 0; weir_backends[i] != NULL; i++) {
		if (strcmp(weir_backends[i]->name, type) == 0)
			return weir_backends[i];
	}
	return NULL;
}

enum weir_code
weir_backend_open(struct weir_backend **out, const struct weir_remote_conf *conf, struct weir_http *http, struct weir_err *err)
{
	const struct weir_backend_ops *ops = registry_find(conf->type);
	struct weir_retry_conf patience = {.name = conf->name, .timeout_ms = conf->timeout_ms, .patience_ms = conf->patience_ms};
	const char *rules = weir_layer_fault_allowed ? getenv("WEIR_FAULT") : NULL;
	struct weir_backend *b = NULL;
	enum weir_code r;

	if (ops == NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': unknown type '%s'", conf->name, conf->type);
	r = ops->open(&b, conf, http, err);
	if (r == WEIR_OK && rules != NULL)
		r = weir_layer_fault(b, rules, &b, err);
	if (r != WEIR_OK) {
		weir_backend_close(b);
		return r;
	}
	b = weir_layer_pace(b);
	*out = weir_layer_retry(b, &patience);
	return WEIR_OK;
}
