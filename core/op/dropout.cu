/* dropout on CUDA: a thread makes the four draws of one Philox block and takes the four elements they are
 * for. */
#include "core/ops.h"
#include "core/rng.cuh"

enum { THREADS = 256 };

typedef struct Drop {
    RngStep step;
    uint32_t layer;
    float rate, kept;
} Drop;

/* n: elements of a sample; fours: their Philox blocks. */
template <class T>
__global__ static void apply(const T *from, T *to, int64_t batch, int64_t n, int64_t fours, Drop d,
                             bool fresh) {
    FOR_GRID(k, batch * fours) {
        int64_t b = k / fours, first = (k - b * fours) * 4;
        Rng r = cuda_rng_drop(d.step, b, d.layer);
        cuda_rng_seek(&r, (uint32_t)(first / 4));
        for (int64_t i = b * n + first; i < b * n + n && i < b * n + first + 4; i++) {
            float v = rng_stream_uniformf(&r) >= d.rate ? d.kept * load(from + i) : 0;
            store(to + i, fresh ? v : load(to + i) + v);
        }
    }
}

template <class T> static void run(const OpCall *c, const Tensor *from, const Tensor *to, bool fresh) {
    int64_t batch = from->dim[0], n = tensor_count(from) / batch, fours = (n + 3) / 4;
    Drop d = {rng_step(c->step), (uint32_t)c->i[0], (float)c->f[0], (float)(1 / (1 - c->f[0]))};
    LAUNCH(apply, cuda_blocks(batch * fours, THREADS), THREADS, (const T *)from->data, (T *)to->data, batch,
           n, fours, d, fresh);
}

static void run_as(const OpCall *c, const Tensor *from, const Tensor *to, bool fresh) {
    from->dtype == DT_BF16 ? run<bf16>(c, from, to, fresh) : run<float>(c, from, to, fresh);
}

extern "C" void dropout_forward_cuda(OpCall *c) {
    run_as(c, c->in[0], c->out[0], true);
}

extern "C" void dropout_backward_cuda(OpCall *c) {
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (dx) run_as(c, c->out[0]->grad, dx, fresh);
}
