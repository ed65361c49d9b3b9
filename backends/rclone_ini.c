/* SPDX-License-Identifier: Apache-2.0 */
/* rclone.conf: text -> sections. Must not know what any key means. */
#include "config.h"

#include "rclone_ini.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "../src/util/text.h"
#include "../src/util/util.h"

#define INI_MAX (1u << 20)
#define INI_IV 16

char *
weir_rclone_ini_path(void)
{
	const char *given = getenv("RCLONE_CONFIG"), *xdg = getenv("XDG_CONFIG_HOME");
	WEIR_AUTO(weir_freep) char *first = NULL;
	WEIR_AUTO(weir_freep) char *old = NULL;
	char *usual;

	if (given)
		return *given ? weir_xstrdup(given) : NULL;
	if (xdg && *xdg) {
		first = weir_xasprintf("%s/rclone/rclone.conf", xdg);
		if (access(first, F_OK) == 0)
			return WEIR_STEAL(first);
	}
	usual = weir_path_expand("~/.config/rclone/rclone.conf", NULL);
	if (!usual || access(usual, F_OK) == 0)
		return usual;
	old = weir_path_expand("~/.rclone.conf", NULL);
	if (old && access(old, F_OK) == 0) {
		free(usual);
		return WEIR_STEAL(old);
	}
	return usual;
}

/* ---- parsing ---- */

/* Cuts blanks on both ends, in place. */
static char *
ini_trim(char *s)
{
	size_t n;

	s += strspn(s, " \t\r\v\f");
	n = strlen(s);
	while (n && strchr(" \t\r\v\f", s[n - 1]))
		s[--n] = '\0';
	return s;
}

/* A text in quotes: its inside, and *rest behind the closing one. NULL: no quote stands there; *is_bad: it is never closed. */
static char *
ini_quoted(char *s, bool to_last, char **rest, bool *is_bad)
{
	const char *q = *s == '`' ? "`" : strncmp(s, "\"\"\"", 3) == 0 ? "\"\"\"" : NULL;
	char *end = NULL;
	size_t n;

	if (!q)
		return NULL;
	n = strlen(q);
	for (char *p = strstr(s + n, q); p; p = to_last ? strstr(p + 1, q) : NULL)
		end = p;
	if (!end) {
		*is_bad = true;
		return NULL;
	}
	*end = '\0';
	*rest = end + n;
	return s + n;
}

static void
ini_set(struct weir_rclone_section *s, const char *key, const char *value, int line)
{
	for (size_t i = 0; i < s->nkv; i++) {
		if (strcmp(s->kv[i].key, key) == 0) {	/* the later one counts */
			weir_secret_free(s->kv[i].value);
			s->kv[i].value = weir_xstrdup(value);
			return;
		}
	}
	s->kv = weir_xrealloc(s->kv, s->nkv + 1, sizeof(*s->kv));
	s->kv[s->nkv++] = (struct weir_kv){ weir_xstrdup(key), weir_xstrdup(value), line };
}

static struct weir_rclone_section *
ini_section(struct weir_rclone_ini *ini, const char *name, int line)
{
	for (size_t i = 0; i < ini->n; i++)
		if (strcmp(ini->v[i].name, name) == 0)
			return &ini->v[i];
	ini->v = weir_xrealloc(ini->v, ini->n + 1, sizeof(*ini->v));
	ini->v[ini->n] = (struct weir_rclone_section){ .name = weir_xstrdup(name), .line = line };
	return &ini->v[ini->n++];
}

static enum weir_code
ini_entry(const char *name, struct weir_rclone_section *s, char *line, int no, struct weir_err *err)
{
	bool is_bad = false;
	char *rest = NULL, *value, *key = ini_quoted(line, false, &rest, &is_bad);
	size_t cut = strcspn(key ? rest : line, "=:");
	char *sign = (key ? rest : line) + cut;

	if (is_bad || !*sign || (!key && cut == 0))
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: no 'key = value'", name, no);
	*sign = '\0';
	if (!key)
		key = ini_trim(line);
	value = ini_trim(sign + 1);
	rest = ini_quoted(value, true, &rest, &is_bad);
	if (is_bad)
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: a quote is not closed", name, no);
	ini_set(s, key, rest ? rest : value, no);
	return WEIR_OK;
}

