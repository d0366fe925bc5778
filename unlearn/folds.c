#include "unlearn/folds.h"

#include "core/rng.h"
#include "unlearn/numbers.h"

void folds_shuffle(uint32_t *out, int64_t n, uint64_t seed, uint64_t number) {
    Rng r = rng_open(seed, RNG_UNLEARN, NUMBERS_EPOCH_SPLIT, number);
    for (int64_t i = 0; i < n; i++) out[i] = (uint32_t)i;
    rng_shuffle(&r, out, (size_t)n);
}

/* Class after class, the cards are dealt on where the class before ended. */
static bool deal(int32_t *fold, const int32_t *label, const uint32_t *order, int64_t n, int classes,
                 int folds, Error *e) {
    int64_t dealt = 0;
    for (int k = 0; k < classes; k++) {
        int64_t before = dealt;
        for (int64_t i = 0; i < n; i++)
            if (label[order[i]] == k) fold[order[i]] = (int32_t)(dealt++ % folds);
        if (dealt - before == 1)
            return error_set(e, ERROR_VALUE, "cross-validation: class %d has one sample, it needs two", k);
    }
    if (dealt == n) return true;
    return error_set(e, ERROR_VALUE, "cross-validation: %lld samples have a label outside 0 .. %d",
                     (long long)(n - dealt), classes - 1);
}

bool folds_deal(int32_t *fold, const int32_t *label, int64_t n, int classes, int folds, uint64_t seed,
                Error *e) {
    if (folds < 2 || folds > n || n > INT32_MAX)
        return error_set(e, ERROR_VALUE, "cross-validation: %lld samples in %d parts", (long long)n, folds);
    uint32_t *order = mem_zero((size_t)n, sizeof *order);
    if (!order) return error_memory(e, (size_t)n * sizeof *order);
    folds_shuffle(order, n, seed, 0);
    bool ok = deal(fold, label, order, n, classes, folds, e);
    mem_free(order);
    return ok;
}
