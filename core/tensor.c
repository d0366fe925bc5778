#include "core/tensor.h"

#include <inttypes.h>
#include <stdio.h>

size_t dtype_size(DType d) {
    static const size_t size[DT_COUNT] = {sizeof(real), 2, 4, 1};
    return size[d];
}

const char *dtype_name(DType d) {
    static const char *const name[DT_COUNT] = {"f32", "bf16", "i32", "u8"};
    return name[d];
}

int64_t tensor_count(const Tensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->ndim; i++) n *= t->dim[i];
    return n;
}

size_t tensor_bytes(const Tensor *t) {
    return (size_t)tensor_count(t) * dtype_size(t->dtype);
}

int64_t tensor_last(const Tensor *t) {
    return t->ndim ? t->dim[t->ndim - 1] : 1;
}

int64_t tensor_rows(const Tensor *t) {
    int64_t n = 1;
    for (int i = 0; i + 1 < t->ndim; i++) n *= t->dim[i];
    return n;
}

bool tensor_same_shape(const Tensor *a, const Tensor *b) {
    if (a->ndim != b->ndim) return false;
    for (int i = 0; i < a->ndim; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

const char *tensor_text(const Tensor *t, char buffer[96]) {
    if (!t) {
        snprintf(buffer, 96, "none");
        return buffer;
    }
    int n = snprintf(buffer, 96, "%s[", dtype_name(t->dtype));
    for (int i = 0; i < t->ndim && n < 96; i++)
        n += snprintf(buffer + n, 96 - (size_t)n, "%s%" PRId64, i ? ", " : "", t->dim[i]);
    if (n < 96) snprintf(buffer + n, 96 - (size_t)n, "]");
    return buffer;
}
