/* Every op, every probe: the CPU kernels against the reference, in f32 and in bf16; that forward and backward
 * write all they must and no more; and that the number of threads changes no bit. In a build with CUDA the
 * CUDA kernels too, on larger calls as well: there steps must have memory that the host can read.
 * One tolerance a dtype: relative distances, Euclidean norm over a tensor. */
#include "tests/probe.h"

#include "core/device.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static const double F32_LIMIT = 1e-5, BF16_LIMIT = 2e-2;

typedef enum {
    GRAD_NEW,   /* backward makes the gradients */
    GRAD_DIRTY, /* memory is given that holds NaN and is called fresh, as for parameters */
    GRAD_KEPT,  /* gradients already hold values: backward adds */
} GradStart;

typedef struct Way {
    Backend backend;
    DType compute;
    unsigned rounded; /* inputs whose values are made fit for bf16 */
    bool stored;      /* and stored so */
    bool no_tape;
    GradStart start;
} Way;

typedef struct Values {
    int64_t n;
    float *v;
} Values;

/* What a call left behind, as floats. in: the inputs after the call, for ops that keep statistics there. */
typedef struct Result {
    Values out[OP_OUT], grad[OP_IN], in[OP_IN];
} Result;

static Values values_of(const Tensor *t) {
    Values x = {0};
    if (!t || t->dtype == DT_U8) return x;
    x.n = tensor_count(t);
    x.v = malloc((size_t)x.n * sizeof *x.v);
    for (int64_t i = 0; i < x.n; i++) x.v[i] = t->dtype == DT_I32 ? (float)tensor_i32(t)[i] : tensor_at(t, i);
    return x;
}

static void result_free(Result *r) {
    for (int k = 0; k < OP_OUT; k++) free(r->out[k].v);
    for (int k = 0; k < OP_IN; k++) free(r->grad[k].v), free(r->in[k].v);
}

/* |a - b| / |b|; a floor of 0.01 a value keeps rounding noise around an exact 0 from counting. NaN if any is.
 */
static double distance(Values a, Values b) {
    double diff = 0, norm = 0;
    if (a.n != b.n) return NAN;
    for (int64_t i = 0; i < a.n; i++) {
        double d = (double)a.v[i] - (double)b.v[i];
        diff += d * d;
        norm += (double)b.v[i] * (double)b.v[i];
    }
    double floor = 1e-2 * sqrt((double)a.n);
    norm = sqrt(norm);
    return a.n ? sqrt(diff) / (norm > floor ? norm : floor) : 0;
}

/* What grad is prefilled with for GRAD_KEPT: values of the size of the gradient itself. */
static float kept_size(Values grad) {
    double sum = 0;
    for (int64_t j = 0; j < grad.n; j++) sum += (double)grad.v[j] * (double)grad.v[j];
    return (float)sqrt(sum / (double)grad.n);
}
static float kept_value(float size, int64_t i) {
    return bf16_to_f32(bf16_from_f32(size * (i % 2 ? 0.75f : -0.5f)));
}

/* All memory that a step can hand out from now on holds NaN in any float format. */
static void step_soil(Step *s) {
    int64_t n = 4 << 20;
    Scope scope = scope_open(s);
    memset(step_tensor(s, DT_U8, 1, &n)->data, 0xFF, (size_t)n);
    scope_close(s, scope, NULL);
}

/* Waits until the host may read and write what kernels work on. */
static void finish(const Way *w) {
#ifdef LETHE_CUDA
    if (w->backend == BACKEND_CUDA) device_wait();
#else
    (void)w;
#endif
}

