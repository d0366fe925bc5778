/* Laws that ops obey whatever their values: linearity, permutation, causality, shift, and equalities between
 * ops that were written apart. On the CPU kernels. */
#include "tests/probe.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const double LIMIT = 2e-6; /* relative, Euclidean norm */

static int open_step(void **state) {
    Error e;
    *state = step_create(DT_F32, BACKEND_CPU, (size_t)1 << 28, &e);
    return *state ? 0 : -1;
}

static int close_step(void **state) {
    step_free(*state);
    return 0;
}

/* A tensor of draws between lo and hi, other ones for another seed. */
static Tensor *drawn(Step *s, uint64_t seed, int ndim, const int64_t *dim) {
    Tensor *t = step_tensor(s, DT_F32, ndim, dim);
    Rng r = rng_open(seed, RNG_TEST, 2, 0);
    probe_fill(t, &(ProbeIn){0}, &r);
    return t;
}
#define DIM(...)                                                                                             \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]) {                           \
        __VA_ARGS__                                                                                          \
    }

static Tensor *indices(Step *s, int64_t batch, int64_t count, const int32_t *index) {
    Tensor *t = step_tensor(s, DT_I32, 2, (const int64_t[]){batch, count});
    memcpy(t->data, index, tensor_bytes(t));
    return t;
}

static double distance(const Tensor *a, const Tensor *b) {
    double diff = 0, norm = 0;
    if (tensor_count(a) != tensor_count(b)) return INFINITY;
    for (int64_t i = 0; i < tensor_count(a); i++) {
        double d = (double)tensor_at(a, i) - (double)tensor_at(b, i);
        diff += d * d;
        norm += (double)tensor_at(b, i) * (double)tensor_at(b, i);
    }
    return sqrt(diff) / (sqrt(norm) + 1e-30);
}

static void same(const char *what, const Tensor *a, const Tensor *b) {
    double d = distance(a, b);
    if (!(d <= LIMIT)) fail_msg("%s: off by %.3g", what, d);
}

/* ---- linearity ---- */

static bool is_linear(const Op *op, const Probe *p) {
    static const Op *const always[] = {
        &add_row,        &gather_row,  &patchify_row,         &drop_path_row,  &scale_row, &reshape_row,
        &token_mean_row, &arith_row,   &concat_row,           &permute_row,    &slice_row, &reduce_row,
        &conv2d_row,     &dropout_row, &conv_transpose2d_row, &interpolate_row};
    for (int i = 0; i < COUNT(always); i++)
        if (op == always[i]) return true;
    return (op == &linear_row && p->i[0] == ACT_NONE) || (op == &pool2d_row && p->i[0] == POOL_MEAN) ||
           (op == &batch_norm_row && !p->i[0]);
}

/* All are at least affine in their first input: f(a x + (1 - a) y) = a f(x) + (1 - a) f(y). */
static void linear_ops_are_linear(void **state) {
    Step *s = *state;
    int checked = 0;
    step_no_grad(s);
    for (int o = 0; op_rows[o]; o++)
        for (int p = 0; p < op_rows[o]->probes; p++) {
            const Op *op = op_rows[o];
            const Probe *probe = &op->probe[p];
            if (!is_linear(op, probe)) continue;
            step_begin(s);
            Rng r = rng_open(1, RNG_TEST, 1, 0);
            OpCall x = probe_open(s, probe, &r), y = x, mixed = x;
            y.in[0] = drawn(s, 7, x.in[0]->ndim, x.in[0]->dim);
            mixed.in[0] = step_tensor(s, DT_F32, x.in[0]->ndim, x.in[0]->dim);
            const float a = 2.5f;
            for (int64_t i = 0; i < tensor_count(mixed.in[0]); i++)
                tensor_put(mixed.in[0], i, a * tensor_at(x.in[0], i) + (1 - a) * tensor_at(y.in[0], i));
            op_run(s, op, &x);
            op_run(s, op, &y);
            op_run(s, op, &mixed);
            Tensor *want = step_copy(s, x.out[0]);
            for (int64_t i = 0; i < tensor_count(want); i++)
                tensor_put(want, i, a * tensor_at(x.out[0], i) + (1 - a) * tensor_at(y.out[0], i));
            same(probe->about, mixed.out[0], want);
            checked++;
        }
    step_grad_on(s, true);
    assert_true(checked > 40);
}

