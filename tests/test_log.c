/* The log of a run: rows, resuming, what a terminal and a pipe see, full disks, threads, and no allocation.
 */
#include "core/log.h"

#include "core/file.h"
#include "core/json.h"
#include "core/progress.h"
#include "core/task.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* Counts every allocation of the process, libraries included. A sanitizer has its own malloc. */
#ifndef __SANITIZE_ADDRESS__
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t align, size_t size);
static atomic_long allocations;

void *malloc(size_t size) {
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *p, size_t size) {
    allocations++;
    return __libc_realloc(p, size);
}

void *aligned_alloc(size_t align, size_t size) {
    allocations++;
    return __libc_memalign(align, size);
}
#else
static long allocations;
#endif

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/lethe_log_XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    Error e;
    return file_remove_tree(folder, &e) ? 0 : -1;
}

static const char *rows_path(void) {
    static char path[FILE_PATH];
    snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    return path;
}

/* The rows so far, in memory that the next call overwrites. */
static char *read_rows(void) {
    static char text[1 << 16];
    FILE *f = fopen(rows_path(), "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    return text;
}

static bool starts(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

static Log *open_log(const char *where, int console, int64_t interval, int64_t resume_step) {
    Error e;
    Log *l;
    LogTotals totals = {.steps = 10, .epochs = 2, .interval = interval, .console = console};
    if (!log_open(&l, where, &totals, resume_step, &e)) fail_msg("%s", e.text);
    return l;
}

static void run_steps(Log *l, int64_t from, int64_t to) {
    for (int64_t i = from; i <= to; i++) {
        LogStep s = {.step = i, .epoch = (double)i / 5, .loss = 1.0 / (double)i, .lr = 1e-3, .images = 32};
        log_step(l, &s);
    }
}

/* Every line is an object with these keys; their steps, in order, are `steps`. */
static void check_rows(const int64_t *steps, int n) {
    Error e;
    char *text = read_rows(), *line = text;
    for (int i = 0; i < n; i++) {
        JsonFile *f;
        int64_t step;
        char *end = strchr(line, '\n');
        assert_non_null(end);
        if (!json_open(&f, "row", line, (size_t)(end - line), &e)) fail_msg("%s", e.text);
        assert_true(json_int(json_get(json_root(f), "step"), 0, 100, &step, &e));
        assert_int_equal(step, steps[i]);
        json_close(f);
        line = end + 1;
    }
    assert_int_equal(*line, 0);
}

static void test_rows(void **state) {
    (void)state;
    Log *l = open_log(folder, -1, 1, 0);
    Metric more = {.name = "grad_norm", .value = 0.25};
    Metric figures[] = {{.name = "top1", .value = 0.912}, {.name = "loss", .value = NAN}};
    LogStep s = {
        .step = 1, .epoch = 0.5, .loss = 0.125, .lr = 1.5e-4, .images = 8, .more = &more, .mores = 1};
    log_step(l, &s);
    log_eval(l, 1, 0.5, "test", figures, 2);
    log_close(l);
    char *text = read_rows();
    assert_true(starts(
        text, "{\"step\": 1, \"epoch\": 0.5, \"loss\": 0.125, \"lr\": 0.00015, \"images_per_second\": "));
    assert_non_null(strstr(text, ", \"grad_norm\": 0.25}\n"));
    assert_non_null(strstr(
        text, "\n{\"step\": 1, \"epoch\": 0.5, \"eval\": \"test\", \"top1\": 0.912, \"loss\": null}\n"));
}

static void test_interval(void **state) {
    (void)state;
    Log *l = open_log(folder, -1, 4, 0);
    run_steps(l, 1, 10);
    log_close(l);
    check_rows((int64_t[]){1, 4, 8, 10}, 4);
}

/* A kill after step 7 in the middle of a row; the checkpoint was of step 5. */
static void test_resume(void **state) {
    (void)state;
    Metric top1 = {.name = "top1", .value = 0.5};
    Log *l = open_log(folder, -1, 1, 0);
    run_steps(l, 1, 5);
    log_eval(l, 5, 1, "test", &top1, 1);
    run_steps(l, 6, 7);
    log_close(l);
    FILE *f = fopen(rows_path(), "a");
    fputs("{\"step\": 8, \"ep", f);
    fclose(f);
    l = open_log(folder, -1, 1, 5);
    check_rows((int64_t[]){1, 2, 3, 4, 5, 5}, 6);
    run_steps(l, 6, 8);
    log_close(l);
    check_rows((int64_t[]){1, 2, 3, 4, 5, 5, 6, 7, 8}, 9);
    l = open_log(folder, -1, 1, 8); /* nothing to cut */
    log_close(l);
    check_rows((int64_t[]){1, 2, 3, 4, 5, 5, 6, 7, 8}, 9);
    l = open_log(folder, -1, 1, 0); /* from the start again */
    log_close(l);
    check_rows(NULL, 0);
    Error e;
    FileList list;
    assert_true(file_list_open(&list, folder, &e));
    int events = 0;
    for (int64_t i = 0; i < list.count; i++) events += strstr(list.name[i], "tfevents") != NULL;
    assert_int_equal(events, 4);
    file_list_close(&list);
}

static void test_open_errors(void **state) {
    (void)state;
    Error e;
    Log *l;
    LogTotals totals = {.steps = 10, .interval = 1, .console = -1};
    assert_false(log_open(&l, "/tmp/no/such", &totals, 0, &e));
    assert_null(l);
    assert_string_equal(e.text, "/tmp/no/such/metrics.jsonl: cannot write it: No such file or directory");
}

/* A file that catches what is written to a descriptor. */
static int catch_open(char path[64]) {
    strcpy(path, "/tmp/lethe_caught_XXXXXX");
    return mkstemp(path);
}

static char *catch_read(const char *path) {
    Error e;
    char *text;
    size_t size;
    if (!file_read(path, 1 << 20, &text, &size, &e)) fail_msg("%s", e.text);
    remove(path);
    return text;
}

static void test_pipe(void **state) {
    (void)state;
    char path[64];
    int fd = catch_open(path);
    Log *l = open_log(NULL, fd, 5, 0);
    Metric figures[] = {{.name = "top1", .value = 0.9125}, {.name = "loss", .value = 1e-7}};
    log_line(l, "%d images", 17);
    run_steps(l, 1, 5);
    log_eval(l, 5, 1, "test", figures, 2);
    log_close(l);
    close(fd);
    char *text = catch_read(path);
    assert_true(starts(text, "17 images\nepoch 0.20/2  step 1/10  loss 1.0000  lr 1.00e-03  "));
    assert_non_null(strstr(text, "\nepoch 1.00/2  step 5/10  loss 0.2000  lr 1.00e-03  "));
    assert_non_null(strstr(text, " images/s  ETA 0:00\nstep 5  test:  top1 0.9125  loss 1e-07\n"));
    assert_null(strchr(text, '\r'));
    assert_null(strchr(text, '\x1b'));
    mem_free(text);
}

static void test_terminal(void **state) {
    (void)state;
    int master, slave;
    struct winsize window = {.ws_col = 100, .ws_row = 25};
    char text[1 << 14];
    assert_int_equal(openpty(&master, &slave, NULL, NULL, &window), 0);
    Log *l = open_log(NULL, slave, 5, 0);
    run_steps(l, 1, 1);
    log_line(l, "a note");
    run_steps(l, 2, 10);
    log_close(l);
    close(slave); /* now the master's end comes after the last byte */
    size_t n = 0;
    for (ssize_t got; (got = read(master, text + n, sizeof text - 1 - n)) > 0;) n += (size_t)got;
    text[n] = 0;
    assert_non_null(strstr(text, "\r[#"));
    assert_non_null(strstr(text, ">"));
    assert_non_null(strstr(text, "\r\x1b[Ka note\r\n\r[")); /* bar off, the note, bar on */
    assert_non_null(strstr(text, "step 10/10"));
    assert_int_equal(text[n - 1], '\n');
    close(master);
}

/* Warnings go to stderr, whole lines, at most 2000 bytes; a silent rank says nothing. */
static void test_warn(void **state) {
    (void)state;
    char path[64], *text, *wide = mem_get(5000);
    memset(wide, 'w', 4999);
    wide[4999] = 0;
    int kept = dup(STDERR_FILENO), fd = catch_open(path);
    dup2(fd, STDERR_FILENO);
    Log *l = open_log(NULL, open("/dev/null", O_WRONLY), 5, 0), *silent = open_log(NULL, -1, 5, 0);
    log_warn(l, "%s: skipped", "x.jpg");
    log_warn(silent, "never said");
    log_warn(l, "%s", wide);
    dup2(kept, STDERR_FILENO);
    log_close(l);
    log_close(silent);
    close(fd);
    close(kept);
    text = catch_read(path);
    assert_true(starts(text, "warning: x.jpg: skipped\nwarning: www"));
    size_t n = strlen(text);
    assert_true(n > 2000 && n < 2100 && text[n - 1] == '\n');
    mem_free(text);
    mem_free(wide);
}

/* The disk fills: one warning, no broken row, and rows again once there is room. */
static void test_full_disk(void **state) {
    (void)state;
    char path[64];
    struct rlimit before, small;
    int kept = dup(STDERR_FILENO), fd = catch_open(path), null = open("/dev/null", O_WRONLY);
    Log *l = open_log(folder, null, 1, 0);
    run_steps(l, 1, 3);
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 600; /* in the middle of a row */
    signal(SIGXFSZ, SIG_IGN);
    dup2(fd, STDERR_FILENO);
    setrlimit(RLIMIT_FSIZE, &small);
    run_steps(l, 4, 9);
    setrlimit(RLIMIT_FSIZE, &before);
    dup2(kept, STDERR_FILENO);
    run_steps(l, 10, 10);
    log_sync(l);
    log_close(l);
    close(fd);
    close(kept);
    close(null);
    char *said = catch_read(path), *text = read_rows();
    char *first = strstr(
        said,
        "metrics.jsonl: cannot write it: File too large; rows are missing from here on, training goes on\n");
    assert_non_null(first);
    assert_null(strstr(first + 1, "metrics.jsonl"));
    assert_non_null(strstr(text, "{\"step\": 10,"));
    assert_null(strstr(text, "{\"step\": 9,"));
    for (char *line = text; *line; line = strchr(line, '\n') + 1) {
        assert_true(starts(line, "{\"step\": "));
        assert_int_equal(strchr(line, '\n')[-1], '}');
    }
    mem_free(said);
}

/* A reader of our console that goes away does not end the run. */
static void test_closed_pipe(void **state) {
    (void)state;
    int end[2];
    assert_int_equal(pipe(end), 0);
    close(end[0]);
    signal(SIGPIPE, SIG_IGN);
    Log *l = open_log(folder, end[1], 1, 0);
    run_steps(l, 1, 3);
    log_line(l, "nobody hears this");
    log_close(l);
    close(end[1]);
    check_rows((int64_t[]){1, 2, 3}, 3);
}

static void test_no_allocation(void **state) {
    (void)state;
    int master, slave;
    struct winsize window = {.ws_col = 120, .ws_row = 25};
    assert_int_equal(openpty(&master, &slave, NULL, NULL, &window), 0);
    Metric top1 = {.name = "top1", .value = 1.0 / 3};
    Log *l = open_log(folder, slave, 1, 0);
    run_steps(l, 1, 1);
    long before = allocations;
    uint64_t calls = mem_stat().calls;
    run_steps(l, 2, 9);
    log_eval(l, 9, 1.8, "test", &top1, 1);
    log_line(l, "%s %f", "a line", 0.1);
    log_image(l, 9, "picture", "PNG", 3, 1, 1);
    log_restart_clock(l);
    log_sync(l);
    assert_int_equal(allocations, before);
    assert_int_equal(mem_stat().calls, calls);
    log_close(l);
    close(slave);
    close(master);
}

/* What a step costs counts; what log_restart_clock leaves out does not. */
static void test_rate(void **state) {
    (void)state;
    Error e;
    Log *l = open_log(folder, -1, 2, 0);
    const struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};
    run_steps(l, 1, 1);
    for (int i = 2; i <= 4; i++) {
        nanosleep(&pause, NULL);
        run_steps(l, i, i);
        nanosleep(&pause, NULL);
        log_restart_clock(l);
    }
    log_close(l);
    char *text = read_rows(), *row = strstr(text, "{\"step\": 4");
    JsonFile *f;
    double rate;
    assert_non_null(row);
    assert_true(json_open(&f, "row", row, strlen(row), &e));
    assert_true(json_number(json_get(json_root(f), "images_per_second"), 0, INFINITY, &rate, &e));
    assert_true(rate > 32 / 0.1 &&
                rate < 32 / 0.0499); /* 32 images in 50 ms, on a machine that may be busy */
    json_close(f);
}

static void *warn_often(void *l) {
    for (int i = 0; i < 200; i++) log_line(l, "line of a thread");
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    char path[64];
    int fd = catch_open(path);
    pthread_t thread[4];
    Log *l = open_log(NULL, fd, 1, 0);
    for (int i = 0; i < 4; i++) pthread_create(&thread[i], NULL, warn_often, l);
    run_steps(l, 1, 9);
    for (int i = 0; i < 4; i++) pthread_join(thread[i], NULL);
    log_close(l);
    close(fd);
    char *text = catch_read(path);
    int lines = 0;
    for (char *line = text; *line; line = strchr(line, '\n') + 1, lines++)
        assert_true(starts(line, "line of a thread\n") || starts(line, "epoch "));
    assert_int_equal(lines, 809);
    mem_free(text);
}

static void test_progress(void **state) {
    (void)state;
    char text[400], time_text[32];
    static const struct {
        double seconds;
        const char *text;
    } row[] = {
        {0, "0:00"},    {7.4, "0:07"},     {59.6, "1:00"},
        {754, "12:34"}, {3723, "1:02:03"}, {183845, "2d 03:04:05"},
        {-1, "?"},      {NAN, "?"},        {INFINITY, "?"},
    };
    for (int i = 0; i < COUNT(row); i++) {
        progress_time(time_text, row[i].seconds);
        assert_string_equal(time_text, row[i].text);
    }
    Progress p = {.step = 120,
                  .steps = 480,
                  .epoch = 1.5,
                  .epochs = 6,
                  .loss = 0.412,
                  .lr = 1.5e-4,
                  .rate = 812,
                  .left = 3723};
    progress_line(text, sizeof text, &p);
    assert_string_equal(text,
                        "epoch 1.50/6  step 120/480  loss 0.4120  lr 1.50e-04  812 images/s  ETA 1:02:03");
    progress_bar(text, sizeof text, 102, &p);
    assert_string_equal(text, "[#####>              ] epoch 1.50/6  step 120/480  loss 0.4120  lr 1.50e-04  "
                              "812 images/s  ETA 1:02:03");
    progress_bar(text, sizeof text, 79, &p);
    assert_string_equal(text,
                        "[#####>               ] 1.50/6  120/480  loss 0.412  lr 1.5e-04  812/s  1:02:03");
    progress_bar(text, sizeof text, 20, &p);
    assert_string_equal(text, "1.50/6  120/480  los");
    for (int width = 0; width < 200; width++) {
        progress_bar(text, sizeof text, width, &p);
        assert_true((int)strlen(text) <= width);
    }
    p = (Progress){.step = 3, .loss = NAN, .lr = 0, .left = -1};
    progress_line(text, sizeof text, &p);
    assert_string_equal(text, "epoch 0.00  step 3  loss nan  lr 0.00e+00");
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_rows),
        IN_FOLDER(test_interval),
        IN_FOLDER(test_resume),
        IN_FOLDER(test_full_disk),
        IN_FOLDER(test_closed_pipe),
        IN_FOLDER(test_no_allocation),
        IN_FOLDER(test_rate),
        cmocka_unit_test(test_open_errors),
        cmocka_unit_test(test_pipe),
        cmocka_unit_test(test_terminal),
        cmocka_unit_test(test_warn),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_progress),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