static void inputs_round(Step *s, OpCall *c, const Way *w) {
    for (int k = 0; k < OP_IN; k++) {
        Tensor *t = c->in[k];
        if (!t || t->dtype != DT_F32 || !(w->rounded & NEED_IN(k))) continue;
        for (int64_t i = 0; i < tensor_count(t); i++)
            tensor_real(t)[i] = bf16_to_f32(bf16_from_f32(tensor_real(t)[i]));
        if (!w->stored) continue;
        c->in[k] = step_tensor(s, DT_BF16, t->ndim, t->dim);
        c->in[k]->name = t->name;
        if (t->needs_grad) step_want_grad(c->in[k]);
        for (int64_t i = 0; i < tensor_count(t); i++) tensor_put(c->in[k], i, tensor_real(t)[i]);
    }
}

static void grads_prepare(Step *s, const OpCall *c, const Way *w, const Result *base) {
    for (int k = 0; k < OP_IN; k++) {
        Tensor *t = c->in[k];
        if (!t || !t->needs_grad || w->start == GRAD_NEW) continue;
        Tensor *g = step_grad_of(s, t, NULL);
        finish(w);
        if (w->start == GRAD_DIRTY) {
            memset(g->data, 0xFF, tensor_bytes(g));
            t->grad_fresh = true;
        }
        float size = w->start == GRAD_KEPT ? kept_size(base->grad[k]) : 0;
        for (int64_t i = 0; w->start == GRAD_KEPT && i < tensor_count(g); i++)
            tensor_put(g, i, kept_value(size, i));
    }
}

static Result run(Step *s, const Op *op, const Probe *p, const Way *w, const Result *base) {
    s->compute = w->compute;
    s->backend = w->backend;
    step_begin(s);
    step_soil(s);
    Rng r = rng_open(1, RNG_TEST, 1, 0);
    OpCall c = probe_open(s, p, &r);
    inputs_round(s, &c, w);
    Tensor *in[OP_IN];
    memcpy(in, c.in, sizeof in);
    Result result = {0};
    bool was = s->recording;
    s->recording = !w->no_tape;
    op_run(s, op, &c);
    s->recording = was;
    finish(w);
    for (int k = 0; k < OP_OUT; k++) result.out[k] = values_of(c.out[k]);
    for (int k = 0; k < OP_IN; k++) result.in[k] = values_of(in[k]);
    if (!c.record) return result;
    Tensor *dy = step_grad_of(s, c.out[0], NULL);
    finish(w);
    for (int64_t i = 0; i < tensor_count(dy); i++)
        tensor_put(dy, i, bf16_to_f32(bf16_from_f32((float)rng_range(&r, -1, 1))));
    grads_prepare(s, &c, w, base);
    tape_backward_seeded(s);
    finish(w);
    for (int k = 0; k < OP_IN; k++) {
        if (!in[k] || !in[k]->needs_grad) continue;
        result.grad[k] = values_of(in[k]->grad);
        float size = w->start == GRAD_KEPT ? kept_size(base->grad[k]) : 0;
        for (int64_t i = 0; w->start == GRAD_KEPT && i < result.grad[k].n; i++)
            result.grad[k].v[i] -= kept_value(size, i);
    }
    return result;
}

static int compare(const Op *op, const Probe *p, const char *what, const Result *a, const Result *b,
                   double limit) {
    int bad = 0;
    for (int k = 0; k < OP_OUT + 2 * OP_IN; k++) {
        int which = k < OP_OUT ? k : (k - OP_OUT) % OP_IN;
        bool out = k < OP_OUT, grad = !out && k < OP_OUT + OP_IN;
        double d = out    ? distance(a->out[which], b->out[which])
                   : grad ? distance(a->grad[which], b->grad[which])
                          : distance(a->in[which], b->in[which]);
        if (d <= limit) continue;
        printf("%s, %s, %s: %s %d is off by %.3g\n", op->name, p->about, what,
               out    ? "output"
               : grad ? "gradient of input"
                      : "input after the call",
               which, d);
        bad = 1;
    }
    return bad;
}

