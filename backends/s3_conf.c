/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration of an S3 remote, and its credentials.
 *
 * Keys, for the manual:
 *   bucket             required
 *   endpoint           https://host[:port][/path] of a server that is not Amazon's; without it: AWS, by region
 *   region             default: the profile's, the endpoint's, us-east-1. A redirect corrects it for the life of the mount
 *   prefix             folder in the bucket that is the root of the remote
 *   access_key, secret_key (or secret_key_file, secret_key_command)
 *   session_token      (or session_token_file, session_token_command) of temporary credentials. What came from a file or command is
 *                      read again when the server says that it expired
 *   credentials_file   an AWS credentials file; default ~/.aws/credentials when profile is given. 0600 is demanded
 *   profile            its section; default "default". Its region is taken too, from ~/.aws/config as well
 *   anonymous          yes: requests are not signed (public buckets)
 *   path_style         auto, on, off. auto: on for endpoints that are not AWS and for buckets with a dot
 *   part_size          of multipart uploads, at least 5MiB; default 16MiB, grown for files beyond 10000 parts
 *   storage_class      of new objects: STANDARD_IA, …; default: the bucket's
 *   sse                AES256 or aws:kms: x-amz-server-side-encryption of new objects */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "s3_impl.h"

#define CONF_FILE_MAX (1u << 20)

const char *const weir_s3_keys[] = { "bucket", "endpoint", "region", "prefix", "access_key", "secret_key", "secret_key_file",
	"secret_key_command", "session_token", "session_token_file", "session_token_command", "credentials_file", "profile", "anonymous",
	"path_style", "part_size", "storage_class", "sse", NULL };

/* One line of an AWS file, cut to its text; NULL at the end. */
static char *
conf_line(char **rest)
{
	char *line = *rest, *end;

	if (line == NULL || *line == '\0')
		return NULL;
	end = strchr(line, '\n');
	*rest = end == NULL ? NULL : end + 1;
	if (end != NULL)
		*end = '\0';
	line += strspn(line, " \t\r");
	for (end = line + strlen(line); end > line && strchr(" \t\r", end[-1]) != NULL; end--)
		;
	*end = '\0';
	return line;
}

/* "[name]" or "[profile name]". */
static bool
conf_is_section(const char *line, const char *profile)
{
	size_t n = strlen(profile);

	line++;
	line += strspn(line, " \t");
	if (strncmp(line, "profile", 7) == 0 && (line[7] == ' ' || line[7] == '\t')) {
		line += 8;
		line += strspn(line, " \t");
	}
	return strncmp(line, profile, n) == 0 && strchr(" \t]", line[n]) != NULL && line[n] != '\0';
}

static void
conf_set(char **to, const char *value)
{
	weir_secret_free(*to);
	*to = weir_xstrdup(value);
}

enum weir_code
weir_s3_profile_parse(const char *text, const char *profile, struct weir_s3_creds *c, char **region)
{
	char *copy = weir_xstrdup(text), *rest = copy, *line, *value;
	bool is_here = false, is_found = false;

	while ((line = conf_line(&rest)) != NULL) {
		if (*line == '[') {
			is_here = conf_is_section(line, profile);
			is_found |= is_here;
			continue;
		}
		value = strchr(line, '=');
		if (!is_here || *line == '#' || *line == ';' || value == NULL)
			continue;
		line[strcspn(line, " \t=")] = '\0';
		value++;
		value += strspn(value, " \t");
		if (strcmp(line, "aws_access_key_id") == 0)
			conf_set(&c->access_key, value);
		else if (strcmp(line, "aws_secret_access_key") == 0)
			conf_set(&c->secret_key, value);
		else if (strcmp(line, "aws_session_token") == 0 || strcmp(line, "aws_security_token") == 0)
			conf_set(&c->session_token, value);
		else if (strcmp(line, "region") == 0 && *region == NULL)
			*region = weir_xstrdup(value);
	}
	weir_secret_free(copy);
	return is_found ? WEIR_OK : WEIR_E_NOENT;
}

/* Keys of a profile from a file that must be ours alone. */
static enum weir_code
conf_profile(struct s3 *s, struct weir_s3_creds *c, char **region, struct weir_err *err)
{
	struct stat st;
	char *text = NULL;
	enum weir_code r;
	size_t len;

	if (stat(s->cred_file, &st) < 0)
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': credentials_file '%s': %s", s->name, s->cred_file, strerror(errno));
	if ((st.st_mode & 077) != 0)
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': others can read '%s': chmod 600 it", s->name, s->cred_file);
	if (weir_read_file(s->cred_file, CONF_FILE_MAX, &text, &len) < 0)
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': credentials_file '%s': %s", s->name, s->cred_file, strerror(errno));
	r = weir_s3_profile_parse(text, s->cred_profile, c, region);
	weir_secret_free(text);
	if (r != WEIR_OK)
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': no profile '%s' in '%s'", s->name, s->cred_profile, s->cred_file);
	if (c->access_key == NULL || c->secret_key == NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': profile '%s' in '%s' lacks aws_access_key_id or aws_secret_access_key",
		    s->name, s->cred_profile, s->cred_file);
	return WEIR_OK;
}

