/* SPDX-License-Identifier: Apache-2.0 */
/* The door of a bundle (bundle/README): linked statically, so that it starts where there is no library at all, it starts the program beside it with the loader and the
 * libraries beside it. FOLDER/bin/weir and FOLDER/bin/mount.weir are this; it finds FOLDER by where it is itself, so the folder may be anywhere. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef STUB_LOADER
#error "STUB_LOADER: the name of the loader in FOLDER/lib"
#endif

int
main(int argc, char **argv)
{
	char folder[PATH_MAX], loader[PATH_MAX + 64], library[PATH_MAX + 8], program[PATH_MAX + 16];
	ssize_t n = readlink("/proc/self/exe", folder, sizeof(folder) - 1);
	char **args = calloc((size_t)argc + 8, sizeof(*args));
	char *slash;
	int k = 0;

	if (n < 0 || args == NULL) {
		fprintf(stderr, "weir: cannot find where it is (is /proc mounted?): %s\n", strerror(errno));
		return 1;
	}
	folder[n] = '\0';
	for (int i = 0; i < 2; i++) {	/* /bin/weir */
		slash = strrchr(folder, '/');
		if (slash != NULL)
			*slash = '\0';
	}
	snprintf(loader, sizeof(loader), "%s/lib/%s", folder, STUB_LOADER);
	snprintf(library, sizeof(library), "%s/lib", folder);
	snprintf(program, sizeof(program), "%s/lib/weir", folder);
	args[k++] = loader;
	args[k++] = (char *)"--library-path";
	args[k++] = library;
	args[k++] = (char *)"--argv0";
	args[k++] = argc > 0 ? argv[0] : program;
	args[k++] = program;
	for (int i = 1; i < argc; i++)
		args[k++] = argv[i];
	execv(loader, args);
	fprintf(stderr, "weir: cannot start %s: %s\n", loader, strerror(errno));
	return 1;
}
