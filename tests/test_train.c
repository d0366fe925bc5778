/* The training loop on a small MAE: it calls no allocator once it runs, stops at the first value that is not
 * finite and says where, learns one batch by heart, and accumulates gradients exactly. */
#include "mim/mae.h"
#include "tests/train_run.h"

#include <stdatomic.h>

/* ---- malloc, counted by who calls it: this program (all of Lethe is linked in), or a library ---- */

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern char __executable_start, etext;
static atomic_long from_lethe, from_libraries;

#if !defined(__SANITIZE_ADDRESS__)
static void count(const void *caller) {
    bool ours = (const char *)caller >= &__executable_start && (const char *)caller < &etext;
    atomic_fetch_add(ours ? &from_lethe : &from_libraries, 1);
}

void *malloc(size_t n) {
    count(__builtin_return_address(0));
    return __libc_malloc(n);
}
void *calloc(size_t n, size_t each) {
    count(__builtin_return_address(0));
    return __libc_calloc(n, each);
}
void *realloc(void *p, size_t n) {
    count(__builtin_return_address(0));
    return __libc_realloc(p, n);
}
void *aligned_alloc(size_t align, size_t n) {
    count(__builtin_return_address(0));
    return __libc_memalign(align, n);
}
#endif

/* ---- a trainer on images of noise ---- */

enum { SIDE = 32, IMAGES = 8 };

typedef struct Fixture {
    float pixel[IMAGES * 3 * SIDE * SIDE];
    int64_t id[IMAGES];
    int batch; /* images a batch: batch k has images k * batch .. */
    Batch view;
    Source source;
    TrainRun run;
} Fixture;

static bool get(void *self, int64_t step, const Batch **out, Error *e) {
    (void)e;
    Fixture *f = self;
    int first = (int)(step % (IMAGES / f->batch)) * f->batch;
    f->view = (Batch){
        .n = f->batch,
        .id = f->id + first,
        .image = {.data = f->pixel + first * 3 * SIDE * SIDE, .ndim = 4, .dim = {f->batch, 3, SIDE, SIDE}}};
    *out = &f->view;
    return true;
}

static Fixture *fixture_open(int batch, const char *more, char *const *set, int sets) {
    Fixture *f = mem_zero(1, sizeof *f);
    char text[600];
    snprintf(
        text, sizeof text,
        "{\"model\":{\"image_size\":32,\"patch\":8,\"dim\":32,\"depth\":2,\"heads\":2,\"decoder_dim\":32,"
        "\"decoder_depth\":1,\"decoder_heads\":2},\"optim\":{\"lr\":0.003},\"train\":{\"batch\":%d,"
        "\"epochs\":1000%s}}",
        batch, more);
    Rng r = rng_open(3, RNG_TEST, 0, 0);
    for (int i = 0; i < COUNT(f->pixel); i++) f->pixel[i] = (float)rng_normal(&r);
    for (int i = 0; i < IMAGES; i++) f->id[i] = i;
    f->batch = batch;
    f->source = (Source){.self = f, .samples = IMAGES, .steps_per_epoch = IMAGES / batch, .get = get};
    train_run_open(&f->run, &mae_class, text, set, sets, &f->source);
    return f;
}

static void fixture_close(Fixture *f) {
    train_run_close(&f->run);
    mem_free(f);
}

static TrainResult update(Fixture *f, int64_t i) {
    return train_run_update(&f->run, i);
}

/* ---- tests ---- */

static void no_allocation(void **state) {
    (void)state;
    for (int dtype = 0; dtype < 2; dtype++) {
        char *const set[] = {dtype ? "dtype=bf16" : "dtype=f32"};
        Fixture *f = fixture_open(4, "", set, 1);
        for (int i = 0; i < 2; i++) update(f, i);
        size_t peak = step_peak(f->run.trainer.step);
        uint64_t calls = mem_stat().calls;
        from_lethe = from_libraries = 0;
        for (int i = 2; i < 12; i++) update(f, i);
        long lethe = from_lethe, libraries = from_libraries;
        print_message("ten updates in %s: %ld allocations by Lethe, %ld inside oneDNN\n", set[0] + 6, lethe,
                      libraries);
        assert_int_equal(mem_stat().calls, calls);
        assert_int_equal(lethe, 0);
        assert_int_equal(step_peak(f->run.trainer.step), peak);
        fixture_close(f);
    }
}

static void not_finite_is_named(void **state) {
    (void)state;
    Fixture *f = fixture_open(4, "", NULL, 0);
    Error e = {0};
    TrainResult r;
    update(f, 0);
    Tensor *w = &params_find(&f->run.task.params, "blocks.1.mlp.fc1.weight")->tensor;
    Tensor *other = &params_find(&f->run.task.params, "blocks.0.norm1.weight")->tensor;
    float before = tensor_real(other)[0];
    tensor_real(w)[5] = NAN;
    assert_false(trainer_update(&f->run.trainer, 1, &r, &e));
    assert_int_equal(e.code, ERROR_NUMERIC);
    assert_non_null(strstr(e.text, "update 2"));
    assert_non_null(strstr(e.text, "blocks.1.mlp.fc1.weight"));
    assert_true(tensor_real(other)[0] == before); /* the update was not made */
    fixture_close(f);
}

/* Two images under one mask each: fewer hidden patches than the decoder is wide, so all can be learnt. */
static void learns_by_heart(void **state) {
    (void)state;
    Fixture *f = fixture_open(2, "", NULL, 0);
    double first = update(f, 0).loss, last = 0;
    for (int i = 1; i < 400; i++)
        last = update(f, i * (IMAGES / 2)).loss; /* the first batch again and again */
    print_message("loss %.3f, then %.5f\n", first, last);
    assert_true(last < 0.01 * first);
    fixture_close(f);
}

/* Two batches of four, accumulated, are one batch of eight. */
static void accumulates(void **state) {
    (void)state;
    Fixture *whole = fixture_open(8, "", NULL, 0), *parts = fixture_open(4, ",\"accumulate\":2", NULL, 0);
    TrainResult a = update(whole, 0), b = update(parts, 0);
    assert_true(fabs(a.loss - b.loss) <= 1e-6 * fabs(a.loss));
    for (int i = 0; i < whole->run.task.params.count; i++) {
        const Tensor *x = whole->run.task.params.list[i]->tensor.grad,
                     *y = parts->run.task.params.list[i]->tensor.grad;
        if (x && golden_distance(y, x) > 1e-5) fail_msg("gradient of %s: %g", x->name, golden_distance(y, x));
    }
    fixture_close(whole);
    fixture_close(parts);
}

static void clips(void **state) {
    (void)state;
    char *const set[] = {"optim.clip=0.001", "optim.name=sgd", "optim.momentum=0", "optim.weight_decay=0",
                         "optim.lr=1"};
    Fixture *f = fixture_open(4, "", set, COUNT(set));
    Params *p = &f->run.task.params;
    float *before = mem_get((size_t)p->values * sizeof *before);
    memcpy(before, p->value, (size_t)p->values * sizeof *before);
    double moved = 0, norm = update(f, 0).grad_norm;
    for (int64_t i = 0; i < p->values; i++) moved += pow((double)p->value[i] - (double)before[i], 2);
    mem_free(before);
    assert_true(norm > 0.01);
    assert_true(fabs(sqrt(moved) - 0.001) < 2e-5); /* lr 1: the step is the clipped gradient */
    fixture_close(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_allocation),   cmocka_unit_test(not_finite_is_named),
        cmocka_unit_test(learns_by_heart), cmocka_unit_test(accumulates),
        cmocka_unit_test(clips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
