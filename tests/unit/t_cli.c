/* SPDX-License-Identifier: Apache-2.0 */
/* What the command line decides by text alone: which mount a path is in, mount options, words of a command. */
#include "config.h"

#include <CUnit/Basic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../launcher/launch.h"
#include "../../src/cli/mountopt.h"
#include "../../src/control/mounts.h"
#include "../../src/control/wire.h"
#include "../../src/util/util.h"

static const char mountinfo[] =
    "22 1 0:20 / / rw,relatime - ext4 /dev/vda rw\n"
    "40 22 0:40 / /mnt/a rw,nosuid shared:5 - fuse.weir rshare:/etc/weir/a.conf rw,user_id=0\n"
    "41 22 0:41 / /mnt/with\\040blank rw - fuse.weir /home/u/my\\040conf rw\n"
    "42 40 0:42 / /mnt/a/hidden rw - tmpfs none rw\n"
    "43 22 0:40 /data/x /srv/bind rw - fuse.weir /etc/weir/a.conf rw\n"
    "44 22 0:44 / /torn rw\n"
    "45 22 0:45 / /other rw master:1 propagate_from:2 - fuse.sshfs host: rw\n";

static void
is_at(const struct weir_mounts *m, const char *path, const char *mountpoint, const char *inside)
{
	char *got = NULL;
	const struct weir_mount *at = weir_mounts_at(m, path, &got);

	if (mountpoint == NULL) {
		CU_ASSERT_PTR_NULL(at);
	} else {
		CU_ASSERT_PTR_NOT_NULL_FATAL(at);
		CU_ASSERT_STRING_EQUAL(at->mountpoint, mountpoint);
		CU_ASSERT_STRING_EQUAL(got, inside);
	}
	free(got);
}

static void
a_path_finds_its_mount(void)
{
	WEIR_AUTO(weir_freep) char *text = weir_xstrdup(mountinfo);
	struct weir_mounts m;

	weir_mounts_parse(&m, text);
	CU_ASSERT_EQUAL(m.n, 6);	/* the torn line is left out */
	is_at(&m, "/mnt/a", "/mnt/a", "/");
	is_at(&m, "/mnt/a/b/c", "/mnt/a", "/b/c");
	is_at(&m, "/mnt/ab", NULL, NULL);
	is_at(&m, "/mnt", NULL, NULL);
	is_at(&m, "/", NULL, NULL);
	is_at(&m, "/other/x", NULL, NULL);
	is_at(&m, "/mnt/a/hidden/x", NULL, NULL);
	is_at(&m, "/mnt/with blank/x", "/mnt/with blank", "/x");
	is_at(&m, "/srv/bind", "/srv/bind", "/data/x");
	is_at(&m, "/srv/bind/y", "/srv/bind", "/data/x/y");
	CU_ASSERT_STRING_EQUAL(weir_mounts_of(&m, "/home/u/my conf")->mountpoint, "/mnt/with blank");
	CU_ASSERT_STRING_EQUAL(weir_mounts_of(&m, "/etc/weir/a.conf")->mountpoint, "/mnt/a");
	CU_ASSERT_PTR_NULL(weir_mounts_of(&m, "host:"));
	weir_mounts_free(&m);
}

static void
a_path_becomes_absolute_by_text_alone(void)
{
	static const char *const rows[][2] = {{"/", "/"}, {"/a//b/", "/a/b"}, {"/a/./b/../c", "/a/c"}, {"/..", "/"}, {"/../../x", "/x"}, {"//a", "/a"},
	    {"/a/..", "/"}, {"/...", "/..."}};
	char *cwd = getcwd(NULL, 0), *want, *got;

	for (size_t i = 0; i < WEIR_LEN(rows); i++) {
		got = weir_path_absolute(rows[i][0]);
		CU_ASSERT_STRING_EQUAL(got, rows[i][1]);
		free(got);
	}
	want = weir_xasprintf("%s/x", strcmp(cwd, "/") == 0 ? "" : cwd);
	got = weir_path_absolute("./y/../x");
	CU_ASSERT_STRING_EQUAL(got, want);
	free(got);
	free(want);
	free(cwd);
}

static void
mount_options_are_read_whole(void)
{
	struct weir_mountopt m;
	struct weir_err err = {0};

	weir_mountopt_default(&m);
	CU_ASSERT_EQUAL(weir_mountopt_parse(&m, "ro,uid=7,,gid=8,umask=077,noallow_other,suid,noexec", false, &err), WEIR_OK);
	CU_ASSERT_TRUE(m.fuse.is_readonly && m.fuse.suid_ok && !m.fuse.exec_ok && !m.fuse.allow_other && !m.fuse.dev_ok);
	CU_ASSERT_EQUAL(m.uid, 7);
	CU_ASSERT_EQUAL(m.gid, 8);
	CU_ASSERT_EQUAL(m.umask, 077);
	CU_ASSERT_EQUAL(weir_mountopt_parse(&m, "rw", false, &err), WEIR_OK);
	CU_ASSERT_FALSE(m.fuse.is_readonly);
	CU_ASSERT_EQUAL(weir_mountopt_parse(&m, "_netdev,noauto,user=alice,x-systemd.automount,X-foo=1,comment=hi,relatime,defaults", false, &err), WEIR_OK);
}

