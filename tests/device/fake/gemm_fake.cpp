/* The products of core/cuda_gemm.h as plain loops, in their place on the stream. Like cuBLASLt it has no
 * kernel for some of what may be asked: callers' other ways are tried too. */
#include "core/cuda.h"
#include "core/cuda_gemm.h"

#include <algorithm>
#include <vector>

static float mat_at(const Mat &m, int64_t i, int64_t j) {
    int64_t at = i * m.row + j * m.col;
    return m.dtype == DT_BF16 ? load((const bf16 *)m.data + at) : ((const float *)m.data)[at];
}

static void put(void *to, DType type, int64_t at, float v) {
    type == DT_BF16 ? store((bf16 *)to + at, v) : store((float *)to + at, v);
}

static float gelu_tanh(float x) {
    return 0.5f * x * (1 + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
}

/* Row by row, so that compilers can vectorise it. */
static std::vector<float> unpacked(const Mat &m) {
    std::vector<float> v((size_t)(m.rows * m.cols));
    for (int64_t i = 0; i < m.rows; i++)
        for (int64_t j = 0; j < m.cols; j++) v[(size_t)(i * m.cols + j)] = mat_at(m, i, j);
    return v;
}

static void finish(const Mat &c, const GemmMore &more, bool accumulate, int64_t i, const float *row) {
    Mat bias = {(void *)more.bias, c.dtype, 1, c.cols, c.cols, 1};
    for (int64_t j = 0; j < c.cols; j++) {
        float v = row[j] + (more.bias ? mat_at(bias, 0, j) : 0);
        if (more.pre) put(more.pre, c.dtype, i * c.row + j, v);
        if (more.gelu) v = gelu_tanh(v);
        if (accumulate) v += mat_at(c, i, j);
        put(c.data, c.dtype, i * c.row + j, v);
    }
}

static void multiply(Mat a, Mat b, Mat c, GemmMore more, bool accumulate) {
    std::vector<float> x = unpacked(a), y = unpacked(b), row((size_t)c.cols);
    for (int64_t i = 0; i < c.rows; i++) {
        float sum = 0;
        std::fill(row.begin(), row.end(), 0.0f);
        for (int64_t p = 0; p < a.cols; p++) {
            float v = x[(size_t)(i * a.cols + p)], *from = &y[(size_t)(p * c.cols)];
            for (int64_t j = 0; j < c.cols; j++) row[(size_t)j] += v * from[j];
            sum += v;
        }
        finish(c, more, accumulate, i, row.data());
        if (more.row_sum) put(more.row_sum, c.dtype, i, sum);
    }
}

bool cuda_gemm(Mat a, Mat b, Mat c, const GemmMore *more, bool accumulate) {
    GemmMore all = {};
    if (more) all = *more;
    if (a.cols != b.rows || a.rows != c.rows || b.cols != c.cols || c.col != 1 || a.dtype != b.dtype ||
        (a.row != 1 && a.col != 1) || (b.row != 1 && b.col != 1) ||
        (a.dtype == DT_F32 && c.dtype != DT_F32) || (accumulate && (all.bias || all.gelu)))
        die("cuda_gemm: %ld x %ld by %ld x %ld", (long)a.rows, (long)a.cols, (long)b.rows, (long)b.cols);
    if (all.pre && c.cols % 8) return false;
    if (all.row_sum && a.rows % 3 == 0) return false;
    if (all.bias && c.cols % 5 == 0) return false;
    LAUNCH(multiply, 1, 1, a, b, c, all, accumulate);
    return true;
}
