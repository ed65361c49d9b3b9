/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of one remote, kept fresh for many threads (oauth.h is the specification). One thread asks the server, without the mutex; the others go on with
 * a token that is still good or wait for its answer. Knows no storage and no terminal. */
#include "config.h"

#include "oauth.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../util/util.h"
#include "oauth_impl.h"

#define OAUTH_EARLY_MIN_S 60
#define OAUTH_EARLY_MAX_S 300
#define OAUTH_AGAIN_MS 15000	/* after a refresh ahead of time that failed: the old token is good yet */
#define OAUTH_DEAD_MS 300000	/* after a refusal: asking sooner is useless, unless the file changes */
#define OAUTH_JWT_GRANT "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"

struct weir_oauth {
	char *name;
	struct weir_oauth_app app;
	struct weir_http_pool *pool;
	pthread_mutex_t lock;
	pthread_cond_t is_changed;
	/* under lock */
	struct weir_oauth_tokens t;
	struct weir_oauth_stamp stamp;	/* of the file that t came from, or was written to */
	int64_t early_s;		/* how long before expiry to refresh; another one each time, so that processes do not march in step */
	int64_t no_sooner_ms;		/* weir_now_ms(): no refresh ahead of time before */
	bool is_refused;		/* the storage did not take t.access */
	bool is_busy;			/* a thread is asking */
	uint64_t rounds;		/* how often one has asked to the end */
	enum weir_code result;		/* of the last round, and its sentence */
	struct weir_err why;
	int64_t dead_ms;		/* weir_now_ms() when the server refused the sign-in; 0: it did not */
	struct weir_err dead;
};

void
weir_oauth_app_clear(struct weir_oauth_app *a)
{
	free(a->auth_url);
	free(a->token_url);
	free(a->revoke_url);
	free(a->client_id);
	weir_secret_free(a->client_secret);
	free(a->scope);
	free(a->auth_extra);
	free(a->service_account_file);
	free(a->subject);
	free(a->token_file);
	free(a->code_redirect);
	memset(a, 0, sizeof(*a));
}

static struct weir_oauth_app
oauth_app_copy(const struct weir_oauth_app *a)
{
	return (struct weir_oauth_app){
	    .auth_url = weir_xstrdup(a->auth_url),
	    .token_url = weir_xstrdup(a->token_url),
	    .revoke_url = weir_xstrdup(a->revoke_url),
	    .client_id = weir_xstrdup(a->client_id),
	    .client_secret = weir_xstrdup(a->client_secret),
	    .scope = weir_xstrdup(a->scope),
	    .auth_extra = weir_xstrdup(a->auth_extra),
	    .service_account_file = weir_xstrdup(a->service_account_file),
	    .subject = weir_xstrdup(a->subject),
	    .token_file = weir_xstrdup(a->token_file),
	    .code_redirect = weir_xstrdup(a->code_redirect),
	    .revokes_by_bearer = a->revokes_by_bearer,
	};
}

enum weir_code
weir_oauth_new(const char *name, const struct weir_oauth_app *app, struct weir_http_pool *pool, struct weir_oauth **out, struct weir_err *err)
{
	struct weir_oauth *o;
	pthread_condattr_t attr;

	if (app->token_url == NULL || (app->service_account_file != NULL ? app->scope == NULL : app->client_id == NULL || app->token_file == NULL))
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': what is needed to sign in is not configured", name);
	o = weir_xcalloc(1, sizeof(*o));
	o->name = weir_xstrdup(name);
	o->app = oauth_app_copy(app);
	o->pool = pool;
	o->early_s = OAUTH_EARLY_MIN_S;
	pthread_mutex_init(&o->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&o->is_changed, &attr);
	pthread_condattr_destroy(&attr);
	*out = o;
	return WEIR_OK;
}

void
weir_oauth_free(struct weir_oauth *o)
{
	if (o == NULL)
		return;
	weir_oauth_tokens_clear(&o->t);
	weir_oauth_app_clear(&o->app);
	pthread_cond_destroy(&o->is_changed);
	pthread_mutex_destroy(&o->lock);
	free(o->name);
	free(o);
}

static int64_t
oauth_now_s(void)
{
	return weir_wall_ns() / 1000000000;
}

/* Takes the tokens. */
static void
oauth_take(struct weir_oauth *o, struct weir_oauth_tokens *t)
{
	int64_t life = t->expires_s - oauth_now_s();
	char hex[5];

	weir_random_hex(hex, 4);
	o->early_s = OAUTH_EARLY_MIN_S + strtol(hex, NULL, 16) % (OAUTH_EARLY_MAX_S - OAUTH_EARLY_MIN_S + 1);
	if (life < 4 * o->early_s)	/* tokens that live for minutes only */
		o->early_s = life > 0 ? life / 4 : 0;
	o->is_refused = false;
	o->no_sooner_ms = 0;
	o->dead_ms = 0;
	weir_oauth_tokens_clear(&o->t);
	o->t = *t;
	*t = (struct weir_oauth_tokens){0};
}

