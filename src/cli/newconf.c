/* SPDX-License-Identifier: Apache-2.0 */
/* newconf.h has the how and why. */
#include "config.h"

#include "newconf.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "../../backends/backend.h"
#include "../fs/fs.h"
#include "../fuse/fuse.h"
#include "../util/util.h"

#define NEWCONF_TEXT (1u << 20)	/* as long as a configuration may be */
#define NEWCONF_NAMES 4096u
#define NEWCONF_TRIES 3u	/* workers that may die over a new one before it is given up */

struct newconf_name {
	uint64_t parent;
	char name[256];
};

/* Lies in memory that all workers of the mount share; written by one worker at a time, and by none while its predecessor lives.
 *
 * state	wanted == chosen: nothing under way. else: exchange `number` is under way, its text is slot[wanted] */
struct newconf_shared {
	int chosen, wanted;			/* -1: the configuration of the mount's beginning, else a slot */
	unsigned tries;				/* workers that began with `wanted` */
	unsigned number;			/* exchanges begun */
	unsigned done;				/* the last one that ended, either way */
	char error[WEIR_ERR_MAX];		/* how: "" well */
	size_t len[2];
	size_t nnames;
	struct newconf_name names[NEWCONF_NAMES];	/* what the namespace showed before */
	char text[2][NEWCONF_TEXT];
};

struct weir_newconf {
	struct newconf_shared *shared;
	const struct weir_conf *first;
	/* in a worker */
	pthread_mutex_t mu;			/* of what follows, and of *shared once it serves */
	struct weir_conf *conf;			/* NULL: first */
	struct weir_fs *fs;
	struct weir_fuse_worker *worker;
	bool is_serving, is_leaving;
};

