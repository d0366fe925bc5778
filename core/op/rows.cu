#include "core/op/rows.cuh"

template <int W, class T, class U>
__global__ static void accumulate(Width<W>, T *to, const U *from, int64_t n, bool fresh) {
    FOR_GRID(i, n / W) {
        float v[W];
        run_load(from + i * W, v);
        run_put(to + i * W, v, fresh);
    }
}

extern "C" void tensor_accumulate_cuda(const Tensor *to, const Tensor *from, bool fresh) {
    int64_t n = tensor_count(to);
    bool eight = wide(n, to, from);
    with_data(to, [&](auto *y) {
        with_data(from, [&](auto *x) {
            with_width(eight, [&](auto w) {
                LAUNCH(accumulate, cuda_blocks(eight ? n / 8 : n, 256), 256, w, y, x, n, fresh);
            });
        });
    });
}
