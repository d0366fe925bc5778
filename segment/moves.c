#include "segment/moves.h"

#include "core/ops.h"

Tensor *picture_of(Step *s, Tensor *x, int64_t grid) {
    int64_t dim[4] = {x->dim[0], x->dim[2], grid, grid};
    return op_reshape(s, op_permute(s, x, (const int[]){0, 2, 1}), 4, dim);
}

Tensor *tokens_of(Step *s, Tensor *x) {
    int64_t flat[3] = {x->dim[0], x->dim[1], x->dim[2] * x->dim[3]};
    return op_permute(s, op_reshape(s, x, 3, flat), (const int[]){0, 2, 1});
}

Tensor *f32_of(Step *s, Tensor *x) {
    return op_add(s, x, step_zeros(s, DT_F32, 1, (int64_t[]){1})); /* a sum of two types is f32 */
}