struct weir_newconf *
weir_newconf_new(const struct weir_conf *first)
{
	struct weir_newconf *nc = weir_xcalloc(1, sizeof(*nc));

	nc->shared = mmap(NULL, sizeof(*nc->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (nc->shared == MAP_FAILED) {
		free(nc);
		return NULL;
	}
	madvise(nc->shared, sizeof(*nc->shared), MADV_DONTDUMP);	/* passwords may stand in it */
	nc->shared->chosen = nc->shared->wanted = -1;
	nc->first = first;
	pthread_mutex_init(&nc->mu, NULL);
	return nc;
}

void
weir_newconf_free(struct weir_newconf *nc)
{
	if (nc == NULL)
		return;
	munmap(nc->shared, sizeof(*nc->shared));
	weir_conf_free(nc->conf);
	pthread_mutex_destroy(&nc->mu);
	free(nc);
}

/* ---- choosing ---- */

static void
newconf_end(struct weir_newconf *nc, const char *error)
{
	struct newconf_shared *s = nc->shared;

	snprintf(s->error, sizeof(s->error), "%s", error);
	s->done = s->number;		/* told before it is over: when we are killed in between, the successor tells it again */
	atomic_thread_fence(memory_order_seq_cst);
	if (error[0] != '\0')
		s->wanted = s->chosen;
	else
		s->chosen = s->wanted;
}

static enum weir_code
newconf_parse(const struct weir_newconf *nc, const char *text, size_t len, struct weir_conf **out, struct weir_err *err)
{
	size_t n;
	const struct weir_conf_type *types = weir_backend_types(&n);
	enum weir_code r = weir_conf_parse(nc->first->path, text, len, types, n, out, err);

	if (r == WEIR_OK)
		(*out)->path = weir_xstrdup(nc->first->path);
	return r;
}

const struct weir_conf *
weir_newconf_take(struct weir_newconf *nc, const char *reason, bool *is_trial)
{
	struct newconf_shared *s = nc->shared;
	struct weir_err err = {0};
	enum weir_code r = WEIR_OK;

	weir_conf_free(nc->conf);
	nc->conf = NULL;
	if (reason != NULL)
		newconf_end(nc, reason);
	else if (s->wanted != s->chosen && s->tries >= NEWCONF_TRIES)
		newconf_end(nc, "the mount's worker died over it, several times");
	else if (s->wanted == s->chosen && s->done != s->number)
		newconf_end(nc, "the mount's worker died before it began");
	*is_trial = s->wanted != s->chosen;
	s->tries += *is_trial;
	if (s->wanted >= 0)
		r = newconf_parse(nc, s->text[s->wanted], s->len[s->wanted], &nc->conf, &err);
	if (r && *is_trial)
		return weir_newconf_take(nc, weir_err_text(&err, r), is_trial);
	return nc->conf != NULL ? nc->conf : nc->first;
}

static const struct weir_conf *
newconf_conf(const struct weir_newconf *nc)
{
	return nc->conf != NULL ? nc->conf : nc->first;
}

void
weir_newconf_built(struct weir_newconf *nc, struct weir_fs *fs, struct weir_fuse_worker *worker)
{
	nc->fs = fs;
	nc->worker = worker;
}

/* ---- names ---- */

static void
newconf_note(void *arg, uint64_t parent, const char *name)
{
	struct newconf_shared *s = arg;

	if (s->nnames == NEWCONF_NAMES)
		return;
	s->names[s->nnames].parent = parent;
	snprintf(s->names[s->nnames++].name, sizeof(s->names[0].name), "%s", name);
}

/* Old and new ones: a name that is gone must go, one that is new may be known as missing, one that stays may lead elsewhere. */
void
weir_newconf_serving(void *arg)
{
	struct weir_newconf *nc = arg;
	struct newconf_shared *s = nc->shared;
	bool is_new = s->wanted != s->chosen;

	if (is_new) {
		weir_fs_names(nc->fs, newconf_note, s);
		for (size_t i = 0; i < s->nnames; i++)
			weir_fs_tell(nc->fs, s->names[i].parent, s->names[i].name, false);
		s->nnames = 0;
	}
	pthread_mutex_lock(&nc->mu);
	if (is_new)
		newconf_end(nc, "");
	nc->is_serving = true;
	pthread_mutex_unlock(&nc->mu);
	if (is_new)
		weir_log(WEIR_LOG_INFO, "the configuration is the one of %s now", nc->first->path);
}

/* ---- reload ---- */

static bool
newconf_same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool
newconf_same_remote(const struct weir_remote_conf *a, const struct weir_remote_conf *b)
{
	if (strcmp(a->type, b->type) != 0 || a->nkv != b->nkv || !newconf_same_text(a->proxy, b->proxy) || !newconf_same_text(a->ca_file, b->ca_file))
		return false;
	for (size_t i = 0; i < a->nkv; i++) {
		if (!newconf_same_text(weir_conf_get(b, a->kv[i].key), a->kv[i].value))
			return false;
	}
	return true;
}

static const struct weir_bind *
newconf_root(const struct weir_conf *c)
{
	for (size_t i = 0; i < c->nbinds; i++) {
		if (strcmp(c->binds[i].path, "/") == 0)
			return &c->binds[i];
	}
	return NULL;
}

static bool
newconf_same_bind(const struct weir_bind *a, const struct weir_bind *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	if (a->is_pool || b->is_pool)
		return a->is_pool && b->is_pool;	/* a pool's root is the pool's own, whatever its members */
	return strcmp(a->places[0].remote, b->places[0].remote) == 0 && strcmp(a->places[0].folder, b->places[0].folder) == 0;
}

static enum weir_code
newconf_check(const struct weir_conf *old, const struct weir_conf *new, struct weir_err *err)
{
	const struct weir_bind *root = newconf_root(new);

	if (new->nremotes == 0)
		return weir_err_set(err, WEIR_E_CONFIG, "%s: no [remote NAME] in it: there is nothing to mount", new->path);
	if (strcmp(old->cache_dir, new->cache_dir) != 0)
		return weir_err_set(err, WEIR_E_CONFIG, "%s: 'cache_dir' is another one: that needs a new mount (weir umount, weir mount)", new->path);
	if (newconf_same_bind(newconf_root(old), root) && (root == NULL || root->is_pool ||
	    newconf_same_remote(weir_conf_remote(old, root->places[0].remote), weir_conf_remote(new, root->places[0].remote))))
		return WEIR_OK;
	return weir_err_set(err, WEIR_E_CONFIG, "%s: what is at '/' is another one: that needs a new mount (weir umount, weir mount)", new->path);
}

/* Loaded for its checks, and once more as text: what is checked is what is taken. */
static enum weir_code
newconf_read(struct weir_newconf *nc, char **text, size_t *len, struct weir_conf **out, struct weir_err *err)
{
	const char *path = nc->first->path;
	struct weir_conf *loaded = NULL;
	size_t n;
	const struct weir_conf_type *types = weir_backend_types(&n);
	enum weir_code r = weir_conf_load(path, types, n, &loaded, err);

	weir_conf_free(loaded);
	if (r)
		return r;
	if (weir_read_file(path, NEWCONF_TEXT, text, len) < 0)
		return weir_err_errno(err, errno, "configuration '%s'", path);
	r = newconf_parse(nc, *text, *len, out, err);
	return r ? r : newconf_check(newconf_conf(nc), *out, err);
}

static json_t *
newconf_changed(const struct weir_conf *old, const struct weir_conf *new)
{
	json_t *names = json_array();

	for (size_t i = 0; i < new->nremotes; i++) {
		const struct weir_remote_conf *was = weir_conf_remote(old, new->remotes[i].name);

		if (was == NULL || !newconf_same_remote(was, &new->remotes[i]))
			json_array_append_new(names, json_string(new->remotes[i].name));
	}
	return names;
}

static json_t *
newconf_warnings(const struct weir_newconf *nc, const struct weir_conf *new)
{
	const struct weir_conf *old = newconf_conf(nc);
	json_t *sentences = json_array();
	struct weir_status st = {0};

	weir_fs_status(nc->fs, &st);
	for (size_t i = 0; i < st.nremotes; i++) {
		const struct weir_remote_status *r = &st.remotes[i];

		if (r->unsent_files > 0 && weir_conf_remote(new, r->name) == NULL)
			json_array_append_new(sentences, json_sprintf("remote '%s' goes with %llu file%s that it does not have yet: kept in '%s' and sent when it is back",
			    r->name, (unsigned long long)r->unsent_files, r->unsent_files == 1 ? "" : "s", new->cache_dir));
	}
	weir_status_free(&st);
	if (!newconf_same_text(old->mountpoint, new->mountpoint))
		json_array_append_new(sentences, json_string("'mountpoint' holds from the next mount on"));
	return sentences;
}

static enum weir_code
newconf_exchange(struct weir_newconf *nc, const char *text, size_t len, json_t *answer, struct weir_err *err)
{
	struct newconf_shared *s = nc->shared;
	enum weir_code r = WEIR_OK;

	pthread_mutex_lock(&nc->mu);
	if (!nc->is_serving || nc->is_leaving)
		r = weir_err_set(err, WEIR_E_BUSY, "another reload is under way");
	else {
		int slot = s->chosen == 0 ? 1 : 0;

		memcpy(s->text[slot], text, len);
		s->len[slot] = len;
		s->tries = 0;
		s->number++;
		s->nnames = 0;
		atomic_thread_fence(memory_order_seq_cst);	/* a successor sees a whole text, or does not want it */
		s->wanted = slot;
		nc->is_leaving = true;
	}
	pthread_mutex_unlock(&nc->mu);
	if (r)
		return r;
	weir_fs_names(nc->fs, newconf_note, s);
	json_object_set_new(answer, "number", json_integer(s->number));
	weir_log(WEIR_LOG_INFO, "reading %s again", nc->first->path);
	weir_fuse_hand_over(nc->worker);	/* this answer is still sent: the control socket ends later */
	return WEIR_OK;
}

static enum weir_code
newconf_reload(void *arg, json_t *request, json_t *answer, struct weir_err *err)
{
	struct weir_newconf *nc = arg;
	struct weir_conf *conf = NULL;
	char *text = NULL;
	size_t len = 0;
	enum weir_code r = newconf_read(nc, &text, &len, &conf, err);

	json_object_set_new(answer, "path", json_string(nc->first->path));
	if (r == WEIR_OK) {
		json_object_set_new(answer, "changed", newconf_changed(newconf_conf(nc), conf));
		json_object_set_new(answer, "warnings", newconf_warnings(nc, conf));
		if (!json_is_true(json_object_get(request, "dry")))
			r = newconf_exchange(nc, text, len, answer, err);
	}
	weir_conf_free(conf);
	weir_secret_free(text);
	return r;
}

static enum weir_code
newconf_reloaded(void *arg, json_t *request, json_t *answer, struct weir_err *err)
{
	struct weir_newconf *nc = arg;

	pthread_mutex_lock(&nc->mu);
	json_object_set_new(answer, "number", json_integer(nc->shared->done));
	json_object_set_new(answer, "why", json_string(nc->shared->error));
	json_object_set_new(answer, "is_done", json_boolean(nc->is_serving && !nc->is_leaving));
	pthread_mutex_unlock(&nc->mu);
	return WEIR_OK;
}

const struct weir_control_verb weir_newconf_verbs[] = {
    {"reload", newconf_reload},
    {"reloaded", newconf_reloaded},
};
const size_t weir_newconf_nverbs = WEIR_LEN(weir_newconf_verbs);
