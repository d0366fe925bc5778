/* File helpers: whole reads and writes, folders, lists, and the error lines. */
#include "core/file.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <signal.h>

#include <cmocka.h>

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/lethe_file_XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    Error e;
    return file_remove_tree(folder, &e) && file_kind(folder) == FILE_NONE ? 0 : -1;
}

static const char *in(const char *name) {
    static char path[FILE_PATH];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void test_write_read(void **state) {
    (void)state;
    Error e;
    char *text;
    size_t size;
    assert_true(file_write(in("a"), "one", 3, &e));
    assert_true(file_write(in("a"), "second\0x", 8, &e));
    assert_true(file_read(in("a"), 8, &text, &size, &e));
    assert_int_equal(size, 8);
    assert_memory_equal(text, "second\0x", 9); /* the NUL after the end too */
    mem_free(text);
    assert_false(file_read(in("a"), 7, &text, &size, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    assert_null(text);
    assert_true(file_write(in("a"), "", 0, &e));
    assert_true(file_read(in("a"), 8, &text, &size, &e));
    assert_int_equal(size, 0);
    mem_free(text);
    FileList list;
    assert_true(file_list_open(&list, folder, &e));
    assert_int_equal(list.count, 1); /* nothing is left beside the file */
    file_list_close(&list);
    assert_false(file_write(in("no/such"), "x", 1, &e));
    assert_non_null(strstr(e.text, "/no/such: cannot write it: No such file or directory"));
}

static mode_t mode_of(const char *path) {
    struct stat s;
    assert_int_equal(stat(path, &s), 0);
    return s.st_mode & 0777;
}

/* Nobody else may read it, whatever stood there, and whatever a dead process of our number left beside it. */
static void test_replace_private(void **state) {
    (void)state;
    Error e;
    char *text, beside[100];
    size_t size;
    snprintf(beside, sizeof beside, "secret.%ld.tmp", (long)getpid());
    assert_true(file_write(in("secret"), "old", 3, &e));
    assert_true(file_write(in(beside), "left", 4, &e));
    assert_int_equal(chmod(in("secret"), 0644) | chmod(in(beside), 0644), 0);
    assert_true(file_replace_private(in("secret"), "new", 3, &e));
    assert_int_equal(mode_of(in("secret")), 0600);
    assert_int_equal(file_kind(in(beside)), FILE_NONE);
    assert_true(file_read(in("secret"), 8, &text, &size, &e));
    assert_string_equal(text, "new");
    mem_free(text);
}

static void test_bare_name(void **state) {
    (void)state;
    Error e;
    char here[FILE_PATH];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(folder), 0);
    assert_true(file_write("bare", "x", 1, &e));
    assert_true(file_make_folder("sub/folder/", &e));
    assert_int_equal(file_kind("sub/folder"), FILE_FOLDER);
    assert_int_equal(chdir(here), 0);
}

/* A disk with no room, played by a limit on file sizes: the old file stays, nothing is left beside it. */
static void test_full_disk(void **state) {
    (void)state;
    Error e;
    char *text, *large = mem_zero(1 << 16, 1);
    size_t size;
    struct rlimit before, small;
    assert_true(file_write(in("kept"), "old", 3, &e));
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 1024;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    bool ok = file_write(in("kept"), large, 1 << 16, &e);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_false(ok);
    assert_non_null(strstr(e.text, "/kept: cannot write it: File too large"));
    assert_true(file_read(in("kept"), 100, &text, &size, &e));
    assert_string_equal(text, "old");
    mem_free(text);
    mem_free(large);
    FileList list;
    assert_true(file_list_open(&list, folder, &e));
    for (int64_t i = 0; i < list.count; i++) assert_null(strstr(list.name[i], ".tmp"));
    file_list_close(&list);
}

static void test_pipe(void **state) {
    (void)state;
    Error e;
    int end[2];
    char path[64], *text, block[1000];
    size_t size;
    assert_int_equal(pipe(end), 0);
    snprintf(path, sizeof path, "/dev/fd/%d", end[0]);
    memset(block, 'x', sizeof block);
    assert_true(file_put(end[1], block, sizeof block));
    close(end[1]);
    assert_true(file_read(path, 1 << 20, &text, &size, &e));
    assert_int_equal(size, 1000);
    mem_free(text);
    close(end[0]);
}

static void test_folders(void **state) {
    (void)state;
    Error e;
    char path[FILE_PATH];
    snprintf(path, sizeof path, "%s/x/y//z", folder);
    assert_true(file_make_folder(path, &e));
    assert_true(file_make_folder(path, &e));
    assert_true(file_write(in("x/y/b"), "1", 1, &e));
    assert_true(file_write(in("x/y/B"), "1", 1, &e));
    assert_true(file_write(in("x/y/a10"), "1", 1, &e));
    assert_int_equal(symlink("/etc", in("x/y/link")), 0);
    assert_int_equal(file_kind(in("x/y/link")), FILE_FOLDER);
    assert_int_equal(file_kind_link(in("x/y/link")), FILE_LINK);
    assert_int_equal(file_kind("/dev/null"), FILE_OTHER);
    FileList list;
    assert_true(file_list_open(&list, in("x/y"), &e));
    static const char *const name[] = {"B", "a10", "b", "link", "z"};
    assert_int_equal(list.count, COUNT(name));
    for (int i = 0; i < COUNT(name); i++) assert_string_equal(list.name[i], name[i]);
    file_list_close(&list);
    assert_false(file_make_folder(in("x/y/b/c"), &e));
    assert_non_null(strstr(e.text, "/x/y/b: cannot make it: Not a directory"));
    assert_true(file_sync_folder(in("x"), &e));
    assert_true(file_remove_tree(in("x"), &e));
    assert_int_equal(file_kind(in("x")), FILE_NONE);
    assert_int_equal(file_kind("/etc/passwd"), FILE_REGULAR); /* the link was not followed */
    assert_true(file_remove_tree(in("x"), &e));
    assert_false(file_list_open(&list, in("x"), &e));
    assert_non_null(strstr(e.text, "/x: cannot list it: No such file or directory"));
    assert_false(file_make_folder("", &e));
}

static void test_join(void **state) {
    (void)state;
    Error e;
    char out[16];
    static const char *const row[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"a//", "b/c", "a/b/c"},
        {"/", "b", "/b"},  {"", "b", "b"},     {"a", "/b", "/b"},
    };
    for (int i = 0; i < COUNT(row); i++) {
        assert_true(file_join(out, sizeof out, row[i][0], row[i][1], &e));
        assert_string_equal(out, row[i][2]);
    }
    assert_true(file_join(out, sizeof out, "1234567", "1234567", &e));
    assert_false(file_join(out, sizeof out, "1234567", "12345678", &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    assert_string_equal(file_base("a/b.c"), "b.c");
    assert_string_equal(file_base("b.c"), "b.c");
}

static void test_errors(void **state) {
    (void)state;
    Error e;
    assert_false(file_error(&e, "p", "write", ENOSPC));
    assert_string_equal(e.text, "p: cannot write it: No space left on device; free some space");
    assert_false(file_error(&e, "p", "open", EACCES));
    assert_string_equal(e.text, "p: cannot open it: Permission denied; check the permissions");
    char *text;
    size_t size;
    assert_false(file_read("/tmp", 10, &text, &size, &e));
    assert_string_equal(e.text, "/tmp: a folder; expected a file");
}

static void test_no_memory(void **state) {
    (void)state;
    Error e;
    uint64_t live = mem_stat().live;
    bool done = false;
    for (int n = 0; !done; n++) {
        FileList list = {0};
        char *text = NULL;
        size_t size;
        mem_fail_after(n);
        done = file_list_open(&list, folder, &e) && file_read(in("kept"), 100, &text, &size, &e);
        mem_fail_after(-1);
        if (!done) assert_int_equal(e.code, ERROR_MEMORY);
        file_list_close(&list);
        mem_free(text);
        assert_int_equal(mem_stat().live, live);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_read), cmocka_unit_test(test_replace_private),
        cmocka_unit_test(test_bare_name),  cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_pipe),       cmocka_unit_test(test_folders),
        cmocka_unit_test(test_join),       cmocka_unit_test(test_errors),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
