/* probe: a probe of an op made into a call, for the checks that run over all of them. */
#ifndef LETHE_TESTS_PROBE_H
#define LETHE_TESTS_PROBE_H

#include "core/ops.h"

#include <string.h>

/* Fills t with draws from the range of the probe's input. */
static inline void probe_fill(const Tensor *t, const ProbeIn *in, Rng *r) {
    double lo = in->lo, hi = in->hi;
    if (lo == 0 && hi == 0) lo = -1, hi = 1;
    for (int64_t i = 0; i < tensor_count(t); i++) {
        if (t->dtype == DT_I32)
            tensor_i32(t)[i] =
                (int32_t)(in->least + (int64_t)rng_below(r, (uint64_t)(in->below - in->least)));
        else
            tensor_real(t)[i] = (real)rng_range(r, lo, hi);
    }
}

/* The call with drawn inputs, before op_run. All that may have a gradient want it. */
static inline OpCall probe_open(Step *s, const Probe *p, Rng *r) {
    OpCall c = {0};
    for (int k = 0; k < OP_IN; k++) {
        const ProbeIn *in = &p->in[k];
        if (in->ndim == 0) continue;
        c.in[k] = step_tensor(s, in->below > 0 ? DT_I32 : DT_F32, in->ndim, in->dim);
        c.in[k]->name = "input";
        probe_fill(c.in[k], in, r);
        if (c.in[k]->dtype == DT_F32 && !in->constant) step_want_grad(c.in[k]);
    }
    memcpy(c.f, p->f, sizeof c.f);
    memcpy(c.i, p->i, sizeof c.i);
    return c;
}

#endif