static int probe_check(Step *s, const Op *op, const Probe *p) {
    int bad = 0;
    Result base = run(s, op, p, &(Way){.backend = BACKEND_REF}, NULL);
    const struct {
        const char *about;
        Way way;
        double limit;
    } f32[] = {
        {"reference again", {.backend = BACKEND_REF}, 0},
        {"reference, dirty gradients", {.backend = BACKEND_REF, .start = GRAD_DIRTY}, 0},
        {"reference, added", {.backend = BACKEND_REF, .start = GRAD_KEPT}, F32_LIMIT},
        {"cpu", {.backend = BACKEND_CPU}, F32_LIMIT},
        {"cpu, dirty gradients", {.backend = BACKEND_CPU, .start = GRAD_DIRTY}, F32_LIMIT},
        {"cpu, added", {.backend = BACKEND_CPU, .start = GRAD_KEPT}, F32_LIMIT},
    };
    for (int i = 0; i < COUNT(f32); i++) {
        Result r = run(s, op, p, &f32[i].way, &base);
        bad |= compare(op, p, f32[i].about, &r, &base, f32[i].limit);
        result_free(&r);
    }
    Result taped = run(s, op, p, &(Way){.backend = BACKEND_CPU}, NULL);
    Result free_run = run(s, op, p, &(Way){.backend = BACKEND_CPU, .no_tape = true}, NULL);
    for (int k = 0; k < OP_IN; k++) free(taped.grad[k].v), taped.grad[k] = (Values){0};
    bad |= compare(op, p, "cpu without a tape", &free_run, &taped, 0);
    result_free(&free_run);
    result_free(&taped);
    result_free(&base);
    return bad;
}

/* Twice: what a kernel leaves to chance differs. A sanitizer looks at each access, for which once will do,
 * and takes its time. */
static int compare_twice(Step *s, const Op *op, const Probe *p, const Way *w, const char *about,
                         const Result *base, double limit) {
    Result r = run(s, op, p, w, base);
    int bad = compare(op, p, about, &r, base, limit);
#ifndef __SANITIZE_ADDRESS__
    Result again = run(s, op, p, w, base);
    bad |= compare(op, p, w->backend == BACKEND_CUDA ? "cuda again" : "cpu again", &again, &r, 0);
    result_free(&again);
#endif
    result_free(&r);
    return bad;
}

static int probe_check_bf16(Step *host, Step *s, const Op *op, const Probe *p, Backend backend) {
    int bad = 0;
    Way ref = {.backend = BACKEND_REF, .rounded = NEED_IN(0) | op->bf16_with};
    Result base = run(host, op, p, &ref, NULL);
    const char *const about[] = {"bf16", "bf16, dirty gradients", "bf16, added"};
    for (GradStart start = GRAD_NEW; start <= GRAD_KEPT; start++) {
        Way w = {backend, DT_BF16, ref.rounded, .stored = true, .start = start};
        bad |= compare_twice(s, op, p, &w, about[start], &base, BF16_LIMIT);
    }
    result_free(&base);
    return bad;
}

static Step *open_step(Backend backend) {
    Error e;
    Step *s = step_create(DT_F32, backend, (size_t)1 << 28, &e);
    if (!s) fail_msg("%s", e.text);
    return s;
}

static void cpu_like_reference(void **state) {
    (void)state;
    Step *s = open_step(BACKEND_CPU);
    int bad = 0;
    for (int o = 0; op_rows[o]; o++)
        for (int p = 0; p < op_rows[o]->probes; p++) bad += probe_check(s, op_rows[o], &op_rows[o]->probe[p]);
    step_free(s);
    assert_int_equal(bad, 0);
}

static void cpu_bf16_like_reference(void **state) {
    (void)state;
    Step *s = open_step(BACKEND_CPU);
    int bad = 0;
    for (int o = 0; op_rows[o]; o++)
        for (int p = 0; p < op_rows[o]->probes && op_rows[o]->bf16; p++)
            bad += probe_check_bf16(s, s, op_rows[o], &op_rows[o]->probe[p], BACKEND_CPU);
    step_free(s);
    assert_int_equal(bad, 0);
}

