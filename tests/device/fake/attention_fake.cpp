/* The fused attention of core/cuda_attention.h as plain loops, in its place on the stream. */
#include "core/cuda.h"
#include "core/cuda_attention.h"

#include <vector>

struct Head {
    const AttentionShape &s;
    int64_t b, h;
    int64_t query(int64_t i) const { return (b * s.n + i) * s.q_row + h * s.d; }
    int64_t key(int64_t j) const { return (b * s.m + j) * s.k_row + h * s.d; }
    int64_t output(int64_t i) const { return ((b * s.n + i) * s.heads + h) * s.d; }
    int64_t log(int64_t i) const { return (b * s.heads + h) * s.n + i; }
};

static float dot(const bf16 *a, const bf16 *b, int64_t d) {
    float sum = 0;
    for (int64_t x = 0; x < d; x++) sum += load(a + x) * load(b + x);
    return sum;
}

static float score(const Head &t, const AttentionData &p, int64_t i, int64_t j) {
    if (t.s.causal && j > i) return -INFINITY;
    return dot(p.q + t.query(i), p.k + t.key(j), t.s.d) / sqrtf((float)t.s.d);
}

static void forward_row(const Head &t, const AttentionData &p, int64_t i) {
    float top = -INFINITY, sum = 0;
    for (int64_t j = 0; j < t.s.m; j++) top = fmaxf(top, score(t, p, i, j));
    for (int64_t j = 0; j < t.s.m; j++) sum += expf(score(t, p, i, j) - top);
    p.logs[t.log(i)] = top + logf(sum);
    for (int64_t x = 0; x < t.s.d; x++) {
        float o = 0;
        for (int64_t j = 0; j < t.s.m; j++)
            o += expf(score(t, p, i, j) - top) / sum * load(p.v + t.key(j) + x);
        store(p.o + t.output(i) + x, o);
    }
}

static void backward_head(const Head &t, const AttentionData &p) {
    int64_t d = t.s.d, n = t.s.n, m = t.s.m;
    std::vector<float> dq(n * d), dk(m * d), dv(m * d);
    for (int64_t i = 0; i < n; i++) {
        float own = dot(p.dy + t.output(i), p.o + t.output(i), d);
        for (int64_t j = 0; j < m; j++) {
            float w = expf(score(t, p, i, j) - p.logs[t.log(i)]);
            float ds = w * (dot(p.dy + t.output(i), p.v + t.key(j), d) - own) / sqrtf((float)d);
            for (int64_t x = 0; x < d; x++) {
                dq[i * d + x] += ds * load(p.k + t.key(j) + x);
                dk[j * d + x] += ds * load(p.q + t.query(i) + x);
                dv[j * d + x] += w * load(p.dy + t.output(i) + x);
            }
        }
    }
    for (int64_t i = 0; i < n * d; i++) store(p.dq + t.query(i / d) + i % d, dq[i]);
    for (int64_t j = 0; j < m * d; j++) {
        store(p.dk + t.key(j / d) + j % d, dk[j]);
        store(p.dv + t.key(j / d) + j % d, dv[j]);
    }
}

static void forward(AttentionShape s, AttentionData p) {
    for (int64_t b = 0; b < s.batch; b++)
        for (int64_t h = 0; h < s.heads; h++)
            for (int64_t i = 0; i < s.n; i++) forward_row(Head{s, b, h}, p, i);
}

static void backward(AttentionShape s, AttentionData p) {
    for (int64_t b = 0; b < s.batch; b++)
        for (int64_t h = 0; h < s.heads; h++) backward_head(Head{s, b, h}, p);
}

bool cuda_attention_takes(const AttentionShape *s, bool) {
    return s->d % 8 == 0 && s->d <= 128;
}

void cuda_attention_forward(OpCall *, const AttentionShape *s, const AttentionData *t) {
    LAUNCH(forward, 1, 1, *s, *t);
}

void cuda_attention_backward(OpCall *, const AttentionShape *s, const AttentionData *t) {
    LAUNCH(backward, 1, 1, *s, *t);
}

const char *cuda_attention_why(const AttentionShape *, bool) {
    return "";
}

int64_t cuda_attention_scratch(const AttentionShape *, bool) {
    return 0;
}
