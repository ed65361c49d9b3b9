/* SPDX-License-Identifier: Apache-2.0 */
/* The q parameter of files.list: terms, `and`, `or`, `not`, parentheses; `and` and `or` bind alike, from left to right. What Google refuses is refused:
 * unknown fields, operators that a field does not have, literals without quotes, bad escapes. */
#include "config.h"
#include "drive.h"
#include "util/fold.h"
#include <ctype.h>
#include <string.h>
#include <strings.h>

#define QUERY_DEEP 64
#define QUERY_PARENTS 512

enum query_op { QUERY_EQ, QUERY_NE, QUERY_LT, QUERY_LE, QUERY_GT, QUERY_GE, QUERY_CONTAINS, QUERY_IN, QUERY_HAS };
enum query_type { QUERY_TEXT, QUERY_TIME, QUERY_BOOL };
enum query_field {
	QUERY_NAME, QUERY_FULLTEXT, QUERY_MIME, QUERY_MODIFIED, QUERY_VIEWED, QUERY_CREATED, QUERY_TRASHED, QUERY_STARRED, QUERY_SHARED, QUERY_TARGET,
	QUERY_PROPS, QUERY_APP_PROPS, QUERY_PARENTS_FIELD, QUERY_OWNERS, QUERY_WRITERS, QUERY_READERS
};
#define OP(x) (1u << QUERY_##x)
#define OPS_ORDER (OP(EQ) | OP(NE) | OP(LT) | OP(LE) | OP(GT) | OP(GE))
static const struct query_spec {
	const char *name;
	enum query_field field;
	enum query_type type;
	unsigned ops;
} query_specs[] = {
	{ "name", QUERY_NAME, QUERY_TEXT, OP(EQ) | OP(NE) | OP(CONTAINS) },
	{ "fullText", QUERY_FULLTEXT, QUERY_TEXT, OP(CONTAINS) },
	{ "mimeType", QUERY_MIME, QUERY_TEXT, OP(EQ) | OP(NE) | OP(CONTAINS) },
	{ "modifiedTime", QUERY_MODIFIED, QUERY_TIME, OPS_ORDER },
	{ "viewedByMeTime", QUERY_VIEWED, QUERY_TIME, OPS_ORDER },
	{ "createdTime", QUERY_CREATED, QUERY_TIME, OPS_ORDER },
	{ "trashed", QUERY_TRASHED, QUERY_BOOL, OP(EQ) | OP(NE) },
	{ "starred", QUERY_STARRED, QUERY_BOOL, OP(EQ) | OP(NE) },
	{ "sharedWithMe", QUERY_SHARED, QUERY_BOOL, OP(EQ) | OP(NE) },
	{ "shortcutDetails.targetId", QUERY_TARGET, QUERY_TEXT, OP(EQ) | OP(NE) },
	{ "properties", QUERY_PROPS, QUERY_TEXT, OP(HAS) },
	{ "appProperties", QUERY_APP_PROPS, QUERY_TEXT, OP(HAS) },
	{ "parents", QUERY_PARENTS_FIELD, QUERY_TEXT, OP(IN) },
	{ "owners", QUERY_OWNERS, QUERY_TEXT, OP(IN) },
	{ "writers", QUERY_WRITERS, QUERY_TEXT, OP(IN) },
	{ "readers", QUERY_READERS, QUERY_TEXT, OP(IN) },
};

struct query_term {
	enum { QUERY_TERM, QUERY_AND, QUERY_OR, QUERY_NOT } kind;
	struct query_term *a, *b;
	const struct query_spec *spec;
	enum query_op op;
	char *text, *key;		/* key: of `has` */
	char *fold;			/* text as names are compared */
	int64_t time_ms;
	bool truth;
};
struct drive_query {
	struct query_term *top;
	const char *parents[QUERY_PARENTS];
	size_t nparents;
};
struct query_in {
	const char *p;
	int deep;
	struct drive_query *q;
};

static struct query_term *query_expr(struct query_in *);

static void
query_term_free(struct query_term *t)
{
	if (!t)
		return;
	query_term_free(t->a);
	query_term_free(t->b);
	free(t->text);
	free(t->key);
	free(t->fold);
	free(t);
}

void
drive_query_free(struct drive_query *q)
{
	if (q)
		query_term_free(q->top);
	free(q);
}

/* ---- words ---- */

static void
query_space(struct query_in *in)
{
	while (isspace((unsigned char)*in->p))
		in->p++;
}

static bool
query_mark(struct query_in *in, const char *mark)
{
	query_space(in);
	if (strncmp(in->p, mark, strlen(mark)) != 0)
		return false;
	in->p += strlen(mark);
	return true;
}

static bool
query_word(struct query_in *in, const char *word)
{
	size_t n = strlen(word);

	query_space(in);
	if (strncasecmp(in->p, word, n) != 0 || isalnum((unsigned char)in->p[n]) || in->p[n] == '.')
		return false;
	in->p += n;
	return true;
}

