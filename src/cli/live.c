/* SPDX-License-Identifier: Apache-2.0 */
/* weir check --live REMOTE: every promise of the storage contract, kept or not by a person's real account. The emulators and servers of
 * the tests are never the last word on what a provider does; a report from here is. */
#include "config.h"

#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../backends/contract/contract.h"
#include "live.h"

struct live {
	FILE *report;
	bool is_tty;
	int kept, left_out;
};

static struct weir_cancel live_cancel;

static void
live_stop(int sig)
{
	atomic_store(&live_cancel.is_set, true);
}

static void
live_signals(void)
{
	struct sigaction sa = {.sa_handler = live_stop, .sa_flags = SA_RESETHAND}; /* a second one ends it at once */

	sigemptyset(&sa.sa_mask);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
}

/* The whole text goes into the report; people see what was kept and what was not. */
static void
live_line(void *arg, const char *text)
{
	struct live *l = arg;
	const char *name = strstr(text, " - ");

	fprintf(l->report, "%s\n", text);
	if (strncmp(text, "ok ", 3) == 0 && strstr(text, "# SKIP") != NULL) {
		l->left_out++;
		printf("left out  %s\n", name != NULL ? name + 3 : text);
	} else if (strncmp(text, "ok ", 3) == 0) {
		l->kept++;
		printf("kept      %s\n", name != NULL ? name + 3 : text);
	} else if (strncmp(text, "not ok ", 7) == 0)
		printf("NOT KEPT  %s\n", name != NULL ? name + 3 : text);
	else if (strncmp(text, "# ", 2) == 0 || strncmp(text, "Bail", 4) == 0)
		printf("          %s\n", text[0] == '#' ? text + 2 : text);
	fflush(stdout);
}

static FILE *
live_report(const char *path, const char *remote, char **name)
{
	FILE *f;
	int fd;

	*name = path != NULL ? weir_xstrdup(path) : weir_xasprintf("weir-live-%s.txt", remote);
	fd = open(*name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	f = fd < 0 ? NULL : fdopen(fd, "w");
	if (f == NULL) {
		weir_say("report '%s': %s", *name, strerrordesc_np(errno));
		if (fd >= 0)
			close(fd);
	}
	return f;
}

static void
live_head(FILE *f, const struct weir_remote_conf *remote)
{
	char when[64];
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	fprintf(f, "# weir %s, remote '%s' of type %s, %s\n", PACKAGE_VERSION, remote->name, remote->type, when);
}

static int
live_run(struct weir_contract *c, struct live *l, const char *report)
{
	struct weir_err err = {0};
	enum weir_code r = weir_http_new(&c->http, &err);

	if (r == WEIR_OK)
		r = weir_backend_open(&c->be, c->remote, c->http, &err);
	if (r != WEIR_OK) {
		weir_say("remote '%s': %s", c->remote->name, weir_err_text(&err, r));
		weir_http_free(c->http);
		return WEIR_EXIT_CONFIG;
	}
	live_head(l->report, c->remote);
	weir_contract_run(c);
	weir_backend_close(c->be);
	weir_http_free(c->http);
	printf("%d kept, %d not kept, %d left out; report: %s\n", l->kept, c->failed, l->left_out, report);
	return c->failed == 0 ? WEIR_EXIT_OK : WEIR_EXIT_FAILED;
}

int
weir_live(const struct weir_conf *conf, const char *remote, const char *report)
{
	struct weir_contract c = {.remote = weir_conf_remote(conf, remote), .cancel = &live_cancel, .line = live_line};
	WEIR_AUTO(weir_freep) char *name = NULL;
	struct live l = {0};
	int status;

	if (c.remote == NULL) {
		weir_say("%s has no remote '%s'", conf->path, remote);
		return WEIR_EXIT_USAGE;
	}
	if (c.remote->is_readonly) {
		weir_say("remote '%s' is read_only; --live writes into a scratch folder of it", remote);
		return WEIR_EXIT_USAGE;
	}
	l.report = live_report(report, remote, &name);
	if (l.report == NULL)
		return WEIR_EXIT_FAILED;
	c.arg = &l;
	live_signals();
	status = live_run(&c, &l, name);
	if (fclose(l.report) != 0) {
		weir_say("report '%s': %s", name, strerrordesc_np(errno));
		return WEIR_EXIT_FAILED;
	}
	return status;
}
