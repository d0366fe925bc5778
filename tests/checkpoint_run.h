/* checkpoint_run: a small run to save, load and damage; for the tests of checkpoints. Each test includes it
 * after tests/faults/faults.c. Its weights are a function of the step alone, so any checkpoint can be judged.
 */
#ifndef LETHE_CHECKPOINT_RUN_H
#define LETHE_CHECKPOINT_RUN_H

#include "core/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RUN_SAMPLES = 200, RUN_MODEL = 3, RUN_OPTIM = 2 };

typedef struct Run {
    float weight[6 * 5], bias[6], m[6 * 5], v[6 * 5], ema[6 * 5];
    bf16 half[7];
    Tensor t_weight, t_bias, t_half, t_m, t_v, t_ema;
    NamedTensor model[RUN_MODEL], optim[RUN_OPTIM], average[1];
    CheckpointState state;
} Run;

static const char run_recipe[] = "{\n  \"task\": \"mae\",\n  \"seed\": 17\n}\n";

static inline float run_value(int64_t step, int k) {
    return (float)(step * 1000 + k) / 7;
}

static inline void run_fill(Run *r, int64_t step) {
    for (int k = 0; k < 30; k++) {
        r->weight[k] = run_value(step, k);
        r->m[k] = run_value(step, k + 100);
        r->v[k] = run_value(step, k + 200);
        r->ema[k] = run_value(step, k + 300);
    }
    for (int k = 0; k < 6; k++) r->bias[k] = run_value(step, k + 400);
    for (int k = 0; k < 7; k++) r->half[k] = bf16_from_f32(run_value(step, k + 500));
    r->state.step = step;
    r->state.epoch = step / 10;
}

static inline void run_init(Run *r, int64_t step) {
    memset(r, 0, sizeof *r);
    r->t_weight = (Tensor){r->weight, {6, 5}, 2, .dtype = DT_F32};
    r->t_bias = (Tensor){r->bias, {6}, 1, .dtype = DT_F32};
    r->t_half = (Tensor){r->half, {7}, 1, .dtype = DT_BF16};
    r->t_m = (Tensor){r->m, {6, 5}, 2, .dtype = DT_F32};
    r->t_v = (Tensor){r->v, {6, 5}, 2, .dtype = DT_F32};
    r->t_ema = (Tensor){r->ema, {6, 5}, 2, .dtype = DT_F32};
    r->model[0] = (NamedTensor){"head.weight", &r->t_weight};
    r->model[1] = (NamedTensor){"head.bias", &r->t_bias};
    r->model[2] = (NamedTensor){"half", &r->t_half};
    r->optim[0] = (NamedTensor){"m.head.weight", &r->t_m};
    r->optim[1] = (NamedTensor){"v.head.weight", &r->t_v};
    r->average[0] = (NamedTensor){"head.weight", &r->t_ema};
    r->state = (CheckpointState){.seed = 17, .best_name = "loss", .best_step = -1};
    r->state.scalar_count = 2;
    r->state.scalar[0] = (CheckpointScalar){"adam.steps", 123456789};
    r->state.scalar[1] = (CheckpointScalar){"lr", 0.1 + 0.2};
    run_fill(r, step);
}

/* Is every tensor what `step` makes it? */
static inline bool run_is(const Run *r, int64_t step) {
    Run due;
    run_init(&due, step);
    return memcmp(r->weight, due.weight, sizeof due.weight) == 0 &&
           memcmp(r->bias, due.bias, sizeof due.bias) == 0 &&
           memcmp(r->half, due.half, sizeof due.half) == 0 && memcmp(r->m, due.m, sizeof due.m) == 0 &&
           memcmp(r->v, due.v, sizeof due.v) == 0 && memcmp(r->ema, due.ema, sizeof due.ema) == 0;
}

static inline bool run_describe(void *self, int64_t i, char *line, size_t size, Error *e) {
    (void)e;
    snprintf(line, size,
             "{\"id\": %" PRId64 ", \"path\": \"%s/%03" PRId64 ".jpg\", \"identity\": %" PRId64 "}", i,
             self ? (const char *)self : "data", i, i / 10);
    return true;
}