/* 'text' with \' and \\ inside. Owned; NULL: none. */
static char *
query_literal(struct query_in *in)
{
	struct weir_buf b = WEIR_BUF(64u << 10);

	if (!query_mark(in, "'"))
		return NULL;
	for (; *in->p && *in->p != '\''; in->p++) {
		if (*in->p == '\\' && in->p[1] != '\\' && in->p[1] != '\'')
			break;
		in->p += *in->p == '\\';
		weir_buf_addc(&b, *in->p);
	}
	if (*in->p != '\'') {
		weir_buf_free(&b);
		return NULL;
	}
	in->p++;
	return weir_buf_take(&b);
}

static const struct query_spec *
query_field(struct query_in *in)
{
	for (size_t i = 0; i < WEIR_LEN(query_specs); i++)
		if (query_word(in, query_specs[i].name))
			return &query_specs[i];
	return NULL;
}

static bool
query_operator(struct query_in *in, enum query_op *op)
{
	static const struct {
		const char *mark;
		enum query_op op;
	} marks[] = { { "!=", QUERY_NE }, { "<=", QUERY_LE }, { ">=", QUERY_GE }, { "=", QUERY_EQ }, { "<", QUERY_LT }, { ">", QUERY_GT } };

	for (size_t i = 0; i < WEIR_LEN(marks); i++)
		if (query_mark(in, marks[i].mark)) {
			*op = marks[i].op;
			return true;
		}
	*op = query_word(in, "contains") ? QUERY_CONTAINS : query_word(in, "has") ? QUERY_HAS : QUERY_IN;
	return *op != QUERY_IN;
}

/* ---- terms ---- */

/* { key='k' and value='v' } */
static bool
query_has(struct query_in *in, struct query_term *t)
{
	if (!query_mark(in, "{") || !query_word(in, "key") || !query_mark(in, "=") || !(t->key = query_literal(in)))
		return false;
	return query_word(in, "and") && query_word(in, "value") && query_mark(in, "=") && (t->text = query_literal(in)) && query_mark(in, "}");
}

static bool
query_value(struct query_in *in, struct query_term *t)
{
	if (t->op == QUERY_HAS)
		return query_has(in, t);
	if (t->spec->type == QUERY_BOOL) {
		t->truth = query_word(in, "true");
		return t->truth || query_word(in, "false");
	}
	t->text = query_literal(in);
	if (!t->text)
		return false;
	if (t->spec->type == QUERY_TIME)
		return (t->time_ms = drive_time_parse(t->text, true)) != INT64_MIN;
	t->fold = weir_fold(t->text);
	return true;
}

static bool
query_fill(struct query_in *in, struct query_term *t)
{
	query_space(in);
	if (*in->p != '\'')
		return (t->spec = query_field(in)) && query_operator(in, &t->op) && (t->spec->ops & 1u << t->op) && query_value(in, t);
	t->op = QUERY_IN;
	if (!(t->text = query_literal(in)) || !query_word(in, "in") || !(t->spec = query_field(in)) || !(t->spec->ops & OP(IN)))
		return false;
	if (t->spec->field != QUERY_PARENTS_FIELD)
		return true;
	if (in->q->nparents == QUERY_PARENTS)
		return false;
	in->q->parents[in->q->nparents++] = t->text;
	return true;
}

static struct query_term *
query_unary(struct query_in *in)
{
	struct query_term *t;

	if (++in->deep > QUERY_DEEP)
		return NULL;
	t = weir_xcalloc(1, sizeof(*t));
	if (query_word(in, "not")) {
		t->kind = QUERY_NOT;
		t->a = query_unary(in);
	} else if (query_mark(in, "(")) {
		free(t);
		t = query_expr(in);
		if (t && !query_mark(in, ")")) {
			query_term_free(t);
			t = NULL;
		}
		in->deep--;
		return t;
	}
	in->deep--;
	if (t->kind == QUERY_NOT ? t->a != NULL : query_fill(in, t))
		return t;
	query_term_free(t);
	return NULL;
}

static struct query_term *
query_expr(struct query_in *in)
{
	struct query_term *left = query_unary(in), *t;
	bool is_and;

	while (left && ((is_and = query_word(in, "and")) || query_word(in, "or"))) {
		t = weir_xcalloc(1, sizeof(*t));
		t->kind = is_and ? QUERY_AND : QUERY_OR;
		t->a = left;
		t->b = query_unary(in);
		left = t;
		if (!t->b) {
			query_term_free(t);
			left = NULL;
		}
	}
	return left;
}

struct drive_query *
drive_query_parse(const char *text)
{
	struct drive_query *q = weir_xcalloc(1, sizeof(*q));
	struct query_in in = { text, 0, q };

	q->top = query_expr(&in);
	query_space(&in);
	if (q->top && !*in.p)
		return q;
	drive_query_free(q);
	return NULL;
}

