#include "core/cuda.h"
#include "core/optim_cuda.h"

#include <math.h>

/* CHUNK: elements one block takes at a time, and the grain of all sums. */
enum { THREADS = 256, CHUNK = 1 << 13 };

/* What kernels read, by value: settings in f32, rounded as optim.c rounds them. */
typedef struct Walk {
    const OptimSpan *span;
    const OptimChunk *chunk;
    const OptimScalars *scalars;
    const OptimVerdict *verdict;
    const double *norms;
    int64_t chunks;
    float beta1, beta2, grow1, grow2, eps, momentum, ema;
    double trust;
    OptimSlabs slab;
} Walk;

static Walk walk_of(const OptimCuda *o, const OptimSlabs *s) {
    const OptimSettings *set = &o->set;
    Walk w = {};
    w.span = o->span;
    w.chunk = o->chunk;
    w.scalars = o->scalars;
    w.verdict = o->verdict;
    w.norms = o->norms;
    w.chunks = o->chunks;
    w.beta1 = (float)set->beta1;
    w.beta2 = (float)set->beta2;
    w.grow1 = (float)(1 - set->beta1);
    w.grow2 = (float)(1 - set->beta2);
    w.eps = (float)set->eps;
    w.momentum = (float)set->momentum;
    w.ema = (float)set->ema;
    w.trust = set->trust;
    w.slab = *s;
    return w;
}

/* ---- norms ---- */