static enum weir_code
conf_creds(struct s3 *s, struct weir_s3_creds *c, char **region, struct weir_err *err)
{
	enum weir_code r;

	if (s->is_anonymous)
		return WEIR_OK;
	if (s->cred_file != NULL)
		return conf_profile(s, c, region, err);
	c->access_key = weir_xstrdup(weir_conf_get(s->conf, "access_key"));
	if (c->access_key == NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s' needs access_key and secret_key_file, or profile, or anonymous = yes",
		    s->name);
	r = weir_conf_secret(s->conf, "secret_key", &c->secret_key, err);
	if (r != WEIR_OK)
		return r;
	if (c->secret_key == NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s' needs secret_key_file (or secret_key, secret_key_command)", s->name);
	return weir_conf_secret(s->conf, "session_token", &c->session_token, err);
}

static bool
conf_same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

enum weir_code
weir_s3_conf_reload(struct s3 *s, bool *is_new, struct weir_err *err)
{
	struct weir_s3_creds c = { 0 };
	WEIR_AUTO(weir_freep) char *region = NULL;
	enum weir_code r = conf_creds(s, &c, &region, err);

	if (r == WEIR_OK) {
		struct weir_s3_creds old;

		pthread_mutex_lock(&s->lock);
		old = s->creds;
		s->creds = c;
		*is_new = !conf_same(old.access_key, c.access_key) || !conf_same(old.secret_key, c.secret_key) ||
		          !conf_same(old.session_token, c.session_token);
		s->creds_count += *is_new;
		pthread_mutex_unlock(&s->lock);
		c = old;
	}
	weir_s3_creds_free(&c);
	return r;
}

/* "s3.eu-west-1.amazonaws.com", "s3-eu-west-1.…", "s3.dualstack.eu-west-1.…" -> the region; owned, NULL when it names none. */
static char *
conf_region_of_host(const char *host)
{
	const char *p = host, *end = strstr(host, ".amazonaws.com");

	if (end == NULL || strncmp(p, "s3", 2) != 0 || (p[2] != '.' && p[2] != '-'))
		return NULL;
	p += 3;
	if (strncmp(p, "dualstack.", 10) == 0)
		p += 10;
	return p < end ? weir_xstrndup(p, (size_t)(end - p)) : NULL;
}

static bool
conf_ends(const char *s, const char *tail)
{
	size_t n = strlen(s), m = strlen(tail);

	return n >= m && strcasecmp(s + n - m, tail) == 0;
}

static enum weir_code
conf_endpoint(struct s3 *s, char **region, struct weir_err *err)
{
	const char *e = weir_conf_get(s->conf, "endpoint"), *sep;
	WEIR_AUTO(weir_freep) char *url = NULL;
	const char *rest;

	if (e == NULL || *e == '\0') {
		s->is_aws = true;
		s->scheme = weir_xstrdup("https");
		return WEIR_OK;
	}
	url = strstr(e, "://") == NULL ? weir_xasprintf("https://%s", e) : weir_xstrdup(e);
	for (size_t n = strlen(url); n > 0 && url[n - 1] == '/'; n--)
		url[n - 1] = '\0';
	s->host = weir_http_url_host(url);
	sep = strstr(url, "://");
	if (s->host == NULL || sep == NULL || (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0) ||
	    strpbrk(url, "?#@") != NULL)
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': endpoint '%s' is not http(s)://host[:port]", s->name, e);
	s->scheme = weir_xstrdup(strncasecmp(url, "https", 5) == 0 ? "https" : "http");
	rest = strchr(sep + 3, '/');
	s->base = weir_xstrdup(rest == NULL ? "" : rest);
	s->is_aws = conf_ends(s->host, ".amazonaws.com") || conf_ends(s->host, ".amazonaws.com.cn");
	if (s->is_aws && *region == NULL)
		*region = conf_region_of_host(s->host);
	if (s->is_aws && strstr(s->host, "vpce") == NULL && strncmp(s->host, "s3", 2) == 0 && strstr(s->host, "dualstack") == NULL) {
		free(s->host);	/* one of Amazon's own names: made from the region, so that a redirect can change it */
		s->host = NULL;
	}
	return WEIR_OK;
}

static enum weir_code
conf_style(struct s3 *s, struct weir_err *err)
{
	const char *v = weir_conf_get(s->conf, "path_style");

	if (v == NULL || strcmp(v, "auto") == 0)
		s->is_path_style = !s->is_aws || strchr(s->bucket, '.') != NULL;
	else if (strcmp(v, "on") == 0 || strcmp(v, "yes") == 0)
		s->is_path_style = true;
	else if (strcmp(v, "off") == 0 || strcmp(v, "no") == 0)
		s->is_path_style = false;
	else
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': path_style is auto, on or off, not '%s'", s->name, v);
	return WEIR_OK;
}

static enum weir_code
conf_bucket(struct s3 *s, struct weir_err *err)
{
	WEIR_AUTO(weir_buf_free) struct weir_buf prefix = WEIR_BUF(2 * S3_KEY_MAX);
	const char *bucket, *p = weir_conf_get(s->conf, "prefix");
	enum weir_code r = weir_conf_need(s->conf, "bucket", &bucket, err);
	size_t n;

	if (r != WEIR_OK)
		return r;
	n = strlen(bucket);
	if (n < 3 || n > 255 || strspn(bucket, S3_REGION_CHARS ".") != n)
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': '%s' cannot be the name of a bucket", s->name, bucket);
	s->bucket = weir_xstrdup(bucket);
	for (p = p == NULL ? "" : p; *p == '/'; p++)
		;
	weir_buf_adds(&prefix, p);
	while (prefix.len > 0 && prefix.data[prefix.len - 1] == '/')
		prefix.data[--prefix.len] = '\0';
	if (prefix.len > S3_KEY_MAX / 2)
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': prefix is longer than %d bytes", s->name, S3_KEY_MAX / 2);
	if (prefix.len > 0)
		weir_buf_addc(&prefix, '/');
	s->prefix = weir_buf_take(&prefix);
	return WEIR_OK;
}

static enum weir_code
conf_objects(struct s3 *s, struct weir_err *err)
{
	const char *v = weir_conf_get(s->conf, "part_size");

	s->part_size = S3_PART_DEFAULT;
	if (v != NULL && (weir_size_parse(v, &s->part_size) < 0 || s->part_size < S3_PART_MIN || s->part_size > S3_PART_MAX))
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': part_size is between 5MiB and 5GiB, not '%s'", s->name, v);
	s->storage_class = weir_xstrdup(weir_conf_get(s->conf, "storage_class"));
	s->sse = weir_xstrdup(weir_conf_get(s->conf, "sse"));
	if ((s->storage_class != NULL && strpbrk(s->storage_class, " \t") != NULL) || (s->sse != NULL && strpbrk(s->sse, " \t") != NULL))
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': storage_class and sse are single words", s->name);
	return WEIR_OK;
}

static enum weir_code
conf_source(struct s3 *s, struct weir_err *err)
{
	const char *profile = weir_conf_get(s->conf, "profile"), *file = weir_conf_get(s->conf, "credentials_file");
	enum weir_code r = weir_conf_bool(s->conf, "anonymous", false, &s->is_anonymous, err);

	if (r != WEIR_OK)
		return r;
	if ((profile != NULL || file != NULL) && (s->is_anonymous || weir_conf_get(s->conf, "access_key") != NULL))
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': profile or credentials_file goes with neither access_key nor anonymous",
		    s->name);
	if (profile != NULL || file != NULL) {
		s->cred_file = file != NULL ? weir_xstrdup(file) : weir_path_expand("~/.aws/credentials", err);
		s->cred_profile = weir_xstrdup(profile != NULL ? profile : "default");
		if (s->cred_file == NULL)
			return WEIR_E_CONFIG;
	}
	return WEIR_OK;
}

