#include "core/cuda_gemm.h"

#include "core/cuda.h"

#include <cublasLt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { BUCKETS = 256, WORKSPACE = 32 << 20 };

/* A matrix as cuBLASLt sees it: columns one after the other, `lead` apart. Row-major A B = C is
 * column-major B^T A^T = C^T, so operands change places and each is handed over turned. */
typedef struct Columns {
    int64_t rows, cols, lead, turn; /* turn: is to be transposed on the way in */
} Columns;

/* What makes two calls share an algorithm; without padding. */
typedef struct Key {
    Columns first, second, result;
    int64_t given, type, bias, gelu, pre, row_sum, accumulate;
    int64_t align[6]; /* of a, b, c, bias, pre, row_sum: kernels read as many bytes at once as this allows */
} Key;

typedef struct Entry {
    struct Entry *next;
    Key key;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t first, second, result;
    cublasLtMatmulAlgo_t algo;
    bool found;
} Entry;

/* Of this process. */
static cublasLtHandle_t handle;
static void *workspace;
static Entry *table[BUCKETS];

static void shape_text(const Key *k, char text[200]) {
    snprintf(text, 200, "%" PRId64 " x %" PRId64 " by %" PRId64 " in %s to %s%s%s%s%s", k->result.cols,
             k->first.turn ? k->first.rows : k->first.cols, k->result.rows, dtype_name((DType)k->given),
             dtype_name((DType)k->type), k->bias ? ", bias" : "", k->gelu ? ", gelu" : "",
             k->row_sum ? ", sums" : "", k->accumulate ? ", added" : "");
}

static void check(cublasStatus_t status, const char *call, int line, const Key *k) {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    char text[200] = "opening";
    if (k) shape_text(k, text);
    give_up("%s:%d: %s: %s (%s)", __FILE__, line, call, cublasLtGetStatusString(status), text);
}
#define LT(call, key) check((call), #call, __LINE__, (key))

static void open_library(void) {
    if (handle) return;
    LT(cublasLtCreate(&handle), NULL);
    CUDA(cudaMalloc(&workspace, WORKSPACE));
}

static cudaDataType_t type_of(int64_t dtype) {
    return dtype == DT_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

static int64_t align_of(const void *p) {
    int64_t align = 256;
    while (align > 1 && (uintptr_t)p % (uintptr_t)align) align /= 2;
    return align;
}

/* m transposed, in columns. A row-major m is that as it lies. */
static Columns columns_of(Mat m) {
    if (m.col == 1 && m.row >= m.cols) return {m.cols, m.rows, m.row, false};
    if (m.row == 1 && m.col >= m.rows) return {m.rows, m.cols, m.col, true};
    die("cuda_gemm: a matrix of strides %" PRId64 " and %" PRId64, m.row, m.col);
}

static Key key_of(const Mat *a, const Mat *b, const Mat *c, const GemmMore *more, bool accumulate) {
    Key k = {};
    k.first = columns_of(*b);
    k.second = columns_of(*a);
    k.result = {c->cols, c->rows, c->row, false};
    k.given = a->dtype;
    k.type = c->dtype;
    k.bias = more->bias != NULL;
    k.gelu = more->gelu;
    k.pre = more->pre != NULL;
    k.row_sum = more->row_sum != NULL;
    k.accumulate = accumulate;
    const void *data[] = {a->data, b->data, c->data, more->bias, more->pre, more->row_sum};
    for (int i = 0; i < COUNT(data); i++) k.align[i] = align_of(data[i]);
    return k;
}

static cublasLtMatrixLayout_t layout_of(const Columns *m, int64_t dtype, const Key *k) {
    cublasLtMatrixLayout_t l;
    LT(cublasLtMatrixLayoutCreate(&l, type_of(dtype), (uint64_t)m->rows, (uint64_t)m->cols, m->lead), k);
    return l;
}

static uint32_t epilogue_of(const Key *k) {
    if (k->row_sum) return CUBLASLT_EPILOGUE_BGRADB; /* our A is the second operand */
    uint32_t e = k->bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    if (!k->gelu) return e;
    if (k->pre) return k->bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
    return k->bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
}

/* The vector that goes with the product: the bias, or where the sums go. */
static void desc_point(Entry *t, const GemmMore *more) {
    const void *vector = more->row_sum ? more->row_sum : more->bias;
    if (vector)
        LT(cublasLtMatmulDescSetAttribute(t->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &vector, sizeof vector),
           &t->key);
    if (more->pre)
        LT(cublasLtMatmulDescSetAttribute(t->desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &more->pre,
                                          sizeof more->pre),
           &t->key);
}

static void desc_create(Entry *t, const GemmMore *more) {
    const Key *k = &t->key;
    cublasOperation_t first = k->first.turn ? CUBLAS_OP_T : CUBLAS_OP_N,
                      second = k->second.turn ? CUBLAS_OP_T : CUBLAS_OP_N;
    uint32_t epilogue = epilogue_of(k);
    cudaDataType_t vector = type_of(k->type);
    LT(cublasLtMatmulDescCreate(&t->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F), k);
    LT(cublasLtMatmulDescSetAttribute(t->desc, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first), k);
    LT(cublasLtMatmulDescSetAttribute(t->desc, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second), k);
    LT(cublasLtMatmulDescSetAttribute(t->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue), k);
    if (k->bias || k->row_sum)
        LT(cublasLtMatmulDescSetAttribute(t->desc, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &vector,
                                          sizeof vector),
           k);
    if (k->pre)
        LT(cublasLtMatmulDescSetAttribute(t->desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &k->result.lead,
                                          sizeof k->result.lead),
           k);
    desc_point(t, more);
}

static void prefer(cublasLtMatmulPreference_t p, cublasLtMatmulPreferenceAttributes_t name, const void *value,
                   size_t size, const Key *k) {
    LT(cublasLtMatmulPreferenceSetAttribute(p, name, value, size), k);
}

/* No sum is split, or its parts go through the workspace and are added in order: the same bits every time. */
static cublasLtMatmulPreference_t preference_of(const Key *k) {
    cublasLtMatmulPreference_t p;
    uint64_t room = WORKSPACE;
    uint32_t split = CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    uint32_t a = (uint32_t)k->align[1], b = (uint32_t)k->align[0], c = (uint32_t)k->align[2];
    LT(cublasLtMatmulPreferenceCreate(&p), k);
    prefer(p, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &room, sizeof room, k);
    prefer(p, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &split, sizeof split, k);
    prefer(p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &a, sizeof a, k);
    prefer(p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &b, sizeof b, k);
    prefer(p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &c, sizeof c, k);
    prefer(p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &c, sizeof c, k);
    return p;
}

static void algorithm_choose(Entry *t) {
    cublasLtMatmulHeuristicResult_t best;
    int count = 0;
    cublasLtMatmulPreference_t p = preference_of(&t->key);
    cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle, t->desc, t->first, t->second, t->result,
                                                           t->result, p, 1, &best, &count);
    if (status != CUBLAS_STATUS_NOT_SUPPORTED && status != CUBLAS_STATUS_INVALID_VALUE)
        LT(status, &t->key); /* those two are how it says that it has none */
    t->found = status == CUBLAS_STATUS_SUCCESS && count > 0 && best.state == CUBLAS_STATUS_SUCCESS;
    if (t->found) t->algo = best.algo;
    LT(cublasLtMatmulPreferenceDestroy(p), &t->key);
}