/* Somebody may have signed in, or refreshed, in another process. */
static enum weir_code
oauth_look(struct weir_oauth *o, struct weir_err *err)
{
	struct weir_oauth_stamp s;
	struct weir_oauth_tokens t = {0};
	WEIR_AUTO(weir_freep) char *words = NULL;
	enum weir_code r;

	if (o->app.token_file == NULL || o->app.service_account_file != NULL)
		return WEIR_OK;
	r = weir_oauth_stamp(o->app.token_file, &s);
	if (r == WEIR_OK && s.mtime_ns == o->stamp.mtime_ns && s.ino == o->stamp.ino && s.size == o->stamp.size)
		return WEIR_OK;
	if (r == WEIR_OK)
		r = weir_oauth_load(o->app.token_file, &t, err);
	else
		r = weir_err_set(err, WEIR_E_NOENT, "nobody has signed in yet, or somebody signed out");
	if (r == WEIR_OK) {
		bool is_same = o->t.access != NULL && t.access != NULL && strcmp(o->t.access, t.access) == 0, was_refused = o->is_refused;

		oauth_take(o, &t);
		o->is_refused = is_same && was_refused;
		o->stamp = s;
		return WEIR_OK;
	}
	weir_oauth_tokens_clear(&o->t);
	o->stamp = (struct weir_oauth_stamp){0};
	words = weir_xstrdup(weir_err_text(err, r));
	return weir_err_set(err, WEIR_E_AUTH, "%.300s; sign in again with 'weir login %s'", words, o->name);
}

static bool
oauth_is_good(const struct weir_oauth *o)
{
	return o->t.access != NULL && !o->is_refused && oauth_now_s() < o->t.expires_s;
}

static bool
oauth_is_fresh(const struct weir_oauth *o)
{
	return oauth_is_good(o) && (oauth_now_s() < o->t.expires_s - o->early_s || weir_now_ms() < o->no_sooner_ms);
}

/* The server takes neither our word nor the person's consent any more. */
static enum weir_code
oauth_dead(struct weir_oauth *o, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *words = weir_xstrdup(weir_err_text(err, WEIR_E_AUTH));

	if (o->app.service_account_file != NULL)
		weir_err_set(err, WEIR_E_AUTH, "the service account is not accepted (%.240s)", words);
	else if (strncmp(words, "invalid_grant", 13) == 0)
		weir_err_set(err, WEIR_E_AUTH, "the sign-in was revoked or has expired (%.240s); sign in again with 'weir login %s'", words, o->name);
	else
		weir_err_set(err, WEIR_E_AUTH, "the app is not accepted (%.240s); look at client_id and client_secret, and sign in again with 'weir login %s'",
		    words, o->name);
	o->dead_ms = weir_now_ms();
	o->dead = *err;
	return WEIR_E_AUTH;
}

/* What to send; owned, for weir_secret_free. */
static enum weir_code
oauth_grant(const struct weir_oauth_app *app, const char *refresh, char **out, struct weir_err *err)
{
	WEIR_AUTO(weir_secret_freep) char *jwt = NULL;
	struct weir_buf b = WEIR_BUF(256u << 10);
	enum weir_code r = WEIR_OK;

	if (app->service_account_file != NULL) {
		r = weir_oauth_assertion(app, oauth_now_s(), &jwt, err);
		weir_buf_adds(&b, OAUTH_JWT_GRANT);
		weir_oauth_field(&b, "assertion", jwt);
	} else {
		weir_buf_adds(&b, "grant_type=refresh_token");
		weir_oauth_field(&b, "refresh_token", refresh);
	}
	if (r == WEIR_OK)
		*out = weir_xstrdup(weir_buf_str(&b));
	weir_oauth_wipe(&b);
	return r;
}

/* A new pair is in t: keep it, on disk too. A disk that is full does not end the work: the old refresh token is good for most servers. */
static void
oauth_keep(struct weir_oauth *o, struct weir_oauth_tokens *t)
{
	struct weir_err err = {0};
	enum weir_code r = WEIR_OK;

	if (t->refresh == NULL)
		t->refresh = weir_xstrdup(o->t.refresh);
	if (t->scope == NULL)
		t->scope = weir_xstrdup(o->t.scope);
	oauth_take(o, t);
	if (o->app.service_account_file != NULL)
		return;
	r = weir_oauth_save(o->app.token_file, &o->t, &err);
	if (r == WEIR_OK)
		r = weir_oauth_stamp(o->app.token_file, &o->stamp);
	if (r != WEIR_OK)
		weir_log(WEIR_LOG_WARN, "remote '%s': the new token could not be kept: %s", o->name, weir_err_text(&err, r));
}

