/* SPDX-License-Identifier: Apache-2.0 */
/* DEEPaaS over HTTP. What a model takes is read from its own description (/swagger.json), because every module names its arguments as it likes. */
#include "config.h"

#include "deepaas.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../src/net/http.h"
#include "../src/util/text.h"
#include "../src/util/util.h"

#define DEEPAAS_FALLBACK "deepaas-test"
#define DEEPAAS_LOOK_MS 3000
#define DEEPAAS_PREDICT_MS (30 * 60 * 1000)	/* a model may think for long without a word */

struct weir_deepaas {
	struct weir_http *http;
	struct weir_http_pool *pool;
	char *url;
};

enum weir_code
weir_deepaas_open(const char *url, struct weir_deepaas **out, struct weir_err *err)
{
	struct weir_http_pool_conf conf = {.name = "module", .stall_ms = DEEPAAS_LOOK_MS, .connect_ms = DEEPAAS_LOOK_MS, .max_connections = 2,
	    .proxy = ""};	/* none, whatever the environment says: it is on this host */
	struct weir_deepaas *d = weir_xcalloc(1, sizeof(*d));
	enum weir_code r = weir_http_new(&d->http, err);

	d->url = weir_xstrdup(url);
	if (r == WEIR_OK)
		r = weir_http_pool_new(d->http, &conf, &d->pool, err);
	if (r) {
		weir_deepaas_free(d);
		d = NULL;
	}
	*out = d;
	return r;
}

void
weir_deepaas_free(struct weir_deepaas *d)
{
	if (d == NULL)
		return;
	if (d->pool != NULL)
		weir_http_pool_free(d->pool);
	if (d->http != NULL)
		weir_http_free(d->http);
	free(d->url);
	free(d);
}

/* ---- GET ---- */

static enum weir_code
deepaas_get(struct weir_deepaas *d, const char *path, struct weir_http_resp *resp, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *url = weir_xasprintf("%s%s", d->url, path);
	struct weir_http_req req = {.method = "GET", .url = url, .is_fresh = true};

	return weir_http_perform(d->pool, &req, resp, err);
}

static enum weir_code
deepaas_get_json(struct weir_deepaas *d, const char *path, json_t **out, struct weir_err *err)
{
	struct weir_http_resp resp = {0};
	enum weir_code r = deepaas_get(d, path, &resp, err);

	*out = NULL;
	if (r != WEIR_OK)
		r = WEIR_E_BUSY;
	else if (resp.status / 100 != 2)
		r = weir_err_set(err, WEIR_E_BUSY, "%s answers %d", path, resp.status);
	else if ((*out = json_loadb(weir_buf_str(&resp.body), resp.body.len, 0, NULL)) == NULL)
		r = weir_err_set(err, WEIR_E_PROTO, "%s is not JSON: this is no DEEPaaS API", path);
	weir_http_resp_free(&resp);
	return r;
}

enum weir_code
weir_deepaas_ping(struct weir_deepaas *d, const char *path, struct weir_err *err)
{
	struct weir_http_resp resp = {0};
	enum weir_code r = deepaas_get(d, path, &resp, err) == WEIR_OK ? WEIR_OK : WEIR_E_BUSY;

	weir_http_resp_free(&resp);
	return r;
}

/* The name that stands in its routes. Its metadata may say another "id" (DEEPaaS lets them win), so the address of the entry counts. */
static const char *
deepaas_name(const json_t *entry)
{
	const char *href = json_string_value(json_object_get(json_array_get(json_object_get(entry, "links"), 0), "href"));
	const char *slash = href != NULL ? strrchr(href, '/') : NULL;

	return slash != NULL && slash[1] != '\0' ? slash + 1 : json_string_value(json_object_get(entry, "id"));
}

enum weir_code
weir_deepaas_look(struct weir_deepaas *d, char **model, struct weir_err *err)
{
	json_t *list, *entry;
	const char *first = NULL;
	bool is_fallback = false;
	size_t i;
	enum weir_code r = deepaas_get_json(d, "/v2/models/", &list, err);

	*model = NULL;
	if (r)
		return r;
	json_array_foreach (json_object_get(list, "models"), i, entry) {
		const char *id = deepaas_name(entry);

		if (id != NULL && strcmp(id, DEEPAAS_FALLBACK) == 0)
			is_fallback = true;
		else if (id != NULL && first == NULL)
			first = id;
	}
	if (first != NULL)
		*model = weir_xstrdup(first);
	else if (is_fallback)
		r = weir_err_set(err, WEIR_E_PROTO, "the module could not be loaded: its API serves only the placeholder '" DEEPAAS_FALLBACK "'");
	else
		r = weir_err_set(err, WEIR_E_PROTO, "its API lists no model");
	json_decref(list);
	return r;
}

