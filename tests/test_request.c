/* Which samples are to be forgotten: every form of --forget, what is not found, lists; and manifests that
 * strangers wrote. */
#include "core/file.h"
#include "core/hash.h"
#include "unlearn/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { PEOPLE = 4, EACH = 5, SAMPLES = PEOPLE * EACH };

static char folder[64];

static const char *in_folder(const char *name, char out[128]) {
    snprintf(out, 128, "%s/%s", folder, name);
    return out;
}

static void put(const char *name, const void *data, size_t size) {
    Error e;
    char path[128];
    if (!file_write(in_folder(name, path), data, size, &e)) fail_msg("%s", e.text);
}

static void put_text(const char *name, const char *text) {
    put(name, text, strlen(text));
}

/* Four people of five pictures, ids from 100 on; the content of a picture is its number, but for the last,
 * which is the first's. */
static int make(void **state) {
    (void)state;
    static char text[1 << 16];
    char name[64], content[32], hash[HASH_TEXT];
    size_t used = 0;
    Error e;
    for (int i = 0; i < SAMPLES; i++) {
        snprintf(name, sizeof name, "picture_%d.jpg", i);
        snprintf(content, sizeof content, "pixels %d", i == SAMPLES - 1 ? 0 : i);
        put_text(name, content);
        if (!hash_bytes(content, strlen(content), hash, &e)) return 1;
        used += (size_t)snprintf(text + used, sizeof text - used,
                                 "{\"id\":%d,\"path\":\"/data/train/s%02d/%d.jpg\",\"sha256\":\"%s\","
                                 "\"identity\":\"s%02d\"}\n",
                                 100 + i, i / EACH, i % EACH, hash, i / EACH);
    }
    put("manifest.jsonl", text, used);
    return 0;
}

static Manifest *manifest_of(const char *name) {
    Error e = {0};
    char path[128];
    Manifest *m;
    if (!manifest_open(&m, in_folder(name, path), &e)) fail_msg("%s", e.text);
    return m;
}

/* The samples of n specs, as a string of 0 and 1; NULL: refused, and e->text says why. */
static const char *asked(char *const *spec, int n, uint64_t seed, Request *r, Error *e) {
    static char out[SAMPLES + 1];
    Manifest *m = manifest_of("manifest.jsonl");
    bool fine = request_open(r, m, spec, n, seed, e);
    int64_t count = 0;
    for (int i = 0; fine && i < SAMPLES; i++) {
        out[i] = r->forget[i] ? '1' : '0';
        count += r->forget[i];
    }
    if (fine) assert_int_equal(count, r->count);
    if (!fine) assert_null(r->forget);
    request_close(r);
    manifest_close(m);
    return fine ? out : NULL;
}

static const char *of(const char *spec) {
    Error e = {0};
    Request r;
    char *list[] = {(char *)spec};
    const char *out = asked(list, 1, 0, &r, &e);
    if (!out) fail_msg("%s: %s", spec, e.text);
    return out;
}

/* The request is refused in one line, which has these words in this order. */
static void refused(const char *spec, const char *first, const char *then) {
    Error e = {0};
    Request r;
    char *list[] = {(char *)spec};
    if (asked(list, 1, 0, &r, &e)) fail_msg("%s was taken", spec);
    const char *at = strstr(e.text, first);
    if (!at || !strstr(at, then)) fail_msg("%s: %s; wanted: %s .. %s", spec, e.text, first, then);
    for (const char *c = e.text; *c; c++) assert_true((unsigned char)*c >= 0x20);
}

/* ---- what may be asked ---- */

static void names_and_ids(void **state) {
    (void)state;
    assert_string_equal(of("identity=s01"), "00000111110000000000");
    assert_string_equal(of("class=s01"), "00000111110000000000");
    assert_string_equal(of("identity=s03,s00"), "11111000000000011111");
    assert_string_equal(of("identity=s03,s03"), "00000000000000011111");
    assert_string_equal(of("sample=100"), "10000000000000000000");
    assert_string_equal(of("sample=119,100,101,119"), "11000000000000000001");
    assert_string_equal(of("path=s02/3.jpg"), "00000000000001000000");
    assert_string_equal(of("path=/s02/3.jpg"), "00000000000001000000");
    assert_string_equal(of("path=./s02/3.jpg"), "00000000000001000000");
    assert_string_equal(of("path=3.jpg"), "00010000100001000010");
    assert_string_equal(of("path=/data/train/s02/3.jpg"), "00000000000001000000");
}

