/* SPDX-License-Identifier: Apache-2.0 */
/* weir.conf: what is read, what is refused and with which words. */
#include "config.h"

#include <CUnit/Basic.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf.h"
#include "util/util.h"

static const char *const keys_dav[] = {"url", "user", "password", "password_file", "password_command", "flag", NULL};
static const char *const keys_s3[] = {"bucket", "secret_key", "secret_key_file", "secret_key_command", NULL};
static const struct weir_conf_type types[] = {{"webdav", keys_dav}, {"s3", keys_s3}};

#define SHARE "[remote share]\ntype = webdav\nurl = http://h/\n"

static struct weir_conf *
parsed(const char *text)
{
	struct weir_conf *c = NULL;
	struct weir_err err = {0};

	if (weir_conf_parse("/x/my.conf", text, strlen(text), types, WEIR_LEN(types), &c, &err) != WEIR_OK)
		fprintf(stderr, "%s\n", err.msg);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	return c;
}

static void
refused(const char *text, const char *words)
{
	struct weir_conf *c = NULL;
	struct weir_err err = {0};

	CU_ASSERT_EQUAL(weir_conf_parse("f.conf", text, strlen(text), types, WEIR_LEN(types), &c, &err), WEIR_E_CONFIG);
	CU_ASSERT_PTR_NULL(c);
	if (strstr(err.msg, words) == NULL)
		fprintf(stderr, "\n  said: %s\n  not:  %s\n", err.msg, words);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, words));
}

static void
all_is_read(void)
{
	setenv("HOME", "/home/x", 1);
	struct weir_conf *c = parsed("# a comment\n[weir]\ncache_dir = ~/c\ncache_size = 200GiB\nquota = 500GB\nxattr = yes\n"
	    "[remote share]\ntype = webdav\nurl = https://$HOME/\npassword = ~$HOME#;\nquota = 1GB\nwrite = through\nread_only = yes\n"
	    "bandwidth_up = 10MB/s\nbandwidth_down = 1MiB\ntimeout = 10s\npatience = 1min\nlist_age = 0\nproxy = http://p:1\nca_file = ~/ca\nflag = on\n"
	    "[remote lab]\ntype = s3\nbucket = b\n"
	    "[namespace]\n/ = share\n/data//sets/ = lab:/imagenet/\n");
	const struct weir_remote_conf *r = weir_conf_remote(c, "share");
	bool flag = false;

	CU_ASSERT_STRING_EQUAL(c->name, "my");
	CU_ASSERT_STRING_EQUAL(c->cache_dir, "/home/x/c");
	CU_ASSERT_EQUAL(c->cache_bytes, 200ull << 30);
	CU_ASSERT_EQUAL(c->quota_bytes, 500000000000);
	CU_ASSERT(c->xattr);
	CU_ASSERT_EQUAL_FATAL(c->nremotes, 2);
	CU_ASSERT_PTR_NOT_NULL_FATAL(r);
	CU_ASSERT_STRING_EQUAL(weir_conf_get(r, "url"), "https:///home/x/");
	CU_ASSERT_STRING_EQUAL(weir_conf_get(r, "password"), "~$HOME#;");
	CU_ASSERT_EQUAL(r->quota_bytes, 1000000000);
	CU_ASSERT(r->is_through && r->is_readonly);
	CU_ASSERT_EQUAL(r->bandwidth_up, 10000000);
	CU_ASSERT_EQUAL(r->bandwidth_down, 1 << 20);
	CU_ASSERT_EQUAL(r->timeout_ms, 10000);
	CU_ASSERT_EQUAL(r->patience_ms, 60000);
	CU_ASSERT_EQUAL(r->list_age_ms, 0);
	CU_ASSERT_STRING_EQUAL(r->proxy, "http://p:1");
	CU_ASSERT_STRING_EQUAL(r->ca_file, "/home/x/ca");
	CU_ASSERT_PTR_EQUAL(r->conf, c);
	CU_ASSERT(weir_conf_bool(r, "flag", false, &flag, NULL) == WEIR_OK && flag);
	CU_ASSERT_EQUAL_FATAL(c->nbinds, 2);
	CU_ASSERT_STRING_EQUAL(c->binds[0].path, "/");
	CU_ASSERT_STRING_EQUAL(c->binds[0].places[0].folder, "");
	CU_ASSERT_STRING_EQUAL(c->binds[1].path, "/data/sets");
	CU_ASSERT_STRING_EQUAL(c->binds[1].places[0].remote, "lab");
	CU_ASSERT_STRING_EQUAL(c->binds[1].places[0].folder, "imagenet");
	weir_conf_free(c);
}

