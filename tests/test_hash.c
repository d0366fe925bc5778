/* SHA-256 against the examples of FIPS 180-4 and NIST's test files, in pieces, and from files. */
#include "core/hash.h"

#include "core/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char empty_sum[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
static const char million_sum[] =
    "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"; /* 10^6 x 'a' */

static void known_answers(void **state) {
    (void)state;
    static const struct {
        const char *text, *sum;
    } row[] = {
        {"", empty_sum},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    char sum[HASH_TEXT];
    Error e;
    for (int i = 0; i < COUNT(row); i++) {
        assert_true(hash_bytes(row[i].text, strlen(row[i].text), sum, &e));
        assert_string_equal(sum, row[i].sum);
        assert_true(hash_is_text(sum));
    }
}

/* Pieces of any length give the sum of the whole. */
static void pieces(void **state) {
    (void)state;
    static const size_t length[] = {1, 63, 64, 65, 4096, 99999};
    char *text = malloc(1000000), sum[HASH_TEXT];
    Error e;
    memset(text, 'a', 1000000);
    for (int i = 0; i < COUNT(length); i++) {
        Hash h;
        assert_true(hash_open(&h, &e));
        for (size_t at = 0; at < 1000000; at += length[i]) {
            size_t n = 1000000 - at < length[i] ? 1000000 - at : length[i];
            assert_true(hash_add(&h, text + at, n, &e));
        }
        assert_true(hash_finish(&h, sum, &e));
        assert_null(h.state);
        assert_string_equal(sum, million_sum);
    }
    free(text);
}

static void files(void **state) {
    (void)state;
    char folder[] = "/tmp/lethe_hash_XXXXXX", path[FILE_PATH], sum[HASH_TEXT];
    uint64_t size = 7;
    Error e;
    assert_non_null(mkdtemp(folder));
    assert_true(file_join(path, sizeof path, folder, "f", &e));
    char *text = malloc(1000000);
    memset(text, 'a', 1000000);
    assert_true(file_write(path, text, 1000000, &e));
    free(text);
    assert_true(hash_file(path, sum, &size, &e));
    assert_string_equal(sum, million_sum);
    assert_int_equal(size, 1000000);
    assert_true(file_write(path, "", 0, &e));
    assert_true(hash_file(path, sum, NULL, &e));
    assert_string_equal(sum, empty_sum);

    assert_true(file_join(path, sizeof path, folder, "none", &e));
    assert_false(hash_file(path, sum, NULL, &e));
    assert_non_null(strstr(e.text, path));
    assert_false(hash_file(folder, sum, NULL, &e));
    assert_non_null(strstr(e.text, "not a regular file"));
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_false(hash_file(path, sum, NULL, &e)); /* and does not wait for a writer */
    assert_true(file_remove_tree(folder, &e));
}

static void texts(void **state) {
    (void)state;
    char text[80];
    assert_true(hash_is_text(empty_sum));
    assert_false(hash_is_text(""));
    assert_false(hash_is_text("e3b0"));
    snprintf(text, sizeof text, "%s0", empty_sum);
    assert_false(hash_is_text(text));
    snprintf(text, sizeof text, "%s", empty_sum);
    text[3] = 'G';
    assert_false(hash_is_text(text));
    text[3] = 'A';
    assert_false(hash_is_text(text));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(pieces),
        cmocka_unit_test(files),
        cmocka_unit_test(texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
