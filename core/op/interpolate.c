/* interpolate: a picture at another size.
 * x (B, C, H, W)  ->  y (B, C, H', W') like x.   i[0] = kind (core/ops.h), i[1] = H', i[2] = W'.
 * Every kind is a weighted mean over a stretch of rows and one of columns: y = R x K^T, plane by plane, with
 * few weights other than 0 in a row of R and K. They differ in the weights: torch     around the place s = (o
 * + 1/2) in / out - 1/2 (corners: s = o (in - 1) / (out - 1)) of output o, 2 or 4 neighbours; those beyond
 * the border are the border; cubic kernel with a = -0.75 Pillow    all pixels within 1 or 2 times max(1, in /
 * out) of s, weights normalised; a = -0.5; no rounding to 8 bits on the way, as data/resize.h has it for
 * pictures Cubic kernel: Keys 1981.   dx = R^T dy K.   Backward reads nothing. */
#include "core/ops.h"

#include <math.h>
#include <omp.h>
#include <string.h>

/* Output o of one axis is the sum over t of weight[o * taps + t] * input[first[o] + t]. */
typedef struct Axis {
    int64_t in, out, taps;
    int64_t *first;
    real *weight;
} Axis;

static bool is_pillow(int64_t kind) {
    return kind == INTERPOLATE_BILINEAR_PILLOW || kind == INTERPOLATE_BICUBIC_PILLOW;
}

/* How far, in pixels, the kernel reaches to either side. */
static double reach_of(const OpCall *c, const Axis *a) {
    double reach = c->i[0] == INTERPOLATE_BICUBIC_TORCH || c->i[0] == INTERPOLATE_BICUBIC_PILLOW ? 2 : 1;
    double shrink = (double)a->in / (double)a->out;
    return is_pillow(c->i[0]) && shrink > 1 ? reach * shrink : reach;
}

static void shape(OpCall *c) {
    const Tensor *x = c->in[0];
    if (x->ndim != 4 || c->i[1] < 1 || c->i[2] < 1 || x->dim[2] < 1 || x->dim[3] < 1)
        op_die(c, "x (B, C, H, W) and a size of at least 1 x 1 are wanted");
    int64_t dim[4] = {x->dim[0], x->dim[1], c->i[1], c->i[2]};
    op_out(c, 0, x->dtype, 4, dim);
}

static double cubic(double a, double x) {
    x = fabs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

static double kernel(int64_t kind, double x) {
    if (kind == INTERPOLATE_BICUBIC_TORCH) return cubic(-0.75, x);
    if (kind == INTERPOLATE_BICUBIC_PILLOW) return cubic(-0.5, x);
    return fabs(x) < 1 ? 1 - fabs(x) : 0;
}

/* Where output o lies between the pixels of the input. */
static double place_of(int64_t kind, const Axis *a, int64_t o) {
    double scale = (double)a->in / (double)a->out;
    if (kind == INTERPOLATE_NEAREST) return floor((double)o * scale);
    if (kind == INTERPOLATE_BILINEAR_CORNERS)
        return a->out > 1 ? (double)o * (double)(a->in - 1) / (double)(a->out - 1) : 0;
    return ((double)o + 0.5) * scale - 0.5;
}

static int64_t clamp(int64_t i, int64_t lo, int64_t hi) {
    return i < lo ? lo : i > hi ? hi : i;
}

static void output_weights(const OpCall *c, const Axis *a, int64_t o) {
    int64_t kind = c->i[0];
    double place = place_of(kind, a, o), reach = reach_of(c, a), sum = 0;
    double shrink = is_pillow(kind) && a->in > a->out ? (double)a->in / (double)a->out : 1;
    int64_t from, past;
    if (is_pillow(kind)) { /* pixels whose centres are within reach, rounded as Pillow rounds them */
        from = clamp((int64_t)floor(place - reach + 1), 0, a->in - 1);
        past = clamp((int64_t)floor(place + reach + 1), from + 1, a->in);
    } else {
        from = (int64_t)floor(place) + 1 - (int64_t)reach;
        past = from + 2 * (int64_t)reach;
    }
    real *weight = a->weight + o * a->taps;
    a->first[o] = clamp(from, 0, a->in - a->taps);
    for (int64_t t = 0; t < a->taps; t++) weight[t] = 0;
    for (int64_t i = from; i < past; i++) {
        double w = kernel(kind, ((double)i - place) / shrink);
        weight[clamp(i, 0, a->in - 1) - a->first[o]] += (real)w;
        sum += w;
    }
    for (int64_t t = 0; is_pillow(kind) && t < a->taps; t++) weight[t] = (real)((double)weight[t] / sum);
}

static Axis axis_open(OpCall *c, int64_t in, int64_t out) {
    Axis a = {.in = in, .out = out};
    a.taps = 2 * (int64_t)ceil(reach_of(c, &a)) + (is_pillow(c->i[0]) ? 1 : 0);
    if (a.taps > in) a.taps = in;
    a.first = op_scratch(c, (size_t)out * sizeof *a.first);
    a.weight = op_scratch(c, (size_t)(out * a.taps) * sizeof *a.weight);
    for (int64_t o = 0; o < out; o++) output_weights(c, &a, o);
    return a;
}

static void axis_close(OpCall *c, Axis *a) {
    op_scratch_free(c, a->weight);
    op_scratch_free(c, a->first);
}

/* What both directions share: the tables, and a plane of H rows of W' columns for each thread. */
typedef struct Work {
    Axis rows, cols;
    int64_t planes, each;
    real *room;
} Work;

static Work work_open(OpCall *c) {
    const Tensor *x = c->in[0], *y = c->out[0];
    Work w = {axis_open(c, x->dim[2], y->dim[2]), axis_open(c, x->dim[3], y->dim[3]), x->dim[0] * x->dim[1],
              x->dim[2] * y->dim[3], NULL};
    w.room = op_scratch(c, (size_t)omp_get_max_threads() * (size_t)w.each * sizeof *w.room);
    return w;
}

static void work_close(OpCall *c, Work *w) {
    op_scratch_free(c, w->room);
    axis_close(c, &w->cols);
    axis_close(c, &w->rows);
}

static void forward_ref(OpCall *c) {
    const Tensor *x = c->in[0], *y = c->out[0];
    Work w = work_open(c);
    const Axis *rows = &w.rows, *cols = &w.cols;
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < w.planes; p++) {
        real *room = w.room + omp_get_thread_num() * w.each;
        for (int64_t r = 0; r < rows->in; r++)
            for (int64_t o = 0; o < cols->out; o++) {
                int64_t at = (p * rows->in + r) * cols->in + cols->first[o];
                real sum = 0;
                for (int64_t t = 0; t < cols->taps; t++)
                    sum += cols->weight[o * cols->taps + t] * tensor_at(x, at + t);
                room[r * cols->out + o] = sum;
            }
        for (int64_t o = 0; o < rows->out; o++)
            for (int64_t j = 0; j < cols->out; j++) {
                const real *from = room + rows->first[o] * cols->out + j;
                real sum = 0;
                for (int64_t t = 0; t < rows->taps; t++)
                    sum += rows->weight[o * rows->taps + t] * from[t * cols->out];
                tensor_put(y, (p * rows->out + o) * cols->out + j, sum);
            }
    }
    work_close(c, &w);
}

