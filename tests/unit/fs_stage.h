/* SPDX-License-Identifier: Apache-2.0 */
/* The stage for tests of the tree: a real cache, folders as remotes, requests through weir_fs_submit() to their end. Names are looked up and nodes
 * passed by number, as the kernel does it. Paths are below `base`. */
#ifndef TESTS_FS_STAGE_H
#define TESTS_FS_STAGE_H
#include "../../src/fs/fs.h"
#include "../../src/fs/internal.h"

extern char top[64], cache[96], there[96], real[96];	/* all of it, the cache, the remote's folder, a plain folder to compare with */
extern struct weir_conf *conf;
extern struct weir_opens *opens;
extern struct weir_fs *fs;
extern struct weir_err err;
extern uint64_t base;

/* Of a suite. */
int stage_begin(void);
int stage_finish(void);
/* Of a test: one local remote "r", more keys for it, base = its root. */
void fresh(const char *more);
/* The same in two steps: folders first, then what stands below [weir]; base = the directory `root` of the namespace ("": its root). */
void stage_folders(void);
void stage_start(const char *remotes, const char *root);
void stage_new_cache(void);	/* the next start knows nothing of before */
void fs_open_again(bool is_first);
void stage_end(void);

enum weir_code call(struct weir_op *);	/* one request, to its end */
enum weir_code lookup(uint64_t parent, const char *name, struct weir_attr *);
/* Directory of the path, and the last name in it. */
enum weir_code walk(const char *path, uint64_t *dir, char name[256]);
enum weir_code attr_of(const char *path, struct weir_attr *);
bool exists(const char *path);

struct file { uint64_t ino, fh; };
enum weir_code file_start(const char *path, uint32_t flags, struct file *);
enum weir_code file_put(struct file *, const void *, size_t, uint64_t off);
enum weir_code file_cut(uint64_t ino, uint64_t size);
ssize_t file_get(struct file *, void *, size_t, uint64_t off);
enum weir_code file_stop(struct file *);
enum weir_code put(const char *path, const char *text);
char *get(const char *path, size_t *len);	/* the whole file; owned; NULL: it cannot be read */
bool holds(const char *path, const char *text);
enum weir_code mkdir_(const char *), unlink_(const char *), rmdir_(const char *), rename_(const char *, const char *, uint32_t flags);

/* The other side: the folder `there`. */
char *at(const char *path);
bool there_holds(const char *path, const char *text);
bool there_is(const char *path);
void there_put(const char *path, const char *text);
unsigned there_count(const char *dir, const char *prefix, char *last, size_t max);	/* names that begin so */

enum weir_code flush(void);
void nudge(void);	/* what is due is sent now, while the test goes on */
void refresh(void);

/* fs_random.c: random changes, the same ones in a plain folder; refused alike, the same tree afterwards. Starts nothing, ends nothing.
 * Who compares more than the tree calls same() with a folder that must hold it. */
void random_changes(uint64_t seed, unsigned rounds);
bool same(const char *what, const char *root);	/* root NULL: the tree below base */

#endif
