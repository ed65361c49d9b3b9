/* SPDX-License-Identifier: Apache-2.0 */
/* Use of a job, from what the kernel tells of every process and connection: /proc/net/tcp and /proc/PID. Needs nothing of the engine but the job's name. */
#include "config.h"

#include "idle.h"

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "launch.h"
#include "mode.h"

#define IDLE_BUSY_PART 20	/* a twentieth of a processor */
#define IDLE_NET_MAX (16u << 20)

/* Is a connection to or from 127.0.0.1:port established? (With a port that is mapped in the kernel, only the client's end is seen here.) */
static bool
idle_has_connection(unsigned port)
{
	WEIR_AUTO(weir_freep) char *text = NULL;
	char *save = NULL;
	size_t len;

	if (weir_read_file("/proc/net/tcp", IDLE_NET_MAX, &text, &len) != 0)
		return true;	/* not known: do no harm */
	for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
		unsigned local_ip, local, far_ip, far, state;

		if (sscanf(line, " %*u: %8X:%4X %8X:%4X %2X", &local_ip, &local, &far_ip, &far, &state) == 5 && state == 1 && (local == port || far == port))
			return true;
	}
	return false;
}

static bool
idle_is_connected(const struct weir_job *job)
{
	for (size_t i = 0; i < job->nports; i++) {
		if (idle_has_connection(job->ports[i].outside))
			return true;
	}
	return false;
}

static bool
idle_is_of_job(const char *pid, const char *variable)
{
	WEIR_AUTO(weir_freep) char *path = weir_xasprintf("/proc/%s/environ", pid);
	WEIR_AUTO(weir_freep) char *text = NULL;
	size_t len;

	if (weir_read_file(path, 4u << 20, &text, &len) != 0)
		return false;
	for (size_t at = 0; at < len; at += strlen(text + at) + 1) {
		if (strcmp(text + at, variable) == 0)
			return true;
	}
	return false;
}

/* Clock ticks that its processes have used. One that ends takes its ticks along; that only makes it look less busy for one look. */
static uint64_t
idle_ticks(const struct weir_job *job)
{
	WEIR_AUTO(weir_freep) char *variable = weir_xasprintf(WEIR_JOB_VARIABLE "=%s", job->name);
	DIR *proc = opendir("/proc");
	struct dirent *e;
	uint64_t sum = 0;

	while (proc != NULL && (e = readdir(proc)) != NULL) {
		WEIR_AUTO(weir_freep) char *path = weir_xasprintf("/proc/%s/stat", e->d_name), *text = NULL;
		unsigned long user, system;
		const char *tail;
		size_t len;

		if (e->d_name[0] < '0' || e->d_name[0] > '9' || !idle_is_of_job(e->d_name, variable) || weir_read_file(path, 4096, &text, &len) != 0)
			continue;
		tail = strrchr(text, ')');	/* the name may hold anything */
		if (tail != NULL && sscanf(tail + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) == 2)
			sum += user + system;
	}
	if (proc != NULL)
		closedir(proc);
	return sum;
}

void
weir_idle_wait(struct weir_job *job, int64_t idle_ms)
{
	int64_t look_ms = idle_ms / 10 < 30000 ? idle_ms / 10 : 30000, since = weir_now_ms(), then = since;
	uint64_t ticks = idle_ticks(job);
	bool is_monitored = false;

	while (weir_now_ms() - since < idle_ms) {
		uint64_t now_ticks;
		int64_t now;

		poll(NULL, 0, (int)look_ms);
		is_monitored = is_monitored || weir_mode_look_monitor(job);
		now = weir_now_ms();
		now_ticks = idle_ticks(job);
		if (idle_is_connected(job) || (now_ticks > ticks && (int64_t)(now_ticks - ticks) * 1000 / sysconf(_SC_CLK_TCK) * IDLE_BUSY_PART > now - then))
			since = now;
		ticks = now_ticks;
		then = now;
	}
}
