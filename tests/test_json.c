/* Reading and writing JSON: the exact messages, the limits, numbers, and what a failing allocation leaves. */
#include "core/json.h"
#include "core/json_scan.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static JsonFile *open_ok(const char *text) {
    Error e;
    JsonFile *f = NULL;
    if (!json_open(&f, "t.json", text, strlen(text), &e)) fail_msg("%s", e.text);
    return f;
}

static void expect_refusal(const char *text, size_t size, const char *message) {
    Error e = {0};
    JsonFile *f = NULL;
    if (json_open(&f, "t.json", text, size, &e)) fail_msg("accepted: %s", text);
    assert_null(f);
    assert_string_equal(e.text, message);
}

static void test_refusals(void **state) {
    (void)state;
#define VALUE "a value (a number, a text in \"double quotes\", true, false, null, [ or {)"
    static const char *const row[][2] = {
        {"", "t.json:1:1: the file is empty: expected a JSON value"},
        {"{\n  \"a\": 1,\n}", "t.json:2:9: a comma before }: remove the comma"},
        {"[1, 2, ]", "t.json:1:6: a comma before ]: remove the comma"},
        {"{\"a\": 1\n \"b\": 2}", "t.json:2:2: expected a comma before the next key"},
        {"{\"a\" 1}", "t.json:1:6: expected : after the key \"a\", found 1"},
        {"{a: 1}", "t.json:1:2: expected a key in \"double quotes\", found a"},
        {"{'a': 1}", "t.json:1:2: expected a key in \"double quotes\", found '"},
        {"{\"a\": }", "t.json:1:7: expected " VALUE ", found }"},
        {"{\"a\": True}", "t.json:1:7: expected " VALUE ", found True"},
        {"[NaN]", "t.json:1:2: expected " VALUE ", found NaN"},
        {"[truely]", "t.json:1:2: expected " VALUE ", found truely"},
        {"[1 2]", "t.json:1:4: expected , or ] after a value, found 2"},
        {"{\"a\": 1]", "t.json:1:8: expected , or } after a value, found ]"},
        {"{\"a\": 1, // why\n}",
         "t.json:1:10: JSON has no comments: expected a key in \"double quotes\"; remove the comment"},
        {"{\n\"a\": [1,\n", "t.json:3:1: the file ends too early: expected ] for the [ of line 2"},
        {"{", "t.json:1:2: the file ends too early: expected } for the { of line 1"},
        {"{} x", "t.json:1:4: expected the end of the file after the value, found x"},
        {"[\"ab\ncd\"]", "t.json:1:2: a text that does not end on its line: expected a closing \" (or \\n)"},
        {"[\"ab", "t.json:1:2: a text that does not end: expected a closing \""},
        {"[\"a\tb\"]", "t.json:1:4: a control character (byte 0x09) in a text: write it as \\u"},
        {"[\"\\x\"]", "t.json:1:3: an unknown escape: expected one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u"},
        {"[\"\\u12g4\"]", "t.json:1:3: expected four hexadecimal digits after \\u"},
        {"[\"a\\u0000\"]", "t.json:1:4: a text may not hold a NUL (\\u0000)"},
        {"[\"\\ud800\"]",
         "t.json:1:3: half of a surrogate pair: expected \\uD800-\\uDBFF, then \\uDC00-\\uDFFF"},
        {"[\"\\udc00\"]",
         "t.json:1:3: half of a surrogate pair: expected \\uD800-\\uDBFF, then \\uDC00-\\uDFFF"},
        {"[\"\\ud800\\u0041\"]",
         "t.json:1:3: half of a surrogate pair: expected \\uD800-\\uDBFF, then \\uDC00-\\uDFFF"},
        {"[\"\xC3\xA9\", \"\xFF\"]", "t.json:1:8: byte 0xFF is not UTF-8: save the file as UTF-8"},
        {"[01]", "t.json:1:2: a number may not begin with 0: remove the 0"},
        {"[-]", "t.json:1:3: expected a digit after -, found ]"},
        {"[1.]", "t.json:1:4: expected a digit after the point, found ]"},
        {"[1e+]", "t.json:1:5: expected a digit in the exponent, found ]"},
        {"[+1]", "t.json:1:2: expected " VALUE ", found +"},
        {"[1e999]", "t.json:1:2: the number 1e999 is too large"},
        {"[0000000000000000000000000000000000000000000000000000000000000000]",
         "t.json:1:2: a number may not begin with 0: remove the 0"},
        {"[1000000000000000000000000000000000000000000000000000000000000000]",
         "t.json:1:2: a number of more than 63 characters"},
        {"{\"a\": {\"b\": 1,\n \"c\": 2, \"b\": 3}}",
         "t.json:2:10: a.b: this key stands twice in its object: remove one"},
        {"\x01", "t.json:1:1: expected " VALUE ", found byte 0x01"},
    };
    for (int i = 0; i < COUNT(row); i++) expect_refusal(row[i][0], strlen(row[i][0]), row[i][1]);
    expect_refusal("[1]\0", 4, "t.json:1:4: expected the end of the file after the value, found byte 0x00");
}

