/* The report: text from outside cannot leave its place, numbers and base64, rows to series, answers to
 * counts, curves without NaN, and whole pages: well formed, complete in themselves, nothing written on an
 * error. */
#include "cli/answers.h"
#include "cli/cli.h"
#include "cli/curve.h"
#include "cli/history.h"
#include "cli/html.h"
#include "core/file.h"
#include "data/image.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/markup.h"

static char folder[64];
static char complaint[sizeof(((Error *)0)->text)]; /* the last error line of the verb */

/* The program's own stands in main.c beside main: here the line is kept, not printed. */
int cli_fail(const Error *e) {
    strcpy(complaint, e->text);
    return 1;
}

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/lethe_report_XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    Error e;
    return file_remove_tree(folder, &e) ? 0 : -1;
}

/* A path in the test's folder; good until the eighth call after. */
static const char *in_folder(const char *name) {
    static char path[8][FILE_PATH];
    static int next;
    next = (next + 1) % 8;
    snprintf(path[next], FILE_PATH, "%s/%s", folder, name);
    return path[next];
}

static void put(const char *name, const char *text) {
    Error e;
    if (!file_write(in_folder(name), text, strlen(text), &e)) fail_msg("%s", e.text);
}

/* What was written so far, NUL-terminated. */
static const char *written(Html *h) {
    Error e;
    assert_true(bytes_append(&h->text, "", 1, &e));
    h->text.size--;
    return (const char *)h->text.data;
}

/* ---- html ---- */