static void names_not_found(void **state) {
    (void)state;
    refused("identity=s1", "there is no identity s1 in ", "the nearest: s01");
    refused("identity=s00,s99", "there is no identity s99", "the nearest: s0");
    refused("class=cat", "there is no class cat", "the nearest: s0");
    refused("identity=S00", "there is no identity S00", "the nearest: s00");
    refused("sample=1000", "there is no sample 1000", "the nearest: 100");
    refused("sample=99999999999999999999999", "there is no sample 9999", "");
    refused("sample=-1", "-1 is no sample id", "");
    refused("sample=1.5", "1.5 is no sample id", "");
    refused("sample=100x", "100x is no sample id", "");
    refused("sample=100,,101", "a name between commas is empty", "");
    refused("identity=,", "a name between commas is empty", "");
    refused("path=.jpg", "there is no path that ends in .jpg", ""); /* by whole parts */
    refused("path=02/3.jpg", "there is no path that ends in 02/3.jpg", "/data/train/s02/3.jpg");
    refused("path=s02/9.jpg", "there is no path that ends in s02/9.jpg", "9.jpg");
    refused("path=", "names nothing", "");
    refused("identity=", "names nothing", "");
    refused("identity", "expected identity=NAME", "");
    refused("s01", "expected identity=NAME", "@LIST");
    refused("", "expected identity=NAME", "");
    refused("Identity=s01", "expected identity=NAME", "");
    refused("=s01", "expected identity=NAME", "");
    refused("identity=s0\n1\x1b[2J", "there is no identity s0?1?[2J", "");
}

/* Long names are cut in the line, and the suggestions are still sought. */
static void names_too_long(void **state) {
    (void)state;
    char spec[5000] = "identity=";
    memset(spec + strlen(spec), 'x', sizeof spec - 10);
    spec[sizeof spec - 1] = '\0';
    refused(spec, "there is no identity xxx", "");
    memcpy(spec, "path=", 5);
    refused(spec, "there is no path that ends in", "");
}

static void by_content(void **state) {
    (void)state;
    char path[128], spec[200];
    snprintf(spec, sizeof spec, "file=%s", in_folder("picture_7.jpg", path));
    assert_string_equal(of(spec), "00000001000000000000");
    put_text("holiday.png", "pixels 7"); /* another name */
    snprintf(spec, sizeof spec, "file=%s", in_folder("holiday.png", path));
    assert_string_equal(of(spec), "00000001000000000000");
    snprintf(spec, sizeof spec, "file=%s", in_folder("picture_0.jpg", path));
    assert_string_equal(of(spec), "10000000000000000001"); /* the same picture twice */
    put_text("4.jpg", "other pixels");                     /* a name that is there, and another content */
    snprintf(spec, sizeof spec, "file=%s", in_folder("4.jpg", path));
    refused(spec, "its content (SHA-256 ", "is of no sample");
    refused(spec, "there is no sample like", "4.jpg");
    snprintf(spec, sizeof spec, "file=%s", in_folder("nowhere.jpg", path));
    refused(spec, "nowhere.jpg", "");
    snprintf(spec, sizeof spec, "file=%s", folder);
    refused(spec, folder, "");
}

static void by_chance(void **state) {
    (void)state;
    Error e = {0};
    Request r;
    char first[SAMPLES + 1], *spec[] = {"random=0.3"};
    int64_t ones = 0, differ = 0;
    snprintf(first, sizeof first, "%s", asked(spec, 1, 3, &r, &e));
    for (int i = 0; i < SAMPLES; i++) ones += first[i] == '1';
    assert_int_equal(ones, 6);
    assert_string_equal(asked(spec, 1, 3, &r, &e), first);
    for (uint64_t seed = 4; seed < 8; seed++) differ += strcmp(asked(spec, 1, seed, &r, &e), first) != 0;
    assert_int_equal(differ, 4);
    spec[0] = "random=0.05";
    for (int k = 0; k < 2; k++) { /* exactly one, whatever the seed */
        ones = 0;
        for (const char *c = asked(spec, 1, (uint64_t)k, &r, &e); *c; c++) ones += *c == '1';
        assert_int_equal(ones, 1);
    }
    static const char *const bad[] = {"random=0",   "random=1",   "random=-0.1", "random=1e9",
                                      "random=nan", "random=inf", "random=0.1x", "random=half"};
    for (int i = 0; i < COUNT(bad); i++) refused(bad[i], "expected a share above 0 and below 1", "");
    refused("random=0.001", "that is none of 20 samples", "");
    refused("random=0.999", "that is every one of 20 samples", "delete it instead");
}

