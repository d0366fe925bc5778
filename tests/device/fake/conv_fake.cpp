/* The convolutions of core/cuda_conv.h as one plain walk over all products, in their place on the stream. */
#include "core/cuda.h"
#include "core/cuda_conv.h"

#include <vector>

struct Part {
    void *data;
    int64_t count;
    std::vector<float> v;
};

struct Walk {
    Part x, w, y;
    ConvWay way;
};

static void one(void *self, int64_t x, int64_t w, int64_t y) {
    Walk *t = (Walk *)self;
    if (t->way == CONV_FORWARD) t->y.v[y] += t->x.v[x] * t->w.v[w];
    if (t->way == CONV_DATA) t->x.v[x] += t->y.v[y] * t->w.v[w];
    if (t->way == CONV_WEIGHT) t->w.v[w] += t->x.v[x] * t->y.v[y];
}

static Part part_load(DType type, void *data, int64_t count, bool given) {
    Part p = {data, count, std::vector<float>(count, 0)};
    for (int64_t i = 0; given && i < count; i++)
        p.v[i] = type == DT_BF16 ? load((const bf16 *)data + i) : load((const float *)data + i);
    return p;
}

static void part_store(DType type, const Part &p) {
    for (int64_t i = 0; i < p.count; i++)
        type == DT_BF16 ? store((bf16 *)p.data + i, p.v[i]) : store((float *)p.data + i, p.v[i]);
}

static void convolve(ConvWay way, DType type, Conv v, void *x, void *w, void *y) {
    Walk t;
    t.way = way;
    t.x = part_load(type, x, v.batch * v.in * v.high * v.wide, way != CONV_DATA);
    t.w = part_load(type, w, v.out * (v.in / v.groups) * v.k_high * v.k_wide, way != CONV_WEIGHT);
    t.y = part_load(type, y, v.batch * v.out * v.high_out * v.wide_out, way != CONV_FORWARD);
    conv_walk(&v, one, &t);
    part_store(type, way == CONV_FORWARD ? t.y : way == CONV_DATA ? t.x : t.w);
}

void cuda_conv(OpCall *, ConvWay way, DType type, const Conv *v, const void *x, const void *w,
               const void *y) {
    LAUNCH(convolve, 1, 1, way, type, *v, (void *)x, (void *)w, (void *)y);
}

const char *cuda_conv_why(ConvWay, DType, const Conv *) {
    return nullptr;
}
