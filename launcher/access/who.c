/* SPDX-License-Identifier: Apache-2.0 */
/* Unix users: names, groups (the user database's, the primary one too), and what they could change on disk. Knows no level. */
#include "config.h"

#include "impl.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WHO_BUF (64u << 10)
#define WHO_GROUPS_MAX (1 << 16)

/* Groups of the database: a process may have given some up, or been started with others. */
static void
who_database_groups(struct weir_access_who *w, gid_t primary)
{
	int n = 64, got;

	do {
		w->groups = weir_xrealloc(w->groups, (size_t)n, sizeof(*w->groups));
		got = n;
	} while (getgrouplist(w->name, primary, w->groups, &got) < 0 && (n = got > n ? got : n * 2) <= WHO_GROUPS_MAX);
	w->ngroups = got > 0 && got <= n ? (size_t)got : 0;
}

/* A uid that the database does not know (in a container): what the process itself has. */
static void
who_process_groups(struct weir_access_who *w)
{
	int n = getgroups(0, NULL);

	w->groups = weir_xcalloc((size_t)(n > 0 ? n : 0) + 1, sizeof(*w->groups));
	n = n > 0 ? getgroups(n, w->groups) : 0;
	w->ngroups = n > 0 ? (size_t)n : 0;
	w->groups[w->ngroups++] = getgid();
}

static void
who_take(struct weir_access_who *w, const struct passwd *pw)
{
	*w = (struct weir_access_who){.uid = pw->pw_uid, .name = weir_xstrdup(pw->pw_name)};
	who_database_groups(w, pw->pw_gid);
}

enum weir_code
weir_who_self(struct weir_access_who *out, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *buf = weir_xcalloc(WHO_BUF, 1);
	struct passwd pw, *found = NULL;
	uid_t uid = getuid();
	int no = getpwuid_r(uid, &pw, buf, WHO_BUF, &found);

	if (found != NULL) {
		who_take(out, found);
		return WEIR_OK;
	}
	/* The C library tells "no such user" in many ways; a database that does not answer must not become "no groups". */
	if (no == EIO || no == EMFILE || no == ENFILE || no == ENOMEM)
		return weir_err_errno(err, no, "look up user %u", (unsigned)uid);
	*out = (struct weir_access_who){.uid = uid, .name = weir_xasprintf("%u", (unsigned)uid)};
	who_process_groups(out);
	return WEIR_OK;
}

enum weir_code
weir_who_named(const char *user, struct weir_access_who *out, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *buf = weir_xcalloc(WHO_BUF, 1);
	struct passwd pw, *found = NULL;
	unsigned long uid;
	char *end;
	int no = getpwnam_r(user, &pw, buf, WHO_BUF, &found);

	if (found == NULL && *user != '\0' && user[strspn(user, "0123456789")] == '\0') {
		errno = 0;
		uid = strtoul(user, &end, 10);
		if (errno == 0 && uid < (uid_t)-1)
			no = getpwuid_r((uid_t)uid, &pw, buf, WHO_BUF, &found);
	}
	if (found == NULL && (no == EIO || no == EMFILE || no == ENFILE || no == ENOMEM))
		return weir_err_errno(err, no, "look up user '%.64s'", user);
	if (found == NULL)
		return weir_err_set(err, WEIR_E_NOENT, "there is no user '%.64s' on this host", user);
	who_take(out, found);
	return WEIR_OK;
}

void
weir_who_clear(struct weir_access_who *w)
{
	free(w->name);
	free(w->groups);
	*w = (struct weir_access_who){0};
}

bool
weir_who_has_gid(const struct weir_access_who *w, gid_t gid)
{
	for (size_t i = 0; i < w->ngroups; i++) {
		if (w->groups[i] == gid)
			return true;
	}
	return false;
}

bool
weir_who_has_group(const struct weir_access_who *w, const char *group)
{
	WEIR_AUTO(weir_freep) char *buf = NULL;
	struct group gr, *found = NULL;
	size_t n = WHO_BUF;
	int no;

	do {	/* a group's members stand in the buffer too, and may be many */
		buf = weir_xrealloc(buf, n, 1);
		no = getgrnam_r(group, &gr, buf, n, &found);
	} while (no == ERANGE && (n *= 4) <= (256u << 20));
	return found != NULL && weir_who_has_gid(w, gr.gr_gid);
}

bool
weir_who_is_admin(const struct weir_access_who *w, const struct weir_access_policy *p)
{
	return w->uid == 0 || (p->admins_group != NULL && weir_who_has_group(w, p->admins_group));
}

static bool
who_could_write(const struct weir_access_who *w, const struct stat *st)
{
	return st->st_uid == w->uid || (st->st_mode & S_IWOTH) != 0 || ((st->st_mode & S_IWGRP) != 0 && weir_who_has_gid(w, st->st_gid));
}

bool
weir_who_could_change(const struct weir_access_who *w, const char *path)
{
	WEIR_AUTO(weir_freep) char *p = realpath(path, NULL);
	bool is_file = true;
	struct stat st;

	/* What modes do not show (access lists), where the kernel can be asked. */
	if (p == NULL || (getuid() == w->uid && access(p, W_OK) == 0))
		return true;
	for (;;) {
		if (lstat(*p != '\0' ? p : "/", &st) < 0)
			return true;
		/* Nobody takes another's entry out of a sticky folder. */
		if (who_could_write(w, &st) && (is_file || st.st_uid == w->uid || (st.st_mode & S_ISVTX) == 0))
			return true;
		if (*p == '\0')
			return false;
		*strrchr(p, '/') = '\0';
		is_file = false;
	}
}
