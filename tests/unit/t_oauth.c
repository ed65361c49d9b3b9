/* SPDX-License-Identifier: Apache-2.0 */
/* src/net/oauth*.c against an authorization server of our own in this process: what is sent, how often, and what each answer means. */
#include "config.h"

#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <arpa/inet.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/oauth_impl.h"
#include "util/text.h"
#include "util/util.h"

/* ---- the server: one thread, one connection at a time ---- */

static int srv_fd, srv_port;
static atomic_int srv_asked, srv_status, srv_ttl, srv_delay_ms;
static atomic_bool srv_rotates;
static pthread_mutex_t srv_lock = PTHREAD_MUTEX_INITIALIZER;
static char srv_form[16384];		/* the last one; under srv_lock */
static const char *srv_error = "{\"error\":\"invalid_grant\",\"error_description\":\"Token has been expired or revoked.\"}";

static bool
srv_read(int fd, char *buf, size_t max)
{
	size_t n = 0;

	while (n + 1 < max) {
		ssize_t got = recv(fd, buf + n, max - 1 - n, 0);
		char *head, *len;

		if (got <= 0)
			return false;
		n += (size_t)got;
		buf[n] = '\0';
		head = strstr(buf, "\r\n\r\n");
		len = strstr(buf, "Content-Length: ");
		if (head != NULL && len != NULL && n >= (size_t)(head + 4 - buf) + strtoul(len + 16, NULL, 10))
			return true;
	}
	return false;
}

static void
srv_answer(int fd, const char *request)
{
	int no = atomic_fetch_add(&srv_asked, 1) + 1, status = atomic_load(&srv_status);
	char body[512], all[1024];

	pthread_mutex_lock(&srv_lock);
	snprintf(srv_form, sizeof(srv_form), "%s", strstr(request, "\r\n\r\n") + 4);
	pthread_mutex_unlock(&srv_lock);
	usleep((useconds_t)atomic_load(&srv_delay_ms) * 1000);
	if (status == 200)
		snprintf(body, sizeof(body), "{\"access_token\":\"access-%d\",\"expires_in\":%d,\"token_type\":\"Bearer\"%s}", no, atomic_load(&srv_ttl),
		    atomic_load(&srv_rotates) ? ",\"refresh_token\":\"rotated\"" : "");
	else
		snprintf(body, sizeof(body), "%s", status < 500 ? srv_error : "away");
	snprintf(all, sizeof(all), "HTTP/1.1 %d X\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", status, strlen(body), body);
	(void)!send(fd, all, strlen(all), MSG_NOSIGNAL);	/* the asker may have gone, and the suite ended: no assertion here */
}

static void *
srv_thread(void *arg)
{
	static char buf[16384];

	for (;;) {
		int fd = accept(srv_fd, NULL, NULL);

		if (fd < 0)
			return NULL;
		if (srv_read(fd, buf, sizeof(buf)))
			srv_answer(fd, buf);
		close(fd);
	}
}

static int
srv_start(pthread_t *t)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);

	srv_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(srv_fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(srv_fd, 64) < 0 || getsockname(srv_fd, (struct sockaddr *)&a, &len) < 0)
		return -1;
	srv_port = ntohs(a.sin_port);
	return pthread_create(t, NULL, srv_thread, NULL);
}

/* ---- what every test begins with ---- */

static struct weir_http *http;
static struct weir_http_pool *pool;
static char dir[64], file[96];

static void
write_tokens(const char *access, const char *refresh, int64_t expires_s)
{
	struct weir_oauth_tokens t = {.access = weir_xstrdup(access), .refresh = weir_xstrdup(refresh), .expires_s = expires_s};

	CU_ASSERT_EQUAL(weir_oauth_save(file, &t, NULL), WEIR_OK);
	weir_oauth_tokens_clear(&t);
}

static int64_t
now_s(void)
{
	return weir_wall_ns() / 1000000000;
}

static struct weir_oauth_app
make_app(void)
{
	return (struct weir_oauth_app){
	    .auth_url = weir_xstrdup("https://example.org/auth"),
	    .token_url = weir_xasprintf("http://127.0.0.1:%d/token", srv_port),
	    .client_id = weir_xstrdup("the id"),
	    .client_secret = weir_xstrdup("the&secret"),
	    .token_file = weir_xstrdup(file),
	};
}