static void all_and_nothing(void **state) {
    (void)state;
    refused("identity=s00,s01,s02,s03", "that is every one of 20 samples", "");
    Error e = {0};
    Request r;
    char *all[] = {"identity=s00,s01", "path=0.jpg", "identity=s02", "sample=115,116,117,118,119"};
    assert_null(asked(all, 4, 0, &r, &e));
    assert_non_null(strstr(e.text, "every one of 20"));
    assert_non_null(asked(all, 3, 0, &r, &e));
    assert_null(asked(all, 0, 0, &r, &e));
    assert_non_null(strstr(e.text, "none of 20"));
}

static void joined(void **state) {
    (void)state;
    Error e = {0};
    Manifest *m = manifest_of("manifest.jsonl");
    Request r;
    char *spec[] = {"identity=s01", "sample=100,105", "path=s03/4.jpg"};
    assert_true(request_open(&r, m, spec, 3, 0, &e));
    assert_int_equal(r.count, 7);
    assert_int_equal(r.identities, 3);
    assert_int_equal(r.kind, REQUEST_MIXED);
    request_close(&r);
    assert_true(request_open(&r, m, spec, 1, 0, &e));
    assert_int_equal(r.kind, REQUEST_IDENTITY);
    request_close(&r);
    char *twice[] = {"sample=100", "sample=101"};
    assert_true(request_open(&r, m, twice, 2, 0, &e));
    assert_int_equal(r.kind, REQUEST_SAMPLE);
    request_close(&r);
    char *late[] = {"identity=s01", "identity=nobody"};
    assert_false(request_open(&r, m, late, 2, 0, &e));
    assert_null(r.forget);
    manifest_close(m);
}

/* ---- lists ---- */

static void list_refused(const char *text, size_t size, const char *first, const char *then) {
    char path[128], spec[200];
    put("list.txt", text, size);
    snprintf(spec, sizeof spec, "@%s", in_folder("list.txt", path));
    refused(spec, first, then);
}

static void lists(void **state) {
    (void)state;
    char path[128], spec[200];
    snprintf(spec, sizeof spec, "@%s", in_folder("list.txt", path));
    static const char *const same[] = {
        "# who asked\n\nidentity=s01\nsample=100\ns02/3.jpg\n/data/train/s03/4.jpg\n",
        "identity=s01\r\nsample=100\r\n# a remark\r\n\r\ns02/3.jpg\r\n./s03/4.jpg\r\n",
        "path=s03/4.jpg\nsample=100,105\nidentity=s01\ns02/3.jpg", /* no end of the last line */
    };
    for (int i = 0; i < COUNT(same); i++) {
        put_text("list.txt", same[i]);
        assert_string_equal(of(spec), "10000111110001000001");
    }
    Error e = {0};
    Manifest *m = manifest_of("manifest.jsonl");
    Request r;
    char *list[] = {spec, "sample=101"};
    assert_true(request_open(&r, m, list, 1, 0, &e));
    assert_int_equal(r.kind, REQUEST_LIST);
    request_close(&r);
    assert_true(request_open(&r, m, list, 2, 0, &e));
    assert_int_equal(r.kind, REQUEST_MIXED);
    assert_int_equal(r.count, 9);
    request_close(&r);
    manifest_close(m);
}

static void lists_refused(void **state) {
    (void)state;
    list_refused("", 0, "the list names nothing", "");
    list_refused("# remark\n\n", 10, "the list names nothing", "");
    list_refused("identity=s01\n@other.txt\n", 24, "list.txt, line 2", "@other.txt");
    list_refused("identity=s01\nidentity=s9\n", 25, "list.txt, line 2", "there is no identity s9");
    list_refused("identity=s01 \n", 14, "there is no identity s01 ", "the nearest: s01");
    list_refused("identity=s01\0identity=s02\n", 26, "holds a byte 0", "");
    list_refused("identity=s01\ridentity=s02\r", 26, "line 1", "there is no identity s01?identity=s02");
    list_refused("nowhere.jpg\n", 12, "there is no path that ends in nowhere.jpg", "");
    refused("@", "--forget @", "");
    refused("@/nowhere/list.txt", "/nowhere/list.txt", "");
    char spec[200];
    snprintf(spec, sizeof spec, "@%s", folder);
    refused(spec, folder, "");
}

