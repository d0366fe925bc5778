/* gradcheck: the derivative of every op, on every probe, against differences of its forward, in double.
 * The adjoint test: for random u and v, (u, f(x + h v) - f(x - h v)) / 2h must equal (backward(u), v), input
 * by input, within LIMIT. Built with -DLETHE_DOUBLE: real is double and reference kernels run. */
#include "core/ops.h"
#include "tests/probe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const double STEP_H = 1e-5, LIMIT = 1e-6;

/* (u, f(inputs)) with u drawn anew from the same stream each time. */
static double weighed(Step *s, const Op *op, const Probe *p, Tensor *const in[OP_IN]) {
    OpCall c = {0};
    memcpy(c.in, in, sizeof c.in);
    memcpy(c.f, p->f, sizeof c.f);
    memcpy(c.i, p->i, sizeof c.i);
    Scope scope = scope_open(s);
    bool was = step_no_grad(s);
    op_run(s, op, &c);
    step_grad_on(s, was);
    Rng r = rng_open(2, RNG_TEST, 0, 0);
    double sum = 0;
    for (int64_t i = 0; i < tensor_count(c.out[0]); i++)
        sum += rng_range(&r, -1, 1) * tensor_real(c.out[0])[i];
    scope_close(s, scope, NULL);
    return sum;
}

static int check(Step *s, const Op *op, const Probe *p, uint64_t seed) {
    step_begin(s);
    Rng r = rng_open(seed, RNG_TEST, 1, 0);
    OpCall c = probe_open(s, p, &r);
    op_run(s, op, &c);
    Rng ru = rng_open(2, RNG_TEST, 0, 0);
    Tensor *g = step_grad_of(s, c.out[0], NULL);
    for (int64_t i = 0; i < tensor_count(g); i++) tensor_real(g)[i] = rng_range(&ru, -1, 1);
    Tensor *in[OP_IN];
    memcpy(in, c.in, sizeof in);
    tape_backward_seeded(s);
    int bad = 0;
    for (int k = 0; k < OP_IN; k++) {
        if (!in[k] || !in[k]->needs_grad) continue;
        int64_t n = tensor_count(in[k]);
        double *v = malloc((size_t)n * sizeof *v), *x = malloc((size_t)n * sizeof *x), lhs = 0, norm = 0;
        for (int64_t i = 0; i < n; i++) {
            v[i] = rng_range(&r, -1, 1);
            x[i] = tensor_real(in[k])[i];
            lhs += v[i] * (in[k]->grad ? tensor_real(in[k]->grad)[i] : 0);
        }
        for (int64_t i = 0; i < n; i++) tensor_real(in[k])[i] = x[i] + STEP_H * v[i];
        double up = weighed(s, op, p, in);
        for (int64_t i = 0; i < n; i++) tensor_real(in[k])[i] = x[i] - STEP_H * v[i];
        double down = weighed(s, op, p, in);
        for (int64_t i = 0; i < n; i++) tensor_real(in[k])[i] = x[i];
        double rhs = (up - down) / (2 * STEP_H);
        for (int64_t i = 0; i < n && in[k]->grad; i++) norm += fabs(tensor_real(in[k]->grad)[i] * v[i]);
        if (!(fabs(lhs - rhs) <= LIMIT * (1 + norm))) {
            printf("gradcheck: %s, %s, input %d: backward %.9g, differences %.9g\n", op->name, p->about, k,
                   lhs, rhs);
            bad = 1;
        }
        free(v);
        free(x);
    }
    return bad;
}

int main(void) {
    Error e = {0};
    Step *s = step_create(DT_F32, BACKEND_REF, (size_t)1 << 30, &e);
    int passed = 0, failed = 0;
    if (!s) return fprintf(stderr, "gradcheck: %s\n", e.text), 1;
    for (int o = 0; op_rows[o]; o++) {
        const Op *op = op_rows[o];
        if (!op->probes) printf("gradcheck: %s has no probe\n", op->name), failed++;
        for (int p = 0; p < op->probes && op->backward[BACKEND_REF]; p++) {
            int bad = 0;
            for (uint64_t seed = 1; seed <= 3; seed++) bad |= check(s, op, &op->probe[p], seed);
            bad ? failed++ : passed++;
        }
    }
    step_free(s);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