static struct weir_oauth *
make(void)
{
	struct weir_oauth_app app = make_app();
	struct weir_oauth *o = NULL;

	atomic_store(&srv_asked, 0);
	atomic_store(&srv_status, 200);
	atomic_store(&srv_ttl, 3600);
	atomic_store(&srv_delay_ms, 0);
	atomic_store(&srv_rotates, false);
	CU_ASSERT_EQUAL_FATAL(weir_oauth_new("box", &app, pool, &o, NULL), WEIR_OK);
	weir_oauth_app_clear(&app);
	return o;
}

/* The token, as text that lives until the next call; or the code's name. */
static const char *
bearer(struct weir_oauth *o, const char *refused, struct weir_err *err)
{
	static char last[128];
	char *token = NULL;
	enum weir_code r = weir_oauth_bearer(o, refused, NULL, &token, err);

	snprintf(last, sizeof(last), "%s", r == WEIR_OK ? token : weir_code_name(r));
	weir_secret_free(token);
	return last;
}

static bool
is_private(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && (st.st_mode & 07777) == 0600;
}

/* ---- pieces ---- */

static void
the_challenge_is_that_of_rfc_7636(void)
{
	char out[64];

	weir_oauth_challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", out);
	CU_ASSERT_STRING_EQUAL(out, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}

static void
a_flow_is_random_and_within_the_alphabet(void)
{
	struct weir_oauth_flow a, b;
	char challenge[64];

	weir_oauth_flow_init(&a);
	weir_oauth_flow_init(&b);
	CU_ASSERT(strcmp(a.verifier, b.verifier) != 0 && strcmp(a.state, b.state) != 0);
	CU_ASSERT(strlen(a.verifier) >= 43 && strlen(a.verifier) <= 128);
	CU_ASSERT(strspn(a.verifier, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~") == strlen(a.verifier));
	weir_oauth_challenge(a.verifier, challenge);
	CU_ASSERT_STRING_EQUAL(challenge, a.challenge);
}

static void
the_address_holds_what_the_server_wants(void)
{
	struct weir_oauth_app app = make_app();
	struct weir_oauth_flow f = {.verifier = "v", .challenge = "c", .state = "s"};
	char *url;

	app.scope = weir_xstrdup("a b");
	app.auth_extra = weir_xstrdup("access_type=offline");
	url = weir_oauth_auth_url(&app, &f, "http://127.0.0.1:7");
	CU_ASSERT_STRING_EQUAL(url, "https://example.org/auth?response_type=code&client_id=the%20id&redirect_uri=http%3A%2F%2F127.0.0.1%3A7&scope=a%20b&state=s"
	    "&code_challenge=c&code_challenge_method=S256&access_type=offline");
	free(url);
	url = weir_oauth_auth_url(&app, &f, NULL);
	CU_ASSERT_PTR_NULL(strstr(url, "redirect_uri"));
	free(url);
	weir_oauth_app_clear(&app);
}

static void
what_is_pasted_is_a_code_or_an_address(void)
{
	static const struct { const char *pasted; enum weir_code r; const char *code, *words; } rows[] = {
	    {"  4/0Abc-_ \r\n", WEIR_OK, "4/0Abc-_", NULL},
	    {"http://127.0.0.1:7/?state=st&code=4%2F0A&scope=x", WEIR_OK, "4/0A", NULL},
	    {"http://127.0.0.1:7?code=4%2F0A&state=st#fragment", WEIR_OK, "4/0A", NULL},
	    {"http://127.0.0.1:7/?code=x&state=other", WEIR_E_AUTH, NULL, "another sign-in"},
	    {"http://127.0.0.1:7/?code=x", WEIR_E_AUTH, NULL, "another sign-in"},
	    {"http://127.0.0.1:7/?error=access_denied&error_description=said+no&state=st", WEIR_E_AUTH, NULL, "access_denied: said no"},
	    {"http://127.0.0.1:7/?state=st#code=x", WEIR_E_INVAL, NULL, "no code"},
	    {"http://127.0.0.1:7/?code=a%0D%0Ab&state=st", WEIR_E_INVAL, NULL, "none"},
	    {"two words", WEIR_E_INVAL, NULL, "neither"},
	    {"", WEIR_E_INVAL, NULL, "neither"},
	};
	struct weir_oauth_flow f = {.state = "st"};

	for (size_t i = 0; i < WEIR_LEN(rows); i++) {
		struct weir_err err = {0};
		char *code = NULL;

		CU_ASSERT_EQUAL(weir_oauth_code_from(&f, rows[i].pasted, &code, &err), rows[i].r);
		CU_ASSERT_STRING_EQUAL(code != NULL ? code : "", rows[i].code != NULL ? rows[i].code : "");
		CU_ASSERT(rows[i].words == NULL || strstr(err.msg, rows[i].words) != NULL);
		free(code);
	}
}

static void
both_shapes_of_json_are_imported(void)
{
	struct weir_oauth_tokens t = {0};

	CU_ASSERT_EQUAL(weir_oauth_import(file, "{\"access_token\":\"a\",\"refresh_token\":\"r\",\"expires_at\":1700000000}", NULL), WEIR_OK);
	CU_ASSERT_EQUAL(weir_oauth_load(file, &t, NULL), WEIR_OK);
	CU_ASSERT(strcmp(t.refresh, "r") == 0 && t.expires_s == 1700000000);
	CU_ASSERT_EQUAL(weir_oauth_import(file, "{\"access_token\":\"b\",\"token_type\":\"Bearer\",\"refresh_token\":\"r2\",\"expiry\":\"2023-11-14T22:13:20.5Z\"}", NULL),
	    WEIR_OK);
	CU_ASSERT_EQUAL(weir_oauth_load(file, &t, NULL), WEIR_OK);
	CU_ASSERT(strcmp(t.access, "b") == 0 && strcmp(t.refresh, "r2") == 0 && t.expires_s == 1700000000);
	CU_ASSERT(is_private(file));
	CU_ASSERT_EQUAL(weir_oauth_import(file, "{\"access_token\":\"only\"}", NULL), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(weir_oauth_import(file, "{\"access_token\":\"b\",\"refresh_token\":\"r2\",\"expires_in\":1e300}", NULL), WEIR_OK);
	CU_ASSERT_EQUAL(weir_oauth_import(file, "[1]", NULL), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(weir_oauth_import(file, "{\"access_token\":\"a\\r\\nX: y\",\"refresh_token\":\"\"}", NULL), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(weir_oauth_load(file, &t, NULL), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(t.refresh, "r2");
	weir_oauth_tokens_clear(&t);
}

/* ---- staying fresh ---- */

static void
a_good_token_asks_nobody(void)
{
	struct weir_oauth *o = make();

	write_tokens("good", "r", now_s() + 3000);
	CU_ASSERT_STRING_EQUAL(bearer(o, NULL, NULL), "good");
	CU_ASSERT_STRING_EQUAL(bearer(o, "an older one", NULL), "good");
	CU_ASSERT_EQUAL(atomic_load(&srv_asked), 0);
	weir_oauth_free(o);
}

static void
an_expired_token_is_renewed_and_kept(void)
{
	struct weir_oauth *o = make();
	struct weir_oauth_tokens t = {0};

	write_tokens("old", "re/fresh", now_s() - 1);
	CU_ASSERT_STRING_EQUAL(bearer(o, NULL, NULL), "access-1");
	CU_ASSERT_STRING_EQUAL(bearer(o, NULL, NULL), "access-1");
	CU_ASSERT_EQUAL(atomic_load(&srv_asked), 1);
	CU_ASSERT_STRING_EQUAL(srv_form, "grant_type=refresh_token&refresh_token=re%2Ffresh&client_id=the%20id&client_secret=the%26secret");
	CU_ASSERT_EQUAL(weir_oauth_load(file, &t, NULL), WEIR_OK);
	CU_ASSERT(strcmp(t.access, "access-1") == 0 && strcmp(t.refresh, "re/fresh") == 0);
	CU_ASSERT(t.expires_s > now_s() + 3500 && is_private(file));
	weir_oauth_tokens_clear(&t);
	weir_oauth_free(o);
}

static void
a_refused_token_is_renewed_once(void)
{
	struct weir_oauth *o = make();

	write_tokens("dead", "r", now_s() + 3000);
	CU_ASSERT_STRING_EQUAL(bearer(o, NULL, NULL), "dead");
	CU_ASSERT_STRING_EQUAL(bearer(o, "dead", NULL), "access-1");
	CU_ASSERT_STRING_EQUAL(bearer(o, "dead", NULL), "access-1");
	CU_ASSERT_STRING_EQUAL(bearer(o, NULL, NULL), "access-1");
	CU_ASSERT_EQUAL(atomic_load(&srv_asked), 1);
	weir_oauth_free(o);
}

static void
a_new_refresh_token_replaces_the_old(void)
{
	struct weir_oauth *o = make();
	struct weir_oauth_tokens t = {0};

	atomic_store(&srv_rotates, true);
	write_tokens("old", "r", 1);
	CU_ASSERT_STRING_EQUAL(bearer(o, NULL, NULL), "access-1");
	CU_ASSERT_EQUAL(weir_oauth_load(file, &t, NULL), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(t.refresh, "rotated");
	weir_oauth_tokens_clear(&t);
	weir_oauth_free(o);
}

static void
ahead_of_expiry_a_failure_is_no_failure(void)
{
	struct weir_oauth *o = make();
	struct weir_err err = {0};

	atomic_store(&srv_status, 500);
	write_tokens("late", "r", now_s() + 30);
	CU_ASSERT_STRING_EQUAL(bearer(o, NULL, NULL), "late");	/* just read: how long it has lived is not known, so it is renewed within its last quarter */
	CU_ASSERT_STRING_EQUAL(bearer(o, "late", &err), "SERVER");
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "HTTP 500"));
	atomic_store(&srv_status, 503);
	CU_ASSERT_STRING_EQUAL(bearer(o, "late", NULL), "THROTTLED");
	atomic_store(&srv_status, 200);
	CU_ASSERT_STRING_EQUAL(bearer(o, "late", NULL), "access-3");
	weir_oauth_free(o);
}

struct crowd { struct weir_oauth *o; const char *refused; atomic_int right, wrong; };

static void *
crowd_thread(void *arg)
{
	struct crowd *c = arg;
	char *token = NULL;

	if (weir_oauth_bearer(c->o, c->refused, NULL, &token, NULL) == WEIR_OK && strcmp(token, "access-1") == 0)
		atomic_fetch_add(&c->right, 1);
	else
		atomic_fetch_add(&c->wrong, 1);
	weir_secret_free(token);
	return NULL;
}

static void
crowd_run(struct crowd *c)
{
	pthread_t t[32];

	for (size_t i = 0; i < WEIR_LEN(t); i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&t[i], NULL, crowd_thread, c), 0);
	for (size_t i = 0; i < WEIR_LEN(t); i++)
		pthread_join(t[i], NULL);
}

static void
many_threads_make_one_request(void)
{
	struct crowd c = {.o = make()};

	atomic_store(&srv_delay_ms, 100);
	write_tokens("old", "r", 1);
	crowd_run(&c);
	CU_ASSERT_EQUAL(atomic_load(&c.right), 32);
	CU_ASSERT_EQUAL(atomic_load(&srv_asked), 1);
	weir_oauth_free(c.o);

	c = (struct crowd){.o = make(), .refused = "fresh"};
	atomic_store(&srv_delay_ms, 100);
	write_tokens("fresh", "r", now_s() + 3000);
	crowd_run(&c);
	CU_ASSERT_EQUAL(atomic_load(&c.right), 32);
	CU_ASSERT_EQUAL(atomic_load(&srv_asked), 1);
	weir_oauth_free(c.o);
}

static void
many_threads_share_one_failure(void)
{
	struct crowd c = {.o = make()};

	atomic_store(&srv_delay_ms, 300);
	atomic_store(&srv_status, 400);
	write_tokens("old", "r", 1);
	crowd_run(&c);
	CU_ASSERT_EQUAL(atomic_load(&c.wrong), 32);
	CU_ASSERT_EQUAL(atomic_load(&srv_asked), 1);
	weir_oauth_free(c.o);
}

static void *
slow_refresh(void *o)
{
	char *token = NULL;

	CU_ASSERT_EQUAL(weir_oauth_bearer(o, NULL, NULL, &token, NULL), WEIR_OK);
	weir_secret_free(token);
	return NULL;
}

/* Tokens that live 12 s are renewed in their last quarter; meanwhile the others go on. */
static void
others_go_on_with_a_valid_token(void)
{
	struct weir_oauth *o = make();
	struct weir_oauth_tokens known = {0};
	pthread_t t;
	int64_t start;

	atomic_store(&srv_ttl, 12);
	write_tokens("old", "r", 1);
	CU_ASSERT_STRING_EQUAL(bearer(o, NULL, NULL), "access-1");
	CU_ASSERT_EQUAL_FATAL(weir_oauth_load(file, &known, NULL), WEIR_OK);
	while (now_s() < known.expires_s - 2)
		usleep(10000);
	weir_oauth_tokens_clear(&known);
	atomic_store(&srv_delay_ms, 1500);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, slow_refresh, o), 0);
	for (int i = 0; i < 300 && atomic_load(&srv_asked) < 2; i++)
		usleep(5000);
	CU_ASSERT_EQUAL(atomic_load(&srv_asked), 2);
	start = weir_now_ms();
	CU_ASSERT_STRING_EQUAL(bearer(o, NULL, NULL), "access-1");
	CU_ASSERT(weir_now_ms() - start < 1400);
	pthread_join(t, NULL);
	CU_ASSERT_STRING_EQUAL(bearer(o, NULL, NULL), "access-2");
	weir_oauth_free(o);
}

static void
two_instances_make_one_request(void)	/* as two processes do: they share the file and its lock only */
{
	struct crowd a = {.o = make()}, b = {.o = make()};
	pthread_t t[2];

	atomic_store(&srv_delay_ms, 200);
	write_tokens("old", "r", 1);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&t[0], NULL, crowd_thread, &a), 0);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&t[1], NULL, crowd_thread, &b), 0);
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	CU_ASSERT_EQUAL(atomic_load(&a.right) + atomic_load(&b.right), 2);
	CU_ASSERT_EQUAL(atomic_load(&srv_asked), 1);
	weir_oauth_free(a.o);
	weir_oauth_free(b.o);
}

