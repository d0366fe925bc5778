#include "core/conv.h"

#include "core/gemm.h"
#include "core/onednn.h"
#include "core/op/simd.h"

void conv_walk(const Conv *v, void (*each)(void *self, int64_t x, int64_t w, int64_t y), void *self) {
    int64_t in = v->in / v->groups, out = v->out / v->groups, taps = in * v->k_high * v->k_wide;
    int64_t places = v->high_out * v->wide_out;
    for (int64_t y = 0; y < v->batch * v->out * places; y++) {
        int64_t n = y / (v->out * places), o = y / places % v->out;
        int64_t top = y / v->wide_out % v->high_out * v->stride - v->pad;
        int64_t left = y % v->wide_out * v->stride - v->pad;
        for (int64_t tap = 0; tap < taps; tap++) {
            int64_t c = o / out * in + tap / (v->k_high * v->k_wide);
            int64_t row = top + tap / v->k_wide % v->k_high, col = left + tap % v->k_wide;
            if (row < 0 || row >= v->high || col < 0 || col >= v->wide) continue;
            each(self, ((n * v->in + c) * v->high + row) * v->wide + col, o * taps + tap, y);
        }
    }
}

#ifndef LETHE_DOUBLE

#include <string.h>

typedef enum { PASS_FORWARD, PASS_BIASED, PASS_DATA } Pass; /* PASS_BIASED: forward, plus a bias */

/* What makes two calls share a primitive. */
typedef struct Key {
    Conv conv;
    Pass pass;
    DType compute, picture, result; /* picture: x or dy; result: y or dx */
} Key;

/* One operand: as the tensor holds it and as the primitive likes it best. */
typedef struct Side {
    dnnl_memory_t given, best;
    dnnl_primitive_t reorder; /* NULL: they are the same */
    size_t bytes;             /* of best */
} Side;

typedef struct Entry {
    struct Entry *next;
    Key key;
    dnnl_primitive_t convolve;
    Side picture, weight, result;
    dnnl_memory_t bias, scratch;
    size_t scratch_bytes;
} Entry;

/* The primitives made so far. */
enum { BUCKETS = 64 };
static _Thread_local Entry *table[BUCKETS];

static dnnl_memory_desc_t picture_desc(int64_t n, int64_t c, int64_t h, int64_t w, DType dtype, bool any) {
    dnnl_memory_desc_t d;
    dnnl_dims_t dim = {n, c, h, w};
    ONEDNN(
        dnnl_memory_desc_init_by_tag(&d, 4, dim, onednn_type(dtype), any ? dnnl_format_tag_any : dnnl_nchw));
    return d;
}

static dnnl_memory_desc_t weight_desc(const Conv *v, DType dtype, bool any) {
    dnnl_memory_desc_t d;
    int64_t in = v->in / v->groups, out = v->out / v->groups;
    dnnl_dims_t whole = {v->out, in, v->k_high, v->k_wide},
                parts = {v->groups, out, in, v->k_high, v->k_wide};
    if (v->groups == 1)
        ONEDNN(dnnl_memory_desc_init_by_tag(&d, 4, whole, onednn_type(dtype),
                                            any ? dnnl_format_tag_any : dnnl_oihw));
    else
        ONEDNN(dnnl_memory_desc_init_by_tag(&d, 5, parts, onednn_type(dtype),
                                            any ? dnnl_format_tag_any : dnnl_goihw));
    return d;
}

static Side side_create(const dnnl_memory_desc_t *given, const dnnl_memory_desc_t *best, bool result) {
    Side side = {onednn_memory(given), onednn_memory(best), NULL, dnnl_memory_desc_get_size(best)};
    if (dnnl_memory_desc_equal(given, best)) return side;
    dnnl_primitive_desc_t pd;
    const dnnl_memory_desc_t *from = result ? best : given, *to = result ? given : best;
    ONEDNN(dnnl_reorder_primitive_desc_create(&pd, from, onednn_engine(), to, onednn_engine(), NULL));
    ONEDNN(dnnl_primitive_create(&side.reorder, pd));
    dnnl_primitive_desc_destroy(pd);
    return side;
}