/* ---- manifests ---- */

#define HASH_OF_NOTHING "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void manifest_refused(const char *text, size_t size, const char *why) {
    Error e = {0};
    char path[128];
    Manifest *m = (void *)1;
    put("bad.jsonl", text, size);
    if (manifest_open(&m, in_folder("bad.jsonl", path), &e)) fail_msg("taken: %s", text);
    assert_null(m);
    if (!strstr(e.text, "bad.jsonl") || !strstr(e.text, why)) fail_msg("%s; wanted: %s", e.text, why);
    for (const char *c = e.text; *c; c++) assert_true((unsigned char)*c >= 0x20);
}

static void manifests(void **state) {
    (void)state;
    put_text("odd.jsonl", "{\"id\":7,\"path\":\"a\\u00e9/\\\"b\\\".jpg\"}\r\n"
                          "{\"more\":[1,{}],\"identity\":null,\"sha256\":null,\"path\":\"b\",\"id\":0}\n"
                          "  {\"id\":9007199254740991,\"path\":\"c\",\"sha256\":\"" HASH_OF_NOTHING
                          "\",\"identity\":\"\"}");
    Manifest *m = manifest_of("odd.jsonl");
    assert_int_equal(m->count, 3);
    assert_string_equal(m->line[0].path, "a\xc3\xa9/\"b\".jpg");
    assert_null(m->line[0].sha256);
    assert_null(m->line[0].identity);
    assert_null(m->line[1].identity);
    assert_int_equal(m->line[1].id, 0);
    assert_true(m->line[2].id == 9007199254740991);
    assert_string_equal(m->line[2].sha256, HASH_OF_NOTHING);
    assert_string_equal(m->line[2].identity, "");
    assert_non_null(strstr(m->line[2].text, "\"path\":\"c\""));
    Error e = {0};
    Request r;
    char *nobody[] = {"identity=s01"}, *one[] = {"sample=0"};
    assert_false(request_open(&r, m, nobody, 1, 0, &e));
    assert_true(request_open(&r, m, one, 1, 0, &e));
    assert_int_equal(r.count, 1);
    request_close(&r);
    manifest_close(m);
    manifest_close(NULL);
}

static void manifests_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"", "lists no sample"},
        {"\n", "line 1"},
        {"{\"id\":1,\"path\":\"a\"}\n\n", "line 2"},
        {"{\"id\":1,\"path\":\"a\"", "line 1"},
        {"{\"id\":1,\"path\":\"a\"}\n{\"id\":2,\"path\":\"b\",}\n", "line 2"},
        {"{\"id\":1,\"path\":\"a\"} {\"id\":2,\"path\":\"b\"}\n", "line 1"},
        {"[1, \"a\"]\n", "line 1"},
        {"7\n", "line 1"},
        {"{\"path\":\"a\"}\n", "id: missing"},
        {"{\"id\":1}\n", "path: missing"},
        {"{\"id\":\"1\",\"path\":\"a\"}\n", "id"},
        {"{\"id\":1.5,\"path\":\"a\"}\n", "id"},
        {"{\"id\":-1,\"path\":\"a\"}\n", "id"},
        {"{\"id\":9007199254740993,\"path\":\"a\"}\n", "id"},
        {"{\"id\":1,\"path\":7}\n", "path"},
        {"{\"id\":1,\"path\":null}\n", "path"},
        {"{\"id\":1,\"path\":\"a\",\"identity\":3}\n", "identity"},
        {"{\"id\":1,\"path\":\"a\",\"sha256\":\"abc\"}\n", "expected 64 hex digits"},
        {"{\"id\":1,\"path\":\"a\",\"sha256\":"
         "\"E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}\n",
         "expected 64 hex digits"},
        {"{\"id\":1,\"path\":\"a\",\"sha256\":[]}\n", "sha256"},
        {"{\"id\":1,\"id\":2,\"path\":\"a\"}\n", "line 1"},
        {"{\"id\":1,\"path\":\"a\"}\n{\"id\":1,\"path\":\"b\"}\n", "lines 1 and 2 are of the same sample"},
        {"{\"id\":1,\"path\":\"a\"}\n{\"id\":2,\"path\":\"b\"}\n{\"id\":3,\"path\":\"a\"}\n",
         "are of the same sample"},
        {"{\"id\":1,\"path\":\"\xff\"}\n", "line 1"},
        {"{\"id\":1,\"path\":\"a\\u0000b\"}\n", "line 1"},
    };
    for (int i = 0; i < COUNT(bad); i++) manifest_refused(bad[i].text, strlen(bad[i].text), bad[i].why);
    manifest_refused("{\"id\":1,\"path\":\"a\"}\n\0{\"id\":2,\"path\":\"b\"}\n", 41, "holds a byte 0");
    manifest_refused("\0", 1, "holds a byte 0");
    Error e = {0};
    Manifest *m;
    char path[128];
    assert_false(manifest_open(&m, in_folder("nowhere.jsonl", path), &e));
    assert_non_null(strstr(e.text, "nowhere.jsonl"));
    assert_false(manifest_open(&m, folder, &e));
    /* larger than any: refused by its size, not read */
    put_text("vast.jsonl", "x");
    assert_int_equal(truncate(in_folder("vast.jsonl", path), (off_t)3 << 30), 0);
    assert_false(manifest_open(&m, path, &e));
    assert_true(e.code == ERROR_LIMIT && strstr(e.text, "vast.jsonl"));
    unlink(path);
}