/* ---- what does not heal by itself ---- */

static void
revoked_says_what_to_do_and_a_login_heals_it(void)
{
	struct weir_oauth *o = make();
	struct weir_err err = {0};

	atomic_store(&srv_status, 400);
	write_tokens("old", "r", 1);
	CU_ASSERT_STRING_EQUAL(bearer(o, NULL, &err), "AUTH");
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "Token has been expired or revoked"));
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "sign in again with 'weir login box'"));
	CU_ASSERT_PTR_NULL(strstr(err.msg, "old"));
	CU_ASSERT_STRING_EQUAL(bearer(o, NULL, &err), "AUTH");
	CU_ASSERT_EQUAL(atomic_load(&srv_asked), 1);	/* the server is not asked what it has answered */
	write_tokens("from a login", "r2", now_s() + 3000);
	CU_ASSERT_STRING_EQUAL(bearer(o, NULL, NULL), "AUTH");	/* no token: it has blanks */
	write_tokens("from-a-login", "r2", now_s() + 3000);
	CU_ASSERT_STRING_EQUAL(bearer(o, NULL, NULL), "from-a-login");
	weir_oauth_free(o);
}

static void
no_file_and_a_bad_file_have_their_sentences(void)
{
	struct weir_oauth *o = make();
	struct weir_err err = {0};

	unlink(file);
	CU_ASSERT_STRING_EQUAL(bearer(o, NULL, &err), "AUTH");
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "'weir login box'"));
	CU_ASSERT_EQUAL(weir_write_file(file, "{\"access", 8), 0);
	CU_ASSERT_STRING_EQUAL(bearer(o, NULL, &err), "AUTH");
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "holds no tokens"));
	write_tokens("good", "r", now_s() + 3000);
	CU_ASSERT_EQUAL(chmod(file, 0640), 0);
	CU_ASSERT_STRING_EQUAL(bearer(o, NULL, &err), "AUTH");
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "chmod 600"));
	CU_ASSERT_EQUAL(chmod(file, 0600), 0);
	CU_ASSERT_STRING_EQUAL(bearer(o, NULL, NULL), "good");
	CU_ASSERT_EQUAL(atomic_load(&srv_asked), 0);
	weir_oauth_free(o);
}