static void
defaults_stand(void)
{
	struct weir_conf *c = parsed(SHARE "[remote lab]\ntype = s3\n");
	const struct weir_remote_conf *r = weir_conf_remote(c, "lab");
	struct weir_err err = {0};
	const char *v = NULL;

	CU_ASSERT_EQUAL(c->quota_bytes, 2000000000000);
	CU_ASSERT(!c->xattr);
	CU_ASSERT_EQUAL(c->cache_dir[0], '/');
	CU_ASSERT_PTR_NOT_NULL(strstr(c->cache_dir, "/weir/"));
	CU_ASSERT_PTR_NOT_NULL(strstr(c->cache_dir, "my"));
	CU_ASSERT_EQUAL(r->timeout_ms, 30000);
	CU_ASSERT_EQUAL(r->patience_ms, 300000);
	CU_ASSERT_EQUAL_FATAL(c->nbinds, 2);
	CU_ASSERT_STRING_EQUAL(c->binds[1].path, "/lab");
	CU_ASSERT_EQUAL(weir_conf_need(r, "bucket", &v, &err), WEIR_E_CONFIG);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, ":4: remote 'lab' needs 'bucket'"));
	weir_conf_free(c);
}

static void
errors_name_the_line_and_the_remedy(void)
{
	refused("[weir]\ncache_dri = /x\n", "f.conf:2: unknown key 'cache_dri' in [weir]");
	refused("[weir]\nquota = much\n", "f.conf:2: quota: 'much' is no size");
	refused("[weir]\ncache_dir = x\n", "f.conf:2: cache_dir: 'x' is not absolute");
	refused("[weir]\nquota = 1\nquota = 2\n", "f.conf:3: 'quota' stands in line 2 already");
	refused("[wier]\n", "f.conf:1: unknown section [wier]");
	refused("[weir x]\n", "f.conf:1: [weir] takes no name");
	refused("[remote]\n", "f.conf:1: [remote NAME] needs a name");
	refused("[remote a/b]\n", "f.conf:1: [remote NAME] needs a name");
	refused("[remote a]\nurl = x\n", "f.conf:1: remote 'a' needs 'type'");
	refused("[remote a]\ntype = ftp\n", "unknown type 'ftp'; there are webdav, s3");
	refused("[remote a]\ntype = s3\nurl = x\n", "f.conf:3: remote 'a': unknown key 'url' for type s3");
	refused(SHARE "url = y\n", "f.conf:4: 'url' stands in line 3 already");
	refused(SHARE "\n" SHARE, "f.conf:5: remote 'share' stands in line 1 already");
	refused(SHARE "write = sideways\n", "f.conf:4: write: 'sideways' is neither back nor through");
	refused(SHARE "timeout = 0\n", "f.conf:4: timeout:");
	refused(SHARE "user = $WEIR_NOT_SET\n", "f.conf:4: remote 'share': user: the variable $WEIR_NOT_SET is not set");
	refused(SHARE "[namespace]\nx = share\n", "f.conf:5: 'x' is no path");
	refused(SHARE "[namespace]\n/../x = share\n", "f.conf:5: '/../x' is no path");
	refused(SHARE "[namespace]\n/x = other\n", "f.conf:5: there is no [remote other]");
	refused(SHARE "[namespace]\n/x = share:a/../b\n", "f.conf:5: a folder in a remote");
	refused(SHARE "[namespace]\n/x = pool(share:a, share:b\n", "f.conf:5: the pool does not end with ')'");
	refused(SHARE "[namespace]\n/x = pool()\n", "f.conf:5: '/x' needs pool(REMOTE:FOLDER, REMOTE:FOLDER)");
	refused(SHARE "[namespace]\n/x = pool(share:a,)\n", "f.conf:5: '/x' needs pool(");
	refused(SHARE "[namespace]\n/x = pool(share:a, lab:b)\n", "f.conf:5: there is no [remote lab]");
	refused(SHARE "[namespace]\n/x = pool(share:a, share:../b)\n", "f.conf:5: a folder in a remote");
	refused(SHARE "[namespace]\n/x = pool(share:a, share:a/b)\n", "f.conf:5: 'share:a' and 'share:a/b' put the same files into the pool twice");
	refused(SHARE "[namespace]\n/x = pool(share:a, share:b; policy=random)\n", "f.conf:5: a pool knows policy=first, policy=most-free, "
	    "policy=siblings and reserve=SIZE, not 'policy=random'");
	refused(SHARE "[namespace]\n/x = pool(share:a; reserve=much)\n", "f.conf:5: 'much' is no size");
	refused(SHARE "[namespace]\n/x = pool(share:a, share:b)\n/x = share\n", "f.conf:6: '/x' stands in line 5 already");
	refused(SHARE "[namespace]\n/x = share:a\n/x/ = share:b\n", "f.conf:6: '/x' stands in line 5 already");
	refused(SHARE "[namespace]\n/x = share:a/b\n/y = share:a\n", "f.conf:6: 'share:a' and line 5 show the same files twice");
}

