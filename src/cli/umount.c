/* SPDX-License-Identifier: Apache-2.0 */
/* weir umount: send what is unsent, then take the mount away and wait until its daemon has closed the cache. */
#include "config.h"

#include "cli.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../control/mounts.h"
#include "unmount.h"

#define UMOUNT_END_MS 30000

struct umount_options {
	const char *conf;
	bool is_now, is_quiet;
};

static const struct weir_opt umount_opts[] = {
    WEIR_OPT_CONF(struct umount_options),
    {"now", 0, WEIR_OPT_FLAG, offsetof(struct umount_options, is_now), NULL, "do not send first: keep what is unsent for the next mount"},
    {"quiet", 'q', WEIR_OPT_FLAG, offsetof(struct umount_options, is_quiet), NULL, "no progress"},
};

/* What the daemon tells before it goes. Nothing of it is needed to unmount. */
struct umount_state {
	int pidfd;		/* of the supervisor, or -1 */
	bool is_known;
	uint64_t unsent_files, unsent_bytes;
};

static void
umount_ask(const struct weir_target *t, struct umount_state *s)
{
	json_t *st = NULL;

	if (weir_target_call(t, json_pack("{s:s}", "verb", "status"), NULL, NULL, &st, NULL) == WEIR_OK) {
		pid_t pid = (pid_t)json_integer_value(json_object_get(st, "supervisor_pid"));

		s->is_known = true;
		s->unsent_files = (uint64_t)json_integer_value(json_object_get(st, "unsent_files"));
		s->unsent_bytes = (uint64_t)json_integer_value(json_object_get(st, "unsent_bytes"));
		if (s->pidfd < 0 && pid > 1)
			s->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	}
	json_decref(st);
}

static int
umount_drain(const struct weir_target *t, const struct umount_options *o)
{
	struct weir_progress progress;
	struct weir_err err = {0};
	enum weir_code r;

	weir_progress_start(&progress, "sending");
	progress.is_quiet = o->is_quiet;
	r = weir_target_call(t, json_pack("{s:s, s:s}", "verb", "flush", "path", "/"), weir_progress_line, &progress, NULL, &err);
	weir_progress_end(&progress);
	if (r == WEIR_OK)
		return WEIR_EXIT_OK;
	weir_say("%s", weir_err_text(&err, r));
	weir_say("'%s' stays mounted; 'weir umount --now' keeps what is unsent for the next mount", t->mountpoint);
	return WEIR_EXIT_UNSENT;
}

/* The next mount of this cache may follow at once, so do not come back before the daemon is through with it. A bind of the
 * mount elsewhere (a job's) keeps it alive; that is no failure. */
static void
umount_await(const struct umount_state *s, const char *mountpoint)
{
	struct pollfd p = {.fd = s->pidfd, .events = POLLIN};
	int64_t end = weir_now_ms() + UMOUNT_END_MS;
	int r;

	if (s->pidfd < 0)
		return;
	do
		r = poll(&p, 1, (int)(end - weir_now_ms() > 0 ? end - weir_now_ms() : 0));
	while (r < 0 && errno == EINTR);
	if (r == 0)
		weir_say("'%s' is unmounted, but its daemon goes on: another mount namespace still shows it", mountpoint);
}

/* Nobody answers for the mount: whatever is unsent stays in the cache, but whether anything is, nobody can say now. */
static int
umount_dead(const struct weir_target *t, const struct umount_options *o)
{
	struct weir_err err = {0};
	enum weir_code r = weir_unmount(t->mountpoint, &err);

	if (r)
		r = weir_unmount_dead(t->mountpoint, &err);
	if (r) {
		weir_say("%s", weir_err_text(&err, r));
		return WEIR_EXIT_FAILED;
	}
	weir_say("the daemon of '%s' did not answer; unmounted, what was unsent is kept in '%s' for the next mount", t->mountpoint, t->conf->cache_dir);
	return o->is_now ? WEIR_EXIT_OK : WEIR_EXIT_UNSENT;
}