static void
a_canceled_call_ends(void)
{
	struct weir_oauth *o = make();
	struct weir_cancel cancel = {.is_set = true};
	char *token = NULL;

	write_tokens("old", "r", 1);
	CU_ASSERT_EQUAL(weir_oauth_bearer(o, NULL, &cancel, &token, NULL), WEIR_E_CANCELED);
	CU_ASSERT_STRING_EQUAL(bearer(o, NULL, NULL), "access-1");
	weir_oauth_free(o);
}

static void
secrets_go_nowhere_without_tls(void)
{
	struct weir_oauth *o;
	struct weir_oauth_app app = make_app();
	struct weir_err err = {0};

	free(app.token_url);
	app.token_url = weir_xstrdup("http://127.0.0.1.example.org/token");
	CU_ASSERT_EQUAL_FATAL(weir_oauth_new("box", &app, pool, &o, NULL), WEIR_OK);
	write_tokens("old", "r", 1);
	CU_ASSERT_STRING_EQUAL(bearer(o, NULL, &err), "CONFIG");
	weir_oauth_app_clear(&app);
	weir_oauth_free(o);
}

/* ---- service accounts ---- */

static EVP_PKEY *
write_key(const char *path)
{
	EVP_PKEY *key = EVP_RSA_gen(2048);
	BIO *bio = BIO_new(BIO_s_mem());
	char *pem;
	long n;
	json_t *o;
	char *text;

	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	n = BIO_get_mem_data(bio, &pem);
	o = json_pack("{s:s, s:s, s:s%, s:s}", "type", "service_account", "client_email", "robot@example.org", "private_key", pem, (size_t)n,
	    "private_key_id", "k1");
	text = json_dumps(o, 0);
	CU_ASSERT_EQUAL(weir_write_file(path, text, strlen(text)), 0);
	free(text);
	json_decref(o);
	BIO_free(bio);
	return key;
}

