#include "core/optim.h"

#include <math.h>
#include <string.h>

RECIPE_TABLE(optim_table, "Optimizer", OptimSettings, OPTIM_FIELDS);

enum { STRETCH = 1 << 16 }; /* elements one thread takes at a time; also the grain of the norm's sum */

bool optim_open(Optim *o, const OptimSettings *set, Params *params, Error *e) {
    *o = (Optim){.set = set, .params = params};
    size_t n = (size_t)params->trained + 16;
    o->stretches = (params->trained + STRETCH - 1) / STRETCH;
    o->first = mem_zero(n, sizeof *o->first);
    o->partial = mem_zero((size_t)o->stretches + 1, sizeof *o->partial);
    if (set->kind == OPTIM_ADAMW) o->second = mem_zero(n, sizeof *o->second);
    if (set->ema > 0) o->average = mem_get(n * sizeof *o->average);
    if (!o->first || !o->partial || (set->kind == OPTIM_ADAMW && !o->second) ||
        (set->ema > 0 && !o->average)) {
        optim_close(o);
        return error_memory(e, n * sizeof *o->first);
    }
    if (!o->average) return true;
    for (int i = 0; i < params->count; i++) {
        const Tensor *t = &params->list[i]->tensor;
        if (t->grad) memcpy(o->average + (tensor_real(t->grad) - params->grad), t->data, tensor_bytes(t));
    }
    return true;
}

void optim_close(Optim *o) {
    mem_free(o->first);
    mem_free(o->second);
    mem_free(o->average);
    mem_free(o->partial);
    *o = (Optim){0};
}

/* Padding between tensors is zero and stays zero, so whole slabs can be walked. */
double optim_norm(Optim *o) {
    const real *g = o->params->grad;
    int64_t n = o->params->trained;
#pragma omp parallel for schedule(static)
    for (int64_t s = 0; s < o->stretches; s++) {
        int64_t end = (s + 1) * STRETCH < n ? (s + 1) * STRETCH : n;
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = s * STRETCH; i < end; i++) sum += (double)g[i] * (double)g[i];
        o->partial[s] = sum;
    }
    double total = 0;
    for (int64_t s = 0; s < o->stretches; s++) total += o->partial[s];
    return sqrt(total);
}

/* torch.optim.AdamW: decoupled decay first; p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps). */
static void adamw(const Optim *o, const Param *q, int64_t at, int64_t n, double lr, double scale) {
    const OptimSettings *set = o->set;
    real *restrict p = tensor_real(&q->tensor);
    const real *restrict g = tensor_real(q->tensor.grad);
    real *restrict m = o->first + at, *restrict v = o->second + at;
    double t = (double)o->steps;
    real keep = (real)(1 - lr * (q->decay ? set->weight_decay : 0)), b1 = (real)set->beta1,
         b2 = (real)set->beta2;
    real size = (real)(lr / (1 - pow(set->beta1, t))), root = (real)(1 / sqrt(1 - pow(set->beta2, t)));
    real eps = (real)set->eps, k = (real)scale, c1 = (real)(1 - set->beta1), c2 = (real)(1 - set->beta2);
#pragma omp parallel for simd schedule(static) if (n > STRETCH)
    for (int64_t i = 0; i < n; i++) {
        real x = k * g[i];
        m[i] = b1 * m[i] + c1 * x;
        v[i] = b2 * v[i] + c2 * x * x;
        p[i] = keep * p[i] - size * m[i] / (real_sqrt(v[i]) * root + eps);
    }
}

/* torch.optim.SGD, weight decay coupled: g += wd p; m = mu m + g; p -= lr m. */
static void sgd(const Optim *o, const Param *q, int64_t at, int64_t n, double lr, double scale) {
    real *restrict p = tensor_real(&q->tensor), *restrict m = o->first + at;
    const real *restrict g = tensor_real(q->tensor.grad);
    real wd = (real)(q->decay ? o->set->weight_decay : 0), mu = (real)o->set->momentum, k = (real)scale,
         r = (real)lr;
#pragma omp parallel for simd schedule(static) if (n > STRETCH)
    for (int64_t i = 0; i < n; i++) {
        m[i] = mu * m[i] + (k * g[i] + wd * p[i]);
        p[i] -= r * m[i];
    }
}

static double norm_of(const real *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

/* MAE util/lars.py: tensors of more than one axis get decay and g *= trust |p| / |g|; then momentum, lr last.
 */
static void lars(const Optim *o, const Param *q, int64_t at, int64_t n, double lr, double scale) {
    real *p = tensor_real(&q->tensor), *m = o->first + at, *g = tensor_real(q->tensor.grad);
    bool adapt = q->tensor.ndim > 1;
    real wd = (real)(adapt ? o->set->weight_decay : 0), mu = (real)o->set->momentum, k = (real)scale,
         r = (real)lr;
    for (int64_t i = 0; i < n; i++) g[i] = k * g[i] + wd * p[i];
    double norm_p = norm_of(p, n), norm_g = norm_of(g, n);
    real trust = adapt && norm_p > 0 && norm_g > 0 ? (real)(o->set->trust * norm_p / norm_g) : 1;
    for (int64_t i = 0; i < n; i++) {
        m[i] = mu * m[i] + trust * g[i];
        p[i] -= r * m[i];
    }
}

void optim_update(Optim *o, double lr, double scale) {
    o->steps++;
    for (int i = 0; i < o->params->count; i++) {
        const Param *q = o->params->list[i];
        if (!q->tensor.grad) continue;
        int64_t at = tensor_real(q->tensor.grad) - o->params->grad, n = tensor_count(&q->tensor);
        double rate = lr * q->lr_scale;
        if (o->set->kind == OPTIM_ADAMW)
            adamw(o, q, at, n, rate, scale);
        else if (o->set->kind == OPTIM_SGD)
            sgd(o, q, at, n, rate, scale);
        else
            lars(o, q, at, n, rate, scale);
        if (!o->average) continue;
        real d = (real)o->set->ema, *restrict a = o->average + at;
        const real *restrict p = tensor_real(&q->tensor);
#pragma omp parallel for simd schedule(static) if (n > STRETCH)
        for (int64_t j = 0; j < n; j++) a[j] = d * a[j] + (1 - d) * p[j];
    }
}

void optim_swap_average(Optim *o) {
    if (!o->average) return;
    for (int i = 0; i < o->params->count; i++) {
        const Tensor *t = &o->params->list[i]->tensor;
        if (!t->grad) continue;
        real *p = tensor_real(t), *a = o->average + (tensor_real(t->grad) - o->params->grad);
        for (int64_t j = 0; j < tensor_count(t); j++) {
            real x = p[j];
            p[j] = a[j];
            a[j] = x;
        }
    }
}

Tensor *optim_tensor(const Optim *o, int kind, int i, Tensor *room) {
    const Tensor *t = &o->params->list[i]->tensor;
    real *slab = kind == 0 ? o->first : kind == 1 ? o->second : o->average;
    if (!t->grad || !slab) return NULL;
    *room = *t;
    room->grad = NULL;
    room->needs_grad = false;
    room->data = slab + (tensor_real(t->grad) - o->params->grad);
    return room;
}