static void test_text_is_escaped(void **state) {
    (void)state;
    Html h = {0};
    html_text(&h, "<a href=\"x\">&'\x01\xff\xc3\xa9\xed\xa0\x80");
    assert_string_equal(written(&h), "&#60;a href=&#34;x&#34;&#62;&#38;&#39;\xEF\xBF\xBD\xEF\xBF\xBD\xc3\xa9"
                                     "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    html_free(&h);
}

/* RFC 4648, section 10. */
static void test_base64(void **state) {
    (void)state;
    static const char *const pair[][2] = {{"", ""},
                                          {"f", "Zg=="},
                                          {"fo", "Zm8="},
                                          {"foo", "Zm9v"},
                                          {"foob", "Zm9vYg=="},
                                          {"fooba", "Zm9vYmE="},
                                          {"foobar", "Zm9vYmFy"},
                                          {"\xff\xef\xfe", "/+/+"}};
    for (int i = 0; i < COUNT(pair); i++) {
        char expected[64];
        Html h = {0};
        html_data(&h, "a/b", pair[i][0], strlen(pair[i][0]));
        snprintf(expected, sizeof expected, "data:a/b;base64,%s", pair[i][1]);
        assert_string_equal(written(&h), expected);
        html_free(&h);
    }
}

static void test_numbers(void **state) {
    (void)state;
    char out[HTML_NUMBER];
    assert_string_equal(html_number(out, 0.41234), "0.4123");
    assert_string_equal(html_number(out, 1234567), "1,234,567");
    assert_string_equal(html_number(out, -1000), "-1,000");
    assert_string_equal(html_number(out, 999), "999");
    assert_string_equal(html_number(out, 1.5e-5), "1.5e-05");
    assert_string_equal(html_number(out, NAN), "–");
    assert_string_equal(html_percent(out, 97.46), "97.5 %");
    assert_string_equal(html_percent(out, 100), "100 %");
    assert_string_equal(html_seconds(out, 41.6), "42 s");
    assert_string_equal(html_seconds(out, 200), "3 min 20 s");
    assert_string_equal(html_seconds(out, 3900), "1 h 05 min");
    assert_string_equal(html_seconds(out, -1), "–");
}

/* ---- curves ---- */

static void curve_into(Html *h, const double *x, const double *y, int64_t n, CurveStyle style) {
    const CurveLine line[] = {{"a<b", x, y, n, style}, {"none", NULL, NULL, 0, CURVE_LINE}};
    curve_draw(h, &(Curve){.title = "Loss", .x_label = "epoch", .line = line, .lines = 2});
}

static void test_curve_of_anything(void **state) {
    (void)state;
    enum { N = 5000 };
    static double x[N], y[N];
    for (int style = CURVE_LINE; style <= CURVE_NOISY; style++)
        for (int kind = 0; kind < 6; kind++)
            for (int n = 1; n <= N; n = n * 3 + 1) {
                Html h = {0};
                for (int i = 0; i < n; i++) {
                    static const double constant[] = {0, -3, 1e-300, 1e300};
                    x[i] = i;
                    y[i] = kind < 4 ? constant[kind] : kind == 4 ? 3 * exp(-i / 100.0) : (i % 7 ? i : NAN);
                }
                curve_into(&h, x, y, n, (CurveStyle)style);
                const char *text = written(&h);
                assert_null(strstr(text, "nan"));
                assert_null(strstr(text, "inf"));
                assert_null(strstr(text, "a<b"));
                /* of kind 5 the first value is none: then there is nothing to draw of one */
                assert_int_equal(strstr(text, "<svg") != NULL, kind < 5 || n > 1);
                assert_true(h.text.size < 100000);
                html_free(&h);
            }
}

/* The outlier is cut off by the frame, the others keep their height. */
static void test_curve_outlier(void **state) {
    (void)state;
    double x[100], y[100];
    Html h = {0};
    for (int i = 0; i < 100; i++) x[i] = i, y[i] = 1 + 0.01 * i;
    y[50] = 1e6;
    curve_into(&h, x, y, 100, CURVE_LINE);
    assert_non_null(strstr(written(&h), ">1.5</text>"));
    assert_null(strstr(written(&h), "e+06</text>"));
    html_free(&h);
}

/* ---- history ---- */

static const char recipe[] =
    "{\"about\": \"<script>alert(1)</script>\", \"task\": \"classify\", \"seed\": 0, \"model\": {\"size\": "
    "\"micro\", \"dim\": 128}, \"data\": {\"hflip\": 0.5, \"train\": \"</dd>\"}, \"train\": {\"batch\": 32, "
    "\"accumulate\": 2, \"epochs\": 3}}";
static const char rows[] =
    "{\"step\": 1, \"epoch\": 0.5, \"loss\": 2, \"lr\": 0.1, \"images_per_second\": 64}\n"
    "{\"step\": 3, \"epoch\": 1.5, \"loss\": null, \"lr\": 0.2, \"images_per_second\": 128}\n"
    "{\"step\": 3, \"epoch\": 1.5, \"eval\": \"test\", \"top1\": 60, \"top5\": 90, \"loss\": 1.5}\n"
    "{\"step\": 4, \"epoch\": 2, \"loss\": 1, \"lr\": 0.1, \"images_per_second\": 64}\n"
    "{\"step\": 4, \"epoch\": 2, \"eval\": \"test\", \"top1\": 50, \"top5\": 95, \"loss\": 1.25}\n"
    "{\"step\": 5, \"epo";

static void make_run(const char *name) {
    Error e;
    char path[128];
    assert_true(file_make_folder(in_folder(name), &e));
    snprintf(path, sizeof path, "%s/recipe.json", name);
    put(path, recipe);
    snprintf(path, sizeof path, "%s/metrics.jsonl", name);
    put(path, rows);
}

static void test_history(void **state) {
    (void)state;
    History h;
    Error e;
    double images, seconds;
    make_run("run");
    if (!history_open(&h, in_folder("run"), &e)) fail_msg("%s", e.text);
    const Series *loss = history_series(&h, "", "loss"), *test = history_series(&h, NULL, "loss");
    assert_int_equal(loss->count, 3);
    assert_true(isnan(loss->value[1]));
    assert_true(series_last(loss) == 1 && series_end(loss) == 1);
    assert_string_equal(test->data, "test");
    assert_true(series_last(test) == 1.25);
    assert_null(history_series(&h, "valid", "loss"));
    assert_null(history_series(&h, "", "top1"));
    assert_true(history_number(&h, "model.dim") == 128);
    assert_true(isnan(history_number(&h, "model.size")));
    assert_string_equal(history_word(&h, "model.size"), "micro");
    assert_null(history_word(&h, "model.no.such"));
    /* 64 images a step: 1, 2 and 1 of them at 64, 128 and 64 a second */
    assert_true(history_pace(&h, &images, &seconds));
    assert_true(images == 256 && seconds == 3);
    history_close(&h);
}

static void test_history_refuses(void **state) {
    (void)state;
    static const struct {
        const char *row, *expected;
    } bad[] = {
        {"{\"step\": 1, \"epoch\": 0}\n[]\n", "row 2"},
        {"{\"step\": 1, \"epoch\": 0}\n{\"step\": 1\n", "row 2"},
        {"{\"epoch\": 0}\n", "step: missing"},
        {"{\"step\": 2, \"epoch\": 0}\n{\"step\": 1, \"epoch\": 0}\n", "before the step"},
        {"{\"step\": 2, \"epoch\": 1}\n{\"step\": 3, \"epoch\": 0}\n", "before the epoch"},
        {"{\"step\": 1, \"epoch\": 0, \"eval\": 3}\n", "eval"},
    };
    History h;
    Error e;
    for (int i = 0; i < COUNT(bad); i++) {
        make_run("bad");
        put("bad/metrics.jsonl", bad[i].row);
        assert_false(history_open(&h, in_folder("bad"), &e));
        if (!strstr(e.text, "metrics.jsonl") || !strstr(e.text, bad[i].expected)) fail_msg("%s", e.text);
    }
    put("bad/recipe.json", "[1]");
    assert_false(history_open(&h, in_folder("bad"), &e));
    assert_non_null(strstr(e.text, "recipe.json"));
    assert_true(unlink(in_folder("bad/recipe.json")) == 0);
    assert_false(history_open(&h, in_folder("bad"), &e));
    assert_non_null(strstr(e.text, "--run takes"));
}

/* ---- answers ---- */

static const char said[] =
    "{\"path\": \"PATH/a.png\", \"label\": \"a\", \"predicted\": \"a\", \"probability\": 0.9}\n"
    "{\"path\": \"PATH/a.png\", \"label\": \"a\", \"predicted\": \"b\", \"probability\": 0.4}\n"
    "{\"path\": \"PATH/a.png\", \"label\": \"a\", \"predicted\": \"b\", \"probability\": 0.8, \"right\": "
    "false}\n"
    "{\"path\": \"PATH/none.png\", \"label\": \"b\", \"predicted\": \"<i>\", \"probability\": 0.6}\n"
    "{\"path\": \"PATH/a.png\", \"label\": \"b\", \"predicted\": \"b\", \"probability\": 0.7}\n"
    "{\"path\": \"PATH/a.png\", \"label\": null, \"predicted\": \"b\", \"probability\": 0.7}\n"
    "{\"path\": \"PATH/a.png\", \"predicted\": 12, \"probability\": 1}";

/* `said` with the paths of this test's folder. */
static void make_answers(const char *name) {
    char text[4096], *to = text;
    for (const char *p = said; *p;)
        if (!strncmp(p, "PATH", 4))
            to += sprintf(to, "%s", folder), p += 4;
        else
            *to++ = *p++;
    *to = 0;
    put(name, text);
}

static void test_answers(void **state) {
    (void)state;
    Answers a;
    Error e;
    int64_t *chosen;
    int n;
    make_answers("said.jsonl");
    if (!answers_open(&a, in_folder("said.jsonl"), &e)) fail_msg("%s", e.text);
    assert_int_equal(a.count, 7);
    assert_int_equal(a.known, 5);
    assert_int_equal(a.right, 2);
    assert_int_equal(a.classes, 4);
    static const char *const name[] = {"12", "<i>", "a", "b"};
    for (int i = 0; i < 4; i++) assert_string_equal(a.class[i].name, name[i]);
    assert_true(a.class[2].count == 3 && a.class[2].right == 1);
    assert_true(a.class[3].count == 2 && a.class[3].right == 1);
    assert_int_equal(a.pairs, 2);
    assert_true(a.pair[0].label_class == 2 && a.pair[0].predicted_class == 3 && a.pair[0].count == 2);
    assert_true(answers_wrong(&a, 2, &chosen, &n, &e));
    assert_true(n == 2 && chosen[0] == 2 && chosen[1] == 3);
    mem_free(chosen);
    assert_true(answers_right(&a, 10, &chosen, &n, &e));
    assert_true(n == 2 && chosen[0] == 0 && chosen[1] == 4);
    mem_free(chosen);
    assert_true(answers_right(&a, 1, &chosen, &n, &e));
    assert_true(n == 1 && chosen[0] == 0);
    mem_free(chosen);
    answers_close(&a);
}

static void test_answers_refuse(void **state) {
    (void)state;
    static const char *const bad[] = {
        "{\"path\": \"x\", \"predicted\": \"a\", \"probability\": 2}",
        "{\"path\": \"x\", \"predicted\": \"a\"}",
        "{\"path\": \"x\", \"predicted\": -1, \"probability\": 1}",
        "{\"path\": \"x\", \"predicted\": \"a\", \"probability\": 1, \"label\": 3}",
        "{\"path\": \"x\", \"predicted\": \"a\", \"probability\": 1",
        "3",
    };
    Answers a;
    Error e;
    for (int i = 0; i < COUNT(bad); i++) {
        put("bad.jsonl", bad[i]);
        assert_false(answers_open(&a, in_folder("bad.jsonl"), &e));
        if (!strstr(e.text, "bad.jsonl, row 1")) fail_msg("%s", e.text);
    }
    put("empty.jsonl", "");
    assert_true(answers_open(&a, in_folder("empty.jsonl"), &e));
    assert_int_equal(a.count, 0);
    answers_close(&a);
}

/* ---- whole pages ---- */

static void make_picture(const char *name, int side) {
    Image im = {0};
    Error e;
    assert_true(image_reserve(&im, side, side, &e));
    uint32_t noise = 1;
    for (int i = 0; i < side * side * 3; i++) {
        noise = noise * 1664525 + 1013904223;
        im.pixel[i] = (uint8_t)(noise >> 24);
    }
    assert_true(image_write_png(&im, in_folder(name), &e));
    image_free(&im);
}

static int report(int count, const char *const *word) {
    char *argv[32] = {"report"};
    for (int i = 0; i < count; i++) argv[i + 1] = (char *)word[i];
    return cli_report(count + 1, argv);
}

static void test_page(void **state) {
    (void)state;
    char *text, caption[FILE_PATH];
    size_t size;
    Error e;
    int images, headings;
    make_run("run");
    make_answers("said.jsonl");
    make_picture("a.png", 300); /* noise: too large a file to go in whole as a thumbnail */
    snprintf(caption, sizeof caption, "<b>caption</b>=%s", in_folder("a.png"));
    const char *const word[] = {"--out",         in_folder("page.html"),
                                "--run",         in_folder("run"),
                                "--run",         in_folder("run"),
                                "--predictions", in_folder("said.jsonl"),
                                "--note",        "<script>1</script>",
                                "--picture",     caption,
                                "--title",       "a & b"};
    assert_int_equal(report(COUNT(word), word), 0);
    assert_true(file_read(in_folder("page.html"), 1 << 24, &text, &size, &e));
    check_markup(text, &images, &headings);
    assert_int_equal(headings, 1);
    /* the picture; two mistakes with one for comparison each (the third cannot be read); two right ones */
    assert_int_equal(images, 1 + 4 + 2);
    assert_null(strstr(text, "<script"));
    assert_null(strstr(text, "<b>caption"));
    assert_null(strstr(text, "http:"));
    assert_null(strstr(text, "https:"));
    assert_null(strstr(text, "url("));
    assert_null(strstr(text, " src=\"/"));
    assert_non_null(strstr(text, "a &#38; b"));
    assert_non_null(strstr(text, "2 of 5 images"));
    assert_non_null(strstr(text, "50 % (best 60 %)"));
    assert_non_null(strstr(text, "data:image/png;base64,iVBOR"));
    assert_non_null(strstr(text, "data:image/jpeg;base64,/9j/"));
    mem_free(text);
}

static void test_page_refused(void **state) {
    (void)state;
    make_run("run");
    put("text.png", "no picture");
    const char *out = in_folder("none.html"), *run = in_folder("run");
    char caption[FILE_PATH];
    snprintf(caption, sizeof caption, "x=%s", in_folder("text.png"));
    const char *const bad[][6] = {
        {"--out", out},
        {"--run", run},
        {"--out", out, "--run", "/no/such"},
        {"--out", out, "--run", run, "--picture", caption},
        {"--out", out, "--run", run, "--predictions", "/no/such"},
        {"--out", "/no/such/folder/x.html", "--run", run},
        {"--out", out, "--run", run, "stray"},
    };
    static const char *const expected[] = {"needs 1 to",
                                           "--out FILE.html is missing",
                                           "/no/such/recipe.json",
                                           "text.png",
                                           "/no/such",
                                           "/no/such/folder",
                                           "\"stray\""};
    for (int i = 0; i < COUNT(bad); i++) {
        int n = 0;
        while (n < 6 && bad[i][n]) n++;
        assert_int_equal(report(n, bad[i]), 1);
        if (!strstr(complaint, expected[i])) fail_msg("%s", complaint);
        assert_int_equal(file_kind(out), FILE_NONE);
    }
}

/* Whichever request for memory fails: no crash, no leak, and the old page stays. */
static void test_out_of_memory(void **state) {
    (void)state;
    make_run("run");
    make_answers("said.jsonl");
    make_picture("a.png", 300);
    put("old.html", "old");
    const char *const word[] = {"--out",          in_folder("old.html"), "--run",
                                in_folder("run"), "--predictions",       in_folder("said.jsonl")};
    uint64_t live = mem_stat().live;
    for (int64_t n = 0; n < 400; n += 1 + n / 8) {
        mem_fail_after(n);
        int status = report(COUNT(word), word);
        mem_fail_after(-1);
        assert_int_equal(mem_stat().live, live);
        if (status == 0) put("old.html", "old");
        char *text;
        size_t size;
        Error e;
        assert_true(file_read(in_folder("old.html"), 1 << 24, &text, &size, &e));
        assert_string_equal(text, "old");
        mem_free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_is_escaped), cmocka_unit_test(test_base64),
        cmocka_unit_test(test_numbers),         cmocka_unit_test(test_curve_of_anything),
        cmocka_unit_test(test_curve_outlier),   cmocka_unit_test(test_history),
        cmocka_unit_test(test_history_refuses), cmocka_unit_test(test_answers),
        cmocka_unit_test(test_answers_refuse),  cmocka_unit_test(test_page),
        cmocka_unit_test(test_page_refused),    cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests_name("report", tests, make_folder, remove_folder);
}