static json_t *
decode(const char *s, size_t n)
{
	char b64[2048];
	unsigned char out[2048];
	ssize_t got;

	memset(b64, '=', sizeof(b64));
	for (size_t i = 0; i < n; i++)
		b64[i] = s[i] == '-' ? '+' : s[i] == '_' ? '/' : s[i];
	b64[(n + 3) / 4 * 4] = '\0';
	got = weir_unbase64(b64, out, sizeof(out));
	return got > 0 ? json_loadb((char *)out, (size_t)got, 0, NULL) : NULL;
}

static bool
is_signed(EVP_PKEY *key, const char *jwt)
{
	const char *dot = strrchr(jwt, '.');
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char sig[512];
	char b64[1024];
	size_t n = strlen(dot + 1);
	ssize_t len;
	bool ok;

	memset(b64, '=', sizeof(b64));
	for (size_t i = 0; i < n; i++)
		b64[i] = dot[1 + i] == '-' ? '+' : dot[1 + i] == '_' ? '/' : dot[1 + i];
	b64[(n + 3) / 4 * 4] = '\0';
	len = weir_unbase64(b64, sig, sizeof(sig));
	ok = len > 0 && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
	    EVP_DigestVerify(ctx, sig, (size_t)len, (const unsigned char *)jwt, (size_t)(dot - jwt)) == 1;
	EVP_MD_CTX_free(ctx);
	return ok;
}

