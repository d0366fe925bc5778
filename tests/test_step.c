/* The memory and the tape of a step: addresses repeat, nothing is allocated once shapes are known, scopes and
 * backward free what they should, recomputing changes no bit, failures are clean, and the first tensor that
 * is not finite is named. */
#include "core/heap.h"
#include "core/ops.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { WIDTH = 16, PARAMS = 9, BIGGEST = 48 * WIDTH };

/* A transformer block on patches of 4 x 4, with weights that do not belong to a step. */
typedef struct Net {
    Tensor param[PARAMS], grad[PARAMS];
    float value[PARAMS][BIGGEST], slope[PARAMS][BIGGEST];
} Net;

static const struct {
    const char *name;
    int ndim;
    int64_t dim[2];
} layout[PARAMS] = {
    {"embed.weight", 2, {WIDTH, 48}}, {"embed.bias", 1, {WIDTH}},      {"norm.weight", 1, {WIDTH}},
    {"norm.bias", 1, {WIDTH}},        {"qkv.weight", 2, {48, WIDTH}},  {"fc1.weight", 2, {32, WIDTH}},
    {"fc2.weight", 2, {WIDTH, 32}},   {"bn.running_mean", 1, {WIDTH}}, {"bn.running_var", 1, {WIDTH}},
};
enum { EMBED, EMBED_BIAS, NORM, NORM_BIAS, QKV, FC1, FC2, RUN_MEAN, RUN_VAR };

static void net_open(Net *net) {
    Rng r = rng_open(1, RNG_TEST, 3, 0);
    for (int p = 0; p < PARAMS; p++) {
        Tensor *t = &net->param[p], *g = &net->grad[p];
        *t = (Tensor){.data = net->value[p], .ndim = layout[p].ndim, .name = layout[p].name};
        memcpy(t->dim, layout[p].dim, sizeof layout[p].dim);
        *g = *t;
        g->data = net->slope[p];
        for (int64_t i = 0; i < tensor_count(t); i++)
            net->value[p][i] = p == RUN_VAR ? 1 : (float)rng_range(&r, -0.3, 0.3);
        if (p >= RUN_MEAN) continue;
        t->needs_grad = t->keep_grad = g->keep_grad = true;
        t->grad = g;
    }
}

static void net_clear(Net *net) {
    for (int p = 0; p < RUN_MEAN; p++) net->param[p].grad_fresh = true;
}

static Tensor *block(Step *s, void *self, Tensor *x) {
    Tensor *p = ((Net *)self)->param;
    Tensor *y = op_layernorm(s, x, &p[NORM], &p[NORM_BIAS], 1e-6);
    y = op_attention(s, op_linear(s, y, &p[QKV], NULL, ACT_NONE), NULL, NULL, NULL, 2, false);
    x = op_add(s, x, op_drop_path(s, y, 0.3, 1));
    y = op_linear(s, op_dropout(s, x, 0.2, 2), &p[FC1], NULL, ACT_GELU);
    y = op_reshape(s, op_linear(s, y, &p[FC2], NULL, ACT_NONE), 2,
                   (const int64_t[]){x->dim[0] * x->dim[1], WIDTH});
    y = op_batch_norm(s, y, NULL, NULL, &p[RUN_MEAN], &p[RUN_VAR], NULL, 0.1, 1e-5);
    return op_add(s, x, op_reshape(s, y, 3, x->dim));
}

/* Two blocks and a loss; `first`: of the samples that are drawn. */
static Tensor *net_loss(Step *s, Net *net, int64_t first, int64_t batch, bool recompute) {
    Tensor *image = step_tensor(s, DT_F32, 4, (const int64_t[]){batch, 3, 8, 8});
    for (int64_t b = 0; b < batch; b++) {
        Rng r = rng_open(1, RNG_TEST, 4, (uint64_t)(first + b));
        for (int64_t i = 0; i < 192; i++) tensor_real(image)[b * 192 + i] = rng_uniformf(&r) - 0.5f;
    }
    Tensor *patches = op_patchify(s, image, NULL, 4, PATCH_CHANNEL_FIRST);
    Tensor *x = op_linear(s, patches, &net->param[EMBED], &net->param[EMBED_BIAS], ACT_NONE);
    for (int i = 0; i < 2; i++) {
        Scope scope = scope_open(s);
        x = scope_close(s, scope, recompute ? step_recompute(s, block, net, x) : block(s, net, x));
    }
    return op_mse(s, op_token_mean(s, x, 0), step_zeros(s, DT_F32, 2, (const int64_t[]){batch, WIDTH}), NULL,
                  NULL);
}

static Step *open_step(void) {
    Error e;
    Step *s = step_create(DT_F32, BACKEND_CPU, (size_t)1 << 26, &e);
    if (!s) fail_msg("%s", e.text);
    return s;
}

/* ---- addresses and allocations ---- */

enum { SEEN = 7 };