/* ---- attention ---- */

static void attention_permutes_with_its_tokens(void **state) {
    Step *s = *state;
    static const int32_t order[] = {3, 0, 4, 1, 2, 2, 1, 0, 4, 3};
    step_begin(s);
    Tensor *x = drawn(s, 1, DIM(2, 5, 24)), *index = indices(s, 2, 5, order);
    Tensor *y = op_attention(s, x, NULL, NULL, NULL, 2, false);
    Tensor *moved = op_attention(s, op_gather(s, x, index, NULL), NULL, NULL, NULL, 2, false);
    same("tokens in another order", moved, op_gather(s, y, index, NULL));

    /* the queries stay when only keys and values change places */
    Tensor *q = drawn(s, 2, DIM(2, 3, 8)), *k = drawn(s, 3, DIM(2, 5, 8)), *v = drawn(s, 4, DIM(2, 5, 8));
    y = op_attention(s, q, k, v, NULL, 2, false);
    k = op_gather(s, k, index, NULL);
    v = op_gather(s, v, index, NULL);
    same("keys and values in another order", op_attention(s, q, k, v, NULL, 2, false), y);
}

static void causal_attention_does_not_see_the_future(void **state) {
    Step *s = *state;
    enum { TOKENS = 70, WIDTH = 16, CUT = 40 }; /* more tokens than a block of queries */
    step_begin(s);
    Tensor *x = drawn(s, 1, DIM(1, TOKENS, 3 * WIDTH)), *other = step_copy(s, x);
    for (int64_t i = (int64_t)CUT * 3 * WIDTH; i < tensor_count(x); i++) tensor_real(other)[i] *= -3;
    const Tensor *a = op_attention(s, x, NULL, NULL, NULL, 2, true);
    const Tensor *b = op_attention(s, other, NULL, NULL, NULL, 2, true);
    assert_memory_equal(a->data, b->data, sizeof(float) * CUT * WIDTH);
    assert_memory_not_equal(a->data, b->data, tensor_bytes(a));

    /* and in training: no gradient flows back from the past to what came later */
    step_want_grad(x);
    Tensor *y = op_attention(s, x, NULL, NULL, NULL, 2, true), *dy = step_grad_of(s, y, NULL);
    for (int64_t i = 0; i < (int64_t)CUT * WIDTH; i++) tensor_real(dy)[i] = 1;
    tape_backward_seeded(s);
    for (int64_t i = (int64_t)CUT * 3 * WIDTH; i < tensor_count(x); i++)
        assert_true(tensor_real(x->grad)[i] == 0);
}

static void attention_of_one_token_is_its_value(void **state) {
    Step *s = *state;
    step_begin(s);
    Tensor *q = drawn(s, 1, DIM(2, 4, 6)), *k = drawn(s, 2, DIM(2, 1, 6)), *v = drawn(s, 3, DIM(2, 1, 6));
    static const int32_t first[] = {0, 0, 0, 0, 0, 0, 0, 0};
    same("one key", op_attention(s, q, k, v, NULL, 3, false), op_gather(s, v, indices(s, 2, 4, first), NULL));
}

/* Relative positions are a bias, which each query works out from the tables. */
static void relative_positions_are_a_bias(void **state) {
    Step *s = *state;
    enum { B = 2, H = 2, HIGH = 5, WIDE = 23, D = 6, N = HIGH * WIDE };
    step_begin(s);
    Tensor *qkv = drawn(s, 1, DIM(B, N, 3 * H * D));
    Tensor *rel_h = drawn(s, 2, DIM(2 * HIGH - 1, D)), *rel_w = drawn(s, 3, DIM(2 * WIDE - 1, D));
    Tensor *bias = step_zeros(s, DT_F32, DIM(B, H, N, N));
    for (int64_t k = 0; k < tensor_count(bias); k++) {
        int64_t j = k % N, i = k / N % N, h = k / (N * N) % H, b = k / (N * N * H);
        const float *q = tensor_real(qkv) + (b * N + i) * 3 * H * D + h * D;
        const float *by_h = tensor_real(rel_h) + (i / WIDE - j / WIDE + HIGH - 1) * D;
        const float *by_w = tensor_real(rel_w) + (i % WIDE - j % WIDE + WIDE - 1) * D;
        for (int x = 0; x < D; x++) tensor_real(bias)[k] += q[x] * (by_h[x] + by_w[x]);
    }
    same("relative positions", op_rel_attention(s, qkv, rel_h, rel_w, H, HIGH, WIDE),
         op_attention(s, qkv, NULL, NULL, bias, H, false));
}

