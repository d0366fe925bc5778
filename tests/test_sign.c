/* Ed25519 against RFC 8032 and RFC 8410, keys in files, base64, files that replace nothing. */
#include "core/base64.h"
#include "core/file.h"
#include "core/sign.h"

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

#define PEM(name, body) "-----BEGIN " name "-----\n" body "\n-----END " name "-----\n"

/* RFC 8410, sections 10.1 and 10.3. */
static const char example_public[] =
    PEM("PUBLIC KEY", "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=");
static const char example_private[] =
    PEM("PRIVATE KEY", "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC");
/* RFC 8032, section 7.1, TEST 2: the signature is of the byte 0x72. */
static const char second_seed[] = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
static const char second_public[] = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
static const char second_signature[] = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                                       "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";

static char folder[] = "/tmp/lethe_sign_XXXXXX";

static const char *at(const char *name) {
    static char path[4][FILE_PATH];
    static int turn;
    Error e;
    char *p = path[turn++ % 4];
    assert_true(file_join(p, FILE_PATH, folder, name, &e));
    return p;
}

static void unhex(const char *text, uint8_t *out) {
    for (size_t i = 0; text[2 * i]; i++) {
        const char pair[] = {text[2 * i], text[2 * i + 1], 0};
        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
}

static SignKey *make(void) {
    SignKey *k;
    Error e = {0};
    if (!sign_key_make(&k, &e)) fail_msg("%s", e.text);
    return k;
}

static void known_answers(void **state) {
    (void)state;
    uint8_t der[48] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
                       0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};
    char body[BASE64_TEXT(sizeof der)], pem[200], hex[2 * SIGN_SIGNATURE + 1];
    uint8_t signature[SIGN_SIGNATURE], byte = 0x72;
    SignKey *k;
    SignPublic p;
    Error e = {0};
    unhex(second_seed, der + 16);
    base64_put(der, sizeof der, body);
    snprintf(pem, sizeof pem, PEM("PRIVATE KEY", "%s"), body);
    assert_true(sign_key_parse(&k, "rfc8032", pem, strlen(pem), &e));
    hash_hex(sign_key_public(k)->raw, SIGN_PUBLIC, hex);
    assert_string_equal(hex, second_public);
    assert_true(sign_bytes(k, &byte, 1, signature, &e));
    hash_hex(signature, sizeof signature, hex);
    assert_string_equal(hex, second_signature);
    sign_key_close(k);

    assert_true(sign_key_parse(&k, "rfc8410", example_private, sizeof example_private - 1, &e));
    assert_true(sign_public_parse(&p, "rfc8410", example_public, sizeof example_public - 1, &e));
    assert_memory_equal(sign_key_public(k), &p, sizeof p);
    sign_key_close(k);
}

