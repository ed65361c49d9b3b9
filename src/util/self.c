/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "self.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static pthread_once_t self_once = PTHREAD_ONCE_INIT;
static char self_folder[PATH_MAX];		/* "" : no bundle */
static char self_program[PATH_MAX + 16] = "/proc/self/exe";

/* FOLDER/lib/ld-…: so the bundle is FOLDER, and its door FOLDER/bin/weir. */
static void
self_find(void)
{
	ssize_t n = readlink("/proc/self/exe", self_folder, sizeof(self_folder) - 1);
	char *slash;

	self_folder[n > 0 ? n : 0] = '\0';
	slash = strrchr(self_folder, '/');
	if (slash != NULL && strncmp(slash, "/ld-", 4) == 0) {
		*slash = '\0';
		slash = strrchr(self_folder, '/');
	} else
		slash = NULL;
	if (slash == NULL || slash == self_folder || strcmp(slash, "/lib") != 0) {
		self_folder[0] = '\0';
		return;
	}
	*slash = '\0';
	snprintf(self_program, sizeof(self_program), "%s/bin/weir", self_folder);
}

const char *
weir_self_program(void)
{
	pthread_once(&self_once, self_find);
	return self_program;
}

const char *
weir_self_bundle(void)
{
	pthread_once(&self_once, self_find);
	return self_folder[0] != '\0' ? self_folder : NULL;
}