/* Under both locks but the mutex: it is taken where memory is touched. */
static enum weir_code
oauth_ask_server(struct weir_oauth *o, struct weir_cancel *cancel, struct weir_err *err)
{
	WEIR_AUTO(weir_secret_freep) char *grant = NULL, *refresh = NULL;
	struct weir_oauth_tokens t = {0};
	bool is_refused = false;
	enum weir_code r;

	pthread_mutex_lock(&o->lock);
	r = oauth_look(o, err);
	if (r == WEIR_OK && oauth_is_fresh(o)) {	/* another process was faster */
		pthread_mutex_unlock(&o->lock);
		return WEIR_OK;
	}
	if (r == WEIR_OK && o->t.refresh == NULL && o->app.service_account_file == NULL)
		r = weir_err_set(err, WEIR_E_AUTH, "there is no refresh token; sign in again with 'weir login %s'", o->name);
	refresh = weir_xstrdup(o->t.refresh);
	pthread_mutex_unlock(&o->lock);
	if (r == WEIR_OK)
		r = oauth_grant(&o->app, refresh, &grant, err);
	if (r == WEIR_OK)
		r = weir_oauth_ask(&o->app, o->pool, grant, cancel, &is_refused, &t, err);
	pthread_mutex_lock(&o->lock);
	if (r == WEIR_OK)
		oauth_keep(o, &t);
	else if (is_refused)
		r = oauth_dead(o, err);
	pthread_mutex_unlock(&o->lock);
	weir_oauth_tokens_clear(&t);
	return r;
}

/* With the mutex, which is given up meanwhile. */
static enum weir_code
oauth_refresh(struct weir_oauth *o, struct weir_cancel *cancel, struct weir_err *err)
{
	int fd = -1;
	enum weir_code r = WEIR_OK;

	o->is_busy = true;
	pthread_mutex_unlock(&o->lock);
	if (o->app.service_account_file == NULL)
		r = weir_oauth_lock(o->app.token_file, cancel, &fd, err);
	if (r == WEIR_OK)
		r = oauth_ask_server(o, cancel, err);
	weir_closep(&fd);
	pthread_mutex_lock(&o->lock);
	o->is_busy = false;
	if (r != WEIR_E_CANCELED) {	/* one caller's change of mind is no answer for the others */
		o->rounds++;
		o->result = r;
		if (r != WEIR_OK)
			o->why = err != NULL ? *err : (struct weir_err){0};
		if (r != WEIR_OK)
			o->no_sooner_ms = weir_now_ms() + OAUTH_AGAIN_MS;
	}
	pthread_cond_broadcast(&o->is_changed);
	return r;
}

static bool
oauth_is_canceled(struct weir_cancel *cancel)
{
	return cancel != NULL && atomic_load(&cancel->is_set);
}

/* Until the one who asks is through, or the caller is cancelled. */
static enum weir_code
oauth_wait(struct weir_oauth *o, struct weir_cancel *cancel, struct weir_err *err)
{
	uint64_t round = o->rounds;

	while (o->is_busy && o->rounds == round) {
		struct timespec end;

		if (oauth_is_canceled(cancel))
			return weir_err_set(err, WEIR_E_CANCELED, "cancelled");
		clock_gettime(CLOCK_MONOTONIC, &end);
		end.tv_nsec += 100000000;
		end.tv_sec += end.tv_nsec / 1000000000;
		end.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&o->is_changed, &o->lock, &end);
	}
	if (o->rounds == round || o->result == WEIR_OK || oauth_is_good(o))
		return WEIR_OK;
	if (err != NULL)
		*err = o->why;
	return o->result;
}

/* With the mutex. Success: t.access is what to send. */
static enum weir_code
oauth_current(struct weir_oauth *o, const char *refused, struct weir_cancel *cancel, struct weir_err *err)
{
	enum weir_code r;

	for (;;) {
		r = oauth_look(o, err);
		if (r != WEIR_OK)
			return r;
		if (refused != NULL && o->t.access != NULL && strcmp(o->t.access, refused) == 0)
			o->is_refused = true;
		if (oauth_is_fresh(o) || (o->is_busy && oauth_is_good(o)))
			return WEIR_OK;
		if (o->is_busy) {
			r = oauth_wait(o, cancel, err);
			if (r != WEIR_OK)
				return r;
			continue;
		}
		if (o->dead_ms != 0 && weir_now_ms() - o->dead_ms < OAUTH_DEAD_MS) {
			if (oauth_is_good(o))
				return WEIR_OK;
			if (err != NULL)
				*err = o->dead;
			return WEIR_E_AUTH;
		}
		if (oauth_is_canceled(cancel))
			return weir_err_set(err, WEIR_E_CANCELED, "cancelled");
		r = oauth_refresh(o, cancel, err);
		return r != WEIR_OK && oauth_is_good(o) ? WEIR_OK : r;	/* ahead of time: what is there still works */
	}
}

enum weir_code
weir_oauth_bearer(struct weir_oauth *o, const char *refused, struct weir_cancel *cancel, char **token, struct weir_err *err)
{
	struct weir_err own = {0};
	enum weir_code r;

	pthread_mutex_lock(&o->lock);
	r = oauth_current(o, refused, cancel, &own);
	if (r == WEIR_OK)
		*token = weir_xstrdup(o->t.access);
	pthread_mutex_unlock(&o->lock);
	if (r != WEIR_OK && err != NULL)
		*err = own;
	return r;
}
