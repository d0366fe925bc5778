/* attention on CUDA. In bf16, without a bias and with heads of up to 128 channels by eights, cuDNN does it
 * (core/cuda_attention.h); the kernels of heads.cuh do all else, and one here the bias's gradient: a block
 * owns a tile of scores and goes through samples and heads. */
#include "core/cuda.h"
#include "core/cuda_attention.h"
#include "core/cuda_values.h"
#include "core/op/heads.cuh"
#include "core/ops.h"

/* A tile of the gradient of one of the biases: all samples and heads that share it are summed in order. */
template <class T>
__global__ static void backward_bias(Heads<T> a, int64_t by_batch, int64_t by_head, float *db, bool fresh) {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int64_t across = (a.m + OTHER - 1) / OTHER, down = (a.n + OWN - 1) / OWN;
    int64_t j = blockIdx.x % across * OTHER, i = blockIdx.x / across % down * OWN;
    int64_t which = blockIdx.x / (across * down), its_b = which / by_head, its_h = which % by_head;
    float sum[EACH] = {};
    for (int64_t b = by_batch > 1 ? its_b : 0; b < (by_batch > 1 ? its_b + 1 : a.batch); b++)
        for (int64_t h = by_head > 1 ? its_h : 0; h < (by_head > 1 ? its_h + 1 : a.heads); h++) {
            float s[EACH], dp[EACH], ds;
            products(queries(a, b, h), i, keys(a, a.k, b, h), j, a.d, s);
            products(outputs(a, a.dy, b, h), i, keys(a, a.v, b, h), j, a.d, dp);
            for (int e = 0; e < EACH; e++) {
                probability(a, b, h, i + warp * EACH + e, j + lane, s[e], dp[e], &ds);
                sum[e] += ds;
            }
        }
    for (int e = 0; e < EACH; e++) {
        int64_t row = i + warp * EACH + e;
        if (row >= a.n || j + lane >= a.m) continue;
        float *p = db + (which * a.n + row) * a.m + j + lane;
        *p = fresh ? sum[e] : *p + sum[e];
    }
}

/* ---- launches ---- */

static AttentionShape shape_of(const OpCall *c) {
    const Tensor *q = c->in[0], *k = c->in[1];
    AttentionShape s = {};
    s.batch = q->dim[0], s.heads = c->i[0], s.n = q->dim[1], s.m = k ? k->dim[1] : s.n;
    s.d = tensor_last(q) / (k ? 1 : 3) / s.heads;
    s.q_row = tensor_last(q), s.k_row = k ? tensor_last(k) : s.q_row, s.causal = c->i[1];
    return s;
}

/* Keys and values of packed rows stand one and two widths behind the queries. */
template <class T> static T *part(const OpCall *c, const AttentionShape *s, const Tensor *own, int k) {
    if (c->in[1]) return own ? (T *)own->data : NULL;
    return (T *)own->data + k * s->heads * s->d;
}

template <class T> static Heads<T> heads_of(const OpCall *c, const AttentionShape *s) {
    Heads<T> a = {};
    const Tensor *bias = c->in[3], *q = c->in[0];
    a.batch = s->batch, a.heads = s->heads, a.d = s->d, a.n = s->n, a.m = s->m;
    a.q_row = s->q_row, a.k_row = s->k_row, a.causal = s->causal;
    a.q = (const T *)q->data, a.k = part<T>(c, s, c->in[1] ? c->in[1] : q, 1);
    a.v = part<T>(c, s, c->in[1] ? c->in[2] : q, 2);
    a.logs = tensor_real(c->save[0]), a.scale = 1.0f / sqrtf((float)s->d);
    if (!bias) return a;
    a.bias = tensor_real(bias);
    a.bias_h = bias->dim[1] > 1 ? s->n * s->m : 0;
    a.bias_b = bias->dim[0] > 1 ? bias->dim[1] * s->n * s->m : 0;
    return a;
}

template <class T> static void forward_own(OpCall *c, const AttentionShape *s) {
    heads_forward(heads_of<T>(c, s), (T *)c->out[0]->data);
}

template <class T> static void bias_launch(const OpCall *c, Heads<T> a, const Grads<T> &to) {
    const int64_t *dim = c->in[3]->dim;
    int64_t blocks = dim[0] * dim[1] * ((a.n + OWN - 1) / OWN) * ((a.m + OTHER - 1) / OTHER);
    LAUNCH(backward_bias, (unsigned)blocks, THREADS, a, dim[0], dim[1], to.bias, to.bias_fresh);
}

/* The three gradients, of which packed ones share a tensor and its freshness. */
typedef struct Wanted {
    Tensor *q, *k, *v;
    bool q_fresh, k_fresh, v_fresh;
} Wanted;