static Entry *entry_create(const Key *key) {
    Entry *t = mem_zero(1, sizeof *t);
    if (!t) die("out of memory for a oneDNN primitive");
    t->key = *key;
    const Conv *v = &key->conv;
    bool forward = key->pass != PASS_DATA;
    DType x_type = forward ? key->picture : key->result, y_type = forward ? key->result : key->picture;
    dnnl_memory_desc_t x = picture_desc(v->batch, v->in, v->high, v->wide, x_type, false);
    dnnl_memory_desc_t y = picture_desc(v->batch, v->out, v->high_out, v->wide_out, y_type, false);
    dnnl_memory_desc_t w = weight_desc(v, DT_F32, false), w_any = weight_desc(v, key->compute, true);
    dnnl_memory_desc_t x_any =
        picture_desc(v->batch, v->in, v->high, v->wide, forward ? key->compute : key->result, true);
    dnnl_memory_desc_t y_any =
        picture_desc(v->batch, v->out, v->high_out, v->wide_out, forward ? key->result : key->compute, true);
    dnnl_memory_desc_t b;
    dnnl_dims_t channels = {v->out};
    ONEDNN(dnnl_memory_desc_init_by_tag(&b, 1, channels, dnnl_f32, dnnl_a));
    dnnl_dims_t stride = {v->stride, v->stride}, pad = {v->pad, v->pad};
    dnnl_primitive_attr_t attr;
    ONEDNN(dnnl_primitive_attr_create(&attr));
    ONEDNN(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
    dnnl_convolution_desc_t desc;
    dnnl_primitive_desc_t pd, hint = NULL;
    ONEDNN(dnnl_convolution_forward_desc_init(&desc, dnnl_forward_training, dnnl_convolution_direct, &x_any,
                                              &w_any, key->pass == PASS_BIASED ? &b : NULL, &y_any, stride,
                                              pad, pad));
    ONEDNN(dnnl_primitive_desc_create(&pd, &desc, attr, onednn_engine(), NULL));
    if (!forward) {
        hint = pd;
        ONEDNN(dnnl_convolution_backward_data_desc_init(&desc, dnnl_convolution_direct, &x_any, &w_any,
                                                        &y_any, stride, pad, pad));
        ONEDNN(dnnl_primitive_desc_create(&pd, &desc, attr, onednn_engine(), hint));
    }
    ONEDNN(dnnl_primitive_create(&t->convolve, pd));
    const dnnl_memory_desc_t *best_in =
        dnnl_primitive_desc_query_md(pd, forward ? dnnl_query_src_md : dnnl_query_diff_dst_md, 0);
    const dnnl_memory_desc_t *best_out =
        dnnl_primitive_desc_query_md(pd, forward ? dnnl_query_dst_md : dnnl_query_diff_src_md, 0);
    t->picture = side_create(forward ? &x : &y, best_in, false);
    t->weight = side_create(&w, dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0), false);
    t->result = side_create(forward ? &y : &x, best_out, true);
    const dnnl_memory_desc_t *scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    t->bias = onednn_memory(&b);
    t->scratch = onednn_memory(scratch);
    t->scratch_bytes = dnnl_memory_desc_get_size(scratch);
    if (hint) dnnl_primitive_desc_destroy(hint);
    dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_attr_destroy(attr);
    return t;
}

static Entry *entry_find(const Key *key) {
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < sizeof *key; i++) h = (h ^ ((const uint8_t *)key)[i]) * 0x100000001B3u;
    Entry **bucket = &table[(h >> 20) % BUCKETS];
    for (Entry *t = *bucket; t; t = t->next)
        if (memcmp(&t->key, key, sizeof *key) == 0) return t;
    Entry *t = entry_create(key);
    t->next = *bucket;
    return *bucket = t;
}

/* Points the operand at the tensor's data and, where layouts differ, at a block of its own; returns that
 * block. */