/* The region of a profile stands in ~/.aws/config as often as beside its keys. */
static void
conf_aws_config(struct s3 *s, char **region)
{
	struct weir_s3_creds unused = { 0 };
	WEIR_AUTO(weir_freep) char *path = weir_path_expand("~/.aws/config", NULL), *text = NULL;
	size_t len;

	if (path != NULL && weir_read_file(path, CONF_FILE_MAX, &text, &len) == 0)
		weir_s3_profile_parse(text, s->cred_profile, &unused, region);
	weir_s3_creds_free(&unused);
}

enum weir_code
weir_s3_conf_read(struct s3 *s, const struct weir_remote_conf *conf, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *region = weir_xstrdup(weir_conf_get(conf, "region"));
	enum weir_code r;

	s->conf = conf;
	s->name = weir_xstrdup(conf->name);
	r = conf_bucket(s, err);
	if (r == WEIR_OK)
		r = conf_source(s, err);
	if (r == WEIR_OK)
		r = conf_creds(s, &s->creds, &region, err);
	if (r == WEIR_OK && region == NULL && s->cred_profile != NULL)
		conf_aws_config(s, &region);
	if (r == WEIR_OK)
		r = conf_endpoint(s, &region, err);
	if (r == WEIR_OK)
		r = conf_style(s, err);
	if (r == WEIR_OK)
		r = conf_objects(s, err);
	if (r != WEIR_OK)
		return r;
	if (region != NULL && (strlen(region) >= sizeof(s->region) || strspn(region, S3_REGION_CHARS) != strlen(region)))
		return weir_err_set(err, WEIR_E_CONFIG, "remote '%s': '%s' is not a region", s->name, region);
	snprintf(s->region, sizeof(s->region), "%s", region == NULL || *region == '\0' ? "us-east-1" : region);
	if (s->base == NULL)
		s->base = weir_xstrdup("");
	return WEIR_OK;
}