/* ---- shift ---- */

/* x (1, 1, high, wide) with all columns moved right by `by`; what comes in is 0. */
static Tensor *shifted(Step *s, const Tensor *x, int64_t by) {
    Tensor *t = step_zeros(s, DT_F32, x->ndim, x->dim);
    int64_t wide = x->dim[3];
    for (int64_t r = 0; r < tensor_rows(x); r++)
        for (int64_t j = by; j < wide; j++) tensor_real(t)[r * wide + j] = tensor_real(x)[r * wide + j - by];
    return t;
}

/* Columns left .. right - 1 of every row of both. */
static void same_columns(Step *s, const char *what, Tensor *a, Tensor *b, int64_t left, int64_t right) {
    same(what, op_slice(s, a, 3, left, right - left), op_slice(s, b, 3, left, right - left));
}

static void shift_in_is_shift_out(void **state) {
    Step *s = *state;
    step_begin(s);
    Tensor *x = drawn(s, 1, DIM(2, 3, 9, 16)), *w = drawn(s, 2, DIM(4, 3, 3, 3));
    Tensor *y = op_conv2d(s, x, w, NULL, 1, 1, 1), *z = op_conv2d(s, shifted(s, x, 3), w, NULL, 1, 1, 1);
    same_columns(s, "convolution", z, shifted(s, y, 3), 4, 15);
    y = op_conv2d(s, x, w, NULL, 2, 1, 1);
    z = op_conv2d(s, shifted(s, x, 4), w, NULL, 2, 1, 1);
    same_columns(s, "convolution, stride 2", z, shifted(s, y, 2), 3, 8);
    y = op_pool2d(s, x, POOL_MAX, 3, 2, 1);
    z = op_pool2d(s, shifted(s, x, 4), POOL_MAX, 3, 2, 1);
    same_columns(s, "pooling", z, shifted(s, y, 2), 3, 8);
    Tensor *up = drawn(s, 3, DIM(3, 2, 4, 4));
    y = op_conv_transpose2d(s, x, up, NULL, 2, 1, 0, 1);
    z = op_conv_transpose2d(s, shifted(s, x, 2), up, NULL, 2, 1, 0, 1);
    same_columns(s, "transposed convolution", z, shifted(s, y, 4), 6, 30);
    for (InterpolateKind kind = INTERPOLATE_NEAREST; kind <= INTERPOLATE_BICUBIC_PILLOW; kind++) {
        if (kind == INTERPOLATE_BILINEAR_CORNERS)
            continue; /* its grid stretches with the size: no such law */
        y = op_interpolate(s, x, kind, 9, 32);
        z = op_interpolate(s, shifted(s, x, 2), kind, 9, 32);
        same_columns(s, "interpolation", z, shifted(s, y, 4), 9, 28);
        y = op_interpolate(s, x, kind, 9, 8);
        z = op_interpolate(s, shifted(s, x, 2), kind, 9, 8);
        same_columns(s, "interpolation, shrinking", z, shifted(s, y, 1), 4, 6);
    }
}

/* ---- masking ---- */

static void mask_and_unmask_keep_what_was_kept(void **state) {
    Step *s = *state;
    enum { TOKENS = 6, KEPT = 2, WIDTH = 5 };
    static const int32_t keep[] = {4, 1, 0, 3}, back[] = {-1, 1, -1, -1, 0, -1, 0, -1, -1, 1, -1, -1};
    step_begin(s);
    Tensor *x = drawn(s, 1, DIM(2, TOKENS, WIDTH)), *mask = drawn(s, 2, DIM(1, 1, WIDTH));
    Tensor *kept = op_gather(s, x, indices(s, 2, KEPT, keep), NULL);
    const Tensor *y = op_gather(s, kept, indices(s, 2, TOKENS, back), mask);
    int found = 0;
    for (int64_t t = 0; t < 2 * TOKENS; t++) {
        const Tensor *from = back[t] < 0 ? mask : x;
        assert_memory_equal(tensor_real(y) + t * WIDTH, tensor_real(from) + (back[t] < 0 ? 0 : t * WIDTH),
                            sizeof(float) * WIDTH);
        found += back[t] >= 0;
    }
    assert_int_equal(found, 2 * KEPT);
}

