/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of words: command lines and environments. */
#include "config.h"

#include "words.h"

#include <string.h>

#include "../src/util/util.h"

void
weir_words_add(struct weir_words *w, const char *word)
{
	w->v = weir_xrealloc(w->v, w->n + 2, sizeof(*w->v));
	w->v[w->n++] = weir_xstrdup(word);
	w->v[w->n] = NULL;
}

void
weir_words_split(struct weir_words *w, const char *text)
{
	while (text != NULL && *(text += strspn(text, " \t\n")) != '\0') {
		size_t len = strcspn(text, " \t\n");
		WEIR_AUTO(weir_freep) char *word = weir_xstrndup(text, len);

		weir_words_add(w, word);
		text += len;
	}
}

void
weir_words_free(struct weir_words *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->v[i]);
	free(w->v);
	*w = (struct weir_words){0};
}

static void
words_quote_one(struct weir_buf *out, const char *word)
{
	static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./:=,+@%^";

	if (*word != '\0' && word[strspn(word, safe)] == '\0') {
		weir_buf_adds(out, word);
		return;
	}
	weir_buf_addc(out, '\'');
	for (; *word != '\0'; word++) {
		if (*word == '\'')
			weir_buf_adds(out, "'\\''");
		else
			weir_buf_addc(out, *word);
	}
	weir_buf_addc(out, '\'');
}

void
weir_words_quote(struct weir_buf *out, char *const *words)
{
	for (size_t i = 0; words[i] != NULL; i++) {
		if (i > 0)
			weir_buf_addc(out, ' ');
		words_quote_one(out, words[i]);
	}
}
