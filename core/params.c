#include "core/params.h"

#include "core/device.h"

#include <math.h>
#include <string.h>

Tensor *params_add(Params *p, const char *name, int ndim, const int64_t *dim, Init init) {
    if (p->value) die("params: %s declared after params_build", name);
    if (strlen(name) >= sizeof p->list[0]->name) die("params: the name %s is too long", name);
    if (params_find(p, name)) die("params: %s is declared twice", name);
    if (p->count == p->room) {
        p->room = p->room ? 2 * p->room : 64;
        p->list = mem_resize(p->list, (size_t)p->room * sizeof *p->list);
        if (!p->list) die("params: out of memory");
    }
    Param *q = mem_zero(1, sizeof *q);
    if (!q) die("params: out of memory");
    strcpy(q->name, name);
    size_t n = strlen(name);
    bool is_bias = n >= 5 && strcmp(name + n - 5, ".bias") == 0;
    q->tensor = (Tensor){.ndim = ndim, .dtype = DT_F32, .name = q->name, .param = true};
    memcpy(q->tensor.dim, dim, (size_t)ndim * sizeof *dim);
    q->init = init;
    q->decay = ndim > 1 && !is_bias;
    q->lr_scale = 1;
    p->list[p->count++] = q;
    return &q->tensor;
}

Param *params_of(Tensor *t) {
    return (Param *)t;
}

Param *params_find(const Params *p, const char *name) {
    for (int i = 0; i < p->count; i++)
        if (strcmp(p->list[i]->name, name) == 0) return p->list[i];
    return NULL;
}

static void fill(Param *q, uint64_t seed) {
    Rng r = rng_open(seed, RNG_INIT, 0, rng_hash(q->name));
    int64_t n = tensor_count(&q->tensor), rows = q->tensor.ndim ? q->tensor.dim[0] : 1;
    real *v = tensor_real(&q->tensor);
    double a = q->init.a, xavier = sqrt(6.0 / (double)(rows + n / rows));
    double he = sqrt(
        2.0 / ((double)rows * (q->tensor.ndim == 4 ? (double)(q->tensor.dim[2] * q->tensor.dim[3]) : 1)));
    for (int64_t i = 0; i < n; i++) {
        double x = 0;
        switch (q->init.kind) {
        case INIT_VALUE:
            x = a;
            break;
        case INIT_NORMAL:
            x = a * rng_normal(&r);
            break;
        case INIT_TRUNC_NORMAL:
            do x = a * rng_normal(&r);
            while (x < -2 || x > 2);
            break;
        case INIT_UNIFORM:
            x = rng_range(&r, -a, a);
            break;
        case INIT_XAVIER:
            x = rng_range(&r, -xavier, xavier);
            break;
        case INIT_KAIMING:
            x = he * rng_normal(&r);
            break;
        case INIT_LATER:
            break;
        }
        v[i] = (real)x;
    }
}

static int64_t room_of(const Param *q) {
    return (tensor_count(&q->tensor) + 15) / 16 * 16;
}

/* Memory that nobody touches costs address space alone. */
static real *slab_get(const Params *p, int64_t n) {
    return p->dry ? mem_get((size_t)n * sizeof(real)) : mem_zero((size_t)n, sizeof(real));
}

/* Lays out the values: the trained ones first, then from `trained` rounded up to `multiple` on the frozen
 * ones. What they are now is kept. */
static bool values_place(Params *p, int64_t multiple, Error *e) {
    int64_t trained = 0, frozen = 0;
    for (int i = 0; i < p->count; i++) *(p->list[i]->frozen ? &frozen : &trained) += room_of(p->list[i]);
    trained = (trained + multiple - 1) / multiple * multiple;
    real *value = slab_get(p, trained + frozen), *old = p->value;
    if (!p->host) p->host = mem_zero((size_t)p->count + 1, sizeof *p->host);
    if (!value || !p->host) {
        mem_free(value);
        return error_memory(e, (size_t)(trained + frozen) * sizeof *value);
    }
    real *at[2] = {value, value + trained};
    for (int i = 0; i < p->count; i++) {
        Tensor *t = &p->list[i]->tensor;
        real **to = &at[p->list[i]->frozen];
        if (t->data && !p->dry) memcpy(*to, t->data, tensor_bytes(t));
        t->data = *to;
        p->host[i] = *t;
        *to += room_of(p->list[i]);
    }
    mem_free(old);
    p->value = value;
    p->values = trained + frozen;
    p->trained = trained;
    return true;
}

bool params_build(Params *p, uint64_t seed, Error *e) {
    if (!values_place(p, 1, e)) return false;
    if (p->dry) return true;
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < p->count; i++) fill(p->list[i], seed);
    return true;
}

bool params_train(Params *p, int64_t multiple, Error *e) {
    if (!values_place(p, multiple, e)) return false;
    p->grad = slab_get(p, p->trained);
    Tensor *header = mem_zero((size_t)p->count + 1, sizeof *header);
    if (!p->grad || !header) {
        mem_free(header);
        return error_memory(e, (size_t)p->trained * sizeof *p->grad);
    }
    p->header = header;
    for (int i = 0; i < p->count; i++) {
        Tensor *t = &p->list[i]->tensor;
        if (p->list[i]->frozen) continue;
        header[i] = *t;
        header[i].data = p->grad + (tensor_real(t) - p->value);
        header[i].param = false;
        t->grad = &header[i];
        t->needs_grad = t->grad_fresh = true;
    }
    return true;
}

void params_to_device(Params *p) {
    size_t values = (size_t)p->values * sizeof *p->value, grads = (size_t)p->trained * sizeof *p->grad;
    p->device = device_get(values);
    mem_free(p->grad);
    p->grad = device_get(grads);
    device_zero(p->grad, grads);
    for (int i = 0; i < p->count; i++) {
        Tensor *t = &p->list[i]->tensor;
        int64_t at = tensor_real(&p->host[i]) - p->value;
        t->data = p->device + at;
        t->device = true;
        if (!t->grad) continue;
        t->grad->data = p->grad + at;
        t->grad->device = true;
    }
    params_put(p);
}

void params_fetch(Params *p) {
    if (!p->device) return;
    device_copy(p->value, p->device, (size_t)p->values * sizeof *p->value);
    device_wait();
}

void params_put(Params *p) {
    if (!p->device) return;
    device_copy(p->device, p->value, (size_t)p->values * sizeof *p->value);
    device_wait();
}

void params_begin(Params *p) {
    for (int i = 0; i < p->count; i++) p->list[i]->tensor.uses = 0;
}

void params_zero_grad(Params *p) {
    for (int i = 0; i < p->count; i++) p->list[i]->tensor.grad_fresh = p->list[i]->tensor.grad != NULL;
}

void params_settle_one(Param *q) {
    Tensor *t = &q->tensor;
    if (!t->grad || !t->grad_fresh) return;
    if (t->grad->device)
        device_zero(t->grad->data, tensor_bytes(t));
    else
        memset(t->grad->data, 0, tensor_bytes(t));
    t->grad_fresh = false;
}

void params_settle_grad(Params *p) {
    for (int i = 0; i < p->count; i++) params_settle_one(p->list[i]);
}

void params_free(Params *p) {
    for (int i = 0; i < p->count; i++) mem_free(p->list[i]);
    mem_free(p->list);
    mem_free(p->value);
    if (p->device) {
        device_free(p->device);
        device_free(p->grad);
    } else {
        mem_free(p->grad);
    }
    mem_free(p->header);
    mem_free(p->host);
    *p = (Params){0};
}