static void train_once(Step *s, Net *net, int64_t batch, bool recompute, uintptr_t seen[SEEN]) {
    step_begin(s);
    net_clear(net);
    Tensor *loss = net_loss(s, net, 0, batch, recompute);
    seen[0] = (uintptr_t)loss;
    seen[1] = (uintptr_t)loss->data;
    seen[2] = (uintptr_t)step_tensor(s, DT_F32, 1, &batch)->data;
    tape_backward(s, loss, 1);
    seen[3] = (uintptr_t)step_tensor(s, DT_F32, 1, &batch)->data;
    seen[4] = step_live(s);
    seen[5] = s->kept;
    seen[6] = (uintptr_t)s->flops;
}

static void addresses_repeat_and_nothing_is_allocated(void **state) {
    (void)state;
    static Net net;
    net_open(&net);
    Step *s = open_step();
    uintptr_t seen[2][SEEN], now[SEEN];
    train_once(s, &net, 2, false, now); /* every shape once */
    for (int way = 0; way < 2; way++) train_once(s, &net, 3, way, seen[way]);
    uint64_t calls = mem_stat().calls;
    size_t peak = step_peak(s);
    for (int i = 0; i < 6; i++) {
        bool recompute = i % 2;
        if (i == 3) train_once(s, &net, 2, false, now); /* a smaller batch between */
        train_once(s, &net, 3, recompute, now);
        for (int k = 0; k < SEEN; k++) assert_int_equal(now[k], seen[recompute][k]);
    }
    assert_int_equal(mem_stat().calls, calls);
    assert_int_equal(step_peak(s), peak);
    step_free(s);
}

static void backward_and_scopes_free_all(void **state) {
    (void)state;
    static Net net;
    net_open(&net);
    Step *s = open_step();
    step_begin(s);
    assert_int_equal(step_live(s), 0);
    Scope scope = scope_open(s);
    Tensor *loss = net_loss(s, &net, 0, 2, false);
    size_t held = step_live(s);
    tape_backward(s, loss, 1);
    assert_true(step_live(s) < held);
    scope_close(s, scope, NULL);
    assert_int_equal(step_live(s), 0);

    /* without a tape an inner scope keeps its result alone; with one, what backward reads stays as well */
    int64_t n = 1000;
    for (int tape = 0; tape < 2; tape++) {
        step_begin(s);
        Tensor *x = step_zeros(s, DT_F32, 1, &n);
        step_want_grad(x);
        bool was = s->recording;
        s->recording = tape;
        scope = scope_open(s);
        Tensor *y =
            op_pointwise(s, op_scale(s, op_scale(s, x, 2, 1), 2, 1), POINT_TANH); /* reads its input */
        y = scope_close(s, scope, op_scale(s, y, 3, 0));
        s->recording = was;
        size_t each = ((size_t)n * sizeof(float) + 63) / 64 * 64;
        assert_int_equal(step_live(s), (tape ? 3 : 2) * each);
        assert_true(tensor_at(y, 0) != 0);
    }
    step_free(s);
}

static void memory_is_joined_again(void **state) {
    (void)state;
    Error e;
    Heap *h = heap_create((size_t)1 << 20, false, &e);
    assert_non_null(h);
    Block *b[16];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 16; i++) assert_non_null(b[i] = heap_get(h, 1 << 16));
        assert_null(heap_get(h, 1));
        assert_int_equal(heap_live(h), 1 << 20);
        for (int i = 0; i < 16; i += 2) heap_drop(h, b[i]);
        assert_null(heap_get(h, (1 << 16) + 1)); /* holes of one block each */
        for (int i = 1; i < 16; i += 2) heap_drop(h, b[i]);
        Block *whole = heap_get(h, 1 << 20);
        assert_non_null(whole);
        heap_drop(h, whole);
        assert_int_equal(heap_live(h), 0);
    }
    heap_free(h);
}

/* ---- gradients ---- */

static void recomputing_changes_no_bit(void **state) {
    (void)state;
    static Net plain, again;
    net_open(&plain);
    net_open(&again);
    Step *s = open_step();
    step_begin(s);
    net_clear(&plain);
    Tensor *loss = net_loss(s, &plain, 0, 3, false);
    float value = tensor_at(loss, 0);
    tape_backward(s, loss, 1);
    size_t kept = s->kept;
    step_begin(s);
    net_clear(&again);
    loss = net_loss(s, &again, 0, 3, true);
    assert_true(tensor_at(loss, 0) == value);
    tape_backward(s, loss, 1);
    assert_true(s->kept < kept);
    assert_memory_equal(plain.slope, again.slope, sizeof plain.slope);
    assert_memory_equal(plain.value, again.value, sizeof plain.value); /* running statistics moved once */
    step_free(s);
}

static void halves_of_a_batch_add_up(void **state) {
    (void)state;
    static Net whole, halves;
    net_open(&whole);
    net_open(&halves);
    Step *s = open_step();
    s->training = false; /* batch norm would see the halves */
    step_begin(s);
    net_clear(&whole);
    tape_backward(s, net_loss(s, &whole, 0, 4, false), 1);
    net_clear(&halves);
    for (int i = 0; i < 2; i++) {
        step_begin(s);
        tape_backward(s, net_loss(s, &halves, 2 * i, 2, false), 0.5);
    }
    for (int p = 0; p < RUN_MEAN; p++)
        for (int64_t i = 0; i < tensor_count(&whole.param[p]); i++)
            assert_true(fabsf(whole.slope[p][i] - halves.slope[p][i]) < 1e-6f);
    assert_true(whole.slope[FC1][3] != 0);
    step_free(s);
}

