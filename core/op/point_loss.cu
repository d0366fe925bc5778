/* point_loss on CUDA: a block sums each of PARTS fixed stretches, then one block sums those, so that the loss
 * has the same bits on every GPU; backward is a thread an element. */
#include "core/cuda.h"
#include "core/ops.h"

enum { THREADS = 256, PARTS = 512 };

typedef struct Loss {
    const float *target, *weight; /* weight may be NULL */
    int64_t each;                 /* elements that share a weight */
    PointLoss kind;
    float beta;
} Loss;

__device__ static float weight(const Loss &l, int64_t i) {
    return l.weight ? l.weight[l.each == 1 ? i : i / l.each] : 1;
}

__device__ static float value(const Loss &l, float x, float t) {
    float far = fabsf(x - t);
    if (l.kind == LOSS_BCE) return fmaxf(x, 0) - x * t + log1pf(expf(-fabsf(x)));
    if (l.kind == LOSS_L1) return far;
    return far >= l.beta ? far - l.beta / 2 : far * far / (2 * l.beta);
}

__device__ static float slope(const Loss &l, float x, float t) {
    float u = x - t;
    if (l.kind == LOSS_BCE) return 1 / (1 + expf(-x)) - t;
    if (l.kind == LOSS_L1 || fabsf(u) >= l.beta) return u > 0 ? 1 : u < 0 ? -1 : 0;
    return u / l.beta;
}

template <class T> __global__ static void forward_parts(const T *x, Loss l, int64_t n, float *part) {
    int64_t each = (n + PARTS - 1) / PARTS, begin = blockIdx.x * each;
    int64_t end = begin + each < n ? begin + each : n;
    float sum = 0;
    for (int64_t i = begin + threadIdx.x; i < end; i += THREADS)
        sum += weight(l, i) * value(l, load(x + i), l.target[i]);
    sum = block_sum(sum);
    if (threadIdx.x == 0) part[blockIdx.x] = sum;
}

__global__ static void forward_sum(const float *part, int64_t n, float *loss) {
    float sum = 0;
    for (int p = threadIdx.x; p < PARTS; p += THREADS) sum += part[p];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *loss = sum / (float)n;
}

template <class T>
__global__ static void backward(const T *x, Loss l, int64_t n, const float *dloss, T *dx, bool fresh) {
    float scale = *dloss / (float)n;
    FOR_GRID(i, n) {
        float g = scale * weight(l, i) * slope(l, load(x + i), l.target[i]);
        store(dx + i, fresh ? g : load(dx + i) + g);
    }
}

static Loss loss_of(const OpCall *c) {
    const Tensor *x = c->in[0], *w = c->in[2];
    Loss l = {tensor_real(c->in[1]), NULL, 1, (PointLoss)c->i[0], (float)c->f[0]};
    if (!w) return l;
    l.weight = tensor_real(w);
    if (tensor_count(w) != tensor_count(x)) l.each = tensor_last(x);
    return l;
}

template <class T> static void run_forward(OpCall *c) {
    int64_t n = tensor_count(c->in[0]);
    float *part = (float *)op_scratch(c, PARTS * sizeof *part);
    LAUNCH(forward_parts, PARTS, THREADS, (const T *)c->in[0]->data, loss_of(c), n, part);
    LAUNCH(forward_sum, 1, THREADS, part, n, tensor_real(c->out[0]));
    op_scratch_free(c, part);
}

template <class T> static void run_backward(OpCall *c) {
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    int64_t n = tensor_count(dx);
    LAUNCH(backward, cuda_blocks(n, THREADS), THREADS, (const T *)c->in[0]->data, loss_of(c), n,
           tensor_real(c->out[0]->grad), (T *)dx->data, fresh);
}

extern "C" void point_loss_forward_cuda(OpCall *c) {
    c->in[0]->dtype == DT_BF16 ? run_forward<bf16>(c) : run_forward<float>(c);
}

extern "C" void point_loss_backward_cuda(OpCall *c) {
    c->in[0]->dtype == DT_BF16 ? run_backward<bf16>(c) : run_backward<float>(c);
}
