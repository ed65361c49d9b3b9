/* SPDX-License-Identifier: Apache-2.0 */
/* What only a folder of this machine has: symlinks that lead out of it, FIFOs, files changed in place, a disk that is not there.
 * The promises of all storages are in tests/contract. */
#include "config.h"

#include <CUnit/Basic.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../backends/backend.h"
#include "../../src/util/util.h"

extern const struct weir_backend_ops weir_backend_local;

static char top[64];			/* holds "root", which the remote is, and "outside" */
static struct weir_conf *conf;
static struct weir_backend *be;
static struct weir_err err;

static char *
at(const char *path)
{
	static char full[256];

	snprintf(full, sizeof(full), "%s/%s", top, path);
	return full;
}

static void
file(const char *path, const char *text)
{
	int fd = open(at(path), O_WRONLY | O_CREAT | O_TRUNC, 0644);

	CU_ASSERT_FATAL(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
}

static int
begin(void)
{
	const struct weir_conf_type type = { "local", weir_backend_local.keys };
	WEIR_AUTO(weir_freep) char *text = NULL;

	snprintf(top, sizeof(top), "/tmp/weir-local-XXXXXX");
	if (!mkdtemp(top) || mkdir(at("root"), 0755) || mkdir(at("outside"), 0755))
		return -1;
	text = weir_xasprintf("[remote x]\ntype = local\npath = %s/root/\n", top);
	if (weir_conf_parse("test", text, strlen(text), &type, 1, &conf, &err))
		return -1;
	return weir_backend_local.open(&be, &conf->remotes[0], NULL, &err) ? -1 : 0;
}

static int
end(void)
{
	pid_t pid = fork();

	be->ops->close(be);
	weir_conf_free(conf);
	if (pid == 0) {
		execlp("rm", "rm", "-rf", top, (char *)NULL);
		_exit(127);
	}
	return 0;
}

static struct weir_where
where(const char *path)
{
	return (struct weir_where){ .path = path };
}

static enum weir_code
list_add(void *arg, const struct weir_stat *st, struct weir_err *e)
{
	(void)e;
	weir_buf_addf(arg, "%s:%d ", st->path, st->type);
	return WEIR_OK;
}

static ssize_t
one_read(struct weir_source *s, void *buf, size_t len, uint64_t off)
{
	(void)s;
	if (off || !len)
		return 0;
	*(char *)buf = 'x';
	return 1;
}

static struct weir_source one = { one_read };

/* Writes into the file while it is read: the bytes are of no version. */
struct meddler {
	struct weir_sink sink;
	bool is_armed;
};

static enum weir_code
meddle(struct weir_sink *s, const void *data, size_t len)
{
	(void)data, (void)len;
	if (((struct meddler *)s)->is_armed)
		file("root/f", "other bytes");
	return WEIR_OK;
}

static enum weir_code
get(const char *path, const char *version, bool is_armed)
{
	struct meddler m = { { meddle }, is_armed };
	struct weir_where w = { .path = path, .version = version };

	return be->ops->get(be, NULL, &w, 0, 100, &m.sink, NULL, &err);
}

static void
symlinks_are_kept_and_never_followed(void)
{
	struct weir_where w = where("way/secret"), l = where("way");
	struct weir_stat st = { 0 };

	file("outside/secret", "secret");
	CU_ASSERT_EQUAL_FATAL(symlink("../outside", at("root/way")), 0);
	CU_ASSERT_EQUAL(be->ops->stat(be, NULL, &l, &st, &err), WEIR_OK);
	CU_ASSERT_EQUAL(st.type, WEIR_LINK);
	weir_stat_free(&st);
	CU_ASSERT_EQUAL(be->ops->stat(be, NULL, &w, &st, &err), WEIR_E_NOTDIR);
	CU_ASSERT_EQUAL(get("way/secret", NULL, false), WEIR_E_NOTDIR);
	CU_ASSERT_EQUAL(be->ops->put(be, NULL, &w, WEIR_FILE, &one, 1, NULL, NULL, NULL, &err), WEIR_E_NOTDIR);
	CU_ASSERT_EQUAL(be->ops->remove(be, NULL, &w, false, &err), WEIR_E_NOTDIR);
	CU_ASSERT_EQUAL(be->ops->list(be, NULL, &l, 0, list_add, NULL, NULL, &err), WEIR_E_NOTDIR);
	CU_ASSERT_EQUAL(access(at("outside/secret"), F_OK), 0);
	/* replaced by a file, the link goes and its target stays */
	CU_ASSERT_EQUAL(be->ops->put(be, NULL, &l, WEIR_FILE, &one, 1, NULL, NULL, NULL, &err), WEIR_OK);
	CU_ASSERT_EQUAL(access(at("outside/secret"), F_OK), 0);
	CU_ASSERT_EQUAL(be->ops->remove(be, NULL, &l, false, &err), WEIR_OK);
}

static void
no_path_leads_out(void)
{
	static const char *const bad[] = { "..", "../outside/secret", "a/../../outside", "a//b", "a/" };
	struct weir_stat st = { 0 };

	for (size_t i = 0; i < WEIR_LEN(bad); i++) {
		struct weir_where w = where(bad[i]);

		CU_ASSERT_NOT_EQUAL(be->ops->stat(be, NULL, &w, &st, &err), WEIR_OK);
		CU_ASSERT_NOT_EQUAL(be->ops->put(be, NULL, &w, WEIR_FILE, &one, 1, NULL, NULL, NULL, &err), WEIR_OK);
	}
}

static void
what_is_no_file_is_not_there(void)
{
	struct weir_buf b = WEIR_BUF(4096);
	struct weir_where root = where("");

	CU_ASSERT_EQUAL_FATAL(mkfifo(at("root/fifo"), 0644), 0);
	file("root/.weir-tmp-0123456789", "left by a crash");
	file("root/f", "bytes");
	CU_ASSERT_EQUAL(be->ops->list(be, NULL, &root, 0, list_add, &b, NULL, &err), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(weir_buf_str(&b), "f:1 ");
	CU_ASSERT_EQUAL(get("fifo", NULL, false), WEIR_E_NOENT);	/* and does not wait for a writer */
	CU_ASSERT_EQUAL(get(".weir-tmp-0123456789", NULL, false), WEIR_E_NOENT);
	weir_buf_free(&b);
	unlink(at("root/fifo"));
	unlink(at("root/.weir-tmp-0123456789"));
}

static void
a_file_changed_while_it_is_read_is_changed(void)
{
	struct weir_where w = where("f");
	struct weir_stat st = { 0 };

	file("root/f", "bytes");
	CU_ASSERT_EQUAL_FATAL(be->ops->stat(be, NULL, &w, &st, &err), WEIR_OK);
	CU_ASSERT_EQUAL(get("f", st.version, false), WEIR_OK);
	CU_ASSERT_EQUAL(get("f", st.version, true), WEIR_E_CHANGED);
	weir_stat_free(&st);
}

static void
a_failed_put_leaves_nothing_behind(void)
{
	struct weir_buf b = WEIR_BUF(4096);
	struct weir_where root = where(""), w = { .path = "f", .version = "1-2-3" };

	file("root/f", "bytes");
	CU_ASSERT_EQUAL(be->ops->put(be, NULL, &w, WEIR_FILE, &one, 1, NULL, NULL, NULL, &err), WEIR_E_CHANGED);
	w.version = NULL;
	CU_ASSERT_EQUAL(be->ops->put(be, NULL, &w, WEIR_FILE, &one, 2, NULL, NULL, NULL, &err), WEIR_E_IO);	/* the source ends early */
	CU_ASSERT_EQUAL(be->ops->list(be, NULL, &root, 0, list_add, &b, NULL, &err), WEIR_OK);
	CU_ASSERT_STRING_EQUAL(weir_buf_str(&b), "f:1 ");
	CU_ASSERT_EQUAL(unlink(at("root/f")), 0);
	CU_ASSERT_EQUAL(rmdir(at("root")), 0);		/* really nothing, hidden files included */
	CU_ASSERT_EQUAL(mkdir(at("root"), 0755), 0);
	weir_buf_free(&b);
}

static void
a_mode_survives_replacing_and_a_given_one_wins(void)
{
	struct weir_where w = where("m");
	struct weir_meta meta = { WEIR_TIME_NONE, 0750 };
	struct stat s;

	file("root/m", "bytes");
	CU_ASSERT_EQUAL(chmod(at("root/m"), 0640), 0);
	CU_ASSERT_EQUAL(be->ops->put(be, NULL, &w, WEIR_FILE, &one, 1, NULL, NULL, NULL, &err), WEIR_OK);
	CU_ASSERT(stat(at("root/m"), &s) == 0 && (s.st_mode & 07777) == 0640 && s.st_size == 1);
	CU_ASSERT_EQUAL(be->ops->put(be, NULL, &w, WEIR_FILE, &one, 1, &meta, NULL, NULL, &err), WEIR_OK);
	CU_ASSERT(stat(at("root/m"), &s) == 0 && (s.st_mode & 07777) == 0750);
}

/* A disk that is not plugged in is no empty folder. */
static void
a_root_that_is_gone_is_away_not_empty(void)
{
	WEIR_AUTO(weir_freep) char *aside = weir_xasprintf("%s/aside", top);
	struct weir_where w = where("f"), root = where("");
	struct weir_stat st = { 0 };

	CU_ASSERT_EQUAL_FATAL(rename(at("root"), aside), 0);
	CU_ASSERT_EQUAL(be->ops->stat(be, NULL, &w, &st, &err), WEIR_E_DOWN);
	CU_ASSERT_EQUAL(be->ops->list(be, NULL, &root, 0, list_add, NULL, NULL, &err), WEIR_E_DOWN);
	CU_ASSERT_EQUAL(be->ops->put(be, NULL, &w, WEIR_FILE, &one, 1, NULL, NULL, NULL, &err), WEIR_E_DOWN);
	CU_ASSERT_EQUAL(be->ops->probe(be, NULL, &err), WEIR_E_NOBUCKET);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, at("root")));
	CU_ASSERT_EQUAL_FATAL(rename(aside, at("root")), 0);
	CU_ASSERT_EQUAL(be->ops->probe(be, NULL, &err), WEIR_OK);
	/* From now on it is known to exist. */
	CU_ASSERT_EQUAL_FATAL(rename(at("root"), aside), 0);
	CU_ASSERT_EQUAL(be->ops->probe(be, NULL, &err), WEIR_E_DOWN);
	CU_ASSERT_EQUAL_FATAL(rename(aside, at("root")), 0);
	CU_ASSERT_EQUAL(be->ops->probe(be, NULL, &err), WEIR_OK);
}