static void every_op_is_whole(void **state) {
    (void)state;
    for (int o = 0; op_rows[o]; o++) {
        const Op *op = op_rows[o];
        if (op->probes < 1) fail_msg("%s has no probe", op->name);
        for (int p = 0; p < o; p++) assert_string_not_equal(op->name, op_rows[p]->name);
    }
    assert_true(op_print_kernels());
}

/* ---- threads: this program again, with --digest, under different OMP_NUM_THREADS ---- */

/* Calls large enough that threads share them and that products are cut along their sums. */
static const struct {
    const Op *op;
    Probe probe;
} large[] = {
    {.op = &linear_row,
     .probe = {.about = "large", .in = {{3, {8, 50, 96}}, {2, {192, 96}}, {1, {192}}}, .i = {ACT_GELU}}},
    {.op = &linear_row,
     .probe = {.about = "few outputs, many rows", .in = {{2, {3000, 40}}, {2, {24, 40}}, {1, {24}}}}},
    {.op = &linear_row, .probe = {.about = "one row", .in = {{2, {1, 2000}}, {2, {10, 2000}}, {1, {10}}}}},
    {.op = &layernorm_row,
     .probe = {.about = "large", .in = {{3, {8, 50, 96}}, {1, {96}}, {1, {96}}}, .f = {1e-6}}},
    {.op = &attention_row, .probe = {.about = "large", .in = {{3, {4, 130, 288}}}, .i = {3, 0}}},
    {.op = &rel_attention_row,
     .probe = {.about = "large", .in = {{3, {2, 300, 144}}, {2, {29, 24}}, {2, {39, 24}}}, .i = {2, 15, 20}}},
    {.op = &conv2d_row,
     .probe = {.about = "large",
               .in = {{4, {4, 32, 28, 28}}, {4, {48, 32, 3, 3}}, {1, {48}}},
               .i = {1, 1, 1}}},
    {.op = &conv2d_row,
     .probe = {.about = "1 x 1",
               .in = {{4, {4, 64, 28, 28}}, {4, {32, 64, 1, 1}}, {1, {32}}},
               .i = {1, 0, 1}}},
    {.op = &conv2d_row,
     .probe = {.about = "depthwise",
               .in = {{4, {4, 64, 28, 28}}, {4, {64, 1, 7, 7}}, {1, {64}}},
               .i = {1, 3, 64}}},
    {.op = &conv2d_row,
     .probe = {.about = "one sample",
               .in = {{4, {1, 64, 14, 14}}, {4, {8, 64, 3, 3}}, {1, {8}}},
               .i = {2, 1, 1}}},
    {.op = &conv_transpose2d_row,
     .probe = {.about = "large",
               .in = {{4, {2, 48, 14, 14}}, {4, {48, 24, 2, 2}}, {1, {24}}},
               .i = {2, 0, 1, 0}}},
    {.op = &group_norm_row,
     .probe = {.about = "large", .in = {{4, {2, 64, 28, 28}}, {1, {64}}, {1, {64}}}, .f = {1e-6}, .i = {8}}},
    {.op = &layernorm2d_row,
     .probe = {.about = "large", .in = {{4, {2, 64, 28, 28}}, {1, {64}}, {1, {64}}}, .f = {1e-6}}},
    {.op = &batch_norm_row,
     .probe = {.about = "large",
               .in = {{4, {4, 64, 28, 28}}, {1, {64}}, {1, {64}}},
               .f = {1e-6, 0.1},
               .i = {true}}},
    {.op = &point_loss_row,
     .probe = {.about = "large",
               .in = {{2, {400, 300}}, {2, {400, 300}, 0, 1, .constant = true}},
               .i = {LOSS_BCE}}},
    {.op = &reduce_row, .probe = {.about = "large", .in = {{2, {400, 300}}}, .i = {0, 2, REDUCE_MEAN}}},
    {.op = &arith_row, .probe = {.about = "large", .in = {{2, {400, 300}}, {1, {300}}}, .i = {ARITH_MUL}}},
    {.op = &add_row, .probe = {.about = "large", .in = {{3, {8, 50, 96}}, {3, {1, 50, 96}}}}},
    {.op = &add_row, .probe = {.about = "many rows", .in = {{2, {5000, 24}}, {1, {24}}}}},
    {.op = &add_row, .probe = {.about = "same shape", .in = {{2, {300, 40}}, {2, {300, 40}}}}},
    {.op = &arith_row, .probe = {.about = "one number", .in = {{2, {300, 40}}, {1, {1}}}, .i = {ARITH_MUL}}},
    {.op = &arith_row,
     .probe = {.about = "table", .in = {{2, {30, 520}}, {1, {520}, 0.5, 2}}, .i = {ARITH_DIV}}},
    {.op = &layernorm_row,
     .probe = {.about = "many rows", .in = {{2, {5003, 16}}, {1, {16}}, {1, {16}}}, .f = {1e-6}}},
    {.op = &layernorm_row,
     .probe = {.about = "wide", .in = {{2, {9, 768}}, {1, {768}}, {1, {768}}}, .f = {1e-6}}},
    {.op = &layernorm_row,
     .probe = {.about = "wider", .in = {{2, {5, 1280}}, {1, {1280}}, {1, {1280}}}, .f = {1e-6}}},
    {.op = &layernorm_row,
     .probe = {.about = "too wide", .in = {{2, {5, 2056}}, {1, {2056}}, {1, {2056}}}, .f = {1e-6}}},
    {.op = &layernorm_row,
     .probe = {.about = "odd", .in = {{2, {2100, 33}}, {1, {33}}, {1, {33}}}, .f = {1e-6}}},
    {.op = &batch_norm_row,
     .probe =
         {.about = "features", .in = {{2, {2500, 24}}, {1, {24}}, {1, {24}}}, .f = {1e-6, 0.1}, .i = {true}}},
    {.op = &gather_row,
     .probe = {.about = "large",
               .in = {{3, {5, 40, 48}}, {2, {5, 70}, .below = 40, .least = -1}, {1, {48}}}}},
    {.op = &gather_row,
     .probe = {.about = "windows", .in = {{3, {2, 300, 40}}, {2, {2, 400}, .below = 300, .least = -1}}}},
    {.op = &gather_row,
     .probe = {.about = "few wide rows", .in = {{3, {1, 5, 3000}}, {2, {1, 40}, .below = 5}}}},
    {.op = &gather_row,
     .probe = {.about = "large table", .in = {{3, {1, 30, 24}}, {2, {37, 20}, .below = 30}}}},
    {.op = &patchify_row,
     .probe = {.about = "large",
               .in = {{4, {3, 3, 32, 48}}, {2, {3, 30}, .below = 24}},
               .i = {8, PATCH_CHANNEL_LAST}}},
    {.op = &mse_row,
     .probe = {.about = "large",
               .in = {{3, {8, 50, 96}},
                      {3, {8, 50, 96}, .constant = true},
                      {2, {8, 50}, 0, 1, .constant = true}}}},
    {.op = &xent_row,
     .probe = {.about = "large", .in = {{2, {60, 333}, -3, 3}, {1, {60}, .below = 333}}, .f = {0.1}}},
    {.op = &token_mean_row, .probe = {.about = "large", .in = {{3, {8, 50, 96}}}, .i = {1}}},
    {.op = &drop_path_row, .probe = {.about = "large", .in = {{3, {40, 5, 96}}}, .f = {0.3}, .i = {3}}},
    {.op = &scale_row, .probe = {.about = "large", .in = {{2, {300, 40}}}, .f = {0.5, 1}}},
    {.op = &reduce_row,
     .probe = {.about = "long", .in = {{3, {3, 5000, 8}, 0, 1}}, .i = {1, 1, REDUCE_MEAN}}},
    {.op = &fourier_row, .probe = {.about = "large", .in = {{3, {3, 20, 3}, 0, 1}, {2, {2, 128}, -3, 3}}}},
    {.op = &point_sample_row,
     .probe = {.about = "large", .in = {{4, {3, 2, 40, 30}}, {3, {3, 900, 2}, -0.1, 1.1, .constant = true}}}},
    {.op = &mask_loss_row,
     .probe = {.about = "large",
               .in = {{3, {3, 40, 50}, -8, 8}, {3, {3, 40, 50}, 0, 1, .constant = true}},
               .i = {MASK_DICE}}},
    {.op = &mask_loss_row,
     .probe = {.about = "long",
               .in = {{2, {2, 3000}, -8, 8}, {2, {2, 3000}, 0, 1, .constant = true}},
               .f = {0.25, 2},
               .i = {MASK_FOCAL}}},
    {.op = &mask_overlap_row, .probe = {.about = "large", .in = {{3, {3, 40, 50}}, {3, {3, 40, 50}, 0, 1}}}},
    {.op = &top_index_row, .probe = {.about = "large", .in = {{2, {3, 1500}}}, .i = {TOP_NEAR_ZERO, 600}}},
    {.op = &click_row,
     .probe = {.about = "large", .in = {{3, {3, 40, 50}}, {3, {3, 40, 50}, 0, 1}, {1, {3}, 0, 1}}}},
    {.op = &reduce_row, .probe = {.about = "longer", .in = {{2, {3, 9000}, 0, 1}}, .i = {1, 1, REDUCE_MEAN}}},
};