static void
pools_name_members_and_policy(void)
{
	struct weir_conf *c = parsed(SHARE "[remote lab]\ntype = s3\n[namespace]\n/ = share\n/all = pool(share:data, lab:/data/)\n"
	    "/p = pool(lab:data/x,share;policy=most-free; reserve=10GB)\n/q = pool(lab:b; policy=siblings)\n");

	CU_ASSERT_EQUAL_FATAL(c->nbinds, 4);
	CU_ASSERT(!c->binds[0].is_pool && c->binds[0].nplaces == 1);
	CU_ASSERT(c->binds[1].is_pool && c->binds[1].nplaces == 2 && c->binds[1].policy == WEIR_POOL_FIRST);
	CU_ASSERT_EQUAL(c->binds[1].reserve_bytes, UINT64_MAX);
	CU_ASSERT_STRING_EQUAL(c->binds[1].places[0].remote, "share");
	CU_ASSERT_STRING_EQUAL(c->binds[1].places[1].remote, "lab");
	CU_ASSERT_STRING_EQUAL(c->binds[1].places[1].folder, "data");
	CU_ASSERT(c->binds[2].policy == WEIR_POOL_MOST_FREE && c->binds[2].reserve_bytes == 10000000000);
	CU_ASSERT_STRING_EQUAL(c->binds[2].places[1].folder, "");
	CU_ASSERT_EQUAL(c->binds[3].policy, WEIR_POOL_SIBLINGS);
	CU_ASSERT_STRING_EQUAL(weir_conf_policy(c->binds[3].policy), "siblings");
	CU_ASSERT(weir_conf_overlap(&c->binds[0].places[0], &c->binds[1].places[0]));
	CU_ASSERT(!weir_conf_overlap(&c->binds[1].places[0], &c->binds[1].places[1]));
	weir_conf_free(c);
}

static void
folders_side_by_side_are_fine(void)
{
	weir_conf_free(parsed(SHARE "[namespace]\n/x = share:a\n/y = share:ab\n/z = share:b/a\n"));
}

/* --- files --- */

static char dir[] = "/tmp/weir-t-conf-XXXXXX";

static char *
file_with(const char *name, const char *text, mode_t mode)
{
	char *path = weir_xasprintf("%s/%s", dir, name);

	CU_ASSERT_EQUAL_FATAL(weir_write_file(path, text, strlen(text)), 0);
	CU_ASSERT_EQUAL(chmod(path, mode), 0);
	return path;
}

static enum weir_code
load(const char *text, mode_t mode, struct weir_conf **out, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *path = file_with("weir.conf", text, mode);

	return weir_conf_load(path, types, WEIR_LEN(types), out, err);
}