/* What is under a disk that was taken away, or is put over it, is not what is on it. */
static void
another_disk_is_not_an_empty_folder(void)
{
	struct weir_where w = where("f"), root = where("");
	struct weir_stat st = { 0 };

	CU_ASSERT_EQUAL(be->ops->probe(be, NULL, &err), WEIR_OK);
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("none", at("root"), "tmpfs", 0, NULL)) {
		printf("# no right to mount: not tried\n");
		return;
	}
	CU_ASSERT_EQUAL(be->ops->list(be, NULL, &root, 0, list_add, NULL, NULL, &err), WEIR_E_DOWN);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.msg, "another file system"));
	CU_ASSERT_EQUAL(be->ops->stat(be, NULL, &w, &st, &err), WEIR_E_DOWN);
	CU_ASSERT_EQUAL(be->ops->put(be, NULL, &w, WEIR_FILE, &one, 1, NULL, NULL, NULL, &err), WEIR_E_DOWN);
	CU_ASSERT_EQUAL(be->ops->probe(be, NULL, &err), WEIR_E_DOWN);
	CU_ASSERT_EQUAL_FATAL(umount(at("root")), 0);
	CU_ASSERT_EQUAL(be->ops->probe(be, NULL, &err), WEIR_OK);
}

int
main(void)
{
	CU_pSuite s;
	unsigned failed;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 99;
	s = CU_add_suite("local", begin, end);
	CU_ADD_TEST(s, symlinks_are_kept_and_never_followed);
	CU_ADD_TEST(s, no_path_leads_out);
	CU_ADD_TEST(s, what_is_no_file_is_not_there);
	CU_ADD_TEST(s, a_file_changed_while_it_is_read_is_changed);
	CU_ADD_TEST(s, a_failed_put_leaves_nothing_behind);
	CU_ADD_TEST(s, a_mode_survives_replacing_and_a_given_one_wins);
	CU_ADD_TEST(s, a_root_that_is_gone_is_away_not_empty);
	CU_ADD_TEST(s, another_disk_is_not_an_empty_folder);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failed ? 1 : 0;
}
