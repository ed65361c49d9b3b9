/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds bytes from outside to the parser of multistatus answers and to the reader of error bodies. With clang -fsanitize=fuzzer
 * and -DWEIR_LIBFUZZER it is a libFuzzer target; as built here it runs the files it is given, or a bounded number of mutations of
 * its own seeds, always the same ones. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "../../backends/dav_xml.h"
#include "../../src/util/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum weir_code
fuzz_item(void *arg, struct weir_dav_item *it, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *etag = weir_dav_etag(it->etag);
	size_t *n = arg;

	(void)err;
	if (!it->href || (etag && strpbrk(etag, "\"\r\n")))
		abort();
	return ++*n > 1000 ? WEIR_E_FBIG : WEIR_OK;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char reason[64];
	size_t n = 0, half = size / 2;
	struct weir_err err = { 0 };
	struct weir_dav_xml *x = weir_dav_xml_new(fuzz_item, &n);

	if (weir_dav_xml_feed(x, data, half, false, &err) == WEIR_OK)
		weir_dav_xml_feed(x, data + half, size - half, true, &err);
	weir_dav_xml_free(x);
	weir_dav_reason((const char *)data, size, reason, sizeof(reason));
	if (strlen(reason) >= sizeof(reason) || strpbrk(reason, "\r\n"))
		abort();
	return 0;
}

#ifndef WEIR_LIBFUZZER
#define FUZZ_ROUNDS 20000

static const char *const fuzz_seeds[] = {
	"<?xml version=\"1.0\"?><d:multistatus xmlns:d=\"DAV:\" xmlns:oc=\"http://owncloud.org/ns\"><d:response><d:href>http://h/a%20b/</d:href>"
	"<d:propstat><d:prop><d:resourcetype><d:collection/></d:resourcetype><d:getetag>W/&quot;62-gzip&quot;</d:getetag><oc:fileid>7</oc:fileid>"
	"<d:getlastmodified>Wed, 20 Jul 2022 05:12:23 GMT</d:getlastmodified><d:getcontentlength>12</d:getcontentlength>"
	"<oc:checksums><oc:checksum>SHA1:ab</oc:checksum></oc:checksums><d:quota-used-bytes>1.5e9</d:quota-used-bytes></d:prop>"
	"<d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>",
	"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
	"<html><title>403 Forbidden</title><p>No <b>way</b>. Ask.</p></html>",
	"<d:error xmlns:d='DAV:' xmlns:s='http://sabredav.org/ns' xmlns:o='o:'><s:message>m</s:message><o:reason>r</o:reason></d:error>",
	"{\"ocs\":{\"meta\":{\"message\":\"no\"}}}",
};

static uint32_t fuzz_state = 0x77656972;

static uint32_t
fuzz_next(uint32_t below)
{
	fuzz_state ^= fuzz_state << 13;
	fuzz_state ^= fuzz_state >> 17;
	fuzz_state ^= fuzz_state << 5;
	return fuzz_state % below;
}

/* A few bytes flipped, cut, doubled or moved. */
static size_t
fuzz_mutate(char *buf, size_t n, size_t max)
{
	static const char spice[] = "<>/&;:\"'=% \n\0\x80\xff]!-?0W";

	for (uint32_t k = 1 + fuzz_next(6); k && n > 4; k--) {
		size_t at = fuzz_next((uint32_t)n), len = 1 + fuzz_next(20);

		if (len > n - at)
			len = n - at;
		switch (fuzz_next(4)) {
		case 0:
			buf[at] = spice[fuzz_next(sizeof(spice) - 1)];
			break;
		case 1:
			memmove(buf + at, buf + at + len, n - at - len);
			n -= len;
			break;
		case 2:
			if (n + len <= max) {
				memmove(buf + at + len, buf + at, n - at);
				n += len;
			}
			break;
		default:
			memmove(buf + at, buf + fuzz_next((uint32_t)(n - len + 1)), len);
		}
	}
	return n;
}

int
main(int argc, char **argv)
{
	static char buf[4096];

	for (int i = 1; i < argc; i++) {
		WEIR_AUTO(weir_freep) char *data = NULL;
		size_t n;

		if (weir_read_file(argv[i], 16u << 20, &data, &n)) {
			perror(argv[i]);
			return 1;
		}
		LLVMFuzzerTestOneInput((const uint8_t *)data, n);
	}
	for (int i = 0; argc == 1 && i < FUZZ_ROUNDS; i++) {
		const char *seed = fuzz_seeds[(size_t)i % WEIR_LEN(fuzz_seeds)];
		size_t n = strlen(seed);

		memcpy(buf, seed, n);
		if (i >= (int)WEIR_LEN(fuzz_seeds))
			n = fuzz_mutate(buf, n, sizeof(buf));
		LLVMFuzzerTestOneInput((const uint8_t *)buf, n);
	}
	return 0;
}
#endif