static void
mount_options_that_are_wrong_are_named(void)
{
	static const char *const wrong[] = {"frob", "uid=", "uid=-1", "uid=+1", "uid=1x", "uid=99999999999", "umask=8", "umask=1777", "uid", "rox", "x"};
	struct weir_mountopt m;

	weir_mountopt_default(&m);
	for (size_t i = 0; i < WEIR_LEN(wrong); i++) {
		WEIR_AUTO(weir_freep) char *list = weir_xasprintf("ro,%s,rw", wrong[i]);
		struct weir_err err = {0};

		CU_ASSERT_EQUAL(weir_mountopt_parse(&m, list, false, &err), WEIR_E_INVAL);
		CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, wrong[i]));
	}
	CU_ASSERT_EQUAL(weir_mountopt_parse(&m, "frob,ro", true, NULL), WEIR_OK);
	CU_ASSERT_EQUAL(weir_mountopt_parse(&m, "uid=x", true, NULL), WEIR_E_INVAL);
}

static void
words_split_at_blanks_and_quote_for_a_shell(void)
{
	struct weir_words w = {0};
	struct weir_buf b = WEIR_BUF(1000);

	weir_words_split(&w, NULL);
	weir_words_split(&w, "  podman \t--runtime  runc ");
	CU_ASSERT_EQUAL(w.n, 3);
	CU_ASSERT_PTR_NULL(w.v[3]);
	weir_words_add(&w, "");
	weir_words_add(&w, "it's $HOME");
	weir_words_quote(&b, w.v);
	CU_ASSERT_STRING_EQUAL(weir_buf_str(&b), "podman --runtime runc '' 'it'\\''s $HOME'");
	weir_buf_free(&b);
	weir_words_free(&w);
}

static void
lines_of_the_control_socket_are_checked(void)
{
	static const char sent[] = "{\"a\": 1}\n{\"b\": 2}\n[1]\n";
	struct weir_wire wire = {0};
	json_t *j = NULL;
	int fd[2];

	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	wire.fd = fd[0];
	CU_ASSERT_EQUAL(send(fd[1], sent, sizeof(sent) - 1, 0), (ssize_t)sizeof(sent) - 1);
	CU_ASSERT_EQUAL(weir_wire_receive(&wire, &j, NULL), WEIR_OK);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(j, "a")), 1);
	json_decref(j);
	CU_ASSERT_EQUAL(weir_wire_receive(&wire, &j, NULL), WEIR_OK);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(j, "b")), 2);
	json_decref(j);
	CU_ASSERT_EQUAL(weir_wire_receive(&wire, &j, NULL), WEIR_E_PROTO);
	CU_ASSERT_EQUAL(send(fd[1], "{\"torn\": ", 9, 0), 9);
	close(fd[1]);
	CU_ASSERT_EQUAL(weir_wire_receive(&wire, &j, NULL), WEIR_E_NODATA);
	CU_ASSERT_EQUAL(weir_wire_send(fd[0], json_pack("{s:i}", "x", 1)), -1);	/* and no SIGPIPE */
	weir_wire_free(&wire);
	close(fd[0]);
}

static void
a_long_cache_path_still_has_a_socket_address(void)
{
	char dir[300];
	struct sockaddr_un addr;

	weir_wire_address(&addr, "/cache", 5);
	CU_ASSERT_STRING_EQUAL(addr.sun_path, "/cache/control");
	memset(dir, 'x', sizeof(dir) - 1);
	dir[0] = '/';
	dir[sizeof(dir) - 1] = '\0';
	weir_wire_address(&addr, dir, 5);
	CU_ASSERT_STRING_EQUAL(addr.sun_path, "/proc/self/fd/5/control");
}

int
main(void)
{
	CU_pSuite s;
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	s = CU_add_suite("command line", NULL, NULL);
	CU_ADD_TEST(s, a_path_finds_its_mount);
	CU_ADD_TEST(s, a_path_becomes_absolute_by_text_alone);
	CU_ADD_TEST(s, mount_options_are_read_whole);
	CU_ADD_TEST(s, mount_options_that_are_wrong_are_named);
	CU_ADD_TEST(s, words_split_at_blanks_and_quote_for_a_shell);
	CU_ADD_TEST(s, lines_of_the_control_socket_are_checked);
	CU_ADD_TEST(s, a_long_cache_path_still_has_a_socket_address);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed != 0;
}