/* ---- the same thing said in two ways ---- */

static void patches_are_a_convolution(void **state) {
    Step *s = *state;
    step_begin(s);
    Tensor *x = drawn(s, 1, DIM(2, 3, 8, 12)), *w = drawn(s, 2, DIM(10, 3, 4, 4)), *b = drawn(s, 3, DIM(10));
    Tensor *y = op_linear(s, op_patchify(s, x, NULL, 4, PATCH_CHANNEL_FIRST), w, b, ACT_NONE);
    Tensor *z = op_reshape(s, op_conv2d(s, x, w, b, 4, 0, 1), DIM(2, 10, 6));
    same("patches", y, op_permute(s, z, (const int[]){0, 2, 1}));
}

static void groups_are_separate_convolutions(void **state) {
    Step *s = *state;
    step_begin(s);
    Tensor *x = drawn(s, 1, DIM(2, 4, 6, 5)), *w = drawn(s, 2, DIM(6, 2, 3, 3));
    Tensor *half[2];
    for (int g = 0; g < 2; g++)
        half[g] = op_conv2d(s, op_slice(s, x, 1, 2 * g, 2), op_slice(s, w, 0, 3 * g, 3), NULL, 1, 1, 1);
    same("groups", op_conv2d(s, x, w, NULL, 1, 1, 2), op_concat(s, half, 2, 1));
}

static void transposed_convolution_is_the_adjoint(void **state) {
    Step *s = *state;
    step_begin(s);
    Tensor *x = drawn(s, 1, DIM(2, 3, 9, 7)), *w = drawn(s, 2, DIM(5, 3, 3, 3)),
           *y = drawn(s, 3, DIM(2, 5, 5, 4));
    Tensor *a = op_arith(s, op_conv2d(s, x, w, NULL, 2, 1, 1), y, ARITH_MUL);
    Tensor *b = op_arith(s, op_conv_transpose2d(s, y, w, NULL, 2, 1, 0, 1), x, ARITH_MUL);
    same("(conv x, y) = (x, conv' y)", op_reduce(s, a, 0, 4, REDUCE_SUM), op_reduce(s, b, 0, 4, REDUCE_SUM));
}

static void norms_agree(void **state) {
    Step *s = *state;
    step_begin(s);
    Tensor *x = drawn(s, 1, DIM(3, 6, 4, 2)), *g = drawn(s, 2, DIM(6)), *b = drawn(s, 3, DIM(6));
    Tensor *last = op_layernorm(s, op_permute(s, x, (const int[]){0, 2, 3, 1}), g, b, 1e-6);
    same("layer norm over channels", op_layernorm2d(s, x, g, b, 1e-6),
         op_permute(s, last, (const int[]){0, 3, 1, 2}));
    Tensor *flat = drawn(s, 4, DIM(5, 6));
    same("one group", op_group_norm(s, flat, g, b, 1, 1e-6), op_layernorm(s, flat, g, b, 1e-6));
    /* one sample: a group a channel sees what batch norm sees */
    Tensor *one = op_slice(s, x, 0, 1, 1);
    same("instance", op_group_norm(s, one, g, b, 6, 1e-5),
         op_batch_norm(s, one, g, b, NULL, NULL, NULL, 0.1, 1e-5));
    /* scale and shift of the input are taken away */
    same("invariance", op_layernorm(s, op_scale(s, flat, 7, -3), g, b, 0), op_layernorm(s, flat, g, b, 0));
}