static void *side_open(Step *s, const Side *side, const Tensor *t) {
    void *own = side->reorder ? step_block(s, side->bytes) : NULL;
    ONEDNN(dnnl_memory_set_data_handle_v2(side->given, t->data, onednn_stream()));
    ONEDNN(dnnl_memory_set_data_handle_v2(side->best, own ? own : t->data, onednn_stream()));
    return own;
}

static void side_move(const Side *side, bool result) {
    if (!side->reorder) return;
    dnnl_exec_arg_t arg[] = {{DNNL_ARG_FROM, result ? side->best : side->given},
                             {DNNL_ARG_TO, result ? side->given : side->best}};
    ONEDNN(dnnl_primitive_execute(side->reorder, onednn_stream(), COUNT(arg), arg));
}

static void convolve(Step *s, const Key *key, const Tensor *picture, const Tensor *w, const Tensor *bias,
                     const Tensor *result) {
    Entry *t = entry_find(key);
    void *room[] = {side_open(s, &t->picture, picture), side_open(s, &t->weight, w),
                    side_open(s, &t->result, result), step_block(s, t->scratch_bytes)};
    side_move(&t->picture, false);
    side_move(&t->weight, false);
    ONEDNN(dnnl_memory_set_data_handle_v2(t->scratch, room[3], onednn_stream()));
    if (bias) ONEDNN(dnnl_memory_set_data_handle_v2(t->bias, bias->data, onednn_stream()));
    bool forward = key->pass != PASS_DATA;
    dnnl_exec_arg_t arg[] = {{forward ? DNNL_ARG_SRC : DNNL_ARG_DIFF_DST, t->picture.best},
                             {DNNL_ARG_WEIGHTS, t->weight.best},
                             {forward ? DNNL_ARG_DST : DNNL_ARG_DIFF_SRC, t->result.best},
                             {DNNL_ARG_SCRATCHPAD, t->scratch},
                             {DNNL_ARG_BIAS, t->bias}};
    ONEDNN(dnnl_primitive_execute(t->convolve, onednn_stream(), COUNT(arg) - !bias, arg));
    side_move(&t->result, true);
    for (int i = COUNT(room) - 1; i >= 0; i--)
        if (room[i]) step_block_free(s, room[i]);
}

/* Without bf16 in the processor oneDNN refuses it even as storage: the detour over f32 is ours. */
static void run(Step *s, Pass pass, DType compute, const Conv *v, const Tensor *picture, const Tensor *w,
                const Tensor *bias, const Tensor *result) {
    if (tensor_count(result) == 0) return;
    Scope scope = scope_open(s);
    const Tensor *given = picture, *wanted = result;
    bool wide = compute == DT_F32 || !gemm_bf16_native();
    if (wide && picture->dtype == DT_BF16) {
        Tensor *t = step_tensor(s, DT_F32, picture->ndim, picture->dim);
        tensor_accumulate(t, picture, true);
        given = t;
    }
    if (wide && result->dtype == DT_BF16) wanted = step_tensor(s, DT_F32, result->ndim, result->dim);
    Key key;
    memset(&key, 0, sizeof key); /* compared with memcmp: padding too */
    key.conv = *v;
    key.pass = pass;
    key.compute = wide ? DT_F32 : DT_BF16;
    key.picture = given->dtype;
    key.result = wanted->dtype;
    convolve(s, &key, given, w, bias, wanted);
    if (wanted != result) tensor_accumulate(result, wanted, true);
    scope_close(s, scope, NULL);
}

void conv_forward(Step *s, DType compute, const Conv *v, const Tensor *x, const Tensor *w, const Tensor *bias,
                  const Tensor *y) {
    bool thin = v->out == 1 && v->groups == 1 && v->stride == 1 && y->dtype == DT_F32;
    if (thin)
        conv_thin(s, compute, v, x, w, bias, y);
    else
        run(s, bias ? PASS_BIASED : PASS_FORWARD, compute, v, x, w, bias, y);
}

void conv_data(Step *s, DType compute, const Conv *v, const Tensor *w, const Tensor *dy, const Tensor *dx) {
    run(s, PASS_DATA, compute, v, dy, w, NULL, dx);
}

#endif
