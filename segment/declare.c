#include "segment/declare.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

enum { NAME = 96 };

static Tensor *add(Params *p, const char *prefix, const char *what, int ndim, const int64_t *dim, Init init) {
    char name[2 * NAME];
    snprintf(name, sizeof name, "%s.%s", prefix, what);
    return params_add(p, name, ndim, dim, init);
}

/* Weight of these axes and a bias a channel of the output. */
static void add_pair(Params *p, Tensor **w, Tensor **b, const char *prefix, int ndim, const int64_t *dim,
                     int64_t out, int64_t inputs) {
    const Init init = {INIT_UNIFORM, 1 / sqrt((double)inputs)};
    *w = add(p, prefix, "weight", ndim, dim, init);
    if (b) *b = add(p, prefix, "bias", 1, &out, init);
}

void declare_linear(Params *p, Tensor **w, Tensor **b, int64_t out, int64_t in, const char *format, ...) {
    char prefix[NAME];
    va_list list;
    va_start(list, format);
    vsnprintf(prefix, sizeof prefix, format, list);
    va_end(list);
    add_pair(p, w, b, prefix, 2, (int64_t[]){out, in}, out, in);
}

void declare_norm(Params *p, Tensor **w, Tensor **b, int64_t n, const char *format, ...) {
    char prefix[NAME];
    va_list list;
    va_start(list, format);
    vsnprintf(prefix, sizeof prefix, format, list);
    va_end(list);
    *w = add(p, prefix, "weight", 1, &n, (Init){INIT_VALUE, 1});
    *b = add(p, prefix, "bias", 1, &n, (Init){INIT_VALUE, 0});
}

void declare_conv(Params *p, Tensor **w, Tensor **b, int64_t out, int64_t in, int64_t k, const char *format,
                  ...) {
    char prefix[NAME];
    va_list list;
    va_start(list, format);
    vsnprintf(prefix, sizeof prefix, format, list);
    va_end(list);
    add_pair(p, w, b, prefix, 4, (int64_t[]){out, in, k, k}, out, in * k * k);
}

void declare_up(Params *p, Tensor **w, Tensor **b, int64_t in, int64_t out, const char *format, ...) {
    char prefix[NAME];
    va_list list;
    va_start(list, format);
    vsnprintf(prefix, sizeof prefix, format, list);
    va_end(list);
    /* torch counts the inputs of the weight's second axis, which here is the output's */
    add_pair(p, w, b, prefix, 4, (int64_t[]){in, out, 2, 2}, out, out * 4);
}

Tensor *declare_embedding(Params *p, int64_t rows, int64_t cols, const char *format, ...) {
    char prefix[NAME];
    va_list list;
    va_start(list, format);
    vsnprintf(prefix, sizeof prefix, format, list);
    va_end(list);
    return add(p, prefix, "weight", 2, (int64_t[]){rows, cols}, (Init){INIT_NORMAL, 1});
}