static int
umount_act(struct weir_target *t, const struct umount_options *o, struct umount_state *s)
{
	struct weir_err err = {0};
	enum weir_code r;
	char amount[64];
	int status;

	umount_ask(t, s);
	if (!s->is_known)
		return umount_dead(t, o);
	if (!o->is_now && (status = umount_drain(t, o)) != WEIR_EXIT_OK)
		return status;
	umount_ask(t, s);
	weir_target_say_aside(t);
	r = weir_unmount(t->mountpoint, &err);
	if (r) {
		weir_say("%s", weir_err_text(&err, r));
		return WEIR_EXIT_FAILED;
	}
	umount_await(s, t->mountpoint);
	if (s->unsent_files > 0)
		weir_say("%s not sent yet, kept in '%s' for the next mount", weir_amount_text(s->unsent_files, s->unsent_bytes, amount), t->conf->cache_dir);
	return WEIR_EXIT_OK;
}

/* The configuration is broken or gone by now, but the mount is there: taking it away needs no more than its name. */
static int
umount_blind(const char *mountpoint, const char *source, bool is_now)
{
	struct weir_err err = {0};
	enum weir_code r;

	if (!is_now) {
		weir_say("'%s' stays mounted: what is unsent cannot be sent without its configuration %s; --now leaves it for later", mountpoint, source);
		return WEIR_EXIT_CONFIG;
	}
	r = weir_unmount(mountpoint, &err);
	if (r)
		weir_say("%s", weir_err_text(&err, r));
	return r ? WEIR_EXIT_FAILED : WEIR_EXIT_OK;
}

/* The operand must be the mount point itself: a folder in it is more likely a mistake than a wish to end the whole. */
static int
umount_find(struct weir_target *t, const struct umount_options *o, const char *path, bool *is_done)
{
	struct weir_mounts mounts;
	struct weir_err err = {0};
	enum weir_code r = weir_mounts_read(&mounts, &err);
	WEIR_AUTO(weir_freep) char *absolute = weir_path_absolute(path);
	WEIR_AUTO(weir_freep) char *real = NULL;
	const struct weir_mount *m = NULL;
	int status = WEIR_EXIT_OK;

	if (r == WEIR_OK && absolute != NULL)
		m = weir_mounts_at(&mounts, absolute, NULL);
	if (r == WEIR_OK && m == NULL && (real = realpath(path, NULL)) != NULL)
		m = weir_mounts_at(&mounts, real, NULL);
	if (m == NULL || strcmp(m->mountpoint, real != NULL ? real : absolute) != 0) {
		weir_say("'%s' is not a weir mount%s%s%s", path, m != NULL ? ", but a folder in the one at '" : "", m != NULL ? m->mountpoint : "", m != NULL ? "'" : "");
		status = WEIR_EXIT_NOMOUNT;
	} else {
		t->mountpoint = weir_xstrdup(m->mountpoint);
		t->conf = weir_cli_conf(m->source);
		if (t->conf == NULL) {
			*is_done = true;
			status = umount_blind(m->mountpoint, m->source, o->is_now);
		}
	}
	weir_mounts_free(&mounts);
	return status;
}

/* Without a mount point: the mount of -c FILE, or the only one there is. */
static int
umount_find_any(struct weir_target *t, const struct umount_options *o)
{
	int status = weir_target_find(t, o->conf, NULL);

	if (status == WEIR_EXIT_OK && t->mountpoint == NULL) {
		weir_say("nothing is mounted from %s", t->conf->path);
		status = WEIR_EXIT_NOMOUNT;
	}
	return status;
}

static int
umount_run(const struct weir_verb *verb, int argc, char **argv)
{
	struct umount_options o = {0};
	struct umount_state s = {.pidfd = -1};
	struct weir_target t = {0};
	bool is_done = false;
	int status, i = weir_opt_parse(verb, &o, argc, argv, &status);

	if (i < 0)
		return status;
	status = argv[i] != NULL ? umount_find(&t, &o, argv[i], &is_done) : umount_find_any(&t, &o);
	if (status == WEIR_EXIT_OK && !is_done)
		status = umount_act(&t, &o, &s);
	weir_closep(&s.pidfd);
	weir_target_free(&t);
	return status;
}

const struct weir_verb weir_verb_umount = {
    .name = "umount",
    .operands = "[MOUNTPOINT]",
    .summary = "send everything, then unmount",
    .opts = umount_opts,
    .nopts = WEIR_LEN(umount_opts),
    .max_operands = 1,
    .run = umount_run,
};
