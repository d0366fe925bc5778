#include "core/optim.h"

#include "core/comm.h"

#include <math.h>
#include <string.h>

RECIPE_TABLE(optim_table, "Optimizer", OptimSettings, OPTIM_FIELDS);

enum { STRETCH = 1 << 16 }; /* elements one thread takes at a time; also the grain of the norm's sum */

int64_t optim_elements(const OptimPart *part, int parts) {
    int64_t n = 0;
    for (int i = 0; i < parts; i++) n += part[i].end - part[i].begin;
    return n;
}

static int64_t stretches_of(const Optim *o) {
    int64_t n = 0;
    for (int i = 0; i < o->parts; i++) n += (o->part[i].end - o->part[i].begin + STRETCH - 1) / STRETCH;
    return n;
}

bool optim_open(Optim *o, const OptimSettings *set, Params *params, const OptimPart *part, int parts,
                Error *e) {
    const OptimPart all = {0, params->trained, 0};
    *o = (Optim){.set = set, .params = params, .sharded = part != NULL, .parts = part ? parts : 1};
    size_t bytes = (size_t)o->parts * sizeof *o->part;
    if (!(o->part = mem_get(bytes))) return error_memory(e, bytes);
    memcpy(o->part, part ? part : &all, bytes);
    size_t n = (size_t)optim_elements(o->part, o->parts) + 16, whole = (size_t)params->trained;
    o->stretches = stretches_of(o);
    o->first = mem_zero(n, sizeof *o->first);
    o->partial = mem_zero((size_t)o->stretches + 1, sizeof *o->partial);
    if (set->kind == OPTIM_ADAMW) o->second = mem_zero(n, sizeof *o->second);
    if (set->ema > 0) o->average = mem_get(whole * sizeof *o->average);
    if (!o->first || !o->partial || (set->kind == OPTIM_ADAMW && !o->second) ||
        (set->ema > 0 && !o->average)) {
        optim_close(o);
        return error_memory(e, n * sizeof *o->first);
    }
    if (o->average) memcpy(o->average, params->value, whole * sizeof *o->average);
    return true;
}

bool optim_settings(Optim *o, const OptimSettings *set, Params *params, bool sharded) {
    *o = (Optim){.set = set, .params = params, .sharded = sharded};
    return true;
}

void optim_close(Optim *o) {
    mem_free(o->part);
    mem_free(o->first);
    mem_free(o->second);
    mem_free(o->average);
    mem_free(o->partial);
    *o = (Optim){0};
}

static double square_of(const real *g, int64_t n) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += (double)g[i] * (double)g[i];
    return sum;
}

/* Padding between tensors is zero and stays zero, so whole slabs can be walked. */
double optim_norm(Optim *o) {
    double *partial = o->partial, total = 0;
    for (int k = 0; k < o->parts; k++) {
        int64_t begin = o->part[k].begin, end = o->part[k].end, count = (end - begin + STRETCH - 1) / STRETCH;
        const real *g = o->params->grad;
#pragma omp parallel for schedule(static)
        for (int64_t s = 0; s < count; s++) {
            int64_t at = begin + s * STRETCH, n = end - at < STRETCH ? end - at : STRETCH;
            partial[s] = square_of(g + at, n);
        }
        partial += count;
    }
    for (int64_t s = 0; s < o->stretches; s++) total += o->partial[s];
    if (o->sharded) comm_sum(&total, 1);
    return sqrt(total);
}

/* Elements from .. from + n - 1 of the slabs, all of parameter q; their moments stand from `at` on. */
typedef struct Stretch {
    const Param *q;
    int64_t from, at, n;
} Stretch;

/* torch.optim.AdamW: decoupled decay first; p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps). */
static void adamw(const Optim *o, const Stretch *x, double lr, double scale) {
    const OptimSettings *set = o->set;
    int64_t n = x->n;
    real *restrict p = o->params->value + x->from;
    const real *restrict g = o->params->grad + x->from;
    real *restrict m = o->first + x->at, *restrict v = o->second + x->at;
    double t = (double)o->steps;
    real keep = (real)(1 - lr * (x->q->decay ? set->weight_decay : 0)), b1 = (real)set->beta1,
         b2 = (real)set->beta2;
    real size = (real)(lr / (1 - pow(set->beta1, t))), root = (real)(1 / sqrt(1 - pow(set->beta2, t)));
    real eps = (real)set->eps, k = (real)scale, c1 = (real)(1 - set->beta1), c2 = (real)(1 - set->beta2);
#pragma omp parallel for simd schedule(static) if (n > STRETCH)
    for (int64_t i = 0; i < n; i++) {
        real y = k * g[i];
        m[i] = b1 * m[i] + c1 * y;
        v[i] = b2 * v[i] + c2 * y * y;
        p[i] = keep * p[i] - size * m[i] / (real_sqrt(v[i]) * root + eps);
    }
}

