/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "inside.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util.h"

#define INSIDE_TRIES 64	/* EAGAIN: somebody renames folders on the way just now */

int
weir_inside_open(int root, const char *path, int flags, mode_t mode)
{
	struct open_how how = {.flags = (unsigned)(flags | O_CLOEXEC), .mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? mode & 07777 : 0,
	    .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
	int fd = -1;

	if (root == AT_FDCWD)
		return open(path, flags | O_CLOEXEC, mode);
	path += strspn(path, "/");
	for (unsigned i = 0; i < INSIDE_TRIES; i++) {
		fd = (int)syscall(SYS_openat2, root, *path != '\0' ? path : ".", &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	return fd;
}

int
weir_inside_parent(int root, const char *path, const char **name)
{
	const char *slash = NULL;
	WEIR_AUTO(weir_freep) char *dir = NULL;

	for (const char *p = path; *p != '\0'; p++) {	/* the last one that something follows */
		if (*p == '/' && p[strspn(p, "/")] != '\0')
			slash = p;
	}
	dir = slash == NULL && path[0] != '/' ? weir_xstrdup(".") : slash == NULL || slash == path ? weir_xstrdup("/") : weir_xstrndup(path, (size_t)(slash - path));

	*name = slash != NULL ? slash + 1 : path;
	*name = slash == NULL && path[0] == '/' ? "." : *name;
	return weir_inside_open(root, dir, O_PATH | O_DIRECTORY, 0);
}

int
weir_inside_mkdirs(int root, const char *path, mode_t mode)
{
	WEIR_AUTO(weir_freep) char *copy = weir_xstrdup(path);

	for (char *p = copy + strspn(copy, "/"); *p != '\0';) {
		size_t n = strcspn(p, "/");
		char next = p[n];
		const char *name;
		WEIR_AUTO(weir_closep) int fd = -1, parent = -1;

		p[n] = '\0';
		fd = weir_inside_open(root, copy, O_PATH | O_DIRECTORY, 0);
		if (fd < 0 && errno != ENOENT)
			return -1;
		if (fd < 0) {
			parent = weir_inside_parent(root, copy, &name);
			if (parent < 0 || (mkdirat(parent, name, mode) != 0 && errno != EEXIST))
				return -1;
		}
		p[n] = next;
		p += n + strspn(p + n, "/");
	}
	return 0;
}