static uint64_t digest_add(uint64_t h, Values x) {
    const uint8_t *byte = (const uint8_t *)x.v;
    for (size_t i = 0; i < (size_t)x.n * sizeof *x.v; i++) h = (h ^ byte[i]) * 0x100000001B3u;
    return h;
}

static void digest_print(Step *s, const Op *op, const Probe *p, DType compute) {
    bool half = compute == DT_BF16;
    Way w = {BACKEND_CPU, compute, half ? NEED_IN(0) | op->bf16_with : 0, .stored = half};
    Result r = run(s, op, p, &w, NULL);
    uint64_t h = 0xCBF29CE484222325u;
    for (int k = 0; k < OP_OUT; k++) h = digest_add(h, r.out[k]);
    for (int k = 0; k < OP_IN; k++) h = digest_add(digest_add(h, r.grad[k]), r.in[k]);
    printf("%016llx %s, %s, %s\n", (unsigned long long)h, op->name, p->about, dtype_name(compute));
    result_free(&r);
}

static int digest_all(void) {
    Step *s = open_step(BACKEND_CPU);
    for (int half = 0; half < 2; half++) {
        DType compute = half ? DT_BF16 : DT_F32;
        for (int o = 0; op_rows[o]; o++)
            for (int p = 0; p < op_rows[o]->probes && (!half || op_rows[o]->bf16); p++)
                digest_print(s, op_rows[o], &op_rows[o]->probe[p], compute);
        for (int i = 0; i < COUNT(large); i++)
            if (!half || large[i].op->bf16) digest_print(s, large[i].op, &large[i].probe, compute);
    }
    step_free(s);
    return 0;
}

