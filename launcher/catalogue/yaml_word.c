/* SPDX-License-Identifier: Apache-2.0 */
/* What an unquoted word of YAML 1.1 means, by the expressions of https://yaml.org/type/ as PyYAML has them (its floats need a dot and a signed
 * exponent, its booleans are whole words): the platform reads metadata with it, so 1e3 is a text here and 1.0e+3 a number. */
#include "config.h"

#include "yaml_word.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../../src/util/util.h"

#define WORD_MAX 128	/* longer ones are texts, but for numbers nobody writes */

enum word_rule { WORD_BOOL, WORD_FLOAT, WORD_INT, WORD_NULL, WORD_DATE, WORD_RULES };
static const char *const word_patterns[WORD_RULES] = {
    [WORD_BOOL] = "^(yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$",
    [WORD_FLOAT] = "^([-+]?[0-9][0-9_]*\\.[0-9_]*([eE][-+][0-9]+)?|\\.[0-9][0-9_]*([eE][-+][0-9]+)?|"
	"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+\\.[0-9_]*|[-+]?\\.(inf|Inf|INF)|\\.(nan|NaN|NAN))$",
    [WORD_INT] = "^([-+]?0b[01_]+|[-+]?0[0-7_]+|[-+]?(0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(:[0-5]?[0-9])+)$",
    [WORD_NULL] = "^(~|null|Null|NULL|)$",
    [WORD_DATE] = "^([0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(\\.[0-9]*)?"
	"([ \t]*(Z|[-+][0-9]{1,2}(:[0-9]{2})?))?)$",
};
static regex_t word_regex[WORD_RULES];
static pthread_once_t word_once = PTHREAD_ONCE_INIT;

static void
word_compile(void)
{
	for (size_t i = 0; i < WORD_RULES; i++) {
		if (regcomp(&word_regex[i], word_patterns[i], REG_EXTENDED | REG_NOSUB) != 0)
			abort();
	}
}

static bool
word_fits(enum word_rule rule, const struct weir_yaml *node)
{
	pthread_once(&word_once, word_compile);
	return node->len <= WORD_MAX && strlen(node->text) == node->len && regexec(&word_regex[rule], node->text, 0, NULL, 0) == 0;
}

/* Digits without sign and underscores. */
static char *
word_digits(const struct weir_yaml *node, bool *is_negative)
{
	const char *s = node->text;
	char *out = weir_xcalloc(node->len + 1, 1), *p = out;

	*is_negative = *s == '-';
	for (s += *s == '-' || *s == '+'; *s != '\0'; s++) {
		if (*s != '_')
			*p++ = *s;
	}
	return out;
}

/* 1:30:00 counts in sixties; the last part may have a fraction. */
static double
word_sixties(const char *s)
{
	double sum = 0;

	for (;; s++) {
		sum = sum * 60 + strtod(s, NULL);
		s = strchr(s, ':');
		if (s == NULL)
			return sum;
	}
}

static enum weir_code
word_int(struct weir_yaml *node, struct weir_err *err)
{
	bool is_negative;
	WEIR_AUTO(weir_freep) char *s = word_digits(node, &is_negative);
	char *end = s;
	int base = 10;

	if (strchr(s, ':') != NULL) {
		node->number = word_sixties(s);
		end = s + strlen(s);
	} else {
		char *digits = s;

		if (s[0] == '0' && (s[1] == 'b' || s[1] == 'x')) {
			base = s[1] == 'b' ? 2 : 16;
			digits += 2;
		} else if (s[0] == '0' && s[1] != '\0')
			base = 8;
		errno = 0;
		node->integer = strtoll(digits, &end, base);
		node->number = errno == ERANGE && base == 10 ? strtod(digits, NULL) : (double)node->integer;
		if (end == digits)
			end = s;
	}
	if (*s == '\0' || *end != '\0' || end == s)
		return weir_err_set(err, WEIR_E_INVAL, "'%.40s' is no whole number", node->text);
	if (strchr(s, ':') != NULL)
		node->integer = node->number < 9e18 ? (int64_t)node->number : INT64_MAX;
	if (is_negative) {
		node->integer = -node->integer;
		node->number = -node->number;
	}
	node->kind = WEIR_YAML_INT;
	return WEIR_OK;
}