static Entry *entry_create(const Key *k, const GemmMore *more) {
    Entry *t = (Entry *)mem_zero(1, sizeof *t);
    if (!t) die("out of memory for a matrix product");
    open_library();
    t->key = *k;
    t->first = layout_of(&k->first, k->given, k);
    t->second = layout_of(&k->second, k->given, k);
    t->result = layout_of(&k->result, k->type, k);
    desc_create(t, more);
    algorithm_choose(t);
    return t;
}

static Entry *entry_find(const Key *k, const GemmMore *more) {
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < sizeof *k / sizeof(int64_t); i++)
        h = (h ^ (uint64_t)((const int64_t *)k)[i]) * 0x100000001B3u;
    Entry **bucket = &table[(h >> 20) % BUCKETS];
    for (Entry *t = *bucket; t; t = t->next)
        if (!memcmp(&t->key, k, sizeof *k)) return t;
    Entry *t = entry_create(k, more);
    t->next = *bucket;
    return *bucket = t;
}

bool cuda_gemm(Mat a, Mat b, Mat c, const GemmMore *more, bool accumulate) {
    static const GemmMore nothing = {};
    if (!more) more = &nothing;
    if (a.cols != b.rows || a.rows != c.rows || b.cols != c.cols || c.col != 1 || c.row < c.cols)
        die("cuda_gemm: shapes");
    if (a.dtype != b.dtype || (a.dtype == DT_F32 && c.dtype != DT_F32)) die("cuda_gemm: types");
    if (accumulate && (more->bias || more->gelu)) die("cuda_gemm: what is added to takes no bias");
    if (!c.rows || !c.cols) return true;
    Key k = key_of(&a, &b, &c, more, accumulate);
    Entry *t = entry_find(&k, more);
    if (!t->found) {
        bool plain = !k.bias && !k.gelu && !k.row_sum;
        if (plain) LT(CUBLAS_STATUS_NOT_SUPPORTED, &k);
        return false;
    }
    float one = 1, beta = accumulate ? 1.0f : 0.0f;
    desc_point(t, more);
    LT(cublasLtMatmul(handle, t->desc, &one, b.data, t->first, a.data, t->second, &beta, c.data, t->result,
                      c.data, t->result, &t->algo, workspace, WORKSPACE, cuda.stream),
       &k);
    return true;
}