static void backward_ref(OpCall *c) {
    const Tensor *dy = c->out[0]->grad;
    Tensor *dx = op_grad(c, 0, NULL);
    if (!dx) return;
    Work w = work_open(c);
    const Axis *rows = &w.rows, *cols = &w.cols;
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < w.planes; p++) {
        real *room = w.room + omp_get_thread_num() * w.each;
        memset(room, 0, (size_t)w.each * sizeof *room);
        for (int64_t o = 0; o < rows->out; o++)
            for (int64_t t = 0; t < rows->taps; t++) {
                real weight = rows->weight[o * rows->taps + t];
                real *to = room + (rows->first[o] + t) * cols->out;
                for (int64_t j = 0; j < cols->out; j++)
                    to[j] += weight * tensor_at(dy, (p * rows->out + o) * cols->out + j);
            }
        for (int64_t r = 0; r < rows->in; r++)
            for (int64_t o = 0; o < cols->out; o++) {
                int64_t at = (p * rows->in + r) * cols->in + cols->first[o];
                for (int64_t t = 0; t < cols->taps; t++)
                    tensor_add(dx, at + t, cols->weight[o * cols->taps + t] * room[r * cols->out + o]);
            }
    }
    work_close(c, &w);
}

static const Probe probes[] = {
    {.about = "nearest, up and down", .in = {{4, {2, 2, 4, 6}}}, .i = {INTERPOLATE_NEAREST, 7, 3}},
    {.about = "bilinear up", .in = {{4, {2, 2, 3, 4}}}, .i = {INTERPOLATE_BILINEAR, 7, 8}},
    {.about = "bilinear down, to one row", .in = {{4, {1, 2, 7, 6}}}, .i = {INTERPOLATE_BILINEAR, 1, 4}},
    {.about = "corners up", .in = {{4, {1, 2, 3, 4}}}, .i = {INTERPOLATE_BILINEAR_CORNERS, 6, 9}},
    {.about = "corners, to one column", .in = {{4, {1, 2, 5, 4}}}, .i = {INTERPOLATE_BILINEAR_CORNERS, 3, 1}},
    {.about = "torch's bicubic up", .in = {{4, {2, 2, 5, 4}}}, .i = {INTERPOLATE_BICUBIC_TORCH, 9, 7}},
    {.about = "torch's bicubic, fewer pixels than weights",
     .in = {{4, {1, 2, 1, 3}}},
     .i = {INTERPOLATE_BICUBIC_TORCH, 4, 2}},
    {.about = "Pillow's bilinear down", .in = {{4, {1, 2, 9, 7}}}, .i = {INTERPOLATE_BILINEAR_PILLOW, 4, 3}},
    {.about = "Pillow's bicubic down", .in = {{4, {1, 2, 11, 8}}}, .i = {INTERPOLATE_BICUBIC_PILLOW, 4, 3}},
    {.about = "Pillow's bicubic up, to the same",
     .in = {{4, {1, 2, 4, 5}}},
     .i = {INTERPOLATE_BICUBIC_PILLOW, 6, 5}},
};

const Op interpolate_row = {
    .name = "interpolate",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(interpolate_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_ref), ON_CUDA(interpolate_backward_cuda)},
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_interpolate(Step *s, Tensor *x, InterpolateKind kind, int64_t high, int64_t wide) {
    return op_run(s, &interpolate_row, &(OpCall){.in = {x}, .i = {kind, high, wide}});
}