static enum weir_code
word_float(struct weir_yaml *node, struct weir_err *err)
{
	bool is_negative;
	WEIR_AUTO(weir_freep) char *s = word_digits(node, &is_negative);
	char *end = s;

	if (strcasecmp(s, ".inf") == 0)
		node->number = HUGE_VAL;
	else if (strcasecmp(s, ".nan") == 0)
		node->number = NAN;
	else if (strchr(s, ':') != NULL)
		node->number = word_sixties(s);
	else {
		node->number = strtod(s, &end);
		if (end == s || *end != '\0')
			return weir_err_set(err, WEIR_E_INVAL, "'%.40s' is no number", node->text);
	}
	if (is_negative)
		node->number = -node->number;
	node->kind = WEIR_YAML_REAL;
	return WEIR_OK;
}

static enum weir_code
word_date(struct weir_yaml *node, struct weir_err *err)
{
	static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	char *end;
	long year = strtol(node->text, &end, 10), month, day;
	bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0), is_good;

	month = strtol(end + 1, &end, 10);
	day = strtol(end + 1, &end, 10);
	is_good = year > 0 && month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] && (month != 2 || day < 29 || is_leap);
	if (is_good && *end != '\0') {
		long h = strtol(end + strcspn(end, "0123456789"), &end, 10), m = strtol(end + 1, &end, 10);

		is_good = h < 24 && m < 60 && strtol(end + 1, NULL, 10) < 60;
	}
	if (!is_good)
		return weir_err_set(err, WEIR_E_INVAL, "'%.40s' is no date", node->text);
	node->kind = WEIR_YAML_DATE;
	return WEIR_OK;
}

/* Rules in the order in which their first letters are tried there; they exclude each other. */
static enum weir_code
word_plain(struct weir_yaml *node, struct weir_err *err)
{
	if (word_fits(WORD_NULL, node))
		node->kind = WEIR_YAML_NULL;
	else if (word_fits(WORD_BOOL, node)) {
		node->kind = WEIR_YAML_BOOL;
		node->is_true = strchr("yYtT", node->text[0]) != NULL || strcasecmp(node->text, "on") == 0;
	} else if (word_fits(WORD_FLOAT, node))
		return word_float(node, err);
	else if (word_fits(WORD_INT, node))
		return word_int(node, err);
	else if (word_fits(WORD_DATE, node))
		return word_date(node, err);
	else if (strcmp(node->text, "<<") == 0 || strcmp(node->text, "=") == 0)
		node->kind = WEIR_YAML_OTHER;
	return WEIR_OK;
}

static enum weir_code
word_tagged(struct weir_yaml *node, const char *tag, struct weir_err *err)
{
	if (strcmp(tag, "str") == 0)
		return WEIR_OK;
	if (strcmp(tag, "null") == 0) {
		node->kind = WEIR_YAML_NULL;
		return WEIR_OK;
	}
	if (strcmp(tag, "binary") == 0) {
		node->kind = WEIR_YAML_OTHER;
		return WEIR_OK;
	}
	if (strcmp(tag, "bool") == 0 || strcmp(tag, "timestamp") == 0) {
		enum weir_code r = word_plain(node, err);

		if (r == WEIR_OK && node->kind != (tag[0] == 'b' ? WEIR_YAML_BOOL : WEIR_YAML_DATE))
			return weir_err_set(err, WEIR_E_INVAL, "'%.40s' is not what its type says", node->text);
		return r;
	}
	if (strlen(node->text) == node->len && node->len > 0 && strcmp(tag, "int") == 0)
		return word_int(node, err);
	if (strlen(node->text) == node->len && node->len > 0 && strcmp(tag, "float") == 0)
		return word_float(node, err);
	return weir_err_set(err, WEIR_E_INVAL, "it has a type (!…) that is not known");
}

enum weir_code
weir_yaml_word(struct weir_yaml *node, const char *tag, struct weir_err *err)
{
	return tag != NULL ? word_tagged(node, tag, err) : word_plain(node, err);
}

bool
weir_yaml_is_merge(const struct weir_yaml *node)
{
	return node->kind == WEIR_YAML_OTHER && node->text != NULL && strcmp(node->text, "<<") == 0;
}

bool
weir_yaml_is_equals(const struct weir_yaml *node)
{
	return node->kind == WEIR_YAML_OTHER && node->text != NULL && strcmp(node->text, "=") == 0;
}