static void pools_and_means_agree(void **state) {
    Step *s = *state;
    step_begin(s);
    Tensor *x = drawn(s, 1, DIM(2, 3, 4, 4)), *mean = op_reduce(s, x, 2, 2, REDUCE_MEAN);
    same("one window", op_pool2d(s, x, POOL_MEAN, 4, 4, 0), mean);
    same("halved twice", op_interpolate(s, x, INTERPOLATE_BILINEAR, 2, 2),
         op_pool2d(s, x, POOL_MEAN, 2, 2, 0));
    Tensor *tokens = op_permute(s, op_reshape(s, x, DIM(2, 3, 16)), (const int[]){0, 2, 1});
    same("tokens", op_token_mean(s, tokens, 0), mean);
    Tensor *same_size = op_interpolate(s, x, INTERPOLATE_BICUBIC_PILLOW, 4, 4);
    same("the same size", same_size, x);
}

static void softmax_and_cross_entropy_agree(void **state) {
    Step *s = *state;
    step_begin(s);
    Tensor *x = op_scale(s, drawn(s, 1, DIM(4, 7)), 5, 0), *p = op_softmax(s, x);
    Tensor *ones = op_scale(s, drawn(s, 2, DIM(4)), 0, 1);
    same("sum to 1", op_reduce(s, p, 1, 1, REDUCE_SUM), ones);
    same("shift", op_softmax(s, op_scale(s, x, 1, 50)), p);
    Tensor *soft = op_softmax(s, drawn(s, 3, DIM(4, 7)));
    Tensor *sum = op_reduce(s, op_arith(s, op_pointwise(s, p, POINT_LOG), soft, ARITH_MUL), 0, 2, REDUCE_SUM);
    same("cross entropy", op_xent(s, x, NULL, soft, 0, NULL), op_scale(s, sum, -0.25, 0));
}

/* ---- random draws ---- */

static void draws_belong_to_the_sample(void **state) {
    Step *s = *state;
    static const int64_t there[] = {5, 9, 2}, here[] = {2, 5};
    step_begin(s);
    Tensor *x = step_zeros(s, DT_F32, DIM(3, 64));
    for (int64_t i = 0; i < tensor_count(x); i++) tensor_real(x)[i] = 1;
    s->sample = there;
    const Tensor *a = op_dropout(s, x, 0.5, 3);
    s->sample = here;
    Tensor *few = op_slice(s, x, 0, 0, 2);
    const Tensor *b = op_dropout(s, few, 0.5, 3), *c = op_dropout(s, few, 0.5, 4);
    s->sample = NULL;
    assert_memory_equal(tensor_real(a) + 2 * 64, tensor_real(b), 64 * sizeof(float));
    assert_memory_equal(tensor_real(a), tensor_real(b) + 64, 64 * sizeof(float));
    assert_memory_not_equal(b->data, c->data, tensor_bytes(b));
    s->training = false;
    assert_ptr_equal(op_dropout(s, x, 0.5, 3), x);
    s->training = true;
}

static void draws_keep_the_mean(void **state) {
    Step *s = *state;
    step_begin(s);
    Tensor *ones = op_scale(s, drawn(s, 1, DIM(400, 100)), 0, 1);
    Tensor *column = op_slice(s, ones, 1, 0, 1);
    assert_true(fabs((double)tensor_at(op_reduce(s, op_dropout(s, ones, 0.3, 0), 0, 2, REDUCE_MEAN), 0) - 1) <
                0.02);
    assert_true(fabs((double)tensor_at(op_reduce(s, op_drop_path(s, column, 0.3, 0), 0, 2, REDUCE_MEAN), 0) -
                     1) < 0.15);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_ops_are_linear),
        cmocka_unit_test(attention_permutes_with_its_tokens),
        cmocka_unit_test(causal_attention_does_not_see_the_future),
        cmocka_unit_test(attention_of_one_token_is_its_value),
        cmocka_unit_test(relative_positions_are_a_bias),
        cmocka_unit_test(shift_in_is_shift_out),
        cmocka_unit_test(mask_and_unmask_keep_what_was_kept),
        cmocka_unit_test(patches_are_a_convolution),
        cmocka_unit_test(groups_are_separate_convolutions),
        cmocka_unit_test(transposed_convolution_is_the_adjoint),
        cmocka_unit_test(norms_agree),
        cmocka_unit_test(pools_and_means_agree),
        cmocka_unit_test(softmax_and_cross_entropy_agree),
        cmocka_unit_test(draws_belong_to_the_sample),
        cmocka_unit_test(draws_keep_the_mean),
    };
    return cmocka_run_group_tests(tests, open_step, close_step);
}