static void test_limits(void **state) {
    (void)state;
    char text[2 * 65 + 1];
    memset(text, '[', 65);
    memset(text + 65, ']', 65);
    text[130] = 0;
    expect_refusal(text, 130, "t.json:1:65: nested more than 64 levels deep");
    JsonFile *f = NULL;
    Error e;
    assert_true(json_open(&f, "t.json", text + 1, 128, &e));
    json_close(f);
    assert_false(json_open(&f, "t.json", text, JSON_MAX_BYTES + 1, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    assert_string_equal(e.text, "t.json: 1073741825 bytes of JSON; the limit is 1073741824");
}

/* Sorted comparison takes over above a few keys; the position is that of the later twin. */
static void test_many_keys(void **state) {
    (void)state;
    enum { KEYS = 50000 };
    static char text[KEYS * 20];
    size_t used = 1;
    text[0] = '{';
    for (int i = 0; i < KEYS; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "\"k%d\": %d,\n", i, i);
    snprintf(text + used, sizeof text - used, "\"last\": 1}");
    JsonFile *f = open_ok(text);
    assert_int_equal(json_count(json_root(f)), KEYS + 1);
    json_close(f);
    snprintf(text + used, sizeof text - used, "\"k77\": 1}");
    expect_refusal(text, strlen(text),
                   "t.json:50001:1: k77: this key stands twice in its object: remove one");
}

static void test_reading(void **state) {
    (void)state;
    Error e;
    JsonFile *f = open_ok("\xEF\xBB\xBF{\"i\": [{\"w\": 640}, {\"w\": 1e3, \"t\": "
                          "\"\\u00e9\\ud83d\\ude00\\n\"}], \"y\": true, \"n\": null, \"x\": -0.5}\n");
    Json root = json_root(f), images = json_get(root, "i");
    int64_t w = 0, sum = 0;
    double x;
    bool y;
    const char *t;
    assert_int_equal(json_count(images), 2);
    for (Json i = json_first(images); json_exists(i); i = json_next(i)) {
        assert_true(json_int(json_get(i, "w"), 1, 2000, &w, &e));
        sum += w;
    }
    assert_int_equal(sum, 1640);
    assert_true(json_text(json_get(json_next(json_first(images)), "t"), &t, &e));
    assert_string_equal(t, "\xC3\xA9\xF0\x9F\x98\x80\n");
    assert_true(json_bool(json_get(root, "y"), &y, &e) && y);
    assert_true(json_number(json_get(root, "x"), -1, 1, &x, &e));
    assert_true(x == -0.5);
    assert_int_equal(json_type(json_get(root, "n")), JSON_NULL);
    assert_string_equal(json_key(json_first(root)), "i");
    assert_false(json_exists(json_get(json_get(root, "no"), "such")));
    json_close(f);
}

static void test_whole_numbers(void **state) {
    (void)state;
    Error e;
    int64_t v = 0;
    JsonFile *f = open_ok("[9007199254740991, -9007199254740991, 9007199254740992, 3.5, 3.0, -0]");
    Json j = json_first(json_root(f));
    assert_true(json_int(j, INT64_MIN, INT64_MAX, &v, &e));
    assert_true(v == 9007199254740991);
    j = json_next(j);
    assert_true(json_int(j, INT64_MIN, INT64_MAX, &v, &e));
    assert_true(v == -9007199254740991);
    j = json_next(j);
    assert_false(json_int(j, INT64_MIN, INT64_MAX, &v, &e));
    assert_string_equal(e.text, "t.json:1:39: [2]: expected a whole number from -9007199254740991 to "
                                "9007199254740991, found 9007199254740992");
    j = json_next(j);
    assert_false(json_int(j, INT64_MIN, INT64_MAX, &v, &e));
    assert_string_equal(e.text, "t.json:1:57: [3]: expected a whole number, found 3.5");
    j = json_next(j);
    assert_true(json_int(j, 3, 3, &v, &e) && v == 3);
    j = json_next(j);
    assert_true(json_int(j, 0, 0, &v, &e) && v == 0);
    json_close(f);
}

static void test_typed_errors(void **state) {
    (void)state;
    Error e;
    int64_t v;
    double x;
    bool b;
    const char *t;
    JsonFile *f = open_ok("{\n \"a\": {\"b\": [1, \"two\", {\"c\": 70000}]},\n \"bad\\nkey\": false}");
    Json list = json_get(json_get(json_root(f), "a"), "b"), third = json_next(json_next(json_first(list)));
    assert_false(json_int(json_next(json_first(list)), 0, 9, &v, &e));
    assert_string_equal(e.text,
                        "t.json:2:17: a.b[1]: expected a whole number from 0 to 9, found the text \"two\"");
    assert_false(json_int(json_get(third, "c"), 1, 65500, &v, &e));
    assert_string_equal(e.text,
                        "t.json:2:25: a.b[2].c: expected a whole number from 1 to 65500, found 70000");
    assert_false(json_int(json_get(third, "width"), 1, 65500, &v, &e));
    assert_string_equal(e.text, "t.json:2:24: a.b[2].width: missing");
    assert_false(json_int(json_get(json_get(json_root(f), "z"), "y"), 1, 2, &v, &e));
    assert_string_equal(e.text, "t.json:1:1: z: missing");
    assert_false(json_number(json_get(third, "c"), 0, 1, &x, &e));
    assert_string_equal(e.text, "t.json:2:25: a.b[2].c: expected a number from 0 to 1, found 70000");
    assert_false(json_number(list, 0, INFINITY, &x, &e));
    assert_string_equal(e.text, "t.json:2:8: a.b: expected a number of at least 0, found an array");
    assert_false(json_expect(json_root(f), JSON_ARRAY, &e));
    assert_string_equal(e.text, "t.json:1:1: expected an array, found an object");
    assert_false(json_text(json_get(json_root(f), "bad\nkey"), &t, &e));
    assert_string_equal(e.text, "t.json:3:2: bad?key: expected a text, found false");
    assert_false(json_bool(third, &b, &e));
    assert_string_equal(e.text, "t.json:2:24: a.b[2]: expected true or false, found an object");
    json_close(f);
}

static void test_words(void **state) {
    (void)state;
    static const char *const word[] = {"12", "[1,2]",      "true", "data/x y.jpg", "01", "\"quoted\"",
                                       "",   "{\"a\":1,}", "-"};
    static const JsonType type[] = {JSON_NUMBER, JSON_ARRAY, JSON_BOOL, JSON_TEXT, JSON_TEXT,
                                    JSON_TEXT,   JSON_TEXT,  JSON_TEXT, JSON_TEXT};
    Error e;
    JsonFile *f;
    const char *t;
    for (int i = 0; i < COUNT(word); i++) {
        assert_true(json_open_word(&f, "--set k", word[i], &e));
        assert_int_equal(json_type(json_root(f)), type[i]);
        if (type[i] == JSON_TEXT) {
            assert_true(json_text(json_root(f), &t, &e));
            assert_string_equal(t, i == 5 ? "quoted" : word[i]);
        }
        json_close(f);
    }
    assert_true(json_open_word(&f, "--set k=x", "x", &e));
    int64_t v;
    assert_false(json_int(json_root(f), 1, 9, &v, &e));
    assert_string_equal(e.text, "--set k=x: expected a whole number from 1 to 9, found the text \"x\"");
    json_close(f);
}

static void test_load(void **state) {
    (void)state;
    Error e;
    JsonFile *f = NULL;
    assert_false(json_load(&f, "tests/no_such.json", 100, &e));
    assert_string_equal(e.text, "tests/no_such.json: cannot open it: No such file or directory");
    char path[] = "/tmp/lethe_json_XXXXXX";
    int fd = mkstemp(path);
    FILE *out = fdopen(fd, "w");
    fputs("{\"a\": 1}", out);
    fclose(out);
    assert_true(json_load(&f, path, 8, &e));
    json_close(f);
    assert_false(json_load(&f, path, 7, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    remove(path);
}

static void test_writing(void **state) {
    (void)state;
    char text[400];
    JsonWriter w = json_writer(text, sizeof text, 0);
    json_put_open(&w, NULL, '{');
    json_put_int(&w, "step", 12);
    json_put_real(&w, "loss", NAN);
    json_put_text(&w, "t", "a\"b\\\n\x01\x7F\xC3\xA9\xFFz");
    json_put_open(&w, "list", '[');
    json_put_bool(&w, NULL, true);
    json_put_null(&w, NULL);
    json_put_raw(&w, NULL, "{}");
    json_put_close(&w, ']');
    json_put_open(&w, "empty", '{');
    json_put_close(&w, '}');
    json_put_close(&w, '}');
    assert_false(w.full);
    assert_string_equal(
        text, "{\"step\": 12, \"loss\": null, \"t\": \"a\\\"b\\\\\\n\\u0001\\u007f\xC3\xA9\xEF\xBF\xBDz\", "
              "\"list\": [true, null, {}], \"empty\": {}}");
    assert_int_equal(w.used, strlen(text));

    w = json_writer(text, sizeof text, 2);
    json_put_open(&w, NULL, '{');
    json_put_int(&w, "a", -1);
    json_put_open(&w, "b", '{');
    json_put_open(&w, "c", '[');
    json_put_int(&w, NULL, 1);
    json_put_int(&w, NULL, 2);
    json_put_close(&w, ']');
    json_put_close(&w, '}');
    json_put_close(&w, '}');
    assert_string_equal(text, "{\n  \"a\": -1,\n  \"b\": {\n    \"c\": [1, 2]\n  }\n}");

    char tiny[9];
    w = json_writer(tiny, sizeof tiny, 0);
    json_put_text(&w, NULL, "12345678");
    assert_true(w.full);
    assert_true(strlen(tiny) < sizeof tiny);
}

static void test_real_text(void **state) {
    (void)state;
    static const struct {
        double v;
        const char *text;
    } row[] = {
        {0.1, "0.1"},
        {1.0 / 3, "0.3333333333333333"},
        {1e-5, "1e-05"},
        {100000, "100000"},
        {-0.0, "-0"},
        {0.5f, "0.5"},
        {1e15, "1e+15"},
        {5e-324, "5e-324"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {0.1 + 0.2, "0.30000000000000004"},
    };
    char buffer[32];
    for (int i = 0; i < COUNT(row); i++) assert_string_equal(json_real_text(row[i].v, buffer), row[i].text);
    uint64_t bits = 88172645463325252u;
    for (int i = 0; i < 2000; i++) {
        bits ^= bits << 13, bits ^= bits >> 7, bits ^= bits << 17;
        double v;
        memcpy(&v, &bits, sizeof v);
        if (isfinite(v)) assert_true(strtod(json_real_text(v, buffer), NULL) == v);
    }
}

static void test_utf8(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        int length;
    } row[] = {
        {"a", 1},
        {"\xC3\xA9", 2},
        {"\xE2\x82\xAC", 3},
        {"\xF0\x9F\x98\x80", 4},
        {"\x80", 0},
        {"\xC0\x80", 0},
        {"\xE0\x80\x80", 0},
        {"\xED\xA0\x80", 0},
        {"\xF4\x90\x80\x80", 0},
        {"\xF5\x80\x80\x80", 0},
        {"\xC3", 0},
    };
    for (int i = 0; i < COUNT(row); i++)
        assert_int_equal(json_utf8(row[i].bytes, strlen(row[i].bytes)), row[i].length);
    assert_int_equal(json_utf8("\xC3\xA9", 1), 0);
    assert_int_equal(json_utf8("", 0), 0);
}

/* Every allocation fails once: a clean error each time, and nothing is leaked. */
static void test_no_memory(void **state) {
    (void)state;
    char text[4000] = "{";
    for (int i = 0; i < 100; i++) sprintf(text + strlen(text), "\"key%d\": \"v%d\",", i, i);
    strcat(text, "\"z\": 0}");
    uint64_t live = mem_stat().live;
    bool done = false;
    int n = 0;
    for (; !done; n++) {
        Error e = {0};
        JsonFile *f = NULL;
        mem_fail_after(n);
        done = json_open(&f, "t.json", text, strlen(text), &e);
        mem_fail_after(-1);
        if (!done) assert_int_equal(e.code, ERROR_MEMORY);
        json_close(f);
        assert_int_equal(mem_stat().live, live);
    }
    assert_true(n > 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),      cmocka_unit_test(test_limits),
        cmocka_unit_test(test_many_keys),     cmocka_unit_test(test_reading),
        cmocka_unit_test(test_whole_numbers), cmocka_unit_test(test_typed_errors),
        cmocka_unit_test(test_words),         cmocka_unit_test(test_load),
        cmocka_unit_test(test_writing),       cmocka_unit_test(test_real_text),
        cmocka_unit_test(test_utf8),          cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
