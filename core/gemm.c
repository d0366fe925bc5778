#include "core/gemm.h"

#ifndef LETHE_DOUBLE

#include "core/clock.h"
#include "core/onednn.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* What makes two calls share a primitive. */
typedef struct Key {
    int64_t m, n, k, a_row, a_col, b_row, b_col;
    DType compute, c_dtype;
    bool bias, accumulate, pack; /* pack: b is f32 and goes to bf16 in the layout the primitive likes best */
} Key;

typedef struct Entry {
    struct Entry *next;
    Key key;
    dnnl_primitive_t multiply, reorder;
    dnnl_memory_t a, b, c, bias, scratch, b_plain;
    size_t b_bytes, scratch_bytes;
    int64_t calls; /* since gemm_count_reset */
} Entry;

/* The primitives made so far, by this thread: their memory objects are set anew at each call. */
enum { BUCKETS = 256 };
static _Thread_local Entry *table[BUCKETS];

bool gemm_bf16_native(void) {
    return dnnl_get_effective_cpu_isa() >= dnnl_cpu_isa_avx512_core_bf16;
}

static dnnl_memory_desc_t plain(int64_t rows, int64_t cols, int64_t row, int64_t col, DType dtype) {
    dnnl_memory_desc_t d;
    dnnl_dims_t dim = {rows, cols}, stride = {row, col};
    ONEDNN(dnnl_memory_desc_init_by_strides(&d, 2, dim, onednn_type(dtype), stride));
    return d;
}

static Entry *entry_create(const Key *key) {
    Entry *t = mem_zero(1, sizeof *t);
    if (!t) die("out of memory for a oneDNN primitive");
    t->key = *key;
    dnnl_memory_desc_t a = plain(key->m, key->k, key->a_row, key->a_col, key->compute);
    dnnl_memory_desc_t b = plain(key->k, key->n, key->b_row, key->b_col, key->compute);
    dnnl_memory_desc_t c = plain(key->m, key->n, key->n, 1, key->c_dtype);
    dnnl_memory_desc_t bias = plain(1, key->n, key->n, 1, DT_F32), any;
    dnnl_dims_t dim = {key->k, key->n};
    ONEDNN(dnnl_memory_desc_init_by_tag(&any, 2, dim, dnnl_bf16, dnnl_format_tag_any));
    dnnl_matmul_desc_t desc;
    ONEDNN(dnnl_matmul_desc_init(&desc, &a, key->pack ? &any : &b, key->bias ? &bias : NULL, &c));
    dnnl_primitive_attr_t attr;
    ONEDNN(dnnl_primitive_attr_create(&attr));
    ONEDNN(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
    if (key->accumulate) {
        dnnl_post_ops_t post;
        ONEDNN(dnnl_post_ops_create(&post));
        ONEDNN(dnnl_post_ops_append_sum(post, 1.0f));
        ONEDNN(dnnl_primitive_attr_set_post_ops(attr, post));
        dnnl_post_ops_destroy(post);
    }
    dnnl_primitive_desc_t pd;
    ONEDNN(dnnl_primitive_desc_create(&pd, &desc, attr, onednn_engine(), NULL));
    ONEDNN(dnnl_primitive_create(&t->multiply, pd));
    const dnnl_memory_desc_t *b_best = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    const dnnl_memory_desc_t *scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    t->a = onednn_memory(&a);
    t->b = onednn_memory(b_best);
    t->c = onednn_memory(&c);
    t->bias = key->bias ? onednn_memory(&bias) : NULL;
    t->scratch = onednn_memory(scratch);
    t->scratch_bytes = dnnl_memory_desc_get_size(scratch);
    t->b_bytes = dnnl_memory_desc_get_size(b_best);
    if (key->pack) {
        dnnl_memory_desc_t from = plain(key->k, key->n, key->b_row, key->b_col, DT_F32);
        dnnl_primitive_desc_t rd;
        ONEDNN(
            dnnl_reorder_primitive_desc_create(&rd, &from, onednn_engine(), b_best, onednn_engine(), NULL));
        ONEDNN(dnnl_primitive_create(&t->reorder, rd));
        t->b_plain = onednn_memory(&from);
        dnnl_primitive_desc_destroy(rd);
    }
    dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_attr_destroy(attr);
    return t;
}

static bool same_key(const Key *a, const Key *b) {
    return a->m == b->m && a->n == b->n && a->k == b->k && a->a_row == b->a_row && a->a_col == b->a_col &&
           a->b_row == b->b_row && a->b_col == b->b_col && a->compute == b->compute &&
           a->c_dtype == b->c_dtype && a->bias == b->bias && a->accumulate == b->accumulate &&
           a->pack == b->pack;
}

static Entry *entry_find(const Key *key) {
    uint64_t h = 0xCBF29CE484222325u;
    const int64_t part[] = {key->m, key->n, key->k, key->a_row, key->b_row, key->compute, key->accumulate};
    for (int i = 0; i < COUNT(part); i++) h = (h ^ (uint64_t)part[i]) * 0x100000001B3u;
    Entry **bucket = &table[(h >> 20) % BUCKETS];
    for (Entry *t = *bucket; t; t = t->next)
        if (same_key(&t->key, key)) return t;
    Entry *t = entry_create(key);
    t->next = *bucket;
    return *bucket = t;
}

/* A copy of m in the other float type, same strides. */
static Mat converted(Step *s, Mat m) {
    int64_t n = m.rows * m.cols;
    bool rows_first = m.col == 1, round = m.dtype == DT_F32;
    if ((rows_first ? m.row : m.col) != (rows_first ? m.cols : m.rows))
        die("gemm: a strided operand of another type");
    void *to = step_block(s, (size_t)n * dtype_size(round ? DT_BF16 : DT_F32)), *from = m.data;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < n; i++) {
        if (round)
            ((bf16 *)to)[i] = bf16_from_f32(((float *)from)[i]);
        else
            ((float *)to)[i] = bf16_to_f32(((bf16 *)from)[i]);
    }
    return (Mat){to, round ? DT_BF16 : DT_F32, m.rows, m.cols, m.row, m.col};
}

