/* SPDX-License-Identifier: Apache-2.0 */
/* Getting an image: the engine's own pull with its own progress, and one sentence when it fails. Engines say why in words only, and each in
 * its own; what is looked for here are the words of containers/image (podman, skopeo), docker, apptainer, ch-image, and of the
 * registries' error codes, which they all repeat. */
#include "config.h"

#include "engines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PULL_LOG_MAX (1u << 20)	/* the end of its words; a log of this size is mostly progress */
#define PULL_REASON_MAX 240

/* ---- what its words mean ---- */

enum pull_cause { PULL_OTHER, PULL_DISK, PULL_LOGIN, PULL_MISSING, PULL_DENIED, PULL_NET, PULL_DAEMON };

/* In this order: a refusal is what is said last of all, a full disk what matters before all. */
static const struct pull_word { enum pull_cause cause; const char *text; } pull_words[] = {
    {PULL_DAEMON, "cannot connect to the docker daemon"},
    {PULL_DAEMON, "docker.sock"},
    {PULL_DISK, "no space left on device"},
    {PULL_DISK, "disk quota exceeded"},
    {PULL_DISK, "Errno 28"},
    {PULL_DENIED, "may require 'docker login'"},
    {PULL_DENIED, "requested access to the resource is denied"},
    {PULL_LOGIN, "unauthorized"},
    {PULL_LOGIN, "authentication required"},
    {PULL_LOGIN, "no basic auth credentials"},
    {PULL_LOGIN, "invalid username/password"},
    {PULL_LOGIN, "incorrect username or password"},
    {PULL_LOGIN, "401 "},
    {PULL_LOGIN, "403 "},
    {PULL_LOGIN, "denied:"},
    {PULL_MISSING, "manifest unknown"},
    {PULL_MISSING, "manifest_unknown"},
    {PULL_MISSING, "name unknown"},
    {PULL_MISSING, "name_unknown"},
    {PULL_MISSING, "repository name not known"},
    {PULL_MISSING, "manifest not found"},
    {PULL_MISSING, "not found"},
    {PULL_MISSING, "404 "},
    {PULL_MISSING, "image does not exist"},
    {PULL_NET, "connection refused"},
    {PULL_NET, "no such host"},
    {PULL_NET, "network is unreachable"},
    {PULL_NET, "no route to host"},
    {PULL_NET, "name resolution"},
    {PULL_NET, "timeout"},
    {PULL_NET, "timed out"},
    {PULL_NET, "deadline exceeded"},
    {PULL_NET, "connection reset"},
    {PULL_NET, "max retries exceeded"},
    {PULL_NET, "http response to https client"},
    {PULL_NET, "x509:"},
    {PULL_NET, "certificate verify failed"},
    {PULL_NET, "dial tcp"},
};

static enum pull_cause
pull_cause(const char *text)
{
	for (size_t i = 0; i < WEIR_LEN(pull_words); i++) {
		if (strcasestr(text, pull_words[i].text) != NULL)
			return pull_words[i].cause;
	}
	return PULL_OTHER;
}

/* In place: colours, cursor movements and lines that were written over are not words. */
static void
pull_plain(char *text)
{
	char *to = text;

	for (const char *p = text; *p != '\0'; p++) {
		if (p[0] == '\033' && p[1] == '[') {
			p += 2;
			while (*p != '\0' && (*p < '@' || *p > '~'))
				p++;
			if (*p == '\0')
				break;
		} else if (*p == '\r')
			*to++ = '\n';
		else if ((unsigned char)*p >= ' ' || *p == '\n' || *p == '\t')
			*to++ = *p;
	}
	*to = '\0';
}

/* The last line that says something. The root of a wrapped Go error stands at its end, so a long one is cut at the front. */
static const char *
pull_reason(char *text)
{
	char *last = NULL, *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
		if (line[strspn(line, " \t")] != '\0')
			last = line + strspn(line, " \t");
	}
	if (last == NULL)
		return "it did not say why";
	for (const char *const *p = (const char *const[]){"Error: ", "error: ", "FATAL: ", "Error response from daemon: ", NULL}; *p != NULL; p++) {
		if (strncmp(last, *p, strlen(*p)) == 0)
			last += strlen(*p);
	}
	return strlen(last) > PULL_REASON_MAX ? last + strlen(last) - PULL_REASON_MAX : last;
}