static void
a_secret_others_can_read_is_refused(void)
{
	struct weir_err err = {0};
	struct weir_conf *c = NULL;

	CU_ASSERT_EQUAL(load(SHARE "password = p\n", 0644, &c, &err), WEIR_E_CONFIG);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "chmod 600"));
	CU_ASSERT_EQUAL(load("[remote a]\ntype = webdav\nurl = https://u:p@h/\n", 0640, &c, &err), WEIR_E_CONFIG);
	CU_ASSERT_EQUAL(load("[remote a]\ntype = s3\nsecret_key = k\n", 0604, &c, &err), WEIR_E_CONFIG);
	CU_ASSERT_EQUAL(load(SHARE, 0646, &c, &err), WEIR_E_CONFIG);
	CU_ASSERT_PTR_NULL_FATAL(c);
	CU_ASSERT_EQUAL(load(SHARE "password_file = /x\n", 0644, &c, &err), WEIR_OK);
	CU_ASSERT_EQUAL(c->path[0], '/');
	CU_ASSERT_STRING_EQUAL(c->name, "weir");
	weir_conf_free(c);
	c = NULL;
	CU_ASSERT_EQUAL(load(SHARE "password = p\n", 0600, &c, &err), WEIR_OK);
	weir_conf_free(c);
	CU_ASSERT_EQUAL(weir_conf_load("/nowhere/weir.conf", types, WEIR_LEN(types), &c, &err), WEIR_E_NOENT);
}

static enum weir_code
secret_of(const char *lines, char **out, struct weir_err *err)
{
	WEIR_AUTO(weir_freep) char *text = weir_xasprintf("%s%s", SHARE, lines);
	struct weir_conf *c = parsed(text);
	enum weir_code r = weir_conf_secret(&c->remotes[0], "password", out, err);

	weir_conf_free(c);
	return r;
}

static void
secret_is(const char *lines, const char *want)
{
	char *s = NULL;

	CU_ASSERT_EQUAL(secret_of(lines, &s, NULL), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(s != NULL ? s : "(none)", want);
	weir_secret_free(s);
}

static void
secret_refused(const char *lines, const char *words)
{
	struct weir_err err = {0};
	char *s = NULL;

	CU_ASSERT_EQUAL(secret_of(lines, &s, &err), WEIR_E_CONFIG);
	CU_ASSERT_PTR_NULL(s);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, words));
}

static void
secrets_come_from_three_places(void)
{
	WEIR_AUTO(weir_freep) char *good = file_with("good", "from file\r\nsecond\n", 0600), *open_to_all = file_with("open", "x\n", 0644);
	WEIR_AUTO(weir_freep) char *as_file = weir_xasprintf("password_file = %s\n", good);
	WEIR_AUTO(weir_freep) char *as_open = weir_xasprintf("password_file = %s\n", open_to_all);

	secret_is("", "(none)");
	secret_is("password = a b\n", "a b");
	secret_is(as_file, "from file");
	secret_is("password_command = printf 'one two\\nthree\\n'\n", "one two");
	secret_is("password_command = read x; echo \"got:$x\"\n", "got:");
	secret_is("password_command = head -c 200000 /dev/zero | tr '\\0' '\\n' | sed '1s/^/first/'\n", "first");
	secret_refused(as_open, "chmod 600");
	secret_refused("password_file = /nowhere/x\n", "No such file");
	secret_refused("password_file = /tmp\n", "is not a file");
	secret_refused("password_command = exit 3\n", "status 3");
	secret_refused("password_command = true\n", "printed nothing");
	secret_refused("password = a\npassword_command = echo b\n", "give only one");
}

int
main(void)
{
	CU_pSuite s;
	unsigned failed;

	if (mkdtemp(dir) == NULL || CU_initialize_registry() != CUE_SUCCESS)
		return 99;
	s = CU_add_suite("conf", NULL, NULL);
	CU_ADD_TEST(s, all_is_read);
	CU_ADD_TEST(s, defaults_stand);
	CU_ADD_TEST(s, errors_name_the_line_and_the_remedy);
	CU_ADD_TEST(s, folders_side_by_side_are_fine);
	CU_ADD_TEST(s, pools_name_members_and_policy);
	CU_ADD_TEST(s, a_secret_others_can_read_is_refused);
	CU_ADD_TEST(s, secrets_come_from_three_places);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	for (size_t i = 0; i < 3; i++) {
		static const char *const names[] = {"weir.conf", "good", "open"};
		WEIR_AUTO(weir_freep) char *path = weir_xasprintf("%s/%s", dir, names[i]);

		unlink(path);
	}
	rmdir(dir);
	return failed != 0;
}