const char *
drive_query_parent(const struct drive_query *q, size_t i)
{
	return q && i < q->nparents ? q->parents[i] : NULL;
}

static struct drive_node *
query_folder(const struct query_term *t)
{
	struct drive_node *x;

	if (t->kind == QUERY_AND)
		return (x = query_folder(t->a)) ? x : query_folder(t->b);
	return t->kind == QUERY_TERM && t->op == QUERY_IN && t->spec->field == QUERY_PARENTS_FIELD ? drive_by_id(t->text) : NULL;
}

struct drive_node *
drive_query_folder(const struct drive_query *q)
{
	return q ? query_folder(q->top) : NULL;
}

/* ---- does it match? ---- */

/* `name contains` looks for beginnings of words. */
static bool
query_prefix(const char *name, const char *want)
{
	size_t n = strlen(want);

	for (const char *p = name; *p; p++)
		if ((p == name || !isalnum((unsigned char)p[-1])) && !strncmp(p, want, n))
			return true;
	return !n;
}

static bool
query_match_name(const struct query_term *t, const struct drive_node *x, bool lags, int64_t now)
{
	WEIR_AUTO(weir_freep) char *fold = NULL;

	if (x->named_ms > now)
		return t->op == QUERY_NE;
	fold = weir_fold(lags ? x->past.name : x->name);
	if (t->op == QUERY_CONTAINS)
		return query_prefix(fold, t->fold);
	return !strcmp(fold, t->fold) == (t->op == QUERY_EQ);
}

static bool
query_match_text(const struct query_term *t, const char *have)
{
	if (!have)
		return t->op == QUERY_NE;
	if (t->op == QUERY_CONTAINS)
		return strstr(have, t->text) != NULL;
	return !strcmp(have, t->text) == (t->op == QUERY_EQ);
}

static bool
query_match_time(const struct query_term *t, int64_t ms)
{
	int64_t want = t->time_ms;

	switch (t->op) {
	case QUERY_LT: return ms < want;
	case QUERY_LE: return ms <= want;
	case QUERY_GT: return ms > want;
	case QUERY_GE: return ms >= want;
	case QUERY_NE: return ms != want;
	default: return ms == want;
	}
}

static bool
query_match_props(const struct query_term *t, const json_t *props)
{
	const char *v = json_string_value(json_object_get(props, t->key));

	return v && !strcmp(v, t->text);
}

static bool
query_match_person(const struct query_term *t, const struct drive_node *x)
{
	bool me = !strcasecmp(t->text, "me") || !strcasecmp(t->text, "emma@example.com");

	if (t->spec->field == QUERY_OWNERS)
		return !drive_of_node(x) && me == !x->is_others;
	return me && drive_role(x) >= (t->spec->field == QUERY_WRITERS ? DRIVE_WRITER : DRIVE_READER);
}

static bool
query_match_parent(const struct query_term *t, const struct drive_node *x, bool lags)
{
	const struct drive_node *dir = lags ? x->past.parent : x->parent;

	return dir && dir == drive_by_id(t->text);
}

static bool
query_match(const struct query_term *t, const struct drive_node *x, int64_t now)
{
	bool lags = x->past.until_ms > now;

	switch (t->kind) {
	case QUERY_AND: return query_match(t->a, x, now) && query_match(t->b, x, now);
	case QUERY_OR: return query_match(t->a, x, now) || query_match(t->b, x, now);
	case QUERY_NOT: return !query_match(t->a, x, now);
	default: break;
	}
	switch (t->spec->field) {
	case QUERY_NAME: case QUERY_FULLTEXT: return query_match_name(t, x, lags, now);
	case QUERY_MIME: return query_match_text(t, x->mime);
	case QUERY_TARGET: return query_match_text(t, x->target);
	case QUERY_MODIFIED: return query_match_time(t, x->modified_ms);
	case QUERY_VIEWED: return query_match_time(t, x->viewed_ms);
	case QUERY_CREATED: return query_match_time(t, x->created_ms);
	case QUERY_TRASHED: return ((lags ? x->past.is_trashed : drive_in_trash(x)) == t->truth) == (t->op == QUERY_EQ);
	case QUERY_STARRED: return (x->is_starred == t->truth) == (t->op == QUERY_EQ);
	case QUERY_SHARED: return ((x->shared_ms != 0) == t->truth) == (t->op == QUERY_EQ);
	case QUERY_PROPS: return query_match_props(t, x->props);
	case QUERY_APP_PROPS: return query_match_props(t, x->app_props);
	case QUERY_PARENTS_FIELD: return query_match_parent(t, x, lags);
	default: return query_match_person(t, x);
	}
}

bool
drive_query_match(const struct drive_query *q, const struct drive_node *x, int64_t now_ms)
{
	if (x->listed_ms > now_ms)
		return false;
	return !q || query_match(q->top, x, now_ms);
}