static inline CheckpointSettings run_settings(const char *folder, bool resume, int keep) {
    return (CheckpointSettings){.run = folder,
                                .recipe = run_recipe,
                                .resume = resume,
                                .keep = keep,
                                .describe = run_describe,
                                .samples = RUN_SAMPLES};
}

static inline CheckpointContents run_contents(Run *r, bool best) {
    CheckpointContents c = {.state = &r->state, .best = best};
    c.part[CHECKPOINT_MODEL] = (NamedTensors){r->model, RUN_MODEL};
    c.part[CHECKPOINT_OPTIMIZER] = (NamedTensors){r->optim, RUN_OPTIM};
    c.part[CHECKPOINT_EMA] = (NamedTensors){r->average, 1};
    return c;
}

static inline bool run_save(CheckpointStore *s, int64_t step, bool best, CheckpointSaved *saved, Error *e) {
    Run r;
    run_init(&r, step);
    CheckpointContents c = run_contents(&r, best);
    return checkpoint_store_save(s, &c, saved, e);
}

/* Opens, reads all, and returns the step that was found and is right in every bit; -1: none could be opened;
 * -2: it is wrong. */
static inline int64_t run_load(const char *path, char note[CHECKPOINT_NOTE], Error *e) {
    Checkpoint *c;
    Run r;
    run_init(&r, 999);
    CheckpointWant want[] = {{CHECKPOINT_MODEL, {r.model, RUN_MODEL}, true},
                             {CHECKPOINT_OPTIMIZER, {r.optim, RUN_OPTIM}, true},
                             {CHECKPOINT_EMA, {r.average, 1}, true}};
    if (!checkpoint_open(&c, path, note, e)) return -1;
    int64_t step = checkpoint_state(c)->step;
    bool ok = checkpoint_read(c, want, COUNT(want), e) && run_is(&r, step);
    ok = ok && strcmp(checkpoint_recipe(c), run_recipe) == 0 && checkpoint_state(c)->seed == 17;
    checkpoint_close(c);
    return ok ? step : -2;
}

static inline const char *run_path(const char *folder, const char *name) {
    static char path[4][FILE_PATH];
    static int turn;
    Error e;
    char *p = path[turn++ % 4];
    assert_true(file_join(p, FILE_PATH, folder, name, &e));
    return p;
}

/* A new empty place for a run, in memory if there is such a place: thousands of fsyncs would take a minute on
 * a disk. run_clean removes it. */
static inline char *run_folder(void) {
    static char folder[64];
    snprintf(folder, sizeof folder, "%s/lethe_checkpoint_XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(folder));
    return folder;
}

static inline void run_clean(const char *folder) {
    Error e;
    assert_true(file_remove_tree(folder, &e));
}

static inline CheckpointStore *run_open(const char *folder, bool resume, int keep) {
    CheckpointSettings settings = run_settings(folder, resume, keep);
    CheckpointStore *s;
    Error e = {0};
    if (!checkpoint_store_open(&s, &settings, &e)) fail_msg("%s", e.text);
    return s;
}

/* A saving that must succeed. */
static inline void run_must_save(CheckpointStore *s, int64_t step, bool best) {
    CheckpointSaved saved;
    Error e = {0};
    if (!run_save(s, step, best, &saved, &e)) fail_msg("%s", e.text);
    assert_string_equal(saved.note, "");
}

/* "10 20 30": the steps that stand in a run. */
static inline const char *run_steps(const char *folder) {
    static char text[200];
    size_t used = 0;
    text[0] = '\0';
    for (int64_t step = 0; step <= 1000; step++) {
        char name[64];
        snprintf(name, sizeof name, "checkpoints/%" PRId64, step);
        if (file_kind_link(run_path(folder, name)) == FILE_FOLDER)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%" PRId64, used ? " " : "", step);
    }
    return text;
}

/* Changes one bit of a file, in place. */
static inline void run_flip(const char *path, size_t bit) {
    uint8_t byte;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)(bit / 8)), 1);
    byte ^= (uint8_t)(1 << bit % 8);
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)(bit / 8)), 1);
    close(fd);
}

static inline size_t run_size(const char *path) {
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return (size_t)info.st_size;
}

#endif