static void
a_service_account_signs_for_itself(void)
{
	WEIR_AUTO(weir_freep) char *path = weir_xasprintf("%s/key.json", dir);
	EVP_PKEY *key = write_key(path);
	struct weir_oauth_app app = make_app();
	struct weir_oauth *o;
	char *jwt = NULL;
	json_t *c;

	app.service_account_file = weir_xstrdup(path);
	app.scope = weir_xstrdup("drive");
	app.subject = weir_xstrdup("somebody@example.org");
	CU_ASSERT_EQUAL_FATAL(weir_oauth_assertion(&app, 1700000000, &jwt, NULL), WEIR_OK);
	CU_ASSERT(is_signed(key, jwt));
	c = decode(strchr(jwt, '.') + 1, strcspn(strchr(jwt, '.') + 1, "."));
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(c, "iss")), "robot@example.org");
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(c, "aud")), app.token_url);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(c, "sub")), "somebody@example.org");
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(c, "exp")), 1700003600);
	json_decref(c);
	weir_secret_free(jwt);
	weir_oauth_free(make());	/* resets the server */
	CU_ASSERT_EQUAL_FATAL(weir_oauth_new("box", &app, pool, &o, NULL), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(bearer(o, NULL, NULL), "access-1");
	CU_ASSERT(strstr(srv_form, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=ey") == srv_form);
	CU_ASSERT_PTR_NULL(strstr(srv_form, "client_secret"));
	CU_ASSERT_EQUAL(chmod(path, 0644), 0);
	CU_ASSERT_STRING_EQUAL(bearer(o, "access-1", NULL), "CONFIG");
	weir_oauth_free(o);
	weir_oauth_app_clear(&app);
	EVP_PKEY_free(key);
	unlink(path);
}

int
main(void)
{
	CU_pSuite s;
	pthread_t t;
	struct weir_http_pool_conf pc = {.name = "box", .stall_ms = 5000, .connect_ms = 5000, .max_connections = 8};
	unsigned failed;
	char lock[112];

	snprintf(dir, sizeof(dir), "/tmp/weir-t-oauth.XXXXXX");
	if (mkdtemp(dir) == NULL || srv_start(&t) != 0 || weir_http_new(&http, NULL) != WEIR_OK || weir_http_pool_new(http, &pc, &pool, NULL) != WEIR_OK ||
	    CU_initialize_registry() != CUE_SUCCESS)
		return 99;
	snprintf(file, sizeof(file), "%s/box.json", dir);
	s = CU_add_suite("oauth", NULL, NULL);
	CU_ADD_TEST(s, the_challenge_is_that_of_rfc_7636);
	CU_ADD_TEST(s, a_flow_is_random_and_within_the_alphabet);
	CU_ADD_TEST(s, the_address_holds_what_the_server_wants);
	CU_ADD_TEST(s, what_is_pasted_is_a_code_or_an_address);
	CU_ADD_TEST(s, both_shapes_of_json_are_imported);
	CU_ADD_TEST(s, a_good_token_asks_nobody);
	CU_ADD_TEST(s, an_expired_token_is_renewed_and_kept);
	CU_ADD_TEST(s, a_refused_token_is_renewed_once);
	CU_ADD_TEST(s, a_new_refresh_token_replaces_the_old);
	CU_ADD_TEST(s, ahead_of_expiry_a_failure_is_no_failure);
	CU_ADD_TEST(s, many_threads_make_one_request);
	CU_ADD_TEST(s, many_threads_share_one_failure);
	CU_ADD_TEST(s, others_go_on_with_a_valid_token);
	CU_ADD_TEST(s, two_instances_make_one_request);
	CU_ADD_TEST(s, revoked_says_what_to_do_and_a_login_heals_it);
	CU_ADD_TEST(s, no_file_and_a_bad_file_have_their_sentences);
	CU_ADD_TEST(s, a_canceled_call_ends);
	CU_ADD_TEST(s, secrets_go_nowhere_without_tls);
	CU_ADD_TEST(s, a_service_account_signs_for_itself);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	weir_http_pool_free(pool);
	weir_http_free(http);
	shutdown(srv_fd, SHUT_RDWR);
	pthread_join(t, NULL);
	close(srv_fd);
	unlink(file);
	snprintf(lock, sizeof(lock), "%s.lock", file);
	unlink(lock);
	rmdir(dir);
	return failed > 0;
}