/* One primitive: a is in the compute type. */
static void multiply(Step *s, DType compute, Mat a, Mat b, Mat c, const float *bias, bool accumulate) {
    bool pack = compute == DT_BF16 && b.dtype == DT_F32;
    Mat b_given = b;
    Key key = {.m = a.rows,
               .n = b.cols,
               .k = a.cols,
               .a_row = a.row,
               .a_col = a.col,
               .b_row = b.row,
               .b_col = b.col,
               .compute = compute,
               .c_dtype = c.dtype,
               .bias = bias != NULL,
               .accumulate = accumulate,
               .pack = pack};
    Entry *t = entry_find(&key);
    if (pack) {
        b.data = step_block(s, t->b_bytes);
        ONEDNN(dnnl_memory_set_data_handle_v2(t->b_plain, b_given.data, onednn_stream()));
        ONEDNN(dnnl_memory_set_data_handle_v2(t->b, b.data, onednn_stream()));
        dnnl_exec_arg_t move[] = {{DNNL_ARG_FROM, t->b_plain}, {DNNL_ARG_TO, t->b}};
        ONEDNN(dnnl_primitive_execute(t->reorder, onednn_stream(), COUNT(move), move));
    } else {
        ONEDNN(dnnl_memory_set_data_handle_v2(t->b, b.data, onednn_stream()));
    }
    void *scratch = step_block(s, t->scratch_bytes);
    ONEDNN(dnnl_memory_set_data_handle_v2(t->a, a.data, onednn_stream()));
    ONEDNN(dnnl_memory_set_data_handle_v2(t->c, c.data, onednn_stream()));
    ONEDNN(dnnl_memory_set_data_handle_v2(t->scratch, scratch, onednn_stream()));
    if (bias) ONEDNN(dnnl_memory_set_data_handle_v2(t->bias, (void *)bias, onednn_stream()));
    dnnl_exec_arg_t arg[] = {{DNNL_ARG_SRC, t->a},
                             {DNNL_ARG_WEIGHTS, t->b},
                             {DNNL_ARG_DST, t->c},
                             {DNNL_ARG_SCRATCHPAD, t->scratch},
                             {DNNL_ARG_BIAS, t->bias}};
    ONEDNN(dnnl_primitive_execute(t->multiply, onednn_stream(), bias ? 5 : 4, arg));
    t->calls++;
    step_block_free(s, scratch);
    if (pack) step_block_free(s, b.data);
}

/* oneDNN knows bf16 from AVX-512 on; on lesser processors the products are made in f32. */
static void multiply_wide(Step *s, Mat a, Mat b, Mat c, const float *bias, bool accumulate) {
    Mat x = a.dtype == DT_BF16 ? converted(s, a) : a, y = b.dtype == DT_BF16 ? converted(s, b) : b, z = c;
    if (c.dtype == DT_BF16) {
        z.dtype = DT_F32;
        z.data = step_block(s, (size_t)(c.rows * c.cols) * sizeof(float));
    }
    gemm(s, DT_F32, x, y, z, bias, accumulate);
    if (z.data != c.data) {
        float *from = z.data;
        bf16 *to = c.data;
        int64_t n = c.rows * c.cols;
#pragma omp parallel for simd schedule(static)
        for (int64_t i = 0; i < n; i++) to[i] = bf16_from_f32(from[i]);
        step_block_free(s, z.data);
    }
    if (y.data != b.data) step_block_free(s, y.data);
    if (x.data != a.data) step_block_free(s, x.data);
}