/* The sum over the block's threads, given to all of them, in a fixed order. */
__device__ static double block_sum_double(double v) {
    __shared__ double part[THREADS];
    __syncthreads(); /* part may still be read from the call before */
    part[threadIdx.x] = v;
    __syncthreads();
    for (int half = THREADS / 2; half; half /= 2) {
        if ((int)threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
        __syncthreads();
    }
    return part[0];
}

__global__ static void squares_of_chunks(const float *grad, const OptimChunk *chunk, int64_t chunks,
                                         double *partial) {
    for (int64_t k = blockIdx.x; k < chunks; k += gridDim.x) {
        const float *g = grad + chunk[k].from;
        double sum = 0;
        for (int i = threadIdx.x; i < chunk[k].count; i += THREADS) sum += (double)g[i] * (double)g[i];
        sum = block_sum_double(sum);
        if (threadIdx.x == 0) partial[k] = sum;
    }
}

__global__ static void sum_of_chunks(const double *partial, int64_t chunks, double *to) {
    double sum = 0;
    for (int64_t k = threadIdx.x; k < chunks; k += THREADS) sum += partial[k];
    sum = block_sum_double(sum);
    if (threadIdx.x == 0) *to = sum;
}

void optim_cuda_squares(const OptimCuda *o, const float *grad) {
    if (o->chunks)
        LAUNCH(squares_of_chunks, cuda_blocks(o->chunks, 1), THREADS, grad, o->chunk, o->chunks, o->partial);
    LAUNCH(sum_of_chunks, 1, THREADS, o->partial, o->chunks, o->squares);
}

__global__ static void judge(const double *squares, const float *loss, double clip, OptimVerdict *verdict) {
    double norm = sqrt(*squares);
    verdict->norm = norm;
    verdict->scale = (float)(clip > 0 && norm > clip ? clip / (norm + 1e-6) : 1);
    verdict->fine = isfinite(norm) && (!loss || isfinite(*loss));
}

void optim_cuda_judge(const OptimCuda *o, const float *loss) {
    LAUNCH(judge, 1, 1, o->squares, loss, o->set.clip, o->verdict);
}

/* partial: for each chunk the sums of squares of p and of the decayed gradient. */
__global__ static void norms_of_chunks(Walk w, double *partial) {
    for (int64_t k = blockIdx.x; k < w.chunks; k += gridDim.x) {
        const OptimChunk c = w.chunk[k];
        float decay = (float)w.span[c.span].decay, scale = w.verdict->scale;
        double p_sum = 0, g_sum = 0;
        for (int64_t i = c.from + threadIdx.x; i < c.from + c.count; i += THREADS) {
            float p = w.slab.value[i], g = scale * w.slab.grad[i] + decay * p;
            p_sum += (double)p * (double)p;
            g_sum += (double)g * (double)g;
        }
        p_sum = block_sum_double(p_sum);
        g_sum = block_sum_double(g_sum);
        if (threadIdx.x > 0) continue;
        partial[2 * k] = p_sum;
        partial[2 * k + 1] = g_sum;
    }
}

__global__ static void norms_of_spans(const OptimSpan *span, const double *partial, double *norms) {
    const OptimSpan q = span[blockIdx.x];
    double p_sum = 0, g_sum = 0;
    for (int64_t k = q.chunk + threadIdx.x; k < q.chunk + q.chunks; k += THREADS) {
        p_sum += partial[2 * k];
        g_sum += partial[2 * k + 1];
    }
    p_sum = block_sum_double(p_sum);
    g_sum = block_sum_double(g_sum);
    if (threadIdx.x > 0) return;
    norms[2 * blockIdx.x] = p_sum;
    norms[2 * blockIdx.x + 1] = g_sum;
}

void optim_cuda_norms(const OptimCuda *o, const OptimSlabs *s) {
    if (!o->norms || !o->spans) return;
    if (o->chunks) LAUNCH(norms_of_chunks, cuda_blocks(o->chunks, 1), THREADS, walk_of(o, s), o->partial);
    LAUNCH(norms_of_spans, (unsigned)o->spans, THREADS, o->span, o->partial, o->norms);
}

/* ---- updates ---- */

/* Element i has its new value p: all that is kept of it. */
__device__ static void settle(const Walk &w, int64_t i, float p) {
    if (w.slab.average) w.slab.average[i] = w.ema * w.slab.average[i] + (1 - w.ema) * p;
    if (w.slab.half) store(w.slab.half + i, p);
    w.slab.value[i] = p;
}

/* torch.optim.AdamW; see optim.c. All of an element is read before anything of it is written. */
__device__ static void adamw_chunk(const Walk &w, const OptimSpan &q, const OptimChunk &c) {
    double rate = w.scalars->lr * q.lr_scale;
    float keep = (float)(1 - rate * q.decay), size = (float)(rate / w.scalars->bias);
    float root = (float)w.scalars->root, scale = w.verdict->scale;
    float *first = w.slab.first + c.at, *second = w.slab.second + c.at;
    for (int i = threadIdx.x; i < c.count; i += THREADS) {
        float x = scale * w.slab.grad[c.from + i], p = w.slab.value[c.from + i];
        float m = w.beta1 * first[i] + w.grow1 * x, v = w.beta2 * second[i] + w.grow2 * x * x;
        first[i] = m;
        second[i] = v;
        settle(w, c.from + i, keep * p - size * m / (sqrtf(v) * root + w.eps));
    }
}

/* torch.optim.SGD, and MAE's LARS, which is SGD with a trust factor a tensor. */
__device__ static void momentum_chunk(const Walk &w, const OptimSpan &q, const OptimChunk &c, float trust) {
    float rate = (float)(w.scalars->lr * q.lr_scale), decay = (float)q.decay, scale = w.verdict->scale;
    float *first = w.slab.first + c.at;
    for (int i = threadIdx.x; i < c.count; i += THREADS) {
        float x = scale * w.slab.grad[c.from + i], p = w.slab.value[c.from + i];
        float m = w.momentum * first[i] + trust * (x + decay * p);
        first[i] = m;
        settle(w, c.from + i, p - rate * m);
    }
}

__device__ static float trust_of(const Walk &w, int32_t span) {
    double p = sqrt(w.norms[2 * span]), g = sqrt(w.norms[2 * span + 1]);
    return w.span[span].adapt && p > 0 && g > 0 ? (float)(w.trust * p / g) : 1;
}

__global__ static void update_adamw(Walk w) {
    if (!w.verdict->fine) return;
    for (int64_t k = blockIdx.x; k < w.chunks; k += gridDim.x) {
        const OptimChunk c = w.chunk[k];
        adamw_chunk(w, w.span[c.span], c);
    }
}

__global__ static void update_momentum(Walk w) {
    if (!w.verdict->fine) return;
    for (int64_t k = blockIdx.x; k < w.chunks; k += gridDim.x) {
        const OptimChunk c = w.chunk[k];
        momentum_chunk(w, w.span[c.span], c, w.norms ? trust_of(w, c.span) : 1);
    }
}

void optim_cuda_update(const OptimCuda *o, const OptimSlabs *s) {
    if (!o->chunks) return;
    if (o->set.kind == OPTIM_ADAMW)
        LAUNCH(update_adamw, cuda_blocks(o->chunks, 1), THREADS, walk_of(o, s));
    else
        LAUNCH(update_momentum, cuda_blocks(o->chunks, 1), THREADS, walk_of(o, s));
}

__global__ static void average_all(const float *value, float *average, int64_t n, float ema,
                                   const OptimVerdict *verdict) {
    if (!verdict->fine) return;
    FOR_GRID(i, n) average[i] = ema * average[i] + (1 - ema) * value[i];
}

void optim_cuda_average(const OptimCuda *o, const OptimSlabs *s) {
    if (s->average && o->trained)
        LAUNCH(average_all, cuda_blocks(o->trained, THREADS), THREADS, s->value, s->average, o->trained,
               (float)o->set.ema, o->verdict);
}

/* ---- the numbers of one update ---- */

OptimScalars optim_cuda_scalars(const OptimSettings *set, int64_t step, double lr) {
    double t = (double)step;
    return {lr, 1 - pow(set->beta1, t), 1 / sqrt(1 - pow(set->beta2, t))};
}

/* `now` is read before the call returns: a copy this small from memory that is not pinned is staged. */
void optim_cuda_step(const OptimCuda *o, int64_t step, double lr) {
    OptimScalars now = optim_cuda_scalars(&o->set, step, lr);
    CUDA(cudaMemcpyAsync(o->scalars, &now, sizeof now, cudaMemcpyHostToDevice, cuda.stream));
}

/* ---- tables ---- */

template <class T> static T *device_room(int64_t n) {
    return (T *)device_get((size_t)n * sizeof(T));
}

/* n of T in the host's memory, copied to the device and given back here. */
template <class T> static T *device_take(T *from, int64_t n) {
    T *p = device_room<T>(n);
    device_copy(p, from, (size_t)n * sizeof *p);
    mem_free(from);
    return p;
}

template <class T> static T *host_room(int64_t n) {
    T *p = (T *)mem_zero((size_t)n + 1, sizeof *p);
    if (!p) give_up("out of memory: the optimizer's tables need %zu bytes", (size_t)n * sizeof *p);
    return p;
}

/* Writes the chunks of parameter q that lie in a part to `to`, or counts them where that is NULL. */
static int64_t chunks_of(const Params *params, const Param *q, int32_t span, const OptimPart *part, int parts,
                         OptimChunk *to) {
    int64_t begin = tensor_real(q->tensor.grad) - params->grad, end = begin + tensor_count(&q->tensor), n = 0;
    for (int k = 0; k < parts; k++) {
        int64_t from = begin > part[k].begin ? begin : part[k].begin;
        int64_t past = end < part[k].end ? end : part[k].end;
        for (; from < past; from += CHUNK, n++) {
            int32_t count = past - from < CHUNK ? (int32_t)(past - from) : CHUNK;
            if (to) to[n] = {from, part[k].at + from - part[k].begin, count, span};
        }
    }
    return n;
}

static OptimSpan span_of(const OptimSettings *set, const Param *q) {
    OptimSpan s = {};
    s.lr_scale = q->lr_scale;
    s.adapt = q->tensor.ndim > 1;
    s.decay = (set->kind == OPTIM_LARS ? s.adapt : q->decay) ? set->weight_decay : 0;
    return s;
}

static void tables_make(OptimCuda *o, const Params *params, const OptimPart *part, int parts) {
    OptimSpan *span = host_room<OptimSpan>(params->count);
    for (int i = 0; i < params->count; i++) {
        const Param *q = params->list[i];
        if (!q->tensor.grad) continue;
        OptimSpan *s = &span[o->spans];
        *s = span_of(&o->set, q);
        s->chunk = o->chunks;
        s->chunks = chunks_of(params, q, o->spans++, part, parts, NULL);
        o->chunks += s->chunks;
    }
    OptimChunk *chunk = host_room<OptimChunk>(o->chunks), *to = chunk;
    for (int i = 0, k = 0; i < params->count; i++)
        if (params->list[i]->tensor.grad) to += chunks_of(params, params->list[i], k++, part, parts, to);
    o->span = device_take(span, o->spans);
    o->chunk = device_take(chunk, o->chunks);
}

void optim_cuda_open(OptimCuda *o, const OptimSettings *set, const Params *params, const OptimPart *part,
                     int parts) {
    const OptimPart all = {0, params->trained, 0};
    *o = {};
    o->set = *set;
    o->trained = params->trained;
    tables_make(o, params, part ? part : &all, part ? parts : 1);
    o->scalars = device_room<OptimScalars>(1);
    o->verdict = device_room<OptimVerdict>(1);
    o->squares = device_room<double>(1);
    if (set->kind == OPTIM_LARS) o->norms = device_room<double>(2 * o->spans);
    o->partial = device_room<double>(2 * o->chunks);
    CUDA(cudaDeviceSynchronize()); /* the tables are there, whatever stream reads them */
}

void optim_cuda_close(OptimCuda *o) {
    void *const all[] = {o->span, o->chunk, o->scalars, o->verdict, o->squares, o->norms, o->partial};
    for (void *p : all)
        if (p) CUDA(cudaFree(p));
    *o = {};
}
