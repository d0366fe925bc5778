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
