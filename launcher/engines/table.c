/* SPDX-License-Identifier: Apache-2.0 */
/* All engines this program knows. A new one is one file and one line here. */
#include "config.h"

#include "../launch.h"

#include <string.h>

static const struct weir_engine *const engines[] = {&weir_engine_podman, &weir_engine_docker, &weir_engine_apptainer, &weir_engine_charliecloud, &weir_engine_none};

const struct weir_engine *
weir_engine_find(const char *name)
{
	for (size_t i = 0; i < WEIR_LEN(engines); i++) {
		if (strcmp(engines[i]->name, name) == 0)
			return engines[i];
	}
	return NULL;
}

const struct weir_engine *
weir_engine_choose(const struct weir_job *job)
{
	const struct weir_engine *first = NULL;

	for (size_t i = 0; i < WEIR_LEN(engines); i++) {
		struct weir_err err = {0};

		if ((engines[i]->caps & (job->image != NULL ? WEIR_ENGINE_IMAGE : WEIR_ENGINE_ROOTFS)) == 0)
			continue;
		if (engines[i]->check(job, &err) != WEIR_E_NOENT)
			return engines[i];
		if (first == NULL)
			first = engines[i];
	}
	return first;
}

const char *
weir_job_engines(void)
{
	static char names[128];

	if (names[0] == '\0') {
		struct weir_buf b = WEIR_BUF(sizeof(names) - 1);

		for (size_t i = 0; i < WEIR_LEN(engines); i++)
			weir_buf_addf(&b, "%s%s", i > 0 ? ", " : "", engines[i]->name);
		memcpy(names, weir_buf_str(&b), b.len + 1);
		weir_buf_free(&b);
	}
	return names;
}