static enum weir_code
ini_line(const char *name, struct weir_rclone_ini *ini, struct weir_rclone_section **s, char *line, int no, struct weir_err *err)
{
	size_t n;

	line = ini_trim(line);
	n = strlen(line);
	if (!n || *line == '#' || *line == ';')
		return WEIR_OK;
	if (strncmp(line, "RCLONE_ENCRYPT_V", 16) == 0)
		return weir_err_set(err, WEIR_E_CONFIG, "%s is encrypted", name);
	if (*line == '[' && line[n - 1] == ']') {
		line[n - 1] = '\0';
		*s = ini_section(ini, ini_trim(line + 1), no);
		return WEIR_OK;
	}
	if (!*s)
		return weir_err_set(err, WEIR_E_CONFIG, "%s:%d: this is no rclone.conf: a line stands before the first [remote]", name, no);
	return ini_entry(name, *s, line, no, err);
}

enum weir_code
weir_rclone_ini_parse(const char *name, const char *text, size_t len, struct weir_rclone_ini **out, struct weir_err *err)
{
	WEIR_AUTO(weir_rclone_ini_freep) struct weir_rclone_ini *ini = weir_xcalloc(1, sizeof(*ini));
	WEIR_AUTO(weir_secret_freep) char *copy = weir_xstrndup(text, len);
	struct weir_rclone_section *s = NULL;
	enum weir_code r = WEIR_OK;
	char *p = copy;

	if (memchr(text, '\0', len))
		return weir_err_set(err, WEIR_E_CONFIG, "%s holds a NUL byte", name);
	if (strncmp(p, "\xef\xbb\xbf", 3) == 0)
		p += 3;
	for (int no = 1; !r && *p; no++) {
		size_t n = strcspn(p, "\n");
		bool is_last = p[n] == '\0';

		p[n] = '\0';
		r = ini_line(name, ini, &s, p, no, err);
		p += n + !is_last;
	}
	if (r)
		return r;
	*out = WEIR_STEAL(ini);
	return WEIR_OK;
}

enum weir_code
weir_rclone_ini_load(const char *path, struct weir_rclone_ini **out, struct weir_err *err)
{
	WEIR_AUTO(weir_secret_freep) char *text = NULL;
	size_t len;

	if (weir_read_file(path, INI_MAX, &text, &len) < 0)
		return weir_err_errno(err, errno, "'%s'", path);
	return weir_rclone_ini_parse(path, text, len, out, err);
}

void
weir_rclone_ini_free(struct weir_rclone_ini *ini)
{
	if (!ini)
		return;
	for (size_t i = 0; i < ini->n; i++) {
		for (size_t k = 0; k < ini->v[i].nkv; k++) {
			free(ini->v[i].kv[k].key);
			weir_secret_free(ini->v[i].kv[k].value);
		}
		free(ini->v[i].kv);
		free(ini->v[i].name);
	}
	free(ini->v);
	free(ini);
}

void
weir_rclone_ini_freep(struct weir_rclone_ini **ini)
{
	weir_rclone_ini_free(*ini);
	*ini = NULL;
}

const struct weir_rclone_section *
weir_rclone_ini_section(const struct weir_rclone_ini *ini, const char *name)
{
	for (size_t i = 0; i < ini->n; i++)
		if (strcmp(ini->v[i].name, name) == 0)
			return &ini->v[i];
	return NULL;
}

const char *
weir_rclone_ini_get(const struct weir_rclone_section *s, const char *key)
{
	for (size_t i = 0; i < s->nkv; i++)
		if (strcmp(s->kv[i].key, key) == 0)
			return *s->kv[i].value ? s->kv[i].value : NULL;
	return NULL;
}

bool
weir_rclone_ini_is_secret(const char *key)
{
	static const char *const parts[] = { "pass", "token", "secret", "key", "cookie", "credential", "session", "sas_url", "auth", "2fa",
		"mnemonic", "pem", "header", "expir", "code" };

	for (size_t i = 0; i < WEIR_LEN(parts); i++)
		if (strcasestr(key, parts[i]))
			return true;
	return false;
}

