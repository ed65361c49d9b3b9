/* SPDX-License-Identifier: Apache-2.0 */
/* One table of mount options. What fstab carries for mount(8), systemd or the kernel is known by name and ignored, as mount
 * helpers do; everything else unknown is an error, so that a typing mistake does not mount something else than was meant. */
#include "config.h"

#include "mountopt.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../util/util.h"

enum mountopt_kind { OPT_SET, OPT_CLEAR, OPT_NUMBER, OPT_OCTAL, OPT_IGNORED };
struct mountopt_row {
	const char *name;	/* one that ends in '.' stands for all that begin so; one that ends in '=' takes a value */
	enum mountopt_kind kind;
	size_t offset;
};

#define MOUNTOPT_FUSE(field) (offsetof(struct weir_mountopt, fuse) + offsetof(struct weir_fuse_options, field))
static const struct mountopt_row mountopt_rows[] = {
    {"ro", OPT_SET, MOUNTOPT_FUSE(is_readonly)},
    {"rw", OPT_CLEAR, MOUNTOPT_FUSE(is_readonly)},
    {"uid=", OPT_NUMBER, offsetof(struct weir_mountopt, uid)},
    {"gid=", OPT_NUMBER, offsetof(struct weir_mountopt, gid)},
    {"umask=", OPT_OCTAL, offsetof(struct weir_mountopt, umask)},
    {"allow_other", OPT_SET, MOUNTOPT_FUSE(allow_other)},
    {"noallow_other", OPT_CLEAR, MOUNTOPT_FUSE(allow_other)},
    {"allow_root", OPT_SET, MOUNTOPT_FUSE(lazy_allow_root)},
    {"suid", OPT_SET, MOUNTOPT_FUSE(suid_ok)},
    {"nosuid", OPT_CLEAR, MOUNTOPT_FUSE(suid_ok)},
    {"dev", OPT_SET, MOUNTOPT_FUSE(dev_ok)},
    {"nodev", OPT_CLEAR, MOUNTOPT_FUSE(dev_ok)},
    {"exec", OPT_SET, MOUNTOPT_FUSE(exec_ok)},
    {"noexec", OPT_CLEAR, MOUNTOPT_FUSE(exec_ok)},
    {"debug", OPT_SET, MOUNTOPT_FUSE(is_debug)},
    /* for mount(8), systemd and the kernel */
    {"defaults", OPT_IGNORED, 0},
    {"auto", OPT_IGNORED, 0},
    {"noauto", OPT_IGNORED, 0},
    {"user", OPT_IGNORED, 0},
    {"user=", OPT_IGNORED, 0},
    {"nouser", OPT_IGNORED, 0},
    {"users", OPT_IGNORED, 0},
    {"nousers", OPT_IGNORED, 0},
    {"owner", OPT_IGNORED, 0},
    {"noowner", OPT_IGNORED, 0},
    {"group", OPT_IGNORED, 0},
    {"nogroup", OPT_IGNORED, 0},
    {"_netdev", OPT_IGNORED, 0},
    {"_rnetdev", OPT_IGNORED, 0},
    {"nofail", OPT_IGNORED, 0},
    {"fail", OPT_IGNORED, 0},
    {"comment=", OPT_IGNORED, 0},
    {"x-.", OPT_IGNORED, 0},
    {"X-.", OPT_IGNORED, 0},
    {"loud", OPT_IGNORED, 0},
    {"silent", OPT_IGNORED, 0},
    {"sync", OPT_IGNORED, 0},
    {"async", OPT_IGNORED, 0},
    {"dirsync", OPT_IGNORED, 0},
    {"atime", OPT_IGNORED, 0},
    {"noatime", OPT_IGNORED, 0},
    {"diratime", OPT_IGNORED, 0},
    {"nodiratime", OPT_IGNORED, 0},
    {"relatime", OPT_IGNORED, 0},
    {"norelatime", OPT_IGNORED, 0},
    {"strictatime", OPT_IGNORED, 0},
    {"nostrictatime", OPT_IGNORED, 0},
    {"lazytime", OPT_IGNORED, 0},
    {"nolazytime", OPT_IGNORED, 0},
    {"iversion", OPT_IGNORED, 0},
    {"noiversion", OPT_IGNORED, 0},
    {"mand", OPT_IGNORED, 0},
    {"nomand", OPT_IGNORED, 0},
    {"default_permissions", OPT_IGNORED, 0},	/* always so */
};

void
weir_mountopt_default(struct weir_mountopt *m)
{
	mode_t mask = umask(022);

	umask(mask);
	*m = (struct weir_mountopt){.uid = getuid(), .gid = getgid(), .umask = mask};
	m->fuse.uid = m->uid;
	m->fuse.gid = m->gid;
	m->fuse.allow_other = getuid() == 0;
	m->fuse.exec_ok = true;
	m->fuse.ready_fd = -1;
}

static const struct mountopt_row *
mountopt_find(const char *opt)
{
	for (size_t i = 0; i < WEIR_LEN(mountopt_rows); i++) {
		const char *name = mountopt_rows[i].name;
		size_t len = strlen(name);
		bool is_prefix = name[len - 1] == '=' || name[len - 1] == '.';

		/* "x-." stands for "x-systemd.automount" and its like: the dot itself is not part of it. */
		if (is_prefix ? strncmp(opt, name, name[len - 1] == '.' ? len - 1 : len) == 0 : strcmp(opt, name) == 0)
			return &mountopt_rows[i];
	}
	return NULL;
}

static enum weir_code
mountopt_number(const char *opt, int base, uint32_t *out, struct weir_err *err)
{
	const char *text = strchr(opt, '=') + 1;
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(text, &end, base);
	if (errno != 0 || end == text || *end != '\0' || *text == '-' || *text == '+' || n > (base == 8 ? 0777u : UINT32_MAX - 1ul))
		return weir_err_set(err, WEIR_E_INVAL, "mount option '%.100s': %s", opt, base == 8 ? "not an octal mask" : "not a number");
	*out = (uint32_t)n;
	return WEIR_OK;
}

static enum weir_code
mountopt_one(struct weir_mountopt *m, const char *opt, bool is_sloppy, struct weir_err *err)
{
	const struct mountopt_row *row = mountopt_find(opt);
	char *at = (char *)m;

	if (row == NULL)
		return is_sloppy ? WEIR_OK : weir_err_set(err, WEIR_E_INVAL, "unknown mount option '%.100s'", opt);
	switch (row->kind) {
	case OPT_SET:
	case OPT_CLEAR:
		*(bool *)(void *)(at + row->offset) = row->kind == OPT_SET;
		return WEIR_OK;
	case OPT_NUMBER:
		return mountopt_number(opt, 10, (uint32_t *)(void *)(at + row->offset), err);
	case OPT_OCTAL:
		return mountopt_number(opt, 8, (uint32_t *)(void *)(at + row->offset), err);
	case OPT_IGNORED:
		break;
	}
	return WEIR_OK;
}

enum weir_code
weir_mountopt_parse(struct weir_mountopt *m, const char *list, bool is_sloppy, struct weir_err *err)
{
	while (*list != '\0') {
		size_t len = strcspn(list, ",");
		WEIR_AUTO(weir_freep) char *opt = weir_xstrndup(list, len);
		enum weir_code r = len > 0 ? mountopt_one(m, opt, is_sloppy, err) : WEIR_OK;

		if (r)
			return r;
		list += len + (list[len] == ',');
	}
	return WEIR_OK;
}