static void threads_change_nothing(void **state) {
    (void)state;
    char self[512], command[2][600], line[2][200];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = 0;
    const int threads[2] = {1, 2};
    FILE *from[2];
    for (int i = 0; i < 2; i++) {
        snprintf(command[i], sizeof command[i], "OMP_NUM_THREADS=%d OMP_DYNAMIC=false '%s' --digest",
                 threads[i], self);
        from[i] = popen(command[i], "r");
        assert_non_null(from[i]);
    }
    int lines = 0, bad = 0;
    while (fgets(line[0], sizeof line[0], from[0])) {
        if (!fgets(line[1], sizeof line[1], from[1])) break;
        lines++;
        if (strcmp(line[0], line[1]) == 0) continue;
        printf("1 thread %s2 threads %s", line[0], line[1]);
        bad++;
    }
    for (int i = 0; i < 2; i++) assert_int_equal(pclose(from[i]), 0);
    assert_true(lines > 50);
    assert_int_equal(bad, 0);
}

/* ---- CUDA ---- */

#ifdef LETHE_CUDA
static int probe_check_cuda(Step *host, Step *s, const Op *op, const Probe *p) {
    int bad = 0;
    Way ref = {.backend = BACKEND_REF}, cuda = {.backend = BACKEND_CUDA};
    Result base = run(host, op, p, &ref, NULL);
    const char *const about[] = {"cuda", "cuda, dirty gradients", "cuda, added"};
    for (cuda.start = GRAD_NEW; cuda.start <= GRAD_KEPT; cuda.start++)
        bad |= compare_twice(s, op, p, &cuda, about[cuda.start], &base, F32_LIMIT);
    result_free(&base);
    return bad + (op->bf16 ? probe_check_bf16(host, s, op, p, BACKEND_CUDA) : 0);
}