/* env_auth=true, key_file=… and their like sound secret and are not. */
static bool
remote_is_plain(const char *key, const char *value)
{
	static const char *const ends[] = { "_file", "_url", "_command", "_path" };
	size_t n = strlen(key), v = strcspn(value, ",:");

	for (size_t i = 0; i < WEIR_LEN(ends); i++)
		if (n > strlen(ends[i]) && strcmp(key + n - strlen(ends[i]), ends[i]) == 0)
			return true;
	return v == 0 || (v == 4 && strncmp(value, "true", 4) == 0) || (v == 5 && strncmp(value, "false", 5) == 0);
}

/* ":s3,access_key_id=…,secret_access_key=…:bucket" would stand on rclone's command line. */
bool
weir_rclone_remote_has_secret(const char *remote)
{
	for (const char *p = strchr(remote, ','); p; p = strchr(p + 1, ',')) {
		WEIR_AUTO(weir_freep) char *key = weir_xstrndup(p + 1, strcspn(p + 1, "=,:"));

		if (p[1 + strlen(key)] == '=' && weir_rclone_ini_is_secret(key) && !remote_is_plain(key, p + strlen(key) + 2))
			return true;
	}
	return false;
}

/* ---- obscured passwords ---- */

static const unsigned char reveal_key[32] = {
	0x9c, 0x93, 0x5b, 0x48, 0x73, 0x0a, 0x55, 0x4d, 0x6b, 0xfd, 0x7c, 0x63, 0xc8, 0x86, 0xa9, 0x2b,
	0xd3, 0x90, 0x19, 0x8e, 0xb8, 0x12, 0x8a, 0xfb, 0xf4, 0xde, 0x16, 0x2b, 0x8b, 0x95, 0xf6, 0x38,
};

static enum weir_code
reveal_decrypt(const unsigned char *data, size_t n, char *out, struct weir_err *err)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int len = 0;
	bool is_ok = ctx && EVP_DecryptInit_ex(ctx, EVP_aes_256_ctr(), NULL, reveal_key, data) == 1 &&
	    EVP_DecryptUpdate(ctx, (unsigned char *)out, &len, data + INI_IV, (int)(n - INI_IV)) == 1;

	EVP_CIPHER_CTX_free(ctx);
	if (!is_ok)
		return weir_err_set(err, WEIR_E_PROTO, "the password cannot be revealed");
	out[len] = '\0';
	return WEIR_OK;
}

enum weir_code
weir_rclone_reveal(const char *obscured, char **out, struct weir_err *err)
{
	size_t n = strlen(obscured);
	WEIR_AUTO(weir_secret_freep) char *data = weir_xcalloc(n + 1, 1);
	WEIR_AUTO(weir_secret_freep) char *plain = weir_xcalloc(n + 1, 1);
	ssize_t len = n < INI_MAX && !strpbrk(obscured, "+/=") ? weir_unbase64(obscured, (unsigned char *)data, n) : -1;
	enum weir_code r;

	if (len < INI_IV)
		return weir_err_set(err, WEIR_E_PROTO, "it is not a password as rclone obscures it");
	r = reveal_decrypt((const unsigned char *)data, (size_t)len, plain, err);
	if (r)
		return r;
	for (ssize_t i = 0; i < len - INI_IV; i++)
		if ((unsigned char)plain[i] < ' ')	/* what was never obscured gives noise */
			return weir_err_set(err, WEIR_E_PROTO, "it is not a password as rclone obscures it");
	*out = WEIR_STEAL(plain);
	return WEIR_OK;
}

char *
weir_rclone_obscure(const char *plain)
{
	size_t n = strlen(plain);
	WEIR_AUTO(weir_freep) unsigned char *data = weir_xcalloc(INI_IV + n + 1, 1);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int len = 0;
	bool is_ok = ctx && RAND_bytes(data, INI_IV) == 1 && EVP_EncryptInit_ex(ctx, EVP_aes_256_ctr(), NULL, reveal_key, data) == 1 &&
	    EVP_EncryptUpdate(ctx, data + INI_IV, &len, (const unsigned char *)plain, (int)n) == 1;

	EVP_CIPHER_CTX_free(ctx);
	return is_ok ? weir_base64url(data, INI_IV + n) : NULL;
}