/* torch.optim.SGD, weight decay coupled: g += wd p; m = mu m + g; p -= lr m. */
static void sgd(const Optim *o, const Stretch *x, double lr, double scale) {
    int64_t n = x->n;
    real *restrict p = o->params->value + x->from, *restrict m = o->first + x->at;
    const real *restrict g = o->params->grad + x->from;
    real wd = (real)(x->q->decay ? o->set->weight_decay : 0), mu = (real)o->set->momentum, k = (real)scale,
         r = (real)lr;
#pragma omp parallel for simd schedule(static) if (n > STRETCH)
    for (int64_t i = 0; i < n; i++) {
        m[i] = mu * m[i] + (k * g[i] + wd * p[i]);
        p[i] -= r * m[i];
    }
}

/* MAE util/lars.py: tensors of more than one axis get decay and g *= trust |p| / |g|; then momentum, lr last.
 * The stretch is the whole tensor: the norms are its own. */
static void lars(const Optim *o, const Stretch *x, double lr, double scale) {
    int64_t n = x->n;
    real *p = o->params->value + x->from, *m = o->first + x->at, *g = o->params->grad + x->from;
    bool adapt = x->q->tensor.ndim > 1;
    real wd = (real)(adapt ? o->set->weight_decay : 0), mu = (real)o->set->momentum, k = (real)scale,
         r = (real)lr;
    for (int64_t i = 0; i < n; i++) g[i] = k * g[i] + wd * p[i];
    double norm_p = sqrt(square_of(p, n)), norm_g = sqrt(square_of(g, n));
    real trust = adapt && norm_p > 0 && norm_g > 0 ? (real)(o->set->trust * norm_p / norm_g) : 1;
    for (int64_t i = 0; i < n; i++) {
        m[i] = mu * m[i] + trust * g[i];
        p[i] -= r * m[i];
    }
}

static void part_update(Optim *o, const OptimPart *part, double lr, double scale) {
    for (int i = 0; i < o->params->count; i++) {
        const Param *q = o->params->list[i];
        if (!q->tensor.grad) continue;
        int64_t from = tensor_real(q->tensor.grad) - o->params->grad, to = from + tensor_count(&q->tensor);
        if (from < part->begin) from = part->begin;
        if (to > part->end) to = part->end;
        if (from >= to) continue;
        Stretch x = {q, from, part->at + from - part->begin, to - from};
        double rate = lr * q->lr_scale;
        if (o->set->kind == OPTIM_ADAMW)
            adamw(o, &x, rate, scale);
        else if (o->set->kind == OPTIM_SGD)
            sgd(o, &x, rate, scale);
        else
            lars(o, &x, rate, scale);
    }
}

void optim_update(Optim *o, double lr, double scale) {
    o->steps++;
    for (int k = 0; k < o->parts; k++) part_update(o, &o->part[k], lr, scale);
}

void optim_average(Optim *o) {
    if (!o->average) return;
    real d = (real)o->set->ema, *restrict a = o->average;
    const real *restrict p = o->params->value;
#pragma omp parallel for simd schedule(static)
    for (int64_t j = 0; j < o->params->trained; j++) a[j] = d * a[j] + (1 - d) * p[j];
}

void optim_swap_average(Optim *o) {
    if (!o->average) return;
    real *p = o->params->value, *a = o->average;
    for (int64_t j = 0; j < o->params->trained; j++) {
        real x = p[j];
        p[j] = a[j];
        a[j] = x;
    }
}

Tensor *optim_tensor(const Optim *o, int kind, int i, real *slab, Tensor *room) {
    const Tensor *t = &o->params->list[i]->tensor;
    bool has = kind == 0 || (kind == 1 ? o->set->kind == OPTIM_ADAMW : o->set->ema > 0);
    if (!t->grad || !has) return NULL;
    *room = *t;
    room->grad = NULL;
    room->needs_grad = room->param = false;
    room->data = slab ? slab + (tensor_real(t->grad) - o->params->grad) : NULL;
    return room;
}