static void kept_gradients_stay_as_they_were(void **state) {
    (void)state;
    Step *s = open_step();
    step_begin(s);
    int64_t dim[] = {3, 4};
    Tensor *w = step_zeros(s, DT_F32, 2, (const int64_t[]){4, 4});
    for (int i = 0; i < 16; i++) tensor_real(w)[i] = (float)(i - 7) * 0.2f;
    Tensor *x = step_zeros(s, DT_F32, 2, dim);
    step_want_grad(x);
    Tensor *h = op_linear(s, x, w, NULL, ACT_GELU); /* its backward may overwrite the gradient it reads */
    step_keep_grad(h);
    Tensor *y = op_add(s, h, step_zeros(s, DT_F32, 2, dim)); /* hands its own gradient on to h */
    Tensor *dy = step_grad_of(s, y, NULL);
    for (int i = 0; i < 12; i++) tensor_real(dy)[i] = (float)i;
    tape_backward_seeded(s);
    for (int i = 0; i < 12; i++) assert_true(tensor_real(h->grad)[i] == (float)i);
    step_free(s);
}

static void watch(void *self, const OpCall *c) {
    int *seen = self;
    assert_non_null(c->out[0]->data);
    seen[0]++;
    seen[1] += c->op == &linear_row;
}

/* Each op once, be it on the tape or in a segment that backward runs again. */
static void ops_are_watched(void **state) {
    (void)state;
    static Net net;
    uintptr_t places[SEEN];
    int seen[2][2] = {{0}};
    net_open(&net);
    Step *s = open_step();
    for (int recompute = 0; recompute < 2; recompute++) {
        s->watch = watch;
        s->watch_self = seen[recompute];
        train_once(s, &net, 3, recompute, places);
        s->watch = NULL;
        train_once(s, &net, 3, recompute, places);
    }
    assert_true(seen[0][1] > 3 && seen[0][0] > seen[0][1]);
    assert_memory_equal(seen[0], seen[1], sizeof seen[0]);
    step_free(s);
}

/* ---- failures ---- */

static void step_create_survives_lack_of_memory(void **state) {
    (void)state;
    uint64_t live = mem_stat().live;
    int failures = 0;
    for (int n = 0;; n++) {
        Error e = {0};
        mem_fail_after(n);
        Step *s = step_create(DT_F32, BACKEND_CPU, (size_t)1 << 20, &e);
        mem_fail_after(-1);
        if (s) {
            step_free(s);
            break;
        }
        assert_int_equal(e.code, ERROR_MEMORY);
        assert_non_null(strstr(e.text, "out of memory"));
        assert_int_equal(mem_stat().live, live);
        failures++;
    }
    assert_true(failures >= 4);
    assert_int_equal(mem_stat().live, live);
}

static void first_bad_tensor_is_named(void **state) {
    (void)state;
    static Net net;
    net_open(&net);
    Step *s = open_step();
    s->check = true;
    step_begin(s);
    net_clear(&net);
    tape_backward(s, net_loss(s, &net, 0, 2, false), 1);
    assert_string_equal(s->bad, "");

    net.value[FC1][5] = INFINITY;
    step_begin(s);
    tape_backward(s, net_loss(s, &net, 0, 2, false), 1);
    assert_non_null(strstr(s->bad, "output of linear"));
    assert_non_null(strstr(s->bad, "fc1.weight"));

    /* finite on the way there, not on the way back: log'(1e-40) */
    step_begin(s);
    assert_string_equal(s->bad, "");
    int64_t n = 3;
    Tensor *x = step_zeros(s, DT_F32, 1, &n);
    for (int i = 0; i < 3; i++) tensor_real(x)[i] = i == 1 ? 1e-40f : 1;
    x->name = "x of the test";
    step_want_grad(x);
    Tensor *y = op_reduce(s, op_pointwise(s, x, POINT_LOG), 0, 1, REDUCE_SUM);
    assert_string_equal(s->bad, "");
    tape_backward(s, y, 1);
    assert_non_null(strstr(s->bad, "gradient of x of the test"));
    assert_non_null(strstr(s->bad, "backward of pointwise"));
    step_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_repeat_and_nothing_is_allocated),
        cmocka_unit_test(backward_and_scopes_free_all),
        cmocka_unit_test(memory_is_joined_again),
        cmocka_unit_test(recomputing_changes_no_bit),
        cmocka_unit_test(halves_of_a_batch_add_up),
        cmocka_unit_test(kept_gradients_stay_as_they_were),
        cmocka_unit_test(ops_are_watched),
        cmocka_unit_test(step_create_survives_lack_of_memory),
        cmocka_unit_test(first_bad_tensor_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