/* The host that the name begins with, as engines decide it: it has a dot or a colon, or is localhost. */
static void
pull_registry(const char *image, char *out, size_t size)
{
	size_t len = strcspn(image, "/");
	bool is_host = image[len] == '/' && (memchr(image, '.', len) != NULL || memchr(image, ':', len) != NULL || strncmp(image, "localhost/", 10) == 0);

	snprintf(out, size, "%.*s", is_host ? (int)len : 0, image);
}

static void
pull_say(const struct weir_job *job, const char *engine, const char *login, char *text)
{
	char registry[256];
	enum pull_cause cause;
	const char *reason;

	pull_plain(text);
	cause = pull_cause(text);
	reason = pull_reason(text);
	pull_registry(job->image, registry, sizeof(registry));
	switch (cause) {
	case PULL_DISK:
		weir_job_say("image '%s' cannot be had: the disk where %s keeps images is full (%s)", job->image, engine, reason);
		break;
	case PULL_LOGIN:
		weir_job_say("image '%s' cannot be had: the registry wants a login, or another one than it got; '%s %s' makes one (%s)", job->image, login, registry, reason);
		break;
	case PULL_DENIED:
		weir_job_say("image '%s' cannot be had: there is no such repository, or it needs a login ('%s %s') (%s)", job->image, login, registry, reason);
		break;
	case PULL_MISSING:
		weir_job_say("image '%s' cannot be had: the registry has no such repository or tag (%s)", job->image, reason);
		break;
	case PULL_DAEMON:
		weir_job_say("image '%s' cannot be had: %s's own daemon does not answer (%s)", job->image, engine, reason);
		break;
	case PULL_NET:
		weir_job_say("image '%s' cannot be had: the registry cannot be reached (%s)", job->image, reason);
		break;
	default:
		weir_job_say("image '%s' cannot be had (%s)", job->image, reason);
	}
}

/* ---- the pull ---- */

struct pull { struct weir_words *words; const char *engine; int log_fd; bool is_quiet; };

static int
pull_become(void *arg, struct weir_err *err)
{
	const struct pull *p = arg;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (null >= 0)
		dup2(null, STDIN_FILENO);	/* what it would ask for, a launcher cannot answer */
	if (p->is_quiet)
		dup2(p->log_fd, STDERR_FILENO);
	return weir_engine_exec(p->words, p->engine, err);
}

static char *
pull_text(int fd)
{
	struct stat st;
	off_t from;
	char *text;
	ssize_t n;

	if (fstat(fd, &st) != 0)
		return weir_xstrdup("");
	from = st.st_size > (off_t)PULL_LOG_MAX ? st.st_size - (off_t)PULL_LOG_MAX : 0;
	text = weir_xcalloc(1, (size_t)(st.st_size - from) + 1);
	n = weir_pread_full(fd, text, (size_t)(st.st_size - from), from);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

int
weir_engine_pull(struct weir_job *job, struct weir_words *words, const char *login)
{
	WEIR_AUTO(weir_closep) int log_fd = memfd_create("weir-pull", MFD_CLOEXEC), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct pull p = {words, job->engine->name, log_fd, job->o->is_quiet};
	struct weir_child c = {.become = pull_become, .arg = &p, .out_fd = null, .log_fd = job->o->is_quiet ? 0 : log_fd, .keeps_terminal = true};
	WEIR_AUTO(weir_freep) char *text = NULL;
	int r = weir_child_run(&c);

	weir_words_free(words);
	if (c.signal != 0)
		job->signal = c.signal;
	if (r == 0 && c.status == 0)
		return 0;
	text = pull_text(log_fd);
	if (r != 0)
		weir_job_say("%s", weir_err_text(&c.err, WEIR_E_IO));
	else if (c.signal == 0)
		pull_say(job, job->engine->name, login, text);
	return WEIR_JOB_ENGINE;
}

/* Slashes and colons of the name become %: a file name that tells what it is, and no two images the same. */
char *
weir_engine_image_path(const struct weir_job *job, const char *suffix)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	WEIR_AUTO(weir_freep) char *name = weir_xstrdup(job->image);
	WEIR_AUTO(weir_freep) char *dir = cache != NULL && cache[0] == '/' ? weir_xasprintf("%s/weir/images", cache) :
	    geteuid() == 0 && (home == NULL || home[0] == '\0') ? weir_xstrdup("/var/cache/weir/images") : weir_xasprintf("%s/.cache/weir/images", home != NULL ? home : "/tmp");

	for (char *p = name; *p != '\0'; p++) {
		if (*p == '/' || *p == ':')
			*p = '%';
	}
	return weir_xasprintf("%s/%s%s", dir, name, suffix);
}
