/* patchify on CUDA: a block a patch, a thread an element of it in the patch's order. */
#include "core/op/rows.cuh"
#include "core/ops.h"

enum { THREADS = 256 };

typedef struct Patches {
    int64_t count, taken;                /* of the grid; written of each sample */
    int p, channels, high, wide, across; /* across: patches side by side */
    bool channel_first;
} Patches;

static Patches patches_of(const OpCall *c) {
    const Tensor *x = c->in[0];
    int p = (int)c->i[0], high = (int)x->dim[2], wide = (int)x->dim[3];
    return {(int64_t)(high / p) * (wide / p), c->out[0]->dim[1], p, (int)x->dim[1], high, wide, wide / p,
            c->i[1] == PATCH_CHANNEL_FIRST};
}

/* The place in the image of element e of patch `at` of sample b. */
__device__ static int64_t pixel(const Patches &g, int64_t b, int64_t at, int e) {
    int area = g.p * g.p, channel = g.channel_first ? e / area : e % g.channels;
    int inside = g.channel_first ? e % area : e / g.channels;
    int64_t row = at / g.across * g.p + inside / g.p, column = at % g.across * g.p + inside % g.p;
    return ((b * g.channels + channel) * g.high + row) * g.wide + column;
}

template <class T>
__global__ static void forward(const T *image, const int32_t *index, T *y, int64_t rows, Patches g) {
    int each = g.p * g.p * g.channels;
    for (int64_t bt = blockIdx.x; bt < rows; bt += gridDim.x) {
        int64_t b = quotient(bt, g.taken), at = index ? index[bt] : bt - b * g.taken;
        bool there = at >= 0 && at < g.count;
        for (int e = (int)threadIdx.x; e < each; e += (int)blockDim.x)
            y[bt * each + e] = there ? image[pixel(g, b, at, e)] : (T)0;
    }
}

static int patch_blocks(int64_t patches) {
    return cuda_blocks(patches * THREADS, THREADS);
}

extern "C" void patchify_forward_cuda(OpCall *c) {
    int64_t rows = tensor_rows(c->out[0]);
    const int32_t *index = c->in[1] ? tensor_i32(c->in[1]) : nullptr;
    with_data(c->in[0], [&](auto *image) {
        LAUNCH(forward, patch_blocks(rows), THREADS, image, index, (decltype(image))c->out[0]->data, rows,
               patches_of(c));
    });
}

/* A patch that the index names more than once is summed in the order of the index. */
template <class T>
__global__ static void backward(const T *dy, const int32_t *index, T *dimage, int64_t all, Patches g,
                                bool fresh) {
    int each = g.p * g.p * g.channels;
    for (int64_t k = blockIdx.x; k < all; k += gridDim.x) {
        int64_t b = quotient(k, g.count), at = k - b * g.count;
        int64_t first = index ? 0 : at, past = index ? g.taken : at + 1;
        for (int e = (int)threadIdx.x; e < each; e += (int)blockDim.x) {
            float v[1] = {0};
            for (int64_t t = first; t < past; t++)
                if (!index || index[b * g.taken + t] == at) v[0] += load(dy + (b * g.taken + t) * each + e);
            run_put(dimage + pixel(g, b, at, e), v, fresh);
        }
    }
}

extern "C" void patchify_backward_cuda(OpCall *c) {
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    Patches g = patches_of(c);
    int64_t all = dx->dim[0] * g.count;
    const int32_t *index = c->in[1] ? tensor_i32(c->in[1]) : nullptr;
    with_data(dx, [&](auto *to) {
        LAUNCH(backward, patch_blocks(all), THREADS, (decltype(to))c->out[0]->grad->data, index, to, all, g,
               fresh);
    });
}
