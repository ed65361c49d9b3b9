/* SPDX-License-Identifier: Apache-2.0 */
/* The fault layer, for tests: fails calls by rule, see layers.h. Counts per operation, so that a run can be repeated exactly. */
#include "config.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "../src/util/util.h"
#include "layers.h"

enum fault_when { FAULT_AT, FAULT_FROM, FAULT_EVERY, FAULT_PERCENT };

struct fault_rule {
	int op;				/* enum weir_op; -1: all */
	enum weir_code code;
	enum fault_when when;
	unsigned n;
	bool is_lost;			/* after the call instead of before it */
	bool is_cut;
	uint64_t cut;			/* a get ends after so many bytes */
};

struct fault {
	struct weir_layer layer;
	pthread_mutex_t lock;
	unsigned calls[WEIR_OPS];	/* lock */
	uint32_t random;		/* lock */
	size_t nrules;
	struct fault_rule *rules;
};

/* --- rules from text --- */

static int
fault_op(const char *s)
{
	for (int i = 0; i < WEIR_OPS; i++) {
		if (strcmp(s, weir_op_name((enum weir_op)i)) == 0)
			return i;
	}
	return -1;
}

static enum weir_code
fault_code(const char *s)
{
	for (int i = 1; i < WEIR_CODES; i++) {
		if (strcmp(s, weir_code_name((enum weir_code)i)) == 0)
			return (enum weir_code)i;
	}
	return WEIR_OK;
}

static int
fault_set_when(struct fault_rule *r, const char *s)
{
	char *end;

	r->when = *s == '%' ? FAULT_EVERY : *s == '~' ? FAULT_PERCENT : FAULT_AT;
	s += r->when != FAULT_AT;
	r->n = (unsigned)strtoul(s, &end, 10);
	if (end == s || r->n == 0)
		return -1;
	if (r->when == FAULT_AT && strcmp(end, "+") == 0) {
		r->when = FAULT_FROM;
		return 0;
	}
	return *end == '\0' ? 0 : -1;
}

/* OP:CODE:WHEN[:lost|:cut=N]; s is cut up. */
static int
fault_parse(struct fault_rule *r, char *s)
{
	char *op = strsep(&s, ":"), *code = strsep(&s, ":"), *when = strsep(&s, ":"), *how = strsep(&s, ":");

	if (op == NULL || code == NULL || when == NULL)
		return -1;
	r->op = fault_op(op);
	r->code = fault_code(code);
	if ((r->op < 0 && strcmp(op, "*") != 0) || r->code == WEIR_OK || fault_set_when(r, when) < 0)
		return -1;
	if (how == NULL)
		return 0;
	r->is_lost = strcmp(how, "lost") == 0;
	r->is_cut = strncmp(how, "cut=", 4) == 0;
	r->cut = r->is_cut ? strtoull(how + 4, NULL, 10) : 0;
	return r->is_lost || r->is_cut ? 0 : -1;
}

/* --- calls --- */

static bool
fault_hits(struct fault *f, const struct fault_rule *r, enum weir_op op, unsigned nth)
{
	if (r->op >= 0 && r->op != (int)op)
		return false;
	switch (r->when) {
	case FAULT_AT:
		return nth == r->n;
	case FAULT_FROM:
		return nth >= r->n;
	case FAULT_EVERY:
		return nth % r->n == 0;
	default:
		/* xorshift: the same sequence in every run */
		f->random ^= f->random << 13;
		f->random ^= f->random >> 17;
		f->random ^= f->random << 5;
		return f->random % 100 < r->n;
	}
}

static const struct fault_rule *
fault_pick(struct fault *f, enum weir_op op)
{
	const struct fault_rule *hit = NULL;
	unsigned nth;

	pthread_mutex_lock(&f->lock);
	nth = ++f->calls[op];
	for (size_t i = 0; i < f->nrules && hit == NULL; i++) {
		if (fault_hits(f, &f->rules[i], op, nth))
			hit = &f->rules[i];
	}
	pthread_mutex_unlock(&f->lock);
	return hit;
}

struct cut_sink {
	struct weir_sink sink, *to;
	uint64_t left;
	enum weir_code code;
};

static enum weir_code
cut_write(struct weir_sink *s, const void *data, size_t len)
{
	struct cut_sink *c = (struct cut_sink *)s;
	size_t n = len < c->left ? len : (size_t)c->left;
	enum weir_code r = n > 0 ? c->to->write(c->to, data, n) : WEIR_OK;

	c->left -= n;
	if (r != WEIR_OK)
		return r;
	return n == len ? WEIR_OK : c->code;
}

static enum weir_code
fault_cut(struct fault *f, const struct fault_rule *rule, const struct weir_call *c, struct weir_err *err)
{
	struct cut_sink cut = {.sink.write = cut_write, .to = c->sink, .left = rule->cut, .code = rule->code};
	struct weir_call now = *c;

	now.sink = &cut.sink;
	return weir_call_run(f->layer.base.next, &now, err);
}

/* What a lost answer would have told must not be told. */
static void
fault_forget(const struct weir_call *c)
{
	if (c->st != NULL)
		weir_stat_free(c->st);
	if (c->new_id != NULL) {
		free(*c->new_id);
		*c->new_id = NULL;
	}
	if (c->tag != NULL) {
		free(*c->tag);
		*c->tag = NULL;
	}
}

static enum weir_code
fault_around(struct weir_layer *l, const struct weir_call *c, struct weir_err *err)
{
	struct fault *f = (struct fault *)l;
	const struct fault_rule *rule = fault_pick(f, c->op);
	enum weir_code r;

	if (rule == NULL)
		return weir_call_run(l->base.next, c, err);
	if (rule->is_cut && c->op == WEIR_OP_GET)
		return fault_cut(f, rule, c, err);
	if (rule->is_lost) {
		r = weir_call_run(l->base.next, c, err);
		if (r != WEIR_OK)
			return r;
		fault_forget(c);
	}
	return weir_err_set(err, rule->code, "fault layer: %s", weir_code_text(rule->code));
}

static void
fault_free(struct weir_layer *l)
{
	struct fault *f = (struct fault *)l;

	pthread_mutex_destroy(&f->lock);
	free(f->rules);
	free(f);
}

enum weir_code
weir_layer_fault(struct weir_backend *next, const char *rules, struct weir_backend **out, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *text = weir_xstrdup(rules);
	struct fault *f = weir_xcalloc(1, sizeof(*f));
	char *rest = text;

	for (char *s = strsep(&rest, ","); s != NULL; s = strsep(&rest, ",")) {
		struct fault_rule rule = {0};
		WEIR_AUTO(weir_freep) char *whole = weir_xstrdup(s);

		if (fault_parse(&rule, s) < 0) {
			free(f->rules);
			free(f);
			return weir_err_set(err, WEIR_E_INVAL, "'%s' is no rule of the fault layer", whole);
		}
		f->rules = weir_xrealloc(f->rules, f->nrules + 1, sizeof(*f->rules));
		f->rules[f->nrules++] = rule;
	}
	f->random = 2463534242u;
	pthread_mutex_init(&f->lock, NULL);
	weir_layer_init(&f->layer, next, fault_around, fault_free);
	*out = &f->layer.base;
	return WEIR_OK;
}