/* With few outputs oneDNN cuts a long sum among its threads, in as many parts as there are threads. Such sums
 * are cut here first, always alike, so that the bits do not depend on the threads. Below AVX-512 it cuts sums
 * of any length, but only with very few outputs: those get one thread. */
enum { SUM_LONG = 1024, OUTPUTS_FEW = 1 << 20, OUTPUTS_FEWEST = 1 << 14 };

static bool avx512(void) {
    return dnnl_get_effective_cpu_isa() >= dnnl_cpu_isa_avx512_core;
}

static Mat part(Mat m, int64_t row, int64_t rows, int64_t col, int64_t cols) {
    size_t at = (size_t)(row * m.row + col * m.col) * dtype_size(m.dtype);
    return (Mat){(uint8_t *)m.data + at, m.dtype, rows, cols, m.row, m.col};
}

void gemm(Step *s, DType compute, Mat a, Mat b, Mat c, const float *bias, bool accumulate) {
    if (a.cols != b.rows || a.rows != c.rows || b.cols != c.cols || c.col != 1 || c.row != c.cols)
        die("gemm: shapes");
    if (compute == DT_F32 && (a.dtype != DT_F32 || b.dtype != DT_F32)) die("gemm: bf16 operands in f32");
    if (a.rows == 0 || b.cols == 0) return;
    if (compute == DT_BF16 && !avx512()) {
        multiply_wide(s, a, b, c, bias, accumulate);
        return;
    }
    Mat x = compute == DT_BF16 && a.dtype == DT_F32 ? converted(s, a) : a;
    int threads = omp_get_max_threads();
    if (c.rows * c.cols < OUTPUTS_FEWEST && !avx512()) omp_set_num_threads(1);
    if (a.cols > SUM_LONG && c.dtype == DT_F32 && c.rows * c.cols < OUTPUTS_FEW) {
        for (int64_t at = 0; at < a.cols; at += SUM_LONG) {
            int64_t n = a.cols - at < SUM_LONG ? a.cols - at : SUM_LONG;
            multiply(s, compute, part(x, 0, a.rows, at, n), part(b, at, n, 0, b.cols), c, at ? NULL : bias,
                     accumulate || at);
        }
    } else {
        multiply(s, compute, x, b, c, bias, accumulate);
    }
    omp_set_num_threads(threads);
    if (x.data != a.data) step_block_free(s, x.data);
}

void gemm_count_reset(void) {
    for (int i = 0; i < BUCKETS; i++)
        for (Entry *t = table[i]; t; t = t->next) t->calls = 0;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median seconds of one product on zeros, packed operands ready. */
static double entry_seconds(Step *s, Entry *t, int times) {
    enum { MOST = 32 };
    double took[MOST];
    if (times > MOST) times = MOST;
    size_t each = dtype_size(t->key.compute);
    size_t bytes[] = {(size_t)(t->key.m * t->key.k) * each, t->b_bytes, (size_t)(t->key.m * t->key.n) * 4,
                      (size_t)t->key.n * 4, t->scratch_bytes};
    dnnl_memory_t part[] = {t->a, t->b, t->c, t->bias, t->scratch};
    void *room[COUNT(bytes)];
    for (int i = 0; i < COUNT(bytes); i++) {
        room[i] = step_block(s, bytes[i]);
        memset(room[i], 0, bytes[i]);
        if (part[i]) ONEDNN(dnnl_memory_set_data_handle_v2(part[i], room[i], onednn_stream()));
    }
    dnnl_exec_arg_t arg[] = {{DNNL_ARG_SRC, t->a},
                             {DNNL_ARG_WEIGHTS, t->b},
                             {DNNL_ARG_DST, t->c},
                             {DNNL_ARG_SCRATCHPAD, t->scratch},
                             {DNNL_ARG_BIAS, t->bias}};
    for (int i = 0; i < times; i++) {
        double from = clock_seconds();
        ONEDNN(dnnl_primitive_execute(t->multiply, onednn_stream(), t->bias ? 5 : 4, arg));
        took[i] = clock_seconds() - from;
    }
    for (int i = COUNT(bytes) - 1; i >= 0; i--) step_block_free(s, room[i]);
    qsort(took, (size_t)times, sizeof *took, by_value);
    return took[times / 2];
}

double gemm_measure(Step *s, int times, double *flops) {
    double sec = 0;
    *flops = 0;
    for (int i = 0; i < BUCKETS; i++)
        for (Entry *t = table[i]; t; t = t->next) {
            if (!t->calls) continue;
            sec += (double)t->calls * entry_seconds(s, t, times);
            *flops += (double)t->calls * 2.0 * (double)t->key.m * (double)t->key.n * (double)t->key.k;
        }
    return sec > 0 ? *flops / sec : 0;
}

#endif