/* A signature fits its bytes and its key, and no other bit of either. */
static void every_bit(void **state) {
    (void)state;
    uint8_t signature[SIGN_SIGNATURE];
    char text[] = "forget me";
    bool fits;
    Error e = {0};
    SignKey *k = make(), *other = make();
    SignPublic p = *sign_key_public(k);
    assert_true(sign_bytes(k, text, sizeof text, signature, &e));
    assert_true(sign_fits(&p, text, sizeof text, signature, &fits, &e) && fits);
    assert_true(sign_fits(sign_key_public(other), text, sizeof text, signature, &fits, &e) && !fits);
    uint8_t *const part[] = {(uint8_t *)text, signature, p.raw};
    const size_t size[] = {sizeof text, sizeof signature, sizeof p.raw};
    for (int i = 0; i < COUNT(part); i++)
        for (size_t bit = 0; bit < 8 * size[i]; bit++) {
            part[i][bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_true(sign_fits(&p, text, sizeof text, signature, &fits, &e));
            assert_false(fits);
            part[i][bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    assert_true(sign_fits(&p, text, sizeof text - 1, signature, &fits, &e) && !fits);
    sign_key_close(k);
    sign_key_close(other);
}

static void files(void **state) {
    (void)state;
    uint8_t one[SIGN_SIGNATURE], two[SIGN_SIGNATURE];
    char before[HASH_TEXT], after[HASH_TEXT];
    struct stat info;
    SignKey *k = make(), *again;
    SignPublic p;
    Error e = {0};
    assert_true(sign_key_write(k, at("key"), &e));
    assert_int_equal(stat(at("key"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(info.st_nlink, 1);
    assert_true(sign_public_write(sign_key_public(k), at("key.pub"), &e));
    assert_true(sign_key_read(&again, at("key"), &e));
    assert_true(sign_public_read(&p, at("key.pub"), &e));
    assert_memory_equal(&p, sign_key_public(k), sizeof p);
    assert_true(sign_bytes(k, "x", 1, one, &e) && sign_bytes(again, "x", 1, two, &e));
    assert_memory_equal(one, two, sizeof one);
    assert_true(sign_fingerprint(&p, before, &e) && sign_fingerprint(sign_key_public(again), after, &e));
    assert_string_equal(before, after);
    sign_key_close(again);

    /* what stands there stays, whatever it is */
    assert_true(hash_file(at("key"), before, NULL, &e));
    assert_false(sign_key_write(k, at("key"), &e));
    assert_non_null(strstr(e.text, "is there already"));
    assert_false(sign_public_write(&p, at("key"), &e));
    assert_true(hash_file(at("key"), after, NULL, &e));
    assert_string_equal(before, after);
    assert_int_equal(symlink("nowhere", at("dangling")), 0);
    assert_false(sign_key_write(k, at("dangling"), &e));
    assert_int_equal(file_kind(at("nowhere")), FILE_NONE);
    assert_false(sign_key_write(k, at("none/key"), &e));
    assert_non_null(strstr(e.text, "none/key"));
    FileList list;
    assert_true(file_list_open(&list, folder, &e));
    for (int64_t i = 0; i < list.count; i++) assert_null(strstr(list.name[i], ".tmp"));
    file_list_close(&list);
    sign_key_close(k);
}

/* What is given in the place of a key: one line, which names the file and what to do. */
static void mistakes(void **state) {
    (void)state;
    static char large[SIGN_PEM_CAP + 1];
    static const char cut[] =
        PEM("PRIVATE KEY", "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9E");
    static const struct {
        const char *text, *says;
    } row[] = {
        {"", "is no key in PEM"},
        {"-----BEGIN PUBLIC KEY-----\nMCow", "is no key in PEM"},
        {PEM("PUBLIC KEY", "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAx"), "of another kind"},
        {PEM("PUBLIC KEY", "MCowBQYDK2VuAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="),
         "of another kind"},
        {PEM("ENCRYPTED PRIVATE KEY", "MC4CAQAwBQYDK2VwBCIEIA=="), "password"},
        {PEM("PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMC4CAQAwBQYDK2VwBCIEIA=="),
         "password"},
        {PEM("OPENSSH PRIVATE KEY", "MC4CAQAwBQYDK2VwBCIEIA=="), "OpenSSH"},
        {PEM("CERTIFICATE", "MC4CAQAwBQYDK2VwBCIEIA=="), "something else than a key"},
    };
    SignKey *k;
    SignPublic p;
    Error e = {0};
    for (int i = 0; i < COUNT(row); i++) {
        assert_false(sign_key_parse(&k, "bad.pem", row[i].text, strlen(row[i].text), &e));
        assert_null(k);
        assert_int_equal(strncmp(e.text, "bad.pem: ", 9), 0);
        assert_false(sign_public_parse(&p, "bad.pem", row[i].text, strlen(row[i].text), &e));
        assert_int_equal(strncmp(e.text, "bad.pem: ", 9), 0);
        if (!strstr(e.text, row[i].says)) fail_msg("row %d: %s", i, e.text);
    }
    assert_false(sign_public_parse(&p, "bad.pem", example_private, sizeof example_private - 1, &e));
    assert_non_null(strstr(e.text, "is a private key, where the public one is due"));
    assert_false(sign_key_parse(&k, "bad.pem", example_public, sizeof example_public - 1, &e));
    assert_non_null(strstr(e.text, "is a public key, where the private one is due"));
    assert_false(sign_key_parse(&k, "bad.pem", cut, sizeof cut - 1, &e));

    memset(large, '\n', sizeof large);
    memcpy(large, example_public, sizeof example_public - 1);
    assert_true(file_write(at("large"), large, sizeof large, &e));
    assert_false(sign_public_read(&p, at("large"), &e));
    assert_non_null(strstr(e.text, "large: larger than the limit of 65536 bytes"));
    assert_true(file_write(at("large"), large, sizeof large - 1, &e));
    assert_true(sign_public_read(&p, at("large"), &e));
    assert_false(sign_key_read(&k, at("nothing"), &e));
    assert_false(sign_key_read(&k, folder, &e));
}

static void texts(void **state) {
    (void)state;
    uint8_t bytes[100], back[100];
    char text[BASE64_TEXT(100)];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 89 + 7);
    for (size_t n = 0; n <= sizeof bytes; n++) {
        base64_put(bytes, n, text);
        assert_int_equal(strlen(text) + 1, BASE64_TEXT(n));
        assert_true(base64_get(text, strlen(text), back, n));
        assert_memory_equal(bytes, back, n);
        assert_false(base64_get(text, strlen(text), back, n + 1));
        if (n) assert_false(base64_get(text, strlen(text) - 1, back, n));
    }
    assert_true(base64_get("Zg==", 4, back, 1));
    assert_false(base64_get("Zh==", 4, back, 1)); /* bits that no byte needs */
    assert_false(base64_get("Zg= ", 4, back, 1));
    assert_false(base64_get(" Zg=", 4, back, 1));
    assert_false(base64_get("Zm9\n", 4, back, 2));
    assert_false(base64_get("Zm-_", 4, back, 3));
}

/* The n-th request for memory fails: an error, nothing lost. */
static void memory(void **state) {
    (void)state;
    SignKey *k = make(), *again;
    Error e = {0};
    bool ok = false;
    for (int64_t n = 0; !ok; n++) {
        char path[FILE_PATH];
        snprintf(path, sizeof path, "%s/memory%d", folder, (int)n);
        uint64_t live = mem_stat().live;
        mem_fail_after(n);
        ok = sign_key_write(k, path, &e) && sign_key_read(&again, path, &e);
        mem_fail_after(-1);
        if (ok) sign_key_close(again);
        assert_int_equal(mem_stat().live, live);
        assert_true(n < 100);
    }
    sign_key_close(k);
}

static int setup(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int clean(void **state) {
    (void)state;
    Error e;
    return file_remove_tree(folder, &e) ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers), cmocka_unit_test(every_bit), cmocka_unit_test(files),
        cmocka_unit_test(mistakes),      cmocka_unit_test(texts),     cmocka_unit_test(memory),
    };
    return cmocka_run_group_tests(tests, setup, clean);
}