static void many_lines(void **state) {
    (void)state;
    enum { LINES = 50000 };
    size_t used = 0, room = (size_t)LINES * 64;
    char *text = mem_get(room), spec[40], *list[] = {spec};
    Error e = {0};
    Request r;
    for (int i = 0; i < LINES; i++) /* in no order */
        used += (size_t)snprintf(text + used, room - used, "{\"id\":%d,\"path\":\"%d.jpg\"}\n",
                                 i * 7919 % LINES, i);
    put("many.jsonl", text, used);
    mem_free(text);
    Manifest *m = manifest_of("many.jsonl");
    assert_int_equal(m->count, LINES);
    snprintf(spec, sizeof spec, "random=0.5");
    assert_true(request_open(&r, m, list, 1, 1, &e));
    assert_int_equal(r.count, LINES / 2);
    request_close(&r);
    snprintf(spec, sizeof spec, "path=49999.jpg");
    assert_true(request_open(&r, m, list, 1, 1, &e));
    assert_int_equal(r.count, 1);
    request_close(&r);
    manifest_close(m);
}

/* ---- memory ---- */

static void no_memory(void **state) {
    (void)state;
    char path[128], list[160], file[160];
    put_text("list.txt", "identity=s01\n# remark\ns02/3.jpg\n");
    snprintf(list, sizeof list, "@%s", in_folder("list.txt", path));
    snprintf(file, sizeof file, "file=%s", in_folder("picture_7.jpg", path));
    char *spec[] = {list, "sample=100,101", file, "random=0.1", "class=s00"};
    in_folder("manifest.jsonl", path);
    uint64_t live = mem_stat().live;
    bool done = false;
    int n = 0;
    for (; !done; n++) {
        Error e = {0};
        Manifest *m = NULL;
        Request r = {0};
        mem_fail_after(n);
        done = manifest_open(&m, path, &e) && request_open(&r, m, spec, COUNT(spec), 0, &e);
        mem_fail_after(-1);
        if (!done && e.code != ERROR_MEMORY) fail_msg("request %d for memory: %s", n, e.text);
        request_close(&r);
        manifest_close(m);
        assert_int_equal(mem_stat().live, live);
    }
    assert_true(n > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_ids),
        cmocka_unit_test(names_not_found),
        cmocka_unit_test(names_too_long),
        cmocka_unit_test(by_content),
        cmocka_unit_test(by_chance),
        cmocka_unit_test(all_and_nothing),
        cmocka_unit_test(joined),
        cmocka_unit_test(lists),
        cmocka_unit_test(lists_refused),
        cmocka_unit_test(manifests),
        cmocka_unit_test(manifests_refused),
        cmocka_unit_test(many_lines),
        cmocka_unit_test(no_memory),
    };
    snprintf(folder, sizeof folder, "/tmp/lethe_request_XXXXXX");
    Error e;
    if (!mkdtemp(folder)) return 1;
    int bad = cmocka_run_group_tests(tests, make, NULL);
    return file_remove_tree(folder, &e) ? bad : 1;
}
