/* golden_rule: weights and projections made from names, so that fixtures need not store them: "The rule" in
 * tests/golden/README.md, in Python tests/golden/rule.py. */
#ifndef LETHE_TESTS_GOLDEN_RULE_H
#define LETHE_TESTS_GOLDEN_RULE_H

#include "core/params.h"
#include "core/rng.h"
#include "tests/golden.h"

typedef struct Words {
    uint32_t key[2], out[4];
    int64_t block;
} Words;

static inline Words words_open(const char *text) {
    uint64_t h = rng_hash(text);
    return (Words){.key = {(uint32_t)h, (uint32_t)(h >> 32)}, .block = -1};
}

static inline uint32_t word_at(Words *w, int64_t i) {
    if (w->block != i / 4) {
        uint32_t counter[4] = {(uint32_t)(i / 4), 0, 0, 0};
        rng_philox(counter, w->key, w->out);
        w->block = i / 4;
    }
    return w->out[i % 4];
}

static inline double unit_at(Words *w, int64_t i) {
    return (double)(word_at(w, i) >> 8) * 0x1p-23 - 1;
}

static inline bool ends_with(const char *name, const char *tail) {
    size_t n = strlen(name), m = strlen(tail);
    return n >= m && !strcmp(name + n - m, tail);
}

static inline double rule_scale(const Param *q) {
    const Tensor *t = &q->tensor;
    if (ends_with(q->name, "cls_token") || ends_with(q->name, "mask_token")) return 0.02;
    if (ends_with(q->name, "gaussian_matrix")) return sqrt(3.0);
    if (ends_with(q->name, "pos_embed")) return 0.5;
    if (ends_with(q->name, "attention_biases") || ends_with(q->name, "_token.weight") ||
        ends_with(q->name, "_tokens.weight"))
        return 1;
    if (!strncmp(q->name, "prompt_encoder.", 15) && t->ndim == 2) return 1;
    return t->ndim == 1 ? 0.02 : sqrt(3.0 / (double)(tensor_count(t) / t->dim[0]));
}

/* Every parameter, but for MAE's tables, which are computed (SAM's trains), and counters. */
static inline void by_rule(Params *p) {
    for (int i = 0; i < p->count; i++) {
        Param *q = p->list[i];
        if (ends_with(q->name, "pos_embed") && strncmp(q->name, "image_encoder.", 14) != 0) continue;
        if (ends_with(q->name, "num_batches_tracked")) continue;
        bool variance = ends_with(q->name, "running_var");
        bool norm = q->tensor.ndim == 1 && ends_with(q->name, "weight");
        double base = variance || norm ? 1 : 0, scale = variance ? 0.5 : norm ? 0.1 : rule_scale(q);
        Words w = words_open(q->name);
#pragma omp parallel for firstprivate(w)
        for (int64_t j = 0; j < tensor_count(&q->tensor); j++)
            tensor_real(&q->tensor)[j] = (float)(base + scale * unit_at(&w, j));
    }
}

/* Relative distance of x, n values of tensor `name`, from what row `row` of its sketch remembers: norm and 16
 * projections. *norm (may be NULL) receives that norm. */
static inline double sketch_far(const SafeFile *f, const char *name, int row, const float *x, int64_t n,
                                double *norm) {
    char key[160];
    snprintf(key, sizeof key, "sketch.%s", name);
    Tensor t = golden_read(f, key);
    const float *want = tensor_real(&t) + (ptrdiff_t)row * 17;
    double dot[16] = {0}, sum = 0, length = (double)want[0];
    snprintf(key, sizeof key, "sign:%s", name);
    Words w = words_open(key);
#pragma omp parallel for firstprivate(w) reduction(+ : dot[:16])
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = word_at(&w, i);
        for (int j = 0; j < 16; j++) dot[j] += bits >> j & 1 ? (double)x[i] : -(double)x[i];
    }
    for (int j = 0; j < 16; j++) sum += pow(dot[j] - (double)want[1 + j], 2);
    mem_free(t.data);
    if (norm) *norm = length;
    return sqrt(sum / 16) / (length > 0 ? length : 1);
}

static inline double sketch_distance(const SafeFile *f, const Param *q, int row, const float *x) {
    return sketch_far(f, q->name, row, x, tensor_count(&q->tensor), NULL);
}

/* The full models take minutes and gigabytes under a sanitizer: LETHE_QUICK leaves them out there. */
static inline void skip_if_quick(void) {
    if (!getenv("LETHE_QUICK")) return;
    print_message("skipped: LETHE_QUICK is set\n");
    skip();
}

#endif
