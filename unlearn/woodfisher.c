#include "unlearn/woodfisher.h"

#include "unlearn/vector.h"

#include <math.h>
#include <string.h>

bool woodfisher_begin(WoodFisher *w, const float *v, int64_t n, int64_t samples, Error *e) {
    *w = (WoodFisher){.v = v, .n = n, .samples = samples};
    if (n < 1 || samples < 1)
        return error_set(e, ERROR_VALUE, "woodfisher: %lld parameters and %lld samples; at least one of each",
                         (long long)n, (long long)samples);
    w->first = mem_get((size_t)n * sizeof *w->first);
    return w->first || error_memory(e, (size_t)n * sizeof *w->first);
}

void woodfisher_add(WoodFisher *w, const float *g) {
    if (w->added++ == 0) {
        memcpy(w->first, g, (size_t)w->n * sizeof *g);
        return;
    }
    w->v_sum += vector_dot(w->v, g, w->n);
    w->first_sum += vector_dot(w->first, g, w->n);
}

bool woodfisher_result(const WoodFisher *w, float *k, Error *e) {
    const double count = (double)w->samples, below = count + w->first_sum;
    bool finite = true;
    if (!(fabs(below) > 1e-12 * (count + fabs(w->first_sum))))
        return error_set(e, ERROR_NUMERIC,
                         "woodfisher: the curvature of %lld samples is singular, or not finite",
                         (long long)w->added);
    const double size = w->v_sum / below;
#pragma omp parallel for schedule(static) reduction(&& : finite) if (w->n > 65536)
    for (int64_t i = 0; i < w->n; i++) {
        /* with no gradient `first` holds nothing yet */
        k[i] = w->added < 2 ? w->v[i] : (float)((double)w->v[i] - size * (double)w->first[i]);
        finite = finite && isfinite(k[i]);
    }
    return finite || error_set(e, ERROR_NUMERIC, "woodfisher: the result of %lld samples is not finite",
                               (long long)w->added);
}

void woodfisher_close(WoodFisher *w) {
    mem_free(w->first);
    *w = (WoodFisher){0};
}
