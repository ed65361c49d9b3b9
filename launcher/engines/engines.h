/* SPDX-License-Identifier: Apache-2.0 */
/* What the engines share: finding and calling their programs, variables, GPUs, pulls, and jobs that are processes of this host. */
#ifndef WEIR_ENGINES_H
#define WEIR_ENGINES_H

#include "../launch.h"

/* ---- program.c ---- */
/* $VARIABLE split at blanks, else the first of these that is installed, else the first. */
void weir_engine_program(struct weir_words *, const char *variable, const char *const *names);
bool weir_engine_is_there(const char *program);			/* a path, or a name in PATH */
void weir_engine_option(struct weir_words *, const char *option, const char *value);	/* nothing when value is NULL */
int weir_engine_call(struct weir_words *);			/* runs it, quietly; frees the words. Exit status, -1: could not be started */
char *weir_engine_ask(struct weir_words *);			/* its standard output without the last newline, or NULL when it failed; frees the words. Owned */
int weir_engine_exec(struct weir_words *, const char *engine, struct weir_err *);	/* returns only on failure: WEIR_JOB_ENGINE */

/* ---- variables.c ---- */
const char *weir_engine_env(const struct weir_job *, const char *name);	/* its value in job->env (the last one wins), or NULL */
/* Would the program itself be changed by it? Then it must not stand in the program's own environment. */
bool weir_engine_is_own_variable(const char *name);
bool weir_engine_has_own_variable(const struct weir_words *env);
/* A file in memory with those variables, one a line, each value between quotes of this kind ("" for none): *path (owned) is its name for this
 * process and the program that it becomes. Left alone without any. A newline in such a value is refused. */
enum weir_code weir_engine_env_file(const struct weir_words *env, const char *quote, char **path, struct weir_err *);
/* The variables into this process' environment, each name with this before it; without anything before it, those of the program itself are left out. */
enum weir_code weir_engine_putenv(const struct weir_words *env, const char *before, struct weir_err *);
/* The others, each name once, as a program's whole environment. */
void weir_engine_env_list(const struct weir_words *env, struct weir_words *out);
/* Take out what no job shall see: what AWS tools read, and any value that the configuration holds as a secret. */
void weir_engine_clean_environment(const struct weir_conf *);

/* ---- gpus.c ---- */
size_t weir_engine_ngpus(const struct weir_job *);
const struct weir_gpu *weir_engine_gpu(const struct weir_job *, size_t i);
char *weir_engine_gpu_list(const struct weir_job *);	/* "GPU-1…,GPU-2…": what CUDA_VISIBLE_DEVICES takes; "" without GPUs. Owned */
/* For engines that show a job all devices of the host: the variables that make it use its own GPUs only, or none. Those it has stay. */
enum weir_code weir_engine_gpu_environment(const struct weir_job *, const char *before, struct weir_err *);
/* Device files that the picked ones need, each once. */
void weir_engine_gpu_nodes(const struct weir_job *, struct weir_words *);

/* ---- namespace.c ---- */
enum weir_code weir_engine_unshare(struct weir_err *);	/* a mount namespace of our own; who is not root gets a user namespace with it */
enum weir_code weir_engine_bind(const char *from, const char *to, bool is_readonly, struct weir_err *);

/* ---- pull.c ---- */
/* Runs this command (frees the words), its words on standard error as progress unless -q. 0, or WEIR_JOB_ENGINE after one sentence about the image;
 * login: what to type for a login. */
int weir_engine_pull(struct weir_job *, struct weir_words *, const char *login);
/* $XDG_CACHE_HOME/weir/images/NAME.SUFFIX of this job's image, for engines that keep none themselves. Owned. */
char *weir_engine_image_path(const struct weir_job *, const char *suffix);

/* ---- processes.c: every process of the job has its name in its environment ---- */
size_t weir_engine_processes(const char *name, int sig);	/* signals each (0: none); how many there are */
pid_t weir_engine_inside(const char *name);			/* the oldest one that has a mount namespace of its own; 0: none */
bool weir_engine_processes_run(const struct weir_job_id *);
int weir_engine_processes_end(const struct weir_job_id *, int64_t grace_ms, struct weir_err *);
pid_t weir_engine_processes_inside(const struct weir_job_id *);
int weir_engine_processes_enter(const struct weir_job_id *, bool is_terminal, char *const *command, struct weir_err *);
void weir_engine_kill_child(const struct weir_job *, pid_t child);

/* ---- container.c: podman and docker ---- */
struct weir_container {
	const char *name;		/* of the engine */
	const char *variable;		/* its program */
	const char *arguments;		/* further options of run */
	bool has_cdi;			/* --device nvidia.com/gpu=0 */
	bool has_rootfs;
	bool is_apart;			/* without root, its containers do not reach this host */
	const char *network;		/* that containers are in by default, and */
	const char *gateway;		/* the template that tells this host's address there */
};
enum weir_code weir_container_reaches_host(const struct weir_container *, struct weir_err *);
char *weir_container_host_address(const struct weir_container *);
enum weir_code weir_container_check(const struct weir_container *, const struct weir_job *, struct weir_err *);
int weir_container_pull(const struct weir_container *, struct weir_job *, const char *const *exists, const char *login);
void weir_container_words(const struct weir_container *, const struct weir_job *, const char *env_file, struct weir_words *);
int weir_container_become(const struct weir_container *, const struct weir_job *, struct weir_err *);
void weir_container_kill(const struct weir_container *, const char *name, pid_t child);
bool weir_container_is_running(const struct weir_container *, const struct weir_job_id *);
pid_t weir_container_inside(const struct weir_container *, const struct weir_job_id *);
int weir_container_enter(const struct weir_container *, const struct weir_job_id *, bool is_terminal, char *const *command, struct weir_err *);
void weir_container_program(const struct weir_container *, struct weir_words *);

#endif