static Step *open_cuda(void) {
    char text[400];
    if (device_cuda_count() == 0) skip();
    setenv("LETHE_CUDA_MANAGED", "1", 1);
    if (!device_opened() && !device_open(0, true, text, sizeof text)) fail_msg("%s", text);
    return open_step(BACKEND_CUDA);
}

static void cuda_like_reference(void **state) {
    (void)state;
    Step *s = open_cuda(), *host = open_step(BACKEND_CPU);
    int bad = 0;
    for (int o = 0; op_rows[o]; o++)
        for (int p = 0; p < op_rows[o]->probes && op_rows[o]->forward[BACKEND_CUDA]; p++)
            bad += probe_check_cuda(host, s, op_rows[o], &op_rows[o]->probe[p]);
    for (int i = 0; i < COUNT(large); i++) /* large products take long on the fake GPU */
        if (large[i].op->forward[BACKEND_CUDA] && !large[i].op->flops)
            bad += probe_check_cuda(host, s, large[i].op, &large[i].probe);
    step_free(s);
    step_free(host);
    assert_int_equal(bad, 0);
}

/* Draws are keyed by sample ids and the step's number, which CUDA kernels read where the step says. */
static void cuda_draws_like_the_host(void **state) {
    (void)state;
    enum { BATCH = 8 };
    const Op *const op[] = {&drop_path_row, &dropout_row};
    int64_t words = 2 * (BATCH + 1), bad = 0;
    Step *s = open_cuda(), *keys = open_step(BACKEND_CUDA), *host = open_step(BACKEND_CPU);
    int64_t *id = step_tensor(keys, DT_I32, 1, &words)->data;
    for (int b = 0; b < BATCH; b++) id[b] = 1000003 * (b + 1);
    host->index = id[BATCH] = 77;
    s->seed = host->seed = 5;
    s->sample = host->sample = id;
    s->index_at = &id[BATCH];
    for (int o = 0; o < COUNT(op); o++) {
        Probe p = {.about = "keyed", .in = {{2, {BATCH, 33}}}, .f = {0.5}, .i = {3}};
        Result base = run(host, op[o], &p, &(Way){.backend = BACKEND_REF}, NULL);
        Result r = run(s, op[o], &p, &(Way){.backend = BACKEND_CUDA}, NULL);
        bad += compare(op[o], &p, "cuda", &r, &base, F32_LIMIT);
        result_free(&base);
        result_free(&r);
    }
    step_free(s);
    step_free(keys);
    step_free(host);
    assert_int_equal(bad, 0);
}
#endif

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--digest") == 0) return digest_all();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op_is_whole),       cmocka_unit_test(cpu_like_reference),
        cmocka_unit_test(cpu_bf16_like_reference), cmocka_unit_test(threads_change_nothing),
#ifdef LETHE_CUDA
        cmocka_unit_test(cuda_like_reference),     cmocka_unit_test(cuda_draws_like_the_host),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