/* ---- what the model takes ---- */

struct deepaas_shape {
	json_t *swagger;
	json_t *params;		/* borrowed from it: of predict */
	const char *file;	/* name of the parameter that takes a file, NULL: none */
};

static enum weir_code
deepaas_shape(struct weir_deepaas *d, const char *model, struct deepaas_shape *out, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *path = weir_xasprintf("/v2/models/%s/predict/", model);
	json_t *param;
	size_t i;
	enum weir_code r = deepaas_get_json(d, "/swagger.json", &out->swagger, err);

	if (r)
		return r;
	out->params = json_object_get(json_object_get(json_object_get(json_object_get(out->swagger, "paths"), path), "post"), "parameters");
	json_array_foreach (out->params, i, param) {
		const char *type = json_string_value(json_object_get(param, "type"));

		if (out->file == NULL && type != NULL && strcmp(type, "file") == 0)
			out->file = json_string_value(json_object_get(param, "name"));
	}
	return WEIR_OK;
}

static bool
deepaas_knows(const struct deepaas_shape *shape, const char *name, size_t len)
{
	json_t *param;
	size_t i;

	json_array_foreach (shape->params, i, param) {
		const char *known = json_string_value(json_object_get(param, "name"));

		if (known != NULL && strlen(known) == len && memcmp(known, name, len) == 0)
			return true;
	}
	return false;
}

static void
deepaas_quote(struct weir_buf *out, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-_.~", c) != NULL)
			weir_buf_addc(out, (char)c);
		else
			weir_buf_addf(out, "%%%02X", c);
	}
}

static enum weir_code
deepaas_query(const struct deepaas_shape *shape, const char *const *args, size_t nargs, struct weir_buf *out, struct weir_err *err)
{
	for (size_t i = 0; i < nargs; i++) {
		size_t len = strcspn(args[i], "=");

		if (len == 0 || args[i][len] == '\0')
			return weir_err_set(err, WEIR_E_INVAL, "'%s' is not NAME=VALUE", args[i]);
		if (!deepaas_knows(shape, args[i], len))
			return weir_err_set(err, WEIR_E_INVAL, "the model has no argument '%.*s'", (int)len, args[i]);
		weir_buf_addc(out, i == 0 ? '?' : '&');
		deepaas_quote(out, args[i], len);
		weir_buf_addc(out, '=');
		deepaas_quote(out, args[i] + len + 1, strlen(args[i] + len + 1));
	}
	return WEIR_OK;
}

/* ---- a form with one file (RFC 7578), read from the disk as it is sent ---- */

struct deepaas_form {
	struct weir_source source;	/* first */
	struct weir_buf head, tail;
	int fd;
	uint64_t file_len;
};

static ssize_t
deepaas_read(struct weir_source *source, void *buf, size_t len, uint64_t off)
{
	struct deepaas_form *f = (struct deepaas_form *)source;
	const struct weir_buf *part = &f->head;

	if (off >= f->head.len) {
		off -= f->head.len;
		if (off < f->file_len)
			return pread(f->fd, buf, len < f->file_len - off ? len : (size_t)(f->file_len - off), (off_t)off);
		off -= f->file_len;
		part = &f->tail;
	}
	if (off >= part->len)
		return 0;
	if (len > part->len - (size_t)off)
		len = part->len - (size_t)off;
	memcpy(buf, weir_buf_str(part) + off, len);
	return (ssize_t)len;
}

static enum weir_code
deepaas_form(struct deepaas_form *f, const char *name, const char *file, char boundary[40], struct weir_err *err)
{
	const char *base = strrchr(file, '/') != NULL ? strrchr(file, '/') + 1 : file;
	struct stat st;

	weir_random_hex(boundary, 32);
	f->source.read = deepaas_read;
	f->fd = open(file, O_RDONLY | O_CLOEXEC);
	if (f->fd < 0 || fstat(f->fd, &st) != 0)
		return weir_err_errno(err, errno, "'%s'", file);
	if (!S_ISREG(st.st_mode))
		return weir_err_set(err, WEIR_E_INVAL, "'%s' is not a file", file);
	f->file_len = (uint64_t)st.st_size;
	weir_buf_addf(&f->head, "--%s\r\nContent-Disposition: form-data; name=\"%s\"; filename=\"", boundary, name);
	for (; *base != '\0'; base++) {	/* as browsers do: these would end the value or the line */
		if (*base == '"')
			weir_buf_adds(&f->head, "%22");
		else if (*base == '\r' || *base == '\n')
			weir_buf_adds(&f->head, "%0A");
		else
			weir_buf_addc(&f->head, *base);
	}
	weir_buf_adds(&f->head, "\"\r\nContent-Type: application/octet-stream\r\n\r\n");
	weir_buf_addf(&f->tail, "\r\n--%s--\r\n", boundary);
	return WEIR_OK;
}