static Wanted wanted_of(OpCall *c) {
    Wanted w = {};
    w.q = op_grad(c, 0, &w.q_fresh);
    w.k = c->in[1] ? op_grad(c, 1, &w.k_fresh) : w.q;
    w.v = c->in[2] ? op_grad(c, 2, &w.v_fresh) : w.q;
    if (!c->in[1]) w.k_fresh = w.v_fresh = w.q_fresh;
    return w;
}

template <class T> static void backward_own(OpCall *c, const AttentionShape *s, const Wanted *w) {
    Heads<T> a = heads_of<T>(c, s);
    Grads<T> to = {};
    Tensor *db = op_grad(c, 3, &to.bias_fresh);
    to.q = w->q ? (T *)w->q->data : NULL;
    to.k = w->k ? part<T>(c, s, w->k, 1) : NULL, to.v = w->v ? part<T>(c, s, w->v, 2) : NULL;
    to.q_fresh = w->q_fresh, to.k_fresh = w->k_fresh, to.v_fresh = w->v_fresh;
    to.bias = db ? tensor_real(db) : NULL;
    a.o = (const T *)c->out[0]->data, a.dy = (const T *)c->out[0]->grad->data;
    int64_t rows = s->batch * s->heads * s->n;
    a.dots = (float *)op_scratch(c, (size_t)rows * sizeof(float));
    heads_dots(a);
    heads_backward(a, to);
    if (to.bias) bias_launch(c, a, to);
    op_scratch_free(c, a.dots);
}

/* ---- cuDNN ---- */

static bool cudnn_takes(const OpCall *c, const AttentionShape *s, bool backward) {
    return c->in[0]->dtype == DT_BF16 && !c->in[3] && cuda_attention_takes(s, backward);
}

static AttentionData data_of(const OpCall *c, const AttentionShape *s) {
    Heads<bf16> a = heads_of<bf16>(c, s);
    AttentionData t = {};
    t.q = a.q, t.k = a.k, t.v = a.v, t.logs = a.logs;
    t.o = tensor_bf16(c->out[0]);
    return t;
}

/* cuDNN overwrites, and always makes all three. */
static void backward_packed(OpCall *c, const AttentionShape *s, AttentionData *t, const Wanted *w) {
    Result to = result_open(c, w->q, DT_BF16, w->q_fresh);
    t->dq = (bf16 *)to.data;
    t->dk = t->dq + s->heads * s->d;
    t->dv = t->dk + s->heads * s->d;
    cuda_attention_backward(c, s, t);
    result_close(c, &to);
}

/* A gradient that nobody wants goes to scratch memory of the tensor's size. */
static Result part_open(OpCall *c, Tensor *wanted, Tensor *like, bool fresh) {
    if (wanted) return result_open(c, wanted, DT_BF16, fresh);
    void *room = op_scratch(c, tensor_bytes(like));
    return {NULL, DT_BF16, true, room, room};
}

static void part_close(OpCall *c, Result *r) {
    if (r->to)
        result_close(c, r);
    else
        op_scratch_free(c, r->scratch);
}

static void backward_apart(OpCall *c, const AttentionShape *s, AttentionData *t, const Wanted *w) {
    Result q = part_open(c, w->q, c->in[0], w->q_fresh);
    Result k = part_open(c, w->k, c->in[1], w->k_fresh);
    Result v = part_open(c, w->v, c->in[2], w->v_fresh);
    t->dq = (bf16 *)q.data;
    t->dk = (bf16 *)k.data;
    t->dv = (bf16 *)v.data;
    cuda_attention_backward(c, s, t);
    part_close(c, &v);
    part_close(c, &k);
    part_close(c, &q);
}

extern "C" void attention_forward_cuda(OpCall *c) {
    AttentionShape s = shape_of(c);
    if (!tensor_count(c->out[0])) return;
    if (cudnn_takes(c, &s, false)) {
        AttentionData t = data_of(c, &s);
        cuda_attention_forward(c, &s, &t);
        return;
    }
    c->in[0]->dtype == DT_BF16 ? forward_own<bf16>(c, &s) : forward_own<float>(c, &s);
}

extern "C" void attention_backward_cuda(OpCall *c) {
    AttentionShape s = shape_of(c);
    if (!tensor_count(c->out[0])) return;
    Wanted w = wanted_of(c);
    if ((w.q || w.k || w.v) && cudnn_takes(c, &s, true)) {
        AttentionData t = data_of(c, &s);
        t.dy = tensor_bf16(c->out[0]->grad);
        c->in[1] ? backward_apart(c, &s, &t, &w) : backward_packed(c, &s, &t, &w);
        return;
    }
    c->in[0]->dtype == DT_BF16 ? backward_own<bf16>(c, &s, &w) : backward_own<float>(c, &s, &w);
}
