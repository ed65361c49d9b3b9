/* SPDX-License-Identifier: Apache-2.0 */
/* Words that people type: a module or an image, filters, and what they may have meant. */
#include "config.h"

#include "impl.h"

#include <string.h>
#include <strings.h>

#include "../../src/util/clean.h"
#include "../../src/util/fold.h"

#define IMAGE_MAX 512

/* ---- images ---- */

/* [a-z0-9]+ with single separators (. _ __ or dashes) between. */
static bool
words_is_part(const char *s, size_t n)
{
	static const char alnum[] = "abcdefghijklmnopqrstuvwxyz0123456789";

	for (size_t i = 0; i < n;) {
		size_t word = strspn(s + i, alnum), gap;

		if (word == 0 || i + word > n)
			return false;
		i += word;
		if (i == n)
			return true;
		gap = s[i] == '.' ? 1 : s[i] == '_' ? strspn(s + i, "_") : strspn(s + i, "-");
		if (gap == 0 || (s[i] == '_' && gap > 2) || i + gap >= n)
			return false;
		i += gap;
	}
	return false;
}

static bool
words_is_host(const char *s, size_t n)
{
	size_t name = 0;

	if (memchr(s, '.', n) == NULL && memchr(s, ':', n) == NULL && !(n == 9 && strncmp(s, "localhost", 9) == 0))
		return false;
	while (name < n && s[name] != ':')
		name++;
	if (name == 0 || s[0] == '-' || s[0] == '.' || strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") < name)
		return false;
	return name == n || (n - name >= 2 && n - name <= 6 && strspn(s + name + 1, "0123456789") >= n - name - 1);
}

static bool
words_is_tag(const char *s, size_t n)
{
	return n >= 1 && n <= 128 && *s != '.' && *s != '-' && strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") >= n;
}

/* "sha256:…" */
static bool
words_is_digest(const char *s)
{
	size_t kind = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789+._-");

	return kind > 0 && s[kind] == ':' && strlen(s + kind + 1) >= 32 && s[kind + 1 + strspn(s + kind + 1, "0123456789abcdefABCDEF")] == '\0';
}

/* Where the tag's colon is; NULL: there is none. */
static const char *
words_tag(const char *image)
{
	const char *slash = strrchr(image, '/'), *at = strchr(image, '@'), *colon = strchr(slash != NULL ? slash + 1 : image, ':');

	return colon != NULL && (at == NULL || colon < at) ? colon : NULL;
}

bool
weir_image_is_good(const char *image)
{
	WEIR_AUTO(weir_freep) char *copy = weir_xstrdup(image);
	const char *at = strchr(image, '@'), *p;
	char *tag;
	size_t first;

	if (strlen(image) > IMAGE_MAX || (at != NULL && !words_is_digest(at + 1)))
		return false;
	copy[strcspn(copy, "@")] = '\0';
	tag = (char *)(uintptr_t)words_tag(copy);
	if (tag != NULL) {
		if (!words_is_tag(tag + 1, strlen(tag + 1)))
			return false;
		*tag = '\0';
	}
	first = strcspn(copy, "/");
	p = copy[first] == '/' && words_is_host(copy, first) ? copy + first + 1 : copy;
	for (;;) {
		size_t n = strcspn(p, "/");

		if (!words_is_part(p, n))
			return false;
		if (p[n] == '\0')
			return true;
		p += n + 1;
	}
}

bool
weir_image_has_tag(const char *image)
{
	return strchr(image, '@') != NULL || words_tag(image) != NULL;
}

char *
weir_image_tagged(const char *image, const char *tag)
{
	return weir_image_has_tag(image) ? weir_xstrdup(image) : weir_xasprintf("%s:%s", image, tag);
}

enum weir_module_word
weir_module_word(const char *word, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *clean = weir_clean(word, strnlen(word, 300), false), *shown = weir_cut_columns(clean, 80);

	if (weir_list_is_name(word))
		return WEIR_WORD_NAME;
	if (strpbrk(word, "/:@") != NULL && weir_image_is_good(word))
		return WEIR_WORD_IMAGE;
	if (strpbrk(word, "/:@") != NULL)
		weir_err_set(err, WEIR_E_INVAL, "'%s' is no image reference like owner/name:tag (names are lower case)", shown);
	else
		weir_err_set(err, WEIR_E_INVAL, "'%s' is neither a module's name (letters, digits, - _ .) nor an image reference", shown);
	return WEIR_WORD_BAD;
}

/* ---- filters ---- */

static bool
words_any(const struct weir_words *have, const char *const *want, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < have->n; k++) {
			if (weir_fold_equal(have->v[k], want[i]))
				return true;
		}
	}
	return n == 0;
}

static void
words_all(struct weir_buf *out, const struct weir_words *w)
{
	for (size_t i = 0; i < w->n; i++)
		weir_buf_addf(out, "%s\n", w->v[i]);
}

static bool
words_found(const struct weir_module *m, const char *const *words, size_t n)
{
	struct weir_buf text = WEIR_BUF(4u << 20);
	WEIR_AUTO(weir_freep) char *raw = NULL, *folded = NULL;
	bool is_there = true;

	if (n == 0)
		return true;
	weir_buf_addf(&text, "%s\n%s\n%s\n%s\n", m->name, m->title, m->summary, m->description);
	words_all(&text, &m->tags);
	words_all(&text, &m->tasks);
	words_all(&text, &m->libraries);
	raw = weir_buf_take(&text);
	folded = weir_fold(raw);
	for (size_t i = 0; is_there && i < n; i++) {
		WEIR_AUTO(weir_freep) char *word = weir_fold(words[i]);

		is_there = strstr(folded, word) != NULL;
	}
	return is_there;
}

bool
weir_module_matches(const struct weir_module *m, const struct weir_module_filter *f)
{
	return words_any(&m->libraries, f->libraries, f->nlibraries) && words_any(&m->tasks, f->tasks, f->ntasks) &&
	    words_any(&m->categories, f->categories, f->ncategories) && words_any(&m->data_types, f->data_types, f->ndata_types) &&
	    words_any(&m->tags, f->tags, f->ntags) && words_found(m, f->words, f->nwords);
}