static void
deepaas_form_free(struct deepaas_form *f)
{
	weir_buf_free(&f->head);
	weir_buf_free(&f->tail);
	weir_closep(&f->fd);
}

/* ---- predict ---- */

/* Its own words, from {"message": …}, {"error": …} or the text itself; of webargs (422) {"NAME": ["Not a valid integer."]}. */
static enum weir_code
deepaas_failed(const struct weir_http_resp *resp, struct weir_err *err)
{
	json_t *v = json_loadb(weir_buf_str(&resp->body), resp->body.len, 0, NULL);
	json_t *message = json_object_get(v, "message") != NULL ? json_object_get(v, "message") : json_object_get(v, "error");
	WEIR_AUTO(weir_freep) char *text = v != NULL && !json_is_string(message) ? json_dumps(message != NULL ? message : v, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
	const char *words = json_is_string(message) ? json_string_value(message) : text != NULL ? text : weir_buf_str(&resp->body);
	enum weir_code r = resp->status / 100 == 4 ? WEIR_E_INVAL : WEIR_E_SERVER;

	/* aiohttp's answer when the model's code raises something: what, stands in the module's log only. */
	if (words != NULL && strstr(words, "Server got itself in trouble") != NULL)
		words = "its own words are in its log ('weir logs')";
	weir_err_set(err, r, "%s (HTTP status %d)%s%.300s", r == WEIR_E_INVAL ? "the model refuses the request" : "the model failed", resp->status, words != NULL ? ": " : "", words != NULL ? words : "");
	json_decref(v);
	return r;
}

static void
deepaas_take(const struct weir_http_resp *resp, struct weir_deepaas_answer *out)
{
	json_t *v, *inner;

	out->status = resp->status;
	if (weir_http_header(resp, "Content-Type", out->type, sizeof(out->type)) == NULL)
		out->type[0] = '\0';
	out->type[strcspn(out->type, "; ")] = '\0';
	weir_buf_add(&out->body, weir_buf_str(&resp->body), resp->body.len);
	v = json_loadb(weir_buf_str(&resp->body), resp->body.len, JSON_DECODE_ANY, NULL);
	inner = json_object_get(v, "predictions");
	out->predictions = inner != NULL ? json_incref(inner) : json_incref(v);
	json_decref(v);
}

static enum weir_code
deepaas_post(struct weir_deepaas *d, const char *url, struct deepaas_form *f, const char *boundary, struct weir_deepaas_answer *out, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *type = weir_xasprintf("Content-Type: multipart/form-data; boundary=%s", boundary);
	const char *const headers[] = {"Accept: */*", f->fd >= 0 ? type : NULL, NULL};
	struct weir_http_req req = {
	    .method = "POST", .url = url, .headers = headers, .stall_ms = DEEPAAS_PREDICT_MS, .is_fresh = true,
	    .source = f->fd >= 0 ? &f->source : NULL, .has_body = f->fd >= 0, .body_len = f->fd >= 0 ? f->head.len + f->file_len + f->tail.len : 0,
	};
	struct weir_http_resp resp = {0};
	enum weir_code r = weir_http_perform(d->pool, &req, &resp, err);

	if (r == WEIR_OK && resp.status / 100 != 2)
		r = deepaas_failed(&resp, err);
	else if (r == WEIR_OK)
		deepaas_take(&resp, out);
	weir_http_resp_free(&resp);
	return r;
}

enum weir_code
weir_deepaas_predict(struct weir_deepaas *d, const char *model, const char *file, const char *const *args, size_t nargs, struct weir_deepaas_answer *out, struct weir_err *err)
{
	struct deepaas_shape shape = {0};
	struct deepaas_form form = {.head = WEIR_BUF(8192), .tail = WEIR_BUF(256), .fd = -1};
	struct weir_buf url = WEIR_BUF(1u << 16);
	char boundary[40];
	enum weir_code r = deepaas_shape(d, model, &shape, err);

	*out = (struct weir_deepaas_answer){.body = WEIR_BUF(WEIR_HTTP_BODY_MAX)};
	weir_buf_addf(&url, "%s/v2/models/", d->url);
	deepaas_quote(&url, model, strlen(model));
	weir_buf_adds(&url, "/predict/");
	if (r == WEIR_OK)
		r = deepaas_query(&shape, args, nargs, &url, err);
	if (r == WEIR_OK && file != NULL)
		r = shape.file != NULL ? deepaas_form(&form, shape.file, file, boundary, err) : weir_err_set(err, WEIR_E_INVAL, "the model takes no file");
	if (r == WEIR_OK)
		r = deepaas_post(d, weir_buf_str(&url), &form, boundary, out, err);
	deepaas_form_free(&form);
	weir_buf_free(&url);
	json_decref(shape.swagger);
	return r;
}

void
weir_deepaas_answer_free(struct weir_deepaas_answer *a)
{
	weir_buf_free(&a->body);
	json_decref(a->predictions);
	*a = (struct weir_deepaas_answer){0};
}

/* ---- for people ---- */

#define DEEPAAS_COLUMNS 8

static bool
deepaas_is_plain(const json_t *v)
{
	return json_is_string(v) || json_is_number(v) || json_is_boolean(v) || json_is_null(v);
}

/* A list of plain values, or the only such list in a list ([[…]]: models answer for a batch of one). NULL: neither. */
static const json_t *
deepaas_column(const json_t *v)
{
	if (json_array_size(v) == 1 && json_is_array(json_array_get(v, 0)))
		v = json_array_get(v, 0);
	if (!json_is_array(v) || json_array_size(v) == 0)
		return NULL;
	for (size_t i = 0; i < json_array_size(v); i++) {
		if (!deepaas_is_plain(json_array_get(v, i)))
			return NULL;
	}
	return v;
}

static void
deepaas_cell(struct weir_buf *out, const json_t *v, bool is_last)
{
	WEIR_AUTO(weir_freep) char *text = NULL;
	char clean[41];
	size_t n = 0;

	if (json_is_real(v))
		text = weir_xasprintf("%.4g", json_real_value(v));
	else if (json_is_string(v))
		text = weir_xstrdup(json_string_value(v));
	else
		text = json_dumps(v, JSON_ENCODE_ANY);
	for (const char *p = text; p != NULL && *p != '\0' && n < sizeof(clean) - 1; p++)
		clean[n++] = (unsigned char)*p < ' ' || *p == 127 ? '?' : *p;	/* a terminal obeys some of these */
	clean[n] = '\0';
	weir_buf_addf(out, is_last ? "%s\n" : "%-24s  ", clean);
}

/* Lists of one length beside each other, the names above. False: there are none. */
static bool
deepaas_table(const json_t *object, struct weir_buf *out)
{
	const json_t *columns[DEEPAAS_COLUMNS];
	const char *names[DEEPAAS_COLUMNS], *key;
	json_t *v;
	size_t n = 0, rows = 0;

	json_object_foreach ((json_t *)object, key, v) {
		const json_t *c = deepaas_column(v);

		if (c == NULL || n == DEEPAAS_COLUMNS || (n > 0 && json_array_size(c) != rows))
			continue;
		rows = json_array_size(c);
		names[n] = key;
		columns[n++] = c;
	}
	if (n < 2)
		return false;
	for (size_t i = 0; i < n; i++) {
		json_t *name = json_string(names[i]);

		deepaas_cell(out, name, i + 1 == n);
		json_decref(name);
	}
	for (size_t row = 0; row < rows; row++) {
		for (size_t i = 0; i < n; i++)
			deepaas_cell(out, json_array_get(columns[i], row), i + 1 == n);
	}
	return true;
}

void
weir_deepaas_text(const json_t *predictions, struct weir_buf *out)
{
	WEIR_AUTO(weir_freep) char *text = NULL;

	if (json_is_object(predictions) && deepaas_table(predictions, out))
		return;
	if (json_array_size(predictions) == 1 && json_is_object(json_array_get(predictions, 0)) && deepaas_table(json_array_get(predictions, 0), out))
		return;
	text = json_dumps(predictions, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_PRESERVE_ORDER);
	weir_buf_addf(out, "%s\n", text != NULL ? text : "");
}

const char *
weir_deepaas_ending(const char *type)
{
	static const struct { const char *type, *ending; } table[] = {
	    {"application/json", ".json"}, {"application/zip", ".zip"}, {"application/pdf", ".pdf"}, {"image/png", ".png"}, {"image/jpeg", ".jpg"},
	    {"image/tiff", ".tif"}, {"text/csv", ".csv"}, {"text/plain", ".txt"}, {"audio/wav", ".wav"}, {"audio/x-wav", ".wav"}, {"video/mp4", ".mp4"},
	};

	for (size_t i = 0; i < WEIR_LEN(table); i++) {
		if (strcmp(table[i].type, type) == 0)
			return table[i].ending;
	}
	return ".bin";
}
